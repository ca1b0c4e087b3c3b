// Several listeners of one pump: they are opened and closed together, and each connection has its listener's traits.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Listeners } from "../../worker/control/listeners";
import { MemoryNet, VirtualClock } from "../../worker/net/memory";
import type { EngineParams } from "../../worker/engine/engine";
import type { Accept, Listener, Transport } from "../../worker/net/transport";
import { Pump } from "../../worker/pump/pump";
import { AddressSet } from "../../host/shared/text/address";
import { settle } from "../../host/options/settle";
import type { ListenerOptions } from "../../host/options/types";
import { testEngine } from "../lib/wasm";

const listeners = suite("listeners");

const GET = Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
const TLS = { key: "k", cert: "c" };
const SETTINGS = settle({ listen: [{}, { port: 443, tls: TLS }, {}] });

/** Opens listeners that are in memory, and note when they close. */
class Ports implements Transport {
  readonly closed: number[] = [];
  readonly certificates: number[] = [];
  readonly #refused: number;
  #next = 1;

  readonly #text: string;

  /** @param refused number of the listener that fails, with `text`; 0: none */
  constructor(refused = 0, text = "") {
    this.#refused = refused;
    this.#text = text;
  }

  async listen(): Promise<Listener> {
    const port = this.#next++;
    if (port === this.#refused) throw new Error(this.#text);
    const listener: Listener = {
      ...{ hostname: "memory", port, transport: port === 1 ? "sockets" : "handles" },
      close: () => void this.closed.push(port),
    };
    const prepareTls = () => () => void this.certificates.push(port);
    return port === 2 ? { ...listener, prepareTls } : listener;
  }
}

function scene(params?: EngineParams): {
  readonly pump: Pump;
  readonly clock: VirtualClock;
  readonly all: Listeners;
} {
  const clock = new VirtualClock();
  const pump = new Pump({ engine: testEngine(params), clock });
  return { pump, clock, all: new Listeners(pump, () => undefined) };
}

listeners("are opened in order, and closed together", async () => {
  const ports = new Ports();
  const { all } = scene();
  const addresses = await all.open(ports, SETTINGS);
  assert.equal(
    addresses,
    [1, 2, 3].map((port) => ({ hostname: "memory", port })),
  );
  assert.is(all.transport, "sockets");
  all.setTls({}, []);
  assert.equal(ports.certificates, [2]);
  all.close();
  assert.equal(ports.closed, [1, 2, 3]);
});

/** Errors of listening, and the same with the name of the entry. */
const FAULTS: readonly (readonly [text: string, named: string])[] = [
  [
    "listen EADDRINUSE: address already in use :::80",
    "listen[2]: EADDRINUSE: address already in use :::80",
  ],
  ["bind EACCES /run/a", "listen[2]: EACCES /run/a"],
  ["getaddrinfo ENOTFOUND a", "listen[2]: getaddrinfo ENOTFOUND a"],
  ["EPERM: no", "listen[2]: EPERM: no"],
  ["fd: 3 is not a listening socket", "listen[2].fd: 3 is not a listening socket"],
  ["proxyProtocol: only Node can", "listen[2].proxyProtocol: only Node can"],
];

listeners("are closed when one of them cannot listen, and the error names it", async () => {
  for (const [text, named] of FAULTS) {
    const ports = new Ports(3, text);
    const { all } = scene();
    const thrown = await all.open(ports, SETTINGS).catch((error: unknown) => error);
    assert.is((thrown as Error).message, named);
    assert.equal(ports.closed, [1, 2]);
  }
});

listeners("have names only as entries of listen", async () => {
  const thrown = await scene()
    .all.open(new Ports(1, "listen EADDRINUSE"), settle({}))
    .catch((error: unknown) => error);
  assert.is((thrown as Error).message, "listen EADDRINUSE");
});

listeners("take the options of their entries, and defaults for the others", () => {
  const { listeners: all } = settle({
    listen: [{ port: 0, noDelay: false }, { path: "/a", mode: 0o600, backlog: 5 }, { fd: 3 }],
  });
  const [first, second, third] = all.map(({ options }) => options);
  const common = {
    hostname: "127.0.0.1",
    keepAlive: undefined,
    ipv6Only: false,
    handshakeTimeout: 10000,
  };
  const none = {
    path: undefined,
    mode: undefined,
    fd: undefined,
    tls: undefined,
    proxied: false,
    redirects: false,
  };
  assert.equal(first, { ...common, ...none, port: 0, noDelay: false, backlog: 4096 });
  const unix = { port: 8080, noDelay: true, path: "/a", mode: 0o600, backlog: 5 };
  assert.equal(second, { ...common, ...none, ...unix });
  assert.equal(third, { ...common, ...none, port: 8080, noDelay: true, backlog: 4096, fd: 3 });
  assert.equal(
    all.map(({ name }) => name),
    ["listen[0]", "listen[1]", "listen[2]"],
  );
  assert.is(settle({}).listeners[0].name, "");
});

listeners("have TCP keep-alive in whole seconds, or none", () => {
  const probes = (options: ListenerOptions): unknown =>
    settle({ listen: [options] }).listeners[0].options.keepAlive;
  assert.is(probes({}), undefined);
  assert.is(probes({ tcpKeepAlive: 0 }), undefined);
  assert.equal(probes({ tcpKeepAlive: 1 }), { idle: 1, interval: 1, count: 10 });
  const all = { tcpKeepAlive: 60001, tcpKeepAliveInterval: 2500, tcpKeepAliveCount: 3 };
  assert.equal(probes(all), { idle: 61, interval: 3, count: 3 });
});

listeners("with TLS shorten the writes of their own connections, those of Bun all", async () => {
  const settings = settle({ listen: [{}, { tls: TLS }] });
  for (const copies of [false, true]) {
    const { pump, clock } = scene({ RunBytes: 2000, CopiedRunBytes: 700 });
    pump.setHandler({ request: (_, res) => res.send(200, "", new Uint8Array(70000)) });
    const nets = [new MemoryNet(clock), new MemoryNet(clock)];
    const writes: number[][] = [[], []];
    const transport: Transport = {
      copies,
      listen: async (options, window, accept) => {
        const at = options.tls ? 1 : 0;
        const noted: Accept = (link) => {
          const write = link.write.bind(link);
          link.write = (view) => {
            writes[at]?.push(view.length);
            return write(view);
          };
          return accept(link);
        };
        return (nets[at] as MemoryNet).open(window, noted);
      },
    };
    await new Listeners(pump, () => undefined).open(transport, settings);
    for (const net of nets) net.connect(1e6)?.send(GET);
    clock.run();
    const longest = writes.map((all) => Math.max(...all));
    assert.equal(longest, copies ? [700, 700] : [2000, 700]);
  }
});

listeners("give their connections TLS and proxies of their own", () => {
  const { pump, clock } = scene();
  const secure: boolean[] = [];
  pump.setHandler({
    request: (req, res) => {
      secure.push(req.secure);
      return res.send(200);
    },
  });
  const proxies = new AddressSet(["192.0.2.1"]);
  const nets = [
    { number: 0, isSecure: false, proxies: undefined },
    { number: 1, isSecure: true, proxies: undefined },
    { number: 2, isSecure: true, proxies },
  ].map((traits) => {
    const net = new MemoryNet(clock);
    const accept = pump.acceptor({ ...traits, redirects: false, isCopied: false });
    net.open(pump.engine.windowView(), accept);
    return net;
  });
  for (const net of nets) net.connect(4096, "192.0.2.2")?.send(GET);
  clock.run();
  assert.equal(secure, [false, true]);
  assert.equal(pump.stats().closed, { ProxyRefused: 1 });
});

listeners.run();
