// `ringcast/testing`: a complete server in memory. It runs the same engine, pump, handlers and options as `serve`, with
// scripted clients and a virtual clock, and uses nothing of a platform.
//
// Invariant: two runs with the same seed and the same calls are equal, message by message, on every runtime.

import { Engine } from "../worker/engine/engine";
import type { Codec, ReadQueues } from "../worker/net/transport";
import { MemoryNet, VirtualClock } from "../worker/net/memory";
import { Pump } from "../worker/pump/pump";
import { listenerPlans } from "../worker/control/listeners";
import { pumpSettings } from "../worker/control/settings";
import { wasmModule } from "../worker/engine/wasm";
import type { FileSystem, Handler, HandlerModule, HandlerServer } from "./handler";
import type { Server } from "./server";
import { Log } from "./log";
import { checkHandler, checkModule } from "./shared/members";
import type { ModuleKind, ModuleList } from "./options/site/modules";
import { refuseRoots } from "./options/site/mounts";
import { mountsOf } from "../worker/mount/mounts";
import { checkFileSystem } from "../worker/mount/source";
import type { MountOptions, Options, VirtualHostOptions } from "./options/types";
import { engineParams } from "./options/params";
import { refusePlan } from "./options/plan";
import { ALIASES, readOptions } from "./options/known";
import { OPTION_NAMES, checkObject, type Settings, settle } from "./options/settle";
import type { Size } from "./options/size";
import { epochOf } from "./shared/message/position";
import { isThenable, toError } from "./shared/result";
import { show } from "./shared/text/show";
import { type WasmModule, needWebAssembly } from "./shared/webassembly";
import { readBuffer, readSize } from "./testing/check";
import { type ConnectOptions, TestClient } from "./testing/client";
import { type EventsClientOptions, TestEvents } from "./testing/events";
import { memoryFetch } from "./testing/fetch";
import type { Network } from "./testing/network";
import { Random } from "./testing/random";
import { Runner } from "./testing/run";
import { MemoryServer } from "./testing/server";
import { type SocketOptions, TestSocket } from "./testing/socket";

export type * from "./exported";
export type { WasmModule } from "./shared/webassembly";
export type { Codec, Inflation } from "../worker/net/transport";
export type { TestAnswer } from "./testing/answer";
export type { FrameOptions } from "./codec/frames";
export type { Split, WriteOptions, SocketOptions } from "./testing/socket";
export type { ConnectOptions, MessageOptions } from "./testing/client";
export type { EventsClientOptions, TestEvent } from "./testing/events";
export { TestClient } from "./testing/client";
export { TestEvents } from "./testing/events";
export { TestSocket } from "./testing/socket";
export { Random } from "./testing/random";

/**
 * Options of a server in memory: those of `serve`, with the same checks. Options of sockets and of the worker (`port`,
 * `tls`, `noDelay`, `inbox`, `maxPendingBytes`, …) have no effect. All clients connect to the first entry of `listen`.
 */
export interface TestOptions<User = unknown>
  extends Omit<Options, "handler" | "pool" | "virtualHosts" | "protocolHandlers" | "mounts"> {
  /** The handler, or a function that makes it, as a handler module exports it. It runs on this thread. */
  handler?: HandlerModule<User>;
  /** Hosts with handlers and origins of their own, by the Host of a request. Their certificates have no effect. */
  virtualHosts?: Readonly<Record<string, TestHostOptions>>;
  /** Handlers by subprotocol, or functions that make them. They run on this thread. */
  protocolHandlers?: Readonly<Record<string, HandlerModule>>;
  /** Mounts of file systems, redirects and handlers. There are no folders, archives and servers. */
  mounts?: readonly TestMountOptions[];
  /** Seed of all random choices (masks, random splits, the engine's own), 0 … 2^32 - 1. Default 1. */
  seed?: number;
  /** Bytes that the kernels buffer on the way to a client; default 64 KiB. */
  socketBuffer?: Size;
  /** Compression for `perMessageDeflate`: `zlibCodec` of "ringcast/zlib" or your own. Without it none is negotiated. */
  codec?: Codec;
  /** The engine's wasm, for runtimes that forbid compiling the bytes in the package. */
  wasm?: WasmModule | ArrayBuffer | Uint8Array<ArrayBuffer>;
}

/** Options of one virtual host: those of `serve`, but for the handler, which runs on this thread. */
export interface TestHostOptions extends Omit<VirtualHostOptions, "handler" | "mounts"> {
  /** The handler, or a function that makes it. Default: the server's. */
  handler?: HandlerModule;
  /** Its mounts. Default: the server's. */
  mounts?: readonly TestMountOptions[];
}

