// WebSocket (RFC 6455), on the engine itself: the opening handshake, frames, the closing
// handshake. Each case runs whole, cut in two at each point and byte by byte, and must leave the
// same log: what happened, then the frames that the client got.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Control, Trait } from "../../assembly/abi";
import { BINARY, Drive, HANDSHAKE, type Wire } from "../drive";
import { type FrameOptions, closeFrame, frame, lines, received, text } from "../frame";
import { fieldOf, replies } from "../reply";
import { describeSplit, splits } from "../split";

const ws = suite("frames");

const FIRST: FrameOptions = { final: 0 };
const join = (...pieces: Uint8Array[]): Uint8Array => Buffer.concat(pieces);
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
const utf8 = (value: string): Uint8Array => Buffer.from(value);

// ---- the opening handshake --------------------------------------------------------------------

const FIELDS = {
  Host: "a",
  Upgrade: "websocket",
  Connection: "Upgrade",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Version": "13",
};

/** A handshake with some of its fields changed; an empty one is left out. */
function shake(changes: Record<string, string> = {}, line = "GET / HTTP/1.1"): string {
  const fields = Object.entries({ ...FIELDS, ...changes }).filter(([, value]) => value !== "");
  return `${[line, ...fields.map(([name, value]) => `${name}: ${value}`)].join("\r\n")}\r\n\r\n`;
}

