// A full table of HTTP slots: which connection makes room for a newcomer, in which order, and the response to a
// newcomer for which none does. In virtual time.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Control } from "../../assembly/abi";
import type { Handler, Stats } from "../../host/handler";
import { type TestServer, createTestServer } from "../../host/testing";
import { Drive, type Wire } from "../lib/drive";

const room = suite("room");
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n";

/** Returns a table of `slots` slots, whose requests to /wait are not answered. */
function table(slots: number, params: object = {}): Drive {
  const drive = new Drive({ Connections: slots, WebSockets: 1, RunBytes: 512, ...params });
  drive.bodies.set(1, new Uint8Array(9000));
  drive.answer = (wire, { target }) => {
    if (target === "/long") wire.respondStatic(1);
    else if (target !== "/wait") wire.respond();
  };
  return drive;
}

/** Connects a newcomer and returns the last line of the connection that it replaces. */
function placeOf(drive: Drive, wires: readonly Wire[]): string | undefined {
  const before = new Set(wires.filter((wire) => wire.dead));
  assert.is(drive.tryConnect(), undefined);
  const gone = wires.filter((wire) => wire.dead && !before.has(wire));
  assert.ok(gone.length <= 1);
  if (gone.length > 0) drive.connect().send(GET.replace("/", "/wait"));
  return gone[0]?.log.at(-1);
}

room("classes go in their order, and within a class the one that has waited longest", () => {
  const drive = table(12);
  const waits = (): Wire => drive.connect().send(GET.replace("/", "/wait"));
  const ended = [waits().finish(), waits().finish()];
  const running = [waits(), waits()];
  const unfinished = [drive.connect().send("GET / HT"), drive.connect().send(`${POST}abc`)];
  const unread = [drive.connect(), drive.connect()];
  for (const wire of unread) {
    wire.stalled = true;
    wire.send(GET.replace("/", "/long"));
  }
  drive.after(4500);
  const idle = [drive.connect().send(GET), drive.connect()];
  drive.after(100);
  idle[1]?.send(GET);
  const lingering = ["", ""].map(() =>
    drive.connect().send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
  );
  drive.after(400);
  const all = [...ended, ...running, ...unfinished, ...unread, ...idle, ...lingering];
  const order: (string | undefined)[] = [];
  for (let i = 0; i < 11; i++) order.push(placeOf(drive, all)?.replace(/closed (Evicted)?/, ""));
  const twice = (cause: string): string[] => [cause, cause];
  assert.equal(order, [
    ...[...twice("Ended"), ...twice("Ok"), ...twice("Idle")],
    ...[...twice("Unfinished"), ...twice("Unread")],
    undefined,
  ]);
  assert.ok(
    running.every((wire) => !wire.dead),
    "a request whose handler runs is no victim",
  );
  assert.is(drive.engine.get(Control.Evicted), 8, "those that linger have been served");
  drive.end();
});

room("a client whose next request waits unparsed makes room like one with unread answers", () => {
  const drive = table(2, { Backlog: 64 });
  const [read, still] = [drive.connect(), drive.connect()];
  for (const wire of [read, still]) {
    wire.stalled = true;
    wire.send(GET + GET + GET.replace("/", "/long"));
    wire.send(GET);
  }
  drive.after(2600);
  assert.is(placeOf(drive, [read, still]), undefined, "neither is late");
  assert.ok(read.deliver());
  drive.after(2600);
  assert.is(placeOf(drive, [read, still]), "closed EvictedUnread");
  assert.ok(still.dead && !read.dead);
  read.unstall();
  assert.is(
    read.log.filter((line) => line.startsWith("GET")).length,
    4,
    "its requests are handled",
  );
  drive.end();
});

room("a client that has ended its side has a second, and is closed though its handler runs", () => {
  const drive = table(1);
  const wire = drive.connect().send(GET.replace("/", "/wait")).finish();
  drive.after(999);
  assert.is(placeOf(drive, [wire]), undefined);
  drive.after(1);
  assert.is(placeOf(drive, [wire]), "closed EvictedEnded");
  drive.end();
});

room(
  "the slowest request is ended: one that drips before one at the rate, however long that takes",
  () => {
    const drive = table(3, { ReceiveRate: 240, RateGrace: 60000, BodyBytes: 16384 });
    const upload = POST.replace("100", "16000");
    const [steady, drips] = [drive.connect().send(upload), drive.connect().send(upload)];
    drive.after(10);
    const silent = drive.connect().send(upload);
    for (let i = 0; i < 20; i++) {
      drive.after(250);
      steady.send("x".repeat(75));
      drips.send("x");
    }
    const all = [steady, drips, silent];
    assert.is(placeOf(drive, all), "closed EvictedUnfinished");
    assert.ok(silent.dead);
    assert.is(placeOf(drive, all), "closed EvictedUnfinished");
    assert.ok(drips.dead);
    assert.is(placeOf(drive, all), undefined, "one at the rate does not lag");
    drive.end();
  },
);

room("a download that is read is no victim, one without progress for 5 s is", () => {
  const drive = table(2);
  const [read, still] = [drive.connect(), drive.connect()];
  for (const wire of [read, still]) {
    wire.stalled = true;
    wire.send(GET.replace("/", "/long"));
  }
  for (let i = 0; i < 2; i++) {
    drive.after(2600);
    assert.ok(read.deliver() && read.pending);
  }
  assert.is(placeOf(drive, [read, still]), "closed EvictedUnread");
  assert.ok(still.dead && !read.dead);
  assert.is(placeOf(drive, [read, still]), undefined);
  drive.end();
});

