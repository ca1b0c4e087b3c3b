// Holds a connection: it is not parsed until it is released, and messages that have not been handled are taken back.
//
// A held WebSocket is still read, and its bytes stay unparsed in its buffer, so that a FIN or a reset is noticed. To
// take messages back, their payloads are masked again, and the cursor moves to the first of their frames. Cases:
//   the window has unparsed bytes      the cursor moves back within the window
//   the window was parsed to its end   it becomes the connection's again, up to the last message
//   the bytes were in the buffer       the cursor moves back within the buffer, which a pass with events keeps
//   a compressed message               it stays unmasked, and is parsed again as the rest of a frame with mask 0

import {
  Control,
  EVENT_BYTES,
  EVENT_GENERATION,
  EVENT_KIND,
  EVENT_LENGTH,
  EVENT_POINTER,
  EVENT_SLOT,
  EVENT_VALUE,
  EventKind,
  Param,
} from "../abi";

import { CLOSE_WAITS } from "./frames-in";
import { unmask } from "../kernel/bytes";
import { HEADROOM_BYTES } from "../plan";
import { rearm } from "../reply/deadline";
import { takeEvents } from "../state/events";
import { creditTime, refund } from "../state/rate";
import {
  Conn,
  Flag,
  State,
  WebSocketConn,
  add,
  engine,
  has,
  isWebSocket,
  param,
  paramU32,
  takeTime,
  webSocketOf,
  WebSocketFlag,
  hasMark,
  setControl,
  setMark,
  clearMark,
} from "../state/records";
import { live } from "../state/slots";

/** Returns the size of a masked frame's head in bytes. A length always has its shortest form. */
function headOf(length: u32): u32 {
  return length < 126 ? 6 : length < 65536 ? 8 : 14;
}

/** Returns true for bytes in the window, or before it, where an incomplete head is moved. */
function isOfWindow(from: u32, to: u32): bool {
  const window = engine.window as u32;
  return from >= window - (HEADROOM_BYTES as u32) && to <= window + paramU32(Param.WindowBytes);
}

/** Moves the cursor back to `first`. The bytes up to `end` have been parsed. */
function moveBack(c: Conn, first: u32, end: u32): void {
  if (has(c, Flag.InWindow)) {
    engine.source = first;
  } else if (isOfWindow(first, end)) {
    c.flags |= Flag.InWindow;
    engine.fedSlot = c.slot + 1;
    engine.source = first;
    engine.sourceEnd = end;
  } else {
    c.start = first - c.buffer;
  }
  // Even if `feed` consumed all bytes, `resume` has some to parse now.
  c.flags |= Flag.MessageOut;
}

/**
 * Takes back a compressed message, which is the only message of its pass. It may have come in several frames, so none
 * of them is parsed again: its payload is unmasked, and becomes the last bytes of a frame with mask 0.
 */
function takeBackPacked(c: WebSocketConn, payload: u32, length: u32, opcode: u32): void {
  c.opcode = opcode as u8;
  c.frameFinal = 1;
  c.frameOpen = 1;
  // mutant packed-mask (inflater): ;
  c.mask = 0;
  setMark(c, WebSocketFlag.Inflating);
  add(Control.MessagesIn, -1);
  if (payload == c.buffer) {
    // It was assembled at the start of the buffer.
    // mutant packed-whole: c.message = length - 1;
    c.message = length;
    c.frameLeft = 0;
    c.flags |= Flag.MessageOut;
  } else {
    c.frameLeft = length;
    moveBack(c, payload, payload + length);
  }
}

