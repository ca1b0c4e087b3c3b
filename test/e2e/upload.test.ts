// Requests whose bodies are streamed: larger than memory, slower than the client, broken off, not wanted.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import * as nodeTls from "node:tls";
import type { Options, Server } from "ringcast";
import { Client } from "undici";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Child } from "./child";
import {
  LIMIT,
  type Wire as TcpWire,
  Wire,
  pattern,
  reported,
  serving,
  sleep,
  standstill,
  takeAnswer,
  until,
} from "./peer";

const upload = suite("upload");
const MiB = 1048576;
const isStream = process.env.RINGCAST_STREAM === "1";

const withServer = (
  fn: (server: Server, port: number) => Promise<void>,
  options: Options = {},
): Promise<void> => serving("upload", options, fn);

const head = (path: string, ...fields: string[]): string =>
  `${[`POST ${path} HTTP/1.1`, "Host: a", ...fields].join("\r\n")}\r\n\r\n`;
const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;
const chunk = (data: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from(`${data.length.toString(16)}\r\n`), data, Buffer.from("\r\n")]);
const sha1 = (bytes: Uint8Array): string => createHash("sha1").update(bytes).digest("hex");

/** Sends a request on a connection of its own; returns the body of the response. */
async function ask(port: number, path: string): Promise<string> {
  const wire = await Wire.open(port);
  const { body } = await takeAnswer(wire.write(get(path)));
  wire.destroy();
  return body.toString();
}

async function logOf(port: number): Promise<unknown[]> {
  return JSON.parse(await ask(port, "/log")) as unknown[];
}

/** Waits for an entry of the handler's log that passes. */
async function logged(port: number, what: string, passes: (entry: unknown) => boolean) {
  const seen: unknown[] = [];
  await until(`log: ${what}`, async () => {
    seen.push(...(await logOf(port)));
    return seen.some(passes);
  });
  return seen;
}

/** The cause in a log entry [name, cause, …]. */
const isBroken = (entry: unknown): boolean => Array.isArray(entry) && entry[0] === "BodyError";

upload("a body arrives in pieces, plain or chunked, and the connection persists", () =>
  withServer(async (_, port) => {
    const wire = await Wire.open(port);
    for (const size of [0, 1, 1000, 65536, 3 * MiB]) {
      const body = pattern(size);
      wire.write(head("/read", `Content-Length: ${size}`)).write(body);
      const plain = JSON.parse((await takeAnswer(wire)).body.toString());
      assert.equal({ ...plain, pieces: 0 }, { bytes: size, pieces: 0, sha1: sha1(body) });
      assert.is(plain.pieces === 0, size === 0);
      wire.write(head("/read", "Transfer-Encoding: chunked"));
      for (let at = 0; at < size; at += 7001) wire.write(chunk(body.subarray(at, at + 7001)));
      wire.write("0\r\nX-Trailer: a\r\n\r\n");
      const chunked = JSON.parse((await takeAnswer(wire)).body.toString());
      assert.equal({ ...chunked, pieces: 0 }, { bytes: size, pieces: 0, sha1: sha1(body) });
    }
    wire.write(`${head("/read", "Content-Length: 2")}hi${get("/hello")}`);
    assert.is(JSON.parse((await takeAnswer(wire)).body.toString()).bytes, 2);
    assert.is((await takeAnswer(wire)).body.toString(), "hello\n");
    wire.destroy();
  }),
);

upload("a body byte by byte is the same body", () =>
  withServer(async (_, port) => {
    const wire = await Wire.open(port);
    const text = `${head("/read", "Transfer-Encoding: chunked")}3;a="b"\r\nabc\r\n0\r\nX: y\r\n\r\n`;
    for (const octet of Buffer.from(text + get("/hello"))) {
      wire.write(Uint8Array.of(octet));
      // Most arrive alone.
      await sleep(1);
    }
    const { bytes } = JSON.parse((await takeAnswer(wire)).body.toString());
    assert.is(bytes, 3);
    assert.is((await takeAnswer(wire)).body.toString(), "hello\n");
    wire.destroy();
  }),
);

