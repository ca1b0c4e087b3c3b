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
  FrameFlag,
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
} from "../assembly/abi";
import { CLOSE_TABLE, checkClose, reasonName } from "../host/close";
import type {
  CloseInfo,
  Data,
  FragmentInfo,
  Handler,
  HandlerServer,
  PoolStats,
  PublishOptions,
  SendOptions,
  Stats,
} from "../host/handler";
import { type AddressSet, formatAddress } from "../host/address";
import type { Eviction } from "../host/options";
import { SECURE_TRAIT } from "../host/request";
import { isThenable, toError } from "../host/result";
import { copyBytes } from "../host/text";
import type { Engine } from "./engine";
import { byteLength, putUtf8, toBytes, utf8 } from "./engine";
import type { Inbox } from "./inbox";
import { Answers } from "./answers";
import { WINDOW_BITS, isProtocolList } from "./deflate";
import { Drain } from "./drain";
import { type ForwardRules, clientOf } from "./forwarded";
import { Horizon } from "./horizon";
import { type MetricsRules, answerMetrics, metricsText } from "./metrics";
import { type OriginRules, isHostAllowed, isOriginAllowed } from "./origin";
import type { Clock, Codec, Link, Sink } from "./net";
import { Hold, Peer } from "./peer";
import { RequestImpl, ResponseImpl, StaticBodyImpl } from "./request";
import type { WebSocketImpl } from "./socket";
import { statsOf } from "./stats";
import { StageImpl } from "./stage";
import { BodyError, Upload } from "./upload";

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
/** Bytes of a read by which a connection has taken its share of a loop that is late. */
const SHARE_BYTES = 4096;
/** Bytes of a message from which on the next that has to be inflated waits for another turn. */
const LARGE_BYTES = 1048576;

/** First byte of a whole data frame. */
function firstByte(flags: number): number {
  const opcode = flags & FrameFlag.Binary ? 2 : 1;
  return 0x80 | (flags & FrameFlag.Compressed ? 0x40 : 0) | opcode;
}

/** Flags of a message's frame. */
function flagsOf(data: Data, options: SendOptions | undefined): number {
  const plain = options?.compress === false ? FrameFlag.Plain : 0;
  return ((options?.binary ?? typeof data !== "string") ? FrameFlag.Binary : 0) | plain;
}

/** Why a subscription was not made. @param which 1: the table of topics is full, 2: that of subscriptions */
function tableFull(engine: Engine, which: number): RangeError {
  const [what, name, param] =
    which === 1
      ? (["topics", "maxTopics", Param.Topics] as const)
      : (["subscriptions", "maxSubscriptions", Param.Subscriptions] as const);
  return new RangeError(`subscribe: all ${engine.params[param]} ${what} (${name}) are taken`);
}

/** Bytes that have their memory for themselves, as a handler may keep them. */
function ownBytes(data: Uint8Array): Uint8Array {
  return data.length >= LARGE_BYTES && data.length === data.buffer.byteLength
    ? new Uint8Array(data.buffer)
    : copyBytes(data, 0, data.length);
}

function byteLengthOf(data: Data): number {
  return typeof data === "string" ? byteLength(data) : data.byteLength;
}

export interface PumpOptions {
  readonly engine: Engine;
  readonly clock: Clock;
  readonly flushInterval?: number;
  /** Who may connect. */
  readonly rules?: OriginRules;
  /** Who is believed to pass requests on for others; undefined: nobody. */
  readonly forwarding?: ForwardRules | undefined;
  /** Who connects, and begins with a PROXY header; undefined: nobody does. */
  readonly proxies?: AddressSet | undefined;
  /** Where metrics are served, and to whom; undefined: nowhere. */
  readonly metrics?: MetricsRules | undefined;
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
  /** Told of errors of the handler. */
  readonly failed?: (error: Error, where: string) => void;
  /** Told of evicted clients, once a turn. */
  readonly evicted?: (evictions: Eviction[]) => void;
  /** Told of a trap of the engine that came up within user code: whoever it is ends the pump. */
  readonly trapped?: (trap: Error) => void;
}

export class Pump implements HandlerServer {
  static readonly name = "Server";
  readonly engine: Engine;
  readonly answers: Answers;
  readonly #clock: Clock;
  /** ms between flush passes, 0: each turn has one. */
  flushInterval: number;
  readonly #codec: Codec | undefined;
  readonly #rules: OriginRules;
  readonly #forwarding: ForwardRules | undefined;
  readonly #proxies: AddressSet | undefined;
  readonly #metrics: MetricsRules | undefined;
  readonly #horizon: Horizon;
  readonly #threshold: number;
  #ordered: boolean;
  #turned: (() => void) | undefined;
  #ended: ((ws: WebSocketImpl) => void) | undefined;
  /** Connections that have ended while their messages are still being handled. */
  readonly #ending = new Set<Peer>();
  readonly #failed: (error: Error, where: string) => void;
  readonly #evicted: ((evictions: Eviction[]) => void) | undefined;
  readonly #trapped: ((trap: Error) => void) | undefined;
  #handler: Handler = {};
  /** Messages are handed to the handler as bytes that are valid for the call, whatever they are. */
  #raw = false;
  readonly #peers: (Peer | undefined)[] = [];
  readonly #statics: StaticBodyImpl[] = [];
  #inboxes: readonly Inbox[] = [];
  #scheduled = false;
  #handling = false;
  /** The peer whose bytes are being parsed. */
  #fed: Peer | undefined;
  #eventAt = 0;
  #flushing = false;
  /** The last pass that handed over what was published: when it began, and until when the next one waits. */
  #passBegan = Number.NEGATIVE_INFINITY;
  #spacedUntil = Number.NEGATIVE_INFINITY;
  #cancelFlush: (() => void) | undefined;
  #cancelTick: (() => void) | undefined;
  #tickAt = Number.POSITIVE_INFINITY;
  /** Since when a turn is due. */
  #dueSince = 0;
  /** Those that are not read until it is their turn. */
  #yielding: Peer[] = [];
  /** When the Date of answers has to be looked up again. */
  #dateUntil = Number.NEGATIVE_INFINITY;
  /** What the handler is still to be told of. */
  #later: (() => void)[] = [];
  #resumes: Peer[] = [];
  #evictions: Eviction[] = [];
  #restBytes = 0;
  #stage: StageImpl | undefined;
  #idleWaiters: (() => void)[] = [];
  #stopped = false;
  #drain: Drain<Peer> | undefined;
  /** It stops, but what was accepted before, a TLS handshake ago, may still bring a request. */
  #isDraining = false;
  /** Those whose `shutdown` has not settled: their Close waits for it. */
  readonly #leaving = new Set<Peer>();
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
  /** Told when what ends a WebSocket waits for the answers to its messages; `caughtUp` follows. */
  onEndWaits: ((peer: Peer) => void) | undefined;

