// The worker's entry: the engine, the pump and the transport behind Comlink. Control comes as calls;
// messages come through the inbox.

import * as Comlink from "comlink";
import { randomInt } from "node:crypto";
import { parentPort, workerData } from "node:worker_threads";
import nodeEndpoint from "comlink/dist/esm/node-adapter.mjs";
import type { Handler, HandlerModule, Stats } from "../host/handler";
import type { Eviction, Settings } from "../host/options";
import { engineParams } from "../host/options";
import { toError } from "../host/result";
import { Engine } from "./engine";
import { SharedInbox } from "./inbox";
import type { Listener } from "./net";
import { nodeClock, nodeTransport } from "./net/node";
import { piscinaThreads } from "./net/piscina";
import { zlibCodec } from "./net/zlib";
import { Pool } from "./pool";
import { Remote } from "./remote";
import { Pump } from "./server";
import type { ThreadData } from "./task";
import { wasmModule } from "./wasm";

/** What the host gives the worker at its start. */
export interface WorkerData {
  readonly settings: Settings;
  /** URL of the handler module; undefined: there is none, or it lives on the application's thread. */
  readonly handler: string | undefined;
  readonly inbox: SharedArrayBuffer;
  /** Read sockets by 'data' events even where reads into the window work. */
  readonly stream: boolean;
}

/** Messages of the worker beside Comlink's; a buffer is a batch of events for the application's handler. */
export type Notice =
  | ArrayBuffer
  | { readonly ringcast: "room" }
  | { readonly ringcast: "evicted"; readonly evictions: Eviction[] }
  | {
      readonly ringcast: "error";
      readonly message: string;
      readonly stack: string;
      readonly where: string;
    };

/** Messages to the worker beside Comlink's: 0 is the doorbell. */
export type Ring =
  | 0
  | { readonly ringcast: "buffer"; readonly number: number; readonly bytes: Uint8Array };

const port = parentPort;
if (!port) throw new Error("ringcast/worker runs in a worker thread");
const data = workerData as WorkerData;
const notify = (notice: Exclude<Notice, ArrayBuffer>): void => port.postMessage(notice);

const report = (error: Error, where: string): void => {
  notify({ ringcast: "error", message: error.message, stack: error.stack ?? "", where });
};

const transport = nodeTransport(!data.stream);
const params = engineParams(data.settings);
const pump = new Pump({
  // Nobody who picks names of topics can foresee where they stand.
  engine: new Engine(wasmModule(), {
    ...params,
    RunBytes: Math.min(params.RunBytes, transport.maxRunBytes ?? params.RunBytes),
    Seed: randomInt(1, 2 ** 32),
  }),
  clock: nodeClock,
  flushInterval: data.settings.values.flushInterval,
  rules: {
    origins: data.settings.lists.origins,
    requireOrigin: data.settings.values.requireOrigin === 1,
    hosts: data.settings.lists.hosts ?? [],
  },
  protocols: data.settings.lists.protocols ?? [],
  serverHeader: data.settings.serverHeader,
  ordered: data.settings.values.ordered === 1,
  codec: data.settings.values.perMessageDeflate ? zlibCodec : undefined,
  failed: report,
  evicted: (evictions) => notify({ ringcast: "evicted", evictions }),
});

const inbox = new SharedInbox(data.inbox, {
  room: () => notify({ ringcast: "room" }),
  retry: (ms) => {
    setTimeout(() => pump.schedule(), ms);
  },
});
pump.addInbox(inbox);

const { maxPendingRequests, maxPendingBytes } = data.settings.values;
const remote = new Remote(
  pump,
  { requests: maxPendingRequests, bytes: maxPendingBytes },
  inbox.words,
  { post: (batch) => port.postMessage(batch, [batch]) },
);
inbox.host = remote;

port.on("message", (message: Ring) => {
  if (message === 0) {
    pump.schedule();
  } else if (message.ringcast === "buffer") {
    inbox.give(message.number, message.bytes);
    pump.schedule();
  }
});

