// Event streams (WHATWG HTML 9.2): bytes for one of them alone. Its publications are in the ring of events.
//
//   head                             200, no length; the body ends with the connection
//   retry: N                         N is random for each client, because an EventSource has no jitter of its own
//   event: ringcast-hello, …         where publications are kept, see reply/return.ts
//   events of the ring, messages     between them a comment after silence, so that proxies keep the connection
//   event: ringcast-close            with the code and the reason of `close`; then the end
//
// Invariant: all but the head is whole events, so an event of the ring follows only a blank line.

import { FrameFlag, Gap, HEADER_ENTRY_BYTES, Method, Param, TOPIC_NAME_BYTES } from "../abi";
import { encode } from "../kernel/base64";
import { equalFold, storeDecimal } from "../kernel/bytes";
import { putText } from "../kernel/text";
import { Conn, HttpConn, State, engine, paramU32 } from "../state/records";
import { NEVER } from "../ring/cursor";
import { eventBytes, lineEnd, nextLine, putId, putPosition } from "../ring/event";
import { reserve, reserveFirst, write } from "../state/queue";

/** Range of the time, in ms, after which a client reconnects. */
const RETRY_LEAST: u32 = 1000;
const RETRY_RANGE: u32 = 4001;
/** Silence in ms after which a comment is sent, and the range of its random part. */
const SILENCE: f64 = 15000;
const SILENCE_RANGE: u32 = 4000;

/** Returns a number that clients cannot predict. */
function mix(value: u32): u32 {
  let x = (value ^ engine.seed) * 0x9e3779b1;
  x = (x ^ (x >> 15)) * 0x85ebca6b;
  x = (x ^ (x >> 13)) * 0xc2b2ae35;
  return x ^ (x >> 16);
}

/** Number of the retry times so far. */
let retries: u32 = 0;

/** Writes the field that says when a client reconnects, and a blank line. Returns the end. */
export function putRetry(at: usize): usize {
  at = storeDecimal(putText(at, "retry: "), (RETRY_LEAST + (mix(retries++) % RETRY_RANGE)) as u64);
  return putText(at, "\n\n");
}

/** Returns the time at which a silent stream gets a comment. */
export function commentAt(c: Conn): f64 {
  return max(c.lastOut, c.since) + SILENCE + ((mix(c.slot) % SILENCE_RANGE) as f64);
}

/** Bytes of a topic's gap, of whose name each byte may take six. */
const BUFFER_BYTES: i32 = 2048;
const BUFFER = memory.data(BUFFER_BYTES, 16);

if ((TOPIC_NAME_BYTES as i32) * 6 + 256 > BUFFER_BYTES) ERROR("BUFFER_BYTES");

/** Queues a comment, which a client ignores, unless bytes are queued anyway. */
export function comment(c: Conn, at: u64): bool {
  if (c.writing != 0 || c.replyHead != 0) return false;
  if (!reserve(c, 3, at)) return false;
  putText(BUFFER, ":\n\n");
  write(BUFFER, 3);
  return true;
}

/** Reserves room for a message as an event, without an id. @param at ring offset that it follows */
export function reserveEvent(c: Conn, payload: usize, length: u32, flags: u32, at: u64): bool {
  const bytes = eventBytes(payload, length, flags);
  return bytes <= 0x7fffffff && reserve(c, bytes as u32, at);
}

/** Writes it. */
export function writeEvent(payload: usize, length: u32, flags: u32): void {
  const field = BUFFER;
  putText(field, "\ndata: ");
  write(field + 1, 6);
  const end = payload + length;
  if (flags & FrameFlag.Binary) {
    const text = BUFFER + 16;
    while (payload < end) {
      const part = min(end - payload, 480) as u32;
      write(text, (encode(text, payload, part) - text) as u32);
      payload += part;
    }
  } else {
    while (true) {
      const stop = lineEnd(payload, end);
      write(payload, (stop - payload) as u32);
      if (stop >= end) break;
      payload = nextLine(stop, end);
      write(field, 7);
    }
  }
  store<u16>(field, 0x0a0a);
  write(field, 2);
}

/** Writes a text within the quotes of JSON. Returns the end. */
function putJson(at: usize, text: usize, length: u32): usize {
  for (let i: u32 = 0; i < length; i++) {
    const c: u32 = load<u8>(text + i);
    if (c < 32) {
      at = putText(at, "\\u00");
      store<u8>(at, (48 + (c >> 4)) as u8);
      const low = c & 15;
      store<u8>(at + 1, (low < 10 ? 48 + low : 87 + low) as u8);
      at += 2;
      continue;
    }
    if (c == 34 || c == 92) {
      store<u8>(at, 92);
      at++;
    }
    store<u8>(at, c as u8);
    at++;
  }
  return at;
}

/** Queues the event that tells a client that it was closed. @param at ring offset that it follows */
export function queueEnd(c: Conn, code: u32, text: usize, length: u32, at: u64): bool {
  let end = putText(BUFFER, 'event: ringcast-close\ndata: {"code":');
  end = putText(storeDecimal(end, code as u64), ',"reason":"');
  end = putText(putJson(end, text, length), '"}\n\n');
  const bytes = (end - BUFFER) as u32;
  if (!reserve(c, bytes, at)) return false;
  write(BUFFER, bytes);
  return true;
}

