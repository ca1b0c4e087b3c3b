// Flush passes of more rows than the table has: each client receives everything once, whatever happens between two
// tables. And more events than the event table holds: each is reported once, when there is room.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  CloseReason,
  EVENT_LIMIT,
  EventKind,
  NOTICE_LIMIT,
  Outcome,
  ROW_LIMIT,
} from "../../assembly/abi";
import { Drive, type Wire } from "../lib/drive";
import { lines } from "../lib/frame";

const flush = suite("flush");

const CLIENTS = 2 * ROW_LIMIT + 100;

const got = (wire: Wire): string[] => lines(wire.take());

function start(): [Drive, Wire[]] {
  const drive = new Drive({
    WebSockets: CLIENTS,
    RingBytes: 65536,
    Topics: 4,
    Subscriptions: CLIENTS,
    ReplyPoolBytes: 1 << 23,
  });
  return [drive, Array.from({ length: CLIENTS }, () => drive.webSocket())];
}

/** Runs a whole pass; `between` runs after each table. Returns the rows of each. */
function pass(drive: Drive, between: (table: number) => void): number[] {
  const { engine } = drive;
  const { x } = engine;
  const row = engine.rowCursor();
  const bySlot = new Map(drive.wires.map((wire) => [wire.slot, wire]));
  const tables: number[] = [];
  for (let count = x.flush(0); count > 0; count = x.flush(0)) {
    for (let i = 0; i < count; i++) {
      row.move(i);
      const wire = bySlot.get(row.slot) as Wire;
      const bytes = engine.u8.subarray(row.offset, row.offset + row.length);
      if (wire.stalled) {
        wire.pending = bytes;
      } else {
        wire.write(bytes);
        row.complete();
      }
    }
    tables.push(count);
    between(tables.length);
  }
  drive.handle();
  drive.check();
  return tables;
}

flush("broadcasts fill the table as often as it takes", () => {
  const [drive, wires] = start();
  drive.publish("one");
  drive.publish("two");
  assert.equal(
    pass(drive, () => undefined),
    [ROW_LIMIT, ROW_LIMIT, 100],
  );
  for (const wire of wires) assert.equal(got(wire), ["text one", "text two"]);
  drive.end();
});

flush(
  "clients that end, or begin to, between two tables are neither skipped nor written twice",
  () => {
    const [drive, wires] = start();
    const { x, scratch } = drive.engine;
    const ended = [0, 1, 300, 700, CLIENTS - 1].map((i) => wires[i] as Wire);
    const closing = [2, 301, 701, CLIENTS - 2].map((i) => wires[i] as Wire);
    drive.publish("one");
    drive.publish("two");
    pass(drive, (table) => {
      if (table !== 1) return;
      for (const { slot, generation } of ended) {
        x.terminate(slot, generation, CloseReason.PeerReset);
      }
      for (const { slot, generation } of closing) {
        x.close(slot, generation, 1000, scratch, 0, CloseReason.Application);
      }
    });
    for (const wire of wires) {
      const lost = ended.includes(wire);
      const all = ["text one", "text two", ...(closing.includes(wire) ? ["close 1000"] : [])];
      const written = got(wire);
      if (lost && written.length === 0) continue;
      assert.equal(written, all, `slot ${wire.slot}`);
    }
    drive.end();
  },
);

flush("clients that do not read, or have more pending, are served beside the others", () => {
  const [drive, wires] = start();
  const subscribers = wires.filter((_, i) => i % 3 === 0);
  const stalled = wires.filter((_, i) => i % 7 === 0);
  for (const wire of subscribers) drive.subscribe(wire, "t");
  for (const wire of stalled) wire.stalled = true;
  for (let round = 0; round < 3; round++) {
    drive.publish(`all ${round}`);
    drive.publish(`t ${round}`, 0, "t");
    for (const wire of wires.filter((_, i) => i % 5 === 0)) wire.push(`own ${round}`);
    drive.publish(`end ${round}`);
    pass(drive, () => undefined);
  }
  for (const wire of stalled) wire.unstall();
  wires.forEach((wire, i) => {
    const wanted = [0, 1, 2].flatMap((round) => [
      `text all ${round}`,
      ...(i % 3 === 0 ? [`text t ${round}`] : []),
      ...(i % 5 === 0 ? [`text own ${round}`] : []),
      `text end ${round}`,
    ]);
    assert.equal(got(wire), wanted, `client ${i}`);
  });
  drive.end();
});

/** Events of a kind in the table. */
function countOf({ engine }: Drive, kind: EventKind): number {
  const event = engine.eventCursor();
  let count = 0;
  for (let i = 0; i < engine.eventCount; i++) {
    event.move(i);
    if (event.kind === kind) count++;
  }
  return count;
}

