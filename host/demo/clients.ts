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
/** Between what a client that does not read says, ms: a connection that has been reset is only seen by writing. */
const BEAT = 250;
const MASK = Buffer.alloc(4);

/** Bytes of the opening handshake (RFC 6455 4.1). */
function handshake(): string {
  const name = host.includes(":") ? `[${host}]` : host;
  return [
    `GET /load HTTP/1.1\r\nHost: ${name}:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket`,
    `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\n\r\n`,
  ].join("\r\n");
}

/** A control frame of a client: masked, with a mask of zeros (RFC 6455 5.3, 5.5). */
function control(opcode: number, payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length]), MASK, payload]);
}

/** Reads what a server sends and throws it away, but for what wants an answer. */
class Reader {
  readonly #socket: Socket;
  #rest: Buffer = Buffer.alloc(0);
  /** Bytes of a message still to come. */
  #skip = 0;
  #isOpen = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  read(data: Buffer): void {
    const skipped = Math.min(this.#skip, data.length);
    this.#skip -= skipped;
    const bytes = data.subarray(skipped);
    this.#rest = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : bytes;
    if (!this.#isOpen) {
      const end = this.#rest.indexOf("\r\n\r\n");
      if (end < 0) return;
      this.#isOpen = true;
      this.#rest = this.#rest.subarray(end + 4);
    }
    while (this.#frame());
  }

  /** Takes a frame's header, and what it has of its payload. @returns false when there is not enough */
  #frame(): boolean {
    const rest = this.#rest;
    const short = (rest[1] ?? 0) & 127;
    const head = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (rest.length < head) return false;
    const length =
      short < 126 ? short : short === 126 ? rest.readUInt16BE(2) : Number(rest.readBigUInt64BE(2));
    const opcode = (rest[0] as number) & 15;
    if (opcode >= 8) {
      if (rest.length < head + length) return false;
      this.#answer(opcode, rest.subarray(head, head + length));
    }
    this.#skip = Math.max(0, head + length - rest.length);
    this.#rest = rest.subarray(head + length);
    return true;
  }

  #answer(opcode: number, payload: Buffer): void {
    if (opcode === 9) this.#socket.write(control(10, payload));
    else if (opcode === 8) this.#socket.end(control(8, payload));
  }
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
  socket.on("close", () => {
    all.delete(socket);
    tell();
  });
  if (kind === "reading") {
    const reader = new Reader(socket);
    socket.on("data", (data: Buffer) => reader.read(data));
    return;
  }
  socket.pause();
  const beat = setInterval(() => socket.write(control(10, Buffer.alloc(0))), BEAT);
  socket.on("close", () => clearInterval(beat));
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
