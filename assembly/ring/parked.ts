// Event streams that wait to begin, or catch up.
//
// A stream is Parked from its opening until `settled`, and nothing of the ring is sent to it. Then it is Replaying
// until it is within half a ring of the tail. In both states the publisher does not wait for it: it is in a treap of
// its own.
//
// Invariant: a parked stream has been handed no byte of the ring, so its cursor may be moved.

import { Control, Param } from "../abi";
import { RETURN_BYTES } from "../plan";
import {
  Conn,
  Flag,
  WebSocketConn,
  add,
  engine,
  has,
  paramU32,
  webSocketOf,
} from "../state/records";
import { markDirty } from "../state/lists";
import { remove } from "../state/treap";
import { NEVER, dueOffset, dueSequence, place } from "./cursor";
import { ringOf } from "./ring";
import { Mark, releaseSubscription, subscription } from "./subscription";

/** The opening of an event stream. Valid while the stream is Parked. */
@unmanaged
export class Return {
  /** The client's position, NEVER when it does not resume. */
  since: u64;
  /** Position at which `open` began. */
  live: u64;
  /** Position up to which it was lapped, 0 when it was not. */
  lapsed: u64;
  /** The Gap. */
  gap: u32;
  /** 1 when `hello` is queued, 2 when the stream has left the parking before `settled`. */
  greeted: u32;
}

if (offsetof<Return>() != (RETURN_BYTES as usize)) ERROR("RETURN_BYTES");

export function returnOf(c: Conn): Return {
  const index = (c.slot - engine.httpSlots) as usize;
  return changetype<Return>(engine.returns + index * (RETURN_BYTES as usize));
}

/** Moves a reader to the present: nothing published before is due to it. */
export function rejoin(c: WebSocketConn): void {
  remove(c);
  c.flags &= ~Flag.CastDue;
  c.sequence = engine.sequence;
  c.dueSubscription = 0;
  for (let link = c.firstSubscription; link != 0; ) {
    const s = subscription(link);
    link = s.ownNext;
    s.flags &= ~Mark.Due;
    if (s.flags & Mark.Active) s.sequence = engine.sequence;
    else releaseSubscription(s);
  }
}

/** Ends the parking of a stream. It must not be in a treap. */
export function unpark(c: Conn): void {
  if (!has(c, Flag.Parked)) return;
  c.flags &= ~Flag.Parked;
  add(Control.ParkedCount, -1);
}

/** Drops all that is due to a parked stream, because it ends. Its client keeps its position, and returns with it. */
export function dropParked(c: Conn): void {
  if (!has(c, Flag.Parked)) return;
  rejoin(webSocketOf(c));
  unpark(c);
}

/** Notes the end of a stream, which is in no treap. */
export function leaveParked(c: Conn): void {
  unpark(c);
  c.flags &= ~Flag.Replaying;
}

/** Begins the replay of a parked stream. */
export function leave(c: Conn): void {
  remove(c);
  unpark(c);
  // mutant return-replaying: ;
  if (!isNear(c)) c.flags |= Flag.Replaying;
  place(c);
  markDirty(c);
}

/** Returns the ring offset that a message for one stream follows: 0 while all that is sent comes before the ring. */
export function offsetFor(c: Conn): u64 {
  // mutant return-snapshot: if (false) return 0;
  if (has(c, Flag.Parked) && returnOf(c).since == NEVER) return 0;
  return ringOf(c).committed;
}

/** Returns true when what is due to a reader is within half a ring of the tail, and within half of its frames. */
export function isNear(c: Conn): bool {
  const due = dueOffset(c);
  if (due == NEVER) return true;
  const ring = ringOf(c);
  const frames = paramU32(Param.QueuedFrames) as u64;
  if (engine.sequence - dueSequence(c) > frames >> 1) return false;
  return ring.committed - due <= ((ring.capacity >> 1) as u64);
}

/** Ends the replay of a reader that has caught up: it has taken what it was handed, and the rest is near. */
export function catchUp(c: Conn): void {
  // mutant return-handed: if (!isNear(c)) return;
  if (c.writing != 0 || !isNear(c)) return;
  remove(c);
  c.flags &= ~Flag.Replaying;
}
