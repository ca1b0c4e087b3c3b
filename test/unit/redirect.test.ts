// Redirects from a listener without TLS: the URL that each request is redirected to, requests that are not, and what no
// request can make of the response.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Options } from "../../host/options/types";
import { fieldOf } from "../../host/testing/answer";
import { type TestServer, createTestServer } from "../../host/testing";
import { Listeners } from "../../worker/control/listeners";
import { settle } from "../../host/options/settle";
import { VirtualClock } from "../../worker/net/memory";
import type { ListenOptions, Listener } from "../../worker/net/transport";
import { Pump } from "../../worker/pump/pump";
import { handshake } from "../lib/handshake";
import { testEngine } from "../lib/wasm";

const redirect = suite("redirect");

const tls = { key: "k", cert: "c" };

interface Scene {
  readonly t: TestServer;
  /** The requests that reached the handler. */
  readonly asked: string[];
}

function server(options: Options = {}, port = 8443): Scene {
  const asked: string[] = [];
  const t = createTestServer({
    ...(options as object),
    onError: () => undefined,
    listen: [{ redirect: "https" }, { port, tls }],
    handler: {
      request: (req, res) => {
        asked.push(`${req.method} ${req.path}`);
        return res.send(200, "text/plain", "handled");
      },
    },
  });
  return { t, asked };
}

/** Returns status and Location of the response to bytes on a connection of their own. */
async function answer(t: TestServer, bytes: string, split?: 1): Promise<[number, string]> {
  const socket = t.socket();
  socket.write(Buffer.from(bytes, "latin1"), split ? { split } : {});
  await t.settle();
  const [first, ...more] = socket.answers();
  assert.equal(more, [], bytes);
  assert.ok(first, bytes);
  socket.reset();
  return [first.status, fieldOf(first, "location") ?? ""];
}

