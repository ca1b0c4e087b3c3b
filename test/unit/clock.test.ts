// Clocks that jump: hours in which the machine was suspended, and a wall clock that is set.

import { brokenRule } from "../lib/check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { MemoryNet, type MemorySocket, VirtualClock } from "../../worker/net/memory";
import { Pump } from "../../worker/pump/pump";
import { HANDSHAKE } from "../lib/handshake";
import { text } from "../lib/frame";
import { testEngine } from "../lib/wasm";

const clock = suite("clock");
const HOUR = 3600000;
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/** A server under a clock, and what its clients got. */
class World {
  readonly clock = new VirtualClock();
  readonly net = new MemoryNet(this.clock);
  readonly causes: string[] = [];
  readonly pump: Pump;
  /** Turns that ran. */
  turns = 0;

  /** Called with each request. */
  asked: () => void = () => undefined;

  constructor(params: Parameters<typeof testEngine>[0] = {}) {
    const engine = testEngine(params);
    this.pump = new Pump({ engine, clock: this.clock });
    const turned = (): void => {
      this.turns++;
    };
    this.pump.setHandler(
      {
        request: (req, res) => {
          this.asked();
          return req.upgrade ? res.upgrade() : res.send(200, "", "ok");
        },
        message: (ws, data) => ws.send(data),
        close: (_, { cause }) => this.causes.push(cause),
        disconnect: (_, { cause }) => this.causes.push(cause),
      },
      turned,
    );
    void this.net.listen({}, engine.windowView(), this.pump.accept);
  }

  /** @param buffer bytes that a socket takes in before its client reads */
  connect(bytes: string | Uint8Array, buffer?: number): MemorySocket {
    const socket = this.net.connect(buffer);
    if (!socket) throw new Error("not connected");
    this.send(socket, bytes);
    return socket;
  }

  send(socket: MemorySocket, bytes: string | Uint8Array): void {
    socket.send(Buffer.from(bytes as string, "latin1"));
    this.clock.run();
  }

  webSocket(buffer?: number): MemorySocket {
    const socket = this.connect(HANDSHAKE, buffer);
    assert.match(take(socket), /^HTTP\/1\.1 101 /);
    return socket;
  }
}

function take(socket: MemorySocket): string {
  return Buffer.from(socket.read()).toString("latin1");
}

clock("missing hours end connections whose time has run out, and no others", () => {
  const world = new World();
  const idle = world.connect(GET);
  assert.match(take(idle), /^HTTP\/1\.1 200 /);
  const half = world.connect("GET / HT");
  const silent = world.webSocket();
  const talking = world.webSocket();
  const { turns } = world;
  // Bytes that a client sent meanwhile are there when the machine wakes.
  world.clock.jump(10 * HOUR);
  talking.send(text("still here"));
  idle.send(Buffer.from(GET));
  world.clock.advance(0);
  assert.is(take(talking), "\x81\x0astill here", "it has sent something: it is alive");
  assert.match(take(idle), /^HTTP\/1\.1 200 /);
  assert.match(take(half), /^HTTP\/1\.1 408 /);
  assert.ok(world.turns - turns < 20, `${world.turns - turns} turns: time is not caught up with`);
  world.causes.length = 0;
  // Deadlines hold from then on as they did before.
  const fresh = world.connect(GET);
  take(fresh);
  world.clock.advance(4000);
  assert.is(idle.gone, "");
  assert.is(fresh.gone, "");
  world.clock.advance(2000);
  assert.equal(world.causes, ["HeadTimeout", "KeepAliveTimeout", "KeepAliveTimeout"]);
  // The ping of the silent one was due: it has the time of a pong from when that left.
  world.clock.advance(23990);
  talking.send(text("and still"));
  assert.is(silent.gone, "");
  world.clock.advance(100);
  assert.equal(world.causes.slice(3), ["IdleTimeout"]);
  assert.is(silent.gone, "reset");
  assert.is(talking.gone, "");
  assert.is(brokenRule(world.pump.engine), undefined);
});

clock(
  "a jump in the midst of an eviction's grace evicts clients that do not read, and no others",
  () => {
    const world = new World();
    const reader = world.webSocket();
    const slow = world.webSocket();
    const data = new Uint8Array(1000);
    let got = 0;
    let sent = 0;
    for (let i = 0; i < 2000 && slow.gone === ""; i++) {
      if (world.pump.broadcast(data)) sent++;
      if (i === 70) world.clock.jump(10000);
      world.clock.advance(1);
      got += reader.read().length;
    }
    assert.is(slow.gone, "reset");
    assert.is(reader.gone, "");
    world.clock.advance(1);
    got += reader.read().length;
    assert.is(got, sent * 1004);
    assert.equal(world.causes, ["WsClientTooSlow"]);
  },
);

for (const busy of ["before the event loop polls", "between two reads"]) {
  clock(`a request that came in time is answered, though the loop was busy ${busy}`, () => {
    const world = new World();
    const idle = world.connect(GET);
    assert.match(take(idle), /^HTTP\/1\.1 200 /);
    world.clock.advance(5000);
    const other = world.connect(GET);
    const silent = world.connect(GET);
    world.clock.advance(990);
    if (busy === "between two reads") {
      // The bytes of both are there. The turn that follows the first read is overdue, so it comes before the second.
      world.asked = () => world.clock.jump(20);
      other.send(Buffer.from(GET));
      idle.send(Buffer.from(GET));
    } else {
      world.clock.jump(20);
      world.send(other, GET);
      idle.send(Buffer.from(GET));
    }
    world.clock.advance(0);
    assert.match(take(idle), /^HTTP\/1\.1 200 /);
    assert.equal(world.causes, []);
    world.asked = () => undefined;
    // The others end in time.
    take(silent);
    world.clock.advance(5000);
    assert.is(silent.gone, "closed");
    assert.is(brokenRule(world.pump.engine), undefined);
  });
}

clock("a write after a long silence has its time from then on", () => {
  const world = new World({ IdleTimeout: 0, SendPings: 0 });
  const slow = world.webSocket(1024);
  // Longer than writeTimeout, and no client is checked meanwhile.
  world.clock.advance(31000);
  const data = new Uint8Array(1000);
  let sent = 0;
  world.pump.each((ws) => {
    while (ws.send(data)) sent++;
  });
  world.clock.advance(20000);
  assert.equal(world.causes, []);
  let got = 0;
  for (let i = 0; i < 1000; i++) {
    got += slow.read().length;
    world.clock.advance(1);
  }
  assert.is(got, sent * 1004);
});

clock("a wall clock that is set changes the Date of answers, and no deadline", () => {
  const world = new World();
  const ws = world.webSocket();
  const idle = world.connect(GET);
  const date = (answer: string): string => /^Date: (.*)\r$/m.exec(answer)?.[1] ?? "";
  assert.is(date(take(idle)), "Thu, 01 Jan 2026 00:00:00 GMT");
  for (const [year, expected] of [
    [2001, "Mon, 01 Jan 2001 00:00:01 GMT"],
    [2037, "Thu, 01 Jan 2037 00:00:02 GMT"],
    [1970, "Thu, 01 Jan 1970 00:00:03 GMT"],
  ] as const) {
    world.clock.epoch = Date.UTC(year, 0, 1);
    world.clock.advance(1000);
    world.send(idle, GET);
    assert.is(date(take(idle)), expected);
  }
  assert.equal(world.causes, []);
  world.clock.advance(5900);
  assert.is(idle.gone, "");
  world.clock.advance(200);
  assert.equal(world.causes, ["KeepAliveTimeout"]);
  assert.is(ws.gone, "");
});

clock.run();
