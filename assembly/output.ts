// Ends of connections and everything that is queued for one: close and refuse, answers, messages, pongs,
// and the flush pass that hands it all over.
//
// Invariant: each connection ends once, by `kill`, with one reason; what the transport still reads of its
// memory stays until the host frees the slot.

import {
  Answer,
  CloseReason,
  Control,
  EventKind,
  Method,
  Outcome,
  Param,
  ROW_BYTES,
  ROW_SLOT,
  ROW_STATE,
  RowKind,
  RowState,
  Shut,
  Trait,
} from "./abi";
import {
  Framing,
  HEAD_EXTRA,
  putDate,
  putFields,
  putHead,
  putPhrase,
  putStatusLine,
} from "./answer";
import { copy, storeBe16, storeDecimal } from "./bytes";
import { closeCode, closeStatus } from "./close";
import {
  Conn,
  Flag,
  List,
  State,
  add,
  at,
  countClose,
  delist,
  dropDirty,
  emit,
  engine,
  enlist,
  has,
  isWebSocket,
  live,
  markDirty,
  openAt,
  paramU32,
  param,
  putFree,
  receivePool,
  removeOpen,
  replyPool,
  takeDirty,
} from "./conn";
import { complete, hasMore, nextRow } from "./flush";
import { beginHead } from "./http";
import { insert, remove } from "./order";
import { give, take } from "./pool";
import { block, dropQueue, giveBlock, reserve, reserveStatic, takeBlock, write } from "./reply";
import { deflated, firstByte, headerBytes, plain, putHeader, ringOf } from "./ring";
import { putText } from "./text";
import { arm, disarm } from "./timers";
import { validate } from "./utf8";
import { Opcode, putAccept } from "./ws";

const FOREVER: f64 = Infinity;

// ---- deadlines -------------------------------------------------------------------------------------

/** When something has to happen to a connection if nothing else does; Infinity for never. */
export function deadline(c: Conn): f64 {
  let due = FOREVER;
  switch (c.state) {
    case State.Head:
      if (c.list == List.Idle) {
        // A client that still reads its answer is not idle.
        if (c.writing == 0 && c.replyHead == 0) due = c.since + param(Param.KeepAliveTimeout);
      } else if (!has(c, Flag.Clogged)) {
        due = c.since + param(Param.HeadTimeout);
      }
      break;
    case State.Body:
      due = c.since + param(Param.RequestTimeout);
      break;
    case State.Open: {
      const idle = param(Param.IdleTimeout);
      if (idle > 0) {
        const ping = paramU32(Param.SendPings) != 0 && !has(c, Flag.Pinged);
        due = c.lastIn + (ping ? idle / 2 : idle);
      }
      break;
    }
    case State.Closing:
      if (c.writing == 0 && c.replyHead == 0) due = c.since + param(Param.CloseTimeout);
      break;
    case State.Linger:
      due = c.since + param(Param.CloseTimeout);
      break;
    default:
      break;
  }
  if (has(c, Flag.Waiting)) {
    // While a connection waits for a buffer nothing else can be held against it.
    due = c.waitSince + param(Param.BufferTimeout);
  }
  if (c.writing != 0) due = min(due, c.lastOut + param(Param.WriteTimeout));
  return due;
}

/** Sees to it that the deadline is looked at. */
export function rearm(c: Conn): void {
  const due = deadline(c);
  if (due != FOREVER) arm(c, due);
}

// ---- pooled receive buffers, as far as an end needs them ---------------------------------------------

export function dropBuffer(c: Conn): void {
  if (c.buffer == 0) return;
  give(receivePool, c.buffer as usize, c.order as u32);
  c.buffer = 0;
  engine.buffersGiven = 1;
}

export function leaveQueue(c: Conn): void {
  if (!has(c, Flag.Waiting)) return;
  c.flags &= ~Flag.Waiting;
  if (c.waitBack != 0) at(c.waitBack - 1).waitNext = c.waitNext;
  else engine.waitHead = c.waitNext;
  if (c.waitNext != 0) at(c.waitNext - 1).waitBack = c.waitBack;
  else engine.waitTail = c.waitBack;
}

