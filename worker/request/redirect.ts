// The redirect of a listener without TLS: each request is answered with the same URL over TLS.
//
// Invariant: the host in Location is the one that the request names, in its normalized form, and the path begins with
// "/". So neither part can name another host, and no octet of the request can end the field.

import type { Request } from "../../host/handler";
import { hostOf } from "../../host/shared/text/origin";

/** A request of an ACME server that validates a name (RFC 8555 8.3). It expects a response without TLS. */
const CHALLENGE = /^\/\.well-known\/acme-challenge\/(?!\.{1,2}$)[\w.~-]*$/;

/** Returns true when a request is redirected instead of reaching the handler. */
export function isRedirected({ upgrade, path }: Request): boolean {
  return upgrade || !CHALLENGE.test(path);
}

/** Returns the target without scheme and authority, with every octet that a URL must not have escaped. */
function pathOf({ url, path, query }: Request): string {
  const target = url.startsWith("/") ? url : `${path}${query === "" ? "" : `?${query}`}`;
  // OPTIONS may ask about the server itself, which no URL names.
  if (!target.startsWith("/")) return "/";
  return target.replace(/[^!-~]/g, (octet) => {
    return `%${octet.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
  });
}

/** Returns the URL that a request is redirected to; undefined when it names no valid host. */
export function httpsUrl(request: Request, port: number): string | undefined {
  const host = hostOf(request.host);
  return host && `https://${host.name}${port === 443 ? "" : `:${port}`}${pathOf(request)}`;
}
