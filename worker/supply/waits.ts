// Supplies whose sources have been asked for a piece and have none yet. Most answer within milliseconds. The room that
// is reserved for a piece of the others is given back, so that streams with long pauses leave the room to downloads.

import type { NextSupply, Waits } from "./gather";

/** Time (ms) for which the room is reserved. */
const RESERVED_MILLIS = 200;

export class SupplyWaits implements Waits {
  readonly #now: () => number;
  readonly #wake: (ms: number) => void;
  /** When each was asked, the longest ago first. */
  readonly #since = new Map<NextSupply, number>();
  #isAwake = false;

  /** @param now returns monotonic ms @param wake has `sweep` called after some ms */
  constructor(now: () => number, wake: (ms: number) => void) {
    this.#now = now;
    this.#wake = wake;
  }

  add(supply: NextSupply): void {
    this.#since.delete(supply);
    this.#since.set(supply, this.#now());
    this.#await();
  }

  delete(supply: NextSupply): void {
    this.#since.delete(supply);
  }

  #await(): void {
    if (this.#isAwake || this.#since.size === 0) return;
    this.#isAwake = true;
    this.#wake(RESERVED_MILLIS);
  }

  /** Gives back the room of supplies that have waited for long. */
  sweep(): void {
    this.#isAwake = false;
    const until = this.#now() - RESERVED_MILLIS;
    for (const [supply, since] of this.#since) {
      if (since > until) break;
      this.#since.delete(supply);
      supply.yieldRoom();
    }
    this.#await();
  }
}
