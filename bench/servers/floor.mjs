// The no-op row: a plain `net` server that encodes each frame once and writes a turn's frames to each client as they
// are. It has no limits and closes nothing, so it shows the cost of Node's sockets, loopback and the load.

import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";
import { control } from "./control.mjs";
import { pacer, publish } from "./publish.mjs";

const ACCEPT_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; // RFC 6455 1.3

/** @type {Set<import("node:net").Socket>} */
const sockets = new Set();
/** @type {Buffer[]} */
let frames = [];

/** Returns the head of a frame. @param {number} length bytes of the payload, less than 2^24 */
function headOf(length) {
  if (length < 126) return [0x82, length];
  if (length < 65_536) return [0x82, 126, length >> 8, length & 0xff];
  return [0x82, 127, 0, 0, 0, 0, 0, length >> 16, (length >> 8) & 0xff, length & 0xff];
}

/** Adds a frame to the turn. @param {Uint8Array} payload */
function stage(payload) {
  const { length } = payload;
  const head = headOf(length);
  const frame = Buffer.allocUnsafe(head.length + length);
  frame.set(head, 0);
  frame.set(payload, head.length);
  frames.push(frame);
  return true;
}

function flush() {
  const run = Buffer.concat(frames);
  frames = [];
  for (const socket of sockets) socket.write(run);
}

/** Answers a handshake. @param {import("node:net").Socket} socket @param {Buffer} head */
function upgrade(socket, head) {
  const key = /Sec-WebSocket-Key: (\S+)/i.exec(head.latin1Slice())[1];
  const accept = createHash("sha1")
    .update(key + ACCEPT_GUID)
    .digest("base64");
  socket.write(
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
      `Sec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  sockets.add(socket);
}

await control(async (settings) => {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => {}); // "close" follows
    socket.on("close", () => sockets.delete(socket));
    socket.once("data", (head) => upgrade(socket, head));
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const behind = pacer(settings, sockets, (socket) => socket.writableLength);
  const sink = { stage, flush, behind };
  return { port: server.address().port, publish: (job) => publish(job, sink) };
});
