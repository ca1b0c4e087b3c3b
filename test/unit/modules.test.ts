// Modules of handlers beside the main one: their numbers, how they are loaded, and which events they get.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Handler, WebSocket } from "../../host/handler";
import { type ModuleSettings, Modules } from "../../host/options/site/modules";
import { loadModules } from "../../worker/control/load";
import { MemoryNet, VirtualClock } from "../../worker/net/memory";
import { Pump } from "../../worker/pump/pump";
import type { Peer } from "../../worker/socket/peer";
import { frame } from "../lib/frame";
import { HANDSHAKE } from "../lib/handshake";
import { testEngine } from "../lib/wasm";

const modules = suite("modules");

modules("have one number each, however many options name them", () => {
  const all = new Modules();
  assert.is(all.add("file:///a.js", "first"), 1);
  assert.is(all.add(new URL("file:///b.js"), "second"), 2);
  assert.is(all.add(new URL("file:///a.js"), "third"), 1);
  assert.equal(all.all, [
    { kind: "handler", option: "first", url: "file:///a.js" },
    { kind: "handler", option: "second", url: "file:///b.js" },
  ]);
});

modules("must be named by a URL, and are at most 1,000", () => {
  const all = new Modules();
  for (const [value, shown] of [
    ["./a.js", '"./a.js"'],
    [{}, "an object"],
    [undefined, "undefined"],
    [() => ({}), "a function"],
  ] as const) {
    const wrong = new RegExp(`^a\\.handler: ${shown} is not the URL of a module; use new URL`);
    assert.throws(
      () => all.add(value, "a.handler"),
      (error: Error) => error instanceof TypeError && wrong.test(error.message),
    );
  }
  for (let i = 0; i < 1000; i++) all.add(`file:///${i}.js`, "many");
  assert.is(all.add("file:///999.js", "again"), 1000);
  assert.throws(
    () => all.add("file:///1000.js", "b.handler"),
    (error: Error) =>
      error instanceof RangeError &&
      error.message === "b.handler: the server has more than 1000 modules",
  );
});

const source = (code: string): string => `data:text/javascript,${encodeURIComponent(code)}`;

const handlerAt = (option: string, url: string): ModuleSettings => {
  return { kind: "handler", option, url };
};

modules("of file systems are loaded, and a fault names the option and the module", async () => {
  const { pump } = scene();
  const filesAt = (code: string): ModuleSettings => {
    return { kind: "files", option: "mounts[0].source", url: source(code) };
  };
  for (const code of [
    "export default { open() {} }",
    "export default async () => ({ open() {} })",
  ]) {
    const { files, handlers } = await loadModules([filesAt(code)], pump);
    assert.type(files[0]?.open, "function");
    assert.equal(handlers, [{}]);
  }
  for (const [code, fault] of [
    ["export const x = 1", / has no default export with a function open\(path\)$/],
    ["export default { open: 1 }", / has no default export with a function open\(path\)$/],
    ["throw new RangeError('no')", /: RangeError: no$/],
  ] as const) {
    const error = await loadModules([filesAt(code)], pump).catch((thrown: unknown) => thrown);
    assert.match((error as Error).message, fault);
    assert.ok((error as Error).message.startsWith("mounts[0].source: data:"));
  }
});

modules("are loaded in order, and a fault names the option and the module", async () => {
  const pump = scene().pump;
  const good = source("export default (server) => ({ request: () => server.count() })");
  const { handlers } = await loadModules([handlerAt("a.handler", good)], pump);
  assert.is(handlers[0]?.request?.(undefined as never, undefined as never), 0);
  for (const [code, fault] of [
    ["export const x = 1", / has no default export that is a handler$/],
    ["throw new RangeError('no')", /: RangeError: no$/],
    ["export default { mesage() {} }", /\.mesage: .*did you mean message\?$/],
    ["export default { connect() {} }", /\.connect: is called on the main handler alone/],
    ["export default { disconnect() {} }", /\.disconnect: is called on the main handler alone/],
  ] as const) {
    const url = source(code);
    const list = [handlerAt("a.handler", good), handlerAt("b.handler", url)];
    const error = await loadModules(list, pump).catch((thrown: unknown) => thrown as Error);
    assert.instance(error, Error);
    assert.ok((error as Error).message.startsWith(`b.handler: ${url}`), (error as Error).message);
    assert.match((error as Error).message, fault);
  }
});

interface Scene {
  readonly pump: Pump;
  readonly clock: VirtualClock;
  readonly net: MemoryNet;
  readonly calls: string[];
}

/** Returns a pump whose connections belong to module 1 if their address ends with 1, to module 2 if with 2, … */
function scene(): Scene {
  const clock = new VirtualClock();
  const net = new MemoryNet(clock);
  const calls: string[] = [];
  const pump = new Pump({ engine: testEngine(), clock });
  pump.setHandler({
    ...handler(calls, "main"),
    connect: (connection) => {
      (connection as Peer).module = Number(connection.remoteAddress.at(-1));
      calls.push(`main connect`);
    },
    disconnect: () => void calls.push("main disconnect"),
  });
  net.open(pump.engine.windowView(), pump.accept);
  return { pump, clock, net, calls };
}

