// Metrics over HTTP and by call, wherever the handler runs; and the records that a logger of pino's shape receives.

import { createServer } from "node:net";
import { PassThrough } from "node:stream";
import parsePrometheus from "parse-prometheus-text-format";
import pino from "pino";
import { type Options, type Server, serve } from "ringcast";
import { createTestServer } from "ringcast/testing";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { WebSocket } from "ws";
import { handshake } from "../lib/handshake";
import { readOpenMetrics, sampleOf } from "../lib/openmetrics";
import { fileUrl, handlerOf, reported, serving, sleep, until, within } from "./peer";
import { portOf } from "../lib/port";

const metrics = suite("metrics");
const TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8";

function get(port: number, path: string, init?: RequestInit): Promise<Response> {
  return fetch(`http://127.0.0.1:${port}${path}`, init);
}

/** Reads it with the strict reader and with one that others use; both see the same samples. */
function read(text: string): (key: string) => number {
  const families = readOpenMetrics(text);
  const seen = new Map<string, number>();
  for (const { name, metrics } of parsePrometheus(text)) {
    for (const { value, labels = {} } of metrics) {
      const pairs = Object.entries(labels).map(([label, text]) => `${label}="${text}"`);
      seen.set(
        pairs.length > 0 ? `${name}{${pairs}}` : name,
        Number(value.replace("+Inf", "Infinity")),
      );
    }
  }
  const ours = [...families.values()].flatMap(({ samples }) => [...samples]);
  assert.ok(ours.length > 25, `${ours.length} samples`);
  assert.equal(seen, new Map(ours));
  return (key) => sampleOf(families, `ringcast_${key}`);
}

/** The three places of a handler. */
const PLACES: readonly (readonly [string, () => Promise<Options>])[] = [
  ["in the worker", async () => ({})],
  ["on this thread", async () => ({ handler: await handlerOf("metrics", "application") })],
  ["in a pool", async () => ({ pool: { threads: 1 } })],
];

for (const [place, options] of PLACES) {
  metrics(`are served in front of a handler ${place}, which is not called`, async () => {
    await serving("metrics", { metrics: {}, ...(await options()) }, async (server, port) => {
      assert.is((await get(port, "/throw")).status, 500);
      const answer = await get(port, "/metrics?name=value");
      assert.is(answer.status, 200);
      assert.is(answer.headers.get("content-type"), TYPE);
      assert.is(answer.headers.get("cache-control"), "no-store");
      const value = read(await answer.text());
      assert.is(value("handler_errors_total"), 1);
      // Requests that were answered by the handler, or here: none, so far.
      assert.is(value("requests_total"), 0);
      assert.is(value("ring_horizon_seconds"), Number.POSITIVE_INFINITY);
      const head = await get(port, "/metrics", { method: "HEAD" });
      assert.equal([head.status, await head.text()], [200, ""]);
      const post = await get(port, "/metrics", { method: "POST", body: "x" });
      assert.equal([post.status, post.headers.get("allow")], [405, "GET, HEAD"]);
      // It has been called for /throw, and for this.
      assert.is(await (await get(port, "/")).text(), "2");
      const { handlerErrors, pool } = await server.stats();
      assert.is(handlerErrors, 1);
      const own = read(await server.metrics());
      assert.is(own("requests_total"), 4);
      if (pool) assert.is(own("pool_threads"), 1);
    });
  });
}

metrics("a handler gets them from its server, at once or as a promise", async () => {
  for (const options of PLACES.slice(0, 2)) {
    await serving("metrics", await options[1](), async (_server, port) => {
      const value = read(await (await get(port, "/own")).text());
      assert.is(value("memory_bytes") > 65536, true);
      // Without the option its path is the handler's.
      assert.is(await (await get(port, "/metrics")).text(), "2");
    });
  }
});

metrics("count publications, and how long they stay in the ring", async () => {
  await serving("metrics", { ring: 65536, metrics: { path: "/m" } }, async (server, port) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
    await within(new Promise((resolve) => socket.once("open", resolve)), "open");
    const started = performance.now();
    for (let i = 0; i < 100; i++) {
      server.broadcast("x".repeat(1022 - 2));
      // Over some time, which the ages of messages are compared with.
      await sleep(2);
    }
    await until("published", async () => (await server.stats()).framesPublished === 100);
    const value = read(await (await get(port, "/m")).text());
    const seconds = (performance.now() - started) / 1000;
    assert.is(value("frames_published_total"), 100);
    assert.is(value("websockets"), 1);
    assert.is(value("ring_capacity_bytes"), 65536);
    // 64 of the 100 messages are a ring.
    const horizon = value("ring_horizon_seconds");
    assert.ok(horizon > 0.1 && horizon < seconds, `${horizon} of ${seconds}`);
    socket.close();
  });
});

