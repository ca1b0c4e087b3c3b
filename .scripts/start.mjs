// `npm start`: builds when a source is newer than dist/, then runs the command line, which without a handler shows the
// live page. What stands behind `--` goes to it: `npm start -- --port 9000`.

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const built = spawnSync(
  process.execPath,
  [fileURLToPath(new URL("build.mjs", import.meta.url)), "--if-needed", "--quick"],
  { stdio: "inherit" },
);
if (built.status !== 0) process.exit(built.status ?? 1);
await import("../dist/cli.js");
