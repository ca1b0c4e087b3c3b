// Reads the option `virtualHosts`: names of hosts, each with its own certificate, handler and origins.
//
// Invariant: a wrong option of an entry is one TypeError or RangeError that begins with the entry, such as
// `virtualHosts["a.example"].tls.key`. Two entries never have the same name.

import type { HostTlsOptions, TlsOptions } from "../../../worker/net/transport";
import { hostOf, isAddress } from "../../shared/text/origin";
import { show } from "../../shared/text/show";
import { isOptions, readOptions } from "../known";
import type { ListenerSettings } from "../listen";
import { isList, readOrigins } from "../read";
import type { ModuleList } from "./modules";
import { type MountSettings, readMounts } from "./mounts";
import { readHostTls, tlsOfHost } from "../tls";
import type { LiveOptions, Options, VirtualHostOptions } from "../types";

/** A virtual host, as plain data that can be sent to a worker. */
export interface HostSettings {
  /** Its name in lower case: "a.example", "*.a.example", ".a.example" or "*". */
  readonly name: string;
  /** Its name in errors, such as `virtualHosts["a.example"]`. */
  readonly option: string;
  /** Bits of the listeners at which it is valid, by their numbers. */
  readonly listeners: number;
  /** Number of its module; 0: the main handler. */
  readonly module: number;
  /** Its origins; undefined: the server's. */
  readonly origins: readonly string[] | undefined;
  readonly tls: HostTlsOptions | undefined;
  /** Its mounts; undefined: the server's. */
  readonly mounts: readonly MountSettings[] | undefined;
}

/** Most virtual hosts of one server. More is a RangeError. */
const MAX_HOSTS = 1000;
/** Most characters of a name and of one of its labels (RFC 1035 2.3.4). */
const NAME_LENGTH = 253;
const LABEL_LENGTH = 63;
const LABELS = /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/;

const NAMES: readonly (keyof VirtualHostOptions)[] = [
  "tls",
  "handler",
  "origins",
  "listen",
  "mounts",
];
const ALIASES = { host: "handler", ports: "listen", port: "listen", cert: "tls", key: "tls" };

/** Returns an entry's name in errors. */
const optionOf = (name: string): string => `virtualHosts[${JSON.stringify(name)}]`;

/** Returns a name in the form in which names are compared. @throws TypeError */
function readName(given: string): string {
  if (given === "*") return given;
  const option = optionOf(given);
  const lower = given.toLowerCase().replace(/\.$/, "");
  const prefix = /^(?:\*?\.)?/.exec(lower)?.[0] ?? "";
  const name = lower.slice(prefix.length);
  const host = hostOf(name);
  if (host?.port) throw new TypeError(`${option}: has a port; \`listen\` restricts it to ports`);
  if (host && host.name !== name) {
    const meant = show(prefix + host.name);
    throw new TypeError(`${option}: is not a name as clients send it; write ${meant}`);
  }
  const isLong =
    name.length > NAME_LENGTH || name.split(".").some((one) => one.length > LABEL_LENGTH);
  const isName = host && (isAddress(name) ? prefix === "" : LABELS.test(name) && !isLong);
  if (isName) return prefix + name;
  const examples = '"a.example", "*.a.example", ".a.example" or "*"';
  throw new TypeError(`${option}: is not a name of a host, such as ${examples}`);
}

/** Returns how an entry names a listener; undefined for a descriptor, which it cannot name. */
function keyOf({ options: { path, fd, port } }: ListenerSettings): string | number | undefined {
  return path ?? (fd === undefined ? port : undefined);
}

