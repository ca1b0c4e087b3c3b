// Slow and stopped clients on real sockets of Linux, in each placement of the handler: a selection of the cells of
// test/clients.md, with limits that are short. The kernel's tables decide which client is ended.
//
// A kernel acknowledges 33 to 129 kB at once, and Node reads 64 kB at once: a reader of 12 kB/s shows no progress for
// up to 16 s, more than twice writeTimeout.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import * as net from "node:net";
import { type Server, serve } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { handlerOf, handshake, until, within } from "./peer";
import { portOf } from "../lib/port";

const slow = suite("slow");
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const STREAM = "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n";
const UPLOAD_BYTES = 1e6;
const POST = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${UPLOAD_BYTES}\r\n\r\n`;
const BYTES = 1e7;

const LIMITS = {
  // A step of 128 KiB may take 26 s. Shorter limits leave no time for two readings on a machine under load.
  ...{ writeTimeout: 6000, minSendRate: 5000, rateGrace: 6000, minReceiveRate: 2000 },
  ...{ headersTimeout: 5000, keepAliveTimeout: 1000, idleTimeout: 6, closeTimeout: 2000 },
};
/** ms that the readers are watched while they read at their rate: more than a step takes. */
const WATCHED = 20000;
/** ms that all is waited for. */
const PATIENCE = 60000;

/** Sends each of some texts on a connection of its own, reads the first of its answer, and says so. */
const CHILD = `
  const [port, ...texts] = process.argv.slice(1);
  let left = texts.length;
  for (const text of texts) {
    const socket = require("node:net").connect(Number(port), "127.0.0.1", () => socket.write(text));
    const ready = () => { if (--left === 0) process.stdout.write("ready"); };
    if (text.startsWith("POST")) socket.once("connect", ready);
    else socket.once("data", () => { socket.pause(); ready(); });
    socket.on("error", () => undefined);
  }
