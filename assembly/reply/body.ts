// Streamed request bodies: the embedder has the head, and receives the body piece by piece.
//
// Invariant: the connection of a streamed body owns no buffer. The bytes that arrived are decoded in place, all at
// once, and the embedder copies the piece before its next call. The embedder alone decides when the socket is read. The
// end is reported once, as BodyEnd. A response that is complete before the body has ended ends the connection, so the
// rest of the body is never taken for a request.

import { CloseReason, EVENT_LIMIT, EventKind, Outcome, Shut, Trait } from "../abi";
import {
  Conn,
  Flag,
  State,
  engine,
  has,
  takeTime,
  hasHttp,
  HttpFlag,
  httpOf,
  HttpConn,
} from "../state/records";
import { List } from "../state/lists";
import { dataOf, live } from "../state/slots";
import { emit, takeEvents } from "../state/events";
import { decoded } from "../parse/chunks";
import { DONE, MORE, isLengthAllowed, isStreamAllowed, parseStream } from "../parse/http";
import { endPaceIn, paceIn, creditTime } from "../state/rate";
import { dropInput, finishWith, kill } from "./end";
import { rearm } from "./deadline";
import { invite, refuse } from "./response";
import { enlist, leaveList } from "../state/room";

/** Sets whether each request with a body is emitted as a head first (1), or only when it is whole (0). */
export function streams(wanted: u32): void {
  engine.streams = wanted;
}

/** Returns the connection whose head was emitted with Trait.BodyToCome, 0 when the id names no such connection. */
function asked(slot: u32, generation: u32): Conn {
  takeTime();
  takeEvents();
  const c = live(slot, generation);
  if (
    changetype<usize>(c) == 0 ||
    c.state != State.Request ||
    !hasHttp(httpOf(c), HttpFlag.Asking)
  ) {
    return changetype<Conn>(0);
  }
  httpOf(c).marks &= ~HttpFlag.Asking;
  return c;
}

/**
 * Collects the body of a request whose head was emitted. A second Request event follows when it is whole.
 * @returns Ok, TooLarge (the request was refused with 413), or Gone
 */
export function collect(slot: u32, generation: u32): u32 {
  const c = asked(slot, generation);
  if (changetype<usize>(c) == 0) return Outcome.Gone;
  if (!isLengthAllowed(httpOf(c))) {
    refuse(httpOf(c), CloseReason.LargeRequest);
    return Outcome.TooLarge;
  }
  c.state = State.Body;
  endPaceIn(c);
  httpOf(c).traits &= ~Trait.BodyToCome;
  c.flags |= Flag.MessageOut;
  return Outcome.Ok;
}

/**
 * Streams the body of a request whose head was emitted, as BodyChunk and BodyEnd. `resume` emits the first of them. The
 * request is pending and may be answered at any time. Its head is invalid after this call.
 * @returns Ok, TooLarge (the request was refused with 413), or Gone
 */
export function stream(slot: u32, generation: u32): u32 {
  const c = httpOf(asked(slot, generation));
  if (changetype<usize>(c) == 0) return Outcome.Gone;
  if (!isStreamAllowed(c)) {
    refuse(c, CloseReason.LargeRequest);
    return Outcome.TooLarge;
  }
  c.marks |= HttpFlag.Upload;
  c.flags |= Flag.MessageOut;
  c.start += c.headLength;
  // A client that has begun to send its body needs no 100 (Continue).
  if (c.start != c.end) c.marks |= HttpFlag.Continued;
  c.scan = 0;
  c.headers = 0;
  endPaceIn(c);
  return Outcome.Ok;
}

/** Asks for a piece of a streamed body. From now on the peer's silence counts. */
export function pull(slot: u32, generation: u32): void {
  takeTime();
  takeEvents();
  const c = httpOf(live(slot, generation));
  if (changetype<usize>(c) == 0 || !hasHttp(c, HttpFlag.Upload)) return;
  // A body keeps the time that it has left, and the embedder's own time does not count.
  if (c.inDue == 0) paceIn(c);
  else if (!hasHttp(c, HttpFlag.Pulling)) creditTime(c, c.parkedSince);
  c.marks |= HttpFlag.Pulling;
  c.since = engine.now;
  if (c.list == List.None) enlist(c, List.Reading);
  rearm(c);
  invite(c);
}

/** Decodes and emits the bytes of a streamed body that have arrived. */
export function parseUpload(c: Conn): void {
  if (engine.inboundEvents + 2 > EVENT_LIMIT) return;
  const data = dataOf(c);
  const from = data + c.start;
  if (c.start != c.end) httpOf(c).marks |= HttpFlag.Continued;
  const result = parseStream(httpOf(c), from, data + c.end);
  const length = (decoded.end - from) as u32;
  // mutant upload-rest: c.start = c.end;
  c.start = (decoded.readTo - data) as u32;
  if (length > 0) {
    httpOf(c).marks &= ~HttpFlag.Pulling;
    if (c.list == List.Reading) leaveList(c);
    if (c.inDue != 0) paceIn(c);
    c.parkedSince = engine.now;
    emit(EventKind.BodyChunk, c, from, length, 0);
  }
  if (result == DONE) {
    httpOf(c).marks &= ~(HttpFlag.Upload | HttpFlag.Pulling);
    emit(EventKind.BodyEnd, c, 0, 0, 0);
  }
  // The emitted bytes stay readable where they are.
  if (c.start == c.end) dropInput(c);
  if (result == DONE) return;
  if (result != MORE) breakUpload(httpOf(c), result);
  else if (has(c, Flag.PeerEnded)) breakUpload(httpOf(c), CloseReason.PeerEnded);
}

/**
 * Ends a streamed body early. The embedder is notified. The client is refused, or reset when its response has begun.
 */
export function breakUpload(c: HttpConn, reason: i32): void {
  c.marks &= ~(HttpFlag.Upload | HttpFlag.Pulling);
  emit(EventKind.BodyEnd, c, 0, 0, reason);
  if (reason != CloseReason.PeerEnded) refuse(c, reason);
  else if (hasHttp(c, HttpFlag.Streaming)) kill(c, reason, Shut.Reset);
  else finishWith(c, reason);
}
