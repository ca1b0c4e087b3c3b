// What the application sends to one client piece by piece, messages or pieces of an answer, as far as the
// worker keeps books on it: the application may have so many bytes under way, and is told as they leave.
//
// Invariant: pieces are sent in the order they came in. `owed` is what was taken in and not yet reported as
// gone; what the engine's queue had no room for is kept, and nothing overtakes it.

import { copyBytes } from "../../host/shared/text/text";
import { PIECE_COST } from "../../host/shared/message/wire";
import type { Peer } from "../socket/peer";

/** What became of a piece. */
export type Fate = "sent" | "full" | "gone";

export class Lane {
  readonly peer: Peer;
  /** Bytes taken in and not reported. */
  owed = 0;
  /** Bytes that wait here because the client's queue, or the pool of all of them, had no room. */
  keptBytes = 0;
  /** Carried out behind what is kept. */
  last: (() => void) | undefined;
  /** Bytes of its messages that the application has not handled. */
  told = 0;
  /** `open` has settled on the application's side. */
  opened: (() => void) | undefined;
  /** `shutdown` has been told, on the application's side. */
  left: (() => void) | undefined;
  readonly #send: (bytes: Uint8Array, flags: number) => Fate;
  #kept: { readonly bytes: Uint8Array; readonly flags: number }[] = [];

  constructor(peer: Peer, send: (bytes: Uint8Array, flags: number) => Fate) {
    this.peer = peer;
    this.#send = send;
  }

  /** Takes a piece in. @param bytes valid for the call @returns false when it had to be kept */
  take(bytes: Uint8Array, flags: number): boolean {
    this.owed += bytes.length + PIECE_COST;
    if (this.#kept.length === 0 && this.#send(bytes, flags) !== "full") return true;
    this.#kept.push({ bytes: copyBytes(bytes, 0, bytes.length), flags });
    this.keptBytes += bytes.length + PIECE_COST;
    return false;
  }

  /** There is room again: sends what is kept, as far as it goes. @returns true when nothing is left */
  flush(): boolean {
    for (;;) {
      const first = this.#kept[0];
      if (!first) break;
      // mutant lane-kept: if (this.#send(first.bytes, first.flags) === "full") return !this.#kept.shift();
      if (this.#send(first.bytes, first.flags) === "full") return false;
      this.#kept.shift();
      this.keptBytes -= first.bytes.length + PIECE_COST;
    }
    const { last } = this;
    this.last = undefined;
    last?.();
    return true;
  }

  /** Drops what is kept. */
  clear(): void {
    this.#kept = [];
    this.keptBytes = 0;
    this.last = undefined;
  }

  /** Does something behind all that was taken in. */
  behind(fn: () => void): void {
    if (this.#kept.length === 0) fn();
    else this.last = fn;
  }

  /** Bytes that have left since the last report, given those that are queued: they are reported with this. */
  settle(queued: number, least: number): number {
    const free = this.owed - queued - this.keptBytes;
    if (free < least) return 0;
    this.owed -= free;
    return free;
  }
}
