// Modules of handlers beside the main one. They run in the worker, wherever the main handler runs.
//
// Invariant: a module has one number, however many options name it, so it is loaded once.

import { show } from "../shared/text/show";

/** A module beside the main handler, as plain data. */
export interface ModuleSettings {
  /** The first option that names it, for errors. */
  readonly option: string;
  readonly url: string;
}

/** Most modules of one server. More is a RangeError. */
const MAX_MODULES = 1000;

/** Returns true for a text that can name a module. */
export function isModuleUrl(text: string): boolean {
  return /^(file|data|blob|https?|node):/.test(text);
}

/** The modules that options name, in the order of their numbers. */
export class Modules {
  readonly #all: ModuleSettings[] = [];

  get all(): readonly ModuleSettings[] {
    return this.#all;
  }

  /**
   * Adds the module that an option names.
   * @returns its number, from 1 on
   * @throws TypeError, RangeError naming the option
   */
  add(value: unknown, option: string): number {
    const url = value instanceof URL ? value.href : value;
    if (typeof url !== "string" || !isModuleUrl(url)) {
      const example = 'new URL("./handler.js", import.meta.url)';
      throw new TypeError(`${option}: ${show(value)} is not the URL of a module; use ${example}`);
    }
    const at = this.#all.findIndex((one) => one.url === url);
    if (at >= 0) return at + 1;
    if (this.#all.length === MAX_MODULES)
      throw new RangeError(`${option}: the server has more than ${MAX_MODULES} modules`);
    return this.#all.push({ option, url });
  }
}
