// The entry of a worker thread in Node, and in runtimes that have Node's modules.

import * as Comlink from "comlink";
import { randomInt } from "node:crypto";
import { type MessagePort, workerData } from "node:worker_threads";
import nodeEndpoint from "comlink/dist/esm/node-adapter.mjs";
import { type ToWorker, Worker, type WorkerData } from "../control/control";
import { httpBackend } from "../net/behind/backend";
import { Folder } from "../net/behind/disk";
import { AppendedLines } from "../net/log/lines";
import { nodeClock, nodeTransport } from "../net/node";
import { piscinaThreads } from "../net/piscina";
import { zlibCodec } from "../net/zlib";
import { EPOCHS } from "../../host/shared/message/position";
import type { ThreadData } from "../place/task";
import { engineModule } from "./wasm-file";
import { watchUncaught } from "./uncaught";

/** The data that the application's side starts the thread with. */
export interface MainData extends WorkerData {
  /** Whether sockets are read by 'data' events even where reads into the window work. */
  readonly stream: boolean;
  /** Whether connections are held as handles where that works. */
  readonly handles: boolean;
  /** Number of descriptors that this process may have. */
  readonly descriptors: number;
  /**
   * The port to the application's side. The thread's `parentPort` is left to the handler, which may post to it or close
   * it.
   */
  readonly port: MessagePort;
}

const { port, ...data } = workerData as MainData;

const worker = new Worker(data, {
  transport: nodeTransport(data),
  clock: nodeClock,
  codec: zlibCodec,
  backend: httpBackend,
  files: {
    folder: (path) => new Folder(path),
    // Few servers have archives, so reading them is not loaded at each start.
    archive: async (path) => (await import("../net/behind/archive")).Archive.open(path),
  },
  module: await engineModule(),
  seed: randomInt(1, 2 ** 32),
  epoch: randomInt(EPOCHS),
  post: (notice, transfer) => port.postMessage(notice, transfer),
  exit: () => process.exit(1),
  lines: (file) => new AppendedLines(file),
  threads(limits, failed) {
    const { values, errorPages } = data.settings;
    const backlog = values.maxBacklog;
    const pages = errorPages.map(({ status }) => status);
    const protocols = data.settings.protocols.map(({ name }) => name);
    return piscinaThreads({
      filename: new URL("./pool.js", import.meta.url).href,
      threads: limits.threads,
      heap: limits.heap,
      workerData: { backlog, pages, protocols } satisfies ThreadData,
      failed,
    });
  },
});

port.on("message", (message: ToWorker) => {
  // Other messages are Comlink's.
  if (message === 0 || "ringcast" in message) worker.hear(message);
});
watchUncaught({
  // A listener of the handler's must not keep a damaged engine running.
  look(thrown) {
    if (worker.pump.engine.isTrap(thrown)) worker.die(thrown);
  },
  report: (thrown) => worker.uncaught(thrown),
});
Comlink.expose(worker.control, nodeEndpoint(port));