`;

/** Clients in a process of its own, which have read something and are stopped then. */
async function stopped(port: number, texts: readonly string[]): Promise<ChildProcess> {
  const child = spawn(process.execPath, ["-e", CHILD, String(port), ...texts], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await within(once(child.stdout as NodeJS.ReadableStream, "data"), "the clients read", PATIENCE);
  child.kill("SIGSTOP");
  return child;
}

/** A client that reads, and sends the body of an upload, at a rate. */
class Client {
  readonly socket: net.Socket;
  readonly #rate: number;
  readonly #began = Date.now();
  readonly #timer: NodeJS.Timeout;
  #sent: number;
  got = 0;
  /** Its connection has ended, or was reset. */
  isGone = false;

  /** @param rate kB/s @param body bytes of an upload */
  constructor(port: number, text: string, rate: number, body = 0) {
    this.#rate = rate;
    this.#sent = UPLOAD_BYTES - body;
    this.socket = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    this.socket.on("error", () => undefined);
    this.socket.on("close", () => {
      this.isGone = true;
    });
    this.socket.on("end", () => this.socket.destroy());
    this.socket.pause();
    if (text) this.socket.write(text);
    this.#timer = setInterval(() => this.#turn(), 100);
  }

  #turn(): void {
    const due = Math.floor((Date.now() - this.#began) * this.#rate);
    // Has Node read from its kernel.
    this.socket.read(0);
    const wanted = Math.min(due - this.got, this.socket.readableLength);
    if (wanted > 0) this.got += (this.socket.read(wanted) as Buffer | null)?.length ?? 0;
    const left = Math.min(due, UPLOAD_BYTES) - this.#sent;
    if (left > 0) this.send(left);
  }

  send(bytes: number): void {
    this.socket.write(new Uint8Array(bytes));
    this.#sent += bytes;
  }

  /** Reads and sends all the rest, as fast as it goes. */
  finish(): void {
    clearInterval(this.#timer);
    if (this.#sent < UPLOAD_BYTES) this.send(UPLOAD_BYTES - this.#sent);
    this.socket.on("data", (bytes: Buffer) => {
      this.got += bytes.length;
    });
    this.socket.resume();
  }

  destroy(): void {
    clearInterval(this.#timer);
    this.socket.destroy();
  }
}

/** Causes that ended connections, and how often each did. */
async function causesOf(server: Server): Promise<Record<string, number>> {
  const { closed } = await server.stats();
  return Object.fromEntries(Object.entries(closed).filter(([, count]) => count > 0));
}

/** The expected results of the clients of `cells` that are ended. */
const ENDED = {
  // GET and WebSocket at 1 kB/s, less than minSendRate; GET, stream and WebSocket of the process that is stopped.
  WriteTimeout: 5,
  // Uploads: stopped, and silent.
  ReceiveTooSlow: 2,
  // No request.
  HeadTimeout: 1,
  // A WebSocket that reads all at once, without a pong.
  IdleTimeout: 1,
  // GET and WebSocket that reset.
  PeerReset: 2,
  // A WebSocket that ends its side at once, and one when it has been served.
  PeerEnded: 2,
};
/** Of the clients that are served over HTTP: GET, stream, two uploads; a stream whose client has ended its side. */
const SERVED = { KeepAliveTimeout: 4, PeerClosed: 1 };

async function cells(server: Server): Promise<void> {
  const port = portOf(server);
  const clients: Client[] = [];
  const client = (text: string, rate: number, body = 0): Client => {
    const one = new Client(port, text, rate, body);
    clients.push(one);
    return one;
  };
  const ws = handshake("/");
  const child = await stopped(port, [GET, STREAM, POST, ws]);
  try {
    const readers = [client(GET, 12), client(STREAM, 12), client(ws, 12)];
    const senders = [client(POST, 12, UPLOAD_BYTES), client(POST, 4, UPLOAD_BYTES)];
    client(GET, 1);
    client(ws, 1);
    client("", 100);
    client(POST, 0, UPLOAD_BYTES);
    // Reads all, and answers no ping.
    client(ws, 1e6);
    const ended = [client(STREAM, 100), client(ws, 100)];
    const reset = [client(GET, 100), client(ws, 100)];
    await until("WebSockets", async () => (await server.stats()).webSockets === 6, PATIENCE);
    const piece = new Uint8Array(BYTES / 10);
    for (let i = 0; i < 10; i++) while (!server.broadcast(piece)) await server.ready();
    const leaving = [...ended, ...reset];
    await until("the first bytes", () => leaving.every(({ got }) => got > 0), PATIENCE);
    for (const { socket } of ended) socket.end();
    for (const { socket } of reset) socket.resetAndDestroy();

    const good = [...readers, ...senders, ended[0] as Client];
    const isWatched = Date.now() + WATCHED;
    await until(
      "the time of a step",
      () => Date.now() > isWatched || good.some(({ isGone }) => isGone),
      PATIENCE,
    );
    assert.equal(
      good.map(({ isGone, got }) => (isGone ? got : "there")),
      good.map(() => "there"),
      JSON.stringify(await causesOf(server)),
    );
    for (const one of good) one.finish();
    const isServed = (one: Client): boolean => one.got > (senders.includes(one) ? 0 : BYTES);
    await until("the rest", () => good.every(isServed), PATIENCE).catch(() => undefined);
    assert.equal(
      good.map((one) => (isServed(one) ? "served" : one.got)),
      good.map(() => "served"),
      JSON.stringify([good.map(({ got, isGone }) => [got, isGone]), await causesOf(server)]),
    );
    readers[2]?.socket.end();
    const expected = { ...ENDED, ...SERVED };
    let causes = {};
    const isSame = async (): Promise<boolean> => {
      causes = await causesOf(server);
      return Object.entries(expected).every(
        ([cause, count]) => (causes as Record<string, number>)[cause] === count,
      );
    };
    await until("the ends", isSame, PATIENCE).catch(() => undefined);
    assert.equal(
      causes,
      expected,
      `${JSON.stringify(causes)} instead of ${JSON.stringify(expected)}`,
    );
  } finally {
    child.kill("SIGKILL");
    for (const one of clients) one.destroy();
  }
}

const PLACEMENTS = [
  ["the worker", "worker", {}],
  ["the application's thread", "application", {}],
  ["a pool", "worker", { pool: { threads: 6, backlog: 64 } }],
] as const;

if (process.platform === "linux") {
  slow("readers at minSendRate and above are served, the others end with their cause", async () => {
    const run = async ([name, where, more]: (typeof PLACEMENTS)[number]): Promise<string> => {
      const handler = await handlerOf("slow", where);
      const server = await serve({ port: 0, hostname: "127.0.0.1", handler, ...LIMITS, ...more });
      try {
        await cells(server);
        return `${name}: as it must be`;
      } catch (error) {
        return `${name}: ${error instanceof Error ? error.stack : error}`;
      } finally {
        await within(server.close(), "close");
      }
    };
    const found = await Promise.all(PLACEMENTS.map(run));
    assert.equal(
      found,
      PLACEMENTS.map(([name]) => `${name}: as it must be`),
    );
  });
} else {
  slow("send queues are read on Linux alone", () => assert.is.not(process.platform, "linux"));
}

slow.run();
