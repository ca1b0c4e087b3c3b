// Publishing: the order of what many get, topics, messages built piece by piece, and readers that stop.

import type { Data } from "ringcast";
import { type Bytes, bytesOf, pattern, sequenceOf, textOf, textPattern } from "./bytes";
import { GOOD, problemsOf } from "./data";
import { frameHead } from "../lib/server-frame";
import { Checks, type Scene, ok, same, sameBytes, throwing, within } from "./harness";
import { BINARY, type Peer, TEXT } from "./peer";

export const publish = new Checks("publish");

/** Publishes in the application's pace: waits while there is no room. */
async function paced({ server, running }: Scene, put: () => boolean): Promise<void> {
  while (!put()) {
    await within(server.ready(), "ready");
    await running.wait(0);
  }
}

/** Opens clients that have received something, so that the server has them all. */
async function openPeers(scene: Scene, names: readonly string[]): Promise<Peer[]> {
  const peers = await Promise.all(names.map((name) => scene.open(name)));
  for (const [i, peer] of peers.entries()) same(await peer.text(`${i}`).line(), `${i}`);
  return peers;
}

const SIZES = [0, 1, 2, 125, 126, 127, 1000, 4096, 65535, 65536, 70000];

/** Messages of mixed sizes; every other one is text. */
const MESSAGES: readonly Bytes[] = Array.from({ length: 44 }, (_, i) => {
  const size = SIZES[(i * 5) % SIZES.length] as number;
  return i % 2 === 0 ? textPattern(size, i) : pattern(size, i);
});

async function expectMessage(peer: Peer, due: Bytes, what: string): Promise<void> {
  sameBytes(await peer.message(typeof due === "string" ? TEXT : BINARY), due, what);
}

publish.add("every client gets every byte of mixed sizes, in order", async (scene) => {
  const peers = await openPeers(scene, ["a", "b", "c", "d", "e", "f", "g", "h"]);
  const ids = await Promise.all(peers.map(async (peer) => Number(await peer.text("!id").line())));
  const { framesPublished } = await scene.server.stats();
  const reading = peers.map(async (peer, p) => {
    for (const [i, message] of MESSAGES.entries()) {
      await expectMessage(peer, message, `client ${p}, message ${i}`);
      same(await peer.line(), `${ids[p]}:${i}`, `client ${p}, its own ${i}`);
    }
  });
  for (const [i, message] of MESSAGES.entries()) {
    await paced(scene, () => scene.server.broadcast(message));
    for (const id of ids) await paced(scene, () => scene.server.send(id, `${id}:${i}`));
  }
  await within(Promise.all(reading), "every frame");
  same((await scene.server.stats()).framesPublished - framesPublished, MESSAGES.length);
});

publish.add(
  "a message of 1 MiB reaches all; one larger than the ring is refused",
  async (scene) => {
    const peers = await openPeers(scene, ["a", "b", "c"]);
    const bytes = pattern(1048576, 3);
    await paced(scene, () => scene.server.broadcast(bytes));
    await Promise.all(peers.map((peer) => expectMessage(peer, bytes, "1 MiB")));
    const large = new Uint8Array(17 * 1048576);
    throwing(() => scene.server.broadcast(large), "RangeError", /^broadcast: .*ring/);
  },
);

publish.add(
  "a handler publishes and sends in between, in the order of its calls",
  async (scene) => {
    const [first, second] = (await openPeers(scene, ["a", "b"])) as [Peer, Peer];
    first.text("!mixed 200");
    for (let i = 0; i < 200; i++) {
      same(await first.line(), `all ${i}`);
      same(await first.line(), `one ${i}`);
      same(await second.line(), `all ${i}`);
    }
    first.text("!broadcast hello");
    same(await first.line(), "hello");
    same(await first.line(), "true");
    same(await second.line(), "hello");
    first.text("!except others");
    same(await second.line(), "others");
    same(await first.text("nothing").line(), "nothing");
  },
);

publish.add("each publication has a position, with subscribers or without", async (scene) => {
  const { server } = scene;
  const [peer] = (await openPeers(scene, ["a"])) as [Peer];
  const before = await server.position();
  for (let i = 0; i < 50; i++) {
    await paced(scene, () => server.broadcast("all"));
    await paced(scene, () => server.publish("without subscribers", "lost"));
  }
  await paced(scene, () => server.publish("without subscribers", pattern(1048576, 1)));
  const after = await server.position();
  ok(/^[0-9a-z]{8}-[0-9a-z]{11}$/.test(after), after);
  same(after.slice(0, 9), before.slice(0, 9), "the epoch");
  ok(after > before, "the order of texts");
  same(sequenceOf(after) - sequenceOf(before), 101);
  same((await server.stats()).position, after);
  for (let i = 0; i < 50; i++) same(await peer.line(), "all");
  peer.text("!position");
  same(await peer.line(), "all");
  same(await peer.line(), "2");
});

