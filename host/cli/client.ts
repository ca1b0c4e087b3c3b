// One WebSocket of `ringcast load`. It opens, skips from frame header to frame header in a buffer that all clients
// share, and counts. RFC 6455, without extensions.
//
// Invariant: a message allocates no object. Between two reads a client keeps at most a partial header (14 bytes), a
// control frame's payload (125), or a partial response (HEAD_BYTES), whatever the server sends.

import { randomBytes } from "node:crypto";
import { type Socket, connect } from "node:net";
import { connect as connectTls } from "node:tls";
import { acceptOf, upgradeFields } from "../codec/handshake";

/** Bytes of one read at most. */
const READ_BYTES = 262144;
const HEAD_BYTES = 16384;
/** Bytes of pongs pending for a server that does not read. Beyond it pings are not answered (RFC 6455 5.5.3). */
const PONGS_BYTES = 65536;
/** Time in ms after a Close frame was answered until the connection is destroyed. */
const CLOSE_MILLIS = 1000;
/** Interval in ms at which a client that does not read sends a pong, to notice when the connection ends. */
const ALIVE_MILLIS = 1000;
const KEY = randomBytes(16).toString("base64");
const ACCEPT = acceptOf(KEY);

/** Read buffer of all clients. Its contents are processed before the next read. */
const shared = Buffer.allocUnsafe(READ_BYTES);

/** The server that clients connect to. */
export interface Target {
  readonly url: URL;
  readonly headers: readonly string[];
  /** Whether TLS accepts any certificate. */
  readonly isInsecure: boolean;
  readonly openMillis: number;
}

/** Receives the events of clients. */
export interface Watcher {
  opened(client: Client): void;
  /** Called when a client has ended. @param cause for the user, such as "close 1001", "reset", "HTTP 503" */
  ended(client: Client, cause: string): void;
  read(bytes: number): void;
  /**
   * Called for each complete message.
   * @param buffer holds the payload in [start, start + length) if it came in one frame and one read; else undefined
   */
  message(client: Client, length: number, buffer: Buffer | undefined, start: number): void;
}

/** Encodes a short frame of a client, masked with zeros. */
function frame(opcode: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.alloc(6 + payload.length);
  bytes[0] = 0x80 | opcode;
  bytes[1] = 0x80 | payload.length;
  bytes.set(payload, 6);
  return bytes;
}

const PONG = frame(10, Buffer.alloc(0));

function requestOf({ url, headers }: Target): string {
  return [
    `GET ${url.pathname}${url.search} HTTP/1.1`,
    `Host: ${url.host}`,
    ...upgradeFields(KEY).map(([name, value]) => `${name}: ${value}`),
    ...headers,
    "\r\n",
  ].join("\r\n");
}

export class Client {
  readonly #watcher: Watcher;
  readonly #socket: Socket;
  readonly #isSlow: boolean;
  #state: "opening" | "open" | "ended" = "opening";
  /** A partial response, header or control frame. */
  #held: Buffer | undefined;
  /** Bytes of a data frame's payload still to come, and bytes of its message so far. */
  #left = 0;
  #length = 0;
  /** True when the frame being read is the last of its message. */
  #isLast = true;
  #closeCode = 0;
  #timer: NodeJS.Timeout | undefined;
  /** True when the client is or was open. */
  isOpened = false;
  messages = 0;
  /** For `Latency`: how many more messages than others it has received, and the last probe that it has seen. */
  offset: number | undefined;
  probe = 0;

  /** @param pace "slow": the client stops reading once it is open */
  constructor(target: Target, watcher: Watcher, pace: "reading" | "slow") {
    this.#watcher = watcher;
    this.#isSlow = pace === "slow";
    this.#socket = this.#connect(target);
    this.#timer = setTimeout(() => this.#end("timeout while opening"), target.openMillis);
  }

