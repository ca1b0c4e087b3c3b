// The figures that cases have in common: how they are called and shown.

/**
 * @typedef {object} Figure
 * @property {string} key its name in what a round comes to
 * @property {string} head its column's
 * @property {(value: number) => string} show
 */

const digits = (count) => (value) => value.toFixed(count);
const percent = (share) => `${(share * 100).toFixed(share < 0.1 ? 1 : 0)}%`;

/** @type {(key: string, head: string, show: (value: number) => string) => Figure} */
export const figure = (key, head, show) => ({
  key,
  head,
  show: (value) => (Number.isFinite(value) ? show(value) : "–"),
});

export const MILLIONS = figure("rate", "M/s", (rate) => (rate / 1e6).toPrecision(3));
export const THOUSANDS = figure("rate", "k/s", (rate) => (rate / 1e3).toPrecision(3));
export const SERVER_NANOS = figure("serverNanos", "CPU ns", digits(0));
export const SERVER_MICROS = figure("serverNanos", "CPU µs", (nanos) => (nanos / 1e3).toFixed(2));
export const APP_NANOS = figure("appNanos", "app ns", digits(0));
export const APP_MICROS = figure("appNanos", "app µs", (nanos) => (nanos / 1e3).toFixed(2));
export const BUSY = figure("serverShare", "busy", percent);
export const APP_BUSY = figure("appShare", "app busy", percent);
export const LOAD = figure("loadShare", "load", percent);
export const WAITS = figure("waits", "waits", digits(0));
export const P50 = figure("p50", "p50 ms", digits(2));
export const P99 = figure("p99", "p99 ms", digits(2));
export const P999 = figure("p999", "p99.9 ms", digits(2));
export const MEGABYTES = figure("peakBytes", "peak MB", (bytes) => (bytes / 1e6).toFixed(1));
export const RATE_MEGABYTES = figure("bytesPerSecond", "MB/s", (bytes) => (bytes / 1e6).toFixed(0));
export const KILOBYTES = figure("bytesEach", "kB", (bytes) => (bytes / 1e3).toFixed(1));
