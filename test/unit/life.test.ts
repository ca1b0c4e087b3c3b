// Life and progress: pings, pongs after data, and slow readers whose send queue is read before they are judged.

import { brokenRule } from "../lib/check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Control, Param } from "../../assembly/abi";
import { MemoryNet, type MemorySocket, VirtualClock } from "../../worker/net/memory";
import { Pump } from "../../worker/pump/pump";
import { Drive } from "../lib/drive";
import { HANDSHAKE } from "../lib/handshake";
import { frame, lines, text } from "../lib/frame";
import { testEngine } from "../lib/wasm";

const life = suite("life");
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const MiB = 1048576;

// ---- keep-alive ----------------------------------------------------------------------------------------

life("a shorter keepAliveTimeout applies from the next response on, whatever else changes", () => {
  const drive = new Drive({ KeepAliveTimeout: 5000, RunBytes: 2048 });
  const [first, second] = [drive.connect().send(GET), drive.connect().send(GET)];
  drive.after(2000);
  drive.engine.configure(Param.KeepAliveTimeout, 1000);
  drive.engine.configure(Param.KeepAliveTimeout, 1500);
  // Every timer is armed again.
  drive.engine.configure(Param.RunBytes, 4096);
  drive.after(500);
  second.send(GET);
  drive.after(2499);
  assert.is(second.dead, false);
  drive.after(1);
  assert.is(second.log.at(-1), "closed KeepAliveTimeout");
  // A second more than was announced, so that a request that was sent at its end is answered.
  drive.after(999);
  assert.is(first.dead, false);
  drive.after(1);
  assert.is(first.log.at(-1), "closed KeepAliveTimeout");
  drive.end();
});

// ---- pings ---------------------------------------------------------------------------------------------

life("a client is pinged after pingInterval, and has the rest of idleTimeout for its pong", () => {
  const drive = new Drive({ IdleTimeout: 120000, PingInterval: 45000 });
  const wire = drive.webSocket();
  drive.after(44999);
  assert.equal(lines(wire.take()), []);
  drive.after(1);
  assert.equal(lines(wire.take()), ["ping"]);
  drive.after(74999);
  assert.not(wire.dead);
  drive.after(1);
  assert.is(wire.log.at(-1), "closed IdleTimeout");
  drive.end();
});

life(
  "pings come at half of a short idleTimeout, without one for ever, and not with an interval of 0",
  () => {
    const count = (params: object, ms: number, pong: boolean): number => {
      const drive = new Drive(params);
      const wire = drive.webSocket();
      let pings = 0;
      for (let at = 0; at < ms && !wire.dead; at += 500) {
        drive.after(500);
        const came = lines(wire.take()).length;
        pings += came;
        if (pong && came > 0) wire.send(frame(10));
      }
      drive.end();
      return pings;
    };
    assert.is(count({ IdleTimeout: 20000, PingInterval: 45000 }, 100000, true), 10);
    assert.is(count({ IdleTimeout: 0, PingInterval: 45000 }, 450000, true), 10);
    assert.is(count({ IdleTimeout: 0, PingInterval: 45000 }, 450000, false), 10);
    assert.is(count({ IdleTimeout: 20000, PingInterval: 0 }, 100000, true), 0);
  },
);

life("the time of a pong begins when its ping has left the process", () => {
  const drive = new Drive({
    IdleTimeout: 60000,
    PingInterval: 30000,
    WriteTimeout: 1e6,
    RunBytes: 512,
  });
  const wire = drive.webSocket();
  wire.stalled = true;
  for (let i = 0; i < 4; i++) drive.publish("x".repeat(900));
  drive.turn();
  drive.after(30000);
  drive.after(200000);
  assert.not(wire.dead, "its ping waits until the publications are sent");
  wire.unstall();
  drive.turn();
  assert.ok(lines(wire.take()).includes("ping"));
  drive.after(29999);
  assert.not(wire.dead);
  drive.after(1);
  assert.is(wire.log.at(-1), "closed IdleTimeout");
  drive.end();
});

life("a WebSocket that is held and no longer read is pinged, and not ended for its silence", () => {
  const drive = new Drive();
  const wire = drive.webSocket();
  drive.hold(wire, true);
  wire.send(frame(2, "x".repeat(3000)), frame(2, "y".repeat(3000)));
  for (let i = 1; i <= 10; i++) {
    drive.after(30000);
    assert.equal(lines(wire.take()), ["ping"], `after ${i} times`);
  }
  drive.hold(wire, false);
  drive.after(30000);
  assert.equal(lines(wire.take()), ["ping"]);
  drive.after(30000);
  assert.is(wire.log.at(-1), "closed IdleTimeout");
  drive.end();
});

