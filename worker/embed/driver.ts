// Drives one engine without I/O: bytes and time go in by calls, and events of the engine come out by typed callbacks.
// engine/loop.ts keeps the rules of the engine, so that an embedder need only move bytes.
//
// Invariants
//   A callback is never entered from another one, except for `shut`, which is called at once wherever memory is about
//   to be reused. Calls that a transport makes within a callback are carried out by the next `turn`.
//   An error that a callback throws changes nothing: all work is done, then the call that led to it throws the error.
//   Between two calls the event table is empty, the rows are settled, and the window is unused.

import {
  CloseReason,
  Control,
  NONE,
  Outcome,
  Param,
  SLOT_LIMIT,
  Shut,
  SINCE_NONE,
} from "../../assembly/abi";
import type { CloseInfo, Data, FragmentInfo, Request, Stats } from "../../host/handler";
import { refuseUnknown } from "../../host/options/known";
import { pagesWithoutFiles, readErrorPages } from "../../host/options/site/pages";
import { CLOSE_TABLE, reasonName } from "../../host/shared/close";
import { bytesOf, messageOf } from "../../host/shared/message/data";
import { flagsOf } from "../../host/shared/message/flags";
import { show } from "../../host/shared/text/show";
import { copyBytes } from "../../host/shared/text/text";
import type { Engine } from "../engine/engine";
import { EngineLoop, type LoopEvents, type LoopHooks } from "../engine/loop";
import { statsOf } from "../engine/stats";
import { Pages } from "../request/pages";
import { RequestImpl } from "../request/request";
import { SupplyWaits } from "../supply/waits";
import { Wire } from "./connection";

/** Callbacks of the driver. All but `write` and `shut` are optional. */
export interface DriverEvents<User = unknown> {
  /**
   * Writes bytes to the peer, a view of the engine's memory. It must not call the driver.
   * @returns true: the bytes were copied or sent; false: `wire.written()` follows when they are
   */
  write(wire: Wire<User>, bytes: Uint8Array): boolean;
  /**
   * Closes the transport now, because the engine has released the connection. With "reset" no byte that the transport
   * still holds may be sent. It may be called during any call, and must not call the driver.
   */
  shut(wire: Wire<User>, how: "reset" | "close"): void;
  /**
   * Returns the number of bytes that the transport has accepted and the peer has not acknowledged; undefined when it is
   * unknown. It is called within `turn`, at most once a second, for connections that are past half of the time in which
   * they must make progress. Fewer bytes than a second before are progress. Without this callback only `wire.written()`
   * is progress, so a peer must receive a whole write (`maxRunBytes`, and the bytes that the transport buffers) within
   * `writeTimeout`. It must not call the driver.
   */
  queued?(wire: Wire<User>): number | undefined;
  /**
   * Ends this side of the connection, because everything is written. The peer's bytes are still read and dropped until
   * it ends too.
   */
  end?(wire: Wire<User>): void;
  /** The connection has ended, with its cause. `shut` was called before. */
  closed?(wire: Wire<User>, info: CloseInfo): void;
  /** The connection accepts bytes again after `feed` has returned false. */
  reading?(wire: Wire<User>): void;
  /**
   * A complete request, a copy. Respond by `wire.respond`, `wire.begin` or `wire.upgrade`, now or later. Without this
   * callback every request gets 404.
   */
  request?(wire: Wire<User>, request: Request): void;
  /**
   * The head of a request with a body. If it returns true, `request` is called at once, and the body follows by `body`
   * and `bodyEnd`, up to maxStreamLength.
   */
  streams?(wire: Wire<User>, request: Request): boolean;
  /** A piece of a streamed body, a copy. Use `wire.pause()` for backpressure. */
  body?(wire: Wire<User>, bytes: Uint8Array): void;
  /**
   * The end of a streamed body. `cause` is undefined when it is complete; else it is the cause why it is not, and the
   * request has been refused.
   */
  bodyEnd?(wire: Wire<User>, cause: string | undefined): void;
  /** A complete message, a copy. */
  message?(wire: Wire<User>, data: string | Uint8Array, isBinary: boolean): void;
  /** A piece of a message, instead of `message`, with the option `fragments`. */
  fragment?(wire: Wire<User>, data: Uint8Array, info: FragmentInfo): void;
  /** A ping. Its pong is queued already. */
  ping?(wire: Wire<User>, data: Uint8Array): void;
  /** A pong. */
  pong?(wire: Wire<User>, data: Uint8Array): void;
  /** There is room in the queue again after `send` or `write` has returned false. */
  drain?(wire: Wire<User>): void;
  /**
   * There is work for `turn`, whichever call led to it. Called once until the next `turn`. Without it, `turn` must be
   * called soon after a source of `respondFrom` has settled a promise.
   */
  due?(): void;
}