metrics("are served to this machine alone, unless the option allows others", async () => {
  const answers = async (options: Options, headers: Record<string, string>): Promise<number> => {
    let status = 0;
    await serving("metrics", options, async (_server, port) => {
      status = (await get(port, "/metrics", { headers })).status;
    });
    return status;
  };
  const other = { "x-forwarded-for": "192.0.2.1" };
  const trusted = { trustProxy: ["loopback"] };
  assert.is(await answers({ metrics: {} }, {}), 200);
  assert.is(await answers({ metrics: {} }, other), 403, "a proxy asks for others");
  assert.is(await answers({ metrics: {} }, { forwarded: "for=192.0.2.1" }), 403);
  assert.is(await answers({ metrics: {} }, { via: "1.1 proxy" }), 403);
  assert.is(await answers({ metrics: {} }, { "x-real-ip": "192.0.2.1" }), 403);
  assert.is(await answers({ metrics: {}, ...trusted }, other), 403, "it asks for another machine");
  assert.is(await answers({ metrics: {}, ...trusted }, { "x-forwarded-for": "127.0.0.9" }), 200);
  const range = { metrics: { addresses: ["192.0.2.0/24"] } };
  assert.is(await answers({ ...range, ...trusted }, other), 200);
  assert.is(await answers(range, {}), 403, "loopback is not in the list");
  assert.is(await answers({ metrics: { addresses: false } }, {}), 403);
  assert.is(await answers({ metrics: { addresses: true } }, other), 200);
});

metrics("of a server in memory are the same", async () => {
  const t = createTestServer({
    metrics: { addresses: true },
    handler: { request: (_, res) => res.send(204) },
  });
  const answer = await t.fetch("/metrics");
  assert.is(answer.headers.get("content-type"), TYPE);
  assert.is(read(await answer.text())("requests_total"), 0);
  assert.is(read(await t.server.metrics())("requests_total"), 1);
  await t.close();
});

// ---- logs ------------------------------------------------------------------------------------------------

