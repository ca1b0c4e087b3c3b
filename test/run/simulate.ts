// `npm run simulate -- --seeds N --from M --steps S --mode exact|stress`: the seeds M, M + 1, … of the simulator, in
// both modes by default; `--debug`: on the debug wasm, whose assertions are on. .scripts/simulate.mjs bundles it.

import { numberGiven } from "../lib/arguments";
import { type SimulationResult, simulate } from "../simulator/simulator";
import { MODES, type Mode } from "../simulator/steps";

const seeds = numberGiven("seeds", 1);
const from = numberGiven("from", 1);
const steps = numberGiven("steps", 400);
const shrinks = numberGiven("shrink", 600);
const build = process.argv.includes("--debug") ? "debug" : "release";
const named = process.argv.indexOf("--mode");
const modes = named < 0 ? MODES : [process.argv[named + 1] as Mode];
if (!modes.every((mode) => MODES.includes(mode))) {
  console.error(`--mode: ${modes} is not one of ${MODES.join(", ")}`);
  process.exit(2);
}

/** Each run is announced, so that one which does not end is known. */
const isAnnounced = process.argv.includes("--announce");

const totals: Record<string, number> = {};

function count(result: SimulationResult): void {
  const { place, closed, trace, ...counts } = result;
  const all = { [place]: 1, ...counts, ...closed };
  for (const [name, value] of Object.entries(all)) totals[name] = (totals[name] ?? 0) + value;
}

const started = performance.now();
for (let seed = from; seed < from + seeds; seed++) {
  for (const mode of modes) {
    if (isAnnounced) console.log(`seed ${seed}, ${mode}`);
    try {
      count(await simulate({ seed, mode, steps, build, shrinks }));
    } catch (error) {
      console.error(error instanceof Error ? error.message : error);
      process.exit(1);
    }
  }
}
const speed = ((seeds * modes.length * 1000) / (performance.now() - started)).toFixed(1);
const runs = `seeds ${from} … ${from + seeds - 1}, ${modes.join(" and ")}, ${steps} steps each`;
console.log(`${runs}: nothing found, ${speed} runs a second`);
console.log(totals);
