// Memory that the host keeps for a connection, beside the engine's: bodies of responses, bytes that found no buffer. It
// is released as soon as it is unused.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Runner } from "../../host/testing/run";
import type { Link } from "../../worker/net/transport";
import { VirtualClock } from "../../worker/net/memory";
import type { Peer } from "../../worker/socket/peer";
import { Pump } from "../../worker/pump/pump";
import { octets } from "../lib/drive";
import { testEngine } from "../lib/wasm";

const keep = suite("keep");

const LARGE = "x".repeat(100000);

/** A server, and one connection of it. */
class Scene implements Link {
  readonly remoteAddress = "192.0.2.1";
  readonly clock = new VirtualClock();
  readonly runner = new Runner(this.clock);
  readonly pump: Pump;
  readonly peer: Peer;
  /** Writes do not come to an end until `deliver`. */
  isStalled = false;
  isWriting = false;
  isRead = true;
  isEnded = false;
  isClosed = false;

  constructor(params: Parameters<typeof testEngine>[0] = {}) {
    this.pump = new Pump({ engine: testEngine(params), clock: this.clock });
    this.pump.setHandler({ request: (_, res) => res.send(200, "text/plain", LARGE) });
    this.peer = this.pump.accept(this) as Peer;
  }

  write(): boolean {
    this.isWriting = this.isStalled;
    return !this.isStalled;
  }

  end(): void {
    this.isEnded = true;
  }

  pause(): void {
    this.isRead = false;
  }

  resume(): void {
    this.isRead = true;
  }

  reset(): void {
    this.isClosed = true;
  }

  destroy(): void {
    this.isClosed = true;
  }

  async send(text: string): Promise<void> {
    const bytes = octets(text);
    const { engine } = this.pump;
    for (let at = 0; at < bytes.length; at += engine.windowBytes) {
      const piece = bytes.subarray(at, at + engine.windowBytes);
      assert.ok(this.isRead, "it is not read");
      engine.u8.set(piece, engine.window);
      this.pump.read(this.peer, piece.length);
    }
    await this.runner.settle();
  }

  async deliver(): Promise<void> {
    while (this.isWriting) {
      this.isWriting = false;
      this.pump.written(this.peer);
      await this.runner.settle();
    }
  }

  get bodies(): number {
    return this.peer.bodies?.size ?? 0;
  }
}

keep("a large answer is kept until it is written", async () => {
  const scene = new Scene();
  scene.isStalled = true;
  await scene.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  assert.equal([scene.bodies, scene.pump.stats().bodyBytes], [1, LARGE.length]);
  await scene.deliver();
  assert.equal([scene.bodies, scene.pump.stats().bodyBytes], [0, 0]);
});

keep("the answer to HEAD keeps nothing, however many there are", async () => {
  const scene = new Scene();
  for (let i = 0; i < 20; i++) await scene.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(5));
  assert.is(scene.pump.stats().requests, 100);
  assert.equal([scene.bodies, scene.pump.stats().bodyBytes], [0, 0]);
});

keep(
  "a client that is refused while bytes of it wait for a buffer is read on, and its end is seen",
  async () => {
    const scene = new Scene({ ReceivePoolBytes: 16384, BodyBytes: 14000, BufferTimeout: 1000 });
    const { peer } = scene;
    await scene.send(
      `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 14000\r\n\r\n${"x".repeat(8000)}`,
    );
    assert.ok(peer.rest, "it holds half of the pool, and needs all of it");
    assert.not(scene.isRead);
    await scene.runner.advance(1000);
    assert.ok(scene.isEnded, "it has waited for itself long enough");
    assert.not(peer.rest);
    assert.ok(scene.isRead);
    scene.pump.peerEnded(peer);
    await scene.runner.settle();
    assert.ok(scene.isClosed);
    assert.equal(scene.pump.stats().closed, { NoBuffer: 1 });
  },
);

keep.run();
