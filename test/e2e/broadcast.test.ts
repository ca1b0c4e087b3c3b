// Publishing over real sockets: every byte, in order, to all clients that read, and the fate of the ones that do not.

import type { Eviction, Server } from "ringcast";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  BINARY,
  CLOSE,
  type Frame,
  type Greeted,
  SECURE,
  TEXT,
  closeOf,
  openGreeted,
  pattern,
  serving,
  textPattern,
  until,
  within,
} from "./peer";

const broadcast = suite("broadcast");
const KiB = 1024;
const MiB = 1048576;
/** Long enough that no scheduling delay makes a reader slow. */
const PATIENT = 5000;

async function openClients(port: number, count: number): Promise<Greeted[]> {
  const clients: Greeted[] = [];
  while (clients.length < count) {
    const some = Array.from({ length: Math.min(50, count - clients.length) }, () =>
      openGreeted(port),
    );
    clients.push(...(await Promise.all(some)));
  }
  return clients;
}

/** Publishes in the application's pace: waits when the inbox is full. @returns how often it was */
async function paced(server: Server, put: () => boolean): Promise<number> {
  let refused = 0;
  while (!put()) {
    refused++;
    await within(server.ready(), "ready");
    // An application does other things, too.
    await new Promise((resolve) => setImmediate(resolve));
  }
  return refused;
}

const SIZES = [0, 1, 2, 125, 126, 127, 1000, 4096, 16384, 65535, 65536, 65537, 70 * KiB];

/** Messages of mixed sizes; every other one is text. */
const messages: readonly (string | Buffer)[] = Array.from({ length: 52 }, (_, i) => {
  const size = SIZES[(i * 5) % SIZES.length] as number;
  return i % 2 === 0 ? pattern(size, i).toString("base64").slice(0, size) : pattern(size, i);
});

function assertFrame(frame: Frame, expected: string | Uint8Array, what: string): void {
  const text = typeof expected === "string";
  assert.ok(frame.final, `${what} is one frame`);
  assert.is(frame.opcode, text ? TEXT : BINARY, `${what}: opcode`);
  if (!frame.payload.equals(Buffer.from(expected))) {
    const got = `${frame.payload.length} bytes ${frame.payload.subarray(0, 32).toString("latin1")}`;
    assert.unreachable(`${what}: ${Buffer.byteLength(expected)} bytes expected, got ${got}`);
  }
}

/** Lets a client compare what comes with what is due; counts it. */
function expectAll(
  client: Greeted,
  due: (i: number, id: number) => string | Uint8Array | undefined,
) {
  const state = { count: 0, failure: undefined as Error | undefined };
  client.wire.listen((frame) => {
    if (state.failure) return;
    try {
      const expected = due(state.count, client.id);
      if (expected === undefined) throw new Error(`frame ${state.count} is not due`);
      assertFrame(frame, expected, `client ${client.id}, frame ${state.count}`);
      state.count++;
    } catch (error) {
      state.failure = error as Error;
    }
  });
  return state;
}

type Progress = ReturnType<typeof expectAll>;

async function assertComplete(states: readonly Progress[], count: number): Promise<void> {
  const failed = (): Error | undefined => states.find((state) => state.failure)?.failure;
  try {
    await until(
      "every frame",
      () => failed() !== undefined || states.every((s) => s.count >= count),
    );
  } catch (error) {
    const least = Math.min(...states.map((state) => state.count));
    throw new Error(`${(error as Error).message}: the last has ${least} of ${count} frames`);
  }
  const failure = failed();
  if (failure) throw failure;
  for (const state of states) assert.is(state.count, count);
}

broadcast("200 clients get every byte of mixed sizes, interleaved with their own, in order", () =>
  serving("broadcast", {}, async (server, port) => {
    const clients = await openClients(port, 200);
    // Odd places hold what is for one client alone.
    const due = (i: number, id: number): string | Uint8Array | undefined =>
      i % 2 === 0 ? messages[i / 2] : `${id}:${(i - 1) / 2}`;
    const states = clients.map((client) => expectAll(client, due));
    for (const [i, message] of messages.entries()) {
      await paced(server, () => server.broadcast(message));
      for (const { id } of clients) await paced(server, () => server.send(id, `${id}:${i}`));
    }
    await assertComplete(states, messages.length * 2);
    const stats = await server.stats();
    assert.is(stats.framesPublished, messages.length);
    assert.is(stats.framesDue, messages.length * 200);
    assert.is(stats.evicted, 0);
    for (const { wire } of clients) wire.destroy();
  }),
);

