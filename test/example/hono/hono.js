// Ringcast in front, with an application of Hono's: one port, one origin, and routes that open WebSockets.

import { readFile } from "node:fs/promises";
import { Hono } from "hono";
import { serve } from "ringcast";
import { fetchHandler } from "ringcast/fetch";

const { PORT = "8080" } = process.env;
const client = await readFile(new URL(import.meta.resolve("ringcast/client")));

const app = new Hono();
app.get("/", (c) => c.html(page));
app.get("/client.js", (c) => c.body(client, 200, { "Content-Type": "text/javascript" }));
app.get("/rooms/:room", (c) => c.env.upgrade({ data: c.req.param("room") }));
app.post("/rooms/:room", async (c) => {
  const { room } = c.req.param();
  const text = await c.req.text();
  while (!server.publish(room, text)) await server.ready();
  return c.json({ listeners: await server.subscriberCount(room) }, 202);
});

const server = await serve({
  port: Number(PORT),
  handler: fetchHandler(app.fetch, { open: (ws) => ws.subscribe(ws.data) }),
});
console.log(`http://localhost:${server.address.port}`);
process.once("SIGTERM", () => server.shutdown());

const page = `<!doctype html>
<link rel="icon" href="data:,">
<title>Lobby</title>
<ol></ol>
<script type="module">
  import { connect } from "/client.js";
  connect("/rooms/lobby", {
    onMessage(text) {
      const item = document.createElement("li");
      item.textContent = text;
      document.querySelector("ol").append(item);
    },
  });
</script>`;
