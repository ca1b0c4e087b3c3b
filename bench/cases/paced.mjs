// The same messages to many clients at a steady rate: the server's cost of a delivery, and its latency.

import { APP_MICROS, BUSY, LOAD, P50, P99, P999, SERVER_MICROS } from "../figures.mjs";
import { Pair } from "../pair.mjs";
import { server } from "../servers.mjs";

const SIZE = 200;
const CLIENTS = 1000;
const ROUND_SECONDS = 2;

/** @type {import("../contest.mjs").Case} */
export default {
  name: "paced",
  title: `broadcasts of ${SIZE} B to ${CLIENTS} clients at a pace: CPU time and latency of a delivery`,
  variants: [
    {
      name: "100/s",
      perSecond: 100,
      batch: 1,
      options: {},
      targets: [
        { row: "ringcast", key: "serverNanos", peer: "uws", atMost: 1 },
        { row: "ringcast", key: "p99", peer: "uws", atMost: 1 },
      ],
    },
    {
      name: "1,000/s",
      perSecond: 1000,
      batch: 10,
      options: { flushInterval: 10 },
      targets: [{ row: "ringcast", key: "serverNanos", peer: "uws", atMost: 0.8 }],
    },
  ],
  servers({ batch, options }) {
    // ws takes a tenth of 1,000 messages a second; uWebSockets.js and Bun are late, and then send what has
    // gathered: they are measured as they are, and with as many at once as Ringcast's interval gathers.
    const peers = (batch === 1 ? ["ws", "uws", "bun"] : ["uws", "bun"]).map((name) => server(name));
    const gathered = batch === 1 ? [] : [{ ...server("uws", {}, `uws, ${batch} at once`), batch }];
    const own = ["ringcast", "ringcast-app"].map((name) => server(name, options));
    return [...peers, ...gathered, ...own];
  },
  async open(row, { perSecond }, smoke) {
    const pair = await Pair.open(row, smoke ? 20 : CLIENTS);
    const { batch = 1 } = row;
    const seconds = smoke ? 0.05 : ROUND_SECONDS;
    const run = () => pair.publish({ n: seconds * perSecond, size: SIZE, batch, perSecond });
    await run();
    return { run, close: () => pair.close() };
  },
  figures: [SERVER_MICROS, APP_MICROS, P50, P99, P999, BUSY, LOAD],
};
