// A WebSocket client down to its frames (RFC 6455 5.2): it masks, and is strict about what it gets.

import { type Bytes, bytesOf, concat, latin1Of, octetsOf, textOf } from "./bytes";
import { type FrameOptions, clientFrame, closePayload } from "../lib/client-frame";
import { ACCEPT, handshake } from "../lib/handshake";
import { serverFrame } from "../lib/server-frame";
import type { Wire } from "./client";

export const CONTINUATION = 0;
export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

/** Returns a client's frame. A text is sent as UTF-8. */
export function frame(opcode: number, data: Bytes = "", options: FrameOptions = {}): Uint8Array {
  return clientFrame(opcode, bytesOf(data), options);
}

/** Returns a Close frame with a code and a reason. */
export function closeFrame(code: number, reason = ""): Uint8Array {
  return frame(CLOSE, closePayload(code, bytesOf(reason)));
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
    const { status, head, fields: agreed } = await wire.answer();
    if (status !== 101) throw new Error(`not upgraded: ${head}`);
    if (agreed.get("sec-websocket-accept") !== ACCEPT) throw new Error(`not accepted: ${head}`);
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
