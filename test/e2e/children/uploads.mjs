// A server that takes uploads, and watches the memory of its process. It reports its port; on "start" its memory, on
// "stop" the peak since.

import { serve } from "ringcast";

const server = await serve({
  port: 0,
  handler: new URL("../handlers/upload.mjs", import.meta.url),
});
let peak = 0;
const look = () => {
  peak = Math.max(peak, process.memoryUsage.rss());
};
process.on("message", (message) => {
  if (message === "start") {
    peak = 0;
    setInterval(look, 5);
  }
  look();
  process.send(peak);
});
process.on("disconnect", () => process.exit());
process.send(server.address.port);
