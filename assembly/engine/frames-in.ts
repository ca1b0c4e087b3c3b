// WebSocket bytes in: frames are unmasked and checked, messages and control frames become events.
//
// Invariant: within one pass of the parser, after the first inbound event only whole, uncompressed messages of one
// frame follow, each in place. The pass stops before anything else (a control frame, a fragment, a compressed or
// incomplete message, a fault) and continues when the events have been handled. So a message whose event has not been
// handled can be taken back (hold.ts).

import { CloseReason, Control, EventKind, Param, Shut } from "../abi";
import { ensure, handBack, keepFrames, leftover } from "./buffer";
import { unmask } from "../kernel/bytes";
import { UTF8_BAD, UTF8_START, validate } from "../kernel/utf8";
import { DONE, MORE } from "../parse/http";
import { Opcode, closePayload, parseFrameHead, frameHead } from "../parse/ws";
import { HEADROOM_BYTES } from "../plan";
import { rearm } from "../reply/deadline";
import { dropBuffer, finishWith, kill } from "../reply/end";
import { hasMore } from "../reply/row";
import { answerClose, depart, fail, queuePong } from "../reply/send";

import { emit, eventsFull, setExtra } from "../state/events";
import { endPaceIn, isFlooding, paceIn, refund } from "../state/rate";
import {
  Conn,
  Flag,
  State,
  add,
  engine,
  has,
  isStream,
  param,
  paramU32,
  WebSocketConn,
  webSocketOf,
  WebSocketFlag,
  hasMark,
  setMark,
  clearMark,
} from "../state/records";

/** Handles a control frame that is whole and unmasked. */
function control(c: Conn, opcode: u32, payload: usize, length: u32): void {
  if (opcode == Opcode.Ping) {
    add(Control.PingsIn, 1);
    queuePong(c, payload, length);
    emit(EventKind.Ping, c, payload, length, 0);
  } else if (opcode == Opcode.Pong) {
    emit(EventKind.Pong, c, payload, length, 0);
  } else {
    const code = closePayload(payload, length);
    if (code == 0) {
      fail(c, CloseReason.WsBadClosePayload);
      return;
    }
    const text: u32 = length > 2 ? length - 2 : 0;
    if (validate(payload + 2, text, UTF8_START) != UTF8_START) {
      fail(c, CloseReason.WsBadUtf8);
      return;
    }
    emit(EventKind.PeerClose, c, payload + 2, text, code);
    answerClose(c, code);
  }
}

/** Whether a message, or a control frame outside of a message, was completed since parsing began. */
let isWhole: bool = false;

/** Emits a whole message. The next frame starts a new one. */
function message(c: WebSocketConn, payload: usize, length: u32): void {
  add(Control.MessagesIn, 1);
  emit(
    hasMark(c, WebSocketFlag.Inflating) ? EventKind.Inflate : EventKind.Message,
    c,
    payload,
    length,
    c.opcode,
  );
  // The embedder validates compressed messages. Nothing after one is parsed until it calls `resume`.
  if (hasMark(c, WebSocketFlag.Inflating)) c.flags |= Flag.MessageOut;
  clearMark(c, WebSocketFlag.Inflating);
  c.opcode = 0;
  c.fragments = 0;
  c.message = 0;
  c.frameOpen = 0;
  isWhole = true;
}

function isText(c: WebSocketConn): bool {
  return c.opcode == Opcode.Text && !hasMark(c, WebSocketFlag.Inflating);
}

/** Forgets the message that has begun, so that it is parsed again from its first frame. */
function unbegin(c: WebSocketConn): void {
  c.opcode = 0;
  c.fragments = 0;
  c.frameOpen = 0;
  c.frameLeft = 0;
}

/** Checks the text that arrived. Returns false when the connection failed. */
function checkText(c: WebSocketConn, at: usize, length: u32, complete: bool): bool {
  if (!isText(c)) return true;
  c.utf8 = validate(at, length, c.utf8);
  if (c.utf8 == UTF8_BAD || (complete && c.utf8 != UTF8_START)) {
    failInOrder(c, CloseReason.WsBadUtf8);
    return false;
  }
  return true;
}

