// `ringcast [FOLDER | CONFIG.json | handler.js]`: serves the files of a folder, a server from a configuration file, a
// handler module, or the live page.

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
  { name: "check", text: "Check options, files and certificates, and start nothing." },
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

/** The thing that a word of the command line names. */
type Source =
  | { readonly kind: "page" }
  | { readonly kind: "handler" | "folder" | "config"; readonly file: string };

/**
 * Returns what a word names: a folder, a configuration file by the end of its name, or else a handler.
 * @throws UsageError for a misspelled command; Failure when there is no such file
 */
function sourceOf(word: string | undefined, commands: readonly string[]): Source {
  if (word === undefined) return { kind: "page" };
  const file = path.resolve(word);
  const stats = statSync(file, { throwIfNoEntry: false });
  if (stats?.isDirectory()) return { kind: "folder", file };
  if (stats?.isFile()) return { kind: /\.jsonc?$/.test(file) ? "config" : "handler", file };
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

/** Starts a server. @param explained says why it does not start */
async function start(options: Options, explained: (error: Error) => Failure): Promise<Running> {
  const server = await serve(options).catch((error: Error) => {
    throw explained(error);
  });
  return { server, stop: () => server.close() };
}

function serveHandler(file: string, options: Options): Promise<Running> {
  return start(options, (error) => {
    const isHandlers = error.message.startsWith("handler: ");
    return new Failure(isHandlers ? loadError(error, file) : explain(error, options));
  });
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

/** Flags and options that say where the server listens. */
const PLACES = ["port", "listen", "path", "fd"] as const;

/**
 * Adds the port from the environment variable PORT, which hosting platforms set, unless a flag or the configuration
 * says where the server listens.
 */
function withPort(given: Given, config: Options = {}): Given {
  const { PORT } = process.env;
  const isGiven = PLACES.some((name) => given.has(name) || config[name] !== undefined);
  return PORT && !isGiven ? new Map([...given, ["port", [PORT]]]) : given;
}

/** Returns options without the ones that are undefined. */
function withoutGaps(options: Options): Options {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

/** Opens the access log again, after logrotate has renamed its file. */
async function reopenLog(server: Server): Promise<void> {
  await server.reopenLog().catch((error: Error) => {
    complain(named(error.message));
    complain("the previous access log stays");
  });
}

/** A server that was asked for. */
interface Job {
  readonly options: Options;
  start(): Promise<Running>;
  /** Called at SIGHUP, where no terminal is attached; undefined: the process ends as by default. */
  readonly reload: ((server: Server) => Promise<void>) | undefined;
}

/** Returns the job of a configuration file, whose options flags replace. @throws Failure, UsageError */
async function configJob(file: string, given: Given): Promise<Job> {
  const { checkAll, explained, readConfig } = await import("./config/read");
  const { planReload } = await import("./config/reload");
  const load = () => {
    const { text, options: own } = readConfig(file);
    const options = { ...own, ...withoutGaps(optionsOf(withPort(given, own), undefined)) };
    return { text, options, prepared: explained(text, () => checkAll(options)) };
  };
  let loaded = load();
  const { options, text } = loaded;
  return {
    options,
    start: () => start(options, (error) => text.explain(error.message)),
    async reload(server) {
      try {
        const next = load();
        const change = explained(next.text, () => planReload(loaded, next));
        await change(server).catch((error: Error) => {
          throw next.text.explain(error.message);
        });
        loaded = next;
        say(`${next.text.file}: reloaded`);
      } catch (error) {
        complain((error as Error).message);
        complain("everything stays as it was");
      }
    },
  };
}

/** Returns the job of a word of the command line. */
async function jobOf(source: Source, given: Given): Promise<Job> {
  if (source.kind === "config") return configJob(source.file, given);
  const reload = given.has("access-log") ? reopenLog : undefined;
  if (source.kind === "page") {
    const options = optionsOf(withPort(given), undefined);
    return { options, start: () => serveDemo(options), reload };
  }
  const { file } = source;
  if (source.kind === "folder") {
    const flags = optionsOf(withPort(given), undefined);
    const options: Options = { ...flags, mounts: [{ path: "/", files: file }] };
    return {
      options,
      start: () => start(options, (error) => new Failure(explain(error, options))),
      reload,
    };
  }
  const url = given.get("watch") === true ? watchedUrl(file, 0) : pathToFileURL(file).href;
  const options = optionsOf(withPort(given), url);
  return { options, start: () => serveHandler(file, options), reload };
}

/** Checks the options of a job, and starts nothing. @throws Failure */
async function check(word: string, { options }: Job): Promise<void> {
  const { checkAll } = await import("./config/read");
  try {
    checkAll(options);
  } catch (error) {
    throw new Failure(named((error as Error).message));
  }
  say(`${word}: no fault found`);
}

/** Runs the server. @param commands names to suggest for a word that is not a file */
export async function runServe(
  given: Given,
  words: readonly string[],
  commands: readonly string[],
): Promise<void> {
  const [word, ...more] = words;
  const end = endOf(given);
  const source = sourceOf(word, commands);
  if (more.length > 0) throw new UsageError(`${more[0]}: only one file or folder is allowed`);
  const isWatching = given.get("watch") === true;
  if (isWatching && source.kind !== "handler")
    throw new UsageError("--watch: there is no handler to reload");
  const isCheck = given.get("check") === true;
  if (isCheck && word === undefined) throw new UsageError("--check: there is nothing to check");
  const job = await jobOf(source, given);
  if (isCheck) return check(word as string, job);
  const running = await job.start();
  const { server } = running;
  const unwatch =
    isWatching && source.kind === "handler" ? reloading(server, source.file) : undefined;

  let ending: Promise<void> | undefined;
  // One reload after the other.
  let last = Promise.resolve();
  const { reload } = job;
  const off = onSignal(
    () => {
      unwatch?.();
      const stopped = source.kind === "page" ? running.stop() : server.shutdown(end);
      ending = stopped;
      stopped.catch(() => undefined);
    },
    reload &&
      (() => {
        last = last.then(() => (ending ? undefined : reload(server)));
      }),
  );
  for (const url of urlsOf(server, job.options)) say(`Ringcast is live on ${bold(url)}`);
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
