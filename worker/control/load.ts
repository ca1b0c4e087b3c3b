// Imports a handler's module, in the worker and in each thread of a pool.

import type { Handler, HandlerModule, HandlerServer } from "../../host/handler";
import { checkHandler } from "../../host/shared/members";
import { describe } from "../../host/shared/result";

/**
 * Wraps the error that a module threw, with the module's name in front. A syntax error's own message does not say
 * where.
 */
function named(url: string, thrown: unknown): Error {
  const { name, message, stack } = describe(thrown);
  const kind = name === "Error" ? "" : `${name}: `;
  const error = new Error(`handler: ${url}: ${kind}${message}`, { cause: thrown });
  error.stack = stack;
  return error;
}

/**
 * Imports a handler's module, and calls its default export if that is a function.
 * @throws Error that names the module and the error it threw; TypeError when it does not give a handler
 */
export async function loadHandler(url: string, server: HandlerServer): Promise<Handler> {
  let made: unknown;
  try {
    const module = (await import(/* @vite-ignore */ /* webpackIgnore: true */ url)) as {
      default?: HandlerModule;
    };
    const exported = module.default;
    made = typeof exported === "function" ? await exported(server) : exported;
  } catch (thrown) {
    throw named(url, thrown);
  }
  if (made === undefined)
    throw new TypeError(`handler: ${url} has no default export that is a handler`);
  checkHandler(made, `handler: ${url}`);
  return made;
}
