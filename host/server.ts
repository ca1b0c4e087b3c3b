// The application's side of a server that runs in a thread of its own. Messages go through the inbox, control through
// calls. The platform provides the thread and the place to listen: Node's worker thread or a page's Web Worker.
//
// Invariant: a message costs the application a write to shared memory and no call. Only control uses calls. Each call,
// like `finished`, is rejected when the worker dies, and holds no resources once it has settled.

import type { Remote } from "comlink";
import type { ControlPlane, Notice, ToWorker, WorkerData } from "../worker/control/control";
import type { ListenerAddress } from "../worker/net/transport";
import { Application, membersOf } from "./local/application";
import { messageOf } from "./shared/message/data";
import { checkId, sendFlags } from "./shared/message/flags";
import { quiet, serverEnded, withoutLog } from "./shared/ended";
import type {
  Data,
  HandlerModule,
  HandlerServer,
  PublishOptions,
  SendOptions,
  Stage,
  Stats,
  WebSocket,
} from "./handler";
import { InboxWriter, inboxMemory } from "./send/inbox-writer";
import { Log } from "./log";
import { tooLate } from "./shared/members";
import { type MessageLimits, type Messages, MessageWriter } from "./send/messages";
import { Mirror } from "./send/mirror-writer";
import type { Eviction, LiveOptions, Options, ShutdownOptions } from "./options/types";
import { type ModuleSettings, isModuleUrl } from "./options/site/modules";
import { namesEvents } from "./options/params";
import { type Plan, planOf } from "./options/plan";
import { type HostSettings, type TlsCheck, tlsChecks, withChanges } from "./options/site/hosts";
import type { ListenerSettings } from "./options/listen";
import { type Changes, type Settings, settleChanges, settleShutdown } from "./options/settle";
import type { PublisherHandle, TransferredPort } from "./send/publisher";
import { errorOf, isThenable } from "./shared/result";
import { show } from "./shared/text/show";
import { tlsAfter } from "./options/tls";
import { BufferStage, type StageTarget } from "./shared/message/stage";
import type { PublisherPort } from "./shared/message/port";
import { checkTopic } from "./shared/message/topic";

/** A running server, as the application sees it. */
export interface Server<User = unknown> extends Messages, AsyncDisposable {
  /** The address on which the server listens; the first one of several. */
  readonly address: ListenerAddress;
  /** The addresses of all listeners, in the order of `listen`. */
  readonly addresses: readonly ListenerAddress[];
  /** The memory that the server takes. */
  readonly plan: Plan;
  /**
   * Settles when the server has ended; rejects when its worker died. If nothing has read `finished` and there is no
   * `onError`, the death of the worker is an uncaught exception.
   */
  readonly finished: Promise<void>;
  /** Resolves to the number of open WebSockets. */
  count(): Promise<number>;
  /**
   * Calls `fn` for each open WebSocket of a handler on this thread.
   * @throws TypeError when the handler is a module, because its WebSockets are in the worker
   */
  each(fn: (ws: WebSocket<User>) => void): void;
  /**
   * Resolves to the position of the latest publication, once all messages before this call have been published. It is
   * opaque text; positions of one start of the server sort in the order of the publications.
   */
  position(): Promise<string>;
  /** Resolves to the number of subscribers of a topic. */
  subscriberCount(topic: string): Promise<number>;
  /**
   * Makes a handle with which another thread of the application can publish. Its inbox has `inbox` bytes. Send the
   * handle to the thread and transfer its port (`worker.postMessage(handle, [handle.port])`). There, open it with
   * `openPublisher`.
   * @throws Error when the server has ended
   */
  publisher(): PublisherHandle;
  /**
   * Replaces the handler without dropping a connection. New events go to the new handler. Requests that the old handler
   * has begun are answered by it, `open` is not called again, and `ws.data` stays. Reloads run one after the other.
   * Modules beside the handler are loaded again, too: all of them, or nothing changes.
   * @param handler the URL of a module, which is loaded again even if it was loaded before (its own imports are not);
   * for a handler on this thread: functions. Default: the current module.
   * @throws TypeError when the handler is of the other kind; the error of the module, and then the old handler stays
   */
  reload(handler?: Options<User>["handler"]): Promise<void>;
  /**
   * Changes limits, timeouts and certificates while the server runs. The limits of WebSockets (`idleTimeout`,
   * `maxPayloadLength`) apply to the ones that open from then on. `tls` replaces the `tls` given before, except
   * `requestCert` and `rejectUnauthorized`, which cannot change. New handshakes use it; open connections continue.
   * `virtualHosts: { "a.example": { tls } }` replaces the key and certificate of one host, and the other options that
   * its `tls` gives.
   * @throws TypeError, RangeError naming the option, the value and the range; then nothing changes
   */
  configure(options: LiveOptions): Promise<void>;
  /** Resolves to counters and gauges. */
  stats(): Promise<Stats>;
  /**
   * Resolves to the statistics and the ring's horizon as OpenMetrics text (1.0), of the media type
   * "application/openmetrics-text; version=1.0.0; charset=utf-8". The option `metrics` serves it.
   */
  metrics(): Promise<string>;
  /**
   * Opens the file of `accessLog` again, after it was renamed (logrotate). Lines that wait go to the new file.
   * @throws Error when the server has no access log, or the file cannot be opened, and then the old one stays
   */
  reopenLog(): Promise<void>;
  /**
   * Shuts the server down. It accepts no more connections, completes pending requests, and closes WebSockets with 1001
   * after the messages queued for them. Connections that are still open after `timeout` ms (default 10,000) are reset.
   *
   * With `drainMs`, WebSockets are closed with 1012 (Service Restart) in random order, evenly over that time, so that
   * their clients do not reconnect all at once. Until then they are served and receive messages. `timeout` starts
   * afterwards.
   * @throws TypeError, RangeError naming the option, the value and the range
   */
  shutdown(options?: ShutdownOptions): Promise<void>;
  /** Ends the server and all connections at once. */
  close(): Promise<void>;
  /** Called with the clients that were evicted, in batches. It may be set at any time. */
  onEvict: ((evictions: readonly Eviction[]) => void) | undefined;
}

