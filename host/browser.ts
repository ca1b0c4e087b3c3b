// `ringcast/browser`: the server within a page, for tests of a front end. The engine runs in a Web Worker. The page's
// WebSockets and fetches reach it as real frames and real HTTP, over byte channels instead of sockets.
//
// Invariant: nothing in the page changes before `install`. After `uninstall`, and after the server's end, everything
// that `install` replaced is restored.

import * as Comlink from "comlink";
import type { Connect, Start } from "../worker/entry/page";
import type { ControlPlane, Notice } from "../worker/control/control";
import type { Options, VirtualHostOptions } from "./options/types";
import { refuseUnknown } from "./options/known";
import { refuseRoots } from "./options/site/mounts";
import { pagesWithoutFiles } from "./options/site/pages";
import { refusePlan } from "./options/plan";
import { settle } from "./options/settle";
import { eventSourceOf } from "./page/eventsource";
import { Fetcher } from "./page/fetch";
import { type Match, install, matcherOf } from "./page/install";
import { BUFFER_BYTES, Line, type LineUser } from "./page/line";
import { webSocketOf } from "./page/websocket";
import { RunningServer, SERVER_NAMES, type Server, type StartThread } from "./server";
import type { WasmModule } from "./shared/webassembly";
import { unawaited } from "./unawaited";

export type * from "./exported";
export { CLOSE_TABLE } from "./shared/close";
export { plan } from "./options/plan";
export type { Match } from "./page/install";
export type { WasmModule } from "./shared/webassembly";

/** Options for sockets, files and threads, which a page does not have. */
const FOREIGN = [
  ...[
    "port",
    "hostname",
    "backlog",
    "listen",
    "path",
    "fd",
    "tls",
    "noDelay",
    "tcpKeepAlive",
    "tcpKeepAliveInterval",
    "tcpKeepAliveCount",
    "ipv6Only",
    "transport",
    "accessLog",
    "raw",
    "rawTimeout",
  ],
  "pool",
] as const;

type Foreign =
  | (
      | "port"
      | "hostname"
      | "backlog"
      | "listen"
      | "path"
      | "fd"
      | "tls"
      | "noDelay"
      | "tcpKeepAlive"
      | "tcpKeepAliveInterval"
      | "tcpKeepAliveCount"
      | "ipv6Only"
      | "transport"
      | "accessLog"
      | "raw"
      | "rawTimeout"
    )
  | "pool";

/** Options of `serve` in a page: those of the server, without sockets, files and pools. */
export interface BrowserOptions extends Omit<Options, Foreign> {
  /**
   * The origin of the server: the base of relative URLs, the origin that `install` replaces, and the Origin that its
   * clients send. Default "http://ringcast.test". Use `location.origin` for a front end that requests its own origin.
   */
  origin?: string | URL;
  /** URL of the worker's module, "ringcast/browser/worker", when a bundler moved it; or a function that starts it. */
  worker?: string | URL | (() => Worker);
  /** The engine, compiled, or the URL of engine.wasm. Default: the engine that the worker's module imports. */
  wasm?: WasmModule | string | URL;
}

/** Options of `install`. */
export interface InstallOptions {
  /**
   * URLs that go to the server: all URLs of an origin or of several (ws counts as http, wss as https), the URLs that a
   * pattern matches, or the URLs for which a function returns true. Default: the server's `origin`.
   */
  match?: Match;
}

/** A server within the page. */
export interface BrowserServer extends Omit<Server, "address" | "addresses"> {
  /** The server's origin. */
  readonly origin: string;
  /** A standard WebSocket class that connects to this server, whatever host its URL names. */
  readonly WebSocket: typeof WebSocket;
  /** A standard fetch that sends its requests to this server, whatever host its URL names. */
  readonly fetch: typeof fetch;
  /** A standard EventSource class that connects to this server, whatever host its URL names. */
  readonly EventSource: typeof EventSource;
  /**
   * Replaces the page's WebSocket, EventSource and fetch for URLs that match. Other URLs use the ones that were there
   * before.
   * @returns a function that does the same as `uninstall`
   * @throws TypeError for an invalid match; Error when it is installed already
   */
  install(options?: InstallOptions): () => void;
  /** Restores what `install` replaced. The end of the server does the same. */
  uninstall(): void;
  /** Connects a client that exchanges bytes. @internal */
  connect(user: LineUser): Line;
}

/** Time in ms for the worker's last bytes to arrive after its end. Then connections that are still open are lost. */
const LAST_WORDS = 100;

/** Returns the origin of an option. @throws TypeError */
function readOrigin(value: string | URL = "http://ringcast.test"): string {
  let url: URL | undefined;
  try {
    url = new URL(value);
  } catch {
    // Reported below.
  }
  if (!url || !/^https?:$/.test(url.protocol))
    throw new TypeError(
      `origin: ${JSON.stringify(String(value))} is not an origin of http or https`,
    );
  return url.origin;
}

/** Compiles the engine; undefined to use the embedded one. @throws TypeError, CompileError */
async function readModule(wasm: BrowserOptions["wasm"]): Promise<WebAssembly.Module | undefined> {
  if (wasm === undefined || wasm instanceof WebAssembly.Module) return wasm;
  if (typeof wasm !== "string" && !(wasm instanceof URL))
    throw new TypeError("wasm: must be a WebAssembly.Module or the URL of engine.wasm");
  const response = await fetch(wasm);
  if (!response.ok)
    throw new TypeError(`wasm: the response to ${response.url} is ${response.status}`);
  return WebAssembly.compile(await response.arrayBuffer());
}

