// Cursors over the engine's two tables. There is one object each, moved from row to row, so that reading a table
// allocates nothing. The offsets of the fields are those of assembly/abi.ts, and are used only here.
//
// Invariant: a cursor is valid until the next call of the engine. Code that calls user code reads the values first.

import {
  EVENT_BYTES,
  EVENT_EXTRA,
  EVENT_GENERATION,
  EVENT_KIND,
  EVENT_LENGTH,
  EVENT_POINTER,
  EVENT_SLOT,
  EVENT_VALUE,
  type EventKind,
  ROW_BODY,
  ROW_BYTES,
  ROW_KIND,
  ROW_LAST,
  ROW_LENGTH,
  ROW_OFFSET,
  ROW_SLOT,
  ROW_STATE,
  type RowKind,
  RowState,
} from "../../assembly/abi";

/** One event of the event table. */
export class EventCursor {
  readonly #u32: Uint32Array;
  readonly #i32: Int32Array;
  readonly #table: number;
  #at: number;

  /** @param u32, i32 the engine's memory @param table index into them of the event table */
  constructor(u32: Uint32Array, i32: Int32Array, table: number) {
    this.#u32 = u32;
    this.#i32 = i32;
    this.#table = table;
    this.#at = table;
  }

  /** Moves to an event of the table. @param index from 0 */
  move(index: number): void {
    this.#at = this.#table + index * (EVENT_BYTES >>> 2);
  }

  /** Kind of the event; 0: the engine took it back. */
  get kind(): EventKind | 0 {
    return this.#u32[this.#at + (EVENT_KIND >>> 2)] as EventKind | 0;
  }

  /** Slot of the connection. */
  get slot(): number {
    return this.#u32[this.#at + (EVENT_SLOT >>> 2)] as number;
  }

  /** Generation of the connection. */
  get generation(): number {
    return this.#u32[this.#at + (EVENT_GENERATION >>> 2)] as number;
  }

  /** Address of the payload; of a Closed event the bytes of the client's lag. */
  get pointer(): number {
    return this.#u32[this.#at + (EVENT_POINTER >>> 2)] as number;
  }

  /** Bytes of the payload; of a Closed event a `Shut`. */
  get length(): number {
    return this.#u32[this.#at + (EVENT_LENGTH >>> 2)] as number;
  }

  /** The value, by kind; signed. */
  get value(): number {
    return this.#i32[this.#at + (EVENT_VALUE >>> 2)] as number;
  }

  /** The second value, by kind. */
  get extra(): number {
    return this.#u32[this.#at + (EVENT_EXTRA >>> 2)] as number;
  }

  /** Removes the event from the table, so that it is not handled a second time. */
  drop(): void {
    this.#u32[this.#at + (EVENT_KIND >>> 2)] = 0;
  }
}

/** One row of the write table. */
export class RowCursor {
  readonly #u32: Uint32Array;
  readonly #table: number;
  #at: number;

  /** @param u32 the engine's memory @param table index into it of the write table */
  constructor(u32: Uint32Array, table: number) {
    this.#u32 = u32;
    this.#table = table;
    this.#at = table;
  }

  /** Moves to a row of the table. @param index from 0 */
  move(index: number): void {
    this.#at = this.#table + index * (ROW_BYTES >>> 2);
  }

  /** Slot of the connection. */
  get slot(): number {
    return this.#u32[this.#at + (ROW_SLOT >>> 2)] as number;
  }

  /** The kind of place that the bytes are in. */
  get kind(): RowKind {
    return this.#u32[this.#at + (ROW_KIND >>> 2)] as RowKind;
  }

  /** Offset of the bytes in memory, or in a static body; of a piece, how far before its end they begin. */
  get offset(): number {
    return this.#u32[this.#at + (ROW_OFFSET >>> 2)] as number;
  }

  /** Number of bytes. */
  get length(): number {
    return this.#u32[this.#at + (ROW_LENGTH >>> 2)] as number;
  }

  /** Number of the static body. */
  get body(): number {
    return this.#u32[this.#at + (ROW_BODY >>> 2)] as number;
  }

  /** True for the last row of a static body. */
  get isLast(): boolean {
    return this.#u32[this.#at + (ROW_LAST >>> 2)] === 1;
  }

  /** Notes that the transport has taken only the first bytes of a piece's row, and holds no memory of the piece. */
  lessen(length: number): void {
    this.#u32[this.#at + (ROW_LENGTH >>> 2)] = length;
  }

  /** Marks the bytes as written. */
  complete(): void {
    this.#u32[this.#at + (ROW_STATE >>> 2)] = RowState.Complete;
  }
}