/** Returns where the handler runs: the URL of a module for the worker, or functions for this thread. */
function placeOf(handler: Options["handler"]): {
  readonly url?: string;
  readonly local?: HandlerModule;
} {
  if (handler === undefined) return {};
  if (handler instanceof URL) return { url: handler.href };
  if (typeof handler === "string") {
    if (isModuleUrl(handler)) return { url: handler };
    throw new TypeError(
      `handler: ${JSON.stringify(handler)} is not a URL; use new URL("./handler.js", import.meta.url)`,
    );
  }
  if (typeof handler === "function") return { local: handler };
  if (typeof handler === "object" && handler !== null && !isThenable(handler)) {
    membersOf(handler);
    return { local: handler };
  }
  const forgotten = isThenable(handler) ? "; is an await missing?" : "";
  throw new TypeError(
    `handler: ${show(handler)} is neither the URL of a module nor a handler${forgotten}`,
  );
}

/** Restores the `code` of a system error, which its message begins with, because errors lose it between threads. */
function withCode(thrown: unknown): unknown {
  const code =
    thrown instanceof Error &&
    /^(?:listen\[\d+\](?:: |\.))?(?:[a-z]+ |fd: .*?: |mode: |accessLog: )?(E[A-Z_]{3,})\b/.exec(
      thrown.message,
    )?.[1];
  return code && !("code" in thrown) ? Object.assign(thrown, { code }) : thrown;
}

/** Time in ms after the timeout of a shutdown in which the worker may still answer. Then it is terminated. */
const END_GRACE = 1000;

/** The thread that a server runs in, an object of the platform. */
interface Thread {
  /** The thread's control plane, through Comlink. */
  readonly control: Remote<ControlPlane>;
  post(message: ToWorker, transfer?: readonly Transferable[]): void;
  /** Ends the thread at once and releases its control plane. */
  terminate(): Promise<void>;
}

/** The events of a thread. */
export interface ThreadEvents {
  notice(notice: Notice): void;
  /** Called when the thread failed. Nothing follows but its exit. */
  failed(error: Error): void;
  exited(code: number): void;
}

/** Starts a thread. */
export type StartThread = (data: WorkerData, events: ThreadEvents) => Thread;

