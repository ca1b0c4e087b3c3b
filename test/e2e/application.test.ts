// Properties of handlers on the application's thread alone: its unprocessed events are bounded, and its own
// publications keep their place.

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type Handler, type HandlerServer, type Options, type Response, serve } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import WebSocket from "ws";
import { Child } from "./child";
import {
  BINARY,
  CLOSE,
  LIMIT,
  PING,
  TEXT,
  Wire,
  WsWire,
  clientFrame,
  closeOf,
  pattern,
  reported,
  serving,
  sleep,
  takeAnswer,
  until,
  within,
} from "./peer";
import { portOf } from "../lib/port";

const application = suite("application");
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

function upgrading(handler: Handler): Handler {
  return {
    request: (req, res) => (req.upgrade ? res.upgrade() : res.send(404)),
    ...handler,
  };
}

application("a snapshot and the broadcasts after it leave no gap", async () => {
  let n = 0;
  const handler = (server: HandlerServer): Handler =>
    upgrading({
      open(ws) {
        ws.send(`at ${n}`);
        n++;
        server.broadcast(`${n}`);
      },
    });
  await serving("", { handler }, async (server, port) => {
    const clients: WsWire[] = [];
    for (let i = 0; i < 20; i++) {
      clients.push(await WsWire.open(port));
      n++;
      server.broadcast(`${n}`);
    }
    await until("all", () => n === 40);
    for (const ws of clients) {
      // Before its snapshot a client may get what was published while its handler had not opened it.
      let at = -1;
      while (at < 40) {
        const text = await ws.text();
        if (text.startsWith("at ")) at = Number(text.slice(3));
        else if (at >= 0) assert.is(Number(text), ++at);
      }
      ws.destroy();
    }
  });
});

application("a Close waits for the answers before it, but not for ever", async () => {
  const closeTimeout = 300;
  const handler = upgrading({
    async message(ws, text) {
      if (text === "never") await new Promise(() => undefined);
      // How long an answer takes.
      await sleep(20);
      ws.send(text);
    },
  });
  await serving("", { handler, closeTimeout }, async (_, port) => {
    for (const [texts, least, most] of [
      [["a", "b"], 40, 290],
      [["never", "b"], 290, 2000],
    ] as const) {
      const ws = await WsWire.open(port);
      const started = performance.now();
      for (const text of texts) ws.send(TEXT, text);
      ws.send(CLOSE, Buffer.of(3, 232));
      if (texts[0] === "a") for (const text of texts) assert.is(await ws.text(), text);
      assert.equal(closeOf(await ws.next()), { code: 1000, reason: "" });
      const ms = performance.now() - started;
      assert.ok(ms >= least && ms < most, `${texts}: after ${ms} ms`);
      ws.destroy();
    }
  });
});

application("answers that find the inbox full wait in order, and lose nothing", async () => {
  const held: Response[] = [];
  const bodies = Array.from({ length: 64 }, (_, i) => pattern(i === 7 ? 300000 : 10000, i + 1));
  let allowed: boolean[] = [];
  const handler = {
    async request(_req: unknown, res: Response): Promise<void> {
      held.push(res);
      if (held.length < 64) return new Promise((resolve) => setTimeout(resolve, LIMIT).unref());
      held.forEach((one, i) => {
        assert.ok(one.send(200, "", bodies[i]));
      });
      allowed = [broadcast()];
    },
  };
  let broadcast = (): boolean => true;
  await serving("", { handler, inbox: 65536 }, async (server, port) => {
    broadcast = () => server.broadcast("behind the answers");
    const wires: Wire[] = [];
    for (let i = 0; i < 64; i++) {
      const wire = await Wire.open(port);
      wires.push(wire.write(GET));
      await until("request", () => held.length === i + 1);
    }
    for (const [i, wire] of wires.entries()) {
      assert.ok((await takeAnswer(wire)).body.equals(bodies[i] as Buffer), `answer ${i}`);
      wire.destroy();
    }
    // Nothing may overtake an answer that waits.
    assert.equal(allowed, [false]);
    await within(server.ready(), "ready");
    assert.ok(server.broadcast("now"));
    assert.equal(reported, []);
  });
});

