// Quotas of addresses: their connections, and the bytes of the pools that those hold. The table has a fixed size, and a
// record for each address that has a slot, found by its hash.
//
// Invariant: a connection is counted in at most one tally, from `enroll` until `discharge` (it ends) and
// `forgetAddress` (its slot is freed). IPv6 is counted by its /64, because a client that has one address of it has all
// of them. Two addresses never share a tally, whatever their hashes. Where bytes have a quota they are counted for all
// slots of an address as they are taken and freed.

import { CloseReason, Control, Param, Rule } from "../abi";
import { broken } from "./events";
import { ADDRESS } from "../kernel/address";
import { Conn, State, engine, param, paramU32, receivePool, setControl } from "./records";
import { at } from "./slots";
import { TALLY_BYTES } from "../plan";
import { blockBytes } from "./pool";

@unmanaged
export class Tally {
  /** The IPv4 address, or the first half of the IPv6 address. */
  key: u64;
  /** 1 for IPv4. */
  isIPv4: u32;
  /** Next tally of the same bucket or of the free list, 0 for none. */
  next: u32;
  /** Slots that the address uses, including those of ended connections. The tally is freed with the last one. */
  slots: u32;
  /** Slots whose connection has not ended. */
  connections: u32;
  /** Bytes of the receive pool and of the reply pool that its slots hold. */
  receive: u32;
  reply: u32;
  /** 1 when a block was refused. Drain follows when the address holds half of its quota. */
  wanted: u32;
  /** Bytes that its slots have returned to the embedder because there was no buffer. */
  returned: u32;
}

if (offsetof<Tally>() != (TALLY_BYTES as usize)) ERROR("TALLY_BYTES");

function tally(number: u32): Tally {
  return changetype<Tally>(engine.tallies + (number as usize) * (TALLY_BYTES as usize));
}

/**
 * Returns the bucket of an address. The hash is mixed with the engine's seed, so that clients cannot pick the bucket.
 */
function bucketOf(key: u64, isIPv4: u32): usize {
  let hash = (key ^ ((paramU32(Param.Seed) as u64) << 32) ^ (isIPv4 as u64)) * 0x1b873593cc9e2d;
  hash ^= hash >> 29;
  hash *= 0x16a09e667f3bcd;
  hash ^= hash >> 32;
  return engine.tallyBuckets + (((hash as u32) & engine.tallyMask) << 2);
}

/** The address that was read last, as a key. */
@unmanaged
class AddressKey {
  key: u64;
  isIPv4: u32;
}

const current = changetype<AddressKey>(memory.data(16, 8));

function takeKey(): void {
  current.key = load<u64>(ADDRESS);
  current.isIPv4 = current.key == 0 && load<u32>(ADDRESS, 8) == 0xffff0000 ? 1 : 0;
  if (current.isIPv4 != 0) current.key = load<u32>(ADDRESS, 12) as u64;
}

/** Returns the number of the tally of the address that was read last, 0 when it has none. */
function findTally(): u32 {
  takeKey();
  let number = load<u32>(bucketOf(current.key, current.isIPv4));
  while (number != 0) {
    const t = tally(number);
    if (t.key == current.key && t.isIPv4 == current.isIPv4) break;
    number = t.next;
  }
  return number;
}

function noteCount(change: i32): void {
  engine.tallyCount += change;
  setControl(Control.AddressCount, engine.tallyCount as f64);
}

