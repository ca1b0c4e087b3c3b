// Builds dist/: both wasm modules, the bundles with their source maps, the demo, type declarations. The wasm and the
// declarations, which take long, are made again only when their sources have changed.
// `--quick` leaves out the declarations; `--if-needed` builds only when a source is newer.

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { cp, mkdir, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { page } from "./page.mjs";
import { buildTypes } from "./types.mjs";

const run = promisify(execFile);
export const root = fileURLToPath(new URL("..", import.meta.url));
/** asc, run by Node itself: programs of node_modules/.bin cannot be spawned on Windows. */
const asc = path.join(root, "node_modules/assemblyscript/bin/asc.js");

/** Returns the time of the newest modification below a folder. */
export async function newest(dir) {
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

/** Returns the files of files and folders, sorted. */
async function filesOf(places) {
  const found = [];
  for (const place of places) {
    const full = path.join(root, place);
    if ((await stat(full)).isFile()) found.push(full);
    else
      for (const entry of await readdir(full, { withFileTypes: true, recursive: true }))
        if (entry.isFile()) found.push(path.join(entry.parentPath ?? entry.path, entry.name));
  }
  return found.sort();
}

/** Returns a digest of files' names and contents; undefined: one is missing. */
async function digestOf(places) {
  const hash = createHash("sha256");
  try {
    for (const file of await filesOf(places)) {
      const bytes = await readFile(file);
      hash.update(`${path.relative(root, file)} ${bytes.length}\n`).update(bytes);
    }
  } catch {
    return undefined;
  }
  return hash.digest("hex");
}

/** Sources of each build: the versions of the tools, and how they are called. */
const TOOLS = ["package-lock.json", ".scripts/build.mjs", ".scripts/types.mjs"];

/**
 * Makes files, unless present ones came from the same sources and have not been touched.
 * @param {string} name of the step
 * @param {{ from: string[], to: string[] }} places files and folders
 * @param {() => Promise<void>} make
 */
async function remake(name, { from, to }, make) {
  const stamp = path.join(root, `.cache/build/${name}`);
  const sources = await digestOf([...TOOLS, ...from]);
  const textOf = async () => `${sources} ${await digestOf(to)}\n`;
  const before = await readFile(stamp, "utf8").catch(() => "");
  if (before === (await textOf())) return;
  await make();
  await mkdir(path.dirname(stamp), { recursive: true });
  await writeFile(stamp, await textOf());
}

const WASM_PLACES = {
  from: ["assembly", "asconfig.json"],
  to: ["dist/engine.wasm", "dist/engine.debug.wasm"],
};
const TYPES_PLACES = {
  from: ["assembly", "worker", "host", "tsconfig.json", "tsconfig.types.json"],
  to: ["dist/types"],
};

const SCHEMA_PLACES = {
  from: ["host/options", "worker/net/transport.ts", "test/lib/schema.ts"],
  to: ["dist/schema.json"],
};

/** Writes the schema of configuration files. */
async function buildSchema() {
  const { load } = await import("./programs.mjs");
  const { configSchema } = await load("lib/schema");
  const text = `${JSON.stringify(configSchema(), undefined, 2)}\n`;
  await writeFile(path.join(root, "dist/schema.json"), text);
}

/** Builds both wasm modules. */
async function buildWasm() {
  await mkdir(path.join(root, "dist"), { recursive: true });
  await Promise.all(
    ["release", "debug"].map((target) =>
      run(process.execPath, [asc, "--target", target], { cwd: root }),
    ),
  );
}

/** Modules that the runtime provides, or that npm installs beside the package. */
const external = ["node:*", "jsonc-parser", "piscina", "yauzl"];

/** Modules that run in a page, which has no packages: Comlink becomes part of them. */
const IN_PAGES = /[\\/](host[\\/]browser|worker[\\/]entry[\\/]page)\.ts$/;

const comlink = {
  name: "comlink",
  setup(bundle) {
    bundle.onResolve({ filter: /^comlink(\/|$)/ }, ({ path: name, importer }) =>
      IN_PAGES.test(importer)
        ? { path: path.join(root, "node_modules/comlink/dist/esm/comlink.mjs") }
        : { path: name, external: true },
    );
  },
};

/** The engine in base64, which every bundle imports that runs without files. In dist/ it is one file beside them. */
const WASM = "engine-base64.js";

const sharedWasm = {
  name: "shared wasm",
  setup(bundle) {
    bundle.onResolve({ filter: /\/engine\.wasm$/ }, () => ({ path: `./${WASM}`, external: true }));
  },
};

/** The live page's program is a bundle of its own, which the command line imports when it is to run. */
const ownDemo = {
  name: "own demo",
  setup(bundle) {
    bundle.onResolve({ filter: /\/demo\/demo\.js$/ }, () => ({
      path: "./demo/demo.js",
      external: true,
    }));
  },
};

const common = {
  absWorkingDir: root,
  bundle: true,
  format: "esm",
  platform: "neutral",
  target: ["node20", "es2022"],
  outdir: "dist",
  plugins: [sharedWasm, comlink],
  logLevel: "warning",
  // Comlink's.
  legalComments: "inline",
  // Stack traces name the files of the checkout. Their text is not shipped twice.
  sourcemap: true,
  sourcesContent: false,
};

/** Writes the engine in base64, in lines that an editor can show. */
async function embedWasm() {
  const wasm = await readFile(path.join(root, "dist/engine.wasm"));
  const lines = wasm.toString("base64").match(/.{1,120}/g);
  const text = `// engine.wasm in base64, for pages and for programs that are bundled into one file.

const binary = atob(\`
${lines.join("\n")}
\`);
const bytes = new Uint8Array(binary.length);
for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
export default bytes;
`;
  await writeFile(path.join(root, "dist", WASM), text);
}

/** Removes the bundles of an earlier build: the names of shared chunks change with their contents. */
async function removeBundles() {
  const dist = path.join(root, "dist");
  for (const name of await readdir(dist)) {
    if (/\.js(\.map)?$/.test(name)) await rm(path.join(dist, name));
  }
}

async function buildBundles() {
  await removeBundles();
  // Code that several entry points share becomes chunks, which are in the package once.
  await build({
    ...common,
    external,
    entryPoints: {
      index: "host/index.ts",
      fetch: "host/fetch.ts",
      cli: "host/cli.ts",
      worker: "worker/entry/main.ts",
      pool: "worker/entry/thread.ts",
      browser: "host/browser.ts",
      "browser-worker": "worker/entry/page.ts",
      engine: "worker/embed/embed.ts",
      testing: "host/testing.ts",
      zlib: "worker/net/zlib.ts",
    },
    plugins: [...common.plugins, ownDemo],
    splitting: true,
    chunkNames: "shared-[hash]",
  });
  await embedWasm();
  // One file for browsers of some years ago, too.
  await build({ ...common, target: ["es2020"], entryPoints: { client: "host/client.ts" } });
  await build({
    ...common,
    external: [...external, "../index.js", "./demo.js"],
    entryPoints: ["demo", "handler", "clients"].map((name) => `host/demo/${name}.ts`),
    outdir: "dist/demo",
    plugins: [page],
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (!(process.argv.includes("--if-needed") && (await isFresh()))) {
    try {
      const isQuick = process.argv.includes("--quick");
      await remake("wasm", WASM_PLACES, buildWasm);
      await Promise.all([
        buildBundles(),
        remake("schema", SCHEMA_PLACES, buildSchema),
        isQuick ? undefined : remake("types", TYPES_PLACES, buildTypes),
      ]);
      await cp(path.join(root, "LICENSE"), path.join(root, "dist/LICENSE"));
    } catch (error) {
      console.error(error.stdout || error.stderr || error);
      process.exit(1);
    }
  }
}
