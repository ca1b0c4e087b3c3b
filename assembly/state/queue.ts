// Reply queues: the bytes for a single client (responses, `send`, echo, Close), in blocks from the reply pool.
//
// Invariant: the queue of a connection is the list of blocks from replyHead to replyTail, each with bytes in [start,
// end). `backlog` is their sum. A block carries the ring offset at which its bytes were queued, and the ring is sent up
// to that offset before them.
//
//   block   next | order flags | start | end | at (u64) | body | capacity | bytes …
//
// A body that the embedder holds is in no block. The block that represents it counts its bytes. Bodies made for a
// single response (numbers from SLOT_LIMIT on) have the same limit as the pool, and are counted in `engine.bodyBytes`.

import { Param, SLOT_LIMIT } from "../abi";
import { copy } from "../kernel/bytes";
import { Conn, Flag, State, engine, paramU32, replyPool } from "./records";
import { blockBytes, give, orderFor, take } from "./pool";
import { arm } from "./timers";
import { addReply, giveReply, isReplyScarce, mayHold, notePoolEmpty, takeReply } from "./quota";

@unmanaged
export class Block {
  next: u32;
  order: u16;
  flags: u16;
  /** Unsent bytes, as offsets in the block or in the static body. */
  start: u32;
  end: u32;
  at: u64;
  /** Number of the body that the embedder holds. */
  body: u32;
  /** Bytes that the block counts for: its own, and those of a body that the embedder holds for this response alone. */
  capacity: u32;
}

export const BLOCK_HEADER: u32 = 32;
/** Size of an ordinary block in bytes, so that pipelined responses share a block and a write. */
const BLOCK_BYTES: u32 = 4096;
/** Size of the largest block, in bytes. */
const BLOCK_LIMIT: u32 = 262144;

export namespace BlockFlag {
  /** The bytes are those of a body that the embedder holds. */
  export const Static: u16 = 1;
  /** The frame continues in the next block. */
  export const Continued: u16 = 2;
}

export function block(address: u32): Block {
  return changetype<Block>(address as usize);
}

/**
 * Takes a block with room for `bytes`, or the largest block that is available. Returns 0 when the pool is empty, or the
 * quota of the connection's address is used up.
 */
export function takeBlock(c: Conn, bytes: u32, least: u32): Block {
  let order = orderFor(replyPool, min(max(bytes + BLOCK_HEADER, least), BLOCK_LIMIT));
  let found = take(replyPool, order);
  while (found == 0 && order > 0) {
    order--;
    found = take(replyPool, order);
  }
  if (found == 0) {
    notePoolEmpty();
  } else if (!takeReply(c, blockBytes(replyPool, order))) {
    give(replyPool, found, order);
    found = 0;
  }
  const b = changetype<Block>(found);
  if (found == 0) return b;
  b.next = 0;
  b.order = order as u16;
  b.flags = 0;
  b.start = BLOCK_HEADER;
  b.end = BLOCK_HEADER;
  b.at = 0;
  b.body = 0;
  b.capacity = blockBytes(replyPool, order);
  return b;
}

export function giveBlock(c: Conn, b: Block): void {
  if (b.flags & BlockFlag.Static) engine.bodyBytes -= b.capacity - blockBytes(replyPool, b.order);
  giveReply(c, b.capacity);
  give(replyPool, changetype<usize>(b), b.order as u32);
}

// The block that receives the next bytes of the reservation.
let writeBlock = changetype<Block>(0);

function link(c: Conn, b: Block): void {
  const address = changetype<usize>(b) as u32;
  if (c.replyTail != 0) block(c.replyTail).next = address;
  else c.replyHead = address;
  c.replyTail = address;
}

/**
 * Reserves `total` bytes at the end of the queue, all or nothing, for `write` to fill at once.
 * @param at ring offset up to which the ring is sent first
 * @returns false when the pool does not have enough bytes
 */
export function reserve(c: Conn, total: u32, at: u64): bool {
  const tail = block(c.replyTail);
  let room: u32 = 0;
  // mutant reply-order: if (c.replyTail != 0 && !(tail.flags & BlockFlag.Static)) {
  if (c.replyTail != 0 && !(tail.flags & BlockFlag.Static) && tail.at == at) {
    room = tail.capacity - tail.end;
  }
  if (total <= room) {
    writeBlock = tail;
    c.backlog += total;
    return true;
  }
  let left = total - room;
  let first = changetype<Block>(0);
  let last = first;
  while (left > 0) {
    const b = takeBlock(c, left, BLOCK_BYTES);
    if (changetype<usize>(b) == 0) {
      while (changetype<usize>(first) != 0) {
        const next = block(first.next);
        giveBlock(c, first);
        first = next;
      }
      return false;
    }
    b.at = at;
    if (changetype<usize>(first) == 0) first = b;
    else {
      last.next = changetype<usize>(b) as u32;
      last.flags |= BlockFlag.Continued;
    }
    last = b;
    const holds = b.capacity - BLOCK_HEADER;
    left = left > holds ? left - holds : 0;
  }
  if (room > 0) {
    tail.flags |= BlockFlag.Continued;
    writeBlock = tail;
  } else {
    writeBlock = first;
  }
  link(c, first);
  c.replyTail = changetype<usize>(last) as u32;
  c.backlog += total;
  return true;
}

