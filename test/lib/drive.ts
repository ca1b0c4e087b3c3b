// A small synchronous host for one engine: bytes in, events to a log, rows to bytes. The engine's loop is the one that
// the pump uses; the engine's invariants are checked after every step.
//
// Invariant: between two calls the event table is drained, the rows are settled, and nothing of a
// wire is left in the window.

import { checkEngine } from "./check";
import * as assert from "uvu/assert";
import {
  Answer,
  CloseReason,
  Control,
  EventKind,
  FrameFlag,
  HEADER_ENTRY_BYTES,
  NONE,
  Outcome,
  SLOT_LIMIT,
  Shut,
  Trait,
} from "../../assembly/abi";
import { reasonName } from "../../host/shared/close";
import { formatAddress } from "../../host/shared/text/address";
import { latin1, utf8 } from "../../host/shared/text/text";
import type { Engine, EngineParams } from "../../worker/engine/engine";
import {
  EngineLoop,
  type LoopConnection,
  type LoopEvents,
  type SuppliedBody,
} from "../../worker/engine/loop";
import { HANDSHAKE } from "./handshake";
import { testEngine } from "./wasm";

export type Bytes = string | Uint8Array;
type Fields = readonly (readonly [string, string])[];

/** Returns the bytes of a text, one for each character. */
export function octets(text: Bytes): Uint8Array {
  return typeof text === "string" ? Uint8Array.from(Buffer.from(text, "latin1")) : text;
}

/** Returns a copy; `slice` of a Buffer would be a view. */
function copied(bytes: Uint8Array, at: number, length: number): Uint8Array {
  return Uint8Array.from(bytes.subarray(at, at + length));
}

/** A request as a handler would see it. */
export interface Asked {
  readonly method: string;
  readonly target: string;
  readonly minor: number;
  readonly traits: number;
  readonly fields: Fields;
  readonly body: string;
}

/** How an answer is made; the body may be one that the host holds. */
export interface AnswerOptions {
  readonly fields?: Fields;
  readonly body?: Bytes;
  readonly flags?: number;
}

/** A request whose body is streamed. */
interface Upload {
  readonly asked: Asked;
  readonly pieces: Uint8Array[];
}

/** One connection, from accept to free. */
export class Wire implements LoopConnection {
  readonly drive: Drive;
  slot: number;
  generation: number;
  /** Events, a line each. */
  readonly log: string[] = [];
  readonly asked: Asked[] = [];
  readonly messages: Uint8Array[] = [];
  /** The request whose body comes piece by piece, until that is at its end. */
  upload: Upload | undefined;
  /** Why streamed bodies broke off. */
  readonly broken: string[] = [];
  readonly #out: Uint8Array[] = [];
  /** Rows are taken but not completed until `deliver`. */
  stalled = false;
  /** Bytes of pieces that the transport takes at once; undefined: it cannot tell. */
  some: number | undefined;
  /** The piece that was given, and what the engine has asked for and recalled, in bytes. */
  given: Uint8Array = new Uint8Array(0);
  readonly wants: number[] = [];
  readonly recalls: number[] = [];
  readonly supply: SuppliedBody;
  pending: Uint8Array | undefined;
  /** Bytes that arrived and were not HTTP. */
  readonly #taken: Uint8Array[] = [];
  /** It was taken out of HTTP. */
  isReleased = false;
  /** A request is pending. */
  open = false;
  held = false;
  drains = 0;
  /** Drains of a client that had refused nothing. */
  rooms = 0;
  ended = false;
  dead = false;
  reset = false;
  reason = 0;
  /** Code of the Close, as the Closed event tells it. */
  code = 0;
  lag = 0;
  /** Bytes that wait for a buffer. */
  rest: Uint8Array | undefined;
  unparsed = 0;

  constructor(drive: Drive, slot: number, generation: number) {
    this.drive = drive;
    this.slot = slot;
    this.generation = generation;
    const wire = this;
    this.supply = {
      get piece() {
        return wire.given;
      },
      want: (bytes) => void this.wants.push(bytes),
      recall: (bytes) => void this.recalls.push(bytes),
      give: () => undefined,
    };
  }

