// What is counted for an address: its connections, and the bytes of the pools they hold. A table of fixed size: a
// record for each address that has a slot, found by its hash.
//
// Invariant: a connection is counted in at most one tally, from `enroll` until `discharge` (it ends) and
// `forgetAddress` (its slot is freed). IPv6 is counted by its /64: who has one has all of it. Two addresses never
// share a tally, whatever their hashes. Bytes are counted where they are bounded: those of all its slots, as they are
// taken and given back.

import { CloseReason, Control, Param, Rule } from "../abi";
import { broken } from "./events";
import { ADDRESS } from "../kernel/address";
import { Conn, State, engine, param, paramU32, receivePool, setControl } from "./records";
import { at } from "./slots";
import { TALLY_BYTES } from "../plan";
import { blockBytes } from "./pool";

@unmanaged
export class Tally {
  /** The IPv4 address, or the first half of the IPv6 one. */
  key: u64;
  /** 1: IPv4. */
  isIPv4: u32;
  /** Next of the same bucket, or of the free list; 0: none. */
  next: u32;
  /** Slots that are taken by it; dead ones included. With the last one it is forgotten. */
  slots: u32;
  /** Those of them whose connection has not ended. */
  connections: u32;
  /** Bytes that its slots hold of the receive pool, of the reply pool. */
  receive: u32;
  reply: u32;
  /** 1: a block was refused: Drain is owed when it holds half of what it may. */
  wanted: u32;
  /** Bytes that its slots have handed back to the host, for want of a buffer. */
  returned: u32;
}

if (offsetof<Tally>() != (TALLY_BYTES as usize)) ERROR("TALLY_BYTES");

function tally(number: u32): Tally {
  return changetype<Tally>(engine.tallies + (number as usize) * (TALLY_BYTES as usize));
}

/** Mixed with the engine's seed: who picks addresses cannot pick their buckets. */
function bucketOf(key: u64, isIPv4: u32): usize {
  let hash = (key ^ ((paramU32(Param.Seed) as u64) << 32) ^ (isIPv4 as u64)) * 0x1b873593cc9e2d;
  hash ^= hash >> 29;
  hash *= 0x16a09e667f3bcd;
  hash ^= hash >> 32;
  return engine.tallyBuckets + (((hash as u32) & engine.tallyMask) << 2);
}

// The address that was read last, as a key.
let key: u64 = 0;
let isIPv4: u32 = 0;

function takeKey(): void {
  key = load<u64>(ADDRESS);
  isIPv4 = key == 0 && load<u32>(ADDRESS, 8) == 0xffff0000 ? 1 : 0;
  if (isIPv4 != 0) key = load<u32>(ADDRESS, 12) as u64;
}

/** The number of the tally of the address that was read last; 0: there is none. */
function findTally(): u32 {
  takeKey();
  let number = load<u32>(bucketOf(key, isIPv4));
  while (number != 0) {
    const t = tally(number);
    if (t.key == key && t.isIPv4 == isIPv4) break;
    number = t.next;
  }
  return number;
}

function noteCount(change: i32): void {
  engine.tallyCount += change;
  setControl(Control.AddressCount, engine.tallyCount as f64);
}

/** A new tally, for the key at hand. There is always room: each one that is taken has a slot of its own. */
function addTally(): u32 {
  const bucket = bucketOf(key, isIPv4);
  let number = engine.freeTally;
  if (number != 0) {
    engine.freeTally = tally(number).next;
  } else {
    engine.talliesUsed++;
    number = engine.talliesUsed;
  }
  const t = tally(number);
  memory.fill(changetype<usize>(t), 0, TALLY_BYTES as usize);
  t.key = key;
  t.isIPv4 = isIPv4;
  t.next = load<u32>(bucket);
  store<u32>(bucket, number);
  noteCount(1);
  return number;
}

function dropTally(number: u32): void {
  const t = tally(number);
  let link = bucketOf(t.key, t.isIPv4);
  while (load<u32>(link) != number)
    link = changetype<usize>(tally(load<u32>(link))) + offsetof<Tally>("next");
  store<u32>(link, t.next);
  t.next = engine.freeTally;
  engine.freeTally = number;
  noteCount(-1);
}

