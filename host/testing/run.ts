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
  /** Promises that are waited for. */
  #waited = 0;

  constructor(clock: VirtualClock) {
    this.clock = clock;
    clock.onWork = () => {
      if (this.#waited > 0) this.#run();
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
      for (;;) {
        await hop();
        if (!this.clock.run()) return;
      }
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

  async until<T>(promise: PromiseLike<T>): Promise<T> {
    this.#waited++;
    this.#run();
    try {
      return await promise;
    } finally {
      this.#waited--;
    }
  }
}