  get id(): number {
    return this.generation * SLOT_LIMIT + this.slot;
  }

  get isOut(): boolean {
    return this.open || this.held;
  }

  /** The bodies of all wires, which are not released. */
  get bodies(): LoopConnection["bodies"] {
    const { bodies } = this.drive;
    return { get: (number) => bodies.get(number), delete: () => false };
  }

  /** Everything written so far. */
  get out(): Uint8Array {
    return Buffer.concat(this.#out);
  }

  get text(): string {
    return Buffer.from(this.out).toString("latin1");
  }

  /** Takes what was written, and forgets it. */
  take(): Uint8Array {
    const bytes = this.out;
    this.#out.length = 0;
    return bytes;
  }

  /** All bytes that arrived since, and before, it was taken out of HTTP. */
  get taken(): string {
    return Buffer.concat(this.#taken).toString("latin1");
  }

  /** Takes the connection out of HTTP. @param opens ms within which an upstream must be open */
  release(opens = 0): Outcome {
    const bytes = this.drive.loop.takeOut(this, opens);
    if (!(bytes instanceof Uint8Array)) return bytes;
    this.isReleased = true;
    this.open = false;
    this.receive(bytes);
    return Outcome.Ok;
  }

  /** Notes bytes of a released connection. */
  receive(bytes: Uint8Array): void {
    this.#taken.push(Uint8Array.from(bytes));
  }

  /** Writes bytes of an upstream to the client of a released connection. */
  pour(data: Bytes): Outcome {
    const bytes = octets(data);
    const outcome = this.drive.loop.pour(this, bytes.length);
    if (outcome !== Outcome.Ok) return outcome;
    if (this.stalled) {
      this.pending = bytes;
    } else {
      this.write(bytes);
      this.drive.loop.done(this);
    }
    this.drive.turn();
    return outcome;
  }

  /** Bytes arrive: one read when they fit the window. */
  send(...pieces: Bytes[]): this {
    for (const piece of pieces) this.drive.feed(this, octets(piece));
    return this;
  }

  /** The peer ends its side. */
  finish(): this {
    this.drive.finish(this);
    return this;
  }

  respond(status = 200, { fields = [], body = "", flags = 0 }: AnswerOptions = {}): Outcome {
    const { engine } = this.drive;
    const length = engine.putFields(fields);
    const bytes = octets(body);
    engine.u8.set(bytes, engine.scratch + length);
    this.open = false;
    const outcome = this.drive.loop.respond(this, status, flags, length, bytes.length);
    this.drive.resumeLater(this);
    return outcome;
  }

  /** Answers with a body that the host holds, number `body`. */
  respondStatic(body: number, status = 200, { fields = [], flags = 0 }: AnswerOptions = {}) {
    const { engine, bodies } = this.drive;
    const length = engine.putFields(fields);
    const bytes = bodies.get(body)?.length ?? 0;
    this.open = false;
    const outcome = this.drive.loop.respondStatic(this, status, flags, length, body, bytes);
    this.drive.resumeLater(this);
    return outcome;
  }

  /** Begins an answer that comes piece by piece. */
  begin(status = 200, flags = 0, length = -1): Outcome {
    return this.drive.loop.streamBegin(this, status, flags, 0, length);
  }

  /** Queues a piece of the answer's body. */
  piece(data: Bytes): Outcome {
    return this.drive.loop.streamWrite(this, octets(data));
  }

  /** Begins an answer whose body is supplied. @returns the size of the first piece, with the bits SUPPLY_… */
  beginSupply(length = -1, flags: number = Answer.Again): number {
    const outcome = this.begin(200, Answer.Stream | Answer.Supply | flags, length);
    assert.is(outcome, Outcome.Ok);
    return this.drive.engine.get(Control.Result);
  }

  /** Gives a piece of the body. @param held bytes of memory that it takes @param keeps 1: the next one is there, too */
  give(data: Bytes, held = data.length, keeps: 0 | 1 = 0): Outcome {
    const bytes = octets(data);
    const outcome = this.drive.loop.give(this, bytes.length, held, keeps);
    if (outcome === Outcome.Ok) this.given = bytes;
    return outcome;
  }

  /** Ends the answer that came piece by piece. */
  conclude(): Outcome {
    this.open = false;
    const outcome = this.drive.loop.streamEnd(this);
    this.drive.resumeLater(this);
    return outcome;
  }

  /** The host waits for a piece of the request's body. */
  pull(): this {
    this.drive.loop.pull(this);
    return this;
  }

  upgrade(fields: Fields = []): Outcome {
    return this.drive.upgrade(this, fields);
  }

  /** Sends a message to this client. */
  push(data: Bytes, flags = 0): Outcome {
    const { engine } = this.drive;
    const bytes = octets(data);
    engine.u8.set(bytes, engine.scratch);
    return this.drive.loop.send(this, flags, bytes.length);
  }

  close(code = 1000, text = "", reason = CloseReason.Application): Outcome {
    return this.drive.loop.close(this, code, text, reason);
  }

  /** The transport lost the connection. */
  lose(reason = CloseReason.PeerReset): this {
    this.drive.loop.terminate(this, reason);
    this.drive.turn();
    return this;
  }

  /** The outstanding write completes. */
  deliver(): boolean {
    const bytes = this.pending;
    if (!bytes) return false;
    this.pending = undefined;
    this.write(bytes);
    this.drive.loop.done(this);
    this.drive.turn();
    return true;
  }

  /** Reads again: every write completes. */
  unstall(): this {
    this.stalled = false;
    while (this.deliver());
    this.drive.turn();
    return this;
  }

  write(bytes: Uint8Array): void {
    this.#out.push(Uint8Array.from(bytes));
  }
}

export class Drive {
  readonly engine: Engine;
  readonly loop: EngineLoop<Wire>;
  now = 1000;
  /** Bodies that the host holds, by number. */
  readonly bodies = new Map<number, Uint8Array>();
  /** Handles a request. It is left unanswered when this does nothing. */
  answer: (wire: Wire, asked: Asked) => void = (wire, asked) => {
    if (asked.traits & Trait.Upgrade) wire.upgrade();
    else wire.respond();
  };
  /** Handles a message. */
  message: (wire: Wire, data: Uint8Array, isText: boolean) => void = () => undefined;
  /** Handles the head of a request whose body is streamed. */
  began: (wire: Wire, asked: Asked) => void = (wire) => {
    wire.pull();
  };
  /** Handles a piece of such a body. */
  came: (wire: Wire, piece: Uint8Array) => void = (wire) => {
    wire.pull();
  };
  /** Handles a connection that is not HTTP. */
  foreign: (wire: Wire) => void = (wire) => {
    assert.is(wire.release(), Outcome.Ok);
  };
  #isStreamed: ((asked: Asked) => boolean) | undefined;
  /** Rows that were written or taken in the pass that runs. */
  #rows = 0;

  constructor(params: EngineParams = {}) {
    this.engine = testEngine(params);
    this.loop = new EngineLoop(this.engine, this.#events(), {
      now: () => this.now,
      date: () => 0,
      schedule: () => undefined,
      beginSlice: () => undefined,
      isSliceOver: () => false,
      parsed: () => this.check(),
      isStopped: () => false,
      isOverdue: () => false,
      goOn: (wire) => this.loop.resume(wire),
      beginPass: () => {
        this.#rows = 0;
      },
      endPass: (handed) => assert.is(handed, this.#rows, "a row has no wire"),
      threw: (thrown) => {
        throw thrown;
      },
    });
    this.time();
  }

  time(): void {
    this.loop.time();
  }

  /** From now on bodies are streamed when `decide` says so; without it they are collected unasked. */
  streamed(decide?: (asked: Asked) => boolean): this {
    this.#isStreamed = decide;
    this.loop.streams(decide !== undefined);
    return this;
  }

  /** The wires that are open, by slot. */
  get wires(): Wire[] {
    return this.loop.connections;
  }

  /** A connection is accepted; undefined when the table, or its address, is full. One may have been ended by that. */
  tryConnect(address = "", flags = 0): Wire | undefined {
    this.time();
    const slot = this.engine.accept(address, flags);
    if (slot === NONE) {
      this.handle();
      return undefined;
    }
    const wire = new Wire(this, slot, this.engine.generation);
    this.loop.join(wire);
    this.handle();
    this.check();
    return wire;
  }

  connect(address = "", flags = 0): Wire {
    const wire = this.tryConnect(address, flags) ?? this.tryConnect(address, flags);
    assert.ok(wire, "no slot is free");
    return wire as Wire;
  }

  /** A connection whose opening handshake is done. */
  webSocket(address = ""): Wire {
    const wire = this.connect(address);
    wire.send(HANDSHAKE);
    assert.match(Buffer.from(wire.take()).toString("latin1"), /^HTTP\/1\.1 101 /);
    return wire;
  }

  feed(wire: Wire, bytes: Uint8Array): void {
    if (wire.dead) return;
    if (wire.isReleased) this.#pass(wire, bytes);
    else if (wire.rest) wire.rest = Buffer.concat([wire.rest, bytes]);
    else this.loop.take(wire, bytes);
    this.turn();
  }

  /** Bytes of a released connection arrive, a window at a time. */
  #pass(wire: Wire, bytes: Uint8Array): void {
    const { engine, loop } = this;
    for (let at = 0; at < bytes.length && !wire.dead; at += engine.windowBytes) {
      const piece = bytes.subarray(at, at + engine.windowBytes);
      engine.u8.set(piece, engine.window);
      assert.is(loop.feed(wire, piece.length), 0, "bytes of a released connection were parsed");
      if (!wire.ended) wire.receive(copied(engine.u8, engine.window, piece.length));
    }
  }

  /** Resumes parsing at the end of the turn, unless it resumes by itself. */
  resumeLater(wire: Wire): void {
    if (this.loop.fed !== wire) this.loop.resumeLater(wire);
  }

  finish(wire: Wire): void {
    this.loop.peerEnded(wire);
    this.handle();
    if (!wire.dead) this.loop.resumeLater(wire);
    this.turn();
  }

  hold(wire: Wire, held: boolean): void {
    wire.held = held;
    if (held) {
      this.loop.hold(wire);
      return;
    }
    this.loop.release(wire);
    this.loop.resumeLater(wire);
    this.turn();
  }

  upgrade(wire: Wire, fields: Fields): Outcome {
    const length = this.engine.putFields(fields);
    wire.open = false;
    const outcome = this.loop.upgrade(wire, length, 0);
    this.resumeLater(wire);
    return outcome;
  }

  /** Publishes to every WebSocket, or a topic's subscribers, evicting and flushing as asked. */
  publish(data: Bytes, flags = 0, topic?: string, except?: Wire): Outcome {
    const { engine, loop } = this;
    const bytes = octets(data);
    const number = topic === undefined ? 0 : loop.topic(topic);
    if (topic !== undefined && number === 0) return Outcome.Ok;
    engine.u8.set(bytes, engine.scratch);
    return loop.publish(flags, bytes.length, number, except?.id ?? 0);
  }

  subscribe(wire: Wire, topic: string): Outcome {
    return this.loop.subscribe(wire, this.engine.putTopic(topic));
  }

  unsubscribe(wire: Wire, topic: string): Outcome {
    return this.loop.unsubscribe(wire, this.engine.putTopic(topic));
  }

  /** Time passes. @returns ms to the next deadline, −1 when there is none */
  after(ms: number): number {
    this.now += ms;
    this.time();
    this.loop.tick();
    this.turn();
    const next = this.loop.tick();
    this.turn();
    return next;
  }

  /** Handles events, writes rows and resumes held connections, until nothing is left to do. */
  turn(): void {
    this.time();
    this.handle();
    for (;;) {
      this.flush();
      if (!this.loop.hasResumes) break;
      this.loop.resumeAll();
    }
    this.check();
  }

  flush(): void {
    this.loop.flush(false);
    this.loop.flushPieces();
    this.handle();
  }

  handle(): void {
    this.loop.handleEvents();
  }

  /** Acts on the closes in the table at once. */
  actOnCloses(): void {
    this.loop.actOnCloses();
  }

  // ---- events ------------------------------------------------------------------------------------------

  #events(): LoopEvents<Wire> {
    const bytes = (pointer: number, length: number): Uint8Array =>
      copied(this.engine.u8, pointer, length);
    return {
      request: (wire, hasBodyToCome) => {
        if (hasBodyToCome) this.#decide(wire);
        else this.#ask(wire, this.#request(wire));
      },
      bodyChunk: (wire, pointer, length) => this.#takePiece(wire, bytes(pointer, length)),
      bodyEnd: (wire, reason) => this.#endUpload(wire, reason),
      message: (wire, pointer, length, opcode) => {
        const data = bytes(pointer, length);
        wire.messages.push(data);
        wire.log.push(opcode === 1 ? `text ${quote(data, true)}` : `binary ${quote(data, false)}`);
        this.message(wire, data, opcode === 1);
      },
      fragment: () => assert.unreachable("pieces of messages were not asked for"),
      ping: (wire, pointer, length) => {
        wire.log.push(`ping ${quote(bytes(pointer, length), false)}`);
      },
      pong: (wire, pointer, length) => {
        wire.log.push(`pong ${quote(bytes(pointer, length), false)}`);
      },
      peerClose: (wire, code, pointer, length) => {
        wire.log.push(`peer close ${code} ${quote(bytes(pointer, length), true)}`);
      },
      drain: (wire, wasRefused) => {
        if (wasRefused) wire.drains++;
        else wire.rooms++;
        if (wire.slot < this.#httpSlots) this.loop.resumeLater(wire);
      },
      buffer: (wire) => {
        wire.drains++;
        this.loop.resumeLater(wire);
      },
      others: {
        [EventKind.Inflate]: () => assert.unreachable("compression was not agreed on"),
        [EventKind.Proxied]: (wire, { pointer, length }) => {
          const address = length === 0 ? "" : formatAddress(this.engine.u8, pointer);
          wire.log.push(`proxied ${address}`.trimEnd());
        },
        [EventKind.EndWaits]: (wire) => {
          wire.log.push("end waits");
        },
        [EventKind.Foreign]: (wire) => {
          wire.log.push("foreign");
          this.foreign(wire);
        },
      },
      end: (wire, reason) => {
        wire.ended = true;
        wire.reason = reason;
        wire.log.push(`end ${reasonName(reason)}`);
      },
      shut: (wire, how, reason) => {
        wire.reset = how === Shut.Reset;
        wire.reason = reason;
        wire.pending = undefined;
        wire.upload = undefined;
        wire.open = false;
        wire.log.push(`closed ${reasonName(reason)}`);
      },
      closed: (wire, _reason, lagBytes, code) => {
        wire.code = code;
        wire.lag = lagBytes;
      },
      write: (wire, row) => {
        assert.ok(row.length > 0, "a row without bytes");
        assert.ok(!wire.pending, "a second write is outstanding");
        this.#rows++;
        if (wire.stalled) wire.pending = row;
        else wire.write(row);
        return !wire.stalled;
      },
      writeSome: (wire, bytes) => {
        if (wire.some === undefined) return undefined;
        assert.ok(!wire.pending, "a second write is outstanding");
        const taken = Math.min(wire.some, bytes.length);
        wire.some -= taken;
        if (taken > 0) wire.write(bytes.subarray(0, taken));
        return taken;
      },
    };
  }

  get #httpSlots(): number {
    return this.engine.params[0] as number;
  }

