// Beside Express and Fastify, and in front: of Hono's application, and of another web server.

import type { IncomingMessage } from "node:http";
import { fetch } from "undici";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { withBrowser } from "../lib/browser";
import { Guest, freePort, runningNode, statusOf } from "./neighbour";
import { until } from "./peer";
import { withWebServer } from "./web";

const web = suite("neighbours: web servers");

type Sent = Awaited<ReturnType<typeof fetch>>;

/** Publishes until a client has subscribed, which a handler's `open` does just after the handshake; then once more. */
async function published(send: () => Promise<Sent>): Promise<void> {
  const listeners = async (): Promise<number> => {
    const answer = await send();
    assert.is(answer.status, 202);
    return ((await answer.json()) as { listeners: number }).listeners;
  };
  await until("a subscriber", async () => (await listeners()) === 1);
  assert.is(await listeners(), 1);
}

const json = { "Content-Type": "application/json" };
const post = (url: string, body: string, headers = {}) =>
  fetch(url, { method: "POST", body, headers });

web("Express keeps its port and routes, and reaches all clients through Ringcast", async () => {
  const [PORT, STREAM_PORT] = [await freePort(), await freePort()];
  await runningNode("express/express.js", { PORT, STREAM_PORT }, async (program) => {
    const news = (text: string) =>
      post(`http://localhost:${PORT}/news`, JSON.stringify({ text }), json);
    const stream = `ws://127.0.0.1:${STREAM_PORT}/`;
    assert.is((await news("early")).status, 202);
    const guest = await Guest.open(stream, { origin: `http://localhost:${PORT}` });
    assert.is((await news("later")).status, 202);
    assert.equal(await guest.heard(2), ['{"text":"early"}', '{"text":"later"}']);
    assert.is(await statusOf(stream, { origin: `http://localhost:${STREAM_PORT + 1}` }), 403);
    assert.is(
      (await post(`http://localhost:${PORT}/news`, "{", json)).status,
      400,
      "Express's own",
    );
    assert.is((await fetch(`http://127.0.0.1:${STREAM_PORT}/`)).status, 426);
    await withBrowser(async (browser) => {
      const page = await browser.open(`http://localhost:${PORT}/`);
      await page.getByText("later").waitFor();
      await news("latest");
      await page.getByText("latest").waitFor();
      assert.equal(await page.locator("li").allTextContents(), ["early", "later", "latest"]);
    });
    assert.is(await program.end(), 0);
    assert.is((await guest.ended()).code, 1001);
  });
});

web("Fastify has it as a plugin, which ends with the application", async () => {
  const [PORT, STREAM_PORT] = [await freePort(), await freePort()];
  await runningNode("fastify/fastify.js", { PORT, STREAM_PORT }, async (program) => {
    const put = (price: unknown) =>
      fetch(`http://localhost:${PORT}/price`, {
        method: "PUT",
        body: JSON.stringify({ price }),
        headers: json,
      });
    const guest = await Guest.open(`ws://127.0.0.1:${STREAM_PORT}/`);
    await published(() => put(12.5));
    assert.is((await guest.heard(1))[0], '{"price":12.5}');
    assert.is((await put("dear")).status, 400, "Fastify's own");
    assert.match(await (await fetch(`http://localhost:${PORT}/`)).text(), `:${STREAM_PORT}/`);
    assert.match(await (await fetch(`http://localhost:${PORT}/client.js`)).text(), "connect");
    assert.is(await program.end(), 0);
    assert.is((await guest.ended()).code, 1001);
  });
});

web("in front with Hono: routes and WebSockets at one port", async () => {
  const PORT = await freePort();
  await runningNode("hono/hono.js", { PORT }, async (program) => {
    const origin = `http://127.0.0.1:${PORT}`;
    const lobby = `ws://127.0.0.1:${PORT}/rooms/lobby`;
    const guest = await Guest.open(lobby, { origin });
    const elsewhere = await Guest.open(`ws://127.0.0.1:${PORT}/rooms/attic`);
    await published(() => post(`${origin}/rooms/lobby`, "hello"));
    assert.is((await guest.heard(1))[0], "hello");
    assert.equal(elsewhere.messages, []);
    assert.is(await statusOf(lobby, { origin: "http://evil.example" }), 403);
    assert.is((await fetch(`${origin}/rooms/lobby`)).status, 400, "no opening handshake");
    assert.match(await (await fetch(`${origin}/`)).text(), "<title>Lobby</title>");
    assert.match(await (await fetch(`${origin}/client.js`)).text(), "connect");
    assert.is(await program.end(), 0);
    assert.is((await guest.ended()).code, 1001);
  });
});

/** Runs an existing web server, which returns the requests it received. */
function withUpstream(body: (origin: string) => Promise<void>): Promise<void> {
  const said = async (req: IncomingMessage): Promise<string> => {
    let text = "";
    for await (const bytes of req) text += bytes;
    const { method, url, headers } = req;
    return JSON.stringify({ method, url, for: headers["x-forwarded-for"], text });
  };
  return withWebServer(async (req, res) => {
    if (req.url === "/old") res.writeHead(301, { Location: "/new" }).end();
    else res.writeHead(200, { ...json, "Set-Cookie": ["a=1", "b=2"] }).end(await said(req));
  }, body);
}

web("in front of a web server that stays as it is", () =>
  withUpstream(async (UPSTREAM) => {
    const PORT = await freePort();
    await runningNode("front/front.js", { PORT, UPSTREAM, SECRET: "s3cret" }, async (program) => {
      const origin = `http://127.0.0.1:${PORT}`;
      const large = "x".repeat(300000);
      const answer = await post(`${origin}/a/b?c=d`, large, { "X-Forwarded-For": "6.6.6.6" });
      assert.equal(await answer.json(), {
        ...{ method: "POST", url: "/a/b?c=d", for: "127.0.0.1", text: large },
      });
      assert.equal(answer.headers.getSetCookie(), ["a=1", "b=2"]);
      const moved = await fetch(`${origin}/old`, { redirect: "manual" });
      assert.equal([moved.status, moved.headers.get("location")], [301, "/new"]);
      const guest = await Guest.open(`ws://127.0.0.1:${PORT}/live`, { origin });
      const authorization = { Authorization: "Bearer s3cret" };
      assert.is((await post(`${origin}/broadcast`, "hello", authorization)).status, 202);
      assert.is((await post(`${origin}/broadcast`, "evil")).status, 403);
      assert.equal(await guest.heard(1), ["hello"]);
      assert.is(await program.end(), 0);
    });
    await runningNode("front/front.js", { PORT, UPSTREAM: "http://127.0.0.1:9" }, async () => {
      assert.is((await fetch(`http://127.0.0.1:${PORT}/`)).status, 502);
    });
  }),
);

web.run();
