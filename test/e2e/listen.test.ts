// Several listeners of one server: TCP, TLS, Unix sockets, inherited descriptors and the PROXY protocol together, with
// the handler in each placement.

import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import * as net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { Duplex } from "node:stream";
import * as tls from "node:tls";
import { type ListenerOptions, type LogFields, type Options, type Server, serve } from "ringcast";
import { Agent, fetch } from "undici";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { WebSocket } from "ws";
import { portOf } from "../lib/port";
import { Child } from "./child";
import {
  CERTIFICATE,
  Frames,
  TEXT,
  Wire,
  clientFrame,
  fileUrl,
  handlerOf,
  handshake,
  reported,
  takeAnswer,
  until,
  within,
} from "./peer";

const listen = suite("listen");
const folder = mkdtempSync(path.join(tmpdir(), "ringcast-listen-"));
const GET = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
const MODULE = fileUrl("handlers/listen.mjs");

const PLACEMENTS: Readonly<Record<string, () => Promise<Options>>> = {
  worker: async () => ({ handler: MODULE }),
  application: async () => ({ handler: await handlerOf("listen", "application") }),
  pool: async () => ({ handler: MODULE, pool: { threads: 1 } }),
};

async function serving(
  options: Options,
  body: (server: Server, ports: readonly number[]) => Promise<void>,
): Promise<void> {
  reported.length = 0;
  const onError = (error: Error, where: string): void => {
    reported.push({ where, message: error.message });
  };
  const server = await within(serve({ handler: MODULE, onError, ...options }), "serve");
  try {
    await body(
      server,
      server.addresses.map(({ port }) => port ?? 0),
    );
    assert.equal(reported, []);
  } finally {
    await within(server.close(), "close");
  }
}

/** Connects to a port or the path of a Unix socket. */
async function plain(to: number | string): Promise<Wire> {
  const tcp = typeof to === "string" ? net.connect(to) : net.connect(to, "127.0.0.1");
  await within(once(tcp, "connect"), "connect");
  return new Wire({ socket: tcp, tcp });
}

/** Connects with TLS. @param first bytes before it */
async function secured(to: number | string, first = ""): Promise<Wire> {
  const { tcp } = (await plain(to)).line;
  tcp.removeAllListeners("data");
  if (first) tcp.write(first);
  const socket = tls.connect({ socket: tcp, host: "127.0.0.1", ca: CERTIFICATE.cert });
  await within(once(socket, "secureConnect"), "a handshake");
  return new Wire({ socket, tcp });
}

interface Said {
  readonly secure: boolean;
  readonly address: string;
  readonly path: string;
}

/** Sends a request. @returns what the handler says about it */
async function ask(opened: Promise<Wire>, bytes = GET): Promise<Said> {
  const wire = await opened;
  const { body } = await takeAnswer(wire.write(bytes));
  wire.destroy();
  return JSON.parse(body.toString()) as Said;
}

/** Opens a WebSocket. @returns a function that takes the next text that it receives */
async function open(opened: Promise<Wire>): Promise<() => Promise<string>> {
  const wire = await opened;
  assert.is((await takeAnswer(wire.write(handshake()))).status, 101);
  wire.write(clientFrame(TEXT, "?"));
  const frames = new Frames();
  const texts: string[] = [];
  return async () => {
    while (texts.length === 0) {
      for (const { payload } of frames.push(await wire.take(1))) texts.push(payload.toString());
    }
    return texts.shift() as string;
  };
}

/** Returns a listening socket that accepts nothing here once it is closed, and its descriptor. */
async function listening(): Promise<{ inherited: net.Server; fd: number; port: number }> {
  const inherited = net.createServer();
  await new Promise<void>((resolve) => void inherited.listen(0, "127.0.0.1", resolve));
  const { fd } = (inherited as unknown as { _handle: { fd: number } })._handle;
  return { inherited, fd, port: (inherited.address() as net.AddressInfo).port };
}