/** Emits a piece of a message in place. Returns false when the connection failed. */
function piece(c: WebSocketConn, source: usize, n: u32, last: bool): bool {
  c.mask = unmask(source, source, n, c.mask);
  engine.source += n;
  c.frameLeft -= n;
  if (!checkText(c, source, n, last)) return false;
  // An empty frame in the middle of a message emits no piece.
  if (n > 0 || last) {
    const first: u32 = hasMark(c, WebSocketFlag.Begun) ? 0 : 0x100;
    emit(EventKind.Fragment, c, source, n, (c.opcode as u32) | first | (last ? 0x200 : 0));
    setExtra(c.frameLeft);
    setMark(c, WebSocketFlag.Begun);
  }
  if (c.frameLeft == 0) c.frameOpen = 0;
  if (last) {
    clearMark(c, WebSocketFlag.Begun);
    c.opcode = 0;
    c.fragments = 0;
    isWhole = true;
    add(Control.MessagesIn, 1);
  }
  return true;
}

/**
 * Value of `failure` for a Close, which is parsed again later, or the end of the peer's side. Other values are
 * faults.
 */
export const CLOSE_WAITS: u32 = 1;

/** Returns true when the end of a WebSocket must wait for messages that another thread handles. */
function isRelayed(c: Conn): bool {
  return hasMark(webSocketOf(c), WebSocketFlag.Relayed) && c.state == State.Open;
}

/**
 * Stops parsing until the messages before have been handled elsewhere.
 * @param end a fault, or CLOSE_WAITS
 */
function awaitMessages(c: WebSocketConn, end: u32): void {
  c.failure = end;
  c.flags |= Flag.Held;
  c.parkedSince = engine.now;
  emit(EventKind.EndWaits, c, 0, 0, 0);
}

/** Fails a WebSocket after the messages before the fault have been handled, so that their replies are sent first. */
function failInOrder(c: Conn, reason: i32): void {
  if (isRelayed(c)) awaitMessages(webSocketOf(c), reason as u32);
  else fail(c, reason);
}

/**
 * Returns true when the frame whose head was decoded last may follow events that the embedder has not handled: a whole,
 * uncompressed message of one frame.
 */
function mayFollow(c: WebSocketConn): bool {
  if (frameHead.opcode >= 8 || !frameHead.isFinal || frameHead.isDeflated || c.opcode != 0)
    return false;
  if (paramU32(Param.Pieces) != 0) return false;
  return engine.sourceEnd - engine.source >= frameHead.bytes + frameHead.length;
}

/** Returns true when the pass has emitted as many events as the connection may have unhandled. */
function isPassOver(c: WebSocketConn): bool {
  return eventsFull() || (c.burst != 0 && engine.inboundEvents >= c.burst);
}

/**
 * Parses frames from engine.source to engine.sourceEnd until it must stop. Returns true when it needs more bytes.
 *
 * It is long because it is one loop over three states (between frames, within a head, within a payload), and splitting
 * it costs a call for each frame.
 */
