// The pump: read -> feed -> events -> handler -> flush. It owns the links and the handler; the engine owns
// the protocol. It knows no platform: sockets come through net.ts, time through a Clock.
//
// Invariants
//   Events are handled in one place, `handleEvents`, which is never entered twice; closes that must be
//   acted upon at once (a reader is evicted, its memory is about to be overwritten) are taken out of turn
//   by `actOnCloses`, and the handler hears of them later.
//   Between `flush` and the last write of its table nothing is published and no user code runs.
//   A peer's slot is freed after its link is closed, so nothing reads memory that is given away.

import {
  Arrival,
  CloseReason,
  Control,
  EVENT_BYTES,
  EVENT_EXTRA,
  EVENT_GENERATION,
  EVENT_KIND,
  EVENT_LENGTH,
  EVENT_POINTER,
  EVENT_SLOT,
  EVENT_VALUE,
  EventKind,
  NONE,
  Outcome,
  Param,
  ROW_BODY,
  ROW_BYTES,
  ROW_KIND,
  ROW_LAST,
  ROW_LENGTH,
  ROW_OFFSET,
  ROW_SLOT,
  ROW_STATE,
  RowKind,
  RowState,
  SLOT_LIMIT,
  Shut,
  Trait,
} from "../../assembly/abi";
import { type AddressSet, formatAddress } from "../../host/shared/text/address";
import { CLOSE_TABLE, EVICTIONS, checkClose, reasonName } from "../../host/shared/close";
import { checkId } from "../../host/shared/message/flags";
import type {
  CloseInfo,
  Data,
  Handler,
  HandlerServer,
  PoolStats,
  PublishOptions,
  SendOptions,
  Stage,
  Stats,
} from "../../host/handler";
import type { Eviction } from "../../host/options/types";
import { SECURE_TRAIT } from "../../host/shared/request/request";
import { checkBody } from "../../host/shared/request/response";
import { quiet, serverEnded } from "../../host/shared/ended";
import { isThenable, toError, whenSettled } from "../../host/shared/result";
import { copyBytes } from "../../host/shared/text/text";
import { Answers } from "../request/response";
import { type Engine, toBytes, utf8 } from "../engine/engine";
import { Farewell } from "./farewell";
import type { ForwardRules } from "../request/forwarded";
import { Horizon } from "./horizon";
import type { Inbox } from "../inbox/inbox-reader";
import { Messages } from "../socket/messages";
import { metricsText } from "./metrics";
import { Measurer } from "./measurer";
import type { Clock, Codec, Link, ReadQueues, Sink } from "../net/transport";
import { Outgoing } from "../socket/outgoing";
import { Hold, Peer } from "./peer";
import { type RequestImpl, StaticBodyImpl } from "../request/request";
import { Refusals } from "./refusals";
import { type RequestRules, Requests } from "../request/dispatch";
import type { WebSocketImpl } from "../socket/socket";
import { statsOf } from "../engine/stats";
import { Topics } from "../socket/topics";

/**
 * The part of a pass's time for which what is published afterwards waits. A pass takes the longer the more
 * clients there are, however little each gets; under saturation, and only then, the messages of several turns
 * share a pass that way.
 */
const PASS_SPACING = 1 / 8;
/** ms: what a few writes take. */
const SPACING_MIN_MILLIS = 0.05;
/** ms: for less the loop is gone round, a timer would be late. */
const TIMER_MIN_MILLIS = 2;
/** ms that a turn may be due: a loop that has much to read comes round late, then a turn comes between two reads. */
const TURN_MILLIS = 5;
/** ms without a turn behind which no deadline passes until the loop has looked at its sockets. */
const STILL_MILLIS = 100;
/** ms that what a connection sent may take in a loop that is late: there may be many of them. */
const LATE_MILLIS = 0.25;
/** Of so many requests of a connection one looks at the clock, less one: a small answer costs little more than that. */
const ROUNDS_MASK = 3;
/** Bytes of a read by which a connection has taken its share of a loop that is late. */
const SHARE_BYTES = 4096;
/** ms after which it is worth trying again to publish what was refused. */
const READY_MILLIS = 1;
export interface PumpOptions extends RequestRules {
  readonly engine: Engine;
  readonly clock: Clock;
  readonly flushInterval?: number;
  /** As the transport's. */
  readonly queues?: ReadQueues | undefined;
  /** Who connects, and begins with a PROXY header; undefined: nobody does. */
  readonly proxies?: AddressSet | undefined;
  /** Subprotocols to choose from. */
  readonly protocols?: readonly string[];
  /** Value of the Server field; "" for none. */
  readonly serverHeader?: string;
  /** The links are TLS. */
  readonly secure?: boolean;
  /** Compression, where it is switched on and the platform has it. */
  readonly codec?: Codec | undefined;
  /** The next message of a connection waits until the handler of the one before has settled. Default: true. */
  readonly ordered?: boolean;
  /** Told of evicted clients, once a turn. */
  readonly evicted?: (evictions: Eviction[]) => void;
  /** Told of a trap of the engine that came up within user code: whoever it is ends the pump. */
  readonly trapped?: (trap: Error) => void;
}