/** Starts the worker from the module beside this one, or from the user's URL or function. @throws TypeError */
function startWorker(worker: BrowserOptions["worker"]): Worker {
  if (worker === undefined)
    return new Worker(new URL("./browser-worker.js", import.meta.url), { type: "module" });
  if (typeof worker === "function") return worker();
  if (typeof worker !== "string" && !(worker instanceof URL))
    throw new TypeError(
      "worker: must be the URL of ringcast/browser/worker, or a function that starts it",
    );
  return new Worker(worker, { type: "module" });
}

/** Returns the options of the server. @throws TypeError for an option that does not apply in a page */
function serverOptions(options: BrowserOptions): Options {
  const { origin, worker, wasm, ...rest } = options;
  for (const name of FOREIGN) {
    if ((rest as Options)[name] !== undefined)
      throw new TypeError(`${name}: a page has no sockets, files or pools`);
  }
  for (const [host, own] of Object.entries(rest.virtualHosts ?? {})) {
    for (const name of ["tls", "listen"])
      if ((own as VirtualHostOptions | undefined)?.[name as "tls" | "listen"] !== undefined)
        throw new TypeError(
          `virtualHosts[${JSON.stringify(host)}].${name}: a page has no sockets, files or pools`,
        );
  }
  return rest;
}

/** Returns a function that starts the server's thread in a Web Worker. */
function threadOf(worker: Worker, module: WebAssembly.Module | undefined): StartThread {
  return (data, events) => {
    worker.addEventListener("message", ({ data }: MessageEvent<Notice>) => {
      // Messages without the mark belong to Comlink.
      if (data instanceof ArrayBuffer || "ringcast" in data) events.notice(data);
    });
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      worker.terminate();
      events.failed(new Error(event.message ?? "the worker's module could not be loaded"));
    });
    worker.postMessage({ ringcast: "start", data, module } satisfies Start);
    const control = Comlink.wrap<ControlPlane>(worker);
    return {
      control,
      post: (message, transfer = []) => worker.postMessage(message, [...transfer]),
      async terminate() {
        control[Comlink.releaseProxy]();
        worker.terminate();
      },
    };
  };
}

class PageServer extends RunningServer implements BrowserServer {
  readonly origin: string;
  readonly WebSocket: typeof WebSocket;
  readonly fetch: typeof fetch;
  readonly EventSource: typeof EventSource;
  readonly #worker: Worker;
  readonly #lines = new Set<Line>();
  #hasEnded = false;
  #isOwn: (url: URL) => boolean = () => true;
  #elsewhere: typeof fetch | undefined;
  #restore: (() => void) | undefined;

  constructor(
    options: Options,
    origin: string,
    worker: Worker,
    module: WebAssembly.Module | undefined,
  ) {
    const sharing = globalThis.crossOriginIsolated ? "shared" : "copied";
    super(options, settle(options), threadOf(worker, module), sharing);
    this.origin = origin;
    this.#worker = worker;
    const dialler = { origin, connect: (user: LineUser) => this.connect(user) };
    this.WebSocket = webSocketOf(dialler);
    this.fetch = new Fetcher(dialler, (request) => {
      if (!this.#elsewhere || this.#isOwn(new URL(request.url))) return undefined;
      return this.#elsewhere.call(globalThis, request);
    }).fetch;
    this.EventSource = eventSourceOf(this);
    const ended = (): void => this.#leave();
    this.finished.then(ended, ended);
  }

  connect(user: LineUser): Line {
    const { port1, port2 } = new MessageChannel();
    const line = new Line(port1, user, (left) => this.#lines.delete(left));
    if (this.#hasEnded) {
      setTimeout(() => line.lost());
      return line;
    }
    this.#lines.add(line);
    const message: Connect = { ringcast: "connect", port: port2, bufferBytes: BUFFER_BYTES };
    this.#worker.postMessage(message, [port2]);
    return line;
  }

  /** Cleans up after the server's end. */
  #leave(): void {
    this.uninstall();
    this.#hasEnded = true;
    setTimeout(() => {
      for (const line of this.#lines) line.lost();
    }, LAST_WORDS);
  }

  install(options: InstallOptions = {}): () => void {
    refuseUnknown(options, { names: ["match"], prefix: "install." });
    const { match = this.origin } = options;
    if (this.#restore) throw new Error("install: it is installed already");
    this.#isOwn = matcherOf(match);
    this.#elsewhere = globalThis.fetch;
    this.#restore = install(globalThis, this, this.#isOwn);
    return () => this.uninstall();
  }

  uninstall(): void {
    this.#restore?.();
    this.#restore = undefined;
    this.#elsewhere = undefined;
    this.#isOwn = () => true;
  }
}

/**
 * Starts a server in a Web Worker of this page. A handler module is imported in the worker. Functions run on the page.
 * @throws as `serve` of "ringcast"
 */
export function serve(options: BrowserOptions = {}): Promise<BrowserServer> {
  return unawaited(start(options), "serve", [...SERVER_NAMES, ...PAGE_NAMES]);
}

/** Members of a server in a page in addition to those of any server. */
const PAGE_NAMES = ["origin", "WebSocket", "EventSource", "fetch", "install", "uninstall"];

async function start(options: BrowserOptions): Promise<BrowserServer> {
  const origin = readOrigin(options.origin);
  const own = serverOptions(options);
  const settings = settle(own);
  pagesWithoutFiles(settings.errorPages);
  refuseRoots(settings.mounts);
  refusePlan(settings);
  const module = await readModule(options.wasm);
  const worker = startWorker(options.worker);
  let server: PageServer;
  try {
    server = new PageServer(own, origin, worker, module);
  } catch (error) {
    worker.terminate();
    throw error;
  }
  await server.listen();
  server.follow(own.signal);
  return server;
}