/** The sources of time. */
export interface DriverClock {
  /** Returns monotonic ms. Default: `performance.now`. */
  now?(): number;
  /** Returns Unix ms, for Date fields. Default: `Date.now`. */
  date?(): number;
}

/** Options of a publication. */
export interface DriverPublish {
  /** Whether the message is binary. Default: strings are text, bytes are binary. */
  readonly binary?: boolean;
  /** A client that does not receive the message. */
  readonly except?: Wire;
}

/** Error pages by status. */
export type DriverPages = Readonly<
  Record<number, { readonly type: string; readonly body: string | Uint8Array }>
>;

/** Time (ms) between two readings of unacknowledged bytes. */
const MEASURE_INTERVAL = 1000;

const PUBLISH_NAMES = ["binary", "except"];

/** Checks the options of a publication. @throws TypeError that names the option */
function checkDriverPublish(options: DriverPublish): void {
  for (const name in options)
    if (!PUBLISH_NAMES.includes(name)) refuseUnknown(options, { names: PUBLISH_NAMES });
  const { except } = options;
  if (except !== undefined && !(except instanceof Wire))
    throw new TypeError(`except: ${show(except)} is not a wire of this driver`);
}

function ignore(): void {}

/** Drives an engine: bytes and time go in by calls, and events come out by callbacks. */
export class EngineDriver<User = unknown> {
  /** @internal */
  static readonly name = "EngineDriver";
  /** The engine that this driver drives. */
  readonly engine: Engine;
  /** @internal */
  readonly loop: EngineLoop<Wire<User>>;
  readonly #events: DriverEvents<User>;
  #later: (() => void)[] = [];
  /** True while `shut` or `queued` runs. */
  #acting = false;
  /** Errors that callbacks threw. */
  #thrown: unknown[] = [];
  #nextBody = SLOT_LIMIT;
  /** Time (ms) from which on `queued` may be called again. */
  #measureAt = Number.NEGATIVE_INFINITY;
  /** True when `due` was called after the last turn. */
  #isDue = false;
  /** Time (ms) at which room that is reserved for slow sources is given back. */
  #sweepAt = Number.POSITIVE_INFINITY;
  /** @internal */
  readonly waits: SupplyWaits;
  /** @internal */
  readonly pages = new Pages([]);

