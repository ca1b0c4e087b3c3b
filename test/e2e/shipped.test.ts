// dist/ as people meet it who never see this repository: in the output of a program that failed, in an editor, in a
// scanner. Each program runs in a process of its own.

import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { OPTIONS, POOL_OPTIONS } from "ringcast";
import { wasmBytes } from "ringcast/engine";
import ts from "typescript";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { rangeText, valueText } from "../../host/cli/values";
import { readDeclarations } from "../lib/declarations";

const shipped = suite("what is shipped");
const root = process.cwd();
// Below the checkout, where a copy of dist/ finds its packages.
const folder = mkdtempSync(path.join(root, ".cache/shipped-"));
const bundles = readdirSync("dist", { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".js") && !name.startsWith("docs"))
  .map((name) => path.join(root, "dist", name));

shipped.after(() => rmSync(folder, { recursive: true, force: true }));

interface Ran {
  readonly code: number | null;
  readonly output: string;
  readonly errors: string;
}

/** Runs a module to its end. */
function run(text: string, flags: readonly string[] = []): Ran {
  const file = path.join(folder, "program.mjs");
  writeFileSync(file, text);
  const ran = spawnSync(process.execPath, [...flags, file], { encoding: "utf8", timeout: 30000 });
  return { code: ran.status, output: ran.stdout, errors: ran.stderr };
}

/** Returns the frames of a stack that are in this tree: file below the root, line. */
function framesOf(text: string): [file: string, line: number][] {
  return [...text.matchAll(/^ {4}at .*?([^\s(]+):(\d+):\d+\)?$/gm)].flatMap(
    ([, name = "", line]) => {
      const file = name.startsWith("file:") ? fileURLToPath(name) : name;
      const relative = path.relative(root, file);
      return /^(\.|node:)/.test(relative) || relative.startsWith(".cache")
        ? []
        : [[relative, Number(line)]];
    },
  );
}

const WRONG_PORT = 'import { serve } from "ringcast";\nawait serve({ port: 70000 });\n';

