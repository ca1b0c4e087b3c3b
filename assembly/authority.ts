// uri-host [ ":" port ] (RFC 9110 7.2, RFC 3986 3.2.2): the Host field and the authority of an absolute target.
//
// Invariant: what is taken can be read in one way only. Userinfo, lists of hosts, zone ids and IPvFuture
// are refused.

import { hexDigit, readIPv6 } from "./address";

/** True when [at, end) is a host that is not empty, with or without a port. */
export function isHost(at: usize, end: usize): bool {
  if (at == end) return false;
  let stop = at;
  if (load<u8>(at) == 0x5b) {
    while (stop < end && load<u8>(stop) != 0x5d) stop++;
    if (stop == end || !readIPv6(at + 1, stop)) return false;
    stop++;
  } else {
    while (stop < end && load<u8>(stop) != 0x3a) stop++;
    if (stop == at || !isRegName(at, stop)) return false;
  }
  return stop == end || (load<u8>(stop) == 0x3a && isPort(stop + 1, end));
}

/** *DIGIT, in range. */
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

/** *( unreserved / pct-encoded / sub-delims ), but for the comma: a list of hosts is refused. */
function isRegName(at: usize, end: usize): bool {
  while (at < end) {
    const c: u32 = load<u8>(at);
    if (c == 0x25) {
      if (end - at < 3 || hexDigit(load<u8>(at + 1)) > 15 || hexDigit(load<u8>(at + 2)) > 15) {
        return false;
      }
    } else if (!isNameOctet(c)) {
      return false;
    }
    at++;
  }
  return true;
}

function isNameOctet(c: u32): bool {
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
