// The bench: one short round of every case runs, with all peers, and what it starts ends with it.

import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { isRunning } from "../lib/process";
import { until, within } from "./peer";

const bench = suite("bench");
const SMOKE_LIMIT = 200_000; // ms, with installing the peers; a quarter of it where nothing else runs
const STEP_LIMIT = 10_000;

/** The names of the cases, which are those of their files. */
const CASES = readdirSync("bench/cases").map((file) => file.replace(".mjs", ""));

function start(file: string, ...args: string[]) {
  const child = spawn(process.execPath, [file, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const state = { output: "", errors: "" };
  child.stdout.on("data", (bytes) => {
    state.output += bytes;
  });
  child.stderr.on("data", (bytes) => {
    state.errors += bytes;
  });
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  return { child, state, ended };
}

/** Processes whose parent is this one, by /proc/PID/stat. */
function childrenOf(pid: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, "latin1");
        return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) === pid;
      } catch {
        return false; // it has just ended
      }
    })
    .map(Number);
}

bench("runs a short round of every case with every peer", async () => {
  const { child, state, ended } = start(".scripts/bench.mjs", "--smoke");
  const code = await within(ended, "end of the bench", SMOKE_LIMIT).finally(() => child.kill());
  assert.is(code, 0, `${state.output}${state.errors}`);
  for (const name of CASES) assert.match(state.output, new RegExp(`^${name}: `, "m"));
  for (const peer of [
    "ws",
    "node:http",
    "fastify",
    "uws",
    "bun",
    "deno",
    "ringcast",
    "ringcast-app",
  ])
    assert.match(state.output, new RegExp(`^${peer} +\\d`, "m"));
  assert.not.match(state.output, /^without |FAILED/m, "no row is left out");
});

bench("takes its processes with it when it is interrupted", async () => {
  const { child, ended } = start("bench/main.mjs", "echo");
  let started: number[] = [];
  await until(
    "servers and clients",
    () => {
      started = childrenOf(child.pid as number);
      return started.length >= 3;
    },
    STEP_LIMIT,
  );
  child.kill("SIGINT");
  assert.is(await within(ended, "end", STEP_LIMIT), 130);
  await until("end of its processes", () => !started.some(isRunning), STEP_LIMIT);
});

bench("names the cases there are when it is asked for another", async () => {
  const { state, ended } = start("bench/main.mjs", "nonesuch");
  assert.is(await within(ended, "end", STEP_LIMIT), 1);
  assert.match(state.errors, /no case nonesuch; there are fanout /);
});

bench.run();
