// ws: one Buffer for each message and `send` for each client, as its README has it. `ws.mjs corked`
// also corks the clients' sockets for the turn: faster, but `_socket` is not in ws's interface.

import { once } from "node:events";
import { burst } from "./burst.mjs";
import { control, most, peer } from "./control.mjs";

const BINARY = { binary: true };

await control(async () => {
  const { WebSocketServer } = await peer(() => import("ws"));
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false });
  await once(server, "listening");
  const { clients } = server;

  const stage = (message) => {
    const kept = Buffer.from(message); // ws keeps what it is given until it is written
    for (const client of clients) client.send(kept, BINARY);
    return true;
  };

  let isCorked = false;
  const stageCorked = (message) => {
    if (!isCorked) for (const client of clients) client._socket.cork();
    isCorked = true;
    return stage(message);
  };
  const uncork = () => {
    for (const client of clients) client._socket.uncork();
    isCorked = false;
  };

  const behind = () => most(clients, (client) => client.bufferedAmount);
  const sink =
    process.argv[2] === "corked"
      ? { stage: stageCorked, flush: uncork, behind }
      : { stage, behind };
  return { port: server.address().port, burst: (job) => burst(job, sink) };
});
