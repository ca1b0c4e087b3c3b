// How much may be under way to one client, for code that does not run where the client's queue is.
//
// Invariant: what was sent and is not known to have left is at most the limit and one piece.

export class Credit {
  readonly #limit: number;
  used = 0;
  /** Something was refused: its owner is to be told when there is room. */
  refused = false;
  #waiters: (() => void)[] = [];

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
    if (this.used > this.#limit / 2) return false;
    this.release();
    const isDue = this.refused;
    this.refused = false;
    return isDue;
  }

  /** Resolves when half of it is free, or at `release`. */
  freed(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
    });
  }

  /** Ends all waiting: the client has ended, or the server has. */
  release(): void {
    if (this.#waiters.length === 0) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resolve of waiters) resolve();
  }
}