upload("a body that is not streamed is one piece, and can be read as text too", () =>
  withServer(async (_, port) => {
    const wire = await Wire.open(port);
    wire.write(`${head("/whole", "Content-Length: 5")}hello${head("/whole")}`);
    assert.equal(JSON.parse((await takeAnswer(wire)).body.toString()), {
      body: "hello",
      bytes: 5,
      pieces: 1,
      sha1: sha1(Buffer.from("hello")),
    });
    const empty = JSON.parse((await takeAnswer(wire)).body.toString());
    assert.equal({ body: empty.body, pieces: empty.pieces }, { body: "", pieces: 0 });
    wire.destroy();
  }),
);

upload("a streamed body has one reader, and cannot be read whole", () =>
  withServer(async (_, port) => {
    const wire = await Wire.open(port);
    wire.write(`${head("/misuse", "Content-Length: 5", "Content-Type: text/x")}hello`);
    const { bytes, results, type, url } = JSON.parse((await takeAnswer(wire)).body.toString());
    assert.is(bytes, 5);
    assert.is(type, "text/x");
    assert.is(url, "/misuse");
    const streamed = "the body is streamed; read it with stream() or collect()";
    const second = "stream: the body has a reader already";
    assert.equal(results, [
      `body: ${streamed}`,
      `text: ${streamed}`,
      `json: ${streamed}`,
      "limit: -1 is not a number of bytes",
      second,
      second,
    ]);
    wire.destroy();
  }),
);

upload("collect gathers a body up to its limit", () =>
  withServer(async (_, port) => {
    const wire = await Wire.open(port);
    const body = pattern(200000);
    wire.write(head("/collect?200000", "Content-Length: 200000")).write(body);
    assert.equal(JSON.parse((await takeAnswer(wire)).body.toString()), { bytes: 200000 });
    wire.write(head("/collect?199999", "Content-Length: 200000")).write(body);
    const refused = await takeAnswer(wire);
    assert.is(refused.body.toString(), "RangeError collect: the body has more than 199999 bytes");
    wire.destroy();
  }),
);

upload(`${isStream ? "256 MiB" : "1 GiB"} is uploaded without buffering it in memory`, async () => {
  const child = new Child("uploads");
  try {
    const port = await child.next<number>(LIMIT);
    const size = isStream ? 256 * MiB : 1024 * MiB;
    await ask(port, "/hello");
    child.tell("start");
    const before = await child.next<number>(LIMIT);
    const wire = await Wire.open(port);
    const piece = pattern(MiB);
    const hash = createHash("sha1");
    wire.write(head("/read", `Content-Length: ${size}`));
    for (let at = 0; at < size; at += piece.length) {
      hash.update(piece);
      if (!wire.socket.write(piece)) {
        await new Promise((resolve) => wire.socket.once("drain", resolve));
      }
    }
    const { bytes, sha1 } = JSON.parse((await takeAnswer(wire)).body.toString());
    child.tell("stop");
    const grown = (await child.next<number>(LIMIT)) - before;
    console.log(`\n  RSS ${(before / 1e6).toFixed(1)} MB, ${(grown / 1e6).toFixed(1)} MB more`);
    assert.is(bytes, size);
    assert.is(sha1, hash.digest("hex"));
    assert.ok(grown < 64 * MiB, `${grown} bytes more`);
    wire.destroy();
  } finally {
    child.end();
  }
});

upload("a slow reader stops its client, and loses nothing", () =>
  withServer(async (_, port) => {
    const wire = await Wire.open(port);
    const size = 64 * MiB;
    wire.write(head("/pause", `Content-Length: ${size}`));
    const piece = pattern(MiB);
    let written = 0;
    const writing = (async () => {
      for (; written < size; written += piece.length) {
        if (wire.socket.write(piece)) continue;
        await new Promise((resolve) => wire.socket.once("drain", resolve));
      }
    })();
    await logged(port, "paused", (entry) => entry === "paused");
    await standstill("bytes written", () => written);
    // The kernels hold this on the way; the server holds a window and a read.
    assert.ok(written < 24 * MiB, `${written} bytes went`);
    await ask(port, "/go");
    await writing;
    assert.equal(JSON.parse((await takeAnswer(wire)).body.toString()), { bytes: size });
    wire.destroy();
  }),
);

