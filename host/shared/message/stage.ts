// A message built piece by piece: the one implementation for the worker's server, the application's server, publishers
// and ringcast/testing.
//
// Invariant: a stage has a buffer of its own until it is released. Therefore it may be kept across an `await`, several
// may be open, and other messages may be published meanwhile. After an overflow calls do nothing. Publishing reports
// the overflow once, and then the stage is over.

import { FrameFlag } from "../../../assembly/abi";
import { dataOf, sizeOf } from "./data";
import { checkId, checkPublish, checkSend } from "./flags";
import type { Data, PublishOptions, SendOptions, Stage } from "../../handler";
import { show } from "../text/show";
import { byteLength, putUtf8, viewOf } from "../text/text";
import { checkTopic } from "./topic";

/** Receives finished messages. Bytes belong to the stage until the call returns. Bytes of text are valid UTF-8. */
export interface StageTarget {
  /** Bytes of the ring. No message may be larger. */
  readonly ringBytes: number;
  isUtf8(bytes: Uint8Array): boolean;
  /** @param topic undefined: all WebSockets @param flags of FrameFlag @param except id of a client, 0 for none */
  publishBytes(
    topic: string | undefined,
    bytes: Uint8Array,
    flags: number,
    except: number,
  ): boolean;
  sendBytes(id: number, bytes: Uint8Array, flags: number): boolean;
}

/** Bytes of the largest frame header. A message must be smaller than the ring by as much. */
const HEADER_BYTES = 10;
/** Initial bytes of a buffer, which doubles as needed. */
const START = 1024;
/** Bytes up to which a buffer is kept for another stage, and number of buffers kept, to bound a thread's memory. */
const SPARE_BYTES = 65536;
const SPARE_LIMIT = 8;

/** Options of a body, which may have any bytes. */
const AS_BYTES: SendOptions = { binary: true };

/** Buffers of stages that are over. No view of them exists, because `reserve` passes memory of its own. */
const spare: Uint8Array[] = [];

function newBuffer(size: number): Uint8Array {
  return viewOf(new ArrayBuffer(size));
}

const EMPTY = newBuffer(0);

/** Returns a value as text. @throws TypeError for anything but text, numbers, booleans and bigints */
function toText(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean" || typeof value === "bigint")
    return String(value);
  const given = typeof value === "object" && value !== null ? "an object" : show(value);
  throw new TypeError(`stage.text: ${given} is not a string, number, boolean or bigint`);
}

/** Checks a number of bytes. @throws RangeError */
function checkCount(call: string, n: unknown): void {
  if (!Number.isInteger(n) || (n as number) < 0)
    throw new RangeError(`${call}: ${show(n)} is not a number of bytes`);
}

export class BufferStage implements Stage {
  static readonly name = "Stage";
  readonly #target: StageTarget;
  readonly #limit: number;
  #bytes: Uint8Array;
  #length = 0;
  /** True when the buffer may hold bytes that are not UTF-8. */
  #isMixed = false;
  #hasOverflown = false;
  #isFilling = false;
  #isOver = false;

  constructor(target: StageTarget) {
    this.#target = target;
    this.#limit = target.ringBytes - HEADER_BYTES;
    this.#bytes = spare.pop() ?? newBuffer(START);
  }

