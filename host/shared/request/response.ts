// The response to one request, as far as it is the same wherever the handler runs: it checks arguments, collects fields
// and waits for pieces. Subclasses send it.
//
// Invariant: a wrong argument throws before anything is sent. A request is answered once. A failure after a call has
// returned fails the request, and is reported once, whether or not the promise is awaited.

import { type Payload, bytesOf, dataOf, sizeOf } from "../message/data";
import { BufferStage } from "../message/stage";
import { byteLength } from "../text/text";
import type {
  Data,
  EventsOptions,
  HeaderFields,
  Response,
  Stage,
  StaticBody,
  UpgradeOptions,
} from "../../handler";
import { faultStatus } from "../fault";
import type { RequestReader } from "./request";
import { isInstance } from "../result";
import { Source } from "../source";
import { type Delivery, Items, type PieceSource } from "./pieces";
import { isOptions } from "../../options/known";
import { show } from "../text/show";
import { TOKEN } from "../text/token";
import { guardSignal } from "./signal";
import { checkEvents, checkModuleName, checkUpgrade } from "./upgrade";

/** A checked field of a response. */
export type Field = readonly [name: string, value: string];

/** Largest Content-Length that is exact as a number. */
const LENGTH_LIMIT = Number.MAX_SAFE_INTEGER;
const LENGTH_NAME = "content-length";

/** Returns the length that a Content-Length states. @throws TypeError, RangeError */
function checkLength(value: unknown): number {
  const isText = typeof value === "string";
  if (!isText && typeof value !== "number")
    throw new TypeError(`header: Content-Length is ${show(value)}, not a number of bytes`);
  const length = isText && !/^\d+$/.test(value) ? Number.NaN : Number(value);
  if (Number.isSafeInteger(length) && length >= 0) return length;
  throw new RangeError(
    `header: Content-Length is ${show(value)}, not a whole number from 0 to ${LENGTH_LIMIT}`,
  );
}

const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** Fields that frame a message. The engine writes them. */
const FRAMING = new Set(["connection", "content-length", "transfer-encoding", "upgrade"]);
const TYPES = new Map<string, Field>();
const TYPE_NAME = "content-type";
const TYPE_OF_BYTES = "application/octet-stream";

/** Bytes of the largest body or piece of a body. A larger one is a RangeError. Its length fits into 31 bits. */
const BODY_LIMIT = 2 ** 31 - 1;

/** Checks a body or a piece of one. @param what its name in errors @returns the data @throws TypeError, RangeError */
export function checkBody(body: unknown, what = "body"): Payload {
  const payload = dataOf(what, body);
  if (typeof payload === "string" || sizeOf(payload) <= BODY_LIMIT) return payload;
  throw new RangeError(`${what}: ${sizeOf(payload)} bytes are more than ${BODY_LIMIT}`);
}

/** Removes spaces and tabs from both ends of a field's value (RFC 9110 5.5), and no other octets. */
function trimBlanks(text: string): string {
  return /^[\t ]|[\t ]$/.test(text)
    ? text.replace(/^[\t ]+/, "").replace(/(?<![\t ])[\t ]+$/, "")
    : text;
}

/** Checks a field of a response. @throws TypeError when it would break the message */
export function checkField(name: string, value: string | number): Field {
  if (typeof name !== "string") throw new TypeError(`header: ${show(name)} is not a field name`);
  if (typeof value !== "string" && typeof value !== "number")
    throw new TypeError(`header: the value of ${name} is ${show(value)}, not a string or number`);
  const text = String(value);
  if (!TOKEN.test(name)) throw new TypeError(`header: ${JSON.stringify(name)} is not a field name`);
  if (FRAMING.has(name.toLowerCase())) {
    throw new TypeError(`header: ${name} frames the message, so the server sets it`);
  }
  if (!VALUE.test(text)) {
    throw new TypeError(
      `header: the value of ${name} has an octet that field values must not have`,
    );
  }
  return [name, trimBlanks(text)];
}

/** Refuses fields of the handshake itself (RFC 6455 4.2.2) in an upgrade. @throws TypeError */
function checkHandshakeField(name: string): void {
  if (/^sec-websocket-/i.test(name)) {
    const how = /-protocol$/i.test(name) ? "; use { protocol }" : "";
    throw new TypeError(`header: ${name} belongs to the handshake, so the server sets it${how}`);
  }
}

