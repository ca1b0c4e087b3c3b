// When what is published is handed over: each turn; under saturation, or with `flushInterval`, later.
// Answers do not wait, and nothing overtakes.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Control, Param } from "../../assembly/abi";
import type { Handler } from "../../host/handler";
import type { Clock, Link, Sink } from "../../worker/net/transport";
import { Pump } from "../../worker/pump/pump";
import { Schedule, type Turn } from "../../worker/pump/schedule";
import type { Peer } from "../../worker/socket/peer";
import { octets } from "../lib/drive";
import { HANDSHAKE } from "../lib/handshake";
import { frame, lines, text } from "../lib/frame";
import { testEngine } from "../lib/wasm";

const passes = suite("passes");

/** Time passes by writing alone, `cost` ms for each. */
class Scene implements Clock {
  cost = 0;
  time = 1000;
  writes = 0;
  readonly pump: Pump;
  #turns: (() => void)[] = [];
  #timers: { at: number; fn: () => void }[] = [];

  constructor(flushInterval = 0, handler: Handler = {}) {
    this.pump = new Pump({ engine: testEngine(), clock: this, values: { flushInterval } });
    this.pump.setHandler({
      request: (req, res) => (req.upgrade ? res.upgrade() : res.send(200, "text/plain", "hi")),
      ...handler,
    });
  }

  now(): number {
    return this.time;
  }

  date(): number {
    return 0;
  }

  defer(fn: () => void): void {
    this.#turns.push(fn);
  }

  after(ms: number, fn: () => void): () => void {
    const timer = { at: this.time + ms, fn };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((one) => one !== timer);
    };
  }

  /** One turn of the event loop. @returns false when nothing was to be done */
  turn(): boolean {
    const turns = this.#turns;
    this.#turns = [];
    for (const fn of turns) fn();
    return turns.length > 0;
  }

  /** Turns until nothing is left to do without time going on. */
  settle(): void {
    for (let i = 0; this.turn(); i++) assert.ok(i < 100, "the turns never end");
  }

  /** Moves time on, then runs the timers that are due. */
  advance(ms: number): void {
    this.time += ms;
    const due = this.#timers.filter(({ at }) => at <= this.time);
    this.#timers = this.#timers.filter(({ at }) => at > this.time);
    for (const { fn } of due) fn();
  }

  client(): Client {
    return new Client(this);
  }

  /** A WebSocket. */
  webSocket(): Client {
    const client = this.client();
    client.send(octets(HANDSHAKE));
    this.settle();
    // The passes of the handshake are over.
    this.advance(1000);
    client.bytes = [];
    return client;
  }
}

class Client implements Link {
  readonly remoteAddress = "192.0.2.1";
  bytes: number[] = [];
  isRead = true;
  readonly #scene: Scene;
  readonly #sink: Sink;

  constructor(scene: Scene) {
    this.#scene = scene;
    this.#sink = scene.pump.accept(this) as Sink;
  }

  write(view: Uint8Array): boolean {
    this.bytes.push(...view);
    this.#scene.writes++;
    this.#scene.time += this.#scene.cost;
    return true;
  }

  end(): void {}
  pause(): void {
    this.isRead = false;
  }
  resume(): void {
    this.isRead = true;
  }
  destroy(): void {}
  reset(): void {}

  send(bytes: Uint8Array): void {
    const { engine } = this.#scene.pump;
    engine.u8.set(bytes, engine.window);
    this.#sink.read(bytes.length);
  }

  get frames(): string[] {
    return lines(Uint8Array.from(this.bytes));
  }
}

const GET = octets("GET / HTTP/1.1\r\nHost: a\r\n\r\n");

passes("each turn has a pass while time is no object", () => {
  const scene = new Scene();
  const one = scene.webSocket();
  for (let i = 0; i < 3; i++) {
    scene.pump.broadcast(`${i}`);
    scene.settle();
    assert.is(one.frames.length, i + 1);
  }
});

passes("under saturation the turns of an eighth of a pass's time share the next one", () => {
  const scene = new Scene();
  const clients = Array.from({ length: 8 }, () => scene.webSocket());
  scene.cost = 1;
  scene.writes = 0;
  scene.pump.broadcast("first");
  scene.turn();
  assert.is(scene.writes, 8, "the first pass waits for nothing");
  // It took 8 ms: the next one is due 1 ms after it.
  for (let i = 0; i < 10; i++) {
    scene.pump.broadcast(`${i}`);
    scene.turn();
    scene.time += 0.09;
  }
  assert.is(scene.writes, 8);
  scene.time += 0.2;
  scene.settle();
  assert.is(scene.writes, 16, "one write for ten messages");
  for (const client of clients) assert.is(client.frames.length, 11);
  scene.time += 1.1;
  scene.pump.broadcast("last");
  scene.turn();
  assert.is(scene.writes, 24, "a message that comes later waits for nothing");
});

