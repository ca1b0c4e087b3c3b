// The entry of a worker thread of Node's, or of a runtime that has Node's modules.

import * as Comlink from "comlink";
import { randomInt } from "node:crypto";
import { parentPort, workerData } from "node:worker_threads";
import nodeEndpoint from "comlink/dist/esm/node-adapter.mjs";
import { type Ring, Worker, type WorkerData } from "./control";
import { nodeClock, nodeTransport } from "./net/node";
import { piscinaThreads } from "./net/piscina";
import { zlibCodec } from "./net/zlib";
import type { ThreadData } from "./task";
import { wasmModule } from "./wasm";

const port = parentPort;
if (!port) throw new Error("ringcast/worker runs in a worker thread");

/**
 * With how to read sockets, by 'data' events even where reads into the window work; and with the descriptors that
 * this process may have.
 */
const data = workerData as WorkerData & { readonly stream: boolean; readonly descriptors: number };

const worker = new Worker(data, {
  transport: nodeTransport(!data.stream, data.descriptors),
  clock: nodeClock,
  codec: zlibCodec,
  module: wasmModule(),
  seed: randomInt(1, 2 ** 32),
  post: (notice, transfer) => port.postMessage(notice, transfer),
  exit: () => process.exit(1),
  threads(limits, failed) {
    const backlog = data.settings.values.maxBacklog;
    return piscinaThreads({
      filename: new URL("./pool.js", import.meta.url).href,
      threads: limits.threads,
      heap: limits.heap,
      workerData: { backlog } satisfies ThreadData,
      failed,
    });
  },
});

port.on("message", (message: Ring) => {
  // Comlink's are its own.
  if (message === 0 || "ringcast" in message) worker.hear(message);
});
// A listener of the handler's for 'uncaughtException' must not keep a damaged engine going.
process.on("uncaughtExceptionMonitor", (error) => {
  if (worker.pump.engine.isTrap(error)) worker.die(error);
});
Comlink.expose(worker.control, nodeEndpoint(port));
