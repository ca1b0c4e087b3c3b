// Topics over real sockets: from a handler, and from the application's thread.

import type { Server } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Random } from "../../host/testing/random";
import {
  type Frame,
  type Greeted,
  TEXT,
  openGreeted,
  pattern,
  reported,
  serving,
  sleep,
  until,
  within,
} from "./peer";

const topics = suite("topics");

/** Says a command; returns what is answered. */
async function ask({ wire }: Greeted, command: string): Promise<string> {
  wire.send(TEXT, command);
  return (await wire.text()).replace(/^= /, "");
}

topics("a handler subscribes, publishes, counts and lists", async () => {
  await serving("topics", { maxTopics: 2, maxSubscriptions: 3 }, async (_, port) => {
    const [a, b] = [await openGreeted(port), await openGreeted(port)] as const;
    assert.is(await ask(a, "sub news"), "true");
    assert.is(await ask(a, "sub news"), "true");
    assert.is(await ask(b, "sub news"), "true");
    assert.is(await ask(a, "sub 語"), "true");
    assert.is(await ask(a, "list"), "news,語");
    assert.is(await ask(a, "is 語"), "true");
    assert.is(await ask(b, "is 語"), "false");
    assert.is(await ask(a, "count news"), "2");
    assert.is(await ask(a, "stats"), "2 3");
    assert.match(
      await ask(b, "sub 語"),
      /^RangeError: subscribe: all 3 subscriptions \(maxSubscriptions\) are taken$/,
    );
    assert.is(await ask(b, "unsub news"), "true");
    assert.is(await ask(b, "unsub news"), "false");
    assert.match(await ask(b, "sub x"), /^RangeError: subscribe: all 2 topics \(maxTopics\)/);
    assert.match(await ask(b, `sub ${"x".repeat(201)}`), /^RangeError: topic: .* 1 to 200 bytes$/);
    assert.match(await ask(b, "sub "), /^RangeError: topic: ""/);
    assert.is(await ask(b, "say news hello"), "true");
    assert.is(await a.wire.text(), "hello");
    assert.is(await ask(a, "say news not me"), "true");
    a.wire.destroy();
    await until("it is gone", async () => (await ask(b, "stats")) === "0 0");
    b.wire.destroy();
  });
});

topics("a snapshot and a subscription in one run leave no gap", async () => {
  await serving("topics", {}, async (_, port) => {
    const a = await openGreeted(port);
    a.wire.send(TEXT, "join t");
    const got = [await a.wire.text(), await a.wire.text(), await a.wire.text()];
    assert.equal(got, ["snapshot", "first", "= joined"]);
    a.wire.destroy();
  });
});

topics("the application subscribes by id, publishes, leaves one out, counts", async () => {
  await serving("topics", {}, async (server, port) => {
    const [a, b] = [await openGreeted(port), await openGreeted(port)] as const;
    for (const { id } of [a, b]) assert.ok(server.subscribe(id, "t"));
    assert.is(await server.subscriberCount("t"), 2);
    server.publish("t", "both");
    server.publish("t", "a alone", { except: b.id });
    server.broadcast("b alone", { except: a.id });
    server.publish("nobody's", "lost");
    server.stage().text("sta").text("ged").publish("t", { except: a.id });
    server.publish("t", new Uint8Array([1, 2]));
    server.unsubscribe(a.id, "t");
    server.publish("t", "last");
    const text = ({ payload, opcode }: Frame): string =>
      `${opcode} ${opcode === TEXT ? payload.toString() : payload.toString("hex")}`;
    const take = async ({ wire }: Greeted, n: number): Promise<string[]> => {
      const all: string[] = [];
      while (all.length < n) all.push(text(await wire.next()));
      return all;
    };
    assert.equal(await take(a, 3), ["1 both", "1 a alone", "2 0102"]);
    assert.equal(await take(b, 5), ["1 both", "1 b alone", "1 staged", "2 0102", "1 last"]);
    assert.is((await server.stats()).subscriptions, 1);
    assert.throws(() => server.publish("", "x"), /topic: "" is not of 1 to 200 bytes/);
    assert.throws(() => server.subscribe(a.id, "x".repeat(300)), RangeError);
    assert.throws(() => server.publish(7 as never, "x"), TypeError);
    assert.throws(() => server.publish("t", 7 as never), TypeError);
    for (const { wire } of [a, b]) wire.destroy();
  });
});

topics("a full table is reported to onError; later calls are carried out", async () => {
  await serving("topics", { maxSubscriptions: 1 }, async (server, port) => {
    const a = await openGreeted(port);
    server.subscribe(a.id, "1");
    server.subscribe(a.id, "2");
    server.publish("1", "on");
    assert.is(await a.wire.text(), "on");
    await until("a report", () => reported.length > 0);
    assert.equal(reported, [
      {
        where: "subscribe",
        message: "subscribe: all 1 subscriptions (maxSubscriptions) are taken",
      },
    ]);
    a.wire.destroy();
  });
});

