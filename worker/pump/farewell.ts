// The end of a server. It stops accepting, answers pending requests, and closes every WebSocket, at once or spread over
// a period.
//
// Invariant: a WebSocket is closed once, after the messages that its handler's `shutdown` sends. If `shutdown` does not
// settle, its WebSocket waits at most `closeTimeout` beyond that period.

import { CloseReason, Param } from "../../assembly/abi";
import { CLOSE_TABLE } from "../../host/shared/close";
import { isThenable, whenSettled } from "../../host/shared/result";
import { Drain } from "./drain";
import type { Handler } from "../../host/handler";
import type { EngineLoop } from "../engine/loop";
import type { Clock } from "../net/transport";
import type { Peer } from "../socket/peer";

/** The part of the pump that a farewell needs. */
interface FarewellOwner {
  readonly loop: EngineLoop<Peer>;
  /** Returns the handler of a WebSocket. */
  handlerOf(peer: Peer): Handler;
  runLater(): void;
  guard(where: string, fn: () => unknown): unknown;
}

export class Farewell {
  readonly #pump: FarewellOwner;
  readonly #clock: Clock;
  #isBegun = false;
  /**
   * True during the period. A connection accepted shortly before, such as during a TLS handshake, may still send a
   * request.
   */
  #isDraining = false;
  #drain: Drain<Peer> | undefined;
  /** Clients whose `shutdown` has not settled. Their Close waits for it. */
  readonly #leaving = new Set<Peer>();

  constructor(pump: FarewellOwner, clock: Clock) {
    this.#pump = pump;
    this.#clock = clock;
  }

  /** True when nothing new begins: no connection, no WebSocket. */
  get isBegun(): boolean {
    return this.#isBegun;
  }

  /** True when new connections are closed at once. */
  get isClosed(): boolean {
    return this.#isBegun && !this.#isDraining;
  }

  /**
   * Stops accepting, lets requests be answered, and closes every WebSocket: with 1001 now, or with 1012 (Service
   * Restart) one after the other.
   * @param drainMs period (ms) over which that happens. Until its turn a WebSocket is served as before. A connection
   * may still send a request, and ends after the response, so that no request in flight is refused.
   */
  begin(drainMs = 0): void {
    this.#isBegun = true;
    this.#pump.loop.stop();
    // The handler is notified of a WebSocket's opening before its end.
    this.#pump.runLater();
    const open = this.#pump.loop.connections.filter((peer) => peer.ws);
    if (drainMs > 0) this.#spread(open, drainMs);
    else for (const peer of open) this.#leave(peer, 1001);
    if (drainMs === 0) this.#dismissIdle();
    this.#pump.loop.handleEvents();
  }

  /** Ends the connections that have no pending request. */
  #dismissIdle(): void {
    for (const peer of this.#pump.loop.connections) {
      const isIdle = !peer.dead && !peer.ws && peer.response === undefined;
      if (isIdle) this.#pump.loop.dismiss(peer);
    }
    this.#pump.loop.handleEvents();
  }

  #spread(open: readonly Peer[], ms: number): void {
    this.#isDraining = true;
    this.#drain = new Drain(open, {
      ms,
      seed: this.#pump.loop.engine.param(Param.Seed),
      now: () => this.#clock.now(),
      after: (wait, fn) => this.#clock.after(wait, fn),
      end: (peer) => this.#leave(peer, 1012),
    });
    this.#clock.after(ms, () => {
      this.#isDraining = false;
      this.#dismissIdle();
    });
    // Handlers that do not settle delay a Close no longer than this.
    const grace = this.#pump.loop.engine.param(Param.CloseTimeout);
    this.#clock.after(ms + grace, () => {
      for (const peer of this.#leaving) this.#closeForShutdown(peer, 1012);
      this.#leaving.clear();
    });
  }

  /** Calls the handler's `shutdown`, then closes. When `shutdown` returns a promise, the Close waits for it. */
  #leave(peer: Peer, code: number): void {
    const { ws } = peer;
    if (peer.dead || peer.closing || !ws) return;
    const handler = this.#pump.handlerOf(peer);
    const { shutdown } = handler;
    const result = shutdown && this.#pump.guard("shutdown", () => shutdown.call(handler, ws));
    if (code === 1001 || !isThenable(result)) {
      this.#closeForShutdown(peer, code);
      return;
    }
    this.#leaving.add(peer);
    const settled = (): void => {
      if (this.#leaving.delete(peer)) this.#closeForShutdown(peer, code);
    };
    whenSettled(result, settled, settled);
  }

  #closeForShutdown(peer: Peer, code: number): void {
    if (peer.dead || peer.closing) return;
    peer.closing = true;
    // mutant shutdown-close: ;
    this.#pump.loop.close(peer, code, CLOSE_TABLE.Shutdown.text, CloseReason.Shutdown);
  }

  /** Ends all waits. */
  stop(): void {
    this.#isBegun = true;
    this.#isDraining = false;
    this.#drain?.stop();
  }
}
