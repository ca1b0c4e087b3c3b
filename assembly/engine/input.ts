// Bytes in: from the receive window, or from a connection's pooled buffer, to events.
//
// Invariant: between two reads of different connections nothing unparsed is left in the window. An idle
// connection owns no buffer. What `feed` does not consume the host keeps, and stops reading, until Drain.
//
//   HTTP        buffer  | head table | head, body, what follows |      start … end, from behind the table
//   WebSocket   buffer  | message so far | unparsed |              0 … message, start … end
//
// A WebSocket that is held is still read: its bytes stay unparsed in its buffer, so that the host notices a FIN or a
// reset. The host stops reading when a window's worth is unparsed. Messages that the host has not come to when it
// holds the connection are taken back: they become unparsed bytes again. This rests on a second invariant:
//
//   Within one pass of the parser, after the first inbound event only whole, uncompressed messages of one frame
//   follow, each in place. The pass stops before anything else (a control frame, a fragment, a compressed or
//   incomplete message, a fault) and continues when the host has handled the events.
//
// So taking back is masking those payloads again and moving the cursor to the first of their frames. Cases:
//   the window has unparsed bytes      the cursor moves back within the window
//   the window was parsed to its end   it becomes the connection's again, up to the last message
//   the bytes were in the buffer       the cursor moves back within the buffer, which a pass with events keeps
// The work that is undone is bounded: after `hold` a pass emits one message, and twice as many each time the host
// has handled all of them without holding the connection (`burst`).

import {
  CloseReason,
  Control,
  EVENT_BYTES,
  EVENT_GENERATION,
  EVENT_KIND,
  EVENT_LENGTH,
  EVENT_LIMIT,
  EVENT_POINTER,
  EVENT_SLOT,
  EventKind,
  HEADER_ENTRY_BYTES,
  Outcome,
  Param,
  Shut,
  Trait,
} from "../abi";
import { ADDRESS } from "../kernel/address";
import { unmask } from "../kernel/bytes";
import {
  Conn,
  Flag,
  List,
  State,
  add,
  addOpen,
  at,
  dataOf,
  dropDirty,
  emit,
  engine,
  eventsFull,
  has,
  isReason,
  isWebSocket,
  live,
  markDirty,
  param,
  paramU32,
  putFree,
  receivePool,
  setExtra,
  setControl,
  takeEvents,
  takeTime,
  takeWebSocket,
} from "../state/conn";
import { DONE, MORE, beginHead, closeUp, parseBody, parseHead, wantsContinue } from "../parse/http";
import { hasMore } from "../reply/row";
import { unwatch } from "../reply/progress";
import { furthest } from "../state/treap";
import { dropBuffer, dropInput, finishWith, kill, leaveQueue, rearm } from "./output";
import { isScarce } from "../state/queue";
import { delist, enlist, isIdle, leaveList, readOn } from "../state/room";
import { awaitHead, queueSwitch, refuse, sendContinue } from "../reply/response";
import { answerClose, depart, fail, queuePong } from "../reply/send";
import { endPaceIn, fedBytes, isFlooding, noteFed, paceIn, pardon, refund } from "../state/rate";
import { blockBytes, give, orderFor, take } from "../state/pool";
import { hasClient, parseProxy, proxyBytes } from "../parse/proxy";
import { deflated, messageAt, plain, ringOf } from "../ring/ring";
import {
  countBuffer,
  countReturned,
  isReceiveFull,
  noBlock,
  noBuffer,
  returnRefusal,
} from "../state/quota";
import { Session, session } from "../ring/subscription";
import { disarm } from "../state/timers";
import { breakUpload, parseUpload } from "../reply/body";
import { UTF8_BAD, UTF8_START, validate } from "../kernel/utf8";
import {
  Opcode,
  closePayload,
  headBytes,
  headDeflated,
  headFinal,
  headOpcode,
  parseFrameHead,
  payloadLength,
  payloadMask,
} from "../parse/ws";
import { HEADROOM_BYTES } from "../plan";

/** All bits are taken. Of a WebSocket, Asking says: its messages are handled elsewhere, what ends it waits for that. */
const RELAYED: i32 = Flag.Asking;

// ---- buffers -----------------------------------------------------------------------------------------

/** Queues a connection for a buffer: first come, first served. */
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
 * Sees to it that the buffer holds `bytes`, moving the `used` ones over when it has to be another.
 * @returns false when none is free: the connection waits then
 */
