// Where a handler lives: in the worker, on the application's thread, or with its `request` in a pool of threads.

import type { Handler, PoolStats } from "../../host/handler";
import type { Peer } from "../socket/peer";

export interface Placement {
  /** What the pump calls. */
  readonly handler: Handler;
  /** Messages are passed on as bytes that are valid for the call, in order, and handled elsewhere. */
  readonly isRelay: boolean;
  /** Errors of the handler that were counted elsewhere. */
  errors(): number;
  /** Statistics of the pool; undefined: there is none. */
  pool(): PoolStats | undefined;
  /** A turn is at its end. */
  turned(): void;
  /** A client ended its side while its request is out. */
  peerEnded(peer: Peer): void;
  /** What ends a WebSocket waits for the answers to its messages. */
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
