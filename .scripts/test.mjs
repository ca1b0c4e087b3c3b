// Bundles test files and runs each in a process of its own, one after the other.
//
//   node .scripts/test.mjs unit|e2e|runtimes|all [name …]     names select files
//
// The last line says "N passed, N failed". A file that dies, hangs or runs no test counts as failed.

import { spawn } from "node:child_process";
import { mkdir, readdir, rm } from "node:fs/promises";
import path from "node:path";
import { build } from "esbuild";
import { root } from "./build.mjs";

const [suite = "all", ...names] = process.argv.slice(2);
const suites = suite === "all" ? ["unit", "e2e"] : [suite];
const outdir = path.join(root, ".cache/test");
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

function run(file) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ["--enable-source-maps", file], {
      cwd: root,
      stdio: ["ignore", "pipe", "inherit"],
    });
    let output = "";
    const timer = setTimeout(() => {
      console.log(`\n${file}: not done after ${LIMIT / 1000} s`);
      child.kill("SIGKILL");
    }, LIMIT);
    child.stdout.on("data", (bytes) => {
      output += bytes;
      process.stdout.write(bytes);
    });
    child.on("close", (code) => {
      clearTimeout(timer);
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
      resolve({ passed, failed });
    });
  });
}

// Only what is built now: unit and e2e may run at the same time.
for (const name of suites) await rm(path.join(outdir, name), { recursive: true, force: true });
await mkdir(outdir, { recursive: true });
const files = (await Promise.all(suites.map(find))).flat();
/** Not tests, but what tests run: the suite's handler, and what other runtimes run. */
const modules = ["test/suite-handler.ts"];
if (suites.includes("runtimes")) modules.push("test/runtimes/suite.ts", "test/runtimes/more.ts");
await build({
  absWorkingDir: root,
  entryPoints: [...files, ...modules],
  outbase: "test",
  outdir,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  format: "esm",
  platform: "node",
  target: "node20",
  sourcemap: "linked",
  packages: "external",
  // The package itself, as its user imports it.
  external: ["ringcast", "ringcast/*"],
  loader: { ".wasm": "binary" },
  logLevel: "warning",
});

let passed = 0;
let failed = 0;
for (const file of files) {
  const started = Date.now();
  const built = path.join(outdir, file.replace(/^test\//, "").replace(/\.ts$/, ".mjs"));
  console.log(`\n# ${file}`);
  const result = await run(built);
  console.log(`# ${file}: ${((Date.now() - started) / 1000).toFixed(1)} s`);
  passed += result.passed;
  failed += result.failed;
}
console.log(`\n${passed} passed, ${failed} failed`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);
