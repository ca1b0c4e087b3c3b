// Topics in the engine: the receivers, the order, the cost, and how topics are removed.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { CloseReason, Control, Outcome, TOPIC_NAME_BYTES } from "../../assembly/abi";
import { BINARY, Drive, type Wire } from "../lib/drive";
import { frame, lines } from "../lib/frame";

const topics = suite("topics");

const count = (drive: Drive, index: Control): number => drive.engine.get(index);

/** Frames written to a client since the last call, a line each. */
const got = (wire: Wire): string[] => lines(wire.take());

/** Returns a drive with clients; `stalled` ones take a write and do not complete it. */
function start(clients: number, params = {}): [Drive, ...Wire[]] {
  const drive = new Drive(params);
  return [drive, ...Array.from({ length: clients }, () => drive.webSocket())];
}

topics("a subscriber gets publications after its subscription, other clients do not", () => {
  const [drive, a, b] = start(2) as [Drive, Wire, Wire];
  drive.publish("before", 0, "news");
  assert.is(drive.subscribe(a, "news"), Outcome.Ok);
  drive.publish("one", 0, "news");
  assert.is(drive.subscribe(b, "news"), Outcome.Ok);
  drive.publish("two", 0, "news");
  drive.publish("other", 0, "new");
  drive.publish("longer", 0, "news!");
  drive.turn();
  assert.equal(got(a), ["text one", "text two"]);
  assert.equal(got(b), ["text two"]);
  assert.is(drive.unsubscribe(a, "news"), Outcome.Ok);
  drive.publish("three", 0, "news");
  drive.turn();
  assert.equal(got(a), []);
  assert.equal(got(b), ["text three"]);
  drive.end();
});

topics("an unsubscription takes effect for later publications, in the same turn", () => {
  const [drive, a] = start(1) as [Drive, Wire];
  drive.subscribe(a, "t");
  drive.publish("1", 0, "t");
  drive.publish("2", 0, "t");
  drive.unsubscribe(a, "t");
  drive.publish("3", 0, "t");
  drive.subscribe(a, "t");
  drive.publish("4", 0, "t");
  drive.turn();
  assert.equal(got(a), ["text 1", "text 2", "text 4"]);
  drive.end();
});

topics(
  "a lagging client drains publications before its unsubscription, though the run continues",
  () => {
    const [drive, a, b] = start(2) as [Drive, Wire, Wire];
    drive.subscribe(a, "t");
    drive.subscribe(b, "t");
    a.stalled = true;
    drive.publish("0", 0, "t");
    drive.turn();
    for (let i = 1; i <= 3; i++) drive.publish(String(i), 0, "t");
    drive.turn();
    drive.unsubscribe(a, "t");
    for (let i = 4; i <= 6; i++) drive.publish(String(i), 0, "t");
    drive.turn();
    drive.subscribe(a, "t");
    drive.publish("7", 0, "t");
    drive.turn();
    a.unstall();
    assert.equal(got(a), ["text 0", "text 1", "text 2", "text 3", "text 7"]);
    assert.is(got(b).length, 8);
    assert.is(count(drive, Control.SubscriptionCount), 2);
    drive.end();
    assert.is(count(drive, Control.SubscriptionCount), 0);
    assert.is(count(drive, Control.TopicCount), 0);
  },
);

topics("a client's order is the order of publishing: topics, broadcasts and sends", () => {
  for (const stalled of [false, true]) {
    const [drive, a, b] = start(2) as [Drive, Wire, Wire];
    for (const name of ["x", "y", "z"]) drive.subscribe(a, name);
    drive.subscribe(b, "y");
    a.stalled = stalled;
    const mine: string[] = [];
    const others: string[] = [];
    for (let i = 0; i < 40; i++) {
      const where = ["x", undefined, "y", "x", "w", "z", "x", "y"][i % 8];
      if (i % 5 === 0) {
        a.push(`s${i}`);
        mine.push(`text s${i}`);
      }
      drive.publish(`p${i}`, 0, where);
      if (where !== "w") mine.push(`text p${i}`);
      if (where === undefined || where === "y") others.push(`text p${i}`);
      if (i % 7 === 0) drive.turn();
    }
    drive.turn();
    a.unstall();
    assert.equal(got(a), mine);
    assert.equal(got(b), others);
    drive.end();
  }
});

