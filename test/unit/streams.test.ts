// Event streams in memory: their head, events, comments and ends, and the refusals after which an EventSource returns.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type FetchFunction, fetchHandler } from "../../host/fetch";
import type { Handler, WebSocket } from "../../host/handler";
import { type TestEvents, type TestOptions, createTestServer } from "../../host/testing";

const streams = suite("streams");

type Test = ReturnType<typeof createTestServer>;

/** Runs a server with event streams at /events. */
async function serving(
  body: (t: Test, sockets: WebSocket[], causes: string[]) => Promise<void>,
  own: Handler = {},
  options: TestOptions = {},
): Promise<void> {
  const sockets: WebSocket[] = [];
  const causes: string[] = [];
  const handler: Handler = {
    request: (_, res) => res.events(),
    open: (ws) => void sockets.push(ws),
    close: (_, { cause }) => void causes.push(cause),
    ...own,
  };
  const t = createTestServer({ handler, events: true, onError: () => undefined, ...options });
  await body(t, sockets, causes);
  await t.close();
}

const datasOf = ({ events }: TestEvents): string[] => events.map(({ data }) => data);

streams("an event stream has its head, a time to reconnect, and events with positions", () =>
  serving(async (t) => {
    const client = t.events("/events?a");
    await t.settle();
    assert.is(client.status, 200);
    assert.is(client.fields.get("content-type"), "text/event-stream");
    assert.is(client.fields.get("cache-control"), "no-store, no-transform");
    assert.is(client.fields.get("x-accel-buffering"), "no");
    assert.is(client.fields.get("connection"), "close");
    assert.not.ok(client.fields.has("transfer-encoding") || client.fields.has("content-length"));
    assert.ok(Number(client.retry) >= 1000 && Number(client.retry) <= 5000);
    t.server.publish("no subscribers", "lost");
    t.server.broadcast("one");
    await t.settle();
    const position = await t.server.position();
    assert.equal(client.events, [{ id: position, event: "message", data: "one" }]);
    assert.is((await t.server.stats()).eventStreams, 1);
    assert.is((await t.server.stats()).webSockets, 1);
  }),
);

streams("text is split into lines, bytes are base64, and nothing can be added to an event", () =>
  serving(
    async (t, sockets) => {
      const client = t.events();
      await t.settle();
      const texts = [
        "",
        "a",
        "a\nb",
        "a\rb",
        "a\r\nb",
        "\n",
        "\r\r",
        "x\n\nid: 9\nevent: evil\n\n",
        " a",
      ];
      const large = "line\n".repeat(300000);
      for (const text of [...texts, large]) t.server.broadcast(text);
      t.server.broadcast(Uint8Array.of(0, 10, 255, 13));
      for (const text of texts) sockets[0]?.send(text);
      sockets[0]?.send(Uint8Array.of(1, 2));
      await t.settle();
      const datas = texts.map((text) => text.replace(/\r\n?/g, "\n"));
      assert.equal(datasOf(client), [...datas, large, "AAr/DQ==", ...datas, "AQI="]);
      const published = client.events.slice(0, texts.length + 2);
      assert.ok(published.every(({ id, event }) => id && event === "message"));
      assert.ok(client.events.slice(published.length).every(({ id }) => id === undefined));
    },
    {},
    { ring: "4MiB" },
  ),
);

streams("messages larger than the scratch region are sent whole", () =>
  serving(async (t, sockets) => {
    const client = t.events();
    await t.settle();
    const text = "a long line\r\n".repeat(100000);
    const bytes = new Uint8Array(1200001).fill(7);
    assert.ok(sockets[0]?.send(text));
    await t.settle();
    assert.ok(sockets[0]?.send(bytes));
    await t.settle();
    assert.is(client.events[0]?.data, text.replaceAll("\r\n", "\n"));
    assert.is(client.events[1]?.data, Buffer.from(bytes).toString("base64"));
  }),
);

streams("a publication that does not fit into the ring of events is reported as a gap", () =>
  serving(
    async (t) => {
      const [client, ws] = [t.events(), t.connect("/ws")];
      await t.settle();
      const text = "\n".repeat(5000);
      assert.ok(t.server.broadcast(text) && t.server.broadcast("next"));
      await t.settle();
      assert.equal(
        client.events.map(({ event, data }) => [event, data]),
        [
          ["ringcast-gap", '{"reason":"large"}'],
          ["message", "next"],
        ],
      );
      assert.equal(ws.messages, [text, "next"]);
    },
    { request: (req, res) => (req.upgrade ? res.upgrade() : res.events()) },
    { ring: "16KiB" },
  ),
);

