// A request and its response on the application's thread. The request is read from the batch in which it arrived. The
// response is sent to the worker as operations.
//
// Invariant: a request counts as pending until it is answered, its response has begun, it failed, or its client has
// left. Then it is counted as handled exactly once.

import type { Payload } from "../shared/message/data";
import type { Request, StaticBody } from "../handler";
import { Credit } from "../shared/message/credit";
import { Grant } from "../shared/message/grant";
import { jsonOf } from "./data";
import type { Outlet, RoomListener } from "./outlet";
import type { Delivery } from "../shared/request/pieces";
import { OwnRequest, type RequestHead } from "../shared/request/request";
import { Answering, type Field, type Upgrade } from "../shared/request/response";
import { byteLength, latin1 } from "../shared/text/text";
import {
  ANSWER_ASKED,
  ANSWER_CLOSE,
  type Event,
  Op,
  PIECE_COST,
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
  decodeCertificate,
  encodeFields,
  wordAt,
} from "../shared/message/wire";
import { HEADER_ENTRY_BYTES } from "../../assembly/abi";

const NONE = new Uint8Array(0);

/** The parts of the application that a response uses. */
export interface ResponseOwner {
  readonly outlet: Outlet;
  /** Bytes that may be in flight to one client. */
  readonly backlog: number;
  /** Statuses that have an error page. */
  readonly pages: ReadonlySet<number>;
  /** Names of the subprotocols that have modules. */
  readonly protocols: readonly string[];
  /** Called when a request is no longer pending. */
  handledRequest(): void;
  /** Called when a response needs no further events of its client. */
  forget(response: RemoteResponse): void;
  /** Reports what a request's handler threw, and fails the response. */
  failRequest(response: RemoteResponse, thrown: unknown): void;
  /** Returns the subprotocol for an upgrade that names none; "" when the handler does not choose one. */
  chooseProtocol(request: Request): string;
  /** Called when a request is becoming a WebSocket. */
  upgrading(response: RemoteResponse): void;
}

/** Reads the offsets and lengths of a request's parts in a batch. */
function readHead(bytes: Uint8Array, at: number): RequestHead {
  const u16 = (offset: number): number =>
    (bytes[at + offset] as number) | ((bytes[at + offset + 1] as number) << 8);
  const fields = u16(REQUEST_FIELDS);
  const headLength = u16(REQUEST_HEAD_LENGTH);
  const table = at + REQUEST_BYTES;
  const head = table + fields * HEADER_ENTRY_BYTES;
  return {
    head,
    headLength,
    table,
    fields,
    body: head + headLength,
    bodyLength: wordAt(bytes, at + REQUEST_BODY_LENGTH),
    method: bytes[at + REQUEST_METHOD] as number,
    minor: bytes[at + REQUEST_MINOR] as number,
    target: u16(REQUEST_TARGET),
    targetLength: u16(REQUEST_TARGET_LENGTH),
    traits: wordAt(bytes, at + REQUEST_TRAITS),
  };
}

/** Encodes a u32 as the tail of an operation. */
function wordOf(value: number): Uint8Array {
  return new Uint8Array(new Uint32Array([value]).buffer);
}

export class RemoteRequest extends OwnRequest {
  static override readonly name = "Request";

  /** @param bytes the batch, with a request's payload in [at, end) */
  constructor(id: number, bytes: Uint8Array, at: number, end: number) {
    const head = readHead(bytes, at);
    const length =
      (bytes[at + REQUEST_ADDRESS_LENGTH] as number) |
      ((bytes[at + REQUEST_ADDRESS_LENGTH + 1] as number) << 8);
    const address = head.body + head.bodyLength;
    const certificate = decodeCertificate(bytes, address + length, end);
    super([id, latin1(bytes, address, length), certificate], head, bytes);
  }
}

/** A static body that the worker keeps under its number, as long as this object lives. */
export class RemoteBody implements StaticBody {
  static readonly name = "StaticBody";
  /** The application that made the body. */
  readonly owner: object;
  readonly number: number;
  readonly type: string;
  readonly length: number;

  constructor(owner: object, number: number, type: string, length: number) {
    this.owner = owner;
    this.number = number;
    this.type = type;
    this.length = length;
  }
}

export class RemoteResponse extends Answering implements RoomListener {
  static override readonly name = "Response";
  override readonly request: RemoteRequest;
  readonly #application: ResponseOwner;
  readonly slot: number;
  readonly generation: number;
  readonly number: number;
  readonly #credit: Credit;
  /** Bytes of a body that the worker asks for; undefined for one that is pushed. */
  #grant: Grant | undefined;
  /** The later `ws.data`. */
  data: unknown;
  /** Topics of the event stream that the request becomes; undefined: it becomes none. */
  topics: readonly string[] | undefined;
  #pending = true;
  #gone = false;

  constructor(application: ResponseOwner, request: RemoteRequest, event: Event) {
    super();
    this.#application = application;
    this.request = request;
    this.slot = event.slot;
    this.generation = event.generation;
    this.number = event.value;
    this.#credit = new Credit(application.backlog);
  }

