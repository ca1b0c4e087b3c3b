// A request as the handler sees it. It is read from the connection's bytes on demand, and copied when it must outlive
// them.
//
// Invariant: a request never reads bytes of another one. Until it is answered, it is read at the place that the engine
// reports. When it was answered during the run of its handler, it is read where it was, because nothing else is parsed
// before that run ends. A handler that continues after that reads a copy. When the handler has settled as well, the
// request can no longer be read.

import { HEADER_ENTRY_BYTES, Param, Trait } from "../../assembly/abi";
import type { PeerCertificate } from "../../host/handler";
import { NO_HEAD, type RequestHead, RequestReader } from "../../host/shared/request/request";
import type { Engine } from "../engine/engine";
import type { AccessLog } from "./access-log";
import type { Upload } from "./body";

const NOTHING = new Uint8Array(0);

export class RequestImpl extends RequestReader {
  static override readonly name = "Request";
  readonly #engine: Engine;
  readonly #slot: number;
  readonly #hostTraits: number;
  #at: RequestHead | undefined;
  #bytes: Uint8Array;
  #state: "out" | "answered" | "copied" = "out";
  #forgotten = false;
  #upload: Upload | undefined;
  /** Time at which it had arrived, by the access log's clock; −1: there is no access log. */
  arrivedAt = -1;
  /** True when the access log has its line. */
  #isLogged = false;

  constructor(
    engine: Engine,
    slot: number,
    id: number,
    remoteAddress: string,
    peerCertificate?: PeerCertificate,
    hostTraits = 0,
  ) {
    super(id, remoteAddress, peerCertificate);
    this.#engine = engine;
    this.#slot = slot;
    this.#hostTraits = hostTraits;
    this.#bytes = engine.u8;
  }

  /** The place of the request now. While it is pending, it may be moved as a whole. */
  protected override get head(): RequestHead {
    const at = this.#at;
    if (at !== undefined) {
      if (this.#state !== "out" || at.head === this.#engine.headAddress(this.#slot)) return at;
    }
    this.#at = this.#engine.head(this.#slot, this.#hostTraits);
    return this.#at;
  }

  override get upgrade(): boolean {
    // This avoids creating the head's object, which no other code may need.
    if (this.#state !== "out") return super.upgrade;
    return (this.#engine.traits(this.#slot) & Trait.Upgrade) !== 0;
  }

  protected override get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** True when the request is in the receive window. */
  get isInWindow(): boolean {
    const { window, windowBytes } = this.#engine;
    const isOut = this.#state === "out";
    const at = isOut ? this.#engine.headAddress(this.#slot) : this.head.head;
    return at >= window && at < window + windowBytes;
  }

  /**
   * Adds its line to the access log, unless it has one.
   * @param length bytes of the response's body; −1: unknown
   * @returns whether it was added
   */
  log(log: AccessLog, status: number, length: number): boolean {
    if (this.#isLogged) return false;
    this.#isLogged = true;
    log.add(this.head, this.#bytes, this.remoteAddress, status, length, this.arrivedAt);
    return true;
  }

  /** Removes its line from the access log, because the response was not queued. No line was added since. */
  unlog(log: AccessLog): void {
    this.#isLogged = false;
    log.undo();
  }

  /** Notes that the request is about to be answered during the run of its handler. */
  freeze(): void {
    if (this.#state !== "out") return;
    this.#at = this.head;
    this.#state = "answered";
  }

  /** Notes that the request is not read after it was answered, so no copy is needed. */
  forget(): void {
    this.#forgotten = true;
  }

  protected override get isForgotten(): boolean {
    return this.#forgotten;
  }

  /** Copies its bytes. @returns the copy, and the offsets in it @throws Error ERR_REQUEST_OVER */
  copy(): { readonly head: RequestHead; readonly bytes: Uint8Array } {
    const at = this.live;
    const table = at.fields * HEADER_ENTRY_BYTES;
    const bytes = new Uint8Array(table + at.headLength + at.bodyLength);
    bytes.set(this.#bytes.subarray(at.table, at.table + table));
    bytes.set(this.#bytes.subarray(at.head, at.head + at.headLength), table);
    bytes.set(this.#bytes.subarray(at.body, at.body + at.bodyLength), table + at.headLength);
    return { head: { ...at, table: 0, head: table, body: table + at.headLength }, bytes };
  }

  protected override release(): void {
    this.#at = NO_HEAD;
    this.#bytes = NOTHING;
    this.#state = "copied";
    this.#upload = undefined;
  }

  /** Copies the bytes for the handler, unless it has settled, because the engine is about to release the request. */
  detach(): void {
    if (this.#state === "copied") return;
    if (this.isSettled) {
      this.answered();
      return;
    }
    if (this.#forgotten) {
      this.release();
      return;
    }
    const { head, bytes } = this.copy();
    this.#at = head;
    this.#bytes = bytes;
    this.#state = "copied";
  }

  /** Streams its body. The engine releases the head, so the head is copied. */
  streams(upload: Upload): void {
    this.detach();
    this.#upload = upload;
  }

  protected override get upload(): AsyncIterableIterator<Uint8Array> | undefined {
    return this.#upload;
  }

  protected override get bodyLimit(): number {
    return this.#engine.param(Param.BodyBytes);
  }
}