const PROXY = "PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n";
const ANY = { hostname: "127.0.0.1", port: 0 };

for (const [place, options] of Object.entries(PLACEMENTS)) {
  listen(`every kind of listener shares a handler and a ring: ${place}`, async () => {
    const file = path.join(folder, `${place}.sock`);
    const all: ListenerOptions[] = [
      ANY,
      { port: 0, tls: CERTIFICATE },
      { path: file, mode: 0o660 },
      { port: 0, proxyProtocol: ["loopback"] },
      { port: 0, proxyProtocol: true, tls: CERTIFICATE },
    ];
    await serving({ ...(await options()), listen: all }, async (server, ports) => {
      const [tcp = 0, over = 0, , proxied = 0, both = 0] = ports;
      assert.equal(server.address, { hostname: "127.0.0.1", port: tcp });
      assert.equal(server.addresses[2], { hostname: "", port: undefined, path: file });
      assert.is(server.addresses.length, 5);
      const local = { address: "127.0.0.1", path: "/x" };
      assert.equal(await ask(plain(tcp)), { ...local, secure: false });
      assert.equal(await ask(secured(over)), { ...local, secure: true });
      assert.equal(await ask(plain(file)), { address: "", path: "/x", secure: false });
      const client = { address: "192.0.2.7", path: "/x" };
      assert.equal(await ask(plain(proxied), PROXY + GET), { ...client, secure: false });
      assert.equal(await ask(secured(both, PROXY)), { ...client, secure: true });
      const sockets = await Promise.all([plain(tcp), secured(over), plain(file)].map(open));
      const secure = await Promise.all(sockets.map((next) => next()));
      assert.equal(secure, ["false", "true", "false"]);
      assert.ok(server.broadcast("to all"));
      for (const next of sockets) assert.is(await next(), "to all");
      const { webSockets, accepted, transport } = await server.stats();
      assert.equal([webSockets, accepted, transport], [3, 8, "sockets"]);
    });
    assert.not.ok(existsSync(file));
  });
}

const MOVED = { redirect: "https", ...ANY } as const;

for (const [place, options] of Object.entries(PLACEMENTS)) {
  listen(
    `a client follows the redirect to TLS, also with a body or an upgrade: ${place}`,
    async () => {
      const secure = { port: 0, tls: CERTIFICATE };
      const unix = path.join(folder, `${place}-redirect.sock`);
      const all = [MOVED, secure, { path: unix, redirect: "https" } as const];
      await serving({ ...(await options()), listen: all }, async (_, [port = 0, over = 0]) => {
        const dispatcher = new Agent({ connect: { ca: CERTIFICATE.cert } });
        const url = `http://127.0.0.1:${port}`;
        for (const init of [{}, { method: "PUT", body: "b".repeat(100000) }]) {
          const manual = await fetch(`${url}/x?y`, { ...init, redirect: "manual" });
          assert.is(manual.status, 308);
          assert.is(manual.headers.get("location"), `https://127.0.0.1:${over}/x?y`);
          const followed = await fetch(`${url}/x?y`, { ...init, dispatcher });
          assert.is(followed.url, `https://127.0.0.1:${over}/x?y`);
          const said = { secure: true, address: "127.0.0.1", path: "/x" };
          assert.equal(await followed.json(), said);
        }
        const streamed = { method: "PUT", body: "b".repeat(100000) };
        const early = await fetch(`${url}/streamed`, { ...streamed, redirect: "manual" });
        assert.is(early.status, 308);
        const challenge = await fetch(`${url}/.well-known/acme-challenge/token`);
        assert.is(((await challenge.json()) as Said).secure, false);
        const wire = await plain(unix);
        const answer = await takeAnswer(wire.write(GET));
        assert.is(answer.fields.get("location"), `https://a:${over}/x`);
        wire.destroy();
        const ws = new WebSocket(`ws://127.0.0.1:${port}/chat`, {
          followRedirects: true,
          ca: CERTIFICATE.cert,
        });
        await within(once(ws, "open"), "a WebSocket");
        ws.send("?");
        const [text] = (await within(once(ws, "message"), "a message")) as [Buffer];
        assert.is(String(text), "true");
        ws.terminate();
        await dispatcher.close();
      });
    },
  );
}

