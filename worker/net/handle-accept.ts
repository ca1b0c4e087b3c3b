// Accepts connections as handles, from a listening server of node:net.
//
// Invariant: each handle that is accepted becomes one link, or is closed.

import type * as net from "node:net";
import { type Handle, type Handled, type ListeningHandle, lackOf, systemError } from "./handle";
import { HandleLink } from "./handle-link";
import type { Accept, KeepAlive } from "./transport";

/** The treatment of each connection of a listener. */
export interface Acceptance {
  /** Memory that the links read into. */
  readonly window: Uint8Array;
  readonly accept: Accept;
  readonly failed: (error: Error) => void;
  /** Called first with each connection's descriptor. */
  readonly taking: (fd: number) => void;
  readonly noDelay: boolean;
  /** TCP keep-alive probes; undefined: none are sent. */
  readonly keepAlive: KeepAlive | undefined;
}

/** Gives a connection to the pump, whichever thread has accepted it. */
export function adopt(handle: Handle, to: Acceptance): void {
  to.taking(handle.fd ?? -1);
  // Unix sockets have neither.
  if (to.noDelay) handle.setNoDelay?.(true);
  if (to.keepAlive) {
    const { idle, interval, count } = to.keepAlive;
    handle.setKeepAlive?.(true, idle, interval, count);
  }
  const link = new HandleLink(handle);
  const sink = to.accept(link);
  if (sink) link.begin(sink, to.window);
}

/**
 * Takes a listening server's connections over, before the event loop accepts the first one.
 * @returns false when its handle lacks a part, and nothing has changed
 */
export function takeOver(server: net.Server, to: Acceptance): boolean {
  const handle = (server as unknown as Handled)._handle as (Handle & ListeningHandle) | null;
  const isTcp = typeof server.address() !== "string";
  if (!handle || typeof handle.onconnection !== "function" || lackOf(handle, isTcp)) return false;
  handle.onconnection = (error, accepted) => {
    if (accepted) adopt(accepted, to);
    else to.failed(systemError("accept", error));
  };
  return true;
}
