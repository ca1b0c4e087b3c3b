// Deadlines: examines the connections whose time has passed, and pings, refuses or ends them.
//
// Invariant: each connection with a deadline is in the timer heap, at or before that deadline.

import { CloseReason, Control, Param, Shut } from "../abi";
import { breakUpload } from "../reply/body";
import { deadline, dutyAt, hungryAt, silentAt } from "../reply/deadline";
import { kill } from "../reply/end";
import { emitForeign, expirePipe } from "../reply/release";
import { isStuck, look, pingAt } from "../reply/progress";
import { refuse } from "../reply/response";
import { fail, pingSilent } from "../reply/send";
import { eventsFull, noticesFull, takeEvents } from "../state/events";
import { noBuffer } from "../state/quota";
import { isSlowIn, slowOutAt } from "../state/rate";
import {
  Conn,
  Flag,
  State,
  Watch,
  add,
  engine,
  getControl,
  has,
  isWebSocket,
  param,
  takeTime,
  hasHttp,
  HttpFlag,
  httpOf,
} from "../state/records";
import { SEEK_INTERVAL, findHolder } from "../state/room";
import { at } from "../state/slots";
import { disarm, first, postpone } from "../state/timers";

/**
 * Returns the connection with the largest pooled buffer, which is closed when another has waited too long for one.
 * @param address number of the tally to search in, 0 for all
 */
function largestHolder(address: u32): Conn {
  let found = changetype<Conn>(0);
  for (let i: u32 = 0; i < engine.allSlots; i++) {
    const c = at(i);
    if (c.state == State.Free || c.state == State.Dead || c.buffer == 0) continue;
    if (address != 0 && c.address != address) continue;
    if (changetype<usize>(found) == 0 || c.order > found.order) found = c;
  }
  return found;
}

/** Ends a connection that makes no progress. */
function endStuck(c: Conn): void {
  if (c.writing != 0) {
    const isSlow = engine.now >= slowOutAt(c);
    const isStill = engine.now >= c.lastOut + param(Param.WriteTimeout);
    kill(c, isSlow && !isStill ? CloseReason.TooSlow : CloseReason.WriteTimeout, Shut.Reset);
  } else if (c.state == State.Open) {
    kill(c, CloseReason.IdleTimeout, Shut.Reset);
  } else if (c.state == State.Head) {
    kill(c, CloseReason.KeepAliveTimeout, Shut.Destroy);
  } else if (c.state == State.Closing) {
    // While it was not read its Close may have arrived, so the client is not at fault.
    // mutant close-unread (held): const isUnread = false;
    const isUnread = has(c, Flag.Held | Flag.Waiting);
    kill(c, isUnread ? (c.reason as i32) : CloseReason.CloseTimeout, Shut.Destroy);
  } else if (c.watch >= Watch.Known && c.queued != 0) {
    // The client has not taken the bytes that the kernel still holds, so the end of its response is lost.
    kill(c, CloseReason.CloseTimeout, Shut.Reset);
  } else {
    kill(c, c.reason, Shut.Destroy);
  }
}

/** Ends clients that do not read, one for each piece that waits for room. */
function makePieceRoom(): void {
  engine.seekAt = engine.now + SEEK_INTERVAL;
  if (engine.crampedAt == 0) return;
  for (let left = getControl(Control.StarvedCount); left > 0; left--) {
    const holder = findHolder();
    if (changetype<usize>(holder) == 0 || noticesFull() || eventsFull()) return;
    add(Control.Evicted, 1);
    kill(holder, CloseReason.EvictedUnread, Shut.Reset);
  }
}

function expire(c: Conn): void {
  const now = engine.now;
  if (look(c)) return;
  if (isStuck(c)) {
    endStuck(c);
    return;
  }
  if (has(c, Flag.Waiting)) {
    if (has(c, Flag.Held) || now < c.waitSince + param(Param.BufferTimeout)) return;
    // A connection that waits because of its address's quota does not cause the end of one from another address.
    const reason = noBuffer(c);
    const holder = largestHolder(reason == CloseReason.AddressBuffers ? c.address : 0);
    c.waitSince = now;
    if (changetype<usize>(holder) == 0) return;
    if (isWebSocket(holder)) fail(holder, reason);
    else if (holder.state == State.Request) kill(holder, reason, Shut.Reset);
    else refuse(httpOf(holder), reason);
    return;
  }
  if (now >= hungryAt(c)) {
    makePieceRoom();
    return;
  }
  if (now < dutyAt(c)) return;
  switch (c.state) {
    case State.Head:
      if (now >= silentAt(httpOf(c))) emitForeign(httpOf(c));
      else refuse(httpOf(c), CloseReason.HeadTimeout);
      break;
    case State.Released:
      expirePipe(httpOf(c));
      break;
    case State.Body:
      refuse(httpOf(c), isSlowIn(c) ? CloseReason.ReceiveTooSlow : CloseReason.RequestTimeout);
      break;
    case State.Request:
      if (hasHttp(httpOf(c), HttpFlag.Pulling))
        breakUpload(
          httpOf(c),
          isSlowIn(c) ? CloseReason.ReceiveTooSlow : CloseReason.RequestTimeout,
        );
      break;
    case State.Open:
      if (has(c, Flag.PeerEnded)) {
        kill(c, CloseReason.PeerEnded, Shut.Destroy);
      } else if (isSlowIn(c)) {
        fail(c, CloseReason.ReceiveTooSlow);
      } else if (now >= pingAt(c)) {
        pingSilent(c);
      }
      break;
    default:
      break;
  }
}

/**
 * Handles the deadlines that had passed at a time.
 * @param until time by which the embedder has read everything that clients had sent, Infinity for now. A request that
 * has arrived in time is thus handled, however late the embedder is
 * @returns ms to the next deadline, −1 when there is none, or 0: drain the events, flush, and call again
 */
export function tick(until: f64): f64 {
  takeTime();
  takeEvents();
  const limit = min(until, engine.now);
  while (true) {
    const c = first();
    if (engine.noticesPending != 0) return 0;
    if (changetype<usize>(c) == 0) return -1;
    if (c.due > limit) return c.due > engine.now ? c.due - engine.now : 1;
    if (c.watch != Watch.None) look(c);
    const due = deadline(c);
    if (due <= limit) {
      // Each expired connection may emit one BodyEnd, End or Closed.
      if (eventsFull() || noticesFull()) return 0;
      expire(c);
      if (c.timerAt == 0) continue;
    }
    const next = deadline(c);
    if (next == Infinity) disarm(c);
    // The next time is at least a millisecond away, whatever `expire` did, so that a tick ends.
    else postpone(c, max(next, engine.now + 1));
  }
}