passes("a long wait is the timer's, and ends", () => {
  const scene = new Scene();
  const one = scene.webSocket();
  scene.cost = 80;
  scene.pump.broadcast("first");
  scene.settle();
  scene.pump.broadcast("second");
  scene.settle();
  assert.is(one.frames.length, 1);
  scene.advance(9.9);
  scene.settle();
  assert.is(one.frames.length, 1);
  scene.advance(0.2);
  scene.settle();
  assert.is(one.frames.length, 2);
});

passes("with flushInterval broadcasts wait for it, answers do not", () => {
  const scene = new Scene(10);
  const one = scene.webSocket();
  const http = scene.client();
  scene.pump.broadcast("1");
  scene.settle();
  scene.pump.broadcast("2");
  scene.advance(9);
  http.send(GET);
  scene.settle();
  assert.match(Buffer.from(http.bytes).toString("latin1"), /^HTTP\/1.1 200 OK\r\n[\s\S]*hi$/);
  assert.is(one.frames.length, 1);
  scene.advance(1);
  scene.settle();
  assert.is(one.frames.length, 2);
});

passes("earlier publications are sent together with an answer to a client", () => {
  const scene = new Scene(10, { message: (ws, data) => ws.send(data) });
  const one = scene.webSocket();
  const other = scene.webSocket();
  scene.pump.broadcast("1");
  scene.settle();
  scene.pump.broadcast("2");
  scene.settle();
  assert.is(one.frames.length, 1);
  one.send(text("echo"));
  scene.settle();
  assert.equal(one.frames, ["text 1", "text 2", "text echo"]);
  assert.equal(other.frames, ["text 1", "text 2"]);
});

passes("an eighth of the ring waits for nothing", () => {
  const scene = new Scene(1000);
  const one = scene.webSocket();
  const ring = scene.pump.engine.params[Param.RingBytes] as number;
  scene.pump.broadcast("1");
  scene.settle();
  let sent = 0;
  while (one.frames.length === 1) {
    scene.pump.broadcast("x".repeat(100));
    sent += 102;
    scene.settle();
    assert.ok(sent < ring, "the ring is full");
  }
  assert.ok(sent > ring / 8 && sent < ring / 8 + 204);
});

passes("an interval that is taken back ends the wait", () => {
  const scene = new Scene(10000);
  const one = scene.webSocket();
  scene.pump.broadcast("1");
  scene.settle();
  scene.pump.broadcast("2");
  scene.settle();
  scene.pump.values.flushInterval = 0;
  scene.pump.broadcast("3");
  scene.settle();
  assert.is(one.frames.length, 3);
});

// ---- a loop that comes round late ----------------------------------------------------------------------

passes(
  "between reads that take long there are turns, so publications wait for none of them",
  () => {
    const scene = new Scene(0, {
      message: (_, data) => {
        scene.time += 2;
        if (data === "tell") scene.pump.broadcast("news");
      },
    });
    const clients = Array.from({ length: 8 }, () => scene.webSocket());
    const got = (): number[] => clients.map((client) => client.frames.length);
    clients[0]?.send(text("tell"));
    for (let i = 1; i <= 4; i++) {
      assert.equal(got(), Array(8).fill(0), `${2 * i} ms are no long time`);
      clients[i]?.send(text("x"));
    }
    assert.equal(got(), Array(8).fill(1), "though the loop has not come round");
  },
);

passes("in a late loop busy clients resume one each turn, other clients at once", () => {
  const scene = new Scene(0, {
    message: () => {
      scene.time += 6;
    },
  });
  const heavy = Array.from({ length: 3 }, () => scene.webSocket());
  const light = scene.webSocket();
  light.send(text("first"));
  const block = text("x".repeat(5000));
  for (const client of heavy) {
    client.send(block);
    if (client.isRead) client.send(block);
  }
  light.send(text("x"));
  const read = (): boolean[] => heavy.map((client) => client.isRead);
  assert.equal(read(), [false, false, false]);
  assert.ok(light.isRead);
  for (const seen of [
    [true, false, false],
    [true, true, false],
    [true, true, true],
  ]) {
    scene.turn();
    assert.equal(read(), seen);
  }
  heavy[0]?.send(block);
  assert.ok(heavy[0]?.isRead, "a loop that is in time asks nobody to wait");
  scene.settle();
});

