// `npm run check`: format and lint, types, both wasm builds and the bundles, unit and style tests.

import { spawnSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const bin = (name) => path.join(root, "node_modules/.bin", name);
const steps = [
  ["format and lint", bin("biome"), ["check", "--error-on-warnings", "."]],
  ["types of host, worker and tests", bin("tsc"), ["-p", "tsconfig.json"]],
  ["types of the engine", bin("tsc"), ["-p", "tsconfig.assembly.json"]],
  ["build", process.execPath, [".scripts/build.mjs"]],
  ["unit tests", process.execPath, [".scripts/test.mjs", "unit"]],
];

for (const [name, command, args] of steps) {
  const started = Date.now();
  const { status } = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  if (status !== 0) {
    console.error(`check: ${name} failed`);
    process.exit(1);
  }
  console.log(`check: ${name} ${((Date.now() - started) / 1000).toFixed(1)} s`);
}
