// A codec that inflates most messages in many small steps, so that tests see what happens between two of them.

import { zlibCodec } from "../../worker/net/zlib";
import type { Codec, Inflation } from "../../worker/net/transport";

/** Returns a codec whose steps write `room` bytes at most. Messages up to `smallBytes` are inflated in one call. */
export function stepped(smallBytes: number, room: number): Codec {
  return {
    ...zlibCodec,
    smallBytes,
    begin() {
      const inflation = zlibCodec.begin?.();
      if (!inflation) throw new Error("node:zlib has no steps");
      return {
        get isDone() {
          return inflation.isDone;
        },
        step: (data, out) => inflation.step(data, out.subarray(0, room)),
        end: () => inflation.end(),
      } satisfies Inflation;
    },
  };
}
