// Virtual hosts: by the Host of a request and by the name in TLS, with certificates of both types, handlers, origins
// and listeners of their own, while they are reloaded and renewed, and against clients that mix them up.

import { X509Certificate, createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import * as net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import * as tls from "node:tls";
import { pathToFileURL } from "node:url";
import {
  type FailedHandshake,
  type LiveOptions,
  type LogFields,
  type Options,
  type Server,
  serve,
} from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { withBrowser } from "../lib/browser";
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

const hosts = suite("hosts");
const folder = mkdtempSync(path.join(tmpdir(), "ringcast-hosts-"));

const read = (name: string): string => readFileSync(`test/e2e/tls/${name}.pem`, "utf8");
/** A file that has both. */
const both = (name: string): { key: string; cert: string } => ({
  key: read(name),
  cert: read(name),
});

const MAIN = fileUrl("handlers/host.mjs");
const module = (name: string): URL => new URL(`?name=${name}`, MAIN);
const PLACEMENTS: Readonly<Record<string, () => Promise<Options>>> = {
  worker: async () => ({ handler: MAIN }),
  application: async () => ({ handler: await handlerOf("host", "application") }),
  pool: async () => ({ handler: MAIN, pool: { threads: 1 } }),
  none: async () => ({}),
};

async function serving(
  options: Options,
  body: (server: Server, ports: readonly number[]) => Promise<void>,
): Promise<void> {
  reported.length = 0;
  const onError = (error: Error, where: string): void => {
    reported.push({ where, message: error.message });
  };
  const server = await within(serve({ handler: MAIN, onError, ...options }), "serve");
  try {
    await body(
      server,
      server.addresses.map(({ port }) => port ?? 0),
    );
  } finally {
    await within(server.close(), "close");
  }
}

async function plain(to: number | string): Promise<Wire> {
  const tcp = typeof to === "string" ? net.connect(to) : net.connect(to, "127.0.0.1");
  await within(once(tcp, "connect"), "connect");
  return new Wire({ socket: tcp, tcp });
}

/** Connects with TLS. @param servername "": it names no host */
async function secured(
  port: number,
  servername = "",
  options: tls.ConnectionOptions = {},
): Promise<Wire> {
  const { tcp } = (await plain(port)).line;
  tcp.removeAllListeners("data");
  const name = servername === "" ? {} : { servername };
  const socket = tls.connect({ socket: tcp, rejectUnauthorized: false, ...name, ...options });
  await within(once(socket, "secureConnect"), "a handshake");
  return new Wire({ socket, tcp });
}

/** Returns the name in the certificate that a client gets. */
async function certified(
  port: number,
  servername: string,
  options: tls.ConnectionOptions = {},
): Promise<string> {
  const wire = await secured(port, servername, options);
  const { subject } = (wire.socket as tls.TLSSocket).getPeerCertificate();
  wire.destroy();
  return subject.CN as string;
}

/** Returns a request for a host. */
const get = (host: string, target = "/"): string =>
  `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

/** Sends a request. @returns the module that handles it, or the status of another response */
async function ask(wire: Wire, host: string, target = "/"): Promise<string> {
  const { status, body } = await takeAnswer(wire.write(get(host, target)));
  if (status !== 200) return String(status);
  return (JSON.parse(body.toString()) as { module: string }).module;
}

/** Sends a request on a connection of its own. @returns as `ask` */
async function askOnce(opened: Promise<Wire>, host: string, target = "/"): Promise<string> {
  const wire = await opened;
  const answer = await ask(wire, host, target);
  wire.destroy();
  return answer;
}

/** Returns the message of the error that a promise is rejected with. */
function failureOf(promise: Promise<unknown>): Promise<string> {
  const failed = promise.then(
    () => "it did not fail",
    (error: Error) => error.message,
  );
  return within(failed, "a failure");
}

interface Socket {
  readonly wire: Wire;
  say(text: string): void;
  next(): Promise<string>;
}

/** Opens a WebSocket to a host. */
async function open(opened: Promise<Wire>, host: string, fields = ""): Promise<Socket> {
  const wire = await opened;
  const request = handshake("/chat").replace(/Host: .*\r\n/, `Host: ${host}\r\n${fields}`);
  assert.is((await takeAnswer(wire.write(request))).status, 101);
  const frames = new Frames();
  const texts: string[] = [];
  return {
    wire,
    say: (text) => void wire.write(clientFrame(TEXT, text)),
    async next() {
      while (texts.length === 0) {
        for (const { payload } of frames.push(await wire.take(1))) texts.push(payload.toString());
      }
      return texts.shift() as string;
    },
  };
}

const ANY = { hostname: "127.0.0.1", port: 0 };
const SECURE = { ...ANY, tls: CERTIFICATE };

const BY_NAME: NonNullable<Options["virtualHosts"]> = {
  "a.test": { handler: module("a") },
  "*.b.test": { handler: module("b") },
  ".c.test": { handler: module("c") },
};

/** Hosts of requests, and the module that handles each; "": the main handler. */
const HANDLED: readonly (readonly [host: string, module: string])[] = [
  ["a.test", "a"],
  ["A.Test", "a"],
  ["a.test.", "a"],
  ["a.test:8080", "a"],
  ["b.test", ""],
  ["x.b.test", "b"],
  ["x.y.b.test", ""],
  ["c.test", "c"],
  ["x.y.c.test:1", "c"],
  ["127.0.0.1", ""],
  ["[::1]:80", ""],
  ["a%2Etest", ""],
];

for (const [place, options] of Object.entries(PLACEMENTS)) {
  hosts(`requests and WebSockets are handled by the module of their Host: ${place}`, async () => {
    const listen = [ANY, SECURE];
    const own = { ...(await options()), ...(place === "none" ? { handler: undefined } : {}) };
    const all = { ...own, listen, virtualHosts: BY_NAME } as Options;
    await serving(all, async (server, [port = 0, over = 0]) => {
      const main = place === "none" ? "404" : "main";
      for (const connect of [() => plain(port), () => secured(over)]) {
        const wire = await connect();
        for (const [host, name] of HANDLED) assert.is(await ask(wire, host), name || main, host);
        assert.is(await ask(wire, "b.test", "http://a.test/x"), "a", "the target names the host");
        const body = "b".repeat(100000);
        for (const target of ["/", "/streamed"]) {
          const post = `POST ${target} HTTP/1.1\r\nHost: a.test\r\nContent-Length: ${body.length}\r\n\r\n`;
          const answer = await takeAnswer(wire.write(post + body));
          const said = JSON.parse(answer.body.toString()) as { module: string; body: number };
          assert.equal([said.module, said.body], ["a", body.length]);
        }
        wire.destroy();
      }
      const names = place === "none" ? ["a", "b", "c"] : ["a", "b", "c", "main"];
      const to: Readonly<Record<string, string>> = { a: "a.test", b: "x.b.test", c: "c.test" };
      const sockets = await Promise.all(
        names.flatMap((name) =>
          [plain(port), secured(over)].map(async (wire) => ({
            ...{ name, socket: await open(wire, to[name] ?? "other.test") },
          })),
        ),
      );
      for (const { name, socket } of sockets) {
        assert.is(await socket.next(), `${name} opens /chat`);
        socket.say("hello");
        assert.is(await socket.next(), `${name} got hello`);
      }
      assert.is(await server.count(), sockets.length);
      assert.ok(server.broadcast("to all"));
      for (const { socket } of sockets) assert.is(await socket.next(), "to all");
      for (const { name, socket } of sockets) {
        socket.say("close");
        const [byte] = await socket.wire.take(1);
        assert.is(byte, 0x88, name);
        socket.wire.destroy();
      }
      await until("the end", async () => (await server.count()) === 0);
    });
    assert.equal(reported, []);
  });
}

hosts("clients get the certificate of the host that they name, RSA or EC, with any of TLS", () => {
  const virtualHosts = {
    "rsa.test": { tls: both("rsa") },
    "one.test": { tls: both("one") },
    "*.two.test": { tls: both("two") },
    "none.test": {},
  };
  return serving({ listen: [SECURE], virtualHosts }, async (_, [port = 0]) => {
    const expected = [
      ["rsa.test", "rsa.test"],
      ["RSA.test", "rsa.test"],
      ["one.test", "one.test"],
      ["x.two.test", "two.test"],
      ["two.test", "localhost"],
      ["none.test", "localhost"],
      ["other.test", "localhost"],
      ["", "localhost"],
    ] as const;
    for (const maxVersion of ["TLSv1.3", "TLSv1.2"] as const) {
      for (const [name, subject] of expected)
        assert.is(await certified(port, name, { maxVersion }), subject, `${name} ${maxVersion}`);
      for (const [name, subject, sigalgs] of [
        ["rsa.test", "rsa.test", "rsa_pss_rsae_sha256:RSA+SHA256"],
        ["one.test", "one.test", "ECDSA+SHA256"],
      ] as const)
        assert.is(await certified(port, name, { maxVersion, sigalgs }), subject, name);
      const wrong = secured(port, "one.test", { maxVersion, sigalgs: "RSA+SHA256" });
      assert.match(await failureOf(wrong), /handshake failure/);
    }
    const trusting = { ca: read("rsa"), rejectUnauthorized: true };
    assert.is(await certified(port, "rsa.test", trusting), "rsa.test");
  });
});

hosts("the certificate of * is for clients that name no host or an unknown one", () => {
  const virtualHosts = { "*": { tls: both("rsa") }, "one.test": {} };
  return serving({ listen: [SECURE], virtualHosts }, async (_, [port = 0]) => {
    for (const [name, subject] of [
      ["", "rsa.test"],
      ["other.test", "rsa.test"],
      ["one.test", "localhost"],
    ] as const)
      assert.is(await certified(port, name), subject, name);
  });
});

hosts("are valid at their listeners alone, for requests and for certificates", () => {
  const unix = path.join(folder, "listen.sock");
  const listen = [{ ...SECURE, port: 0 }, { path: unix }, { path: `${unix}2` }];
  const virtualHosts = {
    "one.test": { listen: [0], tls: both("one"), handler: module("a") },
    "two.test": { listen: [unix], handler: module("b") },
    "*": { listen: [`${unix}2`], handler: module("c") },
  };
  return serving({ listen, virtualHosts }, async (_, [port = 0]) => {
    assert.is(await certified(port, "one.test"), "one.test");
    const answers = async (connect: () => Promise<Wire>): Promise<string[]> => [
      await askOnce(connect(), "one.test"),
      await askOnce(connect(), "two.test"),
      await askOnce(connect(), "other.test"),
    ];
    assert.equal(await answers(() => secured(port, "one.test")), ["a", "main", "main"]);
    assert.equal(await answers(() => plain(unix)), ["main", "b", "main"]);
    assert.equal(await answers(() => plain(`${unix}2`)), ["c", "c", "c"]);
  });
});

hosts("origins of a host replace those of the server, and a refusal names them", async () => {
  const virtualHosts = {
    "a.test": { origins: ["https://page.test"] },
    "b.test": { handler: module("b") },
  };
  await serving(
    { listen: [ANY], origins: ["https://main.test"], virtualHosts },
    async (_, [port = 0]) => {
      const status = async (host: string, origin: string): Promise<number> => {
        const wire = await plain(port);
        const fields = `Host: ${host}\r\nOrigin: ${origin}\r\n`;
        const request = handshake("/").replace(/Host: .*\r\n/, fields);
        const { status: code } = await takeAnswer(wire.write(request));
        wire.destroy();
        return code;
      };
      assert.is(await status("a.test", "https://page.test"), 101);
      assert.is(await status("a.test", "https://main.test"), 403);
      for (const host of ["b.test", "other.test"]) {
        assert.is(await status(host, "https://page.test"), 403, host);
        assert.is(await status(host, "https://main.test"), 101, host);
      }
    },
  );
  assert.equal(
    reported.map(({ message }) => message.replace(/: an upgrade.*add it to/, " …")),
    ['virtualHosts["a.test"].origins … virtualHosts["a.test"].origins', "origins … origins"],
  );
});

const ALICE = both("alice");
const CA = read("authority");

hosts("a request for a host that asks for other client certificates gets 421", async () => {
  const asks = { requestCert: true, ca: CA };
  const virtualHosts = {
    "one.test": { tls: { ...both("one"), ...asks }, handler: module("a") },
    "two.test": { tls: { ...both("two"), ...asks }, handler: module("b") },
    "rsa.test": { tls: { ...both("rsa"), requestCert: true, ca: read("stranger") } },
    "may.test": { tls: { ...both("one"), ...asks, rejectUnauthorized: false } },
    "open.test": { tls: both("two"), handler: module("c") },
    "none.test": { handler: module("d") },
  };
  const names = Object.keys(virtualHosts);
  await serving({ listen: [SECURE], virtualHosts }, async (server, [port = 0]) => {
    /** Returns the answers to requests for all hosts on a connection that was opened for one. */
    const across = async (name: string, options: tls.ConnectionOptions): Promise<string[]> => {
      const all: string[] = [];
      for (const host of [...names, "other.test"])
        all.push(await askOnce(secured(port, name, options), host));
      return all;
    };
    const open = ["c", "d", "main"];
    assert.equal(await across("one.test", ALICE), ["a", "b", "421", "421", ...open]);
    assert.equal(await across("two.test", ALICE), ["a", "b", "421", "421", ...open]);
    assert.equal(await across("rsa.test", both("stranger")), [
      "421",
      "421",
      "main",
      "421",
      ...open,
    ]);
    assert.equal(await across("may.test", {}), ["421", "421", "421", "main", ...open]);
    for (const name of ["open.test", "none.test", "other.test", ""])
      assert.equal(await across(name, ALICE), ["421", "421", "421", "421", ...open], name);
    const before = await server.stats();
    for (const [name, options] of [
      ["one.test", {}],
      ["one.test", both("stranger")],
      ["rsa.test", ALICE],
    ] as const) {
      const answer = askOnce(secured(port, name, options), name);
      assert.match(await failureOf(answer), /is cut|ended|ECONNRESET|alert/);
    }
    await until("failed handshakes", async () => {
      const { closed } = await server.stats();
      return (closed.TlsFailed ?? 0) - (before.closed.TlsFailed ?? 0) === 3;
    });
  });
  const texts = reported.map(({ message }) => message);
  assert.is(texts.length, 4);
  assert.match(
    texts[0] as string,
    /^virtualHosts: a request for the host "rsa\.test" was refused \(421\)/,
  );
});

hosts("where the listener asks for certificates, so do requests for no host", async () => {
  const main = { ...CERTIFICATE, requestCert: true, ca: CA };
  const virtualHosts = {
    "one.test": { tls: { ...both("one"), requestCert: false }, handler: module("a") },
    "two.test": { tls: both("two"), handler: module("b") },
  };
  await serving({ listen: [{ ...ANY, tls: main }], virtualHosts }, async (_, [port = 0]) => {
    for (const [host, answer] of [
      ["one.test", "a"],
      ["two.test", "421"],
      ["other.test", "421"],
    ] as const)
      assert.is(await askOnce(secured(port, "one.test"), host), answer, host);
    for (const [host, answer] of [
      ["one.test", "a"],
      ["two.test", "b"],
      ["other.test", "main"],
    ] as const)
      assert.is(await askOnce(secured(port, "two.test", ALICE), host), answer, host);
  });
});

hosts("a session of one host is not resumed at another that asks for certificates", async () => {
  const ticketKeys = Buffer.alloc(48, 7);
  const virtualHosts = {
    "one.test": { tls: { ...both("one"), requestCert: true, ca: CA }, handler: module("a") },
    "two.test": { tls: both("two"), handler: module("b") },
  };
  const listen = [{ ...ANY, tls: { ...CERTIFICATE, ticketKeys } }];
  await serving({ listen, virtualHosts }, async (_, [port = 0]) => {
    for (const maxVersion of ["TLSv1.3", "TLSv1.2"] as const) {
      const wire = await secured(port, "two.test", { maxVersion });
      const socket = wire.socket as tls.TLSSocket;
      let session: Buffer | undefined = socket.getSession();
      // With TLS 1.3 tickets follow the handshake.
      socket.on("session", (ticket: Buffer) => {
        session = ticket;
      });
      assert.is(await ask(wire, "two.test"), "b");
      wire.destroy();
      assert.ok(session);
      const again = await secured(port, "two.test", { maxVersion, session });
      assert.ok((again.socket as tls.TLSSocket).isSessionReused(), "at its own host it is");
      again.destroy();
      const other = secured(port, "one.test", { maxVersion, session });
      const answer = askOnce(other, "one.test");
      assert.match(await failureOf(answer), /is cut|ended|ECONNRESET|alert/);
    }
  });
});

hosts("the redirect leads to hosts that are named, and other requests get 421", async () => {
  const redirect = "https" as const;
  const listen = [
    { ...ANY, redirect },
    { ...SECURE, redirect },
  ];
  const virtualHosts = {
    "one.test": { tls: both("one"), handler: module("a") },
    ".two.test": { handler: module("b") },
  };
  const location = async (port: number, host: string, target = "/x"): Promise<string> => {
    const wire = await plain(port);
    const { status, fields, body } = await takeAnswer(wire.write(get(host, target)));
    wire.destroy();
    if (status !== 200) return fields.get("location") ?? String(status);
    return (JSON.parse(body.toString()) as { module: string }).module;
  };
  await serving({ listen, virtualHosts }, async (_, [port = 0, over = 0]) => {
    for (const at of [port, over]) {
      assert.is(await location(at, "one.test"), `https://one.test:${over}/x`);
      assert.is(await location(at, "X.Two.Test.:80"), `https://x.two.test:${over}/x`);
      assert.is(await location(at, "other.test"), "421");
    }
    const challenge = "/.well-known/acme-challenge/token";
    assert.is(await location(port, "one.test", challenge), "a");
    assert.is(await location(port, "other.test", challenge), "main");
  });
  assert.equal(
    reported.map(({ message }) => message.slice(0, 60)),
    ['redirect: a request for the host "other.test" was refused (4'],
  );
  const lists = { listen, virtualHosts, hosts: ["*.test", "x.two.test"] };
  await serving(lists, async (_, [port = 0, over = 0]) => {
    assert.is(await location(port, "other.test"), `https://other.test:${over}/x`);
    assert.is(await location(port, "x.two.test"), `https://x.two.test:${over}/x`);
    assert.is(await location(port, "y.two.test"), "421", "hosts keeps its meaning");
  });
});

