// The access log over real sockets: which requests have a line wherever the handler runs, its file, and the signal of
// the command line that opens it again.

import { spawn } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { type Options, type Server, serve } from "ringcast";
import { createTestServer } from "ringcast/testing";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { handshake } from "../lib/handshake";
import { portOf } from "../lib/port";
import { Command } from "./command";
import { Wire, WsWire, handlerOf, takeAnswer, until, within } from "./peer";

const log = suite("access log");
const folder = mkdtempSync(path.join(tmpdir(), "ringcast-log-"));
log.after(() => rmSync(folder, { recursive: true }));
let files = 0;
const newFile = (): string => path.join(folder, `${++files}.log`);

interface Line {
  readonly address?: string;
  readonly method?: string;
  readonly target?: string;
  readonly version?: string;
  readonly status: number;
  readonly bytes?: number;
  readonly ms?: number;
  readonly host?: string;
}

function linesOf(file: string): string[] {
  return existsSync(file) ? readFileSync(file, "latin1").split("\n").slice(0, -1) : [];
}

const read = (file: string): Line[] => linesOf(file).map((line) => JSON.parse(line) as Line);

/** Returns the message that a promise rejects with. */
async function failureOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "none",
    (error: Error) => error.message,
  );
}

/** Waits until a log has a number of lines. */
async function logged(file: string, count: number): Promise<void> {
  await until(`${count} lines`, () => linesOf(file).length >= count);
}

async function start(options: Options): Promise<Server> {
  return serve({ port: 0, onError: () => undefined, ...options });
}

/** Sends a request, and waits until the connection has ended or has had time to answer. */
async function ask(server: Server, text: string): Promise<void> {
  const wire = await Wire.open(portOf(server));
  wire.write(text);
  await until("an answer", () => wire.peek().length > 0);
  wire.reset();
}

const get = (target: string, method = "GET", fields = ""): string =>
  `${method} ${target} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`;

for (const place of ["worker", "application", "pool"] as const) {
  log(`each response of a handler in the ${place} has its line`, async () => {
    const file = newFile();
    const handler = await handlerOf("access-log", place === "application" ? place : "worker");
    const server = await start({
      handler,
      accessLog: { file, format: "json" },
      maxBodyLength: 1000,
      ...(place === "pool" ? { pool: { threads: 1 } } : {}),
    });
    const asked: [string, number, number | undefined][] = [
      [get("/text"), 200, 6],
      [get("/text", "HEAD"), 200, 0],
      [get("/large"), 200, 200000],
      [get("/static"), 200, 5],
      [get("/pieces"), 200, undefined],
      [get("/known"), 200, 4],
      [get("/throw"), 500, undefined],
      [get("/none"), 204, 0],
      [get("/", "POST", "Content-Length: 1001\r\n"), 413, undefined],
    ];
    for (const [text] of asked) await ask(server, text);
    await logged(file, asked.length);
    await server.close();
    assert.equal(
      read(file).map(({ status, bytes }) => [status, bytes]),
      asked.map(([, status, bytes], i) => [
        status,
        i === asked.length - 1 ? read(file).at(-1)?.bytes : bytes,
      ]),
    );
    assert.equal(
      read(file).map(({ method, target }) => `${method} ${target}`),
      asked.map(([text]) => text.split(" ", 2).join(" ")),
    );
    for (const line of read(file)) {
      assert.equal([line.address, line.host, line.version], ["127.0.0.1", "a", "1.1"]);
      if (line.status === 200) assert.ok((line.ms as number) >= 0 && (line.ms as number) < 5000);
    }
  });
}

log("refusals of the engine have lines, with the request line if it was read", async () => {
  const file = newFile();
  const server = await start({ accessLog: { file, format: "json" }, headersTimeout: 50 });
  const cases: [string, number, string | undefined][] = [
    [get("/chunk", "POST", "Transfer-Encoding: chunked\r\n").concat("zz\r\n"), 400, "/chunk"],
    [get("/expect", "GET", "Expect: cake\r\n"), 417, "/expect"],
    [get("/long", "GET", `X: ${"x".repeat(20000)}\r\n`), 431, "/long"],
    ["GET /no-host HTTP/1.1\r\n\r\n", 400, "/no-host"],
    ["GET /bad\x01 HTTP/1.1\r\n\r\n", 400, undefined],
    [`GET /${"y".repeat(9000)} HTTP/1.1\r\n\r\n`, 414, undefined],
    ["GET /late HTTP/1.1\r\nHost: a\r\nX", 408, "/late"],
    ["GET", 408, undefined],
  ];
  for (const [text] of cases) await ask(server, text);
  await logged(file, cases.length);
  await server.close();
  assert.equal(
    read(file).map(({ status, target }) => [status, target]),
    cases.map(([, status, target]) => [status, target]),
  );
  assert.ok(
    read(file).every(({ bytes, address }) => (bytes as number) > 0 && address === "127.0.0.1"),
  );
});

