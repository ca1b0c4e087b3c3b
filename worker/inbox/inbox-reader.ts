// The consumer's side of the inbox. It turns records in shared memory into calls of the engine, a batch at a time.
//
// Invariant: the tail passes a record only after the record was carried out. Each record is carried out once, in order.
// To the producer, only the bytes that the tail has passed are free.

import {
  Control,
  INBOX_ASLEEP,
  INBOX_HEAD,
  INBOX_TAIL,
  INBOX_WAITING,
  INBOX_WORDS,
  NONE,
  Outcome,
  RECORD_BYTES,
  RECORD_GENERATION,
  RECORD_KIND,
  RECORD_LENGTH,
  RECORD_SLOT,
  RECORD_TOTAL,
  RECORD_VALUE,
  RecordKind,
} from "../../assembly/abi";
import { idOf } from "../../host/shared/message/id";
import { utf8, viewOf } from "../../host/shared/text/text";
import { Outstanding } from "./outstanding";
import type { EngineLoop } from "../engine/loop";
import type { Inbox } from "../pump/pump";
import type { Outgoing } from "../socket/outgoing";
import type { Peer } from "../socket/peer";
import type { Topics } from "../socket/topics";

/** The parts of a pump that carry out records. */
export interface Consumer {
  readonly loop: EngineLoop<Peer>;
  readonly outgoing: Outgoing;
  readonly topics: Topics;
}

interface InboxPort {
  /** Reports to the producer that there is room again. */
  room(): void;
  /** Reports to the producer the bytes that have left clients' queues: `Outstanding.settle`. */
  credit(report: Float64Array<ArrayBuffer>): void;
  /** Wakes the pump after `ms`, because the ring had no room. */
  retry(ms: number): void;
}

/** Carries out operations of a handler that runs on another thread: records of kind Operation. */
export interface Host {
  /** True while messages for WebSockets wait here until their queues have room. */
  readonly isKeeping: boolean;
  /**
   * Sends the kept messages of some WebSockets, because a record follows that must not overtake them. A WebSocket whose
   * messages still find no room is ended.
   */
  sendKept(isConcerned: (peer: Peer) => boolean): void;
  /** @param bytes holds the payload at [at, at + length); valid during the call */
  carryOut(
    op: number,
    slot: number,
    generation: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): void;
}

/** Kinds of records that clients receive bytes of. */
const FOR_CLIENTS: ReadonlySet<RecordKind> = new Set([
  RecordKind.Broadcast,
  RecordKind.Publish,
  RecordKind.Send,
  RecordKind.Close,
]);

export class SharedInbox implements Inbox {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #units: number;
  readonly #view: DataView;
  readonly #port: InboxPort;
  /** Transferred buffers, which did not fit into the inbox, by number. */
  readonly #transferred = new Map<number, Uint8Array>();
  #blocked = false;
  readonly #outstanding = new Outstanding();
  /** True when the batch has messages for single clients. */
  #hasSends = false;
  /** True when the next record's buffer has not arrived. */
  #isLost = false;
  /** Called after the producer has gone, when all its records have been carried out. */
  last: (() => void) | undefined;
  /** Carries out records of kind Operation. */
  host: Host | undefined;

  constructor(memory: ArrayBufferLike, port: InboxPort) {
    const header = INBOX_WORDS * 4;
    this.#words = new Int32Array(memory, 0, INBOX_WORDS);
    this.#bytes = viewOf(memory, header);
    this.#view = new DataView(memory, header);
    this.#units = this.#bytes.length / 8;
    this.#port = port;
  }

  /** Words of the header, in which both sides count. */
  get words(): Int32Array {
    return this.#words;
  }

  /** Adds a record's payload that arrived as a message of its own. */
  give(number: number, bytes: Uint8Array): void {
    this.#transferred.set(number, bytes);
  }

