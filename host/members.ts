// What a handler must look like, wherever it runs: an object whose members are functions.

import type { Handler } from "./handler";
import { MEMBERS } from "./wire";

/** Prints what a module or function gave, in an error message. */
function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  return Array.isArray(value) ? "an array" : `a ${typeof value}`;
}

/**
 * Checks what is to be a handler.
 * @param where what gave it, for the message @throws TypeError naming the member that is wrong
 */
export function checkHandler(handler: unknown, where = "handler"): asserts handler is Handler {
  if (typeof handler !== "object" || handler === null || Array.isArray(handler))
    throw new TypeError(`${where}: ${kindOf(handler)} is not an object of handler functions`);
  const members = handler as Readonly<Record<string, unknown>>;
  for (const name of [...MEMBERS, "protocol"]) {
    const member = members[name];
    if (member !== undefined && typeof member !== "function")
      throw new TypeError(`${where}.${name}: ${kindOf(member)} is not a function`);
  }
  const { streams } = members;
  if (streams !== undefined && typeof streams !== "boolean" && typeof streams !== "function")
    throw new TypeError(`${where}.streams: ${kindOf(streams)} is neither a boolean nor a function`);
}

/** Why a handler was not waited for any longer. */
export function tooLate(ms: number): Error {
  return new Error(`loadTimeout: the handler was not there within ${ms} ms`);
}
