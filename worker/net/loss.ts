// Why a connection was lost, from the error that the transport reports.

import { CloseReason } from "../../assembly/abi";

/** Codes of the system's errors that the client causes: it reset the connection, or broke TLS. */
const CLIENT_ERRORS: ReadonlySet<unknown> = new Set(["ECONNRESET", "EPIPE", "EPROTO"]);

/**
 * Returns the cause of a loss. Any other error of the system (ETIMEDOUT, EHOSTUNREACH, ENETDOWN, …) is the network's.
 * An error without a code of the system says no more than that the client has gone.
 */
export function lossOf(error: Error | undefined): CloseReason {
  const { code } = (error ?? {}) as { readonly code?: unknown };
  const isSystem = typeof code === "string" && /^E[A-Z]+$/.test(code);
  return isSystem && !CLIENT_ERRORS.has(code) ? CloseReason.NetworkError : CloseReason.PeerReset;
}
