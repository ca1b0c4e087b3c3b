// The clients, in a process of their own: N WebSockets over `net` that read into one shared buffer,
// so that a read allocates nothing. It says when every client has received a whole burst, in order.

import { createHash, randomBytes } from "node:crypto";
import { connect } from "node:net";
import { Expected, FRAME_BYTES_MAX, Frames } from "./frames.mjs";

const READ_BYTES = 256 << 10;
const ACCEPT_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; // RFC 6455 1.3
const KEY = randomBytes(16).toString("base64");
const ACCEPT = createHash("sha1")
  .update(KEY + ACCEPT_GUID)
  .digest("base64");

const room = Buffer.alloc(FRAME_BYTES_MAX + READ_BYTES);
const view = new DataView(room.buffer, room.byteOffset, room.length);
const reads = room.subarray(FRAME_BYTES_MAX);

/** @type {Frames[]} */
const clients = [];
let opened = 0;
let complete = 0;
let cpuBefore = process.cpuUsage();

/** @param {string} reason */
function fail(reason) {
  process.send({ type: "failed", reason }, () => process.exit(1));
}

function finish() {
  const lastMicros = Number(process.hrtime.bigint() / 1000n);
  const { user, system } = process.cpuUsage(cpuBefore);
  const deliveries = clients.reduce((sum, client) => sum + client.received, 0);
  process.send({ type: "received", deliveries, lastMicros, cpuMicros: user + system });
}

/** @param {number} port @param {number} index */
function open(port, index) {
  let head = "";
  let upgraded = false;
  const frames = new Frames((payload) => socket.write(pong(payload)));
  clients.push(frames);

  const callback = (bytes) => {
    let begin = FRAME_BYTES_MAX;
    const end = begin + bytes;
    try {
      if (!upgraded) {
        const before = head.length;
        head += room.latin1Slice(begin, end);
        const headEnd = head.indexOf("\r\n\r\n");
        if (headEnd < 0) return true;
        checkUpgrade(head);
        upgraded = true;
        if (++opened === clients.length) process.send({ type: "connected" });
        begin += headEnd + 4 - before;
      }
      const already = frames.received;
      frames.read(room, view, begin, end);
      const { n } = frames.expected;
      if (frames.received === n && already < n && ++complete === clients.length) finish();
    } catch (error) {
      fail(`client ${index}: ${error.message}`);
    }
    return true;
  };
  const socket = connect({ port, host: "127.0.0.1", onread: { buffer: reads, callback } });
  socket.on("error", (error) => fail(`client ${index}: ${error.message}`));
  socket.on("close", () => fail(`client ${index}: closed after ${frames.received} messages`));
  socket.write(
    `GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      `Sec-WebSocket-Key: ${KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n`,
  );
}

/** @param {string} head */
function checkUpgrade(head) {
  const accept = /^sec-websocket-accept: *(\S+)/im.exec(head)?.[1];
  if (!head.startsWith("HTTP/1.1 101 ") || accept !== ACCEPT) {
    throw new Error(`not upgraded: ${head.slice(0, head.indexOf("\r\n"))}`);
  }
}

/** A pong; masked with zero (RFC 6455 5.3), which leaves the payload as it is. */
function pong(payload) {
  return Buffer.concat([Buffer.from([0x8a, 0x80 | payload.length, 0, 0, 0, 0]), payload]);
}

process.on("disconnect", () => process.exit()); // no orphans, however the bench ended
process.on("message", (message) => {
  if (message.type === "connect") {
    for (let i = 0; i < message.clients; i++) open(message.port, i);
  } else if (message.type === "expect") {
    const expected = new Expected(message.job.n, message.job.size);
    for (const client of clients) client.expect(expected);
    complete = 0;
    cpuBefore = process.cpuUsage();
    process.send({ type: "expecting" });
  } else if (message.type === "progress") {
    const received = clients.map((client) => client.received);
    const least = Math.min(...received);
    process.send({ type: "progress", least, most: Math.max(...received), opened });
  }
});
