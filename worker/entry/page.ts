// The entry of a page's Web Worker. It starts when the page sends its first message. The engine is the package's own
// unless the page sends a compiled one.

import * as Comlink from "comlink";
import { type Notice, type ToWorker, Worker, type WorkerData } from "../control/control";
import { epochOf } from "../../host/shared/message/position";
import { PageNet, pageClock } from "../net/page";
import { wasmModule } from "../engine/wasm";

/** The first message of the page. */
export interface Start {
  readonly ringcast: "start";
  readonly data: WorkerData;
  /** The compiled engine; undefined: the embedded one is used. */
  readonly module: WebAssembly.Module | undefined;
}

/** A client's end of a new connection. */
export interface Connect {
  readonly ringcast: "connect";
  readonly port: MessagePort;
  /** Capacity of the channel each way in bytes. */
  readonly bufferBytes: number;
}

/** A worker's global scope, which the DOM's types do not describe. */
interface Scope {
  addEventListener(type: "message", listener: (event: MessageEvent) => void): void;
  postMessage(message: Notice, transfer: ArrayBuffer[]): void;
  close(): void;
}

const scope = globalThis as unknown as Scope & Comlink.Endpoint;
const clock = pageClock();
const net = new PageNet(clock);
let worker: Worker | undefined;

function start({ data, module }: Start): void {
  const [seed = 1, high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(3));
  worker = new Worker(data, {
    transport: net,
    clock,
    // No browser has a synchronous raw deflate, so compression is declined.
    codec: undefined,
    module: module ?? wasmModule(),
    seed: Math.max(1, seed),
    epoch: epochOf(high, low),
    post: (notice, transfer = []) => scope.postMessage(notice, [...transfer]),
    exit: () => scope.close(),
    threads: undefined,
  });
  Comlink.expose(worker.control, scope);
}

scope.addEventListener("message", ({ data }: MessageEvent<Start | Connect | ToWorker>) => {
  if (data === 0) {
    worker?.hear(data);
    return;
  }
  // Messages without the mark are Comlink's.
  if (!("ringcast" in data)) return;
  if (data.ringcast === "start") start(data);
  else if (data.ringcast === "connect") net.connect(data.port, data.bufferBytes);
  else worker?.hear(data);
});
