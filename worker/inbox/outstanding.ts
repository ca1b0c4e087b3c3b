// The bytes of one producer's messages that clients' queues still hold. The other side of host/send/credits.ts.
//
// Invariant: `bytes` counts bytes that were carried out for a client and not yet reported as gone. For each id that a
// producer sends to, the client's end is reported: when it ends, or when a message for it arrives later.

import { Param } from "../../assembly/abi";
import { idOf } from "../../host/shared/message/id";
import { PIECE_COST } from "../../host/shared/message/wire";
import type { EngineLoop } from "../engine/loop";
import type { Peer } from "../socket/peer";

interface Entry {
  readonly loop: EngineLoop<Peer>;
  readonly peer: Peer;
  readonly id: number;
  bytes: number;
}

export class Outstanding {
  readonly #byId = new Map<number, Entry>();
  /** Entries that are large enough to be worth a report. */
  readonly #due = new Set<Entry>();
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
    let entry = this.#byId.get(id);
    if (!entry) {
      entry = { loop, peer, id, bytes: 0 };
      this.#byId.set(id, entry);
    }
    entry.bytes += length + PIECE_COST;
    if (entry.bytes >= leastOf(loop)) this.#due.add(entry);
  }

  /** Notes that a client has ended. */
  ended(id: number): void {
    const entry = this.#byId.get(id);
    if (!entry) return;
    this.#byId.delete(id);
    this.#due.delete(entry);
    this.#report.push(id, 0);
  }

  /** Returns the report for the producer; undefined when there is nothing to report. */
  settle(): Float64Array<ArrayBuffer> | undefined {
    for (const entry of this.#due) {
      const { loop, peer } = entry;
      const least = leastOf(loop);
      const free = entry.bytes - loop.engine.backlog(peer.slot);
      if (free < least) continue;
      entry.bytes -= free;
      this.#report.push(entry.id, free);
      if (entry.bytes < least) this.#due.delete(entry);
      if (entry.bytes === 0) this.#byId.delete(entry.id);
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
