// The ring holds the frames that are published to many clients. Each frame is in it once, header before payload, and is
// sent from there without a copy. Adjacent frames are one run of bytes.
//
// Offsets are monotonic u64, and the address is base + (offset & mask). For each reader, always:
//
//   done <= handed <= committed <= tail <= min(done over readers) + capacity
//
// A record never straddles the end of the ring, so the rest of a lap may be skipped. At most one skip can be within a
// ring's length of the tail, so one pair of offsets locates it:
//
//   |....  frames of this lap  ....|      free      |..  frames of the lap before  ..| skipped |
//   base                       committed                                         skipFrom    skipTo
//
// The open stage follows `committed` and may be moved. Committed bytes are never moved.

import { Form, FrameFlag, Outcome, Param } from "../abi";
import { copy, storeBe16, storeBe64 } from "../kernel/bytes";
import { Conn, engine, formOf, paramU32 } from "../state/records";
import { FRAME_BYTES } from "../plan";

@unmanaged
export class Ring {
  base: usize;
  /** Its Form. */
  form: u32;
  /** Size in bytes, a power of two. */
  capacity: u32;
  committed: u64;
  /** Value of `committed` at the last flush pass. Clients without a pending write were handed everything before it. */
  flushed: u64;
  skipFrom: u64;
  skipTo: u64;
  /** The open stage: its record's offset, its payload bytes, whether it is open, and an Outcome that persists. */
  stageAt: u64;
  stageLength: u32;
  stageOpen: u32;
  stageError: u32;
  /** Offset of the form's Place in an entry of the frame index. */
  place: u32;
}

/** Bytes of a ring's record, a power of two, because it is found for each row. */
export const RING_RECORD_BYTES: usize = 128;

/** The bytes of a frame in one form. A length of 0 means that no client read the form when the frame was published. */
@unmanaged
class Place {
  offset: u64;
  length: u32;
}

/**
 * An entry of the frame index. It begins with the Place of the plain form. The places of the other forms that are
 * enabled follow it, so the index of a server without compression is smaller.
 */
@unmanaged
export class Frame {
  offset: u64;
  length: u32;
  /** Topic number, 0 for broadcasts. */
  topic: u32;
  /** Sequence distance to the next frame of the topic, 0 when there is none yet. */
  next: u32;
  /** A slot that does not receive the frame, and its generation; 0 when there is no such client. */
  except: u32;
  exceptGeneration: u32;
  flags: u32;
  /** Sequence distance back to the first frame of its run, and in that frame the number of the run's frames. */
  runBack: u32;
  runFrames: u32;
}

if (offsetof<Frame>() != (FRAME_BYTES as usize)) ERROR("FRAME_BYTES");
if (offsetof<Place>("offset") != offsetof<Frame>("offset")) ERROR("the place of the plain form");
if (offsetof<Place>("length") != offsetof<Frame>("length")) ERROR("the place of the plain form");

/** The ring of plain frames, that of their compressed forms, and that of server-sent events. */
export let plain = changetype<Ring>(0);
export let deflated = changetype<Ring>(0);
export let events = changetype<Ring>(0);

/** Address of the rings' records, in the order of Form. */
let rings: usize = 0;

/** Returns the ring of a Form. Its capacity is 0 when the form is not enabled. */
export function ringAt(form: u32): Ring {
  return changetype<Ring>(rings + (form as usize) * RING_RECORD_BYTES);
}

/** Returns the ring that a client reads. */
export function ringOf(c: Conn): Ring {
  return ringAt(formOf(c));
}

let frameMask: u64 = 0;
/** Bytes of an entry of the frame index. */
let frameBytes: usize = 0;
/** Whether a form besides the plain one is enabled. */
export let hasForms: bool = false;

/**
 * Sets where the rings are. @param frames entries of the frame index @param stride bytes of each
 * @param isMore whether a form besides the plain one is enabled
 */
export function setRings(at: usize, frames: u32, stride: usize, isMore: bool): void {
  rings = at;
  plain = ringAt(Form.Plain);
  deflated = ringAt(Form.Deflated);
  events = ringAt(Form.Event);
  frameMask = (frames - 1) as u64;
  frameBytes = stride;
  hasForms = isMore;
}