function handler(calls: string[], name: string): Handler {
  const note = (what: string): void => void calls.push(`${name} ${what}`);
  return {
    request(req, res) {
      note("request");
      return req.upgrade ? res.upgrade() : res.send(200);
    },
    protocol: () => {
      note("protocol");
      return undefined;
    },
    open: () => note("open"),
    message: (_, data) => note(typeof data),
    ping: () => note("ping"),
    pong: () => note("pong"),
    drain: () => note("drain"),
    shutdown: () => note("shutdown"),
    close: (_, { cause }) => note(cause),
  };
}

const EVENTS = [
  "request",
  "protocol",
  "open",
  "string",
  "ping",
  "pong",
  "shutdown",
  "CloseTimeout",
];

/** Opens a WebSocket and sends it a message, a ping and a pong. */
function talk({ net, clock }: Scene, address: string): void {
  const socket = net.connect(65536, address);
  socket?.send(Buffer.from(HANDSHAKE));
  clock.run();
  const mask = [1, 2, 3, 4];
  for (const opcode of [1, 9, 10]) socket?.send(frame(opcode, "x", { mask }));
  clock.run();
}

modules("get all events of a WebSocket, from its request to its end", async () => {
  const all = scene();
  const { pump, clock, calls } = all;
  pump.setModules([handler(calls, "first"), handler(calls, "second")]);
  talk(all, "192.0.2.2");
  pump.farewell.begin();
  clock.advance(30000);
  await Promise.resolve();
  clock.run();
  assert.equal(calls, ["main connect", ...EVENTS.map((what) => `second ${what}`)]);
});

modules("get the requests of a connection, whose beginning and end are the main handler's", () => {
  const all = scene();
  const { pump, clock, net, calls } = all;
  pump.setModules([handler(calls, "first")]);
  for (const address of ["192.0.2.1", "192.0.2.0"]) {
    const socket = net.connect(65536, address);
    socket?.send(Buffer.from("GET / HTTP/1.0\r\n\r\n"));
    socket?.end();
    clock.run();
  }
  const around = (name: string) => ["main connect", `${name} request`, "main disconnect"];
  assert.equal(calls, [...around("first"), ...around("main")]);
});

modules("are replaced for WebSockets that are open", () => {
  const all = scene();
  const { pump, clock, net, calls } = all;
  pump.setModules([handler(calls, "first")]);
  const socket = net.connect(65536, "192.0.2.1");
  socket?.send(Buffer.from(HANDSHAKE));
  clock.run();
  pump.setModules([handler(calls, "later")]);
  socket?.send(frame(2, "x", { mask: [1, 2, 3, 4] }));
  clock.run();
  assert.equal(calls.slice(-2), ["first open", "later object"]);
});

modules("get texts while the main handler, on another thread, gets bytes", () => {
  const all = scene();
  const { pump, calls } = all;
  const main = pump.handler;
  const none = (): void => undefined;
  pump.place({
    ...{ handler: main, isRelay: true, errors: () => 0, pool: () => undefined },
    ...{ turned: none, peerEnded: none, endWaits: none },
  });
  pump.setModules([handler(calls, "first")]);
  talk(all, "192.0.2.1");
  talk(all, "192.0.2.0");
  assert.equal(
    calls.filter((call) => /string|object/.test(call)),
    ["first string", "main object"],
  );
});

modules("stream bodies of their own requests alone", () => {
  const all = scene();
  const { pump, clock, net, calls } = all;
  const request: Handler["request"] = (req, res) => {
    calls.push(String(req.streamed));
    return res.send(200);
  };
  pump.setHandler({ connect: pump.handler.connect?.bind(pump.handler) as never, request });
  pump.setModules([{ streams: true, request }]);
  for (const address of ["192.0.2.1", "192.0.2.0"]) {
    const socket = net.connect(65536, address);
    socket?.send(Buffer.from("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"));
    clock.run();
    socket?.send(Buffer.from("ab"));
    clock.run();
  }
  assert.equal(calls, ["main connect", "true", "main connect", "false"]);
});

modules("get messages while the main handler's are held", () => {
  const all = scene();
  const { pump, calls } = all;
  pump.setModules([handler(calls, "first")]);
  const sockets: WebSocket[] = [];
  talk(all, "192.0.2.1");
  talk(all, "192.0.2.0");
  pump.each((ws) => sockets.push(ws));
  pump.holdAll(4, true);
  const held = pump.connections.map(({ module, isHeld }) => [module, isHeld]);
  assert.equal(held.sort(), [
    [0, true],
    [1, false],
  ]);
});

modules.run();
