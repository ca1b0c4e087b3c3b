// Large compressed messages, inflated in steps, so that no client waits long for the message of another.
//
// A message that is not small is taken back: it stays in the engine's buffer, and its connection is held, as while a
// handler is awaited. In each turn the messages get a few steps, one after the other. When one is complete, its
// connection continues, so that its event comes again and finds the result here.
//
// Invariant: a turn does STEPS steps at most, and begins none after MILLIS. JOBS messages at most have memory here, and
// each of them has CHUNK_BYTES of its result at most, twice as much while that is put together. Only the oldest may
// have as much as its limit allows; the others stop at CHUNK_BYTES until they are the oldest. Messages beyond JOBS wait
// in the engine's buffers. All bytes are counted until the message is delivered.

import { CloseReason } from "../../assembly/abi";
import { NodeBuffer, utf8, viewOf } from "../../host/shared/text/text";
import type { EngineLoop } from "../engine/loop";
import type { Codec, Inflation } from "../net/transport";
import type { Peer } from "./peer";

/** Steps of one turn, for a clock that does not advance meanwhile, and ms after which a turn begins no other step. */
const STEPS = 16;
const MILLIS = 1;
/** Bytes that one step writes: a few µs of inflating, and up to 100 µs of memory that is used for the first time. */
const STEP_BYTES = 65536;
/** Bytes of one piece of memory for results. Messages up to this size do not wait for larger ones. */
export const CHUNK_BYTES = 262144;
/** Bytes by which the memory of the oldest message grows, and by which it shrinks in a turn when there is none. */
const GROWTH_BYTES = 1048576;
const SHRINK_BYTES = 4194304;
/** Messages that have memory at a time. With zlib's own, a waiting one costs 350 KiB. */
export const JOBS = 16;

/** The result of a message: its data, or the reason for which it is refused. */
export type Inflated = string | Uint8Array | CloseReason;

/** The part of the pump that inflating needs. */
interface InflaterOwner {
  readonly loop: EngineLoop<Peer>;
  now(): number;
  schedule(): void;
  /** Holds a connection, and takes back the message whose event is being handled. */
  park(peer: Peer): void;
  /** Continues a connection that was parked. */
  unpark(peer: Peer): void;
}

/** Returns memory of its own. Node's is not cleared, which would take long for a large message. */
function fresh(length: number): Uint8Array {
  if (!NodeBuffer?.allocUnsafeSlow) return new Uint8Array(length);
  return new Uint8Array(NodeBuffer.allocUnsafeSlow(length).buffer);
}

/** Memory that grows, and whose pages are given back when it shrinks, which freed memory's often are not. */
class Growing {
  readonly limit: number;
  #buffer: ArrayBuffer & { resize?(length: number): void };

  constructor(limit: number) {
    this.limit = limit;
    const options = { maxByteLength: limit };
    // Where memory cannot be resized, the options are ignored.
    this.#buffer = new (ArrayBuffer as new (length: number, options: object) => ArrayBuffer)(
      0,
      options,
    );
    if (!this.#buffer.resize) this.#buffer = new ArrayBuffer(limit);
  }

  get length(): number {
    return this.#buffer.byteLength;
  }

  /** Returns a view of all, which is longer than `used`, and at most `limit` bytes. */
  grow(used: number): Uint8Array {
    const length = Math.min(this.limit, used + GROWTH_BYTES);
    if (this.length <= used) this.#buffer.resize?.(length);
    return new Uint8Array(this.#buffer, 0, this.length);
  }

  /** Gives back some pages. @returns true when none are left */
  shrink(): boolean {
    const length = Math.max(0, this.length - SHRINK_BYTES);
    this.#buffer.resize?.(length);
    return length === 0 || !this.#buffer.resize;
  }
}

/** Returns the number of bytes before a UTF-8 character that is cut at the end. */
function wholeCharacters(bytes: Uint8Array, length: number): number {
  for (let back = 1; back <= Math.min(3, length); back++) {
    const byte = bytes[length - back] as number;
    if (byte < 0x80) break;
    if (byte < 0xc0) continue;
    const bytesOf = byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
    return bytesOf > back ? length - back : length;
  }
  return length;
}

/** One message. */
class Job {
  readonly peer: Peer;
  readonly isText: boolean;
  /** Whether the result is a string, of which `text` is the beginning. */
  readonly isString: boolean;
  readonly limit: number;
  inflation: Inflation | undefined;
  /** Bytes inflated so far. */
  length = 0;
  /** The bytes, or those of a string that have not been decoded, and their number. */
  memory: Uint8Array | undefined;
  filled = 0;
  /** Whether it has the large memory instead of a chunk. */
  isLarge = false;
  text = "";
  utf8 = 0;
  /** The bytes in memory of their own, and how many have been copied there. */
  whole: Uint8Array | undefined;
  copied = 0;
  result: Inflated | undefined;

