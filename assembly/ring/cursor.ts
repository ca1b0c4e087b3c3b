// Tracks which bytes of the ring are due to a client. A client has a cursor among the broadcasts and, for its topics, a
// heap of subscriptions, both by sequence. The smaller of the two comes next.
//
// Invariant: between two flush passes a client to which nothing is due has been handed every frame before `flushed`
// that is for it. A client to which something is due, or whose pending write reads the ring, is in the treap under the
// first byte that it may still need.
//
// Adjacent frames of one topic are a run, and are taken together:
//
//   sequence   10 11 12 13 14 15 16        index entries point to the first of their run, which counts it
//   topic       0  0  0  7  0  0  9        a broadcast's reader: 10 … 12, then 14 … 15
//   run        |--------|--|-----|--|      a subscriber of 7: 13

import { RowKind } from "../abi";
import { Conn, Flag, has, isWebSocket, webSocketOf, WebSocketConn } from "../state/records";
import { insert } from "../state/treap";
import { block } from "../state/queue";
import { Frame, frame, isLapStart, lengthIn, offsetIn, ringOf, runLast, sequenceAt } from "./ring";
import { Mark, popDue, pushDue, releaseSubscription, subscription } from "./subscription";

/** Value for no frame and for no offset. */
export const NEVER: u64 = u64.MAX_VALUE;

/** Returns the next frame of the same topic. */
function nextOf(sequence: u64): u64 {
  const distance = frame(sequence).next;
  return distance == 0 ? NEVER : sequence + (distance as u64);
}

function isExcepted(f: Frame, c: Conn): bool {
  // mutant topic-except: return f.exceptGeneration != 0 && f.except == c.slot;
  return f.exceptGeneration == c.generation && f.except == c.slot;
}

/** Returns the first frame for a client among the frames of a topic, from `sequence` on and not before `bound`. */
export function firstFrom(sequence: u64, bound: u64, c: Conn): u64 {
  let s = sequence;
  while (s != NEVER) {
    const last = runLast(s);
    if (last < bound) {
      s = nextOf(last);
      continue;
    }
    if (s < bound) s = bound;
    if (!isExcepted(frame(s), c)) return s;
    s = nextOf(s);
  }
  return NEVER;
}

function isTopicNext(c: Conn): bool {
  const root = webSocketOf(c).dueSubscription;
  if (root == 0) return false;
  return !has(c, Flag.CastDue) || subscription(root).sequence < webSocketOf(c).sequence;
}

/** Returns the frame that comes next for a client. */
export function dueSequence(c: Conn): u64 {
  if (isTopicNext(c)) return subscription(webSocketOf(c).dueSubscription).sequence;
  return has(c, Flag.CastDue) ? webSocketOf(c).sequence : NEVER;
}

/** Returns the first byte of the ring that is due to a client. */
export function dueOffset(c: Conn): u64 {
  if (has(c, Flag.MidFrame)) return webSocketOf(c).handed;
  const sequence = dueSequence(c);
  return sequence == NEVER ? NEVER : offsetIn(ringOf(c), frame(sequence));
}

/** The run that `look` found for a client. */
@unmanaged
export class DueRun {
  /** Range of its due bytes in the client's ring. */
  from: u64;
  to: u64;
  /** Its first and last frame. */
  first: u64;
  last: u64;
  /** Link of the subscription by which the run is due, 0 for broadcasts. */
  subscription: u32;
  /** Bytes that `takeDue` took, starting at the former `from`. */
  taken: u32;
}

export const dueRun = changetype<DueRun>(memory.data(40, 8));

/**
 * Finds the run that comes next for a WebSocket. All its frames up to `runLimit` are for this client.
 * @returns false when nothing is due. The result is valid until something else becomes due or is taken
 */
