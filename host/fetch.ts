// `ringcast/fetch`: a function of the web's standards, `fetch(request): Response`, as a handler.
//
// Invariant: what the function gave is sent whole or broken off, never cut short as if it were complete; a body
// that nobody will read is cancelled. Nothing of a platform is imported.

import { concat } from "./shared/text/bytes";
import type {
  Handler,
  HeaderFields,
  PeerCertificate,
  Request as Incoming,
  Response as Answer,
  StreamChoice,
  UpgradeOptions,
} from "./handler";
import { parseJson } from "./shared/text/json";
import { MEMBERS, checkHandler } from "./shared/members";
import type { Answering } from "./shared/request/response";
import { describe, isThenable } from "./shared/result";
import { checkUpgrade } from "./shared/request/upgrade";

/** What a fetch function gets beside its request. */
export interface FetchInfo<User = unknown> {
  /** The peer's address as the socket reports it, without port. */
  readonly remoteAddress: string;
  /** The certificate that the client has shown, as `req.peerCertificate`. */
  readonly peerCertificate: PeerCertificate | undefined;
  /**
   * Makes the Response that accepts an opening handshake: return it, and the connection becomes a WebSocket, with the
   * fields that were set on it meanwhile. Any other Response refuses. For a request that is no opening handshake it is
   * an ordinary 400.
   * @throws TypeError when the client did not offer `protocol`
   */
  upgrade(options?: UpgradeOptions<User>): Response;
}

/** A request's function; sync or async. A throw or rejection is 500, and reported. */
export type FetchFunction<User = unknown> = (
  request: Request,
  info: FetchInfo<User>,
) => Response | Promise<Response>;

/** What is handled beside requests: the events of WebSockets and connections. */
export type FetchEvents<User = unknown> = Omit<Handler<User>, "request" | "streams">;

/** Bytes of a body up to which it is taken, and sent, in one. */
const SMALL = 65536;
/** The largest Content-Length that the answer to HEAD can tell. */
const LENGTH_LIMIT = 2 ** 32 - 1;
/** Turns of the microtask queue that a body may take to say that it is at its end. */
const TICKS = 16;
/** The status of a Response that accepts a handshake; none can be made with 101. */
const ACCEPTED = 204;
/** Fields of one connection (RFC 9110 7.6.1), and framing: the server's to set. */
const HOP = new Set([
  ...["connection", "content-length", "keep-alive", "proxy-connection"],
  ...["transfer-encoding", "upgrade"],
]);

// ---- the request -----------------------------------------------------------------------------------------

