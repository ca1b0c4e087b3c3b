// Deadlines: a binary heap of connections, ordered by the time of their next examination.
//
// Invariant: a connection with a deadline is in the heap at or before it. Activity only postpones deadlines, so it
// changes nothing here. When the heap reaches a connection early, it computes the deadline again.

import { Conn, engine } from "./records";
import { at } from "./slots";

function get(i: u32): Conn {
  return at(load<u32>(engine.timers + ((i as usize) << 2)));
}

function set(i: u32, c: Conn): void {
  store<u32>(engine.timers + ((i as usize) << 2), c.slot);
  c.timerAt = i + 1;
}

function up(i: u32, c: Conn): void {
  while (i > 0) {
    const parent = (i - 1) >> 1;
    const p = get(parent);
    if (p.due <= c.due) break;
    set(i, p);
    i = parent;
  }
  set(i, c);
}

function down(i: u32, c: Conn): void {
  const count = engine.timerCount;
  while (true) {
    let child = i * 2 + 1;
    if (child >= count) break;
    let other = get(child);
    // mutant timer-heap: if (child + 1 < count && count > 1000) {
    if (child + 1 < count) {
      const right = get(child + 1);
      if (right.due < other.due) {
        child++;
        other = right;
      }
    }
    if (c.due <= other.due) break;
    set(i, other);
    i = child;
  }
  set(i, c);
}

/** Ensures that the heap examines `c` at `due` or earlier. */
export function arm(c: Conn, due: f64): void {
  if (c.timerAt == 0) {
    c.due = due;
    engine.timerCount++;
    up(engine.timerCount - 1, c);
    // mutant timer-sooner: } else if (due < c.due - 1000000) {
  } else if (due < c.due) {
    c.due = due;
    up(c.timerAt - 1, c);
  }
}

/** Moves the first connection of the heap to a later time. */
export function postpone(c: Conn, due: f64): void {
  c.due = due;
  down(c.timerAt - 1, c);
}

export function disarm(c: Conn): void {
  if (c.timerAt == 0) return;
  const i = c.timerAt - 1;
  c.timerAt = 0;
  engine.timerCount--;
  if (i == engine.timerCount) return;
  const last = get(engine.timerCount);
  if (i > 0 && get((i - 1) >> 1).due > last.due) up(i, last);
  else down(i, last);
}

/** Returns the connection to examine next, 0 when there is none. */
export function first(): Conn {
  return engine.timerCount == 0 ? changetype<Conn>(0) : get(0);
}
