// Memory that the worker keeps for a handler on the application's thread: it is bounded, and the connection with the
// most of it is ended.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { INBOX_WORDS } from "../../assembly/abi";
import { Runner } from "../../host/testing/run";
import type { Handler } from "../../host/handler";
import { MEMBERS, type Member } from "../../host/shared/members";
import {
  HANDLED_BYTES,
  HANDLED_WAITING,
  OP_BYTES,
  Op,
  TAKEN_BATCHES,
  TAKEN_WAITING,
  readBatch,
} from "../../host/shared/message/wire";
import type { Link } from "../../worker/net/transport";
import { VirtualClock } from "../../worker/net/memory";
import type { Peer } from "../../worker/socket/peer";
import type { WebSocketImpl } from "../../worker/socket/socket";
import { Remote } from "../../worker/place/remote";
import { Pump } from "../../worker/pump/pump";
import { octets } from "../lib/drive";
import { HANDSHAKE } from "../lib/handshake";
import { frame } from "../lib/frame";
import { testEngine } from "../lib/wasm";

const remote = suite("remote");

/** Returns a link whose writes never complete. */
function link(): Link {
  const silent = { end() {}, pause() {}, resume() {}, reset() {}, destroy() {} };
  return { remoteAddress: "192.0.2.1", write: () => false, ...silent };
}

/** A server whose handler is elsewhere, and whose clients do not read. */
class Scene {
  readonly clock = new VirtualClock();
  readonly runner = new Runner(this.clock);
  readonly pump: Pump;
  readonly remote: Remote;
  readonly words = new Int32Array(INBOX_WORDS);
  /** The handler that the pump calls. */
  readonly handler: Handler;
  /** Bytes that were reported to the application. */
  delivered = 0;
  /** Batches that were posted. */
  readonly batches: ArrayBuffer[] = [];
  /** The application takes what is posted at once. */
  takes = true;
  #requests = 0;

  /** @param members of the handler @param bytes that the application may lag */
  constructor(members: Member[] = [], bytes = 1048576) {
    const params = { ReplyPoolBytes: 65536, Backlog: 1048576, WebSockets: 64, Connections: 64 };
    this.pump = new Pump({ engine: testEngine(params), clock: this.clock });
    const limits = { requests: 100, bytes };
    const post = (batch: ArrayBuffer): void => {
      this.delivered += batch.byteLength;
      this.batches.push(batch);
      if (this.takes) Atomics.add(this.words, TAKEN_BATCHES, 1);
    };
    this.remote = new Remote(this.pump, limits, this.words, { post });
    const bits = ["request" as const, ...members].map((name) => 1 << MEMBERS.indexOf(name));
    const placement = this.remote.placement(bits.reduce((sum, bit) => sum | bit));
    this.handler = placement.handler;
    this.pump.place(placement);
  }

  #carryOut(op: Op, peer: Peer, first: number, second: number, tail: Uint8Array): void {
    const bytes = new Uint8Array(OP_BYTES + tail.length);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, first, true);
    view.setUint32(4, second, true);
    bytes.set(tail, OP_BYTES);
    this.remote.carryOut(op, peer.slot, peer.generation, bytes, 0, bytes.length);
  }

  /** A WebSocket whose writes never come to an end. */
  async webSocket(): Promise<Peer> {
    const peer = this.pump.accept(link()) as Peer;
    await this.read(peer, octets(HANDSHAKE));
    this.#carryOut(Op.Upgrade, peer, ++this.#requests, 0, new Uint8Array(0));
    await this.runner.settle();
    assert.ok(peer.ws, "it is open");
    return peer;
  }

  /** A client's bytes arrive, and no turn follows yet. */
  feed(peer: Peer, bytes: Uint8Array): void {
    this.pump.engine.u8.set(bytes, this.pump.engine.window);
    this.pump.read(peer, bytes.length);
  }

  async read(peer: Peer, bytes: Uint8Array): Promise<void> {
    this.feed(peer, bytes);
    await this.runner.settle();
  }

  /** The application has handled bytes of a client's events. */
  handle(peer: Peer, bytes: number): void {
    Atomics.add(this.words, HANDLED_BYTES, bytes);
    this.#carryOut(Op.Taken, peer, bytes, 0, new Uint8Array(0));
    this.pump.schedule();
  }

  send(peer: Peer, length: number): void {
    this.#carryOut(Op.Send, peer, 0, 0, new Uint8Array(length));
  }
}

