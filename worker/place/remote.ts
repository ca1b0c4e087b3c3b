// A handler on the application's thread, as the worker sees it. It is an ordinary handler whose events are posted in
// batches and whose responses arrive as operations of the inbox.
//
// Invariant: the application is notified of a request once, and the request is then answered, refused, or reported as
// gone. The events that the application has not handled are bounded: by a number of requests (beyond it they get 503),
// by bytes (beyond it no WebSocket is read, and requests wait where they were received), and by the bytes of one
// WebSocket (beyond it that one is not read).

import { CloseReason, HEADER_ENTRY_BYTES, Outcome, Param } from "../../assembly/abi";
import type {
  CloseInfo,
  Connection,
  FragmentInfo,
  Handler,
  Request,
  Response,
  WebSocket,
} from "../../host/handler";
import { reasonName } from "../../host/shared/close";
import { MEMBERS, type Member } from "../../host/shared/members";
import { resultOf } from "../../host/shared/message/gap";
import { idOf } from "../../host/shared/message/id";
import { copyBytes, latin1, putLatin1, toBytes, utf8 } from "../../host/shared/text/text";
import {
  ANSWER_ASKED,
  ANSWER_CLOSE,
  BATCH_BYTES,
  BATCH_EVENTS,
  CLOSE_BYTES,
  HANDLED_BYTES,
  HANDLED_ERRORS,
  HANDLED_REQUESTS,
  HANDLED_WAITING,
  OP_BYTES,
  Op,
  REQUEST_ADDRESS_LENGTH,
  REQUEST_BODY_LENGTH,
  REQUEST_BYTES,
  REQUEST_FIELDS,
  REQUEST_HEAD_LENGTH,
  REQUEST_METHOD,
  REQUEST_MINOR,
  REQUEST_TARGET,
  REQUEST_TARGET_LENGTH,
  REQUEST_TRAITS,
  TAKEN_BATCHES,
  TAKEN_WAITING,
  MESSAGE_BINARY,
  MESSAGE_FIRST,
  MESSAGE_LAST,
  BatchEvent,
  decodeFields,
  encodeCertificate,
  laneBytes,
  wordAt,
} from "../../host/shared/message/wire";
import { Batch } from "./batch";
import type { Host } from "../inbox/inbox-reader";
import { type Fate, Lane } from "./lane";
import type { Placement } from "../pump/placement";
import type { Pump } from "../pump/pump";
import type { Upgrade } from "../../host/shared/request/response";
import { type ResponseImpl, type StaticBodyImpl, refuse } from "../request/response";
import { RemoteSource } from "./source";
import { Hold, type Peer } from "../socket/peer";

/**
 * Bytes of all clients that may be kept here because their queues have no room. Beyond it, clients with the most are
 * ended.
 */
const KEPT_LIMIT = 8 * 1048576;

interface RemoteLimits {
  /** Number of requests that the application may have; beyond it they get 503. */
  readonly requests: number;
  /** Bytes of events that the application has not handled; beyond it reading pauses. */
  readonly bytes: number;
}

interface RemotePort {
  /** Sends a batch; the buffer is transferred. */
  post(batch: ArrayBuffer): void;
}

/** A request that the application has, or will be notified of. */
interface Pending {
  readonly number: number;
  readonly peer: Peer;
  readonly response: ResponseImpl;
  /** The pieces of a streamed response that the handler pushes. */
  lane?: Lane;
  /** The pieces that it is asked for. */
  source?: RemoteSource;
}

