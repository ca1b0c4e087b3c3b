// Measurements of the demo's application: the machine (CPU, memory), the application (delay of its event loop) and the
// server (rates from differences of its counters).

import { cpus, freemem, totalmem } from "node:os";
import type { Stats } from "../handler.js";
import { DelayMonitor } from "./delay.js";
import type { Sample, ServerSample } from "./message.js";

/** Interval in ms between the two snapshots of a CPU figure. Ticks are 10 ms, so 500 ms give 2 %. */
const CPU_WINDOW = 500;
/** Interval in ms between two readings of the server's counters, and the window of a rate. */
const STATS_EVERY = 100;
const STATS_WINDOW = 1000;

interface Ticks {
  readonly busy: number;
  readonly total: number;
}

/** A value and its time. `slide` keeps the values that a window still needs. */
interface Seen<T> {
  readonly at: number;
  readonly value: T;
}

/** Appends `next`, and removes from the front what is not needed to look back `span` ms. */
function slide<T>(list: Seen<T>[], next: Seen<T>, span: number): void {
  list.push(next);
  // The 5 % let a window of 500 ms start at a timer that fired slightly late.
  while (list[1] && next.at - list[1].at >= span * 0.95) list.shift();
}

function round(value: number, digits: number): number {
  const scale = 10 ** digits;
  return Math.round(value * scale) / scale;
}

export class Sampler {
  readonly #readStats: () => Promise<Stats>;
  readonly #delay = new DelayMonitor();
  readonly #start = Date.now();
  readonly #ticks: Seen<Ticks[]>[] = [];
  readonly #stats: Seen<Stats>[] = [];
  #ticksDue = 0;
  #statsDue = 0;
  #asking = false;

  /** @param readStats such as `() => server.stats()`; it is not called while a call is pending */
  constructor(readStats: () => Promise<Stats>) {
    this.#readStats = readStats;
    this.#readTicks();
  }

  /** Stops the monitor of the event loop, which would otherwise keep a timer running. */
  close(): void {
    this.#delay.close();
  }

  sample(): Omit<Sample, "worker" | "stalled" | "evictions" | "crowd"> {
    const now = performance.now();
    if (now >= this.#ticksDue) this.#readTicks();
    if (now >= this.#statsDue && !this.#asking) void this.#ask();
    const total = totalmem();
    return {
      time: Date.now(),
      start: this.#start,
      cpu: this.#cpu(),
      memory: {
        total,
        // On Linux libuv reads MemAvailable, so caches count as free.
        used: total - freemem(),
        process: process.memoryUsage.rss(),
      },
      application: this.#delay.take(),
      server: this.#server(),
    };
  }

  #readTicks(): void {
    const begin = performance.now();
    const value = cpus().map(({ times }) => {
      const busy = times.user + times.nice + times.sys + times.irq;
      return { busy, total: busy + times.idle };
    });
    const end = performance.now();
    slide(this.#ticks, { at: begin, value }, CPU_WINDOW);
    // With many cores this call takes milliseconds. It may take one percent of the loop's time.
    this.#ticksDue = end + (end - begin) * 99;
  }

  #cpu(): number[] {
    const first = this.#ticks[0]?.value ?? [];
    const last = this.#ticks.at(-1)?.value ?? [];
    return last.map((core, i) => {
      const from = first[i] ?? core;
      const total = core.total - from.total;
      if (total <= 0) return 0;
      return round(Math.min(100, Math.max(0, (100 * (core.busy - from.busy)) / total)), 1);
    });
  }

  async #ask(): Promise<void> {
    this.#asking = true;
    const begin = performance.now();
    // The timer that calls the sampler fires late more often than early.
    this.#statsDue = begin + STATS_EVERY * 0.95;
    try {
      const value = await this.#readStats();
      // The counters were read at some time between call and result, so the middle is used.
      slide(this.#stats, { at: (begin + performance.now()) / 2, value }, STATS_WINDOW);
    } catch {
      // A server that has ended reports that through `finished`. Here the figures are unknown.
      this.#stats.length = 0;
    } finally {
      this.#asking = false;
    }
  }

  #server(): ServerSample | null {
    const first = this.#stats[0];
    const last = this.#stats.at(-1);
    if (!first || !last || last.at <= first.at) return null;
    const a = first.value;
    const b = last.value;
    const rate = (difference: number) => round((1000 * difference) / (last.at - first.at), 1);
    const published = rate(b.bytesPublished - a.bytesPublished);
    return {
      connections: b.connections,
      webSockets: b.webSockets,
      messagesPerSecond: rate(b.framesDue + b.messagesSent - a.framesDue - a.messagesSent),
      bytesPerSecond: rate(b.bytesOut - a.bytesOut),
      publishedPerSecond: published,
      ring: {
        bytes: b.ring.bytes,
        used: b.ring.used,
        head: round((b.bytesPublished % b.ring.bytes) / b.ring.bytes, 4),
        horizon: published > 0 ? round(b.ring.bytes / published, 2) : null,
      },
      lag: b.lag,
      evicted: b.evicted,
      closed: b.closed,
    };
  }
}
