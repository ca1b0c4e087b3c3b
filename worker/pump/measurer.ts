// Reads the send queues of the connections that the engine watches: connections past half of the time in which they
// must make progress.
//
// Invariant: one reading at a time, at most one a second, and none while no connection is watched. Slow readings are
// rarer, so that at most a twentieth of the time is spent on them.

import { Control, NONE } from "../../assembly/abi";
import type { Clock, ReadQueues, SendQueue } from "../net/transport";
import type { EngineLoop } from "../engine/loop";
import type { Peer } from "../socket/peer";

/** Least time (ms) between two readings. */
const INTERVAL = 1000;
/** Divisor: readings take at most one part in 20 of the time. */
const SHARE = 20;
/** The state of a queue that cannot be read, as the engine takes it. */
const UNREADABLE: SendQueue = { bytes: NONE, answers: false };

export class Measurer {
  readonly #loop: EngineLoop<Peer>;
  readonly #clock: Clock;
  readonly #queues: ReadQueues | undefined;
  #isReading = false;
  #isStopped = false;
  #next = Number.NEGATIVE_INFINITY;
  #cancel: (() => void) | undefined;

  constructor(loop: EngineLoop<Peer>, clock: Clock, queues: ReadQueues | undefined) {
    this.#loop = loop;
    this.#clock = clock;
    this.#queues = queues;
    loop.measures(queues !== undefined);
  }

  /** Reads the queues when they are due, else sets a timer for that. */
  look(): void {
    if (this.#isReading || this.#isStopped || this.#cancel || !this.#queues) return;
    if (this.#loop.engine.get(Control.Watched) === 0) return;
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
    const loop = this.#loop;
    const peers: Peer[] = [];
    for (let slot = loop.watched(0); slot !== NONE; slot = loop.watched(slot + 1)) {
      const peer = loop.at(slot);
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
    const loop = this.#loop;
    if (found) {
      peers.forEach((peer, i) => {
        const { bytes, answers } = found[i] ?? UNREADABLE;
        if (!peer.dead) loop.acknowledged(peer, bytes, answers);
      });
    } else {
      this.#isStopped = true;
      loop.measures(false);
    }
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancel?.();
  }
}
