// A host for one engine without I/O: bytes and time go in by calls, what the engine has to say comes out by
// callbacks, typed; nobody else reads its tables. It keeps the rules of assembly/index.ts, so that what drives it
// need only move bytes.
//
// Invariants
//   A callback is never entered from another, but for `shut`, which comes at once wherever memory is about to be
//   reused. What the transport tells from within a callback the next `turn` takes in.
//   What a callback throws changes nothing: the rest is carried out, then the call that led to it throws that.
//   Between two calls the event table is empty, the rows are settled, and the window is nobody's.

import {
  type CloseReason,
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
import { CLOSE_TABLE, reasonName } from "../../host/shared/close";
import { bytesOf, messageOf } from "../../host/shared/message/data";
import { flagsOf } from "../../host/shared/message/flags";
import type { CloseInfo, Data, FragmentInfo, Request, Stats } from "../../host/handler";
import { refuseUnknown } from "../../host/options/known";
import { show } from "../../host/shared/text/show";
import { copyBytes, utf8 } from "../../host/shared/text/text";
import { type Engine, lengthOf } from "../engine/engine";
import { RequestImpl } from "../request/request";
import { statsOf } from "../engine/stats";
import { Wire } from "./connection";

/** What the driver tells: all but `write` and `shut` may be left out. */
export interface DriverEvents<User = unknown> {
  /**
   * Bytes for the peer, a view of the engine's memory. Nothing of the driver may be called from here.
   * @returns true: through with them, they were copied or sent; false: `wire.written()` follows when they are
   */
  write(wire: Wire<User>, bytes: Uint8Array): boolean;
  /**
   * The engine is through with the connection: close the transport now, by reset when that is said: then no byte of
   * what it still holds may leave. It may come from within any call; nothing of the driver may be called from here.
   */
  shut(wire: Wire<User>, how: "reset" | "close"): void;
  /**
   * How many bytes the peer has not acknowledged of those that the transport took; undefined where it does not know.
   * Asked within `turn`, at most once a second, of connections that are past half of the time that they have to make
   * progress: fewer bytes than a second before are progress. Without it only `wire.written()` is, so a peer has to take
   * a whole write (`maxRunBytes`, and what the transport buffers) within `writeTimeout`. Nothing of the driver may be
   * called from here.
   */
  queued?(wire: Wire<User>): number | undefined;
  /** Everything is written: end our side. The peer's bytes are still taken, and dropped, until it ends too. */
  end?(wire: Wire<User>): void;
  /** The connection has ended, and why; `shut` has been told before. */
  closed?(wire: Wire<User>, info: CloseInfo): void;
  /** It takes bytes again, after `feed` has returned false. */
  reading?(wire: Wire<User>): void;
  /**
   * A request, whole, a copy: answer it by `wire.respond`, `wire.begin` or `wire.upgrade`, now or later. Without
   * this every request is 404.
   */
  request?(wire: Wire<User>, request: Request): void;
  /**
   * The head of a request with a body: true, and `request` is told at once, the body comes by `body` and `bodyEnd`,
   * up to maxStreamLength.
   */
  streams?(wire: Wire<User>, request: Request): boolean;
  /** A piece of a streamed body, a copy. Backpressure: `wire.pause()`. */
  body?(wire: Wire<User>, bytes: Uint8Array): void;
  /** Its end: `cause` is undefined, or why it broke off; then the request has been refused. */
  bodyEnd?(wire: Wire<User>, cause: string | undefined): void;
  /** A message, a copy. */
  message?(wire: Wire<User>, data: string | Uint8Array, isBinary: boolean): void;
  /** A piece of one, with the option `fragments`, instead of `message`. */
  fragment?(wire: Wire<User>, data: Uint8Array, info: FragmentInfo): void;
  /** A ping, whose pong is on its way. */
  ping?(wire: Wire<User>, data: Uint8Array): void;
  /** A pong. */
  pong?(wire: Wire<User>, data: Uint8Array): void;
  /** There is room again, after `send` or `write` has returned false. */
  drain?(wire: Wire<User>): void;
}

/** Where the time comes from. */
export interface DriverClock {
  /** Monotonic ms; default `performance.now`. */
  now?(): number;
  /** Unix ms, for Date fields; default `Date.now`. */
  date?(): number;
}

/** What a publication may be told. */
export interface DriverPublish {
  /** Default: strings are text, bytes are binary. */
  readonly binary?: boolean;
  /** Who does not get it. */
  readonly except?: Wire;
}

/** ms between two readings of what peers have acknowledged. */
const MEASURE_INTERVAL = 1000;

const PUBLISH_NAMES = ["binary", "except"];

/** @throws TypeError naming the option */
function checkDriverPublish(options: DriverPublish): void {
  for (const name in options)
    if (!PUBLISH_NAMES.includes(name)) refuseUnknown(options, { names: PUBLISH_NAMES });
  const { except } = options;
  if (except !== undefined && !(except instanceof Wire))
    throw new TypeError(`except: ${show(except)} is not a wire of this driver`);
}

/** Drives an engine: bytes and time go in by calls, what happens comes out by callbacks. */
export class EngineDriver<User = unknown> {
  /** @internal */
  static readonly name = "EngineDriver";
  /** The engine that it drives. */
  readonly engine: Engine;
  readonly #events: DriverEvents<User>;
  readonly #now: () => number;
  readonly #date: () => number;
  #dateUntil = Number.NEGATIVE_INFINITY;
  readonly #wires: (Wire<User> | undefined)[] = [];
  #resumes: Wire<User>[] = [];
  #later: (() => void)[] = [];
  #eventAt = 0;
  #handling = false;
  #flushing = false;
  /** A connection is being shut. */
  #acting = false;
  /** The wire whose bytes are being parsed. */
  #fed: Wire<User> | undefined;
  /** What callbacks threw. */
  #thrown: unknown[] = [];
  #nextBody = SLOT_LIMIT;
  /** When `queued` may be asked again. */
  #measureAt = Number.NEGATIVE_INFINITY;

  /** @param engine one of its own; compression must be off */
  constructor(engine: Engine, events: DriverEvents<User>, clock: DriverClock = {}) {
    if (typeof events?.write !== "function" || typeof events.shut !== "function")
      throw new TypeError("events: write and shut must be functions");
    if (events.queued !== undefined && typeof events.queued !== "function")
      throw new TypeError(`events.queued: ${show(events.queued)} is not a function`);
    this.engine = engine;
    this.#events = events;
    this.#now = clock.now ? () => (clock.now as () => number)() : () => performance.now();
    this.#date = clock.date ? () => (clock.date as () => number)() : () => Date.now();
    engine.x.streams(events.streams ? 1 : 0);
    engine.x.measures(events.queued ? 1 : 0);
    this.time();
  }

  // ---- what a host calls -------------------------------------------------------------------------------

  /**
   * Takes in a connection.
   * @param remoteAddress the peer's, under which it is counted; "" for none
   * @returns undefined when all are taken and none gives way, or its address has as many as it may: close it
   */
  accept(remoteAddress = ""): Wire<User> | undefined {
    this.#refuseWithin("accept");
    this.time();
    const { engine } = this;
    let slot = engine.accept(remoteAddress);
    if (slot === NONE && engine.get(Control.Result) === 0) {
      // The oldest that is idle has been closed.
      this.#handleEvents();
      slot = engine.accept(remoteAddress);
    }
    if (slot === NONE) return undefined;
    const wire = new Wire<User>(this, slot, engine.get(Control.Generation), remoteAddress);
    this.#wires[slot] = wire;
    return wire;
  }

  /**
   * Carries out what is due: deadlines, connections that go on, writes. Call it after bytes were fed and messages
   * published, once for as many of them as come together, and when its time has come.
   * @returns ms until it must be called again by itself; -1: only after something else has happened
   */
  turn(): number {
    this.#refuseWithin("turn");
    const { engine } = this;
    this.time();
    this.#measure();
    do {
      this.#runLater();
      const resumes = this.#resumes;
      this.#resumes = [];
      for (const wire of resumes) this.#goOn(wire);
      engine.x.tick();
      this.#handleEvents();
      this.#flush();
      this.#handleEvents();
    } while (this.#resumes.length > 0 || this.#later.length > 0);
    this.time();
    const next = engine.x.tick();
    const isMore = engine.get(Control.EventCount) > 0;
    this.#handleEvents();
    this.#rethrow();
    if (isMore) return 0;
    if (!this.#events.queued || engine.get(Control.Watched) === 0) return next;
    const wait = Math.max(0, this.#measureAt - this.#now());
    return next < 0 ? wait : Math.min(next, wait);
  }

  /** Asks for what the peers of watched connections have not acknowledged, when it is time to. */
  #measure(): void {
    const { engine } = this;
    if (!this.#events.queued || engine.get(Control.Watched) === 0) return;
    const now = this.#now();
    if (now < this.#measureAt) return;
    this.#measureAt = now + MEASURE_INTERVAL;
    this.#acting = true;
    for (let slot = 0; ; slot++) {
      slot = engine.x.watched(slot) >>> 0;
      const wire = slot === NONE ? undefined : this.#wires[slot];
      if (!wire) break;
      let bytes = NONE;
      this.#attempt(() => {
        bytes = this.#queuedOf(wire);
      });
      // Whether the kernel of the peer answers no host tells: the limits hold as they are.
      engine.x.acknowledged(slot, wire.generation, bytes, 0);
    }
    this.#acting = false;
  }

  /** Returns what `queued` says; NONE for nothing. @throws RangeError */
  #queuedOf(wire: Wire<User>): number {
    const bytes: unknown = this.#events.queued?.(wire);
    if (bytes === undefined) return NONE;
    if (!(Number.isInteger(bytes) && (bytes as number) >= 0 && (bytes as number) < NONE))
      throw new RangeError(`queued: ${show(bytes)} is not a number of bytes from 0 to ${NONE - 1}`);
    return bytes as number;
  }

  /** Publishes to every WebSocket. @returns false: most clients are behind, nothing was published; try again later */
  broadcast(data: Data, options?: DriverPublish): boolean {
    return this.#publish("broadcast", 0, data, options);
  }

  /** Publishes to a topic's subscribers. @returns as `broadcast` */
  publish(topic: string, data: Data, options?: DriverPublish): boolean {
    const { engine } = this;
    const number = engine.x.findTopic(engine.scratch, engine.putTopic(topic));
    return this.#publish("publish", number === 0 ? NONE : number, data, options);
  }

  /** The connection of an id; undefined when it has gone. */
  wire(id: number): Wire<User> | undefined {
    const wire = this.#wires[id % SLOT_LIMIT];
    return wire?.id === id ? wire : undefined;
  }

  /** All connections. */
  get wires(): Wire<User>[] {
    return this.#wires.filter((wire) => wire !== undefined);
  }

  /** Counters and gauges. */
  stats(): Stats {
    return statsOf(this.engine, { handlerErrors: 0, acceptErrors: 0, shed: 0 });
  }

  /** Ends every connection, with a reset. */
  endAll(): void {
    for (const wire of this.wires) wire.terminate();
  }

  // ---- what a wire calls -------------------------------------------------------------------------------

  /** @internal */
  time(): void {
    const now = this.#now();
    this.engine.set(Control.Now, now);
    if (now < this.#dateUntil) return;
    // The Date of answers, until its second is over.
    const date = this.#date();
    this.engine.set(Control.Date, Math.floor(date / 1000));
    this.#dateUntil = now + 1000 - (date % 1000);
  }

  /** @internal */
  isReading(wire: Wire<User>): boolean {
    if (wire.state === "dead" || wire.isEnded || wire.rest.length > 0) return false;
    if (this.#isStopped(wire)) return false;
    return wire.unparsed < this.engine.windowBytes;
  }

  /** True for a paused HTTP connection. A paused WebSocket is read, for one window, so that its end is seen. */
  #isStopped(wire: Wire<User>): boolean {
    return wire.isPaused && wire.state === "http";
  }

  /** @internal */
  feed(wire: Wire<User>, bytes: Uint8Array): boolean {
    if (wire.state === "dead" || bytes.length === 0) return this.#noteReading(wire);
    if (!this.isReading(wire)) throw new Error("feed: the connection does not read now");
    if (this.#isWithin) {
      wire.rest = copyBytes(bytes, 0, bytes.length);
      this.#resumes.push(wire);
    } else {
      this.#take(wire, bytes);
      this.#rethrow();
    }
    return this.#noteReading(wire);
  }

  /** @internal */
  written(wire: Wire<User>): void {
    this.#outside(() => {
      if (wire.state === "dead") return;
      this.time();
      this.engine.x.done(wire.slot, wire.generation);
      this.#handleEvents();
    });
  }

  /** @internal */
  ended(wire: Wire<User>): void {
    wire.isEnded = true;
    this.#outside(() => {
      // What it sent before is taken in before.
      if (wire.state === "dead" || wire.rest.length > 0) return;
      this.time();
      this.engine.x.peerEnded(wire.slot, wire.generation);
      this.#handleEvents();
      if (!wire.isDead) this.#resumes.push(wire);
    });
  }

  /** @internal */
  lost(wire: Wire<User>, reason: CloseReason): void {
    if (wire.state === "dead") return;
    if (this.#flushing || this.#acting) {
      this.#later.push(() => this.lost(wire, reason));
      return;
    }
    this.time();
    this.engine.x.terminate(wire.slot, wire.generation, reason);
    this.#actOnCloses();
    if (!this.#isWithin) this.#handleEvents();
    this.#rethrow();
  }

  /** @internal */
  pause(wire: Wire<User>, isPaused: boolean): void {
    if (wire.state === "dead" || wire.isPaused === isPaused) return;
    wire.isPaused = isPaused;
    const from = this.#handling ? this.#eventAt + 1 : NONE;
    this.engine.x.hold(wire.slot, wire.generation, isPaused ? 1 : 0, from);
    if (this.#isStopped(wire)) wire.wasReading = false;
    if (!isPaused) this.#resumes.push(wire);
  }

  /** @internal The request has been answered: the connection goes on, now or with the next turn. */
  answered(wire: Wire<User>): void {
    wire.isStreamed = false;
    if (this.#fed !== wire) this.#resumes.push(wire);
  }

  /** @internal */
  upgrade(wire: Wire<User>, fieldsLength: number): boolean {
    const { engine } = this;
    wire.isAsked = false;
    let outcome: Outcome = engine.x.upgrade(wire.slot, wire.generation, fieldsLength, 0);
    if (outcome === Outcome.Evicted) {
      this.#actOnCloses();
      outcome = engine.x.upgrade(wire.slot, wire.generation, fieldsLength, 0);
    }
    this.answered(wire);
    if (outcome !== Outcome.Ok) return false;
    this.#wires[wire.slot] = undefined;
    wire.slot = engine.get(Control.Result);
    wire.generation = engine.get(Control.Generation);
    wire.state = "open";
    this.#wires[wire.slot] = wire;
    return true;
  }

  /** @internal Hands the bytes of a message or piece over, as many as the scratch region holds at a time. */
  putBytes(bytes: Uint8Array): void {
    const { u8, x, scratch, scratchBytes } = this.engine;
    for (let at = 0; at < bytes.length; at += scratchBytes) {
      const part = bytes.subarray(at, at + scratchBytes);
      u8.set(part, scratch);
      x.sendBytes(scratch, part.length);
    }
  }

  /** @internal */
  nextBody(): number {
    const number = this.#nextBody++;
    if (this.#nextBody > 0x7fffffff) this.#nextBody = SLOT_LIMIT;
    return number;
  }

  // ---- bytes in ----------------------------------------------------------------------------------------

  get #isWithin(): boolean {
    return this.#handling || this.#flushing || this.#acting || this.#fed !== undefined;
  }

  #refuseWithin(what: string): void {
    if (this.#isWithin) throw new Error(`${what}: called from within a callback`);
  }

  /** Does what the transport tells, when no callback runs. */
  #outside(fn: () => void): void {
    if (this.#isWithin) {
      this.#later.push(fn);
      return;
    }
    fn();
    this.#rethrow();
  }

  /** Throws what a callback threw, when all is done. */
  #rethrow(): void {
    if (this.#isWithin || this.#thrown.length === 0) return;
    const thrown = this.#thrown;
    this.#thrown = [];
    throw thrown.length === 1 ? thrown[0] : new AggregateError(thrown, "callbacks threw");
  }

  #attempt(fn: () => void): void {
    try {
      fn();
    } catch (thrown) {
      this.#thrown.push(thrown);
    }
  }

  #runLater(): void {
    const later = this.#later;
    this.#later = [];
    for (const fn of later) this.#attempt(fn);
  }

  /** Takes bytes in, a window at a time, and keeps what is left when the connection stops reading. */
  #take(wire: Wire<User>, bytes: Uint8Array): void {
    const { engine } = this;
    for (let at = 0; at < bytes.length && wire.state !== "dead"; ) {
      const piece = bytes.subarray(at, at + engine.windowBytes);
      at += piece.length;
      this.time();
      engine.u8.set(piece, engine.window);
      const consumed = engine.x.feed(wire.slot, wire.generation, piece.length);
      this.#progress(wire, piece.length, piece.length - consumed);
      const isFull =
        this.#isStopped(wire) || wire.rest.length > 0 || wire.unparsed >= engine.windowBytes;
      if (!isFull || at === bytes.length) continue;
      const rest = new Uint8Array(wire.rest.length + bytes.length - at);
      rest.set(wire.rest);
      rest.set(bytes.subarray(at), wire.rest.length);
      wire.rest = rest;
      return;
    }
  }

  /**
   * Handles the events of a feed or a resume, and goes on until nothing more can be parsed.
   * @param fed bytes in the window @param left those of them that were not consumed
   */
  #progress(wire: Wire<User>, fed: number, left: number): void {
    const { engine } = this;
    const { x } = engine;
    const goesOn = (): boolean => wire.state !== "dead" && !engine.isWaiting(wire.slot);
    this.#fed = wire;
    this.#handleEvents();
    let rest = left;
    for (let before = -1; goesOn() && (rest !== before || engine.isMessageOut(wire.slot)); ) {
      before = rest;
      rest = x.resume(wire.slot, wire.generation);
      this.#handleEvents();
    }
    if (goesOn() && (rest > 0 || wire.isAsked || wire.isPaused)) {
      if (x.retain(wire.slot, wire.generation) === 0) this.#handleEvents();
    }
    if (wire.state !== "dead" && engine.isWaiting(wire.slot)) {
      if (rest > 0) wire.rest = copyBytes(engine.u8, engine.window + fed - rest, rest);
    }
    this.#fed = undefined;
    wire.unparsed = wire.state === "dead" ? 0 : rest;
  }

  /** Goes on with a connection that was held, waited for a buffer, or has had its request answered. */
  #goOn(wire: Wire<User>): void {
    if (wire.state === "dead") return;
    this.time();
    // What the engine keeps comes before what is kept here.
    if (!this.engine.isWaiting(wire.slot)) this.#progress(wire, 0, 0);
    const { rest } = wire;
    const isFull = wire.unparsed >= this.engine.windowBytes;
    if (rest.length > 0 && (wire.state as string) !== "dead" && !this.#isStopped(wire) && !isFull) {
      wire.rest = rest.subarray(rest.length);
      this.#take(wire, rest);
    }
    if (wire.isEnded && rest.length > 0) this.ended(wire);
    this.#noteReading(wire);
  }

  /** Tells when a connection that did not read does so again. */
  #noteReading(wire: Wire<User>): boolean {
    const isReading = this.isReading(wire);
    const isNews = isReading && !wire.wasReading;
    wire.wasReading = isReading;
    if (isNews) this.#attempt(() => this.#events.reading?.(wire));
    return isReading;
  }

  // ---- events ------------------------------------------------------------------------------------------

  #handleEvents(): void {
    if (this.#handling) return;
    const { engine } = this;
    this.#handling = true;
    for (this.#eventAt = 0; this.#eventAt < engine.get(Control.EventCount); this.#eventAt++) {
      const at = engine.events + this.#eventAt * (EVENT_BYTES >>> 2);
      this.#attempt(() => this.#handle(at));
    }
    engine.set(Control.EventCount, 0);
    this.#eventAt = 0;
    this.#handling = false;
  }

  /** Acts on the closes in the table at once: their memory is about to be reused. */
  #actOnCloses(): void {
    const { engine } = this;
    const { u32 } = engine;
    const count = engine.get(Control.EventCount);
    for (let i = this.#eventAt; i < count; i++) {
      const at = engine.events + i * (EVENT_BYTES >>> 2);
      if (u32[at + (EVENT_KIND >>> 2)] !== EventKind.Closed) continue;
      u32[at + (EVENT_KIND >>> 2)] = 0;
      const tell = this.#handleClosed(at);
      if (tell) this.#later.push(tell);
    }
  }

  #wireOf(at: number): Wire<User> | undefined {
    const { u32 } = this.engine;
    const wire = this.#wires[u32[at + (EVENT_SLOT >>> 2)] as number];
    return wire?.generation === u32[at + (EVENT_GENERATION >>> 2)] ? wire : undefined;
  }

  #handle(at: number): void {
    const { engine } = this;
    const { u8, u32 } = engine;
    const events = this.#events;
    const wire = this.#wireOf(at);
    if (!wire) return;
    const kind = u32[at + (EVENT_KIND >>> 2)] as EventKind;
    const pointer = u32[at + (EVENT_POINTER >>> 2)] as number;
    const length = u32[at + (EVENT_LENGTH >>> 2)] as number;
    const value = engine.i32[at + (EVENT_VALUE >>> 2)] as number;
    switch (kind) {
      case EventKind.Closed:
        this.#handleClosed(at)?.();
        break;
      case EventKind.Request:
        this.#handleRequest(wire, (value & Trait.BodyToCome) !== 0);
        break;
      case EventKind.BodyChunk:
        events.body?.(wire, copyBytes(u8, pointer, length));
        break;
      case EventKind.BodyEnd:
        wire.isStreamed = false;
        if (value !== 0) wire.isAsked = false;
        events.bodyEnd?.(wire, value === 0 ? undefined : reasonName(value));
        break;
      case EventKind.Message:
        if (value === 2) events.message?.(wire, copyBytes(u8, pointer, length), true);
        else events.message?.(wire, utf8(u8, pointer, length), false);
        break;
      case EventKind.Fragment:
        events.fragment?.(wire, copyBytes(u8, pointer, length), {
          first: (value & 0x100) !== 0,
          last: (value & 0x200) !== 0,
          isBinary: (value & 15) === 2,
          remaining: u32[at + (EVENT_EXTRA >>> 2)] as number,
        });
        break;
      case EventKind.Ping:
        events.ping?.(wire, copyBytes(u8, pointer, length));
        break;
      case EventKind.Pong:
        events.pong?.(wire, copyBytes(u8, pointer, length));
        break;
      case EventKind.PeerClose:
        wire.state = "closing";
        wire.closeText = utf8(u8, pointer, length);
        break;
      case EventKind.Drain:
        if (value === 1 || wire.state === "http") this.#resumes.push(wire);
        if (value === 0) events.drain?.(wire);
        break;
      case EventKind.End:
        if (wire.state === "open") wire.state = "closing";
        // What found no buffer is dropped, and what comes is read: so that its end is seen.
        if (wire.rest.length > 0) this.#resumes.push(wire);
        events.end?.(wire);
        break;
      default:
        break;
    }
  }

  /** Lets go of a connection. @returns what tells of it */
  #handleClosed(at: number): (() => void) | undefined {
    const { engine } = this;
    const { u32 } = engine;
    const wire = this.#wireOf(at);
    if (!wire) return undefined;
    const isWebSocket = wire.state !== "http";
    const cause = reasonName(engine.i32[at + (EVENT_VALUE >>> 2)] as number);
    const row = CLOSE_TABLE[cause];
    const info: CloseInfo = {
      code: isWebSocket ? (u32[at + (EVENT_EXTRA >>> 2)] as number) : row.status,
      reason: wire.closeText || row.text,
      cause,
      lagBytes: u32[at + (EVENT_POINTER >>> 2)] as number,
    };
    const how = u32[at + (EVENT_LENGTH >>> 2)] === Shut.Reset ? "reset" : "close";
    const { isStreamed } = wire;
    wire.die();
    this.#wires[wire.slot] = undefined;
    this.#acting = true;
    this.#attempt(() => this.#events.shut(wire, how));
    this.#acting = false;
    engine.x.free(wire.slot, wire.generation);
    return () => {
      if (isStreamed) this.#events.bodyEnd?.(wire, cause);
      this.#events.closed?.(wire, info);
    };
  }

  #handleRequest(wire: Wire<User>, isHead: boolean): void {
    const { engine } = this;
    const { slot, generation } = wire;
    const request = new RequestImpl(engine, slot, wire.id, wire.remoteAddress);
    request.detach();
    if (isHead) {
      if (!this.#events.streams?.(wire, request)) {
        engine.x.collect(slot, generation);
        return;
      }
      if (engine.x.stream(slot, generation) !== Outcome.Ok) return;
      wire.isStreamed = true;
    }
    wire.isAsked = true;
    if (this.#events.request) this.#events.request(wire, request);
    else wire.respond(404, [["Content-Type", "text/plain"]], "Not Found\n");
  }

  // ---- bytes out ---------------------------------------------------------------------------------------

  /** @param topic its number; 0: everyone; NONE: nobody */
  #publish(call: string, topic: number, data: Data, options: DriverPublish = {}): boolean {
    checkDriverPublish(options);
    const payload = messageOf(call, data, options);
    if (this.#flushing || this.#acting)
      throw new Error(`${call}: called from within write or shut`);
    if (topic === NONE) return true;
    const { engine } = this;
    const { x, scratch } = engine;
    const { except } = options;
    const bytes = bytesOf(payload);
    const flags = flagsOf(payload, options);
    const slot = except?.slot ?? 0;
    const generation = except?.generation ?? 0;
    let outcome: Outcome;
    if (bytes.length <= engine.scratchBytes) {
      outcome = this.#room(() => {
        engine.u8.set(bytes, scratch);
        return x.publish(flags, scratch, bytes.length, 0, 0, topic, slot, generation);
      });
    } else {
      outcome = this.#room(() => x.stageReserve(lengthOf(bytes.length)));
      if (outcome === Outcome.Ok) {
        engine.u8.set(bytes, engine.get(Control.Result));
        x.stageAppend(bytes.length);
        outcome = this.#room(() => x.stagePublish(flags, 0, 0, topic, slot, generation));
      } else {
        x.stageDiscard();
      }
    }
    if (outcome === Outcome.TooLarge) {
      const ring = engine.params[Param.RingBytes];
      throw new RangeError(`${call}: the message is larger than the ring (${ring} bytes)`);
    }
    return outcome === Outcome.Ok;
  }

  /** Publishes, doing what the engine asks for first. */
  #room(attempt: () => number): Outcome {
    for (;;) {
      this.time();
      const outcome: Outcome = attempt();
      if (outcome === Outcome.Evicted) this.#actOnCloses();
      else if (outcome === Outcome.Flush) this.#flush();
      else return outcome;
    }
  }

  /** Hands over what is due, until the engine has no more rows. */
  #flush(): void {
    const { engine } = this;
    const { u32, x } = engine;
    this.#flushing = true;
    for (let count = x.flush(0); count > 0; count = x.flush(0)) {
      for (let i = 0; i < count; i++) {
        const at = engine.rows + i * (ROW_BYTES >>> 2);
        this.#attempt(() => this.#writeRow(at, u32));
      }
    }
    this.#flushing = false;
  }

  #writeRow(at: number, u32: Uint32Array): void {
    const wire = this.#wires[u32[at + (ROW_SLOT >>> 2)] as number];
    if (!wire) return;
    const offset = u32[at + (ROW_OFFSET >>> 2)] as number;
    const end = offset + (u32[at + (ROW_LENGTH >>> 2)] as number);
    let source: Uint8Array | undefined = this.engine.u8;
    if (u32[at + (ROW_KIND >>> 2)] === RowKind.Static) {
      const number = u32[at + (ROW_BODY >>> 2)] as number;
      source = wire.bodies.get(number);
      // The view that is written keeps it for as long as it is needed.
      if (u32[at + (ROW_LAST >>> 2)] === 1) wire.bodies.delete(number);
    }
    if (source && this.#events.write(wire, source.subarray(offset, end)))
      u32[at + (ROW_STATE >>> 2)] = RowState.Complete;
  }
}
