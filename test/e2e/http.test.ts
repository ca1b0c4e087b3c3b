// HTTP/1.1 over real sockets, byte by byte and with the client that most people use.

import { Agent, request } from "undici";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  CONNECT,
  SERVER_TLS,
  Wire,
  httpUrl,
  pattern,
  placement,
  reported,
  serving,
  sleep,
  standstill,
  takeAnswer,
  type Answer,
  until,
} from "./peer";
import { portOf } from "../lib/port";

const http = suite("http");
const MiB = 1048576;

function get(path: string, fields = "", method = "GET"): string {
  return `${method} ${path} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`;
}

function post(path: string, body: Uint8Array, fields = ""): Buffer {
  const head = get(path, `Content-Length: ${body.length}\r\n${fields}`, "POST");
  return Buffer.concat([Buffer.from(head), body]);
}

function chunked(body: Uint8Array, size: number): Buffer {
  const parts = [Buffer.from(get("/echo", "Transfer-Encoding: chunked\r\n", "POST"))];
  for (let at = 0; at < body.length; at += size) {
    const part = body.subarray(at, at + size);
    parts.push(Buffer.from(`${part.length.toString(16)}\r\n`), Buffer.from(part));
    parts.push(Buffer.from("\r\n"));
  }
  parts.push(Buffer.from("0\r\nX-Trailer: t\r\n\r\n"));
  return Buffer.concat(parts);
}

/** Returns the bytes that GET /size answers with. */
function filled(n: number, seed: number): Buffer {
  const bytes = Buffer.alloc(n);
  for (let i = 0; i < n; i++) bytes[i] = 97 + ((i * 7 + (i >>> 8) * 13 + seed) % 26);
  return bytes;
}

/** Returns the handler's notes since the last look. */
async function takeLog(port: number): Promise<unknown[][]> {
  const { body } = await request(httpUrl(port, "/log"), { reset: true });
  return (await body.json()) as unknown[][];
}

/** Sends one request on a connection of its own; returns the response, and whether the server then ended it. */
async function ask(port: number, bytes: string | Uint8Array): Promise<Answer & { ended: boolean }> {
  const wire = await Wire.open(port);
  wire.write(bytes);
  const answer = await takeAnswer(wire);
  const close = answer.fields.get("connection")?.endsWith("close");
  if (close) assert.is((await wire.takeAll()).length, 0, "nothing follows the last answer");
  const { ended } = wire;
  wire.destroy();
  return { ...answer, ended };
}

http("a connection serves one request after the other", () =>
  serving("http", {}, async (server, port) => {
    const wire = await Wire.open(port);
    for (let i = 0; i < 20; i++) {
      wire.write(get("/hello"));
      const { status, fields, body } = await takeAnswer(wire);
      assert.is(status, 200);
      assert.is(body.toString(), "hello\n");
      assert.is(fields.get("content-type"), "text/plain");
      assert.is(fields.get("content-length"), "6");
      assert.ok(!Number.isNaN(Date.parse(fields.get("date") ?? "")), "Date is a date");
      assert.is.not(fields.get("connection"), "close");
    }
    const { accepted, requests, connections } = await server.stats();
    assert.equal([accepted, requests, connections], [1, 20, 1]);
    wire.destroy();
  }),
);

http("16 requests in one write are answered in order, in as few writes", () =>
  serving("http", {}, async (_server, port) => {
    const numbers = Array.from({ length: 16 }, (_, i) => i);
    const reads: number[] = [];
    for (let round = 0; round < 9; round++) {
      const wire = await Wire.open(port);
      wire.write(numbers.map((i) => get(`/all?${i}`)).join(""));
      for (const i of numbers) {
        const { status, body } = await takeAnswer(wire);
        assert.is(status, 200);
        assert.is(JSON.parse(body.toString()).query, `${i}`);
      }
      reads.push(wire.reads);
      wire.destroy();
    }
    // A busy machine may cut a write in two; most rounds show what the server does. Where the handler is another
    // thread's, each answer lets the next request go there.
    const middle = reads.sort((a, b) => a - b)[4] as number;
    if (placement === "worker") assert.ok(middle <= 2, `${reads.join(", ")} reads`);
  }),
);

