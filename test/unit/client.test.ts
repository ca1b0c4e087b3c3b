// `ringcast/client` under a clock that is moved by hand, over WebSockets that the test controls.

import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { transform } from "esbuild";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type ConnectOptions, type Lost, connect } from "../../host/client";
import { Random } from "../../host/testing/random";
import { type Clock, FakeSocket, inWorld as runInWorld } from "../lib/client-world";

const client = suite("client");

/** Bytes of the file at most, minified and gzipped. */
const SIZE_LIMIT = 4000;

/** Runs a test in a world of its own. */
function inWorld(title: string, ...args: Parameters<typeof runInWorld>): void {
  client(title, () => runInWorld(...args));
}

const URL_HERE = "ws://a.example/";

/** Opens a connection, and notes its events. */
function recorded(options: ConnectOptions = {}) {
  const log: unknown[] = [];
  const losses: Lost[] = [];
  const connection = connect(URL_HERE, {
    // Only the tests of positions and events are about it.
    openTimeout: 2147483647,
    onMessage: (data) => log.push(data),
    onLost: (lost) => {
      log.push("lost");
      losses.push(lost);
    },
    onBack: ({ first }) => log.push(first ? "first" : "back"),
    ...options,
  });
  return { connection, log, losses };
}

inWorld("opens, receives, and reconnects when the connection is lost", (clock) => {
  const { connection, log, losses } = recorded({ protocols: ["b", "a"] });
  assert.equal(FakeSocket.last.offered, ["b", "a"]);
  assert.is(FakeSocket.last.binaryType, "arraybuffer");
  assert.is(connection.isOpen, false);
  FakeSocket.last.open();
  assert.is(connection.isOpen, true);
  FakeSocket.last.get("one");
  FakeSocket.last.end(1001, "restart");
  assert.is(connection.isOpen, false);
  assert.equal(losses, [{ code: 1001, reason: "restart", attempt: 1, delay: 500 }]);
  clock.advance(499);
  assert.is(FakeSocket.all.length, 1);
  clock.advance(1);
  assert.is(FakeSocket.all.length, 2);
  FakeSocket.last.open().get("two");
  assert.equal(log, ["first", "one", "lost", "back", "two"]);
});

inWorld("the first try may fail as any other", (clock) => {
  const { log } = recorded();
  FakeSocket.last.error().end();
  clock.advance(500);
  FakeSocket.last.open();
  assert.equal(log, ["lost", "first"]);
});

inWorld("waits are a random part of bounds that double, up to maxDelay", (clock, random) => {
  const { losses } = recorded({ delay: 100, maxDelay: 1500 });
  const parts = [0.9, 0, 0.25, 0.5, 0.75, 0.999, 0.1];
  for (const part of parts) {
    random.value = part;
    FakeSocket.last.end();
    clock.advance(1500);
  }
  const bounds = [100, 200, 400, 800, 1500, 1500, 1500];
  assert.equal(
    losses.map(({ delay }) => delay),
    bounds.map((bound, i) => bound * (parts[i] as number)),
  );
  assert.equal(
    losses.map(({ attempt }) => attempt),
    [1, 2, 3, 4, 5, 6, 7],
  );
});

inWorld("it never gives up, however long it takes", (clock, random) => {
  random.value = 0.999;
  const { losses } = recorded();
  for (let i = 0; i < 3000; i++) {
    FakeSocket.last.end();
    clock.advance(30000);
  }
  assert.is(FakeSocket.all.length, 3001);
  assert.is(losses.at(-1)?.delay, 29970);
});

inWorld("waits begin again when a connection has lasted maxDelay, not before", (clock) => {
  const { losses } = recorded({ delay: 100, maxDelay: 1000 });
  for (const lasted of [0, 999, 1000, 10]) {
    FakeSocket.last.open();
    clock.advance(lasted);
    FakeSocket.last.end();
    clock.advance(1000);
  }
  // A try that never opens lasts as long as it may.
  clock.advance(5000);
  FakeSocket.last.end();
  assert.equal(
    losses.map(({ attempt }) => attempt),
    [1, 2, 1, 2, 3],
  );
});

