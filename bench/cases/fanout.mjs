// The same messages to many clients, as fast as they take them.

import { APP_NANOS, BUSY, LOAD, MILLIONS, SERVER_NANOS, WAITS } from "../figures.mjs";
import { Pair } from "../pair.mjs";
import { server } from "../servers.mjs";

const ROUND_MILLIS = 500;
const ROWS = ["floor", "ws", "ws-corked", "uws", "bun", "deno", "ringcast", "ringcast-app"];

/** @param {number} clients @param {number} size bytes @param {number} batch messages a turn */
function variant(clients, size, batch, targets = []) {
  return { name: `${clients} x ${size} B, ${batch} a turn`, clients, size, batch, targets };
}

/** @param {[peer: string, atLeast: number][]} ratios */
function against(...ratios) {
  return ratios.map(([peer, atLeast]) => ({ row: "ringcast", key: "rate", peer, atLeast }));
}

/** @type {import("../contest.mjs").Case} */
export default {
  name: "fanout",
  title:
    "broadcasts as fast as clients take them: deliveries, by clients, message and messages a turn",
  variants: [
    variant(200, 64, 1, against(["uws", 1], ["ws", 1.7])),
    variant(200, 64, 32, against(["uws", 1.2])),
    variant(200, 64, 512),
    variant(10, 64, 128, against(["uws", 2.5])),
  ],
  servers: () => ROWS.map((name) => server(name)),
  async open(row, { clients, size, batch }, smoke) {
    const pair = await Pair.open(row, smoke ? 10 : clients);
    const n = smoke ? 2 * batch : await pair.fit(size, batch, ROUND_MILLIS);
    const run = () => pair.publish({ n, size, batch });
    return { run, close: () => pair.close() };
  },
  figures: [MILLIONS, SERVER_NANOS, APP_NANOS, BUSY, LOAD, WAITS],
};
