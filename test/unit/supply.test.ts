// Bodies that the host supplies, as the engine sees them: when it asks for a piece, how much, in which order the piece
// leaves, and what becomes of it when the client does not read or the connection ends.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  Answer,
  CloseReason,
  Control,
  Outcome,
  PIECE_COPY,
  PIECE_LIMIT,
  SUPPLY_CHUNKS,
  SUPPLY_NONE,
  Trait,
} from "../../assembly/abi";
import type { EngineParams } from "../../worker/engine/engine";
import { Drive, type Wire } from "../lib/drive";

const supply = suite("supply");

const KiB = 1024;
const request = (line = "GET / HTTP/1.1", fields = ""): string =>
  `${line}\r\nHost: a\r\n${fields}\r\n`;

/** Room for whole pieces, and runs as long as they are. */
const PARAMS: EngineParams = { RunBytes: 262144, PieceBytes: 8 * KiB * KiB, Connections: 64 };

function driveOf(params: EngineParams = {}): Drive {
  const drive = new Drive({ ...PARAMS, ...params });
  drive.answer = (wire, { traits }) => {
    if (traits & Trait.Upgrade) wire.upgrade();
  };
  return drive;
}

/** Returns a connection whose request has a supplied response, and the size of the first piece. */
function asked(drive: Drive, length = -1, flags: number = Answer.Again): [Wire, number] {
  const wire = drive.connect().send(request());
  const size = wire.beginSupply(length, flags);
  drive.turn();
  return [wire, size & (2 * PIECE_LIMIT - 1)];
}

function usedOf(drive: Drive): number {
  drive.engine.x.gauge();
  return drive.engine.get(Control.PieceBytesUsed);
}

const body = (wire: Wire): string => wire.text.slice(wire.text.indexOf("\r\n\r\n") + 4);

// ---- one response ------------------------------------------------------------------------------------------

supply(
  "the first piece may be given with the head, and the next is asked for when it has left",
  () => {
    const drive = driveOf();
    const wire = drive.connect().send(request());
    assert.is(wire.beginSupply(6), PIECE_LIMIT);
    assert.is(wire.give("abc"), Outcome.Ok);
    assert.is(wire.give("no"), Outcome.Invalid, "one piece at a time");
    drive.turn();
    assert.match(wire.text, /Content-Length: 6\r\n/);
    assert.is(body(wire), "abc");
    assert.equal(wire.wants, [PIECE_LIMIT]);
    assert.is(wire.give("def"), Outcome.Ok);
    assert.is(wire.conclude(), Outcome.Invalid, "a piece has not left");
    wire.open = true;
    drive.turn();
    assert.is(body(wire), "abcdef");
    assert.is(wire.wants.length, 2);
    assert.is(wire.conclude(), Outcome.Ok);
    assert.is(usedOf(drive), 0);
    drive.end();
  },
);

supply("a pipelined request is answered after the body", () => {
  const drive = driveOf();
  const wire = drive.connect().send(request() + request("GET /next HTTP/1.1"));
  wire.beginSupply(3);
  wire.give("abc");
  drive.turn();
  assert.is(wire.asked.length, 1);
  wire.conclude();
  drive.turn();
  assert.is(wire.asked[1]?.target, "/next");
  wire.respond(200, { body: "x" });
  drive.turn();
  assert.match(wire.text, /\r\n\r\nabcHTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\nx$/);
  drive.end();
});

for (const [line, fields, bits, end] of [
  ["GET / HTTP/1.1", "", SUPPLY_CHUNKS, "0\r\n\r\n"],
  ["GET / HTTP/1.0", "", 0, ""],
] as const) {
  supply(`${line}: a body of unknown length is framed by the host, but for its end`, () => {
    const drive = driveOf();
    const wire = drive.connect().send(request(line, fields));
    assert.is(wire.beginSupply(), PIECE_LIMIT | bits);
    wire.give("piece");
    drive.turn();
    wire.conclude();
    drive.turn();
    assert.is(body(wire), `piece${end}`);
    assert.is(wire.ended, end === "");
    drive.end();
  });
}

