// Outgoing messages: to one client, and publications to many, which are compressed once for all clients that negotiated
// it.
//
// Invariant: nothing is published during a flush, nor while the engine has its own stage open. Before it publishes, the
// engine may require that evictions are handled or that a flush is made. That is done, and the publication tried again.

import { CloseReason, Control, FrameFlag, NONE, Outcome, Param } from "../../assembly/abi";
import { type Payload, bytesOf, messageOf, sizeOf } from "../../host/shared/message/data";
import { eventOf } from "../../host/shared/message/event";
import { publishFlags, sendFlags } from "../../host/shared/message/flags";
import type { Data, PublishOptions, SendOptions } from "../../host/handler";
import { BufferStage, type StageTarget } from "../../host/shared/message/stage";
import { idOf } from "../../host/shared/message/id";
import { WINDOW_BITS } from "./deflate";
import { byteLength } from "../engine/engine";
import type { EngineLoop } from "../engine/loop";
import type { Codec } from "../net/transport";
import type { Peer } from "./peer";

/** The part of the pump that sending needs. */
interface OutgoingOwner {
  readonly loop: EngineLoop<Peer>;
  abandon(peer: Peer, reason: CloseReason): void;
}

/** Returns the first byte of a complete data frame. */
function firstByte(flags: number): number {
  const opcode = flags & FrameFlag.Binary ? 2 : 1;
  return 0x80 | (flags & FrameFlag.Compressed ? 0x40 : 0) | opcode;
}

function byteLengthOf(data: Payload): number {
  return typeof data === "string" ? byteLength(data) : sizeOf(data);
}

export class Outgoing implements StageTarget {
  readonly #pump: OutgoingOwner;
  readonly #loop: EngineLoop<Peer>;
  readonly #codec: Codec | undefined;
  readonly #threshold: number;
  readonly isUtf8: (bytes: Uint8Array) => boolean;
  readonly ringBytes: number;

  constructor(pump: OutgoingOwner, codec: Codec | undefined) {
    const { engine } = pump.loop;
    this.#pump = pump;
    this.#loop = pump.loop;
    this.#codec = codec;
    this.#threshold = engine.param(Param.DeflateThreshold);
    this.ringBytes = engine.param(Param.RingBytes);
    this.isUtf8 = (bytes) => engine.isUtf8(bytes);
  }

  // ---- to one client -----------------------------------------------------------------------------------

  /** Sends a message from user code. @returns true when it is queued @throws TypeError */
  sendTo(peer: Peer | undefined, data: Data, options: SendOptions | undefined): boolean {
    const payload = messageOf("send", data, options, this.isUtf8);
    const flags = sendFlags(payload, options);
    if (!peer?.ws || peer.closing) return false;
    return this.send(peer, payload, flags) === Outcome.Ok;
  }

