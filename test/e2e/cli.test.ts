// The command line: each command against live servers, each mistake, exit codes, signals, and reloads.

import { spawn } from "node:child_process";
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import path from "node:path";
import { text as textOf } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { WebSocketServer } from "ws";
import { Client, type Watcher } from "../../host/cli/client";
import { switching } from "../lib/accept";
import { Command, ran } from "./command";
import { CERTIFICATE, serving, sleep, until, within } from "./peer";

const cli = suite("cli");
mkdirSync(".cache", { recursive: true });
const folder = mkdtempSync(".cache/cli-");
const HELLO = "test/e2e/handlers/metrics.mjs";

/** Writes a file in the tests' own folder. */
function file(name: string, text: string): string {
  const full = path.join(folder, name);
  mkdirSync(path.dirname(full), { recursive: true });
  writeFileSync(full, text);
  return full;
}

const at = (port: number, target = "/"): Promise<string> =>
  fetch(`http://127.0.0.1:${port}${target}`).then((answer) => answer.text());

cli("--help of each command lists its options, without colours in a pipe", async () => {
  for (const [args, wanted] of [
    [
      ["--help"],
      [
        "ringcast [FOLDER | CONFIG.json | handler.js]",
        "--ring SIZE",
        "16 MiB",
        "--watch",
        "ringcast load URL",
      ],
    ],
    [
      ["plan", "-h"],
      ["ringcast plan", "--rate RATE", "--ring SIZE"],
    ],
    [
      ["load", "--help"],
      ["ringcast load URL", "--clients N", "--slow N", "--seconds TIME"],
    ],
    [
      ["stats", "--help"],
      ["ringcast stats URL", "--watch", "--interval TIME"],
    ],
  ] as const) {
    const { code, out, err } = await ran(args);
    assert.equal([code, err], [0, ""]);
    for (const text of wanted) assert.ok(out.includes(text), `${args}: ${text}`);
    assert.not.ok(out.includes("\x1b"));
    assert.ok(out.split("\n").every((line) => line.length <= 110));
  }
  const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
  assert.equal(await ran(["--version"]), { code: 0, out: `${version}\n`, err: "" });
});

