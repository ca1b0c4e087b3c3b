// The engine: memory and lifecycle, accepting, publishing and who pays for it, time. The rest of the
// state machine stands in input.ts (bytes in) and output.ts (bytes out).

import {
  ABI_VERSION,
  Arrival,
  CloseReason,
  Control,
  FrameFlag,
  LAG_CLASSES,
  LAG_FIRST,
  MAGIC,
  NONE,
  Outcome,
  Param,
  RECORD_BYTES,
  RECORD_GENERATION,
  RECORD_KIND,
  RECORD_LENGTH,
  RECORD_SLOT,
  RECORD_TOTAL,
  RecordKind,
  RowKind,
  Shut,
} from "../abi";
import { ADDRESS_TEXT, readAddress } from "../kernel/address";
import { copy } from "../kernel/bytes";
import {
  Conn,
  ENGINE_BYTES,
  Flag,
  List,
  State,
  Watch,
  add,
  at,
  countClose,
  engine,
  eventsFull,
  formatSlots,
  getControl,
  has,
  isReason,
  isWebSocket,
  live,
  noticesFull,
  openAt,
  param,
  paramU32,
  receivePool,
  replyPool,
  setControl,
  setEngine,
  setParam,
  takeEvents,
  takeHttp,
  takeTime,
} from "../state/conn";
import { NEVER, dueOffset, dueSequence } from "../ring/cursor";
import { beginHead } from "../parse/http";
import { countBelow, furthest, orderedCount, readingCount } from "../state/treap";
import { isStuck, look, pingAt } from "../reply/progress";
import { deadline, dutyAt, kill, lagBytes, rearm } from "./output";
import { forgetPaces, isSlowIn, slowOutAt } from "../state/rate";
import { heldReply } from "../state/queue";
import { refuse } from "../reply/response";
import { enlist, findVictim, noteCrowd, victimReason } from "../state/room";
import { close, fail, ping, pingSilent, send } from "../reply/send";
import {
  BUCKET_BYTES,
  CONTROL_EXTRA,
  HEADROOM_BYTES,
  RECEIVE_UNIT,
  REGION_ALIGN,
  REPLY_UNIT,
  Region,
  SUBSCRIPTION_BYTES,
  TALLY_BYTES,
  TOPIC_BYTES,
  firstParam,
  powerOver,
  regionBytes,
  secondParam,
} from "../plan";
import { POOL_BYTES, formatPool } from "../state/pool";
import {
  RING_RECORD_BYTES,
  Ring,
  address,
  deflated,
  enter,
  extend,
  firstByte,
  audience,
  floorFor,
  formatRing,
  frame,
  headerBytes,
  placeFor,
  plain,
  put,
  putHeader,
  ringOf,
  setRings,
} from "../ring/ring";
import { checkTallies, enroll, isAddressFull, move, noBuffer } from "../state/quota";
import { disarm, first, postpone } from "../state/timers";
import {
  chain,
  checkTopics,
  findTopic,
  isExcept,
  subscribe,
  topic,
  unflushed,
  unsubscribe,
} from "../ring/topics";
import { breakUpload } from "../reply/body";

// ---- lifecycle ---------------------------------------------------------------------------------------

/** Where the host leaves the parameters. */
export const PARAMS = memory.data(Param.COUNT * 8, 16);

const ENGINE_AT: usize = Control.COUNT * 8;
const RECEIVE_POOL_AT: usize = ENGINE_AT + ENGINE_BYTES;
const REPLY_POOL_AT: usize = RECEIVE_POOL_AT + ((POOL_BYTES + 15) & ~15);
const RING_AT: usize = REPLY_POOL_AT + ((POOL_BYTES + 15) & ~15);
const DEFLATE_RING_AT: usize = RING_AT + RING_RECORD_BYTES;
const PARAMS_AT: usize = DEFLATE_RING_AT + RING_RECORD_BYTES;
const COUNTS_AT: usize = PARAMS_AT + Param.COUNT * 8;
if (COUNTS_AT + Param.COUNT * 4 > ENGINE_AT + (CONTROL_EXTRA as usize)) ERROR("CONTROL_EXTRA");

function wanted(index: i32): f64 {
  return index < 0 ? 0 : load<f64>(PARAMS + ((index as usize) << 3));
}

function bytesOf(region: i32): f64 {
  return regionBytes(region, wanted(firstParam(region)), wanted(secondParam(region)));
}

/** Bytes of all regions for the parameters at PARAMS. */
export function footprint(): f64 {
  let total: f64 = 0;
  for (let region = 0; region < (Region.COUNT as i32); region++) total += bytesOf(region);
  return total;
}

/** Bytes to a multiple of which a region has to be placed. */
export function align(): u32 {
  return REGION_ALIGN as u32;
}

