// The messages between the worker and the application's thread for handlers on that thread. Events go to the
// application in batches: consecutive records with the header of the inbox's records, as many as one turn has events.
// Operations come back through the inbox as records of kind Operation.
//
// Invariant: each side reads only what the other has completed. Every length comes before its bytes.

import {
  RECORD_BYTES,
  RECORD_GENERATION,
  RECORD_KIND,
  RECORD_LENGTH,
  RECORD_SLOT,
  RECORD_TOTAL,
  RECORD_VALUE,
} from "../../../assembly/abi";
import type { PeerCertificate } from "../../handler";
import type { Field } from "../request/response";
import { latin1, putLatin1, toBytes, utf8 } from "../text/text";
import { idOf } from "./id";

const NOTHING = new Uint8Array(0);

/** Events for the application: kinds of a batch's records. */
export enum BatchEvent {
  /** `value`: the request's number; payload: REQUEST_BYTES, header table, head, body, address, certificate. */
  Request = 1,
  /** The client of request `value` has left, or its upgrade failed; payload: the cause. */
  Gone,
  /**
   * Request `value` became the WebSocket with this id; payload: its subprotocol. With history, for an event stream,
   * `flags` is 1 + the result of `greet`, and the payload is the topic of the gap.
   */
  Open,
  /** A connection was accepted; payload: the address. */
  Connect,
  /** An HTTP connection ended; payload: as Close. */
  Disconnect,
  /** A message; `flags`: 1 for binary. */
  Message,
  /** A piece of a message; `flags`: binary 1, first 2, last 4; `value`: bytes of its frame still to come. */
  Fragment,
  Ping,
  Pong,
  /** `value` bytes of a WebSocket's messages have left its queue; payload: lag in bytes and in frames. */
  Room,
  /** `value` bytes of a response's pieces have left its queue; or, of a body begun with ANSWER_ASKED, are asked for. */
  AnswerRoom,
  /** A WebSocket ended; payload: code, bytes of lag, lengths of cause and address; cause, address, reason. */
  Close,
  /** The client of request `value` half-closed. */
  HalfClosed,
  /** The server is about to close the WebSocket. It does so on receipt of Left. */
  Shutdown,
  /** The end of the WebSocket waits until the messages before this event are handled. Caught reports that. */
  EndWaits,
}

/** Flags of Message and Fragment. */
export const MESSAGE_BINARY = 1;
export const MESSAGE_FIRST = 2;
export const MESSAGE_LAST = 4;

/** Payload of a Request before its table: offsets and lengths in the order of `RequestHead`. */
export const REQUEST_BYTES = 20;
export const REQUEST_METHOD = 0;
export const REQUEST_MINOR = 1;
export const REQUEST_FIELDS = 2;
export const REQUEST_TARGET = 4;
export const REQUEST_TARGET_LENGTH = 6;
export const REQUEST_TRAITS = 8;
export const REQUEST_HEAD_LENGTH = 12;
export const REQUEST_ADDRESS_LENGTH = 14;
export const REQUEST_BODY_LENGTH = 16;

/** Bytes of the payload of Close and Disconnect before the cause. Room has the first two words of them. */
export const CLOSE_BYTES = 12;

/** Operations of the application: the flags of an inbox record of kind Operation. */
export enum Op {
  /** The response to request `first`: the status in `second`, fields, and the body as tail. */
  Answer = 1,
  /** Like Answer, with the number of a static body as tail. */
  Static,
  /** Like Answer, with the length of the body in digits as tail, or none when it is unknown. Pieces follow. */
  Begin,
  Write,
  End,
  /** Breaks the response off, because the client has left. */
  Break,
  /** Fields of request `first`, and as tail the path of the file that a mount responds with. */
  Pass,
  /**
   * Fields; the tail has subprotocol, idleTimeout and maxPayloadLength ("" for the default), separated by spaces. Then
   * follow, each on a line of its own and in JSON, the data of a module's WebSocket, and of an event stream its topics
   * and the client's position.
   */
  Upgrade,
  /** The handler of request `first` failed, so the client gets 500. */
  Fail,
  /** Static body number `first`, with its type instead of the fields. `second` is 1 when it is no longer used. */
  Body,
  /** A message to a WebSocket, with the flags of its frame in `first`. */
  Send,
  /** Closes a WebSocket with the code in `first` and the reason as tail. */
  Close,
  Terminate,
  Ping,
  Pause,
  Resume,
  /** The `open` of an event stream begins. */
  Begun,
  /** `open` has settled. */
  Opened,
  /** A WebSocket's handler failed, so it is closed with 1011. */
  Abandon,
  /** `first` bytes of the WebSocket's messages have been handled. */
  Taken,
  /** Subscribes to the topic that the tail names. */
  Subscribe,
  Unsubscribe,
  /** The handler's `shutdown` was called for the WebSocket. */
  Left,
  /** The WebSocket's messages up to EndWaits have been handled. */
  Caught,
}

/** Bit of a response's `second`, above its status: the connection ends after it. */
export const ANSWER_CLOSE = 0x10000;
/** Bit of Begin's `second`: the worker asks for the pieces of the body, by AnswerRoom. */
export const ANSWER_ASKED = 0x20000;

/** Bytes of an operation's payload before fields and tail: two words, and the length of the fields. */
export const OP_BYTES = 12;
/** Bytes of a response's fields at most: the quarter of the engine's scratch region for them. Beyond it RangeError. */
const FIELDS_LIMIT = 262144;

// Words of the inbox's header that count what the application has handled. Positions are u32 that wrap.

