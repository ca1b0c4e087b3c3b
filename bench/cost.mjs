// What one message costs the application's thread: `broadcast` of a string of 200 B, `publish` to a topic, and
// a Comlink call for each message beside them.
//
//   node cost.mjs [--smoke]
//
// A sample is a run of CALLS calls without a pause, so that nothing but the call is in it; the median of the
// samples is not moved by what else the machine does. 100 clients are connected, and get the messages.

import { once } from "node:events";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import * as Comlink from "comlink";
import nodeEndpoint from "comlink/dist/esm/node-adapter.mjs";
import { serve } from "../dist/index.js";
import { header, median } from "./report.mjs";

const { values } = parseArgs({ options: { smoke: { type: "boolean", default: false } } });
const SAMPLES = values.smoke ? 5 : 300;
const CALLS = 200;
const CLIENTS = 100;
const TEXT = "x".repeat(200);
const HANDLER = `export default {
  request: (req, res) => res.upgrade(),
  open: (ws) => ws.subscribe("topic"),
};`;
const CALLEE = `
  import * as Comlink from ${JSON.stringify(import.meta.resolve("comlink"))};
  import nodeEndpoint from ${JSON.stringify(import.meta.resolve("comlink/dist/esm/node-adapter.mjs"))};
  import { parentPort } from "node:worker_threads";
  Comlink.expose({ broadcast: (text) => text.length > 0 }, nodeEndpoint(parentPort));`;

/** Microseconds of one call: the median of the samples, and the fastest and slowest tenth. */
async function measure(call, between) {
  const samples = [];
  for (let i = 0; i < SAMPLES; i++) {
    const from = process.hrtime.bigint();
    for (let k = 0; k < CALLS; k++) call();
    samples.push(Number(process.hrtime.bigint() - from) / 1000 / CALLS);
    await between();
  }
  samples.sort((a, b) => a - b);
  const at = (share) => samples[Math.floor(share * (samples.length - 1))];
  return { median: median(samples), low: at(0.1), high: at(0.9) };
}

function row(name, { median: middle, low, high }) {
  const cells = [middle, low, high].map((micros) => micros.toFixed(2).padStart(8));
  console.log(`${name.padEnd(34)} ${cells.join(" ")}`);
}

const server = await serve({
  port: 0,
  handler: `data:text/javascript,${encodeURIComponent(HANDLER)}`,
});
const callee = new Worker(new URL(`data:text/javascript,${encodeURIComponent(CALLEE)}`));
const remote = Comlink.wrap(nodeEndpoint(callee));
const load = new Worker(new URL("./cost-clients.mjs", import.meta.url), {
  workerData: { port: server.address.port, clients: CLIENTS },
});
await once(load, "message");

console.log(header());
console.log(
  `\n${"application thread, 200 B".padEnd(34)}  median   tenth  ninth tenth   (µs a call)`,
);
const sent = (done) => {
  if (!done) throw new Error("the inbox was full");
};
const rest = async () => {
  await server.ready();
  await new Promise((resolve) => setTimeout(resolve, 2));
};
row("server.broadcast(text)", await measure(() => sent(server.broadcast(TEXT)), rest));
row("server.publish(topic, text)", await measure(() => sent(server.publish("topic", TEXT)), rest));
let calls = [];
row(
  "a Comlink call for each message",
  await measure(
    () => {
      calls.push(remote.broadcast(TEXT));
    },
    async () => {
      await Promise.all(calls);
      calls = [];
    },
  ),
);
await load.terminate();
await callee.terminate();
await server.close();