listen("the redirect applies to the client that a PROXY header names, too", async () => {
  const all = [
    { ...MOVED, proxyProtocol: true },
    { port: 0, tls: CERTIFICATE },
  ];
  await serving({ listen: all, hosts: ["a"] }, async (_, [port = 0, over = 0]) => {
    const wire = await plain(port);
    const { status, fields } = await takeAnswer(wire.write(PROXY + GET));
    assert.equal([status, fields.get("location")], [308, `https://a:${over}/x`]);
    wire.destroy();
  });
});

const SECURE = { tls: CERTIFICATE, ...ANY };
const PROXIED = { ...SECURE, proxyProtocol: true } as const;

/** Returns the status, Location and body of the response to bytes, after which the connection ends. */
async function last(opened: Promise<Wire>, bytes: string): Promise<[number, string, string]> {
  const wire = await opened;
  const { status, fields, body } = await takeAnswer(wire.write(bytes));
  assert.is(fields.get("connection"), "close");
  await wire.gone();
  return [status, fields.get("location") ?? "", body.toString()];
}

for (const [place, options] of Object.entries(PLACEMENTS)) {
  listen(
    `requests without TLS to a listener with TLS do not reach the handler: ${place}`,
    async () => {
      const unix = path.join(folder, `${place}-tls.sock`);
      const moved = { redirect: "https" } as const;
      const all = [
        ...[SECURE, { ...SECURE, ...moved }, { path: unix, tls: CERTIFICATE }],
        ...[PROXIED, { ...PROXIED, ...moved }],
      ];
      const text =
        "Bad Request: this port speaks TLS, so the URL must begin with https:// or wss://\n";
      const put = "PUT /streamed HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nbytes";
      const challenge = "GET /.well-known/acme-challenge/t HTTP/1.1\r\nHost: a\r\n\r\n";
      await serving({ ...(await options()), listen: all }, async (server, ports) => {
        const [refusing = 0, moving = 0, , refusingProxied = 0, movingProxied = 0] = ports;
        for (const bytes of [GET, put, handshake("/x"), challenge, `\r\n${GET}`]) {
          const target = /^\s*\w+ (\S+)/.exec(bytes)?.[1];
          assert.equal(await last(plain(refusing), bytes), [400, "", text], bytes);
          assert.equal(await last(plain(unix), bytes), [400, "", text], bytes);
          assert.equal(await last(plain(refusingProxied), PROXY + bytes), [400, "", text], bytes);
          const location = `https://a:${moving}${target}`;
          assert.equal(await last(plain(moving), bytes), [308, location, ""], bytes);
          const elsewhere = `https://a:${movingProxied}${target}`;
          assert.equal(
            await last(plain(movingProxied), PROXY + bytes),
            [308, elsewhere, ""],
            bytes,
          );
        }
        const old = await last(plain(moving), "GET / HTTP/1.0\r\n\r\n");
        assert.equal(old, [400, "", text]);
        const [status, , body] = await last(plain(refusing), "\x80\x01 no request\r\n\r\n");
        assert.equal([status, body], [400, "Bad Request\n"]);
        assert.is((await ask(secured(refusing))).secure, true);
        assert.is((await ask(secured(movingProxied, PROXY))).secure, true);
        await until("ends", async () => (await server.stats()).connections === 0);
      });
    },
  );
}

