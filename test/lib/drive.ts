// A small synchronous host for one engine: bytes in, events to a log, rows to bytes. It keeps the
// engine's rules to the letter and checks its invariants after every step.
//
// Invariant: between two calls the event table is drained, the rows are settled, and nothing of a
// wire is left in the window.

import { checkEngine } from "./check";
import * as assert from "uvu/assert";
import {
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
  HEADER_ENTRY_BYTES,
  NONE,
  Outcome,
  ROW_BODY,
  ROW_BYTES,
  ROW_KIND,
  ROW_LENGTH,
  ROW_OFFSET,
  ROW_SLOT,
  ROW_STATE,
  RowKind,
  RowState,
  Shut,
  Trait,
} from "../../assembly/abi";
import { formatAddress } from "../../host/shared/text/address";
import { reasonName } from "../../host/shared/close";
import { latin1, utf8 } from "../../host/shared/text/text";
import type { Engine, EngineParams } from "../../worker/engine/engine";
import { testEngine } from "./wasm";

export type Bytes = string | Uint8Array;
type Fields = readonly (readonly [string, string])[];

/** Bytes of a text, one for each character. */
export function octets(text: Bytes): Uint8Array {
  return typeof text === "string" ? Uint8Array.from(Buffer.from(text, "latin1")) : text;
}

/** A copy; `slice` of a Buffer would be a view. */
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

interface Row {
  readonly kind: number;
  readonly offset: number;
  readonly length: number;
  readonly body: number;
}

/** A request whose body is streamed. */
interface Upload {
  readonly asked: Asked;
  readonly pieces: Uint8Array[];
}

/** One connection, from accept to free. */
export class Wire {
  readonly drive: Drive;
  slot: number;
  generation: number;
  /** What happened, a line each. */
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
  pending: Row | undefined;
  /** A request is out. */
  open = false;
  held = false;
  drains = 0;
  ended = false;
  dead = false;
  reset = false;
  reason = 0;
  /** Code of the Close, as the Closed event tells it. */
  code = 0;
  lag = 0;
  /** Bytes that wait for a buffer. */
  rest: Uint8Array = new Uint8Array(0);

  constructor(drive: Drive, slot: number, generation: number) {
    this.drive = drive;
    this.slot = slot;
    this.generation = generation;
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
    const { slot, generation } = this;
    const outcome = engine.x.respond(slot, generation, status, flags, length, bytes.length);
    this.drive.resumeLater(this);
    return outcome;
  }

  /** Answers with a body that the host holds, number `body`. */
  respondStatic(body: number, status = 200, { fields = [], flags = 0 }: AnswerOptions = {}) {
    const { engine, bodies } = this.drive;
    const length = engine.putFields(fields);
    const bytes = bodies.get(body)?.length ?? 0;
    this.open = false;
    const { slot, generation } = this;
    const outcome = engine.x.respondStatic(slot, generation, status, flags, length, body, bytes);
    this.drive.resumeLater(this);
    return outcome;
  }

  /** Begins an answer that comes piece by piece. */
  begin(status = 200, flags = 0): Outcome {
    const { x } = this.drive.engine;
    return x.streamBegin(this.slot, this.generation, status, flags, 0);
  }

  /** Queues a piece of the answer's body. */
  piece(data: Bytes): Outcome {
    const { engine } = this.drive;
    const { slot, generation } = this;
    const bytes = octets(data);
    const outcome = engine.x.streamWrite(slot, generation, bytes.length) as Outcome;
    if (outcome !== Outcome.Ok) return outcome;
    engine.u8.set(bytes, engine.scratch);
    engine.x.sendBytes(engine.scratch, bytes.length);
    engine.x.streamNext(slot, generation);
    return outcome;
  }

  /** Ends the answer that came piece by piece. */
  conclude(): Outcome {
    this.open = false;
    const outcome = this.drive.engine.x.streamEnd(this.slot, this.generation);
    this.drive.resumeLater(this);
    return outcome;
  }

  /** The host waits for a piece of the request's body. */
  pull(): this {
    this.drive.time();
    this.drive.engine.x.pull(this.slot, this.generation);
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
    return engine.x.send(this.slot, this.generation, flags, engine.scratch, bytes.length);
  }

  close(code = 1000, text = "", reason = CloseReason.Application): Outcome {
    const { engine } = this.drive;
    const bytes = Buffer.from(text);
    engine.u8.set(bytes, engine.scratch);
    const { slot, generation } = this;
    const { scratch, x } = engine;
    return x.close(slot, generation, code, scratch, bytes.length, reason);
  }

  /** The transport lost the connection. */
  lose(reason = CloseReason.PeerReset): this {
    this.drive.time();
    this.drive.engine.x.terminate(this.slot, this.generation, reason);
    this.drive.turn();
    return this;
  }

