// Upstreams that could not be reached, reported in batches.
//
// Invariant: there is at most one report a second, with one entry for each upstream, because clients can cause failures
// without end.

import type { FailedUpstream } from "../../host/options/types";
import { describe } from "../../host/shared/result";

/** Time (ms) from the first failure to the report. */
const DELAY = 1000;
/** Characters kept of a code or reason. */
const SHOWN = 200;

export class Upstreams {
  readonly #after: (ms: number, fn: () => void) => unknown;
  readonly #report: (failures: readonly FailedUpstream[]) => void;
  #failures = new Map<string, FailedUpstream>();

  /** @param after runs a function after some ms */
  constructor(
    after: (ms: number, fn: () => void) => unknown,
    report: (failures: readonly FailedUpstream[]) => void,
  ) {
    this.#after = after;
    this.#report = report;
  }

  /** Notes a failure. @param error undefined: the upstream did not answer in time */
  add(upstream: string, error: Error | undefined): void {
    if (this.#failures.size === 0) this.#after(DELAY, () => this.#flush());
    const { code, message } = describe(error ?? new Error("it did not answer in time"));
    const count = (this.#failures.get(upstream)?.count ?? 0) + 1;
    this.#failures.set(upstream, {
      upstream,
      count,
      code: String(code ?? (error ? "" : "ETIMEDOUT")).slice(0, SHOWN),
      reason: message.slice(0, SHOWN),
    });
  }

  #flush(): void {
    const failures = [...this.#failures.values()];
    this.#failures = new Map();
    this.#report(failures);
  }
}
