// The consumer's side of the inbox: records in shared memory become calls of the engine, a batch at a time.
//
// Invariant: the tail moves behind a record only when it has been carried out; a record is carried out
// once, in order. The producer sees room only behind the tail.

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
import { idOf } from "../../host/shared/message/wire";
import { utf8, viewOf } from "../../host/shared/text/text";
import { Debts } from "./debts";
import type { EngineLoop } from "../engine/loop";
import type { Inbox } from "../pump/pump";
import type { Outgoing } from "../socket/outgoing";
import type { Peer } from "../socket/peer";
import type { Topics } from "../socket/topics";

/** What records are carried out on. */
export interface Consumer {
  readonly loop: EngineLoop<Peer>;
  readonly outgoing: Outgoing;
  readonly topics: Topics;
}

interface InboxPort {
  /** Tells the producer that there is room again. */
  room(): void;
  /** Tells the producer what has left clients' queues: `Debts.settle`. */
  credit(report: Float64Array<ArrayBuffer>): void;
  /** Wakes the pump in `ms`: the ring had no room. */
  retry(ms: number): void;
}

/** Carries out operations of a handler that runs elsewhere: records of kind Host. */
export interface Host {
  /** Messages for WebSockets wait here until their queues have room. */
  readonly isKeeping: boolean;
  /**
   * Sends what is kept for some WebSockets, because a record follows that may not overtake it. A WebSocket whose
   * messages still find no room is ended.
   */
  sendKept(isConcerned: (peer: Peer) => boolean): void;
  /** @param bytes holds the payload at [at, at + length); valid for the call */
  carryOut(
    op: number,
    slot: number,
    generation: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): void;
}

