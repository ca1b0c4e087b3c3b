// Answers to requests, from the host's side: fields and bodies go to the engine, what it has no room for
// stays here until it is sent; upgrades are negotiated.
//
// Invariant: a request is answered once. Before the engine lets go of its bytes, those that its handler may
// still read are kept for it.

import { Answer, CloseReason, Control, Outcome, Param, SLOT_LIMIT } from "../../assembly/abi";
import { type Payload, bytesOf, sizeOf } from "../../host/shared/message/data";
import type { Upgrade } from "../../host/shared/request/response";
import { WINDOW_BITS, negotiate } from "../socket/deflate";
import { type Fields, putUtf8, toBytes } from "../engine/engine";
import type { Codec } from "../net/transport";
import type { Peer } from "../pump/peer";
import type { RequestImpl } from "./request";
import type { Pump } from "../pump/pump";
import { WebSocketImpl } from "../socket/socket";

/** Bytes of a body up to which it is copied into the engine; a larger one is sent from the host's copy. */
const INLINE_BODY = 65536;

export class Answers {
  readonly #pump: Pump;
  readonly #codec: Codec | undefined;
  readonly #protocols: readonly string[];
  /** Bytes of a message that there are buffers for. */
  readonly #payloadBytes: number;
  /** Why the last upgrade that failed did. */
  refusal: CloseReason = CloseReason.Ok;
  /** Numbers of bodies in the queues of connections: those that are held for one answer, and those that are shared. */
  #nextBody = SLOT_LIMIT;
  #nextShared = 0;

  constructor(pump: Pump, codec: Codec | undefined, protocols: readonly string[]) {
    this.#pump = pump;
    this.#codec = codec;
    this.#protocols = protocols;
    this.#payloadBytes = pump.engine.params[Param.PayloadBytes] as number;
  }

  respond(
    peer: Peer,
    request: RequestImpl,
    status: number,
    fields: Fields,
    body: Payload,
    close: boolean,
  ): boolean {
    const { engine } = this.#pump;
    this.#pump.time();
    const fieldsLength = engine.putFields(fields);
    if (fieldsLength < 0) throw new RangeError("headers: more than the server can send");
    const at = engine.scratch + fieldsLength;
    let length: number;
    if (typeof body === "string") {
      length = body.length > INLINE_BODY ? -1 : putUtf8(engine.u8, at, INLINE_BODY, body);
      if (length < 0)
        return this.#respondLarge(peer, request, status, fieldsLength, toBytes(body), close);
    } else {
      length = sizeOf(body);
      if (length > INLINE_BODY) {
        const own = new Uint8Array(body);
        return this.#respondLarge(peer, request, status, fieldsLength, own, close);
      }
      engine.u8.set(body, at);
    }
    this.#prepareAnswer(request);
    const outcome = engine.x.respond(
      peer.slot,
      peer.generation,
      status,
      close ? Answer.Close : 0,
      fieldsLength,
      length,
    );
    this.#pump.requests.answered(peer, request);
    return outcome === Outcome.Ok;
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
    this.#pump.time();
    const { x } = this.#pump.engine;
    const fieldsLength = this.#pump.engine.putFields(fields);
    if (fieldsLength < 0) throw new RangeError("headers: more than the server can send");
    this.#prepareAnswer(request);
    const flags = close ? Answer.Close : 0;
    const { slot, generation } = peer;
    const outcome = x.respondStatic(slot, generation, status, flags, fieldsLength, 0, length);
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
    this.#pump.time();
    const fieldsLength = this.#pump.engine.putFields(fields);
    if (fieldsLength < 0) throw new RangeError("headers: more than the server can send");
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
    const { x } = this.#pump.engine;
    const { slot, generation } = peer;
    const { length } = bytes;
    const outcome = x.respondStatic(slot, generation, status, flags, fieldsLength, body, length);
    const isQueued = this.#pump.engine.get(Control.Result) !== 0;
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
    this.#pump.time();
    const fieldsLength = this.#pump.engine.putFields(fields);
    if (fieldsLength < 0) throw new RangeError("headers: more than the server can send");
    const flags = Answer.Stream | (close ? Answer.Close : 0);
    const { x } = this.#pump.engine;
    const outcome = x.streamBegin(peer.slot, peer.generation, status, flags, fieldsLength);
    this.#pump.schedule();
    return outcome === Outcome.Ok && !peer.dead;
  }

