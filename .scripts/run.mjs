// `npm run fuzz`, `npm run soak`: `run.mjs NAME` bundles test/run/NAME.ts and runs it with the arguments after the
// name.

import { spawnSync } from "node:child_process";
import path from "node:path";
import { root } from "./build.mjs";
import { bundlePrograms, needBuild } from "./programs.mjs";

const [name, ...args] = process.argv.slice(2);
const outfile = path.join(root, `.cache/${name}.mjs`);
needBuild();
await bundlePrograms({ entryPoints: [`test/run/${name}.ts`], outfile });
const { status } = spawnSync(process.execPath, ["--enable-source-maps", outfile, ...args], {
  stdio: "inherit",
});
process.exit(status ?? 1);
