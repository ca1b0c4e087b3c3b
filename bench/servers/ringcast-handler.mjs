// Ringcast's handler, in its worker: it upgrades, and runs a burst for GET /burst?n=&size=&batch=&topics=.

import { burst } from "./burst.mjs";
import { setClients, toGroups, topicsOf } from "./groups.mjs";

const clients = Number(new URL(import.meta.url).searchParams.get("clients"));
if (clients > 0) setClients(clients);

/** @typedef {import("../../host/handler.ts").HandlerServer} HandlerServer */
/** @typedef {import("../../host/handler.ts").Handler} Handler */

/** @type {(server: HandlerServer) => Handler} */
export default (server) => {
  const behind = () => {
    let most = 0;
    server.each((client) => {
      most = Math.max(most, client.lag.bytes);
    });
    return most;
  };
  const broadcast = (message) => server.broadcast(message);
  const publish = (message) => toGroups(message, (topic, data) => server.publish(topic, data));

  return {
    open(client) {
      for (const topic of topicsOf(server.count() - 1)) client.subscribe(topic);
    },
    async request(req, res) {
      if (req.upgrade) return res.upgrade();
      if (req.path !== "/burst") return res.send(404, "text/plain", "not found\n");
      const query = new URLSearchParams(req.query);
      const [n, size, batch] = ["n", "size", "batch"].map((name) => Number(query.get(name)));
      const stage = query.get("topics") === "1" ? publish : broadcast;
      const waits = await burst({ n, size, batch }, { stage, behind });
      return res.send(200, "text/plain", `done ${waits}`);
    },
  };
};