supply("a response without a body asks for nothing", () => {
  const drive = driveOf();
  const head = drive.connect().send(request("HEAD / HTTP/1.1"));
  assert.is(head.beginSupply(6), SUPPLY_NONE);
  assert.is(head.give("abc"), Outcome.Gone);
  head.conclude();
  const none = drive.connect().send(request());
  none.begin(204, Answer.Stream | Answer.Supply);
  assert.is(drive.engine.get(Control.Result), SUPPLY_NONE);
  none.conclude();
  drive.turn();
  assert.equal([head.wants, none.wants], [[], []]);
  assert.is(usedOf(drive), 0);
  assert.match(head.text, /Content-Length: 6\r\n[\s\S]*\r\n\r\n$/);
  drive.end();
});

supply("a piece beyond the stated length is refused, and a body that lacks bytes is reset", () => {
  const drive = driveOf();
  const [wire] = asked(drive, 3);
  assert.is(wire.give("four"), Outcome.TooLarge);
  assert.is(wire.give("ab"), Outcome.Ok);
  drive.turn();
  assert.is(wire.give("cd"), Outcome.TooLarge);
  wire.conclude();
  drive.turn();
  assert.ok(wire.reset);
  assert.is(wire.reason, CloseReason.HandlerError);
  drive.end();
});

supply("pieces of the wrong size, or that were not asked for, are refused", () => {
  const drive = driveOf();
  const [wire] = asked(drive);
  assert.is(wire.give(""), Outcome.Invalid);
  assert.is(wire.give("x".repeat(PIECE_LIMIT + 1)), Outcome.Invalid);
  assert.is(wire.give("x".repeat(PIECE_LIMIT)), Outcome.Ok);
  wire.stalled = true;
  drive.turn();
  assert.is(wire.give("x"), Outcome.Invalid);
  const other = drive.connect().send(request());
  other.begin();
  assert.is(other.give("x"), Outcome.Gone);
  drive.end();
});

supply("small pieces go out with the head, in one write, as far as its block has room", () => {
  const drive = driveOf();
  const wire = drive.connect().send(request());
  wire.stalled = true;
  wire.beginSupply();
  assert.is(wire.piece("ab"), Outcome.Ok);
  assert.is(wire.piece("c".repeat(4000)), Outcome.Full);
  assert.is(wire.piece("d".repeat(3000)), Outcome.Ok);
  wire.conclude();
  drive.turn();
  const row = Buffer.from(wire.pending ?? "").toString();
  assert.match(row, /^HTTP\/1\.1 200 [\s\S]*\r\n\r\n2\r\nab\r\nbb8\r\nd+\r\n0\r\n\r\n$/);
  wire.unstall();
  assert.is(wire.drains, 0);
  drive.end();
});

supply("nothing is queued between a piece and the next one", () => {
  const drive = driveOf();
  const wire = drive.connect().send(request());
  wire.beginSupply();
  wire.give("1\r\nx\r\n");
  assert.is(wire.piece("y"), Outcome.Full);
  drive.turn();
  assert.is(wire.piece("y"), Outcome.Full);
  drive.end();
});

// ---- clients that read slowly, or not at all ---------------------------------------------------------------

supply("a client that does not read costs one piece, and gets half of one the next time", () => {
  const drive = driveOf();
  const [wire] = asked(drive);
  wire.stalled = true;
  wire.give("x".repeat(PIECE_LIMIT));
  drive.turn();
  for (let i = 0; i < 5; i++) drive.after(100);
  assert.equal(wire.wants, []);
  assert.is(usedOf(drive), PIECE_LIMIT);
  wire.unstall();
  assert.equal(wire.wants, [PIECE_LIMIT / 2]);
  wire.give("x".repeat(1000));
  drive.turn();
  assert.equal(wire.wants, [PIECE_LIMIT / 2, PIECE_LIMIT], "what it takes at once is whole again");
  drive.end();
});

