// Ways to cut an input: a parser that keeps state must not see the difference.

/** Yields the input whole, cut in two at each point, and byte by byte. */
export function* splits(input: Uint8Array): Generator<Uint8Array[]> {
  yield [input];
  for (let at = 1; at < input.length; at++) yield [input.subarray(0, at), input.subarray(at)];
  if (input.length > 2) yield Array.from(input, (byte) => Uint8Array.of(byte));
}

/** Returns the position of a split, for messages. */
export function describeSplit(pieces: readonly Uint8Array[]): string {
  if (pieces.length === 1) return "whole";
  return pieces.length === 2 ? `split at ${pieces[0]?.length}` : "byte by byte";
}