/** True when the address that was read last has as many connections as it may. */
export function isAddressFull(): bool {
  const limit = paramU32(Param.AddressConnections);
  if (limit == 0) return false;
  const number = findTally();
  return number != 0 && tally(number).connections >= limit;
}

/** Counts a connection that is not counted yet under the address that was read last. */
export function enroll(c: Conn): void {
  const found = findTally();
  const number = found != 0 ? found : addTally();
  const t = tally(number);
  t.slots++;
  t.connections++;
  if (paramU32(Param.AddressReceiveBytes) != 0) t.receive += heldBuffer(c);
  t.reply += c.replyBytes;
  t.returned += c.returned;
  c.address = number;
}

/**
 * Counts a connection under the address that was read last, and under no other any more.
 * @returns false: that has as many as it may, it is counted under none
 */
export function move(c: Conn): bool {
  discharge(c);
  forgetAddress(c);
  if (isAddressFull()) return false;
  enroll(c);
  return true;
}

/** A connection has ended. */
export function discharge(c: Conn): void {
  if (c.address != 0) tally(c.address).connections--;
}

/** The slot of a connection that has ended is freed. */
export function forgetAddress(c: Conn): void {
  if (c.address == 0) return;
  const t = tally(c.address);
  t.slots--;
  if (paramU32(Param.AddressReceiveBytes) != 0) t.receive -= heldBuffer(c);
  t.reply -= c.replyBytes;
  t.returned -= c.returned;
  if (t.slots == 0) dropTally(c.address);
  c.address = 0;
}

// ---- bytes -------------------------------------------------------------------------------------------

/** True when `held` bytes and so many more are more than a bound allows. */
function exceeds(held: u32, bytes: u32, bound: u32): bool {
  return (held as u64) + (bytes as u64) > (paramU32(bound) as u64);
}

/** Bytes of a connection's receive buffer. */
function heldBuffer(c: Conn): u32 {
  return c.buffer == 0 ? 0 : blockBytes(receivePool, c.order);
}

/** True when a connection may not have a receive buffer of an order, for what its address holds. */
export function isReceiveFull(c: Conn, order: u32): bool {
  const limit = paramU32(Param.AddressReceiveBytes);
  if (limit == 0 || c.address == 0) return false;
  return tally(c.address).receive - heldBuffer(c) + blockBytes(receivePool, order) > limit;
}

/** A connection has a receive buffer more, or for a negative number one less. */
export function countBuffer(c: Conn, bytes: i32): void {
  if (paramU32(Param.AddressReceiveBytes) != 0 && c.address != 0) tally(c.address).receive += bytes;
}

/** The host holds so many bytes more for a connection, that found no buffer, or for a negative number so many less. */
export function countReturned(c: Conn, bytes: i32): void {
  c.returned += bytes;
  engine.returned += bytes;
  if (c.address != 0) tally(c.address).returned += bytes;
}

/** True when `held` bytes and so many more exceed what the host may hold: a quarter of a bound, or four windows. */
function overflows(held: u32, bytes: u32, bound: u32): bool {
  return held + bytes > max(paramU32(bound) >> 2, paramU32(Param.WindowBytes) << 2);
}

/** Why the host may not hold so many bytes more that found no buffer; 0: it may. */
export function returnRefusal(c: Conn, bytes: u32): i32 {
  const isBound = param(Param.AddressReceiveBytes) != 0 && c.address != 0;
  if (isBound && overflows(tally(c.address).returned, bytes, Param.AddressReceiveBytes))
    return CloseReason.AddressBuffers;
  if (overflows(engine.returned, bytes, Param.ReceivePoolBytes)) return CloseReason.NoBuffer;
  return 0;
}

/** Why a connection that asked for a receive buffer has none. */
export function noBuffer(c: Conn): i32 {
  return isReceiveFull(c, c.waitOrder as u32) ? CloseReason.AddressBuffers : CloseReason.NoBuffer;
}

/** The last reply block that was not to be had was refused for what its address holds. */
let isRefused: bool = false;

/** The pool has no reply block. */
export function notePoolEmpty(): void {
  isRefused = false;
}

/** Why there was no reply block. */
export function noBlock(): i32 {
  return isRefused ? CloseReason.AddressBuffers : CloseReason.NoBuffer;
}

