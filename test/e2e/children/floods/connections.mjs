// Floods of connections: many, or slow, or silent ones.

import { HANDSHAKE, each, frame, got, open, openWebSocket, sourceOf } from "./wire.mjs";

/** Connections being opened at a time. */
const WIDTH = 200;

/** Opens `count` connections that begin with `start`; a byte follows every `ms` until the server has ended them all. */
async function drip(port, count, start, ms) {
  const sockets = new Set();
  const timer = setInterval(() => {
    for (const socket of sockets) socket.write("x");
  }, ms);
  const gone = [];
  await each(count, WIDTH, async (i) => {
    const socket = await open(port, sourceOf(i));
    socket.write(start);
    sockets.add(socket);
    gone.push(socket.gone.then(() => sockets.delete(socket)));
  });
  await Promise.all(gone);
  clearInterval(timer);
  return { connections: count };
}

export function slowHeads({ port, count, ms }) {
  return drip(port, count, "GET / HTTP/1.1\r\nHost: a\r\nX: ", ms);
}

export function slowBodies({ port, count, ms }) {
  return drip(port, count, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n", ms);
}

/** Opens connections, says what `start` gives on each, and waits until the server has ended them. */
async function leave(port, count, start, source = sourceOf) {
  const gone = [];
  await each(count, WIDTH, async (i) => {
    const socket = await open(port, source(i));
    if (start(i).length > 0) socket.write(start(i));
    gone.push(socket.gone);
  });
  await Promise.all(gone);
}

/** Connections without a byte, and others with half an opening handshake, in turn. */
export async function halfHandshakes({ port, count }) {
  await leave(port, count, (i) => (i % 2 === 0 ? "" : HANDSHAKE));
  return { connections: count };
}

/** Records of TLS whose ClientHello never becomes whole. */
export async function halfHellos({ port, count }) {
  const hello = Buffer.from("16030102000100", "hex");
  await leave(port, count, () => hello);
  return { connections: count };
}

export async function oneAddress({ port, count }) {
  await leave(
    port,
    count,
    () => "GET / HTTP/1.1\r\nHost: a\r\nX: ",
    () => sourceOf(0),
  );
  return { connections: count };
}

/** Opens WebSockets that answer nothing, not even a ping. */
export async function silence({ port, count }) {
  const gone = [];
  await each(count, WIDTH, async (i) => {
    gone.push((await openWebSocket(port, sourceOf(i))).gone);
  });
  await Promise.all(gone);
  return { connections: count };
}

const CHURNS = [
  /** Comes, and resets. */
  async (port, source) => {
    const socket = await open(port, source);
    socket.resetAndDestroy();
    await socket.gone;
  },
  /** Comes, and goes. */
  async (port, source) => {
    const socket = await open(port, source);
    socket.end();
    await socket.gone;
  },
  /** Asks once. */
  async (port, source) => {
    const socket = await open(port, source);
    socket.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    await socket.gone;
  },
  /** A WebSocket that says hello, and goes in order. */
  async (port, source) => {
    const socket = await open(port, source);
    socket.write(`${HANDSHAKE}\r\n`);
    await got(socket, "\r\n\r\n");
    socket.write(Buffer.concat([frame(1, "hello"), frame(8, Buffer.from([3, 232]))]));
    await socket.gone;
  },
];

export async function churn({ port, count, width = WIDTH }) {
  await each(count, width, (i) => CHURNS[i % CHURNS.length](port, sourceOf(i)));
  return { connections: count };
}
