// What may be asked of the engine about one connection, or all: its exports, typed, each with its preamble. A call that
// depends on time reads the clock first; one that leaves something to do schedules a turn; one that may end a
// connection at once acts on that before it returns.
//
// Invariant: no other file calls the engine's exports, but for those of worker/engine/. test/unit/calls.test.ts lists
// the preamble of each method.

import { type CloseReason, Control, Outcome } from "../../assembly/abi";
import { type Engine, lengthOf } from "./engine";

/** A connection's place in the engine. */
export interface Slot {
  slot: number;
  generation: number;
}

export abstract class Calls {
  readonly engine: Engine;

  constructor(engine: Engine) {
    this.engine = engine;
  }

  /** Reads the clock for the engine, unless events are being handled: then it stands still. */
  abstract time(): void;
  /** Makes a turn follow. */
  abstract schedule(): void;
  /** Acts on the connections that have ended, whose memory is about to be reused; a turn follows. */
  abstract actOnCloses(): void;

  // ---- connections -------------------------------------------------------------------------------------

  /** Counts a connection that is not accepted. */
  decline(reason: CloseReason): void {
    this.engine.x.decline(reason);
  }

  /** TLS is established. */
  secured({ slot, generation }: Slot): void {
    this.time();
    this.engine.x.secured(slot, generation);
    this.schedule();
  }

  /** Counts a connection under its client's address. @returns Full: the address has as many as it may */
  setAddress({ slot, generation }: Slot, address: string): Outcome {
    this.time();
    const outcome = this.engine.setAddress(slot, generation, address);
    this.schedule();
    return outcome;
  }

  /** The peer ended its side. */
  peerEnded({ slot, generation }: Slot): void {
    this.time();
    this.engine.x.peerEnded(slot, generation);
    this.schedule();
  }

  /** The outstanding write is complete. */
  done({ slot, generation }: Slot): void {
    this.time();
    this.engine.x.done(slot, generation);
    this.schedule();
  }

  /** Ends a connection at once. @returns Gone: it has ended already */
  terminate({ slot, generation }: Slot, reason: CloseReason): Outcome {
    this.time();
    const outcome: Outcome = this.engine.x.terminate(slot, generation, reason);
    this.actOnCloses();
    return outcome;
  }

  /** Fails a connection: by a Close frame, an answer, or the end of an answer that has begun. */
  abandon({ slot, generation }: Slot, reason: CloseReason): void {
    this.time();
    this.engine.x.abandon(slot, generation, reason);
    // There may have been no room for the Close.
    this.actOnCloses();
  }

  /** Ends a connection that is idle; one whose request is out after its answer. */
  dismiss({ slot, generation }: Slot): void {
    this.time();
    this.engine.x.dismiss(slot, generation);
    this.schedule();
  }

  /** Every answer ends its connection from now on. */
  stop(): void {
    this.engine.x.stop();
  }

  /** The host can read send queues, or cannot. */
  measures(can: boolean): void {
    this.engine.x.measures(can ? 1 : 0);
  }

  /** The next connection, by slot, whose send queue the engine wants to know; NONE: there is none. */
  watched(from: number): number {
    return this.engine.x.watched(from) >>> 0;
  }

  /**
   * Tells the state of a connection's send queue.
   * @param queued bytes that are not acknowledged; NONE: that is not known
   * @param answers the peer's kernel answers, as far as is known
   */
  acknowledged({ slot, generation }: Slot, queued: number, answers: boolean): void {
    this.time();
    this.engine.x.acknowledged(slot, generation, queued, answers ? 1 : 0);
    this.schedule();
  }

  // ---- requests ----------------------------------------------------------------------------------------

  /** Heads of requests with a body come as events of their own, or do not. */
  streams(wanted: boolean): void {
    this.engine.x.streams(wanted ? 1 : 0);
  }

  /** The body of the request that is out is collected. */
  collect({ slot, generation }: Slot): void {
    this.time();
    this.engine.x.collect(slot, generation);
    this.schedule();
  }

