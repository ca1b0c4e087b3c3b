// A handler that goes wrong in every way there is, for all placements.

import { parentPort } from "node:worker_threads";
import { THROWN } from "./thrown.mjs";

/** Makes the value to throw, by number. */
const make = (number) => THROWN[Number(number)][1]();

const raise = (thrown) => {
  throw thrown;
};

/** Ways to throw a value, or to reject with it. */
const ways = {
  throw: raise,
  reject: (thrown) => Promise.reject(thrown),
  later: (thrown) => new Promise((_, reject) => setTimeout(reject, 1, thrown)),
  /** A thenable that calls back at once, and both of its callbacks. */
  thenable: (thrown) => ({
    // biome-ignore lint/suspicious/noThenProperty: that is what is tried
    then(fulfilled, rejected) {
      rejected(thrown);
      fulfilled();
      throw thrown;
    },
  }),
  throwing: (thrown) => ({
    // biome-ignore lint/suspicious/noThenProperty: that is what is tried
    then: () => raise(thrown),
  }),
  // biome-ignore lint/suspicious/noThenProperty: that is what is tried
  getter: (thrown) => Object.defineProperty({}, "then", { get: () => raise(thrown) }),
};

export const WAYS = Object.keys(ways);

/** Errors after a response, where no code catches them. */
const slips = {
  rejection: (thrown) => void Promise.reject(thrown),
  timer: (thrown) => setTimeout(raise, 0, thrown),
  immediate: (thrown) => setImmediate(raise, thrown),
  microtask: (thrown) => queueMicrotask(() => raise(thrown)),
  tick: (thrown) => process.nextTick(raise, thrown),
  /** A listener of an event of the server's own. */
  listener(thrown, res) {
    res.signal.addEventListener("abort", () => raise(thrown));
  },
};

export const SLIPS = Object.keys(slips);

/** Calls of a handler on the port to its thread's parent. */
const ports = {
  null: (port) => port.postMessage(null),
  undefined: (port) => port.postMessage(undefined),
  number: (port) => port.postMessage(0),
  text: (port) => port.postMessage("text"),
  bytes: (port) => port.postMessage(new ArrayBuffer(64)),
  empty: (port) => port.postMessage({}),
  marked: (port) => port.postMessage({ ringcast: "nothing known", error: null }),
  listener: (port) => port.on("message", () => raise(new Error("never called"))),
  deaf: (port) => port.removeAllListeners(),
  unref: (port) => port.unref(),
  close: (port) => port.close(),
};

export const PORTS = Object.keys(ports);

/** Events of a listener of the handler's own. */
const heard = [];

let ticking = false;
let ticks = 0;

const routes = {
  "/": (_, res) => res.send(200, "text/plain", "well"),
  "/slip"(query, res) {
    const [name, number] = query.split("&");
    slips[name](make(number), res);
    if (name !== "listener") res.send(200);
    else return new Promise(() => undefined);
  },
  /** The same within a request that is never answered. */
  "/lost"(query) {
    const [name, number] = query.split("&");
    slips[name](make(number));
    return new Promise(() => undefined);
  },
  /** How often a timer has ticked since this was asked first. */
  "/ticks"(_, res) {
    if (!ticking) setInterval(() => ticks++, 1).unref();
    ticking = true;
    res.send(200, "text/plain", `${ticks}`);
  },
  "/port"(name, res) {
    ports[name](parentPort);
    res.send(200);
  },
  "/pieces": (_, res) => res.stream(200, "text/plain", ["in ", "pieces"]),
  "/exit": () => process.exit(0),
  /** From now on the handler listens itself. */
  "/listen"(event, res) {
    process.on(event, (thrown) => heard.push(thrown.message));
    res.send(200);
  },
  "/heard": (_, res) => res.send(200, "application/json", JSON.stringify(heard)),
  /** Bad JSON is the client's fault, and 400, unless the handler makes an error of its own of it. */
  "/json"(_, res, req) {
    try {
      res.send(200, "text/plain", typeof req.json());
    } catch ({ message }) {
      throw new Error(message);
    }
  },
  "/quote": (_query, _res, req) =>
    raise(new TypeError(req.text(), { cause: new Error(req.text()) })),
};

export default {
  request(req, res) {
    if (req.upgrade) return res.upgrade();
    const route = routes[req.path];
    if (route) return route(req.query, res, req);
    return ways[req.path.slice(1)](make(req.query));
  },
  message(ws, text) {
    const [way, number] = text.split(" ");
    if (way === "quote") throw new RangeError(text);
    if (way in ways) return ways[way](make(number));
    ws.send(text);
    return undefined;
  },
};
