// Origins (RFC 6454) and hosts in the one form in which they are compared: lower case, without a default port, without
// the dot at the end of a name, international names in their ASCII form.
//
// Invariant: two texts that mean the same origin, or the same host, have the same form.

/** A host's name, and its port where one is given. */
export interface HostParts {
  readonly name: string;
  /** Digits; "" when there is none. */
  readonly port: string;
}

const AUTHORITY = /^(\[[^\]]*\]|[^:[\]]+)(?::(\d{1,5})?)?$/;
const PLAIN = /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/;
const ORIGIN = /^([a-z][a-z0-9+.-]*):\/\/([^/?#@\\\s]+)$/;

/** Schemes of pages that a server can have of its own, and their ports. */
const PORTS: Readonly<Record<string, string>> = { http: "80", https: "443" };

/** A name as URLs have it (WHATWG URL 3.5); "" when it is not one. */
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

/** The host that a Host field names; undefined when it is not one. */
export function hostOf(text: string): HostParts | undefined {
  const [, host = "", port = ""] = AUTHORITY.exec(text.toLowerCase()) ?? [];
  const name = nameOf(host);
  return name === "" || Number(port) > 65535
    ? undefined
    : { name, port: port === "" ? "" : String(Number(port)) };
}

const isAddress = (name: string): boolean => name.startsWith("[") || /^[0-9.]+$/.test(name);

/** `*.a.example` for `b.a.example`: the pattern that it matches. "" for an address, and for a name of one label. */
export function patternOf(name: string): string {
  const dot = name.indexOf(".");
  return dot < 0 || isAddress(name) ? "" : `*${name.slice(dot)}`;
}

/** An origin in parts. */
export interface OriginParts extends HostParts {
  /** "http" or "https"; "" for every other scheme, whose `name` is all of it. */
  readonly scheme: string;
}

/** The parts of an origin; its port is never a default one. undefined when it is not an origin. */
export function originOf(text: string): OriginParts | undefined {
  const lower = text.toLowerCase();
  if (lower === "null") return { scheme: "", name: lower, port: "" };
  const [, scheme = "", authority = ""] = ORIGIN.exec(lower) ?? [];
  if (scheme === "") return undefined;
  if (PORTS[scheme] === undefined) return { scheme: "", name: lower, port: "" };
  const host = hostOf(authority);
  return host && { scheme, name: host.name, port: host.port === PORTS[scheme] ? "" : host.port };
}

/** The form of an origin. */
export function originText({ scheme, name, port }: OriginParts): string {
  return scheme === "" ? name : `${scheme}://${name}${port === "" ? "" : `:${port}`}`;
}

/** The port that a scheme implies. */
export function portOf(scheme: string): string {
  return PORTS[scheme] ?? "";
}

// ---- what options list -------------------------------------------------------------------------------------

/** Cuts the star and dot off a pattern, and puts them before what is made of the rest. */
function throughPattern<T>(text: string, read: (text: string, star: string) => T): T {
  return text.startsWith("*.") ? read(text.slice(2), "*.") : read(text, "");
}

/** A host of the option `hosts` in the form in which it is compared; undefined when it is not one. */
export function listedHost(word: string): string | undefined {
  if (word === "*") return word;
  return throughPattern(word, (rest, star) => {
    const host = hostOf(rest);
    if (!host || (star !== "" && isAddress(host.name))) return undefined;
    return `${star}${host.name}${host.port === "" ? "" : `:${host.port}`}`;
  });
}

/** An origin of the option `origins` in the form in which it is compared; undefined when it is not one. */
export function listedOrigin(word: string): string | undefined {
  if (word === "*") return word;
  const [, scheme = "", rest = ""] = /^([^:/]+:\/\/)(.*?)\/?$/.exec(word) ?? [];
  // Pages are never at ws: or wss:.
  if (/^wss?:/i.test(scheme)) return undefined;
  if (scheme === "") return word.toLowerCase() === "null" ? "null" : undefined;
  return throughPattern(rest, (authority, star) => {
    const origin = originOf(scheme + authority);
    if (!origin || (star !== "" && (origin.scheme === "" || isAddress(origin.name))))
      return undefined;
    return originText({ ...origin, name: star + origin.name });
  });
}
