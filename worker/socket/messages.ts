// Messages of WebSockets on their way to the handler: inflated, checked, in order.
//
// Invariant: with `ordered`, the handler of a connection's next message is not called before the handler of the
// previous one has settled. Meanwhile the connection is held, and further bytes stay unparsed in the engine's buffers,
// so that no message waits here. When the connection ends, unparsed messages are dropped, and `close` is called once
// the running handler has settled, at most `closeTimeout` later.

import { CloseReason, Param } from "../../assembly/abi";
import type { FragmentInfo, Handler } from "../../host/handler";
import type { OptionValues } from "../../host/options/table";
import { isNews } from "../../host/shared/message/stream";
import { Order } from "../../host/shared/order";
import { copyBytes } from "../../host/shared/text/text";
import { toBytes, utf8 } from "../engine/engine";
import type { EngineLoop } from "../engine/loop";
import type { Codec } from "../net/transport";
import { type Inflated, Inflater } from "./inflater";
import { Hold, type Peer } from "./peer";

/** The part of the pump that messages need. */
interface MessagesOwner {
  readonly loop: EngineLoop<Peer>;
  readonly values: Readonly<OptionValues>;
  /** Returns the handler of a WebSocket. */
  handlerOf(peer: Peer): Handler;
  hold(peer: Peer, why: Hold): void;
  release(peer: Peer, why: Hold): void;
  park(peer: Peer): void;
  unpark(peer: Peer): void;
  now(): number;
  schedule(): void;
  awaitTurn(peer: Peer): void;
  abandon(peer: Peer, reason: CloseReason): void;
  /** Notes that the end of a WebSocket waits until its messages have been handled; `caughtUp` follows. */
  endWaits(peer: Peer): void;
  fail(thrown: unknown, where: string): void;
  after(ms: number, fn: () => void): () => void;
}

/** Bytes of an inflated message from which on the connection's next one waits for another turn. */
const LARGE_BYTES = 1048576;

/** Returns bytes that share their memory with no others, since a handler may keep them. */
function ownBytes(data: Uint8Array): Uint8Array {
  return data.length >= LARGE_BYTES && data.length === data.buffer.byteLength
    ? new Uint8Array(data.buffer)
    : copyBytes(data, 0, data.length);
}

export class Messages {
  readonly #pump: MessagesOwner;
  readonly #codec: Codec | undefined;
  readonly inflater: Inflater;
  readonly #isOrdered: boolean;
  readonly #order: Order<Peer>;
  /** True when the main handler relays messages to another thread. */
  #relays = false;

