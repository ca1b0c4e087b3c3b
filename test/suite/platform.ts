// The suite's requirements for a platform: a server, and clients of bytes. Types only.

import type { Eviction, Options, Server, Stats } from "ringcast";

/**
 * Where the handler of test/suite/suite-handler.ts runs: as a module beside the engine, or as functions of this
 * thread.
 */
export type Place = "module" | "closures";

/** Options a server is started with: numbers and switches, the same on every platform. */
export type SuiteOptions = Omit<
  Options,
  "handler" | "pool" | "port" | "hostname" | "path" | "tls" | "signal" | "onEvict" | "onError"
>;

/** The application's end of a server. */
export interface SuiteServer
  extends Pick<
    Server,
    | "broadcast"
    | "publish"
    | "subscribe"
    | "unsubscribe"
    | "send"
    | "stage"
    | "closeConnection"
    | "ready"
  > {
  stats(): Stats | Promise<Stats>;
  subscriberCount(topic: string): number | Promise<number>;
  position(): string | Promise<string>;
  shutdown(options?: { timeout?: number }): Promise<void>;
}

/** A client that acts only when it is called. */
export interface RawClient {
  /** Sends bytes, after all earlier ones. The caller does not change them afterwards. */
  send(bytes: Uint8Array): void;
  /**
   * The next bytes that arrive; undefined when there are no more: `ended` says why. A client that is not
   * asked for bytes has stopped reading. Not called again before it has settled.
   */
  read(): Promise<Uint8Array | undefined>;
  /**
   * "": no end was read so far; "fin": the server ended in order; "reset": it did not. A system
   * may report a reset after unread bytes as the other.
   */
  readonly ended: "" | "fin" | "reset";
  /** Ends its own side, after the bytes that were sent. */
  end(): void;
  /** Ends with a reset: nothing arrives any more. */
  reset(): void;
}

/** A server that runs. */
export interface Running {
  readonly server: SuiteServer;
  /** Connects. @throws when no server listens */
  connect(): Promise<RawClient>;
  /** Lets ms pass: by the platform's clock where it has a virtual one. */
  wait(ms: number): Promise<void>;
  /** Clients evicted so far, as `onEvict` reported them. */
  readonly evictions: readonly Eviction[];
  /** Errors so far, as `onError` reported them. */
  readonly errors: readonly { readonly where: string; readonly message: string }[];
  /** Ends it now; after that nothing of it is left. */
  stop(): Promise<void>;
}

export interface Platform {
  readonly name: string;
  /** Places a handler may have; the suite runs in each. */
  readonly places: readonly Place[];
  /** permessage-deflate is there. Else the suite checks that it is declined. */
  readonly deflate: boolean;
  /** `wait` costs no time: checks that wait for seconds run. */
  readonly virtual: boolean;
  start(place: Place, options: SuiteOptions): Promise<Running>;
}
