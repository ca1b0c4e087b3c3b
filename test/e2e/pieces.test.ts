// The option `fragments`: messages of any length, handed out as they arrive.

import { createHash } from "node:crypto";
import { once } from "node:events";
import type { Options, Server } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { WebSocket } from "ws";
import { TEXT, TRUST, WsWire, clientFrame, serving, until, wsUrl } from "./peer";
import { portOf } from "../lib/port";

const pieces = suite("pieces");
const MiB = 1 << 20;

const OPTIONS: Options = {
  fragments: true,
  maxPayloadLength: MiB,
  receiveBuffers: 4 * MiB,
  perMessageDeflate: true,
};

const withServer = (fn: (server: Server) => Promise<void>): Promise<void> =>
  serving("pieces", OPTIONS, fn);

interface Reply {
  pieces: number;
  bytes: number;
  sum: string;
  isBinary: boolean;
  left: number;
}

async function ask(socket: WebSocket, send: () => void): Promise<Reply> {
  const reply = once(socket, "message");
  send();
  return JSON.parse(String((await reply)[0])) as Reply;
}

function sha1(data: Buffer): string {
  return createHash("sha1").update(data).digest("hex");
}

async function connect(server: Server, path = "/", deflate = false): Promise<WebSocket> {
  const perMessageDeflate = deflate && { threshold: 0 };
  const socket = new WebSocket(wsUrl(portOf(server), path), { perMessageDeflate, ...TRUST });
  await once(socket, "open");
  return socket;
}

pieces("a message larger than every buffer arrives in pieces", () =>
  withServer(async (server) => {
    const socket = await connect(server);
    for (const size of [0, 1, 70000, 64 * MiB]) {
      const data = Buffer.alloc(size, "abcdefghijk");
      const reply = await ask(socket, () => socket.send(data));
      assert.is(reply.bytes, size);
      assert.is(reply.sum, sha1(data));
      assert.is(reply.left, 0);
      assert.ok(reply.isBinary);
    }
    const { receivePool } = await server.stats();
    assert.is(receivePool.used, 0);
    socket.terminate();
  }),
);

pieces("text in many frames is one message", () =>
  withServer(async (server) => {
    const socket = await connect(server);
    const reply = await ask(socket, () => {
      for (let i = 0; i < 1000; i++) socket.send("déjà ", { fin: i === 999 });
    });
    assert.is(reply.bytes, Buffer.byteLength("déjà ") * 1000);
    assert.is(reply.pieces, 1000);
    assert.not.ok(reply.isBinary);
    socket.terminate();
  }),
);

pieces("pausing at every piece holds the client back, and loses nothing", () =>
  withServer(async (server) => {
    const socket = await connect(server, "/slow");
    const data = Buffer.alloc(20 * MiB, "0123456789");
    const reply = await ask(socket, () => socket.send(data));
    assert.is(reply.sum, sha1(data));
    socket.terminate();
  }),
);

pieces(
  "an empty last fragment ends its message once, whatever the cut, paused at every piece",
  () =>
    withServer(async (server) => {
      const frames = Buffer.concat([
        clientFrame(TEXT, "ab", "more"),
        clientFrame(0, "", "more"),
        clientFrame(0),
        clientFrame(TEXT, "end"),
      ]);
      for (let cut = 1; cut <= frames.length; cut++) {
        const wire = await WsWire.open(portOf(server), "/slow");
        const { bytesIn } = await server.stats();
        wire.socket.write(frames.subarray(0, cut));
        const isRead = async (): Promise<boolean> => (await server.stats()).bytesIn > bytesIn;
        await until("first part", isRead);
        wire.socket.write(frames.subarray(cut));
        for (const text of ["ab", "end"]) {
          const reply = JSON.parse(await wire.text()) as Reply;
          const got = [reply.bytes, reply.sum, reply.left];
          assert.equal(got, [text.length, sha1(Buffer.from(text)), 0], `cut at ${cut}`);
        }
        wire.destroy();
      }
      assert.is((await server.stats()).handlerErrors, 0);
    }),
);

pieces("a compressed message arrives whole, and has a limit", () =>
  withServer(async (server) => {
    const socket = await connect(server, "/", true);
    const data = Buffer.alloc(MiB, "x");
    const reply = await ask(socket, () => socket.send(data));
    assert.equal([reply.pieces, reply.sum], [1, sha1(data)]);
    socket.send(Buffer.alloc(MiB + 1, "x"));
    assert.is((await once(socket, "close"))[0], 1009);
  }),
);

pieces("text that is not UTF-8 fails at its first wrong byte", () =>
  withServer(async (server) => {
    const socket = await connect(server);
    socket.send(Buffer.from([0x61, 0xff]), { binary: false, fin: false });
    assert.is((await once(socket, "close"))[0], 1007);
  }),
);

pieces.run();
