// Behind nginx, Debian's: with the configurations of test/example/nginx, and with what people forget of them.

import { connect as connectTcp } from "node:net";
import { type Handler, type Options, serve } from "ringcast";
import { connect } from "ringcast/client";
import { fetch } from "undici";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { WebSocket } from "ws";
import { type Edit, Guest, statusOf } from "./neighbour";
import { behind as behindNginx } from "./nginx";
import { sleep, standstill, until } from "./peer";
import { portOf } from "../lib/port";

const nginx = suite("neighbours: nginx");

const handler: Handler = {
  request(req, res) {
    if (req.upgrade) return res.upgrade();
    if (req.path === "/large") return res.stream(200, "text/plain", large());
    return res.send(req.path === "/live" ? 426 : 200, "text/plain", req.remoteAddress);
  },
  open: (ws) => void ws.send(ws.remoteAddress),
};

const MIB = 1048576;
/** Bytes of the large answer, and those of it that were asked for. */
const LARGE = 64 * MIB;
let asked = 0;

function* large(): Generator<Uint8Array> {
  const piece = new Uint8Array(65536);
  for (asked = 0; asked < LARGE; asked += piece.length) yield piece;
}

/** Runs Ringcast with this handler behind nginx. */
function behind(
  kind: "http" | "stream",
  options: Parameters<typeof behindNginx>[1],
  body: Parameters<typeof behindNginx>[2],
): Promise<void> {
  return behindNginx(kind, { handler, ...options }, body);
}

const TRUST = { trustProxy: ["127.0.0.1"] };
/** Where clients come from: another address than nginx. */
const FROM = { localAddress: "127.0.0.2" };

nginx("upgrades, broadcasts and requests go through; clients have their own addresses", () =>
  behind("http", TRUST, async ({ port, server }) => {
    const guests = await Promise.all(
      Array.from({ length: 20 }, () =>
        Guest.open(`ws://127.0.0.1:${port}/`, {
          ...{ ...FROM, origin: `http://127.0.0.1:${port}` },
          headers: { "X-Forwarded-For": "6.6.6.6" },
        }),
      ),
    );
    await Promise.all(guests.map((guest) => guest.heard(1)));
    server.broadcast("hello");
    const long = "€".repeat(100000);
    server.broadcast(long);
    for (const guest of guests) assert.equal(await guest.heard(3), ["127.0.0.2", "hello", long]);
    const url = `http://127.0.0.1:${port}/`;
    const headers = { "X-Forwarded-For": "6.6.6.6" };
    for (let i = 0; i < 10; i++) {
      const answer = await fetch(url, { headers });
      assert.equal([answer.status, await answer.text()], [200, "6.6.6.6"], "nginx is 127.0.0.1");
    }
    const { accepted } = (await server.stats()) as unknown as { accepted: number };
    assert.ok(accepted < 27, `${accepted} connections: those of requests are kept`);
    assert.is(await statusOf(`ws://127.0.0.1:${port}/`, { origin: "http://evil.example" }), 403);
    const [first] = guests as [Guest];
    first.socket.close(4000, "mine");
    assert.is((await first.ended()).code, 4000);
    await until("19 are left", async () => (await server.count()) === 19);
    await server.shutdown();
    for (const guest of guests.slice(1)) assert.is((await guest.ended()).code, 1001);
    assert.is((await fetch(url)).status, 502);
  }),
);

nginx("each forgotten line of the configuration shows its fault", async () => {
  const live = (port: number): string => `ws://127.0.0.1:${port}/live`;
  const host: Edit = ["proxy_set_header Host $http_host;", ""];
  const upgrade: Edit = ["proxy_set_header Upgrade $http_upgrade;", ""];
  const version: Edit = ["proxy_http_version 1.1;", ""];
  await behind("http", { ...TRUST, edits: [host] }, async ({ port, server }) => {
    const origin = `http://127.0.0.1:${port}`;
    assert.is(await statusOf(live(port), { origin }), 403, "no Host");
    await until("its cause", async () => (await server.stats()).closed.OriginRefused === 1);
  });
  await behind("http", { ...TRUST, edits: [upgrade] }, async ({ port }) => {
    assert.is(await statusOf(live(port)), 400, "no Upgrade");
  });
  await behind("http", { ...TRUST, edits: [version] }, async ({ port }) => {
    assert.is(await statusOf(live(port)), 426, "HTTP/1.0");
  });
  await behind("http", {}, async ({ port }) => {
    const guest = await Guest.open(live(port), FROM);
    assert.equal(await guest.heard(1), ["127.0.0.1"], "without trustProxy: nginx's own");
    guest.leave();
  });
});

