// The cost of serving for the application: CPU time of its thread, and how late its event loop is.

import { APP_BUSY, BUSY, figure, LOAD } from "../figures.mjs";
import { Pair } from "../pair.mjs";
import { server } from "../servers.mjs";

const SIZE = 200;
const CLIENTS = 1000;
const PER_SECOND = 100;
const ROUND_SECONDS = 2;
/** The application's timer and its loop as they are, but nothing is sent. */
const NOTHING = "its timer alone";
const CORES = "0-1"; // the application's thread and Ringcast's worker, as they would be

/** @type {import("../contest.mjs").Case} */
export default {
  name: "application",
  title: `the application's thread while ${CLIENTS} clients get ${PER_SECOND} messages a second`,
  variants: [
    {
      name: `${CLIENTS} x ${PER_SECOND}/s`,
      targets: [
        { row: "ringcast-app", key: "appShare", peer: NOTHING, isBeyond: true, atMost: 0.004 },
        { row: "ringcast-app", key: "delay", peer: NOTHING, atMost: 2 },
      ],
    },
  ],
  servers: () => [
    server("ws"),
    server("uws"),
    server("ringcast-app", { mute: true }, NOTHING),
    server("ringcast-app"),
  ],
  async open(row, _, smoke) {
    const pair = await Pair.open(row, smoke ? 20 : CLIENTS, { cores: CORES });
    const seconds = smoke ? 0.1 : ROUND_SECONDS;
    const job = { n: seconds * PER_SECOND, size: SIZE, batch: 1, perSecond: PER_SECOND };
    const run = async () => {
      await pair.delays();
      const figures = await (row.name === NOTHING ? pair.pretend(job) : pair.publish(job));
      return { ...figures, delay: await pair.delays() };
    };
    await run();
    return { run, close: () => pair.close() };
  },
  figures: [APP_BUSY, figure("delay", "delay p99 ms", (ms) => ms.toFixed(2)), BUSY, LOAD],
};
