// Parses uri-host [ ":" port ] (RFC 9110 7.2, RFC 3986 3.2.2): the Host field and the authority of an absolute target.
//
// Invariant: an accepted value can be read in one way only. Userinfo, lists of hosts, zone ids and IPvFuture are
// refused.

import { hexDigit, readIPv6 } from "./address";
import { skipName } from "./bytes";

/** Returns true when [at, end) is a host that is not empty, with or without a port. */
export function isHost(at: usize, end: usize): bool {
  if (at == end) return false;
  let stop = at;
  if (load<u8>(at) == 0x5b) {
    while (stop < end && load<u8>(stop) != 0x5d) stop++;
    if (stop == end || !readIPv6(at + 1, stop)) return false;
    stop++;
  } else {
    stop = skipRegName(at, end);
    if (stop == at) return false;
  }
  return stop == end || (load<u8>(stop) == 0x3a && isPort(stop + 1, end));
}

/** Returns true for *DIGIT in the range of ports. */
export function isPort(at: usize, end: usize): bool {
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

/**
 * Skips *( unreserved / pct-encoded / sub-delims ). The comma is excluded, so that a list of hosts is refused.
 * @returns the first octet after it, `end` if there is none
 */
function skipRegName(at: usize, end: usize): usize {
  while (true) {
    const stop = skipName(at, end);
    if (end - stop < 3 || load<u8>(stop) != 0x25) return stop;
    if (hexDigit(load<u8>(stop + 1)) > 15 || hexDigit(load<u8>(stop + 2)) > 15) return stop;
    at = stop + 3;
  }
}
