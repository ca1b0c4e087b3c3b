// WebSocket frames (RFC 6455 5.2) as the unit tests write and read them: payloads as text, frames of a server as lines.

import { CLOSE_TABLE } from "../../host/shared/close";
import { type FrameOptions, clientFrame, closePayload } from "./client-frame";
import { type Bytes, octets } from "./drive";
import { type ServerFrame, serverFrames } from "./server-frame";

export type { FrameOptions } from "./client-frame";

/** Returns a client's frame. A text is one of octets. */
export function frame(opcode: number, payload: Bytes = "", options: FrameOptions = {}): Uint8Array {
  return clientFrame(opcode, octets(payload), options);
}

export const text = (payload: Bytes, options?: FrameOptions): Uint8Array =>
  frame(1, payload, options);

/** Returns a Close frame with a code and a reason. */
export function closeFrame(code: number, reason: Bytes = ""): Uint8Array {
  return frame(8, closePayload(code, octets(reason)));
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
