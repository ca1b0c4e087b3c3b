// Answers to requests, from the host's side: fields and bodies go to the engine, what it has no room for
// stays here until it is sent; upgrades are negotiated.
//
// Invariant: a request is answered once. Before the engine lets go of its bytes, those that its handler may
// still read are kept for it.

import { Answer, CloseReason, Outcome, Param, SLOT_LIMIT } from "../../assembly/abi";
import { type Payload, bytesOf, sizeOf } from "../../host/shared/message/data";
import type { Upgrade } from "../../host/shared/request/response";
import { WINDOW_BITS, negotiate } from "../socket/deflate";
import { type Fields, toBytes } from "../engine/engine";
import type { EngineLoop } from "../engine/loop";
import type { Codec } from "../net/transport";
import type { Peer } from "../socket/peer";
import { type SocketOwner, WebSocketImpl } from "../socket/socket";
import type { RequestImpl } from "./request";

/** What answers need of the pump. */
export interface AnswersOwner extends SocketOwner {
  readonly loop: EngineLoop<Peer>;
  readonly requests: {
    /** The request is answered: its connection goes on. */
    answered(peer: Peer, request: RequestImpl): void;
    /** @returns false when the client's address has as many WebSockets as it may */
    isAddressFree(peer: Peer, address: string): boolean;
  };
  readonly farewell: { readonly isBegun: boolean };
  /** True when the request's bytes are the ones that are being parsed. */
  isFed(request: RequestImpl): boolean;
  /** The subprotocol that the handler chooses; undefined when it does not. */
  chooseProtocol(request: RequestImpl): string | undefined;
  /** A WebSocket is open. */
  opened(peer: Peer, ws: WebSocketImpl): void;
  /** An upgrade failed. */
  refused(ws: WebSocketImpl, reason: CloseReason): void;
}

/** Bytes of a body up to which it is copied into the engine; a larger one is sent from the host's copy. */
const INLINE_BODY = 65536;

export class Answers {
  readonly #pump: AnswersOwner;
  readonly #loop: EngineLoop<Peer>;
  readonly #codec: Codec | undefined;
  readonly #protocols: readonly string[];
  /** Bytes of a message that there are buffers for. */
  readonly #payloadBytes: number;
  /** Why the last upgrade that failed did. */
  refusal: CloseReason = CloseReason.Ok;
  /** Numbers of bodies in the queues of connections: those that are held for one answer, and those that are shared. */
  #nextBody = SLOT_LIMIT;
  #nextShared = 0;

  constructor(pump: AnswersOwner, codec: Codec | undefined, protocols: readonly string[]) {
    this.#pump = pump;
    this.#loop = pump.loop;
    this.#codec = codec;
    this.#protocols = protocols;
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
    this.#prepareAnswer(request);
    const flags = close ? Answer.Close : 0;
    const outcome = this.#loop.respond(peer, status, flags, fieldsLength, length);
    this.#pump.requests.answered(peer, request);
    return outcome === Outcome.Ok;
  }

