// Publishes a message to all WebSockets, or to the subscribers of a topic, from scratch or from a stage in the ring
// itself.
//
// Invariant: a message is committed whole or not at all. While a stage is open nothing else is published.

import { Control, FrameFlag, Outcome } from "../abi";
import { makeRoom, renewBudget } from "./evict";
import { copy } from "../kernel/bytes";
import {
  address,
  audience,
  deflated,
  enter,
  extend,
  firstByte,
  headerBytes,
  placeFor,
  plain,
  put,
  putHeader,
} from "../ring/ring";
import { chain, isExcept, topic } from "../ring/topics";
import { add, engine, setControl, takeTime } from "../state/records";

/**
 * Makes room for a message's other form of `bytes`, at `deflateAt`, when it has recipients. Its index entry needs room
 * too, because a client that receives no more frames (its Close is queued) may still lag.
 */
function makeOtherPlace(bytes: u32): u32 {
  const isRead = deflateReaders() != 0;
  if (!isRead && engine.deflateTreap == 0) return Outcome.Ok;
  places.deflated = isRead ? placeFor(deflated, bytes) : deflated.committed;
  // mutant deflate-room: return Outcome.Ok;
  return makeRoom(deflated, places.deflated + (isRead ? (bytes as u64) : 0));
}

/** Makes room for a record of `bytes` in the plain ring, at `plainAt`, and for its other form. */
function makePlaces(bytes: u32, deflateBytes: u32): u32 {
  places.plain = placeFor(plain, bytes);
  renewBudget(places.plain + (bytes as u64));
  let outcome = makeRoom(plain, places.plain + (bytes as u64));
  if (outcome == Outcome.Ok) outcome = makeOtherPlace(deflateBytes);
  return outcome;
}

/** Ring offsets at which a publication finds room. */
@unmanaged
class Places {
  plain: u64;
  deflated: u64;
}

const places = changetype<Places>(memory.data(16, 8));

/** Returns how many of a topic's subscribers, or with 0 of all open WebSockets, read the ring of compressed forms. */
export function deflateCount(number: u32): u32 {
  return number == 0 ? engine.deflateCount : topic(number).deflateCount;
}

/** Returns how many of the recipients read the ring of compressed forms. */
function deflateReaders(): u32 {
  return deflateCount(audience.topic);
}

/** Returns the number of recipients of the current publication. */
export function readers(): u32 {
  const number = audience.topic;
  const count = number == 0 ? engine.openCount : topic(number).count;
  // Generations start at 1.
  if (audience.exceptGeneration == 0) return count;
  return isExcept(number, audience.except, audience.exceptGeneration) ? count - 1 : count;
}

/** Links a frame that is in the ring to its topic, whose subscribers receive it with the next flush pass. */
function finishPublication(length: u32): void {
  chain(audience.topic);
  add(Control.FramesPublished, 1);
  add(Control.BytesPublished, length as f64);
  add(Control.FramesDue, readers() as f64);
  // Both are below 2^63, so they are converted as signed numbers, which takes one instruction.
  setControl(Control.Committed, plain.committed as i64 as f64);
  setControl(Control.Sequence, engine.sequence as i64 as f64);
}

/** Returns the size of the form that readers of the other ring receive, which is compressed or plain. */
function otherBytes(bytes: u32, deflateLength: u32): u32 {
  return deflateLength == 0 ? bytes : headerBytes(deflateLength) + deflateLength;
}

/**
 * Writes a message's other form into its ring, when that has readers. The plain frame has `bytes` at `plainAt`. Returns
 * the length of the other form, 0 when nothing was written.
 */
function putOther(bytes: u32, deflate: usize, deflateLength: u32, flags: u32): u32 {
  if (deflateReaders() == 0) return 0;
  const length = otherBytes(bytes, deflateLength);
  if (deflateLength == 0)
    copy(address(deflated, places.deflated), address(plain, places.plain), bytes);
  // mutant deflate-bit: else put(deflated, places.deflated, deflate, deflateLength, flags);
  else put(deflated, places.deflated, deflate, deflateLength, flags | FrameFlag.Compressed);
  extend(deflated, places.deflated, length);
  return length;
}

/** Sets the recipients of the current publication. Returns false when there are none. */
function reach(number: u32, except: u32, exceptGeneration: u32): bool {
  audience.topic = number;
  audience.except = except;
  audience.exceptGeneration = exceptGeneration;
  return number == 0 || (number <= engine.topicsUsed && topic(number).count != 0);
}

/**
 * Publishes a whole message.
 * @param deflate address of its compressed form of `deflateLength` bytes; a length of 0 means that there is none
 * @param number topic as returned by `findTopic`, 0 for every open WebSocket
 * @param except slot of a client that does not receive it, and its generation; 0 for none
 * @returns Ok; Evicted or Flush (act on it, then call again); Wait or TooLarge (nothing was staged); Staging (an open
 * stage is in the frame's place, publish or discard it first)
 */
