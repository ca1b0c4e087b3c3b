// What the tree must look like: who may import whom, no cycles, what is in the wasm and how large it is,
// and a README whose tables and first example are true.

import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { HANDSHAKE } from "../drive";
import { optionsTable, poolTable, reasonsTable } from "../tables";
import { BUILDS } from "../wasm";

const root = process.cwd();
const style = suite("style");
const WASM_LIMIT = 80 * 1024;

function sources(dir: string): string[] {
  return readdirSync(path.join(root, dir), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.ts$/.test(entry.name) && !entry.name.endsWith(".d.ts"))
    .map((entry) => path.relative(root, path.join(entry.parentPath ?? entry.path, entry.name)))
    .map((file) => file.split(path.sep).join("/"))
    .sort();
}

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

/** What of the host the worker uses too: tables, and what is the same wherever a handler runs. */
const BOTH = new Set(
  [
    ...["address", "body", "close", "credit", "members", "options", "request"],
    ...["response", "result", "text", "topic", "wire"],
  ].map((name) => `host/${name}`),
);

/** True when `from` may import `to` (DESIGN of the folders; the README's "How it works" tells it). */
function allowed({ from, to, typeOnly }: Import): boolean {
  if (from.startsWith("assembly/")) return to.startsWith("assembly/");
  if (from.startsWith("worker/net/")) return to === "worker/net";
  if (from.startsWith("worker/")) {
    if (to.startsWith("worker/") || to === "assembly/abi" || to === "dist/engine.wasm") return true;
    return to.startsWith("host/") && (typeOnly || BOTH.has(to));
  }
  if (from.startsWith("host/demo/")) return to.startsWith("host/");
  if (/^host\/testing[./]/.test(from) && to.startsWith("worker/")) return true;
  if (to.startsWith("host/") || to === "assembly/abi" || to === "assembly/plan") return true;
  const told = new Set(["worker/control", "worker/net", "worker/page"]);
  return told.has(to) && typeOnly;
}

style("imports follow the rules of the folders", () => {
  const bad = local
    .filter((entry) => !allowed(entry))
    .map((entry) => `${entry.from} -> ${entry.to}`);
  assert.equal(bad, []);
});