/** A Request whose signal is made when it is asked for: an AbortController for each would cost more than the rest. */
class FetchRequest extends Request {
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

/** Methods that read a body to its end. */
const READERS = ["arrayBuffer", "blob", "bytes", "formData", "json", "text"] as const;

// The client may break its body off while the function awaits something else: that ends no process.
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

/** Small bodies come whole; large ones, and those of no stated length, as they are read. */
function isLarge(req: Incoming): boolean {
  if (isBare(req.method)) return false;
  const length = req.header("content-length");
  return length === undefined || Number(length) > SMALL;
}

const streams: StreamChoice = Object.assign(isLarge, { optional: true });

/** True for methods whose Request may have no body. */
function isBare(method: string): boolean {
  return method === "GET" || method === "HEAD";
}

/** The body of a request that is streamed, read no faster than it is asked for. */
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

/** The URL of a request; not every one that it gives can be parsed. */
function urlOf(req: Incoming, fields: Incoming["headers"]): string {
  const scheme = req.secure ? "https" : "http";
  const hash = req.url.indexOf("#");
  const target = hash < 0 ? req.url : req.url.slice(0, hash);
  if (!target.startsWith("/")) return scheme + target.slice(target.indexOf("://"));
  const host = fields.find(([name]) => name === "host")?.[1] ?? "localhost";
  return `${scheme}://${host}${target}`;
}

/** The Request; undefined when there is none for it: then it is answered. */
function requestOf(req: Incoming, res: Answer): Request | undefined {
  const { method, headers } = req;
  if (method === "TRACE" || method === "CONNECT") {
    res.send(501, "text/plain", "Not Implemented\n");
    return undefined;
  }
  if (req.url === "*") {
    // A question about the server as a whole (RFC 9110 9.3.7), which no URL says.
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
    // A host that is valid in a field may be none in a URL.
    res.send(400, "text/plain", "Bad Request\n");
    return undefined;
  }
}

// ---- the answer ------------------------------------------------------------------------------------------

/** True for a Response, of whatever realm or package. */
function isResponse(value: unknown): value is Response {
  if (typeof value !== "object" || value === null) return false;
  const { status, headers } = value as Partial<Response>;
  return typeof status === "number" && typeof headers?.forEach === "function";
}

/** Where Node's Response keeps its state, up to Node 22; undefined elsewhere. */
const STATE = Object.getOwnPropertySymbols(new Response("")).find(
  ({ description }) => description === "state",
);

/**
 * The text or bytes that a Response was made of, where the runtime lets it be seen: to read them out of its stream
 * again would cost several times what the rest of the answer does.
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
  throw new TypeError(`body: its stream gave a ${typeof piece}, not a Uint8Array`);
}

/** True when a promise settles without anything else having to happen. */
async function isHere(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const note = (): void => {
    settled = true;
  };
  promise.then(note, note);
  for (let i = 0; i < TICKS && !settled; i++) await undefined;
  return settled;
}

/** The Content-Length that a Response states, for the answer to HEAD; undefined: none that can be sent. */
function lengthOf({ status, headers }: Response): number | undefined {
  const stated = headers.get("content-length") ?? "";
  const length = Number(stated);
  const hasBody = status !== 204 && status !== 205 && status !== 304;
  return hasBody && /^\d+$/.test(stated) && length <= LENGTH_LIMIT ? length : undefined;
}

/** One request and the answer that its function gives. */
class Exchange<User> implements FetchInfo<User> {
  readonly remoteAddress: string;
  readonly peerCertificate: PeerCertificate | undefined;
  readonly #req: Incoming;
  readonly #res: Answer;
  /** The handshake is to be accepted so. */
  #accepted: UpgradeOptions<User> | undefined;

  constructor(req: Incoming, res: Answer) {
    this.#req = req;
    this.#res = res;
    this.remoteAddress = req.remoteAddress;
    this.peerCertificate = req.peerCertificate;
  }

  /** Works by itself, too: functions take it out of their second argument. */
  get upgrade(): (options?: UpgradeOptions<User>) => Response {
    return (options = {}) => this.#accept(options);
  }

  #accept(options: UpgradeOptions<User>): Response {
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

  /** Answers. @throws what is wrong with the Response */
  answer(made: unknown): Promise<void> | undefined {
    if (!isResponse(made)) throw new TypeError(`fetch: gave ${String(made)}, not a Response`);
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
      // Its fields are on the Response.
      const { headers: _, ...options } = this.#accepted;
      res.upgrade(options);
      return undefined;
    }
    if (made.bodyUsed) throw new TypeError("fetch: the Response's body was read before");
    const length = this.#req.method === "HEAD" ? lengthOf(made) : undefined;
    if (length !== undefined) {
      if (body && !body.locked) body.cancel().catch(() => undefined);
      (res as unknown as Answering).sendLength(status, length);
      return undefined;
    }
    if (body) {
      if (body.locked) throw new TypeError("fetch: the Response's body is being read");
      const source = sourceOf(made);
      if (source === undefined) return this.#sendBody(made, body);
      res.send(status, "", source);
      return undefined;
    }
    if (this.#req.method === "HEAD" && status !== 204 && status !== 304) {
      // What the answer to GET would be long is not known.
      res.begin(status);
      return res.end();
    }
    res.send(status);
    return undefined;
  }