/**
 * Formats a region of `footprint()` bytes, aligned to `align()`, that is all zero.
 * @returns its address, 0 when it is misaligned
 */
export function create(base: usize): usize {
  if (base == 0 || (base & (align() - 1)) != 0) return 0;
  memory.fill(base, 0, bytesOf(Region.Control) as usize);
  setEngine(base + ENGINE_AT, base + RECEIVE_POOL_AT, base + REPLY_POOL_AT);
  engine.control = base;
  engine.params = base + PARAMS_AT;
  engine.counts = base + COUNTS_AT;
  for (let i = 0; i < (Param.COUNT as i32); i++) setParam(i, wanted(i));
  engine.httpSlots = paramU32(Param.Connections);
  engine.allSlots = engine.httpSlots + paramU32(Param.WebSockets);
  engine.seed = paramU32(Param.Seed);
  engine.firstSequence = param(Param.FirstSequence) as u64;
  engine.sequence = engine.firstSequence;
  engine.renewedAt = engine.firstSequence;
  engine.renewedFrame = engine.firstSequence;
  engine.tableBytes = ((bytesOf(Region.HeadTable) as u32) + 15) & ~15;

  let next = base + (bytesOf(Region.Control) as usize);
  engine.slots = next;
  next += bytesOf(Region.HttpSlots) as usize;
  // The two tables are one array: slot numbers run on, and what the first leaves of its last 64 bytes is at its end.
  next += bytesOf(Region.WebSocketSlots) as usize;
  engine.webSockets = next;
  next += bytesOf(Region.WebSocketList) as usize;
  engine.timers = next;
  next += bytesOf(Region.Timers) as usize;
  const receiveMap = next;
  next += bytesOf(Region.ReceivePoolMap) as usize;
  const replyMap = next;
  next += bytesOf(Region.ReplyPoolMap) as usize;
  engine.frames = next;
  next += bytesOf(Region.FrameIndex) as usize;
  engine.topics = next;
  engine.subscriptions =
    engine.topics + ((paramU32(Param.Topics) + 1) as usize) * (TOPIC_BYTES as usize);
  engine.topicBuckets =
    engine.subscriptions + (paramU32(Param.Subscriptions) as usize) * (SUBSCRIPTION_BYTES as usize);
  const topicBuckets = powerOver(param(Param.Topics)) as u32;
  engine.topicMask = topicBuckets - 1;
  engine.pairBuckets = engine.topicBuckets + (topicBuckets as usize) * (BUCKET_BYTES as usize);
  engine.pairMask = (powerOver(param(Param.Subscriptions)) as u32) - 1;
  next += bytesOf(Region.Topics) as usize;
  engine.events = next;
  next += bytesOf(Region.Events) as usize;
  engine.rows = next;
  next += bytesOf(Region.Rows) as usize;
  engine.headTable = next;
  next += bytesOf(Region.HeadTable) as usize;
  engine.window = next + (HEADROOM_BYTES as usize);
  next += bytesOf(Region.Window) as usize;
  engine.scratch = next;
  next += bytesOf(Region.Scratch) as usize;
  formatPool(
    receivePool,
    next,
    receiveMap,
    paramU32(Param.ReceivePoolBytes),
    ctz(RECEIVE_UNIT as u32),
    4096,
  );
  next += bytesOf(Region.ReceivePool) as usize;
  formatPool(
    replyPool,
    next,
    replyMap,
    paramU32(Param.ReplyPoolBytes),
    ctz(REPLY_UNIT as u32),
    4096,
  );
  next += bytesOf(Region.ReplyPool) as usize;
  const ringAt = next;
  next += bytesOf(Region.Ring) as usize;
  const deflateRingAt = next;
  next += bytesOf(Region.DeflateRing) as usize;
  engine.tallies = next;
  engine.tallyBuckets = next + ((engine.allSlots + 1) as usize) * (TALLY_BYTES as usize);
  engine.tallyMask = (powerOver(engine.allSlots as f64) as u32) - 1;

  setRings(base + RING_AT, base + DEFLATE_RING_AT, paramU32(Param.Frames));
  formatRing(plain, 0, ringAt, paramU32(Param.RingBytes), engine.firstSequence);
  formatRing(deflated, 1, deflateRingAt, paramU32(Param.DeflateRingBytes), engine.firstSequence);
  formatSlots();
  setControl(Control.SlotsAddress, engine.slots as f64);
  setControl(Control.WindowAddress, engine.window as f64);
  setControl(Control.ScratchAddress, engine.scratch as f64);
  setControl(Control.EventsAddress, engine.events as f64);
  setControl(Control.RowsAddress, engine.rows as f64);
  setControl(Control.RingAddress, plain.base as f64);
  setControl(Control.TableAddress, engine.headTable as f64);
  store<u32>(base, MAGIC);
  store<u32>(base, ABI_VERSION, 4);
  return base;
}

