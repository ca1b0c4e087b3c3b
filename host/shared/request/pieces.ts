// The pieces of a streamed body on their way from the handler's iterable to a server that asks for them.
//
// Invariant: each piece is checked before it is handed over, and the next item is asked for only when the server asks.

import type { Data } from "../../handler";
import type { Source } from "../source";

/** How the bytes of a body in pieces reach the server. */
export type Delivery =
  /** The handler writes them whenever there is room. */
  | "pushed"
  /** The server asks for the next ones, which exist once. */
  | "asked"
  /** The server reads them, and may read them again. */
  | "read";

/** A body whose pieces come one after another. */
export interface PieceSource {
  /**
   * Returns the next piece; undefined at the end. Its bytes do not change before the next call of `next` or `close`.
   * @param bytes that there is room for
   */
  next(bytes: number): Uint8Array | undefined | PromiseLike<Uint8Array | undefined>;
  /** Ends the source. Called once, whatever happened. A pending `next` settles. */
  close(): void;
  /** True: an error of a `next` that is pending at `close` counts, too. */
  readonly failsLate?: boolean | undefined;
}

/** The items of a handler's iterable, as pieces. */
export class Items implements PieceSource {
  readonly #source: Source<Data>;
  readonly #check: (item: Data) => Uint8Array;
  #isPending = false;
  /** True when the iterator has ended or failed. */
  #isOver = false;

  /** @param check returns an item's bytes; it throws for an item that is no piece of the body */
  constructor(source: Source<Data>, check: (item: Data) => Uint8Array) {
    this.#source = source;
    this.#check = check;
  }

  get failsLate(): true {
    return true;
  }

  async next(): Promise<Uint8Array | undefined> {
    this.#isPending = true;
    // An iterator that fails is over.
    this.#isOver = true;
    const step = await this.#source.next();
    this.#isPending = false;
    this.#isOver = step?.done === true;
    if (step === undefined) this.#leave();
    return step === undefined || step.done ? undefined : this.#check(step.value);
  }

  close(): void {
    // The response cancels the wait for an item. If the item fails by then, its error counts.
    if (!this.#isPending) this.#leave();
  }

  #leave(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#source.leave();
  }
}
