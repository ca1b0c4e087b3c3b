// What serving costs the application: CPU time of its thread, and how late its event loop is.

import { setTimeout as pause } from "node:timers/promises";
import { APP_BUSY, BUSY, figure, LOAD } from "../figures.mjs";
import { Pair } from "../pair.mjs";
import { server } from "../servers.mjs";
import { cpuOf } from "../usage.mjs";

const SIZE = 200;
const CLIENTS = 1000;
const PER_SECOND = 100;
const ROUND_SECONDS = 2;
const NOTHING = "nothing sent";
const CORES = "0-1"; // the application's thread and Ringcast's worker, as they would be

/** @type {import("../contest.mjs").Case} */
export default {
  name: "application",
  title: `the application's thread while ${CLIENTS} clients get ${PER_SECOND} messages a second`,
  variants: [
    {
      name: `${CLIENTS} x ${PER_SECOND}/s`,
      targets: [
        { row: "ringcast-app", key: "appShare", atMost: 0.01 },
        { row: "ringcast-app", key: "delay", peer: NOTHING, atMost: 1.2 },
      ],
    },
  ],
  servers: () => [
    server("ws"),
    server("uws"),
    server("ringcast-app", {}, NOTHING),
    server("ringcast-app"),
  ],
  async open(row, _, smoke) {
    const pair = await Pair.open(row, smoke ? 20 : CLIENTS, { cores: CORES });
    const seconds = smoke ? 0.1 : ROUND_SECONDS;
    const job = { n: seconds * PER_SECOND, size: SIZE, batch: 1, perSecond: PER_SECOND };
    const rest = async () => {
      const before = cpuOf(pair.pid);
      await pause(seconds * 1000);
      const after = cpuOf(pair.pid);
      const share = (key) => (after[key] - before[key]) / (seconds * 1e6);
      return { appShare: share("main"), serverShare: share("all") };
    };
    const run = async () => {
      await pair.delays();
      const figures = await (row.name === NOTHING ? rest() : pair.publish(job));
      return { ...figures, delay: await pair.delays() };
    };
    await run();
    return { run, close: () => pair.close() };
  },
  figures: [APP_BUSY, figure("delay", "delay p99 ms", (ms) => ms.toFixed(2)), BUSY, LOAD],
};
