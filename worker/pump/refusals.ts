// Connections for which there was no slot: each is told 503 when it asks, and reads it, a second at most.
//
// Invariant: at most LIMIT of them are there at a time; beyond that, and before TLS, a newcomer is reset.

import type { Clock, Link, Sink } from "../net/transport";

const LIMIT = 64;
/** ms for a newcomer to ask, and to take the answer. */
const TIME = 1000;

const ANSWER = new TextEncoder().encode(
  "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
);

class Refused implements Sink {
  readonly #link: Link;
  readonly #gone: (one: Refused) => void;
  #isTold = false;

  constructor(link: Link, gone: (one: Refused) => void) {
    this.#link = link;
    this.#gone = gone;
  }

  read(): void {
    if (this.#isTold) return;
    this.#isTold = true;
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

  /** Refuses a connection. @returns what hears of it from now on; undefined: it was reset */
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
