// The loop around one engine: read, feed, events, rows, written. It keeps the rules of assembly/index.ts, and is the
// only interpreter of the engine's tables. The holder of an engine defines its reaction to each event by `LoopEvents`,
// and its own policies by `LoopHooks`.
//
// Invariants
//   Events are handled only by `handleEvents`, which is never entered twice. Closes that must be handled at once,
//   because a reader was evicted and its memory is about to be overwritten, are taken out of turn by `actOnCloses`.
//   Between `flush` and the last write of its table nothing is published.
//   A connection leaves the table before its transport is closed, and its slot is freed after that, so that nothing
//   reads memory that has another owner.

import {
  Control,
  EventKind,
  NONE,
  Outcome,
  PAGE_BODIES,
  PIECE_COPY,
  RowKind,
  SLOT_LIMIT,
  type Shut,
  Trait,
} from "../../assembly/abi";
import type { FragmentInfo } from "../../host/handler";
import { generationOf, slotOf } from "../../host/shared/message/id";
import { joined } from "../../host/shared/text/bytes";
import { copyBytes } from "../../host/shared/text/text";
import { Calls, type Slot } from "./calls";
import type { EventCursor, RowCursor } from "./cursors";
import { type Engine, lengthOf } from "./engine";

/**
 * Bytes and time (ms) that a pass spends on supplied bodies at most, after everything else was written. Then the event
 * loop reads its sockets, and publications and responses are written again.
 */
const PASS_BYTES = 2 * 1048576;
const PASS_MILLIS = 5;
/** Bytes after which the clock is read. */
const STEP_BYTES = 262144;

/** The body of a response that is supplied to the engine piece by piece. */
export interface SuppliedBody {
  /** The piece that was given last. */
  readonly piece: Uint8Array;
  /** The engine asks for a piece. The one before is not read any more. @param bytes that there is room for */
  want(bytes: number): void;
  /** The engine does not read the piece any more, and asks for its last bytes again. @param bytes which may be none */
  recall(bytes: number): void;
  /** Gives what has been gathered for a piece. */
  give(): void;
}

/** A connection as the loop keeps it. */
export interface LoopConnection extends Slot {
  /** True when it has ended. */
  dead: boolean;
  /** A unique id. It changes once, by an upgrade. */
  readonly id: number;
  /** Bytes that the engine has not consumed. */
  rest: Uint8Array | undefined;
  /** Number of bytes that the engine has not parsed. */
  unparsed: number;
  /** Bodies of its responses outside of the engine, by number. */
  readonly bodies: Pick<Map<number, Uint8Array>, "get" | "delete"> | undefined;
  /** The body that is supplied to its response. */
  readonly supply: SuppliedBody | undefined;
  /** True when a request is pending or it is held. Unparsed bytes must then be kept where they can be read later. */
  readonly isOut: boolean;
}

/** A reaction to one event. It is a method's type, whose parameters may be narrower, as those of LoopEvents. */
type Reaction<C> = { react(conn: C, event: EventCursor): void }["react"];

/**
 * Reactions by kind to the events that only some holders of an engine have a use for. The cursor is valid until the
 * engine is called.
 */
export type OtherEvents<C> = { readonly [Kind in EventKind]?: Reaction<C> };