  drain(pump: Consumer, share: number): boolean {
    const { engine } = pump.loop;
    const words = this.#words;
    let left = share;
    this.#blocked = false;
    this.#isLost = false;
    let tail = Atomics.load(words, INBOX_TAIL) >>> 0;
    const head = Atomics.load(words, INBOX_HEAD) >>> 0;
    while (tail !== head && left > 0) {
      const from = (tail % this.#units) * 8;
      if (this.#isOperation(from)) {
        const done = this.#operate(from);
        tail = this.#advance(tail, done);
        left -= done;
        continue;
      }
      // The run ends at the end of the byte ring or at the head. The scratch region and the share limit the batch.
      const run = Math.min(((head - tail) >>> 0) * 8, this.#bytes.length - from);
      // While messages are kept, each record is a batch of its own, because it may have to wait for them.
      const { host } = this;
      const isKeeping = host?.isKeeping ?? false;
      if (host && isKeeping) this.#sendKept(pump, host, from);
      const batch = this.#whole(from, isKeeping ? 1 : left, engine.scratchBytes, run);
      if (batch === 0) {
        const done = this.#drainLarge(pump, from);
        if (done === 0) break;
        tail = this.#advance(tail, done);
        left -= done;
        continue;
      }
      engine.put(this.#bytes.subarray(from, from + batch));
      const done = this.#carryOut(pump, batch);
      if (this.#hasSends) this.#noteSends(pump, from, from + done);
      tail = this.#advance(tail, done);
      left -= done;
      if (this.#blocked || done === 0) break;
    }
    return tail !== head && !this.#blocked;
  }

  #kindAt(at: number): RecordKind {
    return this.#view.getUint32(at + RECORD_KIND, true) & 255;
  }

  #isOperation(at: number): boolean {
    return this.#kindAt(at) === RecordKind.Operation;
  }

  /** Makes the host send the messages that the record at `from` must not overtake. */
  #sendKept(pump: Consumer, host: Host, from: number): void {
    const view = this.#view;
    const word = view.getUint32(from + RECORD_KIND, true);
    const isTransferred = (word & 255) === RecordKind.Transferred;
    const kind: RecordKind = isTransferred ? word >>> 16 : word & 255;
    // Other kinds send nothing to clients. A pad is too short for the fields read below.
    if (!FOR_CLIENTS.has(kind)) return;
    const id = idOf(
      view.getUint32(from + RECORD_SLOT, true),
      view.getUint32(from + RECORD_GENERATION, true),
    );
    if (kind === RecordKind.Send || kind === RecordKind.Close) {
      host.sendKept((peer) => peer.id === id);
      return;
    }
    // The id of a publication names the client that does not receive it.
    if (kind === RecordKind.Broadcast) {
      host.sendKept((peer) => peer.id !== id);
      return;
    }
    const number = view.getUint32(from + RECORD_VALUE, true);
    const payload = isTransferred
      ? this.#transferred.get(number)
      : this.#bytes.subarray(from + RECORD_BYTES);
    // The record waits for a buffer that has not arrived.
    if (!payload) return;
    const topic = utf8(payload, 1, payload[0] as number);
    host.sendKept((peer) => peer.id !== id && pump.topics.isSubscribed(peer.id, topic));
  }

  /** Notes the messages for single clients among the records in [from, to), which were carried out. */
  #noteSends(pump: Consumer, from: number, to: number): void {
    const view = this.#view;
    for (let at = from; at < to; at += view.getUint32(at + RECORD_TOTAL, true)) {
      if (this.#kindAt(at) !== RecordKind.Send) continue;
      const slot = view.getUint32(at + RECORD_SLOT, true);
      const generation = view.getUint32(at + RECORD_GENERATION, true);
      this.#outstanding.note(pump.loop, slot, generation, view.getUint32(at + RECORD_LENGTH, true));
    }
  }

  /** Makes the host carry out the operation at `from`, without a copy. @returns bytes of the record */
  #operate(from: number): number {
    const view = this.#view;
    this.host?.carryOut(
      view.getUint32(from + RECORD_KIND, true) >>> 8,
      view.getUint32(from + RECORD_SLOT, true),
      view.getUint32(from + RECORD_GENERATION, true),
      this.#bytes,
      from + RECORD_BYTES,
      view.getUint32(from + RECORD_LENGTH, true),
    );
    return view.getUint32(from + RECORD_TOTAL, true);
  }

  /** Returns the bytes of whole records in the next `share` bytes, at least of one; 0 when that one is over `limit`. */
  #whole(from: number, share: number, limit: number, run: number): number {
    let bytes = 0;
    this.#hasSends = false;
    while (bytes < run) {
      const total = this.#view.getUint32(from + bytes + RECORD_TOTAL, true);
      if (bytes + total > limit || (bytes > 0 && bytes + total > share)) break;
      const kind = this.#kindAt(from + bytes);
      if (kind === RecordKind.Operation) break;
      if (kind === RecordKind.Send) this.#hasSends = true;
      bytes += total;
    }
    return bytes;
  }