/** Returns the field of a content type. Up to 64 are kept, because the same few recur. */
function typeField(type: string): Field {
  let field = TYPES.get(type);
  if (!field) {
    field = checkField("Content-Type", type);
    if (TYPES.size < 64) TYPES.set(type, field);
  }
  return field;
}

/** Returns the fields with one Content-Type: the last one set as a field, else `type`; "" for none. */
function withType(fields: Field[], type: string): Field[] {
  if (fields.length === 0) return [typeField(type)];
  let last: Field | undefined;
  let count = 0;
  for (const field of fields) {
    if (field[0].length !== TYPE_NAME.length || field[0].toLowerCase() !== TYPE_NAME) continue;
    last = field;
    count++;
  }
  if (count === 1 || (count === 0 && type === "")) return fields;
  const rest = count === 0 ? fields : fields.filter(([name]) => name.toLowerCase() !== TYPE_NAME);
  return [...rest, last ?? typeField(type)];
}

/** The checked options of an upgrade. */
export interface Upgrade {
  readonly fields: Field[];
  /** The subprotocol; "" lets the server choose. */
  readonly protocol: string;
  /** Name of the subprotocol whose module gets the WebSocket; "": the handler itself. */
  readonly handler: string;
  readonly data: unknown;
  /** Idle timeout in seconds; undefined: the server's. */
  readonly idleTimeout: number | undefined;
  /** Largest message in bytes; undefined: the server's. */
  readonly maxPayloadLength: number | undefined;
  /** False: compression is not negotiated. */
  readonly compress: boolean;
  /** The topics of an event stream; undefined: it is a WebSocket. */
  readonly topics?: readonly string[] | undefined;
  /** The position from which an event stream resumes, as its client names it. */
  readonly since?: string | undefined;
}

/** The length of a body that ends with the connection. */
const UNFRAMED = -2;

/** Fields of an event stream. A handler may set the last two itself. */
const STREAM_FIELDS: readonly Field[] = [
  ["Content-Type", "text/event-stream"],
  ["Cache-Control", "no-store, no-transform"],
  // nginx would hold events back until its buffer is full.
  ["X-Accel-Buffering", "no"],
];

/** Returns the fields of an event stream's head. @param own the handler's */
function streamFields(own: readonly Field[]): Field[] {
  const others = own.filter(([name]) => name.toLowerCase() !== TYPE_NAME);
  const names = new Set(others.map(([name]) => name.toLowerCase()));
  return [...STREAM_FIELDS.filter(([name]) => !names.has(name.toLowerCase())), ...others];
}

/** Returns true for a status that never has a body, whatever the method (RFC 9110 15.3.5, 15.3.6, 15.4.5). */
function isBodiless(status: number): boolean {
  return status === 204 || status === 205 || status === 304;
}

/** A value that no handler can throw. */
const NOTHING_YET = Symbol("nothing");

/** Returns names and values of fields. @throws TypeError for a Headers object, a Map or a list: none has own members */
function entriesOf(headers: HeaderFields): [string, unknown][] {
  const entries = typeof headers === "object" && headers !== null ? Object.entries(headers) : [];
  if ((entries.length === 0 || Array.isArray(headers)) && !isOptions(headers))
    throw new TypeError(
      `headers: ${show(headers)} is not an object of fields such as { "cache-control": "no-store" }`,
    );
  return entries;
}

export abstract class Answering implements Response {
  abstract readonly request: RequestReader;
  #fields: Field[] | undefined;
  #close = false;
  #sent = false;
  #streaming = false;
  /** True when there was no room for the last piece. */
  #full = false;
  /** True when the status of the response that has begun allows no body. */
  #bodiless = false;
  /** Content-Length that the handler states, in bytes; undefined: none. */
  #length: number | undefined;
  /** Bytes that a response in pieces still lacks by its Content-Length; undefined: they are not counted. */
  #lacks: number | undefined;
  #waiters: (() => void)[] | undefined;
  /** The source of a streamed response. */
  #source: Source<Data> | undefined;
  /** The error that was reported last. */
  #reported: unknown = NOTHING_YET;
  #aborted = false;
  #abort: AbortController | undefined;