hosts("the restriction to listeners does not restrict the redirect to them", () => {
  const redirect = "https" as const;
  const tlsPort = { ...SECURE };
  const unix = path.join(folder, "redirect.sock");
  const listen = [{ path: unix, redirect }, tlsPort];
  const virtualHosts = { "one.test": { tls: both("one"), listen: [0], handler: module("a") } };
  return serving({ listen, virtualHosts }, async (_, [, over = 0]) => {
    const wire = await plain(unix);
    const { fields } = await takeAnswer(wire.write(get("one.test", "/x")));
    assert.is(fields.get("location"), `https://one.test:${over}/x`);
    wire.destroy();
    assert.is(await askOnce(secured(over, "one.test"), "one.test"), "a");
  });
});

/** Writes a module's file. */
function write(name: string, code: string): URL {
  const file = path.join(folder, `${name}.mjs`);
  writeFileSync(file, code);
  return pathToFileURL(file);
}

const version = (name: string, number: number): string =>
  `export default {
    request: (req, res) => req.upgrade ? res.upgrade() : res.json({ module: "${name} ${number}" }),
    message: (ws, text) => ws.send("${name} ${number} got " + text),
  };`;

for (const place of ["worker", "application"]) {
  hosts(`modules of hosts are reloaded with the handler, all or none: ${place}`, async () => {
    const a = write(`a-${place}`, version("a", 1));
    const b = write(`b-${place}`, version("b", 1));
    const main = write(`main-${place}`, version("main", 1));
    const local = (number: number): Options["handler"] => ({
      request: (_, res) => res.json({ module: `main ${number}` }),
    });
    const isLocal = place === "application";
    const handler = isLocal ? local(1) : main;
    const virtualHosts = {
      "a.test": { handler: a },
      "x.a.test": { handler: a.href },
      "b.test": { handler: b },
    };
    const all = { listen: [ANY], handler, virtualHosts } as Options;
    await serving(all, async (server, [port = 0]) => {
      const answers = async (): Promise<string[]> => [
        await askOnce(plain(port), "other.test"),
        await askOnce(plain(port), "a.test"),
        await askOnce(plain(port), "x.a.test"),
        await askOnce(plain(port), "b.test"),
      ];
      const socket = await open(plain(port), "a.test");
      socket.say("1");
      assert.is(await socket.next(), "a 1 got 1");
      assert.equal(await answers(), ["main 1", "a 1", "a 1", "b 1"]);
      write(`main-${place}`, version("main", 2));
      write(`a-${place}`, version("a", 2));
      for (const [code, fault] of [
        ["export default {", /SyntaxError/],
        ["export default { connect() {} }", /\.connect: is called on the main handler alone/],
        ["throw new Error('not now')", /: not now$/],
      ] as const) {
        write(`b-${place}`, code);
        const message = await failureOf(server.reload(isLocal ? local(2) : undefined));
        assert.match(message, /^virtualHosts\["b\.test"\]\.handler: file:/);
        assert.match(message, fault);
        assert.equal(await answers(), ["main 1", "a 1", "a 1", "b 1"]);
      }
      write(`b-${place}`, version("b", 2));
      if (isLocal) {
        const wrong = server.reload({ mesage: () => 1 } as object);
        assert.match(await failureOf(wrong), /did you mean message/);
        assert.equal(await answers(), ["main 1", "a 1", "a 1", "b 1"]);
        await server.reload();
        assert.equal(await answers(), ["main 1", "a 2", "a 2", "b 2"]);
      }
      await server.reload(isLocal ? local(2) : undefined);
      assert.equal(await answers(), ["main 2", "a 2", "a 2", "b 2"]);
      socket.say("2");
      assert.is(await socket.next(), "a 2 got 2");
      socket.wire.destroy();
    });
    assert.equal(reported, []);
  });
}

