// Encodes and decodes WebSocket frames (RFC 6455 5.2) for a client.

import { concat } from "../shared/text/bytes";

/** How a frame is encoded. Defaults make a valid frame. */
export interface FrameOptions {
  /** `false`: further frames of the message follow. */
  readonly final?: boolean;
  /** The three reserved bits, 0 … 7; 4: compressed. */
  readonly reserved?: number;
  /** `false`: no mask. Servers refuse such a frame. */
  readonly masked?: boolean;
}

/** A frame that arrived. */
export interface Frame {
  readonly opcode: number;
  readonly final: boolean;
  /** Whether the message is compressed (RFC 7692 6). */
  readonly packed: boolean;
  readonly payload: Uint8Array;
}

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

function lengthBytes(length: number, mask: number): number[] {
  if (length < 126) return [mask | length];
  if (length < 65536) return [mask | 126, length >> 8, length & 255];
  const high = Math.floor(length / 4294967296);
  const words = [high, length >>> 0];
  return [
    mask | 127,
    ...words.flatMap((word) => [word >>> 24, (word >> 16) & 255, (word >> 8) & 255, word & 255]),
  ];
}

/** Encodes a client's frame. @param key the four octets of the mask */
export function encodeFrame(
  opcode: number,
  payload: Uint8Array,
  key: Uint8Array,
  { final = true, reserved = 0, masked = true }: FrameOptions = {},
): Uint8Array {
  const first = (final ? 0x80 : 0) | (reserved << 4) | opcode;
  const head = [first, ...lengthBytes(payload.length, masked ? 0x80 : 0)];
  if (masked) head.push(...key);
  const out = new Uint8Array(head.length + payload.length);
  out.set(head);
  const at = head.length;
  if (!masked) out.set(payload, at);
  else {
    for (let i = 0; i < payload.length; i++) {
      out[at + i] = (payload[i] as number) ^ (key[i & 3] as number);
    }
  }
  return out;
}

/** Decodes a server's frames from bytes that may be split anywhere. */
export class FrameReader {
  #rest: Uint8Array = new Uint8Array(0);
  /** Bytes needed for the first frame, as far as its header is known. */
  #needed = 2;
  #parts: Uint8Array[] = [];
  #length = 0;

  /** Takes bytes and passes on the complete frames. @throws Error for a frame that a server must not send */
  push(bytes: Uint8Array, receive: (frame: Frame) => void): void {
    this.#parts.push(bytes);
    this.#length += bytes.length;
    if (this.#length < this.#needed) return;
    this.#rest = concat(this.#parts);
    let at = 0;
    for (;;) {
      const frame = this.#read(at);
      if (!frame) break;
      at += this.#needed;
      this.#needed = 2;
      receive(frame);
    }
    this.#rest = this.#rest.subarray(at);
    this.#parts = this.#rest.length === 0 ? [] : [this.#rest];
    this.#length = this.#rest.length;
  }

  /** Returns the frame at `at`; undefined when it is incomplete, and then `#needed` is the length that it needs. */
  #read(at: number): Frame | undefined {
    const bytes = this.#rest;
    const here = bytes.length - at;
    if (here < 2) return undefined;
    const first = bytes[at] as number;
    const second = bytes[at + 1] as number;
    if (first & 0x30) throw new Error("the server set a reserved bit");
    if (second & 0x80) throw new Error("the server masked a frame");
    const form = second < 126 ? 0 : second === 126 ? 2 : 8;
    this.#needed = 2 + form;
    if (here < this.#needed) return undefined;
    let length = second;
    if (form > 0) {
      length = 0;
      for (let i = 0; i < form; i++) length = length * 256 + (bytes[at + 2 + i] as number);
      if (length < (form === 2 ? 126 : 65536))
        throw new Error("the server sent a length that is not in its shortest form");
    }
    this.#needed = 2 + form + length;
    if (here < this.#needed) return undefined;
    const opcode = first & 15;
    const final = (first & 0x80) !== 0;
    if (opcode >= OPCODE.close && (length > 125 || !final))
      throw new Error("the server sent a control frame that is too long or fragmented");
    const payload = bytes.subarray(at + 2 + form, at + this.#needed);
    return { opcode, final, packed: (first & 0x40) !== 0, payload };
  }
}
