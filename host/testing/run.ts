// How a server in memory runs: nothing happens by itself, and what happens does so in one order.
//
//   settle    hop, run what is deferred, hop, … until nothing is: a hop is one turn of the runtime's event loop, in
//             which promises settle, so that a handler that awaits nothing but promises is through
//   advance   settle; the next timers that are due, together; settle; …
//   until     settles whenever something comes up, until a promise has settled: for what awaits the runtime's own
//             timers and I/O, which no clock of ours moves
//
// Invariant: one run at a time. Who asks while one is under way gets its promise, and what he did before is part of it.

import type { VirtualClock } from "../../worker/net/memory";

// Taken at the start: fake timers that a test installs later do not concern us.
const { setTimeout: later } = globalThis;
const immediate = (globalThis as { setImmediate?: (fn: () => void) => unknown }).setImmediate;

/** The part of Node's `process`, and Bun's, that tells when nothing is left that could happen. */
interface Loop {
  on(event: "beforeExit", told: () => void): unknown;
  off(event: "beforeExit", told: () => void): unknown;
}

/** Rounds of one `settle` after which it is taken to have no end. */
const ROUNDS_MAX = 1000000;

/** One turn of the event loop: all promises that can settle have. */
type Hop = () => Promise<void>;

function makeHop(): Hop {
  if (immediate) return () => new Promise((resolve) => void immediate(() => resolve()));
  if (typeof MessageChannel !== "function") {
    return () => new Promise((resolve) => void later(resolve, 0));
  }
  const { port1, port2 } = new MessageChannel();
  const waiting: (() => void)[] = [];
  port1.onmessage = () => waiting.shift()?.();
  return () =>
    new Promise((resolve) => {
      waiting.push(resolve);
      port2.postMessage(0);
    });
}

const hop = makeHop();

export class Runner {
  readonly clock: VirtualClock;
  #running: Promise<void> | undefined;
  /** Of `advance`: the end of the last one. */
  #moved: Promise<void> = Promise.resolve();
  /** Promises that are waited for: what rejects each wait. */
  readonly #waits = new Set<(error: Error) => void>();

  constructor(clock: VirtualClock) {
    this.clock = clock;
    clock.onWork = () => {
      if (this.#waits.size > 0) this.#run();
    };
  }

  /** Goes on in the background. */
  #run(): void {
    // Who waits is told of what goes wrong.
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
        `settle: there was always more to do, ${ROUNDS_MAX} times: do two sides answer each other for ever?`,
      );
    } finally {
      this.#running = undefined;
    }
  }

  /** @throws RangeError for what is no time */
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
   * Settles until a promise has.
   * @throws Error when the runtime would end with the promise pending, where it says so (Node, Bun)
   */
  async until<T>(promise: PromiseLike<T>): Promise<T> {
    this.#run();
    return this.wait(promise);
  }

  /** Waits for a promise that something here, or of the runtime, has to settle. @throws as `until` */
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

  /** Nothing is left that could settle what is waited for. */
  readonly #endWaits = (): void => {
    const next = this.clock.next - this.clock.now();
    const timers = Number.isFinite(next)
      ? `the next timer is due in ${next} ms of virtual time: call clock.advance`
      : "no timer is due";
    const reason = `this wait can never end: nothing is left to happen, and ${timers}`;
    for (const end of [...this.#waits]) end(new Error(reason));
  };
}
