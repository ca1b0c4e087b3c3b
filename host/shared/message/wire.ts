// What the worker and the application's thread say to each other about handlers that run on the latter.
// Events go to the application in batches: records one behind the other, with the header of the inbox's
// records, as the events of one turn. Operations come back through the inbox as records of kind Host.
//
// Invariant: both sides read only what the other has finished; every length stands in front of its bytes.

import {
  RECORD_BYTES,
  RECORD_GENERATION,
  RECORD_KIND,
  RECORD_LENGTH,
  RECORD_SLOT,
  RECORD_TOTAL,
  RECORD_VALUE,
  SLOT_LIMIT,
} from "../../../assembly/abi";
import type { PeerCertificate } from "../../handler";
import type { Field } from "../request/response";
import { latin1, putLatin1, toBytes, utf8 } from "../text/text";

const NOTHING = new Uint8Array(0);

/** What happened, for the application: kind of a batch's record. */
export enum Told {
  /** `value`: the request's number; payload: REQUEST_BYTES, header table, head, body, address, certificate. */
  Request = 1,
  /** The client of request `value` has gone, or its upgrade failed; payload: the cause. */
  Gone,
  /** Request `value` became the WebSocket of the id; payload: its subprotocol. */
  Open,
  /** Payload: the address. */
  Connect,
  /** Payload: as Close. */
  Disconnect,
  /** `flags`: 1 for binary. */
  Message,
  /** `flags`: binary 1, first 2, last 4; `value`: bytes of its frame still to come. */
  Fragment,
  Ping,
  Pong,
  /** Bytes (`value`) of a WebSocket's messages have left its queue; payload: lag in bytes, in frames. */
  Room,
  /** Bytes (`value`) of an answer's pieces have left its queue. */
  AnswerRoom,
  /** Payload: code, bytes of lag, length of the cause; the cause, the reason. */
  Close,
  /** The client of request `value` ended its side. */
  HalfClosed,
  /** The server is about to close the WebSocket: it does when it hears Left. */
  Shutdown,
  /** What ends the WebSocket waits until the messages before this are answered: it says Caught then. */
  EndWaits,
}

/** Flags of Message and Fragment. */
export const TOLD_BINARY = 1;
export const TOLD_FIRST = 2;
export const TOLD_LAST = 4;

/** Payload of a Request in front of its table: where what lies, in the order of `RequestHead`. */
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

/** Payload of Close and Disconnect in front of cause and reason; of Room: the first two words of it. */
export const CLOSE_BYTES = 12;

/** What the application wants: the flags of an inbox record of kind Host. */
export enum Op {
  /** An answer to request `first`: status in `second`; fields; the body. */
  Answer = 1,
  /** The same with the static body whose number is the tail; with ANSWER_LENGTH the tail is a length, for HEAD. */
  Static,
  /** The same without a body: pieces follow. */
  Begin,
  Write,
  End,
  /** The pieces break off, because the client has left. */
  Break,
  /** Fields; the tail is the subprotocol, idleTimeout and maxPayloadLength, "" for the usual, with blanks between. */
  Upgrade,
  /** The handler of request `first` failed: 500. */
  Fail,
  /** A static body of number `first`: its type stands for the fields. With `second` 1: it is gone. */
  Body,
  /** A message to a WebSocket; flags of its frame in `first`. */
  Send,
  /** Code in `first`; the tail is the reason. */
  Close,
  Terminate,
  Ping,
  Pause,
  Resume,
  /** `open` has settled. */
  Opened,
  /** A WebSocket's handler failed: close 1011. */
  Abandon,
  /** Bytes (`first`) of the WebSocket's messages have been handled. */
  Taken,
  /** The tail is the topic. */
  Subscribe,
  Unsubscribe,
  /** `shutdown` has been told of it. */
  Left,
  /** The WebSocket's messages have been handled, up to EndWaits. */
  Caught,
}

