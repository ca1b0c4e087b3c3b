// The engine's lifecycle: computes its footprint, formats a region, joins and leaves it, and changes parameters.
//
// Invariant: `create` formats every record, so earlier contents of the region are never read.
//
//   region   control table | Engine | pools | rings | readers | parameters | parameters as u32 | regions of plan.ts

import { ABI_VERSION, Control, Form, MAGIC, Param } from "../abi";
import {
  BUCKET_BYTES,
  CONTROL_EXTRA,
  FRAME_BYTES,
  HEADROOM_BYTES,
  PLACE_BYTES,
  RECEIVE_UNIT,
  REGION_ALIGN,
  REPLY_UNIT,
  Region,
  SUBSCRIPTION_BYTES,
  TALLY_BYTES,
  firstParam,
  fourthParam,
  frameStride,
  powerOver,
  regionBytes,
  secondParam,
  thirdParam,
  topicStride,
} from "../plan";
import { setHistory } from "../ring/history";
import { RING_RECORD_BYTES, formatRing, plain, setRings } from "../ring/ring";
import { setTopics } from "../ring/topic";
import { POOL_BYTES, formatPool } from "../state/pool";
import { rearm } from "../reply/deadline";
import { noteKeepAlive } from "../reply/progress";
import { isInRange } from "../state/ranges";
import { forgetPaces } from "../state/rate";
import {
  ENGINE_BYTES,
  READERS_BYTES,
  State,
  engine,
  param,
  paramU32,
  receivePool,
  replyPool,
  setControl,
  setEngine,
  setParam,
  takeTime,
} from "../state/records";
import { at, formatSlots } from "../state/slots";

/** Table of parameters, which the embedder fills. */
export const PARAMS = memory.data(Param.COUNT * 8, 16);

const ENGINE_AT: usize = Control.COUNT * 8;
const RECEIVE_POOL_AT: usize = ENGINE_AT + ENGINE_BYTES;
const REPLY_POOL_AT: usize = RECEIVE_POOL_AT + ((POOL_BYTES + 15) & ~15);
const RING_AT: usize = REPLY_POOL_AT + ((POOL_BYTES + 15) & ~15);
const READERS_AT: usize = RING_AT + (Form.COUNT as usize) * RING_RECORD_BYTES;
const PARAMS_AT: usize = READERS_AT + (Form.COUNT as usize) * READERS_BYTES;
const COUNTS_AT: usize = PARAMS_AT + Param.COUNT * 8;
if (COUNTS_AT + Param.COUNT * 4 > ENGINE_AT + (CONTROL_EXTRA as usize)) ERROR("CONTROL_EXTRA");

function wanted(index: i32): f64 {
  return index < 0 ? 0 : load<f64>(PARAMS + ((index as usize) << 3));
}

function bytesOf(region: i32): f64 {
  return regionBytes(
    region,
    wanted(firstParam(region)),
    wanted(secondParam(region)),
    wanted(thirdParam(region)),
    wanted(fourthParam(region)),
  );
}

/** Returns the first parameter at PARAMS that is out of its range, Param.COUNT when there is none. */
export function refused(): u32 {
  for (let i: u32 = 0; i < (Param.COUNT as u32); i++) if (!isInRange(i, wanted(i))) return i;
  // mutant param-frames (ranges): return Param.COUNT as u32;
  return wanted(Param.QueuedFrames) > wanted(Param.Frames) ? Param.QueuedFrames : Param.COUNT;
}

/** Returns the size in bytes of all regions for the parameters at PARAMS. */
export function footprint(): f64 {
  let total: f64 = 0;
  for (let region = 0; region < (Region.COUNT as i32); region++) total += bytesOf(region);
  return total;
}

/** Returns the alignment of a region in bytes. */
export function align(): u32 {
  return REGION_ALIGN as u32;
}

/**
 * Formats a region of `footprint()` bytes, aligned to `align()`, that is all zero. It is long because it lists each
 * table of the region once, in the order of the memory map.
 * @returns its address, or 0 when it is misaligned, or a parameter is out of its range
 */
