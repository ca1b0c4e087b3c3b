// Makes room when all HTTP slots are in use, or when clients that do not read hold all the room for pieces. Connections
// are grouped by class, and each class has the order in which its members are evicted.
//
// Invariant: a victim is found in O(1), or O(log n) among requests that are arriving, never by a scan. A complete
// request whose handler runs is no victim, unless its client has ended its side or does not read the response that has
// begun.
//
//   1  Ended        the client has ended its side, and END_GRACE has passed
//   2  Linger       all bytes are written, and the client has not ended its side
//   3  Idle         between two requests, after the last response has left; longest first
//   4  Reading      an incomplete head or body that is READ_GRACE late; slowest first
//   5  Unread       a response without progress for UNREAD_GRACE; longest first
//   6  Reading      as 4, when it is late at all, so that a flood that opens connections faster than they age does
//                   not keep others out
//
// While a piece of a supplied response waits for room, it makes some once a second: by the end of a connection of class
// 1 or 5 whose piece takes memory, after HOLD_GRACE.
//
// A request is late by its age minus the time that its bytes are worth, 1000 / minReceiveRate ms each, and it earns no
// credit for the future. So a client that drips becomes as late as a silent one, and a client that sends at the rate is
// never late.

import { CloseReason, Control, PIECE_COPY, Param } from "../abi";
import {
  Conn,
  Engine,
  Flag,
  State,
  Watch,
  engine,
  getControl,
  has,
  isWebSocket,
  param,
  paramU32,
  httpOf,
} from "./records";
import { List } from "./lists";
import { at } from "./slots";
import { READING, furthest, insert, remove } from "./treap";
import { arm } from "./timers";

/** ms for which a client that has ended its side is no victim, so that it can still receive its response. */
const END_GRACE: f64 = 1000;
/** ms without progress after which a client that holds a piece for which others wait is a victim. They can wait. */
const HOLD_GRACE: f64 = 15000;
/** ms between two looks for such clients. */
export const SEEK_INTERVAL: f64 = 1000;
/** ms that a request must be late to be evicted before unread responses. Shorter pauses are usual on networks. */
const READ_GRACE: f64 = 1000;
/** ms without progress after which a response is a victim. It is long because kernels acknowledge in steps. */
export const UNREAD_GRACE: f64 = 5000;
/** ms by which the last reading of send queues may be older than the moment of a decision: readings are that rare. */
const READ_INTERVAL: f64 = 1000;
/** Lateness in ms that any request may have, because the event loop takes that long to return to it. */
const LOOP_GRACE: f64 = 20;

function headAt(list: u32): usize {
  return changetype<usize>(engine) + offsetof<Engine>("endedHead") + ((list - 1) << 3);
}

/** Removes an HTTP connection from its list. */
export function delist(c: Conn): void {
  if (c.list == List.None) return;
  if (c.list == List.Reading) {
    remove(c);
  } else {
    const ends = headAt(c.list);
    if (c.left != 0) at(c.left - 1).right = c.right;
    else store<u32>(ends, c.right);
    if (c.right != 0) at(c.right - 1).left = c.left;
    else store<u32>(ends, c.left, 4);
  }
  c.list = List.None;
  c.left = 0;
  c.right = 0;
}

/**
 * Moves an HTTP connection to the young end of a list. Once its client has ended its side it stays in Ended, except to
 * linger. A released connection makes no room, so it is in no list.
 */
export function enlist(c: Conn, wanted: u8): void {
  if (c.state == State.Released) return;
  const list: u8 = has(c, Flag.PeerEnded) && wanted != List.Linger ? List.Ended : wanted;
  if (list == List.Ended && c.list == List.Ended) return;
  delist(c);
  c.list = list;
  if (list == List.Reading) {
    c.done = engine.now as u64;
    insert(c);
    return;
  }
  const ends = headAt(list);
  const tail = load<u32>(ends, 4);
  c.left = tail;
  c.right = 0;
  if (tail != 0) at(tail - 1).right = c.slot + 1;
  else store<u32>(ends, c.slot + 1);
  store<u32>(ends, c.slot + 1, 4);
}

/** Removes a connection whose request is complete from the victims, unless its client has ended its side. */
export function leaveList(c: Conn): void {
  if (has(c, Flag.PeerEnded)) enlist(c, List.Ended);
  else delist(c);
}

/** Counts `bytes` of a request that is not whole against its lateness. */
export function readOn(c: Conn, bytes: u32): void {
  if (c.list != List.Reading) {
    enlist(c, List.Reading);
    return;
  }
  const rate = param(Param.ReceiveRate);
  const worth = rate == 0 ? Infinity : ((bytes as f64) * 1000) / rate;
  // mutant room-drip (room): const paid = engine.now;
  const paid = min(engine.now, (c.done as f64) + worth);
  remove(c);
  c.done = paid as u64;
  insert(c);
}

