// Frames for a single WebSocket: messages, pings, pongs, and the closing handshake.
//
// Invariant: a message is queued whole or not at all, and nothing follows a Close.

import { CloseReason, Control, Outcome, Param, Shut } from "../abi";
import { copy, storeBe16 } from "../kernel/bytes";
import { closeCode, closeText, closeTextLength } from "../state/close";
import {
  Conn,
  Flag,
  State,
  add,
  engine,
  has,
  isStream,
  paramU32,
  takeTime,
  webSocketOf,
} from "../state/records";
import { isReason } from "../state/events";
import { live } from "../state/slots";
import { markDirty, removeOpen } from "../state/lists";
import { finishWith, kill } from "./end";
import { isLagging } from "./lag";
import { outgrow } from "./return";
import { comment, queueEnd, reserveEvent, writeEvent } from "./stream";
import { block, giveBlock, isScarce, reserve, takeBlock, write } from "../state/queue";
import { dropParked, offsetFor } from "../ring/parked";
import { firstByte, headerBytes, putHeader } from "../ring/ring";
import { noBlock } from "../state/quota";
import { retire } from "../ring/topics";
import { validate } from "../kernel/utf8";
import { Opcode } from "../parse/ws";

const HEADER = memory.data(16, 8);

/** Bytes of the current `sendBegin` that are still to be written. */
let sendLeft: u32 = 0;

/** Returns true when a client's queue takes no further message. */
function isFull(c: Conn): bool {
  return c.backlog > paramU32(Param.Backlog) || (c.backlog > 0 && isScarce(c));
}

/** Refuses a message, for which a Drain follows. @param isPool the pool has no room for it, or its address's quota */
function refuseMessage(c: Conn, isPool: bool): u32 {
  c.flags |= Flag.WantDrain;
  outgrow(c);
  // When the address is over its quota, Drain follows when it holds less.
  if (isPool && noBlock() == CloseReason.NoBuffer) engine.replyFull = 1;
  add(Control.MessagesRefused, 1);
  return Outcome.Full;
}

/**
 * Starts a message of `length` bytes for one client. For an event stream they are whole events. Call `sendBytes` at
 * once until all bytes are there.
 * @returns Ok, Gone, or Full (a Drain follows)
 */
export function sendBegin(slot: u32, generation: u32, first: u32, length: u32): u32 {
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || c.state != State.Open) return Outcome.Gone;
  if (!isStream(c)) return begin(c, first, headerBytes(length), length);
  // The bytes for an event stream are whole events. It gets no control frame.
  if ((first & 15) >= 8) return Outcome.Gone;
  return begin(c, first, 0, length);
}

/** Starts a message for an open client. @param header bytes of its frame's header, 0 for an event stream */
function begin(c: Conn, first: u32, header: u32, length: u32): u32 {
  if (isFull(c)) return refuseMessage(c, false);
  // Checked before the sum, which must not wrap.
  if (length > 0x7fffffff || !reserve(c, header + length, offsetFor(c)))
    return refuseMessage(c, true);
  if (header != 0) {
    putHeader(HEADER, first, length);
    write(HEADER, header);
  }
  sendLeft = length;
  markDirty(c);
  if ((first & 15) < 8) add(Control.MessagesSent, 1);
  return Outcome.Ok;
}

/**
 * Asks for a Drain when `sendBegin` would refuse a short message now.
 * @returns Ok: there is room; Full: a Drain follows; Gone
 */
export function awaitRoom(slot: u32, generation: u32): u32 {
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || c.state != State.Open) return Outcome.Gone;
  // After a refusal the pool may be the bottleneck, whose room this client does not know.
  if (!has(c, Flag.WantDrain) && !isFull(c)) return Outcome.Ok;
  c.flags |= Flag.WantRoom;
  outgrow(c);
  return Outcome.Full;
}

/** Announces that `sendBytes` will write this many bytes. */
export function announce(length: u32): void {
  sendLeft = length;
}

/** Copies the next bytes of the message that `sendBegin` started. */
export function sendBytes(from: usize, length: u32): void {
  write(from, min(length, sendLeft));
  sendLeft -= min(length, sendLeft);
}

/**
 * Continues the UTF-8 check of a message that the embedder inflated.
 * @param state 0 at the start of a text, then the result of the previous call
 * @returns 0 at the end of a valid text, all ones when it is invalid
 */
export function checkUtf8(from: usize, length: u32, state: u32): u32 {
  return validate(from, length, state);
}

/** Sends a whole data message. */
export function send(slot: u32, generation: u32, flags: u32, from: usize, length: u32): u32 {
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || c.state != State.Open) return Outcome.Gone;
  if (isStream(c)) return sendEvent(c, flags, from, length);
  const outcome = begin(c, firstByte(flags), headerBytes(length), length);
  if (outcome == Outcome.Ok) sendBytes(from, length);
  return outcome;
}

/** Sends a whole message to an event stream. */
function sendEvent(c: Conn, flags: u32, from: usize, length: u32): u32 {
  if (isFull(c)) return refuseMessage(c, false);
  if (!reserveEvent(c, from, length, flags, offsetFor(c))) return refuseMessage(c, true);
  writeEvent(from, length, flags);
  markDirty(c);
  add(Control.MessagesSent, 1);
  return Outcome.Ok;
}

/** Sends a ping with at most 125 bytes (RFC 6455 5.5.2). */
export function ping(slot: u32, generation: u32, from: usize, length: u32): u32 {
  if (length > 125) return Outcome.Invalid;
  const outcome = sendBegin(slot, generation, 0x80 | Opcode.Ping, length);
  if (outcome == Outcome.Ok) sendBytes(from, length);
  return outcome;
}

