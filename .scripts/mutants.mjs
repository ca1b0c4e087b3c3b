// Bugs that the tests must find. Each is a comment in the sources, above the line that it replaces:
//
//   // mutant ring-lap: <the line with the bug in it, ";" for none>
//   // mutant wait-grace (wait): <one that test/unit/wait.test.ts finds, because no run of the simulator can>
//
// Invariant: a mutant changes the one line under its comment (under the last one, of several in a row), in a copy that
// only a test build sees.

import { execFile, spawn } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { root } from "./build.mjs";
import { bundlePrograms } from "./programs.mjs";

const run = promisify(execFile);

const MARK = /^\s*\/\/ mutant ([a-z]+-[a-z]+)(?: \(([a-z-]+)\))?: (.+)$/;

/**
 * Reads all mutants of the sources, by name: the file, the number of the line, that line, the line with the bug, and
 * the unit test that finds it if the simulator does not.
 */
export async function mutants() {
  const found = new Map();
  for (const dir of ["assembly", "host", "worker"]) {
    const names = await readdir(path.join(root, dir), { recursive: true });
    for (const name of names.filter((one) => one.endsWith(".ts")).sort()) {
      const file = `${dir}/${name}`;
      const lines = (await readFile(path.join(root, file), "utf8")).split("\n");
      lines.forEach((text, i) => {
        const [, mutant, test, to] = MARK.exec(text) ?? [];
        if (!mutant) return;
        if (found.has(mutant)) throw new Error(`${file}: there are two mutants ${mutant}`);
        let line = i;
        while (MARK.test(lines[line])) line++;
        found.set(mutant, { file, line, from: lines[line].trim(), to, test });
      });
    }
  }
  return found;
}

/** Returns the source of a mutant with the bug in it. */
async function patched({ file, line, to }) {
  const lines = (await readFile(path.join(root, file), "utf8")).split("\n");
  lines[line] = to;
  return lines.join("\n");
}

/** Builds the engine with a mutant in it, optimized less than the real one: it is built in half of the time. */
async function buildEngine(dir, { file }, text) {
  await cp(path.join(root, "assembly"), path.join(dir, "assembly"), { recursive: true });
  await cp(path.join(root, "asconfig.json"), path.join(dir, "asconfig.json"));
  await symlink(path.join(root, "node_modules"), path.join(dir, "node_modules"));
  await writeFile(path.join(dir, file), text);
  const wasm = path.join(dir, "engine.wasm");
  const options = ["--optimizeLevel", "1", "--noAssert", "--outFile", wasm];
  const asc = path.join(root, "node_modules/.bin/asc");
  await run(asc, ["assembly/index.ts", "--target", "mutant", ...options], { cwd: dir });
}

/** Bundles the simulator into a file. @param mutant one that is put in, whose unit test is bundled, if it has one */
export async function bundleSimulator(outfile, mutant) {
  const plugins = [];
  if (mutant) {
    const dir = path.dirname(outfile);
    const text = await patched(mutant);
    const inEngine = mutant.file.startsWith("assembly/");
    if (inEngine) await buildEngine(dir, mutant, text);
    plugins.push({
      name: "mutant",
      setup({ onLoad, onResolve }) {
        onLoad({ filter: /\.ts$/ }, ({ path: file }) =>
          file === path.join(root, mutant.file) ? { contents: text, loader: "ts" } : undefined,
        );
        onResolve({ filter: /\/engine(\.debug)?\.wasm$/ }, () =>
          inEngine ? { path: path.join(dir, "engine.wasm") } : undefined,
        );
      },
    });
  }
  const entry = mutant?.test ? `test/unit/${mutant.test}.test.ts` : "test/run/simulate.ts";
  await bundlePrograms({ entryPoints: [entry], outfile, plugins });
}

/** Calls `fn` with a folder that lives as long as the call. */
async function within(fn) {
  // Beside the cache, where packages are found.
  const base = path.join(root, ".cache");
  await mkdir(base, { recursive: true });
  const dir = await mkdtemp(path.join(base, "mutant-"));
  try {
    return await fn(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** ms that one run may take, shortening included, on a machine that does much else. */
const RUN_MILLIS = 120000;

/** Runs a program. @returns what it wrote, and whether it was ended because nothing new came for too long */
function watch(file, args) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ["--enable-source-maps", file, ...args]);
    const result = { code: null, stdout: "", stderr: "", isEndless: false };
    const end = () => {
      result.isEndless = true;
      child.kill("SIGKILL");
    };
    let timer = setTimeout(end, RUN_MILLIS);
    for (const name of ["stdout", "stderr"]) {
      child[name].on("data", (bytes) => {
        result[name] += bytes;
        clearTimeout(timer);
        timer = setTimeout(end, RUN_MILLIS);
      });
    }
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ ...result, code });
    });
  });
}

/**
 * Puts a mutant in and runs seeds until one finds it, or does not end; or runs its unit test.
 * @param options of `npm run simulate`, by name
 * @returns how it was found: `found` undefined when no seed finds it, or no test fails
 */
export async function hunt(name, options) {
  const mutant = (await mutants()).get(name);
  if (!mutant) throw new Error(`there is no mutant ${name}`);
  return within(async (dir) => {
    const file = path.join(dir, "simulate.mjs");
    await bundleSimulator(file, mutant);
    const args = Object.entries(options).flatMap(([key, value]) => [`--${key}`, String(value)]);
    const started = Date.now();
    const { code, stdout, stderr, isEndless } = await watch(file, [...args, "--announce"]);
    const ms = Date.now() - started;
    if (code === 0) return { name, mutant, ms };
    if (mutant.test) {
      const text = stdout
        .split("\n")
        .filter((line) => line.includes("FAIL"))
        .join("\n");
      if (!text && !isEndless) throw new Error(`${name}: the test itself failed: ${stderr}`);
      return { name, mutant, ms, found: { test: mutant.test, isEndless, text } };
    }
    // A mutant that runs in circles is found, too.
    const last = isEndless ? stdout.trim().split("\n").at(-1) : stderr;
    const [, seed, mode] = /^seed (\d+), (\w+)/m.exec(last) ?? [];
    if (!seed) throw new Error(`${name}: the simulator itself failed: ${stderr}`);
    const length = isEndless ? 0 : Number(/^(\d+) steps:$/m.exec(stderr)?.[1] ?? Number.NaN);
    const seeds = Number(seed) - options.from + 1;
    return { name, mutant, ms, found: { seeds, mode, length, isEndless, text: stderr } };
  });
}