export class Remote implements Host {
  readonly #pump: Pump;
  readonly #limits: RemoteLimits;
  readonly #port: RemotePort;
  /** The inbox's header, in which the application counts the events that it has handled. */
  readonly #words: Int32Array;
  readonly #batch = new Batch();
  /** Batches that the application has not taken, oldest first, and their sums. */
  readonly #underway: { readonly bytes: number; readonly events: number }[] = [];
  #underwayBytes = 0;
  #underwayEvents = 0;
  #takenBatches = 0;
  readonly #pending = new Map<Peer, Pending>();
  /** Requests that the application is notified of when there is room. */
  readonly #waiting = new Set<Pending>();
  readonly #strangers = new Set<Peer>();
  readonly #lanes = new Map<number, Lane>();
  /** Lanes that owe enough to be worth a report. */
  readonly #watched = new Set<Lane>();
  /** Lanes of WebSockets with kept messages. */
  readonly #keeping = new Set<Lane>();
  /** Lanes whose connection is held until the application has handled messages. */
  readonly #stalled = new Set<Lane>();
  readonly #statics = new Map<number, StaticBodyImpl>();
  readonly #laneBytes: number;
  readonly #quarter: number;
  #members = new Set<Member>();
  #number = 0;
  /** Number of requests that the application was notified of, a u32 that wraps. */
  #delivered = 0;
  #keptBytes = 0;
  #blocked = false;
  /** True at the end of a turn, which posts the events that begin meanwhile. */
  #isPosting = false;
  /** True while the server shuts down client by client. Then `shutdown` events are posted from here. */
  isDraining = false;

  constructor(pump: Pump, limits: RemoteLimits, words: Int32Array, port: RemotePort) {
    this.#pump = pump;
    this.#limits = limits;
    this.#words = words;
    this.#port = port;
    this.#laneBytes = laneBytes(limits.bytes);
    this.#quarter = Math.max(1, pump.engine.param(Param.Backlog) >>> 2);
  }

  /**
   * Returns the placement of a handler on the application's thread.
   * @param members bits of the `MEMBERS` that it has
   */
  placement(members: number): Placement {
    return {
      handler: this.#handler(members),
      isRelay: true,
      errors: () => Atomics.load(this.#words, HANDLED_ERRORS) >>> 0,
      pool: () => undefined,
      turned: this.turned,
      peerEnded: (peer) => this.#peerEnded(peer),
      endWaits: (peer) => this.#endWaits(peer),
    };
  }

  #handler(members: number): Handler {
    this.#members = new Set(MEMBERS.filter((_, bit) => members & (1 << bit)));
    const has = (name: Member): boolean => this.#members.has(name);
    const handler: Handler = {
      disconnect: (connection, info) => this.#disconnect(connection, info),
      open: (ws) => this.#open(ws),
      drain: (ws) => this.#drain(ws),
      close: (ws, info) => this.#close(ws, info),
      shutdown: (ws) => this.#shutdown(ws),
    };
    if (has("request")) handler.request = (req, res) => this.#request(req, res);
    // Without `connect` and `disconnect` no state is kept about connections.
    if (has("connect") || has("disconnect"))
      handler.connect = (connection) => this.#connect(connection);
    if (has("message"))
      handler.message = (ws, data, isBinary) => this.#message(ws, toBytes(data), isBinary);
    if (has("fragment")) handler.fragment = (ws, data, info) => this.#fragment(ws, data, info);
    if (has("ping"))
      handler.ping = (ws, data) => this.#emitMessage(BatchEvent.Ping, ws, data, 0, 0);
    if (has("pong"))
      handler.pong = (ws, data) => this.#emitMessage(BatchEvent.Pong, ws, data, 0, 0);
    return handler;
  }

  // ---- room -------------------------------------------------------------------------------------------

  /** Bytes of events that the application has not handled. */
  get #unhandled(): number {
    return (this.#batch.total - Atomics.load(this.#words, HANDLED_BYTES)) >>> 0;
  }

  /** Number of requests that the application has not answered. */
  get requests(): number {
    const unhandled = (this.#delivered - Atomics.load(this.#words, HANDLED_REQUESTS)) >>> 0;
    return unhandled + this.#waiting.size;
  }

  /** Returns true when no more events may be posted until the application has handled some. */
  #isFull(): boolean {
    if (!this.#blocked && this.#unhandled > this.#limits.bytes) {
      this.#blocked = true;
      this.#pump.holdAll(Hold.Flow, true);
      this.#pump.schedule();
    }
    return this.#blocked;
  }

