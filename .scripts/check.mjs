// `npm run check`: format and lint, types, both wasm builds and the bundles at the same time; unit and style tests once
// they are built. The output of a step is printed when it ends, so that two do not mix.

import "./node.mjs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { ended } from "./child.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
/** A program of a package, run by Node itself: those of node_modules/.bin cannot be spawned on Windows. */
const node = (name) => [process.execPath, path.join(root, "node_modules", name)];
const started = Date.now();
/** Projects of TypeScript, each with the types of its own platform. `npm run types` checks the same. */
const PROJECTS = {
  "code and tests for Node": "tsconfig.json",
  "code for pages": "tsconfig.page.json",
  "tests that drive pages": "tsconfig.driven.json",
  "the engine": "tsconfig.assembly.json",
};

/** Runs a step. @returns whether it passed */
async function step(name, command) {
  const parts = [];
  const { code } = await ended(command, { cwd: root, output: (bytes) => parts.push(bytes) });
  process.stdout.write(Buffer.concat(parts));
  const at = ((Date.now() - started) / 1000).toFixed(1);
  console.log(`check: ${name} ${code === 0 ? "done" : "failed"} at ${at} s`);
  return code === 0;
}

async function buildAndTest() {
  if (!(await step("build", [process.execPath, ".scripts/build.mjs"]))) return false;
  return step("unit tests", [process.execPath, ".scripts/test.mjs", "unit"]);
}

const passed = await Promise.all([
  buildAndTest(),
  step("format and lint", [
    ...node("@biomejs/biome/bin/biome"),
    "check",
    "--error-on-warnings",
    ".",
  ]),
  ...Object.entries(PROJECTS).map(([of, file]) =>
    step(`types of ${of}`, [...node("typescript/bin/tsc"), "-p", file]),
  ),
]);
process.exit(passed.every(Boolean) ? 0 : 1);
