// The answer to one request, as far as it is the same wherever the handler runs: its arguments are checked,
// its fields gathered, its pieces waited for. Where it goes is the subclass's.
//
// Invariant: a wrong argument throws before anything is sent; a request is answered once.

import { type Payload, dataOf, sizeOf } from "./data";
import type { Data, HeaderFields, Response, StaticBody, UpgradeOptions } from "./handler";
import type { RequestReader } from "./request";
import { checkUpgrade } from "./upgrade";

/** Fields of an answer, checked. */
export type Field = readonly [name: string, value: string];

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** Fields that frame a message; the engine writes them. */
const FRAMING = new Set(["connection", "content-length", "transfer-encoding", "upgrade"]);
const TYPES = new Map<string, Field>();

/** Bytes of the largest body, and of the largest piece of one. */
const BODY_LIMIT = 2 ** 31 - 1;

/** Checks a body, or a piece of one. @param what names it in errors @returns it @throws TypeError, RangeError */
export function checkBody(body: unknown, what = "body"): Payload {
  const payload = dataOf(what, body);
  if (typeof payload === "string" || sizeOf(payload) <= BODY_LIMIT) return payload;
  throw new RangeError(`${what}: ${sizeOf(payload)} bytes are more than ${BODY_LIMIT}`);
}

/** A field as it goes into a response. @throws TypeError when it would break the message */
export function checkField(name: string, value: string | number): Field {
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

/** The field of a content type; the same few come again and again. */
function typeField(type: string): Field {
  let field = TYPES.get(type);
  if (!field) {
    field = checkField("Content-Type", type);
    if (TYPES.size < 64) TYPES.set(type, field);
  }
  return field;
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

export abstract class Answering implements Response {
  abstract readonly request: RequestReader;
  #fields: Field[] | undefined;
  #close = false;
  #sent = false;
  #streaming = false;
  /** The last piece found no room. */
  #full = false;
  #waiters: (() => void)[] | undefined;
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
  /** The answer breaks off: its source failed. */
  protected abstract streamFail(): void;
  protected abstract accept(upgrade: Upgrade): boolean;

  get sent(): boolean {
    return this.#sent || this.gone;
  }

  get signal(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController();
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
    this.clientEnded();
    this.request.answered();
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
    const values = typeof value === "object" ? value : [value];
    for (const one of values) this.#fields.push(checkField(name, one));
    return this;
  }

  #take(type: string, headers: HeaderFields | undefined): Field[] {
    if (headers) {
      for (const [name, value] of Object.entries(headers)) this.header(name, value as string);
    }
    const fields = this.#fields ?? [];
    if (type === "") return fields;
    const field = typeField(type);
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
    const payload = checkBody(body);
    const fields = this.#take(type, headers);
    if (this.sent) return false;
    const sent = this.respond(status, fields, payload, this.#close);
    this.#finish();
    return sent;
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
    return this.#streaming;
  }

  write(data: Data): boolean {
    if (!this.#streaming) throw new Error("write: begin() comes first");
    const payload = checkBody(data, "write");
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

  async end(data?: Data): Promise<void> {
    if (!this.#streaming) throw new Error("end: begin() comes first");
    if (data !== undefined) await this.#writeWhole(data);
    if (this.sent) return;
    this.streamEnd();
    this.#finish();
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
      this.streamFail();
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
    checkUpgrade(options);
    const { protocol = "", idleTimeout, maxPayloadLength } = options;
    if (protocol !== "" && !this.request.protocols.includes(protocol)) {
      throw new TypeError(`protocol: the client did not offer ${JSON.stringify(protocol)}`);
    }
    const fields = [...this.#take("", options.headers)];
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
