// Builds dist/: both wasm modules, the bundles with the wasm embedded, the demo, type declarations.
// `--quick` leaves out the declarations; `--if-needed` builds only when a source is newer.

import { execFile } from "node:child_process";
import { cp, mkdir, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { buildTypes } from "./types.mjs";

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
const external = ["node:*", "piscina"];

/** Modules that run in a page, which has no packages: Comlink becomes part of them. */
const IN_PAGES = /[\\/](host[\\/]browser|worker[\\/]page)\.ts$/;

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

/** The engine's bytes stand in the package once: dist/wasm.js, which the bundles beside it import. */
const sharedWasm = {
  name: "shared wasm",
  setup(bundle) {
    bundle.onResolve({ filter: /\/engine\.wasm$/ }, () => ({ path: "./wasm.js", external: true }));
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
  loader: { ".html": "text" },
  logLevel: "warning",
  // Comlink's.
  legalComments: "inline",
  // Small to install. What users meet in a console has its name by itself.
  minify: true,
};

/** Added to each byte of the wasm: of all numbers the one with which it packs best. */
const SHIFT = 15;

/** How characters are written that cannot stand in a string, or not everywhere. */
const ESCAPES = { "\0": "\\x00", "\n": "\\n", "\r": "\\r", '"': '\\"', "\\": "\\\\" };

/**
 * Writes dist/wasm.js: the engine's bytes, a character each. Packed that is a fifth smaller than base64, which hides
 * from gzip what repeats.
 */
async function embedWasm() {
  const wasm = await readFile(path.join(root, "dist/engine.wasm"));
  const text = wasm.map((byte) => byte + SHIFT).toString("latin1");
  const escaped = text.replace(/[\0\n\r"\\]/g, (character) => ESCAPES[character]);
  const lines = [
    `const text="${escaped}";`,
    "const bytes=new Uint8Array(text.length);",
    `for(let i=0;i<bytes.length;i++)bytes[i]=text.charCodeAt(i)-${SHIFT};`,
    "export default bytes;",
  ];
  await writeFile(path.join(root, "dist/wasm.js"), `${lines.join("\n")}\n`);
}

export async function buildBundles() {
  await embedWasm();
  await rm(path.join(root, "dist/demo"), { recursive: true, force: true });
  // What several of them have in common stands in chunks: once in the package.
  for (const name of await readdir(path.join(root, "dist"))) {
    if (name.startsWith("shared-")) await rm(path.join(root, "dist", name));
  }
  await build({
    ...common,
    external,
    plugins: [...common.plugins, ownDemo],
    splitting: true,
    chunkNames: "shared-[hash]",
    entryPoints: {
      index: "host/index.ts",
      fetch: "host/fetch.ts",
      cli: "host/cli.ts",
      worker: "worker/main.ts",
      pool: "worker/thread.ts",
      browser: "host/browser.ts",
      "browser-worker": "worker/page.ts",
      engine: "worker/embed.ts",
      testing: "host/testing.ts",
      zlib: "worker/net/zlib.ts",
    },
  });
  // One file for browsers of some years ago, too.
  await build({ ...common, target: ["es2020"], entryPoints: { client: "host/client.ts" } });
  await build({
    ...common,
    external: [...external, "../index.js"],
    entryPoints: { "demo/demo": "host/demo/demo.ts", "demo/handler": "host/demo/handler.ts" },
  });
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
