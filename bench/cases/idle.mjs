// The memory of an idle WebSocket.

import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { figure, KILOBYTES } from "../figures.mjs";
import { Pair } from "../pair.mjs";
import { server } from "../servers.mjs";
import { memoryOf } from "../usage.mjs";

const FIRST = 500; // pay for what is there once
const CLIENTS = 5000;
const DESCRIPTORS = FIRST + CLIENTS + 100;
const REST_MILLIS = 500;

/** Checks the limit of descriptors. @throws {Error} when it is too low for the case's clients */
function need() {
  let limits = "";
  try {
    limits = readFileSync("/proc/self/limits", "utf8");
  } catch {
    return; // no Linux: connecting will tell
  }
  const most = Number(/^Max open files +\d+ +(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
  if (most < DESCRIPTORS) {
    throw new Error(`idle: a process may have ${most} descriptors; do: ulimit -n ${DESCRIPTORS}`);
  }
}

/** @type {import("../contest.mjs").Case} */
export default {
  name: "idle",
  title: `resident memory of one of ${CLIENTS} idle WebSockets`,
  need,
  variants: [
    {
      name: `${CLIENTS} idle`,
      targets: [
        { row: "ringcast", key: "bytesEach", atMost: 2300 },
        { row: "ringcast", key: "slotBytes", atMost: 256 },
      ],
    },
  ],
  servers: () => [
    ...["ws", "uws", "bun", "deno", "ringcast"].map((name) => server(name)),
    server("ringcast", { transport: "sockets" }, "ringcast, sockets"),
  ],
  async open(row, _, smoke) {
    const count = smoke ? 50 : CLIENTS;
    const run = async () => {
      const pair = await Pair.open(row, smoke ? 10 : FIRST);
      await pause(smoke ? 0 : REST_MILLIS);
      const before = memoryOf(pair.pid).now;
      await pair.connect(count);
      await pause(smoke ? 0 : REST_MILLIS);
      const after = memoryOf(pair.pid).now;
      await pair.publish({ n: 1, size: 64, batch: 1 }); // all are there, and get it
      const { slotBytes = Number.NaN } = row.name === "ringcast" ? await pair.measure({}) : {};
      await pair.close();
      return { bytesEach: (after - before) / count, slotBytes };
    };
    return { run, close: async () => {} };
  },
  figures: [KILOBYTES, figure("slotBytes", "engine B", String)],
};