topics(
  "publications of every size arrive in order, also ones that do not fit the inbox",
  async () => {
    const options = { inbox: 65536, ring: 4194304, slowGrace: 5000 };
    await serving("topics", options, async (server, port) => {
      const [a, b] = [await openGreeted(port), await openGreeted(port)] as const;
      server.subscribe(a.id, "t");
      const sizes = [0, 1, 125, 126, 15000, 16000, 17000, 65536, 300000, 2000000, 3];
      for (const [i, size] of sizes.entries()) {
        while (!server.publish("t", pattern(size, i), { except: b.id })) await server.ready();
      }
      for (const [i, size] of sizes.entries()) {
        assert.ok((await a.wire.next()).payload.equals(pattern(size, i)), `message of ${size}`);
      }
      assert.is(b.wire.frames.length, 0);
      for (const { wire } of [a, b]) wire.destroy();
    });
  },
);

/** Publishes in the application's pace. */
async function paced(server: Server, put: () => boolean): Promise<void> {
  while (!put()) {
    await within(server.ready(), "ready");
    await new Promise((resolve) => setImmediate(resolve));
  }
}

topics(
  "1,000 clients with 5 random topics each receive 10,000 publications as the model predicts",
  async () => {
    const options = { ring: 67108864, slowGrace: 10000, maxFrames: 65536 };
    await serving("topics", options, async (server, port) => {
      const random = new Random(20);
      const clients: Greeted[] = [];
      while (clients.length < 1000) {
        clients.push(...(await Promise.all(Array.from({ length: 100 }, () => openGreeted(port)))));
      }
      const names = Array.from({ length: 200 }, (_, i) => `topic/${i}`);
      const members = names.map(() => [] as number[]);
      for (const [i, { id }] of clients.entries()) {
        const mine = new Set<number>();
        while (mine.size < 5) mine.add(random.int(0, names.length - 1));
        for (const t of mine) {
          await paced(server, () => server.subscribe(id, names[t] as string));
          (members[t] as number[]).push(i);
        }
      }
      // The model: for each client what it has to get, as one number that depends on the order.
      const mix = (state: number, value: number): number =>
        (Math.imul(state ^ value, 2654435761) + value) >>> 0;
      const due = clients.map(() => ({ count: 0, state: 0 }));
      const got = clients.map(() => ({ count: 0, state: 0 }));
      for (const [i, { wire }] of clients.entries()) {
        const mine = got[i] as { count: number; state: number };
        wire.listen(({ payload }) => {
          mine.count++;
          mine.state = mix(mine.state, payload.readUInt32LE(0) ^ payload.length);
        });
      }
      let total = 0;
      for (let n = 0; n < 10000; n++) {
        const t = random.int(0, names.length - 1);
        const all = random.chance(0.01);
        const data = Buffer.alloc(4 + random.int(0, 60), n);
        data.writeUInt32LE(n);
        const name = names[t] as string;
        await paced(server, () => (all ? server.broadcast(data) : server.publish(name, data)));
        for (const i of all ? clients.keys() : (members[t] as number[])) {
          const one = due[i] as { count: number; state: number };
          one.count++;
          one.state = mix(one.state, n ^ data.length);
          total++;
        }
      }
      const sum = (list: typeof got): number => list.reduce((n, { count }) => n + count, 0);
      await until("all has arrived", () => sum(got) >= total, 60000);
      // Nothing must come twice.
      await sleep(50);
      assert.equal(got, due);
      console.log(`${total} deliveries`);
      for (const { wire } of clients) wire.destroy();
    });
  },
);

topics("topics with compression: each client gets the form it agreed upon", async () => {
  const options = { perMessageDeflate: true, deflateThreshold: 100 };
  await serving("topics", options, async (server, port) => {
    const { WebSocket } = await import("ws");
    const plain = await openGreeted(port);
    const packed = new WebSocket(`ws://127.0.0.1:${port}/`);
    const heard: string[] = [];
    packed.on("message", (data) => heard.push(data.toString()));
    await until("it is greeted", () => heard.length > 0);
    const id = Number(heard.shift()?.slice(3));
    server.subscribe(plain.id, "t");
    server.subscribe(id, "t");
    server.subscribe(id, "packed");
    const long = "long ".repeat(1000);
    server.publish("t", long);
    server.publish("packed", `${long}!`);
    server.publish("t", "short", { except: id });
    server.publish("t", `${long}?`);
    assert.is(await plain.wire.text(), long);
    assert.is(await plain.wire.text(), "short");
    assert.is(await plain.wire.text(), `${long}?`);
    await until("all has arrived", () => heard.length === 3);
    assert.equal(heard, [long, `${long}!`, `${long}?`]);
    packed.terminate();
    plain.wire.destroy();
  });
});

topics("a full table is reported once, however often the application runs into it", async () => {
  await serving("topics", { maxTopics: 2 }, async (server, port) => {
    const client = await openGreeted(port);
    for (let i = 0; i < 500; i++) server.subscribe(client.id, `t${i}`);
    assert.is(await server.subscriberCount("t1"), 1);
    assert.is(await server.subscriberCount("t499"), 0);
    await until("a report", () => reported.length > 0);
    assert.equal(reported, [
      { where: "subscribe", message: "subscribe: all 2 topics (maxTopics) are taken" },
    ]);
    client.wire.destroy();
  });
});

topics.run();
