// The delay of the event loop of the thread that it is made in.

import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Delay } from "./message.js";

/** Timer interval of the monitor, ms. */
const RESOLUTION = 10;

/** ms beyond the monitor's interval, which is in what it measures: from one firing of its timer to the next. */
function beyond(ns: number): number {
  return Math.round(Math.max(0, ns / 1e6 - RESOLUTION) * 100) / 100;
}

export class DelayMonitor {
  readonly #delay = monitorEventLoopDelay({ resolution: RESOLUTION });

  constructor() {
    this.#delay.enable();
  }

  /** Since it was last taken. In a tenth of a second there are about ten values, of which p99 is the worst. */
  take(): Delay {
    const delay = this.#delay;
    const taken =
      delay.count > 0
        ? { mean: beyond(delay.mean), p99: beyond(delay.percentile(99)) }
        : { mean: 0, p99: 0 };
    delay.reset();
    return taken;
  }

  /** Stops its timer. */
  close(): void {
    this.#delay.disable();
  }
}
