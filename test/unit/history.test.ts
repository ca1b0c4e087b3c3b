// Event streams that return, in memory: the events that they have missed, the gaps, and the order of all.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Handler, WebSocket } from "../../host/handler";
import { type TestEvents, type TestOptions, createTestServer } from "../../host/testing";
import { positionText, sequenceOf } from "../../host/shared/message/position";

const history = suite("history");

type Test = ReturnType<typeof createTestServer>;

/** Runs a server whose streams subscribe to the topics of their query, and get a snapshot unless they resume. */
async function serving(
  body: (t: Test, sockets: WebSocket[]) => Promise<void>,
  options: TestOptions = {},
  own: Handler = {},
): Promise<void> {
  const sockets: WebSocket[] = [];
  const handler: Handler = {
    request: (req, res) => res.events({ topics: req.query.split(",").filter(Boolean) }),
    open(ws) {
      sockets.push(ws);
      if (!ws.resumed) ws.send(`snapshot ${ws.gap?.reason ?? "first"}`);
    },
    ...own,
  };
  const both = { events: true, history: true } as const;
  const t = createTestServer({ handler, ...both, onError: () => undefined, ...options });
  await body(t, sockets);
  await t.close();
}

/** Returns the events as one line each: the sequence of the id, the name, the data. */
function linesOf({ events }: TestEvents): string[] {
  return events.map(({ id, event, data }) => {
    const name = event === "message" ? "" : event.replace("ringcast-", "");
    const text = data.replaceAll(/[0-9a-z]{8}-[0-9a-z]{11}/g, (position) =>
      String(sequenceOf(position)),
    );
    return [id === undefined ? "" : sequenceOf(id), name, text]
      .filter((one) => one !== "")
      .join(" ");
  });
}

/** Opens a stream at a position. */
function returning(t: Test, since: string | undefined, path = "/events"): TestEvents {
  return t.events(path, since === undefined ? {} : { headers: { "Last-Event-ID": since } });
}

/** Publishes to all, or to a topic. */
async function publish(t: Test, ...texts: string[]): Promise<string> {
  for (const text of texts) {
    const [topic, data] = text.split("=");
    assert.ok(
      data === undefined ? t.server.broadcast(text) : t.server.publish(topic as string, text),
    );
    await t.settle();
  }
  return t.server.position();
}

history("a first visit gets hello, the snapshot, live, and then what is published", () =>
  serving(async (t) => {
    await publish(t, "before");
    const client = t.events();
    await t.settle();
    await publish(t, "after");
    assert.equal(linesOf(client), [
      "hello {}",
      "snapshot first",
      '1 live {"position":"1"}',
      "2 after",
    ]);
    assert.is((await t.server.stats()).parked, 0);
  }),
);

history("a client that returns gets all it has missed, of broadcasts and topics, in order", () =>
  serving(async (t, sockets) => {
    const first = t.events("/events?a");
    await t.settle();
    const since = await publish(t, "one", "a=1");
    first.reset();
    await t.settle();
    await publish(t, "two", "b=1", "a=2", "three", "c=1", "a=3");
    const second = returning(t, since, "/events?a,b");
    await t.settle();
    await publish(t, "four", "b=2");
    assert.equal(linesOf(second), [
      '2 hello {"position":"2"}',
      ...["3 two", "4 b=1", "5 a=2", "6 three", "8 a=3", "9 four", "10 b=2"],
    ]);
    assert.is(sockets[1]?.resumed, true);
    assert.is(sockets[1]?.gap, undefined);
    const { resumed, gaps } = await t.server.stats();
    assert.is(resumed, 1);
    assert.equal(gaps, { expired: 0, epoch: 0, invalid: 0, lapped: 0, large: 0 });
  }),
);

history("a position in the query is one, and the field of the request precedes it", () =>
  serving(async (t) => {
    t.events();
    const since = await publish(t, "one");
    const later = await publish(t, "two");
    const byQuery = t.events(`/events?since=${since}`);
    const byBoth = returning(t, later, `/events?since=${since}`);
    await t.settle();
    assert.equal(linesOf(byQuery), ['1 hello {"position":"1"}', "2 two"]);
    assert.equal(linesOf(byBoth), ['2 hello {"position":"2"}']);
  }),
);

history("a topic that open subscribes to is replayed too, in the order of positions", () =>
  serving(
    async (t) => {
      t.events("/events?a");
      const since = await publish(t, "one");
      await publish(t, "a=1", "two", "b=1", "a=2");
      const client = returning(t, since, "/events?b");
      await t.settle();
      assert.equal(linesOf(client).slice(1), ["2 a=1", "3 two", "4 b=1", "5 a=2"]);
    },
    {},
    { open: (ws) => void ws.subscribe("a") },
  ),
);