streams("topics are subscribed to before open is called", () =>
  serving(
    async (t, sockets) => {
      const client = t.events();
      await t.settle();
      const [ws] = sockets;
      assert.equal([ws?.kind, [...(ws?.subscriptions ?? [])].sort()], ["events", ["a", "b"]]);
      t.server.publish("a", "to a");
      t.server.publish("c", "to c");
      ws?.publish("b", "not to itself");
      assert.ok(ws?.subscribe("c") && ws.unsubscribe("a"));
      t.server.publish("c", "to c again");
      t.server.publish("a", "to nobody");
      await t.settle();
      assert.equal(datasOf(client), ["to a", "to c again"]);
      assert.not.ok(ws?.ping());
      ws?.pause();
      assert.ok(ws?.send("still"));
      client.end();
      await t.settle();
      assert.not.ok(ws?.open);
    },
    { request: (_, res) => res.events({ topics: ["a", "b"] }) },
  ),
);

streams("with names, an event has the name of the topic that it was published to", () =>
  serving(
    async (t, sockets) => {
      const client = t.events();
      const topics = ["a", "errors", "messages", " \u{1f98a}:", "x".repeat(200)];
      await t.settle();
      const [ws] = sockets;
      for (const topic of topics) ws?.subscribe(topic);
      for (const topic of topics) t.server.publish(topic, `to ${topic}`);
      ws?.send("alone");
      t.server.broadcast("to all");
      t.server.stage().text("staged").publish("a");
      t.server.publish("a", `${"long\n".repeat(300000)}end`);
      t.server.publish("a", "\n".repeat(700000));
      await t.settle();
      assert.equal(
        client.events.map(({ event, data }) => [event, data.slice(0, 20)]),
        [
          ...topics.map((topic) => [topic, `to ${topic}`.slice(0, 20)]),
          ["message", "alone"],
          ["message", "to all"],
          ["a", "staged"],
          ["a", "long\nlong\nlong\nlong\n"],
          ["ringcast-gap", '{"reason":"large"}'],
        ],
      );
    },
    {},
    { ring: "2MiB", events: { names: true } },
  ),
);

const NO_NAMES = ["error", "open", "message", "ringcast-gap", "ringcast-", "a\nb", "\r", "a\r\n"];

streams("with names, a topic that cannot name an event is refused where it is published to", () =>
  serving(
    async (t, sockets) => {
      t.events();
      await t.settle();
      const [ws] = sockets;
      for (const topic of NO_NAMES) {
        assert.ok(ws?.subscribe(topic), "only events have names");
        const stage = t.server.stage();
        const calls = [
          () => t.server.publish(topic, "x"),
          () => ws?.publish(topic, "x"),
          () => stage.publish(topic),
        ];
        for (const call of calls) assert.throws(call, /^topic: "(.+)" .*, so no event can have it/);
        stage.discard();
      }
      assert.throws(() => t.server.publish("", "x"), /^topic: "" is not of 1 to 200 bytes/);
    },
    {},
    { events: { names: true } },
  ),
);

streams("without names, any topic can be published to", () =>
  serving(
    async (t) => {
      const client = t.events();
      await t.settle();
      for (const topic of NO_NAMES) t.server.publish(topic, topic);
      await t.settle();
      assert.is(client.events.length, NO_NAMES.length);
      assert.ok(client.events.every(({ event }) => event === "message"));
    },
    { request: (_, res) => res.events({ topics: NO_NAMES }) },
    { events: { names: false } },
  ),
);

streams("close sends an event and ends the stream", () =>
  serving(async (t, sockets, causes) => {
    const client = t.events();
    await t.settle();
    t.server.broadcast("before");
    assert.ok(sockets[0]?.close(4001, 'a "quoted"\n\\ \u0001reason'));
    assert.not.ok(sockets[0]?.send("after"));
    t.server.broadcast("after");
    await t.settle();
    assert.equal(datasOf(client), [
      "before",
      '{"code":4001,"reason":"a \\"quoted\\"\\u000a\\\\ \\u0001reason"}',
    ]);
    assert.is(JSON.parse(client.events[1]?.data ?? "").reason, 'a "quoted"\n\\ \u0001reason');
    assert.is(client.events[1]?.event, "ringcast-close");
    assert.is(client.state, "closed");
    assert.equal(causes, ["Application"]);
  }),
);

