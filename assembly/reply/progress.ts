// Life and progress: which connections are past half of their time, and what their send queues say.
//
// Invariant: a client is ended because it makes no progress only after the host has read its send queue twice, where
// the host can read it and the time was long enough for that; a reading that shows progress moves the deadline on.
//
// Life is a byte received, or bytes acknowledged: a write completes that has waited, or the kernel's send queue
// shrinks. A write that the kernel takes at once proves nothing. `sent` counts the bytes of completed writes, so that
//
//   acknowledged = sent - queued
//
// holds but for what the kernel has taken of the outstanding write. That part only grows when bytes are acknowledged:
// any difference between two readings of the same write is progress.
//
// A client's kernel acknowledges in steps: when its process has read a good part of the window, nothing before. So a
// client whose kernel answers has the time that a step takes at SendRate, wherever a limit gives it less.

import { Control, NONE, Param } from "../abi";
import {
  Conn,
  Flag,
  State,
  Watch,
  add,
  engine,
  has,
  param,
  paramU32,
  takeTime,
} from "../state/records";
import { List } from "../state/lists";
import { at, live } from "../state/slots";
import { creditOut, slowOutAt, stepTime } from "../state/rate";
import { UNREAD_GRACE, enlist, isIdle } from "../state/room";
import { session } from "../ring/subscription";
import { arm } from "../state/timers";

/** ms that a write must have waited for its completion to count as life: TLS completes each a little later. */
const WAITED: f64 = 100;

/** Limits up to this many ms are too short for two readings of the queue: completions alone count. */
const SHORT: f64 = 1999;

/** ms that the end of a connection waits for the readings that are missing. */
const LATE: f64 = 3000;

/** Bytes received extend a closing handshake or a lingering close to so many times CloseTimeout. */
const LINGERS: f64 = 15;

/** The outstanding write completes, which the host has been told. */
export function noteCompletion(c: Conn): void {
  if (engine.now - c.lastOut >= WAITED) c.lastAck = engine.now;
}

/** The last sign of life. */
export function lastLife(c: Conn): f64 {
  return max(c.lastIn, c.lastAck);
}

/** True for a held WebSocket that is not read because a window's worth of its bytes is unparsed. */
export function isStuffed(c: Conn): bool {
  return has(c, Flag.Held) && c.end - c.start >= paramU32(Param.WindowBytes);
}

/** ms of inbound silence after which a WebSocket is pinged; 0: it is not. */
export function pingEvery(c: Conn): f64 {
  if (paramU32(Param.SendPings) == 0) return 0;
  const every = param(Param.PingInterval);
  const idle = session(c).idle as f64;
  return idle > 0 ? min(every, idle / 2) : every;
}

/** When the next ping of an open WebSocket is due; Infinity: one is waited for. */
export function pingAt(c: Conn): f64 {
  const every = pingEvery(c);
  if (every == 0 || c.pingBehind != 0 || has(c, Flag.PeerEnded)) return Infinity;
  // While reading is paused no pong can arrive: pings go on for the sake of what is in between.
  if (has(c, Flag.Pinged) && session(c).idle != 0 && !isStuffed(c)) return Infinity;
  return max(c.lastIn, c.since) + every;
}

/** Since when an open WebSocket without a write outstanding is silent. */
function silentSince(c: Conn): f64 {
  if (session(c).idle == 0 || c.pingBehind != 0) return Infinity;
  if (has(c, Flag.Waiting | Flag.PeerEnded) || isStuffed(c)) return Infinity;
  if (pingEvery(c) == 0) return lastLife(c);
  // A pong's time begins when its ping has left.
  return has(c, Flag.Pinged) ? max(lastLife(c), c.since) : Infinity;
}

/** Since when a client that has been told the end is silent. */
function lingersSince(c: Conn): f64 {
  const heard = min(c.lastIn, c.since + param(Param.CloseTimeout) * (LINGERS - 1));
  return max(max(c.since, c.lastAck), heard);
}

/** ms beyond the time that is announced: a request that the client sends at its end is still answered. */
const KEEP_ALIVE_EXTRA: f64 = 1000;

/** Since when a connection between two requests is idle: not while its client reads the last answer. */
function idleSince(c: Conn): f64 {
  return max(c.since, c.lastAck);
}

/** What `endsAt` found: when the connection is past half of the time that it has. */
let halfAt: f64 = 0;

/** True when a client may be reading what its kernel has acknowledged, before it shows a sign of life. */
function isReading(c: Conn): bool {
  if (c.watch != Watch.Alive) return false;
  // A pong follows what the client's kernel held when it acknowledged the last byte.
  return c.writing != 0 || c.queued != 0 || (c.state == State.Open && c.lastAck > c.lastIn);
}

/** When a client that has shown no progress since `since` has had its time. */
function allow(c: Conn, since: f64, time: f64): f64 {
  if (time > SHORT) halfAt = min(halfAt, since + time / 2);
  return since + (isReading(c) ? max(time, stepTime()) : time);
}

/** When a client that reads is too slow: it is looked at `time` ms sooner. */
function paceUntil(c: Conn, time: f64): f64 {
  const due = slowOutAt(c);
  if (time > SHORT) halfAt = min(halfAt, due - time);
  return due;
}