/** Returns a stream over a socket that sends each byte on its own. */
function trickling(tcp: net.Socket): Duplex {
  tcp.setNoDelay(true);
  const stream = new Duplex({
    read: () => undefined,
    write(bytes: Buffer, _, done) {
      const next = (i: number): void => {
        if (i === bytes.length) done();
        else tcp.write(bytes.subarray(i, i + 1), () => setImmediate(() => next(i + 1)));
      };
      next(0);
    },
    final: (done) => void tcp.end(done),
  });
  tcp.removeAllListeners("data");
  tcp.on("data", (bytes) => stream.push(bytes));
  tcp.on("end", () => stream.push(null));
  return stream;
}

listen("the first bytes may come one by one, with TLS and without", async () => {
  const all = [SECURE, PROXIED];
  await serving({ listen: all }, async (_, [direct = 0, proxied = 0]) => {
    for (const [port, first] of [
      [direct, ""],
      [proxied, PROXY],
    ] as const) {
      const { tcp } = (await plain(port)).line;
      const stream = trickling(tcp);
      stream.write(first);
      const socket = tls.connect({ socket: stream, host: "127.0.0.1", ca: CERTIFICATE.cert });
      await within(once(socket, "secureConnect"), "a handshake");
      socket.write(GET);
      const [bytes] = (await within(once(socket, "data"), "a response")) as [Buffer];
      assert.match(String(bytes), /^HTTP\/1\.1 200 /);
      tcp.destroy();
      const wire = await plain(port);
      for (const byte of first + GET) {
        wire.write(byte);
        await new Promise((resolve) => setImmediate(resolve));
      }
      assert.is((await takeAnswer(wire)).status, 400);
      wire.destroy();
    }
  });
});

listen("a connection without a first byte ends as a failed handshake, in time", async () => {
  const told: string[] = [];
  const handler: Options["handler"] = {
    connect: () => void told.push("connect"),
    disconnect: () => void told.push("disconnect"),
    request: (_, res) => res.send(200),
  };
  const listener = { ...SECURE, handshakeTimeout: 200 };
  await serving({ handler, listen: [listener] }, async (server, [port = 0]) => {
    const since = Date.now();
    const silent = await plain(port);
    await silent.gone();
    assert.ok(Date.now() - since >= 190 && Date.now() - since < 5000);
    const ending = await plain(port);
    ending.socket.end();
    await ending.gone();
    const resetting = await plain(port);
    await until("accepts", async () => (await server.stats()).accepted === 3);
    resetting.reset();
    const closed = async () => (await server.stats()).closed;
    await until("ends", async () => (await closed()).TlsFailed === 3);
    assert.equal(await closed(), { TlsFailed: 3 });
    const slow = await secured(port);
    await last(plain(port), GET);
    // The time is that of the handshake alone.
    await new Promise((resolve) => setTimeout(resolve, 400));
    assert.is((await takeAnswer(slow.write(GET))).status, 200);
    slow.destroy();
    await until("the end", () => told.length === 2);
    assert.equal(told, ["connect", "disconnect"]);
  });
});

listen("failed handshakes are logged with address and reason, and are no errors", async () => {
  const lines: LogFields[] = [];
  const logger = { debug: (fields: LogFields) => void lines.push(fields) };
  const modern = { ...PROXIED, tls: { ...CERTIFICATE, minVersion: "TLSv1.3" } } as const;
  await serving({ listen: [modern], logger }, async (server, [port = 0]) => {
    const { tcp } = (await plain(port)).line;
    tcp.removeAllListeners("data");
    tcp.write(PROXY);
    const socket = tls.connect({ socket: tcp, maxVersion: "TLSv1.2", ca: CERTIFICATE.cert });
    socket.on("error", () => undefined);
    await until("a line", () => lines.length > 0);
    assert.equal(lines, [
      {
        ...{ event: "tlsFailed", count: 1 },
        clients: [
          {
            ...{ remoteAddress: "192.0.2.7", code: "ERR_SSL_UNSUPPORTED_PROTOCOL" },
            reason: "unsupported protocol",
          },
        ],
      },
    ]);
    assert.equal((await server.stats()).closed, { TlsFailed: 1 });
  });
});

