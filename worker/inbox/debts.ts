// What one producer's messages for single clients still take of their queues: the other side of host/send/credits.ts.
//
// Invariant: `owed` is what was carried out for a client and not yet reported as gone. Each id that a producer sends to
// is reported as ended once its client has: at the end of the client, or at the message when it came later.

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
  /** Those of which enough is owed to be worth a report. */
  readonly #due = new Set<Debt>();
  /** Pairs of an id and bytes; 0: it has ended. */
  #report: number[] = [];

  /** A message of so many bytes was carried out. */
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

  /** A client has ended. */
  ended(id: number): void {
    const debt = this.#byId.get(id);
    if (!debt) return;
    this.#byId.delete(id);
    this.#due.delete(debt);
    this.#report.push(id, 0);
  }

  /** Returns what the producer is to be told, if anything. */
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

/** Bytes from which on a report is worth a message between threads: a quarter of `maxBacklog`. */
function leastOf(loop: EngineLoop<Peer>): number {
  return Math.max(1, loop.engine.param(Param.Backlog) >>> 2);
}
