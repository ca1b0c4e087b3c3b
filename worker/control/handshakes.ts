// Failed TLS handshakes, reported in batches.
//
// Invariant: there is at most one report a second, and it names at most ten clients, because anyone can cause failed
// handshakes without end.

import type { FailedHandshake } from "../../host/options/types";
import { describe } from "../../host/shared/result";

/** Time (ms) from the first failure to the report. */
const DELAY = 1000;
/** Clients that a report names. Others are only counted. */
const NAMED = 10;
/** Characters kept of a code or reason. */
const SHOWN = 200;

/** Returns OpenSSL's reason for an error, which names the alert that was received; else the error's message. */
function reasonOf(error: Error): string {
  const { reason } = error as { reason?: unknown };
  return typeof reason === "string" ? reason : describe(error).message;
}

export class Handshakes {
  readonly #after: (ms: number, fn: () => void) => unknown;
  readonly #report: (count: number, clients: readonly FailedHandshake[]) => void;
  #count = 0;
  #clients: FailedHandshake[] = [];

  /** @param after runs a function after some ms */
  constructor(
    after: (ms: number, fn: () => void) => unknown,
    report: (count: number, clients: readonly FailedHandshake[]) => void,
  ) {
    this.#after = after;
    this.#report = report;
  }

  /** Notes a failed handshake. @param error undefined: the client left */
  add(remoteAddress: string, error: Error | undefined): void {
    this.#count++;
    if (this.#clients.length < NAMED) {
      const code = String(error ? (describe(error).code ?? "") : "ECONNRESET").slice(0, SHOWN);
      const reason = error ? reasonOf(error).slice(0, SHOWN) : "the client left";
      this.#clients.push({ remoteAddress, code, reason });
    }
    if (this.#count === 1) this.#after(DELAY, () => this.#flush());
  }

  #flush(): void {
    const clients = this.#clients;
    const count = this.#count;
    this.#clients = [];
    this.#count = 0;
    this.#report(count, clients);
  }
}
