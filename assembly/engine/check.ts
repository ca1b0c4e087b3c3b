// The invariants of the whole engine as a function for tests, with one function for each kind of record.

import { Control, NONE, Param, RowKind, Rule } from "../abi";
import { NEVER, dueOffset, dueSequence } from "../ring/cursor";
import { hasHistory, traceOf } from "../ring/history";
import { frame, plain, ringOf } from "../ring/ring";
import { checkTopics } from "../ring/topics";
import { broken } from "../state/events";
import { List, openAt, pieceEnds } from "../state/lists";
import { heldReply } from "../state/queue";
import { checkTallies } from "../state/quota";
import {
  Conn,
  Flag,
  State,
  Watch,
  engine,
  getControl,
  has,
  hasHttp,
  HttpConn,
  HttpFlag,
  httpOf,
  isWebSocket,
  paramU32,
  position,
  receivePool,
  replyPool,
  WebSocketConn,
  webSocketOf,
} from "../state/records";
import { at } from "../state/slots";
import { orderedCount, readingCount } from "../state/treap";

/** Returns the rule when two counts differ, else Rule.Ok. */
function same(rule: u32, found: u32, expected: u32): u32 {
  return found == expected ? Rule.Ok : broken(rule, 0, found as f64, expected as f64);
}

/** Checks the queue of connections that wait for a buffer, and the bytes returned to the embedder. */
function checkQueue(): u32 {
  let waiting: u32 = 0;
  let returned: u32 = 0;
  for (let i: u32 = 0; i < engine.allSlots; i++) {
    const c = at(i);
    if (c.state == State.Free) continue;
    returned += c.returned;
    if (c.state != State.Dead && has(c, Flag.Waiting)) waiting++;
  }
  if (returned != engine.returned) return same(Rule.Returned, engine.returned, returned);
  let back: u32 = 0;
  for (let link = engine.waitHead; link != 0; link = at(link - 1).waitNext) {
    const c = at(link - 1);
    if (waiting-- == 0 || c.waitBack != back || !has(c, Flag.Waiting))
      return broken(Rule.WaitQueue, link - 1, c.waitBack as f64, back as f64);
    back = link;
  }
  if (waiting != 0) return broken(Rule.WaitQueue, 0, 0, waiting as f64);
  return same(Rule.WaitQueue, engine.waitTail, back);
}

/** Checks the rules for each slot in use, including those of connections that have ended. */
function checkConn(c: Conn): u32 {
  const i = c.slot;
  const held = heldReply(c) + (isWebSocket(c) ? 0 : httpOf(c).held);
  if (c.pingQueued > c.backlog)
    return broken(Rule.PingQueued, i, c.pingQueued as f64, c.backlog as f64);
  if (paramU32(Param.AddressReplyBytes) != 0 && held != c.replyBytes)
    return broken(Rule.ReplyBytes, i, c.replyBytes as f64, held as f64);
  if (c.state == State.Dead) return Rule.Ok;
  if (isWebSocket(c)) return checkWebSocket(webSocketOf(c));
  if (i >= engine.httpSlots) return broken(Rule.HttpSlot, i, i as f64, engine.httpSlots as f64);
  const wanted = c.state == State.Released ? List.None : List.Ended;
  if (has(c, Flag.PeerEnded) && c.list != wanted)
    return broken(Rule.EndedList, i, c.list as f64, wanted as f64);
  return checkPiece(httpOf(c));
}

/** Checks the piece of a supplied response, and the list that it is in. */
function checkPiece(c: HttpConn): u32 {
  const i = c.slot;
  if (!hasHttp(c, HttpFlag.Supplied)) {
    const isClean = (c.piece | c.held) == 0 && !has(c, Flag.Listed);
    return isClean ? Rule.Ok : broken(Rule.Supplied, i, c.held as f64, 0);
  }
  const isWritten = c.writing == RowKind.Piece;
  let wanted: u32 = 0;
  if (isWritten && hasHttp(c, HttpFlag.Stalled)) {
    // It is in no other list; it need not be in this one.
    if (c.piece > c.writingBytes) wanted = HttpFlag.Stalled;
  } else if (c.writing == 0 && c.replyHead == 0 && !has(c, Flag.Dirty)) {
    if (c.piece != 0) wanted = HttpFlag.Ready;
    else if (!hasHttp(c, HttpFlag.Wanted)) wanted = HttpFlag.Starved;
  }
  const found = c.marks & (HttpFlag.Ready | HttpFlag.Starved | HttpFlag.Stalled);
  if (engine.rowCount == 0 && found != wanted)
    return broken(Rule.PieceList, i, found as f64, wanted as f64);
  if (isWritten && c.writingBytes > c.piece)
    return broken(Rule.Supplied, i, c.writingBytes as f64, c.piece as f64);
  return Rule.Ok;
}