/**
 * Reserves `total` bytes before all blocks that wait for the ring, for `write` to fill at once. They may not exceed a
 * block.
 * @returns false when the pool does not have enough bytes
 */
export function reserveFirst(c: Conn, total: u32): bool {
  const b = takeBlock(c, total, 0);
  if (changetype<usize>(b) == 0) return false;
  if (b.capacity - b.end < total) {
    giveBlock(c, b);
    return false;
  }
  let before: u32 = 0;
  let next = c.replyHead;
  // The first block may be under way, and a frame that has begun is not divided.
  let isBound = c.writing != 0 || (c.flags & Flag.MidReply) != 0;
  // mutant return-first: while (next != 0) {
  while (next != 0 && (isBound || block(next).at == 0)) {
    before = next;
    isBound = (block(next).flags & BlockFlag.Continued) != 0;
    next = block(next).next;
  }
  const address = changetype<usize>(b) as u32;
  b.next = next;
  if (before == 0) c.replyHead = address;
  else block(before).next = address;
  if (next == 0) c.replyTail = address;
  writeBlock = b;
  c.backlog += total;
  return true;
}

/** Returns the bytes that the last block of a connection's queue has room for, 0 when it has none. */
export function tailRoom(c: Conn): u32 {
  if (c.replyTail == 0) return 0;
  const tail = block(c.replyTail);
  return tail.flags & BlockFlag.Static ? 0 : tail.capacity - tail.end;
}

/** Copies the next bytes of the reservation. */
export function write(source: usize, length: u32): void {
  while (length > 0) {
    let b = writeBlock;
    if (b.end == b.capacity) {
      b = block(b.next);
      writeBlock = b;
    }
    const n = min(b.capacity - b.end, length);
    copy(changetype<usize>(b) + b.end, source, n);
    b.end += n;
    source += n;
    length -= n;
  }
}

/**
 * Returns true when the embedder may hold a body for a response. A body that many responses share may always be held.
 * The other bodies together may use as many bytes as the pool has, and as many as an address may have, but a single
 * body may be larger.
 */
export function mayHoldBody(c: Conn, body: u32, length: u32): bool {
  if (body < SLOT_LIMIT) return true;
  const held = engine.bodyBytes;
  if (held != 0 && (held as u64) + (length as u64) > (paramU32(Param.ReplyPoolBytes) as u64)) {
    notePoolEmpty();
    return false;
  }
  return mayHold(c, length);
}

/** Queues a body that the embedder holds. Returns false when the pool is empty. */
export function reserveBody(c: Conn, body: u32, length: u32): bool {
  const b = takeBlock(c, 0, 0);
  if (changetype<usize>(b) == 0) return false;
  b.flags = BlockFlag.Static;
  b.body = body;
  b.start = 0;
  b.end = length;
  b.at = 0;
  if (body >= SLOT_LIMIT) {
    b.capacity += length;
    engine.bodyBytes += length;
    addReply(c, length);
  }
  link(c, b);
  c.backlog += length;
  return true;
}

/** Counts `length` bytes that have left. When the pending ping is among them, the time of its pong begins. */
function passPing(c: Conn, length: u32): void {
  if (length < c.pingQueued) {
    c.pingQueued -= length;
    return;
  }
  c.pingQueued = 0;
  if (c.state != State.Open || c.flags & Flag.PeerEnded) return;
  c.since = engine.now;
  arm(c, engine.now);
}

/** Removes `length` bytes from the front of the queue, because they were written or copied. */
export function consume(c: Conn, length: u32): void {
  const b = block(c.replyHead);
  b.start += length;
  // mutant reply-count: ;
  c.backlog -= length;
  if (c.pingQueued != 0) passPing(c, length);
  if (b.start == b.end) {
    c.replyHead = b.next;
    if (c.replyHead == 0) c.replyTail = 0;
    giveBlock(c, b);
  }
}

/** Frees the whole queue. With `keepFirst` the first block stays, because the transport still reads it. */
export function dropQueue(c: Conn, keepFirst: bool): void {
  let b = block(c.replyHead);
  if (keepFirst && c.replyHead != 0) {
    const kept = b;
    b = block(kept.next);
    kept.next = 0;
    c.replyTail = c.replyHead;
  } else {
    c.replyHead = 0;
    c.replyTail = 0;
  }
  while (changetype<usize>(b) != 0) {
    const next = block(b.next);
    giveBlock(c, b);
    b = next;
  }
  c.backlog = 0;
  c.pingQueued = 0;
}

/**
 * Returns true when the reply pool, or the quota of the connection's address, is three quarters used. The rest is
 * reserved for clients that read.
 */
export function isScarce(c: Conn): bool {
  if (isReplyScarce(c)) return true;
  const bytes = paramU32(Param.ReplyPoolBytes);
  return max(replyPool.used, engine.bodyBytes) > bytes - (bytes >> 2);
}

/** Returns the bytes of the blocks that a connection holds, and of the bodies that the embedder holds for it. */
export function heldReply(c: Conn): u32 {
  let held: u32 = 0;
  for (let b = c.replyHead; b != 0; b = block(b).next) held += block(b).capacity;
  if (c.sending != 0) held += block(c.sending).capacity;
  if (c.pong != 0) held += block(c.pong).capacity;
  return held;
}
