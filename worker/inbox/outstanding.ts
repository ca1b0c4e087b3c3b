// The bytes of one producer's messages that clients' queues still hold. The other side of host/send/credits.ts.
//
// Invariant: `owed` counts bytes that were carried out for a client and not yet reported as gone. For each id that a
// producer sends to, the client's end is reported: when it ends, or when a message for it arrives later.

import { Param } from "../../assembly/abi";
import { PIECE_COST, idOf } from "../../host/shared/message/wire";
import type { EngineLoop } from "../engine/loop";
import type { Peer } from "../socket/peer";

interface Debt {
  readonly loop: EngineLoop<Peer>;
  readonly peer: Peer;
  readonly id: number;
  owed: number;
}

export class Debts {
  readonly #byId = new Map<number, Debt>();
  /** Debts that are large enough to be worth a report. */
  readonly #due = new Set<Debt>();
  /** The next report: pairs of an id and bytes; 0: the client has ended. */
  #report: number[] = [];

  /** Notes that a message of `length` bytes was carried out. */
  note(loop: EngineLoop<Peer>, slot: number, generation: number, length: number): void {
    const id = idOf(slot, generation);
    const peer = loop.find(id);
    if (!peer?.ws) {
      this.#report.push(id, 0);
      return;
    }
    let debt = this.#byId.get(id);
    if (!debt) {
      debt = { loop, peer, id, owed: 0 };
      this.#byId.set(id, debt);
    }
    debt.owed += length + PIECE_COST;
    if (debt.owed >= leastOf(loop)) this.#due.add(debt);
  }

  /** Notes that a client has ended. */
  ended(id: number): void {
    const debt = this.#byId.get(id);
    if (!debt) return;
    this.#byId.delete(id);
    this.#due.delete(debt);
    this.#report.push(id, 0);
  }

  /** Returns the report for the producer; undefined when there is nothing to report. */
  settle(): Float64Array<ArrayBuffer> | undefined {
    for (const debt of this.#due) {
      const { loop, peer } = debt;
      const least = leastOf(loop);
      const free = debt.owed - loop.engine.backlog(peer.slot);
      if (free < least) continue;
      debt.owed -= free;
      this.#report.push(debt.id, free);
      if (debt.owed < least) this.#due.delete(debt);
      if (debt.owed === 0) this.#byId.delete(debt.id);
    }
    if (this.#report.length === 0) return undefined;
    const report = Float64Array.from(this.#report);
    this.#report = [];
    return report;
  }
}

/** Returns the bytes from which on a report is worth a message between threads: a quarter of `maxBacklog`. */
function leastOf(loop: EngineLoop<Peer>): number {
  return Math.max(1, loop.engine.param(Param.Backlog) >>> 2);
}