// ---- ends ------------------------------------------------------------------------------------------

/** Bytes of the ring a client has not been delivered. */
export function lagBytes(c: Conn): u64 {
  const committed = ringOf(c).committed;
  return isWebSocket(c) && committed > c.done ? committed - c.done : 0;
}

/** Forgets where a connection's unparsed bytes are. */
function forgetInput(c: Conn): void {
  if (has(c, Flag.InWindow)) {
    c.flags &= ~Flag.InWindow;
    engine.fedSlot = 0;
  }
  c.start = 0;
  c.end = 0;
  leaveQueue(c);
}

export function dropInput(c: Conn): void {
  forgetInput(c);
  dropBuffer(c);
}

/**
 * Ends a connection. Its place among the readers is free at once, its slot when the host calls `free`.
 * @param shut Shut.Reset when bytes of the ring that it was handed may be overwritten
 */
export function kill(c: Conn, reason: i32, shut: u32): void {
  if (c.state == State.Dead || c.state == State.Free) return;
  const lag = lagBytes(c);
  countClose(reason);
  if (isWebSocket(c)) {
    remove(c);
    if (!has(c, Flag.CloseQueued)) removeOpen(c);
  } else {
    delist(c);
    add(Control.ConnectionCount, -1);
  }
  disarm(c);
  dropDirty(c);
  forgetInput(c);
  // A handler may still read the request that is out: its bytes stay until the host frees the slot.
  if (c.state != State.Request) dropBuffer(c);
  dropQueue(c, c.writing == RowKind.Block && c.sending == 0);
  if (c.pong != 0) {
    giveBlock(block(c.pong));
    c.pong = 0;
  }
  c.state = State.Dead;
  c.reason = reason;
  add(Control.DeadCount, 1);
  emit(EventKind.Closed, c, lag > 0xffffffff ? 0xffffffff : (lag as usize), shut, reason);
}

/** The host has let go of the socket and of all memory it was handed. Frees the slot. */
export function free(slot: u32, generation: u32): void {
  if (slot >= engine.allSlots) return;
  const c = at(slot);
  if (c.state != State.Dead || c.generation != generation) return;
  if (c.replyHead != 0) giveBlock(block(c.replyHead));
  if (c.sending != 0) giveBlock(block(c.sending));
  c.replyHead = 0;
  c.sending = 0;
  dropBuffer(c);
  add(Control.DeadCount, -1);
  putFree(c);
}

/** Takes no more input, sends what is queued, then half-closes and lingers. */
export function finishWith(c: Conn, reason: i32): void {
  c.reason = reason;
  dropInput(c);
  if (!isWebSocket(c)) delist(c);
  c.state = State.Finishing;
  c.since = engine.now;
  afterWrite(c);
}

/** Everything is written: half-close, and read on until the peer ends, so that it can read our last words. */
function linger(c: Conn): void {
  if (has(c, Flag.PeerEnded)) {
    kill(c, c.reason, Shut.Destroy);
    return;
  }
  c.state = State.Linger;
  c.since = engine.now;
  c.flags |= Flag.EndSent;
  if (!isWebSocket(c)) enlist(c, List.Linger);
  rearm(c);
  emit(EventKind.End, c, 0, 0, c.reason);
}

/** What follows when a connection has no write outstanding. */
export function afterWrite(c: Conn): void {
  if (c.writing != 0) return;
  if (c.backlog <= paramU32(Param.Backlog) >> 1) {
    if (has(c, Flag.WantDrain | Flag.Clogged)) {
      // The time it took to read its answers is not held against its next head.
      if (has(c, Flag.Clogged)) c.since = engine.now;
      c.flags &= ~(Flag.WantDrain | Flag.Clogged);
      rearm(c);
      emit(EventKind.Drain, c, 0, 0, 0);
    }
  }
  if (hasMore(c)) {
    markDirty(c);
  } else if (c.state == State.Finishing) {
    linger(c);
  } else if (c.state == State.Closing || c.list == List.Idle) {
    c.since = engine.now;
    rearm(c);
  }
}

