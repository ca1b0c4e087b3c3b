// A chat, as many are: with `ws`. The same with Ringcast is after.js; one test runs both.

import { createServer } from "node:http";
import { WebSocket, WebSocketServer } from "ws";

const { PORT = "8080", ORIGIN = `http://localhost:${PORT}`, HEARTBEAT = "30000" } = process.env;

const http = createServer((req, res) => {
  if (req.url !== "/") return res.writeHead(404).end();
  res.writeHead(200, { "Content-Type": "text/plain" }).end(`${wss.clients.size} here\n`);
});

const wss = new WebSocketServer({ noServer: true, maxPayload: 1024 });

http.on("upgrade", (req, socket, head) => {
  const refuse = (status) => socket.end(`HTTP/1.1 ${status} Refused\r\nConnection: close\r\n\r\n`);
  if (req.headers.origin !== undefined && req.headers.origin !== ORIGIN) return refuse(403);
  const { pathname, searchParams } = new URL(req.url, "http://localhost");
  const name = searchParams.get("name");
  if (!name) return refuse(400);
  wss.handleUpgrade(req, socket, head, (ws) => {
    Object.assign(ws, { name, room: pathname, isAlive: true });
    wss.emit("connection", ws, req);
  });
});

/** Sends to the others of a room. */
function tell(from, data, isBinary = false) {
  for (const ws of wss.clients) {
    if (ws === from || ws.room !== from.room) continue;
    if (ws.readyState === WebSocket.OPEN) ws.send(data, { binary: isBinary });
  }
}

wss.on("connection", (ws) => {
  ws.on("error", console.error);
  ws.on("pong", () => {
    ws.isAlive = true;
  });
  ws.on("message", (data, isBinary) => {
    if (isBinary) return tell(ws, data, true);
    if (String(data) === "/quit") return ws.close(4000, "bye");
    tell(ws, `${ws.name}: ${data}`);
  });
  ws.on("close", (code) => tell(ws, `${ws.name} left (${code})`));
  ws.send(`welcome ${ws.name}`);
  tell(ws, `${ws.name} came`);
});

const heartbeat = setInterval(() => {
  for (const ws of wss.clients) {
    if (!ws.isAlive) {
      ws.terminate();
      continue;
    }
    ws.isAlive = false;
    ws.ping();
  }
}, Number(HEARTBEAT));

http.listen(Number(PORT), "127.0.0.1", () => {
  console.log(`http://localhost:${http.address().port}`);
});

process.once("SIGTERM", () => {
  clearInterval(heartbeat);
  http.close();
  for (const ws of wss.clients) ws.close(1001);
  setTimeout(() => process.exit(), 2000).unref();
});
