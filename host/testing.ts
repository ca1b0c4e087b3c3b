// `ringcast/testing`: a whole server in memory. The same engine, pump, handlers and options as behind `serve`; clients
// that are scripts; a clock that moves when it is told to; nothing of a platform.
//
// Invariant: two runs with the same seed and the same calls are the same, message by message, on every runtime.

import { Engine } from "../worker/engine/engine";
import type { Codec, ReadQueues } from "../worker/net/transport";
import { MemoryNet, VirtualClock } from "../worker/net/memory";
import { Pump } from "../worker/pump/pump";
import { pumpSettings } from "../worker/control/settings";
import { wasmModule } from "../worker/entry/wasm";
import type { HandlerModule } from "./handler";
import type { Server } from "./index";
import { Log } from "./log";
import { checkHandler } from "./shared/members";
import type { Options } from "./options/types";
import { engineParams } from "./options/params";
import { refusePlan } from "./options/plan";
import { ALIASES, readOptions } from "./options/known";
import { OPTION_NAMES, checkObject, type Settings, settle } from "./options/settle";
import type { Size } from "./options/size";
import { isThenable, toError } from "./shared/result";
import { show } from "./shared/text/show";
import { needWebAssembly } from "./shared/webassembly";
import { readBuffer, readSize } from "./testing/check";
import { type ConnectOptions, TestClient } from "./testing/client";
import { memoryFetch } from "./testing/fetch";
import type { Network } from "./testing/network";
import { Random } from "./testing/random";
import { Runner } from "./testing/run";
import { MemoryServer } from "./testing/server";
import { type SocketOptions, TestSocket } from "./testing/socket";

export type * from "./handler";
export type { Server } from "./index";
export type { Options } from "./options/types";
export type { Codec } from "../worker/net/transport";
export type { TestAnswer } from "./testing/answer";
export type { FrameOptions } from "./testing/frames";
export type { Split, WriteOptions, SocketOptions } from "./testing/socket";
export type { ConnectOptions, MessageOptions } from "./testing/client";
export { TestClient } from "./testing/client";
export { TestSocket } from "./testing/socket";
export { Random } from "./testing/random";

/**
 * Options of a server in memory: those of `serve`, checked alike. Those of a socket or a worker (`port`, `tls`,
 * `noDelay`, `inbox`, `maxPendingBytes`, …) change nothing.
 */
export interface TestOptions<User = unknown> extends Omit<Options, "handler" | "pool"> {
  /** The handler, or a function that makes it: what a handler module exports. It runs inline. */
  handler?: HandlerModule<User>;
  /** 0 … 2^32 - 1: what masks, random cuts and the engine's own choices come from. Default 1. */
  seed?: number;
  /** Bytes that the kernels hold on the way to a client; default 64 KiB. */
  socketBuffer?: Size;
  /** Compression for `perMessageDeflate`: `zlibCodec` of "ringcast/zlib", or your own. Without it none is agreed on. */
  codec?: Codec;
  /** The engine's wasm, where its bytes in the package may not be compiled. */
  wasm?: WebAssembly.Module | ArrayBuffer | Uint8Array<ArrayBuffer>;
}

/** Virtual time, in ms since the start. */
export interface TestClock {
  /** ms since the start. */
  now(): number;
  /**
   * Lets time pass, timer by timer; what each leads to happens before the next.
   * @param ms from 0 on @throws RangeError
   */
  advance(ms: number): Promise<void>;
  /** Runs `fn` in `ms`; returns what cancels it. */
  after(ms: number, fn: () => void): () => void;
  /** Resolves in `ms`: for handlers and scripts that wait. */
  sleep(ms: number): Promise<void>;
}

/** A server in memory, and its world. */
export interface TestServer extends AsyncDisposable {
  /** The server, as `serve` gives it. */
  readonly server: Server;
  /** Its time, which stands still but for `advance`. */
  readonly clock: TestClock;
  /** Resolves when the handler is there: at once, unless the function that makes it is asynchronous. */
  readonly ready: Promise<void>;
  /** What handlers threw. */
  readonly errors: readonly { readonly error: Error; readonly where: string }[];
  /** Random numbers from the seed, for scripts. */
  readonly random: Random;
  /** Opens a WebSocket: it is open, or refused, after the next `settle`. */
  connect(path?: string, options?: ConnectOptions): TestClient;
  /** Opens a connection for bytes. */
  socket(options?: SocketOptions): TestSocket;
  /** Sends a request on a connection of its own; runs the server until the answer is whole. */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>;
  /**
   * Lets everything happen that can happen without time moving on, and without the runtime's own timers and I/O:
   * bytes arrive, handlers run, promises settle, what follows from that too.
   */
  settle(): Promise<void>;
  /**
   * Settles again and again, until a promise has: for what waits for the runtime's own timers and I/O. It rejects when
   * the process would end with the wait pending, where the runtime tells (Node, Bun); so do `fetch`, `clock.sleep` and
   * the end of the server.
   */
  until<T>(promise: PromiseLike<T>): Promise<T>;
  /** What all clients got, a line each, in the order of their connections. */
  log(): string[];
  /** Ends everything now. */
  close(): Promise<void>;
}

/** Options that `serve` does not have. */
const OWN = ["seed", "socketBuffer", "codec", "wasm"];

