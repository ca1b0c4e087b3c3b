// Faults of a server, its worker or its application: each ends in a clear error or the server continues, and no
// process, no port and no half-started worker is left.

import { createServer, connect } from "node:net";
import type { AddressInfo } from "node:net";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { type Options, type Server, serve } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { isRunning } from "../lib/process";
import { Child } from "./child";
import {
  TEXT,
  Wire,
  WsWire,
  fileUrl,
  reported,
  serving,
  sleep,
  takeAnswer,
  until,
  within,
} from "./peer";
import { portOf } from "../lib/port";

const faults = suite("faults");
const handler = fileUrl("handlers/faults.mjs");

const GET = (target: string): string => `GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`;

/** Returns the number of worker threads of this process. */
function workers(): number {
  return process.getActiveResourcesInfo().filter((name) => name === "MessagePort").length;
}

/** Returns the error that a promise is rejected with. */
async function rejection(promise: Promise<unknown>, what: string): Promise<Error> {
  const settled = promise.then(
    () => new Error(`${what} was not rejected`),
    (error: unknown) => error as Error,
  );
  return within(settled, what);
}

/** Starts a server that must not start; nothing of it may be left. */
async function refusal(options: Options): Promise<Error & { code?: string }> {
  const before = workers();
  const error = await rejection(serve({ port: 0, ...options }), JSON.stringify(options));
  assert.is(workers(), before, "no half-started worker is left");
  return error;
}

/** Returns true when a port is free: it can be listened on. */
function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

async function status(port: number, target = "/"): Promise<number> {
  const wire = await Wire.open(port);
  try {
    return (await takeAnswer(wire.write(GET(target)))).status;
  } finally {
    wire.destroy();
  }
}

// ---- listening -------------------------------------------------------------------------------------------

faults(
  "a port that is taken, and an address that is not there, are errors with a code",
  async () => {
    const other = createServer();
    await new Promise<void>((resolve) => void other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as AddressInfo;
    const taken = await refusal({ port });
    assert.is(taken.code, "EADDRINUSE");
    assert.match(taken.message, new RegExp(`EADDRINUSE.*127\\.0\\.0\\.1:${port}`));
    other.close();
    // An address for documentation (RFC 5737): no machine has it.
    const gone = await refusal({ hostname: "192.0.2.1" });
    assert.is(gone.code, "EADDRNOTAVAIL");
    assert.match(gone.message, /EADDRNOTAVAIL.*192\.0\.2\.1/);
    const nowhere = await refusal({ hostname: "nowhere.invalid" });
    assert.match(nowhere.message, /nowhere\.invalid/);
    assert.ok(/^(ENOTFOUND|EAI_AGAIN)$/.test(nowhere.code ?? ""), nowhere.code);
  },
);

/** Returns the highest port that takes a privilege; 0 when this machine has none. */
async function privilegedPort(): Promise<number> {
  const { readFile } = await import("node:fs/promises");
  const start = await readFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", "utf8").catch(
    () => "1024",
  );
  return Number(start) - 1;
}

