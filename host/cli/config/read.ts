// Reads a configuration file: all options of `serve` under the same names.
//
// Invariant: after a fault nothing of the file is used.

import { readFileSync, statSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { Options } from "../../options/types";
import { show } from "../../shared/text/show";
import { type Prepared, prepare } from "../../start/prepare";
import { Failure } from "../values";
import { resolved } from "./paths";
import { ConfigText } from "./text";

/** Bytes of a file at most. A longer one is no configuration. */
const MAX_BYTES = 1048576;

/** Options that only programs can give. */
const PROGRAMS = ["signal", "onEvict", "onError", "logger"] as const;

/** Options from a file. */
export interface Config {
  readonly text: ConfigText;
  readonly options: Options;
}

/** Returns what `fn` returns; an error of it gets the place of its option in the file. */
export function explained<T>(text: ConfigText, fn: () => T): T {
  try {
    return fn();
  } catch (thrown) {
    if (thrown instanceof Failure) throw thrown;
    throw text.explain((thrown as Error).message);
  }
}

/** Reads a file. @throws Failure with the place of the fault */
export function readConfig(file: string): Config {
  const name = path.relative("", file) || file;
  let content: string;
  try {
    const stats = statSync(file);
    if (!stats.isFile()) throw new Error("is not a file");
    if (stats.size > MAX_BYTES) throw new Error(`${stats.size} bytes are more than ${MAX_BYTES}`);
    content = readFileSync(file, "utf8").replace(/^\ufeff/, "");
  } catch (thrown) {
    throw new Failure(`${name}: ${(thrown as Error).message}`);
  }
  const text = new ConfigText(name, content, file.endsWith(".jsonc"));
  const folder = path.dirname(path.resolve(file));
  const { $schema, ...options } = explained(text, () =>
    text.value((value, place) => resolved(value, place, folder)),
  ) as Options & { $schema?: unknown };
  for (const name of PROGRAMS) {
    if (options[name] !== undefined)
      throw text.explain(`${name}: is for programs that call serve()`);
  }
  const { handler } = options;
  if (handler !== undefined && typeof handler !== "string")
    throw text.explain(`handler: ${show(handler)} is not the path of a module`);
  if ($schema !== undefined && typeof $schema !== "string")
    throw text.explain("$schema: is not the URL of a schema");
  return { text, options };
}

/** Refuses a module that is in no file. @throws Error naming the option */
function checkModule(url: string, option: string): void {
  if (!url.startsWith("file:")) return;
  const file = fileURLToPath(url);
  if (!statSync(file, { throwIfNoEntry: false })?.isFile())
    throw new Error(`${option}: there is no file ${JSON.stringify(file)}`);
}

/**
 * Checks options without starting a server: their values, the certificates, and that files and modules are there.
 * @throws TypeError, RangeError, Error naming the option
 */
export function checkAll(options: Options): Prepared {
  const prepared = prepare(options);
  const { handler, accessLog } = options;
  if (handler instanceof URL || typeof handler === "string")
    checkModule(String(handler), "handler");
  for (const { url, option } of prepared.settings.modules) checkModule(url, option);
  if (accessLog && accessLog.file !== "-") {
    const folder = path.dirname(path.resolve(accessLog.file));
    if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory())
      throw new Error(`accessLog.file: there is no folder ${JSON.stringify(folder)}`);
  }
  return prepared;
}
