// `ringcast/fetch`: the Request that results from a request, and the response that results from a Response, wherever
// the fetch function runs.

import { type Options, type Server, serve } from "ringcast";
import { fetchHandler } from "ringcast/fetch";
import { Agent, fetch } from "undici";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  CERTIFICATE,
  TEXT,
  Wire,
  WsWire,
  fileUrl,
  handlerOf,
  pattern,
  standstill,
  takeAnswer,
  until,
  within,
} from "./peer";
import { portOf } from "../lib/port";

interface Report {
  readonly where: string;
  readonly message: string;
}

interface Seen {
  readonly url: string;
  readonly method: string;
  readonly body: boolean;
  readonly headers: [string, string][];
  readonly isRequest: boolean;
  readonly again: string;
  readonly clone: string;
}

function get(target: string, method = "GET", fields = ""): string {
  return `${method} ${target} HTTP/1.1\r\nHost: a.example\r\n${fields}\r\n`;
}

/** Sends one request on a connection of its own. */
async function ask(port: number, text: string): ReturnType<typeof takeAnswer> {
  const wire = await Wire.open(port);
  try {
    return await takeAnswer(wire.write(text));
  } finally {
    wire.destroy();
  }
}

/** Returns the complete response to a request. */
async function raw(port: number, text: string): Promise<string> {
  const wire = await Wire.open(port);
  const all = await wire.write(text).takeAll();
  wire.destroy();
  return all.toString("latin1");
}

async function seen(port: number, text: string): Promise<Seen> {
  return JSON.parse((await ask(port, text)).body.toString()) as Seen;
}

/** Waits until the handler has noted so many things, and takes them. */
async function noted(port: number, count: number): Promise<unknown[][]> {
  const all: unknown[][] = [];
  await until("notes", async () => {
    all.push(...(JSON.parse((await ask(port, get("/log"))).body.toString()) as unknown[][]));
    return all.length >= count;
  });
  return all;
}

