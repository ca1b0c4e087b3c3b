// The invariants of the whole engine, as a function for tests.

import { Control, Param, RowKind } from "../abi";
import { NEVER, dueOffset, dueSequence } from "../ring/cursor";
import { frame, plain, ringOf } from "../ring/ring";
import { checkTopics } from "../ring/topics";
import { List, openAt } from "../state/lists";
import { heldReply } from "../state/queue";
import { checkTallies } from "../state/quota";
import {
  Flag,
  State,
  Watch,
  engine,
  getControl,
  has,
  isWebSocket,
  paramU32,
  receivePool,
  replyPool,
} from "../state/records";
import { at } from "../state/slots";
import { orderedCount, readingCount } from "../state/treap";

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