upload("bounds the memory for many small pieces, too", () =>
  withServer(async (_, port) => {
    const wire = await Wire.open(port);
    const count = 4000;
    wire.write(head("/pause", `Content-Length: ${count}`));
    for (let i = 0; i < count; i++) {
      wire.write("x");
      // They go out in many pieces.
      if (i % 10 === 0) await sleep(0);
    }
    await logged(port, "paused", (entry) => entry === "paused");
    await ask(port, "/go");
    assert.equal(JSON.parse((await takeAnswer(wire)).body.toString()), { bytes: count });
    wire.destroy();
  }),
);

upload("an echo streams both ways at once, and the connection persists", () =>
  withServer(async (_, port) => {
    const wire = await Wire.open(port);
    const piece = pattern(10000);
    wire.write(head("/echo", "Transfer-Encoding: chunked")).write(chunk(piece));
    assert.match(await wire.takeThrough("\r\n\r\n"), /^HTTP\/1\.1 200 [\s\S]*chunked/);
    const takePiece = async (): Promise<Buffer> => {
      const size = Number.parseInt(await wire.takeThrough("\r\n"), 16);
      const data = await wire.take(size);
      assert.is((await wire.take(2)).toString(), "\r\n");
      return data;
    };
    // Each piece is back before the next is sent.
    for (let i = 0; i < 20; i++) {
      let back = Buffer.alloc(0);
      while (back.length < piece.length) back = Buffer.concat([back, await takePiece()]);
      assert.ok(back.equals(piece), `piece ${i}`);
      wire.write(i < 19 ? chunk(piece) : "0\r\n\r\n");
    }
    assert.is((await takePiece()).length, 0);
    wire.write(get("/hello"));
    assert.is((await takeAnswer(wire)).body.toString(), "hello\n");
    wire.destroy();
  }),
);

upload("undici uploads and reads at the same time", () =>
  withServer(async (_, port) => {
    const client = new Client(`http://127.0.0.1:${port}`);
    const piece = pattern(100000);
    const body = async function* (): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 100; i++) yield piece;
    };
    const answer = await client.request({ path: "/echo", method: "POST", body: body() as never });
    const hash = createHash("sha1");
    for await (const bytes of answer.body) hash.update(bytes as Uint8Array);
    const expected = createHash("sha1");
    for (let i = 0; i < 100; i++) expected.update(piece);
    assert.is(hash.digest("hex"), expected.digest("hex"));
    await client.close();
  }),
);

// ---- Expect ------------------------------------------------------------------------------------

const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n";
const expecting = (path: string, size: number): string =>
  head(path, "Expect: 100-continue", `Content-Length: ${size}`);

upload("100 (Continue) is sent when the handler begins to read, not before", () =>
  withServer(async (_, port) => {
    const wire = await Wire.open(port);
    wire.write(expecting("/wait", 5));
    await logged(port, "waiting", (entry) => entry === "waiting");
    // Nothing must come.
    await sleep(100);
    assert.is(wire.length, 0, "nothing was sent while the handler waits");
    await ask(port, "/go");
    assert.is(await wire.takeThrough("\r\n\r\n"), CONTINUE);
    wire.write("hello");
    assert.is(JSON.parse((await takeAnswer(wire)).body.toString()).bytes, 5);
    wire.write(expecting("/echo-late", 3));
    assert.is(await wire.takeThrough("\r\n\r\n"), CONTINUE);
    wire.write("abc");
    assert.is((await takeAnswer(wire)).body.toString(), "abc");
    wire.destroy();
  }),
);

