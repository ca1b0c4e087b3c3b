// The producer's side of the inbox. It writes messages as records into shared memory.
//
// Invariant: a record is complete before the head passes it, and nothing is sent in part. When there is no room, the
// call reports it at once. The free space is everything that the consumer's tail has passed.

import {
  INBOX_ASLEEP,
  INBOX_HEAD,
  INBOX_TAIL,
  INBOX_WAITING,
  INBOX_WORDS,
  RECORD_BYTES,
  RECORD_GENERATION,
  RECORD_KIND,
  RECORD_LENGTH,
  RECORD_SLOT,
  RECORD_TOTAL,
  RECORD_VALUE,
  RecordKind,
} from "../../assembly/abi";
import type { Credit } from "../shared/message/credit";
import { sizeOf } from "../shared/message/data";
import { byteLength, encodeInto } from "../shared/text/text";
import { OP_BYTES, type Op } from "../shared/message/wire";
import { noMemory } from "../shared/webassembly";

const EMPTY = new Uint8Array(0);

/** Sends the doorbell, or a buffer that is too large for the inbox. */
interface Bell {
  ring(): void;
  transfer(number: number, bytes: Uint8Array): void;
}

/** Allocates memory for an inbox. @param size bytes, a power of two */
export function inboxMemory(size: number): SharedArrayBuffer {
  try {
    return new SharedArrayBuffer(INBOX_WORDS * 4 + size);
  } catch (thrown) {
    return noMemory("inbox", size, thrown);
  }
}

export class InboxWriter {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #u32: Uint32Array;
  readonly #size: number;
  readonly #bell: Bell;
  #head = 0;
  /**
   * The consumer's tail as last read. Up to one length of the inbox after it there is room without reading it again.
   */
  #tail = 0;
  #transfers = 0;
  /** Bytes of the data of the last record, or of the tail of the last operation. */
  tailBytes = 0;
  /** The client's credit that refused the last message; undefined when it was the inbox. `ready` waits for it. */
  refusedBy: Credit | undefined;
  readonly #awaited = new Set<Credit>();
  #waiters: (() => void)[] = [];

  /** @param memory made by `inboxMemory`, or of that size. This object must be its only producer. */
  constructor(memory: ArrayBufferLike, bell: Bell) {
    const size = memory.byteLength - INBOX_WORDS * 4;
    this.#words = new Int32Array(memory, 0, INBOX_WORDS);
    this.#bytes = new Uint8Array(memory, INBOX_WORDS * 4);
    this.#u32 = new Uint32Array(memory, INBOX_WORDS * 4);
    this.#size = size;
    this.#bell = bell;
  }

  /** The position after the last record. */
  get head(): number {
    return this.#head;
  }

