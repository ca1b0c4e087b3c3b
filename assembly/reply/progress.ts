// Life and progress: which connections are past half of their timeout, and the state of their send queues.
//
// Invariant: a client is closed for lack of progress only after the embedder has read its send queue twice, if the
// embedder can read it and the timeout was long enough for that. A reading that shows progress postpones the deadline.
//
// Signs of life are a received byte and acknowledged bytes: a write completes after it has waited, or the kernel's send
// queue shrinks. A write that the kernel takes at once proves nothing. `sent` counts the bytes of completed writes, so
//
//   acknowledged = sent - queued
//
// holds except for the part of the pending write that the kernel has taken. That part only grows when bytes are
// acknowledged, so any difference between two readings during the same write is progress.
//
// A client's kernel acknowledges in steps, after its process has read a good part of the window, and nothing before. So
// a client whose kernel answers has the time that a step takes at SendRate, wherever a limit is shorter.

import { Control, NONE, Param } from "../abi";
import {
  Conn,
  Flag,
  State,
  Watch,
  add,
  engine,
  has,
  isStream,
  param,
  paramU32,
  takeTime,
  webSocketOf,
} from "../state/records";
import { List } from "../state/lists";
import { at, live } from "../state/slots";
import { creditOut, slowOutAt, stepTime } from "../state/rate";
import { enlist, isHolder, isIdle } from "../state/room";
import { commentAt } from "./stream";

import { arm } from "../state/timers";

/**
 * ms that a write must have waited before its completion is a sign of life. TLS completes every write a little later.
 */
const WAITED: f64 = 100;

/** Longest limit, in ms, that is too short for two readings of the queue. For such limits only completions count. */
const SHORT: f64 = 1999;

/**
 * ms by which the end of a connection is delayed for readings that are missing. On a machine under load a reading takes
 * seconds. Where writes that the kernel takes invalidate one reading after the other, the delay is shorter.
 */
const LATE: f64 = 20000;
const LATE_WRITING: f64 = 3000;

/** Bytes received extend a closing handshake or a lingering close to at most this many times CloseTimeout. */
const LINGERS: f64 = 15;

/** Records that the pending write has completed. */
export function noteCompletion(c: Conn): void {
  // mutant life-wait (life): c.lastAck = engine.now;
  if (engine.now - c.lastOut >= WAITED) c.lastAck = engine.now;
}

/** Returns the time of the last sign of life. */
export function lastLife(c: Conn): f64 {
  return max(c.lastIn, c.lastAck);
}

/** Returns true for a held WebSocket that is not read, because it has a whole window of unparsed bytes. */
export function isStuffed(c: Conn): bool {
  return has(c, Flag.Held) && c.end - c.start >= paramU32(Param.WindowBytes);
}

/** Returns the inbound silence, in ms, after which a WebSocket is pinged, 0 when it is not pinged. */
export function pingEvery(c: Conn): f64 {
  if (paramU32(Param.SendPings) == 0) return 0;
  const every = param(Param.PingInterval);
  const idle = webSocketOf(c).idle as f64;
  return idle > 0 ? min(every, idle / 2) : every;
}

/** Returns the time of the next ping of an open WebSocket, Infinity while a pong is awaited. */
export function pingAt(c: Conn): f64 {
  if (isStream(c)) return commentAt(c);
  const every = pingEvery(c);
  if (every == 0 || c.pingQueued != 0 || has(c, Flag.PeerEnded)) return Infinity;
  // While reading is paused no pong can arrive, but pings continue, to keep proxies on the path from timing out.
  if (has(c, Flag.Pinged) && webSocketOf(c).idle != 0 && !isStuffed(c)) return Infinity;
  return max(c.lastIn, c.since) + every;
}

/**
 * Returns the time since which an open WebSocket without a pending write is silent, Infinity when its silence does not
 * count.
 */
function silentSince(c: Conn): f64 {
  if (webSocketOf(c).idle == 0 || c.pingQueued != 0) return Infinity;
  if (has(c, Flag.Waiting | Flag.PeerEnded) || isStuffed(c)) return Infinity;
  if (pingEvery(c) == 0) return lastLife(c);
  // The time of a pong begins when its ping has left.
  return has(c, Flag.Pinged) ? max(lastLife(c), c.since) : Infinity;
}

/** Returns the time since which a client is silent after our Close, or after the end of our side. */
function lingersSince(c: Conn): f64 {
  // mutant life-linger (life): const received = c.lastIn;
  const received = min(c.lastIn, c.since + param(Param.CloseTimeout) * (LINGERS - 1));
  return max(max(c.since, c.lastAck), received);
}

/** ms beyond the announced timeout, so that a request sent at its end is still answered. */
const KEEP_ALIVE_EXTRA: f64 = 1000;

