// How much one thread of the application has under way to each client by `send(id)`.
//
// Invariant: an id has an entry while something accepted for it is not reported as gone, with at most `backlog` bytes
// and one message. The worker reports what has left a client's queue, and each client that has ended, stale ids
// included. The clients that are open take at most half of the table, so a full table empties by reports.

import { Credit } from "../shared/message/credit";
import { PIECE_COST } from "../shared/message/wire";

export interface CreditLimits {
  /** Bytes that may be under way to one client: `maxBacklog`. */
  readonly backlog: number;
  /** Clients that can be open at a time: `maxWebSockets`. */
  readonly clients: number;
}

/** Entries for stale ids beside those for clients; beyond them `send` returns false until the worker has reported. */
const STALE = 1024;

export class Credits {
  readonly #backlog: number;
  readonly #table: Credit;
  readonly #byId = new Map<number, Credit>();

  constructor({ backlog, clients }: CreditLimits) {
    this.#backlog = backlog;
    this.#table = new Credit(2 * clients + STALE);
  }

  /** Clients to which something may be under way. */
  get size(): number {
    return this.#byId.size;
  }

  /** Returns the credit that has to free up before a message may be sent to a client; undefined: it may be sent. */
  refusalOf(id: number): Credit | undefined {
    const credit = this.#byId.get(id) ?? this.#table;
    return credit.isSpent ? credit : undefined;
  }

  /** Notes a message of so many bytes that was accepted for a client. */
  take(id: number, bytes: number): void {
    let credit = this.#byId.get(id);
    if (!credit) {
      credit = new Credit(this.#backlog);
      this.#byId.set(id, credit);
      this.#table.used++;
    }
    credit.used += bytes + PIECE_COST;
  }

  /** Takes a report of the worker's in. @param report pairs of an id and bytes that have left; 0: it has ended */
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
