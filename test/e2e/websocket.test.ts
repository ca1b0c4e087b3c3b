// WebSockets over real sockets: with the client that most people use, and byte by byte.

import { randomBytes } from "node:crypto";
import type { Eviction } from "ringcast";
import { request } from "undici";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import WebSocket from "ws";
import {
  BINARY,
  CLOSE,
  PING,
  PONG,
  SECURE,
  TEXT,
  TRUST,
  Wire,
  WsWire,
  clientFrame,
  closeOf,
  handshake,
  httpUrl,
  pattern,
  placement,
  reported,
  serving,
  sleep,
  standstill,
  takeAnswer,
  textPattern,
  until,
  within,
  wsUrl,
} from "./peer";

const websocket = suite("websocket");
const MiB = 1048576;

/** Returns the handler's notes since the last look. */
async function takeLog(port: number): Promise<unknown[][]> {
  const { body } = await request(httpUrl(port, "/log"), { reset: true });
  return (await body.json()) as unknown[][];
}

/** Waits for what the handler noted as closed. */
async function closedLog(port: number): Promise<unknown[]> {
  const found: unknown[][] = [];
  await until("close in the log", async () => {
    found.push(...(await takeLog(port)).filter((entry) => entry[0] === "close"));
    return found.length > 0;
  });
  assert.is(found.length, 1);
  return (found[0] as unknown[]).slice(1);
}

async function tell(port: number, path: string): Promise<void> {
  const { statusCode, body } = await request(httpUrl(port, path), { reset: true });
  assert.is(statusCode, 200);
  await body.dump();
}

function once<T>(ws: WebSocket, event: string): Promise<T> {
  const happened = new Promise<T>((resolve, reject) => {
    ws.once("error", reject);
    ws.once(event, (first: T) => {
      ws.off("error", reject);
      resolve(first);
    });
  });
  return within(happened, event);
}

async function openWs(port: number): Promise<WebSocket> {
  const ws = new WebSocket(wsUrl(port, "/echo"), TRUST);
  await once(ws, "open");
  return ws;
}

async function closeWs(ws: WebSocket): Promise<void> {
  const closed = once(ws, "close");
  ws.close();
  await closed;
}

/** Sends a message and gives the next that comes. */
async function echo(
  ws: WebSocket,
  data: string | Buffer,
): Promise<{ data: Buffer; isBinary: boolean }> {
  const answer = new Promise<{ data: Buffer; isBinary: boolean }>((resolve, reject) => {
    ws.once("message", (bytes: Buffer, isBinary: boolean) => resolve({ data: bytes, isBinary }));
    ws.once("close", (code: number) => reject(new Error(`closed with ${code}`)));
  });
  ws.send(data);
  const result = await within(answer, "echo");
  ws.removeAllListeners("close");
  return result;
}

const SIZES = [0, 1, 125, 126, 127, 1000, 65535, 65536, 65537, 100000, MiB - 1, MiB, MiB + 1];

for (const [kind, make] of [
  ["text", (n: number) => pattern(n, n).toString("base64").slice(0, n)],
  ["binary", (n: number) => pattern(n, n)],
] as const) {
  websocket(`${kind} messages of every length form come back unchanged`, () =>
    serving("websocket", {}, async (_server, port) => {
      const ws = await openWs(port);
      assert.is(ws.extensions, "", "compression was offered and declined");
      for (const size of [...SIZES, 5 * MiB, 16 * MiB]) {
        const message = make(size);
        const answer = await echo(ws, message);
        assert.is(answer.isBinary, kind === "binary", `${size} bytes: kind`);
        assert.ok(answer.data.equals(Buffer.from(message)), `${size} bytes`);
      }
      await closeWs(ws);
    }),
  );
}

websocket("text with characters of every length comes back unchanged", () =>
  serving("websocket", {}, async (_server, port) => {
    const ws = await openWs(port);
    for (const n of [1, 2, 3, 10, 42, 63, 64, 100, 20000, 100000]) {
      const text = textPattern(n, n);
      assert.is((await echo(ws, text)).data.toString(), text);
    }
    await closeWs(ws);
  }),
);

