// Deadlines of one connection: the time by which it must finish its state's task.

import { Param } from "../abi";
import { isStuffed, pingAt, progressAt } from "./progress";
import { slowInAt } from "../state/rate";
import {
  Conn,
  Flag,
  State,
  engine,
  has,
  param,
  hasHttp,
  HttpConn,
  HttpFlag,
  httpOf,
} from "../state/records";
import { isIdle } from "../state/room";
import { arm } from "../state/timers";

const FOREVER: f64 = Infinity;

/**
 * Returns the time at which a connection that need not be HTTP has been silent for too long, Infinity for never. Before
 * its PROXY header and TLS its silence does not count.
 */
export function silentAt(c: HttpConn): f64 {
  if (!hasHttp(c, HttpFlag.Undecided) || param(Param.RawTimeout) == 0) return FOREVER;
  if (hasHttp(c, HttpFlag.Proxied | HttpFlag.Unsecured)) return FOREVER;
  return c.lastIn + param(Param.RawTimeout);
}

/** Returns the time by which a byte must have moved over a released connection, in either direction. */
function movedBy(c: HttpConn): f64 {
  // The limit of a write applies while one is outstanding.
  if (c.writing != 0) return FOREVER;
  const isLeaving = hasHttp(c, HttpFlag.Leaving);
  const time = isLeaving ? param(Param.CloseTimeout) : param(Param.IdleTimeout);
  return time == 0 ? FOREVER : max(max(c.lastIn, c.lastOut), c.parkedSince) + time;
}

/** Returns the time by which a released connection must have opened its upstream, written to it, or moved a byte. */
function pipeAt(c: HttpConn): f64 {
  if (hasHttp(c, HttpFlag.Opening)) return c.since;
  if (hasHttp(c, HttpFlag.Pouring)) return c.parkedSince + param(Param.WriteTimeout);
  return movedBy(c);
}

/** Returns the time at which the first connection that waits for room for a piece makes some, Infinity for others. */
export function hungryAt(c: Conn): f64 {
  return engine.starvedHead == c.slot + 1 ? engine.seekAt : FOREVER;
}

/** Returns the time by which a connection must finish its state's task or is pinged, Infinity for never. */
export function dutyAt(c: Conn): f64 {
  let due = FOREVER;
  switch (c.state) {
    case State.Head:
      if (!isIdle(c) && !has(c, Flag.Clogged))
        due = min(c.since + param(Param.HeadTimeout), silentAt(httpOf(c)));
      break;
    case State.Released:
      due = pipeAt(httpOf(c));
      break;
    case State.Body:
      due = min(c.since + param(Param.RequestTimeout), slowInAt(c));
      break;
    case State.Request:
      // Only while the embedder waits for a piece of the body. Each byte is progress.
      if (hasHttp(httpOf(c), HttpFlag.Pulling))
        due = min(max(c.since, c.lastIn) + param(Param.RequestTimeout), slowInAt(c));
      break;
    case State.Open:
      // After the peer has ended its side, the handlers have as much time as a closing handshake.
      due = has(c, Flag.PeerEnded)
        ? c.since + param(Param.CloseTimeout)
        : min(pingAt(c), isStuffed(c) ? FOREVER : slowInAt(c));
      break;
    default:
      break;
  }
  return due;
}

/** Returns the time at which a connection must be examined if nothing else happens, Infinity for never. */
export function deadline(c: Conn): f64 {
  if (has(c, Flag.Waiting)) {
    // While a connection waits for a buffer the deadlines of its input are suspended. A held connection waits because
    // of its own handler, so no other connection is closed to free a buffer for it.
    const due = has(c, Flag.Held) ? FOREVER : c.waitSince + param(Param.BufferTimeout);
    return c.writing != 0 ? min(due, progressAt(c)) : due;
  }
  return min(min(dutyAt(c), hungryAt(c)), progressAt(c));
}

/** Arms the timer like `rearm`, when only a deadline of its progress can have become earlier. */
export function rearmProgress(c: Conn): void {
  const due = progressAt(c);
  if (due != FOREVER) arm(c, due);
}

/** Arms the timer for the deadline. */
export function rearm(c: Conn): void {
  const due = deadline(c);
  if (due != FOREVER) arm(c, due);
}