supply("a piece is written in runs of maxRunBytes", () => {
  const drive = driveOf({ RunBytes: 2048 });
  const [wire] = asked(drive);
  wire.give("abcd".repeat(1250));
  wire.stalled = true;
  drive.turn();
  const lengths: (number | undefined)[] = [];
  for (; wire.pending; wire.deliver()) lengths.push(wire.pending.length);
  assert.equal(lengths, [2048, 2048, 904]);
  assert.is(body(wire), "abcd".repeat(1250));
  assert.is(wire.wants.length, 1);
  drive.end();
});

supply("a write without progress ends the response, like any other", () => {
  const drive = driveOf({ WriteTimeout: 5000 });
  const [wire] = asked(drive);
  wire.stalled = true;
  wire.give("x".repeat(PIECE_LIMIT));
  drive.turn();
  drive.after(4999);
  assert.not(wire.dead);
  drive.after(2);
  assert.is(wire.reason, CloseReason.WriteTimeout);
  assert.is(usedOf(drive), 0);
  drive.end();
});

supply("a source that takes its time is not timed out, and its client neither", () => {
  const drive = driveOf({
    WriteTimeout: 5000,
    KeepAliveTimeout: 5000,
    SendRate: 1000,
    RateGrace: 1,
  });
  const [wire] = asked(drive);
  assert.is(drive.after(1000000), -1);
  wire.give("x");
  drive.turn();
  assert.is(body(wire), "x");
  drive.end();
});

supply("a client that reads nothing of its response makes room for a new one", () => {
  const drive = driveOf({ Connections: 2 });
  const [first] = asked(drive);
  const [second] = asked(drive);
  first.stalled = true;
  first.give("x".repeat(PIECE_LIMIT));
  drive.turn();
  drive.after(6000);
  drive.tryConnect();
  assert.is(first.reason, CloseReason.EvictedUnread);
  assert.not(second.dead, "one that waits for the host is not at fault");
  drive.end();
});

// ---- room --------------------------------------------------------------------------------------------------

supply("all pieces together have a bound, and shrink before it is reached", () => {
  const drive = driveOf({ PieceBytes: 1024 * KiB });
  const wires: Wire[] = [];
  const sizes: number[] = [];
  for (let i = 0; i < 64; i++) {
    const [wire, size] = asked(drive, -1, 0);
    wires.push(wire);
    sizes.push(size);
    wire.stalled = true;
    if (size > 0) wire.give("x".repeat(size));
    drive.turn();
    assert.ok(usedOf(drive) <= 1024 * KiB);
  }
  assert.is(sizes[0], PIECE_LIMIT);
  assert.ok(
    sizes.every((size) => size >= KiB),
    `all get a piece: ${sizes}`,
  );
  assert.ok((sizes.at(-1) as number) <= 8 * KiB, `the last ones a small one: ${sizes}`);
  drive.end();
});

/** Fills the room but for less than a piece, with pieces that clients do not read. */
function filled(drive: Drive, flags: number): Wire[] {
  const wires: Wire[] = [];
  for (;;) {
    const [wire, size] = asked(drive, -1, flags);
    wires.push(wire);
    if (size === 0) return wires;
    wire.stalled = true;
    wire.give("x".repeat(size));
    drive.turn();
  }
}

