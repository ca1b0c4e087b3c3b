// The options `protocolHandlers` and `defaultProtocol`: modules by subprotocol.

import { show } from "../../shared/text/show";
import { TOKEN } from "../../shared/text/token";
import { isOptions, readOptions } from "../known";
import type { Options } from "../types";
import type { ModuleList } from "./modules";

/** A subprotocol that has a module, as plain data. */
export interface ProtocolSettings {
  readonly name: string;
  /** Number of its module. */
  readonly module: number;
  /** Whether it handles upgrades for which the client offers no subprotocol. */
  readonly isDefault: boolean;
}

/** Most subprotocols with modules. More is a RangeError. */
const MAX_PROTOCOLS = 1000;

/** Refuses a default subprotocol that has no module. */
function checkDefault(given: unknown, names: readonly string[]): void {
  if (given === undefined) return;
  if (names.length === 0)
    throw new TypeError(`defaultProtocol: ${show(given)} without protocolHandlers`);
  if (typeof given === "string" && names.includes(given)) return;
  const all = names.slice(0, 8).map(show).join(", ");
  const more = names.length > 8 ? ", …" : "";
  throw new TypeError(
    `defaultProtocol: ${show(given)} is not one of protocolHandlers, ${all}${more}`,
  );
}

/**
 * Reads the subprotocols that have modules.
 * @param modules receives the modules
 * @throws TypeError, RangeError naming the option
 */
export function readProtocols(
  { protocolHandlers, defaultProtocol }: Options,
  modules: ModuleList,
): ProtocolSettings[] {
  if (protocolHandlers === undefined) {
    checkDefault(defaultProtocol, []);
    return [];
  }
  if (!isOptions(protocolHandlers))
    throw new TypeError(
      `protocolHandlers: ${show(protocolHandlers)} is not an object of modules by subprotocol`,
    );
  const names = Object.keys(protocolHandlers);
  if (names.length === 0 || names.length > MAX_PROTOCOLS)
    throw new RangeError(
      `protocolHandlers: ${names.length} subprotocols are not from 1 to ${MAX_PROTOCOLS}`,
    );
  for (const name of names)
    if (!TOKEN.test(name))
      throw new TypeError(
        `protocolHandlers: ${show(name)} is not the name of a subprotocol, a token`,
      );
  checkDefault(defaultProtocol, names);
  const given = readOptions(protocolHandlers, { names, prefix: "protocolHandlers." });
  return names.map((name) => ({
    name,
    module: modules.add(given[name], `protocolHandlers[${JSON.stringify(name)}]`),
    isDefault: name === defaultProtocol,
  }));
}
