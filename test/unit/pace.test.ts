// How fast a client may send messages, and how slow it may be.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Control, Outcome, Param } from "../../assembly/abi";
import { Drive, type Wire } from "../lib/drive";
import { frame, lines, text, closeLine } from "../lib/frame";
import { responsesOf } from "../lib/response";

const pace = suite("pace");

const statuses = (wire: Wire): number[] => responsesOf(wire.text).map((reply) => reply.status);

/** Sends messages until one is too many; how many came through. */
function flood(wire: Wire, most = 1000): number {
  const before = wire.messages.length;
  for (let i = 0; i < most && !wire.ended; i++) wire.send(text("x"));
  return wire.messages.length - before;
}

// ---- messages ----------------------------------------------------------------------------------------

pace("as many messages as a burst may come at once; the next is close 1008", () => {
  const drive = new Drive({ MessageRate: 10, MessageBurst: 5 });
  const wire = drive.webSocket();
  assert.is(flood(wire), 5);
  assert.equal(lines(wire.take()), [closeLine("Rate")]);
  assert.is(wire.log.at(-1), "end Rate");
  drive.end();
});

pace("without a burst of its own it is a second's messages", () => {
  const drive = new Drive({ MessageRate: 7 });
  assert.is(flood(drive.webSocket()), 7);
  drive.end();
});

pace("the rate is kept to the millisecond, for as long as one likes", () => {
  const drive = new Drive({ MessageRate: 3, MessageBurst: 1 });
  const wire = drive.webSocket();
  wire.send(text("x"));
  for (let i = 0; i < 300; i++) {
    drive.after(1000 / 3);
    wire.send(text("x"));
  }
  assert.is(wire.messages.length, 301);
  drive.after(1000 / 3 - 1);
  wire.send(text("x"));
  assert.is(wire.log.at(-1), "end Rate");
  drive.end();
});

pace("silence saves up a burst and no more", () => {
  const drive = new Drive({ MessageRate: 10, MessageBurst: 5, IdleTimeout: 0 });
  const wire = drive.webSocket();
  drive.after(1e6);
  for (let i = 0; i < 5; i++) wire.send(text("x"));
  drive.after(200);
  assert.is(flood(wire), 2);
  drive.end();
});

pace("pings and pongs count, a Close does not; earlier messages are handled and answered", () => {
  const drive = new Drive({ MessageRate: 10, MessageBurst: 4 });
  drive.message = (wire, data) => void wire.push(data);
  const wire = drive.webSocket();
  const pieces = [text("a"), frame(9, "p"), frame(10), text("b"), frame(9, "too many"), text("c")];
  wire.send(Buffer.concat(pieces));
  assert.equal(lines(wire.take()).sort(), [closeLine("Rate"), "pong p", "text a", "text b"]);
  const other = drive.webSocket();
  other.send(Buffer.concat([...Array.from({ length: 4 }, () => text("x")), frame(8, "\x03\xe8")]));
  assert.is(other.log.at(-1), "end PeerClosed");
  drive.end();
});

pace("a message in pieces is one, however many it has", () => {
  const drive = new Drive({ MessageRate: 10, MessageBurst: 2 });
  const wire = drive.webSocket();
  wire.send(frame(1, "a", { final: false }));
  for (let i = 0; i < 50; i++) wire.send(frame(0, "b", { final: false }));
  wire.send(frame(0, "c"), text("second"));
  assert.is(wire.messages.length, 2);
  wire.send(text("third"));
  assert.is(wire.log.at(-1), "end Rate");
  drive.end();
});

pace("a frame counts once, byte by byte too", () => {
  const drive = new Drive({ MessageRate: 10, MessageBurst: 3 });
  const wire = drive.webSocket();
  const all = Buffer.concat([frame(9, "ping"), text("hello"), frame(10, "pong")]);
  for (const byte of all) wire.send(Uint8Array.of(byte));
  assert.not(wire.ended);
  wire.send(text("x").subarray(0, 6));
  assert.is(wire.log.at(-1), "end Rate", "at its head");
  drive.end();
});

