// Rules of the tree: the imports of each folder, no cycles, the content and size of the wasm, and a README, with the
// pages that it links, whose tables, links and commands are true; test/e2e/readme.test.ts runs the examples.

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import ts from "typescript";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { REFUSED, commentsOf, refusedIn, refusedInNames, refusedInPage } from "../lib/english";
import { generatedFiles, generatedParts, partOf } from "../lib/generated";
import { PAGES, blocksOf, blocksOfPages, commandsOf, filesOf, wayOf } from "../lib/readme";
import { BUILDS } from "../lib/wasm";

const root = process.cwd();
const style = suite("style");
const WASM_LIMIT = 112 * 1024;
/** Longest line; biome breaks code at 100, and neither comments nor strings. */
const COLUMNS = 120;

/** Files of a folder by how their names end, but for those of packages. */
function filesIn(dir: string, names: RegExp): string[] {
  return readdirSync(path.join(root, dir), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && names.test(entry.name))
    .map((entry) => path.relative(root, path.join(entry.parentPath ?? entry.path, entry.name)))
    .map((file) => file.split(path.sep).join("/"))
    .filter((file) => !file.includes("node_modules/"))
    .sort();
}

const sources = (dir: string): string[] => filesIn(dir, /(?<!\.d)\.ts$/);

interface Import {
  readonly from: string;
  readonly to: string;
  readonly typeOnly: boolean;
}

/** Imports of files of the project, and of packages by their name. */
function importsOf(file: string): Import[] {
  const text = readFileSync(path.join(root, file), "utf8");
  const found: Import[] = [];
  for (const match of text.matchAll(/^(?:import|export)\s([^;]*?)from "([^"]+)";/gms)) {
    const clause = match[1] as string;
    const target = match[2] as string;
    const names = /\{([^}]*)\}/
      .exec(clause)?.[1]
      ?.split(",")
      .map((name) => name.trim());
    const allTypes = names?.filter(Boolean).every((name) => name.startsWith("type ")) ?? false;
    const typeOnly = /^type\s/.test(clause) || (allTypes && clause.trim().startsWith("{"));
    const to = target.startsWith(".")
      ? path.posix.normalize(path.posix.join(path.posix.dirname(file), target)).replace(/\.js$/, "")
      : target;
    found.push({ from: file, to, typeOnly });
  }
  return found;
}

