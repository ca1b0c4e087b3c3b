// A server process's side of the protocol with the bench: it reports its address and publishes on request. The same on
// Node, Bun and Deno. The other side is pair.mjs.

import { micros } from "./publish.mjs";

/** @typedef {import("./publish.mjs").Job} Job */

/** Why a server cannot run here, through no fault of its own: the bench leaves it out. */
export class Unavailable extends Error {}

/**
 * @typedef {object} Running
 * @property {number} port
 * @property {(job: Job) => Promise<Record<string, number>>} [publish] resolves when all is staged, with figures of it
 * @property {(job: any) => Promise<Record<string, number>> | Record<string, number>} [measure] what it measures itself
 */

const RESOLUTION = 10; // ms between two looks at the event loop
let histogram;

/** Returns how late the event loop of this thread was since the last call: ms, the 99th percentile. */
async function delays() {
  if (!histogram) {
    const { monitorEventLoopDelay } = await import("node:perf_hooks");
    histogram = monitorEventLoopDelay({ resolution: RESOLUTION });
    histogram.enable();
  }
  const p99 = histogram.percentile(99) / 1e6 - RESOLUTION;
  histogram.reset();
  return p99;
}

/**
 * Runs a server under the bench's control.
 * @param {(settings: Record<string, any>) => Promise<Running>} start
 */
export async function control(start) {
  process.on("disconnect", () => process.exit()); // no orphans, however the bench ended
  let server;
  try {
    server = await start(JSON.parse(process.argv[2] ?? "{}"));
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    process.send({ type: "unavailable", reason: error.message });
    return;
  }
  process.on("message", async ({ type, job }) => {
    if (type === "publish") {
      const startMicros = micros();
      const figures = await server.publish(job);
      process.send({ type: "published", startMicros, figures });
    } else if (type === "measure") {
      process.send({ type: "measured", figures: await server.measure(job) });
    } else if (type === "delays") {
      process.send({ type: "delays", p99: await delays() });
    } else if (type === "clock") {
      process.send({ type: "clock", micros: micros() });
    }
  });
  process.send({ type: "listening", port: server.port });
}

/**
 * Loads a peer from bench/node_modules.
 * @template T
 * @param {() => T | Promise<T>} load
 * @throws {Unavailable}
 */
export async function peer(load) {
  try {
    return await load();
  } catch (error) {
    const [reason] = error.message.split("\n");
    throw new Unavailable(`${reason} (run npm ci in bench/)`);
  }
}
