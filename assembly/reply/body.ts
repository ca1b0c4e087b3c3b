// Bodies of requests that are streamed: the host has the head, and gets the body piece by piece.
//
// Invariant: while a body is streamed its connection owns no buffer. The bytes that came are decoded where they
// lie, all of them at once, and the host copies the piece before it calls again; it alone decides when the
// socket is read. The end is told once, as BodyEnd. An answer that is given before the body is at its end ends
// the connection: the rest of the body is never taken for a request.

import { CloseReason, EVENT_LIMIT, EventKind, Outcome, Shut, Trait } from "../abi";
import { Conn, Flag, State, engine, has, takeTime } from "../state/records";
import { List } from "../state/lists";
import { dataOf, live } from "../state/slots";
import { emit, takeEvents } from "../state/events";
import { decodedTo, readTo } from "../parse/chunks";
import { DONE, MORE, isLengthAllowed, isStreamAllowed, parseStream } from "../parse/http";
import { endPaceIn, paceIn, pardon } from "../state/rate";
import { dropInput, finishWith, kill } from "./end";
import { rearm } from "./deadline";
import { invite, refuse } from "./response";
import { enlist, leaveList } from "../state/room";

/** 1: from now on each request with a body is handed out as a head first; 0: only when it is whole. */
export function streams(wanted: u32): void {
  engine.streams = wanted;
}

/** The connection whose head is out with Trait.BodyToCome; 0 when the id names no such one. */
function asked(slot: u32, generation: u32): Conn {
  takeTime();
  takeEvents();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || c.state != State.Request || !has(c, Flag.Asking)) {
    return changetype<Conn>(0);
  }
  c.flags &= ~Flag.Asking;
  return c;
}

/**
 * The body of a request whose head is out is collected: a second Request follows when it is whole.
 * @returns Ok; TooLarge: it was refused, 413; Gone
 */
export function collect(slot: u32, generation: u32): u32 {
  const c = asked(slot, generation);
  if (changetype<usize>(c) == 0) return Outcome.Gone;
  if (!isLengthAllowed(c)) {
    refuse(c, CloseReason.LargeRequest);
    return Outcome.TooLarge;
  }
  c.state = State.Body;
  endPaceIn(c);
  c.traits &= ~Trait.BodyToCome;
  c.flags |= Flag.MessageOut;
  return Outcome.Ok;
}

/**
 * The body of a request whose head is out comes as BodyChunk and BodyEnd, `resume` brings the first of them.
 * The request is out, and may be answered at any time; its head is gone with this call.
 * @returns Ok; TooLarge: it was refused, 413; Gone
 */
export function stream(slot: u32, generation: u32): u32 {
  const c = asked(slot, generation);
  if (changetype<usize>(c) == 0) return Outcome.Gone;
  if (!isStreamAllowed(c)) {
    refuse(c, CloseReason.LargeRequest);
    return Outcome.TooLarge;
  }
  c.flags |= Flag.Upload | Flag.MessageOut;
  c.start += c.headLength;
  // Who has begun to send need not be asked to.
  if (c.start != c.end) c.flags |= Flag.Continued;
  c.scan = 0;
  c.headers = 0;
  endPaceIn(c);
  return Outcome.Ok;
}

/** The host waits for a piece of a streamed body: from now on the peer's silence counts. */
export function pull(slot: u32, generation: u32): void {
  takeTime();
  takeEvents();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || !has(c, Flag.Upload)) return;
  // What a body has in hand it keeps: the time that the host took counts for nothing.
  if (c.inDue == 0) paceIn(c);
  else if (!has(c, Flag.Pulling)) pardon(c, c.parkedSince);
  c.flags |= Flag.Pulling;
  c.since = engine.now;
  if (c.list == List.None) enlist(c, List.Reading);
  rearm(c);
  invite(c);
}

/** Decodes what came of a streamed body, and hands it out. */
export function parseUpload(c: Conn): void {
  if (engine.inboundEvents + 2 > EVENT_LIMIT) return;
  const data = dataOf(c);
  const from = data + c.start;
  if (c.start != c.end) c.flags |= Flag.Continued;
  const result = parseStream(c, from, data + c.end);
  const length = (decodedTo - from) as u32;
  // mutant upload-rest: c.start = c.end;
  c.start = (readTo - data) as u32;
  if (length > 0) {
    c.flags &= ~Flag.Pulling;
    if (c.list == List.Reading) leaveList(c);
    if (c.inDue != 0) paceIn(c);
    c.parkedSince = engine.now;
    emit(EventKind.BodyChunk, c, from, length, 0);
  }
  if (result == DONE) {
    c.flags &= ~(Flag.Upload | Flag.Pulling);
    emit(EventKind.BodyEnd, c, 0, 0, 0);
  }
  // What was handed out stays readable where it lies.
  if (c.start == c.end) dropInput(c);
  if (result == DONE) return;
  if (result != MORE) breakUpload(c, result);
  else if (has(c, Flag.PeerEnded)) breakUpload(c, CloseReason.PeerEnded);
}

/** A streamed body breaks off: the host is told, the client refused, or reset when its answer has begun. */
export function breakUpload(c: Conn, reason: i32): void {
  c.flags &= ~(Flag.Upload | Flag.Pulling);
  emit(EventKind.BodyEnd, c, 0, 0, reason);
  if (reason != CloseReason.PeerEnded) refuse(c, reason);
  else if (has(c, Flag.Streaming)) kill(c, reason, Shut.Reset);
  else finishWith(c, reason);
}
