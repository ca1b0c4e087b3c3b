// A request that is parsed from bytes on demand: from the engine's memory in the worker, from a batch of events on the
// application's thread, from a message in a thread of the pool.
//
// Invariant: a request is over once its handler has settled and the response is complete or its client has left. From
// then on it holds no bytes, and every member throws ERR_REQUEST_OVER, except `id`, `method`, `path` and
// `remoteAddress`.

import { HEADER_ENTRY_BYTES, Method, Trait } from "../../../assembly/abi";
import type { PeerCertificate, Request } from "../../handler";
import { gather, lengthFault, whole } from "./body";
import { parseJson } from "../text/json";
import { copyBytes, latin1, recentLatin1, utf8 } from "../text/text";

/** A trait of the host's in addition to the engine's: the request came over TLS. */
export const SECURE_TRAIT = 1 << 30;

/** Offsets and lengths of a request's parts, and the traits found in its fields. */
export interface RequestHead {
  /** Address of the head. */
  head: number;
  /** Length of the head in bytes. */
  headLength: number;
  /** Address of the table of fields, with four u16 each: offset from the head and length, of name and of value. */
  table: number;
  /** Number of fields. */
  fields: number;
  /** Address of the body. */
  body: number;
  /** Length of the body in bytes. */
  bodyLength: number;
  /** Number of the method. */
  method: number;
  /** The minor HTTP version, 0 or 1. */
  minor: number;
  /** Offset of the target from the head. */
  target: number;
  /** Length of the target in bytes. */
  targetLength: number;
  /** Bits of `Trait` for what its fields said. */
  traits: number;
}

/** Bits of `RequestReader.#ends`. */
const SETTLED = 1;
const ANSWERED = 2;
const OVER = SETTLED | ANSWERED;

const NOTHING = new Uint8Array(0);
/** The head of a request that is over. */
export const NO_HEAD: RequestHead = {
  ...{ head: 0, headLength: 0, table: 0, fields: 0, body: 0, bodyLength: 0 },
  ...{ method: 0, minor: 0, target: 0, targetLength: 0, traits: 0 },
};

function ignore(): void {}

function overError(): Error {
  const text =
    "the request is over: its handler has settled, and its response is complete or its client has left";
  return Object.assign(new Error(text), { code: "ERR_REQUEST_OVER" });
}

export abstract class RequestReader implements Request {
  readonly id: number;
  remoteAddress: string;
  readonly #peerCertificate: PeerCertificate | undefined;
  /** Bits for the ends that have happened: SETTLED and ANSWERED. */
  #ends = 0;
  #path: string | undefined;
  #target: string | undefined;
  #method: string | undefined;
  #isRead = false;

  constructor(id: number, remoteAddress: string, peerCertificate?: PeerCertificate) {
    this.id = id;
    this.remoteAddress = remoteAddress;
    this.#peerCertificate = peerCertificate;
  }

  /** Offsets and lengths of the request's parts. */
  protected abstract readonly head: RequestHead;
  /** The bytes that `head` refers to. */
  protected abstract readonly bytes: Uint8Array;
  /** Releases head and bytes, because the request is over. */
  protected abstract release(): void;

