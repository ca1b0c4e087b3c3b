// Bytes in: from the receive window, or from a connection's pooled buffer, to the parser of its protocol.
//
// Invariant: between two reads of different connections nothing unparsed is left in the window. What `feed` does not
// consume the embedder keeps, and stops reading, until Drain.

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
import { Conn, Flag, State, add, engine, has, isWebSocket, takeTime } from "../state/records";
import { at, live } from "../state/slots";

/** Bytes that are read of who has been told its end: so that a client that sends before it reads can read that. */
const DISCARD_LIMIT: u32 = 16777216;

/** No more input is wanted: what comes is dropped, and from some point on left in the network. */
function discard(c: Conn, n: u32): u32 {
  c.discarded += n;
  if (c.discarded > DISCARD_LIMIT) c.flags |= Flag.Deaf;
  return n;
}

/** Leaves bytes that found no buffer to the host; the connection ends when that may hold no more. */
function handOver(c: Conn, bytes: u32): void {
  const reason = returnRefusal(c, bytes);
  if (reason == 0) {
    countReturned(c, bytes);
    return;
  }
  leaveQueue(c);
  if (isWebSocket(c)) fail(c, reason);
  else refuse(c, reason);
}

/** Counts bytes that have come; what was given back has been counted. */
function countIn(c: Conn, n: u32): void {
  const again = min(n, c.returned);
  countReturned(c, -(again as i32));
  add(Control.BytesIn, (n - again) as f64);
}

/**
 * Takes in `n` bytes of a connection, which the host has read into the receive window.
 * @returns how many were consumed. When fewer than `n`: drain the events and call `resume` until it makes
 * no more progress; then `retain`. When the connection waits for a buffer the host keeps the rest, stops
 * reading, and feeds it again after Drain.
 *
 * Bytes of another connection that are still unparsed in the window, since the host has not called `retain`, are lost:
 * that connection is reset.
 */
export function feed(slot: u32, generation: u32, n: u32): u32 {
  takeTime();
  takeEvents();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0) {
    // It has just ended, and the host has not come to that.
    const isDead = slot < engine.allSlots && at(slot).state == State.Dead;
    if (isDead && at(slot).generation == generation) countIn(at(slot), n);
    return n;
  }
  if (engine.fedSlot != 0) {
    // The host has read these bytes over some that were not parsed yet, without `retain`. Whose they were has lost
    // them, and must not go on with another's.
    const robbed = at(engine.fedSlot - 1);
    kill(robbed, CloseReason.HandlerError, Shut.Reset);
    if (robbed.slot == c.slot) return n;
  }
  countIn(c, n);
  c.lastIn = engine.now;
  c.flags &= ~Flag.Pinged;
  noteFed(n);
  if (has(c, Flag.Waiting)) leaveQueue(c);
  if (c.state == State.Finishing || c.state == State.Linger) return discard(c, n);
  const consumed = isWebSocket(c) ? feedFrames(c, n) : feedHttp(c, n);
  if (has(c, Flag.Waiting)) handOver(c, n - consumed);
  return consumed;
}

/** What `resume` says of a connection: unparsed bytes, or those that are given back. */
function remainder(c: Conn): u32 {
  if (!has(c, Flag.Waiting)) return leftover(c);
  const left = handBack(c);
  handOver(c, left);
  return left;
}

/**
 * Goes on with a connection's unparsed bytes after its events have been handled.
 * @returns unparsed bytes left; the same as before when it is held, or its request is not answered. When it
 * waits for a buffer now, these are the last ones that were fed: the host keeps them, as after `feed`
 */
export function resume(slot: u32, generation: u32): u32 {
  takeTime();
  takeEvents();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0) return 0;
  // What lies in the window has just been fed.
  if (!has(c, Flag.InWindow)) noteFed(0);
  if (!isWebSocket(c)) {
    if (has(c, Flag.Waiting)) return 0;
    c.flags &= ~Flag.MessageOut;
    if (has(c, Flag.Upload)) parseUpload(c);
    else if (c.state == State.Head || c.state == State.Body) parseHttp(c);
    return remainder(c);
  }
  if (has(c, Flag.MessageOut)) {
    c.flags &= ~Flag.MessageOut;
    // The host has handled what was out without holding the connection: more may be out at a time.
    if (!has(c, Flag.Held)) c.burst = c.burst < EVENT_LIMIT ? c.burst << 1 : 0;
  }
  if (has(c, Flag.Waiting) || (c.state != State.Open && c.state != State.Closing)) return 0;
  if (!has(c, Flag.InWindow)) {
    // Without bytes there may still be a fault, or the peer's end, that waits for the messages before it.
    if (c.buffer == 0 && c.chunk == 0) {
      endAfterPeer(c);
      return 0;
    }
    engine.source = c.buffer + c.start;
    engine.sourceEnd = c.buffer + c.end;
  }
  if (!has(c, Flag.Held)) runFrames(c);
  return remainder(c);
}

/**
 * Moves what a connection still has in the window to a buffer of its own: its request is not answered yet,
 * or it is held.
 * @returns 1; 0 when no buffer was free. A request is answered 503 then (NoBuffer; AddressBuffers: 429). A WebSocket
 * waits for a buffer, and the host keeps the unparsed bytes, the last ones of the window, as after `feed`; it is
 * closed with 1013 when the host holds too many of such bytes
 */
export function retain(slot: u32, generation: u32): u32 {
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0) return 0;
  if (!has(c, Flag.InWindow)) return 1;
  if (isWebSocket(c)) {
    if (leaveWindow(c)) return 1;
    if (c.end == c.start) {
      c.start = c.message;
      c.end = c.message;
    }
    if (keepFrames(c)) return 1;
    handOver(c, handBack(c));
    return 0;
  }
  if (keepHttp(c)) {
    if (c.state == State.Head && c.list == List.None) awaitHead(c);
    return 1;
  }
  leaveQueue(c);
  refuse(c, noBuffer(c));
  return 0;
}
