// Connections that need not be HTTP, and connections taken out of HTTP: the verdict about the first bytes, each byte
// handed over once, and the ends of released connections.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Arrival, CloseReason, Control, Outcome, Param, Piping } from "../../assembly/abi";
import type { EngineParams } from "../../worker/engine/engine";
import { type Bytes, Drive, type Wire, octets } from "../lib/drive";
import { HANDSHAKE } from "../lib/handshake";
import { describeSplit, splits } from "../lib/split";

const release = suite("release");

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const SILENCE = 3000;

const driveOf = (params: EngineParams = {}): Drive => new Drive({ RawTimeout: SILENCE, ...params });
const anyOf = (drive: Drive): Wire => drive.connect("", Arrival.Any);

/** Runs each split of an input, and returns the log of the last, which must be that of all. */
function logOf(input: Bytes, params: EngineParams = {}): string[] {
  let last: string[] | undefined;
  for (const pieces of splits(octets(input))) {
    const drive = driveOf(params);
    const wire = anyOf(drive).send(...pieces);
    last ??= [...wire.log];
    assert.equal(wire.log, last, describeSplit(pieces));
    if (wire.isReleased) assert.is(wire.taken, Buffer.from(octets(input)).toString("latin1"));
    drive.end();
  }
  return last ?? [];
}

// ---- what the first bytes decide ---------------------------------------------------------------------

