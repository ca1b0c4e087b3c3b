// Connections that are taken out of HTTP: the embedder moves their bytes to and from an upstream. They keep their slot,
// and with it the limits, the address, the time limits, the statistics and their part in a shutdown.
//
// Invariants
//   Each byte of the client is given to the embedder once, in order: first the bytes that were not parsed, as the
//   result of `release`; then each read, in the window.
//   The client's bytes are written in order, one write at a time: responses that were queued before, then the bytes
//   that the embedder pours.
//   At most half of the HTTP slots are released, so that clients of other protocols leave room for requests.
//
// The unparsed bytes are in one of these places:
//   the window            `release` is called for an event of bytes that were just read
//   the pooled buffer     the bytes came in several reads, or after a pending request
//   with the embedder     they found no buffer; they follow the bytes in the buffer
//   nowhere               the client was silent
//
//   time limit            applies                                   ends as
//   `opens`               until the upstream is open                UpstreamTimeout
//   WriteTimeout          while a write is outstanding, either way  WriteTimeout, UpstreamTimeout
//   IdleTimeout           while none is                             IdleTimeout
//   CloseTimeout          instead of IdleTimeout, in a shutdown     Shutdown

import { CloseReason, Control, EventKind, Outcome, Piping, RowKind, Shut } from "../abi";
import { rearm, rearmProgress } from "./deadline";
import { dropInput, finishWith, kill } from "./end";
import { forgetReading } from "./progress";
import { emit, isReason, takeEvents } from "../state/events";
import { countReturned } from "../state/quota";
import { paceOut } from "../state/rate";
import {
  Flag,
  HttpConn,
  HttpFlag,
  State,
  add,
  engine,
  getControl,
  hasHttp,
  httpOf,
  isWebSocket,
  setControl,
  takeTime,
} from "../state/records";
import { delist } from "../state/room";
import { dataOf, live } from "../state/slots";

/** Notifies the embedder that a connection is not HTTP. Nothing of it is parsed any more. */
export function emitForeign(c: HttpConn): void {
  c.marks &= ~HttpFlag.Undecided;
  c.marks |= HttpFlag.Foreign;
  emit(EventKind.Foreign, c, 0, 0, 0);
}

/**
 * Takes a connection out of HTTP: a foreign one, or one whose complete request is pending. The request counts as
 * answered, and its head is invalid after this call.
 * @param opens ms within which the upstream must be open, see `piping`; 0 when it is open
 * @returns Ok, with the address of the unparsed bytes in Control.Result and their number in Control.ResultLength. They
 * are valid until the next call, and bytes that the embedder keeps follow them. Gone; Invalid: the connection is
 * neither; Full: half of the slots are released. Then nothing has changed
 */
export function release(slot: u32, generation: u32, opens: f64): u32 {
  takeTime();
  const c = httpOf(live(slot, generation));
  if (changetype<usize>(c) == 0 || isWebSocket(c)) return Outcome.Gone;
  const isAsked = c.state == State.Request;
  const isPartial = hasHttp(c, HttpFlag.Asking | HttpFlag.Upload | HttpFlag.Streaming);
  if (isAsked ? isPartial : !hasHttp(c, HttpFlag.Foreign)) return Outcome.Invalid;
  const most = (engine.httpSlots + 1) >> 1;
  // mutant release-half (release): if (getControl(Control.Pipes) > (most as f64)) return Outcome.Full;
  if (getControl(Control.Pipes) >= (most as f64)) return Outcome.Full;
  // mutant release-from: const from = c.start + c.scan;
  const from = isAsked ? c.start + c.scan : c.start;
  setControl(Control.Result, (dataOf(c) + from) as f64);
  setControl(Control.ResultLength, (c.end - from) as f64);
  dropInput(c);
  countReturned(c, -(c.returned as i32));
  delist(c);
  c.flags &= ~(Flag.Held | Flag.Clogged | Flag.WantDrain);
  c.marks = opens > 0 ? HttpFlag.Opening : 0;
  c.state = State.Released;
  c.since = engine.now + opens;
  c.parkedSince = engine.now;
  c.inDue = 0;
  add(Control.Pipes, 1);
  add(Control.Released, 1);
  if (isAsked) add(Control.Requests, 1);
  rearm(c);
  return Outcome.Ok;
}

/** Records the state of a released connection's upstream. @param report a Piping */
export function piping(slot: u32, generation: u32, report: u32): void {
  takeTime();
  const c = httpOf(live(slot, generation));
  if (changetype<usize>(c) == 0 || c.state != State.Released) return;
  c.marks &= ~(HttpFlag.Opening | HttpFlag.Pouring);
  if (report == Piping.Waits) c.marks |= HttpFlag.Pouring;
  c.parkedSince = engine.now;
  rearm(c);
}

/**
 * Begins a write of `length` bytes to the client of a released connection. The embedder makes the write, and calls
 * `done` when it is complete.
 * @returns Ok, Gone, or Full: another write is outstanding or queued, and a Drain follows
 */
export function pour(slot: u32, generation: u32, length: u32): u32 {
  takeTime();
  const c = httpOf(live(slot, generation));
  if (changetype<usize>(c) == 0 || c.state != State.Released) return Outcome.Gone;
  if (c.writing != 0 || c.replyHead != 0) {
    c.flags |= Flag.WantDrain;
    return Outcome.Full;
  }
  c.writing = RowKind.Poured as u8;
  c.writingBytes = length;
  c.lastOut = engine.now;
  paceOut(c);
  forgetReading(c);
  rearmProgress(c);
  return Outcome.Ok;
}

/**
 * Ends a released connection after the outstanding write: half-closes it and lingers, or closes it at once when the
 * client has ended its side. Further bytes of the client are dropped.
 * @returns Ok, Gone, Invalid
 */
export function finish(slot: u32, generation: u32, reason: i32): u32 {
  takeTime();
  takeEvents();
  const c = httpOf(live(slot, generation));
  if (changetype<usize>(c) == 0 || c.state != State.Released) return Outcome.Gone;
  if (!isReason(reason)) return Outcome.Invalid;
  finishWith(c, reason);
  return Outcome.Ok;
}

/** Ends a released connection whose time has passed. */
export function expirePipe(c: HttpConn): void {
  if (hasHttp(c, HttpFlag.Opening)) finishWith(c, CloseReason.UpstreamTimeout);
  else if (hasHttp(c, HttpFlag.Pouring)) kill(c, CloseReason.UpstreamTimeout, Shut.Reset);
  else if (hasHttp(c, HttpFlag.Leaving)) kill(c, CloseReason.Shutdown, Shut.Destroy);
  else kill(c, CloseReason.IdleTimeout, Shut.Destroy);
}

/** Ends a released connection for a shutdown, as soon as it is silent. */
export function dismissPipe(c: HttpConn): void {
  if (hasHttp(c, HttpFlag.Opening)) {
    finishWith(c, CloseReason.Shutdown);
    return;
  }
  c.marks |= HttpFlag.Leaving;
  rearm(c);
}
