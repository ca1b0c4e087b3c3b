// WebSocket (RFC 6455), on the engine itself: claims that no single input and its log can show. Cases with one input
// are documents in test/cases.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Control, Trait } from "../../assembly/abi";
import { BROKEN } from "../cases/utf8";
import { BINARY, Drive, type Wire } from "../lib/drive";
import { HANDSHAKE } from "../lib/handshake";
import {
  type FrameOptions,
  closeFrame,
  frame,
  lines,
  received,
  text,
  closeLine,
} from "../lib/frame";
import { fieldOf, responsesOf } from "../lib/response";
import { describeSplit, splits } from "../lib/split";

const ws = suite("frames");

const FIRST: FrameOptions = { final: false };
const join = (...pieces: Uint8Array[]): Uint8Array => Buffer.concat(pieces);
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
const utf8 = (value: string): Uint8Array => Buffer.from(value);

// ---- the opening handshake --------------------------------------------------------------------

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
  assert.is(fieldOf(responsesOf(wire.text)[0] as never, "sec-websocket-protocol"), "chat");
  drive.end();
});

ws("handshake: another answer than 101 ends the connection", () => {
  const drive = new Drive();
  drive.answer = (wire) => wire.respond(403);
  const wire = drive.connect().send(HANDSHAKE, HANDSHAKE);
  assert.ok((wire.asked[0]?.traits ?? 0) & Trait.Upgrade);
  assert.equal(
    responsesOf(wire.text).map((reply) => reply.status),
    [403],
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

ws("handshake: after a FIN the upgrade is not answered", () => {
  const drive = new Drive();
  drive.answer = () => undefined;
  const wire = drive.connect().send(HANDSHAKE).finish();
  wire.upgrade();
  drive.turn();
  assert.equal(wire.log, ["GET /chat 1.1", "closed PeerEnded"]);
  drive.end();
});

ws("handshake: after a pending response, the reader counts as one", () => {
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
    assert.equal(lines(wire.take()), [closeLine("WsOversizeFrame")]);
    assert.is(wire.log.at(-1), "end WsOversizeFrame");
    wire.lose();
  }
  const sum = drive.webSocket().send(frame(2, "x".repeat(600), FIRST), frame(0, "x".repeat(401)));
  assert.equal(lines(sum.take()), [closeLine("WsMessageTooLarge")]);
  assert.is(sum.log.at(-1), "end WsMessageTooLarge");
  const just = drive.webSocket().send(frame(2, "x".repeat(600), FIRST), frame(0, "x".repeat(400)));
  assert.is(just.messages[0]?.length, 1000);
  drive.end();
});

ws("head: refuses a fault of the first byte at once", () => {
  const drive = new Drive();
  for (const first of [0x80, 0x83, 0xc1, 0x09, 0x8b]) {
    const wire = drive.webSocket().send(bytes(first));
    assert.equal(
      lines(wire.take()).map((line) => line.slice(0, 10)),
      ["close 1002"],
      `${first}`,
    );
    wire.lose();
  }
  drive.end();
});

// ---- control frames ---------------------------------------------------------------------------

ws("ping: pings of one read are each answered, in order", () => {
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
  assert.equal(lines(wire.take()), [closeLine("WsUnknownOpcode")]);
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

ws("close: every code is taken or refused as the registry says", () => {
  const drive = new Drive();
  const wrong: number[] = [];
  for (let code = 0; code < 65536; code += code < 5100 ? 1 : 499) {
    const wire = drive.webSocket().send(closeFrame(code));
    const isValid =
      (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) ||
      (code >= 3000 && code <= 4999);
    const due = isValid ? `close ${code}` : closeLine("WsBadClosePayload");
    if (lines(wire.take())[0] !== due) wrong.push(code);
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

ws("close: queued messages are sent before it, and nothing after it", () => {
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
  wire.send(text("x", { masked: false }));
  assert.equal(lines(wire.take()), ["close 1000"]);
  assert.is(wire.log.at(-1), "end WsBadMask");
  drive.end();
});

// ---- UTF-8 ------------------------------------------------------------------------------------

for (const [name, payload, at] of BROKEN) {
  ws(`utf-8: ${name} fails at the first impossible byte`, () => {
    const drive = new Drive();
    // In one frame that has not ended, and with a frame for each byte.
    const wire = drive.webSocket();
    const input = text(`${payload}${"x".repeat(50)}`);
    for (let i = 0; i < 6 + at; i++) wire.send(input.subarray(i, i + 1));
    assert.equal(lines(wire.take()), [], "failed too early");
    wire.send(input.subarray(6 + at, 7 + at));
    assert.equal(lines(wire.take()), [closeLine("WsBadUtf8")]);
    const other = drive.webSocket();
    for (let i = 0; i <= at; i++) {
      assert.equal(lines(other.take()), [], "failed too early");
      other.send(frame(i === 0 ? 1 : 0, payload.slice(i, i + 1), FIRST));
    }
    assert.equal(lines(other.take()), [closeLine("WsBadUtf8")]);
    const binary = drive.webSocket().send(frame(2, payload));
    assert.is(binary.messages.length, 1, "binary is not text");
    drive.end();
  });
}

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

ws("a held connection keeps arriving bytes, in order", () => {
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

ws("bytes sent to a held connection are emitted unharmed", () => {
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
