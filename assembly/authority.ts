// uri-host [ ":" port ] (RFC 9110 7.2, RFC 3986 3.2.2): the Host field and the authority of an absolute target.
//
// Invariant: what is taken can be read in one way only. Userinfo, lists of hosts, zone ids and IPvFuture
// are refused.

import { skipName } from "./bytes";

/** Value of a hexadecimal digit; 255 for another octet. */
export function hexDigit(c: u32): u32 {
  if (c - 48 < 10) return c - 48;
  const letter = (c | 0x20) - 97;
  return letter < 6 ? letter + 10 : 255;
}

/** True when [at, end) is a host that is not empty, with or without a port. */
export function isHost(at: usize, end: usize): bool {
  if (at == end) return false;
  let stop = at;
  if (load<u8>(at) == 0x5b) {
    while (stop < end && load<u8>(stop) != 0x5d) stop++;
    if (stop == end || !isIPv6(at + 1, stop)) return false;
    stop++;
  } else {
    stop = skipRegName(at, end);
    if (stop == at) return false;
  }
  return stop == end || (load<u8>(stop) == 0x3a && isPort(stop + 1, end));
}

/** *DIGIT, in range. */
function isPort(at: usize, end: usize): bool {
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

/** IPv6address: eight groups of 16 bits, the last two perhaps as IPv4; "::" once, for at least one of them. */
function isIPv6(at: usize, end: usize): bool {
  let groups: u32 = 0;
  let shortened = false;
  if (end - at >= 2 && load<u16>(at) == 0x3a3a) {
    shortened = true;
    at += 2;
  }
  while (at < end) {
    const start = at;
    while (at < end && hexDigit(load<u8>(at)) < 16) at++;
    if (at < end && load<u8>(at) == 0x2e) {
      if (!isIPv4(start, end)) return false;
      groups += 2;
      break;
    }
    if (at == start || at - start > 4) return false;
    groups++;
    if (at == end) break;
    if (load<u8>(at) != 0x3a) return false;
    at++;
    if (at == end) return false;
    if (load<u8>(at) == 0x3a) {
      if (shortened) return false;
      shortened = true;
      at++;
    }
  }
  return shortened ? groups < 8 : groups == 8;
}

/** Four dec-octets without leading zeros. */
function isIPv4(at: usize, end: usize): bool {
  for (let i = 0; i < 4; i++) {
    const start = at;
    let value: u32 = 0;
    while (at < end && (load<u8>(at) as u32) - 48 < 10) {
      value = value * 10 + (load<u8>(at) as u32) - 48;
      at++;
      if (value > 255 || at - start > 3) return false;
    }
    if (at == start || (load<u8>(start) == 48 && at - start > 1)) return false;
    if (i == 3) return at == end;
    if (at == end || load<u8>(at) != 0x2e) return false;
    at++;
  }
  return false;
}

/**
 * *( unreserved / pct-encoded / sub-delims ), but for the comma: a list of hosts is refused.
 * @returns the first octet that is no part of it, `end` if none
 */
function skipRegName(at: usize, end: usize): usize {
  while (true) {
    const stop = skipName(at, end);
    if (end - stop < 3 || load<u8>(stop) != 0x25) return stop;
    if (hexDigit(load<u8>(stop + 1)) > 15 || hexDigit(load<u8>(stop + 2)) > 15) return stop;
    at = stop + 3;
  }
}
