// The listeners of a server. The pump gets the connections of all of them, each with its listener's traits, and knows
// nothing else of listeners.

import type { Settings } from "../../host/options/settle";
import { AddressSet } from "../../host/shared/text/address";
import type { Listener, ListenOptions, TlsOptions, Transport } from "../net/transport";
import type { ListenerTraits, Pump } from "../pump/pump";

/** A listener to open, and the traits of its connections. */
export interface ListenerPlan {
  readonly options: ListenOptions;
  readonly traits: ListenerTraits;
}

/** Returns the traits of the connections of a server's listener. */
export function listenerTraits({ lists, tls }: Settings): ListenerTraits {
  return {
    isSecure: tls !== undefined,
    proxies: lists.proxyProtocol && new AddressSet(lists.proxyProtocol),
  };
}

/** Returns the listeners that a server's options describe, which is one. */
export function listenerPlans(settings: Settings): ListenerPlan[] {
  const { hostname, path, fd, tls, values, lists } = settings;
  const options: ListenOptions = {
    hostname,
    port: values.port,
    backlog: values.backlog,
    noDelay: values.noDelay === 1,
    keepAlive: values.tcpKeepAlive,
    ipv6Only: values.ipv6Only === 1,
    path,
    fd,
    tls,
    handshakeTimeout: values.handshakeTimeout,
    proxied: lists.proxyProtocol !== undefined,
  };
  return [{ options, traits: listenerTraits(settings) }];
}

/** The address of a listener. A Unix socket has a path, no port, and the hostname "". */
export interface ListenerAddress {
  readonly hostname: string;
  readonly port: number | undefined;
  readonly path?: string;
}

export class Listeners {
  readonly #pump: Pump;
  readonly #failed: (error: Error) => void;
  #all: Listener[] = [];

  /** @param failed called with errors of single accepts */
  constructor(pump: Pump, failed: (error: Error) => void) {
    this.#pump = pump;
    this.#failed = failed;
  }

  /**
   * Opens all listeners, or none.
   * @returns their addresses, in the order of the plans
   * @throws the error of the first one that cannot listen
   */
  async open(transport: Transport, plans: readonly ListenerPlan[]): Promise<ListenerAddress[]> {
    const pump = this.#pump;
    const window = pump.engine.windowView();
    try {
      for (const { options, traits } of plans) {
        const accept = pump.acceptor(traits);
        this.#all.push(await transport.listen(options, window, accept, this.#failed));
      }
    } catch (thrown) {
      this.close();
      throw thrown;
    }
    return this.#all.map(({ hostname, port, path }) =>
      path === undefined ? { hostname, port } : { hostname, port, path },
    );
  }

  /** How connections are held: as handles where every listener holds them so. */
  get transport(): Listener["transport"] {
    const all = this.#all.map(({ transport }) => transport);
    return all.every((one) => one === all[0]) ? all[0] : "sockets";
  }

  /** Uses other certificates for new TLS handshakes. @throws Error where no listener can */
  setTls(tls: TlsOptions): void {
    const secure = this.#all.filter(({ setTls }) => setTls !== undefined);
    if (secure.length === 0) throw new Error("tls: cannot change on this platform");
    for (const listener of secure) listener.setTls?.(tls);
  }

  /** Stops accepting. Connections stay open. */
  close(): void {
    for (const listener of this.#all) listener.close();
  }
}
