// Deno's own server, on Deno: requests of Deno.serve, WebSockets of Deno.upgradeWebSocket, a message sent to
// each of them.

import { control } from "./control.mjs";
import { pacer, publish } from "./publish.mjs";

const HEADERS = { "Content-Type": "text/plain" };

/** @type {Set<WebSocket>} */
const clients = new Set();

function upgrade(request) {
  const { socket, response } = Deno.upgradeWebSocket(request, { idleTimeout: 0 });
  socket.binaryType = "arraybuffer";
  socket.onopen = () => clients.add(socket);
  socket.onclose = () => clients.delete(socket);
  socket.onmessage = ({ data }) => socket.send(data);
  return response;
}

async function handler(request) {
  if (request.method === "POST") {
    const { byteLength } = await request.arrayBuffer();
    return new Response(`${byteLength}\n`, { headers: HEADERS });
  }
  if (request.headers.get("upgrade") === "websocket") return upgrade(request);
  return new Response("hello\n", { headers: HEADERS });
}

await control(async (settings) => {
  // A client that goes while it sends is no news; a 500 is one for wrk, which counts it.
  const onError = () => new Response(null, { status: 500 });
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {}, onError }, handler);
  const stage = (message) => {
    const kept = new Uint8Array(message);
    for (const client of clients) client.send(kept);
    return true;
  };
  const behind = pacer(settings, clients, (client) => client.bufferedAmount);
  return { port: server.addr.port, publish: (job) => publish(job, { stage, behind }) };
});
