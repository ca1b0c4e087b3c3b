// Properties of handlers in a pool of threads alone: room, threads that end, and what they leave.

import { readdirSync } from "node:fs";
import { POOL_OPTIONS, type Options, type PoolStats, type Server, serve } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  TEXT,
  Wire,
  WsWire,
  fileUrl,
  handshake,
  reported,
  serving,
  takeAnswer,
  type Answer,
  until,
  within,
} from "./peer";

const pool = suite("pool");

function get(path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;
}

/** Sends one request on a connection of its own. */
async function ask(port: number, path: string): Promise<Answer> {
  const wire = await Wire.open(port);
  try {
    return await takeAnswer(wire.write(get(path)));
  } finally {
    wire.destroy();
  }
}

async function statsOf(server: Server): Promise<PoolStats> {
  const { pool: stats } = await server.stats();
  if (!stats) throw new Error("there is no pool");
  return stats;
}

/** Waits until a server's answer says so; a thread that ended takes a while to be replaced. */
function isReported(text: string): boolean {
  return reported.some(({ where, message }) => where === "request" && message.includes(text));
}

pool("64 slow requests for 2 threads and 4 places: 6 are answered, 58 get Retry-After", () =>
  serving("pool", { pool: { threads: 2, backlog: 4 } }, async (server, port) => {
    const wires = await Promise.all(Array.from({ length: 64 }, () => Wire.open(port)));
    // Both threads are up.
    await Promise.all([ask(port, "/block?100"), ask(port, "/block?100")]);
    const from = Date.now();
    const began = from - 100;
    const answers = wires.map(async (wire) => {
      const answer = await takeAnswer(wire.write(get("/block?1000")));
      return { ...answer, after: Date.now() - from };
    });
    await until("shed", async () => (await server.stats()).shed === 58);
    const { running, queueSize, threads } = await statsOf(server);
    assert.equal([running, queueSize, threads], [2, 4, 2]);
    const all = await Promise.all(answers);
    const fine = all.filter(({ status }) => status === 200);
    const shed = all.filter(({ status }) => status === 503);
    assert.equal([fine.length, shed.length], [6, 58]);
    for (const { fields, after } of shed) {
      assert.is(fields.get("retry-after"), "1");
      assert.ok(after < 900, `a refusal after ${after} ms`);
    }
    // No connection was lost.
    for (const wire of wires) {
      assert.is((await takeAnswer(wire.write(get("/next")))).status, 200);
      wire.destroy();
    }
    const { completed, utilization, runTime } = await statsOf(server);
    assert.is(completed, 2 + 6 + 64);
    // Six requests of a second each, in two threads.
    const share = 6000 / (2 * (Date.now() - began));
    assert.ok(utilization > share * 0.7 && utilization <= 1, `${utilization}, not ${share}`);
    assert.ok(runTime.max > 900 && runTime.max < 5000, `${runTime.max}`);
    assert.equal(reported, []);
  }),
);

pool("a thread that ends is a 500 for its request alone, and the pool continues", () =>
  serving("pool", { pool: { threads: 2, heap: 32 } }, async (server, port) => {
    for (const [path, text] of [
      ["/exit", "the pool's thread ended: worker exited with code: 3"],
      ["/heap", "the pool's thread ended: Worker terminated due to reaching memory limit"],
    ] as const) {
      const wire = await Wire.open(port);
      const other = ask(port, "/block?300");
      assert.is((await takeAnswer(wire.write(get(path)))).status, 500, path);
      assert.is((await other).status, 200);
      await until(text, () => isReported(text));
      wire.destroy();
    }
    await until("threads", async () => (await statsOf(server)).threads === 2);
    const answers = await Promise.all(Array.from({ length: 10 }, () => ask(port, "/block?50")));
    const threads = new Set(answers.map(({ body }) => body.toString().split(" ")[0]));
    assert.is(threads.size, 2);
    assert.is(reported.length, 2);
  }),
);

pool("an answer that has begun breaks off with its thread", () =>
  serving("pool", { pool: { threads: 1 } }, async (_server, port) => {
    const wire = await Wire.open(port);
    wire.write(get("/begin-exit"));
    assert.ok((await wire.takeThrough("a piece")).startsWith("HTTP/1.1 200 OK\r\n"));
    await wire.gone();
    assert.not.ok(wire.peek().includes("0\r\n\r\n"), "its end did not come");
    assert.is((await ask(port, "/next")).status, 200);
  }),
);

pool("a handler that takes longer than `handlerTimeout` is a 500, whatever it does", () =>
  serving("pool", { pool: { threads: 2, handlerTimeout: 1500 } }, async (_server, port) => {
    await ask(port, "/up");
    const from = Date.now();
    const [spun, blocked] = await Promise.all([ask(port, "/spin"), ask(port, "/block?60000")]);
    assert.equal([spun.status, blocked.status], [500, 500]);
    assert.ok(Date.now() - from < 15000);
    assert.is(reported.length, 2);
    assert.ok(isReported("handlerTimeout: not settled within 1500 ms"));
    assert.is((await ask(port, "/next")).status, 200);
  }),
);

pool("`handlerTimeout` does not count while a streamed answer waits for its client to read", () =>
  serving("pool", { pool: { threads: 1, handlerTimeout: 1000 } }, async (server, port) => {
    await ask(port, "/up");
    const wire = await Wire.open(port);
    wire.socket.pause();
    wire.write(get("/pieces?400"));
    await until("running", async () => (await statsOf(server)).running === 1);
    const from = Date.now();
    await until("two limits", async () => {
      assert.is((await statsOf(server)).running, 1, `after ${Date.now() - from} ms`);
      return Date.now() - from > 2500;
    });
    wire.socket.resume();
    await until("all pieces", () => wire.length > 20e6);
    assert.match(await wire.takeThrough("\r\n0\r\n\r\n"), /^HTTP\/1\.1 200 /);
    assert.equal(reported, []);
    wire.destroy();
  }),
);

