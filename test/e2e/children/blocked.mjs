// An application that blocks its thread: three servers, two with their handlers on this thread, one whose
// handler publishes from its worker. { block: ms } blocks.

import { serve } from "ringcast";

const seen = { messages: 0, bytes: 0 };

const own = await serve({
  port: 0,
  maxPendingBytes: 1048576,
  maxPendingRequests: 50,
  idleTimeout: 2,
  handler: {
    request: (req, res) => (req.upgrade ? res.upgrade() : res.send(200, "text/plain", "here\n")),
    message(ws, data) {
      seen.messages++;
      seen.bytes += data.length;
      if (data === "count") ws.send(`${seen.messages} ${seen.bytes}`);
    },
  },
});
const pinged = await serve({
  port: 0,
  maxPendingBytes: 1048576,
  handler: { request: (_, res) => res.upgrade(), ping() {}, pong() {} },
});
const other = await serve({ port: 0, handler: new URL("../handlers/ticker.mjs", import.meta.url) });

process.on("message", (message) => {
  if (message.block) {
    process.send("blocking");
    // Earlier messages leave first.
    setTimeout(() => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, message.block);
      process.send("back");
    }, 20);
  }
});

const ports = { own: own.address.port, pinged: pinged.address.port, other: other.address.port };
process.send({ ...ports, pid: process.pid });
