// What goes out next: one row of the write table for one client.
//
// Invariant: a client has at most one write outstanding. Its bytes go out in the order of the calls: the
// ring up to the offset at which a reply was queued, then the reply. Between the pieces of one frame
// nothing else goes; the pending pong goes between frames.

import {
  Control,
  ROW_BODY,
  ROW_BYTES,
  ROW_KIND,
  ROW_LAST,
  ROW_LENGTH,
  ROW_OFFSET,
  ROW_SLOT,
  ROW_STATE,
  RowKind,
  RowState,
} from "./abi";
import { copy } from "./bytes";
import { Conn, Flag, add, engine, has, isWebSocket } from "./conn";
import { BLOCK_HEADER, Block, BlockFlag, block, consume, giveBlock, takeBlock } from "./reply";
import { Ring, address, frame, offsetIn, ringOf, sequenceAt } from "./ring";

/** Pieces below this do not deserve a write of their own when another follows. */
const GATHER_PIECE: u32 = 512;
const GATHER_BYTES: u32 = 4096;

// The piece that `peek` found.
let kind: u32 = 0;
let from: usize = 0;
let length: u32 = 0;
let end: u64 = 0;
let body: u32 = 0;
let last: u32 = 0;
let isPong: bool = false;

/** Moves a cursor over the skipped end of a lap. */
function normalize(c: Conn, ring: Ring): void {
  if (c.handed >= ring.skipFrom && c.handed < ring.skipTo) c.handed = ring.skipTo;
}

/** Finds the next piece of a client's bytes; false when it has none. `runBytes` limits it. */
function peek(c: Conn, runBytes: u32): bool {
  isPong = false;
  body = 0;
  last = 0;
  const b = block(c.replyHead);
  if (c.replyHead != 0 && !has(c, Flag.MidFrame) && (!isWebSocket(c) || b.at <= c.handed)) {
    length = b.end - b.start;
    if (b.flags & BlockFlag.Static) {
      kind = RowKind.Static;
      from = b.start as usize;
      body = b.body;
      if (length > runBytes) length = runBytes;
      last = b.start + length == b.end ? 1 : 0;
    } else {
      kind = RowKind.Block;
      from = changetype<usize>(b) + b.start;
    }
    return true;
  }
  if (c.pong != 0 && !has(c, Flag.MidFrame | Flag.MidReply)) {
    const pong = block(c.pong);
    kind = RowKind.Block;
    from = changetype<usize>(pong) + pong.start;
    length = pong.end - pong.start;
    isPong = true;
    return true;
  }
  if (!isWebSocket(c)) return false;
  if (c.replyHead == 0 && has(c, Flag.CloseQueued)) return false;
  const ring = ringOf(c);
  normalize(c, ring);
  end = c.replyHead != 0 ? b.at : ring.committed;
  if (c.handed >= end) return false;
  if (c.handed < ring.skipFrom && end > ring.skipFrom) end = ring.skipFrom;
  if (end - c.handed > (runBytes as u64)) end = c.handed + (runBytes as u64);
  kind = ring.index == 0 ? RowKind.Ring : RowKind.DeflateRing;
  from = address(ring, c.handed);
  length = (end - c.handed) as u32;
  return true;
}

/** True when a piece that ends where the peeked one does is followed by another. */
function follows(c: Conn): bool {
  if (kind == RowKind.Static) return false;
  const committed = ringOf(c).committed;
  if (isPong) return c.handed < committed;
  if (kind == RowKind.Block) {
    return block(c.replyHead).next != 0 || (isWebSocket(c) && c.handed < committed);
  }
  return (c.replyHead != 0 && block(c.replyHead).at <= end) || end < committed;
}

/** Moves the ring cursor to the end of the peeked run. */
function advance(c: Conn): void {
  const ring = ringOf(c);
  c.handed = end;
  if (end == ring.committed) {
    c.sequence = engine.sequence;
    c.flags &= ~Flag.MidFrame;
    return;
  }
  c.sequence = sequenceAt(ring, end == ring.skipFrom ? ring.skipTo : end);
  if (end != ring.skipFrom && offsetIn(ring, frame(c.sequence)) < end) c.flags |= Flag.MidFrame;
  else c.flags &= ~Flag.MidFrame;
}

/** Notes whether the reply block that goes out leaves its frame unfinished. */
function markReply(c: Conn, b: Block, n: u32): void {
  if (b.flags & BlockFlag.Continued || b.start + n < b.end) c.flags |= Flag.MidReply;
  else c.flags &= ~Flag.MidReply;
}

/** Copies small pieces that do not touch into one block, and hands that over. */
function gather(c: Conn, runBytes: u32): bool {
  const b = takeBlock(GATHER_BYTES - BLOCK_HEADER, 0);
  if (changetype<usize>(b) == 0) return false;
  do {
    if (kind == RowKind.Static || length > b.capacity - b.end) break;
    if (length > GATHER_PIECE && b.end > BLOCK_HEADER) break;
    copy(changetype<usize>(b) + b.end, from, length);
    b.end += length;
    if (isPong) {
      giveBlock(block(c.pong));
      c.pong = 0;
    } else if (kind == RowKind.Block) {
      markReply(c, block(c.replyHead), length);
      consume(c, length);
    } else {
      advance(c);
    }
  } while (peek(c, runBytes));
  if (b.end == BLOCK_HEADER) {
    giveBlock(b);
    return peek(c, runBytes) && false;
  }
  c.sending = changetype<usize>(b) as u32;
  kind = RowKind.Block;
  from = changetype<usize>(b) + b.start;
  length = b.end - b.start;
  body = 0;
  last = 0;
  return true;
}

function isRing(row: u32): bool {
  return row == RowKind.Ring || row == RowKind.DeflateRing;
}

/** Adds the client's next row to the table; false when it has nothing to write or a write is outstanding. */
export function nextRow(c: Conn, runBytes: u32): bool {
  if (c.writing != 0 || !peek(c, runBytes)) return false;
  if (length >= GATHER_PIECE || !follows(c) || !gather(c, runBytes)) {
    if (isPong) {
      c.sending = c.pong;
      c.pong = 0;
    } else if (isRing(kind)) {
      advance(c);
    } else {
      markReply(c, block(c.replyHead), length);
    }
  }
  c.writing = kind as u8;
  c.writingBytes = length;
  c.lastOut = engine.now;
  const row = engine.rows + (engine.rowCount as usize) * ROW_BYTES;
  store<u32>(row, c.slot, ROW_SLOT);
  store<u32>(row, kind, ROW_KIND);
  store<u32>(row, from as u32, ROW_OFFSET);
  store<u32>(row, length, ROW_LENGTH);
  store<u32>(row, RowState.Outstanding, ROW_STATE);
  store<u32>(row, body, ROW_BODY);
  store<u32>(row, last, ROW_LAST);
  engine.rowCount++;
  return true;
}

/** The outstanding write is through: the transport lets go of its memory. */
export function complete(c: Conn): void {
  c.lastOut = engine.now;
  add(Control.BytesOut, c.writingBytes as f64);
  if (c.sending != 0) {
    giveBlock(block(c.sending));
    c.sending = 0;
  } else if (!isRing(c.writing)) {
    consume(c, c.writingBytes);
  }
  c.done = c.handed;
  c.writing = 0;
  c.writingBytes = 0;
}

/** True when a client has bytes that `nextRow` would hand over. */
export function hasMore(c: Conn): bool {
  return peek(c, 0xffffffff);
}