style("the engine and the pump import no platform", () => {
  const platform = (file: string): boolean =>
    file.startsWith("worker/net/") || /^worker\/(main|page|thread)\.ts$/.test(file);
  const bad = imports
    .filter((entry) => /^(worker|assembly)\//.test(entry.from) && !platform(entry.from))
    .filter((entry) => !/^(assembly|worker|host|dist)\//.test(entry.to))
    .map((entry) => `${entry.from} -> ${entry.to}`);
  assert.equal(bad, []);
});

style("there is no import cycle", () => {
  const next = new Map<string, string[]>();
  for (const { from, to, typeOnly } of local) {
    if (typeOnly) continue;
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

/** What a bundle of dist/ imports, and the bundles beside it that it imports do. */
function bundleImports(file: string, seen = new Set<string>()): string[] {
  if (seen.has(file)) return [];
  seen.add(file);
  const text = readFileSync(path.join(root, "dist", file), "utf8");
  const found = text.matchAll(/\b(?:from|import|require)\s*\(?\s*["'`]([\w:./@-]+)["'`]/g);
  return [...found].flatMap(([, name = ""]) =>
    name.startsWith("./") ? bundleImports(name.slice(2), seen) : name,
  );
}

style("what runs anywhere, or in a page, imports nothing of any platform and no package", () => {
  const seen = bundleImports("index.js");
  assert.ok(seen.includes("node:worker_threads") && seen.includes("comlink"), "imports are seen");
  for (const name of ["engine", "testing", "browser", "browser-worker"]) {
    assert.equal(bundleImports(`${name}.js`), [], name);
  }
});

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

style("nothing is longer than 100 columns", () => {
  const bad: string[] = [];
  for (const file of files) {
    const lines = readFileSync(path.join(root, file), "utf8").split("\n");
    lines.forEach((line, i) => {
      // Texts that a user reads are not cut.
      if (line.length > 120 && !/["'`].{60,}/.test(line)) bad.push(`${file}:${i + 1}`);
    });
  }
  assert.equal(bad, []);
});

const readme = readFileSync(path.join(root, "README.md"), "utf8");

/** The text between two marks of the README. */
function marked(name: string): string {
  const found = new RegExp(`<!-- ${name} -->\\n([\\s\\S]*?)<!-- /${name} -->`).exec(readme)?.[1];
  assert.ok(found, `README.md has no mark ${name}`);
  return found as string;
}

style("README's tables are those of the code (node .scripts/readme.mjs writes them)", () => {
  assert.is(marked("options"), `\n${optionsTable()}\n`);
  assert.is(marked("pool"), `\n${poolTable()}\n`);
  assert.is(marked("reasons"), `\n${reasonsTable()}\n`);
});

/** The first code block of a language. */
function block(language: string, index = 0): string {
  const blocks = [...readme.matchAll(new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, "g"))];
  const found = blocks[index]?.[1];
  if (found === undefined) throw new Error(`README.md has no ${language} block ${index}`);
  return found;
}

/** Runs an example of the README, whose first file says where it listens. */
async function running(
  name: string,
  files: Readonly<Record<string, string>>,
  body: (port: number) => Promise<void>,
): Promise<void> {
  const dir = path.join(root, ".cache/readme", name);
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  for (const [file, text] of Object.entries(files)) {
    writeFileSync(path.join(dir, file), text.replace("port: 8080", "port: 0"));
  }
  const child = spawn(process.execPath, [Object.keys(files)[0] as string], {
    cwd: dir,
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    const port = await new Promise<number>((resolve, reject) => {
      let text = "";
      child.stdout.on("data", (bytes) => {
        text += bytes;
        const found = /:(\d+)/.exec(text);
        if (found) resolve(Number(found[1]));
      });
      child.once("exit", (code) => reject(new Error(`the example ended with ${code}: ${text}`)));
    });
    await body(port);
  } finally {
    child.kill();
  }
}

/** A WebSocket's first messages; `send` goes out when it opens. */
async function listen(url: string, count: number, send?: string): Promise<string[]> {
  const { WebSocket } = await import("ws");
  const socket = new WebSocket(url);
  const messages: string[] = [];
  await new Promise<void>((resolve, reject) => {
    socket.on("open", () => {
      if (send !== undefined) socket.send(send);
    });
    socket.on("message", (data) => {
      messages.push(String(data));
      if (messages.length === count) resolve();
    });
    socket.on("error", reject);
  });
  socket.terminate();
  return messages;
}

/** The code block that begins with a comment. */
function fileBlock(name: string): string {
  for (let i = 0; ; i++) {
    const text = block("js", i);
    if (text.startsWith(`// ${name}`)) return text;
  }
}

style("README's first example runs", () =>
  running("first", { "app.js": block("js", 0), "handler.js": block("js", 1) }, async (port) => {
    const messages = await listen(`ws://127.0.0.1:${port}/`, 3);
    for (const message of messages) assert.type(JSON.parse(message).time, "number");
    assert.is((await fetch(`http://127.0.0.1:${port}/`)).status, 200);
  }),
);

style("README's example of a handler on the application's thread runs", () =>
  running("chat", { "chat.js": fileBlock("chat.js") }, async (port) => {
    const messages = await listen(`ws://127.0.0.1:${port}/?ada`, 2, "hello");
    assert.equal(messages, ["0 lines so far", "ada: hello"]);
    assert.is(await (await fetch(`http://127.0.0.1:${port}/`)).text(), "ada: hello");
  }),
);

style("README's example of topics runs", () =>
  running("rooms", { "rooms.js": fileBlock("rooms.js") }, async (port) => {
    const messages = await listen(`ws://127.0.0.1:${port}/?lobby`, 2, "to nobody else");
    assert.is(messages[0], "welcome to lobby");
    assert.match(messages[1] as string, /^it is \d{4}-/);
  }),
);

style("README's example of a pool runs", () => {
  const files = { "hash.js": fileBlock("hash.js"), "work.js": fileBlock("work.js") };
  return running("pool", files, async (port) => {
    const answer = await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: "secret" });
    assert.match(await answer.text(), /^[0-9a-f]{64}$/);
  });
});

style("README's example of a web-standard handler runs", () =>
  running("hono", { "hono.js": fileBlock("hono.js") }, async (port) => {
    const hello = await fetch(`http://127.0.0.1:${port}/hello/ada`);
    assert.equal(await hello.json(), { hello: "ada" });
    assert.equal(await listen(`ws://127.0.0.1:${port}/chat?name=ada`, 1, "hi"), ["ada: hi"]);
  }),
);

style("the entry for web-standard handlers needs no platform", () => {
  const bundles = new Set<string>();
  assert.equal(bundleImports("fetch.js", bundles), []);
  for (const file of bundles) {
    const text = readFileSync(path.join(root, "dist", file), "utf8");
    assert.not.match(text, /\bimport\(|\brequire\(|\bBuffer\b|\bprocess\b/m, file);
  }
});

/** Runs an example that ends by itself; returns what it prints. @param before modules that are imported first */
function output(
  name: string,
  files: Readonly<Record<string, string>>,
  before = "",
): Promise<string> {
  const dir = path.join(root, ".cache/readme", name);
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  for (const [file, text] of Object.entries(files)) writeFileSync(path.join(dir, file), text);
  const child = spawn(
    process.execPath,
    [...(before ? ["--import", before] : []), ...Object.keys(files).slice(0, 1)],
    {
      cwd: dir,
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  return new Promise((resolve, reject) => {
    let text = "";
    child.stdout.on("data", (bytes) => {
      text += bytes;
    });
    child.once("close", (code) => {
      if (code === 0) resolve(text);
      else reject(new Error(`the example ended with ${code}: ${text}`));
    });
  });
}

style("classes keep their names where identifiers are short: in consoles and errors", async () => {
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

style("README's example of a server in memory runs", async () => {
  assert.is(await output("testing", { "testing.js": fileBlock("testing.js") }), "all is well\n");
});

/** Nothing but what every runtime has. */
const BARE = `data:text/javascript,${encodeURIComponent(
  "delete globalThis.Buffer; delete globalThis.setImmediate; delete globalThis.require;",
)}`;

style("README's example of the engine alone serves requests and echoes", async () => {
  const script = `
    import { serve } from "./engine.js";
    const pipe = () => {
      const [up, down] = [new TransformStream(), new TransformStream()];
      return [{ readable: up.readable, writable: down.writable }, up.writable.getWriter(), down.readable];
    };
    const text = async (readable, enough) => {
      let all = "";
      for await (const bytes of readable) {
        all += Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
        if (enough(all)) break;
      }
      return all;
    };
    const octets = (string) => Uint8Array.from(string, (character) => character.charCodeAt(0));
    const [end, writer, readable] = pipe();
    serve(end).catch(() => {});
    await writer.write(octets("GET /a HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n"));
    console.log((await text(readable, () => false)).split("\\r\\n\\r\\n")[1].trim());
    await writer.close();
    const [end2, writer2, readable2] = pipe();
    serve(end2).catch(() => {});
    await writer2.write(octets(${JSON.stringify(HANDSHAKE)} + "\\x81\\x85\\0\\0\\0\\0hello"));
    console.log((await text(readable2, (all) => all.endsWith("hello"))).slice(-5));
    await writer2.write(octets("\\x88\\x82\\0\\0\\0\\0\\x03\\xe8"));
    await writer2.close();
    setTimeout(() => process.exit(0), 200);
  `.replaceAll("\\\\", "\\");
  const files = { "main.js": script, "engine.js": fileBlock("engine.js") };
  const lines = (await output("engine", files, BARE)).split("\n");
  assert.equal(lines.slice(0, 2), ["hello /a", "0 Ok"]);
});

style.run();
