// History: the positions of index entries, and the way back from a topic's last entry to the ones a client has missed.
//
// Each entry has its position and links to earlier ones of its topic: to the previous one, and by a jump over more of
// them, so that a position is found in a logarithmic number of steps. Jumps are those of skew-binary numbers: where the
// two entries before reach equally far, the next one jumps over both.
//
//   entry      1 <- 2 <- 3 <- 4 <- 5 <- 6 <- 7      previous
//              1 <- 2    .    .    .    .    .      jump of 2
//              1 <- . <- 3 <- 4    .    .    .      jumps of 3 (to 1) and 4 (to 3)
//              1 <- . <- . <- . <- . <- . <- 7      jump of 7 (to 1)
//
// Invariant: an entry's links lead to entries of its own topic that were in the index when it was written. A topic
// without subscribers is in the list of quiet topics, least recently used first. When the table is full, the first one
// of them is forgotten, and `engine.forgotten` keeps the highest last position of forgotten topics. A new topic may
// have been forgotten before, so it begins with that position as its last one.

import { Param } from "../abi";
import { engine, paramU32, position } from "../state/records";
import { NEVER } from "./cursor";
import { Ring, frame, lengthIn, offsetIn } from "./ring";
import { TOPIC_BYTES, TRACE_BYTES, PAST_BYTES } from "../plan";
import { topic } from "./topic";

/** The part of an entry of the frame index that history adds. */
@unmanaged
export class Trace {
  position: u64;
  /** Last position of the topic before this one. It remains when the previous entry is overwritten. */
  earlier: u64;
  /** Sequence distance back to the previous entry of the topic and to that of the jump, 0 when there is none. */
  previous: u32;
  jump: u32;
  /** Number of previous links that the jump replaces. */
  span: u32;
  spare: u32;
}

/** The part of a topic that history adds. */
@unmanaged
export class Past {
  /** Position of the last publication. */
  last: u64;
  /** Neighbours in the list of quiet topics, as numbers, 0 for none. */
  next: u32;
  back: u32;
  /** 1 in that list. */
  isQuiet: u32;
  spare: u32;
}

if (offsetof<Trace>() != (TRACE_BYTES as usize)) ERROR("TRACE_BYTES");
if (offsetof<Past>() != (PAST_BYTES as usize)) ERROR("PAST_BYTES");

export let hasHistory: bool = false;
/** Offset of the Trace in an entry of the frame index. */
let traceAt: usize = 0;

export function setHistory(isOn: bool, at: usize): void {
  hasHistory = isOn;
  traceAt = at;
}

export function traceOf(sequence: u64): Trace {
  return changetype<Trace>(changetype<usize>(frame(sequence)) + traceAt);
}

export function pastOf(number: u32): Past {
  return changetype<Past>(changetype<usize>(topic(number)) + (TOPIC_BYTES as usize));
}

/** Returns true when an entry is in the index, given the sequence of the newest one. */
function isIndexed(sequence: u64, newest: u64): bool {
  return newest - sequence < (paramU32(Param.Frames) as u64);
}

/** Fills in the Trace of the newest entry, before it becomes its topic's last one. */
export function trace(number: u32): void {
  const sequence = engine.sequence - 1;
  const t = topic(number);
  const past = pastOf(number);
  const own = traceOf(sequence);
  // This publication is counted when it is finished.
  own.position = position() + 1;
  own.earlier = past.last;
  own.previous = 0;
  own.jump = 0;
  own.span = 0;
  // mutant history-earlier: if (t.published != 0) past.last = own.position;
  past.last = own.position;
  if (t.published == 0 || !isIndexed(t.last, sequence)) return;
  own.previous = (sequence - t.last) as u32;
  own.jump = own.previous;
  own.span = 1;
  const before = traceOf(t.last);
  if (before.jump == 0) return;
  const middle = t.last - (before.jump as u64);
  if (!isIndexed(middle, sequence)) return;
  const far = traceOf(middle);
  if (far.span != before.span || far.jump == 0) return;
  const end = middle - (far.jump as u64);
  if (!isIndexed(end, sequence)) return;
  own.jump = (sequence - end) as u32;
  own.span = 1 + before.span + far.span;
}

