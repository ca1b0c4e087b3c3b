// Chooses the next bytes to write for a client, as one row of the write table.
//
// Invariant: a client has at most one pending write. Its bytes are sent in the order of the calls: the ring up to the
// offset at which a reply was queued, then the reply. Nothing is sent between the pieces of one frame. The pending pong
// is sent between frames.

import {
  Control,
  Form,
  Param,
  ROW_BODY,
  ROW_BYTES,
  ROW_KIND,
  ROW_LAST,
  ROW_LENGTH,
  ROW_LIMIT,
  ROW_OFFSET,
  ROW_SLOT,
  ROW_STATE,
  RowKind,
  RowState,
} from "../abi";
import { copy } from "../kernel/bytes";
import {
  Conn,
  Flag,
  State,
  add,
  engine,
  formOf,
  has,
  isWebSocket,
  paramU32,
  webSocketOf,
  HttpConn,
  httpOf,
  WebSocketConn,
} from "../state/records";
import { NEVER, look, takeDue, dueRun } from "../ring/cursor";
import { endPaceOut } from "../state/rate";
import { remove } from "../state/treap";
import {
  BLOCK_HEADER,
  Block,
  BlockFlag,
  block,
  consume,
  giveBlock,
  takeBlock,
} from "../state/queue";
import { address, frame, lengthIn, offsetIn, ringAt, ringOf, runLast } from "../ring/ring";

/**
 * Pieces below this size, in bytes, are gathered with the next ones, because a write of their own costs more than the
 * copy.
 */
const GATHER_PIECE: u32 = 512;
/** Size of the block for gathered pieces, in bytes. Pieces that do not fit are written with the next row. */
const GATHER_BYTES: u32 = 4096;

/** The piece that `choose` found. */
@unmanaged
class Piece {
  /** A RowKind. */
  kind: u32;
  /** Address, or offset in a static body, or bytes up to the end of the embedder's piece. */
  from: usize;
  length: u32;
  /** Number of the static body. */
  body: u32;
  /** 1 for the last piece of the static body. */
  isLast: u32;
  isPong: bool;
  /** Whether a run of the ring is due, as `look` or `takeDue` returned. */
  isDue: bool;
}

const piece = changetype<Piece>(memory.data(24, 8));

/** Returns the longest run for a client. @param runBytes the longest one for any client */
function runLimit(c: Conn, runBytes: u32): u32 {
  if (!has(c, Flag.Copied)) return runBytes;
  const copied = paramU32(Param.CopiedRunBytes);
  return copied == 0 ? runBytes : min(copied, runBytes);
}

/** Finds the next piece of a client's bytes, at most `runBytes`. Returns false when there is none. */
function peek(c: Conn, runBytes: u32): bool {
  piece.isDue = isWebSocket(c) && look(webSocketOf(c));
  return choose(c, runBytes);
}

/** Flags of a client without a queued message that gets nothing of the ring. */
const ENDING: u32 = Flag.CloseQueued | Flag.Parked;

/** Returns false for a message of a parked stream that follows the publications it has missed. */
function isReady(c: Conn, at: u64): bool {
  return at == 0 || !has(c, Flag.Parked);
}

/** Finds the next piece like `peek`, after `look` or `takeDue` has been called for the due run. */
function choose(c: Conn, runBytes: u32): bool {
  piece.isPong = false;
  piece.body = 0;
  piece.isLast = 0;
  const due = piece.isDue ? dueRun.from : NEVER;
  const b = block(c.replyHead);
  // mutant return-early: if (c.replyHead != 0 && !has(c, Flag.MidFrame) && b.at <= due) {
  if (c.replyHead != 0 && !has(c, Flag.MidFrame) && b.at <= due && isReady(c, b.at)) {
    piece.length = b.end - b.start;
    if (b.flags & BlockFlag.Static) {
      piece.kind = RowKind.Static;
      piece.from = b.start as usize;
      piece.body = b.body;
      if (piece.length > runBytes) piece.length = runBytes;
      piece.isLast = b.start + piece.length == b.end ? 1 : 0;
    } else {
      piece.kind = RowKind.Block;
      piece.from = changetype<usize>(b) + b.start;
    }
    return true;
  }
  // mutant pong-within: if (c.pong != 0) {
  if (c.pong != 0 && !has(c, Flag.MidFrame | Flag.MidReply)) {
    const pong = block(c.pong);
    piece.kind = RowKind.Block;
    piece.from = changetype<usize>(pong) + pong.start;
    piece.length = pong.end - pong.start;
    piece.isPong = true;
    return true;
  }
  // mutant return-parked: if (!piece.isDue || (c.replyHead == 0 && has(c, Flag.CloseQueued))) return false;
  if (!piece.isDue || has(c, c.replyHead == 0 ? ENDING : Flag.Parked)) return false;
  const ring = ringOf(c);
  piece.kind = RowKind.Ring;
  piece.from = address(ring, due);
  piece.length = min(dueRun.to - due, runBytes as u64) as u32;
  return true;
}