application(
  "requests beyond `maxPendingRequests` are 503 at once, and room comes back",
  async () => {
    const held: Response[] = [];
    const handler = {
      request: (_req: unknown, res: Response): void => void held.push(res),
    };
    await serving("", { handler, maxPendingRequests: 4 }, async (server, port) => {
      const wires: Wire[] = [];
      for (let i = 0; i < 4; i++) {
        wires.push((await Wire.open(port)).write(GET));
        await until("request", () => held.length === i + 1);
      }
      const other = await Wire.open(port);
      for (let i = 0; i < 3; i++) {
        const { status, fields } = await takeAnswer(other.write(GET));
        assert.equal([status, fields.get("retry-after")], [503, "1"]);
      }
      assert.is((await server.stats()).shed, 3);
      // A client goes, another is answered: two more may come.
      wires[0]?.reset();
      await until("gone", () => held[0]?.sent === true);
      held[1]?.send(200);
      assert.is((await takeAnswer(wires[1] as Wire)).status, 200);
      other.write(GET);
      await until("a fifth", () => held.length === 5);
      (wires[1] as Wire).write(GET);
      await until("a sixth", () => held.length === 6);
      for (const res of held) res.sent || res.send(204);
      assert.is((await takeAnswer(other)).status, 204);
      assert.is((await takeAnswer(wires[1] as Wire)).status, 204);
      for (const wire of [...wires, other]) wire.destroy();
    });
  },
);

application(
  "notices a client that leaves: `sent`, `ready()`, and later messages are dropped",
  async () => {
    let res: Response | undefined;
    const handler = {
      request(req: { path: string }, response: Response): void {
        if (req.path !== "/") response.send(200, "text/plain", req.path);
        else res = response;
      },
    };
    await serving("", { handler }, async (_server, port) => {
      for (const begins of [false, true]) {
        res = undefined;
        const wire = await Wire.open(port);
        wire.write(GET);
        await until("request", () => res !== undefined);
        const response = res as unknown as Response;
        let waited: Promise<void> = Promise.resolve();
        if (begins) {
          assert.ok(response.begin(200));
          while (response.write(new Uint8Array(65536)));
          waited = within(response.ready(), "ready");
        }
        wire.reset();
        await until("gone", () => response.sent);
        await waited;
        if (begins) {
          assert.is(response.write("late"), false);
          await within(response.end("late"), "end");
        } else {
          assert.is(response.send(200, "", "late"), false);
          await within(response.ready(), "ready");
        }
      }
      const next = await Wire.open(port);
      const answer = await takeAnswer(next.write(GET.replace("/", "/next")));
      assert.is(answer.body.toString(), "/next");
      next.destroy();
      assert.equal(reported, []);
    });
  },
);

application("a handler that does not settle holds its own client alone", async () => {
  let handled = 0;
  const handler = upgrading({
    open: (ws) => {
      ws.data = undefined;
    },
    message(ws, data) {
      if (typeof data === "string") {
        if (data === "stick") ws.data = "stuck";
        else ws.send(data);
        return undefined;
      }
      handled++;
      return ws.data === "stuck" ? new Promise(() => undefined) : undefined;
    },
  });
  await serving("", { handler, maxPendingBytes: 65536 }, async (_server, port) => {
    const stuck = await WsWire.open(port);
    const alive = await WsWire.open(port);
    stuck.send(TEXT, "stick");
    const frame = clientFrame(BINARY, pattern(1000));
    // Far more than may be with the application.
    for (let i = 0; i < 5000; i++) stuck.socket.write(frame);
    for (let i = 0; i < 500; i++) {
      alive.send(TEXT, `${i}`);
      assert.is(await alive.text(), `${i}`);
    }
    assert.is(handled, 1);
    for (let i = 0; i < 2000; i++) alive.socket.write(frame);
    await until("handled", () => handled === 2001);
    stuck.destroy();
    alive.destroy();
  });
});