// ---- floods, through the whole server -----------------------------------------------------------------------

const SLOTS = 1000;

const handler: Handler = {
  request(req, res) {
    if (req.upgrade) res.upgrade();
    else if (req.path === "/stream") {
      res.begin(200, "text/event-stream");
      res.write(":\n\n");
    } else if (req.path === "/long") res.send(200, "text/plain", "x".repeat(30000));
    else if (req.path !== "/wait") res.send(200, "text/plain", "hello");
  },
};

/** A request that asks for the end of the connection. */
const closing = (target: string): string =>
  `GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`;

async function within(body: (t: TestServer) => Promise<void>): Promise<void> {
  const t = createTestServer({ handler, maxConnections: SLOTS, socketBuffer: 4096 });
  await body(t);
  assert.equal(t.errors, []);
  await t.close();
}

/** Checks that a newcomer is served, and that a WebSocket opens, in less than 100 ms. */
async function served(t: TestServer): Promise<Stats> {
  const socket = t.socket().write(GET);
  const ws = t.connect("/ws");
  await t.clock.advance(100);
  assert.match(socket.text, /^HTTP\/1\.1 200 OK\r\n/);
  assert.is(ws.answer?.status, 101);
  return t.server.stats();
}

for (const [name, bytes, how, ms, cause] of [
  ["page reloads: quiet streams whose client has left", "/stream", "end", 1000, "EvictedEnded"],
  ["long polls whose client has left", "/wait", "end", 1000, "EvictedEnded"],
  ["3 of 100 bytes of a body", `${POST}abc`, "", 30, "EvictedUnfinished"],
  ["silent connections", "", "", 30, "EvictedUnfinished"],
  // The first reading of its queue is a millisecond after the table is full.
  ["answers that close, and are not read", "/long", "pause", 5001, "EvictedUnread"],
] as const) {
  room(`a newcomer is served in a flood: ${name}`, () =>
    within(async (t) => {
      for (let i = 0; i < SLOTS; i++) {
        const socket = t.socket();
        if (how === "pause") socket.pause();
        if (bytes !== "") socket.write(bytes.startsWith("/") ? closing(bytes) : bytes);
        if (how === "end") socket.end();
      }
      await t.clock.advance(ms);
      const { closed, evicted } = await served(t);
      assert.is(closed[cause], 2);
      assert.is(evicted, 2);
      assert.is(closed.NoRoom ?? 0, 0);
    }),
  );
}

room("a drip of four times as many connections keeps no client out", () =>
  within(async (t) => {
    const drips = [];
    for (let i = 0; i < 4 * SLOTS; i++) {
      drips.push(t.socket().write("GET / HTTP/1.1\r\nX: "));
      if (i % 100 === 99) {
        await t.clock.advance(10);
        for (const one of drips.slice(-SLOTS)) one.write("x");
      }
    }
    const { closed } = await served(t);
    assert.ok((closed.EvictedUnfinished ?? 0) > 2 * SLOTS);
  }),
);

for (const [name, begin] of [
  ["of a HEAD", (wire: Wire) => wire.begin()],
  ["without a body", (wire: Wire) => wire.begin(204)],
] as const) {
  room(
    `a streamed answer ${name} that ends after its head has left leaves the connection idle`,
    () => {
      for (const isFull of [false, true]) {
        const drive = table(1, { HeadTimeout: 60000, KeepAliveTimeout: 5000 });
        drive.answer = (wire) => void begin(wire);
        const method = name === "of a HEAD" ? "HEAD" : "GET";
        const wire = drive.connect().send(`${method} / HTTP/1.1\r\nHost: a\r\n\r\n`);
        drive.after(61000);
        assert.ok(wire.take().length > 0);
        wire.conclude();
        drive.turn();
        if (isFull) {
          assert.is(placeOf(drive, [wire]), "closed EvictedIdle");
        } else {
          drive.after(5999);
          assert.not(wire.dead);
          drive.after(1);
          assert.is(wire.log.at(-1), "closed KeepAliveTimeout");
        }
        drive.end();
      }
    },
  );
}

room("when every slot has a request whose handler runs, newcomers get 503 and are counted", () =>
  within(async (t) => {
    const busy = Array.from({ length: SLOTS }, () => t.socket().write(GET.replace("/", "/wait")));
    await t.clock.advance(60000);
    const refused = Array.from({ length: 100 }, () => t.socket().write(GET));
    await t.settle();
    const notified = refused.filter(({ text }) =>
      /^HTTP\/1\.1 503 .*\r\nRetry-After: 1\r\n/s.test(text),
    );
    assert.is(notified.length, 64, "as many as are held at a time");
    assert.ok(refused.every(({ state }) => state !== "open"));
    await t.clock.advance(1000);
    const silent = t.socket();
    await t.clock.advance(999);
    assert.is(silent.state, "open", "it has a second to ask");
    await t.clock.advance(1);
    assert.is(silent.state, "closed");
    const { closed, connections } = await t.server.stats();
    assert.is(closed.NoRoom, 101);
    assert.is(connections, SLOTS);
    assert.ok(busy.every(({ state }) => state === "open"));
  }),
);

room.run();
