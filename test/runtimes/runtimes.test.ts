// The installed package on Node 24 and 26, Deno and Bun: the server suite unchanged, and what it leaves out. The smoke
// set of `npm test` is the latter.

import { copyFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { WebSocket } from "ws";
import { type App, example, give, makeApp, node26, programOf, run, start } from "./app";

/** Results as test/runtimes/suite.ts and more.ts print them. */
interface Result {
  readonly name: string;
  readonly passed: boolean;
  readonly error: string;
}

/** Fewest checks that a run may report: it cannot have ended early. */
const SUITE_CHECKS = 110;
const MORE_CHECKS = 13;

const isSmoke = process.env.RINGCAST_MATRIX === "smoke";

const deno = (): string => programOf("@deno/linux-x64-glibc/deno", "@deno/linux-arm64-glibc/deno");
const bun = (): string =>
  programOf("@oven/bun-linux-x64/bin/bun", "@oven/bun-linux-aarch64/bin/bun");

/** Runs a program with sockets instead of handles. */
const SOCKETS = ["env", "RINGCAST_TRANSPORT=sockets"];

/** How each runs a file, and, where it asks for permissions, how it runs `more.mjs`. */
const RUNTIMES: readonly {
  readonly name: string;
  readonly command: () => readonly string[];
  readonly more?: readonly string[];
}[] = [
  { name: "node 24", command: () => [programOf("node-24/bin/node")] },
  { name: "node 26", command: () => [node26()] },
  { name: "node 24, sockets", command: () => [...SOCKETS, programOf("node-24/bin/node")] },
  { name: "node 26, sockets", command: () => [...SOCKETS, node26()] },
  {
    name: "deno",
    command: () => [deno(), "run", "--no-prompt", "--allow-net", "--allow-read=."],
    more: ["--allow-write=.", "--allow-env"],
  },
  { name: "bun", command: () => [bun()] },
];

const test = suite("runtimes");

/** Takes over the results that a program prints in its last line. */
async function report(name: string, command: readonly string[], app: App, least: number) {
  const { code, output } = await run(command, app.folder);
  let results: Result[] = [];
  try {
    results = JSON.parse(output.trimEnd().split("\n").at(-1) as string) as Result[];
  } catch {
    // It did not end properly, which is reported below.
  }
  test(`${name} comes to its end`, () => {
    assert.is(code, 0, output);
    assert.ok(results.length >= least, `${results.length} checks: ${output.slice(0, 2000)}`);
  });
  for (const { name: title, passed, error } of results) {
    test(title, () => {
      if (!passed) throw new Error(error);
    });
  }
}

const app = makeApp();
give(app, ".cache/test/runtimes/suite.mjs", ".cache/test/runtimes/more.mjs");
give(app, ".cache/test/suite/suite-handler.mjs", "test/runtimes/handler.mjs");
give(app, "test/e2e/tls/key.pem", "test/e2e/tls/cert.pem");
for (const name of ["main", "a", "b"])
  copyFileSync("test/e2e/handlers/host.mjs", path.join(app.folder, `host-${name}.mjs`));
give(app, ...["one", "rsa", "renewed"].map((file) => `test/e2e/tls/${file}.pem`));

for (const { name, command, more = [] } of RUNTIMES) {
  const began = performance.now();
  if (!isSmoke)
    await report(`${name}: suite`, [...command(), "suite.mjs", name], app, SUITE_CHECKS);
  await report(`${name}: more`, [...command(), ...more, "more.mjs", name, "."], app, MORE_CHECKS);
  console.log(`# ${name}: ${((performance.now() - began) / 1000).toFixed(1)} s`);
}

/** Runs an example until it has answered a request and published three messages. */
async function checkExample(command: readonly string[]): Promise<void> {
  const { port, end } = await start(command, app.folder);
  try {
    const answer = await fetch(`http://127.0.0.1:${port}/`);
    assert.match(await answer.text(), /<title>Ringcast<\/title>/);
    const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
    const messages: string[] = [];
    await new Promise<void>((resolve, reject) => {
      socket.on("message", (data) => messages.push(String(data)) === 3 && resolve());
      socket.on("error", reject);
    });
    for (const message of messages) assert.match(message, /^\d{4}-\d\d-\d\dT/);
    socket.terminate();
  } finally {
    await end();
  }
}

const PROGRAMS: Readonly<Record<string, () => string>> = {
  node: () => process.execPath,
  deno,
  bun,
};
writeFileSync(
  path.join(app.folder, "app.mjs"),
  example("// app.mjs").replace("port: 8080", "port: 0"),
);
writeFileSync(path.join(app.folder, "page.html"), example("<!-- page.html"));
for (const line of example("node app.mjs").trim().split("\n")) {
  test(`README's example runs: ${line}`, () => {
    const [name = "", ...args] = line.split(" ");
    return checkExample([(PROGRAMS[name] as () => string)(), ...args]);
  });
}

test.run();