application("the server as its handler sees it", async () => {
  let seen: HandlerServer | undefined;
  const handler = async (server: HandlerServer): Promise<Handler> => {
    // A factory may be asynchronous.
    await sleep(1);
    seen = server;
    return upgrading({
      request: (req, res) => (req.upgrade ? res.upgrade({ data: req.query }) : res.send(404)),
    });
  };
  await serving("", { handler }, async (_server, port) => {
    const server = seen as unknown as HandlerServer;
    assert.is(server.count(), 0);
    const clients = [await WsWire.open(port, "/?a"), await WsWire.open(port, "/?b")];
    await until("both", () => server.count() === 2);
    const ids = new Map<unknown, number>();
    server.each((ws) => ids.set(ws.data, ws.id));
    assert.equal([...ids.keys()].sort(), ["a", "b"]);
    const b = ids.get("b") as number;
    assert.ok(server.send(b, "to b"));
    assert.ok(server.stage().text("staged ").text(1).send(b));
    assert.ok(server.stage().text("all").broadcast());
    assert.is((await server.stats()).webSockets, 2);
    assert.is(await (clients[0] as WsWire).text(), "all");
    for (const due of ["to b", "staged 1", "all"])
      assert.is(await (clients[1] as WsWire).text(), due);
    for (const ws of clients) ws.destroy();
    await until("none", () => server.count() === 0);
    assert.is(server.send(b, "to nobody"), false);
  });
});

application("refuses a value that is no handler, and leaves nothing", async () => {
  const wrong: readonly [unknown, RegExp][] = [
    [{ request: 5 }, /^TypeError: handler\.request: a number is not a function/],
    [{ open: "x" }, /^TypeError: handler\.open: a string is not a function/],
    [{ opne() {} }, /^TypeError: handler\.opne: .*did you mean open\?$/],
    [
      () => ({ websocket: {} }),
      /^TypeError: handler\.websocket: there is no such member; use open/,
    ],
    [() => 5, /^TypeError: handler: /],
    [async () => undefined, /^TypeError: handler: /],
    [() => ({ close: 1 }), /^TypeError: handler\.close: a number is not a function/],
    [
      () => {
        throw new Error("will not start");
      },
      /^Error: will not start/,
    ],
    [5, /^TypeError: handler: /],
    [null, /^TypeError: handler: /],
  ];
  for (const [handler, pattern] of wrong) {
    const error = await serve({ port: 0, handler } as Options).then(
      () => assert.unreachable("it started"),
      (thrown: Error) => thrown,
    );
    assert.match(String(error), pattern);
  }
});

/** Opens a WebSocket client that sends numbered messages, checks their echoes, and may quit before the end. */
function chatter(port: number, count: number, quits: boolean): Promise<string> {
  return new Promise((resolve) => {
    const ws = new WebSocket(`ws://127.0.0.1:${port}/`);
    let got = 0;
    let wrong = "";
    ws.on("open", () => {
      for (let i = 0; i < count; i++) ws.send(`${i} ${"z".repeat((i * 37) % 3000)}`);
    });
    ws.on("message", (data) => {
      if (Number.parseInt(String(data), 10) !== got)
        wrong ||= `${String(data).slice(0, 9)} for ${got}`;
      got++;
      if (quits && got === count >> 1) ws.terminate();
      else if (got === count) ws.close();
    });
    ws.on("error", (error) => {
      wrong ||= error.message;
    });
    ws.on("close", () => resolve(wrong || (quits || got === count ? "" : `${got} of ${count}`)));
  });
}

