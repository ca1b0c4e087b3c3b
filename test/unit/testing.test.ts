// `ringcast/testing`: clients that are scripts, a clock that moves on request, the same run for the same seed.

import { execFileSync } from "node:child_process";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Handler, HandlerModule } from "../../host/handler";
import { type TestOptions, type TestServer, createTestServer } from "../../host/testing";
import { zlibCodec } from "../../worker/net/zlib";

const testing = suite("testing");

/** Small, so that a test reaches every limit. */
const SMALL = {
  ...{
    maxConnections: 64,
    maxWebSockets: 64,
    ring: 65536,
    maxFrames: 1024,
    maxPayloadLength: 65536,
  },
  ...{ receiveBuffers: 1048576, replyBuffers: 1048576, maxBodyLength: 65536, maxBacklog: 65536 },
} satisfies TestOptions;

const echo: Handler = {
  request(req, res) {
    if (req.upgrade) return req.path === "/no" ? res.send(403, "text/plain", "no") : res.upgrade();
    return res.send(200, "text/plain", `${req.method} ${req.url} ${req.text()}`);
  },
  message: (ws, data) => void ws.send(data),
};

/** Runs a server for the duration of a test. Nothing may be left of it, and no handler may have failed. */
async function within(options: TestOptions, body: (t: TestServer) => Promise<void>): Promise<void> {
  const t = createTestServer({ ...SMALL, handler: echo, onError: () => undefined, ...options });
  await t.ready;
  await body(t);
  await t.close();
  const { connections, webSockets, receivePool, replyPool, closed, accepted } =
    await t.server.stats();
  assert.equal([connections, webSockets, receivePool.used, replyPool.used], [0, 0, 0, 0]);
  assert.is(
    Object.values(closed).reduce((a, b) => a + b, 0),
    accepted,
  );
}

testing("a WebSocket opens, sends, receives, and closes", () =>
  within({ protocols: ["b"] }, async (t) => {
    const client = t.connect("/chat", { protocols: ["a", "b"] });
    assert.not(client.isOpen);
    assert.throws(() => client.send("early"), /not open yet/);
    await t.settle();
    assert.ok(client.isOpen);
    assert.is(client.protocol, "b");
    assert.ok(client.send("hello") && client.send(Uint8Array.of(1, 2)));
    client.send("in several frames", { fragment: 3, split: 2 });
    client.send("é".repeat(100), { split: "random" });
    client.ping("p");
    await t.settle();
    assert.equal(client.messages, [
      ...["hello", Uint8Array.of(1, 2), "in several frames", "é".repeat(100)],
    ]);
    assert.equal(client.pongs, [Uint8Array.of(112)]);
    assert.ok(client.close(3001, "bye"));
    await t.settle();
    assert.equal(client.closed, { code: 3001, reason: "", clean: true });
    assert.is(client.state, "closed");
    assert.not(client.send("late"));
  }),
);

testing("send(id) to a client that does not read: those accepted arrive, `ready` waits", () =>
  within({ maxBacklog: 8192 }, async (t) => {
    const client = t.connect("/");
    await t.settle();
    const ids: number[] = [];
    t.server.each((ws) => ids.push(ws.id));
    const id = ids[0] as number;
    client.pause();
    const due: string[] = [];
    for (let i = 0; i < 200; i++) {
      const text = `${i} ${".".repeat(1000)}`;
      const isAccepted =
        i % 2 === 0 ? t.server.send(id, text) : t.server.stage().text(text).send(id);
      if (isAccepted) due.push(text);
    }
    await t.settle();
    assert.ok(due.length >= 8 && due.length < 200, String(due.length));
    // The network's buffers are full, too.
    for (let text = ".".repeat(1000); t.server.send(id, text); await t.settle()) due.push(text);
    // A loop that tries again lets others run.
    let isOver = false;
    const rest = (async (): Promise<void> => {
      while (!t.server.send(id, "the last")) await t.server.ready();
      isOver = true;
    })();
    await new Promise((resolve) => setImmediate(resolve));
    assert.not(isOver);
    client.resume();
    await rest;
    await t.settle();
    assert.equal(client.messages, [...due, "the last"]);
    assert.is((await t.server.stats()).closed.SendOverrun, undefined);
    client.close();
    await t.settle();
  }),
);

testing("an upgrade that is refused leaves its answer", () =>
  within({}, async (t) => {
    const client = t.connect("/no");
    await t.settle();
    assert.not(client.isOpen);
    assert.is(client.answer?.status, 403);
    assert.is(client.closed?.code, 1006);
  }),
);

