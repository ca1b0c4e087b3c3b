// Bytes in: from the receive window, or from a connection's pooled buffer, to events.
//
// Invariant: between two reads of different connections nothing unparsed is left in the window. An idle
// connection owns no buffer. What `feed` does not consume the host keeps, and stops reading, until Drain.
//
//   HTTP        buffer  | head table | head, body, what follows |      start … end, from behind the table
//   WebSocket   buffer  | message so far | unparsed |              0 … message, start … end

import {
  CloseReason,
  Control,
  EventKind,
  HEADER_ENTRY_BYTES,
  Outcome,
  Param,
  Shut,
  Trait,
} from "./abi";
import { ADDRESS } from "./address";
import { unmask } from "./bytes";
import {
  Conn,
  Flag,
  List,
  State,
  add,
  addOpen,
  at,
  dataOf,
  delist,
  dropDirty,
  emit,
  engine,
  enlist,
  eventsFull,
  has,
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
} from "./conn";
import { DONE, MORE, beginHead, closeUp, parseBody, parseHead, wantsContinue } from "./http";
import { furthest } from "./order";
import { dropBuffer, dropInput, finishWith, kill, leaveQueue, rearm } from "./output";
import { isScarce } from "./reply";
import { queueSwitch, refuse, sendContinue } from "./respond";
import { answerClose, fail, queuePong } from "./send";
import { endPaceIn, isFlooding, noteFed, paceIn, pardon } from "./pace";
import { blockBytes, give, orderFor, take } from "./pool";
import { hasClient, parseProxy, proxyBytes } from "./proxy";
import { ringOf } from "./ring";
import {
  countBuffer,
  countReturned,
  isReceiveFull,
  noBlock,
  noBuffer,
  returnRefusal,
} from "./tally";
import { Session, session } from "./subscription";
import { disarm } from "./timers";
import { breakUpload, parseUpload } from "./upload";
import { UTF8_BAD, UTF8_START, validate } from "./utf8";
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
} from "./ws";
import { HEADROOM_BYTES } from "./plan";

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
  const from = max(c.message, c.end);
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
      // Empty lines do not begin a request.
      if (c.list == List.Idle && c.start != c.end) c.since = engine.now;
      if (result == MORE) {
        if (c.list != List.Reading && c.start != c.end) {
          enlist(c, List.Reading);
          rearm(c);
        }
        break;
      }
      if (result != DONE) {
        refuse(c, result);
        return;
      }
      delist(c);
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

