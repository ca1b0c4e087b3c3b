// The pools: the effects of an empty one, the order of waiters, whose connections are ended, and that nothing is lost
// meanwhile.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Control, Outcome } from "../../assembly/abi";
import { Drive, type Wire } from "../lib/drive";
import { HANDSHAKE } from "../lib/handshake";
import { closeFrame, frame, lines, received, text, closeLine } from "../lib/frame";
import { responsesOf } from "../lib/response";

const pool = suite("pool");

/** Sixteen buffers of 1 KiB, or four of 4. */
const SMALL_POOL = { ReceivePoolBytes: 16384, Connections: 32, WebSockets: 16 };
/** A request of which 3,000 bytes have come, and the rest. */
const BODY = 3200;
const START = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${BODY}\r\n\r\n${"x".repeat(3000)}`;
const REST = "y".repeat(200);

const used = (drive: Drive): number => {
  drive.engine.x.gauge();
  return drive.engine.get(Control.ReceivePoolUsed);
};
const isWaiting = (wire: Wire): boolean => wire.drive.engine.isWaiting(wire.slot);
const statuses = (wire: Wire): number[] => responsesOf(wire.text).map((reply) => reply.status);

/** Connections that hold the whole pool, 4 KiB each. */
function fill(drive: Drive): Wire[] {
  const wires = Array.from({ length: 4 }, () => drive.connect().send(START));
  assert.is(used(drive), 16384);
  return wires;
}

pool("a request without a buffer waits, and continues when one is free", () => {
  const drive = new Drive(SMALL_POOL);
  const [first, ...others] = fill(drive) as [Wire, ...Wire[]];
  const late = drive.connect().send(START);
  assert.ok(isWaiting(late));
  assert.is(late.rest?.length, START.length, "what was not consumed is the host's");
  assert.is(late.drains, 0);
  first.send(REST);
  assert.equal(statuses(first), [200]);
  assert.is(late.drains, 1);
  assert.not(isWaiting(late));
  assert.is(late.rest, undefined);
  late.send(REST);
  assert.equal(late.log, [`POST / 1.1 (${BODY})`]);
  for (const wire of others) wire.send(REST);
  assert.is(used(drive), 0);
  drive.end();
});

pool("bytes that wait for a buffer count once", () => {
  const drive = new Drive(SMALL_POOL);
  const holders = fill(drive);
  const before = drive.engine.get(Control.BytesIn);
  const late = drive.connect().send(START);
  // A request that is answered, then one that has to wait.
  const next = drive.connect().send(`GET / HTTP/1.1\r\nHost: a\r\n\r\n${START}`);
  assert.ok(isWaiting(late) && isWaiting(next));
  for (const wire of holders) wire.send(REST);
  for (const wire of [late, next]) wire.send(REST);
  assert.equal(statuses(next), [200, 200]);
  const sent = 2 * START.length + 6 * REST.length + "GET / HTTP/1.1\r\nHost: a\r\n\r\n".length;
  assert.is(drive.engine.get(Control.BytesIn) - before, sent);
  for (const wire of drive.wires) wire.lose();
  drive.end();
});

pool("a request that is whole needs no buffer", () => {
  const drive = new Drive(SMALL_POOL);
  fill(drive);
  const wire = drive.connect().send(START + REST);
  assert.equal(wire.log, [`POST / 1.1 (${BODY})`]);
  drive.end();
});

pool("waiters are served in the order they came", () => {
  const drive = new Drive(SMALL_POOL);
  const holders = fill(drive);
  const waiters = Array.from({ length: 4 }, () => drive.connect().send(START));
  for (let i = 0; i < 4; i++) {
    assert.equal(
      waiters.map(isWaiting),
      [0, 1, 2, 3].map((k) => k >= i),
    );
    holders[i]?.lose();
  }
  assert.equal(waiters.map(isWaiting), [false, false, false, false]);
  for (const wire of waiters) wire.send(REST);
  for (const wire of waiters) assert.equal(statuses(wire), [200]);
  drive.end();
});

pool("a waiter may leave, and the next is served", () => {
  const drive = new Drive(SMALL_POOL);
  const holders = fill(drive);
  const waiters = Array.from({ length: 3 }, () => drive.connect().send(START));
  waiters[0]?.lose();
  holders[0]?.lose();
  assert.equal(waiters.slice(1).map(isWaiting), [false, true]);
  waiters[2]?.lose();
  drive.end();
});

pool("a buffer that cannot grow waits with what it has", () => {
  const drive = new Drive(SMALL_POOL);
  const wire = drive.connect().send(START.slice(0, 700));
  const holders = Array.from({ length: 3 }, () => drive.connect().send(START));
  const small = Array.from({ length: 3 }, () => drive.connect().send(START.slice(0, 600)));
  assert.is(used(drive), 16384);
  wire.send(START.slice(700));
  assert.ok(isWaiting(wire));
  holders[0]?.lose();
  assert.not(isWaiting(wire));
  wire.send(REST);
  assert.is(wire.asked[0]?.body, "x".repeat(3000) + REST);
  for (const one of small) one.lose();
  drive.end();
});

pool("a pending request keeps its reported place when its buffer is moved and cannot grow", () => {
  const drive = new Drive(SMALL_POOL);
  const wire = drive.connect();
  drive.answer = () => undefined;
  const tagged = (path: string): string =>
    `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 300\r\n\r\n${path.padEnd(300, "z")}`;
  wire.send(tagged("/first") + tagged("/second"));
  for (let i = 0; i < 3; i++) drive.connect().send(START);
  for (let i = 0; i < 3; i++) drive.connect().send(START.slice(0, 600));
  assert.is(used(drive), 16384);
  wire.respond();
  drive.turn();
  const { engine } = drive;
  const said = (): string => {
    const { head, headLength, body, bodyLength } = engine.head(wire.slot);
    const text = (at: number, length: number): string =>
      Buffer.from(engine.u8.subarray(at, at + length)).toString("latin1");
    return text(head, headLength) + text(body, bodyLength);
  };
  assert.is(said(), tagged("/second"));
  // It fits after neither: answered bytes are dropped, and still there is no room.
  wire.send("x".repeat(900));
  assert.ok(isWaiting(wire));
  assert.is(said(), tagged("/second"));
  for (const one of drive.wires) one.lose();
  drive.end();
});

pool("a quarter is kept for small buffers", () => {
  const drive = new Drive({ ...SMALL_POOL, ReceivePoolBytes: 32768 });
  const large = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n${"x".repeat(6000)}`;
  const wires = Array.from({ length: 4 }, () => drive.connect().send(large));
  assert.equal(wires.map(isWaiting), [false, false, false, true]);
  assert.is(used(drive), 24576);
  const head = drive.connect().send("GET / HTTP/1.1\r\n");
  assert.not(isWaiting(head));
  head.send("Host: a\r\n\r\n");
  assert.equal(statuses(head), [200]);
  drive.end();
});

