// Clients that read and drop what they get, on a thread of their own.

import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { parentPort, workerData } from "node:worker_threads";

const { port, clients } = workerData;
let open = 0;
for (let i = 0; i < clients; i++) {
  const socket = connect(port, "127.0.0.1");
  socket.once("data", () => {
    if (++open === clients) parentPort.postMessage("open");
  });
  socket.resume();
  socket.write(
    `GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\nSec-WebSocket-Version: 13\r\n\r\n`,
  );
}
