// Lists of connections: the dense list of open WebSockets, and the dirty list of connections that have something to
// write.
//
// Invariant: a connection is on the dirty list at most once, and leaves it when it ends.

import { Control, Form } from "../abi";
import { Conn, Flag, engine, formOf, readersOf, setControl, webSocketOf } from "./records";
import { at } from "./slots";

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

export function markDirty(c: Conn): void {
  if (c.flags & Flag.Dirty) return;
  c.flags |= Flag.Dirty;
  c.link = 0;
  c.linkBack = engine.dirtyTail;
  if (engine.dirtyTail != 0) at(engine.dirtyTail - 1).link = c.slot + 1;
  else engine.dirtyHead = c.slot + 1;
  engine.dirtyTail = c.slot + 1;
}

/** Removes a connection from the dirty list. */
export function dropDirty(c: Conn): void {
  if (!(c.flags & Flag.Dirty)) return;
  if (c.linkBack != 0) at(c.linkBack - 1).link = c.link;
  else engine.dirtyHead = c.link;
  if (c.link != 0) at(c.link - 1).linkBack = c.linkBack;
  else engine.dirtyTail = c.linkBack;
  c.flags &= ~Flag.Dirty;
}
