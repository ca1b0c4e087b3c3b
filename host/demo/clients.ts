// The program of the demo's clients: WebSockets to a server, some of which read and some never do. It reads commands
// from its input, one per line, and writes a line with both numbers of open clients whenever they change.
// Arguments: host, port, limit of clients that read, limit of clients that do not.
//
// Invariant: the program ends with its input.

import { randomBytes } from "node:crypto";
import { type Socket, connect } from "node:net";
import { createInterface } from "node:readline";
import { upgradeFields } from "../codec/handshake";
import { type Kind, STALLED } from "./message.js";

const [host = "", port = "", ...most] = process.argv.slice(2);
const limits: Record<Kind, number> = { reading: Number(most[0]), stalled: Number(most[1]) };
const sockets: Record<Kind, Set<Socket>> = { reading: new Set(), stalled: new Set() };
/**
 * An unsolicited pong, masked (RFC 6455 5.5.3), and the interval in ms at which each client sends it. It is a sign of
 * life. A client that does not read notices a reset only by writing.
 */
const PONG = Buffer.from([0x8a, 0x80, 0, 0, 0, 0]);
const BEAT: Record<Kind, number> = { reading: 10000, stalled: 250 };

/** Returns the bytes of the opening handshake (RFC 6455 4.1). */
function handshake(kind: Kind): string {
  const name = host.includes(":") ? `[${host}]` : host;
  const target = kind === "stalled" ? `/load?${STALLED}` : "/load";
  const fields = upgradeFields(randomBytes(16).toString("base64"));
  return [
    `GET ${target} HTTP/1.1\r\nHost: ${name}:${port}`,
    ...fields.map(([name, value]) => `${name}: ${value}`),
    "\r\n",
  ].join("\r\n");
}

let printed = "";
let isTelling = false;

/** Reports the numbers of clients soon. */
function tell(): void {
  if (isTelling) return;
  isTelling = true;
  setTimeout(() => {
    isTelling = false;
    const text = JSON.stringify([sockets.reading.size, sockets.stalled.size]);
    if (text !== printed) process.stdout.write(`${text}\n`);
    printed = text;
  }, 50);
}

let opened = 0;

/** Opens a client. @param from the address to connect from; undefined: the system chooses */
function open(kind: Kind, from: string | undefined): void {
  const socket = connect({
    host,
    port: Number(port),
    ...(from === undefined ? {} : { localAddress: from }),
  });
  const all = sockets[kind];
  all.add(socket);
  socket.write(handshake(kind));
  socket.on("error", (error: NodeJS.ErrnoException) => {
    // Some systems do not have all of 127.0.0.0/8.
    if (error.code === "EADDRNOTAVAIL" && from !== undefined) open(kind, undefined);
  });
  const beat = setInterval(() => socket.write(PONG), BEAT[kind]);
  socket.on("close", () => {
    clearInterval(beat);
    all.delete(socket);
    tell();
  });
  // Data is read and discarded.
  if (kind === "reading") socket.resume();
  else socket.pause();
}

function add(kind: Kind, count: number): void {
  for (let i = 0; i < count && sockets[kind].size < limits[kind]; i++) {
    // Clients that will be evicted have addresses of their own, so that they can be distinguished.
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
// When the reader of the output has ended, this program ends, too.
process.stdout.on("error", () => process.exit(0));