publish.add("messages are built piece by piece, by the application", async (scene) => {
  const [first, second] = (await openPeers(scene, ["a", "b"])) as [Peer, Peer];
  const stage = (): ReturnType<Scene["server"]["stage"]> => scene.server.stage();
  const message = stage().text('{"slot":').text(123).text(45n).truncate(10).text("}");
  same(message.length, 11);
  ok(message.broadcast(), "broadcast");
  for (const peer of [first, second]) same(await peer.line(), '{"slot":12}');
  const id = Number(await first.text("!id").line());
  const reserve = (view: Uint8Array): number => {
    view.set([1, 2, 3]);
    return 3;
  };
  ok(stage().bytes(Uint8Array.of(0)).reserve(100, reserve).send(id, { binary: true }), "send");
  sameBytes(await first.message(BINARY), Uint8Array.of(0, 1, 2, 3), "bytes");
  stage().text("dropped").discard();
  ok(stage().text("all but one").broadcast({ except: id }), "except");
  same(await second.line(), "all but one");
  same(await first.text("done").line(), "done");
});

publish.add("messages are built piece by piece, by the handler", async (scene) => {
  const [first, second] = (await openPeers(scene, ["a", "b"])) as [Peer, Peer];
  first.text("!stage");
  for (const peer of [first, second]) same(await peer.line(), '{"n":42,"b":true}');
  sameBytes(await first.message(BINARY), Uint8Array.of(1, 2, 3), "bytes");
});

publish.add("data is text or the bytes of a view; anything else is a TypeError", async (scene) => {
  const { server } = scene;
  const [first, second] = (await openPeers(scene, ["a", "b"])) as [Peer, Peer];
  const id = Number(await first.text("!id").line());
  const problems = problemsOf({
    send: (data, options) => server.send(id, data, options),
    broadcast: (data, options) => server.broadcast(data, options),
    publish: (data, options) => server.publish("news", data, options),
    "stage.bytes": (data) => server.stage().bytes(data as Uint8Array),
  });
  same(problems, []);
  for (const { name, make, bytes } of GOOD) {
    const due = Uint8Array.from(bytes);
    ok(server.send(id, make() as Data, { binary: true }), `send ${name}`);
    sameBytes(await first.message(BINARY), due, `sent: ${name}`);
    ok(server.broadcast(make() as Data, { binary: true, except: id }), `broadcast ${name}`);
    sameBytes(await second.message(BINARY), due, `broadcast: ${name}`);
  }
  ok(server.send(id, bytesOf("t\u00e9xt"), { binary: false }), "send");
  same(await first.line(), "t\u00e9xt");
  ok(server.broadcast(bytesOf("t\u00e9xt"), { binary: false }), "broadcast");
  for (const peer of [first, second]) same(await peer.line(), "t\u00e9xt");
});

publish.add(
  "wrong data is refused in a handler as well, and no part of it is sent",
  async (scene) => {
    const [first, second] = (await openPeers(scene, ["a", "b"])) as [Peer, Peer];
    first.text("!data");
    for (const { name, bytes } of GOOD) {
      sameBytes(await first.message(BINARY), Uint8Array.from(bytes), name);
    }
    same(await first.line(), "[]", "what was not refused");
    same(await second.text("nothing").line(), "nothing");
  },
);

publish.add(
  "stages that are kept across turns contain no bytes of other messages",
  async (scene) => {
    const rounds = 30;
    const tags = ["a", "b"];
    const peers = await openPeers(scene, tags);
    for (const [i, peer] of peers.entries()) {
      peer.text(`!subscribe topic-${tags[i]}`);
      await peer.line();
    }
    for (const [i, peer] of peers.entries()) peer.text(`!held ${tags[i]} ${rounds}`);
    // The application publishes and stages at the same time.
    const own = scene.server.stage();
    for (let i = 0; i < rounds; i++) {
      // Lets the handler publish in between; the result does not depend on it.
      await scene.running.wait(1);
      own.text("c");
      await paced(scene, () => scene.server.broadcast(`c${"c".repeat(i * 300)}`));
    }
    await paced(scene, () => own.text(" end").broadcast());
    for (const [i, peer] of peers.entries()) {
      const tag = tags[i] as string;
      const seen = { staged: false, sent: false, own: false, between: 0 };
      while (!(seen.staged && seen.sent && seen.own && seen.between === 2 * rounds)) {
        const line = await peer.line();
        if (line === tag.repeat(700 * rounds)) seen.staged = true;
        else if (line === `${tag}:${(tag + tag.repeat(50)).repeat(rounds)}`) seen.sent = true;
        else if (line === `${"c".repeat(rounds)} end`) seen.own = true;
        else if (/^[ab] in between$/.test(line)) seen.between++;
        else ok(/^c+$/.test(line), `a message of others' bytes: ${line.slice(0, 80)}`);
      }
    }
  },
);

