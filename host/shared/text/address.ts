// Peers' addresses and ranges of them, as `trustProxy` and `proxyProtocol` name them.
//
// Invariant: an IPv4 address equals the IPv6 address that it is mapped to (::ffff:a.b.c.d).

/** Eight groups of 16 bits. */
type Address = readonly number[];

interface Range {
  readonly address: Address;
  readonly bits: number;
}

const MAPPED: Address = [0, 0, 0, 0, 0, 0xffff];

function parseIPv4(text: string): number[] | undefined {
  const found = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (!found) return undefined;
  const octets = found.slice(1).map(Number);
  if (octets.some((octet, i) => octet > 255 || String(octet) !== found[i + 1])) return undefined;
  const [a = 0, b = 0, c = 0, d = 0] = octets;
  return [(a << 8) | b, (c << 8) | d];
}

/** Parses groups between colons, the last two possibly as IPv4. */
function parseGroups(text: string): number[] | undefined {
  if (text === "") return [];
  const groups: number[] = [];
  const parts = text.split(":");
  for (const [i, part] of parts.entries()) {
    const octets = i === parts.length - 1 ? parseIPv4(part) : undefined;
    if (octets) groups.push(...octets);
    else if (/^[0-9a-f]{1,4}$/i.test(part)) groups.push(Number.parseInt(part, 16));
    else return undefined;
  }
  return groups;
}

function parseAddress(text: string): Address | undefined {
  if (text.length > 64) return undefined;
  const octets = parseIPv4(text);
  if (octets) return [...MAPPED, ...octets];
  const [whole = ""] = text.split("%");
  const gap = whole.indexOf("::");
  if (gap < 0) {
    const groups = parseGroups(whole);
    return groups?.length === 8 ? groups : undefined;
  }
  const first = whole.slice(0, gap);
  const before = parseGroups(first);
  const after = parseGroups(whole.slice(gap + 2));
  if (!before || !after || first.includes(".") || before.length + after.length > 7)
    return undefined;
  return [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after];
}

/** Formats sixteen octets in memory as an address (RFC 5952). */
export function formatAddress(bytes: Uint8Array, at: number): string {
  const groups = Array.from(
    { length: 8 },
    (_, i) => ((bytes[at + 2 * i] as number) << 8) | (bytes[at + 2 * i + 1] as number),
  );
  if (MAPPED.every((group, i) => groups[i] === group))
    return bytes.subarray(at + 12, at + 16).join(".");
  const text = (part: readonly number[]): string =>
    part.map((group) => group.toString(16)).join(":");
  // Finds the longest run of at least two zeros, the first one of several.
  let start = -1;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (groups[i + n] === 0) n++;
    if (n <= length) continue;
    start = i;
    length = n;
  }
  if (start < 0) return text(groups);
  return `${text(groups.slice(0, start))}::${text(groups.slice(start + length))}`;
}

/** Returns true for an address without port or brackets. */
export function isAddress(text: string): boolean {
  return parseAddress(text) !== undefined;
}

function parseRange(word: string): Range | undefined {
  const [, text = "", length] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(word) ?? [];
  const address = text.includes("%") ? undefined : parseAddress(text);
  if (!address) return undefined;
  const most = text.includes(":") ? 128 : 32;
  const bits = length === undefined ? most : Number(length);
  return bits > most ? undefined : { address, bits: 128 - most + bits };
}

/** Ranges that have names. */
const PRESETS: Readonly<Record<string, readonly string[]>> = {
  loopback: ["127.0.0.0/8", "::1"],
  linklocal: ["169.254.0.0/16", "fe80::/10"],
  uniquelocal: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"],
};

/** Name of the peers that have no address: those of a Unix socket. */
const UNIX = "unix";
/** Name of all peers. */
export const ANY = "*";

/** Returns true for an address, a range such as "10.0.0.0/8", or the name of a range. */
export function isRange(word: string): boolean {
  return word === UNIX || Object.hasOwn(PRESETS, word) || parseRange(word) !== undefined;
}

function isWithin(address: Address, { address: start, bits }: Range): boolean {
  for (let i = 0, left = bits; left > 0; i++, left -= 16) {
    const mask = left >= 16 ? 0xffff : 0xffff & ~(0xffff >> left);
    if ((((address[i] as number) ^ (start[i] as number)) & mask) !== 0) return false;
  }
  return true;
}

/** A set of addresses, defined by ranges. */
export class AddressSet {
  readonly #ranges: readonly Range[];
  /** True when all addresses are in the set. */
  readonly isAny: boolean;
  readonly #hasUnix: boolean;

  /** @param words ranges that `isRange` accepts, or ANY */
  constructor(words: readonly string[]) {
    this.isAny = words.includes(ANY);
    this.#hasUnix = words.includes(UNIX);
    this.#ranges = words
      .flatMap((word) => (Object.hasOwn(PRESETS, word) ? (PRESETS[word] ?? []) : [word]))
      .flatMap((word) => parseRange(word) ?? []);
  }

  /** Returns whether an address is in the set. @param text "": a peer without an address */
  has(text: string): boolean {
    if (this.isAny) return true;
    if (text === "") return this.#hasUnix;
    const address = parseAddress(text);
    return address !== undefined && this.#ranges.some((range) => isWithin(address, range));
  }
}
