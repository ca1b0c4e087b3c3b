// An empty project with the packed package in it, outside of this tree, and the runtimes that run it.
//
// Invariant: files that a test made are removed when its process ends.

import { execFileSync, spawn } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { toolPath } from "../../.scripts/tools.mjs";
import { blocksOfPages } from "../lib/readme";

export const root = process.cwd();
const tools = path.join(root, "test/runtimes/node_modules");
/** Longest a program may run, in ms. */
const LIMIT = 60000;

/** Programs of packages that no install script unpacked. @throws Error when it is not installed */
export function programOf(...names: readonly string[]): string {
  const found = names.map((name) => path.join(tools, name)).find((file) => existsSync(file));
  if (!found) throw new Error(`not installed: ${names.join(" or ")} (npm run test:matrix)`);
  return found;
}

/** Returns the path of Node 26. @throws Error when it, or the library that it needs, is not installed */
export function node26(): string {
  toolPath("libatomic");
  return programOf("node-26/bin/node");
}

interface Ran {
  readonly code: number | null;
  /** Standard output and standard error. */
  readonly output: string;
}

/** Runs a program to its end. @throws Error when that takes too long */
export function run(command: readonly string[], cwd: string): Promise<Ran> {
  const [program = "", ...args] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`${command.join(" ")}: not done after ${LIMIT} ms: ${output}`));
    }, LIMIT);
    child.stdout.on("data", (bytes) => {
      output += bytes;
    });
    child.stderr.on("data", (bytes) => {
      output += bytes;
    });
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code, output });
    });
  });
}

/** Starts a program that says at which port it listens; `end` ends it. @throws Error when it ends before */
export function start(
  command: readonly string[],
  cwd: string,
): Promise<{ port: number; end: () => Promise<void> }> {
  const [program = "", ...args] = command;
  const child = spawn(program, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const end = (): Promise<void> => {
    child.kill("SIGKILL");
    return ended;
  };
  return new Promise((resolve, reject) => {
    let output = "";
    const take = (bytes: Buffer): void => {
      output += bytes;
      const port = /http:\/\/localhost:(\d+)/.exec(output)?.[1];
      if (port) resolve({ port: Number(port), end });
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    child.on("error", reject);
    child.once("close", () => reject(new Error(`${command.join(" ")} ended: ${output}`)));
  });
}

/** Creates a folder that is removed when this process ends. */
function temporary(): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), "ringcast-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const npm = (args: readonly string[], cwd: string): string =>
  execFileSync("npm", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

interface Packed {
  /** The tarball. */
  readonly file: string;
  /** Its bytes. */
  readonly size: number;
  /** The files in it, in order. */
  readonly files: readonly string[];
}

/** Packs what has been built. */
export function pack(folder: string): Packed {
  const args = ["pack", "--ignore-scripts", "--json", "--pack-destination", folder];
  const [packed] = JSON.parse(npm(args, root)) as [
    { filename: string; size: number; files: { path: string }[] },
  ];
  const files = packed.files.map((file) => file.path).sort();
  return { file: path.join(folder, packed.filename), size: packed.size, files };
}

export interface App {
  readonly folder: string;
  readonly packed: Packed;
}

/** Makes an empty project and installs the package, as its user would. */
export function makeApp(): App {
  const folder = temporary();
  const packed = pack(folder);
  writeFileSync(path.join(folder, "package.json"), '{"private":true,"type":"module"}');
  npm(["install", "--no-audit", "--no-fund", "--prefer-offline", packed.file], folder);
  return { folder, packed };
}

/** Copies files of this tree into a project, under their names. */
export function give(app: App, ...files: readonly string[]): void {
  for (const file of files) giveAs(app, file, path.basename(file));
}

export function giveAs(app: App, file: string, name: string): void {
  cpSync(path.join(root, file), path.join(app.folder, name));
}

const blocks = blocksOfPages();

/**
 * Returns the code block of the README, or of a page that it links, that begins so.
 * @throws Error when there is none
 */
export function example(start: string): string {
  const found = blocks.find(({ text }) => text.startsWith(start));
  if (!found) throw new Error(`no page has an example that begins with ${start}`);
  return found.text;
}

export function read(app: App, file: string): string {
  return readFileSync(path.join(app.folder, file), "utf8");
}
