// `ws.ready` and `ws.stream` in virtual time, with clients that read slowly or not at all.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Handler, WebSocket } from "../../host/handler";
import { type TestOptions, type TestServer, createTestServer } from "../../host/testing";
import { Source } from "../../host/shared/source";

const writable = suite("writable");

const MESSAGE = "x".repeat(999);
const SMALL = { maxBacklog: 8192, socketBuffer: 16384 } satisfies TestOptions;

/** Runs a test with a server whose WebSockets are listed as they open. */
async function within(
  body: (t: TestServer, opened: WebSocket[]) => Promise<void>,
  handler: Handler = {},
): Promise<void> {
  const opened: WebSocket[] = [];
  const t = createTestServer({
    ...SMALL,
    onError: () => undefined,
    handler: {
      request: (_, res) => res.upgrade(),
      open: (ws) => void opened.push(ws),
      ...handler,
    },
  });
  await t.ready;
  await body(t, opened);
  await t.close();
}

/** Sends until nothing is taken any more, by the queue or the network. */
async function fill(t: TestServer, ws: WebSocket): Promise<void> {
  for (let sent = true; sent; await t.settle()) {
    sent = false;
    while (ws.send(MESSAGE)) sent = true;
  }
}

/** Notes when a promise has settled, and how. */
function watch<T>(promise: Promise<T>): { state: "pending" | "settled" | "rejected"; value?: T } {
  const watched: { state: "pending" | "settled" | "rejected"; value?: T } = { state: "pending" };
  promise.then(
    (value) => Object.assign(watched, { state: "settled", value }),
    () => Object.assign(watched, { state: "rejected" }),
  );
  return watched;
}

writable("ready resolves when half of the backlog has left, as drain is called", () => {
  let drains = 0;
  return within(
    async (t, opened) => {
      const client = t.connect();
      await t.settle();
      const [ws] = opened as [WebSocket];
      assert.is(watch(ws.ready()).state, "pending");
      const first = watch(ws.ready());
      await t.settle();
      assert.is(first.state, "settled", "an empty queue has room");
      client.pause();
      await fill(t, ws);
      const waits = [watch(ws.ready()), watch(ws.ready())];
      await t.clock.advance(1000);
      assert.equal(
        waits.map(({ state }) => state),
        ["pending", "pending"],
      );
      assert.is(drains, 1, "while the network had room");
      client.throttle(2000);
      for (let s = 0; s < 20 && drains === 1; s++) {
        assert.is(waits[0]?.state, "pending", "both come at once");
        await t.clock.advance(500);
      }
      assert.equal(
        waits.map(({ state }) => state),
        ["settled", "settled"],
      );
      assert.ok(ws.lag.queued <= 4096);
      assert.ok(ws.send("x"));
    },
    { drain: () => void drains++ },
  );
});

writable("ready without a refused message waits, and drain is not called", () => {
  let drains = 0;
  return within(
    async (t, opened) => {
      const client = t.connect().pause();
      await t.settle();
      const [ws] = opened as [WebSocket];
      while (client.available < SMALL.socketBuffer - 1000) {
        ws.send(MESSAGE);
        await t.settle();
      }
      while (ws.lag.queued <= SMALL.maxBacklog) assert.ok(ws.send(MESSAGE));
      const wait = watch(ws.ready());
      await t.clock.advance(1000);
      assert.is(wait.state, "pending");
      client.resume();
      await t.settle();
      assert.is(wait.state, "settled");
      assert.is(drains, 0);
    },
    { drain: () => void drains++ },
  );
});

for (const [name, end] of [
  ["resets", (_, client) => void client.reset()],
  ["is terminated", (ws) => ws.terminate()],
  ["is closed", (ws) => ws.close()],
  ["breaks the protocol", (_, client) => void client.write(Uint8Array.of(0xff, 0xff))],
] as [string, (ws: WebSocket, client: ReturnType<TestServer["connect"]>) => unknown][]) {
  writable(`ready resolves and a stream ends when the client ${name}`, () =>
    within(async (t, opened) => {
      const client = t.connect();
      await t.settle();
      const [ws] = opened as [WebSocket];
      let returns = 0;
      const idle = {
        [Symbol.asyncIterator]: () => idle,
        next: () => new Promise<IteratorResult<string>>(() => undefined),
        return: async () => ({ done: true as const, value: String(returns++) }),
      };
      const waiting = watch(ws.stream(idle));
      await t.settle();
      client.pause();
      await fill(t, ws);
      const ready = watch(ws.ready());
      const full = watch(ws.stream(idle));
      await t.settle();
      assert.equal([ready.state, waiting.state, full.state], ["pending", "pending", "pending"]);
      end(ws, client);
      await t.settle();
      client.resume();
      await t.settle();
      assert.equal([ready.state, waiting.value, full.value, returns], ["settled", false, false, 2]);
      const late = [watch(ws.ready()), watch(ws.stream(idle))];
      await t.settle();
      assert.equal([late[0]?.state, late[1]?.value, returns], ["settled", false, 3]);
      assert.equal(t.errors, []);
    }),
  );
}

