// The oracle of all clients in the tests: responses as a server must send them (RFC 9112), written from the RFC, apart
// from the code under test and without regard to speed. It runs in pages, too, so it imports nothing.
//
// Invariant: octets that no server may send are an error, at the first of them that shows it.

/** The head of a response. */
export interface ResponseHead {
  readonly status: number;
  readonly phrase: string;
  /** In the order of arrival, as they were spelled. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  /** The head as text of octets, with its empty line. */
  readonly head: string;
}

export interface ServerResponse<Octets extends Uint8Array = Uint8Array> extends ResponseHead {
  /** The body without the framing of chunks: a view of the octets that were given, or a copy of its chunks. */
  readonly body: Octets | Uint8Array<ArrayBuffer>;
  /** Octets of the response. */
  readonly size: number;
}

export interface ResponseOptions {
  /** The method of the request; GET when left out. */
  readonly method?: string | undefined;
  /** The server has ended its side, so that nothing follows. */
  readonly ended?: boolean;
}

const STATUS_LINE = /^HTTP\/1\.1 ([1-5]\d\d) ([\t\x20-\x7e\x80-\xff]*)$/;
const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([\t\x20-\x7e\x80-\xff]*)$/;

/** Returns a text with one character for each octet. */
function textOf(bytes: Uint8Array, from: number, to: number): string {
  let text = "";
  for (let at = from; at < to; at += 8192)
    text += String.fromCharCode(...bytes.subarray(at, Math.min(to, at + 8192)));
  return text;
}

/** Returns the end of a head; -1 while it is not whole. */
function headEnd(bytes: Uint8Array, from: number): number {
  for (let at = bytes.indexOf(10, from + 3); at >= 0; at = bytes.indexOf(10, at + 1))
    if (bytes[at - 1] === 13 && bytes[at - 2] === 10 && bytes[at - 3] === 13) return at + 1;
  return -1;
}

/**
 * Reads the head of a response.
 * @param from where it begins
 * @returns the head; undefined while it is not whole
 * @throws Error for octets that begin no response
 */
export function responseHead(bytes: Uint8Array, from = 0): ResponseHead | undefined {
  const end = headEnd(bytes, from);
  if (end < 0) return undefined;
  const head = textOf(bytes, from, end);
  const [line = "", ...lines] = head.slice(0, -4).split("\r\n");
  const [, code, phrase = ""] = STATUS_LINE.exec(line) ?? [];
  if (code === undefined) throw new Error(`not a status line: ${JSON.stringify(line)}`);
  const fields = lines.map((field): [string, string] => {
    const [, name, value] = FIELD.exec(field) ?? [];
    if (name === undefined || value === undefined)
      throw new Error(`not a field: ${JSON.stringify(field)}`);
    return [name, value];
  });
  return { status: Number(code), phrase, fields, head };
}

/** Returns the values of a field. @param name in lower case */
function valuesOf({ fields }: Pick<ResponseHead, "fields">, name: string): string[] {
  return fields.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value);
}

/** Returns the value of a field; undefined when it is missing, a list when it is repeated. @param name in lower case */
export function fieldOf(head: Pick<ResponseHead, "fields">, name: string): string | undefined {
  const values = valuesOf(head, name);
  return values.length === 0 ? undefined : values.join(", ");
}

/** Returns the fields by lower-case name; several of one name are joined by ", ". */
export function fieldsOf({ fields }: Pick<ResponseHead, "fields">): Map<string, string> {
  const found = new Map<string, string>();
  for (const [key, value] of fields) {
    const name = key.toLowerCase();
    const before = found.get(name);
    found.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  return found;
}

/** Reads a chunked body. @returns its parts; while it is not whole, the fewest octets that `bytes` must have */
function chunks(bytes: Uint8Array, from: number): { parts: Uint8Array[]; end: number } | number {
  const parts: Uint8Array[] = [];
  for (let at = from; ; ) {
    const end = bytes.indexOf(10, at);
    if (end < 0) return bytes.length + 1;
    const line = textOf(bytes, at, end);
    const [, size] = /^([0-9a-fA-F]+)\r$/.exec(line) ?? [];
    if (size === undefined) throw new Error(`not a chunk: ${JSON.stringify(line)}`);
    const length = Number.parseInt(size, 16);
    at = end + 1 + length;
    if (bytes.length < at + 2) return at + 2;
    if (bytes[at] !== 13 || bytes[at + 1] !== 10)
      throw new Error(`a chunk of ${length} octets has no end`);
    if (length === 0) return { parts, end: at + 2 };
    parts.push(bytes.subarray(end + 1, at));
    at += 2;
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/**
 * Reads a response.
 * @param from where it begins
 * @returns the response; while it is not whole, the octets after `from` that it needs at least
 * @throws Error for octets that are no response, and for one that is cut by the end
 */
export function serverResponse<Octets extends Uint8Array>(
  bytes: Octets,
  from = 0,
  { method = "GET", ended = false }: ResponseOptions = {},
): ServerResponse<Octets> | number {
  const needs = (size: number): number => {
    if (ended) throw new Error(`a response is cut: ${bytes.length - from} of ${size} octets`);
    return size;
  };
  const head = responseHead(bytes, from);
  if (!head) return needs(bytes.length - from + 1);
  const { status } = head;
  const begin = from + head.head.length;
  const whole = (body: Octets | Uint8Array<ArrayBuffer>, end: number): ServerResponse<Octets> => {
    return { ...head, body, size: end - from };
  };
  const part = (end: number): Octets => bytes.subarray(begin, end) as Octets;
  const lengths = valuesOf(head, "content-length");
  const coding = fieldOf(head, "transfer-encoding");
  if (lengths.length + (coding === undefined ? 0 : 1) > 1)
    throw new Error(`a response with several lengths: ${JSON.stringify(head.head)}`);
  if (coding !== undefined && coding !== "chunked") throw new Error(`not a coding: ${coding}`);
  const [length] = lengths;
  if (length !== undefined && !/^\d+$/.test(length)) throw new Error(`not a length: ${length}`);
  const isBare = status < 200 || status === 204;
  if (isBare && (length ?? coding) !== undefined)
    throw new Error(`a ${status} with a length: ${JSON.stringify(head.head)}`);
  // RFC 9112 6.3.
  if (method === "HEAD" || isBare || status === 304) return whole(part(begin), begin);
  if (coding !== undefined) {
    const found = chunks(bytes, begin);
    return typeof found === "number" ? needs(found - from) : whole(joined(found.parts), found.end);
  }
  if (length === undefined && !ended) return bytes.length - from + 1;
  const end = length === undefined ? bytes.length : begin + Number(length);
  return bytes.length < end ? needs(end - from) : whole(part(end), end);
}

/**
 * Parses all responses of a connection that has ended, as text of octets.
 * @param heads which of the responses are to HEAD, by index
 * @throws Error at the first octet that does not belong
 */
export function responsesOf(text: string, heads: readonly number[] = []): TextResponse[] {
  const bytes = Uint8Array.from(text, (octet) => octet.charCodeAt(0));
  const found: TextResponse[] = [];
  for (let at = 0; at < bytes.length; ) {
    const method = heads.includes(found.length) ? "HEAD" : "GET";
    const one = serverResponse(bytes, at, { method, ended: true }) as ServerResponse;
    found.push({ ...one, body: textOf(one.body, 0, one.body.length) });
    at += one.size;
  }
  return found;
}

export interface TextResponse extends ResponseHead {
  readonly body: string;
}
