// Values that user code can throw, and that are hard to describe: each is made when it is needed. Read by tests and
// handlers.

import { createContext, runInContext } from "node:vm";

const fail = (what) => () => {
  throw new Error(what);
};

/** An error whose members throw when they are read. */
class Hostile extends Error {
  get name() {
    throw new Error("name");
  }
  get message() {
    throw new Error("message");
  }
  get stack() {
    throw new Error("stack");
  }
  get code() {
    throw new Error("code");
  }
}

function revoked(target) {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
}

/** Returns a proxy that refuses everything. */
function closed(target) {
  const names = ["get", "has", "getPrototypeOf", "getOwnPropertyDescriptor", "ownKeys", "set"];
  return new Proxy(target, Object.fromEntries(names.map((name) => [name, fail(name)])));
}

function define(error, name, descriptor) {
  return Object.defineProperty(error, name, { configurable: true, ...descriptor });
}

/** A description, and a function that makes the value. */
export const THROWN = [
  ["an error", () => new TypeError("plain")],
  ["undefined", () => undefined],
  ["null", () => null],
  ["a string", () => "text"],
  ["a symbol", () => Symbol("symbol")],
  ["a bigint", () => 12n],
  ["a function", () => fail("called")],
  [
    "an error each of whose members is a revoked proxy",
    () => new Proxy(new Error("revoked members"), { get: () => revoked([]) }),
  ],
  [
    "an error with a list of errors that cannot be read",
    () => Object.assign(new Error("list"), { errors: closed([1]) }),
  ],
  ["an object without a prototype", () => Object.create(null)],
  ["an object whose toString throws", () => ({ toString: fail("toString") })],
  [
    "an object whose toString gives an object",
    () => ({ toString: () => ({}), valueOf: () => ({}) }),
  ],
  ["an object whose toPrimitive throws", () => ({ [Symbol.toPrimitive]: fail("toPrimitive") })],
  [
    "an object whose toStringTag throws",
    () => define({}, Symbol.toStringTag, { get: fail("tag") }),
  ],
  ["an object whose message throws", () => define({}, "message", { get: fail("message") })],
  ["an object whose message is an object", () => ({ message: { toString: fail("toString") } })],
  ["an error whose members throw", () => new Hostile()],
  [
    "an error whose message throws",
    () => define(new Error("a"), "message", { get: fail("message") }),
  ],
  [
    "an error whose message is a symbol",
    () => define(new Error("a"), "message", { value: Symbol("s") }),
  ],
  ["an error whose stack throws", () => define(new Error("a"), "stack", { get: fail("stack") })],
  ["an error without a stack", () => define(new Error("a"), "stack", { value: undefined })],
  ["an error whose name is an object", () => define(new Error("a"), "name", { value: {} })],
  ["an error with a large message", () => new Error("m".repeat(1e6))],
  [
    "an error with a large stack",
    () => define(new Error("a"), "stack", { value: "s".repeat(1e6) }),
  ],
  ["an error with a large code", () => Object.assign(new Error("a"), { code: "c".repeat(1e6) })],
  ["a frozen error", () => Object.freeze(new Error("frozen"))],
  ["a large string", () => "t".repeat(1e6)],
  ["a revoked proxy", () => revoked({})],
  ["a revoked proxy of an error", () => revoked(new Error("a"))],
  ["a revoked proxy of a function", () => revoked(() => undefined)],
  ["a proxy that refuses everything", () => closed({})],
  ["a proxy of an error that refuses everything", () => closed(new Error("a"))],
  ["an error of another realm", () => runInContext("new RangeError('there')", createContext())],
  [
    "an error whose cause is itself",
    () => {
      const error = new Error("loop");
      error.cause = error;
      return error;
    },
  ],
];
