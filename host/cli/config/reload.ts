// Changes of a configuration while the server runs.
//
// Invariant: all or nothing. Everything that can be wrong is checked before anything changes.

import { isDeepStrictEqual } from "node:util";
import { type OptionName, OPTIONS, type OptionRow } from "../../options/table";
import { settleChanges } from "../../options/settle";
import type {
  ListenerOptions,
  LiveOptions,
  Options,
  VirtualHostOptions,
} from "../../options/types";
import type { Prepared } from "../../start/prepare";
import type { Server } from "../../server";

type Tls = Options["tls"];
type Mutable = { -readonly [Name in keyof LiveOptions]: LiveOptions[Name] };

function fixed(option: string): TypeError {
  return new TypeError(`${option}: cannot change while the server runs; start it again`);
}

/** Returns the value of a live option as `configure` takes it. */
function liveValue({ name, unit, words }: OptionRow, { settings }: Prepared): unknown {
  const value = settings.values[name];
  if (words) return words[value];
  return unit === "flag" ? value === 1 : value;
}

/** Returns the first name whose value differs. */
function difference<T extends object>(a: T, b: T, except: readonly string[]): string | undefined {
  const names = new Set([...Object.keys(a), ...Object.keys(b)]) as Set<keyof T & string>;
  for (const name of names) {
    if (!except.includes(name) && !isDeepStrictEqual(a[name], b[name])) return name;
  }
  return undefined;
}

/** Returns the changed options of TLS of listeners, which all get the same; undefined: none has changed. */
function listenersTls(before: Options["listen"], after: Options["listen"]): Tls {
  if (isDeepStrictEqual(before, after)) return undefined;
  if (!before || !after || before.length !== after.length) throw fixed("listen");
  for (const [i, entry] of after.entries()) {
    const name = difference<ListenerOptions>(before[i] as ListenerOptions, entry, ["tls"]);
    if (name !== undefined) throw fixed(`listen[${i}].${name}`);
    if (!entry.tls !== !before[i]?.tls) throw fixed(`listen[${i}].tls`);
  }
  const all = after.flatMap(({ tls }) => tls ?? []);
  const other = after.findIndex(({ tls }) => tls && !isDeepStrictEqual(tls, all[0]));
  if (other >= 0)
    throw new TypeError(
      `listen[${other}].tls: cannot change while the server runs, because its listeners have different ones`,
    );
  return all[0];
}

/** Returns the virtual hosts whose options of TLS have changed. */
function hostsTls(
  before: Options["virtualHosts"],
  after: Options["virtualHosts"],
): LiveOptions["virtualHosts"] {
  if (isDeepStrictEqual(before, after)) return undefined;
  if (!before || !after) throw fixed("virtualHosts");
  const changes: Record<string, Pick<VirtualHostOptions, "tls">> = {};
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  for (const name of names) {
    const option = `virtualHosts[${JSON.stringify(name)}]`;
    const [own, now] = [before[name], after[name]];
    if (!own || !now) throw fixed(option);
    const other = difference<VirtualHostOptions>(own, now, ["tls"]);
    if (other !== undefined) throw fixed(`${option}.${other}`);
    if (isDeepStrictEqual(own.tls, now.tls)) continue;
    if (!own.tls || !now.tls) throw fixed(`${option}.tls`);
    changes[name] = { tls: now.tls };
  }
  return changes;
}

const LIVE = new Set<string>(OPTIONS.filter(({ live }) => live).map(({ name }) => name));

/** Returns the changes for `configure`. @throws TypeError naming an option that cannot change */
function changesOf(
  before: Prepared,
  after: Prepared,
  given: readonly [Options, Options],
): LiveOptions {
  const [old, now] = given;
  const special = ["handler", "tls", "listen", "virtualHosts"];
  const other = difference(old, now, [...special, ...LIVE]);
  if (other !== undefined) throw fixed(other);
  const changes: Mutable = {};
  for (const row of OPTIONS) {
    const isSame = before.settings.values[row.name] === after.settings.values[row.name];
    if (row.live && !isSame)
      (changes as Record<OptionName, unknown>)[row.name] = liveValue(row, after);
  }
  if (!old.tls !== !now.tls) throw fixed("tls");
  const tls = isDeepStrictEqual(old.tls, now.tls) ? listenersTls(old.listen, now.listen) : now.tls;
  const virtualHosts = hostsTls(old.virtualHosts, now.virtualHosts);
  return { ...changes, ...(tls ? { tls } : {}), ...(virtualHosts ? { virtualHosts } : {}) };
}

/** A server's options and the result of their check. */
export interface Loaded {
  readonly options: Options;
  readonly prepared: Prepared;
}

/**
 * Returns a function that changes a running server from one reading of its options to another.
 * @throws TypeError, RangeError naming an option that cannot change, or not so
 */
export function planReload(before: Loaded, after: Loaded): (server: Server) => Promise<void> {
  const { handler } = after.options;
  if (!before.options.handler !== !handler) throw fixed("handler");
  const changes = changesOf(before.prepared, after.prepared, [before.options, after.options]);
  settleChanges(before.prepared.options, changes, before.prepared.settings.hosts);
  const { modules, mounts } = after.prepared.settings;
  const hasArchive = mounts.some((list) => list?.some(({ kind }) => kind === "zip"));
  const isLoaded = handler !== undefined || modules.length > 0 || hasArchive;
  return async (server) => {
    // The first two may fail. An access log that was opened again is as it was.
    if (after.options.accessLog) await server.reopenLog();
    if (isLoaded) await server.reload(handler);
    if (Object.keys(changes).length > 0) await server.configure(changes);
  };
}
