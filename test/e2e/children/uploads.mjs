// A server that takes uploads, and watches the memory of its process. Says its port; told "start" it says the
// memory it has, told "stop" the most it has had since.

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
