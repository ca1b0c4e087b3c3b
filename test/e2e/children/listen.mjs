// An application with the listeners of its first message. It responds with its addresses, and ends with its parent.

import { serve } from "ringcast";

const handler = {
  request: (req, res) =>
    req.upgrade ? res.upgrade({ data: req.secure }) : res.json({ secure: req.secure }),
  message: (ws) => ws.send(`${ws.data}`),
};
let server;

process.on("disconnect", () => process.exit());
process.on("message", async (listen) => {
  if (server) {
    server.broadcast("to all");
    return;
  }
  server = await serve({ listen, handler });
  process.send(server.addresses);
});