inWorld("subscriptions are sent at each opening, in order, before onBack", (clock) => {
  let seen = 7;
  const since = (): string => `since ${seen}`;
  const { connection } = recorded({
    subscriptions: ["a", since],
    onBack: () => void connection.send("back"),
  });
  connection.subscribe("b");
  assert.equal(FakeSocket.last.sent, [], "nothing before it opens");
  FakeSocket.last.open();
  assert.equal(FakeSocket.last.sent, ["a", "since 7", "b", "back"]);
  connection.subscribe("c");
  connection.subscribe("a");
  assert.equal(FakeSocket.last.sent.slice(4), ["c"], "at once, and each only once");
  connection.unsubscribe("b");
  connection.unsubscribe("never was");
  seen = 9;
  FakeSocket.last.end();
  connection.subscribe("d");
  clock.advance(1000);
  FakeSocket.last.open();
  assert.equal(FakeSocket.last.sent, ["a", "since 9", "c", "d", "back"]);
});

inWorld("a message that cannot be sent now is not sent later", (clock) => {
  const { connection } = recorded();
  assert.is(connection.send("connecting"), false);
  FakeSocket.last.open();
  assert.is(connection.send("open"), true);
  FakeSocket.last.readyState = 2;
  assert.is(connection.send("closing"), false);
  FakeSocket.last.end();
  assert.is(connection.send("lost"), false);
  clock.advance(1000);
  FakeSocket.last.open();
  assert.equal(
    FakeSocket.all.map(({ sent }) => sent),
    [["open"], []],
  );
});

inWorld("close ends it for good, and no event follows", (clock) => {
  const connecting = recorded();
  const [first] = FakeSocket.all as [FakeSocket];
  connecting.connection.close();
  first.error().open().end();
  const open = recorded();
  const second = FakeSocket.last.open();
  open.connection.close(4001, "enough");
  assert.equal(second.closedWith, [4001, "enough"]);
  second.get("late");
  second.end(4001);
  const waiting = recorded();
  FakeSocket.last.end();
  waiting.connection.close();
  clock.advance(100000);
  assert.is(FakeSocket.all.length, 3, "no more are made");
  assert.is(clock.waiting, 0);
  assert.equal([connecting.log, open.log, waiting.log], [[], ["first"], ["lost"]]);
  assert.is(open.connection.send("x"), false);
  assert.is(open.connection.isOpen, false);
});

inWorld("close may be called by the callback that it calls", (clock) => {
  const lost = recorded({ onLost: () => lost.connection.close() });
  FakeSocket.last.end();
  const back = recorded({ onBack: () => back.connection.close() });
  FakeSocket.last.open().end();
  clock.advance(100000);
  assert.is(FakeSocket.all.length, 2);
});

inWorld("a code of the application ends it, unless `retry` allows another try", (clock) => {
  const codes = [1000, 1001, 1006, 1008, 1012, 1013, 3999, 4000, 4401, 4999];
  const ends = (options: ConnectOptions): number[] =>
    codes.filter((code) => {
      const { losses } = recorded(options);
      const made = FakeSocket.all.length;
      FakeSocket.last.open().end(code, "why");
      clock.advance(100000);
      const hasEnded = FakeSocket.all.length === made;
      assert.is(losses[0]?.delay === undefined, hasEnded, `${code}`);
      return hasEnded;
    });
  assert.equal(ends({}), [4000, 4401, 4999]);
  const asked: unknown[] = [];
  const retry: ConnectOptions["retry"] = (ending) => {
    asked.push(ending);
    return ending.code !== 1008;
  };
  assert.equal(ends({ retry }), [1008]);
  assert.equal(asked[3], { code: 1008, reason: "why" });
});

inWorld("an error without a close is an end; with a close there is only one end", (clock) => {
  const { losses } = recorded();
  FakeSocket.last.error();
  clock.advance(0);
  FakeSocket.last.error().end(1006, "twice?");
  clock.advance(500);
  FakeSocket.last.open().error().end(1002, "bad frame");
  clock.advance(0);
  assert.equal(
    losses.map(({ code, reason }) => [code, reason]),
    [
      [1006, ""],
      [1002, "bad frame"],
    ],
  );
});

inWorld("a retry that throws does not leave it dead", (clock) => {
  recorded({
    retry: () => {
      throw new Error("mine");
    },
  });
  assert.throws(() => FakeSocket.last.end(), "mine");
  clock.advance(1000);
  assert.is(FakeSocket.all.length, 2);
});

