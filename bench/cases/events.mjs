// The same JSON texts to many event streams, as fast as they take them, beside Ringcast's WebSockets.

import { APP_NANOS, BUSY, LOAD, MILLIONS, SERVER_NANOS, WAITS } from "../figures.mjs";
import { Pair } from "../pair.mjs";
import { server } from "../servers.mjs";

const ROUND_MILLIS = 400;
const CLIENTS = 200;
const SIZE = 64;
const EVENTS = "ringcast, events";

/** Returns a variant with its targets. @param {number} batch messages a turn @param {Record<string, number>} ratios */
function variant(batch, ratios) {
  const targets = Object.entries(ratios).map(([peer, ratio]) => {
    return { row: EVENTS, key: "rate", peer, atLeast: ratio };
  });
  return { name: `${CLIENTS} x ${SIZE} B, ${batch} a turn`, batch, targets };
}

/** @type {import("../contest.mjs").Case} */
export default {
  name: "events",
  title: "server-sent events as fast as clients take them, beside frames: deliveries a second",
  variants: [
    variant(1, { ringcast: 0.8, "node:http, events": 20, "fastify, events": 20 }),
    variant(32, { ringcast: 0.65, "node:http, events": 20, "fastify, events": 20 }),
  ],
  servers: () => [
    server("node:http-events", {}, "node:http, events"),
    server("fastify-events", {}, "fastify, events"),
    server("ringcast", { text: true }),
    server("ringcast", { text: true, events: true }, EVENTS),
  ],
  async open(row, { batch }, smoke) {
    const job = { size: SIZE, batch, json: true };
    const kind = row.name === "ringcast" ? "json" : "events";
    const pair = await Pair.open(row, smoke ? 10 : CLIENTS, { kind });
    const n = smoke ? 2 * batch : await pair.fit(job, ROUND_MILLIS);
    return { run: () => pair.publish({ ...job, n }), close: () => pair.close() };
  },
  figures: [MILLIONS, SERVER_NANOS, APP_NANOS, BUSY, LOAD, WAITS],
};