/** The outstanding write of a connection is through. */
export function finishWrite(c: Conn): void {
  if (c.writing == 0) return;
  remove(c);
  complete(c);
  if (isWebSocket(c)) {
    // Until the next pass hands it more, a reader that is behind stands in the treap: publishing must see it.
    const ring = ringOf(c);
    if (c.done < ring.flushed) insert(c);
    if (ring.committed - c.done <= ((ring.capacity >> 1) as u64)) c.heldSince = 0;
  }
  afterWrite(c);
}

// ---- HTTP answers ----------------------------------------------------------------------------------

/** Queues a head and a body; false when the reply pool is empty: the connection is ended then. */
function queue(c: Conn, head: usize, headEnd: usize, body: usize, bodyLength: u32): bool {
  const headLength = (headEnd - head) as u32;
  if (!reserve(c, headLength + bodyLength, 0)) {
    kill(c, CloseReason.NoBuffer, Shut.Destroy);
    return false;
  }
  write(head, headLength);
  if (bodyLength > 0) write(body, bodyLength);
  markDirty(c);
  return true;
}

/** A refusal's head and body, its text and the 100 (Continue) are put together here. */
const SHORT = memory.data(512, 16);

/** Refuses a request: an answer with the reason's status, then the end. */
export function refuse(c: Conn, reason: i32): void {
  if (has(c, Flag.Streaming)) {
    // Its head is out: a body that breaks off says that something went wrong (RFC 9112 8).
    kill(c, reason, Shut.Reset);
    return;
  }
  const status = closeStatus(reason);
  if (status == 0) {
    kill(c, reason, Shut.Reset);
    return;
  }
  const text = SHORT + 384;
  const textEnd = putText(putPhrase(text, status), "\n");
  let at = putStatusLine(SHORT, status);
  at = putDate(at);
  at = putText(at, "Content-Type: text/plain\r\nContent-Length: ");
  at = storeDecimal(at, (textEnd - text) as u64);
  if (status == 426) {
    at = putText(
      at,
      "\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\nConnection: upgrade, close\r\n\r\n",
    );
  } else if (status == 503) {
    at = putText(at, "\r\nRetry-After: 1\r\nConnection: close\r\n\r\n");
  } else {
    at = putText(at, "\r\nConnection: close\r\n\r\n");
  }
  const isHead = c.line > 0 && c.method == Method.HEAD;
  if (queue(c, SHORT, at, text, isHead ? 0 : ((textEnd - text) as u32))) finishWith(c, reason);
}

/** Tells the client to send its body (RFC 9110 10.1.1). */
export function sendContinue(c: Conn): void {
  queue(c, SHORT, putText(SHORT, "HTTP/1.1 100 Continue\r\n\r\n"), 0, 0);
}

/** How `putHead` is to speak of the connection, and whether it ends with this answer. */
function persistence(c: Conn, flags: u32): u32 {
  const limit = paramU32(Param.RequestsPerSocket);
  if (!(c.traits & Trait.Persistent) || flags & Answer.Close || engine.stopping != 0) return 0;
  if (limit != 0 && c.requests + 1 >= limit) return 0;
  return c.minor == 0 ? 2 : 1;
}

/** True for an answer without a body (RFC 9110 6.4.1; 205: 15.3.6). */
function isBare(c: Conn, status: u32): bool {
  return c.method == Method.HEAD || status == 204 || status == 205 || status == 304;
}

/** The request is answered: on to the next, or to the end. */
function finishRequest(c: Conn, persistent: bool): void {
  if (c.state == State.Dead) return;
  c.requests++;
  add(Control.Requests, 1);
  if (!persistent) {
    finishWith(c, CloseReason.Ok);
    return;
  }
  c.start += c.scan;
  beginHead(c);
  c.state = State.Head;
  c.since = engine.now;
  c.flags &= ~Flag.Continued;
  if (c.start >= c.end) {
    dropInput(c);
    if (has(c, Flag.PeerEnded)) {
      finishWith(c, CloseReason.PeerClosed);
      return;
    }
    enlist(c, List.Idle);
  } else {
    enlist(c, List.Reading);
  }
  rearm(c);
}