supply("without room nothing is asked for; responses that wait are served in their order", () => {
  const drive = driveOf({ PieceBytes: 64 * KiB, Connections: 200 });
  const wires = filled(drive, 0);
  const first = wires.at(-1) as Wire;
  const [second, size] = asked(drive);
  assert.is(size, 0);
  drive.engine.x.gauge();
  assert.is(drive.engine.get(Control.StarvedCount), 2);
  assert.equal([first.wants, second.wants], [[], []]);
  const [reader] = wires as [Wire];
  // Its room is free for a moment, and the first response that waits is asked.
  reader.lose();
  assert.ok((first.wants[0] ?? 0) > 0);
  assert.ok(usedOf(drive) <= 64 * KiB);
  first.lose();
  assert.ok((second.wants[0] ?? 0) > 0);
  drive.end();
});

supply("a response that waits for room takes no part in the others' turns", () => {
  const drive = driveOf({ PieceBytes: 64 * KiB, Connections: 200 });
  const starved = filled(drive, 0).at(-1) as Wire;
  const other = drive.connect().send(request());
  other.respond(200, { body: "y" });
  const ws = drive.webSocket();
  drive.publish("z");
  drive.turn();
  assert.match(other.text, /y$/);
  assert.match(ws.text, /z$/);
  starved.lose();
  drive.end();
});

supply(
  "room that a piece does not need is given back, and may be exceeded by what is larger",
  () => {
    const drive = driveOf({ PieceBytes: 128 * KiB });
    const [first, size] = asked(drive, -1, 0);
    assert.is(size, 64 * KiB);
    drive.loop.keepRoom(first, 2000);
    assert.is(usedOf(drive), 2000);
    drive.loop.keepRoom(first, 4000);
    assert.is(usedOf(drive), 2000, "it cannot be taken again");
    drive.loop.keepRoom(first, 0);
    first.stalled = true;
    assert.is(first.give("x", 200 * KiB), Outcome.Ok);
    assert.is(usedOf(drive), 200 * KiB);
    drive.turn();
    const [second, none] = asked(drive);
    assert.is(none, 0);
    first.unstall();
    assert.is(second.wants.length, 1);
    assert.ok(usedOf(drive) <= 128 * KiB);
    drive.end();
  },
);

supply("the next part of what the host holds needs no room", () => {
  const drive = driveOf({ PieceBytes: 64 * KiB });
  const [wire] = asked(drive, -1, 0);
  wire.give("x".repeat(PIECE_LIMIT), 100 * KiB, 1);
  drive.turn();
  assert.is(usedOf(drive), 100 * KiB);
  assert.is(wire.wants.length, 1, "it does not wait for itself");
  drive.loop.keepRoom(wire, 0);
  assert.is(usedOf(drive), 100 * KiB, "which is still held");
  wire.give("y".repeat(100));
  drive.turn();
  assert.equal(wire.wants.slice(1), [32 * KiB], "then it shares the room again");
  drive.end();
});

supply("the pieces of one address count against its share of responses", () => {
  const drive = driveOf({ AddressReplyBytes: 262144, Connections: 16 });
  const wires: Wire[] = [];
  for (let i = 0; i < 6; i++) {
    const wire = drive.connect("192.0.2.1").send(request());
    wire.stalled = true;
    const size = wire.beginSupply(-1, 0);
    if ((size & (2 * PIECE_LIMIT - 1)) > 0) wire.give("x".repeat(PIECE_LIMIT));
    wires.push(wire);
  }
  drive.turn();
  assert.ok(usedOf(drive) <= 262144);
  const other = drive.connect("192.0.2.2").send(request());
  assert.is(other.beginSupply() & PIECE_LIMIT, PIECE_LIMIT, "another address has its own");
  other.lose();
  const waiting = wires.filter((wire) => wire.given.length === 0);
  assert.is(waiting.length, 3, "the heads count, too");
  for (const wire of wires) wire.unstall();
  assert.ok(usedOf(drive) <= 262144);
  for (const wire of wires) if (!waiting.includes(wire)) wire.conclude();
  drive.turn();
  assert.equal(
    [...waiting].map((wire) => wire.wants.length),
    [1, 1, 1],
  );
  drive.end();
});

