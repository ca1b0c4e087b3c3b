// What one client must receive: a list of answers, then a list of frames. Nothing else is known of the server.
//
// Invariant: what arrives is the front of these lists, until the connection ends for a reason that the client,
// the handler or the settings have given. An end in order comes behind everything that was owed before it.

import { latin1 } from "../../host/text";
import { zlibCodec } from "../../worker/net/zlib";
import { type Frame, takeAnswer, takeFrame } from "./stream";

/** An answer that is owed. */
export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly isHead: boolean;
  /** What follows it: the next one, the end of the connection, either. */
  readonly end: "next" | "end" | "either";
  /**
   * "never": it does not come; "breaks": it does not come to its end; "fails": it may be 500 instead; "stub": the
   * request is not whole.
   */
  readonly but?: "never" | "breaks" | "fails" | "stub";
}

/** A message that is owed. */
interface Owed {
  readonly at: number;
  readonly opcode: number;
  readonly payload: Uint8Array;
  /** Published; sent to this client; sent by the application, which is not told when there was no room. */
  readonly by: "publish" | "send" | "record";
}

/** What a client has said and the handler has not heard. */
export interface Said {
  readonly tag: number;
  readonly opcode: number;
  readonly payload: Uint8Array;
}

/** What holds for all clients of a run. */
export interface Rules {
  /** An answer may say that it is the last, though nobody asked for it. */
  mayClose(): boolean;
  /** The queues had no room for messages of the application: those were kept, and what was published overtook them. */
  isLoose(): boolean;
  /** Requests are shed while too many are with the application, or in the pool. */
  readonly sheds: boolean;
  /** Buffers are few: a request may wait for one for as long as its time limit. */
  readonly isScarce: boolean;
  /** Blocks for what is sent are few: a Close may find none, the end is a reset then. */
  readonly isStarved: boolean;
  now(): number;
}

/** Ends with which bytes are lost; at the others all has been sent. */
const CUTS = new Set(
  [
    ["PeerReset", "PeerEnded", "Evicted", "WsClientTooSlow", "WriteTimeout", "IdleTimeout"],
    ["NoBuffer", "NoRoom", "Shutdown", "HandlerError", "Application", "CloseTimeout"],
    ["HeadTimeout", "RequestTimeout"],
  ].flat(),
);

/** ms before which no time limit may end a connection, the least that any is set to: of silence, of its life. */
const SILENCE: Readonly<Record<string, number>> = { IdleTimeout: 20000, KeepAliveTimeout: 1000 };
const LIFE: Readonly<Record<string, number>> = { HeadTimeout: 10000, RequestTimeout: 20000 };

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

function firstBytes(payload: Uint8Array): string {
  return Buffer.from(payload.subarray(0, 24)).toString("hex");
}