  /** A body that is here is sent in one, the others as they come. */
  async #sendBody(made: Response, body: ReadableStream<Uint8Array>): Promise<void> {
    const { status } = made;
    const stated = made.headers.get("content-length");
    const isSmall = stated !== null && Number(stated) <= SMALL;
    const source = new Source(body, this.#res);
    try {
      if (await source.gather(isSmall)) this.#res.send(status, "", concat(source.pieces));
      else if (this.#req.method === "HEAD") await this.#endBare(status);
      else await this.#res.stream(status, "", source);
    } finally {
      source.leave();
    }
  }

  async #endBare(status: number): Promise<void> {
    this.#res.begin(status);
    await this.#res.end();
  }
}

/** The body of an answer on its way. */
class Source implements AsyncIterable<Uint8Array> {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #res: Answer;
  #next: Promise<ReadableStreamReadResult<Uint8Array>> | undefined;
  #signal: AbortSignal | undefined;
  /** What came and was not sent. */
  readonly pieces: Uint8Array[] = [];

  constructor(body: ReadableStream<Uint8Array>, res: Answer) {
    this.#reader = body.getReader();
    this.#res = res;
  }

  readonly #abort = (): void => {
    this.#reader.cancel(this.#signal?.reason).catch(() => undefined);
  };

  /** From now on nothing is read that the client does not wait for. */
  #watch(): void {
    if (this.#signal) return;
    this.#signal = this.#res.signal;
    if (this.#signal.aborted) this.#abort();
    else this.#signal.addEventListener("abort", this.#abort);
  }

  /**
   * Takes what is here, and what comes too when the body is known to be small.
   * @returns true when that is all of it
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

  /** @throws the signal's reason when the client has left: a body that was cancelled ends as if it were whole */
  async #take(): Promise<ReadableStreamReadResult<Uint8Array>> {
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

  /** Nothing more is read. */
  leave(): void {
    this.#signal?.removeEventListener("abort", this.#abort);
    // Does nothing to a body that is at its end.
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

/** True when somebody gave up because the client had left: no error of theirs. */
function isAbort(thrown: unknown, res: Answer): boolean {
  const { signal } = res;
  if (!signal.aborted) return false;
  return thrown === signal.reason || describe(thrown).name === "AbortError";
}

/** @throws what was thrown, unless it is because the client has left */
function fail(thrown: unknown, res: Answer): void {
  if (!isAbort(thrown, res)) throw thrown;
  if (!res.sent) res.close().send(500);
}

/** An answer that is on its way: what goes wrong with it is told by the promise. */
async function settled(answer: PromiseLike<unknown>, res: Answer): Promise<void> {
  try {
    await answer;
  } catch (thrown) {
    fail(thrown, res);
  }
}

async function answerLater<User>(
  made: PromiseLike<unknown>,
  exchange: Exchange<User>,
): Promise<void> {
  await exchange.answer(await made);
}

/** The members of an object of events, which may be of a class, to be called with it as `this`. @throws TypeError */
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
 * A handler out of a function of the web's standards, wherever handlers run. Bodies of requests are streamed where the
 * handler is a module in the worker, and come whole, up to `maxBodyLength`, elsewhere. The request's `signal` is
 * aborted when the client leaves before the answer is complete.
 * @param fetch such as `app.fetch` of Hono; its second argument is the `FetchInfo`
 * @param events what is handled beside requests: `open`, `message`, `close`, …
 * @throws TypeError when `fetch` is not a function, or an event is not one
 */
export function fetchHandler<User = unknown>(
  fetch: FetchFunction<User>,
  events: FetchEvents<User> = {},
): Handler<User> {
  if (typeof fetch !== "function") throw new TypeError("fetch: not a function");
  const request = (req: Incoming, res: Answer): Promise<void> | undefined => {
    const asked = requestOf(req, res);
    if (!asked) return undefined;
    const exchange = new Exchange<User>(req, res);
    const made: unknown = fetch(asked, exchange);
    const answer = isThenable(made) ? answerLater(made, exchange) : exchange.answer(made);
    return answer && settled(answer, res);
  };
  return { ...bound(events), streams, request };
}
