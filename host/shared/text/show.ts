// Values in error messages.

/** Characters of a text that are printed. */
const SHOWN = 200;

/** Prints a value: what a user would recognize, in a few words. Throws for no value. */
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
    // A revoked proxy.
    return "an object";
  }
}