/**
 * Answers the request that is out.
 * @param fieldsLength bytes of field records at the start of the scratch region, the body behind them
 * @returns Ok, Gone, or TooLarge when a field is refused (nothing is sent then)
 */
export function respond(
  slot: u32,
  generation: u32,
  status: u32,
  flags: u32,
  fieldsLength: u32,
  bodyLength: u32,
): u32 {
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || c.state != State.Request) return Outcome.Gone;
  const persistent = persistence(c, flags);
  const body = engine.scratch + fieldsLength;
  const head = (body + bodyLength + 15) & ~15;
  const end = putHead(
    head,
    status,
    Framing.Length,
    persistent,
    bodyLength,
    engine.scratch,
    fieldsLength,
  );
  if (end == 0) return Outcome.TooLarge;
  const bare = isBare(c, status);
  if (queue(c, head, end, body, bare ? 0 : bodyLength)) finishRequest(c, persistent != 0);
  return Outcome.Ok;
}

/** Answers with `length` bytes of a body that the host holds. */
export function respondStatic(
  slot: u32,
  generation: u32,
  status: u32,
  flags: u32,
  fieldsLength: u32,
  body: u32,
  length: u32,
): u32 {
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || c.state != State.Request) return Outcome.Gone;
  const persistent = persistence(c, flags);
  const head = (engine.scratch + fieldsLength + 15) & ~15;
  const end = putHead(
    head,
    status,
    Framing.Length,
    persistent,
    length,
    engine.scratch,
    fieldsLength,
  );
  if (end == 0) return Outcome.TooLarge;
  const bare = isBare(c, status) || length == 0;
  if (!queue(c, head, end, 0, 0)) return Outcome.Ok;
  if (!bare && !reserveStatic(c, body, 0, length, 0)) {
    kill(c, CloseReason.NoBuffer, Shut.Destroy);
    return Outcome.Ok;
  }
  finishRequest(c, persistent != 0);
  return Outcome.Ok;
}

/**
 * Begins an answer that comes piece by piece. The request stays out until `streamEnd`.
 * @returns Ok, Gone, or TooLarge when a field is refused (nothing is sent then)
 */
export function streamBegin(
  slot: u32,
  generation: u32,
  status: u32,
  flags: u32,
  fieldsLength: u32,
): u32 {
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || c.state != State.Request || has(c, Flag.Streaming)) {
    return Outcome.Gone;
  }
  const bare = isBare(c, status);
  const chunked = c.minor == 1;
  // HTTP/1.0 knows no chunks: the end of the connection is the end of the body.
  const persistent = chunked || bare ? persistence(c, flags) : 0;
  const framing: u32 =
    chunked && !(status == 204 || status == 205 || status == 304) ? Framing.Chunked : Framing.None;
  const head = (engine.scratch + fieldsLength + 15) & ~15;
  const end = putHead(head, status, framing, persistent, 0, engine.scratch, fieldsLength);
  if (end == 0) return Outcome.TooLarge;
  if (!queue(c, head, end, 0, 0)) return Outcome.Ok;
  c.flags |= Flag.Streaming;
  if (chunked) c.flags |= Flag.Chunking;
  if (bare) c.flags |= Flag.Bare;
  if (persistent == 0) c.flags |= Flag.LastAnswer;
  return Outcome.Ok;
}

const HEX = memory.data<u8>([48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 97, 98, 99, 100, 101, 102]);

/**
 * Begins a piece of `length` bytes, at least 1; `sendBytes` follows until all are there, then `streamNext`.
 * @returns Ok; Full: nothing was queued, a Drain follows; Gone; TooLarge: this answer has no body, the piece
 * is dropped
 */
