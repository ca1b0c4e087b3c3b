// A server that is flooded, in a process of its own: `flooded.mjs JSON of options`. It broadcasts the time every PACE
// ms to all clients. On "stats" it reports them, on "gc" it collects garbage, and on { firehose } it also publishes
// that many bytes a message to the topic "firehose".

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { health } from "./health.mjs";
import { PACE, stamped } from "./pace.mjs";

// Before the worker starts: it has a heap of its own. Its young generation is kept small: V8 lets it grow to 32 MB and
// shrinks it again as it likes, which would hide everything else in what is resident.
setFlagsFromString("--expose-gc");
setFlagsFromString("--max-semi-space-size=1");
const gc = runInNewContext("gc");
const { serve } = await import("ringcast");

const evicted = {};
const server = await serve({
  port: 0,
  handler: new URL("../handlers/floods.mjs", import.meta.url),
  ...JSON.parse(process.argv[2]),
  onEvict(evictions) {
    for (const { cause } of evictions) evicted[cause] = (evicted[cause] ?? 0) + 1;
  },
});
let published = 0;
let refused = 0;
let firehose;
setInterval(() => {
  if (server.broadcast(stamped(published))) published++;
  else refused++;
  if (firehose) server.publish("firehose", firehose);
}, PACE);

const orders = {
  async stats() {
    process.send({ ...(await server.stats()), published, refused, evictions: evicted });
  },
  health() {
    process.send(health());
  },
  gc() {
    gc();
    process.send("gc");
  },
  firehose({ bytes }) {
    firehose = bytes > 0 ? new Uint8Array(bytes) : undefined;
    process.send("firehose");
  },
};
process.on("message", ({ order, ...rest }) => orders[order](rest));
process.on("disconnect", () => process.exit());
process.send({ port: server.address.port });