broadcast("a handler publishes and sends in between, and 200 clients get every byte in order", () =>
  serving("broadcast", {}, async (_server, port) => {
    const clients = await openClients(port, 200);
    const due = (i: number, id: number): string | Uint8Array | undefined =>
      i % 2 === 0 ? messages[i / 2] : `${id}/${(i - 1) / 2}`;
    const states = clients.map((client) => expectAll(client, due));
    const { wire } = clients[0] as Greeted;
    for (const message of messages) {
      if (typeof message === "string") wire.send(TEXT, `text ${message}`);
      else wire.send(BINARY, message);
    }
    await assertComplete(states, messages.length * 2);
    for (const client of clients) client.wire.destroy();
  }),
);

broadcast("text with characters of every length arrives as it was", () =>
  serving("broadcast", {}, async (server, port) => {
    const client = await openGreeted(port);
    const texts = [1, 10, 40, 41, 42, 43, 100, 1000, 20000, 30000].map((n) => textPattern(n, n));
    const state = expectAll(client, (i) => texts[i]);
    for (const text of texts) await paced(server, () => server.broadcast(text));
    await assertComplete([state], texts.length);
    client.wire.destroy();
  }),
);

broadcast("`binary` overrules the data's type", () =>
  serving("broadcast", {}, async (server, port) => {
    const { wire } = await openGreeted(port);
    assert.ok(server.broadcast("as binary", { binary: true }));
    assert.ok(server.broadcast(Buffer.from("as text"), { binary: false }));
    assert.ok(server.broadcast(new Uint8Array([1, 2, 3]).buffer));
    for (const [opcode, text] of [
      [BINARY, "as binary"],
      [TEXT, "as text"],
      [BINARY, "\x01\x02\x03"],
    ]) {
      const frame = await wire.next();
      assert.is(frame.opcode, opcode);
      assert.is(frame.payload.toString(), text);
    }
    assert.throws(() => server.broadcast(5 as unknown as string), /not a string/);
    wire.destroy();
  }),
);

broadcast(
  "a reader that stalls is evicted; its stream is a prefix; 199 others lose nothing",
  async () => {
    const evictions: Eviction[] = [];
    const onEvict = (some: readonly Eviction[]): void => {
      evictions.push(...some);
    };
    const options = { ring: 256 * KiB, slowGrace: 1000, writeTimeout: 60000, onEvict };
    await serving("broadcast", options, async (server, port) => {
      const clients = await openClients(port, 199);
      const stalled = await openGreeted(port);
      stalled.wire.socket.pause();
      const payload = pattern(8 * KiB);
      const due = (i: number): Buffer => {
        const message = Buffer.from(payload);
        message.writeUInt32BE(i, 0);
        return message;
      };
      const states = clients.map((client) => expectAll(client, due));
      let sent = 0;
      // The kernel takes megabytes for it before the ring has to wait. All others keep up: a quarter
      // of the ring at a time.
      const publish = async (): Promise<void> => {
        for (let i = 0; i < 8; i++) {
          const message = due(sent++);
          await paced(server, () => server.broadcast(message));
        }
        await assertComplete(states, sent);
      };
      while (evictions.length === 0 && sent < 4096) await publish();
      for (let i = 0; i < 10; i++) await publish();
      await until("onEvict", () => evictions.length > 0);
      assert.is(evictions.length, 1, JSON.stringify(evictions.slice(0, 9)));
      assert.is(evictions[0]?.id, stalled.id);
      assert.is(evictions[0]?.cause, "WsClientTooSlow");
      assert.is(evictions[0]?.remoteAddress, "127.0.0.1");
      const lag = evictions[0]?.lagBytes ?? 0;
      assert.ok(lag > 0 && lag <= 256 * KiB, `lagBytes ${lag}`);
      const prefix = expectAll(stalled, due);
      stalled.wire.socket.resume();
      await stalled.wire.gone();
      if (prefix.failure) throw prefix.failure;
      assert.ok(prefix.count < sent);
      const rest = stalled.wire.parser.rest;
      const header = Buffer.from([0x82, 126, (8 * KiB) >> 8, 0]);
      const next = Buffer.concat([header, due(prefix.count)]);
      assert.ok(next.subarray(0, rest.length).equals(rest), "the last frame is cut, not changed");
      const stats = await server.stats();
      assert.is(stats.evicted, 1);
      assert.is(stats.closed.WsClientTooSlow, 1);
      for (const { wire } of clients) wire.destroy();
    });
  },
);

