// One request and its answer over a connection within the page: HTTP/1.1 bytes out, a Response in.
//
// Invariant: the engine sends no more than the reader of the body takes and the channel holds. It ends once: with
// the answer's end, with an error, or aborted; what it had of the connection is let go of then.

import { type AnswerHead, AnswerReader, type AnswerUser } from "../codec/response";
import type { Line, LineEnd, LineUser } from "./line";

/** What goes out. */
export interface Outgoing {
  readonly url: URL;
  readonly method: string;
  readonly headers: Headers;
  readonly origin: string;
  /** Bytes have a Content-Length; a stream is chunked. */
  readonly body: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> | undefined;
  readonly signal: AbortSignal;
}

/** What a body may have waiting for its reader, in bytes. */
const BODY_BYTES = 65536;

const encoder = new TextEncoder();

/** The head of a request (RFC 9112 3), with the fields that a browser adds. */
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

/** A text of Latin-1 characters, as header values are, in bytes. */
function latin1(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text, (c) => c.charCodeAt(0));
}

/** A chunk of a body (RFC 9112 7.1). */
function chunkOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const head = encoder.encode(`${bytes.length.toString(16)}\r\n`);
  const chunk = new Uint8Array(head.length + bytes.length + 2);
  chunk.set(head);
  chunk.set(bytes, head.length);
  chunk.set([13, 10], head.length + bytes.length);
  return chunk;
}

/** An error as fetch tells it. */
function failure(cause: unknown): TypeError {
  return new TypeError("Failed to fetch", { cause });
}

export class Exchange implements LineUser, AnswerUser {
  /** The answer, its body still to come. */
  readonly answer: Promise<Response>;
  readonly #out: Outgoing;
  readonly #line: Line;
  /** Told at the end: the line can serve another request. */
  readonly #free: (line: Line) => void;
  readonly #reader: AnswerReader;
  #resolve: (response: Response) => void = () => undefined;
  #reject: (error: unknown) => void = () => undefined;
  #body: ReadableByteStreamController | undefined;
  /** Bytes that came and were not reported as taken. */
  #owed = 0;
  /** What it failed with, or was aborted for. */
  failure: unknown;
  #isSent = false;
  #isOver = false;
  /** Bytes written and not taken in by the engine. */
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

  /** Not a byte of an answer has come: a connection that had been idle may have ended meanwhile. */
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
    if (this.#reader.isDone) this.#letGo();
  }

  /** A streamed body, as fast as the engine takes it. */
  async #sendStream(body: ReadableStream<Uint8Array>): Promise<void> {
    const reader = body.getReader();
    this.#upload = reader;
    for (;;) {
      const { done, value } = await reader.read();
      if (this.#isOver) return;
      if (done) break;
      if (!(value instanceof Uint8Array)) throw new TypeError("the body's pieces are no bytes");
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
    this.#owed += bytes.length;
    try {
      const read = this.#reader.push(bytes);
      if (read < bytes.length) throw new Error("bytes came behind the answer");
      this.#pull();
    } catch (error) {
      this.#fail(failure(error));
    }
  }

  /** Reports what the reader of the body has room for, so that more comes. */
  #pull(): void {
    const room = this.#body?.desiredSize;
    if (this.#owed === 0 || (typeof room === "number" && room <= 0)) return;
    this.#line.take(this.#owed);
    this.#owed = 0;
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
    if (status < 200) throw new Error(`the answer is ${status}`);
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
    // Its memory becomes the reader's.
    this.#body?.enqueue(bytes.slice());
  }

  end(): void {
    const body = this.#body;
    if (body) {
      body.close();
      // One who waits with a view of his own.
      body.byobRequest?.respond(0);
    }
    if (this.#owed > 0 && !this.#isOver) this.#line.take(this.#owed);
    this.#owed = 0;
    if (this.#isSent) this.#letGo();
    else if (!this.#reader.isReusable) this.#stop();
  }

  /** The exchange is complete. */
  #letGo(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#out.signal.removeEventListener("abort", this.#abort);
    if (this.#reader.isReusable && !this.#line.isOver) this.#free(this.#line);
    else this.#line.end();
  }

  /** Nobody wants the rest. */
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
