// Modules beside that of the main handler: further handlers, and file systems. They run in the worker, wherever the
// main handler runs.
//
// Invariant: a module has one number, however many options name it, so it is loaded once.

import { show } from "../../shared/text/show";

/** The kind of object that a module exports. */
export type ModuleKind = "handler" | "files";

/** A module beside the main handler, as plain data. */
export interface ModuleSettings {
  readonly kind: ModuleKind;
  /** The first option that names it, for errors. */
  readonly option: string;
  readonly url: string;
}

/** The modules that options name. */
export interface ModuleList {
  readonly all: readonly ModuleSettings[];
  /** Adds the module of an option. @returns its number */
  add(value: unknown, option: string, kind?: ModuleKind): number;
}

/** Most modules of one server. More is a RangeError. */
const MAX_MODULES = 1000;

/** Returns true for a text that can name a module. */
export function isModuleUrl(text: string): boolean {
  return /^(file|data|blob|https?|node):/.test(text);
}

/** Returns the URL of a module. @throws TypeError naming the option */
export function checkModule(value: unknown, option: string): string {
  const url = value instanceof URL ? value.href : value;
  if (typeof url === "string" && isModuleUrl(url)) return url;
  const example = 'new URL("./handler.js", import.meta.url)';
  throw new TypeError(`${option}: ${show(value)} is not the URL of a module; use ${example}`);
}

/** The modules that options name, in the order of their numbers. */
export class Modules implements ModuleList {
  readonly #all: ModuleSettings[] = [];

  get all(): readonly ModuleSettings[] {
    return this.#all;
  }

  /**
   * Adds the module that an option names.
   * @returns its number, from 1 on
   * @throws TypeError, RangeError naming the option
   */
  add(value: unknown, option: string, kind: ModuleKind = "handler"): number {
    const url = checkModule(value, option);
    const at = this.#all.findIndex((one) => one.url === url && one.kind === kind);
    if (at >= 0) return at + 1;
    if (this.#all.length === MAX_MODULES)
      throw new RangeError(`${option}: the server has more than ${MAX_MODULES} modules`);
    return this.#all.push({ kind, option, url });
  }
}