listen("inherited descriptors are listeners beside others, with and without TLS", async () => {
  const first = await listening();
  const second = await listening();
  const child = new Child("listen", { fds: [first.fd, second.fd] });
  try {
    for (const { inherited } of [first, second])
      await new Promise((resolve) => void inherited.close(resolve));
    const file = path.join(folder, "child.sock");
    child.tell([{ fd: 4 }, { path: file }, { fd: 5, tls: CERTIFICATE }]);
    const addresses = await child.next<Server["addresses"]>(20000);
    assert.equal(
      addresses.map(({ port, path: at }) => port ?? at),
      [first.port, file, second.port],
    );
    const places = [plain(first.port), plain(file), secured(second.port)];
    const sockets = await Promise.all(places.map(open));
    for (const [i, text] of ["false", "false", "true"].entries())
      assert.is(await sockets[i]?.(), text);
    child.tell("broadcast");
    for (const next of sockets) assert.is(await next(), "to all");
  } finally {
    child.end();
  }
});

listen("mode sets the permissions of the socket's file", async () => {
  const modes = [0o600, 0o660, 0o666, 0o777, 0o000];
  const all = modes.map((mode) => ({ path: path.join(folder, `${mode}.sock`), mode }));
  await serving({ listen: all }, async () => {
    assert.equal(
      all.map((one) => statSync(one.path).mode & 0o777),
      modes,
    );
  });
});

/** Returns the error with which a server does not start. */
async function refusal(options: Options): Promise<Error & { code?: string }> {
  const started = serve({ handler: MODULE, ...options });
  const error = await within(
    started.then(
      async (server) => {
        await server.close();
        return undefined;
      },
      (thrown: Error) => thrown,
    ),
    "a refusal",
  );
  assert.ok(error, "it started");
  return error as Error;
}

async function isFree(port: number): Promise<boolean> {
  const server = net.createServer();
  return new Promise((resolve) => {
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => void server.close(() => resolve(true)));
  });
}

listen("all are opened or none, and the error names the entry", async () => {
  const file = path.join(folder, "none.sock");
  const taken = net.createServer();
  await new Promise<void>((resolve) => void taken.listen(0, "127.0.0.1", resolve));
  const { port } = taken.address() as net.AddressInfo;
  const spare = net.createServer();
  await new Promise<void>((resolve) => void spare.listen(0, "127.0.0.1", resolve));
  const free = (spare.address() as net.AddressInfo).port;
  await new Promise((resolve) => void spare.close(resolve));
  const before: ListenerOptions[] = [{ port: free }, { path: file }];
  const inUse = await refusal({ listen: [...before, { port, tls: CERTIFICATE }] });
  assert.match(
    inUse.message,
    new RegExp(`^listen\\[2\\]: EADDRINUSE: address already in use 127\\.0\\.0\\.1:${port}; `),
  );
  assert.is(inUse.code, "EADDRINUSE");
  assert.not.ok(existsSync(file));
  assert.ok(await isFree(free), "the first port is free again");
  const noHost = await refusal({ listen: [...before, { hostname: "no.such.host.invalid" }] });
  assert.match(noHost.message, /^listen\[2\]: getaddrinfo E[A-Z_]+ no\.such\.host\.invalid/);
  const noFolder = await refusal({ listen: [...before, { path: path.join(folder, "no/a.sock") }] });
  assert.match(noFolder.message, /^listen\[2\]: E[A-Z]+: /);
  const noSocket = await refusal({ listen: [...before, { fd: 99999 }] });
  assert.match(noSocket.message, /^listen\[2\]\.fd: 99999 is not a listening socket: EINVAL/);
  assert.is(noSocket.code, "EINVAL");
  const twice = await refusal({ listen: [...before, { path: file }] });
  assert.match(twice.message, /^listen\[2\]: EADDRINUSE: /);
  assert.not.ok(existsSync(file));
  assert.ok(await isFree(free));
  await new Promise((resolve) => void taken.close(resolve));
});