/**
 * Changes a parameter from now on; for WebSockets' own limits, those of the ones that open from now on.
 * @returns 1; 0 for one that is fixed
 */
export function configure(index: u32, value: f64): u32 {
  if (index >= (Param.COUNT as u32)) return 0;
  // What addresses hold is counted from the start, or not at all.
  if (index == Param.AddressReceiveBytes || index == Param.AddressReplyBytes) return 0;
  for (let region = 0; region < (Region.COUNT as i32); region++) {
    if (firstParam(region) == (index as i32) || secondParam(region) == (index as i32)) return 0;
  }
  setParam(index, value);
  if (index == Param.ReceiveRate || index == Param.SendRate) forgetPaces();
  return 1;
}

/** Joins a formatted region; 0 when the magic or the version differ. */
export function join(base: usize): usize {
  if (base == 0 || (base & (align() - 1)) != 0) return 0;
  if (load<u32>(base) != MAGIC || load<u32>(base, 4) != ABI_VERSION) return 0;
  setEngine(base + ENGINE_AT, base + RECEIVE_POOL_AT, base + REPLY_POOL_AT);
  setRings(base + RING_AT, base + DEFLATE_RING_AT, paramU32(Param.Frames));
  return base;
}

/** Leaves the region; returns its address. */
export function leave(): usize {
  const base = engine.control;
  setEngine(0, 0, 0);
  return base;
}

/** Unformats a region: no join succeeds any more. Returns its address, 0 when it is not formatted. */
export function destroy(base: usize): usize {
  if (base == 0 || load<u32>(base) != MAGIC) return 0;
  store<u32>(base, 0);
  return base;
}

// ---- accepting -----------------------------------------------------------------------------------------

/** Where the host leaves the text of an address: 64 bytes. */
export function addressText(): usize {
  return ADDRESS_TEXT;
}

/** Counts a connection that is refused before it has a slot. Returns NONE. */
export function decline(reason: i32): u32 {
  if (!isReason(reason)) return NONE;
  add(Control.Accepted, 1);
  countClose(reason);
  setControl(Control.Result, reason as f64);
  return NONE;
}

/**
 * A connection was accepted.
 * @param addressLength bytes of the peer's address, at `addressText`; 0: it is counted under none
 * @param flags bits of Arrival
 * @returns its slot (generation in Control.Generation), or NONE. Then Control.Result is the reason for which it
 * is refused, and counted (NoRoom: all slots are taken, answer 503), or 0: one was ended to make room. Act on the
 * events, call again.
 */
export function accept(addressLength: u32, flags: u32): u32 {
  takeTime();
  takeEvents();
  const isKnown = addressLength != 0 && readAddress(ADDRESS_TEXT, addressLength);
  if (isKnown && isAddressFull()) return decline(CloseReason.AddressLimit);
  setControl(Control.Result, 0);
  const c = takeHttp();
  if (changetype<usize>(c) == 0) {
    noteCrowd();
    const victim = findVictim();
    if (changetype<usize>(victim) == 0) return decline(CloseReason.NoRoom);
    if (victim.state != State.Linger) add(Control.Evicted, 1);
    // What one that has been answered has not read yet, the kernel still sends.
    const isServed = victim.list == List.Linger || victim.list == List.Idle;
    kill(victim, victimReason, isServed ? Shut.Destroy : Shut.Reset);
    return NONE;
  }
  c.state = State.Head;
  c.since = engine.now;
  c.lastIn = engine.now;
  c.closeCode = 0;
  if (isKnown) enroll(c);
  if (flags & Arrival.Proxied) c.flags |= Flag.Proxied;
  if (flags & Arrival.Unsecured) c.flags |= Flag.Unsecured;
  beginHead(c);
  enlist(c, List.Reading);
  rearm(c);
  add(Control.Accepted, 1);
  add(Control.ConnectionCount, 1);
  setControl(Control.Generation, c.generation as f64);
  noteCrowd();
  return c.slot;
}

/** TLS is established: the bytes that are fed from now on are a request's. */
export function secured(slot: u32, generation: u32): void {
  const c = live(slot, generation);
  if (changetype<usize>(c) != 0) c.flags &= ~Flag.Unsecured;
}

/**
 * Counts an HTTP connection under the address of its client, which the host has found out.
 * @param addressLength bytes of it, at `addressText`; for what is no address it is counted under none
 * @returns Ok; Full: there are as many of it as there may be, and the request is refused, or, when none is
 * out, the connection reset; Gone
 */
