// Parses HTTP/1.1 requests (RFC 9110, 9112) into a head table and a body, or a CloseReason. Input that could be read in
// two ways is refused, never repaired.
//
// Invariant: each byte of a head is parsed once. `scan` is the end of the parsed bytes, `line` the start of the current
// line. Each whole line becomes an entry of the table at once, so a head that trickles in costs no more than one that
// arrives in one piece. Offsets are from the head's first byte and below 65,536.

import { CloseReason, HEADER_ENTRY_BYTES, Method, Param, Trait } from "../abi";
import { isHost } from "../kernel/authority";
import {
  equalFold,
  findControl,
  isTchar,
  skipBlank,
  skipToken,
  skipVisible,
  trimBlank,
} from "../kernel/bytes";
import { isKey } from "../kernel/base64";
import { DONE, MORE, beginChunks, decodeChunks, isChunked, passPlain, decoded } from "./chunks";
import { engine, param, paramU32, HttpConn } from "../state/records";

export { DONE, MORE };

// Phases of a head in Conn.chunk, and the phase of a body that is not chunked. The other phases are in chunks.ts.
const REQUEST_LINE: u32 = 0;
const FIELDS: u32 = 1;
const PLAIN_BODY: u32 = 2;

/** Largest Content-Length, below 2^53 like any length in JavaScript. */
const LENGTH_LIMIT: u64 = 0x1fffffffffffff;

/** "HTTP", "/1.1" and "HEAD", as words. */
const HTTP_WORD: u32 = 0x50545448;
const VERSION_WORD: u32 = 0x312e312f;
const HEAD_WORD: u32 = 0x44414548;

/** Longest method in bytes. All known methods are shorter. */
const METHOD_BYTES: u32 = 32;
/** Bytes of a request line for its method and version, beside the longest target. */
export const LINE_ROOM: u32 = 64;

const CR: u8 = 13;
const CRLF: u16 = 0x0a0d;

// Names of fields, in lower case.
const HOST = memory.data<u8>([104, 111, 115, 116]);
const UPGRADE = memory.data<u8>([117, 112, 103, 114, 97, 100, 101]);
const EXPECT = memory.data<u8>([101, 120, 112, 101, 99, 116]);
const CONNECTION = memory.data<u8>([99, 111, 110, 110, 101, 99, 116, 105, 111, 110]);
// prettier-ignore
const CONTENT_LENGTH = memory.data<u8>([
  99, 111, 110, 116, 101, 110, 116, 45, 108, 101, 110, 103, 116, 104,
]);
const TRANSFER_ENCODING = memory.data<u8>([
  116, 114, 97, 110, 115, 102, 101, 114, 45, 101, 110, 99, 111, 100, 105, 110, 103,
]);
const WS_KEY = memory.data<u8>([
  115, 101, 99, 45, 119, 101, 98, 115, 111, 99, 107, 101, 116, 45, 107, 101, 121,
]);
const WS_VERSION = memory.data<u8>([
  115, 101, 99, 45, 119, 101, 98, 115, 111, 99, 107, 101, 116, 45, 118, 101, 114, 115, 105, 111,
  110,
]);
// Values of fields, in lower case.
const CLOSE = memory.data<u8>([99, 108, 111, 115, 101]);
const KEEP_ALIVE = memory.data<u8>([107, 101, 101, 112, 45, 97, 108, 105, 118, 101]);
const WEBSOCKET = memory.data<u8>([119, 101, 98, 115, 111, 99, 107, 101, 116]);
const CHUNKED = memory.data<u8>([99, 104, 117, 110, 107, 101, 100]);
const CONTINUE = memory.data<u8>([49, 48, 48, 45, 99, 111, 110, 116, 105, 110, 117, 101]);

// Schemes. Without their last letter they are "http" and "ws".
const HTTPS = memory.data<u8>([104, 116, 116, 112, 115]);
const WSS = memory.data<u8>([119, 115, 115]);