export class RunningServer implements Server {
  static readonly name = "Server";
  readonly plan: Plan;
  addresses: readonly ListenerAddress[] = [];
  onEvict: Options["onEvict"];
  readonly #thread: Thread;
  readonly #inbox: InboxWriter;
  readonly #mirror: Mirror | undefined;
  readonly #control: Remote<ControlPlane>;
  readonly #ringBytes: number;
  readonly #limits: MessageLimits;
  readonly #inboxBytes: number;
  readonly #loadTimeout: number;
  readonly #messages: MessageWriter;
  readonly #log: Log;
  #options: Options;
  /** URL of the handler module. */
  #url: string | undefined;
  /** Modules beside the handler. Their WebSockets are in the worker, wherever the handler runs. */
  readonly #modules: readonly ModuleSettings[];
  /** Whether `reload` has modules beside the main handler, or archives, to load. */
  readonly #isLoaded: boolean;
  /** The listeners and the virtual hosts, with their present certificates. */
  #listeners: readonly ListenerSettings[];
  #hosts: readonly HostSettings[];
  #reloads = 0;
  /** The handler on this thread. */
  readonly #local: HandlerModule | undefined;
  readonly #application: Application | undefined;
  #dead: Error | undefined;
  #isListening = false;
  #ended = false;
  /** True while the server shuts down and still serves clients until each one's turn to close. */
  #isDraining = false;
  #ending: Promise<void> | undefined;
  readonly #finished: Promise<void>;
  #resolve: () => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;
  /** True when `finished` was read or `onError` is set, so that the death of the worker is reported to someone. */
  #isObserved: boolean;
  /** Rejects the pending calls, one function for each. */
  readonly #calls = new Set<(error: Error) => void>();
  /** Stops listening to the signal. */
  #unfollow: (() => void) | undefined;
  /** The previous reload. It never rejects. */
  #reloading: Promise<void> = Promise.resolve();