  constructor(options: PumpOptions) {
    this.engine = options.engine;
    this.#clock = options.clock;
    this.flushInterval = options.flushInterval ?? 0;
    this.#codec = options.codec;
    this.#rules = options.rules ?? {};
    this.#forwarding = options.forwarding;
    this.#proxies = options.proxies;
    this.#metrics = options.metrics;
    const { params } = options.engine;
    this.#horizon = new Horizon(
      params[Param.RingBytes] as number,
      params[Param.QueuedFrames] as number,
    );
    this.answers = new Answers(this, options.codec, options.protocols ?? []);
    this.#threshold = this.engine.params[Param.DeflateThreshold] as number;
    this.#ordered = options.ordered ?? true;
    this.#failed = options.failed ?? (() => undefined);
    this.#evicted = options.evicted;
    this.#trapped = options.trapped;
    this.engine.setServer(options.serverHeader ?? "");
    this.engine.hostTraits = options.secure ? SECURE_TRAIT : 0;
  }

  /** @param turned called at the end of each turn */
  setHandler(handler: Handler, turned?: () => void): void {
    this.#handler = handler;
    this.#turned = turned;
    this.engine.x.streams(handler.streams ? 1 : 0);
  }

  /** The subprotocol that the handler chooses; undefined when it does not. */
  chooseProtocol(request: RequestImpl): string | undefined {
    return this.#handler.protocol?.(request);
  }

  /**
   * A handler that passes messages on as bytes.
   * @param ended told at once of a WebSocket that ended while messages wait, in front of which `close` is not told
   */
  setRelay(handler: Handler, turned: () => void, ended: (ws: WebSocketImpl) => void): void {
    this.setHandler(handler, turned);
    this.#ended = ended;
    this.#raw = true;
    this.#ordered = true;
  }

  addInbox(inbox: Inbox): void {
    this.#inboxes = [...this.#inboxes, inbox];
    this.schedule();
  }

  removeInbox(inbox: Inbox): void {
    // Another list: this one may be gone through.
    this.#inboxes = this.#inboxes.filter((one) => one !== inbox);
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
    const { engine } = this;
    if (this.#stopped && !this.#isDraining) {
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
    const forwards = this.#isForwarder(link.remoteAddress);
    const address = forwards || proxies ? "" : link.remoteAddress;
    const flags = (proxies ? Arrival.Proxied : 0) | (link.secure ? Arrival.Unsecured : 0);
    let slot = engine.accept(address, flags);
    if (slot === NONE && engine.get(Control.Result) !== 0) {
      link.reset();
      return undefined;
    }
    if (slot === NONE) {
      this.actOnCloses();
      slot = engine.accept(address, flags);
      if (slot === NONE) {
        link.destroy();
        this.schedule();
        return undefined;
      }
    }
    const peer = new Peer(this, link, slot, engine.get(Control.Generation));
    peer.forwards = forwards;
    peer.isProxied = proxies !== undefined;
    peer.isUnsecured = link.secure !== undefined;
    this.#peers[slot] = peer;
    this.#tellConnect(peer);
    this.schedule();
    return peer;
  };

  #isForwarder(address: string): boolean {
    return this.#forwarding?.trusted.has(address) ?? false;
  }

  /** Tells the handler of a connection, once it is known whose it is. */
  #tellConnect(peer: Peer): void {
    if (peer.isProxied || peer.isUnsecured) return;
    peer.isTold = true;
    if (this.#handler.connect) this.#guard("connect", () => this.#handler.connect?.(peer));
  }

  /** A PROXY header has come. @param length of the client's address in memory; 0: it names none */
  #handleProxied(peer: Peer, pointer: number, length: number): void {
    peer.isProxied = false;
    if (length > 0) {
      const address = formatAddress(this.engine.u8, pointer);
      peer.peerAddress = address;
      peer.remoteAddress = address;
      peer.forwards = this.#isForwarder(address);
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
      this.#setReading(peer);
    }
    this.#goRound("between reads");
  }

  /** The loop has come round: the next of those that wait for it is read. */
  #readNext(): void {
    const peer = this.#yielding.shift();
    if (peer) {
      peer.yields = false;
      this.#setReading(peer);
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
    this.#fed = peer;
    this.handleEvents();
    let rest = left;
    if (
      !peer.dead &&
      !engine.isWaiting(peer.slot) &&
      (left > 0 || fed === 0 || engine.isMessageOut(peer.slot))
    ) {
      let before = -1;
      do {
        before = rest;
        rest = x.resume(peer.slot, peer.generation);
        this.handleEvents();
        // A message may have gone out without a byte being taken: an empty last fragment.
      } while (
        !peer.dead &&
        !engine.isWaiting(peer.slot) &&
        (rest !== before || engine.isMessageOut(peer.slot))
      );
    }
    if (!peer.dead && engine.isWaiting(peer.slot)) {
      // Not consumed for want of a buffer: kept here, since the window is for the next connection.
      if (rest > 0) this.#keepRest(peer, engine.window + fed - rest, rest);
    } else if (!peer.dead && (rest > 0 || peer.response !== undefined || peer.held !== 0)) {
      if (x.retain(peer.slot, peer.generation) === 0) this.handleEvents();
    }
    this.#fed = undefined;
    peer.unparsed = peer.dead ? 0 : rest;
    this.#setReading(peer);
  }

  #keepRest(peer: Peer, at: number, length: number): void {
    if (this.#restBytes + length > (this.engine.params[Param.ReceivePoolBytes] as number) / 4) {
      this.engine.x.abandon(peer.slot, peer.generation, CloseReason.NoBuffer);
      this.handleEvents();
      return;
    }
    peer.rest = copyBytes(this.engine.u8, at, length);
    this.#restBytes += length;
    this.#setReading(peer);
  }

  #dropRest(peer: Peer): Uint8Array | undefined {
    const rest = peer.rest;
    if (rest) this.#restBytes -= rest.length;
    peer.rest = undefined;
    return rest;
  }

  /** Reads a connection, or stops, as its state says. */
  #setReading(peer: Peer): void {
    // While a request is out, or its answers are not read, reading goes on for one window: so that a
    // disconnect is seen, and no more is taken in than that.
    const busy = peer.unparsed >= this.engine.windowBytes;
    const kept =
      peer.held !== 0 ||
      peer.yields ||
      peer.rest !== undefined ||
      peer.upload?.full === true ||
      this.engine.isDeaf(peer.slot);
    const wanted = !peer.dead && !peer.paused && !kept && (!busy || peer.closing);
    if (wanted === peer.reading) return;
    peer.reading = wanted;
    if (wanted) peer.link.resume();
    else peer.link.pause();
  }

  /** The reader of a body has taken a piece of it. */
  readOn(peer: Peer): void {
    if (!peer.dead) this.#setReading(peer);
  }

  /** The reader of a body waits for a piece of it. */
  pullBody(peer: Peer): void {
    if (peer.dead) return;
    this.time();
    this.engine.x.pull(peer.slot, peer.generation);
    this.schedule();
  }

  /** Keeps a WebSocket from being parsed and read until it is released. */
  hold(peer: Peer, why: Hold): void {
    if (peer.dead) return;
    const before = peer.held;
    peer.held |= why;
    if (before === 0 && !peer.paused) this.engine.x.hold(peer.slot, peer.generation, 1);
    // The pass that parses it sees to its reading at its end.
    if (this.#fed !== peer) this.#setReading(peer);
  }

  /** One reason to hold a WebSocket is over; after the last it goes on. */
  release(peer: Peer, why: Hold): void {
    if (peer.dead || (peer.held & why) === 0) return;
    peer.held &= ~why;
    if (peer.held !== 0) return;
    if (!peer.paused) this.engine.x.hold(peer.slot, peer.generation, 0);
    this.#resumeLater(peer);
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
  #resumeLater(peer: Peer): void {
    this.#resumes.push(peer);
    this.schedule();
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
    if (peer.dead) return;
    this.time();
    const rest = this.#dropRest(peer);
    if (rest) {
      this.engine.u8.set(rest, this.engine.window);
      const consumed = this.engine.x.feed(peer.slot, peer.generation, rest.length);
      this.#progress(peer, rest.length, rest.length - consumed);
    } else {
      this.#progress(peer, 0, 0);
    }
    this.#setReading(peer);
  }

  written(peer: Peer): void {
    this.time();
    this.engine.x.done(peer.slot, peer.generation);
    this.schedule();
  }

  peerEnded(peer: Peer): void {
    this.time();
    this.engine.x.peerEnded(peer.slot, peer.generation);
    this.handleEvents();
    if (peer.response) {
      peer.response.clientEnded();
      this.onPeerEnded?.(peer);
    }
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
        if (value & Trait.BodyToCome) this.#handleHead(peer);
        else this.#handleRequest(peer);
        break;
      case EventKind.BodyChunk:
        peer.upload?.push(copyBytes(this.engine.u8, pointer, length));
        break;
      case EventKind.BodyEnd:
        this.#handleBodyEnd(peer, value);
        break;
      case EventKind.Message:
        this.#handleMessage(peer, pointer, length, value);
        break;
      case EventKind.Fragment:
        this.#deliverFragment(peer, copyBytes(this.engine.u8, pointer, length), {
          first: (value & 0x100) !== 0,
          last: (value & 0x200) !== 0,
          isBinary: (value & 15) === 2,
          remaining: u32[at + (EVENT_EXTRA >>> 2)] as number,
        });
        break;
      case EventKind.Inflate:
        this.#handleInflate(peer, pointer, length, value);
        break;
      case EventKind.Ping:
      case EventKind.Pong:
        this.#handleControl(peer, kind, pointer, length);
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
        this.#awaitAnswers(peer);
        break;
      case EventKind.End:
        peer.closing = true;
        peer.link.end();
        this.#setReading(peer);
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
    response?.lose();
    this.#leaveBody(peer, reason);
    peer.bodies = undefined;
    this.#dropRest(peer);
    this.engine.x.free(peer.slot, peer.generation);
    this.#tellClosed(peer, reason, lagBytes, code);
    if (this.#idleWaiters.length > 0) this.schedule();
  }

  #tellClosed(peer: Peer, reason: number, lagBytes: number, code: number): void {
    const cause = reasonName(reason);
    if (reason === CloseReason.WsClientTooSlow || reason === CloseReason.Evicted) {
      const { id, remoteAddress } = peer;
      const age = this.engine.get(Control.Now) - peer.since;
      this.#evictions.push({ id, remoteAddress, cause, lagBytes, age });
    }
    const { close, disconnect } = this.#handler;
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
      // After the messages that are still to be handled.
      const list = peer.queue ?? this.#later;
      if (close) list.push(() => this.#guard("close", () => close.call(this.#handler, ws, info)));
      if (peer.queue) this.#awaitEnd(peer, ws);
    }
    if (!ws && disconnect && peer.isTold) {
      this.#later.push(() =>
        this.#guard("disconnect", () => disconnect.call(this.#handler, peer, info)),
      );
    }
    peer.ws = ws;
  }

  /** An upgrade failed: `close` lets go of what its WebSocket was given, as after any other end. */
  refused(ws: WebSocketImpl, reason: CloseReason): void {
    const { close } = this.#handler;
    if (!close || this.#raw) return;
    const cause = reasonName(reason);
    const info = { code: 1006, reason: CLOSE_TABLE[cause].text, cause, lagBytes: 0 };
    this.#later.push(() => this.#guard("close", () => close.call(this.#handler, ws, info)));
  }

  /** Runs user code; what it throws is reported and counted. @returns what it returned */
  #guard(where: string, fn: () => unknown): unknown {
    try {
      const result = fn();
      if (isThenable(result)) result.then(undefined, (thrown: unknown) => this.fail(thrown, where));
      return result;
    } catch (thrown) {
      this.fail(thrown, where);
      return undefined;
    } finally {
      this.#dropStage();
    }
  }

  /** Reports and counts what user code threw. */
  fail(thrown: unknown, where: string): void {
    if (this.#trapped && this.engine.isTrap(thrown)) this.#trapped(thrown);
    this.handlerErrors++;
    this.#failed(toError(thrown), where);
  }

  // ---- requests --------------------------------------------------------------------------------------

  #requestOf(peer: Peer): RequestImpl {
    const { slot, id, peerAddress, link } = peer;
    const request = new RequestImpl(this.engine, slot, id, peerAddress, link.peerCertificate);
    if (this.#forwarding && peer.forwards) {
      const field = request.header(this.#forwarding.field);
      request.remoteAddress = clientOf(peer.peerAddress, field, this.#forwarding);
    }
    return request;
  }

  /** An upgrade is about to be answered. @returns false when its client's address has as many as it may */
  isAddressFree(peer: Peer, address: string): boolean {
    if (!peer.forwards || this.#isForwarder(address)) return true;
    return this.engine.setAddress(peer.slot, peer.generation, address) !== Outcome.Full;
  }

  #handleRequest(peer: Peer): void {
    const request = this.#requestOf(peer);
    if (this.#admit(peer, request)) this.#answer(peer, request);
  }

  /** False when a request may not even reach the handler: it is refused. */
  #admit(peer: Peer, request: RequestImpl): boolean {
    const refusal = this.#judge(request);
    if (refusal !== 0) this.engine.x.abandon(peer.slot, peer.generation, refusal);
    return refusal === 0;
  }

  /** The head of a request with a body: the handler says whether that is streamed. */
  #handleHead(peer: Peer): void {
    const { x } = this.engine;
    const { slot, generation } = peer;
    const request = this.#requestOf(peer);
    if (!this.#admit(peer, request)) return;
    const { streams } = this.#handler;
    let isWanted = streams === true;
    try {
      if (typeof streams === "function") isWanted = streams.call(this.#handler, request);
    } catch (thrown) {
      this.fail(thrown, "streams");
      x.abandon(slot, generation, CloseReason.HandlerError);
      return;
    } finally {
      this.#dropStage();
    }
    if (!isWanted) {
      x.collect(slot, generation);
      return;
    }
    const upload = new Upload(this, peer);
    request.streams(upload);
    if (x.stream(slot, generation) !== Outcome.Ok) return;
    peer.upload = upload;
    this.#answer(peer, request);
  }

  /** A streamed body is at its end, or broke off: then its request has been refused. */
  #handleBodyEnd(peer: Peer, reason: number): void {
    const { upload, response } = peer;
    if (reason !== 0) {
      peer.response = undefined;
      this.#leaveBody(peer, reason);
      response?.lose();
      return;
    }
    peer.upload = undefined;
    upload?.end();
  }

  /** No more is taken of a body that is streamed. */
  #leaveBody(peer: Peer, reason: CloseReason): void {
    const { upload } = peer;
    peer.upload = undefined;
    upload?.fail(reason);
  }

  /** Runs the handler of a request. */
  #answer(peer: Peer, request: RequestImpl): void {
    const response = new ResponseImpl(this, peer, request);
    peer.response = response;
    if (this.#metrics && !request.upgrade && this.#answerMetrics(this.#metrics, peer, response))
      return;
    const { request: handle } = this.#handler;
    if (!handle) {
      response.send(404, "text/plain", "Not Found\n");
      return;
    }
    let result: unknown;
    try {
      result = handle.call(this.#handler, request, response);
    } catch (thrown) {
      this.failRequest(peer, response, thrown);
    }
    this.#dropStage();
    if (!isThenable(result)) return;
    if (response.sent) request.detach();
    result.then(
      () => {
        if (!response.sent)
          this.failRequest(peer, response, new Error("the handler settled without an answer"));
      },
      (thrown: unknown) => this.failRequest(peer, response, thrown),
    );
  }

  /** @returns false when that is not what is asked for */
  #answerMetrics(rules: MetricsRules, peer: Peer, response: ResponseImpl): boolean {
    const { request } = response;
    return answerMetrics(rules, request, peer.peerAddress, response, () => this.metrics());
  }

  /** Why a request may not even reach the handler; 0: it may. */
  #judge(request: RequestImpl): CloseReason | 0 {
    const { hosts = [] } = this.#rules;
    if (hosts.length === 0 && !request.upgrade) return 0;
    const { host } = request;
    if (!isHostAllowed(host, this.#rules)) return CloseReason.HostRefused;
    if (!request.upgrade) return 0;
    const allowed = isOriginAllowed(request.header("origin"), host, this.#rules);
    if (!allowed) return CloseReason.OriginRefused;
    const protocols = request.header("sec-websocket-protocol");
    return protocols === undefined || isProtocolList(protocols) ? 0 : CloseReason.BadRequest;
  }

  /** A request's handler failed: that is reported, and answered as far as it can be. */
  failRequest(peer: Peer, response: ResponseImpl, thrown: unknown): void {
    // A body that broke off is no error of the handler's, and its request is refused already.
    if (thrown instanceof BodyError && thrown.cause !== "Ok" && response.sent) return;
    this.fail(thrown, "request");
    this.failAnswer(peer, response);
  }

  /** Answers 500 to a request that is still out; an answer that has begun breaks off. */
  failAnswer(peer: Peer, response: ResponseImpl): void {
    if (response.sent || peer.response !== response) return;
    response.request.detach();
    peer.response = undefined;
    response.lose();
    this.#leaveBody(peer, CloseReason.HandlerError);
    this.time();
    this.engine.x.abandon(peer.slot, peer.generation, CloseReason.HandlerError);
    this.schedule();
    this.handleEvents();
    this.#setReading(peer);
  }

  /** The request is answered: its connection goes on, now or at the end of the turn. */
  answered(peer: Peer, request: RequestImpl): void {
    peer.response = undefined;
    this.#leaveBody(peer, CloseReason.Ok);
    if (this.#fed !== peer) {
      request.detach();
      this.#resumeLater(peer);
    }
    this.schedule();
  }

  /** True when the request's bytes are the ones that are being parsed. */
  isFed(request: RequestImpl): boolean {
    return this.#fed?.response?.request === request;
  }

  /** A connection has another slot now. */
  move(peer: Peer, slot: number, generation: number): void {
    this.#peers[peer.slot] = undefined;
    peer.slot = slot;
    peer.generation = generation;
    this.#peers[slot] = peer;
  }

  /** A WebSocket has been accepted: its messages wait until `open` has run, which it does after the request's handler. */
  opened(peer: Peer, ws: WebSocketImpl): void {
    peer.ws = ws;
    this.hold(peer, Hold.Open);
    this.#later.push(() => this.#open(peer, ws));
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
      result = this.#handler.open?.(ws);
    } catch (thrown) {
      failed(thrown);
      return;
    } finally {
      this.#dropStage();
    }
    if (isThenable(result)) result.then(release, failed);
    else release();
  }

  /** Fails a connection: a WebSocket is closed with the code of the reason, an answer that has begun breaks off. */
  abandon(peer: Peer, reason: CloseReason): void {
    if (peer.dead) return;
    peer.closing = true;
    this.time();
    this.engine.x.abandon(peer.slot, peer.generation, reason);
    this.schedule();
  }

  // ---- WebSockets ------------------------------------------------------------------------------------

  #handleMessage(peer: Peer, pointer: number, length: number, opcode: number): void {
    const { u8 } = this.engine;
    if (!this.#handler.message) return;
    const isBinary = opcode === 2;
    if (this.#raw && !peer.queue) {
      this.#tell(peer, u8.subarray(pointer, pointer + length), isBinary);
    } else if (this.#raw || isBinary) {
      this.#deliver(peer, this.engine.bytes.slice(pointer, pointer + length), isBinary);
    } else {
      this.#deliver(peer, utf8(u8, pointer, length), isBinary);
    }
  }

  #handleInflate(peer: Peer, pointer: number, length: number, opcode: number): void {
    const packed = this.engine.u8.subarray(pointer, pointer + length);
    if (peer.queue) {
      // It waits as it is: what it inflates to may be large.
      const copy = copyBytes(packed, 0, length);
      peer.queue.push(() => this.#inflate(peer, copy, opcode));
    } else {
      this.#inflate(peer, packed, opcode);
    }
  }

  /** A compressed message: inflated here, up to the limit, then checked as any other. */
  #inflate(peer: Peer, packed: Uint8Array, opcode: number): void {
    if (peer.refused !== undefined || !this.#codec) return;
    const limit = peer.payloadBytes;
    const data = this.#codec.inflate(packed, limit);
    if (data.length >= LARGE_BYTES) this.#awaitTurn(peer);
    if (data === "large") this.#refuseMessage(peer, CloseReason.WsMessageTooLarge);
    else if (data === "bad") this.#refuseMessage(peer, CloseReason.WsBadDeflate);
    else if (opcode === 2) this.#tell(peer, ownBytes(data), true);
    else if (!this.#isUtf8(data)) this.#refuseMessage(peer, CloseReason.WsBadUtf8);
    else this.#tell(peer, this.#raw ? data : utf8(data, 0, data.length), false);
  }

  /** Goes on with a connection in the next turn: one that has little to read may have much to be done. */
  #awaitTurn(peer: Peer): void {
    this.hold(peer, Hold.Turn);
    this.#later.push(() => this.release(peer, Hold.Turn));
    this.schedule();
    // The time that it took the next read would see: the turn comes before that.
    this.#dueSince = Number.NEGATIVE_INFINITY;
  }

  #refuseMessage(peer: Peer, reason: CloseReason): void {
    peer.refused = reason;
    if (peer.relayed) this.#awaitAnswers(peer);
    else this.abandon(peer, reason);
  }

  /** From now on what ends a WebSocket waits for the answers to its messages: another thread gives them. */
  relay(peer: Peer): void {
    if (peer.relayed || peer.dead) return;
    peer.relayed = true;
    this.engine.x.relay(peer.slot, peer.generation, 1);
  }

  /** What ends a relayed WebSocket has come: it waits, but not for ever. */
  #awaitAnswers(peer: Peer): void {
    this.hold(peer, Hold.End);
    this.onEndWaits?.(peer);
    this.after(this.engine.params[Param.CloseTimeout] as number, () => this.caughtUp(peer));
  }

  /** The messages of a WebSocket have been answered: on with what ends it. */
  caughtUp(peer: Peer): void {
    if (peer.dead || (peer.held & Hold.End) === 0) return;
    this.engine.x.relay(peer.slot, peer.generation, 0);
    this.release(peer, Hold.End);
    if (peer.refused !== undefined) this.abandon(peer, peer.refused);
  }

  #isUtf8(data: Uint8Array): boolean {
    const { engine } = this;
    let state = 0;
    for (let at = 0; at < data.length && state !== -1; at += engine.scratchBytes) {
      const part = data.subarray(at, at + engine.scratchBytes);
      engine.u8.set(part, engine.scratch);
      state = engine.x.checkUtf8(engine.scratch, part.length, state);
    }
    return state === 0;
  }

  /** Hands a message to the handler, or lets it wait for the one before. */
  #deliver(peer: Peer, data: string | Uint8Array, isBinary: boolean): void {
    if (peer.queue) peer.queue.push(() => this.#tell(peer, data, isBinary));
    else this.#tell(peer, data, isBinary);
  }

  #tell(peer: Peer, data: string | Uint8Array, isBinary: boolean): void {
    const { message } = this.#handler;
    const ws = peer.ws;
    if (!ws) return;
    if ((this.engine.params[Param.Pieces] as number) !== 0) {
      const info = { first: true, last: true, isBinary, remaining: 0 };
      this.#tellFragment(peer, toBytes(data), info);
    } else if (message) {
      try {
        this.#settleMessage(peer, message.call(this.#handler, ws, data, isBinary));
      } catch (thrown) {
        this.#failMessage(peer, thrown);
      }
      this.#dropStage();
    }
  }

  #deliverFragment(peer: Peer, data: Uint8Array, info: FragmentInfo): void {
    if (peer.queue) peer.queue.push(() => this.#tellFragment(peer, data, info));
    else this.#tellFragment(peer, data, info);
  }

  #tellFragment(peer: Peer, data: Uint8Array, info: FragmentInfo): void {
    const { fragment } = this.#handler;
    const ws = peer.ws;
    if (!fragment || !ws) return;
    try {
      this.#settleMessage(peer, fragment.call(this.#handler, ws, data, info));
    } catch (thrown) {
      this.#failMessage(peer, thrown);
    }
    this.#dropStage();
  }

  /** A handler of messages may settle later, and fail later: the connection's next message waits for it. */
  #settleMessage(peer: Peer, result: unknown): void {
    if (!isThenable(result)) return;
    if (!this.#ordered) {
      result.then(undefined, (thrown: unknown) => this.#failMessage(peer, thrown));
      return;
    }
    peer.queue ??= [];
    this.hold(peer, Hold.Order);
    const next = (): void => {
      if (peer.skip !== next) return;
      peer.skip = undefined;
      this.#next(peer);
    };
    peer.skip = next;
    result.then(next, (thrown: unknown) => {
      this.#failMessage(peer, thrown);
      next();
    });
  }

  /** The handler of a message has settled: on with what waits behind it, then with the connection. */
  #next(peer: Peer): void {
    const queue = peer.queue ?? [];
    while (!peer.skip && queue.length > 0) queue.shift()?.();
    if (peer.skip) return;
    peer.queue = undefined;
    this.#ending.delete(peer);
    this.release(peer, Hold.Order);
  }

  /** Messages of a connection that has ended are still being handled: they are waited for, but not for ever. */
  #awaitEnd(peer: Peer, ws: WebSocketImpl): void {
    if (this.#ended) {
      this.#ended(ws);
      return;
    }
    this.#ending.add(peer);
    this.after(this.engine.params[Param.CloseTimeout] as number, () => this.#hurry(peer));
  }

  #hurry(peer: Peer): void {
    if (!this.#ending.delete(peer)) return;
    while (peer.skip) peer.skip();
  }

  /** Closes a WebSocket whose message's handler failed: 1011. */
  #failMessage(peer: Peer, thrown: unknown): void {
    this.fail(thrown, "message");
    this.abandon(peer, CloseReason.HandlerError);
  }

  #handleControl(peer: Peer, kind: EventKind, pointer: number, length: number): void {
    const handle = kind === EventKind.Ping ? this.#handler.ping : this.#handler.pong;
    const ws = peer.ws;
    if (!handle || !ws) return;
    const data = copyBytes(this.engine.u8, pointer, length);
    const tell = (): void => {
      this.#guard(kind === EventKind.Ping ? "ping" : "pong", () =>
        handle.call(this.#handler, ws, data),
      );
    };
    if (peer.queue) peer.queue.push(tell);
    else tell();
  }

  #handleDrain(peer: Peer, value: number): void {
    const ws = peer.ws;
    peer.response?.wake();
    if (value === 1 || !ws) {
      this.#resumeLater(peer);
      return;
    }
    const { drain } = this.#handler;
    if (drain) this.#guard("drain", () => drain.call(this.#handler, ws));
  }

  sendTo(peer: Peer, data: Data, options: SendOptions | undefined): Outcome {
    if (peer.dead || !peer.ws) return Outcome.Gone;
    const { engine } = this;
    const { x, scratch } = engine;
    this.time();
    const flags = flagsOf(data, options);
    let length = this.#encode(data);
    let packed: Uint8Array | undefined;
    if (peer.windowBits !== 0 && !(flags & FrameFlag.Plain)) {
      const size = length >= 0 ? length : byteLengthOf(data);
      if (size >= this.#threshold) {
        const bytes = length >= 0 ? engine.u8.subarray(scratch, scratch + length) : toBytes(data);
        packed = this.#pack(bytes, peer.windowBits);
        if (packed) length = this.#encode(packed);
      }
    }
    const frame = packed ? flags | FrameFlag.Compressed : flags;
    const outcome =
      length >= 0
        ? x.send(peer.slot, peer.generation, frame, scratch, length)
        : this.sendLarge(peer.slot, peer.generation, packed ?? toBytes(data), frame);
    this.schedule();
    return outcome;
  }

  /** The compressed form of a message; undefined when it is not smaller. */
  #pack(bytes: Uint8Array, windowBits: number): Uint8Array | undefined {
    const packed = this.#codec?.deflate(bytes, windowBits);
    return packed && packed.length < bytes.length ? packed : undefined;
  }

  /** Sends a message from the inbox, compressed when its client takes it so. */
  sendPacked(slot: number, generation: number, bytes: Uint8Array, flags: number): void {
    const peer = this.#peers[slot];
    if (peer?.generation !== generation) return;
    this.sendTo(peer, bytes, {
      binary: (flags & FrameFlag.Binary) !== 0,
      compress: !(flags & FrameFlag.Plain),
    });
  }

  /** Sends a message that is too large for the scratch region, a piece at a time. */
  sendLarge(slot: number, generation: number, bytes: Uint8Array, flags: number): Outcome {
    const { engine } = this;
    const { x, scratch, scratchBytes } = engine;
    const outcome = x.sendBegin(slot, generation, firstByte(flags), bytes.length);
    if (outcome !== Outcome.Ok) return outcome;
    for (let at = 0; at < bytes.length; at += scratchBytes) {
      const part = bytes.subarray(at, at + scratchBytes);
      engine.u8.set(part, scratch);
      x.sendBytes(scratch, part.length);
    }
    return outcome;
  }

  /** Puts a message at the start of the scratch region; −1 when it is too large for it. */
  #encode(data: Data): number {
    const { engine } = this;
    if (typeof data === "string")
      return putUtf8(engine.u8, engine.scratch, engine.scratchBytes, data);
    const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
    if (bytes.length > engine.scratchBytes) return -1;
    engine.u8.set(bytes, engine.scratch);
    return bytes.length;
  }

  closePeer(peer: Peer, code: number, reason: string): boolean {
    if (peer.dead || !peer.ws || peer.closing) return false;
    const { engine } = this;
    this.time();
    const length = putUtf8(engine.u8, engine.scratch, 123, reason);
    const { x, scratch } = engine;
    const outcome = x.close(
      peer.slot,
      peer.generation,
      code,
      scratch,
      length,
      CloseReason.Application,
    );
    peer.closing = true;
    this.schedule();
    return outcome === Outcome.Ok;
  }

  pingPeer(peer: Peer, data: Data): boolean {
    if (peer.dead || !peer.ws) return false;
    const bytes = toBytes(data);
    if (bytes.length > 125) throw new RangeError(`ping: ${bytes.length} bytes are more than 125`);
    const { engine } = this;
    this.time();
    engine.u8.set(bytes, engine.scratch);
    const outcome = engine.x.ping(peer.slot, peer.generation, engine.scratch, bytes.length);
    this.schedule();
    return outcome === Outcome.Ok;
  }

  pausePeer(peer: Peer, paused: boolean): void {
    if (peer.dead || peer.paused === paused) return;
    peer.paused = paused;
    if (peer.held === 0) this.engine.x.hold(peer.slot, peer.generation, paused ? 1 : 0);
    if (paused) this.#setReading(peer);
    else this.#resumeLater(peer);
  }

  lagOf(peer: Peer): { bytes: number; frames: number; queued: number } {
    if (peer.dead || !peer.ws) return { bytes: 0, frames: 0, queued: 0 };
    const frames = this.engine.x.lag(peer.slot, peer.generation);
    return {
      bytes: this.engine.get(Control.LagBytes),
      frames,
      queued: this.engine.backlog(peer.slot),
    };
  }

  // ---- what a handler sees of the server ---------------------------------------------------------------

  /** Carries out a publication: evictions are acted upon, a flush is made, when it asks for them. */
  publishing(attempt: () => Outcome): Outcome {
    if (this.#flushing) throw new Error("published from within a flush");
    for (;;) {
      this.time();
      const outcome = attempt();
      if (outcome !== Outcome.Evicted && outcome !== Outcome.Flush) return outcome;
      this.#makeRoom(outcome);
    }
  }

  /** Does what the engine asks for before it publishes. */
  #makeRoom(outcome: Outcome): void {
    if (outcome === Outcome.Evicted) this.actOnCloses();
    else this.flush();
  }

  broadcast(data: Data, options?: PublishOptions): boolean {
    return this.#publish("broadcast", 0, data, options, options?.except ?? 0);
  }

  publish(topic: string, data: Data, options?: PublishOptions): boolean {
    return this.publishExcept(topic, data, options, options?.except ?? 0);
  }

  /** Publishes to a topic. @param except id of a client that does not get it; 0 for nobody */
  publishExcept(
    topic: string,
    data: Data,
    options: SendOptions | undefined,
    except: number,
  ): boolean {
    const { engine } = this;
    const number = engine.x.findTopic(engine.scratch, engine.putTopic(topic));
    return this.#publish("publish", number === 0 ? NONE : number, data, options, except);
  }

  /** @param topic its number; 0: everyone; NONE: nobody */
  #publish(
    what: string,
    topic: number,
    data: Data,
    options: SendOptions | undefined,
    except: number,
  ): boolean {
    if (this.#stage) throw new Error(`${what}: a stage is open; finish it first`);
    if (this.#flushing) throw new Error("published from within a flush");
    const { engine } = this;
    const flags = flagsOf(data, options);
    if (topic === NONE) return true;
    const slot = except % SLOT_LIMIT;
    const generation = Math.floor(except / SLOT_LIMIT);
    const length = this.#encode(data);
    let outcome: Outcome;
    if (length < 0 || this.isWorthPacking(flags, length, topic)) {
      outcome = this.publishLarge(toBytes(data), flags, topic, slot, generation);
    } else {
      const { scratch } = engine;
      this.time();
      outcome = engine.x.publish(flags, scratch, length, 0, 0, topic, slot, generation);
      while (outcome === Outcome.Evicted || outcome === Outcome.Flush) {
        this.#makeRoom(outcome);
        this.time();
        outcome = engine.x.publish(flags, scratch, length, 0, 0, topic, slot, generation);
      }
    }
    this.schedule();
    if (outcome === Outcome.TooLarge) {
      const ring = engine.params[Param.RingBytes];
      throw new RangeError(`${what}: the message is larger than the ring (${ring} bytes)`);
    }
    return outcome === Outcome.Ok;
  }

  /** True when a publication to a topic, 0 for everyone, is to be compressed for somebody. */
  isWorthPacking(flags: number, length: number, topic: number): boolean {
    return (
      length >= this.#threshold &&
      !(flags & FrameFlag.Plain) &&
      this.engine.get(Control.DeflateCount) > 0 &&
      this.engine.x.deflateCount(topic) > 0
    );
  }

  /** Publishes a message straight into the ring, compressed once for those who take it so. */
  publishLarge(
    bytes: Uint8Array,
    flags: number,
    topic: number,
    except: number,
    exceptGeneration: number,
  ): Outcome {
    const { engine } = this;
    const { x } = engine;
    const reserved = this.publishing(() => x.stageReserve(bytes.length));
    if (reserved !== Outcome.Ok) {
      x.stageDiscard();
      return reserved;
    }
    engine.u8.set(bytes, engine.get(Control.Result));
    x.stageAppend(bytes.length);
    return this.publishing(() => this.publishStage(flags, topic, except, exceptGeneration));
  }

  /** Publishes the open stage, compressed once for those who take it so. */
  publishStage(flags: number, topic: number, except: number, exceptGeneration: number): Outcome {
    const { engine } = this;
    const { x, scratch } = engine;
    const length = x.stageLength();
    let packed: Uint8Array | undefined;
    if (this.isWorthPacking(flags, length, topic)) {
      const at = engine.get(Control.StageAddress);
      packed = this.#pack(engine.u8.subarray(at, at + length), WINDOW_BITS);
    }
    const size = packed && packed.length <= engine.scratchBytes ? packed.length : 0;
    if (packed && size > 0) engine.u8.set(packed, scratch);
    return x.stagePublish(flags, scratch, size, topic, except, exceptGeneration);
  }

  // ---- topics ------------------------------------------------------------------------------------------

  subscribe(id: number, topic: string): boolean {
    const { engine } = this;
    const length = engine.putTopic(topic);
    const peer = this.peer(id);
    if (!peer?.ws || peer.closing) return false;
    const outcome = engine.x.subscribe(peer.slot, peer.generation, engine.scratch, length);
    if (outcome === Outcome.Full) throw tableFull(engine, engine.get(Control.Result));
    return outcome === Outcome.Ok;
  }

  unsubscribe(id: number, topic: string): boolean {
    const { engine } = this;
    const length = engine.putTopic(topic);
    const peer = this.peer(id);
    if (!peer) return false;
    const { x, scratch } = engine;
    return x.unsubscribe(peer.slot, peer.generation, scratch, length) === Outcome.Ok;
  }

  isSubscribed(id: number, topic: string): boolean {
    const { engine } = this;
    const length = engine.putTopic(topic);
    const peer = this.peer(id);
    if (!peer) return false;
    return engine.x.isSubscribed(peer.slot, peer.generation, engine.scratch, length) === 1;
  }

  /** The topics a WebSocket subscribes to. */
  subscriptions(id: number): string[] {
    const { engine } = this;
    const names: string[] = [];
    const peer = this.peer(id);
    if (!peer) return names;
    let link = 0;
    for (;;) {
      link = engine.x.nextTopic(peer.slot, peer.generation, link);
      if (link === 0) return names;
      names.push(utf8(engine.u8, engine.get(Control.Result), engine.get(Control.NameLength)));
    }
  }

  subscriberCount(topic: string): number {
    const { engine } = this;
    return engine.x.subscriberCount(engine.scratch, engine.putTopic(topic));
  }

  /** The number of the topic whose name an inbox record begins with; NONE: nobody subscribes to it. */
  topicOf(name: Uint8Array): number {
    const { engine } = this;
    engine.u8.set(name, engine.scratch);
    const number = engine.x.findTopic(engine.scratch, name.length);
    return number === 0 ? NONE : number;
  }

  /** Subscribes for the application: when it cannot be, `failed` is told. */
  subscribeFor(peer: Peer, topic: string): void {
    try {
      this.subscribe(peer.id, topic);
    } catch (thrown) {
      this.#failed(toError(thrown), "subscribe");
    }
  }

  /** Tells the application that a subscription it asked for was not made. */
  refuseSubscription(which: number): void {
    this.#failed(tableFull(this.engine, which), "subscribe");
  }

  send(id: number, data: Data, options?: SendOptions): boolean {
    const peer = this.peer(id);
    return (
      peer?.ws !== undefined && !peer.closing && this.sendTo(peer, data, options) === Outcome.Ok
    );
  }

  /** The connection of an id; undefined when it is stale. */
  peer(id: number): Peer | undefined {
    const peer = this.#peers[id % SLOT_LIMIT];
    return peer && peer.id === id ? peer : undefined;
  }

  closeConnection(id: number, code = 1000, reason = ""): boolean {
    checkClose(code, reason);
    const peer = this.peer(id);
    if (!peer) return false;
    return peer.ws
      ? this.closePeer(peer, code, reason)
      : this.terminate(peer, CloseReason.Application);
  }

  stage(): StageImpl {
    if (this.#stage) throw new Error("stage: one is open already; finish or discard it first");
    this.#stage = new StageImpl(this, () => {
      this.#stage = undefined;
    });
    return this.#stage;
  }

  /** A stage left open at the end of a handler's run is discarded. */
  #dropStage(): void {
    this.#stage?.discard();
  }

  each(fn: (ws: WebSocketImpl) => void): void {
    for (const peer of this.#peers) {
      if (peer?.ws && !peer.closing) fn(peer.ws);
    }
  }

  count(): number {
    return this.engine.get(Control.WebSocketCount);
  }

  body(data: string | Uint8Array, type: string): StaticBodyImpl {
    const bytes = typeof data === "string" ? toBytes(data) : new Uint8Array(data);
    const body = new StaticBodyImpl(this.#statics.length, bytes, type);
    this.#statics.push(body);
    return body;
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
    this.#clock.defer(this.#turn);
  }

  readonly #turn = (): void => {
    this.#scheduled = false;
    this.#goRound("in turn");
    if (this.#yielding.length > 0) this.#readNext();
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
    this.#runLater();
    let more = this.#drainInboxes();
    if (when === "in turn" && this.#resumes.length > 0) {
      this.#resumeAll();
      // What was published meanwhile is not to wait for as long again.
      if (this.#isOverdue()) more = this.#drainInboxes();
    }
    this.engine.x.tick();
    this.handleEvents();
    this.#flushWhenDue();
    this.handleEvents();
    this.#runLater();
    if (this.#evictions.length > 0 && this.#evicted) {
      const evictions = this.#evictions;
      this.#evictions = [];
      this.#evicted(evictions);
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

  /** @returns true when there is more */
  #drainInboxes(): boolean {
    const share = (this.engine.params[Param.RingBytes] as number) / 8 / this.#inboxes.length;
    let more = false;
    for (const inbox of this.#inboxes) more = inbox.drain(this, share) || more;
    return more;
  }

  #runLater(): void {
    while (this.#later.length > 0) {
      const later = this.#later;
      this.#later = [];
      for (const fn of later) fn();
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
    this.#flushing = true;
    for (let count = x.flush(wanted); count > 0; count = x.flush(wanted)) {
      for (let i = 0; i < count; i++) {
        const at = rows + i * (ROW_BYTES >>> 2);
        const peer = this.#peers[u32[at + (ROW_SLOT >>> 2)] as number];
        if (!peer) continue;
        const offset = u32[at + (ROW_OFFSET >>> 2)] as number;
        const length = u32[at + (ROW_LENGTH >>> 2)] as number;
        let bytes: Uint8Array;
        if (u32[at + (ROW_KIND >>> 2)] === RowKind.Static) {
          const number = u32[at + (ROW_BODY >>> 2)] as number;
          bytes = this.#bodyOf(peer, number).subarray(offset, offset + length);
          // What is written keeps it from now on.
          if (u32[at + (ROW_LAST >>> 2)] === 1) peer.bodies?.delete(number);
        } else {
          bytes = engine.view(offset, length);
        }
        if (peer.link.write(bytes)) u32[at + (ROW_STATE >>> 2)] = RowState.Complete;
      }
    }
    this.#flushing = false;
    if (engine.get(Control.Withheld) === 0) {
      const ended = this.#clock.now();
      const spent = ended - began;
      // A clock that stands still has no part of a pass's time.
      const spacing = spent === 0 ? 0 : Math.max(spent * PASS_SPACING, SPACING_MIN_MILLIS);
      this.#passBegan = began;
      this.#spacedUntil = ended + spacing;
    }
  }

  #bodyOf(peer: Peer, number: number): Uint8Array {
    if (number < SLOT_LIMIT) return (this.#statics[number] as StaticBodyImpl).bytes;
    return peer.bodies?.get(number) as Uint8Array;
  }

  /** One timer for all deadlines, none when there are none. */
  #arm(): void {
    const next = this.engine.x.tick();
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

  /** True when nothing new begins: no connection, no WebSocket. */
  get isStopping(): boolean {
    return this.#stopped;
  }

  /**
   * Accepts no more, lets requests be answered, says goodbye to every WebSocket: with 1001 now, or with 1012 (Service
   * Restart) one after the other.
   * @param drainMs ms over which that happens. Until its turn a WebSocket is served as before; a connection may still
   * bring a request, whose answer ends it, so that none is refused that was on its way.
   */
  beginShutdown(drainMs = 0): void {
    this.#stopped = true;
    this.engine.x.stop();
    const open = this.#peers.filter((peer): peer is Peer => peer?.ws !== undefined);
    if (drainMs > 0) this.#spread(open, drainMs);
    else for (const peer of open) this.#leave(peer, 1001);
    if (drainMs === 0) this.#dismissIdle();
    this.handleEvents();
    this.schedule();
  }

  /** Ends the connections that have no request out. */
  #dismissIdle(): void {
    this.time();
    for (const peer of [...this.#peers]) {
      const isIdle = peer && !peer.dead && !peer.ws && peer.response === undefined;
      if (isIdle) this.engine.x.dismiss(peer.slot, peer.generation);
    }
    this.handleEvents();
    this.schedule();
  }

  #spread(open: readonly Peer[], ms: number): void {
    this.#isDraining = true;
    this.#drain = new Drain(open, {
      ms,
      seed: this.engine.params[Param.Seed] as number,
      now: () => this.#clock.now(),
      after: (wait, fn) => this.#clock.after(wait, fn),
      end: (peer) => this.#leave(peer, 1012),
    });
    this.#clock.after(ms, () => {
      this.#isDraining = false;
      this.#dismissIdle();
    });
    // Handlers that do not settle hold no Close up for longer.
    const grace = this.engine.params[Param.CloseTimeout] as number;
    this.#clock.after(ms + grace, () => {
      for (const peer of this.#leaving) this.#closeForShutdown(peer, 1012);
      this.#leaving.clear();
    });
  }

  /** Tells the handler of the shutdown, then closes; when that settles later, behind it. */
  #leave(peer: Peer, code: number): void {
    const { ws } = peer;
    const { shutdown } = this.#handler;
    if (peer.dead || peer.closing || !ws) return;
    const told = shutdown && this.#guard("shutdown", () => shutdown.call(this.#handler, ws));
    if (code === 1001 || !isThenable(told)) {
      this.#closeForShutdown(peer, code);
      return;
    }
    this.#leaving.add(peer);
    const settled = (): void => {
      if (this.#leaving.delete(peer)) this.#closeForShutdown(peer, code);
    };
    told.then(settled, settled);
  }

  #closeForShutdown(peer: Peer, code: number): void {
    if (peer.dead || peer.closing) return;
    peer.closing = true;
    this.time();
    const { engine } = this;
    engine.x.close(peer.slot, peer.generation, code, engine.scratch, 0, CloseReason.Shutdown);
    this.schedule();
  }

  /** Ends what is left, with a reset. */
  endAll(): void {
    this.#stopped = true;
    this.#isDraining = false;
    this.#drain?.stop();
    for (const peer of [...this.#peers]) {
      if (peer && !peer.dead) this.terminate(peer, CloseReason.Shutdown);
    }
    this.handleEvents();
    this.#runLater();
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
    this.#stopped = true;
    this.#isDraining = false;
    this.#drain?.stop();
    for (const peer of this.#ending) this.#hurry(peer);
    this.#cancelTick?.();
    this.#cancelFlush?.();
  }
}
