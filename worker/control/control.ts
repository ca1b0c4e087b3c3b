// The parts of a worker, put together on a platform: engine, pump, handler and control plane. Control arrives as calls,
// messages arrive through the inbox.

import { INBOX_WORDS } from "../../assembly/abi";
import type { Handler, Stats } from "../../host/handler";
import type {
  Eviction,
  FailedHandshake,
  FailedUpstream,
  PoolOptions,
} from "../../host/options/types";
import { engineParams } from "../../host/options/params";
import type { ModuleSettings } from "../../host/options/site/modules";
import type { Changes, Settings } from "../../host/options/settle";
import { idleFor } from "../../host/options/upstream";
import type { PublisherNotice, PublisherPort, PublisherRing } from "../../host/shared/message/port";
import { tooLate } from "../../host/shared/members";
import type { Records } from "../../host/shared/message/wire";
import { type ErrorData, describe, errorOf, toError } from "../../host/shared/result";
import { AccessLog } from "../request/access-log";
import { ErrorThrottle } from "../request/error-throttle";
import { configure } from "./configure";
import { Engine } from "../engine/engine";
import { SharedInbox } from "../inbox/inbox-reader";
import { Listeners } from "./listeners";
import { Handshakes } from "./handshakes";
import { type Beside, loadHandler, loadModules } from "./load";
import { MirroredInbox } from "../inbox/mirror-reader";
import type {
  Backend,
  BackendSettings,
  Clock,
  Codec,
  LineFile,
  ListenerAddress,
  Threads,
  Transport,
} from "../net/transport";
import type { FileSystem } from "../../host/handler";
import { type Mounts, mountsOf } from "../mount/mounts";
import { Pool } from "../place/pool";
import { Remote } from "../place/remote";
import type { RawRules } from "../pipe/raw";
import { Pump } from "../pump/pump";
import { pumpSettings } from "./settings";
import { Upstreams } from "./upstreams";

/** The data that the application's side gives the worker at its start. */
export interface WorkerData {
  readonly settings: Settings;
  /** URL of the handler module; undefined: there is none, or it runs on the application's thread. */
  readonly handler: string | undefined;
  /** Shared memory; or a size in bytes where none can be shared, so that records arrive as messages. */
  readonly inbox: SharedArrayBuffer | number;
}

/** Messages of the worker other than Comlink's. A buffer is a batch of events for the application's handler. */
export type Notice =
  | ArrayBuffer
  | { readonly ringcast: "room" }
  | { readonly ringcast: "passed"; readonly tail: number }
  /** Bytes that have left clients' queues (worker/inbox/outstanding.ts). */
  | { readonly ringcast: "credit"; readonly report: Float64Array<ArrayBuffer> }
  | { readonly ringcast: "evicted"; readonly evictions: Eviction[] }
  | {
      readonly ringcast: "handshakes";
      readonly count: number;
      readonly clients: readonly FailedHandshake[];
    }
  | { readonly ringcast: "upstreams"; readonly failures: readonly FailedUpstream[] }
  | { readonly ringcast: "error"; readonly error: ErrorData; readonly where: string }
  /** The engine trapped, so the worker ends. */
  | { readonly ringcast: "trapped"; readonly error: ErrorData };

/** Messages to the worker other than Comlink's. 0 is the doorbell. */
export type ToWorker =
  | 0
  | {
      readonly ringcast: "publisher";
      readonly memory: SharedArrayBuffer;
      readonly port: PublisherPort;
    }
  | Records
  | { readonly ringcast: "buffer"; readonly number: number; readonly bytes: Uint8Array };