  /** True when the client of this response has left. */
  protected abstract readonly gone: boolean;
  /** Names of the subprotocols that have modules. */
  protected abstract readonly protocolNames: readonly string[];
  /** Returns true when the server has an error page for a status. */
  protected abstract hasPage(status: number): boolean;
  protected abstract respond(
    status: number,
    fields: Field[],
    body: Payload,
    close: boolean,
  ): boolean;
  /** Returns true when a static body is this server's. */
  protected abstract isOwn(body: StaticBody): boolean;
  protected abstract respondStatic(
    status: number,
    fields: Field[],
    body: StaticBody,
    close: boolean,
  ): boolean;
  /** @param length of the body in bytes; −1: it is unknown; UNFRAMED */
  protected abstract streamBegin(
    status: number,
    fields: Field[],
    close: boolean,
    length: number,
    delivery: Delivery,
  ): boolean;
  /**
   * Supplies the body of a response that has begun with "asked", where the server asks for its pieces. Elsewhere they
   * are pushed by `streamWrite`, whenever there is room.
   * @returns a promise of true at the end of the source, of false when the client has left first
   */
  protected supply?(pieces: PieceSource): Promise<boolean>;
  protected abstract streamWrite(data: Payload): boolean;
  protected abstract streamEnd(): void;
  /** Breaks the response off, because its source stopped when the client left. */
  protected abstract streamLeave(): void;
  /** Fails the request: reports the error, and sends 500 or breaks the response off. */
  abstract failed(thrown: unknown): void;
  protected abstract accept(upgrade: Upgrade): boolean;
  /** Lets a mount of the server answer instead. @param path of the URL */
  protected abstract passTo(path: string, fields: readonly Field[], close: boolean): boolean;

  get sent(): boolean {
    return this.#sent || this.gone;
  }

