// `npm run simulate -- --seeds N --from M --steps S`: the seeds M, M + 1, … of the simulator; `--debug`: on the
// debug wasm, whose assertions are on. .scripts/simulate.mjs bundles it, and knows of the mutants.

import { numberGiven } from "./arguments";
import { type SimulationResult, simulate } from "./simulator";

const seeds = numberGiven("seeds", 1);
const from = numberGiven("from", 1);
const steps = numberGiven("steps", 400);
const shrinks = numberGiven("shrink", 600);
const build = process.argv.includes("--debug") ? "debug" : "release";

const totals: Record<string, number> = {};

function count(result: SimulationResult): void {
  const { place, closed, ...counts } = result;
  const all = { [place]: 1, ...counts, ...closed };
  for (const [name, value] of Object.entries(all)) totals[name] = (totals[name] ?? 0) + value;
}

for (let seed = from; seed < from + seeds; seed++) {
  try {
    count(await simulate({ seed, steps, build, shrinks }));
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  }
}
console.log(`seeds ${from} … ${from + seeds - 1}, ${steps} steps each: no difference`);
console.log(totals);
