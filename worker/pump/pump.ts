// The pump. It puts the parts of a server around one engine together, and owns the links and the handler; the engine
// owns the protocol. It is independent of the platform: sockets come through net/transport.ts, time through a Clock.
//
// Reading order: `accept` and `read` here; engine/loop.ts feeds the engine and handles its events, which events.ts
// passes on; schedule.ts decides when. request/ and socket/ do the work.
//
// Invariant: the handler is never called during a flush, and is notified of ends only once no events are being handled.

import { Arrival, CloseReason, Control, NONE, Outcome, Param } from "../../assembly/abi";
import type {
  Data,
  Handler,
  HandlerServer,
  PublishOptions,
  SendOptions,
  Stage,
  Stats,
  WebSocket,
} from "../../host/handler";
import type { ErrorPage } from "../../host/options/site/pages";
import type { ProtocolSettings } from "../../host/options/site/protocols";
import { type OptionValues, defaultValues } from "../../host/options/table";
import type { Eviction } from "../../host/options/types";
import { CLOSE_TABLE, checkClose, reasonName } from "../../host/shared/close";
import { quiet, serverEnded } from "../../host/shared/ended";
import { checkId } from "../../host/shared/message/flags";
import { isNews } from "../../host/shared/message/stream";
import { checkBody } from "../../host/shared/request/response";
import { isThenable, toError, whenSettled } from "../../host/shared/result";
import type { AddressSet } from "../../host/shared/text/address";
import { type Engine, toBytes } from "../engine/engine";
import { EngineLoop } from "../engine/loop";
import { statsOf } from "../engine/stats";
import type { Accept, Clock, Codec, Link, ReadQueues, Sink } from "../net/transport";
import { Raw, type RawRules } from "../pipe/raw";
import type { AccessLog } from "../request/access-log";
import { Pages } from "../request/pages";
import { Protocols } from "../request/protocols";
import { Responder } from "../request/responder";
import { type RequestRules, Requests } from "../request/dispatch";
import type { ForwardRules } from "../request/forwarded";
import { metricsText } from "../request/metrics";
import type { RequestImpl } from "../request/request";
import { StaticBodyImpl } from "../request/response";
import { Messages } from "../socket/messages";
import { SupplyWaits } from "../supply/waits";
import { Outgoing } from "../socket/outgoing";
import { Hold, Peer } from "../socket/peer";
import type { WebSocketImpl } from "../socket/socket";
import { Topics } from "../socket/topics";
import { Events } from "./events";
import { Farewell } from "./farewell";
import { Horizon } from "./horizon";
import { Measurer } from "./measurer";
import { InWorker, type Placement } from "./placement";
import { Refusals } from "./refusals";
import { Schedule } from "./schedule";

/** Time (ms) after which it is worth retrying a refused publication. */
const READY_MILLIS = 1;

/** A source of records that the pump drains. */
export interface Inbox {
  /**
   * Carries out records of about `share` bytes at most.
   * @returns true when there is more to do at once
   */
  drain(pump: Pump, share: number): boolean;
  /** Notes that a WebSocket has ended. */
  ended(id: number): void;
  /** Called at the end of a turn. @param more another follows at once */
  endTurn(more: boolean): void;
}

/** Traits of all connections of a listener. */
export interface ListenerTraits {
  /** Its number, from 0 on. */
  readonly number: number;
  /** Whether they use TLS. */
  readonly isSecure: boolean;
  /**
   * Proxies whose connections begin with a PROXY header, and which alone may connect; undefined: there is no such
   * header.
   */
  readonly proxies: AddressSet | undefined;
  /** Whether requests without TLS are redirected to the same URL over TLS. */
  readonly redirects: boolean;
  /** Whether the transport holds a copy of each pending write, as TLS does. */
  readonly isCopied: boolean;
}

