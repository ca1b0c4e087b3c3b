// `ringcast/client` with event streams, over a `fetch` that the test controls, under a clock that is moved by hand.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type ConnectOptions, type Lost, connect } from "../../host/client";
import { type Clock, FakeSocket, FakeStream, inWorld, turn } from "../lib/client-world";

const client = suite("client events");

const URL_HERE = "http://a.example/live";
const EPOCH = "k2v9x0aa-";
const at = (n: number, epoch = EPOCH): string => epoch + n.toString(36).padStart(11, "0");

/** Opens an event stream, and notes its events. */
function recorded(options: ConnectOptions = {}) {
  const log: unknown[] = [];
  const losses: Lost[] = [];
  const connection = connect(URL_HERE, {
    events: true,
    openTimeout: 2147483647,
    onMessage: (data, { position, event }) =>
      log.push([data, position, event].filter((one) => one !== undefined).join(" ")),
    onGap: (reason, topic) => log.push(`gap ${reason}${topic === undefined ? "" : ` ${topic}`}`),
    onLost: (lost) => {
      log.push("lost");
      losses.push(lost);
    },
    onBack: ({ first, positions }) => log.push(`${first ? "first" : "back"} ${positions}`),
    ...options,
  });
  return { connection, log, losses };
}

function test(
  title: string,
  body: (clock: Clock, random: { value: number }) => Promise<void>,
  globals?: Record<string, unknown>,
): void {
  client(title, () => inWorld(body, globals));
}

/** Lets the wait end, so that the next attempt is made. */
async function again(clock: Clock, ms = 60000): Promise<FakeStream> {
  clock.advance(ms);
  await turn();
  return FakeStream.last;
}

test("opens, receives, and continues after the largest position", async (clock) => {
  const { connection, log, losses } = recorded();
  const { url, init, headers } = FakeStream.last;
  assert.equal([url, (init as { cache?: string }).cache], [URL_HERE, "no-store"]);
  assert.equal([...headers], [["accept", "text/event-stream"]]);
  assert.is(connection.isOpen, false);
  const first = await FakeStream.last.open();
  assert.is(connection.isOpen, true);
  assert.is(connection.send("dropped"), false);
  await first.get("event: ringcast-hello\ndata: {}\n\ndata: snapshot\n\n");
  assert.is(connection.position, undefined);
  await first.get(`id: ${at(1)}\nevent: ringcast-live\ndata: {}\n\n`);
  await first.get(`id: ${at(3)}\ndata: three\n\nid: ${at(2)}\ndata: two\n\n:\n\nid: ${at(9)}\n`);
  assert.is(connection.position, at(3));
  await first.end();
  assert.is(connection.isOpen, false);
  assert.equal(losses, [{ code: 1006, reason: "", attempt: 1, delay: 500 }]);
  const second = await again(clock, 500);
  assert.is(second.headers.get("Last-Event-ID"), at(3));
  await second.open();
  await second.get(
    `id: ${at(3)}\nevent: ringcast-hello\ndata: {}\n\nid: ${at(4)}\nevent: news\ndata: four\n\n`,
  );
  assert.equal(log, [
    "first true",
    "snapshot",
    `three ${at(3)}`,
    `two ${at(2)}`,
    "lost",
    "back true",
    `four ${at(4)} news`,
  ]);
  connection.close();
  assert.ok(second.isAborted);
  assert.is(clock.waiting, 0);
});

test("a gap is reported, by the server or because it does not continue", async (clock) => {
  const { connection, log } = recorded({ since: at(5) });
  assert.is(FakeStream.last.headers.get("Last-Event-ID"), at(5));
  const lose = async (text: string): Promise<void> => {
    await FakeStream.last.open();
    await FakeStream.last.get(text);
    await FakeStream.last.end();
    await again(clock);
  };
  const control = (name: string, json: string, id?: string): string =>
    `${id === undefined ? "" : `id: ${id}\n`}event: ringcast-${name}\ndata: ${json}\n\n`;
  // Another start of the server: its positions are the ones that count.
  const other = (n: number): string => at(n, "0000000b-");
  await lose(
    control("hello", "{}") +
      control("gap", '{"reason":"epoch"}') +
      "data: snapshot\n\n" +
      control("live", "{}", other(1)),
  );
  assert.is(connection.position, other(1));
  // Only one topic.
  await lose(control("hello", "{}", other(1)) + control("gap", '{"reason":"expired","topic":"a"}'));
  // Within the stream.
  await lose(control("hello", "{}", other(1)) + control("gap", '{"reason":"large"}', other(2)));
  assert.is(connection.position, other(2));
  // A server that knows nothing of it.
  await lose("data: snapshot\n\ndata: more\n\n");
  await lose(`id: ${other(7)}\ndata: seven\n\n`);
  // One that says hello and no more.
  await lose(`${control("hello", "{}")}data: snapshot\n\n${control("live", "{}", other(9))}`);
  connection.close();
  assert.equal(
    log.filter((line) => !/^(lost|back|first)/.test(`${line}`)),
    [
      ...["gap epoch", "snapshot"],
      "gap expired a",
      "gap large",
      ...["gap unsupported", "snapshot", "more"],
      ...["gap unsupported", `seven ${other(7)}`],
      ...["snapshot", "gap unsupported"],
    ],
  );
});