shipped("an uncaught wrong option prints the line that refuses it, and a stack", () => {
  const { code, errors } = run(WRONG_PORT);
  assert.is(code, 1);
  assert.match(errors, /^ +throw new RangeError\(/m);
  assert.match(errors, /^RangeError: port: 70000 is not a whole number from 0 to 65535$/m);
  assert.ok(errors.length < 2000, `${errors.length} characters`);
  assert.ok(errors.split("\n").every((line) => line.length < 200));
});

shipped("with --enable-source-maps each frame names its line of TypeScript", () => {
  const { errors } = run(WRONG_PORT, ["--enable-source-maps"]);
  const frames = framesOf(errors);
  assert.equal(
    frames.map(([file]) => file),
    [
      "host/options/read.ts",
      "host/options/settle.ts",
      "host/start/prepare.ts",
      "host/index.ts",
      "host/index.ts",
    ],
  );
  const [file = "", line = 0] = frames[0] ?? [];
  assert.match(readFileSync(file, "utf8").split("\n")[line - 1] ?? "", /throw new RangeError/);
});

shipped("in a worker they do as well", () => {
  const handler = "export default { request: (req, res) => res.send(1000) };\n";
  writeFileSync(path.join(folder, "handler.mjs"), handler);
  const text = `
    import { serve } from "ringcast";
    const handler = new URL("handler.mjs", import.meta.url);
    const onError = (error) => console.log(error.stack);
    const server = await serve({ port: 0, handler, onError });
    const { port } = server.address;
    console.log((await fetch(\`http://127.0.0.1:\${port}/\`)).status);
    await server.close();
  `;
  const { output } = run(text, ["--enable-source-maps"]);
  assert.match(output, /^500$/m);
  const files = framesOf(output).map(([file]) => file);
  assert.ok(
    files.length > 1 && files.every((name) => /^(host|worker)\/.*\.ts$/.test(name)),
    output,
  );
});

shipped("no line of a bundle is too long to read", () => {
  assert.ok(bundles.length > 10);
  for (const file of bundles) {
    const longest = Math.max(
      ...readFileSync(file, "utf8")
        .split("\n")
        .map((line) => line.length),
    );
    // The live page is a text in its bundle.
    if (path.basename(path.dirname(file)) !== "demo")
      assert.ok(longest < 400, `${file}: ${longest}`);
  }
});

shipped("maps name sources of this repository, and do not repeat them", () => {
  for (const file of bundles.filter((name) => !name.endsWith("engine-base64.js"))) {
    assert.match(readFileSync(file, "utf8"), `//# sourceMappingURL=${path.basename(file)}.map`);
    const map = JSON.parse(readFileSync(`${file}.map`, "utf8")) as {
      sources: string[];
      sourcesContent?: unknown;
    };
    assert.is(map.sourcesContent, undefined, file);
    for (const name of map.sources) {
      const source = path.relative(root, path.resolve(path.dirname(file), name));
      assert.match(source, /^(host|worker|assembly|node_modules\/(?:comlink|mrmime))\//);
      readFileSync(source);
    }
  }
});

shipped("the engine is a file of the package, and the copy in base64 is the same", () => {
  const file = fileURLToPath(import.meta.resolve("ringcast/engine.wasm"));
  const bytes = readFileSync(file);
  assert.ok(WebAssembly.validate(bytes));
  assert.ok(bytes.equals(wasmBytes()));
});

/** Returns a server's response, from a copy of dist/ without one of its files. */
function answerWithout(name: string): Ran {
  const dist = path.join(folder, "dist");
  cpSync(path.join(root, "dist"), dist, { recursive: true });
  rmSync(path.join(dist, name));
  const ran = run(`
    import { serve } from "./dist/index.js";
    const server = await serve({ port: 0, handler: { request: (req, res) => res.send(299) } });
    console.log((await fetch(\`http://127.0.0.1:\${server.address.port}/\`)).status);
    await server.close();
  `);
  rmSync(dist, { recursive: true });
  return ran;
}

shipped("on Node the worker compiles the file, and without the file the copy", () => {
  for (const name of ["engine-base64.js", "engine.wasm"])
    assert.equal(answerWithout(name), { code: 0, output: "299\n", errors: "" }, name);
});

shipped("a bundler leaves out unused code, and keeps the code of threads", async () => {
  const manifest = JSON.parse(readFileSync("package.json", "utf8")) as {
    exports: Record<string, { types?: string } | string>;
  };
  for (const [entry, exported] of Object.entries(manifest.exports)) {
    if (typeof exported === "string") continue;
    const { outputFiles } = await build({
      stdin: { contents: `import "ringcast${entry.slice(1)}";`, resolveDir: root },
      bundle: true,
      write: false,
      format: "esm",
      platform: "node",
      // Not the paths of this repository's own.
      tsconfigRaw: {},
      external: ["comlink", "comlink/*", "piscina"],
      logLevel: "silent",
    });
    const text = outputFiles[0]?.text ?? "";
    assert.is(
      text.trim() === "",
      !exported.types?.endsWith("/script.d.ts"),
      `${entry}: ${text.length}`,
    );
  }
});

/** Code that the types allow, and code that they refuse. */
const TYPED = `
import { type Handler, type Server, serve } from "ringcast";
import { fetchHandler } from "ringcast/fetch";
import { createTestServer } from "ringcast/testing";
export function portOf({ address }: Server): number {
  // @ts-expect-error: a Unix socket has no port
  address.port.toFixed();
  return address.port ?? 0;
}
export const handler: Handler = {
  request(req, res) {
    const { name } = req.json<{ name: string }>();
    // @ts-expect-error: without a type of the user's, JSON is unknown
    req.json().name;
    res.send(200, "text/plain", name);
  },
  close(ws, { cause }) {
    if (cause === "WsClientTooSlow") ws.terminate();
    // @ts-expect-error: there is no such cause
    if (cause === "ClientTooSlow") ws.terminate();
  },
};
interface User {
  name: string;
}
const user: User = { name: "ada" };
export const users: Handler<User> = {
  request(req, res) {
    if (req.path === "/protocol") return res.upgrade({ data: user, protocol: "chat" });
    // @ts-expect-error: ws.data is a User, which no upgrade gives
    if (req.path === "/none") return res.upgrade();
    // @ts-expect-error: nor does this one
    if (req.path === "/protocol") return res.upgrade({ protocol: "chat" });
    // @ts-expect-error: it is required
    if (req.path === "/undefined") return res.upgrade({ data: undefined });
    // @ts-expect-error: this is no User
    if (req.path === "/other") return res.upgrade({ data: { names: [] } });
    return res.upgrade({ data: user });
  },
  open: (ws) => ws.send(ws.data.name),
};
export const typed = [
  serve<User>({ handler: users }),
  serve({ handler: users }),
  serve<User>({ handler: { request: (_, res) => res.upgrade({ data: user }) } }),
  // @ts-expect-error: data is required
  serve<User>({ handler: { request: (_, res) => res.upgrade() } }),
  // @ts-expect-error: data is required
  serve<User>({ handler: () => ({ request: (_, res) => res.upgrade() }) }),
  // @ts-expect-error: data is required
  createTestServer<User>({ handler: { request: (_, res) => res.upgrade() } }),
  fetchHandler<User>((_, info) => info.upgrade({ data: user })),
  // @ts-expect-error: data is required
  fetchHandler<User>((_, info) => info.upgrade()),
  // @ts-expect-error: data is required
  fetchHandler<User>((_, { upgrade }) => upgrade({ protocol: "chat" })),
  // Without a type, and with one that allows undefined, it is not.
  serve({ handler: { request: (_, res) => res.upgrade() } }),
  serve({ handler: { request: (_, res) => res.upgrade({ data: user, protocol: "chat" }) } }),
  serve<User | undefined>({ handler: { request: (_, res) => res.upgrade({ protocol: "chat" }) } }),
  fetchHandler((_, info) => info.upgrade()),
  fetchHandler<User | undefined>((_, info) => info.upgrade({ idleTimeout: 10 })),
];
// A handler of users is one where the type is not known.
export const untyped: Handler = users;
`;

/** Compiles a program of a user who has Node's types only. */
function compile(text: string, options: ts.CompilerOptions = {}): ts.Program {
  const file = path.join(folder, "program.ts");
  writeFileSync(file, text);
  return ts.createProgram([file], {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    lib: ["lib.es2022.d.ts"],
    types: ["node"],
    strict: true,
    noEmit: true,
    ...options,
  });
}

const complaintsOf = (program: ts.Program): string[] =>
  ts
    .getPreEmitDiagnostics(program)
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, " "));

