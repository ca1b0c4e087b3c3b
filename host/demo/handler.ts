// The demo's handler module; it runs in the worker, next to the engine. It answers with the page, its icon and the
// statistics, and upgrades /live and /load. What is sent there comes from the application (demo.ts); nothing is sent
// from here. To the application go, by the channel that the module's URL names, the worker's delay, the id of each page
// that has come, and the commands of pages that may give them.

import type { HandlerModule, Request, Response } from "../handler.js";
import { DelayMonitor } from "./delay.js";
import { COMMAND_LENGTH, TOPIC } from "./message.js";
import page, { policy } from "./page/index.html";

// A ring with a gap, the same shape at every size.
const icon =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><path d="M26 8A13 13 0 1 0 29 16" ' +
  'fill="none" stroke="#2b7de9" stroke-width="5" stroke-linecap="round"/>' +
  '<circle cx="16" cy="16" r="5" fill="#2b7de9"/></svg>';

const common = { "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer" };

// Script and style stand in the page, and nothing else is loaded. `ws:` and `wss:` are named because not every
// browser takes them for part of 'self'.
const pageHeaders = {
  ...common,
  "Cache-Control": "no-cache",
  "Content-Security-Policy":
    `default-src 'none'; ${policy}; img-src 'self'; connect-src 'self' ws: wss:; ` +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
};
const iconHeaders = { ...common, "Cache-Control": "max-age=86400" };
const statsHeaders = { ...common, "Cache-Control": "no-store" };

const plain = "text/plain; charset=utf-8";

/** How often the application is told of this loop's delay, ms. */
const INTERVAL = 100;

/** A client's part in the demo. */
interface User {
  readonly isCrowd: boolean;
  readonly commands: boolean;
}

function refuse(res: Response, status: number, text: string, headers?: Record<string, string>) {
  return res.send(status, plain, `${text}\n`, { ...common, ...headers });
}

/**
 * True when a page was asked for by a name of this machine: another name that leads here is somebody else's, whose
 * page is of the same origin all the same.
 */
function isLocal(req: Request): boolean {
  return /^(localhost|127(\.\d+){3}|\[::1\])(:\d+)?$/i.test(req.header("host") ?? "");
}

export default ((server) => {
  const pageBody = server.body(page, "text/html; charset=utf-8");
  const iconBody = server.body(icon, "image/svg+xml");
  const { searchParams } = new URL(import.meta.url);
  const mayCommand = searchParams.get("commands") === "1";
  const channel = new BroadcastChannel(searchParams.get("channel") ?? "");
  const delay = new DelayMonitor();
  setInterval(() => channel.postMessage(delay.take()), INTERVAL).unref();

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
        case "/load": {
          if (!req.upgrade) return refuse(res, 426, "This is a WebSocket endpoint.");
          const isCrowd = req.path === "/load";
          const commands = !isCrowd && mayCommand && isLocal(req);
          return res.upgrade({ data: { isCrowd, commands }, maxPayloadLength: COMMAND_LENGTH });
        }
        case "/stats":
          return res.send(200, "application/json", JSON.stringify(server.stats()), statsHeaders);
        default:
          return refuse(res, 404, "Not found.");
      }
    },
    open(ws) {
      if (ws.data.isCrowd) ws.subscribe(TOPIC);
      else channel.postMessage(ws.id);
    },
    message(ws, data) {
      if (ws.data.commands && typeof data === "string") channel.postMessage(data);
    },
  };
}) satisfies HandlerModule<User>;
