// How fast a client may send messages, and how slow it may be: to send the body or message it has begun, and to read
// what it is sent.
//
// Invariant: time in which the host did not read or parse is never held against a client; `pardon` gives it
// back. A rate that is 0 costs a compare.
//
//   messages   each takes 1000 / rate ms of a time of its own, which may be ahead of the clock by those of a burst
//   bytes      a deadline: each byte moves it on by 1000 / rate ms, but never beyond the grace from now, and what a
//              write takes. So the average counts, and nobody saves up for a long silence.

import { Param } from "../abi";
import { Conn, Flag, engine, has, param } from "./records";
import { at } from "./slots";

/** ms that so many bytes take at a rate. */
function msOf(bytes: f64, rate: f64): f64 {
  return (bytes * 1000) / rate;
}

// ---- messages ----------------------------------------------------------------------------------------

/** What floating point may lose, in ms. */
const SLACK: f64 = 0.001;

/** Takes a message in, where their rate is limited; true when it is one too many. */
export function isFlooding(c: Conn): bool {
  const rate = param(Param.MessageRate);
  const burst = param(Param.MessageBurst);
  const each = 1000 / rate;
  const now = engine.now;
  // As long as the time that was given back has not passed again, the past counts.
  const floor = c.creditEnd > now ? now + now - c.creditEnd : now;
  if (c.messageTime < floor) c.messageTime = floor;
  if (c.messageTime - now > ((burst == 0 ? rate : burst) - 1) * each + SLACK) return true;
  c.messageTime += each;
  return false;
}

/** Gives back what `isFlooding` took for a message that will be parsed again. */
export function refund(c: Conn): void {
  c.messageTime -= 1000 / param(Param.MessageRate);
}

/** From `since` on until now the connection was not read, or not parsed, for reasons of ours. */
export function pardon(c: Conn, since: f64): void {
  const ms = engine.now - since;
  if (c.inDue != 0) c.inDue += ms;
  c.creditEnd = max(c.creditEnd, engine.now) + ms;
}

// ---- bytes -------------------------------------------------------------------------------------------

/** Bytes that the call at hand has brought. */
export let fedBytes: u32 = 0;

export function noteFed(bytes: u32): void {
  fedBytes = bytes;
}

/**
 * What has been fed is of a body or message that is not whole.
 * @returns true when it is the first of it: there is a deadline from now on
 */
export function paceIn(c: Conn): bool {
  const rate = param(Param.ReceiveRate);
  if (rate == 0) return false;
  const most = engine.now + param(Param.RateGrace);
  const isFirst = c.inDue == 0;
  c.inDue = isFirst ? most : min(c.inDue + msOf(fedBytes as f64, rate), most);
  return isFirst;
}

/** A body or message is whole, or begins: what was held against the one before is no more. */
export function endPaceIn(c: Conn): void {
  if (param(Param.ReceiveRate) != 0) c.inDue = 0;
}

/** When a body or message that arrives will be too slow; Infinity: nothing is held against it. */
export function slowInAt(c: Conn): f64 {
  return c.inDue == 0 || has(c, Flag.Held) ? Infinity : c.inDue;
}

export function isSlowIn(c: Conn): bool {
  return engine.now >= slowInAt(c);
}

/** A write did not complete at once. */
export function paceOut(c: Conn): void {
  const rate = param(Param.SendRate);
  if (rate == 0) return;
  const takes = msOf(c.writingBytes as f64, rate);
  const most = engine.now + mostAhead() + takes;
  c.outDue = c.outDue == 0 ? most : min(c.outDue + takes, most);
}

/**
 * Bytes that a client's kernel acknowledges at once, when its process has read as many. Measured on Linux, over
 * loopback: 33 to 129 kB; with a buffer that a fast reader has grown 328 kB.
 */
const STEP: f64 = 131072;

/** ms that the slowest reader may take to the next acknowledgement; 0: there is no such rate, or nobody can tell. */
export function stepTime(): f64 {
  const rate = param(Param.SendRate);
  return rate == 0 || engine.measures == 0 ? 0 : msOf(STEP, rate);
}

/** How far ahead of the clock acknowledged bytes may move a deadline, in ms. */
function mostAhead(): f64 {
  return max(param(Param.RateGrace), stepTime());
}

/** Bytes have been acknowledged: they move the deadline on, never beyond the grace, or a step, from now. */
export function creditOut(c: Conn, bytes: u32): void {
  const rate = param(Param.SendRate);
  if (rate == 0 || c.outDue == 0) return;
  const most = engine.now + mostAhead();
  c.outDue = max(c.outDue, min(c.outDue + msOf(bytes as f64, rate), most));
}

/** All has been handed over: from now on what the kernel holds has to be acknowledged at the rate. */
export function beginPaceOut(c: Conn): void {
  c.outDue = param(Param.SendRate) == 0 ? 0 : engine.now + mostAhead();
}

/** A client has read all there was, or as fast as it came. */
export function endPaceOut(c: Conn): void {
  if (c.outDue != 0) c.outDue = 0;
}

/** When a client that reads will be too slow; Infinity: nothing is held against it. */
export function slowOutAt(c: Conn): f64 {
  return c.outDue == 0 ? Infinity : c.outDue;
}

/** A rate has changed: all begin anew. */
export function forgetPaces(): void {
  for (let i: u32 = 0; i < engine.allSlots; i++) {
    at(i).inDue = 0;
    at(i).outDue = 0;
  }
}