testing("fetch: method, body, fields, and an answer whole", () =>
  within({ serverHeader: "x" }, async (t) => {
    const one = await t.fetch("/a?b=c", { method: "POST", body: "data" });
    assert.is(await one.text(), "POST /a?b=c data");
    assert.is(one.headers.get("server"), "x");
    assert.is((await t.fetch("/", { method: "HEAD" })).status, 200);
    const [a, b] = await Promise.all([t.fetch("/1"), t.fetch(new URL("http://other.test/2"))]);
    assert.equal([await a.text(), await b.text()], ["GET /1 ", "GET /2 "]);
    assert.is(await (await t.fetch("/p", { method: "PROPFIND" })).text(), "PROPFIND /p ");
  }),
);

const pieces = async function* (): AsyncGenerator<string> {
  for (let i = 0; i < 100; i++) yield `${i},`.repeat(200);
};

testing("fetch: streamed answers and bodies, abort, refusal", () =>
  within(
    {
      handler: (server) => ({
        streams: (req) => req.path === "/up",
        async request(req, res) {
          if (req.path === "/down") return res.stream(200, "text/plain", pieces());
          if (req.path === "/up") {
            let bytes = 0;
            for await (const piece of req.stream()) bytes += piece.length;
            return res.send(200, "text/plain", String(bytes));
          }
          if (req.path === "/body") return res.static(server.body("static", "text/plain"));
          return new Promise(() => undefined);
        },
      }),
    },
    async (t) => {
      const text = await (await t.fetch("/down")).text();
      assert.is(text.length, 200 * (10 * 2 + 90 * 3));
      const up = await t.fetch("/up", { method: "PUT", body: new Uint8Array(300000) });
      assert.is(await up.text(), "300000");
      assert.is(await (await t.fetch("/body")).text(), "static");
      const abort = new AbortController();
      const never = t.fetch("/never", { signal: abort.signal }).catch((error: Error) => error);
      await t.settle();
      abort.abort(new Error("enough"));
      assert.is(((await never) as Error).message, "enough");
      const gone = t.fetch("/never").catch((error: Error) => error);
      await t.settle();
      t.server.close();
      assert.match(((await gone) as Error).message, /fetch failed/);
      const late = await t.fetch("/").catch((error: Error) => error);
      assert.match((late as Error).message, /fetch failed: refused/);
    },
  ),
);

testing("handlers that wait for the virtual clock, and for the runtime's", () => {
  let server: TestServer | undefined;
  return within(
    {
      handler: {
        async request(req, res) {
          if (req.path === "/virtual") await server?.clock.sleep(1000);
          // A time of the runtime's own.
          else await new Promise((resolve) => setTimeout(resolve, 10));
          return res.send(200, "text/plain", String(server?.clock.now()));
        },
      },
    },
    async (t) => {
      server = t;
      const answer = t.fetch("/virtual");
      await t.settle();
      await t.clock.advance(999);
      await t.clock.advance(1);
      assert.is(await (await answer).text(), "1000");
      assert.is(await (await t.fetch("/real")).text(), "1000");
    },
  );
});

testing("raw bytes, pipelined, cut anywhere, half-closed", () =>
  within({}, async (t) => {
    const socket = t.socket();
    const requests = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    socket
      .write(requests, { split: [3, 40, 41] })
      .write(requests, { split: 1 })
      .end();
    await t.settle();
    const answers = socket.answers(["GET", "HEAD", "GET", "HEAD"]);
    const text = (body: Uint8Array): string => new TextDecoder().decode(body);
    assert.equal(
      answers.map(({ status, body }) => [status, text(body)]),
      [
        [200, "GET /1 "],
        [200, ""],
        [200, "GET /1 "],
        [200, ""],
      ],
    );
    assert.is(socket.state, "closed");
    const open = t.socket({ allowHalfOpen: true });
    open.write("NONSENSE\r\n\r\n");
    await t.settle();
    assert.is(open.state, "ended");
    await t.clock.advance(5000);
    assert.is(open.state, "closed");
    assert.is(open.answers()[0]?.status, 400);
    assert.throws(() => open.write("x", { split: 0 }), RangeError);
  }),
);