const MISTAKES: readonly (readonly [args: string, code: number, message: RegExp])[] = [
  ["--rnig 64k", 2, /^ringcast: --rnig: .*did you mean --ring\?\nTry ringcast --help\.\n$/],
  [
    "--ring 5000",
    2,
    /^ringcast: --ring: 5000 is not a power of two; the nearest are 4096 and 8192\n/,
  ],
  [`${HELLO} --port 70000`, 2, /^ringcast: --port: 70000 is not a whole number from 0 to 65535\n/],
  ["laod http://localhost", 2, /^ringcast: laod: .*did you mean load\?\n/],
  ["missing.mjs", 1, /^ringcast: missing\.mjs: there is no such file\n$/],
  [`${HELLO} ${HELLO}`, 2, /only one file or folder is allowed/],
  ["--watch", 2, /--watch: there is no handler to reload/],
  [`${HELLO} --tls-key nowhere.pem --tls-cert nowhere.pem`, 1, /--tls-key: .*no such file/],
  [`${HELLO} --shutdown-timeout soon`, 2, /--shutdown-timeout: NaN is not a number of ms/],
  [
    `${HELLO} --hostname 192.0.2.1`,
    1,
    /--hostname: 192\.0\.2\.1 is not an address of this machine/,
  ],
  ["plan here", 2, /here: this command takes only options/],
  ["plan --rate fast", 2, /--rate: fast is not a whole number from 1/],
  ["load", 2, /the URL of a server is missing/],
  ["load ftp://localhost", 2, /is none of ws:\/\/, wss:\/\/, http:\/\/, https:\/\//],
  ["load http://[", 2, /is not a URL/],
  ["load localhost:1 --clients 0", 2, /--clients: 0 is not a whole number from 1 to \d+/],
  ["load localhost:1 --clients 5 --slow 6", 2, /--slow: 6 is not a whole number from 0 to 5/],
  ["load localhost:1 --seconds long", 2, /--seconds: long is not a number from 0\.1 to 86400/],
  ["load localhost:1 --header nothing", 2, /--header: "nothing" is not "Name: value"/],
  ["stats", 2, /the URL of a server is missing/],
  ["stats localhost:1", 1, /http:\/\/localhost:1\/metrics: (bad port|ECONNREFUSED)\n$/],
];

cli("each mistake is one line with an exit code, and no stack", async () => {
  for (const [args, wanted, message] of MISTAKES) {
    const { code, out, err } = await ran(args.split(" "));
    assert.match(err, message, args);
    assert.is(code, wanted, `${args}: ${err}`);
    assert.not.match(`${out}${err}`, /\n\s+at /, args);
  }
});

cli("a port in use, and a handler that fails, are reported in a line", async () => {
  const taken = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => taken.once("listening", resolve));
  const { port } = taken.address() as AddressInfo;
  for (const args of [[HELLO], []]) {
    const { code, err } = await ran([...args, "--port", String(port)]);
    const line = `ringcast: port ${port} is in use; choose another one with --port\n`;
    assert.equal([code, err], [1, line]);
  }
  taken.close();
  const broken = file("broken.mjs", "export default {\n");
  const found = await ran([broken, "--port", "0"]);
  assert.equal(
    [found.code, found.err],
    [1, `ringcast: ${broken}: SyntaxError: Unexpected end of input\n`],
  );
  const throws = file("throws.mjs", '\nthrow new Error("no database");\n');
  const { code, err } = await ran([throws, "--port", "0", "--watch"]);
  assert.is(code, 1);
  assert.match(err, /^ringcast: \S+throws\.mjs: no database\n\s+at file:\S+throws\.mjs:2:7\n$/);
});

