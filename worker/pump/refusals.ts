// Connections for which there was no slot. Each gets 503 when it sends a request, and has a second at most to read it.
//
// Invariant: there are at most LIMIT of them at a time. Beyond that, and before TLS, a new connection is reset.

import type { Clock, Link, Sink } from "../net/transport";

const LIMIT = 64;
/** Time (ms) for a new connection to send a request and to read the response. */
const TIME = 1000;

const HEAD = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n";
const encoder = new TextEncoder();
const ANSWER = encoder.encode(`${HEAD}Content-Length: 0\r\n\r\n`);

/** The octets that a request begins with whose response has no body. */
const METHOD = encoder.encode("HEAD ");

class Refused implements Sink {
  readonly #link: Link;
  readonly #answerTo: (n: number) => Uint8Array;
  readonly #gone: (one: Refused) => void;
  #isReported = false;

  constructor(link: Link, answerTo: (n: number) => Uint8Array, gone: (one: Refused) => void) {
    this.#link = link;
    this.#answerTo = answerTo;
    this.#gone = gone;
  }

  read(n: number): void {
    if (this.#isReported) return;
    this.#isReported = true;
    this.#link.write(this.#answerTo(n));
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
  readonly #window: Uint8Array;
  /** The response with its error page; undefined: there is none. */
  readonly #paged: Uint8Array | undefined;
  readonly #all = new Set<Refused>();

  /**
   * @param window memory that the links read into
   * @param page the error page of 503, with its fields in front
   */
  constructor(clock: Clock, window: Uint8Array, page: Uint8Array | undefined) {
    this.#clock = clock;
    this.#window = window;
    if (!page) return;
    const head = encoder.encode(HEAD);
    this.#paged = new Uint8Array(head.length + page.length);
    this.#paged.set(head);
    this.#paged.set(page, head.length);
  }

  /** Returns the response to a request that begins with `n` bytes in the window. One to HEAD has no page. */
  readonly #answerTo = (n: number): Uint8Array => {
    const isKnown = n >= METHOD.length && METHOD.some((octet, i) => this.#window[i] !== octet);
    return (isKnown && this.#paged) || ANSWER;
  };

  /** Refuses a connection. @returns the sink for its events; undefined: it was reset */
  take(link: Link): Sink | undefined {
    if (link.secure || this.#all.size >= LIMIT) {
      link.reset();
      return undefined;
    }
    const one = new Refused(link, this.#answerTo, (gone) => this.#all.delete(gone));
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
