// Listeners as flags: `--listen` for several of them, and the options that only entries of `listen` have.
//
// Invariant: without these flags there is no `listen`, and the other flags describe the one listener.

import type { ListenerOptions } from "../options/types";
import { type Flag, type Given, textOf } from "./flags";
import { UsageError } from "./values";

const FORMS = "http://HOST:PORT, https://HOST:PORT, unix:FILE or fd:N";

export const LISTENER_FLAGS: readonly Flag[] = [
  {
    name: "listen",
    value: "WHERE",
    isList: true,
    text:
      `A listener, instead of port, hostname, path and fd: ${FORMS}. https needs --tls-key and --tls-cert. Options ` +
      "of listeners, such as --backlog, hold for all.",
  },
  { name: "redirect", text: "Redirect requests without TLS to the first https listener (308)." },
  { name: "mode", value: "OCTAL", text: "Permissions of Unix sockets' files, such as 660." },
];

/** Flags that describe the one listener, which `--listen` replaces. */
const ONE = ["port", "hostname", "path", "fd"];

/** Returns where a listener listens. @throws UsageError for a text that says no such place */
function whereOf(text: string): { readonly where: ListenerOptions; readonly isSecure: boolean } {
  const [, kind, rest = ""] = /^(unix|fd):(.+)$/.exec(text) ?? [];
  if (kind === "unix") return { where: { path: rest }, isSecure: false };
  if (kind === "fd") return { where: { fd: Number(rest) }, isSecure: false };
  const url =
    /^https?:\/\/[^/?#@]+\/?$/.test(text) && URL.canParse(text) ? new URL(text) : undefined;
  if (!url) throw new UsageError(`--listen: ${text} is not ${FORMS}`);
  const isSecure = url.protocol === "https:";
  const hostname = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const port = url.port === "" ? (isSecure ? 443 : 80) : Number(url.port);
  return { where: { hostname, port }, isSecure };
}

/** Returns the octal number of a flag. @throws UsageError */
function modeOf(given: Given): number | undefined {
  const text = textOf(given, "mode");
  if (text === undefined) return undefined;
  if (!/^(?:0o)?[0-7]{1,4}$/.test(text))
    throw new UsageError(`--mode: ${text} is not an octal number such as 660`);
  return Number.parseInt(text.replace("0o", ""), 8);
}

/**
 * Returns the entries of `listen`; undefined when the flags describe one listener without them.
 * @param one the listener that the other flags describe
 * @throws UsageError naming the flag
 */
export function listenersOf(given: Given, one: ListenerOptions): ListenerOptions[] | undefined {
  const texts = given.get("listen");
  const mode = modeOf(given);
  const redirects = given.get("redirect") === true;
  if (!Array.isArray(texts) && mode === undefined && !redirects) return undefined;
  let all = [one];
  if (Array.isArray(texts)) {
    const beside = ONE.find((name) => given.has(name));
    if (beside) throw new UsageError(`--listen: excludes --${beside}; give another --listen`);
    const { port: _, hostname: __, path: ___, fd: ____, tls, ...shared } = one;
    all = texts.map((text) => {
      const { where, isSecure } = whereOf(text);
      if (isSecure && !tls)
        throw new UsageError(`--listen: ${text} needs --tls-key and --tls-cert`);
      return { ...shared, ...where, ...(isSecure && tls ? { tls } : {}) };
    });
    if (tls && !all.some((entry) => entry.tls))
      throw new UsageError("--tls-key: no listener is https://HOST:PORT");
  }
  if (mode !== undefined && !all.some(({ path }) => path !== undefined))
    throw new UsageError("--mode: no listener is a Unix socket");
  return all.map((entry) => {
    const isUnix = entry.path !== undefined;
    return {
      ...entry,
      ...(isUnix && mode !== undefined ? { mode } : {}),
      ...(redirects && !isUnix ? { redirect: "https" as const } : {}),
    };
  });
}
