// A handler that goes wrong in every way there is, for all placements.

import { THROWN } from "./thrown.mjs";

/** What is thrown by number. */
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

const routes = {
  "/": (_, res) => res.send(200, "text/plain", "well"),
};

export default {
  request(req, res) {
    if (req.upgrade) return res.upgrade();
    const route = routes[req.path];
    if (route) return route(req.query, res);
    return ways[req.path.slice(1)](make(req.query));
  },
  message(ws, text) {
    const [way, number] = text.split(" ");
    if (way in ways) return ways[way](make(number));
    ws.send(text);
    return undefined;
  },
};
