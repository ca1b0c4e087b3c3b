// Opens event streams where publications are kept: the publications that a client has missed, the notices that it gets,
// and their order.
//
//   hello        with the client's position when the stream resumes, without one otherwise
//   gap          the reason, where something that it has missed is gone
//   resumed      all that it has missed, in the order of positions, then what is new
//   otherwise    what `open` sends, then `live` with the position at which `open` began, then what is new
//
// For the states Parked and Replaying see ring/parked.ts. A stream in one of them that would be lapped moves to the
// present, and is notified of a gap.
//
// Invariant: a client has each publication after its position, or is notified of a gap before any later position. So
// `hello` of a stream that resumes repeats the client's own position, and a client that is cut off resumes again.

import { Control, Gap, Outcome, SINCE_FOREIGN, SINCE_NONE, Shut } from "../abi";
import { NEVER, firstFrom, place } from "../ring/cursor";
import { hasHistory, missed, seek } from "../ring/history";
import { leave, rejoin, returnOf } from "../ring/parked";
import { ringOf } from "../ring/ring";
import { Mark, Subscription, pushDue, subscription } from "../ring/subscription";
import { subscribe as subscribeTo, subscribed } from "../ring/topics";
import { noBlock } from "../state/quota";
import { markDirty } from "../state/lists";
import {
  Conn,
  Flag,
  State,
  WebSocketConn,
  add,
  has,
  isStream,
  isWebSocket,
  position,
  readersOf,
  setControl,
  takeTime,
  webSocketOf,
} from "../state/records";
import { live } from "../state/slots";
import { remove } from "../state/treap";
import { kill } from "./end";
import { queueGap, queueHello, queueLive, queueTopicGap } from "./stream";

/** Returns a parked event stream, 0 for any other id. */
function parked(slot: u32, generation: u32): WebSocketConn {
  takeTime();
  const c = live(slot, generation);
  const isParked = changetype<usize>(c) != 0 && isWebSocket(c) && has(c, Flag.Parked);
  return isParked && c.state == State.Open ? webSocketOf(c) : changetype<WebSocketConn>(0);
}

function countGap(gap: u32): void {
  add(Control.GapCount + (gap as i32), 1);
}

/**
 * Parks a new event stream, and judges the position that its client names.
 * @param since sequence of the position, or one of the SINCE values
 */
export function park(c: WebSocketConn, since: f64): void {
  const r = returnOf(c);
  r.since = NEVER;
  r.live = position();
  r.lapsed = 0;
  r.gap = Gap.None;
  r.greeted = 0;
  c.flags |= Flag.Parked;
  add(Control.ParkedCount, 1);
  // From its first reader on a form is written for as long as the server runs.
  readersOf(c.form as u32).isKept = 1;
  if (since == SINCE_NONE) return;
  if (since < 0 || since > (position() as f64)) {
    r.gap = since == SINCE_FOREIGN ? Gap.Epoch : Gap.Invalid;
    return;
  }
  r.since = since as u64;
  if (!seek(0, r.since, ringOf(c))) {
    r.since = NEVER;
    r.gap = Gap.Expired;
    return;
  }
  const first = firstFrom(missed, 0, c);
  if (first == NEVER) return;
  c.sequence = first;
  c.flags |= Flag.CastDue;
  place(c);
}

/**
 * Makes what a parked stream has missed of a topic due by a new subscription. When some is gone it does not resume, or
 * is notified of the topic's gap if it was greeted before. Then Control.Result is the Gap, else 0.
 */
function replayTopic(c: Conn, s: Subscription, name: usize, length: u32): void {
  const r = returnOf(c);
  if (r.since == NEVER) return;
  const isWhole = seek(s.topic, r.since, ringOf(c));
  // mutant return-twice: if (isWhole) {
  if (isWhole && (missed == NEVER || !isLeaving(c, s.topic))) {
    const first = firstFrom(missed, 0, c);
    if (first == NEVER) return;
    // mutant return-treap: ;
    remove(c);
    pushDue(c, s, first);
    place(c);
    return;
  }
  if (r.greeted != 0) {
    missTopic(c, name, length);
    return;
  }
  setControl(Control.Result, Gap.Expired);
  r.since = NEVER;
  r.gap = Gap.Expired;
  rejoin(webSocketOf(c));
}

/**
 * Returns true when messages of a topic are due to a client by a subscription that it has cancelled. They would come
 * twice.
 */
function isLeaving(c: Conn, number: u32): bool {
  let link = webSocketOf(c).firstSubscription;
  while (link != 0) {
    const s = subscription(link);
    if (s.topic == number && (s.flags & (Mark.Active | Mark.Due)) == Mark.Due) return true;
    link = s.ownNext;
  }
  return false;
}

/** Notifies a stream that it does not get the messages of a topic that it has missed. */
function missTopic(c: Conn, name: usize, length: u32): void {
  setControl(Control.Result, Gap.Expired);
  countGap(Gap.Expired);
  if (!queueTopicGap(c, name, length)) kill(c, noBlock(), Shut.Reset);
  else markDirty(c);
}

