// Parses a client's bytes: responses and frames, each as soon as it is whole. It refuses octets that no server may
// send, a repeated field, and a fragment, which this server never sends.

import { utf8 } from "../../host/shared/text/text";
import { fieldsOf, responseHead, serverResponse } from "../lib/response";
import { serverFrame } from "../lib/server-frame";
import { TOPICS } from "./steps";

/** An answer that has arrived. */
export interface Arrived {
  readonly status: number;
  readonly phrase: string;
  readonly fields: ReadonlyMap<string, string>;
  readonly body: string;
  /** All of it, as it arrived. */
  readonly bytes: Uint8Array;
}

/**
 * Returns the response at the front of a stream, or the fewest bytes that it needs to be whole. One that the end of the
 * stream cuts is not whole; the judge knows whether that may be.
 * @param isHead it has no body, whatever its fields say @param ended the stream has ended
 * @throws Error for octets that are no response
 */
export function takeAnswer(bytes: Uint8Array, isHead: boolean, ended: boolean): Arrived | number {
  const method = isHead ? "HEAD" : "GET";
  const head = responseHead(bytes);
  // Without a length, and not in chunks, the end of the stream ends the body.
  const isEndless =
    head !== undefined && !/^(?:content-length|transfer-encoding):/im.test(head.head);
  const found = serverResponse(bytes, 0, { method, ended: ended && isEndless });
  if (typeof found === "number") return found;
  const { status, phrase, body, size } = found;
  const fields = fieldsOf(found);
  if (fields.size < found.fields.length) throw new Error(`a field is repeated: ${found.head}`);
  const text = utf8(body, 0, body.length);
  return { status, phrase, fields, body: text, bytes: new Uint8Array(bytes.subarray(0, size)) };
}

/** A frame that has arrived. */
export interface Frame {
  readonly opcode: number;
  readonly packed: boolean;
  readonly payload: Uint8Array;
  /** All of it, as it arrived. */
  readonly bytes: Uint8Array;
  /** The event, where the client is an event stream. Its opcode is 1, for a Close 8, for others as below. */
  readonly event?: {
    readonly id: string | undefined;
    readonly name: string;
    readonly data: string;
  };
}

/** Opcodes of the events that greet, report a gap, and say that what is live follows. */
export const GAP = 3;
export const HELLO = 4;
export const LIVE = 5;

/** A block of an event stream that is no event: a comment, or the time after which the client reconnects. */
export interface Aside {
  readonly retry: number | undefined;
  readonly bytes: Uint8Array;
}

/** Returns true for the head of an event stream. */
export function isStreamHead(bytes: Uint8Array): boolean {
  const head = responseHead(bytes);
  return head?.status === 200 && /^content-type: text\/event-stream\r$/im.test(head.head);
}

const OPCODES: Readonly<Record<string, number>> = {
  ...{ "ringcast-close": 8, "ringcast-gap": GAP, "ringcast-hello": HELLO, "ringcast-live": LIVE },
};

/**
 * Returns the event, or the other block, at the front of an event stream, or the fewest bytes that it needs to be
 * whole.
 * @throws Error for lines that this server does not send
 */
export function takeEvent(bytes: Uint8Array): Frame | Aside | number {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const end = buffer.indexOf("\n\n");
  if (end < 0) return bytes.length + 1;
  const whole = new Uint8Array(bytes.subarray(0, end + 2));
  const text = buffer.toString("utf8", 0, end);
  if (text === ":") return { retry: undefined, bytes: whole };
  const retry = /^retry: (\d+)$/.exec(text);
  if (retry) return { retry: Number(retry[1]), bytes: whole };
  const found = /^(?:id: (.*)\n)?(?:event: (.*)\n)?((?:data: [^\r\n]*(?:\n|$))+)$/.exec(text);
  if (!found) throw new Error(`no event: ${JSON.stringify(text.slice(0, 200))}`);
  const [, id, name = "", fields = ""] = found;
  const data = fields
    .split("\n")
    .map((line) => line.slice(6))
    .join("\n");
  const opcode = TOPICS.includes(name) || name === "" ? 1 : OPCODES[name];
  if (opcode === undefined) throw new Error(`an event of another name: ${name}`);
  return { opcode, packed: false, payload: whole, bytes: whole, event: { id, name, data } };
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
