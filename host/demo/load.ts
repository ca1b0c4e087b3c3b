// Publishes for the clients that a page has added: a number of bytes per second, in messages of 1 KiB.

/** Interval in ms between two publications. */
const INTERVAL = 20;
const MESSAGE = new Uint8Array(1020).fill(0x2e);
/** Bytes of a message in the ring. */
const BYTES = 1024;
/** Bytes per second sent to all clients together at most. With more they would have no time to read. */
const TOTAL = 128e6;

export class Load {
  readonly #publish: (data: Uint8Array) => boolean;
  #timer: NodeJS.Timeout | undefined;
  #rate = 0;
  /** Bytes that are due, and the time of the last look at them. */
  #due = 0;
  #at = 0;

  /** @param publish returns false when there is no room: then what is due is dropped */
  constructor(publish: (data: Uint8Array) => boolean) {
    this.#publish = publish;
  }

  /** Bytes per second that are published. */
  get rate(): number {
    return this.#rate;
  }

  /** @param wanted bytes per second @param readers @param others numbers of clients that read, and that do not */
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
    // After a long block of the loop, the bytes that it missed are not published all at once.
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
