// The flush pass: takes in the states of the last rows, and fills the write table with what is due to each client.
//
// Invariant: a connection has at most one row that is not complete.

import {
  Control,
  EventKind,
  Param,
  ROW_BYTES,
  ROW_LIMIT,
  ROW_SLOT,
  ROW_STATE,
  RowState,
} from "../abi";
import { rearm, rearmProgress } from "../reply/deadline";
import { afterWrite, finishWrite, leaveQueue } from "../reply/end";
import { forgetReading } from "../reply/progress";
import { beginCast, castRow, completeQuiet, nextRow } from "../reply/row";
import { NEVER, castDue, place } from "../ring/cursor";
import { Ring, deflated, plain } from "../ring/ring";
import { topic, wakeSubscribers } from "../ring/topics";
import { emit, noticesFull, takeEvents } from "../state/events";
import { List, dropDirty, openAt, takeDirty } from "../state/lists";
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
  isWebSocket,
  paramU32,
  receivePool,
  replyPool,
  setControl,
  takeTime,
} from "../state/records";
import { enlist } from "../state/room";
import { at } from "../state/slots";

/** Takes in what became of the rows of the table before. */
function settle(): void {
  const rows = engine.rowCount;
  engine.rowCount = 0;
  let quietBytes: f64 = 0;
  for (let i: u32 = 0; i < rows; i++) {
    const row = engine.rows + (i as usize) * ROW_BYTES;
    const c = at(load<u32>(row, ROW_SLOT));
    if (c.state == State.Dead || c.writing == 0) continue;
    if (load<u32>(row, ROW_STATE) == RowState.Complete) {
      endPaceOut(c);
      const bytes = completeQuiet(c);
      if (bytes == 0) finishWrite(c);
      quietBytes += bytes as f64;
    } else {
      place(c);
      paceOut(c);
      forgetReading(c);
      if (!isWebSocket(c) && (c.list == List.None || c.list == List.Unread)) enlist(c, List.Unread);
      rearmProgress(c);
    }
  }
  add(Control.BytesOut, quietBytes);
}

/** Tells the first of the queue that a buffer may be had. Who waits for others of its address holds nobody up. */
function wakeWaiters(): void {
  if (noticesFull()) return;
  engine.buffersGiven = 0;
  let next = engine.waitHead;
  while (next != 0) {
    const c = at(next - 1);
    const order = c.waitOrder as u32;
    next = c.waitNext;
    // One that is held needs no buffer before it goes on: it delays nobody.
    if (has(c, Flag.Held) || isReceiveFull(c, order)) continue;
    const found = take(receivePool, order);
    if (found == 0) return;
    give(receivePool, found, order);
    leaveQueue(c);
    rearm(c);
    emit(EventKind.Drain, c, 0, 0, 1);
    // One at a time: what it takes decides whether there is room for the next.
    engine.buffersGiven = 1;
    return;
  }
}

/** Drain for those who were refused because the reply pool was empty. */
function wakeSenders(): void {
  engine.replyFull = 0;
  for (let i: u32 = 0; i < engine.openCount; i++) {
    const c = openAt(i);
    if (!has(c, Flag.WantDrain) || putDrainOff(c)) continue;
    if (c.backlog <= paramU32(Param.Backlog) >> 1) {
      if (noticesFull()) {
        engine.replyFull = 1;
        return;
      }
      c.flags &= ~Flag.WantDrain;
      emit(EventKind.Drain, c, 0, 0, 0);
    }
  }
  for (let i: u32 = 0; i < engine.httpSlots; i++) {
    const c = at(i);
    if (c.state != State.Request || !has(c, Flag.WantDrain) || putDrainOff(c)) continue;
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

/** Makes the new broadcasts due to those who have not been looked at yet, as long as there is room for their rows. */
function castOn(runBytes: u32): void {
  if (engine.castLeft == 0) return;
  beginCast(topic(0).last);
  while (engine.castLeft > 0 && engine.rowCount < ROW_LIMIT) {
    engine.castLeft--;
    // From the last to the first: of those that end meanwhile, the place is taken by one that has been looked at.
    if (engine.castLeft >= engine.openCount) continue;
    const c = openAt(engine.castLeft);
    if (castRow(c, runBytes)) continue;
    castDue(c, engine.castFirst);
    if (!nextRow(c, runBytes)) place(c);
  }
}

/** True when more than an eighth of a ring is to be handed out: a longer run saves nothing, and takes room. */
function isMuch(ring: Ring): bool {
  return ring.committed - ring.flushed > ((ring.capacity >> 3) as u64);
}

/**
 * True when what was published may wait for a later pass: none of the WebSockets that have something to write
 * has an answer or a pong, which may stand behind it.
 */
function canWait(): bool {
  if (isMuch(plain) || isMuch(deflated)) return false;
  for (let link = engine.dirtyHead; link != 0; link = at(link - 1).link) {
    const c = at(link - 1);
    if (isWebSocket(c) && (c.replyHead != 0 || c.pong != 0)) return false;
  }
  return true;
}

/** Hands over what is due to a connection that was on the list. */
function serve(c: Conn, runBytes: u32): void {
  if (nextRow(c, runBytes)) return;
  place(c);
  afterWrite(c);
}

/** Serves what is not a WebSocket. WebSockets stay on the list: their next frames may be ones that wait. */
function serveAnswers(runBytes: u32): void {
  const last = engine.dirtyTail;
  for (let link = engine.dirtyHead; link != 0 && engine.rowCount < ROW_LIMIT; ) {
    const c = at(link - 1);
    link = c.link;
    if (!isWebSocket(c)) {
      dropDirty(c);
      serve(c, runBytes);
    }
    if (c.slot + 1 == last) break;
  }
}

/**
 * Takes in the states of the rows before and fills the table anew. Call it, write the rows, call it
 * again, until it returns 0. Publishing and user code wait meanwhile.
 * @param withhold 1: what was published since the pass before may wait for a later one, unless an answer
 *   that is due stands behind it; Control.Withheld tells
 */
export function flush(withhold: u32): u32 {
  takeTime();
  takeEvents();
  engine.noticesOwed = 0;
  settle();
  if (engine.buffersGiven != 0) wakeWaiters();
  if (engine.replyFull != 0 && replyPool.used < paramU32(Param.ReplyPoolBytes) >> 1) wakeSenders();
  const runBytes = paramU32(Param.RunBytes);
  const isNew = plain.flushed != plain.committed;
  const waits = isNew && withhold != 0 && canWait();
  setControl(Control.Withheld, waits ? 1 : 0);
  if (waits) {
    serveAnswers(runBytes);
    return engine.rowCount;
  }
  if (isNew) {
    const everyone = wakeSubscribers();
    if (everyone != NEVER) {
      if (engine.castLeft == 0) engine.castFirst = everyone;
      engine.castLeft = engine.openCount;
    }
    plain.flushed = plain.committed;
    deflated.flushed = deflated.committed;
  }
  castOn(runBytes);
  // Those that are put back, since they are owed a notice, stand behind those that were there.
  for (let last = engine.dirtyTail; engine.dirtyHead != 0 && engine.rowCount < ROW_LIMIT; ) {
    const c = takeDirty();
    serve(c, runBytes);
    if (c.slot + 1 == last) break;
  }
  return engine.rowCount;
}
