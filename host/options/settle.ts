// Checks all options together, fills in defaults and returns the settings as plain data.
//
// Invariant: settings have a value for each option of the table, and no two of them contradict each other.

import type { TlsOptions } from "../../worker/net/transport";
import type { LiveName, LiveOptions, Options, ShutdownOptions } from "./types";
import { isThenable } from "../shared/result";
import { show } from "../shared/text/show";
import { checkTlsChange, readTls } from "./tls";
import { refuseContradictions } from "./contradictions";
import { ALIASES, isOptions, readOptions, refuseUnknown } from "./known";
import {
  type AccessLogSettings,
  LIST_NAMES,
  type Lists,
  type MetricsSettings,
  type PoolSettings,
  checkCallbacks,
  readAccessLog,
  readLists,
  readMetrics,
  readNumber,
  readPool,
  readServerHeader,
} from "./read";
import { type HostChange, type HostSettings, readHostChanges, readHosts } from "./site/hosts";
import { type ModuleList, type ModuleSettings, Modules } from "./site/modules";
import { type ListenerSettings, readListeners, tlsOf } from "./listen";
import { type MountSettings, readMounts } from "./site/mounts";
import { type PageSettings, readErrorPages } from "./site/pages";
import { type ProtocolSettings, readProtocols } from "./site/protocols";
import { DAY, OPTIONS, type OptionName, type OptionValues } from "./table";
import { type UpstreamSettings, readUpstream, refuseOwn } from "./upstream";

/** Validated options as plain data that can be sent to a worker. */
export interface Settings {
  /** The listeners, at least one. */
  readonly listeners: readonly [ListenerSettings, ...ListenerSettings[]];
  readonly values: Readonly<OptionValues>;
  readonly lists: Lists;
  readonly serverHeader: string;
  /** The virtual hosts, in the order of their numbers. */
  readonly hosts: readonly HostSettings[];
  /** Modules beside the main handler, in the order of their numbers. */
  readonly modules: readonly ModuleSettings[];
  readonly pool?: PoolSettings | undefined;
  readonly metrics?: MetricsSettings | undefined;
  readonly accessLog?: AccessLogSettings | undefined;
  readonly errorPages: readonly PageSettings[];
  /** Mounts by the numbers of the virtual hosts, first the server's. undefined: a host has those of the server. */
  readonly mounts: readonly (readonly MountSettings[] | undefined)[];
  /** The upstream of connections that are not HTTP. */
  readonly raw?: UpstreamSettings | undefined;
  /** The subprotocols that have modules. */
  readonly protocols: readonly ProtocolSettings[];
}

/** Names of the options that are not in the table. */
const OTHERS = new Set<string>([
  "handler",
  "pool",
  "signal",
  "onEvict",
  "onError",
  "logger",
  "metrics",
  "accessLog",
  "errorPages",
  "mounts",
  "listen",
  "hostname",
  "path",
  "fd",
  "tls",
  "virtualHosts",
  "protocolHandlers",
  "defaultProtocol",
  "serverHeader",
  "raw",
  ...LIST_NAMES,
] satisfies Exclude<keyof Options, OptionName>[]);

/** Names of all options of `serve`. */
export const OPTION_NAMES: readonly string[] = [...OPTIONS.map((row) => row.name), ...OTHERS];

const rowOf = (name: string) => OPTIONS.find((row) => row.name === name);

/** Refuses values that cannot hold options. @throws TypeError */
export function checkObject(options: unknown): void {
  if (isOptions(options)) return;
  const isObject = show(options) === "an object";
  const forgotten = isObject && isThenable(options) ? "; is an await missing?" : "";
  const what = `an object${isObject ? " of options" : ""}`;
  throw new TypeError(`options: ${show(options)} is not ${what}${forgotten}`);
}

/**
 * Checks options and fills in defaults.
 * @param modules receives the modules beside the main handler
 * @throws TypeError, RangeError naming the option, the value and the range
 */
export function settle(given: Options, modules: ModuleList = new Modules()): Settings {
  checkObject(given);
  const options: Options = readOptions(given, { names: OPTION_NAMES, aliases: ALIASES });
  checkCallbacks(options);
  const values = {} as OptionValues;
  for (const row of OPTIONS) values[row.name] = readNumber(row, options[row.name]);
  if (options.maxQueuedFrames === undefined) values.maxQueuedFrames = values.maxFrames;
  if (options.eventRing === undefined) values.eventRing = values.ring * 2;
  refuseContradictions(values);
  const listeners = readListeners(options);
  const lists = readLists(options);
  const mounts = readMounts(options, modules);
  const hosts = readHosts(options, listeners, lists.hosts, modules);
  const raw = readUpstream("raw", options.raw);
  if (raw) refuseOwn(raw, listeners);
  return {
    listeners,
    values,
    serverHeader: readServerHeader(options),
    lists,
    hosts,
    protocols: readProtocols(options, modules),
    pool: readPool(options),
    metrics: readMetrics(options),
    accessLog: readAccessLog(options),
    modules: modules.all,
    errorPages: readErrorPages(options),
    mounts: [mounts, ...hosts.map((host) => host.mounts)],
    raw,
  };
}

/** Changes of a running server's options. */
export interface Changes {
  readonly values: Partial<Record<OptionName, number>>;
  /** Other certificates of the listeners; undefined: they stay. */
  readonly tls: TlsOptions | undefined;
  /** Virtual hosts with other certificates. */
  readonly hosts: readonly HostChange[];
}

/**
 * Checks changes of a running server's options.
 * @param options the server's current options
 * @param given the changes
 * @param hosts the server's virtual hosts
 * @throws TypeError, RangeError as `settle`, and for options that cannot change
 */
export function settleChanges(
  options: Options,
  given: LiveOptions,
  hosts: readonly HostSettings[] = [],
): Changes {
  checkObject(given);
  for (const name in given) {
    const row = rowOf(name);
    if (row ? !row.live : OTHERS.has(name) && name !== "tls" && name !== "virtualHosts")
      throw new TypeError(`${name}: cannot change while the server runs`);
  }
  const read: LiveOptions = readOptions(given, { names: OPTION_NAMES, aliases: ALIASES });
  const { tls: givenTls, virtualHosts, ...others } = read;
  const { values: all, listeners } = settle({ ...options, ...others });
  const tls = readTls(givenTls);
  if (tls) checkTlsChange(tlsOf(listeners), tls);
  const values: Changes["values"] = {};
  for (const name of Object.keys(others) as LiveName[]) values[name] = all[name];
  return { values, tls, hosts: readHostChanges(virtualHosts, hosts) };
}

/** Checks the options of `shutdown`. @throws TypeError, RangeError naming the option, the value and the range */
export function settleShutdown(options: ShutdownOptions = {}): Required<ShutdownOptions> {
  checkObject(options);
  const settled = { timeout: 10000, drainMs: 0 };
  refuseUnknown(options, { names: Object.keys(settled) });
  for (const [name, value] of Object.entries(options) as [keyof ShutdownOptions, unknown][]) {
    if (value === undefined) continue;
    if (typeof value !== "number") throw new TypeError(`${name}: ${show(value)} is not a number`);
    if (!(value >= 0 && value <= DAY))
      throw new RangeError(`${name}: ${value} is not a number of ms from 0 to ${DAY}`);
    settled[name] = value;
  }
  return settled;
}