publish.add("a topic's subscribers get its publications, others do not", async (scene) => {
  const { server } = scene;
  const [first, second, third] = (await openPeers(scene, ["a", "b", "c"])) as [Peer, Peer, Peer];
  same(await first.text("!subscribe news").line(), '[true,["news"]]');
  same(await second.text("!subscribe news").line(), '[true,["news"]]');
  same(await second.text("!subscribe sport").line(), '[true,["news","sport"]]');
  same(await server.subscriberCount("news"), 2);
  for (let i = 0; i < 50; i++) {
    ok(server.publish("news", `news ${i}`), "publish");
    ok(server.publish("sport", `sport ${i}`), "publish");
    ok(server.publish("nobody's", "lost"), "publish");
    ok(server.broadcast(`all ${i}`), "broadcast");
  }
  for (let i = 0; i < 50; i++) {
    for (const peer of [first, second]) same(await peer.line(), `news ${i}`);
    same(await second.line(), `sport ${i}`);
    for (const peer of [first, second, third]) same(await peer.line(), `all ${i}`);
  }
  // Not to itself.
  same(await first.text("!publish news mine").line(), "true");
  same(await second.line(), "mine");
  same(await second.text("!unsubscribe news").line(), "[true,false]");
  ok(server.publish("news", "last"), "publish");
  same(await first.line(), "last");
  same(await second.text("end").line(), "end");
});

publish.add("a topic's name with half of a surrogate pair is refused", async ({ server }) => {
  const name = "a\ud800";
  for (const call of [
    () => server.publish(name, "x"),
    () => server.stage().text("x").publish(name),
    () => server.subscribe(1, name),
    () => server.unsubscribe(1, name),
  ]) {
    throwing(call, "TypeError", /^topic: .* has half of a surrogate pair$/);
  }
});

publish.add("the application subscribes clients, sends to one, closes one", async (scene) => {
  const { server } = scene;
  const [first, second] = (await openPeers(scene, ["first", "second"])) as [Peer, Peer];
  const id = Number(await first.text("!id").line());
  ok(server.subscribe(id, "private"), "subscribe");
  ok(server.publish("private", "published"), "publish");
  ok(server.send(id, "sent"), "send");
  ok(server.unsubscribe(id, "private"), "unsubscribe");
  ok(server.publish("private", "too late"), "publish");
  ok(server.closeConnection(id, 4002, "enough"), "closeConnection");
  same(await first.line(), "published");
  same(await first.line(), "sent");
  same(await first.closing(), [4002, "enough"]);
  first.wire.end();
  await first.gone();
  same(JSON.parse(await second.text("!each").line()), [1, ["second"]]);
});

publish.add("a client gets publications after it opened, and none before", async (scene) => {
  const [other] = (await openPeers(scene, ["other"])) as [Peer];
  ok(scene.server.broadcast("before"), "broadcast");
  same(await other.line(), "before");
  const [late] = (await openPeers(scene, ["late"])) as [Peer];
  ok(scene.server.broadcast("after"), "broadcast");
  same(await late.line(), "after");
  same(await other.line(), "after");
});

/** Numbered messages, larger than any buffer of a socket when there are many of them. */
const numbered = (i: number): Uint8Array => pattern(20000 + ((i * 7919) % 40000), i);

/** A client that compares what it reads with what it was due, up to a message of three bytes. */
class Reader {
  readonly done: Promise<void>;
  /** Messages that came whole. */
  count = 0;

  constructor(peer: Peer, pause?: () => Promise<void>) {
    this.done = this.#read(peer, pause);
  }

  async #read(peer: Peer, pause: (() => Promise<void>) | undefined): Promise<void> {
    for (;;) {
      const { payload } = await peer.next();
      if (payload.length === 3) return;
      sameBytes(payload, numbered(this.count), `message ${this.count}`);
      this.count++;
      await pause?.();
    }
  }
}

/** Compares what an evicted client had still to read with what it was due: no overwritten byte. */
async function checkRest(peer: Peer, from: number): Promise<number> {
  const rest = await peer.wire.takeAll();
  let at = 0;
  let count = from;
  for (;;) {
    const head = frameHead(rest, at);
    if (typeof head === "number") break;
    const { headLength } = head;
    const due = numbered(count);
    const got = rest.subarray(at + headLength, at + headLength + due.length);
    sameBytes(got, due.subarray(0, got.length), `message ${count} of the evicted client`);
    if (got.length < due.length) break;
    at += headLength + due.length;
    count++;
  }
  return count;
}

