// The answer to one request, as far as it is the same wherever the handler runs: its arguments are checked,
// its fields gathered, its pieces waited for. Where it goes is the subclass's.
//
// Invariant: a wrong argument throws before anything is sent; a request is answered once. What fails after a call has
// returned fails the request: it is reported once, whether or not anybody awaits the promise.

import { type Payload, dataOf, sizeOf } from "../message/data";
import type { Data, HeaderFields, Response, StaticBody, UpgradeOptions } from "../../handler";
import { faultStatus } from "../fault";
import type { RequestReader } from "./request";
import { isInstance, isThenable, whenSettled } from "../result";
import { isOptions } from "../../options/known";
import { show } from "../text/show";
import { guardSignal } from "./signal";
import { checkUpgrade } from "./upgrade";

/** Fields of an answer, checked. */
export type Field = readonly [name: string, value: string];

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** Fields that frame a message; the engine writes them. */
const FRAMING = new Set(["connection", "content-length", "transfer-encoding", "upgrade"]);
const TYPES = new Map<string, Field>();
const TYPE_NAME = "content-type";
const TYPE_OF_BYTES = "application/octet-stream";

/** Bytes of the largest body, and of the largest piece of one. */
const BODY_LIMIT = 2 ** 31 - 1;

/** Checks a body, or a piece of one. @param what names it in errors @returns it @throws TypeError, RangeError */
export function checkBody(body: unknown, what = "body"): Payload {
  const payload = dataOf(what, body);
  if (typeof payload === "string" || sizeOf(payload) <= BODY_LIMIT) return payload;
  throw new RangeError(`${what}: ${sizeOf(payload)} bytes are more than ${BODY_LIMIT}`);
}

/** Takes the white space off both ends of a field's value (RFC 9110 5.5): no other octet. */
function trimBlanks(text: string): string {
  return /^[\t ]|[\t ]$/.test(text)
    ? text.replace(/^[\t ]+/, "").replace(/(?<![\t ])[\t ]+$/, "")
    : text;
}

/** A field as it goes into a response. @throws TypeError when it would break the message */
export function checkField(name: string, value: string | number): Field {
  if (typeof name !== "string") throw new TypeError(`header: ${show(name)} is not a field name`);
  if (typeof value !== "string" && typeof value !== "number")
    throw new TypeError(`header: the value of ${name} is ${show(value)}, not a string or number`);
  const text = String(value);
  if (!TOKEN.test(name)) throw new TypeError(`header: ${JSON.stringify(name)} is not a field name`);
  if (FRAMING.has(name.toLowerCase())) {
    throw new TypeError(`header: ${name} frames the message and is the server's to set`);
  }
  if (!VALUE.test(text)) {
    throw new TypeError(`header: the value of ${name} holds an octet that no field value may hold`);
  }
  return [name, trimBlanks(text)];
}

/** Refuses fields of the handshake itself (RFC 6455 4.2.2) in an upgrade's. @throws TypeError */
function checkHandshakeField(name: string): void {
  if (/^sec-websocket-/i.test(name)) {
    const how = /-protocol$/i.test(name) ? "; it is set by { protocol }" : "";
    throw new TypeError(`header: ${name} is the handshake's, and the server's to set${how}`);
  }
}

/** The field of a content type; the same few come again and again. */
function typeField(type: string): Field {
  let field = TYPES.get(type);
  if (!field) {
    field = checkField("Content-Type", type);
    if (TYPES.size < 64) TYPES.set(type, field);
  }
  return field;
}

/** The fields of an answer, with one Content-Type: the last that was set as a field, else `type`, "" for none. */
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

/** What an upgrade is to be, checked. */
export interface Upgrade {
  readonly fields: Field[];
  /** The subprotocol, "" to let the server choose. */
  readonly protocol: string;
  readonly data: unknown;
  /** Seconds; undefined: as for all. */
  readonly idleTimeout: number | undefined;
  /** Bytes; undefined: as for all. */
  readonly maxPayloadLength: number | undefined;
}

/** True for an answer that never has a body, whatever the method (RFC 9110 15.3.5, 15.3.6, 15.4.5). */
function isBodiless(status: number): boolean {
  return status === 204 || status === 205 || status === 304;
}

/** The source of a streamed answer: an iterator, or what is like one. */
interface Source {
  next(): unknown;
  return?(): unknown;
}

/** The next piece of a source; undefined: the client left first. */
type Step = IteratorResult<Data> | undefined;

