// An application of Hono's by `ringcast/fetch`, where each thing an application does is tried once.

import { once } from "node:events";
import { type Server, serve } from "ringcast";
import { Client, FormData, fetch, request } from "undici";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Child } from "./child";
import { TEXT, Wire, WsWire, handlerOf, pattern, takeAnswer, until, within } from "./peer";
import { portOf } from "../lib/port";

const MIB = 1048576;

for (const place of ["worker", "application"] as const) {
  const hono = suite(`hono, ${place}`);

  const serving = (
    title: string,
    body: (origin: string, server: Server) => Promise<void>,
  ): void => {
    hono(title, async () => {
      const reported: string[] = [];
      const server = await serve({
        port: 0,
        handler: await handlerOf("hono", place),
        onError: ({ message }) => reported.push(message),
      });
      try {
        await body(`http://127.0.0.1:${server.address.port}`, server);
        assert.equal(reported, []);
      } finally {
        await within(server.close(), "close");
      }
    });
  };

  const noted = async (origin: string, what: string): Promise<void> => {
    await until(what, async () => {
      const log = (await (await fetch(`${origin}/log`)).json()) as string[];
      return log.includes(what);
    });
  };

  serving("routes, parameters, JSON, a middleware, 404", async (origin) => {
    const hello = await fetch(`${origin}/`);
    assert.equal([hello.status, await hello.text()], [200, "hello\n"]);
    assert.is(hello.headers.get("x-served-by"), "hono");
    assert.is(hello.headers.get("content-length"), "6");
    const user = await fetch(`${origin}/users/ada%20l?tag=a&tag=b`);
    assert.equal(await user.json(), { name: "ada l", tags: ["a", "b"] });
    const made = await fetch(`${origin}/users`, { method: "POST", body: '{"name":"€"}' });
    assert.equal([made.status, await made.json()], [201, { name: "€" }]);
    assert.is((await fetch(`${origin}/nowhere`)).status, 404);
    const head = await fetch(`${origin}/`, { method: "HEAD" });
    assert.equal([head.status, head.headers.get("x-served-by")], [200, "hono"]);
  });

  serving("a thrown error is the application's to answer", async (origin) => {
    const failed = await fetch(`${origin}/fails`);
    assert.equal([failed.status, await failed.text()], [500, "sorry: as asked"]);
  });

  serving("forms with files", async (origin) => {
    const body = new FormData();
    body.set("title", "a title");
    body.set("file", new Blob([new Uint8Array(pattern(200000))]), "a.bin");
    const answer = await fetch(`${origin}/form`, { method: "POST", body });
    assert.equal(await answer.json(), { title: "a title", name: "a.bin", size: 200000 });
  });

  serving("cookies, both ways", async (origin) => {
    const login = await fetch(`${origin}/login`, { redirect: "manual" });
    assert.is(login.status, 303);
    assert.equal(login.headers.getSetCookie(), [
      "user=ada; Path=/; HttpOnly",
      "theme=dark; Path=/",
    ]);
    const me = await fetch(`${origin}/me`, { headers: { Cookie: "theme=dark; user=ada" } });
    assert.is(await me.text(), "ada");
  });

  serving("events come as they are sent, and stop when their client leaves", async (origin) => {
    const short = await fetch(`${origin}/events?count=2`);
    assert.is(short.headers.get("content-type"), "text/event-stream");
    const text = [0, 1, 2].map((id) => `data: tick ${id}\nid: ${id}\n\n`).join("");
    assert.is(await short.text(), text);
    const { body } = await request(`${origin}/events`);
    const [first] = (await once(body, "data")) as [Buffer];
    assert.match(first.toString(), /^data: tick 0\n/);
    body.on("error", () => undefined);
    body.destroy();
    await noted(origin, "events aborted");
  });

  serving("a client that leaves aborts the work for it", async (origin) => {
    const client = new Client(origin);
    const controller = new AbortController();
    const { signal } = controller;
    const answer = client.request({ path: "/slow", method: "GET", signal }).catch(() => "left");
    await noted(origin, "slow");
    controller.abort();
    assert.is(await answer, "left");
    await noted(origin, "slow aborted");
    await client.close();
  });

  serving("WebSockets beside it", async (_, server) => {
    const port = portOf(server);
    const cookie = "Cookie: user=ada\r\n";
    const here = await WsWire.open(port, "/chat/a", undefined, cookie);
    const there = await WsWire.open(port, "/chat/a", undefined, "Cookie: user=bob\r\n");
    const elsewhere = await WsWire.open(port, "/chat/b", undefined, cookie);
    assert.equal(await Promise.all([here, there, elsewhere].map((ws) => ws.text())), [
      "welcome ada",
      "welcome bob",
      "welcome ada",
    ]);
    here.send(TEXT, "hello");
    assert.is(await there.text(), "ada: hello");
    there.send(TEXT, "hi");
    assert.is(await here.text(), "bob: hi");
    assert.is(elsewhere.frames.length, 0);
    for (const ws of [here, there, elsewhere]) ws.destroy();
    await WsWire.open(port, "/chat/a").then(
      () => assert.unreachable(),
      (error) => assert.match(error.message, /HTTP\/1\.1 401 /),
    );
    const wire = await Wire.open(port);
    const { status } = await takeAnswer(
      wire.write(`GET /chat/a HTTP/1.1\r\nHost: a\r\n${cookie}\r\n`),
    );
    assert.is(status, 400);
    wire.destroy();
  });

  hono.run();
}

const uploads = suite("hono, large bodies");

/** Yields 100 MiB in pieces. */
function* large(): Generator<Buffer> {
  const piece = pattern(65536);
  for (let i = 0; i < 1600; i++) yield piece;
}

uploads("100 MiB come, and go back, in bounded memory", async () => {
  const server = new Child("hono");
  try {
    const { port } = await server.next<{ port: number }>(20000);
    const client = new Client(`http://127.0.0.1:${port}`);
    const memory = async (): Promise<number> => {
      server.tell("memory");
      return (await server.next<{ peak: number }>(20000)).peak;
    };
    // Warm: a first upload makes what stays.
    await client
      .request({ path: "/upload", method: "POST", body: pattern(4 * MIB) })
      .then(({ body }) => body.dump());
    const before = await memory();
    const post = { method: "POST", body: large() as never } as const;
    const counted = await client.request({ ...post, path: "/upload" });
    const { length } = (await counted.body.json()) as { length: number };
    assert.is(length, 100 * MIB);
    const back = await client.request({ ...post, path: "/back", body: large() as never });
    let received = 0;
    for await (const piece of back.body) received += piece.length;
    assert.is(received, 100 * MIB);
    const grown = (await memory()) - before;
    assert.ok(grown < 64 * MIB, `${(grown / MIB).toFixed(0)} MiB more`);
    await client.close();
  } finally {
    server.end();
  }
});

uploads.run();
