// Publications and messages as server-sent events (WHATWG HTML 9.2):
//
//   id: k2v9x0aa-0000000001f    the position; not in a message for one client alone
//   event: prices               the topic that it was published to, with Param.EventNames
//   data: first line            one for each line of the message; CR, LF and CRLF end a line
//   data: second line
//                               the blank line that ends the event
//
// Invariant: whatever a message holds, it is in `data` fields, so it cannot add a field or end the event. A browser
// gets the message's lines, joined by LF. Binary messages are base64 (RFC 4648 4), on one line.

import { FrameFlag, Param } from "../abi";
import { encode } from "../kernel/base64";
import { copy } from "../kernel/bytes";
import { putText } from "../kernel/text";
import { param } from "../state/records";

/** Bytes of "id: ", a position and LF; of "data: "; and of the position's parts. */
const ID_BYTES: u32 = 25;
export const FIELD_BYTES: u32 = 6;
const EPOCH_DIGITS: u32 = 8;
const SEQUENCE_DIGITS: u32 = 11;

/** Writes a number in base 36, with leading zeros. Returns the end. */
function putDigits(at: usize, value: u64, digits: u32): usize {
  for (let i = digits; i > 0; i--) {
    const digit = (value % 36) as u32;
    value /= 36;
    store<u8>(at + (i - 1), (digit < 10 ? 48 + digit : 87 + digit) as u8);
  }
  return at + digits;
}

/** Returns the address of the first CR or LF at or after `at`, or `end`. It may read 15 bytes beyond `end`. */
export function lineEnd(at: usize, end: usize): usize {
  while (at < end) {
    const bytes = v128.load(at);
    const found = i8x16.bitmask(
      v128.or(i8x16.eq(bytes, i8x16.splat(10)), i8x16.eq(bytes, i8x16.splat(13))),
    );
    if (found != 0) return min(at + ctz(found), end);
    at += 16;
  }
  return end;
}

/** Returns the address after the line break at `at`. */
export function nextLine(at: usize, end: usize): usize {
  // mutant event-crlf: return at + 1;
  return load<u8>(at) == 13 && at + 1 < end && load<u8>(at, 1) == 10 ? at + 2 : at + 1;
}

/** Returns the bytes of a message as an event without an id. They may exceed u32, as a line break becomes seven. */
export function eventBytes(payload: usize, length: u32, flags: u32): u64 {
  const ends: u64 = FIELD_BYTES + 2;
  if (flags & FrameFlag.Binary) return ends + (((length as u64) + 2) / 3) * 4;
  let bytes = ends + (length as u64);
  const end = payload + length;
  let at = lineEnd(payload, end);
  while (at < end) {
    const next = nextLine(at, end);
    bytes += (FIELD_BYTES as u64) + 1 - ((next - at) as u64);
    at = lineEnd(next, end);
  }
  return bytes;
}

/** Bytes that a publication's event has besides those of `eventBytes`. */
export const PUBLISHED_BYTES: u32 = ID_BYTES;

/** The field of the last position that was written, and the sequence of that position. */
const ID = memory.data(32, 8);
const ID_END: usize = ID + (ID_BYTES as usize);
let idSequence: u64 = u64.MAX_VALUE;

/** Adds 1 to the digits that end before `end`. */
function increment(end: usize): void {
  for (let at = end - 1; ; at--) {
    const digit: u32 = load<u8>(at);
    if (digit != 122) {
      store<u8>(at, (digit == 57 ? 97 : digit + 1) as u8);
      return;
    }
    store<u8>(at, 48);
  }
}

/** Writes the text of a position. Returns the end. */
export function putPosition(at: usize, sequence: u64): usize {
  const end = putDigits(at, param(Param.Epoch) as u64, EPOCH_DIGITS);
  store<u8>(end, 45);
  return putDigits(end + 1, sequence, SEQUENCE_DIGITS);
}

/** Writes the field of a position. Returns the end. @param sequence number of publications up to it */
export function putId(at: usize, sequence: u64): usize {
  if (idSequence + 1 == sequence && sequence != 0) {
    increment(ID_END - 1);
  } else {
    store<u8>(putPosition(putText(ID, "id: "), sequence), 10);
  }
  idSequence = sequence;
  copy(at, ID, ID_BYTES);
  return at + ID_BYTES;
}

/** Bytes of "event: " and LF, which are around a name. */
const NAME_BYTES: u32 = 8;
/** Name of the current publication's event, and its bytes, 0 without one. */
let name: usize = 0;
let nameLength: u32 = 0;

/** Sets the name of the current publication's event. Returns the bytes of its field. @param length 0: it has none */
export function setName(text: usize, length: u32): u32 {
  name = text;
  nameLength = length;
  // mutant event-measure: return length;
  return length == 0 ? 0 : length + NAME_BYTES;
}

/** Writes the field of the name, if there is one. Returns the end. */
function putName(at: usize): usize {
  if (nameLength == 0) return at;
  at = putText(at, "event: ");
  copy(at, name, nameLength);
  store<u8>(at + nameLength, 10);
  return at + nameLength + 1;
}

/** Writes a publication as an event, as long as `eventBytes`, PUBLISHED_BYTES and the field of its name together. */
export function putEvent(at: usize, payload: usize, length: u32, flags: u32, sequence: u64): void {
  at = putText(putName(putId(at, sequence)), "data: ");
  if (flags & FrameFlag.Binary) {
    store<u16>(encode(at, payload, length), 0x0a0a);
    return;
  }
  const end = payload + length;
  while (true) {
    const stop = lineEnd(payload, end);
    copy(at, payload, (stop - payload) as u32);
    at += stop - payload;
    if (stop >= end) break;
    payload = nextLine(stop, end);
    // mutant event-line: at = putText(at, "\n");
    at = putText(at, "\ndata: ");
  }
  store<u16>(at, 0x0a0a);
}

/** Bytes of the event that replaces one which is larger than the ring of events. */
export const GAP_BYTES: u32 = ID_BYTES + 46;

/** Writes that event: its readers missed a publication. */
export function putGap(at: usize, sequence: u64): void {
  putText(putId(at, sequence), 'event: ringcast-gap\ndata: {"reason":"large"}\n\n');
}
