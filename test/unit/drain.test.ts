// A shutdown that is spread over time: the order in which clients are closed, the work that continues meanwhile, and
// that it ends.

import { createTestServer } from "ringcast/testing";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { settleShutdown } from "../../host/options/settle";
import { Drain } from "../../worker/pump/drain";
import { VirtualClock } from "../../worker/net/memory";

const drain = suite("drain");

/** Returns the time at which each of `count` is ended. */
function times(count: number, ms: number, seed: number): { at: number; one: number }[] {
  const clock = new VirtualClock();
  const ended: { at: number; one: number }[] = [];
  const all = Array.from({ length: count }, (_, i) => i);
  const timers = new Set<unknown>();
  new Drain(all, {
    ms,
    seed,
    now: () => clock.now(),
    after(wait, fn) {
      assert.is(timers.size, 0, "one timer for all of them");
      const cancel = clock.after(wait, () => {
        timers.delete(cancel);
        fn();
      });
      timers.add(cancel);
      return cancel;
    },
    end: (one) => ended.push({ at: clock.now(), one }),
  });
  clock.advance(ms);
  return ended;
}

drain("many ends are spread evenly, in random order, each once, within the time", () => {
  for (const [count, ms] of [
    ...[[1, 1000] as const, [2, 1000] as const, [7, 100] as const, [1000, 10000] as const],
    ...[[10000, 500] as const, [3, 1] as const],
  ]) {
    const ended = times(count, ms, 12345);
    assert.equal(
      ended.map(({ one }) => one).sort((a, b) => a - b),
      Array.from({ length: count }, (_, i) => i),
    );
    // After any part of the time that part of them has ended, but for a step of 10 ms and one of them.
    ended.forEach(({ at }, i) => {
      const due = (i * ms) / count;
      assert.ok(at >= due - 1e-6 && at <= Math.min(ms, due + 10), `${i} of ${count} at ${at} ms`);
    });
  }
  const order = (seed: number): string =>
    times(100, 1000, seed)
      .map(({ one }) => one)
      .join();
  assert.is(order(1), order(1));
  assert.is.not(order(1), order(2));
  assert.is.not(order(1), Array.from({ length: 100 }, (_, i) => i).join());
});

drain("options of a shutdown are checked", () => {
  assert.equal(settleShutdown(), { timeout: 10000, drainMs: 0 });
  assert.equal(settleShutdown({ drainMs: 5 }), { timeout: 10000, drainMs: 5 });
  for (const name of ["timeout", "drainMs"]) {
    for (const value of [-1, Number.NaN, 1 / 0, 86400001]) {
      assert.throws(
        () => settleShutdown({ [name]: value }),
        `${name}: ${value} is not a number of ms from 0 to 86400000`,
      );
    }
    for (const value of ["5", null, {}]) {
      assert.throws(() => settleShutdown({ [name]: value }), new RegExp(`^${name}: .* a number$`));
    }
  }
  assert.throws(() => settleShutdown({ drain: 5 } as object), "drain: there is no such option");
  assert.throws(() => settleShutdown(5 as never), "options: 5 is not an object");
});

/** Creates a server whose handler says goodbye, and answers some requests on demand. */
function makeServer() {
  const waiting: (() => void)[] = [];
  const t = createTestServer({
    keepAliveTimeout: 60000,
    handler: {
      async request(req, res) {
        if (req.path === "/later") await new Promise<void>((resolve) => void waiting.push(resolve));
        if (req.upgrade) res.upgrade();
        else res.send(200, "text/plain", "answered");
      },
      message: (ws, data) => ws.send(data),
      shutdown: (ws) => ws.send("goodbye"),
    },
  });
  const release = (): void => {
    for (const fn of waiting.splice(0)) fn();
  };
  return { t, release };
}

