// Normalizes origins (RFC 6454) and hosts for comparison: lower case, no default port, no dot at the end of a name,
// international names in ASCII.
//
// Invariant: two texts that mean the same origin, or the same host, have the same normalized form.

/** A host's name and port. */
interface HostParts {
  readonly name: string;
  /** The port in digits; "" when none is given. */
  readonly port: string;
}

const AUTHORITY = /^(\[[^\]]*\]|[^:[\]]+)(?::(\d{1,5})?)?$/;
const PLAIN = /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/;
const ORIGIN = /^([a-z][a-z0-9+.-]*):\/\/([^/?#@\\\s]+)$/;

/** Schemes that a server's own pages can have, with their default ports. */
const PORTS: Readonly<Record<string, string>> = { http: "80", https: "443" };

/** Returns a name as URLs write it (WHATWG URL 3.5); "" when it is not valid. */
function nameOf(text: string): string {
  const name = text.endsWith(".") ? text.slice(0, -1) : text;
  if (PLAIN.test(name) && !/^[0-9.]+$|^0x/.test(name)) return name;
  if (/[/?#@\\\s%]/.test(name)) return "";
  try {
    const { hostname } = new URL(`http://${name}`);
    return PLAIN.test(hostname) || hostname.startsWith("[") ? hostname : "";
  } catch {
    return "";
  }
}

/** Returns the host that a Host field names; undefined when it is not valid. */
export function hostOf(text: string): HostParts | undefined {
  const [, host = "", port = ""] = AUTHORITY.exec(text.toLowerCase()) ?? [];
  const name = nameOf(host);
  return name === "" || Number(port) > 65535
    ? undefined
    : { name, port: port === "" ? "" : String(Number(port)) };
}

/** Returns true for a name that is an address. */
export const isAddress = (name: string): boolean => name.startsWith("[") || /^[0-9.]+$/.test(name);

/** Returns the pattern that a name matches: `*.a.example` for `b.a.example`; "" for an address or a single label. */
export function patternOf(name: string): string {
  const dot = name.indexOf(".");
  return dot < 0 || isAddress(name) ? "" : `*${name.slice(dot)}`;
}

/** The parts of an origin. */
interface OriginParts extends HostParts {
  /** "http" or "https"; "" for any other scheme, and then `name` is the complete origin. */
  readonly scheme: string;
}

/** Returns the parts of an origin, without a default port; undefined when it is not valid. */
export function originOf(text: string): OriginParts | undefined {
  const lower = text.toLowerCase();
  if (lower === "null") return { scheme: "", name: lower, port: "" };
  const [, scheme = "", authority = ""] = ORIGIN.exec(lower) ?? [];
  if (scheme === "") return undefined;
  if (PORTS[scheme] === undefined) return { scheme: "", name: lower, port: "" };
  const host = hostOf(authority);
  return host && { scheme, name: host.name, port: host.port === PORTS[scheme] ? "" : host.port };
}

/** Returns an origin's normalized text. */
export function originText({ scheme, name, port }: OriginParts): string {
  return scheme === "" ? name : `${scheme}://${name}${port === "" ? "" : `:${port}`}`;
}

/** Returns the default port of a scheme; "" for an unknown one. */
export function portOf(scheme: string): string {
  return PORTS[scheme] ?? "";
}

// ---- what options list -------------------------------------------------------------------------------------

/** Reads the rest of a pattern without its "*.", and passes that prefix along. */
function throughPattern<T>(text: string, read: (text: string, star: string) => T): T {
  return text.startsWith("*.") ? read(text.slice(2), "*.") : read(text, "");
}

/** Normalizes a host of the option `hosts`; undefined when it is not valid. */
export function listedHost(word: string): string | undefined {
  if (word === "*") return word;
  return throughPattern(word, (rest, star) => {
    const host = hostOf(rest);
    if (!host || (star !== "" && isAddress(host.name))) return undefined;
    return `${star}${host.name}${host.port === "" ? "" : `:${host.port}`}`;
  });
}

/** Normalizes an origin of the option `origins`; undefined when it is not valid. */
export function listedOrigin(word: string): string | undefined {
  if (word === "*") return word;
  const [, scheme = "", rest = ""] = /^([^:/]+:\/\/)(.*?)\/?$/.exec(word) ?? [];
  // No page has an origin with ws: or wss:.
  if (/^wss?:/i.test(scheme)) return undefined;
  if (scheme === "") return word.toLowerCase() === "null" ? "null" : undefined;
  return throughPattern(rest, (authority, star) => {
    const origin = originOf(scheme + authority);
    if (!origin || (star !== "" && (origin.scheme === "" || isAddress(origin.name))))
      return undefined;
    return originText({ ...origin, name: star + origin.name });
  });
}
