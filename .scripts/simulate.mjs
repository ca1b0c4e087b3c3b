// `npm run simulate`: bundles the simulator and runs it.
//
//   --seeds N --from M --steps S     so many seeds; --jobs J: in so many processes
//   --mode exact|stress              in one of the two modes; both by default
//   --debug                          on the debug wasm
//   --shrink RUNS                    in how many runs a list that fails may be shortened
//   --mutant NAME                    with a bug put in, until a seed finds it
//   --mutants                        with each of them, and a table of what found it

import { spawn } from "node:child_process";
import path from "node:path";
import { root } from "./build.mjs";
import { bundleSimulator, hunt, mutants } from "./mutants.mjs";
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

/** Runs the sources without a mutant. Each process takes a share of the seeds. */
async function simulate() {
  const outfile = path.join(root, ".cache/simulate.mjs");
  await bundleSimulator(outfile);
  const seeds = option("seeds", 1);
  const share = Math.ceil(seeds / jobs);
  const rest = process.argv.slice(2).filter((word) => word === "--debug");
  const mode = process.argv.indexOf("--mode");
  if (mode >= 0) rest.push(...process.argv.slice(mode, mode + 2));
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

/** Returns how a mutant was found: by a seed, with its mode and number of steps, or by a unit test. */
function howFound({ test, mode, seeds, length, isEndless, text }) {
  if (test)
    return `${test}.test.ts, ${isEndless ? "without end" : `${text.split("\n").length} fail`}`;
  const how = isEndless ? "without end" : `${length} steps`;
  return `${mode}, ${seeds} seed${seeds > 1 ? "s" : ""}, ${how}`;
}

/** Runs the mutants and prints how each is found. */
async function hunts(names) {
  let failed = false;
  const settings = { seeds: option("seeds", 1000), from, steps, shrink: option("shrink", 300) };
  const tasks = names.map((name) => async () => {
    const { mutant, found, ms } = await hunt(name, settings);
    if (!found) failed = true;
    const what = found
      ? howFound(found)
      : `not found in ${mutant.test ?? `${settings.seeds} seeds`}`;
    const place = `${mutant.file}:${mutant.line + 1}`;
    console.log(
      `${name.padEnd(14)} ${what.padEnd(30)} ${(ms / 1000).toFixed(1).padStart(5)} s  ${place}`,
    );
    if (names.length === 1) {
      console.log(`- ${mutant.from}\n+ ${mutant.to}`);
      if (found) console.log(found.text);
    }
  });
  await inParallel(tasks);
  return failed;
}

needBuild();
const named = process.argv.indexOf("--mutant");
let failed;
if (process.argv.includes("--mutants")) failed = await hunts([...(await mutants()).keys()]);
else if (named >= 0) failed = await hunts([process.argv[named + 1]]);
else failed = await simulate();
process.exit(failed ? 1 : 0);