/** Formats the ring of a form. @param place offset of the form's Place in an entry of the frame index */
export function formatRing(form: u32, base: usize, capacity: u32, first: u64, place: u32): void {
  const ring = ringAt(form);
  ring.form = form;
  ring.place = place;
  ring.base = base;
  ring.capacity = capacity;
  ring.committed = first;
  ring.flushed = first;
  ring.skipFrom = first;
  ring.skipTo = first;
  ring.stageOpen = 0;
  ring.stageLength = 0;
  ring.stageError = Outcome.Ok;
}

export function address(ring: Ring, offset: u64): usize {
  return ring.base + ((offset & ((ring.capacity - 1) as u64)) as usize);
}

/** Returns the offset for a record of `length` bytes, which is `committed` or the start of the next lap. */
export function placeFor(ring: Ring, length: u32): u64 {
  const within = (ring.committed & ((ring.capacity - 1) as u64)) as u32;
  return within + length > ring.capacity
    ? ring.committed + ((ring.capacity - within) as u64)
    : ring.committed;
}

/** Returns the frame index entry of a sequence number. */
export function frame(sequence: u64): Frame {
  return changetype<Frame>(engine.frames + ((sequence & frameMask) as usize) * frameBytes);
}

/** Returns the header size of an unmasked frame in bytes (RFC 6455 5.2). */
export function headerBytes(length: u32): u32 {
  return length < 126 ? 2 : length < 65536 ? 4 : 10;
}

/** Writes the header of an unmasked frame. Returns its end. */
export function putHeader(at: usize, first: u32, length: u32): usize {
  store<u8>(at, first as u8);
  if (length < 126) {
    store<u8>(at, length as u8, 1);
    return at + 2;
  }
  if (length < 65536) {
    store<u8>(at, 126, 1);
    storeBe16(at + 2, length);
    return at + 4;
  }
  store<u8>(at, 127, 1);
  storeBe64(at + 2, length as u64);
  return at + 10;
}

function placeIn(ring: Ring, f: Frame): Place {
  return changetype<Place>(changetype<usize>(f) + (ring.place as usize));
}

/** Returns the offset of a frame in a ring. The plain form has a branch, which is faster than loading its place. */
export function offsetIn(ring: Ring, f: Frame): u64 {
  return ring.form == Form.Plain ? f.offset : placeIn(ring, f).offset;
}

export function lengthIn(ring: Ring, f: Frame): u32 {
  return ring.form == Form.Plain ? f.length : placeIn(ring, f).length;
}

/**
 * Returns the first message of the index that ends beyond an offset of a ring, which is a reader's position in either
 * form.
 */