cli("a handler is served, with options, TLS and the port of the environment", async () => {
  const command = new Command([HELLO, "--max-web-sockets=5", "--metrics", "/m"], { PORT: "0" });
  try {
    const port = await command.port();
    assert.is(await at(port), "1");
    assert.match(await at(port, "/m"), /# EOF\n$/);
    command.signal("SIGTERM");
    assert.equal(await command.ended(), { code: 0, out: command.out, err: "" });
  } finally {
    command.kill();
  }
  const tls = ["--tls-key", "test/e2e/tls/key.pem", "--tls-cert", "test/e2e/tls/cert.pem"];
  const secure = new Command([HELLO, "--port", "0", ...tls], { PORT: "nonsense" });
  try {
    const port = await secure.port();
    const trust = [
      "load",
      `https://127.0.0.1:${port}`,
      "--clients",
      "2",
      "--seconds",
      "0.2",
      "--json",
    ];
    const plain = JSON.parse((await ran(trust)).out) as Summary;
    assert.is(plain.connected, 0);
    const insecure = await ran([...trust, "--insecure"]);
    assert.equal([insecure.code, (JSON.parse(insecure.out) as Summary).connected], [0, 2]);
    const trusted = await ran(trust, { NODE_EXTRA_CA_CERTS: "test/e2e/tls/cert.pem" });
    assert.is((JSON.parse(trusted.out) as Summary).connected, 2, CERTIFICATE.cert.slice(0, 27));
  } finally {
    secure.kill();
  }
});

cli("several listeners are served, with a redirect and error pages", async () => {
  const page = file("pages/404.html", "<h1>none</h1>");
  const socket = path.join(folder, "a.sock");
  const tls = ["--tls-key", "test/e2e/tls/key.pem", "--tls-cert", "test/e2e/tls/cert.pem"];
  const bare = file("bare.mjs", "export default { request: (_, res) => res.send(404) };\n");
  const command = new Command([
    ...[bare, "--listen", "http://127.0.0.1:0", "--listen", "https://127.0.0.1:0", ...tls],
    ...["--listen", `unix:${socket}`, "--mode", "600", "--redirect"],
    ...["--error-pages", `404=${page}`],
  ]);
  try {
    const printed = /live on http:\S*:(\d+)\n.*live on https:\S*:(\d+)\n.*live on unix:(\S+)\n/;
    const [, plain, secure, unix] = await command.prints(printed);
    assert.is(unix, socket);
    assert.is(statSync(socket).mode & 0o777, 0o600);
    const moved = await fetch(`http://127.0.0.1:${plain}/a`, { redirect: "manual" });
    const location = `https://127.0.0.1:${secure}/a`;
    assert.equal([moved.status, moved.headers.get("location")], [308, location]);
    const local = connect(socket);
    local.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert.match(await within(textOf(local), "the answer"), /^HTTP\/1.1 404 .*\n<h1>none<\/h1>$/s);
    command.signal("SIGTERM");
    assert.is((await command.ended()).code, 0);
  } finally {
    command.kill();
  }
});

cli("a listener that cannot start is named by its flags", async () => {
  const taken = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => taken.once("listening", resolve));
  const { port } = taken.address() as AddressInfo;
  const first = ["--listen", `unix:${path.join(folder, "b.sock")}`, "--listen"];
  const inUse = await ran([HELLO, ...first, `http://127.0.0.1:${port}`]);
  const used = `ringcast: port ${port} is in use; choose another one with --listen\n`;
  assert.equal([inUse.code, inUse.err], [1, used]);
  taken.close();
  const foreign = await ran([HELLO, ...first, "http://203.0.113.1:0"]);
  const text = "ringcast: --listen: 203.0.113.1 is not an address of this machine\n";
  assert.equal([foreign.code, foreign.err], [1, text]);
  const missing = await ran([HELLO, "--port", "0", "--error-pages", "404=none.html"]);
  assert.is(missing.code, 1);
  assert.match(missing.err, /^ringcast: --error-pages 404: ENOENT: .*none\.html'\n$/);
});

cli("an end is orderly at the first signal, and at once at the second", async () => {
  const slow = file(
    "slow.mjs",
    `export default { async request(req, res) {
      if (req.upgrade) return res.upgrade();
      // The path says how long it takes.
      await new Promise((resolve) => setTimeout(resolve, Number(req.path.slice(1))));
      return res.send(200, "text/plain", "done");
    } };`,
  );
  const command = new Command([slow, "--port", "0"]);
  try {
    const port = await command.port();
    const answer = at(port, "/500");
    // A later request was answered, so this one has begun.
    assert.is(await at(port, "/0"), "done");
    command.signal("SIGINT");
    assert.is(await answer, "done");
    assert.is((await command.ended()).code, 0);
  } finally {
    command.kill();
  }
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    const hurried = new Command([slow, "--port", "0"]);
    try {
      const port = await hurried.port();
      const answer = at(port, "/20000").catch(() => "lost");
      assert.is(await at(port, "/0"), "done");
      hurried.signal(signal);
      await until("no newcomer", () =>
        at(port, "/0").then(
          () => false,
          () => true,
        ),
      );
      hurried.signal(signal);
      assert.is((await hurried.ended(3000)).code, code);
      assert.is(await answer, "lost");
    } finally {
      hurried.kill();
    }
  }
});

cli(
  "--watch reloads the handler when it, or a file that it imports from its folder, changes",
  async () => {
    const part = (text: string): string =>
      file("watched/parts/part.mjs", `export const part = ${JSON.stringify(text)};`);
    const handler = (text: string): string =>
      file(
        "watched/handler.mjs",
        `import { part } from "./parts/part.mjs";
      export default { request: (req, res) => res.send(200, "text/plain", part + ${text}) };`,
      );
    part("one");
    const command = new Command([handler('"!"'), "--port", "0", "--watch"]);
    try {
      const port = await command.port();
      const answers = (text: string): Promise<void> =>
        until(text, async () => (await at(port)) === text);
      await answers("one!");
      part("two");
      await answers("two!");
      handler('"?"');
      await answers("two?");
      handler('"?');
      await command.prints(/handler\.mjs: SyntaxError: .*\nringcast: the previous handler stays/);
      await answers("two?");
      handler('"."');
      await answers("two.");
      part("three");
      await answers("three.");
      command.signal("SIGINT");
      assert.is((await command.ended()).code, 0);
    } finally {
      command.kill();
    }
  },
);

