// The loop around one engine: read, feed, events, rows, written. It keeps the rules of assembly/index.ts, and is the
// only interpreter of the engine's tables: whatever holds an engine says by `LoopEvents` what each event means to it,
// and by `LoopHooks` where it differs.
//
// Invariants
//   Events are handled in one place, `handleEvents`, which is never entered twice. Closes that must be acted on at once
//   (a reader is evicted, its memory is about to be overwritten) are taken out of turn by `actOnCloses`.
//   Between `flush` and the last write of its table nothing is published.
//   A connection is not in the table any more when its transport is closed, and its slot is freed after that, so
//   nothing reads memory that is given away.

import {
  Control,
  EventKind,
  NONE,
  Outcome,
  RowKind,
  SLOT_LIMIT,
  type Shut,
  Trait,
} from "../../assembly/abi";
import type { FragmentInfo } from "../../host/handler";
import { copyBytes } from "../../host/shared/text/text";
import { Calls, type Slot } from "./calls";
import type { EventCursor, RowCursor } from "./cursors";
import { type Engine, lengthOf } from "./engine";

/** A connection as the loop keeps it. */
export interface LoopConnection extends Slot {
  /** It has ended. */
  dead: boolean;
  /** Names it for ever, but for an upgrade. */
  readonly id: number;
  /** Bytes that the engine has not taken in. */
  rest: Uint8Array | undefined;
  /** Bytes that the engine has not parsed. */
  unparsed: number;
  /** Bodies of its answers outside the engine, by number. */
  readonly bodies: Pick<Map<number, Uint8Array>, "get" | "delete"> | undefined;
  /** A request of it is out, or it is held: what it sent is kept where it can be read later. */
  readonly isOut: boolean;
}

/** What the events of the engine mean. Pointers are valid until the callback returns. */
export interface LoopEvents<C> {
  /** A whole request is out; or its head alone, and it must be said first what becomes of the body. */
  request(conn: C, hasBodyToCome: boolean): void;
  /** A piece of a streamed body. */
  bodyChunk(conn: C, pointer: number, length: number): void;
  /** The end of a streamed body. @param reason 0: it is whole */
  bodyEnd(conn: C, reason: number): void;
  /** A whole message. @param opcode 1: text, 2: binary */
  message(conn: C, pointer: number, length: number, opcode: number): void;
  /** A piece of a message. */
  fragment(conn: C, pointer: number, length: number, info: FragmentInfo): void;
  /** A compressed message; where compression is agreed on. */
  inflate?(conn: C, pointer: number, length: number, opcode: number): void;
  ping(conn: C, pointer: number, length: number): void;
  pong(conn: C, pointer: number, length: number): void;
  /** The peer's Close frame. */
  peerClose(conn: C, code: number, pointer: number, length: number): void;
  /** There is room in its queue again. */
  drain(conn: C): void;
  /** A buffer is free: `rest` can be taken in. */
  buffer(conn: C): void;
  /** A PROXY header was taken; where connections begin with one. @param length 0: it names no address */
  proxied?(conn: C, pointer: number, length: number): void;
  /** What ends a relayed WebSocket waits for the answers to its messages. */
  endWaits?(conn: C): void;
  /** Everything is written: half-close. */
  end(conn: C, reason: number): void;
  /** Close the transport now: the memory of what it has not sent is about to be reused. */
  shut(conn: C, how: Shut, reason: number): void;
  /**
   * The connection has ended, and its slot is free.
   * @param isEarly the loop is within a call, or before other events: no user code may run
   */
  closed(conn: C, reason: number, lagBytes: number, code: number, isEarly: boolean): void;
  /** Writes bytes. @returns true: they were sent or copied; false: `done` follows when they are */
  write(conn: C, bytes: Uint8Array): boolean;
}

