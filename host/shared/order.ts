// The order of a WebSocket's messages, wherever its handler runs. A message is handled only after the handler of the
// previous one has settled. The connection's end also waits for that handler, but not forever.
//
// Invariant: at most one handler of a connection is awaited at a time. `skip` ends that wait, and is called once.

import { isThenable, whenSettled } from "./result";

/** A connection whose messages are handled in order. */
export interface Ordered {
  /** Ends the wait for a handler that has not settled; undefined when there is no wait. */
  skip: (() => void) | undefined;
}

/** The actions for waiting, where the handler runs. */
interface OrderHooks<C> {
  /** Returns false when messages of a connection do not wait for the previous one. */
  isOrdered(conn: C): boolean;
  /** Blocks the messages of a connection until `settled`. */
  block(conn: C): void;
  /** Called when the awaited handler has settled. @param size as given to `settle` */
  settled(conn: C, size: number): void;
  /** Called when a handler rejected. */
  failed(conn: C, where: string, thrown: unknown): void;
  /** Calls `fn` when the end of a connection has waited for as long as it may. */
  afterClose(fn: () => void): void;
}

export class Order<C extends Ordered> {
  readonly #hooks: OrderHooks<C>;
  /** Connections that have ended while a message is still being handled. */
  readonly #ending = new Set<C>();

  constructor(hooks: OrderHooks<C>) {
    this.#hooks = hooks;
  }

  /**
   * Handles the result of a handler, which may settle or fail later.
   * @returns true when the connection's next message waits for it
   */
  settle(conn: C, where: string, result: unknown, size = 0): boolean {
    if (!isThenable(result)) return false;
    const hooks = this.#hooks;
    // mutant order-hold: if (!hooks.isOrdered(conn) || result) {
    if (!hooks.isOrdered(conn)) {
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

  /** Lets the end of a connection wait for its messages, until `caughtUp`. */
  awaitEnd(conn: C): void {
    if (this.#ending.has(conn)) return;
    this.#ending.add(conn);
    this.#hooks.afterClose(() => this.#hurry(conn));
  }

  /** Notes that all messages of a connection have been handled. */
  caughtUp(conn: C): void {
    this.#ending.delete(conn);
  }

  #hurry(conn: C): void {
    if (!this.#ending.delete(conn)) return;
    while (conn.skip) conn.skip();
  }

  /** Ends all waits. */
  stop(): void {
    for (const conn of this.#ending) this.#hurry(conn);
  }
}