cli("without a handler it shows the live page", async () => {
  const command = new Command(["--port", "0"]);
  try {
    const port = await command.port();
    assert.match(await at(port), /<!doctype html>/i);
    command.signal("SIGTERM");
    assert.is((await command.ended()).code, 0);
  } finally {
    command.kill();
  }
});

cli("plan shows memory, the horizon and descriptors", async () => {
  const { code, out } = await ran([
    "plan",
    "--ring",
    "64MiB",
    "--rate",
    "1MB/s",
    "--message",
    "4k",
  ]);
  assert.is(code, 0);
  assert.match(out, /^Memory\n/);
  assert.match(out, /\n {2}Ring +64\.0 MiB +ring\n/);
  assert.match(out, /\n {2}total +\S+ MiB +of 1 GiB \(maxMemory\)\n/);
  assert.match(out, /\n +67\.1 s +at 1 MB\/s, 244 messages a second; limited by ring\n/);
  assert.match(out, /\n +11000 +for connections; this process may have \d+\n/);
  const small = await ran([
    "plan",
    "--max-frames",
    "1024",
    "--message",
    "100",
    "--rate",
    "102kB/s",
  ]);
  assert.match(
    small.out,
    /\n +1\.02 s +at 102 kB\/s, 1 k messages a second; limited by maxQueuedFrames/,
  );
});

interface Summary {
  readonly connected: number;
  readonly messages: number;
  readonly messagesPerSecond: number;
  readonly bytes: number;
  readonly latency: { readonly kind: string; readonly p50: number; readonly p99: number };
  readonly missed: number;
  readonly failed: Readonly<Record<string, number>>;
  readonly lost: Readonly<Record<string, number>>;
  readonly lostSlow: Readonly<Record<string, number>>;
}

async function load(port: number, ...args: string[]): Promise<Summary & { code: number | null }> {
  const { code, out, err } = await ran(["load", `ws://127.0.0.1:${port}`, "--json", ...args]);
  assert.ok(out.startsWith("{"), `${out}${err}`);
  return { ...(JSON.parse(out) as Summary), code };
}

cli(
  "load counts the messages of clients, and slow ones are evicted without loss to others",
  async () => {
    await serving("metrics", { ring: 65536, slowGrace: 1 }, async (server, port) => {
      const text = "x".repeat(8000);
      const timer = setInterval(() => {
        for (let i = 0; i < 4; i++) server.broadcast(JSON.stringify({ time: Date.now(), text }));
      }, 10);
      try {
        const args = ["--clients", "20", "--slow", "4", "--seconds", "4"];
        const got = await load(port, ...args);
        assert.equal([got.code, got.connected, got.failed], [0, 20, {}]);
        assert.equal([got.lost, got.missed], [{}, 0]);
        assert.equal(got.lostSlow, { reset: 4 });
        assert.ok(got.messagesPerSecond > 1000, `${got.messagesPerSecond}`);
        assert.ok(got.bytes > got.messages * 8000);
        assert.is(got.latency.kind, "sent");
        assert.ok(got.latency.p50 <= got.latency.p99 && got.latency.p99 < 2000);
        assert.is((await server.stats()).closed.WsClientTooSlow, 4);
      } finally {
        clearInterval(timer);
      }
    });
  },
);

