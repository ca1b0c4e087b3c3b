// One connection of an EngineDriver: bytes go in here, answers and messages too.
//
// Invariant: after `shut` has been told every call is a no-op that returns false. Of the bytes it was fed
// it keeps at most those of one call: it says then that it does not read, and refuses more.

import { Answer, CloseReason, FrameFlag, Outcome, SLOT_LIMIT } from "../../assembly/abi";
import { checkClose } from "../../host/shared/close";
import { bytesOf, messageOf, pingOf } from "../../host/shared/message/data";
import { flagsOf } from "../../host/shared/message/flags";
import type { Data } from "../../host/handler";
import { show } from "../../host/shared/text/show";
import { checkBody, checkField } from "../../host/shared/request/response";
import type { EngineLoop } from "../engine/loop";

/** What a wire asks of its driver. */
export interface WireOwner<User> {
  /** @internal */
  readonly loop: EngineLoop<Wire<User>>;
  /** @internal */
  isReading(wire: Wire<User>): boolean;
  /** @internal */
  feed(wire: Wire<User>, bytes: Uint8Array): boolean;
  /** @internal */
  written(wire: Wire<User>): void;
  /** @internal */
  ended(wire: Wire<User>): void;
  /** @internal */
  lost(wire: Wire<User>, reason: CloseReason): void;
  /** @internal */
  pause(wire: Wire<User>, isPaused: boolean): void;
  /** @internal */
  answered(wire: Wire<User>): void;
  /** @internal */
  upgrade(wire: Wire<User>, fieldsLength: number): boolean;
  /** @internal */
  nextBody(): number;
}

/** Bytes of a body up to which it is copied into the engine; a larger one is sent from a copy outside. */
const INLINE_BODY = 65536;

const NOTHING = new Uint8Array(0);

/** Header fields, a name and a value each; a name may occur again. */
export type WireFields = readonly (readonly [name: string, value: string])[];

/** @throws RangeError */
function checkStatus(status: number): void {
  if (!Number.isInteger(status) || status < 200 || status > 599)
    throw new RangeError(`status: ${show(status)} is not a whole number from 200 to 599`);
}

// It is the LoopConnection of the driver's EngineLoop, but must not say so: the published type has none of its members.
/** One connection, from `accept` to `shut`. */
export class Wire<User = unknown> {
  /** @internal */
  static readonly name = "Wire";
  /** Yours. */
  user: User | undefined;
  /** What it is called in the log of its host: an address, or "". */
  readonly remoteAddress: string;
  readonly #driver: WireOwner<User>;
  /** @internal */
  slot: number;
  /** @internal */
  generation: number;
  /** @internal */
  state: "http" | "open" | "closing" = "http";
  /** @internal */
  dead = false;
  /** @internal a request is out */
  isAsked = false;
  /** @internal fed and not taken in */
  rest: Uint8Array | undefined;
  /** @internal bytes that wait to be parsed */
  unparsed = 0;
  /** @internal */
  isPaused = false;
  /** @internal */
  isEnded = false;
  /** @internal the body of its request is streamed */
  isStreamed = false;
  /** @internal the text of the peer's Close frame */
  closeText = "";
  /** @internal bodies that are sent from here, by number */
  readonly bodies = new Map<number, Uint8Array>();
  /** @internal */
  wasReading = true;

  /** @internal */
  constructor(driver: WireOwner<User>, slot: number, generation: number, address: string) {
    this.#driver = driver;
    this.slot = slot;
    this.generation = generation;
    this.remoteAddress = address;
  }

  /** Names it for ever; `driver.wire(id)` finds it. Changes once, when it becomes a WebSocket. */
  get id(): number {
    return this.generation * SLOT_LIMIT + this.slot;
  }

  /** True for a WebSocket to which messages can be sent. */
  get isOpen(): boolean {
    return this.state === "open" && !this.dead;
  }

  /** True once `shut` has been told. */
  get isDead(): boolean {
    return this.dead;
  }

  /** True while it takes bytes: `feed` refuses them otherwise, and `reading` is told when it is true again. */
  get isReading(): boolean {
    return this.#driver.isReading(this);
  }

  /** @internal A request is out, or it is paused. */
  get isOut(): boolean {
    return this.isAsked || this.isPaused;
  }

  /** @internal Paused, and HTTP. A paused WebSocket is read for one window, so that its end is seen. */
  get isStopped(): boolean {
    return this.isPaused && this.state === "http";
  }

  /** @internal */
  die(): void {
    this.isAsked = false;
    this.isStreamed = false;
    this.bodies.clear();
  }

  // ---- what the transport tells ------------------------------------------------------------------------

  /**
   * Bytes arrived, cut anywhere. They are copied.
   * @returns `isReading`: false asks the transport to stop reading until `reading` is told
   * @throws Error when it does not read
   */
  feed(bytes: Uint8Array): boolean {
    return this.#driver.feed(this, bytes);
  }

  /** The write for which `write` returned false is through: its bytes are not read any more. */
  written(): void {
    this.#driver.written(this);
  }

  /** The peer ended its side. */
  ended(): void {
    this.#driver.ended(this);
  }

  /** The transport lost the connection. */
  lost(): void {
    this.#driver.lost(this, CloseReason.PeerReset);
  }

  // ---- answers -----------------------------------------------------------------------------------------

