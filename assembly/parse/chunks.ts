// Decodes chunked bodies (RFC 9112 7.1), octet by octet except for the data itself.
//
// Invariant: every octet is consumed at once, so no part of the framing is ever stored. The first octet that cannot be
// part of a chunked body refuses it, however the bytes are cut.

import { CloseReason, Param } from "../abi";
import { hexDigit } from "../kernel/address";
import { isTchar } from "../kernel/bytes";
import { paramU32, HttpConn } from "../state/records";

/** Results of the parsers besides a CloseReason. */
export const MORE: i32 = 0;
export const DONE: i32 = 1;

/** Position within a chunked body: the values of `Conn.chunk` from Phase.Size on. */
namespace Phase {
  /** The first digit of a size is next. */
  export const Size: u32 = 16;
  export const Digits: u32 = 17;
  /** Blanks before a semicolon. */
  export const Blank: u32 = 18;
  /** After a semicolon: blanks, then a name. */
  export const Name: u32 = 19;
  export const InName: u32 = 20;
  /** Blanks after a name. An equals sign or a semicolon follows. */
  export const AfterName: u32 = 21;
  export const Value: u32 = 22;
  export const InValue: u32 = 23;
  export const Quoted: u32 = 24;
  export const Escaped: u32 = 25;
  export const AfterQuoted: u32 = 26;
  export const SizeEnd: u32 = 27;
  export const Data: u32 = 28;
  export const DataCr: u32 = 29;
  export const DataLf: u32 = 30;
  /** The first octet of a trailer field, or of the empty line that ends the body, is next. */
  export const Trailer: u32 = 31;
  export const TrailerName: u32 = 32;
  export const TrailerValue: u32 = 33;
  export const TrailerEnd: u32 = 34;
  export const LastLf: u32 = 35;
}

/**
 * Longest size line of a chunk in octets, extensions included. A longer one is refused, so that a line cannot grow
 * without end.
 */
const CHUNK_LINE_BYTES: u32 = 1024;
/** Largest chunk size, 48 bits. With it the sums stay below 2^54. */
const SIZE_LIMIT: u64 = 0xffffffffffff;

/** Results of the last call of `decodeChunks`, or of `parseStream`. */
@unmanaged
export class Decoded {
  /** Position at which it stopped reading. */
  readTo: usize;
  /** End of the bytes that it decoded. */
  end: usize;
}

export const decoded = changetype<Decoded>(memory.data(8, 8));

/** Prepares a connection for a chunked body. */
export function beginChunks(c: HttpConn): void {
  c.chunk = Phase.Size;
  c.bodyLeft = 0;
  c.bodyTotal = 0;
  c.lineBytes = 0;
}

/** Returns true while a connection's body is chunked. */
export function isChunked(c: HttpConn): bool {
  return c.chunk >= Phase.Size;
}

/**
 * Decodes the octets of [at, end) to `to`, which is at or before `at`.
 * @param limit most bytes of the whole decoded body
 * @returns MORE when all octets were consumed, DONE when the body ends at `readTo`, or a CloseReason. Whatever the
 * result, the decoded bytes end at `decodedTo`
 */
export function decodeChunks(c: HttpConn, at: usize, end: usize, to: usize, limit: u64): i32 {
  let result = MORE;
  while (at < end && result == MORE) {
    if (c.chunk == Phase.Data) {
      const n = min<u64>((end - at) as u64, c.bodyLeft) as usize;
      if (to != at) memory.copy(to, at, n);
      to += n;
      at += n;
      c.bodyLeft -= n as u64;
      if (c.bodyLeft == 0) c.chunk = Phase.DataCr;
      continue;
    }
    result = c.chunk >= Phase.Trailer ? trailer(c, load<u8>(at)) : line(c, load<u8>(at), limit);
    at++;
  }
  decoded.readTo = at;
  decoded.end = to;
  return result;
}

/** Records the address up to which a body that is not chunked was read. */
export function passPlain(to: usize): void {
  decoded.readTo = to;
  decoded.end = to;
}

function isBlank(octet: u32): bool {
  return octet == 0x20 || octet == 0x09;
}

function isControl(octet: u32): bool {
  return (octet < 0x20 && octet != 0x09) || octet == 0x7f;
}

/**
 * Consumes an octet of chunk-size *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] ) CRLF, or of the CRLF
 * after the data.
 */
function line(c: HttpConn, octet: u32, limit: u64): i32 {
  switch (c.chunk) {
    case Phase.SizeEnd:
      return octet == 0x0a ? takeSize(c, limit) : CloseReason.BadChunk;
    case Phase.DataCr:
      c.chunk = Phase.DataLf;
      return octet == 0x0d ? MORE : CloseReason.BadChunk;
    case Phase.DataLf:
      c.chunk = Phase.Size;
      c.lineBytes = 0;
      return octet == 0x0a ? MORE : CloseReason.BadChunk;
    default:
      break;
  }
  if (octet != 0x0d) c.lineBytes++;
  if (c.lineBytes > CHUNK_LINE_BYTES) return CloseReason.BadChunk;
  const next = nextPhase(c, octet);
  c.chunk = next;
  return next == 0 ? CloseReason.BadChunk : MORE;
}