supply("a source that cannot give less has the room of its last piece before it is asked", () => {
  const drive = driveOf({ PieceBytes: 260 * KiB });
  const sizes = Array.from({ length: 5 }, () => asked(drive, -1, 0)[1] > 0);
  assert.equal(sizes, [true, true, true, true, false], "at first that of a whole piece");
  const small = driveOf({ PieceBytes: 256 * KiB });
  const [first] = asked(small, -1, 0);
  first.give("x", 100 * KiB);
  small.turn();
  assert.is(usedOf(small), 65 * KiB, "no more than a whole piece and its frame");
  first.give("x", 10 * KiB);
  small.turn();
  first.give("x", 10 * KiB);
  first.stalled = true;
  const [holder] = asked(small, -1, 0);
  holder.stalled = true;
  holder.give("x", 250 * KiB);
  small.turn();
  first.unstall();
  small.turn();
  assert.is(first.wants.length, 2, "there is less room than that");
  holder.lose();
  assert.is(first.wants.length, 3);
  drive.end();
  small.end();
});

supply("a response that needs less room does not pass one that waits", () => {
  const drive = driveOf({ PieceBytes: 128 * KiB });
  const [holder] = asked(drive, -1, 0);
  holder.stalled = true;
  holder.give("x", 100 * KiB);
  const [large] = asked(drive, -1, 0);
  const [small, size] = asked(drive);
  assert.is(size, 0);
  assert.equal([large.wants, small.wants], [[], []]);
  holder.lose();
  assert.equal([large.wants.length, small.wants.length], [1, 1]);
  drive.end();
});

// ---- clients that do not read, and hold all the room ---------------------------------------------------------

/** Fills the room with pieces of clients that do not read, one for each of some times (ms). */
function heldSince(drive: Drive, times: readonly number[], flags = 0): Wire[] {
  let now = 0;
  return times.map((time) => {
    drive.after(time - now);
    now = time;
    const [wire] = asked(drive, -1, flags);
    wire.stalled = true;
    wire.give("x".repeat(PIECE_LIMIT));
    drive.turn();
    return wire;
  });
}

supply("a client makes room that has not read for the longest time, and no more than wait", () => {
  const drive = driveOf({ PieceBytes: 258 * KiB });
  const holders = heldSince(drive, [0, 100, 200, 300]);
  drive.after(20000);
  assert.ok(
    holders.every((wire) => !wire.dead),
    "while none waits",
  );
  const [waits] = asked(drive, -1, 0);
  const [next] = asked(drive, -1, 0);
  drive.after(999);
  assert.equal([waits.wants, next.wants], [[], []]);
  drive.after(1);
  assert.equal(
    holders.map((wire) => wire.reason),
    [CloseReason.EvictedUnread, CloseReason.EvictedUnread, 0, 0],
  );
  assert.equal([waits.wants.length, next.wants.length], [1, 1]);
  assert.is(drive.engine.get(Control.Evicted), 2);
  assert.is(drive.after(100000), -1);
  drive.end();
});

supply("a client that has ended its side makes room as well, and one that reads does not", () => {
  const drive = driveOf({ PieceBytes: 193 * KiB });
  const [reads, ended, late] = heldSince(drive, [0, 0, 10000]) as [Wire, Wire, Wire];
  ended.finish();
  drive.after(4000);
  assert.ok(reads.deliver());
  const [waits] = asked(drive, -1, 0);
  reads.give("x".repeat(PIECE_LIMIT));
  drive.turn();
  drive.after(2000);
  assert.equal([reads.dead, ended.dead, late.dead], [false, true, false]);
  assert.is(ended.reason, CloseReason.EvictedUnread);
  assert.is(waits.wants.length, 1);
  drive.end();
});