  /**
   * Answers the request that is out; Content-Length and Date are put in.
   * @param status 200 … 599
   * @param body copied @param options `close`: ends the connection behind it
   * @returns false when no request is out
   * @throws TypeError, RangeError
   */
  respond(
    status: number,
    fields: WireFields = [],
    body: Data = NOTHING,
    options: { close?: boolean } = {},
  ): boolean {
    checkStatus(status);
    const bytes = bytesOf(checkBody(body));
    const length = this.#putFields(fields);
    if (!this.isAsked) return false;
    const { loop } = this.#driver;
    const { engine } = loop;
    const flags = options.close ? Answer.Close : 0;
    this.isAsked = false;
    let outcome: Outcome;
    if (bytes.length <= INLINE_BODY) {
      engine.put(bytes, length);
      outcome = loop.respond(this, status, flags, length, bytes.length);
    } else {
      const number = this.#driver.nextBody();
      const own = new Uint8Array(bytes);
      outcome = loop.respondStatic(this, status, flags, length, number, own.length);
      if (outcome === Outcome.Ok && loop.isBodyQueued) this.bodies.set(number, own);
    }
    this.#driver.answered(this);
    return outcome === Outcome.Ok;
  }

  /** Begins an answer whose body follows by `write` and `end`. @returns false when no request is out */
  begin(status: number, fields: WireFields = []): boolean {
    checkStatus(status);
    const length = this.#putFields(fields);
    if (!this.isAsked) return false;
    return this.#driver.loop.streamBegin(this, status, Answer.Stream, length) === Outcome.Ok;
  }

  /** Queues a piece of the body. @returns false when the queue is full (`drain` follows) or it has gone */
  write(data: Data): boolean {
    const bytes = bytesOf(checkBody(data, "write"));
    if (!this.isAsked) return false;
    if (bytes.length === 0) return true;
    const outcome = this.#driver.loop.streamWrite(this, bytes);
    // An answer without a body, to HEAD, takes its pieces and drops them.
    return outcome === Outcome.Ok || outcome === Outcome.TooLarge;
  }

  /** Ends the body. */
  end(): boolean {
    if (!this.isAsked) return false;
    this.isAsked = false;
    const outcome = this.#driver.loop.streamEnd(this);
    this.#driver.answered(this);
    return outcome === Outcome.Ok;
  }

  /**
   * Answers an opening handshake (`request.upgrade`): it is a WebSocket from now on, with another id.
   * @param fields of the 101, such as Sec-WebSocket-Protocol
   * @returns false when it was refused: all WebSockets are taken, or no request is out
   */
  upgrade(fields: WireFields = []): boolean {
    const length = this.#putFields(fields);
    return this.isAsked && this.#driver.upgrade(this, length);
  }

  /** Waits for a piece of a streamed body: the client is told to go on (100), and its silence counts. */
  pull(): void {
    if (!this.isDead) this.#driver.loop.pull(this);
  }

  #putFields(fields: WireFields): number {
    const checked = fields.map(([name, value]) => checkField(name, value));
    const length = this.#driver.loop.engine.putFields(checked);
    if (length < 0) throw new RangeError("fields: more than can be sent");
    return length;
  }

  // ---- WebSockets --------------------------------------------------------------------------------------

  /** Queues a message for this client. @returns false when its queue is full (`drain` follows) or it has gone */
  send(data: Data, options: { binary?: boolean } = {}): boolean {
    const payload = messageOf("send", data, options);
    if (!this.isOpen) return false;
    const { loop } = this.#driver;
    const { engine } = loop;
    const flags = flagsOf(payload, options);
    const bytes = bytesOf(payload);
    if (bytes.length <= engine.scratchBytes) {
      engine.put(bytes);
      return loop.send(this, flags, bytes.length) === Outcome.Ok;
    }
    const first = flags & FrameFlag.Binary ? 0x82 : 0x81;
    return loop.sendLarge(this, first, bytes) === Outcome.Ok;
  }

  /** Sends a ping. @param data at most 125 bytes */
  ping(data: Data = NOTHING): boolean {
    const bytes = pingOf(data);
    if (!this.isOpen) return false;
    const { loop } = this.#driver;
    loop.engine.put(bytes);
    return loop.ping(this, bytes.length) === Outcome.Ok;
  }

  /** Subscribes to a topic of 1 to 200 bytes. @throws RangeError when all topics or subscriptions are taken */
  subscribe(topic: string): boolean {
    const { loop } = this.#driver;
    const length = loop.engine.putTopic(topic);
    if (!this.isOpen) return false;
    const outcome = loop.subscribe(this, length);
    if (outcome === Outcome.Full) throw new RangeError("subscribe: all topics are taken");
    return outcome === Outcome.Ok;
  }

  /** @returns false when there was no such subscription */
  unsubscribe(topic: string): boolean {
    const { loop } = this.#driver;
    const length = loop.engine.putTopic(topic);
    return !this.isDead && loop.unsubscribe(this, length) === Outcome.Ok;
  }

  /** Sends a Close frame behind what is queued, and waits for the peer's. @throws RangeError, TypeError */
  close(code = 1000, reason = ""): boolean {
    checkClose(code, reason);
    if (!this.isOpen) return false;
    this.state = "closing";
    const { loop } = this.#driver;
    return loop.close(this, code, reason, CloseReason.Application) === Outcome.Ok;
  }

  /** Ends the connection now, with a reset: `shut` is told before this returns, `closed` with the next turn. */
  terminate(): void {
    this.#driver.lost(this, CloseReason.Application);
  }

  /** Stops taking in bytes. */
  pause(): void {
    this.#driver.pause(this, true);
  }

  /** Goes on with taking in bytes. */
  resume(): void {
    this.#driver.pause(this, false);
  }
}
