// The oracle that all clients in the tests read frames with: it takes what RFC 6455 allows a server, and nothing else.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { frameHead, serverFrame, serverFrames } from "../lib/server-frame";

const oracle = suite("server-frame");

const octets = (hex: string): Buffer => Buffer.from(hex.replaceAll(" ", ""), "hex");

oracle("reads the examples of RFC 6455 5.7, and fragments", () => {
  const bytes = octets("81 05 48656c6c6f  01 03 48656c  80 02 6c6f  89 00  c1 01 00");
  const found = serverFrames(bytes).map(({ first, final, packed, opcode, payload }) => [
    ...[first, final, packed, opcode, payload.toString("latin1")],
  ]);
  assert.equal(found, [
    [0x81, true, false, 1, "Hello"],
    [0x01, false, false, 1, "Hel"],
    [0x80, true, false, 0, "lo"],
    [0x89, true, false, 9, ""],
    [0xc1, true, true, 1, "\0"],
  ]);
});

oracle("reads every form of a length, and says how many octets a part of a frame needs", () => {
  for (const [head, length] of [
    ["82 00", 0],
    ["82 7d", 125],
    ["82 7e 007e", 126],
    ["82 7e ffff", 65535],
    ["82 7f 0000000000010000", 65536],
  ] as const) {
    const start = octets(head);
    const bytes = Buffer.concat([start, Buffer.alloc(length, 7)]);
    for (let n = 0; n < start.length; n++) {
      const needed = n < 2 ? 2 : start.length;
      assert.is(serverFrame(bytes.subarray(0, n)), needed, `${n} octets of ${head}`);
    }
    if (length > 0) assert.is(serverFrame(bytes.subarray(0, -1)), bytes.length);
    const whole = serverFrame(Buffer.concat([octets("00"), bytes]), 1);
    assert.ok(typeof whole !== "number");
    assert.equal([whole.size, whole.payload], [bytes.length, Buffer.alloc(length, 7)], head);
  }
  assert.throws(() => serverFrames(octets("81 05 4865")), /a frame is cut/);
});

oracle("refuses frames that no server may send", () => {
  for (const [hex, error] of [
    ["a1 00", /reserved bit/],
    ["91 00", /reserved bit/],
    ["83 00", /opcode 3/],
    ["8b 00", /opcode 11/],
    ["81 80", /masked/],
    ["09 00", /bad control frame/],
    ["c8 00", /bad control frame/],
    ["88 7e 007e", /bad control frame/],
    ["81 7e 007d", /shortest form/],
    ["81 7f 000000000000ffff", /shortest form/],
  ] as const)
    assert.throws(() => frameHead(octets(hex)), error, hex);
});

oracle.run();
