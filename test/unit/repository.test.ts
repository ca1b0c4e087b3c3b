// Files that a maintainer expects beside the sources: workflows, forms, the hook, and the promises of package.json.
// There is no YAML library among the dependencies, so the files are held to the part of YAML that they need.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";

const repository = suite("repository");

interface Manifest {
  readonly version: string;
  readonly engines: { readonly node: string };
  readonly scripts: Readonly<Record<string, string>>;
  readonly sideEffects: readonly string[];
  readonly exports: Readonly<Record<string, string | { types: string; default: string }>>;
  readonly bin: Readonly<Record<string, string>>;
}

const text = (file: string): string => readFileSync(file, "utf8");
const manifest = JSON.parse(text("package.json")) as Manifest;
const yamlFiles = (readdirSync(".github", { recursive: true }) as string[])
  .filter((name) => /\.ya?ml$/.test(name))
  .map((name) => path.posix.join(".github", name.split(path.sep).join("/")));
const workflows = yamlFiles.filter((name) => name.includes("/workflows/"));

/** Returns the first line that is not of the part of YAML used here; undefined when there is none. */
function mistakeIn(yaml: string): string | undefined {
  /** Indents of the mappings and lists that are open. */
  const open = [0];
  /** Indent of the key whose block of text is read. */
  let block = -1;
  let isHeader = true;
  for (const [i, line] of yaml.split("\n").entries()) {
    const indent = line.length - line.trimStart().length;
    if (line.trim() === "" || (block >= 0 && indent > block)) continue;
    block = -1;
    if (line.trim().startsWith("#")) continue;
    const item = /^(\s*)((?:- )*)(?:([\w-]+|"[^"]+"):(?: (.*))?|(.+))$/.exec(line);
    const where = `line ${i + 1}: ${line.trim()}`;
    if (!item || line.includes("\t")) return where;
    const [, , dashes = "", key, value = "", scalar = ""] = item;
    while (open.length > 1 && indent < (open.at(-1) as number)) open.pop();
    if (indent > (open.at(-1) as number)) {
      if (!isHeader) return `${where} (its indent)`;
      open.push(indent);
    } else if (indent < (open.at(-1) as number)) return `${where} (its indent)`;
    if (dashes) open.push(indent + dashes.length);
    if (key === undefined && !dashes) return `${where} (neither a key nor an item)`;
    const plain = (key === undefined ? scalar : value).replace(/\s#.*$/, "").trim();
    if (/^[|>][-+]?$/.test(plain)) block = indent + dashes.length;
    isHeader = plain === "" || (key !== undefined && dashes !== "");
    const isClosed =
      /^("([^"\\]|\\.)*"|'[^']*'|\[[^\]]*\]|\{[^}]*\}|[|>][-+]?|[^"'[\]{}&*!|>%@`].*)?$/;
    if (!isClosed.test(plain) || (/: |:$/.test(plain) && !/^["'[{]/.test(plain))) return where;
  }
  return undefined;
}

repository("a workflow or form that does not parse is found", () => {
  assert.is(
    mistakeIn("a:\n  b: 1\n  c:\n    - d: 2\n      e: |\n        x: {\n    - f\n"),
    undefined,
  );
  for (const wrong of [
    "a:\n\tb: 1",
    "a: 1\n  b: 2",
    "a:\n   b: 1\n  c: 2",
    "a: b: c",
    'a: "b',
    "a: [b",
    "a:\n  b\n",
  ])
    assert.type(mistakeIn(wrong), "string", wrong);
});

repository("workflows and forms parse", () => {
  assert.ok(workflows.length >= 3 && yamlFiles.length > workflows.length + 2);
  for (const file of yamlFiles) assert.is(mistakeIn(text(file)), undefined, file);
});

repository("workflows run scripts that exist", () => {
  let runs = 0;
  for (const file of workflows) {
    for (const [, name = ""] of text(file).matchAll(/\bnpm run ([\w:-]+)/g)) {
      runs++;
      assert.ok(name in manifest.scripts, `${file}: npm run ${name}`);
    }
    for (const [, name = ""] of text(file).matchAll(/uses: (\.\/\S+)/g))
      assert.ok(text(name), `${file}: ${name}`);
    for (const [, action = ""] of text(file).matchAll(/uses: ([^.\s]\S*)/g))
      assert.match(action, /^[\w-]+\/[\w-]+@v\d+$/, file);
  }
  assert.ok(runs > 6);
});

/** Major versions, and the oldest minor of one, that a text of package.json's kind allows. */
const [oldestMajor = 0, oldestMinor = 0] = (manifest.engines.node.match(/\d+/g) ?? []).map(Number);

repository("workflows run on versions of Node that exist and are supported", () => {
  const versions = workflows.flatMap((file) => [
    ...[...text(file).matchAll(/node-version: ([\d.]+)/g)].map(([, version = ""]) => version),
    ...[...text(file).matchAll(/\bnode:(\d+)-/g)].map(([, version = ""]) => version),
  ]);
  const matrix = /^ +node: \[(.*)\]$/m.exec(text(".github/workflows/check.yml"))?.[1]?.split(", ");
  const { dependencies } = JSON.parse(text("test/runtimes/package.json"));
  const tried = Object.keys(dependencies).flatMap((name) => /^node-(\d+)$/.exec(name)?.[1] ?? []);
  assert.equal(matrix, ["20", "22", "24", "26"]);
  for (const version of [...versions, ...(matrix ?? []), text(".node-version").trim()]) {
    const [major = 0, minor = Number.POSITIVE_INFINITY] = version.split(".").map(Number);
    // Odd versions end within months.
    assert.is(major % 2, 0, version);
    assert.ok(major > oldestMajor || (major === oldestMajor && minor >= oldestMinor), version);
    assert.ok(matrix?.includes(String(major)), version);
  }
  for (const major of tried) assert.ok(matrix?.includes(major), `test/runtimes has Node ${major}`);
  assert.ok(versions.includes(`${oldestMajor}.${oldestMinor}.0`), "the oldest one is checked");
});

repository("the changelog has a section for the version, and for unreleased changes", () => {
  const heads = [...text(".github/CHANGELOG.md").matchAll(/^## \[(.*?)\]/gm)].map(([, one]) => one);
  assert.is(heads[0], "Unreleased");
  assert.ok(heads.includes(manifest.version));
});

repository(
  "modules that are run for their effect are named as such, and no other entry point is",
  () => {
    const entries = Object.values(manifest.exports).flatMap((entry) =>
      // Modules that threads run declare nothing.
      typeof entry === "object" && entry.types.endsWith("/script.d.ts") ? entry.default : [],
    );
    const named = manifest.sideEffects.filter((name) => !name.includes("*"));
    const programs = Object.values(manifest.bin).map((name) => `./${name}`);
    assert.equal([...named].sort(), [...entries, ...programs].sort());
  },
);

/** Runs the hook with a message. @returns whether it accepts it */
function accepts(folder: string, message: string): boolean {
  const file = path.join(folder, "message");
  writeFileSync(file, message);
  const { status, stderr } = spawnSync("sh", [".githooks/commit-msg", file], { encoding: "utf8" });
  assert.is(status === 0, stderr === "", stderr);
  return status === 0;
}

repository("the hook accepts `area: imperative` in 72 characters, and nothing else", () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), "ringcast-hook-"));
  const subject = (length: number): string => "ring: ".padEnd(length, "ä");
  try {
    for (const message of [
      "ring: evict before the copy\n\nBecause.\n",
      "# a comment\n\nhost/options: name the value",
      subject(72),
      "Merge branch 'main' into ring",
      'Revert "ring: evict before the copy"',
      "fixup! ring: evict before the copy",
    ])
      assert.ok(accepts(folder, message), message);
    for (const message of [
      "",
      "evict before the copy",
      "ring: evict before the copy.",
      "ring:evict",
      "ring: ",
      subject(73),
    ])
      assert.not.ok(accepts(folder, message), message);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

repository("installing switches no hook on", () => {
  for (const name of ["preinstall", "install", "postinstall", "prepare"])
    assert.not.ok(name in manifest.scripts, name);
  assert.match(text(".github/CONTRIBUTING.md"), /git config core\.hooksPath \.githooks/);
});

repository.run();