  /** @param engine used by this driver alone; compression must be off */
  constructor(engine: Engine, events: DriverEvents<User>, clock: DriverClock = {}) {
    if (typeof events?.write !== "function" || typeof events.shut !== "function")
      throw new TypeError("events: write and shut must be functions");
    for (const name of ["queued", "due"] as const) {
      if (events[name] !== undefined && typeof events[name] !== "function")
        throw new TypeError(`events.${name}: ${show(events[name])} is not a function`);
    }
    this.engine = engine;
    this.#events = events;
    const hooks = this.#loopHooks(clock);
    this.waits = new SupplyWaits(hooks.now, (ms) => {
      this.#sweepAt = hooks.now() + ms;
    });
    this.loop = new EngineLoop(engine, this.#loopEvents(), hooks);
    this.loop.streams(events.streams !== undefined);
    this.loop.measures(events.queued !== undefined);
    this.loop.time();
  }

  // ---- the embedder's calls ----------------------------------------------------------------------------

  /**
   * Accepts a connection.
   * @param remoteAddress the peer's, under which it is counted; "" for none
   * @returns undefined when all connections are taken and none can be evicted, or the address has as many as it may.
   * Close the transport then.
   */
  accept(remoteAddress = ""): Wire<User> | undefined {
    this.#refuseWithin("accept");
    const slot = this.loop.accept(remoteAddress, 0);
    if (slot === NONE) return undefined;
    const wire = new Wire<User>(this, slot, this.engine.generation, remoteAddress);
    this.loop.join(wire);
    return wire;
  }

  /**
   * Sets the bodies of the engine's refusals, from now on, and of responses with neither a body nor a Content-Type.
   * @param pages by status, 400 … 599: `type`, a media type, and `body`, 1 to 65,536 bytes, which is copied
   * @throws TypeError, RangeError that name the page; then none is set
   */
  setErrorPages(pages: DriverPages): void {
    const read = new Pages(pagesWithoutFiles(readErrorPages({ errorPages: pages })));
    this.pages.add(read);
    read.each((status, whole, length) => this.loop.setPage(status, whole, length));
  }

  /**
   * Does all work that is due: deadlines, connections that continue, writes. Call it after bytes were fed and messages
   * published, once for all calls that come together, and when the returned time has passed.
   * @returns ms until it must be called again; -1: not before another call
   */
  turn(): number {
    this.#refuseWithin("turn");
    const { engine, loop } = this;
    this.#isDue = true;
    loop.time();
    this.#measure();
    if (engine.get(Control.Now) >= this.#sweepAt) {
      this.#sweepAt = Number.POSITIVE_INFINITY;
      this.waits.sweep();
    }
    do {
      this.#runLater();
      loop.resumeAll();
      loop.tick();
      loop.handleEvents();
      loop.flush(false);
      loop.flushPieces();
      loop.handleEvents();
    } while (loop.hasResumes || this.#later.length > 0);
    loop.time();
    const next = loop.tick();
    const isMore =
      engine.eventCount > 0 ||
      engine.get(Control.Unserved) === 1 ||
      engine.get(Control.ReadyCount) > 0;
    loop.handleEvents();
    this.#isDue = false;
    this.#rethrow();
    return isMore ? 0 : this.#waitFor(next);
  }

  /** Returns ms until `turn` must be called. @param next ms to the next deadline of the engine; -1: there is none */
  #waitFor(next: number): number {
    const { engine } = this;
    const isWatched = this.#events.queued && engine.get(Control.Watched) > 0;
    const at = Math.min(this.#sweepAt, isWatched ? this.#measureAt : Number.POSITIVE_INFINITY);
    if (at === Number.POSITIVE_INFINITY) return next;
    const wait = Math.max(0, at - engine.get(Control.Now));
    return next < 0 ? wait : Math.min(next, wait);
  }

  /** Reads the unacknowledged bytes of watched connections, at most once in `MEASURE_INTERVAL`. */
  #measure(): void {
    const { engine, loop } = this;
    if (!this.#events.queued || engine.get(Control.Watched) === 0) return;
    const now = engine.get(Control.Now);
    if (now < this.#measureAt) return;
    this.#measureAt = now + MEASURE_INTERVAL;
    this.#acting = true;
    for (let slot = loop.watched(0); slot !== NONE; slot = loop.watched(slot + 1)) {
      const wire = loop.at(slot);
      if (!wire) break;
      let bytes = NONE;
      this.#attempt(() => {
        bytes = this.#queuedOf(wire);
      });
      // No embedder reports whether the peer's kernel answers, so the limits apply unchanged.
      loop.acknowledged(wire, bytes, false);
    }
    this.#acting = false;
  }

  /** Returns the result of `queued`; NONE when it is unknown. @throws RangeError */
  #queuedOf(wire: Wire<User>): number {
    const bytes: unknown = this.#events.queued?.(wire);
    if (bytes === undefined) return NONE;
    if (!(Number.isInteger(bytes) && (bytes as number) >= 0 && (bytes as number) < NONE))
      throw new RangeError(`queued: ${show(bytes)} is not a number of bytes from 0 to ${NONE - 1}`);
    return bytes as number;
  }

  /** Publishes to every WebSocket. @returns false: most clients lag, so nothing was published; try again later */
  broadcast(data: Data, options?: DriverPublish): boolean {
    return this.#publish("broadcast", 0, data, options);
  }

