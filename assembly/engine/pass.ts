// The flush pass: takes the states of the last rows, and fills the write table with the bytes due to each client.
//
// Invariant: a connection has at most one row that is not complete.

import {
  Control,
  EventKind,
  Form,
  Param,
  ROW_BYTES,
  ROW_LENGTH,
  ROW_LIMIT,
  ROW_SLOT,
  ROW_STATE,
  RowKind,
  RowState,
} from "../abi";
import { rearm, rearmProgress } from "../reply/deadline";
import { afterWrite, emitRoom, finishWrite, leaveQueue } from "../reply/end";
import { forgetReading } from "../reply/progress";
import { catchUp } from "../ring/parked";
import { beginCast, castRow, completeQuiet, nextRow, pieceRow } from "../reply/row";
import { feedStarved, stall } from "../reply/supply";
import { NEVER, castDue, place } from "../ring/cursor";
import { Ring, plain, ringAt } from "../ring/ring";
import { topic } from "../ring/topic";
import { wakeSubscribers } from "../ring/topics";
import { emit, noticesFull, takeEvents } from "../state/events";
import { List, dropDirty, leavePieces, markDirty, openAt } from "../state/lists";
import { give, take } from "../state/pool";
import { isReceiveFull, putDrainOff } from "../state/quota";
import { endPaceOut, paceOut } from "../state/rate";
import {
  Conn,
  Flag,
  State,
  add,
  engine,
  has,
  HttpFlag,
  httpOf,
  isWebSocket,
  paramU32,
  receivePool,
  replyPool,
  setControl,
  takeTime,
  webSocketOf,
  HttpConn,
} from "../state/records";
import { enlist } from "../state/room";
import { at } from "../state/slots";

/** Takes over how much of a piece's row was taken. */
function settlePiece(c: HttpConn, taken: u32, isComplete: bool): void {
  if (!isComplete) {
    stall(c, taken);
    return;
  }
  c.writingBytes = min(c.writingBytes, max(taken, 1));
  c.marks &= ~HttpFlag.Slow;
}

/** Processes the states of the previous rows. */
function settle(): void {
  const rows = engine.rowCount;
  engine.rowCount = 0;
  let quietBytes: u64 = 0;
  for (let i: u32 = 0; i < rows; i++) {
    const row = engine.rows + (i as usize) * ROW_BYTES;
    const c = at(load<u32>(row, ROW_SLOT));
    if (c.state == State.Dead || c.writing == 0) continue;
    const isComplete = load<u32>(row, ROW_STATE) == RowState.Complete;
    const bytes = isComplete ? completeQuiet(c) : 0;
    quietBytes += bytes;
    if (bytes != 0) continue;
    if (c.writing == RowKind.Piece) settlePiece(httpOf(c), load<u32>(row, ROW_LENGTH), isComplete);
    if (isComplete) {
      endPaceOut(c);
      finishWrite(c);
    } else {
      place(c);
      paceOut(c);
      forgetReading(c);
      if (!isWebSocket(c) && (c.list == List.None || c.list == List.Unread)) enlist(c, List.Unread);
      rearmProgress(c);
    }
  }
  add(Control.BytesOut, quietBytes as f64);
}

/** Wakes the first waiter when a buffer is free. Waiters blocked by their own address's quota are skipped. */
function wakeWaiters(): void {
  if (noticesFull()) return;
  engine.buffersGiven = 0;
  let next = engine.waitHead;
  while (next != 0) {
    const c = at(next - 1);
    const order = c.waitOrder as u32;
    next = c.waitNext;
    // A held connection needs no buffer until it is released, so it does not delay others.
    if (has(c, Flag.Held) || isReceiveFull(c, order)) continue;
    const found = take(receivePool, order);
    if (found == 0) return;
    give(receivePool, found, order);
    leaveQueue(c);
    rearm(c);
    emit(EventKind.Drain, c, 0, 0, 1);
    // Waiters are woken one at a time, because the buffer that one takes decides whether there is room for the next.
    engine.buffersGiven = 1;
    return;
  }
}

/** Emits Drain for connections that were refused because the reply pool was empty. */
function wakeSenders(): void {
  engine.replyFull = 0;
  for (let i: u32 = 0; i < engine.openCount; i++) {
    const c = openAt(i);
    if (!has(c, Flag.WantDrain | Flag.WantRoom) || putDrainOff(c)) continue;
    if (c.backlog <= paramU32(Param.Backlog) >> 1) {
      if (noticesFull()) {
        engine.replyFull = 1;
        return;
      }
      emitRoom(c);
    }
  }
  for (let i: u32 = 0; i < engine.httpSlots; i++) {
    const c = at(i);
    if (c.state != State.Request && c.state != State.Released) continue;
    if (!has(c, Flag.WantDrain) || putDrainOff(c)) continue;
    if (c.backlog == 0) {
      if (noticesFull()) {
        engine.replyFull = 1;
        return;
      }
      c.flags &= ~Flag.WantDrain;
      emit(EventKind.Drain, c, 0, 0, 0);
    }
  }
}

/** Makes the new broadcasts due to the clients that have not been visited yet, while there is room for their rows. */
function castOn(runBytes: u32): void {
  if (engine.castLeft == 0) return;
  beginCast(topic(0).last, runBytes);
  while (engine.castLeft > 0 && engine.rowCount < ROW_LIMIT) {
    engine.castLeft--;
    // The order is from the last to the first, so that a connection which ends meanwhile is replaced by one that was
    // visited.
    if (engine.castLeft >= engine.openCount) continue;
    const c = openAt(engine.castLeft);
    if (castRow(webSocketOf(c))) continue;
    castDue(c, engine.castFirst);
    if (has(c, Flag.Parked | Flag.Replaying)) {
      // Its turn comes after what is live.
      place(c);
      markDirty(c);
      continue;
    }
    if (!nextRow(c, runBytes)) place(c);
  }
}