/** Kinds of records that clients receive something of. */
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
  /** Buffers that were transferred because they did not fit, by number. */
  readonly #transferred = new Map<number, Uint8Array>();
  #blocked = false;
  readonly #debts = new Debts();
  /** The batch has messages for single clients. */
  #hasSends = false;
  /** The next record's buffer has not come. */
  #isLost = false;
  /** The producer has gone: called once all it said has been carried out. */
  last: (() => void) | undefined;
  /** Whom records of kind Host are for. */
  host: Host | undefined;

  constructor(memory: ArrayBufferLike, port: InboxPort) {
    const header = INBOX_WORDS * 4;
    this.#words = new Int32Array(memory, 0, INBOX_WORDS);
    this.#bytes = viewOf(memory, header);
    this.#view = new DataView(memory, header);
    this.#units = this.#bytes.length / 8;
    this.#port = port;
  }

  /** Words of the header, which both sides count in. */
  get words(): Int32Array {
    return this.#words;
  }

  /** A record's payload arrived as a message of its own. */
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
      if (this.#isHost(from)) {
        const done = this.#tellHost(from);
        tail = this.#advance(tail, done);
        left -= done;
        continue;
      }
      // Up to the end of the byte ring, of what there is, of the scratch region, of the share.
      const run = Math.min(((head - tail) >>> 0) * 8, this.#bytes.length - from);
      // While messages are kept, each record is a batch of its own: it may have to wait for them.
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

  #isHost(at: number): boolean {
    return this.#kindAt(at) === RecordKind.Host;
  }

  /** Has the host send what the record at `from` may not overtake. */
  #sendKept(pump: Consumer, host: Host, from: number): void {
    const view = this.#view;
    const word = view.getUint32(from + RECORD_KIND, true);
    const isTransferred = (word & 255) === RecordKind.Transferred;
    const kind: RecordKind = isTransferred ? word >>> 16 : word & 255;
    // Others carry nothing for clients; a pad has no room for what follows.
    if (!FOR_CLIENTS.has(kind)) return;
    const id = idOf(
      view.getUint32(from + RECORD_SLOT, true),
      view.getUint32(from + RECORD_GENERATION, true),
    );
    if (kind === RecordKind.Send || kind === RecordKind.Close) {
      host.sendKept((peer) => peer.id === id);
      return;
    }
    // A publication's id is that of the client that does not get it.
    if (kind === RecordKind.Broadcast) {
      host.sendKept((peer) => peer.id !== id);
      return;
    }
    const number = view.getUint32(from + RECORD_VALUE, true);
    const payload = isTransferred
      ? this.#transferred.get(number)
      : this.#bytes.subarray(from + RECORD_BYTES);
    // The record waits for a buffer that has not come yet.
    if (!payload) return;
    const topic = utf8(payload, 1, payload[0] as number);
    host.sendKept((peer) => peer.id !== id && pump.topics.isSubscribed(peer.id, topic));
  }

  /** Notes the messages for single clients among the records of [from, to), which are carried out. */
  #noteSends(pump: Consumer, from: number, to: number): void {
    const view = this.#view;
    for (let at = from; at < to; at += view.getUint32(at + RECORD_TOTAL, true)) {
      if (this.#kindAt(at) !== RecordKind.Send) continue;
      const slot = view.getUint32(at + RECORD_SLOT, true);
      const generation = view.getUint32(at + RECORD_GENERATION, true);
      this.#debts.note(pump.loop, slot, generation, view.getUint32(at + RECORD_LENGTH, true));
    }
  }

  /** Has the operation at `from` carried out, where it lies; returns its bytes. */
  #tellHost(from: number): number {
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

  /** Bytes of the whole records in the next `share` bytes, of one at least; 0 when that is over `limit`. */
  #whole(from: number, share: number, limit: number, run: number): number {
    let bytes = 0;
    this.#hasSends = false;
    while (bytes < run) {
      const total = this.#view.getUint32(from + bytes + RECORD_TOTAL, true);
      if (bytes + total > limit || (bytes > 0 && bytes + total > share)) break;
      const kind = this.#kindAt(from + bytes);
      if (kind === RecordKind.Host) break;
      if (kind === RecordKind.Send) this.#hasSends = true;
      bytes += total;
    }
    return bytes;
  }

  /** Carries out the records at the start of the scratch region; returns the bytes that are done. */
  #carryOut(pump: Consumer, batch: number): number {
    const { engine } = pump.loop;
    let done = 0;
    while (done < batch) {
      done = pump.loop.drain(done, batch);
      const outcome: Outcome = engine.get(Control.Result);
      // What the batch evicted is acted upon, and its flush made, before it goes on.
      if (pump.loop.makesRoom(outcome)) continue;
      if (outcome === Outcome.Wait || outcome === Outcome.Staging) {
        this.#wait();
        return done;
      }
      if (outcome === Outcome.Full) {
        pump.topics.refuseSubscription(engine.get(Control.NameLength));
        done += engine.word(engine.scratch + done + RECORD_TOTAL);
      }
      if (outcome === Outcome.Compress) {
        // It uses the scratch region, where the batch is: the rest is taken in anew.
        return done + this.#publishPacked(pump, engine.scratch + done);
      }
      if (outcome === Outcome.Transferred) {
        const at = engine.scratch + done;
        // As above: a send goes through the scratch region.
        return done + this.#publishTransferred(pump, at);
      }
    }
    return done;
  }

  /** Carries out the record at `at`, whose message is to be compressed; 0 when it must wait. */
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

  /** Carries out a record of which the payload stands outside of the scratch region; false when it must wait. */
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
      this.#debts.note(pump.loop, slot, generation, bytes.length);
    } else if (kind === RecordKind.Broadcast) {
      outcome = pump.outgoing.publishLarge(bytes, flags, 0, except);
    } else if (kind === RecordKind.Publish) {
      const start = 1 + (bytes[0] as number);
      const topic = pump.topics.topicOf(bytes.subarray(1, start));
      if (topic !== NONE)
        outcome = pump.outgoing.publishLarge(bytes.subarray(start), flags, topic, except);
    }
    // mutant inbox-wait: if (outcome !== Outcome.Wait || kind === RecordKind.Broadcast) return true;
    if (outcome !== Outcome.Wait) return true;
    this.#wait();
    return false;
  }

  /** The ring has no room: try again soon, and let the inbox fill meanwhile. */
  #wait(): void {
    this.#blocked = true;
    this.#port.retry(2);
  }

  /** Publishes the buffer that stands for the record at `at` in the engine's memory; 0 when it must wait. */
  #publishTransferred(pump: Consumer, at: number): number {
    const { engine } = pump.loop;
    const number = engine.word(at + RECORD_VALUE);
    const bytes = this.#transferred.get(number);
    if (!bytes) {
      // Its message is still on the way; its arrival wakes the pump.
      this.#blocked = true;
      this.#isLost = true;
      return 0;
    }
    const total = engine.word(at + RECORD_TOTAL);
    const kind = engine.word(at + RECORD_KIND);
    const flags = (kind >>> 8) & 255;
    const slot = engine.word(at + RECORD_SLOT);
    const generation = engine.word(at + RECORD_GENERATION);
    if (kind >>> 16 === RecordKind.Host) {
      this.#transferred.delete(number);
      this.host?.carryOut(flags, slot, generation, bytes, 0, bytes.length);
      return total;
    }
    if (!this.#publish(pump, kind >>> 16, bytes, flags, slot, generation)) return 0;
    this.#transferred.delete(number);
    return total;
  }

  /** One record that is larger than the scratch region: its payload goes straight to the ring. */
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
      // Half of it free: so that a waiting producer does not wake for every record.
      if (
        used <= this.#units / 2 &&
        Atomics.compareExchange(this.#words, INBOX_WAITING, 1, 0) === 1
      )
        this.#port.room();
    }
    return next;
  }

  /** True when there is something to carry out. */
  get ready(): boolean {
    return Atomics.load(this.#words, INBOX_TAIL) !== Atomics.load(this.#words, INBOX_HEAD);
  }

  ended(id: number): void {
    this.#debts.ended(id);
  }

  rest(more: boolean): void {
    const report = this.#debts.settle();
    if (report) this.#port.credit(report);
    if (more) return;
    // A buffer that never came is waited for no more.
    if (this.last && (!this.ready || this.#isLost)) {
      this.last();
      return;
    }
    Atomics.store(this.#words, INBOX_ASLEEP, 1);
    // A record that came between the last look and the flag: its producer saw no sleeper.
    if (
      this.ready &&
      !this.#blocked &&
      Atomics.compareExchange(this.#words, INBOX_ASLEEP, 1, 0) === 1
    ) {
      this.#port.retry(0);
    }
  }
}