export function setAddress(slot: u32, generation: u32, addressLength: u32): u32 {
  takeTime();
  takeEvents();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || isWebSocket(c)) return Outcome.Gone;
  if (!readAddress(ADDRESS_TEXT, addressLength) || move(c)) return Outcome.Ok;
  if (c.state == State.Request) refuse(c, CloseReason.AddressLimit);
  else kill(c, CloseReason.AddressLimit, Shut.Reset);
  return Outcome.Full;
}

// ---- publishing, and who pays --------------------------------------------------------------------------

function evictReader(c: Conn): void {
  add(Control.Evicted, 1);
  kill(c, CloseReason.WsClientTooSlow, Shut.Reset);
}

/** True when more than half of a ring's readers are over half a ring behind. */
function areManyBehind(ring: Ring, tail: u64): bool {
  const readers = ring.index == 0 ? engine.openCount - engine.deflateCount : engine.deflateCount;
  const half = (ring.capacity >> 1) as u64;
  const behind = tail > half ? countBelow(ring.index, tail - half) : 0;
  return behind * 2 > readers;
}

/** ms that count between two tries to publish: a producer that does not try again at once waits for nobody. */
const TRY_LIMIT: f64 = 100;

/** Adds the time since the last try to what the publisher has waited. */
function countWait(): void {
  if (engine.triedAt != 0) engine.waited += min(engine.now - engine.triedAt, TRY_LIMIT);
  engine.triedAt = 0;
}

/**
 * Takes from the budget of time that the publisher waits for readers: SlowGrace for all of them together, renewed by
 * each half ring, or half index, that is published; twice as much while the publisher is too fast for the many.
 * @returns false when it is used up
 */
function mayWait(ring: Ring, tail: u64): bool {
  const grace = param(Param.SlowGrace);
  const isLeft = engine.waited < grace;
  if (!isLeft && !(engine.waited < grace * 2 && areManyBehind(ring, tail))) return false;
  engine.triedAt = engine.now;
  return true;
}

/**
 * Renews the budget when a record that ends at `tail` reaches half a ring, or half of the index, beyond where it was
 * renewed; once for each record. A reader that is lapped on a budget that was used up before was more than half a ring
 * behind then.
 */
