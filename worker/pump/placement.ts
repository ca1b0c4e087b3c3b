// The place of a handler: in the worker, on the application's thread, or with its `request` in a pool of threads.

import type { Handler, PoolStats } from "../../host/handler";
import type { Peer } from "../socket/peer";

export interface Placement {
  /** The handler that the pump calls. */
  readonly handler: Handler;
  /** Whether messages are relayed to another thread: as bytes that are valid during the call, in order. */
  readonly isRelay: boolean;
  /** Returns the number of the handler's errors that were counted elsewhere. */
  errors(): number;
  /** Returns the pool's statistics; undefined: there is no pool. */
  pool(): PoolStats | undefined;
  /** Called at the end of each turn. */
  turned(): void;
  /** Called when a client ended its side while its request is pending. */
  peerEnded(peer: Peer): void;
  /** Called when the end of a WebSocket waits until its messages have been handled. */
  endWaits(peer: Peer): void;
}

/** A handler in the worker. */
export class InWorker implements Placement {
  readonly handler: Handler;
  readonly isRelay = false;
  readonly #turned: (() => void) | undefined;

  /** @param turned called at the end of each turn */
  constructor(handler: Handler, turned?: () => void) {
    this.handler = handler;
    this.#turned = turned;
  }

  errors(): number {
    return 0;
  }

  pool(): PoolStats | undefined {
    return undefined;
  }

  turned(): void {
    this.#turned?.();
  }

  peerEnded(): void {}
  endWaits(): void {}
}
