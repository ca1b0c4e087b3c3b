// `ringcast/fetch`: turns a fetch function of the web's standards, `fetch(request): Response`, into a handler.
//
// Invariant: a response body is sent whole or visibly broken off, never cut short as if it were complete. A body that
// will not be read is cancelled. This file imports nothing of a platform.

import { concat } from "./shared/text/bytes";
import type {
  EventsArguments,
  EventsOptions,
  Handler,
  HeaderFields,
  PeerCertificate,
  Request as Incoming,
  Response as Answer,
  StreamChoice,
  UpgradeArguments,
  UpgradeOptions,
} from "./handler";
import { parseJson } from "./shared/text/json";
import { MEMBERS, checkHandler } from "./shared/members";
import { describe, isThenable } from "./shared/result";
import { checkEvents, checkUpgrade } from "./shared/request/upgrade";

// The types of handlers, because a declaration that TypeScript infers from `fetchHandler` may name them.
export type * from "./handler";

/** The second argument of a fetch function. */
export interface FetchInfo<User = unknown> {
  /** The peer's address as the socket reports it, without port. */
  readonly remoteAddress: string;
  /** The client's certificate, like `req.peerCertificate`. */
  readonly peerCertificate: PeerCertificate | undefined;
  /**
   * Makes the Response that accepts a WebSocket handshake. Return it to make the connection a WebSocket; header fields
   * set on it are sent with the 101. Any other Response refuses the handshake. For a request that is not a WebSocket
   * handshake it makes an ordinary 400. `data` is required unless `User` allows undefined.
   * @throws TypeError when the client did not offer `protocol`
   */
  upgrade(...options: UpgradeArguments<User>): Response;
  /**
   * Makes the Response that turns the request into a stream of server-sent events, with the option `events`. Return it;
   * header fields set on it are sent. `data` is required unless `User` allows undefined.
   */
  events(...options: EventsArguments<User>): Response;
}

/** A function that answers requests, sync or async. A throw or rejection is a 500 and is reported. */
export type FetchFunction<User = unknown> = (
  request: Request,
  info: FetchInfo<User>,
) => Response | Promise<Response>;

/** Handlers of the other events: those of WebSockets and connections. */
export type FetchEvents<User = unknown> = Omit<Handler<User>, "request" | "streams">;

/** Bytes up to which a body is read and sent in one piece. Larger bodies are streamed, to bound memory. */
const SMALL = 65536;
/** Turns of the microtask queue to wait for the end of a body before it is streamed. */
const TICKS = 16;
/** Status of the Response that accepts a handshake. The constructor of Response refuses 101. */
const ACCEPTED = 204;
/** Status and type of the Response that makes a request an event stream. */
const STREAMING = 200;
const EVENT_STREAM = "text/event-stream";
/** Hop-by-hop fields (RFC 9110 7.6.1) and framing fields, which the server sets. */
const HOP = new Set([
  ...["connection", "content-length", "keep-alive", "proxy-connection"],
  ...["transfer-encoding", "upgrade"],
]);

// ---- the request -----------------------------------------------------------------------------------------

/** A Request's members that are replaced, as any runtime's types declare them. */
interface Replaced {
  get signal(): AbortSignal;
  clone(): Request;
}

const Standard = Request as unknown as new (
  input: string | Request,
  init: RequestInit,
) => Omit<Request, keyof Replaced> & Replaced;

/** A Request that creates its signal on first use, because an AbortController for each request would be expensive. */
class FetchRequest extends Standard implements Replaced {
  readonly #answer: Answer;

  constructor(input: string | Request, init: RequestInit, answer: Answer) {
    super(input, init);
    this.#answer = answer;
  }

  override get signal(): AbortSignal {
    return this.#answer.signal;
  }

  override clone(): Request {
    return new FetchRequest(super.clone(), {}, this.#answer);
  }
}

/** Methods that read the whole body. */
const READERS = ["arrayBuffer", "blob", "bytes", "formData", "json", "text"] as const;

// The client may abort its body while the function awaits something else. That rejection must not end the process.
for (const name of READERS) {
  const read = (Request.prototype as unknown as Record<string, () => Promise<unknown>>)[name];
  if (!read) continue;
  Object.defineProperty(FetchRequest.prototype, name, {
    configurable: true,
    writable: true,
    value(this: FetchRequest): Promise<unknown> {
      const result = name === "json" ? this.text().then(parseJson) : read.call(this);
      result.catch(() => undefined);
      return result;
    },
  });
}

/** Returns whether the body is streamed: when it is large or has no stated length. Small bodies arrive complete. */
function isLarge(req: Incoming): boolean {
  if (isBare(req.method)) return false;
  const length = req.header("content-length");
  return length === undefined || Number(length) > SMALL;
}

const streams: StreamChoice = Object.assign(isLarge, { optional: true });

/** Returns true for methods whose Request may not have a body. */
function isBare(method: string): boolean {
  return method === "GET" || method === "HEAD";
}

/** Returns the body of a streamed request as a stream. It is read only on demand. */
function bodyOf(req: Incoming): ReadableStream<Uint8Array> {
  const pieces = req.stream();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await pieces.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        await pieces.return?.();
      },
    },
    { highWaterMark: 0 },
  );
}