function ensure(c: Conn, used: u32, bytes: u32): bool {
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

function tableOf(c: Conn): usize {
  return has(c, Flag.InWindow) ? engine.headTable : (c.buffer as usize);
}

/** Sets the addresses the host reads a request by. */
function locate(c: Conn): void {
  c.head = (dataOf(c) + c.start) as u32;
  c.table = tableOf(c) as u32;
  c.body = c.head + c.headLength;
}

/** Moves the HTTP bytes in the window, with their table, to a pooled buffer. */
function keepHttp(c: Conn): bool {
  const length = c.end - c.start;
  if (!ensure(c, 0, engine.tableBytes + length)) return false;
  memory.copy(c.buffer as usize, engine.headTable, (c.headers as usize) * HEADER_ENTRY_BYTES);
  memory.copy((c.buffer as usize) + engine.tableBytes, engine.window + c.start, length);
  c.flags &= ~Flag.InWindow;
  engine.fedSlot = 0;
  c.start = 0;
  c.end = length;
  locate(c);
  return true;
}

/** Moves the WebSocket bytes in the window behind the message in the pooled buffer. */
function keepFrames(c: Conn): bool {
  const length = engine.sourceEnd - engine.source;
  let from = max(c.message, c.end);
  if (c.start > c.message && c.buffer != 0 && from + length > blockBytes(receivePool, c.order)) {
    // The bytes before the unparsed ones have been handled: their room is used before a larger block is taken.
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

// ---- HTTP --------------------------------------------------------------------------------------------

/** Appends the first `n` bytes of the window to an HTTP connection's buffer. */
function append(c: Conn, n: u32): bool {
  const capacity = blockBytes(receivePool, c.order);
  if (c.start > 0 && engine.tableBytes + c.end + n > capacity) {
    const data = (c.buffer as usize) + engine.tableBytes;
    memory.copy(data, data + c.start, c.end - c.start);
    c.end -= c.start;
    c.start = 0;
    // Also when no larger buffer is free now: the request that is out has moved.
    if (c.state == State.Request) locate(c);
  }
  if (!ensure(c, engine.tableBytes + c.end, engine.tableBytes + c.end + n)) return false;
  memory.copy((c.buffer as usize) + engine.tableBytes + c.end, engine.window, n);
  c.end += n;
  if (c.state == State.Request) locate(c);
  return true;
}

/** Hands out a request, or its head. */
function ask(c: Conn): void {
  locate(c);
  emit(EventKind.Request, c, c.head, c.headLength, c.traits);
}

/** Bytes behind a PROXY header that are not for the engine: TLS begins with them. */
let behindHeader: u32 = 0;

/** Takes the PROXY header; false when it is not whole yet. */
function takeProxy(c: Conn): bool {
  const data = dataOf(c);
  const result = parseProxy(data + c.start, data + c.end);
  if (result == MORE) return false;
  if (result != DONE) {
    kill(c, result, Shut.Reset);
    return true;
  }
  c.start += proxyBytes;
  c.flags &= ~Flag.Proxied;
  if (has(c, Flag.Unsecured)) {
    behindHeader = c.end - c.start;
    dropInput(c);
  } else {
    // The host says under what address it is counted before a request is looked at.
    c.flags |= Flag.MessageOut;
  }
  emit(EventKind.Proxied, c, ADDRESS, hasClient ? 16 : 0, 0);
  // It takes the place of one that `eventsFull` limits.
  engine.inboundEvents++;
  return true;
}

/** True when the head of a request has begun. Empty lines before it, and the first half of one, do not begin it. */
function hasBegun(c: Conn): bool {
  const bytes = c.end - c.start;
  return bytes > 1 || (bytes == 1 && load<u8>(dataOf(c) + c.start) != 0x0d);
}

/** Parses until a request is out, more is needed, or the connection is through. */
function parseHttp(c: Conn): void {
  if (has(c, Flag.Proxied) && c.start != c.end && !eventsFull() && takeProxy(c)) return;
  while (c.state == State.Head || c.state == State.Body) {
    if (has(c, Flag.Held) || eventsFull()) return;
    if (c.state == State.Head) {
      if (c.start == c.end || has(c, Flag.Proxied)) break;
      if (c.backlog > paramU32(Param.Backlog) || (c.backlog > 0 && isScarce(c))) {
        // It does not read its answers: no further request until it does.
        c.flags |= Flag.Clogged;
        return;
      }
      const result = parseHead(c, dataOf(c), tableOf(c));
      const begun = hasBegun(c);
      if (isIdle(c) && begun) c.since = engine.now;
      if (result == MORE) {
        const isReading = c.list == List.Reading;
        if (begun || c.requests == 0) {
          readOn(c, fedBytes);
          if (!isReading) rearm(c);
        } else if (isReading || c.list == List.None) {
          // Behind an answer there were only empty lines: the connection is idle.
          enlist(c, c.backlog != 0 ? List.Unread : List.Idle);
          rearm(c);
        }
        break;
      }
      if (result != DONE) {
        refuse(c, result);
        return;
      }
      leaveList(c);
      if (c.traits & Trait.BodyToCome) {
        c.state = State.Request;
        c.flags |= Flag.Asking;
        ask(c);
        return;
      }
      c.state = State.Body;
      endPaceIn(c);
    }
    const result = parseBody(c, dataOf(c));
    if (result == MORE) {
      paceIn(c);
      readOn(c, fedBytes);
      if (wantsContinue(c) && !has(c, Flag.Continued)) {
        // Only when the client has not begun to send by itself (RFC 9110 10.1.1); an upgrade goes after it anyway.
        const begun = c.end - c.start != (c.headLength as u32);
        if (!begun) sendContinue(c);
        if (!begun || !(c.traits & Trait.Upgrade)) c.flags |= Flag.Continued;
      }
      rearm(c);
      break;
    }
    if (result != DONE) {
      refuse(c, result);
      return;
    }
    leaveList(c);
    c.state = State.Request;
    ask(c);
    return;
  }
  if (c.state != State.Head && c.state != State.Body) return;
  // More bytes are needed: keep what there is, or own nothing.
  if (has(c, Flag.PeerEnded)) {
    finishWith(c, c.start == c.end ? CloseReason.PeerClosed : CloseReason.PeerEnded);
  } else if (c.start == c.end) {
    dropInput(c);
  } else if (has(c, Flag.InWindow) && !keepHttp(c)) {
    if (c.bodyLength > 0) {
      // A chunked body was decoded in place: it cannot be parsed again.
      leaveQueue(c);
      refuse(c, noBuffer(c));
      return;
    }
    // The host keeps the bytes of this head; it is parsed from its start when there is a buffer.
    c.state = State.Head;
    c.flags &= ~Flag.InWindow;
    engine.fedSlot = 0;
    beginHead(c);
  } else if (c.state == State.Body) {
    closeUp(c);
  }
}

function feedHttp(c: Conn, n: u32): u32 {
  behindHeader = 0;
  if (c.buffer != 0) {
    if (!append(c, n)) return 0;
    parseHttp(c);
    // Nothing is left in the window; what is left in the buffer is told all the same: `resume` follows.
    return n - min(n, behindHeader + leftover(c));
  }
  c.flags |= Flag.InWindow;
  engine.fedSlot = c.slot + 1;
  c.start = 0;
  c.end = n;
  if (c.scan != 0 && c.state == State.Head) beginHead(c);
  if (has(c, Flag.Upload)) parseUpload(c);
  else parseHttp(c);
  return n - (has(c, Flag.Waiting) ? handBack(c) : behindHeader + leftover(c));
}

// ---- WebSocket ---------------------------------------------------------------------------------------

/** A control frame, whole and unmasked. */
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

/** A message, or a control frame that stands alone, has become whole since parsing began. */
let isWhole: bool = false;

/** A whole message; the next frame starts a new one. */
function message(c: Conn, payload: usize, length: u32): void {
  add(Control.MessagesIn, 1);
  emit(
    has(c, Flag.Inflating) ? EventKind.Inflate : EventKind.Message,
    c,
    payload,
    length,
    c.opcode,
  );
  // Whether a compressed message is in order the host finds out: until then nothing behind it is parsed.
  if (has(c, Flag.Inflating)) c.flags |= Flag.MessageOut;
  c.flags &= ~Flag.Inflating;
  c.opcode = 0;
  c.fragments = 0;
  c.message = 0;
  c.frameOpen = 0;
  isWhole = true;
}

function isText(c: Conn): bool {
  return c.opcode == Opcode.Text && !has(c, Flag.Inflating);
}

/** Forgets the message that has begun, for a fresh start at its first frame. */
function unbegin(c: Conn): void {
  c.opcode = 0;
  c.fragments = 0;
  c.frameOpen = 0;
  c.frameLeft = 0;
}

/** Checks the text that arrived; false when the connection failed. */
function checkText(c: Conn, at: usize, length: u32, complete: bool): bool {
  if (!isText(c)) return true;
  c.utf8 = validate(at, length, c.utf8);
  if (c.utf8 == UTF8_BAD || (complete && c.utf8 != UTF8_START)) {
    failInOrder(c, CloseReason.WsBadUtf8);
    return false;
  }
  return true;
}

/** Hands out a piece of a message in place; false when the connection failed. */
function piece(c: Conn, source: usize, n: u32, last: bool): bool {
  c.mask = unmask(source, source, n, c.mask);
  engine.source += n;
  c.frameLeft -= n;
  if (!checkText(c, source, n, last)) return false;
  // An empty frame in the middle of a message is no piece.
  if (n > 0 || last) {
    const first: u32 = has(c, Flag.Begun) ? 0 : 0x100;
    emit(EventKind.Fragment, c, source, n, (c.opcode as u32) | first | (last ? 0x200 : 0));
    setExtra(c.frameLeft);
    c.flags |= Flag.Begun;
  }
  if (c.frameLeft == 0) c.frameOpen = 0;
  if (last) {
    c.flags &= ~Flag.Begun;
    c.opcode = 0;
    c.fragments = 0;
    isWhole = true;
    add(Control.MessagesIn, 1);
  }
  return true;
}

/** In the place of a fault that waits: a Close, which is parsed again, or the end of the peer's side. */
const CLOSE_WAITS: u32 = 1;

/** True when what ends a WebSocket has to wait for messages that another thread handles. */
function isRelayed(c: Conn): bool {
  return has(c, RELAYED) && c.state == State.Open;
}

/** Nothing more is parsed until the messages before have been handled elsewhere. @param end a fault, or CLOSE_WAITS */
function awaitMessages(c: Conn, end: u32): void {
  c.chunk = end;
  c.flags |= Flag.Held;
  c.parkedSince = engine.now;
  emit(EventKind.EndWaits, c, 0, 0, 0);
}

/** Fails a WebSocket once the messages before the fault have been handled: their answers go out first. */
function failInOrder(c: Conn, reason: i32): void {
  if (isRelayed(c)) awaitMessages(c, reason as u32);
  else fail(c, reason);
}

/**
 * True when the frame whose head has just been decoded may follow events that the host has not handled: a message of
 * one frame, uncompressed, that is whole.
 */
function mayFollow(c: Conn): bool {
  if (headOpcode >= 8 || !headFinal || headDeflated || c.opcode != 0) return false;
  if (paramU32(Param.Pieces) != 0) return false;
  return engine.sourceEnd - engine.source >= headBytes + payloadLength;
}

/** True when the pass has emitted as many events as the connection may have out. */
function isPassOver(c: Conn): bool {
  return eventsFull() || (c.burst != 0 && engine.inboundEvents >= c.burst);
}

/** Parses frames from engine.source to engine.sourceEnd until it must stop; true when it needs more bytes. */
function parseFrames(c: Conn): bool {
  const isLimited = param(Param.MessageRate) != 0;
  while (c.state == State.Open || c.state == State.Closing) {
    if (has(c, Flag.Held | Flag.MessageOut)) return false;
    if (c.chunk != 0) {
      failInOrder(c, c.chunk as i32);
      return false;
    }
    const follows = engine.inboundEvents > 0;
    // The window needs no other pass. The buffer does: it is given back when its events have been handled.
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
      if (headOpcode >= 8) {
        const payload = (engine.source + headBytes) as usize;
        if (engine.sourceEnd - engine.source < headBytes + payloadLength) return true;
        if (headOpcode == Opcode.Close && isRelayed(c)) {
          // Messages before a Close are handled, and answered, before it is.
          awaitMessages(c, CLOSE_WAITS);
          return false;
        }
        if (isLimited && headOpcode != Opcode.Close && isFlooding(c)) {
          failInOrder(c, CloseReason.Rate);
          return false;
        }
        unmask(payload, payload, payloadLength, payloadMask);
        engine.source += headBytes + payloadLength;
        control(c, headOpcode, payload, payloadLength);
        // Behind it another begins, unless it stands within a message.
        if (c.opcode == 0) isWhole = true;
        continue;
      }
      c.fragments++;
      if (c.fragments > paramU32(Param.Fragments)) {
        failInOrder(c, CloseReason.WsTooManyFragments);
        return false;
      }
      if (headOpcode != Opcode.Continuation) {
        if (isLimited && !follows && isFlooding(c)) {
          failInOrder(c, CloseReason.Rate);
          return false;
        }
        c.opcode = headOpcode as u8;
        c.utf8 = UTF8_START;
        if (headDeflated) c.flags |= Flag.Inflating;
      }
      c.frameLeft = payloadLength;
      c.mask = payloadMask;
      c.frameFinal = headFinal ? 1 : 0;
      c.frameOpen = 1;
      engine.source += headBytes;
    }
    const source = engine.source as usize;
    const n = min(c.frameLeft, engine.sourceEnd - engine.source);
    const complete = n == c.frameLeft && c.frameFinal != 0;
    if (paramU32(Param.Pieces) != 0 && !has(c, Flag.Inflating)) {
      if (n == 0 && c.frameLeft != 0) return true;
      if (!piece(c, source, n, complete)) return false;
      continue;
    }
    if (complete && c.message == 0) {
      // The common case: the whole message lies here. It is unmasked and handed out in place.
      const mask = c.mask;
      unmask(source, source, n, mask);
      if (follows && isText(c) && validate(source, n, UTF8_START) != UTF8_START) {
        // It fails when the messages before it have been handled.
        unmask(source, source, n, mask);
        engine.source -= headBytes;
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
    // Assembled at the start of the buffer. When the bytes come from the same buffer they lie behind.
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

/** Writes back where the unparsed bytes are, when they are in the buffer. */
function storeSource(c: Conn): void {
  if (has(c, Flag.InWindow) || c.buffer == 0) return;
  c.start = engine.source - c.buffer;
  c.end = engine.sourceEnd - c.buffer;
}

/** Lets go of the window when nothing of a WebSocket is left in it; also when it is held. */
function leaveWindow(c: Conn): bool {
  if (engine.source != engine.sourceEnd) return false;
  c.flags &= ~Flag.InWindow;
  engine.fedSlot = 0;
  c.start = c.message;
  c.end = c.message;
  return true;
}

/** Parses from the window or the buffer; what is left is kept where it may stay. */
function runFrames(c: Conn): void {
  isWhole = false;
  const starved = parseFrames(c);
  if (isWhole) endPaceIn(c);
  if (c.state != State.Open && c.state != State.Closing) return;
  storeSource(c);
  if (has(c, Flag.InWindow) && !leaveWindow(c) && starved) {
    // The head of a frame, or a control frame, that was cut: at most CONTROL_LIMIT bytes.
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
 * Ends a WebSocket whose peer has ended its side (FIN) without a Close, once all that came before has been handled:
 * what is queued for it is still sent.
 */
function endAfterPeer(c: Conn): void {
  // mutant end-early: if (!has(c, Flag.PeerEnded)) return;
  if (!has(c, Flag.PeerEnded) || has(c, Flag.Held | Flag.Waiting)) return;
  if (engine.inboundEvents > 0) {
    // `resume` comes here again when they have been handled.
    c.flags |= Flag.MessageOut;
    return;
  }
  if (isRelayed(c)) {
    awaitMessages(c, CLOSE_WAITS);
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

/** True when the next byte of a WebSocket begins a message that nobody counts, and nothing of it lies in a buffer. */
function isBetween(c: Conn): bool {
  if ((c.opcode | c.frameOpen) != 0 || (c.chunk | c.buffer) != 0) return false;
  return paramU32(Param.Pieces) == 0 && paramU32(Param.MessageRate) == 0;
}

/**
 * Hands out messages of one short frame each, which most are, as long as they lie whole in [at, end): without the
 * state that others need. The first that is not as simple is left to `parseFrames`.
 * @returns where they end
 */
function shortMessages(c: Conn, at: usize, end: usize): usize {
  const limit = min<u32>(session(c).payload, 125);
  while (at + 6 <= end && !isPassOver(c)) {
    // FIN and no reserved bit; a mask and a length that needs no more bytes.
    const opcode = (load<u8>(at) as u32) ^ 0x80;
    const length = (load<u8>(at, 1) as u32) ^ 0x80;
    const payload = at + 6;
    if (opcode - (Opcode.Text as u32) > 1 || length > limit || payload + length > end) break;
    const mask = load<u32>(at, 2);
    unmask(payload, payload, length, mask);
    if (opcode == Opcode.Text && validate(payload, length, UTF8_START) != UTF8_START) {
      // As it came: it fails in the order of what was before it.
      unmask(payload, payload, length, mask);
      break;
    }
    add(Control.MessagesIn, 1);
    emit(EventKind.Message, c, payload, length, opcode);
    at = payload + length;
  }
  return at;
}

function feedFrames(c: Conn, n: u32): u32 {
  const kept = c.end - c.start;
  if (has(c, Flag.MessageOut | Flag.Held) || kept > (HEADROOM_BYTES as u32)) {
    // Unparsed bytes lie in the buffer already: these go behind them.
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
    // A cut head goes back in front of the window.
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

// ---- both --------------------------------------------------------------------------------------------

/** Gives the unparsed bytes in the window back to the host: no buffer was free. Returns how many. */
function handBack(c: Conn): u32 {
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
  // A cut head that was put in front of the window goes back behind the message.
  const kept = window - engine.source;
  memory.copy((c.buffer as usize) + c.message, engine.source as usize, kept);
  c.start = c.message;
  c.end = c.message + kept;
  return left - kept;
}

/** Unparsed bytes of a connection. */
function leftover(c: Conn): u32 {
  if (c.state == State.Dead || c.state == State.Finishing || c.state == State.Linger) return 0;
  if (isWebSocket(c)) {
    if (has(c, Flag.InWindow)) return engine.sourceEnd - engine.source;
    return has(c, Flag.MessageOut | Flag.Held) ? c.end - c.start : 0;
  }
  if (c.state == State.Request) return c.end - c.start - c.scan;
  const isHead = c.state == State.Head || c.state == State.Body;
  return isHead && has(c, Flag.InWindow | Flag.Clogged | Flag.Held) ? c.end - c.start : 0;
}

/** Bytes that are read of who has been told its end: so that a client that sends before it reads can read that. */
const DISCARD_LIMIT: u32 = 16777216;

/** No more input is wanted: what comes is dropped, and from some point on left in the network. */
function discard(c: Conn, n: u32): u32 {
  c.discarded += n;
  if (c.discarded > DISCARD_LIMIT) c.flags |= Flag.Deaf;
  return n;
}

/** Leaves bytes that found no buffer to the host; the connection ends when that may hold no more. */
function handOver(c: Conn, bytes: u32): void {
  const reason = returnRefusal(c, bytes);
  if (reason == 0) {
    countReturned(c, bytes);
    return;
  }
  leaveQueue(c);
  if (isWebSocket(c)) fail(c, reason);
  else refuse(c, reason);
}

/** Counts bytes that have come; what was given back has been counted. */
function countIn(c: Conn, n: u32): void {
  const again = min(n, c.returned);
  countReturned(c, -(again as i32));
  add(Control.BytesIn, (n - again) as f64);
}

/**
 * Takes in `n` bytes of a connection, which the host has read into the receive window.
 * @returns how many were consumed. When fewer than `n`: drain the events and call `resume` until it makes
 * no more progress; then `retain`. When the connection waits for a buffer the host keeps the rest, stops
 * reading, and feeds it again after Drain.
 *
 * Bytes of another connection that are still unparsed in the window, since the host has not called `retain`, are lost:
 * that connection is reset.
 */
export function feed(slot: u32, generation: u32, n: u32): u32 {
  takeTime();
  takeEvents();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0) {
    // It has just ended, and the host has not come to that.
    const isDead = slot < engine.allSlots && at(slot).state == State.Dead;
    if (isDead && at(slot).generation == generation) countIn(at(slot), n);
    return n;
  }
  if (engine.fedSlot != 0) {
    // The host has read these bytes over some that were not parsed yet, without `retain`. Whose they were has lost
    // them, and must not go on with another's.
    const robbed = at(engine.fedSlot - 1);
    kill(robbed, CloseReason.HandlerError, Shut.Reset);
    if (robbed.slot == c.slot) return n;
  }
  countIn(c, n);
  c.lastIn = engine.now;
  c.flags &= ~Flag.Pinged;
  noteFed(n);
  if (has(c, Flag.Waiting)) leaveQueue(c);
  if (c.state == State.Finishing || c.state == State.Linger) return discard(c, n);
  const consumed = isWebSocket(c) ? feedFrames(c, n) : feedHttp(c, n);
  if (has(c, Flag.Waiting)) handOver(c, n - consumed);
  return consumed;
}

/** What `resume` says of a connection: unparsed bytes, or those that are given back. */
function remainder(c: Conn): u32 {
  if (!has(c, Flag.Waiting)) return leftover(c);
  const left = handBack(c);
  handOver(c, left);
  return left;
}

/**
 * Goes on with a connection's unparsed bytes after its events have been handled.
 * @returns unparsed bytes left; the same as before when it is held, or its request is not answered. When it
 * waits for a buffer now, these are the last ones that were fed: the host keeps them, as after `feed`
 */
export function resume(slot: u32, generation: u32): u32 {
  takeTime();
  takeEvents();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0) return 0;
  // What lies in the window has just been fed.
  if (!has(c, Flag.InWindow)) noteFed(0);
  if (!isWebSocket(c)) {
    if (has(c, Flag.Waiting)) return 0;
    c.flags &= ~Flag.MessageOut;
    if (has(c, Flag.Upload)) parseUpload(c);
    else if (c.state == State.Head || c.state == State.Body) parseHttp(c);
    return remainder(c);
  }
  if (has(c, Flag.MessageOut)) {
    c.flags &= ~Flag.MessageOut;
    // The host has handled what was out without holding the connection: more may be out at a time.
    if (!has(c, Flag.Held)) c.burst = c.burst < EVENT_LIMIT ? c.burst << 1 : 0;
  }
  if (has(c, Flag.Waiting) || (c.state != State.Open && c.state != State.Closing)) return 0;
  if (!has(c, Flag.InWindow)) {
    // Without bytes there may still be a fault, or the peer's end, that waits for the messages before it.
    if (c.buffer == 0 && c.chunk == 0) {
      endAfterPeer(c);
      return 0;
    }
    engine.source = c.buffer + c.start;
    engine.sourceEnd = c.buffer + c.end;
  }
  if (!has(c, Flag.Held)) runFrames(c);
  return remainder(c);
}

/**
 * Moves what a connection still has in the window to a buffer of its own: its request is not answered yet,
 * or it is held.
 * @returns 1; 0 when no buffer was free. A request is answered 503 then (NoBuffer; AddressBuffers: 429). A WebSocket
 * waits for a buffer, and the host keeps the unparsed bytes, the last ones of the window, as after `feed`; it is
 * closed with 1013 when the host holds too many of such bytes
 */
export function retain(slot: u32, generation: u32): u32 {
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0) return 0;
  if (!has(c, Flag.InWindow)) return 1;
  if (isWebSocket(c)) {
    if (leaveWindow(c)) return 1;
    if (c.end == c.start) {
      c.start = c.message;
      c.end = c.message;
    }
    if (keepFrames(c)) return 1;
    handOver(c, handBack(c));
    return 0;
  }
  if (keepHttp(c)) {
    if (c.state == State.Head && c.list == List.None) awaitHead(c);
    return 1;
  }
  leaveQueue(c);
  refuse(c, noBuffer(c));
  return 0;
}

/** Bytes of the head of a masked frame: a length is never longer than it has to be. */
function headOf(length: u32): u32 {
  return length < 126 ? 6 : length < 65536 ? 8 : 14;
}

/** True for bytes in the window, or in front of it, where a cut head goes. */
function isOfWindow(from: u32, to: u32): bool {
  const window = engine.window as u32;
  return from >= window - (HEADROOM_BYTES as u32) && to <= window + paramU32(Param.WindowBytes);
}

/** Takes back the messages that the host has not come to: those of the event table from index `from` on. */
function takeBack(c: Conn, from: u32): void {
  c.burst = 1;
  c.flags &= ~Flag.MessageOut;
  let first: u32 = 0;
  let end: u32 = 0;
  // mutant take-late: for (let i = from + 1; i < engine.eventCount; i++) {
  for (let i = from; i < engine.eventCount; i++) {
    const e = engine.events + (i as usize) * EVENT_BYTES;
    if (load<u32>(e, EVENT_KIND) != (EventKind.Message as u32)) continue;
    if (load<u32>(e, EVENT_SLOT) != c.slot || load<u32>(e, EVENT_GENERATION) != c.generation)
      continue;
    store<u32>(e, 0, EVENT_KIND);
    const payload = load<u32>(e, EVENT_POINTER);
    const length = load<u32>(e, EVENT_LENGTH);
    // mutant take-mask: ;
    unmask(payload as usize, payload as usize, length, load<u32>((payload as usize) - 4));
    if (first == 0) first = payload - headOf(length);
    end = payload + length;
    add(Control.MessagesIn, -1);
    if (param(Param.MessageRate) != 0) refund(c);
  }
  if (first == 0) return;
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
  // There is something for `resume` to look at, even if `feed` consumed everything.
  c.flags |= Flag.MessageOut;
}

/**
 * Stops, goes on with the parsing of a connection; call `resume` after letting go. A WebSocket that is held is
 * still read, as long as less than a window is unparsed.
 * @param from index in the event table of the first event that the host has not handled: the messages of this
 * WebSocket from there on are taken back, and parsed again later. Their events become kind 0
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
  pardon(c, c.parkedSince);
  c.lastIn = engine.now;
  rearm(c);
}

/**
 * Says that messages of a WebSocket are handled later than their events: a Close, or a fault, waits for them. The
 * host is told by EndWaits; it calls this again, then lets go of the connection as after `hold`.
 */
export function relay(slot: u32, generation: u32, relayed: u32): void {
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || !isWebSocket(c)) return;
  if (relayed != 0) {
    c.flags |= RELAYED;
    return;
  }
  c.flags &= ~RELAYED;
  if (c.chunk == CLOSE_WAITS) c.chunk = 0;
}

/** The peer ended its side (FIN). What it asked for before is still answered. Call `resume` after it. */
export function peerEnded(slot: u32, generation: u32): void {
  takeTime();
  takeEvents();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0) return;
  c.flags |= Flag.PeerEnded;
  if (!isWebSocket(c)) {
    c.endedAt = engine.now;
    if (c.state != State.Linger) enlist(c, List.Ended);
  }
  switch (c.state) {
    case State.Linger:
      kill(c, c.reason, Shut.Destroy);
      break;
    case State.Head:
    case State.Body:
      if (!has(c, Flag.Clogged | Flag.Held)) parseHttp(c);
      break;
    case State.Request:
      if (has(c, Flag.Upload)) breakUpload(c, CloseReason.PeerEnded);
      break;
    case State.Open:
    case State.Closing:
      // What it sent before comes first, for as long as a closing handshake may take. `resume` ends it.
      if (c.state == State.Open) c.since = engine.now;
      rearm(c);
      break;
    default:
      break;
  }
}

/** The transport lost the connection, or the host ends it. @returns Ok, Gone, Invalid */
export function terminate(slot: u32, generation: u32, reason: i32): u32 {
  takeTime();
  takeEvents();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0) return Outcome.Gone;
  if (!isReason(reason)) return Outcome.Invalid;
  const isOver = reason == CloseReason.PeerReset || reason == CloseReason.TlsFailed;
  kill(c, reason, isOver ? Shut.Destroy : Shut.Reset);
  return Outcome.Ok;
}

/**
 * Gives one WebSocket limits of its own.
 * @param idle ms of inbound silence, 0 for no limit @param payload bytes of an inbound message
 */
export function limit(slot: u32, generation: u32, idle: u32, payload: u32): void {
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || !isWebSocket(c)) return;
  session(c).idle = idle;
  session(c).payload = payload;
  rearm(c);
}

/** The WebSocket that is the most messages behind, of the readers of both forms; 0: all have read everything. */
function furthestInAny(): Conn {
  const reader = furthest(0);
  const other = furthest(1);
  if (changetype<usize>(other) == 0) return reader;
  if (changetype<usize>(reader) == 0) return other;
  return messageAt(deflated, other.done) < messageAt(plain, reader.done) ? other : reader;
}

/**
 * Answers an opening handshake: the connection moves to a WebSocket slot, its cursor to `committed`.
 * @param fieldsLength bytes of field records at the start of the scratch region
 * @param deflate 0: no compression; 1: permessage-deflate was negotiated (RFC 7692); 2: it was, but the
 * client wants a smaller window than broadcasts are compressed with, and reads the plain ring
 * @returns Ok (the new slot in Control.Result, its generation in Control.Generation), Evicted (act on the
 * events, call again), Full (refused: 503), Gone, TooLarge (a field is refused)
 */
export function upgrade(slot: u32, generation: u32, fieldsLength: u32, deflate: u32): u32 {
  takeTime();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || c.state != State.Request) return Outcome.Gone;
  if (!(c.traits & Trait.Upgrade)) return Outcome.Gone;
  if (has(c, Flag.PeerEnded)) {
    // A WebSocket needs both directions. Answers to the requests before it are still sent.
    finishWith(c, CloseReason.PeerEnded);
    return Outcome.Gone;
  }
  if (engine.freeWebSocket == 0) {
    const victim = furthestInAny();
    if (paramU32(Param.EvictWhenFull) != 0 && changetype<usize>(victim) != 0) {
      add(Control.Evicted, 1);
      kill(victim, CloseReason.Evicted, Shut.Reset);
      return Outcome.Evicted;
    }
    refuse(c, CloseReason.NoRoom);
    return Outcome.Full;
  }
  const queued = queueSwitch(c, fieldsLength);
  if (queued == Outcome.TooLarge) return queued;
  if (queued == Outcome.Full) {
    kill(c, noBlock(), Shut.Destroy);
    return queued;
  }
  const w = takeWebSocket();
  const newSlot = w.slot;
  const newGeneration = w.generation;
  // What was sent too early, and found no buffer, the host feeds again: to the new slot.
  leaveQueue(c);
  disarm(c);
  unwatch(c);
  delist(c);
  dropDirty(c);
  memory.copy(changetype<usize>(w), changetype<usize>(c), offsetof<Conn>());
  w.slot = newSlot;
  w.generation = newGeneration;
  w.flags =
    (w.flags & (Flag.InWindow | Flag.PeerEnded | Flag.Held | Flag.MidReply)) | Flag.WebSocket;
  const rest = c.start + c.scan;
  if (has(w, Flag.InWindow)) {
    engine.fedSlot = newSlot + 1;
    engine.source = (engine.window as u32) + rest;
    engine.sourceEnd = (engine.window as u32) + w.end;
    w.start = 0;
    w.end = 0;
  } else if (w.buffer != 0) {
    w.start = engine.tableBytes + rest;
    w.end = engine.tableBytes + w.end;
  }
  if (deflate != 0) w.flags |= Flag.Deflates;
  if (deflate == 1 && paramU32(Param.DeflateRingBytes) != 0) w.flags |= Flag.Deflate;
  w.state = State.Open;
  w.opcode = 0;
  w.chunk = 0;
  w.frameOpen = 0;
  w.frameLeft = 0;
  w.message = 0;
  w.fragments = 0;
  w.left = 0;
  w.right = 0;
  w.timerAt = 0;
  const ring = ringOf(w);
  w.done = ring.committed;
  w.handed = ring.committed;
  // mutant cursor-join: w.sequence = max(engine.sequence, engine.firstSequence + 1) - 1;
  w.sequence = engine.sequence;
  memory.fill(changetype<usize>(session(w)), 0, offsetof<Session>());
  session(w).idle = paramU32(Param.IdleTimeout);
  session(w).payload = paramU32(Param.PayloadBytes);
  w.lastIn = engine.now;
  w.since = engine.now;
  w.inDue = 0;
  w.messageTime = 0;
  w.burst = 0;
  w.creditEnd = 0;
  w.closeCode = 1006;
  c.buffer = 0;
  c.replyHead = 0;
  c.replyTail = 0;
  putFree(c);
  addOpen(w);
  markDirty(w);
  rearm(w);
  add(Control.ConnectionCount, -1);
  add(Control.Upgraded, 1);
  add(Control.Requests, 1);
  setControl(Control.Result, newSlot as f64);
  setControl(Control.Generation, newGeneration as f64);
  return Outcome.Ok;
}
