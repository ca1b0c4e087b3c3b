// Raw deflate through node:zlib, in one call and without context: what permessage-deflate needs when
// every message stands alone.

import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import type { Codec } from "../net";

/** What a sender leaves off a compressed message, and a receiver puts back (RFC 7692 7.2.1). */
const TAIL = new Uint8Array([0, 0, 0xff, 0xff]);

export const zlibCodec: Codec = {
  deflate(data, windowBits) {
    const out = deflateRawSync(data, {
      finishFlush: constants.Z_SYNC_FLUSH,
      windowBits,
      // A context lives for one call: a small one is made faster.
      memLevel: data.length < 16384 ? 5 : 8,
    });
    return out.subarray(0, out.length - TAIL.length);
  },

  inflate(data, limit) {
    const whole = new Uint8Array(data.length + TAIL.length);
    whole.set(data);
    whole.set(TAIL, data.length);
    try {
      return inflateRawSync(whole, {
        finishFlush: constants.Z_SYNC_FLUSH,
        maxOutputLength: Math.max(limit, 1),
      });
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE" ? "large" : "bad";
    }
  },
};