listen("a file in the way of a Unix socket stays, with its permissions", async () => {
  const file = path.join(folder, "stale");
  writeFileSync(file, "not a socket");
  chmodSync(file, 0o640);
  const { message } = await refusal({ listen: [{ path: file, mode: 0o777 }] });
  assert.match(message, /^listen\[0\]: EADDRINUSE: /);
  assert.is(statSync(file).mode & 0o777, 0o640);
});

listen("a key that does not fit is refused by the entry's name", async () => {
  const { message } = await refusal({ listen: [ANY, { tls: { key: "x", cert: "y" } }] });
  assert.match(message, /^listen\[1\]\.tls\.cert: /);
});

async function nameOf(port: number): Promise<unknown> {
  const socket = tls.connect({ port, host: "127.0.0.1", rejectUnauthorized: false });
  await within(once(socket, "secureConnect"), "a handshake");
  const { subject } = socket.getPeerCertificate();
  socket.destroy();
  return subject.CN;
}

const pem = (name: string): { key: string; cert: string } => {
  const text = readFileSync(`test/e2e/tls/${name}.pem`, "utf8");
  return { key: text, cert: text };
};

listen("configure changes the certificates of every listener that has TLS", async () => {
  const first = { port: 0, tls: CERTIFICATE };
  const second = { port: 0, tls: { ...pem("one"), requestCert: true, ca: CERTIFICATE.cert } };
  await serving({ listen: [ANY, first, second] }, async (server, [tcp = 0, a = 0]) => {
    const ports = server.addresses.slice(1).map((address) => portOf({ address }));
    assert.equal(await Promise.all(ports.map(nameOf)), ["localhost", "one.test"]);
    await server.configure({ tls: pem("renewed"), idleTimeout: 60 });
    assert.equal(await Promise.all(ports.map(nameOf)), ["renewed", "renewed"]);
    await server.configure({ idleTimeout: 61 });
    const asking = { ...pem("one"), requestCert: true };
    const thrown = await server.configure({ tls: asking }).catch((error: Error) => error);
    assert.match((thrown as Error).message, /^tls\.requestCert: cannot change/);
    assert.is(await nameOf(a), "renewed");
    assert.is((await ask(plain(tcp))).secure, false);
  });
});

listen("each address is logged; shutdown closes every listener", async () => {
  const lines: LogFields[] = [];
  const logger = { info: (fields: LogFields) => void lines.push(fields) };
  const file = path.join(folder, "logged.sock");
  await serving({ listen: [ANY, { path: file }, ANY], logger }, async (server, ports) => {
    const logged = lines.filter(({ event }) => event === "listening");
    assert.equal(
      logged.map(({ port, path: at }) => port ?? at),
      [ports[0], file, ports[2]],
    );
    await server.shutdown();
    assert.ok((await isFree(ports[0] as number)) && (await isFree(ports[2] as number)));
    assert.not.ok(existsSync(file));
  });
});

listen("connections without TLS are handles beside those with TLS", async () => {
  await serving({ listen: [ANY, { path: path.join(folder, "h.sock") }] }, async (server) => {
    assert.is((await server.stats()).transport, "handles");
  });
  const mixed = { listen: [ANY, { port: 0, tls: CERTIFICATE }] };
  await serving(mixed, async (server, [tcp = 0, over = 0]) => {
    for (let i = 0; i < 50; i++) {
      assert.is((await ask(plain(tcp))).secure, false);
      assert.is((await ask(secured(over))).secure, true);
    }
    await until("ends", async () => (await server.stats()).connections === 0);
  });
});

listen.after(() => rmSync(folder, { recursive: true, force: true }));

listen.run();
