// Bodies of responses that the server asks for piece by piece: read again and again like a file, at once or a while
// later, in fewer bytes than were asked for; or yielded one after another.
//
// Invariant: a source is not read while a read is pending, or after its end; it is closed once.

import type { ReadSource } from "../../worker/supply/source";
import { toBytes } from "../../host/shared/text/text";
import { fileOf } from "./content";

/** How the source of a broken body ends. */
export const FAULTY = ["fails", "short", "long"] as const;
export type Faulty = (typeof FAULTY)[number];

/** The part of the run that sources use. */
export interface Shelf {
  /** Sources that are not closed. */
  readonly sources: Set<object>;
  /** Calls of sources that are pending. */
  reading: number;
  /** Errors that handlers, and sources, have thrown. */
  thrown: number;
  note(error: string): void;
  /** Calls `fn` after `ms` of virtual time. */
  after(ms: number, fn: () => void): void;
}

/** Message of errors that handlers throw as requested by a step. */
export const AS_ASKED = "as asked";

/** Resolves a while later; the run waits for it. */
export function pause(shelf: Shelf, ms: number): Promise<void> {
  shelf.reading++;
  return new Promise((resolve) => {
    shelf.after(ms, () => {
      shelf.reading--;
      resolve();
    });
  });
}

export class FileSource implements ReadSource {
  readonly size: number;
  readonly #shelf: Shelf;
  readonly #bytes: Uint8Array;
  readonly #tag: number;
  readonly #fault: Faulty | undefined;
  #reads = 0;
  #isReading = false;
  #isClosed = false;

  constructor(shelf: Shelf, tag: number, fault?: Faulty) {
    this.#shelf = shelf;
    this.#tag = tag;
    this.#fault = fault;
    this.#bytes = toBytes(fileOf(tag));
    this.size = this.#bytes.length;
    shelf.sources.add(this);
  }

  read(start: number, end: number): Uint8Array | Promise<Uint8Array> {
    if (this.#isReading || this.#isClosed) this.#shelf.note(`file ${this.#tag}: read too often`);
    if (start < 0 || start >= end || end > this.size)
      this.#shelf.note(`file ${this.#tag}: read from ${start} to ${end} of ${this.size}`);
    const reads = this.#reads++;
    // Some reads return less than was asked for.
    const length = reads % 3 === 2 ? Math.ceil((end - start) / 3) : end - start;
    // A copy: memory that is read while the client has it shows in the watch.
    const part = (): Uint8Array => this.#part(start, length, end === this.size);
    return (this.#tag + reads) % 4 === 0 ? this.#later(part) : part();
  }

  async #later(part: () => Uint8Array): Promise<Uint8Array> {
    this.#isReading = true;
    await pause(this.#shelf, this.#tag % 3);
    this.#isReading = false;
    return part();
  }

  #part(start: number, length: number, isLast: boolean): Uint8Array {
    // After a client has left its errors are not reported.
    if (isLast && this.#fault && !this.#isClosed) this.#shelf.thrown++;
    if (isLast && this.#fault === "fails") throw new Error(AS_ASKED);
    if (isLast && this.#fault === "short") return new Uint8Array(0);
    const bytes = this.#bytes.slice(start, start + length);
    return isLast && this.#fault === "long" ? new Uint8Array(this.size + 1) : bytes;
  }

  close(): void {
    if (this.#isClosed) this.#shelf.note(`file ${this.#tag}: closed twice`);
    this.#isClosed = true;
    this.#shelf.sources.delete(this);
  }
}

/** Yields pieces, some a while later. Its memory is used again for each. */
export async function* drip(shelf: Shelf, pieces: readonly string[]): AsyncGenerator<Uint8Array> {
  const source = {};
  shelf.sources.add(source);
  const most = Math.max(...pieces.map((piece) => piece.length));
  const memory = new Uint8Array(most);
  try {
    for (const [i, piece] of pieces.entries()) {
      if (i % 2 === 1) await pause(shelf, i);
      memory.set(toBytes(piece));
      yield memory.subarray(0, piece.length);
      // It is written to as soon as the next piece is asked for.
      memory.fill(0);
    }
  } finally {
    shelf.sources.delete(source);
  }
}