cli("load reports the spread where messages carry no time, and why clients were lost", async () => {
  await serving("metrics", {}, async (server, port) => {
    let n = 0;
    const timer = setInterval(() => server.broadcast(`message ${n++}`), 50);
    const closing = (async () => {
      await until("10 clients", async () => (await server.stats()).webSockets === 10);
      const first = n;
      await until("20 messages", () => n >= first + 20);
      await server.shutdown();
    })();
    try {
      const got = await load(port, "--clients", "10", "--seconds", "10", "--path", "/any?x=1");
      assert.equal([got.code, got.connected, got.missed], [0, 10, 0]);
      assert.is(got.latency.kind, "spread");
      assert.equal(got.lost, { "close 1001": 10 });
    } finally {
      clearInterval(timer);
      await closing;
    }
  });
});

cli("load fails when no client could connect, and says why", async () => {
  const none = await ran(["load", "localhost:1", "--clients", "3"]);
  assert.is(none.code, 1);
  assert.match(none.out, /not connected +3 × ECONNREFUSED/);
  assert.match(none.err, /^ringcast: no client connected to ws:\/\/localhost:1\/\n$/);
  await serving("refused", { requireOrigin: true }, async (_server, port) => {
    const got = await load(port, "--clients", "3");
    assert.equal([got.code, got.failed], [1, { "HTTP 403": 3 }]);
    const origin = `Origin: http://127.0.0.1:${port}`;
    const allowed = await load(port, "--clients", "3", "--seconds", "0.1", "--header", origin);
    assert.not.equal(allowed.failed, { "HTTP 403": 3 });
  });
});

cli("load opens no more clients a second than --rate", async () => {
  await serving("metrics", {}, async (_server, port) => {
    const started = Date.now();
    const got = await load(port, "--clients", "21", "--rate", "20", "--seconds", "0.1");
    assert.is(got.connected, 21);
    assert.ok(Date.now() - started >= 1000);
  });
});

cli("load is ended by a signal, and reports its results", async () => {
  await serving("metrics", {}, async (_server, port) => {
    const command = new Command(["load", `http://127.0.0.1:${port}`, "--clients", "3"]);
    await until("connected", async () => (await at(port, "/")) !== "" && connectedTo(_server, 3));
    command.signal("SIGINT");
    const { code, out } = await command.ended();
    assert.is(code, 0);
    assert.match(out, /connected +3 of 3\n/);
    assert.match(out, /latency +–\n/);
  });
});

async function connectedTo(server: { count(): Promise<number> }, count: number): Promise<boolean> {
  return (await server.count()) === count;
}

/** Starts a server that sends some bytes after its 101, cut as `cuts` says. */
async function sending(
  bytes: Buffer,
  cut: number,
  body: (port: number) => Promise<void>,
): Promise<void> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.setNoDelay(true).on("error", () => undefined);
    socket.once("data", async (request: Buffer) => {
      const all = Buffer.concat([Buffer.from(switching(request.toString())), bytes]);
      for (let at = 0; at < all.length; at += cut) {
        socket.write(all.subarray(at, at + cut));
        // Most pieces arrive alone.
        await sleep(1);
      }
    });
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  try {
    await body((server.address() as AddressInfo).port);
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}

function frameOf(first: number, length: number): Buffer {
  const payload = Buffer.alloc(length, 97);
  const head =
    length < 126
      ? [first, length]
      : length < 65536
        ? [first, 126, length >> 8, length & 255]
        : [first, 127, 0, 0, 0, 0, 0, length >> 16, (length >> 8) & 255, length & 255];
  return Buffer.concat([Buffer.from(head), payload]);
}

