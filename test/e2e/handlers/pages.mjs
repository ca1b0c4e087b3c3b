// Serves files to a browser, and the scenarios: below /files the content of the folder of the same name, with the
// fields of a cross-origin isolated page where the query is "isolated".

import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import scenarios from "./scenarios.mjs";

const TYPES = {
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".html": "text/html",
  ".css": "text/css",
  ".wasm": "application/wasm",
};
const ISOLATED = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

export default (server) => {
  const handler = scenarios(server);
  const bodies = new Map();
  const bodyOf = (name) => {
    if (!bodies.has(name)) {
      bodies.set(name, server.body(readFileSync(name), TYPES[path.extname(name)] ?? "text/plain"));
    }
    return bodies.get(name);
  };
  return {
    ...handler,
    request(req, res) {
      if (req.upgrade || !req.path.startsWith("/files/")) return handler.request(req, res);
      const name = path.normalize(req.path.slice("/files/".length));
      if (name.startsWith("..") || !existsSync(name))
        return res.send(404, "text/plain", "no such file\n");
      // A worker of an isolated page says that it is too.
      return res.static(bodyOf(name), 200, isolation(req));
    },
  };
};

/** A policy under which no WebAssembly is compiled. */
const STRICT = { "Content-Security-Policy": "script-src 'self'" };

/** Pages and their workers, when the page was asked for as isolated or the request comes from one. */
function isolation(req) {
  const from = req.header("referer") ?? "";
  const fields = req.query === "isolated" || from.includes("isolated") ? ISOLATED : {};
  return req.query === "strict" ? { ...fields, ...STRICT } : fields;
}