let listener: Listener | undefined;
let pool: Pool | undefined;

/** Imports the handler module. @throws with the cause when it does not export a handler */
async function load(url: string): Promise<Handler> {
  const module = (await import(url)) as { default?: HandlerModule };
  const exported = module.default;
  const handler = typeof exported === "function" ? await exported(pump) : exported;
  if (typeof handler !== "object" || handler === null) {
    throw new TypeError(`handler: ${url} has no default export that is a handler`);
  }
  return handler;
}

/** Loads the handler into the worker, and into the pool's threads where there are some. */
async function place(url: string): Promise<void> {
  const handler = await load(url);
  const { pool: limits } = data.settings;
  if (!limits) {
    pump.setHandler(handler);
    return;
  }
  const workerData: ThreadData = { handler: url, backlog: data.settings.values.maxBacklog };
  const threads = await piscinaThreads({
    filename: new URL("./pool.js", import.meta.url).href,
    threads: limits.threads,
    heap: limits.heap,
    workerData,
    failed: (error) => report(error, "pool"),
  });
  pool = new Pool(pump, threads, limits);
  await pool.load();
  pump.pool = () => (pool as Pool).stats();
  pump.setHandler(pool.handler(handler), pool.turned);
}

/** Errors lose their code on the way to the host; it goes along in the message. */
function withCode(thrown: unknown): Error {
  const error = toError(thrown);
  const { code } = error as NodeJS.ErrnoException;
  return code === undefined || error.message.includes(code)
    ? error
    : new Error(`${code}: ${error.message}`);
}

/** Waits until everything sent before a call has been carried out. */
function afterInbox(): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (!inbox.ready) resolve();
      else {
        pump.schedule();
        setTimeout(look, 1);
      }
    };
    look();
  });
}

const control = {
  /**
   * Loads the handler and listens.
   * @param members those of the handler that lives on the application's thread
   */
  async listen(
    members: number | undefined,
  ): Promise<{ hostname: string; port: number; path?: string }> {
    if (data.handler !== undefined) await place(data.handler);
    if (members !== undefined) pump.setRelay(remote.handler(members), remote.turned);
    const { hostname, values } = data.settings;
    try {
      listener = await transport.listen(
        {
          hostname,
          port: values.port,
          backlog: values.backlog,
          noDelay: values.noDelay === 1,
          keepAlive: values.tcpKeepAlive,
          ipv6Only: values.ipv6Only === 1,
          path: data.settings.path,
          tls: data.settings.tls,
          handshakeTimeout: values.headersTimeout,
        },
        pump.engine.windowView(),
        pump.accept,
        (error) => {
          pump.acceptErrors++;
          report(error, "accept");
        },
      );
    } catch (thrown) {
      throw withCode(thrown);
    }
    const { close, ...address } = listener;
    void close;
    return address;
  },

  async stats(): Promise<Stats> {
    return pump.stats();
  },

  async subscriberCount(topic: string): Promise<number> {
    await afterInbox();
    return pump.subscriberCount(topic);
  },

  /** Stops accepting, closes WebSockets with 1001, answers what is under way; after `timeout` ms resets the rest. */
  async shutdown(timeout: number): Promise<void> {
    const timer = setTimeout(() => pump.endAll(), timeout);
    // What was sent before the call goes out first, but it does not make the call last longer.
    await Promise.race([afterInbox(), new Promise((resolve) => setTimeout(resolve, timeout))]);
    listener?.close();
    pump.beginShutdown();
    await pump.idle();
    clearTimeout(timer);
    // The last events.
    remote.turned();
    pump.stop();
    await pool?.destroy();
  },

  /** Ends a shutdown that is under way: resets what is left. */
  async end(): Promise<void> {
    listener?.close();
    pump.endAll();
  },
};

/** The control plane, as the host sees it. */
export type ControlPlane = typeof control;

Comlink.expose(control, nodeEndpoint(port));