inWorld("the URL: of ws or http, of a function that is asked at each try", (clock) => {
  const urls = [
    ["ws://a.example/x?y", "ws://a.example/x?y"],
    ["wss://a.example", "wss://a.example/"],
    ["http://a.example/x", "ws://a.example/x"],
    [new URL("https://a.example/http"), "wss://a.example/http"],
  ] as const;
  for (const [given, used] of urls) {
    connect(given);
    assert.is(FakeSocket.last.url, used);
  }
  let token = 0;
  const losses: Lost[] = [];
  const url = (): string => {
    if (token === 2) throw new Error("no token");
    return `${URL_HERE}?${token++}`;
  };
  connect(url, { onLost: (lost) => losses.push(lost) });
  FakeSocket.last.end();
  clock.advance(1000);
  assert.is(FakeSocket.last.url, `${URL_HERE}?1`);
  const made = FakeSocket.all.length;
  FakeSocket.last.end();
  clock.advance(2000);
  assert.is(FakeSocket.all.length, made, "there is none to try");
  assert.equal(
    losses.map(({ reason }) => reason),
    ["", "", "Error: no token"],
  );
  token = 5;
  clock.advance(2000);
  assert.is(FakeSocket.last.url, `${URL_HERE}?5`, "and it goes on");
});

inWorld(
  "the URL: relative to the page",
  () => {
    connect("/live");
    assert.is(FakeSocket.last.url, "wss://page.example/live");
  },
  { location: { href: "https://page.example/a/b" } },
);

inWorld("names a wrong argument before anything is connected", () => {
  const wrong: [ConnectOptions | object, typeof TypeError, RegExp][] = [
    [{ delay: "1" }, TypeError, /^delay: 1 is not a number of ms from 1 to 30000$/],
    [{ delay: 0 }, RangeError, /^delay: 0 is not a number of ms from 1 to 30000$/],
    [{ delay: 31000 }, RangeError, /^delay: 31000 .* to 30000$/],
    [{ delay: 600, maxDelay: 500 }, RangeError, /^delay: 600 .* to 500$/],
    [{ delay: Number.NaN }, RangeError, /^delay: NaN /],
    [{ maxDelay: 2147483648 }, RangeError, /^maxDelay: 2147483648 .* from 1 to 2147483647$/],
    [{ maxDelay: null }, TypeError, /^maxDelay: null /],
    [{ onMessage: "x" }, TypeError, /^onMessage: x is not a function$/],
    [{ onLost: null }, TypeError, /^onLost: null is not a function$/],
    [{ onBack: {} }, TypeError, /^onBack: /],
    [{ retry: true }, TypeError, /^retry: true is not a function$/],
    [{ WebSocket: 7 }, TypeError, /^WebSocket: 7 is not a function$/],
    [{ onmessage: () => 1 }, TypeError, /^options: onmessage is not one of them$/],
    [{ subscriptions: 5 }, TypeError, /iterable/],
  ];
  for (const [options, type, pattern] of wrong) {
    try {
      connect(URL_HERE, options as ConnectOptions);
    } catch (error) {
      assert.instance(error, type);
      assert.match((error as Error).message, pattern);
      continue;
    }
    assert.unreachable(`${pattern}`);
  }
  for (const url of ["", "/live", "ftp://a.example/", "a b"])
    assert.throws(() => connect(url), new RegExp(`^url: ${url} is not a URL of ws or http$`));
  assert.is(FakeSocket.all.length, 0);
});

inWorld(
  "reports a runtime without a WebSocket",
  () => {
    assert.throws(() => connect(URL_HERE), /^WebSocket: undefined is not a function$/);
    connect(URL_HERE, { WebSocket: FakeSocket });
    assert.is(FakeSocket.all.length, 1);
  },
  { WebSocket: undefined },
);

/** A page with its events of networks and visibility, and its listeners. */
class Page extends EventTarget {
  hidden = false;
  listeners = 0;
  override addEventListener(
    type: string,
    listener: Parameters<EventTarget["addEventListener"]>[1],
  ): void {
    this.listeners++;
    super.addEventListener(type, listener);
  }
  override removeEventListener(
    type: string,
    listener: Parameters<EventTarget["addEventListener"]>[1],
  ): void {
    this.listeners--;
    super.removeEventListener(type, listener);
  }
  tell(type: string): void {
    this.dispatchEvent(new Event(type));
  }
}
const page = new Page();

