// Responses to HTTP requests: refusals, whole responses, streamed responses, and the 101 of an upgrade.
//
// Invariant: a pending request is answered once. Then its connection continues with the next request, or ends.

import { putPhrase } from "./status";
import {
  Answer,
  CloseReason,
  Control,
  EventKind,
  Method,
  Outcome,
  PAGE_BODIES,
  Param,
  Shut,
  Trait,
} from "../abi";
import {
  Framing,
  HEAD_EXTRA,
  putDate,
  putFields,
  putHead,
  putMissing,
  putServer,
  putStatusLine,
} from "./head";
import { storeDecimal } from "../kernel/bytes";
import { closeStatus } from "../state/close";
import {
  Conn,
  Flag,
  State,
  add,
  engine,
  has,
  paramU32,
  setControl,
  takeTime,
  HttpConn,
  hasHttp,
  HttpFlag,
  httpOf,
  isWebSocket,
} from "../state/records";
import { List, markDirty } from "../state/lists";
import { emit, eventsFull } from "../state/events";
import { live, locate } from "../state/slots";
import { beginHead, hasLine, wantsContinue } from "../parse/http";
import { dropInput, finishWith, kill, rest } from "./end";
import { rearm } from "./deadline";
import { dismissPipe } from "./release";
import { mayHoldBody, reserve, reserveBody, tailRoom, write } from "../state/queue";
import { enlist } from "../state/room";
import { pageBytes } from "./page";
import { announce } from "./send";
import { beginSupply, leaveSupply, releasePiece } from "./supply";
import { isEventSource, putComeBack, putRetry } from "./stream";
import { noBlock } from "../state/quota";
import { putText } from "../kernel/text";
import { putAccept } from "../parse/ws";

/** Queues a head and a body. When the reply pool is empty it ends the connection and returns false. */
function queue(c: Conn, head: usize, headEnd: usize, body: usize, bodyLength: u32): bool {
  const headLength = (headEnd - head) as u32;
  if (!reserve(c, headLength + bodyLength, 0)) {
    kill(c, noBlock(), Shut.Destroy);
    return false;
  }
  write(head, headLength);
  if (bodyLength > 0) write(body, bodyLength);
  markDirty(c);
  return true;
}

/** Buffer for a refusal's head, body and text, and for 100 (Continue). */
const SHORT = memory.data(1024, 16);

/** Sets whether the embedder is notified of each refusal of a request that it does not know (1), or not (0). */
export function refusals(wanted: u32): void {
  engine.refusals = wanted;
}

/**
 * Notifies the embedder of a refusal. The embedder knows itself of a request that was emitted.
 * @param bodyLength bytes of the refusal's body
 */
function report(c: HttpConn, status: u32, bodyLength: u32): void {
  if (engine.refusals == 0 || c.state == State.Request || eventsFull()) return;
  const isRead = hasLine(c);
  // mutant refused-stale: ;
  if (isRead) locate(c);
  emit(EventKind.Refused, c, bodyLength, isRead ? 1 : 0, status);
}

/** Refuses a request: sends a response with the reason's status, then ends the connection. */
export function refuse(c: HttpConn, reason: i32): void {
  if (hasHttp(c, HttpFlag.Streaming)) {
    // The head was sent already, so the reset shows that the body is incomplete (RFC 9112 8).
    kill(c, reason, Shut.Reset);
    return;
  }
  const status = closeStatus(reason);
  // Before its PROXY header has arrived, or TLS is established, a client receives no response.
  if (status == 0 || hasHttp(c, HttpFlag.Proxied | HttpFlag.Unsecured)) {
    kill(c, reason, Shut.Reset);
    return;
  }
  // A client that may speak another protocol receives none either.
  if (hasHttp(c, HttpFlag.Undecided | HttpFlag.Foreign)) {
    finishWith(c, reason);
    return;
  }
  if (isEventSource(c, status)) {
    const end = putComeBack(putServer(putDate(putStatusLine(SHORT, 200))), c);
    if (queue(c, SHORT, end, 0, 0)) finishWith(c, reason);
    return;
  }
  const isHead = c.method == Method.HEAD;
  // mutant page-head: const paged = pageBytes(status, false);
  const paged = pageBytes(status, isHead);
  const text = SHORT + 768;
  const textEnd = putText(putPhrase(text, status), "\n");
  let at = putStatusLine(SHORT, status);
  at = putServer(putDate(at));
  if (paged == 0) {
    at = putText(at, "Content-Type: text/plain\r\nContent-Length: ");
    at = putText(storeDecimal(at, (textEnd - text) as u64), "\r\n");
  }
  if (status == 426) {
    at = putText(
      at,
      "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\nConnection: upgrade, close\r\n",
    );
  } else if (status == 503) at = putText(at, "Retry-After: 1\r\nConnection: close\r\n");
  else at = putText(at, "Connection: close\r\n");
  if (paged == 0) at = putText(at, "\r\n");
  const textLength: u32 = isHead || paged != 0 ? 0 : ((textEnd - text) as u32);
  if (!queue(c, SHORT, at, text, textLength)) return;
  if (paged != 0 && !reserveBody(c, PAGE_BODIES + status, paged)) {
    kill(c, noBlock(), Shut.Destroy);
    return;
  }
  // A page for HEAD is its fields alone.
  report(c, status, paged != 0 ? paged - pageBytes(status, true) : textLength);
  finishWith(c, reason);
}

