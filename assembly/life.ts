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

import { Control, NONE, Param } from "./abi";
import {
  Conn,
  Flag,
  List,
  State,
  Watch,
  add,
  at,
  engine,
  has,
  live,
  param,
  paramU32,
  takeTime,
} from "./conn";
import { creditOut, slowOutAt } from "./pace";
import { UNREAD_GRACE, enlist, isIdle } from "./room";
import { session } from "./subscription";
import { arm } from "./timers";

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

/** What `silentAt` found: the ms that the client has. */
let silence: f64 = 0;

/** When an open WebSocket without a write outstanding has been silent for too long. */
function silentAt(c: Conn): f64 {
  const idle = session(c).idle as f64;
  if (idle == 0 || c.pingBehind != 0) return Infinity;
  if (has(c, Flag.Waiting | Flag.PeerEnded) || isStuffed(c)) return Infinity;
  const every = pingEvery(c);
  silence = idle - every;
  if (every == 0) return lastLife(c) + idle;
  // A pong's time begins when its ping has left.
  return has(c, Flag.Pinged) ? max(lastLife(c), c.since) + silence : Infinity;
}

/** When a client that has been told the end has been silent for too long. */
function lingersUntil(c: Conn): f64 {
  const time = param(Param.CloseTimeout);
  const heard = min(c.lastIn, c.since + time * (LINGERS - 1));
  return min(max(max(c.since, c.lastAck), heard) + time, slowOutAt(c));
}

/** ms beyond the time that is announced: a request that the client sends at its end is still answered. */
const KEEP_ALIVE_EXTRA: f64 = 1000;

/** When a connection between two requests has been idle for too long: not while its client reads the last answer. */
function idleUntil(c: Conn): f64 {
  return max(c.since, c.lastAck) + param(Param.KeepAliveTimeout) + KEEP_ALIVE_EXTRA;
}

/** What `endsAt` found: when the connection is past half of the time that it has. */
let halfAt: f64 = 0;

function consider(due: f64, limit: f64, soonest: f64): f64 {
  if (limit > SHORT) halfAt = min(halfAt, due - limit / 2);
  return min(due, soonest);
}

/** When a connection ends if it makes no progress; Infinity for never. */
function endsAt(c: Conn): f64 {
  halfAt = Infinity;
  let due: f64 = Infinity;
  if (c.writing != 0) {
    const time = param(Param.WriteTimeout);
    due = consider(c.lastOut + time, time, due);
    // It may have to make room before its own time is up.
    if (engine.isCrowded != 0 && c.list == List.Unread) {
      halfAt = min(halfAt, c.lastOut + UNREAD_GRACE / 2);
    }
    due = consider(slowOutAt(c), param(Param.RateGrace) * 2, due);
    // The others are about clients that have been handed all.
    if (c.state != State.Linger) return due;
  }
  if (c.state == State.Open) {
    due = consider(silentAt(c), silence, due);
  } else if (c.state == State.Linger) {
    due = consider(lingersUntil(c), param(Param.CloseTimeout), due);
  } else if (c.replyHead == 0) {
    if (c.state == State.Closing) {
      due = consider(lingersUntil(c), param(Param.CloseTimeout), due);
    } else if (isIdle(c)) {
      // An answer that the kernel took at once is not waited for.
      const limit = c.lastAck < c.lastIn ? 0 : param(Param.KeepAliveTimeout);
      due = consider(idleUntil(c), limit, due);
    }
  }
  return due;
}

/** True when the readings that a judgement needs are missing, and may still come. */
function isUnread(c: Conn, due: f64): bool {
  return halfAt < due && c.watch != Watch.Known && engine.measures != 0 && engine.now < due + LATE;
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

/** Takes in a reading of a connection's send queue: bytes that are not acknowledged; NONE: it cannot be read. */
export function acknowledged(slot: u32, generation: u32, queued: u32): void {
  takeTime();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || c.watch == Watch.None) return;
  const isFirst = c.watch == Watch.Asked;
  c.watch = queued == NONE || !isFirst ? Watch.Known : Watch.Based;
  const before = c.acked;
  const waited = c.queued;
  c.queued = queued == NONE ? 0 : queued;
  c.acked = c.sent - c.queued;
  if (isFirst || queued == NONE || c.acked == before) return;
  const bytes = (c.acked - before) as i32;
  if (bytes > 0) creditOut(c, bytes);
  if (c.writing != 0) {
    c.lastOut = engine.now;
    if (c.list == List.Unread) enlist(c, List.Unread);
  }
  // Bytes that did not wait prove that the kernel is there, and nothing of the client.
  if (waited != 0 && (c.writing != 0 || c.queued != 0 || c.state != State.Open)) {
    c.lastAck = engine.now;
  }
  look(c);
  arm(c, engine.now);
}
