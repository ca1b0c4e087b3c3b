// The cost of one message for the application's thread: a run of calls without a pause, so that nothing but the call is
// in it. `call` is `broadcast` or `publish` of Ringcast, or `comlink`, a Comlink call for each message.

import { Worker } from "node:worker_threads";
import { control } from "./control.mjs";
import { micros } from "./publish.mjs";

const ENTRY = new URL("../../dist/index.js", import.meta.url);
const TEXT = "x".repeat(200);
const CALLS = 200; // a run
const REST_MILLIS = 2;
const HANDLER = `export default {
  request: (req, res) => res.upgrade(),
  open: (ws) => ws.subscribe("topic"),
};`;
const CALLEE = `
  import * as Comlink from ${JSON.stringify(import.meta.resolve("comlink"))};
  import nodeEndpoint from ${JSON.stringify(import.meta.resolve("comlink/dist/esm/node-adapter.mjs"))};
  import { parentPort } from "node:worker_threads";
  Comlink.expose({ broadcast: (text) => text.length > 0 }, nodeEndpoint(parentPort));`;

const module = (text) => new URL(`data:text/javascript,${encodeURIComponent(text)}`);

/** Returns the functions for a Comlink call per message: the call, and the wait until all have returned. */
async function comlink() {
  const Comlink = await import("comlink");
  const { default: nodeEndpoint } = await import("comlink/dist/esm/node-adapter.mjs");
  const remote = Comlink.wrap(nodeEndpoint(new Worker(module(CALLEE))));
  let calls = [];
  return {
    once: () => calls.push(remote.broadcast(TEXT)),
    async rest() {
      await Promise.all(calls);
      calls = [];
    },
  };
}

/** Returns the functions for a method of Ringcast. @param {"broadcast" | "publish"} call */
function ringcast(server, call) {
  const send =
    call === "publish" ? () => server.publish("topic", TEXT) : () => server.broadcast(TEXT);
  return {
    once() {
      if (!send()) throw new Error("the inbox was full");
    },
    async rest() {
      await server.ready();
      await new Promise((resolve) => setTimeout(resolve, REST_MILLIS));
    },
  };
}

await control(async ({ call }) => {
  const { serve } = await import(ENTRY.href);
  const server = await serve({ port: 0, handler: module(HANDLER) });
  const { once, rest } = call === "comlink" ? await comlink() : ringcast(server, call);

  /** Microseconds of one call: the median of the runs, and that of a slow one. */
  const measure = async ({ n }) => {
    const runs = [];
    for (let i = 0; i < n; i += CALLS) {
      const from = micros();
      for (let k = 0; k < CALLS; k++) once();
      runs.push((micros() - from) / CALLS);
      await rest();
    }
    runs.sort((a, b) => a - b);
    return {
      callMicros: runs[runs.length >> 1],
      slowMicros: runs[Math.floor(0.9 * (runs.length - 1))],
    };
  };
  return { port: server.address.port, measure, publish: measure };
});
