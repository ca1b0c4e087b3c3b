// Writes the generated tables of the README and of the pages that it links, and the generated sources: from the tables
// of the code, and from the bench's results when bench/results.md is there. A test compares them. `--floods` also takes
// over what the last runs of the floods' tests measured, into test/floods.md.

import { readFile, readdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { root } from "./build.mjs";
import { load } from "./programs.mjs";

const { generatedFiles, generatedParts, partOf } = await load("lib/generated");
const results = await readFile(path.join(root, "bench/results.md"), "utf8").catch(() => undefined);

/** Changes a page. @param {(text: string) => string} change */
async function rewrite(page, change) {
  const file = path.join(root, page);
  await writeFile(file, change(await readFile(file, "utf8")));
}

for (const [file, text] of Object.entries(generatedFiles()))
  await writeFile(path.join(root, file), text);

for (const part of generatedParts(results)) {
  const { page, name, text } = part;
  const marked = (inner) => `<!-- ${name} -->\n${inner}<!-- /${name} -->`;
  await rewrite(page, (all) => all.replace(marked(partOf(all, part)), () => marked(`\n${text}\n`)));
}

/** Replaces the row of a flood that begins as a measured one does. */
function withRow(all, row) {
  const start = row.slice(0, row.indexOf(" |") + 2);
  const at = all.indexOf(`\n${start}`) + 1;
  if (at === 0) throw new Error(`test/floods.md has no row ${start}`);
  return `${all.slice(0, at)}${row}${all.slice(all.indexOf("\n", at))}`;
}

if (process.argv.includes("--floods")) {
  const cache = path.join(root, ".cache");
  for (const name of (await readdir(cache)).filter((one) => one.endsWith(".rows"))) {
    const rows = (await readFile(path.join(cache, name), "utf8")).trim().split("\n");
    await rewrite("test/floods.md", (all) => rows.reduce(withRow, all));
  }
}
