// Parses responses from the bytes of a connection (RFC 9112). It is strict, because in a test each deviation is a
// finding.
//
// Invariant: each byte is parsed once, and `data` gets views of the bytes that were pushed. After an error, or the end
// of a response, nothing more is read.

import { TOKEN_CHARS } from "../shared/text/token";

/** A header field as it arrived. */
type AnswerField = readonly [name: string, value: string];

export interface AnswerHead {
  readonly status: number;
  readonly reason: string;
  readonly fields: readonly AnswerField[];
}

export interface AnswerUser {
  head(head: AnswerHead): void;
  data(bytes: Uint8Array<ArrayBuffer>): void;
  end(): void;
}

/** An error of a response against the protocol. */
export class AnswerError extends Error {
  override readonly name = "AnswerError";
}

const HEAD_LIMIT = 262144;
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-5]\d\d) ([\t\x20-\x7e\x80-\xff]*)$/;
const VALUE = String.raw`|[!-~\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[!-~\x80-\xff])?`;
const FIELD = new RegExp(`^(${TOKEN_CHARS}+):[\\t ]*(${VALUE})[\\t ]*$`);

type State =
  | "head"
  | "length"
  | "chunk-head"
  | "chunk"
  | "chunk-end"
  | "trailer"
  | "close"
  | "done";

/** Returns the values of a field, joined by ", ". @param name in lower case */
export function fieldOf(fields: readonly AnswerField[], name: string): string | undefined {
  const values = fields.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value);
  return values.length === 0 ? undefined : values.join(", ");
}

function parseField(line: string): AnswerField {
  const [, name, value] = FIELD.exec(line) ?? [];
  if (name === undefined || value === undefined)
    throw new AnswerError(`${JSON.stringify(line)} is not a header field`);
  return [name, value];
}

export class AnswerReader {
  readonly #user: AnswerUser;
  /** True when the response has no body because it answers HEAD. */
  readonly #bodiless: boolean;
  #state: State = "head";
  /** The incomplete line so far. */
  #line = "";
  #lines: string[] = [];
  #headBytes = 0;
  #left = 0;
  /** True when the connection can serve another request after this response. */
  isReusable = false;

  /** @param method the request's method */
  constructor(method: string, user: AnswerUser) {
    this.#user = user;
    this.#bodiless = method === "HEAD";
  }

  get isDone(): boolean {
    return this.#state === "done";
  }

  get isBegun(): boolean {
    return this.#state !== "head" || this.#headBytes > 0;
  }

  /**
   * Reads bytes.
   * @returns the number of bytes read; fewer than given when the response ended
   * @throws AnswerError
   */
  push(bytes: Uint8Array<ArrayBuffer>): number {
    let at = 0;
    while (at < bytes.length && this.#state !== "done") at = this.#step(bytes, at);
    return at;
  }

  /** Notes the end of the connection. @throws AnswerError when the response is incomplete */
  close(): void {
    if (this.#state === "done") return;
    if (this.#state !== "close") throw new AnswerError("the connection ended within a response");
    this.#finish();
  }

  #finish(): void {
    this.#state = "done";
    this.#user.end();
  }

  #step(bytes: Uint8Array<ArrayBuffer>, at: number): number {
    switch (this.#state) {
      case "length":
      case "chunk":
        return this.#readCounted(bytes, at);
      case "close":
        this.#user.data(bytes.subarray(at));
        return bytes.length;
      default:
        return this.#readLine(bytes, at);
    }
  }

  #readCounted(bytes: Uint8Array<ArrayBuffer>, at: number): number {
    const end = Math.min(bytes.length, at + this.#left);
    this.#left -= end - at;
    this.#user.data(bytes.subarray(at, end));
    if (this.#left > 0) return end;
    if (this.#state === "length") this.#finish();
    else this.#state = "chunk-end";
    return end;
  }

  #readLine(bytes: Uint8Array<ArrayBuffer>, at: number): number {
    const feed = bytes.indexOf(10, at);
    const end = feed < 0 ? bytes.length : feed + 1;
    this.#headBytes += end - at;
    if (this.#headBytes > HEAD_LIMIT) throw new AnswerError("the head is too large");
    let text = this.#line;
    for (let i = at; i < end; i++) text += String.fromCharCode(bytes[i] as number);
    this.#line = text;
    if (feed < 0) return end;
    if (!text.endsWith("\r\n")) throw new AnswerError("a line does not end in CR LF");
    this.#line = "";
    this.#takeLine(text.slice(0, -2));
    return end;
  }

  #takeLine(line: string): void {
    switch (this.#state) {
      case "head":
        if (line !== "") this.#lines.push(line);
        else this.#takeHead();
        break;
      case "chunk-head": {
        const [, size] = /^([0-9A-Fa-f]{1,13})(?:[\t ]*;.*)?$/.exec(line) ?? [];
        if (size === undefined)
          throw new AnswerError(`${JSON.stringify(line)} is not a chunk size`);
        this.#left = Number.parseInt(size, 16);
        this.#headBytes = 0;
        this.#state = this.#left > 0 ? "chunk" : "trailer";
        break;
      }
      case "chunk-end":
        if (line !== "") throw new AnswerError("a chunk is longer than its size");
        this.#state = "chunk-head";
        break;
      default:
        if (line === "") this.#finish();
        else parseField(line);
        break;
    }
  }

  #takeHead(): void {
    const [first = "", ...rest] = this.#lines;
    const [, minor, code, reason = ""] = STATUS_LINE.exec(first) ?? [];
    if (code === undefined) throw new AnswerError(`${JSON.stringify(first)} is not a status line`);
    const status = Number(code);
    const fields = rest.map(parseField);
    this.#lines = [];
    this.#headBytes = 0;
    // Interim responses are skipped, except 101, which is the last response of a connection.
    if (status < 200 && status !== 101) return;
    const options = (fieldOf(fields, "connection") ?? "").toLowerCase().split(/[\t ]*,[\t ]*/);
    const persists = minor === "1" && !options.includes("close");
    const state = this.#framing(status, fields);
    this.isReusable = persists && state !== "close" && status !== 101;
    this.#user.head({ status, reason, fields });
    if (state === "done") this.#finish();
    else this.#state = state;
  }

  /** Returns the state for the body's framing (RFC 9112 6.3). */
  #framing(status: number, fields: readonly AnswerField[]): State {
    const length = fieldOf(fields, "content-length");
    const coding = fieldOf(fields, "transfer-encoding");
    const bare = status < 200 || status === 204;
    if (bare && (length !== undefined || coding !== undefined))
      throw new AnswerError(`a response with ${status} has fields of a body`);
    if (length !== undefined && coding !== undefined)
      throw new AnswerError("both Content-Length and Transfer-Encoding are present");
    if (length !== undefined && !/^\d{1,15}$/.test(length))
      throw new AnswerError(`${JSON.stringify(length)} is not a Content-Length`);
    if (coding !== undefined && coding.toLowerCase() !== "chunked")
      throw new AnswerError(`${JSON.stringify(coding)} is not a known Transfer-Encoding`);
    if (bare || this.#bodiless || status === 304) return "done";
    if (coding !== undefined) return "chunk-head";
    if (length === undefined) return "close";
    this.#left = Number(length);
    return this.#left === 0 ? "done" : "length";
  }
}
