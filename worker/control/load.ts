// Imports modules: of the main handler, in the worker and in each thread of a pool, and those beside it.

import type { FileSystem, Handler, HandlerModule, HandlerServer } from "../../host/handler";
import { checkFileSystem } from "../mount/source";
import type { ModuleSettings } from "../../host/options/site/modules";
import { checkHandler, checkModule } from "../../host/shared/members";
import { describe } from "../../host/shared/result";

/**
 * Wraps the error that a module threw, with the module's name in front. A syntax error's own message does not say
 * where.
 */
function named(where: string, thrown: unknown): Error {
  const { name, message, stack } = describe(thrown);
  const kind = name === "Error" ? "" : `${name}: `;
  const error = new Error(`${where}: ${kind}${message}`, { cause: thrown });
  error.stack = stack;
  return error;
}

/**
 * Imports a handler's module, and calls its default export if that is a function.
 * @param option the option that names the module
 * @throws Error that names the module and the error it threw; TypeError when it does not give a handler
 */
export async function loadHandler(
  url: string,
  server: HandlerServer,
  option = "handler",
): Promise<Handler> {
  const where = `${option}: ${url}`;
  const made = await make(url, server, where);
  if (made === undefined) throw new TypeError(`${where} has no default export that is a handler`);
  checkHandler(made, where);
  return made;
}

/** Imports a module. @returns its default export, or the result of that if it is a function */
async function make(url: string, server: HandlerServer, where: string): Promise<unknown> {
  try {
    const module = (await import(/* @vite-ignore */ /* webpackIgnore: true */ url)) as {
      default?: HandlerModule;
    };
    const exported = module.default;
    return typeof exported === "function" ? await exported(server) : exported;
  } catch (thrown) {
    throw named(where, thrown);
  }
}

/** Imports the module of a file system. @throws as `loadHandler` */
async function loadFiles(url: string, server: HandlerServer, option: string): Promise<FileSystem> {
  const where = `${option}: ${url}`;
  return checkFileSystem(await make(url, server, where), where);
}

/** Modules beside that of the main handler, by their numbers less one. */
export interface Beside {
  /** A module of files has an empty handler. */
  readonly handlers: readonly Handler[];
  readonly files: readonly (FileSystem | undefined)[];
}

/**
 * Imports the modules beside that of the main handler, in order.
 * @throws the first error, as `loadHandler` and `checkModule`
 */
export async function loadModules(
  modules: readonly ModuleSettings[],
  server: HandlerServer,
): Promise<Beside> {
  const handlers: Handler[] = [];
  const files: (FileSystem | undefined)[] = [];
  for (const { kind, option, url } of modules) {
    const isFiles = kind === "files";
    files.push(isFiles ? await loadFiles(url, server, option) : undefined);
    const handler = isFiles ? {} : await loadHandler(url, server, option);
    checkModule(handler, `${option}: ${url}`);
    handlers.push(handler);
  }
  return { handlers, files };
}