  /** Sends a message that has been checked. */
  send(peer: Peer, data: Payload, flags: number): Outcome {
    if (peer.dead || !peer.ws) return Outcome.Gone;
    const { engine } = this.#loop;
    let length = this.#encode(data);
    let packed: Uint8Array | undefined;
    if (peer.windowBits !== 0 && !(flags & FrameFlag.Plain)) {
      const size = length >= 0 ? length : byteLengthOf(data);
      if (size >= this.#threshold) {
        const bytes = length >= 0 ? engine.bytesAt(engine.scratch, length) : bytesOf(data);
        packed = this.#pack(bytes, peer.windowBits);
        if (packed) length = this.#encode(packed);
      }
    }
    const frame = packed ? flags | FrameFlag.Compressed : flags;
    if (length >= 0) return this.#loop.send(peer, frame, length);
    const bytes = packed ?? bytesOf(data);
    return this.#loop.sendLarge(
      peer,
      firstByte(frame),
      peer.isStream ? eventOf(bytes, flags) : bytes,
    );
  }

  /** Returns true when a client's queue takes another message. Otherwise its waiters are notified when it does. */
  hasRoom(peer: Peer): boolean {
    return this.#loop.awaitRoom(peer) !== Outcome.Full;
  }

  /** Returns the compressed form of a message; undefined when it is not smaller. */
  #pack(bytes: Uint8Array, windowBits: number): Uint8Array | undefined {
    const packed = this.#codec?.deflate(bytes, windowBits);
    return packed && packed.length < bytes.length ? packed : undefined;
  }

  /**
   * Sends a message of the inbox, for which `send` has already returned true. A client without room for it is ended, as
   * in the engine's `drain`.
   */
  sendAccepted(slot: number, generation: number, bytes: Uint8Array, flags: number): void {
    const peer = this.#loop.find(idOf(slot, generation));
    if (peer && this.send(peer, bytes, flags) === Outcome.Full)
      this.#pump.abandon(peer, CloseReason.SendOverrun);
  }

  /** Writes a message to the start of the scratch region. @returns its bytes; −1: it is too large */
  #encode(data: Payload): number {
    const { engine } = this.#loop;
    if (typeof data === "string") return engine.putString(data, engine.scratchBytes);
    const length = sizeOf(data);
    if (length > engine.scratchBytes) return -1;
    engine.put(data);
    return length;
  }

  close(peer: Peer, code: number, reason: string): boolean {
    if (peer.dead || !peer.ws || peer.closing) return false;
    peer.closing = true;
    return this.#loop.close(peer, code, reason, CloseReason.Application) === Outcome.Ok;
  }

  /** Sends a ping. @param bytes at most 125 */
  ping(peer: Peer, bytes: Uint8Array): boolean {
    if (peer.dead || !peer.ws) return false;
    return this.#loop.ping(peer, this.#encode(bytes)) === Outcome.Ok;
  }

  lagOf(peer: Peer): { bytes: number; frames: number; queued: number } {
    if (peer.dead || !peer.ws) return { bytes: 0, frames: 0, queued: 0 };
    const { engine } = this.#loop;
    const frames = this.#loop.lag(peer);
    return { bytes: engine.get(Control.LagBytes), frames, queued: engine.backlog(peer.slot) };
  }

  broadcast(data: Data, options?: PublishOptions): boolean {
    return this.#publish("broadcast", 0, data, options, options?.except ?? 0);
  }

  /** Publishes to a topic. @param except id of a client that does not receive it; 0: none */
  publish(topic: string, data: Data, options: SendOptions | undefined, except: number): boolean {
    return this.#publish("publish", this.#topicOf(topic), data, options, except);
  }

  /** Checks a message and publishes it. @param topic its number; 0: all clients; NONE: no client */
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
    const peer = this.#loop.find(id);
    if (!peer?.ws || peer.closing) return false;
    return this.send(peer, bytes, flags) === Outcome.Ok;
  }

  /** Returns the number of a topic; NONE: it has no subscribers. */
  #topicOf(topic: string): number {
    return this.#loop.topic(topic) || NONE;
  }

  /** Publishes a message that has been checked. @param topic its number; 0: all clients; NONE: no client */
  #publishPayload(
    what: string,
    topic: number,
    payload: Payload,
    flags: number,
    except: number,
  ): boolean {
    if (this.#loop.isFlushing) throw new Error(`${what}: called from within a flush`);
    if (topic === NONE) {
      this.#loop.publishToNone();
      return true;
    }
    const length = this.#encode(payload);
    const outcome =
      length < 0 || this.isWorthPacking(flags, length, topic)
        ? this.publishLarge(bytesOf(payload), flags, topic, except)
        : this.#loop.publish(flags, length, topic, except);
    if (outcome === Outcome.TooLarge) {
      const { ringBytes } = this;
      throw new RangeError(`${what}: the message is larger than the ring (${ringBytes} bytes)`);
    }
    return outcome === Outcome.Ok;
  }

  /** Returns true when at least one recipient would receive the publication compressed. @param topic 0: all clients */
  isWorthPacking(flags: number, length: number, topic: number): boolean {
    return (
      length >= this.#threshold &&
      !(flags & FrameFlag.Plain) &&
      this.#loop.engine.get(Control.DeflateCount) > 0 &&
      this.#loop.deflateCount(topic) > 0
    );
  }

  /**
   * Publishes a message straight into the ring, and compresses it once for all clients that negotiated it. No user code
   * runs before it is done.
   * @param except id of a client that does not receive it; 0: none
   */
  publishLarge(bytes: Uint8Array, flags: number, topic: number, except: number): Outcome {
    const loop = this.#loop;
    try {
      const reserved = loop.stageReserve(bytes.length);
      if (reserved !== Outcome.Ok) return reserved;
      loop.stageAppend(bytes);
      let outcome: Outcome;
      do {
        const packed = this.isWorthPacking(flags, bytes.length, topic)
          ? this.#pack(bytes, WINDOW_BITS)
          : undefined;
        const isFit = packed !== undefined && packed.length <= loop.engine.scratchBytes;
        outcome = loop.stagePublish(flags, isFit ? packed : undefined, topic, except);
      } while (loop.makesRoom(outcome));
      return outcome;
    } finally {
      // A stage that stays open would keep other messages from being published.
      loop.stageDiscard();
    }
  }

  stage(): BufferStage {
    return new BufferStage(this);
  }
}
