// The driver of `ringcast/engine`: the documents of test/cases through it, and what only it does: bytes kept
// when a connection stops reading, evictions acted upon at once, callbacks that throw.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Control, Param } from "../../assembly/abi";
import type { Data } from "../../host/handler";
import { type Area, type Case, octetsOf } from "../lib/case";
import { bodies } from "../cases/bodies";
import { close } from "../cases/close";
import { control } from "../cases/control";
import { fragmentation } from "../cases/fragmentation";
import { framing } from "../cases/framing";
import { handshake } from "../cases/handshake";
import { heads } from "../cases/heads";
import { persistence } from "../cases/persistence";
import { refusals } from "../cases/refusals";
import { utf8 } from "../cases/utf8";
import { HANDSHAKE } from "../lib/handshake";
import { closeFrame, frame, lines, received, text } from "../lib/frame";
import { type End, Pipe, type Piped } from "../lib/pipe";
import { responsesOf } from "../lib/response";
import { GOOD, problemsOf } from "../suite/data";
import { describeSplit, splits } from "../lib/split";
import { type DriverEvents, loadEngine, wasmBytes } from "../../worker/embed/embed";
import { BUILDS } from "../lib/wasm";

const AREAS: readonly Area[] = [
  ...[heads, bodies, refusals, persistence, handshake],
  ...[framing, control, fragmentation, utf8, close],
];
const driver = suite("driver");
const UNTOLD = ["date", "content-type", "content-length"];
const end = (wire: Piped): End => wire.user as End;

function brief(value: string): string {
  return value.length > 40 ? `(${value.length})` : JSON.stringify(value);
}

/** Returns the driver's events for a document, in its words, without ends and without which request is the last. */
function pipeFor(area: Area): Pipe {
  const note = (wire: Piped, line: string): void => void end(wire).log.push(line);
  const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
  // Below a second nothing is announced, in documents that are about other fields.
  return new Pipe(
    { ...area.limits, KeepAliveTimeout: 500 },
    {
      request(wire, request) {
        const target = request.url.length > 40 ? `(${request.url.length})` : request.url;
        const body = latin1(request.body);
        const shown = body === "" ? "" : ` ${brief(body)}`;
        note(wire, `${request.method} ${target} ${request.httpVersion}${shown}`);
        if (request.upgrade) wire.upgrade();
        else wire.respond(200);
      },
      message(wire, data) {
        const isText = typeof data === "string";
        const size = Buffer.byteLength(data);
        const shown = size > 40 ? `(${size})` : JSON.stringify(isText ? data : latin1(data));
        note(wire, `${isText ? "text" : "binary"} ${shown}`);
      },
      ping: (wire, data) => note(wire, `ping ${brief(latin1(data))}`),
      pong: (wire, data) => note(wire, `pong ${brief(latin1(data))}`),
    },
  );
}

function expected(area: Area, [, , , log]: Case): string[] {
  const events = log
    .filter((line) => !/^(> |end |closed |peer close)/.test(line))
    .map((line) => line.replace(/ last$/, ""));
  const sent = log.filter((line) => line.startsWith("> "));
  if (area.of !== "frames") return [...events, ...sent];
  const octets = sent.map((line) => Buffer.from(octetsOf(line.slice(2))).toString("hex")).join("");
  return octets === "" ? events : [...events, octets];
}

function written(area: Area, out: Uint8Array, [, , , , options = {}]: Case): string[] {
  if (area.of === "frames") return out.length > 0 ? [Buffer.from(out).toString("hex")] : [];
  return responsesOf(Buffer.from(out).toString("latin1"), options.heads).map(
    ({ status, fields }) => {
      const shown = fields.filter(([name]) => !UNTOLD.includes(name.toLowerCase()));
      return [`> ${status}`, ...shown.map(([name, value]) => `${name}: ${value}`)].join(" | ");
    },
  );
}