  /** Ends the turn: reports bytes that have left, checks whether there is room again, and posts the batch. */
  readonly turned = (): void => {
    this.#isPosting = true;
    if (this.#blocked) this.#unblock();
    for (const lane of this.#watched) this.#report(lane);
    this.#isPosting = false;
    this.#post();
  };

  /** Posts as many events as may be in flight. The application's next turn makes room for more. */
  #post(): void {
    if (this.#batch.events === 0) return;
    this.#settleBatches();
    this.#postBatches();
    if (this.#batch.events === 0) return;
    Atomics.store(this.#words, TAKEN_WAITING, 1);
    // The application may have taken batches before the flag was set.
    if (!this.#settleBatches()) return;
    Atomics.store(this.#words, TAKEN_WAITING, 0);
    this.#pump.schedule();
  }

  #postBatches(): void {
    const batch = this.#batch;
    const least = this.#underway.length === 0 ? 1 : 0;
    const room = BATCH_BYTES - this.#underwayBytes;
    const events = batch.take(room, BATCH_EVENTS - this.#underwayEvents, least);
    if (events === 0) return;
    const { taken } = batch;
    const bytes = taken.byteLength;
    this.#underway.push({ bytes, events });
    this.#underwayBytes += bytes;
    this.#underwayEvents += events;
    this.#port.post(taken);
  }

  /** Notes the batches that the application has taken. @returns true when there are new ones */
  #settleBatches(): boolean {
    const taken = Atomics.load(this.#words, TAKEN_BATCHES) >>> 0;
    if (taken === this.#takenBatches) return false;
    for (; this.#takenBatches !== taken; this.#takenBatches = (this.#takenBatches + 1) >>> 0) {
      const { bytes = 0, events = 0 } = this.#underway.shift() ?? {};
      this.#underwayBytes -= bytes;
      this.#underwayEvents -= events;
    }
    return true;
  }

  /** Posts all remaining events, because no other turn follows. */
  finish(): void {
    this.turned();
    while (this.#batch.take(BATCH_BYTES, BATCH_EVENTS, 1) > 0) this.#port.post(this.#batch.taken);
  }

  #unblock(): void {
    const half = this.#limits.bytes / 2;
    if (this.#unhandled > half) {
      Atomics.store(this.#words, HANDLED_WAITING, 1);
      // The application may have handled events before the flag was set.
      if (this.#unhandled > half) return;
      Atomics.store(this.#words, HANDLED_WAITING, 0);
    }
    this.#blocked = false;
    for (const peer of this.#strangers) this.#tellConnect(peer);
    this.#strangers.clear();
    for (const pending of this.#waiting) {
      if (this.#isFull()) break;
      this.#waiting.delete(pending);
      this.#tellRequest(pending);
    }
    if (!this.#blocked) this.#pump.holdAll(Hold.Flow, false);
  }

  /** Counts a message's bytes. When they are too many, parsing of the client's next message is put off. */
  #pace(lane: Lane, bytes: number): void {
    lane.unhandledBytes += bytes;
    this.#isFull();
    if (lane.unhandledBytes < this.#laneBytes) return;
    this.#stalled.add(lane);
    this.#pump.hold(lane.peer, Hold.Lane);
  }

  #release(lane: Lane): void {
    if (lane.unhandledBytes >= this.#laneBytes || !this.#stalled.delete(lane)) return;
    this.#pump.release(lane.peer, Hold.Lane);
  }

  // ---- events -----------------------------------------------------------------------------------------

  /** Begins an event about a connection, and has a turn post it. @returns as `Batch.begin` */
  #begin(kind: BatchEvent, flags: number, peer: Peer, value: number, length: number): number {
    if (!this.#isPosting) this.#pump.schedule();
    return this.#batch.begin(kind, flags, peer.slot, peer.generation, value, length);
  }

  #connect(connection: Connection): void {
    const peer = connection as Peer;
    if (this.#isFull()) this.#strangers.add(peer);
    else this.#tellConnect(peer);
  }

  #tellConnect(peer: Peer): void {
    if (!this.#members.has("connect")) return;
    const { remoteAddress: address } = peer;
    const at = this.#begin(BatchEvent.Connect, 0, peer, 0, address.length);
    putLatin1(this.#batch.bytes, at, address);
  }

  #disconnect(connection: Connection, info: CloseInfo): void {
    const peer = connection as Peer;
    const pending = this.#pending.get(peer);
    if (pending) {
      this.#pending.delete(peer);
      if (pending.lane) this.#forget(pending.lane);
      if (!this.#waiting.delete(pending)) this.#emitGone(peer, pending.number, info.cause);
    }
    if (this.#strangers.delete(peer)) return;
    if (this.#members.has("disconnect")) {
      this.#emitEnd(BatchEvent.Disconnect, peer, info, peer.remoteAddress);
    }
  }

  #emitGone(peer: Peer, number: number, cause: string): void {
    const at = this.#begin(BatchEvent.Gone, 0, peer, number, cause.length);
    putLatin1(this.#batch.bytes, at, cause);
  }

  /** Handles a client's half-close. The application is notified if it has the client's request. */
  #peerEnded(peer: Peer): void {
    const pending = this.#pending.get(peer);
    if (!pending || this.#waiting.has(pending)) return;
    this.#begin(BatchEvent.HalfClosed, 0, peer, pending.number, 0);
  }

  /**
   * Asks the application to report when it has handled all messages so far. The end of the WebSocket waits for that.
   */
  #endWaits(peer: Peer): void {
    this.#begin(BatchEvent.EndWaits, 0, peer, 0, 0);
  }

  #emitEnd(kind: BatchEvent, peer: Peer, info: CloseInfo, address: string): void {
    const reason = toBytes(info.reason);
    const length = CLOSE_BYTES + info.cause.length + address.length + reason.length;
    let at = this.#begin(kind, 0, peer, 0, length);
    const { bytes } = this.#batch;
    put32(bytes, at, info.code);
    put32(bytes, at + 4, info.lagBytes);
    bytes[at + 8] = info.cause.length;
    bytes[at + 9] = address.length;
    at = putLatin1(bytes, at + CLOSE_BYTES, info.cause);
    bytes.set(reason, putLatin1(bytes, at, address));
  }

  #request(req: Request, res: Response): void {
    const response = res as ResponseImpl;
    const peer = this.#pump.peer(req.id);
    if (!peer) return;
    if (this.requests >= this.#limits.requests) {
      refuse(response);
      this.#pump.shed++;
      return;
    }
    // The application gets a copy.
    response.request.forget();
    this.#number = (this.#number + 1) >>> 0;
    const pending = { number: this.#number, peer, response };
    this.#pending.set(peer, pending);
    // mutant remote-wait (remote): if (this.#isFull()) return;
    if (this.#isFull()) this.#waiting.add(pending);
    else this.#tellRequest(pending);
  }

  #tellRequest({ number, peer, response }: Pending): void {
    this.#delivered = (this.#delivered + 1) >>> 0;
    const { engine } = this.#pump;
    const head = engine.head(peer.slot, peer.hostTraits);
    const { remoteAddress: address } = response.request;
    const table = head.fields * HEADER_ENTRY_BYTES;
    const certificate = encodeCertificate(peer.link.peerCertificate);
    const length =
      REQUEST_BYTES +
      (table + head.headLength + head.bodyLength) +
      (address.length + certificate.length);
    const at = this.#begin(BatchEvent.Request, 0, peer, number, length);
    const { bytes } = this.#batch;
    bytes[at + REQUEST_METHOD] = head.method;
    bytes[at + REQUEST_MINOR] = head.minor;
    put16(bytes, at + REQUEST_FIELDS, head.fields);
    put16(bytes, at + REQUEST_TARGET, head.target);
    put16(bytes, at + REQUEST_TARGET_LENGTH, head.targetLength);
    put32(bytes, at + REQUEST_TRAITS, head.traits);
    put16(bytes, at + REQUEST_HEAD_LENGTH, head.headLength);
    put16(bytes, at + REQUEST_ADDRESS_LENGTH, address.length);
    put32(bytes, at + REQUEST_BODY_LENGTH, head.bodyLength);
    let to = at + REQUEST_BYTES;
    bytes.set(engine.bytesAt(head.table, table), to);
    to += table;
    bytes.set(engine.bytesAt(head.head, head.headLength), to);
    to += head.headLength;
    if (head.bodyLength > 0) bytes.set(engine.bytesAt(head.body, head.bodyLength), to);
    bytes.set(certificate, putLatin1(bytes, to + head.bodyLength, address));
  }

  #open(ws: WebSocket): Promise<void> | undefined {
    const { peer } = ws.data as Pending;
    const lane = this.#laneOf(ws, peer);
    this.#tellOpen(ws, peer);
    if (this.#blocked) this.#pump.hold(peer, Hold.Flow);
    if (!this.#members.has("open")) return undefined;
    return new Promise((resolve) => {
      lane.opened = resolve;
    });
  }

  #laneOf(ws: WebSocket, peer: Peer): Lane {
    const lane = new Lane(peer, (bytes, flags) => {
      const outcome = this.#pump.outgoing.send(peer, bytes, flags);
      return outcome === Outcome.Ok ? "sent" : outcome === Outcome.Full ? "full" : "gone";
    });
    this.#lanes.set(ws.id, lane);
    return lane;
  }

  #tellOpen(ws: WebSocket, peer: Peer): void {
    const { number } = ws.data as Pending;
    if (peer.isStream && this.#pump.responder.hasHistory) {
      const { resumed, gap } = peer.greeting;
      const topic = toBytes(gap?.topic ?? "");
      const flags = 1 + resultOf({ resumed, gap });
      const at = this.#begin(BatchEvent.Open, flags, peer, number, topic.length);
      this.#batch.bytes.set(topic, at);
      return;
    }
    const { length } = ws.protocol;
    const at = this.#begin(BatchEvent.Open, 0, peer, number, length);
    putLatin1(this.#batch.bytes, at, ws.protocol);
  }

  #message(ws: WebSocket, data: Uint8Array, isBinary: boolean): void {
    const flags = isBinary ? MESSAGE_BINARY : 0;
    this.#emitMessage(BatchEvent.Message, ws, data, flags, 0);
  }

  #fragment(ws: WebSocket, data: Uint8Array, info: FragmentInfo): void {
    const flags =
      (info.isBinary ? MESSAGE_BINARY : 0) |
      (info.first ? MESSAGE_FIRST : 0) |
      (info.last ? MESSAGE_LAST : 0);
    this.#emitMessage(BatchEvent.Fragment, ws, data, flags, info.remaining);
  }

  #emitMessage(
    kind: BatchEvent,
    ws: WebSocket,
    data: Uint8Array,
    flags: number,
    value: number,
  ): void {
    const lane = this.#lanes.get(ws.id);
    if (!lane) return;
    const at = this.#begin(kind, flags, lane.peer, value, data.length);
    this.#batch.bytes.set(data, at);
    this.#pump.messages.relay(lane.peer);
    this.#pace(lane, Batch.cost(data.length));
  }

  #drain(ws: WebSocket): void {
    const lane = this.#lanes.get(ws.id);
    if (lane) this.#flush(lane);
  }

  #close(ws: WebSocket, info: CloseInfo): void {
    const lane = this.#lanes.get(ws.id);
    const { peer } = ws.data as Pending;
    // The WebSocket ended before `open` was posted. The application receives both events.
    if (!lane) this.#tellOpen(ws, peer);
    else this.#forget(lane);
    this.#lanes.delete(ws.id);
    this.#emitEnd(BatchEvent.Close, peer, info, "");
  }

  /**
   * Notifies the application that a client is about to be closed.
   * @returns a promise that settles with its `shutdown`
   */
  #shutdown(ws: WebSocket): Promise<void> | undefined {
    const lane = this.#lanes.get(ws.id);
    if (!lane || !this.isDraining || !this.#members.has("shutdown")) return undefined;
    this.#begin(BatchEvent.Shutdown, 0, lane.peer, 0, 0);
    return new Promise((resolve) => {
      lane.left = resolve;
    });
  }

  // ---- operations of the application ------------------------------------------------------------------

  /** Ends a lane. Nothing more is sent on it. */
  #forget(lane: Lane): void {
    this.#keptBytes -= lane.keptBytes;
    lane.clear();
    this.#keeping.delete(lane);
    this.#watched.delete(lane);
    this.#stalled.delete(lane);
  }

  #send(lane: Lane, bytes: Uint8Array, flags: number): void {
    const before = lane.keptBytes;
    lane.take(bytes, flags);
    this.#keptBytes += lane.keptBytes - before;
    if (lane.pendingBytes >= this.#quarter) this.#watched.add(lane);
    if (this.#keptBytes > KEPT_LIMIT) this.#shed();
  }

  /**
   * Ends clients whose messages take the most memory, because accepted messages cannot be kept any more. It continues
   * until a quarter is free, so that it does not run again for each message.
   */
  #shed(): void {
    const answers = [...this.#pending.values()].map(({ lane }) => lane);
    const lanes = [...this.#lanes.values(), ...answers].filter((lane) => lane !== undefined);
    lanes.sort((a, b) => b.keptBytes - a.keptBytes);
    for (const lane of lanes) {
      if (this.#keptBytes <= KEPT_LIMIT * 0.75) return;
      this.#giveUp(lane);
    }
  }

  #flush(lane: Lane): boolean {
    const before = lane.keptBytes;
    const through = lane.flush();
    this.#keptBytes += lane.keptBytes - before;
    if (through) this.#keeping.delete(lane);
    return through;
  }

  get isKeeping(): boolean {
    return this.#keeping.size > 0;
  }

  sendKept(isConcerned: (peer: Peer) => boolean): void {
    let lanes = [...this.#keeping].filter(({ peer }) => isConcerned(peer));
    // A client that reads has room for at least one message as soon as its queue is written.
    for (let before = Infinity; lanes.length > 0 && this.#keptBytes < before; ) {
      before = this.#keptBytes;
      this.#pump.loop.flush(false);
      lanes = lanes.filter((lane) => this.#keeping.has(lane) && !this.#flush(lane));
    }
    for (const lane of lanes) this.#giveUp(lane);
  }

  /** Ends a client whose messages cannot be kept. */
  #giveUp(lane: Lane): void {
    this.#forget(lane);
    this.#pump.abandon(lane.peer, CloseReason.NoBuffer);
  }

  /** Reports to the application the bytes that have left a client's queue, if they are enough to be worth a report. */
  #report(lane: Lane): void {
    const { peer } = lane;
    const { engine } = this.#pump;
    if (peer.dead) {
      this.#watched.delete(lane);
      return;
    }
    const free = lane.settle(engine.backlog(peer.slot), this.#quarter);
    if (free > 0) this.#tellRoom(peer, free);
    if (lane.pendingBytes < this.#quarter) this.#watched.delete(lane);
  }

  #tellRoom(peer: Peer, free: number): void {
    const lag = this.#pump.outgoing.lagOf(peer);
    const kind = peer.ws ? BatchEvent.Room : BatchEvent.AnswerRoom;
    const at = this.#begin(kind, 0, peer, free, 8);
    put32(this.#batch.bytes, at, lag.bytes);
    put32(this.#batch.bytes, at + 4, lag.frames);
  }

  carryOut(
    op: number,
    slot: number,
    generation: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): void {
    const first = wordAt(bytes, at);
    const second = wordAt(bytes, at + 4);
    const fieldsLength = wordAt(bytes, at + 8);
    const fields = bytes.subarray(at + OP_BYTES, at + OP_BYTES + fieldsLength);
    const tail = bytes.subarray(at + OP_BYTES + fieldsLength, at + length);
    const id = idOf(slot, generation);
    if (op === Op.Body) {
      const type = latin1(fields, 0, fields.length);
      if (second === 1) this.#statics.delete(first);
      else this.#statics.set(first, this.#pump.body(tail, type));
    } else if (op < Op.Body) {
      const peer = this.#pump.peer(id);
      const pending = peer && this.#pending.get(peer);
      if (!peer || pending?.number !== first) return;
      try {
        this.#answer(op, pending, second, fields, tail);
      } catch (thrown) {
        this.#fail(pending, thrown);
      }
    } else {
      const lane = this.#lanes.get(id);
      if (lane) this.#operate(op, lane, first, tail);
    }
  }

  /** Fails a request. The application may be about to send more of a response that cannot be sent. */
  #fail(pending: Pending, thrown: unknown): void {
    const { peer, response, number, lane } = pending;
    this.#pump.requests.failRequest(peer, response, thrown);
    this.#pending.delete(peer);
    if (lane) this.#forget(lane);
    this.#emitGone(peer, number, reasonName(CloseReason.HandlerError));
  }

  /** Carries out operations on a request. */
  #answer(op: Op, pending: Pending, second: number, fields: Uint8Array, tail: Uint8Array): void {
    const { peer, response } = pending;
    const { request } = response;
    const { responder } = this.#pump;
    const status = second & 0xffff;
    const close = (second & ANSWER_CLOSE) !== 0;
    if (op !== Op.Begin && op !== Op.Write && op !== Op.End) this.#pending.delete(peer);
    switch (op) {
      case Op.Answer:
        responder.respond(peer, request, status, fields, tail, close);
        break;
      case Op.Static: {
        const body = this.#statics.get(wordAt(tail, 0) >>> 0);
        if (!body) throw new Error("no such static body");
        responder.respondStatic(peer, request, status, fields, body.bytes, close);
        break;
      }
      case Op.Begin: {
        const length = tail.length === 0 ? -1 : Number(latin1(tail, 0, tail.length));
        const delivery = (second & ANSWER_ASKED) !== 0 ? "asked" : "pushed";
        if (!responder.streamBegin(peer, request, status, fields, close, length, delivery)) break;
        if (delivery === "asked" && !responder.isBare) this.#supply(pending);
        else pending.lane = this.#stream(pending);
        break;
      }
      case Op.Write:
        if (pending.lane) this.#send(pending.lane, tail, 0);
        else pending.source?.push(copyBytes(tail, 0, tail.length));
        break;
      case Op.End:
        pending.source?.end();
        pending.lane?.afterKept(() => {
          if (pending.lane) this.#forget(pending.lane);
          this.#pending.delete(peer);
          responder.streamEnd(peer, request);
        });
        break;
      case Op.Break:
        if (pending.lane) this.#forget(pending.lane);
        this.#pump.terminate(peer, CloseReason.PeerEnded);
        break;
      case Op.Pass:
        this.#pump.requests.pass(
          peer,
          latin1(tail, 0, tail.length),
          fields.length === 0 ? [] : decodeFields(fields),
          close,
        );
        break;
      case Op.Upgrade:
        this.#upgrade(pending, fields, tail);
        break;
      default:
        this.#pump.requests.failAnswer(peer, response);
        break;
    }
  }

  /** Supplies the body of a response, whose pieces the application is asked for. */
  #supply(pending: Pending): void {
    const { peer, response } = pending;
    const source = new RemoteSource((bytes) => this.#tellRoom(peer, bytes));
    pending.source = source;
    this.#pump.responder.supply(peer, source).then(
      (isWhole) => {
        if (!isWhole) return;
        this.#pending.delete(peer);
        this.#pump.responder.streamEnd(peer, response.request);
      },
      (thrown: unknown) => this.#fail(pending, thrown),
    );
  }

  /** Carries out an upgrade. */
  #upgrade(pending: Pending, fields: Uint8Array, tail: Uint8Array): void {
    const { peer, response } = pending;
    const { responder } = this.#pump;
    const [line = "", data = "", stream = ""] = utf8(tail, 0, tail.length).split("\n");
    const [protocol = "", idle, payload, compress, handler = "", kind] = line.split(" ");
    const isOwn = handler === "";
    const upgrade: Upgrade = {
      fields: decodeFields(fields),
      protocol,
      handler,
      data: isOwn ? pending : data === "" ? undefined : (JSON.parse(data) as unknown),
      idleTimeout: idle ? Number(idle) : undefined,
      maxPayloadLength: payload ? Number(payload) : undefined,
      compress: compress !== "false",
      ...(kind === "events" ? this.#streamOf(stream) : {}),
    };
    // The module is notified of the failure of its own upgrade.
    if (!responder.upgrade(peer, response.request, upgrade) && isOwn)
      this.#emitGone(peer, pending.number, reasonName(responder.refusal));
  }

  /** Returns the options of an event stream. Without history the application subscribes to its topics itself. */
  #streamOf(json: string): { topics: readonly string[]; since: string | undefined } {
    const { topics, since } = JSON.parse(json) as { topics: string[]; since?: string };
    return { topics: this.#pump.responder.hasHistory ? topics : [], since };
  }

  /** Returns the lane of a response that arrives piece by piece. */
  #stream({ peer, response }: Pending): Lane {
    const lane: Lane = new Lane(peer, (bytes): Fate => {
      if (peer.dead || peer.response !== response) return "gone";
      if (this.#pump.responder.streamWrite(peer, bytes)) return "sent";
      void response.stalled().then(() => this.#flush(lane));
      return "full";
    });
    return lane;
  }

  /** Carries out operations on a WebSocket. */
  #operate(op: Op, lane: Lane, first: number, tail: Uint8Array): void {
    const { peer } = lane;
    const { ws } = peer;
    switch (op) {
      case Op.Send:
        this.#send(lane, tail, first);
        if (lane.keptBytes > 0) this.#keeping.add(lane);
        break;
      case Op.Close: {
        const reason = utf8(tail, 0, tail.length);
        lane.afterKept(() => ws?.close(first, reason));
        break;
      }
      case Op.Terminate:
        ws?.terminate();
        break;
      case Op.Ping:
        ws?.ping(tail);
        break;
      case Op.Pause:
        ws?.pause();
        break;
      case Op.Resume:
        ws?.resume();
        break;
      case Op.Begun:
        this.#pump.loop.begin(peer);
        break;
      case Op.Opened:
        // Its own messages come before publications, unless the stream resumes.
        if (peer.greeting.resumed) this.#pump.loop.settled(peer);
        else if (peer.isStream) lane.afterKept(() => this.#pump.loop.settled(peer));
        lane.opened?.();
        lane.opened = undefined;
        break;
      case Op.Abandon:
        this.#pump.abandon(peer, CloseReason.HandlerError);
        break;
      case Op.Subscribe:
        this.#pump.topics.subscribeFor(peer, utf8(tail, 0, tail.length));
        break;
      case Op.Unsubscribe:
        this.#pump.unsubscribe(peer.id, utf8(tail, 0, tail.length));
        break;
      case Op.Left:
        lane.afterKept(() => lane.left?.());
        break;
      case Op.Caught:
        this.#pump.messages.caughtUp(peer);
        break;
      case Op.Taken:
        lane.unhandledBytes -= first;
        // mutant remote-taken: ;
        this.#release(lane);
        break;
      default:
        break;
    }
  }
}

function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value & 255;
  bytes[at + 1] = value >> 8;
}

function put32(bytes: Uint8Array, at: number, value: number): void {
  put16(bytes, at, value & 0xffff);
  put16(bytes, at + 2, value >>> 16);
}