export interface PumpOptions extends RequestRules {
  readonly engine: Engine;
  readonly clock: Clock;
  /** Values of the table's options, by their names; an option that is missing has its default. */
  readonly values?: Partial<OptionValues>;
  /** Reads send queues; the transport's. */
  readonly queues?: ReadQueues | undefined;
  /** Subprotocols that the server chooses from. */
  readonly protocols?: readonly string[];
  /** Subprotocols that have modules, whose handlers `setModules` gives. */
  readonly protocolHandlers?: readonly ProtocolSettings[];
  /** Value of the Server field; "" for none. */
  readonly serverHeader?: string;
  /** Error pages, at most one for a status. */
  readonly errorPages?: readonly ErrorPage[];
  /** The codec of compression, where it is enabled and the platform has one. */
  readonly codec?: Codec | undefined;
  /** Called with the evicted clients, once a turn. */
  readonly evicted?: (evictions: Eviction[]) => void;
  /** The upstream of connections that are not HTTP; undefined: each must be HTTP. */
  readonly raw?: RawRules | undefined;
  /** Called when a TLS handshake has failed. */
  readonly handshakeFailed?: (remoteAddress: string, error: Error | undefined) => void;
  /** Called with a trap of the engine that was caught around user code. It must end the pump. */
  readonly trapped?: (trap: Error) => void;
}

export class Pump implements HandlerServer {
  static readonly name = "Server";
  readonly engine: Engine;
  /** Values of the table's options. `configure` changes them. */
  readonly values: OptionValues;
  readonly loop: EngineLoop<Peer>;
  readonly responder: Responder;
  readonly requests: Requests;
  readonly messages: Messages;
  readonly outgoing: Outgoing;
  readonly topics: Topics;
  readonly raw: Raw | undefined;
  readonly farewell: Farewell;
  /** Supplies of bodies that wait for their sources. */
  readonly waits: SupplyWaits;
  readonly #schedule: Schedule;
  readonly #events: Events;
  readonly #clock: Clock;
  readonly #forwarding: ForwardRules | undefined;
  readonly #horizon: Horizon;
  readonly #measurer: Measurer;
  readonly #refusals: Refusals;
  readonly #log: AccessLog | undefined;
  readonly #failed: (error: Error, where: string) => void;
  readonly #trapped: ((trap: Error) => void) | undefined;
  readonly #handshakeFailed: PumpOptions["handshakeFailed"];
  #placement: Placement = new InWorker({});
  /** The main handler. */
  handler: Handler = this.#placement.handler;
  /** Handlers of the modules beside the main handler, by the numbers of `Peer.module` less one. */
  #modules: readonly Handler[] = [];
  /**
   * Number of running calls of the transport or the clock. An error that leaves such a call does not decrement it. It
   * then stays above zero, which distinguishes an error within the pump from one in a handler's timer.
   */
  depth = 0;
  #inboxes: readonly Inbox[] = [];
  /** Deferred calls of the handler. */
  #deferred: (() => void)[] = [];
  #idleWaiters: (() => void)[] = [];
  /** Functions that end the waits of publishers. */
  readonly #publishers = new Set<() => void>();
  #isStopped = false;
  #cancelWaits: (() => void) | undefined;
  handlerErrors = 0;
  /** Number of requests that got 503 because there was no room for them. */
  shed = 0;
  acceptErrors = 0;
  /** How connections are held; undefined where that is not reported. */
  transport: Stats["transport"];