log("upgrades have lines with 101, and with the status of their refusal", async () => {
  const file = newFile();
  const handler = await handlerOf("access-log", "worker");
  const server = await start({ handler, accessLog: { file, format: "json" }, maxWebSockets: 1 });
  const ws = await WsWire.open(portOf(server), "/ws");
  await ask(server, handshake("/full"));
  await ask(server, handshake("/evil", "Origin: http://b.example\r\n"));
  await ask(server, handshake("/denied"));
  await logged(file, 4);
  ws.reset();
  await server.close();
  assert.equal(
    read(file).map(({ status, target }) => [status, target]),
    [
      [101, "/ws"],
      [503, "/full"],
      [403, "/evil"],
      [401, "/denied"],
    ],
  );
});

log(
  "the address is the client's behind a trusted proxy, and the peer's behind another",
  async () => {
    for (const [trustProxy, expected] of [
      [["loopback"], "203.0.113.9"],
      [undefined, "127.0.0.1"],
    ] as const) {
      const file = newFile();
      const server = await start({ accessLog: { file }, ...(trustProxy ? { trustProxy } : {}) });
      await ask(server, get("/", "GET", "X-Forwarded-For: 203.0.113.9\r\n"));
      await logged(file, 1);
      await server.close();
      assert.ok(linesOf(file)[0]?.startsWith(`${expected} - - [`), linesOf(file)[0]);
    }
  },
);

log("no client forges a line", async () => {
  const file = newFile();
  const server = await start({ accessLog: { file } });
  const agent = 'x" 200 1 "-" "-"\tfake \x80\xff\\';
  await ask(
    server,
    Buffer.from(get('/"a\\b', "GET", `User-Agent: ${agent}\r\n`), "latin1") as never,
  );
  await logged(file, 1);
  await server.close();
  const [line = "", more] = linesOf(file);
  assert.is(more, undefined);
  assert.match(
    line,
    /"GET \/\\x22a\\x5cb HTTP\/1\.1" 404 \d+ "-" "x\\x22 200 1 \\x22-\\x22 \\x22-\\x22\\x09fake \\x80\\xff\\x5c"$/,
  );
});

log("the file is appended to, and only its owner and group may read it", async () => {
  const file = newFile();
  for (let i = 1; i <= 2; i++) {
    const server = await start({ accessLog: { file } });
    await ask(server, get(`/${i}`));
    // The end writes the last lines.
    await server.close();
    assert.is(linesOf(file).length, i);
  }
  assert.is(statSync(file).mode & 0o007, 0);
});

log("reopenLog leaves a file that was renamed", async () => {
  const file = newFile();
  const server = await start({ accessLog: { file } });
  await ask(server, get("/1"));
  await logged(file, 1);
  renameSync(file, `${file}.1`);
  await ask(server, get("/2"));
  await logged(`${file}.1`, 2);
  await server.reopenLog();
  await ask(server, get("/3"));
  await logged(file, 1);
  assert.is(linesOf(`${file}.1`).length, 2);
  await server.close();
});

log("a file that cannot be opened is one error that names the option", async () => {
  assert.match(
    await failureOf(start({ accessLog: { file: path.join(folder, "none", "a.log") } })),
    /^accessLog: ENOENT: no such file or directory, open/,
  );
  assert.match(await failureOf(start({ accessLog: { file: folder } })), /^accessLog: EISDIR/);
  const server = await start({});
  assert.is(await failureOf(server.reopenLog()), "accessLog: the server has no access log");
  await server.close();
  assert.throws(
    () => createTestServer({ accessLog: { file: "-" } }),
    "accessLog: a server in memory has no files",
  );
});