for (const area of AREAS) {
  driver(`${area.name}: the documents leave their expected log, however they are cut`, () => {
    const pipe = pipeFor(area);
    for (const one of area.cases) {
      const octets = area.of === "frames" ? octetsOf(one[2]) : Buffer.from(one[2], "latin1");
      for (const pieces of splits(octets)) {
        const wire = pipe.connect();
        if (area.of === "frames") pipe.send(wire, HANDSHAKE);
        end(wire).log.length = 0;
        end(wire).out.length = 0;
        for (const piece of pieces) if (wire.isReading) pipe.send(wire, piece);
        if (one[4]?.fin) wire.ended();
        pipe.turn();
        const log = [...end(wire).log, ...written(area, end(wire).bytes, one)];
        assert.equal(log, expected(area, one), `${one[0]}: ${describeSplit(pieces)}`);
        if (!wire.isDead) wire.terminate();
      }
    }
    nothingLeft(pipe);
  });
}

/** Ends every wire; then nothing may be left. */
function nothingLeft({ driver: host, engine, turn }: Pipe): void {
  host.endAll();
  host.turn();
  void turn;
  engine.x.gauge();
  for (const index of [
    ...[Control.ReceivePoolUsed, Control.ReplyPoolUsed, Control.ConnectionCount],
    ...[Control.WebSocketCount, Control.DeadCount, Control.SubscriptionCount],
    ...[Control.SuppliedCount, Control.PieceBytesUsed],
  ]) {
    assert.is(engine.get(index), 0, Control[index]);
  }
}

function webSocket(pipe: Pipe): Piped {
  const wire = pipe.connect();
  pipe.send(wire, HANDSHAKE);
  assert.match(Buffer.from(end(wire).take()).toString("latin1"), /^HTTP\/1\.1 101 /);
  assert.ok(wire.isOpen);
  return wire;
}

driver("data is text or the bytes of a view; anything else is a TypeError", () => {
  const pipe = new Pipe();
  const wire = webSocket(pipe);
  wire.subscribe("news");
  const { driver: host } = pipe;
  const problems = problemsOf({
    send: (data, options) => wire.send(data, options),
    ping: (data) => wire.ping(data),
    broadcast: (data, options) => host.broadcast(data, options),
    publish: (data, options) => host.publish("nobody's", data, options),
  });
  assert.equal(problems, []);
  for (const { name, make, bytes } of GOOD) {
    wire.send(make() as Data, { binary: true });
    host.broadcast(make() as Data, { binary: true });
    pipe.turn();
    const due = Buffer.from([0x82, bytes.length, ...bytes]);
    assert.equal(Buffer.from(end(wire).take()), Buffer.concat([due, due]), name);
  }
  nothingLeft(pipe);
});

driver("bytes are kept while a connection does not read, and parsed when it resumes", () => {
  let waiting: Piped | undefined;
  let calls = 0;
  const pipe = new Pipe(
    {},
    {
      request(wire) {
        waiting = wire;
      },
      reading() {
        calls++;
      },
    },
  );
  const wire = pipe.connect();
  const one = "GET /abcdefgh HTTP/1.1\r\nHost: a\r\n\r\n";
  const all = one.repeat(1000);
  // The first request is pending; all the others come in one call, more than the window.
  assert.is(wire.feed(Buffer.from(one)), true);
  assert.is(wire.feed(Buffer.from(all)), false);
  assert.throws(
    () => wire.feed(Buffer.from("x")),
    /^feed: the connection is not reading; wait for the reading callback$/,
  );
  wire.ended();
  for (let i = 0; i < 1001; i++) {
    const next = waiting;
    assert.ok(next, `request ${i}`);
    waiting = undefined;
    assert.ok(next?.respond(200, [["X-Number", String(i)]], "hello"));
    assert.not(next?.respond(200), "answered twice");
    pipe.turn();
  }
  const answers = responsesOf(end(wire).text);
  assert.is(answers.length, 1001);
  assert.is(answers[1000]?.fields.find(([name]) => name === "X-Number")?.[1], "1000");
  assert.ok(end(wire).hasEnded || wire.isDead);
  assert.is(calls, 0, "an ended connection does not read again");
  nothingLeft(pipe);
});

