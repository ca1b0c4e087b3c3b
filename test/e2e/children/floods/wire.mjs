// Parts of floods: sockets that the other side ends, and frames.

import net from "node:net";

/** Where floods come from, so that 50,000 connections do not want for ports. */
const SOURCES = 32;

/** Returns the address of this machine from which the `i`th connection comes; 127.0.0.1 is the bystander's. */
export function sourceOf(i) {
  return `127.0.0.${2 + (i % SOURCES)}`;
}

/** A handshake without its empty line. The programs here are not bundled: test/lib/handshake.ts is not for them. */
export const HANDSHAKE =
  "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

/**
 * Opens a connection; resolves with its socket, also when that is reset at once. It has `gone`, the promise of its end,
 * and `kept`, the first bytes that came.
 * @param onread as of net.connect; without it what comes is dropped
 */
export function open(port, source, onread) {
  return new Promise((resolve) => {
    const options = { port, host: "127.0.0.1", localAddress: source, allowHalfOpen: true };
    const socket = net.connect(onread ? { ...options, onread } : options);
    socket.kept = "";
    socket.gone = new Promise((end) => socket.once("close", end));
    socket.setNoDelay(true);
    socket.once("connect", () => resolve(socket));
    socket.on("error", (error) => {
      socket.failure = error.code;
      resolve(socket);
    });
    socket.on("end", () => socket.end());
    if (!onread) {
      socket.on("data", (bytes) => {
        if (socket.kept.length < 1024) socket.kept += bytes.latin1Slice();
      });
    }
  });
}

/**
 * As `open`, for a client that reads one byte a second. Unread bytes come before its end, so it notices the end by the
 * `sign` of life that it writes again and again.
 */
export async function hardlyReading(port, source, sign) {
  const socket = await open(port, source, { buffer: Buffer.alloc(1), callback: () => false });
  let ticks = 0;
  const timer = setInterval(() => {
    socket.write(sign);
    if (++ticks % 4 === 0) socket.resume();
  }, 250);
  socket.gone.then(() => clearInterval(timer));
  return socket;
}

/** Resolves when `text` is among the first bytes of a socket; false when it ended before. */
export function got(socket, text) {
  return new Promise((resolve) => {
    const look = () => {
      if (!socket.kept.includes(text)) return;
      socket.off("data", look);
      resolve(true);
    };
    socket.on("data", look);
    socket.gone.then(() => resolve(false));
    look();
  });
}

/** Opens a WebSocket. @param fields further fields of its handshake */
export async function openWebSocket(port, source, fields = "") {
  const socket = await open(port, source);
  socket.write(`${HANDSHAKE}${fields}\r\n`);
  await got(socket, "\r\n\r\n");
  if (!socket.kept.startsWith("HTTP/1.1 101"))
    throw new Error(`no 101 but ${JSON.stringify(socket.kept)} ${socket.failure ?? "ended"}`);
  return socket;
}

/** Runs `fn(i)` for i from 0 to count - 1, at most `width` at a time. */
export async function each(count, width, fn) {
  let next = 0;
  const lane = async () => {
    while (next < count) await fn(next++);
  };
  await Promise.all(Array.from({ length: Math.min(width, count) }, lane));
}

/** Writes `bytes` over and over, as fast as they are taken, until the connection is closed, or for `ms`. */
export function pour(socket, bytes, ms = Number.POSITIVE_INFINITY) {
  const end = Date.now() + ms;
  let poured = 0;
  return new Promise((resolve) => {
    const more = () => {
      while (!socket.destroyed && Date.now() < end) {
        poured += bytes.length;
        if (!socket.write(bytes)) return;
      }
      socket.off("drain", more);
      if (!socket.destroyed) resolve(poured);
    };
    socket.on("drain", more);
    socket.gone.then(() => resolve(poured));
    more();
  });
}

/** Returns a frame of a client, with a mask of zeros. @param flags 0x80: final, 0x40: compressed */
export function frame(opcode, payload = "", flags = 0x80) {
  return Buffer.concat([head(opcode, payload.length, flags), Buffer.from(payload)]);
}

/** Returns the head of a frame whose payload is `length` bytes long. */
export function head(opcode, length, flags = 0x80) {
  const first = opcode | flags;
  if (length < 126) return Buffer.from([first, 0x80 | length, 0, 0, 0, 0]);
  const wide = Buffer.alloc(length < 65536 ? 8 : 14);
  wide[0] = first;
  wide[1] = length < 65536 ? 0xfe : 0xff;
  if (length < 65536) wide.writeUInt16BE(length, 2);
  else wide.writeBigUInt64BE(BigInt(length), 2);
  return wide;
}

/** Returns `count` copies of some bytes. */
export function times(count, bytes) {
  return Buffer.concat(Array(count).fill(bytes));
}