upload("100 (Continue) comes before an answer that streams the body back", () =>
  withServer(async (_, port) => {
    const wire = await Wire.open(port);
    wire.write(expecting("/echo", 5));
    assert.is(await wire.takeThrough("\r\n\r\n"), CONTINUE);
    assert.match(await wire.takeThrough("\r\n\r\n"), /^HTTP\/1\.1 200 /);
    wire.write("hello");
    assert.is(await wire.takeThrough("0\r\n\r\n"), "5\r\nhello\r\n0\r\n\r\n");
    wire.destroy();
  }),
);

upload("100 (Continue) is left out when the body has begun", () =>
  withServer(async (server, port) => {
    const wire = await Wire.open(port);
    const begun = `${expecting("/read", 5)}he`;
    wire.write(begun);
    await until("begun", async () => (await server.stats()).bytesIn === begun.length);
    wire.write("llo");
    assert.is((await takeAnswer(wire)).status, 200);
    wire.destroy();
  }),
);

for (const path of ["/early", "/early-later", "/begin-early"]) {
  upload(`${path} does not ask for the body, and ends the connection`, () =>
    withServer(async (_, port) => {
      const wire = await Wire.open(port);
      wire.write(expecting(path, 5));
      const text = (await wire.takeAll()).toString();
      assert.match(text, /^HTTP\/1\.1 403 [\s\S]*Connection: close\r\n/);
      assert.not.match(text, /100 Continue/);
      wire.destroy();
    }),
  );
}

// ---- early answers -----------------------------------------------------------------------------

for (const path of ["/early", "/early-later", "/first"]) {
  upload(`${path}: bytes of a body that is not read are never parsed as a request`, () =>
    withServer(async (_, port) => {
      const wire = await Wire.open(port);
      wire.write(head(path, "Content-Length: 10000000"));
      for (let i = 0; i < 200; i++) wire.write(get("/hello"));
      const text = (await wire.takeAll()).toString();
      assert.is(text.match(/HTTP\/1\.1/g)?.length, 1, text);
      assert.match(text, /Connection: close\r\n/);
      assert.not.match(text, /hello/);
      wire.destroy();
    }),
  );
}

upload("an early answer arrives though the client keeps sending", () =>
  withServer(async (server, port) => {
    const wire = await Wire.open(port);
    wire.write(head("/early", "Content-Length: 100000000"));
    const piece = pattern(100000);
    let answered = false;
    const answer = takeAnswer(wire).then((found) => {
      answered = true;
      return found;
    });
    for (let i = 0; i < 50 || !answered; i++) {
      // Lets the socket send.
      if (wire.socket.write(piece)) await sleep(0);
      else await new Promise((resolve) => wire.socket.once("drain", resolve));
    }
    assert.is((await answer).status, 403);
    wire.socket.end();
    await until("closed", async () => (await server.stats()).connections === 0);
    wire.destroy();
  }),
);

upload("an answer to a body that has come whole keeps the connection, read or not", () =>
  withServer(async (_, port) => {
    const wire = await Wire.open(port);
    wire.write(`${head("/early-later", "Content-Length: 5")}hello${get("/hello")}`);
    assert.is((await takeAnswer(wire)).status, 403);
    assert.is((await takeAnswer(wire)).body.toString(), "hello\n");
    wire.destroy();
  }),
);

upload("reading the body after the response is an error", () =>
  withServer(async (_, port) => {
    const wire = await Wire.open(port);
    wire.write(`${head("/answered", "Content-Length: 1000")}first`);
    assert.is((await takeAnswer(wire)).fields.get("connection"), "close");
    const log = await logged(port, "broken", isBroken);
    assert.equal(log.filter(isBroken), [["BodyError", "Ok"]]);
    wire.destroy();
  }),
);

upload("a handler that throws, before or within the decision, is 500", () =>
  withServer(async (_, port) => {
    for (const path of ["/throw", "/streams-throws"]) {
      const wire = await Wire.open(port);
      wire.write(`${head(path, "Content-Length: 1000")}first`);
      assert.is((await takeAnswer(wire)).status, 500);
      wire.destroy();
    }
    assert.equal(
      reported.map(({ where }) => where),
      ["request", "streams"],
    );
  }),
);

// ---- bodies that break off ---------------------------------------------------------------------

