// A client: its socket in memory, the bytes that have arrived, parsed, and its possible next steps.
//
// Invariant: each response and frame is reported to the judge once, as soon as it is whole; nothing arrives after the
// last response of a connection, or after a Close; a pong answers a ping, in their order; each side's end is reported
// once.

import { latin1 } from "../../host/shared/text/text";
import type { MemorySocket } from "../../worker/net/memory";
import { closeFrame, frame } from "../lib/frame";
import type { Judge } from "./judge";
import type { Lines } from "./lines";
import type { Cut, Manners } from "./steps";
import {
  type Arrived,
  type Aside,
  type Frame,
  isStreamHead,
  takeAnswer,
  takeEvent,
  takeFrame,
} from "./stream";
import type { Upstreams } from "./upstreams";

/** ms before which no time limit may end a connection, the least that any is set to: of silence, of its life. */
const SILENCE: Readonly<Record<string, number>> = { IdleTimeout: 20000, KeepAliveTimeout: 1000 };
const LIFE: Readonly<Record<string, number>> = { HeadTimeout: 10000, RequestTimeout: 20000 };

/** Least bytes a second that clients must read in a timed run, and ms in which a kernel's step is read at that rate. */
export const SEND_RATE = 2000;
export const STEP_MILLIS = (131072 * 1000) / SEND_RATE;
/** Why a client that reads at the rate, and answers pings, does not end. */
const STEADY = new Set([
  ...["WriteTimeout", "TooSlow", "IdleTimeout", "CloseTimeout", "EvictedUnread"],
]);
/** ms that a stopped client has: its last progress may be from before the first reading, at half of `writeTimeout`. */
const STOPPED_MILLIS = STEP_MILLIS - 15000 - 3000;
/** ms before which a connection does not make room: after its end, and after its last byte. */
const END_GRACE = 1000;
const LOOP_GRACE = 20;

/** A message that the client has sent and the handler has not seen. */
interface Said {
  readonly tag: number;
  readonly opcode: number;
  readonly payload: Uint8Array;
}

/** The part of the world that a client uses. */
interface Surroundings {
  readonly judge: Judge;
  /** The run is at its end, so all clients read. */
  readonly isEnding: boolean;
  now(): number;
  defer(fn: () => void): void;
  settle(): Promise<void>;
  /** Returns the error page of a status; undefined: it has none. */
  pageOf(status: number): string | undefined;
  /** Bytes have arrived. */
  received(bytes: Uint8Array): void;
  /** The access log. */
  readonly lines: Lines;
  /** Where connections that are not HTTP are handed to; undefined: each must be HTTP. */
  readonly upstreams: Upstreams | undefined;
}

export class Client {
  readonly id: number;
  readonly socket: MemorySocket;
  readonly #manners: Manners;
  readonly #around: Surroundings;
  /** "closed": a Close has arrived; "over": the last answer has; "raw": it does not speak HTTP. */
  phase: "http" | "frames" | "closed" | "over" | "raw" = "http";
  /** When its phase began, it connected, and it last sent something. */
  phaseAt: number;
  readonly cameAt: number;
  spokeAt: number;
  /** Bytes of an incomplete response or frame, their number, and how many are needed for the next attempt to parse. */
  #parts: Uint8Array[] = [];
  rest = 0;
  #needed = 0;
  /** Bytes that may follow the last answer: a refusal may be of a time before its request was known to be a HEAD. */
  #spare = "";
  /** For each request without an answer: whether it is a HEAD. */
  readonly heads: boolean[] = [];
  /** Pings without a pong. */
  readonly pings: string[] = [];
  readonly said: Said[] = [];
  /** Compressed messages were agreed upon. */
  deflates = false;
  /** It has asked for its WebSocket. */
  isUpgrading = false;
  /** It has asked for an event stream. */
  isStream = false;
  /** The last position that it has received. */
  position: string | undefined;
  /** It has asked for one, perhaps in vain. */
  isSource = false;
  /** It knows after which time it reconnects. */
  #hasRetry = false;
  /** It has sent nothing yet; it has received nothing yet, so it may turn out not to speak HTTP. */
  isFresh = true;
  isUnknown = true;
  /** It sends nothing more that would be answered. */
  isDone = false;
  hasEnded = false;
  hasReset = false;
  #endedAt = 0;
  /** When its last event arrived. */
  #heardAt = 0;
  /** The part of it that has stopped for ever. */
  frozen: "" | "process" | "machine" = "";
  #frozenAt = 0;
  /** Since when, at least, it is frozen with a write outstanding. */
  stuckAt = Number.POSITIVE_INFINITY;
  /** A message for it was refused, and its `drain` has not been called. */
  isThirsty = false;
  /** Why its connection ended, as reported to the handler, or why its upgrade failed. */
  cause: string | undefined;
  lapsed: string | undefined;
  #isNoted = false;
  /** The server's half-close has been reported to the judge. */
  #isFinished = false;

