// How connections are lost: the client reset them, or the network failed. The error's code decides, on each transport.
// Either way the transport is closed, not reset, because it has no peer to send to.

import * as net from "node:net";
import { constants } from "node:os";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { CloseReason } from "../../assembly/abi";
import type { HandleLink } from "../../worker/net/handle-link";
import { lossOf } from "../../worker/net/loss";
import { MemoryNet, type MemorySocket, VirtualClock } from "../../worker/net/memory";
import { nodeTransport } from "../../worker/net/node";
import type { Link, Sink } from "../../worker/net/transport";
import { Pump } from "../../worker/pump/pump";
import { HANDSHAKE } from "../lib/handshake";
import { type End, Pipe } from "../lib/pipe";
import { portOf } from "../lib/port";
import { testEngine } from "../lib/wasm";

const loss = suite("loss");
const OF_NETWORK = ["ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "ENETDOWN", "ECONNABORTED"];
const OF_CLIENT = ["ECONNRESET", "EPIPE", "EPROTO", "ERR_SSL_BAD_RECORD_MAC", "HPE_X", ""];
const CAUSES = [
  ...OF_NETWORK.map((code) => [code, "NetworkError"] as const),
  ...OF_CLIENT.map((code) => [code, "PeerReset"] as const),
];
const UNFINISHED = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc";

type Code = keyof typeof constants.errno;

function failure(code: string): Error {
  return Object.assign(new Error(`read ${code}`), { code });
}

loss("an error without a code, and no error at all, are the client's", () => {
  assert.is(lossOf(undefined), CloseReason.PeerReset);
  assert.is(lossOf(new Error("gone")), CloseReason.PeerReset);
  assert.is(lossOf(Object.assign(new Error("gone"), { code: -110 })), CloseReason.PeerReset);
});

for (const [code, cause] of CAUSES) {
  loss(`${code || "no code"}: a handler gets ${cause}, and it is counted`, () => {
    const clock = new VirtualClock();
    const network = new MemoryNet(clock);
    const engine = testEngine({});
    const pump = new Pump({ engine, clock });
    const causes: string[] = [];
    pump.setHandler({
      request: (req, res) => (req.upgrade ? res.upgrade() : res.send(200)),
      close: (_, info) => void causes.push(`WebSocket ${info.cause} ${info.code}`),
      disconnect: (_, info) => void causes.push(`HTTP ${info.cause}`),
    });
    void network.listen({}, engine.windowView(), pump.accept);
    for (const bytes of [HANDSHAKE, UNFINISHED]) {
      const socket = network.connect() as MemorySocket;
      socket.send(Buffer.from(bytes, "latin1"));
      clock.run();
      socket.reset(code);
      clock.run();
    }
    assert.equal(causes, [`WebSocket ${cause} 1006`, `HTTP ${cause}`]);
    assert.equal(pump.stats().closed, { [cause]: 2 });
  });

  loss(`${code || "no code"}: an embedder that passes the error gets ${cause}`, () => {
    const pipe = new Pipe();
    for (const bytes of [HANDSHAKE, UNFINISHED]) {
      const wire = pipe.connect();
      pipe.send(wire, bytes);
      wire.lost(failure(code));
      pipe.turn();
      const { info, shut } = wire.user as End;
      assert.equal([info?.cause, shut], [cause, "close"]);
    }
  });
}

/** Links of Node's: over its streams, or over its handles without streams. */
const LINKS = { streams: {}, handles: { handles: true } } as const;

/** Returns the error that a link of Node's reports, after an action on the client or the link. */
async function lossAfter(
  kind: keyof typeof LINKS,
  act: (client: net.Socket, link: Link) => void,
): Promise<Error> {
  let accepted: (link: Link) => void = () => undefined;
  const found = new Promise<Link>((resolve) => {
    accepted = resolve;
  });
  let lost: (error: Error | undefined) => void = () => undefined;
  const ended = new Promise<Error | undefined>((resolve) => {
    lost = resolve;
  });
  const nothing = (): void => undefined;
  const accept = (link: Link): Sink => {
    accepted(link);
    return { read: nothing, written: nothing, secured: nothing, ended: nothing, lost };
  };
  const options = {
    port: 0,
    hostname: "127.0.0.1",
    backlog: 8,
    noDelay: true,
    keepAlive: undefined,
  };
  const listener = await nodeTransport(LINKS[kind]).listen(
    { ...options, ipv6Only: false, handshakeTimeout: 5000, proxied: false, redirects: false },
    new Uint8Array(65536),
    accept,
    nothing,
  );
  const client = net.connect(portOf({ address: listener }), "127.0.0.1");
  client.on("error", nothing);
  act(client, await found);
  const error = await ended;
  client.destroy();
  listener.close();
  assert.instance(error, Error);
  return error as Error;
}

/** Makes the next read of a link fail. */
const FAILURES: Record<keyof typeof LINKS, (link: Link, code: Code) => void> = {
  // `ends` is the socket itself.
  streams: (link, code) => (link as unknown as { ends: net.Socket }).ends.destroy(failure(code)),
  handles: (link, code) => (link as unknown as HandleLink).completeRead(-constants.errno[code]),
};

for (const kind of Object.keys(LINKS) as (keyof typeof LINKS)[]) {
  for (const code of ["ETIMEDOUT", "EHOSTUNREACH", "ENETDOWN"] as const) {
    loss(`${kind}: a read of Node's that fails with ${code} is the network's`, async () => {
      const error = await lossAfter(kind, (_, link) => FAILURES[kind](link, code));
      assert.is((error as NodeJS.ErrnoException).code, code);
      assert.is(lossOf(error), CloseReason.NetworkError);
    });
  }

  loss(`${kind}: a client's reset is not, also one that libuv reports as an end`, async () => {
    const resets: readonly ((client: net.Socket) => void)[] = [
      (client) => client.resetAndDestroy(),
      (client) => client.write("bytes", () => client.resetAndDestroy()),
    ];
    for (const reset of resets) {
      for (let i = 0; i < 20; i++) {
        const error = await lossAfter(kind, reset);
        assert.is((error as NodeJS.ErrnoException).code, "ECONNRESET");
        assert.is(lossOf(error), CloseReason.PeerReset);
      }
    }
  });
}

loss.run();