/** Reactions to the engine's events. Pointers are valid until the callback returns. */
export interface LoopEvents<C> {
  /**
   * A complete request is pending; or only its head, and then the callback must first choose how the body is received.
   */
  request(conn: C, hasBodyToCome: boolean): void;
  /** A piece of a streamed body. */
  bodyChunk(conn: C, pointer: number, length: number): void;
  /** The end of a streamed body. @param reason 0: it is complete */
  bodyEnd(conn: C, reason: number): void;
  /** A complete message. @param opcode 1: text, 2: binary */
  message(conn: C, pointer: number, length: number, opcode: number): void;
  /** A piece of a message. */
  fragment(conn: C, pointer: number, length: number, info: FragmentInfo): void;
  ping(conn: C, pointer: number, length: number): void;
  pong(conn: C, pointer: number, length: number): void;
  /** The peer's Close frame. */
  peerClose(conn: C, code: number, pointer: number, length: number): void;
  /**
   * There is room in the connection's queue again.
   * @param wasRefused false: nothing had been refused, and `awaitRoom` had found no room
   */
  drain(conn: C, wasRefused: boolean): void;
  /** A buffer is free, so `rest` can be consumed. */
  buffer(conn: C): void;
  /** Kinds that have no method here. One without a reaction is ignored. */
  readonly others?: OtherEvents<C>;
  /** Everything is written, so this side must half-close. */
  end(conn: C, reason: number): void;
  /** Closes the transport now, because the memory of its unsent bytes is about to be reused. */
  shut(conn: C, how: Shut, reason: number): void;
  /**
   * The connection has ended, and its slot is free.
   * @param isEarly the loop is within a call, or before other events, so no user code may run
   */
  closed(conn: C, reason: number, lagBytes: number, code: number, isEarly: boolean): void;
  /** Writes bytes. @returns true: they were sent or copied; false: `done` follows when they are */
  write(conn: C, bytes: Uint8Array): boolean;
  /**
   * Writes as many bytes as the transport accepts at once, and holds none of them.
   * @returns their number; undefined when the transport cannot tell, and nothing was written
   */
  writeSome?(conn: C, bytes: Uint8Array): number | undefined;
}

/** The policies in which holders of an engine differ. */
export interface LoopHooks<C> {
  /** Returns monotonic ms. */
  now(): number;
  /** Returns Unix ms. */
  date(): number;
  /** Schedules a turn. */
  schedule(): void;
  /** Called before parsing of a connection continues. @param fed bytes that arrived, 0 when it only continues */
  beginSlice(fed: number): void;
  /** Returns true when a connection has used its share of this turn. It then waits for another turn. */
  isSliceOver(conn: C): boolean;
  /** Called when a connection has been parsed as far as possible. */
  parsed(conn: C): void;
  /** Returns true when no more bytes of a connection may be consumed for now. */
  isStopped(conn: C): boolean;
  /** Returns true when this turn has taken so long that the remaining connections continue in the next one. */
  isOverdue(): boolean;
  /** Continues a connection of `resumeLater`, by `resume`. */
  goOn(conn: C): void;
  beginPass(): void;
  /** @param handed number of rows that were written */
  endPass(handed: number): void;
  /** Handles an error that a callback threw. An error that this hook throws leaves the loop. */
  threw(thrown: unknown): void;
}

/** Returns the description of a piece in a Fragment event. */
function fragmentOf({ value, extra }: EventCursor): FragmentInfo {
  return {
    first: (value & 0x100) !== 0,
    last: (value & 0x200) !== 0,
    isBinary: (value & 15) === 2,
    remaining: extra,
  };
}

/** A request whose bytes are in the window. */
interface Lent {
  /** Copies the bytes, unless no one can read them any more. */
  detach(): void;
}

export class EngineLoop<C extends LoopConnection> extends Calls {
  readonly #events: LoopEvents<C>;
  readonly #hooks: LoopHooks<C>;
  readonly #event: EventCursor;
  readonly #close: EventCursor;
  readonly #row: RowCursor;
  /** By slot. It has no holes: V8 would make it a hash table, as WebSockets have the slots after those of HTTP. */
  readonly #conns: (C | undefined)[] = [];
  #resumes: C[] = [];
  #eventAt = 0;
  #isHandling = false;
  #isFlushing = false;
  /** Time (ms) from which on the Date of responses must be read again. */
  #dateUntil = Number.NEGATIVE_INFINITY;
  /** Supplied bodies that have gathered bytes for their next piece. */
  readonly #gathered = new Set<SuppliedBody>();
  /** The connection whose bytes are being parsed. */
  fed: C | undefined;
  /** Error pages by status, each with its fields in front. */
  readonly #pages = new Map<number, Uint8Array>();
  /** The answered request that an unsettled handler may still read in the window. */
  #lent: Lent | undefined;
  /** Bytes of that connection that follow the ones in the window. */
  #ahead: Uint8Array | undefined;