/** Checks the text that arrived; false when the connection failed. */
function checkText(c: Conn, at: usize, length: u32, complete: bool): bool {
  if (c.opcode != Opcode.Text || has(c, Flag.Inflating)) return true;
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

/** In the place of a fault that waits: a Close, which is parsed again. */
const CLOSE_WAITS: u32 = 1;

/** True when what ends a WebSocket has to wait for its messages. */
function hasMessagesOut(c: Conn): bool {
  return engine.inboundEvents > 0 || (has(c, RELAYED) && c.state == State.Open);
}

/** Nothing more is parsed until the messages that are out have been handled. @param end a fault, or CLOSE_WAITS */
function awaitMessages(c: Conn, end: u32): void {
  if (engine.inboundEvents > 0) {
    if (end != CLOSE_WAITS) c.chunk = end;
    c.flags |= Flag.MessageOut;
    return;
  }
  c.chunk = end;
  c.flags |= Flag.Held;
  c.parkedSince = engine.now;
  emit(EventKind.EndWaits, c, 0, 0, 0);
}

/** Fails a WebSocket once the messages before the fault have been handled: their answers go out first. */
function failInOrder(c: Conn, reason: i32): void {
  if (hasMessagesOut(c)) awaitMessages(c, reason as u32);
  else fail(c, reason);
}

/** Parses frames from engine.source to engine.sourceEnd until it must stop; true when it needs more bytes. */
function parseFrames(c: Conn): bool {
  const isLimited = param(Param.MessageRate) != 0;
  while (c.state == State.Open || c.state == State.Closing) {
    if (has(c, Flag.Held | Flag.MessageOut)) return false;
    if (eventsFull()) {
      // What is left may lie in a buffer of its own: it goes on when the events have been handled.
      c.flags |= Flag.MessageOut;
      return false;
    }
    if (c.chunk != 0) {
      failInOrder(c, c.chunk as i32);
      return false;
    }
    if (c.frameOpen == 0) {
      const result = parseFrameHead(c, engine.source as usize, engine.sourceEnd as usize);
      if (result == MORE) return true;
      if (result != DONE) {
        failInOrder(c, result);
        return false;
      }
      if (headOpcode >= 8) {
        const payload = (engine.source + headBytes) as usize;
        if (engine.sourceEnd - engine.source < headBytes + payloadLength) return true;
        if (headOpcode == Opcode.Close && hasMessagesOut(c)) {
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
        if (isLimited && isFlooding(c)) {
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
      unmask(source, source, n, c.mask);
      engine.source += n;
      if (!checkText(c, source, n, true)) return false;
      message(c, source, n);
      continue;
    }
    if (n == 0 && c.frameLeft != 0) return true;
    // Assembled at the start of the buffer. When the bytes come from the same buffer they lie behind, and
    // so may messages that are out: those are handled first.
    if (!has(c, Flag.InWindow) && engine.inboundEvents > 0) {
      c.flags |= Flag.MessageOut;
      return false;
    }
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
  while (at + 6 <= end && !eventsFull()) {
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
    if (has(c, Flag.MessageOut | Flag.Held)) return n;
    engine.source = c.buffer + c.start;
    engine.sourceEnd = c.buffer + c.end;
  } else {
    const end = engine.window + n;
    const at = isBetween(c) ? shortMessages(c, engine.window, end) : engine.window;
    if (at == end) return n;
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
  assert(engine.fedSlot == 0, "bytes of another connection are still in the window");
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
  c.flags &= ~Flag.MessageOut;
  if (has(c, Flag.Waiting) || (c.state != State.Open && c.state != State.Closing)) return 0;
  if (!has(c, Flag.InWindow)) {
    // Without bytes there may still be a fault that waits for the messages before it.
    if (c.buffer == 0 && c.chunk == 0) return 0;
    engine.source = c.buffer + c.start;
    engine.sourceEnd = c.buffer + c.end;
  }
  if (!has(c, Flag.Held)) runFrames(c);
  return remainder(c);
}

/**
 * Moves what a connection still has in the window to a buffer of its own: its request is not answered yet,
 * or it is held.
 * @returns 1; 0 when no buffer was free: it is answered 503, or closed with 1013 (NoBuffer; AddressBuffers: 429)
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
    leaveQueue(c);
    fail(c, noBuffer(c));
    return 0;
  }
  if (keepHttp(c)) return 1;
  leaveQueue(c);
  refuse(c, noBuffer(c));
  return 0;
}

/**
 * Stops, goes on with the parsing of a connection; call `resume` after letting go. A WebSocket that is held is
 * not idle: it is not read.
 */
export function hold(slot: u32, generation: u32, held: u32): void {
  takeTime();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0) return;
  if (held != 0) {
    if (!has(c, Flag.Held)) c.parkedSince = engine.now;
    c.flags |= Flag.Held;
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

/** The peer ended its side (FIN). What it asked for before is still answered. */
export function peerEnded(slot: u32, generation: u32): void {
  takeTime();
  takeEvents();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0) return;
  c.flags |= Flag.PeerEnded;
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
      // It may have said why: what waits for its messages comes first.
      if (c.chunk == 0 || !has(c, RELAYED)) kill(c, CloseReason.PeerEnded, Shut.Destroy);
      break;
    default:
      break;
  }
}

/** The transport lost the connection, or the host ends it. */
export function terminate(slot: u32, generation: u32, reason: i32): u32 {
  takeTime();
  takeEvents();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0) return Outcome.Gone;
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
    // A WebSocket needs both directions.
    kill(c, CloseReason.PeerEnded, Shut.Destroy);
    return Outcome.Gone;
  }
  if (engine.freeWebSocket == 0) {
    const victim = furthest(0);
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