  get signal(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController();
      guardSignal(this.#abort.signal, (thrown) => this.failed(thrown));
      if (this.#aborted) this.#abort.abort();
    }
    return this.#abort.signal;
  }

  /** Aborts the signal, because the client has half-closed. It may still read, but most such clients have left. */
  clientEnded(): void {
    if (this.#sent || this.#aborted) return;
    this.#aborted = true;
    // Listeners are user code, and this may run during a flush.
    queueMicrotask(() => this.#abort?.abort());
  }

  /** Ends a response that is not complete, because its client has left. */
  lose(): void {
    this.wake();
    this.#source?.cancel();
    this.clientEnded();
    this.request.answered();
  }

  /** Responds to a client's fault that the handler came upon. @returns false when it is none, or too late */
  answerFault(thrown: unknown): boolean {
    const status = faultStatus(thrown);
    if (status === undefined || this.#sent || this.#streaming) return false;
    this.#fields = undefined;
    this.#length = undefined;
    this.refuse(status, status === 413 ? "Content Too Large\n" : "Bad Request\n");
    return true;
  }

  /** Responds with the error page of a status, or with a text where it has none. */
  refuse(status: number, text: string): void {
    if (this.hasPage(status)) this.send(status);
    else this.send(status, "text/plain", text);
  }

  /** Notes an error that is reported. @returns false when it was the last one reported */
  isNews(thrown: unknown): boolean {
    if (this.#reported === thrown) return false;
    this.#reported = thrown;
    return true;
  }

  /** Notes that the response is complete. */
  #finish(): void {
    this.#sent = true;
    this.request.answered();
  }

  /** True while further pieces of the response are to come. */
  get streaming(): boolean {
    return this.#streaming && !this.#sent;
  }

  header(name: string, value: string | number | readonly string[]): this {
    if (typeof name === "string" && name.toLowerCase() === LENGTH_NAME) {
      this.#length = checkLength(value);
      return this;
    }
    this.#fields ??= [];
    const values = Array.isArray(value) ? (value as readonly string[]) : [value as string];
    for (const one of values) this.#fields.push(checkField(name, one));
    return this;
  }

  /** Sets fields that are checked already, unless the handler has set some of the same name. `Vary` is a list. */
  defaults(fields: readonly Field[]): this {
    const own = this.#fields;
    if (!own) return this.checked(fields);
    const names = new Set(own.map(([name]) => name.toLowerCase()));
    names.delete("vary");
    return this.checked(fields.filter(([name]) => !names.has(name.toLowerCase())));
  }

  /** Sets fields that are checked already. */
  checked(fields: readonly Field[]): this {
    if (fields.length > 0) this.#fields = this.#fields ? [...this.#fields, ...fields] : [...fields];
    return this;
  }

  #take(type: string, headers: HeaderFields | undefined): Field[] {
    if (headers !== undefined) {
      for (const [name, value] of entriesOf(headers)) this.header(name, value as string);
    }
    const fields = this.#fields ?? [];
    if (typeof type !== "string") throw new TypeError(`type: ${show(type)} is not a string`);
    if (type === "" && fields.length === 0) return fields;
    return withType(fields, type);
  }

  #begin(status: number): void {
    if (this.#sent || this.#streaming) throw new Error("the request has been answered already");
    if (!Number.isInteger(status) || status < 200 || status > 599) {
      throw new RangeError(`status: ${show(status)} is not a whole number from 200 to 599`);
    }
  }

  send(status: number, type = "", body: Data | Stage = "", headers?: HeaderFields): boolean {
    this.#begin(status);
    if (typeof body === "object" && isInstance(body, BufferStage)) {
      const isSent = this.#send(status, type, body.body(), headers);
      if (isSent) body.sent();
      return isSent;
    }
    return this.#send(status, type, checkBody(body), headers);
  }

  #send(
    status: number,
    type: string,
    payload: Payload,
    headers: HeaderFields | undefined,
  ): boolean {
    const fields = this.#take(type, headers);
    if (this.sent) return false;
    if (this.#length !== undefined && !isBodiless(status)) {
      const size = typeof payload === "string" ? byteLength(payload) : sizeOf(payload);
      // A length of 0 says as little about an error page as an empty body does.
      const isStated = this.#length > 0 || !this.hasPage(status);
      if (size === 0 && isStated && this.request.method === "HEAD")
        return this.#sendHead(status, fields);
      this.#checkWhole(size);
    } else if (this.#length !== undefined && status === 304) return this.#sendHead(status, fields);
    const sent = this.respond(status, fields, payload, this.#close);
    this.#finish();
    return sent;
  }

  /** Checks a stated Content-Length against the size of a body, and drops a wrong one. @throws RangeError */
  #checkWhole(size: number): void {
    const length = this.#length;
    if (length === undefined || length === size) return;
    this.#length = undefined;
    throw new RangeError(`header: Content-Length is ${length}, and the body has ${size} bytes`);
  }

  /** Responds without a body, with the length that a response to GET has (RFC 9110 8.6). */
  #sendHead(status: number, fields: Field[]): boolean {
    this.#streaming = this.streamBegin(status, fields, this.#close, this.#length ?? -1, "pushed");
    const sent = this.#streaming;
    if (sent) this.streamEnd();
    this.#finish();
    return sent;
  }

  json(value: unknown, status = 200, headers?: HeaderFields): boolean {
    const text: unknown = JSON.stringify(value);
    if (typeof text !== "string")
      throw new TypeError(`json: ${show(value)} cannot be written as JSON`);
    return this.send(status, "application/json", text, headers);
  }

  static(body: StaticBody, status = 200, headers?: HeaderFields): boolean {
    this.#begin(status);
    if (!this.isOwn(body)) throw new TypeError("body: not made by this server's body()");
    const fields = this.#take(body.type, headers);
    if (this.sent) return false;
    if (!isBodiless(status)) this.#checkWhole(body.length);
    const sent = this.respondStatic(status, fields, body, this.#close);
    this.#finish();
    return sent;
  }

  begin(status: number, type = "", headers?: HeaderFields): boolean {
    return this.#beginBody("pushed", status, type, headers);
  }

  #beginBody(
    delivery: Delivery,
    status: number,
    type: string,
    headers: HeaderFields | undefined,
  ): boolean {
    this.#begin(status);
    const fields = this.#take(type, headers);
    if (this.sent) return false;
    this.#bodiless = isBodiless(status);
    // A 204 has no length, and that of a 205 is 0 (RFC 9110 8.6, 15.3.6).
    const length = (status === 204 || status === 205 ? undefined : this.#length) ?? -1;
    const isCounted = length >= 0 && !this.#bodiless && this.request.method !== "HEAD";
    this.#lacks = isCounted ? length : undefined;
    this.#streaming = this.streamBegin(status, fields, this.#close, length, delivery);
    return this.#streaming;
  }

  #checkPiece(what: string, data: Data): Payload {
    if (this.#bodiless) throw new Error(`${what}: a response with this status has no body`);
    return checkBody(data, what);
  }

  write(data: Data): boolean {
    if (!this.#streaming) throw new Error("write: call begin() first");
    const payload = this.#checkPiece("write", data);
    if (this.sent) return false;
    const size = this.#lacks === undefined ? 0 : this.#count(payload);
    this.#full = !this.streamWrite(payload);
    if (this.#lacks !== undefined && !this.#full) this.#lacks -= size;
    return !this.#full;
  }

  /** Returns the size of a piece in bytes. @throws RangeError when Content-Length leaves less */
  #count(piece: Payload): number {
    const size = typeof piece === "string" ? byteLength(piece) : sizeOf(piece);
    this.#refuseMore(size);
    return size;
  }

  /** @throws RangeError when Content-Length leaves fewer bytes */
  #refuseMore(bytes: number): void {
    const lacks = this.#lacks ?? 0;
    if (bytes <= lacks) return;
    throw new RangeError(
      `write: ${bytes} bytes are more than the ${lacks} that the Content-Length ${this.#length} leaves`,
    );
  }

  ready(): Promise<void> {
    return new Promise((resolve) => {
      if (this.sent || !this.#full) resolve();
      else {
        this.#waiters ??= [];
        this.#waiters.push(resolve);
      }
    });
  }

  /** Waits like `ready`, after a piece that was not sent with `write` and had no room. */
  stalled(): Promise<void> {
    this.#full = true;
    return this.ready();
  }

  /** Wakes the waiters, because there is room again or the client has left. */
  wake(): void {
    this.#full = false;
    const waiters = this.#waiters;
    this.#waiters = undefined;
    for (const resolve of waiters ?? []) resolve();
  }

  end(data?: Data): Promise<void> {
    if (!this.#streaming) {
      const text = typeof data === "string" ? "text/plain; charset=utf-8" : TYPE_OF_BYTES;
      this.send(200, data === undefined ? "" : text, data);
      return Promise.resolve();
    }
    if (data !== undefined) this.#checkPiece("end", data);
    return this.#settles(this.#end(data));
  }

  async #end(data?: Data): Promise<void> {
    if (data !== undefined) await this.#writeWhole(data);
    if (this.sent) return;
    if (this.#lacks !== undefined && this.#lacks > 0)
      throw new RangeError(
        `end: the body lacks ${this.#lacks} of the ${this.#length} bytes of its Content-Length`,
      );
    this.streamEnd();
    this.#finish();
  }

  /** Writes a piece when there is room. @returns false when the client has left */
  async #writeWhole(data: Data): Promise<boolean> {
    while (!this.sent && !this.write(data)) await this.ready();
    return !this.sent;
  }

  /** Returns a promise whose rejection is reported, and need not be handled by the user's handler. */
  #settles(promise: Promise<void>): Promise<void> {
    promise.catch((thrown: unknown) => this.failed(thrown));
    return promise;
  }

  stream(
    status: number,
    type: string,
    body: AsyncIterable<Data> | Iterable<Data>,
    headers?: HeaderFields,
  ): Promise<void> {
    const source = new Source("body", body, (thrown) => {
      if (!this.#isAbort(thrown)) this.failed(thrown);
    });
    const leave = (): void => source.leave();
    return this.supplyBody("asked", status, type, headers, leave, () => {
      this.#source = source;
      if (this.supply) return this.supply(new Items(source, (item) => this.#takePiece(item)));
      return source.pour((piece) => this.#writeWhole(piece));
    });
  }

  /**
   * Sends a response whose body comes from a source.
   * @param leave ends the source, which is not read
   * @param pour takes its pieces @returns a promise of true at its end, of false when the client has left first
   */
  protected supplyBody(
    delivery: Delivery,
    status: number,
    type: string,
    headers: HeaderFields | undefined,
    leave: () => void,
    pour: () => Promise<boolean>,
  ): Promise<void> {
    let begun = false;
    try {
      begun = this.#beginBody(delivery, status, type, headers);
    } finally {
      if (!begun) leave();
    }
    if (!begun) return Promise.resolve();
    if (!this.#bodiless && this.request.method !== "HEAD") return this.#settles(this.#pour(pour));
    leave();
    return this.end();
  }

  /** Checks an item of a body, and counts it. @returns its bytes @throws TypeError, RangeError */
  #takePiece(item: Data): Uint8Array {
    const bytes = bytesOf(this.#checkPiece("write", item));
    this.countPiece(bytes.length);
    return bytes;
  }

  /** Counts bytes of a body in pieces. @throws RangeError when Content-Length leaves fewer */
  protected countPiece(bytes: number): void {
    if (this.#lacks === undefined) return;
    this.#refuseMore(bytes);
    this.#lacks -= bytes;
  }

  /** Sends the pieces of a source until it ends or the client leaves. */
  async #pour(pour: () => Promise<boolean>): Promise<void> {
    let isWhole = false;
    try {
      isWhole = await pour();
    } catch (thrown) {
      if (!this.#isAbort(thrown)) throw thrown;
      if (!this.sent) this.streamLeave();
    }
    if (isWhole) await this.#end();
  }

  /** Returns true for an error that a source throws because the signal aborted when the client left. */
  #isAbort(thrown: unknown): boolean {
    if (!this.#aborted) return false;
    if (this.#abort && thrown === this.#abort.signal.reason) return true;
    return isInstance(thrown, Error) && thrown.name === "AbortError";
  }

  pass(path: string): boolean {
    this.#begin(200);
    if (typeof path !== "string" || !/^\/[!->@-~]*$/.test(path) || path.includes("#"))
      throw new TypeError(
        `pass: ${show(path)} is not the path of a URL, such as "/private/a.pdf"; escape its other characters`,
      );
    const fields = this.#fields ?? [];
    if (this.sent) return false;
    const passed = this.passTo(path, fields, this.#close);
    this.#finish();
    return passed;
  }

  close(): this {
    this.#close = true;
    return this;
  }

  upgrade(options: UpgradeOptions = {}): boolean {
    this.#begin(200);
    if (!this.request.upgrade)
      throw new TypeError("upgrade: the request is not a WebSocket handshake");
    checkUpgrade(options);
    const { protocol = "", handler = "", compress = true } = options;
    if (options.handler !== undefined) checkModuleName(handler, this.protocolNames);
    if (protocol !== "" && !this.request.protocols.includes(protocol)) {
      throw new TypeError(`protocol: the client did not offer ${JSON.stringify(protocol)}`);
    }
    const fields = [...this.#take("", options.headers)];
    if (this.#length !== undefined) checkField("Content-Length", this.#length);
    for (const [name] of fields) checkHandshakeField(name);
    if (this.sent) return false;
    if (protocol !== "") fields.push(["Sec-WebSocket-Protocol", protocol]);
    const done = this.accept({
      fields,
      protocol,
      handler,
      data: options.data,
      idleTimeout: options.idleTimeout,
      maxPayloadLength: options.maxPayloadLength,
      compress,
    });
    this.#finish();
    return done;
  }

  events(options: EventsOptions = {}): boolean {
    this.#begin(200);
    checkEvents(options);
    const fields = streamFields(this.#take("", options.headers));
    if (this.#length !== undefined)
      throw new TypeError("events: an event stream has no Content-Length");
    if (this.sent) return false;
    let done = true;
    if (this.request.method === "HEAD") {
      if (this.streamBegin(200, fields, true, UNFRAMED, "pushed")) this.streamEnd();
    } else {
      done = this.accept({
        ...{ fields, protocol: "", handler: "", data: options.data, compress: false },
        ...{ idleTimeout: undefined, maxPayloadLength: undefined },
        ...{ topics: [...(options.topics ?? [])], since: this.request.since },
      });
    }
    this.#finish();
    return done;
  }
}
