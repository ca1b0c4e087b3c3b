// Events for the embedder: one table that any call fills, and that the embedder empties before its next call.
//
// Invariant: there is always room for one Closed event of each live connection (NOTICE_LIMIT keeps it free).

import {
  CLOSE_REASONS,
  Control,
  EVENT_BYTES,
  EVENT_EXTRA,
  EVENT_GENERATION,
  EVENT_KIND,
  EVENT_LENGTH,
  EVENT_LIMIT,
  EVENT_POINTER,
  EVENT_SLOT,
  EVENT_VALUE,
  EventKind,
  NOTICE_LIMIT,
  RESERVED_CONFIGURED,
  RESERVED_EOF,
} from "../abi";
import { isWebSocket, Conn, add, engine, getControl, setControl, webSocketOf } from "./records";

/** Returns true when the table has no room for another inbound event, so that parsing stops. */
export function eventsFull(): bool {
  // mutant event-limit: return engine.inboundEvents >= EVENT_LIMIT * 16;
  return engine.inboundEvents >= EVENT_LIMIT;
}

/** Returns true when the table has no room for another notice, which then stays pending. */
export function noticesFull(): bool {
  if (engine.notices < NOTICE_LIMIT) return false;
  engine.noticesPending = 1;
  return true;
}

/**
 * Appends an event. `eventsFull` limits the inbound kinds, and `noticesFull` limits the notices. Each slot has room for
 * its Closed.
 */
export function emit(kind: u32, c: Conn, pointer: usize, length: u32, value: i32): void {
  takeEvents();
  const e = engine.events + (engine.eventCount as usize) * EVENT_BYTES;
  store<u32>(e, kind, EVENT_KIND);
  store<u32>(e, c.slot, EVENT_SLOT);
  store<u32>(e, c.generation, EVENT_GENERATION);
  store<u32>(e, pointer as u32, EVENT_POINTER);
  store<u32>(e, length, EVENT_LENGTH);
  store<i32>(e, value, EVENT_VALUE);
  store<u32>(e, isWebSocket(c) ? (webSocketOf(c).closeCode as u32) : 0, EVENT_EXTRA);
  engine.eventCount++;
  if (kind < (EventKind.Drain as u32) || kind >= (EventKind.Proxied as u32)) engine.inboundEvents++;
  else if (kind < (EventKind.Closed as u32)) engine.notices++;
  setControl(Control.EventCount, engine.eventCount as f64);
}

/** Sets the extra field of the event appended last. */
export function setExtra(value: u32): void {
  store<u32>(engine.events + ((engine.eventCount - 1) as usize) * EVENT_BYTES, value, EVENT_EXTRA);
}

/** Returns true for a valid close reason. The counters have room for no other number, whatever an embedder passes. */
export function isReason(reason: i32): bool {
  if (reason == RESERVED_EOF || reason == RESERVED_CONFIGURED) return false;
  return reason < 0 && reason >= -(CLOSE_REASONS as i32);
}

/** Resets the counts when the embedder has drained the table. */
export function takeEvents(): void {
  if (getControl(Control.EventCount) == 0) {
    engine.eventCount = 0;
    engine.inboundEvents = 0;
    engine.notices = 0;
  }
}

export function countClose(reason: i32): void {
  add(Control.CloseCount - reason, 1);
}

/**
 * Records a broken rule for `check`.
 * @param at the slot, topic or address number that breaks it
 * @param found the value there @param expected the correct value
 */
export function broken(rule: u32, at: u32, found: f64, expected: f64): u32 {
  setControl(Control.CheckAt, at as f64);
  setControl(Control.CheckFound, found);
  setControl(Control.CheckExpected, expected);
  return rule;
}
