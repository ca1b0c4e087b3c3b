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

/** With how to read sockets: by 'data' events even where reads into the window work. */
const data = workerData as WorkerData & { readonly stream: boolean };

const worker = new Worker(data, {
  transport: nodeTransport(!data.stream),
  clock: nodeClock,
  codec: zlibCodec,
  module: wasmModule(),
  seed: randomInt(1, 2 ** 32),
  post: (notice, transfer) => port.postMessage(notice, transfer),
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
Comlink.expose(worker.control, nodeEndpoint(port));