function putContinue(at: usize): usize {
  return putText(at, "HTTP/1.1 100 Continue\r\n\r\n");
}

/** Asks the client to send its body (RFC 9110 10.1.1). */
export function sendContinue(c: Conn): void {
  queue(c, SHORT, putContinue(SHORT), 0, 0);
}

/** Asks the client for its body, unless the body or the response has begun. */
export function invite(c: HttpConn): void {
  if (!wantsContinue(c) || hasHttp(c, HttpFlag.Continued)) return;
  c.marks |= HttpFlag.Continued;
  if (!hasHttp(c, HttpFlag.Streaming)) sendContinue(c);
}

/**
 * Prepares a streamed response, during which the body of its request may still be read. If the client waits for 100
 * (Continue), a 2xx sends it first, because none can follow. Any other status means that the body is not wanted.
 * @returns false when the connection ends with this response
 */
function expectBody(c: HttpConn, status: u32): bool {
  if (!hasHttp(c, HttpFlag.Upload) || !wantsContinue(c) || hasHttp(c, HttpFlag.Continued))
    return true;
  if (status >= 300) return false;
  invite(c);
  return true;
}

/** Returns `putHead`'s value of `persistent` for a response, 0 when the connection ends with it. */
function persistence(c: HttpConn, flags: u32): u32 {
  // A proxy may start a tunnel at the request alone, so the bytes after a refused upgrade may not be for this server.
  const asks: u32 = Trait.UpgradeWebSocket | Trait.ConnectionUpgrade;
  if ((c.traits & asks) == asks) return 0;
  const limit = paramU32(Param.RequestsPerSocket);
  if (!(c.traits & Trait.Persistent) || flags & Answer.Close || engine.stopping != 0) return 0;
  if (limit != 0 && c.requests + 1 >= limit) return 0;
  return c.minor == 0 ? 2 : 1;
}

/** Returns the value of `persistence` for a whole response, after which the rest of a streamed body is not read. */
function lastPersistence(c: HttpConn, flags: u32): u32 {
  return hasHttp(c, HttpFlag.Upload) ? 0 : persistence(c, flags);
}

/** Returns true for a response without a body (RFC 9110 6.4.1; 205: 15.3.6). */
function isBare(c: HttpConn, status: u32): bool {
  return c.method == Method.HEAD || status == 204 || status == 205 || status == 304;
}

/** Counts the next request as one that is arriving, because some of its bytes are there and may stay for a while. */
export function awaitHead(c: Conn): void {
  enlist(c, List.Reading);
  rearm(c);
}

/** Completes the pending request, and continues with the next one or ends the connection. */
function finishRequest(c: HttpConn, persistent: bool): void {
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
  c.marks &= ~HttpFlag.Continued;
  if (c.start >= c.end) {
    dropInput(c);
    if (has(c, Flag.PeerEnded)) {
      finishWith(c, CloseReason.PeerClosed);
      return;
    }
    // The connection is unread until its responses have left. Before one of their writes is pending no deadline becomes
    // earlier.
    c.lastOut = engine.now;
    enlist(c, List.Unread);
    if (c.writing != 0) rearm(c);
    else if (c.replyHead == 0) rest(c);
  } else if (!has(c, Flag.InWindow) || c.list != List.None) {
    // The bytes in the window are parsed at once, or else retained.
    awaitHead(c);
  }
}

