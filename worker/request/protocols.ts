// Subprotocols: which one an upgrade agrees on, and which of the modules beside the main handler it belongs to.
//
// Invariant: a subprotocol that is chosen is one that the client offers (RFC 6455 4.2.2).

import type { ProtocolSettings } from "../../host/options/site/protocols";

/** The part of a request that says which subprotocols its client offers. */
interface Offering {
  readonly protocols: readonly string[];
}

export class Protocols {
  /** Subprotocols of the server that have no module, for upgrades that name none. */
  readonly #names: readonly string[];
  /** Numbers of modules, by the names of their subprotocols. */
  readonly #modules: ReadonlyMap<string, number>;
  /** Number of the module for upgrades without an offer; 0: the main handler. */
  readonly #default: number;

  constructor(names: readonly string[], modules: readonly ProtocolSettings[]) {
    this.#names = names;
    this.#modules = new Map(modules.map(({ name, module }) => [name, module]));
    this.#default = modules.find(({ isDefault }) => isDefault)?.module ?? 0;
  }

  /** Whether a subprotocol has a module. */
  get hasModules(): boolean {
    return this.#modules.size > 0;
  }

  /** Names of the subprotocols that have modules. */
  get names(): string[] {
    return [...this.#modules.keys()];
  }

  /** Returns the number of a subprotocol's module; 0: it has none. */
  moduleOf(name: string): number {
    return this.#modules.get(name) ?? 0;
  }

  /** Returns the number of the module that an upgrade belongs to; 0: to none of them. */
  find({ protocols }: Offering): number {
    if (!this.hasModules) return 0;
    if (protocols.length === 0) return this.#default;
    const name = protocols.find((one) => this.#modules.has(one));
    return name === undefined ? 0 : this.moduleOf(name);
  }

  /**
   * Returns the subprotocol of an upgrade whose handler chooses none; "": none.
   * @param module number of the handler's module
   * @param wanted the name under which the handler was chosen; "": none
   */
  choose({ protocols }: Offering, module: number, wanted: string): string {
    if (wanted !== "" && protocols.includes(wanted)) return wanted;
    const own = module === 0 ? undefined : protocols.find((one) => this.moduleOf(one) === module);
    return own ?? protocols.find((one) => this.#names.includes(one)) ?? "";
  }
}
