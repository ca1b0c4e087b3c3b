// The names that options may have, suggestions for a misspelled name, and reading of options as plain data.
//
// Invariant: an object of options with an unknown name is refused, wherever it is given.

import { describe } from "../shared/result";
import { show } from "../shared/text/show";

/** Returns the number of letters that differ (Levenshtein); two adjacent letters that are swapped count as one. */
export function distance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      const change = (row[j] as number) + (a[i] === b[j] ? 0 : 1);
      const isSwapped = i > 0 && j > 0 && a[i] === b[j - 1] && a[i - 1] === b[j];
      const swap = isSwapped ? (before[j - 1] as number) + 1 : change;
      next.push(Math.min(change, swap, (row[j + 1] as number) + 1, (next[j] as number) + 1));
    }
    before = row;
    row = next;
  }
  return row[b.length] as number;
}

/** Returns the nearest of some words, if it is near enough. Case and dashes are ignored. */
export function nearest(word: string, words: readonly string[]): string | undefined {
  const plain = (text: string): string => text.replaceAll("-", "").toLowerCase();
  const [best] = words
    .map((one) => ({ one, far: distance(plain(word), plain(one)) }))
    .sort((a, b) => a.far - b.far);
  return best && best.far <= Math.ceil(word.length / 3) ? best.one : undefined;
}

/** The names that an object of options may have. */
export interface Known {
  readonly names: readonly string[];
  /** Prefix of a name in messages, such as "pool.". */
  readonly prefix?: string;
  /** Names that other servers use, with the option that does the same here. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** Advice for a name that resembles no option. */
  readonly otherwise?: string;
}

/** Refuses unknown names. @throws TypeError that suggests the option that was probably meant */
export function refuseUnknown(
  given: object,
  { names, prefix = "", aliases = {}, otherwise }: Known,
): void {
  // Inherited properties count, because they are read like own ones.
  for (const name in given) {
    if (names.includes(name)) continue;
    const meant = Object.hasOwn(aliases, name) ? aliases[name] : nearest(name, names);
    const hint = meant === undefined ? otherwise : `did you mean ${prefix}${meant}?`;
    const shown = /^[\w.-]{1,100}$/.test(name) ? name : show(name);
    throw new TypeError(`${prefix}${shown}: there is no such option${hint ? `; ${hint}` : ""}`);
  }
}

/** Returns true for an object that can hold options, but not an array, Map, Promise or URL. */
export function isOptions(given: unknown): given is object {
  if (typeof given !== "object" || given === null) return false;
  try {
    return /^\[object (Object|Module)\]$/.test(Object.prototype.toString.call(given));
  } catch {
    return false;
  }
}

/**
 * Returns a copy of options. Each option is read once.
 * @throws TypeError for an unknown name, and for an option whose getter throws
 */
export function readOptions<T extends object>(given: T, known: Known): Partial<T> {
  refuseUnknown(given, known);
  const read: Partial<T> = {};
  for (const name of known.names as (keyof T & string)[]) {
    try {
      const value = given[name];
      if (value !== undefined) read[name] = value;
    } catch (cause) {
      const { message } = describe(cause);
      throw new TypeError(`${known.prefix ?? ""}${name}: cannot be read: ${message}`, { cause });
    }
  }
  return read;
}

/** Names that `ws`, node:http, uWebSockets.js, Bun and Deno use for options, with the option of `serve`. */
export const ALIASES: Readonly<Record<string, string>> = {
  host: "hostname",
  address: "hostname",
  unix: "path",
  socketPath: "path",
  key: "tls",
  cert: "tls",
  fetch: "handler",
  websocket: "handler",
  request: "handler",
  open: "handler",
  message: "handler",
  verifyClient: "handler",
  origin: "origins",
  cors: "origins",
  allowedOrigins: "origins",
  allowedHosts: "hosts",
  handleProtocols: "protocols",
  maxPayload: "maxPayloadLength",
  maxBackpressure: "maxBacklog",
  backpressureLimit: "maxBacklog",
  compression: "perMessageDeflate",
  maxHeaderSize: "maxHeadLength",
  bodyLimit: "maxBodyLength",
  maxRequestBodySize: "maxBodyLength",
  keepAlive: "tcpKeepAlive",
  threads: "pool",
  listeners: "listen",
  mode: "listen",
  sni: "virtualHosts",
  vhosts: "virtualHosts",
  redirect: "listen",
};