  /** Finds room for a record of at most `total` bytes. @returns its offset, −1 when there is no room */
  #place(total: number): number {
    const units = this.#size / 8;
    let at = (this.#head % units) * 8;
    let skip = 0;
    if (at + total > this.#size) {
      skip = this.#size - at;
      at = 0;
    }
    const needed = (skip + total) / 8;
    if (needed > units) return -1;
    if (((this.#head - this.#tail) >>> 0) + needed > units) {
      this.#tail = Atomics.load(this.#words, INBOX_TAIL) >>> 0;
      if (((this.#head - this.#tail) >>> 0) + needed > units) return -1;
    }
    if (skip > 0) {
      const pad = (this.#head % units) * 2;
      this.#u32[pad + (RECORD_TOTAL >>> 2)] = skip;
      this.#u32[pad + (RECORD_KIND >>> 2)] = RecordKind.Pad;
      this.#head = (this.#head + skip / 8) >>> 0;
    }
    return at;
  }

  #commit(
    at: number,
    kind: number,
    length: number,
    slot: number,
    generation: number,
    value: number,
  ): void {
    const total = (RECORD_BYTES + length + 7) & ~7;
    const word = at >>> 2;
    const u32 = this.#u32;
    u32[word + (RECORD_TOTAL >>> 2)] = total;
    u32[word + (RECORD_LENGTH >>> 2)] = length;
    u32[word + (RECORD_KIND >>> 2)] = kind;
    u32[word + (RECORD_SLOT >>> 2)] = slot;
    u32[word + (RECORD_GENERATION >>> 2)] = generation;
    u32[word + (RECORD_VALUE >>> 2)] = value;
    this.#head = (this.#head + total / 8) >>> 0;
    Atomics.store(this.#words, INBOX_HEAD, this.#head | 0);
    if (
      Atomics.load(this.#words, INBOX_ASLEEP) === 1 &&
      Atomics.compareExchange(this.#words, INBOX_ASLEEP, 1, 0) === 1
    ) {
      this.#bell.ring();
    }
  }

  /**
   * Writes a record.
   * @param kind RecordKind | flags << 8 | value << 16
   * @param prefix bytes before the data
   * @returns false when there is no room
   */
  put(
    kind: number,
    data: string | Uint8Array,
    slot = 0,
    generation = 0,
    prefix: Uint8Array = EMPTY,
  ): boolean {
    this.refusedBy = undefined;
    const text = typeof data === "string";
    // A character takes at most three bytes, so only text that might not fit is measured.
    let most = text ? data.length * 3 : sizeOf(data);
    const limit = this.#size / 4;
    if (most > limit && text) most = byteLength(data);
    if (most > limit) {
      const bytes = new Uint8Array(prefix.length + most);
      bytes.set(prefix);
      if (text) encodeInto(data, bytes.subarray(prefix.length));
      else bytes.set(data, prefix.length);
      this.tailBytes = most;
      return this.#transfer(kind, bytes, slot, generation);
    }
    const at = this.#place((RECORD_BYTES + prefix.length + most + 7) & ~7);
    if (at < 0) return false;
    this.#bytes.set(prefix, at + RECORD_BYTES);
    const from = at + RECORD_BYTES + prefix.length;
    let length = most;
    if (text) length = encodeInto(data, this.#bytes.subarray(from, from + most));
    else this.#bytes.set(data, from);
    this.tailBytes = length;
    this.#commit(at, kind, prefix.length + length, slot, generation, 0);
    return true;
  }

  /**
   * Writes an operation for the worker's own code.
   * @param fields encoded fields, or what is sent instead of them
   * @param tail a body, a message, a name
   * @returns false when there is no room
   */
  putOp(
    op: Op,
    slot: number,
    generation: number,
    first: number,
    second: number,
    fields: Uint8Array,
    tail: string | Uint8Array,
  ): boolean {
    this.refusedBy = undefined;
    const kind = RecordKind.Operation | (op << 8);
    const text = typeof tail === "string";
    const front = OP_BYTES + fields.length;
    let most = text ? tail.length * 3 : sizeOf(tail);
    const limit = this.#size / 4 - front;
    if (most > limit && text) most = byteLength(tail);
    if (most > limit) {
      const bytes = new Uint8Array(front + most);
      new Uint32Array(bytes.buffer, 0, 3).set([first, second, fields.length]);
      bytes.set(fields, OP_BYTES);
      if (text) encodeInto(tail, bytes.subarray(front));
      else bytes.set(tail, front);
      this.tailBytes = most;
      return this.#transfer(kind, bytes, slot, generation);
    }
    const at = this.#place((RECORD_BYTES + front + most + 7) & ~7);
    if (at < 0) return false;
    const from = at + RECORD_BYTES;
    const word = from >>> 2;
    this.#u32[word] = first;
    this.#u32[word + 1] = second;
    this.#u32[word + 2] = fields.length;
    this.#bytes.set(fields, from + OP_BYTES);
    let length = most;
    if (text) {
      const target = this.#bytes.subarray(from + front, from + front + most);
      length = encodeInto(tail, target);
    } else {
      this.#bytes.set(tail, from + front);
    }
    this.tailBytes = length;
    this.#commit(at, kind, front + length, slot, generation, 0);
    return true;
  }

  /** Words of the header, in which both sides count. */
  get words(): Int32Array {
    return this.#words;
  }

  /** Wakes the consumer. */
  wake(): void {
    this.#bell.ring();
  }

  /** Sends a record that does not fit as a message of its own. A placeholder keeps its place in the order. */
  #transfer(kind: number, bytes: Uint8Array, slot: number, generation: number): boolean {
    const at = this.#place(RECORD_BYTES);
    if (at < 0) return false;
    // The buffers in flight take at most as much memory as the inbox, unless one alone is larger.
    if (this.#onTheWay + bytes.length > Math.max(this.#size, bytes.length)) return false;
    this.#transfers = (this.#transfers + 1) >>> 0;
    this.#sizes.push({ head: this.#head, bytes: bytes.length });
    this.#onTheWay += bytes.length;
    this.#bell.transfer(this.#transfers, bytes);
    const flags = (kind >>> 8) & 255;
    const word = RecordKind.Transferred | (flags << 8) | ((kind & 255) << 16);
    this.#commit(at, word, 0, slot, generation, this.#transfers);
    return true;
  }

  /** Sizes of the buffers whose placeholders the consumer has not passed. */
  readonly #sizes: { head: number; bytes: number }[] = [];
  #sum = 0;

  get #onTheWay(): number {
    const tail = Atomics.load(this.#words, INBOX_TAIL) >>> 0;
    const units = this.#size / 8;
    while (this.#sizes.length > 0) {
      const first = this.#sizes[0] as { head: number; bytes: number };
      // The consumer has passed a placeholder that is not within [tail, tail + units).
      if ((first.head - tail) >>> 0 < units) break;
      this.#sum -= first.bytes;
      this.#sizes.shift();
    }
    return this.#sum;
  }

  set #onTheWay(value: number) {
    this.#sum = value;
  }

  /** True when half of the inbox is free and no buffer is in flight, so that a message of any size can be sent. */
  get roomy(): boolean {
    this.#tail = Atomics.load(this.#words, INBOX_TAIL) >>> 0;
    return (this.#head - this.#tail) >>> 0 <= this.#size / 16 && this.#onTheWay === 0;
  }

  /**
   * Waits like `room`; if a client's credit refused the last message, also until half of it is free or it has ended.
   */
  ready(): Promise<void> {
    const { refusedBy } = this;
    if (!refusedBy?.isSpent) return this.room();
    this.#awaited.add(refusedBy);
    return Promise.all([refusedBy.freed(), this.room()]).then(() => {
      this.#awaited.delete(refusedBy);
    });
  }

  /** Resolves when half of the inbox is free. */
  room(): Promise<void> {
    if (this.roomy) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
      this.notify();
    });
  }

  /** Wakes the waiters when there is room. @param ended true when the consumer has ended: then all are woken */
  notify(ended = false): void {
    if (ended) for (const credit of this.#awaited) credit.release();
    while (!ended && this.#waiters.length > 0 && !this.roomy) {
      Atomics.store(this.#words, INBOX_WAITING, 1);
      // If there is room by now, the consumer may not have seen the flag. Otherwise it will notify.
      if (!this.roomy) return;
      Atomics.compareExchange(this.#words, INBOX_WAITING, 1, 0);
    }
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resolve of waiters) resolve();
  }
}
