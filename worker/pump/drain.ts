// Ends many connections over a period, in random order, so that their clients do not all reconnect at once.
//
// Invariant: there is one timer for all. Each connection is ended once, the last one before the period is over.

/** Least time (ms) between two runs. When more connections than that are due, several end together. */
const STEP = 10;

/** Returns the successor of a random number (xorshift). */
function next(random: number): number {
  let x = random;
  x ^= x << 13;
  x ^= x >>> 17;
  x ^= x << 5;
  return x >>> 0;
}

interface DrainOptions<One> {
  /** Period (ms) over which the connections are ended. */
  readonly ms: number;
  /** 1 … 2^32 - 1: seed of their order. */
  readonly seed: number;
  now(): number;
  after(ms: number, fn: () => void): () => void;
  /** Ends one connection. */
  end(one: One): void;
}

export class Drain<One> {
  readonly #all: One[];
  readonly #options: DrainOptions<One>;
  readonly #start: number;
  #ended = 0;
  #cancel: (() => void) | undefined;

  /** Ends the first connection in the random order at once. */
  constructor(all: readonly One[], options: DrainOptions<One>) {
    this.#all = shuffled(all, options.seed);
    this.#options = options;
    this.#start = options.now();
    this.#run();
  }

  /** Stops. No further connection is ended. */
  stop(): void {
    this.#cancel?.();
    this.#ended = this.#all.length;
  }

  /** Returns the time (ms after the start) at which a connection is due: evenly spaced, the first at 0. */
  #due(index: number): number {
    return (index * this.#options.ms) / this.#all.length;
  }

  #run(): void {
    const { now, after, end } = this.#options;
    const passed = now() - this.#start;
    while (this.#ended < this.#all.length && this.#due(this.#ended) <= passed) {
      end(this.#all[this.#ended++] as One);
    }
    if (this.#ended >= this.#all.length) return;
    const wait = this.#due(this.#ended) - passed;
    // The last connections are not delayed beyond the period.
    const most = Math.max(1, this.#options.ms - passed);
    this.#cancel = after(Math.min(Math.max(wait, STEP), most), () => this.#run());
  }
}

/** Returns a copy in random order (Fisher and Yates). */
function shuffled<One>(all: readonly One[], seed: number): One[] {
  const list = [...all];
  let random = seed;
  for (let i = list.length - 1; i > 0; i--) {
    random = next(random);
    const j = random % (i + 1);
    [list[i], list[j]] = [list[j] as One, list[i] as One];
  }
  return list;
}