// Methods, each as its length and its letters: GET … CONNECT of `Method` first, then the other registered ones (IANA
// HTTP Method Registry):
// ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT COPY LABEL LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL
// MKREDIRECTREF MKWORKSPACE MOVE ORDERPATCH PROPFIND PROPPATCH QUERY REBIND REPORT SEARCH UNBIND
// UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL. The last ones are in use without being registered,
// and other servers accept them: M-SEARCH NOTIFY PURGE SOURCE SUBSCRIBE UNSUBSCRIBE.
const METHODS = memory.data<u8>([
  3, 71, 69, 84, 4, 72, 69, 65, 68, 4, 80, 79, 83, 84, 3, 80, 85, 84, 6, 68, 69, 76, 69, 84, 69, 7,
  79, 80, 84, 73, 79, 78, 83, 5, 80, 65, 84, 67, 72, 5, 84, 82, 65, 67, 69, 7, 67, 79, 78, 78, 69,
  67, 84, 3, 65, 67, 76, 16, 66, 65, 83, 69, 76, 73, 78, 69, 45, 67, 79, 78, 84, 82, 79, 76, 4, 66,
  73, 78, 68, 7, 67, 72, 69, 67, 75, 73, 78, 8, 67, 72, 69, 67, 75, 79, 85, 84, 4, 67, 79, 80, 89,
  5, 76, 65, 66, 69, 76, 4, 76, 73, 78, 75, 4, 76, 79, 67, 75, 5, 77, 69, 82, 71, 69, 10, 77, 75,
  65, 67, 84, 73, 86, 73, 84, 89, 10, 77, 75, 67, 65, 76, 69, 78, 68, 65, 82, 5, 77, 75, 67, 79, 76,
  13, 77, 75, 82, 69, 68, 73, 82, 69, 67, 84, 82, 69, 70, 11, 77, 75, 87, 79, 82, 75, 83, 80, 65,
  67, 69, 4, 77, 79, 86, 69, 10, 79, 82, 68, 69, 82, 80, 65, 84, 67, 72, 8, 80, 82, 79, 80, 70, 73,
  78, 68, 9, 80, 82, 79, 80, 80, 65, 84, 67, 72, 5, 81, 85, 69, 82, 89, 6, 82, 69, 66, 73, 78, 68,
  6, 82, 69, 80, 79, 82, 84, 6, 83, 69, 65, 82, 67, 72, 6, 85, 78, 66, 73, 78, 68, 10, 85, 78, 67,
  72, 69, 67, 75, 79, 85, 84, 6, 85, 78, 76, 73, 78, 75, 6, 85, 78, 76, 79, 67, 75, 6, 85, 80, 68,
  65, 84, 69, 17, 85, 80, 68, 65, 84, 69, 82, 69, 68, 73, 82, 69, 67, 84, 82, 69, 70, 15, 86, 69,
  82, 83, 73, 79, 78, 45, 67, 79, 78, 84, 82, 79, 76, 8, 77, 45, 83, 69, 65, 82, 67, 72, 6, 78, 79,
  84, 73, 70, 89, 5, 80, 85, 82, 71, 69, 6, 83, 79, 85, 82, 67, 69, 9, 83, 85, 66, 83, 67, 82, 73,
  66, 69, 11, 85, 78, 83, 85, 66, 83, 67, 82, 73, 66, 69, 0,
]);

/**
 * Returns the address of a method's spelling: a byte of length, then the letters. An entry of length 0 ends the table.
 */
export function methodName(method: u32): usize {
  let at = METHODS;
  while (method > 0 && load<u8>(at) != 0) {
    at += (load<u8>(at) as usize) + 1;
    method--;
  }
  return at;
}

/** Method of a head whose method has not been parsed yet. */
const NO_METHOD: u8 = 255;