cli(
  "load reads frames of each length, in fragments, with pings between, however they are cut",
  async () => {
    const frames = Buffer.concat([
      frameOf(0x81, 0),
      frameOf(0x82, 125),
      frameOf(0x81, 126),
      frameOf(0x89, 5),
      frameOf(0x01, 300),
      frameOf(0x8a, 0),
      frameOf(0x00, 0),
      frameOf(0x80, 7),
      frameOf(0x81, 1),
      frameOf(0x88, 0),
    ]);
    for (const cut of [1, 3, 7, 100000]) {
      await sending(frames, cut, async (port) => {
        const got = await load(port, "--clients", "2", "--seconds", "5");
        assert.equal([got.connected, got.lost], [2, { "close 1005": 2 }], `cut at ${cut}`);
      });
    }
    // It counts from when all are open; later messages are counted whole.
    const large = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    await new Promise((resolve) => large.once("listening", resolve));
    large.on("connection", (socket) => {
      // After all are open.
      setTimeout(() => {
        socket.send("x".repeat(1000000));
        for (let i = 0; i < 9; i++) socket.send("short");
        setTimeout(() => socket.close(4000), 300);
      }, 300);
    });
    const got = await load(
      (large.address() as AddressInfo).port,
      "--clients",
      "3",
      "--seconds",
      "5",
    );
    assert.equal([got.messages, got.lost], [30, { "close 4000": 3 }]);
    assert.is(got.bytes, 3 * (1000000 + 10 + 9 * 7 + 4));
    large.close();
  },
);

cli("stats shows a server's metrics, or its statistics, once or again and again", async () => {
  await serving("metrics", { metrics: {} }, async (server, port) => {
    const once = await ran(["stats", `http://127.0.0.1:${port}`]);
    assert.equal([once.code, once.err], [0, ""]);
    assert.match(once.out, /\/metrics\n/);
    assert.match(once.out, /\n {2}ring_capacity_bytes +16 MiB\n/);
    assert.match(once.out, /\n {2}ring_horizon_seconds +no end\n/);
    assert.match(once.out, /\n {2}lag_bytes_bucket|\n {2}websockets +0\n/);
    const watching = new Command(["stats", `127.0.0.1:${port}`, "--watch", "--interval", "200ms"]);
    const timer = setInterval(() => server.broadcast("x"), 10);
    try {
      await watching.prints(/\n {2}frames_published +\d+ +[\d.]+\/s\n/);
      watching.signal("SIGINT");
      assert.is((await watching.ended()).code, 0);
    } finally {
      clearInterval(timer);
      watching.kill();
    }
  });
  await serving("metrics", { metrics: { addresses: false } }, async (_server, port) => {
    const { code, err } = await ran(["stats", `127.0.0.1:${port}/metrics`]);
    assert.is(code, 1);
    assert.match(
      err,
      /\/metrics: the response is 403 \(metrics\.addresses lists the clients that may read them\)\n$/,
    );
  });
  const command = new Command(["--port", "0"]);
  try {
    const { out } = await ran(["stats", `127.0.0.1:${await command.port()}`]);
    assert.match(out, /\/stats\n/);
    assert.match(out, /\n {2}ring\.bytes +\d+ MiB\n/);
  } finally {
    command.kill();
  }
});

/** Starts a server that sends the same response to every request. */
async function answering(
  answer: (socket: Socket) => void,
  body: (port: number) => Promise<void>,
): Promise<void> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined).once("data", () => answer(socket));
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  try {
    await body((server.address() as AddressInfo).port);
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}

function whole(type: string, body: string | Buffer, fields = ""): (socket: Socket) => void {
  const head = `HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\n${fields}Connection: close\r\n`;
  return (socket) => {
    socket.write(`${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n`);
    socket.end(body);
  };
}

/** Control characters, but for the line breaks of an output: C0, DEL, C1. */
const CONTROL = /(?!\n)\p{Cc}/u;
/** Text of a hostile peer: clear the screen by C0 and by C1, set a title, go back, break the line. */
const HOSTILE = "\x1b[2J\x9b2J\x1b]0;owned\x07\b\r\nringcast: fake\x7f\u202e";

