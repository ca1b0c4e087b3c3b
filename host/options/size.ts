// Sizes in bytes as people write them: "64 KiB", "16MiB", "1MB".
//
// Invariant: a unit means one thing. KiB, MiB and GiB are powers of 1,024; kB, MB and GB powers of 1,000.

/** Bytes: a number, or a text with its unit. KiB, MiB and GiB count by 1,024; kB, MB and GB by 1,000. */
export type Size =
  | number
  | `${number}${"" | " "}${"B" | "KiB" | "MiB" | "GiB" | "kB" | "MB" | "GB"}`;

const SIZE = /^(\d+(?:\.\d+)?) ?(B|KiB|MiB|GiB|kB|MB|GB)$/;
const LETTERS = ["B", "k", "m", "g"];

/** Bytes of a text such as "64 KiB", to the nearest whole number; NaN when it is not a size with its unit. */
export function sizeOf(text: string): number {
  const [, digits = "", unit = ""] = SIZE.exec(text) ?? [];
  if (digits === "") return Number.NaN;
  const power = unit === "B" ? 0 : LETTERS.indexOf(unit.charAt(0).toLowerCase());
  return Math.round(Number(digits) * (unit.endsWith("iB") ? 1024 : 1000) ** power);
}

/** The number of bytes in a value, where it is a text with a unit; any other value as it is. */
export function bytesIn(value: unknown): unknown {
  if (typeof value !== "string") return value;
  const bytes = sizeOf(value);
  return Number.isNaN(bytes) ? value : bytes;
}
