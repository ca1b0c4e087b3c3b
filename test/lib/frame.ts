// WebSocket frames (RFC 6455 5.2) as a client makes and reads them: written from the RFC, slowly.

import { CLOSE_TABLE } from "../../host/shared/close";
import { type Bytes, octets } from "./drive";
import { type ServerFrame, serverFrames } from "./server-frame";

export interface FrameOptions {
  readonly final?: number;
  /** The three reserved bits. */
  readonly reserved?: number;
  /** 0 leaves the mask out. */
  readonly masked?: number;
  readonly mask?: readonly number[];
  /** Bytes of the extended length: 0, 2 or 8; the shortest that fits when left out. */
  readonly form?: number;
  /** The length the head tells, when it is not the payload's. */
  readonly length?: bigint;
}

/** Returns a client's frame. */
export function frame(opcode: number, payload: Bytes = "", options: FrameOptions = {}): Uint8Array {
  const bytes = octets(payload);
  const { final = 1, reserved = 0, masked = 1, mask = [0x37, 0xfa, 0x21, 0x3d] } = options;
  const length = options.length ?? BigInt(bytes.length);
  const form = options.form ?? (length < 126n ? 0 : length < 65536n ? 2 : 8);
  const head = [(final << 7) | (reserved << 4) | opcode];
  head.push((masked << 7) | (form === 0 ? Number(length) : form === 2 ? 126 : 127));
  for (let i = form - 1; i >= 0; i--) head.push(Number((length >> BigInt(8 * i)) & 255n));
  if (masked) head.push(...mask);
  const body = masked ? bytes.map((byte, i) => byte ^ (mask[i % 4] as number)) : bytes;
  return Buffer.concat([Uint8Array.from(head), body]);
}

export const text = (payload: Bytes, options?: FrameOptions): Uint8Array =>
  frame(1, payload, options);

/** Returns a Close frame with a code and a reason. */
export function closeFrame(code: number, reason: Bytes = ""): Uint8Array {
  return frame(8, Buffer.concat([Uint8Array.of(code >> 8, code & 255), octets(reason)]));
}

/** Parses a server's uncompressed frames. @throws Error for octets that are no frames */
export function received(bytes: Uint8Array): ServerFrame[] {
  const frames = serverFrames(bytes);
  if (frames.some(({ packed }) => packed)) throw new Error("a reserved bit is set");
  return frames;
}

/** Returns the line of the Close frame that the server sends for a cause, see `lines`. */
export function closeLine(cause: keyof typeof CLOSE_TABLE): string {
  const { code, text } = CLOSE_TABLE[cause];
  return `close ${code} ${text}`;
}

const NAMES: Record<number, string> = { 0: "cont", 1: "text", 2: "binary", 9: "ping", 10: "pong" };

/** Returns a line for each frame of a server: "text hello", "close 1002", "pong x". */
export function lines(bytes: Uint8Array): string[] {
  return received(bytes).map(({ final, opcode, payload }) => {
    if (opcode !== 8) {
      const text = Buffer.from(payload).toString("latin1");
      return `${NAMES[opcode] ?? opcode}${final ? "" : "…"} ${text}`.trimEnd();
    }
    if (payload.length === 0) return "close";
    const code = ((payload[0] as number) << 8) | (payload[1] as number);
    return `close ${code} ${Buffer.from(payload.subarray(2)).toString()}`.trimEnd();
  });
}
