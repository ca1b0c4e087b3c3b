// Content of a flooded server: responses of any length, a large body, topics that clients name themselves.

import { health } from "../children/health.mjs";

const MiB = 1048576;

export default (server) => {
  let large;
  let refused = 0;
  const commands = {
    "+": (ws, topic) => ws.subscribe(topic),
    "-": (ws, topic) => ws.unsubscribe(topic),
  };
  return {
    request(req, res) {
      if (req.upgrade) return res.upgrade();
      switch (req.path) {
        case "/gc":
          globalThis.gc();
          return res.send(200);
        case "/large":
          large ??= server.body(new Uint8Array(16 * MiB), "application/octet-stream");
          return res.static(large);
        case "/health":
          return res.send(200, "application/json", JSON.stringify({ ...health(), refused }));
        default:
          return res.send(200, "text/plain", "x".repeat(Number(req.query)));
      }
    },
    message(ws, data) {
      if (typeof data !== "string") return;
      try {
        commands[data[0]]?.(ws, data.slice(1));
      } catch (error) {
        // A table is full: that is for the client to know.
        if (!(error instanceof RangeError)) throw error;
        refused++;
      }
    },
  };
};
