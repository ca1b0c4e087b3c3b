// Sends a handler's operations from the application's thread to the worker: through the inbox, and through a queue in
// front of it for operations that must not be lost when the inbox is full.
//
// Invariant: nothing overtakes the queue. While it is not empty, operations that may be refused are refused. Therefore
// the queue holds at most one response for each request, and a few operations for each WebSocket.

import type { Credit } from "../shared/message/credit";
import type { InboxWriter } from "../send/inbox-writer";
import type { Op } from "../shared/message/wire";

/** An operation that waits for room. */
export interface Kept {
  op: Op;
  readonly slot: number;
  readonly generation: number;
  readonly first: number;
  readonly second: number;
  readonly fields: Uint8Array;
  readonly tail: string | Uint8Array;
  sent: boolean;
}

/** An object that is notified when there is room again. */
export interface RoomListener {
  room(): void;
}

export class Outlet {
  readonly #inbox: InboxWriter;
  #queue: Kept[] = [];
  readonly #listeners = new Set<RoomListener>();
  #waiting = false;
  #ended = false;

  constructor(inbox: InboxWriter) {
    this.#inbox = inbox;
  }

  /** True when nothing waits, so that a record written to the inbox now keeps its place. */
  get isClear(): boolean {
    return this.#queue.length === 0;
  }

  /** Bytes of the tail of the last operation offered, as it was sent. */
  get tailBytes(): number {
    return this.#inbox.tailBytes;
  }

  /** Notes that a client's credit refuses a message. The server's `ready` waits for that credit. */
  refuse(credit: Credit): void {
    credit.refused = true;
    this.#inbox.refusedBy = credit;
  }

  /** Sends an operation if there is room. @returns false when there is none */
  offer(
    op: Op,
    slot: number,
    generation: number,
    first: number,
    second: number,
    fields: Uint8Array,
    tail: string | Uint8Array,
  ): boolean {
    this.#inbox.refusedBy = undefined;
    if (this.#queue.length > 0) return false;
    return this.#inbox.putOp(op, slot, generation, first, second, fields, tail);
  }

  /** Sends an operation, or queues it when there is no room. @returns the queued operation, if it was queued */
  post(
    op: Op,
    slot: number,
    generation: number,
    first: number,
    second: number,
    fields: Uint8Array,
    tail: string | Uint8Array,
  ): Kept | undefined {
    if (this.offer(op, slot, generation, first, second, fields, tail)) return undefined;
    const own = typeof tail === "string" ? tail : new Uint8Array(tail);
    const kept = { op, slot, generation, first, second, fields, tail: own, sent: false };
    this.#queue.push(kept);
    this.#wait();
    return kept;
  }

  /** Calls `who.room()` once when there is room and nothing waits. */
  whenRoom(listener: RoomListener): void {
    this.#listeners.add(listener);
    this.#wait();
  }

  /** Returns true while `listener.room()` is still to be called. */
  isAwaitedBy(listener: RoomListener): boolean {
    return this.#listeners.has(listener);
  }

  #wait(): void {
    if (this.#waiting || this.#ended) return;
    this.#waiting = true;
    void this.#inbox.room().then(() => {
      this.#waiting = false;
      this.#flush();
    });
  }

  #flush(): void {
    const queue = this.#queue;
    let at = 0;
    for (; at < queue.length; at++) {
      const { op, slot, generation, first, second, fields, tail } = queue[at] as Kept;
      if (!this.#inbox.putOp(op, slot, generation, first, second, fields, tail)) break;
      (queue[at] as Kept).sent = true;
    }
    this.#queue = queue.slice(at);
    if (this.#queue.length > 0) {
      this.#wait();
      return;
    }
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const listener of listeners) listener.room();
  }

  /** Drops everything that waits, because the worker has ended. */
  end(): void {
    this.#ended = true;
    this.#queue = [];
    this.#listeners.clear();
  }
}