const breaks: readonly [
  name: string,
  cause: string,
  status: number,
  act: (wire: TcpWire) => void,
][] = [
  ["FIN", "PeerEnded", 0, (wire) => wire.socket.end()],
  ["a reset", "PeerReset", 0, (wire) => wire.reset()],
  ["a bad chunk", "BadChunk", 400, (wire) => wire.write("x")],
  ["a chunk over the limit", "LargeRequest", 413, (wire) => wire.write("100001\r\n")],
  ["a trailer over the limit", "LargeHead", 431, (wire) => wire.write(`0\r\n${"x".repeat(17000)}`)],
  ["silence", "RequestTimeout", 408, () => undefined],
];

for (const [name, cause, status, act] of breaks) {
  upload(`${name} in the body: the reader gets an error, the client a refusal`, () =>
    withServer(
      async (server, port) => {
        const wire = await Wire.open(port);
        wire.socket.on("error", () => undefined);
        wire.write(head("/aborted", "Transfer-Encoding: chunked")).write(chunk(pattern(5)));
        await logged(port, "bytes", (entry) => Array.isArray(entry) && entry[0] === "bytes");
        act(wire);
        const log = await logged(port, "broken", isBroken);
        assert.equal(log.filter(isBroken), [["BodyError", cause, 5, true, false]]);
        if (status !== 0) {
          const answer = await takeAnswer(wire);
          assert.is(answer.status, status);
          assert.is(answer.fields.get("connection"), "close");
        } else if (name === "FIN") {
          assert.is((await wire.takeAll()).length, 0);
        }
        wire.destroy();
        await until("gone", async () => (await server.stats()).closed[cause] === 1);
        assert.equal(reported, [], "it is no error of the handler's");
      },
      { requestTimeout: 400, maxStreamLength: MiB },
    ),
  );

  upload(`${name} in the body, its answer begun: the answer breaks off too`, () =>
    withServer(
      async (server, port) => {
        const wire = await Wire.open(port);
        wire.socket.on("error", () => undefined);
        wire.write(head("/aborted-echo", "Transfer-Encoding: chunked")).write(chunk(pattern(5)));
        await wire.takeThrough("\r\n\r\n");
        await wire.take(10);
        act(wire);
        const log = await logged(port, "broken", isBroken);
        assert.equal(log.filter(isBroken), [["BodyError", cause, true]]);
        if (name !== "a reset") await wire.gone();
        assert.is(wire.length, 0, "no end of the body");
        wire.destroy();
        await until("gone", async () => (await server.stats()).closed[cause] === 1);
        assert.equal(reported, [], "it is no error of the handler's");
      },
      { requestTimeout: 400, maxStreamLength: MiB },
    ),
  );
}

upload("a Content-Length over maxStreamLength is refused at the head", () =>
  withServer(
    async (_, port) => {
      for (const size of ["1048577", "9007199254740991", "18446744073709551616"]) {
        const wire = await Wire.open(port);
        wire.write(head("/read", `Content-Length: ${size}`));
        assert.is((await takeAnswer(wire)).status, 413, size);
        wire.destroy();
      }
      assert.equal(await logOf(port), []);
    },
    { maxStreamLength: MiB },
  ),
);

upload("a Content-Length of 2^53 - 1 is taken", () =>
  withServer(async (_, port) => {
    const wire = await Wire.open(port);
    wire.write(`${head("/aborted", "Content-Length: 9007199254740991")}hello`);
    await logged(port, "bytes", (entry) => JSON.stringify(entry) === '["bytes",5]');
    wire.reset();
    const log = await logged(port, "broken", isBroken);
    assert.equal(log.filter(isBroken), [["BodyError", "PeerReset", 5, true, false]]);
  }),
);

upload("a body that is collected is bounded by maxBodyLength, whatever may be streamed", () =>
  withServer(
    async (_, port) => {
      const wire = await Wire.open(port);
      wire.write(head("/whole", "Content-Length: 1001"));
      assert.is((await takeAnswer(wire)).status, 413);
      wire.destroy();
    },
    { maxBodyLength: 1000 },
  ),
);

