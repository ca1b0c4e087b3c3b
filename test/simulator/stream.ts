// Parses a client's bytes strictly: responses and frames, each as soon as it is whole. It refuses octets that no server
// may send. Written from RFC 9112 and RFC 6455, without regard to speed.

import { latin1, utf8 } from "../../host/shared/text/text";
import { serverFrame } from "../lib/server-frame";

/** An answer that has arrived. */
export interface Arrived {
  readonly status: number;
  readonly phrase: string;
  readonly fields: ReadonlyMap<string, string>;
  readonly body: string;
  /** All of it, as it arrived. */
  readonly bytes: Uint8Array;
}

function headEnd(bytes: Uint8Array): number {
  for (let i = 3; i < bytes.length; i++) {
    if (bytes[i] === 10 && bytes[i - 1] === 13 && bytes[i - 2] === 10 && bytes[i - 3] === 13)
      return i + 1;
  }
  return -1;
}

function fieldsOf(lines: readonly string[]): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of lines) {
    const parts = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([\t\x20-\x7e]*)$/.exec(line);
    if (!parts) throw new Error(`not a field: ${JSON.stringify(line)}`);
    const name = (parts[1] as string).toLowerCase();
    if (fields.has(name)) throw new Error(`${name} is repeated`);
    fields.set(name, parts[2] as string);
  }
  return fields;
}

/** Returns a chunked body from `at` on; undefined while it is not whole. */
function chunked(bytes: Uint8Array, at: number): { text: string; end: number } | undefined {
  let text = "";
  for (let from = at; ; ) {
    const line = bytes.indexOf(10, from);
    if (line < 0) return undefined;
    const size = /^([0-9a-f]+)\r$/.exec(latin1(bytes, from, line - from));
    if (!size) throw new Error(`not a chunk: ${JSON.stringify(latin1(bytes, from, line - from))}`);
    const length = Number.parseInt(size[1] as string, 16);
    const end = line + 1 + length;
    if (bytes.length < end + 2) return undefined;
    if (bytes[end] !== 13 || bytes[end + 1] !== 10) throw new Error("a chunk has no end");
    if (length === 0) return { text, end: end + 2 };
    text += utf8(bytes, line + 1, length);
    from = end + 2;
  }
}

/**
 * Returns the response at the front of a stream, or the fewest bytes that it needs to be whole.
 * @param isHead it has no body, whatever its fields say @param ended the stream has ended
 * @throws Error for octets that are no response
 */
export function takeAnswer(bytes: Uint8Array, isHead: boolean, ended: boolean): Arrived | number {
  const at = headEnd(bytes);
  if (at < 0) return bytes.length + 1;
  const [first = "", ...lines] = latin1(bytes, 0, at - 4).split("\r\n");
  const [, code, phrase = ""] = /^HTTP\/1\.1 ([1-5]\d\d) ([\x20-\x7e]*)$/.exec(first) ?? [];
  if (!code) throw new Error(`not an answer: ${JSON.stringify(first)}`);
  const status = Number(code);
  const fields = fieldsOf(lines);
  const whole = (body: string, end: number): Arrived => {
    return { status, phrase, fields, body, bytes: new Uint8Array(bytes.subarray(0, end)) };
  };
  if (isHead || status < 200 || status === 204 || status === 304) return whole("", at);
  if (fields.has("transfer-encoding")) {
    if (fields.has("content-length")) throw new Error("an answer with two lengths");
    const body = chunked(bytes, at);
    return body ? whole(body.text, body.end) : bytes.length + 1;
  }
  const told = fields.get("content-length");
  if (told === undefined && !ended) return bytes.length + 1;
  const length = told === undefined ? bytes.length - at : Number(told);
  if (bytes.length < at + length) return at + length;
  return whole(utf8(bytes, at, length), at + length);
}

/** A frame that has arrived. */
export interface Frame {
  readonly opcode: number;
  readonly packed: boolean;
  readonly payload: Uint8Array;
  /** All of it, as it arrived. */
  readonly bytes: Uint8Array;
}

/**
 * Returns the frame at the front of a stream, or the fewest bytes that it needs to be whole.
 * @throws Error for octets that are no frame of a server's
 */
export function takeFrame(bytes: Uint8Array): Frame | number {
  const frame = serverFrame(bytes);
  if (typeof frame === "number") return frame;
  const { opcode, packed, size, headLength } = frame;
  if (!frame.final || opcode === 0) throw new Error(`a fragment: ${frame.first.toString(16)}`);
  const whole = new Uint8Array(bytes.subarray(0, size));
  return { opcode, packed, payload: whole.subarray(headLength), bytes: whole };
}
