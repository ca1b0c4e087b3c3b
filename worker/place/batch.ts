// Events in flight to the application. Records are appended to one buffer, and whole records are posted at the end of a
// turn, as many as may be in flight.
//
// Invariant: a record is complete when `begin` of the next one is called or the batch is taken. Records are never
// split, and are taken in order. `total` counts all bytes ever written, as the application counts the bytes it has
// handled.

import {
  RECORD_BYTES,
  RECORD_GENERATION,
  RECORD_KIND,
  RECORD_LENGTH,
  RECORD_SLOT,
  RECORD_TOTAL,
  RECORD_VALUE,
} from "../../assembly/abi";
import { viewOf } from "../../host/shared/text/text";
import type { BatchEvent } from "../../host/shared/message/wire";

const START = 65536;

export class Batch {
  #memory = new ArrayBuffer(START);
  #u32 = new Uint32Array(this.#memory);
  /** The bytes to write payloads to. Each `begin` may replace the view. */
  bytes: Uint8Array = viewOf(this.#memory);
  /** Start and end of the records that have not been taken. */
  #from = 0;
  #used = 0;
  #events = 0;
  /** The records that were taken last. */
  taken = new ArrayBuffer(0);
  /** Bytes of all records since the start, a u32 that wraps. */
  total = 0;

  #grow(needed: number): void {
    let size = this.#memory.byteLength;
    // The room of taken records is reused.
    while (size < needed - this.#from) size *= 2;
    const before = this.bytes.subarray(this.#from, this.#used);
    this.#use(new ArrayBuffer(size));
    this.bytes.set(before);
    this.#used -= this.#from;
    this.#from = 0;
  }

  #use(memory: ArrayBuffer): void {
    this.#memory = memory;
    this.#u32 = new Uint32Array(memory);
    this.bytes = viewOf(memory);
  }

  /** Begins a record. @returns the offset at which its payload of `length` bytes is to be written */
  begin(
    kind: BatchEvent,
    flags: number,
    slot: number,
    generation: number,
    value: number,
    length: number,
  ): number {
    const total = (RECORD_BYTES + length + 7) & ~7;
    if (this.#used + total > this.#memory.byteLength) this.#grow(this.#used + total);
    const at = this.#used;
    const u32 = this.#u32;
    const word = at >>> 2;
    u32[word + (RECORD_TOTAL >>> 2)] = total;
    u32[word + (RECORD_KIND >>> 2)] = kind | (flags << 8);
    u32[word + (RECORD_LENGTH >>> 2)] = length;
    u32[word + (RECORD_SLOT >>> 2)] = slot;
    u32[word + (RECORD_GENERATION >>> 2)] = generation;
    u32[word + (RECORD_VALUE >>> 2)] = value;
    this.#used = at + total;
    this.#events++;
    this.total = (this.total + total) >>> 0;
    return at + RECORD_BYTES;
  }

  /** Returns the bytes of a record with a payload of `length` bytes. */
  static cost(length: number): number {
    return (RECORD_BYTES + length + 7) & ~7;
  }

  /** Number of events that have not been taken. */
  get events(): number {
    return this.#events;
  }

  /**
   * Takes whole records from the front, to be transferred.
   * @param bytes of records at most
   * @param events at most
   * @param least 1: one record is taken, however large it is
   * @returns number of events; 0: none fits, else `taken` holds them
   */
  take(bytes: number, events: number, least: 0 | 1): number {
    const u32 = this.#u32;
    let end = this.#from;
    let count = 0;
    while (end < this.#used && count < events) {
      const next = end + (u32[(end + RECORD_TOTAL) >>> 2] as number);
      if (next - this.#from > bytes && count >= least) break;
      end = next;
      count++;
    }
    if (count === 0) return 0;
    this.#events -= count;
    if (this.#from === 0 && end === this.#used && end > START) {
      // The records are large and the only ones here. A copy would cost more than another buffer.
      this.taken = this.#memory;
      if (end < this.#memory.byteLength) u32[end >>> 2] = 0;
      this.#use(new ArrayBuffer(START));
      this.#used = 0;
      return count;
    }
    this.taken = this.#memory.slice(this.#from, end);
    this.#from = end;
    if (end < this.#used) return count;
    this.#from = 0;
    this.#used = 0;
    if (this.#memory.byteLength > START) this.#use(new ArrayBuffer(START));
    return count;
  }
}
