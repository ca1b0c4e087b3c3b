// Features that the suite does not cover on a runtime: a pool, TLS, several listeners, virtual hosts, subprotocols,
// error pages, raw connections, and the ends of a server. Run by the runtime itself, over the installed package; the
// last line of its output is the list of results, as JSON.

import { readFileSync, writeFileSync } from "node:fs";
import * as net from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import * as tls from "node:tls";
import { type Handler, type Options, type Server, serve } from "ringcast";
import { connect } from "ringcast/client";
import { clientFrame } from "../lib/client-frame";
import { handshake } from "../lib/handshake";
import { portOf } from "../lib/port";
import { within } from "../lib/wait";

const [name = "", folder = ""] = process.argv.slice(2);
const handler = new URL("./handler.mjs", import.meta.url);
const REQUEST = "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/** Sends a request and returns the complete response. */
function ask(socket: net.Socket, host = "a", request = REQUEST): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    socket.on("data", (bytes) => {
      text += bytes;
    });
    socket.on("end", () => resolve(text));
    socket.on("error", reject);
    socket.write(request.replace("Host: a", `Host: ${host}`));
  });
}

/** Waits for a handshake. */
async function opened(socket: tls.TLSSocket): Promise<tls.TLSSocket> {
  await new Promise((resolve, reject) => {
    socket.once("secureConnect", resolve);
    socket.once("error", reject);
  });
  return socket;
}

/** Connects to a host of any certificate. */
const secured = (port: number, servername: string): Promise<tls.TLSSocket> =>
  opened(tls.connect({ port, host: "127.0.0.1", servername, rejectUnauthorized: false }));

/** Returns the key and the certificate of a file that has both. */
function partsOf(file: string): { key: string; cert: string } {
  const pem = readFileSync(path.join(folder, `${file}.pem`), "utf8");
  const at = pem.indexOf("-----BEGIN CERTIFICATE-----");
  return { key: pem.slice(0, at), cert: pem.slice(at) };
}

function expect(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

async function serving(options: Options, body: (server: Server) => Promise<void>): Promise<void> {
  const server = await serve({ port: 0, handler, onError: () => undefined, ...options });
  try {
    await body(server);
  } finally {
    await server.close();
  }
}

/** Runs a program that greets each client and sends back its bytes. */
async function withUpstream(body: (address: string) => Promise<void>): Promise<void> {
  const upstream = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => undefined);
    socket.write("banner\n");
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  try {
    await body(`127.0.0.1:${(upstream.address() as net.AddressInfo).port}`);
  } finally {
    upstream.close();
  }
}

/** Returns everything that a socket receives until the end, or as many bytes. */
function textOf(socket: net.Socket, bytes = Number.POSITIVE_INFINITY): Promise<string> {
  const text = new Promise<string>((resolve, reject) => {
    const parts: Buffer[] = [];
    let length = 0;
    const end = (): void => resolve(Buffer.concat(parts).toString());
    socket.on("data", (part: Buffer) => {
      parts.push(part);
      length += part.length;
      if (length >= bytes) end();
    });
    socket.on("end", end);
    socket.on("error", reject);
  });
  return within(text, "the end");
}

/** Returns the first bytes that a socket receives. */
function take(socket: net.Socket): Promise<string> {
  const text = new Promise<string>((resolve, reject) => {
    socket.once("data", (bytes: Buffer) => resolve(bytes.toString()));
    socket.on("error", reject);
  });
  return within(text, "bytes");
}

