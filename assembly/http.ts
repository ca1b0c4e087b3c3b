// HTTP/1.1 requests (RFC 9110, 9112): bytes to a head table and a body, or a CloseReason. Strict: what
// could be read in two ways is refused, never repaired.
//
// Invariant: a head is looked at once. `scan` says how far, `line` where the current line starts; each
// whole line becomes an entry of the table at once, so a head that trickles in costs no more than one
// that comes in one piece. Offsets are from the head's first byte and below 65,536.

import { CloseReason, HEADER_ENTRY_BYTES, Method, Param, Trait } from "./abi";
import { equalFold, findControl, isTchar, skipBlank, skipToken, trimBlank } from "./bytes";
import { isKey } from "./base64";
import { Conn, paramU32 } from "./conn";

/** What the parsers return beside a CloseReason. */
export const MORE: i32 = 0;
export const DONE: i32 = 1;

// Phases of a head, in Conn.chunk; then those of a body.
const REQUEST_LINE: u32 = 0;
const FIELDS: u32 = 1;
const PLAIN_BODY: u32 = 2;
const CHUNK_SIZE: u32 = 3;
const CHUNK_DATA: u32 = 4;
const CHUNK_END: u32 = 5;
const TRAILERS: u32 = 6;

/** Bytes of a chunk's size line, extensions included. */
const CHUNK_LINE_BYTES: u32 = 1024;

/** No registered method is longer. */
const METHOD_BYTES: u32 = 32;

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
// Values.
const CLOSE = memory.data<u8>([99, 108, 111, 115, 101]);
const KEEP_ALIVE = memory.data<u8>([107, 101, 101, 112, 45, 97, 108, 105, 118, 101]);
const WEBSOCKET = memory.data<u8>([119, 101, 98, 115, 111, 99, 107, 101, 116]);
const CHUNKED = memory.data<u8>([99, 104, 117, 110, 107, 101, 100]);
const CONTINUE = memory.data<u8>([49, 48, 48, 45, 99, 111, 110, 116, 105, 110, 117, 101]);

// The registered methods (IANA HTTP Method Registry) after those of `Method`: length, then letters.
// ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT COPY LABEL LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL
// MKREDIRECTREF MKWORKSPACE MOVE ORDERPATCH PROPFIND PROPPATCH QUERY REBIND REPORT SEARCH UNBIND
// UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL; GET … CONNECT first.
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
  82, 83, 73, 79, 78, 45, 67, 79, 78, 84, 82, 79, 76, 0,
]);

/** Address of a method's spelling: a byte of length, then the letters; the entry of length 0 ends the table. */
export function methodName(method: u32): usize {
  let at = METHODS;
  while (method > 0 && load<u8>(at) != 0) {
    at += (load<u8>(at) as usize) + 1;
    method--;
  }
  return at;
}

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

/** Readies a connection for the next head. */
export function beginHead(c: Conn): void {
  c.scan = 0;
  c.line = 0;
  c.chunk = REQUEST_LINE;
  c.traits = 0;
  c.headers = 0;
  c.headLength = 0;
  c.bodyLength = 0;
  c.bodyLeft = 0;
}

/**
 * Goes on with a head.
 * @param data address of the connection's bytes; the head starts at `data + c.start`
 * @param table where its entries go
 * @returns MORE, DONE, or a CloseReason
 */
