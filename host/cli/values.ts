// Values on the command line: parses sizes, times and rates as people write them, and prints values of options.

import { sizeOf } from "../options/size";
import type { OptionRow } from "../options/table";

type Row = OptionRow<string>;

/** A mistake in the command. It is printed without a stack; exit code 2. */
export class UsageError extends Error {}

/** A failure that is not a mistake in the command; exit code 1. */
export class Failure extends Error {}

const BINARY = ["k", "m", "g"];

/**
 * Returns the bytes of a size as options take it ("64 KiB", "1MB"), or as only the command line does: "65536", "64k"
 * (of 1,024), a unit in any case. NaN when the text is not a size.
 */
export function parseSize(text: string): number {
  const size = sizeOf(text);
  if (!Number.isNaN(size)) return size;
  const [, digits = "", unit = "", rest = ""] = /^(\d+(?:\.\d+)?)([kmg]?)(i?b)?$/i.exec(text) ?? [];
  if (digits === "" || (unit === "" && /^i/i.test(rest))) return Number.NaN;
  const base = /^b$/i.test(rest) ? 1000 : 1024;
  return Math.round(Number(digits) * base ** (BINARY.indexOf(unit.toLowerCase()) + 1));
}

const TIMES: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60000, h: 3600000 };

/**
 * Returns a time such as "500ms", "30s", "5m", "1h" in a unit, which is the default of a bare number. Otherwise NaN.
 */
export function parseTime(text: string, unit: "ms" | "s"): number {
  const [, digits = "", own = unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text) ?? [];
  return digits === "" ? Number.NaN : (Number(digits) * (TIMES[own] ?? 1)) / (TIMES[unit] ?? 1);
}

/** Returns the bytes per second of a rate such as "1MB/s"; NaN when the text is not a rate. */
export function parseRate(text: string): number {
  return parseSize(text.replace(/\/s$/, ""));
}

/** Parses the text of an option's value; NaN when it should be a number and is not. */
export function parseValue(row: Row, text: string): number | string {
  if (row.words) return text;
  if (row.unit === "bytes") return parseSize(text);
  if (row.unit === "MiB") return /^\d+$/.test(text) ? Number(text) : parseSize(text) / 1048576;
  if (row.unit === "ms" || row.unit === "s") return parseTime(text, row.unit);
  return /^\d+$/.test(text) ? Number(text) : Number.NaN;
}

function sizeText(value: number): string {
  if (value >= 1048576 && value % 1048576 === 0) return `${value / 1048576} MiB`;
  if (value >= 1024 && value % 1024 === 0) return `${value / 1024} KiB`;
  return String(value);
}

/** Returns a value of an option with its unit. */
export function valueText(row: Row, value: number | boolean | string): string {
  if (typeof value === "number" && row.unit === "bytes") return sizeText(value);
  if (typeof value === "number" && (row.unit === "ms" || row.unit === "s" || row.unit === "MiB"))
    return `${value} ${row.unit}`;
  return typeof value === "string" ? `"${value}"` : String(value);
}

/** Returns the values that an option accepts, as text. */
export function rangeText(row: Row): string {
  if (row.words) return row.words.map((word) => `"${word}"`).join(", ");
  if (row.unit === "flag") return "true, false";
  const range = `${valueText(row, row.min ?? 0)} … ${valueText(row, row.max ?? 0)}`;
  return row.power ? `${range}, a power of two` : range;
}

/** Returns a number with about three digits. */
function short(value: number): string {
  return value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toPrecision(3);
}

/** Returns bytes as people read them: "16 MiB", "1.23 GiB". */
export function bytesText(bytes: number): string {
  let value = bytes;
  for (const unit of ["B", "KiB", "MiB"]) {
    if (value < 1024) return `${short(value)} ${unit}`;
    value /= 1024;
  }
  return `${short(value)} GiB`;
}

/** Returns a count as people read it: "950", "12.3 k", "1.20 M". */
export function countText(count: number): string {
  if (count < 1000) return short(count);
  if (count < 1e6) return `${short(count / 1000)} k`;
  return `${short(count / 1e6)} M`;
}

/** Returns seconds as people read them: "20.0 ms", "5 s", "2.50 min". */
export function secondsText(seconds: number): string {
  if (!Number.isFinite(seconds)) return "no end";
  if (seconds < 1) return `${short(seconds * 1000)} ms`;
  if (seconds < 120) return `${short(seconds)} s`;
  return seconds < 7200 ? `${short(seconds / 60)} min` : `${short(seconds / 3600)} h`;
}
