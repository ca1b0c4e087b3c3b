// Imports modules of handlers: the main one, in the worker and in each thread of a pool, and those beside it.

import type { Handler, HandlerModule, HandlerServer } from "../../host/handler";
import type { ModuleSettings } from "../../host/options/modules";
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
  let made: unknown;
  try {
    const module = (await import(/* @vite-ignore */ /* webpackIgnore: true */ url)) as {
      default?: HandlerModule;
    };
    const exported = module.default;
    made = typeof exported === "function" ? await exported(server) : exported;
  } catch (thrown) {
    throw named(where, thrown);
  }
  if (made === undefined) throw new TypeError(`${where} has no default export that is a handler`);
  checkHandler(made, where);
  return made;
}

/**
 * Imports the modules beside the main handler, in order.
 * @throws the first error, as `loadHandler` and `checkModule`
 */
export async function loadModules(
  modules: readonly ModuleSettings[],
  server: HandlerServer,
): Promise<Handler[]> {
  const handlers: Handler[] = [];
  for (const { option, url } of modules) {
    const handler = await loadHandler(url, server, option);
    checkModule(handler, `${option}: ${url}`);
    handlers.push(handler);
  }
  return handlers;
}