/** Returns the bits of the listeners that an entry names; all without `listen`. */
function readListen(
  { listen }: VirtualHostOptions,
  option: string,
  listeners: readonly ListenerSettings[],
): number {
  if (listen === undefined) return -1;
  const name = `${option}.listen`;
  if (!isList(listen)) throw new TypeError(`${name}: ${show(listen)} is not a list of listeners`);
  if (listen.length === 0) throw new RangeError(`${name}: it names no listener`);
  let bits = 0;
  for (const [i, key] of Array.from(listen as readonly unknown[]).entries()) {
    if (typeof key !== "number" && typeof key !== "string")
      throw new TypeError(`${name}[${i}]: ${show(key)} is neither a port nor a path`);
    const own = listeners.flatMap((one, number) => (keyOf(one) === key ? 1 << number : []));
    if (own.length === 0) {
      const all = listeners.flatMap((one) => keyOf(one) ?? []).map(show);
      const known = all.length > 0 ? `they have ${all.join(", ")}` : "they are descriptors";
      throw new TypeError(`${name}[${i}]: no listener has ${show(key)}; ${known}`);
    }
    if (own.some((bit) => bits & bit))
      throw new TypeError(`${name}[${i}]: ${show(key)} is listed twice`);
    for (const bit of own) bits |= bit;
  }
  return bits;
}

/** Refuses certificates that no listener uses, and a host that clients can reach without the certificate it demands. */
function checkTls(
  { tls, listeners: bits, name }: HostSettings,
  option: string,
  all: readonly ListenerSettings[],
): void {
  if (!tls) return;
  const own = all.filter((_, number) => bits & (1 << number));
  if (!own.some(({ options }) => options.tls))
    throw new TypeError(`${option}.tls: none of its listeners has tls`);
  if (isAddress(name))
    throw new TypeError(`${option}.tls: clients of an address name no host in TLS; leave it out`);
  const isDemanded = tls.requestCert === true && tls.rejectUnauthorized !== false;
  const open = own.find(({ options }) => !options.tls && !options.redirects);
  if (isDemanded && open) {
    const which = open.name === "" ? "its listener" : open.name;
    throw new TypeError(
      `${option}.tls.requestCert: clients of ${which}, which has no tls, would reach it without a ` +
        `certificate; name the other listeners in ${option}.listen`,
    );
  }
}

/** Refuses a name that the option `hosts` does not let through. Patterns may let some hosts through. */
function checkAllowed(name: string, option: string, hosts: readonly string[] | undefined): void {
  if (!hosts || hosts.length === 0 || hosts.includes("*") || /^[*.]/.test(name)) return;
  const pattern = name.replace(/^[^.]*/, "*");
  const isAllowed = hosts.some((one) => {
    const host = one.replace(/:\d+$/, "");
    return host === name || host === pattern;
  });
  if (!isAllowed)
    throw new TypeError(`${option}: requests for it are refused, since hosts lacks it`);
}

/**
 * Reads the virtual hosts of a server.
 * @param listeners those of the server, with their numbers as indices
 * @param hosts the option `hosts`, normalized
 * @throws TypeError, RangeError naming the entry and the option
 */
export function readHosts(
  { virtualHosts }: Options,
  listeners: readonly ListenerSettings[],
  hosts: readonly string[] | undefined,
  modules: ModuleList,
): readonly HostSettings[] {
  if (virtualHosts === undefined) return [];
  if (!isOptions(virtualHosts))
    throw new TypeError(`virtualHosts: ${show(virtualHosts)} is not an object of hosts`);
  const entries = Object.entries(virtualHosts as Readonly<Record<string, unknown>>);
  if (entries.length === 0 || entries.length > MAX_HOSTS)
    throw new RangeError(`virtualHosts: ${entries.length} hosts are not from 1 to ${MAX_HOSTS}`);
  const names = new Set<string>();
  return entries.map(([given, entry]) => {
    const option = optionOf(given);
    const name = readName(given);
    if (names.has(name)) throw new TypeError(`${option}: ${show(name)} is listed twice`);
    names.add(name);
    checkAllowed(name, option, hosts);
    if (!isOptions(entry))
      throw new TypeError(`${option}: ${show(entry)} is not an object of options`);
    const known = { names: NAMES, prefix: `${option}.`, aliases: ALIASES };
    const own = readOptions<VirtualHostOptions>(entry, known);
    const settings: HostSettings = {
      ...{ name, option },
      listeners: readListen(own, option, listeners),
      module: own.handler === undefined ? 0 : modules.add(own.handler, `${option}.handler`),
      origins: readOrigins(own.origins, `${option}.origins`),
      tls: readHostTls(own.tls, `${option}.tls`),
      mounts: own.mounts === undefined ? undefined : readMounts(own, modules, `${option}.`),
    };
    checkTls(settings, option, listeners);
    return settings;
  });
}

