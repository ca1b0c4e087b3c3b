// Bundles test files and runs each in a process of its own, two at a time; those that measure time, memory or what
// the machine can do, one after the other.
//
//   node .scripts/test.mjs unit|e2e|runtimes|all [name …]     names select files
//
// The last line says "N passed, N failed". A file that dies, hangs or runs no test counts as failed.

import { mkdir, readdir, rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import path from "node:path";
import { root } from "./build.mjs";
import { ended } from "./child.mjs";
import { bundlePrograms } from "./programs.mjs";

const [suite = "all", ...names] = process.argv.slice(2);
const suites = suite === "all" ? ["unit", "e2e"] : [suite];
const outdir = path.join(root, ".cache/test");
/** Two run at a time where there are two cores. */
const LANES = Math.min(2, availableParallelism());
/** Files that judge latency, memory or speed, or need all the machine has. */
const ALONE =
  /\/(application|bench|broadcast|clients|demo|faults|floods-\w+|load|lifecycle|memory|pool|shares|testing)\.test\.ts$/;
/** Files that take long begin first, so that the lanes end together. */
const LONG = /\/(browser|cli|closures|fuzz|mutants|placements|simulator|tls)\.test\.ts$/;
/** Longest a file may take, in ms. */
const LIMIT = process.env.CONFORMANCE === "full" ? 7200000 : 240000;

async function find(dir) {
  const entries = await readdir(path.join(root, "test", dir)).catch(() => []);
  return entries
    .filter((name) => name.endsWith(".test.ts"))
    .filter((name) => names.length === 0 || names.some((wanted) => name.includes(wanted)))
    .sort()
    .map((name) => `test/${dir}/${name}`);
}

/** Runs a file; what it prints comes when it ends, so that two do not mix. */
async function run(file, built) {
  const parts = [];
  const { code, isLate } = await ended([process.execPath, "--enable-source-maps", built], {
    cwd: root,
    limit: LIMIT,
    output: (bytes) => parts.push(bytes),
  });
  if (isLate) parts.push(Buffer.from(`\n${file}: not done after ${LIMIT / 1000} s\n`));
  const output = Buffer.concat(parts).toString();
  process.stdout.write(`\n# ${file}\n${output}`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours
  const plain = output.replace(/\x1b\[[0-9;]*m/g, "");
  const sum = (label) =>
    [...plain.matchAll(new RegExp(`^ {2}${label}: +(\\d+)`, "gm"))].reduce(
      (n, m) => n + Number(m[1]),
      0,
    );
  const passed = sum("Passed");
  let failed = sum("Total") - passed - sum("Skipped");
  if (failed === 0 && (code !== 0 || passed === 0)) failed = 1;
  return { passed, failed };
}

// Only what is built now: unit and e2e may run at the same time.
for (const name of suites) await rm(path.join(outdir, name), { recursive: true, force: true });
await mkdir(outdir, { recursive: true });
const files = (await Promise.all(suites.map(find))).flat();
/** Not tests, but what tests run: the suite's handler, and what other runtimes run. */
const modules = ["test/suite/suite-handler.ts"];
if (suites.includes("runtimes")) modules.push("test/runtimes/suite.ts", "test/runtimes/more.ts");
await bundlePrograms({
  entryPoints: [...files, ...modules],
  outbase: "test",
  outdir,
  outExtension: { ".js": ".mjs" },
  sourcemap: "linked",
  // The package itself, as its user imports it.
  external: ["ringcast", "ringcast/*"],
});

let passed = 0;
let failed = 0;

async function runAll(queue) {
  for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
    const started = Date.now();
    const built = path.join(outdir, file.replace(/^test\//, "").replace(/\.ts$/, ".mjs"));
    const result = await run(file, built);
    console.log(`# ${file}: ${((Date.now() - started) / 1000).toFixed(1)} s`);
    passed += result.passed;
    failed += result.failed;
  }
}

const together = files
  .filter((file) => !ALONE.test(file))
  .sort((a, b) => Number(LONG.test(b)) - Number(LONG.test(a)));
await Promise.all(Array.from({ length: LANES }, () => runAll(together)));
await runAll(files.filter((file) => ALONE.test(file)));
console.log(`\n${passed} passed, ${failed} failed`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);
