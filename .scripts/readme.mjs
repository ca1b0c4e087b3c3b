// Writes the README's tables from the tables of the code; a test compares them.

import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { root } from "./build.mjs";

const outfile = path.join(root, ".cache/tables.mjs");
await build({
  absWorkingDir: root,
  entryPoints: ["test/tables.ts"],
  outfile,
  bundle: true,
  format: "esm",
  logLevel: "warning",
});
const { optionsTable, poolTable, reasonsTable } = await import(pathToFileURL(outfile).href);
const file = path.join(root, "README.md");
let text = await readFile(file, "utf8");
for (const [name, table] of [
  ["options", optionsTable()],
  ["pool", poolTable()],
  ["reasons", reasonsTable()],
]) {
  const mark = new RegExp(`(<!-- ${name} -->\\n)[^]*?(<!-- /${name} -->)`);
  text = text.replace(mark, (_, open, close) => `${open}\n${table}\n${close}`);
}
await writeFile(file, text);
