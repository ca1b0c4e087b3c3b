// Responses to requests, on the worker's side. Fields and bodies are handed to the engine, and large bodies are kept
// here until they are sent. Upgrades are negotiated here too.
//
// Invariant: a request is answered once. Before the engine releases its bytes, the bytes that its handler may still
// read are copied.

import {
  Answer,
  CloseReason,
  Control,
  Gap,
  Outcome,
  PAGE_BODIES,
  PIECE_LIMIT,
  Param,
  SLOT_LIMIT,
  SUPPLY_CHUNKS,
  SUPPLY_NONE,
} from "../../assembly/abi";
import { CLOSE_TABLE, reasonName } from "../../host/shared/close";
import { type Payload, bytesOf, sizeOf } from "../../host/shared/message/data";
import { greetingOf } from "../../host/shared/message/gap";
import { sinceOf } from "../../host/shared/message/position";
import type { Delivery } from "../../host/shared/request/pieces";
import type { Upgrade } from "../../host/shared/request/response";
import { WINDOW_BITS, negotiate } from "../socket/deflate";
import { type Fields, toBytes } from "../engine/engine";
import type { EngineLoop } from "../engine/loop";
import type { Codec } from "../net/transport";
import type { Peer } from "../socket/peer";
import { type SocketOwner, WebSocketImpl } from "../socket/socket";
import { NextSupply, type Waits } from "../supply/gather";
import { type BodySource, isReadable } from "../supply/source";
import { ReadSupply } from "../supply/supply";
import type { AccessLog } from "./access-log";
import type { Pages } from "./pages";
import type { Protocols } from "./protocols";
import type { RequestImpl } from "./request";

/** The part of the pump that responses need. */
interface ResponderOwner extends SocketOwner {
  readonly loop: EngineLoop<Peer>;
  readonly requests: {
    /** Notes that the request is answered, so its connection continues. */
    answered(peer: Peer, request: RequestImpl): void;
    /**
     * Counts an upgrade under its client's address.
     * @returns false when the address has as many WebSockets as it may
     */
    isAddressFree(peer: Peer, address: string): boolean;
  };
  readonly farewell: { readonly isBegun: boolean };
  readonly waits: Waits;
  /** Returns true when the request's bytes are the ones that are being parsed. */
  isFed(request: RequestImpl): boolean;
  /** Returns the subprotocol that the handler chooses; undefined when it chooses none. */
  chooseProtocol(peer: Peer, request: RequestImpl): string | undefined;
  /** Notes that a WebSocket is open. */
  opened(peer: Peer, ws: WebSocketImpl): void;
  /** Notes that an upgrade failed. */
  refused(peer: Peer, ws: WebSocketImpl, reason: CloseReason): void;
}

/** Returns the status of a refusal. */
export function statusOf(reason: CloseReason): number {
  return CLOSE_TABLE[reasonName(reason)].status;
}

/**
 * Length (bytes) of a body up to which it is copied into the engine. A longer one is sent from a copy outside of it.
 */
const INLINE_BODY = 65536;
/**
 * Length (bytes) of a shared body up to which it is copied into the engine, so that it is one write with its head. The
 * copy costs less than a write of its own.
 */
const INLINE_SHARED = 4096;

/** Flags of a response in pieces. */
const DELIVERIES: Readonly<Record<Delivery, number>> = {
  pushed: Answer.Stream,
  asked: Answer.Stream | Answer.Supply,
  read: Answer.Stream | Answer.Supply | Answer.Again,
};

export class Responder {
  readonly #pump: ResponderOwner;
  readonly #loop: EngineLoop<Peer>;
  readonly #codec: Codec | undefined;
  readonly protocols: Protocols;
  /** Bytes of the largest message that there are buffers for. */
  readonly #payloadBytes: number;
  readonly pages: Pick<Pages, "has" | "instead">;
  readonly #log: AccessLog | undefined;
  /** The cause of the last failed upgrade. */
  refusal: CloseReason = CloseReason.Ok;
  /** Next number of a body that one response uses, and last number of a body that responses share. */
  #nextBody = SLOT_LIMIT;
  #nextShared = 0;
  /** Result of the last `streamBegin` of a supplied body. */
  #begun = 0;

  constructor(
    pump: ResponderOwner,
    codec: Codec | undefined,
    protocols: Protocols,
    pages: Pick<Pages, "has" | "instead">,
    log: AccessLog | undefined,
  ) {
    this.#pump = pump;
    this.#loop = pump.loop;
    this.#codec = codec;
    this.protocols = protocols;
    this.pages = pages;
    this.#log = log;
    this.#payloadBytes = pump.engine.param(Param.PayloadBytes);
  }

