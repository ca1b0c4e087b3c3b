// Bun's own server, on Bun: requests and WebSockets of Bun.serve, publishing to a topic.

import { control, most } from "./control.mjs";
import { publish } from "./publish.mjs";

const PENDING_BYTES_MAX = 64 << 20; // never reached: past it Bun drops messages
const TOPIC = "all";
const HEADERS = { "Content-Type": "text/plain" };

async function fetch(request, server) {
  if (request.method === "POST") {
    const { byteLength } = await request.arrayBuffer();
    return new Response(`${byteLength}\n`, { headers: HEADERS });
  }
  if (request.headers.get("upgrade") === "websocket") {
    return server.upgrade(request) ? undefined : new Response("no WebSocket\n", { status: 400 });
  }
  return new Response("hello\n", { headers: HEADERS });
}

await control(async () => {
  const clients = new Set();
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch,
    websocket: {
      idleTimeout: 0,
      perMessageDeflate: false,
      backpressureLimit: PENDING_BYTES_MAX,
      message: (client, data) => client.send(data),
      open(client) {
        client.subscribe(TOPIC);
        clients.add(client);
      },
      close(client) {
        clients.delete(client);
      },
    },
  });
  const behind = () => most(clients, (client) => client.getBufferedAmount());
  const stage = (message) => server.publish(TOPIC, message) !== undefined;
  return { port: server.port, publish: (job) => publish(job, { stage, behind }) };
});
