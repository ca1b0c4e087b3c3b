// A thousand downloads that no client reads: the other clients receive the same bytes at the same times as without
// them, because pieces of bodies have memory of their own.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Control } from "../../assembly/abi";
import type { WebSocket } from "../../host/handler";
import { Runner } from "../../host/testing/run";
import { MemoryNet, type MemorySocket, VirtualClock } from "../../worker/net/memory";
import { Pump } from "../../worker/pump/pump";
import { HANDSHAKE } from "../lib/handshake";
import { testEngine } from "../lib/wasm";

const downloads = suite("downloads");

const DOWNLOADS = 1000;
const OTHERS = 20;
const PIECE = new Uint8Array(65536).fill(120);
const PIECE_BYTES = 1048576;
/** Bytes that the kernel of a client takes. */
const KERNEL_BYTES = 4096;

/** Yields a body without an end, whose parts come at once or later. */
async function* later(): AsyncGenerator<Uint8Array> {
  for (;;) yield PIECE;
}
function* atOnce(): Generator<Uint8Array> {
  for (;;) yield PIECE;
}

class Scene {
  readonly clock = new VirtualClock();
  readonly runner = new Runner(this.clock);
  readonly net = new MemoryNet(this.clock);
  readonly engine = testEngine({
    ...{ Connections: DOWNLOADS + 2 * OTHERS, WebSockets: OTHERS, RingBytes: 65536 },
    ...{
      ReceivePoolBytes: 33554432,
      ReplyPoolBytes: 8388608,
      PieceBytes: PIECE_BYTES,
      WriteTimeout: 60000,
    },
  });
  readonly pump = new Pump({ engine: this.engine, clock: this.clock });
  readonly sockets: WebSocket[] = [];

  async open(): Promise<void> {
    this.pump.setHandler({
      request: (req, res) => {
        if (req.upgrade) return res.upgrade();
        if (req.path === "/later") return res.stream(200, "text/plain", later());
        if (req.path === "/at-once") return res.stream(200, "text/plain", atOnce());
        return res.send(200, "text/plain", `${req.path} `.repeat(500));
      },
      open: (ws) => void this.sockets.push(ws),
      message: (ws, data) => void ws.send(data),
    });
    this.net.open(this.engine.windowView(), (link) => this.pump.accept(link));
    await this.runner.settle();
  }

  async connect(text: string, kernelBytes = 1048576): Promise<MemorySocket> {
    const socket = this.net.connect(kernelBytes) as MemorySocket;
    socket.send(Buffer.from(text));
    return socket;
  }

  /** Lets clients ask, be sent to, and be published to. @returns the octets that each has received, by its number */
  async work(): Promise<string[]> {
    const get = (i: number): string => `GET /${i} HTTP/1.1\r\nHost: a\r\n\r\n`;
    const asking = Array.from({ length: OTHERS }, () => this.connect(""));
    const listening = Array.from({ length: OTHERS }, () => this.connect(HANDSHAKE));
    const all = await Promise.all([...asking, ...listening]);
    await this.runner.settle();
    assert.is(this.sockets.length, OTHERS);
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < OTHERS; i++) all[i]?.send(Buffer.from(get(i) + get(round)));
      for (const ws of this.sockets) assert.ok(ws.send(`for you ${round} `.repeat(100)));
      assert.ok(this.pump.broadcast(`for all ${round} `.repeat(100)));
      await this.runner.advance(10);
      for (const socket of all) assert.ok(socket.available > 0, `round ${round}`);
    }
    return all.map((socket) => Buffer.from(socket.read()).toString("latin1"));
  }
}

for (const kind of ["later", "at-once"]) {
  downloads(`1,000 that no client reads change nothing for others: ${kind}`, async () => {
    const alone = new Scene();
    await alone.open();
    const expected = await alone.work();
    const scene = new Scene();
    await scene.open();
    const request = `GET /${kind} HTTP/1.1\r\nHost: a\r\n\r\n`;
    const unread = Array.from({ length: DOWNLOADS }, () => scene.connect(request, KERNEL_BYTES));
    const sockets = await Promise.all(unread);
    await scene.runner.settle();
    const { engine } = scene;
    assert.is(engine.get(Control.SuppliedCount), DOWNLOADS);
    assert.ok(scene.pump.stats().fileBuffers.used > 0);
    const held = engine.get(Control.ReplyPoolUsed);
    assert.equal(await scene.work(), expected);
    assert.is(engine.get(Control.ReplyPoolUsed), held, "each response and message has left");
    assert.ok(scene.pump.stats().fileBuffers.used <= PIECE_BYTES, "pieces have a bound");
    assert.is(engine.get(Control.SuppliedCount), DOWNLOADS);
    assert.is(engine.get(Control.MessagesRefused), 0);
    assert.is(engine.get(Control.Evicted), 0);
    assert.ok(sockets.every(({ gone }) => gone === ""));
    scene.pump.endAll();
    await scene.runner.settle();
    assert.is(scene.pump.stats().fileBuffers.used, 0);
  });
}

downloads.run();
