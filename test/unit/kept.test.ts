// Memory that the application's thread keeps for clients of its handler: none once they have left, in whatever way.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Application } from "../../host/local/application";
import type { Handler } from "../../host/handler";
import { InboxWriter, inboxMemory } from "../../host/send/inbox-writer";
import { Runner } from "../../host/testing/run";
import { SharedInbox } from "../../worker/inbox/inbox-reader";
import type { Link } from "../../worker/net/transport";
import { VirtualClock } from "../../worker/net/memory";
import type { Peer } from "../../worker/socket/peer";
import { Remote } from "../../worker/place/remote";
import { Pump } from "../../worker/pump/pump";
import { octets } from "../lib/drive";
import { HANDSHAKE } from "../lib/handshake";
import { testEngine } from "../lib/wasm";

const kept = suite("kept");

const NOTHING = { requests: 0, upgrades: 0, sockets: 0, connections: 0 };

/** A worker's side and an application's, in one thread. */
class Scene {
  readonly clock = new VirtualClock();
  readonly runner = new Runner(this.clock);
  readonly pump = new Pump({
    engine: testEngine({ Connections: 64, WebSockets: 64 }),
    clock: this.clock,
  });
  readonly application: Application;
  readonly #remote: Remote;

  constructor(handler: Handler) {
    const { pump, clock } = this;
    const memory = inboxMemory(1048576);
    const ring = (): void => pump.schedule();
    const writer = new InboxWriter(memory, { ring, transfer: () => assert.unreachable() });
    const inbox = new SharedInbox(memory, {
      room: () => writer.notify(),
      credit: () => undefined,
      retry: () => undefined,
    });
    const post = (batch: ArrayBuffer): void => clock.defer(() => this.application.hear(batch));
    const limits = { requests: 100, bytes: 1048576 };
    this.#remote = new Remote(pump, limits, inbox.words, { post });
    inbox.host = this.#remote;
    this.application = new Application({
      inbox: writer,
      ...{ ordered: true, backlog: 1048576, pendingBytes: 1048576, closeTimeout: 2000 },
      publish: () => false,
      failed: () => undefined,
    });
    this.use(handler);
    pump.addInbox(inbox);
  }

  use(handler: Handler): void {
    const members = this.application.setHandler(handler);
    this.pump.place(this.#remote.placement(members));
  }

  /** A client that sends something. */
  async send(text: string): Promise<Peer> {
    const none = (): void => undefined;
    const silent = { end: none, pause: none, resume: none, reset: none, destroy: none };
    const link: Link = { remoteAddress: "192.0.2.1", write: () => true, ...silent };
    const peer = this.pump.accept(link) as Peer;
    const bytes = octets(text);
    this.pump.engine.u8.set(bytes, this.pump.engine.window);
    peer.read(bytes.length);
    await this.runner.settle();
    return peer;
  }

  async leave(peer: Peer): Promise<void> {
    peer.lost(undefined);
    await this.runner.settle();
  }
}

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const answer: Handler["request"] = (_, res) => res.send(200);

kept("keeps nothing of connections when the handler has `connect` alone", async () => {
  let connects = 0;
  const scene = new Scene({ request: answer, connect: () => void connects++ });
  for (let i = 0; i < 50; i++) await scene.leave(await scene.send(GET));
  assert.is(connects, 50);
  assert.equal(scene.application.kept, NOTHING);
});

kept("keeps a connection until `disconnect` has been called with the same object", async () => {
  const open = new Set<unknown>();
  const handler: Handler = {
    request: answer,
    connect: (connection) => void open.add(connection),
    disconnect: (connection) => void open.delete(connection),
  };
  const scene = new Scene(handler);
  const peers: Peer[] = [];
  for (let i = 0; i < 10; i++) peers.push(await scene.send(GET));
  assert.equal([scene.application.kept.connections, open.size], [10, 10]);
  for (const peer of peers) await scene.leave(peer);
  assert.equal([scene.application.kept, open.size], [NOTHING, 0]);
  // A handler without `disconnect` takes over while connections are open.
  const late = await scene.send(GET);
  assert.is(scene.application.kept.connections, 1);
  scene.use({ request: answer });
  await scene.leave(late);
  assert.equal(scene.application.kept, NOTHING);
});

kept("keeps nothing of an upgrade that fails, and calls `close` for each", async () => {
  let closed = 0;
  const scene = new Scene({
    request: (_, res) => res.upgrade({ data: {}, maxPayloadLength: 2 ** 30 }),
    close: () => void closed++,
  });
  for (let i = 0; i < 20; i++) await scene.leave(await scene.send(HANDSHAKE));
  assert.equal([scene.application.kept, closed], [NOTHING, 20]);
});

kept("keeps nothing of a WebSocket or a request whose client has gone", async () => {
  const scene = new Scene({
    request: (req, res) => (req.upgrade ? res.upgrade() : new Promise(() => undefined)),
  });
  for (let i = 0; i < 20; i++) {
    const pair = [await scene.send(HANDSHAKE), await scene.send(GET)];
    assert.equal([scene.application.kept.sockets, scene.application.kept.requests], [1, 1]);
    for (const peer of pair) await scene.leave(peer);
  }
  assert.equal(scene.application.kept, NOTHING);
});

kept.run();