writable("a stream produces no faster than its client reads, and slows no other", () =>
  within(async (t, opened) => {
    const slow = t.connect().throttle(1000);
    const fast = t.connect();
    await t.settle();
    const produced = [0, 0];
    const count = 200;
    function* messages(who: number): Generator<string> {
      for (let i = 0; i < count; i++) {
        (produced[who] as number)++;
        yield `${i}`.padStart(1000);
      }
    }
    const results = opened.map((ws, i) => watch(ws.stream(messages(i))));
    await t.settle();
    assert.equal(fast.messages.length, count);
    assert.is(results[1]?.value, true);
    const most = (): number => {
      const read = slow.messages.length * 1004;
      return Math.ceil((read + SMALL.socketBuffer + SMALL.maxBacklog) / 1004) + 2;
    };
    for (let s = 0; s < 150; s += 10) {
      assert.ok((produced[0] as number) <= most(), `${produced[0]} of at most ${most()}`);
      assert.is(results[0]?.state, "pending");
      await t.clock.advance(10_000);
    }
    slow.resume();
    await t.settle();
    assert.is(results[0]?.value, true);
    assert.equal(
      slow.messages.map((message) => Number(message)),
      Array.from({ length: count }, (_, i) => i),
    );
    assert.equal(t.errors, []);
  }),
);

writable("an endless source that has its messages at once leaves time to others", () =>
  within(async (t, opened) => {
    const [greedy, other] = [t.connect().throttle(1e6), t.connect()];
    await t.settle();
    function* endless(): Generator<string> {
      for (;;) yield MESSAGE;
    }
    const result = watch(opened[0]?.stream(endless()) as Promise<boolean>);
    await t.clock.advance(100);
    opened[1]?.send("hello");
    await t.settle();
    assert.equal(other.messages, ["hello"]);
    assert.ok(greedy.messages.length > 50);
    greedy.reset();
    await t.settle();
    assert.is(result.value, false);
  }),
);

writable("many short streams of one client leave nothing behind", () =>
  within(async (t, opened) => {
    const client = t.connect();
    await t.settle();
    const [ws] = opened as [WebSocket];
    for (let i = 0; i < 1000; i++) assert.ok(await t.until(ws.stream([`${i}`])));
    await t.settle();
    assert.is(client.messages.length, 1000);
    assert.equal(t.errors, []);
  }),
);

writable("an error of an iterator's return is reported, and closes the WebSocket", () =>
  within(async (t, opened) => {
    const client = t.connect();
    await t.settle();
    const source = {
      [Symbol.iterator]: () => source,
      next: () => ({ done: false, value: 5 as never }),
      return: () => {
        throw new Error("return fails");
      },
    };
    const result = watch(opened[0]?.stream(source) as Promise<boolean>);
    await t.settle();
    assert.is(result.state, "rejected");
    assert.equal(
      t.errors.map(({ where, error }) => [where, error.message]),
      [["stream", "return fails"]],
    );
    assert.is(client.closing?.code, 1011);
  }),
);

writable("a source asks for one item at a time", async () => {
  let isAsked = false;
  const items = {
    [Symbol.asyncIterator]: () => items,
    async next(): Promise<IteratorResult<number>> {
      assert.not(isAsked);
      isAsked = true;
      await new Promise((resolve) => setImmediate(resolve));
      isAsked = false;
      return { done: false, value: 1 };
    },
  };
  let taken = 0;
  const source = new Source<number>("items", items, () => undefined);
  const isWhole = await source.pour(async (one) => {
    assert.not(isAsked);
    taken += one;
    await new Promise((resolve) => setImmediate(resolve));
    return taken < 5;
  });
  assert.equal([isWhole, taken], [false, 5]);
});

writable.run();
