// Deadlines: each acts when its time has come and not a millisecond before, and `tick` says when
// the next one is due.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Random } from "../../host/testing/random";
import { Drive, type Wire } from "../lib/drive";
import { HANDSHAKE } from "../lib/handshake";
import { closeFrame, frame, lines, text } from "../lib/frame";
import { responsesOf } from "../lib/response";

const timers = suite("timers");

/** ms that an idle connection is kept: the announced time, and a second. */
const KEPT = 6000;
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const statuses = (wire: Wire): number[] => responsesOf(wire.text).map((reply) => reply.status);

/** Checks that the next look is due in time. It may come early, since activity moves deadlines lazily. */
function isDueWithin(drive: Drive, ms: number): void {
  const next = drive.after(0);
  assert.ok(next > 0 && next <= ms, `the next deadline is in ${next} ms, not within ${ms}`);
}

/** Checks that nothing happens for `ms` less one, and then the expected event. */
function waits(drive: Drive, wire: Wire, ms: number): void {
  const before = wire.log.length;
  drive.after(ms - 1);
  assert.is(wire.log.length, before, `it came before ${ms} ms: ${wire.log.at(-1)}`);
  drive.after(1);
}

timers("there is no deadline without connections", () => {
  const drive = new Drive();
  assert.is(drive.after(0), -1);
  drive.connect().lose();
  assert.is(drive.after(0), -1);
});

timers("a head that does not come is 408", () => {
  const drive = new Drive();
  const wire = drive.connect();
  assert.is(drive.after(0), 10000);
  assert.is(drive.after(4000), 6000);
  waits(drive, wire, 6000);
  assert.equal(wire.log, ["end HeadTimeout"]);
  assert.equal(statuses(wire), [408]);
  drive.end();
});

timers("a head that trickles in is 408, counted from its first byte", () => {
  const drive = new Drive();
  const wire = drive.connect().send(GET);
  drive.after(3000);
  for (const byte of GET.slice(0, 20)) {
    wire.send(byte);
    if (byte !== "G") drive.after(100);
  }
  waits(drive, wire, 10000 - 1900);
  assert.equal(wire.log, ["GET / 1.1", "end HeadTimeout"]);
  assert.equal(statuses(wire), [200, 408]);
  drive.end();
});

timers("the request after a late response has all of its time", () => {
  const drive = new Drive();
  let asked = 0;
  // The first is answered by hand.
  drive.answer = (one) => {
    if (asked++ > 0) one.respond();
  };
  const wire = drive
    .connect()
    .send(`${GET}POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx`);
  // Nothing happens for a minute, in which the engine's clock is not set.
  drive.now += 60000;
  drive.time();
  wire.respond();
  drive.turn();
  assert.equal(statuses(wire), [200]);
  drive.after(10000);
  wire.send("y");
  assert.equal(statuses(wire), [200, 200]);
  drive.end();
});

timers("a WebSocket that opens late is not idle since its connection came", () => {
  const drive = new Drive();
  drive.answer = () => undefined;
  const wire = drive.connect().send(HANDSHAKE);
  drive.now += 59000;
  drive.time();
  wire.upgrade();
  drive.turn();
  wire.take();
  drive.after(29999);
  assert.equal(lines(wire.take()), []);
  drive.after(1);
  assert.equal(lines(wire.take()), ["ping"]);
  drive.end();
});

timers("a body that trickles in is 408, counted from the request's first byte", () => {
  const drive = new Drive();
  const wire = drive.connect();
  drive.after(2000);
  wire.send("POST / HTTP/1.1\r\nHost: a\r\n");
  drive.after(3000);
  wire.send("Content-Length: 100\r\n\r\n");
  isDueWithin(drive, 15000);
  for (let i = 0; i < 14; i++) {
    wire.send("x");
    drive.after(1000);
  }
  waits(drive, wire, 1000);
  assert.equal(wire.log, ["end RequestTimeout"]);
  assert.equal(statuses(wire), [408]);
  drive.end();
});

