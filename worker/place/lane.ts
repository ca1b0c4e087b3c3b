// The bytes that the application sends to one client piece by piece, as messages or as pieces of a response. The worker
// counts them, because the application may have a limited number of bytes in flight and is notified when they leave.
//
// Invariant: pieces are sent in the order of their arrival. `pendingBytes` counts bytes that were accepted and not yet
// reported as gone. Pieces that the engine's queue had no room for are kept, and nothing overtakes them.

import { copyBytes } from "../../host/shared/text/text";
import { PIECE_COST } from "../../host/shared/message/wire";
import type { Peer } from "../socket/peer";

/** The result of sending a piece. */
export type Fate = "sent" | "full" | "gone";

export class Lane {
  readonly peer: Peer;
  /** Bytes that were accepted and not reported as gone. */
  pendingBytes = 0;
  /** Bytes that wait here because the client's queue, or the pool of all queues, had no room. */
  keptBytes = 0;
  /** Called once the kept pieces are sent. */
  last: (() => void) | undefined;
  /** Bytes of the client's messages that the application has not handled. */
  unhandledBytes = 0;
  /** Called when `open` has settled on the application's thread. */
  opened: (() => void) | undefined;
  /** Called when `shutdown` has settled on the application's thread. */
  left: (() => void) | undefined;
  readonly #send: (bytes: Uint8Array, flags: number) => Fate;
  #kept: { readonly bytes: Uint8Array; readonly flags: number }[] = [];

  constructor(peer: Peer, send: (bytes: Uint8Array, flags: number) => Fate) {
    this.peer = peer;
    this.#send = send;
  }

  /** Sends or keeps a piece. @param bytes valid during the call @returns false when it had to be kept */
  take(bytes: Uint8Array, flags: number): boolean {
    this.pendingBytes += bytes.length + PIECE_COST;
    if (this.#kept.length === 0 && this.#send(bytes, flags) !== "full") return true;
    this.#kept.push({ bytes: copyBytes(bytes, 0, bytes.length), flags });
    this.keptBytes += bytes.length + PIECE_COST;
    return false;
  }

  /** Sends kept pieces while there is room. @returns true when none is left */
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

  /** Drops the kept pieces. */
  clear(): void {
    this.#kept = [];
    this.keptBytes = 0;
    this.last = undefined;
  }

  /** Calls `fn` after all accepted pieces are sent. */
  afterKept(fn: () => void): void {
    if (this.#kept.length === 0) fn();
    else this.last = fn;
  }

  /**
   * Returns the bytes that have left since the last report, or 0 if fewer than `least`. This call counts as the report.
   * @param queued bytes that the client's queue holds
   */
  settle(queued: number, least: number): number {
    const free = this.pendingBytes - queued - this.keptBytes;
    if (free < least) return 0;
    this.pendingBytes -= free;
    return free;
  }
}
