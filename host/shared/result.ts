// What user code returns and throws: a value, a promise, or anything else that JavaScript can throw.
//
// Invariant: nothing here throws, whatever the value is: a revoked proxy, an object without a prototype, a getter or
// method that throws, a thenable that settles twice. The texts taken from it are bounded. A peer may have sent what
// they quote, so their control characters are escaped.

import { printableLines } from "./text/printable";

/** Characters of a message or of a stack that are kept of what was thrown: a client's input may be part of it. */
const TEXT_LIMIT = 16384;

/** A thrown value in words: strings that can be logged, and posted to another thread. */
export interface Told {
  /** Such as "TypeError"; "Error" for what is not an error. */
  readonly name: string;
  readonly message: string;
  /** Begins with name and message. */
  readonly stack: string;
  readonly code?: string | number;
}

/** Depth of causes whose texts are cleaned: nobody sees more of them. */
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

/** `instanceof` for what was thrown: false for a proxy that refuses to tell its prototype. Never throws. */
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
    // The second holds for errors of another realm, too.
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

/** Describes whatever was thrown. Never throws. */
export function describe(thrown: unknown): Told {
  const [name, message, stack, code] = (["name", "message", "stack", "code"] as const).map((key) =>
    memberOf(thrown, key),
  );
  const isNamed = isError(thrown) && typeof name === "string" && name !== "";
  const kind = isNamed ? cut(name) : "Error";
  let text = typeof message === "string" ? cut(message) : undefined;
  text ??= isError(thrown) ? "an error without a message" : cut(print(thrown));
  const isTraced = isError(thrown) && typeof stack === "string" && stack !== "";
  const told = { name: kind, message: text, stack: isTraced ? cut(stack) : `${kind}: ${text}` };
  return typeof code === "string" || typeof code === "number"
    ? { ...told, code: typeof code === "string" ? cut(code) : code }
    : told;
}

/** True for an error that can be passed on as it is: its name, message and stack are strings, and not too long. */
function isPlain(error: Error): boolean {
  return (["name", "message", "stack"] as const).every((key) => {
    const text = memberOf(error, key);
    return typeof text === "string" && text.length <= TEXT_LIMIT;
  });
}

/** Makes the error that a description tells of, as another thread gets it. */
export function errorOf({ name, message, stack, code }: Told, cause?: unknown): Error {
  const error = cause === undefined ? new Error(message) : new Error(message, { cause });
  const hide = { configurable: true, writable: true };
  if (name !== "Error") Object.defineProperty(error, "name", { value: name, ...hide });
  Object.defineProperty(error, "stack", { value: stack, ...hide });
  return code === undefined ? error : Object.assign(error, { code });
}

/**
 * Cuts the texts of an error and of the errors within it, and escapes their control characters: whoever prints them
 * prints none of a peer's. @returns false when they cannot be changed
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
    // The list is a proxy that refuses to be read, so nothing prints it either.
    return true;
  }
}

/**
 * Turns whatever was thrown into an Error that is safe to read and to print. An ordinary error of this realm is
 * returned itself, with its control characters escaped. For everything else it is a new one, with `cause` what was
 * thrown unless that cannot be made safe. Never throws.
 */
export function toError(thrown: unknown): Error {
  const isClean = clean(thrown);
  if (isClean && isInstance(thrown, Error) && isPlain(thrown)) return thrown;
  return errorOf(describe(thrown), isClean ? thrown : undefined);
}

/** True when `await` would wait for the value: it has a `then` that is a function, or that throws when it is read. */
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
 * Calls one of two functions, once, when a value has settled, as `await` would: a thenable's `then` may throw, or call
 * both of its callbacks. It has been told of the rejection, so that counts as handled. Never throws, and calls
 * neither before it returns.
 */
export function whenSettled(
  value: unknown,
  fulfilled: ((value: unknown) => void) | undefined,
  rejected: (thrown: unknown) => void,
): void {
  try {
    // The thread's own promise is returned as it is: it costs no more than its `then`.
    then.call(Promise.resolve(value), fulfilled, rejected);
  } catch (thrown) {
    // Its `constructor` threw.
    queueMicrotask(() => rejected(thrown));
  }
}