http("pipelined answers keep their order, whenever and however they are made", () =>
  serving("http", {}, async (_server, port) => {
    const wire = await Wire.open(port);
    const body = pattern(100000);
    wire.write(get("/late?ms=40&n=1") + get("/hello") + get("/size?n=200000&kind=bytes"));
    wire.write(get("/late?ms=10&n=2") + get("/static-large") + get("/hello", "", "HEAD"));
    wire.write(post("/echo", body));
    wire.write(get("/late?ms=1&n=3"));
    const urlOf = (answer: Answer): string => JSON.parse(answer.body.toString()).url;
    assert.is(urlOf(await takeAnswer(wire)), "/late?ms=40&n=1");
    assert.is((await takeAnswer(wire)).body.toString(), "hello\n");
    assert.ok((await takeAnswer(wire)).body.equals(filled(200000, 3)));
    assert.is(urlOf(await takeAnswer(wire)), "/late?ms=10&n=2");
    assert.ok((await takeAnswer(wire)).body.equals(filled(3000000, 5)));
    assert.is((await takeAnswer(wire, "HEAD")).fields.get("content-length"), "6");
    assert.ok((await takeAnswer(wire)).body.equals(body));
    assert.is(urlOf(await takeAnswer(wire)), "/late?ms=1&n=3");
    wire.destroy();
  }),
);

http("HEAD has the length and no body", () =>
  serving("http", {}, async (_server, port) => {
    const wire = await Wire.open(port);
    for (const [path, length] of [
      ["/hello", 6],
      ["/size?n=100000&kind=bytes", 100000],
      ["/static-large", 3000000],
    ] as const) {
      wire.write(get(path, "", "HEAD") + get("/hello"));
      const { status, fields } = await takeAnswer(wire, "HEAD");
      assert.equal([status, fields.get("content-length")], [200, `${length}`]);
      assert.is((await takeAnswer(wire)).body.toString(), "hello\n");
    }
    for (const [path, status] of [
      ["/none", 204],
      ["/same", 304],
    ] as const) {
      wire.write(get(path) + get("/hello"));
      const answer = await takeAnswer(wire);
      assert.is(answer.status, status);
      if (status === 204) assert.is(answer.fields.get("content-length"), undefined);
      assert.is((await takeAnswer(wire)).body.toString(), "hello\n");
    }
    wire.destroy();
  }),
);