drain("clients get 1012 one after the other; until then they are served", async () => {
  const { t, release } = makeServer();
  const clients = Array.from({ length: 100 }, () => t.connect("/"));
  const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  const idle = t.socket().write(get);
  const silent = t.socket();
  const busy = t.socket().write("GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
  const late = t.connect("/later");
  await t.settle();
  let finished = false;
  void t.server.finished.then(() => {
    finished = true;
  });
  const ended = t.server.shutdown({ drainMs: 10000 });
  await t.settle();
  idle.write(get);
  await t.settle();
  assert.match(
    idle.text,
    /^HTTP.*Connection: close\r\n/s,
    "what is on its way is answered, the last time",
  );
  assert.is(silent.state, "open");
  // New work is refused from the start: a connection, and an upgrade in progress.
  assert.is(t.socket().state, "refused");
  release();
  await t.settle();
  assert.match(busy.text, /^HTTP\/1\.1 200 .*Connection: close\r\n/s);
  assert.is(late.answer?.status, 503);
  const counts: number[] = [];
  for (let second = 1; second <= 10; second++) {
    await t.clock.advance(1000);
    counts.push(clients.filter(({ closed }) => closed).length);
    const open = clients.filter(({ closed }) => !closed);
    if (second === 10) break;
    assert.ok(t.server.broadcast(`second ${second}`));
    open[0]?.send("echo");
    await t.settle();
    for (const client of open) assert.ok(client.messages.includes(`second ${second}`));
    assert.is(open[0]?.messages.at(-1), "echo");
  }
  counts.forEach((count, i) => {
    assert.ok(Math.abs(count - 10 * (i + 1)) <= 1, counts.join());
  });
  for (const client of clients) {
    assert.equal(client.closed, { code: 1012, reason: "the server shuts down", clean: true });
    assert.is(client.messages.at(-1), "goodbye");
    assert.is(client.messages.filter((message) => message === "goodbye").length, 1);
  }
  assert.is(silent.state, "closed");
  await ended;
  assert.ok(finished);
  assert.ok(t.clock.now() <= 10001, `${t.clock.now()}`);
  assert.is(t.server.broadcast("too late"), false);
  await t.close();
});

drain("clients that do not answer, or do not read, do not delay the end", async () => {
  const { t } = makeServer();
  const deaf = Array.from({ length: 20 }, () => t.connect("/", { automatic: false }));
  const slow = Array.from({ length: 5 }, () => t.connect("/"));
  await t.settle();
  for (const client of slow) client.pause();
  const never = t.socket().write("GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
  await t.settle();
  let endedAt = 0;
  void t.server.shutdown({ drainMs: 2000, timeout: 3000 }).then(() => {
    endedAt = t.clock.now();
  });
  await t.clock.advance(4999);
  assert.is(endedAt, 0, "a request is still out");
  assert.ok(deaf.every(({ state }) => state !== "open"));
  await t.clock.advance(2);
  assert.ok(endedAt >= 5000 && endedAt <= 5001, `${endedAt}`);
  assert.is(never.state, "reset");
  assert.is((await t.server.stats()).webSockets, 0);
  await t.close();
});

drain("`close` ends a drain that is under way", async () => {
  const { t } = makeServer();
  const clients = Array.from({ length: 10 }, () => t.connect("/"));
  await t.settle();
  void t.server.shutdown({ drainMs: 60000 });
  await t.clock.advance(1000);
  assert.is(t.server.broadcast("x"), true);
  await t.close();
  assert.ok(clients.every(({ state }) => state !== "open"));
  assert.is(t.server.broadcast("x"), false);
  await t.server.finished;
  assert.ok(t.clock.now() < 2000);
});

drain(
  "a `shutdown` that settles later is waited for, but no longer than the time and `closeTimeout`",
  async () => {
    const t = createTestServer({
      handler: {
        request: (_, res) => res.upgrade({ data: undefined }),
        async shutdown(ws) {
          await t.clock.sleep(500);
          ws.send("goodbye");
          if (ws.id === first) await new Promise(() => undefined);
        },
        open: (ws) => {
          first ??= ws.id;
        },
      },
    });
    let first: number | undefined;
    const clients = Array.from({ length: 4 }, () => t.connect("/"));
    await t.settle();
    const ended = t.server.shutdown({ drainMs: 1000 });
    await t.clock.advance(2000);
    assert.is(clients.filter(({ closed }) => closed).length, 3);
    await t.clock.advance(1000);
    await ended;
    for (const client of clients) {
      assert.equal(client.messages, ["goodbye"]);
      assert.is(client.closed?.code, 1012);
    }
    assert.is(t.clock.now(), 3000);
    await t.close();
  },
);

drain.run();
