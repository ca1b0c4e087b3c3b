// Clients that download as fast as they can, in a process of their own: each reads its body into one buffer, and drops
// it. They begin and end when they are asked to, so that they load the machine in their server's rounds alone.

import { connect } from "node:net";

const buffer = Buffer.alloc(256 << 10);
/** @type {Set<import("node:net").Socket>} */
const sockets = new Set();
let bytes = 0;

/** Downloads again and again, each time over a new connection. */
function download(port, path, begun) {
  const read = (n) => {
    if (bytes === 0 && !buffer.subarray(0, n).toString("latin1").startsWith("HTTP/1.1 200 "))
      process.send({ type: "failed", reason: buffer.toString("latin1", 0, 100) });
    bytes += n;
    begun();
    return true;
  };
  const socket = connect({ port, host: "127.0.0.1", onread: { buffer, callback: read } });
  sockets.add(socket);
  socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
  socket.on("error", () => {});
  socket.on("close", () => {
    if (sockets.delete(socket)) download(port, path, begun);
  });
}

process.on("message", async ({ type, port, path, count }) => {
  if (type === "begin") {
    bytes = 0;
    const begun = Array.from({ length: count }, () => {
      return new Promise((resolve) => download(port, path, resolve));
    });
    await Promise.all(begun);
    process.send({ type: "begun" });
  } else if (type === "end") {
    const ended = [...sockets];
    sockets.clear();
    for (const socket of ended) socket.destroy();
    process.send({ type: "ended", bytes });
  }
});