hosts("a module that cannot be loaded is one error, and nothing is left", async () => {
  const wrong: readonly (readonly [handler: URL | string, message: RegExp])[] = [
    [
      new URL("missing.mjs", MAIN),
      /^virtualHosts\["a\.test"\]\.handler: file:.*missing\.mjs: .*Cannot find/,
    ],
    [write("empty", "export const x = 1"), /\.handler: file:.*empty\.mjs has no default export/],
    [write("odd", "export default 5"), /\.handler: file:.*odd\.mjs: a number is not an object/],
    [write("throws", "throw new TypeError('x')"), /\.handler: file:.*throws\.mjs: TypeError: x$/],
    ["./x.mjs", /^virtualHosts\["a\.test"\]\.handler: "\.\/x\.mjs" is not the URL of a module/],
  ];
  const port = await new Promise<number>((resolve) => {
    const probe = net.createServer();
    probe.listen(0, "127.0.0.1", () => {
      const { port: free } = probe.address() as net.AddressInfo;
      probe.close(() => resolve(free));
    });
  });
  for (const [handler, message] of wrong) {
    const virtualHosts = { "b.test": { handler: module("b") }, "a.test": { handler } };
    assert.match(await failureOf(serve({ port, handler: MAIN, virtualHosts })), message);
  }
  await serving({ port, virtualHosts: BY_NAME }, async () => undefined);
});

