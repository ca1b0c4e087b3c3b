// The life of the engine's region: footprint, new, join, leave, delete; the module's imports from its host; ids that
// are stale.

import { brokenRule } from "../lib/check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  CLOSE_REASONS,
  ABI_VERSION,
  CloseReason,
  Control,
  EventKind,
  NONE,
  Outcome,
  Param,
  Piping,
  RESERVED_CONFIGURED,
  RESERVED_EOF,
  Rule,
} from "../../assembly/abi";
import {
  Region,
  firstParam,
  fourthParam,
  regionBytes,
  secondParam,
  thirdParam,
} from "../../assembly/plan";
import { Engine, type EngineExports } from "../../worker/engine/engine";
import { Drive } from "../lib/drive";
import { HANDSHAKE } from "../lib/handshake";
import { text } from "../lib/frame";
import { BUILDS, SMALL, testEngine } from "../lib/wasm";

/** The number after the last reason. */
const UNKNOWN = -(CLOSE_REASONS + 1);
const RESERVED = [RESERVED_EOF, RESERVED_CONFIGURED];
const lifecycle = suite("lifecycle");

for (const build of ["release", "debug"] as const) {
  lifecycle(`the ${build} module imports nothing`, () => {
    const module = new WebAssembly.Module(BUILDS[build]);
    assert.equal(WebAssembly.Module.imports(module), []);
  });

  lifecycle(`the ${build} module exports functions and one memory, no runtime`, () => {
    const module = new WebAssembly.Module(BUILDS[build]);
    const found = WebAssembly.Module.exports(module);
    const others = found.filter((one) => one.kind !== "function");
    assert.equal(
      others.map((one) => one.name),
      ["memory"],
    );
    for (const { name } of found) assert.not.match(name, /^__/);
  });
}

/** Builds a module of functions that return a number each, and a memory. */
function moduleOf(functions: Readonly<Record<string, number>>): WebAssembly.Module {
  const names = Object.entries(functions);
  const section = (id: number, ...bytes: number[]): number[] => [id, bytes.length, ...bytes];
  const exported = (name: string, kind: number, index: number): number[] => [
    ...[name.length, ...Buffer.from(name)],
    ...[kind, index],
  ];
  return new WebAssembly.Module(
    Uint8Array.from([
      ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      ...section(1, 1, 0x60, 0, 1, 0x7f),
      ...section(3, names.length, ...names.map(() => 0)),
      ...section(5, 1, 0, 1),
      ...section(
        7,
        names.length + 1,
        ...exported("memory", 2, 0),
        ...names.flatMap(([name], i) => exported(name, 0, i)),
      ),
      ...section(10, names.length, ...names.flatMap(([, value]) => [4, 0, 0x41, value, 0x0b])),
    ]),
  );
}

