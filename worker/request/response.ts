// The response to a request as the handler sees it, and static bodies.

import { CloseReason } from "../../assembly/abi";
import type { StaticBody } from "../../host/handler";
import type { HeaderFields } from "../../host/handler";
import type { Payload } from "../../host/shared/message/data";
import type { Delivery, PieceSource } from "../../host/shared/request/pieces";
import { Answering, type Field, type Upgrade } from "../../host/shared/request/response";
import type { Peer, PeerResponse } from "../socket/peer";
import { type BodySource, isReadable } from "../supply/source";
import type { Responder } from "./responder";
import type { RequestImpl } from "./request";

/** The part of the pump that a response needs. */
export interface ResponseOwner {
  readonly responder: Responder;
  readonly requests: {
    failRequest(peer: Peer, response: ResponseImpl, thrown: unknown): void;
    pass(peer: Peer, path: string, fields: readonly Field[], close: boolean): boolean;
    failAnswer(peer: Peer, response: ResponseImpl, reason: CloseReason): void;
  };
  terminate(peer: Peer, reason: CloseReason): boolean;
}

/** A static body. Responses send its bytes without a copy. */
export class StaticBodyImpl implements StaticBody {
  static readonly name = "StaticBody";
  /** The server that made it. */
  readonly owner: object;
  readonly bytes: Uint8Array;
  readonly type: string;

  constructor(owner: object, bytes: Uint8Array, type: string) {
    this.owner = owner;
    this.bytes = bytes;
    this.type = type;
  }

  get length(): number {
    return this.bytes.length;
  }
}

/** Refuses a request that there is no room for. Its connection continues. */
export function refuse(response: ResponseImpl): void {
  if (!response.comeBack()) response.header("Retry-After", 1).refuse(503, "Service Unavailable\n");
}

export class ResponseImpl extends Answering implements PeerResponse {
  static override readonly name = "Response";
  readonly #pump: ResponseOwner;
  readonly #peer: Peer;
  override readonly request: RequestImpl;

  constructor(pump: ResponseOwner, peer: Peer, request: RequestImpl) {
    super();
    this.#pump = pump;
    this.#peer = peer;
    this.request = request;
  }

  protected override get gone(): boolean {
    return this.#peer.response !== this;
  }

  protected override hasPage(status: number): boolean {
    return this.#pump.responder.pages.has(status);
  }

  protected override get protocolNames(): readonly string[] {
    return this.#pump.responder.protocols.names;
  }

  protected override respond(
    status: number,
    fields: Field[],
    body: Payload,
    close: boolean,
  ): boolean {
    const { responder } = this.#pump;
    return responder.respond(this.#peer, this.request, status, fields, body, close);
  }

  /** Has the engine refuse an EventSource's request so that it reconnects. @returns false when it is none */
  comeBack(): boolean {
    const { responder, requests } = this.#pump;
    const isSource = this.request.header("accept")?.includes("text/event-stream") ?? false;
    if (!responder.hasEvents || !isSource || this.request.method !== "GET") return false;
    requests.failAnswer(this.#peer, this, CloseReason.NoRoom);
    return true;
  }

  protected override isOwn(body: StaticBody): boolean {
    return body instanceof StaticBodyImpl && body.owner === this.#pump;
  }

  protected override respondStatic(
    status: number,
    fields: Field[],
    body: StaticBody,
    close: boolean,
  ): boolean {
    const { bytes } = body as StaticBodyImpl;
    return this.#pump.responder.respondStatic(
      this.#peer,
      this.request,
      status,
      fields,
      bytes,
      close,
    );
  }

  protected override passTo(path: string, fields: readonly Field[], close: boolean): boolean {
    return this.#pump.requests.pass(this.#peer, path, fields, close);
  }

  protected override streamBegin(
    status: number,
    fields: Field[],
    close: boolean,
    length: number,
    delivery: Delivery,
  ): boolean {
    const { responder } = this.#pump;
    return responder.streamBegin(this.#peer, this.request, status, fields, close, length, delivery);
  }

  protected override supply(pieces: PieceSource): Promise<boolean> {
    return this.#pump.responder.supply(this.#peer, pieces);
  }

  /**
   * Sends a response whose body comes from a source of the server's own, such as a file. The source is closed once,
   * whatever happens; a failure of it fails the request.
   * @param type Content-Type; "" for none
   */
  sendFrom(
    status: number,
    type: string,
    source: BodySource,
    headers?: HeaderFields,
  ): Promise<void> {
    const { size } = source;
    if (size !== undefined) this.header("Content-Length", size);
    const delivery = isReadable(source) ? "read" : "asked";
    const leave = (): void => source.close();
    return this.supplyBody(delivery, status, type, headers, leave, async () => {
      const { responder } = this.#pump;
      if (!isReadable(source)) return responder.supply(this.#peer, this.#counted(source));
      const isWhole = await responder.supply(this.#peer, source);
      if (isWhole) this.countPiece(source.size);
      return isWhole;
    });
  }

  /** Returns a source whose pieces are counted. */
  #counted(source: PieceSource): PieceSource {
    return {
      next: async (bytes) => {
        const piece = await source.next(bytes);
        if (piece) this.countPiece(piece.length);
        return piece;
      },
      close: () => source.close(),
    };
  }

  protected override streamWrite(data: Payload): boolean {
    return this.#pump.responder.streamWrite(this.#peer, data);
  }

  protected override streamEnd(): void {
    this.#pump.responder.streamEnd(this.#peer, this.request);
  }

  protected override streamLeave(): void {
    this.#pump.terminate(this.#peer, CloseReason.PeerEnded);
  }

  override failed(thrown: unknown): void {
    this.#pump.requests.failRequest(this.#peer, this, thrown);
  }

  protected override accept(upgrade: Upgrade): boolean {
    return this.#pump.responder.upgrade(this.#peer, this.request, upgrade);
  }
}