/** Bytes of events handled. */
export const HANDLED_BYTES = 48;
/** Requests that the application has answered or failed, or whose client it knows to have left. */
export const HANDLED_REQUESTS = 49;
/**
 * 1 while the worker waits for HANDLED_BYTES to change. The thread that resets it to 0 wakes the worker.
 */
export const HANDLED_WAITING = 50;
/** Errors thrown by the handler on the application's thread. */
export const HANDLED_ERRORS = 51;
/** Batches of events taken in completed turns of the application's event loop. */
export const TAKEN_BATCHES = 52;
/** 1 while the worker waits for TAKEN_BATCHES to change. The thread that resets it to 0 wakes the worker. */
export const TAKEN_WAITING = 53;

/**
 * Bytes and events in flight to the application's thread at most; further ones wait in the worker. The thread handles
 * them in one turn of its event loop, which delays its timers. A single larger event is sent alone.
 */
export const BATCH_BYTES = 65536;
export const BATCH_EVENTS = 256;

/** Cost of an operation in a client's queue in addition to its payload: at least the header of its frame or chunk. */
export const PIECE_COST = 16;

/** Returns the bytes of one WebSocket's messages that may be with the application before that WebSocket is held. */
export function laneBytes(maxPendingBytes: number): number {
  return Math.max(16384, maxPendingBytes >>> 6);
}

/** Encoded fields of responses with one field, mostly a content type. */
const single = new WeakMap<Field, Uint8Array>();

/**
 * Encodes fields for the engine: two u16 of lengths, then name and value.
 * @throws RangeError when there are too many
 */
export function encodeFields(fields: readonly Field[]): Uint8Array {
  if (fields.length !== 1) return encodeAll(fields);
  const field = fields[0] as Field;
  let bytes = single.get(field);
  if (!bytes) {
    bytes = encodeAll(fields);
    single.set(field, bytes);
  }
  return bytes;
}

function encodeAll(fields: readonly Field[]): Uint8Array {
  let length = 0;
  for (const [name, value] of fields) {
    length += 4 + name.length + value.length;
    if (value.length > 65535 || name.length > 65535 || length > FIELDS_LIMIT)
      throw new RangeError("headers: more than the server can send");
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const [name, value] of fields) {
    bytes[at] = name.length & 255;
    bytes[at + 1] = name.length >> 8;
    bytes[at + 2] = value.length & 255;
    bytes[at + 3] = value.length >> 8;
    at = putLatin1(bytes, putLatin1(bytes, at + 4, name), value);
  }
  return bytes;
}

/** Decodes what `encodeFields` wrote. */
export function decodeFields(bytes: Uint8Array): Field[] {
  const fields: Field[] = [];
  const u16 = (i: number): number => (bytes[i] as number) | ((bytes[i + 1] as number) << 8);
  for (let from = 0; from < bytes.length; ) {
    const name = latin1(bytes, from + 4, u16(from));
    const value = latin1(bytes, from + 4 + name.length, u16(from + 2));
    fields.push([name, value]);
    from += 4 + name.length + value.length;
  }
  return fields;
}

/** Encodes a certificate, which follows a request's address; no bytes when there is none. */
export function encodeCertificate(certificate: PeerCertificate | undefined): Uint8Array {
  return certificate ? toBytes(JSON.stringify(certificate)) : NOTHING;
}

/** Decodes what `encodeCertificate` wrote at [at, end). */
export function decodeCertificate(
  bytes: Uint8Array,
  at: number,
  end: number,
): PeerCertificate | undefined {
  return at < end ? (JSON.parse(utf8(bytes, at, end - at)) as PeerCertificate) : undefined;
}

/** Reads a word at any offset. */
export function wordAt(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  );
}

/** Records of an inbox that is not shared, and the application's counters (HANDLED_BYTES and the others). */
export interface Records {
  readonly ringcast: "records";
  /** Position of the first record, in units of 8 bytes since the start. */
  readonly from: number;
  readonly bytes: Uint8Array;
  readonly handledBytes: number;
  readonly takenBatches: number;
  readonly handledRequests: number;
  readonly handlerErrors: number;
}

/** One event of a batch. The object is reused, so it is valid until the next event is read. */
export class Event {
  kind: BatchEvent = BatchEvent.Request;
  flags = 0;
  slot = 0;
  generation = 0;
  value = 0;
  /** Offset of the payload in the batch. */
  at = 0;
  length = 0;

  get id(): number {
    return idOf(this.slot, this.generation);
  }
}

/**
 * Calls `each` for every event of a batch.
 * @param each receives the event, and the bytes that it counts for
 */
export function readBatch(memory: ArrayBuffer, each: (event: Event, bytes: number) => void): void {
  const u32 = new Uint32Array(memory);
  const event = new Event();
  for (let word = 0; word < u32.length; ) {
    const total = u32[word + (RECORD_TOTAL >>> 2)] as number;
    // The batch was not filled to its end.
    if (total === 0) return;
    const kind = u32[word + (RECORD_KIND >>> 2)] as number;
    event.kind = kind & 255;
    event.flags = kind >>> 8;
    event.length = u32[word + (RECORD_LENGTH >>> 2)] as number;
    event.slot = u32[word + (RECORD_SLOT >>> 2)] as number;
    event.generation = u32[word + (RECORD_GENERATION >>> 2)] as number;
    event.value = u32[word + (RECORD_VALUE >>> 2)] as number;
    event.at = word * 4 + RECORD_BYTES;
    each(event, total);
    word += total >>> 2;
  }
}