/** Adds a tally for the current key. There is always room, because each tally in use has a slot of its own. */
function addTally(): u32 {
  const bucket = bucketOf(current.key, current.isIPv4);
  let number = engine.freeTally;
  if (number != 0) {
    engine.freeTally = tally(number).next;
  } else {
    engine.talliesUsed++;
    number = engine.talliesUsed;
  }
  const t = tally(number);
  memory.fill(changetype<usize>(t), 0, TALLY_BYTES as usize);
  t.key = current.key;
  t.isIPv4 = current.isIPv4;
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

/** Returns true when the address that was read last has reached its limit of connections. */
export function isAddressFull(): bool {
  const limit = paramU32(Param.AddressConnections);
  if (limit == 0) return false;
  const number = findTally();
  return number != 0 && tally(number).connections >= limit;
}

/** Counts a connection under the address that was read last. The connection must not be counted yet. */
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
 * Counts a connection under the address that was read last, instead of under its previous one.
 * @returns false when that address has reached its limit, and the connection is counted under none
 */
export function move(c: Conn): bool {
  discharge(c);
  forgetAddress(c);
  if (isAddressFull()) return false;
  enroll(c);
  return true;
}

/** Stops counting a connection that has ended. Its slot still counts. */
export function discharge(c: Conn): void {
  if (c.address != 0) tally(c.address).connections--;
}

/** Stops counting the slot of an ended connection, which is being freed. */
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

/** Returns true when `held + bytes` exceeds the parameter `bound`. */
function exceeds(held: u32, bytes: u32, bound: u32): bool {
  return (held as u64) + (bytes as u64) > (paramU32(bound) as u64);
}

/** Returns the size of a connection's receive buffer in bytes. */
function heldBuffer(c: Conn): u32 {
  return c.buffer == 0 ? 0 : blockBytes(receivePool, c.order);
}

/** Returns true when the quota of its address forbids a connection a receive buffer of an order. */
export function isReceiveFull(c: Conn, order: u32): bool {
  const limit = paramU32(Param.AddressReceiveBytes);
  if (limit == 0 || c.address == 0) return false;
  return tally(c.address).receive - heldBuffer(c) + blockBytes(receivePool, order) > limit;
}

/** Adds `bytes`, which may be negative, to the receive buffers of the connection's address. */
export function countBuffer(c: Conn, bytes: i32): void {
  if (paramU32(Param.AddressReceiveBytes) != 0 && c.address != 0) tally(c.address).receive += bytes;
}

/** Adds `bytes`, which may be negative, to the bytes returned to the embedder because there was no buffer. */
export function countReturned(c: Conn, bytes: i32): void {
  c.returned += bytes;
  engine.returned += bytes;
  if (c.address != 0) tally(c.address).returned += bytes;
}

/** Returns true when `held + bytes` exceeds the limit of returned bytes, a quarter of `bound` or four windows. */
function overflows(held: u32, bytes: u32, bound: u32): bool {
  return held + bytes > max(paramU32(bound) >> 2, paramU32(Param.WindowBytes) << 2);
}

/** Returns the reason why the embedder may not hold `bytes` more without a buffer, 0 when it may. */
export function returnRefusal(c: Conn, bytes: u32): i32 {
  const isBound = param(Param.AddressReceiveBytes) != 0 && c.address != 0;
  if (isBound && overflows(tally(c.address).returned, bytes, Param.AddressReceiveBytes))
    return CloseReason.AddressBuffers;
  if (overflows(engine.returned, bytes, Param.ReceivePoolBytes)) return CloseReason.NoBuffer;
  return 0;
}

/** Returns the reason why a connection has no receive buffer. */
export function noBuffer(c: Conn): i32 {
  return isReceiveFull(c, c.waitOrder as u32) ? CloseReason.AddressBuffers : CloseReason.NoBuffer;
}

/** Whether the last missing reply block was refused by its address's quota. */
let isRefused: bool = false;

/** Records that the pool has no reply block. */
export function notePoolEmpty(): void {
  isRefused = false;
}

/** Returns the reason why there was no reply block. */
export function noBlock(): i32 {
  return isRefused ? CloseReason.AddressBuffers : CloseReason.NoBuffer;
}

/** Counts a reply block. Returns false when the quota of the address is used up. */
export function takeReply(c: Conn, bytes: u32): bool {
  // Usually there is no quota, which costs one compare.
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

/** Counts bytes held for a connection's responses, whatever its address holds. */
export function addReply(c: Conn, bytes: u32): void {
  if (param(Param.AddressReplyBytes) == 0) return;
  if (c.address != 0) tally(c.address).reply += bytes;
  c.replyBytes += bytes;
}

/** Returns true when the embedder may hold `bytes` for a response. An address that holds nothing else has no limit. */
export function mayHold(c: Conn, bytes: u32): bool {
  if (param(Param.AddressReplyBytes) == 0 || c.address == 0) return true;
  const t = tally(c.address);
  isRefused = t.reply != c.replyBytes && exceeds(t.reply, bytes, Param.AddressReplyBytes);
  return !isRefused;
}

/** Stops counting a reply block. */
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

/** Returns true when an address holds more than three quarters of its quota of reply blocks. */
export function isReplyScarce(c: Conn): bool {
  if (param(Param.AddressReplyBytes) == 0 || c.address == 0) return false;
  const limit = paramU32(Param.AddressReplyBytes);
  return tally(c.address).reply > limit - (limit >> 2);
}

/** Returns true when Drain must wait until the address holds half of its quota. Then it is emitted. */
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

/** Checks the table. Returns Rule.Ok, or the first Rule that is broken. */
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
