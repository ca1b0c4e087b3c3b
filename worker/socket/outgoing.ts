// What goes out: messages to one client, publications to many, compressed once for those who take them so.
//
// Invariant: nothing is published from within a flush, nor while the engine has its own stage open. Before it publishes
// the engine may ask for evictions to be acted upon or for a flush; that is done, and the publication tried again.

import {
  CloseReason,
  Control,
  FrameFlag,
  NONE,
  Outcome,
  Param,
  SLOT_LIMIT,
} from "../../assembly/abi";
import { type Payload, bytesOf, messageOf, sizeOf } from "../../host/shared/message/data";
import { publishFlags, sendFlags } from "../../host/shared/message/flags";
import type { Data, PublishOptions, SendOptions } from "../../host/handler";
import { BufferStage, type StageTarget } from "../../host/shared/message/stage";
import { idOf } from "../../host/shared/message/wire";
import { WINDOW_BITS } from "./deflate";
import { byteLength, lengthOf, putUtf8 } from "../engine/engine";
import type { Codec } from "../net/transport";
import type { Peer } from "../pump/peer";
import type { Pump } from "../pump/pump";

/** First byte of a whole data frame. */
function firstByte(flags: number): number {
  const opcode = flags & FrameFlag.Binary ? 2 : 1;
  return 0x80 | (flags & FrameFlag.Compressed ? 0x40 : 0) | opcode;
}

function byteLengthOf(data: Payload): number {
  return typeof data === "string" ? byteLength(data) : sizeOf(data);
}

export class Outgoing implements StageTarget {
  readonly #pump: Pump;
  readonly #codec: Codec | undefined;
  readonly #threshold: number;
  readonly isUtf8: (bytes: Uint8Array) => boolean;
  readonly ringBytes: number;

  constructor(pump: Pump, codec: Codec | undefined) {
    this.#pump = pump;
    this.#codec = codec;
    this.#threshold = pump.engine.params[Param.DeflateThreshold] as number;
    this.ringBytes = pump.engine.params[Param.RingBytes] as number;
    this.isUtf8 = (bytes) => pump.engine.isUtf8(bytes);
  }

  // ---- to one client -----------------------------------------------------------------------------------

  /** Sends a message of a caller's. @returns true when it is queued @throws TypeError */
  sendTo(peer: Peer | undefined, data: Data, options: SendOptions | undefined): boolean {
    const payload = messageOf("send", data, options, this.isUtf8);
    const flags = sendFlags(payload, options);
    if (!peer?.ws || peer.closing) return false;
    return this.send(peer, payload, flags) === Outcome.Ok;
  }

  /** Sends a message that has been checked. */
  send(peer: Peer, data: Payload, flags: number): Outcome {
    if (peer.dead || !peer.ws) return Outcome.Gone;
    const { engine } = this.#pump;
    const { x, scratch } = engine;
    this.#pump.time();
    let length = this.#encode(data);
    let packed: Uint8Array | undefined;
    if (peer.windowBits !== 0 && !(flags & FrameFlag.Plain)) {
      const size = length >= 0 ? length : byteLengthOf(data);
      if (size >= this.#threshold) {
        const bytes = length >= 0 ? engine.u8.subarray(scratch, scratch + length) : bytesOf(data);
        packed = this.#pack(bytes, peer.windowBits);
        if (packed) length = this.#encode(packed);
      }
    }
    const frame = packed ? flags | FrameFlag.Compressed : flags;
    const outcome =
      length >= 0
        ? x.send(peer.slot, peer.generation, frame, scratch, length)
        : this.sendLarge(peer.slot, peer.generation, packed ?? bytesOf(data), frame);
    this.#pump.schedule();
    return outcome;
  }

