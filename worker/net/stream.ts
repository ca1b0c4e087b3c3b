// Writes to Node's streams, on Node, Deno and Bun: connections that use sockets, and upstreams.

import type { Duplex } from "node:stream";

const EMPTY = new Uint8Array(0);

/** Deno fails an empty write over TLS with EPERM when bytes arrive meanwhile. Its writes never complete on return. */
const isDeno = "deno" in process.versions;

/**
 * Writes bytes, which the stream holds until the write completes.
 * @param written called when it completes later, or with the error by which the stream fails
 * @returns true when the write is complete on return; then `written` is not called
 */
export function writeTo(
  stream: Duplex,
  bytes: Uint8Array,
  written: (error?: Error | null) => void,
): boolean {
  if (isDeno) {
    stream.write(bytes, written);
    return false;
  }
  stream.write(bytes);
  if (stream.writableLength === 0) return true;
  // Its callback is the completion, so that a write which is complete on return costs none.
  stream.write(EMPTY, written);
  return false;
}

/**
 * Returns true between the last byte that the kernel accepted and its FIN. A reset is refused then (EINVAL), and the
 * handle that requested it is never closed. It leaks, and the worker that holds it cannot be ended.
 */
export function isShuttingDown(stream: Duplex): boolean {
  return stream.writableEnded && stream.writableLength === 0 && !stream.writableFinished;
}
