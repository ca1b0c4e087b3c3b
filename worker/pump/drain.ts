// The ends of many connections, spread over a time in random order: so that their clients do not all come back at
// once.
//
// Invariant: one timer for all of them; each is ended once, the last before the time is over.

/** Least ms between two runs: many connections end together then. */
const STEP = 10;

/** A number that the next one follows from (xorshift). */
function next(random: number): number {
  let x = random;
  x ^= x << 13;
  x ^= x >>> 17;
  x ^= x << 5;
  return x >>> 0;
}

interface DrainOptions<One> {
  /** ms over which they are spread. */
  readonly ms: number;
  /** 1 … 2^32 - 1: what their order comes from. */
  readonly seed: number;
  now(): number;
  after(ms: number, fn: () => void): () => void;
  /** Ends one. */
  end(one: One): void;
}

export class Drain<One> {
  readonly #all: One[];
  readonly #options: DrainOptions<One>;
  readonly #start: number;
  #ended = 0;
  #cancel: (() => void) | undefined;

  /** Ends the first of `all` at once. */
  constructor(all: readonly One[], options: DrainOptions<One>) {
    this.#all = shuffled(all, options.seed);
    this.#options = options;
    this.#start = options.now();
    this.#run();
  }

  /** Nobody is ended any more. */
  stop(): void {
    this.#cancel?.();
    this.#ended = this.#all.length;
  }

  /** When one is due, since the start: evenly, the first at 0. */
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
    // The last ones are not put off beyond the time.
    const most = Math.max(1, this.#options.ms - passed);
    this.#cancel = after(Math.min(Math.max(wait, STEP), most), () => this.#run());
  }
}

/** The same in another order (Fisher and Yates). */
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