// ---- readers by rate -------------------------------------------------------------------------------------

/** Bytes that a kernel holds on the way to a client, and how many of them must be free for a writer to be woken. */
const BUFFER = 2.5 * MiB;
const LUMP = BUFFER / 3;
/** ms between two reads of a client. */
const STEP = 250;

/** Pieces without end. */
function* endless(): Generator<Uint8Array> {
  for (;;) yield new Uint8Array(65536);
}

class World {
  readonly clock = new VirtualClock();
  readonly net = new MemoryNet(this.clock);
  readonly pump: Pump;
  readonly causes: string[] = [];
  readonly body: string;
  isHeld = false;

  /** @param measured false: as on a platform that cannot read send queues */
  constructor(measured: boolean, bodyBytes = 0, params: object = {}) {
    this.body = "x".repeat(bodyBytes);
    const engine = testEngine({
      ...{ RingBytes: 16 * MiB, RunBytes: 262144, ReplyPoolBytes: 32 * MiB, Backlog: 32 * MiB },
      ...{ Frames: 65536, QueuedFrames: 65536, ScratchBytes: 32 * MiB, SlowGrace: 1e6 },
      ...{ IdleTimeout: 120000, PingInterval: 45000, WriteTimeout: 30000, CloseTimeout: 2000 },
      ...{ SendRate: 240, RateGrace: 30000, ...params },
    });
    this.pump = new Pump({
      ...{ engine, clock: this.clock },
      queues: measured ? this.net.queues : undefined,
    });
    this.pump.setHandler({
      request: (req, res) => {
        if (req.upgrade) return res.upgrade();
        if (req.path === "/wait") return undefined;
        if (req.path === "/stream") return res.stream(200, "", endless());
        if (req.path === "/close") res.close();
        return res.send(200, "", this.body);
      },
      close: (_, { cause }) => void this.causes.push(cause),
      disconnect: (_, { cause }) => void this.causes.push(cause),
    });
    void this.net.listen({}, engine.windowView(), this.pump.accept);
  }

  connect(bytes: string): MemorySocket {
    const socket = this.net.connect(BUFFER, undefined, LUMP);
    if (!socket) throw new Error("not connected");
    this.send(socket, bytes);
    return socket;
  }

  send(socket: MemorySocket, bytes: string | Uint8Array): void {
    socket.send(Buffer.from(bytes as string, "latin1"));
    this.clock.run();
  }

  webSocket(): MemorySocket {
    const socket = this.connect(HANDSHAKE);
    socket.read();
    return socket;
  }

  /** Reads at a rate for so many seconds, as long as the connection is there. Returns bytes. */
  read(socket: MemorySocket, rate: number, seconds: number): number {
    let got = 0;
    for (let ms = 0; ms < seconds * 1000 && socket.gone !== "reset"; ms += STEP) {
      this.clock.advance(STEP);
      got += socket.read((rate * STEP) / 1000).length;
      if (socket.ended || (socket.gone === "closed" && socket.available === 0)) break;
    }
    return got;
  }

  /** Has promises settle, and what follows from them happen, so many times. */
  async settle(times: number): Promise<void> {
    for (let i = 0; i < times; i++) {
      await new Promise((resolve) => setImmediate(resolve));
      this.clock.run();
    }
  }

  check(): void {
    assert.is(brokenRule(this.pump.engine), undefined);
  }
}

for (const rate of [4000, 12000, 100000]) {
  life(`a reader of ${rate / 1000} kB/s gets 10 MB, and the end of an answer that closes`, () => {
    for (const target of ["/", "/close"]) {
      const world = new World(true, 1e7);
      const socket = world.connect(GET.replace("/", target));
      const got = world.read(socket, rate, 1.1 * (1e7 / rate));
      assert.ok(got > 1e7, `${target}: ${got} bytes, ${world.causes}`);
      world.clock.advance(10000);
      assert.equal(world.causes, [target === "/" ? "KeepAliveTimeout" : "Ok"]);
      assert.is(world.pump.engine.get(Control.Watched), 0);
      world.check();
    }
  });

  life(`a reader of ${rate / 1000} kB/s keeps its WebSocket during 10 MB of broadcasts`, () => {
    const world = new World(true);
    const socket = world.webSocket();
    for (let i = 0; i < 10; i++) assert.ok(world.pump.broadcast(new Uint8Array(1e6)));
    const got = world.read(socket, rate, 1e7 / rate - 1);
    assert.equal(world.causes, []);
    assert.ok(got > 0.99e7 - rate, `${got} bytes`);
    world.check();
  });
}

