// The READMEs of folders: each folder of sources has one, which names each of its files, and nothing that is not there.
//
// A file is named by its path from the README's folder, or from the root. A function is named as `name()`, a class or a
// table as `Name`: it is declared in a file that the same paragraph names, or else in one of the folder.

import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";

const readmes = suite("readmes");
const TOP = ["assembly", "worker", "host"];
/** Lines of a README; the maps of the three parts may have more. */
const LINES = 40;
const TOP_LINES = 80;

/** Returns a folder and the ones below it that have sources. */
function foldersOf(dir: string): string[] {
  const entries = readdirSync(dir, { withFileTypes: true });
  const below = entries.filter((entry) => entry.isDirectory());
  const own = entries.some((entry) => entry.isFile() && entry.name.endsWith(".ts")) ? [dir] : [];
  return [...own, ...below.flatMap(({ name }) => foldersOf(path.posix.join(dir, name)))];
}

const sourcesIn = (dir: string): string[] =>
  readdirSync(dir).filter((name) => name.endsWith(".ts"));
// A part has a map, whether or not it has files of its own.
const folders = [...new Set(TOP.flatMap((dir) => [dir, ...foldersOf(dir)]))];

/** Returns the file that a README's name refers to; undefined when there is no such file. */
function fileNamed(dir: string, name: string): string | undefined {
  return [path.posix.join(dir, name), name].find((file) => existsSync(file));
}

/** Returns true when a source declares a function, method, class, type or constant. */
function declares(file: string, name: string): boolean {
  const text = readFileSync(file, "utf8");
  const isType = new RegExp(
    `^(?:export )?(?:abstract )?(?:class|interface|type|enum) ${name}\\b`,
    "m",
  );
  const isValue = new RegExp(`^(?:export )?(?:async )?(?:function\\*?|const|let) ${name}\\b`, "m");
  const isMember = new RegExp(`^ {2,4}(?:(?:async|static|readonly|get) )*${name}[(<:]`, "m");
  return isType.test(text) || isValue.test(text) || isMember.test(text);
}

/** Returns the mistakes of a README. */
function mistakesIn(dir: string, readme: string): string[] {
  const found: string[] = [];
  const prose = readme.replace(/^```[\s\S]*?^```$/gm, "");
  const paragraphs = prose.split(/\n\n|\n(?=(?:[*-]|\d+\.) |\|)/);
  for (const paragraph of paragraphs) {
    const names = [...paragraph.matchAll(/`([^`\n]+)`/g)].map(([, name = ""]) => name);
    const links = [...paragraph.matchAll(/\]\(([^)#]+)/g)].map(([, name = ""]) => name);
    const files = names.filter((name) => /\.(?:ts|html|css|md)$|\/$/.test(name));
    for (const name of [...files, ...links])
      if (!/^https?:/.test(name) && !fileNamed(dir, name)) found.push(`no file ${name}`);
    const near = files
      .flatMap((name) => fileNamed(dir, name) ?? [])
      .filter((file) => file.endsWith(".ts"));
    const where = near.length > 0 ? near : sourcesIn(dir).map((name) => path.posix.join(dir, name));
    for (const name of names) {
      const [, called = ""] =
        /^#?(\w+)\(\)$/.exec(name) ?? /^([A-Z]\w*[a-z]\w*|[A-Z]+_[A-Z]+)$/.exec(name) ?? [];
      if (called === "" || where.some((file) => declares(file, called))) continue;
      found.push(`${name} is not in ${where.join(", ")}`);
    }
  }
  return found;
}

readmes("each folder of sources has a README, short enough to be read first", () => {
  assert.ok(folders.length > 15);
  for (const dir of folders) {
    const file = path.posix.join(dir, "README.md");
    assert.ok(existsSync(file), `${file} is missing`);
    const { length } = readFileSync(file, "utf8").trimEnd().split("\n");
    assert.ok(length <= (TOP.includes(dir) ? TOP_LINES : LINES), `${file}: ${length} lines`);
  }
});

readmes("a README names each source file of its folder, and each folder", () => {
  for (const dir of folders) {
    const text = readFileSync(path.posix.join(dir, "README.md"), "utf8");
    for (const name of sourcesIn(dir))
      assert.ok(text.includes(`\`${name}\``), `${dir}/README.md does not name ${name}`);
    const below = folders.filter((one) => path.posix.dirname(one) === dir);
    for (const name of below.map((one) => path.posix.basename(one)))
      assert.ok(text.includes(`${name}/README.md`), `${dir}/README.md does not name ${name}/`);
  }
});

readmes("files, functions and classes that READMEs name are there", () => {
  const wrong = folders.flatMap((dir) => {
    const file = path.posix.join(dir, "README.md");
    return mistakesIn(dir, readFileSync(file, "utf8")).map((mistake) => `${file}: ${mistake}`);
  });
  assert.equal(wrong, []);
});

readmes("a name that is not there is found", () => {
  const wrong = [
    "* `gone.ts`: it was here.",
    "* `cursor.ts`: `takeAll()`.",
    "* `cursor.ts`: `put()` is in ring.ts.",
    "`takeAll()`",
    "[gone](gone.md)",
    "`Cursor` is no class.",
  ];
  for (const line of wrong) assert.is(mistakesIn("assembly/ring", line).length, 1, line);
  const right = "* `ring.ts`: `put()`, `Frame`.\n* `../abi.ts`: `CloseReason`.\n\n`takeDue()`";
  assert.equal(mistakesIn("assembly/ring", right), []);
});

readmes("the index of examples names each of them, and its links lead somewhere", () => {
  const text = readFileSync("test/example/README.md", "utf8");
  for (const { name } of readdirSync("test/example", { withFileTypes: true }).filter((entry) =>
    entry.isDirectory(),
  ))
    assert.ok(text.includes(`\n| [${name}](${name}/`), name);
  for (const [, name = ""] of text.matchAll(/\]\(([^)]+)\)/g))
    assert.ok(existsSync(path.join("test/example", name)), name);
});

readmes.run();
