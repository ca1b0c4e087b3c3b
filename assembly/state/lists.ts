// Lists of connections: the dense list of open WebSockets, the dirty list of connections that have something to write,
// and the lists of connections by the pieces of their responses.
//
// Invariant: a connection is on the dirty list or in one of the lists by pieces, once, and leaves it when it ends.

import { Control, Form } from "../abi";
import {
  Conn,
  Engine,
  Flag,
  HttpFlag,
  add,
  engine,
  formOf,
  httpOf,
  readersOf,
  setControl,
  webSocketOf,
} from "./records";
import { at } from "./slots";
import { arm } from "./timers";

/** Values of `Conn.list`, see room.ts. */
export namespace List {
  export const None: u8 = 0;
  export const Ended: u8 = 1;
  export const Linger: u8 = 2;
  export const Idle: u8 = 3;
  export const Unread: u8 = 4;
  /** A treap ordered by how late the bytes of a request are. */
  export const Reading: u8 = 5;
}

export function openAt(i: u32): Conn {
  return at(load<u32>(engine.webSockets + ((i as usize) << 2)));
}

/** Counts an open WebSocket among the readers of its form. @param change 1, or −1 for one that is open no longer */
function countReader(c: Conn, change: i32): void {
  readersOf(formOf(c)).count += change;
  setControl(Control.DeflateCount, readersOf(Form.Deflated).count as f64);
  setControl(Control.StreamCount, readersOf(Form.Event).count as f64);
}

export function addOpen(c: Conn): void {
  webSocketOf(c).listAt = engine.openCount;
  store<u32>(engine.webSockets + ((engine.openCount as usize) << 2), c.slot);
  engine.openCount++;
  countReader(c, 1);
  setControl(Control.WebSocketCount, engine.openCount as f64);
}

export function removeOpen(c: Conn): void {
  const last = load<u32>(engine.webSockets + ((engine.openCount - 1) << 2));
  store<u32>(engine.webSockets + ((webSocketOf(c).listAt as usize) << 2), last);
  webSocketOf(at(last)).listAt = webSocketOf(c).listAt;
  engine.openCount--;
  countReader(c, -1);
  setControl(Control.WebSocketCount, engine.openCount as f64);
}

/** Appends a connection to the list whose head and tail are at `ends`. */
function append(ends: usize, c: Conn): void {
  const tail = load<u32>(ends, 4);
  c.link = 0;
  c.linkBack = tail;
  if (tail != 0) at(tail - 1).link = c.slot + 1;
  else store<u32>(ends, c.slot + 1);
  store<u32>(ends, c.slot + 1, 4);
}

function unlink(ends: usize, c: Conn): void {
  if (c.linkBack != 0) at(c.linkBack - 1).link = c.link;
  else store<u32>(ends, c.link);
  if (c.link != 0) at(c.link - 1).linkBack = c.linkBack;
  else store<u32>(ends, c.linkBack, 4);
}

function dirtyEnds(): usize {
  return changetype<usize>(engine) + offsetof<Engine>("dirtyHead");
}

export function markDirty(c: Conn): void {
  if (c.flags & Flag.Dirty) return;
  if (c.flags & Flag.Listed) leavePieces(c);
  c.flags |= Flag.Dirty;
  append(dirtyEnds(), c);
}

/** Removes a connection from the dirty list. */
export function dropDirty(c: Conn): void {
  if (!(c.flags & Flag.Dirty)) return;
  unlink(dirtyEnds(), c);
  c.flags &= ~Flag.Dirty;
}

/** Marks of the lists by pieces. */
const PIECE_LISTS: u32 = HttpFlag.Ready | HttpFlag.Starved | HttpFlag.Stalled;

/** Returns the address of the head and the tail of the list that a mark names. */
export function pieceEnds(mark: u32): usize {
  const first = changetype<usize>(engine) + offsetof<Engine>("readyHead");
  return mark == HttpFlag.Ready ? first : mark == HttpFlag.Starved ? first + 8 : first + 16;
}

function count(mark: u32, change: f64): void {
  if (mark == HttpFlag.Ready) add(Control.ReadyCount, change);
  else if (mark == HttpFlag.Starved) add(Control.StarvedCount, change);
}

/** Moves a connection to the end of the list that a mark names. In that list it keeps its place. */
export function listPiece(c: Conn, mark: u32): void {
  if (httpOf(c).marks & mark) return;
  dropDirty(c);
  leavePieces(c);
  c.flags |= Flag.Listed;
  httpOf(c).marks |= mark;
  append(pieceEnds(mark), c);
  count(mark, 1);
}

/** Removes a connection from the lists by pieces. */
export function leavePieces(c: Conn): void {
  if (!(c.flags & Flag.Listed)) return;
  const mark = httpOf(c).marks & PIECE_LISTS;
  unlink(pieceEnds(mark), c);
  // The first one makes room for all of them.
  const first = engine.starvedHead;
  if (mark == HttpFlag.Starved && first != 0 && c.linkBack == 0) arm(at(first - 1), engine.seekAt);
  c.flags &= ~Flag.Listed;
  httpOf(c).marks &= ~PIECE_LISTS;
  count(mark, -1);
}