export class Pump implements HandlerServer {
  static readonly name = "Server";
  readonly engine: Engine;
  readonly answers: Answers;
  readonly requests: Requests;
  readonly messages: Messages;
  readonly outgoing: Outgoing;
  readonly topics: Topics;
  readonly farewell: Farewell;
  readonly #clock: Clock;
  /** ms between flush passes, 0: each turn has one. */
  flushInterval: number;
  readonly #forwarding: ForwardRules | undefined;
  readonly #proxies: AddressSet | undefined;
  readonly #horizon: Horizon;
  readonly #measurer: Measurer;
  readonly #refusals: Refusals;
  #turned: (() => void) | undefined;
  readonly #failed: (error: Error, where: string) => void;
  readonly #evicted: ((evictions: Eviction[]) => void) | undefined;
  readonly #trapped: ((trap: Error) => void) | undefined;
  handler: Handler = {};
  /**
   * Calls of the transport's or the clock's that are running. An error that leaves one does not count it down: then it
   * stays above zero, which tells an error within the pump from one of a handler's timer.
   */
  depth = 0;
  readonly #peers: (Peer | undefined)[] = [];
  #inboxes: readonly Inbox[] = [];
  #scheduled = false;
  #handling = false;
  /** The peer whose bytes are being parsed. */
  fed: Peer | undefined;
  #eventAt = 0;
  /** Rows are being written: nothing may be published. */
  isFlushing = false;
  /** The last pass that handed over what was published: when it began, and until when the next one waits. */
  #passBegan = Number.NEGATIVE_INFINITY;
  #spacedUntil = Number.NEGATIVE_INFINITY;
  #cancelFlush: (() => void) | undefined;
  #cancelTick: (() => void) | undefined;
  /** When it was last looked at the time for deadlines, and turns that are to come before they pass. */
  #tickedAt = Number.NEGATIVE_INFINITY;
  #turnsToTick = 0;
  #tickAt = Number.POSITIVE_INFINITY;
  /** Since when a turn is due; since when the loop has been about what comes before it. */
  #dueSince = 0;
  #loopSince = 0;
  /** Those that are not read until it is their turn. */
  #yielding: Peer[] = [];
  /** When the Date of answers has to be looked up again. */
  #dateUntil = Number.NEGATIVE_INFINITY;
  /** What the handler is still to be told of. */
  #deferred: (() => void)[] = [];
  #resumes: Peer[] = [];
  #evictions: Eviction[] = [];
  #idleWaiters: (() => void)[] = [];
  /** Those that wait to publish again, and what ends their wait. */
  readonly #publishers = new Set<() => void>();
  #isStopped = false;
  handlerErrors = 0;
  /** Requests answered 503 because there was no room for them. */
  shed = 0;
  /** Errors of a handler on the application's thread. */
  applicationErrors: () => number = () => 0;
  /** Statistics of the pool, where there is one. */
  pool: (() => PoolStats) | undefined;
  acceptErrors = 0;
  /** Told of a client that ended its side while its request is out. */
  onPeerEnded: ((peer: Peer) => void) | undefined;

  constructor(options: PumpOptions) {
    this.engine = options.engine;
    this.#clock = options.clock;
    this.flushInterval = options.flushInterval ?? 0;
    this.#forwarding = options.forwarding;
    this.#proxies = options.proxies;
    const { params } = options.engine;
    this.#horizon = new Horizon(
      params[Param.RingBytes] as number,
      params[Param.QueuedFrames] as number,
    );
    this.#refusals = new Refusals(options.clock);
    this.#measurer = new Measurer(this, options.clock, options.queues);
    this.answers = new Answers(this, options.codec, options.protocols ?? []);
    this.requests = new Requests(this, options);
    this.messages = new Messages(this, options.codec, options.ordered ?? true);
    this.outgoing = new Outgoing(this, options.codec);
    this.farewell = new Farewell(this, options.clock);
    this.#failed = options.failed ?? (() => undefined);
    this.topics = new Topics(this, this.#failed);
    this.#evicted = options.evicted;
    this.#trapped = options.trapped;
    this.engine.setServer(options.serverHeader ?? "");
    this.engine.hostTraits = options.secure ? SECURE_TRAIT : 0;
  }

  /** @param turned called at the end of each turn */
  setHandler(handler: Handler, turned?: () => void): void {
    this.handler = handler;
    this.#turned = turned;
    this.engine.x.streams(handler.streams ? 1 : 0);
  }

  /** The subprotocol that the handler chooses; undefined when it does not. */
  chooseProtocol(request: RequestImpl): string | undefined {
    return this.handler.protocol?.(request);
  }

  /** A handler that passes messages on as bytes. */
  setRelay(handler: Handler, turned: () => void): void {
    this.setHandler(handler, turned);
    this.messages.passOn();
  }

  addInbox(inbox: Inbox): void {
    this.#inboxes = [...this.#inboxes, inbox];
    this.schedule();
  }

  removeInbox(inbox: Inbox): void {
    // Another list: this one may be gone through.
    this.#inboxes = this.#inboxes.filter((one) => one !== inbox);
  }

  /** Monotonic ms. */
  now(): number {
    return this.#clock.now();
  }

  /** Runs `fn` in `ms` by the pump's clock; returns what cancels it. */
  after(ms: number, fn: () => void): () => void {
    return this.#clock.after(ms, fn);
  }

