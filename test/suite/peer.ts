// A WebSocket client down to its frames (RFC 6455 5.2): it masks, and is strict about what it gets.

import { type Bytes, bytesOf, concat, latin1Of, octetsOf, textOf } from "./bytes";
import { serverFrame } from "../lib/server-frame";
import type { Wire } from "./client";

export const CONTINUATION = 0;
export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

/** A key, and what it is answered with (RFC 6455 1.3). */
const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/** Returns an opening handshake. @param fields lines, each with its CR LF */
export function handshake(target: string, fields = ""): string {
  return (
    `GET ${target} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
    `Sec-WebSocket-Key: ${KEY}\r\nSec-WebSocket-Version: 13\r\n${fields}\r\n`
  );
}

interface FrameOptions {
  /** false: more of the message follows. */
  readonly final?: boolean;
  /** The three reserved bits; 4: compressed. */
  readonly reserved?: number;
  /** false: without a mask, which servers refuse. */
  readonly masked?: boolean;
  /** Bytes of the extended length: 0, 2 or 8; the shortest that fits when left out. */
  readonly form?: number;
}

const MASK = [0x37, 0xfa, 0x21, 0x3d] as const;

/** Returns a client's frame. */
export function frame(opcode: number, data: Bytes = "", options: FrameOptions = {}): Uint8Array {
  const payload = bytesOf(data);
  const { final = true, reserved = 0, masked = true } = options;
  const n = payload.length;
  const form = options.form ?? (n < 126 ? 0 : n < 65536 ? 2 : 8);
  const head = [(final ? 0x80 : 0) | (reserved << 4) | opcode];
  head.push((masked ? 0x80 : 0) | (form === 0 ? n : form === 2 ? 126 : 127));
  for (let i = form - 1; i >= 0; i--) head.push(i > 3 ? 0 : (n >>> (8 * i)) & 255);
  if (!masked) return concat([Uint8Array.from(head), payload]);
  const body = payload.map((byte, i) => byte ^ (MASK[i & 3] as number));
  return concat([Uint8Array.from([...head, ...MASK]), body]);
}

/** Returns a Close frame with a code and a reason. */
export function closeFrame(code: number, reason = ""): Uint8Array {
  return frame(CLOSE, concat([Uint8Array.of(code >> 8, code & 255), bytesOf(reason)]));
}

interface Frame {
  readonly opcode: number;
  /** The first reserved bit: compressed. */
  readonly packed: boolean;
  readonly payload: Uint8Array;
}

export class Peer {
  readonly wire: Wire;
  /** The head of the 101. */
  readonly head: string;

  private constructor(wire: Wire, head: string) {
    this.wire = wire;
    this.head = head;
  }

  /** Opens one; `first` is sent with the handshake. @throws Error when it is not upgraded */
  static async open(wire: Wire, target: string, fields = "", first?: Uint8Array): Promise<Peer> {
    wire.send(concat([octetsOf(handshake(target, fields)), first ?? new Uint8Array(0)]));
    const head = await wire.takeThrough("\r\n\r\n");
    if (!head.startsWith("HTTP/1.1 101 ")) throw new Error(`not upgraded: ${head}`);
    if (!head.includes(`\r\nSec-WebSocket-Accept: ${ACCEPT}\r\n`))
      throw new Error(`not accepted: ${head}`);
    return new Peer(wire, head);
  }

  send(opcode: number, data?: Bytes, options?: FrameOptions): this {
    this.wire.send(frame(opcode, data, options));
    return this;
  }

  text(data: string): this {
    return this.send(TEXT, data);
  }

  /** The next frame, which must be final. @throws Error when it ends before, or is none */
  async next(): Promise<Frame> {
    let bytes: Uint8Array = new Uint8Array(0);
    for (;;) {
      const found = serverFrame(bytes);
      if (typeof found !== "number") {
        if (!found.final) throw new Error("a frame is not final");
        return found;
      }
      bytes = concat([bytes, await this.wire.take(found - bytes.length)]);
    }
  }

  /** The next frame's payload; it must be a whole message of this kind. */
  async message(opcode: number): Promise<Uint8Array> {
    const next = await this.next();
    if (next.opcode !== opcode || next.packed) {
      const text = latin1Of(next.payload.subarray(0, 100));
      throw new Error(`opcode ${next.opcode}${next.packed ? ", packed" : ""}: ${text}`);
    }
    return next.payload;
  }

  /** The next message, which must be text. */
  async line(): Promise<string> {
    return textOf(await this.message(TEXT));
  }

  /** The Close that is next: its code, 1005 for none, and its reason. */
  async closing(): Promise<[code: number, reason: string]> {
    const payload = await this.message(CLOSE);
    if (payload.length === 0) return [1005, ""];
    const code = ((payload[0] as number) << 8) | (payload[1] as number);
    return [code, textOf(payload.subarray(2))];
  }

  /** Waits for the end of the connection; nothing may come before it. */
  async gone(): Promise<"fin" | "reset"> {
    const rest = await this.wire.takeAll();
    if (rest.length > 0) throw new Error(`${rest.length} bytes before the end`);
    return this.wire.client.ended as "fin" | "reset";
  }

  reset(): void {
    this.wire.reset();
  }
}