  constructor(id: number, socket: MemorySocket, manners: Manners, around: Surroundings) {
    this.id = id;
    this.socket = socket;
    this.#manners = manners;
    this.#around = around;
    this.phaseAt = around.now();
    this.cameAt = this.phaseAt;
    this.spokeAt = this.phaseAt;
    socket.notify = () => {
      if (this.#isNoted || !this.isReading) return;
      this.#isNoted = true;
      around.defer(() => {
        this.#isNoted = false;
        this.read(Number.POSITIVE_INFINITY);
      });
    };
  }

  fail(text: string): never {
    throw new Error(`${this}: ${text}`);
  }

  /** It reads everything at once: always, or while it waits for its WebSocket. */
  get isReading(): boolean {
    const isWaiting = this.isUpgrading && this.phase === "http";
    return this.frozen === "" && (this.#around.isEnding || this.#manners.prompt || isWaiting);
  }

  get isPrompt(): boolean {
    return this.#manners.prompt;
  }

  /** It may still send something. */
  get isAlive(): boolean {
    return !this.isDone && !this.hasEnded && this.socket.gone === "";
  }

  /** Its WebSocket is open, as far as it knows. */
  get isOpen(): boolean {
    return this.isAlive && this.phase === "frames";
  }

  async send(bytes: Uint8Array, { at, turns }: Cut): Promise<void> {
    let from = 0;
    for (const part of [...at, 1]) {
      const to = Math.floor(part * bytes.length);
      // It may have ended between two pieces; its socket drops all bytes after its end.
      if (this.hasEnded || this.socket.gone) return;
      if (to > from) {
        const piece = bytes.subarray(from, to);
        if (this.phase === "raw" || this.isUnknown) this.#around.upstreams?.sent(this, piece);
        this.isFresh = false;
        this.socket.send(piece);
      }
      from = Math.max(from, to);
      if (turns && part < 1) await this.#around.settle();
    }
    if (bytes.length > 0) this.spokeAt = this.#around.now();
  }

  /** It does not speak HTTP. */
  beRaw(): void {
    if (this.phase === "raw") return;
    if (this.phase !== "http" || !this.isUnknown) this.fail("it was taken out of HTTP");
    this.#enter("raw");
    this.isUnknown = false;
    this.isUpgrading = false;
    this.heads.length = 0;
    this.#around.judge.released(this);
  }

  end(): void {
    this.hasEnded = true;
    this.#endedAt = this.#around.now();
    this.isDone = true;
    if (this.phase !== "raw") this.#around.judge.left(this);
    this.socket.end();
  }

  reset(): void {
    this.hasReset = true;
    this.isDone = true;
    // The engine does the same for both.
    this.socket.reset(this.id % 2 === 0 ? "ECONNRESET" : "ETIMEDOUT");
  }

  freeze(what: "process" | "machine"): void {
    this.frozen = what;
    this.#frozenAt = this.#around.now();
    this.isDone = true;
    if (what === "machine") this.socket.unplug();
  }

  /** Reads as much as its rate allows in `ms` ms. */
  readAtRate(ms: number): void {
    const { rate = 0 } = this.#manners;
    if (rate > 0) this.read((rate * ms) / 1000);
  }

  read(limit: number): void {
    if (this.socket.gone === "reset" || this.frozen) return;
    const bytes = this.socket.read(limit);
    if (bytes.length > 0) this.#around.received(bytes);
    if (bytes.length > 0) this.#parts.push(bytes);
    this.rest += bytes.length;
    if (this.rest > 0 && (this.rest >= this.#needed || this.socket.ended)) this.#takeAll();
    const isFinished = this.socket.ended && this.socket.gone === "";
    if (isFinished && !this.#isFinished) {
      this.#isFinished = true;
      this.#around.judge.finished(this);
    }
    if (!this.#manners.polite || this.hasEnded || this.hasReset) return;
    if (this.phase === "closed" && !this.isDone) {
      this.isDone = true;
      if (!this.isStream) this.socket.send(closeFrame(1000));
    }
    if (this.socket.ended) this.end();
  }

  #takeAll(): void {
    if (this.phase === "raw") {
      for (const part of this.#parts) this.#around.upstreams?.received(this, part);
      this.#parts = [];
      this.rest = 0;
      return;
    }
    if (this.isUnknown) this.#around.upstreams?.forget(this);
    this.isUnknown = false;
    let bytes =
      this.#parts.length === 1 ? (this.#parts[0] as Uint8Array) : Buffer.concat(this.#parts);
    while (bytes.length > 0) {
      const taken = this.#takeOne(bytes);
      if (taken === 0) break;
      bytes = bytes.subarray(taken);
      this.#needed = 0;
    }
    this.#parts = bytes.length > 0 ? [bytes] : [];
    this.rest = bytes.length;
  }

  /** Takes an answer or a frame off the front. @returns its bytes; 0 when it is not whole */
  #takeOne(bytes: Uint8Array): number {
    if (this.phase === "over" || this.phase === "closed") {
      if (this.#spare.startsWith(latin1(bytes, 0, bytes.length))) return 0;
      this.fail(`${bytes.length} bytes after the end`);
    }
    const found = this.phase === "http" ? this.#nextAnswer(bytes) : this.#nextFrame(bytes);
    if (typeof found === "number") {
      this.#needed = found;
      return 0;
    }
    if ("retry" in found) {
      this.#takeAside(found);
      return found.bytes.length;
    }
    if ("status" in found) this.#takeAnswer(found);
    else this.#takeFrame(found);
    return found.bytes.length;
  }

  #nextAnswer(bytes: Uint8Array): Arrived | number {
    const isBare = this.heads[0] === true || (this.isStream && isStreamHead(bytes));
    return takeAnswer(bytes, isBare, this.socket.ended);
  }

  #nextFrame(bytes: Uint8Array): Frame | Aside | number {
    return this.isStream ? takeEvent(bytes) : takeFrame(bytes);
  }

  /** A comment comes after silence; the time to reconnect comes once, before all events. */
  #takeAside({ retry }: Aside): void {
    if ((retry === undefined) !== this.#hasRetry)
      this.fail(retry === undefined ? "a comment before its time to reconnect" : "a second retry");
    if (retry !== undefined && !(retry >= 1000 && retry <= 5000)) this.fail(`retry: ${retry}`);
    const now = this.#around.now();
    if (retry === undefined && this.isPrompt && now - this.#heardAt < 15000)
      this.fail("a comment without silence");
    this.#hasRetry = true;
    this.#heardAt = now;
  }

  #enter(phase: Client["phase"]): void {
    this.phase = phase;
    this.phaseAt = this.#around.now();
  }

  #takeAnswer(answer: Arrived): void {
    const isLast = /\bclose\b/.test(answer.fields.get("connection") ?? "");
    const isHead = answer.status !== 100 && this.heads.shift() === true;
    if (isHead && answer.status >= 400)
      this.#spare = this.#around.pageOf(answer.status) ?? `${answer.phrase}\n`;
    if (answer.status === 101 || (this.isStream && isStreamHead(answer.bytes))) {
      this.#enter("frames");
      this.deflates = answer.fields.has("sec-websocket-extensions");
    } else if (isLast) {
      this.isDone = true;
      this.#enter("over");
    }
    this.#around.lines.answered(this, answer.status);
    this.#around.judge.answer(this, answer);
  }

  #takeFrame(frame: Frame): void {
    if (this.isStream && !this.#hasRetry) this.fail("an event before its time to reconnect");
    this.#heardAt = this.#around.now();
    this.position = frame.event?.id ?? this.position;
    if (frame.opcode === 9 && this.#manners.rate) this.#answerPing(frame.payload);
    if (frame.opcode === 10) this.#takePong(latin1(frame.payload, 0, frame.payload.length));
    else if (frame.opcode === 8) this.#enter("closed");
    this.#around.judge.frame(this, frame);
  }

  #answerPing(payload: Uint8Array): void {
    if (!this.isOpen) return;
    this.socket.send(frame(10, payload));
    this.spokeAt = this.#around.now();
  }

  /** A client that reads slowly gets the newest pong alone. */
  #takePong(text: string): void {
    const index = this.pings.indexOf(text);
    if (index < 0) this.fail("a pong to no ping");
    this.pings.splice(0, index + 1);
  }

  /** The server says why the connection ended. */
  ended(cause: string): void {
    if (this.cause !== undefined) this.fail(`it ended twice: ${this.cause}, ${cause}`);
    this.cause = cause;
    this.#around.upstreams?.ended(this, cause);
    const now = this.#around.now();
    if (now - this.spokeAt < (SILENCE[cause] ?? 0) || now - this.cameAt < (LIFE[cause] ?? 0))
      this.fail(`${cause} at ${now}; it came at ${this.cameAt}, spoke at ${this.spokeAt}`);
    if (this.#manners.rate) this.#judgePace(cause, now);
    this.#judgeRoom(cause, now);
  }

  /** A client that reads at its rate is not ended as slow; one that has stopped has the time of a step. */
  #judgePace(cause: string, now: number): void {
    if (!STEADY.has(cause)) return;
    // After its last message it answers no ping.
    const isSilent = (this.isDone || this.phase === "raw") && cause === "IdleTimeout";
    if (this.frozen === "" && !isSilent) this.fail("it reads at the least rate");
    const isWrite = cause === "WriteTimeout" || cause === "TooSlow";
    if (this.frozen === "process" && isWrite && now - this.#frozenAt < STOPPED_MILLIS)
      this.fail(`its process stopped ${now - this.#frozenAt} ms ago`);
  }

  #judgeRoom(cause: string, now: number): void {
    if (cause === "EvictedEnded" && !(this.hasEnded && now - this.#endedAt >= END_GRACE))
      this.fail("it has not ended its side for long enough to make room");
    // An unread refusal may have crossed its request.
    const isRead = this.socket.unread === 0;
    if (cause === "EvictedUnfinished" && isRead && now - this.spokeAt < LOOP_GRACE)
      this.fail("it has just sent something, and makes room");
  }

  /** Why it ended, as far as this was reported to the handler. */
  get why(): string | undefined {
    return this.cause ?? this.lapsed;
  }

  toString(): string {
    return `client ${this.id} (${this.phase}, ${this.why ?? "open"})`;
  }
}