supply("a response without a piece makes no room for others' pieces", () => {
  const drive = driveOf({ PieceBytes: 64 * KiB });
  const plain = drive.connect().send(request());
  plain.stalled = true;
  plain.respond(200, { body: "x".repeat(100) });
  drive.turn();
  drive.after(10000);
  const [holder] = heldSince(drive, [0]);
  const [waits] = asked(drive, -1, 0);
  drive.after(14000);
  assert.equal([plain.dead, holder?.dead, waits.wants.length], [false, false, 0]);
  drive.after(1000);
  assert.equal([plain.dead, holder?.dead, waits.wants.length], [false, true, 1]);
  drive.end();
});

supply("the quota of an address ends no client of another", () => {
  const quota = { AddressReplyBytes: 65536, Addresses: 8 };
  const drive = driveOf({ PieceBytes: 256 * KiB, ...quota });
  const [holder] = heldSince(drive, [0]);
  const own = drive.connect("10.0.0.1").send(request());
  own.beginSupply(-1, 0);
  own.stalled = true;
  own.give("x".repeat(PIECE_LIMIT));
  drive.turn();
  const waits = drive.connect("10.0.0.1").send(request());
  waits.beginSupply(-1, 0);
  drive.turn();
  drive.after(20000);
  assert.equal([holder?.dead, own.dead, waits.wants], [false, false, []]);
  drive.end();
});

// ---- recalled pieces ---------------------------------------------------------------------------------------

supply("the piece of a client that stalls is recalled when another needs the room", () => {
  const drive = driveOf({ PieceBytes: 128 * KiB });
  const [stalled] = asked(drive, 200 * KiB);
  stalled.stalled = true;
  stalled.some = 1000;
  stalled.give("s".repeat(PIECE_LIMIT));
  drive.turn();
  assert.is(stalled.pending?.length, PIECE_COPY, "the pending write is a copy");
  assert.equal(stalled.recalls, [], "while there is room");
  const rest = PIECE_LIMIT - 1000 - PIECE_COPY;
  const [, size] = asked(drive, -1, 0);
  assert.is(size, 63 * KiB, "room for a whole piece, but for the copy");
  assert.equal(stalled.recalls, [rest]);
  assert.is(drive.engine.get(Control.Recalled), 1);
  stalled.some = undefined;
  stalled.unstall();
  assert.is(stalled.wants.length, 1);
  assert.is(body(stalled).length, 1000 + PIECE_COPY);
  assert.is(stalled.give("t".repeat(1000)), Outcome.Ok, "the recalled bytes count as missing");
  drive.turn();
  assert.match(body(stalled), /^s{1512}t{1000}$/);
  drive.end();
});

supply("a piece that is not recalled continues when its client reads", () => {
  const drive = driveOf();
  const [wire] = asked(drive);
  wire.stalled = true;
  wire.some = 100;
  const text = Array.from({ length: 3000 }, (_, i) => String(i % 10)).join("");
  wire.give(text);
  drive.turn();
  wire.stalled = false;
  wire.some = 700;
  wire.unstall();
  wire.some = 1e9;
  drive.turn();
  assert.is(body(wire), text);
  assert.equal(wire.recalls, []);
  drive.end();
});

supply("pieces that exist once are not recalled, nor pieces that the transport holds", () => {
  const drive = driveOf({ PieceBytes: 128 * KiB });
  const [once] = asked(drive, -1, 0);
  once.stalled = true;
  once.some = 0;
  once.give("x".repeat(32 * KiB));
  const [held] = asked(drive);
  held.stalled = true;
  held.give("x".repeat(32 * KiB));
  drive.turn();
  const [, size] = asked(drive);
  assert.ok(size < PIECE_LIMIT);
  assert.equal([once.recalls, held.recalls], [[], []]);
  drive.end();
});