topics("`except` leaves one out, and its successor in the slot is another", () => {
  const [drive, a, b] = start(2) as [Drive, Wire, Wire];
  for (const wire of [a, b]) drive.subscribe(wire, "t");
  drive.publish("1", 0, "t", a);
  drive.publish("2", BINARY, undefined, b);
  drive.publish("3", 0, "t");
  drive.publish("4", 0, "t", a);
  drive.turn();
  assert.equal(got(a), ["binary 2", "text 3"]);
  assert.equal(got(b), ["text 1", "text 3", "text 4"]);
  assert.is(count(drive, Control.FramesDue), 1 + 1 + 2 + 1);
  b.lose();
  const next = drive.webSocket();
  assert.is(next.slot, b.slot);
  drive.publish("5", 0, undefined, b);
  drive.turn();
  assert.equal(got(next), ["text 5"]);
  drive.end();
});

topics(
  "publications earlier in the turn of a close are sent before it, later ones are not sent",
  () => {
    const [drive, a] = start(1) as [Drive, Wire];
    drive.subscribe(a, "t");
    drive.publish("all");
    drive.publish("mine", 0, "t");
    a.close(1000, "enough");
    assert.is(count(drive, Control.SubscriptionCount), 0);
    drive.publish("late", 0, "t");
    drive.publish("late too");
    drive.turn();
    assert.equal(got(a), ["text all", "text mine", "close 1000 enough"]);
    drive.end();
  },
);

topics("a closing client that lags in broadcasts and topics gets those, then the Close", () => {
  const [drive, a, b] = start(2) as [Drive, Wire, Wire];
  drive.subscribe(a, "t");
  a.stalled = true;
  drive.publish("0");
  drive.turn();
  drive.publish("1", 0, "t");
  drive.publish("2");
  drive.turn();
  drive.publish("3", 0, "t");
  drive.publish("4");
  a.close();
  for (let i = 0; i < 5; i++) drive.publish(`late ${i}`);
  drive.turn();
  a.unstall();
  assert.equal(got(a), ["text 0", "text 1", "text 2", "text 3", "text 4", "close 1000"]);
  assert.is(got(b).length, 8);
  drive.end();
});

topics(
  "frames that touch are one row, across topics and broadcasts; small ones that do not are gathered",
  () => {
    const [drive, a, b] = start(2, { RunBytes: 4096 }) as [Drive, Wire, Wire];
    for (const name of ["x", "y"]) drive.subscribe(a, name);
    a.stalled = true;
    b.stalled = true;
    const body = "m".repeat(300);
    for (const where of ["x", "y", undefined, "y", "x"]) drive.publish(body, 0, where);
    drive.turn();
    assert.is(a.pending?.length, 5 * 304, "one row for all");
    assert.is(b.pending?.length, 304);
    drive.end();

    const [scattered, c, d] = start(2) as [Drive, Wire, Wire];
    scattered.subscribe(c, "mine");
    scattered.subscribe(d, "other");
    c.stalled = true;
    for (let i = 0; i < 10; i++) {
      scattered.publish(`m${i}`, 0, "mine");
      scattered.publish(`o${i}`, 0, "other");
    }
    scattered.turn();
    assert.is(c.pending?.length, 40, "one block for ten pieces");
    c.unstall();
    assert.is(got(c).length, 10);
    scattered.end();
  },
);

topics("frames that fill a lap to its last byte continue at the start of the next", () => {
  const [drive, a] = start(1, { Frames: 256, RunBytes: 65536 }) as [Drive, Wire];
  drive.subscribe(a, "t");
  for (let lap = 0; lap < 3; lap++) {
    drive.publish("s".repeat(2000), 0, "t");
    drive.turn();
    a.stalled = true;
    drive.publish("first", 0, "t");
    drive.turn();
    // While the client lags: a frame that ends where the ring does, and others at its start.
    const used = count(drive, Control.Committed) % 4096;
    drive.publish("f".repeat(4096 - used - 4), 0, "t");
    assert.is(count(drive, Control.Committed) % 4096, 0);
    drive.publish("x", 0, "t");
    drive.publish("all");
    drive.turn();
    a.unstall();
    assert.equal(got(a).slice(-2), ["text x", "text all"]);
  }
  drive.end();
});

