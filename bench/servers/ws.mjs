// node:http and ws: one Buffer for each message and `send` for each client, as ws's README has it. `corked` also corks
// the clients' sockets for the turn: faster, but `_socket` is not in ws's interface. `limit` ends clients whose lag
// exceeds it (bytes), as an application would have to.

import { once } from "node:events";
import { createServer } from "node:http";
import { control, peer } from "./control.mjs";
import { pacer, publish } from "./publish.mjs";

const BINARY = { binary: true };
/** Each message alone, which costs a client no window; all messages, whatever their length. */
const DEFLATE = { serverNoContextTakeover: true, clientNoContextTakeover: true, threshold: 0 };

/** Sends a response. @param {import("node:http").ServerResponse} response @param {string} body */
function answer(response, body) {
  response.writeHead(200, { "Content-Type": "text/plain", "Content-Length": body.length });
  response.end(body);
}

/** Serves a request. @type {import("node:http").RequestListener} */
function request(incoming, response) {
  if (incoming.method !== "POST") return answer(response, "hello\n");
  let bytes = 0;
  incoming.on("data", (piece) => {
    bytes += piece.length;
  });
  incoming.on("end", () => answer(response, `${bytes}\n`));
}

await control(async (settings) => {
  const { corked, compress = false, limit = Number.POSITIVE_INFINITY } = settings;
  const { WebSocketServer } = await peer(() => import("ws"));
  const http = createServer(request);
  const server = new WebSocketServer({ server: http, perMessageDeflate: compress && DEFLATE });
  await once(http.listen(0, "127.0.0.1"), "listening");
  const { clients } = server;

  /** Sockets that are corked until the end of the turn. */
  const held = new Set();
  const uncork = () => {
    for (const socket of held) socket.uncork();
    held.clear();
  };
  const cork = (client) => {
    if (!corked || held.has(client._socket)) return;
    if (held.size === 0) setImmediate(uncork);
    client._socket.cork();
    held.add(client._socket);
  };

  server.on("connection", (client) => {
    client.on("message", (data) => {
      cork(client);
      client.send(data, BINARY);
    });
  });
  const stage = (message) => {
    const kept = Buffer.from(message); // ws keeps what it is given until it is written
    for (const client of clients) {
      cork(client);
      client.send(kept, BINARY);
      if (client.bufferedAmount > limit) client.terminate();
    }
    return true;
  };
  const behind = pacer(settings, clients, (client) => client.bufferedAmount);
  const sink = { stage, flush: uncork, behind };
  return { port: http.address().port, publish: (job) => publish(job, sink) };
});