  /** Publishes to a topic's subscribers. @returns as `broadcast` */
  publish(topic: string, data: Data, options?: DriverPublish): boolean {
    return this.#publish("publish", this.loop.topic(topic) || NONE, data, options);
  }

  /**
   * Returns the position of the latest publication, opaque and as text that sorts in the order of publications.
   * Directly after `broadcast` or `publish` it is that publication's.
   */
  position(): string {
    return this.engine.position;
  }

  /** Returns the connection with an id; undefined when it has ended. */
  wire(id: number): Wire<User> | undefined {
    return this.loop.find(id);
  }

  /** All connections that have not ended. */
  get wires(): Wire<User>[] {
    return this.loop.connections;
  }

  /** Returns counters and gauges. */
  stats(): Stats {
    return statsOf(this.engine);
  }

  /** Ends every connection, with a reset. */
  endAll(): void {
    for (const wire of this.wires) wire.terminate();
  }

  // ---- a wire's calls ----------------------------------------------------------------------------------

  /** @internal */
  isReading(wire: Wire<User>): boolean {
    if (wire.dead || wire.isEnded || wire.rest !== undefined || wire.isStopped) return false;
    return wire.unparsed < this.engine.windowBytes;
  }

  /** @internal */
  feed(wire: Wire<User>, bytes: Uint8Array): boolean {
    if (wire.dead || bytes.length === 0) return this.#noteReading(wire);
    if (!this.isReading(wire))
      throw new Error("feed: the connection is not reading; wait for the reading callback");
    if (this.#isWithin) {
      wire.rest = copyBytes(bytes, 0, bytes.length);
      this.loop.resumeLater(wire);
    } else {
      this.loop.take(wire, bytes);
      this.#rethrow();
    }
    return this.#noteReading(wire);
  }

