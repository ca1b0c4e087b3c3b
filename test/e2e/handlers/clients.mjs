// For clients of every kind: an empty page, bodies both ways, and WebSockets that receive the hash of each message,
// then the message itself.

import { createHash } from "node:crypto";

const PAGE = '<!doctype html><link rel="icon" href="data:,"><title>clients</title>';

export default {
  request(req, res) {
    if (req.upgrade) return res.upgrade();
    switch (req.path) {
      case "/":
        return res.send(200, "text/html", PAGE);
      case "/echo":
        return res.send(200, req.header("content-type"), req.body);
      case "/size":
        return res.send(200, "application/octet-stream", new Uint8Array(Number(req.query)).fill(7));
      default:
        return res.send(404);
    }
  },
  message(ws, data) {
    ws.send(createHash("sha256").update(data).digest("hex"));
    if (!ws.send(data)) throw new Error("an echo was not queued");
  },
};