/** The facilities that a platform gives a worker. */
interface Platform {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly codec: Codec | undefined;
  readonly module: WebAssembly.Module;
  /** Seed of the engine's hashes. It must be unpredictable to clients, which choose names of topics. */
  readonly seed: number;
  /** Names the order of publications of this start: `epochOf`. */
  readonly epoch: number;
  post(notice: Notice, transfer?: readonly ArrayBuffer[]): void;
  /** Ends the worker now, after the posted messages. */
  exit(): void;
  /** The file systems of folders and archives; undefined where the platform has none. */
  readonly files?: {
    folder(path: string): FileSystem;
    archive(path: string): Promise<FileSystem & { close(): void }>;
  };
  /** Returns a server behind this one; undefined where the platform has no sockets. @param timeout ms */
  readonly backend?: (settings: BackendSettings) => Backend;
  /** Returns a file that lines are appended to, not open yet; undefined where the platform has no files. */
  readonly lines?: (file: string) => LineFile;
  /** Starts threads that handle requests; undefined where the platform has none. */
  readonly threads:
    | ((
        limits: Readonly<Record<keyof PoolOptions, number>>,
        failed: (error: Error) => void,
      ) => Threads | Promise<Threads>)
    | undefined;
}

/** Moves an error's code into its message, because errors lose their code on the way to the application. */
function withCode(thrown: unknown): Error {
  const { message, code, ...data } = describe(thrown);
  const hasCode = code === undefined || message.includes(String(code));
  return errorOf({ ...data, message: hasCode ? message : `${code}: ${message}` });
}

/** Open archives, by the names of their mounts. */
type Archives = ReadonlyMap<string, FileSystem & { close(): void }>;
/** Returns the treatment of connections that are not HTTP. @throws Error where the platform has no sockets */
function rawRules(
  raw: Settings["raw"],
  transport: Transport,
  upstreams: Upstreams,
): RawRules | undefined {
  if (!raw) return undefined;
  const connect = transport.upstream?.(raw.address);
  if (!connect) throw new Error("raw: this platform has no sockets");
  return { connect, failed: (error) => upstreams.add(raw.name, error) };
}

/** The control plane, as the application's side sees it. */
export type ControlPlane = Worker["control"];

/** A worker's parts, put together. */
export class Worker {
  readonly pump: Pump;
  readonly inbox: SharedInbox;
  readonly #data: WorkerData;
  readonly #platform: Platform;
  readonly #mirrored: MirroredInbox | undefined;
  readonly #remote: Remote;
  readonly #accepting: ErrorThrottle;
  readonly #subscribing: ErrorThrottle;
  readonly #listeners: Listeners;
  #archives: Archives = new Map();
  readonly #log: AccessLog | undefined;
  #pool: Pool | undefined;

