// Checks the Origin of an upgrade (RFC 6455 4.2.2, RFC 6454) and the Host of any request.

import { hostOf, originOf, originText, patternOf, portOf } from "../../host/shared/text/origin";

/** The allowed origins and hosts. */
export interface OriginRules {
  /** Origins in the form of `listedOrigin`, "*" for any; undefined: only the page's own origin. */
  readonly origins?: readonly string[] | undefined;
  /** Whether upgrades without an Origin are refused. Clients other than browsers send none. */
  readonly requireOrigin?: boolean;
  /**
   * Hosts that a request may name, in the form of `listedHost`, "*" for any; empty: any. Guards against DNS rebinding.
   */
  readonly hosts?: readonly string[];
  /** Whether the connection uses TLS. */
  readonly secure?: boolean;
}

/**
 * Returns true when an upgrade with this Origin is allowed. A page's own origin is that of the requested host. With TLS
 * its scheme must be https:. Without TLS it may be http: or https:, since a proxy in front may use TLS. Other origins
 * must be listed.
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
 * Returns true when a request may name this host. A host that is listed with a port also matches a request without a
 * port when the listed port is the default one. Without TLS that includes 443, the port of a proxy in front.
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