streams("a silent stream gets comments, no pings, and has no idle timeout", () =>
  serving(
    async (t) => {
      const client = t.events();
      await t.settle();
      await t.clock.advance(14900);
      assert.is(client.comments, 0);
      t.server.broadcast("not silent");
      await t.clock.advance(14900);
      assert.is(client.comments, 0);
      await t.clock.advance(4200);
      assert.is(client.comments, 1);
      await t.clock.advance(600000);
      assert.ok(client.comments > 30 && client.comments < 42, `${client.comments}`);
      assert.equal(datasOf(client), ["not silent"]);
      assert.is(client.state, "open");
    },
    {},
    { idleTimeout: 10 },
  ),
);

streams("input is dropped, and the client's end is the end", () =>
  serving(async (t, _sockets, causes) => {
    const client = t.events();
    client.write("GET /pipelined HTTP/1.1\r\nHost: a\r\n\r\n");
    await t.settle();
    client.write(new Uint8Array(70000).fill(0x81));
    await t.settle();
    t.server.broadcast("hello");
    await t.settle();
    assert.equal(datasOf(client), ["hello"]);
    client.end();
    await t.settle();
    assert.equal(causes, ["PeerClosed"]);
    assert.is((await t.server.stats()).eventStreams, 0);
  }),
);

streams("a client that does not read is evicted, and the others are not affected", () =>
  serving(
    async (t, _sockets, causes) => {
      const [slow, quick] = [t.events("/", { socketBuffer: 1000 }), t.events()];
      await t.settle();
      slow.pause();
      for (let i = 0; i < 2000; i++) {
        while (!t.server.broadcast("x".repeat(100))) await t.server.ready();
        if (i % 50 === 0) await t.clock.advance(10);
      }
      await t.settle();
      assert.equal([slow.state, causes], ["reset", ["WsClientTooSlow"]]);
      assert.is(quick.events.length, 2000);
    },
    {},
    { ring: "64KiB" },
  ),
);

streams("HEAD gets the head alone", () =>
  serving(async (t) => {
    const answer = await t.fetch("/", { method: "HEAD" });
    assert.is(answer.status, 200);
    assert.is(answer.headers.get("content-type"), "text/event-stream");
    assert.is(answer.headers.get("connection"), "close");
    // The body of GET has neither, and the head to HEAD is that of GET (RFC 9110 9.3.2).
    assert.not.ok(answer.headers.has("transfer-encoding") || answer.headers.has("content-length"));
    assert.is((await t.server.stats()).eventStreams, 0);
  }),
);

/** Returns the status and the time to reconnect that a client of events gets. */
async function refusal(t: Test, headers: Record<string, string> = {}): Promise<TestEvents> {
  const client = t.events("/", { headers });
  await t.settle();
  return client;
}

streams("an EventSource that is refused gets 200 and a time, any other client the status", () =>
  serving(
    async (t) => {
      const origin = "https://app.example";
      const client = await refusal(t, { Origin: origin });
      assert.equal([client.status, client.state], [200, "closed"]);
      assert.ok(Number(client.retry) >= 1000 && Number(client.retry) <= 5000);
      assert.is(client.fields.get("access-control-allow-origin"), origin);
      assert.is(client.fields.get("vary"), "Origin");
      assert.is((await refusal(t, { Accept: "text/html" })).status, 500);
      assert.is((await t.server.stats()).closed.HandlerError, 2);
      assert.is((await t.server.stats()).handlerErrors, 2);
    },
    {
      request() {
        throw new Error("as asked");
      },
    },
  ),
);

streams("a full table of WebSockets is such a refusal; a handler's own status is none", () =>
  serving(
    async (t, _sockets, causes) => {
      const first = await refusal(t);
      const second = await refusal(t);
      assert.equal([first.state, second.status, second.state], ["open", 200, "closed"]);
      assert.ok(second.retry);
      assert.equal(causes, ["NoRoom"]);
      assert.is((await refusal(t, { Accept: "text/event-stream", "X-Own": "1" })).status, 503);
    },
    {
      request: (req, res) => (req.header("x-own") ? res.send(503) : res.events()),
    },
    { maxWebSockets: 1 },
  ),
);

streams("a refusal that will not change keeps its status", () =>
  serving(
    async (t) => {
      assert.is((await refusal(t, { Host: "other.example" })).status, 421);
      assert.is((await refusal(t, { Host: "a.example" })).status, 200);
    },
    {},
    { hosts: ["a.example"] },
  ),
);

