// Frames of RFC 6455 for a client: it encodes masked ones, and checks the server's strictly.
//
// Invariant: a message is passed on whole, and text only when it is valid UTF-8, which is checked as it arrives. After
// an error nothing more is read.

import { joined } from "../shared/text/bytes";

/** Opcodes (5.2). */
export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
const PING = 9;
export const PONG = 10;

/** The code reported for a Close frame without a code. */
export const NO_CODE = 1005;

export interface FrameUser {
  message(data: string | Uint8Array<ArrayBuffer>): void;
  ping(data: Uint8Array): void;
  closed(code: number, reason: string): void;
}

/** An error of the server's against the protocol. */
export class FrameError extends Error {
  override readonly name = "FrameError";
  /** Code of the Close frame that reports the error. */
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

const broken = (message: string): FrameError => new FrameError(1002, message);

/** Encodes a client's frame, masked (5.3), as the last frame of its message. */
export function frameOf(opcode: number, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const { length } = payload;
  const wide = length > 65535 ? 8 : length > 125 ? 2 : 0;
  const start = 2 + wide + 4;
  const frame = new Uint8Array(start + length);
  frame[0] = 0x80 | opcode;
  const view = new DataView(frame.buffer);
  if (wide === 0) {
    frame[1] = 0x80 | length;
  } else if (wide === 2) {
    frame[1] = 0xfe;
    view.setUint16(2, length);
  } else {
    frame[1] = 0xff;
    view.setBigUint64(2, BigInt(length));
  }
  const mask = crypto.getRandomValues(frame.subarray(start - 4, start));
  for (let i = 0; i < length; i++)
    frame[start + i] = (payload[i] as number) ^ (mask[i & 3] as number);
  return frame;
}

/** Encodes the payload of a Close frame (5.5.1). */
export function closePayload(code: number, reason: string): Uint8Array {
  if (code === NO_CODE) return new Uint8Array(0);
  const text = new TextEncoder().encode(reason);
  const payload = new Uint8Array(2 + text.length);
  payload[0] = code >> 8;
  payload[1] = code & 255;
  payload.set(text, 2);
  return payload;
}

/** Returns true for a code that a Close frame may carry (7.4). */
function isCode(code: number): boolean {
  if (code >= 3000) return code <= 4999;
  return code >= 1000 && code <= 1014 && (code < 1004 || code > 1006);
}

interface Frame {
  readonly isFinal: boolean;
  readonly opcode: number;
  readonly length: number;
}

export class FrameReader {
  readonly #user: FrameUser;
  /** The part of the frame's header that has arrived, at most 10 bytes. */
  readonly #head = new Uint8Array(10);
  #headLength = 0;
  #frame: Frame | undefined;
  /** Pieces of the frame's payload that have arrived. */
  #parts: Uint8Array<ArrayBuffer>[] = [];
  #left = 0;
  /** Opcode of the message that is being received; 0: none. */
  #opcode = 0;
  #message: Uint8Array<ArrayBuffer>[] = [];
  #text = "";
  #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #isClosed = false;

  constructor(user: FrameUser) {
    this.#user = user;
  }

  /** Reads bytes. Bytes after a Close frame are ignored. @throws FrameError */
  push(bytes: Uint8Array<ArrayBuffer>): void {
    let at = 0;
    while (at < bytes.length && !this.#isClosed) {
      if (!this.#frame) {
        this.#head[this.#headLength++] = bytes[at++] as number;
        this.#readHead();
      } else {
        const part = bytes.subarray(at, at + this.#left);
        at += part.length;
        this.#left -= part.length;
        this.#take(part);
      }
      if (this.#frame && this.#left === 0) this.#endFrame(this.#frame);
    }
  }

  #readHead(): void {
    const head = this.#head;
    const [first = 0, second = 0] = head;
    if (this.#headLength === 1) this.#checkFirst(first);
    if (this.#headLength < 2) return;
    if (second & 0x80) throw broken("a frame of the server is masked");
    const short = second & 127;
    if (this.#headLength === 2 && first & 8 && short > 125)
      throw broken("a control frame is larger than 125 bytes");
    const needed = short === 127 ? 10 : short === 126 ? 4 : 2;
    if (this.#headLength < needed) return;
    const view = new DataView(head.buffer);
    let length = short;
    if (needed === 4) length = view.getUint16(2);
    if (needed === 10) length = Number(view.getBigUint64(2));
    if ((needed === 4 && length < 126) || (needed === 10 && length < 65536))
      throw broken("a length is not in its shortest form");
    if (!Number.isSafeInteger(length)) throw new FrameError(1009, "a frame is too large");
    this.#headLength = 0;
    this.#left = length;
    this.#frame = { isFinal: (first & 0x80) !== 0, opcode: first & 15, length };
  }

  #checkFirst(first: number): void {
    const opcode = first & 15;
    if (first & 0x70) throw broken("a reserved bit is set");
    if (opcode & 8) {
      if (opcode > PONG) throw broken(`${opcode} is no opcode`);
      if (!(first & 0x80)) throw broken("a control frame is fragmented");
    } else {
      if (opcode > BINARY) throw broken(`${opcode} is no opcode`);
      if (opcode === 0 && this.#opcode === 0) throw broken("a continuation without a message");
      if (opcode !== 0 && this.#opcode !== 0) throw broken("a message began within another");
    }
    if (opcode === TEXT || opcode === BINARY) this.#opcode = opcode;
  }

  #take(part: Uint8Array<ArrayBuffer>): void {
    const { opcode } = this.#frame as Frame;
    if (opcode & 8) this.#parts.push(part);
    else if (this.#opcode === TEXT) this.#text += this.#decode(part, true);
    else this.#message.push(part);
  }

  #decode(part: Uint8Array<ArrayBuffer>, stream: boolean): string {
    try {
      return this.#decoder.decode(part, { stream });
    } catch {
      throw new FrameError(1007, "a text is not valid UTF-8");
    }
  }

  #endFrame({ isFinal, opcode }: Frame): void {
    this.#frame = undefined;
    if (opcode & 8) {
      const payload = joined(this.#parts);
      this.#parts = [];
      this.#control(opcode, payload);
    } else if (isFinal) {
      this.#endMessage();
    }
  }

  #endMessage(): void {
    const isText = this.#opcode === TEXT;
    this.#opcode = 0;
    if (isText) {
      const text = this.#text + this.#decode(new Uint8Array(0), false);
      this.#text = "";
      this.#user.message(text);
    } else {
      const parts = this.#message;
      this.#message = [];
      this.#user.message(joined(parts));
    }
  }

  #control(opcode: number, payload: Uint8Array<ArrayBuffer>): void {
    if (opcode === PING) this.#user.ping(payload);
    if (opcode !== CLOSE) return;
    this.#isClosed = true;
    if (payload.length === 0) {
      this.#user.closed(NO_CODE, "");
      return;
    }
    const code = ((payload[0] as number) << 8) | (payload[1] ?? 0);
    if (payload.length === 1 || !isCode(code)) throw broken("a Close frame's payload is not valid");
    this.#decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    this.#user.closed(code, this.#decode(payload.subarray(2), false));
  }
}
