// Formats numbers for people.

/** A figure and its unit, separate so that each can have a style of its own. */
export type Quantity = readonly [figure: string, unit: string];

export const whole = (v: number): string => Math.round(v).toLocaleString("en");

/** Formats with one decimal below a bound, and none from there on. */
export const tenths = (v: number, below: number): string =>
  v < below - 0.05 ? v.toFixed(1) : whole(v);

/** Units, each `base` times the one before it. */
export interface Scale {
  readonly base: number;
  readonly units: readonly string[];
}

export const SIZES: Scale = { base: 1024, units: ["B", "KiB", "MiB", "GiB", "TiB"] };
export const RATES: Scale = { base: 1000, units: ["B/s", "kB/s", "MB/s", "GB/s"] };
export const COUNTS: Scale = { base: 1000, units: ["", "k", "M", "G"] };
export const MESSAGES: Scale = { base: 1000, units: ["/s", "k/s", "M/s", "G/s"] };
export const DELAYS: Scale = { base: 1000, units: ["ms"] };

/** An axis that begins at 0: its end, and the values that are labelled. */
export interface Axis {
  readonly end: number;
  readonly marks: readonly (readonly [value: number, label: string])[];
}

/** Number of intervals of an axis at most. */
const INTERVALS = 3;

/** Returns an axis up to `most` or a little more, whose labels are whole numbers of one unit. */
export function axis(most: number, { base, units }: Scale): Axis {
  let unit = 1;
  let i = 0;
  for (; most >= unit * base && i < units.length - 1; i++) unit *= base;
  const least = most / unit / INTERVALS;
  const power = 10 ** Math.max(0, Math.floor(Math.log10(least)));
  // 1, 2, 5, 10, 20, …
  const step = power * ([1, 2, 5].find((factor) => factor * power >= least * 0.9999) ?? 10);
  const intervals = Math.max(1, Math.ceil((most / unit / step) * 0.9999));
  const marks = Array.from({ length: intervals + 1 }, (_, n) => {
    return [n * step * unit, `${whole(n * step)} ${units[i]}`.trim()] as const;
  });
  return { end: intervals * step * unit, marks };
}

function scaled(value: number, { base, units }: Scale): Quantity {
  let v = value;
  let i = 0;
  for (; v >= base * 0.9995 && i < units.length - 1; i++) v /= base;
  return [i === 0 ? whole(v) : tenths(v, 100), units[i] as string];
}

export const size = (v: number): Quantity => scaled(v, SIZES);
export const rate = (v: number): Quantity => scaled(v, RATES);
export const count = (v: number): string => (v < 99999.5 ? whole(v) : scaled(v, COUNTS).join(" "));
export const ms = (v: number): string => `${tenths(v, 100)} ms`;

/** Joins figure and unit, without ".0": "16 MiB". */
export const text = ([figure, unit]: Quantity): string => `${figure.replace(/\.0$/, "")} ${unit}`;

export function duration(s: number): string {
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 120) return `${whole(s)} s`;
  if (s < 7200) return `${whole(s / 60)} min`;
  if (s < 172800) return `${whole(s / 3600)} h`;
  return `${whole(s / 86400)} days`;
}

/** Splits a cause's name into words: "WsClientTooSlow" becomes "WebSocket client too slow". */
export const words = (name: string): string =>
  name
    .replace(/([a-z0-9])([A-Z])/g, (_, x: string, y: string) => `${x} ${y.toLowerCase()}`)
    .replace(/^Ws\b/, "WebSocket");