  /** Leaves fields in the scratch region; returns their bytes. @throws RangeError */
  #putFields(fields: Fields): number {
    const length = this.#loop.engine.putFields(fields);
    if (length < 0) throw new RangeError("headers: more than the server can send");
    return length;
  }

  /** Before the engine lets go of a request's bytes: those of a handler that runs on are kept for it. */
  #prepareAnswer(request: RequestImpl): void {
    if (this.#pump.isFed(request) && request.isInWindow) request.freeze();
    else request.detach();
  }

  /** @param bytes the host's own copy */
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

  /** Answers HEAD with the length of what GET would get. */
  respondLength(
    peer: Peer,
    request: RequestImpl,
    status: number,
    fields: Fields,
    length: number,
    close: boolean,
  ): boolean {
    const fieldsLength = this.#putFields(fields);
    this.#prepareAnswer(request);
    const flags = close ? Answer.Close : 0;
    const outcome = this.#loop.respondStatic(peer, status, flags, fieldsLength, 0, length);
    this.#pump.requests.answered(peer, request);
    return outcome === Outcome.Ok;
  }

  /** Answers with bytes that other answers share. */
  respondStatic(
    peer: Peer,
    request: RequestImpl,
    status: number,
    fields: Fields,
    bytes: Uint8Array,
    close: boolean,
  ): boolean {
    const fieldsLength = this.#putFields(fields);
    this.#nextShared = (this.#nextShared + 1) % SLOT_LIMIT;
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
    this.#prepareAnswer(request);
    const flags = close ? Answer.Close : 0;
    const { length } = bytes;
    const outcome = this.#loop.respondStatic(peer, status, flags, fieldsLength, body, length);
    const isQueued = this.#loop.isBodyQueued;
    this.#pump.requests.answered(peer, request);
    if (outcome !== Outcome.Ok) return false;
    // Answers to HEAD have none, and too many may be held.
    if (isQueued) {
      peer.bodies ??= new Map();
      peer.bodies.set(body, bytes);
    }
    return true;
  }

  streamBegin(peer: Peer, status: number, fields: Fields, close: boolean): boolean {
    const fieldsLength = this.#putFields(fields);
    const flags = Answer.Stream | (close ? Answer.Close : 0);
    const outcome = this.#loop.streamBegin(peer, status, flags, fieldsLength);
    return outcome === Outcome.Ok && !peer.dead;
  }

  streamWrite(peer: Peer, data: Payload): boolean {
    const bytes = bytesOf(data);
    if (bytes.length === 0) return true;
    const outcome = this.#loop.streamWrite(peer, bytes);
    // An answer without a body takes its pieces and drops them.
    return outcome === Outcome.Ok || outcome === Outcome.TooLarge;
  }

  streamEnd(peer: Peer, request: RequestImpl): void {
    this.#prepareAnswer(request);
    this.#loop.streamEnd(peer);
    this.#pump.requests.answered(peer, request);
  }

  /**
   * The subprotocol of an upgrade that names none: the handler's choice, else the first offered one of the list.
   * @throws TypeError when the handler chose what was not offered
   */
  #choose(request: RequestImpl): string {
    const chosen = this.#pump.chooseProtocol(request) ?? "";
    const offered = request.protocols;
    if (chosen !== "" && !offered.includes(chosen)) {
      throw new TypeError(`protocol: the client did not offer ${JSON.stringify(chosen)}`);
    }
    return chosen || (offered.find((name) => this.#protocols.includes(name)) ?? "");
  }

  /** An upgrade failed. */
  #refuse(peer: Peer, protocol: string, data: unknown, reason: CloseReason): false {
    this.refusal = reason;
    this.#pump.refused(new WebSocketImpl(this.#pump, peer, protocol, data), reason);
    this.#loop.schedule();
    return false;
  }

  upgrade(
    peer: Peer,
    request: RequestImpl,
    { fields, protocol, data, idleTimeout, maxPayloadLength }: Upgrade,
  ): boolean {
    const most = this.#payloadBytes;
    if (maxPayloadLength !== undefined && maxPayloadLength > most) {
      throw new RangeError(
        `maxPayloadLength: ${maxPayloadLength} is more than the server's ${most}`,
      );
    }
    const chosen = protocol === "" ? this.#choose(request) : protocol;
    if (chosen !== protocol) fields.push(["Sec-WebSocket-Protocol", chosen]);
    const offered = request.header("sec-websocket-extensions");
    const judged = offered === undefined ? undefined : negotiate(offered);
    // What breaks the grammar is refused also where nothing is compressed (RFC 6455 9.1).
    const agreed = this.#codec || judged === "malformed" ? judged : undefined;
    // Who shuts down opens nothing any more.
    // mutant shutdown-late: if (agreed === "malformed") {
    if (agreed === "malformed" || this.#pump.farewell.isBegun) {
      const reason = this.#pump.farewell.isBegun ? CloseReason.Shutdown : CloseReason.BadRequest;
      this.#prepareAnswer(request);
      peer.response = undefined;
      this.#loop.abandon(peer, reason);
      return this.#refuse(peer, chosen, data, reason);
    }
    const all = agreed ? [...fields, ["Sec-WebSocket-Extensions", agreed.field] as const] : fields;
    const fieldsLength = this.#putFields(all);
    this.#prepareAnswer(request);
    peer.windowBits = agreed?.windowBits ?? 0;
    // Broadcasts are compressed with one window; who wants a smaller one gets them plain.
    const deflate = agreed === undefined ? 0 : agreed.windowBits === WINDOW_BITS ? 1 : 2;
    if (!this.#pump.requests.isAddressFree(peer, request.remoteAddress)) {
      peer.response = undefined;
      return this.#refuse(peer, chosen, data, CloseReason.AddressLimit);
    }
    const outcome = this.#loop.upgrade(peer, fieldsLength, deflate);
    if (outcome !== Outcome.Ok) {
      peer.response = undefined;
      const isFull = outcome === Outcome.Full;
      const reason = isFull ? CloseReason.NoRoom : CloseReason.PeerEnded;
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