hosts("the certificate of one host is renewed alone; the client authorities stay", async () => {
  const virtualHosts = {
    "one.test": { tls: { ...both("one"), requestCert: true, ca: CA }, handler: module("a") },
    "two.test": { tls: both("two") },
  };
  const listen = [ANY, SECURE].map((one, i) =>
    i === 0 ? { ...one, redirect: "https" as const } : one,
  );
  await serving({ listen, virtualHosts }, async (server, [, port = 0]) => {
    const before = await secured(port, "one.test", ALICE);
    await server.configure({ virtualHosts: { "one.test": { tls: both("renewed") } } });
    assert.is(await certified(port, "one.test", ALICE), "renewed");
    assert.is(await certified(port, "two.test"), "two.test");
    assert.is(await certified(port, "other.test"), "localhost");
    assert.is(await ask(before, "one.test"), "a");
    before.destroy();
    const stranger = askOnce(secured(port, "one.test", both("stranger")), "one.test");
    assert.match(await failureOf(stranger), /is cut|ended|ECONNRESET|alert/);
    const changes = { "one.test": { tls: { ...both("one"), ca: read("stranger") } } };
    await server.configure({ tls: both("rsa"), virtualHosts: changes, idleTimeout: 50 });
    assert.is(await certified(port, "one.test", both("stranger")), "one.test");
    assert.is(await certified(port, "other.test"), "rsa.test");
    const refused = [
      [
        { "one.test": { tls: both("two") }, "x.test": { tls: both("two") } },
        /^virtualHosts\["x\.test"\]: the server has no such host$/,
      ],
      [
        { "one.test": { handler: MAIN } },
        /^virtualHosts\["one\.test"\]\.handler: cannot change while/,
      ],
      [{ "one.test": {} }, /^virtualHosts\["one\.test"\]\.tls: is missing$/],
      [
        { "two.test": { tls: { ...both("one"), requestCert: true } } },
        /\.tls\.requestCert: cannot change while/,
      ],
    ] as const;
    for (const [change, message] of refused) {
      const virtualHosts = change as NonNullable<LiveOptions["virtualHosts"]>;
      assert.match(await failureOf(server.configure({ tls: both("two"), virtualHosts })), message);
    }
    assert.is(await certified(port, "one.test", both("stranger")), "one.test");
    assert.is(await certified(port, "other.test"), "rsa.test");
  });
});