export function messageAt(ring: Ring, offset: u64): u64 {
  let low =
    engine.sequence - min(engine.sequence - engine.firstSequence, paramU32(Param.Frames) as u64);
  let high = engine.sequence;
  while (low < high) {
    const middle = low + ((high - low) >> 1);
    const f = frame(middle);
    if (offsetIn(ring, f) + (lengthIn(ring, f) as u64) <= offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Returns the oldest offset that a reader may still need after the ring's tail moves to `tail` and one more entry is
 * added to the index. A reader whose `done` is before it would be lapped.
 * @param frames most index entries that a reader may lag
 */
export function floorFor(ring: Ring, tail: u64, frames: u64): u64 {
  // mutant ring-lap: let floor: u64 = tail > (ring.capacity as u64) + 64 ? tail - (ring.capacity as u64) - 64 : 0;
  let floor: u64 = tail > (ring.capacity as u64) ? tail - (ring.capacity as u64) : 0;
  if (engine.sequence - engine.firstSequence >= frames) {
    const oldest = frame(engine.sequence - frames);
    const end = offsetIn(ring, oldest) + (lengthIn(ring, oldest) as u64);
    if (end > floor) floor = end;
  }
  return floor;
}

/** Returns true for an offset at which a lap begins. A record that ends there is not adjacent to it. */
export function isLapStart(ring: Ring, offset: u64): bool {
  // mutant ring-edge: return ring.capacity == 0 && offset == 0;
  return (offset & ((ring.capacity - 1) as u64)) == 0;
}

/** Commits the record at `offset`. */
export function extend(ring: Ring, offset: u64, length: u32): void {
  if (isLapStart(ring, offset)) {
    ring.skipFrom = ring.committed;
    ring.skipTo = offset;
  }
  ring.committed = offset + (length as u64);
}

/** The recipients of a frame. */
@unmanaged
export class Audience {
  /** Topic number, 0 for broadcasts. */
  topic: u32;
  /** A slot that does not receive the frame, and its generation; 0 when there is no such client. */
  except: u32;
  exceptGeneration: u32;
}

/** Recipients of the next publication. */
export const audience = changetype<Audience>(memory.data(16, 8));

/**
 * Returns true when a frame continues the run of the one before: same topic, no client excluded, adjacent in every
 * ring.
 */
function continues(f: Frame, before: Frame): bool {
  if (before.topic != f.topic || before.exceptGeneration != 0 || f.exceptGeneration != 0)
    return false;
  if (before.offset + (before.length as u64) != f.offset || isLapStart(plain, f.offset))
    return false;
  if (!hasForms) return true;
  for (let form: u32 = Form.Plain + 1; form < (Form.COUNT as u32); form++) {
    const ring = ringAt(form);
    if (ring.capacity != 0 && !isAdjacent(ring, placeIn(ring, f), placeIn(ring, before)))
      return false;
  }
  return true;
}

/** Returns true when a place follows the one before in its ring, or when both are empty. */
function isAdjacent(ring: Ring, place: Place, before: Place): bool {
  if (place.length == 0) return before.length == 0;
  return before.offset + (before.length as u64) == place.offset && !isLapStart(ring, place.offset);
}

/** Bytes of the newest message in each form, 0 in forms that no recipient reads. */
const LENGTHS = memory.data(Form.COUNT * 4, 4);

/** Sets the bytes of the newest message in a form other than the plain one, for `enter`. */
export function setLength(form: u32, bytes: u32): void {
  store<u32>(LENGTHS + ((form as usize) << 2), bytes);
}

/** Fills in the places of a frame in the forms besides the plain one. */
function enterForms(f: Frame): void {
  for (let form: u32 = Form.Plain + 1; form < (Form.COUNT as u32); form++) {
    const ring = ringAt(form);
    if (ring.capacity == 0) continue;
    const place = placeIn(ring, f);
    place.length = load<u32>(LENGTHS + ((form as usize) << 2));
    place.offset = ring.committed - (place.length as u64);
  }
}

/** Adds the frame at the end of the rings to the index. @param length its bytes in the plain form */
export function enter(length: u32, flags: u32): void {
  const sequence = engine.sequence;
  const f = frame(sequence);
  f.offset = plain.committed - (length as u64);
  f.length = length;
  f.topic = audience.topic;
  f.next = 0;
  f.except = audience.except;
  f.exceptGeneration = audience.exceptGeneration;
  f.flags = flags;
  f.runBack = 0;
  f.runFrames = 1;
  if (hasForms) enterForms(f);
  engine.sequence = sequence + 1;
  if (sequence == engine.firstSequence) return;
  const before = frame(sequence - 1);
  // A run is at most half the index long, so that its first entry is kept for as long as it has readers.
  if (!continues(f, before) || (before.runBack as u64) + 1 >= (frameMask + 1) >> 1) return;
  f.runBack = before.runBack + 1;
  frame(sequence - (f.runBack as u64)).runFrames = f.runBack + 1;
}

/** Returns the last frame of the run that contains a frame. */
export function runLast(sequence: u64): u64 {
  const first = sequence - (frame(sequence).runBack as u64);
  // The first entry was overwritten, so the run is taken frame by frame.
  if (engine.sequence - first > frameMask + 1) return sequence;
  return first + (frame(first).runFrames as u64) - 1;
}

/** Returns the first byte of a data frame: FIN and the opcode. */
export function firstByte(flags: u32): u32 {
  const opcode: u32 = flags & FrameFlag.Binary ? 2 : 1;
  return 0x80 | (flags & FrameFlag.Compressed ? 0x40 : 0) | opcode;
}

/** Writes one whole frame at `offset`, where there is room for it. Returns its length. */
export function put(ring: Ring, offset: u64, payload: usize, length: u32, flags: u32): u32 {
  const start = address(ring, offset);
  const at = putHeader(start, firstByte(flags), length);
  copy(at, payload, length);
  return ((at - start) as u32) + length;
}

/** Returns the sequence of the frame that holds the byte at `offset`, which must be before `committed`. */
export function sequenceAt(ring: Ring, offset: u64): u64 {
  const count = frameMask + 1;
  let high = engine.sequence;
  let low = high - engine.firstSequence > count ? high - count : engine.firstSequence;
  while (low + 1 < high) {
    const middle = low + ((high - low) >> 1);
    if (offsetIn(ring, frame(middle)) <= offset) low = middle;
    else high = middle;
  }
  return low;
}
