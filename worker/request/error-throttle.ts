// Limits reports of errors that may occur thousands of times, such as errors of accepting. The first error is reported
// at once. Later ones are only counted, and the count is added to the next report.

import { describe, errorOf } from "../../host/shared/result";

/** Number of different subjects that are reported; beyond it none is. A client can cause any number of them. */
const REPORT_LIMIT = 16;

/** Reports each subject once, and a limited number in all. */
export class Once {
  readonly #reported = new Set<string>();
  readonly #report: (text: string) => void;

  constructor(report: (text: string) => void) {
    this.#report = report;
  }

  /**
   * @param thing the subject, of which only the first is reported
   * @param text the report
   */
  add(thing: string, text: string): void {
    if (this.#reported.size >= REPORT_LIMIT || this.#reported.has(thing)) return;
    this.#reported.add(thing);
    const last =
      this.#reported.size === REPORT_LIMIT ? "; further ones are counted and not reported" : "";
    this.#report(text + last);
  }
}

/** Time (ms) after a report within which further errors are only counted. */
const QUIET = 10000;

export class ErrorThrottle {
  readonly #report: (error: Error) => void;
  readonly #now: () => number;
  #last = Number.NEGATIVE_INFINITY;
  #suppressed = 0;

  /** @param now monotonic ms */
  constructor(now: () => number, report: (error: Error) => void) {
    this.#now = now;
    this.#report = report;
  }

  add(error: Error): void {
    const now = this.#now();
    if (now - this.#last < QUIET) {
      this.#suppressed++;
      return;
    }
    const more = this.#suppressed > 0 ? ` (and ${this.#suppressed} more before it)` : "";
    this.#last = now;
    this.#suppressed = 0;
    // The report is a new error, because this one may be frozen, or reported elsewhere.
    const { message, ...data } = describe(error);
    this.#report(more === "" ? error : errorOf({ ...data, message: message + more }, error));
  }
}