  constructor(engine: Engine, events: LoopEvents<C>, hooks: LoopHooks<C>) {
    super(engine);
    this.#events = events;
    this.#hooks = hooks;
    this.#event = engine.eventCursor();
    this.#close = engine.eventCursor();
    this.#row = engine.rowCursor();
  }

  // ---- the preamble ------------------------------------------------------------------------------------

  /**
   * Reads the clock, except while events are handled. A reading costs as much as a small response, and no client falls
   * further behind meanwhile.
   */
  override time(): void {
    if (this.#isHandling) return;
    const now = this.#hooks.now();
    this.engine.set(Control.Now, now);
    if (now >= this.#dateUntil) this.#setDate(now);
  }

  /** Sets the Date of responses, which is valid until its second ends. */
  #setDate(now: number): void {
    const date = this.#hooks.date();
    this.engine.set(Control.Date, Math.floor(date / 1000));
    this.#dateUntil = now + 1000 - (date % 1000);
  }

  override schedule(): void {
    this.#hooks.schedule();
  }

  /**
   * Sets the body of the engine's refusals with a status.
   * @param bytes the fields that describe the page, an empty line, and the page
   * @param fieldsLength bytes before the page
   */
  setPage(status: number, bytes: Uint8Array, fieldsLength: number): void {
    if (this.engine.x.page(status, fieldsLength, bytes.length) === 0)
      throw new RangeError(`status: ${status} has no error page`);
    this.#pages.set(status, bytes);
  }

  // ---- connections -------------------------------------------------------------------------------------

  /** True while events are handled. */
  get isHandling(): boolean {
    return this.#isHandling;
  }

  /** True while rows are written. Nothing may be published then. */
  get isFlushing(): boolean {
    return this.#isFlushing;
  }

  /** Returns the connection in a slot. */
  at(slot: number): C | undefined {
    return this.#conns[slot];
  }

  /** Returns the connection with an id; undefined when the id is stale. */
  find(id: number): C | undefined {
    const conn = this.#conns[slotOf(id)];
    // mutant stale-peer: return conn;
    return conn && conn.id === id ? conn : undefined;
  }

  /** All connections that have not ended. */
  get connections(): C[] {
    return this.#conns.filter((conn) => conn !== undefined);
  }

  /** True when there is no connection. */
  get isEmpty(): boolean {
    const { engine } = this;
    return (
      engine.get(Control.ConnectionCount) === 0 &&
      engine.get(Control.DeadCount) === 0 &&
      this.#conns.every((conn) => conn === undefined)
    );
  }

  /**
   * Accepts a connection; `join` follows.
   * @param address under which it is counted; "": none
   * @param flags bits of Arrival
   * @returns its slot, with its generation in Control.Generation; NONE: it is refused for the reason in Control.Result
   */
  accept(address: string, flags: number): number {
    const { engine } = this;
    this.time();
    let slot = engine.accept(address, flags);
    if (slot === NONE && engine.get(Control.Result) === 0) {
      // A connection was ended to make room.
      this.actOnCloses();
      slot = engine.accept(address, flags);
    }
    return slot;
  }

  /** Gives this connection the events of its slot from now on. */
  join(conn: C): void {
    this.#put(conn);
    this.schedule();
  }

  #put(conn: C): void {
    while (this.#conns.length < conn.slot) this.#conns.push(undefined);
    this.#conns[conn.slot] = conn;
  }

  /**
   * Turns the connection of a pending request into a WebSocket, with another slot. The fields are in the scratch
   * region.
   * @param deflate 0: its messages are plain; 1: compressed as published; 2: compressed one by one
   */
  upgrade(conn: C, fieldsLength: number, deflate: number): Outcome {
    const { x } = this.engine;
    return this.#move(conn, () => x.upgrade(conn.slot, conn.generation, fieldsLength, deflate));
  }

  /**
   * Turns the connection of a pending request into an event stream, like `upgrade`.
   * @param since with history: sequence of the client's position, or one of the SINCE values
   */
  openStream(conn: C, fieldsLength: number, since: number): Outcome {
    const { x } = this.engine;
    return this.#move(conn, () => x.openStream(conn.slot, conn.generation, fieldsLength, since));
  }

  /**
   * Greets an event stream, with history, once its first topics are subscribed to.
   * @returns 0: it does not resume; 1: it does; 1 + a Gap
   */
  greet(conn: C): number {
    this.time();
    const greeting = this.engine.x.greet(conn.slot, conn.generation);
    this.schedule();
    return greeting;
  }

  /** Notes that the `open` of an event stream's handler begins. */
  begin(conn: C): void {
    this.time();
    this.engine.x.begin(conn.slot, conn.generation);
  }

  /** Notes that the `open` of an event stream's handler has settled. */
  settled(conn: C): void {
    this.time();
    this.engine.x.settled(conn.slot, conn.generation);
    this.schedule();
  }

  /** Moves a connection to a WebSocket slot. */
  #move(conn: C, open: () => Outcome): Outcome {
    const { engine } = this;
    this.time();
    let outcome = open();
    if (outcome === Outcome.Evicted) {
      this.actOnCloses();
      outcome = open();
    }
    if (outcome === Outcome.Ok) {
      this.#conns[conn.slot] = undefined;
      conn.slot = engine.get(Control.Result);
      conn.generation = engine.get(Control.Generation);
      this.#put(conn);
    }
    this.schedule();
    return outcome;
  }

