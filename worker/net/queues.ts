// Reads the kernel's send queues on Linux from /proc/self/net/tcp and tcp6: the bytes that a peer has not acknowledged.
//
// Invariant: a table is read in pieces, asynchronously, and searched once for all links. A link that is in neither
// table (another network namespace, a Unix socket) has no queue that can be read.
//
//   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout …
//    0: 0100007F:1F90 0100007F:C350 01 0001A000:00000000 04:0000003E 00000000     0        1 …
//
// The last two columns count retransmissions and probes of a closed window since the peer last answered.

import { readFile } from "node:fs";
import { promisify } from "node:util";
import { endianness } from "node:os";
import type { Link, ReadQueues, SendQueue } from "./transport";

/** The ends of a connection, as Node reports them for a link. */
export interface Ends {
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
}

const TABLES = ["/proc/self/net/tcp", "/proc/self/net/tcp6"] as const;
const isLittle = endianness() === "LE";
/** Length of the text of two IPv4 or IPv6 ends, which begins after "sl: ". */
const LENGTHS = [27, 75] as const;
/** Unanswered probes or retransmissions in a row from which on a peer counts as not answering. One may be in flight. */
const UNANSWERED = 3;

const hex = (value: number, digits: number): string =>
  value.toString(16).toUpperCase().padStart(digits, "0");

/** Formats octets as the tables do, in words of the machine's byte order. */
function wordsOf(octets: readonly number[]): string {
  let text = "";
  for (let i = 0; i < octets.length; i += 4) {
    const word = octets.slice(i, i + 4);
    if (isLittle) word.reverse();
    text += word.map((octet) => hex(octet, 2)).join("");
  }
  return text;
}

/** Returns the octets of an IPv6 address as Node writes it. The zone is ignored. */
function octetsOf6(address: string): number[] {
  let text = address.replace(/%.*$/, "");
  const dotted = /[\d.]+$/.exec(text)?.[0] ?? "";
  if (dotted.includes(".")) {
    const [a = 0, b = 0, c = 0, d = 0] = dotted.split(".").map(Number);
    text = `${text.slice(0, -dotted.length)}${hex(a * 256 + b, 4)}:${hex(c * 256 + d, 4)}`;
  }
  const [front = "", back] = text.split("::");
  const words = (part: string): number[] =>
    part === "" ? [] : part.split(":").map((word) => Number.parseInt(word, 16));
  const head = words(front);
  const tail = back === undefined ? [] : words(back);
  const zeros = new Array(Math.max(0, 8 - head.length - tail.length)).fill(0);
  return [...head, ...(back === undefined ? [] : zeros), ...tail].flatMap((word) => [
    word >> 8,
    word & 255,
  ]);
}

/** Returns the text of both ends in a table, and the table's index; undefined when the ends are not known. */
export function keyOf(ends: Ends): { readonly table: 0 | 1; readonly key: string } | undefined {
  const { localAddress, localPort, remoteAddress, remotePort } = ends;
  if (!localAddress || !remoteAddress || !localPort || !remotePort) return undefined;
  const table = remoteAddress.includes(":") ? 1 : 0;
  const words = (address: string): string =>
    wordsOf(table === 1 ? octetsOf6(address) : address.split(".").map(Number));
  const key = `${words(localAddress)}:${hex(localPort, 4)} ${words(remoteAddress)}:${hex(remotePort, 4)}`;
  return { table, key };
}

/** Finds the queues of connections in a table. @param wanted indices by key; keys that are found are removed */
export function findQueues(
  text: string,
  table: 0 | 1,
  wanted: Map<string, number>,
  found: (SendQueue | undefined)[],
): void {
  const length = LENGTHS[table];
  let line = text.indexOf("\n") + 1;
  while (line > 0 && line < text.length && wanted.size > 0) {
    const at = text.indexOf(": ", line) + 2;
    const key = text.slice(at, at + length);
    const index = wanted.get(key);
    if (index !== undefined) {
      wanted.delete(key);
      // The rest begins after the ends: a space, the state, a space.
      const rest = text.slice(at + length + 4, text.indexOf("\n", at));
      const [, , again = "0", , probes = "0"] = rest.split(/\s+/);
      const unanswered = Math.max(Number.parseInt(again, 16), Number(probes));
      found[index] = {
        bytes: Number.parseInt(rest.slice(0, 8), 16),
        answers: unanswered < UNANSWERED,
      };
    }
    line = text.indexOf("\n", line) + 1;
  }
}

/** The readFile of promises takes a short read for the end of the file in Node 20.12, and /proc has short reads. */
const readTable = promisify(readFile);

/** Returns a reader of links' queues. @param endsOf returns the ends of a link, undefined when it has none */
export function procQueues(endsOf: (link: Link) => Ends | undefined): ReadQueues {
  return (links, report) => {
    const wanted = [new Map<string, number>(), new Map<string, number>()] as const;
    links.forEach((link, i) => {
      const ends = endsOf(link);
      const where = ends && keyOf(ends);
      if (where) wanted[where.table].set(where.key, i);
    });
    const found: (SendQueue | undefined)[] = links.map(() => undefined);
    const search = async (table: 0 | 1): Promise<void> => {
      if (wanted[table].size === 0) return;
      findQueues(await readTable(TABLES[table], "latin1"), table, wanted[table], found);
    };
    Promise.all([search(0), search(1)]).then(
      () => report(found),
      () => report(undefined),
    );
  };
}