  /** Checks that the stage can be used. @throws Error after its end, and within the callback of `reserve` */
  #check(): void {
    if (this.#isOver) throw new Error("stage: it was published or discarded");
    if (this.#isFilling) throw new Error("stage: it cannot be used within the callback of reserve");
  }

  /** Makes room for `n` more bytes. @returns false after an overflow */
  #room(n: number): boolean {
    const needed = this.#length + n;
    if (needed > this.#limit) {
      this.#hasOverflown = true;
      return false;
    }
    if (needed <= this.#bytes.length) return true;
    const size = Math.max(needed, Math.min(this.#bytes.length * 2, this.#limit));
    const larger = newBuffer(size);
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
    return true;
  }

  text(value: string | number | boolean | bigint): this {
    this.#check();
    const text = toText(value);
    if (this.#hasOverflown) return this;
    const most = Math.min(this.#bytes.length, this.#limit);
    let written = putUtf8(this.#bytes, this.#length, most - this.#length, text);
    if (written < 0) {
      const size = byteLength(text);
      if (!this.#room(size)) return this;
      written = putUtf8(this.#bytes, this.#length, size, text);
    }
    this.#length += written;
    return this;
  }

  bytes(data: Exclude<Data, string>): this {
    this.#check();
    const bytes = dataOf("stage.bytes", data);
    if (typeof bytes === "string") return this.text(bytes);
    if (this.#hasOverflown || !this.#room(sizeOf(bytes))) return this;
    this.#bytes.set(bytes, this.#length);
    this.#length += sizeOf(bytes);
    this.#isMixed = true;
    return this;
  }

  reserve(n: number, fill: (view: Uint8Array) => number): this {
    this.#check();
    checkCount("reserve", n);
    if (typeof fill !== "function") throw new TypeError("reserve: fill is not a function");
    if (this.#hasOverflown || !this.#room(n)) return this;
    // `fill` gets memory of its own, so that a view kept after the call can change nothing here.
    const view = new Uint8Array(n);
    let used: number;
    this.#isFilling = true;
    try {
      used = fill(view);
    } finally {
      this.#isFilling = false;
    }
    if (!Number.isInteger(used) || used < 0 || used > n)
      throw new RangeError(`reserve: ${show(used)} is not a whole number from 0 to ${n}`);
    return this.bytes(view.subarray(0, used));
  }

  get length(): number {
    return this.#length;
  }

  truncate(n: number): this {
    this.#check();
    checkCount("truncate", n);
    if (this.#hasOverflown || n >= this.#length) return this;
    // The cut may be within a character.
    if (((this.#bytes[n] as number) & 0xc0) === 0x80) this.#isMixed = true;
    this.#length = n;
    return this;
  }

  discard(): void {
    if (this.#isOver) return;
    this.#check();
    this.#end();
  }

  /** Ends the stage and releases its buffer. */
  #end(): void {
    this.#isOver = true;
    this.#length = 0;
    if (this.#bytes.length <= SPARE_BYTES && spare.length < SPARE_LIMIT) spare.push(this.#bytes);
    this.#bytes = EMPTY;
  }

  /** Returns the message. @throws RangeError after an overflow, TypeError for text that is not UTF-8 */
  #take(call: string, options: SendOptions | undefined): Uint8Array {
    this.#check();
    if (this.#hasOverflown) {
      this.#end();
      const ring = this.#target.ringBytes;
      throw new RangeError(`${call}: the staged message is larger than the ring (${ring} bytes)`);
    }
    const bytes = this.#bytes.subarray(0, this.#length);
    if (this.#isMixed && options?.binary !== true && !this.#target.isUtf8(bytes)) {
      throw new TypeError(
        `${call}: the staged bytes are not UTF-8, as the text that they are sent as; use binary: true`,
      );
    }
    return bytes;
  }

  /**
   * Returns the bytes staged so far, as the body of a response. They are valid until the stage is used.
   * @throws RangeError after an overflow, Error when the stage cannot be used
   */
  body(): Uint8Array {
    return this.#take("send", AS_BYTES);
  }

  /** Ends the stage, because its bytes were sent. */
  sent(): void {
    this.#end();
  }

  #finish(isSent: boolean): boolean {
    if (isSent) this.#end();
    return isSent;
  }

  broadcast(options?: PublishOptions): boolean {
    checkPublish(options);
    const bytes = this.#take("broadcast", options);
    const { except = 0 } = options ?? {};
    const flags = stageFlags(options);
    return this.#finish(this.#target.publishBytes(undefined, bytes, flags, except));
  }

  publish(topic: string, options?: PublishOptions): boolean {
    checkTopic(topic);
    checkPublish(options);
    const bytes = this.#take("publish", options);
    const { except = 0 } = options ?? {};
    return this.#finish(this.#target.publishBytes(topic, bytes, stageFlags(options), except));
  }

  send(id: number, options?: SendOptions): boolean {
    checkId(id);
    checkSend(options);
    const bytes = this.#take("send", options);
    return this.#finish(this.#target.sendBytes(id, bytes, stageFlags(options)));
  }
}

/** Returns the flags of a staged message. It is text unless the options say otherwise. */
function stageFlags(options: SendOptions | undefined): number {
  const plain = options?.compress === false ? FrameFlag.Plain : 0;
  return (options?.binary ? FrameFlag.Binary : 0) | plain;
}