  /** The body of the request that is out is streamed. @returns not Ok: it is refused, or gone */
  stream({ slot, generation }: Slot): Outcome {
    this.time();
    const outcome: Outcome = this.engine.x.stream(slot, generation);
    this.schedule();
    return outcome;
  }

  /** The reader of a streamed body waits for a piece. */
  pull({ slot, generation }: Slot): void {
    this.time();
    this.engine.x.pull(slot, generation);
    this.schedule();
  }

  /** Answers the request that is out. The fields are in the scratch region, and the body after them. */
  respond(
    { slot, generation }: Slot,
    status: number,
    flags: number,
    fieldsLength: number,
    bodyLength: number,
  ): Outcome {
    this.time();
    const { x } = this.engine;
    const outcome: Outcome = x.respond(slot, generation, status, flags, fieldsLength, bodyLength);
    this.schedule();
    return outcome;
  }

  /** Answers the request that is out with a body outside the engine. @param body its number; 0: it has none */
  respondStatic(
    { slot, generation }: Slot,
    status: number,
    flags: number,
    fieldsLength: number,
    body: number,
    length: number,
  ): Outcome {
    this.time();
    const { x } = this.engine;
    const outcome: Outcome = x.respondStatic(
      slot,
      generation,
      status,
      flags,
      fieldsLength,
      body,
      length,
    );
    this.schedule();
    return outcome;
  }

  /** True when the body of the last `respondStatic` is queued; answers to HEAD have none, and too many may be held. */
  get isBodyQueued(): boolean {
    return this.engine.get(Control.Result) !== 0;
  }

  /** Begins an answer in pieces. */
  streamBegin(
    { slot, generation }: Slot,
    status: number,
    flags: number,
    fieldsLength: number,
  ): Outcome {
    this.time();
    const { x } = this.engine;
    const outcome: Outcome = x.streamBegin(slot, generation, status, flags, fieldsLength);
    this.schedule();
    return outcome;
  }

  /** Queues a piece of an answer. @returns TooLarge: the answer has no body, the piece is dropped */
  streamWrite({ slot, generation }: Slot, bytes: Uint8Array): Outcome {
    this.time();
    const { x } = this.engine;
    const outcome: Outcome = x.streamWrite(slot, generation, bytes.length);
    if (outcome === Outcome.Ok) {
      this.#putBytes(bytes);
      x.streamNext(slot, generation);
    }
    this.schedule();
    return outcome;
  }

  /** Ends an answer in pieces. */
  streamEnd({ slot, generation }: Slot): Outcome {
    this.time();
    const outcome: Outcome = this.engine.x.streamEnd(slot, generation);
    this.schedule();
    return outcome;
  }

  // ---- WebSockets --------------------------------------------------------------------------------------

  /** Sets the limits of a WebSocket. @param idle ms @param payload bytes */
  limit({ slot, generation }: Slot, idle: number, payload: number): void {
    this.time();
    this.engine.x.limit(slot, generation, idle, payload);
    this.schedule();
  }

  /** What ends a WebSocket waits until it is caught up with, or does not any more. */
  relay({ slot, generation }: Slot, isRelayed: boolean): void {
    this.time();
    this.engine.x.relay(slot, generation, isRelayed ? 1 : 0);
    this.schedule();
  }

  /** Queues the message at the start of the scratch region. @param flags of its frame */
  send({ slot, generation }: Slot, flags: number, length: number): Outcome {
    this.time();
    const { x, scratch } = this.engine;
    const outcome: Outcome = x.send(slot, generation, flags, scratch, length);
    this.schedule();
    return outcome;
  }

  /** Queues a message that is too large for the scratch region. @param first byte of its frame */
  sendLarge({ slot, generation }: Slot, first: number, bytes: Uint8Array): Outcome {
    this.time();
    const { x } = this.engine;
    const outcome: Outcome = x.sendBegin(slot, generation, first, lengthOf(bytes.length));
    if (outcome === Outcome.Ok) this.#putBytes(bytes);
    this.schedule();
    return outcome;
  }

