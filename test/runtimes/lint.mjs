// Prints the findings of publint and "are the types wrong" about a tarball and the folder it was unpacked to: an array
// of lines, as JSON. The package is for ESM, so CommonJS's resolution of its types (except by require(esm)) is not
// checked.

import { readFileSync } from "node:fs";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import { publint } from "publint";
import { formatMessage } from "publint/utils";

const [tarball, pkgDir] = process.argv.slice(2);
const { messages, pkg } = await publint({ pkgDir, pack: false, strict: true });
const lines = messages.map((message) => `publint: ${formatMessage(message, pkg)}`);
const { problems, types } = await checkPackage(
  createPackageFromTarballData(new Uint8Array(readFileSync(tarball))),
  // No module, so it has no types.
  { excludeEntrypoints: ["./engine.wasm"] },
);
if (!types) lines.push("types: there are none");
for (const problem of problems ?? []) {
  if (!["node10", "node16-cjs"].includes(problem.resolutionKind)) {
    lines.push(`types: ${JSON.stringify(problem)}`);
  }
}
console.log(JSON.stringify(lines));
