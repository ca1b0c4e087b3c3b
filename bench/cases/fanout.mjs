// The same messages to many clients, as fast as they take them.

import { APP_NANOS, BUSY, LOAD, MILLIONS, SERVER_NANOS, WAITS } from "../figures.mjs";
import { Pair } from "../pair.mjs";
import { server } from "../servers.mjs";

const ROUND_MILLIS = 400;
const ROWS = ["floor", "ws", "ws-corked", "uws", "bun", "deno", "ringcast", "ringcast-app"];
const FEW = ["floor", "uws", "bun", "ringcast", "ringcast-app"];
const SIZES = { "64 B": 64, "1 KiB": 1024, "64 KiB": 65_536 };

/** Returns the targets of a row, as ratios to peers. @param {Record<string, number>} ratios */
function atLeast(ratios) {
  return Object.entries(ratios).map(([peer, ratio]) => {
    return { row: "ringcast", key: "rate", peer, atLeast: ratio };
  });
}

/**
 * Returns a variant with its rows and targets.
 * @param {number} clients @param {keyof typeof SIZES} size @param {number} batch messages a turn
 * @param {string[]} rows @param {Record<string, number>} [ratios]
 */
function variant(clients, size, batch, rows, ratios = {}) {
  const name = `${clients} x ${size}, ${batch} a turn`;
  return { name, clients, size: SIZES[size], batch, rows, targets: atLeast(ratios) };
}

/** @type {import("../contest.mjs").Case} */
export default {
  name: "fanout",
  title: "broadcasts as fast as clients take them: deliveries a second",
  variants: [
    variant(200, "64 B", 1, ROWS, { uws: 33, ws: 1.7 }),
    variant(200, "64 B", 32, ROWS, { uws: 1.2 }),
    variant(200, "64 B", 128, FEW),
    variant(200, "64 B", 512, ROWS),
    variant(10, "64 B", 1, FEW),
    variant(10, "64 B", 32, FEW),
    variant(10, "64 B", 128, ROWS, { uws: 2.5 }),
    variant(1000, "64 B", 1, FEW),
    variant(1000, "64 B", 32, FEW),
    variant(10, "1 KiB", 32, FEW),
    variant(200, "1 KiB", 32, FEW),
    variant(1000, "1 KiB", 1, ROWS, { uws: 1 }),
    variant(1000, "1 KiB", 32, FEW),
    variant(10, "64 KiB", 1, FEW),
    variant(200, "64 KiB", 1, ROWS, { uws: 1 }),
    variant(1000, "64 KiB", 1, FEW),
  ],
  servers: ({ rows }) => rows.map((name) => server(name)),
  async open(row, { clients, size, batch }, smoke) {
    const pair = await Pair.open(row, smoke ? 10 : clients);
    const n = smoke ? 2 * batch : await pair.fit({ size, batch }, ROUND_MILLIS);
    const run = () => pair.publish({ n, size, batch });
    return { run, close: () => pair.close() };
  },
  figures: [MILLIONS, SERVER_NANOS, APP_NANOS, BUSY, LOAD, WAITS],
};