upload("time counts while the handler waits for the client, and only then", () =>
  withServer(
    async (_, port) => {
      const wire = await Wire.open(port);
      wire.write(expecting("/wait", 5));
      await logged(port, "waiting", (entry) => entry === "waiting");
      // Longer than requestTimeout, but the handler's time.
      await sleep(500);
      await ask(port, "/go");
      assert.is(await wire.takeThrough("\r\n\r\n"), CONTINUE);
      for (const octet of "hell") {
        // All of them take longer than requestTimeout, none of them does.
        await sleep(120);
        wire.write(octet);
      }
      // As above.
      await sleep(120);
      wire.write("o");
      assert.is((await takeAnswer(wire)).status, 200, "each byte is progress");
      wire.write(`${head("/read", "Content-Length: 5")}hell`);
      const late = await takeAnswer(wire);
      assert.is(late.status, 408);
      wire.destroy();
    },
    { requestTimeout: 300 },
  ),
);

// ---- the end -----------------------------------------------------------------------------------

upload("a shutdown lets an upload end", () =>
  withServer(async (server, port) => {
    const wire = await Wire.open(port);
    const begun = `${head("/read", "Content-Length: 10")}hello`;
    wire.write(begun);
    await until("begun", async () => (await server.stats()).bytesIn === begun.length);
    const ended = server.shutdown({ timeout: 10000 });
    await until("no newcomer", () =>
      Wire.open(port).then(
        (other) => {
          other.destroy();
          return false;
        },
        () => true,
      ),
    );
    wire.write("world");
    const answer = await takeAnswer(wire);
    assert.is(JSON.parse(answer.body.toString()).bytes, 10);
    assert.is(answer.fields.get("connection"), "close");
    wire.socket.end();
    await ended;
  }),
);

upload("nothing is left of uploads that ended in every way", () =>
  withServer(async (server, port) => {
    for (let i = 0; i < 60; i++) {
      const wire = await Wire.open(port);
      wire.socket.on("error", () => undefined);
      const path = ["/read", "/echo", "/early", "/first", "/aborted"][i % 5] as string;
      wire.write(head(path, "Content-Length: 100000")).write(pattern(i * 1000));
      // At different times.
      await sleep(i % 3);
      if (i % 2) wire.reset();
      else wire.socket.end();
      setTimeout(() => wire.destroy(), 500);
    }
    await until("all are gone", async () => {
      const { connections, receivePool, replyPool } = await server.stats();
      return connections === 0 && receivePool.used === 0 && replyPool.used === 0;
    });
    assert.equal(reported, []);
  }),
);

upload("over TLS a body streams back, and a reader that stops stops its client", () => {
  const tls = {
    key: readFileSync("test/e2e/tls/key.pem", "utf8"),
    cert: readFileSync("test/e2e/tls/cert.pem", "utf8"),
  };
  return withServer(
    async (server, port) => {
      const open = (): Promise<Wire> =>
        new Promise((resolve, reject) => {
          const socket = nodeTls.connect({ port, host: "127.0.0.1", ca: tls.cert });
          socket.once("error", reject);
          socket.once("secureConnect", () => resolve(new Wire({ socket, tcp: socket })));
        });
      const size = 32 * MiB;
      const body = pattern(size);
      const wire = await open();
      wire.write(head("/read", `Content-Length: ${size}`)).write(body);
      assert.is(JSON.parse((await takeAnswer(wire)).body.toString()).sha1, sha1(body));
      wire.write(head("/pause", `Content-Length: ${size}`));
      const { bytesIn } = await server.stats();
      wire.write(body);
      const all = await standstill("bytes in", async () => (await server.stats()).bytesIn);
      const taken = all - bytesIn;
      assert.ok(taken < MiB, `${taken} bytes were read`);
      const other = await open();
      await takeAnswer(other.write(get("/go")));
      assert.equal(JSON.parse((await takeAnswer(wire)).body.toString()), { bytes: size });
      other.destroy();
      wire.destroy();
    },
    { tls },
  );
});

upload.run();
