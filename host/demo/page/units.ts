// Formats numbers for people.

/** A figure and its unit, separate so that each can have a style of its own. */
export type Quantity = readonly [figure: string, unit: string];

export const whole = (v: number): string => Math.round(v).toLocaleString("en");

/** Formats with one decimal below a bound, and none from there on. */
export const tenths = (v: number, below: number): string =>
  v < below - 0.05 ? v.toFixed(1) : whole(v);

function scaled(value: number, base: number, units: readonly string[]): Quantity {
  let v = value;
  let i = 0;
  for (; v >= base * 0.9995 && i < units.length - 1; i++) v /= base;
  return [i === 0 ? whole(v) : tenths(v, 100), units[i] as string];
}

export const size = (v: number): Quantity => scaled(v, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
export const rate = (v: number): Quantity => scaled(v, 1000, ["B/s", "kB/s", "MB/s", "GB/s"]);
export const count = (v: number): string =>
  v < 99999.5 ? whole(v) : scaled(v, 1000, ["", "k", "M", "G"]).join(" ");
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
