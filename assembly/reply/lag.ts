// Measures how far clients lag behind the publications, and updates the other gauges of the control table.

import { Control, Form, LAG_CLASSES, LAG_FIRST } from "../abi";
import { NEVER, dueSequence } from "../ring/cursor";
import { frame, offsetIn, plain, ringOf } from "../ring/ring";
import { hasUnflushed, unflushed } from "../ring/topics";
import { openAt } from "../state/lists";
import {
  Conn,
  Flag,
  add,
  engine,
  has,
  isWebSocket,
  receivePool,
  replyPool,
  setControl,
} from "../state/records";
import { live } from "../state/slots";
import { furthest } from "../state/treap";

/** Returns the lag class for a lag in bytes. */
function lagClass(bytes: u64): u32 {
  if (bytes == 0) return 0;
  let index: u32 = 1;
  for (let bound: u64 = LAG_FIRST; bound < bytes && index < LAG_CLASSES - 1; bound <<= 2) index++;
  return index;
}

/** Counts the open WebSockets by lag class. It takes O(n), so only `gauge` calls it. */
function countLags(): void {
  for (let i: u32 = 0; i < LAG_CLASSES; i++) setControl(Control.LagCount + i, 0);
  for (let i: u32 = 0; i < engine.openCount; i++) {
    add(Control.LagCount + lagClass(lagBytes(openAt(i))), 1);
  }
}

/** Updates the gauges of the control table. */
export function gauge(): void {
  const c = furthest(Form.Plain);
  const oldest = changetype<usize>(c) != 0 && c.done < plain.flushed ? c.done : plain.flushed;
  setControl(Control.Committed, plain.committed as f64);
  setControl(Control.RingUsed, (plain.committed - oldest) as f64);
  setControl(Control.Sequence, engine.sequence as f64);
  setControl(Control.ReceivePoolUsed, receivePool.used as f64);
  setControl(Control.ReplyPoolUsed, replyPool.used as f64);
  setControl(Control.BodyBytes, engine.bodyBytes as f64);
  setControl(Control.PieceBytesUsed, engine.pieceBytes as f64);
  countLags();
}

/** Returns the lag of a client in frames. Its lag in bytes is in Control.LagBytes. */
export function lag(slot: u32, generation: u32): u32 {
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || !isWebSocket(c)) return 0;
  setControl(Control.LagBytes, lagBytes(c) as f64);
  let sequence = dueSequence(c);
  if (sequence == NEVER) sequence = unflushed(c);
  return sequence == NEVER ? 0 : ((engine.sequence - sequence) as u32);
}
/** Returns true when some frames published to a client were not handed to it yet. */
export function isLagging(c: Conn): bool {
  return dueSequence(c) != NEVER || hasUnflushed(c);
}

/** Returns the lag of a client in bytes of its ring. */
export function lagBytes(c: Conn): u64 {
  if (!isWebSocket(c)) return 0;
  const ring = ringOf(c);
  if (has(c, Flag.Ordered)) return ring.committed - c.done;
  let sequence = dueSequence(c);
  if (sequence == NEVER) sequence = unflushed(c);
  return sequence == NEVER ? 0 : ring.committed - offsetIn(ring, frame(sequence));
}
