// How much may be under way to one client, for a handler that is not where the client's queue is.
//
// Invariant: what was sent and is not known to have left is at most the limit and one piece.

export class Credit {
  readonly #limit: number;
  used = 0;
  /** Something was refused: its owner is to be told when there is room. */
  refused = false;

  /** @param limit bytes */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get isSpent(): boolean {
    return this.used > this.#limit;
  }

  /** So many bytes have left. @returns true when the owner is to be told of it */
  give(bytes: number): boolean {
    this.used -= bytes;
    if (!this.refused || this.used > this.#limit / 2) return false;
    this.refused = false;
    return true;
  }
}