  /** The request that is pending. */
  #request(wire: Wire): Asked {
    const { engine } = this;
    const { u8, u16 } = engine;
    const at = engine.head(wire.slot);
    const fields: [string, string][] = [];
    for (let i = 0; i < at.fields; i++) {
      const entry = (at.table + i * HEADER_ENTRY_BYTES) >>> 1;
      const word = (n: number): number => u16[entry + n] as number;
      fields.push([latin1(u8, at.head + word(0), word(1)), latin1(u8, at.head + word(2), word(3))]);
    }
    return {
      method: engine.methodName(at.method) ?? "?",
      target: latin1(u8, at.head + at.target, at.targetLength),
      minor: at.minor,
      traits: at.traits,
      fields,
      body: latin1(u8, at.body, at.bodyLength),
    };
  }

  #ask(wire: Wire, asked: Asked): void {
    wire.asked.push(asked);
    const body = asked.body === "" ? "" : ` ${quote(octets(asked.body), false)}`;
    const last = asked.traits & Trait.Persistent ? "" : " last";
    wire.log.push(`${asked.method} ${brief(asked.target)} 1.${asked.minor}${body}${last}`);
    wire.open = true;
    this.answer(wire, asked);
  }

  /** Says what becomes of a body. */
  #decide(wire: Wire): void {
    const asked = this.#request(wire);
    assert.is(asked.body, "", "a head comes with a body");
    if (!this.#isStreamed?.(asked)) {
      this.loop.collect(wire);
    } else if (this.loop.stream(wire) === Outcome.Ok) {
      wire.upload = { asked, pieces: [] };
      wire.open = true;
      this.began(wire, asked);
    }
  }

  #takePiece(wire: Wire, piece: Uint8Array): void {
    assert.ok(wire.upload, "a piece of no body");
    assert.ok(piece.length > 0, "an empty piece");
    wire.upload?.pieces.push(piece);
    this.came(wire, piece);
  }

  #endUpload(wire: Wire, reason: number): void {
    const { upload } = wire;
    assert.ok(upload, "the end of no body");
    wire.upload = undefined;
    if (reason !== 0) {
      wire.broken.push(reasonName(reason));
      wire.open = false;
    } else if (upload) {
      const body = Buffer.concat(upload.pieces).toString("latin1");
      this.#ask(wire, { ...upload.asked, body });
    }
  }

  check(): void {
    checkEngine(this.engine);
  }

  /** Ends every wire and sees that nothing leaked. */
  end(): void {
    for (const wire of this.wires) wire.lose();
    this.engine.x.gauge();
    const left = (index: Control): number => this.engine.get(index);
    assert.is(left(Control.ReceivePoolUsed), 0, "the receive pool leaks");
    assert.is(left(Control.ReplyPoolUsed), 0, "the reply pool leaks");
    assert.is(left(Control.ConnectionCount), 0, "connections are left");
    assert.is(left(Control.WebSocketCount), 0, "WebSockets are left");
    assert.is(left(Control.DeadCount), 0, "dead slots are left");
    assert.is(left(Control.AddressCount), 0, "addresses are left");
    assert.is(left(Control.PieceBytesUsed), 0, "pieces are left");
    assert.is(left(Control.SuppliedCount), 0, "supplied responses are left");
    assert.is(this.engine.x.tick(Number.POSITIVE_INFINITY), -1, "deadlines are left");
    this.check();
  }
}

/** Shortens a long text to its length, for the log. */
function brief(text: string): string {
  return text.length > 40 ? `(${text.length})` : text;
}

function quote(bytes: Uint8Array, isText: boolean): string {
  if (bytes.length > 40) return `(${bytes.length})`;
  return JSON.stringify(isText ? utf8(bytes, 0, bytes.length) : latin1(bytes, 0, bytes.length));
}

export const BINARY = FrameFlag.Binary;
