// An application that suffers a fault: `faults.mjs CASE [JSON of options]`. It reports its observations by messages,
// and follows orders.

import { closeSync, openSync } from "node:fs";
import { serve } from "ringcast";

const [name, json = "{}"] = process.argv.slice(2);
const options = JSON.parse(json);
const handler = new URL("../handlers/faults.mjs", import.meta.url);
const say = (message) => process.send(message);
const plain = ({ name, message, code }) => ({ name, message, code });

const taken = [];

/** Its actions, by order. */
const orders = {
  throw() {
    setImmediate(() => {
      throw new Error("thrown by the application");
    });
  },
  exit: () => process.exit(7),
  block({ ms }) {
    say("blocking");
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
    say("blocked");
  },
  /** Takes all descriptors but some. */
  take({ left }) {
    try {
      for (;;) taken.push(openSync("/dev/null"));
    } catch (error) {
      if (error.code !== "EMFILE") throw error;
    }
    for (let i = 0; i < left; i++) closeSync(taken.pop());
    say(taken.length);
  },
  give() {
    for (const fd of taken.splice(0)) closeSync(fd);
    say("given");
  },
  async cpu({ ms }) {
    const before = process.cpuUsage();
    await new Promise((resolve) => setTimeout(resolve, ms));
    const { user, system } = process.cpuUsage(before);
    say((user + system) / 1000);
  },
};

/** Starts a server whose application reports all events, and ends by itself when the server has. */
async function serving(more) {
  const server = await serve({
    port: 0,
    handler,
    onError: (error, where) => say({ where, error: plain(error) }),
    ...more,
  });
  const ended = (how) => {
    say(how);
    process.disconnect();
  };
  server.finished.then(
    () => ended({ finished: true }),
    (error) => ended({ dead: plain(error) }),
  );
  process.on("message", ({ order, ...rest }) => orders[order](rest));
  say({ port: server.address.port });
  return server;
}

const cases = {
  /** A server whose end is not awaited. */
  async unheeded() {
    const server = await serve({ port: 0, handler, ...options });
    say({ port: server.address.port });
  },
  serving: () => serving(options),
  pool: () => serving({ pool: { threads: 2 } }),
  /** With the handlers of signals that the README shows. */
  signals() {
    const stop = new AbortController();
    for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stop.abort());
    return serving({ signal: stop.signal });
  },
  async refused() {
    await serve({ handler, ...options }).then(
      () => say("served"),
      (error) => say(plain(error)),
    );
    process.disconnect();
  },
};

await cases[name]();
