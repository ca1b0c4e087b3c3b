// Error responses of every kind, each at a path of its own.

import { readFileSync } from "node:fs";

const ways = {
  "/empty": (_req, res) => res.send(404),
  "/empty/503": (_req, res) => res.header("Retry-After", 7).send(503),
  "/empty/418": (_req, res) => res.send(418),
  "/empty/200": (_req, res) => res.send(200),
  "/zero": (_req, res) => res.header("Content-Length", 0).send(404),
  "/close": (_req, res) => res.close().send(404),
  "/fields": (_req, res) => res.header("X-A", "1").header("X-B", "2").send(404),
  "/text": (_req, res) => res.send(404, "text/plain", "mine"),
  "/bytes": (_req, res) => res.send(404, "", new Uint8Array([109, 105, 110, 101])),
  "/typed": (_req, res) => res.send(404, "text/plain"),
  "/typed/field": (_req, res) => res.header("content-TYPE", "text/plain").send(404),
  "/coded": (_req, res) => res.header("Content-Encoding", "gzip").send(404),
  "/begin": (_req, res) => {
    res.begin(404);
    return res.end();
  },
  "/later": async (_req, res) => {
    await new Promise((resolve) => setTimeout(resolve, 1));
    res.send(404);
  },
  "/throw": () => {
    throw new Error("thrown");
  },
  "/json": (req, res) => res.json(req.json()),
};

export default (server) => {
  const body = server.body("", "text/plain");
  return {
    request(req, res) {
      if (req.path === "/static") return res.static(body, 404);
      if (req.path === "/self")
        return res.send(200, "text/plain", readFileSync(new URL(import.meta.url)));
      return ways[req.path](req, res);
    },
  };
};