/** Returns the URL of a request as text. It may be one that cannot be parsed. */
function urlOf(req: Incoming, fields: Incoming["headers"]): string {
  const scheme = req.secure ? "https" : "http";
  const hash = req.url.indexOf("#");
  const target = hash < 0 ? req.url : req.url.slice(0, hash);
  if (!target.startsWith("/")) return scheme + target.slice(target.indexOf("://"));
  const host = fields.find(([name]) => name === "host")?.[1] ?? "localhost";
  return `${scheme}://${host}${target}`;
}

/** Makes the Request. Returns undefined when there can be none; then the response has been sent. */
function requestOf(req: Incoming, res: Answer): Request | undefined {
  const { method, headers } = req;
  if (method === "TRACE" || method === "CONNECT") {
    res.send(501, "text/plain", "Not Implemented\n");
    return undefined;
  }
  if (req.url === "*") {
    // A request about the server as a whole (RFC 9110 9.3.7), which has no URL.
    res.send(204);
    return undefined;
  }
  const init: RequestInit & { duplex?: "half" } = {
    method,
    headers: headers as [string, string][],
  };
  if (!isBare(method)) {
    if (req.streamed) {
      init.body = bodyOf(req);
      init.duplex = "half";
    } else {
      const { body } = req;
      if (body.length > 0) init.body = body as Uint8Array<ArrayBuffer>;
    }
  }
  try {
    return new FetchRequest(urlOf(req, headers), init, res);
  } catch {
    // Some hosts are valid in a Host field and invalid in a URL.
    res.send(400, "text/plain", "Bad Request\n");
    return undefined;
  }
}

// ---- the answer ------------------------------------------------------------------------------------------

/** Returns true for a Response of any realm or package. */
function isResponse(value: unknown): value is Response {
  if (typeof value !== "object" || value === null) return false;
  const { status, headers } = value as Partial<Response>;
  return typeof status === "number" && typeof headers?.forEach === "function";
}

/** The symbol under which Node's Response keeps its state, up to Node 22; undefined on other runtimes. */
const STATE = Object.getOwnPropertySymbols(new Response("")).find(
  ({ description }) => description === "state",
);

/**
 * Returns the text or bytes that a Response was made of, when the runtime exposes them. Reading them back through the
 * body's stream would cost several times as much as the rest of the response.
 */
function sourceOf(made: Response): string | Uint8Array | undefined {
  if (!STATE) return undefined;
  const state = (made as unknown as Record<symbol, { body?: { source?: unknown } } | undefined>)[
    STATE
  ];
  const source = state?.body?.source;
  return typeof source === "string" || source instanceof Uint8Array ? source : undefined;
}

function checkPiece(piece: unknown): Uint8Array {
  if (piece instanceof Uint8Array) return piece;
  throw new TypeError(`body: its stream has a ${typeof piece}, not a Uint8Array`);
}

/** Returns true when a promise settles within a few turns of the microtask queue, so without I/O or timers. */
async function isHere(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const note = (): void => {
    settled = true;
  };
  promise.then(note, note);
  for (let i = 0; i < TICKS && !settled; i++) await undefined;
  return settled;
}

/**
 * Returns the Content-Length that a Response states; undefined when there is none, or it is not one. A Response that
 * the platform's `fetch` made states the length and coding of what it received, and its body is decoded.
 */
function lengthOf({ headers, url }: Response): number | undefined {
  const stated = headers.get("content-length") ?? "";
  const length = Number(stated);
  if (url !== "" && headers.has("content-encoding")) return undefined;
  return /^\d+$/.test(stated) && Number.isSafeInteger(length) ? length : undefined;
}

/** One request and the response of its function. */
class Exchange implements FetchInfo {
  readonly remoteAddress: string;
  readonly peerCertificate: PeerCertificate | undefined;
  readonly #req: Incoming;
  readonly #res: Answer;
  /** Options of the accepted handshake. */
  #accepted: UpgradeOptions | undefined;
  /** Options of the event stream. */
  #streaming: EventsOptions | undefined;