export function look(c: WebSocketConn): bool {
  const root = c.dueSubscription;
  const isCast = has(c, Flag.CastDue);
  dueRun.subscription = 0;
  dueRun.first = c.sequence;
  if (root != 0) {
    const sequence = subscription(root).sequence;
    if (!isCast || sequence < dueRun.first) {
      dueRun.subscription = root;
      dueRun.first = sequence;
    }
  } else if (!isCast) {
    return false;
  }
  let last = runLast(dueRun.first);
  if (dueRun.subscription != 0) {
    const s = subscription(dueRun.subscription);
    if (!(s.flags & Mark.Active) && last >= s.until) last = s.until - 1;
  }
  dueRun.last = last;
  const ring = ringOf(c);
  const f = frame(last);
  dueRun.to = offsetIn(ring, f) + (lengthIn(ring, f) as u64);
  dueRun.from = has(c, Flag.MidFrame) ? c.handed : offsetIn(ring, frame(dueRun.first));
  return true;
}

/** Moves the cursor to `sequence`, which is within the run that was found. */
function setDue(c: Conn, sequence: u64): void {
  if (dueRun.subscription != 0) subscription(dueRun.subscription).sequence = sequence;
  else webSocketOf(c).sequence = sequence;
}

/** Moves the cursor past `last`, the last frame of the found run that was handed over. */
function passDue(c: Conn, last: u64): void {
  let next = firstFrom(nextOf(last), 0, c);
  if (dueRun.subscription == 0) {
    const isOver =
      has(c, Flag.CloseQueued) && (((next as u32) - webSocketOf(c).castUntil) as i32) >= 0;
    if (isOver) next = NEVER;
    if (next == NEVER) c.flags &= ~Flag.CastDue;
    webSocketOf(c).sequence = next == NEVER ? last + 1 : next;
    return;
  }
  const s = popDue(c);
  const isActive = (s.flags & Mark.Active) != 0;
  if (next != NEVER && (isActive || next < s.until)) pushDue(c, s, next);
  else if (isActive) s.sequence = last + 1;
  else releaseSubscription(s);
}

/** Makes broadcasts from `first` on due to a client, as far as they were published since it joined. */
export function castDue(c: Conn, first: u64): void {
  if (has(c, Flag.CastDue)) return;
  const sequence = firstFrom(first, webSocketOf(c).sequence, c);
  if (sequence == NEVER) return;
  webSocketOf(c).sequence = sequence;
  c.flags |= Flag.CastDue;
}

/**
 * Hands over the run that `look` found, and further runs while they are adjacent, up to the offset at which the
 * client's next reply was queued. `taken` is the number of bytes.
 * @param limit most bytes @param whole true to take whole runs only
 * @returns the result of `look` for the next run, which it has called
 */
export function takeDue(c: Conn, limit: u32, whole: bool): bool {
  const ring = ringOf(c);
  const stop = c.replyHead != 0 ? block(c.replyHead).at : NEVER;
  const start = dueRun.from;
  const most = start + (limit as u64);
  let end = start;
  let isDue: bool = true;
  while (isDue && end < stop && (end == start || (dueRun.from == end && !isLapStart(ring, end)))) {
    let last = dueRun.last;
    let to = dueRun.to;
    if (to > stop) {
      to = stop;
      last = sequenceAt(ring, stop) - 1;
    }
    if (to > most) {
      if (whole) break;
      end = most;
      const cut = sequenceAt(ring, end);
      setDue(c, cut);
      // mutant cursor-cut: if (offsetIn(ring, frame(cut)) > end) c.flags |= Flag.MidFrame;
      if (offsetIn(ring, frame(cut)) < end) c.flags |= Flag.MidFrame;
      else c.flags &= ~Flag.MidFrame;
      webSocketOf(c).handed = end;
      isDue = look(webSocketOf(c));
      break;
    }
    passDue(c, last);
    c.flags &= ~Flag.MidFrame;
    end = to;
    isDue = look(webSocketOf(c));
  }
  c.done = start;
  webSocketOf(c).handed = end;
  dueRun.taken = (end - start) as u32;
  return isDue;
}

/** Inserts a client into the treap when it needs bytes of the ring. */
export function place(c: Conn): void {
  if (!isWebSocket(c) || has(c, Flag.Ordered)) return;
  if (c.writing != (RowKind.Ring as u8)) {
    const due = dueOffset(c);
    if (due == NEVER) return;
    c.done = due;
  }
  insert(c);
}
