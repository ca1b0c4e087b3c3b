// Parses the PROXY protocol of HAProxy, versions 1 and 2, by which a proxy names the client that connected to it.
//
// Invariant: a header is accepted whole, or refused at the first octet that proves it wrong. The bytes after it are not
// examined.

import { CloseReason } from "../abi";
import { ADDRESS, mapIPv4, readIPv4, readIPv6, upTo } from "../kernel/address";
import { isPort } from "../kernel/authority";
import { loadBe16 } from "../kernel/bytes";
import { DONE, MORE } from "./http";

/** Longest line of version 1, and longest accepted header of version 2, in octets. */
const LINE_LIMIT: u32 = 107;
const HEADER_LIMIT: u32 = 4096;

/** "PROXY ", and the signature at the start of a version 2 header. */
const PROXY = memory.data<u8>([80, 82, 79, 88, 89, 32]);
const SIGNATURE = memory.data<u8>([13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10]);

/** "TCP4", "TCP6", and both halves of "UNKNOWN" as words. */
const TCP4: u32 = 0x34504354;
const TCP6: u32 = 0x36504354;
const UNKN: u32 = 0x4e4b4e55;
const NOWN: u32 = 0x4e574f4e;

/** The PROXY header that was parsed last. */
@unmanaged
export class ProxyHead {
  /** Length in octets. */
  bytes: u32;
  /** Whether it names a client, whose address is then at ADDRESS. */
  hasClient: bool;
}

export const proxyHead = changetype<ProxyHead>(memory.data(8, 8));

/** Returns true when [at, end) is the beginning of `mark`, or begins with it. */
function agrees(at: usize, end: usize, mark: usize, length: u32): bool {
  for (let i: u32 = 0; i < length && at + i < end; i++) {
    if (load<u8>(at + i) != load<u8>(mark + i)) return false;
  }
  return true;
}

/**
 * Parses the header at the start of a connection, in [at, end), which is not empty.
 * @returns MORE, DONE, or a CloseReason
 */
export function parseProxy(at: usize, end: usize): i32 {
  proxyHead.hasClient = false;
  return load<u8>(at) == 0x50 ? parseLine(at, end) : parseBinary(at, end);
}

/** Returns true for a port without leading zeros that is not empty. */
function isPlainPort(at: usize, end: usize): bool {
  return at != end && !(load<u8>(at) == 48 && end - at > 1) && isPort(at, end);
}

function readOf(family: u32, at: usize, end: usize): bool {
  return family == TCP4 ? readIPv4(at, end) : readIPv6(at, end);
}

/**
 * Parses "PROXY" SP ( "TCP4" / "TCP6" ) SP source SP destination SP port SP port CRLF, or "PROXY UNKNOWN" and anything.
 */
function parseLine(at: usize, end: usize): i32 {
  if (!agrees(at, end, PROXY, 6)) return CloseReason.BadProxyHeader;
  const limit = at + LINE_LIMIT - 1;
  const stop = upTo(at, min(end, limit), 13);
  if (stop == limit || (stop + 1 < end && load<u8>(stop + 1) != 10))
    return CloseReason.BadProxyHeader;
  if (stop + 1 >= end) return MORE;
  proxyHead.bytes = (stop + 2 - at) as u32;
  const family = load<u32>(at, 6);
  if (stop - at >= 13 && family == UNKN && load<u32>(at, 9) == NOWN) {
    return stop - at == 13 || load<u8>(at, 13) == 0x20 ? DONE : CloseReason.BadProxyHeader;
  }
  if (stop - at < 11 || (family != TCP4 && family != TCP6) || load<u8>(at, 10) != 0x20) {
    return CloseReason.BadProxyHeader;
  }
  const source = at + 11;
  const sourceEnd = upTo(source, stop, 0x20);
  const targetEnd = upTo(min(sourceEnd + 1, stop), stop, 0x20);
  const portEnd = upTo(min(targetEnd + 1, stop), stop, 0x20);
  if (portEnd == stop) return CloseReason.BadProxyHeader;
  // The source is read last, so that its address remains at ADDRESS.
  proxyHead.hasClient =
    readOf(family, sourceEnd + 1, targetEnd) &&
    isPlainPort(targetEnd + 1, portEnd) &&
    isPlainPort(portEnd + 1, stop) &&
    readOf(family, source, sourceEnd);
  return proxyHead.hasClient ? DONE : CloseReason.BadProxyHeader;
}

/** Returns the octets of the addresses of a family, 0 … 3. */
function addressBytes(family: u32): u32 {
  return family == 0 ? 0 : family == 1 ? 12 : family == 2 ? 36 : 216;
}

/**
 * Parses twelve octets of signature, version and command, family and transport, length, addresses, and anything else.
 */
function parseBinary(at: usize, end: usize): i32 {
  if (!agrees(at, end, SIGNATURE, 12)) return CloseReason.BadProxyHeader;
  if (end - at < 16) return MORE;
  const command: u32 = load<u8>(at, 12);
  const kind: u32 = load<u8>(at, 13);
  const length = loadBe16(at + 14);
  const isLocal = command == 0x20;
  if (!isLocal && command != 0x21) return CloseReason.BadProxyHeader;
  if (kind >> 4 > 3 || (kind & 15) > 2 || length + 16 > HEADER_LIMIT) {
    return CloseReason.BadProxyHeader;
  }
  if (!isLocal && length < addressBytes(kind >> 4)) return CloseReason.BadProxyHeader;
  proxyHead.bytes = length + 16;
  if (end - at < (proxyHead.bytes as usize)) return MORE;
  // Other transports than TCP over IP, and the proxy's own connections, name no client.
  proxyHead.hasClient = !isLocal && (kind == 0x11 || kind == 0x21);
  if (kind == 0x11) {
    mapIPv4();
    store<u32>(ADDRESS, load<u32>(at, 16), 12);
  } else {
    v128.store(ADDRESS, v128.load(at + 16));
  }
  return DONE;
}