testing("a reader that stops is evicted when the ring has passed it; one that reads is not", () => {
  const evicted: string[] = [];
  return within(
    { onEvict: (some) => void evicted.push(...some.map(({ cause }) => cause)), socketBuffer: 4096 },
    async (t) => {
      const [fast, slow, other] = [t.connect(), t.connect(), t.connect()];
      await t.settle();
      slow.pause();
      let sent = 0;
      while (slow.state === "open" && sent < 1000) {
        if (t.server.broadcast(`${sent} `.padEnd(1000, "x"))) sent++;
        else await t.server.ready();
        await t.settle();
      }
      // The ring, the socket buffer, and no more.
      assert.ok(sent > 65 && sent < 75, `${sent} messages`);
      assert.is(slow.state, "reset");
      assert.equal(evicted, ["WsClientTooSlow"]);
      assert.equal([fast.messages.length, other.messages.length], [sent, sent]);
      assert.is(slow.messages.length, 0);
      assert.is(slow.closed, undefined, "who does not read does not notice");
      slow.resume();
      await t.settle();
      assert.equal(slow.closed, { code: 1006, reason: "", clean: false });
    },
  );
});

testing("a slow reader reads at its rate, by the virtual clock", () =>
  within({ socketBuffer: 1000, sendPings: false }, async (t) => {
    const client = t.connect();
    await t.settle();
    client.throttle(1000);
    t.server.broadcast("x".repeat(9996));
    await t.clock.advance(5000);
    assert.is(client.messages.length, 0);
    assert.ok(client.available > 0 && client.available <= 1000);
    await t.clock.advance(4900);
    assert.is(client.messages.length, 0);
    await t.clock.advance(200);
    assert.is(client.messages.length, 1);
    assert.throws(() => client.throttle(-1), RangeError);
  }),
);

testing("backpressure: send returns false, drain follows, a paused WebSocket is not read", () => {
  let full = 0;
  let drained = 0;
  return within(
    {
      socketBuffer: 1024,
      handler: {
        request: (_, res) => res.upgrade(),
        message(ws, data) {
          if (ws.send(data)) return;
          full++;
          ws.pause();
        },
        drain(ws) {
          drained++;
          ws.resume();
        },
      },
    },
    async (t) => {
      const client = t.connect();
      await t.settle();
      client.pause();
      for (let i = 0; i < 40; i++) client.send("x".repeat(10000));
      await t.settle();
      assert.is(full, 1);
      assert.ok(client.unread > 200000, `${client.unread} bytes wait`);
      client.resume();
      await t.settle();
      assert.is(client.unread, 0);
      assert.ok(drained > 0 && drained === full);
      assert.is(client.messages.length, 40 - full);
    },
  );
});

testing("deadlines come by the virtual clock alone", () =>
  within({ headersTimeout: 1000, idleTimeout: 10, closeTimeout: 500 }, async (t) => {
    const head = t.socket().write("GET / HT");
    const silent = t.connect("/", { automatic: false });
    const alive = t.connect();
    await t.clock.advance(999);
    assert.is(head.state, "open");
    await t.clock.advance(1);
    assert.is(head.answers()[0]?.status, 408);
    await t.clock.advance(6000);
    assert.is(silent.pings.length, 1);
    await t.clock.advance(6000);
    assert.is(silent.closed?.code, 1006);
    assert.ok(alive.isOpen, "its pongs keep it");
    assert.is((await t.server.stats()).closed.IdleTimeout, 1);
    await t.clock.advance(0);
    const wrong = await t.clock.advance(-1).catch((error: Error) => error);
    assert.instance(wrong, RangeError);
  }),
);

testing("a shutdown sends 1001 and waits for clients that answer; the timeout ends the rest", () =>
  within({}, async (t) => {
    const polite = t.connect();
    const deaf = t.connect("/", { automatic: false });
    await t.settle();
    const ended = t.server.shutdown({ timeout: 60000 });
    await t.settle();
    assert.equal(polite.closed, { code: 1001, reason: "the server shuts down", clean: true });
    assert.equal(deaf.closing, { code: 1001, reason: "the server shuts down" });
    assert.is(deaf.closed, undefined);
    await t.clock.advance(2000);
    assert.is(deaf.closed?.code, 1001);
    await ended;
    await t.server.finished;
    assert.not(t.server.broadcast("nobody"));
    assert.is(t.connect().state, "refused");
  }),
);

