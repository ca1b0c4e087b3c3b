// A request as the handler sees it, and its answer. A request is read from the connection's bytes on
// demand; what must outlive them is copied.
//
// Invariant: a Head never reads bytes of another request. While its request is not answered it reads where
// the engine says the request lies; when it has been answered in the run of the handler, where it lay
// (nothing else is parsed before that run ends); later, from a copy.

import { CloseReason, HEADER_ENTRY_BYTES, Param, Trait } from "../assembly/abi";
import type { Data, PeerCertificate, StaticBody } from "../host/handler";
import { type RequestHead, RequestReader } from "../host/request";
import { Answering, type Field, type Upgrade } from "../host/response";
import type { Engine } from "./engine";
import type { Peer } from "./peer";
import type { Pump } from "./server";
import type { Upload } from "./upload";

const NOTHING = new Uint8Array(0);

export class RequestImpl extends RequestReader {
  static override readonly name = "Request";
  readonly #engine: Engine;
  readonly #slot: number;
  #at: RequestHead | undefined;
  #bytes: Uint8Array;
  #state: "out" | "answered" | "copied" = "out";
  #forgotten = false;
  #upload: Upload | undefined;

  constructor(
    engine: Engine,
    slot: number,
    id: number,
    remoteAddress: string,
    peerCertificate?: PeerCertificate,
  ) {
    super(id, remoteAddress, peerCertificate);
    this.#engine = engine;
    this.#slot = slot;
    this.#bytes = engine.u8;
  }

  /** Where the request lies now. */
  protected override get head(): RequestHead {
    return this.#at ?? this.#engine.head(this.#slot);
  }

  override get upgrade(): boolean {
    const traits = this.#at ? this.#at.traits : this.#engine.traits(this.#slot);
    return (traits & Trait.Upgrade) !== 0;
  }

  protected override get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** True when the request lies in the receive window. */
  get isInWindow(): boolean {
    const { window, windowBytes } = this.#engine;
    const at = this.#at ? this.#at.head : this.#engine.headAddress(this.#slot);
    return at >= window && at < window + windowBytes;
  }

  /** The request is about to be answered, from the run of its handler. */
  freeze(): void {
    if (this.#state !== "out") return;
    this.#at = this.#engine.head(this.#slot);
    this.#state = "answered";
  }

  /** Nobody reads the request after it was answered: nothing of it need be kept. */
  forget(): void {
    this.#forgotten = true;
  }

  /** A copy of its bytes, and where what lies in it. */
  copy(): { readonly head: RequestHead; readonly bytes: Uint8Array } {
    const at = this.head;
    const table = at.fields * HEADER_ENTRY_BYTES;
    const bytes = new Uint8Array(table + at.headLength + at.bodyLength);
    bytes.set(this.#bytes.subarray(at.table, at.table + table));
    bytes.set(this.#bytes.subarray(at.head, at.head + at.headLength), table);
    bytes.set(this.#bytes.subarray(at.body, at.body + at.bodyLength), table + at.headLength);
    return { head: { ...at, table: 0, head: table, body: table + at.headLength }, bytes };
  }

  /** The handler goes on after the request was answered: its bytes are kept for it. */
  detach(): void {
    if (this.#state === "copied") return;
    const at = this.head;
    if (this.#forgotten) {
      this.#at = { ...at, fields: 0, head: 0, headLength: 0, body: 0, bodyLength: 0 };
      this.#bytes = NOTHING;
      this.#state = "copied";
      return;
    }
    const { head, bytes } = this.copy();
    this.#at = head;
    this.#bytes = bytes;
    this.#state = "copied";
  }

  /** Its body is streamed: the engine lets go of the head, which is kept here. */
  streams(upload: Upload): void {
    this.detach();
    this.#upload = upload;
  }

  protected override get upload(): AsyncIterableIterator<Uint8Array> | undefined {
    return this.#upload;
  }

  protected override get bodyLimit(): number {
    return this.#engine.params[Param.BodyBytes] as number;
  }
}

/** A static body: registered once, sent from where it lies. */
export class StaticBodyImpl implements StaticBody {
  static readonly name = "StaticBody";
  readonly number: number;
  readonly bytes: Uint8Array;
  readonly type: string;

  constructor(number: number, bytes: Uint8Array, type: string) {
    this.number = number;
    this.bytes = bytes;
    this.type = type;
  }

  get length(): number {
    return this.bytes.length;
  }
}

/** Sheds a request that nobody has room for; its connection goes on. */
export function refuse(response: ResponseImpl): void {
  response.header("Retry-After", 1).send(503, "text/plain", "Service Unavailable\n");
}

export class ResponseImpl extends Answering {
  static override readonly name = "Response";
  readonly #pump: Pump;
  readonly #peer: Peer;
  override readonly request: RequestImpl;

  constructor(pump: Pump, peer: Peer, request: RequestImpl) {
    super();
    this.#pump = pump;
    this.#peer = peer;
    this.request = request;
  }

  protected override get gone(): boolean {
    return this.#peer.response !== this;
  }

  protected override respond(status: number, fields: Field[], body: Data, close: boolean): boolean {
    const { answers } = this.#pump;
    return answers.respond(this.#peer, this.request, status, fields, body, close);
  }

  protected override checkStatic(body: StaticBody): void {
    if (!(body instanceof StaticBodyImpl)) throw new TypeError("body: not made by server.body()");
  }

  protected override respondStatic(
    status: number,
    fields: Field[],
    body: StaticBody,
    close: boolean,
  ): boolean {
    const own = body as StaticBodyImpl;
    return this.#pump.answers.respondStatic(this.#peer, this.request, status, fields, own, close);
  }

  protected override streamBegin(status: number, fields: Field[], close: boolean): boolean {
    return this.#pump.answers.streamBegin(this.#peer, status, fields, close);
  }

  protected override streamWrite(data: Data): boolean {
    return this.#pump.answers.streamWrite(this.#peer, data);
  }

  protected override streamEnd(): void {
    this.#pump.answers.streamEnd(this.#peer, this.request);
  }

  protected override streamFail(): void {
    this.#pump.terminate(this.#peer, CloseReason.HandlerError);
  }

  protected override accept(upgrade: Upgrade): boolean {
    return this.#pump.answers.upgrade(this.#peer, this.request, upgrade);
  }
}
