// A streamed body whose handler runs in another thread, as the worker's supply sees it. The worker asks the thread for
// bytes when the client has taken everything before, so a client that does not read costs a piece at most.
//
// Invariant: bytes are asked for only when the thread has sent as many as were granted before. Its pieces are taken in
// their order.

import { UNASKED_BYTES } from "../../host/shared/message/grant";
import type { NextSource } from "../supply/source";

type Taken = Uint8Array | undefined;

export class RemoteSource implements NextSource {
  readonly #ask: (bytes: number) => void;
  /** Pieces that have arrived. */
  #pieces: Uint8Array[] = [];
  /** Bytes that the thread may still send. */
  #granted = UNASKED_BYTES;
  #hasAsked = false;
  #isOver = false;
  #resolve: ((piece: Taken) => void) | undefined;

  /** @param ask asks the thread for bytes */
  constructor(ask: (bytes: number) => void) {
    this.#ask = ask;
  }

  /** True while the client waits for a piece of the thread. */
  get isAwaited(): boolean {
    return this.#resolve !== undefined;
  }

  /** Takes a piece that has arrived. @param bytes which belong to it */
  push(bytes: Uint8Array): void {
    this.#granted -= bytes.length;
    if (this.#isOver || bytes.length === 0) return;
    if (this.#resolve) this.#settle(bytes);
    else this.#pieces.push(bytes);
  }

  /** The thread has sent the last piece. */
  end(): void {
    this.#isOver = true;
    this.#settle(undefined);
  }

  #settle(piece: Taken): void {
    const resolve = this.#resolve;
    this.#resolve = undefined;
    resolve?.(piece);
  }

  next(bytes: number): Taken | Promise<Taken> {
    const piece = this.#pieces.shift();
    if (piece || this.#isOver) return piece;
    if (!this.#hasAsked || this.#granted <= 0) {
      this.#hasAsked = true;
      this.#granted = Math.max(0, this.#granted) + bytes;
      this.#ask(bytes);
    }
    return new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  close(): void {
    this.#pieces = [];
    this.end();
  }
}