/** Options of one mount: those of `serve`, but for the handler and the file system, which are objects here. */
export interface TestMountOptions
  extends Omit<
    MountOptions,
    "handler" | "source" | "files" | "zip" | "proxy" | "strip" | "timeout"
  > {
  /** The handler, or a function that makes it. It runs on this thread. */
  handler?: HandlerModule;
  /** The file system, or a function that returns or resolves with one. */
  source?: FileSystem | (() => FileSystem | PromiseLike<FileSystem>);
}

/** Virtual time. It moves only by `advance`. */
export interface TestClock {
  /** Returns the ms since the start. */
  now(): number;
  /**
   * Advances the clock, timer by timer. All effects of a timer happen before the next one fires.
   * @param ms from 0 on
   * @throws RangeError
   */
  advance(ms: number): Promise<void>;
  /** Calls `fn` in `ms` of virtual time. @returns a function that cancels the call */
  after(ms: number, fn: () => void): () => void;
  /** Resolves in `ms` of virtual time, for handlers and scripts that wait. */
  sleep(ms: number): Promise<void>;
}

/** A server in memory, with its clock and its clients. */
export interface TestServer extends AsyncDisposable {
  /** The server, as `serve` returns it. */
  readonly server: Server;
  /** The server's clock. It moves only by `advance`. */
  readonly clock: TestClock;
  /** Resolves when the handler is in place: at once, unless the function that makes it is asynchronous. */
  readonly ready: Promise<void>;
  /** Errors that handlers threw. */
  readonly errors: readonly { readonly error: Error; readonly where: string }[];
  /** Random numbers from the seed, for scripts. */
  readonly random: Random;
  /** Opens a WebSocket. After the next `settle` it is open or refused. */
  connect(path?: string, options?: ConnectOptions): TestClient;
  /** Opens a stream of server-sent events, as an EventSource does. After the next `settle` it is open or refused. */
  events(path?: string, options?: EventsClientOptions): TestEvents;
  /** Opens a connection that exchanges bytes. */
  socket(options?: SocketOptions): TestSocket;
  /** Sends a request on a new connection, and runs the server until the response is complete. */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>;
  /**
   * Runs everything that can happen without advancing the clock and without the runtime's own timers and I/O: bytes
   * arrive, handlers run, promises settle, and all that follows from them.
   */
  settle(): Promise<void>;
  /**
   * Settles repeatedly until a promise has settled, which may need the runtime's own timers and I/O. It rejects when
   * the process would exit with the promise pending, if the runtime reports that (Node, Bun). `fetch`, `clock.sleep`
   * and the end of the server reject likewise.
   */
  until<T>(promise: PromiseLike<T>): Promise<T>;
  /** Returns what all clients received, one line each, in the order of their connections. */
  log(): string[];
  /** Ends the server and all connections at once. */
  close(): Promise<void>;
}

const DEFAULT_SEED = 1;
/** Options in addition to those of `serve`. */
const OWN = ["seed", "socketBuffer", "codec", "wasm"];

/** The handlers of virtual hosts, mounts and subprotocols, and file systems, which are no modules here. */
class BesideHandlers implements ModuleList {
  readonly all = [];
  /** Handlers and their options, in the order of their numbers. */
  readonly handlers: {
    readonly handler: HandlerModule;
    readonly option: string;
    readonly kind: ModuleKind;
  }[] = [];

  add(value: unknown, option: string, kind: ModuleKind = "handler"): number {
    const handler = value as HandlerModule;
    const at = this.handlers.findIndex((one) => one.handler === handler && one.kind === kind);
    return at < 0 ? this.handlers.push({ handler, option, kind }) : at + 1;
  }
}

/** Returns virtual hosts without their handlers and mounts. */
function withoutHandlers(
  hosts: NonNullable<Options["virtualHosts"]>,
): NonNullable<Options["virtualHosts"]> {
  const entries = Object.entries(hosts).map(([name, { handler: _, mounts: __, ...others }]) => {
    return [name, others];
  });
  return Object.fromEntries(entries);
}

/** Makes a handler if it is a function. @throws TypeError when it is the URL of a module */
function make(handler: HandlerModule, server: HandlerServer, where: string): unknown {
  const made: unknown = typeof handler === "function" ? handler(server) : handler;
  if (made instanceof URL || typeof made === "string")
    throw new TypeError(`${where}: must be a handler, or a function that makes one`);
  return made;
}

