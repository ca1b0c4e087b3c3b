// `npm run bench`: builds, installs the peers below bench/ when they are missing or others are pinned, and runs
// every case; `npm run bench -- CASE …` some, `npm run bench -- --smoke` one short round of each.

import { spawnSync } from "node:child_process";
import { statSync } from "node:fs";
import path from "node:path";
import { root } from "./build.mjs";

const run = (command, args, cwd) => {
  const { status } = spawnSync(command, args, { cwd, stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
};

const bench = path.join(root, "bench");
const timeOf = (file) => statSync(path.join(bench, file), { throwIfNoEntry: false })?.mtimeMs ?? 0;

run(process.execPath, [path.join(root, ".scripts/build.mjs"), "--if-needed", "--quick"], root);
if (timeOf("node_modules/.package-lock.json") < timeOf("package-lock.json")) {
  run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], bench);
}
await import("../bench/main.mjs"); // it reads the arguments, and ends this process
