// Static bodies live as long as the object that `server.body()` gave, and as long as an answer sends them.

import v8 from "node:v8";
import vm from "node:vm";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Application } from "../../host/local/application";
import { InboxWriter, inboxMemory } from "../../host/send/inbox-writer";
import { Runner } from "../../host/testing/run";
import type { Link } from "../../worker/net/transport";
import { SharedInbox } from "../../worker/inbox/inbox-reader";
import { VirtualClock } from "../../worker/net/memory";
import type { Peer } from "../../worker/socket/peer";
import { Remote } from "../../worker/place/remote";
import type { StaticBodyImpl } from "../../worker/request/response";
import { Pump } from "../../worker/pump/pump";
import { octets } from "../lib/drive";
import { testEngine } from "../lib/wasm";

const bodies = suite("bodies");

v8.setFlagsFromString("--expose-gc");
const collectGarbage = vm.runInNewContext("gc") as () => void;

const ROUNDS = 30;

/** Waits until nothing of a list is left. @returns how many are when that does not come about */
async function left(refs: readonly WeakRef<object>[]): Promise<number> {
  let count = refs.length;
  for (let i = 0; i < ROUNDS && count > 0; i++) {
    collectGarbage();
    // Collected objects are reported in tasks of their own.
    await new Promise((resolve) => setImmediate(resolve));
    count = refs.filter((ref) => ref.deref()).length;
  }
  return count;
}

const REQUEST = octets("GET / HTTP/1.1\r\nHost: a\r\n\r\n");

/** A server, and a connection whose writes end on request. */
class Scene implements Link {
  readonly remoteAddress = "192.0.2.1";
  readonly clock = new VirtualClock();
  readonly runner = new Runner(this.clock);
  readonly pump = new Pump({ engine: testEngine({ RunBytes: 65536 }), clock: this.clock });
  readonly peer = this.pump.accept(this) as Peer;
  /** Bytes of all writes, and their number. */
  written = 0;
  writes = 0;
  isStalled = false;
  readonly end = (): void => undefined;
  readonly pause = this.end;
  readonly resume = this.end;
  readonly reset = this.end;
  readonly destroy = this.end;

  write(bytes: Uint8Array): boolean {
    this.written += bytes.length;
    this.writes++;
    return !this.isStalled;
  }

  async ask(): Promise<void> {
    this.pump.engine.u8.set(REQUEST, this.pump.engine.window);
    this.pump.read(this.peer, REQUEST.length);
    await this.runner.settle();
  }
}

const BYTES = 100000;

bodies("a server holds no body that its handler has released", async () => {
  const scene = new Scene();
  const refs: WeakRef<object>[] = [];
  scene.pump.setHandler({
    request(_, res) {
      const body = scene.pump.body("x".repeat(BYTES), "text/plain");
      refs.push(new WeakRef(body), new WeakRef(body.bytes));
      return res.static(body);
    },
  });
  for (let i = 0; i < 20; i++) await scene.ask();
  assert.ok(scene.written > 20 * BYTES);
  assert.is(scene.peer.bodies?.size, 0);
  assert.is(await left(refs), 0);
});

bodies("a pending answer holds its body until it is sent", async () => {
  const scene = new Scene();
  const refs: WeakRef<Uint8Array>[] = [];
  scene.isStalled = true;
  scene.pump.setHandler({
    request(_, res) {
      const body = scene.pump.body("x".repeat(BYTES), "text/plain");
      refs.push(new WeakRef(body.bytes));
      return res.static(body);
    },
  });
  await scene.ask();
  assert.is(await left(refs), 1);
  scene.isStalled = false;
  scene.pump.written(scene.peer);
  await scene.runner.settle();
  assert.ok(scene.written > BYTES);
  assert.is(await left(refs), 0);
});

bodies(
  "the worker holds no body that a handler on the application's thread has released",
  async () => {
    const scene = new Scene();
    const { pump } = scene;
    const refs: WeakRef<StaticBodyImpl>[] = [];
    const make = pump.body.bind(pump);
    pump.body = (data, type) => {
      const body = make(data, type);
      refs.push(new WeakRef(body));
      return body;
    };
    const memory = inboxMemory(4194304);
    const writer = new InboxWriter(memory, {
      ring: () => pump.schedule(),
      transfer: () => assert.unreachable(),
    });
    const inbox = new SharedInbox(memory, {
      room: () => writer.notify(),
      credit: () => undefined,
      retry: () => undefined,
    });
    const limits = { requests: 100, bytes: 1048576 };
    let application: Application;
    const remote = new Remote(pump, limits, inbox.words, {
      post: (batch) => scene.clock.defer(() => application.hear(batch)),
    });
    inbox.host = remote;
    application = new Application({
      inbox: writer,
      ...{ ordered: true, backlog: 1048576, pendingBytes: 1048576, closeTimeout: 2000 },
      publish: () => false,
      failed: (error) => assert.unreachable(error.message),
    });
    const members = application.setHandler({
      request: (_, res) => res.static(application.body("x".repeat(BYTES), "text/plain")),
    });
    pump.place(remote.placement(members));
    pump.addInbox(inbox);
    for (let i = 0; i < 20; i++) await scene.ask();
    assert.is(refs.length, 20);
    for (let i = 0; i < ROUNDS && refs.some((ref) => ref.deref()); i++) {
      collectGarbage();
      await new Promise((resolve) => setImmediate(resolve));
      // The worker is notified through the inbox.
      pump.schedule();
      await scene.runner.settle();
    }
    assert.is(await left(refs), 0);
  },
);

bodies("answers and static bodies of up to 4 KiB are one write with their head", async () => {
  for (const [size, writes] of [
    [0, 1],
    [1, 1],
    [4096, 1],
    [4097, 2],
  ] as const) {
    const scene = new Scene();
    const body = scene.pump.body("x".repeat(size), "text/plain");
    scene.pump.setHandler({ request: (_, res) => res.static(body) });
    await scene.ask();
    assert.is(scene.writes, writes, `${size} bytes, static`);
    assert.ok(scene.written > size);
    scene.pump.setHandler({ request: (_, res) => res.send(200, "text/plain", "x".repeat(size)) });
    await scene.ask();
    assert.is(scene.writes, writes + 1, `${size} bytes, sent`);
  }
});

bodies.run();
