// A server whose connections need not be HTTP, in memory and in virtual time: upstreams that are late or never open,
// connections that the application or a shutdown ends, and the place of bytes among responses.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Handler } from "../../host/handler";
import { MemoryNet, type MemorySocket, VirtualClock } from "../../worker/net/memory";
import type { Upstream, UpstreamSink } from "../../worker/net/transport";
import { Pump } from "../../worker/pump/pump";
import { testEngine } from "../lib/wasm";

const raw = suite("raw");

/** A server whose upstreams do as the test says. */
class Server {
  readonly clock = new VirtualClock();
  readonly net = new MemoryNet(this.clock);
  readonly pump: Pump;
  readonly sinks: UpstreamSink[] = [];
  /** Calls of upstreams, and failures. */
  readonly log: string[] = [];

  constructor(handler: Handler = {}) {
    const { log, sinks } = this;
    this.pump = new Pump({
      engine: testEngine({ RawTimeout: 3000 }),
      clock: this.clock,
      queues: this.net.queues,
      raw: {
        connect: (sink): Upstream => {
          sinks.push(sink);
          return {
            write: (bytes) => {
              log.push(Buffer.from(bytes).toString("latin1"));
              return true;
            },
            end: () => void log.push("end"),
            pause: () => void log.push("pause"),
            resume: () => void log.push("resume"),
            destroy: () => void log.push("destroy"),
            reset: () => void log.push("reset"),
          };
        },
        failed: (error) => void log.push(`failed ${error?.message ?? "in time"}`),
      },
    });
    this.pump.setHandler(handler);
    this.net.open(this.pump.engine.windowView(), this.pump.accept);
  }

  connect(text = ""): MemorySocket {
    const socket = this.net.connect();
    assert.ok(socket, "accepted");
    if (text) (socket as MemorySocket).send(Buffer.from(text, "latin1"));
    this.clock.run();
    return socket as MemorySocket;
  }

  /** The upstream of the last connection. */
  get sink(): UpstreamSink {
    return this.sinks.at(-1) as UpstreamSink;
  }

  /** Something happens at the upstream. */
  say(what: (sink: UpstreamSink) => void): void {
    what(this.sink);
    this.clock.run();
  }

  get closed(): Readonly<Record<string, number>> {
    return this.pump.stats().closed;
  }

  take(): string[] {
    return this.log.splice(0);
  }
}

const text = (socket: MemorySocket): string => Buffer.from(socket.read()).toString("latin1");

raw("an upstream that does not answer within 10 s ends the connection in order", () => {
  const server = new Server();
  const socket = server.connect("\0");
  server.clock.advance(9999);
  assert.not(socket.ended);
  server.clock.advance(1);
  assert.equal(server.take(), ["failed in time", "destroy"]);
  assert.ok(socket.ended);
  assert.is(socket.gone, "");
  socket.end();
  server.clock.run();
  assert.equal(server.closed, { UpstreamTimeout: 1 });
});

raw("a client that leaves before the upstream is open leaves nothing", () => {
  const server = new Server();
  const socket = server.connect("\0");
  socket.reset();
  server.clock.run();
  assert.equal(server.take(), ["reset"]);
  assert.equal(server.closed, { PeerReset: 1 });
  server.say((sink) => sink.opened());
  assert.equal(server.take(), []);
});

raw("a silent client is connected after rawTimeout, and gets the first byte", () => {
  const server = new Server();
  const socket = server.connect();
  server.clock.advance(2999);
  assert.is(server.sinks.length, 0);
  server.clock.advance(1);
  assert.is(server.sinks.length, 1);
  server.say((sink) => sink.opened());
  server.say((sink) => sink.received(Buffer.from("220 hello\r\n")));
  assert.is(text(socket), "220 hello\r\n");
  assert.equal(server.take(), []);
});

raw("the application ends a connection by its id, and both sides are reset", () => {
  const server = new Server();
  const socket = server.connect("\0");
  server.say((sink) => sink.opened());
  const [{ id = 0 } = {}] = server.pump.connections;
  assert.ok(server.pump.closeConnection(id));
  assert.equal(server.take(), ["\0", "reset"]);
  assert.is(socket.gone, "reset");
  assert.equal(server.closed, { Application: 1 });
});

raw("the handler is called for requests alone", () => {
  const said: string[] = [];
  const server = new Server({
    connect: () => void said.push("connect"),
    disconnect: (_, { cause }) => void said.push(cause),
    request: (_, res) => {
      said.push("request");
      res.send(204);
    },
  });
  server.connect("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").end();
  server.clock.run();
  const socket = server.connect("\0");
  assert.equal(said, ["connect", "request", "Ok", "connect"]);
  socket.reset();
  server.clock.run();
  assert.equal(said.slice(4), ["PeerReset"]);
});

raw(
  "a shutdown ends connections when they are silent, and at once before their upstream is open",
  () => {
    const server = new Server();
    const opening = server.connect("\0");
    const busy = server.connect("\0");
    server.say((sink) => sink.opened());
    server.take();
    server.pump.farewell.begin(0);
    server.clock.run();
    assert.equal(server.take(), ["destroy"]);
    assert.ok(opening.ended);
    for (let i = 0; i < 5; i++) {
      server.clock.advance(1500);
      busy.send(Buffer.from("x"));
    }
    assert.is(busy.gone, "");
    server.clock.advance(2000);
    assert.is(busy.gone, "closed");
    assert.equal(server.closed, { Shutdown: 2 });
    assert.equal(server.take(), ["x", "x", "x", "x", "x", "destroy"]);
  },
);

raw("within the period of a shutdown pipes continue, and new ones begin", () => {
  const server = new Server();
  const before = server.connect("\0");
  server.say((sink) => sink.opened());
  server.pump.farewell.begin(20000);
  server.clock.advance(5000);
  const later = server.connect("\0");
  server.say((sink) => sink.opened());
  server.clock.advance(14999);
  assert.equal([before.gone, later.gone], ["", ""]);
  server.clock.advance(2001);
  assert.equal([before.gone, later.gone], ["closed", "closed"]);
});

raw("bytes from the client and for it are counted", () => {
  const server = new Server();
  const socket = server.connect("\0abc");
  server.say((sink) => sink.opened());
  server.say((sink) => sink.received(Buffer.from("defgh")));
  socket.send(Buffer.from("ij"));
  server.clock.run();
  const { bytesIn, bytesOut, pipes, released, connections } = server.pump.stats();
  assert.equal(
    { bytesIn, bytesOut, pipes, released, connections },
    {
      ...{ bytesIn: 6, bytesOut: 5 },
      ...{ pipes: 1, released: 1, connections: 1 },
    },
  );
});

raw.run();