export function parseHead(c: Conn, data: usize, table: usize): i32 {
  let head = data + c.start;
  const end = data + c.end;
  const limit = paramU32(Param.HeadBytes);
  // The longest line that can be right, wherever it is cut: a method, the target, the version.
  const lineLimit = min(limit, paramU32(Param.TargetBytes) + 64);
  while (true) {
    // The end of the line is the first control octet, and must be CR LF: so one pass finds it and
    // refuses NUL, bare CR, bare LF and the others (RFC 9112 2.2, RFC 9110 5.5).
    const stop = findControl(head + c.scan, end);
    if (stop - head > (c.chunk == REQUEST_LINE ? lineLimit : limit)) return tooLong(c, head, stop);
    if (stop + 1 >= end) {
      if (stop < end && load<u8>(stop) != CR) return CloseReason.BadRequest;
      c.scan = (stop - head) as u32;
      return MORE;
    }
    if (load<u16>(stop) != CRLF) return CloseReason.BadRequest;
    const line = head + c.line;
    const next = (stop + 2 - head) as u32;
    if (c.chunk == REQUEST_LINE) {
      if (line == stop) {
        // Empty lines before a request are ignored (RFC 9112 2.2).
        c.start += 2;
        head += 2;
        c.scan = 0;
        continue;
      }
      const failed = parseRequestLine(c, head, stop);
      if (failed != 0) return failed;
      c.chunk = FIELDS;
    } else if (line == stop) {
      if (next > limit) return CloseReason.LargeHead;
      c.headLength = next as u16;
      c.scan = next;
      return finishHead(c);
    } else {
      const failed = parseField(c, head, line, stop, table);
      if (failed != 0) return failed;
    }
    c.line = next;
    c.scan = next;
  }
}

/** What is too long: the method, the target or the fields. */
function tooLong(c: Conn, head: usize, stop: usize): i32 {
  if (c.chunk != REQUEST_LINE) return CloseReason.LargeHead;
  const methodEnd = skipToken(head, stop);
  if (methodEnd == stop || methodEnd - head > METHOD_BYTES) return CloseReason.UnknownMethod;
  return load<u8>(methodEnd) == 0x20 ? CloseReason.PathTooLong : CloseReason.BadRequest;
}

/** method SP request-target SP HTTP-version (RFC 9112 3). */
function parseRequestLine(c: Conn, head: usize, stop: usize): i32 {
  const methodEnd = skipToken(head, stop);
  if (methodEnd == head || methodEnd == stop || load<u8>(methodEnd) != 0x20) {
    return CloseReason.BadRequest;
  }
  const target = methodEnd + 1;
  let at = target;
  while (at < stop && load<u8>(at) > 0x20 && load<u8>(at) < 0x7f) at++;
  const targetLength = (at - target) as u32;
  if (targetLength > paramU32(Param.TargetBytes)) return CloseReason.PathTooLong;
  // What follows is exactly SP "HTTP/" DIGIT "." DIGIT.
  if (targetLength == 0 || stop - at != 9 || load<u8>(at) != 0x20) return CloseReason.BadRequest;
  if (load<u32>(at + 1) != 0x50545448 || load<u8>(at + 5) != 0x2f || load<u8>(at + 7) != 0x2e) {
    return CloseReason.BadRequest;
  }
  const major: u32 = (load<u8>(at + 6) as u32) - 48;
  const minor: u32 = (load<u8>(at + 8) as u32) - 48;
  if (major > 9 || minor > 9) return CloseReason.BadRequest;
  if (major != 1) return CloseReason.UnsupportedVersion;
  // A higher minor version is read as the highest known (RFC 9110 2.5).
  c.minor = minor == 0 ? 0 : 1;
  const method = findMethod(head, (methodEnd - head) as u32);
  if (method < 0 || method == Method.CONNECT) return CloseReason.UnknownMethod;
  c.method = method as u8;
  c.target = (target - head) as u16;
  c.targetLength = targetLength as u16;
  // origin-form, asterisk-form for OPTIONS, absolute-form (RFC 9112 3.2).
  const first = load<u8>(target);
  if (first == 0x2f) return 0;
  if (first == 0x2a && targetLength == 1 && method == Method.OPTIONS) return 0;
  if (isAbsolute(target, at)) {
    c.traits |= Trait.Absolute;
    return 0;
  }
  return CloseReason.BadRequest;
}

