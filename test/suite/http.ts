// HTTP/1.1: a server's responses to requests in pieces of all sizes.

import { concat, latin1Of, octetsOf, pattern, textOf, textPattern } from "./bytes";
import { chunked, get, post } from "./client";
import { GOOD } from "./data";
import { Checks, ok, same, sameBytes } from "./harness";
import { handshake } from "../lib/handshake";

export const http = new Checks("http");

const HELLO = "hello\n";

http.add("a request has everything that was sent", async (scene) => {
  const wire = await scene.connect();
  const fields = "X-Test: 1\r\nx-test: 2\r\nX-Latin: \xe9\r\n";
  const { status, body } = await wire.ask(get("/all?a=%20b&c", fields, "PUT"));
  same(status, 200);
  same(JSON.parse(textOf(body)), {
    method: "PUT",
    url: "/all?a=%20b&c",
    path: "/all",
    query: "a=%20b&c",
    httpVersion: "1.1",
    headers: [
      ["host", "a"],
      ["x-test", "1"],
      ["x-test", "2"],
      ["x-latin", "\xe9"],
    ],
    upgrade: false,
    lower: "1, 2",
  });
});

http.add(
  "a target with a host gives the same request; OPTIONS without a path is about the server",
  async (scene) => {
    const wire = await scene.connect();
    const described = async (method: string, target: string): Promise<unknown[]> => {
      const {
        method: said,
        url,
        path,
        query,
      } = JSON.parse(textOf((await wire.ask(get(target, "", method))).body));
      return [said, url, path, query];
    };
    for (const [method, target, path, query] of [
      ["GET", "http://b/all?a", "/all", "a"],
      ["GET", "HTTP://b:80/all", "/all", ""],
      ["OPTIONS", "http://b", "*", ""],
      ["OPTIONS", "http://b/", "/", ""],
      ["OPTIONS", "http://b?a", "/", "a"],
      ["OPTIONS", "*", "*", ""],
    ] as const) {
      same(await described(method, target), [method, target, path, query]);
    }
  },
);

http.add("bodies of 0 B to 1 MB come back whole", async (scene) => {
  const wire = await scene.connect();
  for (const n of [0, 1, 100, 4096, 65535, 65536, 65537, 300000, 1000000]) {
    const body = pattern(n, n + 1);
    const answer = await wire.ask(post("/echo", body, "Content-Type: a/b\r\n"));
    same([answer.status, answer.fields.get("content-type")], [200, "a/b"]);
    same(answer.fields.get("content-length"), `${n}`);
    sameBytes(answer.body, body, `a body of ${n} bytes`);
  }
});

http.add("bodies in chunks of every size, with extensions and trailers", async (scene) => {
  const wire = await scene.connect();
  const head = get("/echo", "Transfer-Encoding: chunked\r\n", "POST");
  for (const sizes of [[1], [1, 2, 3, 5, 1000], [65536], [100000]]) {
    const body = pattern(sizes[0] === 1 && sizes.length === 1 ? 300 : 200001, sizes.length);
    wire.send(concat([octetsOf(head), chunked(body, sizes, "X-Trailer: a\r\n")]));
    sameBytes((await wire.answer()).body, body, `chunks of ${sizes}`);
  }
  wire.send(`${head}5;a=b;c="d;e"\r\nhello\r\n000\r\n\r\n`);
  sameBytes((await wire.answer()).body, "hello", "chunks with extensions");
});

http.add("a request that comes byte by byte", async (scene) => {
  const wire = await scene.connect();
  for (const byte of post("/echo", "small body", "X-Some: field\r\n")) {
    wire.send(Uint8Array.of(byte));
    await scene.running.wait(0);
  }
  sameBytes((await wire.answer()).body, "small body", "body");
});

http.add("pipelined requests are answered in their order", async (scene) => {
  const wire = await scene.connect();
  const body = pattern(100000);
  wire.send(get("/late?30") + get("/hello") + get("/late?10"));
  wire.send(post("/echo", body));
  wire.send(get("/hello", "", "HEAD") + get("/late?1") + get("/none") + get("/nowhere"));
  sameBytes((await wire.answer()).body, "/late?30", "first");
  sameBytes((await wire.answer()).body, HELLO, "second");
  sameBytes((await wire.answer()).body, "/late?10", "third");
  sameBytes((await wire.answer()).body, body, "fourth");
  same((await wire.answer("HEAD")).fields.get("content-length"), "6");
  sameBytes((await wire.answer()).body, "/late?1", "sixth");
  same((await wire.answer()).status, 204);
  same((await wire.answer()).status, 404);
  wire.send(get("/hello").repeat(500));
  for (let i = 0; i < 500; i++) sameBytes((await wire.answer()).body, HELLO, `answer ${i}`);
});

http.add("a connection is kept, unless a side says otherwise", async (scene) => {
  const kept = await scene.connect();
  for (let i = 0; i < 20; i++) same((await kept.ask(get("/hello"))).status, 200);
  const asked = await scene.connect();
  const answer = await asked.ask(get("/hello", "Connection: close\r\n"));
  same(answer.fields.get("connection"), "close");
  same([(await asked.takeAll()).length, asked.client.ended], [0, "fin"]);
  const closing = await scene.connect();
  same((await closing.ask(get("/close"))).fields.get("connection"), "close");
  same((await closing.takeAll()).length, 0);
});

