// Builds dist/: both wasm modules, the bundles with the wasm embedded, the demo, type declarations.
// `--quick` leaves out the declarations; `--if-needed` builds only when a source is newer.

import { execFile } from "node:child_process";
import { cp, mkdir, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { page } from "./page.mjs";
import { shrink } from "./shrink.mjs";
import { buildTypes } from "./types.mjs";

const run = promisify(execFile);
export const root = fileURLToPath(new URL("..", import.meta.url));
/** asc, run by Node itself: programs of node_modules/.bin cannot be spawned on Windows. */
const asc = path.join(root, "node_modules/assemblyscript/bin/asc.js");

/** Newest modification below a folder. */
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

/** Both wasm modules. */
async function buildWasm() {
  await mkdir(path.join(root, "dist"), { recursive: true });
  await Promise.all(
    ["release", "debug"].map((target) =>
      run(process.execPath, [asc, "--target", target], { cwd: root }),
    ),
  );
}

/** What the runtime provides, or npm installs beside the package. */
const external = ["node:*", "piscina"];

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

/**
 * The engine's bytes stand in the package once: in this file of dist/, which the bundles beside it import. Its name
 * puts it in front of them in the archive: nothing has anything in common with it.
 */
const WASM = "00-wasm.js";

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
  // Small to install. What users meet in a console has its name by itself.
  minify: true,
};

/** Each byte of the wasm is changed by these, an exclusive or and a sum: of all pairs the one that packs best. */
const XOR = 35;
const SHIFT = 4;

/** How characters are written that cannot stand in a string, or not everywhere. */
const ESCAPES = { "\0": "\\x00", "\n": "\\n", "\r": "\\r", '"': '\\"', "\\": "\\\\" };

/**
 * Writes the engine's bytes, a character each. Packed that is a fifth smaller than base64, which hides
 * from gzip what repeats.
 */
async function embedWasm() {
  const wasm = await readFile(path.join(root, "dist/engine.wasm"));
  const text = wasm.map((byte) => (byte ^ XOR) + SHIFT).toString("latin1");
  const escaped = text.replace(/[\0\n\r"\\]/g, (character) => ESCAPES[character]);
  const lines = [
    `const text="${escaped}";`,
    "const bytes=new Uint8Array(text.length);",
    `for(let i=0;i<bytes.length;i++)bytes[i]=text.charCodeAt(i)-${SHIFT}^${XOR};`,
    "export default bytes;",
  ];
  await writeFile(path.join(root, "dist", WASM), `${lines.join("\n")}\n`);
}

/** Bundles, with what several of them have in common in chunks: once in the package. */
async function bundle(entryPoints) {
  const { outputFiles, metafile } = await build({
    ...common,
    external,
    entryPoints,
    plugins: [...common.plugins, ownDemo],
    splitting: true,
    chunkNames: "shared-[hash]",
    metafile: true,
    write: false,
  });
  return outputFiles.map(({ path: file, text }) => {
    const { inputs, entryPoint } = metafile.outputs[path.relative(root, file)];
    const bySize = Object.entries(inputs).sort((a, b) => b[1].bytesInOutput - a[1].bytesInOutput);
    const [main = ""] = bySize[0] ?? [];
    return { name: path.basename(file), text, main, isChunk: entryPoint === undefined };
  });
}

async function buildBundles({ isQuick = false } = {}) {
  const bundles = await bundle({
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
  });
  const short = await shrink(bundles, { isQuick });
  // Of an earlier build there may be others.
  for (const name of await readdir(path.join(root, "dist"))) {
    if (name.endsWith(".js")) await rm(path.join(root, "dist", name));
  }
  for (const { name, text } of short) await writeFile(path.join(root, "dist", name), text);
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
      await buildWasm();
      await Promise.all([buildBundles({ isQuick }), isQuick ? undefined : buildTypes()]);
      await cp(path.join(root, "LICENSE"), path.join(root, "dist/LICENSE"));
    } catch (error) {
      console.error(error.stdout || error.stderr || error);
      process.exit(1);
    }
  }
}