/** Runs a pass in which every write completes; nothing is drained. */
function write({ engine }: Drive): void {
  const row = engine.rowCursor();
  for (let count = engine.x.flush(0); count > 0; count = engine.x.flush(0)) {
    for (let i = 0; i < count; i++) {
      row.move(i);
      row.complete();
    }
  }
}

flush("more ends than the event table holds are reported when it has been drained", () => {
  const count = NOTICE_LIMIT + 100;
  const drive = new Drive({ Connections: count, ReplyPoolBytes: 1 << 23 });
  const { engine } = drive;
  const { x } = engine;
  const wires = Array.from({ length: count }, () => drive.connect());
  for (const { slot, generation } of wires) {
    engine.u8.set(Buffer.from("?\r\n\r\n"), engine.window);
    x.feed(slot, generation, 5);
  }
  write(drive);
  assert.is(countOf(drive, EventKind.End), NOTICE_LIMIT);
  // Not before: the others would have no place.
  write(drive);
  assert.is(countOf(drive, EventKind.End), NOTICE_LIMIT);
  drive.handle();
  assert.is(x.tick(Number.POSITIVE_INFINITY), 0, "there is more to tell");
  write(drive);
  assert.is(countOf(drive, EventKind.End), 100);
  drive.handle();
  assert.ok(x.tick(Number.POSITIVE_INFINITY) > 0, "all is reported");
  for (const wire of wires) assert.equal(wire.log, ["end BadRequest"]);
  drive.end();
});

flush("more bodies break off at once than the event table holds", () => {
  const count = EVENT_LIMIT * 3;
  const drive = new Drive({ Connections: count, ReplyPoolBytes: 1 << 23, StreamBytes: 1000 });
  drive.streamed(() => true);
  const wires = Array.from({ length: count }, () => drive.connect());
  for (const wire of wires) wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
  drive.now += 20000;
  drive.time();
  const { x } = drive.engine;
  let ticks = 0;
  for (; x.tick(Number.POSITIVE_INFINITY) === 0; ticks++) {
    assert.ok(countOf(drive, EventKind.BodyEnd) <= EVENT_LIMIT, "each has its place");
    assert.ok(ticks < 10, "it ends");
    drive.turn();
  }
  drive.turn();
  assert.ok(ticks >= 2);
  for (const wire of wires) assert.is(wire.broken.length, 1);
  drive.end();
});

flush("a client that is asked for room gets one Drain for it, at half of its backlog", () => {
  const drive = new Drive({ Backlog: 1000 });
  const wire = drive.webSocket();
  const ask = (): Outcome => drive.loop.awaitRoom(wire);
  const count = (): [number, number] => [wire.drains, wire.rooms];
  assert.is(ask(), Outcome.Ok);
  wire.stalled = true;
  while (drive.engine.backlog(wire.slot) <= 1000) assert.is(wire.push("x".repeat(200)), Outcome.Ok);
  assert.equal([ask(), ask()], [Outcome.Full, Outcome.Full]);
  drive.turn();
  assert.equal(count(), [0, 0]);
  wire.unstall();
  assert.equal(count(), [0, 1], "nothing had been refused");
  assert.is(ask(), Outcome.Ok);
  drive.turn();
  assert.equal(count(), [0, 1]);
  // After a refusal, before or after the question, it is the Drain of that refusal.
  for (const isFirst of [true, false]) {
    wire.stalled = true;
    while (drive.engine.backlog(wire.slot) <= 1000) wire.push("x".repeat(200));
    if (isFirst) assert.is(wire.push("x"), Outcome.Full);
    assert.is(ask(), Outcome.Full);
    if (!isFirst) assert.is(wire.push("x"), Outcome.Full);
    wire.unstall();
  }
  assert.equal(count(), [2, 1]);
  wire.close();
  assert.is(ask(), Outcome.Gone);
  drive.end();
});

flush("a client with repeated refusals and writes, and nothing drained, gets one Drain", () => {
  const drive = new Drive({ Backlog: 1000, Connections: 2, WebSockets: 2 });
  const { engine } = drive;
  const { slot, generation } = drive.webSocket();
  const send = (): Outcome => engine.x.send(slot, generation, 0, engine.scratch, 600);
  for (let i = 0; i < 3 * NOTICE_LIMIT; i++) {
    while (send() === Outcome.Ok);
    write(drive);
    assert.is(countOf(drive, EventKind.Drain), Math.min(i + 1, NOTICE_LIMIT));
  }
  const wire = drive.wires[0] as Wire;
  drive.handle();
  assert.is(wire.drains, NOTICE_LIMIT);
  assert.is(engine.x.tick(Number.POSITIVE_INFINITY), 0, "another is pending");
  drive.turn();
  assert.is(wire.drains, NOTICE_LIMIT + 1);
  assert.ok(engine.x.tick(Number.POSITIVE_INFINITY) > 0);
  drive.end();
});

flush.run();
