// Limits over TCP: what a client sees of them, and what the counters say.

import * as net from "node:net";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Wire, WsWire, serving, takeAnswer, until, within } from "./peer";

const limits = suite("limits");

const GET = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

/** A connection from another address of this machine. */
function from(port: number, localAddress: string): Promise<Wire> {
  const opened = new Promise<Wire>((resolve, reject) => {
    const tcp = net.connect({ port, host: "127.0.0.1", localAddress, allowHalfOpen: true });
    tcp.once("error", reject);
    tcp.once("connect", () => {
      tcp.off("error", reject);
      resolve(new Wire({ socket: tcp, tcp }));
    });
  });
  return within(opened, "connect");
}

limits("connections over those of one address are reset, others are not", () =>
  serving("http", { maxConnectionsPerAddress: 3 }, async (server, port) => {
    const mine = [await Wire.open(port), await Wire.open(port), await Wire.open(port)];
    const fourth = await Wire.open(port);
    await until("reset", () => fourth.closed);
    assert.is((fourth.error as NodeJS.ErrnoException | undefined)?.code, "ECONNRESET");
    const other = await from(port, "127.0.0.2");
    for (const wire of [...mine, other]) {
      wire.write(GET);
      assert.is((await takeAnswer(wire)).status, 200);
    }
    assert.equal((await server.stats()).closed, { AddressLimit: 1 });
    assert.is((await server.stats()).addresses, 2);
    mine[0]?.reset();
    await until("an end", async () => (await server.stats()).closed.PeerReset === 1);
    const again = await Wire.open(port);
    again.write(GET);
    assert.is((await takeAnswer(again)).status, 200);
    for (const wire of [...mine, other, again]) wire.destroy();
  }),
);

limits("a WebSocket is a connection of its address until it has gone", () =>
  serving("echo", { maxConnectionsPerAddress: 1 }, async (server, port) => {
    for (let i = 0; i < 3; i++) {
      const ws = await WsWire.open(port);
      const refused = await Wire.open(port);
      await until("reset", () => refused.closed);
      ws.send(1, "still here");
      assert.is(await ws.text(), "still here");
      ws.destroy();
      await until("no connection", async () => (await server.stats()).addresses === 0);
    }
    assert.is((await server.stats()).closed.AddressLimit, 3);
  }),
);

limits.run();
