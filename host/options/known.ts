// Names that options may have, what a user meant by one that is not among them, and options as plain data.
//
// Invariant: an object of options with a name that nothing reads is refused, wherever it is given.

import { describe } from "../shared/result";
import { show } from "../shared/text/show";

/** How many letters differ (Levenshtein); two neighbours that are swapped count as one. */
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

/** The nearest of some words, if it is near; case and dashes do not count. */
export function nearest(word: string, words: readonly string[]): string | undefined {
  const plain = (text: string): string => text.replaceAll("-", "").toLowerCase();
  const [best] = words
    .map((one) => ({ one, far: distance(plain(word), plain(one)) }))
    .sort((a, b) => a.far - b.far);
  return best && best.far <= Math.ceil(word.length / 3) ? best.one : undefined;
}

/** Names that an object of options may have. */
export interface Known {
  readonly names: readonly string[];
  /** Printed before a name, such as "pool.". */
  readonly prefix?: string;
  /** Names that other servers use, and the option that does the same here. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** What to do instead, where no name is near. */
  readonly otherwise?: string;
}

/** @throws TypeError for a name that is not known, with the one that was probably meant */
export function refuseUnknown(
  given: object,
  { names, prefix = "", aliases = {}, otherwise }: Known,
): void {
  // Inherited ones are read like its own.
  for (const name in given) {
    if (names.includes(name)) continue;
    const meant = Object.hasOwn(aliases, name) ? aliases[name] : nearest(name, names);
    const hint = meant === undefined ? otherwise : `did you mean ${prefix}${meant}?`;
    const shown = /^[\w.-]{1,100}$/.test(name) ? name : show(name);
    throw new TypeError(`${prefix}${shown}: there is no such option${hint ? `; ${hint}` : ""}`);
  }
}

/** True for an object that can hold options: no array, Map, Promise or URL, whose names nothing reads. */
export function isOptions(given: unknown): given is object {
  if (typeof given !== "object" || given === null) return false;
  try {
    return /^\[object (Object|Module)\]$/.test(Object.prototype.toString.call(given));
  } catch {
    return false;
  }
}

/**
 * Returns a copy of options, each of which is read once.
 * @throws TypeError for a name that is not known, and for an option whose getter throws
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

/** Options of `serve` as `ws`, node:http, uWebSockets.js, Bun and Deno name them. */
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
};
