// The package as its user receives it: its files, its types, and the result of bundling it. All of it follows the
// `exports` of package.json.

import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import type { RequestListener } from "node:http";
import path from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { withBrowser } from "../lib/browser";
import { withWebServer } from "../e2e/web";
import { type Declarations, readDeclarations } from "../lib/declarations";
import { example, giveAs, makeApp, node26, programOf, read, root, run, start } from "./app";

const test = suite("package");
/**
 * Bytes of the packed package: readable bundles, their maps, the engine and its types. Nothing is left out, or written
 * more tightly than it reads, to stay below it.
 */
const SIZE_LIMIT = 700000;

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly files: readonly string[];
  readonly exports: Readonly<Record<string, string | { types?: string; default: string }>>;
  readonly bin: Readonly<Record<string, string>>;
  readonly types: string;
  readonly sideEffects: readonly string[];
  readonly scripts?: Readonly<Record<string, string>>;
}

const app = makeApp();
const installed = path.join(app.folder, "node_modules/ringcast");
const manifest = JSON.parse(readFileSync(path.join(installed, "package.json"), "utf8")) as Manifest;
const entries = Object.entries(manifest.exports).flatMap(([name, entry]) =>
  typeof entry === "string" ? [] : [{ name: name.replace(".", manifest.name), ...entry }],
);
/** Names in package.json: entry points, their types, the command. */
const named = [
  ...Object.values(manifest.exports).flatMap((entry) =>
    typeof entry === "string" ? entry : [entry.types ?? [], entry.default].flat(),
  ),
  ...Object.values(manifest.bin),
  manifest.types,
];
/** Entry points that one imports; the others are for threads. */
const libraries = entries.filter(({ types }) => !types?.endsWith("/script.d.ts"));
/** Libraries for runtimes without a page. */
const onServers = libraries.filter(({ name }) => !name.includes("/browser"));