topics("a publication that skips the rest of a lap, with no lagging client, breaks no rule", () => {
  const [drive, a] = start(1, { Frames: 256, RunBytes: 65536 }) as [Drive, Wire];
  drive.publish("s".repeat(1700));
  drive.turn();
  // More than a ring's length from the last pass to the end of this, including the skipped bytes.
  drive.publish("l".repeat(2900));
  drive.check();
  drive.turn();
  assert.equal(got(a), [`text ${"s".repeat(1700)}`, `text ${"l".repeat(2900)}`]);
  drive.end();
});

topics(
  "nothing of the ring is overwritten before a client that ended with a write of it has been reset",
  () => {
    const [drive, a, b] = start(2, { RunBytes: 65536 }) as [Drive, Wire, Wire];
    const { x, scratch } = drive.engine;
    a.stalled = true;
    drive.publish("a".repeat(3000));
    drive.turn();
    assert.is(a.pending?.length, 3004);
    // It ends by the way, as when its Close finds no block; the host has not looked at the events yet.
    x.terminate(a.slot, a.generation, CloseReason.Application);
    const pending = a.pending as Uint8Array;
    const held = Buffer.from(pending);
    const attempt = (): Outcome => x.publish(0, scratch, 3000, 0, 0, 0, 0, 0);
    assert.is(attempt(), Outcome.Evicted);
    assert.ok(held.equals(pending), "its memory is as it was");
    drive.actOnCloses();
    assert.ok(a.dead);
    assert.is(attempt(), Outcome.Ok);
    drive.turn();
    assert.is(got(b).length, 2);
    drive.end();
  },
);

topics("a topic without subscribers costs nothing and is forgotten", () => {
  const [drive, a] = start(1, { Topics: 2 }) as [Drive, Wire];
  const before = count(drive, Control.Committed);
  for (let i = 0; i < 100; i++) assert.is(drive.publish("x", 0, `t${i}`), Outcome.Ok);
  assert.is(count(drive, Control.Committed), before);
  assert.is(count(drive, Control.FramesPublished), 0);
  for (let i = 0; i < 100; i++) {
    assert.is(drive.subscribe(a, `t${i}`), Outcome.Ok);
    assert.is(drive.unsubscribe(a, `t${i}`), Outcome.Ok);
  }
  assert.is(count(drive, Control.TopicCount), 0);
  // One that is published to is kept until the flush pass.
  drive.subscribe(a, "t");
  drive.publish("x", 0, "t");
  drive.unsubscribe(a, "t");
  assert.is(count(drive, Control.TopicCount), 1);
  drive.turn();
  assert.is(count(drive, Control.TopicCount), 0);
  assert.equal(got(a), ["text x"]);
  drive.end();
});

topics("full tables refuse, name the table, and reuse freed entries", () => {
  const [drive, a, b] = start(2, { Topics: 2, Subscriptions: 3 }) as [Drive, Wire, Wire];
  assert.is(drive.subscribe(a, "1"), Outcome.Ok);
  assert.is(drive.subscribe(a, "2"), Outcome.Ok);
  assert.is(drive.subscribe(a, "3"), Outcome.Full);
  assert.is(count(drive, Control.Result), 1);
  assert.is(drive.subscribe(a, "1"), Outcome.Ok, "again: nothing is taken");
  assert.is(drive.subscribe(b, "1"), Outcome.Ok);
  assert.is(drive.subscribe(b, "2"), Outcome.Full);
  assert.is(count(drive, Control.Result), 2);
  assert.is(drive.unsubscribe(a, "2"), Outcome.Ok);
  assert.is(drive.subscribe(b, "3"), Outcome.Ok);
  assert.is(count(drive, Control.SubscriptionCount), 3);
  a.lose();
  assert.is(count(drive, Control.SubscriptionCount), 2);
  drive.end();
  assert.is(count(drive, Control.SubscriptionCount), 0);
});

