// `ringcast/client` and real servers: restarts on the same port, by WebSockets of packages and of Chromium.

import { readFile } from "node:fs/promises";
import { type Handler, type Options, type Server, serve } from "ringcast";
import { type ConnectOptions, type Lost, connect } from "ringcast/client";
import { WebSocket as UndiciSocket } from "undici";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { WebSocket as WsSocket, WebSocketServer } from "ws";
import { withBrowser } from "../lib/browser";
import { sleep, until, within } from "./peer";
import { portOf } from "../lib/port";

const client = suite("client");

const PAGE = `<!doctype html><link rel="icon" href="data:,"><script type="module">
  import { connect } from "/client.js";
  const log = (globalThis.log = []);
  globalThis.connection = connect("/live", {
    delay: 100,
    subscriptions: ["join a"],
    onMessage: (data) => log.push(typeof data === "string" ? data : data.byteLength),
    onLost: ({ code, attempt }) => log.push(\`lost \${code} \${attempt}\`),
    onBack: ({ first }) => log.push(first ? "first" : "back"),
  });
</script>`;

const script = await readFile("dist/client.js", "utf8");

const handler: Handler = {
  request(req, res) {
    if (req.upgrade) return res.upgrade();
    if (req.path === "/client.js") return res.send(200, "text/javascript", script);
    return res.send(200, "text/html", PAGE);
  },
  message(ws, data) {
    const [order, topic = ""] = String(data).split(" ");
    if (order === "join") ws.subscribe(topic);
    else ws.send(data);
  },
};

/** Starts a server at a port that another one used a moment ago. */
function serveAt(port: number, options: Options = {}): Promise<Server> {
  return within(serve({ port, handler, ...options }), "serve");
}

const URL_OF = (port: number): string => `ws://127.0.0.1:${port}/`;

for (const [name, WebSocket] of [
  ["ws", WsSocket],
  ["undici", UndiciSocket],
] as const) {
  client(`by the WebSocket of ${name} it survives a shutdown and a crash`, async () => {
    let server = await serveAt(0);
    const port = portOf(server);
    const log: string[] = [];
    const losses: Lost[] = [];
    const connection = connect(URL_OF(port), {
      WebSocket,
      delay: 50,
      subscriptions: ["join a", "join b"],
      onMessage: (data) => log.push(typeof data === "string" ? data : `${data.byteLength} bytes`),
      onLost: (lost) => losses.push(lost),
      onBack: ({ first }) => log.push(first ? "first" : "back"),
    });
    try {
      const heard = (text: string): Promise<void> => until(text, () => log.at(-1) === text);
      const subscribed = (topic: string): Promise<void> =>
        until(topic, async () => (await server.subscriberCount(topic)) === 1);
      await subscribed("b");
      server.publish("a", "one");
      await heard("one");
      await server.shutdown();
      // The server is done when its bytes are written: this thread may read them later.
      await until("tries", () => losses.length >= 3);
      assert.is(losses[0]?.code, 1001);
      assert.ok(losses.slice(1).every(({ code }) => code === 1006));
      assert.is(connection.send("lost"), false);
      connection.unsubscribe("join a");
      server = await serveAt(port);
      await subscribed("b");
      assert.is(await server.subscriberCount("a"), 0);
      server.publish("b", new Uint8Array(300));
      await heard("300 bytes");
      await server.close();
      server = await serveAt(port);
      await subscribed("b");
      assert.is(connection.send("hello"), true);
      await heard("hello");
      assert.equal(log, ["first", "one", "back", "300 bytes", "back", "hello"]);
      connection.close(1000, "done");
      await until("gone", async () => (await server.count()) === 0);
      // It must not connect again.
      await sleep(100);
      assert.is(await server.count(), 0);
    } finally {
      connection.close();
      await server.close();
    }
  });
}

client("a code of the application's ends it, a refused upgrade does not", async () => {
  const server = await serveAt(0, {
    handler: {
      request: (req, res) => (req.path === "/" ? res.upgrade() : res.send(403)),
      open: (ws) => ws.close(4003, "banned"),
    },
  });
  const losses: Lost[] = [];
  const options: ConnectOptions = {
    WebSocket: WsSocket,
    delay: 1,
    onLost: (lost) => losses.push(lost),
  };
  const refused = connect(`${URL_OF(portOf(server))}refused`, options);
  try {
    await until("tries", () => losses.length >= 3);
    refused.close();
    losses.length = 0;
    connect(URL_OF(portOf(server)), options);
    await until("its end", () => losses.length > 0);
    assert.equal(losses, [{ code: 4003, reason: "banned", attempt: 1, delay: undefined }]);
  } finally {
    refused.close();
    await server.close();
  }
});

client("it works with any server: here one of ws", async () => {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  server.on("connection", (ws) => {
    ws.on("message", (data, isBinary) => ws.send(data, { binary: isBinary }));
  });
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as { port: number };
  const log: unknown[] = [];
  const connection = connect(URL_OF(port), {
    WebSocket: WsSocket,
    delay: 10,
    subscriptions: ["hello"],
    onMessage: (data) => log.push(data),
  });
  try {
    await until("an echo", () => log.length === 1);
    for (const ws of server.clients) ws.terminate();
    await until("another", () => log.length === 2);
    assert.equal(log, ["hello", "hello"]);
  } finally {
    connection.close();
    server.close();
  }
});

client("200 clients that a restart sends away are all back", async () => {
  let server = await serveAt(0);
  const port = portOf(server);
  let heard = 0;
  const all = Array.from({ length: 200 }, () =>
    connect(URL_OF(port), { WebSocket: WsSocket, delay: 200, onMessage: () => heard++ }),
  );
  try {
    for (let round = 1; round <= 2; round++) {
      await until("all are here", async () => (await server.count()) === 200);
      await until("all are open", () => all.every(({ isOpen }) => isOpen));
      server.broadcast("now");
      await until("all have heard", () => heard === 200 * round);
      if (round === 2) break;
      await server.shutdown({ drainMs: 200 });
      server = await serveAt(port);
    }
  } finally {
    for (const connection of all) connection.close();
    await server.close();
  }
});

client("in Chromium a page loses its server, and gets it back", async () => {
  let server = await serveAt(0);
  const port = portOf(server);
  try {
    await withBrowser(async (browser) => {
      const page = await browser.open(`http://127.0.0.1:${port}/`, /WebSocket connection to/);
      const log = (): Promise<string[]> => page.evaluate("log") as Promise<string[]>;
      const heard = (text: string): Promise<void> =>
        until(text, async () => (await log()).at(-1) === text);
      const joined = (): Promise<void> =>
        until("join", async () => (await server.subscriberCount("a")) === 1);
      await joined();
      server.publish("a", "one");
      await heard("one");
      await server.shutdown();
      await until("lost", async () => (await log()).some((line) => line.startsWith("lost 1006")));
      server = await serveAt(port);
      await joined();
      server.publish("a", "two");
      await heard("two");
      const all = await log();
      assert.equal(all.slice(0, 3), ["first", "one", "lost 1001 1"]);
      assert.equal(all.slice(-2), ["back", "two"]);
      await page.evaluate("connection.close()");
      await until("gone", async () => (await server.count()) === 0);
    });
  } finally {
    await server.close();
  }
});

client.run();