function parseFrames(c: WebSocketConn): bool {
  const isLimited = param(Param.MessageRate) != 0;
  while (c.state == State.Open || c.state == State.Closing) {
    if (has(c, Flag.Held | Flag.MessageOut)) return false;
    if (c.failure != 0) {
      failInOrder(c, c.failure as i32);
      return false;
    }
    const follows = engine.inboundEvents > 0;
    // The window needs no further pass. The buffer does, because it is freed when its events have been handled.
    if (follows && engine.source == engine.sourceEnd && has(c, Flag.InWindow)) return true;
    if (follows && (c.frameOpen != 0 || isPassOver(c))) {
      c.flags |= Flag.MessageOut;
      return false;
    }
    if (c.frameOpen == 0) {
      const result = parseFrameHead(c, engine.source as usize, engine.sourceEnd as usize);
      if (follows && (result != DONE || !mayFollow(c) || (isLimited && isFlooding(c)))) {
        c.flags |= Flag.MessageOut;
        return false;
      }
      if (result == MORE) return true;
      if (result != DONE) {
        failInOrder(c, result);
        return false;
      }
      if (frameHead.opcode >= 8) {
        const payload = (engine.source + frameHead.bytes) as usize;
        if (engine.sourceEnd - engine.source < frameHead.bytes + frameHead.length) return true;
        if (frameHead.opcode == Opcode.Close && isRelayed(c)) {
          // Messages before a Close are handled and answered first.
          awaitMessages(c, CLOSE_WAITS);
          return false;
        }
        if (isLimited && frameHead.opcode != Opcode.Close && isFlooding(c)) {
          failInOrder(c, CloseReason.Rate);
          return false;
        }
        unmask(payload, payload, frameHead.length, frameHead.mask);
        engine.source += frameHead.bytes + frameHead.length;
        control(c, frameHead.opcode, payload, frameHead.length);
        // A new message may begin after it, unless it is within a message.
        if (c.opcode == 0) isWhole = true;
        continue;
      }
      c.fragments++;
      if (c.fragments > paramU32(Param.Fragments)) {
        failInOrder(c, CloseReason.WsTooManyFragments);
        return false;
      }
      if (frameHead.opcode != Opcode.Continuation) {
        if (isLimited && !follows && isFlooding(c)) {
          failInOrder(c, CloseReason.Rate);
          return false;
        }
        c.opcode = frameHead.opcode as u8;
        c.utf8 = UTF8_START;
        if (frameHead.isDeflated) setMark(c, WebSocketFlag.Inflating);
      }
      c.frameLeft = frameHead.length;
      c.mask = frameHead.mask;
      c.frameFinal = frameHead.isFinal ? 1 : 0;
      c.frameOpen = 1;
      engine.source += frameHead.bytes;
    }
    const source = engine.source as usize;
    const n = min(c.frameLeft, engine.sourceEnd - engine.source);
    const complete = n == c.frameLeft && c.frameFinal != 0;
    if (paramU32(Param.Pieces) != 0 && !hasMark(c, WebSocketFlag.Inflating)) {
      if (n == 0 && c.frameLeft != 0) return true;
      if (!piece(c, source, n, complete)) return false;
      continue;
    }
    if (complete && c.message == 0) {
      // The common case: the whole message is here. It is unmasked and emitted in place.
      const mask = c.mask;
      unmask(source, source, n, mask);
      if (follows && isText(c) && validate(source, n, UTF8_START) != UTF8_START) {
        // The connection fails when the messages before have been handled.
        unmask(source, source, n, mask);
        engine.source -= frameHead.bytes;
        unbegin(c);
        if (isLimited) refund(c);
        c.flags |= Flag.MessageOut;
        return false;
      }
      engine.source += n;
      if (!follows && !checkText(c, source, n, true)) return false;
      message(c, source, n);
      continue;
    }
    if (n == 0 && c.frameLeft != 0) return true;
    // The message is assembled at the start of the buffer. If its bytes come from the same buffer they are after it.
    if (has(c, Flag.InWindow) && !ensure(c, c.message, max(c.message + n, 1))) return false;
    const target = (c.buffer as usize) + c.message;
    c.mask = unmask(target, source, n, c.mask);
    engine.source += n;
    c.message += n;
    c.frameLeft -= n;
    if (!checkText(c, target, n, complete)) return false;
    if (c.frameLeft == 0) c.frameOpen = 0;
    if (complete) {
      message(c, c.buffer as usize, c.message);
      c.flags |= Flag.MessageOut;
    }
  }
  return false;
}

/** Stores the position of the unparsed bytes when they are in the buffer. */
function storeSource(c: Conn): void {
  if (has(c, Flag.InWindow) || c.buffer == 0) return;
  c.start = engine.source - c.buffer;
  c.end = engine.sourceEnd - c.buffer;
}

/** Releases the window when a WebSocket has no unparsed bytes in it, even if it is held. */
export function leaveWindow(c: WebSocketConn): bool {
  if (engine.source != engine.sourceEnd) return false;
  c.flags &= ~Flag.InWindow;
  engine.fedSlot = 0;
  c.start = c.message;
  c.end = c.message;
  return true;
}

/** Parses from the window or the buffer, and keeps the bytes that are left. */
export function runFrames(c: WebSocketConn): void {
  isWhole = false;
  const starved = parseFrames(c);
  if (isWhole) endPaceIn(c);
  if (c.state != State.Open && c.state != State.Closing) return;
  storeSource(c);
  if (has(c, Flag.InWindow) && !leaveWindow(c) && starved) {
    // An incomplete frame head or control frame is left: at most CONTROL_LIMIT bytes.
    c.start = c.message;
    c.end = c.message;
    if (!keepFrames(c)) return;
  }
  if (!starved) return;
  if (c.start == c.end) {
    c.start = c.message;
    c.end = c.message;
    if (c.message == 0) dropBuffer(c);
  }
  if (c.opcode == 0 && c.start == c.end) endPaceIn(c);
  else if (paceIn(c)) rearm(c);
  endAfterPeer(c);
}

