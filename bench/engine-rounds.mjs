// Short rounds that take turns: A B A B, so that what else the machine does hits all alike.

import { median } from "./report.mjs";

/**
 * @typedef {object} Variant
 * @property {string} name
 * @property {(n: number) => number} run does it `n` times at least; returns the nanoseconds of one
 * @property {() => void} check throws when what it does is not right
 */

/** Nanoseconds since the process began. */
export function nanos() {
  return performance.now() * 1e6;
}

/** Runs a variant for `goal` ns at least, in ever longer rounds; returns how often a round of `goal` ns does it. */
function fit(variant, goal) {
  for (let n = 1; ; ) {
    const from = nanos();
    variant.run(n);
    const took = nanos() - from;
    if (took >= goal || n > 1e8) return Math.max(1, Math.round((n * goal) / took));
    n = Math.ceil(n * Math.min((1.2 * goal) / took, 8)) + 1;
  }
}

/**
 * Checks each variant, then measures them in turns.
 * @param {Variant[]} variants
 * @param {{ smoke: boolean, rounds?: number }} options
 * @returns for each: median, least, the range of the middle 80% of its rounds, in ns; and how many times as long as the
 * first it took, the median of the ratios of each round
 */
export function measure(variants, { smoke, rounds = 150 }) {
  for (const variant of variants) variant.check();
  // Long enough for the compilers, then again for how often.
  if (!smoke) for (const variant of variants) fit(variant, 5e7);
  const counts = variants.map((variant) => fit(variant, smoke ? 2e5 : 1e6));
  const samples = variants.map(() => []);
  for (let round = 0; round < (smoke ? 3 : rounds); round++) {
    for (const [i, variant] of variants.entries()) samples[i].push(variant.run(counts[i]));
  }
  for (const variant of variants) variant.check();
  return variants.map(({ name }, i) => {
    const sorted = samples[i].toSorted((a, b) => a - b);
    const at = (share) => sorted[Math.floor(share * (sorted.length - 1))];
    const ratio = median(samples[i].map((took, round) => took / samples[0][round]));
    return { name, median: median(sorted), least: sorted[0], low: at(0.1), high: at(0.9), ratio };
  });
}

/** Keeps a result alive, so that no compiler leaves the work out. */
export const sink = { value: 0 };

/** Throws unless a condition holds. @param {boolean} holds @param {string} what */
export function assert(holds, what) {
  if (!holds) throw new Error(`wrong result: ${what}`);
}
