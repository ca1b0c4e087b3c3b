// The demo's handler module; it runs in the worker, next to the engine. It answers with the page,
// its icon and the statistics, and upgrades /live. The messages of /live come from the application
// (main.ts); nothing is sent from here.

import type { HandlerModule, Response } from "../handler.js";
import page from "./page.html";

// A ring with a gap, the same shape at every size.
const icon =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><path d="M26 8A13 13 0 1 0 29 16" ' +
  'fill="none" stroke="#3d7fe0" stroke-width="5" stroke-linecap="round"/>' +
  '<circle cx="16" cy="16" r="5" fill="#3d7fe0"/></svg>';

const common = { "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer" };

// Script and style are inline and nothing else is loaded. `ws:` and `wss:` are named because not
// every browser takes them for part of 'self'.
const pageHeaders = {
  ...common,
  "Cache-Control": "no-cache",
  "Content-Security-Policy":
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self'; " +
    "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
};
const iconHeaders = { ...common, "Cache-Control": "max-age=86400" };
const statsHeaders = { ...common, "Cache-Control": "no-store" };

const plain = "text/plain; charset=utf-8";

function refuse(res: Response, status: number, text: string, headers?: Record<string, string>) {
  return res.send(status, plain, `${text}\n`, { ...common, ...headers });
}

export default ((server) => {
  const pageBody = server.body(page, "text/html; charset=utf-8");
  const iconBody = server.body(icon, "image/svg+xml");

  return {
    request(req, res) {
      // The server leaves out the body of an answer to HEAD, so HEAD needs no case of its own.
      if (req.method !== "GET" && req.method !== "HEAD") {
        return refuse(res, 405, "Only GET and HEAD are allowed here.", { Allow: "GET, HEAD" });
      }
      switch (req.path) {
        case "/":
          return res.static(pageBody, 200, pageHeaders);
        case "/favicon.ico":
        case "/favicon.svg":
          return res.static(iconBody, 200, iconHeaders);
        case "/live":
          if (req.upgrade) return res.upgrade();
          return refuse(res, 426, "This is a WebSocket endpoint.");
        case "/stats":
          return res.send(200, "application/json", JSON.stringify(server.stats()), statsHeaders);
        default:
          return refuse(res, 404, "Not found.");
      }
    },
  };
}) satisfies HandlerModule;
