// A WebSocket client for conformance cases: it sends whatever a case wants, octet for octet, and is strict
// with what comes back. It never ends its side of the TCP connection before the server has (RFC 6455 7.1.1).
//
// Invariant: nothing that the server does wrong is passed over; it is written down in `faults`.

import { randomBytes } from "node:crypto";
import * as net from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { acceptOf } from "../lib/accept";
import {
  type FrameOptions,
  clientFrame,
  closePayload as payloadOfClose,
} from "../lib/client-frame";
import { handshake } from "../lib/handshake";
import { type ResponseHead, fieldOf, responseHead } from "../lib/response";
import { type ServerFrame, serverFrame } from "../lib/server-frame";
import { Deflater } from "./deflater";

export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

/** ms that anything may take; nothing but a failure takes that long. */
const LIMIT = 30000;

/** A received whole message or control frame. */
export interface Event {
  readonly opcode: number;
  readonly payload: Buffer;
}

export function text(payload: string | Buffer): Event {
  return { opcode: TEXT, payload: Buffer.from(payload) };
}

export function binary(payload: string | Buffer): Event {
  return { opcode: BINARY, payload: Buffer.from(payload) };
}

export function pong(payload: string | Buffer = ""): Event {
  return { opcode: PONG, payload: Buffer.from(payload) };
}

/** Returns a client's frame, under a mask of its own. */
export function frame(
  opcode: number,
  payload: string | Buffer = "",
  options: FrameOptions = {},
): Buffer {
  const mask = randomBytes(4);
  return Buffer.from(clientFrame(opcode, Buffer.from(payload), { mask, ...options }).buffer);
}

/** Returns a message in frames of at most `size` octets each. */
export function fragmented(event: Event, size: number, reserved = 0): Buffer[] {
  const { opcode, payload } = event;
  const frames: Buffer[] = [];
  for (let at = 0; at === 0 || at < payload.length; at += size) {
    frames.push(
      frame(at === 0 ? opcode : 0, payload.subarray(at, at + size), {
        final: at + size >= payload.length,
        reserved: at === 0 ? reserved : 0,
      }),
    );
  }
  return frames;
}

export function closePayload(code: number, reason: string | Buffer = ""): Buffer {
  return Buffer.from(payloadOfClose(code, Buffer.from(reason)).buffer);
}

const isUtf8 = (data: Buffer): boolean => {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(data);
    return true;
  } catch {
    return false;
  }
};

export class Client {
  readonly #socket: net.Socket;
  readonly #deflater: Deflater | undefined;
  /** Value of the answer's Sec-WebSocket-Extensions; "" without. */
  readonly extensions: string;
  /** Octets that are not a whole frame. */
  #parts: Buffer[] = [];
  #length = 0;
  #needed = 2;
  /** The message under way: its opcode, 0 when there is none. */
  #opcode = 0;
  #packed = false;
  #fragments: Buffer[] = [];
  #changed: () => void = () => undefined;
  /** Events received, without the Close. */
  readonly events: Event[] = [];
  /** The server's violations. */
  readonly faults: string[] = [];
  /** Code of the server's Close, 1005 when it has none; 0: it has not come. */
  closeCode = 0;
  closeReason = "";
  /** Whose Close was first. */
  closer: "" | "client" | "server" = "";
  #closeSent = false;
  /** The server ended its side, or the connection is gone. */
  ended = false;
  broken = false;

