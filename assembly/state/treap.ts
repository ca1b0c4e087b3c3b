// Finds the reader with the largest lag: a treap of the WebSockets that need bytes of a ring, ordered by `done` and,
// among equals, by slot. Each ring has one, and another for its readers that catch up. Nodes count their subtrees, so
// counting the readers near the tail is O(log n) too. One more treap, READING, orders HTTP requests that are arriving,
// by how late they are (room.ts).
//
// Invariant: in order by (done, slot), a heap by priority, and `count` is the size of the subtree.

import { Form } from "../abi";
import { Conn, Flag, engine, formOf, isWebSocket, readersOf } from "./records";
import { at } from "./slots";

// Links are slot + 1; 0 is the empty tree.

function size(link: u32): u32 {
  return link == 0 ? 0 : at(link - 1).count;
}

function sum(c: Conn): void {
  c.count = 1 + size(c.left) + size(c.right);
}

function before(a: Conn, b: Conn): bool {
  return a.done < b.done || (a.done == b.done && a.slot < b.slot);
}

/** Returns a slot's priority. No other slot has the same one, and it cannot be predicted without the seed. */
function priority(c: Conn): u32 {
  let x = (c.slot + engine.seed) * 0x9e3779b1;
  x = (x ^ (x >> 15)) * 0x85ebca6b;
  x = (x ^ (x >> 13)) * 0xc2b2ae35;
  return x ^ (x >> 16);
}

/** The two trees of the last `split`. */
@unmanaged
class Halves {
  left: u32;
  right: u32;
}

const halves = changetype<Halves>(memory.data(8, 8));

/** Splits a tree into the nodes before `key` and the others, in `halves`. */
function split(link: u32, key: Conn): void {
  if (link == 0) {
    halves.left = 0;
    halves.right = 0;
    return;
  }
  const c = at(link - 1);
  if (before(c, key)) {
    split(c.right, key);
    c.right = halves.left;
    halves.left = link;
  } else {
    split(c.left, key);
    c.left = halves.right;
    halves.right = link;
  }
  sum(c);
}

function merge(a: u32, b: u32): u32 {
  if (a == 0) return b;
  if (b == 0) return a;
  const left = at(a - 1);
  const right = at(b - 1);
  if (priority(left) > priority(right)) {
    left.right = merge(left.right, b);
    sum(left);
    return a;
  }
  right.left = merge(a, right.left);
  sum(right);
  return b;
}

function insertAt(link: u32, c: Conn): u32 {
  if (link == 0) {
    c.left = 0;
    c.right = 0;
    c.count = 1;
    return c.slot + 1;
  }
  const root = at(link - 1);
  if (priority(c) > priority(root)) {
    split(link, c);
    c.left = halves.left;
    c.right = halves.right;
    sum(c);
    return c.slot + 1;
  }
  if (before(c, root)) root.left = insertAt(root.left, c);
  else root.right = insertAt(root.right, c);
  sum(root);
  return link;
}

function removeAt(link: u32, c: Conn): u32 {
  assert(link != 0, "not in the treap");
  // mutant treap-lose: if (link == c.slot + 1) return c.left != 0 ? c.left : c.right;
  if (link == c.slot + 1) return merge(c.left, c.right);
  const root = at(link - 1);
  if (before(c, root)) root.left = removeAt(root.left, c);
  else root.right = removeAt(root.right, c);
  sum(root);
  return link;
}

/** Number of the treap of HTTP requests that are arriving, see room.ts. A treap of readers has their Form's. */
export const READING: u32 = Form.COUNT;
/** Added to a Form: number of the treap of its readers that are Parked or Replaying. */
export const REPLAYS: u32 = Form.COUNT + 1;

function rootOf(treap: u32): u32 {
  if (treap == READING) return engine.readingTreap;
  return treap < READING ? readersOf(treap).treap : readersOf(treap - REPLAYS).replays;
}

function setRoot(treap: u32, link: u32): void {
  if (treap == READING) engine.readingTreap = link;
  else if (treap < READING) readersOf(treap).treap = link;
  else readersOf(treap - REPLAYS).replays = link;
}

function treapOf(c: Conn): u32 {
  if (!isWebSocket(c)) return READING;
  return c.flags & (Flag.Parked | Flag.Replaying) ? formOf(c) + REPLAYS : formOf(c);
}

export function insert(c: Conn): void {
  if (c.flags & Flag.Ordered) return;
  c.flags |= Flag.Ordered;
  const treap = treapOf(c);
  setRoot(treap, insertAt(rootOf(treap), c));
}

/** Removes a connection. Its `done` must be the same as when it was inserted. */
export function remove(c: Conn): void {
  if (!(c.flags & Flag.Ordered)) return;
  const treap = treapOf(c);
  setRoot(treap, removeAt(rootOf(treap), c));
  c.flags &= ~Flag.Ordered;
  c.left = 0;
  c.right = 0;
}

/**
 * Returns the connection with the largest lag in a ring, 0 when the treap is empty.
 * @param treap a Form, with REPLAYS added for readers that catch up, or READING
 */
export function furthest(treap: u32): Conn {
  let link = rootOf(treap);
  if (link == 0) return changetype<Conn>(0);
  while (at(link - 1).left != 0) link = at(link - 1).left;
  return at(link - 1);
}

/** Returns how many connections in the treap have `done` below an offset. */
export function countBelow(treap: u32, offset: u64): u32 {
  let link = rootOf(treap);
  let total: u32 = 0;
  while (link != 0) {
    const c = at(link - 1);
    if (c.done < offset) {
      total += 1 + size(c.left);
      link = c.right;
    } else {
      link = c.left;
    }
  }
  return total;
}

export function orderedCount(): u32 {
  let count: u32 = 0;
  for (let form: u32 = 0; form < (Form.COUNT as u32); form++)
    count += size(readersOf(form).treap) + size(readersOf(form).replays);
  return count;
}

/** Returns how many readers of a form catch up, or wait to begin. */
export function replayCount(form: u32): u32 {
  return size(readersOf(form).replays);
}

export function readingCount(): u32 {
  return size(engine.readingTreap);
}