function findMethod(at: usize, length: u32): i32 {
  if (length == 3 && load<u16>(at) == 0x4547 && load<u8>(at + 2) == 0x54) return Method.GET;
  let entry = METHODS;
  for (let i: i32 = 0; load<u8>(entry) != 0; i++) {
    const n: u32 = load<u8>(entry);
    if (n == length && memory.compare(at, entry + 1, length) == 0) return i;
    entry += (n as usize) + 1;
  }
  return -1;
}

/** Returns true when the `length` bytes at `at` begin a method of the table. */
export function beginsMethod(at: usize, length: u32): bool {
  let entry = METHODS;
  while (load<u8>(entry) != 0) {
    const n: u32 = load<u8>(entry);
    if (n >= length && memory.compare(at, entry + 1, length) == 0) return true;
    entry += (n as usize) + 1;
  }
  return false;
}

/** Prepares a connection for the next head. */
export function beginHead(c: HttpConn): void {
  c.scan = 0;
  c.line = 0;
  c.chunk = REQUEST_LINE;
  c.method = NO_METHOD;
  c.traits = 0;
  c.headers = 0;
  c.headLength = 0;
  c.bodyLength = 0;
  c.bodyLeft = 0;
}

/** Returns true when the request line of the present request has been parsed. */
export function hasLine(c: HttpConn): bool {
  return c.chunk != REQUEST_LINE || c.headLength != 0;
}

/**
 * Continues a head.
 * @param data address of the connection's bytes; the head starts at `data + c.start`
 * @param table address of the table for its entries
 * @returns MORE, DONE, or a CloseReason
 */
export function parseHead(c: HttpConn, data: usize, table: usize): i32 {
  const end = data + c.end;
  if (c.chunk == REQUEST_LINE) {
    const result = parseFirstLine(c, data, end);
    if (result != DONE) return result;
  }
  return parseFields(c, data + c.start, end, table);
}

/** Continues the request line and the empty lines before it. When DONE, `c.line` and `c.scan` are after the line. */
function parseFirstLine(c: HttpConn, data: usize, end: usize): i32 {
  // The longest valid line, wherever it is cut: a method, the target, the version.
  const limit = min(paramU32(Param.HeadBytes), paramU32(Param.TargetBytes) + LINE_ROOM);
  while (true) {
    const head = data + c.start;
    // A refusal of the head must know whether it may have a body (RFC 9110 9.3.2), so HEAD is recognized first.
    if (end - head >= 5) {
      if (load<u32>(head) == HEAD_WORD && load<u8>(head, 4) == 0x20) c.method = Method.HEAD as u8;
    }
    const stop = findControl(head + c.scan, end);
    if (stop - head > limit) return tooLong(head, stop);
    c.scan = (stop - head) as u32;
    if (stop + 1 >= end) return cutAt(stop, end);
    if (load<u16>(stop) != CRLF) return CloseReason.BadRequest;
    if (stop != head) {
      const failed = parseRequestLine(c, head, stop);
      if (failed != 0) return failed;
      c.chunk = FIELDS;
      c.line = (stop + 2 - head) as u32;
      c.scan = c.line;
      return DONE;
    }
    // Empty lines before a request are ignored (RFC 9112 2.2).
    c.start += 2;
    c.scan = 0;
  }
}

/** Returns MORE for a line whose end has not arrived, or BadRequest when it has a control octet other than CR. */
function cutAt(stop: usize, end: usize): i32 {
  return stop < end && load<u8>(stop) != CR ? CloseReason.BadRequest : MORE;
}

