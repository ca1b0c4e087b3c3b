// Connections that are not HTTP, handed to an upstream: other protocols on the port of a server, over handles and over
// sockets, in TLS and beside it, with slow sides, half-closes, resets, limits and the end of the server.

import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import * as https from "node:https";
import * as net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import * as tls from "node:tls";
import type { CloseInfo, LogFields, Options, Server } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  CERTIFICATE,
  Wire,
  WsWire,
  pattern,
  serving,
  sleep,
  standstill,
  until,
  within,
} from "./peer";

const raw = suite("raw");
const folder = mkdtempSync(path.join(tmpdir(), "ringcast-raw-"));
const GET = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const MiB = 1048576;

const portOf = (server: net.Server): number => (server.address() as net.AddressInfo).port;

/** Returns a port that refuses connections: one that was free a moment ago. */
async function refusedPort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await within(once(server, "listening"), "listen");
  const port = portOf(server);
  server.close();
  await within(once(server, "close"), "close");
  return port;
}

/** A connection as the upstream has it. */
class Served {
  readonly socket: net.Socket;
  readonly wire: Wire;
  code = "";

  constructor(socket: net.Socket) {
    this.socket = socket;
    this.wire = new Wire({ socket, tcp: socket });
    socket.on("error", ({ code = "" }: NodeJS.ErrnoException) => {
      this.code = code;
    });
  }
}

/** A program behind a server: it takes connections and does nothing by itself. */
class Upstream {
  readonly all: Served[] = [];
  readonly #server: net.Server;
  /** Its address as the option takes it. */
  address = "";

  private constructor() {
    const options = { allowHalfOpen: true, noDelay: true };
    this.#server = net.createServer(options, (socket) => void this.all.push(new Served(socket)));
  }

  static async open(
    at: { readonly path: string } | { readonly host: string } = { host: "127.0.0.1" },
  ) {
    const self = new Upstream();
    const server = self.#server;
    server.listen("path" in at ? at : { ...at, port: 0 });
    await within(once(server, "listening"), "listen");
    const host = "host" in at && at.host.includes(":") ? `[${at.host}]` : "127.0.0.1";
    self.address = "path" in at ? at.path : `${host}:${portOf(server)}`;
    return self;
  }

  /** The next connection. */
  async next(): Promise<Served> {
    await until("a connection of the upstream", () => this.all.length > 0);
    return this.all.shift() as Served;
  }

  close(): void {
    for (const { socket } of this.all) socket.destroy();
    this.#server.close();
  }
}

/** Runs a server in front of an upstream. */
async function before(
  options: Options,
  body: (server: Server, port: number, upstream: Upstream) => Promise<void>,
): Promise<void> {
  const upstream = await Upstream.open();
  try {
    await serving("echo", { raw: upstream.address, ...options }, (server, port) =>
      body(server, port, upstream),
    );
  } finally {
    upstream.close();
  }
}

async function closedBy(server: Server, cause: string): Promise<void> {
  await until(cause, async () => ((await server.stats()).closed[cause] ?? 0) > 0);
}

