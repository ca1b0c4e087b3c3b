// `npm run bench`: builds, installs the peers below bench/ when they are missing, runs every bench.
// `npm run bench -- NAME …`: one of them, with the arguments behind it; other arguments are the fan-out's.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { root } from "./build.mjs";

const run = (command, args, cwd) => {
  const { status } = spawnSync(command, args, { cwd, stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
};

const bench = path.join(root, "bench");
run(process.execPath, [path.join(root, ".scripts/build.mjs"), "--if-needed", "--quick"], root);
if (!existsSync(path.join(bench, "node_modules"))) run("npm", ["ci"], bench);
const [first, ...rest] = process.argv.slice(2);
const names = ["fanout", "topics", "placements", "cost"];
if (names.includes(first)) {
  run(process.execPath, [`${first}.mjs`, ...rest], bench);
} else if (first !== undefined) {
  run(process.execPath, ["fanout.mjs", first, ...rest], bench);
} else {
  for (const name of names) run(process.execPath, [`${name}.mjs`], bench);
}
