// Negotiates permessage-deflate (RFC 7692) from a Sec-WebSocket-Extensions field (RFC 6455 9.1), and checks the grammar
// of the list of subprotocols.
//
// The server always answers server_no_context_takeover and client_no_context_takeover. Each message is compressed on
// its own, so a broadcast is compressed once for all clients, and a client costs no context.

import { TOKEN, TOKEN_CHARS } from "../../host/shared/text/token";

/** The largest window, with which broadcasts are compressed. */
export const WINDOW_BITS = 15;

/** The negotiated parameters. */
interface Agreement {
  /** The field of the 101. */
  readonly field: string;
  /** Window size of messages to this client, 8 … 15. */
  readonly windowBits: number;
}

type Param = readonly [name: string, value: string | undefined];

interface Offer {
  readonly name: string;
  readonly params: readonly Param[];
}

/** Matches the token that a text begins with. */
const FIRST_TOKEN = new RegExp(`^${TOKEN_CHARS}+`);

/** Returns true for 1#token without repetition, the value of a Sec-WebSocket-Protocol field (RFC 6455 4.1, 11.3.4). */
export function isProtocolList(value: string): boolean {
  const names = value.split(/[ \t]*,[ \t]*/).filter(Boolean);
  const isToken = (name: string): boolean => TOKEN.test(name);
  return names.length > 0 && names.every(isToken) && new Set(names).size === names.length;
}

/** Parses a field value by its grammar. @returns undefined when it does not follow the grammar */
function parseExtensions(value: string): Offer[] | undefined {
  const offers: Offer[] = [];
  let rest = value;
  const blank = (): void => {
    rest = rest.replace(/^[ \t]+/, "");
  };
  const token = (): string | undefined => {
    blank();
    const found = FIRST_TOKEN.exec(rest)?.[0];
    if (found !== undefined) rest = rest.slice(found.length);
    blank();
    return found;
  };
  const quoted = (): string | undefined => {
    // RFC 6455 9.1: the value of a quoted-string must be a token too.
    const found = /^"((?:[^"\\]|\\.)*)"/.exec(rest);
    if (!found) return undefined;
    rest = rest.slice(found[0].length);
    blank();
    const text = (found[1] as string).replace(/\\(.)/g, "$1");
    return TOKEN.test(text) ? text : undefined;
  };
  for (;;) {
    blank();
    if (rest.startsWith(",")) {
      // Empty elements of a list are ignored (RFC 9110 5.6.1).
      rest = rest.slice(1);
      continue;
    }
    if (rest === "") return offers.length > 0 ? offers : undefined;
    const name = token();
    if (name === undefined) return undefined;
    const params: Param[] = [];
    while (rest.startsWith(";")) {
      rest = rest.slice(1);
      const param = token();
      if (param === undefined) return undefined;
      let set: string | undefined;
      if (rest.startsWith("=")) {
        rest = rest.slice(1);
        blank();
        set = rest.startsWith('"') ? quoted() : token();
        if (set === undefined) return undefined;
      }
      params.push([param, set]);
    }
    if (rest !== "" && !rest.startsWith(",")) return undefined;
    offers.push({ name, params });
  }
}

/** Returns a window size as RFC 7692 7.1.2 spells it: 8 … 15 without leading zero; NaN for anything else. */
function windowOf(value: string | undefined): number {
  return value !== undefined && /^([89]|1[0-5])$/.test(value) ? Number(value) : Number.NaN;
}

/** Checks one offer. @returns undefined when it must be declined (RFC 7692 7.1) */
function judge(params: readonly Param[]): Agreement | undefined {
  const seen = new Set<string>();
  let windowBits = WINDOW_BITS;
  let asked = false;
  for (const [name, value] of params) {
    if (seen.has(name)) return undefined;
    seen.add(name);
    switch (name) {
      case "server_no_context_takeover":
      case "client_no_context_takeover":
        if (value !== undefined) return undefined;
        break;
      case "server_max_window_bits":
        windowBits = windowOf(value);
        asked = true;
        if (Number.isNaN(windowBits)) return undefined;
        break;
      case "client_max_window_bits":
        if (value !== undefined && Number.isNaN(windowOf(value))) return undefined;
        break;
      default:
        return undefined;
    }
  }
  const window = asked ? `; server_max_window_bits=${windowBits}` : "";
  const field = `permessage-deflate; server_no_context_takeover; client_no_context_takeover${window}`;
  return { field, windowBits };
}

/**
 * Chooses a client's first offer that can be accepted.
 * @returns undefined: none, so nothing is compressed; "malformed": the field breaks its grammar
 */
export function negotiate(value: string): Agreement | undefined | "malformed" {
  const offers = parseExtensions(value);
  if (!offers) return "malformed";
  for (const { name, params } of offers) {
    if (name.toLowerCase() !== "permessage-deflate") continue;
    const agreement = judge(params);
    if (agreement) return agreement;
  }
  return undefined;
}
