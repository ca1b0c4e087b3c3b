// Messages in flight by `send(id)`: how much is accepted, when it is freed, and that nothing is kept at the end.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type CreditLimits, Credits } from "../../host/send/credits";
import { InboxWriter, inboxMemory } from "../../host/send/inbox-writer";
import { MessageWriter } from "../../host/send/messages";
import { Runner } from "../../host/testing/run";
import { SharedInbox } from "../../worker/inbox/inbox-reader";
import { VirtualClock } from "../../worker/net/memory";
import type { Link } from "../../worker/net/transport";
import type { Peer } from "../../worker/socket/peer";
import { Pump } from "../../worker/pump/pump";
import { octets } from "../lib/drive";
import { HANDSHAKE } from "../lib/handshake";
import { testEngine } from "../lib/wasm";

const credit = suite("credit");

const LIMITS: CreditLimits = { backlog: 4096, clients: 8 };

/** A handler in the worker, an application in the same thread, and one client, whose reading is up to the test. */
class Scene {
  readonly clock = new VirtualClock();
  readonly runner = new Runner(this.clock);
  readonly pump = new Pump({
    engine: testEngine({ Backlog: LIMITS.backlog, RunBytes: 512 }),
    clock: this.clock,
  });
  readonly messages: MessageWriter;
  readonly writer: InboxWriter;
  reports = 0;
  bytes = 0;
  isReading = true;

  constructor() {
    const { pump, clock } = this;
    const memory = inboxMemory(65536);
    const ring = (): void => pump.schedule();
    this.writer = new InboxWriter(memory, {
      ring,
      transfer: (number, bytes) => inbox.give(number, bytes),
    });
    this.messages = new MessageWriter(this.writer, 65536, LIMITS, () => true);
    const inbox = new SharedInbox(memory, {
      room: () => this.writer.notify(),
      credit: (report) => {
        this.reports++;
        clock.defer(() => this.messages.credited(report));
      },
      retry: (ms) => void clock.after(ms, ring),
    });
    pump.addInbox(inbox);
    pump.setHandler({ request: (_, res) => res.upgrade() });
  }

  async open(): Promise<Peer> {
    const none = (): void => undefined;
    const silent = { end: none, pause: none, resume: none, reset: none, destroy: none };
    const write = (bytes: Uint8Array): boolean => {
      this.bytes += bytes.length;
      return this.isReading;
    };
    const link: Link = { remoteAddress: "192.0.2.1", write, ...silent };
    const peer = this.pump.accept(link) as Peer;
    const bytes = octets(HANDSHAKE);
    this.pump.engine.u8.set(bytes, this.pump.engine.window);
    peer.read(bytes.length);
    await this.runner.settle();
    this.isReading = false;
    this.bytes = 0;
    return peer;
  }

  /** The client reads all that waits for it. */
  async read(peer: Peer): Promise<void> {
    this.isReading = true;
    peer.written();
    await this.runner.settle();
  }
}

for (const size of [100, 5000, 20000]) {
  credit(
    `messages of ${size} bytes: a limit's worth and one are accepted, all arrive`,
    async () => {
      const scene = new Scene();
      const { messages } = scene;
      const peer = await scene.open();
      const message = "x".repeat(size);
      let accepted = 0;
      while (messages.send(peer.id, message)) accepted++;
      assert.is(accepted, Math.floor(LIMITS.backlog / (size + 16)) + 1);
      await scene.runner.settle();
      assert.not(messages.send(peer.id, message), "it is carried out, and not read");
      let isReady = false;
      messages.send(peer.id, message);
      const ready = scene.writer.ready().then(() => {
        isReady = true;
      });
      await scene.runner.settle();
      assert.not(isReady);
      await scene.read(peer);
      await ready;
      const head = size < 126 ? 2 : 4;
      assert.is(scene.bytes, accepted * (size + head));
      assert.ok(messages.send(peer.id, message));
      assert.is(scene.pump.stats().messagesRefused, 0);
    },
  );
}

credit(
  "a client that reads is reported at each quarter of the limit, not at each message",
  async () => {
    const scene = new Scene();
    const peer = await scene.open();
    await scene.read(peer);
    for (let i = 0; i < 100; i++) {
      assert.ok(scene.messages.send(peer.id, "x".repeat(84)));
      await scene.runner.settle();
    }
    assert.is(scene.reports, Math.floor(10000 / 1100));
  },
);

credit(
  "`ready` after a message that was accepted, or a broadcast, does not wait for a client",
  async () => {
    const scene = new Scene();
    const peer = await scene.open();
    while (scene.messages.send(peer.id, "x".repeat(500)));
    await scene.runner.settle();
    assert.not(scene.messages.send(peer.id, "x"));
    assert.ok(scene.messages.broadcast("x"));
    await scene.writer.ready();
    assert.not(scene.messages.send(peer.id, "x"));
    const waits = scene.writer.ready();
    // The server has ended.
    scene.writer.notify(true);
    await waits;
  },
);

credit("nothing is kept of a client that has ended, nor of an id that is stale", async () => {
  const scene = new Scene();
  const { messages } = scene;
  const peer = await scene.open();
  const { id } = peer;
  assert.ok(messages.send(id, "x"));
  await scene.runner.settle();
  assert.is(messages.underWay, 1);
  while (messages.send(id, "x".repeat(100)));
  const ready = scene.writer.ready();
  peer.lost(undefined);
  await scene.runner.settle();
  await ready;
  assert.is(messages.underWay, 0);
  for (let i = 0; i < 100; i++) assert.ok(messages.send(id + i * 2 ** 20, "stale"));
  assert.is(messages.underWay, 100);
  await scene.runner.settle();
  assert.is(messages.underWay, 0);
});

credit("ids are bounded: a full table refuses new ones until the worker has reported", () => {
  const credits = new Credits(LIMITS);
  let id = 1;
  while (!credits.refusalOf(id)) credits.take(id++, 1);
  assert.is(credits.size, 2 * LIMITS.clients + 1024 + 1);
  assert.is(credits.refusalOf(1), undefined, "an id that has an entry");
  let isFree = false;
  void credits
    .refusalOf(id)
    ?.freed()
    .then(() => {
      isFree = true;
    });
  credits.settle(Float64Array.of(1, 0));
  assert.not(isFree);
  assert.is(credits.refusalOf(id), undefined);
  for (let stale = 2; stale < id; stale++) credits.settle(Float64Array.of(stale, 0));
  assert.is(credits.size, 0);
  // A report of an id that is gone already.
  credits.settle(Float64Array.of(5, 0));
  assert.is(credits.size, 0);
});

credit("two producers that overrun a queue end the client, for each size of message", async () => {
  for (const size of [100, 5000, 20000]) {
    const scene = new Scene();
    const peer = await scene.open();
    const other = new MessageWriter(scene.writer, 65536, LIMITS, () => true);
    const message = "x".repeat(size);
    while (scene.messages.send(peer.id, message));
    while (other.send(peer.id, message));
    await scene.runner.settle();
    await scene.read(peer);
    peer.ended();
    await scene.runner.settle();
    assert.equal({ ...scene.pump.stats().closed }, { SendOverrun: 1 }, String(size));
  }
});

credit.run();