supply("a client that stalls is recalled for one that waits already", () => {
  const drive = driveOf({ PieceBytes: 64 * KiB });
  const [holder] = asked(drive, -1, 0);
  holder.stalled = true;
  holder.give("x", 48 * KiB);
  const [stalls, size] = asked(drive);
  assert.is(size, 8 * KiB);
  stalls.some = 0;
  stalls.stalled = true;
  const waits = drive.connect().send(request());
  stalls.give("x".repeat(size), 16 * KiB);
  assert.is(waits.beginSupply(10, Answer.Again), 0);
  drive.turn();
  assert.equal(stalls.recalls, [size - PIECE_COPY]);
  assert.ok((waits.wants[0] ?? 0) > 0);
  drive.end();
});

// ---- the order of writes -----------------------------------------------------------------------------------

supply("a pass writes live data before pieces, and at most 2 MiB of pieces", () => {
  const drive = driveOf();
  const order: Wire[] = [];
  const wires = Array.from({ length: 48 }, () => asked(drive)[0]);
  const ws = drive.webSocket();
  const answered = drive.connect().send(request());
  for (const wire of [...wires, ws, answered]) {
    const write = wire.write.bind(wire);
    wire.write = (bytes) => {
      order.push(wire);
      write(bytes);
    };
  }
  for (const wire of wires) wire.give("x".repeat(PIECE_LIMIT));
  answered.respond();
  drive.publish("live");
  drive.time();
  drive.flush();
  assert.equal(order.slice(0, 2), [ws, answered]);
  assert.is(order.length, 2 + 32, "32 pieces of 64 KiB");
  assert.equal(order.slice(2), wires.slice(0, 32), "in the order in which they were given");
  assert.is(drive.engine.get(Control.ReadyCount), 16);
  drive.flush();
  assert.equal(order.slice(34), wires.slice(32));
  drive.end();
});

supply("a pass takes at most 5 ms of pieces", () => {
  const drive = driveOf();
  const wires = Array.from({ length: 48 }, () => asked(drive)[0]);
  for (const wire of wires) {
    wire.give("x".repeat(PIECE_LIMIT));
    const write = wire.write.bind(wire);
    wire.write = (bytes) => {
      drive.now += 1;
      write(bytes);
    };
  }
  drive.flush();
  const written = wires.filter((wire) => body(wire).length > 0).length;
  assert.is(written, 8, "the clock is read after each 256 KiB");
  drive.end();
});

// ---- ends --------------------------------------------------------------------------------------------------

for (const at of ["begun", "asked", "given", "written", "stalled", "starved"] as const) {
  supply(`a connection that ends with its response ${at} releases everything`, () => {
    const drive = driveOf({ PieceBytes: 64 * KiB, Connections: 200 });
    let wire: Wire;
    if (at === "starved") wire = filled(drive, 0).at(-1) as Wire;
    else {
      wire = drive.connect().send(request());
      wire.beginSupply();
      if (at !== "begun") drive.turn();
    }
    if (at === "written" || at === "stalled") wire.stalled = true;
    if (at === "stalled") wire.some = 10;
    if (!["begun", "asked", "starved"].includes(at)) wire.give("x".repeat(2000));
    if (at === "written" || at === "stalled") drive.turn();
    wire.lose();
    assert.is(wire.give("x"), Outcome.Gone);
    for (const other of drive.wires) other.lose();
    assert.is(usedOf(drive), 0);
    drive.end();
  });
}

supply(
  "a response whose head was sent before the server stops is complete, and ends its connection",
  () => {
    const drive = driveOf();
    const [wire] = asked(drive, 3);
    drive.loop.stop();
    wire.give("abc");
    drive.turn();
    wire.conclude();
    drive.turn();
    assert.is(body(wire), "abc");
    assert.ok(wire.ended);
    drive.end();
  },
);

supply("a client that ends its side gets the whole body", () => {
  const drive = driveOf();
  const [wire] = asked(drive, 6);
  wire.finish();
  wire.give("abc");
  drive.turn();
  wire.give("def");
  drive.turn();
  wire.conclude();
  drive.turn();
  assert.is(body(wire), "abcdef");
  drive.end();
});

supply.run();
