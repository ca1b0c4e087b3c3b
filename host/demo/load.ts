// What is published for the clients that a page has added: so many bytes a second, in messages of 1 KiB.

/** How often some is published, ms. */
const INTERVAL = 20;
const MESSAGE = new Uint8Array(1020).fill(0x2e);
/** Bytes of a message in the ring. */
const BYTES = 1024;
/** Bytes a second that all clients together are sent at most: else they have no time to read. */
const TOTAL = 128e6;

export class Load {
  readonly #publish: (data: Uint8Array) => boolean;
  #timer: NodeJS.Timeout | undefined;
  #rate = 0;
  /** Bytes that are due, and when they were last looked at. */
  #due = 0;
  #at = 0;

  /** @param publish false: there is no room; what is due is let go of then */
  constructor(publish: (data: Uint8Array) => boolean) {
    this.#publish = publish;
  }

  /** Bytes a second that are published. */
  get rate(): number {
    return this.#rate;
  }

  /** @param wanted bytes a second @param readers @param others clients that it is for: who reads, and who does not */
  set(wanted: number, readers: number, others: number): void {
    this.#rate = readers + others > 0 ? Math.min(wanted, TOTAL / Math.max(1, readers)) : 0;
    if (this.#rate === 0) {
      this.close();
    } else if (!this.#timer) {
      this.#at = performance.now();
      this.#due = 0;
      this.#timer = setInterval(() => this.#tick(), INTERVAL);
    }
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #tick(): void {
    const now = performance.now();
    // What a loop that stood still has missed does not come all at once.
    this.#due += (this.#rate * Math.min(100, now - this.#at)) / 1000;
    this.#at = now;
    for (; this.#due >= BYTES; this.#due -= BYTES) {
      if (!this.#publish(MESSAGE)) {
        this.#due = 0;
        return;
      }
    }
  }
}