application(
  "with little room everywhere no message is lost and no memory leaks, whatever clients do",
  async () => {
    let opened = 0;
    let closed = 0;
    const echo = async (
      ws: import("ringcast").WebSocket,
      data: string | Uint8Array,
    ): Promise<void> => {
      while (ws.open && !ws.send(data)) {
        await new Promise<void>((resolve) => {
          ws.data = resolve;
        });
      }
    };
    const handler: Handler = {
      async request(req, res) {
        // Some answers come at once, some later.
        if (opened % 3 === 0) await sleep(1);
        if (req.upgrade) return res.upgrade();
        const pieces = Array.from({ length: 20 }, () => "x".repeat(5000));
        if (req.path === "/stream") return res.stream(200, "text/plain", pieces);
        return res.send(200, "text/plain", "y".repeat(30000));
      },
      async open() {
        opened++;
        // As above.
        if (opened % 2 === 0) await sleep(2);
      },
      message: (ws, data) =>
        data.length % 5 === 0 ? sleep(1).then(() => echo(ws, data)) : echo(ws, data),
      drain: (ws) => (ws.data as (() => void) | undefined)?.(),
      close: () => {
        closed++;
      },
    };
    const small = { maxPendingBytes: 65536, maxBacklog: 16384, inbox: 65536, closeTimeout: 500 };
    await serving("", { handler, ...small }, async (server, port) => {
      const clients = Array.from({ length: 30 }, async (_, k) => {
        for (let round = 0; round < 3; round++) {
          assert.is(await chatter(port, 100 + k * 7, (k + round) % 4 === 0), "", `client ${k}`);
        }
      });
      const requests = Array.from({ length: 10 }, async (_, k) => {
        for (let i = 0; i < 30; i++) {
          const answer = await fetch(`http://127.0.0.1:${port}/${k % 2 === 0 ? "stream" : ""}`);
          assert.is((await answer.text()).length, k % 2 === 0 ? 100000 : 30000);
        }
      });
      await within(Promise.all([...clients, ...requests]), "all", 60000);
      await until("closed", () => closed === 90);
      assert.is(opened, 90);
      const { webSockets, replyPool, receivePool, shed } = await server.stats();
      assert.equal([webSockets, replyPool.used, receivePool.used, shed], [0, 0, 0, 0]);
      assert.equal(reported, []);
    });
  },
);

/** Returns the resident bytes of a process; on Linux only. */
function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) * 1024;
}

/** A client that sends as fast as it can, and counts what it sent. */
class Flooder {
  sent = 0;
  #on = true;
  readonly ws: WsWire;
  readonly #frame: Uint8Array;