  respond(
    peer: Peer,
    request: RequestImpl,
    status: number,
    fields: Fields,
    body: Payload,
    close: boolean,
  ): boolean {
    const { engine } = this.#loop;
    const paged = status >= 400 && body.length === 0 && this.pages.instead(status, fields);
    if (paged) return this.respondStatic(peer, request, status, paged.fields, paged.body, close);
    const fieldsLength = this.#putFields(fields);
    let length: number;
    if (typeof body === "string") {
      length = body.length > INLINE_BODY ? -1 : engine.putString(body, INLINE_BODY, fieldsLength);
      if (length < 0)
        return this.#respondLarge(peer, request, status, fieldsLength, toBytes(body), close);
    } else {
      length = sizeOf(body);
      if (length > INLINE_BODY) {
        const own = new Uint8Array(body);
        return this.#respondLarge(peer, request, status, fieldsLength, own, close);
      }
      engine.put(body, fieldsLength);
    }
    return this.#respondInline(peer, request, status, fieldsLength, length, close);
  }

  /** Responds with a body that is in the scratch region, after the fields. @param length of the body in bytes */
  #respondInline(
    peer: Peer,
    request: RequestImpl,
    status: number,
    fieldsLength: number,
    length: number,
    close: boolean,
  ): boolean {
    const log = this.#log;
    const isLogged = log !== undefined && request.log(log, status, length);
    this.#prepareAnswer(request);
    const flags = close ? Answer.Close : 0;
    const outcome = this.#loop.respond(peer, status, flags, fieldsLength, length);
    if (isLogged && outcome !== Outcome.Ok) request.unlog(log);
    this.#pump.requests.answered(peer, request);
    return outcome === Outcome.Ok;
  }

  /** Writes fields into the scratch region. @returns their bytes @throws RangeError when they do not fit */
  #putFields(fields: Fields): number {
    const length = this.#loop.engine.putFields(fields);
    if (length < 0) throw new RangeError("headers: more than the server can send");
    return length;
  }

  /** Copies a request's bytes for a handler that continues, before the engine releases them. */
  #prepareAnswer(request: RequestImpl): void {
    if (this.#pump.isFed(request) && request.isInWindow) request.freeze();
    else request.detach();
  }

  /** Responds with a large body. @param bytes a copy that belongs to the server */
  #respondLarge(
    peer: Peer,
    request: RequestImpl,
    status: number,
    fieldsLength: number,
    bytes: Uint8Array,
    close: boolean,
  ): boolean {
    const number = this.#nextBody++;
    if (this.#nextBody > 0x7fffffff) this.#nextBody = SLOT_LIMIT;
    return this.#respondBody(peer, request, status, fieldsLength, number, bytes, close);
  }

  /** Responds with bytes that other responses share. */
  respondStatic(
    peer: Peer,
    request: RequestImpl,
    status: number,
    fields: Fields,
    bytes: Uint8Array,
    close: boolean,
  ): boolean {
    const fieldsLength = this.#putFields(fields);
    if (bytes.length <= INLINE_SHARED) {
      this.#loop.engine.put(bytes, fieldsLength);
      return this.#respondInline(peer, request, status, fieldsLength, bytes.length, close);
    }
    this.#nextShared = (this.#nextShared + 1) % PAGE_BODIES;
    const number = this.#nextShared;
    return this.#respondBody(peer, request, status, fieldsLength, number, bytes, close);
  }

  #respondBody(
    peer: Peer,
    request: RequestImpl,
    status: number,
    fieldsLength: number,
    body: number,
    bytes: Uint8Array,
    close: boolean,
  ): boolean {
    const { length } = bytes;
    const log = this.#log;
    const isLogged = log !== undefined && request.log(log, status, length);
    this.#prepareAnswer(request);
    const flags = close ? Answer.Close : 0;
    const outcome = this.#loop.respondStatic(peer, status, flags, fieldsLength, body, length);
    const isQueued = this.#loop.isBodyQueued;
    if (isLogged && outcome === Outcome.Full) log.amend(statusOf(this.#loop.refusal));
    else if (isLogged && outcome !== Outcome.Ok) request.unlog(log);
    this.#pump.requests.answered(peer, request);
    if (outcome !== Outcome.Ok) return false;
    // Responses to HEAD have no body, and the number of such bodies is limited.
    if (isQueued) {
      peer.bodies ??= new Map();
      peer.bodies.set(body, bytes);
    }
    return true;
  }

  /**
   * Begins a response in pieces.
   * @param length of its body in bytes; −1: it is unknown; −2: it ends with the connection
   * @param delivery unless its pieces are pushed, `supply` follows at once, if the response is not bare
   */
  streamBegin(
    peer: Peer,
    request: RequestImpl,
    status: number,
    fields: Fields,
    close: boolean,
    length: number,
    delivery: Delivery,
  ): boolean {
    const fieldsLength = this.#putFields(fields);
    const log = this.#log;
    const isLogged = log !== undefined && request.log(log, status, length);
    const flags = DELIVERIES[delivery] | (close ? Answer.Close : 0);
    const outcome = this.#loop.streamBegin(peer, status, flags, fieldsLength, length);
    if (isLogged && outcome !== Outcome.Ok) request.unlog(log);
    this.#begun = this.#loop.engine.get(Control.Result);
    return outcome === Outcome.Ok && !peer.dead;
  }

  /** True when the response that has just begun, and whose pieces are not pushed, has no body. */
  get isBare(): boolean {
    return (this.#begun & SUPPLY_NONE) !== 0;
  }

  /**
   * Supplies the body of the response that has just begun.
   * @returns a promise of true when it is complete but for `streamEnd`, of false when the client has left first
   */
  supply(peer: Peer, source: BodySource): Promise<boolean> {
    const loop = this.#loop;
    const wanted = this.#begun & (2 * PIECE_LIMIT - 1);
    const isChunked = (this.#begun & SUPPLY_CHUNKS) !== 0;
    const supply = isReadable(source)
      ? new ReadSupply(loop, peer, source, wanted)
      : new NextSupply(loop, peer, source, wanted, isChunked, this.#pump.waits);
    peer.supply = supply;
    return new Promise((resolve, reject) => supply.run(resolve, reject));
  }

  streamWrite(peer: Peer, data: Payload): boolean {
    const bytes = bytesOf(data);
    if (bytes.length === 0) return true;
    const outcome = this.#loop.streamWrite(peer, bytes);
    // A response without a body accepts pieces and drops them.
    return outcome === Outcome.Ok || outcome === Outcome.TooLarge;
  }

  streamEnd(peer: Peer, request: RequestImpl): void {
    this.#prepareAnswer(request);
    peer.supply = undefined;
    this.#loop.streamEnd(peer);
    this.#pump.requests.answered(peer, request);
  }

  /**
   * Returns the subprotocol of an upgrade that names none: the handler's choice, else that of `Protocols`.
   * @throws TypeError when the handler chose one that was not offered
   */
  #choose(peer: Peer, request: RequestImpl, handler: string): string {
    const chosen = this.#pump.chooseProtocol(peer, request) ?? "";
    if (chosen !== "" && !request.protocols.includes(chosen)) {
      throw new TypeError(`protocol: the client did not offer ${JSON.stringify(chosen)}`);
    }
    return chosen || this.protocols.choose(request, peer.module, handler);
  }

  /** Reports a failed upgrade. */
  #refuse(peer: Peer, protocol: string, data: unknown, reason: CloseReason): false {
    this.refusal = reason;
    this.#pump.refused(peer, new WebSocketImpl(this.#pump, peer, protocol, data), reason);
    return false;
  }

  /** True when requests may become event streams. */
  get hasEvents(): boolean {
    return this.#loop.engine.param(Param.EventRingBytes) !== 0;
  }

  /** True when event streams resume. */
  get hasHistory(): boolean {
    return this.#loop.engine.param(Param.History) !== 0;
  }

  /** Makes a request a WebSocket, or an event stream. */
  upgrade(peer: Peer, request: RequestImpl, upgrade: Upgrade): boolean {
    if (upgrade.topics) return this.#openStream(peer, request, upgrade, upgrade.topics);
    return this.#upgrade(peer, request, upgrade);
  }

  #openStream(
    peer: Peer,
    request: RequestImpl,
    { fields, data, since }: Upgrade,
    topics: readonly string[],
  ): boolean {
    if (!this.hasEvents)
      throw new TypeError("events: server-sent events are off; use the option { events: true }");
    if (peer.upload) throw new TypeError("events: the request's body is streamed");
    const fieldsLength = this.#putFields(fields);
    const log = this.#log;
    const isLogged = log !== undefined && request.log(log, 200, 0);
    this.#prepareAnswer(request);
    peer.isStream = true;
    const refusal = this.#tryStream(peer, request, fieldsLength, since);
    if (refusal !== CloseReason.Ok) {
      peer.response = undefined;
      // The client may get 200, because any other status would end it for ever. The log has the true one.
      if (isLogged && refusal !== CloseReason.PeerEnded) log.amend(statusOf(refusal));
      else if (isLogged) request.unlog(log);
      return this.#refuse(peer, "", data, refusal);
    }
    peer.remoteAddress = request.remoteAddress;
    this.#pump.requests.answered(peer, request);
    const ws = new WebSocketImpl(this.#pump, peer, "", data);
    this.#pump.opened(peer, ws);
    this.#begin(peer, topics);
    return true;
  }

  /** Subscribes a new event stream to its topics, and greets it where publications are kept. */
  #begin(peer: Peer, topics: readonly string[]): void {
    const { engine } = this.#loop;
    let missing = "";
    for (const topic of topics) {
      this.#pump.topics.subscribeFor(peer, topic);
      if (this.hasHistory && missing === "" && engine.get(Control.Result) === Gap.Expired)
        missing = topic;
    }
    if (this.hasHistory) peer.greeting = greetingOf(this.#loop.greet(peer), missing);
  }

  /** Opens an event stream. @returns the reason why it was refused; Ok: it is open */
  #tryStream(
    peer: Peer,
    request: RequestImpl,
    fieldsLength: number,
    since: string | undefined,
  ): CloseReason {
    // A server that is shutting down opens no event streams.
    if (this.#pump.farewell.isBegun) {
      peer.response = undefined;
      this.#loop.abandon(peer, CloseReason.Shutdown);
      return CloseReason.Shutdown;
    }
    if (!this.#pump.requests.isAddressFree(peer, request.remoteAddress))
      return CloseReason.AddressLimit;
    const from = sinceOf(since, this.#loop.engine.param(Param.Epoch));
    const outcome = this.#loop.openStream(peer, fieldsLength, from);
    if (outcome === Outcome.Ok) return CloseReason.Ok;
    return outcome === Outcome.Full ? CloseReason.NoRoom : CloseReason.PeerEnded;
  }

  #upgrade(
    peer: Peer,
    request: RequestImpl,
    { fields, protocol, handler, data, idleTimeout, maxPayloadLength, compress }: Upgrade,
  ): boolean {
    const most = this.#payloadBytes;
    if (maxPayloadLength !== undefined && maxPayloadLength > most) {
      throw new RangeError(
        `maxPayloadLength: ${maxPayloadLength} is more than the server's ${most}`,
      );
    }
    // The name was checked where the handler runs.
    // mutant protocol-handler: ;
    if (handler !== "") peer.module = this.protocols.moduleOf(handler);
    const chosen = protocol === "" ? this.#choose(peer, request, handler) : protocol;
    if (chosen !== protocol) fields.push(["Sec-WebSocket-Protocol", chosen]);
    const offered = request.header("sec-websocket-extensions");
    const judged = offered === undefined ? undefined : negotiate(offered);
    // A field that breaks the grammar is refused even when compression is off (RFC 6455 9.1).
    const agreed = (this.#codec && compress) || judged === "malformed" ? judged : undefined;
    // A server that is shutting down opens no WebSockets.
    // mutant shutdown-late: if (agreed === "malformed") {
    if (agreed === "malformed" || this.#pump.farewell.isBegun) {
      const reason = this.#pump.farewell.isBegun ? CloseReason.Shutdown : CloseReason.BadRequest;
      if (this.#log) request.log(this.#log, statusOf(reason), -1);
      this.#prepareAnswer(request);
      peer.response = undefined;
      this.#loop.abandon(peer, reason);
      return this.#refuse(peer, chosen, data, reason);
    }
    const all = agreed ? [...fields, ["Sec-WebSocket-Extensions", agreed.field] as const] : fields;
    const fieldsLength = this.#putFields(all);
    const log = this.#log;
    const isLogged = log !== undefined && request.log(log, 101, 0);
    this.#prepareAnswer(request);
    peer.windowBits = agreed?.windowBits ?? 0;
    // Broadcasts are compressed with one window size. A client that asks for a smaller one gets them plain.
    const deflate = agreed === undefined ? 0 : agreed.windowBits === WINDOW_BITS ? 1 : 2;
    if (!this.#pump.requests.isAddressFree(peer, request.remoteAddress)) {
      peer.response = undefined;
      if (isLogged) log.amend(statusOf(CloseReason.AddressLimit));
      return this.#refuse(peer, chosen, data, CloseReason.AddressLimit);
    }
    const outcome = this.#loop.upgrade(peer, fieldsLength, deflate);
    if (outcome !== Outcome.Ok) {
      peer.response = undefined;
      const isFull = outcome === Outcome.Full;
      const reason = isFull ? CloseReason.NoRoom : CloseReason.PeerEnded;
      if (isLogged && isFull) log.amend(statusOf(reason));
      else if (isLogged) request.unlog(log);
      return this.#refuse(peer, chosen, data, reason);
    }
    peer.remoteAddress = request.remoteAddress;
    const { engine } = this.#loop;
    const idle = idleTimeout === undefined ? undefined : idleTimeout * 1000;
    peer.payloadBytes = maxPayloadLength ?? engine.param(Param.PayloadBytes);
    const ms = idle ?? engine.param(Param.IdleTimeout);
    this.#loop.limit(peer, ms, peer.payloadBytes);
    this.#pump.requests.answered(peer, request);
    this.#pump.opened(peer, new WebSocketImpl(this.#pump, peer, chosen, data));
    return true;
  }
}
