// `serve`: starts a server in a worker thread and gives the application its end of it.
//
// Invariant: a message costs the application shared memory and no call. Calls are for control alone, and
// each of them, like `finished`, is rejected when the worker dies.

import { type SecureContextOptions, createSecureContext } from "node:tls";
import { Worker } from "node:worker_threads";
import * as Comlink from "comlink";
import nodeEndpoint from "comlink/dist/esm/node-adapter.mjs";
import { RecordKind, SLOT_LIMIT } from "../assembly/abi";
import type { ControlPlane, Notice, Ring, WorkerData } from "../worker/main";
import { Application, membersOf } from "./application";
import { checkClose } from "./close";
import { flagsOf } from "./flags";
import type {
  Data,
  HandlerModule,
  HandlerServer,
  PublishOptions,
  SendOptions,
  Stage,
  Stats,
} from "./handler";
import { InboxWriter } from "./inbox";
import { descriptorLimit, fitDescriptors } from "./limits";
import { type Eviction, type Options, type Plan, planOf, refusePlan, settle } from "./options";
import { variableOf } from "./permission";
import { BufferStage } from "./stage";
import { checkTopic, topicPrefix } from "./topic";

export type * from "./handler";
export { CLOSE_TABLE, type CloseRow } from "./close";
export {
  OPTIONS,
  POOL_OPTIONS,
  type Eviction,
  type OptionRow,
  type Options,
  type PoolOptions,
  type Plan,
  type PlanRow,
  plan,
} from "./options";

/** A running server, as the application sees it. */
export interface Server extends AsyncDisposable {
  /** Where it listens. */
  readonly address: { readonly hostname: string; readonly port: number; readonly path?: string };
  /** The memory it takes. */
  readonly plan: Plan;
  /** Settles when the server has ended: rejected when its worker died. */
  readonly finished: Promise<void>;
  /**
   * Publishes to every open WebSocket.
   * @returns false when the inbox is full: nothing was sent; `ready()` resolves when there is room
   */
  broadcast(data: Data, options?: PublishOptions): boolean;
  /** Publishes to a topic's subscribers; to a topic without any it does nothing. @returns as `broadcast` */
  publish(topic: string, data: Data, options?: PublishOptions): boolean;
  /**
   * Subscribes a WebSocket to a topic, of 1 to 200 bytes; for a stale id it does nothing. When `maxTopics` or
   * `maxSubscriptions` are taken, `onError` is told. @returns as `broadcast`
   */
  subscribe(id: number, topic: string): boolean;
  /** Ends a subscription; what was published before still arrives. @returns as `broadcast` */
  unsubscribe(id: number, topic: string): boolean;
  /** How many subscribe to a topic. */
  subscriberCount(topic: string): Promise<number>;
  /** Sends to one client; to a stale id it does nothing. @returns as `broadcast` */
  send(id: number, data: Data, options?: SendOptions): boolean;
  /** Starts a message built piece by piece, in a buffer of its own. */
  stage(): Stage;
  /** Closes one connection in order. @returns as `broadcast` */
  closeConnection(id: number, code?: number, reason?: string): boolean;
  /** Counters and gauges. */
  stats(): Promise<Stats>;
  /** Resolves when at least half of the inbox is free. */
  ready(): Promise<void>;
  /**
   * Accepts no more, answers the requests under way, closes WebSockets with 1001 after what is queued for
   * them; what has not ended after `timeout` ms (default 10,000) is reset.
   */
  shutdown(options?: { timeout?: number }): Promise<void>;
  /** Ends everything now. */
  close(): Promise<void>;
  /** Told about clients that were evicted, in batches. May be set at any time. */
  onEvict: ((evictions: readonly Eviction[]) => void) | undefined;
}