/** Continues the fields, up to the empty line. */
function parseFields(c: HttpConn, head: usize, end: usize, table: usize): i32 {
  const limit = paramU32(Param.HeadBytes);
  let line = head + c.line;
  let scan = head + c.scan;
  while (true) {
    // The first control octet must be the CR LF that ends the line. So one pass finds the end and refuses NUL, bare CR,
    // bare LF and the others (RFC 9112 2.2, RFC 9110 5.5).
    const stop = findControl(scan, end);
    if (stop - head > limit) return CloseReason.LargeHead;
    if (stop + 1 >= end) {
      c.line = (line - head) as u32;
      c.scan = (stop - head) as u32;
      return cutAt(stop, end);
    }
    if (load<u16>(stop) != CRLF) return CloseReason.BadRequest;
    const next = stop + 2;
    if (line == stop) {
      if (next - head > limit) return CloseReason.LargeHead;
      c.headLength = (next - head) as u16;
      c.scan = (next - head) as u32;
      return finishHead(c);
    }
    const failed = parseField(c, head, line, stop, table);
    if (failed != 0) return failed;
    line = next;
    scan = next;
  }
}

/** Returns the reason to refuse a request line that is too long: its method or its target. */
function tooLong(head: usize, stop: usize): i32 {
  const methodEnd = skipToken(head, stop);
  if (methodEnd == stop || methodEnd - head > METHOD_BYTES) return CloseReason.UnknownMethod;
  return load<u8>(methodEnd) == 0x20 ? CloseReason.PathTooLong : CloseReason.BadRequest;
}

/** Parses method SP request-target SP HTTP-version (RFC 9112 3). */
function parseRequestLine(c: HttpConn, head: usize, stop: usize): i32 {
  // `stop` points to a CR, which is neither a method character nor a space.
  const methodEnd = skipToken(head, stop);
  if (methodEnd == head) return CloseReason.BadRequest;
  if (load<u8>(methodEnd) != 0x20) return CloseReason.BadRequest;
  const target = methodEnd + 1;
  const at = skipVisible(target, stop);
  const targetLength = (at - target) as u32;
  if (targetLength > paramU32(Param.TargetBytes)) return CloseReason.PathTooLong;
  // The rest must be exactly SP "HTTP/" DIGIT "." DIGIT.
  if (stop - at != 9) return CloseReason.BadRequest;
  if (targetLength == 0) return CloseReason.BadRequest;
  if (load<u8>(at) != 0x20) return CloseReason.BadRequest;
  if (((load<u32>(at, 1) ^ HTTP_WORD) | (load<u32>(at, 5) ^ VERSION_WORD)) == 0) {
    c.minor = 1;
  } else {
    const failed = parseVersion(c, at + 1);
    if (failed != 0) return failed;
  }
  const method = findMethod(head, (methodEnd - head) as u32);
  if (method < 0 || method == Method.CONNECT) return CloseReason.UnknownMethod;
  c.method = method as u8;
  c.target = (target - head) as u16;
  c.targetLength = targetLength as u16;
  // origin-form, asterisk-form for OPTIONS, or absolute-form (RFC 9112 3.2).
  const first = load<u8>(target);
  if (first == 0x2f) return 0;
  if (first == 0x2a && targetLength == 1 && method == Method.OPTIONS) return 0;
  if (isAbsolute(target, at)) {
    c.traits |= Trait.Absolute;
    return 0;
  }
  return CloseReason.BadRequest;
}

/** Parses "HTTP/" DIGIT "." DIGIT (RFC 9112 2.3). */
function parseVersion(c: HttpConn, at: usize): i32 {
  if (load<u32>(at) != HTTP_WORD || load<u8>(at, 4) != 0x2f || load<u8>(at, 6) != 0x2e) {
    return CloseReason.BadRequest;
  }
  const major: u32 = (load<u8>(at, 5) as u32) - 48;
  const minor: u32 = (load<u8>(at, 7) as u32) - 48;
  if (major > 9 || minor > 9) return CloseReason.BadRequest;
  if (major != 1) return CloseReason.UnsupportedVersion;
  // A higher minor version is read as the highest known (RFC 9110 2.5).
  c.minor = minor == 0 ? 0 : 1;
  return 0;
}

