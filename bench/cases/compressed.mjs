// Compressed broadcasts: JSON to clients that take permessage-deflate.

import { APP_MICROS, BUSY, LOAD, SERVER_MICROS, THOUSANDS, WAITS } from "../figures.mjs";
import { Pair } from "../pair.mjs";
import { server } from "../servers.mjs";

const SIZE = 1024;
const CLIENTS = 200;
const BATCH = 8;
const ROUND_MILLIS = 500;

/** @type {import("../contest.mjs").Case} */
export default {
  name: "compressed",
  title: `compressed broadcasts of 1 KiB of JSON, ${BATCH} a turn, as fast as ${CLIENTS} clients take them`,
  variants: [
    {
      name: `${CLIENTS} x 1 KiB`,
      targets: [{ row: "ringcast", key: "rate", peer: "ws", atLeast: 20 }],
    },
  ],
  servers() {
    const peers = ["ws", "ws-corked", "uws", "bun"].map((name) => server(name, { compress: true }));
    const own = ["ringcast", "ringcast-app"];
    return [...peers, ...own.map((name) => server(name, { perMessageDeflate: true }))];
  },
  async open(row, _, smoke) {
    const job = { size: SIZE, batch: BATCH, json: true };
    const pair = await Pair.open(row, smoke ? 10 : CLIENTS, { kind: "deflated" });
    const n = smoke ? 2 * BATCH : await pair.fit(job, ROUND_MILLIS);
    return { run: () => pair.publish({ ...job, n }), close: () => pair.close() };
  },
  figures: [THOUSANDS, SERVER_MICROS, APP_MICROS, BUSY, LOAD, WAITS],
};
