// Handles what user code returns and throws: a value, a promise, or anything else that JavaScript can throw.
//
// Invariant: nothing here throws, whatever the value is: a revoked proxy, an object without a prototype, a getter or
// method that throws, a thenable that settles twice. Texts taken from the value are bounded, and because they may quote
// what a peer sent, their control characters are escaped.

import { printableLines } from "./text/printable";

/** Characters kept of an error's message or stack. The rest is cut, because it may quote a client's long input. */
const TEXT_LIMIT = 16384;

/** Description of a thrown value, in strings that can be logged and sent to another thread. */
export interface ErrorData {
  /** Name such as "TypeError"; "Error" for a value that is not an error. */
  readonly name: string;
  readonly message: string;
  /** The stack, which begins with name and message. */
  readonly stack: string;
  readonly code?: string | number;
}

/** Depth of causes whose texts are cleaned. Node prints no more of them. */
const CAUSES = 4;
/** Errors of an AggregateError that are cleaned: as many as Node prints of a list. */
const ERRORS = 100;

function cut(text: string): string {
  if (text.length <= TEXT_LIMIT) return printableLines(text);
  return `${printableLines(text.slice(0, TEXT_LIMIT))}… (${text.length} characters)`;
}

type Member = "name" | "message" | "stack" | "code" | "cause" | "errors";

/** Reads a member of a value. @returns undefined when there is none, or reading it throws */
function memberOf(value: unknown, name: Member): unknown {
  const mayHave = (typeof value === "object" && value !== null) || typeof value === "function";
  if (!mayHave) return undefined;
  try {
    return (value as Readonly<Record<string, unknown>>)[name];
  } catch {
    return undefined;
  }
}

/** Tests `instanceof` for a thrown value. Returns false for a proxy that refuses access to its prototype. */
export function isInstance<T>(
  value: unknown,
  type: abstract new (...args: never[]) => T,
): value is T {
  try {
    return value instanceof type;
  } catch {
    return false;
  }
}

function isError(value: unknown): value is Error {
  try {
    // The second test also holds for errors of another realm.
    return isInstance(value, Error) || Object.prototype.toString.call(value) === "[object Error]";
  } catch {
    return false;
  }
}

/** Prints a value that is not an error. */
function print(value: unknown): string {
  try {
    return String(value);
  } catch {
    return typeof value === "function" ? "a function" : "an object that cannot be printed";
  }
}

/** Describes a thrown value. */
export function describe(thrown: unknown): ErrorData {
  const [name, message, stack, code] = (["name", "message", "stack", "code"] as const).map((key) =>
    memberOf(thrown, key),
  );
  const isNamed = isError(thrown) && typeof name === "string" && name !== "";
  const kind = isNamed ? cut(name) : "Error";
  let text = typeof message === "string" ? cut(message) : undefined;
  text ??= isError(thrown) ? "an error without a message" : cut(print(thrown));
  const isTraced = isError(thrown) && typeof stack === "string" && stack !== "";
  const data = { name: kind, message: text, stack: isTraced ? cut(stack) : `${kind}: ${text}` };
  return typeof code === "string" || typeof code === "number"
    ? { ...data, code: typeof code === "string" ? cut(code) : code }
    : data;
}

/** Returns true for an error that can be passed on itself: its name, message and stack are strings, not too long. */
function isPlain(error: Error): boolean {
  return (["name", "message", "stack"] as const).every((key) => {
    const text = memberOf(error, key);
    return typeof text === "string" && text.length <= TEXT_LIMIT;
  });
}

/** Makes an error from a description, on the thread that received it. */
export function errorOf({ name, message, stack, code }: ErrorData, cause?: unknown): Error {
  const error = cause === undefined ? new Error(message) : new Error(message, { cause });
  const hide = { configurable: true, writable: true };
  if (name !== "Error") Object.defineProperty(error, "name", { value: name, ...hide });
  Object.defineProperty(error, "stack", { value: stack, ...hide });
  return code === undefined ? error : Object.assign(error, { code });
}

/**
 * Shortens the texts of an error and of the errors within it, and escapes their control characters, so that printing
 * them is safe. @returns false when they cannot be changed
 */
function clean(thrown: unknown, depth = 0): boolean {
  if (!isError(thrown)) return true;
  for (const key of ["name", "message", "stack"] as const) {
    const text = memberOf(thrown, key);
    const value = typeof text === "string" ? cut(text) : text;
    if (value === text) continue;
    try {
      Object.defineProperty(thrown, key, { value, configurable: true, writable: true });
    } catch {
      return false;
    }
  }
  if (depth === CAUSES) return true;
  try {
    const errors = memberOf(thrown, "errors");
    const listed: unknown[] = Array.isArray(errors) ? errors.slice(0, ERRORS) : [];
    return [memberOf(thrown, "cause"), ...listed].every((one) => clean(one, depth + 1));
  } catch {
    // The list is a proxy that refuses to be read, so it cannot be printed either.
    return true;
  }
}

/**
 * Turns a thrown value into an Error that is safe to read and to print. An ordinary error of this realm is returned
 * itself, with its control characters escaped. Any other value becomes a new error, whose `cause` is the value unless
 * that cannot be made safe.
 */
export function toError(thrown: unknown): Error {
  const isClean = clean(thrown);
  if (isClean && isInstance(thrown, Error) && isPlain(thrown)) return thrown;
  return errorOf(describe(thrown), isClean ? thrown : undefined);
}

/** Returns true when `await` would wait for the value: its `then` is a function, or reading it throws. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  if ((typeof value !== "object" || value === null) && typeof value !== "function") return false;
  try {
    return typeof (value as PromiseLike<unknown>).then === "function";
  } catch {
    return true;
  }
}

const { then } = Promise.prototype;

/**
 * Calls one of two functions once, when a value has settled, like `await`: a thenable's `then` may throw, or call both
 * of its callbacks. A rejection counts as handled. Calls neither function before it returns.
 */
export function whenSettled(
  value: unknown,
  fulfilled: ((value: unknown) => void) | undefined,
  rejected: (thrown: unknown) => void,
): void {
  try {
    // A promise of this realm is used itself, so it costs no more than its `then`.
    then.call(Promise.resolve(value), fulfilled, rejected);
  } catch (thrown) {
    // Reading the promise's `constructor` threw.
    queueMicrotask(() => rejected(thrown));
  }
}
