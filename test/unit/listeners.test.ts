// Several listeners of one pump: they are opened and closed together, and each connection has its listener's traits.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Listeners, listenerPlans } from "../../worker/control/listeners";
import { MemoryNet, VirtualClock } from "../../worker/net/memory";
import type { Listener, Transport } from "../../worker/net/transport";
import { Pump } from "../../worker/pump/pump";
import { AddressSet } from "../../host/shared/text/address";
import { settle } from "../../host/options/settle";
import { testEngine } from "../lib/wasm";

const listeners = suite("listeners");

const GET = Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
const [PLAN] = listenerPlans(settle({}));
const PLANS = [PLAN, PLAN, PLAN].map((plan) => plan as NonNullable<typeof PLAN>);

/** Opens listeners that are in memory, and note when they close. */
class Ports implements Transport {
  readonly closed: number[] = [];
  readonly certificates: number[] = [];
  readonly #refused: number;
  #next = 1;

  /** @param refused number of the listener that fails; 0: none */
  constructor(refused = 0) {
    this.#refused = refused;
  }

  async listen(): Promise<Listener> {
    const port = this.#next++;
    if (port === this.#refused) throw new Error(`port ${port} is in use`);
    const listener: Listener = {
      ...{ hostname: "memory", port, transport: port === 1 ? "sockets" : "handles" },
      close: () => void this.closed.push(port),
    };
    const setTls = (): void => void this.certificates.push(port);
    return port === 2 ? { ...listener, setTls } : listener;
  }
}

function scene(): { readonly pump: Pump; readonly clock: VirtualClock; readonly all: Listeners } {
  const clock = new VirtualClock();
  const pump = new Pump({ engine: testEngine(), clock });
  return { pump, clock, all: new Listeners(pump, () => undefined) };
}

listeners("are opened in order, and closed together", async () => {
  const ports = new Ports();
  const { all } = scene();
  const addresses = await all.open(ports, PLANS);
  assert.equal(
    addresses,
    [1, 2, 3].map((port) => ({ hostname: "memory", port })),
  );
  assert.is(all.transport, "sockets");
  all.setTls({});
  assert.equal(ports.certificates, [2]);
  all.close();
  assert.equal(ports.closed, [1, 2, 3]);
});

listeners("are closed when one of them cannot listen", async () => {
  const ports = new Ports(3);
  const { all } = scene();
  let thrown: unknown;
  await all.open(ports, PLANS).catch((error: unknown) => {
    thrown = error;
  });
  assert.is((thrown as Error).message, "port 3 is in use");
  assert.equal(ports.closed, [1, 2]);
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
    { isSecure: false, proxies: undefined },
    { isSecure: true, proxies: undefined },
    { isSecure: true, proxies },
  ].map((traits) => {
    const net = new MemoryNet(clock);
    net.open(pump.engine.windowView(), pump.acceptor(traits));
    return net;
  });
  for (const net of nets) net.connect(4096, "192.0.2.2")?.send(GET);
  clock.run();
  assert.equal(secure, [false, true]);
  assert.equal(pump.stats().closed, { ProxyRefused: 1 });
});

listeners.run();
