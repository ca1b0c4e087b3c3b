// The application behind /shop, of any make: here node:http and `ws`, as it was before there was a server in front.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const { PORT = 3000 } = process.env;
const orders = [];

const server = createServer(async (req, res) => {
  const { pathname } = new URL(req.url, "http://shop");
  if (pathname === "/shop/orders" && req.method === "POST") {
    let bytes = 0;
    for await (const piece of req) bytes += piece.length;
    orders.push(bytes);
    res.setHeader("Set-Cookie", ["cart=; Max-Age=0", `order=${orders.length}`]);
    res.writeHead(201, {
      "Content-Type": "application/json",
      Location: `/shop/orders/${orders.length}`,
    });
    return res.end(
      JSON.stringify({ order: orders.length, bytes, from: req.headers["x-forwarded-for"] }),
    );
  }
  if (pathname === "/shop/") {
    res.writeHead(200, { "Content-Type": "text/plain" });
    return res.end(
      `${orders.length} orders at ${req.headers["x-forwarded-proto"]}://${req.headers.host}\n`,
    );
  }
  res.writeHead(404, { "Content-Type": "text/plain" });
  return res.end("The shop has no such page.\n");
});

const sockets = new WebSocketServer({ noServer: true });
server.on("upgrade", (req, socket, head) => {
  if (req.url !== "/shop/live")
    return socket.end("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
  return sockets.handleUpgrade(req, socket, head, (ws) => {
    ws.send(`${orders.length} orders`);
    ws.on("message", (data, isBinary) => ws.send(data, { binary: isBinary }));
  });
});
server.listen(PORT, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
process.once("SIGTERM", () => {
  for (const ws of sockets.clients) ws.close(1001);
  server.close();
  server.closeIdleConnections();
});
