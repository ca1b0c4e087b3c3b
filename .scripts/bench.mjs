// `npm run bench`: builds, installs the peers below bench/ when they are missing, runs every case.
// `npm run bench -- CASE …`: some of them. `npm run bench -- cost`, `-- placements`: these, with what follows.

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
const names = process.argv.slice(2);
const alone = ["placements", "cost"];
if (alone.includes(names[0])) {
  run(process.execPath, [`${names[0]}.mjs`, ...names.slice(1)], bench);
} else {
  run(process.execPath, ["main.mjs", ...names], bench);
  if (names.length === 0) for (const name of alone) run(process.execPath, [`${name}.mjs`], bench);
}
