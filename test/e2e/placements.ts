// Claims that hold wherever a handler runs: one body of tests for all placements.

import { request } from "undici";
import { type Options, type Server, serve } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  BINARY,
  CLOSE,
  PING,
  PONG,
  TEXT,
  Wire,
  WsWire,
  clientFrame,
  closeOf,
  handshake,
  pattern,
  takeAnswer,
  textPattern,
  until,
  within,
} from "./peer";
import { portOf } from "../lib/port";

/** Errors the servers of this process reported. */
const reported: { where: string; message: string }[] = [];

const COOKIE = "Cookie: a=b; user=ada\r\n";

function get(path: string, fields = "", method = "GET"): string {
  return `${method} ${path} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`;
}

function post(path: string, body: string | Uint8Array, fields = ""): Buffer {
  const bytes = Buffer.from(body);
  const head = get(path, `Content-Length: ${bytes.length}\r\n${fields}`, "POST");
  return Buffer.concat([Buffer.from(head), bytes]);
}

/** Sends one request on a connection of its own. */
async function ask(port: number, bytes: string | Uint8Array): ReturnType<typeof takeAnswer> {
  const wire = await Wire.open(port);
  try {
    return await takeAnswer(wire.write(bytes));
  } finally {
    wire.destroy();
  }
}

/** Opens a WebSocket of a known user, past its welcome. */
async function enter(port: number, path = "/room", first?: Uint8Array): Promise<WsWire> {
  const ws = await WsWire.open(port, path, first, COOKIE);
  assert.is(await ws.text(), "welcome ada");
  return ws;
}

/** Returns the notes since the last look, of the handler's copy that has the WebSockets. */
async function takeLog(port: number): Promise<unknown[][]> {
  const ws = await enter(port);
  ws.send(TEXT, "log");
  const log = JSON.parse(await ws.text()) as unknown[][];
  ws.destroy();
  return log;
}

/**
 * Registers the tests of a placement.
 * @param options that put the handler of handlers/placements.mjs there
 * @param streams false where answers in pieces are refused
 */
