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
import { NEVER, dueBytes, dueOffset, dueSequence, takeDue } from "./due";
import { remove } from "./order";
import { BLOCK_HEADER, Block, BlockFlag, block, consume, giveBlock, takeBlock } from "./reply";
import { address, ringOf } from "./ring";

/** Pieces below this do not deserve a write of their own when another follows. */
const GATHER_PIECE: u32 = 512;
const GATHER_BYTES: u32 = 4096;

// The piece that `peek` found.
let kind: u32 = 0;
let from: usize = 0;
let length: u32 = 0;
let body: u32 = 0;
let last: u32 = 0;
let isPong: bool = false;

/** Finds the next piece of a client's bytes; false when it has none. `runBytes` limits it. */
function peek(c: Conn, runBytes: u32): bool {
  isPong = false;
  body = 0;
  last = 0;
  const due = isWebSocket(c) ? dueOffset(c) : NEVER;
  const b = block(c.replyHead);
  if (c.replyHead != 0 && !has(c, Flag.MidFrame) && b.at <= due) {
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
  if (due == NEVER || (c.replyHead == 0 && has(c, Flag.CloseQueued))) return false;
  const ring = ringOf(c);
  kind = ring.index == 0 ? RowKind.Ring : RowKind.DeflateRing;
  from = address(ring, due);
  length = min(dueBytes(c, ring, due), runBytes as u64) as u32;
  return true;
}

/** True when something may follow the piece at hand. */
function follows(c: Conn): bool {
  if (kind == RowKind.Static) return false;
  if (isWebSocket(c) && dueSequence(c) != NEVER) return true;
  if (kind == RowKind.Block && !isPong) return block(c.replyHead).next != 0;
  return c.replyHead != 0;
}

/** Notes whether the reply block that goes out leaves its frame unfinished. */
function markReply(c: Conn, b: Block, n: u32): void {
  if (b.flags & BlockFlag.Continued || b.start + n < b.end) c.flags |= Flag.MidReply;
  else c.flags &= ~Flag.MidReply;
}

/**
 * Copies small pieces that do not touch into one block, and hands that over. The first is the piece at hand;
 * one of the ring has been taken already.
 */
function gather(c: Conn, runBytes: u32): bool {
  const b = takeBlock(c, GATHER_BYTES - BLOCK_HEADER, 0);
  if (changetype<usize>(b) == 0) return false;
  if (length > b.capacity - b.end) {
    giveBlock(c, b);
    return false;
  }
  let isTaken = isRing(kind);
  do {
    const room = b.capacity - b.end;
    if (!isTaken) {
      if (kind == RowKind.Static || length > room) break;
      if (length > GATHER_PIECE && b.end > BLOCK_HEADER) break;
      if (isRing(kind)) length = takeDue(c, room, true);
    }
    isTaken = false;
    copy(changetype<usize>(b) + b.end, from, length);
    b.end += length;
    if (isPong) {
      giveBlock(c, block(c.pong));
      c.pong = 0;
    } else if (kind == RowKind.Block) {
      markReply(c, block(c.replyHead), length);
      consume(c, length);
    }
  } while (peek(c, runBytes));
  c.sending = changetype<usize>(b) as u32;
  kind = RowKind.Block;
  from = changetype<usize>(b) + b.start;
  length = b.end - b.start;
  body = 0;
  last = 0;
  isPong = false;
  return true;
}

function isRing(row: u32): bool {
  return row == RowKind.Ring || row == RowKind.DeflateRing;
}

/** Adds the client's next row to the table; false when it has nothing to write or a write is outstanding. */
export function nextRow(c: Conn, runBytes: u32): bool {
  if (c.writing != 0 || !peek(c, runBytes)) return false;
  // What it needs changes: it is placed anew when the row is settled.
  remove(c);
  if (isRing(kind)) length = takeDue(c, runBytes, false);
  if (length >= GATHER_PIECE || !follows(c) || !gather(c, runBytes)) {
    if (isPong) {
      c.sending = c.pong;
      c.pong = 0;
    } else if (!isRing(kind)) {
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
    giveBlock(c, block(c.sending));
    c.sending = 0;
  } else if (!isRing(c.writing)) {
    consume(c, c.writingBytes);
  }
  c.writing = 0;
  c.writingBytes = 0;
}

/** True when a client has bytes that `nextRow` would hand over. */
export function hasMore(c: Conn): bool {
  return peek(c, 0xffffffff);
}