lifecycle(
  "a wasm that is none of ours, or of another version, is refused before it is used",
  () => {
    const refused = (module: WebAssembly.Module, message: RegExp): void =>
      void assert.throws(
        () => new Engine(module, SMALL),
        (error: Error) => {
          assert.instance(error, TypeError);
          assert.match(error.message, message);
          return true;
        },
      );
    refused(moduleOf({ add: 1 }), /^wasm: the module is not Ringcast's engine$/);
    refused(moduleOf({ footprint: 1 }), /^wasm: the engine's ABI version is an older one, this/);
    refused(
      moduleOf({ footprint: 1, abi: 63 }),
      new RegExp(`^wasm: the engine's ABI version is 63, this package's ${ABI_VERSION}$`),
    );
    const importing = Uint8Array.from([
      ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0],
      ...[2, 7, 1, 1, 0x61, 1, 0x62, 0, 0],
    ]);
    refused(new WebAssembly.Module(importing), /^wasm: the module is not Ringcast's engine$/);
  },
);

lifecycle("the footprint is the sum of the regions", () => {
  const cases = [
    {},
    { RingBytes: 1 << 20 },
    { DeflateRingBytes: 4096 },
    { EventRingBytes: 4096, History: 1 },
    { Connections: 1000, Topics: 7, Subscriptions: 9 },
  ];
  for (const params of cases) {
    const { footprint } = testEngine(params);
    const all: Partial<Record<string, number>> = { ...SMALL, ...params };
    const value = (index: number): number => (index < 0 ? 0 : (all[Param[index] as string] ?? 0));
    let sum = 0;
    for (let region = 0; region < Region.COUNT; region++) {
      const third = value(thirdParam(region));
      const bytes = regionBytes(
        region,
        value(firstParam(region)),
        value(secondParam(region)),
        third,
        value(fourthParam(region)),
      );
      assert.is(bytes % 64, 0, "regions are aligned");
      sum += bytes;
    }
    assert.is(footprint, sum);
  }
});

lifecycle("all addresses lie within the footprint", () => {
  const engine = testEngine({ DeflateRingBytes: 4096 });
  const base = engine.control.byteOffset;
  for (const at of [
    engine.window,
    engine.scratch,
    engine.slots,
    engine.events * 4,
    engine.rows * 4,
  ]) {
    assert.ok(at > base && at < base + engine.footprint);
  }
  assert.ok(engine.u8.length >= base + engine.footprint);
});

interface Region64 {
  readonly x: EngineExports;
  readonly base: number;
}

/** Returns a new instance with room for a region at `base`. */
function fresh(): Region64 {
  const module = new WebAssembly.Module(BUILDS.release);
  const x = new WebAssembly.Instance(module).exports as unknown as EngineExports;
  const table = new Float64Array(x.memory.buffer, x.params(), Param.COUNT);
  for (const [name, value] of Object.entries(SMALL)) {
    table[Param[name as keyof typeof Param]] = value as number;
  }
  const base = x.base();
  const bytes = base + x.footprint() + 4096;
  x.memory.grow(Math.ceil(bytes / 65536) - x.memory.buffer.byteLength / 65536);
  return { x, base };
}

lifecycle("new, join, leave, join, leave, delete", () => {
  const { x, base } = fresh();
  assert.is(x.new(base), base);
  assert.is(x.join(base), base);
  assert.is(x.leave(), base);
  assert.is(x.join(base), base);
  assert.is(x.accept() >= 0, true);
  assert.is(x.leave(), base);
  assert.is(x.delete(base), base);
  assert.is(x.join(base), 0, "what is deleted cannot be joined");
  assert.is(x.delete(base), 0, "nor deleted again");
});

lifecycle("a region survives leave and join", () => {
  const { x, base } = fresh();
  x.new(base);
  x.join(base);
  const slot = x.accept();
  const control = new Float64Array(x.memory.buffer, base, Control.COUNT);
  const generation = control[Control.Generation] as number;
  x.leave();
  x.join(base);
  assert.is(control[Control.ConnectionCount], 1);
  assert.is(x.terminate(slot, generation, CloseReason.PeerReset), Outcome.Ok);
  assert.is(x.check(), Rule.Ok);
});

lifecycle("misaligned regions are refused", () => {
  const { x, base } = fresh();
  assert.is(x.align(), 64);
  assert.is(base % 64, 0);
  for (const offset of [1, 2, 4, 8, 16, 32, 63]) {
    assert.is(x.new(base + offset), 0);
    assert.is(x.join(base + offset), 0);
  }
  assert.is(x.new(0), 0);
  assert.is(x.join(0), 0);
  assert.is(x.delete(0), 0);
  x.new(base);
  assert.is(x.join(base + 64), 0, "a region that was not formatted");
  assert.is(x.new(base + 64), base + 64, "another place will do");
});

lifecycle("a wrong magic or version is refused", () => {
  const { x, base } = fresh();
  x.new(base);
  const words = new Uint32Array(x.memory.buffer, base, 2);
  const [magic = 0, version = 0] = words;
  assert.is(magic, 0x474e4952);
  words[0] = magic ^ 1;
  assert.is(x.join(base), 0);
  words[0] = magic;
  words[1] = version + 1;
  assert.is(x.join(base), 0);
  words[1] = version;
  assert.is(x.join(base), base);
});

lifecycle("the binding's error says why an engine cannot be created", () => {
  assert.throws(() => testEngine({ ScratchBytes: 2 ** 32 - 1 }), /over 4 GiB/);
});

lifecycle("the memory never grows after construction, whatever happens", () => {
  const drive = new Drive();
  const { engine } = drive;
  const { memory } = engine.x;
  const { buffer } = memory;
  const bytes = buffer.byteLength;
  for (let i = 0; i < 30; i++) {
    const wire = drive.webSocket();
    wire.stalled = i % 3 === 0;
    wire.send(text("x".repeat(20000)).subarray(0, i % 2 ? 20008 : 10000));
    for (let k = 0; k < 20; k++) drive.publish("y".repeat(300));
    drive
      .connect()
      .send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n${"z".repeat(8000)}`);
    drive.after(500);
    if (i % 4 === 3) for (const other of drive.wires) other.lose();
  }
  assert.is(memory.buffer, buffer, "no view was detached");
  assert.is(memory.buffer.byteLength, bytes);
  drive.end();
});

lifecycle("slots are used again under other ids, each once", () => {
  const drive = new Drive();
  const seen = new Set<string>();
  for (let i = 0; i < 100; i++) {
    const wire = drive.connect();
    if (i % 2) wire.send(HANDSHAKE);
    const id = `${wire.slot} ${wire.generation}`;
    assert.not(seen.has(id), id);
    seen.add(id);
    wire.lose();
  }
  drive.end();
});

/** Returns a call of every export that takes an id, with arguments that would have an effect. */
function calls(engine: Engine, slot: number, generation: number): Record<string, () => unknown> {
  const { x, scratch } = engine;
  return {
    feed: () => x.feed(slot, generation, 16),
    parseKept: () => x.parseKept(slot, generation),
    resume: () => x.resume(slot, generation),
    retain: () => x.retain(slot, generation),
    hold: () => x.hold(slot, generation, 1, 0),
    packed: () => x.packed(slot, generation),
    relay: () => x.relay(slot, generation, 1),
    peerEnded: () => x.peerEnded(slot, generation),
    terminate: () => x.terminate(slot, generation, CloseReason.PeerReset),
    abandon: () => x.abandon(slot, generation, CloseReason.HandlerError),
    upgrade: () => x.upgrade(slot, generation, 0, 0),
    openStream: () => x.openStream(slot, generation, 0, -1),
    greet: () => x.greet(slot, generation),
    begin: () => x.begin(slot, generation),
    settled: () => x.settled(slot, generation),
    release: () => x.release(slot, generation, 0),
    piping: () => x.piping(slot, generation, Piping.Waits),
    pour: () => x.pour(slot, generation, 3),
    finish: () => x.finish(slot, generation, CloseReason.Ok),
    respond: () => x.respond(slot, generation, 200, 0, 0, 0),
    respondStatic: () => x.respondStatic(slot, generation, 200, 0, 0, 1, 5),
    streamBegin: () => x.streamBegin(slot, generation, 200, 0, 0, -1),
    streamWrite: () => x.streamWrite(slot, generation, 5),
    streamNext: () => x.streamNext(slot, generation),
    streamEnd: () => x.streamEnd(slot, generation),
    give: () => x.give(slot, generation, 1, 1, 0),
    keepRoom: () => x.keepRoom(slot, generation, 0),
    collect: () => x.collect(slot, generation),
    stream: () => x.stream(slot, generation),
    pull: () => x.pull(slot, generation),
    awaitRoom: () => x.awaitRoom(slot, generation),
    send: () => x.send(slot, generation, 0, scratch, 3),
    sendBegin: () => x.sendBegin(slot, generation, 0x81, 3),
    ping: () => x.ping(slot, generation, scratch, 0),
    close: () => x.close(slot, generation, 1000, scratch, 0, CloseReason.Application),
    secured: () => x.secured(slot, generation),
    setAddress: () => x.setAddress(slot, generation, 0),
    dismiss: () => x.dismiss(slot, generation),
    free: () => x.free(slot, generation),
    done: () => x.done(slot, generation),
    acknowledged: () => x.acknowledged(slot, generation, 0, 1),
    lag: () => x.lag(slot, generation),
    limit: () => x.limit(slot, generation, 1, 1),
    subscribe: () => x.subscribe(slot, generation, scratch, 3),
    unsubscribe: () => x.unsubscribe(slot, generation, scratch, 3),
    isSubscribed: () => x.isSubscribed(slot, generation, scratch, 3),
    nextTopic: () => x.nextTopic(slot, generation, 0),
  };
}

/** The result of each when the id is unused. */
const NOBODY: Record<string, unknown> = {
  feed: 16,
  parseKept: 0,
  resume: 0,
  retain: 0,
  packed: 0,
  terminate: Outcome.Gone,
  abandon: Outcome.Gone,
  upgrade: Outcome.Gone,
  openStream: Outcome.Gone,
  greet: 0,
  setAddress: Outcome.Gone,
  release: Outcome.Gone,
  pour: Outcome.Gone,
  finish: Outcome.Gone,
  respond: Outcome.Gone,
  respondStatic: Outcome.Gone,
  subscribe: Outcome.Gone,
  unsubscribe: Outcome.Gone,
  isSubscribed: 0,
  nextTopic: 0,
  streamBegin: Outcome.Gone,
  streamWrite: Outcome.Gone,
  streamEnd: Outcome.Gone,
  give: Outcome.Gone,
  collect: Outcome.Gone,
  stream: Outcome.Gone,
  send: Outcome.Gone,
  sendBegin: Outcome.Gone,
  awaitRoom: Outcome.Gone,
  ping: Outcome.Gone,
  close: Outcome.Gone,
  lag: 0,
};

lifecycle("every export that takes an id is tried", () => {
  const { x } = testEngine();
  const tried = Object.keys(calls(testEngine(), 0, 0));
  const others = [
    ...["memory", "base", "params", "align", "footprint", "new", "join", "leave", "delete"],
    ...[
      "method",
      "reasons",
      "accept",
      "sendBytes",
      "stop",
      "publish",
      "stageReserve",
      "stageAppend",
    ],
    ...["stageDiscard", "stagePublish", "drain", "flush", "flushPieces", "tick"],
    ...["deflateCount", "findTopic", "subscriberCount", "configure", "measures", "watched"],
    ...["publishToNone", "refusals", "topicFor"],
    ...["refused", "leastOf", "mostOf", "isPower", "isZeroAllowed", "isInRange"],
    ...[
      "abi",
      "gauge",
      "check",
      "checkUtf8",
      "streams",
      "server",
      "page",
      "addressText",
      "decline",
    ],
  ];
  assert.equal([...tried, ...others].sort(), Object.keys(x).sort());
});

/** Returns the bytes of all regions but the event and control tables. */
function snapshot(engine: Engine): Buffer {
  engine.x.gauge();
  engine.set(Control.LagBytes, 0);
  const from = engine.control.byteOffset;
  return Buffer.from(Uint8Array.from(engine.u8.subarray(from, from + engine.footprint)));
}

lifecycle("a stale id is a no-op everywhere", () => {
  const drive = new Drive();
  const { engine } = drive;
  drive.connect();
  const live = drive.webSocket();
  const gone = drive.connect();
  const was = { slot: gone.slot, generation: gone.generation };
  gone.lose();
  const lost = drive.webSocket();
  const then = { slot: lost.slot, generation: lost.generation };
  lost.lose();
  const again = drive.connect();
  assert.is(again.slot, was.slot, "the slot is used again");
  const stale: [number, number][] = [
    [was.slot, was.generation],
    [then.slot, then.generation],
    [then.slot, then.generation + 1],
    [live.slot, live.generation + 1],
    [live.slot, live.generation - 1],
    [16, 1],
    [1 << 20, 1],
    [-1, 1],
  ];
  engine.x.tick(Number.POSITIVE_INFINITY);
  for (const [slot, generation] of stale) {
    const before = snapshot(engine);
    for (const [name, call] of Object.entries(calls(engine, slot, generation))) {
      const answer = call();
      assert.is(answer, NOBODY[name], `${name}(${slot}, ${generation})`);
      assert.is(engine.get(Control.EventCount), 0, name);
      assert.is(brokenRule(engine), undefined, name);
      assert.ok(
        snapshot(engine).equals(before),
        `${name}(${slot}, ${generation}) changed something`,
      );
    }
  }
  live.send(text("still here"));
  assert.is(live.log.at(-1), 'text "still here"');
  drive.end();
});

lifecycle("a slot that the host has not freed answers to nothing but free", () => {
  const drive = new Drive();
  const { engine } = drive;
  const slot = engine.x.accept();
  const generation = engine.get(Control.Generation);
  engine.x.terminate(slot, generation, CloseReason.PeerReset);
  engine.set(Control.EventCount, 0);
  assert.is(engine.get(Control.DeadCount), 1);
  for (const [name, call] of Object.entries(calls(engine, slot, generation))) {
    if (name === "free") continue;
    assert.is(call(), NOBODY[name], name);
    assert.is(engine.get(Control.EventCount), 0, name);
  }
  engine.x.free(slot, generation);
  engine.x.free(slot, generation);
  assert.is(engine.get(Control.DeadCount), 0);
  drive.end();
});

lifecycle("a full table ends and reports the oldest idle connection", () => {
  const drive = new Drive();
  const wires = Array.from({ length: 8 }, () => drive.connect());
  wires[3]?.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  assert.is(drive.tryConnect(), undefined);
  assert.equal(wires[3]?.log, ["GET / 1.1", "closed EvictedIdle"], "idle ones go before heads");
  drive.connect();
  assert.is(drive.tryConnect(), undefined, "the heads have just begun");
  drive.after(20);
  assert.is(drive.tryConnect(), undefined);
  assert.equal(wires[0]?.log, ["closed EvictedUnfinished"], "then the oldest head");
  drive.end();
});

lifecycle("a lingering connection makes room first, and counts as ended, not as evicted", () => {
  const drive = new Drive({ Connections: 2 });
  const served = drive.connect().send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  drive.connect();
  assert.is(drive.tryConnect(), undefined);
  assert.equal(served.log, ["GET / 1.1 last", "end Ok", "closed Ok"]);
  assert.is(drive.engine.get(Control.Evicted), 0);
  drive.connect();
  drive.end();
});

lifecycle("a table of busy connections accepts no connection", () => {
  const drive = new Drive({ Connections: 2 });
  drive.answer = () => undefined;
  for (let i = 0; i < 2; i++) drive.connect().send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  assert.is(drive.tryConnect(), undefined);
  assert.is(drive.tryConnect(), undefined);
  assert.is(drive.wires.length, 2);
  drive.end();
});

for (const build of ["release", "debug"] as const) {
  lifecycle(`${build}: while the engine's own stage is open nothing else is published`, () => {
    const engine = testEngine({}, build);
    const { x, scratch } = engine;
    assert.is(x.stageReserve(3), Outcome.Ok);
    engine.u8.set([1, 2, 3], engine.get(Control.Result));
    x.stageAppend(3);
    assert.is(x.publish(0, scratch, 5, 0, 0, 0, 0, 0), Outcome.Staging);
    assert.is(engine.get(Control.FramesPublished), 0);
    const at = engine.get(Control.StageAddress);
    assert.equal([...engine.u8.subarray(at, at + 3)], [1, 2, 3], "the stage is untouched");
    assert.is(x.stagePublish(0, 0, 0, 0, 0, 0), Outcome.Ok);
    assert.is(x.publish(0, scratch, 5, 0, 0, 0, 0, 0), Outcome.Ok);
    assert.is(engine.get(Control.FramesPublished), 2);
  });
}

/** A host that does not keep the engine's rules. */
class Careless {
  readonly engine: Engine;

  constructor(build: keyof typeof BUILDS) {
    this.engine = testEngine({}, build);
  }

  accept(): { slot: number; generation: number } {
    const slot = this.engine.accept("");
    return { slot, generation: this.engine.get(Control.Generation) };
  }

  feed({ slot, generation }: { slot: number; generation: number }, text: string): number {
    const { engine } = this;
    engine.u8.set(Buffer.from(text), engine.window);
    return engine.x.feed(slot, generation, text.length);
  }

  /** The events in the table, as kind, slot and value. */
  take(): [kind: number, slot: number, value: number][] {
    const { engine } = this;
    const event = engine.eventCursor();
    const count = engine.eventCount;
    engine.set(Control.EventCount, 0);
    return Array.from({ length: count }, (_, i) => {
      event.move(i);
      return [event.kind, event.slot, event.value];
    });
  }
}

for (const build of ["release", "debug"] as const) {
  lifecycle(`${build}: bytes read over those of another connection end that one`, () => {
    const host = new Careless(build);
    const [first, second] = [host.accept(), host.accept()];
    host.feed(first, "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nX-Secret: ");
    host.take();
    // Without `retain` before it.
    host.feed(second, "GET /second HTTP/1.1\r\nHost: a\r\n\r\n");
    const events = host.take();
    const { HandlerError } = CloseReason;
    assert.equal(events[0], [EventKind.Closed, first.slot, HandlerError]);
    assert.equal([events[1]?.[0], events[1]?.[1]], [EventKind.Request, second.slot]);
    assert.is(host.engine.x.resume(first.slot, first.generation), 0);
    assert.equal(host.take(), []);
  });

  lifecycle(
    `${build}: an unknown reason, and a control frame that is too long, are refused`,
    () => {
      const host = new Careless(build);
      const { x, scratch } = host.engine;
      const { slot, generation } = host.accept();
      const before = Buffer.from(host.engine.control.slice().buffer);
      for (const reason of [0, 1, UNKNOWN, ...RESERVED, 0x7fffffff, -0x80000000]) {
        assert.is(x.terminate(slot, generation, reason), Outcome.Invalid);
        assert.is(x.abandon(slot, generation, reason), Outcome.Invalid);
        assert.is(x.decline(reason) >>> 0, NONE);
      }
      assert.is(x.ping(slot, generation, scratch, 126), Outcome.Invalid);
      assert.equal(Buffer.from(host.engine.control.slice().buffer), before, "nothing was counted");
      const drive = new Drive();
      const wire = drive.webSocket();
      const close = (length: number, reason: number): number =>
        drive.engine.x.close(wire.slot, wire.generation, 1000, scratch, length, reason);
      assert.is(close(124, CloseReason.Application), Outcome.Invalid);
      for (const reason of [UNKNOWN, ...RESERVED])
        assert.is(close(0, reason), Outcome.Invalid, `${reason}`);
      assert.is(close(123, CloseReason.Application), Outcome.Ok);
      drive.end();
    },
  );
}

lifecycle.run();