export function streamWrite(slot: u32, generation: u32, length: u32): u32 {
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || !has(c, Flag.Streaming)) return Outcome.Gone;
  if (has(c, Flag.Bare)) return Outcome.TooLarge;
  let at = HEADER as usize;
  if (has(c, Flag.Chunking)) {
    let shift: i32 = 28;
    while (shift > 0 && length >> shift == 0) shift -= 4;
    for (; shift >= 0; shift -= 4) store<u8>(at++, load<u8>(HEX + ((length >> shift) & 15)));
    store<u16>(at, 0x0a0d);
    at += 2;
  }
  const head = (at - HEADER) as u32;
  const room = head + length + (head == 0 ? 0 : 2);
  if (c.backlog > paramU32(Param.Backlog) || length > 0x7fffffff || !reserve(c, room, 0)) {
    c.flags |= Flag.WantDrain;
    // With nothing queued of its own it waits for the pool; its write is tried again with the others'.
    if (c.backlog == 0) engine.replyFull = 1;
    return Outcome.Full;
  }
  write(HEADER, head);
  sendLeft = length;
  markDirty(c);
  return Outcome.Ok;
}

/** Ends a piece. */
export function streamNext(slot: u32, generation: u32): void {
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || !has(c, Flag.Chunking)) return;
  store<u16>(HEADER, 0x0a0d);
  write(HEADER, 2);
}

/** Ends an answer that came piece by piece: the connection goes on, or ends with it. */
export function streamEnd(slot: u32, generation: u32): u32 {
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || !has(c, Flag.Streaming)) return Outcome.Gone;
  if (has(c, Flag.Chunking) && !has(c, Flag.Bare)) {
    const end = putText(SHORT, "0\r\n\r\n");
    if (!queue(c, SHORT, end, 0, 0)) return Outcome.Ok;
  }
  const persistent = !has(c, Flag.LastAnswer);
  c.flags &= ~(Flag.Streaming | Flag.Chunking | Flag.Bare | Flag.LastAnswer);
  finishRequest(c, persistent);
  return Outcome.Ok;
}

/** No connection persists from now on: the server shuts down. */
export function stop(): void {
  engine.stopping = 1;
}

/**
 * Ends an HTTP connection for a shutdown: an idle one at once, an unfinished request with 503. One that is
 * out is answered first.
 */
export function dismiss(slot: u32, generation: u32): void {
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0) return;
  if (c.state == State.Head && c.start == c.end) finishWith(c, CloseReason.Shutdown);
  else if (c.state == State.Head || c.state == State.Body) refuse(c, CloseReason.Shutdown);
}

/**
 * Queues the 101 of an opening handshake (RFC 6455 4.2.2).
 * @returns Ok; Full when the reply pool is empty, TooLarge when a field is refused: nothing is queued then
 */
export function queueSwitch(c: Conn, fieldsLength: u32): u32 {
  const head = (engine.scratch + fieldsLength + 15) & ~15;
  let at = putText(
    head,
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
  );
  at = putAccept(at, (c.head as usize) + (c.key as usize));
  at = putText(at, "\r\n");
  at = putFields(at, engine.scratch, fieldsLength);
  if (at == 0) return Outcome.TooLarge;
  at = putDate(at);
  at = putText(at, "\r\n");
  const length = (at - head) as u32;
  if (!reserve(c, length, 0)) return Outcome.Full;
  write(head, length);
  return Outcome.Ok;
}

/** Bytes of scratch that an answer's head needs beside its fields and body. */
export const HEAD_ROOM: u32 = HEAD_EXTRA + 256;

// ---- messages for one client -------------------------------------------------------------------------

const HEADER = memory.data(16, 8);

/** True when the reply pool is nearly used up: what is left is for those who read what they get. */
export function isScarce(): bool {
  const bytes = paramU32(Param.ReplyPoolBytes);
  return replyPool.used > bytes - (bytes >> 2);
}

/** Bytes of a `sendBegin` still to be written. */
let sendLeft: u32 = 0;

/**
 * Starts a message of `length` bytes for one client; `sendBytes` follows until all are there, at once.
 * @returns Ok, Gone, Full (a Drain follows)
 */