/** Queues the event that is in the buffer. @param at ring offset that it follows */
function queueEvent(c: Conn, end: usize, at: u64): bool {
  const bytes = (end - BUFFER) as u32;
  if (!reserve(c, bytes, at)) return false;
  write(BUFFER, bytes);
  return true;
}

/** Queues the first event. @param since position of a client that resumes, NEVER for any other */
export function queueHello(c: Conn, since: u64): bool {
  const id = since == NEVER ? BUFFER : putId(BUFFER, since);
  let at = putText(id, "event: ringcast-hello\ndata: {");
  if (since != NEVER) at = putText(putPosition(putText(at, '"position":"'), since), '"');
  return queueEvent(c, putText(at, "}\n\n"), 0);
}

function putReason(at: usize, gap: u32): usize {
  switch (gap) {
    case Gap.Expired:
      return putText(at, "expired");
    case Gap.Epoch:
      return putText(at, "epoch");
    case Gap.Invalid:
      return putText(at, "invalid");
    case Gap.Lapped:
      return putText(at, "lapped");
    default:
      return putText(at, "large");
  }
}

/** Queues the event of a gap. @param position up to which nothing more will come, NEVER for none @param at as usual */
export function queueGap(c: Conn, gap: u32, position: u64, at: u64): bool {
  const id = position == NEVER ? BUFFER : putId(BUFFER, position);
  const end = putReason(putText(id, 'event: ringcast-gap\ndata: {"reason":"'), gap);
  return queueEvent(c, putText(end, '"}\n\n'), at);
}

/** Queues the event of one topic's gap, before everything that waits for the ring. */
export function queueTopicGap(c: Conn, name: usize, length: u32): bool {
  let end = putText(BUFFER, 'event: ringcast-gap\ndata: {"reason":"expired","topic":"');
  end = putText(putJson(end, name, length), '"}\n\n');
  const bytes = (end - BUFFER) as u32;
  if (!reserveFirst(c, bytes)) return false;
  write(BUFFER, bytes);
  return true;
}

/** Queues the event after all that `open` has sent. */
export function queueLive(c: Conn, position: u64): bool {
  const at = putText(putId(BUFFER, position), 'event: ringcast-live\ndata: {"position":"');
  return queueEvent(c, putText(putPosition(at, position), '"}\n\n'), 0);
}

// ---- refusals ------------------------------------------------------------------------------------------

const ACCEPT = memory.data<u8>([97, 99, 99, 101, 112, 116]);
const ORIGIN = memory.data<u8>([111, 114, 105, 103, 105, 110]);
const TYPE = memory.data<u8>([
  116, 101, 120, 116, 47, 101, 118, 101, 110, 116, 45, 115, 116, 114, 101, 97, 109,
]);
const TYPE_BYTES: u32 = 17;

/** The value of the field that `findField` found. */
let fieldAt: usize = 0;
let fieldLength: u32 = 0;

/** Finds the first field of a request with a name of six letters. */
function findField(c: HttpConn, name: usize): bool {
  for (let i: u32 = 0; i < (c.headers as u32); i++) {
    const entry = (c.table as usize) + (i as usize) * (HEADER_ENTRY_BYTES as usize);
    if (load<u16>(entry, 2) != 6) continue;
    if (!equalFold((c.head as usize) + (load<u16>(entry) as usize), name, 6)) continue;
    fieldAt = (c.head as usize) + (load<u16>(entry, 4) as usize);
    fieldLength = load<u16>(entry, 6);
    return true;
  }
  return false;
}

/** Returns true for a pending request of an EventSource, which any status but 200 would end for ever. */
export function isEventSource(c: HttpConn, status: u32): bool {
  if (paramU32(Param.EventRingBytes) == 0 || c.state != State.Request) return false;
  if (c.method != (Method.GET as u8)) return false;
  // mutant stream-refusal (streams): if (status == 0) return false;
  if (status != 429 && status != 500 && status != 503) return false;
  if (!findField(c, ACCEPT)) return false;
  for (let i: u32 = 0; i + TYPE_BYTES <= fieldLength; i++) {
    if (equalFold(fieldAt + i, TYPE, TYPE_BYTES)) return true;
  }
  return false;
}

/** Longest origin, in bytes, that a refusal names. */
const ORIGIN_LIMIT: u32 = 256;

/**
 * Writes the fields and the body of a response that makes an EventSource reconnect later. A page of another origin may
 * read it, because it holds nothing but that time.
 */
export function putComeBack(at: usize, c: HttpConn): usize {
  at = putText(at, "Content-Type: text/event-stream\r\nCache-Control: no-store\r\n");
  if (findField(c, ORIGIN) && fieldLength <= ORIGIN_LIMIT) {
    at = putText(at, "Vary: Origin\r\nAccess-Control-Allow-Credentials: true\r\n");
    at = putText(at, "Access-Control-Allow-Origin: ");
    memory.copy(at, fieldAt, fieldLength);
    at = putText(at + fieldLength, "\r\n");
  }
  return putRetry(putText(at, "Connection: close\r\n\r\n"));
}
