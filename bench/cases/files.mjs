// Files of a folder over HTTP: a small one by wrk, and a large one by clients that count its bytes.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { download } from "../download.mjs";
import { BUSY, LOAD, P99, RATE_MEGABYTES, SERVER_MICROS, THOUSANDS, figure } from "../figures.mjs";
import { server, startServer } from "../servers.mjs";
import { needWrk, requests } from "../wrk.mjs";

const CONNECTIONS = 64;
const SMALL = "x".repeat(1024);
const LARGE_BYTES = 100e6;
/** Downloads at a time. */
const DOWNLOADS = 4;
const SEND = "ringcast, res.send";
const CPU = figure("kibNanos", "CPU ns/KiB", (nanos) => nanos.toFixed(0));

let folder = "";
/** Makes the folder of files, which is removed when the bench ends. */
function folderOfFiles() {
  if (folder !== "") return folder;
  folder = mkdtempSync(path.join(os.tmpdir(), "ringcast-bench-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(path.join(folder, "small.txt"), SMALL);
  writeFileSync(path.join(folder, "large.bin"), Buffer.alloc(LARGE_BYTES, "0123456789abcdef"));
  return folder;
}

/** @type {import("../contest.mjs").Case} */
export default {
  name: "files",
  title: "files of a folder: one of 1 KiB, which is cached, and one of 100 MB",
  need: needWrk,
  variants: [
    {
      name: "1 KiB",
      kinds: ["node:http", "fastify", "sirv", "bun", "ringcast"],
      targets: [
        { row: "ringcast", key: "rate", peer: SEND, atLeast: 0.9 },
        { row: "ringcast", key: "rate", peer: "fastify", atLeast: 1.5 },
        { row: "ringcast", key: "rate", peer: "sirv", atLeast: 1.5 },
      ],
    },
    {
      name: "100 MB",
      isLarge: true,
      kinds: ["node:http", "fastify", "sirv", "bun", "ringcast"],
    },
  ],
  servers({ kinds, isLarge = false }) {
    const settings = { folder: folderOfFiles() };
    const rows = kinds.map((kind) =>
      server(kind === "bun" ? "bun-files" : "files", { ...settings, kind }, kind),
    );
    return isLarge
      ? rows
      : [...rows, server("files", { ...settings, kind: "ringcast-send" }, SEND)];
  },
  async open(row, { isLarge = false }, smoke) {
    const running = await startServer(row);
    const close = () => running.child.kill();
    if (isLarge) {
      const job = { path: "/large.bin", bytes: LARGE_BYTES, connections: smoke ? 1 : DOWNLOADS };
      const run = () => download(running, job);
      if (!smoke) await run(); // warm
      return { run, close };
    }
    const job = { connections: CONNECTIONS, depth: 1, bodyBytes: 0, seconds: 1 };
    const run = async () => {
      const figures = await requests(running, { ...job, path: "/small.txt", expected: SMALL });
      return {
        ...figures,
        bytesPerSecond: figures.rate * SMALL.length,
        kibNanos: figures.serverNanos,
      };
    };
    if (!smoke) await run(); // warm
    return { run, close };
  },
  figures: [THOUSANDS, SERVER_MICROS, CPU, RATE_MEGABYTES, P99, BUSY, LOAD],
};