/** Takes back the messages that the embedder has not handled, which are in the event table from index `from` on. */
function takeBack(c: Conn, from: u32): void {
  webSocketOf(c).burst = 1;
  c.flags &= ~Flag.MessageOut;
  let first: u32 = 0;
  let end: u32 = 0;
  // mutant take-late: for (let i = from + 1; i < engine.eventCount; i++) {
  for (let i = from; i < engine.eventCount; i++) {
    const e = engine.events + (i as usize) * EVENT_BYTES;
    const kind = load<u32>(e, EVENT_KIND);
    if (kind != (EventKind.Message as u32) && kind != (EventKind.Inflate as u32)) continue;
    if (load<u32>(e, EVENT_SLOT) != c.slot || load<u32>(e, EVENT_GENERATION) != c.generation)
      continue;
    store<u32>(e, 0, EVENT_KIND);
    const payload = load<u32>(e, EVENT_POINTER);
    const length = load<u32>(e, EVENT_LENGTH);
    if (kind == (EventKind.Inflate as u32)) {
      takeBackPacked(webSocketOf(c), payload, length, load<u32>(e, EVENT_VALUE));
      return;
    }
    // mutant take-mask: ;
    unmask(payload as usize, payload as usize, length, load<u32>((payload as usize) - 4));
    if (first == 0) first = payload - headOf(length);
    end = payload + length;
    add(Control.MessagesIn, -1);
    if (param(Param.MessageRate) != 0) refund(c);
  }
  if (first != 0) moveBack(c, first, end);
}

/**
 * Holds a connection, so that it is not parsed, or releases it. Call `resume` after the release. A held WebSocket is
 * still read while it has less than a window of unparsed bytes.
 * @param from index in the event table of the first event that the embedder has not handled. The messages of this
 * WebSocket from there on, compressed ones included, are taken back and parsed again later. Their events become kind 0
 */
export function hold(slot: u32, generation: u32, held: u32, from: u32): void {
  takeTime();
  takeEvents();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0) return;
  if (held != 0) {
    if (!has(c, Flag.Held)) c.parkedSince = engine.now;
    c.flags |= Flag.Held;
    if (isWebSocket(c) && (c.state == State.Open || c.state == State.Closing)) takeBack(c, from);
    return;
  }
  if (!has(c, Flag.Held)) return;
  c.flags &= ~(Flag.Held | Flag.Pinged);
  // While it was held it was passed over when buffers became free.
  if (has(c, Flag.Waiting)) engine.buffersGiven = 1;
  creditTime(c, c.parkedSince);
  c.lastIn = engine.now;
  rearm(c);
}

/**
 * Finds a compressed message that was taken back, so that the embedder can inflate it in steps. Its bytes stay where
 * they are until more are fed or the connection is resumed.
 * @returns its address, with its length in Control.Result; 0: there is none, or it has no buffer yet
 */
export function packed(slot: u32, generation: u32): u32 {
  const c = webSocketOf(live(slot, generation));
  if (changetype<usize>(c) == 0 || !isWebSocket(c)) return 0;
  if (c.state != State.Open && c.state != State.Closing) return 0;
  if (has(c, Flag.InWindow | Flag.Waiting) || c.buffer == 0) return 0;
  if (!hasMark(c, WebSocketFlag.Inflating) || (c.frameOpen & c.frameFinal) == 0) return 0;
  if (c.frameLeft == 0) {
    setControl(Control.Result, c.message as f64);
    return c.buffer;
  }
  if (c.message != 0 || c.end - c.start < c.frameLeft) return 0;
  setControl(Control.Result, c.frameLeft as f64);
  return c.buffer + c.start;
}

/**
 * Sets whether the messages of a WebSocket are handled later than their events. If so, a Close or a fault waits for
 * them, and EndWaits notifies the embedder. It then calls this function again, and releases the connection as after
 * `hold`.
 */
export function relay(slot: u32, generation: u32, relayed: u32): void {
  const c = webSocketOf(live(slot, generation));
  if (changetype<usize>(c) == 0 || !isWebSocket(c)) return;
  if (relayed != 0) {
    setMark(c, WebSocketFlag.Relayed);
    return;
  }
  clearMark(c, WebSocketFlag.Relayed);
  if (c.failure == CLOSE_WAITS) c.failure = 0;
}