/** Reads 100 kB every 4 s for so many seconds, as a client whose kernel acknowledges in steps. */
function readInSteps({ clock }: World, socket: MemorySocket, seconds: number): void {
  for (let s = 0; s < seconds; s++) {
    clock.advance(1000);
    if (clock.now() % 4000 === 0) socket.read(100000);
  }
}

life("a steady reader does not make room when the table of slots fills up at once", () => {
  for (const before of [5, 13, 15, 16, 17, 29, 31, 45]) {
    const world = new World(true, 1e7, { Connections: 2 });
    const socket = world.connect(GET);
    readInSteps(world, socket, before);
    world.connect(GET.replace("/", "/wait"));
    for (let s = 0; s < 20; s++) {
      world.send(world.net.connect() as MemorySocket, GET);
      readInSteps(world, socket, 4);
    }
    assert.is(socket.gone, "", `after ${before} s`);
    assert.is(world.pump.stats().closed.NoRoom, 20);
    // From then on it reads nothing.
    world.clock.advance(6000);
    world.connect(GET);
    assert.is(socket.gone, "reset", `after ${before} s`);
    assert.equal(world.causes, ["EvictedUnread"]);
    world.check();
  }
});

for (const measured of [true, false]) {
  const where = measured ? "" : ", where queues cannot be read";
  life(`a client that does not read makes room for a piece of another${where}`, async () => {
    for (const before of [1, 14, 16, 40]) {
      const world = new World(measured, 0, { PieceBytes: 133120, WriteTimeout: 1e6, SendRate: 0 });
      const download = async (): Promise<MemorySocket> => {
        const socket = world.connect(GET.replace("/", "/stream"));
        await world.settle(BUFFER / 65536);
        return socket;
      };
      const [steady, still] = [await download(), await download()];
      const pass = async (seconds: number): Promise<void> => {
        for (let s = 0; s < seconds; s++) {
          world.clock.advance(1000);
          // A third of the buffer is the least progress that completes a write.
          if (s % 4 === 0) steady.read(measured ? 100000 : LUMP);
          await world.settle(20);
        }
      };
      await pass(before);
      const waits = await download();
      await pass(13);
      // The time counts from the first reading of the queue.
      if (measured) assert.equal([still.gone, waits.available < 1000], ["", true]);
      await pass(8);
      assert.equal(world.causes, ["EvictedUnread"], `after ${before} s`);
      assert.equal([still.gone, steady.gone], ["reset", ""]);
      assert.ok(waits.available > 65536, "it has its piece");
      await pass(60);
      assert.equal(world.causes, ["EvictedUnread"], "while no piece waits");
      const last = await download();
      await pass(60);
      assert.equal([waits.gone, steady.gone], ["reset", ""]);
      assert.ok(last.available > 65536);
      world.check();
    }
  });
}

life("a limit that is lowered ends clients that do not read, and no steady reader", () => {
  for (const before of [5, 14, 16, 18, 25]) {
    // Without a rate a client has no time of a step.
    const world = new World(true, 1e7, { SendRate: 0 });
    const steady = world.connect(GET);
    const stopped = world.connect(GET);
    readInSteps(world, steady, before);
    stopped.unplug();
    world.pump.engine.configure(Param.WriteTimeout, 10000);
    world.pump.schedule();
    readInSteps(world, steady, 60);
    assert.is(steady.gone, "", `after ${before} s`);
    assert.is(stopped.gone, "reset");
    assert.equal(world.causes, ["WriteTimeout"]);
    world.check();
  }
});

life("a jump of the clock ends no steady reader of an answer", () => {
  const world = new World(true, 1e7, { SendRate: 0 });
  const socket = world.connect(GET);
  readInSteps(world, socket, 8);
  world.clock.jump(100000);
  readInSteps(world, socket, 100);
  assert.equal(world.causes, []);
  world.check();
});

life("a steady reader is not ended while the readings of its queue are late", () => {
  const world = new World(true, 1e7, { SendRate: 0 });
  const { net, clock } = world;
  const engine = testEngine({ WriteTimeout: 10000, SendRate: 0 });
  const pump = new Pump({
    ...{ engine, clock },
    // Each takes 800 ms, as on a machine under load, so they are 16 s apart.
    queues: (links, report) => void clock.after(800, () => net.queues(links, report)),
  });
  pump.setHandler({ request: (_, res) => res.send(200, "", "x".repeat(1e6)) });
  void net.listen({}, engine.windowView(), pump.accept);
  const socket = net.connect(65536, undefined, 65536) as MemorySocket;
  world.send(socket, GET);
  for (let s = 0; s < 60; s++) {
    clock.advance(1000);
    socket.read(700);
  }
  assert.is(socket.gone, "");
  clock.advance(40000);
  assert.is(socket.gone, "reset", "it has stopped");
});