/** Returns the number of connections in the list that a mark names, NONE when its links are broken. */
function pieceCount(mark: u32): u32 {
  let count: u32 = 0;
  let back: u32 = 0;
  for (let link = load<u32>(pieceEnds(mark)); link != 0; link = at(link - 1).link) {
    const c = at(link - 1);
    if (c.linkBack != back || !hasHttp(httpOf(c), mark) || ++count > engine.allSlots) return NONE;
    back = link;
  }
  return load<u32>(pieceEnds(mark), 4) == back ? count : NONE;
}

/** Checks the counts and lists of supplied responses against the sums over all connections. */
function checkPieces(): u32 {
  let held: u32 = 0;
  let supplied: u32 = 0;
  let ready: u32 = 0;
  let starved: u32 = 0;
  let stalled: u32 = 0;
  for (let i: u32 = 0; i < engine.httpSlots; i++) {
    const c = httpOf(at(i));
    if (c.state == State.Free) continue;
    held += c.held;
    if (hasHttp(c, HttpFlag.Supplied)) supplied++;
    if (hasHttp(c, HttpFlag.Ready)) ready++;
    if (hasHttp(c, HttpFlag.Starved)) starved++;
    if (hasHttp(c, HttpFlag.Stalled)) stalled++;
  }
  let rule = same(Rule.PieceBytes, engine.pieceBytes, held);
  if (rule == Rule.Ok) rule = same(Rule.SuppliedCount, engine.supplied, supplied);
  if (rule == Rule.Ok) rule = same(Rule.PieceList, pieceCount(HttpFlag.Ready), ready);
  if (rule == Rule.Ok) rule = same(Rule.PieceList, pieceCount(HttpFlag.Starved), starved);
  if (rule == Rule.Ok) rule = same(Rule.PieceList, pieceCount(HttpFlag.Stalled), stalled);
  if (rule != Rule.Ok) return rule;
  rule = same(Rule.PieceList, getControl(Control.ReadyCount) as u32, ready);
  if (rule != Rule.Ok) return rule;
  return same(Rule.PieceList, getControl(Control.StarvedCount) as u32, starved);
}

/** Checks a WebSocket against its ring, and its place in the treap of readers. */
function checkWebSocket(c: WebSocketConn): u32 {
  const i = c.slot;
  if (i < engine.httpSlots) return broken(Rule.WebSocketSlot, i, i as f64, engine.httpSlots as f64);
  const isReturning = has(c, Flag.Parked | Flag.Replaying);
  if (isReturning && (!hasHistory || (has(c, Flag.Parked) && has(c, Flag.MidFrame))))
    return broken(Rule.Parked, i, c.flags as f64, 0);
  const ring = ringOf(c);
  const committed = ring.committed as f64;
  const due = dueOffset(c);
  if (due != NEVER && due >= ring.committed)
    return broken(Rule.DueCommitted, i, due as f64, committed);
  if (c.handed > ring.committed) return broken(Rule.HandedCommitted, i, c.handed as f64, committed);
  if (engine.rowCount != 0) return Rule.Ok;
  const isReading = c.writing == RowKind.Ring;
  if (!has(c, Flag.Ordered)) {
    const needsRing = isReading || (due != NEVER && due < ring.flushed);
    if (needsRing && !has(c, Flag.CloseQueued))
      return broken(Rule.TreapMissing, i, due as f64, ring.flushed as f64);
    return Rule.Ok;
  }
  // committed <= min(done) + capacity
  if (ring.committed - c.done > (ring.capacity as u64))
    return broken(Rule.ReaderInRing, i, c.done as f64, committed - (ring.capacity as f64));
  const frames = engine.sequence - dueSequence(c);
  if (due != NEVER && frames > (paramU32(Param.Frames) as u64))
    return broken(Rule.ReaderInIndex, i, frames as f64, paramU32(Param.Frames) as f64);
  if (isReading ? c.done >= c.handed || due < c.handed : c.done != due)
    return broken(Rule.TreapKey, i, c.done as f64, due as f64);
  return Rule.Ok;
}