test("retry is a time to wait before the random part, and is remembered", async (clock, random) => {
  const { losses, connection } = recorded({ maxDelay: 4000 });
  random.value = 0.5;
  await (await FakeStream.last.open()).get("retry: 3000\n\n");
  await FakeStream.last.end();
  await (await again(clock, 3500)).fail("refused");
  await (await again(clock, 4000)).open();
  await FakeStream.last.get("retry: 99999\n\nretry: 1x\n\n");
  await FakeStream.last.end();
  connection.close();
  assert.equal(
    losses.map(({ delay, reason }) => [delay, reason]),
    [
      [3500, ""],
      [4000, "TypeError: refused"],
      [6000, ""],
    ],
  );
});

test("the server's close ends it, or brings it back, by its code", async (clock) => {
  const ends: number[] = [];
  for (const code of [1000, 1001, 1008, 1011, 1012, 1013, 4000, 4999]) {
    const { losses } = recorded();
    const stream = await FakeStream.last.open();
    await stream.get(
      `event: ringcast-close\ndata: {"code":${code},"reason":"why"}\n\ndata: late\n\n`,
    );
    assert.ok(stream.isAborted);
    assert.equal([losses[0]?.code, losses[0]?.reason, losses.length], [code, "why", 1]);
    const made = FakeStream.all.length;
    await again(clock);
    if (FakeStream.all.length === made) ends.push(code);
    assert.is(losses[0]?.delay === undefined, FakeStream.all.length === made);
  }
  assert.equal(ends, [1000, 4000, 4999]);
  const { losses } = recorded({ retry: () => true });
  await (await FakeStream.last.open()).get("event: ringcast-close\ndata: no JSON\n\n");
  assert.equal(losses, [{ code: 1006, reason: "", attempt: 1, delay: 500 }]);
});

test("a response that is no event stream is a failure, and some statuses are the end", async (clock) => {
  const ends: number[] = [];
  for (const status of [200, 204, 301, 400, 401, 404, 408, 425, 429, 499, 500, 503]) {
    const { losses } = recorded();
    const stream = FakeStream.last;
    await stream.open(status, "text/plain");
    assert.ok(stream.isAborted);
    const reason = status === 200 ? '"text/plain" is no event stream' : `status ${status}`;
    assert.equal(
      losses.map((lost) => [lost.code, lost.reason, lost.status]),
      [[1006, reason, status]],
    );
    const made = FakeStream.all.length;
    await again(clock);
    if (FakeStream.all.length === made) ends.push(status);
  }
  assert.equal(ends, [204, 400, 401, 404, 499]);
  const { log } = recorded();
  await FakeStream.last.open(200, "text/event-stream;charset=utf-8");
  assert.equal(log, ["first true"]);
});

test("a stream without a byte for maxSilence is lost, comments keep it", async (clock) => {
  const { log, losses, connection } = recorded();
  await FakeStream.last.open();
  for (let i = 0; i < 10; i++) {
    clock.advance(37499);
    await FakeStream.last.get(":\n\n");
  }
  assert.equal(log, ["first true"]);
  clock.advance(37499);
  assert.is(losses.length, 0);
  clock.advance(1);
  assert.ok(FakeStream.last.isAborted);
  assert.equal([losses[0]?.code, losses[0]?.reason], [1006, "silence"]);
  connection.close();
  assert.is(clock.waiting, 0);
});

test("an attempt that does not open in time is given up", async (clock) => {
  const { losses, connection } = recorded({ openTimeout: 2000 });
  const [first] = FakeStream.all as [FakeStream];
  clock.advance(2000);
  assert.ok(first.isAborted);
  assert.equal([losses[0]?.code, losses[0]?.reason, losses.length], [1006, "timeout", 1]);
  await first.open();
  const second = await again(clock, 500);
  await second.open();
  clock.advance(5000);
  assert.is(losses.length, 1);
  connection.close();
  assert.is(clock.waiting, 0);
});

