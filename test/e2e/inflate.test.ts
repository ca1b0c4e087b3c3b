// Compressed messages from a hand-made client: fragments, reserved bits where they may not be, data that
// is no deflate, text that is no UTF-8.

import { once } from "node:events";
import * as net from "node:net";
import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { serverFrame } from "../lib/server-frame";
import { serving, until, within } from "./peer";

const inflate = suite("inflate");

function pack(data: string | Buffer): Buffer {
  const packed = deflateRawSync(data, { finishFlush: constants.Z_SYNC_FLUSH });
  return packed.subarray(0, packed.length - 4);
}

/** Returns a masked frame whose first byte is given. */
function frame(first: number, payload: Buffer): Buffer {
  const length = payload.length;
  const head = length < 126 ? [first, 0x80 | length] : [first, 0xfe, length >> 8, length & 255];
  const mask = [1, 2, 3, 4];
  const masked = payload.map((byte, i) => byte ^ (mask[i & 3] as number));
  return Buffer.concat([Buffer.from([...head, ...mask]), masked]);
}

/** Returns a server's whole frames so far as "opcode payload". */
function framesIn(received: Buffer): string[] {
  const head = received.indexOf("\r\n\r\n");
  const log: string[] = [];
  if (head < 0) return log;
  for (let at = head + 4; ; ) {
    const found = serverFrame(received, at);
    if (typeof found === "number") break;
    const { opcode, packed, size } = found;
    let { payload } = found;
    if (packed) {
      payload = inflateRawSync(Buffer.concat([payload, Buffer.from([0, 0, 255, 255])]), {
        finishFlush: constants.Z_SYNC_FLUSH,
      });
    }
    log.push(`${opcode} ${opcode === 8 ? payload.readUInt16BE(0) : payload.toString()}`);
    at += size;
  }
  return log;
}

/**
 * Sends frames after an upgrade, and a Close when as many frames as are `due` have come: a handler on another thread
 * says nothing any more behind a Close. @returns the server's frames up to its Close
 */
async function exchange(port: number, frames: readonly Buffer[], due: number): Promise<string[]> {
  const socket = net.connect(port, "127.0.0.1");
  let received: Buffer = Buffer.alloc(0);
  const ended = once(socket, "end");
  socket.on("data", (bytes) => {
    received = Buffer.concat([received, bytes]);
  });
  socket.on("error", () => undefined);
  socket.write(
    "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" +
      "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
  );
  for (const bytes of frames) socket.write(bytes);
  await until(`${due} frames`, () => framesIn(received).length >= due);
  socket.write(frame(0x88, Buffer.from([3, 232])));
  await within(ended, "the end");
  socket.destroy();
  return framesIn(received);
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
    "that is no deflate: 1007, and nothing behind it is looked at",
    [frame(0xc1, Buffer.from([255, 255, 255])), frame(0x89, Buffer.from("p")), frame(0xc1, hello)],
    ["8 1007"],
  ],
  ["that is cut: 1007", [frame(0xc1, hello.subarray(0, 4))], ["8 1007"]],
  [
    "behind a final block",
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
