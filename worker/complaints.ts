// Errors that may come by the thousand, such as those of accepting: the first is told at once, of those that follow
// only how many there were, when the next is due.

import { describe, errorOf } from "../host/result";

/** ms within which only the first is told. */
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
    // Another error: this one may be frozen, or told elsewhere.
    const { message, ...told } = describe(error);
    this.#tell(more === "" ? error : errorOf({ ...told, message: message + more }, error));
  }
}
