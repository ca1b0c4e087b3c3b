// Inflating, slowly: RFC 1951 a bit at a time, and the messages of RFC 7692 7.2.2 made of it.

/** Thrown at the first bit that cannot be. */
class Bad extends Error {}

/** Thrown when the output exceeds its limit. */
class Enough extends Error {}

/** Output beyond the limit after which nothing is looked for any more. */
const SLACK = 65536;

const LENGTHS: [base: number, extra: number][] = [];
for (let code = 0, base = 3; code < 28; code++) {
  const extra = code < 8 ? 0 : (code - 4) >> 2;
  LENGTHS.push([base, extra]);
  base += 1 << extra;
}
LENGTHS.push([258, 0]);

const DISTANCES: [base: number, extra: number][] = [];
for (let code = 0, base = 1; code < 30; code++) {
  const extra = code < 4 ? 0 : (code - 2) >> 1;
  DISTANCES.push([base, extra]);
  base += 1 << extra;
}

/** Order of the lengths of the code for code lengths (3.2.7). */
const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** Symbols by their code, written as a text of 0 and 1. */
type Code = Map<string, number>;

/** Builds a code from the lengths of its words (3.2.2). @throws Bad when no such code is possible */
function codeOf(lengths: readonly number[]): Code {
  const longest = Math.max(0, ...lengths);
  const code: Code = new Map();
  let next = 0;
  for (let length = 1; length <= longest; length++) {
    lengths.forEach((one, symbol) => {
      if (one !== length) return;
      if (next >= 2 ** length) throw new Bad("more words than there are");
      code.set(next.toString(2).padStart(length, "0"), symbol);
      next++;
    });
    next *= 2;
  }
  // `next` has been doubled once more. A single word of one bit is allowed on its own (3.2.7).
  if (longest > 1 && next !== 2 ** (longest + 1)) throw new Bad("words that mean nothing");
  return code;
}

const FIXED = codeOf(
  Array.from({ length: 288 }, (_, n) => (n < 144 ? 8 : n < 256 ? 9 : n < 280 ? 7 : 8)),
);
const FIXED_DISTANCES = codeOf(Array.from({ length: 32 }, () => 5));

class Inflater {
  readonly #octets: string;
  readonly #limit: number;
  /** The next bit. */
  at = 0;
  readonly out: number[] = [];

  constructor(octets: string, limit: number) {
    this.#octets = octets;
    this.#limit = limit;
  }

  #bits(n: number): number {
    let value = 0;
    for (let i = 0; i < n; i++, this.at++) {
      if (this.at >> 3 >= this.#octets.length) throw new Bad("cut");
      value |= ((this.#octets.charCodeAt(this.at >> 3) >> (this.at & 7)) & 1) << i;
    }
    return value;
  }

  #symbol(code: Code): number {
    for (let word = ""; word.length < 16; ) {
      word += this.#bits(1);
      const symbol = code.get(word);
      if (symbol !== undefined) return symbol;
    }
    throw new Bad("no such word");
  }

  #put(octet: number): void {
    this.out.push(octet);
    if (this.out.length > this.#limit + SLACK) throw new Enough();
  }

  align(): void {
    this.at = (this.at + 7) & ~7;
  }

  /** @returns true for a final block */
  block(): boolean {
    const final = this.#bits(1) === 1;
    const kind = this.#bits(2);
    if (kind === 3) throw new Bad("no such block");
    if (kind === 0) this.#stored();
    else if (kind === 1) this.#compressed(FIXED, FIXED_DISTANCES);
    else this.#dynamic();
    return final;
  }

  #stored(): void {
    this.align();
    const length = this.#bits(16);
    if (this.#bits(16) !== (length ^ 0xffff)) throw new Bad("lengths differ");
    for (let i = 0; i < length; i++) this.#put(this.#bits(8));
  }

  #dynamic(): void {
    const literals = this.#bits(5) + 257;
    const distances = this.#bits(5) + 1;
    const lengths = this.#bits(4) + 4;
    if (literals > 286 || distances > 30) throw new Bad("too many words");
    const forLengths = Array.from({ length: 19 }, () => 0);
    for (let i = 0; i < lengths; i++) forLengths[ORDER[i] as number] = this.#bits(3);
    if (Math.max(...forLengths) === 0) throw new Bad("no words");
    if (forLengths.filter((length) => length > 0).length === 1) throw new Bad("one word");
    const code = codeOf(forLengths);
    const found: number[] = [];
    while (found.length < literals + distances) {
      const symbol = this.#symbol(code);
      if (symbol < 16) {
        found.push(symbol);
        continue;
      }
      const last = found.at(-1);
      if (symbol === 16 && last === undefined) throw new Bad("nothing to repeat");
      const times = symbol === 16 ? 3 + this.#bits(2) : symbol === 17 ? 3 + this.#bits(3) : 0;
      const count = symbol === 18 ? 11 + this.#bits(7) : times;
      for (let i = 0; i < count; i++) found.push(symbol === 16 ? (last as number) : 0);
    }
    if (found.length > literals + distances) throw new Bad("repeated beyond the end");
    if (found[256] === 0) throw new Bad("a block without end");
    this.#compressed(codeOf(found.slice(0, literals)), codeOf(found.slice(literals)));
  }

  #compressed(literals: Code, distances: Code): void {
    for (;;) {
      const symbol = this.#symbol(literals);
      if (symbol === 256) return;
      if (symbol < 256) {
        this.#put(symbol);
        continue;
      }
      const [least, extra] = LENGTHS[symbol - 257] ?? [];
      if (least === undefined || extra === undefined) throw new Bad("no such length");
      const length = least + this.#bits(extra);
      const [near, more] = DISTANCES[this.#symbol(distances)] ?? [];
      if (near === undefined || more === undefined) throw new Bad("no such distance");
      const distance = near + this.#bits(more);
      if (distance > this.out.length) throw new Bad("before the start");
      for (let i = 0; i < length; i++) this.#put(this.out.at(-distance) as number);
    }
  }
}

interface Inflated {
  readonly octets: string;
  /** It is no deflate, or too large. With both, either may be reported. */
  readonly bad: boolean;
  readonly large: boolean;
  /** Reading ended at the limit. The rest has not been read, and may be bad. */
  readonly cut: boolean;
}

/**
 * Inflates a whole message: its octets, the four that are left off, and an empty final block that is reached only in a
 * valid message. Final blocks may be anywhere; the block after one begins with the next octet.
 * @param limit octets of output
 */
export function inflateMessage(packed: string, limit: number): Inflated {
  const inflater = new Inflater(`${packed}\x00\x00\xff\xff\x03\x00`, limit);
  const end = packed.length * 8;
  let bad = false;
  let cut = false;
  try {
    // An empty message may be of no octet at all.
    for (let over = packed === ""; !over; ) {
      if (!inflater.block()) continue;
      inflater.align();
      // The final block that was appended, or one to which nothing was.
      over = inflater.at === end + 48 || inflater.at === end;
    }
  } catch (error) {
    if (error instanceof Bad) bad = true;
    else if (error instanceof Enough) cut = true;
    else throw error;
  }
  const { out } = inflater;
  const octets = bad ? "" : Buffer.from(out).toString("latin1");
  return { octets, bad, large: out.length > limit, cut };
}
