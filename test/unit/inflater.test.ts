// Large compressed messages, which are inflated in steps: the share of a turn, the bound of their memory, and changes
// of their connections between two steps.

import { constants, deflateRawSync } from "node:zlib";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Control } from "../../assembly/abi";
import type { Handler, WebSocket } from "../../host/handler";
import { Random } from "../../host/testing/random";
import { Runner } from "../../host/testing/run";
import { MemoryNet, type MemorySocket, VirtualClock } from "../../worker/net/memory";
import type { Codec } from "../../worker/net/transport";
import { zlibCodec } from "../../worker/net/zlib";
import { Pump } from "../../worker/pump/pump";
import { CHUNK_BYTES, JOBS } from "../../worker/socket/inflater";
import { checkEngine } from "../lib/check";
import { closeFrame, frame, lines, text } from "../lib/frame";
import { handshake } from "../lib/handshake";
import { stepped } from "../lib/stepped";
import { testEngine } from "../lib/wasm";

const inflater = suite("inflater");

const MiB = 1048576;
/** Limit of a message. */
const LIMIT = 4 * MiB;

function pack(data: Uint8Array | string): Uint8Array {
  return deflateRawSync(data, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
}

/** Returns the frames of a compressed message. */
function packed(opcode: number, data: Uint8Array | string, frames = 1): Uint8Array {
  const wire = pack(data);
  const parts = Array.from({ length: frames }, (_, i) => {
    const part = wire.subarray((wire.length * i) / frames, (wire.length * (i + 1)) / frames);
    const options = { final: i === frames - 1, reserved: i === 0 ? 4 : 0 };
    return frame(i === 0 ? opcode : 0, part, options);
  });
  return Buffer.concat(parts);
}

/** A message that inflates to so many zeros. */
const bomb = (bytes: number): Uint8Array => packed(2, new Uint8Array(bytes));

interface Client {
  readonly socket: MemorySocket;
  /** Frames of the server after its 101. */
  lines(): string[];
}

/** A server in memory whose handler notes what it is called with. */
class World {
  readonly clock = new VirtualClock();
  readonly runner = new Runner(this.clock);
  readonly net = new MemoryNet(this.clock);
  readonly engine = testEngine({
    ...{ Connections: 64, WebSockets: 64, WindowBytes: 65536, PayloadBytes: LIMIT },
    ...{ ReceivePoolBytes: 16 * MiB, DeflateRingBytes: 4096 },
  });
  readonly pump: Pump;
  /** Messages, ends, and steps of inflating, in their order. */
  readonly log: string[] = [];
  readonly received: (string | Uint8Array)[] = [];
  readonly sockets: WebSocket[] = [];
  steps = 0;
  /** Called before each step. */
  onStep: () => void = () => undefined;

  constructor(codec: Codec = zlibCodec, handler: Handler = {}) {
    this.pump = new Pump({ engine: this.engine, clock: this.clock, codec: this.#noted(codec) });
    this.pump.setHandler({
      request: (req, res) => (req.upgrade ? res.upgrade() : res.send(200, "text/plain", "x")),
      open: (ws) => void this.sockets.push(ws),
      message: (ws, data) => {
        this.received.push(data);
        this.log.push(`${this.sockets.indexOf(ws)}: ${data.length} of ${typeof data}`);
      },
      close: (ws, { cause }) => void this.log.push(`${this.sockets.indexOf(ws)}: ${cause}`),
      ...handler,
    });
    this.net.open(this.engine.windowView(), this.pump.accept);
  }

  #noted(codec: Codec): Codec {
    const begin = (): ReturnType<NonNullable<Codec["begin"]>> => {
      const inflation = codec.begin?.();
      if (!inflation) return undefined;
      return {
        get isDone() {
          return inflation.isDone;
        },
        step: (data, out) => {
          this.steps++;
          this.onStep();
          return inflation.step(data, out);
        },
        end: () => inflation.end(),
      };
    };
    return { ...codec, ...(codec.begin ? { begin } : {}) };
  }

  get inflater(): Pump["messages"]["inflater"] {
    return this.pump.messages.inflater;
  }

  get poolUsed(): number {
    this.engine.x.gauge();
    return this.engine.get(Control.ReceivePoolUsed);
  }

  async client(): Promise<Client> {
    const socket = this.net.connect(2 * MiB, "#1");
    assert.ok(socket);
    socket.send(Buffer.from(handshake("/", "Sec-WebSocket-Extensions: permessage-deflate\r\n")));
    await this.runner.settle();
    const out: Uint8Array[] = [];
    socket.read(Number.POSITIVE_INFINITY);
    return {
      socket,
      lines() {
        out.push(socket.read(Number.POSITIVE_INFINITY));
        return lines(Buffer.concat(out));
      },
    };
  }

  /** Ends everything, and checks that nothing is left. */
  async end(): Promise<void> {
    checkEngine(this.engine);
    this.pump.endAll();
    await this.runner.settle();
    assert.equal([this.inflater.messages, this.inflater.bytes, this.poolUsed], [0, 0, 0]);
    this.pump.stop();
  }
}

/** Runs `fn` after a step, once. */
function atStep(world: World, step: number, fn: () => void): void {
  const before = world.onStep;
  world.onStep = () => {
    before();
    if (world.steps === step) world.clock.defer(fn);
  };
}

/** Returns text of `bytes` bytes with characters of each length. */
function textOf(bytes: number): string {
  const words = ["plain ", "größer ", "€ 5 ", "𝄞 ", "漢字 "];
  const all = Buffer.from(words.join("").repeat(Math.ceil(bytes / 20)));
  let end = bytes;
  while (((all[end] as number) & 0xc0) === 0x80) end--;
  return all.subarray(0, end).toString();
}

for (const size of [65537, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, LIMIT - 1, LIMIT]) {
  for (const frames of [1, 3]) {
    inflater(`messages of ${size} bytes in ${frames} frames arrive as they were sent`, async () => {
      const world = new World();
      const { socket } = await world.client();
      const noise = new Random(size).bytes(size);
      const words = textOf(size);
      socket.send(Buffer.concat([text("before"), packed(1, words, frames), text("between")]));
      socket.send(Buffer.concat([packed(2, noise, frames), text("after")]));
      await world.runner.settle();
      const [before, large, between, bytes, after] = world.received;
      assert.equal([before, between, after], ["before", "between", "after"]);
      assert.ok(large === words, "the text");
      assert.is(Buffer.compare(bytes as Uint8Array, noise), 0);
      // A handler may keep the bytes, or transfer them.
      assert.is((bytes as Uint8Array).buffer.byteLength, size);
      assert.is(world.engine.get(Control.MessagesIn), 5);
      await world.end();
    });
  }
}

inflater("a message in steps of one byte, split at each place, is the same", async () => {
  const world = new World(stepped(0, 1));
  const words = textOf(40);
  const wire = Buffer.concat([packed(1, words, 2), text("after")]);
  const { socket } = await world.client();
  for (let at = 1; at < wire.length; at++) {
    world.received.length = 0;
    socket.send(wire.subarray(0, at));
    await world.runner.settle();
    socket.send(wire.subarray(at));
    await world.runner.settle();
    assert.equal(world.received, [words, "after"], `split at ${at}`);
  }
  await world.end();
});

inflater("small messages are inflated at once, others take turns", async () => {
  const world = new World();
  const { socket } = await world.client();
  socket.send(packed(2, new Uint8Array(65536)));
  await world.runner.settle();
  assert.equal([world.received.length, world.steps], [1, 0]);
  socket.send(packed(2, new Uint8Array(65537)));
  await world.runner.settle();
  assert.equal([world.received.length, world.steps], [2, 2]);
  await world.end();
});

inflater("a turn takes 16 steps at most, however many messages there are", async () => {
  const world = new World();
  let turn = 0;
  let most = 0;
  world.pump.setHandler(world.pump.handler, () => {
    most = Math.max(most, world.steps - turn);
    turn = world.steps;
  });
  const clients: Client[] = [];
  for (let i = 0; i < 20; i++) clients.push(await world.client());
  for (const { socket } of clients) socket.send(bomb(MiB));
  await world.runner.settle();
  assert.is(world.received.length, 20);
  assert.is(most, 16);
  await world.end();
});

inflater("a turn begins no step after one ms", async () => {
  const world = new World();
  let turn = 0;
  let most = 0;
  world.onStep = () => void world.clock.step(world.clock.now() + 0.3);
  world.pump.setHandler(world.pump.handler, () => {
    most = Math.max(most, world.steps - turn);
    turn = world.steps;
  });
  const { socket } = await world.client();
  socket.send(bomb(MiB));
  for (let i = 0; world.received.length === 0; i++) {
    assert.ok(i < 100);
    await world.runner.settle();
  }
  assert.is(most, 4);
  await world.end();
});

inflater("others are served between the steps of large messages", async () => {
  const world = new World();
  const clients: Client[] = [];
  for (let i = 0; i < 10; i++) clients.push(await world.client());
  for (const { socket } of clients) socket.send(bomb(LIMIT));
  let asked = false;
  let served = 0;
  world.onStep = () => {
    if (world.steps !== 50 || asked) return;
    asked = true;
    const newcomer = world.net.connect(4096, "#2");
    newcomer?.send(Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    const look = (): void => {
      if (served === 0 && newcomer?.available) served = world.steps;
    };
    world.onStep = look;
  };
  await world.runner.settle();
  // It is accepted, read and answered in the next turns, of 16 steps each. All take more than 600.
  assert.ok(served > 50 && served <= 50 + 3 * 16, `served at step ${served}`);
  assert.ok(world.steps > 600);
  await world.end();
});

inflater("a message of one chunk passes larger ones that came before", async () => {
  const world = new World();
  const clients: Client[] = [];
  for (let i = 0; i < 6; i++) clients.push(await world.client());
  const last = clients.pop() as Client;
  for (const { socket } of clients) socket.send(bomb(LIMIT));
  const words = packed(1, textOf(200000));
  atStep(world, 10, () => last.socket.send(words));
  await world.runner.settle();
  const place = world.log.findIndex((line) => line.startsWith("5:"));
  assert.ok(place >= 0 && place <= 1, world.log.join("\n"));
  await world.end();
});

inflater("the memory of all messages is bounded, and counted", async () => {
  const world = new World();
  const clients: Client[] = [];
  for (let i = 0; i < 40; i++) clients.push(await world.client());
  let [most, jobs] = [0, 0];
  world.onStep = () => {
    most = Math.max(most, world.inflater.bytes);
    jobs = Math.max(jobs, world.inflater.messages);
  };
  for (const { socket } of clients) socket.send(bomb(LIMIT));
  await world.runner.settle();
  assert.is(world.received.length, 40);
  assert.is(jobs, 40);
  const bound = 2 * LIMIT + JOBS * 2 * CHUNK_BYTES;
  assert.ok(most > LIMIT && most <= bound, `${most} bytes`);
  await world.end();
});

inflater("stops at the limit: 1009", async () => {
  const world = new World();
  const client = await world.client();
  client.socket.send(bomb(16 * LIMIT));
  await world.runner.settle();
  // Each step writes 64 KiB.
  assert.is(world.steps, LIMIT / 65536 + 1);
  assert.equal(client.lines(), ["close 1009 a message is larger than maxPayloadLength"]);
  await world.end();
});

for (const [what, wire, code] of [
  ["data that is no deflate", frame(2, Buffer.alloc(40000, 255), { reserved: 4 }), 1007],
  [
    "data that is cut",
    frame(2, pack(new Random(1).bytes(100000)).subarray(0, 90000), { reserved: 4 }),
    1007,
  ],
  ["text that is no UTF-8", packed(1, Buffer.alloc(100000, 0xff)), 1007],
  [
    "text that ends within a character",
    packed(1, Buffer.concat([Buffer.alloc(100000, 97), Buffer.of(0xe2, 0x82)])),
    1007,
  ],
] as const) {
  inflater(`refuses ${what}, and handles nothing after it`, async () => {
    const world = new World();
    const client = await world.client();
    client.socket.send(Buffer.concat([wire, text("after")]));
    await world.runner.settle();
    assert.ok(world.steps > 0);
    assert.match(client.lines().join(), new RegExp(`^close ${code} `));
    assert.equal(world.received, []);
    await world.end();
  });
}

inflater("a client that resets is noticed, and its message is dropped", async () => {
  const world = new World();
  const [one, other] = [await world.client(), await world.client()];
  one.socket.send(bomb(LIMIT));
  other.socket.send(bomb(MiB));
  atStep(world, 10, () => one.socket.reset());
  await world.runner.settle();
  assert.equal(world.log, ["0: PeerReset", `1: ${MiB} of object`]);
  assert.ok(world.steps < 50, `${world.steps} steps`);
  await world.end();
});

inflater("a client that ends its side gets its message handled first", async () => {
  const world = new World();
  const { socket } = await world.client();
  socket.send(bomb(LIMIT));
  atStep(world, 10, () => socket.end());
  await world.runner.settle();
  assert.equal(world.log, [`0: ${LIMIT} of object`, "0: PeerEnded"]);
  await world.end();
});

inflater("messages and a Close after it wait, in a buffer of 64 KiB at most", async () => {
  const world = new World();
  const client = await world.client();
  client.socket.send(bomb(LIMIT));
  let used = 0;
  atStep(world, 10, () => {
    for (let i = 0; i < 1000; i++) client.socket.send(text("x".repeat(1000)));
    client.socket.send(frame(9, "ping"));
    client.socket.send(closeFrame(1000));
    world.clock.defer(() => {
      used = world.poolUsed;
      assert.ok(client.socket.unread > 500000);
    });
  });
  await world.runner.settle();
  assert.ok(used > 32768 && used <= 262144, `${used} bytes`);
  assert.is(world.received.length, 1001);
  assert.is((world.received[0] as Uint8Array).length, LIMIT);
  assert.equal(client.lines(), ["pong ping", "close 1000"]);
  await world.end();
});

inflater("a pause drops what was inflated, and the message comes after it", async () => {
  const world = new World();
  const { socket } = await world.client();
  socket.send(Buffer.concat([bomb(LIMIT), text("after")]));
  atStep(world, 10, () => {
    world.sockets[0]?.pause();
  });
  await world.runner.settle();
  assert.equal([world.inflater.messages, world.inflater.bytes, world.steps], [0, 0, 16]);
  assert.equal(world.log, []);
  world.sockets[0]?.resume();
  await world.runner.settle();
  assert.equal(world.log, [`0: ${LIMIT} of object`, "0: 5 of string"]);
  assert.is(world.engine.get(Control.MessagesIn), 2);
  await world.end();
});

inflater("terminate and close by the handler end it meanwhile", async () => {
  const world = new World();
  const [one, other] = [await world.client(), await world.client()];
  one.socket.send(bomb(LIMIT));
  other.socket.send(bomb(LIMIT));
  atStep(world, 10, () => {
    world.sockets[0]?.terminate();
    world.sockets[1]?.close(4000, "enough");
  });
  await world.runner.settle();
  assert.is(world.log[0], "0: Application");
  assert.equal(other.lines(), ["close 4000 enough"]);
  other.socket.send(closeFrame(4000));
  other.socket.end();
  await world.runner.settle();
  // As of a plain message that arrives after our Close, the handler gets it.
  assert.equal(world.log.slice(1), [`1: ${LIMIT} of object`, "1: Application"]);
  await world.end();
});

inflater("the next message waits for the handler of one that was inflated", async () => {
  const settled: (() => void)[] = [];
  const log: string[] = [];
  const world = new World(zlibCodec, {
    message(_, data) {
      log.push(`${data.length}`);
      return new Promise<void>((resolve) => {
        settled.push(resolve);
      });
    },
  });
  const { socket } = await world.client();
  socket.send(Buffer.concat([bomb(MiB), bomb(MiB + 1), text("x")]));
  for (let i = 1; i <= 3; i++) {
    await world.runner.settle();
    assert.is(log.length, i);
    settled.shift()?.();
  }
  await world.runner.settle();
  assert.equal(log, [`${MiB}`, `${MiB + 1}`, "1"]);
  await world.end();
});

inflater("messages beyond JOBS wait without memory, and leave with their connections", async () => {
  const world = new World();
  const clients: Client[] = [];
  for (let i = 0; i < JOBS + 8; i++) clients.push(await world.client());
  for (const { socket } of clients) socket.send(bomb(LIMIT));
  atStep(world, 10, () => {
    for (const { socket } of clients.slice(JOBS)) socket.reset();
  });
  atStep(world, 20, () => assert.is(world.inflater.messages, JOBS));
  await world.runner.settle();
  assert.is(world.received.length, JOBS);
  await world.end();
});

inflater("without a buffer for it the message waits, and then comes", async () => {
  const world = new World();
  const [one, other] = [await world.client(), await world.client()];
  // Begun messages take all that the pool has, but the quarter for small buffers.
  const sizes = [4 * MiB, 4 * MiB, 2 * MiB, MiB, ...Array.from({ length: 16 }, () => 65536)];
  const hogs: Client[] = [];
  for (const size of sizes) {
    const hog = await world.client();
    hogs.push(hog);
    const begun = frame(2, new Uint8Array(size - 100)).subarray(0, 0.7 * size);
    for (let at = 0; at < begun.length; at += MiB) {
      hog.socket.send(begun.subarray(at, at + MiB));
      await world.runner.settle();
    }
  }
  assert.is(world.poolUsed, 12 * MiB);
  // It comes whole in one read, and small buffers are too small for it.
  const half = Buffer.concat([new Random(1).bytes(40000), new Uint8Array(MiB)]);
  one.socket.send(packed(2, half));
  await world.runner.settle();
  assert.equal([world.inflater.messages, world.received.length], [0, 0]);
  assert.ok(
    world.pump.connections.some(({ rest }) => rest !== undefined),
    "it waits",
  );
  hogs[0]?.socket.reset();
  await world.runner.settle();
  assert.is(world.received.length, 1);
  other.socket.send(text("x"));
  await world.runner.settle();
  assert.is(world.received.length, 2);
  await world.end();
});

inflater("a codec without steps inflates large messages at once", async () => {
  const { deflate, inflate } = zlibCodec;
  const world = new World({ deflate, inflate });
  const client = await world.client();
  client.socket.send(Buffer.concat([bomb(LIMIT), bomb(LIMIT + 1)]));
  await world.runner.settle();
  assert.equal(world.received.length, 1);
  assert.equal(client.lines(), ["close 1009 a message is larger than maxPayloadLength"]);
  await world.end();
});

inflater.run();
