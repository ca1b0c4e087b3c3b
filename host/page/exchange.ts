// One request and its response over a connection within the page: writes HTTP/1.1 bytes, returns a Response.
//
// Invariant: the engine sends at most what the reader of the body takes and the channel holds. An exchange ends once,
// with the end of the response, with an error, or aborted, and then it releases the connection.

import { type AnswerHead, AnswerReader, type AnswerUser } from "../codec/response";
import type { Line, LineEnd, LineUser } from "./line";

/** A request to send. */
export interface Outgoing {
  readonly url: URL;
  readonly method: string;
  readonly headers: Headers;
  readonly origin: string;
  /** The body. Bytes are sent with a Content-Length, a stream is sent in chunks. */
  readonly body: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> | undefined;
  readonly signal: AbortSignal;
}

/** Bytes of a body that wait for their reader, or for the engine. Beyond it the writer waits. */
const BODY_BYTES = 65536;

const encoder = new TextEncoder();

/** Returns the head of a request (RFC 9112 3), with the fields that a browser adds. */
function headOf({ url, method, headers, origin, body }: Outgoing): string {
  const lines = [`${method} ${url.pathname}${url.search} HTTP/1.1`, `Host: ${url.host}`];
  lines.push("Connection: keep-alive", `User-Agent: ${navigator.userAgent}`);
  if (!headers.has("accept")) lines.push("Accept: */*");
  if (method !== "GET" && method !== "HEAD") lines.push(`Origin: ${origin}`);
  if (body instanceof Uint8Array) lines.push(`Content-Length: ${body.length}`);
  else if (body) lines.push("Transfer-Encoding: chunked");
  else if (method === "POST" || method === "PUT") lines.push("Content-Length: 0");
  headers.forEach((value, name) => {
    lines.push(`${name}: ${value}`);
  });
  return `${lines.join("\r\n")}\r\n\r\n`;
}

/** Encodes text of Latin-1 characters, such as header values, as bytes. */
function latin1(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text, (c) => c.charCodeAt(0));
}

/** Encodes a chunk of a body (RFC 9112 7.1). */
function chunkOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const head = encoder.encode(`${bytes.length.toString(16)}\r\n`);
  const chunk = new Uint8Array(head.length + bytes.length + 2);
  chunk.set(head);
  chunk.set(bytes, head.length);
  chunk.set([13, 10], head.length + bytes.length);
  return chunk;
}

/** Returns the TypeError with which fetch reports an error. */
function failure(cause: unknown): TypeError {
  return new TypeError("Failed to fetch", { cause });
}

export class Exchange implements LineUser, AnswerUser {
  /** The response, whose body is still arriving. */
  readonly answer: Promise<Response>;
  readonly #out: Outgoing;
  readonly #line: Line;
  /** Called at the end when the line can serve another request. */
  readonly #free: (line: Line) => void;
  readonly #reader: AnswerReader;
  #resolve: (response: Response) => void = () => undefined;
  #reject: (error: unknown) => void = () => undefined;
  #body: ReadableByteStreamController | undefined;
  /** Bytes received that were not acknowledged. */
  #pendingBytes = 0;
  /** The error or the reason of the abort. */
  failure: unknown;
  #isSent = false;
  #isOver = false;
  /** Bytes written that the engine has not received. */
  #underWay = 0;
  #roomy: (() => void) | undefined;
  #upload: ReadableStreamDefaultReader<Uint8Array> | undefined;

  constructor(out: Outgoing, line: Line, free: (line: Line) => void) {
    this.#out = out;
    this.#line = line;
    this.#free = free;
    this.#reader = new AnswerReader(out.method, this);
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    line.user = this;
    out.signal.addEventListener("abort", this.#abort);
    this.#write(latin1(headOf(out)));
    this.#send().catch((error: unknown) => this.#fail(failure(error)));
  }

  /** True until the response's first byte. A connection that was idle may have ended meanwhile. */
  get isUntouched(): boolean {
    return !this.#reader.isBegun;
  }

  #write(bytes: Uint8Array<ArrayBuffer>): void {
    this.#underWay += bytes.length;
    this.#line.write(bytes);
  }

