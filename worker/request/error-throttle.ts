// Limits reports of errors that may occur thousands of times, such as errors of accepting. The first error is reported
// at once. Later ones are only counted, and the count is added to the next report.

import { describe, errorOf } from "../../host/shared/result";

/** Number of different subjects that are reported; beyond it none is. A client can cause any number of them. */
const TOLD_LIMIT = 16;

/** Reports each subject once, and a limited number in all. */
export class Once {
  readonly #told = new Set<string>();
  readonly #tell: (text: string) => void;

  constructor(tell: (text: string) => void) {
    this.#tell = tell;
  }

  /**
   * @param thing the subject, of which only the first is reported
   * @param text the report
   */
  add(thing: string, text: string): void {
    if (this.#told.size >= TOLD_LIMIT || this.#told.has(thing)) return;
    this.#told.add(thing);
    const last =
      this.#told.size === TOLD_LIMIT ? "; further ones are counted and not reported" : "";
    this.#tell(text + last);
  }
}

/** Time (ms) after a report within which further errors are only counted. */
const QUIET = 10000;

export class Complaints {
  readonly #tell: (error: Error) => void;
  readonly #now: () => number;
  #last = Number.NEGATIVE_INFINITY;
  #untold = 0;

  /** @param now monotonic ms */
  constructor(now: () => number, tell: (error: Error) => void) {
    this.#now = now;
    this.#tell = tell;
  }

  add(error: Error): void {
    const now = this.#now();
    if (now - this.#last < QUIET) {
      this.#untold++;
      return;
    }
    const more = this.#untold > 0 ? ` (and ${this.#untold} more before it)` : "";
    this.#last = now;
    this.#untold = 0;
    // The report is a new error, because this one may be frozen, or reported elsewhere.
    const { message, ...told } = describe(error);
    this.#tell(more === "" ? error : errorOf({ ...told, message: message + more }, error));
  }
}