  /** The compressed form of a message; undefined when it is not smaller. */
  #pack(bytes: Uint8Array, windowBits: number): Uint8Array | undefined {
    const packed = this.#codec?.deflate(bytes, windowBits);
    return packed && packed.length < bytes.length ? packed : undefined;
  }

  /**
   * Sends a message of the inbox, which its producer was told is accepted: a client without room for it is ended, as by
   * the engine's `drain`.
   */
  sendAccepted(slot: number, generation: number, bytes: Uint8Array, flags: number): void {
    const peer = this.#pump.peer(idOf(slot, generation));
    if (peer && this.send(peer, bytes, flags) === Outcome.Full)
      this.#pump.abandon(peer, CloseReason.SendOverrun);
  }

  /** Sends a message that is too large for the scratch region, a piece at a time. */
  sendLarge(slot: number, generation: number, bytes: Uint8Array, flags: number): Outcome {
    const { engine } = this.#pump;
    const { x, scratch, scratchBytes } = engine;
    const outcome = x.sendBegin(slot, generation, firstByte(flags), lengthOf(bytes.length));
    if (outcome !== Outcome.Ok) return outcome;
    for (let at = 0; at < bytes.length; at += scratchBytes) {
      const part = bytes.subarray(at, at + scratchBytes);
      engine.u8.set(part, scratch);
      x.sendBytes(scratch, part.length);
    }
    return outcome;
  }

  /** Puts a message at the start of the scratch region; −1 when it is too large for it. */
  #encode(data: Payload): number {
    const { engine } = this.#pump;
    if (typeof data === "string")
      return putUtf8(engine.u8, engine.scratch, engine.scratchBytes, data);
    const length = sizeOf(data);
    if (length > engine.scratchBytes) return -1;
    engine.u8.set(data, engine.scratch);
    return length;
  }

  close(peer: Peer, code: number, reason: string): boolean {
    if (peer.dead || !peer.ws || peer.closing) return false;
    const { engine } = this.#pump;
    this.#pump.time();
    const length = putUtf8(engine.u8, engine.scratch, 123, reason);
    const { x, scratch } = engine;
    const outcome = x.close(
      peer.slot,
      peer.generation,
      code,
      scratch,
      length,
      CloseReason.Application,
    );
    peer.closing = true;
    // There may have been no room for the Close.
    this.#pump.actOnCloses();
    return outcome === Outcome.Ok;
  }

  /** @param bytes at most 125 */
  ping(peer: Peer, bytes: Uint8Array): boolean {
    if (peer.dead || !peer.ws) return false;
    const { engine } = this.#pump;
    this.#pump.time();
    const length = this.#encode(bytes);
    const outcome = engine.x.ping(peer.slot, peer.generation, engine.scratch, length);
    this.#pump.schedule();
    return outcome === Outcome.Ok;
  }

  lagOf(peer: Peer): { bytes: number; frames: number; queued: number } {
    if (peer.dead || !peer.ws) return { bytes: 0, frames: 0, queued: 0 };
    const frames = this.#pump.engine.x.lag(peer.slot, peer.generation);
    return {
      bytes: this.#pump.engine.get(Control.LagBytes),
      frames,
      queued: this.#pump.engine.backlog(peer.slot),
    };
  }

  /** Carries out a publication: evictions are acted upon, a flush is made, when it asks for them. */
  publishing(attempt: () => Outcome): Outcome {
    if (this.#pump.isFlushing) throw new Error("published from within a flush");
    for (;;) {
      this.#pump.time();
      const outcome = attempt();
      if (outcome !== Outcome.Evicted && outcome !== Outcome.Flush) return outcome;
      this.#makeRoom(outcome);
    }
  }

  /** Does what the engine asks for before it publishes. */
  #makeRoom(outcome: Outcome): void {
    if (outcome === Outcome.Evicted) this.#pump.actOnCloses();
    else this.#pump.flush();
  }

  broadcast(data: Data, options?: PublishOptions): boolean {
    return this.#publish("broadcast", 0, data, options, options?.except ?? 0);
  }

  /** Publishes to a topic. @param except id of a client that does not get it; 0 for nobody */
  publish(topic: string, data: Data, options: SendOptions | undefined, except: number): boolean {
    return this.#publish("publish", this.#topicOf(topic), data, options, except);
  }

  /** @param topic its number; 0: everyone; NONE: nobody */
  #publish(
    what: string,
    topic: number,
    data: Data,
    options: SendOptions | undefined,
    except: number,
  ): boolean {
    const payload = messageOf(what, data, options, this.isUtf8);
    const flags = publishFlags(payload, options);
    return this.#publishPayload(what, topic, payload, flags, except);
  }

  /** Publishes a staged message. */
  publishBytes(
    topic: string | undefined,
    bytes: Uint8Array,
    flags: number,
    except: number,
  ): boolean {
    if (topic === undefined) return this.#publishPayload("broadcast", 0, bytes, flags, except);
    return this.#publishPayload("publish", this.#topicOf(topic), bytes, flags, except);
  }

  /** Sends a staged message to one client. */
  sendBytes(id: number, bytes: Uint8Array, flags: number): boolean {
    const peer = this.#pump.peer(id);
    if (!peer?.ws || peer.closing) return false;
    return this.send(peer, bytes, flags) === Outcome.Ok;
  }

  /** Returns the number of a topic; NONE: nobody subscribes to it. */
  #topicOf(topic: string): number {
    const { engine } = this.#pump;
    return engine.x.findTopic(engine.scratch, engine.putTopic(topic)) || NONE;
  }

  /** @param topic its number; 0: everyone; NONE: nobody */
  #publishPayload(
    what: string,
    topic: number,
    payload: Payload,
    flags: number,
    except: number,
  ): boolean {
    if (this.#pump.isFlushing) throw new Error(`${what}: called from within a flush`);
    const { engine } = this.#pump;
    if (topic === NONE) return true;
    const slot = except % SLOT_LIMIT;
    const generation = Math.floor(except / SLOT_LIMIT);
    const length = this.#encode(payload);
    let outcome: Outcome;
    if (length < 0 || this.isWorthPacking(flags, length, topic)) {
      outcome = this.publishLarge(bytesOf(payload), flags, topic, slot, generation);
    } else {
      const { scratch } = engine;
      this.#pump.time();
      outcome = engine.x.publish(flags, scratch, length, 0, 0, topic, slot, generation);
      while (outcome === Outcome.Evicted || outcome === Outcome.Flush) {
        this.#makeRoom(outcome);
        this.#pump.time();
        outcome = engine.x.publish(flags, scratch, length, 0, 0, topic, slot, generation);
      }
    }
    this.#pump.schedule();
    if (outcome === Outcome.TooLarge) {
      const { ringBytes } = this;
      throw new RangeError(`${what}: the message is larger than the ring (${ringBytes} bytes)`);
    }
    return outcome === Outcome.Ok;
  }

  /** True when a publication to a topic, 0 for everyone, is to be compressed for somebody. */
  isWorthPacking(flags: number, length: number, topic: number): boolean {
    return (
      length >= this.#threshold &&
      !(flags & FrameFlag.Plain) &&
      this.#pump.engine.get(Control.DeflateCount) > 0 &&
      this.#pump.engine.x.deflateCount(topic) > 0
    );
  }

  /**
   * Publishes a message straight into the ring, compressed once for those who take it so. No user code runs before
   * it is done.
   */
  publishLarge(
    bytes: Uint8Array,
    flags: number,
    topic: number,
    except: number,
    exceptGeneration: number,
  ): Outcome {
    const { engine } = this.#pump;
    const { x, scratch } = engine;
    const { length } = bytes;
    try {
      const reserved = this.publishing(() => x.stageReserve(lengthOf(length)));
      if (reserved !== Outcome.Ok) return reserved;
      const at = engine.get(Control.Result);
      engine.u8.set(bytes, at);
      x.stageAppend(length);
      return this.publishing(() => {
        const packed = this.isWorthPacking(flags, length, topic)
          ? this.#pack(bytes, WINDOW_BITS)
          : undefined;
        const size = packed && packed.length <= engine.scratchBytes ? packed.length : 0;
        if (packed && size > 0) engine.u8.set(packed, scratch);
        return x.stagePublish(flags, scratch, size, topic, except, exceptGeneration);
      });
    } finally {
      // Whatever happened: an open one would keep others from publishing.
      x.stageDiscard();
    }
  }

  stage(): BufferStage {
    return new BufferStage(this);
  }
}