log("a file that cannot be opened again leaves the old one", async () => {
  const file = path.join(mkdtempSync(path.join(folder, "sub-")), "a.log");
  const server = await start({ accessLog: { file } });
  const { dir } = path.parse(file);
  renameSync(dir, `${dir}-moved`);
  const thrown = await server.reopenLog().then(
    () => undefined,
    (error: Error) => error,
  );
  assert.match(String(thrown?.message), /^accessLog: ENOENT/);
  assert.is((thrown as NodeJS.ErrnoException).code, "ENOENT");
  await ask(server, get("/"));
  await logged(path.join(`${dir}-moved`, "a.log"), 1);
  await server.close();
});

if (existsSync("/dev/full"))
  log("a full disk is reported once, the lines are counted, and requests are served", async () => {
    const errors: string[] = [];
    const server = await start({
      accessLog: { file: "/dev/full" },
      metrics: {},
      onError: (error, where) => errors.push(`${where}: ${error.message}`),
    });
    for (let i = 0; i < 3; i++) {
      await ask(server, get("/"));
      const before = i + 1;
      await until("a dropped line", async () => (await server.stats()).linesDropped >= before);
    }
    assert.is(errors.length, 1);
    assert.match(errors[0] as string, /^accessLog: ENOSPC: no space left on device, write/);
    assert.match(await server.metrics(), /^ringcast_access_log_lines_dropped_total 3$/m);
    await server.close();
  });

log("the command line writes it to its output, and SIGHUP opens its file again", async () => {
  const command = new Command([
    "test/e2e/handlers/access-log.mjs",
    "--port",
    "0",
    "--access-log",
    "-",
  ]);
  const port = await command.port();
  const wire = await Wire.open(port);
  wire.write(get("/text"));
  await command.prints(/"GET \/text HTTP\/1\.1" 200 6 "-" "-"\n/);
  wire.reset();
  command.signal("SIGTERM");
  assert.is((await command.ended()).code, 0);

  const file = newFile();
  const second = new Command([
    "test/e2e/handlers/access-log.mjs",
    "--port",
    "0",
    "--access-log",
    file,
  ]);
  const other = await Wire.open(await second.port());
  other.write(get("/text"));
  await logged(file, 1);
  renameSync(file, `${file}.1`);
  second.signal("SIGHUP");
  await until("a new file", () => existsSync(file));
  other.write(get("/none"));
  await logged(file, 1);
  other.reset();
  second.signal("SIGTERM");
  assert.is((await second.ended()).code, 0);
});

/** A server whose only thread of libuv serves a file, and writes lines to an output that may be full. */
const FULL = `
  import { serve } from "ringcast";
  const [folder] = process.argv.slice(1);
  const mounts = [{ path: "/", files: folder }];
  const server = await serve({ port: 0, mounts, fileCache: 0, accessLog: { file: "-" } });
  process.on("message", async () => process.send(await server.stats()));
  process.send(server.address.port);
`;

log("an output that is a socket that is not read stops neither requests nor files", async () => {
  writeFileSync(path.join(folder, "a.txt"), "a file");
  const args = ["--input-type=module", "--eval", FULL, folder];
  // Node's pipes to children are sockets.
  const child = spawn(process.execPath, args, {
    env: { ...process.env, UV_THREADPOOL_SIZE: "1" },
    stdio: ["ignore", "pipe", "inherit", "ipc"],
  });
  const next = <T>(): Promise<T> =>
    within(new Promise<T>((resolve) => child.once("message", resolve as never)), "a message");
  try {
    const port = await next<number>();
    const wire = await Wire.open(port);
    const line = "x".repeat(1000);
    // Lines for more than the socket and the log's own buffer hold.
    await until("lines that are dropped", async () => {
      for (let i = 0; i < 100; i++) {
        wire.write(get(`/none?${line}`));
        await takeAnswer(wire);
      }
      const stats = next<{ linesDropped: number }>();
      child.send("stats");
      return (await stats).linesDropped > 0;
    });
    const answer = await takeAnswer(wire.write(get("/a.txt")));
    assert.equal([answer.status, answer.body.toString()], [200, "a file"]);
    wire.reset();
  } finally {
    child.kill("SIGKILL");
  }
});

log.run();
