// Response heads (RFC 9110, 9112): status line, Date, the fields that frame the message, and the caller's fields.
//
// Invariant: the caller's fields cannot break the framing. Names are tokens, values contain no control octet except
// HTAB, and only the engine writes the fields that frame a message.

import { putPhrase } from "./status";
import { Control, Param } from "../abi";
import { copy, equalFold, findControl, storeDecimal } from "../kernel/bytes";
import { engine, getControl, param } from "../state/records";
import { isToken } from "../parse/http";
import { putText } from "../kernel/text";

/** "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", and the second for which it was computed. */
const DATE = memory.data(64, 8);
const DATE_BYTES: u32 = 37;
let dateOf: f64 = -1;

function putTwo(at: usize, value: u32): usize {
  store<u8>(at, (48 + value / 10) as u8);
  store<u8>(at + 1, (48 + (value % 10)) as u8);
  return at + 2;
}

function putDayName(at: usize, day: u32): usize {
  switch (day) {
    case 0:
      return putText(at, "Sun");
    case 1:
      return putText(at, "Mon");
    case 2:
      return putText(at, "Tue");
    case 3:
      return putText(at, "Wed");
    case 4:
      return putText(at, "Thu");
    case 5:
      return putText(at, "Fri");
    default:
      return putText(at, "Sat");
  }
}

function putMonthName(at: usize, month: u32): usize {
  switch (month) {
    case 1:
      return putText(at, "Jan");
    case 2:
      return putText(at, "Feb");
    case 3:
      return putText(at, "Mar");
    case 4:
      return putText(at, "Apr");
    case 5:
      return putText(at, "May");
    case 6:
      return putText(at, "Jun");
    case 7:
      return putText(at, "Jul");
    case 8:
      return putText(at, "Aug");
    case 9:
      return putText(at, "Sep");
    case 10:
      return putText(at, "Oct");
    case 11:
      return putText(at, "Nov");
    default:
      return putText(at, "Dec");
  }
}

/** Writes the IMF-fixdate (RFC 9110 5.6.7) of a Unix time. It is computed once a second. */
function renewDate(seconds: f64): void {
  dateOf = seconds;
  const time = seconds as u64;
  const days = (time / 86400) as u32;
  const second = (time % 86400) as u32;
  // Days since 0000-03-01, in eras of 400 years. The year starts in March, so that leap days come last.
  const z = days + 719468;
  const era = z / 146097;
  const dayOfEra = z % 146097;
  const yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146096) / 365;
  const dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100);
  const marchMonth = (5 * dayOfYear + 2) / 153;
  const day = dayOfYear - (153 * marchMonth + 2) / 5 + 1;
  const month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  let at = putText(DATE, "Date: ");
  at = putDayName(at, (days + 4) % 7);
  at = putText(at, ", ");
  at = putTwo(at, day);
  at = putText(at, " ");
  at = putMonthName(at, month);
  at = putText(at, " ");
  at = putTwo(at, year / 100);
  at = putTwo(at, year % 100);
  at = putText(at, " ");
  at = putTwo(at, second / 3600);
  at = putText(at, ":");
  at = putTwo(at, (second / 60) % 60);
  at = putText(at, ":");
  at = putTwo(at, second % 60);
  putText(at, " GMT\r\n");
}

export function putStatusLine(at: usize, status: u32): usize {
  at = putText(at, "HTTP/1.1 ");
  store<u8>(at, (48 + status / 100) as u8);
  at = putTwo(at + 1, status % 100);
  store<u8>(at, 0x20);
  at = putPhrase(at + 1, status);
  return putText(at, "\r\n");
}

/** Returns true for fields that frame a message, which the engine writes itself. */
function isFraming(at: usize, length: u32): bool {
  switch (length) {
    case 7:
      return equalFold(at, UPGRADE, 7);
    case 10:
      return equalFold(at, CONNECTION, 10);
    case 14:
      return equalFold(at, CONTENT_LENGTH, 14);
    case 17:
      return equalFold(at, TRANSFER_ENCODING, 17);
    default:
      return false;
  }
}

const UPGRADE = memory.data<u8>([117, 112, 103, 114, 97, 100, 101]);
const CONNECTION = memory.data<u8>([99, 111, 110, 110, 101, 99, 116, 105, 111, 110]);
const CONTENT_LENGTH = memory.data<u8>([
  99, 111, 110, 116, 101, 110, 116, 45, 108, 101, 110, 103, 116, 104,
]);
const TRANSFER_ENCODING = memory.data<u8>([
  116, 114, 97, 110, 115, 102, 101, 114, 45, 101, 110, 99, 111, 100, 105, 110, 103,
]);
const DATE_NAME = memory.data<u8>([100, 97, 116, 101]);
const SERVER_NAME = memory.data<u8>([115, 101, 114, 118, 101, 114]);

let hasDate: bool = false;
let hasServer: bool = false;

/** Longest value of the Server field, in bytes. `server` refuses longer ones, because the buffer has a fixed size. */
export const SERVER_LIMIT: u32 = 256;
/** "Server: …\r\n" and its length in bytes, 0 for no field. */
const SERVER = memory.data(272, 8);
let serverBytes: u32 = 0;