/** Starts an iterable. @throws TypeError for what is none */
function startOf(body: AsyncIterable<Data> | Iterable<Data>): Source {
  const start = (body as AsyncIterable<Data> | undefined)?.[Symbol.asyncIterator];
  if (typeof start === "function") return start.call(body);
  const startSync = (body as Iterable<Data> | undefined)?.[Symbol.iterator];
  if (typeof startSync !== "function") throw new TypeError("body: not an iterable");
  const source: Iterator<Data> = startSync.call(body);
  return {
    // As `for await` does it: a list may hold promises.
    next: async () => {
      const { done, value } = source.next();
      return { done, value: await value };
    },
    return: () => source.return?.(),
  };
}

/** Nothing that a handler can throw. */
const NOTHING_YET = Symbol("nothing");

/** Returns names and values of fields. @throws TypeError for what has none that are read: a Headers, a Map, a list */
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
  /** The last piece found no room. */
  #full = false;
  /** The status of the answer that has begun allows no body. */
  #bodiless = false;
  #waiters: (() => void)[] | undefined;
  /** Ends the wait for the next piece of a source. */
  #left: ((step: Step) => void) | undefined;
  /** What was reported last. */
  #reported: unknown = NOTHING_YET;
  #aborted = false;
  #abort: AbortController | undefined;

  /** True when nobody waits for this answer any more. */
  protected abstract readonly gone: boolean;
  protected abstract respond(
    status: number,
    fields: Field[],
    body: Payload,
    close: boolean,
  ): boolean;
  /** Answers HEAD with the length of what GET would get. */
  protected abstract respondLength(
    status: number,
    fields: Field[],
    length: number,
    close: boolean,
  ): boolean;
  /** @throws TypeError when the body is not one of this server's */
  protected abstract checkStatic(body: StaticBody): void;
  protected abstract respondStatic(
    status: number,
    fields: Field[],
    body: StaticBody,
    close: boolean,
  ): boolean;
  protected abstract streamBegin(status: number, fields: Field[], close: boolean): boolean;
  protected abstract streamWrite(data: Payload): boolean;
  protected abstract streamEnd(): void;
  /** The answer breaks off, because its source gave up when the client left. */
  protected abstract streamLeave(): void;
  /** Fails the request: what was thrown is reported, the answer is 500, or breaks off. */
  abstract failed(thrown: unknown): void;
  protected abstract accept(upgrade: Upgrade): boolean;

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

  /** The client has ended its side: it may still read, but most have gone. */
  clientEnded(): void {
    if (this.#sent || this.#aborted) return;
    this.#aborted = true;
    // Listeners are user code, and this may be the midst of a flush.
    queueMicrotask(() => this.#abort?.abort());
  }

  /** Nobody waits for the answer any more, and it is not complete. */
  lose(): void {
    this.wake();
    // A source that fails for the same reason says so first.
    const left = this.#left;
    if (left) queueMicrotask(() => left(undefined));
    this.clientEnded();
    this.request.answered();
  }

  /** Answers a client's fault that its handler came upon. @returns false when it is none, or too late */
  answerFault(thrown: unknown): boolean {
    const status = faultStatus(thrown);
    if (status === undefined || this.#sent || this.#streaming) return false;
    this.#fields = undefined;
    this.send(status, "text/plain", status === 413 ? "Content Too Large\n" : "Bad Request\n");
    return true;
  }

  /** Notes that something is reported. @returns false when it has been, just before */
  isNews(thrown: unknown): boolean {
    if (this.#reported === thrown) return false;
    this.#reported = thrown;
    return true;
  }

  /** The answer is complete. */
  #finish(): void {
    this.#sent = true;
    this.request.answered();
  }

  /** True while pieces of the answer are to come. */
  get streaming(): boolean {
    return this.#streaming && !this.#sent;
  }

  header(name: string, value: string | number | readonly string[]): this {
    this.#fields ??= [];
    const values = Array.isArray(value) ? (value as readonly string[]) : [value as string];
    for (const one of values) this.#fields.push(checkField(name, one));
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

  send(status: number, type = "", body: Data = "", headers?: HeaderFields): boolean {
    this.#begin(status);
    const payload = checkBody(body);
    const fields = this.#take(type, headers);
    if (this.sent) return false;
    const sent = this.respond(status, fields, payload, this.#close);
    this.#finish();
    return sent;
  }

  /** Answers HEAD with the length of what GET would get. @param length a u32 */
  sendLength(status: number, length: number): boolean {
    this.#begin(status);
    const fields = this.#take("", undefined);
    if (this.sent) return false;
    const sent = this.respondLength(status, fields, length, this.#close);
    this.#finish();
    return sent;
  }

  json(value: unknown, status = 200, headers?: HeaderFields): boolean {
    const text: unknown = JSON.stringify(value);
    if (typeof text !== "string") throw new TypeError(`json: ${show(value)} has no JSON`);
    return this.send(status, "application/json", text, headers);
  }

  static(body: StaticBody, status = 200, headers?: HeaderFields): boolean {
    this.#begin(status);
    this.checkStatic(body);
    const fields = this.#take(body.type, headers);
    if (this.sent) return false;
    const sent = this.respondStatic(status, fields, body, this.#close);
    this.#finish();
    return sent;
  }

  begin(status: number, type = "", headers?: HeaderFields): boolean {
    this.#begin(status);
    const fields = this.#take(type, headers);
    if (this.sent) return false;
    this.#streaming = this.streamBegin(status, fields, this.#close);
    this.#bodiless = isBodiless(status);
    return this.#streaming;
  }

  #checkPiece(what: string, data: Data): Payload {
    if (this.#bodiless) throw new Error(`${what}: an answer of this status has no body`);
    return checkBody(data, what);
  }

  write(data: Data): boolean {
    if (!this.#streaming) throw new Error("write: begin() comes first");
    const payload = this.#checkPiece("write", data);
    if (this.sent) return false;
    this.#full = !this.streamWrite(payload);
    return !this.#full;
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

  /** As `ready`, for a piece that was written past `write` and found no room. */
  stalled(): Promise<void> {
    this.#full = true;
    return this.ready();
  }

  /** There is room again, or the client is gone. */
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
    this.streamEnd();
    this.#finish();
  }

  async #writeWhole(data: Data): Promise<void> {
    while (!this.sent && !this.write(data)) await this.ready();
  }

  /** A promise that a handler may leave alone: what it fails with is reported anyway. */
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
    const source = startOf(body);
    let begun = false;
    try {
      begun = this.begin(status, type, headers);
    } finally {
      if (!begun) this.#leave(source);
    }
    if (!begun) return Promise.resolve();
    if (!this.#bodiless && this.request.method !== "HEAD") return this.#settles(this.#pour(source));
    this.#leave(source);
    return this.end();
  }

  /** Sends the pieces of a source until it ends, or the client leaves. */
  async #pour(source: Source): Promise<void> {
    for (;;) {
      let step: Step;
      try {
        step = await this.#next(source);
      } catch (thrown) {
        if (!this.#isAbort(thrown)) throw thrown;
        if (!this.sent) this.streamLeave();
        return;
      }
      if (step?.done) break;
      try {
        if (step) await this.#writeWhole(step.value);
      } catch (thrown) {
        this.#leave(source);
        throw thrown;
      }
      if (!step || this.sent) {
        this.#leave(source);
        return;
      }
    }
    await this.#end();
  }

  #next(source: Source): Promise<Step> {
    return new Promise((resolve, reject) => {
      this.#left = resolve;
      const take = (step: unknown): void => {
        if (typeof step === "object" && step !== null) resolve(step as Step);
        else reject(new TypeError("body: its iterator gave no object"));
      };
      whenSettled(source.next(), take, reject);
    });
  }

  /** Takes no more of a source. Its `return` may throw, or never settle: nothing waits for it. */
  #leave(source: Source): void {
    const failed = (thrown: unknown): void => {
      if (!this.#isAbort(thrown)) this.failed(thrown);
    };
    try {
      const result = source.return?.();
      if (isThenable(result)) whenSettled(result, undefined, failed);
    } catch (thrown) {
      failed(thrown);
    }
  }

  /** True for what a source throws because the signal told it that the client has left. */
  #isAbort(thrown: unknown): boolean {
    if (!this.#aborted) return false;
    if (this.#abort && thrown === this.#abort.signal.reason) return true;
    return isInstance(thrown, Error) && thrown.name === "AbortError";
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
    const { protocol = "", idleTimeout, maxPayloadLength } = options;
    if (protocol !== "" && !this.request.protocols.includes(protocol)) {
      throw new TypeError(`protocol: the client did not offer ${JSON.stringify(protocol)}`);
    }
    const fields = [...this.#take("", options.headers)];
    for (const [name] of fields) checkHandshakeField(name);
    if (this.sent) return false;
    if (protocol !== "") fields.push(["Sec-WebSocket-Protocol", protocol]);
    const done = this.accept({
      fields,
      protocol,
      data: options.data,
      idleTimeout,
      maxPayloadLength,
    });
    this.#finish();
    return done;
  }
}
