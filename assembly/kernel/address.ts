// Parses addresses in text (RFC 3986 3.2.2, RFC 4007 11) into sixteen octets.
//
// Invariant: an IPv4 address and the IPv6 address it is mapped to (::ffff:a.b.c.d) are the same octets.

import { storeBe16 } from "./bytes";

/** The address that was read last. */
export const ADDRESS = memory.data(16, 8);
/** Buffer for the text of an address, which the embedder fills. */
export const ADDRESS_TEXT = memory.data(64, 8);
/** Longest text of an address in bytes: IPv6 with the name of a zone. Longer texts are no addresses. */
const TEXT_LIMIT: u32 = 64;

const GROUPS: u32 = 8;
/** Position of the gap in an address without "::". */
const NOWHERE: u32 = 9;

/** Returns the first position in [at, end) with this octet, `end` if there is none. For short ranges. */
export function upTo(at: usize, end: usize, octet: u32): usize {
  while (at < end && load<u8>(at) != octet) at++;
  return at;
}

/** Returns the value of a hexadecimal digit, 255 for any other octet. */
export function hexDigit(c: u32): u32 {
  if (c - 48 < 10) return c - 48;
  const letter = (c | 0x20) - 97;
  return letter < 6 ? letter + 10 : 255;
}

/** Reads four dec-octets without leading zeros to `to`. */
function readOctets(at: usize, end: usize, to: usize): bool {
  for (let i: u32 = 0; i < 4; i++) {
    const start = at;
    let value: u32 = 0;
    while (at < end && (load<u8>(at) as u32) - 48 < 10) {
      value = value * 10 + (load<u8>(at) as u32) - 48;
      at++;
      if (value > 255 || at - start > 3) return false;
    }
    if (at == start || (load<u8>(start) == 48 && at - start > 1)) return false;
    store<u8>(to + i, value as u8);
    if (i == 3) return at == end;
    if (at == end || load<u8>(at) != 0x2e) return false;
    at++;
  }
  return false;
}

/** Marks the four octets at the end of ADDRESS as an IPv4 address. */
export function mapIPv4(): void {
  store<u64>(ADDRESS, 0);
  store<u32>(ADDRESS, 0xffff0000, 8);
}

/** Parses an IPv4address. */
export function readIPv4(at: usize, end: usize): bool {
  mapIPv4();
  return readOctets(at, end, ADDRESS + 12);
}

/**
 * Parses an IPv6address: eight groups of 16 bits, the last two possibly in IPv4 form, and at most one "::" for one or
 * more groups.
 */
export function readIPv6(at: usize, end: usize): bool {
  let groups: u32 = 0;
  // Number of groups before "::".
  let gap: u32 = NOWHERE;
  if (end - at >= 2 && load<u16>(at) == 0x3a3a) {
    gap = 0;
    at += 2;
  }
  while (at < end) {
    if (groups == GROUPS) return false;
    const start = at;
    let value: u32 = 0;
    for (; at < end && hexDigit(load<u8>(at)) < 16; at++)
      value = (value << 4) | hexDigit(load<u8>(at));
    if (at < end && load<u8>(at) == 0x2e) {
      if (groups > GROUPS - 2 || !readOctets(start, end, ADDRESS + (groups << 1))) return false;
      groups += 2;
      break;
    }
    if (at == start || at - start > 4) return false;
    storeBe16(ADDRESS + (groups << 1), value);
    groups++;
    if (at == end) break;
    if (load<u8>(at) != 0x3a) return false;
    at++;
    if (at == end) return false;
    if (load<u8>(at) == 0x3a) {
      if (gap != NOWHERE) return false;
      gap = groups;
      at++;
    }
  }
  if (gap == NOWHERE) return groups == GROUPS;
  if (groups == GROUPS) return false;
  // The groups after "::" move to the end.
  const from = ADDRESS + (gap << 1);
  const tail = (groups - gap) << 1;
  const to = ADDRESS + 16 - tail;
  memory.copy(to, from, tail);
  memory.fill(from, 0, to - from);
  return true;
}

/** Parses an address. The zone of an IPv6 address is ignored. */
export function readAddress(at: usize, length: u32): bool {
  if (length > TEXT_LIMIT) return false;
  const end = at + length;
  if (upTo(at, end, 0x3a) == end) return readIPv4(at, end);
  return readIPv6(at, upTo(at, end, 0x25));
}
