// The engine for the bench: the release wasm behind the project's own binding, and a second wasm that exports leaf
// kernels. That one is compiled here, from the same sources with the same options, so that the shipped one does not
// grow for the bench's sake.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = path.join(root, ".cache/bench");
const require = createRequire(path.join(root, "package.json"));

/** The kernels that are measured by themselves, by the file of assembly/kernel/ they are in. */
const KERNELS = { bytes: ["unmask"], utf8: ["validate"] };

/** Bundles the binding and the constants it uses, as one module. */
async function bundleBinding() {
  const { build } = require("esbuild");
  const outfile = path.join(folder, "binding.mjs");
  const contents = `
    export * from "./assembly/abi";
    export * from "./assembly/plan";
    export { Engine } from "./worker/engine/engine";
    export { latin1 } from "./host/shared/text/text";`;
  await build({
    stdin: { contents, resolveDir: root, loader: "ts" },
    outfile,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    logLevel: "warning",
  });
  return import(outfile);
}

function compileKernels() {
  const entry = path.join(folder, "kernels.ts");
  const outFile = path.join(folder, "kernels.wasm");
  const lines = Object.entries(KERNELS).map(
    ([file, names]) => `export { ${names.join(", ")} } from "../../assembly/kernel/${file}";`,
  );
  writeFileSync(entry, `${lines.join("\n")}\n`);
  const { options, targets } = JSON.parse(readFileSync(path.join(root, "asconfig.json"), "utf8"));
  const config = path.join(folder, "asconfig.json");
  // asc takes a path as relative to its configuration.
  const release = { ...targets.release, outFile: path.basename(outFile) };
  writeFileSync(config, JSON.stringify({ options, targets: { release } }));
  const args = [path.relative(root, entry), "--config", path.relative(root, config)];
  execFileSync(path.join(root, "node_modules/.bin/asc"), [...args, "--target", "release"], {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
  });
  return new WebAssembly.Module(readFileSync(outFile));
}

/**
 * Loads the engine and its binding for a bench.
 * @param {string | undefined} base another engine's wasm to compare with, of the same ABI
 * @throws Error when dist/ is not built
 */
export async function buildEngine(base) {
  const file = path.join(root, "dist/engine.wasm");
  if (!existsSync(file)) throw new Error("no dist/engine.wasm: npm run build");
  mkdirSync(folder, { recursive: true });
  const binding = await bundleBinding();
  const modules = [{ name: "ringcast", module: new WebAssembly.Module(readFileSync(file)) }];
  if (base) modules.push({ name: "base", module: new WebAssembly.Module(readFileSync(base)) });
  return { binding, modules, kernels: compileKernels() };
}