  /**
   * The clock, for the engine: before each call that depends on time. While events are handled it stands still:
   * whoever is behind can get no further in that time, and looking at it costs as much as a small answer.
   */
  time(): void {
    if (this.#handling) return;
    const now = this.#clock.now();
    this.engine.set(Control.Now, now);
    if (now >= this.#dateUntil) this.#setDate(now);
  }

  /** The Date of answers, until the second is over. */
  #setDate(now: number): void {
    const date = this.#clock.date();
    this.engine.set(Control.Date, Math.floor(date / 1000));
    this.#dateUntil = now + 1000 - (date % 1000);
  }

  // ---- accepting and reading -------------------------------------------------------------------------

  accept = (link: Link): Sink | undefined => {
    this.depth++;
    const sink = this.#accept(link);
    this.depth--;
    return sink;
  };

  #accept(link: Link): Sink | undefined {
    const { engine } = this;
    if (this.farewell.isClosed) {
      link.destroy();
      return undefined;
    }
    this.time();
    const proxies = this.#proxies;
    if (proxies && !proxies.has(link.remoteAddress)) {
      engine.x.decline(CloseReason.ProxyRefused);
      link.reset();
      return undefined;
    }
    // Connections of a trusted proxy are many clients': each WebSocket is counted under its own.
    const forwards = this.isForwarder(link.remoteAddress);
    const address = forwards || proxies ? "" : link.remoteAddress;
    const flags = (proxies ? Arrival.Proxied : 0) | (link.secure ? Arrival.Unsecured : 0);
    let slot = engine.accept(address, flags);
    if (slot === NONE && engine.get(Control.Result) === 0) {
      // One was ended to make room.
      this.actOnCloses();
      slot = engine.accept(address, flags);
    }
    if (slot === NONE) {
      if (engine.get(Control.Result) === CloseReason.NoRoom) return this.#refusals.take(link);
      link.reset();
      return undefined;
    }
    const peer = new Peer(this, link, slot, engine.get(Control.Generation));
    peer.forwards = forwards;
    peer.isProxied = proxies !== undefined;
    peer.isUnsecured = link.secure !== undefined;
    this.#peers[slot] = peer;
    this.#tellConnect(peer);
    this.schedule();
    return peer;
  }

  isForwarder(address: string): boolean {
    return this.#forwarding?.trusted.has(address) ?? false;
  }