  #connect(target: Target): Socket {
    const { hostname, port, protocol } = target.url;
    const isTls = protocol === "wss:";
    const host = hostname.replace(/^\[|\]$/g, "");
    const onread = {
      buffer: shared,
      callback: (length: number): boolean => {
        this.#read(shared, length);
        return true;
      },
    };
    const to = { host, port: Number(port) || (isTls ? 443 : 80), onread };
    const socket = isTls
      ? connectTls({ ...to, rejectUnauthorized: !target.isInsecure, servername: host })
      : connect(to);
    socket.once(isTls ? "secureConnect" : "connect", () => socket.write(requestOf(target)));
    // A runtime that ignores `onread` emits "data" instead.
    socket.on("data", (bytes: Buffer) => this.#read(bytes, bytes.length));
    socket.on("error", (error: NodeJS.ErrnoException) => {
      const isReset = error.code === "ECONNRESET" || error.code === "EPIPE";
      this.#end(isReset ? "reset" : (error.code ?? error.message));
    });
    socket.on("end", () => this.#end("ended without a Close frame"));
    socket.on("close", () => this.#end("ended without a Close frame"));
    return socket;
  }

  #read(buffer: Buffer, length: number): void {
    if (this.#state === "ended") return;
    this.#watcher.read(length);
    if (this.#state === "opening") this.#readAnswer(buffer.subarray(0, length));
    else this.#readFrames(buffer, length);
  }

  #readAnswer(bytes: Buffer): void {
    const all = this.#held ? Buffer.concat([this.#held, bytes]) : bytes;
    const at = all.indexOf("\r\n\r\n");
    if (at < 0) {
      this.#held = Buffer.from(all);
      if (all.length > HEAD_BYTES) this.#end("no HTTP response");
      return;
    }
    this.#held = undefined;
    const head = all.toString("latin1", 0, at);
    const status = /^HTTP\/1\.1 (\d{3})/.exec(head)?.[1];
    const accept = /\r\nsec-websocket-accept:[ \t]*(\S+)/i.exec(head)?.[1];
    if (status !== "101" || accept !== ACCEPT) {
      this.#end(status ? `HTTP ${status}` : "no HTTP response");
      return;
    }
    clearTimeout(this.#timer);
    this.#state = "open";
    this.isOpened = true;
    this.#watcher.opened(this);
    if (this.#isSlow) this.#stall();
    if (all.length > at + 4)
      this.#readFrames(Buffer.from(all.subarray(at + 4)), all.length - at - 4);
  }

  /** Stops reading. A paused socket does not see its end, but a write to it fails then. */
  #stall(): void {
    this.#socket.pause();
    this.#timer = setInterval(() => {
      if (this.#socket.writableLength === 0) this.#socket.write(PONG);
    }, ALIVE_MILLIS);
  }

  #readFrames(bytes: Buffer, length: number): void {
    let buffer = bytes;
    let at = 0;
    let end = length;
    if (this.#held) {
      buffer = Buffer.concat([this.#held, bytes.subarray(0, length)]);
      this.#held = undefined;
      end = buffer.length;
    }
    while (at < end) {
      if (this.#left > 0) {
        const n = Math.min(this.#left, end - at);
        this.#left -= n;
        at += n;
        if (this.#left === 0) this.#frameEnded(undefined, 0);
        continue;
      }
      const next = this.#readHead(buffer, at, end);
      if (next === at) {
        // The header or the control frame is incomplete.
        this.#held = Buffer.from(buffer.subarray(at, end));
        return;
      }
      if (next < 0) return;
      at = next;
    }
  }

  /** Reads a header. @returns the next offset; `at` when the header is incomplete, −1 when the connection has ended */
  #readHead(buffer: Buffer, at: number, end: number): number {
    if (end - at < 2) return at;
    const first = buffer[at] as number;
    const second = buffer[at + 1] as number;
    let length = second & 127;
    const isControl = (first & 8) !== 0;
    // A server must not mask, and a control frame must be short and not fragmented (RFC 6455 5.1, 5.5).
    if (second & 0x80 || (isControl && (length > 125 || !(first & 0x80)))) {
      this.#end("protocol error");
      return -1;
    }
    let body = at + 2;
    if (length === 126) {
      body += 2;
      if (body > end) return at;
      length = buffer.readUInt16BE(at + 2);
    } else if (length === 127) {
      body += 8;
      if (body > end) return at;
      length = buffer.readUInt32BE(at + 2) * 4294967296 + buffer.readUInt32BE(at + 6);
    }
    if (isControl) {
      if (body + length > end) return at;
      return this.#control(first & 15, buffer.subarray(body, body + length)) ? body + length : -1;
    }
    const isFirst = (first & 15) !== 0;
    this.#length = (isFirst ? 0 : this.#length) + length;
    this.#isLast = (first & 0x80) !== 0;
    if (body + length > end) {
      this.#left = length - (end - body);
      return end;
    }
    this.#frameEnded(isFirst ? buffer : undefined, body);
    return body + length;
  }

  #frameEnded(buffer: Buffer | undefined, start: number): void {
    if (!this.#isLast) return;
    this.messages++;
    this.#watcher.message(this, this.#length, buffer, start);
  }

  /** Handles a control frame. @returns false when the connection has ended */
  #control(opcode: number, payload: Buffer): boolean {
    if (opcode === 9 && this.#socket.writableLength < PONGS_BYTES)
      this.#socket.write(frame(10, payload));
    if (opcode !== 8) return true;
    this.#closeCode = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
    this.#socket.end(frame(8, payload.subarray(0, 2)));
    this.#end(`close ${this.#closeCode}`);
    return false;
  }

  #end(cause: string): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    clearTimeout(this.#timer);
    this.#watcher.ended(this, cause);
    // The answer to a Close frame must still be sent.
    if (this.#closeCode === 0) this.#socket.destroy();
    else setTimeout(() => this.#socket.destroy(), CLOSE_MILLIS).unref();
  }

  /** Closes the connection. */
  leave(): void {
    if (this.#state === "open" && !this.#isSlow)
      this.#socket.write(frame(8, Buffer.from([3, 232])));
    const wasOpen = this.#state === "open";
    this.#state = "ended";
    clearTimeout(this.#timer);
    if (!wasOpen || this.#isSlow) this.#socket.destroy();
    else setTimeout(() => this.#socket.destroy(), 50).unref();
  }
}
