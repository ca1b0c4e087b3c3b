// The chat of before.js with Ringcast, line by line.

import { serve } from "ringcast";

const { PORT = "8080", ORIGIN = `http://localhost:${PORT}`, HEARTBEAT = "30000" } = process.env;

const server = await serve({
  port: Number(PORT),
  origins: [ORIGIN],
  maxPayloadLength: 1024,
  idleTimeout: (2 * Number(HEARTBEAT)) / 1000, // pings at half of it
  handler: {
    async request(req, res) {
      if (!req.upgrade) {
        if (req.path !== "/") return res.send(404);
        return res.send(200, "text/plain", `${await server.count()} here\n`);
      }
      const name = new URLSearchParams(req.query).get("name");
      if (!name) return res.send(400);
      return res.upgrade({ data: { name, room: req.path } });
    },
    open(ws) {
      ws.subscribe(ws.data.room);
      ws.send(`welcome ${ws.data.name}`);
      tell(ws, `${ws.data.name} came`);
    },
    message(ws, data, isBinary) {
      if (isBinary) return tell(ws, data);
      if (data === "/quit") return ws.close(4000, "bye");
      tell(ws, `${ws.data.name}: ${data}`);
    },
    close: (ws, { code }) => tell(ws, `${ws.data.name} left (${code})`),
  },
});
console.log(`http://localhost:${server.address.port}`);

/** Sends to the others of a room. */
function tell(from, data) {
  server.publish(from.data.room, data, { except: from.id });
}

process.once("SIGTERM", () => server.shutdown());
