// A WebSocket that is held while a message of it is out: nothing of it stays in the receive window, which
// belongs to whoever is read next.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Drive, type Wire } from "../drive";
import { text } from "../frame";

const held = suite("held");

/** One read, whose handler holds the connection; then it is let go. @returns bytes left while it was held */
function readAndHold(wire: Wire, bytes: Uint8Array): number {
  const { engine } = wire.drive;
  const { slot, generation } = wire;
  engine.u8.set(bytes, engine.window);
  engine.x.feed(slot, generation, bytes.length);
  engine.x.hold(slot, generation, 1);
  wire.drive.handle();
  const left = engine.x.resume(slot, generation);
  if (left > 0) assert.is(engine.x.retain(slot, generation), 1);
  wire.drive.handle();
  wire.drive.check();
  engine.x.hold(slot, generation, 0);
  return left;
}

function goOn(wire: Wire): void {
  wire.drive.engine.x.resume(wire.slot, wire.generation);
  wire.drive.handle();
  wire.drive.turn();
}

held("a message assembled of two reads leaves the window", () => {
  const drive = new Drive();
  const wire = drive.webSocket();
  const other = drive.webSocket();
  const frame = text("a message of two reads");
  wire.send(frame.subarray(0, 12));
  assert.is(readAndHold(wire, frame.subarray(12)), 0);
  other.send(text("x").subarray(0, 3));
  goOn(wire);
  wire.send(text("next"));
  other.send(text("x").subarray(3));
  assert.equal(wire.log.slice(1), ['text "a message of two reads"', 'text "next"']);
  assert.equal(other.log.slice(1), ['text "x"']);
  drive.end();
});

held("a fault behind a message is not forgotten", () => {
  const drive = new Drive();
  const wire = drive.webSocket();
  const bad = text(Uint8Array.of(0x61, 0xff));
  assert.is(readAndHold(wire, Buffer.concat([text("first"), bad])), 0);
  assert.equal(wire.log.slice(1), ['text "first"']);
  goOn(wire);
  assert.equal(wire.log.slice(1), ['text "first"', "end WsBadUtf8"]);
  drive.end();
});

for (const [what, bytes, log] of [
  ["a Close", Uint8Array.of(0x88, 0x80, 0, 0, 0, 0), ['peer close 1005 ""', "end PeerClosed"]],
  ["a fault", Uint8Array.of(0x83), ["end WsUnknownOpcode"]],
] as const) {
  held(`${what} waits for messages that are handled elsewhere`, () => {
    const drive = new Drive();
    const { engine } = drive;
    const wire = drive.webSocket();
    const { slot, generation } = wire;
    engine.x.relay(slot, generation, 1);
    wire.send(Buffer.concat([text("first"), text("second")]));
    wire.send(bytes);
    assert.equal(wire.log.slice(1), ['text "first"', 'text "second"', "end waits"]);
    assert.is(wire.take().length, 0);
    drive.check();
    engine.x.relay(slot, generation, 0);
    engine.x.hold(slot, generation, 0);
    goOn(wire);
    assert.equal(wire.log.slice(4), log);
    drive.end();
  });
}

held("bytes behind a message are kept", () => {
  const drive = new Drive();
  const wire = drive.webSocket();
  const frame = text("one");
  wire.send(frame.subarray(0, 7));
  const rest = Buffer.concat([frame.subarray(7), text("two"), text("three")]);
  assert.ok(readAndHold(wire, rest) > 0);
  assert.equal(wire.log.slice(1), ['text "one"']);
  goOn(wire);
  assert.equal(wire.log.slice(1), ['text "one"', 'text "two"', 'text "three"']);
  drive.end();
});

held.run();