export function placementTests(name: string, options: () => Promise<Options>): void {
  const test = suite(name);

  const serving = (
    title: string,
    body: (port: number, server: Server) => Promise<void>,
    more: Options = {},
  ): void => {
    test(title, async () => {
      reported.length = 0;
      const server = await serve({
        port: 0,
        onError: (error, where) => reported.push({ where, message: error.message }),
        ...(await options()),
        ...more,
      });
      try {
        await body(portOf(server), server);
      } finally {
        await within(server.close(), "close");
      }
    });
  };

  serving("a request has everything that was sent", async (port) => {
    const fields = "X-Test: 1\r\nx-test: 2\r\nCookie: user=ada\r\nX-Latin: \xe9\r\n";
    const text = Buffer.from(get("/all?a=%20b&c", fields), "latin1");
    const all = JSON.parse((await ask(port, text)).body.toString());
    assert.equal(all, {
      method: "GET",
      url: "/all?a=%20b&c",
      path: "/all",
      query: "a=%20b&c",
      httpVersion: "1.1",
      remoteAddress: "127.0.0.1",
      headers: [
        ["host", "a"],
        ["x-test", "1"],
        ["x-test", "2"],
        ["cookie", "user=ada"],
        ["x-latin", "\xe9"],
      ],
      upgrade: false,
      body: "",
      cookie: "user=ada",
    });
    const old = JSON.parse((await ask(port, "PUT /all HTTP/1.0\r\n\r\n")).body.toString());
    assert.equal([old.method, old.httpVersion, old.headers], ["PUT", "1.0", []]);
  });

  serving("bodies of every length come and go whole", async (port) => {
    for (const n of [0, 1, 100, 65536, 300000, 1000000]) {
      const body = pattern(n, n + 1);
      const answer = await ask(port, post("/echo", body, "Content-Type: a/b\r\n"));
      assert.is(answer.status, 200);
      assert.is(answer.fields.get("content-type"), "a/b");
      assert.ok(answer.body.equals(body), `${n} bytes`);
    }
    const { body } = await ask(port, get("/large?5000000"));
    assert.ok(body.equals(Buffer.alloc(5000000, 7)));
    const text = textPattern(1000);
    assert.is((await ask(port, post("/text", text))).body.toString(), text);
    const json = '{"a":[1,"€"]}';
    assert.is((await ask(port, post("/json", json))).body.toString(), json);
  });

  serving("fields, statuses and a static body", async (port) => {
    const made = await ask(port, get("/headers"));
    assert.is(made.status, 201);
    assert.is(made.fields.get("x-one"), "1");
    assert.is(made.fields.get("set-cookie"), "a=1, b=2");
    assert.is(made.fields.get("x-latin"), "\xe9");
    assert.is(made.fields.get("location"), "/made");
    assert.is(made.fields.get("content-type"), "text/plain");
    assert.is((await ask(port, get("/none"))).status, 204);
    assert.is((await ask(port, get("/nowhere"))).status, 404);
    for (let i = 0; i < 3; i++) {
      const { fields, body } = await ask(port, get("/static"));
      assert.equal([fields.get("x-static"), body.toString()], ["yes", "static\n"]);
    }
    const closing = await ask(port, get("/close"));
    assert.is(closing.fields.get("connection"), "close");
  });

  serving("wrong arguments throw, and the request can still be answered", async (port) => {
    assert.equal(JSON.parse((await ask(port, get("/mistakes"))).body.toString()), [
      'TypeError: header: "X A" is not a field name',
      "TypeError: header: the value of X-A has an octet that field values must not have",
      "TypeError: header: Upgrade frames the message, so the server sets it",
      "RangeError: status: 99 is not a whole number from 200 to 599",
      'RangeError: status: "200" is not a whole number from 200 to 599',
      "TypeError: header: the value of Content-Type has an octet that field values must not have",
      "TypeError: body: 5 is not a string, an ArrayBuffer or a view of one",
      "TypeError: body: null is not a string, an ArrayBuffer or a view of one",
      "TypeError: body: not made by this server's body()",
      "TypeError: upgrade: the request is not a WebSocket handshake",
      "Error: write: call begin() first",
    ]);
    assert.is((await ask(port, get("/twice"))).body.toString(), "once");
  });

  serving("an error of a handler is a 500 for its request alone", async (port, server) => {
    const other = await Wire.open(port);
    for (const [path, message] of [
      ["/throw", "thrown"],
      ["/reject", "rejected"],
      ["/silent", "the handler settled without an answer"],
    ] as const) {
      assert.is((await ask(port, get(path))).status, 500, path);
      await until("report", () => reported.some((error) => error.message === message));
      assert.is((await takeAnswer(other.write(get("/hello")))).status, 200);
    }
    assert.equal(
      reported.map(({ where }) => where),
      ["request", "request", "request"],
    );
    assert.is((await server.stats()).handlerErrors, 3);
    other.destroy();
  });

  serving("a connection persists, and pipelined answers keep their order", async (port) => {
    const wire = await Wire.open(port);
    for (let i = 0; i < 10; i++) {
      assert.is((await takeAnswer(wire.write(get("/hello")))).body.toString(), "hello\n");
    }
    const body = pattern(100000);
    wire.write(get("/late?40") + get("/hello") + get("/late?10"));
    wire.write(post("/echo", body));
    wire.write(get("/hello", "", "HEAD") + get("/late?1"));
    assert.is((await takeAnswer(wire)).body.toString(), "/late?40");
    assert.is((await takeAnswer(wire)).body.toString(), "hello\n");
    assert.is((await takeAnswer(wire)).body.toString(), "/late?10");
    assert.ok((await takeAnswer(wire)).body.equals(body));
    assert.is((await takeAnswer(wire, "HEAD")).fields.get("content-length"), "6");
    assert.is((await takeAnswer(wire)).body.toString(), "/late?1");
    wire.destroy();
  });

  serving("many connections are answered, each its own", async (port) => {
    const numbers = Array.from({ length: 200 }, (_, i) => i);
    const answers = await Promise.all(
      numbers.map(async (i) => {
        const { body } = await request(`http://127.0.0.1:${port}/late?${i % 7}&${i}`);
        return body.text();
      }),
    );
    assert.equal(
      answers,
      numbers.map((i) => `/late?${i % 7}&${i}`),
    );
  });

  serving("a client that leaves while its request is handled affects no other", async (port) => {
    for (let i = 0; i < 20; i++) {
      const wire = await Wire.open(port);
      wire.write(get("/late?50"));
      await until("sent", () => wire.socket.bytesWritten > 0);
      if (i % 2 === 0) wire.destroy();
      else wire.reset();
    }
    assert.is((await ask(port, get("/late?60"))).status, 200);
    assert.equal(reported, []);
  });

  serving("answers come in pieces, as fast as the client reads", async (port) => {
    const short = await request(`http://127.0.0.1:${port}/stream`);
    assert.is(await short.body.text(), "one,two,three");
    const long = await request(`http://127.0.0.1:${port}/pieces?100`);
    assert.is(long.headers["x-pieces"], "100");
    const text = await long.body.text();
    assert.is(text.length, 100 * 50008 + 3);
    for (let i = 0; i < 100; i++)
      assert.is(text.slice(i * 50008, i * 50008 + 8), `${i}`.padStart(8));
    const quitter = await Wire.open(port);
    quitter.write(get("/pieces?1000"));
    await quitter.takeThrough("\r\n\r\n");
    quitter.reset();
    assert.is((await ask(port, get("/hello"))).status, 200);
    assert.equal(reported, []);
  });

  serving(
    "an upgrade after asynchronous authentication has data, protocol, fields",
    async (port) => {
      const wire = await Wire.open(port);
      wire.write(handshake("/room/7", `${COOKIE}Sec-WebSocket-Protocol: a, b\r\n`));
      const head = await wire.takeThrough("\r\n\r\n");
      assert.ok(head.startsWith("HTTP/1.1 101 "), head);
      for (const field of [
        "Set-Cookie: seen=ada",
        "Set-Cookie: theme=dark",
        "X-Path: /room/7",
        "Sec-WebSocket-Protocol: b",
      ]) {
        // A name's case says nothing (RFC 9110 5.1).
        const line = `\r\n${field}\r\n`.toLowerCase();
        assert.ok(head.toLowerCase().includes(line), `${field} in ${head}`);
      }
      wire.destroy();
      const ws = await WsWire.open(
        port,
        "/room/8",
        clientFrame(TEXT, "who"),
        `${COOKIE}Sec-WebSocket-Protocol: b\r\n`,
      );
      assert.is(await ws.text(), "welcome ada");
      const data = { user: "ada", path: "/room/8", since: [1, 2, 3] };
      assert.equal(JSON.parse(await ws.text()), [data, "b", "127.0.0.1", true]);
      ws.destroy();
    },
  );

  serving("an upgrade is refused by an ordinary answer", async (port) => {
    const wire = await Wire.open(port);
    const { status, fields, body } = await takeAnswer(wire.write(handshake("/room")));
    assert.equal([status, fields.get("x-why"), body.toString()], [401, "cookie", "who are you?\n"]);
    // The following bytes may be for the protocol that was asked for.
    assert.is(fields.get("connection"), "close");
    await wire.gone();
  });

  serving("messages are echoed, text and binary, in order", async (port) => {
    const text = textPattern(300);
    const first = Buffer.concat([clientFrame(TEXT, "a"), clientFrame(TEXT, "late 20")]);
    const ws = await enter(port, "/room", Buffer.concat([first, clientFrame(TEXT, "late 0")]));
    ws.send(BINARY, pattern(70000)).send(TEXT, text).send(BINARY, "").send(TEXT, "");
    for (const due of ["a", "late 20", "late 0"]) assert.is(await ws.text(), due);
    const binary = await ws.next();
    assert.is(binary.opcode, BINARY);
    assert.ok(binary.payload.equals(pattern(70000)));
    assert.is(await ws.text(), text);
    assert.equal([(await ws.next()).opcode, (await ws.next()).opcode], [BINARY, TEXT]);
    for (let i = 0; i < 2000; i++) ws.send(TEXT, `${i}`);
    for (let i = 0; i < 2000; i++) assert.is(await ws.text(), `${i}`);
    ws.destroy();
  });

  serving("a close reports its code and reason to both sides", async (port) => {
    const ours = await enter(port);
    ours.send(TEXT, "close");
    assert.equal(closeOf(await ours.next()), { code: 4000, reason: "as you wish" });
    ours.send(CLOSE, Buffer.from([0x0f, 0xa0]));
    await ours.gone();
    const theirs = await enter(port);
    theirs.send(CLOSE, Buffer.from("\x0f\xa1bye", "latin1"));
    assert.is(closeOf(await theirs.next()).code, 4001);
    await theirs.gone();
    const cut = await enter(port);
    cut.send(TEXT, "terminate");
    await cut.gone();
    const failed = await enter(port);
    failed.send(TEXT, "fail");
    assert.is(closeOf(await failed.next()).code, 1011);
    failed.destroy();
    const closes: unknown[][] = [];
    await until("closes", async () => {
      const log = await takeLog(port);
      closes.push(...log.filter(([what, code]) => what === "close" && code !== 1006));
      return closes.length >= 3;
    });
    assert.equal(closes.slice(0, 2), [
      ["close", 4000, "closed by the application", "Application", false],
      ["close", 4001, "bye", "PeerClosed", false],
    ]);
    assert.equal(reported, [{ where: "message", message: "failed as asked" }]);
  });

  serving("pings and pongs are reported", async (port) => {
    const ws = await enter(port);
    ws.send(PING, "ping").send(PONG, "pong");
    const pong = await ws.next();
    assert.equal([pong.opcode, pong.payload.toString()], [PONG, "ping"]);
    ws.send(TEXT, "log");
    assert.equal(JSON.parse(await ws.text()), [
      ["ping", "ping"],
      ["pong", "pong"],
    ]);
    ws.destroy();
  });

  serving(
    "a client whose queue is full is drained, and nothing it was promised is lost",
    async (port) => {
      const ws = await enter(port);
      ws.socket.pause();
      ws.send(TEXT, "flood");
      let log: unknown[][] = [];
      await until("flood", async () => {
        log = log.concat(await takeLog(port));
        return log.some(([what]) => what === "flood");
      });
      assert.equal(
        log.filter(([what]) => what === "flood"),
        [["flood", true, true]],
      );
      ws.socket.resume();
      let got = 0;
      let frame = await ws.next();
      for (; frame.opcode === BINARY; frame = await ws.next()) {
        assert.is(frame.payload.length, 10000);
        got++;
      }
      assert.is(frame.opcode, TEXT);
      assert.is(frame.payload.toString(), `drained ${got}`);
      ws.destroy();
    },
    { maxBacklog: 65536 },
  );

  serving("broadcasts of the application reach every client", async (port, server) => {
    const clients = await Promise.all([enter(port), enter(port), enter(port)]);
    for (let i = 0; i < 100; i++) assert.ok(server.broadcast(`${i}`));
    for (const ws of clients) {
      for (let i = 0; i < 100; i++) assert.is(await ws.text(), `${i}`);
      ws.destroy();
    }
  });

  serving("a shutdown answers pending requests and sends Close 1001", async (port, server) => {
    const ws = await enter(port);
    const wire = await Wire.open(port);
    const { bytesIn } = await server.stats();
    wire.write(get("/late?100"));
    await until("request", async () => (await server.stats()).bytesIn > bytesIn);
    const ended = within(server.shutdown(), "shutdown");
    assert.is(closeOf(await ws.next()).code, 1001);
    ws.send(CLOSE, Buffer.from([3, 233]));
    const { status, fields } = await takeAnswer(wire);
    assert.equal([status, fields.get("connection")], [200, "close"]);
    wire.destroy();
    ws.destroy();
    await ended;
  });

  test.run();
}