pool("a client that leaves frees its thread, or its place in the queue", () =>
  serving("pool", { pool: { threads: 1, backlog: 2 } }, async (server, port) => {
    await ask(port, "/up");
    const busy = (await Wire.open(port)).write(get("/block?60000"));
    await until("running", async () => (await statsOf(server)).running === 1);
    const waiting = (await Wire.open(port)).write(get("/block?60000"));
    const next = (await Wire.open(port)).write(get("/next"));
    await until("both", async () => (await statsOf(server)).queueSize === 2);
    waiting.reset();
    await until("one", async () => (await statsOf(server)).queueSize === 1);
    busy.reset();
    assert.is((await takeAnswer(next)).status, 200);
    assert.equal(reported, []);
    next.destroy();
  }),
);

pool("clients that leave at once end no thread whose handler is quick", () =>
  serving("pool", { pool: { threads: 2 } }, async (server, port) => {
    const threads = async (): Promise<string[]> => {
      const answers = await Promise.all([1, 2, 3, 4].map(() => ask(port, "/block?50")));
      return [...new Set(answers.map(({ body }) => body.toString().split(" ")[0] ?? ""))].sort();
    };
    const before = await threads();
    assert.is(before.length, 2);
    for (let i = 0; i < 20; i++) {
      const { completed } = await statsOf(server);
      const wire = (await Wire.open(port)).write(get("/block?20"));
      await until("running", async () => {
        const now = await statsOf(server);
        return now.running === 1 || now.completed > completed;
      });
      wire.reset();
      await until("done", async () => (await statsOf(server)).running === 0);
    }
    assert.equal(await threads(), before);
    assert.equal(reported, []);
  }),
);

pool("a value that cannot be cloned is an error that is reported to the handler's author", () =>
  serving("pool", { pool: { threads: 1 } }, async (_server, port) => {
    const wire = await Wire.open(port);
    assert.is((await takeAnswer(wire.write(handshake("/bad")))).status, 500);
    await until("report", () => isReported("could not be cloned"));
    wire.destroy();
    assert.is((await ask(port, "/strange")).status, 500);
    await until("report", () => isReported("strange"));
    assert.is((await ask(port, "/broadcast")).status, 500);
    await until("report", () => isReported("broadcast: a pool's thread only handles requests"));
    assert.is((await ask(port, "/late-error")).body.toString(), "sent");
    await until("report", () => isReported("behind the answer"));
  }),
);

pool("the other events run in the worker's copy of the module", () =>
  serving("pool", { pool: { threads: 1 } }, async (_server, port) => {
    const ws = await WsWire.open(port);
    assert.is(await ws.text(), "false", "another thread");
    ws.send(TEXT, "to all");
    assert.is(await ws.text(), "to all");
    ws.destroy();
  }),
);

async function refusal(options: object): Promise<Error> {
  const handler = fileUrl("handlers/pool.mjs");
  const started = serve({ port: 0, handler, ...options } as Options).then(
    () => new Error(`${JSON.stringify(options)} is accepted`),
    (error: Error) => error,
  );
  return within(started, "refusal");
}

pool("wrong options are refused by name, value and range", async () => {
  for (const { name, min = 0, max = 0 } of POOL_OPTIONS) {
    for (const value of [min - 1, max + 1, min + 0.5, Number.NaN]) {
      const error = await refusal({ pool: { [name]: value } });
      assert.instance(error, RangeError);
      assert.is(
        error.message,
        `pool.${name}: ${value} is not a whole number from ${min} to ${max}`,
      );
    }
    const error = await refusal({ pool: { [name]: "5" } });
    assert.instance(error, TypeError);
    assert.match(error.message, new RegExp(`^pool\\.${name}: "5" is not a number`));
  }
  for (const [options, text] of [
    [{ pool: { thread: 1 } }, "pool.thread: there is no such option; did you mean pool.threads?"],
    [{ pool: 2 }, "pool: 2 is not an object of options"],
    [{ pool: null }, "pool: null is not an object of options"],
    [{ pool: {}, handler: undefined }, "pool: its threads import the handler"],
    [{ pool: {}, handler: {} }, "pool: its threads import the handler"],
  ] as const) {
    const error = await refusal(options);
    assert.instance(error, TypeError);
    assert.ok(error.message.startsWith(text), error.message);
  }
});

/** Threads of this process, where the system says. */
function threadCount(): number {
  return readdirSync("/proc/self/task").length;
}

pool("a module that does not load in a thread is the error of `serve`", async () => {
  const error = await refusal({ handler: fileUrl("handlers/picky.mjs"), pool: { threads: 2 } });
  assert.match(error.message, /^handler: file:.*picky\.mjs: not in a thread of a pool$/);
});

pool("no thread outlives its server, whatever it is doing", async () => {
  const before = threadCount();
  for (const path of ["/next", "/block?60000", "/spin"]) {
    await serving("pool", { pool: { threads: 3 } }, async (server, port) => {
      const wire = (await Wire.open(port)).write(get(path));
      if (path === "/next") await takeAnswer(wire);
      else await until("running", async () => (await statsOf(server)).running === 1);
      assert.ok(threadCount() >= before + 4);
      wire.socket.on("error", () => undefined);
      // The server ends while the client is there.
      setTimeout(() => wire.destroy(), 500).unref();
    });
    await until("end of the threads", () => threadCount() <= before);
  }
});

pool.run();