timers("a pending request has no deadline", () => {
  const drive = new Drive();
  drive.answer = () => undefined;
  const wire = drive.connect().send(GET);
  assert.is(drive.after(20000), -1);
  drive.after(1e9);
  assert.equal(wire.log, ["GET / 1.1"]);
  wire.respond();
  drive.turn();
  assert.equal(statuses(wire), [200]);
  assert.is(drive.after(0), KEPT);
  drive.end();
});

timers("an idle connection is closed without a response, a second after the announced time", () => {
  const drive = new Drive();
  const wire = drive.connect().send(GET);
  assert.match(wire.text, /\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n/);
  assert.is(drive.after(0), KEPT);
  drive.after(3000);
  wire.send(GET);
  isDueWithin(drive, KEPT);
  waits(drive, wire, KEPT);
  assert.equal(wire.log, ["GET / 1.1", "GET / 1.1", "closed KeepAliveTimeout"]);
  assert.equal(statuses(wire), [200, 200]);
  assert.not(wire.reset);
  drive.end();
});

timers("an empty line does not end the idle time", () => {
  const drive = new Drive();
  const wire = drive.connect().send(GET);
  drive.after(1000);
  wire.send("\r\n");
  drive.after(20000);
  assert.is(wire.log.at(-1), "closed KeepAliveTimeout");
  assert.equal(statuses(wire), [200]);
  drive.end();
});

timers("a write without progress resets the connection", () => {
  const drive = new Drive();
  const wire = drive.connect();
  wire.stalled = true;
  wire.send(GET);
  assert.ok(wire.pending);
  drive.after(4000);
  assert.equal(wire.log, ["GET / 1.1"]);
  // The keep-alive time runs while the answer is written; it must not end the write.
  drive.after(25999);
  assert.equal(wire.log, ["GET / 1.1"], "an answer that is being written is not idleness");
  drive.after(1);
  assert.equal(wire.log, ["GET / 1.1", "closed WriteTimeout"]);
  assert.ok(wire.reset);
  drive.end();
});

timers("a WebSocket's write without progress resets it, progress does not", () => {
  const drive = new Drive({ IdleTimeout: 0, RunBytes: 512 });
  const wire = drive.webSocket();
  wire.stalled = true;
  drive.publish("x".repeat(2000));
  drive.turn();
  assert.is(drive.after(0), 30000);
  drive.after(20000);
  assert.ok(wire.deliver());
  isDueWithin(drive, 30000);
  waits(drive, wire, 30000);
  assert.is(wire.log.at(-1), "closed WriteTimeout");
  assert.ok(wire.reset);
  drive.end();
});

timers("a silent WebSocket is pinged at half its time and closed at the end", () => {
  const drive = new Drive();
  const wire = drive.webSocket();
  assert.is(drive.after(0), 30000);
  drive.after(29999);
  assert.equal(lines(wire.take()), []);
  assert.is(drive.after(1), 30000);
  assert.equal(lines(wire.take()), ["ping"]);
  waits(drive, wire, 30000);
  assert.is(wire.log.at(-1), "closed IdleTimeout");
  assert.equal(lines(wire.take()), [], "one ping is enough");
  drive.end();
});

timers("a pong, or anything else that arrives, is a sign of life; sent bytes are not", () => {
  const drive = new Drive();
  const wire = drive.webSocket();
  for (const life of [frame(10), text("x"), frame(9), text("y").subarray(0, 1)]) {
    drive.after(30000);
    assert.equal(lines(wire.take()), ["ping"]);
    drive.after(20000);
    drive.publish("news");
    wire.push("mail");
    wire.send(life);
    wire.take();
    isDueWithin(drive, 30000);
  }
  drive.after(30000);
  drive.publish("news");
  waits(drive, wire, 30000);
  assert.is(wire.log.at(-1), "closed IdleTimeout");
  drive.end();
});

