// `npm run test:runtimes`: installs the runtimes and tools below test/runtimes when they are missing, then runs
// its tests. Names select files, as for .scripts/test.mjs.

import { spawnSync } from "node:child_process";
import { statSync } from "node:fs";
import path from "node:path";
import { root } from "./build.mjs";

const folder = path.join(root, "test/runtimes");
const timeOf = (file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;

function run(command, args, cwd) {
  return spawnSync(command, args, { cwd, stdio: "inherit" }).status === 0;
}

function fail(what) {
  console.error(what);
  console.log("\n0 passed, 1 failed");
  process.exit(1);
}

const installed = timeOf(path.join(folder, "node_modules/.package-lock.json"));
if (installed < timeOf(path.join(folder, "package-lock.json"))) {
  if (!run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)) {
    fail(
      "Deno, Bun, and Node 24 and 26 could not be installed from npm: nothing was tested on them.",
    );
  }
}
// With declarations, which are part of the package.
if (!run(process.execPath, [path.join(root, ".scripts/build.mjs")], root))
  fail("It does not build.");
const args = [path.join(root, ".scripts/test.mjs"), "runtimes", ...process.argv.slice(2)];
process.exit(run(process.execPath, args, root) ? 0 : 1);
