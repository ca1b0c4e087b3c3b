// What `ringcast load` measures of messages: how long they were on the way, how far apart clients got the same one, and
// whether somebody missed some.
//
// A message that carries its time says how long it was on the way. Without that, the first message behind a silence
// is a probe: how much later than the first client each other one gets it is the spread. Who got fewer messages from
// one probe to another than others did missed some. A stream that never rests has no probes.
//
// Invariant: bounded, whatever arrives: one probe at a time, one message in so many is looked into.

import type { Client } from "./client";

/** Messages a second whose text is looked at. */
const LOOKS = 2000;
/** ms at least from one probe to the next; a client that has not got it by then counts with the next. */
const PROBE_MILLIS = 200;
/** ms without a read that are a silence: more than what one flush takes between two clients. */
const QUIET_MILLIS = 5;
/** Bytes of a message that are looked at for its time. */
const LOOK_BYTES = 4096;
/** ms between a message's time and now beyond which it is no time of sending. */
const PLAUSIBLE = 3600000;
const TIME = /"(?:time|t)"\s*:\s*(\d{12,14}(?:\.\d+)?)\s*[,}]/;

/** A histogram of times: each class is 9 % wider than the one before. */
export class Times {
  readonly #counts = new Uint32Array(320);
  count = 0;

  /** @param ms below 0 counts as 0 */
  add(ms: number): void {
    const micros = Math.max(1, ms * 1000);
    const at = Math.min(Math.floor(Math.log2(micros) * 8), this.#counts.length - 1);
    this.#counts[at] = (this.#counts[at] as number) + 1;
    this.count++;
  }

  /** ms that a part of all does not exceed, to 9 %; NaN when there are none. */
  percentile(part: number): number {
    let left = this.count * part;
    for (let at = 0; at < this.#counts.length; at++) {
      left -= this.#counts[at] as number;
      if (left <= 0 && this.count > 0) return 2 ** ((at + 1) / 8) / 1000;
    }
    return Number.NaN;
  }
}

/** The beginning of a message, byte by byte. */
function textOf(length: number, buffer: Buffer, start: number): string {
  return buffer.toString("latin1", start, start + Math.min(length, LOOK_BYTES));
}

/** The time that a message says it was sent at; NaN when it says none. */
export function sentAt(text: string, now: number): number {
  const time = Number(TIME.exec(text)?.[1]);
  return Math.abs(now - time) < PLAUSIBLE ? time : Number.NaN;
}

/** A client that has got the probe. */
interface Found {
  readonly client: Client;
  /** Messages that it had got then, that one included. */
  readonly messages: number;
  /** ms behind the first. */
  readonly late: number;
}

export class Latency {
  readonly sent = new Times();
  readonly spread = new Times();
  /** Messages that clients missed, as far as probes tell. */
  missed = 0;
  #seen = 0;
  #nextLook = 0;
  #stride = 1;
  #looked = 0;
  #secondEnds = 0;
  #readAt = 0;
  /** Nothing came for a while: the next message is the first of its kind. */
  #isFresh = false;
  #probe = 0;
  #probeLength = -1;
  #probeText = "";
  #probeAt = 0;
  #found: Found[] = [];

  /** A client reads: before its messages. */
  read(): void {
    const now = performance.now();
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
      // As many as would have been enough in the second before.
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
      // The same text comes more than once: it does not tell which message it is.
      this.#probeLength = -1;
      this.#found = [];
      return;
    }
    client.probe = this.#probe;
    const late = this.#readAt - this.#probeAt;
    this.#found.push({ client, messages: client.messages, late });
  }

  /** What the last probe has found counts, once it is known to have come but once. */
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