/** Files that modules name: by an import, or by a URL beside them. */
function namedIn(file: string): string[] {
  const text = readFileSync(path.join(installed, file), "utf8");
  const names = file.endsWith(".d.ts")
    ? [...text.matchAll(/["'](\.[^"']*)\.js["']/g)].map(([, name]) => `${name}.d.ts`)
    : [...text.matchAll(/["'`](\.\.?\/[\w./-]+\.js)["'`]/g)].map(([, name]) => name as string);
  const map = /\/\/# sourceMappingURL=(\S+)/.exec(text)?.[1];
  if (map) names.push(map);
  const found = names.map((name) => path.posix.join(path.posix.dirname(file), name));
  // Messages name files, too. A missing file is noticed when it is run.
  return found.filter((name) => existsSync(path.join(installed, name)));
}

test("it holds what its entry points need, and nothing else", () => {
  const needed = new Set(named.map((name) => path.posix.normalize(name)));
  for (const file of needed) for (const name of namedIn(file)) needed.add(name);
  const pages = manifest.files.filter((name) => name.endsWith(".md"));
  const texts = ["LICENSE", "README.md", "package.json", ...pages];
  const due = [...new Set([...texts, ...needed])].sort();
  assert.equal(app.packed.files, due);
  assert.ok(libraries.length > 0 && libraries.every(({ types }) => types), "all have types");
});

test("each path of package.json is a file of the package", () => {
  assert.ok(named.length > 15);
  for (const name of [...named, ...manifest.sideEffects]) {
    const [before = "", after = ""] = path.posix.normalize(name).split("*");
    const isNamed = (file: string): boolean => file.startsWith(before) && file.endsWith(after);
    assert.ok(app.packed.files.some(isNamed), name);
  }
});

test(`it is smaller than ${SIZE_LIMIT / 1000} kB`, () => {
  console.log(`# packed: ${app.packed.size} bytes of at most ${SIZE_LIMIT}`);
  assert.ok(app.packed.size < SIZE_LIMIT, `${app.packed.size} bytes`);
});

test("it installs without a script of its own or of others", () => {
  const lock = JSON.parse(read(app, "package-lock.json")) as {
    packages: Record<string, { hasInstallScript?: boolean; version?: string }>;
  };
  const scripted = Object.entries(lock.packages).filter(([, entry]) => entry.hasInstallScript);
  assert.equal(scripted, []);
  assert.is(lock.packages["node_modules/ringcast"]?.version, manifest.version);
  for (const name of ["preinstall", "install", "postinstall", "prepare"]) {
    assert.not.ok(name in (manifest.scripts ?? {}), name);
  }
});

test("publint and are-the-types-wrong report nothing", async () => {
  const lint = path.join(root, "test/runtimes/lint.mjs");
  const { code, output } = await run(
    [process.execPath, lint, app.packed.file, installed],
    app.folder,
  );
  assert.is(code, 0, output);
  assert.equal(JSON.parse(output), []);
});

/** Returns a program that names all exports, and uses some of them wrongly. */
function consumer(imported: typeof libraries): string {
  const imports = imported.map(({ name }, i) => `import * as entry${i} from "${name}";`);
  const uses = imported.map((_, i) => `export type Names${i} = keyof typeof entry${i};`);
  return [
    ...imports,
    ...uses,
    'import { type Handler, type Server, serve } from "ringcast";',
    "export const handler: Handler<{ user: string }> = {",
    '  request: (req, res) => res.send(200, "text/plain", req.path),',
    "  message: (ws, data) => void ws.send(ws.data.user + String(data)),",
    "};",
    "export const started: Promise<Server> = serve({ port: 0, handler: handler as Handler });",
    "// @ts-expect-error: a port is a number",
    'serve({ port: "0" });',
    'import { MessagePort as NodePort, Worker as NodeWorker } from "node:worker_threads";',
    "export async function threads(thread: NodeWorker): Promise<NodePort> {",
    "  const handle = (await started).publisher();",
    "  thread.postMessage(handle, [handle.port]);",
    "  new MessageChannel().port1.postMessage(handle, [handle.port]);",
    "  // @ts-expect-error: what it is, is known",
    "  void (handle.port satisfies string);",
    "  return handle.port;",
    "}",
  ].join("\n");
}

/** Imports of a page's tests, where there are no types of Node's. */
const PAGE_CONSUMER = [
  'import { createTestServer } from "ringcast/testing";',
  'import { serve } from "ringcast/browser";',
  "export const all = [createTestServer, serve];",
].join("\n");

const NODE = ["--types", "node", "--typeRoots", path.join(root, "node_modules/@types")];

/** Types that a project has, and the program that it checks. */
const PROJECTS: readonly (readonly [of: string, flags: readonly string[], program: string])[] = [
  ["Node and the DOM", ["--lib", "es2023,dom,esnext.disposable", ...NODE], "consumer.ts"],
  ["Node", ["--lib", "es2022", ...NODE], "node.ts"],
  ["the DOM", ["--lib", "es2023,dom,esnext.disposable", "--typeRoots", "none"], "page.ts"],
];

for (const [resolution, module] of [
  ["nodenext", "nodenext"],
  ["bundler", "esnext"],
] as const) {
  for (const [of, flags, program] of PROJECTS) {
    test(`its types check under ${resolution}, with those of ${of}`, async () => {
      writeFileSync(path.join(app.folder, "consumer.ts"), consumer(libraries));
      writeFileSync(path.join(app.folder, "node.ts"), consumer(onServers));
      writeFileSync(path.join(app.folder, "page.ts"), PAGE_CONSUMER);
      const tsc = path.join(root, "node_modules/typescript/bin/tsc");
      const { code, output } = await run(
        [
          ...[process.execPath, tsc, program, "--noEmit", "--strict", "--target", "es2022"],
          ...["--module", module, "--moduleResolution", resolution],
          ...flags,
        ],
        app.folder,
      );
      assert.is(code, 0, output);
    });
  }
}

/**
 * Returns a module that exports what functions return and the members of all types, without a type written down, so
 * that its declarations name the types of the members.
 */
function inferring(name: string, { functions, objects }: Declarations): string {
  const calls = functions.map(
    (fn) => `(...args: Parameters<typeof entry.${fn}>) => entry.${fn}(...args)`,
  );
  const members = objects.map((type) => `(value: entry.${type}) => ({ ...value })`);
  return [
    `import * as entry from "${name}";`,
    ...[...calls, ...members].map((text, i) => `export const inferred${i} = ${text};`),
  ].join("\n");
}

test("declarations that TypeScript infers from one entry point alone can be written", async () => {
  const declared = libraries.map(({ types = "" }) => path.join(installed, types));
  const tsc = path.join(root, "node_modules/typescript/bin/tsc");
  for (const [i, one] of readDeclarations(declared).entries()) {
    const name = libraries[i]?.name ?? "";
    writeFileSync(path.join(app.folder, "inferring.ts"), inferring(name, one));
    const { code, output } = await run(
      [
        ...[process.execPath, tsc, "inferring.ts", "--declaration", "--emitDeclarationOnly"],
        ...["--outDir", "declared", "--strict", "--target", "es2022", "--module", "nodenext"],
        ...["--lib", "es2023,dom,esnext.disposable", ...NODE],
      ],
      app.folder,
    );
    assert.is(code, 0, `${name}: ${output}`);
    const text = read(app, "declared/inferring.d.ts");
    assert.match(text, `import * as entry from "${name}"`);
    assert.not.match(text, /import\("[./]/);
  }
});

const nodes = [process.execPath, programOf("node-24/bin/node"), node26()];

test("each entry point can be imported, and required where Node can", async () => {
  const names = JSON.stringify(onServers.map(({ name }) => name));
  writeFileSync(
    path.join(app.folder, "required.cjs"),
    `for (const name of ${names}) if (Object.keys(require(name)).length === 0) throw new Error(name);
     const { serve } = require("ringcast");
     const handler = { request: (req, res) => res.send(200, "text/plain", "required") };
     (async () => {
       for (const name of ${names}) await import(name);
       const server = await serve({ port: 0, handler });
       const url = "http://127.0.0.1:" + server.address.port;
       console.log(await (await fetch(url)).text());
       await server.close();
     })();`,
  );
  for (const node of nodes) {
    const { code, output } = await run([node, "--no-warnings", "required.cjs"], app.folder);
    assert.equal([code, output.trim()], [0, "required"], node);
  }
});

test("its command runs on Node, and as a program of Deno and Bun", async () => {
  const bin = path.join(app.folder, "node_modules/.bin/ringcast");
  const deno = programOf("@deno/linux-x64-glibc/deno", "@deno/linux-arm64-glibc/deno");
  const bun = programOf("@oven/bun-linux-x64/bin/bun", "@oven/bun-linux-aarch64/bin/bun");
  for (const command of [
    [bin],
    ...nodes.map((node) => [node, bin]),
    [deno, "run", "--allow-read", "--allow-env", "--no-prompt", bin],
    [bun, bin],
  ]) {
    const help = await run([...command, "--help"], app.folder);
    assert.is(help.code, 0, help.output);
    assert.match(help.output, /^Usage: ringcast \[FOLDER \| CONFIG\.json \| handler\.js\]/);
    const version = await run([...command, "--version"], app.folder);
    assert.equal(version, { code: 0, output: `${manifest.version}\n` });
    const mistake = await run([...command, "--rnig", "5"], app.folder);
    assert.is(mistake.code, 2);
    assert.match(mistake.output, /^ringcast: --rnig: .*did you mean --ring\?\n/);
  }
});

test("its command serves a handler, and the live page", async () => {
  const bin = path.join(app.folder, "node_modules/.bin/ringcast");
  writeFileSync(
    path.join(app.folder, "served.mjs"),
    'export default { request: (req, res) => res.send(200, "text/plain", "served") };',
  );
  for (const [args, text] of [
    [["served.mjs"], /^served$/],
    [[], /<!doctype html>/i],
  ] as const) {
    for (const node of nodes) {
      const { port, end } = await start([node, bin, ...args, "--port", "0"], app.folder);
      try {
        assert.match(await (await fetch(`http://127.0.0.1:${port}/`)).text(), text);
      } finally {
        await end();
      }
    }
  }
});

/** Runs what a bundler made in out/; each of its three servers answers. */
async function checkBundle(): Promise<void> {
  const files = readdirSync(path.join(app.folder, "out"));
  for (const name of ["app.js", "handler.js", "worker.js", "pool.js"]) {
    assert.ok(files.includes(name), `${name} of ${files}`);
  }
  for (const file of files.filter((name) => name.endsWith(".js"))) {
    const text = read(app, `out/${file}`);
    assert.not.match(text, /(from|import)\s*["'](ringcast|comlink)/, `${file} is whole`);
  }
  for (const node of nodes) {
    const { code, output } = await run([node, "out/app.js"], app.folder);
    assert.equal(
      [code, output.trim().split("\n")],
      [0, ["200 thread 1", "200 from a closure", "200 thread 1"]],
      `${node}: ${output}`,
    );
  }
  rmSync(path.join(app.folder, "out"), { recursive: true });
}

giveAs(app, "test/runtimes/places.mjs", "app.js");
giveAs(app, "test/runtimes/handler.mjs", "handler.js");

test("esbuild bundles it as the README says, worker and all", async () => {
  const esbuild = path.join(root, "node_modules/esbuild/bin/esbuild");
  const [, ...args] = example("esbuild ").replace("\\\n", "").trim().split(/\s+/);
  const { code, output } = await run([esbuild, ...args], app.folder);
  assert.is(code, 0, output);
  await checkBundle();
});

test("Vite bundles it as the README says, worker and all", async () => {
  writeFileSync(path.join(app.folder, "vite.config.js"), example("// vite.config.js"));
  const vite = programOf("vite/bin/vite.js");
  const { code, output } = await run([process.execPath, vite, "build"], app.folder);
  assert.is(code, 0, output);
  await checkBundle();
});

const pages = path.join(app.folder, "pages");
const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
};

/** Opens in Chromium what a bundler made of a page in out/: it comes to its end, and no file is missing. */
async function checkPage(): Promise<void> {
  const give: RequestListener = (req, res) => {
    const file = path.join(pages, "out", new URL(req.url ?? "/", "http://a").pathname);
    const type = TYPES[path.extname(file)];
    if (!type || !existsSync(file)) res.writeHead(404).end();
    else res.writeHead(200, { "Content-Type": type }).end(readFileSync(file));
  };
  try {
    await withWebServer(give, (origin) =>
      withBrowser(async (browser) => {
        const page = await browser.open(`${origin}/page.html`);
        await page.waitForFunction(() => "passed" in globalThis);
      }),
    );
  } finally {
    rmSync(path.join(pages, "out"), { recursive: true });
  }
}

const PAGE =
  '<!doctype html><link rel="icon" href="data:,"><script type="module" src="./page.js"></script>';
mkdirSync(pages);
for (const [name, text] of Object.entries({
  "page.html": PAGE,
  "page.js": 'import "./chat.test.js";\nglobalThis.passed = true;\n',
  "chat.test.js": example("// chat.test.js"),
  "handler.mjs": example("// handler.mjs"),
  "vite.config.js":
    'export default { build: { outDir: "out", rollupOptions: { input: "page.html" } } };\n',
})) {
  writeFileSync(path.join(pages, name), text);
}

test("esbuild bundles a page as the README says, worker and engine and all", async () => {
  const esbuild = path.join(root, "node_modules/esbuild/bin/esbuild");
  const page = read(app, "node_modules/ringcast/host/testing/testing.md");
  const command = /`esbuild (page\.js [^`]+)`/.exec(page)?.[1] ?? "";
  const { code, output } = await run([esbuild, ...command.split(/\s+/)], pages);
  assert.is(code, 0, output);
  for (const name of ["handler.mjs", "page.html"]) {
    cpSync(path.join(pages, name), path.join(pages, "out", name));
  }
  await checkPage();
});

test("Vite bundles a page, worker and engine and all", async () => {
  const vite = programOf("vite/bin/vite.js");
  const { code, output } = await run([process.execPath, vite, "build"], pages);
  assert.is(code, 0, output);
  await checkPage();
});

test.run();
