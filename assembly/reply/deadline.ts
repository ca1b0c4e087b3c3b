// Deadlines of one connection: when it must have done what its state asks for.

import { Param } from "../abi";
import { isStuffed, pingAt, progressAt } from "./progress";
import { slowInAt } from "../state/rate";
import { Conn, Flag, State, has, param } from "../state/records";
import { isIdle } from "../state/room";
import { arm } from "../state/timers";

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
export function rearmProgress(c: Conn): void {
  const due = progressAt(c);
  if (due != FOREVER) arm(c, due);
}

/** Sees to it that the deadline is looked at. */
export function rearm(c: Conn): void {
  const due = deadline(c);
  if (due != FOREVER) arm(c, due);
}
