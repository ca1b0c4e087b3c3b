// One connection of an EngineDriver. Its embedder feeds bytes in here, and responds and sends messages.
//
// Invariant: after `shut` was called every call is a no-op that returns false. The connection keeps unconsumed bytes of
// at most one `feed`; then it reports that it does not read, and refuses more.

import {
  Answer,
  CloseReason,
  Control,
  FrameFlag,
  Outcome,
  PIECE_LIMIT,
  SUPPLY_CHUNKS,
  SUPPLY_NONE,
} from "../../assembly/abi";
import { checkClose } from "../../host/shared/close";
import { bytesOf, messageOf, pingOf } from "../../host/shared/message/data";
import { eventOf } from "../../host/shared/message/event";
import { flagsOf } from "../../host/shared/message/flags";
import { idOf } from "../../host/shared/message/id";
import type { Data } from "../../host/handler";
import { show } from "../../host/shared/text/show";
import { checkBody, checkField } from "../../host/shared/request/response";
import type { EngineLoop } from "../engine/loop";
import type { Pages } from "../request/pages";
import { lossOf } from "../net/loss";
import { NextSupply, type Waits } from "../supply/gather";
import { type BodySource, isReadable } from "../supply/source";
import { ReadSupply, type Supply } from "../supply/supply";

/** The part of the driver that a wire calls. */
interface WireOwner<User> {
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
  openStream(wire: Wire<User>, fieldsLength: number): boolean;
  /** @internal */
  nextBody(): number;
  /** @internal */
  readonly waits: Waits;
  /** @internal */
  readonly pages: Pages;
  /** @internal */
  failed(wire: Wire<User>, thrown: unknown): void;
}

/**
 * Length (bytes) of a body up to which it is copied into the engine. A longer one is sent from a copy outside of it.
 */
const INLINE_BODY = 65536;

const NOTHING = new Uint8Array(0);

/** Header fields, each a name and a value. A name may occur more than once. */
export type WireFields = readonly (readonly [name: string, value: string])[];

/** Checks a status. @throws RangeError when it is not from 200 to 599 */
function checkStatus(status: number): void {
  if (!Number.isInteger(status) || status < 200 || status > 599)
    throw new RangeError(`status: ${show(status)} is not a whole number from 200 to 599`);
}

/** Checks a source of a body. @throws TypeError, RangeError */
function checkSource(source: BodySource): void {
  const given: unknown = source;
  const { size, read, next, close } = (given ?? {}) as Readonly<Record<string, unknown>>;
  const isBoth = typeof read === "function" && typeof next === "function";
  const isOne = typeof read === "function" || typeof next === "function";
  if (isBoth || !isOne || typeof close !== "function")
    throw new TypeError("source: must have either read(start, end) or next(), and close()");
  const isSized = Number.isSafeInteger(size) && (size as number) >= 0;
  if (isSized || (size === undefined && typeof next === "function")) return;
  throw new RangeError(`source.size: ${show(size)} is not a whole number from 0 to 2^53 - 1`);
}

// It has all members of the LoopConnection of the driver's EngineLoop. It must not name that interface, because the
// published type has none of those members.
/** One connection, from `accept` to `shut`. */
export class Wire<User = unknown> {
  /** @internal */
  static readonly name = "Wire";
  /** Any value of the embedder's. */
  user: User | undefined;
  /** The address that was passed to `accept`; "" for none. */
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
  /** @internal a request is pending */
  isAsked = false;
  /** True when it is, or may become, an event stream. */
  isStream = false;
  /** @internal bytes that were fed and not consumed */
  rest: Uint8Array | undefined;
  /** @internal number of bytes that are not parsed yet */
  unparsed = 0;
  /** @internal */
  isPaused = false;
  /** @internal */
  isEnded = false;
  /** @internal the body of its request is streamed */
  isStreamed = false;
  /** @internal the text of the peer's Close frame */
  closeText = "";
  /** @internal bodies that are sent from outside of the engine, by number */
  readonly bodies = new Map<number, Uint8Array>();
  /** @internal the body that is supplied to its response */
  supply: Supply | undefined;
  /** @internal */
  wasReading = true;

  /** @internal */
  constructor(driver: WireOwner<User>, slot: number, generation: number, address: string) {
    this.#driver = driver;
    this.slot = slot;
    this.generation = generation;
    this.remoteAddress = address;
  }