/**
 * Returns true for an absolute-form (RFC 9112 3.2.2) with a scheme of this server (http, https, ws or wss), "://" and a
 * valid authority.
 */
function isAbsolute(at: usize, end: usize): bool {
  const start = at;
  while (at < end && ((load<u8>(at) as u32) | 0x20) - 97 < 26) at++;
  if (!isScheme(start, (at - start) as u32) || end - at < 4) return false;
  if (load<u8>(at) != 0x3a || load<u16>(at + 1) != 0x2f2f) return false;
  at += 3;
  let stop = at;
  while (stop < end && load<u8>(stop) != 0x2f && load<u8>(stop) != 0x3f && load<u8>(stop) != 0x23)
    stop++;
  return isHost(at, stop);
}

function isScheme(at: usize, length: u32): bool {
  switch (length) {
    case 2:
    case 3:
      return equalFold(at, WSS, length);
    case 4:
    case 5:
      return equalFold(at, HTTPS, length);
    default:
      return false;
  }
}

/**
 * Parses field-name ":" OWS field-value OWS (RFC 9112 5). A line that starts with white space is obs-fold, and is
 * refused.
 */
function parseField(c: HttpConn, head: usize, line: usize, stop: usize, table: usize): i32 {
  // `stop` points to a CR, which is neither a name character nor a colon.
  const nameEnd = skipToken(line, stop);
  if (nameEnd == line) return CloseReason.BadRequest;
  if (load<u8>(nameEnd) != 0x3a) return CloseReason.BadRequest;
  if ((c.headers as u32) >= paramU32(Param.Headers)) return CloseReason.TooManyHeaders;
  // Most clients send one space before the value and none after it. Octets up to 0x20 are blanks or that CR.
  let value = nameEnd + 1;
  if (load<u8>(value) == 0x20) value++;
  if (load<u8>(value) <= 0x20) value = skipBlank(value, stop);
  let valueEnd = stop;
  if (load<u8>(stop - 1) <= 0x20) valueEnd = trimBlank(value, stop);
  const nameLength = (nameEnd - line) as u32;
  const entry = table + (c.headers as usize) * HEADER_ENTRY_BYTES;
  store<u32>(entry, ((line - head) as u32) | (nameLength << 16));
  store<u32>(entry, ((value - head) as u32) | (((valueEnd - value) as u32) << 16), 4);
  c.headers++;
  switch (nameLength) {
    case 4:
      if (equalFold(line, HOST, 4)) return takeHost(c, value, valueEnd);
      break;
    case 6:
      if (equalFold(line, EXPECT, 6)) c.traits |= expectTraits(value, valueEnd);
      break;
    case 7:
      if (equalFold(line, UPGRADE, 7) && hasWord(value, valueEnd, WEBSOCKET, 9)) {
        c.traits |= Trait.UpgradeWebSocket;
      }
      break;
    case 10:
      if (equalFold(line, CONNECTION, 10)) c.traits |= connectionTraits(value, valueEnd);
      break;
    case 14:
      if (equalFold(line, CONTENT_LENGTH, 14)) return takeContentLength(c, value, valueEnd);
      break;
    case 17:
      if (equalFold(line, TRANSFER_ENCODING, 17)) return takeTransferEncoding(c, value, valueEnd);
      if (equalFold(line, WS_KEY, 17)) {
        if (c.traits & Trait.Key || !isKey(value, (valueEnd - value) as u32)) {
          c.traits |= Trait.Key;
          c.key = 0;
        } else {
          c.traits |= Trait.Key;
          c.key = (value - head) as u16;
        }
      }
      break;
    case 21:
      if (equalFold(line, WS_VERSION, 21)) {
        // Two such fields are a list, which is not allowed (RFC 6455 11.3.5).
        const is13 = valueEnd - value == 2 && load<u16>(value) == 0x3331;
        c.traits |= is13 && !(c.traits & Trait.Version13) ? Trait.Version13 : Trait.VersionOther;
      }
      break;
    default:
      break;
  }
  return 0;
}