testing("an upgrade that comes too late for a shutdown is refused, which ends at once", () => {
  const waiting: (() => void)[] = [];
  const ends: string[] = [];
  return within(
    {
      handler: {
        request: (_, res) =>
          new Promise<void>((resolve) => {
            waiting.push(() => {
              assert.not(res.upgrade());
              resolve();
            });
          }),
        open: () => assert.unreachable("nobody says goodbye to it"),
        close: (_, { cause }) => void ends.push(cause),
      },
    },
    async (t) => {
      const late = t.connect();
      await t.settle();
      const ended = t.server.shutdown({ timeout: 60000 });
      await t.settle();
      waiting[0]?.();
      await t.settle();
      assert.is(late.answer?.status, 503);
      assert.equal(ends, ["Shutdown"], "what it was given can be let go of");
      await ended;
      assert.is(t.clock.now(), 0);
    },
  );
});

testing("the server's calls: topics, stages, single clients, closes", () => {
  const ids: number[] = [];
  return within(
    {
      handler: {
        request: (_, res) => res.upgrade(),
        open: (ws) => void ids.push(ws.id),
      },
    },
    async (t) => {
      const [a, b] = [t.connect(), t.connect()];
      await t.settle();
      const [first = 0, second = 0] = ids;
      const { server } = t;
      assert.ok(server.subscribe(first, "t") && server.subscribe(second, "u"));
      assert.is(await server.subscriberCount("t"), 1);
      assert.ok(server.publish("t", "to t") && server.publish("none", "nobody"));
      assert.ok(server.stage().text('{"n":').text(1).text("}").broadcast({ except: second }));
      assert.ok(server.send(second, Uint8Array.of(7)));
      assert.ok(server.send(123456789, "nobody"));
      assert.ok(server.unsubscribe(first, "t"));
      assert.ok(server.closeConnection(second, 4000, "go"));
      assert.throws(() => server.broadcast(5 as never), TypeError);
      assert.throws(() => server.broadcast("x".repeat(70000)), RangeError);
      await t.settle();
      assert.equal(a.messages, ["to t", '{"n":1}']);
      assert.equal(b.messages, [Uint8Array.of(7)]);
      assert.equal(b.closed, { code: 4000, reason: "go", clean: true });
      assert.is((await server.stats()).webSockets, 1);
    },
  );
});

testing("compression with a codec, declined without one", async () => {
  const large = "compressible ".repeat(500);
  for (const codec of [zlibCodec, undefined]) {
    const more = codec ? { codec } : {};
    await within({ perMessageDeflate: true, ...more }, async (t) => {
      const [packed, plain] = [t.connect("/", { deflate: true }), t.connect()];
      await t.settle();
      const { bytesOut } = await t.server.stats();
      t.server.broadcast(large);
      packed.send(large, { compress: true });
      await t.settle();
      assert.equal(packed.messages, [large, large]);
      assert.equal(plain.messages, [large]);
      const out = (await t.server.stats()).bytesOut - bytesOut;
      assert.ok(codec ? out < 1.5 * large.length : out > 3 * large.length, `${out} bytes`);
    });
  }
});

testing("refuses the options that serve refuses, and ones that have no meaning in memory", () => {
  const wrong = (options: object, message: RegExp): void =>
    void assert.throws(() => createTestServer(options), message);
  wrong({ ring: 5000 }, /^ring: 5000 is not a power of two/);
  wrong({ nothing: 1 }, /^nothing: there is no such option/);
  wrong({ pool: {} }, /^pool: a server in memory has no threads/);
  wrong({ raw: "127.0.0.1:22" }, /^raw: "127.0.0.1:22", but a server in memory has no sockets/);
  wrong({ handler: new URL("file:///a.js") }, /^handler: must be a handler/);
  wrong({ handler: "file:///a.js" }, /^handler: must be a handler/);
  wrong({ seed: -1 }, /^seed: -1 is not/);
  wrong({ socketBuffer: "big" }, /^socketBuffer: "big" is not a number/);
  wrong({ onError: 1 }, /^onError: 1 is not a function/);
  wrong({ maxMemory: 1048576 }, /^maxMemory: the plan takes/);
});

testing("a handler that is made asynchronously is awaited; a failure is reported", async () => {
  const slow: HandlerModule = async () => echo;
  const t = createTestServer({ ...SMALL, handler: slow });
  assert.throws(() => t.connect(), /await t\.ready/);
  await t.ready;
  assert.is((await t.fetch("/")).status, 200);
  await t.close();
  const bad = createTestServer({
    ...SMALL,
    handler: async () => {
      throw new Error("as asked");
    },
  });
  assert.is(await bad.ready.catch((error: Error) => error.message), "as asked");
  await bad.close();
});

