// Limits the bytes that one thread of the application has in flight to each client by `send(id)`.
//
// Invariant: an id has an entry while an accepted message for it is not reported as gone, with at most `backlog` bytes
// and one message. The worker reports bytes that have left a client's queue, and each client that has ended, stale ids
// included. Open clients take at most half of the table, so reports empty a full table.

import { Credit } from "../shared/message/credit";
import { PIECE_COST } from "../shared/message/wire";

export interface CreditLimits {
  /** Bytes in flight to one client at most: `maxBacklog`. */
  readonly backlog: number;
  /** Clients that can be open at the same time: `maxWebSockets`. */
  readonly clients: number;
}

/** Entries for stale ids, in addition to those for clients. Beyond it `send` returns false until the worker reports. */
const STALE = 1024;

export class Credits {
  readonly #backlog: number;
  readonly #table: Credit;
  readonly #byId = new Map<number, Credit>();

  constructor({ backlog, clients }: CreditLimits) {
    this.#backlog = backlog;
    this.#table = new Credit(2 * clients + STALE);
  }

  /** Number of clients to which bytes may be in flight. */
  get size(): number {
    return this.#byId.size;
  }

  /** Returns the credit that must free up before a message may be sent to a client; undefined when none must. */
  refusalOf(id: number): Credit | undefined {
    const credit = this.#byId.get(id) ?? this.#table;
    return credit.isSpent ? credit : undefined;
  }

  /** Notes that a message of `bytes` bytes was accepted for a client. */
  take(id: number, bytes: number): void {
    let credit = this.#byId.get(id);
    if (!credit) {
      credit = new Credit(this.#backlog);
      this.#byId.set(id, credit);
      this.#table.used++;
    }
    credit.used += bytes + PIECE_COST;
  }

  /** Applies a report of the worker. @param report pairs of an id and the bytes that have left; 0: it has ended */
  settle(report: Float64Array): void {
    for (let at = 0; at < report.length; at += 2) {
      const id = report[at] as number;
      const bytes = report[at + 1] as number;
      const credit = this.#byId.get(id);
      if (!credit) continue;
      credit.give(bytes === 0 ? credit.used : bytes);
      if (credit.used > 0) continue;
      this.#byId.delete(id);
      this.#table.give(1);
    }
  }
}
