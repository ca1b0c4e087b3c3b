// The memory cost of clients that never read, while others receive everything.

import { BUSY, LOAD, MEGABYTES, RATE_MEGABYTES } from "../figures.mjs";
import { Pair } from "../pair.mjs";
import { server } from "../servers.mjs";
import { memoryOf, resetPeak } from "../usage.mjs";

const CLIENTS = 30;
const STALLED = 20;
const SIZE = 16_384;
const MESSAGES = Math.ceil(400e6 / SIZE);
const BATCH = 8;
const BEHIND_MAX = 1 << 20;
const LIMIT = 16 << 20; // most bytes that a client may lag: Ringcast's ring, and the limit of servers that have one
const INBOX = 8 << 20;
const SPARE = 16e6;
// All readers share one core: one that had no turn there for a while is not to be taken for one that does not read.
const SLOW_GRACE = 1000;

/** @type {import("../contest.mjs").Case} */
export default {
  name: "stalled",
  title:
    `400 MB published to ${CLIENTS} clients, ${STALLED} of which never read: ` +
    "most resident memory, over that at start",
  variants: [
    {
      name: `${STALLED} of ${CLIENTS}`,
      targets: ["ringcast", "ringcast-app"].map((row) => {
        return { row, key: "peakBytes", atMost: LIMIT + INBOX + SPARE };
      }),
    },
  ],
  servers() {
    const readers = CLIENTS - STALLED;
    const limited = ["uws", "bun"].map((name) => server(name, { readers, limit: LIMIT }));
    const own = ["ringcast", "ringcast-app"].map((name) =>
      server(name, { readers, ring: LIMIT, inbox: INBOX, slowGrace: SLOW_GRACE }),
    );
    const ended = server("ws", { readers, limit: LIMIT }, "ws, ended at 16 MiB");
    return [server("ws", { readers }), ended, ...limited, ...own];
  },
  async open(row, _, smoke) {
    const n = smoke ? 50 : MESSAGES;
    const run = async () => {
      const pair = await Pair.open(row, CLIENTS, { stalled: STALLED });
      const { now } = memoryOf(pair.pid);
      resetPeak(pair.pid);
      const figures = await pair.publish({ n, size: SIZE, batch: BATCH, behindMax: BEHIND_MAX });
      const { peak } = memoryOf(pair.pid);
      await pair.close();
      return { ...figures, bytesPerSecond: figures.rate * SIZE, peakBytes: peak - now };
    };
    return { run, close: async () => {} };
  },
  figures: [MEGABYTES, RATE_MEGABYTES, BUSY, LOAD],
};
