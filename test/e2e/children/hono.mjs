// A server of the Hono application, alone in its process. It reports its port. On each message it reports its peak
// memory since the one before.

import { serve } from "ringcast";

const handler = new URL("../handlers/hono.mjs", import.meta.url);
const server = await serve({ port: 0, handler });
let peak = 0;
const look = () => {
  peak = Math.max(peak, process.memoryUsage.rss());
};
setInterval(look, 5);
process.on("message", () => {
  look();
  process.send({ peak });
  peak = 0;
});
process.on("disconnect", () => process.exit());
process.send({ port: server.address.port });