/** "http://" or "https://" (ws and wss too) and a valid authority. */
function isAbsolute(at: usize, end: usize): bool {
  const start = at;
  while (at < end && ((load<u8>(at) as u32) | 0x20) - 97 < 26) at++;
  if (at == start || end - at < 4) return false;
  if (load<u8>(at) != 0x3a || load<u16>(at + 1) != 0x2f2f) return false;
  at += 3;
  let stop = at;
  while (stop < end && load<u8>(stop) != 0x2f && load<u8>(stop) != 0x3f && load<u8>(stop) != 0x23)
    stop++;
  return isHost(at, stop);
}

/** field-name ":" OWS field-value OWS (RFC 9112 5). A line that starts with white space is obs-fold: refused. */
function parseField(c: Conn, head: usize, line: usize, stop: usize, table: usize): i32 {
  const nameEnd = skipToken(line, stop);
  if (nameEnd == line || nameEnd == stop || load<u8>(nameEnd) != 0x3a)
    return CloseReason.BadRequest;
  if ((c.headers as u32) >= paramU32(Param.Headers)) return CloseReason.TooManyHeaders;
  const value = skipBlank(nameEnd + 1, stop);
  const valueEnd = trimBlank(value, stop);
  const nameLength = (nameEnd - line) as u32;
  const entry = table + (c.headers as usize) * HEADER_ENTRY_BYTES;
  store<u16>(entry, (line - head) as u16);
  store<u16>(entry, nameLength as u16, 2);
  store<u16>(entry, (value - head) as u16, 4);
  store<u16>(entry, (valueEnd - value) as u16, 6);
  c.headers++;
  switch (nameLength) {
    case 4:
      if (equalFold(line, HOST, 4)) return takeHost(c, value, valueEnd);
      break;
    case 6:
      if (equalFold(line, EXPECT, 6)) {
        const known = valueEnd - value == 12 && equalFold(value, CONTINUE, 12);
        c.traits |= known ? Trait.Expect : Trait.ExpectOther;
      }
      break;
    case 7:
      if (equalFold(line, UPGRADE, 7) && hasWord(value, valueEnd, WEBSOCKET, 9)) {
        c.traits |= Trait.UpgradeWebSocket;
      }
      break;
    case 10:
      if (equalFold(line, CONNECTION, 10)) {
        if (hasWord(value, valueEnd, CLOSE, 5)) c.traits |= Trait.Close;
        if (hasWord(value, valueEnd, KEEP_ALIVE, 10)) c.traits |= Trait.KeepAlive;
        if (hasWord(value, valueEnd, UPGRADE, 7)) c.traits |= Trait.ConnectionUpgrade;
      }
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
        const is13 = valueEnd - value == 2 && load<u16>(value) == 0x3331;
        c.traits |= is13 ? Trait.Version13 : Trait.VersionOther;
      }
      break;
    default:
      break;
  }
  return 0;
}

/** True when a comma-separated list holds a word, whatever its case. */
function hasWord(at: usize, end: usize, word: usize, length: u32): bool {
  while (at < end) {
    let stop = at;
    while (stop < end && load<u8>(stop) != 0x2c) stop++;
    const from = skipBlank(at, stop);
    const to = trimBlank(from, stop);
    if (to - from == length && equalFold(from, word, length)) return true;
    at = stop + 1;
  }
  return false;
}

function takeHost(c: Conn, at: usize, end: usize): i32 {
  if (c.traits & Trait.Host || !isHost(at, end)) return CloseReason.BadHost;
  c.traits |= Trait.Host;
  return 0;
}

