// Floods over open WebSockets: of pings, fragments, bombs, subscriptions; and clients that never read, or stop reading.

import { deflateRawSync } from "node:zlib";
import {
  HANDSHAKE,
  each,
  frame,
  hardlyReading,
  head,
  openWebSocket,
  pour,
  sourceOf,
  times,
} from "./wire.mjs";

const MiB = 1048576;
/** Close, 1000. */
const GOODBYE = frame(8, Buffer.from([3, 232]));

/** As many pings as are taken, for a while, and not one pong is read. */
export async function unreadPings({ port, count, ms }) {
  const block = times(5000, frame(9));
  let bytes = 0;
  await each(count, count, async (i) => {
    const socket = await openWebSocket(port, sourceOf(i));
    socket.pause();
    bytes += await pour(socket, block, ms);
    socket.resetAndDestroy();
    await socket.gone;
  });
  return { connections: count, frames: bytes / 6 };
}

/** As many pings as are taken, until the server has had enough. */
export async function pings({ port, count, rounds = 1 }) {
  const block = times(5000, frame(9));
  let bytes = 0;
  await each(count * rounds, count, async (i) => {
    const socket = await openWebSocket(port, sourceOf(i));
    bytes += await pour(socket, block);
  });
  return { connections: count * rounds, frames: bytes / 6 };
}

/** Sends a message in fragments of one byte, which has no end. */
export async function fragments({ port, count, rounds = 1 }) {
  const block = times(5000, frame(0, "x", 0));
  let bytes = 0;
  await each(count * rounds, count, async (i) => {
    const socket = await openWebSocket(port, sourceOf(i));
    socket.write(frame(1, "x", 0));
    bytes += await pour(socket, block);
  });
  return { connections: count * rounds, frames: bytes / 7 };
}

const DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

/** Returns the frame of a message that inflates to `bytes` bytes. */
function bomb(bytes) {
  const packed = deflateRawSync(Buffer.alloc(bytes), { level: 9, finishFlush: 2 });
  return frame(2, packed.subarray(0, -4), 0xc0);
}

/** Messages that become four times as large as may be. */
export async function bombs({ port, count, width }) {
  const message = bomb(64 * MiB);
  await each(count, width, async (i) => {
    const socket = await openWebSocket(port, sourceOf(i), DEFLATE);
    socket.write(message);
    await socket.gone;
  });
  return { connections: count, bytes: message.length };
}

/** Messages that become as large as may be, one after the other for a while. */
export async function largeBombs({ port, count, each: messages }) {
  const message = bomb(16 * MiB);
  await each(count, count, async (i) => {
    const socket = await openWebSocket(port, sourceOf(i), DEFLATE);
    socket.write(times(messages, message));
    socket.write(GOODBYE);
    await socket.gone;
  });
  return { connections: count, messages: count * messages };
}

/** Subscribes to one topic after the other, and gives up every other one. */
export async function subscriptions({ port, count, topics }) {
  await each(count, count, async (i) => {
    const socket = await openWebSocket(port, sourceOf(i));
    const frames = [];
    for (let n = 0; n < topics; n++) {
      frames.push(frame(1, `+topic ${i} ${n}`));
      if (n % 2 === 0) frames.push(frame(1, `-topic ${i} ${n}`));
    }
    socket.write(Buffer.concat(frames));
    socket.write(GOODBYE);
    await socket.gone;
  });
  return { connections: count, messages: count * topics * 1.5 };
}

/** Subscribes to the firehose, and reads a byte a second of it. */
export async function slowSubscribers({ port, count }) {
  await each(count, count, async (i) => {
    const socket = await hardlyReading(port, sourceOf(i), frame(10));
    socket.write(Buffer.concat([Buffer.from(`${HANDSHAKE}\r\n`), frame(1, "+firehose")]));
    await socket.gone;
  });
  return { connections: count };
}

/** Begins messages of a megabyte, and leaves each at its last byte. */
export async function begunMessages({ port, count, bytes }) {
  const start = Buffer.concat([head(2, bytes), Buffer.alloc(bytes - 1)]);
  await each(count, count, async (i) => {
    const socket = await openWebSocket(port, sourceOf(i));
    socket.write(start);
    await socket.gone;
  });
  return { connections: count };
}
