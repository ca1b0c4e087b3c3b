// The latency of broadcasts while other clients download a file as fast as they can.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { Child } from "../child.mjs";
import { P50, P99, RATE_MEGABYTES, SERVER_MICROS } from "../figures.mjs";
import { Pair } from "../pair.mjs";
import { LOAD_CORE, START_LIMIT, server } from "../servers.mjs";

const CLIENTS = 100;
const DOWNLOADS = 20;
const SIZE = 200;
const PER_SECOND = 100;
const ROUND_SECONDS = 2;
const FILE_BYTES = 64 << 20;

/** @type {string | undefined} */
let folder;

/** Returns a folder with a large file, which is removed at the end. */
function files() {
  if (folder) return folder;
  const made = mkdtempSync(path.join(os.tmpdir(), "ringcast-bench-"));
  process.once("exit", () => rmSync(made, { recursive: true, force: true }));
  writeFileSync(path.join(made, "large.bin"), Buffer.alloc(FILE_BYTES, "x"));
  folder = made;
  return made;
}

const LOADED = `ringcast, ${DOWNLOADS} downloads`;

/** @type {import("../contest.mjs").Case} */
export default {
  name: "downloads",
  title:
    `broadcasts of ${SIZE} B to ${CLIENTS} clients, ${PER_SECOND} a second, ` +
    `beside ${DOWNLOADS} clients that download as fast as they can`,
  variants: [
    { name: "files", targets: [{ row: LOADED, key: "p99", peer: "ringcast", atMost: 2 }] },
  ],
  servers() {
    const options = { mounts: [{ path: "/files", files: files() }] };
    return [server("ringcast", options), server("ringcast", options, LOADED)];
  },
  async open(row, _, smoke) {
    const pair = await Pair.open(row, smoke ? 20 : CLIENTS);
    const isLoaded = row.name === LOADED;
    const child = new Child(`downloads of ${row.name}`, LOAD_CORE, "downloads.mjs", []);
    os.setPriority(child.pid, os.constants.priority.PRIORITY_LOW);
    const job = { size: SIZE, batch: 1, perSecond: PER_SECOND };
    const n = smoke ? 5 : ROUND_SECONDS * PER_SECOND;
    const begin = { type: "begin", port: pair.port, path: "/files/large.bin", count: DOWNLOADS };
    const run = async () => {
      if (isLoaded) await child.ask(begin, "begun", START_LIMIT);
      const from = performance.now();
      const figures = await pair.publish({ ...job, n });
      const seconds = (performance.now() - from) / 1000;
      if (!isLoaded) return { ...figures, bytesPerSecond: 0 };
      const { bytes } = await child.ask({ type: "end" }, "ended", START_LIMIT);
      return { ...figures, bytesPerSecond: bytes / seconds };
    };
    const close = async () => {
      await child.kill();
      await pair.close();
    };
    await run();
    return { run, close };
  },
  figures: [P99, P50, RATE_MEGABYTES, SERVER_MICROS],
};
