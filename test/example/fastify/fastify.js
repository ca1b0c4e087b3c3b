// A Fastify application with Ringcast beside it, by the plugin of fastify-ringcast.js.

import { readFile } from "node:fs/promises";
import Fastify from "fastify";
import { ringcast } from "./fastify-ringcast.js";

const { PORT = "3000", STREAM_PORT = "8080" } = process.env;
const client = await readFile(new URL(import.meta.resolve("ringcast/client")));

const app = Fastify();

await app.register(ringcast, {
  port: Number(STREAM_PORT),
  origins: [`http://localhost:${PORT}`],
  handler: {
    request: (req, res) => (req.upgrade ? res.upgrade() : res.send(426)),
    open: (ws) => ws.subscribe("prices"),
  },
});

app.get("/", (_request, reply) => reply.type("text/html").send(page(app.stream.address.port)));
app.get("/client.js", (_request, reply) => reply.type("text/javascript").send(client));

const body = { type: "object", required: ["price"], properties: { price: { type: "number" } } };
app.put("/price", { schema: { body } }, async (request, reply) => {
  const price = JSON.stringify(request.body);
  while (!app.stream.publish("prices", price)) await app.stream.ready();
  return reply.code(202).send({ listeners: await app.stream.subscriberCount("prices") });
});

await app.listen({ port: Number(PORT), host: "127.0.0.1" });
console.log(`http://localhost:${PORT}`);
process.once("SIGTERM", () => app.close());

function page(port) {
  return `<!doctype html>
<link rel="icon" href="data:,">
<title>Price</title>
<output>no price yet</output>
<script type="module">
  import { connect } from "/client.js";
  const output = document.querySelector("output");
  connect(\`ws://\${location.hostname}:${port}/\`, {
    onMessage: (price) => void (output.value = JSON.parse(price).price),
  });
</script>`;
}