/**
 * Returns the time since which a connection is idle between two requests. While its client reads the last response it
 * is not idle.
 */
function idleSince(c: Conn): f64 {
  return max(c.since, c.lastAck);
}

/** Returns the timeout of a connection between two requests: as announced, if it was lowered after that. */
function keepAliveFor(c: Conn): f64 {
  const time = param(Param.KeepAliveTimeout);
  // mutant keep-announced (life): return time;
  return idleSince(c) <= engine.keepAliveAt ? max(time, engine.keepAliveWas) : time;
}

/** Notes that KeepAliveTimeout changes now. Clients that are idle keep the timeout that they were announced. */
export function noteKeepAlive(): void {
  takeTime();
  const isOver = engine.now > engine.keepAliveAt + engine.keepAliveWas + KEEP_ALIVE_EXTRA;
  const before = isOver ? 0 : engine.keepAliveWas;
  // mutant keep-twice (life): engine.keepAliveWas = param(Param.KeepAliveTimeout);
  engine.keepAliveWas = max(before, param(Param.KeepAliveTimeout));
  engine.keepAliveAt = engine.now;
}

/** Second result of `endsAt`: the time at which the connection is past half of its timeout. */
let halfAt: f64 = 0;

/** Returns true when a client may be reading bytes that its kernel has acknowledged, before it shows a sign of life. */
function isReading(c: Conn): bool {
  // mutant life-step: if (c.watch == Watch.Alive) return false;
  if (c.watch != Watch.Alive) return false;
  // A pong follows the bytes that the client's kernel held when it acknowledged the last byte.
  return c.writing != 0 || c.queued != 0 || (c.state == State.Open && c.lastAck > c.lastIn);
}

/**
 * Returns a deadline, postponed so that the client is watched for half of the limit before it. Without that, a limit
 * that was lowered, or a clock that has jumped, would end a client whose progress was not read.
 */
function afterWatch(c: Conn, due: f64, time: f64): f64 {
  if (engine.measures == 0 || c.watch == Watch.None || time <= SHORT) return due;
  // mutant life-lowered (life): return due;
  return max(due, c.watchedAt + time / 2);
}

/** Returns the end of the timeout of a client without progress since `since`. */
function allow(c: Conn, since: f64, time: f64): f64 {
  if (time > SHORT) halfAt = min(halfAt, since + time / 2);
  return afterWatch(c, since + (isReading(c) ? max(time, stepTime()) : time), time);
}

/** Returns the deadline of a client that reads, by SendRate. The client is examined `time` ms earlier. */
function paceUntil(c: Conn, time: f64): f64 {
  const due = slowOutAt(c);
  if (time > SHORT) halfAt = min(halfAt, due - time);
  return afterWatch(c, due, time);
}

/** Returns the time at which a connection ends if it makes no progress, Infinity for never. */
function endsAt(c: Conn): f64 {
  halfAt = Infinity;
  let due: f64 = Infinity;
  if (c.writing != 0) {
    due = allow(c, c.lastOut, param(Param.WriteTimeout));
    // It may have to make room before its own timeout.
    const isCandidate = engine.isCrowded != 0 && c.list == List.Unread;
    if (isCandidate || (engine.crampedAt != 0 && isHolder(c))) halfAt = min(halfAt, c.lastOut);
    due = min(due, paceUntil(c, param(Param.RateGrace)));
    // The other limits apply to clients that were handed all bytes.
    if (c.state != State.Linger) return due;
  }
  const isOver = c.state == State.Closing && c.replyHead == 0;
  if (c.state == State.Open) {
    due = min(due, allow(c, silentSince(c), (webSocketOf(c).idle as f64) - pingEvery(c)));
  } else if (c.state == State.Linger || isOver) {
    const time = param(Param.CloseTimeout);
    due = min(due, min(allow(c, lingersSince(c), time), paceUntil(c, time / 2)));
  } else if (c.replyHead == 0 && isIdle(c)) {
    const time = keepAliveFor(c) + KEEP_ALIVE_EXTRA;
    // A response that the kernel took at once is not waited for.
    due = min(due, c.lastAck < c.lastIn ? idleSince(c) + time : allow(c, idleSince(c), time));
  }
  return due;
}

/** Returns the ms by which the end of a connection is delayed for readings that are missing. */
function lateness(c: Conn): f64 {
  return c.lastOut > c.watchedAt ? LATE_WRITING : LATE;
}

