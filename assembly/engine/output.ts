// Ends of connections, their deadlines, and the flush pass that hands over what is queued.
//
// Invariant: each connection ends once, by `kill`, with one reason; what the transport still reads of its
// memory stays until the host frees the slot.

import {
  Control,
  EventKind,
  Param,
  ROW_BYTES,
  ROW_LIMIT,
  ROW_SLOT,
  ROW_STATE,
  RowKind,
  RowState,
  Shut,
} from "../abi";
import {
  Conn,
  Flag,
  List,
  State,
  add,
  at,
  countClose,
  dropDirty,
  emit,
  engine,
  has,
  isWebSocket,
  markDirty,
  noticesFull,
  openAt,
  param,
  paramU32,
  putFree,
  receivePool,
  removeOpen,
  setControl,
  replyPool,
  takeDirty,
  takeEvents,
  takeTime,
} from "../state/conn";
import { beginCast, castRow, complete, completeQuiet, hasMore, nextRow } from "../reply/row";
import { NEVER, castDue, dueSequence, place } from "../ring/cursor";
import { remove } from "../state/treap";
import { forgetReading, isStuffed, pingAt, progressAt, unwatch } from "../reply/progress";
import { beginPaceOut, endPaceOut, paceOut, pardon, slowInAt } from "../state/rate";
import { blockBytes, give, take } from "../state/pool";
import { block, dropQueue, giveBlock } from "../state/queue";
import { delist, enlist, isIdle } from "../state/room";
import { Ring, deflated, frame, offsetIn, plain, ringOf } from "../ring/ring";
import {
  countBuffer,
  countReturned,
  discharge,
  forgetAddress,
  isReceiveFull,
  putDrainOff,
} from "../state/quota";
import { arm, disarm } from "../state/timers";
import { forget, hasUnflushed, topic, unflushed, wakeSubscribers } from "../ring/topics";

// ---- deadlines -------------------------------------------------------------------------------------

const FOREVER: f64 = Infinity;

/** When a connection has to have done what its state asks for, or is to be pinged; Infinity for never. */
export function dutyAt(c: Conn): f64 {
  let due = FOREVER;
  switch (c.state) {
    case State.Head:
      if (!isIdle(c) && !has(c, Flag.Clogged)) due = c.since + param(Param.HeadTimeout);
      break;
    case State.Body:
      due = min(c.since + param(Param.RequestTimeout), slowInAt(c));
      break;
    case State.Request:
      // Only while the host waits for a piece of the body: each byte is progress.
      if (has(c, Flag.Pulling))
        due = min(max(c.since, c.lastIn) + param(Param.RequestTimeout), slowInAt(c));
      break;
    case State.Open:
      // When its peer has ended, its handlers have as long as a closing handshake.
      due = has(c, Flag.PeerEnded)
        ? c.since + param(Param.CloseTimeout)
        : min(pingAt(c), isStuffed(c) ? FOREVER : slowInAt(c));
      break;
    default:
      break;
  }
  return due;
}

/** When something has to happen to a connection if nothing else does; Infinity for never. */
export function deadline(c: Conn): f64 {
  if (has(c, Flag.Waiting)) {
    // While a connection waits for a buffer nothing that it sends can be held against it. One that is held waits
    // because of its own handler: nobody has to pay for that.
    const due = has(c, Flag.Held) ? FOREVER : c.waitSince + param(Param.BufferTimeout);
    return c.writing != 0 ? min(due, progressAt(c)) : due;
  }
  return min(dutyAt(c), progressAt(c));
}

/** As `rearm`, when only a deadline of its progress can have come nearer. */
function rearmProgress(c: Conn): void {
  const due = progressAt(c);
  if (due != FOREVER) arm(c, due);
}

/** Sees to it that the deadline is looked at. */
export function rearm(c: Conn): void {
  const due = deadline(c);
  if (due != FOREVER) arm(c, due);
}

// ---- pooled receive buffers, as far as an end needs them ---------------------------------------------

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
  pardon(c, c.waitSince);
  if (c.waitBack != 0) at(c.waitBack - 1).waitNext = c.waitNext;
  else engine.waitHead = c.waitNext;
  if (c.waitNext != 0) at(c.waitNext - 1).waitBack = c.waitBack;
  else engine.waitTail = c.waitBack;
}

// ---- ends ------------------------------------------------------------------------------------------

/** True when a client has not been handed all that was published to it. */
export function isBehind(c: Conn): bool {
  return dueSequence(c) != NEVER || hasUnflushed(c);
}

