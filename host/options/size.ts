// Sizes in bytes with a unit, such as "64 KiB", "16MiB", "1MB".
//
// Invariant: each unit has one meaning. KiB, MiB and GiB are powers of 1,024; kB, MB and GB are powers of 1,000.

/** A size: a number of bytes, or text with a unit. KiB, MiB and GiB count by 1,024; kB, MB and GB by 1,000. */
export type Size =
  | number
  | `${number}${"" | " "}${"B" | "KiB" | "MiB" | "GiB" | "kB" | "MB" | "GB"}`;

const SIZE = /^(\d+(?:\.\d+)?) ?(B|KiB|MiB|GiB|kB|MB|GB)$/;
const LETTERS = ["B", "k", "m", "g"];

/** Returns the bytes of a text such as "64 KiB", rounded to a whole number; NaN when it is not a size with a unit. */
export function sizeOf(text: string): number {
  const [, digits = "", unit = ""] = SIZE.exec(text) ?? [];
  if (digits === "") return Number.NaN;
  const power = unit === "B" ? 0 : LETTERS.indexOf(unit.charAt(0).toLowerCase());
  return Math.round(Number(digits) * (unit.endsWith("iB") ? 1024 : 1000) ** power);
}

/** Returns the number of bytes when the value is text with a unit; otherwise returns the value unchanged. */
export function bytesIn(value: unknown): unknown {
  if (typeof value !== "string") return value;
  const bytes = sizeOf(value);
  return Number.isNaN(bytes) ? value : bytes;
}