/** Returns the phase after an octet of a size line, 0 when the octet is not allowed there. */
function nextPhase(c: HttpConn, octet: u32): u32 {
  const digit = hexDigit(octet);
  switch (c.chunk) {
    case Phase.Size:
    case Phase.Digits:
      if (digit > 15) return c.chunk == Phase.Digits ? afterPart(octet) : 0;
      c.bodyLeft = (c.bodyLeft << 4) | (digit as u64);
      return c.bodyLeft > SIZE_LIMIT ? 0 : Phase.Digits;
    case Phase.Blank:
      return isBlank(octet) ? Phase.Blank : octet == 0x3b ? Phase.Name : 0;
    case Phase.Name:
      return isBlank(octet) ? Phase.Name : isTchar(octet) ? Phase.InName : 0;
    case Phase.InName:
      if (isTchar(octet)) return Phase.InName;
      if (isBlank(octet)) return Phase.AfterName;
      return octet == 0x3d ? Phase.Value : afterPart(octet);
    case Phase.AfterName:
      if (isBlank(octet)) return Phase.AfterName;
      return octet == 0x3d ? Phase.Value : octet == 0x3b ? Phase.Name : 0;
    case Phase.Value:
      if (isBlank(octet)) return Phase.Value;
      return octet == 0x22 ? Phase.Quoted : isTchar(octet) ? Phase.InValue : 0;
    case Phase.InValue:
      return isTchar(octet) ? Phase.InValue : afterPart(octet);
    case Phase.Quoted:
      if (octet == 0x22) return Phase.AfterQuoted;
      return isControl(octet) ? 0 : octet == 0x5c ? Phase.Escaped : Phase.Quoted;
    case Phase.Escaped:
      return isControl(octet) ? 0 : Phase.Quoted;
    case Phase.AfterQuoted:
      return afterPart(octet);
    default:
      return 0;
  }
}

/**
 * Returns the phase after the end of a size, a name or a value: the end of the line, or another extension. 0 for other
 * octets.
 */
function afterPart(octet: u32): u32 {
  if (octet == 0x0d) return Phase.SizeEnd;
  return isBlank(octet) ? Phase.Blank : octet == 0x3b ? Phase.Name : 0;
}

function takeSize(c: HttpConn, limit: u64): i32 {
  c.lineBytes = 0;
  if (c.bodyLeft == 0) {
    c.chunk = Phase.Trailer;
    return MORE;
  }
  // Both are below 2^54, so the sum does not wrap.
  if (c.bodyTotal + c.bodyLeft > limit) return CloseReason.LargeRequest;
  c.bodyTotal += c.bodyLeft;
  c.chunk = Phase.Data;
  return MORE;
}

/** Consumes an octet of the trailers. Their fields are checked and dropped (RFC 9110 6.5.1). */
function trailer(c: HttpConn, octet: u32): i32 {
  const limit = paramU32(Param.HeadBytes);
  if (isControl(octet) || c.chunk >= Phase.TrailerEnd) return trailerLine(c, octet, limit);
  c.lineBytes++;
  if (c.lineBytes > limit) return CloseReason.LargeHead;
  if (c.chunk == Phase.TrailerValue) return MORE;
  if (isTchar(octet) && (c.chunk == Phase.Trailer || c.chunk == Phase.TrailerName)) {
    c.chunk = Phase.TrailerName;
    return MORE;
  }
  if (octet != 0x3a || c.chunk != Phase.TrailerName) return CloseReason.BadChunk;
  c.chunk = Phase.TrailerValue;
  return MORE;
}

/** Consumes a control octet of the trailers, which ends a field or the body. */
function trailerLine(c: HttpConn, octet: u32, limit: u32): i32 {
  if (octet == 0x0d) {
    if (c.chunk != Phase.Trailer && c.chunk != Phase.TrailerValue) return CloseReason.BadChunk;
    c.chunk = c.chunk == Phase.Trailer ? Phase.LastLf : Phase.TrailerEnd;
    return MORE;
  }
  if (octet != 0x0a) return CloseReason.BadChunk;
  if (c.chunk == Phase.LastLf) return DONE;
  if (c.chunk != Phase.TrailerEnd) return CloseReason.BadChunk;
  c.chunk = Phase.Trailer;
  c.lineBytes += 2;
  return c.lineBytes > limit ? CloseReason.LargeHead : MORE;
}