/** Returns the end of the element of a comma-separated list that begins at `at`: its comma, or `end`. */
function elementEnd(at: usize, end: usize): usize {
  while (at < end && load<u8>(at) != 0x2c) at++;
  return at;
}

/** Returns true when a comma-separated list contains a word, ignoring case. */
function hasWord(at: usize, end: usize, word: usize, length: u32): bool {
  while (at < end) {
    const stop = elementEnd(at, end);
    const from = skipBlank(at, stop);
    const to = trimBlank(from, stop);
    if (to - from == length && equalFold(from, word, length)) return true;
    at = stop + 1;
  }
  return false;
}

/** Returns the known options of a Connection field (RFC 9110 7.6.1). */
function connectionTraits(at: usize, end: usize): u32 {
  let traits: u32 = 0;
  while (at < end) {
    const stop = elementEnd(at, end);
    const from = skipBlank(at, stop);
    const length = (trimBlank(from, stop) - from) as u32;
    if (length == 5 && equalFold(from, CLOSE, 5)) traits |= Trait.Close;
    if (length == 7 && equalFold(from, UPGRADE, 7)) traits |= Trait.ConnectionUpgrade;
    if (length == 10 && equalFold(from, KEEP_ALIVE, 10)) traits |= Trait.KeepAlive;
    at = stop + 1;
  }
  return traits;
}

/**
 * Returns the traits of an Expect field (RFC 9110 10.1.1): whether its list has 100-continue, and whether it has
 * others.
 */
function expectTraits(at: usize, end: usize): u32 {
  let traits: u32 = 0;
  while (at < end) {
    const stop = elementEnd(at, end);
    const from = skipBlank(at, stop);
    const length = (trimBlank(from, stop) - from) as u32;
    if (length == 12 && equalFold(from, CONTINUE, 12)) traits |= Trait.Expect;
    else if (length > 0) traits |= Trait.ExpectOther;
    at = stop + 1;
  }
  return traits;
}

function takeHost(c: HttpConn, at: usize, end: usize): i32 {
  if (c.traits & Trait.Host || !isHost(at, end)) return CloseReason.BadHost;
  c.traits |= Trait.Host;
  return 0;
}

/** Parses 1*DIGIT, once (RFC 9110 8.6). Lists and repetitions are refused even when they agree. */
function takeContentLength(c: HttpConn, at: usize, end: usize): i32 {
  if (c.traits & Trait.ContentLength || at == end) return CloseReason.BadContentLength;
  let value: u64 = 0;
  while (at < end) {
    const digit: u32 = (load<u8>(at) as u32) - 48;
    if (digit > 9) return CloseReason.BadContentLength;
    // A length beyond any number is still a length, and too large.
    value = value > LENGTH_LIMIT ? value : value * 10 + (digit as u64);
    at++;
  }
  c.traits |= Trait.ContentLength;
  c.bodyLeft = value;
  return 0;
}

/**
 * Parses a transfer-coding list (RFC 9112 6.1, 7). Only chunked is known, and it must be once, last and without
 * parameters.
 */
function takeTransferEncoding(c: HttpConn, at: usize, end: usize): i32 {
  c.traits |= Trait.TransferEncoding;
  let found = false;
  while (at < end) {
    const from = skipBlank(at, end);
    const to = skipToken(from, end);
    const parametersEnd = to > from ? skipParameters(to, end) : to;
    const after: usize = parametersEnd == 0 ? 0 : skipBlank(parametersEnd, end);
    if (after == 0 || (after < end && load<u8>(after) != 0x2c)) {
      return CloseReason.BadTransferEncoding;
    }
    if (to > from) {
      found = true;
      if (c.traits & Trait.Chunked) return CloseReason.BadTransferEncoding;
      if (to - from == 7 && equalFold(from, CHUNKED, 7)) {
        // RFC 9112 7.1: chunked has no parameters, so having any is an error.
        if (parametersEnd != to) return CloseReason.BadTransferEncoding;
        c.traits |= Trait.Chunked;
      } else {
        c.chunk = FIELDS | 0x100; // an unknown coding, which finishHead refuses
      }
    }
    at = after + 1;
  }
  return found ? 0 : CloseReason.BadTransferEncoding;
}

