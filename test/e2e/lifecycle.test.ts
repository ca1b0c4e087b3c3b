// How servers begin and end: in order, under load, by mistake; and that nothing of them is left.

import { spawn } from "node:child_process";
import { getEventListeners } from "node:events";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type OptionRow, OPTIONS, type Options, type Server, plan, serve } from "ringcast";
import { createTestServer } from "ringcast/testing";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  Wire,
  WsWire,
  clientFrame,
  closeOf,
  fileUrl,
  handshake,
  takeAnswer,
  until,
  within,
} from "./peer";
import { portOf } from "../lib/port";

const lifecycle = suite("lifecycle");
const handler = fileUrl("handlers/lifecycle.mjs");

/** Starts a server that the test ends itself. */
function start(options: Options = {}): Promise<Server> {
  return within(serve({ port: 0, handler, ...options }), "serve");
}

/** Returns the number of worker threads of this process. */
function workers(): number {
  return process.getActiveResourcesInfo().filter((name) => name === "MessagePort").length;
}

interface Outcome {
  readonly said: { name?: string; message?: string }[];
  readonly errors: string;
  readonly code: number | null;
}

/** Runs a case of the application until it exits by itself. */
async function run(name: string): Promise<Outcome> {
  const file = fileURLToPath(fileUrl("children/application.mjs"));
  const child = spawn(process.execPath, [file, name], { stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  let errors = "";
  child.stdout.on("data", (bytes) => {
    out += bytes;
  });
  child.stderr.on("data", (bytes) => {
    errors += bytes;
  });
  try {
    const exited = new Promise<number | null>((resolve) => child.on("close", resolve));
    const code = await within(exited, `${name} exits by itself`);
    const said = out.split("\n").filter(Boolean);
    return { said: said.map((line) => JSON.parse(line)), errors, code };
  } finally {
    child.kill("SIGKILL");
  }
}

async function rejection(promise: Promise<unknown>, what: string): Promise<Error> {
  const settled = promise.then(
    () => new Error(`${what} was not rejected`),
    (error: unknown) => error as Error,
  );
  return within(settled, what);
}

async function refused(port: number): Promise<boolean> {
  return Wire.open(port).then(
    (wire) => {
      wire.destroy();
      return false;
    },
    () => true,
  );
}

lifecycle(
  "shutdown under load: requests are answered, WebSockets get 1001, then all ends",
  async () => {
    const server = await start();
    const port = portOf(server);
    assert.is(server.address.hostname, "127.0.0.1");
    const sockets = await Promise.all(Array.from({ length: 50 }, () => WsWire.open(port)));
    const requests = await Promise.all(Array.from({ length: 20 }, () => Wire.open(port)));
    const idle = await Wire.open(port);
    const { bytesIn } = await server.stats();
    for (const wire of requests) wire.write("GET /late?300 HTTP/1.1\r\nHost: a\r\n\r\n");
    await until("requests", async () => (await server.stats()).bytesIn >= bytesIn + 20 * 35);
    const total = 200;
    for (let i = 0; i < total; i++) assert.ok(server.broadcast(`message ${i}`));
    const ended = within(server.shutdown(), "shutdown");
    assert.is(server.broadcast("too late"), false);
    const answers = requests.map(async (wire) => {
      const answer = await takeAnswer(wire);
      assert.is(answer.body.toString(), "after 300");
      await wire.gone();
    });
    const goodbyes = sockets.map(async (ws) => {
      for (let i = 0; i < total; i++) assert.is(await ws.text(), `message ${i}`);
      assert.is(await ws.text(), "goodbye");
      assert.is(closeOf(await ws.next()).code, 1001);
      ws.socket.write(clientFrame(8, Buffer.from([3, 233])));
      await ws.gone();
    });
    await Promise.all([...answers, ...goodbyes]);
    await idle.gone();
    await ended;
    await within(server.finished, "finished");
    assert.ok(await refused(port), "nobody listens");
    assert.is(server.send(1, "x"), false);
    await rejection(server.stats(), "stats of a server that has ended");
    assert.is(await server.shutdown(), undefined);
  },
);

lifecycle("shutdown waits for `timeout`, then resets the remaining connections", async () => {
  const server = await start();
  const port = portOf(server);
  const ws = await WsWire.open(port);
  ws.socket.pause();
  const wire = await Wire.open(port);
  wire.write("GET /late?60000 HTTP/1.1\r\nHost: a\r\n\r\n");
  for (const timeout of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.throws(() => server.shutdown({ timeout }), /timeout/);
  }
  await within(server.shutdown({ timeout: 100 }), "shutdown");
  ws.socket.resume();
  await ws.gone();
  await wire.gone();
});

function codeOf(error: Error): unknown {
  return (error as { code?: unknown }).code;
}

/** A handler's module out of its text. */
const module = (text: string): URL => new URL(`data:text/javascript,${encodeURIComponent(text)}`);

lifecycle("a handler in the worker that waits to publish is notified of the end", async () => {
  const port = new BroadcastChannel("lifecycle-ready");
  const ended = new Promise<unknown>((resolve) => {
    port.onmessage = ({ data }: MessageEvent) => resolve(data);
  });
  const handler = module(`
    const port = new BroadcastChannel("lifecycle-ready");
    export default (server) => ({
      request: (_, res) => res.send(200),
      async connect() {
        try {
          for (;;) await server.ready();
        } catch ({ code }) {
          port.postMessage(code);
          port.close();
        }
      },
    });`);
  const server = await serve({ port: 0, handler });
  const wire = await Wire.open(portOf(server));
  await takeAnswer(wire.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  await server.shutdown();
  assert.is(await within(ended, "the end is reported"), "ERR_SERVER_ENDED");
  port.close();
  wire.destroy();
});

lifecycle(
  "a WebSocket that opens while the server shuts down is reported with both events",
  async () => {
    const calls: string[] = [];
    let ended: Promise<void> | undefined;
    const server = await serve({
      port: 0,
      hostname: "127.0.0.1",
      handler: {
        request(_, res) {
          res.upgrade();
          ended = server.shutdown({ timeout: 1000 });
        },
        open: () => void calls.push("open"),
        shutdown: () => void calls.push("shutdown"),
        close: () => void calls.push("close"),
      },
    });
    const wire = await WsWire.open(portOf(server), "/");
    wire.destroy();
    await within(ended as Promise<void>, "shutdown");
    assert.equal(calls, ["open", "shutdown", "close"]);
  },
);

lifecycle("a worker that exits during a shutdown rejects it, and finished", async () => {
  const handler = module(
    "export default { request: (_, res) => res.upgrade(), shutdown: () => process.exit(5) }",
  );
  const server = await serve({ port: 0, handler });
  const ws = await WsWire.open(portOf(server));
  const shutdown = rejection(server.shutdown(), "shutdown");
  assert.match((await rejection(server.finished, "finished")).message, /exited with code 5/);
  assert.match((await shutdown).message, /exited with code 5/);
  ws.destroy();
});

lifecycle("a call leaves nothing", async () => {
  const server = await start();
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const calls = async (n: number): Promise<void> => {
    for (let i = 0; i < n; i += 100) {
      await Promise.all(Array.from({ length: 25 }, () => server.stats()));
      await Promise.all(Array.from({ length: 25 }, () => server.count()));
      await Promise.all(Array.from({ length: 25 }, () => server.metrics()));
      await Promise.all(Array.from({ length: 25 }, () => server.subscriberCount("t")));
    }
    collect();
  };
  await calls(2000);
  const before = process.memoryUsage().heapUsed;
  await calls(10000);
  const bytes = (process.memoryUsage().heapUsed - before) / 10000;
  assert.ok(bytes < 200, `${bytes} bytes for each call`);
  await server.close();
});

lifecycle("reloads run one after the other, and the last one wins", async () => {
  const text = (status: number): string =>
    `export default { request: (_, res) => res.send(${status}) };`;
  // Still loading when the next reload is asked for.
  const slow = module(`await new Promise((done) => setTimeout(done, 200)); ${text(201)}`);
  for (const pool of [undefined, { threads: 1 }]) {
    const options = { port: 0, handler: module(text(200)), ...(pool ? { pool } : {}) };
    const server = await serve(options);
    const status = async (): Promise<number> => {
      const wire = await Wire.open(portOf(server));
      const answer = await takeAnswer(wire.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
      wire.destroy();
      return answer.status;
    };
    const reloads = [slow, module("throw new Error('no')"), module(text(202))].map((one) =>
      server.reload(one),
    );
    const settled = await within(Promise.allSettled(reloads), "reloads");
    assert.equal(
      settled.map((one) => one.status),
      ["fulfilled", "rejected", "fulfilled"],
    );
    assert.is(await status(), 202);
    await server.close();
  }
});

lifecycle("a server that has ended releases its signal", async () => {
  const { signal } = new AbortController();
  const count = (): number => getEventListeners(signal, "abort").length;
  const servers = await Promise.all([1, 2, 3].map(() => serve({ port: 0, signal })));
  assert.is(count(), 3);
  await Promise.all(servers.map((server) => server.close()));
  assert.is(count(), 0);
  await rejection(serve({ port: 0, signal, handler: module("throw 1") }), "serve");
  assert.is(count(), 0);
  const t = createTestServer({ signal });
  assert.is(count(), 1);
  await t.close();
  assert.is(count(), 0);
  assert.is(codeOf(await rejection(t.server.ready(), "ready")), "ERR_SERVER_ENDED");
});

lifecycle("close ends everything at once, however much is pending", async () => {
  const server = await start({ ring: 65536, slowGrace: 60000, writeTimeout: 60000 });
  const port = portOf(server);
  const ws = await WsWire.open(port);
  ws.socket.pause();
  // One who does not read: the ring waits for it, and the inbox is full.
  const bytes = new Uint8Array(60000);
  let count = 0;
  while (count < 5000) {
    if (server.broadcast(bytes)) count++;
    else if (await Promise.race([server.ready().then(() => false), late(300)])) break;
  }
  assert.ok(count < 5000, "the ring waits");
  // This promise is not awaited; its rejection is no unhandled one.
  void server.ready();
  const publishing = (async () => {
    for (;;) if (!server.broadcast(bytes)) await server.ready();
  })();
  const ended = rejection(publishing, "the loop that publishes");
  await within(server.close(), "close");
  await within(server.finished, "finished");
  assert.is(codeOf(await ended), "ERR_SERVER_ENDED");
  assert.is(codeOf(await rejection(server.ready(), "ready")), "ERR_SERVER_ENDED");
  assert.is(codeOf(await rejection(server.stats(), "stats")), "ERR_SERVER_ENDED");
  ws.destroy();
});

/** Resolves after some time, in which something must not have happened. */
function late(ms: number): Promise<true> {
  return new Promise((resolve) => setTimeout(() => resolve(true), ms));
}

lifecycle("a signal shuts down, also one that had been given before", async () => {
  const controller = new AbortController();
  const server = await start({ signal: controller.signal });
  const ws = await WsWire.open(portOf(server));
  controller.abort();
  assert.is(await ws.text(), "goodbye");
  assert.is(closeOf(await ws.next()).code, 1001);
  ws.destroy();
  await within(server.finished, "finished");
  const second = await start({ signal: AbortSignal.abort() });
  await within(second.finished, "finished");
});

lifecycle("a server is an AsyncDisposable", async () => {
  const server = await start();
  const port = portOf(server);
  await within(Promise.resolve(server[Symbol.asyncDispose]()), "asyncDispose");
  assert.ok(await refused(port));
});

lifecycle("many servers, one after the other and at once, leave nothing", async () => {
  const before = workers();
  for (let i = 0; i < 3; i++) {
    const servers = await Promise.all([start(), start(), start()]);
    const ports = new Set(servers.map((server) => server.address.port));
    assert.is(ports.size, 3);
    await Promise.all(servers.map((server) => server.close()));
  }
  await until("no worker is left", () => workers() <= before);
});

lifecycle("a port in use is a clear error, and nothing is left", async () => {
  const { said, code } = await run("inUse");
  assert.is(said.length, 1);
  assert.match(said[0]?.message ?? "", /EADDRINUSE/);
  assert.is(code, 0);
});

lifecycle(
  "a handler module that cannot be used is an error that names it, and nothing is left",
  async () => {
    const { said, code } = await run("badHandlers");
    assert.is(said.length, 4);
    assert.match(said[0]?.message ?? "", /missing\.mjs/);
    assert.match(said[1]?.message ?? "", /thrown at import/);
    assert.match(said[2]?.message ?? "", /empty\.mjs has no default export/);
    assert.match(said[3]?.message ?? "", /thrown by the function/);
    assert.is(code, 0);
  },
);

lifecycle("an application that closes its server exits by itself", async () => {
  const { said, code } = await run("closed");
  assert.equal(said, ["finished"]);
  assert.is(code, 0);
});

lifecycle("an application that throws or exits takes its server along", async () => {
  const thrown = await run("throws");
  assert.is(thrown.code, 1);
  assert.match(thrown.errors, /thrown by the application/);
  assert.is((await run("exits")).code, 7);
});

lifecycle("an application is notified that its worker died, and exits by itself", async () => {
  const { said, code } = await run("dies");
  assert.match(said[0]?.message ?? "", /exited with code 3/);
  assert.is(code, 0);
});

lifecycle("a worker that dies rejects `finished` and every pending call", async () => {
  for (const [path, message] of [
    ["/exit?3", /exited with code 3/],
    ["/exit?0", /exited with code 0/],
  ] as const) {
    const server = await start();
    const wire = await Wire.open(portOf(server));
    const finished = rejection(server.finished, "finished");
    wire.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
    // Asked until it dies: one of them is under way then.
    const failed = (async (): Promise<Error> => {
      for (;;) {
        const error = await within(
          server.stats().then(
            () => undefined,
            (thrown: unknown) => thrown as Error,
          ),
          "stats of a dying worker",
        );
        if (error) return error;
      }
    })();
    assert.match((await finished).message, message);
    assert.match((await failed).message, message);
    assert.is(server.broadcast("x"), false);
    assert.is(server.send(1, "x"), false);
    await rejection(server.ready(), "ready");
    await rejection(server.stats(), "stats");
    await wire.gone();
    // Ending what has ended is no reason to wait.
    await within(
      server.close().catch(() => undefined),
      "close",
    );
  }
});

lifecycle("a worker that hangs does not keep close() from settling", async () => {
  const server = await start();
  const wire = await Wire.open(portOf(server));
  wire.write("GET /spin HTTP/1.1\r\nHost: a\r\n\r\n");
  await late(100);
  const settled = within(server.close(), "close", 15000);
  try {
    await settled;
  } finally {
    wire.destroy();
  }
});

/** Returns values of the right type outside of the range. */
function outside(row: OptionRow): unknown[] {
  if (row.unit === "flag") return [];
  if (row.words) return ["nonsense"];
  const { min = 0, max = 0 } = row;
  return [min - 1, max + 1, min + 0.5, Number.NaN, ...(row.power ? [min + 1] : [])];
}

lifecycle(
  "a wrong option is refused by name, value and range, before anything starts",
  async () => {
    const before = workers();
    for (const row of OPTIONS) {
      const wrong = row.words || row.unit === "flag" ? 5 : "5";
      for (const value of [wrong, null, row.parts ? [] : {}]) {
        const options = { [row.name]: value } as Options;
        const error = await rejection(serve(options), row.name);
        assert.instance(error, TypeError, row.name);
        assert.ok(error.message.startsWith(`${row.name}: `), error.message);
      }
      for (const value of outside(row)) {
        const options = { [row.name]: value } as Options;
        const error = await rejection(serve(options), row.name);
        const kind = row.words ? TypeError : RangeError;
        assert.instance(error, kind, `${row.name}: ${value} is ${error}`);
        assert.ok(error.message.startsWith(`${row.name}: `), error.message);
        assert.ok(error.message.includes(String(value)), error.message);
        const range = [row.min, row.max].every((limit) => error.message.includes(`${limit}`));
        const power = row.power && error.message.includes("power of two");
        assert.ok(row.words || range || power, error.message);
        assert.throws(
          () => plan(options),
          (thrown: Error) => thrown.message === error.message,
        );
      }
    }
    for (const [options, pattern] of [
      [{ prot: 80 }, /^prot: there is no such option/],
      [{ handler: "handler.js" }, /^handler: "handler.js" is not a URL/],
      [{ handler: 5 }, /^handler: /],
      [{ hostname: "" }, /^hostname: "" is not a host/],
      [{ hostname: 5 }, /^hostname: 5/],
      [{ onEvict: 5 }, /^onEvict: /],
      [{ onError: "x" }, /^onError: /],
      [{ signal: {} }, /^signal: /],
      [{ maxFrames: 64, maxQueuedFrames: 65 }, /^maxQueuedFrames: 65 .* 64/],
      [{ maxHeadLength: 256, maxTargetLength: 8192 }, /^maxTargetLength: 8192 /],
      [{ receiveBuffers: 131072 }, /^maxPayloadLength: /],
      [{ ring: 2 ** 30, maxMemory: 2 ** 29 }, /^maxMemory: .* \+ .* more than 536870912/],
    ] as const) {
      const error = await rejection(serve(options as Options), JSON.stringify(options));
      assert.match(error.message, pattern);
      assert.ok(error instanceof TypeError || error instanceof RangeError);
    }
    assert.is(workers(), before, "no worker was started");
  },
);

lifecycle("the plan equals the server's memory", async () => {
  const options: Options = {
    ...{ ring: 2 ** 20, maxConnections: 10, maxWebSockets: 20, inbox: 65536 },
    fileBuffers: 131072,
  };
  const { regions, total, descriptors } = plan(options);
  assert.is(
    regions.reduce((sum, row) => sum + row.bytes, 0),
    total,
  );
  assert.is(descriptors, 30);
  const ring = regions.find((row) => row.options.includes("ring"))?.bytes ?? 0;
  assert.ok(ring >= 2 ** 20 && ring < 2 ** 20 + 4096, `${ring}`);
  const bytesOf = (region: string): unknown => regions.find((row) => row.region === region)?.bytes;
  assert.equal(["FileBuffers", "Inbox"].map(bytesOf), [131072, 65536]);
  const server = await start(options);
  try {
    assert.equal(server.plan, { regions, total, descriptors });
    const { memory } = await server.stats();
    // The module's own page, and the last page's rest.
    const engine = total - 131072 - 65536;
    assert.ok(memory >= engine && memory <= engine + 3 * 65536, `${memory} for ${engine}`);
  } finally {
    await server.close();
  }
});

lifecycle("the upgrade of a server that shuts down is refused", async () => {
  const server = await start();
  const wire = await Wire.open(portOf(server));
  const busy = await Wire.open(portOf(server));
  busy.write("GET /late?200 HTTP/1.1\r\nHost: a\r\n\r\n");
  await until("request", async () => (await server.stats()).bytesIn > 0);
  const ended = within(server.shutdown(), "shutdown");
  wire.write(handshake("/"));
  await wire.gone();
  assert.is((await takeAnswer(busy)).status, 200);
  busy.destroy();
  await ended;
});

lifecycle.run();