/** uri-host [ ":" port ], not empty, without userinfo (RFC 9110 7.2, RFC 3986 3.2.2). */
function isHost(at: usize, end: usize): bool {
  if (at == end) return false;
  if (load<u8>(at) == 0x5b) {
    // IPv6address: at least two colons among hex digits and dots. IPvFuture has no use yet: refused.
    at++;
    let colons: u32 = 0;
    while (at < end && load<u8>(at) != 0x5d) {
      const c: u32 = load<u8>(at);
      if (c == 0x3a) colons++;
      else if (hexDigit(c) > 15 && c != 0x2e) return false;
      at++;
    }
    if (at == end || colons < 2) return false;
    at++;
  } else {
    const start = at;
    while (at < end && load<u8>(at) != 0x3a) {
      const c: u32 = load<u8>(at);
      if (c == 0x25) {
        if (end - at < 3 || hexDigit(load<u8>(at + 1)) > 15 || hexDigit(load<u8>(at + 2)) > 15) {
          return false;
        }
      } else if (!isRegName(c)) {
        return false;
      }
      at++;
    }
    if (at == start) return false;
  }
  if (at == end) return true;
  if (load<u8>(at) != 0x3a) return false;
  at++;
  let port: u32 = 0;
  while (at < end) {
    const digit: u32 = (load<u8>(at) as u32) - 48;
    if (digit > 9) return false;
    port = port * 10 + digit;
    if (port > 65535) return false;
    at++;
  }
  return true;
}

/** unreserved / sub-delims of RFC 3986, but for the comma: a list of hosts is refused. */
function isRegName(c: u32): bool {
  if (c - 48 < 10 || (c | 0x20) - 97 < 26) return true;
  switch (c) {
    case 0x2d: // -
    case 0x2e: // .
    case 0x5f: // _
    case 0x7e: // ~
    case 0x21: // !
    case 0x24: // $
    case 0x26: // &
    case 0x27: // '
    case 0x28: // (
    case 0x29: // )
    case 0x2a: // *
    case 0x2b: // +
    case 0x3b: // ;
    case 0x3d: // =
      return true;
    default:
      return false;
  }
}

function hexDigit(c: u32): u32 {
  if (c - 48 < 10) return c - 48;
  const letter = (c | 0x20) - 97;
  return letter < 6 ? letter + 10 : 255;
}

/** 1*DIGIT, once (RFC 9110 8.6). Lists and repetitions are refused even when they agree. */
function takeContentLength(c: Conn, at: usize, end: usize): i32 {
  if (c.traits & Trait.ContentLength || at == end) return CloseReason.BadContentLength;
  let value: u64 = 0;
  while (at < end) {
    const digit: u32 = (load<u8>(at) as u32) - 48;
    if (digit > 9) return CloseReason.BadContentLength;
    value = value * 10 + (digit as u64);
    if (value > 0x1fffffffffffff) return CloseReason.BadContentLength;
    at++;
  }
  c.traits |= Trait.ContentLength;
  c.bodyLeft = value > 0xffffffff ? 0xffffffff : (value as u32);
  return 0;
}

/** transfer-coding list (RFC 9112 6.1): chunked, once and last, is the only one known. */
function takeTransferEncoding(c: Conn, at: usize, end: usize): i32 {
  c.traits |= Trait.TransferEncoding;
  let found = false;
  while (at < end) {
    const from = skipBlank(at, end);
    const to = skipToken(from, end);
    const after = skipBlank(to, end);
    if (after < end && load<u8>(after) != 0x2c) return CloseReason.BadTransferEncoding;
    if (to > from) {
      found = true;
      if (c.traits & Trait.Chunked) return CloseReason.BadTransferEncoding;
      if (to - from == 7 && equalFold(from, CHUNKED, 7)) c.traits |= Trait.Chunked;
      else c.chunk = FIELDS | 0x100; // a coding we do not know, seen by finishHead
    }
    at = after + 1;
  }
  return found ? 0 : CloseReason.BadTransferEncoding;
}

