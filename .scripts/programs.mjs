// Bundles TypeScript of test/ into programs for Node: the part that several scripts share.

import { spawnSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Builds dist/ when a source is newer, without declarations; ends this process when that fails. */
export function needBuild() {
  const args = [path.join(root, ".scripts/build.mjs"), "--if-needed", "--quick"];
  const { status } = spawnSync(process.execPath, args, { stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}

/** Bundles programs. @param options esbuild's: which they are, where they go, and what is not as with all others */
export async function bundlePrograms(options) {
  await build({
    absWorkingDir: root,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    sourcemap: "inline",
    packages: "external",
    loader: { ".wasm": "binary" },
    logLevel: "warning",
    ...options,
  });
}

/** Returns the exports of a file of test/. @param name without its ending */
export async function load(name) {
  const outfile = path.join(root, `.cache/${name}.mjs`);
  await bundlePrograms({ entryPoints: [`test/${name}.ts`], outfile });
  return import(pathToFileURL(outfile).href);
}