  constructor(peer: Peer, isText: boolean, isString: boolean) {
    this.peer = peer;
    this.isText = isText;
    this.isString = isString;
    this.limit = peer.payloadBytes;
  }

  /** Bytes of its own result so far. */
  get bytes(): number {
    const { result } = this;
    if (this.isString) return typeof result === "number" ? 0 : this.length;
    return this.whole?.length ?? (result instanceof Uint8Array ? result.length : 0);
  }
}

export class Inflater {
  readonly #pump: InflaterOwner;
  readonly #codec: Codec | undefined;
  /** All messages, the oldest first. */
  readonly #jobs = new Map<Peer, Job>();
  /** The first of them, which have memory, and the one whose turn it is. */
  readonly #running: Job[] = [];
  #next = 0;
  /** Number of chunks, one for each message that has begun, and the chunks that are free. */
  #chunks = 0;
  readonly #free: Uint8Array[] = [];
  /** Memory of the oldest message when it is larger than a chunk. */
  #large: Growing | undefined;
  /** Largest message, in bytes, that is inflated in one call. */
  readonly smallBytes: number;

  constructor(pump: InflaterOwner, codec: Codec | undefined) {
    this.#pump = pump;
    this.#codec = codec;
    const first = codec?.begin?.();
    this.smallBytes = first ? (codec?.smallBytes ?? 0) : Number.POSITIVE_INFINITY;
    first?.end();
  }

  /** Number of messages that are being inflated, or wait for it. */
  get messages(): number {
    return this.#jobs.size;
  }

