// Bodies that the embedder supplies: files, bodies of other servers, streams. Their bytes stay in its memory. The
// engine asks for one piece when nothing else is queued for the client. So a client that does not read costs at most a
// piece.
//
// Invariant: a response has at most one piece. It follows all that was queued before it, and nothing is queued after
// it until it has left. `held` counts the memory of a piece, or the room that is reserved for the next one, from Want
// until the last byte has left; `engine.pieceBytes` is its sum. When a Want is emitted that sum is at most
// Param.PieceBytes. A source that cannot give less takes as much room as its last piece did, and a whole piece's before
// its first. Only one whose pieces grow, or come long after they were asked for, exceeds the sum. Then no piece is
// asked for until the sum has shrunk.
//
//   Wanted    the embedder owes a piece                     room is reserved
//   Ready     a piece waits for a pass                      its memory is held
//   (write)   a part of it is in the pending write          its memory is held
//   Stalled   the same, and the transport has only copies   its memory is held, and may be recalled
//   Starved   there is no room for a piece                  nothing is held; it waits its turn
//
// A connection is in at most one of the lists Ready, Starved and Stalled, or on the dirty list.

import {
  Answer,
  Control,
  EventKind,
  Outcome,
  PIECE_COPY,
  PIECE_LIMIT,
  Param,
  SUPPLY_CHUNKS,
  SUPPLY_NONE,
} from "../abi";
import { emit, noticesFull } from "../state/events";
import { leavePieces, listPiece, markDirty } from "../state/lists";
import { addReply, giveReply, mayHold, putDrainOff } from "../state/quota";
import {
  HttpConn,
  HttpFlag,
  ROOM_SHIFT,
  add,
  engine,
  hasHttp,
  httpOf,
  paramU32,
  setControl,
} from "../state/records";
import { SEEK_INTERVAL, noteCramp, noteEase } from "../state/room";
import { at, live } from "../state/slots";
import { rearm } from "./deadline";

/** Largest piece for a client whose last piece was not taken at once, in bytes. */
const SLOW_PIECE: u32 = 32768;
/** Smallest piece, in bytes, when others take most of the room. */
const LEAST_PIECE: u32 = 1024;
/** Memory of the largest piece, with its frame. */
const WHOLE: u32 = PIECE_LIMIT + 1024;
/**
 * Most shares into which the free room is divided. So pieces shrink as clients that do not read fill the room, and
 * there is room for hundreds of such clients before others have to wait.
 */
const SHARES: u32 = 64;

/** Counts the memory that a connection's piece takes. */
function charge(c: HttpConn, bytes: u32): void {
  const before = c.held;
  if (bytes > before) {
    addReply(c, bytes - before);
  } else if (bytes < before) {
    giveReply(c, before - bytes);
    engine.piecesGiven = 1;
  }
  engine.pieceBytes += bytes - before;
  c.held = bytes;
}

function countSupplied(change: i32): void {
  engine.supplied += change;
  setControl(Control.SuppliedCount, engine.supplied as f64);
}

/** Returns the most bytes of a connection's next piece. */
function mostOf(c: HttpConn): u32 {
  return hasHttp(c, HttpFlag.Slow) ? SLOW_PIECE : PIECE_LIMIT;
}

/** Returns the bytes of room that the next piece takes at least. */
function roomOf(c: HttpConn): u32 {
  return min((c.marks >> ROOM_SHIFT) << 10, paramU32(Param.PieceBytes));
}

/** Notes how much room the next piece takes at least. */
function needRoom(c: HttpConn, bytes: u32): void {
  c.marks &= (1 << ROOM_SHIFT) - 1;
  c.marks |= ((bytes + 1023) >> 10) << ROOM_SHIFT;
}

/** Returns the size of the next piece that there is room for, 0 when there is no room. */
function shareOf(c: HttpConn): u32 {
  const limit = paramU32(Param.PieceBytes);
  const free = limit > engine.pieceBytes ? limit - engine.pieceBytes : 0;
  if (free < roomOf(c)) return 0;
  // mutant supply-room (supply): const each = free;
  const each = free / min(max(engine.supplied, 2), SHARES);
  if (each >= LEAST_PIECE) return min(each & ~(LEAST_PIECE - 1), mostOf(c));
  // mutant supply-full (supply): return LEAST_PIECE;
  return free >= LEAST_PIECE ? LEAST_PIECE : 0;
}

