// Close reasons: the engine's octets on the wire equal the host's table.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  CLOSE_REASONS,
  CloseReason,
  Control,
  REASON_BYTES,
  REASON_TEXT,
  RESERVED_CONFIGURED,
  RESERVED_EOF,
} from "../../assembly/abi";
import { CLOSE_TABLE, reasonName } from "../../host/shared/close";
import { Drive } from "../lib/drive";
import { lines } from "../lib/frame";
import { handshake } from "../lib/handshake";
import { responsesOf } from "../lib/response";

const close = suite("close");

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
type Name = keyof typeof CLOSE_TABLE;
const NAMES = Object.keys(CLOSE_TABLE) as Name[];

close("every reason has a row, and every row a reason", () => {
  const names = Object.keys(CloseReason).filter((key) => !/^-?\d+$/.test(key));
  assert.equal([...NAMES].sort(), names.sort());
});

close("the table cannot be changed by its users", () => {
  assert.ok(Object.isFrozen(CLOSE_TABLE));
  for (const name of NAMES) assert.ok(Object.isFrozen(CLOSE_TABLE[name]), name);
});

close("every number but the reserved ones is that of a reason, the reference's first", () => {
  const numbers = NAMES.map((name) => CloseReason[name]).sort((a, b) => b - a);
  const all = Array.from({ length: CLOSE_REASONS }, (_, i) => -1 - i);
  const reserved = [-4, -57];
  assert.equal([RESERVED_EOF, RESERVED_CONFIGURED], reserved);
  assert.equal(
    numbers,
    all.filter((number) => !reserved.includes(number)),
  );
  assert.is(CloseReason.UnsupportedTransferEncoding, -23);
  for (const name of NAMES) assert.is(reasonName(CloseReason[name]), name);
});

close("every text is one line, unlike the others", () => {
  const texts = NAMES.map((name) => CLOSE_TABLE[name].text);
  for (const text of texts) assert.match(text, /^[a-zA-Z][\x20-\x7e]+[^.]$/);
  assert.is(new Set(texts).size, texts.length);
});

close("every text of a Close frame fits into its record", () => {
  const most = Math.min(123, REASON_BYTES - REASON_TEXT);
  for (const name of NAMES) {
    const { text, code } = CLOSE_TABLE[name];
    assert.ok(code === 0 || text.length <= most, `${name}: ${text.length} bytes, over ${most}`);
  }
});

close("there is a counter for every reason", () => {
  assert.ok(Control.CloseCount + CLOSE_REASONS < Control.COUNT);
});

for (const name of NAMES) {
  const reason = CloseReason[name];
  const { status, code, text } = CLOSE_TABLE[name];

  close(`${name}: a request is ${status ? `refused with ${status}` : "dropped"}`, () => {
    const drive = new Drive();
    drive.answer = () => undefined;
    const wire = drive.connect().send(GET);
    drive.engine.x.abandon(wire.slot, wire.generation, reason);
    drive.turn();
    const statuses = responsesOf(wire.text).map((reply) => reply.status);
    assert.equal(statuses, status ? [status] : []);
    assert.is(wire.log.at(-1), status ? `end ${name}` : `closed ${name}`);
    if (status) wire.finish();
    assert.is(wire.log.at(-1), `closed ${name}`);
    assert.is(drive.engine.control[Control.CloseCount - reason], 1);
    drive.end();
  });

  close(`${name}: a WebSocket ${code ? `gets ${code} and the text` : "is dropped"}`, () => {
    const drive = new Drive();
    const wire = drive.webSocket();
    drive.engine.x.abandon(wire.slot, wire.generation, reason);
    drive.turn();
    assert.equal(lines(wire.take()), code ? [`close ${code} ${text}`] : []);
    assert.is(wire.log.at(-1), code ? `end ${name}` : `closed ${name}`);
    if (code) wire.finish();
    assert.is(wire.log.at(-1), `closed ${name}`);
    assert.is(drive.engine.control[Control.CloseCount - reason], 1);
    drive.end();
  });
}

close(
  "a client that sends after its end is read no more, and is closed when its time is up",
  () => {
    const drive = new Drive();
    const { engine } = drive;
    const limit = 16777216;
    const bytes = new Uint8Array(engine.windowBytes);
    const begin = [
      () => drive.connect().send("GARBAGE\r\n"),
      () => drive.webSocket().send(Uint8Array.of(255, 255)),
    ];
    for (const connect of begin) {
      const wire = connect();
      assert.match(wire.log.at(-1) ?? "", /^end /);
      for (let sent = 0; sent < limit; sent += bytes.length) {
        assert.not(engine.isDeaf(wire.slot), `after ${sent}`);
        wire.send(bytes);
      }
      wire.send("x");
      assert.ok(engine.isDeaf(wire.slot));
      drive.after(60000);
      assert.match(wire.log.at(-1) ?? "", /^closed /);
      assert.not(engine.isDeaf(drive.connect().slot));
    }
    drive.end();
  },
);

close("a dismissed connection ends as its state asks", () => {
  const drive = new Drive();
  drive.answer = () => undefined;
  const idle = drive.connect();
  const head = drive.connect().send("GET /");
  const out = drive.connect().send(GET);
  const { x } = drive.engine;
  for (const wire of [idle, head, out]) x.dismiss(wire.slot, wire.generation);
  x.stop();
  drive.turn();
  assert.equal(idle.log, ["end Shutdown"]);
  assert.is(idle.text, "");
  assert.equal(head.log, ["end Shutdown"]);
  assert.is(responsesOf(head.text)[0]?.status, 503);
  assert.equal(out.log, ["GET / 1.1"]);
  out.respond();
  drive.turn();
  assert.equal(out.log, ["GET / 1.1", "end Ok"], "answered first, then ended");
  drive.end();
});

close("no slot for a WebSocket is 503, or the end of the one with the largest lag", () => {
  const full = new Drive({ WebSockets: 2 });
  full.webSocket();
  full.webSocket();
  const refused = full.connect().send(handshake());
  assert.is(responsesOf(refused.text)[0]?.status, 503);
  assert.is(refused.log.at(-1), "end NoRoom");
  full.end();

  const evicting = new Drive({ WebSockets: 2, EvictWhenFull: 1 });
  evicting.webSocket();
  const slow = evicting.webSocket();
  slow.stalled = true;
  evicting.publish("x");
  evicting.turn();
  evicting.webSocket();
  assert.is(slow.log.at(-1), "closed Evicted");
  assert.ok(slow.reset);
  assert.is(slow.lag, 3);
  evicting.end();
});

close("each connection is counted once, under the reason it ended for", () => {
  const drive = new Drive();
  drive.connect().send("GARBAGE\r\n").finish();
  drive.connect().send(GET).finish();
  drive.webSocket().lose();
  drive.after(60000);
  let sum = 0;
  for (const name of NAMES)
    sum += drive.engine.control[Control.CloseCount - CloseReason[name]] ?? 0;
  assert.is(sum, 3);
  assert.is(drive.engine.get(Control.Accepted), 3);
  drive.end();
});

close.run();
