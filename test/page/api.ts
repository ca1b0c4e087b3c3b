// Tests of `ringcast/browser`, as they run in a page. Each gets what it needs to start servers, which are closed
// when it ends.

import type { BrowserOptions, BrowserServer } from "ringcast/browser";
import * as assert from "uvu/assert";
import { sleep, until } from "../lib/wait";

export interface Kit {
  /** A server with the handler of the scenarios, unless another is given. */
  serve(options?: BrowserOptions): Promise<BrowserServer>;
}

function opened(socket: WebSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.addEventListener("open", () => resolve());
    socket.addEventListener("error", () => reject(new Error("it does not open")));
  });
}

function next(socket: WebSocket): Promise<unknown> {
  return new Promise((resolve) => {
    socket.addEventListener("message", ({ data }) => resolve(data), { once: true });
  });
}

function closed(socket: WebSocket): Promise<CloseEvent> {
  return new Promise((resolve) => socket.addEventListener("close", resolve));
}

/** Returns the error of a promise that has to be rejected. */
async function failure(promise: Promise<unknown>): Promise<Error> {
  const outcome = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(outcome instanceof Error)) throw new Error(`it is not rejected with an error: ${outcome}`);
  return outcome;
}

/** A request as /inspect reports it. */
interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly text: string;
}

async function seen(response: Response): Promise<Seen & { header(name: string): string }> {
  const body = (await response.json()) as Seen;
  const header = (name: string): string =>
    body.headers
      .filter(([key]) => key === name)
      .map(([, value]) => value)
      .join();
  return { ...body, header };
}