/**
 * Ends a WebSocket whose peer has ended its side (FIN) without a Close, after all its messages have been handled. Its
 * queued bytes are still sent.
 */
export function endAfterPeer(c: Conn): void {
  // mutant end-early: if (!has(c, Flag.PeerEnded)) return;
  if (!has(c, Flag.PeerEnded) || has(c, Flag.Held | Flag.Waiting)) return;
  if (engine.inboundEvents > 0) {
    // `resume` calls this function again when they have been handled.
    c.flags |= Flag.MessageOut;
    return;
  }
  if (isStream(c)) {
    // The client of an event stream says nothing but this.
    kill(c, CloseReason.PeerClosed, c.writing == 0 ? Shut.Destroy : Shut.Reset);
    return;
  }
  if (isRelayed(c)) {
    awaitMessages(webSocketOf(c), CLOSE_WAITS);
    return;
  }
  if (c.writing == 0 && !hasMore(c)) {
    kill(c, CloseReason.PeerEnded, Shut.Destroy);
    return;
  }
  if (c.state == State.Open) {
    emit(EventKind.PeerClose, c, 0, 0, 1006);
    depart(c);
  }
  finishWith(c, CloseReason.PeerEnded);
}

/**
 * Returns true when the next byte of a WebSocket begins a message, messages are neither emitted in pieces nor limited
 * in rate, and the connection has no buffer.
 */
function isBetween(c: WebSocketConn): bool {
  if ((c.opcode | c.frameOpen) != 0 || (c.failure | c.buffer) != 0) return false;
  return paramU32(Param.Pieces) == 0 && paramU32(Param.MessageRate) == 0;
}

/**
 * Emits messages of one short frame each, the most frequent kind, while they are whole in [at, end). They need none of
 * the state that other messages need. The first message of another kind is left to `parseFrames`.
 * @returns the end of the last one
 */
function shortMessages(c: WebSocketConn, at: usize, end: usize): usize {
  const limit = min<u32>(c.payload, 125);
  while (at + 6 <= end && !isPassOver(c)) {
    // FIN and no reserved bit; a mask, and a length within the second byte.
    const opcode = (load<u8>(at) as u32) ^ 0x80;
    const length = (load<u8>(at, 1) as u32) ^ 0x80;
    const payload = at + 6;
    if (opcode - (Opcode.Text as u32) > 1 || length > limit || payload + length > end) break;
    const mask = load<u32>(at, 2);
    unmask(payload, payload, length, mask);
    if (opcode == Opcode.Text && validate(payload, length, UTF8_START) != UTF8_START) {
      // Restored as it arrived, so that the fault is handled after the messages before it.
      unmask(payload, payload, length, mask);
      break;
    }
    add(Control.MessagesIn, 1);
    emit(EventKind.Message, c, payload, length, opcode);
    at = payload + length;
  }
  return at;
}

export function feedFrames(c: WebSocketConn, n: u32): u32 {
  const kept = c.end - c.start;
  if (has(c, Flag.MessageOut | Flag.Held) || kept > (HEADROOM_BYTES as u32)) {
    // Unparsed bytes are in the buffer already, so these are appended.
    engine.source = engine.window as u32;
    engine.sourceEnd = (engine.window as u32) + n;
    if (c.end == 0) c.end = c.start = c.message;
    if (!keepFrames(c)) return 0;
    if (has(c, Flag.MessageOut | Flag.Held)) return n - min(n, leftover(c));
    engine.source = c.buffer + c.start;
    engine.sourceEnd = c.buffer + c.end;
  } else {
    const end = engine.window + n;
    const at = isBetween(c) ? shortMessages(c, engine.window, end) : engine.window;
    if (at == end && !has(c, Flag.PeerEnded)) return n;
    // An incomplete head is moved before the window.
    if (kept > 0) memory.copy(engine.window - kept, (c.buffer as usize) + c.start, kept);
    c.start = 0;
    c.end = 0;
    engine.source = (at as u32) - kept;
    engine.sourceEnd = end as u32;
    c.flags |= Flag.InWindow;
    engine.fedSlot = c.slot + 1;
  }
  runFrames(c);
  return n - min(n, has(c, Flag.Waiting) ? handBack(c) : leftover(c));
}