  /** Carries out the records at the start of the scratch region. @returns bytes of the records that are done */
  #carryOut(pump: Consumer, batch: number): number {
    const { engine } = pump.loop;
    let done = 0;
    while (done < batch) {
      done = pump.loop.drain(done, batch);
      const outcome: Outcome = engine.get(Control.Result);
      // Before the batch continues, the evictions it caused are handled and its flush is made.
      if (pump.loop.makesRoom(outcome)) continue;
      if (outcome === Outcome.Wait || outcome === Outcome.Staging) {
        this.#wait();
        return done;
      }
      if (outcome === Outcome.Full) {
        pump.topics.refuseSubscription(engine.get(Control.ResultLength));
        done += engine.word(engine.scratch + done + RECORD_TOTAL);
      }
      if (outcome === Outcome.Compress) {
        // Compression uses the scratch region, where the batch is, so the rest is copied in again.
        return done + this.#publishPacked(pump, engine.scratch + done);
      }
      if (outcome === Outcome.Transferred) {
        const at = engine.scratch + done;
        // A send uses the scratch region, so the rest is copied in again.
        return done + this.#publishTransferred(pump, at);
      }
    }
    return done;
  }

  /**
   * Carries out the record at `at`, whose message must be compressed.
   * @returns bytes of the record; 0 when it must wait
   */
  #publishPacked(pump: Consumer, at: number): number {
    const { engine } = pump.loop;
    const total = engine.word(at + RECORD_TOTAL);
    const length = engine.word(at + RECORD_LENGTH);
    const kind = engine.word(at + RECORD_KIND);
    const slot = engine.word(at + RECORD_SLOT);
    const generation = engine.word(at + RECORD_GENERATION);
    const flags = (kind >>> 8) & 255;
    const bytes = engine.copy(at + RECORD_BYTES, length);
    if ((kind & 255) === RecordKind.Send) {
      pump.outgoing.sendAccepted(slot, generation, bytes, flags);
      return total;
    }
    return this.#publish(pump, kind & 255, bytes, flags, slot, generation) ? total : 0;
  }

  /** Carries out a record whose payload is outside of the scratch region. @returns false when it must wait */
  #publish(
    pump: Consumer,
    kind: RecordKind,
    bytes: Uint8Array,
    flags: number,
    slot: number,
    generation: number,
  ): boolean {
    let outcome: Outcome = Outcome.Ok;
    const except = idOf(slot, generation);
    if (kind === RecordKind.Send) {
      pump.outgoing.sendAccepted(slot, generation, bytes, flags);
      this.#outstanding.note(pump.loop, slot, generation, bytes.length);
    } else if (kind === RecordKind.Broadcast) {
      outcome = pump.outgoing.publishLarge(bytes, flags, 0, except);
    } else if (kind === RecordKind.Publish) {
      const start = 1 + (bytes[0] as number);
      const topic = pump.topics.topicOf(bytes.subarray(1, start));
      if (topic === NONE) pump.loop.publishToNone();
      else outcome = pump.outgoing.publishLarge(bytes.subarray(start), flags, topic, except);
    }
    // mutant inbox-wait: if (outcome !== Outcome.Wait || kind === RecordKind.Broadcast) return true;
    if (outcome !== Outcome.Wait) return true;
    this.#wait();
    return false;
  }

  /** Retries soon, because the ring has no room. The inbox fills meanwhile. */
  #wait(): void {
    this.#blocked = true;
    this.#port.retry(2);
  }

  /** Publishes the transferred buffer of the record at `at` in the engine's memory. @returns 0 when it must wait */
  #publishTransferred(pump: Consumer, at: number): number {
    const { engine } = pump.loop;
    const number = engine.word(at + RECORD_VALUE);
    const bytes = this.#transferred.get(number);
    if (!bytes) {
      // Its message is in flight. The arrival wakes the pump.
      this.#blocked = true;
      this.#isLost = true;
      return 0;
    }
    const total = engine.word(at + RECORD_TOTAL);
    const kind = engine.word(at + RECORD_KIND);
    const flags = (kind >>> 8) & 255;
    const slot = engine.word(at + RECORD_SLOT);
    const generation = engine.word(at + RECORD_GENERATION);
    if (kind >>> 16 === RecordKind.Operation) {
      this.#transferred.delete(number);
      this.host?.carryOut(flags, slot, generation, bytes, 0, bytes.length);
      return total;
    }
    if (!this.#publish(pump, kind >>> 16, bytes, flags, slot, generation)) return 0;
    this.#transferred.delete(number);
    return total;
  }

  /** Carries out a record that is larger than the scratch region. Its payload is copied straight to the ring. */
  #drainLarge(pump: Consumer, from: number): number {
    const view = this.#view;
    const total = view.getUint32(from + RECORD_TOTAL, true);
    const kind = view.getUint32(from + RECORD_KIND, true);
    if ((kind & 255) === RecordKind.Pad) return total;
    const length = view.getUint32(from + RECORD_LENGTH, true);
    const bytes = this.#bytes.subarray(from + RECORD_BYTES, from + RECORD_BYTES + length);
    const flags = (kind >>> 8) & 255;
    const slot = view.getUint32(from + RECORD_SLOT, true);
    const generation = view.getUint32(from + RECORD_GENERATION, true);
    return this.#publish(pump, kind & 255, bytes, flags, slot, generation) ? total : 0;
  }

  #advance(tail: number, bytes: number): number {
    const next = (tail + bytes / 8) >>> 0;
    Atomics.store(this.#words, INBOX_TAIL, next | 0);
    if (Atomics.load(this.#words, INBOX_WAITING) === 1) {
      const used = ((Atomics.load(this.#words, INBOX_HEAD) >>> 0) - next) >>> 0;
      // Waits until half of the inbox is free, so that a waiting producer does not wake for every record.
      if (
        used <= this.#units / 2 &&
        Atomics.compareExchange(this.#words, INBOX_WAITING, 1, 0) === 1
      )
        this.#port.room();
    }
    return next;
  }

  /** True when there are records to carry out. */
  get ready(): boolean {
    return Atomics.load(this.#words, INBOX_TAIL) !== Atomics.load(this.#words, INBOX_HEAD);
  }

  /** Returns true when all records before a position have been carried out. */
  hasReached(position: number): boolean {
    return ((Atomics.load(this.#words, INBOX_TAIL) - position) | 0) >= 0;
  }

  ended(id: number): void {
    this.#outstanding.ended(id);
  }

  endTurn(more: boolean): void {
    const report = this.#outstanding.settle();
    if (report) this.#port.credit(report);
    if (more) return;
    // After the producer has gone, a missing buffer never arrives, so it is not waited for.
    if (this.last && (!this.ready || this.#isLost)) {
      this.last();
      return;
    }
    Atomics.store(this.#words, INBOX_ASLEEP, 1);
    // A record may have arrived after the last check and before the flag was set. Its producer saw no sleeper.
    if (
      this.ready &&
      !this.#blocked &&
      Atomics.compareExchange(this.#words, INBOX_ASLEEP, 1, 0) === 1
    ) {
      this.#port.retry(0);
    }
  }
}
