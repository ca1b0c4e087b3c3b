// The order of a WebSocket's messages, wherever its handler runs: the next is not handled before the handler of the one
// before has settled, and the end of the connection waits for that handler too, but not forever.
//
// Invariant: one handler of a connection is waited for at a time; `skip` is what ends the wait, and is called once.

import { isThenable, whenSettled } from "./result";

/** A connection whose messages are handled in order. */
export interface Ordered {
  /** Goes on without waiting for the handler of a message that has not settled; undefined: there is none. */
  skip: (() => void) | undefined;
}

/** What waiting means where the handler runs. */
export interface OrderHooks<C> {
  /** No message of a connection is handled until `settled`. */
  block(conn: C): void;
  /** The handler that was waited for has settled. @param size as `settle` was told */
  settled(conn: C, size: number): void;
  /** A handler rejected. */
  failed(conn: C, where: string, thrown: unknown): void;
  /** Runs `fn` when the end of a connection has waited for as long as it may. */
  afterClose(fn: () => void): void;
}

export class Order<C extends Ordered> {
  readonly #hooks: OrderHooks<C>;
  /** Connections that have ended while a message is still being handled. */
  readonly #ending = new Set<C>();
  /** False: no message waits for the one before. */
  isOrdered: boolean;

  constructor(isOrdered: boolean, hooks: OrderHooks<C>) {
    this.isOrdered = isOrdered;
    this.#hooks = hooks;
  }

  /**
   * Takes what a handler returned: it may settle later, and fail later.
   * @returns true when the connection's next message waits for that
   */
  settle(conn: C, where: string, result: unknown, size = 0): boolean {
    if (!isThenable(result)) return false;
    const hooks = this.#hooks;
    // mutant order-hold: if (!this.isOrdered || result) {
    if (!this.isOrdered) {
      whenSettled(result, undefined, (thrown) => hooks.failed(conn, where, thrown));
      return false;
    }
    hooks.block(conn);
    const next = (): void => {
      if (conn.skip !== next) return;
      conn.skip = undefined;
      hooks.settled(conn, size);
    };
    conn.skip = next;
    whenSettled(result, next, (thrown) => {
      hooks.failed(conn, where, thrown);
      next();
    });
    return true;
  }

  /** A connection has ended, and its messages are waited for until `caughtUp`. */
  awaitEnd(conn: C): void {
    if (this.#ending.has(conn)) return;
    this.#ending.add(conn);
    this.#hooks.afterClose(() => this.#hurry(conn));
  }

  /** All messages of a connection have been handled. */
  caughtUp(conn: C): void {
    this.#ending.delete(conn);
  }

  #hurry(conn: C): void {
    if (!this.#ending.delete(conn)) return;
    while (conn.skip) conn.skip();
  }

  /** Nothing is waited for any more. */
  stop(): void {
    for (const conn of this.#ending) this.#hurry(conn);
  }
}
