// `fetch` over a client that exchanges bytes: one connection for each request, and its complete response.

import { AnswerReader, type TestAnswer } from "./answer";
import type { Network } from "./network";
import { TestSocket } from "./socket";

/** Base of relative URLs. */
const ORIGIN = "http://ringcast.test";
/** Fields that the connection sets itself. */
const OWN = new Set(["host", "connection", "content-length", "transfer-encoding"]);

const encoder = new TextEncoder();

class FetchSocket extends TestSocket {
  readonly #reader: AnswerReader;
  readonly answer: Promise<TestAnswer>;
  #resolve: (answer: TestAnswer) => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;

  constructor(network: Network, method: string) {
    super(network);
    this.#reader = new AnswerReader([method]);
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // The rejection may come before anything waits for it.
    this.answer.catch(() => undefined);
    if (this.state !== "open") this.fail(new TypeError(`fetch failed: ${this.state}`));
  }

  fail(error: Error): void {
    this.#reject(error);
  }

  protected override arrived(bytes: Uint8Array): void {
    this.#reader.push(bytes);
    this.#look();
  }

  #look(): void {
    const [answer] = this.#reader.answers;
    if (answer) this.#resolve(answer);
  }

  protected override ended(): void {
    try {
      if (this.state !== "reset") this.#reader.close();
      this.#look();
    } catch {
      // Reported below.
    }
    this.fail(new TypeError(`fetch failed: the connection ended (${this.state})`));
  }

  override describe(): string[] {
    return this.#reader.answers.map(({ status, body }) => `${status}, ${body.length} bytes`);
  }
}

function encode(request: Request, url: URL, body: Uint8Array): Uint8Array {
  const fields: [string, string][] = [];
  request.headers.forEach((value, name) => {
    if (!OWN.has(name)) fields.push([name, value]);
  });
  const hasBody = body.length > 0 || !["GET", "HEAD", "OPTIONS", "DELETE"].includes(request.method);
  if (hasBody) fields.push(["content-length", String(body.length)]);
  const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  const head =
    `${request.method} ${url.pathname}${url.search} HTTP/1.1\r\n` +
    `host: ${url.host}\r\nconnection: close\r\n${lines}\r\n`;
  // Field values are octets, one for each character (RFC 9110 5.5).
  const octets = Uint8Array.from(head, (character) => character.charCodeAt(0));
  const bytes = new Uint8Array(octets.length + body.length);
  bytes.set(octets);
  bytes.set(body, octets.length);
  return bytes;
}

/** Returns a request's body. Text and bytes are used directly, because reading a stream would need real time. */
async function bodyOf(request: Request, init: RequestInit | undefined): Promise<Uint8Array> {
  const body = init?.body;
  if (typeof body === "string") return encoder.encode(body);
  if (body instanceof Uint8Array) return body;
  return request.body === null ? new Uint8Array(0) : new Uint8Array(await request.arrayBuffer());
}

function toResponse({ status, phrase, fields, body }: TestAnswer): Response {
  const headers = new Headers();
  for (const [name, value] of fields) headers.append(name, value);
  const isBare = status === 204 || status === 205 || status === 304;
  return new Response(isBare ? null : (body as Uint8Array<ArrayBuffer>), {
    status,
    statusText: phrase,
    headers,
  });
}

/**
 * Sends a request and waits for its response. Redirects are not followed.
 * @returns the response once it is complete
 * @throws TypeError when the connection fails; the reason of `init.signal`
 */
export async function memoryFetch(
  network: Network,
  until: <T>(promise: PromiseLike<T>) => Promise<T>,
  input: string | URL | Request,
  init?: RequestInit,
): Promise<Response> {
  const target = typeof input === "string" ? new URL(input, ORIGIN) : input;
  const request = new Request(target, init);
  const { signal } = request;
  signal.throwIfAborted();
  const bytes = encode(request, new URL(request.url), await bodyOf(request, init));
  const socket = new FetchSocket(network, request.method);
  const abort = (): void => {
    socket.fail(signal.reason as Error);
    socket.reset();
  };
  signal.addEventListener("abort", abort, { once: true });
  socket.write(bytes);
  try {
    return toResponse(await until(socket.answer));
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