function renewBudget(tail: u64): void {
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
 * Makes room for a record that ends at `tail`, at the cost of the readers furthest behind:
 * (a) a reader without progress for SlowGrace is evicted at once;
 * (b) readers that make progress are waited for, within one budget of SlowGrace for all of them;
 * (c) when more than half of the readers are over half a ring behind, the publisher is too fast for the many and
 *     waits for another SlowGrace. Then the furthest behind are evicted.
 */
function makeRoom(ring: Ring, tail: u64): u32 {
  // Whoever has ended otherwise is reset before anything of the ring is overwritten, too.
  if (engine.deadReaders != 0) return Outcome.Evicted;
  // A record that does not fit behind `committed` may need more than a ring's length, the skipped bytes
  // included: then nobody may be behind at all.
  // mutant ring-index: const floor = min(floorFor(ring, tail, (paramU32(Param.Frames) as u64) + 1), ring.committed);
  const floor = min(floorFor(ring, tail, paramU32(Param.Frames) as u64), ring.committed);
  if (floor > ring.flushed) return Outcome.Flush;
  if (changetype<usize>(furthest(ring.index)) == 0) return Outcome.Ok;
  const queued = min(floorFor(ring, tail, paramU32(Param.QueuedFrames) as u64), ring.flushed);
  countWait();
  let evicted = false;
  while (true) {
    const c = furthest(ring.index);
    if (changetype<usize>(c) == 0 || c.done >= queued) break;
    // A reader within the ring that is more frames behind than a client may be is not waited for.
    const isMoving = engine.now - c.lastOut < param(Param.SlowGrace);
    if (c.done < floor && isMoving && mayWait(ring, tail)) {
      return evicted ? Outcome.Evicted : Outcome.Wait;
    }
    evictReader(c);
    evicted = true;
  }
  return evicted ? Outcome.Evicted : Outcome.Ok;
}

/**
 * Makes room for a message's other form, `bytes` long, when anybody is to get it; `deflateAt` says where. Its
 * index entry needs room too: one that gets no more, since its Close is queued, may still be behind.
 */
function makeOtherPlace(bytes: u32): u32 {
  const isRead = deflateReaders() != 0;
  if (!isRead && engine.deflateTreap == 0) return Outcome.Ok;
  deflateAt = isRead ? placeFor(deflated, bytes) : deflated.committed;
  // mutant deflate-room: return Outcome.Ok;
  return makeRoom(deflated, deflateAt + (isRead ? (bytes as u64) : 0));
}

/**
 * Makes room for a record of `bytes` in the plain ring, and for its other form. `plainAt` says where.
 */
function makePlaces(bytes: u32, deflateBytes: u32): u32 {
  plainAt = placeFor(plain, bytes);
  renewBudget(plainAt + (bytes as u64));
  let outcome = makeRoom(plain, plainAt + (bytes as u64));
  if (outcome == Outcome.Ok) outcome = makeOtherPlace(deflateBytes);
  return outcome;
}

let plainAt: u64 = 0;
let deflateAt: u64 = 0;

/** How many of a topic's subscribers, or for 0 of all, take compressed messages. */
export function deflateCount(number: u32): u32 {
  return number == 0 ? engine.deflateCount : topic(number).deflateCount;
}

/** Those of the audience that read the ring of compressed forms. */
function deflateReaders(): u32 {
  return deflateCount(audience.topic);
}

/** How many get what is published now. */
function readers(): u32 {
  const number = audience.topic;
  const count = number == 0 ? engine.openCount : topic(number).count;
  // Generations begin with 1.
  if (audience.exceptGeneration == 0) return count;
  return isExcept(number, audience.except, audience.exceptGeneration) ? count - 1 : count;
}

/** The frame is in the ring: its topic's subscribers get it with the next flush pass. */
function finishPublication(length: u32): void {
  chain(audience.topic);
  add(Control.FramesPublished, 1);
  add(Control.BytesPublished, length as f64);
  add(Control.FramesDue, readers() as f64);
  // Both are below 2^63: a signed conversion is one instruction.
  setControl(Control.Committed, plain.committed as i64 as f64);
  setControl(Control.Sequence, engine.sequence as i64 as f64);
}

/** Bytes of the form of a message that readers of the other ring get: compressed, or plain. */
function otherBytes(bytes: u32, deflateLength: u32): u32 {
  return deflateLength == 0 ? bytes : headerBytes(deflateLength) + deflateLength;
}

/**
 * Puts a message's other form into its ring, when anybody reads that; `bytes` of the plain frame stand at
 * `plainAt`. Returns its length there.
 */
function putOther(bytes: u32, deflate: usize, deflateLength: u32, flags: u32): u32 {
  if (deflateReaders() == 0) return 0;
  const length = otherBytes(bytes, deflateLength);
  if (deflateLength == 0) copy(address(deflated, deflateAt), address(plain, plainAt), bytes);
  // mutant deflate-bit: else put(deflated, deflateAt, deflate, deflateLength, flags);
  else put(deflated, deflateAt, deflate, deflateLength, flags | FrameFlag.Compressed);
  extend(deflated, deflateAt, length);
  return length;
}

/** Says who gets what is published now; false when nobody does. */
function reach(number: u32, except: u32, exceptGeneration: u32): bool {
  audience.topic = number;
  audience.except = except;
  audience.exceptGeneration = exceptGeneration;
  return number == 0 || (number <= engine.topicsUsed && topic(number).count != 0);
}

/**
 * Publishes a whole message.
 * @param deflate its compressed form, `deflateLength` bytes; 0: there is none
 * @param number topic as `findTopic` tells it; 0: every open WebSocket
 * @param except slot of a client that does not get it, and its generation; 0 for nobody
 * @returns Ok; Evicted, Flush (act, call again); Wait, TooLarge (nothing was staged); Staging (a stage is open, where
 * the frame would go: publish or discard that first)
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
  put(plain, plainAt, payload, length, flags);
  extend(plain, plainAt, bytes);
  enter(bytes, putOther(bytes, deflate, deflateLength, flags), flags);
  finishPublication(length);
  return Outcome.Ok;
}

// ---- the stage: a message that the host writes into the ring itself, since scratch is too small for it ---------

/** Bytes kept free in front of a staged payload, and the most a header takes. */
const STAGE_HEADER: u32 = 4;
const HEADER_LIMIT: u32 = 10;

/**
 * Makes room for `n` more bytes behind the open stage, opening one when there is none. It may move.
 * @returns Ok (the address to write at in Control.Result); Evicted, Flush (act, call again); Wait, TooLarge,
 * after which the stage is spoilt: calls do nothing until it is published (which reports it) or discarded
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

/** `n` bytes were written where `stageReserve` said. */
export function stageAppend(n: u32): void {
  if (plain.stageError == Outcome.Ok) plain.stageLength += n;
}

/** Drops the open stage. Never evicts anybody. */
export function stageDiscard(): void {
  plain.stageOpen = 0;
  plain.stageLength = 0;
  plain.stageError = Outcome.Ok;
}

/**
 * Publishes the open stage: the payload moves up to its header, so that frames touch.
 * @param deflate its compressed form, `deflateLength` bytes; 0: there is none
 * @param number, except, exceptGeneration as for `publish`
 * @returns as `publish`; after Evicted and Flush the stage is still open
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
    // Nothing was ever staged: an empty message.
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
  plainAt = plain.stageAt;
  const start = address(plain, plainAt);
  if (header != STAGE_HEADER) memory.copy(start + header, start + STAGE_HEADER, length);
  putHeader(start, firstByte(flags), length);
  stageDiscard();
  extend(plain, plainAt, bytes);
  enter(bytes, putOther(bytes, deflate, deflateLength, flags), flags);
  finishPublication(length);
  return Outcome.Ok;
}

// ---- the inbox -------------------------------------------------------------------------------------------

/** True when a message should be compressed, by the host, for one of `count` clients. */
function isWorthDeflating(count: u32, flags: u32, length: u32): bool {
  return count != 0 && !(flags & FrameFlag.Plain) && length >= paramU32(Param.DeflateThreshold);
}

/** 1 for a client that takes compressed messages, with whatever window. */
function takesDeflate(c: Conn): u32 {
  return changetype<usize>(c) != 0 && has(c, Flag.Deflates) ? 1 : 0;
}

/** A publication to a topic: one byte of length, the name, the message. */
function publishRecord(flags: u32, at: usize, length: u32, slot: u32, generation: u32): u32 {
  const nameLength: u32 = length == 0 ? 0 : load<u8>(at);
  if (nameLength + 1 > length) return Outcome.Ok;
  const number = findTopic(at + 1, nameLength);
  if (number == 0) return Outcome.Ok;
  const bytes = length - 1 - nameLength;
  if (isWorthDeflating(topic(number).deflateCount, flags, bytes)) return Outcome.Compress;
  return publish(flags, at + 1 + nameLength, bytes, 0, 0, number, slot, generation);
}

/**
 * Carries out the records of a batch at the start of the scratch region.
 * @returns bytes of the records that are done; Control.Result holds the Outcome that stopped it (Ok at the
 * end of the batch). After Evicted and Flush: act, then call again with the rest.
 */
export function drain(from: u32, to: u32): u32 {
  takeTime();
  takeEvents();
  let record = engine.scratch + from;
  const end = engine.scratch + to;
  let outcome: u32 = Outcome.Ok;
  while (record < end) {
    const payload = record + RECORD_BYTES;
    const length = load<u32>(record, RECORD_LENGTH);
    const word = load<u32>(record, RECORD_KIND);
    const slot = load<u32>(record, RECORD_SLOT);
    const generation = load<u32>(record, RECORD_GENERATION);
    const flags = (word >> 8) & 0xff;
    switch (word & 0xff) {
      case RecordKind.Broadcast:
        outcome = isWorthDeflating(engine.deflateCount, flags, length)
          ? Outcome.Compress
          : publish(flags, payload, length, 0, 0, 0, slot, generation);
        break;
      case RecordKind.Publish:
        outcome = publishRecord(flags, payload, length, slot, generation);
        break;
      case RecordKind.Subscribe:
        // A table is full: the host tells the application, and goes on behind the record.
        outcome = subscribe(slot, generation, payload, length);
        if (outcome != Outcome.Full) outcome = Outcome.Ok;
        break;
      case RecordKind.Unsubscribe:
        unsubscribe(slot, generation, payload, length);
        break;
      case RecordKind.Send:
        if (isWorthDeflating(takesDeflate(live(slot, generation)), flags, length))
          outcome = Outcome.Compress;
        else if (send(slot, generation, flags, payload, length) == Outcome.Full) {
          // It was accepted: the client ends, so that no message is missing among the others.
          // mutant send-hole: ;
          fail(live(slot, generation), CloseReason.SendOverrun);
        }
        break;
      case RecordKind.Ping:
        ping(slot, generation, payload, length);
        break;
      case RecordKind.Close:
        if (word >> 16 == 1006) {
          const c = live(slot, generation);
          if (changetype<usize>(c) != 0) kill(c, CloseReason.Application, Shut.Reset);
        } else {
          const c = live(slot, generation);
          if (changetype<usize>(c) != 0 && !isWebSocket(c))
            kill(c, CloseReason.Application, Shut.Destroy);
          else close(slot, generation, word >> 16, payload, length, CloseReason.Application);
        }
        break;
      case RecordKind.Transferred:
        outcome = Outcome.Transferred;
        break;
      default:
        break;
    }
    if (outcome == Outcome.TooLarge) outcome = Outcome.Ok;
    if (outcome != Outcome.Ok) break;
    record += load<u32>(record, RECORD_TOTAL);
  }
  if (outcome == Outcome.Full) setControl(Control.NameLength, getControl(Control.Result));
  setControl(Control.Result, outcome as f64);
  return (record - engine.scratch) as u32;
}

// ---- time ------------------------------------------------------------------------------------------------

/**
 * The connection that holds the largest pooled buffer pays for the one that waited too long.
 * @param address among those of this tally; 0: among all
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
    kill(c, CloseReason.CloseTimeout, Shut.Destroy);
  } else if (c.watch >= Watch.Known && c.queued != 0) {
    // What the kernel still holds the client has not taken: the end of its answer is lost.
    kill(c, CloseReason.CloseTimeout, Shut.Reset);
  } else {
    kill(c, c.reason, Shut.Destroy);
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
    // Who waits for others of its address is no matter of anybody else's.
    const reason = noBuffer(c);
    const holder = largestHolder(reason == CloseReason.AddressBuffers ? c.address : 0);
    c.waitSince = now;
    if (changetype<usize>(holder) == 0) return;
    if (isWebSocket(holder)) fail(holder, reason);
    else if (holder.state == State.Request) kill(holder, reason, Shut.Reset);
    else refuse(holder, reason);
    return;
  }
  if (now < dutyAt(c)) return;
  switch (c.state) {
    case State.Head:
      refuse(c, CloseReason.HeadTimeout);
      break;
    case State.Body:
      refuse(c, isSlowIn(c) ? CloseReason.ReceiveTooSlow : CloseReason.RequestTimeout);
      break;
    case State.Request:
      if (has(c, Flag.Pulling))
        breakUpload(c, isSlowIn(c) ? CloseReason.ReceiveTooSlow : CloseReason.RequestTimeout);
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
 * Acts on the deadlines that have passed.
 * @returns the ms to the next one, −1 when there is none; 0: drain the events, flush, and call again
 */
export function tick(): f64 {
  takeTime();
  takeEvents();
  while (true) {
    const c = first();
    if (engine.noticesOwed != 0) return 0;
    if (changetype<usize>(c) == 0) return -1;
    if (c.due > engine.now) return c.due - engine.now;
    if (c.watch != Watch.None) look(c);
    const due = deadline(c);
    if (due <= engine.now) {
      // Each tells of one body that broke off, or one end.
      if (eventsFull() || noticesFull()) return 0;
      expire(c);
      if (c.timerAt == 0) continue;
    }
    const next = deadline(c);
    if (next == Infinity) disarm(c);
    // At least a millisecond on, whatever expire did: a tick must end.
    else postpone(c, max(next, engine.now + 1));
  }
}

// ---- gauges and invariants -------------------------------------------------------------------------------

/** The class of a client that is so many bytes behind. */
function lagClass(bytes: u64): u32 {
  if (bytes == 0) return 0;
  let index: u32 = 1;
  for (let bound: u64 = LAG_FIRST; bound < bytes && index < LAG_CLASSES - 1; bound <<= 2) index++;
  return index;
}

/** Counts the open WebSockets by how far they are behind: O(n), so only when somebody asks. */
function countLags(): void {
  for (let i: u32 = 0; i < LAG_CLASSES; i++) setControl(Control.LagCount + i, 0);
  for (let i: u32 = 0; i < engine.openCount; i++) {
    add(Control.LagCount + lagClass(lagBytes(openAt(i))), 1);
  }
}

/** Brings the gauges of the control table up to date. */
export function gauge(): void {
  const c = furthest(0);
  const oldest = changetype<usize>(c) != 0 && c.done < plain.flushed ? c.done : plain.flushed;
  setControl(Control.Committed, plain.committed as f64);
  setControl(Control.RingUsed, (plain.committed - oldest) as f64);
  setControl(Control.Sequence, engine.sequence as f64);
  setControl(Control.ReceivePoolUsed, receivePool.used as f64);
  setControl(Control.ReplyPoolUsed, replyPool.used as f64);
  setControl(Control.BodyBytes, engine.bodyBytes as f64);
  countLags();
}

/** How far a client is behind: frames in the return value, bytes in Control.LagBytes. */
export function lag(slot: u32, generation: u32): u32 {
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || !isWebSocket(c)) return 0;
  setControl(Control.LagBytes, lagBytes(c) as f64);
  let sequence = dueSequence(c);
  if (sequence == NEVER) sequence = unflushed(c);
  return sequence == NEVER ? 0 : ((engine.sequence - sequence) as u32);
}