interface Line {
  readonly level: string;
  readonly event: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** Returns pino itself, and the lines that it writes. */
function logging(): { logger: pino.Logger; lines: Line[] } {
  const stream = new PassThrough();
  const lines: Line[] = [];
  let rest = "";
  stream.on("data", (bytes) => {
    const all = (rest + bytes).split("\n");
    rest = all.pop() ?? "";
    lines.push(...all.map((line) => JSON.parse(line) as Line));
  });
  const formatters = { level: (level: string) => ({ level }) };
  return { logger: pino({ level: "debug", formatters }, stream), lines };
}

/** Starts a server that reports errors to its logger only. */
async function logged(
  options: Options,
  body: (server: Server, lines: Line[]) => Promise<void>,
): Promise<Line[]> {
  const { logger, lines } = logging();
  const server = await serve({
    port: 0,
    handler: fileUrl("handlers/metrics.mjs"),
    logger,
    ...options,
  });
  try {
    await body(server, lines);
  } finally {
    await within(server.close(), "close");
  }
  return lines;
}

const brief = ({ level, event, msg }: Line): string => `${level} ${event}: ${msg}`;

metrics("a logger receives the events of a server's life, in pino's way", async () => {
  const lines = await logged({}, async (server) => {
    const port = portOf(server);
    await get(port, "/throw");
    await server.configure({ idleTimeout: 30 });
    await server.reload();
    await server.reload("data:text/javascript,broken(").then(
      () => assert.unreachable(),
      () => undefined,
    );
  });
  const port = lines[0]?.port;
  assert.equal(lines.map(brief), [
    `info listening: listening on 127.0.0.1:${port}`,
    "error error: request: thrown on purpose",
    "info configured: options were changed",
    "info reload: the handler was reloaded",
    "warn reload: the previous handler stays",
    "info shutdown: shutting down",
    "info ended: ended",
  ]);
  const [, error, configured, reload, failed, shutdown] = lines;
  assert.is(error?.where, "request");
  const err = error?.err as { type: string; message: string; stack: string };
  assert.equal([err.type, err.message], ["Error", "thrown on purpose"]);
  assert.match(err.stack, /metrics\.mjs/);
  assert.equal(configured?.options, { idleTimeout: 30 });
  assert.match(String(reload?.handler), /handlers\/metrics\.mjs$/);
  assert.match((failed?.err as { message: string }).message, /data:text\/javascript/);
  assert.equal([shutdown?.timeout, shutdown?.drainMs], [0, 0]);
});

metrics("a logger receives evictions, with the client", async () => {
  const lines = await logged({ ring: 65536, slowGrace: 1 }, async (server, lines) => {
    const port = portOf(server);
    const { connect } = await import("node:net");
    const socket = connect({ port, host: "127.0.0.1" }).on("error", () => undefined);
    socket.write(handshake());
    await until("open", async () => (await server.count()) === 1);
    socket.pause();
    await until("evicted", async () => {
      for (let i = 0; i < 8 && server.broadcast(new Uint8Array(32000)); i++);
      await server.ready();
      return lines.some(({ event }) => event === "evicted");
    });
    socket.destroy();
  });
  const line = lines.find(({ event }) => event === "evicted");
  assert.equal([line?.level, line?.count, line?.msg], ["warn", 1, "evicted 1"]);
  const [client] = line?.clients as { cause: string; remoteAddress: string; lagBytes: number }[];
  assert.equal([client?.cause, client?.remoteAddress], ["WsClientTooSlow", "127.0.0.1"]);
  assert.ok((client?.lagBytes ?? 0) > 0);
});

metrics("the end of a thread is reported, and errors of a port are the caller's", async () => {
  const { logger, lines } = logging();
  const handler = "data:text/javascript,export default {request(){process.exit(3)}}";
  const server = await serve({ port: 0, handler, logger });
  // Before the request: an end that no handler awaits is an unhandled rejection.
  const finished = server.finished.catch(() => undefined);
  await get(portOf(server), "/").catch(() => undefined);
  await within(finished, "the end");
  assert.equal(lines.map(brief).slice(1), [
    "error error: worker: the server's worker exited with code 3",
  ]);
  await server.close().catch(() => undefined);

  const taken = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => taken.once("listening", resolve));
  const { port } = taken.address() as { port: number };
  const second = logging();
  await serve({ port, logger: second.logger }).then(
    () => assert.unreachable(),
    (error: { code?: string }) => assert.is(error.code, "EADDRINUSE"),
  );
  taken.close();
  assert.equal(second.lines, []);
});

metrics(
  "errors go to onError and to the logger, to the console when there is neither",
  async () => {
    const { logger, lines } = logging();
    await serving("metrics", { logger }, async (_server, port) => {
      await get(port, "/throw");
      assert.equal(reported, [{ where: "request", message: "thrown on purpose" }]);
      assert.ok(lines.map(brief).includes("error error: request: thrown on purpose"));
    });
    const written: unknown[][] = [];
    const { error: write } = console;
    console.error = (...all) => written.push(all);
    try {
      const silent: Options["logger"][] = [undefined, { info: () => undefined }];
      for (const logger of silent) {
        const options = { port: 0, handler: fileUrl("handlers/metrics.mjs") };
        const server = await serve(logger ? { ...options, logger } : options);
        await get(portOf(server), "/throw");
        await server.close();
      }
    } finally {
      console.error = write;
    }
    assert.equal(
      written.map(([where]) => where),
      ["ringcast: request:", "ringcast: request:"],
    );
  },
);

metrics("a logger that throws has no effect on the server", async () => {
  const written: unknown[][] = [];
  const { error: write } = console;
  console.error = (...all) => written.push(all);
  const fail = (): never => {
    throw new Error("no disk");
  };
  try {
    const server = await serve({ port: 0, logger: { info: fail, error: fail } });
    assert.is((await get(portOf(server), "/")).status, 404);
    await server.close();
  } finally {
    console.error = write;
  }
  assert.equal(
    written.map(([where]) => where),
    ["ringcast: logger:", "ringcast: logger:", "ringcast: logger:"],
  );
});

metrics.run();
