// Measures the event loop's delay in the thread that creates the monitor.

import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Delay } from "./message.js";

/** Interval of the monitor's timer in ms. */
const RESOLUTION = 10;

/** Subtracts the monitor's interval, because it measures from one firing of its timer to the next. @returns ms */
function beyond(ns: number): number {
  return Math.round(Math.max(0, ns / 1e6 - RESOLUTION) * 100) / 100;
}

export class DelayMonitor {
  readonly #delay = monitorEventLoopDelay({ resolution: RESOLUTION });

  constructor() {
    this.#delay.enable();
  }

  /** Returns the delays since the last call. In 100 ms there are about ten values, of which p99 is the worst. */
  take(): Delay {
    const delay = this.#delay;
    const taken =
      delay.count > 0
        ? { mean: beyond(delay.mean), p99: beyond(delay.percentile(99)) }
        : { mean: 0, p99: 0 };
    delay.reset();
    return taken;
  }

  /** Stops the monitor's timer. */
  close(): void {
    this.#delay.disable();
  }
}
