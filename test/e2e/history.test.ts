// Event streams that return over real connections: clients of a few lines, which share no code with the package. The
// handler is in the worker, on this thread, and in a pool.

import { type Socket, connect } from "node:net";
import { type Options, type Server, serve } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { fileUrl, handlerOf, until, within } from "./peer";

const history = suite("history");

const MODULE = fileUrl("handlers/history.mjs");

/** A reader: it keeps the last id, and comes back with it. */
class Reader {
  readonly got: string[] = [];
  /** Events by their names. */
  readonly named: string[] = [];
  last = "";
  #socket: Socket | undefined;
  #text = "";
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  open(port: number): void {
    const since = this.last === "" ? "" : `Last-Event-ID: ${this.last}\r\n`;
    this.#text = "";
    this.#socket = connect(port, "127.0.0.1", () =>
      this.#socket?.write(`GET ${this.#path} HTTP/1.1\r\nHost: localhost\r\n${since}\r\n`),
    );
    this.#socket.on("error", () => undefined);
    this.#socket.setEncoding("utf8").on("data", (data) => this.#take(String(data)));
  }

  cut(): void {
    this.#socket?.resetAndDestroy();
  }

  #take(data: string): void {
    const blocks = (this.#text + data).split("\n\n");
    this.#text = blocks.pop() ?? "";
    for (const block of blocks) {
      const field = (name: string): string | undefined =>
        new RegExp(`^${name}: (.*)$`, "m").exec(block)?.[1];
      const [id, name, text] = [field("id"), field("event"), field("data")];
      if (text === undefined) continue;
      this.last = id ?? this.last;
      if (name) this.named.push(`${name.replace("ringcast-", "")} ${text}`);
      else this.got.push(text);
    }
  }

  has(text: string): Promise<void> {
    return until(`the reader gets ${text}`, () => this.got.includes(text));
  }
}

async function withServer(
  options: Options,
  body: (server: Server, port: number) => Promise<void>,
): Promise<void> {
  const common = { port: 0, events: true, history: true, onError: () => undefined };
  const server = await serve({ ...common, ...options });
  try {
    await body(server, server.address.port as number);
  } finally {
    await within(server.close(), "close");
  }
}

const PLACES: readonly (readonly [name: string, options: () => Promise<Options>])[] = [
  ["in the worker", async () => ({ handler: MODULE })],
  [
    "on the application's thread",
    async () => ({ handler: await handlerOf("history", "application") }),
  ],
  ["in a pool", async () => ({ handler: MODULE, pool: { threads: 2 } })],
];

for (const [name, options] of PLACES) {
  history(
    `a reader that is cut off gets all that it has missed; the handler is ${name}`,
    async () =>
      withServer(await options(), async (server, port) => {
        const reader = new Reader("/?topic=news");
        reader.open(port);
        await reader.has("snapshot 2");
        await until("live", () => reader.named.length === 2);
        assert.equal(reader.got, ["snapshot 1 none first", "snapshot 2"]);
        assert.is(reader.named[0], "hello {}");
        assert.is(reader.named[1], `live {"position":"${reader.last}"}`);
        const wanted = [...reader.got];
        for (let i = 0; i < 30; i++) {
          const text = `message ${i}`;
          wanted.push(text);
          assert.ok(i % 3 === 0 ? server.broadcast(text) : server.publish("news", text));
          server.publish("other", `of another topic ${i}`);
          if (i % 10 !== 4) continue;
          await reader.has(text);
          reader.cut();
          reader.open(port);
        }
        await reader.has("message 29");
        assert.equal(reader.got, wanted);
        const since = reader.last;
        reader.cut();
        server.broadcast("while it is away");
        reader.open(port);
        await reader.has("while it is away");
        assert.equal(reader.named.at(-1), `hello {"position":"${since}"}`);
        const { resumed, gaps } = await server.stats();
        assert.ok(resumed >= 2);
        assert.equal(gaps, { expired: 0, epoch: 0, invalid: 0, lapped: 0, large: 0 });
      }),
  );

  history(
    `a gap is reported with its reason, and a snapshot follows; the handler is ${name}`,
    async () =>
      withServer({ ...(await options()), ring: 8192, eventRing: 16384 }, async (server, port) => {
        const keeper = new Reader("/");
        keeper.open(port);
        await keeper.has("snapshot 2");
        const old = await server.position();
        for (let i = 0; i < 100; i++) {
          while (!server.broadcast("x".repeat(300))) await server.position();
        }
        // The worker has published them.
        await server.position();
        const epoch = old.slice(0, 8);
        const cases: [since: string, reason: string][] = [
          [old, "expired"],
          [`${epoch === "00000000" ? "00000001" : "00000000"}${old.slice(8)}`, "epoch"],
          [`${epoch}-zzzzzzzzzzz`, "invalid"],
          ["no position", "invalid"],
        ];
        for (const [since, reason] of cases) {
          const reader = new Reader("/");
          reader.last = since;
          reader.open(port);
          await reader.has("snapshot 2");
          await until("live", () => reader.named.length === 3);
          assert.equal(reader.named.slice(0, 2), ["hello {}", `gap {"reason":"${reason}"}`]);
          assert.is(reader.got[0], `snapshot 1 ${since} ${reason}`);
          assert.ok(reader.named[2]?.startsWith('live {"position":"'));
          reader.cut();
        }
      }),
  );
}

history("a restart of the server is a gap for its former clients", async () => {
  const reader = new Reader("/");
  await withServer({ handler: MODULE }, async (server, port) => {
    reader.open(port);
    await reader.has("snapshot 2");
    server.broadcast("before");
    await reader.has("before");
  });
  await withServer({ handler: MODULE }, async (server, port) => {
    reader.open(port);
    await until("it is told", () => reader.named.includes('gap {"reason":"epoch"}'));
    await until("live", () => reader.named.at(-1)?.startsWith("live ") === true);
    server.broadcast("after");
    await reader.has("after");
    assert.is((await server.stats()).gaps.epoch, 1);
  });
});

history("readers that are cut at random moments miss nothing and get nothing twice", () =>
  withServer({ handler: MODULE, ring: "4MiB" }, async (server, port) => {
    const readers = Array.from({ length: 20 }, (_, i) => new Reader(i % 2 ? "/?topic=news" : "/"));
    for (const reader of readers) reader.open(port);
    for (const reader of readers) await reader.has("snapshot 2");
    await until("live", () => readers.every(({ named }) => named.length === 2));
    const all: string[] = [];
    for (let i = 0; i < 2000; i++) {
      const text = `${i}`;
      while (!(i % 2 ? server.publish("news", text) : server.broadcast(text)))
        await server.position();
      all.push(text);
      const reader = readers[(i * 7) % readers.length] as Reader;
      if (i % 5 === 0) reader.cut();
      if (i % 5 === 2) (readers[((i - 2) * 7) % readers.length] as Reader).open(port);
      if (i % 20 === 0) await server.position();
    }
    for (const reader of readers) {
      reader.cut();
      reader.open(port);
    }
    for (const [i, reader] of readers.entries()) {
      const wanted = i % 2 ? all : all.filter((text) => Number(text) % 2 === 0);
      await reader.has(wanted.at(-1) as string);
      const numbers = reader.got.filter((text) => /^\d+$/.test(text));
      assert.equal(numbers, wanted);
    }
  }),
);

history.run();