  /**
   * @param settings the checked `options`
   * @param sharing whether the thread can share memory with this one; otherwise messages are sent as copies
   */
  constructor(
    options: Options,
    settings: Settings,
    start: StartThread,
    sharing: "shared" | "copied" = "shared",
  ) {
    const { url: handler, local } = placeOf(options.handler);
    this.plan = planOf(settings);
    this.#options = options;
    this.#url = handler;
    this.#modules = settings.modules;
    const hasArchive = settings.mounts.some((list) => list?.some(({ kind }) => kind === "zip"));
    this.#isLoaded = hasArchive || settings.modules.length > 0;
    this.#listeners = settings.listeners;
    this.#hosts = settings.hosts;
    this.onEvict = options.onEvict;
    this.#log = new Log(options.logger, options.onError);
    this.#ringBytes = settings.values.ring;
    this.#limits = {
      backlog: settings.values.maxBacklog,
      clients: settings.values.maxWebSockets,
      names: namesEvents(settings),
    };
    this.#loadTimeout = settings.values.loadTimeout;
    const transfer = (number: number, bytes: Uint8Array): void => {
      this.#post({ ringcast: "buffer", number, bytes }, [bytes.buffer as ArrayBuffer]);
    };
    this.#inboxBytes = settings.values.inbox;
    let inbox: WorkerData["inbox"] = this.#inboxBytes;
    if (sharing === "shared") {
      inbox = inboxMemory(this.#inboxBytes);
      this.#inbox = new InboxWriter(inbox, { ring: () => this.#post(0), transfer });
    } else {
      const mirror = new Mirror(inbox, (records) =>
        this.#post(records, [records.bytes.buffer as ArrayBuffer]),
      );
      this.#mirror = mirror;
      this.#inbox = new InboxWriter(mirror.memory, { ring: () => mirror.ring(), transfer });
    }
    this.#messages = new MessageWriter(
      this.#inbox,
      this.#ringBytes,
      this.#limits,
      // Messages must not overtake a response that waits for room.
      () => this.#open() && (this.#application?.outlet.isClear ?? true),
    );
    this.#local = local;
    if (local) {
      this.#application = new Application({
        inbox: this.#inbox,
        ordered: settings.values.ordered === 1,
        backlog: settings.values.maxBacklog,
        replyBytes: settings.values.replyBuffers,
        pages: settings.errorPages.map(({ status }) => status),
        protocols: settings.protocols.map(({ name }) => name),
        publish: (topic, data, options) => this.publish(topic, data, options),
        pendingBytes: settings.values.maxPendingBytes,
        closeTimeout: settings.values.closeTimeout,
        failed: (error, where) => this.#log.error(error, where),
      });
    }
    this.#isObserved = options.onError !== undefined;
    // A rejection of `finished` need not be handled.
    this.#finished = quiet(
      new Promise((resolve, reject) => {
        this.#resolve = resolve;
        this.#reject = reject;
      }),
    );
    this.#thread = start(
      { settings, handler, inbox },
      {
        notice: (notice) => this.#hear(notice),
        failed: (error) => this.#die(error),
        exited: (code) => this.#exit(code),
      },
    );
    this.#control = this.#thread.control;
  }

  #post(message: ToWorker, transfer?: readonly Transferable[]): void {
    this.#thread.post(message, transfer);
  }

  #hear(notice: Notice): void {
    if (notice instanceof ArrayBuffer) {
      this.#application?.hear(notice);
      return;
    }
    switch (notice.ringcast) {
      case "room":
        this.#inbox.notify();
        break;
      case "passed":
        this.#mirror?.passed(notice.tail);
        this.#inbox.notify();
        break;
      case "credit":
        this.#messages.credited(notice.report);
        break;
      case "evicted":
        this.#log.evicted(notice.evictions, this.onEvict);
        break;
      case "handshakes":
        this.#log.handshakes(notice.count, notice.clients);
        break;
      case "upstreams":
        this.#log.upstreams(notice.failures);
        break;
      case "error": {
        this.#log.error(errorOf(notice.error), notice.where);
        break;
      }
      case "trapped": {
        const error = new Error(`the engine trapped: ${notice.error.message}`);
        error.stack = notice.error.stack.replace(/^.*/, () => String(error));
        this.#die(error);
        void this.#thread.terminate();
        break;
      }
      default:
        break;
    }
  }

  get finished(): Promise<void> {
    this.#isObserved = true;
    return this.#finished;
  }

  /** Releases everything that waits: the signal, the application's handler, writers that wait for room, calls. */
  #release(): void {
    this.#unfollow?.();
    this.#application?.end();
    this.#inbox.notify(true);
    for (const reject of this.#calls) reject(this.#dead ?? serverEnded());
    this.#calls.clear();
  }

  #die(error: Error): void {
    if (this.#dead) return;
    this.#dead = error;
    this.#reject(error);
    // An error before the server listens is thrown by `serve`, one during shutdown by `shutdown`.
    if (this.#isListening && !this.#ending) {
      if (this.#isObserved) this.#log.error(error, "worker");
      else
        queueMicrotask(() => {
          throw error;
        });
    }
    this.#release();
  }

  #exit(code: number): void {
    if (!this.#ended) this.#die(new Error(`the server's worker exited with code ${code}`));
    this.#finish();
  }

  #finish(): void {
    this.#ended = true;
    this.#resolve();
    this.#release();
  }

  /** Makes a call that is rejected when the worker dies before it answers. */
  async #call<T>(start: () => Promise<T>): Promise<T> {
    if (this.#dead) throw this.#dead;
    if (this.#ended) throw serverEnded();
    this.#mirror?.flush();
    const call = start();
    return new Promise((resolve, reject) => {
      const settle = (over: () => void): void => {
        this.#calls.delete(reject);
        over();
      };
      this.#calls.add(reject);
      call.then(
        (result) => settle(() => resolve(result)),
        (thrown) => settle(() => reject(thrown)),
      );
    });
  }

  /** Creates the handler on this thread. @returns the bits of its members */
  async #startLocal(): Promise<number | undefined> {
    const local = this.#local;
    if (!local || !this.#application) return undefined;
    const handler = typeof local === "function" ? await local(this.#facade()) : local;
    return this.#application.setHandler(handler);
  }

  /** Returns this server as its handler sees it. */
  #facade(): HandlerServer {
    const application = this.#application as Application;
    // All open WebSockets of this handler are known here. Without modules any other id is stale.
    const messages = this.#modules.length > 0 ? this.#messages : undefined;
    const sendBytes: StageTarget["sendBytes"] = (id, bytes, flags) =>
      application.socket(id)?.offer(bytes, flags) ?? messages?.sendBytes(id, bytes, flags) ?? false;
    const send: HandlerServer["send"] = (id, data, options) => {
      checkId(id);
      const payload = messageOf("send", data, options);
      const flags = sendFlags(payload, options);
      const ws = application.socket(id);
      return ws ? ws.offer(payload, flags) : (messages?.send(id, data, options) ?? false);
    };
    const broadcast: HandlerServer["broadcast"] = (data, options) => this.broadcast(data, options);
    const publish: HandlerServer["publish"] = (topic, data, options) =>
      this.publish(topic, data, options);
    return {
      broadcast,
      publish,
      send,
      subscribe: (id, topic) => {
        checkId(id);
        const ws = application.socket(id);
        return ws ? ws.subscribe(topic) : (messages?.subscribe(id, topic) ?? false);
      },
      unsubscribe: (id, topic) => {
        checkId(id);
        const ws = application.socket(id);
        return ws ? ws.unsubscribe(topic) : (messages?.unsubscribe(id, topic) ?? false);
      },
      subscriberCount: (topic) => application.subscriberCount(topic),
      position: () => this.position(),
      stage: () => this.#stageWith(sendBytes),
      each: (fn) => application.each(fn),
      count: () => application.count(),
      stats: () => this.stats(),
      metrics: () => this.metrics(),
      ready: () => this.ready(),
      body: (data, type) => application.body(data, type),
    };
  }

  /**
   * Starts the server. When that fails, nothing of the server remains.
   * @throws the error of the handler, or of listening, with its `code`; Error after `loadTimeout`; the reason of the
   * signal when it aborts before the server listens
   */
  async listen(): Promise<void> {
    const { signal } = this.#options;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let abort: () => void = () => undefined;
    const stopped = new Promise<never>((_, reject) => {
      const ms = this.#loadTimeout;
      if (ms > 0) timer = setTimeout(() => reject(tooLate(ms)), ms);
      abort = () => reject(signal?.reason);
      signal?.addEventListener("abort", abort, { once: true });
    });
    try {
      this.addresses = await Promise.race([this.#start(), stopped]);
      this.#isListening = true;
      for (const address of this.addresses) this.#log.listening(address);
    } catch (error) {
      this.#ending = Promise.resolve();
      this.#ended = true;
      await this.#thread.terminate();
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }

  async #start(): Promise<readonly ListenerAddress[]> {
    const members = await this.#startLocal();
    const listening = this.#call(() => this.#control.listen(members));
    return listening.catch(async (error: unknown) => {
      throw await this.explain(withCode(error));
    });
  }

  get address(): ListenerAddress {
    return this.addresses[0] ?? { hostname: "", port: undefined };
  }

  #open(): boolean {
    const isServing = !this.#ending || this.#isDraining;
    return isServing && this.#dead === undefined && !this.#ended;
  }

  broadcast(data: Data, options?: PublishOptions): boolean {
    return this.#messages.broadcast(data, options);
  }

  publish(topic: string, data: Data, options?: PublishOptions): boolean {
    return this.#messages.publish(topic, data, options);
  }

  subscribe(id: number, topic: string): boolean {
    const ws = this.#application?.socket(id);
    return ws ? ws.subscribe(topic) : this.#messages.subscribe(id, topic);
  }

  unsubscribe(id: number, topic: string): boolean {
    const ws = this.#application?.socket(id);
    return ws ? ws.unsubscribe(topic) : this.#messages.unsubscribe(id, topic);
  }

  send(id: number, data: Data, options?: SendOptions): boolean {
    const ws = this.#application?.socket(id);
    return ws ? ws.send(data, options) : this.#messages.send(id, data, options);
  }

  stage(): Stage {
    const messages = this.#messages;
    const application = this.#application;
    if (!application) return messages.stage();
    return this.#stageWith(
      (id, bytes, flags) =>
        application.socket(id)?.offer(bytes, flags) ?? messages.sendBytes(id, bytes, flags),
    );
  }

  #stageWith(sendBytes: StageTarget["sendBytes"]): Stage {
    const messages = this.#messages;
    return new BufferStage({
      ringBytes: messages.ringBytes,
      isUtf8: messages.isUtf8,
      publishBytes: (topic, bytes, flags, except) =>
        messages.publishBytes(topic, bytes, flags, except),
      sendBytes,
    });
  }

  closeConnection(id: number, code = 1000, reason = ""): boolean {
    const ws = this.#application?.socket(id);
    return ws ? ws.close(code, reason) : this.#messages.closeConnection(id, code, reason);
  }

  async count(): Promise<number> {
    const application = this.#modules.length > 0 ? undefined : this.#application;
    return application?.count() ?? (await this.stats()).webSockets;
  }

  each(fn: (ws: WebSocket) => void): void {
    if (!this.#application) {
      throw new TypeError("each: the handler is a module, so its WebSockets are in the worker");
    }
    this.#application.each(fn);
  }

  async subscriberCount(topic: string): Promise<number> {
    checkTopic(topic);
    const { head } = this.#inbox;
    return this.#call(() => this.#control.subscriberCount(topic, head));
  }

  async position(): Promise<string> {
    const { head } = this.#inbox;
    return this.#call(() => this.#control.position(head));
  }

  publisher(): PublisherHandle {
    if (!this.#open()) throw new Error("publisher: the server has ended");
    if (this.#mirror) throw new Error("publisher: threads cannot share memory here");
    const { port1, port2 } = new MessageChannel();
    const memory = inboxMemory(this.#inboxBytes);
    // Types of platforms differ in their listeners' events.
    const port = port1 as unknown as PublisherPort & Transferable;
    this.#post({ ringcast: "publisher", memory, port }, [port]);
    return {
      ...{ ringcast: "publisher", memory, port: port2 as TransferredPort },
      ...{ ringBytes: this.#ringBytes, limits: this.#limits },
    };
  }

  reload(handler?: Options["handler"]): Promise<void> {
    const reload = this.#reloading.then(() => this.#reload(handler));
    this.#reloading = reload.catch(() => undefined);
    return this.#log.reloading(reload, () => this.#url);
  }

  async #reload(handler: Options["handler"]): Promise<void> {
    const { url, local } = placeOf(handler ?? this.#url);
    if (local) {
      await this.#reloadLocal(local);
      return;
    }
    if (url === undefined && !this.#isLoaded)
      throw new TypeError("handler: there is no module to reload");
    if (url !== undefined && this.#application)
      throw new TypeError("handler: the server's handler runs on this thread; pass functions");
    await this.#reloadModules(url);
    this.#url = url;
  }

  /** Replaces the handler on this thread, and the modules beside it. */
  async #reloadLocal(local: HandlerModule): Promise<void> {
    const application = this.#application;
    if (!application)
      throw new TypeError("handler: the server's handler is a module; pass the URL of one");
    const made = typeof local === "function" ? await local(this.#facade()) : local;
    // A wrong handler is refused before anything is replaced.
    membersOf(made);
    if (this.#isLoaded) await this.#reloadModules(undefined);
    const members = application.setHandler(made);
    await this.#call(() => this.#control.relay(members));
  }

  /** Loads the modules again: all or none. @param url the main handler's module; undefined: there is none */
  #reloadModules(url: string | undefined): Promise<void> {
    const main = url === undefined ? undefined : this.#fresh(url);
    const modules = this.#modules.map((one) => ({ ...one, url: this.#fresh(one.url) }));
    return this.#call(() => this.#control.reload(main, modules));
  }

  /** Returns a URL under which a module has not been imported yet. */
  #fresh(url: string): string {
    this.#reloads++;
    if (url.startsWith("data:")) return url;
    const fresh = new URL(url);
    fresh.searchParams.set("reload", String(this.#reloads));
    return fresh.href;
  }

  /** Adds advice to an error of listening, when the platform knows any. @returns the error */
  protected async explain(error: unknown): Promise<unknown> {
    return error;
  }

  /** Refuses keys and certificates that do not fit, when the platform can check it. @throws TypeError */
  protected checkTls(_checks: readonly TlsCheck[]): void {
    return;
  }

  async configure(options: LiveOptions): Promise<void> {
    const changes = settleChanges(this.#options, options, this.#hosts);
    this.checkTls(this.#checksOf(changes));
    await this.#call(() => this.#control.configure(changes));
    // Options of TLS are kept apart, because those of the listeners keep their flags.
    const { tls: _, virtualHosts: __, ...others } = options;
    this.#options = { ...this.#options, ...others };
    this.#listeners = this.#listenersAfter(changes);
    this.#hosts = withChanges(this.#hosts, changes.hosts);
    this.#log.configured(options);
  }

  /** Returns the listeners after changes. */
  #listenersAfter({ tls: changed }: Changes): readonly ListenerSettings[] {
    if (!changed) return this.#listeners;
    return this.#listeners.map((listener) => {
      const { tls } = listener.options;
      if (!tls) return listener;
      return { ...listener, options: { ...listener.options, tls: tlsAfter(tls, changed) } };
    });
  }

  /** Returns the options of TLS that changes concern. */
  #checksOf(changes: Changes): TlsCheck[] {
    const { tls, hosts } = changes;
    const listeners = this.#listenersAfter(changes).map((one) => ({ ...one, name: "" }));
    const all = tlsChecks(listeners, withChanges(this.#hosts, hosts));
    if (tls) return all;
    const changed = new Set(hosts.map(({ number }) => number));
    return all.filter(({ host }) => host && changed.has(host.number));
  }

  async stats(): Promise<Stats> {
    return this.#call(() => this.#control.stats());
  }

  async metrics(): Promise<string> {
    return this.#call(() => this.#control.metrics());
  }

  async reopenLog(): Promise<void> {
    if (!this.#options.accessLog) throw withoutLog();
    await this.#call(() => this.#control.reopenLog()).catch((thrown: unknown) => {
      throw withCode(thrown);
    });
  }

  ready(): Promise<void> {
    return quiet(this.#ready());
  }

  async #ready(): Promise<void> {
    if (this.#open()) await this.#inbox.ready();
    if (!this.#open()) throw serverEnded(this.#dead);
  }

  async #end(timeout: number, drainMs: number): Promise<void> {
    if (this.#dead) throw this.#dead;
    // With `drainMs` the handler is notified of each client's shutdown when its turn comes.
    if (drainMs === 0) this.#application?.shutdown();
    const stopped = this.#call(() => this.#control.shutdown(timeout, drainMs));
    const drained = this.#drained(drainMs);
    // A worker that a handler keeps busy does not answer, so it is terminated after the time is over.
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, drainMs + timeout + END_GRACE);
    });
    await Promise.race([stopped, late]).finally(() => {
      clearTimeout(timer);
      drained();
    });
    stopped.catch(() => undefined);
    this.#ended = true;
    await this.#thread.terminate();
    this.#log.ended();
    this.#finish();
  }

  /** Keeps serving clients for some ms, or until the returned function is called. */
  #drained(ms: number): () => void {
    if (ms === 0) return () => undefined;
    this.#isDraining = true;
    const end = (): void => {
      this.#isDraining = false;
      clearTimeout(timer);
      // Publishing ends here, so waiting publishers are rejected.
      this.#inbox.notify(true);
    };
    const timer = setTimeout(end, ms);
    return end;
  }

  shutdown(options?: ShutdownOptions): Promise<void> {
    const { timeout, drainMs } = settleShutdown(options);
    if (!this.#ending) {
      this.#log.ending(timeout, drainMs);
      this.#ending = this.#end(timeout, drainMs);
      if (!this.#isDraining) this.#inbox.notify(true);
    }
    return this.#ending;
  }

  close(): Promise<void> {
    this.#isDraining = false;
    this.#inbox.notify(true);
    if (this.#ending && !this.#ended) this.#control.end().catch(() => undefined);
    return this.shutdown({ timeout: 0 });
  }

  /** Shuts down when a signal aborts. The listener is removed at the end, because the signal may outlive the server. */
  follow(signal: AbortSignal | undefined): void {
    if (!signal) return;
    const abort = (): void => {
      this.shutdown().catch(() => undefined);
    };
    if (signal.aborted) {
      abort();
      return;
    }
    signal.addEventListener("abort", abort, { once: true });
    this.#unfollow = () => signal.removeEventListener("abort", abort);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Names of a server's members. Access to one on the promise of `serve` shows that `await` is missing. */
export const SERVER_NAMES: readonly string[] = [
  ...["addresses", "plan", "finished", "onEvict"],
  ...Object.getOwnPropertyNames(RunningServer.prototype).filter((name) => name !== "constructor"),
];
