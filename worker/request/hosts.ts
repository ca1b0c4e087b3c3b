// Virtual hosts: which one a request is for, and the rules and the module that it has.
//
// Invariant: a request is handled as its Host says, and never with less proof of its client than that host asks for:
// where hosts ask for different client certificates, its connection was opened for one that asks for the same.

import type { HostSettings } from "../../host/options/site/hosts";
import { Names } from "../../host/shared/text/names";
import type { Engine } from "../engine/engine";
import { HostFinder } from "../engine/host";
import type { Peer } from "../socket/peer";

/** A virtual host, as requests need it. */
export type VirtualHost = Pick<
  HostSettings,
  "name" | "option" | "listeners" | "module" | "origins"
>;

/**
 * Numbers of the client certificates that the hosts of a listener ask for, by the numbers of the hosts; the first is
 * the listener's own. Equal numbers: the same; 0: none. Undefined: all ask for the same.
 */
export type HostPolicies = readonly number[] | undefined;

export class Hosts {
  readonly #all: readonly VirtualHost[];
  readonly #names: Names;
  readonly #engine: Engine;
  readonly #finder: HostFinder;
  /** By the listeners' numbers. Those without TLS have none. */
  policies: readonly HostPolicies[] = [];

  constructor(all: readonly VirtualHost[], engine: Engine) {
    this.#all = all;
    this.#names = new Names(all);
    this.#engine = engine;
    this.#finder = new HostFinder(engine);
  }

  /** Returns the virtual host with a number; undefined for 0. */
  at(number: number): VirtualHost | undefined {
    return this.#all[number - 1];
  }

  /** Returns the number of the host that a connection's pending request is for; 0: it has no name. */
  #find({ slot }: Peer, listeners: number): number {
    const finder = this.#finder;
    finder.find(slot);
    return this.#names.find(this.#engine.u8, finder.from, finder.to, listeners);
  }

  /** Returns the number of the host that a request is for at its listener. */
  numberOf(peer: Peer): number {
    return this.#find(peer, 1 << peer.listener);
  }

  /** Returns the number of the host that a request is for at its listener, and gives the request to its module. */
  enter(peer: Peer): number {
    const number = this.numberOf(peer);
    peer.module = this.#all[number - 1]?.module ?? 0;
    return number;
  }

  /** Returns true when the host that a request is for has a name at any listener. */
  isNamed(peer: Peer): boolean {
    return this.#find(peer, -1) !== 0;
  }

  /** Returns true when a host asks for other client certificates than the one that a connection was opened for. */
  isElsewhere(peer: Peer, number: number): boolean {
    const policies = this.policies[peer.listener];
    if (policies === undefined || !peer.isSecure) return false;
    const policy = policies[number];
    // mutant host-elsewhere (hosts): return false;
    return policy !== 0 && policy !== policies[peer.link.host ?? 0];
  }
}
