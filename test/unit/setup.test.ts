// The steps of `npm test` before any test: its requirements for the machine, and its message when one is missing. Also
// that no process outlives the script that has started it.

import { spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { TOOLS, type Tool, byHand, findTool } from "../../.scripts/tools.mjs";
import { isRunning } from "../lib/process";
import { until } from "../lib/wait";

const setup = suite("set-up");

const wanted = (...names: string[]): readonly Tool[] =>
  TOOLS.filter(({ name }) => names.includes(name));

interface Ran {
  readonly code: number | null;
  readonly output: string;
}

/** Runs this Node with some arguments. @param seen is called with what it has printed so far, and its process id */
function node(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  seen: (output: string, pid: number) => void = () => undefined,
): Promise<Ran> {
  const child = spawn(process.execPath, args, {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const take = (bytes: Buffer): void => {
    output += bytes;
    seen(output, child.pid as number);
  };
  child.stdout.on("data", take);
  child.stderr.on("data", take);
  return new Promise((resolve) => child.once("close", (code) => resolve({ code, output })));
}

setup("a variable that names no file ends it before any test, and says which", async () => {
  for (const { variable } of TOOLS) {
    const { code, output } = await node([".scripts/verify.mjs"], { [variable]: "/nowhere/it" });
    const lines = [
      `set-up: ${variable}: "/nowhere/it" is not a file`,
      "",
      "0 passed, 1 failed",
      "",
    ];
    assert.equal([code, output], [1, lines.join("\n")]);
  }
});

/** Runs a script as if by another Node. */
const asNode = (version: string, script: string) => {
  const versions = `Object.defineProperty(process,"versions",{value:{node:"${version}"}})`;
  const args = ["--import", `data:text/javascript,${versions}`, `.scripts/${script}.mjs`];
  return node(args, { RINGCAST_WRK: "/nowhere" });
};

setup("a Node that is too old is named first", async () => {
  for (const script of ["verify", "check", "matrix", "start", "fresh"]) {
    const { code, output } = await asNode("18.20.8", script);
    const line = "This is Node 18.20.8. Ringcast needs Node >=20.12: https://nodejs.org\n";
    assert.equal([code, output], [1, line], script);
  }
});

setup("accepts the oldest supported Node, and refuses the one before it", async () => {
  for (const [version, isOld] of [
    ["20.11.1", true],
    ["20.12.0", false],
    ["22.0.0", false],
  ] as const) {
    const { output } = await asNode(version, "verify");
    assert.is(output.startsWith("This is Node"), isOld, `${version}: ${output}`);
  }
});

setup("a test that needs a missing tool fails, and says how to install it", async () => {
  const script = 'import { toolPath } from "./.scripts/tools.mjs"; toolPath("wrk");';
  const { code, output } = await node(["--input-type=module", "-e", script], { PATH: "" });
  assert.is(code, 1);
  const command = "apt-get install -y --no-install-recommends wrk";
  assert.match(output, `there is no wrk: ${command}, or its path in RINGCAST_WRK\n`);
});

setup("a library is looked for in the library folders, not in those of programs", () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), "ringcast-library-"));
  try {
    const [library] = wanted("libatomic");
    assert.ok(library);
    const file = path.join(folder, "libatomic.so.1");
    const found = (): string | undefined => findTool(library, ["/nowhere", folder]);
    assert.is(found(), undefined);
    writeFileSync(file, "");
    assert.is(found(), file);
    assert.is(findTool({ ...library, file: "sh" }, [folder])?.endsWith("/bin/sh"), true);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

setup("without libatomic Debian installs libatomic1", () => {
  const [, line] = byHand(wanted("libatomic"), { id: "debian", like: "" });
  assert.is(line, "sudo apt-get install -y --no-install-recommends libatomic1");
});

setup("on Debian one command installs all", () => {
  const lines = byHand(TOOLS, { id: "debian", like: "" });
  assert.equal(lines.slice(0, 3), [
    "sudo apt-get update",
    `sudo apt-get install -y --no-install-recommends ${TOOLS.map(({ debian }) => debian).join(" ")}`,
    "sudo systemctl disable --now nginx",
  ]);
  for (const { variable } of TOOLS) assert.ok(lines.at(-1)?.includes(variable));
});

setup("on Ubuntu Chromium is not the package, which is a snap", () => {
  const lines = byHand(wanted("chromium", "wrk"), { id: "ubuntu", like: "debian" });
  assert.equal(lines.slice(0, -1), [
    "sudo apt-get update",
    "sudo apt-get install -y --no-install-recommends wrk",
    "npm ci && npx playwright-core install --with-deps chromium",
    `export RINGCAST_CHROMIUM="$(node -p "require('playwright-core').chromium.executablePath()")"`,
  ]);
});

setup("elsewhere it names Debian's packages", () => {
  const lines = byHand(wanted("nginx", "nginx's stream module"), { id: "arch", like: "" });
  assert.equal(lines, [
    "nginx: the package that Debian calls nginx",
    "nginx's stream module: the package that Debian calls libnginx-mod-stream",
    "or, where there are others: their paths in RINGCAST_NGINX, RINGCAST_NGINX_STREAM",
  ]);
});

/** Returns the test files that need a tool: they, or their imports from this tree, ask for its path. */
function usersOf(name: string): string[] {
  const asks = (file: string, depth: number): boolean => {
    const text = readFileSync(file, "utf8");
    if (text.includes(`toolPath("${name}")`)) return true;
    if (depth === 0) return false;
    const imports = [...text.matchAll(/from "(\.\.?\/[\w./-]+)"/g)].map(([, to = ""]) =>
      path.join(path.dirname(file), `${to}.ts`),
    );
    return imports.some((one) => existsSync(one) && asks(one, depth - 1));
  };
  return ["test/e2e", "test/runtimes"]
    .flatMap((dir) => readdirSync(dir).map((file) => path.join(dir, file)))
    .filter((file) => file.endsWith(".test.ts") && asks(file, 2))
    .map((file) => path.basename(file, ".test.ts"))
    .sort();
}

setup("the table of tools names each test that needs one", () => {
  for (const { name, tests } of TOOLS) {
    // The bench is a process of its own.
    const users = name === "wrk" ? ["bench"] : usersOf(name);
    assert.equal([...tests].sort(), users, name);
  }
});

setup("npm's packages are installed again when the lock file changes", async () => {
  const { isInstalled } = (await import(
    new URL(`file://${process.cwd()}/.scripts/packages.mjs`).href
  )) as { isInstalled(folder: string): boolean };
  const folder = mkdtempSync(path.join(os.tmpdir(), "ringcast-packages-"));
  try {
    const write = (file: string, packages: object): void =>
      writeFileSync(path.join(folder, file), JSON.stringify({ packages }));
    const a = { version: "1.0.0", integrity: "sha512-a" };
    const other = { version: "1.0.0", optional: true };
    assert.is(isInstalled(process.cwd()), true);
    mkdirSync(path.join(folder, "node_modules"));
    write("package-lock.json", { "": {}, "node_modules/a": a, "node_modules/b": other });
    assert.is(isInstalled(folder), false, "nothing is there");
    write("node_modules/.package-lock.json", { "node_modules/a": a });
    assert.is(isInstalled(folder), true, "an optional package may be missing");
    for (const [name, changed] of [
      ["version", { ...a, version: "1.0.1" }],
      ["bytes", { ...a, integrity: "sha512-b" }],
    ] as const) {
      write("node_modules/.package-lock.json", { "node_modules/a": changed });
      assert.is(isInstalled(folder), false, name);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** Source of a program that prints its process id and never ends. */
const ENDLESS = `console.log("pid", process.pid);
  process.send?.("is up");
  setInterval(() => {}, 1000);`;

/** Waits until a process has ended. */
const gone = (pid: number): Promise<void> => until(`end of process ${pid}`, () => !isRunning(pid));

setup("a signal to a script ends the processes it has started", async () => {
  const script = `import { ended } from "./.scripts/child.mjs";
    await ended([process.execPath, "-e", ${JSON.stringify(ENDLESS)}]);`;
  let pid = 0;
  const { code } = await node(["--input-type=module", "-e", script], {}, (output, parent) => {
    const found = /pid (\d+)\n/.exec(output)?.[1];
    if (!found) return;
    pid = Number(found);
    process.kill(parent, "SIGTERM");
  });
  assert.is(code, 128 + os.constants.signals.SIGTERM);
  assert.ok(pid > 0);
  await gone(pid);
});

setup("a program that leaves a process has ended, and the process with it", async () => {
  const leaving = `const { spawn } = require("node:child_process");
    const child = spawn(process.execPath, ["-e", ${JSON.stringify(ENDLESS)}], {
      stdio: ["ignore", "inherit", "inherit", "ipc"] });
    child.once("message", () => process.exit(3));`;
  const script = `import { ended } from "./.scripts/child.mjs";
    const output = (bytes) => process.stdout.write(bytes);
    console.log(await ended([process.execPath, "-e", ${JSON.stringify(leaving)}], { output }));`;
  const { code, output } = await node(["--input-type=module", "-e", script]);
  assert.equal([code, /\{ code: 3, isLate: false \}/.test(output)], [0, true], output);
  await gone(Number(/pid (\d+)\n/.exec(output)?.[1]));
});

setup.run();