/** Recalls the pieces of clients that make no progress, the longest first, until there is room for a whole piece. */
function recall(c: HttpConn): void {
  while (engine.stalledHead != 0 && shareOf(c) < mostOf(c) && !noticesFull()) {
    const stalled = httpOf(at(engine.stalledHead - 1));
    const rest = stalled.piece - stalled.writingBytes;
    leavePieces(stalled);
    // mutant supply-recall: stalled.piece = 0;
    stalled.piece = stalled.writingBytes;
    // mutant supply-left: ;
    if (hasHttp(stalled, HttpFlag.Counted)) stalled.replyLeft += rest;
    charge(stalled, min(stalled.writingBytes, PIECE_COPY));
    add(Control.Recalled, 1);
    emit(EventKind.Recall, stalled, 0, rest, 0);
  }
}

/**
 * Reserves room for the next piece.
 * @param isFirst whether no other waits for room longer
 * @returns its size, 0 when there is no room, or others wait for it
 */
function reservePiece(c: HttpConn, isFirst: bool): u32 {
  // mutant supply-kept (supply): if (hasHttp(c, HttpFlag.Keeps) && shareOf(c) != 0) {
  if (hasHttp(c, HttpFlag.Keeps)) {
    c.marks |= HttpFlag.Wanted;
    return mostOf(c);
  }
  releasePiece(c);
  // mutant supply-turn (supply): ;
  if (!isFirst) return 0;
  recall(c);
  const size = shareOf(c);
  if (size == 0) {
    noteCramp();
    return 0;
  }
  const room = max(size, roomOf(c));
  if (!mayHold(c, room)) {
    // When the address holds less it is asked again.
    putDrainOff(c);
    return 0;
  }
  charge(c, room);
  c.marks |= HttpFlag.Wanted;
  return size;
}

/**
 * Begins a response whose body is supplied, when its head is queued.
 * @returns the size of the first piece, which may be given at once, 0 when Want asks for it; with the bits SUPPLY_…
 */
export function beginSupply(c: HttpConn, flags: u32): u32 {
  if (hasHttp(c, HttpFlag.Bare)) return SUPPLY_NONE;
  c.marks |= HttpFlag.Supplied;
  if (flags & Answer.Again) c.marks |= HttpFlag.Rereads;
  else needRoom(c, WHOLE);
  countSupplied(1);
  return (
    reservePiece(c, engine.starvedHead == 0) | (hasHttp(c, HttpFlag.Chunking) ? SUPPLY_CHUNKS : 0)
  );
}

/** Asks for the next piece of a response that has nothing queued, or lets it wait for room. */
function wantPiece(c: HttpConn, isFirst: bool): void {
  if (hasHttp(c, HttpFlag.Wanted)) return;
  if (noticesFull()) {
    markDirty(c);
    return;
  }
  const held = c.held;
  const size = reservePiece(c, isFirst);
  if (size != 0) {
    emit(EventKind.Want, c, 0, size, 0);
    return;
  }
  // mutant supply-starve: ;
  listPiece(c, HttpFlag.Starved);
  if (engine.starvedHead == c.slot + 1) engine.seekAt = engine.now + SEEK_INTERVAL;
  rearm(c);
  // mutant supply-hold: ;
  if (held != 0) emit(EventKind.Recall, c, 0, 0, 0);
}

/**
 * Continues a supplied response for which nothing is queued, and no write is pending.
 * @returns true when a piece is to be written
 */
export function continueSupply(c: HttpConn): bool {
  if (c.piece == 0) {
    wantPiece(c, engine.starvedHead == 0);
    return false;
  }
  listPiece(c, HttpFlag.Ready);
  return true;
}