  constructor(pump: MessagesOwner, codec: Codec | undefined) {
    this.#pump = pump;
    this.#codec = codec;
    this.inflater = new Inflater(pump, codec);
    this.#isOrdered = pump.values.ordered === 1;
    this.#order = new Order({
      isOrdered: (peer) => this.#isOrdered || this.isRelay(peer),
      block: (peer) => pump.hold(peer, Hold.Order),
      settled: (peer) => this.#next(peer),
      failed: (peer, where, thrown) => this.fail(peer, where, thrown),
      afterClose: (fn) => void pump.after(pump.loop.engine.param(Param.CloseTimeout), fn),
    });
  }

  /** Sets whether the main handler relays messages, as bytes and in order, or handles them here. */
  place(isRelay: boolean): void {
    this.#relays = isRelay;
  }

  /**
   * Returns true when a connection's messages are relayed to another thread: passed on as bytes, whatever their
   * type, which are valid during the call.
   */
  isRelay(peer: Peer): boolean {
    return this.#relays && peer.module === 0;
  }

  take(peer: Peer, pointer: number, length: number, opcode: number): void {
    const { engine } = this.#pump.loop;
    if (!this.#pump.handlerOf(peer).message) return;
    const isBinary = opcode === 2;
    if (this.isRelay(peer)) this.#tell(peer, engine.bytesAt(pointer, length), isBinary);
    else if (isBinary) this.#tell(peer, engine.bytes.slice(pointer, pointer + length), isBinary);
    else this.#tell(peer, engine.text(pointer, length), isBinary);
  }

  /**
   * Handles a compressed message. A small one is inflated and checked at once. Another is taken back, and comes again
   * when it has been inflated.
   */
  takePacked(peer: Peer, pointer: number, length: number, opcode: number): void {
    if (peer.refused !== undefined || !this.#codec) return;
    const { inflater } = this;
    const isBinary = opcode === 2;
    const result = inflater.take(peer);
    if (result !== undefined) {
      this.#tellInflated(peer, result, isBinary);
      return;
    }
    const limit = peer.payloadBytes;
    const small = Math.min(limit, inflater.smallBytes);
    let data: Uint8Array | "large" | "bad" = "large";
    if (small === limit || length <= small / 2) {
      data = this.#codec.inflate(this.#pump.loop.engine.bytesAt(pointer, length), small);
    }
    if (data === "large" && small < limit) inflater.begin(peer, !isBinary, !this.isRelay(peer));
    else this.#tellPacked(peer, data, isBinary);
  }

  #tellPacked(peer: Peer, data: Uint8Array | "large" | "bad", isBinary: boolean): void {
    if (data.length >= LARGE_BYTES) this.#pump.awaitTurn(peer);
    if (data === "large") this.#refuseMessage(peer, CloseReason.WsMessageTooLarge);
    else if (data === "bad") this.#refuseMessage(peer, CloseReason.WsBadDeflate);
    else if (isBinary) this.#tell(peer, ownBytes(data), true);
    else if (!this.#pump.loop.engine.isUtf8(data)) this.#refuseMessage(peer, CloseReason.WsBadUtf8);
    else this.#tell(peer, this.isRelay(peer) ? data : utf8(data, 0, data.length), false);
  }

  /** Handles a message that was inflated and checked in steps. */
  #tellInflated(peer: Peer, result: Inflated, isBinary: boolean): void {
    if (typeof result === "number") this.#refuseMessage(peer, result);
    // Meanwhile the handler may have moved to another thread or from there.
    else if (isBinary || this.isRelay(peer) || typeof result === "string")
      this.#tell(peer, result, isBinary);
    else this.#tell(peer, utf8(result, 0, result.length), false);
  }

  #refuseMessage(peer: Peer, reason: CloseReason): void {
    peer.refused = reason;
    if (peer.relayed) this.awaitAnswers(peer);
    else this.#pump.abandon(peer, reason);
  }

  #tell(peer: Peer, data: string | Uint8Array, isBinary: boolean): void {
    const handler = this.#pump.handlerOf(peer);
    const { message } = handler;
    const ws = peer.ws;
    if (!ws || peer.refused !== undefined) return;
    if (this.#pump.loop.engine.param(Param.Pieces) !== 0) {
      const info = { first: true, last: true, isBinary, remaining: 0 };
      this.takeFragment(peer, toBytes(data), info);
    } else if (message) {
      try {
        this.#order.settle(peer, "message", message.call(handler, ws, data, isBinary));
      } catch (thrown) {
        this.fail(peer, "message", thrown);
      }
    }
  }

  takeFragment(peer: Peer, data: Uint8Array, info: FragmentInfo): void {
    const handler = this.#pump.handlerOf(peer);
    const { fragment } = handler;
    const ws = peer.ws;
    if (!fragment || !ws || peer.refused !== undefined) return;
    try {
      this.#order.settle(peer, "fragment", fragment.call(handler, ws, data, info));
    } catch (thrown) {
      this.fail(peer, "fragment", thrown);
    }
  }

  /** Continues the connection after the handler of a message has settled, or does the work after its end. */
  #next(peer: Peer): void {
    this.#order.caughtUp(peer);
    this.#pump.release(peer, Hold.Order);
    const { atEnd } = peer;
    peer.atEnd = undefined;
    atEnd?.();
  }

  /**
   * Waits for the handler of an ended connection's last message, at most `closeTimeout`.
   * @param then called when it has settled
   * @returns false when there is no handler to wait for
   */
  awaitEnd(peer: Peer, then: () => void): boolean {
    if (!peer.skip) return false;
    peer.atEnd = then;
    this.#order.awaitEnd(peer);
    return true;
  }

  /** Closes a WebSocket with 1011 because its handler failed. Later messages are dropped. */
  fail(peer: Peer, where: string, thrown: unknown): void {
    peer.refused ??= CloseReason.HandlerError;
    if (isNews(peer.ws, thrown)) this.#pump.fail(thrown, where);
    this.#pump.abandon(peer, CloseReason.HandlerError);
  }

  takeControl(peer: Peer, name: "ping" | "pong", pointer: number, length: number): void {
    const handler = this.#pump.handlerOf(peer);
    const handle = handler[name];
    const ws = peer.ws;
    if (!handle || !ws) return;
    const data = this.#pump.loop.engine.copy(pointer, length);
    if (peer.refused !== undefined) return;
    try {
      this.#order.settle(peer, name, handle.call(handler, ws, data));
    } catch (thrown) {
      this.fail(peer, name, thrown);
    }
  }

  /** Makes the end of a WebSocket wait until its messages have been handled, because another thread handles them. */
  relay(peer: Peer): void {
    if (peer.relayed || peer.dead) return;
    peer.relayed = true;
    this.#pump.loop.relay(peer, true);
  }

  /** Handles the end of a relayed WebSocket, which waits for its messages, at most `closeTimeout`. */
  awaitAnswers(peer: Peer): void {
    const ms = this.#pump.loop.engine.param(Param.CloseTimeout);
    this.#pump.hold(peer, Hold.End);
    this.#pump.endWaits(peer);
    this.#pump.after(ms, () => this.caughtUp(peer));
  }

  /** Continues the end of a WebSocket after its messages have been handled. */
  caughtUp(peer: Peer): void {
    if (peer.dead || (peer.held & Hold.End) === 0) return;
    this.#pump.loop.relay(peer, false);
    this.#pump.release(peer, Hold.End);
    if (peer.refused !== undefined) this.#pump.abandon(peer, peer.refused);
  }

  /** Ends all waits. */
  stop(): void {
    this.#order.stop();
  }
}
