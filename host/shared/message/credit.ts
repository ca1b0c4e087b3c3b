// Limits the bytes in flight to one client, for code that runs in another thread than the client's queue.
//
// Invariant: the bytes sent and not known to have left the queue are at most the limit and one piece.

export class Credit {
  readonly #limit: number;
  used = 0;
  /** True when something was refused, so that the owner must be notified when there is room. */
  refused = false;
  #waiters: (() => void)[] = [];

  /** @param limit bytes in flight, above which the credit is spent */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get isSpent(): boolean {
    return this.used > this.#limit;
  }

  /** True when half of the credit is free. */
  get isLow(): boolean {
    return this.used <= this.#limit / 2;
  }

  /** Returns bytes that have left the queue. @returns true when the owner must be notified */
  give(bytes: number): boolean {
    this.used -= bytes;
    if (!this.isLow) return false;
    this.release();
    const isDue = this.refused;
    this.refused = false;
    return isDue;
  }

  /** Resolves when half of the credit is free, or at `release`. */
  freed(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
    });
  }

  /** Ends all waiting, because the client or the server has ended. */
  release(): void {
    if (this.#waiters.length === 0) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resolve of waiters) resolve();
  }
}
