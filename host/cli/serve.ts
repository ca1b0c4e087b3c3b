// `ringcast [handler.js]`: serves a handler module, or the live page when there is none.

import { statSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { type ListenerOptions, type Options, type Server, serve } from "../index";
import { nearest } from "../options/known";
import { settleShutdown } from "../options/settle";
import { type Flag, type Given, textOf } from "./flags";
import { SERVER_FLAGS, named, optionsOf } from "./options";
import { bold, complain, onSignal, say } from "./terminal";
import { Failure, UsageError, parseTime } from "./values";
import { watchModules, watchedUrl } from "./watch";

export const SERVE_FLAGS: readonly Flag[] = [
  { name: "watch", text: "Reload the handler when a module in its folder changes." },
  {
    name: "shutdown-timeout",
    value: "TIME",
    text: "How long to wait for requests and closing handshakes at the end.",
    range: "Default 10000 ms.",
  },
  {
    name: "drain",
    value: "TIME",
    text: "At the end, close the WebSockets one after the other over this time.",
    range: "Default 0 ms.",
  },
  ...SERVER_FLAGS,
];

/** A running server. */
interface Running {
  readonly server: Server;
  stop(): Promise<void>;
}

/** Returns the handler's file. @throws UsageError for a misspelled command; Failure when there is no such file */
function handlerFile(word: string, commands: readonly string[]): string {
  const file = path.resolve(word);
  if (statSync(file, { throwIfNoEntry: false })?.isFile()) return file;
  const near = /[./\\]/.test(word) ? undefined : nearest(word, commands);
  if (near)
    throw new UsageError(`${word}: there is no such command or file; did you mean ${near}?`);
  throw new Failure(`${word}: there is no such file`);
}

/** Returns the host of a URL that works on this machine. */
function urlHost(hostname: string): string {
  if (["0.0.0.0", "127.0.0.1", "::", "::1", ""].includes(hostname)) return "localhost";
  return hostname.includes(":") ? `[${hostname}]` : hostname;
}

/** Returns the URLs of a server's listeners. */
function urlsOf({ addresses }: Server, { listen, tls }: Options): string[] {
  return addresses.map(({ hostname, port, path }, i) => {
    if (path !== undefined) return `unix:${path}`;
    const isTls = (listen ? listen[i]?.tls : tls) !== undefined;
    return `${isTls ? "https" : "http"}://${urlHost(hostname)}:${port}`;
  });
}

/** Returns the listener that an error of listening is about. */
function listenerOf({ message }: Error, options: Options): ListenerOptions {
  const [, number] = /^listen\[(\d+)\]/.exec(message) ?? [];
  return options.listen?.[Number(number)] ?? options;
}

/** Returns why the server does not start, in terms of the command line. */
function explain(error: Error & { code?: string }, options: Options): string {
  const { port = 8080, hostname = "127.0.0.1", path } = listenerOf(error, options);
  const where = path ?? `port ${port}`;
  const isListed = (options.listen?.length ?? 0) > 1;
  switch (error.code) {
    case "EADDRINUSE":
      return `${where} is in use; choose another one with --${isListed ? "listen" : path ? "path" : "port"}`;
    case "EACCES":
      return `${where} needs more rights; choose another one`;
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return `--${isListed ? "listen" : "hostname"}: ${hostname} is not an address of this machine`;
    default:
      return named(error.message);
  }
}

/** Returns the first line of a stack that is in the handler's folder. */
function placeOf(error: Error, file: string): string {
  const own = pathToFileURL(path.dirname(file)).href;
  const line = error.stack?.split("\n").find((one) => one.includes(own) && /^\s+at /.test(one));
  return line ? `\n${line.replace(/\?watch=\d+/, "")}` : "";
}

/** Returns the error of a handler's module without the URL under which it was imported. */
function loadError(error: Error, file: string): string {
  const name = path.relative("", file) || file;
  const message = error.message.replace(/^handler: (?:data|file):\S*?: /, "");
  return `${name}: ${message.replace(/^handler: (?:data|file):\S+ /, "")}${placeOf(error, file)}`;
}

async function serveHandler(file: string, options: Options): Promise<Running> {
  const server = await serve(options).catch((error: Error) => {
    const isHandlers = error.message.startsWith("handler: ");
    throw new Failure(isHandlers ? loadError(error, file) : explain(error, options));
  });
  return { server, stop: () => server.close() };
}

/** Replaces the handler when its modules change, one reload after the other. */
function reloading(server: Server, file: string): () => void {
  let version = 0;
  let last = Promise.resolve();
  return watchModules(file, () => {
    last = last.then(async () => {
      try {
        await server.reload(watchedUrl(file, ++version));
        say(`${path.relative("", file)}: reloaded`);
      } catch (error) {
        complain(loadError(error as Error, file));
        complain("the previous handler stays");
      }
    });
  });
}

async function serveDemo(options: Options): Promise<Running> {
  const { startDemo } = await import("../demo/demo.js");
  return startDemo(options).catch((error: Error) => {
    throw new Failure(explain(error, options));
  });
}

/** Returns the options of the shutdown. @throws UsageError */
function endOf(given: Given): { timeout: number; drainMs: number } {
  const times = { timeout: 10000, drainMs: 0 };
  for (const [flag, name] of [
    ["shutdown-timeout", "timeout"],
    ["drain", "drainMs"],
  ] as const) {
    if (!given.has(flag)) continue;
    times[name] = parseTime(textOf(given, flag) ?? "", "ms");
    try {
      settleShutdown(times);
    } catch (error) {
      throw new UsageError((error as Error).message.replace(/^\w+:/, `--${flag}:`));
    }
  }
  return times;
}

/** Adds the port from the environment variable PORT, which hosting platforms set, unless a flag gives one. */
function withPort(given: Given): Given {
  const { PORT } = process.env;
  const isGiven = given.has("port") || given.has("listen");
  return PORT && !isGiven ? new Map([...given, ["port", [PORT]]]) : given;
}

/** Opens the access log again, after logrotate has renamed its file. */
async function reopenLog(server: Server): Promise<void> {
  await server.reopenLog().catch((error: Error) => {
    complain(named(error.message));
    complain("the previous access log stays");
  });
}

/** Runs the server. @param commands names to suggest for a word that is not a file */
export async function runServe(
  given: Given,
  words: readonly string[],
  commands: readonly string[],
): Promise<void> {
  const [word, ...more] = words;
  const end = endOf(given);
  const file = word === undefined ? undefined : handlerFile(word, commands);
  if (more.length > 0) throw new UsageError(`${more[0]}: only one handler is allowed`);
  const isWatching = given.get("watch") === true;
  if (isWatching && !file) throw new UsageError("--watch: there is no handler to reload");
  const url = file && (isWatching ? watchedUrl(file, 0) : pathToFileURL(file).href);
  const options = optionsOf(withPort(given), url);
  const running = await (file ? serveHandler(file, options) : serveDemo(options));
  const { server } = running;
  const unwatch = file && isWatching ? reloading(server, file) : undefined;

  let ending: Promise<void> | undefined;
  const off = onSignal(
    () => {
      unwatch?.();
      const stopped = file ? server.shutdown(end) : running.stop();
      ending = stopped;
      stopped.catch(() => undefined);
    },
    options.accessLog ? () => void reopenLog(server) : undefined,
  );
  for (const url of urlsOf(server, options)) say(`Ringcast is live on ${bold(url)}`);
  try {
    await server.finished;
    await ending;
  } catch (error) {
    throw new Failure(`the server ended: ${(error as Error).message}`);
  } finally {
    off();
    unwatch?.();
  }
}
