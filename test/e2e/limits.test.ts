// Limits over TCP: their effects on a client, and their counters.

import * as net from "node:net";
import * as tls from "node:tls";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  CERTIFICATE,
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

/** Opens a connection from another address of this machine. */
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

/** Returns how a connection that is refused ends. It may be reset before it is known to be there. */
function endOf(port: number, first = ""): Promise<string> {
  const ended = new Promise<string>((resolve) => {
    const tcp = net.connect({ port, host: "127.0.0.1" });
    tcp.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? ""));
    tcp.on("close", () => resolve("closed"));
    tcp.on("end", () => resolve("FIN"));
    tcp.resume();
    if (first !== "") tcp.write(first);
  });
  return within(ended, "end");
}

limits("connections over those of one address are reset, others are not", () =>
  serving("http", { maxConnectionsPerAddress: 3 }, async (server, port) => {
    const mine = [await Wire.open(port), await Wire.open(port), await Wire.open(port)];
    assert.is(await endOf(port), "ECONNRESET");
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
      assert.is(await endOf(port), "ECONNRESET");
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
    const reason = "WebSocket messages arrived faster than messageRate";
    assert.equal(closeOf(await wild.next()), { code: 1008, reason });
    for (let i = 0; i < 30; i++) {
      calm.send(TEXT, `${i}`);
      assert.is(await calm.text(), `${i}`);
      // 40 a second, of 50 that are allowed.
      await sleep(25);
    }
    wild.destroy();
    await until("the end", async () => (await server.stats()).closed.Rate === 1);
    calm.destroy();
  }),
);

limits("a body or a message below the rate ends its connection, one at the rate does not", () =>
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
      // 3000 and 10 bytes a second, where 1000 are wanted.
      await sleep(100);
    }
    assert.is((await answer).status, 408);
    assert.is((await takeAnswer(steady)).body.length, 3000);
    slow.destroy();
    await until("the end", async () => (await server.stats()).closed.ReceiveTooSlow === 1);
    steady.destroy();
  }),
);

limits("a message that stops halfway is close 1008", () =>
  serving("echo", { minReceiveRate: 1000, rateGrace: 200 }, async (server, port) => {
    const ws = await WsWire.open(port);
    ws.socket.write(clientFrame(TEXT, "hello").subarray(0, 8));
    const reason = "a body or message came slower than minReceiveRate";
    assert.equal(closeOf(await ws.next()), { code: 1008, reason });
    ws.destroy();
    await until("the end", async () => (await server.stats()).closed.ReceiveTooSlow === 1);
  }),
);

limits("a client that hardly reads its responses is reset, and holds no reply blocks", () =>
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
    `the client's address is taken from a trusted proxy alone; the handler is in the ${where}`,
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

limits("a PROXY header names the client, cut anywhere; without one a connection is reset", () =>
  serving("http", { proxyProtocol: ["loopback"] }, async (server, port) => {
    const ask = "GET /all HTTP/1.1\r\nHost: a\r\n\r\n";
    for (const cut of [0, 1, 20, 41, 42, 60]) {
      const wire = await Wire.open(port);
      const all = `PROXY TCP4 192.0.2.1 127.0.0.1 4711 80\r\n${ask}`;
      const { bytesIn } = await server.stats();
      wire.write(all.slice(0, cut));
      await until("first part", async () => (await server.stats()).bytesIn === bytesIn + cut);
      wire.write(all.slice(cut));
      const { body } = await takeAnswer(wire);
      assert.is(JSON.parse(body.toString()).remoteAddress, "192.0.2.1");
      wire.destroy();
    }
    assert.is(await endOf(port, ask), "ECONNRESET");
    assert.is((await server.stats()).closed.BadProxyHeader, 1);
  }),
);

/** Sends a request over TLS after a header, whose last `late` bytes come with those of the handshake. */
async function askBehind(port: number, header: string, late: number): Promise<string> {
  const tcp = net.connect({ port, host: "127.0.0.1" });
  tcp.setNoDelay(true);
  tcp.write(header.slice(0, header.length - late));
  // The parts are to arrive one by one. Bytes before a handshake are not counted, so nothing tells.
  await sleep(20);
  if (late > 0) {
    tcp.cork();
    tcp.write(header.slice(header.length - late));
    setImmediate(() => tcp.uncork());
  }
  const socket = tls.connect({ socket: tcp, ca: CERTIFICATE.cert });
  const answer = new Promise<string>((resolve, reject) => {
    let text = "";
    socket.on("data", (bytes: Buffer) => {
      text += bytes.toString("latin1");
    });
    socket.on("end", () => resolve(text));
    socket.on("error", reject);
  });
  socket.write("GET /all HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  const text = await within(answer, "answer");
  return JSON.parse(text.slice(text.indexOf("\r\n\r\n"))).remoteAddress;
}

limits("a PROXY header comes before TLS", () =>
  serving("http", { tls: CERTIFICATE, proxyProtocol: true }, async (server, port) => {
    const header = "PROXY TCP6 2001:db8::1 ::1 4711 443\r\n";
    for (const late of [0, 1, 20, header.length])
      assert.is(await askBehind(port, header, late), "2001:db8::1", `${late} late`);
    assert.is(await askBehind(port, "PROXY UNKNOWN\r\n", 0), "127.0.0.1");
    assert.is(await endOf(port, "\x16\x03\x01 a handshake"), "ECONNRESET");
    await until("ends", async () => (await server.stats()).connections === 0);
    const { accepted, addresses, closed } = await server.stats();
    assert.equal([accepted, addresses], [6, 0]);
    assert.is(closed.BadProxyHeader, 1);
  }),
);

limits("a TLS handshake is a connection of its address, and has its time", () =>
  serving(
    "http",
    { tls: CERTIFICATE, maxConnectionsPerAddress: 2, handshakeTimeout: 500 },
    async (server, port) => {
      const silent = [net.connect(port, "127.0.0.1"), net.connect(port, "127.0.0.1")];
      const ended = silent.map((socket) => new Promise((resolve) => socket.on("close", resolve)));
      for (const socket of silent) socket.on("error", () => undefined).resume();
      await until("connections", async () => (await server.stats()).connections === 2);
      assert.is(await endOf(port), "ECONNRESET");
      await within(Promise.all(ended), "the time of a handshake");
      assert.equal((await server.stats()).closed, { AddressLimit: 1, TlsFailed: 2 });
      assert.is(await askBehind(port, "", 0), "127.0.0.1");
      // Type 22 begins a handshake. Other bytes are those of a request without TLS.
      await endOf(port, "\x16nonsense\r\n\r\n");
      await endOf(port, "nonsense\r\n\r\n");
      await until("ends", async () => (await server.stats()).connections === 0);
      const { TlsFailed, BadRequest } = (await server.stats()).closed;
      assert.equal([TlsFailed, BadRequest], [3, 1]);
    },
  ),
);

limits.run();
