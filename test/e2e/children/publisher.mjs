// An application that publishes as fast as it may, and watches its memory. It reports its port. On { publish: { count,
// size } } it publishes and reports the result.

import { serve } from "ringcast";

const MiB = 1048576;
const evictions = [];
const server = await serve({
  port: 0,
  handler: new URL("../handlers/lifecycle.mjs", import.meta.url),
  ring: 16 * MiB,
  inbox: 8 * MiB,
  slowGrace: 2000,
  writeTimeout: 60000,
  onEvict: (some) => evictions.push(...some.map(({ cause }) => cause)),
});
process.send({ port: server.address.port });

process.on("message", async ({ publish: { count, size } }) => {
  const before = process.memoryUsage.rss();
  let peak = before;
  const look = () => {
    peak = Math.max(peak, process.memoryUsage.rss());
  };
  const timer = setInterval(look, 10);
  const message = new Uint8Array(size);
  const view = new DataView(message.buffer);
  let refused = 0;
  for (let i = 0; i < count; i++) {
    view.setUint32(0, i);
    message[size - 1] = i & 255;
    while (!server.broadcast(message)) {
      refused++;
      await server.ready();
      look();
    }
  }
  // The run has ended when all is published and the ring is empty.
  for (let stats = await server.stats(); ; stats = await server.stats()) {
    if (stats.framesPublished === count && stats.ring.used === 0) break;
    await new Promise((done) => setTimeout(done, 10));
  }
  look();
  clearInterval(timer);
  const { evicted, framesPublished, closed } = await server.stats();
  process.send({ before, peak, refused, evictions, evicted, framesPublished, closed });
});
process.on("disconnect", () => process.exit());