pool("after bufferTimeout the largest holder is ended, and the waiter continues", () => {
  const drive = new Drive({ ...SMALL_POOL, ReceivePoolBytes: 32768 });
  const large = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 15000\r\n\r\n${"x".repeat(9000)}`;
  const holder = drive.connect().send(large);
  const rest = Array.from({ length: 4 }, () => drive.connect().send(START));
  const late = drive.connect().send(START);
  assert.ok(isWaiting(late));
  drive.after(2999);
  assert.ok(isWaiting(late));
  assert.equal(holder.log, []);
  drive.after(1);
  assert.equal(holder.log, ["end NoBuffer"]);
  assert.equal(statuses(holder), [503]);
  assert.match(holder.text, /\r\nRetry-After: /);
  assert.not(isWaiting(late));
  late.send(REST);
  assert.equal(statuses(late), [200]);
  for (const wire of rest) assert.not(wire.ended);
  drive.end();
});

pool("a WebSocket that holds the most is closed with 1013", () => {
  const drive = new Drive({ ...SMALL_POOL, ReceivePoolBytes: 32768 });
  const holder = drive.webSocket().send(frame(2, "x".repeat(12000)).subarray(0, 9000));
  Array.from({ length: 4 }, () => drive.connect().send(START));
  const late = drive.connect().send(START);
  assert.ok(isWaiting(late));
  drive.after(3000);
  assert.equal(lines(holder.take()), [closeLine("NoBuffer")]);
  assert.is(holder.log.at(-1), "end NoBuffer");
  assert.not(isWaiting(late));
  drive.end();
});

pool("waiting does not count as idleness", () => {
  const drive = new Drive({ ...SMALL_POOL, BufferTimeout: 1e9, RequestTimeout: 1e9 });
  const [first] = fill(drive);
  const late = drive.webSocket().send(frame(2, "x".repeat(3000)).subarray(0, 2500));
  assert.ok(isWaiting(late));
  drive.after(200000);
  assert.not(late.dead);
  first?.lose();
  late.send(frame(2, "x".repeat(3000)).subarray(2500));
  assert.is(late.messages[0]?.length, 3000);
  drive.end();
});

pool("100 (Continue) is sent once, though the head waits", () => {
  const drive = new Drive(SMALL_POOL);
  const [first] = fill(drive);
  const field = `X: ${"x".repeat(2000)}\r\n`;
  const wire = drive.connect();
  wire.send(
    `POST / HTTP/1.1\r\nHost: a\r\n${field}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n`,
  );
  assert.ok(isWaiting(wire));
  first?.lose();
  assert.not(isWaiting(wire));
  wire.send("hi");
  assert.equal(statuses(wire), [100, 200]);
  drive.end();
});

pool("frames that wait are read in order, cut anywhere", () => {
  const input = Buffer.concat([
    text("first"),
    frame(2, "a".repeat(1000), { final: false }),
    frame(9, "p".repeat(100)),
    frame(0, "b".repeat(1000), { final: false }),
    frame(9, "q".repeat(60)),
    frame(0, "c".repeat(1000)),
    text("last"),
  ]);
  for (let cut = 1; cut < input.length; cut += 7) {
    for (const second of [3, 40, 300]) {
      const drive = new Drive(SMALL_POOL);
      const wire = drive.webSocket();
      const holders = Array.from({ length: 3 }, () => drive.connect().send(START));
      const small = Array.from({ length: 3 }, () => drive.connect().send(START.slice(0, 600)));
      wire.send(input.subarray(0, cut));
      wire.send(input.subarray(cut, cut + second));
      wire.send(input.subarray(cut + second));
      for (const one of [...holders, ...small]) one.lose();
      const log = ['text "first"', "ping (100)", "ping (60)", "binary (3000)", 'text "last"'];
      assert.equal(wire.log.slice(1), log, `cut at ${cut}, ${cut + second}`);
      const expected = "a".repeat(1000) + "b".repeat(1000) + "c".repeat(1000);
      assert.is(Buffer.from(wire.messages[1] as Uint8Array).toString(), expected);
      drive.end();
    }
  }
});

pool("an upgrade keeps frames that were sent too early and wait; the queue stays whole", () => {
  const drive = new Drive({ ...SMALL_POOL, PayloadBytes: 7000 });
  drive.answer = (wire, asked) => void (asked.target === "/chat" || wire.respond());
  const early = drive.connect().send(HANDSHAKE);
  const holders = Array.from({ length: 3 }, () => drive.connect().send(START));
  early.send(text("e".repeat(3500)));
  const late = drive.connect().send(START);
  assert.equal([early, late].map(isWaiting), [true, true]);
  assert.is(early.upgrade(), Outcome.Ok);
  drive.check();
  // Its slot is another's now.
  drive.connect();
  for (const wire of holders) wire.send(REST);
  late.send(REST);
  assert.equal(statuses(late), [200]);
  assert.equal(early.log, ["GET /chat 1.1", "text (3500)"]);
  drive.end();
});

pool("bounds the bytes that the host holds because there is no buffer, and refuses more", () => {
  const drive = new Drive(SMALL_POOL);
  const holders = fill(drive);
  const late = Array.from({ length: 8 }, () => drive.connect().send(START));
  const held = late.filter(isWaiting);
  assert.is(held.length, Math.floor(16384 / START.length), "four windows full");
  for (const wire of late.slice(held.length)) {
    assert.equal(statuses(wire), [503]);
    assert.is(wire.log.at(-1), "end NoBuffer");
  }
  held[0]?.lose();
  assert.ok(isWaiting(drive.connect().send(START)), "there is room for another");
  for (const wire of holders) wire.send(REST);
  for (const wire of held.slice(1)) {
    wire.send(REST);
    assert.equal(statuses(wire), [200]);
  }
  drive.end();
});

pool("a handler that takes its time without a buffer is 503", () => {
  const drive = new Drive(SMALL_POOL);
  fill(drive);
  drive.answer = () => undefined;
  const wire = drive.connect().send(START + REST);
  assert.equal(wire.log, [`POST / 1.1 (${BODY})`, "end NoBuffer"]);
  assert.equal(statuses(wire), [503]);
  drive.end();
});

// ---- responsesOf ----------------------------------------------------------------------------------

pool("a full queue refuses messages, and reports when it has room", () => {
  const drive = new Drive({ Backlog: 4096 });
  const wire = drive.webSocket();
  wire.stalled = true;
  let sent = 0;
  while (wire.push("x".repeat(1000)) === Outcome.Ok) sent++;
  assert.is(wire.push("x"), Outcome.Full);
  assert.ok(sent >= 4 && sent <= 6, `${sent} messages of 1,000 B fit 4,096`);
  drive.turn();
  assert.is(wire.drains, 0);
  wire.unstall();
  assert.is(wire.drains, 1);
  assert.is(received(wire.take()).length, sent);
  assert.is(wire.push("x"), Outcome.Ok);
  drive.end();
});

pool("an empty reply pool refuses messages, and notifies the senders of room", () => {
  const drive = new Drive({ ReplyPoolBytes: 32768, Backlog: 16384 });
  const wires = Array.from({ length: 4 }, () => drive.webSocket());
  for (const wire of wires) wire.stalled = true;
  const sent = wires.map((wire) => {
    let n = 0;
    while (wire.push("x".repeat(1000)) === Outcome.Ok) n++;
    return n;
  });
  const refused = wires[3] as Wire;
  assert.ok((sent[3] as number) < 16, "the pool, not the backlog, was the limit");
  drive.turn();
  for (const wire of wires.slice(0, 3)) wire.unstall();
  refused.unstall();
  assert.is(refused.drains, 1);
  wires.forEach((wire, i) => {
    assert.is(received(wire.take()).length, sent[i]);
  });
  drive.end();
});

pool("an answer that finds no room ends its connection, and nothing leaks", () => {
  const drive = new Drive({ ReplyPoolBytes: 8192, Backlog: 65536 });
  const hog = drive.webSocket();
  hog.stalled = true;
  while (hog.push("x".repeat(400)) === Outcome.Ok);
  drive.turn();
  drive.answer = (wire) => wire.respond(200, { body: "y".repeat(5000) });
  const wire = drive.connect().send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  assert.equal(wire.log, ["GET / 1.1", "closed NoBuffer"]);
  const bad = drive.connect().send("GARBAGE\r\n");
  assert.ok(bad.dead || bad.ended);
  drive.end();
});

pool("connections that end in any way leave nothing", () => {
  const drive = new Drive();
  const endings: ((wire: Wire) => void)[] = [
    (wire) => wire.lose(),
    (wire) => wire.finish(),
    (wire) => wire.close(1000),
    (wire) => wire.send(closeFrame(1000)),
    (wire) => wire.send(text("\xff")),
    (wire) => wire.unstall(),
  ];
  for (const ending of endings) {
    for (let state = 0; state < 8; state++) {
      const wire = drive.webSocket();
      wire.stalled = (state & 1) !== 0;
      if (state & 2) drive.publish("p".repeat(100));
      wire.push("s".repeat(5000));
      wire.send(frame(9, "ping"));
      if (state & 4) wire.send(text("x".repeat(2000), { final: false }), text("").subarray(0, 1));
      ending(wire);
      for (let i = 0; i < 4; i++) drive.after(50000);
      assert.ok(wire.dead, wire.log.join("; "));
    }
  }
  drive.end();
});

pool("held buffers of upgraded connections are given back", () => {
  const drive = new Drive();
  drive.answer = () => undefined;
  const wire = drive.connect().send(HANDSHAKE);
  assert.ok(used(drive) > 0);
  wire.upgrade();
  drive.turn();
  assert.is(used(drive), 0);
  wire.send(text("x"));
  drive.end();
});

pool.run();
