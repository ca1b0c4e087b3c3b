// Runs a server in memory. Nothing happens by itself, and everything happens in one order.
//
//   settle    hops and runs what is deferred, until nothing is. A hop is one turn of the runtime's event loop, in which
//             promises settle, so a handler that awaits only promises completes
//   advance   settles, fires all timers due next, settles, and so on
//   until     settles whenever there is work, until a promise has settled, for code that awaits the runtime's own
//             timers and I/O, which the virtual clock does not control
//
// Invariant: one run at a time. A call of `settle` during a run returns the promise of that run, which includes
// everything that the caller did before.

import type { VirtualClock } from "../../worker/net/memory";
import { nextTurn } from "../shared/turn";

/** The part of `process` in Node and Bun that reports when nothing is left to happen. */
interface Loop {
  on(event: "beforeExit", listener: () => void): unknown;
  off(event: "beforeExit", listener: () => void): unknown;
}

/** Rounds of one `settle`, after which it throws. So many mean that it would never end. */
const ROUNDS_MAX = 1000000;

/** One turn of the event loop, in which all promises settle that can. */
const hop = (): Promise<void> => new Promise(nextTurn);

export class Runner {
  readonly clock: VirtualClock;
  #running: Promise<void> | undefined;
  /** The end of the last `advance`. */
  #moved: Promise<void> = Promise.resolve();
  /** Pending waits, each with the function that rejects it. */
  readonly #waits = new Set<(error: Error) => void>();

  constructor(clock: VirtualClock) {
    this.clock = clock;
    clock.onWork = () => {
      if (this.#waits.size > 0) this.#run();
    };
  }

  /** Settles in the background. */
  #run(): void {
    // Errors are reported to those waits, so the rejection need not be handled.
    this.settle().catch(() => undefined);
  }

  settle(): Promise<void> {
    this.#running ??= this.#loop();
    return this.#running;
  }

  async #loop(): Promise<void> {
    try {
      for (let rounds = 0; rounds < ROUNDS_MAX; rounds++) {
        await hop();
        if (!this.clock.run()) return;
      }
      throw new Error(
        `settle: not settled after ${ROUNDS_MAX} rounds; do two sides answer each other forever?`,
      );
    } finally {
      this.#running = undefined;
    }
  }

  /** Advances the clock. @throws RangeError when `ms` is not a finite number from 0 on */
  async advance(ms: number): Promise<void> {
    if (!Number.isFinite(ms) || ms < 0) throw new RangeError(`ms: ${ms} is not a number from 0 on`);
    const before = this.#moved;
    const moved = (async () => {
      await before.catch(() => undefined);
      await this.#move(ms);
    })();
    this.#moved = moved;
    return moved;
  }

  async #move(ms: number): Promise<void> {
    const { clock } = this;
    await this.settle();
    const end = clock.now() + ms;
    while (clock.step(end)) {
      while (clock.next <= clock.now()) clock.step(end);
      await this.settle();
    }
  }

  /**
   * Settles repeatedly until a promise has settled.
   * @throws Error when the runtime would exit with the promise pending, if it reports that (Node, Bun)
   */
  async until<T>(promise: PromiseLike<T>): Promise<T> {
    this.#run();
    return this.wait(promise);
  }

  /** Waits for a promise that needs timers, or work of the runtime, to settle. @throws as `until` */
  async wait<T>(promise: PromiseLike<T>): Promise<T> {
    const { process: loop } = globalThis as { process?: Partial<Loop> };
    let end: (error: Error) => void = () => undefined;
    const ended = new Promise<never>((_, reject) => {
      end = reject;
    });
    if (this.#waits.size === 0) loop?.on?.("beforeExit", this.#endWaits);
    this.#waits.add(end);
    try {
      return await Promise.race([promise, ended]);
    } finally {
      this.#waits.delete(end);
      if (this.#waits.size === 0) loop?.off?.("beforeExit", this.#endWaits);
    }
  }

  /** Rejects all waits, because nothing is left that could end them. */
  readonly #endWaits = (): void => {
    const next = this.clock.next - this.clock.now();
    const timers = Number.isFinite(next)
      ? `the next timer is due in ${next} ms of virtual time: call clock.advance`
      : "no timer is due";
    const reason = `this wait can never end: nothing is left to happen, and ${timers}`;
    for (const end of [...this.#waits]) end(new Error(reason));
  };
}