http.add("HTTP/1.0 ends the connection, unless it asks to keep it", async (scene) => {
  const wire = await scene.connect();
  const { fields } = await wire.ask("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  same(fields.get("connection")?.toLowerCase(), "keep-alive");
  const { status, body } = await wire.ask("GET /hello HTTP/1.0\r\n\r\n");
  same([status, latin1Of(body)], [200, HELLO]);
  same((await wire.takeAll()).length, 0);
});

http.add("empty lines in front of a request are ignored", async (scene) => {
  const wire = await scene.connect();
  same((await wire.ask(`\r\n\r\n${get("/hello")}`)).status, 200);
});

http.add("100 (Continue) comes before the body is sent", async (scene) => {
  const wire = await scene.connect();
  const fields = "Content-Length: 4\r\nExpect: 100-continue\r\n";
  same((await wire.ask(get("/echo", fields, "POST"))).status, 100);
  sameBytes((await wire.ask("body")).body, "body", "body");
  const other = await scene.connect();
  same((await other.ask(get("/echo", "Expect: more\r\n"))).status, 417);
});

http.add("a client that ends its side after the request gets its answer", async (scene) => {
  const wire = await scene.connect();
  wire.send(get("/late?20")).end();
  sameBytes((await wire.answer()).body, "/late?20", "body");
  same((await wire.takeAll()).length, 0);
  const cut = await scene.connect();
  cut.send("GET /hello HTTP/1.1\r\nHo").end();
  await cut.takeAll();
  ok(cut.client.ended, "it ends");
});

/** Requests that are refused, by their status. */
const REFUSED: Readonly<Record<number, readonly string[]>> = {
  400: [
    "GET /hello HTTP/1.1\nHost: a\n\n",
    "GET  /hello HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET hello HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /hello\r\n\r\n",
    "GET /hello HTTP/1.1\r\n\r\n",
    "GET /hello HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "GET /hello HTTP/1.1\r\nHost : a\r\n\r\n",
    get("/hello", "X: a\r\n b\r\n"),
    get("/hello", "X: a\0b\r\n"),
    get("/hello", "X: a\rb\r\n"),
    get("/echo", "Content-Length: 3\r\nContent-Length: 4\r\n", "POST"),
    get("/echo", "Content-Length: -1\r\n", "POST"),
    get("/echo", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "POST"),
    get("/echo", "Transfer-Encoding: chunked, chunked\r\n", "POST"),
    `${get("/echo", "Transfer-Encoding: chunked\r\n", "POST")}g\r\n`,
    `${get("/echo", "Transfer-Encoding: chunked\r\n", "POST")}1\r\nab\r\n`,
  ],
  403: [handshake("/ws", "Origin: http://elsewhere\r\n")],
  413: [get("/echo", "Content-Length: 99999999\r\n", "POST")],
  414: [get(`/${"a".repeat(10000)}`)],
  426: [handshake("/ws").replace("Version: 13", "Version: 12")],
  431: [get("/hello", `X: ${"a".repeat(20000)}\r\n`), get("/hello", "X: a\r\n".repeat(200))],
  501: [
    "BREW /hello HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    get("/echo", "Transfer-Encoding: gzip, chunked\r\n", "POST"),
  ],
  505: ["GET /hello HTTP/2.0\r\nHost: a\r\n\r\n"],
};

for (const [due, requests] of Object.entries(REFUSED)) {
  http.add(`${due} refuses with an answer before the connection ends`, async (scene) => {
    for (const request of requests) {
      const wire = await scene.connect();
      const what = JSON.stringify(request.slice(0, 80));
      const { status, fields } = await wire.ask(request);
      same(status, Number(due), what);
      ok(/\bclose$/.test(fields.get("connection") ?? ""), `${what} closes`);
      same((await wire.takeAll()).length, 0, what);
    }
  });
}

http.add("a good request before a bad one gets its answer first", async (scene) => {
  const wire = await scene.connect();
  wire.send(`${get("/late?10")}GARBAGE\r\n\r\n`);
  sameBytes((await wire.answer()).body, "/late?10", "body");
  same((await wire.answer()).status, 400);
  await wire.takeAll();
});

http.add("fields, statuses and a static body", async (scene) => {
  const wire = await scene.connect();
  const made = await wire.ask(get("/headers"));
  same(made.status, 201);
  same(made.fields.get("set-cookie"), "a=1, b=2");
  same(made.fields.get("x-latin"), "\xe9");
  same([made.fields.get("location"), made.fields.get("content-type")], ["/made", "text/plain"]);
  ok(made.fields.has("date"), "it has a date");
  for (let i = 0; i < 3; i++) {
    const { fields, body } = await wire.ask(get("/static"));
    same([fields.get("x-static"), textOf(body)], ["yes", "static\n"]);
  }
  const text = textPattern(1000);
  sameBytes((await wire.ask(post("/text", text))).body, text, "text");
});

http.add("a body is text or the bytes of a view; anything else is a TypeError", async (scene) => {
  const wire = await scene.connect();
  same(textOf((await wire.ask(get("/data"))).body), "[]", "what was not refused");
  for (const [i, { name, bytes }] of GOOD.entries()) {
    sameBytes((await wire.ask(get(`/good?${i}`))).body, Uint8Array.from(bytes), name);
    const due = Uint8Array.from([60, ...bytes, 62]);
    sameBytes((await wire.ask(get(`/written?${i}`))).body, due, `a piece: ${name}`);
  }
});

http.add("an answer of 5 MB comes whole", async (scene) => {
  const wire = await scene.connect();
  const { body } = await wire.ask(get("/large?5000000"));
  sameBytes(body, new Uint8Array(5000000).fill(7), "body");
  same((await wire.ask(get("/hello"))).status, 200);
});

/** Checks the body of /pieces and /generated. */
function checkPieces(body: Uint8Array, count: number): void {
  for (let i = 0; i < count; i++) {
    const start = i * 50008;
    same(latin1Of(body.subarray(start, start + 9)), `${`${i}`.padStart(8)}x`, `piece ${i}`);
  }
}

http.add("answers come in pieces, chunked for 1.1", async (scene) => {
  const wire = await scene.connect();
  const short = await wire.ask(get("/stream"));
  same([short.fields.get("transfer-encoding"), textOf(short.body)], ["chunked", "one,two,three"]);
  const { fields, body } = await wire.ask(get("/pieces?60"));
  same([fields.get("x-pieces"), body.length], ["60", 60 * 50008 + 3]);
  checkPieces(body, 60);
  const generated = await wire.ask(get("/generated?40"));
  same(generated.body.length, 40 * 50008);
  checkPieces(generated.body, 40);
  same((await wire.ask(get("/hello"))).status, 200);
});

http.add("answers in pieces go up to the end of the connection for 1.0", async (scene) => {
  const wire = await scene.connect();
  const { fields, body } = await wire.ask("GET /pieces?10 HTTP/1.0\r\n\r\n");
  same([fields.has("transfer-encoding"), fields.has("content-length")], [false, false]);
  same(body.length, 10 * 50008 + 3);
  checkPieces(body, 10);
});

http.add("a client that leaves amid a response or a request disturbs no other", async (scene) => {
  const before = scene.running.errors.length;
  for (let i = 0; i < 6; i++) {
    const quitter = await scene.connect();
    quitter.send(get(i % 2 === 0 ? "/pieces?1000" : "/late?30"));
    if (i % 2 === 0) await quitter.takeThrough("\r\n\r\n");
    // Lets the request arrive, most of the time: the client may leave before or after that.
    else await scene.running.wait(2);
    if (i < 3) quitter.reset();
    else quitter.end();
  }
  const wire = await scene.connect();
  same((await wire.ask(get("/late?40"))).status, 200);
  same(scene.running.errors.slice(before), []);
});

http.add("an error of a handler is a 500 for its request alone", async (scene) => {
  const other = await scene.connect();
  const before = scene.running.errors.length;
  for (const path of ["/throw", "/reject"]) {
    const wire = await scene.connect();
    same((await wire.ask(get(path))).status, 500, path);
    same((await other.ask(get("/hello"))).status, 200);
  }
  await scene.until("reports", () => scene.running.errors.length >= before + 2);
  same(scene.running.errors.slice(before), [
    { where: "request", message: "thrown" },
    { where: "request", message: "rejected" },
  ]);
});

const inline = { when: (_platform: unknown, place: string) => place === "module" };

http.add(
  "an upload larger than maxBodyLength is read in pieces",
  async (scene) => {
    const wire = await scene.connect();
    const body = pattern(3000000, 9);
    let sum = 0;
    for (const byte of body) sum = (sum * 31 + byte) >>> 0;
    wire.send(post("/upload/count", body));
    sameBytes((await wire.answer()).body, `${body.length} ${sum}`, "sum");
    const head = get("/upload/count", "Transfer-Encoding: chunked\r\n", "POST");
    wire.send(concat([octetsOf(head), chunked(body, [1, 1000, 65536])]));
    sameBytes((await wire.answer()).body, `${body.length} ${sum}`, "sum of chunks");
  },
  inline,
);

http.add(
  "an upload is sent back while it comes",
  async (scene) => {
    const wire = await scene.connect();
    const body = pattern(2000000, 11);
    wire.send(post("/upload/echo", body));
    sameBytes((await wire.answer()).body, body, "body");
  },
  inline,
);

http.add(
  "an upload that breaks off is reported to its reader",
  async (scene) => {
    const wire = await scene.connect();
    wire.send(get("/upload/broken?upload", "Content-Length: 100000\r\n", "POST")).send("abc");
    const first = await scene.log("upload");
    same(first, [["piece", true]]);
    wire.reset();
    const [broken] = await scene.log("upload");
    same(broken?.slice(0, 2), ["broken", "BodyError"]);
  },
  inline,
);
