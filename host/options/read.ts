// Reads options one by one. A wrong one is a TypeError or RangeError that names the option, the value and the range.

import { ANY, isAddress, isRange } from "../shared/text/address";
import { checkLogger } from "../log";
import { listedHost, listedOrigin } from "../shared/text/origin";
import type { Options, PoolOptions } from "./types";
import { show } from "../shared/text/show";
import { TOKEN } from "../shared/text/token";
import { LONE_SURROGATE } from "../shared/message/topic";
import { isOptions, readOptions } from "./known";
import { bytesIn } from "./size";
import { type ListName, type OptionRow, POOL_OPTIONS } from "./table";

/** Bytes of one unit, for the units in which sizes can be given. */
const SCALES: Partial<Record<OptionRow["unit"], number>> = { bytes: 1, MiB: 1048576 };

/** Returns a size with a unit as a number in the row's unit; any other value unchanged. */
function numberIn({ unit }: OptionRow<string>, value: unknown): unknown {
  const scale = SCALES[unit];
  const bytes = scale === undefined ? value : bytesIn(value);
  return typeof value === "string" && typeof bytes === "number" ? bytes / (scale ?? 1) : bytes;
}

/** Returns a flag that is given as an object of its parts: 1, and 2 for the first part, 4 for the second, … */
function readParts(parts: NonNullable<OptionRow["parts"]>, value: object, name: string): number {
  const names = Object.keys(parts);
  const given = readOptions(value as Record<string, unknown>, { names, prefix: `${name}.` });
  let bits = 1;
  for (const [i, part] of names.entries()) {
    const isOn = given[part] ?? false;
    if (typeof isOn !== "boolean")
      throw new TypeError(`${name}.${part}: ${show(isOn)} is not a boolean`);
    if (isOn) bits |= 2 << i;
  }
  return bits;
}

/**
 * Checks a value and returns it as a number: a flag as 1 or 0 (see also `readParts`), a word as its index in the row's
 * words.
 * @param name the name in messages, when it differs from the row's
 */
export function readNumber(row: OptionRow<string>, value: unknown, name = row.name): number {
  if (value === undefined) return readNumber(row, row.default, name);
  if (row.unit === "flag") {
    if (row.parts && isOptions(value)) return readParts(row.parts, value, name);
    const like = row.parts ? `, nor an object such as { ${Object.keys(row.parts)[0]}: true }` : "";
    if (typeof value !== "boolean")
      throw new TypeError(`${name}: ${show(value)} is not a boolean${like}`);
    return value ? 1 : 0;
  }
  if (row.words) {
    const at = typeof value === "string" ? row.words.indexOf(value) : -1;
    if (at < 0)
      throw new TypeError(
        `${name}: ${show(value)} is not one of ${row.words.map(show).join(", ")}`,
      );
    return at;
  }
  const number = numberIn(row, value);
  if (typeof number !== "number") {
    const what = SCALES[row.unit] ? 'a number, or a size such as "16MiB" or "64 KiB"' : "a number";
    throw new TypeError(`${name}: ${show(value)} is not ${what}`);
  }
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = row;
  if (!Number.isInteger(number) || number < min || number > max) {
    throw new RangeError(`${name}: ${show(value)} is not a whole number from ${min} to ${max}`);
  }
  if (row.power && (number & (number - 1)) !== 0) {
    const [below, above] = [2 ** Math.floor(Math.log2(number)), 2 ** Math.ceil(Math.log2(number))];
    throw new RangeError(
      `${name}: ${show(value)} is not a power of two; the nearest are ${below} and ${above}`,
    );
  }
  return number;
}

// ---- lists of words -----------------------------------------------------------------------------------------

/** A function that normalizes a list's word (undefined for a wrong one), and a description of the right words. */
type Kind = readonly [form: (word: string) => string | undefined, what: string];

const RANGE: Kind = [
  (word) => (isRange(word) ? word.toLowerCase() : undefined),
  'an address, a range such as "10.0.0.0/8", or one of "loopback", "linklocal", "uniquelocal", "unix"',
];

const LISTS: Readonly<Record<ListName, Kind>> = {
  origins: [listedOrigin, 'an origin such as "https://a.example" or "https://*.a.example"'],
  hosts: [listedHost, 'a host such as "a.example", "a.example:8080" or "*.a.example"'],
  protocols: [(word) => (TOKEN.test(word) ? word : undefined), "a token"],
  trustProxy: RANGE,
  proxyProtocol: RANGE,
};