/**
 * Subscribes an open WebSocket to a topic, see ring/topics.ts. A parked stream that resumes gets the messages that it
 * has missed, too. With Ok, Control.Result is the Gap of the topic, 0 when there is none.
 */
export function subscribe(slot: u32, generation: u32, name: usize, length: u32): u32 {
  const outcome = subscribeTo(slot, generation, name, length);
  if (outcome != Outcome.Ok) return outcome;
  setControl(Control.Result, Gap.None);
  const c = live(slot, generation);
  if (subscribed == 0) return Outcome.Ok;
  const s = subscription(subscribed);
  if (has(c, Flag.Parked)) {
    replayTopic(c, s, name, length);
  } else if (isOpening(c)) {
    const isWhole = seek(s.topic, returnOf(c).since, ringOf(c));
    // Its cursor cannot be moved any more.
    if (!isWhole || missed != NEVER) missTopic(c, name, length);
  }
  return Outcome.Ok;
}

/**
 * Greets a parked stream, once its first topics are subscribed to: queues `hello`, and the gap if there is one.
 * @returns 0 when it does not resume, 1 when it does, 1 + a Gap; 0 also for any other id
 */
export function greet(slot: u32, generation: u32): u32 {
  const c = parked(slot, generation);
  if (changetype<usize>(c) == 0) return 0;
  const r = returnOf(c);
  if (r.greeted != 0) return 0;
  r.greeted = 1;
  if (!queueHello(c, r.since) || (r.gap != 0 && !queueGap(c, r.gap, NEVER, 0))) {
    kill(c, noBlock(), Shut.Reset);
    return 0;
  }
  markDirty(c);
  if (r.since != NEVER) {
    add(Control.Resumed, 1);
    return 1;
  }
  if (r.gap == 0) return 0;
  countGap(r.gap);
  return 1 + r.gap;
}

/**
 * Notes that `open` begins. Unless the stream resumes it gets what is published from now on, after all that is sent to
 * it before `settled`.
 */
export function begin(slot: u32, generation: u32): void {
  const c = parked(slot, generation);
  if (changetype<usize>(c) == 0) return;
  const r = returnOf(c);
  if (r.since != NEVER) return;
  // mutant return-begin: ;
  rejoin(c);
  r.live = position();
  r.lapsed = 0;
}

/**
 * Begins the replay of a parked stream whose queue has no more room. Its messages follow publications that it has
 * missed, so an `open` that waits for room would wait for itself.
 */
export function outgrow(c: Conn): void {
  if (!has(c, Flag.Parked)) return;
  const r = returnOf(c);
  if (r.since == NEVER) return;
  r.greeted = 2;
  leave(c);
}

/** Returns true for a stream that is replayed although its `open` has not settled. */
function isOpening(c: Conn): bool {
  if (!hasHistory || !isWebSocket(c) || !isStream(c)) return false;
  return !has(c, Flag.Parked) && returnOf(c).greeted == 2;
}

function endOpening(c: Conn): void {
  if (changetype<usize>(c) != 0 && isOpening(c)) returnOf(c).greeted = 1;
}

/** Notes that `open` has settled: a parked stream gets what is due to it. */
export function settled(slot: u32, generation: u32): void {
  const c = parked(slot, generation);
  if (changetype<usize>(c) == 0) {
    endOpening(live(slot, generation));
    return;
  }
  const r = returnOf(c);
  const isWhole =
    (r.since != NEVER || queueLive(c, r.live)) &&
    (r.lapsed == 0 || queueGap(c, Gap.Lapped, r.lapsed, 0));
  if (!isWhole) {
    kill(c, noBlock(), Shut.Reset);
    return;
  }
  if (r.lapsed != 0) countGap(Gap.Lapped);
  leave(c);
}

/**
 * Moves a parked or replaying reader to the present, and has it notified of the gap.
 * @returns false when there is no room for that
 */
export function lapse(c: WebSocketConn): bool {
  const r = returnOf(c);
  if (has(c, Flag.Parked) && r.greeted == 0 && r.since != NEVER) {
    // `hello` has not said yet that it resumes.
    r.since = NEVER;
    r.gap = Gap.Expired;
  }
  // Of a stream that does not resume the gap follows `live`. Of any other it precedes what is published next.
  const isBeginning = has(c, Flag.Parked) && r.since == NEVER;
  // mutant replay-order: if (has(c, Flag.Parked)) r.lapsed = position();
  if (isBeginning) r.lapsed = position();
  else if (!queueGap(c, Gap.Lapped, position(), ringOf(c).committed)) return false;
  rejoin(c);
  if (!isBeginning) countGap(Gap.Lapped);
  if (!has(c, Flag.Parked)) c.flags &= ~Flag.Replaying;
  markDirty(c);
  return true;
}