/** Skips *( OWS ";" OWS token BWS "=" BWS ( token / quoted-string ) ). Returns the end, or 0 when it is malformed. */
function skipParameters(at: usize, end: usize): usize {
  while (true) {
    const semicolon = skipBlank(at, end);
    if (semicolon == end || load<u8>(semicolon) != 0x3b) return at;
    const name = skipBlank(semicolon + 1, end);
    const nameEnd = skipToken(name, end);
    const equals = skipBlank(nameEnd, end);
    if (nameEnd == name || equals == end || load<u8>(equals) != 0x3d) return 0;
    const value = skipBlank(equals + 1, end);
    at =
      value < end && load<u8>(value) == 0x22 ? skipQuoted(value + 1, end) : skipToken(value, end);
    if (at == 0 || at == value) return 0;
  }
}

/** Returns the position after the closing quote of a quoted-string that began before `at`, 0 when there is none. */
function skipQuoted(at: usize, end: usize): usize {
  while (at < end && load<u8>(at) != 0x22) at += load<u8>(at) == 0x5c ? 2 : 1;
  return at < end ? at + 1 : 0;
}

/** Evaluates the fields together and prepares the body. */
function finishHead(c: HttpConn): i32 {
  const traits = c.traits;
  if (!(traits & Trait.Host) && c.minor == 1) return CloseReason.MissingHost;
  if (traits & Trait.TransferEncoding) {
    // RFC 9112 6.1, 6.3: both framings, or any transfer coding from HTTP/1.0, may be an attempt at smuggling.
    if (traits & Trait.ContentLength || c.minor == 0) return CloseReason.BadTransferEncoding;
    // RFC 9112 6.3: a list that does not end with chunked is answered 400. RFC 9112 6.1: an unknown coding is answered
    // 501.
    if (!(traits & Trait.Chunked)) return CloseReason.BadTransferEncoding;
    if (c.chunk != FIELDS) return CloseReason.UnsupportedTransferEncoding;
  } else if (!(traits & Trait.ContentLength)) {
    const m = c.method;
    if (paramU32(Param.RequireContentLength) != 0) {
      if (m == Method.POST || m == Method.PUT || m == Method.PATCH)
        return CloseReason.MissingContentLength;
    }
  }
  if (traits & Trait.ExpectOther) return CloseReason.UnsupportedExpectation;
  // RFC 9112 9.3: HTTP/1.1 persists unless the client asks to close, HTTP/1.0 only when it asks to persist.
  if (!(traits & Trait.Close) && (c.minor == 1 || traits & Trait.KeepAlive))
    c.traits |= Trait.Persistent;
  const failed = checkHandshake(c);
  if (failed != 0) return failed;
  // Where bodies may be streamed, the embedder's choice decides which limit applies.
  const isAsked = engine.streams != 0 && !(c.traits & Trait.Upgrade);
  if (isAsked && (traits & Trait.Chunked || c.bodyLeft != 0)) c.traits |= Trait.BodyToCome;
  else if (!isLengthAllowed(c)) return CloseReason.LargeRequest;
  c.bodyLength = 0;
  if (traits & Trait.Chunked) beginChunks(c);
  else c.chunk = PLAIN_BODY;
  return DONE;
}

/** Returns false when the Content-Length exceeds the limit of a collected body. */
export function isLengthAllowed(c: HttpConn): bool {
  return !(c.traits & Trait.ContentLength) || c.bodyLeft <= (paramU32(Param.BodyBytes) as u64);
}

