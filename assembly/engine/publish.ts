// Publishes a message to all WebSockets, or to the subscribers of a topic, from scratch or from a stage in the ring
// itself.
//
// Invariant: a message is committed whole or not at all. While a stage is open nothing else is published.

import { Control, Form, FrameFlag, Gap, Outcome, Param } from "../abi";
import { makeRoom, renewBudget } from "./evict";
import { copy } from "../kernel/bytes";
import {
  address,
  audience,
  deflated,
  enter,
  events,
  extend,
  firstByte,
  hasForms,
  headerBytes,
  placeFor,
  plain,
  put,
  putHeader,
  ringAt,
  setLength,
} from "../ring/ring";
import { GAP_BYTES, PUBLISHED_BYTES, eventBytes, putEvent, putGap, setName } from "../ring/event";
import { forgetUpTo, hasHistory, isLingering } from "../ring/history";
import { nameAt, topic } from "../ring/topic";
import { chain, isExcept, subscribersIn } from "../ring/topics";
import { add, engine, paramU32, position, readersOf, setControl, takeTime } from "../state/records";

/**
 * Makes room for a message in a form other than the plain one, when the form has recipients. Its index entry needs room
 * too, because a client that receives no more frames (its Close is queued) may still lag.
 */
function makePlaceIn(form: u32, bytes: u32): u32 {
  const isRead = isWrittenIn(form);
  if (!isRead && (readersOf(form).treap | readersOf(form).replays) == 0) return Outcome.Ok;
  const ring = ringAt(form);
  const place = isRead ? placeFor(ring, bytes) : ring.committed;
  setPlace(form, place);
  // mutant deflate-room: return Outcome.Ok;
  return makeRoom(ring, place + (isRead ? (bytes as u64) : 0));
}

/** Bytes of the current publication as an event, 0 when no recipient reads events. */
let eventLength: u32 = 0;
/** Whether the event is larger than its ring, so that an event that reports a gap replaces it. */
let isGap: bool = false;

/** Names the event of the current publication after its topic. Returns the bytes of that field. */
function nameEvent(): u32 {
  const number = audience.topic;
  // mutant event-name: if (number == 0 || paramU32(Param.EventNames) == 0) return 0;
  if (number == 0 || paramU32(Param.EventNames) == 0) return setName(0, 0);
  return setName(nameAt(number), topic(number).length);
}

/** Measures a message as an event, if a recipient reads events. */
function measureEvent(payload: usize, length: u32, flags: u32): void {
  eventLength = 0;
  isGap = false;
  if (!isWrittenIn(Form.Event)) return;
  const bytes = eventBytes(payload, length, flags) + ((PUBLISHED_BYTES + nameEvent()) as u64);
  // mutant event-large: isGap = false;
  isGap = bytes > (events.capacity as u64);
  eventLength = isGap ? GAP_BYTES : (bytes as u32);
}

/** Makes room for a message in the other forms. @param bytes of its plain frame */
function makeOtherPlaces(
  bytes: u32,
  deflateLength: u32,
  payload: usize,
  length: u32,
  flags: u32,
): u32 {
  measureEvent(payload, length, flags);
  for (let form: u32 = Form.Plain + 1; form < (Form.COUNT as u32); form++) {
    const outcome = makePlaceIn(form, bytesIn(form, bytes, deflateLength));
    if (outcome != Outcome.Ok) return outcome;
  }
  return Outcome.Ok;
}

/** Makes room for a message in each form. @param bytes of its plain frame */
function makePlaces(bytes: u32, deflateLength: u32, payload: usize, length: u32, flags: u32): u32 {
  const place = placeFor(plain, bytes);
  setPlace(Form.Plain, place);
  renewBudget(place + (bytes as u64));
  const outcome = makeRoom(plain, place + (bytes as u64));
  if (outcome != Outcome.Ok || !hasForms) return outcome;
  return makeOtherPlaces(bytes, deflateLength, payload, length, flags);
}

/** Ring offsets at which a publication finds room, by Form. */
const PLACES = memory.data(Form.COUNT * 8, 8);

function setPlace(form: u32, offset: u64): void {
  store<u64>(PLACES + ((form as usize) << 3), offset);
}

function placeOf(form: u32): u64 {
  return load<u64>(PLACES + ((form as usize) << 3));
}

/** Returns how many of a topic's subscribers, or with 0 of all open WebSockets, read a form. */
function readersIn(form: u32, number: u32): u32 {
  return number == 0 ? readersOf(form).count : subscribersIn(form, number);
}

/** Returns true when the current publication is written in a form besides the plain one. */
function isWrittenIn(form: u32): bool {
  return readersIn(form, audience.topic) != 0 || readersOf(form).isKept != 0;
}

/** Returns how many of a topic's subscribers, or with 0 of all open WebSockets, read the ring of compressed forms. */
export function deflateCount(number: u32): u32 {
  return readersIn(Form.Deflated, number);
}

/** Returns the number of recipients of the current publication. */
export function readers(): u32 {
  const number = audience.topic;
  const count = number == 0 ? engine.openCount : topic(number).count;
  // Generations start at 1.
  if (audience.exceptGeneration == 0) return count;
  return isExcept(number, audience.except, audience.exceptGeneration) ? count - 1 : count;
}