for (const [what, input, at] of [
  ["an SSH client", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", 8],
  ["a TLS ClientHello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 1],
  ["a NUL", "\0abc", 1],
  ["an octet over 127", "\xffSMB", 1],
  ["a bare LF", "\nGET / HTTP/1.1\r\n", 1],
  ["a space", " GET / HTTP/1.1\r\n", 1],
  ["JSON", '{"jsonrpc":"2.0"}\n', 1],
  ["SMTP", "EHLO client.example\r\n", 20],
  ["a word and an end of line", "QUIT\r\n", 5],
  ["a word that is not a token", "US@R x y\r\n", 3],
  ["an HTTP/0.9 request", "GET /\r\n", 6],
  ["two spaces before the target", "GET  / HTTP/1.1\r\n", 5],
  ["two spaces after the target", "GET /  HTTP/1.1\r\n", 7],
  ["a target with a NUL", "GET /\0 HTTP/1.1\r\n", 6],
  ["a target with an octet over 127", "GET /\xe9 HTTP/1.1\r\n", 6],
  ["another protocol after the target", "GET / ICY/1.0\r\n", 7],
  ["HTTP without a slash", "GET / HTTPS/1.1\r\n", 11],
  ["HTTP in lower case", "GET / http/1.1\r\n", 7],
  ["a response", "HTTP/1.1 200 OK\r\n", 5],
  ["eight octets that begin no method", "GETXXXXX / HTTP/1.1\r\n", 8],
  ["a method with one octet more", "SUBSCRIBED / HTTP/1.1\r\n", 10],
  ["empty lines before it", "\r\n\r\nSSH-2.0-x\r\n", 12],
  ["a CR alone", "\rSSH\r\n", 2],
] as const) {
  release(`${what}: it is handed over at its octet ${at}, with all before it`, () => {
    assert.equal(logOf(input), ["foreign"]);
    const drive = driveOf();
    const wire = anyOf(drive);
    for (const [i, octet] of [...input].entries()) {
      wire.send(octet);
      assert.is(wire.isReleased, i + 1 >= at, `after octet ${i + 1}`);
    }
    drive.end();
  });
}

for (const [what, line, result] of [
  ["a request", "GET / HTTP/1.1", "GET / 1.1"],
  ["empty lines before it", "\r\n\r\nGET / HTTP/1.1", "GET / 1.1"],
  ["a long method", "VERSION-CONTROL /a HTTP/1.1", "VERSION-CONTROL /a 1.1"],
  ["an unknown method", "GETX / HTTP/1.1", "end UnknownMethod"],
  ["an unknown method of seven octets", "A1!#$-_ / HTTP/1.1", "end UnknownMethod"],
  ["the start of a method", "SUBSCRIB / HTTP/1.1", "end UnknownMethod"],
  ["CONNECT", "CONNECT a:80 HTTP/1.1", "end UnknownMethod"],
  ["an unknown version", "GET / HTTP/3.0", "end UnsupportedVersion"],
  ["a version that is none", "GET / HTTP/x", "end BadRequest"],
  ["the preface of HTTP/2", "PRI * HTTP/2.0", "end UnsupportedVersion"],
  ["a target that is none", "GET a HTTP/1.1", "end BadRequest"],
  ["a target that is too long", `GET /${"a".repeat(1100)} HTTP/1.1`, "end PathTooLong"],
  ["a target that is too long to end", `GET /${"a".repeat(1200)}`, "end PathTooLong"],
] as const) {
  release(`${what}: it is HTTP, however it is cut`, () => {
    const input = octets(`${line}\r\nHost: a\r\n\r\n`);
    const drive = driveOf();
    const step = input.length > 300 ? 97 : 1;
    for (let cut = 0; cut < input.length; cut += step) {
      const wire = anyOf(drive).send(input.subarray(0, cut), input.subarray(cut));
      assert.is(wire.log[0], result, `cut at ${cut}`);
      wire.lose();
    }
    const wire = anyOf(drive);
    for (const octet of input) wire.send(Uint8Array.of(octet));
    assert.is(wire.log[0], result);
    drive.end();
  });
}

release("the first request decides: bytes that are not HTTP are refused after it", () => {
  const drive = driveOf();
  const wire = anyOf(drive).send(GET, "SSH-2.0-x\r\n");
  assert.equal(wire.log, ["GET / 1.1", "end BadRequest"]);
  const piped = anyOf(drive).send(`${GET}\x16\x03\x01`);
  assert.equal(piped.log, ["GET / 1.1", "end BadRequest"]);
  drive.end();
});

release("a WebSocket opens as on any other connection", () => {
  const drive = driveOf();
  const wire = anyOf(drive).send(HANDSHAKE);
  assert.match(wire.text, /^HTTP\/1\.1 101 /);
  drive.end();
});

release("a connection that must be HTTP is refused", () => {
  const drive = driveOf();
  const wire = drive.connect().send("SSH-2.0-x\r\n");
  assert.equal(wire.log, ["end BadRequest"]);
  drive.after(SILENCE * 2);
  assert.equal(drive.connect().log, []);
  drive.end();
});

release("empty lines without end are handed over at the limit of a request line", () => {
  const drive = driveOf();
  const wire = anyOf(drive);
  const lines = "\r\n".repeat(544);
  wire.send(lines);
  assert.equal(wire.log, []);
  wire.send("\r\n");
  assert.equal(wire.log, ["foreign"]);
  assert.is(wire.taken, `${lines}\r\n`);
  drive.end();
});

// ---- silence -----------------------------------------------------------------------------------------

for (const [what, sent] of [
  ["nothing", ""],
  ["empty lines", "\r\n\r\n"],
  ["half of an empty line", "\r"],
  ["a part of a method", "GE"],
  ["a part of a request line", "GET / HTT"],
] as const) {
  release(`a client that sent ${what} is handed over after its silence`, () => {
    const drive = driveOf();
    const wire = anyOf(drive);
    drive.after(SILENCE - 1);
    wire.send(sent);
    if (sent !== "") drive.after(SILENCE - 1);
    assert.equal(wire.log, []);
    drive.after(1);
    assert.equal(wire.log, ["foreign"]);
    assert.is(wire.taken, sent);
    wire.send("after it");
    assert.is(wire.taken, `${sent}after it`);
    drive.end();
  });
}

release("a client that began a request has the time of a head", () => {
  const drive = driveOf();
  const wire = anyOf(drive).send("GET / HTTP/");
  drive.after(9999);
  assert.equal(wire.log, []);
  drive.after(1);
  assert.equal(wire.log, ["end HeadTimeout"]);
  drive.end();
});

release("a client that drips octets that may be a request has the time of a head", () => {
  const drive = driveOf();
  const wire = anyOf(drive).send("GET /");
  for (let ms = 0; ms < 9900; ms += 100) {
    drive.after(100);
    wire.send("a");
  }
  assert.equal(wire.log, []);
  drive.after(100);
  assert.equal(wire.log, ["end HeadTimeout"]);
  drive.end();
});

release("without a limit silence decides nothing", () => {
  const drive = driveOf({ RawTimeout: 0 });
  const wire = anyOf(drive);
  drive.after(9999);
  assert.equal(wire.log, []);
  drive.after(1);
  assert.equal(wire.log, ["end HeadTimeout"]);
  drive.end();
});

release("the limit may change", () => {
  const drive = driveOf();
  const wire = anyOf(drive);
  drive.loop.configure(Param.RawTimeout, 500);
  drive.after(499);
  assert.equal(wire.log, []);
  drive.after(1);
  assert.equal(wire.log, ["foreign"]);
  drive.end();
});

release("after a PROXY header the bytes and the silence count from its end", () => {
  const drive = driveOf();
  const header = "PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n";
  const [silent, client] = [0, 1].map(() => drive.connect("", Arrival.Proxied | Arrival.Any));
  drive.after(SILENCE + 1);
  assert.equal(silent?.log, [], "no silence before the header");
  silent?.send(header);
  client?.send(`${header}SSH-2.0-x\r\n`);
  assert.equal(client?.log, ["proxied 192.0.2.1", "foreign"]);
  assert.is(client?.taken, "SSH-2.0-x\r\n");
  drive.after(SILENCE - 1);
  assert.equal(silent?.log, ["proxied 192.0.2.1"]);
  drive.after(1);
  assert.equal(silent?.log, ["proxied 192.0.2.1", "foreign"]);
  assert.is(silent?.taken, "");
  drive.end();
});

release("before TLS no silence counts", () => {
  const drive = driveOf();
  const wire = drive.connect("", Arrival.Unsecured | Arrival.Any);
  drive.after(SILENCE * 2);
  assert.equal(wire.log, []);
  drive.loop.secured(wire);
  drive.after(SILENCE - 1);
  assert.equal(wire.log, []);
  drive.after(1);
  assert.equal(wire.log, ["foreign"]);
  drive.end();
});

release("the end of the client's side decides about bytes that may be a request", () => {
  const drive = driveOf();
  assert.equal(anyOf(drive).send("GET").finish().log, ["foreign"]);
  assert.equal(anyOf(drive).send("\r\n").finish().log, ["foreign"]);
  assert.equal(anyOf(drive).finish().log, ["closed PeerClosed"]);
  drive.end();
});

// ---- where the bytes are -----------------------------------------------------------------------------

release("bytes that found no buffer are handed over after the others, in order", () => {
  for (const early of [0, 400]) {
    const drive = driveOf({ ReceivePoolBytes: 8192, WindowBytes: 512, Connections: 16 });
    const wire = anyOf(drive);
    const sent = `GET /${"a".repeat(700)}`;
    wire.send(sent.slice(0, early));
    const holders = [drive.connect()];
    while (!holders.at(-1)?.send("GET").rest) holders.push(drive.connect());
    wire.send(sent.slice(early), `${"b".repeat(300)}\r\n${"more".repeat(500)}`);
    assert.ok(wire.rest, "it waits for a buffer");
    for (const one of holders) one.lose();
    assert.equal(wire.log, ["foreign"]);
    assert.is(wire.taken, `${sent}${"b".repeat(300)}\r\n${"more".repeat(500)}`);
    drive.end();
  }
});

release("a pending request is taken out with the bytes that follow it", () => {
  for (const rest of ["", "\0\x01pipelined", "x".repeat(9000)]) {
    for (const pieces of [[`${GET}${rest}`], [GET, rest]]) {
      const drive = driveOf();
      drive.answer = () => undefined;
      const wire = drive.connect().send(...pieces);
      assert.is(wire.release(), Outcome.Ok);
      assert.is(wire.taken, rest);
      assert.is(drive.engine.get(Control.Requests), 1);
      wire.send("later");
      assert.is(wire.taken, `${rest}later`);
      drive.end();
    }
  }
});

release("within the event of a request, too", () => {
  const drive = driveOf();
  drive.answer = (wire) => {
    assert.is(wire.release(), Outcome.Ok);
  };
  const wire = drive.connect().send(`${GET}and more`);
  assert.is(wire.taken, "and more");
  assert.equal(wire.log, ["GET / 1.1"]);
  const later = drive.connect().send("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r", "\n\r\nand more");
  assert.is(later.taken, "and more");
  drive.end();
});

release("no other connection is taken out", () => {
  const drive = driveOf();
  drive.answer = () => undefined;
  assert.is(drive.connect().release(), Outcome.Invalid);
  assert.is(drive.connect().send("GET").release(), Outcome.Invalid);
  assert.is(anyOf(drive).release(), Outcome.Invalid);
  const begun = drive.connect().send(GET);
  begun.begin();
  assert.is(begun.release(), Outcome.Invalid);
  drive.streamed(() => true);
  const upload = drive.connect().send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx");
  assert.is(upload.release(), Outcome.Invalid);
  const gone = drive.connect().lose();
  assert.is(gone.release(), Outcome.Gone);
  drive.end();
});

release("a WebSocket is not taken out", () => {
  const drive = driveOf();
  assert.is(drive.webSocket().release(), Outcome.Gone);
  drive.end();
});

release("at most half of the slots are taken out of HTTP", () => {
  const drive = driveOf();
  const outcomes: Outcome[] = [];
  drive.foreign = (wire) => {
    outcomes.push(wire.release());
    if (!wire.isReleased) drive.loop.terminate(wire, CloseReason.NoRoom);
  };
  const wires = Array.from({ length: 6 }, () => anyOf(drive).send("\0"));
  const { Ok, Full } = Outcome;
  assert.equal(outcomes, [Ok, Ok, Ok, Ok, Full, Full]);
  assert.is(drive.engine.get(Control.Pipes), 4);
  assert.is(drive.engine.get(Control.Released), 4);
  wires[1]?.lose();
  anyOf(drive).send("\0");
  assert.is(outcomes.at(-1), Ok, "one has left");
  assert.is(drive.engine.get(Control.Released), 5);
  drive.end();
  assert.is(drive.engine.get(Control.Pipes), 0);
});

release("a server of one slot may give it away", () => {
  const drive = driveOf({ Connections: 1 });
  assert.ok(anyOf(drive).send("\0").isReleased);
  drive.end();
});

release("released connections make no room, and count for their address", () => {
  const drive = driveOf({ Connections: 4, AddressConnections: 2 });
  const wires = ["a", "b"].map(() => drive.connect("192.0.2.1", Arrival.Any).send("\0"));
  assert.is(drive.tryConnect("192.0.2.1"), undefined);
  wires[0]?.finish();
  drive.connect();
  drive.connect();
  drive.after(6000);
  assert.ok(drive.tryConnect() || drive.tryConnect(), "another one makes room");
  assert.equal(
    wires.map(({ dead }) => dead),
    [false, false],
  );
  drive.end();
});

// ---- bytes to the client -----------------------------------------------------------------------------

release("bytes are poured after the responses that are queued", () => {
  const drive = driveOf();
  const wire = drive.connect();
  wire.stalled = true;
  drive.answer = (_, { target }) => {
    if (target === "/last") return;
    wire.respond(200, { body: "first" });
  };
  wire.send(GET, "GET /last HTTP/1.1\r\nHost: a\r\n\r\n");
  assert.is(wire.release(), Outcome.Ok);
  assert.is(wire.pour("poured"), Outcome.Full);
  assert.is(wire.drains, 0);
  wire.deliver();
  assert.is(wire.drains, 1);
  assert.is(wire.pour("poured"), Outcome.Ok);
  assert.is(wire.pour("second"), Outcome.Full, "one write at a time");
  wire.deliver();
  assert.is(wire.pour("second"), Outcome.Ok);
  wire.deliver();
  assert.match(wire.text, /first.*pouredsecond$|firstpouredsecond$/s);
  assert.is(drive.engine.get(Control.BytesOut), wire.out.length);
  drive.end();
});

release("a Drain follows where the quota of the address delays others", () => {
  const drive = driveOf({ AddressReplyBytes: 262144 });
  const wire = drive.connect("192.0.2.1");
  const other = drive.connect("192.0.2.1");
  drive.answer = (asking) => {
    if (asking === other) asking.respond(200, { body: "x".repeat(60000) });
  };
  for (const one of [wire, other]) one.stalled = true;
  wire.send(GET);
  drive.answer = (asking) => void asking.respond(200, { body: "y".repeat(60000) });
  other.send(GET);
  wire.respond(200, { body: "first" });
  drive.answer = () => undefined;
  drive.turn();
  wire.send(GET);
  assert.is(wire.release(), Outcome.Ok);
  assert.is(wire.pour("poured"), Outcome.Full);
  wire.unstall();
  other.unstall();
  drive.turn();
  assert.is(wire.pour("poured"), Outcome.Ok);
  assert.match(wire.text, /poured$/);
  drive.end();
});

// ---- ends --------------------------------------------------------------------------------------------

/** Returns a released connection whose upstream is open, unless `opens` says otherwise. */
function piped(drive: Drive, opens = 0): Wire {
  drive.foreign = (wire) => {
    assert.is(wire.release(opens), Outcome.Ok);
  };
  const wire = anyOf(drive).send("\0");
  wire.log.length = 0;
  return wire;
}

release("an upstream that is not open in time ends it in order", () => {
  const drive = driveOf();
  const wire = piped(drive, 700);
  drive.after(699);
  assert.equal(wire.log, []);
  drive.after(1);
  assert.equal(wire.log, ["end UpstreamTimeout"]);
  wire.finish();
  assert.equal(wire.log, ["end UpstreamTimeout", "closed UpstreamTimeout"]);
  assert.not(wire.reset);
  const open = piped(drive, 700);
  drive.loop.piping(open, Piping.Opened);
  drive.after(59999);
  assert.equal(open.log, []);
  drive.end();
});

release("silence in both directions ends it", () => {
  const drive = driveOf();
  const wire = piped(drive);
  drive.after(50000);
  wire.send("in");
  drive.after(50000);
  wire.pour("out");
  drive.after(50000);
  drive.loop.piping(wire, Piping.Moved);
  drive.after(59999);
  assert.equal(wire.log, []);
  drive.after(1);
  assert.equal(wire.log, ["closed IdleTimeout"]);
  assert.not(wire.reset);
  const endless = driveOf({ IdleTimeout: 0 });
  const idle = piped(endless);
  assert.is(endless.after(1e9), -1);
  assert.equal(idle.log, []);
  endless.end();
  drive.end();
});

release("a write without progress ends it, in either direction", () => {
  const drive = driveOf();
  const wire = piped(drive);
  wire.stalled = true;
  wire.pour("out");
  drive.after(29999);
  assert.equal(wire.log, []);
  drive.after(1);
  assert.equal(wire.log, ["closed WriteTimeout"]);
  assert.ok(wire.reset);
  const other = piped(drive);
  drive.loop.piping(other, Piping.Waits);
  drive.after(29999);
  assert.equal(other.log, []);
  drive.after(1);
  assert.equal(other.log, ["closed UpstreamTimeout"]);
  assert.ok(other.reset);
  drive.end();
});

release("while a write is outstanding it is not idle", () => {
  const drive = driveOf({ IdleTimeout: 1000 });
  const wire = piped(drive);
  wire.stalled = true;
  wire.pour("out");
  drive.after(5000);
  assert.equal(wire.log, []);
  wire.deliver();
  drive.after(999);
  assert.equal(wire.log, []);
  drive.after(1);
  assert.equal(wire.log, ["closed IdleTimeout"]);
  const other = piped(drive);
  drive.loop.piping(other, Piping.Waits);
  drive.after(5000);
  assert.equal(other.log, []);
  drive.loop.piping(other, Piping.Moved);
  drive.after(1000);
  assert.equal(other.log, ["closed IdleTimeout"]);
  drive.end();
});

release("it ends in order when it is finished, after the write that is outstanding", () => {
  const drive = driveOf();
  const wire = piped(drive);
  wire.stalled = true;
  wire.pour("out");
  drive.loop.finish(wire, CloseReason.Ok);
  drive.turn();
  assert.equal(wire.log, []);
  assert.is(drive.engine.get(Control.Pipes), 0);
  assert.is(wire.pour("more"), Outcome.Gone);
  wire.deliver();
  assert.equal(wire.log, ["end Ok"]);
  wire.finish();
  assert.equal(wire.log, ["end Ok", "closed Ok"]);
  assert.not(wire.reset);
  const ended = piped(drive).finish();
  assert.equal(ended.log, [], "half-closed");
  assert.is(ended.pour("still"), Outcome.Ok);
  drive.loop.finish(ended, CloseReason.Ok);
  drive.turn();
  assert.equal(ended.log, ["closed Ok"]);
  assert.is(ended.text, "still");
  drive.end();
});

release("a shutdown ends it when it is silent for the time of a close", () => {
  const drive = driveOf();
  const wire = piped(drive);
  const opening = piped(drive, 60000);
  drive.loop.stop();
  for (const one of [wire, opening]) drive.loop.dismiss(one);
  drive.turn();
  assert.equal(opening.log, ["end Shutdown"]);
  for (let i = 0; i < 20; i++) {
    drive.after(1999);
    if (i % 2 === 0) wire.send("x");
    else wire.pour("y");
  }
  assert.equal(wire.log, []);
  drive.after(2000);
  assert.equal(wire.log, ["closed Shutdown"]);
  assert.not(wire.reset);
  drive.end();
});

release("a loss and a call of the host end it at once", () => {
  const drive = driveOf();
  const wire = piped(drive);
  wire.lose();
  assert.equal(wire.log, ["closed PeerReset"]);
  const other = piped(drive);
  other.stalled = true;
  other.pour("out");
  drive.loop.terminate(other, CloseReason.UpstreamReset);
  assert.equal(other.log, ["closed UpstreamReset"]);
  assert.ok(other.reset);
  drive.end();
});

release("stale ids and other states do nothing", () => {
  const drive = driveOf();
  const wire = drive.connect();
  const { engine } = drive;
  for (const generation of [wire.generation, wire.generation + 1]) {
    engine.x.piping(wire.slot, generation, Piping.Waits);
    assert.is(engine.x.pour(wire.slot, generation, 10), Outcome.Gone);
    assert.is(engine.x.finish(wire.slot, generation, CloseReason.Ok), Outcome.Gone);
  }
  const open = piped(drive);
  assert.is(engine.x.finish(open.slot, open.generation, -4), Outcome.Invalid);
  assert.is(engine.x.finish(open.slot, open.generation, 5), Outcome.Invalid);
  assert.is(open.release(), Outcome.Invalid, "once");
  drive.end();
});

release.run();
