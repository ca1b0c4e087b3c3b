// Rate limits: how fast a client may send messages, how slowly it may send a body or message that it has begun, and how
// slowly it may read.
//
// Invariant: time in which the embedder did not read or parse never counts against a client, because `creditTime`
// credits it. A rate of 0 costs one compare.
//
//   messages   each uses 1000 / rate ms of the connection's message time, which may be one burst ahead of the clock
//   bytes      each byte moves a deadline on by 1000 / rate ms, at most to the grace from now plus the time of a
//              write, so the average counts and a long silence earns no credit

import { Param } from "../abi";
import { isWebSocket, Conn, Flag, engine, has, param, WebSocketConn, webSocketOf } from "./records";
import { at } from "./slots";

/** Returns the ms that `bytes` take at a rate. */
function msOf(bytes: f64, rate: f64): f64 {
  return (bytes * 1000) / rate;
}

// ---- messages ----------------------------------------------------------------------------------------

/** Tolerance for rounding errors, in ms. */
const SLACK: f64 = 0.001;

/** Counts a message where the rate is limited. Returns true when it exceeds the limit. */
export function isFlooding(c: WebSocketConn): bool {
  const rate = param(Param.MessageRate);
  const burst = param(Param.MessageBurst);
  const each = 1000 / rate;
  const now = engine.now;
  // Until credited time has passed again, the past counts.
  const floor = c.creditEnd > now ? now + now - c.creditEnd : now;
  if (c.messageTime < floor) c.messageTime = floor;
  if (c.messageTime - now > ((burst == 0 ? rate : burst) - 1) * each + SLACK) return true;
  c.messageTime += each;
  return false;
}

/** Refunds the time that `isFlooding` counted for a message that will be parsed again. */
export function refund(c: Conn): void {
  webSocketOf(c).messageTime -= 1000 / param(Param.MessageRate);
}

/** Credits the time since `since`, in which the connection was not read or parsed for reasons of the server. */
export function creditTime(c: Conn, since: f64): void {
  const ms = engine.now - since;
  if (c.inDue != 0) c.inDue += ms;
  if (isWebSocket(c)) webSocketOf(c).creditEnd = max(webSocketOf(c).creditEnd, engine.now) + ms;
}

// ---- bytes -------------------------------------------------------------------------------------------

/** Bytes that the current call was fed. */
export let fedBytes: u32 = 0;

export function noteFed(bytes: u32): void {
  fedBytes = bytes;
}

/**
 * Moves the deadline of a body or message that is not whole by the bytes that were fed.
 * @returns true for its first bytes, when the deadline begins
 */
export function paceIn(c: Conn): bool {
  const rate = param(Param.ReceiveRate);
  if (rate == 0) return false;
  const most = engine.now + param(Param.RateGrace);
  const isFirst = c.inDue == 0;
  c.inDue = isFirst ? most : min(c.inDue + msOf(fedBytes as f64, rate), most);
  return isFirst;
}

/** Clears the deadline, because a body or message is whole or a new one begins. */
export function endPaceIn(c: Conn): void {
  if (param(Param.ReceiveRate) != 0) c.inDue = 0;
}

/** Returns the deadline of the body or message that is arriving, Infinity when none applies. */
export function slowInAt(c: Conn): f64 {
  return c.inDue == 0 || has(c, Flag.Held) ? Infinity : c.inDue;
}

export function isSlowIn(c: Conn): bool {
  return engine.now >= slowInAt(c);
}

/** Moves the deadline of a client that reads, because a write did not complete at once. */
export function paceOut(c: Conn): void {
  const rate = param(Param.SendRate);
  if (rate == 0) return;
  // mutant rate-write: const takes: f64 = 0;
  const takes = msOf(c.writingBytes as f64, rate);
  const most = engine.now + mostAhead() + takes;
  c.outDue = c.outDue == 0 ? most : min(c.outDue + takes, most);
}

/**
 * Bytes that a client's kernel acknowledges at once, after its process has read as many. Measured on Linux over
 * loopback: 33 to 129 kB, and 328 kB with a buffer that a fast reader has grown.
 */
const STEP: f64 = 131072;

/**
 * Returns the ms that the slowest reader may take until the next acknowledgement. 0 means that there is no such rate,
 * or that send queues cannot be read.
 */
export function stepTime(): f64 {
  const rate = param(Param.SendRate);
  return rate == 0 || engine.measures == 0 ? 0 : msOf(STEP, rate);
}

/** Returns how far ahead of the clock acknowledged bytes may move a deadline, in ms. */
function mostAhead(): f64 {
  // mutant rate-step (life): return param(Param.RateGrace);
  return max(param(Param.RateGrace), stepTime());
}

/** Moves the deadline on for acknowledged bytes, but never further ahead than `mostAhead`. */
export function creditOut(c: Conn, bytes: u32): void {
  const rate = param(Param.SendRate);
  if (rate == 0 || c.outDue == 0) return;
  const most = engine.now + mostAhead();
  // mutant rate-credit (life): c.outDue = most;
  c.outDue = max(c.outDue, min(c.outDue + msOf(bytes as f64, rate), most));
}

/**
 * Starts the deadline when all bytes were handed to the kernel. From now on it must get them acknowledged at the rate.
 */
export function beginPaceOut(c: Conn): void {
  c.outDue = param(Param.SendRate) == 0 ? 0 : engine.now + mostAhead();
}

/** Clears the deadline of a client that has read all bytes, or reads them as fast as they arrive. */
export function endPaceOut(c: Conn): void {
  if (c.outDue != 0) c.outDue = 0;
}

/** Returns the deadline of a client that reads, Infinity when none applies. */
export function slowOutAt(c: Conn): f64 {
  return c.outDue == 0 ? Infinity : c.outDue;
}

/** Clears all deadlines, because a rate has changed. */
export function forgetPaces(): void {
  for (let i: u32 = 0; i < engine.allSlots; i++) {
    at(i).inDue = 0;
    at(i).outDue = 0;
  }
}