/** Resolves when connections have ended as Ok. */
async function ended(server: Server, count: number): Promise<void> {
  while (((await server.stats()).closed.Ok ?? 0) < count) {
    // Each look crosses to the worker, which needs the time itself.
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Returns the text of the error that a promise is rejected with. */
async function failure(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "none",
    (error: Error) => `${error.name}: ${error.message}`,
  );
}

/** Whether connections are handles of Node without its streams, unless sockets are forced. */
const isNode = !("deno" in process.versions) && !("bun" in process.versions);

const checks: Record<string, () => Promise<void>> = {
  "the statistics name the transport": async () => {
    for (const transport of ["auto", "sockets"] as const) {
      await serving({ transport }, async (server) => {
        const isAuto = transport === "auto" && process.env.RINGCAST_TRANSPORT !== "sockets";
        const wanted = isNode && isAuto ? "handles" : "sockets";
        const found = (await server.stats()).transport;
        expect(found === wanted, `${found} instead of ${wanted}`);
      });
    }
  },

  "requests are handled in a pool of threads": () =>
    serving({ pool: { threads: 2 } }, async (server) => {
      const url = `http://127.0.0.1:${server.address.port}`;
      const texts = await Promise.all(
        Array.from({ length: 20 }, async (_, i) => (await fetch(`${url}/thread?${i}`)).text()),
      );
      expect(
        texts.every((text, i) => text === `thread ${i}`),
        JSON.stringify(texts),
      );
      const broken = await fetch(`${url}/exit`);
      expect(broken.status === 500, `a thread that ends is ${broken.status}`);
      expect((await (await fetch(`${url}/thread?1`)).text()) === "thread 1", "it is replaced");
      const { pool } = await server.stats();
      expect(pool?.threads === 2 && pool.completed >= 21, JSON.stringify(pool));
    }),

  "TLS carries requests, and large answers": async () => {
    const key = readFileSync(path.join(folder, "key.pem"), "utf8");
    const cert = readFileSync(path.join(folder, "cert.pem"), "utf8");
    await serving({ tls: { key, cert } }, async (server) => {
      const socket = await opened(
        tls.connect({ port: server.address.port, host: "127.0.0.1", ca: cert }),
      );
      expect((await ask(socket)).endsWith("\r\n\r\nhello\n"), "an answer");
    });
  },

  "virtual hosts have certificates of any type, and modules of their own": async () => {
    const [one, rsa, renewed] = [partsOf("one"), partsOf("rsa"), partsOf("renewed")];
    const module = (own: string): URL => new URL(`./host-${own}.mjs`, import.meta.url);
    const virtualHosts = {
      ".rsa.test": { tls: rsa, handler: module("a") },
      ".two.test": { handler: module("b") },
    };
    await serving({ tls: one, handler: module("main"), virtualHosts }, async (server) => {
      const seen = async (servername: string, host = servername): Promise<string> => {
        const socket = await secured(portOf(server), servername);
        const { subject } = socket.getPeerCertificate();
        const text = await ask(socket, host);
        const { module: own } = JSON.parse(text.slice(text.indexOf("\r\n\r\n"))) as {
          module: string;
        };
        return `${subject.CN} ${own}`;
      };
      const all = [
        [await seen("rsa.test"), "rsa.test a"],
        [await seen("x.two.test"), "one.test b"],
        [await seen("other.test"), "one.test main"],
        [await seen("other.test", "RSA.test.:443"), "one.test a"],
      ];
      await server.configure({ virtualHosts: { ".rsa.test": { tls: renewed } } });
      // Deno's client would resume its session with a name that it has seen.
      all.push(
        [await seen("new.rsa.test"), "renewed a"],
        [await seen("other.test"), "one.test main"],
      );
      for (const [found, wanted] of all) expect(found === wanted, JSON.stringify(all));
    });
    const asking = { "rsa.test": { tls: { ...rsa, requestCert: true } } };
    const text = await failure(serving({ tls: one, virtualHosts: asking }, async () => undefined));
    const refused =
      'TypeError: virtualHosts["rsa.test"].tls.requestCert: only Node can ask for client certificates by host';
    expect(text === (isNode ? "none" : refused), text);
  },

  "one server listens in plain, with a redirect, in TLS, and at a Unix socket": async () => {
    const { key, cert } = partsOf("one");
    const file = path.join(folder, "several");
    const listen = [
      { port: 0 },
      { port: 0, redirect: "https" as const },
      { port: 0, tls: { key, cert } },
      { path: file },
    ];
    const virtualHosts = { "a.test": {} };
    const server = await serve({ handler, listen, virtualHosts, onError: () => undefined });
    try {
      const [plain = 0, redirect = 0, secure = 0] = server.addresses.map(({ port }) => port);
      const at = (port: number): net.Socket => net.connect(port, "127.0.0.1");
      const all = [at(plain), await secured(secure, "a.test"), net.connect(file)];
      for (const socket of all)
        expect((await ask(socket, "a.test")).endsWith("\r\n\r\nhello\n"), "an answer");
      const text = await ask(at(redirect), "a.test");
      const location = /^HTTP\/1\.1 308 [\s\S]*\r\nLocation: (.*)\r\n/.exec(text)?.[1];
      expect(location === `https://a.test:${secure}/hello`, text);
      expect((await ask(at(redirect), "b.test")).startsWith("HTTP/1.1 421 "), "no other host");
    } finally {
      await server.close();
    }
    const taken = net.createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => taken.once("listening", resolve));
    const { port } = taken.address() as net.AddressInfo;
    const both = serve({ handler, listen: [{ path: file }, { port, hostname: "127.0.0.1" }] });
    const error = await failure(both);
    taken.close();
    expect(error.includes("EADDRINUSE"), error);
    expect((await failure(ask(net.connect(file)))) !== "none", "all are opened, or none");
  },

  "subprotocols have modules of their own, one of them by default": async () => {
    const module = (own: string): URL => new URL(`./host-${own}.mjs`, import.meta.url);
    const options: Options = {
      handler: module("main"),
      protocolHandlers: { chat: module("a"), news: module("b") },
      defaultProtocol: "news",
    };
    await serving(options, async (server) => {
      const open = async (protocol: string): Promise<string> => {
        const socket = net.connect(portOf(server), "127.0.0.1");
        const field = protocol === "" ? "" : `Sec-WebSocket-Protocol: ${protocol}\r\n`;
        let text = "";
        socket.on("data", (bytes) => {
          text += bytes.toString("latin1");
        });
        const came = async (words: string): Promise<void> => {
          // Each look lets the socket's events in.
          while (!text.includes(words)) await new Promise((resolve) => setTimeout(resolve, 5));
        };
        socket.write(handshake("/x", field));
        await within(came(" opens "), "a welcome");
        socket.write(clientFrame(1, Buffer.from("hi")));
        await within(came(" got hi"), "an echo");
        socket.destroy();
        const chosen = /\r\nSec-WebSocket-Protocol: (.*)\r\n/i.exec(text)?.[1] ?? "none";
        return `${chosen} ${/(\w+) got hi/.exec(text)?.[1]}`;
      };
      const all = [await open("chat"), await open("x, news"), await open(""), await open("x")];
      const wanted = ["chat a", "news b", "none b", "none main"];
      expect(all.join() === wanted.join(), all.join());
    });
  },

  "refusals and empty responses have error pages, from a file and from bytes": async () => {
    const file = path.join(folder, "wrong.html");
    writeFileSync(file, "<p>wrong</p>");
    const none = { type: "text/html", body: Buffer.from("<p>none</p>") };
    await serving({ errorPages: { 400: file, 404: none } }, async (server) => {
      const seen = async (request: string): Promise<string> => {
        const text = await ask(net.connect(portOf(server), "127.0.0.1"), "a", request);
        const type = /\r\nContent-Type: (.*)\r\n/.exec(text)?.[1];
        return `${text.slice(9, 12)} ${type} ${text.slice(text.indexOf("\r\n\r\n") + 4)}`;
      };
      const twice = "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n";
      const all = [
        [await seen(REQUEST.replace("/hello", "/empty")), "404 text/html <p>none</p>"],
        [await seen(REQUEST.replace("GET /hello", "HEAD /empty")), "404 text/html "],
        [await seen(twice), "400 text/html; charset=utf-8 <p>wrong</p>"],
        [await seen(twice.replace("GET", "HEAD")), "400 text/html; charset=utf-8 "],
      ];
      for (const [found, wanted] of all) expect(found === wanted, JSON.stringify(all));
    });
  },

  "a Unix socket carries requests": () => {
    const socketPath = path.join(folder, "socket");
    return serving({ path: socketPath }, async () => {
      expect((await ask(net.connect(socketPath))).endsWith("\r\n\r\nhello\n"), "an answer");
    });
  },

  "connections that are not HTTP reach an upstream, plain and in TLS, whole and with both ends":
    () =>
      withUpstream(async (raw) => {
        const key = readFileSync(path.join(folder, "key.pem"), "utf8");
        const cert = readFileSync(path.join(folder, "cert.pem"), "utf8");
        for (const options of [{}, { tls: { key, cert } }]) {
          await serving({ raw, rawTimeout: 300, ...options }, async (server) => {
            const to = { port: portOf(server), host: "127.0.0.1", ca: cert, allowHalfOpen: true };
            const open = (): net.Socket => ("tls" in options ? tls.connect(to) : net.connect(to));
            const sent = Buffer.alloc(2000000, "SSH-2.0-x\r\n");
            const socket = open();
            const received = textOf(socket, sent.length + 7);
            // Deno's TLS does not notice the end of a side that was paused before.
            if ("tls" in options) socket.write(sent);
            else socket.end(sent);
            const text = await received;
            socket.end();
            expect(text.startsWith("banner\n"), `first ${text.slice(0, 20)}`);
            expect(text.slice(7) === sent.toString(), `${text.length} characters`);
            const silent = open();
            expect((await take(silent)) === "banner\n", "the upstream speaks first");
            silent.end();
            expect((await textOf(silent)) === "", "nothing more");
            const asked = open();
            expect((await ask(asked)).endsWith("\r\n\r\nhello\n"), "a request");
            // The end of a connection is counted in a moment.
            await within(ended(server, 3), "ends");
          });
        }
      }),

  "a handler that cannot be loaded, or a port that is taken, is reported": () =>
    serving({}, async (server) => {
      const missing = new URL("./missing.mjs", import.meta.url);
      expect((await failure(serve({ port: 0, handler: missing }))) !== "none", "a missing handler");
      const taken = await failure(serve({ port: portOf(server), handler }));
      expect(taken.includes("EADDRINUSE"), taken);
    }),

  "a worker that dies is reported": async () => {
    const server = await serve({ port: 0, handler, onError: () => undefined });
    const ended = failure(server.finished);
    const text = await failure(fetch(`http://127.0.0.1:${server.address.port}/exit`));
    expect(text !== "none", "the request has no answer");
    expect((await ended) !== "none", "finished is rejected");
    expect(server.broadcast("x") === false, "nothing is sent");
    expect((await failure(server.stats())) !== "none", "calls are rejected");
  },

  "`ringcast/client` comes back by the runtime's own WebSocket": async () => {
    const echo: Handler = {
      request: (_req, res) => res.upgrade(),
      message: (ws, data) => void ws.send(data),
    };
    const first = await serve({ port: 0, handler: echo });
    const port = portOf(first);
    const log: string[] = [];
    let server: Promise<Server> | undefined;
    await new Promise<void>((resolve) => {
      const connection = connect(`http://127.0.0.1:${port}/`, {
        delay: 20,
        subscriptions: ["hello"],
        onMessage: (data) => {
          log.push(String(data));
          if (server === undefined) return void first.shutdown();
          connection.close();
          resolve();
        },
        onLost: ({ code, attempt }) => {
          log.push(`lost ${attempt === 1 ? code : "again"}`);
          // Some tries fail before it is back.
          if (attempt === 3) server = serve({ port, handler: echo });
        },
        onBack: ({ first }) => void log.push(first ? "first" : "back"),
      });
    });
    await (await server)?.close();
    const texts = ["first", "hello", "lost 1001", "lost again", "lost again"];
    expect(log.slice(0, 5).join() === texts.join(), `${log}`);
    expect(log.slice(-2).join() === "back,hello", `${log}`);
  },

  "a signal ends a server, and its process may end": async () => {
    const abort = new AbortController();
    const server = await serve({ port: 0, handler, signal: abort.signal });
    abort.abort();
    await server.finished;
    expect(server.broadcast("x") === false, "nothing is sent");
  },
};

const results: { name: string; passed: boolean; error: string }[] = [];
for (const [title, check] of Object.entries(checks)) {
  const error = await within(check(), title, 10000).then(
    () => "",
    (thrown: Error) => thrown.stack ?? thrown.message,
  );
  results.push({ name: `${name}, ${title}`, passed: error === "", error });
}
console.log(`on ${os.platform()}`);
console.log(JSON.stringify(results));
