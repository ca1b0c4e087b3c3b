// Supplies a body whose pieces come once, one after another, such as those of an iterable.
//
// Small pieces are copied together into a buffer, so that a source of many lines takes few writes; in chunks (RFC 9112
// 7.1) each is framed there. A piece that is larger is sent from its own memory, in parts, and its source is not asked
// for the next one before it has left.
//
// Invariant: the buffer is written to only while the engine waits for a piece.
//
//   wanted ──▶ next() ──▶ with the head   while the head is queued and its block has room
//                    ├──▶ the buffer      given when it is full, at the next pass, or at the end
//                    └──▶ its own memory  given in parts; the buffer has the frame around it

import { Outcome, PIECE_LIMIT } from "../../assembly/abi";
import type { Slot } from "../engine/calls";
import type { NextSource } from "./source";
import { Supply, type SupplyLoop, checkBytes } from "./supply";

/** Length (bytes) up to which a piece is copied where no chunk frames it. */
const COPIED = 16384;
/** Size (bytes) of the first buffer, and of the smallest one. */
const FIRST = 4096;
const LEAST = 1024;
/** Bytes that frame a chunk at most: eight digits, and two line ends. */
const FRAME = 12;

/** The supplies whose sources have been asked for a piece. Room that is reserved for long is given back. */
export interface Waits {
  /** @param isFirst true when the source has given no piece yet */
  add(supply: NextSupply, isFirst: boolean): void;
  delete(supply: NextSupply): void;
}

export class NextSupply extends Supply {
  readonly #from: NextSource;
  readonly #isChunked: boolean;
  readonly #waits: Waits;
  /** True while pieces may go with the head. */
  #isHead = true;
  /** Size (bytes) of the next buffer. */
  #room = FIRST;
  /** Bytes of the largest piece lately, as large as the next one probably is. */
  #expected = 0;
  #buffer: Uint8Array | undefined;
  #filled = 0;
  /** A piece of the source that waits for room in the buffer. */
  #next: Uint8Array | undefined;
  /** The rest of a piece that is sent from its own memory, and the bytes of all of it; undefined: there is none. */
  #rest: Uint8Array | undefined;
  #restBytes = 0;
  #isPulling = false;
  #isOver = false;

  constructor(
    loop: SupplyLoop,
    slot: Slot,
    source: NextSource,
    wanted: number,
    isChunked: boolean,
    waits: Waits,
  ) {
    super(loop, slot, source, wanted);
    this.#from = source;
    this.#isChunked = isChunked;
    this.#waits = waits;
  }

