// The preamble of each call of the engine: the clock before, and the turn or the ends of connections after. A forgotten
// one is a deadline by a stale clock, or a response that waits for an unrelated turn.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { CloseReason, EventKind, NONE, Outcome, Piping } from "../../assembly/abi";
import { Calls } from "../../worker/engine/calls";
import type { Engine } from "../../worker/engine/engine";
import {
  EngineLoop,
  type LoopConnection,
  type LoopEvents,
  type LoopHooks,
} from "../../worker/engine/loop";

const calls = suite("calls");

const SLOT = { slot: 3, generation: 4 };
const BYTES = new Uint8Array(10);

/** Returns an engine that does nothing, and notes each call. @param results of its exports, the first first; else 0 */
function engineOf(log: string[], results: Record<string, number[]>): Engine {
  const left = structuredClone(results);
  const next = (name: string): number => left[name]?.shift() ?? 0;
  const x = new Proxy(
    {},
    {
      get: (_, name) => () => {
        log.push(String(name));
        return next(String(name));
      },
    },
  );
  const cursor = { move: () => undefined };
  const engine = {
    ...{ x, u8: new Uint8Array(64), scratch: 0, scratchBytes: 16, window: 32, windowBytes: 16 },
    ...{ eventCount: 0, generation: 1, params: [] },
    accept: () => {
      log.push("accept");
      return next("accept");
    },
    setAddress: () => {
      log.push("setAddress");
      return next("setAddress");
    },
    configure: () => void log.push("configure"),
    get: () => 0,
    set: () => undefined,
    put: () => undefined,
    copy: () => BYTES,
    isWaiting: () => false,
    isMessageOut: () => false,
    putText: () => 0,
    putTopic: () => 0,
    text: () => "",
    eventCursor: () => cursor,
    rowCursor: () => cursor,
  };
  return engine as unknown as Engine;
}

class Noted extends Calls {
  readonly log: string[];

  constructor(log: string[]) {
    super(engineOf(log, {}));
    this.log = log;
  }

  override time(): void {
    this.log.push("time");
  }

  override schedule(): void {
    this.log.push("schedule");
  }

  override actOnCloses(): void {
    this.log.push("closes");
  }
}

type Call = (engine: Calls) => unknown;

/** Calls that depend on time, and leave something to do; the exports between, where they are not the name alone. */
const TIMED: Record<string, [Call, ...string[]]> = {
  secured: [(c) => c.secured(SLOT)],
  setAddress: [(c) => c.setAddress(SLOT, "a")],
  peerEnded: [(c) => c.peerEnded(SLOT)],
  done: [(c) => c.done(SLOT)],
  dismiss: [(c) => c.dismiss(SLOT)],
  acknowledged: [(c) => c.acknowledged(SLOT, 1, true)],
  collect: [(c) => c.collect(SLOT)],
  stream: [(c) => c.stream(SLOT)],
  pull: [(c) => c.pull(SLOT)],
  respond: [(c) => c.respond(SLOT, 200, 0, 0, 0)],
  respondStatic: [(c) => c.respondStatic(SLOT, 200, 0, 0, 1, 1)],
  streamBegin: [(c) => c.streamBegin(SLOT, 200, 0, 0, -1)],
  streamWrite: [(c) => c.streamWrite(SLOT, BYTES), "streamWrite", "sendBytes", "streamNext"],
  streamEnd: [(c) => c.streamEnd(SLOT)],
  piping: [(c) => c.piping(SLOT, Piping.Opened)],
  pour: [(c) => c.pour(SLOT, 1)],
  finish: [(c) => c.finish(SLOT, CloseReason.Ok)],
  limit: [(c) => c.limit(SLOT, 1, 1)],
  relay: [(c) => c.relay(SLOT, true)],
  send: [(c) => c.send(SLOT, 0, 1)],
  sendLarge: [(c) => c.sendLarge(SLOT, 0x81, BYTES), "sendBegin", "sendBytes"],
  ping: [(c) => c.ping(SLOT, 1)],
};

/** Calls by which a connection may end at once. */
const ENDING: Record<string, Call> = {
  terminate: (c) => c.terminate(SLOT, CloseReason.Application),
  abandon: (c) => c.abandon(SLOT, CloseReason.HandlerError),
  close: (c) => c.close(SLOT, 1000, "", CloseReason.Application),
};

