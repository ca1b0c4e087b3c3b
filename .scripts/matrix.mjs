// `npm run test:matrix`: tests the packed package, and runs the server suite on Node 24 and 26, Deno and Bun. Missing
// packages of these tests are installed below test/runtimes. `--smoke` leaves the suite out and keeps the other checks
// on each runtime. Names select files, as for .scripts/test.mjs.

import "./node.mjs";
import path from "node:path";
import { root } from "./build.mjs";
import { ended } from "./child.mjs";
import { needPackages } from "./packages.mjs";

const args = process.argv.slice(2);
const env = { RINGCAST_MATRIX: args.includes("--smoke") ? "smoke" : "full" };
const names = args.filter((arg) => arg !== "--smoke");

function fail(what) {
  console.log(`${what}\n\n0 passed, 1 failed`);
  process.exit(1);
}

async function run(...command) {
  return (await ended([process.execPath, ...command], { cwd: root, env })).code;
}

if (!needPackages(path.join(root, "test/runtimes"), ["--ignore-scripts"]))
  fail("Node 24 and 26, Deno and Bun could not be installed from npm: nothing was tested on them.");
// With declarations, which are part of the package.
if ((await run(".scripts/build.mjs")) !== 0) fail("It does not build.");
const code = await run(".scripts/test.mjs", "runtimes", ...names);
// Reloads under load, cut connections and many files, for longer than in `npm test`.
let long = 0;
if (env.RINGCAST_MATRIX === "full" && names.length === 0) {
  const reloads = await run(".scripts/test.mjs", "e2e", "config", "-t", "SIGHUP every");
  long = reloads || (await run(".scripts/test.mjs", "e2e", "missed", "files-load"));
}
process.exit(code || long);