timers("without pings a silent WebSocket is closed at its time", () => {
  const drive = new Drive({ SendPings: 0 });
  const wire = drive.webSocket();
  assert.is(drive.after(0), 60000);
  waits(drive, wire, 60000);
  assert.is(wire.log.at(-1), "closed IdleTimeout");
  assert.equal(lines(wire.take()), []);
  drive.end();
});

timers("an idle time of 0 is no limit", () => {
  const drive = new Drive({ IdleTimeout: 0, PingInterval: 0 });
  const wire = drive.webSocket();
  drive.after(1e9);
  assert.is(drive.after(0), -1);
  assert.not(wire.dead);
  drive.end();
});

timers("a held WebSocket is idle when nothing comes; released, it has its whole time again", () => {
  const drive = new Drive({ IdleTimeout: 1000, SendPings: 0 });
  const wire = drive.webSocket();
  drive.after(600);
  drive.hold(wire, true);
  drive.after(300);
  wire.send(text("x"));
  drive.after(999);
  assert.not(wire.dead);
  drive.hold(wire, false);
  drive.hold(wire, true);
  waits(drive, wire, 1000);
  assert.is(wire.log.at(-1), "closed IdleTimeout");
  drive.end();
});

for (const [what, after, later] of [
  ["an empty line", "\r\n", ""],
  ["two empty lines", "\r\n\r\n", ""],
  ["half an empty line", "\r", ""],
  ["an empty line in two reads", "\r", "\n"],
  ["an empty line in a packet of its own", "", "\r\n"],
] as const) {
  timers(`${what} after a request begins no head, so the connection ends as an idle one`, () => {
    for (const isLate of [false, true]) {
      const drive = new Drive({ HeadTimeout: 1000, KeepAliveTimeout: 5000 });
      if (isLate) drive.answer = () => undefined;
      const wire = drive.connect();
      wire.send(`GET / HTTP/1.1\r\nHost: a\r\n\r\n${after}`);
      if (isLate) {
        wire.respond();
        drive.turn();
      }
      drive.after(2000);
      if (later !== "") wire.send(later);
      drive.after(KEPT - 2001);
      assert.not(wire.dead);
      drive.after(1);
      assert.equal(wire.log, ["GET / 1.1", "closed KeepAliveTimeout"]);
      assert.equal(statuses(wire), [200]);
      drive.end();
    }
  });
}

timers("a head that begins after an empty line has its time from its first byte", () => {
  const drive = new Drive({ HeadTimeout: 1000, KeepAliveTimeout: 5000 });
  const wire = drive.connect().send("GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n");
  drive.after(3000);
  wire.send("\r\nG");
  drive.after(999);
  assert.not(wire.ended);
  drive.after(1);
  assert.equal(statuses(wire), [200, 408]);
  drive.end();
});

timers("a WebSocket that is not read because its buffer is full is not idle", () => {
  const drive = new Drive({ IdleTimeout: 1000, SendPings: 0, WindowBytes: 4096 });
  const wire = drive.webSocket();
  drive.hold(wire, true);
  wire.send(text("x".repeat(4090)).subarray(0, 4096));
  drive.after(1e6);
  assert.not(wire.dead);
  drive.hold(wire, false);
  waits(drive, wire, 1000);
  assert.is(wire.log.at(-1), "closed IdleTimeout");
  drive.end();
});

timers("a closing handshake that is not answered ends", () => {
  const drive = new Drive();
  const wire = drive.webSocket();
  drive.after(1000);
  wire.close(1000);
  drive.turn();
  assert.is(drive.after(0), 2000);
  drive.after(1000);
  wire.send(text("still here"));
  waits(drive, wire, 2000);
  assert.is(wire.log.at(-1), "closed CloseTimeout");
  assert.is(wire.code, 1006);
  drive.end();
});

timers("the closing handshake's time starts when our Close is written", () => {
  const drive = new Drive();
  const wire = drive.webSocket();
  wire.stalled = true;
  wire.close(1000);
  drive.turn();
  drive.after(10000);
  assert.not(wire.dead);
  wire.unstall();
  waits(drive, wire, 2000);
  assert.is(wire.log.at(-1), "closed CloseTimeout");
  drive.end();
});