pace("time for which the host held a connection does not count against it", () => {
  const drive = new Drive({ MessageRate: 10, MessageBurst: 5, IdleTimeout: 0 });
  const wire = drive.webSocket();
  drive.hold(wire, true);
  drive.after(5000);
  // Messages that an honest client sent meanwhile: ten a second.
  wire.send(Buffer.concat(Array.from({ length: 50 }, () => text("x"))));
  drive.hold(wire, false);
  assert.is(wire.messages.length, 50);
  for (let i = 0; i < 100; i++) {
    drive.after(100);
    wire.send(text("x"));
  }
  assert.is(wire.messages.length, 150);
  assert.is(flood(wire), 4, "what was given back is used up, or its time has passed");
  drive.end();
});

pace("being held gives no more than the time it took", () => {
  const drive = new Drive({ MessageRate: 10, MessageBurst: 5 });
  const wire = drive.webSocket();
  drive.hold(wire, true);
  drive.after(1000);
  drive.hold(wire, false);
  assert.is(flood(wire), 15);
  drive.end();
});

pace("the rate changes while the server runs", () => {
  const drive = new Drive();
  const wire = drive.webSocket();
  assert.is(flood(wire, 100), 100);
  drive.engine.configure(Param.MessageRate, 5);
  assert.is(flood(wire), 5);
  drive.end();
});

// ---- what comes in -----------------------------------------------------------------------------------

const SLOW = { ReceiveRate: 100, RateGrace: 1000, RequestTimeout: 100000, IdleTimeout: 0 };
const POST = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n";

pace("a body may be slower than its rate for the grace, to the millisecond; then it is 408", () => {
  const drive = new Drive(SLOW);
  const wire = drive.connect().send(POST);
  drive.after(999);
  assert.equal(wire.log, []);
  drive.after(1);
  assert.equal(wire.log, ["end ReceiveTooSlow"]);
  assert.equal(statuses(wire), [408]);
  drive.end();
});

for (const [what, each, comes] of [
  ["one that keeps to its rate is taken", 50, true],
  ["one a little slower is not", 49, false],
] as const) {
  pace(`of bodies ${what}`, () => {
    const drive = new Drive(SLOW);
    const wire = drive.connect().send(POST);
    for (let sent = 0; sent < 5000 && !wire.ended; sent += each) {
      drive.after(500);
      wire.send("x".repeat(Math.min(each, 5000 - sent)));
    }
    assert.equal(statuses(wire), [comes ? 200 : 408]);
    drive.end();
  });
}

pace("a fast sender may be silent no longer than others", () => {
  const drive = new Drive(SLOW);
  const wire = drive.connect().send(`${POST}${"x".repeat(4000)}`);
  drive.after(300);
  wire.send("x".repeat(500));
  drive.after(999);
  assert.equal(wire.log, []);
  drive.after(1);
  assert.equal(wire.log, ["end ReceiveTooSlow"]);
  drive.end();
});

pace("each body of a connection begins again, and heads have a time of their own", () => {
  const drive = new Drive(SLOW);
  const wire = drive.connect();
  const short = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n";
  for (let i = 0; i < 5; i++) {
    wire.send(short.slice(0, 20));
    drive.after(4000);
    wire.send(short.slice(20));
    drive.after(900);
    wire.send("xy");
    drive.after(4000);
  }
  assert.equal(statuses(wire), [200, 200, 200, 200, 200]);
  drive.end();
});

pace("the time for the whole request holds beside it", () => {
  const drive = new Drive({ ...SLOW, RequestTimeout: 3000 });
  const wire = drive.connect().send(POST);
  for (let i = 0; i < 30; i++) {
    drive.after(100);
    wire.send("x".repeat(10));
  }
  assert.equal(wire.log, ["end RequestTimeout"]);
  drive.end();
});

pace("a streamed body has its rate while the host waits, not while the host works", () => {
  const drive = new Drive(SLOW).streamed(() => true);
  drive.came = () => undefined;
  drive.began = () => undefined;
  const wire = drive.connect().send(POST);
  drive.after(50000);
  for (let i = 0; i < 5; i++) {
    wire.pull();
    drive.after(900);
    wire.send("x".repeat(90));
    drive.after(20000);
  }
  assert.equal(wire.broken, []);
  wire.pull();
  for (let i = 0; i < 10 && !wire.ended; i++) {
    drive.after(900);
    wire.send("x");
    wire.pull();
  }
  assert.equal(wire.broken, ["ReceiveTooSlow"]);
  assert.equal(statuses(wire), [408]);
  drive.end();
});