websocket("many messages in one write come back one by one, in order", () =>
  serving("websocket", {}, async (_server, port) => {
    const messages = Array.from({ length: 500 }, (_, i) => pattern((i * 37) % 700, i));
    const frames = messages.map((message) => clientFrame(BINARY, message));
    const ws = await WsWire.open(port, "/echo", Buffer.concat(frames));
    for (const [i, message] of messages.entries()) {
      const frame = await ws.next();
      assert.is(frame.opcode, BINARY);
      assert.is(frame.payload.toString("hex"), message.toString("hex"), `message ${i}`);
    }
    ws.destroy();
  }),
);

websocket("a fragmented message is one message, with control frames in between", () =>
  serving("websocket", {}, async (_server, port) => {
    const ws = await WsWire.open(port, "/echo");
    ws.send(TEXT, "one, ", "more").send(0, "", "more").send(PING, "here?").send(0, "two");
    const pong = await ws.next();
    assert.is(pong.opcode, PONG);
    assert.is(pong.payload.toString(), "here?");
    const frame = await ws.next();
    assert.is(frame.opcode, TEXT);
    assert.is(frame.payload.toString(), "one, two");
    // Large pieces, and a character that is cut.
    const parts = [pattern(70000, 1), pattern(1, 2), pattern(200000, 3)];
    ws.send(BINARY, parts[0], "more").send(0, parts[1], "more").send(0, parts[2]);
    assert.ok((await ws.next()).payload.equals(Buffer.concat(parts)));
    const cut = Buffer.from("€𝄞");
    for (let i = 0; i < cut.length; i++) {
      const last = i === cut.length - 1 ? "final" : "more";
      ws.send(i === 0 ? TEXT : 0, cut.subarray(i, i + 1), last);
    }
    assert.is(await ws.text(), "€𝄞");
    ws.destroy();
  }),
);