/** Returns the framing of a whole response. A 304 has no body, and the length of the body it refers to is unknown. */
function framingOf(status: u32): u32 {
  return status == 304 ? Framing.None : Framing.Length;
}

/**
 * Answers the pending request.
 * @param fieldsLength bytes of field records at the start of the scratch region, followed by the body
 * @returns Ok, Gone, or TooLarge when a field is refused and nothing is sent
 */
export function respond(
  slot: u32,
  generation: u32,
  status: u32,
  flags: u32,
  fieldsLength: u32,
  bodyLength: u32,
): u32 {
  takeTime();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || c.state != State.Request) return Outcome.Gone;
  const persistent = lastPersistence(httpOf(c), flags);
  const body = engine.scratch + fieldsLength;
  const head = (body + bodyLength + 15) & ~15;
  const end = putHead(
    head,
    status,
    framingOf(status),
    persistent,
    bodyLength,
    engine.scratch,
    fieldsLength,
  );
  // mutant stop-answer: if (engine.stopping != 0) { finishWith(c, CloseReason.Ok); return Outcome.Ok; }
  if (end == 0) return Outcome.TooLarge;
  const bare = isBare(httpOf(c), status);
  if (queue(c, head, end, body, bare ? 0 : bodyLength)) finishRequest(httpOf(c), persistent != 0);
  return Outcome.Ok;
}

/**
 * Answers with `length` bytes of a body that the embedder holds.
 * @param body number of the body; from SLOT_LIMIT on it is held for this response alone, and its bytes are counted
 * @returns Ok, with 1 in Control.Result when the embedder must hold the body until its last row, or 0 when the response
 * has no body. Full when too many bytes are held, and the request was refused for the reason in Control.Result. Gone,
 * or TooLarge when a field is refused and nothing is sent
 */
export function respondStatic(
  slot: u32,
  generation: u32,
  status: u32,
  flags: u32,
  fieldsLength: u32,
  body: u32,
  length: u32,
): u32 {
  takeTime();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || c.state != State.Request) return Outcome.Gone;
  const persistent = lastPersistence(httpOf(c), flags);
  const head = (engine.scratch + fieldsLength + 15) & ~15;
  const end = putHead(
    head,
    status,
    framingOf(status),
    persistent,
    length,
    engine.scratch,
    fieldsLength,
  );
  if (end == 0) return Outcome.TooLarge;
  const bare = isBare(httpOf(c), status) || length == 0;
  setControl(Control.Result, 0);
  if (!bare && !mayHoldBody(c, body, length)) {
    const reason = noBlock();
    refuse(httpOf(c), reason);
    setControl(Control.Result, reason);
    return Outcome.Full;
  }
  if (!queue(c, head, end, 0, 0)) return Outcome.Ok;
  if (!bare && !reserveBody(c, body, length)) {
    kill(c, noBlock(), Shut.Destroy);
    return Outcome.Ok;
  }
  finishRequest(httpOf(c), persistent != 0);
  setControl(Control.Result, bare ? 0 : 1);
  return Outcome.Ok;
}

/**
 * Begins a streamed response. The request is pending until `streamEnd`.
 * @param flags bits of Answer. With Answer.Supply, Control.Result has the size of the first piece, which may be
 * given at once, 0 when Want asks for it, and the bits SUPPLY_…
 * @param length of the body in bytes, a whole number up to 2^53 - 1; −1: it is unknown; −2: it is unknown, and the end
 * of the connection is that of the body, for HTTP/1.1 too
 * @returns Ok, Gone, or TooLarge when a field is refused and nothing is sent
 */