/** Returns the first bytes of a TLS client that asks for a name. */
function helloOf(servername: string): Promise<Buffer> {
  return new Promise((resolve) => {
    const peer = net.createServer((socket) => {
      socket.on("error", () => undefined);
      socket.once("data", (bytes: Buffer) => {
        socket.destroy();
        peer.close(() => resolve(bytes));
      });
    });
    peer.listen(0, "127.0.0.1", () => {
      const { port } = peer.address() as net.AddressInfo;
      tls.connect({ port, host: "127.0.0.1", servername }).on("error", () => undefined);
    });
  });
}

hosts(
  "a first message in pieces finds its host, and one that never ends fails in time",
  async () => {
    const clients: FailedHandshake[] = [];
    const logger = {
      debug: (fields: LogFields) => void clients.push(...(fields.clients as FailedHandshake[])),
    };
    const listen = [{ ...SECURE, handshakeTimeout: 1000 }];
    const virtualHosts = { "rsa.test": { tls: both("rsa") } };
    await serving({ listen, virtualHosts, logger }, async (server, [port = 0]) => {
      for (const size of [1, 100, 300]) {
        const { tcp } = (await plain(port)).line;
        tcp.removeAllListeners("data");
        const relay = net.createServer((near) => {
          near.on("data", async (bytes: Buffer) => {
            for (let at = 0; at < bytes.length; at += size) {
              tcp.write(bytes.subarray(at, at + size));
              await new Promise((resolve) => setImmediate(resolve));
            }
          });
          tcp.on("data", (bytes) => near.write(bytes));
        });
        await new Promise<void>((resolve) => void relay.listen(0, "127.0.0.1", resolve));
        const at = (relay.address() as net.AddressInfo).port;
        const wire = await secured(at, "rsa.test");
        const { subject } = (wire.socket as tls.TLSSocket).getPeerCertificate();
        assert.is(subject.CN, "rsa.test", `${size} bytes each`);
        assert.is(await ask(wire, "rsa.test"), "main");
        wire.destroy();
        relay.close();
        tcp.destroy();
      }
      const whole = await helloOf("rsa.test");
      const failures: readonly (readonly [bytes: Buffer, code: string])[] = [
        [whole.subarray(0, 50), "ERR_TLS_HANDSHAKE_TIMEOUT"],
        [
          Buffer.concat([Buffer.from([22, 3, 1, 64, 0]), Buffer.alloc(16384, 1)]),
          "ERR_SSL_EXCESSIVE_MESSAGE_SIZE",
        ],
        [
          Buffer.concat([whole.subarray(0, 5), Buffer.alloc(whole.length - 5, 1)]),
          "ERR_SSL_EXCESSIVE_MESSAGE_SIZE",
        ],
        [Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0]), "ERR_SSL_UNEXPECTED_MESSAGE"],
        [Buffer.from([22, 9, 9, 9, 9, 9, 9, 9]), "ERR_SSL_WRONG_VERSION_NUMBER"],
      ];
      for (const [bytes, code] of failures) {
        clients.length = 0;
        const wire = await plain(port);
        const since = Date.now();
        wire.write(bytes);
        await wire.gone();
        assert.ok(Date.now() - since < 4000, code);
        await until("a line", () => clients.length > 0);
        assert.equal([clients[0]?.remoteAddress, clients[0]?.code], ["127.0.0.1", code]);
      }
      // A byte now and then does not extend the time.
      const slow = await plain(port);
      const since = Date.now();
      let at = 0;
      const timer = setInterval(() => slow.write(whole.subarray(at, ++at)), 100);
      await slow.gone();
      clearInterval(timer);
      assert.ok(Date.now() - since < 4000, "it was given up");
      for (const end of ["end", "reset"] as const) {
        const wire = await plain(port);
        wire.write(whole.subarray(0, 99));
        if (end === "end") wire.socket.end();
        else wire.reset();
      }
      await until(
        "ends",
        async () => (await server.stats()).closed.TlsFailed === failures.length + 3,
      );
      assert.is(await certified(port, "rsa.test"), "rsa.test");
    });
  },
);