/** Takes note of a reply block; false when the address holds as much as it may. */
export function takeReply(c: Conn, bytes: u32): bool {
  // Most often there is no bound: that costs a compare.
  if (param(Param.AddressReplyBytes) == 0) return true;
  isRefused = false;
  if (c.address != 0) {
    const t = tally(c.address);
    isRefused = exceeds(t.reply, bytes, Param.AddressReplyBytes);
    if (isRefused) {
      t.wanted = 1;
      return false;
    }
  }
  addReply(c, bytes);
  return true;
}

/** Takes note of bytes that are held for a connection's answers, whatever its address holds. */
export function addReply(c: Conn, bytes: u32): void {
  if (param(Param.AddressReplyBytes) == 0) return;
  if (c.address != 0) tally(c.address).reply += bytes;
  c.replyBytes += bytes;
}

/** True when the host may hold so many bytes for an answer: an address that holds nothing else may be given any. */
export function mayHold(c: Conn, bytes: u32): bool {
  if (param(Param.AddressReplyBytes) == 0 || c.address == 0) return true;
  const t = tally(c.address);
  isRefused = t.reply != c.replyBytes && exceeds(t.reply, bytes, Param.AddressReplyBytes);
  return !isRefused;
}

/** A reply block is given back. */
export function giveReply(c: Conn, bytes: u32): void {
  if (param(Param.AddressReplyBytes) == 0) return;
  c.replyBytes -= bytes;
  if (c.address == 0) return;
  const t = tally(c.address);
  t.reply -= bytes;
  if (t.wanted == 0 || t.reply > paramU32(Param.AddressReplyBytes) >> 1) return;
  t.wanted = 0;
  engine.replyFull = 1;
}

/** True when an address holds more than three quarters of the reply blocks it may. */
export function isReplyScarce(c: Conn): bool {
  if (param(Param.AddressReplyBytes) == 0 || c.address == 0) return false;
  const limit = paramU32(Param.AddressReplyBytes);
  return tally(c.address).reply > limit - (limit >> 2);
}

/** True when Drain has to wait until an address holds half of what it may: it is told then. */
export function putDrainOff(c: Conn): bool {
  if (param(Param.AddressReplyBytes) == 0 || c.address == 0) return false;
  if (tally(c.address).reply <= paramU32(Param.AddressReplyBytes) >> 1) return false;
  tally(c.address).wanted = 1;
  return true;
}

/** Checks one tally against the slots. */
function checkTally(number: u32): u32 {
  const t = tally(number);
  let slots: u32 = 0;
  let connections: u32 = 0;
  let receive: u32 = 0;
  let reply: u32 = 0;
  let returned: u32 = 0;
  for (let i: u32 = 0; i < engine.allSlots; i++) {
    const c = at(i);
    if (c.state == State.Free || c.address != number) continue;
    slots++;
    if (c.state != State.Dead) connections++;
    receive += heldBuffer(c);
    reply += c.replyBytes;
    returned += c.returned;
  }
  if (paramU32(Param.AddressReceiveBytes) != 0 && receive != t.receive)
    return broken(Rule.AddressReceive, number, t.receive as f64, receive as f64);
  if (reply != t.reply) return broken(Rule.AddressReply, number, t.reply as f64, reply as f64);
  if (returned != t.returned)
    return broken(Rule.AddressReturned, number, t.returned as f64, returned as f64);
  if (slots == 0 || slots != t.slots)
    return broken(Rule.AddressSlots, number, t.slots as f64, slots as f64);
  if (connections == t.connections) return Rule.Ok;
  return broken(Rule.AddressConnections, number, t.connections as f64, connections as f64);
}

/** Checks the table; 0, or the first Rule that does not hold. */
export function checkTallies(): u32 {
  let count: u32 = 0;
  for (let bucket: u32 = 0; bucket <= engine.tallyMask; bucket++) {
    const first = engine.tallyBuckets + ((bucket as usize) << 2);
    for (let number = load<u32>(first); number != 0; number = tally(number).next) {
      const failed = checkTally(number);
      if (failed != 0) return failed;
      count++;
    }
  }
  if (count == engine.tallyCount) return Rule.Ok;
  return broken(Rule.AddressCount, 0, engine.tallyCount as f64, count as f64);
}