/** Calls that neither depend on time nor leave anything to do. */
const BARE: Record<string, [Call, string]> = {
  decline: [(c) => c.decline(CloseReason.ProxyRefused), "decline"],
  stop: [(c) => c.stop(), "stop"],
  measures: [(c) => c.measures(true), "measures"],
  watched: [(c) => c.watched(0), "watched"],
  streams: [(c) => c.streams(true), "streams"],
  refusals: [(c) => c.refusals(true), "refusals"],
  lag: [(c) => c.lag(SLOT), "lag"],
  awaitRoom: [(c) => c.awaitRoom(SLOT), "awaitRoom"],
  topic: [(c) => c.topic("a"), "topicFor"],
  topicOf: [(c) => c.topicOf(BYTES), "topicFor"],
  subscribe: [(c) => c.subscribe(SLOT, 1), "subscribe"],
  unsubscribe: [(c) => c.unsubscribe(SLOT, 1), "unsubscribe"],
  isSubscribed: [(c) => c.isSubscribed(SLOT, 1), "isSubscribed"],
  topicsOf: [(c) => c.topicsOf(SLOT), "nextTopic"],
  subscriberCount: [(c) => c.subscriberCount("a"), "subscriberCount"],
  deflateCount: [(c) => c.deflateCount(0), "deflateCount"],
  publishToNone: [(c) => c.publishToNone(), "publishToNone"],
  stageAppend: [(c) => c.stageAppend(BYTES), "stageAppend"],
  stageDiscard: [(c) => c.stageDiscard(), "stageDiscard"],
};

function logOf(call: Call): string[] {
  const log: string[] = [];
  call(new Noted(log));
  return log;
}

for (const [name, [call, ...exports]] of Object.entries(TIMED)) {
  calls(`${name} reads the clock before, and schedules a turn after`, () => {
    const between = exports.length > 0 ? exports : [name];
    assert.equal(logOf(call), ["time", ...between, "schedule"]);
  });
}

for (const [name, call] of Object.entries(ENDING)) {
  calls(`${name} reads the clock before, and acts on what has ended after`, () => {
    assert.equal(logOf(call), ["time", name, "closes"]);
  });
}

for (const [name, [call, exported]] of Object.entries(BARE)) {
  calls(`${name} needs neither clock nor turn`, () => assert.equal(logOf(call), [exported]));
}

/** Calls that leave something to do, and do not depend on time. */
const LATER: Record<string, Call> = {
  configure: (c) => c.configure(0, 0),
  give: (c) => c.give(SLOT, 1, 1, 0),
  keepRoom: (c) => c.keepRoom(SLOT, 1),
};

for (const [name, call] of Object.entries(LATER)) {
  calls(`${name} schedules a turn after`, () => assert.equal(logOf(call), [name, "schedule"]));
}

calls("each call has its preamble listed here", () => {
  const own = Object.entries(Object.getOwnPropertyDescriptors(Calls.prototype));
  const names = own.filter(([, { value }]) => typeof value === "function").map(([name]) => name);
  const listed = [TIMED, ENDING, BARE, LATER].flatMap((group) => Object.keys(group));
  assert.equal(names.sort(), [...listed, "constructor"].sort());
});

// ---- those of the loop ------------------------------------------------------------------------------------

class Connection implements LoopConnection {
  slot = 3;
  generation = 4;
  dead = false;
  id = 5;
  rest: Uint8Array | undefined;
  unparsed = 0;
  bodies: undefined;
  supply: undefined;
  isOut = false;
}

/** A loop that notes its preamble. */
class NotedLoop extends EngineLoop<Connection> {
  readonly log: string[];

  constructor(log: string[], results: Record<string, number[]>) {
    const hooks = {
      ...{ isSliceOver: () => false, isOverdue: () => false, isStopped: () => false },
      ...{ beginSlice: () => undefined, parsed: () => undefined, goOn: () => undefined },
      ...{ beginPass: () => undefined, endPass: () => undefined },
    };
    const events = {} as LoopEvents<Connection>;
    super(engineOf(log, results), events, hooks as unknown as LoopHooks<Connection>);
    this.log = log;
  }

  override time(): void {
    this.log.push("time");
  }

  override schedule(): void {
    this.log.push("schedule");
  }

  override actOnCloses(): void {
    this.log.push("closes");
  }
}

/** Returns the calls of a loop. @param results of the engine's exports, the first first */
function loopLog(
  call: (loop: NotedLoop) => unknown,
  results: Record<string, number[]> = {},
): string[] {
  const log: string[] = [];
  call(new NotedLoop(log, results));
  return log;
}

const EVICTED = [Outcome.Evicted, Outcome.Ok];
const FLUSH = [Outcome.Flush, Outcome.Ok];

calls("accept reads the clock, and tries again when a connection was ended for it", () => {
  assert.equal(
    loopLog((loop) => loop.accept("", 0)),
    ["time", "accept"],
  );
  assert.equal(
    loopLog((loop) => loop.accept("", 0), { accept: [NONE, 7] }),
    ["time", "accept", "closes", "accept"],
  );
});

calls("closes that were acted on schedule a turn, in which the handler is notified", () => {
  assert.equal(
    loopLog((loop) => EngineLoop.prototype.actOnCloses.call(loop)),
    ["schedule"],
  );
});

calls("a connection that joins schedules a turn", () => {
  assert.equal(
    loopLog((loop) => loop.join(new Connection())),
    ["schedule"],
  );
});

