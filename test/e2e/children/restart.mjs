// An application on a listening socket that it was given: `restart.mjs NAME`. It serves and shuts down on request, and
// exits by itself then.

import { serve } from "ringcast";

const [name] = process.argv.slice(2);
const handler = {
  request: (req, res) => (req.upgrade ? res.upgrade() : res.send(200, "text/plain", name)),
  open: (ws) => ws.send(name),
};
let server;

process.on("disconnect", () => setTimeout(() => process.exit(1), 5000).unref());
process.on("message", async ({ order, options }) => {
  if (order === "serve") {
    server = await serve({ fd: 4, handler, ...options });
    process.send(server.address);
  } else {
    await server.shutdown(options);
    process.disconnect();
  }
});
