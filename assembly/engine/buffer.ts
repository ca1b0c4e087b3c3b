// Pooled receive buffers, where a connection keeps bytes that cannot be parsed yet.
//
// Invariant: an idle connection owns no buffer.
//
//   HTTP        buffer  | head table | head, body, next head |         start … end, after the table
//   WebSocket   buffer  | message so far | unparsed |              0 … message, start … end

import { HEADER_ENTRY_BYTES } from "../abi";
import { rearm } from "../reply/deadline";
import { blockBytes, give, orderFor, take } from "../state/pool";
import { countBuffer, isReceiveFull } from "../state/quota";
import {
  Conn,
  Flag,
  State,
  engine,
  has,
  isWebSocket,
  receivePool,
  httpOf,
  WebSocketConn,
  webSocketOf,
} from "../state/records";
import { at, locate } from "../state/slots";

/** Queues a connection for a buffer, in order of arrival. */
function waitForBuffer(c: Conn, order: u32): void {
  c.waitOrder = order as u8;
  if (has(c, Flag.Waiting)) return;
  c.flags |= Flag.Waiting;
  c.waitSince = engine.now;
  c.waitNext = 0;
  c.waitBack = engine.waitTail;
  if (engine.waitTail != 0) at(engine.waitTail - 1).waitNext = c.slot + 1;
  else engine.waitHead = c.slot + 1;
  engine.waitTail = c.slot + 1;
  rearm(c);
}

/**
 * Ensures that the buffer holds `bytes`. If a larger buffer is needed, the first `used` bytes are moved to it.
 * @returns false when no buffer is free, and the connection waits for one
 */
export function ensure(c: Conn, used: u32, bytes: u32): bool {
  if (c.buffer != 0 && blockBytes(receivePool, c.order) >= bytes) return true;
  const order = orderFor(receivePool, bytes);
  const found: usize = isReceiveFull(c, order) ? 0 : take(receivePool, order);
  if (found == 0) {
    waitForBuffer(c, order);
    return false;
  }
  countBuffer(c, blockBytes(receivePool, order));
  if (c.buffer != 0) {
    countBuffer(c, -(blockBytes(receivePool, c.order) as i32));
    memory.copy(found, c.buffer as usize, used);
    give(receivePool, c.buffer as usize, c.order as u32);
    engine.buffersGiven = 1;
  }
  c.buffer = found as u32;
  c.order = order as u8;
  return true;
}

/** Moves the HTTP bytes in the window, with their table, to a pooled buffer. */
export function keepHttp(c: Conn): bool {
  const length = c.end - c.start;
  if (!ensure(c, 0, engine.tableBytes + length)) return false;
  memory.copy(
    c.buffer as usize,
    engine.headTable,
    (httpOf(c).headers as usize) * HEADER_ENTRY_BYTES,
  );
  memory.copy((c.buffer as usize) + engine.tableBytes, engine.window + c.start, length);
  c.flags &= ~Flag.InWindow;
  engine.fedSlot = 0;
  c.start = 0;
  c.end = length;
  locate(httpOf(c));
  return true;
}

/** Moves the WebSocket bytes in the window to the pooled buffer, after the message in it. */
export function keepFrames(c: WebSocketConn): bool {
  const length = engine.sourceEnd - engine.source;
  let from = max(c.message, c.end);
  if (c.start > c.message && c.buffer != 0 && from + length > blockBytes(receivePool, c.order)) {
    // The bytes before the unparsed ones have been handled, so their room is reused before a larger block is taken.
    const buffer = c.buffer as usize;
    memory.copy(buffer + c.message, buffer + c.start, c.end - c.start);
    c.end = c.message + c.end - c.start;
    c.start = c.message;
    from = c.end;
  }
  if (!ensure(c, from, from + length)) return false;
  memory.copy((c.buffer as usize) + from, engine.source as usize, length);
  c.start = c.end > c.start ? c.start : from;
  c.end = from + length;
  c.flags &= ~Flag.InWindow;
  engine.fedSlot = 0;
  return true;
}

/** Returns the unparsed bytes in the window to the embedder, because no buffer was free. Returns how many. */
export function handBack(c: Conn): u32 {
  const left = isWebSocket(c) ? engine.sourceEnd - engine.source : c.end - c.start;
  c.flags &= ~Flag.InWindow;
  engine.fedSlot = 0;
  if (!isWebSocket(c)) {
    c.start = 0;
    c.end = 0;
    return left;
  }
  const window = engine.window as u32;
  if (engine.source >= window) return left;
  // An incomplete head that was moved before the window returns to its place after the message.
  const kept = window - engine.source;
  memory.copy((c.buffer as usize) + webSocketOf(c).message, engine.source as usize, kept);
  c.start = webSocketOf(c).message;
  c.end = webSocketOf(c).message + kept;
  return left - kept;
}

/** Returns the number of a connection's unparsed bytes. */
export function leftover(c: Conn): u32 {
  if (c.state == State.Dead || c.state == State.Finishing || c.state == State.Linger) return 0;
  if (isWebSocket(c)) {
    if (has(c, Flag.InWindow)) return engine.sourceEnd - engine.source;
    return has(c, Flag.MessageOut | Flag.Held) ? c.end - c.start : 0;
  }
  if (c.state == State.Request) return c.end - c.start - httpOf(c).scan;
  const isHead = c.state == State.Head || c.state == State.Body;
  return isHead && has(c, Flag.InWindow | Flag.Clogged | Flag.Held) ? c.end - c.start : 0;
}