cli("stats prints no control character of a server", async () => {
  const json = JSON.stringify({ [HOSTILE]: 1, ring: { [HOSTILE]: 2 } });
  const labels = HOSTILE.replace(/\n/g, "");
  const text = `up{a="${labels}"} 1\nup 2\n`;
  for (const [type, body] of [
    ["application/json", json],
    ["text/plain", text],
  ] as const) {
    await answering(whole(type, body), async (port) => {
      const { code, out, err } = await ran(["stats", `127.0.0.1:${port}/x`]);
      assert.equal([code, err], [0, ""]);
      assert.not.match(out, CONTROL);
      assert.not.match(out, /\nringcast|\u202e/);
      assert.ok(out.includes("\\x1b[2J\\x9b2J"), out);
    });
  }
});

cli("stats reads so much of an answer, by its bytes and unpacked, and no more", async () => {
  const head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n";
  const line = Buffer.from(`${"up 1\n".repeat(13107)}\n`);
  let sent = 0;
  /** Sends for ever, until the client goes. */
  const endless = (socket: Socket): void => {
    socket.write(`${head}\r\n`);
    const more = (): void => {
      if (socket.destroyed) return;
      sent += line.length;
      if (socket.write(line)) setImmediate(more);
      else socket.once("drain", more);
    };
    more();
  };
  const packed = gzipSync(Buffer.alloc(200 * 1048576, "up 1\n"), { level: 1 });
  const declared = (socket: Socket): void => {
    socket.write(`${head}Content-Length: 99999999999\r\n\r\n`);
    endless(socket);
  };
  const long = /^ringcast: http:\S+\/x: the response is longer than 4 MiB\n$/;
  for (const [name, answer, message] of [
    ["endless", endless, long],
    ["of a great length", declared, long],
    ["unpacked", whole("text/plain", packed, "Content-Encoding: gzip\r\n"), long],
    [
      "head",
      (socket: Socket) => socket.write(`${head}X: ${"x".repeat(100000)}`),
      /HEADERS_OVERFLOW/,
    ],
  ] as const) {
    sent = 0;
    await answering(answer, async (port) => {
      const { code, out, err } = await ran(["stats", `127.0.0.1:${port}/x`]);
      assert.equal([code, out], [1, ""], name);
      assert.match(err, message, name);
      // Unread bytes are in the buffers of two sockets.
      assert.ok(sent < 64 * 1048576, `${name}: ${sent} bytes`);
    });
  }
});

cli("stats shows so many figures, so deep, with names so long, and no more", async () => {
  const figures: Record<string, unknown> = {};
  for (let i = 0; i < 150000; i++) figures[`f${i}`] = i;
  let deep: unknown = { bottom: 1 };
  for (let i = 0; i < 100000; i++) deep = { a: deep };
  const nested = `${'{"a":'.repeat(100000)}1${"}".repeat(100000)}`;
  const body = `{"${"n".repeat(5000)}": 1, "deep": ${nested}, ${JSON.stringify(figures).slice(1)}`;
  await answering(whole("application/json", body), async (port) => {
    const { code, out, err } = await ran(["stats", `127.0.0.1:${port}/x`]);
    assert.equal([code, err], [0, ""]);
    const lines = out.trimEnd().split("\n");
    assert.is(lines.length, 1002);
    assert.ok(lines.every((line) => line.length < 260));
    assert.is(lines.at(-1), "  and 149001 more");
  });
});

cli("load ends a client whose server sends a frame that no server may send", async () => {
  // Of each the head alone: it waits for no payload.
  for (const [name, head] of [
    ["a ping of 1 TiB", [0x89, 127, 0, 0, 1, 0, 0, 0, 0, 0]],
    ["a ping of 126 bytes", [0x89, 126, 0, 126]],
    ["a ping in fragments", [0x09, 1]],
    ["a masked frame", [0x81, 0x85]],
  ] as const) {
    await sending(Buffer.from(head), 100, async (port) => {
      const got = await load(port, "--clients", "1", "--seconds", "20");
      assert.equal([got.connected, got.lost], [1, { "protocol error": 1 }], name);
    });
  }
});