pace("a message in pieces is closed with 1008 when its bytes do not come", () => {
  for (const first of [
    frame(1, "a", { final: false }),
    text("hello").subarray(0, 8),
    text("hello").subarray(0, 1),
    frame(9, "ping").subarray(0, 7),
  ]) {
    const drive = new Drive(SLOW);
    const wire = drive.webSocket().send(first);
    drive.after(999);
    assert.not(wire.ended);
    drive.after(1);
    assert.is(wire.log.at(-1), "end ReceiveTooSlow");
    assert.equal(lines(wire.take()), [closeLine("ReceiveTooSlow")]);
    drive.end();
  }
});

pace(
  "pings between its fragments do not save it, after a whole message the time begins again",
  () => {
    const drive = new Drive(SLOW);
    const wire = drive.webSocket();
    for (let i = 0; i < 20; i++) {
      drive.after(900);
      // The end of one message, and the beginning of the next.
      wire.send(
        Buffer.concat([i === 0 ? text("b") : text("b").subarray(1), text("b").subarray(0, 1)]),
      );
    }
    assert.not(wire.ended);
    wire.send(text("b").subarray(1));
    wire.send(frame(1, "a", { final: false }));
    for (let i = 0; i < 9; i++) {
      drive.after(100);
      wire.send(frame(9));
    }
    assert.not(wire.ended);
    for (let i = 0; i < 20; i++) {
      drive.after(100);
      wire.send(frame(9));
    }
    assert.is(wire.log.at(-1), "end ReceiveTooSlow");
    drive.end();
  },
);

pace(
  "a client that sends pings and messages without end is not slow, wherever its reads are cut",
  () => {
    for (const each of [frame(9, "ping"), text("hello")]) {
      const drive = new Drive(SLOW);
      const wire = drive.webSocket();
      // One read, more than one table of events, and the head of a frame at the end of each read.
      const block = Buffer.concat(Array.from({ length: 300 }, () => each));
      wire.send(each.subarray(0, 3));
      for (let i = 0; i < 30; i++) {
        wire.send(Buffer.concat([each.subarray(3), block, each.subarray(0, 3)]));
        drive.after(100);
      }
      assert.not(wire.ended);
      drive.after(900);
      assert.is(wire.log.at(-1), "end ReceiveTooSlow");
      drive.end();
    }
  },
);

pace("a WebSocket that is silent between messages, or held, is not slow", () => {
  const drive = new Drive(SLOW);
  const wire = drive.webSocket().send(text("x"));
  drive.after(100000);
  wire.send(frame(1, "a", { final: false }));
  drive.after(500);
  drive.hold(wire, true);
  drive.after(100000);
  drive.hold(wire, false);
  drive.after(499);
  assert.not(wire.ended);
  drive.after(1);
  assert.is(wire.log.at(-1), "end ReceiveTooSlow");
  drive.end();
});

pace("pieces that are handed out as they come have their rate too", () => {
  const drive = new Drive({ ...SLOW, Pieces: 1 });
  const { x } = drive.engine;
  const wire = drive.webSocket();
  x.hold(wire.slot, wire.generation, 0, 0);
  wire.send(text("x".repeat(100)).subarray(0, 6));
  drive.after(999);
  assert.not(wire.ended);
  drive.after(1);
  assert.is(wire.log.at(-1), "end ReceiveTooSlow");
  drive.end();
});