remote("bounds kept bytes, and ends the connections with the most of them", async () => {
  const scene = new Scene();
  const modest = await scene.webSocket();
  const greedy: Peer[] = [];
  for (let i = 0; i < 12; i++) greedy.push(await scene.webSocket());
  // The pool is full, so the following bytes are kept.
  for (let i = 0; i < 20; i++) scene.send(greedy[0] as Peer, 4000);
  scene.send(modest, 100);
  for (let n = 0; n < 100; n++) for (const peer of greedy.slice(1)) scene.send(peer, 10000);
  await scene.runner.settle();
  const isOver = (peer: Peer): boolean => peer.dead || peer.closing;
  const over = greedy.filter(isOver).length;
  assert.ok(over >= 2 && over < 6, `${over} of ${greedy.length} ended`);
  assert.not(isOver(modest), "who has little is not to blame");
});

remote("connections that begin and end while the application lags leave nothing", async () => {
  const scene = new Scene(["disconnect", "message"], 65536);
  const peers: Peer[] = [];
  for (let i = 0; i < 6; i++) peers.push(await scene.webSocket());
  const message = frame(1, "x".repeat(3000));
  for (let i = 0; i < 20; i++)
    for (const peer of peers) if (peer.reading) await scene.read(peer, message);
  assert.ok(scene.delivered > 65536, "it lags");
  const { delivered } = scene;
  for (let i = 0; i < 1000; i++) scene.pump.accept(link())?.lost(undefined);
  await scene.runner.settle();
  assert.ok(scene.delivered - delivered < 1000, `${scene.delivered - delivered} bytes delivered`);
});

for (const kind of [9, 10] as const) {
  const name = kind === 9 ? "pings" : "pongs";
  remote(
    `${name} that the application has not come to are bounded: it is read no more`,
    async () => {
      const scene = new Scene(["ping", "pong"]);
      const [peer, other] = [await scene.webSocket(), await scene.webSocket()];
      const frames = Buffer.concat(Array.from({ length: 100 }, () => frame(kind, "x".repeat(30))));
      let reads = 0;
      for (; peer.reading && reads < 10000; reads++) await scene.read(peer, frames);
      assert.ok(
        !peer.reading && scene.delivered <= 1048576,
        `${reads} reads, ${scene.delivered} bytes delivered`,
      );
      assert.ok(other.reading, "others are");
      scene.handle(peer, scene.delivered);
      await scene.runner.settle();
      assert.ok(peer.reading, "it goes on when they have been handled");
      // Each has its share.
      const many = [peer, other];
      for (let i = 0; i < 10; i++) many.push(await scene.webSocket());
      const before = scene.delivered;
      for (let i = 0; i < 200; i++)
        for (const one of many) if (one.reading) await scene.read(one, frames);
      assert.ok(many.every((one) => !one.reading));
      assert.ok(
        scene.delivered - before < 12 * 32768,
        `${scene.delivered - before} bytes delivered`,
      );
    },
  );
}

/** Returns the number of events in a batch. */
function eventsIn(batch: ArrayBuffer): number {
  let events = 0;
  readBatch(batch, () => events++);
  return events;
}