/** Checks the queue for buffers, and what the host holds; 0, or the first rule that does not hold. */
function checkQueue(): u32 {
  let waiting: u32 = 0;
  let returned: u32 = 0;
  for (let i: u32 = 0; i < engine.allSlots; i++) {
    const c = at(i);
    if (c.state == State.Free) continue;
    returned += c.returned;
    if (c.state != State.Dead && has(c, Flag.Waiting)) waiting++;
  }
  if (returned != engine.returned) return 19;
  let back: u32 = 0;
  for (let link = engine.waitHead; link != 0; link = at(link - 1).waitNext) {
    const c = at(link - 1);
    if (waiting-- == 0 || c.waitBack != back || !has(c, Flag.Waiting)) return 20;
    back = link;
  }
  return waiting == 0 && back == engine.waitTail ? 0 : 20;
}

/**
 * Checks what must always hold; for tests, after each step.
 * @returns 0, or the number of the first rule that does not
 */
export function check(): u32 {
  let open: u32 = 0;
  let ordered: u32 = 0;
  let dead: u32 = 0;
  let buffers: u32 = 0;
  let blocks: u32 = 0;
  let watched: u32 = 0;
  let reading: u32 = 0;
  for (let i: u32 = 0; i < engine.allSlots; i++) {
    const c = at(i);
    if (c.state == State.Free) continue;
    if (c.watch != Watch.None) watched++;
    if (c.pingBehind > c.backlog) return 21;
    if (c.buffer != 0) buffers += 1 << (c.order + 10);
    blocks += heldReply(c);
    if (paramU32(Param.AddressReplyBytes) != 0 && heldReply(c) != c.replyBytes) return 18;
    if (c.state == State.Dead) {
      dead++;
      continue;
    }
    if (!isWebSocket(c)) {
      if (i >= engine.httpSlots) return 1;
      if (c.list == List.Reading) reading++;
      if (has(c, Flag.PeerEnded) && c.list != List.Ended) return 24;
      continue;
    }
    if (i < engine.httpSlots) return 2;
    if (!has(c, Flag.CloseQueued)) open++;
    if (has(c, Flag.Ordered)) ordered++;
    const ring = ringOf(c);
    const due = dueOffset(c);
    if (due != NEVER && due >= ring.committed) return 3;
    if (c.handed > ring.committed) return 4;
    if (engine.rowCount != 0) continue;
    const isReading = c.writing == RowKind.Ring || c.writing == RowKind.DeflateRing;
    if (has(c, Flag.Ordered)) {
      // committed <= min(done) + capacity
      if (ring.committed - c.done > (ring.capacity as u64)) return 5;
      if (engine.sequence - dueSequence(c) > (paramU32(Param.Frames) as u64) && due != NEVER) {
        return 6;
      }
      // It stands under the first byte that it, or the transport for it, may still read.
      if (isReading ? c.done >= c.handed || due < c.handed : c.done != due) return 7;
    } else if (isReading || (due != NEVER && due < ring.flushed)) {
      // Who does not stand in the treap needs nothing before `flushed`.
      if (!has(c, Flag.CloseQueued)) return 8;
    }
  }
  const queue = checkQueue();
  if (queue != 0) return queue;
  const topics = checkTopics();
  if (topics != 0) return 32 + topics;
  const tallies = checkTallies();
  if (tallies != 0) return 64 + tallies;
  // Between two reads the window holds nothing.
  if (engine.fedSlot != 0) return 16;
  if (watched != (getControl(Control.Watched) as u32)) return 22;
  if (reading != readingCount()) return 23;
  if (open != engine.openCount) return 9;
  if (ordered != orderedCount()) return 10;
  if (dead != (load<f64>(engine.control + Control.DeadCount * 8) as u32)) return 11;
  if (buffers != receivePool.used) return 12;
  if (blocks != replyPool.used + engine.bodyBytes) return 17;
  for (let i: u32 = 0; i < engine.openCount; i++) if (openAt(i).listAt != i) return 13;
  // The index is in order, and each frame begins where the one before ends or at the start of a lap.
  const unflushedAt = plain.flushed == plain.skipFrom ? plain.skipTo : plain.flushed;
  if (plain.committed - unflushedAt > (plain.capacity as u64)) return 14;
  if (engine.sequence > engine.firstSequence) {
    const last = frame(engine.sequence - 1);
    if (last.offset + (last.length as u64) != plain.committed) return 15;
  }
  return 0;
}

/** Fails a WebSocket that is open, refuses an HTTP request that is out; for the host's own errors. */
export function abandon(slot: u32, generation: u32, reason: i32): u32 {
  takeTime();
  takeEvents();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0) return Outcome.Gone;
  if (!isReason(reason)) return Outcome.Invalid;
  if (isWebSocket(c)) {
    if (c.state == State.Open) fail(c, reason);
  } else if (c.state == State.Request || c.state == State.Head || c.state == State.Body) {
    refuse(c, reason);
  }
  return Outcome.Ok;
}