hosts("the name in TLS follows a PROXY header", async () => {
  const listen = [{ ...SECURE, proxyProtocol: true }];
  const virtualHosts = { "rsa.test": { tls: both("rsa"), handler: module("a") } };
  await serving({ listen, virtualHosts }, async (_, [port = 0]) => {
    for (const pause of [false, true]) {
      const { tcp } = (await plain(port)).line;
      tcp.removeAllListeners("data");
      tcp.write("PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n");
      // The header arrives on its own.
      if (pause) await new Promise((resolve) => setTimeout(resolve, 100));
      const options = { servername: "rsa.test", ca: read("rsa") };
      const socket = tls.connect({ socket: tcp, ...options });
      await within(once(socket, "secureConnect"), "a handshake");
      assert.is(await askOnce(Promise.resolve(new Wire({ socket, tcp })), "rsa.test"), "a");
    }
  });
});

/** Returns the key that a Chromium is configured to trust: SHA-256 of the public key. */
function spki(pem: string): string {
  const der = new X509Certificate(pem).publicKey.export({ type: "spki", format: "der" });
  return createHash("sha256").update(der).digest("base64");
}

hosts("a page in Chromium has WebSockets to hosts with keys of both types", async () => {
  const page = write(
    "page",
    `import host from ${JSON.stringify(MAIN.href)};
    export default { ...host, request: (req, res) => req.upgrade
      ? res.upgrade({ data: req.path }) : res.send(200, "text/html", '<link rel="icon" href="data:,">') };`,
  );
  const virtualHosts = {
    "rsa.test": { tls: both("rsa"), handler: page },
    "one.test": { tls: both("one"), handler: module("a"), origins: ["*"] },
  };
  await serving({ listen: [SECURE], virtualHosts }, async (_, [port = 0]) => {
    const trusted = [read("rsa"), read("one")].map(spki).join();
    await withBrowser(
      async (browser) => {
        const opened = await browser.open(`https://rsa.test:${port}/`);
        const first = await opened.evaluate(
          (urls) =>
            Promise.all(
              urls.map(
                (url) =>
                  new Promise((resolve, reject) => {
                    const socket = new WebSocket(url);
                    socket.onmessage = ({ data }) => resolve(data);
                    socket.onerror = () => reject(new Error(url));
                  }),
              ),
            ),
          [`wss://rsa.test:${port}/x`, `wss://one.test:${port}/y`],
        );
        assert.equal(first, ["main opens /x", "a opens /y"]);
      },
      [
        `--ignore-certificate-errors-spki-list=${trusted}`,
        "--host-resolver-rules=MAP *.test 127.0.0.1",
      ],
    );
  });
});

hosts.after(() => rmSync(folder, { recursive: true }));

hosts.run();
