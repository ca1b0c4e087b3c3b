// Code that the fuzzers share: inputs as text of octets, ways to cut them, and a reducer.

import type { Random } from "../../host/testing/random";

/** Compares engine and model for an input and returns the difference; empty when they agree. */
type Judge = (input: string) => string;

export interface Fuzzed {
  /** Inputs tried. */
  readonly inputs: number;
  /** How often each kind of end was met: an eye on what the generator reaches. */
  readonly ends: Readonly<Record<string, number>>;
}

export interface Span {
  readonly seed: number;
  /** Wall time. */
  readonly seconds: number;
}

/** Returns an input as a string literal of TypeScript. */
export function escaped(input: string): string {
  const text = input.replace(/[^\x20-\x7e]|["\\]/g, (c) => {
    if (c === "\r") return "\\r";
    if (c === "\n") return "\\n";
    if (c === '"' || c === "\\") return `\\${c}`;
    return `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
  return `"${text}"`;
}

/** Cuts at random places: pieces of any length, often short. */
export function cutRandomly(input: string, random: Random): string[] {
  const pieces: string[] = [];
  const limit = random.pick([3, 20, 200, 5000]);
  for (let at = 0; at < input.length; ) {
    const end = at + 1 + random.size(limit);
    pieces.push(input.slice(at, end));
    at = end;
  }
  return pieces;
}

/** Leaves out runs of octets, ever shorter, for as long as there is a difference. */
function reduced(input: string, judge: Judge): string {
  let found = input;
  const until = Date.now() + 20000;
  for (let length = found.length >> 1; length > 0; length >>= 1) {
    for (let at = 0; at < found.length && Date.now() < until; ) {
      const shorter = found.slice(0, at) + found.slice(at + length);
      if (judge(shorter) !== "") found = shorter;
      else at += length;
    }
  }
  return found;
}

/** Mutates octets without regard to their meaning. */
export function mutateOctets(input: string, random: Random): string {
  const at = random.int(0, input.length);
  const length = 1 + random.size(16);
  const octet = String.fromCharCode(random.int(0, 255));
  switch (random.int(0, 4)) {
    case 0: {
      const flipped = String.fromCharCode((input.charCodeAt(at) || 0) ^ (1 << random.int(0, 7)));
      return input.slice(0, at) + flipped + input.slice(at + 1);
    }
    case 1:
      return input.slice(0, at) + octet + input.slice(at);
    case 2:
      return input.slice(0, at) + input.slice(at + (random.chance(0.5) ? 1 : length));
    case 3:
      return input.slice(0, at + length) + input.slice(at);
    default:
      return input.slice(0, at) + octet + input.slice(at + 1);
  }
}

/**
 * Runs a judge over generated inputs for a while.
 * @throws Error with the seed and the reduced input at the first difference
 */
export function fuzz(
  name: string,
  { seed, seconds }: Span,
  generate: (seed: number) => string,
  judge: Judge,
): number {
  const until = Date.now() + seconds * 1000;
  let inputs = 0;
  for (let at = seed; inputs === 0 || Date.now() < until; at++) {
    const input = generate(at);
    inputs++;
    const difference = judge(input);
    if (difference === "") continue;
    const least = reduced(input, judge);
    const lines = [
      `${name}: seed ${at}`,
      `input: ${escaped(input).slice(0, 2000)}`,
      `reduced: ${escaped(least).slice(0, 4000)}`,
      judge(least) || difference,
    ];
    throw new Error(lines.join("\n"));
  }
  return inputs;
}
