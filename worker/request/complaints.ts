// Errors that may come by the thousand, such as those of accepting: the first is told at once, of those that follow
// only how many there were, when the next is due.

import { describe, errorOf } from "../../host/shared/result";

/** Different things that are told of; a stranger can bring up any number of them. */
const TOLD_LIMIT = 16;

/** Tells of each thing once, and of so many in all. */
export class Once {
  readonly #told = new Set<string>();
  readonly #tell: (text: string) => void;

  constructor(tell: (text: string) => void) {
    this.#tell = tell;
  }

  /** @param thing what is told of once @param text what is told of it */
  add(thing: string, text: string): void {
    if (this.#told.size >= TOLD_LIMIT || this.#told.has(thing)) return;
    this.#told.add(thing);
    const last =
      this.#told.size === TOLD_LIMIT ? "; further ones are counted and not reported" : "";
    this.#tell(text + last);
  }
}

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
