// Reads the address of an upstream: a TCP address or a Unix socket.

import type { UpstreamAddress } from "../../worker/net/transport";
import { show } from "../shared/text/show";
import type { ListenerSettings } from "./listen";
import { isHost, readSocketPath } from "./read";
import type { MountSettings } from "./site/mounts";

/** An upstream, as plain data that can be sent to a worker. */
export interface UpstreamSettings {
  /** Its name in logs: the text of the option. */
  readonly name: string;
  readonly address: UpstreamAddress;
}

const FORMS = '"host:port", "[::1]:port" or the absolute path of a Unix socket';

/** Returns the host, without the brackets of an IPv6 address, and the port; undefined: the text has another form. */
function partsOf(text: string): { readonly host: string; readonly port: string } | undefined {
  const [, address, name, port = ""] = /^(?:\[([^[\]]+)\]|([^:]+)):(\d+)$/.exec(text) ?? [];
  const host = address ?? name ?? "";
  // An IPv6 address has brackets, and nothing else has.
  return isHost(host) && host.includes(":") === (address !== undefined)
    ? { host, port }
    : undefined;
}

/** Checks an upstream. @throws TypeError, RangeError naming the option, the value and the forms that are allowed */
export function readUpstream(name: string, value: unknown): UpstreamSettings | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "string") throw new TypeError(`${name}: ${show(value)} is not ${FORMS}`);
  if (value.startsWith("/")) return { name: value, address: { path: readSocketPath(name, value) } };
  const parts = partsOf(value);
  if (!parts) throw new TypeError(`${name}: ${show(value)} is not ${FORMS}`);
  const port = Number(parts.port);
  if (port < 1 || port > 65535) {
    const shown = show(parts.port);
    throw new RangeError(`${name}: ${show(value)} has port ${shown}, which is not from 1 to 65535`);
  }
  return { name: value, address: { host: parts.host, port } };
}

/** Addresses that all lead to this machine, of an upstream and of a listener. */
const LOCAL = new Set(["127.0.0.1", "::1", "localhost", "0.0.0.0", "::"]);

/** Refuses an upstream that is a listener of the server itself, which would hand each connection to itself. */
export function refuseOwn(
  { name, address }: UpstreamSettings,
  listeners: readonly ListenerSettings[],
): void {
  const isOwn = ({ options: { path, fd, hostname, port } }: ListenerSettings): boolean => {
    if ("path" in address || path !== undefined) return "path" in address && address.path === path;
    const isSame = address.host === hostname || (LOCAL.has(address.host) && LOCAL.has(hostname));
    return fd === undefined && address.port === port && isSame;
  };
  if (listeners.some(isOwn))
    throw new TypeError(`raw: ${show(name)} is a listener of this server, not an upstream`);
}

/** Most idle connections to the backends of all mounts together that are kept for further requests. */
const IDLE = 256;

/** The settings that need descriptors beside those of clients. */
export interface Reaching {
  readonly raw?: unknown;
  readonly mounts?: readonly (readonly Pick<MountSettings, "kind">[] | undefined)[] | undefined;
}

/** Returns the number of idle connections that each backend may keep. */
export function idleFor({ mounts = [] }: Reaching, maxConnections: number): number {
  const proxies = mounts.flatMap((list) => list ?? []).filter(({ kind }) => kind === "proxy");
  return Math.max(1, Math.floor(Math.min(IDLE, maxConnections) / Math.max(1, proxies.length)));
}

/**
 * Returns the number of descriptors beside those of clients. A connection has at most one of them at a time: the file
 * that it is sent, its connection to a backend, or, for half of the connections, to the upstream of `raw`. Beside them
 * there are the archives, and idle connections to backends.
 */
export function besideFor(settings: Reaching, maxConnections: number): number {
  const kinds = (settings.mounts ?? []).flatMap((list) => list ?? []).map(({ kind }) => kind);
  const count = (kind: MountSettings["kind"]): number => kinds.filter((one) => one === kind).length;
  const isAny = count("files") > 0 || count("proxy") > 0;
  const half = settings.raw === undefined ? 0 : Math.ceil(maxConnections / 2);
  const idle = count("proxy") * idleFor(settings, maxConnections);
  return (isAny ? maxConnections : half) + idle + count("zip");
}
