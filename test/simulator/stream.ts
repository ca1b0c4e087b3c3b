// Parses a client's bytes: responses and frames, each as soon as it is whole. It refuses octets that no server may
// send, a repeated field, and a fragment, which this server never sends.

import { utf8 } from "../../host/shared/text/text";
import { fieldsOf, responseHead, serverResponse } from "../lib/response";
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
