// The start of a server where it cannot be as usual: flags of node, no WebAssembly, little address space, a port that
// other processes of the application have, a promise that is not awaited. Each in a process of its own.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { inspect } from "node:util";
import { serve } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { within } from "./peer";

const start = suite("start");
const folder = mkdtempSync(path.join(tmpdir(), "ringcast-start-"));
const RINGCAST = pathToFileURL(path.resolve("dist/index.js")).href;

/** Writes a file for the time of the tests. @returns its URL */
function file(name: string, text: string): URL {
  const at = path.join(folder, name);
  writeFileSync(at, text);
  return pathToFileURL(at);
}

const HANDLER = file(
  "handler.mjs",
  "export default { request: (_, res) => res.send(globalThis.marked ?? 200) };",
);
const MARK = file("mark.mjs", "globalThis.marked = 299;");

/** A program that serves, asks for a page and prints its status, or prints the error. */
const program = (options = ""): string => `
import { serve } from ${JSON.stringify(RINGCAST)};
try {
  const server = await serve({ port: 0, handler: new URL(${JSON.stringify(HANDLER.href)})${options} });
  const answer = await fetch(\`http://127.0.0.1:\${server.address.port}/\`);
  console.log(answer.status);
  await server.close();
} catch (error) {
  console.log(\`\${error.name}: \${error.message}\`);
}
`;

interface Run {
  readonly input?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** KiB of address space. */
  readonly space?: number;
}

/** Returns the output of a process. */
async function printed(
  args: readonly string[],
  { input = "", env, space }: Run = {},
): Promise<string> {
  const command = [process.execPath, ...args];
  const limited = ["sh", "-c", `ulimit -v ${space}; exec "$@"`, "sh", ...command];
  const [name = "", ...rest] = space === undefined ? command : limited;
  const child = spawn(name, rest, {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, ...env },
  });
  let output = "";
  child.stdout.on("data", (bytes) => {
    output += bytes;
  });
  child.stdin.end(input);
  await within(new Promise((resolve) => child.on("close", resolve)), "the process");
  return output.trim();
}

const MODULE = "--input-type=module";

start("serves where node reads a module from -e or its input", async () => {
  assert.is(await printed([MODULE, "-e", program()]), "200");
  assert.is(await printed(["--input-type", "module", "-"], { input: program() }), "200");
  assert.is(await printed([MODULE, "-e", program(", pool: { threads: 1 }")]), "200");
  const env = { NODE_OPTIONS: `${MODULE} --max-old-space-size=300` };
  assert.is(await printed(["-e", program()], { env }), "200");
});

start(
  "the worker keeps the flags that load modules, and starts beside those of the process",
  async () => {
    const flags = ["--max-old-space-size=300", "--expose-gc", "--conditions", "one"];
    const mark = ["--import", MARK.href];
    assert.is(await printed([...flags, MODULE, "-e", program()]), "200");
    assert.is(await printed([...flags, ...mark, MODULE, "-e", program()]), "299");
  },
);

const PROGRAM = file("program.mjs", program()).pathname;

start("without WebAssembly the error names the flag that disables it", async () => {
  assert.is(
    await printed(["--jitless", "--no-warnings", PROGRAM]),
    "Error: this runtime has no WebAssembly, which the engine needs; node --jitless disables it",
  );
});

start("with little address space it names the option and the remedy", async () => {
  const space = 8000000;
  const said = await printed([PROGRAM], { space });
  assert.match(
    said,
    /^RangeError: maxMemory: the system refused \d+ bytes of memory \(.*ulimit -v/,
  );
  assert.match(said, /--disable-wasm-trap-handler/);
  assert.is(await printed(["--disable-wasm-trap-handler", PROGRAM], { space }), "200");
});

/** Starts a server at a port of one that is there already. */
const TAKEN = `
const taken = await serve({ port: 0 });
const { message } = await serve({ port: taken.address.port }).catch((error) => error);
console.log(message);
await taken.close();
`;

start(
  "the error of a port in use names the remedy: alone, under pm2, and in a cluster",
  async () => {
    const head = `import { serve } from ${JSON.stringify(RINGCAST)};`;
    const alone = file("taken.mjs", head + TAKEN).pathname;
    assert.match(
      await printed([alone]),
      /^listen EADDRINUSE: .*; another process listens there: end it/,
    );
    assert.match(
      await printed([alone], { env: { pm_id: "0" } }),
      /^listen EADDRINUSE: .*; under pm2 its instances cannot share a port: use exec_mode: "fork"/,
    );
    const cluster = `
import cluster from "node:cluster";
if (cluster.isPrimary) cluster.fork();
else {
  ${TAKEN}
  process.disconnect();
}
`;
    assert.match(
      await printed([file("cluster.mjs", head + cluster).pathname]),
      /^listen EADDRINUSE: .*; node:cluster does not share this port among its workers: start the/,
    );
  },
);

start("reading a member of the promise is an error that says to await it", async () => {
  const promise = serve({ port: 0 });
  const early = promise as unknown as {
    broadcast(data: string): void;
    onEvict: unknown;
    address: unknown;
  };
  const said = (name: string) =>
    new RegExp(`^TypeError: ${name}: serve\\(\\) returns a promise; write \`await serve`);
  for (const [name, use] of [
    ["broadcast", () => early.broadcast("x")],
    ["address", () => early.address],
    ["onEvict", () => Object.assign(early, { onEvict: () => undefined })],
  ] as const) {
    let thrown: unknown;
    try {
      use();
    } catch (error) {
      thrown = error;
    }
    assert.match(String(thrown), said(name));
  }
  assert.match(inspect(promise), /^Promise \{ <pending> \}$/);
  assert.equal(Object.keys(promise), []);
  const server = await promise;
  assert.ok(server.broadcast("x"));
  await server.close();
});

start("a refused call starts no thread and leaves no listener", async () => {
  const said = await printed([
    MODULE,
    "-e",
    `
import { serve } from ${JSON.stringify(RINGCAST)};
const before = process.getActiveResourcesInfo().sort().join();
const wrong = [
  ...[{ host: "a" }, { ring: "10MiB" }, { tls: { chipers: "" } }, { origins: ["a"] }],
  { handler: { mesage() {} } },
];
for (const options of wrong) {
  const thrown = await serve({ port: 0, ...options }).catch((error) => error);
  if (!/^(TypeError|RangeError)$/.test(thrown.name)) console.log(thrown);
}
if (process.getActiveResourcesInfo().sort().join() === before) console.log("nothing is left");
`,
  ]);
  assert.is(said, "nothing is left");
});

start.after(() => rmSync(folder, { recursive: true }));
start.run();