calls("upgrade reads the clock, acts on an eviction, and schedules a turn", () => {
  assert.equal(
    loopLog((loop) => loop.upgrade(new Connection(), 0, 0)),
    ["time", "upgrade", "schedule"],
  );
  assert.equal(
    loopLog((loop) => loop.upgrade(new Connection(), 0, 0), { upgrade: EVICTED }),
    ["time", "upgrade", "closes", "upgrade", "schedule"],
  );
});

calls("hold and release read the clock, and schedule a turn", () => {
  for (const name of ["hold", "putBack", "release"] as const) {
    assert.equal(
      loopLog((loop) => loop[name](new Connection())),
      ["time", "hold", "schedule"],
    );
  }
});

calls("takeOut reads the clock, and schedules a turn when the connection was released", () => {
  assert.equal(
    loopLog((loop) => loop.takeOut(new Connection(), 0)),
    ["time", "release", "schedule"],
  );
  assert.equal(
    loopLog((loop) => loop.takeOut(new Connection(), 0), { release: [Outcome.Gone] }),
    ["time", "release"],
  );
});

calls("bytes are fed by a clock that has been read", () => {
  assert.equal(
    loopLog((loop) => loop.feed(new Connection(), 1)),
    ["time", "feed"],
  );
  assert.equal(
    loopLog((loop) => loop.take(new Connection(), BYTES), { feed: [10] }),
    ["time", "feed"],
  );
});

calls("a connection is resumed after the clock has been read", () => {
  assert.equal(loopLog((loop) => loop.resume(new Connection())).slice(0, 2), ["time", "resume"]);
  const log = loopLog((loop) => {
    loop.resumeLater(new Connection());
    loop.resumeAll();
  });
  assert.equal(log, ["schedule", "time"]);
});

calls("bytes that the engine keeps are parsed by a clock that has been read, each time", () => {
  const kept = (results: number[]): string[] =>
    loopLog(
      (loop) => {
        const conn = new Connection();
        conn.rest = BYTES;
        loop.resume(conn);
      },
      { parseKept: results, feed: [10] },
    );
  assert.equal(kept([0]), ["time", "parseKept", "time", "time", "feed"]);
  assert.equal(kept([4, 0]), ["time", "parseKept", "time", "parseKept", "time", "time", "feed"]);
});

calls("the loop schedules a turn by the hook of its holder", () => {
  const log: string[] = [];
  const hooks = { schedule: () => void log.push("turn") } as unknown as LoopHooks<Connection>;
  const events = {} as LoopEvents<Connection>;
  new EngineLoop<Connection>(engineOf(log, {}), events, hooks).schedule();
  assert.equal(log, ["turn"]);
});

calls("an event without a reaction is ignored, one of an unknown kind is an error", () => {
  const thrown: unknown[] = [];
  const seen: number[] = [];
  const handle = (kind: number): void => {
    const cursor = { move: () => undefined, kind, slot: 3, generation: 4, value: 7 };
    const engine = { ...engineOf([], {}), eventCount: 1, eventCursor: () => cursor };
    const events = {
      others: {
        [EventKind.EndWaits]: (_conn: Connection, { value }: { value: number }) => seen.push(value),
      },
    } as unknown as LoopEvents<Connection>;
    const hooks = { schedule: () => undefined, threw: (error: unknown) => thrown.push(error) };
    const loop = new EngineLoop(
      engine as unknown as Engine,
      events,
      hooks as unknown as LoopHooks<Connection>,
    );
    loop.join(new Connection());
    loop.handleEvents();
  };
  handle(EventKind.EndWaits);
  handle(EventKind.Inflate);
  assert.equal([seen, thrown], [[7], []]);
  handle(99);
  assert.match(String(thrown), /event kind 99 is unknown/);
});

calls("a publication acts on the engine's result, and reads the clock again", () => {
  const publish = (loop: NotedLoop): unknown => loop.publish(0, 1, 0, 0);
  assert.equal(loopLog(publish), ["time", "publish", "schedule"]);
  assert.equal(loopLog(publish, { publish: EVICTED }), [
    ...["time", "publish", "closes"],
    ...["time", "publish", "schedule"],
  ]);
  assert.equal(loopLog(publish, { publish: FLUSH }), [
    ...["time", "publish", "flush"],
    ...["time", "publish", "schedule"],
  ]);
  assert.equal(
    loopLog((loop) => loop.stageReserve(1), { stageReserve: EVICTED }),
    ["time", "stageReserve", "closes", "time", "stageReserve"],
  );
});

calls(
  "a staged message is published by a clock that has been read; one that waits schedules nothing",
  () => {
    const publish = (loop: NotedLoop): unknown => loop.stagePublish(0, BYTES, 0, 0);
    assert.equal(loopLog(publish), ["time", "stagePublish", "schedule"]);
    assert.equal(loopLog(publish, { stagePublish: [Outcome.Wait] }), ["time", "stagePublish"]);
  },
);

calls(
  "records of an inbox are carried out by a clock that has been read, and schedule nothing",
  () => {
    assert.equal(
      loopLog((loop) => loop.drain(0, 1)),
      ["time", "drain"],
    );
  },
);

calls.run();