streams("shutdown with drainMs closes streams one after the other, with 1012", () =>
  serving(async (t) => {
    const clients = Array.from({ length: 10 }, () => t.events());
    await t.settle();
    const ended = t.server.shutdown({ drainMs: 10000 });
    await t.clock.advance(5000);
    const open = clients.filter(({ state }) => state === "open").length;
    assert.ok(open > 2 && open < 8, `${open}`);
    await t.clock.advance(6000);
    await ended;
    for (const { events } of clients) {
      assert.is(events.length, 1);
      assert.is(JSON.parse(events[0]?.data ?? "").code, 1012);
    }
  }),
);

streams("a fetch function makes a Response that becomes an event stream", async () => {
  const plain: Response[] = [];
  const app: FetchFunction<{ name: string } | undefined> = async ({ url }, { events }) => {
    const { pathname } = new URL(url);
    const made = events({ data: { name: pathname }, topics: ["a"], headers: { "X-A": "b" } });
    if (pathname === "/copied") {
      // As frameworks do that add fields.
      return new Response(made.body, {
        status: made.status,
        headers: [...made.headers, ["X-C", "d"]],
      });
    }
    if (pathname === "/other") return new Response("no stream");
    plain.push(made);
    return made;
  };
  const opened: string[] = [];
  const handler = fetchHandler(app, {
    open(ws) {
      opened.push(`${ws.kind} ${ws.data?.name}`);
      ws.send("welcome");
    },
  });
  const t = createTestServer({ handler, events: true, onError: () => undefined });
  const [own, copied] = [t.events("/own"), t.events("/copied")];
  await t.settle();
  t.server.publish("a", "to a");
  await t.settle();
  for (const client of [own, copied]) {
    assert.equal(datasOf(client), ["welcome", "to a"]);
    assert.is(client.fields.get("content-type"), "text/event-stream");
    assert.equal(
      [client.fields.get("x-a"), client.fields.get("cache-control")],
      ["b", "no-store, no-transform"],
    );
  }
  assert.is(copied.fields.get("x-c"), "d");
  assert.equal(opened, ["events /own", "events /copied"]);
  assert.is(await (await t.fetch("/other")).text(), "no stream");
  const head = await t.fetch("/own", { method: "HEAD" });
  assert.equal([head.status, head.headers.has("transfer-encoding")], [200, false]);
  await t.close();
  // Without the option, and with wrong ones, it is an error.
  const errors: string[] = [];
  const wrong = fetchHandler((request, { events }) =>
    events(request.url.endsWith("/wrong") ? ({ topic: "a" } as never) : {}),
  );
  const other = createTestServer({
    handler: wrong,
    onError: ({ message }) => errors.push(message),
  });
  for (const path of ["/", "/wrong"]) assert.is((await other.fetch(path)).status, 500);
  assert.match(errors[0] ?? "", /use the option \{ events: true \}/);
  assert.match(errors[1] ?? "", /topic/);
  await other.close();
});

streams("without the option a handler's call fails, and wrong options are named", async () => {
  const thrown: string[] = [];
  const handler: Handler = {
    request(_, res) {
      const wrong: unknown[] = [5, { topic: "a" }, { topics: "a" }, { topics: [""] }, {}];
      for (const options of wrong) {
        try {
          res.events(options as never);
        } catch (error) {
          thrown.push((error as Error).message);
        }
      }
      res.send(200);
    },
  };
  const t = createTestServer({ handler });
  await t.fetch("/");
  assert.match(thrown[0] ?? "", /^events: 5 is not an object/);
  assert.match(thrown[1] ?? "", /topic/);
  assert.match(thrown[2] ?? "", /^topics: "a" is not a list/);
  assert.match(thrown[3] ?? "", /topic/);
  assert.match(thrown[4] ?? "", /use the option \{ events: true \}/);
  assert.is(thrown.length, 5);
  assert.throws(() => createTestServer({ eventRing: 5000 }), /eventRing/);
  const wrong = [
    [1, /^events: 1 is not a boolean, nor an object such as \{ names: true \}$/],
    [{ names: 1 }, /^events\.names: 1 is not a boolean$/],
    [{ name: true }, /^events\.name: /],
  ] as const;
  for (const [value, pattern] of wrong)
    assert.throws(() => createTestServer({ events: value as never }), pattern);
  assert.throws(() => t.events("/", { header: {} } as never), /header/);
  await t.close();
});

streams.run();
