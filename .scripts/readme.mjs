// Writes the README's tables from the tables of the code, and from what the bench found when bench/results.md is there.
// A test compares them. `--floods` also takes over what the last runs of the floods' tests measured.

import { readFile, readdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { root } from "./build.mjs";
import { load } from "./programs.mjs";

const results = path.join(root, "bench/results.md");
const { generatedTables } = await load("lib/generated");
const file = path.join(root, "README.md");
let text = await readFile(file, "utf8");
const found = await readFile(results, "utf8").catch(() => undefined);
for (const [name, table] of Object.entries(generatedTables(found))) {
  const mark = new RegExp(`(<!-- ${name} -->\\n)[\\s\\S]*?(<!-- /${name} -->)`);
  if (!mark.test(text)) throw new Error(`README.md has no mark ${name}`);
  text = text.replace(mark, (_, open, close) => `${open}\n${table}\n${close}`);
}
if (process.argv.includes("--floods")) {
  const cache = path.join(root, ".cache");
  for (const name of (await readdir(cache)).filter((one) => one.endsWith(".rows"))) {
    for (const row of (await readFile(path.join(cache, name), "utf8")).trim().split("\n")) {
      const start = row.slice(0, row.indexOf(" |") + 2);
      const at = text.indexOf(`\n${start}`) + 1;
      if (at === 0) throw new Error(`README.md has no row ${start}`);
      text = `${text.slice(0, at)}${row}${text.slice(text.indexOf("\n", at))}`;
    }
  }
}
await writeFile(file, text);
