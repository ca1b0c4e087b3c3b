// Builds dist/types/: the declarations of the package's entry points with their comments, one file for each entry point
// and shared.d.ts for the rest.

import { rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { rollup } from "rollup";
import { dts } from "rollup-plugin-dts";

const root = fileURLToPath(new URL("..", import.meta.url));
const types = path.join(root, "dist/types");

const source = (file) => path.join(root, file);

/** Source files of the entry points that declare something, by their names in dist/types/. */
const ENTRIES = {
  index: source("host/index.ts"),
  fetch: source("host/fetch.ts"),
  client: source("host/client.ts"),
  browser: source("host/browser.ts"),
  engine: source("worker/embed/embed.ts"),
  testing: source("host/testing.ts"),
  zlib: source("worker/net/zlib.ts"),
};

/** Makes the number types of AssemblyScript `number`. */
const numbers = {
  name: "numbers",
  renderChunk: (code) => code.replace(/(?<=: |=> )(?:u8|u16|u32|u64|i32|f64)\b/g, "number"),
};

/** Writes the declarations. @throws Error when one is missing */
export async function buildTypes() {
  await rm(types, { recursive: true, force: true });
  const bundle = await rollup({
    input: ENTRIES,
    external: /^(node:|comlink)/,
    plugins: [dts({ tsconfig: source("tsconfig.types.json") }), numbers],
    onLog(level, { message }) {
      throw new Error(`${level}: ${message}`);
    },
  });
  await bundle.write({
    dir: types,
    format: "es",
    entryFileNames: "[name].d.ts",
    chunkFileNames: "[name].d.ts",
    manualChunks: (id) => (Object.values(ENTRIES).includes(id) ? undefined : "shared"),
    // Exports keep their names.
    minifyInternalExports: false,
  });
  await bundle.close();
  // Of the modules that threads run: they export nothing.
  await writeFile(path.join(types, "script.d.ts"), "export {};\n");
}