/** Other certificates of a virtual host, for a running server. */
export interface HostChange {
  /** Its number, from 1 on. */
  readonly number: number;
  /** All its options of TLS. */
  readonly tls: HostTlsOptions;
}

/** Returns the virtual hosts after changes. */
export function withChanges(
  hosts: readonly HostSettings[],
  changes: readonly HostChange[],
): readonly HostSettings[] {
  const after = [...hosts];
  for (const { number, tls } of changes) {
    const before = after[number - 1];
    if (before) after[number - 1] = { ...before, tls };
  }
  return after;
}

/** Returns changed options of TLS. Options other than the key and its certificate stay when they are left out. */
function changedTls(before: HostTlsOptions, given: HostTlsOptions, option: string): HostTlsOptions {
  const { key, cert, pfx, passphrase, ...others } = before;
  for (const name of ["requestCert", "rejectUnauthorized"] as const) {
    if (given[name] !== undefined && given[name] !== before[name])
      throw new TypeError(`${option}.${name}: cannot change while the server runs`);
  }
  return { ...others, ...given };
}

/**
 * Reads changes of virtual hosts.
 * @param hosts the server's virtual hosts
 * @throws TypeError naming the entry and the option
 */
export function readHostChanges(
  virtualHosts: LiveOptions["virtualHosts"],
  hosts: readonly HostSettings[],
): readonly HostChange[] {
  if (virtualHosts === undefined) return [];
  if (!isOptions(virtualHosts))
    throw new TypeError(`virtualHosts: ${show(virtualHosts)} is not an object of hosts`);
  const changed = new Set<number>();
  return Object.entries(virtualHosts as Readonly<Record<string, unknown>>).map(([given, entry]) => {
    const option = optionOf(given);
    const name = readName(given);
    const at = hosts.findIndex((one) => one.name === name);
    const before = hosts[at];
    if (!before) throw new TypeError(`${option}: the server has no such host`);
    if (changed.has(at)) throw new TypeError(`${option}: ${show(name)} is listed twice`);
    changed.add(at);
    if (!isOptions(entry))
      throw new TypeError(`${option}: ${show(entry)} is not an object of options`);
    const known = { names: NAMES, prefix: `${option}.`, aliases: ALIASES };
    const { tls, ...others } = readOptions<VirtualHostOptions>(entry, known);
    for (const other of Object.keys(others))
      throw new TypeError(`${option}.${other}: cannot change while the server runs`);
    const own = readHostTls(tls, `${option}.tls`, before.tls);
    if (!own) throw new TypeError(`${option}.tls: is missing`);
    if (!before.tls)
      throw new TypeError(`${option}.tls: cannot be switched on while the server runs`);
    return { number: at + 1, tls: changedTls(before.tls, own, `${option}.tls`) };
  });
}

/** Options of TLS that a platform is to check. */
export interface TlsCheck {
  /** Their name in errors. */
  readonly option: string;
  readonly tls: TlsOptions;
  /** The number of a virtual host, its own options, and its listener's; undefined: they are a listener's. */
  readonly host?: {
    readonly number: number;
    readonly own: HostTlsOptions;
    readonly main: TlsOptions;
  };
}

/** Returns all options of TLS: of the listeners, and of each virtual host at each of its listeners. */
export function tlsChecks(
  listeners: readonly ListenerSettings[],
  hosts: readonly HostSettings[],
): TlsCheck[] {
  const checks: TlsCheck[] = [];
  for (const [i, { name, options }] of listeners.entries()) {
    const main = options.tls;
    if (!main) continue;
    checks.push({ option: name === "" ? "tls" : `${name}.tls`, tls: main });
    for (const [k, { option, tls: own, listeners: bits }] of hosts.entries()) {
      if (!own || (bits & (1 << i)) === 0) continue;
      const host = { number: k + 1, own, main };
      checks.push({ option: `${option}.tls`, tls: tlsOfHost(main, own), host });
    }
  }
  return checks;
}
