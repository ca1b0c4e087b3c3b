// Broadcasts from the application's thread, as fast as clients take them, every server with the number of
// messages a turn that suits it best.

import { APP_NANOS, BUSY, figure, LOAD, MILLIONS, SERVER_NANOS } from "../figures.mjs";
import { Pair } from "../pair.mjs";
import { server } from "../servers.mjs";

const SIZE = 64;
const CLIENTS = 200;
const BATCHES = [1, 32, 128, 512, 2048];
const ROUND_MILLIS = 500;
const TRIAL_MILLIS = 200;
const TURN_SECONDS_MAX = 1;
const ROWS = ["ws", "ws-corked", "uws", "bun", "deno", "ringcast-app"];

/**
 * Tries the batches, but for those of which a turn would take too long; returns the one with the most messages a
 * second.
 * @param {Pair} pair
 */
async function bestBatch(pair) {
  let best = { batch: 0, rate: 0 };
  for (const batch of BATCHES) {
    if (batch * CLIENTS > best.rate * TURN_SECONDS_MAX && best.rate > 0) break;
    const n = await pair.fit({ size: SIZE, batch }, TRIAL_MILLIS);
    const { rate } = await pair.publish({ n, size: SIZE, batch });
    if (rate > best.rate) best = { batch, rate };
  }
  return best.batch;
}

/** @type {import("../contest.mjs").Case} */
export default {
  name: "saturated",
  title: `broadcasts of ${SIZE} B to ${CLIENTS} clients from the application's thread, each server at its best batch`,
  variants: [
    {
      name: `${CLIENTS} x ${SIZE} B`,
      targets: Object.entries({ uws: 5, bun: 5, ws: 100 }).map(([peer, atLeast]) => {
        return { row: "ringcast-app", key: "rate", peer, atLeast };
      }),
    },
  ],
  servers: () => ROWS.map((name) => server(name)),
  async open(row, _, smoke) {
    const pair = await Pair.open(row, smoke ? 10 : CLIENTS);
    const batch = smoke ? 32 : await bestBatch(pair);
    const n = smoke ? 64 : await pair.fit({ size: SIZE, batch }, ROUND_MILLIS);
    const run = async () => ({ ...(await pair.publish({ n, size: SIZE, batch })), batch });
    return { run, close: () => pair.close() };
  },
  figures: [MILLIONS, SERVER_NANOS, APP_NANOS, BUSY, LOAD, figure("batch", "batch", String)],
};
