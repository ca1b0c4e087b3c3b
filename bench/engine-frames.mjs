// Frames in: the leaf kernels by themselves, and whole frames through `feed`, by size and kind of text.

import { isUtf8 } from "node:buffer";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { Host } from "./engine-host.mjs";
import { assert, nanos, sink } from "./engine-rounds.mjs";

const require = createRequire(import.meta.url);
/** No entry point of ws, so by its path. */
const ws = require(fileURLToPath(new URL("./node_modules/ws/lib/buffer-util.js", import.meta.url)));

export const SIZES = [16, 125, 1024, 16384, 65536, 1048576];

/**
 * Texts of which the octets, each with its lowest bit turned over, are a text too: so a frame that was unmasked in
 * place is a frame of a text again, and none has to be copied between two rounds.
 */
const TEXTS = {
  ascii: 'Price {"bid":1.0842,"ask":1.0843,"at":1700000000123} ',
  latin: "Größe und Höhe über dem Fluß, à côté de la forêt, año, ",
  cjk: "価格は現在一万二千三百四十五円です。市場は開いています、",
  emoji: "a 😀 rise of 📈 and a 🎉 for 👍 all ",
};
export const KINDS = Object.keys(TEXTS);
const MASK = 0x01010101;

/** Returns a text of `size` octets. */
function textOf(kind, size) {
  const unit = Buffer.from(TEXTS[kind]);
  const bytes = Buffer.alloc(size, "x");
  for (let at = 0; at + unit.length <= size; at += unit.length) unit.copy(bytes, at);
  assert(isUtf8(bytes) && isUtf8(bytes.map((octet) => octet ^ 1)), `${kind} is no text`);
  return bytes;
}

/** Writes `bytes` into a kernel's memory; `at` is the address. */
function withBytes(kernels, bytes) {
  const { exports } = new WebAssembly.Instance(kernels);
  const at = 65536 + 6;
  const pages = Math.ceil((at + bytes.length + 64) / 65536);
  exports.memory.grow(pages - exports.memory.buffer.byteLength / 65536);
  const memory = Buffer.from(exports.memory.buffer);
  memory.set(bytes, at);
  return { exports, memory, at };
}

export function unmaskVariants({ kernels }, size) {
  const bytes = Buffer.from(Array.from({ length: size }, (_, i) => (i * 7919) >>> 3));
  const mask = [0x12, 0xfe, 0x80, 0x7f];
  const word = Buffer.from(mask).readUInt32LE();
  const masked = bytes.map((octet, i) => octet ^ mask[i & 3]);
  const { exports, memory, at } = withBytes(kernels, bytes);
  const copy = Buffer.from(bytes);
  const key = Buffer.from(mask);
  const loop = (call) => (n) => {
    const from = nanos();
    // An even number of times: then it is what it was.
    for (let i = 0; i < n; i++) {
      call();
      call();
    }
    return (nanos() - from) / n / 2;
  };
  return [
    {
      name: "unmask kernel",
      check() {
        exports.unmask(at, at, size, word);
        assert(masked.equals(memory.subarray(at, at + size)), "unmask");
        exports.unmask(at, at, size, word);
        assert(bytes.equals(memory.subarray(at, at + size)), "unmask twice");
      },
      run: loop(() => exports.unmask(at, at, size, word)),
    },
    {
      name: "ws unmask",
      check() {
        ws.unmask(copy, key);
        assert(masked.equals(copy), "ws unmask");
        ws.unmask(copy, key);
      },
      run: loop(() => ws.unmask(copy, key)),
    },
  ];
}

export function utf8Variants({ kernels }, kind, size) {
  const bytes = textOf(kind, size);
  const { exports, memory, at } = withBytes(kernels, bytes);
  return [
    {
      name: "UTF-8 kernel",
      check() {
        assert(exports.validate(at, size, 0) === 0, `${kind} is valid`);
        memory[at + size - 1] = 0xff;
        assert(exports.validate(at, size, 0) >>> 0 === 0xffffffff, `${kind} with ff is not`);
        memory.set(bytes, at);
      },
      run(n) {
        const from = nanos();
        for (let i = 0; i < n; i++) sink.value += exports.validate(at, size, 0);
        return (nanos() - from) / n;
      },
    },
    {
      name: "node isUtf8",
      check() {
        assert(isUtf8(bytes), `${kind} is valid`);
      },
      run(n) {
        const from = nanos();
        for (let i = 0; i < n; i++) if (isUtf8(bytes)) sink.value++;
        return (nanos() - from) / n;
      },
    },
  ];
}

/** Returns a client's frame as it arrives in a window. */
function frameOf(opcode, payload) {
  const size = payload.length;
  const head =
    size < 126
      ? Buffer.from([0x80 | opcode, 0x80 | size])
      : size < 65536
        ? Buffer.from([0x80 | opcode, 0x80 | 126, size >> 8, size & 255])
        : Buffer.from([
            0x80 | opcode,
            0xff,
            0,
            0,
            0,
            0,
            0,
            size >> 16,
            (size >> 8) & 255,
            size & 255,
          ]);
  const mask = Buffer.alloc(4);
  mask.writeUInt32LE(MASK);
  return Buffer.concat([head, mask, payload.map((octet) => octet ^ 1)]);
}

/**
 * Measures `feed` for one frame in the window: head, mask, check of the text, event.
 * @param {"binary" | "ascii" | "latin" | "cjk" | "emoji"} kind
 */
export function feedVariants({ binding, modules }, kind, size) {
  const { EventKind } = binding;
  const payload = textOf(kind === "binary" ? "ascii" : kind, size);
  const frame = frameOf(kind === "binary" ? 2 : 1, payload);
  return modules.map(({ name, module }) => {
    const host = new Host(binding, module);
    const c = host.open();
    const { x } = host;
    const check = (wanted) => {
      assert(x.feed(c.slot, c.generation, frame.length) === frame.length, "the frame is consumed");
      assert(host.events === 1 && host.event(0).kind === EventKind.Message, "a message");
      assert(host.event(0).length === size, "its length");
      const at = host.event(0).pointer;
      assert(wanted.equals(host.engine.u8.subarray(at, at + size)), "its payload");
      host.dropEvents();
    };
    return {
      name: `feed, ${name}`,
      check() {
        host.engine.u8.set(frame, host.engine.window);
        check(payload);
        check(payload.map((octet) => octet ^ 1));
      },
      run(n) {
        const { slot, generation } = c;
        const { length } = frame;
        const from = nanos();
        for (let i = 0; i < n; i++) {
          x.feed(slot, generation, length);
          if (host.events !== 1) throw new Error("no message");
          host.dropEvents();
        }
        return (nanos() - from) / n;
      },
    };
  });
}