  /** The outstanding write completes. */
  deliver(): boolean {
    const row = this.pending;
    if (!row) return false;
    this.pending = undefined;
    this.write(row);
    this.drive.time();
    this.drive.engine.x.done(this.slot, this.generation);
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

  write(row: Row): void {
    const { engine, bodies } = this.drive;
    const source = row.kind === RowKind.Static ? bodies.get(row.body) : engine.u8;
    assert.ok(source, "a row names a body that there is not");
    this.#out.push(copied(source as Uint8Array, row.offset, row.length));
  }
}

export class Drive {
  readonly engine: Engine;
  now = 1000;
  /** Bodies that the host holds, by number. */
  readonly bodies = new Map<number, Uint8Array>();
  /** What is done with a request; leaves it out when it does nothing. */
  answer: (wire: Wire, asked: Asked) => void = (wire, asked) => {
    if (asked.traits & Trait.Upgrade) wire.upgrade();
    else wire.respond();
  };
  /** What is done with a message. */
  message: (wire: Wire, data: Uint8Array, isText: boolean) => void = () => undefined;
  /** What is done when the head of a request is out whose body is streamed. */
  began: (wire: Wire, asked: Asked) => void = (wire) => {
    wire.pull();
  };
  /** What is done with a piece of such a body. */
  came: (wire: Wire, piece: Uint8Array) => void = (wire) => {
    wire.pull();
  };
  #isStreamed: ((asked: Asked) => boolean) | undefined;
  readonly #wires: (Wire | undefined)[] = [];
  #resumes: Wire[] = [];
  #eventAt = 0;
  #handling = false;
  /** The wire whose bytes are being parsed. */
  #fed: Wire | undefined;

  constructor(params: EngineParams = {}) {
    this.engine = testEngine(params);
    this.time();
  }

  time(): void {
    this.engine.set(Control.Now, this.now);
  }

  /** From now on bodies are streamed when `decide` says so; without it they are collected unasked. */
  streamed(decide?: (asked: Asked) => boolean): this {
    this.#isStreamed = decide;
    this.engine.x.streams(decide ? 1 : 0);
    return this;
  }

  /** The wires that are open, by slot. */
  get wires(): Wire[] {
    return this.#wires.filter((wire) => wire !== undefined);
  }

  /** A connection is accepted; undefined when the table, or its address, is full. */
  tryConnect(address = "", flags = 0): Wire | undefined {
    this.time();
    const slot = this.engine.accept(address, flags);
    if (slot === NONE) {
      this.handle();
      return undefined;
    }
    const wire = new Wire(this, slot, this.engine.get(Control.Generation));
    this.#wires[slot] = wire;
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
    const { engine } = this;
    for (let at = 0; at < bytes.length; at += engine.windowBytes) {
      if (wire.dead) return;
      const piece = bytes.subarray(at, at + engine.windowBytes);
      if (wire.rest.length > 0) wire.rest = Buffer.concat([wire.rest, piece]);
      else this.#read(wire, piece);
    }
    this.turn();
  }

  #read(wire: Wire, piece: Uint8Array): void {
    const { engine } = this;
    this.time();
    engine.u8.set(piece, engine.window);
    const consumed = engine.x.feed(wire.slot, wire.generation, piece.length);
    assert.ok(consumed >= 0 && consumed <= piece.length, `${consumed} of ${piece.length} consumed`);
    this.#progress(wire, piece.length, piece.length - consumed);
  }

