// Limits, time limits, and the end of a server.

import { latin1Of } from "./bytes";
import { get } from "./client";
import { Checks, ok, same, sameBytes } from "./harness";
import { handshake } from "../lib/handshake";
import { PING, closeFrame } from "./peer";

export const limits = new Checks("limits");

limits.add(
  "an upgrade is 503 while all WebSockets are taken, and succeeds after one ends",
  async (scene) => {
    const first = await scene.open("first");
    const second = await scene.open("second");
    const wire = await scene.connect();
    same((await wire.ask(handshake("/ws?third"))).status, 503);
    first.reset();
    await scene.until("room", async () => (await scene.server.stats()).webSockets === 1);
    const third = await scene.open("third");
    for (const peer of [second, third]) same(await peer.text("here").line(), "here");
  },
  { options: { maxWebSockets: 2 } },
);

limits.add(
  "time limits: a head, a connection that is kept, a closing handshake",
  async (scene) => {
    const head = await scene.connect();
    head.send("GET /hello HTTP/1.1\r\nHo");
    const kept = await scene.connect();
    same((await kept.ask(get("/hello"))).status, 200);
    const closing = await scene.open("closing");
    closing.text("!close 1000");
    same((await closing.closing())[0], 1000);
    // In memory time passes only here. A kept connection stays for a second longer than Keep-Alive says.
    await scene.running.wait(1500);
    same((await head.answer()).status, 408);
    same((await kept.takeAll()).length, 0);
    await closing.gone();
    const { closed } = await scene.server.stats();
    same([closed.HeadTimeout, closed.KeepAliveTimeout, closed.CloseTimeout], [1, 1, 1]);
  },
  { options: { headersTimeout: 150, keepAliveTimeout: 150, closeTimeout: 150 } },
);

limits.add(
  "a WebSocket without a byte is pinged, then closed",
  async (scene) => {
    const peer = await scene.open("idle");
    // Time passes in memory only here: half of the limit until the ping.
    await scene.running.wait(600);
    same((await peer.next()).opcode, PING);
    // The rest of the limit.
    await scene.running.wait(600);
    const rest = await peer.wire.takeAll();
    ok(rest.length <= 127, "nothing but a Close");
    same((await scene.log("idle"))[0]?.[3], "IdleTimeout");
  },
  { options: { idleTimeout: 1 }, when: ({ virtual }) => virtual },
);

limits.add(
  "a shutdown answers pending requests, sends 1001, and accepts no more",
  async (scene) => {
    const { server } = scene;
    const peer = await scene.open("peer");
    same(await peer.text("here").line(), "here");
    const idle = await scene.connect();
    same((await idle.ask(get("/hello"))).status, 200);
    const wire = await scene.connect();
    const { bytesIn } = await server.stats();
    wire.send(get("/late?100"));
    await scene.until("request", async () => (await server.stats()).bytesIn > bytesIn);
    ok(server.broadcast("last words"), "broadcast");
    const ended = server.shutdown();
    same(await peer.line(), "last words");
    same(await peer.line(), "shutdown");
    same(await peer.closing(), [1001, "the server shuts down"]);
    peer.wire.send(closeFrame(1001)).end();
    const { status, fields, body } = await wire.answer();
    same([status, fields.get("connection"), latin1Of(body)], [200, "close", "/late?100"]);
    for (const other of [wire, idle]) same((await other.end().takeAll()).length, 0);
    await peer.gone();
    await ended;
    same(server.broadcast("nobody"), false);
    const late = await scene.connect().catch(() => undefined);
    same((await late?.takeAll())?.length ?? 0, 0);
  },
  { options: {} },
);

limits.add(
  "the counters add up",
  async (scene) => {
    const { server } = scene;
    const start = await server.stats();
    same([start.connections, start.webSockets, start.accepted], [0, 0, 0]);
    const wire = await scene.connect();
    for (let i = 0; i < 10; i++) sameBytes((await wire.ask(get("/hello"))).body, "hello\n", "body");
    const peers = [await scene.open("a"), await scene.open("b"), await scene.open("c")];
    for (const peer of peers) {
      for (let i = 0; i < 5; i++) same(await peer.text(`${i}`).line(), `${i}`);
    }
    for (let i = 0; i < 7; i++) ok(server.broadcast(`all ${i}`), "broadcast");
    for (const peer of peers) for (let i = 0; i < 7; i++) await peer.line();
    const open = await server.stats();
    same([open.connections, open.webSockets, open.accepted, open.upgraded], [1, 3, 4, 3]);
    same([open.requests, open.messagesIn, open.messagesSent], [13, 15, 15]);
    same([open.framesPublished, open.framesDue], [7, 21]);
    same([open.evicted, open.handlerErrors, open.acceptErrors, open.shed], [0, 0, 0, 0]);
    wire.end();
    await wire.takeAll();
    for (const peer of peers) {
      peer.wire.send(closeFrame(1000)).end();
      await peer.closing();
      await peer.gone();
    }
    const sum = (closed: Readonly<Record<string, number>>): number =>
      Object.values(closed).reduce((all, n) => all + n, 0);
    // One that lingers is neither open nor closed.
    await scene.until("ends", async () => sum((await server.stats()).closed) === 4);
    const { accepted, connections, webSockets, memory } = await server.stats();
    same([accepted, connections, webSockets], [4, 0, 0]);
    same(memory, start.memory);
  },
  { options: {} },
);