/** Returns true between two requests, whether or not the last response has left. */
export function isIdle(c: Conn): bool {
  if (c.state != State.Head || has(c, Flag.Clogged)) return false;
  return c.list == List.Idle || c.list == List.Unread;
}

/** Updates whether the table is nearly full. If so, unread responses are examined earlier. */
export function noteCrowd(): void {
  const used = getControl(Control.ConnectionCount);
  const slots = engine.httpSlots as f64;
  if (engine.isCrowded == 0 && engine.freeHttp == 0) {
    engine.isCrowded = 1;
    engine.crowdedAt = engine.now;
    for (let link = engine.unreadHead; link != 0; link = at(link - 1).right) {
      arm(at(link - 1), engine.now);
    }
  } else if (engine.isCrowded != 0 && used < slots * 0.75) {
    engine.isCrowded = 0;
  }
}

/** Returns true when a piece takes memory, more than a copy, until a client has read. */
export function isHolder(c: Conn): bool {
  return !isWebSocket(c) && httpOf(c).held > PIECE_COPY;
}

/** Has the holders of the connections from `link` on examined, so that their send queues are read. */
function examine(link: u32): void {
  for (; link != 0; link = at(link - 1).right) {
    if (isHolder(at(link - 1))) arm(at(link - 1), engine.now);
  }
}

/** Notes that there is no room for a piece. */
export function noteCramp(): void {
  if (engine.crampedAt != 0) return;
  engine.crampedAt = engine.now;
  examine(engine.unreadHead);
  examine(engine.endedHead);
}

/** Notes that no piece waits for room. */
export function noteEase(): void {
  const limit = paramU32(Param.PieceBytes);
  if (engine.pieceBytes <= limit - (limit >> 2)) engine.crampedAt = 0;
}

/**
 * Returns true when a client has not read its response for long enough to be evicted, as far as that is known. Between
 * two watches its progress is not known, so the time counts from the first reading. Where readings are missing it
 * counts from the moment at which no room was left, and is longer.
 * @param grace ms @param fullAt that moment
 */
export function isUnread(c: Conn, grace: f64, fullAt: f64): bool {
  // mutant room-unread (room): if (c.writing == 0) return false;
  if (c.writing == 0 || engine.now - c.lastOut < grace) return false;
  if (engine.measures == 0) return true;
  if (c.watch < Watch.Known) return engine.now - max(c.lastOut, fullAt) >= grace * 3;
  // mutant room-watch (life): const since = c.lastOut;
  const since = max(c.lastOut, c.watchedAt);
  // Bytes that were acknowledged after the last reading are not known either.
  const isProven = engine.readAt - since >= grace - READ_INTERVAL;
  return isProven && engine.now - since >= grace;
}

function isLong(c: Conn): bool {
  return isUnread(c, UNREAD_GRACE, engine.crowdedAt);
}

/** Returns true when the slowest request that is arriving is at least `ms` late. */
function isLate(c: Conn, ms: f64): bool {
  return changetype<usize>(c) != 0 && engine.now - (c.done as f64) >= ms;
}

/** Reason for evicting the connection that `findVictim` found. */
export let victimReason: i32 = 0;

/** Returns the HTTP connection that makes room for a new one, 0 when there is none. */
export function findVictim(): Conn {
  const ended = engine.endedHead;
  // mutant room-ended: if (ended != 0) {
  if (ended != 0 && engine.now - httpOf(at(ended - 1)).endedAt >= END_GRACE) {
    victimReason = CloseReason.EvictedEnded;
    return at(ended - 1);
  }
  if (engine.lingerHead != 0) {
    // The request was served, so the connection keeps its own reason.
    victimReason = at(engine.lingerHead - 1).reason;
    return at(engine.lingerHead - 1);
  }
  if (engine.idleHead != 0) {
    victimReason = CloseReason.EvictedIdle;
    return at(engine.idleHead - 1);
  }
  const slowest = furthest(READING);
  const unread = engine.unreadHead;
  if (!isLate(slowest, READ_GRACE) && unread != 0 && isLong(at(unread - 1))) {
    victimReason = CloseReason.EvictedUnread;
    return at(unread - 1);
  }
  victimReason = CloseReason.EvictedUnfinished;
  // mutant room-late: return slowest;
  return isLate(slowest, LOOP_GRACE) ? slowest : changetype<Conn>(0);
}

/** Returns the first of the holders from `link` on that does not read, 0 when all of them do. */
function unreadHolder(link: u32): Conn {
  for (; link != 0; link = at(link - 1).right) {
    const c = at(link - 1);
    // mutant room-holder (supply): if (isHolder(c)) return c;
    if (isHolder(c) && isUnread(c, HOLD_GRACE, engine.crampedAt)) return c;
  }
  return changetype<Conn>(0);
}

/** Returns the connection that makes room for a piece, 0 when there is none. */
export function findHolder(): Conn {
  const found = unreadHolder(engine.unreadHead);
  return changetype<usize>(found) != 0 ? found : unreadHolder(engine.endedHead);
}
