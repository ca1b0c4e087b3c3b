// A host for one engine without I/O: bytes and time go in by calls, what the engine has to say comes out by
// callbacks, typed. engine/loop.ts keeps the rules of the engine, so that what drives this need only move bytes.
//
// Invariants
//   A callback is never entered from another, but for `shut`, which comes at once wherever memory is about to be
//   reused. What the transport tells from within a callback the next `turn` takes in.
//   What a callback throws changes nothing: the rest is carried out, then the call that led to it throws that.
//   Between two calls the event table is empty, the rows are settled, and the window is nobody's.

import {
  type CloseReason,
  Control,
  NONE,
  Outcome,
  Param,
  SLOT_LIMIT,
  Shut,
} from "../../assembly/abi";
import type { CloseInfo, Data, FragmentInfo, Request, Stats } from "../../host/handler";
import { refuseUnknown } from "../../host/options/known";
import { CLOSE_TABLE, reasonName } from "../../host/shared/close";
import { bytesOf, messageOf } from "../../host/shared/message/data";
import { flagsOf } from "../../host/shared/message/flags";
import { show } from "../../host/shared/text/show";
import { copyBytes } from "../../host/shared/text/text";
import type { Engine } from "../engine/engine";
import { EngineLoop, type LoopEvents, type LoopHooks } from "../engine/loop";
import { statsOf } from "../engine/stats";
import { RequestImpl } from "../request/request";
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

function ignore(): void {}

/** Drives an engine: bytes and time go in by calls, what happens comes out by callbacks. */
export class EngineDriver<User = unknown> {
  /** @internal */
  static readonly name = "EngineDriver";
  /** The engine that it drives. */
  readonly engine: Engine;
  /** @internal */
  readonly loop: EngineLoop<Wire<User>>;
  readonly #events: DriverEvents<User>;
  #later: (() => void)[] = [];
  /** A connection is being shut. */
  #acting = false;
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
    this.loop = new EngineLoop(engine, this.#loopEvents(), this.#loopHooks(clock));
    this.loop.streams(events.streams !== undefined);
    this.loop.measures(events.queued !== undefined);
    this.loop.time();
  }

  // ---- what a host calls -------------------------------------------------------------------------------

  /**
   * Takes in a connection.
   * @param remoteAddress the peer's, under which it is counted; "" for none
   * @returns undefined when all are taken and none gives way, or its address has as many as it may: close it
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
   * Carries out what is due: deadlines, connections that go on, writes. Call it after bytes were fed and messages
   * published, once for as many of them as come together, and when its time has come.
   * @returns ms until it must be called again by itself; -1: only after something else has happened
   */
  turn(): number {
    this.#refuseWithin("turn");
    const { engine, loop } = this;
    loop.time();
    this.#measure();
    do {
      this.#runLater();
      loop.resumeAll();
      loop.tick();
      loop.handleEvents();
      loop.flush(false);
      loop.handleEvents();
    } while (loop.hasResumes || this.#later.length > 0);
    loop.time();
    const next = loop.tick();
    const isMore = engine.eventCount > 0;
    loop.handleEvents();
    this.#rethrow();
    if (isMore) return 0;
    if (!this.#events.queued || engine.get(Control.Watched) === 0) return next;
    const wait = Math.max(0, this.#measureAt - engine.get(Control.Now));
    return next < 0 ? wait : Math.min(next, wait);
  }

  /** Asks for what the peers of watched connections have not acknowledged, when it is time to. */
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
      // Whether the kernel of the peer answers no host tells: the limits hold as they are.
      loop.acknowledged(wire, bytes, false);
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
    return this.#publish("publish", this.loop.topic(topic) || NONE, data, options);
  }

  /** The connection of an id; undefined when it has gone. */
  wire(id: number): Wire<User> | undefined {
    return this.loop.find(id);
  }

  /** All connections. */
  get wires(): Wire<User>[] {
    return this.loop.connections;
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
  isReading(wire: Wire<User>): boolean {
    if (wire.dead || wire.isEnded || wire.rest !== undefined || wire.isStopped) return false;
    return wire.unparsed < this.engine.windowBytes;
  }

  /** @internal */
  feed(wire: Wire<User>, bytes: Uint8Array): boolean {
    if (wire.dead || bytes.length === 0) return this.#noteReading(wire);
    if (!this.isReading(wire)) throw new Error("feed: the connection does not read now");
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
      // What it sent before is taken in before.
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

  /** @internal The request has been answered: the connection goes on, now or with the next turn. */
  answered(wire: Wire<User>): void {
    wire.isStreamed = false;
    if (this.loop.fed !== wire) this.loop.resumeLater(wire);
  }

  /** @internal */
  upgrade(wire: Wire<User>, fieldsLength: number): boolean {
    wire.isAsked = false;
    const outcome = this.loop.upgrade(wire, fieldsLength, 0);
    this.answered(wire);
    if (outcome !== Outcome.Ok) return false;
    wire.state = "open";
    return true;
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

  /** Goes on with a connection that was held, waited for a buffer, or has had its request answered. */
  #goOn(wire: Wire<User>): void {
    if (wire.dead) return;
    const { engine, loop } = this;
    // What the engine keeps comes before what is kept here.
    if (!engine.isWaiting(wire.slot)) loop.progress(wire, 0, 0);
    const { rest } = wire;
    if (rest && !wire.isDead && !wire.isStopped && wire.unparsed < engine.windowBytes) {
      wire.rest = undefined;
      loop.take(wire, rest);
    }
    if (wire.isEnded && rest) this.ended(wire);
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

  /** What the engine's loop asks of the driver. */
  #loopHooks(clock: DriverClock): LoopHooks<Wire<User>> {
    return {
      now: () => (clock.now ? clock.now() : performance.now()),
      date: () => (clock.date ? clock.date() : Date.now()),
      schedule: ignore,
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

  /** What the driver does about each event. */
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
        // What found no buffer is dropped, and what comes is read: so that its end is seen.
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

  /** Lets go of a connection. @returns what tells of it */
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

  /** @param topic its number; 0: everyone; NONE: nobody */
  #publish(call: string, topic: number, data: Data, options: DriverPublish = {}): boolean {
    checkDriverPublish(options);
    const payload = messageOf(call, data, options);
    const { engine, loop } = this;
    if (loop.isFlushing || this.#acting)
      throw new Error(`${call}: called from within write or shut`);
    if (topic === NONE) return true;
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
