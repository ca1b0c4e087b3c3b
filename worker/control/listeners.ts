// The listeners of a server. The pump gets the connections of all of them, each with its listener's traits, and knows
// nothing else of listeners but which client certificates their virtual hosts ask for.

import { type HostChange, type HostSettings, withChanges } from "../../host/options/site/hosts";
import type { ListenerSettings } from "../../host/options/listen";
import type { Settings } from "../../host/options/settle";
import { clientPolicy, tlsAfter, tlsOfHost } from "../../host/options/tls";
import { describe, errorOf } from "../../host/shared/result";
import { AddressSet } from "../../host/shared/text/address";
import type {
  Listener,
  ListenerAddress,
  ListenerHost,
  ListenOptions,
  TlsOptions,
  Transport,
} from "../net/transport";
import type { ListenerTraits, Pump } from "../pump/pump";
import type { HostPolicies } from "../request/hosts";

/** A listener to open, and the traits of its connections. */
export interface ListenerPlan {
  /** Its name in errors; "": it has none. */
  readonly name: string;
  readonly options: ListenOptions;
  readonly traits: ListenerTraits;
}

/** Returns the listeners that a server's options describe. */
export function listenerPlans({
  listeners,
  hosts,
}: Pick<Settings, "listeners" | "hosts">): [ListenerPlan, ...ListenerPlan[]] {
  const [first, ...more] = listeners;
  return [planOf(first, 0, hosts), ...more.map((one, i) => planOf(one, i + 1, hosts))];
}

function planOf(
  { name, options: own, proxyProtocol }: ListenerSettings,
  number: number,
  hosts: readonly HostSettings[],
): ListenerPlan {
  const { redirects, tls } = own;
  const options = tls ? { ...own, hosts: hostsAt(number, tls, hosts) } : own;
  const isSecure = tls !== undefined;
  const proxies = proxyProtocol && new AddressSet(proxyProtocol);
  return { name, options, traits: { number, isSecure, proxies, redirects, isCopied: isSecure } };
}

/** Returns the virtual hosts at a listener with TLS; undefined when none of them has certificates of its own. */
function hostsAt(
  listener: number,
  main: TlsOptions,
  hosts: readonly HostSettings[],
): readonly ListenerHost[] | undefined {
  const all = hosts.flatMap(({ name, tls, listeners }, i) => {
    if ((listeners & (1 << listener)) === 0) return [];
    return { number: i + 1, name, tls: tls && tlsOfHost(main, tls) };
  });
  return all.some(({ tls }) => tls) ? all : undefined;
}

/** Returns the client certificates that the hosts at each listener ask for. @param count number of all virtual hosts */
function policiesOf(plans: readonly ListenerPlan[], count: number): HostPolicies[] {
  return plans.map(({ options: { tls: main, hosts } }) => {
    if (!main || !hosts) return undefined;
    const texts = new Array<string>(count + 1).fill(clientPolicy(main));
    for (const { number, tls } of hosts) if (tls) texts[number] = clientPolicy(tls);
    const known = ["", ...new Set(texts.filter((text) => text !== ""))];
    const policies = texts.map((text) => known.indexOf(text));
    return policies.every((policy) => policy === policies[0]) ? undefined : policies;
  });
}

/** Returns a plan with other certificates. */
function withTls(
  plan: ListenerPlan,
  changed: TlsOptions | undefined,
  hosts: readonly HostSettings[],
): ListenerPlan {
  const before = plan.options.tls;
  if (!before) return plan;
  const tls = changed ? tlsAfter(before, changed) : before;
  const options = { ...plan.options, tls, hosts: hostsAt(plan.traits.number, tls, hosts) };
  return { ...plan, options };
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
  /** The plans of the listeners, and the virtual hosts, with their present certificates. */
  #plans: readonly ListenerPlan[] = [];
  #hosts: readonly HostSettings[] = [];

  /** @param failed called with errors of single accepts */
  constructor(pump: Pump, failed: (error: Error) => void) {
    this.#pump = pump;
    this.#failed = failed;
  }

  /**
   * Opens all listeners of a server's options, or none.
   * @returns their addresses, in the order of the options
   * @throws the error of the first one that cannot listen, with its name
   */
  async open(
    transport: Transport,
    settings: Pick<Settings, "listeners" | "hosts">,
  ): Promise<ListenerAddress[]> {
    const plans = listenerPlans(settings);
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
    this.#hosts = settings.hosts;
    this.#use(plans);
    return this.#all.map(({ hostname, port, path }) =>
      path === undefined ? { hostname, port } : { hostname, port, path },
    );
  }

  #open(transport: Transport, { name, options, traits }: ListenerPlan): Promise<Listener> {
    const pump = this.#pump;
    const window = pump.engine.windowView();
    const isCopied = traits.isCopied || transport.copies === true;
    const accept = pump.acceptor({ ...traits, isCopied });
    const listening = transport.listen(options, window, accept, this.#failed);
    return listening.catch((thrown: unknown) => {
      throw withName(name, thrown);
    });
  }

  /** Notes the plans of the listeners, and has requests judged by the certificates in them. */
  #use(plans: readonly ListenerPlan[]): void {
    this.#plans = plans;
    const { hosts } = this.#pump.requests;
    if (hosts) hosts.policies = policiesOf(plans, this.#hosts.length);
  }

  /** How connections are held: as handles where every listener holds them so. */
  get transport(): Listener["transport"] {
    const all = this.#all.map(({ transport }) => transport);
    return all.every((one) => one === all[0]) ? all[0] : "sockets";
  }

  /**
   * Uses other certificates for new TLS handshakes.
   * @param tls those of the listeners; undefined: they stay
   * @param changes those of virtual hosts
   * @throws Error where no listener can, or when one of them cannot be used; then all stay
   */
  setTls(tls: TlsOptions | undefined, changes: readonly HostChange[]): void {
    const hosts = withChanges(this.#hosts, changes);
    const plans = this.#plans.map((plan) => withTls(plan, tls, hosts));
    const ready = this.#all.flatMap((listener, i) => {
      const { options } = plans[i] as ListenerPlan;
      return options.tls ? (listener.prepareTls?.(options.tls, options.hosts) ?? []) : [];
    });
    if (ready.length === 0) throw new Error("tls: cannot change on this platform");
    for (const use of ready) use();
    this.#hosts = hosts;
    this.#use(plans);
  }

  /** Stops accepting. Connections stay open. */
  close(): void {
    for (const listener of this.#all) listener.close();
  }
}