timers("a peer that does not end its side is waited for, not for ever", () => {
  const drive = new Drive();
  const wire = drive.webSocket().send(closeFrame(1000));
  assert.is(wire.log.at(-1), "end PeerClosed");
  assert.is(drive.after(0), 2000);
  drive.after(1000);
  wire.send("more bytes", "and more");
  waits(drive, wire, 2000);
  assert.is(wire.log.at(-1), "closed PeerClosed");
  assert.not(wire.reset);
  const refused = drive.connect().send("GARBAGE\r\n");
  waits(drive, refused, 2000);
  assert.equal(refused.log, ["end BadRequest", "closed BadRequest"]);
  drive.end();
});

timers("the linger begins when everything is written", () => {
  const drive = new Drive();
  const wire = drive.connect();
  wire.stalled = true;
  wire.send("GARBAGE\r\n");
  drive.after(20000);
  assert.equal(wire.log, []);
  wire.unstall();
  assert.equal(wire.log, ["end BadRequest"]);
  waits(drive, wire, 2000);
  assert.equal(wire.log, ["end BadRequest", "closed BadRequest"]);
  drive.end();
});

timers("a client that does not read its answers is not blamed for its head", () => {
  const drive = new Drive({ Backlog: 2048 });
  drive.answer = (wire) => wire.respond(200, { body: "x".repeat(1500) });
  const wire = drive.connect();
  wire.stalled = true;
  for (let i = 0; i < 6; i++) wire.send(GET);
  assert.ok(wire.asked.length < 6, "parsing stops at a full backlog");
  drive.after(29000);
  assert.not(wire.dead);
  wire.unstall();
  assert.is(wire.asked.length, 6);
  assert.equal(statuses(wire), [200, 200, 200, 200, 200, 200]);
  drive.end();
});

timers("the next deadline is the earliest of all", () => {
  const drive = new Drive();
  drive.connect();
  drive.after(100);
  drive.connect().send(GET);
  drive.after(100);
  const socket = drive.webSocket();
  assert.is(drive.after(0), 5900);
  drive.after(5900);
  assert.is(drive.after(0), 10000 - 6100);
  drive.after(3900);
  assert.is(drive.after(0), 2000, "the linger of the first");
  drive.after(2000);
  assert.is(drive.after(0), 30000 - 11800);
  socket.lose();
  assert.is(drive.after(0), -1);
  drive.end();
});

timers("many deadlines are each met in time", () => {
  const drive = new Drive({ Connections: 200, WebSockets: 200 });
  const due: [Wire, number][] = [];
  const random = new Random(7);
  for (let i = 0; i < 150; i++) {
    drive.after(random.int(0, 39));
    const wire = drive.connect();
    if (i % 3 === 0) wire.send(GET);
    if (i % 3 === 1) wire.send(HANDSHAKE);
    due.push([wire, drive.now + ([KEPT, 60000, 10000][i % 3] as number)]);
    if (i % 7 === 0) wire.lose();
  }
  for (let next = drive.after(0); next >= 0; next = drive.after(next)) {
    for (const [wire, at] of due) {
      const isOver = wire.dead || wire.ended;
      assert.ok(isOver || drive.now < at, `${wire.log.at(-1)} is late`);
      if (wire.log.at(-1)?.includes("Timeout")) assert.ok(drive.now >= at, "it came early");
    }
  }
  assert.ok(due.every(([wire]) => wire.dead));
  drive.end();
});

timers("time that runs backwards does nothing", () => {
  const drive = new Drive();
  const wire = drive.connect();
  drive.after(5000);
  drive.after(-4000);
  drive.after(8999);
  assert.equal(wire.log, []);
  drive.after(1);
  assert.equal(wire.log, ["end HeadTimeout"]);
  drive.end();
});

timers.run();
