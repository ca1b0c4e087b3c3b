// Who may connect: the Origin of an upgrade (RFC 6455 4.2.2, RFC 6454) and the Host of any request.

/** What is allowed. */
export interface OriginRules {
  /** undefined: the page's own origin alone; else these, "*" for any. */
  readonly origins?: readonly string[] | undefined;
  /** Refuse upgrades without an Origin: clients that are not browsers. */
  readonly requireOrigin?: boolean;
  /** Hosts a request may name, with or without port; empty: any. Guards against DNS rebinding. */
  readonly hosts?: readonly string[];
}

const DEFAULT_PORTS: Readonly<Record<string, string>> = {
  "http:": ":80",
  "https:": ":443",
  "ws:": ":80",
  "wss:": ":443",
};

/** Host and port of an origin, the port its scheme implies included; "" for one that is none. */
function authorityOf(origin: string): string {
  try {
    const { protocol, host, port } = new URL(origin);
    return port === "" ? `${host}${DEFAULT_PORTS[protocol] ?? ""}` : host;
  } catch {
    return "";
  }
}

/** Host and port that a Host field means, given the scheme of the origin it is compared with. */
function withPort(host: string, origin: string): string {
  const scheme = origin.slice(0, origin.indexOf(":") + 1).toLowerCase();
  const lower = host.toLowerCase();
  return /:\d+$/.test(lower) ? lower : `${lower.replace(/:$/, "")}${DEFAULT_PORTS[scheme] ?? ""}`;
}

/** True when an upgrade with this Origin may go on. */
export function isOriginAllowed(
  origin: string | undefined,
  host: string,
  rules: OriginRules,
): boolean {
  if (origin === undefined) return !rules.requireOrigin;
  const { origins } = rules;
  if (origins) return origins.includes("*") || origins.includes(origin.toLowerCase());
  const authority = authorityOf(origin);
  return authority !== "" && authority === withPort(host, origin);
}

/** True when a request may name this host. */
export function isHostAllowed(host: string, rules: OriginRules): boolean {
  const { hosts } = rules;
  if (!hosts || hosts.length === 0) return true;
  const lower = host.toLowerCase();
  return hosts.includes(lower) || hosts.includes(lower.replace(/:\d*$/, ""));
}