http("HTTP/1.0 closes, unless it asks to be kept alive", () =>
  serving("http", {}, async (_server, port) => {
    const wire = await Wire.open(port);
    wire.write("GET /all HTTP/1.0\r\n\r\n");
    const answer = await takeAnswer(wire);
    assert.is(JSON.parse(answer.body.toString()).httpVersion, "1.0");
    assert.is(answer.fields.get("connection"), "close");
    assert.is((await wire.takeAll()).length, 0);
    wire.destroy();
    const kept = await Wire.open(port);
    for (let i = 0; i < 3; i++) {
      kept.write("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
      const { fields, body } = await takeAnswer(kept);
      assert.is(body.toString(), "hello\n");
      assert.is(fields.get("connection")?.toLowerCase(), "keep-alive");
    }
    kept.destroy();
  }),
);

http("Connection: close, res.close() and maxRequestsPerSocket end a connection", () =>
  serving("http", { maxRequestsPerSocket: 3 }, async (_server, port) => {
    for (const bytes of [get("/hello", "Connection: close\r\n"), get("/close")]) {
      const { status, fields, ended } = await ask(port, bytes + get("/hello"));
      assert.equal([status, fields.get("connection"), ended], [200, "close", true]);
    }
    const wire = await Wire.open(port);
    wire.write(get("/hello").repeat(5));
    const kinds = [];
    for (let i = 0; i < 3; i++) kinds.push((await takeAnswer(wire)).fields.get("connection"));
    assert.is(kinds[2], "close");
    assert.is.not(kinds[1], "close");
    assert.is((await wire.takeAll()).length, 0);
    wire.destroy();
  }),
);

http("bodies of every size come back, by length and in chunks", () =>
  serving("http", {}, async (_server, port) => {
    const wire = await Wire.open(port);
    for (const size of [0, 1, 100, 4095, 4096, 16384, 65535, 65536, 65537, 200000, MiB - 1, MiB]) {
      const body = pattern(size, size);
      wire.write(post("/echo", body, "Content-Type: application/x-test\r\n"));
      const answer = await takeAnswer(wire);
      assert.is(answer.status, 200, `${size}`);
      assert.is(answer.fields.get("content-type"), "application/x-test");
      assert.ok(answer.body.equals(body), `${size} bytes by length`);
      for (const chunk of [997, 65536, MiB]) {
        if (size / chunk > 300) continue;
        wire.write(chunked(body, chunk));
        const other = await takeAnswer(wire);
        assert.is(other.status, 200);
        assert.ok(other.body.equals(body), `${size} bytes in chunks of ${chunk}`);
      }
    }
    wire.write(post("/text", Buffer.from("grün €")));
    assert.is((await takeAnswer(wire)).body.toString(), "grün €");
    wire.write(post("/json", Buffer.from('{"a": [1, 2]}')));
    assert.is((await takeAnswer(wire)).body.toString(), '{"a":[1,2]}');
    wire.destroy();
  }),
);

http("a body over maxBodyLength is refused with an answer the client can read", () =>
  serving("http", {}, async (_server, port) => {
    const body = pattern(10 * MiB);
    for (const bytes of [post("/echo", body), chunked(body, 65536)]) {
      const { status, ended } = await ask(port, bytes);
      assert.equal([status, ended], [413, true]);
    }
    const { statusCode, body: text } = await request(httpUrl(port, "/echo"), {
      method: "POST",
      body: Buffer.alloc(MiB),
      reset: true,
    });
    assert.is(statusCode, 200);
    assert.is((await text.arrayBuffer()).byteLength, MiB);
  }),
);

http("Expect: 100-continue is answered before the body", () =>
  serving("http", {}, async (_server, port) => {
    const wire = await Wire.open(port);
    wire.write(get("/echo", "Content-Length: 5\r\nExpect: 100-continue\r\n", "POST"));
    assert.match(await wire.takeThrough("\r\n\r\n"), /^HTTP\/1\.1 100 /);
    wire.write("12345");
    assert.is((await takeAnswer(wire)).body.toString(), "12345");
    wire.destroy();
    const large = get("/echo", "Content-Length: 99999999\r\nExpect: 100-continue\r\n", "POST");
    assert.is((await ask(port, large)).status, 413);
  }),
);

http("answers of every size are exact, as strings, bytes and static bodies", () =>
  serving("http", {}, async (_server, port) => {
    const wire = await Wire.open(port);
    for (const size of [0, 1, 1000, 65535, 65536, 65537, MiB, 10 * MiB]) {
      for (const kind of ["string", "bytes", "buffer"]) {
        wire.write(get(`/size?n=${size}&kind=${kind}`));
        const { fields, body } = await takeAnswer(wire);
        assert.is(fields.get("content-length"), `${size}`);
        assert.ok(body.equals(filled(size, 3)), `${size} as ${kind}`);
      }
    }
    for (const [path, status, body] of [
      ["/static", 200, "static, small\n"],
      ["/static-empty", 404, ""],
      ["/static-large", 200, filled(3000000, 5)],
      ["/static-copied", 200, "this will be changed"],
    ] as const) {
      wire.write(get(path));
      const answer = await takeAnswer(wire);
      assert.is(answer.status, status);
      assert.ok(answer.body.equals(Buffer.from(body)), path);
    }
    wire.destroy();
  }),
);

http("a body the handler changes after `send` is sent as it was", () =>
  serving("http", {}, async (_server, port) => {
    const { body } = await ask(port, get("/reused", "Connection: close\r\n"));
    assert.ok(body.equals(Buffer.alloc(200000, 1)));
  }),
);

http("a slow reader gets a large answer to the last byte", () =>
  serving("http", {}, async (server, port) => {
    const wire = await Wire.open(port);
    wire.socket.pause();
    wire.write(get("/size?n=20000000&kind=bytes") + get("/static-large") + get("/hello"));
    await until("the answer", async () => (await server.stats()).bytesOut > 0);
    await standstill("bytes out", async () => (await server.stats()).bytesOut);
    // And no other request waits for it.
    assert.is((await ask(port, get("/hello", "Connection: close\r\n"))).status, 200);
    wire.socket.resume();
    assert.ok((await takeAnswer(wire)).body.equals(filled(20000000, 3)));
    assert.ok((await takeAnswer(wire)).body.equals(filled(3000000, 5)));
    assert.is((await takeAnswer(wire)).body.toString(), "hello\n");
    wire.destroy();
  }),
);

http("fields arrive as they were sent, both ways", () =>
  serving("http", {}, async (_server, port) => {
    const fields = "X-Test: a\r\nX-TEST:  b \r\nx-empty:\r\nX-Latin: \xe9\r\n";
    const bytes = Buffer.from(get("/all/%20?q=%26&a", fields), "latin1");
    const wire = await Wire.open(port);
    wire.write(bytes);
    const seen = JSON.parse((await takeAnswer(wire)).body.toString());
    assert.equal(
      { ...seen, headers: [] },
      {
        ...{ method: "GET", url: "/all/%20?q=%26&a", path: "/all/%20", query: "q=%26&a" },
        ...{ httpVersion: "1.1", remoteAddress: "127.0.0.1", upgrade: false, body: "" },
        ...{ headers: [], test: "a, b" },
      },
    );
    wire.destroy();
  }),
);

http("a handler sets fields, and cannot break the message with them", () =>
  serving("http", {}, async (_server, port) => {
    const wire = await Wire.open(port);
    wire.write(get("/headers"));
    const { status, head, fields, body } = await takeAnswer(wire);
    assert.is(status, 201);
    assert.is(fields.get("x-one"), "1");
    assert.is(fields.get("x-number"), "17");
    assert.is(fields.get("x-latin"), "\xe9");
    assert.is(fields.get("location"), "/made");
    assert.is(fields.get("content-type"), undefined);
    assert.is(head.match(/^Set-Cookie: [ab]=[12]\r$/gm)?.length, 2);
    assert.is(body.toString(), "made");
    wire.write(get("/bad-headers"));
    const results = JSON.parse((await takeAnswer(wire)).body.toString());
    assert.equal(results, [...Array(9).fill("TypeError"), ...Array(5).fill("RangeError")]);
    wire.destroy();
  }),
);

http("a client that half-closes after its requests gets its answers", () =>
  serving("http", {}, async (_server, port) => {
    const wire = await Wire.open(port);
    wire.socket.end(get("/hello") + get("/late?ms=50") + get("/size?n=1000000&kind=bytes"));
    assert.is((await takeAnswer(wire)).body.toString(), "hello\n");
    assert.is((await takeAnswer(wire)).status, 200);
    assert.ok((await takeAnswer(wire)).body.equals(filled(1000000, 3)));
    assert.is((await wire.takeAll()).length, 0);
    wire.destroy();
  }),
);

http("a head that trickles in is served; one that never ends is 408", () =>
  serving("http", { headersTimeout: 400, requestTimeout: 800 }, async (_server, port) => {
    const wire = await Wire.open(port);
    for (const byte of get("/hello")) {
      wire.write(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.is((await takeAnswer(wire)).body.toString(), "hello\n");
    wire.destroy();
    for (const bytes of ["GET /hello HTTP/1.1\r\nHost: a\r\n", "G"]) {
      const { status, ended } = await ask(port, bytes);
      assert.equal([status, ended], [408, true], bytes);
    }
    const slow = await ask(port, get("/echo", "Content-Length: 10\r\n", "POST"));
    assert.equal([slow.status, slow.ended], [408, true]);
  }),
);

http("an idle connection is closed after keepAliveTimeout", () =>
  serving("http", { keepAliveTimeout: 100 }, async (server, port) => {
    const wire = await Wire.open(port);
    wire.write(get("/hello"));
    assert.is((await takeAnswer(wire)).status, 200);
    assert.is((await wire.takeAll()).length, 0);
    wire.destroy();
    await until("closed", async () => (await server.stats()).closed.KeepAliveTimeout === 1);
  }),
);

http("a request's fault decides its status; then the connection ends", () =>
  serving("http", { requireContentLength: true, maxHeaders: 20 }, async (_server, port) => {
    const cases: [status: number, bytes: string][] = [
      [400, "GET / HTTP/1.1\r\n\r\n"],
      [400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"],
      [400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"],
      [400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"],
      [400, "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n"],
      [400, "GET / HTTP/1.1\rHost: a\r\n\r\n"],
      [400, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello TLS\r\n\r\n"],
      [400, get("/", "X: a\0b\r\n")],
      [400, get("/", "Content-Length: 1\r\nContent-Length: 2\r\n", "POST")],
      [400, get("/", "Content-Length: -1\r\n", "POST")],
      [400, get("/", "Content-Length: 1x\r\n", "POST")],
      [400, get("/", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "POST")],
      [400, `${get("/", "Transfer-Encoding: chunked\r\n", "POST")}xyz\r\n`],
      [411, get("/", "", "POST")],
      [414, get(`/${"a".repeat(9000)}`)],
      [431, get("/", `X: ${"a".repeat(20000)}\r\n`)],
      [431, get("/", "X: a\r\n".repeat(30))],
      [501, get("/", "", "BREW")],
      [501, get("/", "Transfer-Encoding: gzip, chunked\r\n", "POST")],
      [505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"],
      [426, get("/", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n")],
    ];
    for (const [status, bytes] of cases) {
      // More follows than the server reads; the answer arrives all the same.
      const answer = await ask(port, bytes + "x".repeat(10000));
      const what = JSON.stringify(bytes.slice(0, 80));
      assert.is(answer.status, status, what);
      assert.match(answer.fields.get("connection") ?? "", /\bclose$/, what);
      assert.is(answer.ended, true, what);
      if (status === 426) assert.is(answer.fields.get("sec-websocket-version"), "13");
    }
  }),
);

http("a handler that fails is 500, and its error is reported", () =>
  serving("http", {}, async (server, port) => {
    for (const [path, message] of [
      ["/throw", "thrown"],
      ["/reject", "rejected"],
      ["/silent", "the handler settled without an answer"],
    ] as const) {
      const { status, body } = await ask(port, get(path));
      assert.is(status, 500);
      assert.not.match(body.toString(), message);
      await until("report", () => reported.some((error) => error.message === message));
      assert.is(reported.at(-1)?.where, "request");
    }
    assert.is((await server.stats()).handlerErrors, 3);
    const wire = await Wire.open(port);
    wire.write(get("/throw-after") + get("/twice") + get("/hello"));
    assert.is((await takeAnswer(wire)).body.toString(), "sent");
    assert.is((await takeAnswer(wire)).body.toString(), "once");
    assert.is((await takeAnswer(wire)).body.toString(), "hello\n");
    wire.destroy();
    const twice = (await takeLog(port)).find(([what]) => what === "twice");
    assert.match(`${twice?.[1]}`, /answered already/);
    assert.is((await server.stats()).handlerErrors, 4);
  }),
);

http("a request is valid until its handler settles, whatever other requests do", () =>
  serving("http", {}, async (_server, port) => {
    const dispatcher = new Agent({ connections: 200, pipelining: 1, ...CONNECT });
    const origin = httpUrl(port);
    let noise = true;
    const noisy = Array.from({ length: 8 }, async (_, n) => {
      const wire = await Wire.open(port);
      while (noise) {
        wire.write(post("/echo", pattern(3000 + n, n), "X-Test: noise\r\n"));
        await takeAnswer(wire);
      }
      wire.destroy();
    });
    const ask200 = Array.from({ length: 200 }, async (_, i) => {
      for (let round = 0; round < 3; round++) {
        const body = pattern([0, 5, 700, 20000, 150000][(i + round) % 5] as number, i);
        const path = `/late?ms=${(i * 7 + round * 31) % 60}&who=${i}.${round}`;
        const answer = await request(origin + path, {
          ...{ dispatcher, method: "POST", body },
          headers: { "x-test": `${i}.${round}`, "x-long": "v".repeat((i * 13) % 500) },
        });
        const seen = JSON.parse(await answer.body.text());
        assert.is(seen.url, path);
        assert.is(seen.method, "POST");
        assert.is(seen.test, `${i}.${round}`);
        assert.is(new Map(seen.headers).get("x-long"), "v".repeat((i * 13) % 500));
        assert.ok(Buffer.from(seen.body, "base64").equals(body), `body of ${path}`);
      }
    });
    try {
      await Promise.all(ask200);
    } finally {
      noise = false;
      await Promise.all(noisy);
      await dispatcher.destroy();
    }
    const log = await takeLog(port);
    assert.equal(
      log.filter(([what]) => what === "changed after the answer"),
      [],
    );
    assert.equal(reported, []);
  }),
);

http("a client that leaves while its handler is at work harms no other", () =>
  serving("http", {}, async (server, port) => {
    const wires = [];
    for (let i = 0; i < 10; i++) {
      const wire = await Wire.open(port);
      wire.write(get(`/pending?${i}`));
      wires.push(wire);
    }
    const log: unknown[][] = [];
    await until("requests", async () => {
      log.push(...(await takeLog(port)));
      return log.filter(([what]) => what === "pending").length === 10;
    });
    for (const wire of wires) wire.reset();
    // A stopped reader notices no reset: the server learns of it when it answers, if not before.
    await ask(port, get("/release", "Connection: close\r\n"));
    await until("disconnects", async () => {
      log.push(...(await takeLog(port)));
      return (
        log.filter(([what, , , cause]) => what === "disconnect" && cause !== "Ok").length >= 10
      );
    });
    const released = log.filter(([what]) => what === "released");
    assert.is(released.length, 10);
    for (const [, sent] of released) assert.is(sent, true);
    await until("closed", async () => (await server.stats()).connections === 0);
    assert.is((await ask(port, get("/hello"))).status, 200);
    assert.equal(reported, []);
  }),
);

http("when the table is full, the connection that is idle the longest makes room", () =>
  serving("http", { maxConnections: 4, keepAliveTimeout: 60000 }, async (server, port) => {
    const wires: Wire[] = [];
    for (let i = 0; i < 4; i++) {
      const wire = await Wire.open(port);
      wire.write(get("/hello"));
      await takeAnswer(wire);
      wires.push(wire);
      // The engine counts whole milliseconds: no two connections are idle since the same one.
      await sleep(5);
    }
    // The first is busy, so the second is the one.
    const { bytesIn } = await server.stats();
    wires[0]?.write(get("/late?ms=500"));
    await until("request", async () => (await server.stats()).bytesIn > bytesIn);
    const fifth = await Wire.open(port);
    fifth.write(get("/hello"));
    assert.is((await takeAnswer(fifth)).status, 200);
    await wires[1]?.gone();
    assert.is((await takeAnswer(wires[0] as Wire)).status, 200);
    for (const wire of [wires[2], wires[3], fifth] as Wire[]) {
      wire.write(get("/hello"));
      assert.is((await takeAnswer(wire)).status, 200);
    }
    for (const wire of [...wires, fifth]) wire.destroy();
  }),
);

http("a server without handler answers 404", async () => {
  const { serve } = await import("ringcast");
  const server = await serve({ port: 0, ...SERVER_TLS });
  try {
    const { status } = await ask(portOf(server), get("/"));
    assert.is(status, 404);
  } finally {
    await server.close();
  }
});

http("undici, with keep-alive and pipelining, gets its responses", () =>
  serving("http", {}, async (_server, port) => {
    const dispatcher = new Agent({ connections: 4, pipelining: 8, ...CONNECT });
    const origin = httpUrl(port);
    const answers = Array.from({ length: 300 }, async (_, i) => {
      const size = (i * 997) % 90000;
      const { statusCode, body } = await request(`${origin}/size?n=${size}&kind=string`, {
        dispatcher,
      });
      assert.is(statusCode, 200);
      assert.ok(Buffer.from(await body.arrayBuffer()).equals(filled(size, 3)));
    });
    await Promise.all(answers);
    await dispatcher.destroy();
  }),
);

http.run();