  constructor(ws: WsWire, frame: Uint8Array = clientFrame(BINARY, pattern(10000))) {
    this.ws = ws;
    this.#frame = frame;
    ws.socket.on("drain", () => this.#fill());
    this.#fill();
  }

  #fill(): void {
    while (this.#on) {
      this.sent++;
      if (!this.ws.socket.write(this.#frame)) return;
    }
  }

  stop(): void {
    this.#on = false;
  }
}

interface Ready {
  readonly own: number;
  readonly pinged: number;
  readonly other: number;
  readonly pid: number;
}

application(
  "one turn of its loop takes at most 256 events, so that its timers are not late",
  async () => {
    const total = 20000;
    let handled = 0;
    let inTurn = 0;
    let most = 0;
    let isBlocked = false;
    const server = await serve({
      hostname: "127.0.0.1",
      port: 0,
      handler: upgrading({
        open: (ws) => ws.send("open"),
        message() {
          handled++;
          inTurn++;
          if (isBlocked) return;
          // The first blocks the thread, until the worker has read far more than one turn takes.
          isBlocked = true;
          const end = Date.now() + 500;
          while (Date.now() < end);
        },
      }),
    });
    const turn = (): void => {
      most = Math.max(most, inTurn);
      inTurn = 0;
      if (handled < total) setImmediate(turn);
    };
    try {
      const port = portOf(server);
      const wires = await Promise.all(Array.from({ length: 10 }, () => WsWire.open(port)));
      for (const wire of wires) assert.is(await wire.text(), "open");
      setImmediate(turn);
      const frames = Buffer.concat(new Array<Uint8Array>(total / 10).fill(clientFrame(TEXT, "x")));
      for (const wire of wires) wire.socket.write(frames);
      await until("all messages", () => handled === total);
      await until("the last turn", () => inTurn === 0);
      assert.ok(most > 1 && most <= 256, `${most} events in a turn`);
      for (const wire of wires) wire.destroy();
    } finally {
      await server.close();
    }
  },
);

application("a blocked application slows its own clients, and no others", async () => {
  const child = new Child("blocked");
  try {
    const { own, pinged, other, pid } = await child.next<Ready>(LIMIT);
    const ticks: { n: number; at: number }[] = [];
    const ticker = new WebSocket(`ws://127.0.0.1:${other}/`);
    ticker.on("message", (data) => ticks.push({ n: Number(String(data)), at: Date.now() }));
    const quiet = new WebSocket(`ws://127.0.0.1:${own}/`);
    let quietEnded = false;
    quiet.on("close", () => {
      quietEnded = true;
    });
    const flooding = await Promise.all(Array.from({ length: 40 }, () => WsWire.open(own)));
    const pinging = await Promise.all(Array.from({ length: 10 }, () => WsWire.open(pinged)));
    const wires = await Promise.all(Array.from({ length: 60 }, () => Wire.open(own)));
    await until("ticks", () => ticks.length > 10 && quiet.readyState === WebSocket.OPEN);
    const before = residentBytes(pid);
    child.tell({ block: 5000 });
    assert.is(await child.next(LIMIT), "blocking");
    const began = Date.now();
    // It blocks as soon as it has said so; from then on nothing can tell.
    await sleep(100);
    const flooders = flooding.map((ws) => new Flooder(ws));
    // Millions of pongs come back. Parsing them would keep this process from answering the server's pings.
    for (const { socket } of pinging) socket.removeAllListeners("data").resume();
    const pings = Buffer.concat(new Array<Uint8Array>(2000).fill(clientFrame(PING, "")));
    const pingers = pinging.map((ws) => new Flooder(ws, pings));
    const answers = wires.map((wire) => takeAnswer(wire.write(GET)));
    let peak = 0;
    let asked = 0;
    while (Date.now() - began < 4500) {
      const wire = await Wire.open(other);
      const from = Date.now();
      assert.is((await takeAnswer(wire.write(GET))).status, 200);
      assert.ok(Date.now() - from < 2000, "another server answers meanwhile");
      wire.destroy();
      asked++;
      peak = Math.max(peak, residentBytes(pid));
      // The pace of the other server's client.
      await sleep(50);
    }
    const during = ticks.filter(({ at }) => at > began && at < began + 4500);
    assert.is(await child.next(LIMIT), "back");
    for (const flooder of [...flooders, ...pingers]) flooder.stop();
    const statuses = (await Promise.all(answers)).map(({ status }) => status);
    const count = (status: number): number => statuses.filter((one) => one === status).length;
    assert.equal([count(200), count(503)], [50, 10]);
    const numbers = during.map(({ n }) => n);
    const first = numbers[0] as number;
    assert.equal(
      numbers,
      numbers.map((_, i) => first + i),
      "no broadcast is missing",
    );
    const gap = Math.max(...during.slice(1).map(({ at }, i) => at - (during[i]?.at ?? 0)));
    const grown = peak - before;
    const mega = (grown / 1e6).toFixed(1);
    console.log(
      `\n  ${during.length} ticks, at most ${gap} ms apart; ${asked} answers; ${mega} MB more`,
    );
    assert.ok(during.length > 100 && gap < 2000, `${during.length} ticks, ${gap} ms`);
    assert.ok(grown < 48e6, `${mega} MB more`);
    assert.is(quietEnded, false, "an idle client that answers pings stays");
    // All that was sent arrives, once.
    // A client that answers pings, because its answer comes after everything that was sent before.
    const counter = new WebSocket(`ws://127.0.0.1:${own}/`);
    await once(counter, "open");
    const sent = flooders.reduce((sum, flooder) => sum + flooder.sent, 0);
    await until("everything", async () => {
      counter.send("count");
      const [data] = await once(counter, "message");
      const [messages = 0, bytes = 0] = String(data).split(" ").map(Number);
      const texts = messages - sent;
      return texts > 0 && bytes === sent * 10000 + texts * 5;
    });
    for (const ws of [...flooding, ...pinging]) ws.destroy();
    counter.terminate();
    for (const wire of wires) wire.destroy();
    ticker.terminate();
    quiet.terminate();
  } finally {
    child.end();
  }
});

application.run();
