// Subprotocols with modules: the choice of module and subprotocol, and what an upgrade that the application's thread
// gives to a module leaves there.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { CloseInfo, Handler, WebSocket } from "../../host/handler";
import { Runner } from "../../host/testing/run";
import { createTestServer } from "../../host/testing";
import { MemoryNet, VirtualClock } from "../../worker/net/memory";
import { Pump } from "../../worker/pump/pump";
import { Protocols } from "../../worker/request/protocols";
import { handshake } from "../lib/handshake";
import { testEngine } from "../lib/wasm";
import { MODULE } from "../simulator/content";
import { ApplicationPlace, Traffic } from "../simulator/places";
import { Post } from "../simulator/post";
import type { Settings } from "../simulator/steps";

const protocols = suite("protocols");

const MODULES = [
  { name: "a", module: 1, isDefault: false },
  { name: "b", module: 2, isDefault: true },
  { name: "c", module: 1, isDefault: false },
];

protocols("the first offer that has a module decides; without an offer the default one", () => {
  const all = new Protocols(["listed"], MODULES);
  const find = (...offered: string[]): number => all.find({ protocols: offered });
  assert.equal([find(), find("x"), find("listed")], [2, 0, 0]);
  assert.equal([find("a"), find("x", "c", "b"), find("b", "a")], [1, 1, 2]);
  const none = new Protocols(["listed"], []);
  assert.equal([none.find({ protocols: [] }), none.find({ protocols: ["a"] })], [0, 0]);
  const plain = new Protocols([], MODULES.slice(0, 1));
  assert.is(plain.find({ protocols: [] }), 0);
});

protocols(
  "the subprotocol is an offered one: the wanted name, one of the module, one of the list",
  () => {
    const all = new Protocols(["listed", "a"], MODULES);
    const choose = (offered: string[], module: number, wanted = ""): string =>
      all.choose({ protocols: offered }, module, wanted);
    assert.is(choose([], 1, "a"), "");
    assert.is(choose(["c", "a"], 1, "a"), "a");
    assert.is(choose(["x", "c", "a"], 1), "c");
    assert.is(choose(["x", "listed"], 1, "a"), "listed");
    assert.is(choose(["x", "listed", "b"], 2), "b");
    assert.is(choose(["b", "a"], 0), "a");
    assert.is(choose(["x"], 0), "");
  },
);

protocols("a module's own choice counts, and a wrong one fails its upgrade", async () => {
  const errors: string[] = [];
  const t = createTestServer({
    onError: ({ message }) => void errors.push(message),
    protocolHandlers: {
      a: { protocol: (req) => req.protocols.at(-1), open: (ws) => void ws.send(ws.protocol) },
      b: { protocol: () => "none" },
    },
  });
  const chosen = t.connect("/", { protocols: ["a", "x"] });
  const wrong = t.connect("/", { protocols: ["b"] });
  const other = t.connect("/", { protocols: ["x"] });
  await t.settle();
  assert.equal([chosen.state, chosen.messages], ["open", ["x"]]);
  assert.equal([wrong.state, other.state], ["closed", "closed"]);
  assert.equal(errors, ['protocol: the client did not offer "none"']);
  await t.close();
});

