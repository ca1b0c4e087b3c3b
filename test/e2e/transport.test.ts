// Other transports: TLS (its writes never complete on return) and Unix sockets.

import { once } from "node:events";
import * as http from "node:http";
import * as https from "node:https";
import * as os from "node:os";
import * as path from "node:path";
import * as nodeTls from "node:tls";
import { type Eviction, serve } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { WebSocket } from "ws";
import { handshake } from "../lib/handshake";
import { CERTIFICATE as tls, fileUrl, serving, until } from "./peer";

const transport = suite("transport");
const handler = fileUrl("handlers/echo.mjs");

async function post(request: http.ClientRequest, body: string): Promise<string> {
  request.end(body);
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  let text = "";
  for await (const bytes of response) text += bytes;
  return `${response.statusCode} ${text}`;
}

transport("https answers bodies of every size, on one connection", () =>
  serving("echo", { tls }, async (server) => {
    const agent = new https.Agent({ keepAlive: true, maxSockets: 1, ca: tls.cert });
    for (const size of [0, 1, 1000, 65536, 65537, 1000000]) {
      const body = "t".repeat(size);
      const options = { port: server.address.port, host: "127.0.0.1", method: "POST", agent };
      assert.ok((await post(https.request(options), body)) === `200 ${body}`, `${size} bytes`);
    }
    assert.is((await server.stats()).accepted, 1);
    agent.destroy();
  }),
);

for (const [name, options] of [
  ["TCP", {}],
  ["TLS", { tls }],
] as const) {
  transport(`an answer that closes, and whose client then ends in order, ends as Ok: ${name}`, () =>
    serving("echo", options, async (server) => {
      const { request } = name === "TLS" ? https : http;
      for (let i = 0; i < 20; i++) {
        const to = { port: server.address.port, host: "127.0.0.1", method: "POST", ca: tls.cert };
        assert.is(await post(request({ ...to, agent: false }), "x"), "200 x");
      }
      await until("ends", async () => (await server.stats()).connections === 0);
      assert.equal((await server.stats()).closed, { Ok: 20 });
    }),
  );
}

transport("wss echoes, receives broadcasts in order, and closes", () =>
  serving("echo", { tls, ring: 1 << 20 }, async (server) => {
    const socket = new WebSocket(`wss://127.0.0.1:${server.address.port}/`, { ca: tls.cert });
    await once(socket, "open");
    for (const size of [0, 125, 65536, 3000000]) {
      const bytes = Buffer.alloc(size, size & 255);
      socket.send(bytes);
      const [echo] = (await once(socket, "message")) as [Buffer];
      assert.ok(bytes.equals(echo), `${size} bytes`);
    }
    let next = 0;
    const all = new Promise<void>((resolve) => {
      socket.on("message", (data) => {
        const text = String(data);
        assert.is(Number(text.slice(0, text.indexOf(" "))), next);
        next++;
        if (next === 3000) resolve();
      });
    });
    for (let i = 0; i < 3000; i++) {
      while (!server.broadcast(`${i} ${"w".repeat((i * 13) % 4000)}`)) await server.ready();
    }
    await all;
    const closed = once(socket, "close");
    await server.shutdown();
    assert.is((await closed)[0], 1001);
  }),
);

transport("a stalled reader over TLS is evicted", () => {
  let resolveEvicted: (evictions: readonly Eviction[]) => void = () => undefined;
  const evicted = new Promise<readonly Eviction[]>((resolve) => {
    resolveEvicted = resolve;
  });
  return serving(
    "echo",
    { tls, ring: 1 << 18, onEvict: (list) => resolveEvicted(list) },
    async (server) => {
      const socket = nodeTls.connect({
        port: server.address.port,
        host: "127.0.0.1",
        ca: tls.cert,
      });
      await once(socket, "secureConnect");
      socket.on("error", () => undefined);
      socket.write(handshake());
      await once(socket, "readable");
      const message = "x".repeat(50000);
      let evictions: readonly Eviction[] | undefined;
      void evicted.then((list) => {
        evictions = list;
      });
      while (!evictions) {
        if (!server.broadcast(message)) await server.ready();
        await new Promise((resolve) => setImmediate(resolve));
      }
      assert.is(evictions[0]?.cause, "WsClientTooSlow");
      socket.destroy();
    },
  );
});

transport("garbage instead of a TLS handshake affects no other client", () =>
  serving("echo", { tls }, async (server) => {
    const origin = { port: server.address.port, host: "127.0.0.1" };
    const plain = http.request({ ...origin, method: "POST" });
    plain.on("error", () => undefined);
    plain.end("x");
    await new Promise((resolve) => plain.once("close", resolve));
    const options = { ...origin, method: "POST", ca: tls.cert, agent: false as const };
    assert.is(await post(https.request(options), "still here"), "200 still here");
  }),
);

transport("a key that is none is refused before anything starts", async () => {
  for (const bad of [{}, { key: "x" }, { key: "x", cert: "y" }]) {
    const error = await serve({ tls: bad }).then(
      () => undefined,
      (thrown: Error) => thrown,
    );
    assert.instance(error, TypeError);
    assert.match(error?.message ?? "", /^tls(?:\.cert)?: /);
  }
});

transport("a Unix socket serves, and a second server on it is refused", () => {
  const socketPath = path.join(os.tmpdir(), `ringcast-${process.pid}.sock`);
  return serving("echo", { path: socketPath }, async (server) => {
    assert.equal(server.address, { hostname: "", port: undefined, path: socketPath });
    assert.is(await post(http.request({ socketPath, method: "POST" }), "unix"), "200 unix");
    const error = await serve({ path: socketPath, handler }).then(
      () => undefined,
      (thrown: Error) => thrown,
    );
    assert.match(error?.message ?? "", /EADDRINUSE/);
  });
});

transport.run();