export function sendBegin(slot: u32, generation: u32, first: u32, length: u32): u32 {
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || c.state != State.Open) return Outcome.Gone;
  if (c.backlog > paramU32(Param.Backlog) || (c.backlog > 0 && isScarce())) {
    c.flags |= Flag.WantDrain;
    add(Control.MessagesRefused, 1);
    return Outcome.Full;
  }
  const header = headerBytes(length);
  // Checked before the sum, which must not wrap.
  if (length > 0x7fffffff || !reserve(c, header + length, ringOf(c).committed)) {
    c.flags |= Flag.WantDrain;
    engine.replyFull = 1;
    add(Control.MessagesRefused, 1);
    return Outcome.Full;
  }
  putHeader(HEADER, first, length);
  write(HEADER, header);
  sendLeft = length;
  markDirty(c);
  if ((first & 15) < 8) add(Control.MessagesSent, 1);
  return Outcome.Ok;
}

/** Copies the next bytes of the message that `sendBegin` started. */
export function sendBytes(from: usize, length: u32): void {
  assert(length <= sendLeft, "more than was announced");
  write(from, min(length, sendLeft));
  sendLeft -= min(length, sendLeft);
}

/** Goes on checking UTF-8 from `state` (0 at the start of a text): for messages the host inflated. Returns the new state; all ones: not valid. */
export function checkUtf8(from: usize, length: u32, state: u32): u32 {
  return validate(from, length, state);
}

/** A whole data message. */
export function send(slot: u32, generation: u32, flags: u32, from: usize, length: u32): u32 {
  const outcome = sendBegin(slot, generation, firstByte(flags), length);
  if (outcome == Outcome.Ok) sendBytes(from, length);
  return outcome;
}

/** A ping with at most 125 bytes (RFC 6455 5.5.2). */
export function ping(slot: u32, generation: u32, from: usize, length: u32): u32 {
  const outcome = sendBegin(slot, generation, 0x80 | Opcode.Ping, length);
  if (outcome == Outcome.Ok) sendBytes(from, length);
  return outcome;
}

/** Queues a Close frame; nothing follows it. */
function queueClose(c: Conn, code: u32, text: usize, textLength: u32): bool {
  const length: u32 = code == 1005 ? 0 : 2 + textLength;
  if (c.pong != 0) {
    // Nothing follows a Close: the pong that is pending goes before it.
    const pong = block(c.pong);
    const bytes = pong.end - pong.start;
    if (reserve(c, bytes, ringOf(c).committed)) write(changetype<usize>(pong) + pong.start, bytes);
    giveBlock(pong);
    c.pong = 0;
  }
  if (!reserve(c, 2 + length, ringOf(c).committed)) return false;
  store<u8>(HEADER, 0x88);
  store<u8>(HEADER, length as u8, 1);
  storeBe16(HEADER + 2, code);
  write(HEADER, length == 0 ? 2 : 4);
  if (length > 2) write(text, textLength);
  c.flags |= Flag.CloseQueued;
  removeOpen(c);
  markDirty(c);
  return true;
}

/** Fails a WebSocket (RFC 6455 7.1.7): a Close frame with the reason's code, then the end. */
export function fail(c: Conn, reason: i32): void {
  const code = closeCode(reason);
  if (c.state == State.Closing) {
    finishWith(c, reason);
    return;
  }
  c.closeCode = code as u16;
  if (code == 0 || !queueClose(c, code, 0, 0)) {
    kill(c, reason, Shut.Reset);
    return;
  }
  finishWith(c, reason);
}

/** Starts the closing handshake (RFC 6455 7.1.2); the text stands at `text`. */
export function close(
  slot: u32,
  generation: u32,
  code: u32,
  text: usize,
  textLength: u32,
  reason: i32,
): u32 {
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || c.state != State.Open) return Outcome.Gone;
  if (!queueClose(c, code, text, textLength)) {
    kill(c, CloseReason.NoBuffer, Shut.Reset);
    return Outcome.Full;
  }
  c.state = State.Closing;
  c.reason = reason;
  c.closeCode = 1006;
  c.since = engine.now;
  return Outcome.Ok;
}

/** The peer's Close frame arrived, with a valid payload. */
export function answerClose(c: Conn, code: u32): void {
  c.flags |= Flag.CloseSeen;
  c.closeCode = code as u16;
  if (c.state == State.Closing) {
    finishWith(c, c.reason);
    return;
  }
  // RFC 6455 5.5.1: the code received is echoed.
  if (!queueClose(c, code, 0, 0)) {
    kill(c, CloseReason.NoBuffer, Shut.Reset);
    return;
  }
  finishWith(c, CloseReason.PeerClosed);
}