  async #send(): Promise<void> {
    const { body } = this.#out;
    if (body instanceof Uint8Array) this.#write(body.slice());
    else if (body) await this.#sendStream(body);
    this.#isSent = true;
    if (this.#reader.isDone) this.#release();
  }

  /** Sends a streamed body as fast as the engine takes it. */
  async #sendStream(body: ReadableStream<Uint8Array>): Promise<void> {
    const reader = body.getReader();
    this.#upload = reader;
    for (;;) {
      const { done, value } = await reader.read();
      if (this.#isOver) return;
      if (done) break;
      if (!(value instanceof Uint8Array)) throw new TypeError("the body's pieces are not bytes");
      if (value.length > 0) this.#write(chunkOf(value));
      while (this.#underWay > BODY_BYTES && !this.#isOver) {
        await new Promise<void>((resolve) => {
          this.#roomy = resolve;
        });
      }
    }
    this.#write(encoder.encode("0\r\n\r\n"));
  }

  sent(n: number): void {
    this.#underWay -= n;
    this.#wake();
  }

  #wake(): void {
    const roomy = this.#roomy;
    this.#roomy = undefined;
    roomy?.();
  }

  read(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.#isOver) return;
    this.#pendingBytes += bytes.length;
    try {
      const read = this.#reader.push(bytes);
      if (read < bytes.length) throw new Error("bytes arrived after the response");
      this.#pull();
    } catch (error) {
      this.#fail(failure(error));
    }
  }

  /** Acknowledges bytes when the body's reader has room, so that more arrive. */
  #pull(): void {
    const room = this.#body?.desiredSize;
    if (this.#pendingBytes === 0 || (typeof room === "number" && room <= 0)) return;
    this.#line.take(this.#pendingBytes);
    this.#pendingBytes = 0;
  }

  over(end: LineEnd): void {
    if (this.#isOver) return;
    try {
      if (end === "reset") throw new Error("the connection was reset");
      this.#line.end();
      this.#reader.close();
    } catch (error) {
      this.#fail(failure(error));
    }
  }

  head({ status, reason, fields }: AnswerHead): void {
    if (status < 200) throw new Error(`the response is ${status}`);
    const bare = this.#out.method === "HEAD" || status === 204 || status === 205 || status === 304;
    const body = bare
      ? null
      : new ReadableStream(
          {
            type: "bytes",
            start: (controller) => {
              this.#body = controller;
            },
            pull: () => this.#pull(),
            cancel: () => this.#stop(),
          },
          { highWaterMark: BODY_BYTES },
        );
    const init = {
      status,
      statusText: reason,
      headers: fields.map(([name, value]) => [name, value]),
    };
    this.#resolve(new Response(body, init as ResponseInit));
  }

  data(bytes: Uint8Array<ArrayBuffer>): void {
    // A copy, because its memory is transferred to the reader.
    this.#body?.enqueue(bytes.slice());
  }

  end(): void {
    const body = this.#body;
    if (body) {
      body.close();
      // A pending read with a buffer of its own ends with 0 bytes.
      body.byobRequest?.respond(0);
    }
    if (this.#pendingBytes > 0 && !this.#isOver) this.#line.take(this.#pendingBytes);
    this.#pendingBytes = 0;
    if (this.#isSent) this.#release();
    else if (!this.#reader.isReusable) this.#stop();
  }

  /** Ends a complete exchange. */
  #release(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#out.signal.removeEventListener("abort", this.#abort);
    if (this.#reader.isReusable && !this.#line.isOver) this.#free(this.#line);
    else this.#line.end();
  }

  /** Stops an exchange whose rest is unwanted. */
  #stop(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#out.signal.removeEventListener("abort", this.#abort);
    this.#line.reset();
    this.#wake();
    this.#upload?.cancel().catch(() => undefined);
  }

  #fail(error: unknown): void {
    if (this.#isOver) return;
    this.failure = error;
    this.#stop();
    this.#reject(error);
    if (!this.#reader.isDone) this.#body?.error(error);
  }

  readonly #abort = (): void => this.#fail(this.#out.signal.reason);
}