/** Asks for pieces of the responses that wait for room, in their order, as far as there is room. */
export function feedStarved(): void {
  // The bytes of an address may have shrunk by others than pieces.
  const isDue = engine.piecesGiven != 0 || paramU32(Param.AddressReplyBytes) != 0;
  if (engine.starvedHead == 0) noteEase();
  engine.piecesGiven = 0;
  const last = engine.starvedTail;
  for (let link = isDue ? engine.starvedHead : 0; link != 0; ) {
    const c = httpOf(at(link - 1));
    link = c.link;
    if (noticesFull()) {
      engine.piecesGiven = 1;
      return;
    }
    recall(c);
    if (shareOf(c) == 0) {
      noteCramp();
      return;
    }
    leavePieces(c);
    wantPiece(c, true);
    if (c.slot + 1 == last) return;
  }
}

/**
 * Gives the piece that Want, or `streamBegin`, asked for. A row names it when all that was queued before it has left.
 * @param length its bytes, 1 … PIECE_LIMIT
 * @param held bytes of memory that the embedder holds for it
 * @param keeps 1 when the next piece is in that memory, too, which the embedder holds until then
 * @returns Ok; Gone; TooLarge when the response's known length leaves less; Invalid when no piece was asked for. Only
 * Ok takes the piece
 */
export function give(slot: u32, generation: u32, length: u32, held: u32, keeps: u32): u32 {
  const c = httpOf(live(slot, generation));
  if (changetype<usize>(c) == 0 || !hasHttp(c, HttpFlag.Supplied)) return Outcome.Gone;
  if (!hasHttp(c, HttpFlag.Wanted) || length == 0 || length > PIECE_LIMIT) return Outcome.Invalid;
  if (hasHttp(c, HttpFlag.Counted)) {
    if ((length as u64) > c.replyLeft) return Outcome.TooLarge;
    c.replyLeft -= length;
  }
  c.marks &= ~(HttpFlag.Wanted | HttpFlag.Keeps);
  if (keeps != 0) c.marks |= HttpFlag.Keeps;
  charge(c, max(length, held));
  if (!hasHttp(c, HttpFlag.Rereads)) needRoom(c, min(c.held, WHOLE));
  c.piece = length;
  // Its head may still be queued, or be the pending write. Then the piece follows when that has left.
  // mutant supply-order: listPiece(c, HttpFlag.Ready);
  if (c.replyHead == 0 && c.writing == 0) listPiece(c, HttpFlag.Ready);
  return Outcome.Ok;
}

/**
 * Lessens the room that is reserved for the piece that was asked for, because it will be smaller, or come much later.
 * It has no effect while the embedder holds memory from the piece before.
 * @param bytes that remain reserved
 */
export function keepRoom(slot: u32, generation: u32, bytes: u32): void {
  const c = httpOf(live(slot, generation));
  if (changetype<usize>(c) == 0 || !hasHttp(c, HttpFlag.Wanted)) return;
  if (bytes < c.held && !hasHttp(c, HttpFlag.Keeps)) charge(c, bytes);
}

/** Notes how much of a piece's row was taken. @param taken bytes, of which the transport holds copies at most */
export function stall(c: HttpConn, taken: u32): void {
  c.marks |= HttpFlag.Slow;
  if (taken >= c.writingBytes) return;
  c.writingBytes = max(taken, 1);
  if (!hasHttp(c, HttpFlag.Rereads)) return;
  listPiece(c, HttpFlag.Stalled);
  // mutant supply-late (supply): ;
  engine.piecesGiven = 1;
}

/** Ends the supply, because the response is complete or its connection has ended. Its memory remains counted. */
export function leaveSupply(c: HttpConn): void {
  if (!hasHttp(c, HttpFlag.Supplied)) return;
  leavePieces(c);
  c.marks &= ~(HttpFlag.Supplied | HttpFlag.Rereads | HttpFlag.Wanted);
  c.marks &= ~(HttpFlag.Slow | HttpFlag.Keeps);
  needRoom(c, 0);
  // mutant supply-count: ;
  countSupplied(-1);
}

/** Stops counting the memory of a piece, which the transport has released. */
export function releasePiece(c: HttpConn): void {
  c.piece = 0;
  // mutant supply-release: ;
  if (c.held != 0) charge(c, 0);
}