faults("a forbidden address to listen on is an error with a code", async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), "ringcast-faults-"));
  chmodSync(folder, 0o555);
  const port = await privilegedPort();
  const cases = [{ path: path.join(folder, "socket") }, ...(port > 0 ? [{ port }] : [])];
  try {
    for (const options of cases) {
      const args = ["refused", JSON.stringify(options)];
      const child = new Child("faults", { args, unprivileged: true });
      try {
        const { code, message } = await child.next<{ code: string; message: string }>(20000);
        assert.is(code, "EACCES", message);
        assert.match(message, options.path ? /EACCES.*socket/ : /EACCES.*127\.0\.0\.1/);
        assert.is(await within(child.ended, "it exits by itself"), 0);
      } finally {
        child.end();
      }
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

// ---- the handler -----------------------------------------------------------------------------------------

const module = (text: string): URL => new URL(`data:text/javascript,${encodeURIComponent(text)}`);

faults("a module that gives no handler is an error that names it and the fault", async () => {
  const cases: readonly [URL, RegExp][] = [
    [fileUrl("handlers/missing.mjs"), /^handler: file:.*missing\.mjs: .*annot find module/],
    [fileUrl("handlers/throws.mjs"), /^handler: file:.*throws\.mjs: thrown at import$/],
    [module("export default {;"), /^handler: data:.*: SyntaxError: /],
    [module("throw undefined"), /^handler: data:.*: undefined$/],
    [module("await import('node:nothing')"), /^handler: data:.*node:nothing/],
    [module(""), /no default export that is a handler/],
    [module("export default 5"), /: a number is not an object of handler functions/],
    [module("export default []"), /: an array is not an object/],
    [module("export default () => null"), /: null is not an object/],
    [module("export default { request: 5 }"), /\.request: a number is not a function/],
    [module("export default { open: {} }"), /\.open: a object is not a function/],
    [module("export default { protocol: 'a' }"), /\.protocol: a string is not a function/],
    [module("export default { streams: 1 }"), /\.streams: a number is neither a boolean nor/],
    [module("export default { mesage() {} }"), /\.mesage: .*did you mean message\?$/],
    [module("export default { onMessage() {} }"), /\.onMessage: .* use message$/],
    [module("export default { fetch() {} }"), /\.fetch: .* see fetchHandler of "ringcast\/fetch"$/],
    [module("export default async () => { throw new Error('no') }"), /^handler: data:.*: no$/],
  ];
  for (const [url, pattern] of cases) {
    for (const pool of [undefined, { threads: 1 }]) {
      const { message } = await refusal({ handler: url, ...(pool ? { pool } : {}) });
      assert.match(message, pattern);
    }
  }
});

faults("a handler that never comes is not waited for longer than `loadTimeout`", async () => {
  const endless = module("await new Promise(() => {})");
  const never: readonly NonNullable<Options["handler"]>[] = [
    endless,
    module("export default () => new Promise(() => {})"),
    module("for (;;);"),
    () => new Promise<never>(() => undefined),
  ];
  for (const one of never) {
    const { message } = await refusal({ handler: one, loadTimeout: 300 });
    assert.match(message, /^loadTimeout: the handler had not loaded within 300 ms/);
  }
  const stop = new AbortController();
  // The module never settles, so any moment will do.
  setTimeout(() => stop.abort(new Error("enough")), 300);
  const given = await refusal({ handler: endless, loadTimeout: 0, signal: stop.signal });
  assert.is(given.message, "enough");
});

for (const pool of [undefined, { threads: 1 }]) {
  faults(
    `a reload that never comes leaves the handler there is, ${pool ? "in a pool" : "inline"}`,
    () =>
      serving(
        "",
        { handler, loadTimeout: 1000, ...(pool ? { pool } : {}) },
        async (server, port) => {
          const error = await rejection(
            server.reload(module("await new Promise(() => {})")),
            "reload",
          );
          assert.match(error.message, /^loadTimeout: /);
          const misspelt = module("export default { requests() {} }");
          const refused = await rejection(server.reload(misspelt), "reload");
          assert.match(refused.message, /\.requests: .*did you mean request\?$/);
          assert.is(await status(port), 200);
          await server.reload(module("export default { request: (_, res) => res.send(202) }"));
          assert.is(await status(port), 202);
        },
      ),
  );
}

faults("a handler that throws, rejects, or never settles affects only its own request", () =>
  serving("", { handler }, async (server, port) => {
    const never = await Wire.open(port);
    never.write(GET("/never"));
    assert.is(await status(port, "/throw"), 500);
    assert.is(await status(port, "/own-trap"), 500, "a trap of a module of the handler's own");
    assert.is(await status(port), 200);
    assert.equal(
      reported.map(({ where, message }) => `${where}: ${message}`),
      ["request: thrown by the handler", "request: unreachable"],
    );
    await within(server.shutdown({ timeout: 200 }), "shutdown");
    await never.gone();
  }),
);

// ---- the worker ------------------------------------------------------------------------------------------

/** Ways to kill a worker: a request's target, and the error of `finished`. */
const DEATHS: readonly [target: string, message: RegExp, options?: Options][] = [
  ["/exit?3", /exited with code 3/],
  ["/pump", /within the pump/],
  ["/trap", /^the engine trapped: .*memory access out of bounds/],
  ["/damage", /^the engine trapped: /],
  ["/deaf", /^the engine trapped: /],
  ["/stats", /^the engine trapped: /],
  ["/allocate", /memory/, { heap: 48 }],
];

/** Kills a server's worker by a request. */
async function kill(server: Server, port: number, target: string): Promise<void> {
  const wire = await Wire.open(port);
  wire.write(GET(target));
  await Promise.race([wire.gone(), takeAnswer(wire)]).catch(() => undefined);
  // The next client meets the damage.
  const next = connect(port, "127.0.0.1");
  next.on("error", () => undefined);
  next.end(GET("/"));
  await server.stats().catch(() => undefined);
}

for (const [target, message, options] of DEATHS) {
  faults(
    `a worker that dies by ${target}: every client and promise is notified, no resource is left`,
    async () => {
      const reports: string[] = [];
      const server = await serve({
        port: 0,
        handler,
        ...options,
        onError: (error, where) => reports.push(`${where}: ${error.message}`),
      });
      const port = portOf(server);
      const ws = await WsWire.open(port);
      const finished = rejection(server.finished, "finished");
      await kill(server, port, target);
      assert.match((await finished).message, message);
      await ws.gone();
      assert.match((await rejection(server.stats(), "stats")).message, message);
      assert.is(server.broadcast("x"), false);
      await until("the port is free", () => isFree(port));
      const worker = reports.filter((line) => line.startsWith("worker: "));
      assert.is(worker.length, 1, reports.join("\n"));
      assert.match((worker[0] as string).slice(8), message);
      await server.close().catch(() => undefined);
    },
  );
}

faults("a heap that is too small to start in is an error", async () => {
  const { message, code } = await refusal({ handler, heap: 1 });
  assert.match(message, /memory limit/);
  assert.is(code, "ERR_WORKER_OUT_OF_MEMORY");
});

// ---- the application -------------------------------------------------------------------------------------

interface End {
  readonly name: string;
  readonly case: string;
  readonly act: (child: Child, port: number) => unknown;
  /** Its exit code, or the signal. */
  readonly ended: number | string;
  /** Its messages before. */
  readonly says?: RegExp;
  /** Its output of errors. */
  readonly prints?: RegExp;
}

const order = (what: string) => (child: Child) => child.tell({ order: what });
const signal = (name: NodeJS.Signals) => (child: Child) => child.signal(name);
const ask = (target: string) => async (_: Child, port: number) => {
  const wire = await Wire.open(port);
  wire.write(GET(target));
  await wire.gone().catch(() => undefined);
};

const ENDS: readonly End[] = [
  { name: "throws", case: "serving", act: order("throw"), ended: 1 },
  { name: "exits", case: "serving", act: order("exit"), ended: 7 },
  { name: "is killed", case: "serving", act: signal("SIGKILL"), ended: "SIGKILL" },
  { name: "gets Ctrl-C", case: "serving", act: signal("SIGINT"), ended: "SIGINT" },
  { name: "gets SIGTERM", case: "serving", act: signal("SIGTERM"), ended: "SIGTERM" },
  { name: "is killed, with a pool", case: "pool", act: signal("SIGKILL"), ended: "SIGKILL" },
  { name: "exits, with a pool", case: "pool", act: order("exit"), ended: 7 },
  {
    ...{ name: "heeds Ctrl-C", case: "signals", act: signal("SIGINT"), ended: 0 },
    says: /"finished":true/,
  },
  {
    ...{ name: "heeds SIGTERM", case: "signals", act: signal("SIGTERM"), ended: 0 },
    says: /"finished":true/,
  },
  {
    ...{ name: "does not ask of its worker's end", case: "unheeded", act: ask("/exit?0") },
    ended: 1,
    prints: /Error: the server's worker exited with code 0/,
  },
  {
    ...{ name: "does not ask of a trap", case: "unheeded", act: ask("/trap"), ended: 1 },
    prints: /Error: the engine trapped: /,
  },
  {
    ...{ name: "has an engine that traps", case: "serving", act: ask("/trap"), ended: 0 },
    says: /"dead":.*the engine trapped/,
  },
];

for (const end of ENDS) {
  faults(
    `an application that ${end.name} leaves no process, and its port is free at once`,
    async () => {
      const child = new Child("faults", { args: [end.case] });
      try {
        const { port } = await child.next<{ port: number }>(20000);
        const ws = await WsWire.open(port);
        ws.send(TEXT, "hello");
        assert.is(await ws.text(), "hello");
        await end.act(child, port);
        const said: unknown[] = [];
        if (end.says) {
          // A goodbye is answered, so that it does not have to be waited for.
          ws.listen(({ opcode }) => {
            if (opcode === 8) ws.send(8, Buffer.from([3, 233]));
          });
        }
        assert.is(await within(child.ended, "its end"), end.ended, child.errors);
        if (end.prints) assert.match(child.errors, end.prints);
        while (child.hasMessage) said.push(await child.next(1000));
        if (end.says) assert.match(JSON.stringify(said), end.says);
        assert.not(isRunning(child.pid));
        assert.ok(await isFree(port), "the port is free at once");
        await ws.gone().catch(() => undefined);
      } finally {
        child.end();
      }
    },
  );
}

faults(
  "an application that is blocked for seconds does not slow a handler in the worker",
  async () => {
    const child = new Child("faults", { args: ["serving"] });
    try {
      const { port } = await child.next<{ port: number }>(20000);
      const ws = await WsWire.open(port);
      const ms = 5000;
      child.tell({ order: "block", ms });
      assert.is(await child.next(5000), "blocking");
      const end = Date.now() + ms - 500;
      let slowest = 0;
      let served = 0;
      while (Date.now() < end) {
        const before = performance.now();
        ws.send(TEXT, `${served}`);
        assert.is(await ws.text(), `${served}`);
        assert.is(await status(port), 200);
        slowest = Math.max(slowest, performance.now() - before);
        served++;
        // The pace of a client.
        await sleep(20);
      }
      assert.not(child.hasMessage, "it was blocked all the time");
      assert.ok(served > 50, `${served} served`);
      assert.ok(slowest < 1000, `${slowest} ms`);
      console.log(
        `blocked for ${ms} ms: ${served} served, the slowest in ${slowest.toFixed(1)} ms`,
      );
      assert.is(await child.next(20000), "blocked");
      ws.destroy();
    } finally {
      child.end();
    }
  },
);

/**
 * Opens clients that send something while the process is stopped, and lets the deadlines of all of them pass meanwhile.
 */
async function outlast(port: number, standStill: () => Promise<unknown>): Promise<void> {
  const asking = await Promise.all(Array.from({ length: 20 }, () => Wire.open(port)));
  const sending = await Promise.all(Array.from({ length: 5 }, () => Wire.open(port)));
  const talking = await Promise.all(Array.from({ length: 20 }, () => WsWire.open(port)));
  for (const wire of asking) assert.is((await takeAnswer(wire.write(GET("/")))).status, 200);
  for (const wire of sending) wire.write("GET / HTTP/1.1\r\nHo");
  // The halves are to be read before the standstill. From outside that cannot be seen; else the case is only easier.
  await sleep(50);
  const still = standStill();
  // The same holds for its beginning.
  await sleep(100);
  for (const wire of asking) wire.write(GET("/"));
  for (const wire of sending) wire.write("st: a\r\n\r\n");
  for (const ws of talking) ws.send(TEXT, "still here");
  await still;
  for (const wire of [...asking, ...sending]) assert.is((await takeAnswer(wire)).status, 200);
  for (const ws of talking) assert.is(await ws.text(), "still here");
  for (const one of [...asking, ...sending, ...talking]) one.destroy();
}

const SHORT = { keepAliveTimeout: 500, headersTimeout: 700, idleTimeout: 1, sendPings: false };

faults("a handler that blocks its worker ends no client that has sent something meanwhile", () =>
  serving("", { handler, ...SHORT }, async (_, port) => {
    for (let i = 0; i < 3; i++) {
      await outlast(port, async () => {
        assert.is(await status(port, "/spin?1500"), 200);
      });
    }
    // Time passes for the others as it did before.
    const idle = await Wire.open(port);
    assert.is((await takeAnswer(idle.write(GET("/")))).status, 200);
    await idle.gone();
  }),
);

faults(
  "a process that is stopped and continued ends no client that has sent something meanwhile",
  async () => {
    const child = new Child("faults", { args: ["serving", JSON.stringify(SHORT)] });
    try {
      const { port } = await child.next<{ port: number }>(20000);
      for (let i = 0; i < 3; i++) {
        await outlast(port, async () => {
          process.kill(child.pid, "SIGSTOP");
          // All deadlines pass.
          await sleep(1500);
          process.kill(child.pid, "SIGCONT");
        });
      }
    } finally {
      child.end();
    }
  },
);

// ---- what runs out ---------------------------------------------------------------------------------------

faults(
  "an inbox that is full for seconds: `false`, then `ready()`; nothing is lost or half sent",
  () =>
    serving("", { handler, inbox: 65536, ring: 1 << 20 }, async (server, port) => {
      const ws = await WsWire.open(port);
      const busy = await Wire.open(port);
      const ms = 2000;
      busy.write(GET(`/spin?${ms}`));
      const isDeaf = (): Promise<boolean> =>
        Promise.race([server.stats().then(() => false), sleep(100).then(() => true)]);
      await until("the worker spins", isDeaf);
      // Its own length tells whether a message is whole.
      const message = (i: number): string => `${i}:${"x".repeat((i * 37) % 900)}`;
      let sent = 0;
      while (server.broadcast(message(sent))) sent++;
      assert.ok(sent > 20, `${sent} fit`);
      const before = performance.now();
      for (let i = 0; i < 1000; i++) assert.is(server.broadcast(message(sent)), false);
      await within(server.ready(), "ready");
      const waited = performance.now() - before;
      assert.ok(waited > ms / 4, `${waited} ms`);
      for (const last = sent + 50; sent < last; sent++) {
        while (!server.broadcast(message(sent))) await server.ready();
      }
      for (let i = 0; i < sent; i++) assert.is(await ws.text(), message(i));
      console.log(`inbox full: ${sent - 50} fit, ready() after ${waited.toFixed(0)} ms`);
      assert.is((await takeAnswer(busy)).status, 200);
      ws.destroy();
      busy.destroy();
    }),
);

faults(
  "without descriptors new connections are closed and reported in one line, others continue",
  async () => {
    const options = { maxConnections: 20, maxWebSockets: 20 };
    const child = new Child("faults", {
      args: ["serving", JSON.stringify(options)],
      descriptors: 256,
    });
    const open: Wire[] = [];
    try {
      const { port } = await child.next<{ port: number }>(20000);
      const ws = await WsWire.open(port);
      const http = await Wire.open(port);
      const works = async (): Promise<void> => {
        ws.send(TEXT, "still here");
        assert.is(await ws.text(), "still here");
        assert.is((await takeAnswer(http.write(GET("/")))).status, 200);
      };
      child.tell({ order: "take", left: 5 });
      assert.ok((await child.next<number>(5000)) > 100);
      // Clients take the last ones, but for what the process itself may need meanwhile.
      for (;;) {
        const wire = await Wire.open(port);
        if (!(await takeAnswer(wire.write(GET("/"))).catch(() => undefined))) break;
        open.push(wire);
      }
      assert.ok(open.length >= 1 && open.length <= 5, `${open.length} accepted`);
      const warning = await child.next<{ where: string; error: Error }>(5000);
      assert.is(warning.where, "accept");
      assert.match(
        warning.error.message,
        /^at most \d+ of this process's 256 file descriptors are left/,
      );
      let closed = 0;
      for (let i = 0; i < 50; i++) {
        const wire = await Wire.open(port);
        await wire.gone();
        closed++;
      }
      await works();
      child.tell({ order: "cpu", ms: 500 });
      const cpu = await child.next<number>(5000);
      assert.ok(cpu < 250, `${cpu} ms of the processor in 500: it spins`);
      // One who leaves makes room for one.
      open.pop()?.destroy();
      await until("one is accepted again", async () => {
        const wire = await Wire.open(port);
        const answer = await takeAnswer(wire.write(GET("/"))).catch(() => undefined);
        if (answer) open.push(wire);
        return answer?.status === 200;
      });
      child.tell({ order: "give" });
      assert.is(await child.next(5000), "given");
      assert.is(await status(port), 200);
      await works();
      assert.not(child.hasMessage, "nothing else is reported");
      console.log(
        `no descriptors: ${closed} of 50 closed, ${cpu.toFixed(1)} ms of the processor in 500`,
      );
      ws.destroy();
      http.destroy();
    } finally {
      for (const wire of open) wire.destroy();
      child.end();
    }
  },
);

faults("notices a reset that follows a request at once, while the handler is pending", async () => {
  const server = await serve({ port: 0, handler: { request: () => undefined } });
  try {
    const clients = Array.from({ length: 50 }, async (_, i) => {
      const wire = await Wire.open(portOf(server));
      wire.write(GET(`/${i}`));
      // At different times after the request.
      await sleep(i % 5);
      wire.reset();
    });
    await Promise.all(clients);
    await until("all have gone", async () => (await server.stats()).connections === 0);
  } finally {
    await server.close();
  }
});

faults.run();