life("a shorter writeTimeout holds at once, also for writes that wait", () => {
  const world = new World(true, 1e7);
  const socket = world.connect(GET);
  socket.unplug();
  world.clock.advance(1000);
  world.pump.engine.configure(Param.WriteTimeout, 4000);
  world.pump.schedule();
  world.clock.advance(5000);
  assert.equal(world.causes, ["WriteTimeout"]);
});

life("the time of a pong begins with the last byte acknowledged before it", () => {
  // Its kernel acknowledges all but 60 kB, which are read in 60 of the 75 s.
  for (const bytes of [300000, 340000, 380000]) {
    const world = new World(true);
    const socket = world.webSocket();
    assert.ok(world.pump.broadcast(new Uint8Array(bytes)));
    world.read(socket, 1000, bytes / 1000);
    world.clock.advance(60000);
    assert.equal(world.causes, [], `${bytes} bytes`);
    world.send(socket, frame(10));
    world.clock.advance(40000);
    assert.equal(world.causes, [], `${bytes} bytes`);
    world.check();
  }
});

life("where no queue can be read, completed writes alone are progress", () => {
  // Between two of them lie up to a third of the kernel's buffer and a run: 38 kB/s for 30 s.
  const world = new World(false, 1e7);
  const quick = world.connect(GET);
  const slow = world.connect(GET);
  let got = 0;
  for (let i = 0; i < 1100 && quick.gone !== "reset"; i++) {
    world.clock.advance(STEP);
    got += quick.read(40000 * (STEP / 1000)).length;
    slow.read(20000 * (STEP / 1000));
  }
  assert.ok(got > 1e7, `${got} bytes`);
  assert.ok(world.causes.includes("WriteTimeout"));
  assert.is(slow.gone, "reset");
});

life(
  "a reader whose kernel is gone is reset after writeTimeout, one that drips as too slow",
  () => {
    const world = new World(true, 1e7);
    const socket = world.connect(GET);
    world.read(socket, 100000, 20);
    socket.unplug();
    // Reads before the first look at its queue show in lumps, so at least half of the time appears silent.
    world.clock.advance(15000);
    assert.is(socket.gone, "");
    world.clock.advance(17000);
    assert.is(socket.gone, "reset");
    assert.equal(world.causes, ["WriteTimeout"]);
    const slow = new World(true, 1e7);
    const drips = slow.connect(GET);
    slow.read(drips, 100, 4000);
    assert.equal(slow.causes, ["TooSlow"]);
  },
);

/** ms that a step of acknowledgements takes at `SendRate`. */
const STEP_TIME = 131072 / 0.24;

life(
  "a reader that stops, and its kernel answers, has the time of a step; then it is reset",
  () => {
    const world = new World(true, 1e7);
    const socket = world.connect(GET);
    world.read(socket, 100000, 20);
    world.clock.advance(STEP_TIME - 20000);
    assert.is(socket.gone, "");
    world.clock.advance(25000);
    assert.equal(world.causes, ["WriteTimeout"]);
    world.check();
  },
);

life("a kernel that ceases to answer within a step ends that time", () => {
  const world = new World(true, 1e7);
  const socket = world.connect(GET);
  world.read(socket, 100000, 20);
  world.clock.advance(100000);
  assert.is(socket.gone, "");
  socket.unplug();
  world.clock.advance(2000);
  assert.equal(world.causes, ["WriteTimeout"]);
  world.check();
});

life(
  "with a minSendRate of 0 writeTimeout alone holds, with a higher one a step is shorter",
  () => {
    for (const [rate, time] of [
      [0, 30000],
      [2400, STEP_TIME / 10],
      [24000, 30000],
    ] as const) {
      const world = new World(true, 1e7);
      world.pump.engine.configure(Param.SendRate, rate);
      const socket = world.connect(GET);
      world.clock.advance(time - 1000);
      assert.is(socket.gone, "", `${rate} B/s`);
      world.clock.advance(4000);
      assert.equal(world.causes, ["WriteTimeout"], `${rate} B/s`);
    }
  },
);