websocket("frames that trickle in byte by byte are as good as any", () =>
  serving("websocket", {}, async (_server, port) => {
    const ws = await WsWire.open(port, "/echo");
    const bytes = Buffer.concat([
      clientFrame(TEXT, "hello"),
      clientFrame(BINARY, pattern(130)),
      clientFrame(TEXT, "bye"),
    ]);
    for (const byte of bytes) {
      ws.socket.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.is(await ws.text(), "hello");
    assert.ok((await ws.next()).payload.equals(pattern(130)));
    assert.is(await ws.text(), "bye");
    ws.destroy();
  }),
);

websocket("a handler may refuse an upgrade with any answer", () =>
  serving("websocket", {}, async (server, port) => {
    const ws = new WebSocket(wsUrl(port, "/refuse"), TRUST);
    const refused = once<unknown>(ws, "unexpected-response");
    await refused;
    ws.on("error", () => undefined);
    ws.terminate();
    const wire = await Wire.open(port);
    wire.write(handshake("/refuse"));
    const answer = await takeAnswer(wire);
    assert.is(answer.status, 403);
    assert.is(answer.body.toString(), "not you\n");
    assert.is((await server.stats()).webSockets, 0);
    wire.destroy();
  }),
);

websocket("the subprotocol is one the client offered", () =>
  serving("websocket", {}, async (_server, port) => {
    const ws = new WebSocket(wsUrl(port, "/protocol"), ["a", "b", "c"], TRUST);
    const message = once<Buffer>(ws, "message");
    const head = await once<{ headers: Record<string, string> }>(ws, "upgrade");
    assert.is(head.headers["x-who"], "ringcast");
    const seen = JSON.parse((await message).toString());
    assert.equal(seen, ["b", ["a", "b", "c"], "127.0.0.1", true]);
    assert.is(ws.protocol, "b");
    await closeWs(ws);
    const wire = await Wire.open(port);
    wire.write(handshake("/wrong-protocol"));
    assert.is((await takeAnswer(wire)).status, 500);
    await until("report", () => reported.some(({ message }) => /did not offer/.test(message)));
    wire.destroy();
  }),
);

websocket("pings are answered with their payload, and both ends see pings and pongs", () =>
  serving("websocket", {}, async (_server, port) => {
    const ws = await WsWire.open(port, "/ping");
    for (const payload of ["", "x", "p".repeat(125)]) {
      ws.send(PING, payload);
      const frame = await ws.next();
      assert.is(frame.opcode, PONG);
      assert.is(frame.payload.toString(), payload);
    }
    ws.send(TEXT, "are you there");
    const first = await ws.next();
    const second = await ws.next();
    const [ping, answer] = first.opcode === PING ? [first, second] : [second, first];
    assert.is(ping.opcode, PING);
    assert.is(ping.payload.toString(), "are you there");
    assert.is(answer.payload.toString(), "true");
    ws.send(PONG, ping.payload).send(TEXT, "p".repeat(126));
    assert.is(await ws.text(), "RangeError");
    assert.equal(await takeLog(port), [
      ["ping", ""],
      ["ping", "x"],
      ["ping", "p".repeat(125)],
      ["pong", "are you there"],
    ]);
    ws.destroy();
  }),
);

websocket("a close of the client is answered with its code, and reported to the handler", () =>
  serving("websocket", {}, async (_server, port) => {
    for (const [code, reason] of [
      [1000, "done"],
      [4002, "why € not"],
      [3000, ""],
    ] as const) {
      const ws = await WsWire.open(port, "/echo");
      const payload = Buffer.alloc(2);
      payload.writeUInt16BE(code);
      ws.send(CLOSE, Buffer.concat([payload, Buffer.from(reason)]));
      assert.is(closeOf(await ws.next()).code, code);
      await ws.gone();
      const [seen, text, cause, open, sent] = await closedLog(port);
      assert.equal([seen, cause, open, sent], [code, "PeerClosed", false, false]);
      if (reason !== "") assert.is(text, reason);
    }
    const ws = await WsWire.open(port, "/echo");
    ws.send(CLOSE);
    assert.is(closeOf(await ws.next()).code, 1005);
    await ws.gone();
    assert.equal((await closedLog(port)).slice(0, 1), [1005]);
  }),
);

websocket("a client that vanishes is 1006", () =>
  serving("websocket", {}, async (_server, port) => {
    const reset = await WsWire.open(port, "/echo");
    reset.reset();
    const [code, , cause] = await closedLog(port);
    assert.is(code, 1006);
    // node:tls tells now and then of a reset as of an end.
    if (!SECURE || cause !== "PeerEnded") assert.is(cause, "PeerReset");
    const ended = await WsWire.open(port, "/echo");
    ended.socket.end();
    await ended.gone();
    const [second, , how] = await closedLog(port);
    assert.equal([second, how], [1006, "PeerEnded"]);
  }),
);

websocket("close sends queued messages first, then its code, and nothing after it", () =>
  serving("websocket", {}, async (_server, port) => {
    for (const [count, code, reason] of [
      [100, 4001, "bye"],
      [0, 1000, ""],
      [1000, 1012, "é".repeat(61)],
    ] as const) {
      const ws = await WsWire.open(port, "/close");
      ws.send(TEXT, `${count} ${code} ${reason}`);
      for (let i = 0; i < count; i++) assert.is(await ws.text(), `${i}`.padStart(1000, "."));
      assert.equal(closeOf(await ws.next()), { code, reason });
      const payload = Buffer.alloc(2);
      payload.writeUInt16BE(code);
      ws.send(CLOSE, payload);
      await ws.gone();
      assert.is(ws.frames.length, 0);
      assert.is(ws.parser.rest.length, 0);
      const log = await takeLog(port);
      assert.equal(log[0], ["closing", true, false, false, false, false]);
      if (log.length < 2) log.push(["close", ...(await closedLog(port))]);
      assert.is(log[1]?.[1], code);
      assert.is(log[1]?.[3], "Application");
    }
    const ws = await WsWire.open(port, "/bad-close");
    ws.send(TEXT, "");
    for (let i = 0; i < 6; i++) assert.match(await ws.text(), /^(Range|Type)Error$/);
    ws.destroy();
  }),
);

websocket("a client that never answers a Close is not waited for", () =>
  serving("websocket", { closeTimeout: 100 }, async (server, port) => {
    const ws = await WsWire.open(port, "/close");
    ws.send(TEXT, "0 1000 ");
    assert.is(closeOf(await ws.next()).code, 1000);
    await until("end", async () => (await server.stats()).webSockets === 0);
    await ws.gone();
  }),
);

websocket("terminate ends a connection at once", () =>
  serving("websocket", {}, async (_server, port) => {
    const ws = await WsWire.open(port, "/terminate");
    ws.send(TEXT, "now");
    await ws.gone();
    assert.is(ws.frames.length, 0);
    const log = await takeLog(port);
    assert.equal(log[0], ["terminate", true, false, false, false]);
    const [code, , cause] = (log[1] ?? []).slice(1);
    assert.equal([code, cause], [1006, "Application"]);
  }),
);

websocket("messages wait for an `open` that takes its time", () =>
  serving("websocket", {}, async (_server, port) => {
    const first = Buffer.concat(["a", "b", "c"].map((text) => clientFrame(TEXT, text)));
    const ws = await WsWire.open(port, "/slow", first);
    ws.send(TEXT, "d").send(BINARY, pattern(100000));
    await tell(port, "/log");
    assert.is(ws.frames.length, 0);
    await tell(port, "/release");
    for (const text of ["opened", "a", "b", "c", "d"]) assert.is(await ws.text(), text);
    assert.ok((await ws.next()).payload.equals(pattern(100000)));
    ws.destroy();
  }),
);

/** Messages for handlers that take ever shorter, and the end, in one write. */
function hurry(last: Buffer): Buffer {
  const numbers = ["40", "20", "5", "0"].map((ms) => clientFrame(TEXT, ms));
  return Buffer.concat([...numbers, clientFrame(PING, "p"), clientFrame(TEXT, "1"), last]);
}

websocket("a message waits until the asynchronous handler of the one before has settled", () =>
  serving("websocket", {}, async (_server, port) => {
    const ws = await WsWire.open(port, "/later", hurry(clientFrame(PING, "q")));
    const texts: string[] = [];
    while (texts.length < 5) {
      const { opcode, payload } = await ws.next();
      if (opcode === TEXT) texts.push(payload.toString());
    }
    assert.equal(texts, ["40", "20", "5", "0", "1"]);
    ws.destroy();
    const order = (await takeLog(port)).map(([what, n]) => `${what} ${n}`).slice(0, 12);
    const both = (n: number): string[] => [`begin ${n}`, `end ${n}`];
    const due = [40, 20, 5, 0].flatMap(both).concat("ping p", both(1), "ping q");
    assert.equal(order, due);
  }),
);

websocket("messages before a Close are handled before `close` is called", () =>
  serving("websocket", {}, async (_server, port) => {
    const code = Buffer.from([3, 232]);
    const ws = await WsWire.open(port, "/later", hurry(clientFrame(CLOSE, code)));
    const log: unknown[][] = [];
    await until("close", async () => {
      log.push(...(await takeLog(port)));
      return log.some(([what]) => what === "close");
    });
    const ends = log
      .filter(([what]) => what === "end" || what === "close")
      .map((entry) => entry[1]);
    assert.equal(ends, ["40", "20", "5", "0", "1", 1000]);
    await ws.gone();
  }),
);

websocket("a handler that waits in vain does not keep `close` from being called", () =>
  serving("websocket", { closeTimeout: 300, maxBacklog: 65536 }, async (_server, port) => {
    const sent = ["x", "y", "z"];
    const handled = placement === "worker" ? ["x"] : sent;
    const first = sent.map((text) => clientFrame(TEXT, text));
    const ws = await WsWire.open(port, "/wait", Buffer.concat(first));
    ws.socket.pause();
    const log: unknown[][] = [];
    await until("x", async () => {
      log.push(...(await takeLog(port)));
      return log.length > 0;
    });
    ws.reset();
    await until("close", async () => {
      log.push(...(await takeLog(port)));
      return (
        log.filter(([what]) => what === "close" || what === "end").length === handled.length + 1
      );
    });
    // Messages that the worker has not handed to a handler are dropped with their client.
    assert.equal(
      log
        .filter(([what]) => what !== "end")
        .map(([what, text]) => (what === "begin" ? text : what)),
      [...handled, "close"],
    );
    for (const [what, , open] of log) if (what === "end") assert.is(open, false);
  }),
);

websocket("with `ordered: false` messages are handled as they come", () =>
  serving("websocket", { ordered: false }, async (_server, port) => {
    const ws = await WsWire.open(port, "/later", hurry(clientFrame(PING, "q")));
    const texts: string[] = [];
    while (texts.length < 5) {
      const { opcode, payload } = await ws.next();
      if (opcode === TEXT) texts.push(payload.toString());
    }
    assert.equal(texts.at(-1), "40");
    assert.equal([...texts].sort(), ["0", "1", "20", "40", "5"]);
    ws.destroy();
  }),
);

websocket("an error of a handler closes its WebSocket with 1011, and no other", () =>
  serving("websocket", {}, async (server, port) => {
    const other = await WsWire.open(port, "/echo");
    for (const [path, where, message] of [
      ["/throw", "message", "thrown for x"],
      ["/reject", "message", "rejected for x"],
      ["/open-throws", "open", "thrown in open"],
      ["/open-rejects", "open", "rejected in open"],
    ]) {
      const ws = await WsWire.open(port, path);
      ws.send(TEXT, "x");
      assert.is(closeOf(await ws.next()).code, 1011, path);
      ws.send(CLOSE, Buffer.from([3, 243]));
      await ws.gone();
      await until("error", () => reported.some((error) => error.message === message));
      assert.is(reported.at(-1)?.where, where);
    }
    other.send(TEXT, "fine");
    assert.is(await other.text(), "fine");
    assert.is((await server.stats()).handlerErrors, 4);
    other.destroy();
  }),
);

websocket("send is false over maxBacklog, nothing is lost, and drain follows", () =>
  serving("websocket", { maxBacklog: 65536 }, async (_server, port) => {
    for (const size of [1000, 30000, 200000]) {
      const ws = await WsWire.open(port, "/flood");
      ws.socket.pause();
      ws.send(TEXT, `${size}`);
      let entry: unknown[] | undefined;
      await until("flood", async () => {
        entry ??= (await takeLog(port)).find(([what]) => what === "flood");
        return entry !== undefined;
      });
      const [, count, queued] = entry as [string, number, number];
      assert.ok(count >= 1 && count <= 65536 / size + 2, `${count} messages of ${size}`);
      assert.ok(queued >= 65536 - size, `${queued} bytes queued`);
      ws.socket.resume();
      let got = 0;
      for (;;) {
        const frame = await ws.next();
        if (frame.opcode === TEXT) {
          assert.is(frame.payload.toString(), `drained ${count}`);
          break;
        }
        assert.is(frame.payload.length, size);
        got++;
      }
      // The one for which it said false was not queued.
      assert.ok(got === count - 1 || (got === 1 && count === 1), `${got} of ${count}`);
      ws.destroy();
    }
  }),
);

websocket("pause holds the sender up, and resume loses nothing", () =>
  serving("websocket", {}, async (server, port) => {
    const ws = await WsWire.open(port, "/pause");
    ws.send(TEXT, "pause");
    await until("pause", async () => (await server.stats()).messagesIn === 1);
    const chunk = clientFrame(BINARY, pattern(60000));
    const total = 1000;
    for (let i = 0; i < total; i++) ws.socket.write(chunk);
    ws.send(TEXT, "count");
    // It stops when the kernel's buffers are full, far from 60 MB.
    const before = await standstill("bytes to send", () => ws.socket.writableLength);
    assert.ok(before > 20 * MiB, `${before} bytes wait at the sender`);
    const { bytesIn, receivePool, messagesIn } = await server.stats();
    assert.ok(bytesIn < 2 * MiB, `${bytesIn} bytes came in`);
    assert.ok(receivePool.used < 2 * MiB);
    assert.is(messagesIn, 1);
    await tell(port, "/resume");
    assert.is(await ws.text(), `${total + 2}`);
    ws.destroy();
  }),
);

/** Two ways for a message to end in a frame without a byte: after bytes, after nothing. */
const EMPTY_LAST: readonly [name: string, text: string, frames: Buffer][] = [
  ["after bytes", "ab", Buffer.concat([clientFrame(TEXT, "ab", "more"), clientFrame(0)])],
  [
    "after nothing",
    "",
    Buffer.concat([clientFrame(TEXT, "", "more"), clientFrame(0, "", "more"), clientFrame(0)]),
  ],
];

for (const [name, text, frames] of EMPTY_LAST) {
  websocket(`an empty last fragment ${name} that comes during a pause ends its message once`, () =>
    serving("websocket", {}, async (server, port) => {
      for (let cut = 0; cut <= frames.length; cut++) {
        const ws = await WsWire.open(port, "/hold");
        const before = (await server.stats()).bytesIn;
        if (cut > 0) ws.socket.write(frames.subarray(0, cut));
        await until("first part", async () => (await server.stats()).bytesIn === before + cut);
        await tell(port, "/pause");
        ws.socket.write(frames.subarray(cut));
        ws.send(TEXT, "end");
        // The second part is there, and must not be read.
        await sleep(2);
        if (cut < frames.length) assert.is(ws.frames.length, 0, `cut at ${cut}: paused`);
        await tell(port, "/resume");
        assert.is(await ws.text(), text, `cut at ${cut}`);
        assert.is(await ws.text(), "end", `cut at ${cut}`);
        ws.destroy();
      }
    }),
  );

  websocket(`an empty last fragment ${name} in one read with a pause ends its message once`, () =>
    serving("websocket", {}, async (server, port) => {
      const first = clientFrame(TEXT, "pause");
      const all = Buffer.concat([first, frames, clientFrame(TEXT, "end")]);
      for (let cut = first.length; cut <= all.length; cut++) {
        const ws = await WsWire.open(port, "/hold");
        const before = (await server.stats()).bytesIn;
        ws.socket.write(all.subarray(0, cut));
        await until("pause", async () => (await server.stats()).bytesIn === before + cut);
        ws.socket.write(all.subarray(cut));
        await tell(port, "/resume");
        assert.is(await ws.text(), text, `cut at ${cut}`);
        assert.is(await ws.text(), "end", `cut at ${cut}`);
        ws.destroy();
      }
    }),
  );
}

websocket("a message over maxPayloadLength is 1009, whole or in fragments", () =>
  serving("websocket", { maxPayloadLength: 1000 }, async (_server, port) => {
    const ws = await WsWire.open(port, "/echo");
    ws.send(BINARY, pattern(1000));
    assert.is((await ws.next()).payload.length, 1000);
    ws.send(BINARY, pattern(600), "more").send(0, pattern(400));
    assert.is((await ws.next()).payload.length, 1000);
    ws.send(BINARY, pattern(1001));
    assert.is(closeOf(await ws.next()).code, 1009);
    await ws.gone();
    const other = await WsWire.open(port, "/echo");
    other.send(BINARY, pattern(600), "more").send(0, pattern(401));
    assert.is(closeOf(await other.next()).code, 1009);
    await other.gone();
  }),
);

websocket("a violation of the protocol is closed with the code for it", () =>
  serving("websocket", { maxFragments: 5 }, async (_server, port) => {
    const cases: [string, Buffer, number][] = [
      ["unmasked", Buffer.from([0x81, 1, 65]), 1002],
      ["reserved bit", Buffer.from([0xc1, 0x80, 0, 0, 0, 0]), 1002],
      ["unknown opcode", clientFrame(3, "x"), 1002],
      ["continuation of nothing", clientFrame(0, "x"), 1002],
      [
        "new message within one",
        Buffer.concat([clientFrame(1, "a", "more"), clientFrame(1)]),
        1002,
      ],
      ["fragmented ping", clientFrame(PING, "", "more"), 1002],
      ["long ping", clientFrame(PING, "p".repeat(126)), 1002],
      ["not UTF-8", clientFrame(TEXT, Buffer.from([0xff])), 1007],
      ["close code 1005", clientFrame(CLOSE, Buffer.from([3, 237])), 1002],
      ["close of one byte", clientFrame(CLOSE, Buffer.from([3])), 1002],
      [
        "fragments",
        Buffer.concat(Array.from({ length: 7 }, () => clientFrame(0, "", "more"))),
        1008,
      ],
    ];
    for (const [what, bytes, code] of cases) {
      const ws = await WsWire.open(port, "/echo");
      if (what === "fragments") ws.send(TEXT, "", "more");
      ws.socket.write(bytes);
      assert.is(closeOf(await ws.next()).code, code, what);
      await ws.gone();
    }
  }),
);

websocket("no room for another WebSocket is 503", () =>
  serving("websocket", { maxWebSockets: 2 }, async (server, port) => {
    const clients = [await WsWire.open(port, "/echo"), await WsWire.open(port, "/echo")];
    const wire = await Wire.open(port);
    wire.write(handshake("/echo"));
    assert.is((await takeAnswer(wire)).status, 503);
    await wire.gone();
    // On the application's thread it cannot be known at once.
    const log = placement === "worker" ? [["no upgrade", true]] : [];
    assert.equal(await takeLog(port), log);
    for (const ws of clients) {
      ws.send(TEXT, "still here");
      assert.is(await ws.text(), "still here");
    }
    clients[0]?.destroy();
    await until("room", async () => (await server.stats()).webSockets === 1);
    const third = await WsWire.open(port, "/echo");
    third.destroy();
    clients[1]?.destroy();
  }),
);

for (const form of ["an uncompressed", "a compressed"] as const) {
  websocket(`whenFull evict: ${form} reader that lags most is evicted`, async () => {
    const evictions: Eviction[] = [];
    const onEvict = (some: readonly Eviction[]): void => {
      evictions.push(...some);
    };
    const full = { maxWebSockets: 3, whenFull: "evict", onEvict } as const;
    const options = { ...full, perMessageDeflate: true, ring: "64MiB" } as const;
    await serving("websocket", options, async (server, port) => {
      const deflate = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
      const fields = form === "a compressed" ? deflate : "";
      const first = await WsWire.open(port, "/echo");
      const stalled = await WsWire.open(port, "/echo", undefined, fields);
      // The other form has a reader, too, which reads.
      const third = await WsWire.open(port, "/echo", undefined, fields === "" ? deflate : "");
      stalled.socket.pause();
      let seen = 0;
      first.listen(() => {
        seen++;
      });
      third.listen(() => undefined);
      // More than the kernel takes, also at half of its size; less than the ring.
      for (let i = 0; i < 250; i++) {
        assert.ok(server.broadcast(randomBytes(65536).toString("hex")));
        await until("delivery", () => seen > i);
      }
      const fourth = await WsWire.open(port, "/echo");
      await until("onEvict", () => evictions.length > 0);
      assert.is(evictions.length, 1);
      assert.is(evictions[0]?.cause, "Evicted");
      assert.ok((evictions[0]?.lagBytes ?? 0) > 0);
      stalled.socket.resume();
      await stalled.gone();
      fourth.send(TEXT, "in");
      assert.is(await fourth.text(), "in");
      assert.is((await server.stats()).webSockets, 3);
      for (const ws of [first, third, fourth]) ws.destroy();
    });
  });
}

websocket("an idle client is pinged, and lives while it answers", () =>
  serving("websocket", { idleTimeout: 1 }, async (server, port) => {
    const alive = await openWs(port);
    const silent = await WsWire.open(port, "/echo");
    let pings = 0;
    alive.on("ping", () => {
      pings++;
    });
    assert.is((await silent.next()).opcode, PING);
    await silent.gone();
    await until("pings", () => pings > 3);
    assert.is((await server.stats()).webSockets, 1);
    await closeWs(alive);
  }),
);

websocket.run();
