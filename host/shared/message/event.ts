// Messages as server-sent events (WHATWG HTML 9.2), where they are too large for the engine's scratch region. The
// engine writes all others: assembly/ring/event.ts.

import { FrameFlag } from "../../../assembly/abi";
import { toBytes, utf8 } from "../text/text";

/** Bytes that are encoded at a time, a multiple of 3. */
const PART = 24576;

function base64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += PART)
    text += btoa(String.fromCharCode(...bytes.subarray(at, at + PART)));
  return text;
}

/** Returns a message as an event without an id. @param flags of its frame */
export function eventOf(bytes: Uint8Array, flags: number): Uint8Array {
  const isBinary = (flags & FrameFlag.Binary) !== 0;
  const lines = isBinary ? [base64(bytes)] : utf8(bytes, 0, bytes.length).split(/\r\n|\r|\n/);
  return toBytes(`${lines.map((line) => `data: ${line}\n`).join("")}\n`);
}
