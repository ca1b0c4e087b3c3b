// The clients, in a process of their own: N WebSockets over `net` that read into one shared buffer, so that a
// read allocates nothing. It says when every client has received all that was published, in order; or has each
// client keep some messages on the way to be echoed.

import { createHash, randomBytes } from "node:crypto";
import { connect } from "node:net";
import { Echo } from "./echo.mjs";
import { Expected, FRAME_BYTES_MAX, Frames } from "./frames.mjs";
import { Latencies } from "./latencies.mjs";
import { micros } from "./servers/publish.mjs";

const READ_BYTES = 256 << 10;
const ACCEPT_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; // RFC 6455 1.3
const KEY = randomBytes(16).toString("base64");
const ACCEPT = createHash("sha1")
  .update(KEY + ACCEPT_GUID)
  .digest("base64");

const room = Buffer.alloc(FRAME_BYTES_MAX + READ_BYTES);
const view = new DataView(room.buffer, room.byteOffset, room.length);
const reads = room.subarray(FRAME_BYTES_MAX);

/** @typedef {{ socket: import("node:net").Socket, frames: Frames }} Client */

/** @type {Client[]} */
const clients = [];
let opened = 0;
let complete = 0;
/** @type {Echo | undefined} */
let echo;
const latencies = new Latencies();

/** @param {string} reason */
function fail(reason) {
  process.send({ type: "failed", reason }, () => process.exit(1));
}

function finish() {
  const messages = clients.reduce((sum, { frames }) => sum + frames.received, 0);
  process.send({ type: "received", messages, lastMicros: micros(), ...latencies.percentiles() });
}

/**
 * What a client does when it got messages.
 * @param {Client} client
 * @param {number} count new messages
 */
function got(client, count) {
  if (echo) {
    if (echo.answered(client, count)) process.send({ type: "echoed", ...echo.result() });
  } else if (client.frames.received === client.frames.expected.n) {
    if (++complete === clients.length) finish();
  }
}

/** @param {number} port @param {number} index */
function open(port, index) {
  let head = "";
  let upgraded = false;
  const frames = new Frames((payload) => socket.write(pong(payload)));

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
      latencies.arrive();
      frames.read(room, view, begin, end);
      if (frames.received > already) got(client, frames.received - already);
    } catch (error) {
      fail(`client ${index}: ${error.message}`);
    }
    return true;
  };
  const socket = connect({ port, host: "127.0.0.1", onread: { buffer: reads, callback } });
  const client = { socket, frames };
  clients.push(client);
  socket.setNoDelay(true);
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

/** Makes every client expect the messages of a job. */
function expect({ n, size, perSecond }, clockMicros) {
  latencies.start(perSecond ? clockMicros : undefined);
  const onStamp = perSecond ? (stamp) => latencies.add(stamp) : undefined;
  const expected = new Expected(n, size, onStamp);
  for (const { frames } of clients) frames.expect(expected);
  complete = 0;
  echo = undefined;
}

const ACTIONS = {
  connect({ port, count }) {
    for (let i = 0; i < count; i++) open(port, i);
  },
  expect({ job, clockMicros }) {
    expect(job, clockMicros);
    process.send({ type: "expecting" });
  },
  echo({ job }) {
    expect({ n: Number.POSITIVE_INFINITY, size: job.size }, 0);
    echo = new Echo(job, clients);
  },
  progress() {
    const received = clients.map(({ frames }) => frames.received);
    const [least, most] = [Math.min(...received), Math.max(...received)];
    process.send({ type: "progress", least, most, opened });
  },
  clock: () => process.send({ type: "clock", micros: micros() }),
};

process.on("disconnect", () => process.exit()); // no orphans, however the bench ended
process.on("message", (message) => ACTIONS[message.type](message));