export function publish(
  flags: u32,
  payload: usize,
  length: u32,
  deflate: usize,
  deflateLength: u32,
  number: u32,
  except: u32,
  exceptGeneration: u32,
): u32 {
  takeTime();
  if (plain.stageOpen != 0) return Outcome.Staging;
  if (!reach(number, except, exceptGeneration)) return Outcome.Ok;
  if (length > plain.capacity - HEADER_LIMIT) return Outcome.TooLarge;
  const bytes = headerBytes(length) + length;
  const outcome = makePlaces(bytes, otherBytes(bytes, deflateLength));
  if (outcome != Outcome.Ok) return outcome;
  put(plain, places.plain, payload, length, flags);
  extend(plain, places.plain, bytes);
  enter(bytes, putOther(bytes, deflate, deflateLength, flags), flags);
  finishPublication(length);
  return Outcome.Ok;
}

/** Bytes reserved before a staged payload, and the longest header in bytes. */
const STAGE_HEADER: u32 = 4;
const HEADER_LIMIT: u32 = 10;

/**
 * Makes room for `n` more bytes after the open stage. Opens a stage when there is none. The stage may move.
 * @returns Ok, with the address to write at in Control.Result; Evicted or Flush (act on it, then call again); Wait or
 * TooLarge, after which calls do nothing until the stage is published (which reports the failure) or discarded
 */
export function stageReserve(n: u32): u32 {
  takeTime();
  if (plain.stageError != Outcome.Ok) return plain.stageError;
  if (plain.stageOpen == 0) {
    plain.stageOpen = 1;
    plain.stageLength = 0;
    plain.stageAt = plain.committed;
  }
  const total = (plain.stageLength as u64) + (n as u64) + (HEADER_LIMIT as u64);
  if (total > (plain.capacity as u64)) {
    plain.stageError = Outcome.TooLarge;
    return Outcome.TooLarge;
  }
  const offset = placeFor(plain, total as u32);
  renewBudget(offset + total);
  const outcome = makeRoom(plain, offset + total);
  if (outcome != Outcome.Ok) {
    if (outcome == Outcome.Wait) plain.stageError = outcome;
    return outcome;
  }
  if (offset != plain.stageAt) {
    memory.copy(
      address(plain, offset) + STAGE_HEADER,
      address(plain, plain.stageAt) + STAGE_HEADER,
      plain.stageLength,
    );
    plain.stageAt = offset;
  }
  const payload = address(plain, offset) + STAGE_HEADER;
  setControl(Control.StageAddress, payload as f64);
  setControl(Control.Result, (payload + plain.stageLength) as f64);
  return Outcome.Ok;
}

/** Adds `n` bytes, which were written at the address from `stageReserve`, to the stage. */
export function stageAppend(n: u32): void {
  if (plain.stageError == Outcome.Ok) plain.stageLength += n;
}

/** Drops the open stage. It never evicts a client. */
export function stageDiscard(): void {
  plain.stageOpen = 0;
  plain.stageLength = 0;
  plain.stageError = Outcome.Ok;
}

/**
 * Publishes the open stage. The payload is moved next to its header, so that frames are adjacent.
 * @param deflate address of its compressed form of `deflateLength` bytes; a length of 0 means that there is none
 * @param number, except, exceptGeneration as for `publish`
 * @returns as for `publish`; after Evicted and Flush the stage is still open
 */
export function stagePublish(
  flags: u32,
  deflate: usize,
  deflateLength: u32,
  number: u32,
  except: u32,
  exceptGeneration: u32,
): u32 {
  takeTime();
  const failed = plain.stageError;
  if (failed != Outcome.Ok || plain.stageOpen == 0) {
    // Nothing was staged, so this is an empty message.
    stageDiscard();
    if (failed != Outcome.Ok) return failed;
    return publish(flags, engine.scratch, 0, 0, 0, number, except, exceptGeneration);
  }
  if (!reach(number, except, exceptGeneration)) {
    stageDiscard();
    return Outcome.Ok;
  }
  const length = plain.stageLength;
  const header = headerBytes(length);
  const bytes = header + length;
  const outcome = makeOtherPlace(otherBytes(bytes, deflateLength));
  if (outcome == Outcome.Wait) stageDiscard();
  if (outcome != Outcome.Ok) return outcome;
  places.plain = plain.stageAt;
  const start = address(plain, places.plain);
  if (header != STAGE_HEADER) memory.copy(start + header, start + STAGE_HEADER, length);
  putHeader(start, firstByte(flags), length);
  stageDiscard();
  extend(plain, places.plain, bytes);
  enter(bytes, putOther(bytes, deflate, deflateLength, flags), flags);
  finishPublication(length);
  return Outcome.Ok;
}