/** Bit of an answer's `second`, above its status: the connection ends behind it. */
export const ANSWER_CLOSE = 0x10000;
/** The same, of Static: there is no body. */
export const ANSWER_LENGTH = 0x20000;

/** An operation's payload in front of fields and tail: two words, and the length of the fields. */
export const OP_BYTES = 12;
/** Most bytes of an answer's fields; the engine's scratch region has a quarter for them. */
const FIELDS_LIMIT = 262144;

// Words of the inbox's header that count what the application has come to; positions are u32 that wrap.

/** Bytes of events handled. */
export const HANDLED_BYTES = 48;
/** Requests that are answered, failed or gone, as the application sees it. */
export const HANDLED_REQUESTS = 49;
/** 1: the worker waits for the first to move on; whoever changes it to 0 wakes it. */
export const HANDLED_WAITING = 50;
/** Errors that the handler there has thrown. */
export const HANDLED_ERRORS = 51;
/** Batches of events that it has taken, in turns of its loop that are over. */
export const TAKEN_BATCHES = 52;
/** 1: the worker waits for that to move on; whoever changes it to 0 wakes it. */
export const TAKEN_WAITING = 53;

/**
 * Bytes and events that are under way to the application's thread. It takes them in one turn of its loop, in which its
 * timers wait. A single larger event goes alone.
 */
export const BATCH_BYTES = 65536;
export const BATCH_EVENTS = 256;

/** What an operation costs a client's queue beside its payload: at least its frame's or chunk's head. */
export const PIECE_COST = 16;

/** A connection's id, from where it stands in a record. */
export function idOf(slot: number, generation: number): number {
  return generation * SLOT_LIMIT + slot;
}

/** Bytes of one WebSocket's messages that may be with the application before it alone is held. */
export function laneBytes(maxPendingBytes: number): number {
  return Math.max(16384, maxPendingBytes >>> 6);
}

/** Encoded fields of answers that have one field, mostly a content type. */
const single = new WeakMap<Field, Uint8Array>();

/** Fields as the engine takes them: two u16 of lengths, then name and value. @throws RangeError */
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

/** What `encodeFields` wrote. */
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

/** A certificate behind a request's address; nothing where there is none. */
export function encodeCertificate(certificate: PeerCertificate | undefined): Uint8Array {
  return certificate ? toBytes(JSON.stringify(certificate)) : NOTHING;
}

/** What `encodeCertificate` wrote at [at, end). */
export function decodeCertificate(
  bytes: Uint8Array,
  at: number,
  end: number,
): PeerCertificate | undefined {
  return at < end ? (JSON.parse(utf8(bytes, at, end - at)) as PeerCertificate) : undefined;
}

/** A word at any place. */
export function wordAt(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  );
}

/** Records of an inbox that is not shared, and what the application has counted (HANDLED_BYTES and the others). */
export interface Records {
  readonly ringcast: "records";
  /** Where they lie, in units of 8 bytes since the start. */
  readonly from: number;
  readonly bytes: Uint8Array;
  readonly handledBytes: number;
  readonly takenBatches: number;
  readonly handledRequests: number;
  readonly handlerErrors: number;
}

/** One event of a batch. Reused: it is valid until the next one is read. */
export class Event {
  kind: Told = Told.Request;
  flags = 0;
  slot = 0;
  generation = 0;
  value = 0;
  /** Where its payload lies in the batch. */
  at = 0;
  length = 0;

  get id(): number {
    return idOf(this.slot, this.generation);
  }
}

/**
 * Calls `each` for every event of a batch.
 * @param each gets the event and the bytes it counts for
 */
export function readBatch(memory: ArrayBuffer, each: (event: Event, bytes: number) => void): void {
  const u32 = new Uint32Array(memory);
  const event = new Event();
  for (let word = 0; word < u32.length; ) {
    const total = u32[word + (RECORD_TOTAL >>> 2)] as number;
    // A batch that was not filled to its end.
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