  /** A unique id, with which `driver.wire(id)` finds the connection. It changes once, when it becomes a WebSocket. */
  get id(): number {
    return idOf(this.slot, this.generation);
  }

  /** True for a WebSocket to which messages can be sent. */
  get isOpen(): boolean {
    return this.state === "open" && !this.dead;
  }

  /** True once `shut` was called. */
  get isDead(): boolean {
    return this.dead;
  }

  /** True while it accepts bytes. Otherwise `feed` throws, and `reading` is called when this is true again. */
  get isReading(): boolean {
    return this.#driver.isReading(this);
  }

  /** @internal True when a request is pending or it is paused. */
  get isOut(): boolean {
    return this.isAsked || this.isPaused;
  }

  /**
   * @internal True when it is paused, and HTTP. A paused WebSocket is read for one more window, so that its end is
   * seen.
   */
  get isStopped(): boolean {
    return this.isPaused && this.state === "http";
  }

  /** @internal */
  die(): void {
    this.isAsked = false;
    this.isStreamed = false;
    this.bodies.clear();
    this.supply?.close();
    this.supply = undefined;
  }

  // ---- events of the transport -------------------------------------------------------------------------

  /**
   * Gives it bytes that arrived, cut anywhere. They are copied.
   * @returns `isReading`; false: the transport should stop reading until `reading` is called
   * @throws Error when it does not read
   */
  feed(bytes: Uint8Array): boolean {
    return this.#driver.feed(this, bytes);
  }

  /** Reports that a write for which `write` returned false is complete: the transport no longer reads its bytes. */
  written(): void {
    this.#driver.written(this);
  }

  /** Reports that the peer ended its side. */
  ended(): void {
    this.#driver.ended(this);
  }

  /**
   * Reports that the transport lost the connection.
   * @param error the transport's error. With a `code` such as "ETIMEDOUT" the cause is "NetworkError", with
   * "ECONNRESET" or none it is "PeerReset".
   */
  lost(error?: Error): void {
    this.#driver.lost(this, lossOf(error));
  }

  // ---- responses ---------------------------------------------------------------------------------------

  /**
   * Responds to the pending request. Content-Length and Date are added. Without a body, and a field that describes one,
   * the response has its status's error page (`driver.setErrorPages`).
   * @param status 200 … 599
   * @param body copied
   * @param options `close`: the connection ends after the response
   * @returns false when no request is pending
   * @throws TypeError, RangeError
   */
  respond(
    status: number,
    fields: WireFields = [],
    body: Data = NOTHING,
    options: { close?: boolean } = {},
  ): boolean {
    checkStatus(status);
    const given = bytesOf(checkBody(body));
    const { loop, pages } = this.#driver;
    const page = status >= 400 && given.length === 0 ? pages.instead(status, fields) : undefined;
    const bytes = page?.body ?? given;
    const length = this.#putFields(page ? [...fields, page.type] : fields);
    if (!this.isAsked) return false;
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

  /**
   * Begins a response whose body follows by `write` and `end`.
   * @param length of the body in bytes, which becomes its Content-Length. Pieces beyond it are dropped, and a body that
   * lacks bytes at its end resets the connection. undefined: it is unknown
   * @returns false when no request is pending
   */
  begin(status: number, fields: WireFields = [], length?: number): boolean {
    checkStatus(status);
    if (length !== undefined && !(Number.isSafeInteger(length) && length >= 0))
      throw new RangeError(`length: ${length} is not a whole number from 0 to 2^53 - 1`);
    const fieldsLength = this.#putFields(fields);
    if (!this.isAsked) return false;
    const { loop } = this.#driver;
    const outcome = loop.streamBegin(this, status, Answer.Stream, fieldsLength, length ?? -1);
    return outcome === Outcome.Ok;
  }

  /** Queues a piece of the body. @returns false when the queue is full (`drain` follows) or the connection has ended */
  write(data: Data): boolean {
    const bytes = bytesOf(checkBody(data, "write"));
    if (!this.isAsked) return false;
    if (bytes.length === 0) return true;
    const outcome = this.#driver.loop.streamWrite(this, bytes);
    // A response without a body, as to HEAD, accepts pieces and drops them.
    return outcome === Outcome.Ok || outcome === Outcome.TooLarge;
  }

  /**
   * Responds with a body that comes from a source, which is asked for pieces when the peer has taken those before. They
   * are written from the source's own memory, and all of them together take at most `fileBuffers` bytes. When the
   * source fails, or has another length than its `size`, the connection is reset, and the next `feed` or `turn` throws
   * the error.
   * @param source closed once, whatever happens
   * @param options `close`: the connection ends after the response
   * @returns false when no request is pending
   * @throws TypeError, RangeError; the source is not closed then
   */
  respondFrom(
    status: number,
    fields: WireFields,
    source: BodySource,
    options: { close?: boolean } = {},
  ): boolean {
    checkStatus(status);
    checkSource(source);
    const length = this.#putFields(fields);
    const { loop } = this.#driver;
    const again = isReadable(source) ? Answer.Again : 0;
    const flags = Answer.Stream | Answer.Supply | again | (options.close ? Answer.Close : 0);
    const size = source.size ?? -1;
    const isBegun =
      this.isAsked && loop.streamBegin(this, status, flags, length, size) === Outcome.Ok;
    const begun = loop.engine.get(Control.Result);
    if (!isBegun || this.dead || begun & SUPPLY_NONE) {
      source.close();
      return isBegun && this.end();
    }
    this.#supply(source, begun);
    return true;
  }

  #supply(source: BodySource, begun: number): void {
    const { loop, waits } = this.#driver;
    const wanted = begun & (2 * PIECE_LIMIT - 1);
    const isChunked = (begun & SUPPLY_CHUNKS) !== 0;
    this.supply = isReadable(source)
      ? new ReadSupply(loop, this, source, wanted)
      : new NextSupply(loop, this, source, wanted, isChunked, waits);
    this.supply.run(
      (isWhole) => {
        if (isWhole) this.end();
      },
      (thrown) => this.#driver.failed(this, thrown),
    );
  }

