// Ends connections: at once, or after all queued bytes have been written.
//
// Invariant: each connection ends once, by `kill`, with one reason. Memory that the transport still reads is kept until
// the embedder frees the slot.

import { Control, EventKind, Param, RowKind, Shut } from "../abi";
import { rearm, rearmProgress } from "./deadline";
import { lagBytes } from "./lag";
import { unwatch } from "./progress";
import { complete, hasMore } from "./row";
import { continueSupply, leaveSupply, releasePiece } from "./supply";
import { place } from "../ring/cursor";
import { leaveParked } from "../ring/parked";
import { forget } from "../ring/topics";
import { countClose, emit, noticesFull } from "../state/events";
import { List, dropDirty, markDirty, removeOpen } from "../state/lists";
import { blockBytes, give } from "../state/pool";
import { block, dropQueue, giveBlock } from "../state/queue";
import { countBuffer, countReturned, discharge, forgetAddress, putDrainOff } from "../state/quota";
import { beginPaceOut, endPaceOut, creditTime } from "../state/rate";
import {
  Conn,
  Flag,
  State,
  add,
  engine,
  has,
  isWebSocket,
  paramU32,
  receivePool,
  hasHttp,
  HttpFlag,
  httpOf,
} from "../state/records";
import { delist, enlist, isIdle } from "../state/room";
import { at, putFree } from "../state/slots";
import { disarm } from "../state/timers";
import { remove } from "../state/treap";

export function dropBuffer(c: Conn): void {
  if (c.buffer == 0) return;
  countBuffer(c, -(blockBytes(receivePool, c.order) as i32));
  give(receivePool, c.buffer as usize, c.order as u32);
  c.buffer = 0;
  engine.buffersGiven = 1;
}

export function leaveQueue(c: Conn): void {
  if (!has(c, Flag.Waiting)) return;
  c.flags &= ~Flag.Waiting;
  creditTime(c, c.waitSince);
  if (c.waitBack != 0) at(c.waitBack - 1).waitNext = c.waitNext;
  else engine.waitHead = c.waitNext;
  if (c.waitNext != 0) at(c.waitNext - 1).waitBack = c.waitBack;
  else engine.waitTail = c.waitBack;
}

/** Forgets the position of a connection's unparsed bytes. */
function forgetInput(c: Conn): void {
  if (has(c, Flag.InWindow)) {
    c.flags &= ~Flag.InWindow;
    engine.fedSlot = 0;
  }
  c.flags &= ~Flag.MessageOut;
  c.start = 0;
  c.end = 0;
  leaveQueue(c);
}

export function dropInput(c: Conn): void {
  forgetInput(c);
  dropBuffer(c);
}

/** Returns true while the transport may read a ring for a connection. */
function readsRing(c: Conn): bool {
  return c.writing == RowKind.Ring;
}

/** Stops counting a released connection that ends. */
function leavePipes(c: Conn): void {
  // mutant release-count: ;
  if (c.state == State.Released) add(Control.Pipes, -1);
}

/**
 * Ends a connection. It leaves the readers at once, and its slot is free when the embedder calls `free`.
 * @param shut Shut.Reset when bytes of the ring that it was handed may be overwritten
 */
export function kill(c: Conn, reason: i32, shut: u32): void {
  if (c.state == State.Dead || c.state == State.Free) return;
  const lag = lagBytes(c);
  countClose(reason);
  discharge(c);
  if (isWebSocket(c)) {
    remove(c);
    leaveParked(c);
    forget(c);
    if (!has(c, Flag.CloseQueued)) removeOpen(c);
  } else {
    delist(c);
    leaveSupply(httpOf(c));
    add(Control.ConnectionCount, -1);
  }
  leavePipes(c);
  disarm(c);
  unwatch(c);
  dropDirty(c);
  forgetInput(c);
  // A handler may still read the pending request, so its bytes stay until the embedder frees the slot.
  if (c.state != State.Request) dropBuffer(c);
  // mutant block-early: dropQueue(c, false);
  dropQueue(c, c.writing == RowKind.Block && c.sending == 0);
  if (c.pong != 0) {
    giveBlock(c, block(c.pong));
    c.pong = 0;
  }
  if (readsRing(c)) engine.deadReaders++;
  c.state = State.Dead;
  c.reason = reason as i16;
  add(Control.DeadCount, 1);
  emit(EventKind.Closed, c, lag > 0xffffffff ? 0xffffffff : (lag as usize), shut, reason);
}