export function create(base: usize): usize {
  if (base == 0 || (base & (align() - 1)) != 0) return 0;
  // mutant param-range (ranges): ;
  if (refused() != Param.COUNT) return 0;
  memory.fill(base, 0, bytesOf(Region.Control) as usize);
  setEngine(base + ENGINE_AT, base + RECEIVE_POOL_AT, base + REPLY_POOL_AT);
  engine.control = base;
  engine.params = base + PARAMS_AT;
  engine.counts = base + COUNTS_AT;
  engine.readers = base + READERS_AT;
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
  // The two tables are one array, because slot numbers are continuous. The padding of the first table is at the end.
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
  // Number 0 is the audience of broadcasts.
  const stride = topicStride(param(Param.History)) as usize;
  engine.subscriptions = setTopics(next, paramU32(Param.Topics) + 1, stride);
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
  const plainBase = next;
  next += bytesOf(Region.Ring) as usize;
  const deflatedBase = next;
  next += bytesOf(Region.DeflateRing) as usize;
  const eventBase = next;
  next += bytesOf(Region.EventRing) as usize;
  engine.tallies = next;
  engine.tallyBuckets = next + ((engine.allSlots + 1) as usize) * (TALLY_BYTES as usize);
  engine.tallyMask = (powerOver(engine.allSlots as f64) as u32) - 1;
  engine.returns = next + (bytesOf(Region.Addresses) as usize);

  const deflateRingBytes = paramU32(Param.DeflateRingBytes);
  const eventRingBytes = paramU32(Param.EventRingBytes);
  setLayout(base);
  const first = engine.firstSequence;
  formatRing(Form.Plain, plainBase, paramU32(Param.RingBytes), first, 0);
  const deflatedAt = FRAME_BYTES as u32;
  formatRing(Form.Deflated, deflatedBase, deflateRingBytes, first, deflatedAt);
  const eventAt = deflatedAt + (deflateRingBytes == 0 ? 0 : (PLACE_BYTES as u32));
  formatRing(Form.Event, eventBase, eventRingBytes, first, eventAt);
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

/** Arms every timer for its deadline, because limits have changed. A longer limit is found when a timer fires. */
function rearmAll(): void {
  takeTime();
  for (let i: u32 = 0; i < engine.allSlots; i++) {
    const c = at(i);
    if (c.state != State.Free && c.state != State.Dead) rearm(c);
  }
}

/**
 * Changes a parameter from now on. New limits of WebSockets apply only to WebSockets opened later. KeepAliveTimeout has
 * been announced to idle clients, so a shorter one applies from their next response on.
 * @returns 1, or 0 for a parameter that is fixed, or a value out of its range
 */
export function configure(index: u32, value: f64): u32 {
  if (index >= (Param.COUNT as u32)) return 0;
  // The bytes of an address are counted from the start, or not at all.
  if (index == Param.AddressReceiveBytes || index == Param.AddressReplyBytes) return 0;
  for (let region = 0; region < (Region.COUNT as i32); region++) {
    if (firstParam(region) == (index as i32) || secondParam(region) == (index as i32)) return 0;
    if (thirdParam(region) == (index as i32) || fourthParam(region) == (index as i32)) return 0;
  }
  // mutant param-live (ranges): ;
  if (!isInRange(index, value)) return 0;
  if (index == Param.QueuedFrames && value > param(Param.Frames)) return 0;
  if (index == Param.KeepAliveTimeout) noteKeepAlive();
  setParam(index, value);
  if (index == Param.ReceiveRate || index == Param.SendRate) forgetPaces();
  // mutant configure-late (life): ;
  if (index != Param.KeepAliveTimeout) rearmAll();
  return 1;
}

/** Joins a formatted region. Returns 0 when the magic or the version differs. */
export function join(base: usize): usize {
  if (base == 0 || (base & (align() - 1)) != 0) return 0;
  if (load<u32>(base) != MAGIC || load<u32>(base, 4) != ABI_VERSION) return 0;
  setEngine(base + ENGINE_AT, base + RECEIVE_POOL_AT, base + REPLY_POOL_AT);
  setLayout(base);
  return base;
}

/** Sets where the rings are, and the layout of the frame index, which both follow from the parameters. */
function setLayout(base: usize): void {
  const frames = paramU32(Param.Frames);
  const deflate = param(Param.DeflateRingBytes);
  const event = param(Param.EventRingBytes);
  const history = param(Param.History);
  const isMore = deflate + event != 0;
  setRings(base + RING_AT, frames, frameStride(deflate, event, history) as usize, isMore);
  setHistory(history != 0, frameStride(deflate, event, 0) as usize);
}

/** Leaves the region. Returns its address. */
export function leave(): usize {
  const base = engine.control;
  setEngine(0, 0, 0);
  return base;
}

/** Unformats a region, so that no `join` succeeds. Returns its address, or 0 when it is not formatted. */
export function destroy(base: usize): usize {
  if (base == 0 || load<u32>(base) != MAGIC) return 0;
  store<u32>(base, 0);
  return base;
}