const get = (target: string, host = "a.example", method = "GET"): string =>
  `${method} ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

/** Requests, and the URL at port 443 that each is redirected to. */
const URLS: readonly (readonly [request: string, location: string])[] = [
  [get("/"), "https://a.example/"],
  [get("/a/b?c=d&e"), "https://a.example/a/b?c=d&e"],
  [get("/?"), "https://a.example/?"],
  [get("/", "A.Example:80"), "https://a.example/"],
  [get("/", "a.example:8080"), "https://a.example/"],
  [get("/", "a.example."), "https://a.example/"],
  [get("/", "127.0.0.1:80"), "https://127.0.0.1/"],
  [get("/", "[::1]:80"), "https://[::1]/"],
  [get("/x", "a.example", "POST"), "https://a.example/x"],
  [get("/x", "a.example", "HEAD"), "https://a.example/x"],
  [get("/x", "a.example", "DELETE"), "https://a.example/x"],
  [get("*", "a.example", "OPTIONS"), "https://a.example/"],
  // The host of an absolute target replaces the field (RFC 9112 3.2.2).
  [get("http://b.example/x?y"), "https://b.example/x?y"],
  [get("http://b.example:80?y"), "https://b.example/?y"],
  [get("http://b.example"), "https://b.example/"],
  ["GET /old HTTP/1.0\r\nHost: a.example\r\n\r\n", "https://a.example/old"],
  // Nothing in the target is another host.
  [get("//evil.example/x"), "https://a.example//evil.example/x"],
  [get("/\\evil.example"), "https://a.example/\\evil.example"],
  [get("/.evil.example"), "https://a.example/.evil.example"],
  [get("/@evil.example"), "https://a.example/@evil.example"],
  [get("/%0d%0aSet-Cookie:%20a=b"), "https://a.example/%0d%0aSet-Cookie:%20a=b"],
  // Challenges have one more segment, as it is written.
  [get("/.well-known/acme-challenge"), "https://a.example/.well-known/acme-challenge"],
  [get("/.well-known/acme-challenge/.."), "https://a.example/.well-known/acme-challenge/.."],
  [get("/.well-known/acme-challenge/../x"), "https://a.example/.well-known/acme-challenge/../x"],
  [get("/.well-known/acme-challenge/a/b"), "https://a.example/.well-known/acme-challenge/a/b"],
  [
    get("/.well-known/acme-challenge/%2e%2e"),
    "https://a.example/.well-known/acme-challenge/%2e%2e",
  ],
  [get("/x/.well-known/acme-challenge/a"), "https://a.example/x/.well-known/acme-challenge/a"],
  [handshake("/chat"), "https://a/chat"],
  [handshake("/.well-known/acme-challenge/a"), "https://a/.well-known/acme-challenge/a"],
];

redirect("each request is redirected to its own URL over TLS", async () => {
  for (const split of [undefined, 1] as const) {
    const { t, asked } = server({}, 443);
    for (const [bytes, location] of URLS)
      assert.equal(await answer(t, bytes, split), [308, location], bytes);
    assert.equal(asked, []);
    await t.close();
  }
});

redirect("another port than 443 is part of the URL", async () => {
  const { t } = server();
  assert.equal(await answer(t, get("/x", "a.example:80")), [308, "https://a.example:8443/x"]);
  assert.equal(await answer(t, get("/x", "[::1]")), [308, "https://[::1]:8443/x"]);
  await t.close();
});

redirect("challenges of an ACME server reach the handler", async () => {
  const { t, asked } = server();
  for (const token of ["LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0", "a-b_c", "test.txt", ""])
    assert.equal(await answer(t, get(`/.well-known/acme-challenge/${token}`)), [200, ""]);
  assert.is(asked.length, 4);
  await t.close();
});

/** Requests that name no host that a URL can have, and the status of the response. */
const NO_HOSTS: readonly (readonly [request: string, status: number])[] = [
  ["GET / HTTP/1.0\r\n\r\n", 400],
  ["GET / HTTP/1.1\r\n\r\n", 400],
  [get("/", ""), 400],
  [get("/", "a.example@evil.example"), 400],
  [get("/", "a.example/evil"), 400],
  [get("/", "a.example?x"), 400],
  [get("/", "a.example#x"), 400],
  [get("/", "a.example\\evil"), 400],
  [get("/", "a..example"), 400],
  [get("/", "a%2eexample"), 400],
  [get("/", "a.example, b.example"), 400],
  [get("/", "a.example:80:80"), 400],
  [get("/", "a.example:99999"), 400],
  [get("/", "[::1"), 400],
  [get("/", '"a"'), 400],
  [get("/", "\xe9.example"), 400],
  [get("http://user@evil.example/"), 400],
  [get("http://a.example:80@evil.example/"), 400],
];

redirect("a request without a valid host is not redirected", async () => {
  const { t, asked } = server();
  for (const [bytes, status] of NO_HOSTS) assert.equal(await answer(t, bytes), [status, ""], bytes);
  assert.equal(asked, []);
  await t.close();
});

redirect("no octet of a target ends the field", async () => {
  const { t } = server({}, 443);
  for (let octet = 0; octet < 256; octet++) {
    const bytes = get(`/a${String.fromCharCode(octet)}b`);
    const [status, location] = await answer(t, bytes);
    if (status === 400) continue;
    assert.is(status, 308, `${octet}`);
    assert.match(location, /^https:\/\/a\.example\/a[!-~]*b$/, `${octet}`);
  }
  await t.close();
});

redirect("hosts apply before the redirect", async () => {
  const { t } = server({ hosts: ["a.example", "*.b.example"] });
  assert.equal(await answer(t, get("/")), [308, "https://a.example:8443/"]);
  assert.equal(await answer(t, get("/", "x.b.example")), [308, "https://x.b.example:8443/"]);
  for (const bytes of [
    get("/", "evil.example"),
    get("http://evil.example/"),
    get("/.well-known/acme-challenge/a", "evil.example"),
    "GET / HTTP/1.0\r\n\r\n",
  ])
    assert.equal(await answer(t, bytes), [421, ""], bytes);
  await t.close();
});

redirect("metrics and other origins are behind the redirect, as the handler is", async () => {
  const { t } = server({ metrics: { addresses: true } });
  assert.equal(await answer(t, get("/metrics")), [308, "https://a.example:8443/metrics"]);
  const foreign = handshake("/", "Origin: https://evil.example\r\n");
  assert.equal(await answer(t, foreign), [403, ""]);
  const own = handshake("/", "Origin: https://a\r\n");
  assert.equal(await answer(t, own), [308, "https://a:8443/"]);
  await t.close();
});

redirect("a body is not waited for where the handler streams bodies", async () => {
  let asked = 0;
  const t = createTestServer({
    listen: [{ redirect: "https" }, { port: 443, tls }],
    handler: {
      streams: () => {
        asked++;
        return true;
      },
      request: (_, res) => res.send(200),
    },
  });
  const socket = t.socket().write(`${get("/x", "a", "PUT").slice(0, -2)}Content-Length: 9\r\n\r\n`);
  await t.settle();
  assert.is(socket.answers()[0]?.status, 308);
  assert.is(asked, 0);
  const whole = t.socket().write(`${get("/y", "a", "PUT").slice(0, -2)}Content-Length: 1\r\n\r\nx`);
  await t.settle();
  assert.equal(
    whole.answers()[0]?.fields.find(([name]) => name === "Location"),
    ["Location", "https://a/y"],
  );
  await t.close();
});

redirect("a connection stays for its next request", async () => {
  const { t, asked } = server({}, 443);
  const socket = t.socket().write(get("/1") + get("/.well-known/acme-challenge/t") + get("/2"));
  await t.settle();
  assert.equal(
    socket.answers().map((one) => `${one.status} ${fieldOf(one, "location") ?? ""}`),
    ["308 https://a.example/1", "200 ", "308 https://a.example/2"],
  );
  assert.is(socket.state, "open");
  assert.equal(asked, ["GET /.well-known/acme-challenge/t"]);
  await t.close();
});

redirect("redirecting listeners open last, with the port of the first one with TLS", async () => {
  const pump = new Pump({ engine: testEngine(), clock: new VirtualClock() });
  const opened: number[] = [];
  const listen = async ({ port, path }: ListenOptions): Promise<Listener> => {
    opened.push(port);
    return { hostname: "memory", port: path ? undefined : port + 1000, close: () => undefined };
  };
  const plans = (listen: Options["listen"]) => settle({ listen: listen ?? [] });
  const all = new Listeners(pump, () => undefined);
  const addresses = await all.open(
    { listen },
    plans([
      { port: 1, redirect: "https" },
      { port: 2 },
      { port: 3, path: "/a", tls },
      { port: 4, tls },
      { port: 5, tls },
    ]),
  );
  assert.equal(opened, [2, 3, 4, 5, 1]);
  assert.equal(
    addresses.map(({ port }) => port),
    [1001, 1002, undefined, 1004, 1005],
  );
  assert.is(pump.requests.redirectPort, 1004);
  // A descriptor may turn out to be a Unix socket.
  const none = plans([{ redirect: "https" }, { fd: 3, tls }]);
  const unix = async (): Promise<Listener> => ({
    ...{ hostname: "", port: undefined, path: "/a", close: () => undefined },
  });
  const thrown = await all.open({ listen: unix }, none).catch((error: unknown) => error);
  assert.is((thrown as Error).message, "listen[0].redirect: no listener with tls has a port");
});

redirect.run();
