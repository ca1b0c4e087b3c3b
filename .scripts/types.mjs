// Builds dist/types/: the declarations of the package's entry points with their comments, one file for each entry point
// and shared.d.ts for the rest. The comments of options are made of their table (host/options/table.ts).

import { rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { rollup } from "rollup";
import { dts } from "rollup-plugin-dts";
import { load } from "./programs.mjs";

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

/** Returns a doc comment of a member, in lines of at most 120 columns. */
function comment(text) {
  const lines = text.split("\n").flatMap((line) => line.match(/.{1,113}(?= |$)|^$/g));
  return ["    /**", ...lines.map((line) => `     * ${line.trim()}`.trimEnd()), "     */\n"].join(
    "\n",
  );
}

/** Puts comments in front of the members of an interface. @throws Error when there is no such member */
function explain(code, name, texts) {
  const start = code.indexOf(`\ninterface ${name}`);
  const end = code.indexOf("\n}\n", start);
  let body = code.slice(start, end);
  for (const [member, text] of Object.entries(texts)) {
    const before = body;
    body = body.replace(new RegExp(`^(?= {4}${member}\\?: )`, "m"), () => comment(text));
    if (body === before) throw new Error(`${name}.${member}: is not declared`);
  }
  return code.slice(0, start) + body + code.slice(end);
}

/** Gives the options the comments that are made of their table. */
const options = {
  name: "options",
  async renderChunk(code, { name }) {
    if (name !== "shared") return null;
    const { optionTexts, poolTexts } = await load("lib/tables");
    return explain(explain(code, "Options<", optionTexts()), "PoolOptions ", poolTexts());
  },
};

/** Writes the declarations. @throws Error when one is missing */
export async function buildTypes() {
  await rm(types, { recursive: true, force: true });
  const bundle = await rollup({
    input: ENTRIES,
    external: /^(node:|comlink)/,
    plugins: [dts({ tsconfig: source("tsconfig.types.json") }), numbers, options],
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