export const LIST_NAMES = Object.keys(LISTS) as ListName[];

/** Returns true for an array that can be read, which excludes a revoked proxy of one. */
export function isList(value: unknown): value is readonly unknown[] {
  try {
    return Array.isArray(value);
  } catch {
    return false;
  }
}

function readList(name: string, list: unknown, [form, what]: Kind): string[] {
  if (!isList(list)) throw new TypeError(`${name}: ${show(list)} is not a list`);
  // A hole in the list reads as undefined, which is refused.
  return Array.from(list, (word) => {
    const formed = typeof word === "string" ? form(word) : undefined;
    if (formed === undefined) throw new TypeError(`${name}: ${show(word)} is not ${what}`);
    return formed;
  });
}

/** Checks the origins of a virtual host. @param name their name in messages */
export function readOrigins(list: unknown, name: string): readonly string[] | undefined {
  return list === undefined ? undefined : readList(name, list, LISTS.origins);
}

/** Returns the lists of the whole server that are given, with their words in normalized form. */
export function readLists(options: Options): Lists {
  const lists: Partial<Record<keyof Lists, readonly string[]>> = {};
  for (const name of LIST_NAMES) {
    if (name === "proxyProtocol") continue;
    const list: unknown = options[name];
    if (list !== undefined) lists[name] = readList(name, list, LISTS[name]);
  }
  return lists;
}

/** The lists that hold for the whole server. */
export type Lists = Readonly<
  Partial<Record<Exclude<ListName, "proxyProtocol">, readonly string[]>>
>;

/** Returns the peers that must begin with a PROXY header; undefined: there is no such header. */
export function readProxies(
  { proxyProtocol: list }: Pick<Options, "proxyProtocol">,
  prefix = "",
): readonly string[] | undefined {
  if (list === undefined || list === false) return undefined;
  return list === true ? [ANY] : readList(`${prefix}proxyProtocol`, list, LISTS.proxyProtocol);
}

// ---- options of their own kind ------------------------------------------------------------------------------

/** Refuses a value that is not a callback, logger or signal. @throws TypeError */
export function checkCallbacks(options: Options): void {
  for (const name of ["onEvict", "onError"] as const) {
    const value = options[name];
    if (value !== undefined && typeof value !== "function")
      throw new TypeError(`${name}: ${show(value)} is not a function`);
  }
  const { signal, logger } = options;
  if (logger !== undefined) checkLogger(logger);
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw new TypeError(`signal: ${show(signal)} is not an AbortSignal`);
}

/** A host name or IPv4 address without port, brackets or scheme. Letters outside ASCII can resolve, too. */
const HOST = /^[\w.\-\u00a1-\ud7ff\ue000-\uffef]+$/;
/** Bytes of a Unix socket's path at most. A longer one is refused, because the system would silently cut it. */
const PATH_BYTES = 107;

/** Returns true for a host name or an address. An IPv6 address may end with the name of its interface. */
export function isHost(text: string): boolean {
  return (text.length <= 253 && HOST.test(text)) || isAddress(text.replace(/%\w+$/, ""));
}

/** Checks the address to listen on. @param prefix prefix of the name in messages, such as "listen[1]." */
export function readHostname(
  { hostname = "127.0.0.1" }: Pick<Options, "hostname">,
  prefix = "",
): string {
  if (typeof hostname !== "string" || !isHost(hostname))
    throw new TypeError(`${prefix}hostname: ${show(hostname)} is not a host name or address`);
  return hostname;
}

export function readPath({ path }: Pick<Options, "path">, prefix = ""): string | undefined {
  return path === undefined ? undefined : readSocketPath(`${prefix}path`, path);
}

/** Checks the path of a Unix socket. @param name of the option in messages */
export function readSocketPath(name: string, path: unknown): string {
  // A leading NUL names an abstract socket, which has no file (Linux).
  const isPath = typeof path === "string" && /^[^\0]|^\0[^\0]/.test(path);
  if (!isPath || path.indexOf("\0", 1) > 0 || LONE_SURROGATE.test(path))
    throw new TypeError(`${name}: ${show(path)} is not a path`);
  const { length } = new TextEncoder().encode(path);
  // Named pipes of Windows may be longer.
  if (length > PATH_BYTES && !path.startsWith("\\\\"))
    throw new RangeError(
      `${name}: ${show(path)} has ${length} bytes; a Unix socket's path has at most ${PATH_BYTES}`,
    );
  return path;
}