/** What is options of ours, and not of `serve`. */
function split<User>(options: TestOptions<User>): {
  own: TestOptions<User>;
  settings: Settings;
  rest: Options;
} {
  checkObject(options);
  const known = { names: [...OPTION_NAMES, ...OWN], aliases: ALIASES };
  const { handler, seed, socketBuffer, codec, wasm, ...rest }: TestOptions<User> = readOptions(
    options,
    known,
  );
  if (isThenable(handler))
    throw new TypeError("handler: a promise is not a handler; is an await missing?");
  const own = { handler, seed, socketBuffer, codec, wasm } as TestOptions<User>;
  if ("pool" in rest && rest.pool !== undefined)
    throw new TypeError("pool: a server in memory has no threads");
  if (
    codec !== undefined &&
    !(typeof codec?.deflate === "function" && typeof codec.inflate === "function")
  )
    throw new TypeError(`codec: ${show(codec)} has no deflate and inflate; see "ringcast/zlib"`);
  const settings = settle(rest);
  refusePlan(settings);
  return { own, settings, rest };
}

class MemoryTestServer implements TestServer {
  readonly server: MemoryServer;
  readonly clock: TestClock;
  readonly ready: Promise<void>;
  readonly errors: { error: Error; where: string }[] = [];
  readonly random: Random;
  readonly #runner: Runner;
  readonly #network: Network;
  readonly #clients: { describe(): string[] }[] = [];
  readonly #log: Log;
  #isReady = false;

  constructor(options: TestOptions) {
    const { own, settings, rest } = split(options);
    const seed = readSize("seed", own.seed, 1, 0, 4294967295);
    const socketBuffer = readBuffer(own.socketBuffer, 65536);
    const clock = new VirtualClock();
    const net = new MemoryNet(clock);
    this.random = new Random(seed);
    this.#runner = new Runner(clock);
    this.clock = {
      now: () => clock.now(),
      advance: (ms) => this.#runner.advance(ms),
      after: (ms, fn) => clock.after(ms, fn),
      sleep: (ms) => this.#runner.wait(new Promise((resolve) => void clock.after(ms, resolve))),
    };
    this.#network = {
      ...{ net, clock, random: this.random, socketBuffer, codec: own.codec },
      register: (client) => this.#clients.push(client),
    };
    const pump = this.#pump(own, settings, clock, net.queues);
    const listener = net.open(pump.engine.windowView(), pump.accept);
    this.server = new MemoryServer(pump, this.#runner, listener, settings, rest, (handler) =>
      this.#place(pump, handler),
    );
    this.server.onEvict = options.onEvict;
    this.#log = new Log(options.logger, options.onError);
    this.ready = this.#place(pump, own.handler === undefined ? {} : own.handler);
    // Who uses the server before it is ready is told.
    this.ready.catch(() => undefined);
    this.#follow(options.signal);
  }

  #pump(own: TestOptions, settings: Settings, clock: VirtualClock, queues: ReadQueues): Pump {
    needWebAssembly();
    const { wasm, codec } = own;
    const module =
      wasm === undefined || wasm instanceof WebAssembly.Module
        ? (wasm ?? wasmModule())
        : new WebAssembly.Module(wasm);
    const params = engineParams(settings);
    if (!codec) params.DeflateRingBytes = 0;
    return new Pump({
      ...pumpSettings(settings),
      engine: new Engine(module, { ...params, Seed: this.random.int(1, 4294967295) }),
      clock,
      queues,
      codec: params.DeflateRingBytes > 0 ? codec : undefined,
      failed: (error, where) => this.#fail(error, where),
      evicted: (evictions) => this.#log.evicted(evictions, this.server.onEvict),
    });
  }

  #fail(error: Error, where: string): void {
    this.errors.push({ error, where });
    this.#log.error(error, where);
  }

  /** Gives the server its handler: at once, unless the function that makes it says later. */
  #place(pump: Pump, handler: HandlerModule): Promise<void> {
    const set = (made: unknown): void => {
      if (made instanceof URL || typeof made === "string")
        throw new TypeError("handler: must be a handler, or a function that makes one");
      checkHandler(made);
      pump.setHandler(made);
      this.#isReady = true;
    };
    const made: unknown = typeof handler === "function" ? handler(pump) : handler;
    if (isThenable(made)) return Promise.resolve(made).then(set);
    set(made);
    return Promise.resolve();
  }

  #follow(signal: AbortSignal | undefined): void {
    if (signal === undefined) return;
    const abort = (): void => {
      this.server.shutdown().catch((thrown) => this.#fail(toError(thrown), "shutdown"));
    };
    if (signal.aborted) abort();
    else {
      signal.addEventListener("abort", abort, { once: true });
      // The signal may live as long as the process.
      void this.server.finished.then(() => signal.removeEventListener("abort", abort));
    }
  }

  #checkReady(what: string): void {
    if (!this.#isReady) throw new Error(`${what}: the handler is not there yet; await t.ready`);
  }

  connect(path = "/", options?: ConnectOptions): TestClient {
    this.#checkReady("connect");
    return new TestClient(this.#network, path, options);
  }

  socket(options?: SocketOptions): TestSocket {
    this.#checkReady("socket");
    return new TestSocket(this.#network, options);
  }

  async fetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
    this.#checkReady("fetch");
    return memoryFetch(this.#network, (promise) => this.until(promise), input, init);
  }

  settle(): Promise<void> {
    return this.#runner.settle();
  }

  until<T>(promise: PromiseLike<T>): Promise<T> {
    return this.#runner.until(promise);
  }

  log(): string[] {
    return this.#clients.flatMap((client, i) =>
      client.describe().map((line) => `#${i + 1} ${line}`),
    );
  }

  async close(): Promise<void> {
    await this.server.close();
    await this.settle();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * A server in memory.
 * @throws TypeError, RangeError for a wrong option, naming it, the value and the range
 */
export function createTestServer<User = unknown>(options: TestOptions<User> = {}): TestServer {
  return new MemoryTestServer(options as TestOptions);
}