export const TESTS: Readonly<Record<string, (kit: Kit) => Promise<void>>> = {
  async "virtual hosts have modules and origins of their own"(kit) {
    // A handler module that says which one it is.
    const module = new URL("/files/test/e2e/handlers/host.mjs", location.href);
    const handler = new URL("?name=a", module);
    const virtualHosts = {
      "a.test": { handler },
      ".b.test": { handler: `${module}?name=b`, origins: ["https://page.test"] },
    };
    for (const main of [{ handler: module }, { handler: { request: () => undefined } }]) {
      const server = await kit.serve({ ...main, origins: ["*"], virtualHosts });
      for (const [host, name] of [
        ["a.test", "a"],
        ["x.b.test", "b"],
      ]) {
        const response = await server.fetch(`http://${host}:8080/`);
        assert.is(((await response.json()) as { module: string }).module, name);
      }
      const socket = new server.WebSocket("ws://a.test/chat");
      assert.is(await next(socket), "a opens /chat");
      assert.is(await server.count(), 1);
      await closed(new server.WebSocket("ws://b.test/chat"));
      assert.is(await server.count(), 1, "the origin is not one of the host");
      await server.reload(main.handler === module ? undefined : main.handler);
      socket.send("hello");
      assert.is(await next(socket), "a got hello");
      await server.close();
    }
    for (const [wrong, message] of [
      [{ tls: { key: "k", cert: "c" } }, /^virtualHosts\["a\.test"\]\.tls: a page has no sockets/],
      [{ listen: [80] }, /^virtualHosts\["a\.test"\]\.listen: a page has no sockets/],
      [{ handler: `${module}x` }, /^virtualHosts\["a\.test"\]\.handler: http.*\/host\.mjsx: /],
    ] as const) {
      const { message: text } = await failure(kit.serve({ virtualHosts: { "a.test": wrong } }));
      assert.match(text, message);
    }
  },

  async "a module handler answers and echoes"(kit) {
    const server = await kit.serve();
    const response = await server.fetch("/inspect?a=b#c");
    assert.is(response.status, 200);
    assert.is(response.statusText, "OK");
    assert.is(response.headers.get("x-answer"), "yes");
    assert.equal([response.url, response.type], ["http://ringcast.test/inspect?a=b", "basic"]);
    const request = await seen(response);
    assert.equal([request.method, request.url], ["GET", "/inspect?a=b"]);
    assert.is(request.header("host"), "ringcast.test");
    assert.is(request.header("user-agent"), navigator.userAgent);
    const socket = new server.WebSocket("/");
    await opened(socket);
    assert.is(socket.url, "ws://ringcast.test/");
    socket.send("hello");
    assert.is(await next(socket), "hello");
    socket.close();
    assert.ok((await closed(socket)).wasClean);
  },

  async "functions on the page are a handler"(kit) {
    const lines: string[] = [];
    const errors: string[] = [];
    const server = await kit.serve({
      onError: (error) => errors.push(error.message),
      handler: (own) => ({
        async request(req, res) {
          if (req.upgrade) return res.upgrade({ data: req.query });
          if (req.path === "/fails") throw new Error("on purpose");
          // The handler is asynchronous.
          await sleep(1);
          return res.send(200, "text/plain", `${req.text()} ${own.count()}`);
        },
        open: (ws) => ws.send(`welcome ${ws.data}`),
        message(ws, data) {
          lines.push(`${ws.data}: ${data}`);
          own.broadcast(data);
        },
        close: (ws, { code, reason }) => lines.push(`${ws.data} left: ${code} ${reason}`),
      }),
    });
    const ada = new server.WebSocket("/?ada");
    assert.is(await next(ada), "welcome ada");
    const bob = new server.WebSocket("/?bob");
    assert.is(await next(bob), "welcome bob");
    const heard = [next(ada), next(bob)];
    ada.send("hi");
    assert.equal(await Promise.all(heard), ["hi", "hi"]);
    const answer = await server.fetch("/", { method: "POST", body: "count" });
    assert.is(await answer.text(), "count 2");
    assert.is((await server.fetch("/fails")).status, 500);
    assert.equal(errors, ["on purpose"]);
    bob.close(3000, "bye");
    await closed(bob);
    await until("close", () => lines.length === 2);
    assert.equal(lines, ["ada: hi", "bob left: 3000 bye"]);
  },

  async "broadcast, publish, send, stage, subscribe and closeConnection"(kit) {
    let id = 0;
    const server = await kit.serve({
      handler: {
        request: (_req, res) => res.upgrade(),
        open(ws) {
          id = ws.id;
          ws.send("open");
        },
      },
    });
    const socket = new server.WebSocket("/");
    const got: unknown[] = [];
    socket.addEventListener("message", ({ data }) => got.push(data));
    await next(socket);
    assert.ok(server.subscribe(id, "news"));
    assert.ok(server.broadcast("to all"));
    assert.ok(server.publish("news", "to some"));
    assert.ok(server.publish("others", "to none"));
    assert.ok(server.send(id, "to one"));
    assert.ok(server.stage().text("in ").text(2).text(" pieces").broadcast());
    assert.is(await server.subscriberCount("news"), 1);
    await until("messages", () => got.length === 5);
    assert.equal(got, ["open", "to all", "to some", "to one", "in 2 pieces"]);
    assert.ok(server.closeConnection(id, 4000, "enough"));
    const { code, reason } = await closed(socket);
    assert.equal([code, reason], [4000, "enough"]);
    const stats = await server.stats();
    assert.equal([stats.upgraded, stats.webSockets], [1, 0]);
    assert.ok(server.plan.total > 0);
  },

  async "20,000 broadcasts arrive in order, however full the inbox"(kit) {
    const server = await kit.serve({ inbox: 65536 });
    const sockets = [new server.WebSocket("/"), new server.WebSocket("/")];
    await Promise.all(sockets.map(opened));
    const counts = sockets.map(() => 0);
    const wrong: unknown[] = [];
    sockets.forEach((socket, i) => {
      socket.addEventListener("message", ({ data }) => {
        if (data !== `message ${counts[i]}`) wrong.push(data);
        counts[i] = (counts[i] as number) + 1;
      });
    });
    let waits = 0;
    for (let i = 0; i < 20000; i++) {
      while (!server.broadcast(`message ${i}`)) {
        waits++;
        await server.ready();
      }
    }
    assert.ok(waits > 0, "the inbox was never full");
    await until("all", () => counts.every((count) => count === 20000));
    assert.equal(wrong, []);
  },

  async "a message that is larger than the inbox arrives whole"(kit) {
    const server = await kit.serve({ inbox: 65536 });
    const socket = new server.WebSocket("/");
    socket.binaryType = "arraybuffer";
    await opened(socket);
    const bytes = new Uint8Array(3000000).map((_, i) => i % 251);
    assert.ok(server.broadcast(bytes.slice()));
    const got = new Uint8Array((await next(socket)) as ArrayBuffer);
    assert.ok(got.length === bytes.length && got.every((octet, i) => octet === i % 251));
  },

  async "fetch sends methods, fields and bodies of every kind"(kit) {
    const server = await kit.serve();
    const put = await seen(
      await server.fetch(new URL("http://elsewhere.test:81/x"), {
        method: "PUT",
        headers: { "X-One": "1", "Content-Type": "text/csv" },
        body: "a,b",
      }),
    );
    assert.equal([put.method, put.url, put.text], ["PUT", "/x", "a,b"]);
    assert.equal([put.header("x-one"), put.header("content-type")], ["1", "text/csv"]);
    assert.equal([put.header("host"), put.header("content-length")], ["elsewhere.test:81", "3"]);
    assert.is(put.header("origin"), "http://ringcast.test");
    const form = new FormData();
    form.set("field", "value");
    const posted = await seen(await server.fetch("/inspect", { method: "POST", body: form }));
    assert.match(posted.header("content-type"), /^multipart\/form-data; boundary=/);
    assert.match(posted.text, /name="field"\r\n\r\nvalue\r\n/);
    const request = new Request("http://ringcast.test/inspect", { method: "PATCH", body: "p" });
    assert.is((await seen(await server.fetch(request))).text, "p");
    const blob = new Blob(["blob"], { type: "text/x" });
    const echo = await server.fetch("/echo", { method: "POST", body: blob });
    assert.is(echo.headers.get("content-type"), "text/x");
    assert.is(await echo.text(), "blob");
    const empty = await seen(await server.fetch("/inspect", { method: "POST" }));
    assert.is(empty.header("content-length"), "0");
  },

  async "fetch: HEAD, 204, 404, static bodies, errors of status"(kit) {
    const server = await kit.serve();
    const head = await server.fetch("/static", { method: "HEAD" });
    assert.equal([head.status, head.headers.get("content-length"), head.body], [200, "28", null]);
    const got = await server.fetch("/static");
    const copy = got.clone();
    assert.is(await got.text(), "<!doctype html><p>static</p>");
    assert.is((await copy.arrayBuffer()).byteLength, 28);
    assert.is(copy.url, got.url);
    const empty = await server.fetch("/empty");
    assert.equal([empty.status, empty.body, empty.ok], [204, null, true]);
    const large = new Uint8Array(2000000);
    const refused = await server.fetch("/echo", { method: "POST", body: large });
    assert.equal([refused.status, refused.ok], [413, false]);
  },

  async "fetch: a body comes as it is read, and no faster"(kit) {
    const server = await kit.serve();
    const response = await server.fetch("/chunks?64");
    let sent = -1;
    let same = 0;
    await until("standstill", async () => {
      const { bytesOut } = await server.stats();
      same = sent === bytesOut ? same + 1 : 0;
      sent = bytesOut;
      return same === 20;
    });
    assert.ok(sent < 2000000, `${sent} bytes were sent to one who does not read`);
    const bytes = new Uint8Array(await response.arrayBuffer());
    assert.is(bytes.length, 64 * 65536);
    assert.ok(bytes.every((octet, i) => octet === i >> 16));
    const reader = ((await server.fetch("/chunks?2")).body as ReadableStream).getReader({
      mode: "byob",
    });
    let count = 0;
    for (;;) {
      const { done, value } = await reader.read(new Uint8Array(1000));
      if (done) break;
      count += value.length;
    }
    assert.is(count, 2 * 65536);
  },

  async "fetch: a stream is uploaded in chunks"(kit) {
    const server = await kit.serve();
    let left = 40;
    const body = new ReadableStream({
      pull(controller) {
        if (left-- > 0) controller.enqueue(new Uint8Array(50000));
        else controller.close();
      },
    });
    const init = { method: "POST", body, duplex: "half" } as RequestInit;
    assert.is(await (await server.fetch("/upload", init)).text(), "2000000");
    const broken = new ReadableStream({
      pull: () => Promise.reject(new Error("the source fails")),
    });
    const failing = { method: "POST", body: broken, duplex: "half" } as RequestInit;
    assert.instance(await failure(server.fetch("/upload", failing)), TypeError);
    assert.is(await (await server.fetch("/slow")).text(), "slow");
  },

  async "fetch: aborted before, while waiting, and while reading"(kit) {
    const server = await kit.serve();
    const signal = AbortSignal.abort(new Error("before"));
    assert.is((await failure(server.fetch("/slow", { signal }))).message, "before");
    const waiting = new AbortController();
    const pending = server.fetch("/never", { signal: waiting.signal });
    await until("request", async () => (await server.stats()).bytesIn > 0);
    waiting.abort();
    assert.is((await failure(pending)).name, "AbortError");
    await until("reset", async () => (await server.stats()).closed.PeerReset === 1);
    const reading = new AbortController();
    const response = await server.fetch("/chunks?64", { signal: reading.signal });
    reading.abort();
    assert.is((await failure(response.arrayBuffer())).name, "AbortError");
    const left = await server.fetch("/chunks?64");
    await left.body?.cancel();
    await until("three resets", async () => (await server.stats()).closed.PeerReset === 3);
  },

  async "fetch: what fails is a TypeError"(kit) {
    const server = await kit.serve({ onError: () => undefined });
    const breaks = await server.fetch("/break");
    assert.is(breaks.status, 200);
    assert.instance(await failure(breaks.text()), TypeError);
    assert.instance(await failure(server.fetch("http://[")), TypeError);
    assert.instance(await failure(server.fetch("/", { method: "CONNECT" })), TypeError);
    assert.instance(await failure(server.fetch("/", { body: "x" })), TypeError);
    const { bytesIn } = await server.stats();
    const failed = failure(server.fetch("/never"));
    await until("request", async () => (await server.stats()).bytesIn > bytesIn);
    await server.close();
    assert.instance(await failed, TypeError);
    assert.instance(await failure(server.fetch("/slow")), TypeError);
  },

  async "fetch: redirects are followed, refused, or handed out"(kit) {
    const server = await kit.serve();
    const init = { method: "POST", body: "again" };
    const outcomes: unknown[] = [];
    for (const status of [301, 302, 303, 307, 308]) {
      const response = await server.fetch(`/redirect?${status}`, init);
      assert.ok(response.redirected);
      assert.is(response.url, "http://ringcast.test/inspect?redirected");
      const { method, text, header } = await seen(response);
      outcomes.push([status, method, text, header("content-type").slice(0, 4)]);
    }
    assert.equal(outcomes, [
      [301, "GET", "", ""],
      [302, "GET", "", ""],
      [303, "GET", "", ""],
      [307, "POST", "again", "text"],
      [308, "POST", "again", "text"],
    ]);
    assert.instance(await failure(server.fetch("/loop")), TypeError);
    const error = failure(server.fetch("/redirect?302", { redirect: "error" }));
    assert.instance(await error, TypeError);
    const manual = await server.fetch("/redirect?302", { redirect: "manual" });
    assert.equal([manual.type, manual.status], ["opaqueredirect", 0]);
  },

  async "fetch: connections are kept alive, and made anew when they have ended"(kit) {
    const server = await kit.serve({ keepAliveTimeout: 50 });
    for (let i = 0; i < 5; i++) await (await server.fetch("/slow")).text();
    assert.is((await server.stats()).accepted, 1);
    await until("timeout", async () => (await server.stats()).connections === 0);
    await (await server.fetch("/close")).text();
    await (await server.fetch("/slow")).text();
    assert.is((await server.stats()).accepted, 3);
    const all = await Promise.all(Array.from({ length: 20 }, () => server.fetch("/slow")));
    assert.ok(all.every(({ ok }) => ok));
  },

  async "an EventSource gets events, comes back, and is closed"(kit) {
    const since: (string | undefined)[] = [];
    const server = await kit.serve({
      events: { names: true },
      handler: {
        request(req, res) {
          if (req.path === "/gone") return res.send(204);
          since.push(req.header("last-event-id"));
          return res.events({ topics: ["news"] });
        },
        open: (ws) => void ws.send(`stream ${since.length}`),
      },
    });
    const source = new server.EventSource("/a?b");
    assert.equal([source.url, source.readyState], ["http://ringcast.test/a?b", 0]);
    assert.equal([source.withCredentials, String(source)], [false, "[object EventSource]"]);
    assert.equal([server.EventSource.name, server.EventSource.CLOSED], ["EventSource", 2]);
    const log: string[] = [];
    source.onopen = () => log.push(`open ${source.readyState}`);
    source.onerror = () => log.push(`error ${source.readyState}`);
    source.onmessage = ({ data, origin, lastEventId }) =>
      log.push(`${data} ${origin} ${lastEventId}`);
    source.addEventListener("news", ({ type, data }) => log.push(`${type}: ${data}`));
    const gets = (line: string): Promise<void> => until(line, () => log.includes(line));
    await gets("stream 1 http://ringcast.test ");
    server.publish("news", "a\nb");
    await gets("news: a\nb");
    server.broadcast("all");
    const position = await server.position();
    await gets(`all http://ringcast.test ${position}`);
    server.each((ws) => void ws.close(1000));
    await gets(`stream 2 http://ringcast.test ${position}`);
    assert.equal(since, [undefined, position]);
    assert.equal(log.slice(0, 2), ["open 1", "stream 1 http://ringcast.test "]);
    assert.equal(log.slice(4, 6), ["error 0", "open 1"]);
    source.close();
    assert.is(source.readyState, 2);
    await until("it is gone", async () => (await server.stats()).eventStreams === 0);
    const gone = new server.EventSource(new URL("http://any.test/gone"));
    await new Promise((resolve) => gone.addEventListener("error", resolve));
    assert.is(gone.readyState, 2);
    const { EventSource: Own } = server;
    assert.throws(() => Reflect.construct(Own, []), /1 argument/);
    assert.throws(() => new Own("http://["), /is not valid/);
  },

  async "install takes over what matches, and uninstall gives it back"(kit) {
    const server = await kit.serve();
    const before = [globalThis.fetch, globalThis.WebSocket, globalThis.EventSource];
    const restore = server.install();
    assert.throws(() => server.install(), /installed already/);
    const { fetch, WebSocket, EventSource } = globalThis;
    const source = new EventSource("http://ringcast.test/inspect");
    assert.ok(source instanceof server.EventSource && source instanceof EventSource);
    source.close();
    const nativeSource = new EventSource("/empty");
    assert.not.ok(nativeSource instanceof server.EventSource);
    assert.ok(nativeSource instanceof EventSource);
    nativeSource.close();
    const own = await fetch("http://ringcast.test/inspect");
    assert.is((await seen(own)).header("host"), "ringcast.test");
    assert.is((await fetch(new Request("http://ringcast.test/empty"))).status, 204);
    const page = await fetch(location.href);
    assert.is(page.headers.get("x-answer"), null);
    const away = await fetch(`http://ringcast.test/away?${location.origin}/empty`);
    assert.equal([away.status, away.url], [204, `${location.origin}/empty`]);
    const socket = new WebSocket("ws://ringcast.test/a");
    assert.ok(socket instanceof WebSocket);
    await opened(socket);
    const native = new WebSocket(`${location.origin.replace("http", "ws")}/`);
    assert.ok(native instanceof WebSocket);
    assert.not.ok(native instanceof server.WebSocket);
    await opened(native);
    native.close();
    assert.is((await server.stats()).upgraded, 1);
    class Child extends WebSocket {
      hello(): string {
        return `hello from ${this.url}`;
      }
    }
    const child = new Child("ws://ringcast.test/child");
    assert.is(child.hello(), "hello from ws://ringcast.test/child");
    await opened(child);
    restore();
    assert.equal([globalThis.fetch, globalThis.WebSocket, globalThis.EventSource], before);
    // Code that has kept it continues with the page's own.
    assert.is((await fetch(`${location.origin}/empty`)).status, 204);
    assert.is((await server.stats()).upgraded, 2);
    server.uninstall();
  },

  async "install matches origins, patterns and functions; the end restores"(kit) {
    const { fetch: native } = globalThis;
    const server = await kit.serve({ origin: "https://app.example:8443" });
    assert.is(server.origin, "https://app.example:8443");
    assert.is((await seen(await server.fetch("/inspect"))).header("host"), "app.example:8443");
    const asks = async (
      match: Parameters<typeof server.install>[0],
      url: string,
    ): Promise<number> => {
      const uninstall = server.install(match);
      try {
        return (await fetch(url)).status;
      } finally {
        uninstall();
      }
    };
    assert.is(await asks(undefined, "https://app.example:8443/empty"), 204);
    assert.is(
      await asks({ match: ["http://a.test", "wss://b.test"] }, "https://b.test/empty"),
      204,
    );
    assert.is(await asks({ match: /^http:\/\/api\d\.test\//g }, "http://api7.test/empty"), 204);
    assert.is(await asks({ match: (url) => url.pathname === "/empty" }, "/empty"), 204);
    const before = (await server.stats()).requests;
    assert.is(await asks({ match: location.origin }, "/inspect"), 200);
    assert.is((await server.stats()).requests, before + 1);
    assert.throws(() => server.install({ match: "nonsense" }), /match: "nonsense"/);
    server.install();
    await server.close();
    assert.is(globalThis.fetch, native);
  },

  async "origins: a page of another origin is refused"(kit) {
    const server = await kit.serve();
    const socket = new server.WebSocket("ws://other.test/");
    const { code } = await closed(socket);
    assert.is(code, 1006);
    await until("end", async () => (await server.stats()).closed.OriginRefused === 1);
  },

  async "shutdown says 1001 to every client and answers what is under way"(kit) {
    let arrived: () => void = () => undefined;
    const arrival = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const server = await kit.serve({
      handler: {
        async request(req, res) {
          if (req.upgrade) return res.upgrade();
          arrived();
          // Work that outlasts the start of the shutdown.
          await sleep(30);
          return res.send(200, "text/plain", "slow");
        },
      },
    });
    const socket = new server.WebSocket("/");
    await opened(socket);
    const pending = server.fetch("/").then((response) => response.text());
    await arrival;
    const [{ code, wasClean }] = await Promise.all([closed(socket), server.shutdown()]);
    assert.equal([code, wasClean], [1001, true]);
    assert.is(await pending, "slow");
    await server.finished;
    assert.is((await closed(new server.WebSocket("/"))).code, 1006);
    assert.not.ok(server.broadcast("nobody"));
    assert.match((await failure(server.stats())).message, /ended/);
  },

  async "a signal shuts down"(kit) {
    const abort = new AbortController();
    const server = await kit.serve({ signal: abort.signal });
    abort.abort();
    await server.finished;
  },

  async "a worker that dies rejects what waits"(kit) {
    let worker: Worker | undefined;
    const url = new URL("/files/dist/browser-worker.js", location.href);
    const reports: string[] = [];
    const server = await kit.serve({
      worker() {
        worker = new Worker(url, { type: "module" });
        return worker;
      },
      onError: (error, where) => reports.push(`${where}: ${error.message}`),
    });
    const socket = new server.WebSocket("/");
    await opened(socket);
    const ended = closed(socket);
    worker?.dispatchEvent(new ErrorEvent("error", { message: "it died" }));
    assert.is((await failure(server.finished)).message, "it died");
    assert.is((await ended).code, 1006);
    assert.is((await failure(server.stats())).message, "it died");
    assert.equal(reports, ["worker: it died"]);
  },

  async "the engine comes compiled, or from a URL"(kit) {
    const url = new URL("/files/dist/engine.wasm", location.href);
    const module = await WebAssembly.compileStreaming(fetch(url));
    for (const wasm of [module, url, url.href]) {
      const server = await kit.serve({ wasm });
      assert.is((await server.fetch("/empty")).status, 204);
    }
    const missing = kit.serve({ wasm: "/files/missing.wasm" });
    assert.match((await failure(missing)).message, /wasm: the response to .* is 404/);
  },

  async "a worker that may not compile is given the engine compiled"(kit) {
    const worker = new URL("/files/dist/browser-worker.js?strict", location.href);
    assert.match((await failure(kit.serve({ worker }))).message, /WebAssembly/);
    const wasm = await WebAssembly.compileStreaming(fetch("/files/dist/engine.wasm"));
    const server = await kit.serve({ worker, wasm });
    assert.is((await server.fetch("/empty")).status, 204);
  },

  async "wrong options are refused by name"(kit) {
    const refused = async (options: object): Promise<string> => {
      const error = await failure(kit.serve(options as BrowserOptions));
      return `${error.name}: ${error.message}`;
    };
    assert.match(await refused({ port: 80 }), /TypeError: port: /);
    assert.match(await refused({ pool: {} }), /TypeError: pool: /);
    assert.match(await refused({ ring: 5 }), /RangeError: ring: 5 /);
    assert.match(await refused({ origin: "nonsense" }), /TypeError: origin: "nonsense"/);
    assert.match(await refused({ worker: 7 }), /TypeError: worker: /);
    assert.match(await refused({ wasm: 7 }), /TypeError: wasm: /);
    assert.match(await refused({ nonsense: 1 }), /TypeError: nonsense: /);
    assert.match(await refused({ handler: new URL("/missing.js", location.href) }), /missing\.js/);
    assert.match(await refused({ worker: "/files/missing.js" }), /could not be loaded/);
  },

  async "isolated or not, the inbox is what the page can have"() {
    const wanted = location.search === "?isolated";
    assert.is(globalThis.crossOriginIsolated, wanted);
    assert.is(typeof SharedArrayBuffer === "function", wanted);
  },
};