/** Where the handler lives: the URL of a module for the worker, or functions on this thread. */
function placeOf(handler: Options["handler"]): {
  readonly url?: string;
  readonly local?: HandlerModule;
} {
  if (handler === undefined) return {};
  if (handler instanceof URL) return { url: handler.href };
  if (typeof handler === "string") {
    if (/^(file|data|https?|node):/.test(handler)) return { url: handler };
    throw new TypeError(
      `handler: ${JSON.stringify(handler)} is not a URL; use new URL("./handler.js", import.meta.url)`,
    );
  }
  if (typeof handler === "function") return { local: handler };
  if (typeof handler === "object" && handler !== null) {
    membersOf(handler);
    return { local: handler };
  }
  throw new TypeError("handler: must be the URL of a module that exports a handler, or a handler");
}

function checkCallbacks(options: Options): void {
  for (const name of ["onEvict", "onError"] as const) {
    const value = options[name];
    if (value !== undefined && typeof value !== "function")
      throw new TypeError(`${name}: not a function`);
  }
  const { signal } = options;
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw new TypeError("signal: not an AbortSignal");
}

/** Refuses a key or certificate that does not fit, before anything starts. @throws TypeError */
function checkTls(options: Options["tls"]): void {
  if (!options) return;
  if (!options.pfx && !(options.key && options.cert))
    throw new TypeError("tls: key and cert are missing");
  try {
    createSecureContext(options as SecureContextOptions);
  } catch (error) {
    throw new TypeError(`tls: ${(error as Error).message}`, { cause: error });
  }
}

/** ms that a worker may take beyond the timeout of a shutdown before it is terminated. */
const END_GRACE = 1000;

/** Names of topics that are kept as bytes. */
const PREFIXES = 4096;

class RunningServer implements Server {
  readonly plan: Plan;
  readonly finished: Promise<void>;
  address: Server["address"] = { hostname: "", port: 0 };
  onEvict: Options["onEvict"];
  readonly #worker: Worker;
  readonly #inbox: InboxWriter;
  readonly #control: Comlink.Remote<ControlPlane>;
  readonly #ringBytes: number;
  readonly #prefixes = new Map<string, Uint8Array>();
  readonly #onError: (error: Error, where: string) => void;
  /** The handler that lives on this thread. */
  readonly #local: HandlerModule | undefined;
  readonly #application: Application | undefined;
  #dead: Error | undefined;
  #ended = false;
  #ending: Promise<void> | undefined;
  #resolve: () => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;