publish.add(
  "a reader that stops is evicted, sees no overwritten byte, and no other is affected",
  async (scene) => {
    const { server, running } = scene;
    const names = ["reader", "other", "third", "stopped", "slow"];
    const peers = (await openPeers(scene, names)) as [Peer, Peer, Peer, Peer, Peer];
    const [reader, other, third, stopped, slow] = peers;
    const readers = [reader, other, third].map((peer) => new Reader(peer));
    const dragging = new Reader(slow, () => running.wait(20));
    const evicted = dragging.done.then(
      () => "read to the end",
      (error: Error) => error.message,
    );
    let published = 0;
    while (running.evictions.length < 2 && published < 3000) {
      const message = numbered(published);
      await paced(scene, () => server.broadcast(message));
      published++;
      // The others keep up: they lag by less than half a ring.
      while (readers.some(({ count }) => count < published - 1)) {
        await Promise.race([running.wait(1), ...readers.map(({ done }) => done)]);
      }
    }
    same(running.evictions.map(({ cause }) => cause).slice(0, 2), [
      "WsClientTooSlow",
      "WsClientTooSlow",
    ]);
    ok(
      running.evictions.every(({ lagBytes }) => lagBytes > 100000),
      "they lagged",
    );
    ok(
      running.evictions.every(({ age }) => age > 0 && age < 600000),
      "they were there for a while",
    );
    const { lag, ring, webSockets } = await server.stats();
    same([lag.bounds[0], lag.bounds.at(-1)], [0, ring.bytes]);
    same(
      lag.counts.reduce((sum, count) => sum + count, 0),
      webSockets,
    );
    await paced(scene, () => server.broadcast("end"));
    await within(Promise.all(readers.map(({ done }) => done)), "the readers");
    same(
      readers.map(({ count }) => count),
      [published, published, published],
    );
    ok((await checkRest(stopped, 0)) < published, "the client that stopped missed something");
    ok(stopped.wire.client.ended, "its connection has ended");
    ok(/^(fin|reset) after /.test(await evicted), `the slow one: ${await evicted}`);
    same((await server.stats()).closed.WsClientTooSlow, 2);
    same((await scene.log("stopped"))[0]?.slice(0, 4), [
      "close",
      1006,
      "the client fell a ring behind",
      "WsClientTooSlow",
    ]);
  },
  { options: { ring: 262144, slowGrace: 100 } },
);

publish.add(
  "where compression is on, a message is compressed once it is long enough",
  async (scene) => {
    const offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    const [plain] = (await openPeers(scene, ["plain"])) as [Peer];
    const packed = await scene.open("packed", offer);
    same(packed.head.includes("permessage-deflate"), scene.platform.deflate);
    const long = "compress me ".repeat(1000);
    for (const text of ["short", long]) ok(scene.server.broadcast(text), "broadcast");
    same([await plain.line(), await plain.line()], ["short", long]);
    if (!scene.platform.deflate) {
      same([await packed.line(), await packed.line()], ["short", long]);
      return;
    }
    same(await packed.line(), "short");
    const frame = await packed.next();
    ok(frame.packed && frame.payload.length < 1000, "it is compressed");
    same(textOf(await inflate(frame.payload)), long);
    const back = await deflate(bytesOf(long));
    packed.send(TEXT, back, { reserved: 4 });
    const echo = await packed.next();
    same([echo.opcode, textOf(await inflate(echo.payload))], [TEXT, long]);
    packed.text("plain all the same");
    same(await packed.line(), "plain all the same");
    const bomb = await deflate(new Uint8Array(2000000));
    packed.send(BINARY, bomb, { reserved: 4 });
    same(await packed.closing(), [1009, "a message is larger than maxPayloadLength"]);
    const bad = await scene.open("bad", offer);
    bad.send(TEXT, Uint8Array.of(0xff, 0xff, 0xff), { reserved: 4 });
    same(await bad.closing(), [1007, "a compressed message cannot be inflated"]);
  },
  { options: { perMessageDeflate: true, maxPayloadLength: 1000000 } },
);

async function through(data: Uint8Array, stream: GenericStream): Promise<Uint8Array> {
  const body = new Response(data as Uint8Array<ArrayBuffer>).body as ReadableStream;
  return new Uint8Array(await new Response(body.pipeThrough(stream)).arrayBuffer());
}

type GenericStream = TransformStream<Uint8Array, Uint8Array>;

/** Inflates a whole message without its tail (RFC 7692 7.2.2), with the tail put back and an end after it. */
async function inflate(data: Uint8Array): Promise<Uint8Array> {
  const whole = new Uint8Array([...data, 0, 0, 0xff, 0xff, 3, 0]);
  return through(whole, new DecompressionStream("deflate-raw") as GenericStream);
}

/** Compresses a message whose last block is final, which RFC 7692 7.2.3.5 allows. */
function deflate(data: Uint8Array): Promise<Uint8Array> {
  return through(data, new CompressionStream("deflate-raw") as GenericStream);
}