  /** Ends the body. */
  end(): boolean {
    if (!this.isAsked) return false;
    this.isAsked = false;
    this.supply = undefined;
    const outcome = this.#driver.loop.streamEnd(this);
    this.#driver.answered(this);
    return outcome === Outcome.Ok;
  }

  /**
   * Accepts an opening handshake (`request.upgrade`). The connection becomes a WebSocket, with another id.
   * @param fields of the 101, such as Sec-WebSocket-Protocol
   * @returns false when it was refused: all WebSockets are taken, or no request is pending
   */
  upgrade(fields: WireFields = []): boolean {
    const length = this.#putFields(fields);
    return this.isAsked && this.#driver.upgrade(this, length);
  }

  /**
   * Makes the pending request a stream of server-sent events, with another id. Needs the option `events`. `broadcast`,
   * `publish` and `wire.send` reach it, and `wire.close` ends it.
   * @param fields of the response besides Content-Type
   * @returns as `upgrade`
   */
  openEvents(fields: WireFields = []): boolean {
    const length = this.#putFields([["Content-Type", "text/event-stream"], ...fields]);
    return this.isAsked && this.#driver.openStream(this, length);
  }

  /**
   * Reports that the reader of a streamed body waits for a piece. The client gets a 100 if it expects one, and its
   * silence counts from now on.
   */
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
    const whole = this.isStream ? eventOf(bytes, flags) : bytes;
    return loop.sendLarge(this, first, whole) === Outcome.Ok;
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

  /** Unsubscribes from a topic. @returns false when there was no such subscription */
  unsubscribe(topic: string): boolean {
    const { loop } = this.#driver;
    const length = loop.engine.putTopic(topic);
    return !this.isDead && loop.unsubscribe(this, length) === Outcome.Ok;
  }

  /** Sends a Close frame after all queued messages, and waits for the peer's. @throws RangeError, TypeError */
  close(code = 1000, reason = ""): boolean {
    checkClose(code, reason);
    if (!this.isOpen) return false;
    this.state = "closing";
    const { loop } = this.#driver;
    return loop.close(this, code, reason, CloseReason.Application) === Outcome.Ok;
  }

  /** Ends the connection now, with a reset. `shut` is called before this returns, `closed` in the next turn. */
  terminate(): void {
    this.#driver.lost(this, CloseReason.Application);
  }

  /** Stops accepting bytes. */
  pause(): void {
    this.#driver.pause(this, true);
  }

  /** Continues accepting bytes. */
  resume(): void {
    this.#driver.pause(this, false);
  }
}