  /** Bytes of results that have not been delivered, and of memory for them. One chunk is kept for the next message. */
  get bytes(): number {
    const memory = Math.max(0, this.#chunks - 1) * CHUNK_BYTES + (this.#large?.length ?? 0);
    return this.#running.reduce((sum, job) => sum + job.bytes, memory);
  }

  /**
   * Begins to inflate the message whose event is being handled. The event comes again when `take` has a result.
   * @param isString whether a text is wanted as a string
   */
  begin(peer: Peer, isText: boolean, isString: boolean): void {
    this.#jobs.set(peer, new Job(peer, isText, isText && isString));
    this.#pump.park(peer);
  }

  /** Returns the result of a connection's message, which is then forgotten. undefined: it has none. */
  take(peer: Peer): Inflated | undefined {
    if (this.#jobs.size === 0) return undefined;
    const result = this.#jobs.get(peer)?.result;
    if (result !== undefined) this.drop(peer);
    return result;
  }

  /** Forgets a connection's message. If the connection continues, its event comes again. */
  drop(peer: Peer): void {
    const job = this.#jobs.get(peer);
    if (!job) return;
    this.#jobs.delete(peer);
    this.#release(job);
    const at = this.#running.indexOf(job);
    if (at >= 0) {
      this.#running.splice(at, 1);
      if (at < this.#next) this.#next--;
    }
    this.#pump.unpark(peer);
  }

  /** Releases the memory of a message, except that of its result. */
  #release(job: Job): void {
    job.inflation?.end();
    job.inflation = undefined;
    const { memory } = job;
    if (memory && !job.isLarge) this.#free.push(memory);
    job.memory = undefined;
    job.whole = undefined;
    job.text = "";
  }

  /** Does the share of one turn. */
  work(): void {
    if (this.#jobs.size === 0) {
      this.#rest();
      return;
    }
    this.#admit();
    const until = this.#pump.now() + MILLIS;
    for (let steps = 0; steps < STEPS; steps++) {
      const job = this.#choose();
      if (!job) return;
      this.#step(job);
      if (this.#pump.now() >= until) break;
    }
    this.#pump.schedule();
  }

  /** Gives back the memory when there are no messages, but for one chunk. */
  #rest(): void {
    if (this.#chunks > 1) {
      this.#free.length = 1;
      this.#chunks = 1;
    }
    if (!this.#large) return;
    if (this.#large.shrink()) this.#large = undefined;
    else this.#pump.schedule();
  }

  /** Forgets messages whose connections have ended, or wait for a buffer, and gives others their place. */
  #admit(): void {
    for (const job of [...this.#running]) {
      if (!this.#packed(job)) this.drop(job.peer);
    }
    if (this.#running.length === Math.min(JOBS, this.#jobs.size)) return;
    for (const job of this.#jobs.values()) {
      if (this.#running.length === JOBS) return;
      if (this.#running.includes(job)) continue;
      if (this.#packed(job)) this.#running.push(job);
      else this.drop(job.peer);
    }
  }

  #packed({ peer }: Job): Uint8Array | undefined {
    if (peer.dead) return undefined;
    return this.#pump.loop.engine.packed(peer.slot, peer.generation);
  }

  /** Returns the message that has the next step, in turn. undefined: none can continue. */
  #choose(): Job | undefined {
    const running = this.#running;
    for (let i = 0; i < running.length; i++) {
      this.#next = (this.#next + 1) % running.length;
      const job = running[this.#next] as Job;
      if (job.result !== undefined) continue;
      if (this.#next === 0 || job.length < CHUNK_BYTES) return job;
    }
    return undefined;
  }

  #step(job: Job): void {
    if (job.whole) {
      this.#copy(job, job.whole);
      return;
    }
    const data = this.#packed(job);
    job.inflation ??= this.#codec?.begin?.();
    // A step before may have been the end of this connection.
    if (!data || !job.inflation) return;
    const memory = this.#memoryOf(job);
    // One byte beyond the limit shows that the message is too large.
    const room = Math.min(STEP_BYTES, memory.length - job.filled, job.limit - job.length + 1);
    const written = job.inflation.step(data, memory.subarray(job.filled, job.filled + room));
    if (written === "bad") this.#finish(job, CloseReason.WsBadDeflate);
    else this.#took(job, memory, written);
  }

  /** Returns the memory that the next bytes are written to. The oldest message continues in a larger one. */
  #memoryOf(job: Job): Uint8Array {
    const { memory } = job;
    if (memory && job.filled < memory.length) return memory;
    if (!memory) {
      const free = this.#free.pop();
      if (!free) this.#chunks++;
      job.memory = free ?? viewOf(fresh(CHUNK_BYTES).buffer);
      return job.memory;
    }
    // One byte more than the limit is written of a message that is too large.
    if (!this.#large || this.#large.limit <= job.limit) this.#large = new Growing(job.limit + 1);
    job.memory = this.#large.grow(job.filled);
    if (!job.isLarge) {
      job.memory.set(memory);
      this.#free.push(memory);
    }
    job.isLarge = true;
    return job.memory;
  }

  /** Checks the bytes that a step has written. */
  #took(job: Job, memory: Uint8Array, written: number): void {
    const isDone = job.inflation?.isDone === true;
    job.length += written;
    if (job.length > job.limit) {
      this.#finish(job, CloseReason.WsMessageTooLarge);
      return;
    }
    if (job.isText) {
      const bytes = memory.subarray(job.filled, job.filled + written);
      job.utf8 = this.#pump.loop.engine.utf8State(bytes, job.utf8);
      if (job.utf8 === -1 || (isDone && job.utf8 !== 0)) {
        this.#finish(job, CloseReason.WsBadUtf8);
        return;
      }
    }
    job.filled += written;
    if (job.isString) this.#decode(job, memory);
    if (isDone) this.#complete(job);
  }

  /** Decodes the whole characters, and moves the rest to the start. */
  #decode(job: Job, memory: Uint8Array): void {
    const length = wholeCharacters(memory, job.filled);
    job.text += utf8(memory, 0, length);
    memory.copyWithin(0, length, job.filled);
    job.filled -= length;
  }

  /** Handles the end of the message. Further steps copy its bytes to memory of their own. */
  #complete(job: Job): void {
    job.inflation?.end();
    job.inflation = undefined;
    if (job.isString) this.#finish(job, job.text);
    else job.whole = fresh(job.length);
  }

  /** Copies the next bytes to their place in the result. */
  #copy(job: Job, whole: Uint8Array): void {
    const { copied, memory } = job;
    job.copied = Math.min(whole.length, copied + CHUNK_BYTES);
    if (memory) whole.set(memory.subarray(copied, job.copied), copied);
    if (job.copied === whole.length) this.#finish(job, whole);
  }

  /** Keeps the result until the event of the message comes again. */
  #finish(job: Job, result: Inflated): void {
    this.#release(job);
    job.result = result;
    this.#pump.unpark(job.peer);
  }
}