  constructor(data: WorkerData, platform: Platform) {
    this.#data = data;
    this.#platform = platform;
    const { settings } = data;
    const params = engineParams(settings);
    const { values } = settings;
    const handshakes = new Handshakes(
      (ms, fn) => platform.clock.after(ms, fn),
      (count, clients) => platform.post({ ringcast: "handshakes", count, clients }),
    );
    const throttled = (where: string): ErrorThrottle =>
      new ErrorThrottle(
        () => platform.clock.now(),
        (error) => this.#report(error, where),
      );
    this.#log = this.#makeLog(throttled("accessLog"));
    const upstreams = new Upstreams(
      (ms, fn) => platform.clock.after(ms, fn),
      (failures) => platform.post({ ringcast: "upstreams", failures }),
    );
    this.pump = new Pump({
      log: this.#log,
      ...pumpSettings(settings),
      engine: new Engine(platform.module, {
        ...params,
        Seed: platform.seed,
        Epoch: platform.epoch,
      }),
      clock: platform.clock,
      queues: platform.transport.queues,
      codec: values.perMessageDeflate ? platform.codec : undefined,
      failed: (error, where) => {
        // This error ends no connection, so a client can cause it again and again.
        if (where === "subscribe") this.#subscribing.add(error);
        else this.#report(error, where);
      },
      trapped: (trap) => this.die(trap),
      evicted: (evictions) => platform.post({ ringcast: "evicted", evictions }),
      handshakeFailed: (address, error) => handshakes.add(address, error),
      raw: rawRules(settings.raw, platform.transport, upstreams),
    });
    this.#accepting = throttled("accept");
    this.#listeners = new Listeners(this.pump, (error) => {
      this.pump.acceptErrors++;
      this.#accepting.add(error);
    });
    this.#subscribing = throttled("subscribe");
    const memory =
      typeof data.inbox === "number" ? new ArrayBuffer(INBOX_WORDS * 4 + data.inbox) : data.inbox;
    this.inbox = new SharedInbox(memory, {
      room: () => platform.post({ ringcast: "room" }),
      credit: (report) => platform.post({ ringcast: "credit", report }, [report.buffer]),
      retry: (ms) => {
        setTimeout(() => this.pump.schedule(), ms);
      },
    });
    if (typeof data.inbox === "number") {
      const passed = (tail: number): void => platform.post({ ringcast: "passed", tail });
      this.#mirrored = new MirroredInbox(this.inbox, memory, passed);
    }
    this.pump.addInbox(this.#mirrored ?? this.inbox);
    this.#remote = new Remote(
      this.pump,
      { requests: values.maxPendingRequests, bytes: values.maxPendingBytes },
      this.inbox.words,
      { post: (batch) => platform.post(batch, [batch]) },
    );
    this.inbox.host = this.#remote;
  }

  /** Returns the access log, not open yet; undefined: there is none. */
  #makeLog(writing: ErrorThrottle): AccessLog | undefined {
    const { accessLog } = this.#data.settings;
    const { clock, lines } = this.#platform;
    if (!accessLog || !lines) return undefined;
    const owner = { clock, failed: (error: Error) => writing.add(error) };
    return new AccessLog(lines(accessLog.file), accessLog.format, owner);
  }

  /** Opens the access log. @throws Error naming the option */
  #openLog(): void {
    try {
      this.#log?.open();
    } catch (thrown) {
      throw withCode(
        Object.assign(toError(thrown), { message: `accessLog: ${toError(thrown).message}` }),
      );
    }
  }

  readonly #report = (error: Error, where: string): void => {
    this.#platform.post({ ringcast: "error", error: describe(error), where });
  };

  /**
   * Handles an uncaught error. An error of the handler's own code is reported, and the server continues.
   * @throws the error when it left the pump, because then no state can be trusted
   */
  uncaught(thrown: unknown): void {
    if (this.pump.depth > 0) throw thrown;
    this.pump.fail(thrown, "uncaught");
  }

  /** Ends the worker after a trap of the engine. No client may receive what its memory holds. */
  die(trap: Error): void {
    this.#platform.post({ ringcast: "trapped", error: describe(trap) });
    this.#platform.exit();
  }

  /** Handles a message of the application's side. */
  hear(message: ToWorker): void {
    if (message !== 0) {
      if (message.ringcast === "records") this.#mirrored?.give(message);
      else if (message.ringcast === "buffer") this.inbox.give(message.number, message.bytes);
      else this.#takePublisher(message.memory, message.port);
    }
    this.pump.schedule();
  }

  /** Adds the inbox of another thread that publishes, until that thread ends. */
  #takePublisher(memory: SharedArrayBuffer, port: PublisherPort): void {
    const { pump } = this;
    const own = new SharedInbox(memory, {
      room: () => port.postMessage("room" satisfies PublisherNotice),
      credit: (report) => port.postMessage(report satisfies PublisherNotice, [report.buffer]),
      retry: (ms) => {
        setTimeout(() => pump.schedule(), ms);
      },
    });
    pump.addInbox(own);
    port.addEventListener("message", ({ data }) => {
      const ring = data as PublisherRing;
      if (ring !== 0) own.give(ring.number, ring.bytes);
      pump.schedule();
    });
    port.addEventListener("close", () => {
      own.last = () => pump.removeInbox(own);
      pump.schedule();
    });
    port.start();
  }

  /** Returns the pool, whose threads the first call starts; undefined: there is none. */
  async #startPool(): Promise<Pool | undefined> {
    const { pool: limits } = this.#data.settings;
    const { threads } = this.#platform;
    if (this.#pool || !limits || !threads) return this.#pool;
    const started = await threads(limits, (error) => this.#report(error, "pool"));
    this.#pool = new Pool(this.pump, started, limits);
    return this.#pool;
  }

  /**
   * Loads the main handler into the worker, and into the pool's threads if there are any, and the modules beside it.
   * @param url the main handler's module; undefined: there is none
   * @returns a function that gives them all events from then on
   */
  async #load(url: string | undefined, modules: readonly ModuleSettings[]): Promise<() => void> {
    const { pump } = this;
    const handler = url === undefined ? undefined : await loadHandler(url, pump);
    if (url !== undefined) await (await this.#startPool())?.load(url);
    const beside = await loadModules(modules, pump);
    const archives = await this.#openArchives();
    return () => {
      if (handler && url !== undefined) this.#swap(handler, url);
      pump.requests.mounts = this.#mounts(beside, archives);
      pump.setModules(beside.handlers);
      for (const archive of this.#archives.values()) archive.close();
      this.#archives = archives;
    };
  }

  /** Opens the archives of mounts: all or none. @throws Error naming the mount */
  async #openArchives(): Promise<Archives> {
    const archives = new Map<string, FileSystem & { close(): void }>();
    const all = this.#data.settings.mounts.flatMap((list) => list ?? []);
    for (const { option, ...mount } of all) {
      if (mount.kind !== "zip" || !this.#platform.files) continue;
      try {
        archives.set(option, await this.#platform.files.archive(mount.root));
      } catch (thrown) {
        for (const archive of archives.values()) archive.close();
        const { message } = describe(thrown);
        throw new Error(`${option}.zip: ${mount.root}: ${message}`, { cause: thrown });
      }
    }
    return archives;
  }

  /** Returns the mounts of the server; undefined: there are none. */
  #mounts({ files }: Beside, archives: Archives): Mounts | undefined {
    const { mounts, values } = this.#data.settings;
    return mountsOf(mounts, values.fileCache, {
      server: this.pump,
      now: () => this.#platform.clock.now(),
      filesOf: (mount) => {
        if (mount.kind === "source") return files[mount.module - 1];
        if (mount.kind === "zip") return archives.get(mount.option);
        return mount.kind === "files" ? this.#platform.files?.folder(mount.root) : undefined;
      },
      backendOf: (mount) => {
        if (mount.kind !== "proxy") return undefined;
        const { backend, timeout } = mount;
        const kept = idleFor(this.#data.settings, values.maxConnections);
        return this.#platform.backend?.({ ...backend, timeout, kept });
      },
      clients: this.pump.requests,
    });
  }

  /** Limits the time for loading a handler. @throws RangeError when it is not loaded within `loadTimeout` */
  #inTime<T>(loaded: Promise<T>): Promise<T> {
    const { loadTimeout } = this.#data.settings.values;
    if (loadTimeout === 0) return loaded;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(tooLate(loadTimeout)), loadTimeout);
    });
    return Promise.race([loaded, late]).finally(() => clearTimeout(timer));
  }

  /** Gives this handler all events from now on. */
  #swap(handler: Handler, url: string): void {
    const pool = this.#pool;
    if (pool) this.pump.place(pool.placement(handler, url));
    else this.pump.setHandler(handler);
  }

  /** Waits until the records before a position of the inbox have been carried out. */
  async #reached(head: number): Promise<void> {
    while (!this.inbox.hasReached(head)) {
      this.pump.schedule();
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /** Waits until every record sent before a call has been carried out. */
  #afterInbox(): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!this.inbox.ready) resolve();
        else {
          this.pump.schedule();
          setTimeout(look, 1);
        }
      };
      look();
    });
  }

  /** Uses the handler on the application's thread. @param members bits of the members that it has */
  #relay(members: number): void {
    this.pump.place(this.#remote.placement(members));
  }

  /**
   * Wraps the calls, so that a trap of the engine in one ends the worker. A rejected call alone would leave it running.
   */
  #watch<Calls extends Record<string, (...args: never[]) => Promise<unknown>>>(
    calls: Calls,
  ): Calls {
    const watched = Object.entries(calls).map(([name, call]) => [
      name,
      (...args: never[]) =>
        call(...args).catch((thrown: unknown) => {
          if (this.pump.engine.isTrap(thrown)) this.die(thrown);
          // A handler's module may throw any value.
          throw toError(thrown);
        }),
    ]);
    return Object.fromEntries(watched) as Calls;
  }

  /** The calls of the application's side. */
  readonly control = this.#watch({
    /**
     * Loads the handler and listens.
     * @param members bits of the members of a handler on the application's thread; undefined: there is none
     * @returns the addresses of the listeners
     */
    listen: async (members: number | undefined): Promise<ListenerAddress[]> => {
      const { settings, handler } = this.#data;
      this.#openLog();
      (await this.#load(handler, settings.modules))();
      if (members !== undefined) this.#relay(members);
      try {
        const addresses = await this.#listeners.open(this.#platform.transport, settings);
        this.pump.transport = this.#listeners.transport;
        return addresses;
      } catch (thrown) {
        throw withCode(thrown);
      }
    },

    /**
     * Replaces the main handler's module, if there is one, and the modules beside it. Nothing changes when one of them
     * cannot be loaded.
     */
    reload: async (url: string | undefined, modules: readonly ModuleSettings[]): Promise<void> => {
      (await this.#inTime(this.#load(url, modules)))();
    },

    /** Replaces the handler on the application's thread. */
    relay: async (members: number): Promise<void> => this.#relay(members),

    /** Changes options that can change at run time. */
    configure: async ({ values, tls, hosts }: Changes): Promise<void> => {
      if (tls || hosts.length > 0) this.#listeners.setTls(tls, hosts);
      configure(this.pump, values);
    },

    /** Opens the file of the access log again. When that fails, the old one stays. */
    reopenLog: async (): Promise<void> => this.#openLog(),

    stats: async (): Promise<Stats> => this.pump.stats(),

    metrics: async (): Promise<string> => this.pump.metrics(),

    /** Returns the position of the latest publication. @param head the inbox's position at the call */
    position: async (head: number): Promise<string> => {
      await this.#reached(head);
      return this.pump.position();
    },

    /** Returns the number of a topic's subscribers. @param head the inbox's position at the call */
    subscriberCount: async (topic: string, head: number): Promise<number> => {
      await this.#reached(head);
      return this.pump.subscriberCount(topic);
    },

    /**
     * Stops accepting, answers pending requests, and closes WebSockets with 1001, or with 1012 spread over `drainMs`.
     * It resets the remaining connections `drainMs + timeout` ms after the call.
     */
    shutdown: async (timeout: number, drainMs: number): Promise<void> => {
      const { pump } = this;
      const timer = setTimeout(() => pump.endAll(), drainMs + timeout);
      // Messages sent before the call are carried out first, for at most `timeout` ms.
      await Promise.race([
        this.#afterInbox(),
        new Promise((resolve) => setTimeout(resolve, timeout)),
      ]);
      this.#listeners.close();
      this.#remote.isDraining = drainMs > 0;
      pump.farewell.begin(drainMs);
      await pump.idle();
      clearTimeout(timer);
      // Posts the last events.
      this.#remote.finish();
      pump.stop();
      await this.#log?.close();
      await this.#pool?.destroy();
    },

    /** Ends a shutdown in progress by resetting the remaining connections. */
    end: async (): Promise<void> => {
      this.#listeners.close();
      this.pump.endAll();
    },
  });
}