/**
 * Returns true when more than an eighth of a ring is unflushed. A longer run would save nothing, and occupy the ring.
 */
function isMuch(ring: Ring): bool {
  return ring.committed - ring.flushed > ((ring.capacity >> 3) as u64);
}

/**
 * Returns true when published frames may wait for a later pass, because none of the WebSockets with something to write
 * has a reply or a pong that may follow them.
 */
function canWait(): bool {
  for (let form: u32 = 0; form < (Form.COUNT as u32); form++) {
    if (isMuch(ringAt(form))) return false;
  }
  for (let link = engine.dirtyHead; link != 0; link = at(link - 1).link) {
    const c = at(link - 1);
    if (isWebSocket(c) && (c.replyHead != 0 || c.pong != 0)) return false;
  }
  return true;
}

/**
 * Returns true when this pass has handed over its share of responses. Each costs the kernel a copy, and new connections
 * and publications wait meanwhile.
 */
function isShareOver(): bool {
  const limit = paramU32(Param.PassBytes);
  return limit != 0 && engine.passBytes >= limit;
}

/** Returns true when a reader that catches up has to wait: this pass has handed over its share to such readers. */
function isReplayOver(c: Conn): bool {
  const limit = paramU32(Param.ReplayBytes);
  return has(c, Flag.Replaying) && limit != 0 && engine.replayBytes >= limit;
}

/** Counts the bytes that were handed to a reader that catches up. */
function countReplay(c: Conn): void {
  if (c.writing == RowKind.Ring || c.sending != 0) {
    engine.replayBytes += c.writingBytes;
    add(Control.ReplayedBytes, c.writingBytes as f64);
  }
}

/** Hands over the bytes due to a connection that was on the dirty list. */
function serve(c: Conn, runBytes: u32): void {
  dropDirty(c);
  if (has(c, Flag.Replaying)) catchUp(c);
  if (nextRow(c, runBytes)) {
    if (!isWebSocket(c)) engine.passBytes += c.writingBytes;
    else if (has(c, Flag.Replaying)) countReplay(c);
    return;
  }
  place(c);
  afterWrite(c);
}

/**
 * Serves the connections on the dirty list, once each. Connections that return to the list because their notice is
 * pending are after the ones that were there.
 * @param waits true: WebSockets stay on the list, because their next frames have to wait
 */
function serveDirty(runBytes: u32, waits: bool): void {
  let left = false;
  const last = engine.dirtyTail;
  for (let link = engine.dirtyHead; link != 0 && engine.rowCount < ROW_LIMIT; ) {
    const c = at(link - 1);
    link = c.link;
    if (isWebSocket(c)) {
      if (!waits && isReplayOver(c)) left = true;
      else if (!waits) serve(c, runBytes);
    } else if (isShareOver()) {
      left = true;
    } else {
      serve(c, runBytes);
    }
    if (c.slot + 1 == last) break;
  }
  setControl(Control.Unserved, left ? 1 : 0);
}

/**
 * Takes the states of the previous rows, and fills the table with rows of the pieces that the embedder has given. Call
 * it after `flush` has returned 0, so that everything else is written before, and call it with 0 at last.
 * @param bytes about as many are in the rows
 * @returns the number of rows
 */
export function flushPieces(bytes: u32): u32 {
  takeTime();
  takeEvents();
  settle();
  if (engine.crampedAt != 0 || engine.starvedHead != 0) feedStarved();
  const runBytes = paramU32(Param.RunBytes);
  for (let left = bytes; left > 0 && engine.readyHead != 0 && engine.rowCount < ROW_LIMIT; ) {
    const c = httpOf(at(engine.readyHead - 1));
    leavePieces(c);
    pieceRow(c, runBytes);
    left -= min(left, c.writingBytes);
  }
  return engine.rowCount;
}

/**
 * Takes the states of the previous rows and fills the table again. Call it, write the rows, and call it again, until it
 * returns 0. Until then nothing may be published, and no user code may run.
 * @param withhold 1 if frames published since the previous pass may wait for a later one, unless a reply that is due
 * follows them; Control.Withheld is 1 when they wait
 */
export function flush(withhold: u32): u32 {
  takeTime();
  takeEvents();
  engine.noticesPending = 0;
  if (engine.rowCount == 0) {
    engine.passBytes = 0;
    engine.replayBytes = 0;
  }
  settle();
  if (engine.buffersGiven != 0) wakeWaiters();
  if (engine.replyFull != 0 && replyPool.used < paramU32(Param.ReplyPoolBytes) >> 1) wakeSenders();
  const runBytes = paramU32(Param.RunBytes);
  const isNew = plain.flushed != plain.committed;
  const waits = isNew && withhold != 0 && canWait();
  setControl(Control.Withheld, waits ? 1 : 0);
  if (waits) {
    serveDirty(runBytes, true);
    return engine.rowCount;
  }
  if (isNew) {
    const everyone = wakeSubscribers();
    if (everyone != NEVER) {
      if (engine.castLeft == 0) engine.castFirst = everyone;
      engine.castLeft = engine.openCount;
    }
    for (let form: u32 = 0; form < (Form.COUNT as u32); form++) {
      const ring = ringAt(form);
      ring.flushed = ring.committed;
    }
  }
  castOn(runBytes);
  serveDirty(runBytes, false);
  return engine.rowCount;
}