pace("a client that waits for a buffer is not slow", () => {
  const drive = new Drive({
    ...{ ...SLOW, ReceiveRate: 10 },
    ...{ ReceivePoolBytes: 16384, BufferTimeout: 100000 },
  });
  const start = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3200\r\n\r\n${"x".repeat(3000)}`;
  const holders = Array.from({ length: 4 }, () => drive.connect().send(start));
  const late = drive.connect().send(start);
  assert.ok(drive.engine.isWaiting(late.slot));
  for (let i = 0; i < 20; i++) {
    drive.after(500);
    for (const wire of holders) wire.send("y".repeat(5));
  }
  for (const wire of holders) wire.send("y".repeat(100));
  for (const wire of holders) assert.equal(statuses(wire), [200]);
  assert.not(drive.engine.isWaiting(late.slot));
  drive.after(999);
  late.send("y".repeat(200));
  assert.equal(statuses(late), [200]);
  drive.end();
});

// ---- output ------------------------------------------------------------------------------------------

const LAZY = {
  SendRate: 100,
  RateGrace: 1000,
  WriteTimeout: 60000,
  IdleTimeout: 0,
  SendPings: 0,
  RunBytes: 512,
};

/** Opens a WebSocket that does not read, with `bytes` bytes queued for it. */
function lazy(drive: Drive, bytes: number): Wire {
  const wire = drive.webSocket();
  wire.stalled = true;
  for (let left = bytes; left > 0; left -= 4000)
    assert.is(wire.push("x".repeat(Math.min(left, 4000))), Outcome.Ok);
  drive.turn();
  assert.ok(wire.pending);
  return wire;
}

pace("a client that reads nothing has the grace, and the time of the write at the rate", () => {
  const drive = new Drive(LAZY);
  const wire = lazy(drive, 196);
  drive.after(1000 + 2000 - 1);
  assert.not(wire.dead);
  drive.after(1);
  assert.is(wire.log.at(-1), "closed TooSlow");
  assert.ok(wire.reset);
  drive.end();
});

for (const [what, ms, stays] of [
  ["who reads at the rate stays", 40000, true],
  ["who is a little slower goes, though each write makes progress", 45000, false],
] as const) {
  pace(what, () => {
    const drive = new Drive({ ...LAZY, RateGrace: 10000 });
    const wire = lazy(drive, 12000);
    let read = 0;
    while (!wire.dead && wire.pending) {
      drive.after((ms * wire.pending.length) / 4000);
      read++;
      wire.deliver();
    }
    assert.is(wire.dead, !stays, `after ${read} writes`);
    if (!stays) assert.is(wire.log.at(-1), "closed TooSlow");
    drive.end();
  });
}

pace("a client that has read all of it begins again", () => {
  const drive = new Drive(LAZY);
  const wire = lazy(drive, 96);
  for (let i = 0; i < 50; i++) {
    drive.after(1900);
    wire.deliver();
    assert.not(wire.pending);
    drive.after(10000);
    wire.push("x".repeat(98));
    drive.turn();
  }
  assert.not(wire.dead);
  drive.end();
});

pace("a fast reader may stop no longer than others", () => {
  const drive = new Drive(LAZY);
  const wire = lazy(drive, 16000);
  while (wire.deliver() && drive.engine.backlog(wire.slot) > 5000);
  const left = wire.pending?.length ?? 0;
  assert.ok(left > 0);
  drive.after(1000 + left * 10 - 1);
  assert.not(wire.dead);
  drive.after(1);
  assert.is(wire.log.at(-1), "closed TooSlow");
  drive.end();
});

pace("an answer that trickles out is reset; writes that complete at once are never slow", () => {
  const drive = new Drive(LAZY);
  const wire = drive.connect();
  wire.stalled = true;
  wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  drive.after(1e4);
  assert.is(wire.log.at(-1), "closed TooSlow");
  const fast = drive.webSocket();
  for (let i = 0; i < 100; i++) {
    drive.after(5000);
    assert.is(fast.push("x"), Outcome.Ok);
    drive.publish("y".repeat(2000));
    drive.turn();
  }
  assert.not(fast.dead);
  drive.end();
});

pace("a change of rates clears the slowness counted so far", () => {
  const drive = new Drive({ ...LAZY, ...SLOW });
  const wire = lazy(drive, 96);
  const body = drive.connect().send(POST);
  drive.after(500);
  drive.engine.configure(Param.SendRate, 0);
  drive.engine.configure(Param.ReceiveRate, 0);
  drive.after(50000);
  assert.not(wire.dead);
  assert.not(body.ended);
  drive.engine.configure(Param.ReceiveRate, 100);
  body.send("x");
  drive.after(999);
  assert.not(body.ended);
  drive.after(1);
  assert.equal(statuses(body), [408]);
  assert.is(drive.engine.control[Control.CloseCount + 60], 0, "it lingers");
  body.finish();
  assert.is(drive.engine.control[Control.CloseCount + 60], 1);
  drive.end();
});

pace.run();
