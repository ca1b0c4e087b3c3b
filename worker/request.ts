// A request as the handler sees it, and its answer. A request is read from the connection's bytes on
// demand; what must outlive them is copied.
//
// Invariant: a Head never reads bytes of another request. While its request is not answered it reads where
// the engine says the request lies; when it has been answered in the run of the handler, where it lay
// (nothing else is parsed before that run ends); later, from a copy.

import { CloseReason, HEADER_ENTRY_BYTES, Param, Trait } from "../assembly/abi";
import type {
  Data,
  HeaderFields,
  Request,
  Response,
  StaticBody,
  UpgradeOptions,
} from "../host/handler";
import type { Engine, RequestHead } from "./engine";
import { latin1, utf8 } from "./engine";
import type { Peer } from "./peer";
import type { Pump } from "./server";
import { type Upload, gather, whole } from "./upload";

/** Copies of bytes as a plain Uint8Array, whatever the view was. */
export function copyBytes(bytes: Uint8Array, from: number, length: number): Uint8Array {
  const copy = new Uint8Array(length);
  copy.set(bytes.subarray(from, from + length));
  return copy;
}

export class RequestImpl implements Request {
  readonly id: number;
  readonly remoteAddress: string;
  readonly #engine: Engine;
  readonly #slot: number;
  #at: RequestHead;
  #bytes: Uint8Array;
  #state: "out" | "answered" | "copied" = "out";
  #upload: Upload | undefined;
  #isRead = false;

  constructor(engine: Engine, slot: number, id: number, remoteAddress: string) {
    this.#engine = engine;
    this.#slot = slot;
    this.id = id;
    this.remoteAddress = remoteAddress;
    this.#bytes = engine.u8;
    this.#at = engine.head(slot);
  }

  /** Where the request lies now. */
  get #head(): RequestHead {
    if (this.#state === "out") this.#at = this.#engine.head(this.#slot);
    return this.#at;
  }

  /** True when the request lies in [from, from + length) of the memory. */
  isIn(from: number, length: number): boolean {
    const at = this.#head.head;
    return at >= from && at < from + length;
  }

