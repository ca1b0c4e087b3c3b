// Messages that come back: each client has a number of them on the way.

import { APP_NANOS, BUSY, LOAD, SERVER_NANOS, THOUSANDS } from "../figures.mjs";
import { Pair } from "../pair.mjs";
import { server } from "../servers.mjs";

const SIZE = 64;

/** @type {import("../contest.mjs").Case} */
export default {
  name: "echo",
  title: `WebSocket echo of ${SIZE} B: clients x messages of each on the way`,
  variants: [
    {
      name: "50x1",
      clients: 50,
      depth: 1,
      targets: [
        { row: "ringcast", key: "rate", peer: "uws", atLeast: 1 },
        { row: "ringcast", key: "rate", peer: "ws", atLeast: 2 },
      ],
    },
    {
      name: "8x16",
      clients: 8,
      depth: 16,
      targets: [
        { row: "ringcast", key: "rate", peer: "uws", atLeast: 1.5 },
        { row: "ringcast", key: "rate", peer: "ws", atLeast: 8 },
      ],
    },
  ],
  servers: () => ["ws", "ws-corked", "uws", "bun", "deno", "ringcast"].map((name) => server(name)),
  async open(row, { clients, depth }, smoke) {
    const pair = await Pair.open(row, clients);
    const run = () => pair.echo({ size: SIZE, depth, millis: smoke ? 50 : 1000 });
    await run();
    return { run, close: () => pair.close() };
  },
  figures: [THOUSANDS, SERVER_NANOS, APP_NANOS, BUSY, LOAD],
};