broadcast("a publisher faster than all readers is paced, and evicts no client", async () => {
  const options = { ring: MiB, inbox: MiB, slowGrace: PATIENT };
  await serving("broadcast", options, async (server, port) => {
    const clients = await openClients(port, 10);
    const payload = pattern(10000);
    const stamp = (i: number): Buffer => {
      payload.writeUInt32BE(i, 0);
      return payload;
    };
    // 2 GB in all; a tenth of it over TLS, whose ten readers here would take most of the time.
    const total = SECURE ? 2000 : 20000;
    const seen = clients.map(() => ({ count: 0, wrong: "" }));
    for (const [c, { wire }] of clients.entries()) {
      const mine = seen[c] as { count: number; wrong: string };
      wire.listen((frame) => {
        const { payload: got } = frame;
        if (got.readUInt32BE(0) !== mine.count || got.compare(payload, 4, 10000, 4) !== 0)
          mine.wrong ||= `frame ${mine.count} is ${got.readUInt32BE(0)}, ${got.length} bytes`;
        mine.count++;
      });
    }
    let refused = 0;
    for (let i = 0; i < total; i++)
      refused += await paced(server, () => server.broadcast(stamp(i)));
    await until("all bytes", () => seen.every((one) => one.count >= total || one.wrong !== ""));
    for (const one of seen) assert.equal(one, { count: total, wrong: "" });
    assert.ok(refused > 0, "broadcast said that there is no room");
    assert.is((await server.stats()).evicted, 0);
    for (const { wire } of clients) wire.destroy();
  });
});

broadcast("a message larger than the ring is its sender's error and evicts no client", async () => {
  await serving("broadcast", { ring: 65536, inbox: 65536 }, async (server, port) => {
    const clients = await openClients(port, 3);
    const large = new Uint8Array(65536);
    assert.throws(
      () => server.broadcast(large),
      (error: Error) => error instanceof RangeError,
    );
    assert.throws(
      () => server.broadcast("x".repeat(65537)),
      (error: Error) => error instanceof RangeError && /larger than the ring/.test(error.message),
    );
    const [{ wire: first }] = clients as [Greeted];
    for (const size of [65536, 100000, 2000000]) {
      first.send(TEXT, `try x${size}`);
      assert.match(await first.text(), /^RangeError: .*larger than the ring/);
    }
    assert.ok(server.broadcast("still here"));
    for (const { wire } of clients) assert.is(await wire.text(), "still here");
    assert.is((await server.stats()).evicted, 0);
    for (const { wire } of clients) wire.destroy();
  });
});

broadcast("a text's bytes, not its characters, count against the ring", async () => {
  await serving("broadcast", { ring: 65536, inbox: 65536 }, async (server, port) => {
    const { wire } = await openGreeted(port);
    // 30,000 characters, 90,000 bytes.
    assert.throws(
      () => server.broadcast("€".repeat(30000)),
      (error: Error) => error instanceof RangeError,
    );
    server.broadcast("after");
    assert.is(await wire.text(), "after");
    wire.destroy();
  });
});

broadcast("the largest message that fits the ring gets through, again and again", async () => {
  const options = { ring: 65536, inbox: 65536, slowGrace: PATIENT };
  await serving("broadcast", options, async (server, port) => {
    const client = await openGreeted(port);
    const sizes = [65536 - 10, 1, 65536 - 10, 65536 - 10, 40000, 40000, 30000, 65000];
    const due = sizes.map((size, i) => new Uint8Array(pattern(size, i)));
    const state = expectAll(client, (i) => due[i]);
    for (const message of due) await paced(server, () => server.broadcast(message));
    await assertComplete([state], due.length);
    assert.is((await server.stats()).evicted, 0);
    client.wire.destroy();
  });
});

