// Mounts of folders under load: many files, a file larger than memory, and libuv's threads, which the application uses,
// too. With RINGCAST_MATRIX=full 100,000 files and 10 GB.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { type ChildProcess, spawn } from "node:child_process";
import * as http from "node:http";
import os from "node:os";
import path from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Command } from "./command";
import { until, within } from "./peer";

const load = suite("files: load");

const isFull = process.env.RINGCAST_MATRIX === "full";
const FILES = isFull ? 100000 : 4000;
const LARGE = isFull ? 10e9 : 1e9;
const MIB = 1048576;

const folder = mkdtempSync(path.join(os.tmpdir(), "ringcast-load-"));
load.after(() => rmSync(folder, { recursive: true }));
for (let i = 0; i < FILES; i++) {
  const below = path.join(folder, `many/${i % 100}`);
  if (i < 100) mkdirSync(below, { recursive: true });
  writeFileSync(path.join(below, `${i}.txt`), `file ${i}\n`.repeat(100));
}
writeFileSync(path.join(folder, "large.bin"), "begin");
truncateSync(path.join(folder, "large.bin"), LARGE);
writeFileSync(path.join(folder, "part.bin"), Buffer.alloc(4 * MIB, "x"));
writeFileSync(path.join(folder, "short.bin"), Buffer.alloc(MIB / 4, "x"));

/** Asks for a file. @returns its length, and its first bytes */
function get(port: number, target: string, agent: http.Agent): Promise<[number, string]> {
  return new Promise((resolve, reject) => {
    const request = http.get({ host: "127.0.0.1", port, path: target, agent }, (response) => {
      let bytes = 0;
      let first = "";
      response.on("data", (piece: Buffer) => {
        if (bytes === 0) first = piece.toString("latin1", 0, 12);
        bytes += piece.length;
      });
      response.on("error", reject);
      response.on("end", () => resolve([bytes, first]));
    });
    request.on("error", reject);
  });
}

/** Returns the resident memory of a process in MiB. */
function memoryOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
}

/** Runs tasks with the numbers below `count`, some at a time. */
async function each(
  count: number,
  lanes: number,
  task: (i: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await task(next++);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

load(`memory stays the same for ${FILES} files and a file of ${LARGE / 1e9} GB`, async () => {
  const command = new Command([folder, "--port", "0"]);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 16 });
  try {
    const port = await command.port();
    const askAll = (): Promise<void> =>
      each(FILES, 16, async (i) => {
        const [bytes, first] = await get(port, `/many/${i % 100}/${i}.txt`, agent);
        const expected = `file ${i}\n`.repeat(100);
        assert.is(bytes, expected.length);
        assert.is(first, expected.slice(0, 12));
      });
    // The first round fills the cache and the heap of JavaScript.
    await askAll();
    const before = memoryOf(command.pid);
    await askAll();
    const many = memoryOf(command.pid);
    const [bytes, first] = await get(port, "/large.bin", agent);
    assert.equal([bytes, first.slice(0, 5)], [LARGE, "begin"]);
    const large = memoryOf(command.pid);
    console.log(`memory, MiB: ${before.toFixed(0)}, ${many.toFixed(0)}, ${large.toFixed(0)}`);
    assert.ok(many - before < 32, `${many - before} MiB more for the files`);
    assert.ok(large - many < 48, `${large - many} MiB more for the large file`);
    command.signal("SIGTERM");
    assert.is((await command.ended()).code, 0);
  } finally {
    agent.destroy();
    command.kill();
  }
});

/** A server whose application uses all threads of libuv, or looks at a file again and again, when it is asked to. */
const PROGRAM = `
  import { pbkdf2 } from "node:crypto";
  import { stat } from "node:fs/promises";
  import { serve } from "ringcast";
  const [folder] = process.argv.slice(2);
  const server = await serve({ port: 0, mounts: [{ path: "/", files: folder }], fileCache: 0 });
  let isHashing = false;
  let hashes = 0;
  let looks = 0;
  const hash = () => isHashing && pbkdf2("a", "b", 2000, 64, "sha512", () => { hashes++; hash(); });
  const look = () => stat(folder).then(() => { looks++; setTimeout(look); });
  look();
  process.on("message", (order) => {
    if (order === "hash") { isHashing = true; for (let i = 0; i < 8; i++) hash(); }
    if (order === "rest") isHashing = false;
    process.send({ port: server.address.port, hashes, looks });
  });
  process.send({ port: server.address.port, hashes, looks });
`;

interface Counts {
  readonly port: number;
  readonly hashes: number;
  readonly looks: number;
}

/** Sends an order, and waits for the counts. */
function order(child: ChildProcess, text: string): Promise<Counts> {
  const answered = new Promise<Counts>((resolve) => child.once("message", resolve as never));
  child.send(text);
  return within(answered, text);
}

load("with four threads of libuv neither files nor the application stop the other", async () => {
  const file = path.join(folder, "program.mjs");
  const index = JSON.stringify(new URL(`file://${path.resolve("dist/index.js")}`).href);
  writeFileSync(file, PROGRAM.replace('"ringcast"', index));
  const child = spawn(process.execPath, [file, folder], {
    env: { ...process.env, UV_THREADPOOL_SIZE: "4" },
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const agent = new http.Agent({ keepAlive: true });
  try {
    const first = new Promise<Counts>((resolve) => child.once("message", resolve as never));
    const { port } = await within(first, "the program");
    // More downloads than threads, and the application's looks.
    const before = await order(child, "count");
    let isOver = false;
    const downloads = each(64, 32, async () => {
      assert.equal(await get(port, "/part.bin", agent), [4 * MIB, "x".repeat(12)]);
    }).finally(() => {
      isOver = true;
    });
    await until("looks during the downloads", async () => {
      const { looks } = await order(child, "count");
      return looks > before.looks + 3 || isOver;
    });
    assert.ok(!isOver, "the application makes progress before the downloads are over");
    await downloads;
    // The application uses all threads, twice as often as there are.
    await order(child, "hash");
    await until("hashes", async () => (await order(child, "count")).hashes > 4);
    await each(10, 10, async () => {
      assert.equal(await get(port, "/short.bin", agent), [MIB / 4, "x".repeat(12)]);
    });
    const { hashes } = await order(child, "count");
    await until("more hashes", async () => (await order(child, "count")).hashes > hashes);
    await order(child, "rest");
  } finally {
    agent.destroy();
    child.kill("SIGKILL");
  }
});

load.run();