  override want(bytes: number): void {
    this.#isHead = false;
    if (this.#rest === undefined) {
      // A source that sends little, now and then, reserves little; one that sends much soon gets whole pieces.
      this.#room = Math.min(bytes, Math.max(LEAST, 2 * this.#expected));
      if (this.#expected > 0) {
        // mutant supply-grown (gather): this.loop.keepRoom(this.slot, this.#room);
        this.loop.keepRoom(this.slot, Math.max(this.#room, this.#expected));
      }
      const size = this.#buffer?.length ?? 0;
      const fits = size === this.#room || (size < this.#room && size >= 2 * this.#expected);
      if (!fits) this.#buffer = undefined;
    }
    super.want(bytes);
    this.#await();
  }

  override recall(bytes: number): void {
    super.recall(bytes);
    this.#buffer = undefined;
  }

  override give(): void {
    const buffer = this.#buffer;
    if (!buffer || this.#filled === 0 || this.wanted === 0 || this.isClosed) return;
    const bytes = buffer.subarray(0, this.#filled);
    this.#filled = 0;
    this.#hand(bytes, buffer.length + (this.#rest ? this.#restBytes : 0));
  }

  #hand(bytes: Uint8Array, held: number): void {
    this.#expected = Math.max(bytes.length, this.#rest ? this.#restBytes : 0);
    this.hand(bytes, held, this.#rest && this.#rest.length > 0 ? 1 : 0);
  }

  /** Gives the next part of a piece that is sent from its own memory. */
  #giveRest(rest: Uint8Array): void {
    const part = rest.subarray(0, PIECE_LIMIT);
    this.#rest = rest.subarray(part.length);
    this.#hand(part, this.#restBytes);
  }

  /** Gives back the room that is reserved for a piece, because the source takes long. */
  yieldRoom(): void {
    if (this.isClosed || this.wanted === 0 || this.#filled > 0) return;
    this.#buffer = undefined;
    this.loop.keepRoom(this.slot, 0);
  }

  override close(): void {
    this.#waits.delete(this);
    super.close();
  }

  protected override fill(): void {
    const rest = this.#rest;
    if (rest && rest.length > 0) {
      this.#giveRest(rest);
      return;
    }
    this.#rest = undefined;
    if (rest && this.#isChunked) {
      this.#put(this.#need(2) as Uint8Array, "\r\n");
      this.loop.awaitPass(this);
    }
    const next = this.#next;
    this.#next = undefined;
    if (next) this.#place(next);
    this.#pull();
  }

  /** Asks the source for pieces while the engine waits for one. */
  #pull(): void {
    if (this.#isPulling) return;
    this.#isPulling = true;
    while (this.wanted > 0 && !this.isPending && !this.isClosed) {
      if (!this.#isOver) this.ask(() => this.#from.next(this.wanted), this.#take);
      else if (this.#filled > 0) this.give();
      else this.end();
    }
    this.#isPulling = false;
    if (this.wanted > 0) this.#await();
  }

  #await(): void {
    if (this.isPending) this.#waits.add(this, this.#expected === 0);
  }

  readonly #take = (result: unknown): void => {
    this.#waits.delete(this);
    if (result === undefined) this.#isOver = true;
    else this.#accept(checkBytes(result));
    this.#pull();
  };

  #accept(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    // The buffer is being written, or waits to be.
    if (this.wanted === 0) this.#next = bytes;
    else if (!this.#goesWithHead(bytes)) this.#place(bytes);
  }

  /** Queues a piece with the head, if its block has room. @returns false when it has none */
  #goesWithHead(bytes: Uint8Array): boolean {
    if (!this.#isHead || this.#filled > 0) return false;
    const outcome = this.loop.streamWrite(this.slot, bytes);
    if (outcome === Outcome.Full) {
      this.#isHead = false;
      return false;
    }
    if (outcome === Outcome.TooLarge) this.refuseLong();
    this.#expect(bytes.length);
    return true;
  }

  /** Reserves room for twice as much as the last piece had, no more. */
  #expect(bytes: number): void {
    this.#expected = bytes;
    this.#room = Math.max(LEAST, 2 * bytes);
    this.loop.keepRoom(this.slot, this.#room);
  }

  /** Puts a piece into the buffer, or gives what comes before it. */
  #place(bytes: Uint8Array): void {
    const framed = bytes.length + (this.#isChunked ? FRAME : 0);
    if (framed > (this.#isChunked ? PIECE_LIMIT : COPIED)) {
      this.#placeLarge(bytes);
      return;
    }
    const buffer = this.#need(framed);
    if (!buffer) {
      this.#next = bytes;
      this.give();
      return;
    }
    if (this.#isChunked) this.#put(buffer, `${bytes.length.toString(16)}\r\n`);
    buffer.set(bytes, this.#filled);
    this.#filled += bytes.length;
    if (this.#isChunked) this.#put(buffer, "\r\n");
    this.loop.awaitPass(this);
  }

  /** Sends a piece from its own memory, after the pieces before it and the head of its chunk. */
  #placeLarge(bytes: Uint8Array): void {
    if (this.#isChunked && this.#filled === 0) this.#buffer = new Uint8Array(FRAME);
    const buffer = this.#isChunked ? this.#need(FRAME) : undefined;
    if (this.#isChunked && !buffer) {
      this.#next = bytes;
      this.give();
      return;
    }
    if (buffer) this.#put(buffer, `${bytes.length.toString(16)}\r\n`);
    this.#rest = bytes;
    this.#restBytes = bytes.length;
    if (this.#filled > 0) this.give();
    else this.#giveRest(bytes);
  }

  /** Returns the buffer when it has room for some bytes, or a new one when nothing is in it. */
  #need(bytes: number): Uint8Array | undefined {
    const buffer = this.#buffer;
    if (buffer && this.#filled + bytes <= buffer.length) return buffer;
    if (this.#filled > 0) return undefined;
    this.#buffer = new Uint8Array(Math.max(bytes, this.#room));
    return this.#buffer;
  }

  /** Appends text in ASCII to the buffer, which has room for it. */
  #put(buffer: Uint8Array, text: string): void {
    for (let i = 0; i < text.length; i++) buffer[this.#filled++] = text.charCodeAt(i);
  }
}
