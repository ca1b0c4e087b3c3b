// Bundles test files and runs each in a process of its own, two at a time. Files that measure time, memory or the
// machine's capacity run one after the other.
//
//   node .scripts/test.mjs unit|e2e|runtimes|all [name …] [-t text] [--fast]
//
// A name selects the file NAME.test.ts; if there is none, the files whose names contain it. With `-t` only tests whose
// names contain the text run; with `--fast`, only files that take little time. At the end each failure is listed with
// the first line of its error. The last line says "N passed, N failed". A file that dies, hangs or runs no test counts
// as failed. Tests import uvu and get .scripts/suite.mjs, which wraps it.

import { mkdir, readFile, readdir, rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { root } from "./build.mjs";
import { ended } from "./child.mjs";
import { bundlePrograms } from "./programs.mjs";
import { verdict } from "./report.mjs";
import { selectFiles } from "./select.mjs";

/** Says what is wrong with the arguments, and counts as a failure. */
function refuse(message) {
  console.log(`${message}\n\n0 passed, 1 failed`);
  process.exit(1);
}

function readArguments() {
  const options = { test: { type: "string", short: "t" }, fast: { type: "boolean" } };
  try {
    return parseArgs({ allowPositionals: true, options });
  } catch (error) {
    return refuse(error.message);
  }
}

const { positionals, values } = readArguments();
const [suite = "all", ...names] = positionals;
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

/** Files that take seconds: each has a model, a table or processes of its own. The rest is `--fast`. */
const SLOW = /\/(clients|differential|fuzz|runner|setup|simulator)\.test\.ts$/;

let passed = 0;
let failed = 0;
/** Each failure as two lines: where it was, and the error. */
const failures = [];

function select(files) {
  try {
    return selectFiles(files, names);
  } catch (error) {
    return refuse(`${error.message} (${suites.join(", ")})`);
  }
}

async function find(dir) {
  const entries = await readdir(path.join(root, "test", dir)).catch(() => []);
  return entries
    .filter((name) => name.endsWith(".test.ts"))
    .sort()
    .map((name) => `test/${dir}/${name}`);
}

/** Runs a file. Its output is printed when it ends, so that two do not mix. */
async function run(file, built) {
  const parts = [];
  const report = `${built}.report`;
  const { code, isLate } = await ended([process.execPath, "--enable-source-maps", built], {
    cwd: root,
    limit: LIMIT,
    hasErrors: true,
    output: (bytes) => parts.push(bytes),
    env: { RINGCAST_TEST_REPORT: report, RINGCAST_TEST_NAME: values.test },
  });
  const output = Buffer.concat(parts).toString();
  process.stdout.write(`\n# ${file}\n${output}`);
  const lines = await readFile(report, "utf8").catch(() => "");
  const result = verdict(lines, { code, isLate, limit: LIMIT, output }, values.test !== undefined);
  for (const { test, line } of result.failures)
    failures.push(`${file}${test && ` › ${test}`}\n    ${line}`);
  return result;
}

// Only what is built now: unit and e2e may run at the same time.
for (const name of suites) await rm(path.join(outdir, name), { recursive: true, force: true });
await mkdir(outdir, { recursive: true });
const found = (await Promise.all(suites.map(find))).flat();
const files = select(found).filter((file) => !values.fast || !SLOW.test(file));
/** Not tests, but what tests run: the suite's handler, and what other runtimes run. */
const modules = [];
if (suites.includes("e2e") || suites.includes("runtimes"))
  modules.push("test/suite/suite-handler.ts");
if (suites.includes("runtimes")) modules.push("test/runtimes/suite.ts", "test/runtimes/more.ts");
/** The tests' uvu is .scripts/suite.mjs, whose uvu is uvu. */
const wrapper = {
  name: "suite",
  setup({ onResolve }) {
    const suitePath = path.join(root, ".scripts/suite.mjs");
    onResolve({ filter: /^uvu$/ }, ({ importer }) =>
      importer === suitePath ? { path: "uvu", external: true } : { path: suitePath },
    );
  },
};
await bundlePrograms({
  entryPoints: [...files, ...modules],
  outbase: "test",
  outdir,
  outExtension: { ".js": ".mjs" },
  sourcemap: "linked",
  // The package itself, as its user imports it.
  external: ["ringcast", "ringcast/*"],
  plugins: [wrapper],
}).catch(() => refuse("the tests do not build: see above"));

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
if (failures.length > 0) console.log(`\nFailures:\n  ${failures.join("\n  ")}`);
console.log(`\n${passed} passed, ${failed} failed`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);