export function streamBegin(
  slot: u32,
  generation: u32,
  status: u32,
  flags: u32,
  fieldsLength: u32,
  length: f64,
): u32 {
  takeTime();
  const c = httpOf(live(slot, generation));
  if (changetype<usize>(c) == 0 || c.state != State.Request || hasHttp(c, HttpFlag.Streaming)) {
    return Outcome.Gone;
  }
  setControl(Control.Result, 0);
  const bare = isBare(c, status);
  const isKnown = length >= 0;
  const chunked = c.minor == 1 && !isKnown && length != -2;
  // HTTP/1.0 has no chunks, so the end of the connection marks the end of a body of unknown length.
  let persistent = chunked || isKnown || bare ? persistence(c, flags) : 0;
  if (!expectBody(c, status)) persistent = 0;
  if (c.state != State.Request) return Outcome.Ok;
  // Without a length a client would take the next response for the body of a 205 (RFC 9110 15.3.6).
  let framing: u32 = chunked ? Framing.Chunked : Framing.None;
  // A 304 may have the length of the body that it refers to (RFC 9110 8.6).
  if (status == 205 || (isKnown && status != 204)) framing = Framing.Length;
  else if (status == 204 || status == 304) framing = Framing.None;
  const bodyLength: u64 = isKnown && status != 205 ? (length as u64) : 0;
  const head = (engine.scratch + fieldsLength + 15) & ~15;
  const end = putHead(head, status, framing, persistent, bodyLength, engine.scratch, fieldsLength);
  if (end == 0) return Outcome.TooLarge;
  if (!queue(c, head, end, 0, 0)) return Outcome.Ok;
  c.marks |= HttpFlag.Streaming;
  if (chunked) c.marks |= HttpFlag.Chunking;
  if (isKnown && !bare) {
    c.marks |= HttpFlag.Counted;
    c.replyLeft = bodyLength;
  }
  if (bare) c.marks |= HttpFlag.Bare;
  if (persistent == 0) c.marks |= HttpFlag.LastAnswer;
  if (flags & Answer.Supply) setControl(Control.Result, beginSupply(c, flags) as f64);
  return Outcome.Ok;
}

/** Buffer for the head of a chunk. */
const CHUNK_HEAD = memory.data(16, 8);

const HEX = memory.data<u8>([48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 97, 98, 99, 100, 101, 102]);

/**
 * Begins a piece of `length` bytes, at least 1. Call `sendBytes` until all bytes are there, then `streamNext`. Of a
 * supplied body only pieces are queued that fit into the block of the head, so that they are one write with it.
 * @returns Ok, Full (nothing was queued, and a Drain follows, or a Want for a supplied body), Gone, or TooLarge (the
 * response has no body or its known length leaves less, and the piece is dropped)
 */
export function streamWrite(slot: u32, generation: u32, length: u32): u32 {
  const c = httpOf(live(slot, generation));
  if (changetype<usize>(c) == 0 || !hasHttp(c, HttpFlag.Streaming)) return Outcome.Gone;
  if (hasHttp(c, HttpFlag.Bare)) return Outcome.TooLarge;
  const isCounted = hasHttp(c, HttpFlag.Counted);
  if (isCounted && length > c.replyLeft) return Outcome.TooLarge;
  let at = CHUNK_HEAD as usize;
  if (hasHttp(c, HttpFlag.Chunking)) {
    let shift: i32 = 28;
    while (shift > 0 && length >> shift == 0) shift -= 4;
    for (; shift >= 0; shift -= 4) store<u8>(at++, load<u8>(HEX + ((length >> shift) & 15)));
    store<u16>(at, 0x0a0d);
    at += 2;
  }
  const head = (at - CHUNK_HEAD) as u32;
  const room = head + length + (head == 0 ? 0 : 2);
  if (hasHttp(c, HttpFlag.Supplied) && (c.piece != 0 || length > 0x7fffffff || tailRoom(c) < room))
    return Outcome.Full;
  if (c.backlog > paramU32(Param.Backlog) || length > 0x7fffffff || !reserve(c, room, 0)) {
    c.flags |= Flag.WantDrain;
    // With an empty queue of its own it waits for the pool, and retries together with the other connections.
    if (c.backlog == 0 && noBlock() == CloseReason.NoBuffer) engine.replyFull = 1;
    return Outcome.Full;
  }
  if (isCounted) c.replyLeft -= length;
  write(CHUNK_HEAD, head);
  announce(length);
  markDirty(c);
  return Outcome.Ok;
}

/** Ends a piece of a streamed response. */
export function streamNext(slot: u32, generation: u32): void {
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || !hasHttp(httpOf(c), HttpFlag.Chunking)) return;
  store<u16>(CHUNK_HEAD, 0x0a0d);
  write(CHUNK_HEAD, 2);
}