/** Bytes of a client's queue up to which each ping gets its pong. */
const PONG_BACKLOG: u32 = 8192;

/**
 * Queues the pong to a ping. A client that reads gets one for each; one that does not, or is behind in the
 * ring, gets the newest alone, ahead of what it is behind with (RFC 6455 5.5.3).
 */
export function queuePong(c: Conn, payload: usize, length: u32): void {
  if (has(c, Flag.CloseQueued)) return;
  const committed = ringOf(c).committed;
  if (c.pong == 0 && c.handed >= committed && c.backlog < PONG_BACKLOG) {
    store<u8>(HEADER, 0x80 | Opcode.Pong);
    store<u8>(HEADER, length as u8, 1);
    if (reserve(c, 2 + length, committed)) {
      write(HEADER, 2);
      write(payload, length);
      markDirty(c);
      return;
    }
  }
  if (c.pong != 0) {
    giveBlock(block(c.pong));
    c.pong = 0;
    add(Control.PongsDropped, 1);
  }
  const b = takeBlock(2 + length, 0);
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

// ---- the flush pass ----------------------------------------------------------------------------------

/** Takes in what became of the rows of the table before. */
function settle(): void {
  const rows = engine.rowCount;
  engine.rowCount = 0;
  for (let i: u32 = 0; i < rows; i++) {
    const row = engine.rows + (i as usize) * ROW_BYTES;
    const c = at(load<u32>(row, ROW_SLOT));
    if (c.state == State.Dead || c.writing == 0) continue;
    if (load<u32>(row, ROW_STATE) == RowState.Complete) {
      finishWrite(c);
    } else {
      if (isWebSocket(c)) insert(c);
      rearm(c);
    }
  }
}

/** Tells the first of the queue that a buffer may be had. */
function wakeWaiters(): void {
  engine.buffersGiven = 0;
  while (engine.waitHead != 0) {
    const c = at(engine.waitHead - 1);
    const order = c.waitBytes;
    const found = take(receivePool, order);
    if (found == 0) return;
    give(receivePool, found, order);
    leaveQueue(c);
    rearm(c);
    emit(EventKind.Drain, c, 0, 0, 1);
    // One at a time: what it takes decides whether there is room for the next.
    engine.buffersGiven = 1;
    return;
  }
}

/** Drain for those who were refused because the reply pool was empty. */
function wakeSenders(): void {
  engine.replyFull = 0;
  for (let i: u32 = 0; i < engine.openCount; i++) {
    const c = openAt(i);
    if (has(c, Flag.WantDrain) && c.backlog <= paramU32(Param.Backlog) >> 1) {
      c.flags &= ~Flag.WantDrain;
      emit(EventKind.Drain, c, 0, 0, 0);
    }
  }
  for (let i: u32 = 0; i < engine.httpSlots; i++) {
    const c = at(i);
    if (c.state == State.Request && has(c, Flag.WantDrain) && c.backlog == 0) {
      c.flags &= ~Flag.WantDrain;
      emit(EventKind.Drain, c, 0, 0, 0);
    }
  }
}

/**
 * Takes in the states of the rows before and fills the table anew. Call it, write the rows, call it
 * again, until it returns 0. Publishing and user code wait meanwhile.
 */
export function flush(): u32 {
  settle();
  if (engine.buffersGiven != 0) wakeWaiters();
  if (engine.replyFull != 0 && replyPool.used < paramU32(Param.ReplyPoolBytes) >> 1) wakeSenders();
  const runBytes = paramU32(Param.RunBytes);
  if (plain.flushed != plain.committed) {
    for (let i: u32 = 0; i < engine.openCount; i++) nextRow(openAt(i), runBytes);
    plain.flushed = plain.committed;
    deflated.flushed = deflated.committed;
  }
  while (engine.dirtyHead != 0) {
    const c = takeDirty();
    if (!nextRow(c, runBytes)) afterWrite(c);
  }
  return engine.rowCount;
}
