// Limits over TCP: what a client sees of them, and what the counters say.

import * as net from "node:net";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  TEXT,
  Wire,
  WsWire,
  clientFrame,
  closeOf,
  handlerOf,
  serving,
  sleep,
  takeAnswer,
  until,
  within,
} from "./peer";

const limits = suite("limits");

const GET = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

/** A connection from another address of this machine. */
function from(port: number, localAddress: string): Promise<Wire> {
  const opened = new Promise<Wire>((resolve, reject) => {
    const tcp = net.connect({ port, host: "127.0.0.1", localAddress, allowHalfOpen: true });
    tcp.once("error", reject);
    tcp.once("connect", () => {
      tcp.off("error", reject);
      resolve(new Wire({ socket: tcp, tcp }));
    });
  });
  return within(opened, "connect");
}

limits("connections over those of one address are reset, others are not", () =>
  serving("http", { maxConnectionsPerAddress: 3 }, async (server, port) => {
    const mine = [await Wire.open(port), await Wire.open(port), await Wire.open(port)];
    const fourth = await Wire.open(port);
    await until("reset", () => fourth.closed);
    assert.is((fourth.error as NodeJS.ErrnoException | undefined)?.code, "ECONNRESET");
    const other = await from(port, "127.0.0.2");
    for (const wire of [...mine, other]) {
      wire.write(GET);
      assert.is((await takeAnswer(wire)).status, 200);
    }
    assert.equal((await server.stats()).closed, { AddressLimit: 1 });
    assert.is((await server.stats()).addresses, 2);
    mine[0]?.reset();
    await until("an end", async () => (await server.stats()).closed.PeerReset === 1);
    const again = await Wire.open(port);
    again.write(GET);
    assert.is((await takeAnswer(again)).status, 200);
    for (const wire of [...mine, other, again]) wire.destroy();
  }),
);

limits("a WebSocket is a connection of its address until it has gone", () =>
  serving("echo", { maxConnectionsPerAddress: 1 }, async (server, port) => {
    for (let i = 0; i < 3; i++) {
      const ws = await WsWire.open(port);
      const refused = await Wire.open(port);
      await until("reset", () => refused.closed);
      ws.send(1, "still here");
      assert.is(await ws.text(), "still here");
      ws.destroy();
      await until("no connection", async () => (await server.stats()).addresses === 0);
    }
    assert.is((await server.stats()).closed.AddressLimit, 3);
  }),
);

limits("messages over the rate are close 1008; those before it are answered", () =>
  serving("echo", { messageRate: 50, messageBurst: 20 }, async (server, port) => {
    const wild = await WsWire.open(port);
    const calm = await WsWire.open(port);
    wild.socket.write(
      Buffer.concat(Array.from({ length: 30 }, (_, i) => clientFrame(TEXT, `${i}`))),
    );
    for (let i = 0; i < 20; i++) assert.is(await wild.text(), `${i}`);
    assert.is(closeOf(await wild.next()).code, 1008);
    for (let i = 0; i < 30; i++) {
      calm.send(TEXT, `${i}`);
      assert.is(await calm.text(), `${i}`);
      await sleep(25);
    }
    wild.destroy();
    await until("the end", async () => (await server.stats()).closed.Rate === 1);
    calm.destroy();
  }),
);

limits("a body, and a message, that come too slowly end; those that keep to the rate do not", () =>
  serving("http", { minReceiveRate: 1000, rateGrace: 400 }, async (server, port) => {
    const slow = (await Wire.open(port)).write(
      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n",
    );
    const steady = (await Wire.open(port)).write(
      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n",
    );
    let isOver = false;
    const answer = takeAnswer(slow).finally(() => {
      isOver = true;
    });
    for (let i = 0; i < 10; i++) {
      steady.write("x".repeat(300));
      if (!isOver) slow.write("x");
      await sleep(100);
    }
    assert.is((await answer).status, 408);
    assert.is((await takeAnswer(steady)).body.length, 3000);
    slow.destroy();
    await until("the end", async () => (await server.stats()).closed.ReceiveTooSlow === 1);
    steady.destroy();
  }),
);

limits("a message of which no more comes is close 1008", () =>
  serving("echo", { minReceiveRate: 1000, rateGrace: 200 }, async (server, port) => {
    const ws = await WsWire.open(port);
    ws.socket.write(clientFrame(TEXT, "hello").subarray(0, 8));
    assert.is(closeOf(await ws.next()).code, 1008);
    ws.destroy();
    await until("the end", async () => (await server.stats()).closed.ReceiveTooSlow === 1);
  }),
);

limits("who hardly reads its answers is reset, and holds no reply blocks", () =>
  serving("http", { minSendRate: 10_000_000, rateGrace: 300 }, async (server, port) => {
    const wire = await Wire.open(port);
    wire.socket.pause();
    const ask = "GET /size?n=60000 HTTP/1.1\r\nHost: a\r\n\r\n";
    for (let i = 0; i < 200; i++) wire.write(ask);
    await until("a reset", async () => (await server.stats()).closed.TooSlow === 1);
    assert.is((await server.stats()).replyPool.used, 0);
    wire.destroy();
  }),
);

for (const where of ["worker", "application"] as const) {
  limits(
    `a trusted proxy tells who asks, and others do not; the handler is in the ${where}`,
    async () => {
      const handler = await handlerOf("http", where);
      await serving("http", { handler, trustProxy: ["127.0.0.1"] }, async (_server, port) => {
        const proxy = await Wire.open(port);
        const stranger = await from(port, "127.0.0.2");
        const ask = async (wire: Wire, client: string): Promise<string> => {
          wire.write(`GET /all HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: ${client}\r\n\r\n`);
          return JSON.parse((await takeAnswer(wire)).body.toString()).remoteAddress;
        };
        assert.is(await ask(proxy, "6.6.6.6, 2001:db8::1"), "2001:db8::1");
        assert.is(await ask(proxy, "192.0.2.1, 127.0.0.1"), "192.0.2.1");
        assert.is(await ask(proxy, "unknown"), "127.0.0.1");
        assert.is(await ask(stranger, "192.0.2.1"), "127.0.0.2");
        proxy.destroy();
        stranger.destroy();
      });
    },
  );
}

limits.run();
