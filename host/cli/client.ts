// One WebSocket of `ringcast load`. It opens, skips from frame header to frame header in a buffer that all clients
// share, and counts. RFC 6455, without extensions.
//
// Invariant: a message allocates no object. Between two reads a client keeps at most a partial header, the payload of a
// control frame, or a partial response, whatever the server sends.

import { randomBytes } from "node:crypto";
import { type Socket, connect } from "node:net";
import { connect as connectTls } from "node:tls";
import {
  CLOSE,
  CONTINUATION,
  FrameError,
  FrameReader,
  type FrameUser,
  PING,
  PONG,
  frameOf,
} from "../codec/frames";
import { joined } from "../shared/text/bytes";
import { acceptOf, upgradeFields } from "../codec/handshake";
import { NO_CODE, closePayload } from "../codec/messages";
import {
  type AnswerHead,
  AnswerError,
  AnswerReader,
  type AnswerUser,
  fieldOf,
} from "../codec/response";

type Bytes = Buffer<ArrayBuffer>;

/** Bytes of one read at most. */
const READ_BYTES = 262144;
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

const NO_MASK = new Uint8Array(4);
const EMPTY = Buffer.alloc(0);

/** Encodes a frame, masked with zeros. */
function frame(opcode: number, payload: Uint8Array): Uint8Array {
  return frameOf(opcode, payload, NO_MASK);
}

/** The frame that a client sends which does not read. */
const KEEP_ALIVE = frame(PONG, EMPTY);

function requestOf({ url, headers }: Target): string {
  return [
    `GET ${url.pathname}${url.search} HTTP/1.1`,
    `Host: ${url.host}`,
    ...upgradeFields(KEY).map(([name, value]) => `${name}: ${value}`),
    ...headers,
    "\r\n",
  ].join("\r\n");
}

export class Client implements AnswerUser, FrameUser<Buffer> {
  readonly #watcher: Watcher;
  readonly #socket: Socket;
  readonly #isSlow: boolean;
  #state: "opening" | "open" | "ended" = "opening";
  /** Reads the response to the handshake, until it has arrived. */
  #answer: AnswerReader | undefined = new AnswerReader("GET", this);
  readonly #frames = new FrameReader<Buffer>(this);
  /** The frame that is being read. */
  #opcode = 0;
  #isFinal = true;
  /** Parts of a control frame's payload. */
  #control: Uint8Array[] = [];
  /** Bytes of the message so far. */
  #length = 0;
  /** Bytes of a read that have a whole message, where it starts, and its length; −1 when it has several frames. */
  #whole: Buffer | undefined;
  #start = 0;
  #wholeLength = 0;
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
    socket.on("data", (bytes: Bytes) => this.#read(bytes, bytes.length));
    socket.on("error", (error: NodeJS.ErrnoException) => {
      const isReset = error.code === "ECONNRESET" || error.code === "EPIPE";
      this.#end(isReset ? "reset" : (error.code ?? error.message));
    });
    socket.on("end", () => this.#end("ended without a Close frame"));
    socket.on("close", () => this.#end("ended without a Close frame"));
    return socket;
  }

  #read(buffer: Bytes, length: number): void {
    if (this.#state === "ended") return;
    this.#watcher.read(length);
    try {
      const at = this.#answer ? this.#readAnswer(this.#answer, buffer.subarray(0, length)) : 0;
      if (!this.#isOpen || at === length) return;
      if (at === 0) this.#frames.push(buffer, length);
      else this.#frames.push(buffer.subarray(at, length));
    } catch (error) {
      if (!(error instanceof FrameError || error instanceof AnswerError)) throw error;
      this.#end(this.isOpened ? "protocol error" : "no HTTP response");
    }
  }

  /** @returns the number of bytes that belong to the response */
  #readAnswer(answer: AnswerReader, bytes: Bytes): number {
    const length = answer.push(bytes);
    if (answer.isDone) this.#answer = undefined;
    return length;
  }

  get #isOpen(): boolean {
    return this.#state === "open";
  }

  head({ status, fields }: AnswerHead): void {
    if (status !== 101 || fieldOf(fields, "sec-websocket-accept") !== ACCEPT) {
      this.#end(`HTTP ${status}`);
      return;
    }
    clearTimeout(this.#timer);
    this.#state = "open";
    this.isOpened = true;
    this.#watcher.opened(this);
    if (this.#isSlow) this.#stall();
  }

  data(): void {}

  end(): void {}

  /** Stops reading. A paused socket does not see its end, but a write to it fails then. */
  #stall(): void {
    this.#socket.pause();
    this.#timer = setInterval(() => {
      if (this.#socket.writableLength === 0) this.#socket.write(KEEP_ALIVE);
    }, ALIVE_MILLIS);
  }

  frameBegan(opcode: number, isFinal: boolean, _isPacked: boolean, length: number): void {
    this.#opcode = opcode;
    this.#isFinal = isFinal;
    if (opcode >= CLOSE) return;
    const isFirst = opcode !== CONTINUATION;
    this.#length = isFirst ? length : this.#length + length;
    this.#wholeLength = isFirst ? length : -1;
    if (this.#wholeLength === 0) this.#whole = EMPTY;
  }

  payload(bytes: Buffer, start: number, end: number): void {
    if (this.#opcode >= CLOSE) {
      this.#control.push(new Uint8Array(bytes.subarray(start, end)));
    } else if (end - start === this.#wholeLength) {
      this.#whole = bytes;
      this.#start = start;
    }
  }

  frameEnded(): void {
    if (this.#opcode >= CLOSE) {
      this.#endControl();
    } else {
      const whole = this.#whole;
      this.#whole = undefined;
      if (!this.#isFinal) return;
      this.messages++;
      this.#watcher.message(this, this.#length, whole, this.#start);
    }
  }

  #endControl(): void {
    const payload = joined(this.#control);
    this.#control = [];
    if (this.#opcode === PING && this.#socket.writableLength < PONGS_BYTES)
      this.#socket.write(frame(PONG, payload));
    if (this.#opcode !== CLOSE) return;
    this.#frames.stop();
    this.#closeCode =
      payload.length < 2 ? NO_CODE : ((payload[0] as number) << 8) | (payload[1] as number);
    this.#socket.end(frame(CLOSE, payload.subarray(0, 2)));
    this.#end(`close ${this.#closeCode}`);
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
      this.#socket.write(frame(CLOSE, closePayload(1000, "")));
    const wasOpen = this.#state === "open";
    this.#state = "ended";
    clearTimeout(this.#timer);
    if (!wasOpen || this.#isSlow) this.#socket.destroy();
    else setTimeout(() => this.#socket.destroy(), 50).unref();
  }
}
