// How long messages were on their way: counts by 10 µs, so that a message costs a few nanoseconds.

import { micros } from "./servers/publish.mjs";

const STEP_MICROS = 10;
const STEPS = 1_000_000; // 10 s; longer times count as this

export class Latencies {
  #counts = new Uint32Array(STEPS);
  #total = 0;
  /** @type {number | undefined} what our clock is ahead of the stamps' */
  #aheadMicros;
  #now = 0;

  /**
   * Begins again, without earlier values.
   * @param {number} [aheadMicros] lead of this clock over the publisher's; none: stamps are not read
   */
  start(aheadMicros) {
    this.#aheadMicros = aheadMicros;
    this.#counts.fill(0);
    this.#total = 0;
  }

  /** Something came: the messages in it have arrived now. */
  arrive() {
    if (this.#aheadMicros !== undefined) this.#now = micros() - this.#aheadMicros;
  }

  /** @param {number} stamp when a message was due, in µs of the publisher's clock */
  add(stamp) {
    const step = Math.floor((this.#now - stamp) / STEP_MICROS);
    this.#counts[Math.max(0, Math.min(STEPS - 1, step))]++;
    this.#total++;
  }

  /** Milliseconds within which that share of the messages arrived. @param {number} share */
  #percentile(share) {
    let left = Math.ceil(share * this.#total);
    const step = this.#counts.findIndex((count) => {
      left -= count;
      return left <= 0;
    });
    return ((step + 1) * STEP_MICROS) / 1000;
  }

  percentiles() {
    if (this.#total === 0) return {};
    const [p50, p99, p999] = [0.5, 0.99, 0.999].map((share) => this.#percentile(share));
    return { p50, p99, p999 };
  }
}
