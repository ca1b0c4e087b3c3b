// Floods of requests: not read, hardly read, too large.

import { each, hardlyReading, head, open, openWebSocket, pour, sourceOf, times } from "./wire.mjs";

const WIDTH = 50;

/** Requests one after the other, as many as are taken, and not one answer is read. */
export async function unreadPipelines({ port, count }) {
  const block = times(500, Buffer.from("GET /?10000 HTTP/1.1\r\nHost: a\r\n\r\n"));
  let bytes = 0;
  await each(count, count, async (i) => {
    const socket = await open(port, sourceOf(i));
    socket.pause();
    bytes += await pour(socket, block);
  });
  return { connections: count, bytes };
}

/** Asks for a large body, and reads a byte a second of it. */
export async function slowReaders({ port, count }) {
  await each(count, count, async (i) => {
    const socket = await hardlyReading(port, sourceOf(i), "\r\n");
    socket.write("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    await socket.gone;
  });
  return { connections: count };
}

const long = (n) => "x".repeat(n);
const OVERSIZED = [
  `GET / HTTP/1.1\r\nHost: a\r\nX: ${long(20000)}\r\n\r\n`,
  `GET /${long(9000)} HTTP/1.1\r\nHost: a\r\n\r\n`,
  `GET / HTTP/1.1\r\nHost: a\r\n${"X: y\r\n".repeat(200)}\r\n`,
  `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n${long(5000)}`,
  `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n${long(5000)}`,
].map((text) => Buffer.from(text));

/** Heads, targets, fields and bodies that are too large, in turn. */
export async function oversizedRequests({ port, count }) {
  await each(count, WIDTH, async (i) => {
    const socket = await open(port, sourceOf(i));
    socket.write(OVERSIZED[i % OVERSIZED.length]);
    await socket.gone;
  });
  return { connections: count };
}

/** Frames that say, or messages that become, more than may be; `limit` is what may be. */
export async function oversizedMessages({ port, count, limit }) {
  const frames = [
    Buffer.concat([head(2, limit + 1), Buffer.alloc(5000)]),
    Buffer.concat([...[head(2, limit, 0), Buffer.alloc(limit)], ...[head(0, 1), Buffer.alloc(1)]]),
  ];
  await each(count, WIDTH, async (i) => {
    const socket = await openWebSocket(port, sourceOf(i));
    socket.write(frames[i % frames.length]);
    await socket.gone;
  });
  return { connections: count };
}