  /** Returns `head`, for members that users call. @throws Error ERR_REQUEST_OVER */
  protected get live(): RequestHead {
    if (this.#ends === OVER) throw overError();
    return this.head;
  }

  /** True when the handler has settled. */
  protected get isSettled(): boolean {
    return (this.#ends & SETTLED) !== 0;
  }

  /** True when `method` and `path` need not be kept after the request is over. */
  protected get isForgotten(): boolean {
    return false;
  }

  /** Notes that the handler has settled. */
  settled(): void {
    if (this.#ends === ANSWERED) this.#end();
    this.#ends |= SETTLED;
  }

  /** Notes that the response is complete or the client has left. */
  answered(): void {
    if (this.#ends === SETTLED) this.#end();
    this.#ends |= ANSWERED;
  }

  /** Ends the request. Its method and path remain readable, because log lines are often written afterwards. */
  #end(): void {
    if (!this.isForgotten) {
      const at = this.head;
      this.#method ??= this.#methodOf(at);
      // Keeps the target, and cuts the path out of it only when it is read, because most paths are not read again.
      if (at.traits & Trait.Absolute) this.#path ??= this.path;
      else this.#target = recentLatin1(this.bytes, at.head + at.target, at.targetLength);
    }
    this.release();
  }

  get peerCertificate(): PeerCertificate | undefined {
    if (this.#ends === OVER) throw overError();
    return this.#peerCertificate;
  }

  /** The body when it is streamed. */
  protected get upload(): AsyncIterableIterator<Uint8Array> | undefined {
    return undefined;
  }

  /** Bytes of a streamed body that may be collected. A complete body has been bounded before. */
  protected get bodyLimit(): number {
    return Number.POSITIVE_INFINITY;
  }

  get method(): string {
    if (this.#method === undefined) this.#method = this.#methodOf(this.live);
    return this.#method;
  }

  #methodOf(at: RequestHead): string {
    // Rare methods have no number here. Their token is at the start of the head, one space before the target.
    return Method[at.method] ?? latin1(this.bytes, at.head, at.target - 1);
  }

  get url(): string {
    const at = this.live;
    return recentLatin1(this.bytes, at.head + at.target, at.targetLength);
  }

  get path(): string {
    if (this.#path !== undefined) return this.#path;
    const target = this.#target ?? this.#origin();
    const end = target.search(/[?#]/);
    this.#path = end < 0 ? target : target.slice(0, end);
    return this.#path;
  }

  get query(): string {
    const target = this.#origin();
    const hash = target.indexOf("#");
    const whole = hash < 0 ? target : target.slice(0, hash);
    const start = whole.indexOf("?");
    return start < 0 ? "" : whole.slice(start + 1);
  }

  get since(): string | undefined {
    const id = this.header("last-event-id");
    if (id !== undefined) return id;
    const query = this.query;
    if (!query.includes("since=")) return undefined;
    return new URLSearchParams(query).get("since") ?? undefined;
  }

  /** Returns the target without scheme and authority. */
  #origin(): string {
    const url = this.url;
    if (!(this.live.traits & Trait.Absolute)) return url;
    const rest = url.slice(url.indexOf("://") + 3);
    const start = rest.search(/[/?#]/);
    // OPTIONS without a path is about the server itself (RFC 9110 4.2.3).
    if (start < 0) return this.method === "OPTIONS" ? "*" : "/";
    return rest[start] === "/" ? rest.slice(start) : `/${rest.slice(start)}`;
  }

  /** The host that the request is for: the target's, else the Host field's (RFC 9112 3.3). */
  get host(): string {
    if (!(this.live.traits & Trait.Absolute)) return this.header("host") ?? "";
    const rest = this.url.slice(this.url.indexOf("://") + 3);
    const end = rest.search(/[/?#]/);
    return end < 0 ? rest : rest.slice(0, end);
  }

  get httpVersion(): string {
    return this.live.minor === 0 ? "1.0" : "1.1";
  }

  #field(at: RequestHead, i: number, which: 0 | 4): string {
    const entry = at.table + i * HEADER_ENTRY_BYTES + which;
    const bytes = this.bytes;
    const offset = (bytes[entry] as number) | ((bytes[entry + 1] as number) << 8);
    const length = (bytes[entry + 2] as number) | ((bytes[entry + 3] as number) << 8);
    return latin1(bytes, at.head + offset, length);
  }

  #nameLength(at: RequestHead, i: number): number {
    const entry = at.table + i * HEADER_ENTRY_BYTES + 2;
    return (this.bytes[entry] as number) | ((this.bytes[entry + 1] as number) << 8);
  }

  header(name: string): string | undefined {
    const at = this.live;
    const wanted = name.toLowerCase();
    // RFC 9110 5.3. Cookie pairs have a separator of their own (RFC 6265 4.2.1, RFC 9113 8.2.3).
    const separator = wanted === "cookie" ? "; " : ", ";
    let found: string | undefined;
    for (let i = 0; i < at.fields; i++) {
      if (this.#nameLength(at, i) !== wanted.length) continue;
      if (this.#field(at, i, 0).toLowerCase() !== wanted) continue;
      const value = this.#field(at, i, 4);
      found = found === undefined ? value : found + separator + value;
    }
    return found;
  }

  get headers(): ReadonlyArray<readonly [string, string]> {
    const at = this.live;
    const list: [string, string][] = [];
    for (let i = 0; i < at.fields; i++) {
      list.push([this.#field(at, i, 0).toLowerCase(), this.#field(at, i, 4)]);
    }
    return list;
  }

  /** Returns the head of a request whose body is complete. @throws Error when the body is streamed */
  #whole(what: string): RequestHead {
    const at = this.live;
    if (this.upload) {
      throw new Error(`${what}: the body is streamed; read it with stream() or collect()`);
    }
    return at;
  }

  get body(): Uint8Array {
    const at = this.#whole("body");
    return copyBytes(this.bytes, at.body, at.bodyLength);
  }

  text(): string {
    const at = this.#whole("text");
    return utf8(this.bytes, at.body, at.bodyLength);
  }

  json<T = unknown>(): T {
    const at = this.#whole("json");
    return parseJson(utf8(this.bytes, at.body, at.bodyLength)) as T;
  }

  stream(): AsyncIterableIterator<Uint8Array> {
    if (this.#ends === OVER) throw overError();
    if (this.#isRead) throw new Error("stream: the body has a reader already");
    this.#isRead = true;
    return this.upload ?? whole(this.body);
  }

  collect(limit = this.bodyLimit): Promise<Uint8Array> {
    const collected = this.#collect(limit);
    // The client may abort the body while the handler awaits something else, so a rejection need not be handled.
    collected.catch(ignore);
    return collected;
  }

  async #collect(limit: number): Promise<Uint8Array> {
    if (this.#ends === OVER) throw overError();
    if (!(limit >= 0) || (limit !== Number.POSITIVE_INFINITY && !Number.isInteger(limit))) {
      throw new RangeError(`limit: ${limit} is not a number of bytes`);
    }
    // A body that is too long is not started, so a client that expects 100 (Continue) does not receive it.
    const stated = this.upload && this.header("content-length");
    if (stated !== undefined && Number(stated) > limit) throw lengthFault(limit);
    return gather(this.stream(), limit);
  }

  get streamed(): boolean {
    if (this.#ends === OVER) throw overError();
    return this.upload !== undefined;
  }

  get secure(): boolean {
    return (this.live.traits & SECURE_TRAIT) !== 0;
  }

  get upgrade(): boolean {
    return (this.live.traits & Trait.Upgrade) !== 0;
  }

  get protocols(): readonly string[] {
    const offered = this.header("sec-websocket-protocol");
    return offered === undefined
      ? []
      : offered
          .split(",")
          .map((name) => name.trim())
          .filter(Boolean);
  }
}

/** A request with bytes of its own, from a batch or a task. */
export abstract class OwnRequest extends RequestReader {
  protected override head: RequestHead;
  protected override bytes: Uint8Array;

  constructor(
    [id, remoteAddress, peerCertificate]: [number, string, (PeerCertificate | undefined)?],
    head: RequestHead,
    bytes: Uint8Array,
  ) {
    super(id, remoteAddress, peerCertificate);
    this.head = head;
    this.bytes = bytes;
  }

  protected override release(): void {
    this.head = NO_HEAD;
    this.bytes = NOTHING;
  }
}
