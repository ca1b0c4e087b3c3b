// Raw deflate through node:zlib, in one call and without context, because in this server's permessage-deflate every
// message is compressed on its own.

import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import type { Codec } from "./transport";

export type { Codec } from "./transport";

/** Octets that a sender removes from the end of a compressed message, and a receiver appends again (RFC 7692 7.2.1). */
const TAIL_BYTES = 4;
/** These octets, then an empty final block. A truncated message never reaches that block. */
const END = new Uint8Array([0, 0, 0xff, 0xff, 3, 0]);
/** Octets that a block can refer back to (RFC 1951 2). */
const WINDOW_BYTES = 32768;
/** Length from which on a message may inflate to much more. From there on larger buffers halve the time. */
const LARGE_BYTES = 4096;
const LARGE_CHUNK_BYTES = 262144;
/**
 * Final blocks allowed in one message. Each costs a call of about 20 µs, however few octets it has. Most senders write
 * one at most; a sender that ends each of its writes with a final block writes one for each few KiB.
 */
const FINAL_BLOCKS = 4;
/** Octets of a message that allow one more final block. */
const FINAL_BLOCK_BYTES = 1024;

/** Result of inflateRawSync with `info: true`. */
interface Inflated {
  readonly buffer: Uint8Array;
  readonly engine: { readonly bytesWritten: number };
}

/** Inflates one run of blocks up to a final one. @throws an Error with a code of zlib or of maxOutputLength */
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
 * Inflates all blocks of a message. Final blocks may occur inside it; the next block begins at an octet boundary (RFC
 * 7692 7.2.1).
 * @throws as `inflateRun`
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
    // This is also true when the message's last block is final, so that the appended one is not read.
    if (at === whole.length || at === data.length) {
      return parts.length === 1 ? buffer : Buffer.concat(parts, length);
    }
    known = Buffer.concat([known, buffer.subarray(-WINDOW_BYTES)]).subarray(-WINDOW_BYTES);
  }
  return "bad";
}

/** Raw deflate by node:zlib, for `codec` of a server in memory. */
export const zlibCodec: Codec = {
  deflate(data, windowBits) {
    const out = deflateRawSync(data, {
      finishFlush: constants.Z_SYNC_FLUSH,
      windowBits: Math.max(windowBits, 9),
      // zlib makes no raw stream with a window of 2^8. Z_RLE refers back by one octet, which any window holds.
      strategy: windowBits < 9 ? constants.Z_RLE : constants.Z_DEFAULT_STRATEGY,
      // A context is used for one call, and a small one is created faster.
      memLevel: data.length < 16384 ? 5 : 8,
    });
    return out.subarray(0, out.length - TAIL_BYTES);
  },

  inflate(data, limit) {
    // Some senders leave off all octets of an empty message.
    if (data.length === 0) return data;
    try {
      return inflateBlocks(data, limit);
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE" ? "large" : "bad";
    }
  },
};