  /** The request is about to be answered, from the run of its handler. */
  freeze(): void {
    if (this.#state !== "out") return;
    this.#at = this.#engine.head(this.#slot);
    this.#state = "answered";
  }

  /** The handler goes on after the request was answered: its bytes are kept for it. */
  detach(): void {
    if (this.#state === "copied") return;
    const at = this.#head;
    const table = at.fields * HEADER_ENTRY_BYTES;
    const copy = new Uint8Array(table + at.headLength + at.bodyLength);
    copy.set(this.#bytes.subarray(at.table, at.table + table));
    copy.set(this.#bytes.subarray(at.head, at.head + at.headLength), table);
    copy.set(this.#bytes.subarray(at.body, at.body + at.bodyLength), table + at.headLength);
    this.#at = { ...at, table: 0, head: table, body: table + at.headLength };
    this.#bytes = copy;
    this.#state = "copied";
  }

  get method(): string {
    return this.#engine.methodName(this.#head.method) ?? "";
  }

  get url(): string {
    const at = this.#head;
    return latin1(this.#bytes, at.head + at.target, at.targetLength);
  }

  get path(): string {
    const target = this.#origin();
    const end = target.search(/[?#]/);
    return end < 0 ? target : target.slice(0, end);
  }

  get query(): string {
    const target = this.#origin();
    const hash = target.indexOf("#");
    const whole = hash < 0 ? target : target.slice(0, hash);
    const start = whole.indexOf("?");
    return start < 0 ? "" : whole.slice(start + 1);
  }

  /** The target without scheme and authority. */
  #origin(): string {
    const url = this.url;
    if (!(this.#head.traits & Trait.Absolute)) return url;
    const rest = url.slice(url.indexOf("://") + 3);
    const start = rest.search(/[/?#]/);
    if (start < 0) return "/";
    return rest[start] === "/" ? rest.slice(start) : `/${rest.slice(start)}`;
  }

  /** The host the request is for: its target's, else its Host field's (RFC 9112 3.3). */
  get host(): string {
    if (!(this.#head.traits & Trait.Absolute)) return this.header("host") ?? "";
    const rest = this.url.slice(this.url.indexOf("://") + 3);
    const end = rest.search(/[/?#]/);
    return end < 0 ? rest : rest.slice(0, end);
  }

  get httpVersion(): string {
    return this.#head.minor === 0 ? "1.0" : "1.1";
  }

  #field(at: RequestHead, i: number, which: 0 | 4): string {
    const entry = at.table + i * HEADER_ENTRY_BYTES + which;
    const bytes = this.#bytes;
    const offset = (bytes[entry] as number) | ((bytes[entry + 1] as number) << 8);
    const length = (bytes[entry + 2] as number) | ((bytes[entry + 3] as number) << 8);
    return latin1(bytes, at.head + offset, length);
  }

  #nameLength(at: RequestHead, i: number): number {
    const entry = at.table + i * HEADER_ENTRY_BYTES + 2;
    return (this.#bytes[entry] as number) | ((this.#bytes[entry + 1] as number) << 8);
  }

  header(name: string): string | undefined {
    const at = this.#head;
    const wanted = name.toLowerCase();
    let found: string | undefined;
    for (let i = 0; i < at.fields; i++) {
      if (this.#nameLength(at, i) !== wanted.length) continue;
      if (this.#field(at, i, 0).toLowerCase() !== wanted) continue;
      const value = this.#field(at, i, 4);
      found = found === undefined ? value : `${found}, ${value}`;
    }
    return found;
  }

  get headers(): ReadonlyArray<readonly [string, string]> {
    const at = this.#head;
    const list: [string, string][] = [];
    for (let i = 0; i < at.fields; i++) {
      list.push([this.#field(at, i, 0).toLowerCase(), this.#field(at, i, 4)]);
    }
    return list;
  }

  /** Its body is streamed: the engine lets go of the head, which is kept here. */
  streams(upload: Upload): void {
    this.detach();
    this.#upload = upload;
  }

  /** Where the head is, of a request whose body is here. @throws Error when it is streamed */
  #whole(what: string): RequestHead {
    if (this.#upload) {
      throw new Error(`${what}: the body is streamed; read it with stream() or collect()`);
    }
    return this.#head;
  }

  get body(): Uint8Array {
    const at = this.#whole("body");
    return copyBytes(this.#bytes, at.body, at.bodyLength);
  }

  text(): string {
    const at = this.#whole("text");
    return utf8(this.#bytes, at.body, at.bodyLength);
  }

  json(): unknown {
    const at = this.#whole("json");
    return JSON.parse(utf8(this.#bytes, at.body, at.bodyLength));
  }

  stream(): AsyncIterableIterator<Uint8Array> {
    if (this.#isRead) throw new Error("stream: the body has a reader already");
    this.#isRead = true;
    return this.#upload ?? whole(this.body);
  }

  async collect(limit = this.#engine.params[Param.BodyBytes] as number): Promise<Uint8Array> {
    if (!Number.isInteger(limit) || limit < 0) {
      throw new RangeError(`limit: ${limit} is not a number of bytes`);
    }
    return gather(this.stream(), limit);
  }

  get upgrade(): boolean {
    return (this.#head.traits & Trait.Upgrade) !== 0;
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

/** A static body: registered once, sent from where it lies. */
export class StaticBodyImpl implements StaticBody {
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

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** Fields that frame a message; the engine writes them. */
const FRAMING = new Set(["connection", "content-length", "transfer-encoding", "upgrade"]);
const TYPES = new Map<string, readonly [string, string]>();

/** A field as it goes into a response. @throws TypeError when it would break the message */
export function checkField(name: string, value: string | number): readonly [string, string] {
  const text = String(value);
  if (!TOKEN.test(name)) throw new TypeError(`header: ${JSON.stringify(name)} is not a field name`);
  if (FRAMING.has(name.toLowerCase())) {
    throw new TypeError(`header: ${name} frames the message and is the server's to set`);
  }
  if (!VALUE.test(text)) {
    throw new TypeError(`header: the value of ${name} holds an octet that no field value may hold`);
  }
  return [name, text.trim()];
}

export class ResponseImpl implements Response {
  readonly #pump: Pump;
  readonly #peer: Peer;
  readonly request: RequestImpl;
  #fields: (readonly [string, string])[] | undefined;
  #close = false;
  #sent = false;
  #streaming = false;
  #waiters: (() => void)[] = [];

  constructor(pump: Pump, peer: Peer, request: RequestImpl) {
    this.#pump = pump;
    this.#peer = peer;
    this.request = request;
  }

  get sent(): boolean {
    return this.#sent || this.#peer.response !== this;
  }

  header(name: string, value: string | number | readonly string[]): this {
    this.#fields ??= [];
    const values = typeof value === "object" ? value : [value];
    for (const one of values) this.#fields.push(checkField(name, one));
    return this;
  }

  #take(type: string, headers: HeaderFields | undefined): (readonly [string, string])[] {
    if (headers) {
      for (const [name, value] of Object.entries(headers)) this.header(name, value as string);
    }
    const fields = this.#fields ?? [];
    if (type === "") return fields;
    let field = TYPES.get(type);
    if (!field) {
      field = checkField("Content-Type", type);
      if (TYPES.size < 64) TYPES.set(type, field);
    }
    return fields.length === 0 ? [field] : [...fields, field];
  }

  #begin(status: number): void {
    if (this.#sent || this.#streaming) throw new Error("the request has been answered already");
    if (!Number.isInteger(status) || status < 200 || status > 599) {
      throw new RangeError(`status: ${status} is not a whole number from 200 to 599`);
    }
  }

  send(status: number, type = "", body: Data = "", headers?: HeaderFields): boolean {
    this.#begin(status);
    const fields = this.#take(type, headers);
    if (this.sent) return false;
    const sent = this.#pump.answers.respond(
      this.#peer,
      this.request,
      status,
      fields,
      body,
      this.#close,
    );
    this.#sent = true;
    return sent;
  }

  static(body: StaticBody, status = 200, headers?: HeaderFields): boolean {
    this.#begin(status);
    if (!(body instanceof StaticBodyImpl)) throw new TypeError("body: not made by server.body()");
    const fields = this.#take(body.type, headers);
    if (this.sent) return false;
    const sent = this.#pump.answers.respondStatic(
      this.#peer,
      this.request,
      status,
      fields,
      body,
      this.#close,
    );
    this.#sent = true;
    return sent;
  }

  begin(status: number, type = "", headers?: HeaderFields): boolean {
    this.#begin(status);
    const fields = this.#take(type, headers);
    if (this.sent) return false;
    this.#streaming = this.#pump.answers.streamBegin(this.#peer, status, fields, this.#close);
    return this.#streaming;
  }

  write(data: Data): boolean {
    if (!this.#streaming) throw new Error("write: begin() comes first");
    return !this.sent && this.#pump.answers.streamWrite(this.#peer, data);
  }

  ready(): Promise<void> {
    return new Promise((resolve) => {
      if (this.sent) resolve();
      else this.#waiters.push(resolve);
    });
  }

  /** There is room again, or the client is gone. */
  wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resolve of waiters) resolve();
  }

  async end(data?: Data): Promise<void> {
    if (!this.#streaming) throw new Error("end: begin() comes first");
    if (data !== undefined) await this.#writeWhole(data);
    if (this.sent) return;
    this.#pump.answers.streamEnd(this.#peer, this.request);
    this.#sent = true;
  }

  async #writeWhole(data: Data): Promise<void> {
    while (!this.sent && !this.write(data)) await this.ready();
  }

  async stream(
    status: number,
    type: string,
    body: AsyncIterable<Data> | Iterable<Data>,
    headers?: HeaderFields,
  ): Promise<void> {
    if (!this.begin(status, type, headers)) return;
    try {
      for await (const piece of body) {
        await this.#writeWhole(piece);
        if (this.sent) return;
      }
    } catch (error) {
      this.#pump.terminate(this.#peer, CloseReason.HandlerError);
      throw error;
    }
    await this.end();
  }

  close(): this {
    this.#close = true;
    return this;
  }

  upgrade(options: UpgradeOptions = {}): boolean {
    this.#begin(200);
    if (!this.request.upgrade)
      throw new TypeError("upgrade: the request is not a WebSocket handshake");
    const { protocol = "" } = options;
    if (protocol !== "" && !this.request.protocols.includes(protocol)) {
      throw new TypeError(`protocol: the client did not offer ${JSON.stringify(protocol)}`);
    }
    const fields = this.#take("", options.headers);
    if (this.sent) return false;
    const all = [...fields];
    if (protocol !== "") all.push(["Sec-WebSocket-Protocol", protocol]);
    const done = this.#pump.answers.upgrade(this.#peer, this.request, all, protocol, options.data);
    this.#sent = true;
    return done;
  }
}