broadcast("messages that follow the inbox as buffers of their own keep their order", async () => {
  // A quarter of the inbox is 16 KiB.
  const options = { ring: MiB, inbox: 64 * KiB, slowGrace: PATIENT };
  await serving("broadcast", options, async (server, port) => {
    const clients = await openClients(port, 5);
    const sizes = [10, 20000, 100000, 10, 16384, 16385, 300000, 0, 65536, 17000, 17000, 5];
    const due = Array.from({ length: 240 }, (_, i) => {
      const size = sizes[i % sizes.length] as number;
      const bytes = pattern(size, i);
      return i % 5 === 0 ? bytes.toString("hex").slice(0, size) : new Uint8Array(bytes);
    });
    const own = (i: number, id: number): Uint8Array =>
      new Uint8Array(pattern(i % 16 === 1 ? 40000 : 8, id + i));
    // Every eighth message is followed by one for each client alone, now and then a large one.
    const sequence: { kind: "all" | "own"; i: number }[] = [];
    for (const i of due.keys()) {
      sequence.push({ kind: "all", i });
      if (i % 8 === 1) sequence.push({ kind: "own", i });
    }
    const states = clients.map((client) =>
      expectAll(client, (n, id) => {
        const step = sequence[n];
        if (!step) return undefined;
        return step.kind === "all" ? due[step.i] : own(step.i, id);
      }),
    );
    for (const { kind, i } of sequence) {
      if (kind === "all") {
        await paced(server, () => server.broadcast(due[i] as string | Uint8Array));
      } else {
        for (const { id } of clients) await paced(server, () => server.send(id, own(i, id)));
      }
    }
    await assertComplete(states, sequence.length);
    assert.is((await server.stats()).evicted, 0);
    for (const { wire } of clients) wire.destroy();
  });
});

broadcast("bytes that were sent stay the sender's, to keep and to change", () =>
  serving("broadcast", { inbox: 64 * KiB }, async (server, port) => {
    const { wire, id } = await openGreeted(port);
    for (const size of [100, 10000, 20000, 200000]) {
      for (const mine of [Buffer.alloc(size, 1), new Uint8Array(size).fill(1)]) {
        await paced(server, () => server.broadcast(mine));
        assert.is(mine.length, size);
        mine.fill(2);
        await paced(server, () => server.send(id, mine));
        assert.is(mine.length, size);
        mine.fill(3);
        assertFrame(await wire.next(), new Uint8Array(size).fill(1), `broadcast of ${size}`);
        assertFrame(await wire.next(), new Uint8Array(size).fill(2), `send of ${size}`);
      }
    }
    wire.destroy();
  }),
);

broadcast(
  "records that the ring makes wait are carried out once, in order, whatever their kind",
  async () => {
    // A turn takes an eighth of the ring, 512 bytes: every boundary falls somewhere else.
    const options = { ring: 4096, inbox: 64 * KiB, slowGrace: PATIENT };
    await serving("broadcast", options, async (server, port) => {
      const listener = await openGreeted(port);
      const due: Buffer[] = [];
      const state = expectAll(listener, (i) => due[i]);
      for (let size = 280; size <= 520; size += 4) {
        const { wire, id } = await openGreeted(port);
        const message = pattern(size, size);
        due.push(message);
        await paced(server, () => server.broadcast(message));
        await paced(server, () => server.closeConnection(id, 4000 + size, "r".repeat(123)));
        assertFrame(await wire.next(), message, `before the close after ${size} bytes`);
        const close = await wire.next();
        assert.is(close.opcode, CLOSE, `a Close follows ${size} bytes`);
        assert.equal(closeOf(close), { code: 4000 + size, reason: "r".repeat(123) });
        wire.destroy();
      }
      await assertComplete([state], due.length);
      listener.wire.destroy();
    });
  },
);

const isRangeError = (error: Error): boolean => error instanceof RangeError;

broadcast("the application stages a message piece by piece", () =>
  serving("broadcast", {}, async (server, port) => {
    const { wire, id } = await openGreeted(port);
    const stage = server.stage();
    stage
      .text('{"slot":')
      .text(7)
      .text(",€")
      .bytes(new Uint8Array([33, 34]));
    stage.reserve(10, (view) => {
      view.set([65, 66, 67]);
      return 3;
    });
    assert.is(stage.length, 18);
    stage.text("gone").truncate(18).text(true);
    assert.ok(stage.broadcast());
    assert.throws(() => stage.text("more"), /published or discarded/);
    assert.throws(() => stage.broadcast(), /published or discarded/);
    const frame = await wire.next();
    assert.is(frame.opcode, TEXT);
    assert.is(frame.payload.toString(), '{"slot":7,€!"ABCtrue');
    assert.ok(server.stage().text("to one").send(id));
    assert.is(await wire.text(), "to one");
    assert.ok(server.stage().bytes(new Uint8Array(3)).broadcast({ binary: true }));
    assertFrame(await wire.next(), new Uint8Array(3), "binary");
    assert.ok(server.stage().broadcast());
    assertFrame(await wire.next(), "", "an empty message");
    server.stage().text("never").discard();
    const over = server.stage();
    for (let i = 0; i < 300; i++) over.bytes(new Uint8Array(65536));
    assert.is(over.length, 255 * 65536);
    assert.throws(() => over.broadcast(), isRangeError);
    assert.throws(() => over.broadcast(), /published or discarded/);
    assert.throws(() => server.stage().reserve(4, () => 5), isRangeError);
    assert.ok(server.stage().text("last").broadcast());
    assert.is(await wire.text(), "last");
    wire.destroy();
  }),
);

