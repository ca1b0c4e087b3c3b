// An Express application with Ringcast beside it. Express keeps its port, its routes and its middleware; pages open
// their WebSockets at Ringcast's port, and a route publishes its messages to all of them.

import { fileURLToPath } from "node:url";
import express from "express";
import { serve } from "ringcast";

const { PORT = "3000", STREAM_PORT = "8080" } = process.env;
const latest = [];

const stream = await serve({
  port: Number(STREAM_PORT),
  // Pages of Express come from another port, which is another origin.
  origins: [`http://localhost:${PORT}`],
  handler: {
    request: (req, res) => (req.upgrade ? res.upgrade() : res.send(426)),
    // In one run: whatever comes after these is published to it, and nothing twice.
    open(ws) {
      for (const news of latest) ws.send(news);
      ws.subscribe("news");
    },
  },
});

const app = express();
app.use(express.json());
app.get("/", (_req, res) => void res.send(page(stream.address.port)));
app.get("/client.js", (_req, res) => {
  res.sendFile(fileURLToPath(import.meta.resolve("ringcast/client")));
});
app.post("/news", async (req, res) => {
  const news = JSON.stringify(req.body);
  // False: the inbox is full, nothing was sent. There is room again when most of it has been drained.
  while (!stream.publish("news", news)) await stream.ready();
  latest.push(news);
  if (latest.length > 10) latest.shift();
  res.sendStatus(202);
});

const web = app.listen(Number(PORT), "127.0.0.1", (error) => {
  if (error) throw error;
  console.log(`http://localhost:${PORT}`);
});

process.once("SIGTERM", async () => {
  web.close();
  await stream.shutdown();
});

function page(port) {
  return `<!doctype html>
<link rel="icon" href="data:,">
<title>News</title>
<ol></ol>
<script type="module">
  import { connect } from "/client.js";
  const list = document.querySelector("ol");
  connect(\`ws://\${location.hostname}:${port}/\`, {
    onBack: () => list.replaceChildren(), // the latest follow
    onMessage(news) {
      const item = document.createElement("li");
      item.textContent = JSON.parse(news).text;
      list.append(item);
    },
  });
</script>`;
}