history("positions of another start, malformed ones, and those of the future are gaps", () =>
  serving(async (t, sockets) => {
    const own = await publish(t, "one");
    const epoch = Number.parseInt(own.slice(0, 8), 36);
    const cases: [string, string][] = [
      [positionText(epoch === 0 ? 1 : epoch - 1, 1), "epoch"],
      [positionText(epoch, 2), "invalid"],
      ["1", "invalid"],
      [`${own}0`, "invalid"],
      [own.toUpperCase() === own ? "-" : own.toUpperCase(), "invalid"],
    ];
    for (const [since, reason] of cases) {
      const client = returning(t, since);
      await t.settle();
      assert.equal(
        linesOf(client),
        ["hello {}", `gap {"reason":"${reason}"}`, `snapshot ${reason}`, '1 live {"position":"1"}'],
        since,
      );
      assert.equal(sockets.at(-1)?.gap, { reason });
    }
    const { gaps, resumed } = await t.server.stats();
    assert.equal([gaps.epoch, gaps.invalid, resumed], [1, 4, 0]);
  }),
);

history("messages that have left the ring are a gap, and the others are replayed", () =>
  serving(
    async (t, sockets) => {
      t.events();
      await t.settle();
      const old = await publish(t, "x".repeat(100));
      const recent: string[] = [];
      for (let i = 0; i < 200; i++) recent.push(await publish(t, "y".repeat(100)));
      const late = returning(t, old);
      const near = returning(t, recent.at(-20));
      await t.settle();
      assert.equal(linesOf(late).slice(0, 2), ["hello {}", 'gap {"reason":"expired"}']);
      assert.equal(sockets.at(-2)?.gap, { reason: "expired" });
      assert.is(near.events.length, 20);
    },
    { ring: 8192, eventRing: 16384 },
  ),
);

history("messages from before the first stream are a gap, because they have no event", () =>
  serving(async (t) => {
    const start = await t.server.position();
    const since = await publish(t, "one", "two");
    const client = returning(t, start);
    await t.settle();
    assert.equal(linesOf(client).slice(0, 2), ["hello {}", 'gap {"reason":"expired"}']);
    const none = returning(t, since);
    await t.settle();
    assert.equal(linesOf(none), ['2 hello {"position":"2"}']);
  }),
);

history("a gap of one topic names the topic, and ends no replay of the others", () =>
  serving(
    async (t, sockets) => {
      t.events();
      await t.settle();
      const since = await publish(t, "one");
      // The topics a and b are forgotten for c and d.
      await publish(t, "a=1", "b=1", "two", "c=1", "d=1", "three");
      const client = returning(t, since, "/events?c");
      await t.settle();
      assert.equal(linesOf(client), [
        '1 hello {"position":"1"}',
        'gap {"reason":"expired","topic":"a\\"\\u000a"}',
        ...["4 two", "5 c=1", "7 three"],
      ]);
      // The topic d may have been forgotten before.
      const unsure = returning(t, since, "/events?d");
      const sure = returning(t, client.events[2]?.id, "/events?d,c");
      await t.settle();
      assert.equal(linesOf(unsure).slice(0, 1), ["hello {}"]);
      assert.equal(linesOf(sure)[0], '4 hello {"position":"4"}');
      for (const one of [client, unsure, sure]) one.reset();
      const gone = returning(t, since, "/events?b");
      await t.settle();
      assert.equal(linesOf(gone).slice(0, 2), ["hello {}", 'gap {"reason":"expired"}']);
      assert.equal(sockets.length, 0);
      assert.ok((await t.server.stats()).topicsForgotten >= 2);
    },
    { maxTopics: 3 },
    {
      open(ws) {
        if (ws.resumed && ws.subscriptions.join() === "c") ws.subscribe('a"\n');
      },
    },
  ),
);

history("a message to no one takes its place, and a later subscriber can have it", () =>
  serving(async (t) => {
    t.events();
    await t.settle();
    const since = await publish(t, "start");
    await publish(t, "quiet=1", "quiet=2");
    assert.is((await t.server.stats()).topics, 1);
    const client = returning(t, since, "/events?quiet");
    await t.settle();
    assert.equal(linesOf(client).slice(1), ["2 quiet=1", "3 quiet=2"]);
  }),
);

