// The demo's handler module, which runs in the worker next to the engine. It responds with the page, its icon and the
// statistics, and upgrades /live and /load. The application (demo.ts) publishes to the WebSockets; this module sends
// nothing to them. Through the channel that the module's URL names, it reports to the application the worker's delay,
// the state of the stalled clients, the id of each page that has opened, and the commands of pages that may give them.

import type { HandlerModule, Request, Response } from "../handler.js";
import { DelayMonitor } from "./delay.js";
import { COMMAND_LENGTH, STALLED, TOPIC, type WorkerReport } from "./message.js";
import page, { policy } from "./page/index.html";
import { Stalled } from "./stalled.js";

// A ring with a gap, recognizable at every size.
const icon =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><path d="M26 8A13 13 0 1 0 29 16" ' +
  'fill="none" stroke="#2b7de9" stroke-width="5" stroke-linecap="round"/>' +
  '<circle cx="16" cy="16" r="5" fill="#2b7de9"/></svg>';

const common = { "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer" };

// Script and style are part of the page, and nothing else is loaded. `ws:` and `wss:` are listed because not every
// browser includes them in 'self'.
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

/** Interval in ms at which the worker reports about itself to the application. */
const INTERVAL = 100;

/** A client's role in the demo. */
interface User {
  readonly isCrowd: boolean;
  readonly isStalled: boolean;
  readonly commands: boolean;
}

function refuse(res: Response, status: number, text: string, headers?: Record<string, string>) {
  return res.send(status, plain, `${text}\n`, { ...common, ...headers });
}

/**
 * Returns true when a page was requested by a name of this machine. Any other name that resolves to it may be a
 * stranger's, whose pages would have the same origin.
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
  const stalled = new Stalled();
  const report = async (): Promise<void> => {
    const { bytesPublished, ring } = await server.stats();
    const taken: WorkerReport = {
      delay: delay.take(),
      stalled: stalled.sample(bytesPublished, ring.bytes),
    };
    channel.postMessage(taken);
  };
  setInterval(() => void report(), INTERVAL).unref();

  return {
    request(req, res) {
      // A response to HEAD is sent without its body, so HEAD needs no case of its own.
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
          const isStalled = isCrowd && req.query === STALLED;
          const commands = !isCrowd && mayCommand && isLocal(req);
          const data = { isCrowd, isStalled, commands };
          return res.upgrade({ data, maxPayloadLength: COMMAND_LENGTH });
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
      if (ws.data.isStalled) stalled.add(ws);
    },
    close(ws) {
      stalled.remove(ws);
    },
    message(ws, data) {
      if (ws.data.commands && typeof data === "string") channel.postMessage(data);
    },
  };
}) satisfies HandlerModule<User>;