const files = [...sources("assembly"), ...sources("worker"), ...sources("host")];
const imports = files.flatMap(importsOf);
const local = imports.filter((entry) => /^(assembly|worker|host|dist)\//.test(entry.to));

/** Imports that the files of a folder may have; the first row that fits counts. Type imports count. */
const RULES: readonly [from: RegExp, to: RegExp][] = [
  [/^assembly\//, /^assembly\//],
  [
    /^worker\//,
    /^(worker\/|assembly\/abi$|host\/(shared|options)\/|host\/(handler|permission)$|dist\/engine\.wasm$)/,
  ],
  [/^host\/testing[./]/, /^(host|worker)\/|^assembly\/abi$/],
  [/^host\//, /^(host\/|assembly\/(abi|plan)$)/],
];

/** Types of the worker that the application's side names: parameters and results of a worker's entries. */
const ENTRY_TYPES = /^worker\/(control\/control|entry\/(main|page)|net\/transport)$/;

/** Returns true when `from` may import `to`. */
function allowed({ from, to, typeOnly }: Import): boolean {
  if (typeOnly && from.startsWith("host/") && ENTRY_TYPES.test(to)) return true;
  return RULES.find(([of]) => of.test(from))?.[1].test(to) ?? false;
}

/** Floors of a side, lowest first: a folder or file imports from its own floor and the ones below it. */
const FLOORS = {
  assembly: [
    ...["abi", "kernel", "plan", "state", "ring", "parse", "reply", "engine", "index"],
  ].map((name) => [name]),
  worker: [
    ...[["engine"], ["supply"], ["net"], ["socket"], ["request", "pipe", "mount"], ["pump"]],
    ...[["embed", "inbox", "place"], ["control"], ["entry"]],
  ],
};

/** The projects of TypeScript: Node's has no types of the DOM, that of pages none of Node's, the third has both. */
const PROJECTS = ["tsconfig.json", "tsconfig.page.json", "tsconfig.driven.json"];

style("each TypeScript file is checked, with the types of its side", () => {
  const [node, page, driven] = PROJECTS.map((name) =>
    ts.parseJsonConfigFileContent(ts.readConfigFile(name, ts.sys.readFile).config, ts.sys, root),
  ) as [ts.ParsedCommandLine, ts.ParsedCommandLine, ts.ParsedCommandLine];
  const sides = [node, page, driven].map(({ options: { lib = [], types = [] } }) => [
    lib.some((name) => name.includes("dom")),
    types.includes("node"),
  ]);
  assert.equal(sides, [
    [false, true],
    [true, false],
    [true, true],
  ]);
  const checked = new Set([node, page, driven].flatMap(({ fileNames }) => fileNames));
  const unchecked = ["host", "worker", "test"]
    .flatMap((side) => sources(side))
    .filter((file) => !checked.has(path.join(root, file)));
  assert.equal(unchecked, []);
  assert.ok(checked.size > 300, `${checked.size} files`);
});

/** Most source files of a folder: more are not seen at a glance. */
const FOLDER_FILES = 15;

style("imports follow the rules of the folders", () => {
  const bad = local
    .filter((entry) => !allowed(entry))
    .map((entry) => `${entry.from} -> ${entry.to}`);
  assert.equal(bad, []);
});

for (const [side, floors] of Object.entries(FLOORS)) {
  style(`each floor of ${side}/ imports from the ones below it`, () => {
    const floorOf = (file: string): number => {
      const name = file.replace(/\.ts$/, "").split("/")[1] as string;
      const floor = floors.findIndex((names) => names.includes(name));
      assert.ok(floor >= 0, `${file} is on no floor`);
      return floor;
    };
    const within = local.filter(({ from, to }) =>
      [from, to].every((f) => f.startsWith(`${side}/`)),
    );
    const bad = within
      .filter(({ from, to }) => floorOf(to) > floorOf(from))
      .map(({ from, to }) => `${from} -> ${to}`);
    assert.equal(bad, []);
    assert.ok(within.length > 50, `${within.length} imports were seen`);
  });
}

style(`no folder of sources has more than ${FOLDER_FILES} files`, () => {
  const sizes = new Map<string, number>();
  for (const file of files) {
    const folder = path.posix.dirname(file);
    sizes.set(folder, (sizes.get(folder) ?? 0) + 1);
  }
  assert.equal(
    [...sizes].filter(([, size]) => size > FOLDER_FILES),
    [],
  );
});

/** Most lines of a function, as many as a screen shows. A longer one says in its comment why it is long. */
const FUNCTION_LINES = 80;
const LONG_REASON = /\bIt is long because\b/;

/** Functions and methods of a file that are too long and give no reason, with their lines. */
function longFunctions(file: string, text: string): string[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node)) {
      const lines = node.getText().split("\n").length;
      if (
        lines > FUNCTION_LINES &&
        !LONG_REASON.test(node.getFullText().replace(/\s*\n \* /g, " "))
      )
        found.push(`${file}: ${node.name?.getText() ?? "a function"}: ${lines} lines`);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

style(`no function of the sources has more than ${FUNCTION_LINES} lines without a reason`, () => {
  const text = (file: string): string => readFileSync(path.join(root, file), "utf8");
  assert.equal(
    files.flatMap((file) => longFunctions(file, text(file))),
    [],
  );
  const body = "a();\n".repeat(FUNCTION_LINES);
  assert.equal(longFunctions("x.ts", `function f() {\n${body}}`), ["x.ts: f: 82 lines"]);
  assert.equal(
    longFunctions("x.ts", `/** It is long because of that. */\nfunction f() {\n${body}}`),
    [],
  );
});

/** Packages that need no platform. */
const PURE = ["mrmime"];

style("the engine and the pump import no platform", () => {
  const platform = (file: string): boolean =>
    file.startsWith("worker/net/") || file.startsWith("worker/entry/");
  const bad = imports
    .filter((entry) => /^(worker|assembly)\//.test(entry.from) && !platform(entry.from))
    .filter((entry) => !/^(assembly|worker|host|dist)\//.test(entry.to))
    .filter((entry) => !PURE.includes(entry.to))
    .map((entry) => `${entry.from} -> ${entry.to}`);
  assert.equal(bad, []);
});

style("there is no import cycle, types counted", () => {
  const next = new Map<string, string[]>();
  for (const { from, to } of local) {
    const name = from.replace(/\.ts$/, "");
    next.set(name, [...(next.get(name) ?? []), to]);
  }
  const state = new Map<string, "open" | "done">();
  const visit = (name: string, trail: string[]): void => {
    if (state.get(name) === "done") return;
    if (state.get(name) === "open") assert.unreachable(`cycle: ${[...trail, name].join(" -> ")}`);
    state.set(name, "open");
    for (const to of next.get(name) ?? []) visit(to, [...trail, name]);
    state.set(name, "done");
  };
  for (const name of next.keys()) visit(name, []);
});

/** Returns the imports of a bundle of dist/, and of the bundles beside it that it imports. */
function bundleImports(file: string, seen = new Set<string>()): string[] {
  if (seen.has(file)) return [];
  seen.add(file);
  const text = readFileSync(path.join(root, "dist", file), "utf8");
  const found = text.matchAll(
    /(?:^(?:import|export)\b(?:[^;"]*?\bfrom)?\s*|\b(?:import|require)\(\s*)["'`]([\w:./@-]+)["'`]/gm,
  );
  return [...found].flatMap(([, name = ""]) =>
    name.startsWith("./") ? bundleImports(name.slice(2), seen) : name,
  );
}

style(
  "bundles for any runtime, or for a page, import nothing of any platform and no package",
  () => {
    const seen = bundleImports("index.js");
    assert.ok(seen.includes("node:worker_threads") && seen.includes("comlink"), "imports are seen");
    for (const name of ["engine", "testing", "browser", "browser-worker"]) {
      assert.equal(bundleImports(`${name}.js`), [], name);
    }
  },
);

style("the engine has no managed object", () => {
  for (const file of sources("assembly")) {
    const text = readFileSync(path.join(root, file), "utf8").replace(
      /\/\/.*$|\/\*[\s\S]*?\*\//gm,
      "",
    );
    assert.not.match(text, /\bnew\s+[A-Z]|\bthrow\b|=>/, file);
    for (const match of text.matchAll(/^(.*)\n\s*export class|^(.*)\n\s*class/gm)) {
      assert.match(match[1] ?? match[2] ?? "", /@unmanaged/, file);
    }
  }
});

for (const build of ["release", "debug"] as const) {
  style(`the ${build} wasm imports nothing and holds no runtime`, () => {
    const module = new WebAssembly.Module(BUILDS[build]);
    assert.equal(WebAssembly.Module.imports(module), []);
    const names = WebAssembly.Module.exports(module).map((entry) => entry.name);
    assert.equal(
      names.filter((name) => name.startsWith("__")),
      [],
    );
    const text = Buffer.from(BUILDS[build]).toString("latin1");
    assert.not.ok(/~lib\/rt\/(stub|itcms|tcms|tlsf)|__alloc|__retain|__pin/.test(text), "runtime");
  });
}

style("the release wasm is small", () => {
  console.log(`engine.wasm: ${BUILDS.release.length} bytes of at most ${WASM_LIMIT}`);
  assert.ok(BUILDS.release.length <= WASM_LIMIT);
});

style(`no line is longer than ${COLUMNS} columns`, () => {
  const bad: string[] = [];
  for (const dir of ["assembly", "worker", "host", "test", "bench", ".scripts"]) {
    for (const file of filesIn(dir, /\.(?:ts|js|jsx|mjs|css|html|lua)$/)) {
      const lines = readFileSync(path.join(root, file), "utf8").split("\n");
      for (const [i, { length }] of lines.entries())
        if (length > COLUMNS) bad.push(`${file}:${i + 1}: ${length} columns`);
    }
  }
  assert.is(bad.join("\n"), "", `lines of more than ${COLUMNS} columns:\n${bad.join("\n")}`);
});

/** Programs that sleep as a handler's work, or are what the tests wait with. */
const SLEEPERS = /^test\/(?:lib\/wait|suite\/(?:memory|suite-handler))\.ts$/;
const SLEEP =
  /^[^*]*\bawait (?:sleep\(|[\w.]*\bpause\(\d|[\w.]*running\.wait\([1-9]|new Promise\(.*setTimeout)/;

/** Returns each place where a test awaits a time, and whether the line above it is a comment. */
function* sleeps(): Generator<{ where: string; isExplained: boolean }> {
  for (const file of sources("test").filter((name) => !SLEEPERS.test(name))) {
    const lines = readFileSync(path.join(root, file), "utf8").split("\n");
    for (const [i, line] of lines.entries()) {
      if (!SLEEP.test(line)) continue;
      yield { where: `${file}:${i + 1}`, isExplained: /^\s*\/\//.test(lines[i - 1] ?? "") };
    }
  }
}

style("a test waits for a condition; where it sleeps, the line above says why", () => {
  const bad = [...sleeps()].filter(({ isExplained }) => !isExplained).map(({ where }) => where);
  assert.is(bad.join("\n"), "", `sleeps without a reason:\n${bad.join("\n")}`);
});

/** Folders whose comments are in plain English: all that have sources. No comment in them is exempt. */
const PLAIN_ENGLISH = ["assembly/", "worker/", "host/", "test/", "bench/", ".scripts/"];

style("comments are in plain English", () => {
  const all = ["assembly", "worker", "host", "test", "bench", ".scripts"].flatMap((dir) =>
    filesIn(dir, /\.(?:m?[jt]s|[jt]sx)$/),
  );
  const bad: string[] = [];
  for (const start of PLAIN_ENGLISH) {
    const files = all.filter((file) => file.startsWith(start));
    assert.ok(files.length > 0, `no source begins with ${start}`);
    for (const file of files)
      bad.push(...refusedIn(file, readFileSync(path.join(root, file), "utf8")));
  }
  assert.is(bad.join("\n"), "", `phrases that comments must not use:\n${bad.join("\n")}`);
});

style("names of tests are in plain English", () => {
  const bad = sources("test").flatMap((file) =>
    refusedInNames(file, readFileSync(path.join(root, file), "utf8")),
  );
  assert.is(bad.join("\n"), "", `phrases that names of tests must not use:\n${bad.join("\n")}`);
  const seen = (text: string): number => refusedInNames("a.test.ts", text).length;
  assert.is(seen('http("a client goes on", () => {});'), 1);
  assert.is(seen("for (const a of b) http(`$" + "{a} goes on`, async () => {});"), 1);
  assert.is(seen('http.add("x", fn); add("a client goes on");'), 0);
  assert.is(seen('http("`goes on` is code", () => {});'), 0);
});

style("pages are in plain English", () => {
  const pages = filesIn(".", /\.md$/).filter((file) => !/^(?:dist|\.cache)\//.test(file));
  assert.ok(pages.length > 40, `${pages.length} pages`);
  const bad = pages.flatMap((file) =>
    refusedInPage(file, readFileSync(path.join(root, file), "utf8")),
  );
  assert.is(bad.join("\n"), "", `phrases that pages must not use:\n${bad.join("\n")}`);
  const page =
    "# A\n\nIt says\nwho is told.\n\n* The client\n  goes on.\n\n```text\ngoes on\n```\n`goes on`\n";
  assert.equal(
    refusedInPage("a.md", page).map((line) => line.split(":").slice(0, 3).join(":")),
    ['a.md:3: "told"', 'a.md:6: "goes on"'],
  );
});

style("each phrase that comments must not use is seen, and its plain form is not", () => {
  for (const { pattern, example } of REFUSED) {
    const found = refusedIn("a.ts", `// ${example}\nlet a;\n`);
    assert.is(found.length, 1, `${pattern}: ${found.join("; ") || "not seen"}`);
    assert.match(found[0] as string, /^a\.ts:1: ".+": write /);
  }
  const plain = [
    "While reading is paused no pong can arrive, so the idle timeout is suspended.",
    "Wakes the first waiter when a buffer is free. Waiters that are blocked by a quota are skipped.",
    "The client that sent it, who reads slowly, may lag behind the publications.",
    "Returns what the handler threw. Those bytes are out of range.",
    "The standard understands it: `who is told` is code.",
  ];
  for (const text of plain) assert.equal(refusedIn("a.ts", `// ${text}\n`), [], text);
});

style("a comment of a function begins with a verb", () => {
  const seen = (text: string): number => refusedIn("a.ts", text).length;
  assert.is(seen("/** True when it is open. */\nexport function isOpen() {}"), 1);
  assert.is(seen("/** Bytes of a block. */\nasync function bytes() {}"), 1);
  assert.is(seen("/** Returns the bytes of a block. */\nfunction bytes() {}"), 0);
  assert.is(seen("/** Half-closes the socket. */\nexport default function end() {}"), 0);
  assert.is(seen("/** True when it is open. */\nlet isOpen = true;"), 0);
  assert.is(seen("// True for all of the file.\n\n/** Returns 1. */\nfunction one() {}"), 0);
});

style("comments are found wherever they are, and nothing else is one", () => {
  const source = [
    "#!/usr/bin/env node",
    "// One that",
    "// continues.",
    "",
    "// Two.",
    "const a = f(/* three */ 1); // four",
    "// five",
    "/**",
    " * Six",
    " * and its rest.",
    " *",
    " * Its second paragraph.",
    " * @returns seven",
    " */",
    `const b = "// no" + \`// no \${/* eight */ a} // no\` + /[/]\\/\\/ no/.source; // nine`,
    "class C { /** Ten. */ x = 1; /* eleven */ }",
    "// The last.",
  ].join("\n");
  const found = commentsOf("a.ts", source).map(({ line, text }) => `${line} ${text}`);
  assert.equal(found, [
    "2 One that continues.",
    "5 Two.",
    "6 three",
    "6 four",
    "7 five",
    "8 Six and its rest.\n\nIts second paragraph.\n@returns seven",
    "15 eight",
    "15 nine",
    "16 Ten.",
    "16 eleven",
    "17 The last.",
  ]);
});

style(
  "the tables of the pages are those of the code (node .scripts/readme.mjs writes them)",
  () => {
    const results = path.join(root, "bench/results.md");
    const found = existsSync(results) ? readFileSync(results, "utf8") : undefined;
    for (const part of generatedParts(found)) {
      const page = PAGES.get(part.page);
      assert.ok(page, `${part.page} is in the package`);
      assert.is(partOf(page as string, part), `\n${part.text}\n`, part.name);
    }
    for (const [file, text] of Object.entries(generatedFiles()))
      assert.is(readFileSync(path.join(root, file), "utf8"), text, file);
  },
);

style("README has at most 350 lines", () => {
  const { length } = (PAGES.get("README.md") ?? "").trimEnd().split("\n");
  assert.ok(length <= 350, `${length} lines`);
});

/** Returns true for a command that may be run in a checkout, or where the package is installed. */
function isCommand(command: string, files: ReadonlyMap<string, string>): boolean {
  const [program = "", ...words] = command.split(/\s+/);
  const { scripts, name } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
  const [word = ""] = words;
  const file = words.filter((one) => !one.startsWith("-"))[program === "deno" ? 1 : 0] ?? "";
  if (program === "npm" && word === "run") return (words[1] as string) in scripts;
  if (program === "npm" && (word === "i" || word === "install")) return words[1] === name;
  if (program === "git") return word === "config";
  if (program === "npm") return word === "ci" || word === "init" || word in scripts;
  if (program === "node" || program === "bun") return files.has(file) || existsSync(file);
  // With its arguments by test/e2e/readme.test.ts.
  if (program === "npx") return word === name;
  // By test/runtimes.
  return program === "deno" ? files.has(file) : program === "esbuild";
}

style("each code block of a page is run or checked, and its commands are there", () => {
  const blocks = blocksOfPages();
  const files = filesOf(blocks);
  const ofTests = blocksOf(
    readFileSync(path.join(root, "test/README.md"), "utf8"),
    "test/README.md",
  );
  for (const block of [...blocks, ...ofTests]) {
    if (wayOf(block) !== "commands") continue;
    for (const command of commandsOf(block)) {
      const plain = command.replace(/^(?:[A-Z_]+=\S+ )+/, "");
      for (const part of plain.split(/ && /))
        assert.ok(isCommand(part, files), `${block.page}:${block.line}: ${part}`);
    }
  }
});

style("a block that no test runs or checks is a mistake", () => {
  const [bare, file, part, picture] = blocksOf(
    "```js\nlet a;\n```\n```js\n// a.mjs\n```\n```ts check\na;\n```\n```text\n```\n",
  ).map((block) => () => wayOf(block));
  assert.throws(bare as () => void, /line 1: a block of js/);
  assert.equal([file?.(), part?.(), picture?.()], ["run", "check", "picture"]);
});

style(
  "test/floods.md has a row for each flood (node .scripts/readme.mjs --floods fills them in)",
  () => {
    let floods = 0;
    for (const file of readdirSync("test/e2e").filter((name) =>
      /^floods-.*\.test\.ts$/.test(name),
    )) {
      const text = readFileSync(path.join("test/e2e", file), "utf8");
      for (const [, name] of text.matchAll(/^ {4}name: "(.*)",$/gm)) {
        floods++;
        assert.ok(PAGES.get("test/floods.md")?.includes(`\n| ${name} | `), name);
      }
    }
    assert.ok(floods > 15);
  },
);

/** Returns the anchors of a page's headings, as GitHub and npm make them. */
function anchorsOf(markdown: string): Set<string> {
  const headings = [...markdown.matchAll(/^#+ (.*)$/gm)].map(([, text = ""]) => text);
  return new Set(
    headings.map((text) =>
      text
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

const prose = (markdown: string): string => markdown.replace(/^```[\s\S]*?^```/gm, "");

/** Files of the package, as npm packs it. */
function packedFiles(): Set<string> {
  const npm = process.platform === "win32" ? "npm.cmd" : "npm";
  const args = ["pack", "--dry-run", "--json", "--ignore-scripts"];
  const found = execFileSync(npm, args, { cwd: root, shell: process.platform === "win32" });
  const [{ files }] = JSON.parse(String(found)) as [{ files: { path: string }[] }];
  return new Set(files.map((file) => file.path));
}

style("links of the README and its pages lead somewhere, in a checkout and in the package", () => {
  const packed = packedFiles();
  let links = 0;
  for (const [page, markdown] of PAGES) {
    assert.ok(packed.has(page), `${page} is not in the package`);
    for (const [, target = ""] of prose(markdown).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue;
      links++;
      const [name = "", anchor] = target.split("#");
      const file = name === "" ? page : path.posix.join(path.posix.dirname(page), name);
      assert.ok(existsSync(path.join(root, file)), `${page}: ${target} is not there`);
      assert.ok(packed.has(file), `${page}: ${target} is not in the package`);
      if (anchor === undefined) continue;
      const anchors = anchorsOf(prose(readFileSync(path.join(root, file), "utf8")));
      assert.ok(anchors.has(anchor), `${page}: ${target} has no such heading`);
    }
  }
  assert.ok(links > 40, `${links} links`);
});

style("files that pages name without a link are there", () => {
  for (const [page, markdown] of PAGES) {
    for (const [, name = ""] of markdown.matchAll(
      /`((?:test|bench|host|worker|assembly|\.github|\.scripts|\.githooks)\/[\w./-]*)`/g,
    ))
      assert.ok(existsSync(path.join(root, name)), `${page}: ${name}`);
  }
});

style("the entry for web-standard handlers needs no platform", () => {
  const bundles = new Set<string>();
  assert.equal(bundleImports("fetch.js", bundles), []);
  for (const file of bundles) {
    const text = readFileSync(path.join(root, "dist", file), "utf8");
    assert.not.match(text, /\bimport\(|\brequire\(|\bBuffer\b|\bprocess\b/m, file);
  }
});

style("classes have the names that they are imported by: in consoles and errors", async () => {
  let classes = 0;
  for (const entry of ["engine", "testing"]) {
    const exported = await import(pathToFileURL(path.join(root, `dist/${entry}.js`)).href);
    for (const [name, value] of Object.entries(exported)) {
      if (!/^class\b/.test(String(value))) continue;
      classes++;
      assert.is((value as { name: string }).name, name);
    }
  }
  assert.ok(classes >= 6, `${classes} classes`);
});

style.run();
