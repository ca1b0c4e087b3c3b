// `npm run simulate`: bundles the simulator and runs it.
//
//   --seeds N --from M --steps S     so many seeds; --jobs J: in so many processes
//   --debug                          on the debug wasm
//   --shrink RUNS                    in how many runs a list that fails may be made shorter
//   --mutant NAME                    with a bug put in, until a seed finds it
//   --mutants                        with each of them, and a table of what found it

import { spawn } from "node:child_process";
import path from "node:path";
import { root } from "./build.mjs";
import { MUTANTS, bundleSimulator, hunt } from "./mutants.mjs";
import { needBuild } from "./programs.mjs";

function option(name, fallback) {
  const at = process.argv.indexOf(`--${name}`);
  if (at < 0) return fallback;
  const value = Number(process.argv[at + 1]);
  if (Number.isInteger(value) && value >= 0) return value;
  console.error(`--${name}: ${process.argv[at + 1]} is not a whole number`);
  process.exit(2);
}

const jobs = Math.max(1, option("jobs", 1));
const from = option("from", 1);
const steps = option("steps", 400);

/** Runs tasks, `jobs` of them at a time. */
async function inParallel(tasks) {
  const left = [...tasks];
  const work = async () => {
    for (let task = left.shift(); task; task = left.shift()) await task();
  };
  await Promise.all(Array.from({ length: jobs }, work));
}

/** The real thing: each process takes a share of the seeds. */
async function simulate() {
  const outfile = path.join(root, ".cache/simulate.mjs");
  await bundleSimulator(outfile);
  const seeds = option("seeds", 1);
  const share = Math.ceil(seeds / jobs);
  const rest = process.argv.slice(2).filter((word) => word === "--debug");
  let failed = false;
  const tasks = Array.from({ length: Math.ceil(seeds / share) }, (_, i) => async () => {
    const count = Math.min(share, seeds - i * share);
    const own = { seeds: count, from: from + i * share, steps, shrink: option("shrink", 600) };
    const args = Object.entries(own).flatMap(([key, value]) => [`--${key}`, String(value)]);
    const child = spawn(process.execPath, ["--enable-source-maps", outfile, ...args, ...rest], {
      stdio: "inherit",
    });
    const code = await new Promise((resolve) => child.on("close", resolve));
    if (code !== 0) failed = true;
  });
  await inParallel(tasks);
  return failed;
}

/** Mutants: which seed finds each, and in how few steps. */
async function hunts(names) {
  let failed = false;
  const settings = { seeds: option("seeds", 1000), from, steps, shrink: option("shrink", 300) };
  const tasks = names.map((name) => async () => {
    const { found, endless, ms } = await hunt(name, settings);
    const seconds = `${(ms / 1000).toFixed(1)} s`;
    if (endless) {
      const what = "a seed does not end".padEnd(22);
      console.log(`${name.padEnd(16)} ${what} ${seconds.padEnd(8)} ${MUTANTS[name].about}`);
    } else if (!found) {
      failed = true;
      console.log(`${name.padEnd(16)} not found in ${settings.seeds} seeds, ${seconds}`);
    } else {
      const many = `${found.seeds} seed${found.seeds > 1 ? "s" : ""}, ${found.length} steps`;
      console.log(
        `${name.padEnd(16)} ${many.padEnd(22)} ${seconds.padEnd(8)} ${MUTANTS[name].about}`,
      );
      if (names.length === 1) console.log(found.text);
    }
  });
  await inParallel(tasks);
  return failed;
}

needBuild();
const named = process.argv.indexOf("--mutant");
let failed;
if (process.argv.includes("--mutants")) failed = await hunts(Object.keys(MUTANTS));
else if (named >= 0) failed = await hunts([process.argv[named + 1]]);
else failed = await simulate();
process.exit(failed ? 1 : 0);
