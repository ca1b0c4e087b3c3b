// Answers as a client reads them out of its bytes (RFC 9112), strictly, however they are cut.
//
// Invariant: bytes are looked at once; of what is not a whole line or body yet at most that is kept.

import { copyBytes, latin1 } from "../text";

/** One answer, whole. */
export interface TestAnswer {
  /** Its status. */
  readonly status: number;
  /** The reason phrase. */
  readonly phrase: string;
  /** Fields in the order they came, as they were spelled. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  /** Its body, of chunks without their framing. */
  readonly body: Uint8Array;
}

/** The value of a field by its case-insensitive name; several are joined by ", ". */
export function fieldOf(answer: Pick<TestAnswer, "fields">, name: string): string | undefined {
  const wanted = name.toLowerCase();
  const values = answer.fields.filter(([key]) => key.toLowerCase() === wanted).map(([, v]) => v);
  return values.length === 0 ? undefined : values.join(", ");
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0] as Uint8Array;
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

type Head = Omit<TestAnswer, "body">;
type State = "head" | "length" | "size" | "data" | "line" | "trailer" | "stream" | "upgraded";

function parseHead(text: string): Head {
  const [line = "", ...rest] = text.split("\r\n");
  const found = /^HTTP\/1\.1 ([1-5]\d\d) ([\t\x20-\x7e\x80-\xff]*)$/.exec(line);
  if (!found) throw new Error(`the server sent ${JSON.stringify(line)} for a status line`);
  const fields = rest.map((field): [string, string] => {
    const parts = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t ]*([\t\x20-\x7e\x80-\xff]*?)[\t ]*$/.exec(
      field,
    );
    if (!parts) throw new Error(`the server sent ${JSON.stringify(field)} for a field`);
    return [parts[1] as string, parts[2] as string];
  });
  return { status: Number(found[1]), phrase: found[2] as string, fields };
}

/** Where CR LF (and CR LF again, for a head) ends; -1 when it is not there. */
function endOf(bytes: Uint8Array, mark: readonly number[]): number {
  for (let at = bytes.indexOf(13); at >= 0; at = bytes.indexOf(13, at + 1)) {
    if (mark.every((byte, i) => bytes[at + i] === byte)) return at;
  }
  return -1;
}

const LINE = [13, 10] as const;
const HEAD = [13, 10, 13, 10] as const;

export class AnswerReader {
  /** Answers that are whole. */
  readonly answers: TestAnswer[] = [];
  /** The head of the one that is not. */
  head: Head | undefined;
  /** What came behind a 101. */
  rest: Uint8Array = new Uint8Array(0);
  readonly #methods: string[];
  #state: State = "head";
  #body: Uint8Array[] = [];
  #left = 0;

  /** @param methods of the requests that are answered, in their order; GET for those that are not named */
  constructor(methods: readonly string[] = []) {
    this.#methods = [...methods];
  }

  get isUpgraded(): boolean {
    return this.#state === "upgraded";
  }

  /** True between two answers. */
  get isBetween(): boolean {
    return this.#state === "head" && this.rest.length === 0;
  }

  /** Takes bytes in. @throws Error at the first that does not belong */
  push(bytes: Uint8Array): void {
    this.rest = this.rest.length === 0 ? bytes : concat([this.rest, bytes]);
    while (this.#step());
  }

  /** The server's side has ended: @throws Error within an answer */
  end(): void {
    if (this.#state === "stream") this.#finish();
    else if (!this.isBetween && !this.isUpgraded) throw new Error("the answer broke off");
  }

  #take(n: number): Uint8Array {
    const taken = this.rest.subarray(0, n);
    this.rest = this.rest.subarray(n);
    return taken;
  }

  #takeLine(): string | undefined {
    const end = endOf(this.rest, LINE);
    if (end < 0) return undefined;
    const line = latin1(this.rest, 0, end);
    this.#take(end + 2);
    return line;
  }

  /** Goes on by one part; false when more bytes are needed. */
  #step(): boolean {
    switch (this.#state) {
      case "head":
        return this.#readHead();
      case "size":
        return this.#readSize();
      case "line":
        if (this.#takeLine() === undefined) return false;
        this.#state = "size";
        return true;
      case "trailer": {
        const line = this.#takeLine();
        if (line === "") this.#finish();
        return line !== undefined;
      }
      case "upgraded":
        return false;
      default:
        return this.#readData();
    }
  }

  #readHead(): boolean {
    const end = endOf(this.rest, HEAD);
    if (end < 0) return false;
    const head = parseHead(latin1(this.rest, 0, end));
    this.#take(end + 4);
    // 100 (Continue) is no answer.
    if (head.status < 200 && head.status !== 101) return true;
    this.head = head;
    const isHead = this.#methods.shift() === "HEAD";
    if (head.status === 101) {
      this.answers.push({ ...head, body: new Uint8Array(0) });
      this.#state = "upgraded";
    } else if (isHead || head.status === 204 || head.status === 304) {
      this.#finish();
    } else if (fieldOf(head, "transfer-encoding") === "chunked") {
      this.#state = "size";
    } else {
      const length = fieldOf(head, "content-length");
      this.#left = length === undefined ? Number.POSITIVE_INFINITY : Number(length);
      this.#state = length === undefined ? "stream" : "length";
      if (this.#left === 0) this.#finish();
    }
    return true;
  }

  #readSize(): boolean {
    const line = this.#takeLine();
    if (line === undefined) return false;
    if (!/^[0-9a-f]+$/i.test(line)) throw new Error(`the server sent ${line} for a chunk's size`);
    this.#left = Number.parseInt(line, 16);
    this.#state = this.#left === 0 ? "trailer" : "data";
    return true;
  }

  #readData(): boolean {
    if (this.rest.length === 0) return false;
    const part = this.#take(Math.min(this.#left, this.rest.length));
    this.#body.push(part);
    this.#left -= part.length;
    if (this.#left > 0) return true;
    if (this.#state === "data") this.#state = "line";
    else this.#finish();
    return true;
  }

  #finish(): void {
    const body = concat(this.#body);
    this.answers.push({ ...(this.head as Head), body: copyBytes(body, 0, body.length) });
    this.head = undefined;
    this.#body = [];
    this.#state = "head";
  }
}
