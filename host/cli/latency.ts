// Measures the messages of `ringcast load`: their latency, the spread between clients that receive the same message,
// and whether a client missed some.
//
// A message that contains its time gives a latency. Otherwise the first message after a silence is a probe: the spread
// is how much later than the first client each other client receives it. A client that received fewer messages between
// two probes than others has missed some. A stream without pauses has no probes.
//
// Invariant: memory and work are bounded, whatever arrives: one probe at a time, and only a sample of messages is
// parsed.

// Some runtimes lack members of it, so it is not imported by name: other commands would not start there.
import * as perf from "node:perf_hooks";
import type { Client } from "./client";

/** Messages per second whose text is parsed. In a faster stream only every n-th one is. */
const LOOKS = 2000;
/** Minimum interval in ms between two probes. A client that has not received the probe by then counts with the next. */
const PROBE_MILLIS = 200;
/** Time in ms without a read that counts as a silence. It is longer than one flush takes between two clients. */
const QUIET_MILLIS = 5;
/** Bytes of a message that are searched for its time. */
const LOOK_BYTES = 4096;
/** Difference in ms between a message's time and now up to which it counts as the time of sending. */
const PLAUSIBLE = 3600000;
const TIME = /"(?:time|t)"\s*:\s*(\d{12,14}(?:\.\d+)?)\s*[,}]/;

/** A histogram of times, to two significant digits. */
export class Times {
  readonly #micros = perf.createHistogram({ figures: 2 });

  get count(): number {
    return this.#micros.count;
  }

  /** @param ms below 0 counts as 0 */
  add(ms: number): void {
    this.#micros.record(Math.max(1, Math.round(ms * 1000)));
  }

  /** Returns the time in ms that a share of all does not exceed, to 1 %; NaN when there are none. */
  percentile(part: number): number {
    return this.count > 0 ? this.#micros.percentile(part * 100) / 1000 : Number.NaN;
  }
}

/** Returns the beginning of a message, one character per byte. */
function textOf(length: number, buffer: Buffer, start: number): string {
  return buffer.toString("latin1", start, start + Math.min(length, LOOK_BYTES));
}

/** Returns the time at which a message says that it was sent; NaN when it says none. */
export function sentAt(text: string, now: number): number {
  const time = Number(TIME.exec(text)?.[1]);
  return Math.abs(now - time) < PLAUSIBLE ? time : Number.NaN;
}

/** A client that has received the probe. */
interface Found {
  readonly client: Client;
  /** Number of messages that it had received, the probe included. */
  readonly messages: number;
  /** Delay in ms after the first client. */
  readonly late: number;
}

export class Latency {
  readonly sent = new Times();
  readonly spread = new Times();
  /** Messages that clients missed, as far as probes show. */
  missed = 0;
  #seen = 0;
  #nextLook = 0;
  #stride = 1;
  #looked = 0;
  #secondEnds = 0;
  #readAt = 0;
  /** True after a silence: the next message is the first of its kind. */
  #isFresh = false;
  #probe = 0;
  #probeLength = -1;
  #probeText = "";
  #probeAt = 0;
  #found: Found[] = [];
  readonly #now: () => number;

  /** @param now the time in ms since `performance.timeOrigin` */
  constructor(now = (): number => performance.now()) {
    this.#now = now;
  }

  /** Notes that a client reads. Called before its messages. */
  read(): void {
    const now = this.#now();
    if (now - this.#readAt > QUIET_MILLIS) this.#isFresh = true;
    this.#readAt = now;
  }

  message(client: Client, length: number, buffer: Buffer | undefined, start: number): void {
    this.#seen++;
    const isFresh = this.#isFresh;
    this.#isFresh = false;
    if (buffer === undefined) return;
    if (length === this.#probeLength) this.#compare(client, length, buffer, start);
    if (this.#seen >= this.#nextLook) this.#look(length, buffer, start);
    if (isFresh && this.#readAt - this.#probeAt > PROBE_MILLIS)
      this.#begin(client, length, buffer, start);
  }

  #look(length: number, buffer: Buffer, start: number): void {
    this.#looked++;
    const now = performance.timeOrigin + this.#readAt;
    if (now >= this.#secondEnds) {
      // The stride that would have been enough in the second before.
      this.#stride = Math.max(1, Math.round((this.#stride * this.#looked) / LOOKS));
      this.#looked = 0;
      this.#secondEnds = now + 1000;
    }
    this.#nextLook = this.#seen + this.#stride;
    const time = sentAt(textOf(length, buffer, start), now);
    if (!Number.isNaN(time)) this.sent.add(now - time);
  }

  #begin(client: Client, length: number, buffer: Buffer, start: number): void {
    this.settle();
    this.#probe++;
    this.#probeLength = length;
    this.#probeText = textOf(length, buffer, start);
    this.#probeAt = this.#readAt;
    client.probe = this.#probe;
    this.#found = [{ client, messages: client.messages, late: 0 }];
  }

  #compare(client: Client, length: number, buffer: Buffer, start: number): void {
    const isAgain = client.probe === this.#probe;
    if (isAgain && client !== this.#found[0]?.client) return;
    if (textOf(length, buffer, start) !== this.#probeText) return;
    if (isAgain) {
      // The same text came more than once, so it does not identify a message.
      this.#probeLength = -1;
      this.#found = [];
      return;
    }
    client.probe = this.#probe;
    const late = this.#readAt - this.#probeAt;
    this.#found.push({ client, messages: client.messages, late });
  }

  /** Adds the results of the last probe, once it is known that its text came only once. */
  settle(): void {
    const found = this.#found;
    this.#found = [];
    this.#probeLength = -1;
    const known = found.find(({ client }) => client.offset !== undefined);
    const ordinal = known ? known.messages - (known.client.offset ?? 0) : 0;
    for (const [i, { client, messages, late }] of found.entries()) {
      if (i > 0) this.spread.add(late);
      const offset = messages - ordinal;
      if (client.offset !== undefined && offset < client.offset)
        this.missed += client.offset - offset;
      client.offset = offset;
    }
  }
}
