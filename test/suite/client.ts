// An HTTP client down to its bytes: it keeps what arrives and takes answers apart, strictly.

import { type Bytes, bytesOf, concat, find, latin1Of, octetsOf } from "./bytes";
import { fieldsOf, serverResponse } from "../lib/response";
import type { RawClient } from "./platform";

interface Answer {
  readonly status: number;
  readonly head: string;
  /** By lower-case name; several of one name are joined by ", ". */
  readonly fields: ReadonlyMap<string, string>;
  readonly body: Uint8Array;
}

/** Returns a request's octets. @param fields lines, each with its CR LF */
export function get(target: string, fields = "", method = "GET"): string {
  return `${method} ${target} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`;
}

/** Returns a POST with a Content-Length and its body. */
export function post(target: string, body: Bytes, fields = ""): Uint8Array {
  const bytes = bytesOf(body);
  const head = get(target, `Content-Length: ${bytes.length}\r\n${fields}`, "POST");
  return concat([octetsOf(head), bytes]);
}

/** Returns a body in chunks of these sizes, the last size again and again; ends with `trailer`. */
export function chunked(body: Uint8Array, sizes: readonly number[], trailer = ""): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let at = 0, i = 0; at < body.length; i++) {
    const size = sizes[Math.min(i, sizes.length - 1)] as number;
    const piece = body.subarray(at, at + size);
    parts.push(octetsOf(`${piece.length.toString(16)}\r\n`), piece, octetsOf("\r\n"));
    at += size;
  }
  return concat([...parts, octetsOf(`0\r\n${trailer}\r\n`)]);
}

export class Wire {
  readonly client: RawClient;
  #parts: Uint8Array[] = [];
  #length = 0;

  constructor(client: RawClient) {
    this.client = client;
  }

  /** Text is sent as octets, one for each character. */
  send(data: Bytes): this {
    this.client.send(typeof data === "string" ? octetsOf(data) : data);
    return this;
  }

  end(): this {
    this.client.end();
    return this;
  }

  reset(): void {
    this.client.reset();
  }

  /** Bytes that are here and were not taken. */
  get length(): number {
    return this.#length;
  }

  #all(): Uint8Array {
    if (this.#parts.length !== 1) this.#parts = [concat(this.#parts)];
    return this.#parts[0] as Uint8Array;
  }

  /** Reads once; false at the end. */
  async more(): Promise<boolean> {
    const bytes = await this.client.read();
    if (!bytes) return false;
    this.#parts.push(bytes);
    this.#length += bytes.length;
    return true;
  }

  #cut(n: number): Uint8Array {
    const all = this.#all();
    this.#parts = [all.subarray(n)];
    this.#length -= n;
    return all.subarray(0, n);
  }

  /** Takes `n` bytes. @throws Error when it ends before */
  async take(n: number): Promise<Uint8Array> {
    while (this.#length < n) {
      if (!(await this.more()))
        throw new Error(`${this.client.ended} after ${this.#length} of ${n} bytes`);
    }
    return this.#cut(n);
  }

  /** Takes all up to and with `mark`, of octets. @throws Error when it ends before */
  async takeThrough(mark: string): Promise<string> {
    for (;;) {
      const at = find(this.#all(), octetsOf(mark));
      if (at >= 0) return latin1Of(this.#cut(at + mark.length));
      if (await this.more()) continue;
      const rest = JSON.stringify(latin1Of(this.#all()).slice(0, 200));
      throw new Error(`${this.client.ended} before ${JSON.stringify(mark)}, after ${rest}`);
    }
  }

  /** Takes what is here. */
  takeHere(): Uint8Array {
    return this.#cut(this.#length);
  }

  /** Takes all up to the end of the stream. */
  async takeAll(): Promise<Uint8Array> {
    while (await this.more());
    return this.takeHere();
  }

  /** Takes one answer; of one to HEAD, 1xx, 204 and 304 no body. */
  async answer(method = "GET"): Promise<Answer> {
    for (let ended = false; ; ) {
      const found = serverResponse(this.#all(), 0, { method, ended });
      if (typeof found !== "number") {
        const { status, head, body, size } = found;
        this.#cut(size);
        return { status, head, fields: fieldsOf(found), body };
      }
      while (!ended && this.#length < found) ended = !(await this.more());
    }
  }

  /** Sends a request, takes its answer. */
  async ask(request: Bytes): Promise<Answer> {
    return this.send(request).answer();
  }
}