/** Bytes of the ring a client has not been delivered. */
export function lagBytes(c: Conn): u64 {
  if (!isWebSocket(c)) return 0;
  const ring = ringOf(c);
  if (has(c, Flag.Ordered)) return ring.committed - c.done;
  let sequence = dueSequence(c);
  if (sequence == NEVER) sequence = unflushed(c);
  return sequence == NEVER ? 0 : ring.committed - offsetIn(ring, frame(sequence));
}

/** Forgets where a connection's unparsed bytes are. */
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

/** True while the transport may read a ring for a connection. */
function readsRing(c: Conn): bool {
  return c.writing == RowKind.Ring || c.writing == RowKind.DeflateRing;
}

/**
 * Ends a connection. Its place among the readers is free at once, its slot when the host calls `free`.
 * @param shut Shut.Reset when bytes of the ring that it was handed may be overwritten
 */
export function kill(c: Conn, reason: i32, shut: u32): void {
  if (c.state == State.Dead || c.state == State.Free) return;
  const lag = lagBytes(c);
  countClose(reason);
  discharge(c);
  if (isWebSocket(c)) {
    remove(c);
    forget(c);
    if (!has(c, Flag.CloseQueued)) removeOpen(c);
  } else {
    delist(c);
    add(Control.ConnectionCount, -1);
  }
  disarm(c);
  unwatch(c);
  dropDirty(c);
  forgetInput(c);
  // A handler may still read the request that is out: its bytes stay until the host frees the slot.
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

/** The host has let go of the socket and of all memory it was handed. Frees the slot. */
export function free(slot: u32, generation: u32): void {
  if (slot >= engine.allSlots) return;
  const c = at(slot);
  if (c.state != State.Dead || c.generation != generation) return;
  if (c.replyHead != 0) giveBlock(c, block(c.replyHead));
  // mutant pool-sending: ;
  if (c.sending != 0) giveBlock(c, block(c.sending));
  c.replyHead = 0;
  c.sending = 0;
  dropBuffer(c);
  countReturned(c, -(c.returned as i32));
  forgetAddress(c);
  if (readsRing(c)) engine.deadReaders--;
  add(Control.DeadCount, -1);
  putFree(c);
}

/** Takes no more input, sends what is queued, then half-closes and lingers. */
export function finishWith(c: Conn, reason: i32): void {
  c.reason = reason as i16;
  dropInput(c);
  c.flags &= ~(Flag.Asking | Flag.Upload | Flag.Pulling);
  c.discarded = 0;
  if (!isWebSocket(c)) enlist(c, List.Unread);
  c.state = State.Finishing;
  c.since = engine.now;
  afterWrite(c);
}

/** Everything is written: half-close, and read on until the peer ends, so that it can read our last words. */
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

/** All that an HTTP connection was to be sent has left. */
function rest(c: Conn): void {
  if (!isIdle(c)) {
    if (c.list == List.Unread) delist(c);
    return;
  }
  c.since = engine.now;
  enlist(c, List.Idle);
  rearmProgress(c);
}

/** What follows when a connection has no write outstanding. */
export function afterWrite(c: Conn): void {
  if (c.writing != 0) return;
  const isLow = c.backlog <= paramU32(Param.Backlog) >> 1;
  if (isLow && (has(c, Flag.Clogged) || (has(c, Flag.WantDrain) && !putDrainOff(c)))) {
    if (noticesFull()) {
      markDirty(c);
    } else {
      // The time it took to read its answers is not held against its next head.
      if (has(c, Flag.Clogged)) c.since = engine.now;
      c.flags &= ~(Flag.WantDrain | Flag.Clogged);
      rearm(c);
      emit(EventKind.Drain, c, 0, 0, 0);
    }
  }
  if (hasMore(c)) {
    markDirty(c);
    return;
  }
  endPaceOut(c);
  if (c.state == State.Finishing) {
    linger(c);
  } else if (c.state == State.Closing) {
    c.since = engine.now;
    beginPaceOut(c);
    rearm(c);
  } else if (!isWebSocket(c)) {
    rest(c);
  }
}

/** The outstanding write of a connection is through. */
export function finishWrite(c: Conn): void {
  if (c.writing == 0) return;
  // mutant treap-stay: ;
  if (isWebSocket(c)) remove(c);
  complete(c);
  if (isWebSocket(c)) {
    // Until the next pass hands it more, a reader that is behind stands in the treap: publishing must see it.
    place(c);
  }
  afterWrite(c);
}

// ---- the flush pass ----------------------------------------------------------------------------------

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
