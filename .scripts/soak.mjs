// `npm run soak`: bundles the soak and runs it with the arguments given.

import { spawnSync } from "node:child_process";
import path from "node:path";
import { build } from "esbuild";
import { root } from "./build.mjs";

const ready = spawnSync(
  process.execPath,
  [path.join(root, ".scripts/build.mjs"), "--if-needed", "--quick"],
  { stdio: "inherit" },
);
if (ready.status !== 0) process.exit(ready.status ?? 1);
const outfile = path.join(root, ".cache/soak.mjs");
await build({
  absWorkingDir: root,
  entryPoints: ["test/soak.ts"],
  outfile,
  bundle: true,
  format: "esm",
  platform: "node",
  target: "node20",
  sourcemap: "inline",
  packages: "external",
  loader: { ".wasm": "binary" },
  logLevel: "warning",
});
const run = spawnSync(
  process.execPath,
  ["--enable-source-maps", outfile, ...process.argv.slice(2)],
  {
    stdio: "inherit",
  },
);
process.exit(run.status ?? 1);
