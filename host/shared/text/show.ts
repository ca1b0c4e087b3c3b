// Prints values in error messages.

/** Characters of text that are printed. The rest is cut, and the length is given instead. */
const SHOWN = 200;

/** Prints a value in a few words that a user recognizes. Never throws. */
export function show(value: unknown): string {
  if (typeof value === "string") {
    const text = JSON.stringify(value.slice(0, SHOWN));
    return value.length > SHOWN ? `${text}… (${value.length} characters)` : text;
  }
  if (typeof value === "function") return "a function";
  if (typeof value !== "object" || value === null) return String(value);
  try {
    return Array.isArray(value) ? "an array" : "an object";
  } catch {
    // Array.isArray throws for a revoked proxy.
    return "an object";
  }
}
