// Finds the client of a request that proxies have forwarded, from X-Forwarded-For or Forwarded (RFC 7239).
//
// Invariant: nothing that a client wrote is trusted. The fields are read from their end: the peer wrote the last hop,
// that hop wrote the one before, and so on while hops are trusted. The first hop that is not trusted is the client. A
// hop that names no address ("unknown", "_hidden", nonsense) ends the walk, and then the client is the trusted proxy
// that wrote it.

import type { AddressSet } from "../../host/shared/text/address";
import { isAddress } from "../../host/shared/text/address";
import { TOKEN_CHARS } from "../../host/shared/text/token";

/** The trusted proxies, and the one field that they write. */
export interface ForwardRules {
  readonly trusted: AddressSet;
  readonly field: "x-forwarded-for" | "forwarded";
}

function isBlank(octet: number): boolean {
  return octet === 32 || octet === 9;
}

/** Removes surrounding blanks (RFC 9110 5.6.3). A pattern would take quadratic time for blanks within the text. */
function trim(text: string): string {
  let from = 0;
  let to = text.length;
  while (from < to && isBlank(text.charCodeAt(from))) from++;
  while (to > from && isBlank(text.charCodeAt(to - 1))) to--;
  return text.slice(from, to);
}

/** Returns the address of a hop without its port; "" when it is none. */
function readNode(node: string): string {
  const [, bracketed, plain = node] = /^(?:\[([^\]]*)\]|([\d.]+))(?::[\w.-]*)?$/.exec(node) ?? [];
  const address = bracketed ?? plain;
  return isAddress(address) && !address.includes("%") ? address : "";
}

/** Returns the offset at which the quoted-string that ends at `end` begins; −1: there is none. */
function quoteStart(text: string, end: number): number {
  for (let at = text.lastIndexOf('"', end - 1); at >= 0; at = text.lastIndexOf('"', at - 1)) {
    let slashes = at;
    while (text[slashes - 1] === "\\") slashes--;
    if ((at - slashes) % 2 === 0) return at;
    if (at === 0) break;
  }
  return -1;
}

/** Returns the offset of the comma before a list's last element, outside of quoted-strings; −1: there is none. */
function lastComma(text: string): number {
  for (let at = text.length - 1; at >= 0; at--) {
    if (text[at] === ",") return at;
    if (text[at] === '"') at = quoteStart(text, at);
  }
  return -1;
}

const VALUE = String.raw`(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]+))`;
const PAIR = new RegExp(`[ \\t]*(${TOKEN_CHARS}+)=${VALUE}[ \\t]*(?:;|$)`, "y");

/** Returns the node that the `for` of a forwarded-element names; "": none, or the element is malformed. */
function forOf(element: string): string {
  let found: string | undefined;
  PAIR.lastIndex = 0;
  while (PAIR.lastIndex < element.length) {
    const pair = PAIR.exec(element);
    if (!pair) return "";
    const [, name = "", quoted, token = ""] = pair;
    if (name.toLowerCase() !== "for") continue;
    if (found !== undefined) return "";
    found = quoted === undefined ? token : quoted.replace(/\\(.)/g, "$1");
  }
  return found ?? "";
}

/**
 * Returns the client's address.
 * @param peer address of the trusted peer that sent the request
 * @param field value of the field that the rules name, undefined when there is none
 */
export function clientOf(peer: string, field: string | undefined, rules: ForwardRules): string {
  const isForwarded = rules.field === "forwarded";
  let client = peer;
  let rest = field ?? "";
  while (trim(rest) !== "") {
    const comma = isForwarded ? lastComma(rest) : rest.lastIndexOf(",");
    const element = trim(rest.slice(comma + 1));
    const hop = readNode(isForwarded ? forOf(element) : element);
    if (hop === "") return client;
    client = hop;
    if (!rules.trusted.has(client)) return client;
    rest = rest.slice(0, Math.max(comma, 0));
  }
  return client;
}