  protected override get gone(): boolean {
    return this.#gone;
  }

  /** Notes that the request is no longer pending. */
  #settle(): void {
    if (!this.#pending) return;
    this.#pending = false;
    this.#application.handledRequest();
  }

  #post(op: Op, second: number, fields: readonly Field[], tail: Payload): void {
    const bytes = fields.length === 0 ? NONE : encodeFields(fields);
    const { outlet } = this.#application;
    const { slot, generation, number } = this;
    outlet.post(op, slot, generation, number, second, bytes, tail);
  }

  /** Ends the request, which needs no further events of its client. */
  #finish(): void {
    this.#application.forget(this);
    this.#settle();
  }

  protected override hasPage(status: number): boolean {
    return this.#application.pages.has(status);
  }

  protected override get protocolNames(): readonly string[] {
    return this.#application.protocols;
  }

  protected override respond(
    status: number,
    fields: Field[],
    body: Payload,
    close: boolean,
  ): boolean {
    this.#post(Op.Answer, close ? status | ANSWER_CLOSE : status, fields, body);
    this.#finish();
    return true;
  }

  protected override isOwn(body: StaticBody): boolean {
    return body instanceof RemoteBody && body.owner === this.#application;
  }

  protected override respondStatic(
    status: number,
    fields: Field[],
    body: StaticBody,
    close: boolean,
  ): boolean {
    const number = wordOf((body as RemoteBody).number);
    this.#post(Op.Static, close ? status | ANSWER_CLOSE : status, fields, number);
    this.#finish();
    return true;
  }

  protected override passTo(path: string, fields: readonly Field[], close: boolean): boolean {
    this.#post(Op.Pass, close ? ANSWER_CLOSE : 0, fields, path);
    this.#finish();
    return true;
  }

  protected override streamBegin(
    status: number,
    fields: Field[],
    close: boolean,
    length: number,
    delivery: Delivery,
  ): boolean {
    const tail = length === -1 ? NONE : String(length);
    if (delivery === "asked") this.#grant = new Grant();
    const flags = (close ? ANSWER_CLOSE : 0) | (this.#grant ? ANSWER_ASKED : 0);
    this.#post(Op.Begin, status | flags, fields, tail);
    this.#settle();
    return true;
  }

  protected override streamWrite(data: Payload): boolean {
    if (data.length === 0) return true;
    const credit = this.#credit;
    const grant = this.#grant;
    const { outlet } = this.#application;
    if (grant) {
      if (!grant.allows(typeof data === "string" ? byteLength(data) : data.length)) return false;
    } else if (credit.isSpent) {
      credit.refused = true;
      return false;
    }
    const { slot, generation, number } = this;
    if (!outlet.offer(Op.Write, slot, generation, number, 0, NONE, data)) {
      outlet.whenRoom(this);
      return false;
    }
    if (grant) grant.take(outlet.tailBytes);
    else credit.used += outlet.tailBytes + PIECE_COST;
    return true;
  }

  protected override streamEnd(): void {
    this.#post(Op.End, 0, [], NONE);
    this.#finish();
  }

  protected override streamLeave(): void {
    this.#post(Op.Break, 0, [], NONE);
    this.leave();
  }

  override failed(thrown: unknown): void {
    this.#application.failRequest(this, thrown);
  }

  protected override accept(upgrade: Upgrade): boolean {
    const { fields, protocol, handler, data, compress, topics } = upgrade;
    const { idleTimeout = "", maxPayloadLength = "" } = upgrade;
    const isOwn = handler === "";
    // The module chooses its subprotocol itself, and an event stream has none.
    const isChosen = protocol !== "" || !isOwn || topics !== undefined;
    const chosen = isChosen ? protocol : this.#application.chooseProtocol(this.request);
    if (chosen !== protocol) fields.push(["Sec-WebSocket-Protocol", chosen]);
    const kind = topics ? "events" : "websocket";
    const options = `${chosen} ${idleTimeout} ${maxPayloadLength} ${compress} ${handler} ${kind}`;
    // No event of a module's WebSocket comes to this thread.
    const lines = [options, isOwn ? "" : jsonOf(data)];
    if (topics) lines.push(JSON.stringify({ topics, since: upgrade.since }));
    this.#post(Op.Upgrade, 0, fields, lines.join("\n"));
    if (isOwn) {
      this.data = data;
      this.topics = topics;
      this.#application.upgrading(this);
    }
    this.#finish();
    return true;
  }

  /** Fails the request: sends 500, or breaks off a response that has begun. */
  fail(): void {
    if (this.sent) return;
    this.#post(Op.Fail, 0, [], NONE);
    this.leave();
  }

  /** Ends the response, because the client has left or nothing more is to be sent. */
  leave(): void {
    this.#gone = true;
    this.#finish();
    this.lose();
  }

  /** Notes that bytes of the pieces have left the client's queue, or are asked for. */
  left(bytes: number): void {
    const isDue = this.#grant ? this.#grant.give(bytes) : this.#credit.give(bytes);
    if (isDue) this.wake();
  }

  room(): void {
    this.wake();
  }
}