  private constructor(socket: net.Socket, extensions: string, rest: Buffer, offered: string) {
    this.#socket = socket;
    this.extensions = extensions;
    this.#deflater = extensions === "" ? undefined : new Deflater(extensions, offered);
    socket.on("data", (bytes: Buffer) => this.#take(bytes));
    socket.on("end", () => this.#end());
    socket.on("error", () => {
      this.broken = true;
    });
    socket.on("close", () => this.#end());
    if (rest.length > 0) this.#take(rest);
  }

  /**
   * Opens a WebSocket.
   * @param offer Sec-WebSocket-Extensions; "" without
   * @throws Error when the server's answer is not right
   */
  static async open(port: number, offer = ""): Promise<Client> {
    const socket = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    socket.setNoDelay(true);
    const key = randomBytes(16).toString("base64");
    const extensions = offer === "" ? "" : `Sec-WebSocket-Extensions: ${offer}\r\n`;
    socket.write(handshake("/", extensions, key));
    const [answer, rest] = await headOf(socket);
    const { status, head } = answer;
    if (status !== 101 || fieldOf(answer, "sec-websocket-accept") !== acceptOf(key)) {
      socket.destroy();
      throw new Error(`not upgraded: ${head}`);
    }
    const agreed = fieldOf(answer, "sec-websocket-extensions") ?? "";
    return new Client(socket, agreed, rest, offer);
  }

  #end(): void {
    this.ended = true;
    this.#changed();
  }

  #take(bytes: Buffer): void {
    this.#parts.push(bytes);
    this.#length += bytes.length;
    if (this.#length < this.#needed) return;
    let all = Buffer.concat(this.#parts);
    try {
      let found = serverFrame(all);
      for (; typeof found !== "number"; found = serverFrame(all)) {
        this.#frame(found);
        all = all.subarray(found.size);
      }
      // A long message is put together once.
      this.#needed = found;
    } catch (error) {
      this.faults.push(String(error));
      all = Buffer.alloc(0);
    }
    this.#parts = [all];
    this.#length = all.length;
    this.#changed();
  }

  #frame({ first, opcode, final, packed, payload }: ServerFrame<Buffer>): void {
    if (this.closeCode !== 0) this.faults.push(`a frame after the Close: ${first}`);
    const starts = opcode === TEXT || opcode === BINARY;
    if (packed && !(starts && this.#deflater)) this.faults.push("a reserved bit");
    if (opcode >= 8) {
      if (opcode === CLOSE) this.#close(payload);
      else this.events.push({ opcode, payload });
      return;
    }
    if (starts === (this.#opcode !== 0)) this.faults.push(`opcode ${opcode} is out of order`);
    if (starts) {
      this.#opcode = opcode;
      this.#packed = packed;
    }
    this.#fragments.push(payload);
    if (!final) return;
    const whole = Buffer.concat(this.#fragments);
    const data = this.#packed && this.#deflater ? this.#deflater.inflate(whole) : whole;
    if (this.#opcode === TEXT && !isUtf8(data)) this.faults.push("text that is no UTF-8");
    this.events.push({ opcode: this.#opcode, payload: data });
    this.#fragments = [];
    this.#opcode = 0;
  }

  #close(payload: Buffer): void {
    if (payload.length === 1) this.faults.push("a Close of one octet");
    if (!isUtf8(payload.subarray(2))) this.faults.push("a reason that is no UTF-8");
    this.closeCode = payload.length < 2 ? 1005 : payload.readUInt16BE(0);
    this.closeReason = payload.subarray(2).toString();
    this.closer ||= "server";
    // RFC 6455 5.5.1: it is answered with the same code.
    if (!this.#closeSent) this.close(this.closeCode === 1005 ? undefined : this.closeCode);
  }

  /** Sends octets as they are. */
  write(...pieces: Buffer[]): void {
    for (const bytes of pieces) {
      if (this.#socket.writable && !this.broken) this.#socket.write(bytes);
    }
  }

  /** Sends octets in TCP segments of at most `size`, as far as the system allows. */
  async chopped(bytes: Buffer, size: number): Promise<void> {
    for (let at = 0; at < bytes.length && !this.ended; at += size) {
      this.write(bytes.subarray(at, at + size));
      await turn();
    }
  }

  /** Sends each piece by itself. */
  async separately(...pieces: Buffer[]): Promise<void> {
    for (const bytes of pieces) {
      this.write(bytes);
      await turn();
    }
  }

  /** Sends a message as it was agreed upon: compressed, when it was. */
  message(event: Event, size = Number.POSITIVE_INFINITY): void {
    if (!this.#deflater) this.write(...fragmented(event, size));
    else {
      const payload = this.#deflater.deflate(event.payload);
      this.write(Buffer.concat(fragmented({ opcode: event.opcode, payload }, size, 4)));
    }
  }

  /** From now on messages refer to `known`, whatever was agreed upon. */
  keepContext(known: Buffer): void {
    this.#deflater?.keep(known);
  }

  /** Sends a Close with a payload that the case chooses. */
  closeWith(payload: Buffer): void {
    this.#closeSent = true;
    this.closer ||= "client";
    this.write(frame(CLOSE, payload));
  }

  close(code: number | undefined = 1000): void {
    this.closeWith(code === undefined ? Buffer.alloc(0) : closePayload(code));
  }

  /** Waits until something holds that only what the server does can change. @returns whether it does */
  async until(holds: () => boolean, ms = LIMIT): Promise<boolean> {
    const end = Date.now() + ms;
    while (!holds() && Date.now() < end) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, end - Date.now());
        this.#changed = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return holds();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

/** Returns the head of the server's response, and the octets after it. */
function headOf(socket: net.Socket): Promise<[ResponseHead, Buffer]> {
  return new Promise((resolve, reject) => {
    let received = Buffer.alloc(0);
    const finish = (): void => {
      socket.removeAllListeners();
      clearTimeout(timer);
    };
    const fail = (error?: Error): void => {
      finish();
      socket.destroy();
      reject(error ?? new Error("ended before its answer"));
    };
    const timer = setTimeout(() => fail(new Error("no answer")), LIMIT);
    socket.on("error", fail);
    socket.on("end", () => fail());
    socket.on("data", (bytes: Buffer) => {
      received = Buffer.concat([received, bytes]);
      const answer = responseHead(received);
      if (!answer) return;
      finish();
      resolve([answer, received.subarray(answer.head.length)]);
    });
  });
}