  /**
   * Handles the events of a feed or a resume, and goes on until nothing more can be parsed.
   * @param fed bytes in the window @param left those of them that were not consumed
   */
  #progress(wire: Wire, fed: number, left: number): void {
    const { engine } = this;
    const { x } = engine;
    this.#fed = wire;
    this.handle();
    let rest = left;
    const goesOn = (): boolean => !wire.dead && !engine.isWaiting(wire.slot);
    for (let before = -1; goesOn() && (rest !== before || engine.isMessageOut(wire.slot)); ) {
      before = rest;
      rest = x.resume(wire.slot, wire.generation);
      this.handle();
    }
    if (goesOn() && (rest > 0 || wire.open || wire.held)) {
      if (x.retain(wire.slot, wire.generation) === 0) this.handle();
    }
    if (!wire.dead && engine.isWaiting(wire.slot)) {
      if (rest > 0) wire.rest = copied(engine.u8, engine.window + fed - rest, rest);
    }
    this.#fed = undefined;
    this.check();
  }

  /** Parsing goes on at the end of the turn, when it does not go on by itself. */
  resumeLater(wire: Wire): void {
    if (this.#fed !== wire) this.#resumes.push(wire);
  }

  finish(wire: Wire): void {
    this.time();
    this.engine.x.peerEnded(wire.slot, wire.generation);
    this.handle();
    if (!wire.dead) this.#resumes.push(wire);
    this.turn();
  }

  hold(wire: Wire, held: boolean): void {
    wire.held = held;
    this.engine.x.hold(
      wire.slot,
      wire.generation,
      held ? 1 : 0,
      this.#handling ? this.#eventAt + 1 : NONE,
    );
    if (!held) {
      this.#resumes.push(wire);
      this.turn();
    }
  }

  upgrade(wire: Wire, fields: Fields): Outcome {
    const { engine } = this;
    const length = engine.putFields(fields);
    wire.open = false;
    let outcome = engine.x.upgrade(wire.slot, wire.generation, length, 0);
    if (outcome === Outcome.Evicted) {
      this.actOnCloses();
      outcome = engine.x.upgrade(wire.slot, wire.generation, length, 0);
    }
    if (outcome === Outcome.Ok) {
      this.#wires[wire.slot] = undefined;
      wire.slot = engine.get(Control.Result);
      wire.generation = engine.get(Control.Generation);
      this.#wires[wire.slot] = wire;
    }
    this.resumeLater(wire);
    return outcome;
  }

  /** Publishes to every WebSocket, or a topic's subscribers, evicting and flushing as asked. */
  publish(data: Bytes, flags = 0, topic?: string, except?: Wire): Outcome {
    const { engine } = this;
    const bytes = octets(data);
    for (;;) {
      this.time();
      const { scratch, x } = engine;
      const number = topic === undefined ? 0 : x.findTopic(scratch, engine.putTopic(topic));
      if (topic !== undefined && number === 0) return Outcome.Ok;
      engine.u8.set(bytes, scratch);
      const slot = except?.slot ?? 0;
      const generation = except?.generation ?? 0;
      const outcome: Outcome = x.publish(
        flags,
        scratch,
        bytes.length,
        0,
        0,
        number,
        slot,
        generation,
      );
      if (outcome === Outcome.Evicted) this.actOnCloses();
      else if (outcome === Outcome.Flush) this.flush();
      else return outcome;
    }
  }

  subscribe(wire: Wire, topic: string): Outcome {
    const { engine } = this;
    const length = engine.putTopic(topic);
    return engine.x.subscribe(wire.slot, wire.generation, engine.scratch, length);
  }

  unsubscribe(wire: Wire, topic: string): Outcome {
    const { engine } = this;
    const length = engine.putTopic(topic);
    return engine.x.unsubscribe(wire.slot, wire.generation, engine.scratch, length);
  }

  /** Time passes. @returns ms to the next deadline, −1 when there is none */
  after(ms: number): number {
    this.now += ms;
    this.time();
    this.engine.x.tick();
    this.turn();
    const next = this.engine.x.tick();
    this.turn();
    return next;
  }

  /** Handles events, hands rows over, goes on with who may go on; until nothing is left to do. */
  turn(): void {
    this.time();
    this.handle();
    for (;;) {
      this.flush();
      const resumes = this.#resumes;
      if (resumes.length === 0) break;
      this.#resumes = [];
      for (const wire of resumes) {
        if (wire.dead) continue;
        const rest = wire.rest;
        wire.rest = new Uint8Array(0);
        if (rest.length === 0) this.#progress(wire, 0, 0);
        for (let at = 0; at < rest.length; at += this.engine.windowBytes) {
          const piece = rest.subarray(at, at + this.engine.windowBytes);
          if (wire.dead) break;
          if (wire.rest.length > 0) wire.rest = Buffer.concat([wire.rest, piece]);
          else this.#read(wire, piece);
        }
      }
    }
    this.check();
  }

  flush(): void {
    const { engine } = this;
    const { u32, x } = engine;
    for (let count = x.flush(0); count > 0; count = x.flush(0)) {
      for (let i = 0; i < count; i++) {
        const at = engine.rows + i * (ROW_BYTES >>> 2);
        const field = (offset: number): number => u32[at + (offset >>> 2)] as number;
        const wire = this.#wires[field(ROW_SLOT)];
        assert.ok(wire, `a row for slot ${field(ROW_SLOT)}, which has no wire`);
        const row = {
          kind: field(ROW_KIND),
          offset: field(ROW_OFFSET),
          length: field(ROW_LENGTH),
          body: field(ROW_BODY),
        };
        assert.ok(row.length > 0, "a row without bytes");
        assert.ok(!wire?.pending, "a second write is outstanding");
        if (wire?.stalled) {
          wire.pending = row;
        } else {
          wire?.write(row);
          u32[at + (ROW_STATE >>> 2)] = RowState.Complete;
        }
      }
    }
    this.handle();
  }

  #wireOf(at: number): Wire | undefined {
    const { u32 } = this.engine;
    const wire = this.#wires[u32[at + (EVENT_SLOT >>> 2)] as number];
    return wire?.generation === u32[at + (EVENT_GENERATION >>> 2)] ? wire : undefined;
  }

  handle(): void {
    const { engine } = this;
    if (this.#handling) return;
    this.#handling = true;
    for (this.#eventAt = 0; this.#eventAt < engine.get(Control.EventCount); this.#eventAt++) {
      this.#handle(engine.events + this.#eventAt * (EVENT_BYTES >>> 2));
    }
    engine.set(Control.EventCount, 0);
    this.#eventAt = 0;
    this.#handling = false;
  }

  /** Acts on the closes in the table at once. */
  actOnCloses(): void {
    const { engine } = this;
    for (let i = this.#eventAt; i < engine.get(Control.EventCount); i++) {
      const at = engine.events + i * (EVENT_BYTES >>> 2);
      if (engine.u32[at + (EVENT_KIND >>> 2)] !== EventKind.Closed) continue;
      this.#handle(at);
      engine.u32[at + (EVENT_KIND >>> 2)] = 0;
    }
  }

  #handle(at: number): void {
    const { engine } = this;
    const { u8, u32 } = engine;
    const kind = u32[at + (EVENT_KIND >>> 2)] as EventKind;
    const wire = this.#wireOf(at);
    // Kind 0: a message that was taken back.
    if (!wire || kind === (0 as EventKind)) return;
    const pointer = u32[at + (EVENT_POINTER >>> 2)] as number;
    const length = u32[at + (EVENT_LENGTH >>> 2)] as number;
    const value = engine.i32[at + (EVENT_VALUE >>> 2)] as number;
    const bytes = (): Uint8Array => copied(u8, pointer, length);
    switch (kind) {
      case EventKind.Request:
        if (value & Trait.BodyToCome) this.#decide(wire);
        else this.#ask(wire, this.#request(wire));
        break;
      case EventKind.BodyChunk:
        this.#takePiece(wire, bytes());
        break;
      case EventKind.BodyEnd:
        this.#endUpload(wire, value);
        break;
      case EventKind.Message: {
        const data = bytes();
        wire.messages.push(data);
        wire.log.push(value === 1 ? `text ${quote(data, true)}` : `binary ${quote(data, false)}`);
        this.message(wire, data, value === 1);
        break;
      }
      case EventKind.Ping:
      case EventKind.Pong:
        wire.log.push(`${kind === EventKind.Ping ? "ping" : "pong"} ${quote(bytes(), false)}`);
        break;
      case EventKind.PeerClose:
        wire.log.push(`peer close ${value} ${quote(bytes(), true)}`);
        break;
      case EventKind.EndWaits:
        wire.log.push("end waits");
        break;
      case EventKind.Drain:
        wire.drains++;
        if (value === 1 || wire.slot < this.#httpSlots) this.#resumes.push(wire);
        break;
      case EventKind.Proxied:
        wire.log.push(`proxied ${length === 0 ? "" : formatAddress(u8, pointer)}`.trimEnd());
        break;
      case EventKind.End:
        wire.ended = true;
        wire.reason = value;
        wire.log.push(`end ${reasonName(value)}`);
        break;
      case EventKind.Closed:
        wire.dead = true;
        wire.reason = value;
        wire.reset = length === Shut.Reset;
        wire.code = u32[at + (EVENT_EXTRA >>> 2)] as number;
        wire.lag = pointer;
        wire.pending = undefined;
        wire.upload = undefined;
        wire.open = false;
        wire.log.push(`closed ${reasonName(value)}`);
        this.#wires[wire.slot] = undefined;
        engine.x.free(wire.slot, wire.generation);
        break;
      default:
        assert.unreachable(`event kind ${kind}`);
    }
  }

  get #httpSlots(): number {
    return this.engine.params[0] as number;
  }

  /** The request that is out. */
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
    const { x } = this.engine;
    const asked = this.#request(wire);
    assert.is(asked.body, "", "a head comes with a body");
    if (!this.#isStreamed?.(asked)) {
      x.collect(wire.slot, wire.generation);
    } else if (x.stream(wire.slot, wire.generation) === Outcome.Ok) {
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
    assert.is(this.engine.x.tick(), -1, "deadlines are left");
    this.check();
  }
}

/** Long texts are logged by their length. */
function brief(text: string): string {
  return text.length > 40 ? `(${text.length})` : text;
}

function quote(bytes: Uint8Array, isText: boolean): string {
  if (bytes.length > 40) return `(${bytes.length})`;
  return JSON.stringify(isText ? utf8(bytes, 0, bytes.length) : latin1(bytes, 0, bytes.length));
}

/** The opening handshake of RFC 6455 1.3. */
export const HANDSHAKE = [
  "GET /chat HTTP/1.1",
  "Host: server.example.com",
  "Upgrade: websocket",
  "Connection: Upgrade",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Version: 13",
  "",
  "",
].join("\r\n");

export const BINARY = FrameFlag.Binary;
