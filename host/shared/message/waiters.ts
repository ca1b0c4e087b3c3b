// The functions that wait for a change of one client: that its queue has room again, or that it has gone.
//
// Invariant: each function is called once at most, at the first change after it was added.

export class Waiters {
  #waiting = new Set<() => void>();

  add(fn: () => void): void {
    this.#waiting.add(fn);
  }

  delete(fn: () => void): void {
    this.#waiting.delete(fn);
  }

  /** Resolves at the next change. */
  next(): Promise<void> {
    return new Promise((resolve) => this.add(resolve));
  }

  /** Calls all functions. A function that they add waits for the next change. */
  notify(): void {
    const waiting = this.#waiting;
    if (waiting.size === 0) return;
    this.#waiting = new Set();
    for (const fn of waiting) fn();
  }
}
