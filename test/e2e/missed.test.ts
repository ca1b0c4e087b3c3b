// Clients that are cut off at random bytes, again and again, have each message once and in order, or are notified of a
// gap. The readers share no code with ringcast/client. `npm run test:matrix` has 1,000 of them for a minute.

import { type Server as Listener, type Socket, connect, createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { type Options, type Server, serve } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Random } from "../../host/testing/random";
import { fileUrl, handlerOf, sleep, until, within } from "./peer";

const missed = suite("missed");

const IS_FULL = process.env.RINGCAST_MATRIX === "full";
const READERS = IS_FULL ? 1000 : 50;
const RATE = IS_FULL ? 1000 : 200;
const SECONDS = IS_FULL ? 60 : 4;
/** Time without a byte after which a reader gives its connection up, in ms. */
const SILENCE = 2000;
/** Most bytes of a connection before it is cut. */
const CUT_BYTES = RATE * 40 * 4;
/** Longest that the last message may take to arrive at each reader, in ms. */
const END_LIMIT = 60000;

/** An EventSource of its own. Messages are numbers, one more than the one before. */
class Reader {
  last = 0;
  position = "";
  readonly gaps: string[] = [];
  readonly errors: string[] = [];
  connections = 0;
  #isUnsure = true;
  #isOver = false;
  #socket: Socket | undefined;

  constructor(readonly port: () => number) {
    this.#open();
  }

  #open(): void {
    let text = "";
    let isBegun = false;
    const since = this.position && `Last-Event-ID: ${this.position}\r\n`;
    const socket = connect(this.port(), "127.0.0.1");
    this.#socket = socket.setEncoding("latin1").setTimeout(SILENCE, () => socket.destroy());
    socket.write(`GET /all HTTP/1.1\r\nHost: a\r\n${since}\r\n`);
    socket.on("data", (chunk) => {
      text += chunk;
      const head = isBegun ? 0 : text.indexOf("\r\n\r\n") + 4;
      if (head === 3) return;
      if (!isBegun && !text.startsWith("HTTP/1.1 200 ")) this.errors.push(text.slice(0, 60));
      isBegun = true;
      const events = text.slice(head).split("\n\n");
      text = events.pop() ?? "";
      for (const event of events) this.#take(event);
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      if (!this.#isOver) setTimeout(() => this.#open(), 20);
    });
    this.connections++;
  }

  #take(event: string): void {
    const fields: Record<string, string> = {};
    for (const line of event.split("\n")) {
      const colon = line.indexOf(": ");
      fields[line.slice(0, colon)] = line.slice(colon + 2);
    }
    const { id, event: name, data = "" } = fields;
    if (id) this.position = id;
    if (name === "ringcast-gap") {
      this.gaps.push(JSON.parse(data).reason);
      this.#isUnsure = true;
    }
    if (name || !id) return;
    const number = Number(data);
    const isRight = this.#isUnsure ? number > this.last : number === this.last + 1;
    if (!isRight) this.errors.push(`${number} after ${this.last}`);
    this.#isUnsure = false;
    this.last = number;
  }

  close(): void {
    this.#isOver = true;
    this.#socket?.destroy();
  }
}

/** A proxy that cuts each connection after a random number of bytes: by a reset, a FIN, or silence. */
class Cutter {
  upstream = 0;
  isCutting = true;
  readonly cuts = { reset: 0, fin: 0, freeze: 0 };
  readonly #random = new Random(Date.now() % 2 ** 31);
  readonly #listener: Listener;
  readonly #sockets = new Set<Socket>();

  constructor() {
    this.#listener = createServer((client) => this.#join(client)).listen(0, "127.0.0.1", 4096);
  }