/**
 * Sets the Server field of all responses from `length` bytes at the start of the scratch region. 0 removes the field.
 * @returns 1, or 0 when the value is too long or invalid, and nothing is changed
 */
export function server(length: u32): u32 {
  const from = engine.scratch;
  if (length > SERVER_LIMIT || findControl(from, from + length) != from + length) return 0;
  const value = putText(SERVER, "Server: ");
  copy(value, from, length);
  const end = putText(value + length, "\r\n");
  serverBytes = length == 0 ? 0 : ((end - SERVER) as u32);
  return 1;
}

export function putServer(at: usize): usize {
  copy(at, SERVER, serverBytes);
  return at + serverBytes;
}

/** Writes the fields that are missing among the caller's, which were written last: Date, and Server if one is set. */
export function putMissing(at: usize): usize {
  if (!hasDate) at = putDate(at);
  return hasServer ? at : putServer(at);
}

/**
 * Writes the caller's fields as lines.
 * @param fields contiguous records of u16 name length, u16 value length, name, value
 * @returns the end, or 0 when a field is refused
 */
export function putFields(at: usize, fields: usize, length: u32): usize {
  const end = fields + length;
  hasDate = false;
  hasServer = false;
  while (fields < end) {
    const nameLength: u32 = load<u16>(fields);
    const valueLength: u32 = load<u16>(fields, 2);
    const name = fields + 4;
    const value = name + nameLength;
    fields = value + valueLength;
    if (fields > end || !isToken(name, value) || isFraming(name, nameLength)) return 0;
    if (findControl(value, fields) != fields) return 0;
    if (nameLength == 4 && equalFold(name, DATE_NAME, 4)) hasDate = true;
    if (nameLength == 6 && equalFold(name, SERVER_NAME, 6)) hasServer = true;
    copy(at, name, nameLength);
    at += nameLength;
    store<u16>(at, 0x203a);
    copy(at + 2, value, valueLength);
    at += 2 + valueLength;
    store<u16>(at, 0x0a0d);
    at += 2;
  }
  return at;
}

/** Ways to mark the end of a body (RFC 9112 6.3). */
export enum Framing {
  Length,
  Chunked,
  /** By the end of the connection, or there is no body. */
  None,
}

/** Most bytes that the engine adds to a head, besides the caller's fields. */
export const HEAD_EXTRA: u32 = 256 + 16 + SERVER_LIMIT;

/**
 * Writes a response head.
 * @param at buffer with room for HEAD_EXTRA + the fields as lines
 * @param framing a Framing, the way to mark the end of the body
 * @param persistent 0 to close the connection, 1 to keep it open, 2 to keep it open and say so for HTTP/1.0
 * @returns the end, or 0 when a field of the caller is refused
 */
export function putHead(
  at: usize,
  status: u32,
  framing: u32,
  persistent: u32,
  bodyLength: u64,
  fields: usize,
  fieldsLength: u32,
): usize {
  at = putStatusLine(at, status);
  at = putFields(at, fields, fieldsLength);
  if (at == 0) return 0;
  at = putMissing(at);
  // RFC 9110 8.6: no Content-Length in 1xx and 204.
  if (framing == Framing.Chunked) {
    at = putText(at, "Transfer-Encoding: chunked\r\n");
  } else if (framing == Framing.Length && status != 204) {
    at = putText(at, "Content-Length: ");
    at = storeDecimal(at, status == 205 ? 0 : bodyLength);
    at = putText(at, "\r\n");
  }
  if (status == 426) {
    // RFC 9110 15.5.22: a 426 names the protocol to upgrade to.
    at = putText(at, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
    at = putText(
      at,
      persistent == 0 ? "Connection: upgrade, close\r\n" : "Connection: upgrade\r\n",
    );
  } else if (persistent == 0) at = putText(at, "Connection: close\r\n");
  else at = putKeepAlive(at, persistent == 2);
  return putText(at, "\r\n");
}

/** "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n", and the timeout in ms for which it was computed. */
const KEEP_ALIVE = memory.data(64, 8);
let keepAliveOf: f64 = -1;
let keepAliveBytes: u32 = 0;

/**
 * Announces the timeout between two requests in whole seconds, so that a client does not send a request while the
 * server closes. Timeouts below a second are not announced.
 */
function putKeepAlive(at: usize, isOld: bool): usize {
  const time = param(Param.KeepAliveTimeout);
  if (time < 1000) return isOld ? putText(at, "Connection: keep-alive\r\n") : at;
  if (time != keepAliveOf) {
    keepAliveOf = time;
    // RFC 9110 7.6.1: Connection must name a field that concerns the connection.
    let end = putText(KEEP_ALIVE, "Connection: keep-alive\r\nKeep-Alive: timeout=");
    end = putText(storeDecimal(end, (time / 1000) as u64), "\r\n");
    keepAliveBytes = (end - KEEP_ALIVE) as u32;
  }
  copy(at, KEEP_ALIVE, keepAliveBytes);
  return at + keepAliveBytes;
}

export function putDate(at: usize): usize {
  const seconds = getControl(Control.Date);
  if (seconds != dateOf) renewDate(seconds);
  copy(at, DATE, DATE_BYTES);
  return at + DATE_BYTES;
}