/** When a connection ends if it makes no progress; Infinity for never. */
function endsAt(c: Conn): f64 {
  halfAt = Infinity;
  let due: f64 = Infinity;
  if (c.writing != 0) {
    due = allow(c, c.lastOut, param(Param.WriteTimeout));
    // It may have to make room before its own time is up.
    if (engine.isCrowded != 0 && c.list == List.Unread) {
      halfAt = min(halfAt, c.lastOut + UNREAD_GRACE / 2);
    }
    due = min(due, paceUntil(c, param(Param.RateGrace)));
    // The others are about clients that have been handed all.
    if (c.state != State.Linger) return due;
  }
  const isOver = c.state == State.Closing && c.replyHead == 0;
  if (c.state == State.Open) {
    due = min(due, allow(c, silentSince(c), (session(c).idle as f64) - pingEvery(c)));
  } else if (c.state == State.Linger || isOver) {
    const time = param(Param.CloseTimeout);
    due = min(due, min(allow(c, lingersSince(c), time), paceUntil(c, time / 2)));
  } else if (c.replyHead == 0 && isIdle(c)) {
    const time = param(Param.KeepAliveTimeout) + KEEP_ALIVE_EXTRA;
    // An answer that the kernel took at once is not waited for.
    due = min(due, c.lastAck < c.lastIn ? idleSince(c) + time : allow(c, idleSince(c), time));
  }
  return due;
}

/** True when the readings that a judgement needs are missing, and may still come. */
function isUnread(c: Conn, due: f64): bool {
  return halfAt < due && c.watch < Watch.Known && engine.measures != 0 && engine.now < due + LATE;
}

/** When progress, or its absence, has to be looked at; Infinity for never. */
export function progressAt(c: Conn): f64 {
  const due = endsAt(c);
  if (engine.measures == 0) return due;
  if (c.watch == Watch.None) return min(due, halfAt);
  return isUnread(c, due) ? max(due, min(due + LATE, engine.now + 100)) : due;
}

/** True when a connection ends since it made no progress: its queue has been looked at. */
export function isStuck(c: Conn): bool {
  const due = endsAt(c);
  return engine.now >= due && !isUnread(c, due);
}

// ---- readings of send queues ---------------------------------------------------------------------------

/** 1: the host reads send queues; 0: it cannot, completions of writes alone are progress. */
export function measures(can: u32): void {
  engine.measures = can;
}

export function unwatch(c: Conn): void {
  if (c.watch == Watch.None) return;
  c.watch = Watch.None;
  add(Control.Watched, -1);
}

/**
 * True while bytes before a pong that is waited for are not acknowledged. The pong's time begins with the last of them,
 * so readings go on until then: the next ones, after half of the time, would be too late to see it.
 */
function isDraining(c: Conn): bool {
  if (c.state != State.Open || c.watch == Watch.None || c.writing != 0) return false;
  return has(c, Flag.Pinged) && c.queued != 0;
}

/** Looks whether a connection is past half of its time. @returns true when the host is to read its queue from now on */
export function look(c: Conn): bool {
  endsAt(c);
  const isPast = engine.measures != 0 && (engine.now >= halfAt || isDraining(c));
  if (!isPast) unwatch(c);
  if (!isPast || c.watch != Watch.None) return false;
  c.watch = Watch.Asked;
  add(Control.Watched, 1);
  return true;
}

/** The next slot from `from` on whose connection's send queue is to be read; NONE: there is no other. */
export function watched(from: u32): u32 {
  for (let i = from; i < engine.allSlots; i++) {
    const c = at(i);
    if (c.watch != Watch.None && c.state != State.Free && c.state != State.Dead) return i;
  }
  return NONE;
}

/** The kernel has taken a part of a write: readings from before cannot be compared with later ones. */
export function forgetReading(c: Conn): void {
  if (c.watch != Watch.None) c.watch = Watch.Asked;
}

/**
 * Takes in a reading of a connection's send queue.
 * @param queued bytes that are not acknowledged; NONE: it cannot be read
 * @param answers 1: the client's kernel answers
 */
export function acknowledged(slot: u32, generation: u32, queued: u32, answers: u32): void {
  takeTime();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || c.watch == Watch.None) return;
  const isFirst = c.watch == Watch.Asked;
  const wasAlive = c.watch == Watch.Alive;
  if (queued == NONE) c.watch = Watch.Known;
  else if (isFirst) c.watch = Watch.Based;
  else c.watch = answers != 0 ? Watch.Alive : Watch.Known;
  // It has less time.
  if (wasAlive && c.watch != Watch.Alive) arm(c, engine.now);
  const before = c.acked;
  const waited = c.queued;
  c.queued = queued == NONE ? 0 : queued;
  c.acked = c.sent - c.queued;
  const wasStalled = c.stalled != 0;
  const isSame = c.acked == before;
  c.stalled = u32(!isFirst && isSame && c.queued != 0);
  if (isFirst || queued == NONE || isSame) return;
  const bytes = (c.acked - before) as i32;
  if (bytes > 0) creditOut(c, bytes);
  if (c.writing != 0) {
    c.lastOut = engine.now;
    if (c.list == List.Unread) enlist(c, List.Unread);
  }
  // Bytes that did not wait prove that the kernel is there, and nothing of the client.
  const didWait = c.writing != 0 || c.queued != 0 || c.state != State.Open || wasStalled;
  if (waited != 0 && didWait) c.lastAck = engine.now;
  look(c);
  arm(c, engine.now);
}