  streamWrite(peer: Peer, data: Payload): boolean {
    const { engine } = this.#pump;
    const { x, scratch, scratchBytes } = engine;
    const bytes = bytesOf(data);
    if (bytes.length === 0) return true;
    this.#pump.time();
    const outcome = x.streamWrite(peer.slot, peer.generation, bytes.length);
    // An answer without a body takes its pieces and drops them.
    if (outcome !== Outcome.Ok) return outcome === Outcome.TooLarge;
    for (let at = 0; at < bytes.length; at += scratchBytes) {
      const part = bytes.subarray(at, at + scratchBytes);
      engine.u8.set(part, scratch);
      x.sendBytes(scratch, part.length);
    }
    x.streamNext(peer.slot, peer.generation);
    this.#pump.schedule();
    return true;
  }

  streamEnd(peer: Peer, request: RequestImpl): void {
    this.#pump.time();
    this.#prepareAnswer(request);
    this.#pump.engine.x.streamEnd(peer.slot, peer.generation);
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
    this.#pump.schedule();
    return false;
  }

  upgrade(
    peer: Peer,
    request: RequestImpl,
    { fields, protocol, data, idleTimeout, maxPayloadLength }: Upgrade,
  ): boolean {
    const { engine } = this.#pump;
    this.#pump.time();
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
      engine.x.abandon(peer.slot, peer.generation, reason);
      return this.#refuse(peer, chosen, data, reason);
    }
    const all = agreed ? [...fields, ["Sec-WebSocket-Extensions", agreed.field] as const] : fields;
    const fieldsLength = engine.putFields(all);
    if (fieldsLength < 0) throw new RangeError("headers: more than the server can send");
    this.#prepareAnswer(request);
    peer.windowBits = agreed?.windowBits ?? 0;
    // Broadcasts are compressed with one window; who wants a smaller one gets them plain.
    const deflate = agreed === undefined ? 0 : agreed.windowBits === WINDOW_BITS ? 1 : 2;
    if (!this.#pump.requests.isAddressFree(peer, request.remoteAddress)) {
      peer.response = undefined;
      return this.#refuse(peer, chosen, data, CloseReason.AddressLimit);
    }
    const { x } = engine;
    let outcome = x.upgrade(peer.slot, peer.generation, fieldsLength, deflate);
    if (outcome === Outcome.Evicted) {
      this.#pump.actOnCloses();
      outcome = x.upgrade(peer.slot, peer.generation, fieldsLength, deflate);
    }
    if (outcome !== Outcome.Ok) {
      peer.response = undefined;
      const isFull = outcome === Outcome.Full;
      const reason = isFull ? CloseReason.NoRoom : CloseReason.PeerEnded;
      return this.#refuse(peer, chosen, data, reason);
    }
    peer.remoteAddress = request.remoteAddress;
    this.#pump.move(peer, engine.get(Control.Result), engine.get(Control.Generation));
    const idle = idleTimeout === undefined ? undefined : idleTimeout * 1000;
    peer.payloadBytes = maxPayloadLength ?? (engine.params[Param.PayloadBytes] as number);
    const ms = idle ?? (engine.params[Param.IdleTimeout] as number);
    x.limit(peer.slot, peer.generation, ms, peer.payloadBytes);
    this.#pump.requests.answered(peer, request);
    this.#pump.opened(peer, new WebSocketImpl(this.#pump, peer, chosen, data));
    return true;
  }
}
