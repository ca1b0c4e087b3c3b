// Limits the bytes of a streamed body that a handler in another thread sends before the worker has asked for them.
//
// Invariant: a piece is sent only while bytes are granted, and may exceed them. Before the worker has asked, only as
// many bytes are sent as usually leave together with the head.

/** Bytes that are sent before the worker asks. */
export const UNASKED_BYTES = 3072;

export class Grant {
  #left = UNASKED_BYTES;
  #isAsked = false;
  #isRefused = false;

  /** Returns true when a piece may be sent, which `take` then counts. */
  allows(bytes: number): boolean {
    const isAllowed = this.#isAsked ? this.#left > 0 : bytes <= this.#left;
    if (!isAllowed) this.#isRefused = true;
    return isAllowed;
  }

  take(bytes: number): void {
    this.#left -= bytes;
  }

  /** The worker asks for bytes. @returns true when a piece was refused since it last asked */
  give(bytes: number): boolean {
    this.#isAsked = true;
    this.#left = Math.max(0, this.#left) + bytes;
    const isDue = this.#isRefused;
    this.#isRefused = false;
    return isDue;
  }
}
