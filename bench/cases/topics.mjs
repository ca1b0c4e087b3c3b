// One message to each of 1,000 topics in a turn, ten subscribers each, against a broadcast of as many messages
// to each client in as many turns.

import { APP_NANOS, BUSY, LOAD, MILLIONS, SERVER_NANOS, WAITS } from "../figures.mjs";
import { Pair } from "../pair.mjs";
import { server } from "../servers.mjs";
import { setClients } from "../servers/groups.mjs";

const SIZE = 64;
const ROUND_MILLIS = 500;

/** @type {import("../contest.mjs").Case} */
export default {
  name: "topics",
  title: `a message of ${SIZE} B to each of 1,000 topics in a turn, ten subscribers each: deliveries`,
  variants: [
    { name: "1,000 clients", clients: 1000 },
    {
      name: "200 clients",
      clients: 200,
      targets: [{ row: "ringcast", key: "rate", peer: "broadcast", atLeast: 0.8 }],
    },
  ],
  servers({ clients: grouped }) {
    return [
      server("uws", { grouped }),
      server("ringcast", {}, "broadcast"),
      server("ringcast", { grouped }),
      server("ringcast-app", { grouped }),
    ];
  },
  async open(row, { clients }, smoke) {
    const batch = setClients(clients);
    const pair = await Pair.open(row, clients);
    const n = smoke ? 2 * batch : await pair.fit({ size: SIZE, batch }, ROUND_MILLIS);
    const run = () => pair.publish({ n, size: SIZE, batch });
    return { run, close: () => pair.close() };
  },
  figures: [MILLIONS, SERVER_NANOS, APP_NANOS, BUSY, LOAD, WAITS],
};