/** Checks the ring and the index of its frames. */
function checkRing(): u32 {
  const unflushedAt = plain.flushed == plain.skipFrom ? plain.skipTo : plain.flushed;
  const unflushed = plain.committed - unflushedAt;
  if (unflushed > (plain.capacity as u64))
    return broken(Rule.UnflushedInRing, 0, unflushed as f64, plain.capacity as f64);
  if (engine.sequence == engine.firstSequence) return Rule.Ok;
  // Each frame begins at the end of the one before, or at the start of a lap.
  const last = frame(engine.sequence - 1);
  const end = last.offset + (last.length as u64);
  if (end != plain.committed) return broken(Rule.LastFrame, 0, end as f64, plain.committed as f64);
  return hasHistory ? checkPositions() : Rule.Ok;
}

/** Checks that the positions of the index grow. */
function checkPositions(): u32 {
  const count = engine.sequence - engine.firstSequence;
  const least = engine.sequence - min(count, paramU32(Param.Frames) as u64);
  let above = position() + 1;
  for (let s = engine.sequence; s > least; s--) {
    const own = traceOf(s - 1);
    if (own.position >= above || own.earlier >= own.position)
      return broken(Rule.Positions, 0, own.position as f64, above as f64);
    above = own.position;
  }
  return Rule.Ok;
}

/** Checks gauges, pools and lists against the sums over all connections. */
function checkTotals(): u32 {
  let open: u32 = 0;
  let ordered: u32 = 0;
  let dead: u32 = 0;
  let buffers: u32 = 0;
  let blocks: u32 = 0;
  let watched: u32 = 0;
  let reading: u32 = 0;
  let pipes: u32 = 0;
  let parked: u32 = 0;
  for (let i: u32 = 0; i < engine.allSlots; i++) {
    const c = at(i);
    if (c.state == State.Free) continue;
    if (c.watch != Watch.None) watched++;
    if (c.buffer != 0) buffers += 1 << (c.order + 10);
    blocks += heldReply(c);
    if (c.state == State.Dead) dead++;
    else if (!isWebSocket(c)) {
      if (c.list == List.Reading) reading++;
      if (c.state == State.Released) pipes++;
    } else {
      if (!has(c, Flag.CloseQueued)) open++;
      if (has(c, Flag.Ordered)) ordered++;
      if (has(c, Flag.Parked)) parked++;
    }
  }
  let rule = same(Rule.Watched, getControl(Control.Watched) as u32, watched);
  if (rule == Rule.Ok) rule = same(Rule.Reading, readingCount(), reading);
  if (rule == Rule.Ok) rule = same(Rule.Pipes, getControl(Control.Pipes) as u32, pipes);
  if (rule == Rule.Ok) rule = same(Rule.Parked, getControl(Control.ParkedCount) as u32, parked);
  if (rule == Rule.Ok) rule = same(Rule.OpenCount, engine.openCount, open);
  if (rule == Rule.Ok) rule = same(Rule.TreapCount, orderedCount(), ordered);
  if (rule == Rule.Ok) rule = same(Rule.DeadCount, getControl(Control.DeadCount) as u32, dead);
  if (rule == Rule.Ok) rule = same(Rule.ReceivePool, receivePool.used, buffers);
  if (rule == Rule.Ok) rule = same(Rule.ReplyPool, replyPool.used + engine.bodyBytes, blocks);
  for (let i: u32 = 0; rule == Rule.Ok && i < engine.openCount; i++) {
    const c = webSocketOf(openAt(i));
    if (c.listAt != i) rule = broken(Rule.OpenPlace, c.slot, c.listAt as f64, i as f64);
  }
  return rule;
}

/**
 * Checks all invariants; for tests, after each step. The slot, topic or address, the value found and the value expected
 * are in Control.CheckAt, CheckFound and CheckExpected.
 * @returns Rule.Ok, or the first Rule that is broken
 */
export function check(): u32 {
  for (let i: u32 = 0; i < engine.allSlots; i++) {
    const c = at(i);
    if (c.state == State.Free) continue;
    const rule = checkConn(c);
    if (rule != Rule.Ok) return rule;
  }
  let rule = checkQueue();
  if (rule == Rule.Ok) rule = checkTopics();
  if (rule == Rule.Ok) rule = checkTallies();
  if (rule == Rule.Ok) rule = same(Rule.WindowEmpty, engine.fedSlot, 0);
  if (rule == Rule.Ok) rule = checkTotals();
  if (rule == Rule.Ok) rule = checkPieces();
  if (rule == Rule.Ok) rule = checkRing();
  return rule;
}