passes("a turn resumes as many held connections as its time allows", () => {
  const scene = new Scene(0, {
    message: () => {
      scene.time += 6;
    },
  });
  const clients = Array.from({ length: 3 }, () => scene.webSocket());
  const ids: number[] = [];
  scene.pump.each((ws) => ids.push(ws.id));
  const all = ids.map((id) => scene.pump.peer(id)).filter((peer) => peer !== undefined);
  for (const peer of all) scene.pump.pausePeer(peer, true);
  for (const client of clients) client.send(text("hello"));
  scene.settle();
  const before = scene.time;
  for (const peer of all) scene.pump.pausePeer(peer, false);
  for (const passed of [6, 12, 18]) {
    scene.turn();
    assert.is(scene.time - before, passed);
  }
  scene.settle();
  assert.is(scene.pump.stats().messagesIn, 3);
});

passes("a read alone causes a turn: the engine answers a ping", () => {
  const scene = new Scene();
  const client = scene.webSocket();
  client.send(frame(9, "p"));
  assert.equal(client.bytes, []);
  scene.settle();
  assert.equal(client.bytes, [0x8a, 1, 112]);
});

passes("an inbox that is added is drained", () => {
  const scene = new Scene();
  let drains = 0;
  const drain = (): boolean => {
    drains++;
    return false;
  };
  scene.settle();
  scene.pump.addInbox({ drain, ended() {}, endTurn() {} });
  assert.is(drains, 0);
  scene.settle();
  assert.ok(drains > 0);
});

const nothing = (): void => {};

/** A schedule whose turns do nothing, on a clock that the test moves. */
class Timetable {
  readonly turns: (() => void)[] = [];
  now = 0;
  /** Called where a turn looks at the deadlines. */
  onTick = nothing;
  events = 0;
  handled = 0;
  readonly #loop = {
    hasResumes: false,
    engine: {
      get: (index: Control) => (index === Control.Now ? this.now : 0),
      eventCount: 0,
    },
    time: nothing,
    flush: nothing,
    flushPieces: () => false,
    handleEvents: () => {
      this.handled += this.#loop.engine.eventCount;
      this.#loop.engine.eventCount = 0;
    },
    tick: () => {
      this.onTick();
      return -1;
    },
  };
  readonly schedule = new Schedule(
    {
      loop: this.#loop,
      depth: 0,
      values: { flushInterval: 0 },
      began: nothing,
      runLater: nothing,
      inflate: nothing,
      drainInboxes: () => false,
      turned: nothing,
      ticked: nothing,
      endTurn: nothing,
      setReading: nothing,
      awaitTurn: nothing,
    } satisfies Record<keyof Turn, unknown> as unknown as Turn,
    {
      now: () => this.now,
      date: () => 0,
      defer: (fn: () => void) => void this.turns.push(fn),
      after: () => nothing,
    },
  );

  /** Adds an event to the engine's table. */
  emit(): void {
    this.#loop.engine.eventCount++;
  }

  turn(): void {
    this.turns.shift()?.();
  }

  /** Reads 64 KiB of each connection, for `millis` each. @returns the ones that wait for their turn */
  read(count: number, millis: number): number[] {
    const waiting: number[] = [];
    for (let i = 0; i < count; i++) {
      const peer = { dead: false, yields: false };
      this.schedule.afterRead(peer as Peer, 65536);
      if (peer.yields) waiting.push(i);
      this.now += millis;
    }
    return waiting;
  }
}

passes("events of the last look at the deadlines are handled, and a turn follows", () => {
  const table = new Timetable();
  let looks = 0;
  // The first look of a turn finds nothing, the second one a deadline that has passed.
  table.onTick = () => {
    if (++looks === 2) table.emit();
  };
  table.schedule.schedule();
  // The first two turns only poll, because the loop may have been blocked before them.
  for (let i = 0; i < 3 && looks < 2; i++) table.turn();
  assert.is(looks, 2);
  assert.is(table.handled, 1);
  assert.is(table.turns.length, 1, "what the events caused is written in another turn");
});

passes("in a late round each connection that sends much is read once", () => {
  const table = new Timetable();
  // The first read schedules the turn. Turns between reads do not make the round any shorter.
  assert.equal(table.read(20, 1), [6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
  table.turn();
  assert.equal(table.read(5, 1), [], "another round begins");
});

passes("a round is late sooner while connections are accepted", () => {
  const table = new Timetable();
  table.schedule.accepted();
  table.schedule.schedule();
  table.turn();
  assert.equal(table.read(5, 1), [2, 3, 4]);
  table.turn();
  assert.equal(table.read(5, 1), [], "no connection was accepted in the round before");
});

passes.run();