/** Takes the chosen piece of the ring and the bytes adjacent to it, at most `limit` bytes. */
function takeRing(c: Conn, limit: u32, whole: bool): void {
  piece.isDue = takeDue(c, limit, whole);
  piece.length = dueRun.taken;
}

/** Returns true when another piece may follow the current one. */
function follows(c: Conn): bool {
  if (piece.kind == RowKind.Static) return false;
  if (piece.isDue) return true;
  if (piece.kind == RowKind.Block && !piece.isPong) return block(c.replyHead).next != 0;
  return c.replyHead != 0;
}

/** Records whether the reply block that is being sent leaves its frame unfinished. */
function markReply(c: Conn, b: Block, n: u32): void {
  if (b.flags & BlockFlag.Continued || b.start + n < b.end) c.flags |= Flag.MidReply;
  else c.flags &= ~Flag.MidReply;
}

/**
 * Copies small pieces that are not adjacent into one block, which becomes the row. The first piece is the current one.
 * If that is from the ring it has been taken already.
 */
function gather(c: Conn, runBytes: u32): bool {
  const b = takeBlock(c, GATHER_BYTES - BLOCK_HEADER, 0);
  if (changetype<usize>(b) == 0) return false;
  if (piece.length > b.capacity - b.end) {
    giveBlock(c, b);
    return false;
  }
  let isTaken = isRing(piece.kind);
  do {
    const room = b.capacity - b.end;
    if (!isTaken) {
      if (piece.kind == RowKind.Static || piece.length > room) break;
      if (piece.length > GATHER_PIECE && b.end > BLOCK_HEADER) break;
      if (isRing(piece.kind)) takeRing(c, room, true);
    }
    isTaken = false;
    copy(changetype<usize>(b) + b.end, piece.from, piece.length);
    b.end += piece.length;
    if (piece.isPong) {
      giveBlock(c, block(c.pong));
      c.pong = 0;
    } else if (piece.kind == RowKind.Block) {
      markReply(c, block(c.replyHead), piece.length);
      consume(c, piece.length);
    }
  } while (choose(c, runBytes));
  c.sending = changetype<usize>(b) as u32;
  piece.kind = RowKind.Block;
  piece.from = changetype<usize>(b) + b.start;
  piece.length = b.end - b.start;
  piece.body = 0;
  piece.isLast = 0;
  piece.isPong = false;
  return true;
}

function isRing(row: u32): bool {
  return row == RowKind.Ring;
}

/**
 * Adds the client's next row to the table. Returns false when it has nothing to write or a write is pending.
 * @param most the longest run for any client, in bytes
 */
export function nextRow(c: Conn, most: u32): bool {
  const runBytes = runLimit(c, most);
  if (c.writing != 0 || !peek(c, runBytes)) return false;
  // Its range changes, so it leaves the treap and is inserted again when the row is settled.
  if (isWebSocket(c)) remove(c);
  if (isRing(piece.kind)) takeRing(c, runBytes, false);
  if (piece.length >= GATHER_PIECE || !follows(c) || !gather(c, runBytes)) {
    if (piece.isPong) {
      c.sending = c.pong;
      c.pong = 0;
    } else if (!isRing(piece.kind)) {
      markReply(c, block(c.replyHead), piece.length);
    }
  }
  putRow(c);
  return true;
}

/** Adds the row of a connection whose next bytes are those of the piece that the embedder gave. */
export function pieceRow(c: HttpConn, runBytes: u32): void {
  assert(c.writing == 0 && c.replyHead == 0 && c.piece != 0, "the piece is not next");
  piece.kind = RowKind.Piece;
  piece.from = c.piece as usize;
  piece.length = min(c.piece, runLimit(c, runBytes));
  piece.body = 0;
  piece.isLast = 0;
  putRow(c);
}

/** Adds a row, and returns its address. The caller stores which static body it is of. */
function addRow(c: Conn, kind: u32, from: u32, length: u32): usize {
  c.writing = kind as u8;
  c.writingBytes = length;
  c.lastOut = engine.now;
  assert(engine.rowCount < ROW_LIMIT, "the table is full");
  const row = engine.rows + (engine.rowCount as usize) * ROW_BYTES;
  store<u32>(row, c.slot, ROW_SLOT);
  store<u32>(row, kind, ROW_KIND);
  store<u32>(row, from, ROW_OFFSET);
  store<u32>(row, length, ROW_LENGTH);
  store<u32>(row, RowState.Outstanding, ROW_STATE);
  engine.rowCount++;
  return row;
}

