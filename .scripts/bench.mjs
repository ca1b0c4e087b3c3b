// `npm run bench`: builds, installs the peers below bench/ when they are missing or others are pinned, and runs
// every case; `npm run bench -- CASE …` some, `npm run bench -- --smoke` one short round of each.

import { spawnSync } from "node:child_process";
import { statSync } from "node:fs";
import path from "node:path";
import { root } from "./build.mjs";
import { needBuild } from "./programs.mjs";

const bench = path.join(root, "bench");
const timeOf = (file) => statSync(path.join(bench, file), { throwIfNoEntry: false })?.mtimeMs ?? 0;

needBuild();
if (timeOf("node_modules/.package-lock.json") < timeOf("package-lock.json")) {
  const args = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
  const { status } = spawnSync("npm", args, { cwd: bench, stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}
await import("../bench/main.mjs"); // it reads the arguments, and ends this process
