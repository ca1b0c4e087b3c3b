// The data of a WebSocket that a handler on this thread gives to a module in the worker.
//
// Invariant: the module gets an equal value, or the call throws.

import { show } from "../shared/text/show";
import { byteLength } from "../shared/text/text";

/** Bytes of the JSON at most. More is a RangeError. */
const MAX_DATA_BYTES = 65536;
/** Levels of objects in it at most. Deeper ones, and so cycles, are refused. */
const MAX_DATA_DEPTH = 32;

/** Returns true for an object without a class, in any realm. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** Looks at data value by value. */
class Check {
  /** Number of values that may still come. Each takes a byte of JSON or more. */
  #left = MAX_DATA_BYTES;

  /** Returns true for a value that JSON keeps as it is. */
  isKept(value: unknown, depth = 0): boolean {
    if (this.#left-- === 0) throw new RangeError(`data: more than ${MAX_DATA_BYTES} values`);
    if (value === null || typeof value === "string" || typeof value === "boolean") return true;
    if (typeof value === "number") return Number.isFinite(value);
    if (typeof value !== "object" || depth === MAX_DATA_DEPTH) return false;
    // A hole in a list reads as undefined, which is refused.
    if (Array.isArray(value)) return Array.from(value).every((one) => this.isKept(one, depth + 1));
    const members = Object.values(value).filter((one) => one !== undefined);
    return isPlain(value) && members.every((one) => this.isKept(one, depth + 1));
  }
}

/**
 * Returns the data of a WebSocket as JSON, for a module in another thread; "" for undefined.
 * @throws TypeError for data that JSON would change; RangeError for too much of it
 */
export function jsonOf(data: unknown): string {
  if (data === undefined) return "";
  if (!new Check().isKept(data))
    throw new TypeError(
      `data: ${show(data)} is not data that JSON keeps, as a module in the worker needs from this thread`,
    );
  const text = JSON.stringify(data);
  const length = byteLength(text);
  if (length > MAX_DATA_BYTES)
    throw new RangeError(`data: ${length} bytes of JSON are more than ${MAX_DATA_BYTES}`);
  return text;
}
