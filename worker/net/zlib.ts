// Raw deflate through node:zlib, in one call and without context: what permessage-deflate needs when
// every message stands alone.

import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import type { Codec } from "./transport";

/** Octets that a sender leaves off a compressed message, and a receiver puts back (RFC 7692 7.2.1). */
const TAIL_BYTES = 4;
/** These, and an empty final block behind them: a message that is cut does not get to its end. */
const END = new Uint8Array([0, 0, 0xff, 0xff, 3, 0]);
/** Octets behind which a block cannot refer (RFC 1951 2). */
const WINDOW_BYTES = 32768;
/** Octets from which on a message may be much larger inflated: larger buffers take half the time then. */
const LARGE_BYTES = 4096;
const LARGE_CHUNK_BYTES = 262144;
/**
 * Final blocks in one message. Each costs a call of some 20 µs, however few octets it has. Hardly any sender makes more
 * than one; one that ends each of its writes with a final block has one for some KiB.
 */
const FINAL_BLOCKS = 4;
/** Octets of a message that allow for one more. */
const FINAL_BLOCK_BYTES = 1024;

/** What `info: true` makes inflateRawSync return. */
interface Inflated {
  readonly buffer: Uint8Array;
  readonly engine: { readonly bytesWritten: number };
}

/** One run of blocks up to a final one. @throws an Error with a code of zlib or of maxOutputLength */
function inflateRun(packed: Uint8Array, limit: number, dictionary: Uint8Array): Inflated {
  const options = {
    info: true,
    maxOutputLength: Math.max(limit, 1),
    ...(packed.length >= LARGE_BYTES ? { chunkSize: LARGE_CHUNK_BYTES } : {}),
    ...(dictionary.length > 0 ? { dictionary } : {}),
  };
  return inflateRawSync(packed, options) as unknown as Inflated;
}

/**
 * All blocks of a message. Blocks may be final in the middle of it; the next one begins at an octet boundary
 * (RFC 7692 7.2.1). @throws as `inflateRun`
 */
function inflateBlocks(data: Uint8Array, limit: number): Uint8Array | "large" | "bad" {
  const whole = new Uint8Array(data.length + END.length);
  whole.set(data);
  whole.set(END, data.length);
  const parts: Uint8Array[] = [];
  let length = 0;
  let known: Uint8Array = new Uint8Array(0);
  let at = 0;
  const most = FINAL_BLOCKS + Math.floor(data.length / FINAL_BLOCK_BYTES);
  while (parts.length < most) {
    const { buffer, engine } = inflateRun(whole.subarray(at), limit - length, known);
    parts.push(buffer);
    length += buffer.length;
    if (length > limit) return "large";
    at += engine.bytesWritten;
    // Also when the last block of the message is final and nothing is appended to it.
    if (at === whole.length || at === data.length) {
      return parts.length === 1 ? buffer : Buffer.concat(parts, length);
    }
    known = Buffer.concat([known, buffer.subarray(-WINDOW_BYTES)]).subarray(-WINDOW_BYTES);
  }
  return "bad";
}

/** Raw deflate by node:zlib: `codec` of a server in memory. */
export const zlibCodec: Codec = {
  deflate(data, windowBits) {
    const out = deflateRawSync(data, {
      finishFlush: constants.Z_SYNC_FLUSH,
      windowBits: Math.max(windowBits, 9),
      // zlib makes no raw stream with a window of 2^8; runs refer back by one octet, which any window holds.
      strategy: windowBits < 9 ? constants.Z_RLE : constants.Z_DEFAULT_STRATEGY,
      // A context lives for one call: a small one is made faster.
      memLevel: data.length < 16384 ? 5 : 8,
    });
    return out.subarray(0, out.length - TAIL_BYTES);
  },

  inflate(data, limit) {
    // Some senders leave off all of an empty message.
    if (data.length === 0) return data;
    try {
      return inflateBlocks(data, limit);
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE" ? "large" : "bad";
    }
  },
};
