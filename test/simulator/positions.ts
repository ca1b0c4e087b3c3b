// The list of publications by position, for the ledger: a client that names a position must get all after it.
//
// Positions of the handler's own publications in the worker are known at once. The others come through the inbox, in
// order, so they take the places that are left, once nothing is under way.
//
// Invariant: of the positions up to `placed` it is known which publication each has.

import type { Client } from "./client";
import type { Message } from "./judge";

/** A publication that was accepted; no message: one that no client can get. */
interface Fresh {
  readonly message: Message | undefined;
  readonly position: number | undefined;
}

export class Positions {
  /** Publications by position. The first is of position 1. */
  readonly #list: (Message | undefined)[] = [undefined];
  #fresh: Fresh[] = [];

  add(message: Message | undefined, position: number | undefined): void {
    this.#fresh.push({ message, position });
  }

  /** The last position whose publication is known. */
  get placed(): number {
    return this.#list.length - 1;
  }

  at(position: number): Message | undefined {
    return this.#list[position];
  }

  /** Nothing is under way. @param count publications so far */
  place(count: number): void {
    const fresh = this.#fresh;
    this.#fresh = [];
    if (this.placed + fresh.length !== count)
      throw new Error(`${count} positions, and ${this.placed + fresh.length} publications`);
    const taken = new Set(fresh.map(({ position }) => position));
    for (const { message, position } of fresh) if (position) this.#list[position] = message;
    let next = count - fresh.length + 1;
    for (const { message, position } of fresh) {
      if (position) continue;
      while (taken.has(next)) next++;
      this.#list[next++] = message;
    }
  }
}

/** Knowledge of an event stream, where publications are kept. */
export class Return {
  /** The position that its client named. */
  readonly since: string | undefined;
  /** It gets each publication after this one; undefined: it is not known yet. */
  base: number | undefined;
  /** Sequences that have arrived, and the last one. */
  readonly #arrived = new Set<number>();
  #last = 0;
  /** Topics that it subscribes to when it opens. */
  readonly initial = new Set<number>();
  /** Topics about which calls were made since. */
  readonly touched = new Set<number>();
  /** Topics that it certainly reads since it opened. */
  readonly topics = new Set<number>();
  isGreeted = false;
  resumed = false;
  /** Its `live` has arrived. */
  isLive = false;

  constructor(since: string | undefined) {
    this.since = since;
  }

  arrived(sequence: number): void {
    this.#arrived.add(sequence);
    this.#last = sequence;
  }

  /** The client has missed the publications before a position, and got the gap. */
  skip(position: number, list: Positions, client: Client): void {
    this.verify(list, client, this.#last);
    this.base = position;
    this.#last = position;
  }

  /** All that was published up to a position must have arrived. */
  verify(list: Positions, client: Client, upTo = this.#last): void {
    if (this.base === undefined) return;
    for (let at = this.base + 1; at <= Math.min(upTo, list.placed); at++) {
      const message = list.at(at);
      if (!message || message.except === client || this.#arrived.has(at)) continue;
      if (message.topic === undefined || this.topics.has(message.topic))
        client.fail(`it lacks position ${at}, after ${this.base}, and has ${this.#last}`);
    }
  }
}