  /** Tells the handler of a connection, once it is known whose it is. */
  #tellConnect(peer: Peer): void {
    if (peer.isProxied || peer.isUnsecured) return;
    peer.isTold = true;
    if (this.handler.connect) this.guard("connect", () => this.handler.connect?.(peer));
  }

  /** A PROXY header has come. @param length of the client's address in memory; 0: it names none */
  #handleProxied(peer: Peer, pointer: number, length: number): void {
    peer.isProxied = false;
    if (length > 0) {
      const address = formatAddress(this.engine.u8, pointer);
      peer.peerAddress = address;
      peer.remoteAddress = address;
      peer.forwards = this.isForwarder(address);
      const { slot, generation } = peer;
      if (!peer.forwards && this.engine.setAddress(slot, generation, address) !== Outcome.Ok)
        return;
    }
    this.#tellConnect(peer);
  }

  /** TLS is established. */
  secured(peer: Peer): void {
    peer.isUnsecured = false;
    this.engine.x.secured(peer.slot, peer.generation);
    this.#tellConnect(peer);
  }

  /** Bytes before TLS: those of the PROXY header; what is behind them is TLS's. */
  #readHeader(peer: Peer, n: number, consumed: number): void {
    this.handleEvents();
    if (peer.dead) return;
    const { u8, window } = this.engine;
    if (!peer.isProxied) peer.link.secure?.(copyBytes(u8, window + consumed, n - consumed));
    // Without a buffer for its header it goes.
    else if (consumed < n) this.abandon(peer, CloseReason.NoBuffer);
  }

  read(peer: Peer, n: number): void {
    const { x } = this.engine;
    // Events of others come first: those of this connection are handled one after the other, nothing in between.
    if (this.engine.get(Control.EventCount) > 0) this.handleEvents();
    this.time();
    const consumed = x.feed(peer.slot, peer.generation, n);
    if (peer.isUnsecured) this.#readHeader(peer, n, consumed);
    else this.#progress(peer, n, n - consumed);
    this.schedule();
    if (this.#isOverdue()) this.#catchUp(peer, n);
  }

  /**
   * A turn is overdue: it comes now. Who has taken much of the time is read again when it is its turn, one after
   * the other, each time the loop has come round: else each of many would be read for as long as it sends, before
   * anybody else is.
   */
  #catchUp(peer: Peer, n: number): void {
    if (n >= SHARE_BYTES && !peer.dead && !peer.yields) {
      peer.yields = true;
      this.#yielding.push(peer);
      this.setReading(peer);
    }
    this.#goRound("between reads");
  }

  /** The loop has come round: the next of those that wait for it is read. */
  #readNext(): void {
    const peer = this.#yielding.shift();
    if (peer) {
      peer.yields = false;
      this.setReading(peer);
    }
    if (this.#yielding.length > 0) this.schedule();
  }

  /**
   * Handles the events of a feed or a resume, and goes on until nothing more can be parsed.
   * @param fed bytes in the window, 0 when a connection that was held goes on
   * @param left those of them that were not consumed
   */
  #progress(peer: Peer, fed: number, left: number): void {
    const { engine } = this;
    const { x } = engine;
    this.fed = peer;
    this.handleEvents();
    let rest = left;
    if (
      !peer.dead &&
      !engine.isWaiting(peer.slot) &&
      (left > 0 || fed === 0 || engine.isMessageOut(peer.slot))
    ) {
      const began = engine.get(Control.Now);
      const isLate = fed > 0 && this.#scheduled && began - this.#loopSince > TURN_MILLIS;
      const until = began + (isLate ? LATE_MILLIS : TURN_MILLIS);
      let rounds = 0;
      let before = -1;
      do {
        // What it sent may be little to read, and much to do: the others come in between. Messages come by the hundred.
        const isLook = peer.ws !== undefined || (++rounds & ROUNDS_MASK) === 0;
        if (isLook && !peer.isHeld && this.#clock.now() > until) {
          this.awaitTurn(peer);
          break;
        }
        before = rest;
        rest = x.resume(peer.slot, peer.generation);
        this.handleEvents();
        // A message may have gone out without a byte being taken, an empty last fragment, or have been taken back.
      } while (
        !peer.dead &&
        !engine.isWaiting(peer.slot) &&
        (rest !== before || engine.isMessageOut(peer.slot))
      );
    }
    const isKept = !peer.dead && !engine.isWaiting(peer.slot);
    if (isKept && (rest > 0 || peer.response !== undefined || peer.isHeld)) {
      // mutant http-keep: if (peer.ws && x.retain(peer.slot, peer.generation) === 0) this.handleEvents();
      if (x.retain(peer.slot, peer.generation) === 0) this.handleEvents();
    }
    if (!peer.dead && engine.isWaiting(peer.slot)) {
      // Not consumed because no buffer is free: kept here, since the window is for the next connection.
      const at = engine.window + fed - rest;
      if (rest > 0) peer.rest = copyBytes(engine.u8, at, rest);
    }
    this.fed = undefined;
    peer.unparsed = peer.dead ? 0 : rest;
    this.setReading(peer);
  }

  /** Reads a connection, or stops, as its state says. */
  setReading(peer: Peer): void {
    // While a request is out, its answers are not read, or a WebSocket is held, reading goes on for one window, so
    // that a disconnect is seen. No more than that, and what the last read brings beyond it, is taken in.
    const kept =
      peer.unparsed >= this.engine.windowBytes ||
      (peer.held & Hold.Turn) !== 0 ||
      peer.yields ||
      peer.rest !== undefined ||
      peer.upload?.full === true ||
      this.engine.isDeaf(peer.slot);
    const wanted = !peer.dead && !kept;
    if (wanted === peer.reading) return;
    peer.reading = wanted;
    if (wanted) peer.link.resume();
    else peer.link.pause();
  }

  /** The reader of a body has taken a piece of it. */
  readOn(peer: Peer): void {
    if (!peer.dead) this.setReading(peer);
  }

  /** The reader of a body waits for a piece of it. */
  pullBody(peer: Peer): void {
    if (peer.dead) return;
    this.time();
    this.engine.x.pull(peer.slot, peer.generation);
    this.schedule();
  }

  /** Keeps a WebSocket from being parsed until it is released. Its messages whose events wait are taken back. */
  hold(peer: Peer, why: Hold): void {
    if (peer.dead) return;
    const before = peer.isHeld;
    peer.held |= why;
    if (!before) this.#holdNow(peer);
    // The pass that parses it sees to its reading at its end.
    if (this.fed !== peer) this.setReading(peer);
  }

  #holdNow(peer: Peer): void {
    const from = this.#handling ? this.#eventAt + 1 : NONE;
    this.engine.x.hold(peer.slot, peer.generation, 1, from);
  }

  /** One reason to hold a WebSocket is over; after the last it goes on. */
  release(peer: Peer, why: Hold): void {
    if (peer.dead || (peer.held & why) === 0) return;
    peer.held &= ~why;
    if (peer.held !== 0) return;
    if (!peer.paused) this.engine.x.hold(peer.slot, peer.generation, 0, NONE);
    this.resumeLater(peer);
  }

  /** Holds or releases every WebSocket. */
  holdAll(why: Hold, held: boolean): void {
    for (const peer of this.#peers) {
      if (!peer?.ws) continue;
      if (held) this.hold(peer, why);
      else this.release(peer, why);
    }
  }

  /** Goes on with a connection that was held: at the end of this turn, so that no handler is entered from another. */
  resumeLater(peer: Peer): void {
    this.#resumes.push(peer);
    this.schedule();
  }

  /** Goes on with a connection in the next turn: one that has little to read may have much to be done. */
  awaitTurn(peer: Peer): void {
    if (peer.ws) {
      this.hold(peer, Hold.Turn);
      this.later(() => this.release(peer, Hold.Turn));
    } else {
      this.resumeLater(peer);
    }
    this.schedule();
    // The time that it took the next read would see: the turn comes before that.
    this.#dueSince = Number.NEGATIVE_INFINITY;
  }

  /** Goes on with those that were held; in the next turn with who is left when this one has taken long. */
  #resumeAll(): void {
    const resumes = this.#resumes;
    this.#resumes = [];
    let done = 0;
    while (done < resumes.length && !(done > 0 && this.#isOverdue())) {
      this.#resumeNow(resumes[done++] as Peer);
      this.time();
    }
    this.#resumes.unshift(...resumes.slice(done));
  }

  /** True when this turn, or the next, is later than it may be. */
  #isOverdue(): boolean {
    return this.engine.get(Control.Now) - this.#dueSince > TURN_MILLIS;
  }

  #resumeNow(peer: Peer): void {
    if (this.engine.get(Control.EventCount) > 0) this.handleEvents();
    if (peer.dead) return;
    this.time();
    const { rest } = peer;
    peer.rest = undefined;
    if (rest) {
      this.engine.u8.set(rest, this.engine.window);
      const consumed = this.engine.x.feed(peer.slot, peer.generation, rest.length);
      this.#progress(peer, rest.length, rest.length - consumed);
    } else {
      this.#progress(peer, 0, 0);
    }
    this.setReading(peer);
  }

  written(peer: Peer): void {
    this.time();
    // mutant write-twice: for (let i = 2; i--; ) this.after(i, () => this.engine.x.done(peer.slot, peer.generation));
    this.engine.x.done(peer.slot, peer.generation);
    this.schedule();
  }

  peerEnded(peer: Peer): void {
    this.handleEvents();
    this.time();
    this.engine.x.peerEnded(peer.slot, peer.generation);
    this.handleEvents();
    if (peer.response) {
      peer.response.clientEnded();
      this.onPeerEnded?.(peer);
    }
    if (peer.ws) this.resumeLater(peer);
    this.schedule();
  }

  terminate(peer: Peer, reason: CloseReason): boolean {
    if (peer.dead) return false;
    this.time();
    const ended = this.engine.x.terminate(peer.slot, peer.generation, reason) === Outcome.Ok;
    this.actOnCloses();
    this.schedule();
    return ended;
  }

  // ---- events ----------------------------------------------------------------------------------------

  #peerOf(at: number): Peer | undefined {
    const { u32 } = this.engine;
    const peer = this.#peers[u32[at + (EVENT_SLOT >>> 2)] as number];
    return peer && peer.generation === u32[at + (EVENT_GENERATION >>> 2)] ? peer : undefined;
  }

  /** Handles the events in the table, those that come while it does included. */
  handleEvents(): void {
    if (this.#handling) return;
    const { engine } = this;
    if (engine.get(Control.EventCount) === 0) return;
    this.#handling = true;
    for (this.#eventAt = 0; this.#eventAt < engine.get(Control.EventCount); this.#eventAt++) {
      this.#handle(engine.events + this.#eventAt * (EVENT_BYTES >>> 2));
    }
    engine.set(Control.EventCount, 0);
    this.#eventAt = 0;
    this.#handling = false;
  }

  /** Acts on the closes in the table at once; the handler is told later. */
  actOnCloses(): void {
    const { engine } = this;
    const count = engine.get(Control.EventCount);
    for (let i = this.#eventAt; i < count; i++) {
      const at = engine.events + i * (EVENT_BYTES >>> 2);
      if (engine.u32[at + (EVENT_KIND >>> 2)] !== EventKind.Closed) continue;
      this.#handleClosed(at);
      engine.u32[at + (EVENT_KIND >>> 2)] = 0;
    }
    this.schedule();
  }

  #handle(at: number): void {
    const { u32, i32 } = this.engine;
    const kind = u32[at + (EVENT_KIND >>> 2)] as EventKind;
    if (kind === EventKind.Closed) {
      this.#handleClosed(at);
      return;
    }
    const peer = this.#peerOf(at);
    if (!peer) return;
    const pointer = u32[at + (EVENT_POINTER >>> 2)] as number;
    const length = u32[at + (EVENT_LENGTH >>> 2)] as number;
    const value = i32[at + (EVENT_VALUE >>> 2)] as number;
    switch (kind) {
      case EventKind.Request:
        if (value & Trait.BodyToCome) this.requests.askForBody(peer);
        else this.requests.ask(peer);
        break;
      case EventKind.BodyChunk:
        peer.upload?.push(copyBytes(this.engine.u8, pointer, length));
        break;
      case EventKind.BodyEnd:
        this.requests.endBody(peer, value);
        break;
      case EventKind.Message:
        this.messages.take(peer, pointer, length, value);
        break;
      case EventKind.Fragment:
        this.messages.takeFragment(peer, copyBytes(this.engine.u8, pointer, length), {
          first: (value & 0x100) !== 0,
          last: (value & 0x200) !== 0,
          isBinary: (value & 15) === 2,
          remaining: u32[at + (EVENT_EXTRA >>> 2)] as number,
        });
        break;
      case EventKind.Inflate:
        this.messages.takePacked(peer, pointer, length, value);
        break;
      case EventKind.Ping:
      case EventKind.Pong:
        this.messages.takeControl(peer, kind, pointer, length);
        break;
      case EventKind.PeerClose:
        peer.closing = true;
        peer.closeText = utf8(this.engine.u8, pointer, length);
        break;
      case EventKind.Drain:
        this.#handleDrain(peer, value);
        break;
      case EventKind.Proxied:
        this.#handleProxied(peer, pointer, length);
        break;
      case EventKind.EndWaits:
        this.messages.awaitAnswers(peer);
        break;
      case EventKind.End:
        peer.closing = true;
        peer.unparsed = 0;
        peer.link.end();
        // What found no buffer is dropped, and what comes is read: so that its end is seen.
        if (peer.rest) this.resumeLater(peer);
        this.setReading(peer);
        break;
      default:
        break;
    }
  }

  #handleClosed(at: number): void {
    const { u32, i32 } = this.engine;
    const peer = this.#peerOf(at);
    if (!peer) return;
    const reason = i32[at + (EVENT_VALUE >>> 2)] as number;
    const lagBytes = u32[at + (EVENT_POINTER >>> 2)] as number;
    const code = u32[at + (EVENT_EXTRA >>> 2)] as number;
    peer.dead = true;
    this.#peers[peer.slot] = undefined;
    if (u32[at + (EVENT_LENGTH >>> 2)] === Shut.Reset) peer.link.reset();
    else peer.link.destroy();
    const response = peer.response;
    peer.response = undefined;
    response?.request.detach();
    this.requests.leaveBody(peer, reason);
    response?.lose();
    peer.bodies = undefined;
    peer.rest = undefined;
    this.engine.x.free(peer.slot, peer.generation);
    if (peer.ws) for (const inbox of this.#inboxes) inbox.ended(peer.id);
    this.#tellClosed(peer, reason, lagBytes, code);
    if (peer.ws || this.#idleWaiters.length > 0) this.schedule();
  }

  #tellClosed(peer: Peer, reason: number, lagBytes: number, code: number): void {
    const cause = reasonName(reason);
    if (EVICTIONS.has(cause) && this.#evicted) {
      const { id, remoteAddress } = peer;
      const age = this.engine.get(Control.Now) - peer.since;
      this.#evictions.push({ id, remoteAddress, cause, lagBytes, age });
    }
    const { close, disconnect } = this.handler;
    const ws = peer.ws;
    peer.closing = true;
    const row = CLOSE_TABLE[cause];
    const info: CloseInfo = {
      code: ws ? code : row.status,
      reason: peer.closeText || row.text,
      cause,
      lagBytes,
    };
    if (ws) {
      // After the message that is being handled.
      const tell = (): void => void this.guard("close", () => close?.call(this.handler, ws, info));
      if (close && !this.messages.awaitEnd(peer, tell)) this.later(tell);
    }
    if (!ws && disconnect && peer.isTold) {
      this.later(() => this.guard("disconnect", () => disconnect.call(this.handler, peer, info)));
    }
    peer.ws = ws;
  }

  /** An upgrade failed: `close` lets go of what its WebSocket was given, as after any other end. */
  refused(ws: WebSocketImpl, reason: CloseReason): void {
    const { close } = this.handler;
    if (!close || this.messages.isRelay) return;
    const cause = reasonName(reason);
    const info = { code: 1006, reason: CLOSE_TABLE[cause].text, cause, lagBytes: 0 };
    this.later(() => this.guard("close", () => close.call(this.handler, ws, info)));
  }

  /** Runs user code; what it throws is reported and counted. @returns what it returned */
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

  /** Reports and counts what user code threw. */
  fail(thrown: unknown, where: string): void {
    if (this.#trapped && this.engine.isTrap(thrown)) this.#trapped(thrown);
    this.handlerErrors++;
    this.#failed(toError(thrown), where);
  }

  // ---- requests --------------------------------------------------------------------------------------

  /** True when the request's bytes are the ones that are being parsed. */
  isFed(request: RequestImpl): boolean {
    return this.fed?.response?.request === request;
  }

  /** A connection has another slot now. */
  move(peer: Peer, slot: number, generation: number): void {
    this.#peers[peer.slot] = undefined;
    peer.slot = slot;
    peer.generation = generation;
    this.#peers[slot] = peer;
  }

  /** A WebSocket has been accepted: its messages wait until `open` has run, which is after the request's handler. */
  opened(peer: Peer, ws: WebSocketImpl): void {
    peer.ws = ws;
    this.hold(peer, Hold.Open);
    this.later(() => this.#open(peer, ws));
    this.schedule();
  }

  #open(peer: Peer, ws: WebSocketImpl): void {
    if (peer.dead) return;
    const release = (): void => this.release(peer, Hold.Open);
    const failed = (thrown: unknown): void => {
      this.fail(thrown, "open");
      release();
      this.abandon(peer, CloseReason.HandlerError);
    };
    let result: unknown;
    try {
      result = this.handler.open?.(ws);
    } catch (thrown) {
      failed(thrown);
      return;
    }
    if (isThenable(result)) whenSettled(result, release, failed);
    else release();
  }

  /** Fails a connection: a WebSocket is closed with the code of the reason, an answer that has begun breaks off. */
  abandon(peer: Peer, reason: CloseReason): void {
    if (peer.dead) return;
    peer.closing = true;
    peer.unparsed = 0;
    this.time();
    this.engine.x.abandon(peer.slot, peer.generation, reason);
    // There may have been no room for the Close.
    this.actOnCloses();
  }

  // ---- WebSockets ------------------------------------------------------------------------------------

  #handleDrain(peer: Peer, value: number): void {
    const ws = peer.ws;
    peer.response?.wake();
    if (value === 1 || !ws) {
      this.resumeLater(peer);
      return;
    }
    const { drain } = this.handler;
    if (drain) this.guard("drain", () => drain.call(this.handler, ws));
  }

  pausePeer(peer: Peer, paused: boolean): void {
    if (peer.dead || peer.paused === paused) return;
    const before = peer.isHeld;
    peer.paused = paused;
    if (paused && !before) this.#holdNow(peer);
    if (!paused && peer.held === 0) {
      this.engine.x.hold(peer.slot, peer.generation, 0, NONE);
      this.resumeLater(peer);
    }
  }

  /** The connection in a slot. */
  peerAt(slot: number): Peer | undefined {
    return this.#peers[slot];
  }

  /** The connection of an id; undefined when it is stale. */
  peer(id: number): Peer | undefined {
    const peer = this.#peers[id % SLOT_LIMIT];
    // mutant stale-peer: return peer;
    return peer && peer.id === id ? peer : undefined;
  }

  /** Those that have not ended. */
  get connections(): Peer[] {
    return this.#peers.filter((peer) => peer !== undefined);
  }

  // ---- what a handler sees of the server ---------------------------------------------------------------

  broadcast(data: Data, options?: PublishOptions): boolean {
    return this.outgoing.broadcast(data, options);
  }

  publish(topic: string, data: Data, options?: PublishOptions): boolean {
    return this.outgoing.publish(topic, data, options, options?.except ?? 0);
  }

  stage(): Stage {
    return this.outgoing.stage();
  }

  /** Resolves behind a pass, when time has gone on: what is refused waits for readers. */
  ready(): Promise<void> {
    if (this.#isStopped) return quiet(Promise.reject(serverEnded()));
    this.schedule();
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

  closeConnection(id: number, code = 1000, reason = ""): boolean {
    checkId(id);
    checkClose(code, reason);
    const peer = this.peer(id);
    if (!peer) return false;
    return peer.ws
      ? this.outgoing.close(peer, code, reason)
      : this.terminate(peer, CloseReason.Application);
  }

  each(fn: (ws: WebSocketImpl) => void): void {
    for (const peer of this.#peers) {
      if (peer?.ws?.open) fn(peer.ws);
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
    const handlerErrors = this.handlerErrors + this.applicationErrors();
    const stats = statsOf(this.engine, { handlerErrors, acceptErrors, shed });
    return this.pool ? { ...stats, pool: this.pool() } : stats;
  }

  metrics(): string {
    return metricsText(this.stats(), this.horizon());
  }

  /** Seconds that a client may be away, as publishing has been last; Infinity: nothing is published. */
  horizon(): number {
    const { engine } = this;
    const bytes = engine.get(Control.BytesPublished);
    return this.#horizon.seconds(this.#clock.now(), bytes, engine.get(Control.FramesPublished));
  }

  // ---- the turn --------------------------------------------------------------------------------------

  /** Sees to it that a turn comes. */
  schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#dueSince = this.#clock.now();
    this.#loopSince = this.#dueSince;
    this.#clock.defer(this.#turn);
  }

  readonly #turn = (): void => {
    this.depth++;
    this.#scheduled = false;
    // However long turns take: then it has.
    if (this.#turnsToTick > 0 && --this.#turnsToTick === 0)
      this.#tickedAt = Number.POSITIVE_INFINITY;
    this.#goRound("in turn");
    if (this.#yielding.length > 0) this.#readNext();
    this.depth--;
  };

  /** What a turn has to do; between reads those that were held wait for one of their own. */
  #goRound(when: "in turn" | "between reads"): void {
    this.time();
    this.#dueSince = this.engine.get(Control.Now);
    this.#horizon.note(
      this.#dueSince,
      this.engine.get(Control.BytesPublished),
      this.engine.get(Control.FramesPublished),
    );
    this.runLater();
    let more = this.#drainInboxes();
    if (when === "in turn" && this.#resumes.length > 0) {
      this.#resumeAll();
      // What was published meanwhile is not to wait for as long again.
      if (this.#isOverdue()) more = this.#drainInboxes();
    }
    this.#tick();
    this.handleEvents();
    this.#flushWhenDue();
    this.handleEvents();
    this.runLater();
    if (this.#evictions.length > 0) {
      const evictions = this.#evictions;
      this.#evictions = [];
      this.#evicted?.(evictions);
    }
    this.#turned?.();
    this.#arm();
    for (const inbox of this.#inboxes) inbox.rest(more);
    if (more || this.#resumes.length > 0) this.schedule();
    if (this.#idleWaiters.length > 0 && this.#isIdle()) {
      const waiters = this.#idleWaiters;
      this.#idleWaiters = [];
      for (const resolve of waiters) resolve();
    }
  }

  /**
   * Lets deadlines pass. Where user code, or the machine, held the loop up, not yet: what clients have sent meanwhile
   * is in the kernel, and is read between this turn and the next.
   * @returns ms to the next deadline; −1: there is none
   */
  #tick(): number {
    const { engine } = this;
    const now = engine.get(Control.Now);
    if (now - this.#tickedAt > STILL_MILLIS) this.#turnsToTick = 2;
    this.#tickedAt = now;
    if (this.#turnsToTick === 0) return engine.x.tick();
    this.schedule();
    return -1;
  }

  /** @returns true when there is more */
  #drainInboxes(): boolean {
    const share = (this.engine.params[Param.RingBytes] as number) / 8 / this.#inboxes.length;
    let more = false;
    for (const inbox of this.#inboxes) more = inbox.drain(this, share) || more;
    return more;
  }

  /** Runs `fn` in this turn, once no events are being handled: it tells the handler of something. */
  later(fn: () => void): void {
    this.#deferred.push(fn);
  }

  /** Tells the handler what is still to be told. */
  runLater(): void {
    while (this.#deferred.length > 0) {
      const deferred = this.#deferred;
      this.#deferred = [];
      for (const fn of deferred) fn();
    }
  }

  /** What was published waits until the pass before is far enough back; answers do not. */
  #flushWhenDue(): void {
    const due = Math.max(this.#passBegan + this.flushInterval, this.#spacedUntil);
    const wait = due - this.#clock.now();
    this.flush(wait > 0);
    if (this.engine.get(Control.Withheld) === 0) return;
    if (due === this.#spacedUntil && wait < TIMER_MIN_MILLIS) {
      this.schedule();
      return;
    }
    this.#cancelFlush ??= this.#clock.after(wait, () => {
      this.#cancelFlush = undefined;
      this.schedule();
    });
  }

  /**
   * Hands over what is due: until the engine has no more rows.
   * @param withhold what was published may wait for the next pass
   */
  flush(withhold = false): void {
    const { engine } = this;
    const { x, u32, rows } = engine;
    const wanted = withhold ? 1 : 0;
    const began = this.#clock.now();
    let handed = 0;
    this.isFlushing = true;
    for (let count = x.flush(wanted); count > 0; count = x.flush(wanted)) {
      handed += count;
      for (let i = 0; i < count; i++) {
        const at = rows + i * (ROW_BYTES >>> 2);
        const peer = this.#peers[u32[at + (ROW_SLOT >>> 2)] as number];
        if (!peer) continue;
        const offset = u32[at + (ROW_OFFSET >>> 2)] as number;
        const length = u32[at + (ROW_LENGTH >>> 2)] as number;
        let bytes: Uint8Array;
        if (u32[at + (ROW_KIND >>> 2)] === RowKind.Static) {
          const number = u32[at + (ROW_BODY >>> 2)] as number;
          bytes = (peer.bodies?.get(number) as Uint8Array).subarray(offset, offset + length);
          // What is written keeps it from now on.
          if (u32[at + (ROW_LAST >>> 2)] === 1) peer.bodies?.delete(number);
        } else {
          // mutant row-other: bytes = engine.view(u32[rows + (ROW_OFFSET >>> 2)] as number, length);
          bytes = engine.view(offset, length);
        }
        // mutant write-early: u32[at + (ROW_STATE >>> 2)] = peer.link.write(bytes) || bytes.length > 300 ? 1 : 0;
        if (peer.link.write(bytes)) u32[at + (ROW_STATE >>> 2)] = RowState.Complete;
      }
    }
    this.isFlushing = false;
    if (handed > 0 && engine.get(Control.Withheld) === 0) {
      const ended = this.#clock.now();
      const spent = ended - began;
      // A clock that stands still has no part of a pass's time.
      const spacing = spent === 0 ? 0 : Math.max(spent * PASS_SPACING, SPACING_MIN_MILLIS);
      this.#passBegan = began;
      this.#spacedUntil = ended + spacing;
    }
  }

  /** One timer for all deadlines, none when there are none. */
  #arm(): void {
    const next = this.#tick();
    this.#measurer.look();
    // The turn that comes arms it.
    if (this.#turnsToTick > 0) return;
    if (this.engine.get(Control.EventCount) > 0) {
      this.handleEvents();
      this.schedule();
    }
    const at = next < 0 ? Number.POSITIVE_INFINITY : this.#clock.now() + next;
    if (Math.abs(at - this.#tickAt) < 1) return;
    if (at > this.#tickAt && this.#cancelTick) return;
    this.#cancelTick?.();
    this.#cancelTick = undefined;
    this.#tickAt = at;
    if (at === Number.POSITIVE_INFINITY) return;
    this.#cancelTick = this.#clock.after(Math.max(1, Math.ceil(next)), () => {
      this.#cancelTick = undefined;
      this.#tickAt = Number.POSITIVE_INFINITY;
      this.schedule();
    });
  }

  // ---- the end ---------------------------------------------------------------------------------------

  #isIdle(): boolean {
    const { engine } = this;
    return (
      engine.get(Control.ConnectionCount) === 0 &&
      engine.get(Control.DeadCount) === 0 &&
      this.#peers.every((peer) => peer === undefined)
    );
  }

  /** Ends what is left, with a reset. */
  endAll(): void {
    this.farewell.stop();
    for (const peer of this.connections) this.terminate(peer, CloseReason.Shutdown);
    this.handleEvents();
    this.runLater();
    this.schedule();
  }

  /** Resolves when no connection is left. */
  idle(): Promise<void> {
    if (this.#isIdle()) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idleWaiters.push(resolve);
      this.schedule();
    });
  }

  /** Stops the timers; nothing happens any more. */
  stop(): void {
    this.#isStopped = true;
    for (const settle of this.#publishers) settle();
    this.farewell.stop();
    this.messages.stop();
    this.#measurer.stop();
    this.#refusals.stop();
    this.#cancelTick?.();
    this.#cancelFlush?.();
  }
}
