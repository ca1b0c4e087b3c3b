// The events of a turn on their way to the application: records one behind the other in one buffer, which is
// posted once, at the end of the turn.
//
// Invariant: a record is whole when `begin` of the next is called or the batch is taken; records are never
// split. `total` counts what was ever written, as the application counts what it has handled.

import {
  RECORD_BYTES,
  RECORD_GENERATION,
  RECORD_KIND,
  RECORD_LENGTH,
  RECORD_SLOT,
  RECORD_TOTAL,
  RECORD_VALUE,
} from "../assembly/abi";
import { viewOf } from "../host/text";
import type { Told } from "../host/wire";

const START = 65536;

export class Batch {
  #memory = new ArrayBuffer(START);
  #u32 = new Uint32Array(this.#memory);
  /** The bytes to write payloads to; another view after each `begin`. */
  bytes: Uint8Array = viewOf(this.#memory);
  #used = 0;
  /** Bytes of all records since the start, a u32 that wraps. */
  total = 0;

  #grow(needed: number): void {
    let size = this.#memory.byteLength;
    while (size < needed) size *= 2;
    const before = this.bytes.subarray(0, this.#used);
    this.#use(new ArrayBuffer(size));
    this.bytes.set(before);
  }

  #use(memory: ArrayBuffer): void {
    this.#memory = memory;
    this.#u32 = new Uint32Array(memory);
    this.bytes = viewOf(memory);
  }

  /** Starts a record; returns where its payload of `length` bytes is to be written. */
  begin(
    kind: Told,
    flags: number,
    slot: number,
    generation: number,
    value: number,
    length: number,
  ): number {
    const total = (RECORD_BYTES + length + 7) & ~7;
    const at = this.#used;
    if (at + total > this.#memory.byteLength) this.#grow(at + total);
    const u32 = this.#u32;
    const word = at >>> 2;
    u32[word + (RECORD_TOTAL >>> 2)] = total;
    u32[word + (RECORD_KIND >>> 2)] = kind | (flags << 8);
    u32[word + (RECORD_LENGTH >>> 2)] = length;
    u32[word + (RECORD_SLOT >>> 2)] = slot;
    u32[word + (RECORD_GENERATION >>> 2)] = generation;
    u32[word + (RECORD_VALUE >>> 2)] = value;
    this.#used = at + total;
    this.total = (this.total + total) >>> 0;
    return at + RECORD_BYTES;
  }

  /** The bytes of a record with a payload of `length` bytes. */
  static cost(length: number): number {
    return (RECORD_BYTES + length + 7) & ~7;
  }

  /** Takes what there is, to be transferred; undefined: nothing. */
  take(): ArrayBuffer | undefined {
    const used = this.#used;
    if (used === 0) return undefined;
    this.#used = 0;
    // A copy of little is cheaper than another large buffer.
    if (used <= START) {
      const copy = this.#memory.slice(0, used);
      if (this.#memory.byteLength > START) this.#use(new ArrayBuffer(START));
      return copy;
    }
    const whole = this.#memory;
    // Where it ends, unless it is full.
    if (used < whole.byteLength) this.#u32[used >>> 2] = 0;
    this.#use(new ArrayBuffer(START));
    return whole;
  }
}