/** Pings a silent client if there is room for it, else tries again later. An event stream gets a comment instead. */
export function pingSilent(c: Conn): void {
  c.since = engine.now;
  // mutant stream-ping: if (false) {
  if (isStream(c)) {
    // A parked stream gets it at once, whatever waits for the ring.
    if (comment(c, has(c, Flag.Parked) ? 0 : offsetFor(c))) markDirty(c);
    return;
  }
  if (!reserve(c, 2, offsetFor(c))) return;
  store<u16>(HEADER, 0x0089);
  write(HEADER, 2);
  c.flags |= Flag.Pinged;
  c.pingQueued = c.backlog;
  markDirty(c);
}

/** Queues a Close frame, after which nothing is queued. */
function queueClose(c: Conn, code: u32, text: usize, textLength: u32): bool {
  if (isStream(c)) {
    dropParked(c);
    if (!queueEnd(c, code, text, textLength, offsetFor(c))) return false;
    depart(c);
    return true;
  }
  const length: u32 = code == 1005 ? 0 : 2 + textLength;
  if (c.pong != 0) {
    // Nothing follows a Close, so the pending pong is queued before it.
    const pong = block(c.pong);
    const bytes = pong.end - pong.start;
    if (reserve(c, bytes, offsetFor(c))) write(changetype<usize>(pong) + pong.start, bytes);
    giveBlock(c, pong);
    c.pong = 0;
  }
  if (!reserve(c, 2 + length, offsetFor(c))) return false;
  store<u8>(HEADER, 0x88);
  store<u8>(HEADER, length as u8, 1);
  storeBe16(HEADER + 2, code);
  write(HEADER, length == 0 ? 2 : 4);
  if (length > 2) write(text, textLength);
  depart(c);
  return true;
}

/** Stops queueing for a WebSocket. It leaves its topics and the list of open ones. */
export function depart(c: Conn): void {
  c.flags |= Flag.CloseQueued;
  retire(c);
  removeOpen(c);
  markDirty(c);
}

/** Fails a WebSocket (RFC 6455 7.1.7): sends a Close frame with the reason's code and text, then ends it. */
export function fail(c: Conn, reason: i32): void {
  const code = closeCode(reason);
  if (c.state == State.Closing) {
    finishWith(c, reason);
    return;
  }
  webSocketOf(c).closeCode = code as u16;
  if (code == 0 || !queueClose(c, code, closeText(reason), closeTextLength(reason))) {
    kill(c, reason, Shut.Reset);
    return;
  }
  finishWith(c, reason);
}

/** Starts the closing handshake (RFC 6455 7.1.2). `text` is the address of the Close frame's text. */
export function close(
  slot: u32,
  generation: u32,
  code: u32,
  text: usize,
  textLength: u32,
  reason: i32,
): u32 {
  takeTime();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || c.state != State.Open) return Outcome.Gone;
  if (!isReason(reason) || textLength > 123) return Outcome.Invalid;
  if (!queueClose(c, code, text, textLength)) {
    kill(c, noBlock(), Shut.Reset);
    return Outcome.Full;
  }
  if (isStream(c)) {
    // There is no handshake: the stream ends when all is sent.
    webSocketOf(c).closeCode = code as u16;
    finishWith(c, reason);
    return Outcome.Ok;
  }
  c.state = State.Closing;
  c.reason = reason as i16;
  webSocketOf(c).closeCode = 1006;
  c.since = engine.now;
  return Outcome.Ok;
}

/** Answers the peer's Close frame, whose payload is valid. */
export function answerClose(c: Conn, code: u32): void {
  webSocketOf(c).closeCode = code as u16;
  if (c.state == State.Closing) {
    finishWith(c, c.reason);
    return;
  }
  // RFC 6455 5.5.1: the received code is echoed.
  if (!queueClose(c, code, 0, 0)) {
    kill(c, noBlock(), Shut.Reset);
    return;
  }
  finishWith(c, CloseReason.PeerClosed);
}

/**
 * Bytes of a client's queue up to which each ping gets its own pong. Beyond them only the newest is answered, so that a
 * client that pings without reading cannot fill the pool.
 */
const PONG_BACKLOG: u32 = 8192;

/**
 * Queues the pong to a ping. A client that reads receives one for each ping. A client that does not read, or lags in
 * the ring, receives only the newest, ahead of its backlog (RFC 6455 5.5.3).
 */
export function queuePong(c: Conn, payload: usize, length: u32): void {
  if (has(c, Flag.CloseQueued)) return;
  const at = offsetFor(c);
  if (c.pong == 0 && !isLagging(c) && c.backlog < PONG_BACKLOG) {
    store<u8>(HEADER, 0x80 | Opcode.Pong);
    store<u8>(HEADER, length as u8, 1);
    if (reserve(c, 2 + length, at)) {
      write(HEADER, 2);
      write(payload, length);
      markDirty(c);
      return;
    }
  }
  // mutant pong-newest: if (c.pong != 0) return; if (c.pong != 0) {
  if (c.pong != 0) {
    giveBlock(c, block(c.pong));
    c.pong = 0;
    add(Control.PongsDropped, 1);
  }
  const b = takeBlock(c, 2 + length, 0);
  if (changetype<usize>(b) == 0) {
    add(Control.PongsDropped, 1);
    return;
  }
  const start = changetype<usize>(b) + b.start;
  store<u8>(start, 0x80 | Opcode.Pong);
  store<u8>(start, length as u8, 1);
  copy(start + 2, payload, length);
  b.end += 2 + length;
  c.pong = changetype<usize>(b) as u32;
  markDirty(c);
}
