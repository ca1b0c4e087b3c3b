// The entry of a worker thread of Node's, or of a runtime that has Node's modules.

import * as Comlink from "comlink";
import { randomInt } from "node:crypto";
import { type MessagePort, workerData } from "node:worker_threads";
import nodeEndpoint from "comlink/dist/esm/node-adapter.mjs";
import { type Ring, Worker, type WorkerData } from "../control/control";
import { nodeClock, nodeTransport } from "../net/node";
import { piscinaThreads } from "../net/piscina";
import { zlibCodec } from "../net/zlib";
import type { ThreadData } from "../place/task";
import { engineModule } from "./wasm-file";
import { watchUncaught } from "./uncaught";

/** What the host starts the thread with. */
export interface MainData extends WorkerData {
  /** Sockets are read by 'data' events even where reads into the window work. */
  readonly stream: boolean;
  /** Descriptors that this process may have. */
  readonly descriptors: number;
  /** The way to the host. The thread's `parentPort` is the handler's: what it posts or closes there does no harm. */
  readonly port: MessagePort;
}

const { port, ...data } = workerData as MainData;

const worker = new Worker(data, {
  transport: nodeTransport(!data.stream, data.descriptors),
  clock: nodeClock,
  codec: zlibCodec,
  module: await engineModule(),
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
watchUncaught({
  // A listener of the handler's must not keep a damaged engine going.
  look(thrown) {
    if (worker.pump.engine.isTrap(thrown)) worker.die(thrown);
  },
  report: (thrown) => worker.uncaught(thrown),
});
Comlink.expose(worker.control, nodeEndpoint(port));