remote("at most 256 events or 64 KiB are under way, and the rest follows in order", async () => {
  // A client's messages are fewer than may be with the application before it is held.
  for (const [size, run, rounds, most] of [
    [10, 20, 10, 256],
    [3000, 1, 5, 21],
  ] as const) {
    const scene = new Scene(["message"]);
    const peers: Peer[] = [];
    for (let i = 0; i < 10; i++) peers.push(await scene.webSocket());
    scene.takes = false;
    scene.batches.length = 0;
    const frames = Buffer.concat(Array.from({ length: run }, () => frame(2, Buffer.alloc(size))));
    for (let round = 0; round < rounds; round++)
      for (const peer of peers) await scene.read(peer, frames);
    const sent = run * rounds * peers.length;
    let events = 0;
    for (;;) {
      const batches = scene.batches.splice(0);
      const counts = batches.map(eventsIn);
      const underway = counts.reduce((sum, count) => sum + count, 0);
      assert.ok(underway <= most, `${underway} events are under way`);
      assert.ok(batches.reduce((sum, batch) => sum + batch.byteLength, 0) <= 65536);
      events += underway;
      if (events === sent) break;
      assert.ok(underway > 0, `nothing follows ${events} of ${sent}`);
      assert.is(Atomics.load(scene.words, TAKEN_WAITING), 1, "the worker waits for the next turn");
      Atomics.store(scene.words, TAKEN_WAITING, 0);
      Atomics.add(scene.words, TAKEN_BATCHES, batches.length);
      scene.pump.schedule();
      await scene.runner.settle();
    }
    assert.ok(sent > 2 * most, `${sent} were sent`);
  }
});

remote("events beyond the limit in flight follow when the application takes batches", async () => {
  const scene = new Scene(["message"]);
  const peers = [await scene.webSocket(), await scene.webSocket(), await scene.webSocket()];
  scene.batches.length = 0;
  const run = Buffer.concat(Array.from({ length: 200 }, () => frame(2, Buffer.alloc(10))));
  // The application takes each batch at once, so it does not know that the worker has more.
  for (const peer of peers) scene.feed(peer, run);
  await scene.runner.settle();
  assert.is(
    scene.batches.reduce((sum, batch) => sum + eventsIn(batch), 0),
    600,
  );
  assert.ok(scene.batches.length > 1);
});

remote("an event that begins between turns is posted, though nothing else happens", async () => {
  const scene = new Scene(["shutdown"]);
  const peer = await scene.webSocket();
  scene.batches.length = 0;
  scene.remote.isDraining = true;
  void scene.handler.shutdown?.(peer.ws as WebSocketImpl);
  await scene.runner.settle();
  assert.equal(scene.batches.map(eventsIn), [1]);
});

remote("asks for word of room again when requests that waited fill it at once", async () => {
  const scene = new Scene([], 4096);
  const peers = Array.from({ length: 3 }, () => scene.pump.accept(link()) as Peer);
  const request = octets(
    `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n${"x".repeat(5000)}`,
  );
  for (const peer of peers) await scene.read(peer, request);
  assert.ok(scene.delivered < 10_000, "the first one alone was posted");
  for (const posted of [10_000, 15_000]) {
    assert.is(Atomics.exchange(scene.words, HANDLED_WAITING, 0), 1);
    Atomics.store(scene.words, HANDLED_BYTES, scene.delivered);
    scene.pump.schedule();
    await scene.runner.settle();
    assert.ok(scene.delivered > posted);
  }
});

remote("posts the rest at the end, whatever is in flight", async () => {
  const scene = new Scene(["message"]);
  const peer = await scene.webSocket();
  scene.takes = false;
  scene.batches.length = 0;
  const run = Buffer.concat(Array.from({ length: 100 }, () => frame(2, Buffer.alloc(10))));
  for (let i = 0; i < 6; i++) await scene.read(peer, run);
  const events = (): number => scene.batches.reduce((sum, batch) => sum + eventsIn(batch), 0);
  assert.is(events(), 256);
  scene.remote.finish();
  assert.ok(events() > 256, `${events()} events`);
});

remote.run();
