// Bytes that look random, for payloads: fast, and the same in each run. Decisions are drawn by `Random` of
// host/testing/random.ts. It runs in pages, too, so it imports nothing.

/** Returns the state that follows another (a linear congruential generator). Its upper 8 bits look random. */
export function nextNoise(state: number): number {
  return (Math.imul(state, 1664525) + 1013904223) >>> 0;
}