life("a client that stops within the end of its answer is ended as CloseTimeout", () => {
  for (const isUnplugged of [false, true]) {
    const world = new World(true, 1e6);
    const socket = world.connect(GET.replace("/", "/close"));
    world.read(socket, 50000, 10);
    assert.is(socket.gone, "");
    if (isUnplugged) socket.unplug();
    else world.clock.advance(STEP_TIME - 5000);
    assert.is(socket.gone, "", "within the time");
    world.clock.advance(isUnplugged ? 4500 : 9000);
    assert.is(socket.gone, "reset");
    assert.equal(world.causes, ["CloseTimeout"]);
  }
});

life("clients of 240 B/s whose kernel acknowledges 126 KiB at a time are served", () => {
  const step = 126 * 1024;
  for (const target of ["/", "/close"]) {
    const world = new World(true, 4e6);
    const socket = world.connect(GET.replace("/", target));
    let got = 0;
    while (socket.gone === "" && !socket.ended && got < 4e6) {
      got += socket.read(step).length;
      world.clock.advance(step / 0.24);
    }
    assert.ok(got > 4e6, `${target}: ${got} bytes, ${world.causes}`);
    world.check();
  }
  const world = new World(true);
  const socket = world.webSocket();
  assert.ok(world.pump.broadcast(new Uint8Array(4e6)));
  let got = 0;
  while (socket.gone === "" && got < 4e6) {
    got += socket.read(step).length;
    world.clock.advance(step / 0.24);
  }
  world.send(socket, frame(10));
  world.clock.advance(40000);
  assert.equal(world.causes, [], `${got} bytes`);
  world.check();
});

for (const isSeen of [false, true]) {
  const how = isSeen ? ", also where a reading finds it under way" : "";
  life(`a frozen client is ended though its kernel acknowledges what trickles in${how}`, () => {
    const world = new World(true);
    const socket = world.webSocket();
    for (let s = 0; s < 300 && socket.gone === ""; s++) {
      world.pump.broadcast("tick");
      world.clock.advance(40);
      socket.read();
      if (isSeen && s % 2 === 0) world.pump.broadcast("tock");
      world.clock.advance(960);
      socket.read();
    }
    assert.equal(world.causes, ["IdleTimeout"]);
    assert.ok(world.clock.now() < 125000, `after ${world.clock.now()} ms`);
  });
}

life("a write that completes a little later, as over TLS, is no sign of life of its client", () => {
  const drive = new Drive({ IdleTimeout: 60000, PingInterval: 30000 });
  const wire = drive.webSocket();
  for (let s = 0; s < 120 && !wire.dead; s++) {
    wire.stalled = true;
    drive.publish("tick");
    drive.turn();
    drive.after(50);
    wire.unstall();
    drive.turn();
    drive.after(950);
  }
  assert.is(wire.log.at(-1), "closed IdleTimeout");
  drive.end();
});

life("bytes that a client sends prolong its linger, to 15 times closeTimeout at most", () => {
  const world = new World(true);
  const socket = world.connect("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n");
  assert.match(Buffer.from(socket.read()).toString("latin1"), /^HTTP\/1\.1 413 /);
  let ms = 0;
  for (; socket.gone === "" && ms < 60000; ms += 1000) {
    world.send(socket, "x".repeat(100));
    world.clock.advance(1000);
  }
  assert.ok(ms > 28000 && ms <= 31000, `${ms} ms`);
  assert.equal(world.causes, ["LargeRequest"]);
});

life(
  "queues are read once a second at most, and only while a connection is past half of its time",
  () => {
    const world = new World(true);
    const readings: number[] = [];
    const net = new MemoryNet(world.clock);
    const engine = testEngine({ IdleTimeout: 40000, PingInterval: 20000 });
    const pump = new Pump({
      ...{ engine, clock: world.clock },
      queues: (links, receive) => {
        readings.push(world.clock.now());
        net.queues(links, receive);
      },
    });
    pump.setHandler({ request: (_, res) => res.upgrade() });
    void net.listen({}, engine.windowView(), pump.accept);
    const socket = net.connect() as MemorySocket;
    world.send(socket, HANDSHAKE);
    socket.read();
    world.clock.advance(29000);
    assert.equal(readings, [], "its pong is not past half of its time");
    world.clock.advance(5000);
    assert.ok(readings.length >= 4 && readings.length <= 6, `${readings}`);
    world.send(socket, text("alive"));
    world.clock.advance(10000);
    const { length } = readings;
    world.clock.advance(3000);
    assert.is(readings.length, length, "it is alive");
    assert.is(brokenRule(engine), undefined);
  },
);

life.run();