/** Frees the slot. The embedder calls it when it has released the socket and all memory that it was handed. */
export function free(slot: u32, generation: u32): void {
  if (slot >= engine.allSlots) return;
  const c = at(slot);
  if (c.state != State.Dead || c.generation != generation) return;
  if (c.replyHead != 0) giveBlock(c, block(c.replyHead));
  // mutant pool-sending: ;
  if (c.sending != 0) giveBlock(c, block(c.sending));
  c.replyHead = 0;
  c.sending = 0;
  if (!isWebSocket(c)) releasePiece(httpOf(c));
  dropBuffer(c);
  countReturned(c, -(c.returned as i32));
  forgetAddress(c);
  if (readsRing(c)) engine.deadReaders--;
  add(Control.DeadCount, -1);
  putFree(c);
}

/** Discards further input, sends the queued bytes, then half-closes and lingers. */
export function finishWith(c: Conn, reason: i32): void {
  c.reason = reason as i16;
  leavePipes(c);
  dropInput(c);
  if (!isWebSocket(c)) httpOf(c).marks &= ~(HttpFlag.Asking | HttpFlag.Upload | HttpFlag.Pulling);
  c.discarded = 0;
  c.state = State.Finishing;
  if (!isWebSocket(c)) enlist(c, List.Unread);
  c.since = engine.now;
  afterWrite(c);
}

/**
 * Half-closes a connection whose bytes are all written, and keeps reading until the peer ends its side, so that the
 * peer can read the last bytes.
 */
function linger(c: Conn): void {
  if (has(c, Flag.PeerEnded)) {
    kill(c, c.reason, Shut.Destroy);
    return;
  }
  if (noticesFull()) {
    markDirty(c);
    return;
  }
  c.state = State.Linger;
  c.since = engine.now;
  beginPaceOut(c);
  c.flags |= Flag.EndSent;
  if (!isWebSocket(c)) enlist(c, List.Linger);
  rearm(c);
  emit(EventKind.End, c, 0, 0, c.reason);
}

/** Moves an HTTP connection whose queued bytes have all left to the idle list, if it is between two requests. */
export function rest(c: Conn): void {
  if (!isIdle(c)) {
    if (c.list == List.Unread) delist(c);
    return;
  }
  c.since = engine.now;
  enlist(c, List.Idle);
  rearmProgress(c);
}

/** Emits the Drain that a connection waits for. */
export function emitRoom(c: Conn): void {
  // mutant drain-quiet (flush): const isQuiet = false;
  const isQuiet = has(c, Flag.WantRoom) && !has(c, Flag.WantDrain);
  c.flags &= ~(Flag.WantDrain | Flag.WantRoom | Flag.Clogged);
  emit(EventKind.Drain, c, 0, 0, isQuiet ? 2 : 0);
}

/** Continues a connection that has no pending write. */
export function afterWrite(c: Conn): void {
  if (c.writing != 0) return;
  const isLow = c.backlog <= paramU32(Param.Backlog) >> 1;
  const isAwaited = has(c, Flag.WantDrain | Flag.WantRoom);
  if (isLow && (has(c, Flag.Clogged) || (isAwaited && !putDrainOff(c)))) {
    if (noticesFull()) {
      markDirty(c);
    } else {
      // Time spent reading its responses does not count against the client's next head.
      if (has(c, Flag.Clogged)) c.since = engine.now;
      emitRoom(c);
      rearm(c);
    }
  }
  if (hasMore(c)) {
    markDirty(c);
    return;
  }
  if (!isWebSocket(c) && hasHttp(httpOf(c), HttpFlag.Supplied) && continueSupply(httpOf(c))) return;
  endPaceOut(c);
  if (c.state == State.Finishing) {
    linger(c);
  } else if (c.state == State.Closing) {
    c.since = engine.now;
    beginPaceOut(c);
    rearm(c);
  } else if (c.state == State.Released) {
    // Its silence counts again.
    // mutant release-idle (release): ;
    rearm(c);
  } else if (!isWebSocket(c)) {
    rest(c);
  }
}

/** Completes the pending write of a connection. */
export function finishWrite(c: Conn): void {
  if (c.writing == 0) return;
  // mutant treap-stay: ;
  if (isWebSocket(c)) remove(c);
  complete(c);
  if (isWebSocket(c)) {
    // Until the next pass hands it more, a lagging reader is in the treap, so that publishing sees it.
    place(c);
  }
  afterWrite(c);
}
