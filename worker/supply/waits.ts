// Supplies whose sources have been asked for a piece and have none yet. Most answer within milliseconds. The room that
// is reserved for a piece of the others is given back, so that streams with long pauses leave the room to downloads,
// and many can begin at once.

import type { NextSupply, Waits } from "./gather";

/** Time (ms) for which the room is reserved, and the time for the first piece, when the room is a whole piece's. */
const RESERVED_MILLIS = 200;
const FIRST_MILLIS = 20;

/** Supplies that wait, and for how long (ms) each does, the longest first. */
interface Queue {
  readonly since: Map<NextSupply, number>;
  readonly millis: number;
}

export class SupplyWaits implements Waits {
  readonly #now: () => number;
  readonly #wake: (ms: number) => void;
  readonly #first: Queue = { since: new Map(), millis: FIRST_MILLIS };
  readonly #others: Queue = { since: new Map(), millis: RESERVED_MILLIS };
  /** Time of the next sweep, Infinity for none. */
  #due = Number.POSITIVE_INFINITY;

  /** @param now returns monotonic ms @param wake has `sweep` called after some ms, unless it is called before */
  constructor(now: () => number, wake: (ms: number) => void) {
    this.#now = now;
    this.#wake = wake;
  }

  add(supply: NextSupply, isFirst: boolean): void {
    this.delete(supply);
    const { since, millis } = isFirst ? this.#first : this.#others;
    since.set(supply, this.#now());
    this.#await(millis);
  }

  delete(supply: NextSupply): void {
    this.#first.since.delete(supply);
    this.#others.since.delete(supply);
  }

  #await(ms: number): void {
    const due = this.#now() + ms;
    if (due >= this.#due) return;
    this.#due = due;
    this.#wake(ms);
  }

  /** Gives back the room of supplies that have waited for long. */
  sweep(): void {
    this.#due = Number.POSITIVE_INFINITY;
    for (const { since, millis } of [this.#first, this.#others]) {
      const until = this.#now() - millis;
      for (const [supply, from] of since) {
        if (from > until) {
          this.#await(from - until);
          break;
        }
        since.delete(supply);
        supply.yieldRoom();
      }
    }
  }
}