/**
 * Checks the opening handshake (RFC 6455 4.2.1). An Upgrade to another protocol, or from HTTP/1.0, is ignored (RFC 9110
 * 7.8). A key with only one of the two fields that ask for the upgrade is a handshake without the other.
 */
function checkHandshake(c: HttpConn): i32 {
  const asked = c.traits & (Trait.ConnectionUpgrade | Trait.UpgradeWebSocket);
  if (c.minor == 0 || asked == 0) return 0;
  const traits = c.traits;
  if (asked != (Trait.ConnectionUpgrade | Trait.UpgradeWebSocket)) {
    return traits & Trait.Key ? CloseReason.WsMissingUpgrade : 0;
  }
  if (c.method != Method.GET) return CloseReason.BadRequest;
  if (traits & Trait.VersionOther) return CloseReason.WsUnexpectedVersion;
  if (!(traits & Trait.Version13)) return CloseReason.WsMissingVersion;
  if (!(traits & Trait.Key)) return CloseReason.WsMissingKey;
  if (c.key == 0) return CloseReason.WsBadKey;
  c.traits |= Trait.Upgrade;
  return 0;
}

/**
 * Continues a body. A chunked one is decoded in place, so that it is contiguous after its head. When DONE, `c.scan` is
 * the end of the request and `c.bodyLength` the decoded length.
 * @returns MORE, DONE, or a CloseReason
 */
export function parseBody(c: HttpConn, data: usize): i32 {
  const head = data + c.start;
  const end = data + c.end;
  const body = head + c.headLength;
  if (!isChunked(c)) {
    if (((end - body) as u64) < c.bodyLeft) return MORE;
    c.bodyLength = c.bodyLeft as u32;
    c.scan = (c.headLength as u32) + c.bodyLength;
    return DONE;
  }
  const limit = paramU32(Param.BodyBytes) as u64;
  const result = decodeChunks(c, head + c.scan, end, body + c.bodyLength, limit);
  c.scan = (decoded.readTo - head) as u32;
  c.bodyLength = (decoded.end - body) as u32;
  return result;
}

/** Drops the framing of a chunked body that is not whole, so that only decoded bytes use the buffer. */
export function closeUp(c: HttpConn): void {
  if (!isChunked(c)) return;
  c.scan = (c.headLength as u32) + c.bodyLength;
  c.end = c.start + c.scan;
}

/** Returns the most bytes that a streamed body may have. */
function streamLimit(): u64 {
  const limit = param(Param.StreamBytes) as u64;
  return limit == 0 ? LENGTH_LIMIT : limit;
}

/** Returns false when the Content-Length exceeds the limit of a streamed body. */
export function isStreamAllowed(c: HttpConn): bool {
  return !(c.traits & Trait.ContentLength) || c.bodyLeft <= streamLimit();
}

/**
 * Continues a streamed body, in place. The decoded bytes are in [at, decodedTo).
 * @returns MORE, DONE (the body ends at `readTo`), or a CloseReason
 */
export function parseStream(c: HttpConn, at: usize, end: usize): i32 {
  if (isChunked(c)) return decodeChunks(c, at, end, at, streamLimit());
  const n = min<u64>((end - at) as u64, c.bodyLeft);
  c.bodyLeft -= n;
  passPlain(at + (n as usize));
  return c.bodyLeft == 0 ? DONE : MORE;
}

/** Returns true when the request expects 100 (Continue). */
export function wantsContinue(c: HttpConn): bool {
  return (c.traits & Trait.Expect) != 0 && c.minor == 1;
}

/** Returns true when [at, end) is a token, as the name of a response field must be. */
export function isToken(at: usize, end: usize): bool {
  return at < end && isTchar(load<u8>(at)) && skipToken(at, end) == end;
}