/**
 * Ends a streamed response. The connection continues with the next request or ends. It is reset when a response with a
 * known length lacks bytes (RFC 9112 8).
 * @returns Ok, Gone, or Invalid while a piece of a supplied body has not left
 */
export function streamEnd(slot: u32, generation: u32): u32 {
  takeTime();
  const c = httpOf(live(slot, generation));
  if (changetype<usize>(c) == 0 || !hasHttp(c, HttpFlag.Streaming)) return Outcome.Gone;
  if (hasHttp(c, HttpFlag.Supplied)) {
    if (c.piece != 0) return Outcome.Invalid;
    leaveSupply(c);
    releasePiece(c);
  }
  if (hasHttp(c, HttpFlag.Chunking) && !hasHttp(c, HttpFlag.Bare)) {
    const end = putText(SHORT, "0\r\n\r\n");
    if (!queue(c, SHORT, end, 0, 0)) return Outcome.Ok;
  }
  if (hasHttp(c, HttpFlag.Counted) && c.replyLeft != 0) {
    kill(c, CloseReason.HandlerError, Shut.Reset);
    return Outcome.Ok;
  }
  // Its head may have been sent before the server shut down.
  // mutant stop-stream (supply): const persistent = !hasHttp(c, HttpFlag.LastAnswer | HttpFlag.Upload);
  const persistent = engine.stopping == 0 && !hasHttp(c, HttpFlag.LastAnswer | HttpFlag.Upload);
  c.marks &= ~(
    HttpFlag.Streaming |
    HttpFlag.Chunking |
    HttpFlag.Bare |
    HttpFlag.LastAnswer |
    HttpFlag.Counted
  );
  finishRequest(c, persistent);
  return Outcome.Ok;
}

/** Starts the shutdown of the server. From now on no connection persists. */
export function stop(): void {
  engine.stopping = 1;
}

/**
 * Ends an HTTP connection for a shutdown: an idle one at once, an unfinished request with 503, a released one when it
 * is silent. A pending request is answered first.
 */
export function dismiss(slot: u32, generation: u32): void {
  takeTime();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || isWebSocket(c)) return;
  if (c.state == State.Released) dismissPipe(httpOf(c));
  else if (hasHttp(httpOf(c), HttpFlag.Proxied | HttpFlag.Unsecured))
    refuse(httpOf(c), CloseReason.Shutdown);
  else if (c.state == State.Head && c.start == c.end) finishWith(c, CloseReason.Shutdown);
  else if (c.state == State.Head || c.state == State.Body) refuse(httpOf(c), CloseReason.Shutdown);
}

/**
 * Queues the 101 of an opening handshake (RFC 6455 4.2.2).
 * @returns Ok, Full when the reply pool is empty, or TooLarge when a field is refused. Only Ok queues anything
 */
export function queueSwitch(c: HttpConn, fieldsLength: u32): u32 {
  const head = (engine.scratch + fieldsLength + 15) & ~15;
  // RFC 9110 7.8: an expected 100 is sent before a 101.
  const isDue = wantsContinue(c) && !hasHttp(c, HttpFlag.Continued);
  let at = putText(
    isDue ? putContinue(head) : head,
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
  );
  at = putAccept(at, (c.head as usize) + (c.key as usize));
  at = putText(at, "\r\n");
  at = putFields(at, engine.scratch, fieldsLength);
  if (at == 0) return Outcome.TooLarge;
  at = putMissing(at);
  at = putText(at, "\r\n");
  const length = (at - head) as u32;
  if (!reserve(c, length, 0)) return Outcome.Full;
  write(head, length);
  return Outcome.Ok;
}

/** Queues the head of an event stream, with the time after which its client reconnects. @returns as `queueSwitch` */
export function queueStream(c: HttpConn, fieldsLength: u32): u32 {
  const head = (engine.scratch + fieldsLength + 15) & ~15;
  let at = putHead(head, 200, Framing.None, 0, 0, engine.scratch, fieldsLength);
  if (at == 0) return Outcome.TooLarge;
  at = putRetry(at);
  const length = (at - head) as u32;
  if (!reserve(c, length, 0)) return Outcome.Full;
  write(head, length);
  return Outcome.Ok;
}

/** Bytes of scratch that a response's head needs besides its fields and body. */
export const HEAD_ROOM: u32 = HEAD_EXTRA + 256;
