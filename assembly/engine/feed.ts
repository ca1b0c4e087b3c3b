// Bytes in: from the receive window, or from a connection's pooled buffer, to the parser of its protocol.
//
// Invariant: between two reads of different connections the window has no unparsed bytes. The embedder keeps the bytes
// that `feed` does not consume, and stops reading until Drain.

import { CloseReason, Control, EVENT_LIMIT, Shut } from "../abi";
import { handBack, keepFrames, keepHttp, leftover } from "./buffer";
import { endAfterPeer, feedFrames, leaveWindow, runFrames } from "./frames-in";
import { feedHttp, parseHttp } from "./http-in";
import { parseUpload } from "../reply/body";
import { kill, leaveQueue } from "../reply/end";
import { awaitHead, refuse } from "../reply/response";
import { fail } from "../reply/send";
import { takeEvents } from "../state/events";
import { List } from "../state/lists";
import { countReturned, noBuffer, returnRefusal } from "../state/quota";
import { noteFed } from "../state/rate";
import {
  Conn,
  Flag,
  State,
  add,
  engine,
  has,
  isStream,
  isWebSocket,
  takeTime,
  hasHttp,
  HttpFlag,
  httpOf,
  webSocketOf,
} from "../state/records";
import { at, live } from "../state/slots";

/**
 * Bytes that are read and discarded after the engine has ended its side. A client that sends all of its data before it
 * reads can thus read the end. Beyond 16 MiB, more than a client can have in flight, reading stops.
 */
const DISCARD_LIMIT: u32 = 16777216;

/** Drops input that is no longer wanted. Beyond a limit it is left in the network. */
function discard(c: Conn, n: u32): u32 {
  c.discarded += n;
  if (c.discarded > DISCARD_LIMIT) c.flags |= Flag.Deaf;
  return n;
}

/** Leaves bytes that found no buffer to the embedder. Ends the connection when the embedder may hold no more. */
function handOver(c: Conn, bytes: u32): void {
  const reason = returnRefusal(c, bytes);
  if (reason == 0) {
    countReturned(c, bytes);
    return;
  }
  leaveQueue(c);
  if (isWebSocket(c)) fail(c, reason);
  else refuse(httpOf(c), reason);
}

/** Counts bytes that have arrived. Bytes that were returned to the embedder have been counted before. */
function countIn(c: Conn, n: u32): void {
  const again = min(n, c.returned);
  countReturned(c, -(again as i32));
  add(Control.BytesIn, (n - again) as f64);
}

/**
 * Consumes `n` bytes of a connection, which the embedder has read into the receive window.
 * @returns the number of bytes consumed. When fewer than `n`, drain the events and call `resume` until it makes no more
 * progress, then `retain`. When the connection waits for a buffer, the embedder keeps the rest, stops reading, and
 * feeds the rest again after Drain.
 *
 * If the embedder has not called `retain` for another connection with unparsed bytes in the window, those bytes are
 * lost, and that connection is reset.
 */
export function feed(slot: u32, generation: u32, n: u32): u32 {
  takeTime();
  takeEvents();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0) {
    // The connection has just ended, and the embedder has not handled the event yet.
    const isDead = slot < engine.allSlots && at(slot).state == State.Dead;
    if (isDead && at(slot).generation == generation) countIn(at(slot), n);
    return n;
  }
  if (engine.fedSlot != 0) {
    // Without calling `retain` the embedder has read these bytes over unparsed ones. The connection that they belonged
    // to cannot continue without them.
    const overwritten = at(engine.fedSlot - 1);
    kill(overwritten, CloseReason.HandlerError, Shut.Reset);
    if (overwritten.slot == c.slot) return n;
  }
  countIn(c, n);
  c.lastIn = engine.now;
  c.flags &= ~Flag.Pinged;
  noteFed(n);
  if (has(c, Flag.Waiting)) leaveQueue(c);
  if (c.state == State.Finishing || c.state == State.Linger) return discard(c, n);
  // mutant stream-input: ;
  if (isWebSocket(c) && isStream(c)) return discard(c, n);
  // The embedder takes them from the window.
  if (c.state == State.Released) return n;
  const consumed = isWebSocket(c) ? feedFrames(webSocketOf(c), n) : feedHttp(httpOf(c), n);
  if (has(c, Flag.Waiting)) handOver(c, n - consumed);
  return consumed;
}