/** Where holders of an engine differ. */
export interface LoopHooks<C> {
  /** Monotonic ms. */
  now(): number;
  /** Unix ms. */
  date(): number;
  /** Makes a turn follow. */
  schedule(): void;
  /** A connection is about to be parsed on. @param fed bytes that came, 0 when it goes on */
  beginSlice(fed: number): void;
  /** True when a connection has had its share of this turn; then it waits for another. */
  isSliceOver(conn: C): boolean;
  /** A connection has been parsed as far as it can be. */
  parsed(conn: C): void;
  /** True when nothing more of a connection may be taken in for now. */
  isStopped(conn: C): boolean;
  /** True when the turn has taken so long that what goes on waits for the next. */
  isOverdue(): boolean;
  /** Goes on with a connection of `resumeLater`; `resume` does it. */
  goOn(conn: C): void;
  beginPass(): void;
  /** @param handed rows that were handed over */
  endPass(handed: number): void;
  /** Takes what a callback threw; what it throws itself leaves the loop. */
  threw(thrown: unknown): void;
}

/** What a Fragment event says of its piece. */
function fragmentOf({ value, extra }: EventCursor): FragmentInfo {
  return {
    first: (value & 0x100) !== 0,
    last: (value & 0x200) !== 0,
    isBinary: (value & 15) === 2,
    remaining: extra,
  };
}

export class EngineLoop<C extends LoopConnection> extends Calls {
  readonly #events: LoopEvents<C>;
  readonly #hooks: LoopHooks<C>;
  readonly #event: EventCursor;
  readonly #close: EventCursor;
  readonly #row: RowCursor;
  readonly #conns: (C | undefined)[] = [];
  #resumes: C[] = [];
  #eventAt = 0;
  #isHandling = false;
  #isFlushing = false;
  /** When the Date of answers has to be looked up again. */
  #dateUntil = Number.NEGATIVE_INFINITY;
  /** The connection whose bytes are being parsed. */
  fed: C | undefined;

  constructor(engine: Engine, events: LoopEvents<C>, hooks: LoopHooks<C>) {
    super(engine);
    this.#events = events;
    this.#hooks = hooks;
    this.#event = engine.eventCursor();
    this.#close = engine.eventCursor();
    this.#row = engine.rowCursor();
  }

  // ---- the preamble ------------------------------------------------------------------------------------

