// Raw deflate through node:zlib, without context, because in this server's permessage-deflate every message is
// compressed on its own. Small messages are inflated in one call, large ones in steps.
//
// Invariant: a step reads STEP_BYTES at most, writes no more than its output holds, and begins one run of blocks at
// most. Steps call a part of node:zlib that is undocumented. It is tried once; where it behaves otherwise, there are no
// steps.

import { constants, createInflateRaw, deflateRawSync, inflateRawSync } from "node:zlib";
import type { Codec, Inflation } from "./transport";

export type { Codec, Inflation } from "./transport";

/** Octets that a sender removes from the end of a compressed message, and a receiver appends again (RFC 7692 7.2.1). */
const TAIL_BYTES = 4;
/** These octets, then an empty final block. A truncated message never reaches that block. */
const END = new Uint8Array([0, 0, 0xff, 0xff, 3, 0]);
/** Octets that a block can refer back to (RFC 1951 2). */
const WINDOW_BYTES = 32768;
/** Length from which on a message may inflate to much more. From there on larger buffers halve the time. */
const LARGE_BYTES = 4096;
const LARGE_CHUNK_BYTES = 262144;
const SMALL_CHUNK_BYTES = 16384;
/**
 * Final blocks allowed in one message. Each costs a call of about 20 µs, however few octets it has. Most senders write
 * one at most; a sender that ends each of its writes with a final block writes one for each few KiB.
 */
const FINAL_BLOCKS = 4;
/** Octets of a message that allow one more final block. */
const FINAL_BLOCK_BYTES = 1024;
/** Largest message that is inflated in one call: 0.1 ms of work. A step costs more than the call for a small one. */
const SMALL_BYTES = 65536;
/**
 * Most bytes that one step reads. Blocks without output take 36 µs for each KiB, which is the slowest input. Smaller
 * steps would make input that cannot be compressed slower.
 */
const STEP_BYTES = 8192;

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
    ...(packed.length >= LARGE_BYTES
      ? { chunkSize: Math.min(LARGE_CHUNK_BYTES, Math.max(limit, SMALL_CHUNK_BYTES) + 1) }
      : {}),
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
  const most = runsOf(data);
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

/** Returns how many runs of blocks a message may have. */
function runsOf(data: Uint8Array): number {
  return FINAL_BLOCKS + Math.floor(data.length / FINAL_BLOCK_BYTES);
}

/** The part of a zlib stream that does one bounded piece of work at once. It is undocumented. */
interface RawStream {
  readonly _handle: {
    /** Reports an error of `writeSync`, which returns nothing. */
    onerror: (message: string, errno: number, code: string) => void;
    writeSync(
      ...args: [
        ...[flush: number, from: Uint8Array, at: number, length: number],
        ...[to: Uint8Array, at: number, length: number],
      ]
    ): void;
  };
  /** After `writeSync`: bytes of the output that are left, and bytes of the input. */
  readonly _writeState: Uint32Array;
  close(): void;
}

class Steps implements Inflation {
  #stream: RawStream;
  /** Whether the stream has reported an error. */
  #isBad = false;
  /** Bytes that have been read of the message and of END after it. */
  #at = 0;
  #runs = 1;
  isDone = false;
  /** The last bytes of the output, to which the next run of blocks can refer back, and their number. */
  readonly #known = new Uint8Array(WINDOW_BYTES);
  #knownBytes = 0;

  constructor() {
    this.#stream = this.#open();
  }

  #open(): RawStream {
    const known = this.#known.subarray(0, this.#knownBytes);
    const stream = createInflateRaw({
      chunkSize: constants.Z_MIN_CHUNK,
      ...(known.length > 0 ? { dictionary: known } : {}),
    });
    const failed = (): void => {
      this.#isBad = true;
    };
    // Where the handle reports errors in another way, they must not end the process.
    stream.on("error", failed);
    const raw = stream as unknown as RawStream;
    raw._handle.onerror = failed;
    return raw;
  }

  step(data: Uint8Array, out: Uint8Array): number | "bad" {
    const isTail = this.#at >= data.length;
    const from = isTail ? END : data;
    const at = isTail ? this.#at - data.length : this.#at;
    const length = isTail ? END.length - at : Math.min(STEP_BYTES, data.length - at);
    // With Z_FINISH an end within a block is an error, unless the output is full.
    const flush = isTail ? constants.Z_FINISH : constants.Z_SYNC_FLUSH;
    const { _handle, _writeState } = this.#stream;
    _handle.writeSync(flush, from, at, length, out, 0, out.length);
    if (this.#isBad) return "bad";
    const [outLeft = 0, left = 0] = _writeState;
    const written = out.length - outLeft;
    this.#at += length - left;
    this.#remember(out.subarray(0, written));
    // The output has room, so the run of blocks has ended, or has read everything.
    if (outLeft > 0 && (left > 0 || isTail)) return this.#endRun(data) ? written : "bad";
    return written;
  }

  /** Handles the end of a run of blocks. @returns false when the message has too many of them */
  #endRun(data: Uint8Array): boolean {
    // The first is also true when the message's last block is final, so that the appended one is not read.
    if (this.#at === data.length || this.#at === data.length + END.length) this.isDone = true;
    else if (++this.#runs > runsOf(data)) return false;
    else {
      this.#stream.close();
      this.#stream = this.#open();
    }
    return true;
  }

  #remember(bytes: Uint8Array): void {
    const last = bytes.subarray(-WINDOW_BYTES);
    const kept = Math.min(this.#knownBytes, WINDOW_BYTES - last.length);
    this.#known.copyWithin(0, this.#knownBytes - kept, this.#knownBytes);
    this.#known.set(last, kept);
    this.#knownBytes = kept + last.length;
  }

  end(): void {
    this.#stream.close();
  }
}

/** Inflates a message in steps. @throws what node:zlib throws where it has no such function */
function inSteps(data: Uint8Array, out: Uint8Array): string {
  const steps = new Steps();
  const text: string[] = [];
  while (!steps.isDone) {
    const written = steps.step(data, out);
    if (written === "bad" || text.length > data.length) return "bad";
    text.push(Buffer.from(out.subarray(0, written)).toString("latin1"));
  }
  steps.end();
  return text.join("");
}

/** Returns true when messages can be inflated in steps: two known messages have the right results. */
function hasSteps(): boolean {
  try {
    const text = "in steps, ".repeat(20);
    const packed = deflateRawSync(text);
    const out = new Uint8Array(64);
    return inSteps(packed, out) === text && inSteps(packed.subarray(0, -4), out) === "bad";
  } catch {
    return false;
  }
}

let isTried = false;
let isStepped = false;

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

  smallBytes: SMALL_BYTES,

  begin() {
    if (!isTried) isStepped = hasSteps();
    isTried = true;
    return isStepped ? new Steps() : undefined;
  },
};
