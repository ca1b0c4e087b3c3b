// Who may connect: the Origin of an upgrade (RFC 6455 4.2.2, RFC 6454) and the Host of any request.

import { hostOf, originOf, originText, patternOf, portOf } from "../../host/shared/text/origin";

/** What is allowed. */
export interface OriginRules {
  /** undefined: the page's own origin alone; else these, as `listedOrigin` has them, "*" for any. */
  readonly origins?: readonly string[] | undefined;
  /** Refuse upgrades without an Origin: clients that are not browsers. */
  readonly requireOrigin?: boolean;
  /** Hosts a request may name, as `listedHost` has them, "*" for any; empty: any. Guards against DNS rebinding. */
  readonly hosts?: readonly string[];
  /** The listener speaks TLS. */
  readonly secure?: boolean;
}

/**
 * True when an upgrade with this Origin may go on. A page's own origin is that of the host it asks: of https: over TLS,
 * else also of http:, since a proxy in front may be the one that speaks TLS. Others have to be listed.
 */
export function isOriginAllowed(
  origin: string | undefined,
  host: string,
  rules: OriginRules,
): boolean {
  if (origin === undefined) return !rules.requireOrigin;
  const { origins, secure } = rules;
  if (origins?.includes("*")) return true;
  const parts = originOf(origin);
  if (!parts) return false;
  const { scheme, name } = parts;
  if (origins) {
    if (origins.includes(originText(parts))) return true;
    return scheme !== "" && origins.includes(originText({ ...parts, name: patternOf(name) }));
  }
  if (scheme === "" || (secure && scheme !== "https")) return false;
  const own = hostOf(host);
  const port = own?.port === portOf(scheme) ? "" : own?.port;
  return own?.name === name && port === parts.port;
}

/**
 * True when a request may name this host. A host that is listed with a port is meant, too, when that is the default one
 * and the request names none; without TLS that may be 443, of a proxy in front.
 */
export function isHostAllowed(host: string, rules: OriginRules): boolean {
  const { hosts, secure } = rules;
  if (!hosts || hosts.length === 0 || hosts.includes("*")) return true;
  const parts = hostOf(host);
  if (!parts) return false;
  const { name, port } = parts;
  const ports = port !== "" ? [port] : secure ? ["443"] : ["80", "443"];
  return [name, patternOf(name)].some(
    (one) => hosts.includes(one) || ports.some((number) => hosts.includes(`${one}:${number}`)),
  );
}
