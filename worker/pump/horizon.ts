// The ring's horizon: the time for which a client may be away before it lags by a whole ring.
//
// Marks record how much had been published at which time. The oldest mark kept is just one ring old, or is the first
// publication. The horizon is the time since then, divided by the number of rings published since then. It does not
// depend on how often it is read.

interface Mark {
  /** Time (ms). */
  readonly at: number;
  readonly bytes: number;
  readonly frames: number;
}

/** Number of marks for each ring. */
const MARKS = 16;

export class Horizon {
  readonly #bytes: number;
  readonly #frames: number;
  /** Oldest first; at most MARKS + 2. */
  readonly #marks: Mark[] = [];
  #nextBytes = 0;
  #nextFrames = 0;

  /**
   * @param bytes the ring's size, the largest lag in bytes
   * @param frames the largest lag in frames
   */
  constructor(bytes: number, frames: number) {
    this.#bytes = bytes;
    this.#frames = frames;
  }

  /** Notes the amount published since the start. @param now ms */
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

  /** Returns the number of rings published from one mark to another. */
  #rings(from: Mark, to: Mark): number {
    return Math.max(
      (to.bytes - from.bytes) / this.#bytes,
      (to.frames - from.frames) / this.#frames,
    );
  }

  /**
   * Returns the time (s) that it last took to publish as much as a client may lag. Before that much was published, it
   * is extrapolated from the rate so far. Infinity: nothing has been published since the first message.
   */
  seconds(now: number, bytes: number, frames: number): number {
    const [oldest] = this.#marks;
    if (!oldest) return Number.POSITIVE_INFINITY;
    const to = { at: now, bytes, frames };
    const rings = this.#rings(oldest, to);
    return rings === 0 ? Number.POSITIVE_INFINITY : (now - oldest.at) / 1000 / rings;
  }
}