topics("names are exact, of 1 to 200 bytes; stale ids do nothing", () => {
  const [drive, a] = start(1) as [Drive, Wire];
  const { engine } = drive;
  const longest = "n".repeat(TOPIC_NAME_BYTES);
  assert.is(drive.subscribe(a, longest), Outcome.Ok);
  assert.is(drive.subscribe(a, "é"), Outcome.Ok);
  assert.throws(() => drive.subscribe(a, `${longest}n`), /^topic: .* is not of 1 to 200 bytes$/);
  assert.throws(() => drive.subscribe(a, "é".repeat(101)), RangeError);
  assert.throws(() => drive.subscribe(a, ""), RangeError);
  assert.is(engine.x.subscribe(a.slot, a.generation, engine.scratch, 0), Outcome.TooLarge);
  assert.is(engine.x.subscribe(a.slot, a.generation, engine.scratch, 201), Outcome.TooLarge);
  const names: string[] = [];
  for (let link = 0; ; ) {
    link = engine.x.nextTopic(a.slot, a.generation, link);
    if (link === 0) break;
    const at = count(drive, Control.Result);
    const bytes = engine.u8.subarray(at, at + count(drive, Control.ResultLength));
    names.push(Buffer.from(bytes).toString());
  }
  assert.equal(names.sort(), [longest, "é"].sort());
  assert.is(drive.unsubscribe(a, "e"), Outcome.Gone);
  a.lose();
  assert.is(drive.subscribe(a, "t"), Outcome.Gone);
  assert.is(drive.unsubscribe(a, longest), Outcome.Gone);
  assert.is(engine.x.nextTopic(a.slot, a.generation, 0), 0);
  drive.end();
});

topics(
  "a busy topic does not hurt readers of a quiet one; a client that does not read its topic is evicted",
  () => {
    const [drive, quiet, busy, slow] = start(3) as [Drive, Wire, Wire, Wire];
    drive.subscribe(quiet, "quiet");
    drive.subscribe(busy, "busy");
    drive.subscribe(slow, "busy");
    quiet.push("mine");
    quiet.stalled = true;
    slow.stalled = true;
    drive.turn();
    for (let i = 0; i < 200; i++) {
      // While the slow one may still come back, the publisher is made to wait.
      while (drive.publish("b".repeat(500), 0, "busy") !== Outcome.Ok) drive.after(50);
      drive.turn();
    }
    assert.not(quiet.dead, "nothing of the ring is due to it");
    assert.ok(slow.dead);
    assert.match(slow.log.at(-1) ?? "", /WsClientTooSlow/);
    assert.is(got(busy).length, 200);
    drive.publish("at last", 0, "quiet");
    drive.turn();
    quiet.unstall();
    assert.equal(got(quiet), ["text mine", "text at last"]);
    drive.end();
  },
);

topics("pongs keep their order, also when one comes after unflushed bytes", () => {
  const [drive, a] = start(1) as [Drive, Wire];
  drive.subscribe(a, "t");
  a.stalled = true;
  a.push("held up");
  drive.turn();
  drive.publish("x".repeat(300), 0, "t");
  a.send(frame(9, "one"));
  drive.turn();
  a.send(frame(9, "two"));
  a.unstall();
  const pongs = got(a).filter((line) => line.startsWith("pong"));
  assert.is(pongs.at(-1), "pong two");
  assert.ok(pongs.length === 1 || pongs[0] === "pong one");
  drive.end();
});

topics("a thousand topics of one client are merged in order", () => {
  const params = {
    Topics: 1000,
    Subscriptions: 2000,
    RingBytes: 65536,
    Frames: 4096,
    QueuedFrames: 4096,
  };
  const [drive, a] = start(1, params) as [Drive, Wire];
  for (let i = 0; i < 1000; i++) drive.subscribe(a, `topic ${i}`);
  a.stalled = true;
  const expected: string[] = [];
  for (let i = 0; i < 3000; i++) {
    const data = `message ${i}`;
    drive.publish(data, 0, `topic ${(i * 379) % 1000}`);
    expected.push(`text ${data}`);
    if (i % 250 === 0) drive.turn();
  }
  a.unstall();
  assert.equal(got(a), expected);
  drive.end();
});

topics.run();
