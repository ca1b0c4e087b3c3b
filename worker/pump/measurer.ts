// Reads the send queues of the connections that the engine watches: those past half of the time in which they have to
// make progress.
//
// Invariant: one reading at a time, at most one a second, and none while nothing is watched. The more a reading takes
// the rarer they are: at most a twentieth of the time is spent on them.

import { Control, NONE } from "../../assembly/abi";
import type { Clock, ReadQueues, SendQueue } from "../net/transport";
import type { Peer } from "./peer";
import type { Pump } from "./pump";

/** ms between two readings. */
const INTERVAL = 1000;
/** The part of the time that readings take is at most one of so many. */
const SHARE = 20;
/** A queue that cannot be read, as the engine has it. */
const UNREADABLE: SendQueue = { bytes: NONE, answers: false };

export class Measurer {
  readonly #pump: Pump;
  readonly #clock: Clock;
  readonly #queues: ReadQueues | undefined;
  #isReading = false;
  #isStopped = false;
  #next = Number.NEGATIVE_INFINITY;
  #cancel: (() => void) | undefined;

  constructor(pump: Pump, clock: Clock, queues: ReadQueues | undefined) {
    this.#pump = pump;
    this.#clock = clock;
    this.#queues = queues;
    pump.engine.x.measures(queues ? 1 : 0);
  }

  /** Reads the queues when it is time to, or sees to it that they are read then. */
  look(): void {
    if (this.#isReading || this.#isStopped || this.#cancel || !this.#queues) return;
    if (this.#pump.engine.get(Control.Watched) === 0) return;
    const wait = this.#next - this.#clock.now();
    if (wait <= 0) {
      this.#read(this.#queues);
      return;
    }
    this.#cancel = this.#clock.after(wait, () => {
      this.#cancel = undefined;
      this.look();
    });
  }

  #read(queues: ReadQueues): void {
    const { engine } = this.#pump;
    const peers: Peer[] = [];
    const next = (from: number): number => engine.x.watched(from) >>> 0;
    for (let slot = next(0); slot !== NONE; slot = next(slot + 1)) {
      const peer = this.#pump.peerAt(slot);
      if (peer) peers.push(peer);
    }
    const began = this.#clock.now();
    this.#isReading = true;
    const links = peers.map(({ link }) => link);
    queues(links, (found) => this.#take(peers, found, began));
  }

  #take(
    peers: readonly Peer[],
    found: readonly (SendQueue | undefined)[] | undefined,
    began: number,
  ): void {
    this.#isReading = false;
    if (this.#isStopped) return;
    const took = this.#clock.now() - began;
    this.#next = began + Math.max(INTERVAL, took * SHARE);
    const { engine } = this.#pump;
    this.#pump.time();
    if (found) {
      peers.forEach(({ dead, slot, generation }, i) => {
        const { bytes, answers } = found[i] ?? UNREADABLE;
        if (!dead) engine.x.acknowledged(slot, generation, bytes, answers ? 1 : 0);
      });
    } else {
      this.#isStopped = true;
      engine.x.measures(0);
    }
    this.#pump.schedule();
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancel?.();
  }
}
