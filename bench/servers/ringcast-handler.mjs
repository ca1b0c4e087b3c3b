// Ringcast's handler, in its worker: it upgrades, and runs a burst for GET /burst?n=&size=&batch=.

import { burst } from "./burst.mjs";

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
  const stage = (message) => server.broadcast(message);

  return {
    async request(req, res) {
      if (req.upgrade) return res.upgrade();
      if (req.path !== "/burst") return res.send(404, "text/plain", "not found\n");
      const query = new URLSearchParams(req.query);
      const [n, size, batch] = ["n", "size", "batch"].map((name) => Number(query.get(name)));
      const waits = await burst({ n, size, batch }, { stage, behind });
      return res.send(200, "text/plain", `done ${waits}`);
    },
  };
};
