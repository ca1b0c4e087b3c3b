// How far back the ring reaches: for how long a client may be away before it has fallen a ring behind.
//
// Marks say how much had been published when. The oldest one that is kept is just a ring old, or is the first
// publication; the time since then, by the rings published since then, is the horizon. It depends on nobody's
// asking.

interface Mark {
  /** ms. */
  readonly at: number;
  readonly bytes: number;
  readonly frames: number;
}

/** Marks to a ring. */
const MARKS = 16;

export class Horizon {
  readonly #bytes: number;
  readonly #frames: number;
  /** Oldest first; at most MARKS + 2. */
  readonly #marks: Mark[] = [];
  #nextBytes = 0;
  #nextFrames = 0;

  /** What a client may be behind. @param bytes the ring's size @param frames the limit on frames */
  constructor(bytes: number, frames: number) {
    this.#bytes = bytes;
    this.#frames = frames;
  }

  /** Takes note of what has been published since the start. @param now ms */
  note(now: number, bytes: number, frames: number): void {
    if (bytes < this.#nextBytes && frames < this.#nextFrames) return;
    if (bytes === 0) return;
    const marks = this.#marks;
    const mark = { at: now, bytes, frames };
    marks.push(mark);
    this.#nextBytes = bytes + this.#bytes / MARKS;
    this.#nextFrames = frames + this.#frames / MARKS;
    while (marks[1] && this.#rings(marks[1], mark) >= 1) marks.shift();
  }

  /** How many rings were published from one mark to another. */
  #rings(from: Mark, to: Mark): number {
    return Math.max(
      (to.bytes - from.bytes) / this.#bytes,
      (to.frames - from.frames) / this.#frames,
    );
  }

  /**
   * Seconds that publishing as much as a client may be behind has taken, the last time; before there was as much, what
   * it would take at the rate so far. Infinity: nothing has been published since the first message.
   */
  seconds(now: number, bytes: number, frames: number): number {
    const [oldest] = this.#marks;
    if (!oldest) return Number.POSITIVE_INFINITY;
    const to = { at: now, bytes, frames };
    const rings = this.#rings(oldest, to);
    return rings === 0 ? Number.POSITIVE_INFINITY : (now - oldest.at) / 1000 / rings;
  }
}
