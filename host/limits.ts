// What the operating system lets this process have.

import { readFileSync } from "node:fs";
import type { Options } from "./options/types";
import { mayRead } from "./permission";

/** Descriptors a process needs beside its connections: its files, pipes, the listener, epoll. */
const OTHER_DESCRIPTORS = 64;

const LIMITS = "/proc/self/limits";

/** File descriptors this process may open; Infinity where the system does not say. */
export function descriptorLimit(): number {
  if (!mayRead(LIMITS)) return Number.POSITIVE_INFINITY;
  try {
    const limits = readFileSync(LIMITS, "utf8");
    const soft = /^Max open files\s+(\d+|unlimited)/m.exec(limits)?.[1];
    return soft === undefined || soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft);
  } catch {
    // Not Linux.
    return Number.POSITIVE_INFINITY;
  }
}

/**
 * Fits the numbers of connections to the descriptors there are: defaults give way, what the caller asked for
 * is refused when it does not fit.
 * @param limit descriptors @throws RangeError with the arithmetic
 */
export function fitDescriptors(options: Options, defaults: FitDefaults, limit: number): Options {
  if (limit === Number.POSITIVE_INFINITY) return options;
  const room = limit - OTHER_DESCRIPTORS;
  const connections = options.maxConnections ?? Math.min(defaults.maxConnections, room >> 2);
  const webSockets = options.maxWebSockets ?? Math.min(defaults.maxWebSockets, room - connections);
  if (connections + webSockets <= room && connections > 0 && webSockets > 0) {
    return { ...options, maxConnections: connections, maxWebSockets: webSockets };
  }
  const name = options.maxWebSockets === undefined ? "maxConnections" : "maxWebSockets";
  throw new RangeError(
    `${name}: maxConnections ${connections} + maxWebSockets ${webSockets} + ${OTHER_DESCRIPTORS} others are more ` +
      `than the ${limit} file descriptors of this process (ulimit -n)`,
  );
}

interface FitDefaults {
  readonly maxConnections: number;
  readonly maxWebSockets: number;
}