for (const place of ["worker", "application"] as const) {
  const test = suite(`fetch, ${place}`);

  const serving = (
    title: string,
    body: (port: number, reported: Report[], server: Server) => Promise<void>,
    options: Options = {},
  ): void => {
    test(title, async () => {
      const reported: Report[] = [];
      const server = await serve({
        port: 0,
        handler: await handlerOf("fetch", place),
        onError: ({ message }, where) => reported.push({ where, message }),
        ...options,
      });
      try {
        await body(portOf(server), reported, server);
      } finally {
        await within(server.close(), "close");
      }
    });
  };

  serving(
    "a Request has an absolute URL, its method and fields, and is a real one",
    async (port) => {
      const all = await seen(port, get("/?a=%20b#c", "GET", "X-A: 1\r\nx-a: 2\r\nX-L: \xe9\r\n"));
      assert.equal(all, {
        url: "http://a.example/?a=%20b",
        method: "GET",
        body: false,
        headers: [
          ["host", "a.example"],
          ["x-a", "1, 2"],
          ["x-l", "\xc3\xa9"],
        ],
        isRequest: true,
        again: "http://a.example/?a=%20b",
        clone: "http://a.example/?a=%20b",
      });
      assert.is((await seen(port, get("http://b.example:81"))).url, "http://b.example:81/");
      assert.is((await seen(port, get("ws://b.example/?c"))).url, "http://b.example/?c");
      const old = JSON.parse((await ask(port, "PUT / HTTP/1.0\r\n\r\n")).body.toString()) as Seen;
      assert.equal([old.url, old.method], ["http://localhost/", "PUT"]);
      // A body says nothing there (RFC 9110 9.3.1), and a Request has none.
      const bare = await seen(port, `${get("/", "GET", "Content-Length: 2\r\n")}hi`);
      assert.is(bare.body, false);
    },
  );

  serving("targets and methods that are no Request are answered", async (port, reported) => {
    assert.is((await ask(port, get("//x"))).body.toString(), "//x");
    assert.is((await ask(port, get("*", "OPTIONS"))).status, 204);
    assert.is((await ask(port, get("/", "TRACE"))).status, 501);
    assert.is((await ask(port, "GET / HTTP/1.1\r\nHost: a%zz\r\n\r\n")).status, 400);
    assert.is((await ask(port, "GET / HTTP/1.1\r\nHost: 1.2.3.4.5\r\n\r\n")).status, 400);
    assert.equal(reported, []);
  });

  serving(
    "a value that is no Response, or cannot be sent, is 500 and reported",
    async (port, reported) => {
      for (const [path, message] of [
        ["/nothing", /returned undefined, not a Response/],
        ["/text", /returned no Response, not a Response/],
        ["/error", /status: 0 /],
        ["/foreign", /status: 101 /],
        ["/used", /body was read before/],
        ["/control", /value of x-control/],
        ["/fails", /as asked/],
      ] as const) {
        // A stream that fails later breaks the answer off.
        if (path !== "/fails") assert.is((await ask(port, get(path))).status, 500, path);
        else assert.not.match(await raw(port, get(path)), /\r\n0\r\n\r\n$/);
        await until(path, () => reported.length === 1);
        const [report] = reported.splice(0);
        assert.is(report?.where, "request");
        assert.match(report?.message ?? "", message);
      }
    },
  );

  serving("fields are sent, except connection fields, which the server sets", async (port) => {
    const { head, fields, body } = await ask(port, get("/cookies"));
    assert.match(head, /\r\nset-cookie: a=1; Path=\/\r\n/i);
    assert.match(head, /\r\nset-cookie: b=2, c\r\n/i);
    assert.is(fields.get("x-latin"), "\xe9");
    assert.is(fields.get("content-type"), "text/plain;charset=UTF-8");
    assert.not.ok(fields.has("transfer-encoding"));
    // The application's says "timeout=7".
    assert.match(fields.get("keep-alive") ?? "", /^timeout=(?!7$)\d+$/);
    assert.is(fields.get("connection"), "keep-alive");
    assert.is(body.toString(), "cookies");
  });

  serving(
    "a body that is complete or declares a small size has a length; others are chunked",
    async (port) => {
      const wire = await Wire.open(port);
      for (const [path, text] of [
        ["/stated", "abcd"],
        ["/here", "abcd"],
        ["/cookies", "cookies"],
      ] as const) {
        const { fields, body } = await takeAnswer(wire.write(get(path)));
        assert.equal(
          [fields.get("content-length"), body.toString()],
          [`${text.length}`, text],
          path,
        );
      }
      wire.destroy();
      const chunked = await fetch(`http://127.0.0.1:${port}/chunks`);
      assert.equal(
        [chunked.headers.get("transfer-encoding"), await chunked.text()],
        ["chunked", "abcd"],
      );
      const blob = await fetch(`http://127.0.0.1:${port}/blob`);
      assert.equal([blob.headers.get("content-type"), await blob.text()], ["text/x", "ab"]);
    },
  );

  serving(
    "responses to HEAD and bodiless statuses have no body, and the connection persists",
    async (port) => {
      const wire = await Wire.open(port);
      const head = await takeAnswer(wire.write(get("/cookies", "HEAD")), "HEAD");
      assert.is(head.fields.get("content-length"), "7");
      const endless = await takeAnswer(wire.write(get("/forever", "HEAD")), "HEAD");
      assert.equal([endless.status, endless.fields.has("content-length")], [200, false]);
      const unchanged = await takeAnswer(wire.write(get("/304")));
      assert.equal([unchanged.status, unchanged.fields.get("etag")], [304, '"1"']);
      assert.is((await takeAnswer(wire.write(get("/205")))).status, 205);
      assert.equal(
        (await takeAnswer(wire.write(get("/log")))).body.toString(),
        '[["forever",null]]',
      );
      wire.destroy();
    },
  );

  serving(
    "a stream that fails, or gives no bytes, breaks the answer off",
    async (port, reported) => {
      for (const [path, message] of [
        ["/breaks", /as asked/],
        ["/strings", /has a string/],
      ] as const) {
        const text = await raw(port, get(path));
        assert.match(text, /^HTTP\/1\.1 200 /);
        assert.not.match(text, /\r\n0\r\n\r\n$/);
        await until(path, () => reported.length > 0);
        assert.match(reported.splice(0)[0]?.message ?? "", message);
      }
    },
  );

  for (const how of ["reset", "end"] as const) {
    serving(
      `a client that leaves (${how}) cancels the stream and aborts the signal`,
      async (port, reported, server) => {
        for (const [path, due] of [
          ["/forever", ["forever", "AbortError"]],
          ["/quiet", ["quiet", "AbortError"]],
        ] as const) {
          const wire = await Wire.open(port);
          wire.write(get(path));
          await wire.takeThrough("\r\n\r\n");
          if (how === "reset") wire.reset();
          else wire.destroy();
          assert.equal(await noted(port, 1), [due]);
        }
        const wire = await Wire.open(port);
        wire.write(get("/wait"));
        assert.equal(await noted(port, 1), [["waiting", false]]);
        if (how === "reset") wire.reset();
        else wire.destroy();
        assert.equal(await noted(port, 1), [["aborted", "AbortError"]]);
        assert.equal(reported, []);
        await until("no connection is left", async () => (await server.stats()).connections === 0);
      },
    );
  }

  serving("a client that has ended its side gets an answer that is no stream", async (port) => {
    for (const path of ["/here", "/cookies", "/205", "/later"]) {
      const wire = await Wire.open(port);
      wire.write(get(path));
      wire.socket.end();
      const { status } = await takeAnswer(wire);
      assert.equal([path, status], [path, path === "/205" ? 205 : 200]);
      wire.destroy();
    }
  });

  serving("a stream is held back by a client that does not read", async (port, _, server) => {
    const wire = await Wire.open(port);
    wire.socket.pause();
    wire.write(get("/forever"));
    await until("some", async () => (await server.stats()).fileBuffers.used > 0);
    const before = (await server.stats()).bytesOut;
    const bytesOut = await standstill("bytes out", async () => (await server.stats()).bytesOut);
    const { replyPool, fileBuffers } = await server.stats();
    assert.ok(replyPool.used < 8192, `${replyPool.used} bytes are queued`);
    assert.ok(fileBuffers.used < 1 << 20, `${fileBuffers.used} bytes are held`);
    assert.ok(bytesOut - before < 8 << 20, `${bytesOut - before} bytes went out`);
    wire.reset();
    assert.equal(await noted(port, 1), [["forever", "AbortError"]]);
  });

  serving("a body arrives whole", async (port) => {
    for (const n of [0, 1, 1000, 65536, 65537, 700000]) {
      const body = pattern(n, n + 1);
      const answer = await fetch(`http://127.0.0.1:${port}/mirror`, { method: "POST", body });
      assert.ok(body.equals(Buffer.from(await answer.arrayBuffer())), `${n} bytes`);
    }
    const wire = await Wire.open(port);
    const chunked = get("/count", "POST", "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n");
    wire.write(chunked);
    assert.match(await wire.takeThrough("\r\n\r\n"), /^HTTP\/1\.1 100 /);
    wire.write("3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
    assert.is((await takeAnswer(wire)).body.toString(), "7");
    wire.destroy();
  });

  serving("WebSockets are accepted, refused, and asked of others with 400", async (port) => {
    const ws = await WsWire.open(port, "/ws", undefined, "Sec-WebSocket-Protocol: a\r\n");
    ws.send(TEXT, "hi");
    assert.is(await ws.text(), "127.0.0.1 a hi");
    ws.destroy();
    await WsWire.open(port, "/refused").then(
      () => assert.unreachable(),
      (error) => assert.match(error.message, /HTTP\/1\.1 403 /),
    );
    await WsWire.open(port, "/ws").then(
      () => assert.unreachable(),
      (error) => assert.match(error.message, /HTTP\/1\.1 500 /),
    );
    assert.is((await ask(port, get("/plain-ws"))).status, 400);
  });

  serving(
    "under TLS the scheme is https",
    async (port) => {
      const dispatcher = new Agent({ connect: { ca: CERTIFICATE.cert } });
      const answer = await fetch(`https://127.0.0.1:${port}/`, { dispatcher });
      assert.is(((await answer.json()) as Seen).url, `https://127.0.0.1:${port}/`);
      await dispatcher.close();
    },
    { tls: CERTIFICATE },
  );

  test.run();
}

const streamed = suite("fetch, bodies in the worker");

streamed(
  "a body that breaks off rejects its reader, and is no error of the function's",
  async () => {
    const reported: string[] = [];
    const server = await serve({
      port: 0,
      handler: fileUrl("handlers/fetch.mjs"),
      onError: ({ message }) => reported.push(message),
    });
    const port = portOf(server);
    const wire = await Wire.open(port);
    wire.write(`${get("/broken", "POST", "Content-Length: 100000\r\n")}abc`);
    await until("request", async () => (await server.stats()).bytesIn > 0);
    wire.reset();
    assert.equal(await noted(port, 1), [["BodyError", "PeerReset", true]]);
    assert.equal(reported, []);
    await server.close();
  },
);

streamed("refuses a value that is no function", () => {
  assert.throws(() => fetchHandler({} as never), /fetch: not a function/);
});

streamed.run();
