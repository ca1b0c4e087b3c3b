// Builds dist/: both wasm modules, the bundles with the wasm embedded, the demo, type declarations.
// `--quick` leaves out the declarations; `--if-needed` builds only when a source is newer.

import { execFile } from "node:child_process";
import { cp, mkdir, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const run = promisify(execFile);
export const root = fileURLToPath(new URL("..", import.meta.url));
const bin = (name) => path.join(root, "node_modules", ".bin", name);

/** Newest modification below a folder. */
async function newest(dir) {
  let latest = 0;
  for (const entry of await readdir(path.join(root, dir), {
    withFileTypes: true,
    recursive: true,
  })) {
    if (!entry.isFile()) continue;
    const at = await stat(path.join(entry.parentPath ?? entry.path, entry.name));
    latest = Math.max(latest, at.mtimeMs);
  }
  return latest;
}

async function isFresh() {
  try {
    const made = (await stat(path.join(root, "dist/index.js"))).mtimeMs;
    for (const dir of ["assembly", "worker", "host"]) if ((await newest(dir)) > made) return false;
    return true;
  } catch {
    return false;
  }
}

/** Both wasm modules. */
export async function buildWasm() {
  await mkdir(path.join(root, "dist"), { recursive: true });
  await Promise.all(
    ["release", "debug"].map((target) => run(bin("asc"), ["--target", target], { cwd: root })),
  );
}

/** What the runtime provides, or npm installs beside the package. */
const external = ["node:*", "comlink", "comlink/*", "piscina"];

/** The engine's bytes stand in the package once: dist/wasm.js, which the bundles beside it import. */
const sharedWasm = {
  name: "shared wasm",
  setup({ onResolve }) {
    onResolve({ filter: /\/engine\.wasm$/ }, ({ kind }) =>
      kind === "entry-point" ? undefined : { path: "./wasm.js", external: true },
    );
  },
};

const common = {
  absWorkingDir: root,
  bundle: true,
  format: "esm",
  platform: "node",
  target: "node20",
  outdir: "dist",
  plugins: [sharedWasm],
  loader: { ".wasm": "binary", ".html": "text" },
  logLevel: "warning",
  legalComments: "none",
  // Small to install, and stack traces still say whose function it was.
  minifyWhitespace: true,
  minifySyntax: true,
};

export async function buildBundles() {
  // Decoded as a browser can, too.
  await build({ ...common, platform: "browser", entryPoints: { wasm: "./dist/engine.wasm" } });
  await build({ ...common, platform: "neutral", entryPoints: { fetch: "host/fetch.ts" } });
  // A page has no packages: nothing is left to import.
  await build({
    ...common,
    plugins: [],
    minify: true,
    platform: "browser",
    target: "es2022",
    entryPoints: { browser: "host/browser.ts", "browser-worker": "worker/page.ts" },
  });
  // What several of them have in common stands in chunks: once in the package.
  for (const name of await readdir(path.join(root, "dist"))) {
    if (name.startsWith("shared-")) await rm(path.join(root, "dist", name));
  }
  await build({
    ...common,
    external,
    splitting: true,
    chunkNames: "shared-[hash]",
    entryPoints: {
      index: "host/index.ts",
      worker: "worker/main.ts",
      pool: "worker/thread.ts",
      engine: "worker/embed.ts",
      testing: "host/testing.ts",
      zlib: "worker/net/zlib.ts",
    },
  });
  await build({
    ...common,
    external: [...external, "../index.js"],
    entryPoints: { "demo/main": "host/demo/main.ts", "demo/handler": "host/demo/handler.ts" },
  });
}

/** The declarations that those of the package's entry points need, by what they import. */
async function neededTypes(types) {
  const { exports } = JSON.parse(await readFile(path.join(root, "package.json"), "utf8"));
  const queue = Object.values(exports).flatMap((entry) => entry.types ?? []);
  const needed = new Set(queue.map((file) => path.join(root, file)));
  for (const file of needed) {
    for (const [, target] of (await readFile(file, "utf8")).matchAll(/["'](\.[^"']*)\.js["']/g)) {
      needed.add(`${path.resolve(path.dirname(file), target)}.d.ts`);
    }
  }
  return [...needed].filter((file) => file.startsWith(types));
}

/** Declarations of the public types: asc's number types become `number`, imports get their extension. */
export async function buildTypes() {
  const types = path.join(root, "dist/types");
  await rm(types, { recursive: true, force: true });
  await run(bin("tsc"), ["-p", "tsconfig.types.json"], { cwd: root });
  const files = (await readdir(types, { withFileTypes: true, recursive: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name));
  for (const file of files) {
    const text = await readFile(file, "utf8");
    const extended = text.replace(/(from "\.[^"]*?)(\.js)?"/g, '$1.js"');
    const inAssembly = file.includes(`${path.sep}assembly${path.sep}`);
    await writeFile(
      file,
      inAssembly ? extended.replace(/\b(u8|u16|u32|u64|i32|f64)\b/g, "number") : extended,
    );
  }
  // Of the modules that threads run: they export nothing.
  await writeFile(path.join(types, "script.d.ts"), "export {};\n");
  const needed = await neededTypes(types);
  for (const file of files) if (!needed.includes(file)) await rm(file);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (!(process.argv.includes("--if-needed") && (await isFresh()))) {
    try {
      await buildWasm();
      await Promise.all([
        buildBundles(),
        process.argv.includes("--quick") ? undefined : buildTypes(),
      ]);
      await cp(path.join(root, "LICENSE"), path.join(root, "dist/LICENSE"));
    } catch (error) {
      console.error(error.stdout || error.stderr || error);
      process.exit(1);
    }
  }
}
