// Who makes room when all HTTP slots are taken: connections by class, each class in the order in which its members go.
//
// Invariant: a victim is found in O(1), of requests that arrive in O(log n), never by a scan. A complete request whose
// handler runs is no victim, unless its client has ended its side or does not read the answer that has begun.
//
//   1  Ended        the client has ended its side, and END_GRACE has passed
//   2  Linger       all is written; the client is waited for
//   3  Idle         between two requests, the last answer has left; longest first
//   4  Reading      an incomplete head or body that is READ_GRACE behind; slowest first
//   5  Unread       an answer without progress for UNREAD_GRACE; longest first
//   6  Reading      as 4, when it is behind at all: a flood that opens connections faster than they grow old keeps
//                   nobody out
//
// How far behind a request is: each byte is worth 1000 / minReceiveRate ms, and nobody saves up. So a client that drips
// falls behind like one that is silent, and one that sends at the rate never does.

import { CloseReason, Control, Param } from "../abi";
import { Conn, Engine, Flag, State, Watch, engine, getControl, has, param } from "./records";
import { List } from "./lists";
import { at } from "./slots";
import { furthest, insert, remove } from "./treap";
import { arm } from "./timers";

const END_GRACE: f64 = 1000;
const READ_GRACE: f64 = 1000;
export const UNREAD_GRACE: f64 = 5000;
/** ms that any request may be behind: what it takes to come round the loop. */
const LOOP_GRACE: f64 = 20;
/** The treap of requests that arrive, beside those of the rings' readers. */
const READING: u32 = 2;

function headAt(list: u32): usize {
  return changetype<usize>(engine) + offsetof<Engine>("endedHead") + ((list - 1) << 3);
}

/** Takes an HTTP connection out of its list. */
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

/** Moves an HTTP connection to the young end of a list; one whose client has ended its side stays among those. */
export function enlist(c: Conn, wanted: u8): void {
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

/** A whole request is out: it is no victim any more, unless its client has ended its side. */
export function leaveList(c: Conn): void {
  if (has(c, Flag.PeerEnded)) enlist(c, List.Ended);
  else delist(c);
}

/** So many bytes have come of a request that is not whole: they count against what it is behind. */
export function readOn(c: Conn, bytes: u32): void {
  if (c.list != List.Reading) {
    enlist(c, List.Reading);
    return;
  }
  const rate = param(Param.ReceiveRate);
  const worth = rate == 0 ? Infinity : ((bytes as f64) * 1000) / rate;
  const paid = min(engine.now, (c.done as f64) + worth);
  remove(c);
  c.done = paid as u64;
  insert(c);
}

/** True between two requests, whether or not the last answer has left. */
export function isIdle(c: Conn): bool {
  if (c.state != State.Head || has(c, Flag.Clogged)) return false;
  return c.list == List.Idle || c.list == List.Unread;
}

/** The table is nearly full, or is no more: answers that are not read are looked at sooner. */
export function noteCrowd(): void {
  const used = getControl(Control.ConnectionCount);
  const slots = engine.httpSlots as f64;
  if (engine.isCrowded == 0 && engine.freeHttp == 0) {
    engine.isCrowded = 1;
    for (let link = engine.unreadHead; link != 0; link = at(link - 1).right) {
      arm(at(link - 1), engine.now);
    }
  } else if (engine.isCrowded != 0 && used < slots * 0.75) {
    engine.isCrowded = 0;
  }
}

/** True when a client has not read its answer for so long that it may go, as far as that can be known. */
function isUnread(c: Conn): bool {
  const ms = engine.now - c.lastOut;
  if (c.writing == 0 || ms < UNREAD_GRACE) return false;
  return engine.measures == 0 || c.watch >= Watch.Known || ms >= UNREAD_GRACE * 3;
}

/** True when the slowest of the requests that arrive is so many ms behind. */
function isBehind(c: Conn, ms: f64): bool {
  return changetype<usize>(c) != 0 && engine.now - (c.done as f64) >= ms;
}

/** Why the connection that `findVictim` found goes. */
export let victimReason: i32 = 0;

/** Finds the HTTP connection that makes room for a new one; 0 when there is none. */
export function findVictim(): Conn {
  const ended = engine.endedHead;
  if (ended != 0 && engine.now - at(ended - 1).endedAt >= END_GRACE) {
    victimReason = CloseReason.EvictedEnded;
    return at(ended - 1);
  }
  if (engine.lingerHead != 0) {
    // It has been served, and ends as what it was.
    victimReason = at(engine.lingerHead - 1).reason;
    return at(engine.lingerHead - 1);
  }
  if (engine.idleHead != 0) {
    victimReason = CloseReason.EvictedIdle;
    return at(engine.idleHead - 1);
  }
  const slowest = furthest(READING);
  const unread = engine.unreadHead;
  if (!isBehind(slowest, READ_GRACE) && unread != 0 && isUnread(at(unread - 1))) {
    victimReason = CloseReason.EvictedUnread;
    return at(unread - 1);
  }
  victimReason = CloseReason.EvictedUnfinished;
  return isBehind(slowest, LOOP_GRACE) ? slowest : changetype<Conn>(0);
}