driver("reports reading when a paused connection resumes", () => {
  let calls = 0;
  const got: string[] = [];
  const pipe = new Pipe(
    {},
    {
      reading() {
        calls++;
      },
      message: (_, data) => void got.push(String(data)),
    },
  );
  const wire = webSocket(pipe);
  wire.pause();
  // It reads on for one window, so that its end is seen.
  assert.ok(wire.isReading);
  const large = text("x".repeat(30000));
  pipe.send(wire, text("a"));
  pipe.send(wire, Buffer.concat([large, large, large]));
  assert.not(wire.isReading);
  assert.throws(() => wire.feed(text("a")), /^feed: the connection is not reading/);
  assert.equal(got, []);
  wire.resume();
  pipe.turn();
  assert.is(calls, 1);
  assert.equal(
    got.map(({ length }) => length),
    [1, 30000, 30000, 30000],
  );
  nothingLeft(pipe);
});

driver("large bodies are sent from outside, whole, and released", () => {
  const body = Buffer.alloc(300000, "0123456789");
  const pipe = new Pipe({}, { request: (wire) => void wire.respond(200, [], body) });
  const wire = pipe.connect();
  end(wire).isStalled = true;
  pipe.send(wire, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  while (end(wire).held) pipe.release(wire);
  assert.is(responsesOf(end(wire).text)[0]?.body, body.toString("latin1"));
  assert.is(wire.bodies.size, 0);
  nothingLeft(pipe);
});

driver("answers in pieces wait for room, and end", () => {
  let drained = 0;
  const pipe = new Pipe(
    {},
    {
      request: (wire) => void wire.begin(200, [["Content-Type", "text/plain"]]),
      drain: () => void drained++,
    },
  );
  const wire = pipe.connect();
  end(wire).isStalled = true;
  pipe.send(wire, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  const piece = "x".repeat(5000);
  let count = 0;
  while (wire.write(piece)) count++;
  assert.ok(count > 1);
  while (end(wire).held) pipe.release(wire);
  assert.is(drained, 1);
  assert.ok(wire.write("last"));
  assert.ok(wire.end());
  pipe.turn();
  while (end(wire).held) pipe.release(wire);
  const [, body = ""] = end(wire).text.split("\r\n\r\n");
  const hex = piece.length.toString(16);
  const chunks = `${hex}\r\n${piece}\r\n`.repeat(count);
  assert.is(end(wire).text.slice(-5), "0\r\n\r\n");
  assert.is(`${body}\r\n\r\n`, `${chunks}4\r\nlast\r\n0\r\n\r\n`);
  nothingLeft(pipe);
});

driver("bodies are streamed when they are asked for, to their end or where they break off", () => {
  const calls: string[] = [];
  const pipe = new Pipe(
    {},
    {
      streams: (_, request) => request.path === "/up",
      request(wire, request) {
        calls.push(`${request.method} ${request.path}`);
        if (request.path === "/up") wire.pull();
        else wire.respond(200, [], request.body);
      },
      body(wire, bytes) {
        calls.push(Buffer.from(bytes).toString());
        wire.pull();
      },
      bodyEnd(wire, cause) {
        calls.push(cause ?? "whole");
        if (cause === undefined) wire.respond(200, [], "got it");
      },
    },
  );
  const wire = pipe.connect();
  const head = "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n";
  pipe.send(wire, head, "abc", "def");
  pipe.send(wire, "PUT /whole HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz");
  assert.equal(
    responsesOf(end(wire).text).map(({ body }) => body),
    ["got it", "xyz"],
  );
  pipe.send(wire, head, "abc");
  wire.lost();
  pipe.turn();
  assert.equal(calls, [
    "POST /up",
    "abc",
    "def",
    "whole",
    "PUT /whole",
    "POST /up",
    "abc",
    "PeerReset",
  ]);
  assert.is(end(wire).info?.cause, "PeerReset");
  nothingLeft(pipe);
});

driver("publications reach all clients, topics their subscribers, and no excepted client", () => {
  const pipe = new Pipe();
  const [a, b, c] = [webSocket(pipe), webSocket(pipe), webSocket(pipe)];
  assert.ok(a.subscribe("t") && c.subscribe("t") && c.subscribe("u") && c.unsubscribe("u"));
  assert.ok(pipe.driver.broadcast("all"));
  assert.ok(pipe.driver.publish("t", Uint8Array.of(1), { except: a }));
  assert.ok(pipe.driver.publish("u", "nobody"));
  assert.is(pipe.driver.position(), "00000000-00000000003");
  assert.is(pipe.driver.stats().position, pipe.driver.position());
  assert.ok(b.send("one"));
  pipe.turn();
  const got = (wire: Piped): string[] => lines(end(wire).bytes);
  assert.equal(got(a), ["text all"]);
  assert.equal(got(b), ["text all", "text one"]);
  assert.equal(got(c), ["text all", "binary \x01"]);
  nothingLeft(pipe);
});

driver("a request becomes an event stream, which publications and messages reach", () => {
  const fields = [["Cache-Control", "no-store"]] as const;
  const pipe = new Pipe(
    { EventRingBytes: 8192, ScratchBytes: 4096 },
    { request: (wire) => assert.ok(wire.openEvents(fields)) },
  );
  const wire = pipe.connect();
  pipe.send(wire, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  assert.ok(pipe.driver.broadcast("a\nb"));
  const position = pipe.driver.position();
  assert.ok(wire.send("own"));
  assert.ok(wire.send(`${"x".repeat(5000)}\r\ny`));
  assert.not.ok(wire.ping());
  assert.ok(wire.close(1000, "enough"));
  pipe.turn();
  const [head = "", body = ""] = end(wire).text.split("\r\n\r\n");
  assert.match(
    head,
    /^HTTP\/1\.1 200 OK\r\nContent-Type: text\/event-stream\r\nCache-Control: no-store\r\n/,
  );
  const events = body.replace(/^retry: \d{4}\n\n/, "").split("\n\n");
  assert.equal(events, [
    `id: ${position}\ndata: a\ndata: b`,
    "data: own",
    `data: ${"x".repeat(5000)}\ndata: y`,
    'event: ringcast-close\ndata: {"code":1000,"reason":"enough"}',
    "",
  ]);
});

driver("messages larger than the scratch region are sent and published whole", () => {
  const pipe = new Pipe({ RingBytes: 262144, ReplyPoolBytes: 1048576, Backlog: 200000 });
  const wire = webSocket(pipe);
  const large = Buffer.alloc(150000, "abc");
  assert.ok(pipe.driver.broadcast(large));
  assert.ok(wire.send(large));
  assert.throws(() => pipe.driver.broadcast(new Uint8Array(300000)), /larger than the ring/);
  pipe.turn();
  assert.equal(
    received(end(wire).bytes).map(({ payload }) => Buffer.from(payload).equals(large)),
    [true, true],
  );
  nothingLeft(pipe);
});

driver("a client that lags by a ring is reset at once, and reported with the next turn", () => {
  const pipe = new Pipe();
  const [fast, slow] = [webSocket(pipe), webSocket(pipe)];
  end(slow).isStalled = true;
  const more = webSocket(pipe);
  for (let i = 0; i < 40 && !slow.isDead; i++) {
    // Refused while the slow one has its grace.
    pipe.driver.broadcast("x".repeat(500));
    if (!slow.isDead) pipe.turn(50);
  }
  assert.ok(slow.isDead);
  assert.is(end(slow).shut, "reset");
  assert.is(end(slow).info, undefined);
  pipe.turn();
  assert.is(end(slow).info?.cause, "WsClientTooSlow");
  assert.ok(fast.isOpen && more.isOpen);
  assert.not(slow.send("late"));
  nothingLeft(pipe);
});

driver("an exception of a callback is thrown when everything else is done", () => {
  const got: string[] = [];
  const pipe = new Pipe(
    {},
    {
      message(_, data) {
        got.push(String(data));
        if (data === "bad") throw new Error("as asked");
      },
    },
  );
  const wire = webSocket(pipe);
  const frames = Buffer.concat([text("bad"), text("good"), text("bad")]);
  assert.throws(() => wire.feed(frames), /callbacks threw/);
  assert.equal(got, ["bad", "good", "bad"]);
  assert.throws(() => wire.feed(text("bad")), /as asked/);
  pipe.send(wire, text("on"));
  assert.is(got.pop(), "on");
  nothingLeft(pipe);
});

driver("events of the transport within a callback are processed with the next turn", () => {
  const got: string[] = [];
  let other: Piped | undefined;
  const pipe = new Pipe(
    {},
    {
      message(wire, data) {
        got.push(String(data));
        if (data !== "go") return;
        assert.ok(!other?.feed(text("inner")), "asks to wait");
        assert.throws(() => pipe.driver.turn(), /within a callback/);
        assert.throws(() => pipe.driver.accept(), /within a callback/);
        wire.ended();
        got.push("went");
      },
    },
  );
  const wire = webSocket(pipe);
  other = webSocket(pipe);
  pipe.send(wire, text("go"));
  assert.equal(got, ["go", "went", "inner"]);
  assert.is(end(wire).info?.cause, "PeerEnded");
  nothingLeft(pipe);
});

driver("a closing handshake, a ping, and deadlines", () => {
  const pongs: string[] = [];
  const pipe = new Pipe({}, { pong: (_, data) => void pongs.push(Buffer.from(data).toString()) });
  const wire = webSocket(pipe);
  assert.throws(() => wire.close(1005), RangeError);
  assert.throws(() => wire.ping(new Uint8Array(126)), RangeError);
  assert.ok(wire.ping("hey"));
  pipe.send(wire, frame(10, "hey"));
  assert.equal(pongs, ["hey"]);
  assert.ok(wire.close(3000, "enough"));
  assert.not(wire.isOpen);
  pipe.send(wire, closeFrame(3000));
  assert.equal(lines(end(wire).bytes), ["ping hey", "close 3000 enough"]);
  assert.ok(end(wire).hasEnded);
  const late = pipe.connect();
  pipe.send(late, "GET / HT");
  const next = pipe.turn();
  assert.ok(next > 0 && next <= 10000, `${next} ms`);
  pipe.turn(10000);
  assert.is(responsesOf(end(late).text)[0]?.status, 408);
  assert.is(end(wire).info?.code, 3000);
  nothingLeft(pipe);
});

/** Runs clients that receive a large response and acknowledge it at `rates` bytes a second, until `ms` have passed. */
function reading(rates: readonly number[], ms: number, more: Partial<DriverEvents<End>>): Piped[] {
  const limits = { WriteTimeout: 4000, MinSendRate: 0, RunBytes: 262144 };
  const began = 1000;
  const pipe: Pipe = new Pipe(limits, {
    request: (wire) => void wire.respond(200, [], new Uint8Array(200000)),
    ...more,
  });
  const wires = rates.map((rate) => {
    const wire = pipe.connect();
    Object.assign(end(wire), { isStalled: true });
    rateOf.set(wire, () => 200000 - (rate * (pipe.now - began)) / 1000);
    pipe.send(wire, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    return wire;
  });
  for (let next = pipe.turn(); next >= 0 && pipe.now - began + next < ms; )
    next = pipe.turn(Math.max(1, next));
  return wires;
}

/** Bytes that a client has not acknowledged by now. */
const rateOf = new WeakMap<Piped, () => number>();

driver("a slow reader survives where the host knows its acknowledged bytes", () => {
  let asked = 0;
  const queued = (wire: Piped): number => {
    asked++;
    return Math.round(rateOf.get(wire)?.() as number);
  };
  const [slow, gone] = reading([100, 0], 60000, { queued }) as [Piped, Piped];
  assert.not(slow.isDead, "100 bytes a second are progress");
  assert.is(end(gone).info?.cause, "WriteTimeout");
  assert.ok(asked <= 2 * 60, `asked ${asked} times in a minute`);
  const [, same] = reading([100, 100], 60000, {}) as [Piped, Piped];
  assert.is(end(same).info?.cause, "WriteTimeout", "without it completions count alone");
  const [unknown] = reading([100], 60000, { queued: () => undefined }) as [Piped];
  assert.is(end(unknown).info?.cause, "WriteTimeout");
});

driver("checks the result of `queued`, and an error ends nothing else", () => {
  for (const value of [-1, 0.5, Number.NaN, "5", 1n, 2 ** 32, null]) {
    assert.throws(
      () => reading([100], 60000, { queued: () => value as number }),
      /^queued: .* is not a number of bytes from 0 to 4294967294$/,
    );
  }
  assert.throws(() => new Pipe({}, { queued: 5 as never }), /^events.queued: 5 is not a function$/);
});

driver("answers are checked before anything is sent", () => {
  const pipe = new Pipe({}, { request: () => undefined });
  const wire = pipe.connect();
  pipe.send(wire, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  assert.throws(() => wire.respond(99), RangeError);
  assert.throws(() => wire.respond(200, [["a b", "c"]]), TypeError);
  assert.throws(() => wire.respond(200, [["a", "b\r\nc: d"]]), TypeError);
  assert.throws(() => wire.respond(200, [["Content-Length", "5"]]), TypeError);
  assert.ok(wire.respond(204));
  pipe.turn();
  assert.is(responsesOf(end(wire).text)[0]?.status, 204);
  nothingLeft(pipe);
});

/** Returns a body of digits that notes its reads and its end. */
function digits(size: number, log: string[], isLater = false) {
  return {
    size,
    read(start: number, to: number): Uint8Array | Promise<Uint8Array> {
      log.push(`read ${start} ${to}`);
      const bytes = Uint8Array.from({ length: to - start }, (_, i) => 48 + ((start + i) % 10));
      return isLater ? Promise.resolve(bytes) : bytes;
    },
    close: () => void log.push("close"),
  };
}

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

driver("a body comes from a source as fast as the peer takes it, for several requests", () => {
  const log: string[] = [];
  const pipe = new Pipe(
    {},
    {
      request: (wire) => void wire.respondFrom(200, [], digits(100000, log)),
    },
  );
  const wire = pipe.connect();
  end(wire).isStalled = true;
  pipe.send(wire, GET + GET);
  assert.is(log.length, 1);
  while (end(wire).held) pipe.release(wire);
  const answers = responsesOf(end(wire).text);
  assert.is(answers.length, 2);
  for (const { body } of answers) assert.is(body, "0123456789".repeat(10000));
  assert.equal([log[0], log.at(-1)], ["read 0 65536", "close"]);
  nothingLeft(pipe);
});

driver(
  "sources that answer later have `due` called, and the body is sent by the next turn",
  async () => {
    let dues = 0;
    const log: string[] = [];
    const pipe = new Pipe(
      {},
      {
        request: (wire) => void wire.respondFrom(200, [], digits(100000, log, true)),
        due: () => void dues++,
      },
    );
    const wire = pipe.connect();
    assert.is(dues, 1);
    pipe.send(wire, GET);
    const before = dues;
    for (let i = 0; i < 20 && !log.includes("close"); i++) {
      await new Promise((resolve) => setImmediate(resolve));
      assert.ok(dues <= before + i + 1, "once for each turn");
      pipe.turn();
    }
    assert.ok(dues > before);
    assert.is(responsesOf(end(wire).text)[0]?.body, "0123456789".repeat(10000));
    nothingLeft(pipe);
  },
);

driver("pieces that come once are framed, and HEAD needs none", async () => {
  const items = ["one", "two", "three"];
  const closes: string[] = [];
  const pipe = new Pipe(
    {},
    {
      request(wire, { method }) {
        const pieces = items.map((item) => Buffer.from(item));
        const source = { next: () => pieces.shift(), close: () => void closes.push(method) };
        wire.respondFrom(200, [["Content-Type", "text/plain"]], source, { close: true });
      },
    },
  );
  for (const method of ["GET", "HEAD"]) {
    const wire = pipe.connect();
    pipe.send(wire, GET.replace("GET", method));
    await new Promise((resolve) => setImmediate(resolve));
    pipe.turn();
    const [answer] = responsesOf(end(wire).text, method === "HEAD" ? [0] : []);
    assert.is(answer?.body, method === "GET" ? "onetwothree" : "");
    assert.ok(end(wire).hasEnded);
  }
  assert.equal(closes, ["GET", "HEAD"]);
  nothingLeft(pipe);
});

driver(
  "a source that fails resets the connection, and the next turn throws its error",
  async () => {
    let closes = 0;
    const failing = {
      size: 10,
      read: () => Promise.reject(new Error("no such block")),
      close: () => void closes++,
    };
    const pipe = new Pipe({}, { request: (wire) => void wire.respondFrom(200, [], failing) });
    const wire = pipe.connect();
    pipe.send(wire, GET);
    await new Promise((resolve) => setImmediate(resolve));
    assert.throws(() => pipe.turn(), /no such block/);
    assert.is(end(wire).shut, "reset");
    assert.is(end(wire).info?.cause, "HandlerError");
    assert.is(closes, 1);
    nothingLeft(pipe);
  },
);

driver("a source is closed when its connection ends, and when there is no request", () => {
  const log: string[] = [];
  const pipe = new Pipe(
    {},
    {
      request: (wire) => void wire.respondFrom(200, [], digits(1e6, log)),
    },
  );
  const wire = pipe.connect();
  end(wire).isStalled = true;
  pipe.send(wire, GET);
  wire.lost();
  pipe.turn();
  assert.equal(log, ["read 0 65536", "close"]);
  assert.not.ok(wire.respondFrom(200, [], digits(5, log)));
  assert.equal(log.slice(2), ["close"]);
  nothingLeft(pipe);
});

driver("sources are checked before anything is sent", () => {
  const pipe = new Pipe({}, { request: () => undefined });
  const wire = pipe.connect();
  pipe.send(wire, GET);
  const nothing = (): undefined => undefined;
  const read = (): Uint8Array => new Uint8Array(1);
  const wrong: [unknown, RegExp][] = [
    [undefined, /^source: must have either read/],
    [{}, /^source: must have either read/],
    [{ next: nothing }, /^source: must have .* close\(\)$/],
    [{ next: nothing, read, size: 1, close: nothing }, /^source: must have either/],
    [{ read, close: nothing }, /^source.size: undefined is not a whole number/],
    [{ read, size: -1, close: nothing }, /^source.size: -1 is not a whole number from 0/],
    [{ next: nothing, size: 0.5, close: nothing }, /^source.size: 0.5 is not/],
  ];
  for (const [source, message] of wrong)
    assert.throws(() => wire.respondFrom(200, [], source as never), message);
  assert.throws(() => wire.respondFrom(99, [], digits(1, [])), /^status: 99/);
  assert.ok(wire.respond(204));
  assert.throws(() => new Pipe({}, { due: 5 as never }), /^events.due: 5 is not a function$/);
  nothingLeft(pipe);
});

driver("error pages are the bodies of refusals, and of responses without a body", () => {
  const answers: Parameters<Piped["respond"]>[] = [
    [404],
    [404, [["Content-Type", "text/csv"]]],
    [404, [], "mine"],
    [418],
    [200],
  ];
  const pipe = new Pipe(
    { KeepAliveTimeout: 500 },
    {
      request: (wire, { path }) => void wire.respond(...(answers[Number(path.slice(1))] as [404])),
    },
  );
  const body = new Uint8Array(Buffer.from("<p>none</p>"));
  pipe.driver.setErrorPages({
    400: { type: "text/plain", body: "wrong" },
    404: { type: "text/html", body },
  });
  body.fill(0);
  const asked = (text: string, method = "GET"): string[] => {
    const wire = pipe.connect();
    pipe.send(wire, text);
    const [response] = responsesOf(end(wire).text, method === "HEAD" ? [0] : []);
    assert.ok(response);
    const field = (name: string): string =>
      response.fields.find(([one]) => one.toLowerCase() === name)?.[1] ?? "";
    wire.lost();
    pipe.turn();
    const { status, body: page } = response;
    return [`${status}`, field("content-type"), field("content-length"), page];
  };
  const ask = (i: number, method = "GET"): string[] =>
    asked(`${method} /${i} HTTP/1.1\r\nHost: a\r\n\r\n`, method);
  assert.equal(ask(0), ["404", "text/html", "11", "<p>none</p>"]);
  assert.equal(ask(0, "HEAD"), ["404", "text/html", "11", ""]);
  assert.equal(ask(1), ["404", "text/csv", "0", ""]);
  assert.equal(ask(2), ["404", "", "4", "mine"]);
  assert.equal(ask(3), ["418", "", "0", ""]);
  assert.equal(ask(4), ["200", "", "0", ""]);
  const bad = "Host: a\r\nHost: b\r\n\r\n";
  assert.equal(asked(`GET / HTTP/1.1\r\n${bad}`), ["400", "text/plain", "5", "wrong"]);
  assert.equal(asked(`HEAD / HTTP/1.1\r\n${bad}`, "HEAD"), ["400", "text/plain", "5", ""]);
  const page = { type: "text/html", body: "x" };
  const wrong: [unknown, RegExp][] = [
    [{ 404: page, 399: page }, /^errorPages: "399" is not a status from 400 to 599$/],
    [{ 404: { ...page, body: "" } }, /^errorPages\[404\]: body has 0 bytes, not from 1 to 65536$/],
    [{ 404: { ...page, type: "a\nb" } }, /^errorPages\[404\].type: .* is not a media type/],
    [{ 404: "404.html" }, /^errorPages\[404\]: .* is a file, and there are none here/],
    [null, /^errorPages: null is not an object/],
  ];
  for (const [pages, message] of wrong)
    assert.throws(() => pipe.driver.setErrorPages(pages as never), message);
  assert.equal(ask(0), ["404", "text/html", "11", "<p>none</p>"]);
  nothingLeft(pipe);
});

driver("loads from bytes, a module, a Response or a URL, and names the fault", async () => {
  const bytes = BUILDS.release;
  const url = `data:application/wasm;base64,${Buffer.from(bytes).toString("base64")}`;
  const sources = [
    ...[undefined, bytes, new WebAssembly.Module(bytes), new Response(bytes)],
    ...[
      wasmBytes(),
      url,
      new URL(url),
      bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length),
    ],
  ];
  const few = { maxConnections: 10, maxWebSockets: 10, ring: 4096 };
  for (const wasm of sources) {
    const engine = await loadEngine(wasm === undefined ? few : { ...few, wasm });
    assert.is(engine.params[Param.Connections], 10);
    assert.is(engine.params[Param.RingBytes], 4096);
    assert.ok((engine.params[Param.Seed] as number) > 0);
  }
  const fails = async (options: object, message: RegExp): Promise<void> => {
    const error = await loadEngine(options).then(
      () => undefined,
      (thrown: Error) => thrown,
    );
    assert.match(error?.message ?? "nothing was thrown", message);
  };
  await fails({ ring: 5000 }, /^ring: 5000 is not a power of two/);
  await fails({ port: 80 }, /^port: an engine has no such option/);
  await fails({ perMessageDeflate: true }, /^perMessageDeflate: an engine has no such option/);
  await fails({ params: { Nothing: 1 } }, /^params.Nothing: there is no such parameter/);
  await fails({ wasm: 5 }, /^wasm: must be/);
  await fails({ wasm: new Response("", { status: 404 }) }, /^wasm: .*404/);
  assert.is((await loadEngine({ ...few, params: { Seed: 7 } })).params[Param.Seed], 7);
});

driver.run();
