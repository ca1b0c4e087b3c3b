// `npm run bench`: builds, installs the peers below bench/ when they are missing or others are pinned, and runs
// every case; `npm run bench -- CASE …` some, `npm run bench -- --smoke` one short round of each.

import path from "node:path";
import { root } from "./build.mjs";
import { needPackages } from "./packages.mjs";
import { needBuild } from "./programs.mjs";

needBuild();
if (!needPackages(path.join(root, "bench"), ["--ignore-scripts"])) process.exit(1);
await import("../bench/main.mjs"); // it reads the arguments, and ends this process