for (const transport of ["auto", "sockets"] as const) {
  const over = transport === "auto" ? "handles" : "sockets";

  raw(`a client that speaks first and its server exchange banners: ${transport}`, () =>
    before({ transport }, async (server, port, upstream) => {
      assert.is((await server.stats()).transport, over);
      const client = (await Wire.open(port)).write("SSH-2.0-client\r\n");
      const { wire } = await upstream.next();
      assert.is(await wire.takeThrough("\n"), "SSH-2.0-client\r\n");
      wire.write("SSH-2.0-server\r\n");
      assert.is(await client.takeThrough("\n"), "SSH-2.0-server\r\n");
      assert.is((await server.stats()).pipes, 1);
      client.socket.end();
      await wire.gone();
      await closedBy(server, "Ok");
      const { pipes, released, requests } = await server.stats();
      assert.equal({ pipes, released, requests }, { pipes: 0, released: 1, requests: 0 });
    }),
  );

  raw(`a client that waits for its server's banner gets it after rawTimeout: ${transport}`, () =>
    before({ transport, rawTimeout: 200 }, async (_server, port, upstream) => {
      const began = Date.now();
      const client = await Wire.open(port);
      const { wire } = await upstream.next();
      assert.ok(Date.now() - began >= 195, `${Date.now() - began} ms`);
      wire.write("220 mail.example\r\n");
      assert.is(await client.takeThrough("\n"), "220 mail.example\r\n");
      client.write("QUIT\r\n");
      assert.is(await wire.takeThrough("\n"), "QUIT\r\n");
      wire.socket.end("221 bye\r\n");
      assert.is((await client.takeAll()).toString(), "221 bye\r\n");
      client.destroy();
    }),
  );

  raw(`each side may end first, and the other still sends: ${transport}`, () =>
    before({ transport }, async (server, port, upstream) => {
      const client = (await Wire.open(port)).write("\0one");
      client.socket.end();
      const first = await upstream.next();
      assert.is((await first.wire.takeAll()).toString(), "\0one");
      first.socket.end(pattern(MiB));
      assert.ok((await client.takeAll()).equals(pattern(MiB)));
      const other = (await Wire.open(port)).write("\0two");
      const second = await upstream.next();
      second.socket.end("done");
      assert.is((await other.takeAll()).toString(), "done");
      other.socket.end(pattern(MiB));
      await second.wire.take(4);
      assert.ok((await second.wire.takeAll()).equals(pattern(MiB)));
      await until("ends", async () => (await server.stats()).closed.Ok === 2);
    }),
  );

  raw(`a reset of either side reaches the other: ${transport}`, () =>
    before({ transport }, async (server, port, upstream) => {
      const client = (await Wire.open(port)).write("\0");
      const first = await upstream.next();
      await first.wire.take(1);
      client.reset();
      await until("a reset of the upstream", () => first.code === "ECONNRESET");
      await closedBy(server, "PeerReset");
      const other = (await Wire.open(port)).write("\0");
      const second = await upstream.next();
      await second.wire.take(1);
      second.socket.resetAndDestroy();
      await until("a reset of the client", () => other.closed);
      assert.is((other.error as NodeJS.ErrnoException).code, "ECONNRESET");
      await closedBy(server, "UpstreamReset");
    }),
  );

  raw(`large transfers both ways are whole, with a side that reads slowly: ${transport}`, () =>
    before({ transport }, async (server, port, upstream) => {
      const bytes = 24 * MiB;
      for (const slow of ["client", "upstream"] as const) {
        const client = await Wire.open(port);
        client.write("\0");
        const { wire } = await upstream.next();
        await wire.take(1);
        const [lagging, prompt] = slow === "client" ? [client, wire] : [wire, client];
        lagging.socket.pause();
        lagging.socket.end(pattern(bytes, 1));
        prompt.socket.end(pattern(bytes, 2));
        // The other direction is not held up.
        assert.ok((await prompt.takeAll()).equals(pattern(bytes, 1)), "to the prompt side");
        const before = lagging.length;
        for (let i = 0; i < 20; i++) {
          lagging.socket.resume();
          await until("bytes", () => lagging.length > before + i * 1000 || lagging.ended);
          lagging.socket.pause();
        }
        lagging.socket.resume();
        assert.ok((await lagging.takeAll()).equals(pattern(bytes, 2)), "to the slow side");
      }
      await until("ends", async () => (await server.stats()).closed.Ok === 2);
    }),
  );

  raw(`octet by octet, every octet arrives: ${transport}`, () =>
    before({ transport }, async (_server, port, upstream) => {
      const all = Buffer.concat([Buffer.from("\r\n\r\nGET /x HTTP"), pattern(600)]);
      const client = await Wire.open(port);
      for (const octet of all) {
        client.write(Uint8Array.of(octet));
        // Each octet has a turn of its own.
        await new Promise((resolve) => setImmediate(resolve));
      }
      const { wire } = await upstream.next();
      assert.ok((await wire.take(all.length)).equals(all));
      client.destroy();
    }),
  );
}