function brief(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}… (${text.length})` : text);
}

export class Client {
  readonly id: number;
  readonly isPrompt: boolean;
  readonly #rules: Rules;
  #phase: "http" | "frames" | "closed" | "over" = "http";
  /** When it came into its phase. */
  phaseAt = 0;
  #received: Uint8Array = new Uint8Array(0);
  /** Bytes that may still arrive when it is over. */
  #spare = 0;
  #answers: Answer[] = [];
  #frames: Owed[] = [];
  #count = 0;
  /** Messages before this one come before any Close. */
  #owed = 0;
  /** Codes that a Close may have. */
  readonly #codes = new Set([1013]);
  readonly #causes = new Set(["Evicted", "NoBuffer", "NoRoom"]);
  #pings: string[] = [];
  said: Said[] = [];
  readonly topics = new Set<number>();
  /** 100 (Continue) may come. */
  expects = false;
  /** Compressed messages may go either way. */
  deflates = false;
  /** It will say nothing more that is to be answered. */
  isDone = false;
  hasReset = false;
  /** Messages of the handler's were refused, and it has not been told that there is room. */
  isThirsty = false;
  /** The handler of its last message has not settled. */
  isBusy = false;
  /** Its handler never settles, or it is not read. */
  isStuck = false;
  /** A request of it is not whole, or it has made none. */
  isStub = true;
  /** Messages that it sent may not have been handled: its end came between. */
  get isUnheard(): boolean {
    return this.hasReset || (this.why !== undefined && CUTS.has(this.why)) || this.#codes.has(1011);
  }

  cause: string | undefined;
  #lapsed: string | undefined;
  readonly #cameAt: number;
  spokeAt: number;
  /** Messages that were lost for want of room, without anybody having been told. */
  missed = 0;

  constructor(id: number, isPrompt: boolean, rules: Rules) {
    this.id = id;
    this.isPrompt = isPrompt;
    this.#rules = rules;
    this.#cameAt = rules.now();
    this.spokeAt = this.#cameAt;
    if (!isPrompt) this.mayEnd("WsClientTooSlow", "WriteTimeout");
    this.mayEnd("KeepAliveTimeout", "IdleTimeout");
  }

  /** "over": nothing may arrive any more. */
  get phase(): "http" | "frames" | "closed" | "over" {
    return this.#phase;
  }

  #enter(phase: Client["phase"]): void {
    this.#phase = phase;
    this.phaseAt = this.#rules.now();
  }

  #fail(text: string): never {
    throw new Error(`client ${this.id}: ${text}`);
  }

  // ---- what is owed ------------------------------------------------------------------------------------

  /** It may end for these reasons from now on. */
  mayEnd(...causes: readonly string[]): void {
    for (const cause of causes) this.#causes.add(cause);
  }

  oweAnswer(answer: Answer): void {
    this.#answers.push(answer);
    if (answer.end !== "next") this.mayEnd("Ok");
    if (answer.end === "end" || answer.but === "never" || answer.but === "stub") this.isDone = true;
    if (answer.but === "breaks" || answer.status === 500 || answer.but === "fails")
      this.mayEnd("HandlerError");
    const isLate = this.isStub && this.#rules.now() - this.#cameAt >= (LIFE.HeadTimeout as number);
    this.isStub = isLate || answer.but === "stub";
    if (answer.but === "never") this.isStuck = true;
  }

  oweFrame(opcode: 1 | 2, payload: Uint8Array, by: Owed["by"]): void {
    this.#frames.push({ at: this.#count++, opcode, payload, by });
  }

  owePong(text: string): void {
    this.#pings.push(text);
  }

  mayCloseWith(code: number): void {
    this.#codes.add(code);
  }

  /** Its newest ping has no pong yet. */
  get isUnanswered(): boolean {
    return this.#pings.length > 0;
  }

  /** A Close may come from now on, behind all that is owed now. */
  farewell(code: number, cause: string): void {
    // The first is the one that counts: the engine knows of it before its host does.
    if (this.#codes.size === 1) this.#owed = this.#count;
    this.#codes.add(code);
    this.mayEnd(cause, "CloseTimeout");
  }

  // ---- what arrives --------------------------------------------------------------------------------------

  /** Bytes have arrived. @param ended nothing follows @throws Error for what is not owed */
  take(bytes: Uint8Array, ended: boolean): void {
    this.#received = this.#received.length === 0 ? bytes : Buffer.concat([this.#received, bytes]);
    while (this.#received.length > 0 && this.#takeOne(ended));
  }

  #takeOne(ended: boolean): boolean {
    if (this.phase === "over") {
      if (this.#received.length > this.#spare) this.#fail("bytes after the end");
      return false;
    }
    const isHttp = this.phase === "http";
    const found = isHttp
      ? takeAnswer(this.#received, this.#answers[0]?.isHead === true, ended)
      : takeFrame(this.#received);
    if (!found) return false;
    this.#received = this.#received.subarray(found.length);
    if ("status" in found) this.#judgeAnswer(found.status, found.body, found.fields);
    else this.#judgeFrame(found);
    return true;
  }

  #judgeAnswer(status: number, body: string, fields: ReadonlyMap<string, string>): void {
    if (status === 100) {
      if (!this.expects) this.#fail("a 100 (Continue) that nobody expects");
      return;
    }
    const closes = /\bclose\b/.test(fields.get("connection") ?? "");
    const owed = this.#answers.shift();
    const isIt = owed !== undefined && owed.status === status && owed.body === body;
    if (
      isIt &&
      owed.but !== "never" &&
      owed.but !== "stub" &&
      (owed.but !== "breaks" || owed.isHead)
    ) {
      if (closes && owed.end === "next" && !this.#rules.mayClose())
        this.#fail(`${status} is the last`);
      if (!closes && owed.end === "end" && status !== 101) this.#fail(`${status} is not the last`);
      if (closes) this.mayEnd("Ok");
      if (status === 101) {
        this.#enter("frames");
        this.deflates = fields.has("sec-websocket-extensions");
        return;
      }
      if (closes) this.#endAnswers();
      return;
    }
    if (owed && status === 503 && !closes && this.#rules.sheds) return;
    const isRefusal = status === 408 || status === 503 || (status === 500 && owed?.but === "fails");
    if (isRefusal && closes) {
      // It may be of a time before the HEAD.
      if (owed?.isHead) this.#spare = Number(fields.get("content-length"));
      this.#endAnswers();
      return;
    }
    const wanted = owed ? `${owed.status} ${brief(owed.body)} ${owed.but ?? ""}` : "nothing";
    this.#fail(`${status} ${brief(body)} arrived, ${wanted} is owed`);
  }

  #endAnswers(): void {
    this.#answers = [];
    this.isDone = true;
    this.#enter("over");
  }

  #judgeFrame(frame: Frame): void {
    if (this.phase === "closed") this.#fail("a frame after Close");
    if (frame.opcode === 8) this.#judgeClose(frame.payload);
    else if (frame.opcode === 10) this.#judgePong(latin1(frame.payload, 0, frame.length - 2));
    else if (frame.opcode !== 9) this.#judgeMessage(frame.opcode, this.#unpacked(frame));
  }

  #unpacked(frame: Frame): Uint8Array {
    if (!frame.packed) return frame.payload;
    if (!this.deflates) this.#fail("a compressed message that was not agreed upon");
    const whole = zlibCodec.inflate(frame.payload, 1 << 20);
    if (typeof whole === "string") this.#fail(`a compressed message that is ${whole}`);
    return whole;
  }

  #judgeClose(payload: Uint8Array): void {
    const code =
      payload.length === 0 ? 1005 : ((payload[0] as number) << 8) | (payload[1] as number);
    if (!this.#codes.has(code)) this.#fail(`a Close of ${code}, not one of ${[...this.#codes]}`);
    const lacks = this.#frames.filter((owed) => owed.at < this.#owed && !this.#isOptional(owed));
    if (lacks.length > 0 && code !== 1013) this.#fail(`Close came ${lacks.length} frames early`);
    this.#enter("closed");
  }

  /** The newest wins: those before it are answered no more. */
  #judgePong(text: string): void {
    const index = this.#pings.indexOf(text);
    if (index < 0) this.#fail("a pong to no ping");
    this.#pings.splice(0, index + 1);
  }

  /** True when a message may be missing where it stands. */
  #isOptional({ by }: Owed): boolean {
    return by === "record" || (by === "send" && this.#rules.isLoose());
  }

  #judgeMessage(opcode: number, payload: Uint8Array): void {
    let i = 0;
    for (; i < this.#frames.length; i++) {
      const owed = this.#frames[i] as Owed;
      if (owed.opcode === opcode && same(owed.payload, payload)) break;
      if (this.#isOptional(owed)) continue;
      this.#fail(
        `a message ${opcode} of ${payload.length} (${firstBytes(payload)}), ` +
          `${owed.opcode} of ${owed.payload.length} (${firstBytes(owed.payload)}) is owed`,
      );
    }
    if (i === this.#frames.length) this.#fail(`a message of ${payload.length}, none is owed`);
    const passed = this.#frames.splice(0, i + 1).slice(0, -1);
    // What the application was told is queued comes later; what nobody was told of does not come any more.
    const kept = passed.filter(({ by }) => by === "send");
    this.missed += passed.length - kept.length;
    this.#frames.unshift(...kept);
  }

  // ---- its end ---------------------------------------------------------------------------------------------

  /** The server says why it ended. */
  end(cause: string): void {
    if (this.cause !== undefined) this.#fail(`it ended twice: ${this.cause}, ${cause}`);
    this.cause = cause;
    const now = this.#rules.now();
    if (now - this.spokeAt < (SILENCE[cause] ?? 0) || now - this.#cameAt < (LIFE[cause] ?? 0))
      this.#fail(`${cause} at ${now}; it came at ${this.#cameAt}, spoke at ${this.spokeAt}`);
    const isLate = cause === "HeadTimeout" || cause === "RequestTimeout";
    if (isLate && (this.isStub || this.#rules.isScarce)) return;
    if (cause === "Ok" && this.#rules.mayClose()) return;
    if (!this.#causes.has(cause)) this.#fail(`it ended by ${cause}`);
  }

  /** Its upgrade failed, or it ended before it had opened. */
  lapse(cause: string): void {
    this.#lapsed = cause;
  }

  /** Why it ended, as far as the handler was told. */
  get why(): string | undefined {
    return this.cause ?? this.#lapsed;
  }

  /** What is owed and has not come; "" for nothing. */
  get lack(): string {
    if (this.hasReset || this.phase === "over" || this.phase === "closed") return "";
    if (this.why !== undefined && CUTS.has(this.why)) return "";
    if (this.why?.startsWith("Ws") && this.#rules.isStarved) return "";
    const [first] = this.#answers;
    if (first && !(first.but && first.but !== "fails"))
      return `${this.#answers.length} answers, the first ${first.status} ${brief(first.body)}`;
    const frames = this.#frames.filter(({ by }) => by !== "record");
    if (frames.length > 0)
      return `${frames.length} of ${this.#count} messages: ${frames.map((f) => `${f.by} ${f.payload.length}`)}`;
    if (this.#received.length > 0 && !first) return `the rest of ${this.#received.length} bytes`;
    return "";
  }

  /** Bytes or frames the client may still wait for. */
  toString(): string {
    return `client ${this.id} (${this.phase}, ${this.why ?? "open"})`;
  }
}
