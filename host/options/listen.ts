// Reads the listeners: the entries of the option `listen`, or the one that the options beside it describe.
//
// Invariant: a wrong option of an entry is a TypeError or RangeError that begins with the entry, such as
// `listen[1].port`.

import type { KeepAlive, ListenOptions, TlsOptions } from "../../worker/net/transport";
import { show } from "../shared/text/show";
import { ALIASES, isOptions, readOptions } from "./known";
import type { ListenerName } from "./members";
import { isList, readDescriptor, readHostname, readNumber, readPath, readProxies } from "./read";
import { OPTIONS, type OptionRow } from "./table";
import { readTls } from "./tls";
import type { ListenerOptions, Options } from "./types";

/** A listener, as plain data that can be sent to a worker. */
export interface ListenerSettings {
  /** Its name in errors, such as "listen[1]"; "": the options beside `listen` describe it. */
  readonly name: string;
  readonly options: ListenOptions;
  /** Peers that must begin each connection with a PROXY header; undefined: there is no such header. */
  readonly proxyProtocol: readonly string[] | undefined;
}

/** Most listeners of one server, half of the descriptors that are reserved beside connections. More is a RangeError. */
const MAX_LISTENERS = 32;

const ROWS = OPTIONS.filter((row) => row.listener) as readonly OptionRow<ListenerName>[];

/** Options of a listener that are also options beside `listen`. */
const SHARED = [
  ...ROWS.map(({ name }) => name),
  ...(["hostname", "path", "fd", "tls", "proxyProtocol"] as const),
];
/** Options of an entry of `listen`. */
const NAMES: readonly (keyof ListenerOptions)[] = [...SHARED, "mode", "redirect"];

const MAX_MODE = 0o777;
const octal = (mode: number): string => `0o${mode.toString(8)}`;

/** Checks the permissions of a socket's file. */
function readMode({ mode, path }: ListenerOptions, prefix: string): number | undefined {
  if (mode === undefined) return undefined;
  if (typeof mode !== "number") throw new TypeError(`${prefix}mode: ${show(mode)} is not a number`);
  if (!Number.isInteger(mode) || mode < 0 || mode > MAX_MODE) {
    const written = Number.isInteger(mode) && mode > 0 ? ` (${octal(mode)})` : "";
    const range = `0 to ${octal(MAX_MODE)}`;
    throw new RangeError(`${prefix}mode: ${mode}${written} is not a whole number from ${range}`);
  }
  if (path === undefined) throw new TypeError(`${prefix}mode: ${octal(mode)} without path`);
  if (/^(?:\0|\\\\)/.test(path))
    throw new TypeError(`${prefix}mode: ${octal(mode)}, but ${show(path)} is not a file`);
  return mode;
}

/** Returns whether a listener redirects requests without TLS. */
function readRedirect({ redirect, tls, path }: ListenerOptions, prefix: string): boolean {
  if (redirect === undefined) return false;
  if (redirect !== "https")
    throw new TypeError(`${prefix}redirect: ${show(redirect)} is not "https"`);
  if (tls !== undefined && path !== undefined)
    throw new TypeError(`${prefix}redirect: "https", but path ${show(path)} has no port`);
  return true;
}

/** Returns the TCP keep-alive probes; undefined: none are sent. */
function keepAliveOf(values: Readonly<Record<ListenerName, number>>): KeepAlive | undefined {
  const { tcpKeepAlive, tcpKeepAliveInterval, tcpKeepAliveCount: count } = values;
  // The kernel counts seconds.
  const seconds = (ms: number): number => Math.ceil(ms / 1000);
  if (tcpKeepAlive === 0) return undefined;
  return { idle: seconds(tcpKeepAlive), interval: seconds(tcpKeepAliveInterval), count };
}

/** Refuses a redirect that leads nowhere. A Unix socket has no port to redirect to. */
function refuseRedirects(listeners: readonly ListenerSettings[]): void {
  if (listeners.some(({ options }) => options.tls && options.path === undefined)) return;
  const redirecting = listeners.find(({ options }) => options.redirects);
  if (redirecting)
    throw new TypeError(
      `${redirecting.name}.redirect: "https" needs a listener with tls and a port`,
    );
}

/** Reads a listener's options. @param name "" for the options beside `listen` */
function readListener(given: ListenerOptions, name: string): ListenerSettings {
  const prefix = name === "" ? "" : `${name}.`;
  const values = {} as Record<ListenerName, number>;
  for (const row of ROWS)
    values[row.name] = readNumber(row, given[row.name], `${prefix}${row.name}`);
  const proxyProtocol = readProxies(given, prefix);
  const options: ListenOptions = {
    hostname: readHostname(given, prefix),
    port: values.port,
    backlog: values.backlog,
    noDelay: values.noDelay === 1,
    keepAlive: keepAliveOf(values),
    ipv6Only: values.ipv6Only === 1,
    path: readPath(given, prefix),
    mode: readMode(given, prefix),
    fd: readDescriptor(given, prefix),
    tls: readTls(given.tls, `${prefix}tls`),
    handshakeTimeout: values.handshakeTimeout,
    proxied: proxyProtocol !== undefined,
    redirects: readRedirect(given, prefix),
  };
  return { name, options, proxyProtocol };
}

/** Refuses a descriptor that two listeners have. Two event handlers of one descriptor break each other. */
function refuseTwice(listeners: readonly ListenerSettings[]): void {
  const seen = new Map<number, string>();
  for (const { name, options } of listeners) {
    if (options.fd === undefined) continue;
    const first = seen.get(options.fd);
    if (first) throw new TypeError(`${name}.fd: ${options.fd} is the descriptor of ${first}, too`);
    seen.set(options.fd, name);
  }
}

/** Reads the listeners of a server. @throws TypeError, RangeError naming the entry and the option */
export function readListeners(options: Options): [ListenerSettings, ...ListenerSettings[]] {
  const { listen } = options;
  if (listen === undefined) return [readListener(options, "")];
  if (!isList(listen)) throw new TypeError(`listen: ${show(listen)} is not a list of listeners`);
  const beside = SHARED.filter((name) => options[name] !== undefined);
  if (beside.length > 0) {
    const are = beside.length === 1 ? "it is an option" : "they are options";
    throw new TypeError(`listen: excludes ${beside.join(", ")} beside it; ${are} of its entries`);
  }
  const all = Array.from(listen, (entry: unknown, i) => {
    const name = `listen[${i}]`;
    if (!isOptions(entry))
      throw new TypeError(`${name}: ${show(entry)} is not an object of options`);
    return readListener(readOptions<ListenerOptions>(entry, known(name)), name);
  });
  const [first, ...more] = all;
  if (!first || all.length > MAX_LISTENERS)
    throw new RangeError(`listen: ${all.length} entries are not from 1 to ${MAX_LISTENERS}`);
  refuseTwice(all);
  refuseRedirects(all);
  return [first, ...more];
}

const known = (name: string) => ({ names: NAMES, prefix: `${name}.`, aliases: ENTRY_ALIASES });

/** Names that other servers use for options of a listener. */
const ENTRY_ALIASES = Object.fromEntries(
  Object.entries(ALIASES).filter(([, name]) => (NAMES as readonly string[]).includes(name)),
);

/** Returns the TLS options of the listeners that have some. */
export function tlsOf(listeners: readonly ListenerSettings[]): TlsOptions[] {
  return listeners.flatMap(({ options }) => options.tls ?? []);
}
