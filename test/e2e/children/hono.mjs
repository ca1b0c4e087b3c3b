// A server of the Hono application, alone in its process. Says its port; told anything it says the most memory it has
// had since it was told so before.

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
