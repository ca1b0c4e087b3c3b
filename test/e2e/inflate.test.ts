// Compressed messages from a hand-made client: fragments, reserved bits where they may not be, data that
// is no deflate, text that is no UTF-8.

import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { CLOSE, type Frame, WsWire, clientFrame, serving, until } from "./peer";

const inflate = suite("inflate");

function pack(data: string | Buffer): Buffer {
  const packed = deflateRawSync(data, { finishFlush: constants.Z_SYNC_FLUSH });
  return packed.subarray(0, packed.length - 4);
}

/** Returns a client's frame whose first byte is given. */
function frame(first: number, payload: Uint8Array): Buffer {
  return clientFrame(first & 0x7f, payload, (first & 0x80) === 0 ? "more" : "final");
}

/** Returns a server's frame as "opcode payload". */
function lineOf({ opcode, payload }: Frame): string {
  if (opcode === CLOSE) return `${opcode} ${payload.readUInt16BE(0)}`;
  if ((opcode & 0x40) === 0) return `${opcode} ${payload}`;
  const whole = Buffer.concat([payload, Buffer.from([0, 0, 255, 255])]);
  return `${opcode & 15} ${inflateRawSync(whole, { finishFlush: constants.Z_SYNC_FLUSH })}`;
}

/**
 * Sends frames with the handshake, and a Close when as many frames as are `due` have come: a handler on another thread
 * says nothing any more after a Close. @returns the server's frames up to its Close
 */
async function exchange(port: number, frames: readonly Buffer[], due: number): Promise<string[]> {
  const offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
  const wire = await WsWire.open(port, "/", Buffer.concat(frames), offer);
  await until(`${due} frames`, () => wire.frames.length >= due);
  wire.send(CLOSE, Uint8Array.of(3, 232));
  await wire.gone();
  return wire.frames.map(lineOf);
}

const hello = pack("hello hello hello hello");
const cases: [name: string, frames: Buffer[], log: string[]][] = [
  ["whole", [frame(0xc1, hello)], ["1 hello hello hello hello", "8 1000"]],
  [
    "in fragments, with a ping between",
    [
      frame(0x41, hello.subarray(0, 3)),
      frame(0x89, Buffer.from("p")),
      frame(0x00, hello.subarray(3, 3)),
      frame(0x80, hello.subarray(3)),
    ],
    ["10 p", "1 hello hello hello hello", "8 1000"],
  ],
  ["empty", [frame(0xc1, Buffer.from([0]))], ["1 ", "8 1000"]],
  ["of no octets", [frame(0xc1, Buffer.alloc(0))], ["1 ", "8 1000"]],
  [
    "beside plain ones",
    [frame(0x81, Buffer.from("plain")), frame(0xc2, hello), frame(0x81, Buffer.from("again"))],
    ["1 plain", "2 hello hello hello hello", "1 again", "8 1000"],
  ],
  ["with RSV1 on a continuation: 1002", [frame(0x41, hello), frame(0xc0, hello)], ["8 1002"]],
  ["with RSV1 on a ping: 1002", [frame(0xc9, Buffer.from("p"))], ["8 1002"]],
  ["with RSV2: 1002", [frame(0xe1, hello)], ["8 1002"]],
  ["that is no deflate: 1007", [frame(0xc1, Buffer.from([255, 255, 255]))], ["8 1007"]],
  [
    "that is no deflate: 1007, and no frame after it is handled",
    [frame(0xc1, Buffer.from([255, 255, 255])), frame(0x89, Buffer.from("p")), frame(0xc1, hello)],
    ["8 1007"],
  ],
  ["that is cut: 1007", [frame(0xc1, hello.subarray(0, 4))], ["8 1007"]],
  [
    "after a final block",
    [frame(0xc1, Buffer.concat([deflateRawSync("one, "), pack("two")]))],
    ["1 one, two", "8 1000"],
  ],
  ["that is no UTF-8: 1007", [frame(0xc1, pack(Buffer.from([0x61, 0xff])))], ["8 1007"]],
  [
    "that ends within a character: 1007",
    [frame(0xc1, pack(Buffer.from([0xe2, 0x82])))],
    ["8 1007"],
  ],
  ["of bytes that are no UTF-8", [frame(0xc2, pack(Buffer.from([0x41])))], ["2 A", "8 1000"]],
];

for (const [name, frames, log] of cases) {
  inflate(`a compressed message ${name}`, () =>
    serving("echo", { perMessageDeflate: true, deflateThreshold: 0 }, async (server, port) => {
      const due = log.filter((line) => !line.startsWith("8 ")).length;
      assert.equal(await exchange(port, frames, due), log);
      assert.is((await server.stats()).handlerErrors, 0);
    }),
  );
}

inflate.run();
