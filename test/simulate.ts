// `npm run simulate -- --seed N --steps S --count C --bug NAME`: seeds N, N + 1, … of the simulator.

import { BUGS, type Bug, simulate } from "./simulator";

function option(name: string, fallback: number): number {
  const at = process.argv.indexOf(`--${name}`);
  if (at < 0) return fallback;
  const value = Number(process.argv[at + 1]);
  if (!Number.isInteger(value) || value < 0) {
    console.error(`--${name}: ${process.argv[at + 1]} is not a whole number`);
    process.exit(2);
  }
  return value;
}

const seed = option("seed", 1);
const steps = option("steps", 1000);
const count = option("count", 1);
const named = process.argv.indexOf("--bug");
const bug = (named < 0 ? "none" : process.argv[named + 1]) as Bug;
if (!BUGS.includes(bug)) {
  console.error(`--bug: one of ${BUGS.join(", ")}`);
  process.exit(2);
}
const build = process.argv.includes("--debug") ? "debug" : "release";

for (let i = 0; i < count; i++) {
  try {
    const result = await simulate({ seed: seed + i, steps, bug, build });
    if (count === 1) console.log(`seed ${seed}:`, result);
  } catch (error) {
    console.error(error instanceof Error ? error.stack : error);
    process.exit(1);
  }
}
if (count > 1)
  console.log(`seeds ${seed} … ${seed + count - 1}, ${steps} steps each: no difference`);