/** What the fields say together. Sets up the body. */
function finishHead(c: Conn): i32 {
  const traits = c.traits;
  if (!(traits & Trait.Host) && c.minor == 1) return CloseReason.MissingHost;
  if (traits & Trait.TransferEncoding) {
    // RFC 9112 6.1, 6.3: both framings, or any transfer coding from 1.0, is an attempt at smuggling.
    if (traits & Trait.ContentLength || c.minor == 0) return CloseReason.BadTransferEncoding;
    // RFC 9112 6.3: not chunked at the end is 400; RFC 9112 6.1: a coding that is not known is 501.
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
  if (c.bodyLeft > paramU32(Param.BodyBytes)) return CloseReason.LargeRequest;
  // RFC 9112 9.3: 1.1 persists unless told not to, 1.0 only when asked to.
  if (!(traits & Trait.Close) && (c.minor == 1 || traits & Trait.KeepAlive))
    c.traits |= Trait.Persistent;
  const failed = checkHandshake(c);
  if (failed != 0) return failed;
  c.bodyLength = 0;
  if (traits & Trait.Chunked) c.chunk = CHUNK_SIZE;
  else c.chunk = PLAIN_BODY;
  c.line = c.scan;
  return DONE;
}

/** RFC 6455 4.2.1. An Upgrade that is not ours, or from 1.0, is ignored (RFC 9110 7.8). */
function checkHandshake(c: Conn): i32 {
  const traits = c.traits;
  if (c.minor == 0 || !(traits & Trait.ConnectionUpgrade)) return 0;
  if (!(traits & Trait.UpgradeWebSocket)) {
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
 * Goes on with a body; a chunked one is decoded in place, so that it stands whole behind its head.
 * When DONE, `c.scan` is the end of the request and `c.bodyLength` the decoded length.
 * @returns MORE, DONE, or a CloseReason
 */
export function parseBody(c: Conn, data: usize): i32 {
  const result = decodeBody(c, data);
  if (result == MORE && c.chunk >= CHUNK_SIZE) closeUp(c, data + c.start);
  return result;
}

/** Moves the bytes that are not decoded up to those that are: framing takes no room. */
function closeUp(c: Conn, head: usize): void {
  const inLine = c.chunk == CHUNK_SIZE || c.chunk == TRAILERS;
  const from = inLine ? c.line : c.scan;
  const to = (c.headLength as u32) + c.bodyLength;
  if (from <= to) return;
  const gap = from - to;
  memory.copy(head + to, head + from, c.end - c.start - from);
  c.end -= gap;
  c.scan -= gap;
  c.line -= gap;
  // Where the trailers began; wraps, as the difference that is taken of it does.
  if (c.chunk == TRAILERS) c.bodyLeft -= gap;
}

function decodeBody(c: Conn, data: usize): i32 {
  const head = data + c.start;
  const end = data + c.end;
  if (c.chunk == PLAIN_BODY) {
    const have = ((end - head) as u32) - (c.headLength as u32);
    if (have < c.bodyLeft) return MORE;
    c.bodyLength = c.bodyLeft;
    c.scan = (c.headLength as u32) + c.bodyLeft;
    return DONE;
  }
  while (true) {
    const at = head + c.scan;
    if (c.chunk == CHUNK_DATA) {
      const n = min((end - at) as u32, c.bodyLeft);
      if (n == 0) return MORE;
      memory.copy(head + c.headLength + c.bodyLength, at, n);
      c.bodyLength += n;
      c.bodyLeft -= n;
      c.scan += n;
      if (c.bodyLeft > 0) return MORE;
      c.chunk = CHUNK_END;
      continue;
    }
    if (c.chunk == CHUNK_END) {
      if (end - at < 2) return at < end && load<u8>(at) != CR ? CloseReason.BadChunk : MORE;
      if (load<u16>(at) != CRLF) return CloseReason.BadChunk;
      c.scan += 2;
      c.chunk = CHUNK_SIZE;
      c.line = c.scan;
      continue;
    }
    // A line: a chunk's size, or a trailer field. `line` is where it starts.
    const stop = findControl(at, end);
    const line = head + c.line;
    if (c.chunk == CHUNK_SIZE && stop - line > CHUNK_LINE_BYTES) return CloseReason.BadChunk;
    if (c.chunk == TRAILERS && stop - head - c.bodyLeft > paramU32(Param.HeadBytes))
      return CloseReason.LargeHead;
    if (stop + 1 >= end) {
      if (stop < end && load<u8>(stop) != CR) return CloseReason.BadChunk;
      if (c.chunk == CHUNK_SIZE && stop > line && !isSizeStart(line, stop))
        return CloseReason.BadChunk;
      c.scan = (stop - head) as u32;
      return MORE;
    }
    if (load<u16>(stop) != CRLF) return CloseReason.BadChunk;
    c.scan = (stop + 2 - head) as u32;
    c.line = c.scan;
    if (c.chunk == CHUNK_SIZE) {
      const failed = takeChunkSize(c, line, stop);
      if (failed != 0) return failed;
    } else if (line == stop) {
      return DONE;
    } else {
      // A trailer field is checked and dropped (RFC 9110 6.5.1).
      const nameEnd = skipToken(line, stop);
      if (nameEnd == line || nameEnd == stop || load<u8>(nameEnd) != 0x3a)
        return CloseReason.BadChunk;
    }
  }
}

/** False when the start of a size line can already not become one: so that garbage is refused at once. */
function isSizeStart(at: usize, stop: usize): bool {
  let digits: u32 = 0;
  while (at < stop && hexDigit(load<u8>(at)) < 16) {
    at++;
    digits++;
  }
  if (digits == 0) return false;
  if (at == stop) return true;
  const c = load<u8>(at);
  return c == 0x3b || c == 0x20 || c == 0x09;
}

/** chunk-size [ chunk-ext ] (RFC 9112 7.1), to the grammar. */
function takeChunkSize(c: Conn, at: usize, stop: usize): i32 {
  const start = at;
  let size: u64 = 0;
  while (at < stop) {
    const digit = hexDigit(load<u8>(at));
    if (digit > 15) break;
    size = (size << 4) | (digit as u64);
    if (size > 0xffffffffffff) return CloseReason.BadChunk;
    at++;
  }
  if (at == start || !isExtensions(at, stop)) return CloseReason.BadChunk;
  if (size == 0) {
    c.chunk = TRAILERS;
    // Where the trailers begin, to bound them.
    c.bodyLeft = c.scan;
    return 0;
  }
  if ((c.bodyLength as u64) + size > (paramU32(Param.BodyBytes) as u64))
    return CloseReason.LargeRequest;
  c.bodyLeft = size as u32;
  c.chunk = CHUNK_DATA;
  return 0;
}

/** *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] ), nothing behind it. */
function isExtensions(at: usize, stop: usize): bool {
  while (at < stop) {
    at = skipBlank(at, stop);
    if (at == stop || load<u8>(at) != 0x3b) return false;
    at = skipBlank(at + 1, stop);
    const name = at;
    at = skipToken(at, stop);
    if (at == name) return false;
    const after = skipBlank(at, stop);
    if (after == stop || load<u8>(after) != 0x3d) continue;
    at = skipBlank(after + 1, stop);
    if (at == stop) return false;
    if (load<u8>(at) == 0x22) {
      at++;
      while (at < stop && load<u8>(at) != 0x22) at += load<u8>(at) == 0x5c ? 2 : 1;
      if (at >= stop) return false;
      at++;
    } else {
      const value = at;
      at = skipToken(at, stop);
      if (at == value) return false;
    }
  }
  return true;
}

/** True when the request expects 100 (Continue) and its body has not come along. */
export function wantsContinue(c: Conn): bool {
  return (c.traits & Trait.Expect) != 0 && c.minor == 1;
}

/** True when [at, end) is a token: a field name for a response. */
export function isToken(at: usize, end: usize): bool {
  return at < end && isTchar(load<u8>(at)) && skipToken(at, end) == end;
}