inWorld(
  "reconnects soon when the network is back or the page becomes visible",
  (clock, random) => {
    const { connection } = recorded({ maxDelay: 60000, delay: 1000 });
    assert.is(page.listeners, 2);
    const lose = (): void => {
      for (let i = 0; i < 8; i++) {
        random.value = 0.999;
        FakeSocket.last.end();
        if (i < 7) clock.advance(60000);
      }
    };
    for (const event of ["online", "visibilitychange"]) {
      lose();
      const before = FakeSocket.all.length;
      clock.advance(5000);
      page.hidden = true;
      page.tell(event);
      clock.advance(1000);
      assert.is(FakeSocket.all.length, before, "nobody looks");
      page.hidden = false;
      random.value = 0.3;
      page.tell(event);
      clock.advance(299);
      assert.is(FakeSocket.all.length, before);
      clock.advance(1);
      assert.is(FakeSocket.all.length, before + 1, event);
      // While it tries, and while it is open, there is nothing to hurry.
      page.tell(event);
      FakeSocket.last.open();
      page.tell(event);
      clock.advance(5000);
      assert.is(FakeSocket.all.length, before + 1);
    }
    // A wait that is short is not made longer.
    connection.close();
    assert.is(page.listeners, 0);
    const again = recorded();
    random.value = 0.1;
    FakeSocket.last.end();
    random.value = 0.9;
    page.tell("online");
    const made = FakeSocket.all.length;
    clock.advance(100);
    assert.is(FakeSocket.all.length, made + 1);
    again.connection.close();
    assert.is(page.listeners, 0);
  },
  {
    document: page,
    addEventListener: page.addEventListener.bind(page),
    removeEventListener: page.removeEventListener.bind(page),
  },
);

const CLIENTS = 1000;
/** How long the server of the herd is away, in ms. */
const AWAY = 5000;

/** Tries of each 100 ms from the restart of a server with many clients on, and when each was back, in ms. */
function herd(clock: Clock): { tries: number[]; back: number[] } {
  const tries: number[] = [];
  const back: number[] = [];
  const start = 100000;
  for (let i = 0; i < CLIENTS; i++) connect(URL_HERE);
  for (const socket of FakeSocket.all) socket.open();
  clock.advance(start);
  let seen = FakeSocket.all.length;
  for (const socket of FakeSocket.all.slice()) socket.end(1006);
  const isUp = (): boolean => clock.now - start >= AWAY;
  for (let slot = 0; slot < 400; slot++) {
    clock.advance(100);
    const made = FakeSocket.all.slice(seen);
    seen = FakeSocket.all.length;
    tries.push(made.length);
    for (const socket of made) {
      if (!isUp()) socket.error().end();
      else {
        socket.open();
        back.push(clock.now - start);
      }
    }
  }
  return { tries, back };
}

inWorld("1,000 clients of a server that restarts are no herd", (clock) => {
  const numbers = new Random(1);
  Math.random = () => numbers.next();
  const { tries, back } = herd(clock);
  const most = Math.max(...tries);
  const mostWhenUp = Math.max(...tries.slice(AWAY / 100));
  const backAt = (part: number): number => (back[CLIENTS * part - 1] as number) / 1000;
  console.log(
    `client: 1000 lost at once, server away for 5 s: at most ${most} tries in 100 ms, ${mostWhenUp} once it is ` +
      `up; half are back after ${backAt(0.5)} s, 99% after ${backAt(0.99)} s, all after ${backAt(1)} s`,
  );
  assert.is(back.length, CLIENTS);
  assert.ok(most <= 200, `${most} tries within 100 ms`);
  assert.ok(mostWhenUp <= 50, `${mostWhenUp} tries within 100 ms of a server that is up`);
  assert.ok(backAt(0.5) <= 9 && backAt(0.99) <= 22 && backAt(1) <= 35, "they are back in time");
  const open = FakeSocket.all.filter(({ readyState }) => readyState === 1);
  assert.is(open.length, CLIENTS);
});

inWorld("they would be one, were their waits the same", (clock) => {
  Math.random = () => 0.999;
  assert.is(Math.max(...herd(clock).tries), CLIENTS);
});

client("the file is small, imports nothing, and is ES2020", async () => {
  const text = readFileSync("dist/client.js", "utf8");
  const { code: minified } = await transform(text, { minify: true });
  const bytes = Buffer.byteLength(minified);
  const packed = gzipSync(minified).length;
  console.log(`client.js: ${bytes} bytes minified, ${packed} bytes gzipped of ${SIZE_LIMIT}`);
  assert.ok(packed < SIZE_LIMIT, `${packed} bytes`);
  assert.not.match(text, /\bimport\b|\brequire\b/);
  // Newer syntax would be rewritten.
  const options = { format: "esm", minify: true, legalComments: "none" } as const;
  const [older, newer] = await Promise.all(
    ["es2020", "esnext"].map((target) => transform(text, { ...options, target })),
  );
  assert.is(older?.code, newer?.code);
  assert.not.match(text, /\.at\(|structuredClone|Object\.hasOwn|replaceAll/);
});

client.run();