cli("load keeps few pongs for a server that does not read", async () => {
  const pings = Buffer.concat(Array.from({ length: 500 }, () => frameOf(0x89, 125)));
  const total = 24 * 1048576;
  let client: Socket | undefined;
  const noticed = (message: unknown): void => {
    client = (message as { socket: Socket }).socket;
  };
  const server = createServer((socket) => {
    socket
      .on("error", () => undefined)
      .once("data", (request: Buffer) => {
        socket.pause();
        socket.write(switching(request.toString()));
        const more = (): void => {
          if (socket.bytesWritten >= total) return;
          socket.write(pings, more);
        };
        more();
      });
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  let read = 0;
  let most = 0;
  const watcher: Watcher = {
    opened: () => undefined,
    ended: () => undefined,
    message: () => undefined,
    read: (bytes) => {
      read += bytes;
      most = Math.max(most, client?.writableLength ?? 0);
    },
  };
  subscribe("net.client.socket", noticed);
  const { port } = server.address() as AddressInfo;
  const url = new URL(`ws://127.0.0.1:${port}/`);
  const target = { url, headers: [], isInsecure: false, openMillis: 30000 };
  const one = new Client(target, watcher, "reading");
  unsubscribe("net.client.socket", noticed);
  try {
    await until("it has read the pings", () => read >= total);
    assert.ok(most > 0, "pongs have waited");
    assert.ok(most <= 65536 + 131, `${most} bytes of pongs`);
  } finally {
    one.leave();
    server.close();
    client?.destroy();
  }
});

cli("a server prints no control character of a client", async () => {
  const parser = file(
    "parser.mjs",
    `export default {
      request(req, res) {
        if (req.path === "/json") return res.send(200, "text/plain", typeof JSON.parse(req.text()));
        throw new TypeError(req.text(), { cause: new Error(req.text()) });
      },
    };`,
  );
  const command = new Command([parser, "--port", "0"]);
  try {
    const port = await command.port();
    for (const target of ["/json", "/own"]) {
      const answer = await fetch(`http://127.0.0.1:${port}${target}`, {
        method: "POST",
        body: HOSTILE,
      });
      assert.is(answer.status, 500);
    }
    await command.prints(/TypeError: \\x1b\[2J/);
    await command.prints(/SyntaxError\]?: .*\\x1b/);
    command.signal("SIGTERM");
    const { err } = await command.ended();
    assert.not.match(err, CONTROL);
    assert.not.match(err, /\u202e/);
    assert.not.match(err, /\nringcast: fake/);
  } finally {
    command.kill();
  }
});

/** Returns a free port. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

cli("a server keeps running when its output is full or closed", async () => {
  const thrower = file(
    "thrower.mjs",
    `export default { request(req, res) {
      if (req.path === "/throw") throw new Error("as asked");
      return res.send(200, "text/plain", "here");
    } };`,
  );
  const full = openSync("/dev/full", "w");
  for (const output of [full, "pipe"] as const) {
    const port = await freePort();
    const args = ["dist/cli.js", thrower, "--port", String(port)];
    const child = spawn(process.execPath, args, { stdio: ["ignore", output, output] });
    child.stdout?.destroy();
    child.stderr?.destroy();
    const ended = new Promise((resolve) => child.once("exit", resolve));
    try {
      const isHere = (): Promise<boolean> =>
        at(port).then(
          (text) => text === "here",
          () => false,
        );
      await until("it serves", isHere);
      for (let i = 0; i < 5; i++) {
        assert.is((await fetch(`http://127.0.0.1:${port}/throw`)).status, 500);
        // It must not end, though what it reports can be written nowhere.
        await sleep(20);
      }
      assert.ok(await isHere());
      child.kill("SIGTERM");
      assert.is(await within(ended, "its end"), 0);
    } finally {
      child.kill("SIGKILL");
    }
  }
  closeSync(full);
});

cli.after(() => rmSync(folder, { recursive: true, force: true }));
cli.run();