  /** Sends the ping at the start of the scratch region. */
  ping({ slot, generation }: Slot, length: number): Outcome {
    this.time();
    const { x, scratch } = this.engine;
    const outcome: Outcome = x.ping(slot, generation, scratch, length);
    this.schedule();
    return outcome;
  }

  /** Sends a Close frame after what is queued. @param text at most 123 bytes */
  close({ slot, generation }: Slot, code: number, text: string, reason: CloseReason): Outcome {
    this.time();
    const { x, scratch } = this.engine;
    const length = this.engine.putText(text);
    const outcome: Outcome = x.close(slot, generation, code, scratch, length, reason);
    // There may have been no room for the Close.
    this.actOnCloses();
    return outcome;
  }

  /** Messages queued or in the ring that a client has not been delivered; their bytes are Control.LagBytes. */
  lag({ slot, generation }: Slot): number {
    return this.engine.x.lag(slot, generation);
  }

  /** Hands the bytes of a message or piece over, as many as the scratch region holds at a time. */
  #putBytes(bytes: Uint8Array): void {
    const { u8, x, scratch, scratchBytes } = this.engine;
    for (let at = 0; at < bytes.length; at += scratchBytes) {
      const part = bytes.subarray(at, at + scratchBytes);
      u8.set(part, scratch);
      x.sendBytes(scratch, part.length);
    }
  }

  // ---- topics ------------------------------------------------------------------------------------------

  /** Number of a topic; 0: nobody subscribes to it. @throws TypeError, RangeError for what is not a name */
  topic(name: string): number {
    const { engine } = this;
    return engine.x.findTopic(engine.scratch, engine.putTopic(name));
  }

  /** The same for a name in UTF-8, which has been checked. */
  topicOf(name: Uint8Array): number {
    const { engine } = this;
    engine.put(name);
    return engine.x.findTopic(engine.scratch, name.length);
  }

  /** Subscribes to the topic whose name is in the scratch region. @returns Full: Control.Result says which table is */
  subscribe({ slot, generation }: Slot, length: number): Outcome {
    const { x, scratch } = this.engine;
    return x.subscribe(slot, generation, scratch, length);
  }

  /** Ends the subscription to the topic whose name is there. @returns not Ok: there was none */
  unsubscribe({ slot, generation }: Slot, length: number): Outcome {
    const { x, scratch } = this.engine;
    return x.unsubscribe(slot, generation, scratch, length);
  }

  /** True for a subscriber of the topic whose name is there. */
  isSubscribed({ slot, generation }: Slot, length: number): boolean {
    const { x, scratch } = this.engine;
    return x.isSubscribed(slot, generation, scratch, length) === 1;
  }

  /** Names of the topics that a WebSocket subscribes to. */
  topicsOf({ slot, generation }: Slot): string[] {
    const { engine } = this;
    const names: string[] = [];
    for (let link = 0; ; ) {
      link = engine.x.nextTopic(slot, generation, link);
      if (link === 0) return names;
      names.push(engine.text(engine.get(Control.Result), engine.get(Control.NameLength)));
    }
  }

  /** @throws TypeError, RangeError for what is not a name */
  subscriberCount(name: string): number {
    const { engine } = this;
    return engine.x.subscriberCount(engine.scratch, engine.putTopic(name));
  }

  // ---- publishing --------------------------------------------------------------------------------------

  /** Clients that take a topic's messages compressed; topic 0: all. */
  deflateCount(topic: number): number {
    return this.engine.x.deflateCount(topic);
  }

  /** The message goes into the room that was reserved for it. */
  stageAppend(bytes: Uint8Array): void {
    const { engine } = this;
    engine.u8.set(bytes, engine.get(Control.Result));
    engine.x.stageAppend(bytes.length);
  }

  /** Gives up the engine's own stage; nothing when none is open. */
  stageDiscard(): void {
    this.engine.x.stageDiscard();
  }

  // ---- all ---------------------------------------------------------------------------------------------

  /** Changes a parameter that sizes no region. @throws RangeError for one that does */
  configure(param: number, value: number): void {
    this.engine.configure(param, value);
    this.schedule();
  }
}
