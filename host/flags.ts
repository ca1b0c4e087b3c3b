// What may be sent, and the flags of its record: whether its frame is text or binary, whether it may be compressed.

import { FrameFlag } from "../assembly/abi";
import type { SendOptions } from "./handler";

/** Checks data and options, and gives the record's flags. @throws TypeError */
export function flagsOf(data: unknown, options: SendOptions | undefined): number {
  if (typeof data !== "string" && !(data instanceof Uint8Array) && !(data instanceof ArrayBuffer)) {
    throw new TypeError(
      `data: ${data === null ? "null" : typeof data} is not a string, Uint8Array or ArrayBuffer`,
    );
  }
  const plain = options?.compress === false ? FrameFlag.Plain : 0;
  return ((options?.binary ?? typeof data !== "string") ? FrameFlag.Binary : 0) | plain;
}
