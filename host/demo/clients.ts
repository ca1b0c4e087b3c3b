// The program of the demo's clients: WebSockets to a server, of which some read and some never do. It takes commands
// by its input, a line each, and writes a line with how many of both are open whenever that changes.
// Arguments: host, port, most that read, most that do not.
//
// Invariant: it ends with its input.

import { randomBytes } from "node:crypto";
import { type Socket, connect } from "node:net";
import { createInterface } from "node:readline";
import type { Kind } from "./message.js";

const [host = "", port = "", ...most] = process.argv.slice(2);
const limits: Record<Kind, number> = { reading: Number(most[0]), stalled: Number(most[1]) };
const sockets: Record<Kind, Set<Socket>> = { reading: new Set(), stalled: new Set() };
/**
 * What all of them send: a pong that nobody asked for (RFC 6455 5.5.3), masked. It is a sign of life; and who does not
 * read sees only by writing that the connection has been reset. How often, in ms.
 */
const PONG = Buffer.from([0x8a, 0x80, 0, 0, 0, 0]);
const BEAT: Record<Kind, number> = { reading: 10000, stalled: 250 };

/** Bytes of the opening handshake (RFC 6455 4.1). */
function handshake(): string {
  const name = host.includes(":") ? `[${host}]` : host;
  return [
    `GET /load HTTP/1.1\r\nHost: ${name}:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket`,
    `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\n\r\n`,
  ].join("\r\n");
}

let told = "";
let isTelling = false;

/** Tells how many there are, soon. */
function tell(): void {
  if (isTelling) return;
  isTelling = true;
  setTimeout(() => {
    isTelling = false;
    const text = JSON.stringify([sockets.reading.size, sockets.stalled.size]);
    if (text !== told) process.stdout.write(`${text}\n`);
    told = text;
  }, 50);
}

let opened = 0;

/** @param from the address to connect from; undefined: whatever the system takes */
function open(kind: Kind, from: string | undefined): void {
  const socket = connect({
    host,
    port: Number(port),
    ...(from === undefined ? {} : { localAddress: from }),
  });
  const all = sockets[kind];
  all.add(socket);
  socket.write(handshake());
  socket.on("error", (error: NodeJS.ErrnoException) => {
    // Not every system has all of 127.0.0.0/8.
    if (error.code === "EADDRNOTAVAIL" && from !== undefined) open(kind, undefined);
  });
  const beat = setInterval(() => socket.write(PONG), BEAT[kind]);
  socket.on("close", () => {
    clearInterval(beat);
    all.delete(socket);
    tell();
  });
  // What is read is thrown away.
  if (kind === "reading") socket.resume();
  else socket.pause();
}

function add(kind: Kind, count: number): void {
  for (let i = 0; i < count && sockets[kind].size < limits[kind]; i++) {
    // Those that will be evicted have addresses of their own, so that they can be told apart.
    const isApart = kind === "stalled" && host.startsWith("127.");
    open(kind, isApart ? `127.0.1.${1 + (opened++ % 250)}` : undefined);
  }
  tell();
}

const commands = createInterface(process.stdin);
commands.on("line", (line) => {
  const [name, count] = JSON.parse(line) as ["clear"] | [Kind, number];
  if (name !== "clear") add(name, count as number);
  else for (const all of Object.values(sockets)) for (const socket of all) socket.destroy();
});
commands.on("close", () => process.exit(0));
// Whoever reads has gone: so has the one who writes.
process.stdout.on("error", () => process.exit(0));