broadcast("a handler stages a message piece by piece", () =>
  serving("broadcast", { ring: MiB }, async (_server, port) => {
    const { wire, id } = await openGreeted(port);
    wire.send(TEXT, "stage");
    assert.is(await wire.text(), '{"n":42,€!"ABCtrue');
    wire.send(TEXT, "stageBinary");
    assertFrame(await wire.next(), new Uint8Array(70000).fill(7), "binary");
    wire.send(TEXT, `stageSend ${id}`);
    assert.is(await wire.text(), "to one");
    assert.is(await wire.text(), "true");
    wire.send(TEXT, "stageSend 12345678901");
    assert.is(await wire.text(), "false");
    wire.send(TEXT, "stageEmpty");
    assertFrame(await wire.next(), "", "an empty message");
    wire.send(TEXT, "stageTooLarge");
    const answers = [await wire.text(), await wire.text(), await wire.text()];
    assert.equal(answers, ["RangeError", "after", "true"]);
    wire.send(TEXT, "stageLeftOpen");
    wire.send(TEXT, "stageSeveral");
    assert.is(await wire.text(), "x");
    assert.is(await wire.text(), "second");
    assert.is(await wire.text(), "first");
    assert.match(await wire.text(), /published or discarded/);
    wire.send(TEXT, "try fine");
    assert.is(await wire.text(), "fine");
    assert.is(await wire.text(), "true");
    wire.destroy();
  }),
);

broadcast("an id names one connection for ever", () =>
  serving("broadcast", { maxWebSockets: 2 }, async (server, port) => {
    const old = await openGreeted(port);
    const other = await openGreeted(port);
    assert.ok(server.send(old.id, "hello"));
    assert.is(await old.wire.text(), "hello");
    assert.ok(server.closeConnection(old.id, 4001, "go"));
    assert.equal(closeOf(await old.wire.next()), { code: 4001, reason: "go" });
    old.wire.destroy();
    await until("free slot", async () => (await server.stats()).webSockets === 1);
    // The slot has a new tenant.
    const fresh = await openGreeted(port);
    assert.is.not(fresh.id, old.id);
    assert.is(fresh.id % 2 ** 20, old.id % 2 ** 20);
    server.send(old.id, "for the dead");
    server.closeConnection(old.id, 4002, "for the dead");
    other.wire.send(TEXT, `sendTo ${old.id} dead`);
    assert.is(await other.wire.text(), "false");
    other.wire.send(TEXT, `sendTo ${fresh.id} alive`);
    assert.is(await fresh.wire.text(), "alive");
    assert.is(await other.wire.text(), "true");
    for (const id of [0, 1, 2 ** 20, 2 ** 40, 2 ** 52]) {
      server.send(id, "nobody");
      server.closeConnection(id);
    }
    assert.throws(
      () => server.closeConnection(fresh.id, 1005),
      (error: Error) => error instanceof RangeError,
    );
    assert.ok(server.send(fresh.id, "end"));
    assert.is(await fresh.wire.text(), "end");
    assert.is((await server.stats()).webSockets, 2);
    other.wire.destroy();
    fresh.wire.destroy();
  }),
);

broadcast("while the inbox stays full the application is not kept busy by ready()", async () => {
  // The ring waits for one reader that does not read; nothing may starve this thread meanwhile.
  const options = { ring: 64 * KiB, inbox: 64 * KiB, slowGrace: PATIENT, writeTimeout: 60000 };
  await serving("broadcast", options, async (server, port) => {
    const { wire } = await openGreeted(port);
    wire.socket.pause();
    let turns = 0;
    const timer = setInterval(() => {
      turns++;
      if (turns === 20) wire.socket.resume();
    }, 10);
    let count = 0;
    wire.listen(() => {
      count++;
    });
    let refused = 0;
    const total = 400;
    try {
      for (let i = 0; i < total; i++) {
        // Larger than a quarter of the inbox.
        while (!server.broadcast(new Uint8Array(20000).fill(i))) {
          if (refused++ > 100000) throw new Error("ready() resolves although there is no room");
          await within(server.ready(), "ready");
        }
      }
      await until("all", () => count === total);
    } finally {
      clearInterval(timer);
      wire.destroy();
    }
    assert.ok(refused < 5000, `refused ${refused} times`);
  });
});

broadcast.run();