raw("a TLS ClientHello on a port without TLS reaches a server of https", async () => {
  const upstream = https.createServer(CERTIFICATE, (req, res) => res.end(`https ${req.url}`));
  upstream.listen(0, "127.0.0.1");
  await once(upstream, "listening");
  await serving("echo", { raw: `127.0.0.1:${portOf(upstream)}` }, async (server, port) => {
    const request = https.get({
      port,
      host: "127.0.0.1",
      path: "/x",
      ca: CERTIFICATE.cert,
      agent: false,
    });
    const [response] = (await within(once(request, "response"), "a response")) as [
      NodeJS.ReadableStream,
    ];
    let text = "";
    for await (const part of response) text += part;
    assert.is(text, "https /x");
    const plain = (await Wire.open(port)).write(GET);
    assert.is((await plain.response("GET")).status, 200);
    plain.destroy();
    await closedBy(server, "Ok");
  });
  upstream.close();
});

raw("on a listener with TLS the decrypted bytes decide, and bytes without TLS do", () =>
  before({ tls: CERTIFICATE, rawTimeout: 200 }, async (_server, port, upstream) => {
    const secured = async (): Promise<Wire> => {
      const socket = tls.connect({ port, host: "127.0.0.1", ca: CERTIFICATE.cert });
      await within(once(socket, "secureConnect"), "a handshake");
      return new Wire({ socket, tcp: socket });
    };
    const client = (await secured()).write("SSH-2.0-a\r\n");
    const first = await upstream.next();
    assert.is(await first.wire.takeThrough("\n"), "SSH-2.0-a\r\n");
    first.socket.end(pattern(3 * MiB));
    assert.ok((await client.takeAll()).equals(pattern(3 * MiB)));
    const silent = await secured();
    (await upstream.next()).socket.end("220 mail\r\n");
    assert.is((await silent.takeAll()).toString(), "220 mail\r\n");
    const plain = (await Wire.open(port)).write("SSH-2.0-b\r\n");
    const second = await upstream.next();
    assert.is(await second.wire.takeThrough("\n"), "SSH-2.0-b\r\n");
    second.socket.end("yes");
    assert.is((await plain.takeAll()).toString(), "yes");
    const asked = (await secured()).write(GET);
    assert.is((await asked.response("GET")).status, 200);
    for (const wire of [client, silent, plain, asked]) wire.destroy();
  }),
);

raw("a client over TLS that ends first is sent the alert before the end", () =>
  before({ tls: CERTIFICATE }, async (_server, port, upstream) => {
    const tcp = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    const socket = tls.connect({ socket: tcp, host: "127.0.0.1", ca: CERTIFICATE.cert });
    await within(once(socket, "secureConnect"), "a handshake");
    const client = new Wire({ socket, tcp });
    client.write("\0");
    socket.end();
    const { wire } = await upstream.next();
    assert.is((await wire.takeAll()).toString(), "\0");
    wire.socket.end("answer");
    assert.is((await client.takeAll()).toString(), "answer");
    assert.is(client.error, undefined);
  }),
);