ws("handshake: the accept value is the RFC's", () => {
  const drive = new Drive();
  const wire = drive.connect().send(HANDSHAKE);
  assert.match(wire.text, /^HTTP\/1\.1 101 Switching Protocols\r\n/);
  const [reply] = replies(wire.text);
  assert.ok(reply);
  assert.is(fieldOf(reply, "sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  assert.is(fieldOf(reply, "upgrade"), "websocket");
  assert.is(fieldOf(reply, "connection")?.toLowerCase(), "upgrade");
  assert.is(fieldOf(reply, "content-length"), undefined);
  drive.end();
});

ws("handshake: the accept value is that of other keys too", () => {
  const keys = {
    "AAAAAAAAAAAAAAAAAAAAAA==": "ICX+Yqv66kxgM0FcWaLWlFLwTAI=",
    "x3JJHMbDL1EzLkh9GBhXDw==": "HSmrc0sMlYUkAGmm5OPpG2HaGWk=",
  };
  for (const [key, accept] of Object.entries(keys)) {
    const drive = new Drive();
    const wire = drive.connect().send(shake({ "Sec-WebSocket-Key": key }));
    assert.is(fieldOf(replies(wire.text)[0] as never, "sec-websocket-accept"), accept);
    drive.end();
  }
});

interface Shake {
  readonly name: string;
  readonly input: string;
  readonly log: readonly string[];
}

const upgraded = ["GET / 1.1", "= 101"];
const plain = ["GET / 1.1", "= 200"];
const refused = (status: number, reason: string): string[] => [`end ${reason}`, `= ${status}`];

const SHAKES: readonly Shake[] = [
  { name: "the RFC's is taken", input: shake(), log: upgraded },
  {
    name: "case is free",
    input: shake({ Upgrade: "WebSocket", Connection: "uPgRaDe" }),
    log: upgraded,
  },
  {
    name: "lists are read",
    input: shake({ Upgrade: "h2c, websocket", Connection: "keep-alive, Upgrade" }),
    log: upgraded,
  },
  {
    name: "no key is refused",
    input: shake({ "Sec-WebSocket-Key": "" }),
    log: refused(400, "WsMissingKey"),
  },
  ...[
    "dGhlIHNhbXBsZSBub25jZQ=",
    "dGhlIHNhbXBsZSBub25jZQ",
    "dGhlIHNhbXBsZSBub25jZQ===",
    "dGhlIHNhbXBsZSBub25jZ===",
    "dGhlIHNhbXBsZSBub25jZQA=",
    "dGhlIHNhbXBsZSBub25j=Q==",
    "dGhlIHNhbXBsZSBub25j-Q==",
    "dGhl IHNhbXBsZSBub25jQ==",
    "short",
  ].map((key) => ({
    name: `the key "${key}" is refused`,
    input: shake({ "Sec-WebSocket-Key": key }),
    log: refused(400, "WsBadKey"),
  })),
  {
    name: "two keys are refused",
    input: shake().replace("Sec-", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-"),
    log: refused(400, "WsBadKey"),
  },
  {
    name: "no version is refused",
    input: shake({ "Sec-WebSocket-Version": "" }),
    log: refused(426, "WsMissingVersion"),
  },
  ...["8", "0", "12", "14", "013", "13, 8", "+13", "x"].map((version) => ({
    name: `the version "${version}" is refused`,
    input: shake({ "Sec-WebSocket-Version": version }),
    log: refused(426, "WsUnexpectedVersion"),
  })),
  {
    name: "no Upgrade is refused",
    input: shake({ Upgrade: "" }),
    log: refused(400, "WsMissingUpgrade"),
  },
  {
    name: "another Upgrade is refused when there is a key",
    input: shake({ Upgrade: "h2c" }),
    log: refused(400, "WsMissingUpgrade"),
  },
  {
    name: "another Upgrade is ignored when there is none",
    input: shake({ Upgrade: "h2c", "Sec-WebSocket-Key": "" }),
    log: plain,
  },
  { name: "no Connection is a plain request", input: shake({ Connection: "" }), log: plain },
  {
    name: "Connection without upgrade is a plain request",
    input: shake({ Connection: "keep-alive" }),
    log: plain,
  },
  { name: "POST is refused", input: shake({}, "POST / HTTP/1.1"), log: refused(400, "BadRequest") },
  { name: "no Host is refused", input: shake({ Host: "" }), log: refused(400, "MissingHost") },
];

for (const one of SHAKES) {
  ws(`handshake: ${one.name}`, () => {
    const drive = new Drive();
    for (const pieces of splits(Buffer.from(one.input))) {
      const wire = drive.connect();
      for (const piece of pieces) wire.send(piece);
      const log = [...wire.log, `= ${replies(wire.text).map((reply) => reply.status)}`];
      assert.equal(log, one.log, describeSplit(pieces));
      wire.lose();
    }
    drive.end();
  });
}

ws("handshake: 426 says which version and protocol to use", () => {
  const drive = new Drive();
  const wire = drive.connect().send(shake({ "Sec-WebSocket-Version": "8" }));
  const [reply] = replies(wire.text);
  assert.ok(reply);
  assert.is(fieldOf(reply, "sec-websocket-version"), "13");
  assert.is(fieldOf(reply, "upgrade"), "websocket");
  assert.match(fieldOf(reply, "connection") ?? "", /\bupgrade\b/i);
  drive.end();
});

ws("handshake: the application's fields go along, framing ones are refused", () => {
  const drive = new Drive();
  drive.answer = () => undefined;
  const wire = drive.connect().send(HANDSHAKE);
  for (const name of ["Upgrade", "Connection", "Content-Length", "Transfer-Encoding", "a b", ""]) {
    assert.is(wire.upgrade([[name, "x"]]), 4, name);
  }
  assert.is(wire.upgrade([["X", "a\r\nb"]]), 4);
  assert.is(wire.upgrade([["Sec-WebSocket-Protocol", "chat"]]), 0);
  drive.turn();
  assert.is(fieldOf(replies(wire.text)[0] as never, "sec-websocket-protocol"), "chat");
  drive.end();
});

ws("handshake: it may be answered otherwise", () => {
  const drive = new Drive();
  drive.answer = (wire) => wire.respond(403);
  const wire = drive.connect().send(HANDSHAKE, HANDSHAKE);
  assert.ok((wire.asked[0]?.traits ?? 0) & Trait.Upgrade);
  assert.equal(
    replies(wire.text).map((reply) => reply.status),
    [403, 403],
  );
  drive.end();
});

ws("handshake: frames may come along, and requests before it", () => {
  const drive = new Drive();
  const input = join(utf8("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"), utf8(HANDSHAKE), text("hi"));
  for (const pieces of splits(input)) {
    const wire = drive.connect();
    for (const piece of pieces) wire.send(piece);
    assert.equal(wire.log, ["GET /1 1.1", "GET /chat 1.1", 'text "hi"'], describeSplit(pieces));
    wire.lose();
  }
  drive.end();
});

ws("handshake: answered late, frames that came meanwhile are not lost", () => {
  const drive = new Drive();
  drive.answer = () => undefined;
  const wire = drive.connect().send(join(utf8(HANDSHAKE), text("one"), text("two")));
  drive.connect().send("GET / HTTP/1.1\r\n");
  assert.is(wire.upgrade(), 0);
  drive.turn();
  wire.send(text("three"));
  assert.equal(wire.log, ["GET /chat 1.1", 'text "one"', 'text "two"', 'text "three"']);
  drive.end();
});

ws("handshake: after a FIN there is nobody to talk to", () => {
  const drive = new Drive();
  drive.answer = () => undefined;
  const wire = drive.connect().send(HANDSHAKE).finish();
  wire.upgrade();
  drive.turn();
  assert.equal(wire.log, ["GET /chat 1.1", "closed PeerEnded"]);
  drive.end();
});

ws("handshake: behind an answer that is outstanding, the reader counts as one", () => {
  const drive = new Drive();
  const wire = drive.connect();
  wire.stalled = true;
  wire.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
  assert.ok(wire.pending);
  wire.send(HANDSHAKE);
  // More than the ring holds: it must be evicted, or be sent what was published.
  for (let i = 0; i < 200 && !wire.dead; i++) {
    drive.now += 10;
    drive.publish(`message ${i} ${"x".repeat(50)}`);
    drive.turn();
  }
  if (!wire.dead) {
    wire.unstall();
    const [first, second] = wire.text.split("\r\n\r\n");
    const sent = wire.out.subarray(`${first}\r\n\r\n${second}\r\n\r\n`.length);
    assert.is(received(sent).length, 200);
  }
  drive.end();
});

// ---- frames -----------------------------------------------------------------------------------

interface Case {
  readonly name: string;
  readonly input: Uint8Array;
  readonly log: readonly string[];
}

function observe(drive: Drive, pieces: readonly Uint8Array[]): string[] {
  const wire = drive.webSocket();
  wire.log.length = 0;
  for (const piece of pieces) wire.send(piece);
  const log = [...wire.log, `= ${lines(wire.take()).join(", ")}`.trimEnd()];
  if (!wire.dead) wire.lose();
  return log;
}

function define(group: string, cases: readonly Case[], params: object = {}): void {
  for (const one of cases) {
    ws(`${group}: ${one.name}`, () => {
      const drive = new Drive(params);
      for (const pieces of splits(one.input)) {
        assert.equal(observe(drive, pieces), one.log, describeSplit(pieces));
      }
      drive.end();
    });
  }
}

const taken = (...log: string[]): string[] => [...log, "="];
const failed = (code: number, reason: string): string[] => [`end ${reason}`, `= close ${code}`];

define("length", [
  { name: "0", input: text(""), log: taken('text ""') },
  { name: "1", input: text("a"), log: taken('text "a"') },
  { name: "125", input: text("x".repeat(125)), log: taken("text (125)") },
  { name: "126 takes two bytes more", input: text("x".repeat(126)), log: taken("text (126)") },
  { name: "127", input: text("x".repeat(127)), log: taken("text (127)") },
  {
    name: "1,100, more than the smallest buffer",
    input: frame(2, "x".repeat(1100)),
    log: taken("binary (1100)"),
  },
  {
    name: "125 in two bytes is refused",
    input: text("x".repeat(125), { form: 2 }),
    log: failed(1002, "WsBadLength"),
  },
  {
    name: "0 in two bytes is refused",
    input: text("", { form: 2 }),
    log: failed(1002, "WsBadLength"),
  },
  {
    name: "125 in eight bytes is refused",
    input: text("x".repeat(125), { form: 8 }),
    log: failed(1002, "WsBadLength"),
  },
  {
    name: "65,535 in eight bytes is refused",
    input: text("", { form: 8, length: 65535n }),
    log: failed(1002, "WsBadLength"),
  },
  {
    name: "the highest bit is refused",
    input: text("", { form: 8, length: 1n << 63n }),
    log: failed(1002, "WsBadLength"),
  },
]);

ws("length: 65,535 and 65,536 are taken, whatever the cut", () => {
  const params = { PayloadBytes: 65536, WindowBytes: 65536 * 2, ReceivePoolBytes: 1 << 20 };
  const drive = new Drive(params);
  for (const length of [65535, 65536]) {
    const payload = Uint8Array.from({ length }, (_, i) => i * 31);
    const input = frame(2, payload);
    for (const cut of [0, 1, 2, 5, 8, 9, 10, 13, 14, 15, 1000, 65535, input.length - 1]) {
      const wire = drive.webSocket();
      if (cut > 0) wire.send(input.subarray(0, cut));
      wire.send(input.subarray(cut));
      assert.equal(wire.messages, [payload], `${length} cut at ${cut}`);
      wire.lose();
    }
    const slow = drive.webSocket();
    for (let at = 0; at < input.length; at += 997) slow.send(input.subarray(at, at + 997));
    assert.equal(slow.messages, [payload]);
  }
  drive.end();
});

ws("length: one over the limit is refused at its head", () => {
  const drive = new Drive({ PayloadBytes: 1000 });
  const fits = drive.webSocket().send(frame(2, "x".repeat(1000)));
  assert.is(fits.messages.length, 1);
  for (const length of [1001n, 65536n, 1n << 40n, (1n << 63n) - 1n]) {
    const wire = drive.webSocket();
    wire.send(frame(2, "", { length }).subarray(0, length < 65536n ? 4 : 10));
    assert.equal(lines(wire.take()), ["close 1009"]);
    assert.is(wire.log.at(-1), "end WsOversizeFrame");
    wire.lose();
  }
  const sum = drive.webSocket().send(frame(2, "x".repeat(600), FIRST), frame(0, "x".repeat(401)));
  assert.equal(lines(sum.take()), ["close 1009"]);
  assert.is(sum.log.at(-1), "end WsMessageTooLarge");
  const just = drive.webSocket().send(frame(2, "x".repeat(600), FIRST), frame(0, "x".repeat(400)));
  assert.is(just.messages[0]?.length, 1000);
  drive.end();
});

define("mask", [
  { name: "none is refused", input: text("hi", { masked: 0 }), log: failed(1002, "WsBadMask") },
  {
    name: "none is refused in a ping",
    input: frame(9, "", { masked: 0 }),
    log: failed(1002, "WsBadMask"),
  },
  { name: "zero is a mask", input: text("hi", { mask: [0, 0, 0, 0] }), log: taken('text "hi"') },
  {
    name: "all ones are a mask",
    input: text("hi", { mask: [255, 255, 255, 255] }),
    log: taken('text "hi"'),
  },
  {
    name: "the RFC's example is read",
    input: bytes(0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58),
    log: taken('text "Hello"'),
  },
]);

define("head", [
  ...[1, 2, 3, 4, 5, 6, 7].flatMap((reserved) =>
    [0, 1, 2, 8, 9, 10].map((opcode) => ({
      name: `reserved bits ${reserved} with opcode ${opcode} are refused`,
      input: frame(opcode, "", { reserved }),
      log: failed(1002, "WsReservedBits"),
    })),
  ),
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode) => ({
    name: `opcode ${opcode} is refused`,
    input: frame(opcode, "x"),
    log: failed(1002, "WsUnknownOpcode"),
  })),
  ...[8, 9, 10].flatMap((opcode) => [
    {
      name: `a control frame (${opcode}) in fragments is refused`,
      input: frame(opcode, "", FIRST),
      log: failed(1002, "WsFragmentedControl"),
    },
    {
      name: `a control frame (${opcode}) of 126 bytes is refused`,
      input: frame(opcode, "x".repeat(126)),
      log: failed(1002, "WsControlFrameTooLarge"),
    },
    {
      name: `a control frame (${opcode}) with a length of eight bytes is refused`,
      input: frame(opcode, "", { form: 8 }),
      log: failed(1002, "WsControlFrameTooLarge"),
    },
  ]),
  {
    name: "a continuation of nothing is refused",
    input: frame(0, "x"),
    log: failed(1002, "WsExpectedText"),
  },
  {
    name: "a continuation of a whole message is refused",
    input: join(text("a"), frame(0, "b")),
    log: ['text "a"', ...failed(1002, "WsExpectedText")],
  },
  {
    name: "a new message within one is refused",
    input: join(text("a", FIRST), text("b")),
    log: failed(1002, "WsExpectedCont"),
  },
]);

ws("head: what the first byte shows is refused at once", () => {
  const drive = new Drive();
  for (const first of [0x80, 0x83, 0xc1, 0x09, 0x8b]) {
    const wire = drive.webSocket().send(bytes(first));
    assert.equal(lines(wire.take()), ["close 1002"], `${first}`);
    wire.lose();
  }
  drive.end();
});

define("fragment", [
  {
    name: "two make a message",
    input: join(text("hel", FIRST), frame(0, "lo")),
    log: taken('text "hello"'),
  },
  {
    name: "binary ones too",
    input: join(frame(2, "\0\xff", FIRST), frame(0, "\x80")),
    log: taken('binary "\\u0000ÿ\x80"'),
  },
  {
    name: "empty ones count",
    input: join(text("", FIRST), frame(0, "", FIRST), frame(0, "a", FIRST), frame(0, "")),
    log: taken('text "a"'),
  },
  {
    name: "all may be empty",
    input: join(text("", FIRST), frame(0, "", FIRST), frame(0, "")),
    log: taken('text ""'),
  },
  {
    name: "control frames may come between",
    input: join(
      text("a", FIRST),
      frame(9, "p"),
      frame(0, "b", FIRST),
      frame(10, "q"),
      frame(0, "c"),
    ),
    log: ['ping "p"', 'pong "q"', 'text "abc"', "= pong p"],
  },
  {
    name: "messages follow each other",
    input: join(
      text("a", FIRST),
      frame(0, "b"),
      text("c"),
      frame(2, "d", FIRST),
      frame(0, "e"),
      text("f"),
    ),
    log: taken('text "ab"', 'text "c"', 'binary "de"', 'text "f"'),
  },
  {
    name: "a Close between ends it",
    input: join(text("a", FIRST), closeFrame(1000), frame(0, "b")),
    log: ['peer close 1000 ""', "end PeerClosed", "= close 1000"],
  },
  {
    name: "a character may be cut",
    input: join(
      text("\xe2", FIRST),
      frame(0, "\x82", FIRST),
      frame(0, "", FIRST),
      frame(0, "\xac"),
    ),
    log: taken('text "€"'),
  },
]);

define("fragment", [
  {
    name: "as many as the limit are taken",
    input: join(text("a", FIRST), frame(0, "b", FIRST), frame(0, "c"), text("d")),
    log: taken('text "abc"', 'text "d"'),
  },
  {
    name: "more than the limit are too many",
    input: join(text("a", FIRST), frame(0, "", FIRST), frame(0, "", FIRST), frame(0, "")),
    log: failed(1008, "WsTooManyFragments"),
  },
], { Fragments: 3 });

// ---- control frames ---------------------------------------------------------------------------

define("ping", [
  { name: "an empty one is answered", input: frame(9), log: ['ping ""', "= pong"] },
  {
    name: "its payload comes back",
    input: frame(9, "hello"),
    log: ['ping "hello"', "= pong hello"],
  },
  {
    name: "125 bytes come back",
    input: frame(9, "x".repeat(125)),
    log: ["ping (125)", `= pong ${"x".repeat(125)}`],
  },
  { name: "a pong is not answered", input: frame(10, "x"), log: taken('pong "x"') },
]);

ws("ping: those that came together are answered each, in order", () => {
  const drive = new Drive();
  const wire = drive.webSocket();
  wire.send(join(frame(9, "1"), frame(9, "2"), text("x"), frame(9, "3")));
  assert.equal(lines(wire.take()), ["pong 1", "pong 2", "pong 3"]);
  assert.is(drive.engine.get(Control.PongsDropped), 0);
  drive.end();
});

ws("ping: a client that does not read is answered up to a bound, then with the newest", () => {
  const drive = new Drive();
  const wire = drive.webSocket();
  wire.stalled = true;
  wire.push("first");
  drive.turn();
  for (let i = 0; i < 5000; i++) wire.send(frame(9, `${i}`));
  assert.ok(drive.engine.backlog(wire.slot) < 8192 + 200);
  wire.unstall();
  const got = lines(wire.take());
  assert.is(got[0], "text first");
  assert.is(got[1], "pong 0");
  assert.is(got.at(-1), "pong 4999");
  assert.ok(got.length < 3000, `${got.length} pongs`);
  drive.end();
});

ws("ping: the pong goes between frames, never into one", () => {
  const drive = new Drive({ RunBytes: 512 });
  const wire = drive.webSocket();
  wire.stalled = true;
  drive.publish("a".repeat(2000));
  drive.publish("b".repeat(700));
  drive.turn();
  wire.send(frame(9, "p"));
  wire.unstall();
  const got = lines(wire.take()).map((line) => line.slice(0, 6));
  assert.equal([...got].sort(), ["pong p", "text a", "text b"]);
  assert.is(got[0], "text a");
  drive.end();
});

ws("close: messages before it in the same read are handled and answered first", () => {
  const drive = new Drive();
  const wire = drive.webSocket();
  wire.send(join(text("a"), text("b"), closeFrame(1000, "bye")));
  assert.equal(lines(wire.take()).slice(-1), ["close 1000"]);
  const seen = wire.log.map((line) => line.split(" ")[0]);
  assert.ok(seen.lastIndexOf("text") < seen.findIndex((word) => /close|end/.test(word ?? "")));
  drive.end();
});

ws("a fault after messages in the same read fails the connection after they are handled", () => {
  const drive = new Drive();
  const wire = drive.webSocket();
  wire.send(join(text("a"), new Uint8Array([0x83, 0x80, 0, 0, 0, 0]), text("b")));
  assert.equal(
    wire.log.filter((line) => line.startsWith("text")),
    ['text "a"'],
  );
  assert.equal(lines(wire.take()), ["close 1002"]);
  drive.end();
});

ws("ping: nothing is answered after a Close", () => {
  const drive = new Drive();
  const wire = drive.webSocket();
  wire.close(1000);
  wire.send(frame(9, "p"));
  assert.equal(lines(wire.take()), ["close 1000"]);
  drive.end();
});

// ---- Close ------------------------------------------------------------------------------------

const VALID = [
  ...[1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014],
  ...[3000, 3999, 4000, 4999],
];
const INVALID = [...[0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]];

define("close", [
  {
    name: "without a code it is answered without one",
    input: frame(8),
    log: ['peer close 1005 ""', "end PeerClosed", "= close"],
  },
  ...VALID.map((code) => ({
    name: `${code} is echoed`,
    input: closeFrame(code, "bye"),
    log: [`peer close ${code} "bye"`, "end PeerClosed", `= close ${code}`],
  })),
  ...INVALID.map((code) => ({
    name: `${code} is refused`,
    input: closeFrame(code),
    log: failed(1002, "WsBadClosePayload"),
  })),
  { name: "one byte is refused", input: frame(8, "\x03"), log: failed(1002, "WsBadClosePayload") },
  {
    name: "a reason of 123 bytes is taken",
    input: closeFrame(1000, "r".repeat(123)),
    log: ["peer close 1000 (123)", "end PeerClosed", "= close 1000"],
  },
  {
    name: "a reason in UTF-8 is taken",
    input: closeFrame(1000, utf8("€𝄞")),
    log: ['peer close 1000 "€𝄞"', "end PeerClosed", "= close 1000"],
  },
  {
    name: "a reason that is not UTF-8 is refused",
    input: closeFrame(1000, "\xc3\x28"),
    log: failed(1007, "WsBadUtf8"),
  },
  {
    name: "a reason that ends within a character is refused",
    input: closeFrame(1000, "\xe2\x82"),
    log: failed(1007, "WsBadUtf8"),
  },
  {
    name: "what follows it is not read",
    input: join(closeFrame(1000), text("x"), frame(9), bytes(0xff)),
    log: ['peer close 1000 ""', "end PeerClosed", "= close 1000"],
  },
]);

ws("close: every code is taken or refused as the registry says", () => {
  const drive = new Drive();
  const wrong: number[] = [];
  for (let code = 0; code < 65536; code += code < 5100 ? 1 : 499) {
    const wire = drive.webSocket().send(closeFrame(code));
    const isValid =
      (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) ||
      (code >= 3000 && code <= 4999);
    if (lines(wire.take())[0] !== `close ${isValid ? code : 1002}`) wrong.push(code);
    wire.lose();
  }
  assert.equal(wrong, []);
  drive.end();
});

ws("close: ours waits for the client's, and takes its messages meanwhile", () => {
  const drive = new Drive();
  const wire = drive.webSocket();
  assert.is(wire.close(4001, "why"), 0);
  drive.turn();
  assert.equal(lines(wire.take()), ["close 4001 why"]);
  wire.send(text("late"));
  assert.is(wire.push("x"), 5, "nothing follows a Close");
  assert.is(wire.close(4002), 5);
  wire.send(closeFrame(4001));
  wire.finish();
  const log = ['text "late"', 'peer close 4001 ""', "end Application", "closed Application"];
  assert.equal(wire.log.slice(1), log);
  assert.equal(lines(wire.take()), []);
  assert.is(wire.code, 4001);
  drive.end();
});

ws("close: without a code, ours has no payload", () => {
  const drive = new Drive();
  const wire = drive.webSocket();
  wire.close(1005);
  drive.turn();
  assert.equal(lines(wire.take()), ["close"]);
  drive.end();
});

ws("close: what is queued goes before it, nothing behind it", () => {
  const drive = new Drive();
  const wire = drive.webSocket();
  drive.publish("1");
  wire.push("2");
  drive.publish("3");
  wire.close(1000);
  drive.publish("4");
  drive.turn();
  assert.equal(lines(wire.take()), ["text 1", "text 2", "text 3", "close 1000"]);
  drive.end();
});

ws("close: the end without a Close is 1006", () => {
  const drive = new Drive();
  const wire = drive.webSocket().finish();
  assert.is(wire.log.at(-1), "closed PeerEnded");
  assert.is(wire.code, 1006);
  const lost = drive.webSocket().lose();
  assert.is(lost.log.at(-1), "closed PeerReset");
  assert.is(lost.code, 1006);
  drive.end();
});

ws("close: a violation after ours ends the connection, without a second Close", () => {
  const drive = new Drive();
  const wire = drive.webSocket();
  wire.close(1000);
  wire.send(text("x", { masked: 0 }));
  assert.equal(lines(wire.take()), ["close 1000"]);
  assert.is(wire.log.at(-1), "end WsBadMask");
  drive.end();
});

// ---- UTF-8 ------------------------------------------------------------------------------------

/** The first and last characters of each length, and those around the surrogates. */
const EDGES = "\u0000\u007f\u0080\u07ff\u0800\ud7ff\ue000\uffff\u{10000}\u{10ffff}";

/** Not UTF-8, and where the first impossible byte stands. */
const BROKEN: readonly (readonly [string, string, number])[] = [
  ["a lone continuation", "a\x80b", 1],
  ["0xfe", "\xfe", 0],
  ["0xff", "ab\xff", 2],
  ["an overlong slash in two", "\xc0\xaf", 0],
  ["an overlong in two", "\xc1\xbf", 0],
  ["an overlong in three", "\xe0\x9f\xbf", 1],
  ["an overlong in four", "\xf0\x8f\xbf\xbf", 1],
  ["a surrogate", "\xed\xa0\x80", 1],
  ["the last surrogate", "\xed\xbf\xbf", 1],
  ["over U+10FFFF", "\xf4\x90\x80\x80", 1],
  ["five bytes", "\xf8\x88\x80\x80\x80", 0],
  ["ASCII within a character", "\xe2\x82a", 2],
  ["a lead within a character", "\xf0\x9d\xc3\xa4", 2],
  ["a long text's end", `${"x".repeat(37)}\xc3\xc3`, 38],
];

for (const [name, payload, at] of BROKEN) {
  ws(`utf-8: ${name} fails at the first impossible byte`, () => {
    const drive = new Drive();
    // In one frame that has not ended, and with a frame for each byte.
    const wire = drive.webSocket();
    const input = text(`${payload}${"x".repeat(50)}`);
    for (let i = 0; i < 6 + at; i++) wire.send(input.subarray(i, i + 1));
    assert.equal(lines(wire.take()), [], "failed too early");
    wire.send(input.subarray(6 + at, 7 + at));
    assert.equal(lines(wire.take()), ["close 1007"]);
    const other = drive.webSocket();
    for (let i = 0; i <= at; i++) {
      assert.equal(lines(other.take()), [], "failed too early");
      other.send(frame(i === 0 ? 1 : 0, payload.slice(i, i + 1), FIRST));
    }
    assert.equal(lines(other.take()), ["close 1007"]);
    const binary = drive.webSocket().send(frame(2, payload));
    assert.is(binary.messages.length, 1, "binary is not text");
    drive.end();
  });
}

define("utf-8", [
  {
    name: "a text that ends within a character is refused",
    input: text("\xf0\x9d\x84"),
    log: failed(1007, "WsBadUtf8"),
  },
  {
    name: "a text in fragments that ends within a character is refused",
    input: join(text("a\xc3", FIRST), frame(0, "")),
    log: failed(1007, "WsBadUtf8"),
  },
  {
    name: "the end of one text is not the start of the next",
    input: join(text("\xc3"), text("\xa4")),
    log: failed(1007, "WsBadUtf8"),
  },
  {
    name: "boundary characters are taken",
    input: text(utf8(EDGES)),
    log: taken(`text ${JSON.stringify(EDGES)}`),
  },
]);

// ---- what is sent -----------------------------------------------------------------------------

ws("sent frames have the shortest length", () => {
  const drive = new Drive({
    RingBytes: 1 << 18,
    RunBytes: 1 << 18,
    Backlog: 1 << 18,
    ScratchBytes: 1 << 18,
    ReplyPoolBytes: 1 << 20,
  });
  const wire = drive.webSocket();
  for (const length of [0, 1, 125, 126, 127, 65535, 65536, 70000]) {
    const payload = Uint8Array.from({ length }, (_, i) => i);
    drive.publish(payload, BINARY);
    wire.push(payload, BINARY);
    drive.turn();
    const got = received(wire.take());
    assert.equal(
      got.map((one) => [one.final, one.opcode]),
      [
        [true, 2],
        [true, 2],
      ],
    );
    for (const one of got) assert.ok(Buffer.from(one.payload).equals(payload), `${length}`);
  }
  drive.end();
});

ws("a held connection keeps what arrives, in order", () => {
  const drive = new Drive();
  const wire = drive.webSocket();
  const seen = (other: Wire): string[] => other.log.slice(1);
  drive.hold(wire, true);
  wire.send(text("1"), text("2", FIRST), frame(0, "x".repeat(3000), FIRST));
  wire.send(frame(0, "3"), frame(9, "p"));
  assert.equal(seen(wire), []);
  drive.hold(wire, false);
  assert.equal(seen(wire), ['text "1"', "text (3002)", 'ping "p"']);
  drive.end();
});

ws("what a connection was sent while held is handed out unharmed", () => {
  const drive = new Drive();
  for (const input of [text("hello"), frame(9, "hello"), closeFrame(1000, "hello")]) {
    const wire = drive.webSocket();
    drive.hold(wire, true);
    wire.send(input);
    drive.hold(wire, false);
    assert.match(wire.log[1] ?? "", /"hello"$/);
    wire.lose();
  }
  drive.end();
});

ws("more events than the table holds are all seen, in order", () => {
  const drive = new Drive({ WindowBytes: 16384 });
  const wire = drive.webSocket();
  const input = join(...Array.from({ length: 1500 }, (_, i) => text(`${i}`)));
  wire.send(input);
  assert.is(wire.messages.length, 1500);
  assert.is(Buffer.from(wire.messages[1499] as Uint8Array).toString(), "1499");
  drive.end();
});

ws.run();
