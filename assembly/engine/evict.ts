// Makes room for a publication: waits for readers that make progress, or evicts the readers with the largest lag.
//
// Invariant: bytes of the ring are overwritten only after each reader that still needs them has been evicted.

import { CloseReason, Control, Outcome, Param, RowKind, Shut } from "../abi";
import { kill } from "../reply/end";
import { lapse } from "../reply/return";
import { Ring, floorFor, plain } from "../ring/ring";
import {
  Conn,
  Flag,
  add,
  engine,
  has,
  param,
  paramU32,
  readersOf,
  webSocketOf,
} from "../state/records";
import { REPLAYS, countBelow, furthest, replayCount } from "../state/treap";

function evictReader(c: Conn): void {
  add(Control.Evicted, 1);
  kill(c, CloseReason.WsClientTooSlow, Shut.Reset);
}

/** Returns true when more than half of a ring's readers lag by more than half a ring. */
function doMostLag(ring: Ring, tail: u64): bool {
  const half = (ring.capacity >> 1) as u64;
  const lagging = tail > half ? countBelow(ring.form, tail - half) : 0;
  return lagging * 2 > readersOf(ring.form).count - replayCount(ring.form);
}

/**
 * Most ms that count between two tries to publish. A producer that tries again later than that does not use up the
 * budget, because meanwhile it waits for no reader.
 */
const TRY_LIMIT: f64 = 100;

/** Adds the time since the last try to the time that the publisher has waited. */
function countWait(): void {
  // mutant wait-count (wait): ;
  if (engine.triedAt != 0) engine.waited += min(engine.now - engine.triedAt, TRY_LIMIT);
  engine.triedAt = 0;
}

/**
 * Returns whether the budget has time left, and if so notes the time of this try. The next `countWait` counts the time
 * since then as used. The budget is the time for which the publisher waits for readers: SlowGrace for all of them,
 * renewed by each half ring, or half index, that is published. It is twice as much while the publisher is too fast for
 * most readers.
 */
function mayWait(ring: Ring, tail: u64): bool {
  const grace = param(Param.SlowGrace);
  // mutant wait-grace (wait): const isLeft = true;
  const isLeft = engine.waited < grace;
  if (!isLeft && !(engine.waited < grace * 2 && doMostLag(ring, tail))) return false;
  engine.triedAt = engine.now;
  return true;
}

/**
 * Renews the budget when a record that ends at `tail` reaches half a ring, or half of the index, beyond the last
 * renewal, once for each record. So a reader that is lapped on a budget used up before was more than half a ring behind
 * at that time.
 */
export function renewBudget(tail: u64): void {
  if (tail < engine.renewedAt + ((plain.capacity >> 1) as u64)) {
    const frames = engine.sequence - engine.renewedFrame;
    if (frames < ((paramU32(Param.Frames) >> 1) as u64)) return;
  }
  if (engine.sequence == engine.renewedFrame) return;
  // mutant wait-renew: ;
  engine.waited = 0;
  engine.triedAt = 0;
  engine.renewedAt = plain.committed;
  engine.renewedFrame = engine.sequence;
}

/**
 * Moves readers that catch up and would be lapped to the present, or evicts them when the transport may read the ring
 * for them, or they have a part of a frame. They come back from the position that they have.
 * @param floor ring offset up to which bytes are overwritten @returns true when some were ended
 */
function passReplays(ring: Ring, floor: u64): bool {
  let evicted = false;
  while (true) {
    const c = furthest(ring.form + REPLAYS);
    if (changetype<usize>(c) == 0 || c.done >= floor) return evicted;
    // mutant replay-outstanding: const isFree = !has(c, Flag.MidFrame);
    const isFree = c.writing != (RowKind.Ring as u8) && !has(c, Flag.MidFrame);
    if (isFree && lapse(webSocketOf(c))) continue;
    evictReader(c);
    evicted = true;
  }
}

/**
 * Makes room for a record that ends at `tail`, at the cost of the readers with the largest lag:
 * (a) A reader without progress for SlowGrace is evicted at once.
 * (b) Readers that make progress are waited for, within one budget of SlowGrace for all of them.
 * (c) When more than half of the readers lag by more than half a ring, the publisher is too fast for most of them and
 *     waits for another SlowGrace. Then the readers with the largest lag are evicted.
 * (d) A reader that lags by more than QueuedFrames frames, but is within the ring, is evicted without waiting.
 * @returns Ok; Evicted: the events of evicted readers, or of readers that ended before, must be handled first; Flush:
 * bytes that were not flushed yet occupy the room; Wait: as (b) and (c)
 */
export function makeRoom(ring: Ring, tail: u64): u32 {
  // Connections that ended for other reasons must also be reset before any byte of the ring is overwritten.
  if (engine.deadReaders != 0) return Outcome.Evicted;
  // A record that does not fit after `committed` may need more than a ring's length, including the skipped bytes. Then
  // no reader may lag at all.
  // mutant ring-index: const floor = min(floorFor(ring, tail, (paramU32(Param.Frames) as u64) + 1), ring.committed);
  const floor = min(floorFor(ring, tail, paramU32(Param.Frames) as u64), ring.committed);
  if (floor > ring.flushed) return Outcome.Flush;
  // mutant replay-lapse: ;
  if (readersOf(ring.form).replays != 0 && passReplays(ring, floor)) return Outcome.Evicted;
  if (changetype<usize>(furthest(ring.form)) == 0) return Outcome.Ok;
  const queued = min(floorFor(ring, tail, paramU32(Param.QueuedFrames) as u64), ring.flushed);
  countWait();
  let evicted = false;
  while (true) {
    const c = furthest(ring.form);
    if (changetype<usize>(c) == 0 || c.done >= queued) break;
    // mutant wait-moving (wait): const isMoving = true;
    const isMoving = engine.now - c.lastOut < param(Param.SlowGrace);
    if (c.done < floor && isMoving && mayWait(ring, tail)) {
      return evicted ? Outcome.Evicted : Outcome.Wait;
    }
    evictReader(c);
    evicted = true;
  }
  return evicted ? Outcome.Evicted : Outcome.Ok;
}