protocols("a mount's handler comes before a subprotocol's, that of a host after it", async () => {
  const named = (name: string): Handler => ({
    request: (req, res) => (req.upgrade ? res.upgrade() : res.send(200, "", name)),
    open: (ws) => void ws.send(`${name} ${ws.protocol}`),
  });
  const { request: _, ...accepting } = named("module");
  const t = createTestServer({
    handler: named("main"),
    protocolHandlers: { a: accepting },
    mounts: [{ path: "/m", handler: named("mount") }],
    virtualHosts: { "b.example": { handler: named("host") } },
  });
  const opens = async (target: string, offered: string[], host = "x"): Promise<string> => {
    const fields = { host, origin: `http://${host}` };
    const client = t.connect(target, { protocols: offered, headers: fields });
    await t.settle();
    return String(client.messages[0]);
  };
  assert.is(await opens("/", ["a"]), "module a");
  assert.is(await opens("/m", ["a"]), "mount ");
  assert.is(await opens("/mm", ["x", "a"]), "module a");
  assert.is(await opens("/", ["a"], "b.example"), "module a");
  assert.is(await opens("/", ["x"], "b.example"), "host ");
  assert.is(await opens("/", ["x"]), "main ");
  // Requests are never a subprotocol's, on no connection.
  const socket = t.socket();
  for (const host of ["x", "b.example"])
    socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\nSec-WebSocket-Protocol: a\r\n\r\n`);
  await t.settle();
  assert.equal(
    socket.answers().map(({ body }) => Buffer.from(body).toString()),
    ["main", "host"],
  );
  await t.close();
});

/** A handler on another thread that gives each WebSocket to the module. */
class Scene {
  readonly clock = new VirtualClock();
  readonly runner = new Runner(this.clock);
  readonly net = new MemoryNet(this.clock);
  readonly pump: Pump;
  readonly place: ApplicationPlace;
  readonly calls: string[] = [];

  constructor(webSockets: number) {
    this.pump = new Pump({
      engine: testEngine({ WebSockets: webSockets }),
      clock: this.clock,
      protocolHandlers: [{ name: MODULE, module: 1, isDefault: false }],
      failed: (error) => void this.calls.push(error.message),
    });
    const settings: Settings = {
      ...{ mode: "stress", isFair: false, place: "application", params: {}, delay: 1 },
      ...{ copied: false, isTimed: false, inboxBytes: 65536, flushInterval: 0, ordered: true },
      ...{ isPaged: false, isRaw: false, tells: false },
      pool: { threads: 1, backlog: 1, handlerTimeout: 0 },
      pending: { requests: 10, bytes: 65536 },
    };
    const { line } = new Traffic(this.clock, 1);
    const { inbox, writer } = new Post(this.pump, this.clock, settings, line);
    this.place = new ApplicationPlace({
      ...{ settings, clock: this.clock, line, pump: this.pump, inbox, writer },
      ...{ backlog: 65536, failed: (error: Error) => void this.calls.push(error.message) },
    });
  }

  async start(): Promise<void> {
    const noted = (name: string): Handler => ({
      open: (ws: WebSocket) => void this.calls.push(`${name} open ${JSON.stringify(ws.data)}`),
      close: (ws: WebSocket, { cause }: CloseInfo) =>
        void this.calls.push(`${name} close ${JSON.stringify(ws.data)} ${cause}`),
    });
    await this.place.use({
      ...noted("main"),
      request: (req, res) => res.upgrade({ handler: MODULE, data: { path: req.path } }),
    });
    this.pump.setModules([noted("module")]);
    this.net.open(this.pump.engine.windowView(), this.pump.accept);
  }
}

protocols("the application's thread keeps nothing of an upgrade that a module gets", async () => {
  const scene = new Scene(1);
  await scene.start();
  const { net, runner, calls, place } = scene;
  const nothing = { requests: 0, upgrades: 0, sockets: 0, connections: 0 };
  const first = net.connect();
  first?.send(Buffer.from(handshake("/first")));
  await runner.advance(20);
  assert.equal(calls, ['module open {"path":"/first"}']);
  assert.equal(place.application.kept, nothing);
  // There is no room for a second one.
  net.connect()?.send(Buffer.from(handshake("/second")));
  await runner.advance(20);
  // A client that leaves before the worker has carried the upgrade out.
  const third = net.connect();
  third?.send(Buffer.from(handshake("/third")));
  await runner.settle();
  third?.reset();
  await runner.advance(20);
  first?.reset();
  await runner.advance(20);
  assert.equal(calls.slice(1), [
    'module close {"path":"/second"} NoRoom',
    'module close {"path":"/first"} PeerReset',
  ]);
  assert.equal(place.application.kept, nothing);
  place.end();
  scene.pump.stop();
});

protocols.run();