  constructor(options: PumpOptions) {
    const { engine, clock, codec } = options;
    this.engine = engine;
    this.values = { ...defaultValues(), ...options.values };
    this.#clock = clock;
    this.#forwarding = options.forwarding;
    this.#failed = options.failed ?? (() => undefined);
    this.#trapped = options.trapped;
    this.#handshakeFailed = options.handshakeFailed;
    this.#schedule = new Schedule(this, clock);
    this.#events = new Events(this, options.evicted);
    this.loop = new EngineLoop(engine, this.#events, this.#schedule);
    this.#horizon = new Horizon(engine.param(Param.RingBytes), engine.param(Param.QueuedFrames));
    const pages = new Pages(options.errorPages ?? []);
    pages.each((status, whole, length) => this.loop.setPage(status, whole, length));
    this.#refusals = new Refusals(clock, engine.windowView(), pages.whole(503));
    this.#measurer = new Measurer(this.loop, clock, options.queues);
    this.waits = new SupplyWaits(
      () => clock.now(),
      (ms) => {
        this.#cancelWaits?.();
        this.#cancelWaits = clock.after(ms, () => this.waits.sweep());
      },
    );
    const protocols = new Protocols(options.protocols ?? [], options.protocolHandlers ?? []);
    this.responder = new Responder(this, codec, protocols, pages, options.log);
    this.requests = new Requests(this, options);
    this.messages = new Messages(this, codec);
    this.outgoing = new Outgoing(this, codec);
    this.farewell = new Farewell(this, clock);
    this.topics = new Topics(this.loop, this.#failed);
    this.raw = options.raw && new Raw(this, options.raw);
    this.#log = options.log;
    if (options.log) this.loop.refusals(true);
    engine.setServer(options.serverHeader ?? "");
  }

  /** Gives this placement's handler the events of the main handler from now on. */
  place(placement: Placement): void {
    this.#placement = placement;
    this.handler = placement.handler;
    this.messages.place(placement.isRelay);
    this.#setStreams();
  }

  /**
   * Gives these handlers, which run in the worker, the events of the modules beside the main handler from now on.
   * @param modules handlers in the order of the modules' numbers
   */
  setModules(modules: readonly Handler[]): void {
    this.#modules = modules;
    this.#setStreams();
  }

  /** Has heads of requests reported before their bodies, where any handler streams bodies. */
  #setStreams(): void {
    const isPassedOn = this.requests.mounts?.hasProxies ?? false;
    const hasStreams = [this.handler, ...this.#modules].some(({ streams }) => Boolean(streams));
    this.loop.streams(isPassedOn || hasStreams);
  }

  /** Returns the handler of a connection's request or WebSocket. */
  handlerOf(peer: Peer): Handler {
    const { module } = peer;
    // mutant module-main: return this.handler;
    return module === 0 ? this.handler : (this.#modules[module - 1] as Handler);
  }

  /**
   * Gives this handler, which runs in the worker, the events of the main handler from now on.
   * @param turned called at the end of each turn
   */
  setHandler(handler: Handler, turned?: () => void): void {
    this.place(new InWorker(handler, turned));
  }

  /** Returns the subprotocol that the handler chooses; undefined when it chooses none. */
  chooseProtocol(peer: Peer, request: RequestImpl): string | undefined {
    return this.handlerOf(peer).protocol?.(request);
  }

  addInbox(inbox: Inbox): void {
    this.#inboxes = [...this.#inboxes, inbox];
    this.schedule();
  }

  removeInbox(inbox: Inbox): void {
    // The list is replaced, because it may be being iterated.
    this.#inboxes = this.#inboxes.filter((one) => one !== inbox);
  }

  /** Returns monotonic ms. */
  now(): number {
    return this.#clock.now();
  }

  /** Runs `fn` after `ms` by the pump's clock. @returns a function that cancels it */
  after(ms: number, fn: () => void): () => void {
    return this.#clock.after(ms, fn);
  }

  /** Schedules a turn. */
  schedule(): void {
    this.#schedule.schedule();
  }

  // ---- accepting and reading -------------------------------------------------------------------------

  /** Returns the function that takes a listener's connections. */
  acceptor(traits: ListenerTraits): Accept {
    return (link) => {
      this.depth++;
      const sink = this.#accept(link, traits);
      this.depth--;
      return sink;
    };
  }

  /** Takes connections without TLS and without a PROXY header. */
  readonly accept = this.acceptor({
    ...{ number: 0, isSecure: false, proxies: undefined, redirects: false, isCopied: false },
  });

  #accept(link: Link, traits: ListenerTraits): Sink | undefined {
    const { number, isSecure, proxies, redirects, isCopied } = traits;
    const { engine, loop } = this;
    this.#schedule.accepted();
    if (this.farewell.isClosed) {
      link.destroy();
      return undefined;
    }
    if (proxies && !proxies.has(link.remoteAddress)) {
      loop.decline(CloseReason.ProxyRefused);
      link.reset();
      return undefined;
    }
    // A trusted proxy's connections belong to many clients. Each WebSocket is counted under its client's address.
    const forwards = this.isForwarder(link.remoteAddress);
    const address = forwards || proxies ? "" : link.remoteAddress;
    const flags =
      (proxies ? Arrival.Proxied : 0) |
      (link.secure ? Arrival.Unsecured : 0) |
      (this.raw ? Arrival.Any : 0) |
      (isCopied ? Arrival.Copied : 0);
    const slot = loop.accept(address, flags);
    if (slot === NONE) {
      if (engine.get(Control.Result) === CloseReason.NoRoom) return this.#refusals.take(link);
      link.reset();
      return undefined;
    }
    const now = engine.get(Control.Now);
    const peer = new Peer(this, link, slot, engine.get(Control.Generation), now);
    peer.forwards = forwards;
    peer.listener = number;
    peer.isSecure = isSecure;
    peer.redirects = redirects;
    peer.isProxied = proxies !== undefined;
    peer.isUnsecured = link.secure !== undefined;
    loop.join(peer);
    this.tellConnect(peer);
    return peer;
  }

  isForwarder(address: string): boolean {
    return this.#forwarding?.trusted.has(address) ?? false;
  }

  /** Calls the handler's `connect`, once the client's address is known and TLS is established. */
  tellConnect(peer: Peer): void {
    if (peer.isProxied || peer.isUnsecured) return;
    peer.isReported = true;
    if (this.handler.connect) this.guard("connect", () => this.handler.connect?.(peer));
  }

  /** Handles an established TLS connection. @param how "plain": it is none, and gets one response */
  secured(peer: Peer, how?: "plain"): void {
    peer.isUnsecured = false;
    this.loop.secured(peer);
    if (how === "plain") {
      peer.isSecure = false;
      peer.isMisplaced = true;
      // The handler is never called for it, so it is not notified of the connection either.
      return;
    }
    this.tellConnect(peer);
  }

  /** Ends a connection whose TLS handshake failed. */
  failHandshake(peer: Peer, error: Error | undefined): void {
    this.#handshakeFailed?.(peer.remoteAddress, error);
    this.terminate(peer, CloseReason.TlsFailed);
  }

  /** Handles bytes before TLS, which are the PROXY header. Bytes after it belong to TLS. */
  #readHeader(peer: Peer, n: number, left: number): void {
    this.loop.handleEvents();
    if (peer.dead) return;
    const { engine } = this;
    if (!peer.isProxied) peer.link.secure?.(engine.copy(engine.window + n - left, left));
    // There is no buffer for its header.
    else if (left > 0) this.abandon(peer, CloseReason.NoBuffer);
  }

  read(peer: Peer, n: number): void {
    const left = this.loop.feed(peer, n);
    if (peer.isUnsecured) this.#readHeader(peer, n, left);
    else if (peer.pipe) peer.pipe.take(this.engine.copy(this.engine.window, n));
    else this.loop.progress(peer, n, left);
    this.#schedule.afterRead(peer, n);
  }

  /** Starts or stops reading a connection, according to its state. */
  setReading(peer: Peer): void {
    // While a request is pending, its response is not read, or a WebSocket is held, reading continues for one window,
    // so that a disconnect is seen. No more is consumed than that and the excess of the last read.
    const kept =
      peer.unparsed >= this.engine.windowBytes ||
      (peer.held & Hold.Turn) !== 0 ||
      peer.yields ||
      peer.rest !== undefined ||
      peer.upload?.full === true ||
      peer.pipe?.isFull === true ||
      this.engine.isDeaf(peer.slot);
    const wanted = !peer.dead && !kept;
    if (wanted === peer.reading) return;
    peer.reading = wanted;
    if (wanted) peer.link.resume();
    else peer.link.pause();
  }

  /** Continues reading, after the reader of a body has taken a piece of it. */
  readOn(peer: Peer): void {
    if (!peer.dead) this.setReading(peer);
  }

  /** Notes that the reader of a body waits for a piece of it. */
  pullBody(peer: Peer): void {
    if (!peer.dead) this.loop.pull(peer);
  }

  /** Stops parsing a WebSocket until it is released. The engine takes back its messages whose events are pending. */
  hold(peer: Peer, why: Hold): void {
    if (peer.dead) return;
    const before = peer.isHeld;
    peer.held |= why;
    if (!before) this.loop.hold(peer);
    // The pass that parses it updates its reading at its end.
    if (this.loop.fed !== peer) this.setReading(peer);
  }

  /** Removes one reason to hold a WebSocket. After the last one it continues. */
  release(peer: Peer, why: Hold): void {
    if (peer.dead || (peer.held & why) === 0) return;
    peer.held &= ~why;
    if (peer.held !== 0) return;
    if (!peer.paused) this.loop.release(peer);
    this.loop.resumeLater(peer);
  }

  /** Holds a WebSocket while a message of it is being inflated. The engine takes back this message, too. */
  park(peer: Peer): void {
    peer.held |= Hold.Inflate;
    this.loop.putBack(peer);
    if (this.loop.fed !== peer) this.setReading(peer);
  }

  /** Continues a WebSocket after `park`. One that waits for a buffer continues when there is one. */
  unpark(peer: Peer): void {
    if (peer.dead || (peer.held & Hold.Inflate) === 0) return;
    if (!this.engine.isWaiting(peer.slot)) {
      this.release(peer, Hold.Inflate);
      return;
    }
    peer.held &= ~Hold.Inflate;
    if (!peer.isHeld) this.loop.release(peer);
  }

  /** Inflates the share of large messages that one turn may. */
  inflate(): void {
    this.messages.inflater.work();
  }

  /** Holds or releases every WebSocket of the main handler. */
  holdAll(why: Hold, held: boolean): void {
    for (const peer of this.loop.connections) {
      if (!peer.ws || peer.module !== 0) continue;
      if (held) this.hold(peer, why);
      else this.release(peer, why);
    }
  }

  pausePeer(peer: Peer, paused: boolean): void {
    if (peer.dead || peer.paused === paused) return;
    const before = peer.isHeld;
    peer.paused = paused;
    if (paused && !before) this.loop.hold(peer);
    // A pause has no end that is known, and the result of a message would have memory as long.
    if (paused) this.messages.inflater.drop(peer);
    if (!paused && peer.held === 0) {
      this.loop.release(peer);
      this.loop.resumeLater(peer);
    }
  }

  /** Continues a connection in the next turn, because few bytes may cause much work. */
  awaitTurn(peer: Peer): void {
    if (peer.ws) {
      this.hold(peer, Hold.Turn);
      this.later(() => this.release(peer, Hold.Turn));
    } else {
      this.loop.resumeLater(peer);
    }
    // The next read would only find the turn overdue, so the turn is run before it.
    this.#schedule.hurry();
  }

  written(peer: Peer): void {
    // mutant write-twice: for (let i = 2; i--; ) this.after(i, () => this.loop.done(peer));
    this.loop.done(peer);
    peer.pipe?.wrote();
  }

  peerEnded(peer: Peer): void {
    this.loop.handleEvents();
    this.loop.peerEnded(peer);
    this.loop.handleEvents();
    if (peer.response) {
      peer.response.clientEnded();
      this.#placement.peerEnded(peer);
    }
    if (peer.ws) this.loop.resumeLater(peer);
    peer.pipe?.endClient();
  }

  /** Ends a connection at once. */
  terminate(peer: Peer, reason: CloseReason): boolean {
    return !peer.dead && this.loop.terminate(peer, reason) === Outcome.Ok;
  }

  /** Fails a connection. A WebSocket is closed with the code of the reason, a response that has begun breaks off. */
  abandon(peer: Peer, reason: CloseReason): void {
    if (peer.dead) return;
    peer.closing = true;
    peer.unparsed = 0;
    this.loop.abandon(peer, reason);
  }

  // ---- the handler -------------------------------------------------------------------------------------

  /** Handles a failed upgrade. `close` releases the data that its WebSocket was given, as after any other end. */
  refused(peer: Peer, ws: WebSocketImpl, reason: CloseReason): void {
    const handler = this.handlerOf(peer);
    const { close } = handler;
    if (!close || this.messages.isRelay(peer)) return;
    const cause = reasonName(reason);
    const info = { code: 1006, reason: CLOSE_TABLE[cause].text, cause, lagBytes: 0 };
    this.later(() => this.guard("close", () => close.call(handler, ws, info)));
  }

  /** Runs user code. Errors that it throws are reported and counted. @returns its result */
  guard(where: string, fn: () => unknown): unknown {
    try {
      const result = fn();
      if (isThenable(result))
        whenSettled(result, undefined, (thrown: unknown) => this.fail(thrown, where));
      return result;
    } catch (thrown) {
      this.fail(thrown, where);
      return undefined;
    }
  }

  /** Reports and counts an error of user code. */
  fail(thrown: unknown, where: string): void {
    if (this.#trapped && this.engine.isTrap(thrown)) this.#trapped(thrown);
    this.handlerErrors++;
    this.#failed(toError(thrown), where);
  }

  /** Handles an accepted WebSocket. Its messages wait until `open` has run, which is after the request's handler. */
  opened(peer: Peer, ws: WebSocketImpl): void {
    peer.ws = ws;
    this.hold(peer, Hold.Open);
    this.later(() => this.#open(peer, ws));
  }

  #open(peer: Peer, ws: WebSocketImpl): void {
    if (peer.dead) return;
    const release = (): void => this.release(peer, Hold.Open);
    const failed = (thrown: unknown): void => {
      if (isNews(ws, thrown)) this.fail(thrown, "open");
      release();
      this.abandon(peer, CloseReason.HandlerError);
    };
    const settled = (): void => {
      if (peer.isStream) this.loop.settled(peer);
      release();
    };
    let result: unknown;
    try {
      // The application notes it where its `open` runs.
      if (peer.isStream && !this.messages.isRelay(peer)) this.loop.begin(peer);
      result = this.handlerOf(peer).open?.(ws);
    } catch (thrown) {
      failed(thrown);
      return;
    }
    if (isThenable(result)) whenSettled(result, settled, failed);
    else settled();
  }

  /** Notes that the end of a WebSocket waits until its messages have been handled. */
  endWaits(peer: Peer): void {
    this.#placement.endWaits(peer);
  }

  /** Reports the end of a WebSocket to inboxes. */
  ended(id: number): void {
    for (const inbox of this.#inboxes) inbox.ended(id);
  }

  /** Returns true when the request's bytes are the ones that are being parsed. */
  isFed(request: RequestImpl): boolean {
    return this.loop.fed?.response?.request === request;
  }

  /** Runs `fn`, a call of the handler, in this turn, once no events are being handled. */
  later(fn: () => void): void {
    this.#deferred.push(fn);
  }

  /** Makes the deferred calls of the handler. */
  runLater(): void {
    while (this.#deferred.length > 0) {
      const deferred = this.#deferred;
      this.#deferred = [];
      for (const fn of deferred) fn();
    }
  }

  /** Returns the connection with an id; undefined when the id is stale. */
  peer(id: number): Peer | undefined {
    return this.loop.find(id);
  }

  /** All connections that have not ended. */
  get connections(): Peer[] {
    return this.loop.connections;
  }

  // ---- the server as handlers see it -------------------------------------------------------------------

  broadcast(data: Data, options?: PublishOptions): boolean {
    return this.outgoing.broadcast(data, options);
  }

  publish(topic: string, data: Data, options?: PublishOptions): boolean {
    return this.outgoing.publish(topic, data, options, options?.except ?? 0);
  }

  stage(): Stage {
    return this.outgoing.stage();
  }

  /** Resolves after a pass, when some time has passed, because a refused publication waits for readers. */
  ready(): Promise<void> {
    if (this.#isStopped) return quiet(Promise.reject(serverEnded()));
    return quiet(
      new Promise((resolve, reject) => {
        const settle = (): void => {
          this.#publishers.delete(settle);
          if (this.#isStopped) reject(serverEnded());
          else resolve();
        };
        this.#publishers.add(settle);
        this.#clock.after(READY_MILLIS, settle);
      }),
    );
  }

  send(id: number, data: Data, options?: SendOptions): boolean {
    checkId(id);
    return this.outgoing.sendTo(this.peer(id), data, options);
  }

  subscribe(id: number, topic: string): boolean {
    checkId(id);
    return this.topics.subscribe(id, topic);
  }

  unsubscribe(id: number, topic: string): boolean {
    checkId(id);
    return this.topics.unsubscribe(id, topic);
  }

  subscriberCount(topic: string): number {
    return this.topics.subscriberCount(topic);
  }

  position(): string {
    return this.engine.position;
  }

  closeConnection(id: number, code = 1000, reason = ""): boolean {
    checkId(id);
    checkClose(code, reason);
    const peer = this.peer(id);
    if (!peer) return false;
    return peer.ws
      ? this.outgoing.close(peer, code, reason)
      : this.terminate(peer, CloseReason.Application);
  }

  each(fn: (ws: WebSocket) => void): void {
    for (const { ws } of this.loop.connections) {
      if (ws?.open) fn(ws);
    }
  }

  count(): number {
    return this.engine.get(Control.WebSocketCount);
  }

  body(data: Data, type: string): StaticBodyImpl {
    const payload = checkBody(data);
    const bytes = typeof payload === "string" ? toBytes(payload) : new Uint8Array(payload);
    return new StaticBodyImpl(this, bytes, type);
  }

  stats(): Stats {
    const { acceptErrors, shed } = this;
    const handlerErrors = this.handlerErrors + this.#placement.errors();
    const { messages, bytes } = this.messages.inflater;
    const linesDropped = this.#log?.dropped ?? 0;
    const inflating = { messages, bytes };
    const host = { handlerErrors, acceptErrors, shed, linesDropped, inflating };
    const stats = statsOf(this.engine, host);
    const { transport } = this;
    const pool = this.#placement.pool();
    return { ...stats, ...(transport ? { transport } : {}), ...(pool ? { pool } : {}) };
  }

  metrics(): string {
    return metricsText(this.stats(), this.horizon());
  }

  /**
   * Returns the time (s) that a client may be away at the latest rate of publishing; Infinity: nothing is published.
   */
  horizon(): number {
    const { engine } = this;
    const bytes = engine.get(Control.BytesPublished);
    return this.#horizon.seconds(this.#clock.now(), bytes, engine.get(Control.FramesPublished));
  }

  // ---- the turn --------------------------------------------------------------------------------------

  began(now: number): void {
    const { engine } = this;
    const bytes = engine.get(Control.BytesPublished);
    this.#horizon.note(now, bytes, engine.get(Control.FramesPublished));
  }

  drainInboxes(): boolean {
    const share = this.engine.param(Param.RingBytes) / 8 / this.#inboxes.length;
    let more = false;
    for (const inbox of this.#inboxes) more = inbox.drain(this, share) || more;
    return more;
  }

  turned(): void {
    this.#events.tellEvictions();
    this.#placement.turned();
  }

  ticked(): void {
    this.#measurer.look();
  }

  endTurn(more: boolean): void {
    for (const inbox of this.#inboxes) inbox.endTurn(more);
    if (this.#idleWaiters.length === 0 || !this.loop.isEmpty) return;
    const waiters = this.#idleWaiters;
    this.#idleWaiters = [];
    for (const resolve of waiters) resolve();
  }

  // ---- the end ---------------------------------------------------------------------------------------

  /** Ends all remaining connections, with a reset. */
  endAll(): void {
    this.farewell.stop();
    for (const peer of this.connections) this.terminate(peer, CloseReason.Shutdown);
    this.loop.handleEvents();
    this.runLater();
  }

  /** Resolves when no connection is left. */
  idle(): Promise<void> {
    if (this.loop.isEmpty) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idleWaiters.push(resolve);
    });
  }

  /** Stops the timers. The pump does nothing afterwards. */
  stop(): void {
    this.#isStopped = true;
    for (const settle of this.#publishers) settle();
    this.farewell.stop();
    this.messages.stop();
    this.#measurer.stop();
    this.#refusals.stop();
    this.#cancelWaits?.();
    this.#schedule.stop();
  }
}