/** Counts the readers of events that get a gap in place of the current publication. */
function countGap(): void {
  add(Control.GapCount + (Gap.Large as i32), readersIn(Form.Event, audience.topic) as f64);
}

/** Links a frame that is in the ring to its topic, whose subscribers receive it with the next flush pass. */
function finishPublication(length: u32): void {
  chain(audience.topic);
  if (isGap) countGap();
  add(Control.FramesPublished, 1);
  add(Control.BytesPublished, length as f64);
  add(Control.FramesDue, readers() as f64);
  // Both are below 2^63, so they are converted as signed numbers, which takes one instruction.
  setControl(Control.Committed, plain.committed as i64 as f64);
  setControl(Control.Sequence, engine.sequence as i64 as f64);
}

/**
 * Returns the size of a message in a form other than the plain one.
 * @param bytes of its plain frame, which readers of compressed messages receive when it was not compressed
 */
function bytesIn(form: u32, bytes: u32, deflateLength: u32): u32 {
  if (form == Form.Event) return eventLength;
  return deflateLength == 0 ? bytes : headerBytes(deflateLength) + deflateLength;
}

/** Writes a message into the ring of compressed forms, when that has readers. @param bytes of its plain frame */
function putDeflated(bytes: u32, deflate: usize, deflateLength: u32, flags: u32): void {
  setLength(Form.Deflated, 0);
  if (!isWrittenIn(Form.Deflated)) return;
  const length = bytesIn(Form.Deflated, bytes, deflateLength);
  const place = placeOf(Form.Deflated);
  if (deflateLength == 0)
    copy(address(deflated, place), address(plain, placeOf(Form.Plain)), bytes);
  // mutant deflate-bit: else put(deflated, place, deflate, deflateLength, flags);
  else put(deflated, place, deflate, deflateLength, flags | FrameFlag.Compressed);
  extend(deflated, place, length);
  setLength(Form.Deflated, length);
}

/**
 * Counts a publication to a topic without subscribers that history does not keep. It has a position too, so that
 * positions do not depend on whether anyone subscribes.
 */
export function publishToNone(): void {
  // mutant position-gap: if (Control.PublishedToNone != 0) return;
  add(Control.PublishedToNone, 1);
  if (hasHistory) forgetUpTo(position());
}

/** Writes a message into the ring of events, when that has readers. */
function putAsEvent(payload: usize, length: u32, flags: u32): void {
  setLength(Form.Event, eventLength);
  if (eventLength == 0) return;
  const place = placeOf(Form.Event);
  const at = address(events, place);
  // This publication is counted when it is finished.
  const sequence = position() + 1;
  if (isGap) putGap(at, sequence);
  else putEvent(at, payload, length, flags, sequence);
  extend(events, place, eventLength);
}

/** Writes a message that is in the plain ring into the others. @param bytes of its plain frame */
function putForms(bytes: u32, deflate: usize, deflateLength: u32, flags: u32, length: u32): void {
  putDeflated(bytes, deflate, deflateLength, flags);
  putAsEvent(address(plain, placeOf(Form.Plain)) + (bytes - length), length, flags);
}

/** Sets the recipients of the current publication. Returns false, and counts it, when there are none. */
function reach(number: u32, except: u32, exceptGeneration: u32): bool {
  audience.topic = number;
  audience.except = except;
  audience.exceptGeneration = exceptGeneration;
  if (number == 0) return true;
  if (number <= engine.topicsUsed && (topic(number).count != 0 || isLingering(number))) return true;
  publishToNone();
  return false;
}

/**
 * Publishes a whole message.
 * @param deflate address of its compressed form of `deflateLength` bytes; a length of 0 means that there is none
 * @param number topic as returned by `topicFor`, 0 for every open WebSocket
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
  const outcome = makePlaces(bytes, deflateLength, payload, length, flags);
  if (outcome != Outcome.Ok) return outcome;
  const place = placeOf(Form.Plain);
  put(plain, place, payload, length, flags);
  extend(plain, place, bytes);
  if (hasForms) putForms(bytes, deflate, deflateLength, flags, length);
  enter(bytes, flags);
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
  const staged = address(plain, plain.stageAt) + STAGE_HEADER;
  const outcome: u32 = hasForms
    ? makeOtherPlaces(bytes, deflateLength, staged, length, flags)
    : Outcome.Ok;
  if (outcome == Outcome.Wait) stageDiscard();
  if (outcome != Outcome.Ok) return outcome;
  const place = plain.stageAt;
  setPlace(Form.Plain, place);
  const start = address(plain, place);
  if (header != STAGE_HEADER) memory.copy(start + header, start + STAGE_HEADER, length);
  putHeader(start, firstByte(flags), length);
  stageDiscard();
  extend(plain, place, bytes);
  if (hasForms) putForms(bytes, deflate, deflateLength, flags, length);
  enter(bytes, flags);
  finishPublication(length);
  return Outcome.Ok;
}
