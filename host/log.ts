// Reports a server's events to the user's logger, in pino's way: fields, then a message.
//
// Invariant: an error goes to `onError` and to the logger, if they exist, and to the console if neither does. Other
// events go only to the logger. A logger that throws loses that line only. An `onError` or `onEvict` that throws or
// rejects ends nothing: the error of `onEvict` goes to `onError`, and the error of `onError` to the console.

import type { ListenerAddress } from "../worker/net/transport";
import type {
  Eviction,
  FailedHandshake,
  FailedUpstream,
  LiveOptions,
  LogFields,
  Logger,
  Options,
  ShutdownOptions,
} from "./options/types";
import { printable, printableBlock } from "./shared/text/printable";
import { describe, isThenable, toError, whenSettled } from "./shared/result";
import { show } from "./shared/text/show";

type Level = keyof Logger;
const LEVELS: readonly Level[] = ["debug", "info", "warn", "error"];

/** Clients named in the line for a batch of evictions. Others are only counted, because there may be thousands. */
const NAMED = 10;

/** Checks a logger. @throws TypeError */
export function checkLogger(logger: unknown): asserts logger is Logger {
  if (typeof logger !== "object" || logger === null)
    throw new TypeError(`logger: ${show(logger)} is not a logger`);
  const given = logger as Readonly<Record<Level, unknown>>;
  for (const level of LEVELS) {
    const method = given[level];
    if (method !== undefined && typeof method !== "function")
      throw new TypeError(`logger.${level}: ${show(method)} is not a function`);
  }
  if (LEVELS.every((level) => given[level] === undefined))
    throw new TypeError(`logger: it has none of ${LEVELS.join(", ")}`);
}

/**
 * Prints an error. Reading an error may throw, but its description is safe. A peer may have sent what a message quotes,
 * so lines after the first are indented and cannot pass for log lines of the server.
 */
function print(where: string, thrown: unknown): void {
  const error = toError(thrown);
  try {
    if (!error.message.includes("\n")) {
      // The stack of a refused origin or host has only functions of the server.
      console.error(`ringcast: ${where}:`, where === "origin" ? error.message : error);
      return;
    }
  } catch {
    // The description is printed below.
  }
  console.error(`ringcast: ${where}: ${printableBlock(describe(error).stack)}`);
}

/** Calls a user's callback, which may be async. @param failed receives what it throws or rejects with */
function attempt(callback: () => unknown, failed: (thrown: unknown) => void): void {
  try {
    const result = callback();
    if (isThenable(result)) whenSettled(result, undefined, failed);
  } catch (thrown) {
    failed(thrown);
  }
}

export class Log {
  readonly #logger: Logger | undefined;
  readonly #onError: ((error: Error, where: string) => void) | undefined;

  constructor(
    logger: Logger | undefined,
    onError: ((error: Error, where: string) => void) | undefined,
  ) {
    this.#logger = logger;
    this.#onError = onError;
  }

  #tell(level: Level, fields: LogFields, message: string): void {
    attempt(
      () => this.#logger?.[level]?.(fields, message),
      (thrown) => print("logger", thrown),
    );
  }

  /** Reports an error. @param where the handler's member ("request", "message", …), "accept", "pool", "worker" */
  error(error: Error, where: string): void {
    const fields = { event: "error", where, err: error };
    this.#tell("error", fields, printable(`${where}: ${describe(error).message}`));
    const onError = this.#onError;
    if (!onError) {
      if (!this.#logger?.error) print(where, error);
      return;
    }
    attempt(
      () => onError(error, where),
      (thrown) => {
        print("onError", thrown);
        print(where, error);
      },
    );
  }

  listening({ hostname, port, path }: ListenerAddress): void {
    const where = path ?? `${hostname}:${port}`;
    this.#tell("info", { event: "listening", hostname, port, path }, `listening on ${where}`);
  }

  /** Reports evictions. @param onEvict the user's callback */
  evicted(evictions: readonly Eviction[], onEvict: Options["onEvict"]): void {
    const { length } = evictions;
    const clients = evictions.slice(0, NAMED);
    this.#tell("warn", { event: "evicted", count: length, clients }, `evicted ${length}`);
    attempt(
      () => onEvict?.(evictions),
      (thrown) => this.error(toError(thrown), "onEvict"),
    );
  }

  /** Reports failed TLS handshakes. @param clients some of them */
  handshakes(count: number, clients: readonly FailedHandshake[]): void {
    const message = `${count} TLS handshakes failed`;
    this.#tell("debug", { event: "tlsFailed", count, clients }, message);
  }

  /** Reports upstreams that could not be reached. */
  upstreams(failures: readonly FailedUpstream[]): void {
    for (const failure of failures) {
      const times = failure.count === 1 ? "once" : `${failure.count} times`;
      const message = `the upstream ${failure.upstream} failed ${times}: ${failure.reason}`;
      this.#tell("warn", { event: "upstreamFailed", ...failure }, printable(message));
    }
  }

  /** Reports the result of a reload. @param url returns the module's URL, undefined for functions */
  async reloading(reload: Promise<void>, url: () => string | undefined): Promise<void> {
    try {
      await reload;
    } catch (err) {
      this.#tell("warn", { event: "reload", err }, "the previous handler stays");
      throw err;
    }
    this.#tell("info", { event: "reload", handler: url() }, "the handler was reloaded");
  }

  configured({ tls, virtualHosts, ...options }: LiveOptions): void {
    // Keys and certificates are not logged.
    const hosts = virtualHosts ? { virtualHosts: Object.keys(virtualHosts) } : {};
    const changed = { ...options, ...(tls ? { tls: true } : {}), ...hosts };
    this.#tell("info", { event: "configured", options: changed }, "options were changed");
  }

  ending(timeout: ShutdownOptions["timeout"], drainMs: ShutdownOptions["drainMs"]): void {
    this.#tell("info", { event: "shutdown", timeout, drainMs }, "shutting down");
  }

  ended(): void {
    this.#tell("info", { event: "ended" }, "ended");
  }
}