history(
  "an open that sends more than the queue holds to a stream that resumes does not wait for itself",
  () =>
    serving(
      async (t) => {
        t.events("/events?a");
        await t.settle();
        const since = await publish(t, "one");
        await publish(t, "two", "a=1");
        const client = returning(t, since);
        await t.settle();
        assert.equal(linesOf(client).slice(0, 2), ['1 hello {"position":"1"}', "2 two"]);
        const own = client.events.filter(({ data }) => data.startsWith("own"));
        assert.is(own.length, 40);
        // The cursor of a stream that is replayed already is not moved, so this is a gap.
        assert.ok(linesOf(client).includes('gap {"reason":"expired","topic":"a"}'));
        assert.is((await t.server.stats()).parked, 0);
      },
      { maxBacklog: 2000 },
      {
        async open(ws) {
          if (!ws.resumed) return;
          for (let i = 0; i < 40; i++) {
            while (!ws.send(`own ${i} ${"x".repeat(200)}`)) await ws.ready();
          }
          await ws.ready();
          ws.subscribe("a");
        },
      },
    ),
);

/** Returns a handler whose `open` settles when `go` is called. */
function slowly(sends: boolean): { own: Handler; go: () => void } {
  const waits: (() => void)[] = [];
  const own: Handler = {
    async open(ws) {
      await new Promise<void>((resolve) => waits.push(resolve));
      if (sends) ws.send("snapshot");
    },
  };
  const go = (): void => {
    for (const resolve of waits.splice(0)) resolve();
  };
  return { own, go };
}

history("nothing that is published is sent before open has settled, and nothing is lost", () => {
  const { own, go } = slowly(true);
  return serving(
    async (t) => {
      const first = t.events("/events?a");
      await t.settle();
      await publish(t, "one", "a=1");
      assert.equal(linesOf(first), ["hello {}"]);
      assert.is((await t.server.stats()).parked, 1);
      go();
      await t.settle();
      const live = ["snapshot", '0 live {"position":"0"}', "1 one", "2 a=1"];
      assert.equal(linesOf(first).slice(1), live);
      const second = returning(t, first.events[3]?.id, "/events?a");
      await t.settle();
      await publish(t, "two");
      assert.equal(linesOf(second), ['1 hello {"position":"1"}']);
      go();
      await t.settle();
      assert.equal(linesOf(second).slice(1), ["2 a=1", "3 two", "snapshot"]);
    },
    {},
    own,
  );
});

history(
  "a stream that is lapped while it opens gets a gap, and the publisher is not refused",
  () => {
    const { own, go } = slowly(false);
    return serving(
      async (t) => {
        const client = t.events();
        await t.settle();
        for (let i = 0; i < 300; i++) await publish(t, "z".repeat(100));
        go();
        await t.settle();
        await publish(t, "last");
        const lines = linesOf(client);
        assert.equal(lines.slice(0, 2), ["hello {}", '0 live {"position":"0"}']);
        assert.match(lines[2] as string, /^\d+ gap \{"reason":"lapped"\}$/);
        const from = Number.parseInt(lines[2] as string, 10);
        const numbers = lines.slice(3).map((line) => Number.parseInt(line, 10));
        assert.equal(
          numbers,
          Array.from({ length: 301 - from }, (_, i) => from + 1 + i),
        );
        const { gaps, evicted } = await t.server.stats();
        assert.equal([gaps.lapped, evicted], [1, 0]);
      },
      { ring: 8192, eventRing: 16384 },
      own,
    );
  },
);

history("a reader that catches up slowly does not make the publisher wait", () =>
  serving(
    async (t) => {
      t.events();
      await t.settle();
      const since = await publish(t, "start");
      for (let i = 0; i < 180; i++) await publish(t, "z".repeat(500));
      const headers = { "Last-Event-ID": since };
      const slow = t.events("/events", { headers, socketBuffer: 1024 });
      slow.pause();
      await t.settle();
      for (let i = 0; i < 300; i++) await publish(t, "y".repeat(500));
      const { resumed, closed } = await t.server.stats();
      assert.is(resumed, 1);
      assert.is(closed.WsClientTooSlow, 1, "its write was under way, so it is reset");
      const again = returning(t, slow.events.at(-1)?.id ?? since);
      await t.settle();
      assert.equal(linesOf(again).slice(0, 2), ["hello {}", 'gap {"reason":"expired"}']);
    },
    { ring: "64KiB", eventRing: "128KiB", slowGrace: 10000 },
  ),
);

history("the option history needs the option events", () => {
  assert.throws(
    () => createTestServer({ history: true }),
    /history: true needs events: true, not false/,
  );
  const t = createTestServer({ history: true, events: true });
  return t.close();
});

history.run();
