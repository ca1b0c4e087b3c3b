// Connections for which there was no slot. Each gets 503 when it sends a request, and has a second at most to read it.
//
// Invariant: there are at most LIMIT of them at a time. Beyond that, and before TLS, a new connection is reset.

import type { Clock, Link, Sink } from "../net/transport";

const LIMIT = 64;
/** Time (ms) for a new connection to send a request and to read the response. */
const TIME = 1000;

const ANSWER = new TextEncoder().encode(
  "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
);

class Refused implements Sink {
  readonly #link: Link;
  readonly #gone: (one: Refused) => void;
  #isReported = false;

  constructor(link: Link, gone: (one: Refused) => void) {
    this.#link = link;
    this.#gone = gone;
  }

  read(): void {
    if (this.#isReported) return;
    this.#isReported = true;
    this.#link.write(ANSWER);
    this.#link.end();
  }

  secured(): void {}
  written(): void {}

  ended(): void {
    this.end();
  }

  lost(): void {
    this.end();
  }

  end(): void {
    this.#link.destroy();
    this.#gone(this);
  }
}

export class Refusals {
  readonly #clock: Clock;
  readonly #all = new Set<Refused>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Refuses a connection. @returns the sink for its events; undefined: it was reset */
  take(link: Link): Sink | undefined {
    if (link.secure || this.#all.size >= LIMIT) {
      link.reset();
      return undefined;
    }
    const one = new Refused(link, (gone) => this.#all.delete(gone));
    this.#all.add(one);
    this.#clock.after(TIME, () => {
      if (this.#all.has(one)) one.end();
    });
    return one;
  }

  stop(): void {
    for (const one of this.#all) one.end();
  }
}
