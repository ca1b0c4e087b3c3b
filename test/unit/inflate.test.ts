// Compressed messages (RFC 7692 7.2) whose blocks are laid out in every way that is allowed, and in ways
// that are not.

import { randomBytes } from "node:crypto";
import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { zlibCodec } from "../../worker/net/zlib";

const inflate = suite("inflate");

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(" ", ""), "hex");

/** Inflates in steps that write `room` bytes each at most. */
function inSteps(data: Uint8Array, limit: number, room: number): Uint8Array | "large" | "bad" {
  const inflation = zlibCodec.begin?.();
  assert.ok(inflation, "node:zlib has steps");
  const parts: Uint8Array[] = [];
  let length = 0;
  // The codec inflates a message of no octets without zlib.
  for (let steps = 0; !inflation.isDone && data.length > 0; steps++) {
    const out = new Uint8Array(Math.min(room, limit - length + 1));
    const written = inflation.step(data, out);
    if (written === "bad") return "bad";
    parts.push(out.subarray(0, written));
    length += written;
    if (length > limit) return "large";
    assert.ok(steps < 10 + 3 * data.length + length / room, "each step does something");
  }
  inflation.end();
  return Buffer.concat(parts);
}

/** Inflates a message in one call, and in steps of several sizes; the results must be equal. */
const said = (data: Uint8Array, limit = 1000): string => {
  const textOf = (whole: Uint8Array | string): string =>
    typeof whole === "string" ? whole : `"${Buffer.from(whole).toString()}"`;
  const whole = textOf(zlibCodec.inflate(data, limit));
  for (const room of [1, 7, 64, 70000]) {
    assert.is(textOf(inSteps(data, limit, room)), whole, `in steps of ${room}`);
  }
  return whole;
};

/** Returns blocks without data (RFC 1951 3.2.7), each of which declares its codes. */
function emptyBlocks(length: number): Buffer {
  const bits: number[] = [];
  const put = (value: number, count: number): void => {
    for (let i = 0; i < count; i++) bits.push((value >> i) & 1);
  };
  while (bits.length < 8 * length) {
    // Not final, of type 2, with 257 and 1 codes, whose lengths have codes of one bit for 18 and 1.
    for (const [value, count] of [
      [0, 1],
      [2, 2],
      [0, 5],
      [0, 5],
      [14, 4],
    ] as const)
      put(value, count);
    for (const code of [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1]) {
      put(code === 18 || code === 1 ? 1 : 0, 3);
    }
    // 138 and 118 literals without a code, one code for the end and one for a distance; then the end.
    for (const [value, count] of [
      [1, 1],
      [127, 7],
      [1, 1],
      [107, 7],
      [0, 3],
    ] as const)
      put(value, count);
  }
  // The head of the empty stored block whose length is left off.
  put(0, 3);
  while (bits.length % 8 !== 0) put(0, 1);
  const out = Buffer.alloc(bits.length / 8);
  bits.forEach((bit, i) => {
    out[i >> 3] = (out[i >> 3] as number) | (bit << (i & 7));
  });
  return out;
}

const final = (data: string): Buffer => deflateRawSync(data);
const open = (data: string): Buffer =>
  deflateRawSync(data, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);

for (const windowBits of [8, 9, 12, 15]) {
  inflate(`a message sent with a window of 2^${windowBits} needs no larger one`, () => {
    // Repeated at distances from 1 to 40,000, so that a larger window would be used.
    const words = Array.from(
      { length: 3000 },
      (_, i) => `word ${(i * i) % 977} ${"=".repeat(i % 50)}`,
    );
    const text = words.join("\n").repeat(3);
    const packed = zlibCodec.deflate(Buffer.from(text), windowBits);
    assert.ok(packed.length < text.length);
    const whole = Buffer.concat([packed, bytes("00 00 ff ff 03 00")]);
    assert.is(inflateRawSync(whole, { windowBits }).toString(), text);
  });
}

// The examples of RFC 7692 7.2.3.
for (const [name, hex, text] of [
  ["one block", "f2 48 cd c9 c9 07 00", "Hello"],
  ["a stored block", "00 05 00 fa ff 48 65 6c 6c 6f 00", "Hello"],
  ["a final block", "f3 48 cd c9 c9 07 00 00", "Hello"],
  ["two blocks", "f2 48 05 00 00 00 ff ff ca c9 c9 07 00", "Hello"],
  ["nothing", "00", ""],
  ["no octet", "", ""],
] as const) {
  inflate(`reads ${name}`, () => {
    assert.is(said(bytes(hex)), `"${text}"`);
  });
}

inflate("reads on after a final block", () => {
  assert.is(said(Buffer.concat([final("one, "), open("two")])), '"one, two"');
  assert.is(said(Buffer.concat([final("a"), final("b"), final("c"), bytes("00")])), '"abc"');
});

inflate("lets a block refer to data before a final one", () => {
  const dictionary = Buffer.from("the same words again");
  const again = deflateRawSync(dictionary, { dictionary, finishFlush: constants.Z_SYNC_FLUSH });
  const both = Buffer.concat([final(dictionary.toString()), again.subarray(0, -4)]);
  assert.is(said(both), `"${dictionary}${dictionary}"`);
});

inflate("takes a final block to which nothing is appended", () => {
  assert.is(said(final("Hello")), '"Hello"');
});

inflate("refuses a message that is cut, wherever that is", () => {
  const whole = open("a message of several words, several words, and a few more");
  for (let length = 1; length < whole.length; length++) {
    assert.is(said(whole.subarray(0, length)), "bad", `cut to ${length}`);
  }
});

inflate("stops at the limit, in the first run of blocks and after it", () => {
  assert.is(said(open("x".repeat(1000)), 1000), `"${"x".repeat(1000)}"`);
  assert.is(said(open("x".repeat(1001)), 1000), "large");
  const two = Buffer.concat([final("x".repeat(600)), open("y".repeat(401))]);
  assert.is(said(two, 1001), `"${"x".repeat(600)}${"y".repeat(401)}"`);
  assert.is(said(two, 1000), "large");
});

inflate("bounds the final blocks of a message", () => {
  const blocks = (n: number): Buffer => Buffer.alloc(2 * n, bytes("03 00"));
  assert.is(said(blocks(3)), '""');
  // Each takes 20 µs, of two octets.
  assert.is(said(blocks(5)), "bad");
  assert.is(said(blocks(84)), "bad");
  assert.is(said(blocks(1 << 20)), "bad");
  // A sender that ends each of its writes with a final block.
  const noise = randomBytes(200000);
  const writes = Array.from({ length: 50 }, (_, i) =>
    deflateRawSync(noise.subarray(i * 4000, i * 4000 + 4000)),
  );
  const message = Buffer.concat(writes);
  const whole = zlibCodec.inflate(message, 200000);
  assert.is(Buffer.compare(whole as Uint8Array, noise), 0);
  assert.is(Buffer.compare(inSteps(message, 200000, 65536) as Uint8Array, noise), 0);
});

inflate("a step reads a bounded number of octets, also of blocks without output", () => {
  // Empty blocks with codes of their own, of 107 bits: the slowest input for its length.
  const block = emptyBlocks(1 << 16);
  const inflation = zlibCodec.begin?.();
  assert.ok(inflation);
  const out = new Uint8Array(65536);
  let steps = 0;
  for (; !inflation.isDone; steps++) assert.is(inflation.step(block, out), 0);
  assert.ok(steps > 8, `${steps} steps`);
  inflation.end();
});

inflate.run();
