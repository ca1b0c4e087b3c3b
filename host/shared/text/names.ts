// Names of virtual hosts, and the lookup of a host that a request or a TLS handshake names. The most specific name is
// found: "a.example" itself, then "*.example" for one label in the star's place, then ".example" for any number of
// labels and for "example" itself (the longest one that matches), then "*" for any host or none.
//
// Invariant: a lookup allocates nothing. It reads each octet of a host once to hash it, and again only to compare it
// with a name of the same hash.

/** Longest name (RFC 1035 2.3.4, as text). */
const NAME_BYTES = 253;

enum Kind {
  Exact = 1,
  OneLabel = 2,
  AnyDepth = 3,
}

/** A name of the table. */
interface Name {
  readonly kind: Kind;
  /** The name without its prefix. */
  readonly bytes: Uint8Array;
  readonly hash: number;
  /** Number that a lookup returns. */
  readonly number: number;
  /** Bits of the listeners at which it is valid. */
  readonly listeners: number;
}

/** A name to be looked up, in the form of `listedName`. */
export interface ListedName {
  readonly name: string;
  /** Bits of the listeners at which it is valid, by their numbers. */
  readonly listeners: number;
}

const DOT = 46;
const COLON = 58;
/** State of a hash before the first octet, and the factor of FNV-1a. */
const SEED = 0x811c9dc5 | 0;
const PRIME = 0x01000193;

/** Returns an octet in lower case. */
function lower(octet: number): number {
  return (octet - 65) >>> 0 < 26 ? octet | 32 : octet;
}

/** Returns the hash of a name, from its last octet to its first, so that the hash of each suffix is met on the way. */
function hashOf(bytes: Uint8Array): number {
  let hash = SEED;
  for (let at = bytes.length - 1; at >= 0; at--)
    hash = Math.imul(hash ^ (bytes[at] as number), PRIME);
  return hash;
}

/** Returns the kind of a listed name, and the name without its prefix. */
function kindOf(name: string): [Kind, string] {
  if (name.startsWith("*.")) return [Kind.OneLabel, name.slice(2)];
  return name.startsWith(".") ? [Kind.AnyDepth, name.slice(1)] : [Kind.Exact, name];
}

/** Room for a text that is looked up. */
const scratch = new Uint8Array(NAME_BYTES + 8);

export class Names {
  /** Names at the places that their hashes and kinds give, or the next free ones. */
  readonly #slots: (Name | undefined)[];
  /** The name "*". */
  readonly #any: { readonly number: number; readonly listeners: number } | undefined;
  readonly #hasDepth: boolean;

  /** @param names in the order of their numbers, which begin with 1 */
  constructor(names: readonly ListedName[]) {
    const size = 2 ** Math.ceil(Math.log2(names.length * 4 + 1));
    this.#slots = new Array<Name | undefined>(size).fill(undefined);
    const encoder = new TextEncoder();
    let hasDepth = false;
    for (const [i, { name: text, listeners }] of names.entries()) {
      const number = i + 1;
      if (text === "*") {
        this.#any = { number, listeners };
        continue;
      }
      const [kind, name] = kindOf(text);
      const bytes = encoder.encode(name);
      hasDepth ||= kind === Kind.AnyDepth;
      this.#put({ kind, bytes, hash: hashOf(bytes), number, listeners });
    }
    this.#hasDepth = hasDepth;
  }

  #put(name: Name): void {
    const last = this.#slots.length - 1;
    let at = (name.hash ^ (name.hash >>> 15) ^ name.kind) & last;
    while (this.#slots[at]) at = (at + 1) & last;
    this.#slots[at] = name;
  }

  /** Returns the number of a name of a kind; 0: there is none at this listener. */
  #get(
    kind: Kind,
    hash: number,
    bytes: Uint8Array,
    from: number,
    end: number,
    listener: number,
  ): number {
    const last = this.#slots.length - 1;
    for (let at = (hash ^ (hash >>> 15) ^ kind) & last; ; at = (at + 1) & last) {
      const name = this.#slots[at];
      if (!name) return 0;
      if (name.hash !== hash || name.kind !== kind) continue;
      if (!isEqual(name.bytes, bytes, from, end)) continue;
      return (name.listeners & listener) === 0 ? 0 : name.number;
    }
  }

  /**
   * Looks up the host in [from, to), which may have a port and a dot at its end.
   * @param listener bits of the listeners whose names are found
   * @returns its number; 0: it has no name
   */
  find(bytes: Uint8Array, from: number, to: number, listener: number): number {
    const end = nameEnd(bytes, from, to);
    const length = end - from;
    if (length <= 0 || length > NAME_BYTES) return this.#anyAt(listener);
    let hash = SEED;
    // The suffix after the dot that was met last, and its hash.
    let rest = -1;
    let restHash = 0;
    let deep = 0;
    for (let at = end - 1; at >= from; at--) {
      const octet = lower(bytes[at] as number);
      if (octet === DOT) {
        // A name with an empty label is not one.
        if (at === from || at + 1 === end || bytes[at + 1] === DOT) return this.#anyAt(listener);
        rest = at + 1;
        restHash = hash;
        if (this.#hasDepth)
          deep = this.#get(Kind.AnyDepth, hash, bytes, rest, end, listener) || deep;
      }
      hash = Math.imul(hash ^ octet, PRIME);
    }
    const exact = this.#get(Kind.Exact, hash, bytes, from, end, listener);
    if (exact !== 0) return exact;
    const label = rest < 0 ? 0 : this.#get(Kind.OneLabel, restHash, bytes, rest, end, listener);
    if (label !== 0) return label;
    if (this.#hasDepth) deep = this.#get(Kind.AnyDepth, hash, bytes, from, end, listener) || deep;
    return deep || this.#anyAt(listener);
  }

  /** Looks up a host that is a text. @returns as `find` */
  findText(host: string, listener: number): number {
    const { length } = host;
    // Longer ones have no name. An octet outside of ASCII occurs in no name.
    if (length > scratch.length) return this.#anyAt(listener);
    for (let at = 0; at < length; at++) scratch[at] = Math.min(host.charCodeAt(at), 255);
    return this.find(scratch, 0, length, listener);
  }

  /** Returns the number of "*". */
  #anyAt(listener: number): number {
    const any = this.#any;
    return any && (any.listeners & listener) !== 0 ? any.number : 0;
  }
}

/** Compares a name in lower case with octets in any case. */
function isEqual(name: Uint8Array, bytes: Uint8Array, from: number, end: number): boolean {
  if (name.length !== end - from) return false;
  for (let at = 0; at < name.length; at++)
    if (name[at] !== lower(bytes[from + at] as number)) return false;
  return true;
}

/** Returns the end of the name of a host: before its port, and before one dot. */
function nameEnd(bytes: Uint8Array, from: number, to: number): number {
  let end = to;
  while (end > from && ((bytes[end - 1] as number) - 48) >>> 0 < 10) end--;
  // The digits of an address or a name are not a port.
  if (end === from || bytes[end - 1] !== COLON) end = to;
  else end--;
  return end > from && bytes[end - 1] === DOT ? end - 1 : end;
}