  /** @internal */
  written(wire: Wire<User>): void {
    this.#outside(() => {
      if (wire.dead) return;
      this.loop.done(wire);
      this.loop.handleEvents();
    });
  }

  /** @internal */
  ended(wire: Wire<User>): void {
    wire.isEnded = true;
    this.#outside(() => {
      // Bytes that it sent before are handled first.
      if (wire.dead || wire.rest !== undefined) return;
      this.loop.peerEnded(wire);
      this.loop.handleEvents();
      if (!wire.isDead) this.loop.resumeLater(wire);
    });
  }

  /** @internal */
  lost(wire: Wire<User>, reason: CloseReason): void {
    if (wire.dead) return;
    if (this.loop.isFlushing || this.#acting) {
      this.#later.push(() => this.lost(wire, reason));
      return;
    }
    this.loop.terminate(wire, reason);
    if (!this.#isWithin) this.loop.handleEvents();
    this.#rethrow();
  }

  /** @internal */
  pause(wire: Wire<User>, isPaused: boolean): void {
    if (wire.dead || wire.isPaused === isPaused) return;
    wire.isPaused = isPaused;
    if (isPaused) this.loop.hold(wire);
    else this.loop.release(wire);
    if (wire.isStopped) wire.wasReading = false;
    if (!isPaused) this.loop.resumeLater(wire);
  }

  /** @internal Continues the connection after a response, now or in the next turn. */
  answered(wire: Wire<User>): void {
    wire.isStreamed = false;
    if (this.loop.fed !== wire) this.loop.resumeLater(wire);
  }

  /** @internal */
  upgrade(wire: Wire<User>, fieldsLength: number): boolean {
    wire.isAsked = false;
    return this.#opened(wire, this.loop.upgrade(wire, fieldsLength, 0));
  }

  /** @internal */
  openStream(wire: Wire<User>, fieldsLength: number): boolean {
    if (this.engine.param(Param.EventRingBytes) === 0)
      throw new TypeError("openEvents: the engine needs the option { events: true }");
    wire.isAsked = false;
    wire.isStream = true;
    if (!this.#opened(wire, this.loop.openStream(wire, fieldsLength, SINCE_NONE))) return false;
    if (this.engine.param(Param.History) !== 0) {
      this.loop.greet(wire);
      this.loop.settled(wire);
    }
    return true;
  }

  #opened(wire: Wire<User>, outcome: Outcome): boolean {
    this.answered(wire);
    if (outcome !== Outcome.Ok) return false;
    wire.state = "open";
    return true;
  }

  /** @internal Breaks a response off whose source has failed. The next `turn` throws the error. */
  failed(wire: Wire<User>, thrown: unknown): void {
    this.#thrown.push(thrown);
    this.#later.push(() => {
      if (!wire.dead) this.loop.terminate(wire, CloseReason.HandlerError);
    });
    this.#schedule();
  }

  /** Notifies the embedder of work, once until the next turn. */
  #schedule(): void {
    if (this.#isDue || !this.#events.due) return;
    this.#isDue = true;
    this.#attempt(() => this.#events.due?.());
  }

  /** @internal */
  nextBody(): number {
    const number = this.#nextBody++;
    if (this.#nextBody > 0x7fffffff) this.#nextBody = SLOT_LIMIT;
    return number;
  }

  // ---- callbacks ---------------------------------------------------------------------------------------

  get #isWithin(): boolean {
    const { isHandling, isFlushing, fed } = this.loop;
    return isHandling || isFlushing || this.#acting || fed !== undefined;
  }

  #refuseWithin(what: string): void {
    if (this.#isWithin) throw new Error(`${what}: called from within a callback`);
  }

  /** Calls `fn` for an event of the transport, as soon as no callback runs. */
  #outside(fn: () => void): void {
    if (this.#isWithin) {
      this.#later.push(fn);
      return;
    }
    fn();
    this.#rethrow();
  }

  /** Throws the errors of callbacks after all work is done. */
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

  /** Continues a connection that was held, waited for a buffer, or has had its request answered. */
  #goOn(wire: Wire<User>): void {
    if (wire.dead) return;
    const { engine, loop } = this;
    // Bytes that the engine keeps precede the bytes that are kept here.
    if (!engine.isWaiting(wire.slot)) loop.progress(wire, 0, 0);
    const { rest } = wire;
    if (rest && !wire.isDead && !wire.isStopped && wire.unparsed < engine.windowBytes) {
      wire.rest = undefined;
      loop.take(wire, rest);
    }
    if (wire.isEnded && rest) this.ended(wire);
    this.#noteReading(wire);
  }

  /** Calls `reading` when a connection reads again. @returns whether it reads */
  #noteReading(wire: Wire<User>): boolean {
    const isReading = this.isReading(wire);
    const isNews = isReading && !wire.wasReading;
    wire.wasReading = isReading;
    if (isNews) this.#attempt(() => this.#events.reading?.(wire));
    return isReading;
  }

  /** Returns the functions that the engine's loop calls on the driver. */
  #loopHooks(clock: DriverClock): LoopHooks<Wire<User>> {
    return {
      now: () => (clock.now ? clock.now() : performance.now()),
      date: () => (clock.date ? clock.date() : Date.now()),
      schedule: () => this.#schedule(),
      beginSlice: ignore,
      isSliceOver: () => false,
      parsed: ignore,
      isStopped: (wire) => wire.isStopped,
      isOverdue: () => false,
      goOn: (wire) => this.#goOn(wire),
      beginPass: ignore,
      endPass: ignore,
      threw: (thrown) => void this.#thrown.push(thrown),
    };
  }

  /** Returns the driver's reaction to each event. */
  #loopEvents(): LoopEvents<Wire<User>> {
    const { engine } = this;
    const events = this.#events;
    return {
      request: (wire, hasBodyToCome) => this.#handleRequest(wire, hasBodyToCome),
      bodyChunk: (wire, pointer, length) => events.body?.(wire, engine.copy(pointer, length)),
      bodyEnd: (wire, reason) => {
        wire.isStreamed = false;
        if (reason !== 0) wire.isAsked = false;
        events.bodyEnd?.(wire, reason === 0 ? undefined : reasonName(reason));
      },
      message: (wire, pointer, length, opcode) => {
        if (opcode === 2) events.message?.(wire, engine.copy(pointer, length), true);
        else events.message?.(wire, engine.text(pointer, length), false);
      },
      fragment: (wire, pointer, length, info) =>
        events.fragment?.(wire, engine.copy(pointer, length), info),
      ping: (wire, pointer, length) => events.ping?.(wire, engine.copy(pointer, length)),
      pong: (wire, pointer, length) => events.pong?.(wire, engine.copy(pointer, length)),
      peerClose: (wire, _code, pointer, length) => {
        wire.state = "closing";
        wire.closeText = engine.text(pointer, length);
      },
      drain: (wire) => {
        if (wire.state === "http") this.loop.resumeLater(wire);
        events.drain?.(wire);
      },
      buffer: (wire) => this.loop.resumeLater(wire),
      end: (wire) => {
        if (wire.state === "open") wire.state = "closing";
        // Bytes that found no buffer are dropped, and further bytes are read, so that the peer's end is seen.
        if (wire.rest) this.loop.resumeLater(wire);
        events.end?.(wire);
      },
      shut: (wire, how) => {
        this.#acting = true;
        try {
          events.shut(wire, how === Shut.Reset ? "reset" : "close");
        } finally {
          this.#acting = false;
        }
      },
      closed: (wire, reason, lagBytes, code, isEarly) => {
        const tell = this.#endOf(wire, reason, lagBytes, code);
        if (isEarly) this.#later.push(tell);
        else tell();
      },
      write: (wire, bytes) => events.write(wire, bytes),
    };
  }

  /** Releases a connection. @returns a function that reports its end */
  #endOf(wire: Wire<User>, reason: number, lagBytes: number, code: number): () => void {
    const isWebSocket = wire.state !== "http";
    const cause = reasonName(reason);
    const row = CLOSE_TABLE[cause];
    const info: CloseInfo = {
      code: isWebSocket ? code : row.status,
      reason: wire.closeText || row.text,
      cause,
      lagBytes,
    };
    const { isStreamed } = wire;
    wire.die();
    return () => {
      if (isStreamed) this.#events.bodyEnd?.(wire, cause);
      this.#events.closed?.(wire, info);
    };
  }

  #handleRequest(wire: Wire<User>, isHead: boolean): void {
    const request = new RequestImpl(this.engine, wire.slot, wire.id, wire.remoteAddress);
    request.detach();
    if (isHead) {
      if (!this.#events.streams?.(wire, request)) {
        this.loop.collect(wire);
        return;
      }
      if (this.loop.stream(wire) !== Outcome.Ok) return;
      wire.isStreamed = true;
    }
    wire.isAsked = true;
    if (this.#events.request) this.#events.request(wire, request);
    else wire.respond(404, [["Content-Type", "text/plain"]], "Not Found\n");
  }

  // ---- publishing --------------------------------------------------------------------------------------

  /** Publishes a message. @param topic its number; 0: all clients; NONE: no client */
  #publish(call: string, topic: number, data: Data, options: DriverPublish = {}): boolean {
    checkDriverPublish(options);
    const payload = messageOf(call, data, options);
    const { engine, loop } = this;
    if (loop.isFlushing || this.#acting)
      throw new Error(`${call}: called from within write or shut`);
    if (topic === NONE) {
      loop.publishToNone();
      return true;
    }
    const bytes = bytesOf(payload);
    const flags = flagsOf(payload, options);
    const except = options.except?.id ?? 0;
    let outcome: Outcome;
    if (bytes.length <= engine.scratchBytes) {
      engine.put(bytes);
      outcome = loop.publish(flags, bytes.length, topic, except);
    } else {
      outcome = this.#publishLarge(flags, bytes, topic, except);
    }
    if (outcome === Outcome.TooLarge) {
      const ring = engine.param(Param.RingBytes);
      throw new RangeError(`${call}: the message is larger than the ring (${ring} bytes)`);
    }
    return outcome === Outcome.Ok;
  }

  #publishLarge(flags: number, bytes: Uint8Array, topic: number, except: number): Outcome {
    const { loop } = this;
    let outcome = loop.stageReserve(bytes.length);
    if (outcome === Outcome.Ok) {
      loop.stageAppend(bytes);
      do {
        outcome = loop.stagePublish(flags, undefined, topic, except);
      } while (loop.makesRoom(outcome));
    } else {
      loop.stageDiscard();
    }
    return outcome;
  }
}