for (const [what, first, status] of [
  ["GETX", "GETX / HTTP/1.1\r\nHost: a\r\n\r\n", 501],
  ["a request without version", "GET /\r\n", 0],
  ["the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505],
  ["another version", "GET / HTTP/3.0\r\n\r\n", 505],
  ["no Host", "GET / HTTP/1.1\r\n\r\n", 400],
  ["two spaces", "GET  / HTTP/1.1\r\n\r\n", 0],
  ["SMTP", "EHLO a.example\r\n", 0],
  ["JSON", '{"method":"x"}\n', 0],
  ["a long word", "FROBNICATE / HTTP/1.1\r\n\r\n", 0],
  ["a long method", "SUBSCRIBE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200],
] as const) {
  raw(`${what}: ${status === 0 ? "handed over" : status}, whole and in pieces`, () =>
    before({}, async (_server, port, upstream) => {
      for (const cut of [0, 1, 4, 5, 6]) {
        const client = await Wire.open(port);
        client.write(first.slice(0, cut));
        // The server reads the first piece before the second.
        if (cut > 0) await sleep(20);
        client.write(first.slice(cut));
        if (status === 0) {
          const { wire } = await upstream.next();
          assert.is((await wire.take(first.length)).toString(), first);
        } else {
          assert.is((await client.response("GET")).status, status);
        }
        client.destroy();
      }
    }),
  );
}

raw("after its first request a connection is HTTP", () =>
  before({}, async (server, port, upstream) => {
    const client = await Wire.open(port);
    client.write(GET.replace("close", "keep-alive"));
    assert.is((await client.response("GET")).status, 200);
    client.write("SSH-2.0-x\r\n");
    assert.is((await client.response("GET")).status, 400);
    client.destroy();
    const socket = await WsWire.open(port);
    socket.send(1, "echo");
    assert.is(await socket.text(), "echo");
    socket.destroy();
    assert.is((await server.stats()).released, 0);
    assert.is(upstream.all.length, 0);
  }),
);

raw("without the option such bytes get 400", () =>
  serving("echo", {}, async (server, port) => {
    const client = (await Wire.open(port)).write("SSH-2.0-x\r\n");
    assert.is((await client.response("GET")).status, 400);
    client.destroy();
    assert.is((await server.stats()).released, 0);
  }),
);

raw("the upstream may be a Unix socket, an IPv6 address or a name", async () => {
  const socket = path.join(folder, "upstream.sock");
  for (const at of [{ path: socket }, { host: "::1" }]) {
    const upstream = await Upstream.open(at);
    await serving("echo", { raw: upstream.address }, async (_server, port) => {
      const client = (await Wire.open(port)).write("\0hello");
      const { wire } = await upstream.next();
      assert.is((await wire.take(6)).toString(), "\0hello");
      client.reset();
      await wire.gone();
    });
    upstream.close();
  }
  await before({}, async (_server, _port, upstream) => {
    const name = upstream.address.replace("127.0.0.1", "localhost");
    await serving("echo", { raw: name }, async (_other, port) => {
      const client = (await Wire.open(port)).write("\0");
      await (await upstream.next()).wire.take(1);
      client.destroy();
    });
  });
});

raw("a PROXY header comes first, and the address of the client counts", () =>
  before({ proxyProtocol: true, maxConnectionsPerAddress: 1 }, async (server, port, upstream) => {
    const client = await Wire.open(port);
    client.write("PROXY TCP4 192.0.2.1 10.0.0.1 4711 22\r\nSSH-2.0-x\r\n");
    const { wire } = await upstream.next();
    assert.is(await wire.takeThrough("\n"), "SSH-2.0-x\r\n");
    const second = (await Wire.open(port)).write("PROXY TCP4 192.0.2.1 10.0.0.1 4711 22\r\n\0");
    await second.gone();
    await closedBy(server, "AddressLimit");
    client.destroy();
  }),
);

raw("an upstream that refuses: the client is closed in order, and the log names it", async () => {
  const lines: LogFields[] = [];
  const logger = { warn: (fields: LogFields) => void lines.push(fields) };
  const port = await refusedPort();
  await serving("echo", { raw: `127.0.0.1:${port}`, logger }, async (server, at) => {
    for (let i = 0; i < 3; i++) {
      const client = (await Wire.open(at)).write("SSH-2.0-x\r\n");
      assert.is((await client.takeAll()).length, 0);
      assert.is(client.error, undefined);
      client.destroy();
    }
    await until("a line", () => lines.length > 0);
    const { event, upstream, count, code } = lines[0] as LogFields;
    assert.equal(
      [event, upstream, count, code],
      ["upstreamFailed", `127.0.0.1:${port}`, 3, "ECONNREFUSED"],
    );
    assert.equal((await server.stats()).closed, { UpstreamFailed: 3 });
    assert.match(await server.metrics(), /ringcast_connections_released_total 3\n/);
    const asked = (await Wire.open(at)).write(GET);
    assert.is((await asked.response("GET")).status, 200);
    asked.destroy();
  });
});

raw("the handler is notified of the connection and of its end", async () => {
  const said: string[] = [];
  const upstream = await Upstream.open();
  const handler = {
    connect: () => void said.push("connect"),
    disconnect: (_: unknown, { cause }: CloseInfo) => void said.push(`disconnect ${cause}`),
  };
  await serving("echo", { raw: upstream.address, handler }, async (_server, port) => {
    const client = (await Wire.open(port)).write("\0");
    const { socket } = await upstream.next();
    socket.end();
    await client.gone();
    await until("both", () => said.length === 2);
    assert.equal(said, ["connect", "disconnect Ok"]);
  });
  upstream.close();
});

raw("at most half of the connections are handed over, so that requests have room", () =>
  before({ maxConnections: 4 }, async (server, port, upstream) => {
    const clients: Wire[] = [];
    for (let i = 0; i < 4; i++) clients.push((await Wire.open(port)).write("\0"));
    await closedBy(server, "NoRoom");
    await until("refusals", async () => (await server.stats()).closed.NoRoom === 2);
    assert.is((await server.stats()).pipes, 2);
    await until("connections", () => upstream.all.length === 2);
    const asked = (await Wire.open(port)).write(GET);
    assert.is((await asked.response("GET")).status, 200);
    for (const wire of [...clients, asked]) wire.destroy();
  }),
);

raw("silence and stalled writes end a pipe, in both directions", () =>
  before({ idleTimeout: 1, writeTimeout: 1500 }, async (server, port, upstream) => {
    const idle = (await Wire.open(port)).write("\0");
    await upstream.next();
    await idle.gone();
    assert.is(idle.error, undefined);
    await closedBy(server, "IdleTimeout");
    // Neither reads, and each has more to send than all buffers hold.
    const client = (await Wire.open(port)).write("\0");
    const first = await upstream.next();
    client.socket.pause();
    first.socket.write(Buffer.alloc(64 * MiB));
    await closedBy(server, "WriteTimeout");
    client.destroy();
    const other = (await Wire.open(port)).write("\0");
    const second = await upstream.next();
    second.socket.pause();
    other.write(Buffer.alloc(64 * MiB));
    await closedBy(server, "UpstreamTimeout");
    other.destroy();
    assert.is((await server.stats()).pipes, 0);
  }),
);

raw("pipes whose sides do not read hold little memory", () =>
  before({}, async (server, port, upstream) => {
    const large = Buffer.alloc(16 * MiB);
    const clients: Wire[] = [];
    global.gc?.();
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 20; i++) {
      const client = (await Wire.open(port)).write("\0");
      clients.push(client);
      const { socket } = await upstream.next();
      socket.pause();
      client.socket.pause();
      socket.write(large);
      client.socket.write(large);
    }
    await standstill("bytes", async () => {
      const { bytesIn, bytesOut } = await server.stats();
      return bytesIn + bytesOut;
    });
    const grown = (process.memoryUsage().rss - before) / MiB;
    assert.ok(grown < 40, `${grown.toFixed(1)} MiB for 20 pipes with 640 MiB to pass on`);
    for (const client of clients) client.destroy();
  }),
);

raw("a shutdown ends silent pipes soon, and the others at its time limit", () =>
  before({ closeTimeout: 300 }, async (server, port, upstream) => {
    const silent = (await Wire.open(port)).write("\0");
    await upstream.next();
    const busy = (await Wire.open(port)).write("\0");
    const { wire } = await upstream.next();
    await wire.take(1);
    const timer = setInterval(() => busy.write("x"), 50);
    const began = Date.now();
    const over = server.shutdown({ timeout: 1200 });
    await silent.gone();
    assert.is(silent.error, undefined);
    assert.ok(Date.now() - began < 1000, `${Date.now() - began} ms`);
    await within(over, "shutdown");
    clearInterval(timer);
    assert.ok(Date.now() - began >= 1100, `${Date.now() - began} ms`);
    await wire.gone();
  }),
);

raw("a shutdown lets a pipe finish what it does", () =>
  before({}, async (server, port, upstream) => {
    const client = (await Wire.open(port)).write("\0");
    const { socket } = await upstream.next();
    socket.write(pattern(MiB));
    await client.take(MiB);
    const over = server.shutdown();
    // The rest comes after the shutdown has begun.
    await sleep(100);
    socket.end(pattern(MiB, 2));
    assert.ok((await client.takeAll()).equals(pattern(MiB, 2)));
    client.socket.end();
    await within(over, "shutdown", 1500);
  }),
);

raw.after(() => rmSync(folder, { recursive: true, force: true }));
raw.run();