  constructor(options: Options) {
    checkCallbacks(options);
    const { url: handler, local } = placeOf(options.handler);
    // Wrong values are named before numbers are compared with what the system has.
    const { values } = settle(options);
    const settings = settle(fitDescriptors(options, values, descriptorLimit()));
    refusePlan(settings);
    checkTls(settings.tls);
    this.plan = planOf(settings);
    this.onEvict = options.onEvict;
    this.#onError =
      options.onError ?? ((error, where) => console.error(`ringcast: ${where}:`, error));
    this.#ringBytes = settings.values.ring;
    this.#inbox = new InboxWriter(settings.values.inbox, {
      ring: () => this.#post(0),
      transfer: (number, bytes) => {
        this.#worker.postMessage({ ringcast: "buffer", number, bytes } satisfies Ring, [
          bytes.buffer as ArrayBuffer,
        ]);
      },
    });
    this.#local = local;
    if (local) {
      this.#application = new Application({
        inbox: this.#inbox,
        ordered: settings.values.ordered === 1,
        backlog: settings.values.maxBacklog,
        publish: (topic, data, options) => this.publish(topic, data, options),
        pendingBytes: settings.values.maxPendingBytes,
        failed: this.#onError,
      });
    }
    this.finished = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Nobody need listen to it.
    this.finished.catch(() => undefined);
    const stream = variableOf("RINGCAST_STREAM") === "1";
    const data: WorkerData = { settings, handler, inbox: this.#inbox.memory, stream };
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), {
      workerData: data,
      name: "ringcast",
    });
    this.#worker.on("message", (notice: Notice) => this.#hear(notice));
    this.#worker.on("error", (error) => this.#die(error));
    this.#worker.on("exit", (code) => this.#exit(code));
    this.#control = Comlink.wrap<ControlPlane>(nodeEndpoint(this.#worker as never));
  }

  #post(message: Ring): void {
    this.#worker.postMessage(message);
  }

  #hear(notice: Notice): void {
    if (notice instanceof ArrayBuffer) {
      this.#application?.hear(notice);
      return;
    }
    switch (notice.ringcast) {
      case "room":
        this.#inbox.told();
        break;
      case "evicted":
        this.onEvict?.(notice.evictions);
        break;
      case "error": {
        const error = new Error(notice.message);
        error.stack = notice.stack;
        this.#onError(error, notice.where);
        break;
      }
      default:
        break;
    }
  }

  #die(error: Error): void {
    this.#dead ??= error;
    this.#reject(this.#dead);
    this.#application?.end();
    this.#inbox.told(true);
  }

  #exit(code: number): void {
    if (this.#ended || this.#ending) this.#resolve();
    else this.#die(new Error(`the server's worker exited with code ${code}`));
    this.#ended = true;
    this.#application?.end();
    this.#inbox.told(true);
  }

  /** A call that is rejected when the worker dies before it answers. */
  async #call<T>(start: () => Promise<T>): Promise<T> {
    if (this.#dead) throw this.#dead;
    if (this.#ended) throw new Error("the server has ended");
    const call = start();
    return Promise.race([
      call,
      this.finished.then(() => Promise.reject(new Error("the server has ended"))),
    ]);
  }

  /** Makes the handler that lives on this thread; the bits of its members. */
  async #startLocal(): Promise<number | undefined> {
    const local = this.#local;
    if (!local || !this.#application) return undefined;
    const handler = typeof local === "function" ? await local(this.#facade()) : local;
    return this.#application.setHandler(handler);
  }

  /** This server as its handler sees it. */
  #facade(): HandlerServer {
    const application = this.#application as Application;
    // All open WebSockets are known here: an id that is none of theirs is stale.
    const send: HandlerServer["send"] = (id, data, options) => {
      flagsOf(data, options);
      return application.socket(id)?.send(data, options) ?? false;
    };
    const broadcast: HandlerServer["broadcast"] = (data, options) => this.broadcast(data, options);
    const publish: HandlerServer["publish"] = (topic, data, options) =>
      this.publish(topic, data, options);
    return {
      broadcast,
      publish,
      send,
      subscribe: (id, topic) => application.socket(id)?.subscribe(topic) ?? false,
      unsubscribe: (id, topic) => application.socket(id)?.unsubscribe(topic) ?? false,
      subscriberCount: (topic) => application.subscriberCount(topic),
      stage: () => new BufferStage({ broadcast, publish, send }, this.#ringBytes),
      each: (fn) => application.each(fn),
      count: () => application.count(),
      stats: () => this.stats(),
      body: (data, type) => application.body(data, type),
    };
  }

  async listen(): Promise<void> {
    try {
      const members = await this.#startLocal();
      this.address = await this.#call(() => this.#control.listen(members));
    } catch (error) {
      this.#ending = Promise.resolve();
      await this.#worker.terminate();
      throw error;
    }
  }

  #open(): boolean {
    return this.#dead === undefined && !this.#ended && !this.#ending;
  }

  /** @param id of the client it concerns, 0 for none @param prefix bytes that go before the data */
  #put(kind: number, data: Data, id = 0, prefix?: Uint8Array): boolean {
    if (!this.#open()) return false;
    // Nothing overtakes an answer that waits for room.
    if (this.#application && !this.#application.outlet.isClear) return false;
    return this.#inbox.put(
      kind,
      data instanceof ArrayBuffer ? new Uint8Array(data) : data,
      id % SLOT_LIMIT,
      Math.floor(id / SLOT_LIMIT),
      prefix,
    );
  }

  /** @throws RangeError for a message that is larger than the ring */
  #checkLength(what: string, data: Data): void {
    let length = typeof data === "string" ? data.length * 3 : data.byteLength;
    if (length <= this.#ringBytes - 10) return;
    if (typeof data === "string") length = Buffer.byteLength(data);
    if (length <= this.#ringBytes - 10) return;
    throw new RangeError(`${what}: the message is larger than the ring (${this.#ringBytes} bytes)`);
  }

  broadcast(data: Data, options?: PublishOptions): boolean {
    const flags = flagsOf(data, options);
    this.#checkLength("broadcast", data);
    return this.#put(RecordKind.Broadcast | (flags << 8), data, options?.except);
  }

  publish(topic: string, data: Data, options?: PublishOptions): boolean {
    const flags = flagsOf(data, options);
    let prefix = this.#prefixes.get(topic);
    if (!prefix) {
      prefix = topicPrefix(topic);
      if (this.#prefixes.size >= PREFIXES) this.#prefixes.clear();
      this.#prefixes.set(topic, prefix);
    }
    this.#checkLength("publish", data);
    return this.#put(RecordKind.Publish | (flags << 8), data, options?.except, prefix);
  }

  subscribe(id: number, topic: string): boolean {
    checkTopic(topic);
    const ws = this.#application?.socket(id);
    if (ws) return ws.subscribe(topic);
    return this.#put(RecordKind.Subscribe, topic, id);
  }

  unsubscribe(id: number, topic: string): boolean {
    checkTopic(topic);
    const ws = this.#application?.socket(id);
    if (ws) return ws.unsubscribe(topic);
    return this.#put(RecordKind.Unsubscribe, topic, id);
  }

  async subscriberCount(topic: string): Promise<number> {
    checkTopic(topic);
    return this.#call(() => this.#control.subscriberCount(topic));
  }

  send(id: number, data: Data, options?: SendOptions): boolean {
    const flags = flagsOf(data, options);
    const ws = this.#application?.socket(id);
    if (ws) return ws.send(data, options);
    return this.#put(RecordKind.Send | (flags << 8), data, id);
  }

  stage(): Stage {
    return new BufferStage(this, this.#ringBytes);
  }

  closeConnection(id: number, code = 1000, reason = ""): boolean {
    checkClose(code, reason);
    const ws = this.#application?.socket(id);
    if (ws) return ws.close(code, reason);
    return this.#put(RecordKind.Close | (code << 16), reason, id);
  }

  async stats(): Promise<Stats> {
    const stats = await this.#call(() => this.#control.stats());
    const errors = this.#application?.errors ?? 0;
    return errors === 0 ? stats : { ...stats, handlerErrors: stats.handlerErrors + errors };
  }

  async ready(): Promise<void> {
    if (this.#dead) throw this.#dead;
    await this.#inbox.ready();
    if (this.#dead) throw this.#dead;
  }

  async #end(timeout: number): Promise<void> {
    if (this.#dead) throw this.#dead;
    this.#application?.shutdown();
    const stopped = this.#call(() => this.#control.shutdown(timeout));
    // A worker that a handler keeps busy does not answer: it is ended all the same.
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeout + END_GRACE);
    });
    await Promise.race([stopped, late]).finally(() => clearTimeout(timer));
    stopped.catch(() => undefined);
    this.#ended = true;
    this.#control[Comlink.releaseProxy]();
    await this.#worker.terminate();
    this.#application?.end();
    this.#resolve();
  }

  shutdown(options: { timeout?: number } = {}): Promise<void> {
    const { timeout = 10000 } = options;
    if (!Number.isFinite(timeout) || timeout < 0)
      throw new RangeError(`timeout: ${timeout} is not a number of ms`);
    this.#ending ??= this.#end(timeout);
    return this.#ending;
  }

  close(): Promise<void> {
    if (this.#ending && !this.#ended) this.#control.end().catch(() => undefined);
    return this.shutdown({ timeout: 0 });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Starts a server in a worker thread.
 * @throws TypeError, RangeError for a wrong option, naming it, the value and the range; the error of the
 * handler module or of listening otherwise. Nothing is left behind then.
 */
export async function serve(options: Options = {}): Promise<Server> {
  const { signal } = options;
  const server = new RunningServer(options);
  await server.listen();
  if (signal) {
    const abort = (): void => {
      server.shutdown().catch(() => undefined);
    };
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  }
  return server;
}
