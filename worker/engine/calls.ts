// The calls of the engine about one connection, or all: its exports, typed, each with its preamble. A call that depends
// on time reads the clock first. A call that leaves work to do schedules a turn. A call that may end a connection at
// once handles that before it returns.
//
// Invariant: no file outside of worker/engine/ calls the engine's exports. test/unit/calls.test.ts lists the preamble
// of each method.

import { type CloseReason, Control, Outcome, Param, type Piping } from "../../assembly/abi";
import { checkEventName } from "../../host/shared/message/topic";
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

  /**
   * Reads the clock for the engine. While events are handled it does nothing, so that time does not pass between them.
   */
  abstract time(): void;
  /** Schedules a turn. */
  abstract schedule(): void;
  /** Handles the connections that have ended and whose memory is about to be reused, and schedules a turn. */
  abstract actOnCloses(): void;

  // ---- connections -------------------------------------------------------------------------------------

  /** Counts a connection that is not accepted. */
  decline(reason: CloseReason): void {
    this.engine.x.decline(reason);
  }

  /** Reports that TLS is established. */
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

  /** Reports that the peer ended its side. */
  peerEnded({ slot, generation }: Slot): void {
    this.time();
    this.engine.x.peerEnded(slot, generation);
    this.schedule();
  }

  /** Reports that the outstanding write is complete. */
  done({ slot, generation }: Slot): void {
    this.time();
    this.engine.x.done(slot, generation);
    this.schedule();
  }

  /** Ends a connection at once. @returns Gone: it had ended already */
  terminate({ slot, generation }: Slot, reason: CloseReason): Outcome {
    this.time();
    const outcome: Outcome = this.engine.x.terminate(slot, generation, reason);
    this.actOnCloses();
    return outcome;
  }

  /** Fails a connection: by a Close frame, by a response, or by ending a response that has begun. */
  abandon({ slot, generation }: Slot, reason: CloseReason): void {
    this.time();
    this.engine.x.abandon(slot, generation, reason);
    // The Close may have found no room, which ends the connection.
    this.actOnCloses();
  }

  /** Ends an idle connection now, and one with a pending request after the response. */
  dismiss({ slot, generation }: Slot): void {
    this.time();
    this.engine.x.dismiss(slot, generation);
    this.schedule();
  }

  /** Makes every later response end its connection. */
  stop(): void {
    this.engine.x.stop();
  }

  /** Sets whether send queues can be read. */
  measures(can: boolean): void {
    this.engine.x.measures(can ? 1 : 0);
  }

  /** Returns the next connection, by slot, whose send queue the engine wants to know; NONE: there is none. */
  watched(from: number): number {
    return this.engine.x.watched(from) >>> 0;
  }

  /**
   * Reports the state of a connection's send queue.
   * @param queued bytes that are not acknowledged; NONE: unknown
   * @param answers whether the peer's kernel answers, as far as is known
   */
  acknowledged({ slot, generation }: Slot, queued: number, answers: boolean): void {
    this.time();
    this.engine.x.acknowledged(slot, generation, queued, answers ? 1 : 0);
    this.schedule();
  }

  // ---- requests ----------------------------------------------------------------------------------------

  /** Sets whether heads of requests with a body are events of their own. */
  streams(wanted: boolean): void {
    this.engine.x.streams(wanted ? 1 : 0);
  }

  /** Sets whether each refusal of a request that was not emitted is an event. */
  refusals(wanted: boolean): void {
    this.engine.x.refusals(wanted ? 1 : 0);
  }

  /** Collects the body of the pending request. @returns not Ok: the request is refused, or gone */
  collect({ slot, generation }: Slot): Outcome {
    this.time();
    const outcome: Outcome = this.engine.x.collect(slot, generation);
    this.schedule();
    return outcome;
  }

  /** Streams the body of the pending request. @returns not Ok: the request is refused, or gone */
  stream({ slot, generation }: Slot): Outcome {
    this.time();
    const outcome: Outcome = this.engine.x.stream(slot, generation);
    this.schedule();
    return outcome;
  }

  /** Reports that the reader of a streamed body waits for a piece. */
  pull({ slot, generation }: Slot): void {
    this.time();
    this.engine.x.pull(slot, generation);
    this.schedule();
  }

  /** Responds to the pending request. The scratch region holds the fields, then the body. */
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

  /** Responds to the pending request with a body outside of the engine. @param body its number; 0: there is none */
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

  /**
   * True when the last `respondStatic` queued its body. Responses to HEAD have none, and the number of such bodies is
   * limited.
   */
  get isBodyQueued(): boolean {
    return this.engine.get(Control.Result) !== 0;
  }

  /** The reason for which the last `respondStatic` refused the request, after Full. */
  get refusal(): CloseReason {
    return this.engine.get(Control.Result);
  }

  /**
   * Begins a response in pieces.
   * @param flags with Answer.Supply, Control.Result has what is known of the first piece
   * @param length of its body in bytes; −1: it is unknown
   */
  streamBegin(
    { slot, generation }: Slot,
    status: number,
    flags: number,
    fieldsLength: number,
    length: number,
  ): Outcome {
    this.time();
    const { x } = this.engine;
    const outcome: Outcome = x.streamBegin(slot, generation, status, flags, fieldsLength, length);
    this.schedule();
    return outcome;
  }

  /** Queues a piece of a response. @returns TooLarge: the response has no body, so the piece is dropped */
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

  /**
   * Gives a piece of a supplied body.
   * @param held bytes of memory that it takes
   * @param keeps 1: the next piece is in that memory, too
   */
  give({ slot, generation }: Slot, length: number, held: number, keeps: 0 | 1): Outcome {
    const outcome: Outcome = this.engine.x.give(slot, generation, length, lengthOf(held), keeps);
    this.schedule();
    return outcome;
  }

  /** Lessens the room that is reserved for a piece. */
  keepRoom({ slot, generation }: Slot, bytes: number): void {
    this.engine.x.keepRoom(slot, generation, bytes);
    this.schedule();
  }

  /** Ends a response in pieces. */
  streamEnd({ slot, generation }: Slot): Outcome {
    this.time();
    const outcome: Outcome = this.engine.x.streamEnd(slot, generation);
    this.schedule();
    return outcome;
  }

  // ---- released connections ----------------------------------------------------------------------------

  /** Reports the state of a released connection's upstream. */
  piping({ slot, generation }: Slot, report: Piping): void {
    this.time();
    this.engine.x.piping(slot, generation, report);
    this.schedule();
  }

  /** Begins a write to the client of a released connection. `done` follows. @returns Full: `drain` follows */
  pour({ slot, generation }: Slot, length: number): Outcome {
    this.time();
    const outcome: Outcome = this.engine.x.pour(slot, generation, length);
    this.schedule();
    return outcome;
  }

  /** Ends a released connection in order, after the outstanding write. */
  finish({ slot, generation }: Slot, reason: CloseReason): void {
    this.time();
    this.engine.x.finish(slot, generation, reason);
    this.schedule();
  }

  // ---- WebSockets --------------------------------------------------------------------------------------

  /** Sets the limits of a WebSocket. @param idle ms @param payload bytes */
  limit({ slot, generation }: Slot, idle: number, payload: number): void {
    this.time();
    this.engine.x.limit(slot, generation, idle, payload);
    this.schedule();
  }

  /** Sets whether the end of a WebSocket waits until its earlier messages have been handled. */
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

  /** Queues a message that is too large for the scratch region. @param first first byte of its frame */
  sendLarge({ slot, generation }: Slot, first: number, bytes: Uint8Array): Outcome {
    this.time();
    const { x } = this.engine;
    const outcome: Outcome = x.sendBegin(slot, generation, first, lengthOf(bytes.length));
    if (outcome === Outcome.Ok) this.#putBytes(bytes);
    this.schedule();
    return outcome;
  }

  /** Asks for `drain` when a client has no room for a message. @returns Ok: it has room; Full; Gone */
  awaitRoom({ slot, generation }: Slot): Outcome {
    return this.engine.x.awaitRoom(slot, generation);
  }

  /** Sends the ping at the start of the scratch region. */
  ping({ slot, generation }: Slot, length: number): Outcome {
    this.time();
    const { x, scratch } = this.engine;
    const outcome: Outcome = x.ping(slot, generation, scratch, length);
    this.schedule();
    return outcome;
  }

  /** Sends a Close frame after all queued messages. @param text at most 123 bytes */
  close({ slot, generation }: Slot, code: number, text: string, reason: CloseReason): Outcome {
    this.time();
    const { x, scratch } = this.engine;
    const length = this.engine.putText(text);
    const outcome: Outcome = x.close(slot, generation, code, scratch, length, reason);
    // The Close may have found no room, which ends the connection.
    this.actOnCloses();
    return outcome;
  }

  /**
   * Returns the number of messages, queued or in the ring, that a client has not received. Control.LagBytes has their
   * bytes.
   */
  lag({ slot, generation }: Slot): number {
    return this.engine.x.lag(slot, generation);
  }

  /** Copies the bytes of a message or piece to the engine, in parts of at most the scratch region. */
  #putBytes(bytes: Uint8Array): void {
    const { u8, x, scratch, scratchBytes } = this.engine;
    for (let at = 0; at < bytes.length; at += scratchBytes) {
      const part = bytes.subarray(at, at + scratchBytes);
      u8.set(part, scratch);
      x.sendBytes(scratch, part.length);
    }
  }

  // ---- topics ------------------------------------------------------------------------------------------

  /**
   * Returns the number of a topic to publish to; 0: no client reads it, or could read it later.
   * @throws TypeError, RangeError when it is not a valid name
   */
  topic(name: string): number {
    const { engine } = this;
    if (engine.params[Param.EventNames] === 1) checkEventName(name);
    return engine.x.topicFor(engine.scratch, engine.putTopic(name));
  }

  /** Returns the number of a topic to publish to, by a name in UTF-8 that has been checked. */
  topicOf(name: Uint8Array): number {
    const { engine } = this;
    engine.put(name);
    return engine.x.topicFor(engine.scratch, name.length);
  }

  /**
   * Subscribes to the topic whose name is in the scratch region.
   * @returns Full: Control.Result has the table that is
   */
  subscribe({ slot, generation }: Slot, length: number): Outcome {
    const { x, scratch } = this.engine;
    return x.subscribe(slot, generation, scratch, length);
  }

  /** Ends the subscription to the topic whose name is in the scratch region. @returns not Ok: there was none */
  unsubscribe({ slot, generation }: Slot, length: number): Outcome {
    const { x, scratch } = this.engine;
    return x.unsubscribe(slot, generation, scratch, length);
  }

  /** Returns true for a subscriber of the topic whose name is in the scratch region. */
  isSubscribed({ slot, generation }: Slot, length: number): boolean {
    const { x, scratch } = this.engine;
    return x.isSubscribed(slot, generation, scratch, length) === 1;
  }

  /** Returns the names of the topics that a WebSocket subscribes to. */
  topicsOf({ slot, generation }: Slot): string[] {
    const { engine } = this;
    const names: string[] = [];
    for (let link = 0; ; ) {
      link = engine.x.nextTopic(slot, generation, link);
      if (link === 0) return names;
      names.push(engine.text(engine.get(Control.Result), engine.get(Control.ResultLength)));
    }
  }

  /** Returns the number of a topic's subscribers. @throws TypeError, RangeError when it is not a valid name */
  subscriberCount(name: string): number {
    const { engine } = this;
    return engine.x.subscriberCount(engine.scratch, engine.putTopic(name));
  }

  // ---- publishing --------------------------------------------------------------------------------------

  /** Returns the number of clients that receive a topic's messages compressed; topic 0: of all clients. */
  deflateCount(topic: number): number {
    return this.engine.x.deflateCount(topic);
  }

  /** Counts a publication to a topic that has no subscribers. */
  publishToNone(): void {
    this.engine.x.publishToNone();
  }

  /** Copies the message into the room that was reserved for it. */
  stageAppend(bytes: Uint8Array): void {
    const { engine } = this;
    engine.u8.set(bytes, engine.get(Control.Result));
    engine.x.stageAppend(bytes.length);
  }

  /** Drops the engine's own stage, if one is open. */
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