test("errors of callbacks are uncaught errors, and the stream continues", async (clock) => {
  const thrown: unknown[] = [];
  const { connection, log } = recorded({
    onMessage: (data) => {
      log.push(data);
      throw new Error(`of ${data}`);
    },
  });
  await FakeStream.last.open();
  // uvu listens for them, too.
  const others = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", (error) => thrown.push(error.message));
  await FakeStream.last.get("data: a\n\ndata: b\n\n");
  await turn();
  process.removeAllListeners("uncaughtException");
  for (const listener of others) process.on("uncaughtException", listener);
  assert.equal(log, ["first true", "a", "b"]);
  assert.equal(thrown, ["of a", "of b"]);
  connection.close();
  assert.is(clock.waiting, 0);
});

test("close before it opens, and within a callback, is the end", async (clock) => {
  const early = recorded();
  early.connection.close();
  assert.ok(FakeStream.last.isAborted);
  const within = recorded({ onBack: () => within.connection.close() });
  await FakeStream.last.open();
  assert.ok(FakeStream.last.isAborted);
  const lost = recorded({ onLost: () => lost.connection.close() });
  await FakeStream.last.fail("refused");
  await again(clock);
  assert.is(FakeStream.all.length, 3);
  assert.is(clock.waiting, 0);
  assert.equal([early.log, within.log, lost.log], [[], [], []]);
});

test(
  "in a page, another origin gets the position in the query, which needs no preflight",
  async () => {
    recorded({ since: "\u20ac 1", request: { credentials: "include", headers: { "X-A": "b" } } });
    assert.is(FakeStream.last.url, `${URL_HERE}?since=%E2%82%AC%201`);
    assert.equal(
      [...FakeStream.last.headers],
      [
        ["accept", "text/event-stream"],
        ["x-a", "b"],
      ],
    );
    assert.is(FakeStream.last.init.credentials, "include");
    connect("/own?x=1", { events: true, since: "\u20ac 1" });
    assert.is(FakeStream.last.url, "https://page.example/own?x=1");
    assert.is(FakeStream.last.headers.get("Last-Event-ID"), "\u00e2\u0082\u00ac 1");
    connect("wss://page.example/own", { events: true });
    assert.is(FakeStream.last.url, "https://page.example/own");
  },
  { location: { href: "https://page.example/a/b", origin: "https://page.example" } },
);

test("ids of any server are kept, the last one counts, and an empty one is none", async (clock) => {
  const { connection, log } = recorded();
  await FakeStream.last.open();
  await FakeStream.last.get("id: 10\ndata: a\n\nid: 9\n\n");
  assert.is(connection.position, "9");
  await FakeStream.last.get("id: 11\ndata: a\n\nid:\ndata: b\n\n");
  assert.is(connection.position, undefined);
  await FakeStream.last.end();
  await again(clock);
  assert.not.ok(FakeStream.last.headers.has("Last-Event-ID"));
  connection.close();
  assert.equal(log, ["first true", "a 10", "a 11", "b ", "lost"]);
});

test("names a wrong argument before anything is connected", async () => {
  const wrong: [object, typeof TypeError, RegExp][] = [
    [{ events: 1 }, TypeError, /^events: 1 is not a boolean$/],
    [{ positions: "yes" }, TypeError, /^positions: yes is not a boolean$/],
    [{ events: true, since: 5 }, TypeError, /^since: 5 is not a string$/],
    [{ events: true, openTimeout: 0 }, RangeError, /^openTimeout: 0 .* from 1 to 2147483647$/],
    [{ events: true, maxSilence: 2147483648 }, RangeError, /^maxSilence: 2147483648 /],
    [{ events: true, onGap: null }, TypeError, /^onGap: null is not a function$/],
    [{ events: true, fetch: null }, TypeError, /^fetch: null is not a function$/],
    [{ events: true, protocols: "a" }, TypeError, /^protocols: a is not for event streams$/],
    [
      { events: true, subscriptions: ["a"] },
      TypeError,
      /^subscriptions: a is not for event streams$/,
    ],
  ];
  for (const [options, type, pattern] of wrong) {
    try {
      connect(URL_HERE, options);
    } catch (error) {
      assert.instance(error, type);
      assert.match((error as Error).message, pattern);
      continue;
    }
    assert.unreachable(`${pattern}`);
  }
  assert.is(FakeStream.all.length + FakeSocket.all.length, 0);
  const { connection } = recorded();
  assert.throws(() => connection.subscribe("a"), /^subscribe: a is not for event streams$/);
});

client.run();
