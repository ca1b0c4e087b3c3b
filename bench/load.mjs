// The clients, in a process of their own: N WebSockets over `net` that read into one shared buffer, so that a read
// allocates nothing. It reports when every client has received all published messages in order, or has each client keep
// some messages in flight to be echoed. Some clients may be set to read nothing once they are open.

import { createHash, randomBytes } from "node:crypto";
import { connect } from "node:net";
import { Blocks, eventBytes, frameBytes } from "./blocks.mjs";
import { Deflated, DeflatedFrames } from "./deflated.mjs";
import { Echo } from "./echo.mjs";
import { Expected, Frames, HELD_BYTES_MAX, Texts } from "./frames.mjs";
import { Latencies } from "./latencies.mjs";
import { micros } from "./servers/publish.mjs";

const READ_BYTES = 256 << 10;
const AT_ONCE = 100; // clients that are connecting: no server's backlog is at stake
const ACCEPT_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; // RFC 6455 1.3
const KEY = randomBytes(16).toString("base64");
const ACCEPT = createHash("sha1")
  .update(KEY + ACCEPT_GUID)
  .digest("base64");
/** Each message alone (RFC 7692 7.1.1), so that a server may compress it once for all. */
const OFFER =
  "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n";

const room = Buffer.alloc(HELD_BYTES_MAX + READ_BYTES);
const view = new DataView(room.buffer, room.byteOffset, room.length);
const reads = room.subarray(HELD_BYTES_MAX);

/** @typedef {{ socket: import("node:net").Socket, frames: Frames | DeflatedFrames | Texts }} Client */

/** clients that read */
const clients = [];
let opened = 0;
let due = 0;
/** Opens the next of the clients that are still to be opened. */
let connectNext = () => {};
let complete = 0;
/** @type {Echo | undefined} */
let echo;
const latencies = new Latencies();

/** Reports a failure to the bench and exits. @param {string} reason */
function fail(reason) {
  process.send({ type: "failed", reason }, () => process.exit(1));
}

function finish() {
  const messages = clients.reduce((sum, { frames }) => sum + frames.received, 0);
  process.send({ type: "received", messages, lastMicros: micros(), ...latencies.percentiles() });
}

/**
 * Counts new messages of a client.
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

/** The checkers of a client's messages, by kind. */
const KINDS = {
  binary: (onPing) => new Frames(onPing),
  deflated: () => new DeflatedFrames(clients.length === 0),
  text: () => new Texts(),
  json: (onPing) => new Blocks(frameBytes, onPing),
  events: () => new Blocks(eventBytes, () => undefined),
};

/**
 * @typedef {object} Clients
 * @property {number} port
 * @property {number} count
 * @property {number} [stalled] how many of them read nothing once they are open
 * @property {keyof typeof KINDS} [kind] of their messages
 */

/**
 * Opens a client.
 * @param {Clients} options
 * @param {number} index
 */
function open({ port, kind = "binary", stalled = 0 }, index) {
  const isReader = index >= stalled;
  let head = "";
  let upgraded = false;
  const frames = KINDS[kind]((payload) => socket.write(pong(payload)));

  /** Reads the response to the handshake. @returns {number} where the frames after it begin; -1: not complete */
  const upgrade = (begin, end) => {
    const before = head.length;
    head += room.latin1Slice(begin, end);
    const headEnd = head.indexOf("\r\n\r\n");
    if (headEnd < 0) return -1;
    checkUpgrade(head, kind);
    upgraded = true;
    if (!isReader) socket.pause();
    if (++opened === due) process.send({ type: "connected" });
    else connectNext();
    return begin + headEnd + 4 - before;
  };
  const callback = (bytes) => {
    let begin = HELD_BYTES_MAX;
    const end = begin + bytes;
    try {
      if (!upgraded) begin = upgrade(begin, end);
      if (begin < 0 || !isReader) return true;
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
  if (isReader) clients.push(client);
  socket.setNoDelay(true);
  const lost = (why) => (isReader || !upgraded) && fail(`client ${index}: ${why}`);
  socket.on("error", (error) => lost(error.message));
  socket.on("close", () => lost(`closed after ${frames.received} messages`));
  if (kind === "events") {
    // Without chunks, which Ringcast's streams do not have.
    socket.write("GET /events HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n");
    return;
  }
  socket.write(
    `GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      `Sec-WebSocket-Key: ${KEY}\r\nSec-WebSocket-Version: 13\r\n${kind === "deflated" ? OFFER : ""}\r\n`,
  );
}

/** Checks the response to a handshake. @param {string} head @param {keyof typeof KINDS} kind */
function checkUpgrade(head, kind) {
  if (kind === "events") {
    const isStream = /^content-type: text\/event-stream/im.test(head);
    if (/^HTTP\/1\.[01] 200 /.test(head) && isStream) return;
    throw new Error(`no event stream: ${head}`);
  }
  const accept = /^sec-websocket-accept: *(\S+)/im.exec(head)?.[1];
  const extension = /^sec-websocket-extensions: *permessage-deflate/im.test(head);
  if (
    !head.startsWith("HTTP/1.1 101 ") ||
    accept !== ACCEPT ||
    extension !== (kind === "deflated")
  ) {
    throw new Error(`not upgraded as asked: ${head}`);
  }
}

/** Returns a pong, masked with zero (RFC 6455 5.3), which leaves the payload as it is. */
function pong(payload) {
  return Buffer.concat([Buffer.from([0x8a, 0x80 | payload.length, 0, 0, 0, 0]), payload]);
}

/** Makes every client expect the messages of a job. */
function expect(job, clockMicros) {
  const { n, size, perSecond, json } = job;
  latencies.start(perSecond ? clockMicros : undefined);
  const onStamp = perSecond ? (stamp) => latencies.add(stamp) : undefined;
  const expected = json ? new Deflated(n, size) : new Expected(n, size, onStamp);
  for (const { frames } of clients) frames.expect(expected);
  complete = 0;
  echo = undefined;
}

const ACTIONS = {
  connect(options) {
    due += options.count;
    let index = 0;
    connectNext = () => index < options.count && open(options, index++);
    for (let i = 0; i < AT_ONCE; i++) connectNext();
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
