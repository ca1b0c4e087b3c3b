// Which test files names select.

import path from "node:path";

/**
 * Selects the files called `NAME.test.ts`. When there is none, it selects the files whose names contain it.
 * @param {readonly string[]} files
 * @param {readonly string[]} names none select all
 * @throws {Error} when a name selects nothing
 */
export function selectFiles(files, names) {
  if (names.length === 0) return [...files];
  const baseOf = (file) => path.basename(file, ".test.ts");
  const selected = new Set();
  for (const name of names) {
    const exact = files.filter((file) => baseOf(file) === name);
    const found = exact.length > 0 ? exact : files.filter((file) => baseOf(file).includes(name));
    if (found.length === 0) throw new Error(`no test file has ${JSON.stringify(name)} in its name`);
    for (const file of found) selected.add(file);
  }
  return files.filter((file) => selected.has(file));
}