/** Returns true when readings needed for a decision are missing and may still arrive. */
function isUnread(c: Conn, due: f64): bool {
  if (engine.measures == 0 || halfAt >= due || c.watch >= Watch.Known) return false;
  // mutant life-late (life): return c.watch == Watch.None || engine.now < max(due, c.watchedAt) + LATE_WRITING;
  return c.watch == Watch.None || engine.now < max(due, c.watchedAt) + lateness(c);
}

/** Returns the time at which progress must be examined, Infinity for never. */
export function progressAt(c: Conn): f64 {
  const due = endsAt(c);
  if (engine.measures == 0) return due;
  if (c.watch == Watch.None) return min(due, halfAt);
  return isUnread(c, due) ? max(due, min(due + lateness(c), engine.now + 100)) : due;
}

/** Returns true when a connection ends because it made no progress, and its queue has been read. */
export function isStuck(c: Conn): bool {
  const due = endsAt(c);
  return engine.now >= due && !isUnread(c, due);
}

// ---- readings of send queues ---------------------------------------------------------------------------

/** Sets whether the embedder reads send queues (1). If it cannot (0), only completed writes count as progress. */
export function measures(can: u32): void {
  engine.measures = can;
}

export function unwatch(c: Conn): void {
  if (c.watch == Watch.None) return;
  c.watch = Watch.None;
  add(Control.Watched, -1);
}

/**
 * Returns true while bytes before an awaited pong are not acknowledged. The time of the pong begins with the last of
 * them, so readings continue until then. The next ones, after half of the timeout, would be too late to see it.
 */
function isDraining(c: Conn): bool {
  if (c.state != State.Open || c.watch == Watch.None || c.writing != 0) return false;
  return has(c, Flag.Pinged) && c.queued != 0;
}

/**
 * Updates whether a connection is past half of its timeout. Returns true when the embedder must read its queue from now
 * on.
 */
export function look(c: Conn): bool {
  endsAt(c);
  const isPast = engine.measures != 0 && (engine.now >= halfAt || isDraining(c));
  if (!isPast) unwatch(c);
  if (!isPast || c.watch != Watch.None) return false;
  c.watch = Watch.Asked;
  c.watchedAt = engine.now;
  add(Control.Watched, 1);
  return true;
}

/** Returns the next slot from `from` on whose connection's send queue must be read, NONE when there is none. */
export function watched(from: u32): u32 {
  for (let i = from; i < engine.allSlots; i++) {
    const c = at(i);
    if (c.watch != Watch.None && c.state != State.Free && c.state != State.Dead) return i;
  }
  return NONE;
}

/** Invalidates earlier readings, because the kernel has taken a part of a write. */
export function forgetReading(c: Conn): void {
  if (c.watch != Watch.None) c.watch = Watch.Asked;
}

/**
 * Records a reading of a connection's send queue.
 * @param queued bytes that are not acknowledged, NONE when the queue cannot be read
 * @param answers 1 when the client's kernel answers
 */
export function acknowledged(slot: u32, generation: u32, queued: u32, answers: u32): void {
  takeTime();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || c.watch == Watch.None) return;
  engine.readAt = engine.now;
  const isFirst = c.watch == Watch.Asked;
  // Bytes acknowledged before the first reading are not known, unless a write was handed over meanwhile.
  if (isFirst && c.watchedAt > c.lastOut) c.watchedAt = engine.now;
  const wasAlive = c.watch == Watch.Alive;
  if (queued == NONE) c.watch = Watch.Known;
  else if (isFirst) c.watch = Watch.Based;
  // mutant life-answer: else c.watch = Watch.Alive;
  else c.watch = answers != 0 ? Watch.Alive : Watch.Known;
  // Its timeout is shorter now.
  if (wasAlive && c.watch != Watch.Alive) arm(c, engine.now);
  const before = c.acked;
  const waited = c.queued;
  c.queued = queued == NONE ? 0 : queued;
  c.acked = c.sent - c.queued;
  const wasStalled = has(c, Flag.Stalled);
  const isSame = c.acked == before;
  if (!isFirst && isSame && c.queued != 0) c.flags |= Flag.Stalled;
  else c.flags &= ~Flag.Stalled;
  if (isFirst || queued == NONE || isSame) return;
  const bytes = (c.acked - before) as i32;
  if (bytes > 0) creditOut(c, bytes);
  if (c.writing != 0) {
    // mutant life-acked: ;
    c.lastOut = engine.now;
    if (c.list == List.Unread) enlist(c, List.Unread);
  }
  // Bytes that were acknowledged without waiting prove that the kernel answers, but say nothing about the client's
  // process.
  // mutant life-proof (life): const didWait = true;
  const didWait = c.writing != 0 || c.queued != 0 || c.state != State.Open || wasStalled;
  if (waited != 0 && didWait) c.lastAck = engine.now;
  look(c);
  arm(c, engine.now);
}
