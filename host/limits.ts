// The operating system's limits for this process.

import { readFileSync } from "node:fs";
import type { Options } from "./options/types";
import { type Reaching, besideFor } from "./options/upstream";
import { mayRead } from "./permission";

/** Descriptors reserved for the rest of the process: its files, pipes, the listener, epoll. */
const OTHER_DESCRIPTORS = 64;

const LIMITS = "/proc/self/limits";

/** Returns how many file descriptors this process may open; Infinity when the system does not report it. */
export function descriptorLimit(): number {
  if (!mayRead(LIMITS)) return Number.POSITIVE_INFINITY;
  try {
    const limits = readFileSync(LIMITS, "utf8");
    const soft = /^Max open files\s+(\d+|unlimited)/m.exec(limits)?.[1];
    return soft === undefined || soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft);
  } catch {
    // The file exists on Linux only.
    return Number.POSITIVE_INFINITY;
  }
}

/**
 * Fits the numbers of connections to the available descriptors. Defaults are reduced. Numbers that the caller gave are
 * refused when they do not fit.
 * @param settings those of the options @param limit number of descriptors
 * @throws RangeError with the arithmetic in its message
 */
export function fitDescriptors(
  options: Options,
  settings: Reaching & { readonly values: FitDefaults },
  limit: number,
): Options {
  if (limit === Number.POSITIVE_INFINITY) return options;
  const room = limit - OTHER_DESCRIPTORS;
  const connections = options.maxConnections ?? Math.min(settings.values.maxConnections, room >> 2);
  const beside = besideFor(settings, connections);
  const left = room - connections - beside;
  const webSockets = options.maxWebSockets ?? Math.min(settings.values.maxWebSockets, left);
  if (webSockets <= left && connections > 0 && webSockets > 0) {
    return { ...options, maxConnections: connections, maxWebSockets: webSockets };
  }
  const name = options.maxWebSockets === undefined ? "maxConnections" : "maxWebSockets";
  const more = beside > 0 ? ` + ${beside} for mounts and the upstream of raw` : "";
  throw new RangeError(
    `${name}: maxConnections ${connections} + maxWebSockets ${webSockets}${more} + ${OTHER_DESCRIPTORS} others are ` +
      `more than the ${limit} file descriptors of this process (ulimit -n)`,
  );
}

interface FitDefaults {
  readonly maxConnections: number;
  readonly maxWebSockets: number;
}