/** Returns the result of `resume`: a connection's unparsed bytes, or the bytes returned to the embedder. */
function remainder(c: Conn): u32 {
  if (!has(c, Flag.Waiting)) return leftover(c);
  const left = handBack(c);
  handOver(c, left);
  return left;
}

/**
 * Continues with a connection's unparsed bytes after its events have been handled.
 * @returns number of unparsed bytes left, unchanged when the connection is held or its request is not answered. When it
 * now waits for a buffer, these are the last bytes that were fed, and the embedder keeps them as after `feed`
 */
export function resume(slot: u32, generation: u32): u32 {
  takeTime();
  takeEvents();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0) return 0;
  // The bytes in the window have just been fed, so `noteFed` has counted them.
  if (!has(c, Flag.InWindow)) noteFed(0);
  if (!isWebSocket(c)) {
    if (has(c, Flag.Waiting)) return 0;
    c.flags &= ~Flag.MessageOut;
    if (hasHttp(httpOf(c), HttpFlag.Upload)) parseUpload(c);
    else if (c.state == State.Head || c.state == State.Body) parseHttp(httpOf(c));
    return remainder(c);
  }
  if (has(c, Flag.MessageOut)) {
    c.flags &= ~Flag.MessageOut;
    // The embedder has handled the events without holding the connection, so more may be emitted at a time.
    if (!has(c, Flag.Held))
      webSocketOf(c).burst = webSocketOf(c).burst < EVENT_LIMIT ? webSocketOf(c).burst << 1 : 0;
  }
  if (has(c, Flag.Waiting) || (c.state != State.Open && c.state != State.Closing)) return 0;
  if (!has(c, Flag.InWindow)) {
    // Even without bytes a fault, or the peer's end, may wait for the messages before it.
    if (c.buffer == 0 && webSocketOf(c).failure == 0) {
      endAfterPeer(c);
      return 0;
    }
    engine.source = c.buffer + c.start;
    engine.sourceEnd = c.buffer + c.end;
  }
  if (!has(c, Flag.Held)) runFrames(webSocketOf(c));
  return remainder(c);
}

/**
 * Parses the bytes in the buffer of a WebSocket that waits for a larger one. They precede the bytes that the embedder
 * keeps, and the buffer is free when they are parsed. Otherwise clients that hold all buffers would wait for each
 * other.
 * @returns number of unparsed bytes left in the buffer, unchanged when the connection is held or a message is
 * incomplete
 */
export function parseKept(slot: u32, generation: u32): u32 {
  takeTime();
  takeEvents();
  const c = webSocketOf(live(slot, generation));
  if (changetype<usize>(c) == 0 || !isWebSocket(c) || c.buffer == 0) return 0;
  if (has(c, Flag.InWindow) || (c.state != State.Open && c.state != State.Closing)) return 0;
  if (has(c, Flag.Held)) return c.end - c.start;
  c.flags &= ~Flag.MessageOut;
  noteFed(0);
  engine.source = c.buffer + c.start;
  engine.sourceEnd = c.buffer + c.end;
  // mutant wait-kept (held): ;
  runFrames(c);
  return c.end - c.start;
}

/**
 * Moves a connection's bytes in the window to a buffer of its own, because its request is not answered yet or it is
 * held.
 * @returns 1, or 0 when no buffer was free. Then a request is answered with 503 (NoBuffer) or 429 (AddressBuffers). A
 * WebSocket waits for a buffer, and the embedder keeps the unparsed bytes, the last ones of the window, as after
 * `feed`. It is closed with 1013 when the embedder holds too many such bytes
 */
export function retain(slot: u32, generation: u32): u32 {
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0) return 0;
  if (!has(c, Flag.InWindow)) return 1;
  if (isWebSocket(c)) {
    if (leaveWindow(webSocketOf(c))) return 1;
    if (c.end == c.start) {
      c.start = webSocketOf(c).message;
      c.end = webSocketOf(c).message;
    }
    if (keepFrames(webSocketOf(c))) return 1;
    handOver(c, handBack(c));
    return 0;
  }
  if (keepHttp(c)) {
    if (c.state == State.Head && c.list == List.None) awaitHead(c);
    return 1;
  }
  leaveQueue(c);
  refuse(httpOf(c), noBuffer(c));
  return 0;
}