testing("errors of handlers are reported, and answered", () => {
  const reports: string[] = [];
  return within(
    {
      onError: (error, where) => void reports.push(`${where}: ${error.message}`),
      handler: {
        request(req, res) {
          if (req.upgrade) return res.upgrade();
          throw new Error("as asked");
        },
        async message() {
          throw new Error("later");
        },
      },
    },
    async (t) => {
      assert.is((await t.fetch("/")).status, 500);
      const client = t.connect();
      await t.settle();
      client.send("x");
      await t.settle();
      assert.is(client.closed?.code, 1011);
      assert.equal(reports, ["request: as asked", "message: later"]);
      assert.equal(
        t.errors.map(({ where }) => where),
        ["request", "message"],
      );
    },
  );
});

/** Collects garbage. */
function collect(): void {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
}

testing("large responses on a connection that is kept are released", () =>
  within(
    { handler: { request: (_, res) => res.send(200, "", new Uint8Array(1048576)) } },
    async (t) => {
      const socket = t.socket();
      const used = (): number => {
        collect();
        return process.memoryUsage().arrayBuffers;
      };
      const before = used();
      for (let i = 0; i < 50; i++) {
        socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        await t.settle();
        assert.ok(socket.take().length > 1048576);
      }
      const kept = used() - before;
      assert.ok(kept < 25 * 1048576, `${kept} bytes`);
    },
  ),
);

/** Runs steps that are all drawn from the seed. */
async function scripted(seed: number): Promise<string> {
  const handler: Handler = {
    request: (req, res) => (req.upgrade ? res.upgrade() : res.send(200, "", req.body)),
    async message(ws, data) {
      await Promise.resolve();
      ws.send(data);
    },
  };
  const t = createTestServer({ ...SMALL, handler, seed, socketBuffer: 2000 });
  const { random } = t;
  const clients = Array.from({ length: 20 }, () => t.connect("/", { split: "random" }));
  await t.settle();
  for (let i = 0; i < 500; i++) {
    const client = random.pick(clients);
    const draw = random.next();
    if (draw < 0.4) t.server.broadcast(`all ${i} ${"x".repeat(random.int(0, 2000))}`);
    else if (draw < 0.7 && client.isOpen) client.send(`one ${i}`, { split: "random", fragment: 3 });
    else if (draw < 0.8) client.throttle(random.size(5000));
    else if (draw < 0.85) client.resume();
    else if (draw < 0.86) client.reset();
    else await t.clock.advance(random.int(0, 200));
    if (random.chance(0.5)) await t.settle();
  }
  for (const client of clients) client.resume();
  await t.clock.advance(1000);
  const { evicted } = await t.server.stats();
  assert.ok(evicted > 0, "evictions happen");
  await t.close();
  return t.log().join("\n");
}

testing("the epoch of positions follows from the seed", async () => {
  const positions = [7, 7, 8].map((seed) => createTestServer({ seed }).server.position());
  const [first, same, other] = await Promise.all(positions);
  assert.match(String(first), /^[0-9a-z]{8}-00000000000$/);
  assert.is(same, first);
  assert.is.not(other, first);
});

testing("two runs of a seed are the same, those of two seeds are not", async () => {
  const [one, two, other] = [await scripted(1), await scripted(1), await scripted(2)];
  assert.ok(one.length > 100000);
  assert.ok(one === two);
  assert.ok(one !== other);
});

/** Runs a program that waits, in a process of its own. @returns what it prints */
function waiting(script: string): string {
  const entry = pathToFileURL(path.resolve("dist/testing.js")).href;
  const head = `import { createTestServer } from ${JSON.stringify(entry)};`;
  const args = ["--input-type=module", "-e", head + script];
  return execFileSync(process.execPath, args, { encoding: "utf8" }).trim();
}

testing("a wait that can never end rejects with the reason", () => {
  const sleeper = "const t = createTestServer({ handler: { request: async (req, res) => ";
  const tell = ".catch((error) => console.log(error.message));";
  assert.match(
    waiting(`${sleeper} (await t.clock.sleep(50), res.send(200)) } }); await t.fetch("/")${tell}`),
    /^this wait can never end: nothing is left to happen, and the next timer is due in \d+ ms of virtual/,
  );
  assert.match(
    waiting(`${sleeper} res.send(200) } }); await t.until(new Promise(() => {}))${tell}`),
    /^this wait can never end: nothing is left to happen, and no timer is due$/,
  );
  assert.is(
    waiting(`const t = createTestServer({}); let n = 0;
      setTimeout(() => n++, 20); await t.until(new Promise((resolve) => setTimeout(resolve, 30))); console.log(n);`),
    "1",
  );
});

testing.run();