// ---- the way back ----------------------------------------------------------------------------------------

/** Returns seven eighths: the oldest eighth counts as gone, so that a reader has time to begin. */
function most(whole: u64): u64 {
  return whole - (whole >> 3);
}

/** Returns true when a reader of a ring can begin with an entry of the index. */
function isKept(sequence: u64, ring: Ring): bool {
  const frames = most(min(paramU32(Param.Frames), paramU32(Param.QueuedFrames)) as u64);
  if (engine.sequence - sequence > frames) return false;
  const f = frame(sequence);
  // mutant history-form: if (ring.capacity == 0) return false;
  if (lengthIn(ring, f) == 0) return false;
  const tail = ring.stageOpen != 0 ? ring.stageAt + (ring.stageLength as u64) : ring.committed;
  return offsetIn(ring, f) + most(ring.capacity as u64) >= tail;
}

/** Returns true when the way back leads to an entry that was missed and is kept. */
function reaches(sequence: u64, since: u64, ring: Ring): bool {
  return isKept(sequence, ring) && traceOf(sequence).position > since;
}

/** Most steps of a walk. A number of links below 2^32 takes fewer. */
const STEP_LIMIT: u32 = 4096;

/** The first entry of the topic that was missed and is kept, NEVER when there is none, as `seek` found it. */
export let missed: u64 = NEVER;

/**
 * Finds what a reader of a ring has missed of a topic, or with 0 of the broadcasts, after a position.
 * @returns false when an entry that it has missed is gone
 */
export function seek(number: u32, since: u64, ring: Ring): bool {
  missed = NEVER;
  const past = pastOf(number);
  if (past.last <= since) return true;
  const t = topic(number);
  // A published topic's last entry has its last position, unless the index has lost it.
  if (t.published == 0 || !isIndexed(t.last, engine.sequence - 1)) return false;
  if (!reaches(t.last, since, ring)) return false;
  let s = t.last;
  for (let step: u32 = 0; step < STEP_LIMIT; step++) {
    const at = traceOf(s);
    if (at.jump != 0 && reaches(s - (at.jump as u64), since, ring)) s -= at.jump as u64;
    else if (at.previous != 0 && reaches(s - (at.previous as u64), since, ring))
      s -= at.previous as u64;
    else break;
  }
  missed = s;
  // mutant history-gap: return true;
  return traceOf(s).earlier <= since;
}

// ---- quiet topics ----------------------------------------------------------------------------------------

function unlinkQuiet(number: u32): void {
  const past = pastOf(number);
  if (past.back != 0) pastOf(past.back).next = past.next;
  else engine.quietHead = past.next;
  if (past.next != 0) pastOf(past.next).back = past.back;
  else engine.quietTail = past.back;
  past.isQuiet = 0;
}

/** Moves a topic without subscribers to the end of the list of quiet topics. */
export function linger(number: u32): void {
  const past = pastOf(number);
  if (past.isQuiet != 0) unlinkQuiet(number);
  past.isQuiet = 1;
  past.next = 0;
  past.back = engine.quietTail;
  if (engine.quietTail != 0) pastOf(engine.quietTail).next = number;
  else engine.quietHead = number;
  engine.quietTail = number;
}

/** Removes a topic that gets a subscriber from the list of quiet topics. */
export function rouse(number: u32): void {
  if (pastOf(number).isQuiet != 0) unlinkQuiet(number);
}

/** Returns true for a topic without subscribers that history keeps. */
export function isLingering(number: u32): bool {
  return hasHistory && pastOf(number).isQuiet != 0;
}

/** Notes that publications up to a position may be missing. */
export function forgetUpTo(last: u64): void {
  // mutant history-forgotten: if (last == 0) engine.forgotten = last;
  if (last > engine.forgotten) engine.forgotten = last;
}