const MAX_DESCRIPTOR = 2147483647;

export function readDescriptor(
  { fd, path }: Pick<Options, "fd" | "path">,
  prefix = "",
): number | undefined {
  if (fd === undefined) return undefined;
  if (typeof fd !== "number") throw new TypeError(`${prefix}fd: ${show(fd)} is not a number`);
  if (!Number.isInteger(fd) || fd < 0 || fd > MAX_DESCRIPTOR)
    throw new RangeError(`${prefix}fd: ${fd} is not a whole number from 0 to ${MAX_DESCRIPTOR}`);
  if (path !== undefined)
    throw new TypeError(`${prefix}fd: ${fd} and path ${show(path)} exclude each other`);
  return fd;
}

/** Checks the Server field's value: a field value (RFC 9110 5.5) in ASCII. */
export function readServerHeader({ serverHeader: value = "" }: Options): string {
  if (typeof value !== "string")
    throw new TypeError(`serverHeader: ${show(value)} is not a string`);
  if (value.length > 256) {
    throw new RangeError(`serverHeader: ${value.length} characters are more than 256`);
  }
  if (!/^(?:[!-~](?:[\t -~]*[!-~])?)?$/.test(value)) {
    throw new TypeError(`serverHeader: ${show(value)} is not a field value`);
  }
  return value;
}

/** Options of a pool, each with a value. */
export type PoolSettings = Readonly<Record<keyof PoolOptions, number>>;

export function readPool({ pool, handler }: Options): PoolSettings | undefined {
  if (pool === undefined) return undefined;
  if (!isOptions(pool)) throw new TypeError(`pool: ${show(pool)} is not an object of options`);
  if (!(handler instanceof URL) && typeof handler !== "string")
    throw new TypeError("pool: its threads import the handler, which must be the URL of a module");
  const given = readOptions(pool, { names: POOL_OPTIONS.map(({ name }) => name), prefix: "pool." });
  const values = {} as Record<keyof PoolOptions, number>;
  for (const row of POOL_OPTIONS) {
    values[row.name] = readNumber(row, given[row.name], `pool.${row.name}`);
  }
  return values;
}

/** The file of the access log, and its format. */
export interface AccessLogSettings {
  readonly file: string;
  readonly format: "combined" | "json";
}

export function readAccessLog({ accessLog }: Options): AccessLogSettings | undefined {
  if (accessLog === undefined) return undefined;
  if (!isOptions(accessLog))
    throw new TypeError(
      `accessLog: ${show(accessLog)} is not an object such as { file: "access.log" }`,
    );
  const given = readOptions(accessLog, { names: ["file", "format"], prefix: "accessLog." });
  const { file, format = "combined" } = given;
  if (typeof file !== "string" || file === "" || file.includes("\0"))
    throw new TypeError(`accessLog.file: ${show(file)} is neither a path nor "-"`);
  if (format !== "combined" && format !== "json")
    throw new TypeError(`accessLog.format: ${show(format)} is not one of "combined", "json"`);
  return { file, format };
}

/** The path of the metrics, and the clients that may read them. */
export interface MetricsSettings {
  readonly path: string;
  readonly addresses: readonly string[];
}

export function readMetrics({ metrics }: Options): MetricsSettings | undefined {
  if (metrics === undefined) return undefined;
  if (!isOptions(metrics))
    throw new TypeError(`metrics: ${show(metrics)} is not an object of options`);
  const given = readOptions(metrics, { names: ["path", "addresses"], prefix: "metrics." });
  const { path = "/metrics", addresses = ["loopback"] } = given;
  if (typeof path !== "string" || !/^\/[!-~]*$/.test(path) || /[?#]/.test(path))
    throw new TypeError(`metrics.path: ${show(path)} is not the path of a URL`);
  return { path, addresses: readAddresses(addresses, "metrics.addresses") ?? [] };
}

/** Returns the clients that a list of addresses names; undefined: there is no list. true names all, false none. */
export function readAddresses(list: unknown, name: string): readonly string[] | undefined {
  if (list === undefined) return undefined;
  if (typeof list === "boolean") return list ? [ANY] : [];
  return readList(name, list, RANGE);
}