  constructor(req: Incoming, res: Answer) {
    this.#req = req;
    this.#res = res;
    this.remoteAddress = req.remoteAddress;
    this.peerCertificate = req.peerCertificate;
  }

  /** A bound function, because users may destructure it from the second argument. */
  get upgrade(): (options?: UpgradeOptions) => Response {
    return (options = {}) => this.#accept(options);
  }

  /** A bound function, as `upgrade`. */
  get events(): (options?: EventsOptions) => Response {
    return (options = {}) => {
      checkEvents(options);
      this.#streaming = options;
      const headers = headersOf(options.headers ?? {});
      headers.set("content-type", EVENT_STREAM);
      return new Response(null, { status: STREAMING, headers });
    };
  }

  #accept(options: UpgradeOptions): Response {
    checkUpgrade(options);
    const { protocol = "" } = options;
    if (!this.#req.upgrade) {
      return new Response("Expected a WebSocket handshake\n", { status: 400 });
    }
    if (protocol !== "" && !this.#req.protocols.includes(protocol)) {
      throw new TypeError(`protocol: the client did not offer ${JSON.stringify(protocol)}`);
    }
    this.#accepted = options;
    return new Response(null, { status: ACCEPTED, headers: headersOf(options.headers ?? {}) });
  }

  /** Sends the Response. @throws TypeError when it cannot be sent */
  answer(made: unknown): Promise<void> | undefined {
    if (!isResponse(made)) throw new TypeError(`fetch: returned ${String(made)}, not a Response`);
    const { body } = made;
    try {
      return this.#send(made, body);
    } catch (thrown) {
      if (body && !body.locked) body.cancel(thrown).catch(() => undefined);
      throw thrown;
    }
  }

  #send(made: Response, body: ReadableStream<Uint8Array> | null): Promise<void> | undefined {
    const res = this.#res;
    const { status } = made;
    made.headers.forEach((value, name) => {
      if (!HOP.has(name)) res.header(name, value);
      else if (name === "connection" && /\bclose\b/i.test(value)) res.close();
    });
    if (this.#accepted && status === ACCEPTED) {
      // The header fields were copied to the Response, so they are already set.
      const { headers: _, ...options } = this.#accepted;
      res.upgrade(options);
      return undefined;
    }
    const isStream = status === STREAMING && made.headers.get("content-type") === EVENT_STREAM;
    if (this.#streaming && isStream && body === null) {
      const { headers: _, ...options } = this.#streaming;
      res.events(options);
      return undefined;
    }
    if (made.bodyUsed) throw new TypeError("fetch: the Response's body was read before");
    const length = lengthOf(made);
    if (length !== undefined && (this.#req.method === "HEAD" || status === 304)) {
      if (body && !body.locked) body.cancel().catch(() => undefined);
      res.header("content-length", length).send(status);
      return undefined;
    }
    if (body) {
      if (body.locked) throw new TypeError("fetch: the Response's body is being read");
      const source = sourceOf(made);
      if (source === undefined) return this.#sendBody(made, body, length);
      res.send(status, "", source);
      return undefined;
    }
    if (this.#req.method === "HEAD" && status !== 204 && status !== 304) {
      // The length of the response to GET is unknown.
      res.begin(status);
      return res.end();
    }
    res.send(status);
    return undefined;
  }

  /**
   * Sends a body that is available at once in one piece, with its own length, and streams any other.
   * @param length that the Response states, in bytes; undefined: none
   */
  async #sendBody(
    { status }: Response,
    body: ReadableStream<Uint8Array>,
    length: number | undefined,
  ): Promise<void> {
    const isSmall = length !== undefined && length <= SMALL;
    const source = new Source(body, this.#res);
    try {
      if (await source.gather(isSmall)) this.#res.send(status, "", concat(source.pieces));
      else if (this.#req.method === "HEAD") await this.#endBare(status);
      else {
        if (length !== undefined) this.#res.header("content-length", length);
        await this.#res.stream(status, "", source);
      }
    } finally {
      source.leave();
    }
  }

  async #endBare(status: number): Promise<void> {
    this.#res.begin(status);
    await this.#res.end();
  }
}

type Read = Awaited<ReturnType<ReadableStreamDefaultReader<Uint8Array>["read"]>>;

/** The body of a response while it is sent. */
class Source implements AsyncIterable<Uint8Array> {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #res: Answer;
  #next: Promise<Read> | undefined;
  #signal: AbortSignal | undefined;
  /** Pieces that were read and not sent. */
  readonly pieces: Uint8Array[] = [];