  /** A clock that is read costs as much as a small answer, and while events are handled nobody falls further behind. */
  override time(): void {
    if (this.#isHandling) return;
    const now = this.#hooks.now();
    this.engine.set(Control.Now, now);
    if (now >= this.#dateUntil) this.#setDate(now);
  }

  /** Sets the Date of answers, until its second is over. */
  #setDate(now: number): void {
    const date = this.#hooks.date();
    this.engine.set(Control.Date, Math.floor(date / 1000));
    this.#dateUntil = now + 1000 - (date % 1000);
  }

  override schedule(): void {
    this.#hooks.schedule();
  }

  // ---- connections -------------------------------------------------------------------------------------

  /** Events are being handled. */
  get isHandling(): boolean {
    return this.#isHandling;
  }

  /** Rows are being written: nothing may be published. */
  get isFlushing(): boolean {
    return this.#isFlushing;
  }

  /** The connection in a slot. */
  at(slot: number): C | undefined {
    return this.#conns[slot];
  }

  /** The connection of an id; undefined when it is stale. */
  find(id: number): C | undefined {
    const conn = this.#conns[id % SLOT_LIMIT];
    // mutant stale-peer: return conn;
    return conn && conn.id === id ? conn : undefined;
  }

  /** Those that have not ended. */
  get connections(): C[] {
    return this.#conns.filter((conn) => conn !== undefined);
  }

  /** True when there is none. */
  get isEmpty(): boolean {
    const { engine } = this;
    return (
      engine.get(Control.ConnectionCount) === 0 &&
      engine.get(Control.DeadCount) === 0 &&
      this.#conns.every((conn) => conn === undefined)
    );
  }

  /**
   * Takes a connection in; `join` follows.
   * @param address that it is counted under; "": none @param flags bits of Arrival
   * @returns its slot, its generation is Control.Generation; NONE: it is refused for the reason in Control.Result
   */
  accept(address: string, flags: number): number {
    const { engine } = this;
    this.time();
    let slot = engine.accept(address, flags);
    if (slot === NONE && engine.get(Control.Result) === 0) {
      // One was ended to make room.
      this.actOnCloses();
      slot = engine.accept(address, flags);
    }
    return slot;
  }

  /** From now on events of a slot are this connection's. */
  join(conn: C): void {
    this.#conns[conn.slot] = conn;
    this.schedule();
  }

  /**
   * Makes the connection whose request is out a WebSocket, with another slot. The fields are in the scratch region.
   * @param deflate 0: its messages are plain; 1: compressed as published; 2: compressed one by one
   */
  upgrade(conn: C, fieldsLength: number, deflate: number): Outcome {
    const { engine } = this;
    this.time();
    let outcome: Outcome = engine.x.upgrade(conn.slot, conn.generation, fieldsLength, deflate);
    if (outcome === Outcome.Evicted) {
      this.actOnCloses();
      outcome = engine.x.upgrade(conn.slot, conn.generation, fieldsLength, deflate);
    }
    if (outcome === Outcome.Ok) {
      this.#conns[conn.slot] = undefined;
      conn.slot = engine.get(Control.Result);
      conn.generation = engine.get(Control.Generation);
      this.#conns[conn.slot] = conn;
    }
    this.schedule();
    return outcome;
  }

  /** Keeps a connection from being parsed. Its messages whose events wait are taken back. */
  hold(conn: C): void {
    this.time();
    const from = this.#isHandling ? this.#eventAt + 1 : NONE;
    this.engine.x.hold(conn.slot, conn.generation, 1, from);
    this.schedule();
  }

  /** Lets a connection go on that was held. */
  release(conn: C): void {
    this.time();
    this.engine.x.hold(conn.slot, conn.generation, 0, NONE);
    this.schedule();
  }

  // ---- bytes in ----------------------------------------------------------------------------------------

  /**
   * Bytes of a connection are in the window. Events of others come first: those of this connection are handled one
   * after the other, with nothing in between.
   * @returns bytes that were not consumed; `progress` follows
   */
  feed(conn: C, n: number): number {
    const { engine } = this;
    if (engine.eventCount > 0) this.handleEvents();
    this.time();
    return n - engine.x.feed(conn.slot, conn.generation, n);
  }

  /**
   * Handles the events of a feed or a resume, and goes on until nothing more can be parsed.
   * @param fed bytes in the window, 0 when a connection that was held goes on
   * @param left those of them that were not consumed
   */
  progress(conn: C, fed: number, left: number): void {
    const { engine } = this;
    const { slot } = conn;
    this.fed = conn;
    this.handleEvents();
    let rest = left;
    // A request that was consumed whole leaves nothing to parse, unless it made the connection another.
    const isLeft = left > 0 || fed === 0 || conn.slot !== slot;
    if (this.#goesOn(conn) && (isLeft || engine.isMessageOut(conn.slot))) {
      this.#hooks.beginSlice(fed);
      let before = -1;
      do {
        if (this.#hooks.isSliceOver(conn)) break;
        before = rest;
        rest = engine.x.resume(conn.slot, conn.generation);
        this.handleEvents();
        // A message may have gone out without a byte being taken, an empty last fragment, or have been taken back.
      } while (this.#goesOn(conn) && (rest !== before || engine.isMessageOut(conn.slot)));
    }
    if (this.#goesOn(conn) && (rest > 0 || conn.isOut)) {
      if (engine.x.retain(conn.slot, conn.generation) === 0) this.handleEvents();
    }
    if (!conn.dead && rest > 0 && engine.isWaiting(conn.slot)) {
      // Not consumed because no buffer is free: kept here, since the window is for the next connection.
      conn.rest = copyBytes(engine.u8, engine.window + fed - rest, rest);
    }
    this.fed = undefined;
    conn.unparsed = conn.dead ? 0 : rest;
    this.#hooks.parsed(conn);
  }

  /** True for a connection that is there, and waits for no buffer. */
  #goesOn(conn: C): boolean {
    return !conn.dead && !this.engine.isWaiting(conn.slot);
  }

  /** Takes bytes in, a window at a time, and keeps what is left when the connection takes no more. */
  take(conn: C, bytes: Uint8Array): void {
    const { engine } = this;
    const { windowBytes } = engine;
    for (let at = 0; at < bytes.length && !conn.dead; ) {
      if (engine.eventCount > 0) this.handleEvents();
      const piece = bytes.subarray(at, at + windowBytes);
      at += piece.length;
      engine.u8.set(piece, engine.window);
      this.progress(conn, piece.length, this.feed(conn, piece.length));
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

  /** Goes on with a connection that was held, or waited for a buffer, or whose request was answered. */
  resume(conn: C): void {
    if (this.engine.eventCount > 0) this.handleEvents();
    if (conn.dead) return;
    const { rest } = conn;
    conn.rest = undefined;
    this.time();
    if (rest) this.take(conn, rest);
    else this.progress(conn, 0, 0);
  }

  /** Goes on with a connection at the end of this turn, so that no handler is entered from another. */
  resumeLater(conn: C): void {
    this.#resumes.push(conn);
    this.schedule();
  }

  /** Connections are to go on. */
  get hasResumes(): boolean {
    return this.#resumes.length > 0;
  }

  /** Goes on with those that are to, in the next turn with those that are left when this one has taken long. */
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

  /** Handles the events in the table, with those that are added meanwhile. */
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
      case EventKind.Inflate:
        events.inflate?.(conn, event.pointer, event.length, event.value);
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
        if (event.value === 0) events.drain(conn);
        else events.buffer(conn);
        break;
      case EventKind.Proxied:
        events.proxied?.(conn, event.pointer, event.length);
        break;
      case EventKind.EndWaits:
        events.endWaits?.(conn);
        break;
      case EventKind.End:
        events.end(conn, event.value);
        break;
      case EventKind.Closed:
        this.#end(event, false);
        break;
      case 0:
        // A message that was taken back.
        break;
      default:
        throw new Error(`the engine's event kind ${kind} is unknown`);
    }
  }

  /** Lets go of a connection. */
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
   * Hands over what is due: until the engine has no more rows.
   * @param isWithheld what was published may wait for the next pass
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
          bytes = (conn.bodies?.get(number) as Uint8Array).subarray(offset, offset + length);
          // The view that is written keeps it for as long as it is needed.
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
    this.#hooks.endPass(handed);
  }

  /**
   * Publishes the message at the start of the scratch region.
   * @param topic its number; 0: everyone @param except id of a client that does not get it; 0: none
   */
  publish(flags: number, length: number, topic: number, except: number): Outcome {
    const { x, scratch } = this.engine;
    const slot = except % SLOT_LIMIT;
    const generation = Math.floor(except / SLOT_LIMIT);
    let outcome: Outcome;
    this.#refuseWithin();
    do {
      this.time();
      outcome = x.publish(flags, scratch, length, 0, 0, topic, slot, generation);
    } while (this.makesRoom(outcome));
    this.schedule();
    return outcome;
  }

  /** Reserves room for a message in the ring: `stageAppend` and `stagePublish` follow, or `stageDiscard`. */
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
   * Publishes what was staged, if that can be done now: again when `makesRoom` says so of the outcome.
   * @param packed its compressed form; undefined: there is none
   */
  stagePublish(
    flags: number,
    packed: Uint8Array | undefined,
    topic: number,
    except: number,
  ): Outcome {
    const { x, u8, scratch } = this.engine;
    const slot = except % SLOT_LIMIT;
    const generation = Math.floor(except / SLOT_LIMIT);
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
    // One that has to wait waits for readers.
    if (outcome === Outcome.Ok) this.schedule();
    return outcome;
  }

  /**
   * Carries out the inbox records at [from, to) of the scratch region, as far as it goes, once. It is part of a turn,
   * so none is scheduled: a batch that has to wait would never let the loop rest.
   * @returns bytes from the start of the region that are done; why it stopped is Control.Result: see `makesRoom`
   */
  drain(from: number, to: number): number {
    this.#refuseWithin();
    this.time();
    return this.engine.x.drain(from, to);
  }

  /**
   * Does what the engine asks for before it publishes.
   * @returns false when it asks for nothing
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

  /** Lets deadlines pass. @returns ms to the next; −1: there is none */
  tick(): number {
    return this.engine.x.tick();
  }
}