nginx("a client that reads slowly is waited for; with buffering nginx reads on", async () => {
  /** Returns the size of the response that nginx requests for a client that does not read. */
  const askedFor = async (port: number): Promise<number> => {
    const socket = connectTcp(port, "127.0.0.1").pause();
    socket.write("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    await until("a request", () => asked > 0);
    const all = await standstill("what is asked for", () => asked);
    socket.destroy();
    return all;
  };
  await behind("http", TRUST, async ({ port }) => {
    const bytes = await askedFor(port);
    assert.ok(bytes < LARGE / 2, `${bytes / MIB} MiB`);
  });
  asked = 0;
  const edits: Edit[] = [["proxy_buffering off;", ""]];
  await behind("http", { ...TRUST, edits }, async ({ port }) => {
    assert.is(await askedFor(port), LARGE);
  });
});

nginx("pings keep a silent WebSocket, when nginx waits longer than they take", async () => {
  const edits: Edit[] = [["proxy_read_timeout 180s;", "proxy_read_timeout 1s;"]];
  const silent = async (idleTimeout: number, isEnded: boolean): Promise<Guest["closed"]> => {
    let closed: Guest["closed"];
    await behind("http", { ...TRUST, edits, idleTimeout }, async ({ port, log }) => {
      const guest = await Guest.open(`ws://127.0.0.1:${port}/`);
      if (isEnded) await until("nginx ends it", () => guest.closed !== undefined);
      // More than twice the time after which nginx would end it.
      else await sleep(2200);
      closed = guest.closed;
      if (closed) assert.match(log(), /upstream timed out .* while proxying upgraded connection/);
      guest.leave();
    });
    return closed;
  };
  const [kept, ended] = await Promise.all([silent(1, false), silent(120, true)]);
  assert.is(kept, undefined);
  assert.is(ended?.code, 1006);
});

nginx("a client that does not read is evicted behind nginx, too; no other is affected", () => {
  const evicted: string[] = [];
  const options: Options = {
    ...{ ring: 262144, slowGrace: 50 },
    onEvict: (some) => evicted.push(...some.map((one) => `${one.remoteAddress} ${one.cause}`)),
  };
  return behind("http", { ...TRUST, ...options }, async ({ port, server }) => {
    const slow = await Guest.open(`ws://127.0.0.1:${port}/`, FROM);
    const others = await Promise.all(
      [1, 2, 3].map(() => Guest.open(`ws://127.0.0.1:${port}/`, { localAddress: "127.0.0.3" })),
    );
    slow.socket.pause();
    const message = "x".repeat(50000);
    let sent = 0;
    await until("it is evicted", async () => {
      for (let i = 0; i < 10; i++) {
        while (!server.broadcast(message)) await server.ready();
        sent++;
      }
      await Promise.all(others.map((guest) => guest.heard(sent + 1)));
      return evicted.length > 0;
    });
    assert.equal(evicted, ["127.0.0.2 WsClientTooSlow"]);
    slow.socket.resume();
    assert.is((await slow.ended()).code, 1006);
    for (const guest of others) guest.leave();
  });
});

nginx("a page's client comes back when Ringcast behind nginx does", () =>
  behind("http", TRUST, async ({ port, server: first }) => {
    const log: string[] = [];
    const connection = connect(`http://127.0.0.1:${port}/`, {
      ...{ WebSocket, delay: 20 },
      onMessage: (data) => log.push(String(data)),
      onLost: ({ code, attempt }) => void (attempt < 3 && log.push(`lost ${code}`)),
      onBack: ({ first }) => log.push(first ? "first" : "back"),
    });
    try {
      await until("its address", () => log.length === 2);
      await first.shutdown();
      await until("tries", () => log.length === 4);
      const again = await serve({ port: portOf(first), handler, ...TRUST });
      try {
        await until("it is back", () => log.length === 6);
        const own = ["127.0.0.1"];
        assert.equal(log, ["first", ...own, "lost 1001", "lost 1006", "back", ...own]);
      } finally {
        connection.close();
        await again.close();
      }
    } finally {
      connection.close();
    }
  }),
);

nginx("by the PROXY protocol nginx names the client", async () => {
  const PROXY = { proxyProtocol: ["127.0.0.1"] };
  await behind("stream", PROXY, async ({ port, server }) => {
    const origin = `http://127.0.0.1:${port}`;
    const guest = await Guest.open(`ws://127.0.0.1:${port}/`, { ...FROM, origin });
    await guest.heard(1);
    server.broadcast("hello");
    assert.equal(await guest.heard(2), ["127.0.0.2", "hello"]);
    guest.socket.close(1000);
    assert.is((await guest.ended()).code, 1000);
    const answer = await fetch(`${origin}/`, { headers: { "X-Forwarded-For": "6.6.6.6" } });
    assert.is(await answer.text(), "127.0.0.1");
  });
  await behind("stream", {}, async ({ port }) => {
    assert.is(await statusOf(`ws://127.0.0.1:${port}/`), 400, "Ringcast does not expect it");
  });
  await behind("http", PROXY, async ({ port, server }) => {
    assert.is(await statusOf(`ws://127.0.0.1:${port}/`), 502, "nginx does not say it");
    assert.ok(((await server.stats()).closed.BadProxyHeader ?? 0) >= 1);
  });
});

nginx.run();