  constructor(body: ReadableStream<Uint8Array>, res: Answer) {
    this.#reader = body.getReader();
    this.#res = res;
  }

  readonly #abort = (): void => {
    this.#reader.cancel(this.#signal?.reason).catch(() => undefined);
  };

  /** Cancels the body when the client leaves, from now on. */
  #watch(): void {
    if (this.#signal) return;
    this.#signal = this.#res.signal;
    if (this.#signal.aborted) this.#abort();
    else this.#signal.addEventListener("abort", this.#abort);
  }

  /**
   * Reads the pieces that are available at once; when the body is known to be small, waits for the others too.
   * @returns true when that is the whole body
   */
  async gather(isSmall: boolean): Promise<boolean> {
    for (let length = 0; length <= SMALL; ) {
      this.#next = this.#reader.read();
      if (!(await isHere(this.#next))) {
        if (!isSmall) return false;
        this.#watch();
      }
      const { done, value } = await this.#take();
      if (done) return true;
      this.pieces.push(checkPiece(value));
      length += value.length;
    }
    return false;
  }

  /** @throws the signal's reason when the client has left, because a cancelled body ends as if it were complete */
  async #take(): Promise<Read> {
    const next = this.#next ?? this.#reader.read();
    this.#next = undefined;
    const result = await next;
    if (result.done && this.#signal?.aborted) throw this.#signal.reason;
    return result;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    this.#watch();
    yield* this.pieces;
    this.pieces.length = 0;
    for (;;) {
      const { done, value } = await this.#take();
      if (done) return;
      yield checkPiece(value);
    }
  }

  /** Ends reading. */
  leave(): void {
    this.#signal?.removeEventListener("abort", this.#abort);
    // Cancelling a body that was read to its end does nothing.
    this.#reader.cancel(this.#signal?.reason).catch(() => undefined);
  }
}

function headersOf(fields: HeaderFields): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(fields)) {
    for (const one of typeof value === "object" ? value : [value]) headers.append(name, `${one}`);
  }
  return headers;
}

// ---- the handler -----------------------------------------------------------------------------------------

/** Returns true when a function was aborted because the client left, which is not an error. */
function isAbort(thrown: unknown, res: Answer): boolean {
  const { signal } = res;
  if (!signal.aborted) return false;
  return thrown === signal.reason || describe(thrown).name === "AbortError";
}

/** Rethrows an error, unless it only says that the client left. */
function fail(thrown: unknown, res: Answer): void {
  if (!isAbort(thrown, res)) throw thrown;
  if (!res.sent) res.close().send(500);
}

/** Waits for a response that is being sent. Its failure rejects the returned promise. */
async function settled(answer: PromiseLike<unknown>, res: Answer): Promise<void> {
  try {
    await answer;
  } catch (thrown) {
    fail(thrown, res);
  }
}

async function answerLater(made: PromiseLike<unknown>, exchange: Exchange): Promise<void> {
  await exchange.answer(await made);
}

/** Returns the members of an object of events bound to it, because it may be of a class. @throws TypeError */
function bound<User>(events: FetchEvents<User>): FetchEvents<User> {
  checkHandler(events, "events");
  const members: Record<string, unknown> = {};
  for (const name of [...MEMBERS, "protocol"] as const) {
    const member: unknown = (events as Handler)[name];
    if (name === "request" && member !== undefined)
      throw new TypeError("events.request: the fetch function answers requests");
    if (typeof member === "function") members[name] = member.bind(events);
  }
  return members;
}

/**
 * Makes a handler from a fetch function, for any place where handlers run. Request bodies are streamed when the handler
 * is a module in the worker. Elsewhere they arrive complete, up to `maxBodyLength`. The request's `signal` aborts when
 * the client leaves before the response is complete.
 * @param fetch such as `app.fetch` of Hono; its second argument is the `FetchInfo`
 * @param events handlers of the other events: `open`, `message`, `close`, …
 * @throws TypeError when `fetch` or an event is not a function
 */
export function fetchHandler<User = unknown>(
  fetch: FetchFunction<User>,
  events: FetchEvents<User> = {},
): Handler<User> {
  if (typeof fetch !== "function") throw new TypeError("fetch: not a function");
  const request = (req: Incoming, res: Answer): Promise<void> | undefined => {
    const asked = requestOf(req, res);
    if (!asked) return undefined;
    const exchange = new Exchange(req, res);
    const made: unknown = fetch(asked, exchange);
    const answer = isThenable(made) ? answerLater(made, exchange) : exchange.answer(made);
    return answer && settled(answer, res);
  };
  return { ...bound(events), streams, request };
}