  /** Stops parsing a connection. The engine takes back its messages whose events are pending. */
  hold(conn: C): void {
    this.time();
    const from = this.#isHandling ? this.#eventAt + 1 : NONE;
    this.engine.x.hold(conn.slot, conn.generation, 1, from);
    this.schedule();
  }

  /** Stops parsing a connection, and takes back the message whose event is being handled, too. */
  putBack(conn: C): void {
    this.time();
    this.engine.x.hold(conn.slot, conn.generation, 1, this.#eventAt);
    this.schedule();
  }

  /** Continues a connection that was held. */
  release(conn: C): void {
    this.time();
    this.engine.x.hold(conn.slot, conn.generation, 0, NONE);
    this.schedule();
  }

  /**
   * Takes a connection out of HTTP.
   * @param opens ms within which its upstream must be open; 0: it is open
   * @returns a copy of all bytes that were not parsed, in order; or the reason why nothing has changed
   */
  takeOut(conn: C, opens: number): Uint8Array | Outcome {
    this.time();
    const { engine } = this;
    const outcome: Outcome = engine.x.release(conn.slot, conn.generation, opens);
    if (outcome !== Outcome.Ok) return outcome;
    const length = engine.get(Control.ResultLength);
    const parts: Uint8Array[] = [engine.copy(engine.get(Control.Result), length)];
    if (conn.rest) parts.push(conn.rest);
    if (this.fed === conn) {
      // mutant release-ahead (release): ;
      if (this.#ahead) parts.push(this.#ahead);
      this.#ahead = undefined;
      this.fed = undefined;
    }
    conn.rest = undefined;
    conn.unparsed = 0;
    this.schedule();
    return joined(parts);
  }

  // ---- bytes in ----------------------------------------------------------------------------------------

  /**
   * Leaves the bytes of an answered request in the window for its handler. Unless the handler has settled by then, they
   * are copied when the microtasks have run, or before other bytes are parsed.
   */
  lend(request: Lent): void {
    this.#lent = request;
    queueMicrotask(this.#recall);
  }

  readonly #recall = (): void => {
    const lent = this.#lent;
    this.#lent = undefined;
    lent?.detach();
  };

  /**
   * Feeds bytes of a connection that are in the window. Events of other connections are handled first, because the
   * events of this one must be handled one after the other, with nothing in between.
   * @returns number of bytes that were not consumed; `progress` follows
   */
  feed(conn: C, n: number): number {
    const { engine } = this;
    if (engine.eventCount > 0) this.handleEvents();
    this.time();
    return n - engine.x.feed(conn.slot, conn.generation, n);
  }

  /**
   * Handles the events of a feed or a resume, and continues until nothing more can be parsed.
   * @param fed bytes in the window, 0 when a held connection continues
   * @param left how many of them were not consumed
   */
  progress(conn: C, fed: number, left: number): void {
    const { engine } = this;
    const { slot } = conn;
    this.fed = conn;
    this.handleEvents();
    let rest = left;
    // A request that was consumed completely leaves nothing to parse, unless it changed the connection's slot.
    const isLeft = left > 0 || fed === 0 || conn.slot !== slot;
    if (this.#goesOn(conn) && (isLeft || engine.isMessageOut(conn.slot))) {
      this.#hooks.beginSlice(fed);
      let before = -1;
      do {
        if (this.#hooks.isSliceOver(conn)) break;
        before = rest;
        this.#recall();
        rest = engine.x.resume(conn.slot, conn.generation);
        this.handleEvents();
        // A message may have been emitted without consuming a byte (an empty last fragment), or have been taken back.
      } while (this.#goesOn(conn) && (rest !== before || engine.isMessageOut(conn.slot)));
    }
    if (this.#goesOn(conn) && (rest > 0 || conn.isOut)) {
      if (engine.x.retain(conn.slot, conn.generation) === 0) this.handleEvents();
    }
    // All bytes of a connection that was taken out of HTTP have been taken.
    const isParsed = this.fed === conn;
    if (!conn.dead && isParsed && rest > 0 && engine.isWaiting(conn.slot)) {
      // The bytes were not consumed because no buffer is free. They are kept here, since the next connection needs the
      // window.
      conn.rest = copyBytes(engine.u8, engine.window + fed - rest, rest);
    }
    this.fed = undefined;
    conn.unparsed = conn.dead || !isParsed ? 0 : rest;
    this.#hooks.parsed(conn);
  }

  /** Returns true for a connection that has not ended, waits for no buffer, and is parsed. */
  #goesOn(conn: C): boolean {
    return !conn.dead && this.fed === conn && !this.engine.isWaiting(conn.slot);
  }

  /** Consumes bytes, a window at a time, and keeps the rest when the connection accepts no more. */
  take(conn: C, bytes: Uint8Array): void {
    const { engine } = this;
    const { windowBytes } = engine;
    for (let at = 0; at < bytes.length && !conn.dead; ) {
      if (engine.eventCount > 0) this.handleEvents();
      const piece = bytes.subarray(at, at + windowBytes);
      at += piece.length;
      this.#recall();
      engine.u8.set(piece, engine.window);
      this.#ahead = bytes.subarray(at);
      this.progress(conn, piece.length, this.feed(conn, piece.length));
      // It was taken out of HTTP, with the bytes ahead.
      if (this.#ahead === undefined) return;
      this.#ahead = undefined;
      if (at === bytes.length || conn.dead || !this.#isFull(conn)) continue;
      const kept = conn.rest?.length ?? 0;
      const rest = new Uint8Array(kept + bytes.length - at);
      if (conn.rest) rest.set(conn.rest);
      rest.set(bytes.subarray(at), kept);
      conn.rest = rest;
      return;
    }
  }

  #isFull(conn: C): boolean {
    if (conn.rest !== undefined || conn.unparsed >= this.engine.windowBytes) return true;
    return this.#hooks.isStopped(conn);
  }

  /** Continues a connection that was held, or waited for a buffer, or whose request was answered. */
  resume(conn: C): void {
    if (this.engine.eventCount > 0) this.handleEvents();
    if (conn.dead) return;
    const { rest } = conn;
    if (rest && !this.#parseKept(conn)) return;
    conn.rest = undefined;
    this.time();
    if (rest) this.take(conn, rest);
    else this.progress(conn, 0, 0);
  }

  /**
   * Parses the bytes that the engine keeps of a connection. They precede the bytes in `rest`.
   * @returns false when the connection has ended, or continues later
   */
  #parseKept(conn: C): boolean {
    let left = -1;
    for (let before = -2; left !== 0 && left !== before; ) {
      before = left;
      this.#recall();
      this.time();
      left = this.engine.x.parseKept(conn.slot, conn.generation);
      this.handleEvents();
      if (conn.dead) return false;
    }
    return left === 0 || !conn.isOut;
  }

  /** Continues a connection at the end of this turn, so that no handler is entered from another. */
  resumeLater(conn: C): void {
    this.#resumes.push(conn);
    this.schedule();
  }

  /** True when connections wait to continue. */
  get hasResumes(): boolean {
    return this.#resumes.length > 0;
  }

  /** Continues the waiting connections. When this turn has taken long, the remaining ones continue in the next. */
  resumeAll(): void {
    const resumes = this.#resumes;
    this.#resumes = [];
    let done = 0;
    while (done < resumes.length && !(done > 0 && this.#hooks.isOverdue())) {
      this.#hooks.goOn(resumes[done++] as C);
      this.time();
    }
    if (done < resumes.length) this.#resumes.unshift(...resumes.slice(done));
  }

  // ---- events ------------------------------------------------------------------------------------------

  /** Handles the events in the table, including events that are added meanwhile. */
  handleEvents(): void {
    if (this.#isHandling) return;
    const { engine } = this;
    if (engine.eventCount === 0) return;
    this.#isHandling = true;
    for (this.#eventAt = 0; this.#eventAt < engine.eventCount; this.#eventAt++) {
      this.#event.move(this.#eventAt);
      try {
        this.#handle(this.#event);
      } catch (thrown) {
        this.#hooks.threw(thrown);
      }
    }
    engine.set(Control.EventCount, 0);
    this.#eventAt = 0;
    this.#isHandling = false;
  }

  override actOnCloses(): void {
    const { engine } = this;
    for (let i = this.#eventAt; i < engine.eventCount; i++) {
      this.#close.move(i);
      if (this.#close.kind !== EventKind.Closed) continue;
      this.#close.drop();
      this.#end(this.#close, true);
    }
    this.schedule();
  }

  #connOf(event: EventCursor): C | undefined {
    const conn = this.#conns[event.slot];
    return conn && conn.generation === event.generation ? conn : undefined;
  }

  #handle(event: EventCursor): void {
    const { kind } = event;
    const conn = this.#connOf(event);
    if (!conn) return;
    const events = this.#events;
    switch (kind) {
      case EventKind.Request:
        events.request(conn, (event.value & Trait.BodyToCome) !== 0);
        break;
      case EventKind.BodyChunk:
        events.bodyChunk(conn, event.pointer, event.length);
        break;
      case EventKind.BodyEnd:
        events.bodyEnd(conn, event.value);
        break;
      case EventKind.Message:
        events.message(conn, event.pointer, event.length, event.value);
        break;
      case EventKind.Fragment:
        events.fragment(conn, event.pointer, event.length, fragmentOf(event));
        break;
      case EventKind.Ping:
        events.ping(conn, event.pointer, event.length);
        break;
      case EventKind.Pong:
        events.pong(conn, event.pointer, event.length);
        break;
      case EventKind.PeerClose:
        events.peerClose(conn, event.value, event.pointer, event.length);
        break;
      case EventKind.Drain:
        if (event.value === 1) events.buffer(conn);
        else events.drain(conn, event.value === 0);
        break;
      case EventKind.End:
        events.end(conn, event.value);
        break;
      case EventKind.Want:
        conn.supply?.want(event.length);
        break;
      case EventKind.Recall:
        conn.supply?.recall(event.length);
        break;
      case EventKind.Closed:
        this.#end(event, false);
        break;
      case 0:
        // The engine took this message back.
        break;
      default:
        if (EventKind[kind] === undefined)
          throw new Error(`the engine's event kind ${kind} is unknown`);
        events.others?.[kind]?.(conn, event);
    }
  }

  /** Releases a connection that has ended. */
  #end(event: EventCursor, isEarly: boolean): void {
    const conn = this.#connOf(event);
    if (!conn) return;
    const { value: reason, pointer: lagBytes, length: how, extra: code } = event;
    const { slot, generation } = conn;
    conn.dead = true;
    this.#conns[slot] = undefined;
    try {
      this.#events.shut(conn, how, reason);
    } catch (thrown) {
      this.#hooks.threw(thrown);
    }
    conn.rest = undefined;
    this.engine.x.free(slot, generation);
    this.#events.closed(conn, reason, lagBytes, code, isEarly);
  }

  // ---- bytes out ---------------------------------------------------------------------------------------

  /**
   * Writes all pending rows, until the engine has no more. Responses beyond `PassBytes` follow in the next turn.
   * @param isWithheld true: publications may wait for the next pass
   */
  flush(isWithheld: boolean): void {
    const { engine } = this;
    const { x } = engine;
    const row = this.#row;
    const conns = this.#conns;
    const events = this.#events;
    const withhold = isWithheld ? 1 : 0;
    let handed = 0;
    this.#hooks.beginPass();
    this.#isFlushing = true;
    for (let count = x.flush(withhold); count > 0; count = x.flush(withhold)) {
      handed += count;
      for (let i = 0; i < count; i++) {
        row.move(i);
        const conn = conns[row.slot];
        if (!conn) continue;
        const { offset, length } = row;
        let bytes: Uint8Array;
        if (row.kind === RowKind.Static) {
          const number = row.body;
          bytes = this.#bodyOf(conn, number).subarray(offset, offset + length);
          // The written view keeps the body as long as it is needed.
          if (row.isLast) conn.bodies?.delete(number);
        } else {
          // mutant row-other: row.move(0); bytes = engine.view(row.offset, length); row.move(i);
          bytes = engine.view(offset, length);
        }
        try {
          // mutant write-early: if (events.write(conn, bytes) || bytes.length > 300) row.complete();
          if (events.write(conn, bytes)) row.complete();
        } catch (thrown) {
          this.#hooks.threw(thrown);
        }
      }
    }
    this.#isFlushing = false;
    // mutant pass-left: if (false) this.schedule();
    if (engine.get(Control.Unserved) === 1) this.schedule();
    this.#hooks.endPass(handed);
  }

  /** Returns a body that is outside of the engine. */
  #bodyOf({ bodies }: C, number: number): Uint8Array {
    const isPage = number >= PAGE_BODIES && number < SLOT_LIMIT;
    return (isPage ? this.#pages.get(number - PAGE_BODIES) : bodies?.get(number)) as Uint8Array;
  }

  /** Has a supplied body give what it gathers before its pieces are written next. */
  awaitPass(body: SuppliedBody): void {
    this.#gathered.add(body);
    this.schedule();
  }

  /**
   * Writes pieces of supplied bodies, for a limited time. `flush` has written everything else.
   * @returns true when there are more
   */
  flushPieces(): boolean {
    const { engine } = this;
    const { x } = engine;
    if (engine.get(Control.SuppliedCount) === 0) return false;
    for (const body of this.#gathered) body.give();
    this.#gathered.clear();
    this.#isFlushing = true;
    const until = this.#hooks.now() + PASS_MILLIS;
    let left = PASS_BYTES;
    let count = x.flushPieces(STEP_BYTES);
    while (count > 0) {
      for (let i = 0; i < count; i++) left -= this.#writePiece(i);
      // At last it takes the states of the rows.
      const isOver = left <= 0 || this.#hooks.now() >= until;
      count = x.flushPieces(isOver ? 0 : Math.min(left, STEP_BYTES));
    }
    this.#isFlushing = false;
    return engine.get(Control.ReadyCount) > 0;
  }

  /** Writes a row of the table, whose bytes are those of a supplied body. @returns their number */
  #writePiece(index: number): number {
    const row = this.#row;
    row.move(index);
    const { offset, length } = row;
    const conn = this.#conns[row.slot];
    if (!conn?.supply) return length;
    const { piece } = conn.supply;
    const at = piece.length - offset;
    const bytes = piece.subarray(at, at + length);
    try {
      const taken = this.#events.writeSome?.(conn, bytes);
      if (taken === undefined) {
        // mutant supply-early: this.#events.write(conn, bytes); row.complete();
        if (this.#events.write(conn, bytes)) row.complete();
      } else if (taken === length) {
        row.complete();
      } else {
        // A write that is pending reports when the client has made room. It holds a copy, so the rest may be recalled.
        const copy = copyBytes(bytes, taken, Math.min(PIECE_COPY, length - taken));
        row.lessen(taken + copy.length);
        if (this.#events.write(conn, copy)) row.complete();
      }
    } catch (thrown) {
      this.#hooks.threw(thrown);
    }
    return length;
  }

  /**
   * Publishes the message at the start of the scratch region.
   * @param topic its number; 0: all clients
   * @param except id of a client that does not receive it; 0: none
   */
  publish(flags: number, length: number, topic: number, except: number): Outcome {
    const { x, scratch } = this.engine;
    const slot = slotOf(except);
    const generation = generationOf(except);
    let outcome: Outcome;
    this.#refuseWithin();
    do {
      this.time();
      outcome = x.publish(flags, scratch, length, 0, 0, topic, slot, generation);
    } while (this.makesRoom(outcome));
    this.schedule();
    return outcome;
  }

  /** Reserves room for a message in the ring. `stageAppend` and `stagePublish` follow, or `stageDiscard`. */
  stageReserve(bytes: number): Outcome {
    let outcome: Outcome;
    this.#refuseWithin();
    do {
      this.time();
      outcome = this.engine.x.stageReserve(lengthOf(bytes));
    } while (this.makesRoom(outcome));
    return outcome;
  }

  /**
   * Publishes the staged message, if that can be done now. Call it again when `makesRoom` returns true for the outcome.
   * @param packed its compressed form; undefined: there is none
   */
  stagePublish(
    flags: number,
    packed: Uint8Array | undefined,
    topic: number,
    except: number,
  ): Outcome {
    const { x, u8, scratch } = this.engine;
    const slot = slotOf(except);
    const generation = generationOf(except);
    this.#refuseWithin();
    this.time();
    if (packed) u8.set(packed, scratch);
    const outcome: Outcome = x.stagePublish(
      flags,
      scratch,
      packed?.length ?? 0,
      topic,
      slot,
      generation,
    );
    // A message that must wait waits for readers, which need no turn.
    if (outcome === Outcome.Ok) this.schedule();
    return outcome;
  }

  /**
   * Carries out the inbox records at [from, to) of the scratch region, as far as possible, once. It is part of a turn,
   * so it schedules none; otherwise a batch that must wait would keep the loop busy.
   * @returns bytes from the start of the region that are done; Control.Result has the reason for stopping, for
   * `makesRoom`
   */
  drain(from: number, to: number): number {
    this.#refuseWithin();
    this.time();
    return this.engine.x.drain(from, to);
  }

  /**
   * Does the work that the engine needs done before it publishes.
   * @returns false when it needs none
   */
  makesRoom(outcome: Outcome): boolean {
    if (outcome === Outcome.Evicted) this.actOnCloses();
    else if (outcome === Outcome.Flush) this.flush(false);
    else return false;
    return true;
  }

  #refuseWithin(): void {
    if (this.#isFlushing) throw new Error("published from within a flush");
  }

  /**
   * Lets the engine check its deadlines.
   * @param until time (ms) by which everything that clients had sent has been read; Infinity: now
   * @returns ms to the next one; −1: there is none
   */
  tick(until = Number.POSITIVE_INFINITY): number {
    return this.engine.x.tick(until);
  }
}
