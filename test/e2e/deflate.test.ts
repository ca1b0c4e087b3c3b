// permessage-deflate over real sockets, with the client of npm `ws`: negotiation, messages both ways,
// broadcasts to clients with and without it.

import type { Options, Server } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { WebSocket } from "ws";
import { Random } from "../../host/testing/random";
import { TRUST, serving, wsUrl } from "./peer";
import { portOf } from "../lib/port";

const deflate = suite("deflate");

interface Client {
  readonly socket: WebSocket;
  readonly received: (string | Buffer)[];
  next(): Promise<string | Buffer>;
}

async function connect(server: Server, perMessageDeflate: object | boolean): Promise<Client> {
  const socket = new WebSocket(wsUrl(portOf(server)), { perMessageDeflate, ...TRUST });
  const received: (string | Buffer)[] = [];
  const waiters: ((data: string | Buffer) => void)[] = [];
  socket.on("message", (data, isBinary) => {
    const message = isBinary ? (data as Buffer) : String(data);
    const waiter = waiters.shift();
    if (waiter) waiter(message);
    else received.push(message);
  });
  await new Promise((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("error", reject);
  });
  return {
    socket,
    received,
    next() {
      const first = received.shift();
      if (first !== undefined) return Promise.resolve(first);
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error("no message within 20 s")), 20000);
        waiters.push((data) => {
          clearTimeout(timer);
          resolve(data);
        });
      });
    },
  };
}

const withServer = (fn: (server: Server) => Promise<void>, options: Options = {}): Promise<void> =>
  serving("echo", { perMessageDeflate: true, ...options }, fn);

deflate("is off unless it is switched on", () =>
  withServer(
    async (server) => {
      const client = await connect(server, true);
      assert.is(client.socket.extensions, "");
      client.socket.terminate();
    },
    { perMessageDeflate: false },
  ),
);

const offers: [name: string, offer: object, extension: string][] = [
  ["the defaults", {}, "permessage-deflate"],
  [
    "no takeover either way",
    { clientNoContextTakeover: true, serverNoContextTakeover: true },
    "permessage-deflate",
  ],
  ["a smaller window of the server", { serverMaxWindowBits: 9 }, "permessage-deflate"],
  ["a smaller window of the client", { clientMaxWindowBits: 10 }, "permessage-deflate"],
];

for (const [name, offer, extension] of offers) {
  deflate(`echoes messages of every size: ${name}`, () =>
    withServer(async (server) => {
      const client = await connect(server, { threshold: 0, ...offer });
      assert.is(client.socket.extensions, extension);
      const random = new Random(1);
      for (const size of [0, 1, 125, 126, 1000, 1024, 65535, 65536, 1048577, 4194304]) {
        const text = "compress me ".repeat(Math.ceil(size / 12)).slice(0, size);
        client.socket.send(text);
        assert.ok((await client.next()) === text, `text of ${size}`);
        const bytes = Buffer.from(random.bytes(Math.min(size, 70000)));
        client.socket.send(bytes);
        assert.ok(bytes.equals((await client.next()) as Buffer), `bytes of ${size}`);
      }
      client.socket.terminate();
    }),
  );
}

deflate("a broadcast reaches clients with compression and clients without", () =>
  withServer(async (server) => {
    const clients = [
      await connect(server, true),
      await connect(server, false),
      await connect(server, { serverMaxWindowBits: 10 }),
    ];
    for (let i = 0; i < 300; i++) {
      const size = i % 3 === 0 ? 10 : i % 3 === 1 ? 1500 : 30000;
      const text = `${i} ${"same words again and again ".repeat(Math.ceil(size / 27))}`;
      while (!server.broadcast(text)) await server.ready();
      for (const client of clients) assert.ok((await client.next()) === text, `message ${i}`);
    }
    for (const { socket } of clients) socket.terminate();
  }),
);

deflate("compressed and plain messages keep their order, from both threads", () =>
  withServer(async (server) => {
    const client = await connect(server, true);
    const due: string[] = [];
    for (let i = 0; i < 500; i++) {
      const text = `${i} ${"x".repeat((i * 37) % 5000)}`;
      due.push(text);
      while (!server.broadcast(text, { compress: i % 4 !== 0 })) await server.ready();
    }
    for (const text of due) assert.ok((await client.next()) === text);
    client.socket.terminate();
  }),
);

deflate("a message of maxPayloadLength is taken although compression makes it larger", () =>
  withServer(
    async (server) => {
      for (const size of [125, 20000, 65536]) {
        const client = await connect(server, { threshold: 0, zlibDeflateOptions: { memLevel: 1 } });
        const data = Buffer.from(new Random(size).bytes(size));
        client.socket.send(data);
        assert.ok(data.equals((await client.next()) as Buffer), `${size} bytes`);
        client.socket.terminate();
      }
      const client = await connect(server, { threshold: 0 });
      client.socket.send(Buffer.from(new Random(1).bytes(65537)));
      const code = await new Promise((resolve) => client.socket.once("close", resolve));
      assert.is(code, 1009);
    },
    { maxPayloadLength: 65536 },
  ),
);

deflate("a decompression bomb is stopped at maxPayloadLength: 1009", () =>
  withServer(
    async (server) => {
      const client = await connect(server, { threshold: 0 });
      client.socket.send(Buffer.alloc(50 * 1048576));
      const code = await new Promise((resolve) => client.socket.once("close", resolve));
      assert.is(code, 1009);
      assert.is((await server.stats()).closed.WsMessageTooLarge, 1);
    },
    { maxPayloadLength: 1048576 },
  ),
);

deflate.run();
