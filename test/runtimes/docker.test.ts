// The Dockerfile of test/example/docker without Docker: its steps are run in a folder, with the packed package, and its
// command as process 1 where the kernel allows that. Not tried: the image of FROM, and the user of USER.

import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { fetch } from "undici";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { until, within } from "../lib/wait";
import { pack, root } from "./app";

const docker = suite("docker");

const folder = mkdtempSync(path.join(os.tmpdir(), "ringcast-docker-"));
docker.after(() => rmSync(folder, { recursive: true }));
/** The folder of the Dockerfile, and the one of the container's root. */
const context = path.join(folder, "context");
const image = path.join(folder, "image");
mkdirSync(image);
cpSync(path.join(root, "test/example/docker"), context, { recursive: true });

/** Changes a file of the context. */
function edit(name: string, what: string, by: string): void {
  const file = path.join(context, name);
  const text = readFileSync(file, "utf8");
  assert.ok(text.includes(what), `${name} has no ${what}`);
  writeFileSync(file, text.replace(what, by));
}

edit("package.json", '"^0.1.0"', JSON.stringify(`file:${pack(folder).file}`));
edit("ringcast.json", '"0.0.0.0"', '"127.0.0.1"');
edit("ringcast.json", "8080", "0");

/** The state of the steps so far. */
interface Built {
  readonly env: Record<string, string | undefined>;
  workdir: string;
  command: readonly string[];
  readonly untried: string[];
}

/** The steps of a Dockerfile, by their names. They have no line that is continued. */
const STEPS: Readonly<Record<string, (words: string, built: Built) => void>> = {
  FROM: (words, { untried }) => void untried.push(`FROM ${words}`),
  USER: (words, { untried }) => void untried.push(`USER ${words}`),
  EXPOSE: (words, { untried }) => void untried.push(`EXPOSE ${words}`),
  ENV(words, { env }) {
    const [, name = "", value] = /^(\w+)=(\S*)$/.exec(words) ?? [];
    env[name] = value;
  },
  WORKDIR(words, built) {
    built.workdir = path.join(image, words);
    mkdirSync(built.workdir, { recursive: true });
  },
  COPY(words, { workdir }) {
    const [from = "", to = ""] = words.split(" ");
    const target = to.endsWith("/") ? path.join(to, path.basename(from)) : to;
    cpSync(path.join(context, from), path.resolve(workdir, target), { recursive: true });
  },
  RUN: (words, { env, workdir }) => {
    execFileSync("/bin/sh", ["-c", words], {
      cwd: workdir,
      env,
      stdio: ["ignore", "pipe", "pipe"],
    });
  },
  CMD(words, built) {
    built.command = JSON.parse(words) as string[];
  },
};

/** Runs the steps of a Dockerfile. */
function build(file: string): Built {
  const { PATH, HOME } = process.env;
  const node = path.dirname(process.execPath);
  const env = { PATH: `${node}:${PATH}`, HOME, npm_config_prefer_offline: "true" };
  const built: Built = { env, workdir: image, command: [], untried: [] };
  for (const line of readFileSync(file, "utf8").split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const [, name = "", words = ""] = /^([A-Z]+) (.*)$/.exec(line) ?? [];
    const step = STEPS[name];
    assert.ok(step, `this test does not know the step ${line}`);
    step(words, built);
  }
  return built;
}

/** Whether a process can be the first of a namespace, as that of a container is. */
const canBeFirst = spawnSync("unshare", ["--pid", "--fork", "true"]).status === 0;

/** Returns the process that a signal to the container reaches. */
function firstOf({ pid = 0 }: ChildProcess): number {
  if (!canBeFirst) return pid;
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim());
}

docker("the steps make a site that its command serves, and SIGTERM ends in order", async () => {
  const { env, workdir, command, untried } = build(path.join(context, "Dockerfile"));
  console.log(`# not tried: ${untried.join(", ")}`);
  if (!canBeFirst)
    console.log("# not tried: the command as process 1, which unshare does not allow here");
  assert.ok(!existsSync(path.join(workdir, "node_modules/typescript")), "no tools of developers");
  const namespace = canBeFirst ? ["unshare", "--pid", "--fork"] : [];
  const [program = "", ...args] = [...namespace, ...command];
  const child = spawn(program, args, { cwd: workdir, env, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (bytes) => {
      output += bytes;
    });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  let first = 0;
  try {
    await until("it is live", () => /live on/.test(output));
    first = firstOf(child);
    const port = /:(\d+)\n/.exec(output)?.[1];
    const response = await within(fetch(`http://127.0.0.1:${port}/`), "a response");
    assert.match(await response.text(), /A site in a container/);
    await until("its line", () => /"GET \/ HTTP\/1\.1" 200 \d+/.test(output));
    process.kill(first, "SIGHUP");
    await until("it is reloaded", () => /reloaded/.test(output));
    process.kill(first, "SIGTERM");
    assert.is(await within(ended, "its end"), 0, output);
  } finally {
    if (child.exitCode === null && first > 0) process.kill(first, "SIGKILL");
    child.kill("SIGKILL");
  }
});

docker.run();
