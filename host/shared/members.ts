// Checks handlers, wherever they run: a handler is an object whose members are functions. Other members are the user's
// own, because handlers are called with `this`.
//
// Invariant: a member that looks like a misspelled one, which would never be called, is refused.

import type { Handler } from "../handler";
import { distance } from "../options/known";

/** Members of a handler. The set that a handler has is sent as bits in this order. */
export const MEMBERS = [
  "request",
  "connect",
  "disconnect",
  "open",
  "message",
  "fragment",
  "drain",
  "ping",
  "pong",
  "close",
  "shutdown",
] as const;

export type Member = (typeof MEMBERS)[number];

/** Describes the result of a module or function for an error message. */
function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  return Array.isArray(value) ? "an array" : `a ${typeof value}`;
}

/** All members that a handler may have. */
const KNOWN: readonly string[] = [...MEMBERS, "protocol", "streams"];

/** Members of other servers' handlers, with advice on what does the same here. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  onMessage: "message",
  onOpen: "open",
  onClose: "close",
  websocket: "open, message and close as members of the handler itself",
  upgrade: "request, which accepts a handshake with res.upgrade()",
  connection: "open for WebSockets, connect for connections",
};

/** Iterates the names of an object's members and those of its classes, except what every object has. */
function* namesOf(members: object): Iterable<string> {
  for (
    let one: object | null = members;
    one && one !== Object.prototype;
    one = Object.getPrototypeOf(one) as object | null
  )
    yield* Object.getOwnPropertyNames(one);
}

/** Returns the member that a name was probably meant to be. */
function meant(name: string): string | undefined {
  const lower = name.toLowerCase();
  return KNOWN.find((known) => known === lower || distance(known, lower) <= 1);
}

/** Returns advice on an unknown member; undefined when it is the user's own. */
function adviceOn(name: string, members: Readonly<Record<string, unknown>>): string | undefined {
  if (KNOWN.includes(name) || name === "constructor") return undefined;
  if (Object.hasOwn(ELSEWHERE, name)) return `use ${ELSEWHERE[name]}`;
  if (name === "fetch")
    return members.request === undefined ? 'see fetchHandler of "ringcast/fetch"' : undefined;
  const near = meant(name);
  if (near === undefined) return undefined;
  // Data whose name is within one edit, such as `messages: []` or `closed: false`, is the user's own.
  const kind = typeof members[name];
  const isCode = kind === "function" || (kind === "boolean" && near === "streams");
  return isCode || name.toLowerCase() === near ? `did you mean ${near}?` : undefined;
}

/** Refuses misspelled members. @throws TypeError naming the member, with advice */
function refuseMisspelt(members: Readonly<Record<string, unknown>>, where: string): void {
  for (const name of namesOf(members)) {
    const advice = adviceOn(name, members);
    if (advice && members[name] !== undefined)
      throw new TypeError(`${where}.${name}: there is no such member; ${advice}`);
  }
}

/**
 * Checks a handler.
 * @param where what gave the handler, for the message
 * @throws TypeError naming the member that is wrong
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
  refuseMisspelt(members, where);
  const { streams } = members;
  if (streams !== undefined && typeof streams !== "boolean" && typeof streams !== "function")
    throw new TypeError(`${where}.streams: ${kindOf(streams)} is neither a boolean nor a function`);
}

/** Members that are called on the main handler alone. */
const MAIN = ["connect", "disconnect"] as const;

/**
 * Checks the handler of a module beside the main one.
 * @throws TypeError as `checkHandler`, and for members that would never be called
 */
export function checkModule(handler: unknown, where: string): asserts handler is Handler {
  checkHandler(handler, where);
  for (const name of MAIN)
    if (handler[name])
      throw new TypeError(
        `${where}.${name}: is called on the main handler alone, ` +
          "because a connection belongs to no other before its first request",
      );
}

/** Returns the error for a handler that did not load within `loadTimeout`. */
export function tooLate(ms: number): Error {
  return new Error(`loadTimeout: the handler had not loaded within ${ms} ms`);
}