  get port(): number {
    return (this.#listener.address() as AddressInfo).port;
  }

  #join(client: Socket): void {
    const upstream = connect(this.upstream, "127.0.0.1");
    const how = this.#random.pick(["reset", "fin", "freeze"] as const);
    let left = this.#random.int(0, this.#random.pick([300, 2000, CUT_BYTES, CUT_BYTES]));
    let isCut = false;
    for (const socket of [client, upstream]) {
      this.#sockets.add(socket);
      socket.on("error", () => undefined);
    }
    client.on("close", () => {
      this.#sockets.delete(client);
      upstream.destroy();
    });
    upstream.on("close", () => {
      this.#sockets.delete(upstream);
      if (!isCut) client.destroy();
    });
    client.on("data", (bytes) => upstream.write(bytes));
    client.on("drain", () => upstream.resume());
    upstream.on("data", (bytes) => {
      if (isCut) return;
      isCut = this.isCutting && bytes.length > left;
      const part = isCut ? bytes.subarray(0, left) : bytes;
      left -= part.length;
      if (!client.write(part) && !isCut) upstream.pause();
      if (!isCut) return;
      this.cuts[how]++;
      if (how === "reset") client.resetAndDestroy();
      else if (how === "fin") client.end();
      else upstream.pause();
      if (how !== "freeze") upstream.destroy();
    });
  }

  close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    return new Promise((resolve) => this.#listener.close(() => resolve()));
  }
}

/** Publishes the next numbers at the rate. */
class Publisher {
  last = 0;
  rate = RATE;
  server: Server | undefined;
  #due = 0;
  #at = performance.now();
  readonly #timer = setInterval(() => this.#publish(), 10);

  #publish(): void {
    const now = performance.now();
    this.#due += ((now - this.#at) * this.rate) / 1000;
    this.#at = now;
    for (; this.#due >= 1 && this.server?.broadcast(`${this.last + 1}`); this.#due--) this.last++;
    // Messages without room are not made up for.
    this.#due %= 1;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

const MODULE = fileUrl("handlers/events.mjs");

const PLACES: readonly (readonly [name: string, options: () => Promise<Options>])[] = [
  ["in the worker", async () => ({ handler: MODULE })],
  [
    "on the application's thread",
    async () => ({ handler: await handlerOf("events", "application") }),
  ],
  ["in a pool", async () => ({ handler: MODULE, pool: { threads: 2 } })],
];

for (const [name, place] of PLACES) {
  missed(`cut at random, readers have each message once and in order; ${name}`, async () => {
    const common = { port: 0, events: true, history: true, ring: "16MiB", flushInterval: 20 };
    const start = async (): Promise<Server> => serve({ ...common, ...(await place()) } as Options);
    const cutter = new Cutter();
    const publisher = new Publisher();
    let server = await start();
    const readers: Reader[] = [];
    try {
      publisher.server = server;
      cutter.upstream = server.address.port as number;
      while (readers.length < READERS) readers.push(new Reader(() => cutter.port));
      // The time is what is tested: random cuts while messages are published.
      await sleep(SECONDS * 500);
      publisher.server = undefined;
      await within(server.close(), "close");
      const returning = readers.filter(({ position }) => position !== "");
      const foreign = returning.map(({ position }) => position.slice(0, 8));
      assert.is(new Set(foreign).size, 1, "one epoch");
      server = await start();
      publisher.server = server;
      cutter.upstream = server.address.port as number;
      // As above.
      await sleep(SECONDS * 500);
      cutter.isCutting = false;
      // A reader that has had a gap needs a further message.
      publisher.rate = 10;
      const before = publisher.last;
      await until("each is back", () => readers.every(({ last }) => last > before), END_LIMIT);
      publisher.stop();
      const all = (): boolean => readers.every(({ last }) => last === publisher.last);
      await until("each reader has the last message", all, END_LIMIT);
      assert.equal(readers.flatMap(({ errors }) => errors).slice(0, 10), []);
      for (const reader of readers) {
        // A cut before the new position makes the gap come again.
        assert.is(reader.gaps.includes("epoch"), returning.includes(reader), "a restart is a gap");
        assert.ok(reader.connections > 1);
      }
      for (const [how, count] of Object.entries(cutter.cuts)) assert.ok(count > 0, how);
      const { resumed } = (await server.stats()) as unknown as { resumed: number };
      assert.ok(resumed > 0, "readers resumed");
    } finally {
      publisher.stop();
      for (const reader of readers) reader.close();
      await within(server.close(), "close");
      await cutter.close();
    }
  });
}

missed.run();
