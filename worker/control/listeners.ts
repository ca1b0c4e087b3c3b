// The listeners of a server. The pump gets the connections of all of them, each with its listener's traits, and knows
// nothing else of listeners.

import type { ListenerSettings } from "../../host/options/listen";
import type { Settings } from "../../host/options/settle";
import { describe, errorOf } from "../../host/shared/result";
import { AddressSet } from "../../host/shared/text/address";
import type {
  Listener,
  ListenerAddress,
  ListenOptions,
  TlsOptions,
  Transport,
} from "../net/transport";
import type { ListenerTraits, Pump } from "../pump/pump";

/** A listener to open, and the traits of its connections. */
export interface ListenerPlan {
  /** Its name in errors; "": it has none. */
  readonly name: string;
  readonly options: ListenOptions;
  readonly traits: ListenerTraits;
}

/** Returns the listeners that a server's options describe. */
export function listenerPlans({ listeners }: Settings): [ListenerPlan, ...ListenerPlan[]] {
  const [first, ...more] = listeners;
  return [planOf(first), ...more.map(planOf)];
}

function planOf({ name, options, proxyProtocol }: ListenerSettings): ListenerPlan {
  const { redirects } = options;
  const isSecure = options.tls !== undefined;
  const proxies = proxyProtocol && new AddressSet(proxyProtocol);
  return { name, options, traits: { isSecure, proxies, redirects } };
}

/** Returns true for a listener that redirects to the port of another one. */
const leadsAway = ({ traits }: ListenerPlan): boolean => traits.redirects && !traits.isSecure;

/** Returns the order in which listeners open. Last come listeners that need the port of another one. */
function openingOrder(plans: readonly ListenerPlan[]): number[] {
  const all = plans.map((_, i) => i);
  const isLast = (i: number): boolean => leadsAway(plans[i] as ListenerPlan);
  return [...all.filter((i) => !isLast(i)), ...all.filter(isLast)];
}

/** Returns the port of the first listener with TLS. @throws Error when it has none */
function portOfTls(
  plans: readonly ListenerPlan[],
  opened: readonly (Listener | undefined)[],
  { name }: ListenerPlan,
): number {
  const port = opened.find((one, i) => one?.port && plans[i]?.traits.isSecure)?.port;
  if (!port) throw new Error(`${name}.redirect: no listener with tls has a port`);
  return port;
}

/** Returns an error of listening with the listener's name: `listen[1]: EADDRINUSE: …`, `listen[1].fd: …`. */
function withName(name: string, thrown: unknown): unknown {
  if (name === "") return thrown;
  const { message, ...data } = describe(thrown);
  const isOption = /^[a-z]\w*: /i.test(message) && !/^E[A-Z_]+: /.test(message);
  const text = isOption ? `.${message}` : `: ${message.replace(/^(?:listen|bind) (?=E[A-Z])/, "")}`;
  return errorOf({ ...data, message: name + text });
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
   * @throws the error of the first one that cannot listen, with its name
   */
  async open(transport: Transport, plans: readonly ListenerPlan[]): Promise<ListenerAddress[]> {
    const opened: (Listener | undefined)[] = plans.map(() => undefined);
    try {
      for (const i of openingOrder(plans)) {
        const plan = plans[i] as ListenerPlan;
        if (leadsAway(plan)) this.#pump.requests.redirectPort = portOfTls(plans, opened, plan);
        opened[i] = await this.#open(transport, plan);
      }
    } catch (thrown) {
      for (const listener of opened) listener?.close();
      throw thrown;
    }
    this.#all = opened as Listener[];
    return this.#all.map(({ hostname, port, path }) =>
      path === undefined ? { hostname, port } : { hostname, port, path },
    );
  }

  #open(transport: Transport, { name, options, traits }: ListenerPlan): Promise<Listener> {
    const pump = this.#pump;
    const window = pump.engine.windowView();
    const listening = transport.listen(options, window, pump.acceptor(traits), this.#failed);
    return listening.catch((thrown: unknown) => {
      throw withName(name, thrown);
    });
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