/** Separates the options of a server in memory from those of `serve`. */
function split<User>(options: TestOptions<User>): {
  own: TestOptions<User>;
  settings: Settings;
  rest: Options;
  modules: BesideHandlers;
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
  const modules = new BesideHandlers();
  const settings = settle(rest as unknown as Options, modules);
  refuseRoots(settings.mounts);
  if (settings.accessLog) throw new TypeError("accessLog: a server in memory has no files");
  if (settings.raw)
    throw new TypeError(`raw: ${show(settings.raw.name)}, but a server in memory has no sockets`);
  refusePlan(settings);
  const {
    virtualHosts,
    mounts: _,
    protocolHandlers: __,
    defaultProtocol: ___,
    ...others
  } = rest as unknown as Options;
  const hosts = virtualHosts ? { virtualHosts: withoutHandlers(virtualHosts) } : {};
  return { own, settings, rest: { ...others, ...hosts }, modules };
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
    const { own, settings, rest, modules } = split(options);
    const seed = readSize("seed", own.seed, DEFAULT_SEED, 0, 4294967295);
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
    const [{ traits }] = listenerPlans(settings);
    const over = settings.listeners.find(({ options: { tls, path } }) => tls && path === undefined);
    pump.requests.redirectPort = over?.options.port || 443;
    const accept = pump.acceptor(traits);
    const listener = net.open(pump.engine.windowView(), accept);
    this.server = new MemoryServer(pump, this.#runner, listener, settings, rest, (handler) =>
      this.#place(pump, handler),
    );
    this.server.onEvict = options.onEvict;
    this.#log = new Log(options.logger, options.onError);
    this.ready = this.#placeAll(
      pump,
      own.handler === undefined ? {} : own.handler,
      modules,
      settings,
    );
    // Each use of the server before it is ready throws, so the rejection need not be handled.
    this.ready.catch(() => undefined);
    this.#follow(options.signal);
  }

  #pump(own: TestOptions, settings: Settings, clock: VirtualClock, queues: ReadQueues): Pump {
    needWebAssembly();
    const { wasm, codec, seed = DEFAULT_SEED } = own;
    const module =
      wasm === undefined || wasm instanceof WebAssembly.Module
        ? (wasm ?? wasmModule())
        : new WebAssembly.Module(wasm);
    const params = engineParams(settings);
    if (!codec) params.DeflateRingBytes = 0;
    const epochs = new Random(seed);
    const Epoch = epochOf(epochs.int(0, 1023), epochs.int(0, 4294967295));
    return new Pump({
      ...pumpSettings(settings),
      engine: new Engine(module, { ...params, Seed: this.random.int(1, 4294967295), Epoch }),
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

  /** Sets the server's handlers: at once, unless a function that makes one is asynchronous. */
  #placeAll(
    pump: Pump,
    main: HandlerModule,
    { handlers }: BesideHandlers,
    { mounts, values }: Settings,
  ): Promise<void> {
    const made = handlers.map(({ handler, option }) => make(handler, pump, option));
    const set = (all: readonly unknown[]): void => {
      const modules = all.map((one, i): Handler => {
        const { option = "", kind } = handlers[i] ?? {};
        if (kind === "files") return {};
        checkModule(one, option);
        return one;
      });
      const sources = all.map((one, i) => {
        const { option = "", kind } = handlers[i] ?? {};
        return kind === "files" ? checkFileSystem(one, option) : undefined;
      });
      pump.requests.mounts = mountsOf(mounts, values.fileCache, {
        server: pump,
        now: () => this.clock.now(),
        filesOf: (mount) => (mount.kind === "source" ? sources[mount.module - 1] : undefined),
        backendOf: () => undefined,
        clients: pump.requests,
      });
      pump.setModules(modules);
    };
    if (!made.some(isThenable)) {
      set(made);
      return this.#place(pump, main);
    }
    return Promise.all(made).then((all) => {
      set(all);
      return this.#place(pump, main);
    });
  }

  /** Sets the server's handler: at once, unless the function that makes it is asynchronous. */
  #place(pump: Pump, handler: HandlerModule): Promise<void> {
    const set = (one: unknown): void => {
      checkHandler(one);
      pump.setHandler(one);
      this.#isReady = true;
    };
    const made = make(handler, pump, "handler");
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
      // The signal may live as long as the process, so the listener is removed.
      void this.server.finished.then(() => signal.removeEventListener("abort", abort));
    }
  }

  #checkReady(what: string): void {
    if (!this.#isReady) throw new Error(`${what}: the handler has not loaded yet; await t.ready`);
  }

  connect(path = "/", options?: ConnectOptions): TestClient {
    this.#checkReady("connect");
    return new TestClient(this.#network, path, options);
  }

  events(path = "/", options?: EventsClientOptions): TestEvents {
    this.#checkReady("events");
    return new TestEvents(this.#network, path, options);
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
 * Creates a server in memory.
 * @throws TypeError, RangeError for a wrong option, naming the option, the value and the range
 */
export function createTestServer<User = unknown>(options: TestOptions<User> = {}): TestServer {
  return new MemoryTestServer(options as TestOptions);
}