shipped("Node's types are enough for the entry points of Node", () => {
  const names = ["", "/fetch", "/client", "/engine", "/testing", "/zlib"];
  const lines = names.map((name, i) => `export * as entry${i} from "ringcast${name}";`);
  const program = compile([...lines, TYPED].join("\n"));
  assert.equal(complaintsOf(program), []);
  assert.ok(
    program.getSourceFile(path.join(root, "dist/types/engine.d.ts")),
    "it is what is shipped",
  );
});

shipped("each entry point exports the types that one reaches from its exports", () => {
  const names = readdirSync("dist/types").filter((name) => !/^(shared|script)\./.test(name));
  const all = readDeclarations(names.map((name) => path.join(root, "dist/types", name)));
  assert.ok(all.length > 5);
  for (const [i, { hidden, reached }] of all.entries()) {
    assert.equal(hidden, [], names[i]);
    assert.ok(reached > 0, names[i]);
  }
});

/** Returns the doc comments of a type's members, as an editor shows them. */
function hoverTexts(name: string, entry = "ringcast"): Map<string, string> {
  const program = compile(`import type { ${name} } from "${entry}";\nexport type T = ${name};`);
  const checker = program.getTypeChecker();
  const file = program.getSourceFile(path.join(folder, "program.ts"));
  const alias = file?.statements.find(ts.isTypeAliasDeclaration);
  assert.ok(alias);
  return new Map(
    checker
      .getTypeAtLocation(alias)
      .getProperties()
      .map((member) => {
        const parts = member.getDocumentationComment(checker);
        return [member.name, ts.displayPartsToString(parts).replace(/\s+/g, " ")];
      }),
  );
}

shipped("an editor shows each option's unit, default and range", () => {
  const units = { bytes: "Unit: bytes", MiB: "Unit: MiB", ms: "Unit: ms", s: "Unit: s" };
  const kinds = { ...units, count: "A whole number", port: "A whole number" };
  const live = OPTIONS.filter((row) => row.live);
  for (const [rows, texts] of [
    [OPTIONS, hoverTexts("Options")],
    [OPTIONS, hoverTexts("TestOptions", "ringcast/testing")],
    [live, hoverTexts("LiveOptions")],
    [POOL_OPTIONS, hoverTexts("PoolOptions")],
  ] as const) {
    for (const row of rows) {
      const text = texts.get(row.name) ?? "";
      assert.ok(text.startsWith(row.text), `${row.name}: ${text}`);
      const isChoice = row.unit === "flag" || row.unit === "word";
      if (!isChoice) assert.ok(text.includes(` ${kinds[row.unit]}`), text);
      assert.ok(text.includes(` Default: ${valueText(row, row.default)}.`), text);
      assert.ok(text.includes(` ${isChoice ? "Values" : "Range"}: ${rangeText(row)}.`), text);
      assert.is(/`configure` can change it\.$/.test(text), row.live === true, text);
    }
  }
  // The options that are not in the table have their defaults in the source.
  for (const [name, text] of hoverTexts("Options"))
    assert.match(text, /\bdefault:/i, `${name}: ${text || "no comment"}`);
});

shipped.run();