/** Adds a row for the current piece. */
function putRow(c: Conn): void {
  const row = addRow(c, piece.kind, piece.from as u32, piece.length);
  store<u32>(row, piece.body, ROW_BODY);
  store<u32>(row, piece.isLast, ROW_LAST);
}

// ---- the common case: a client that has had everything, and new broadcasts that are one run ------------------

/** Flags of a client that receives more than new broadcasts. */
const FURTHER: u32 =
  Flag.CastDue | Flag.MidFrame | Flag.Ordered | Flag.CloseQueued | Flag.Parked | Flag.Replaying;
/** Flags of a client that receives more than new broadcasts, or waits for a Drain. */
const BUSY: u32 = FURTHER | Flag.WantDrain | Flag.WantRoom | Flag.Clogged;

/** Returns true for an open WebSocket to which nothing is due. */
export function isQuiet(c: Conn): bool {
  return (c.flags & BUSY) == 0 && (c.replyHead | c.pong | webSocketOf(c).dueSubscription) == 0;
}

/** The new broadcasts in one form. */
@unmanaged
class Cast {
  /** Range of their bytes in the form's ring, and its address. */
  start: u64;
  end: u64;
  at: u32;
  /** Bytes of the range. 0 when they are not a single run, are too long for one row, or lack the form. */
  length: u32;
}

const CAST_BYTES: usize = 32;
const casts: usize = memory.data(96, 8);

if (offsetof<Cast>() > CAST_BYTES) ERROR("CAST_BYTES");
if (Form.COUNT > 3) ERROR("there is no Cast for each form");

function castIn(form: u32): Cast {
  return changetype<Cast>(casts + (form as usize) * CAST_BYTES);
}

/** Sequence after the last of the new broadcasts. */
let castEnd: u64 = 0;

/**
 * Prepares `castRow` for the broadcasts from `engine.castFirst` to `last`.
 * @param runBytes the longest run, in bytes
 */
export function beginCast(last: u64, runBytes: u32): void {
  castEnd = last + 1;
  const first = frame(engine.castFirst);
  const isOneRun = runLast(engine.castFirst) == last && first.exceptGeneration == 0;
  for (let form: u32 = 0; form < (Form.COUNT as u32); form++) {
    const ring = ringAt(form);
    const cast = castIn(form);
    cast.length = 0;
    if (!isOneRun || ring.capacity == 0) continue;
    cast.start = offsetIn(ring, first);
    cast.end = offsetIn(ring, frame(last)) + (lengthIn(ring, frame(last)) as u64);
    cast.at = address(ring, cast.start) as u32;
    if (cast.end - cast.start <= (runBytes as u64)) cast.length = (cast.end - cast.start) as u32;
  }
}

/** Adds the row of a client to which only new broadcasts are due. Returns false when the case is not that simple. */
export function castRow(c: WebSocketConn): bool {
  const cast = castIn(formOf(c));
  const length = cast.length;
  if (length == 0 || c.writing != 0 || c.sequence > engine.castFirst || !isQuiet(c)) return false;
  if (length > runLimit(c, length)) return false;
  c.sequence = castEnd;
  c.done = cast.start;
  c.handed = cast.end;
  const row = addRow(c, RowKind.Ring, cast.at, length);
  store<u32>(row, 0, ROW_BODY);
  store<u32>(row, 0, ROW_LAST);
  return true;
}

/** Completes the write of a quiet client, a run of the ring. Returns its bytes, 0 for any other client. */
export function completeQuiet(c: Conn): u32 {
  if (!isRing(c.writing) || c.state != State.Open || !isQuiet(c)) return 0;
  const bytes = c.writingBytes;
  endPaceOut(c);
  c.lastOut = engine.now;
  c.sent += bytes;
  c.writing = 0;
  c.writingBytes = 0;
  return bytes;
}

/** Completes the pending write, whose memory the transport has released. */
export function complete(c: Conn): void {
  c.lastOut = engine.now;
  c.sent += c.writingBytes;
  add(Control.BytesOut, c.writingBytes as f64);
  if (c.sending != 0) {
    giveBlock(c, block(c.sending));
    c.sending = 0;
  } else if (c.writing == RowKind.Piece) {
    httpOf(c).piece -= c.writingBytes;
  } else if (!isRing(c.writing) && c.writing != RowKind.Poured) {
    consume(c, c.writingBytes);
  }
  c.writing = 0;
  c.writingBytes = 0;
}

/** Returns true when a client has bytes that `nextRow` would hand over. */
export function hasMore(c: Conn): bool {
  return peek(c, 0xffffffff);
}
