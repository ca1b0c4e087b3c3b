// Upgrades a connection to a WebSocket. It moves from an HTTP slot to a WebSocket slot, with the bytes it has sent.
//
// Invariant: after a failed upgrade the connection is unchanged, or it has ended.

import { CloseReason, Control, Form, Outcome, Param, Shut, Trait } from "../abi";
import { rearm } from "../reply/deadline";
import { dropInput, finishWith, kill, leaveQueue } from "../reply/end";
import { unwatch } from "../reply/progress";
import { queueStream, queueSwitch, refuse } from "../reply/response";
import { NEVER } from "../ring/cursor";
import { hasHistory } from "../ring/history";
import { messageAt, ringAt, ringOf } from "../ring/ring";

import { addOpen, dropDirty, markDirty } from "../state/lists";
import { park } from "../reply/return";
import { noBlock } from "../state/quota";
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
  httpOf,
  webSocketOf,
  HttpConn,
  HttpFlag,
  hasHttp,
  WebSocketConn,
  WebSocketFlag,
  setMark,
} from "../state/records";
import { delist } from "../state/room";
import { live, putFree, takeWebSocket } from "../state/slots";
import { disarm } from "../state/timers";
import { REPLAYS, furthest } from "../state/treap";

/** Returns the WebSocket that lags by the most messages among the readers of all forms, 0 when none lags. */
function furthestInAny(): Conn {
  let found = changetype<Conn>(0);
  let least = NEVER;
  for (let form: u32 = 0; form < (Form.COUNT as u32); form++) {
    for (let set: u32 = 0; set <= REPLAYS; set += REPLAYS) {
      const reader = furthest(form + set);
      if (changetype<usize>(reader) == 0) continue;
      const message = messageAt(ringAt(form), reader.done);
      if (message >= least) continue;
      least = message;
      found = reader;
    }
  }
  return found;
}

/**
 * Moves a connection to a WebSocket slot, with the bytes that it sent and the responses that are queued for it.
 * @param form the Form that it reads
 */
function moveToWebSocket(c: HttpConn, form: u32): WebSocketConn {
  const w = webSocketOf(takeWebSocket());
  const newSlot = w.slot;
  const newGeneration = w.generation;
  // Bytes that were sent too early and found no buffer are fed again, to the new slot.
  leaveQueue(c);
  disarm(c);
  unwatch(c);
  delist(c);
  dropDirty(c);
  memory.copy(changetype<usize>(w), changetype<usize>(c), offsetof<Conn>());
  w.slot = newSlot;
  w.generation = newGeneration;
  const kept = Flag.InWindow | Flag.PeerEnded | Flag.Held | Flag.MidReply | Flag.Copied;
  // mutant run-copied: w.flags = (w.flags & kept & ~Flag.Copied) | Flag.WebSocket;
  w.flags = (w.flags & kept) | Flag.WebSocket;
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
  w.form = form as u8;
  w.state = State.Open;
  w.left = 0;
  w.right = 0;
  w.timerAt = 0;
  const ring = ringOf(w);
  w.done = ring.committed;
  w.handed = ring.committed;
  // mutant cursor-join: w.sequence = max(engine.sequence, engine.firstSequence + 1) - 1;
  w.sequence = engine.sequence;
  w.idle = paramU32(Param.IdleTimeout);
  w.payload = paramU32(Param.PayloadBytes);
  w.lastIn = engine.now;
  w.since = engine.now;
  w.inDue = 0;
  w.closeCode = 1006;
  c.buffer = 0;
  c.replyHead = 0;
  c.replyTail = 0;
  putFree(c);
  return w;
}

/**
 * Answers an opening handshake. The connection moves to a WebSocket slot, and its cursor is at `committed`.
 * @param fieldsLength bytes of field records at the start of the scratch region
 * @param deflate 0 for no compression; 1 when permessage-deflate was negotiated (RFC 7692); 2 when it was, but with a
 * smaller window than broadcasts are compressed with, so that the client reads the plain ring
 * @returns Ok (the new slot in Control.Result, its generation in Control.Generation), Evicted (handle the events, then
 * call again), Full (refused with 503), Gone, or TooLarge (a field is refused)
 */
export function upgrade(slot: u32, generation: u32, fieldsLength: u32, deflate: u32): u32 {
  takeTime();
  const c = httpOf(live(slot, generation));
  if (changetype<usize>(c) == 0 || c.state != State.Request) return Outcome.Gone;
  if (!(c.traits & Trait.Upgrade)) return Outcome.Gone;
  const room = makeSlot(c);
  if (room != Outcome.Ok) return room;
  const queued = queueSwitch(c, fieldsLength);
  if (queued != Outcome.Ok) return notQueued(c, queued);
  const isPacked = deflate == 1 && paramU32(Param.DeflateRingBytes) != 0;
  const w = moveToWebSocket(c, isPacked ? Form.Deflated : Form.Plain);
  if (deflate != 0) setMark(w, WebSocketFlag.Deflates);
  return opened(w);
}

/**
 * Makes a pending request an event stream (WHATWG HTML 9.2). The connection moves to a WebSocket slot, and its cursor
 * is at `committed`. With history it is parked: subscribe it to its topics, call `greet`, and `begin` and `settled` for
 * its handler's `open`.
 * @param fieldsLength bytes of field records at the start of the scratch region
 * @param since with history: sequence of the position from which the client resumes, or one of the SINCE values
 * @returns as `upgrade`; Invalid when events are off, or the request's body is streamed
 */
export function openStream(slot: u32, generation: u32, fieldsLength: u32, since: f64): u32 {
  takeTime();
  const c = httpOf(live(slot, generation));
  if (changetype<usize>(c) == 0 || c.state != State.Request) return Outcome.Gone;
  if (paramU32(Param.EventRingBytes) == 0 || hasHttp(c, HttpFlag.Upload | HttpFlag.Streaming))
    return Outcome.Invalid;
  const room = makeSlot(c);
  if (room != Outcome.Ok) return room;
  const queued = queueStream(c, fieldsLength);
  if (queued != Outcome.Ok) return notQueued(c, queued);
  const w = moveToWebSocket(c, Form.Event);
  dropInput(w);
  w.idle = 0;
  w.discarded = 0;
  if (hasHistory) park(w, since);
  return opened(w);
}

/** Finds a WebSocket slot. Returns not Ok when there is none for this request now. */
function makeSlot(c: HttpConn): u32 {
  if (has(c, Flag.PeerEnded)) {
    // A WebSocket needs both directions. Responses to the requests before it are still sent.
    finishWith(c, CloseReason.PeerEnded);
    return Outcome.Gone;
  }
  if (engine.freeWebSocket != 0) return Outcome.Ok;
  const victim = furthestInAny();
  if (paramU32(Param.EvictWhenFull) != 0 && changetype<usize>(victim) != 0) {
    add(Control.Evicted, 1);
    kill(victim, CloseReason.Evicted, Shut.Reset);
    return Outcome.Evicted;
  }
  refuse(c, CloseReason.NoRoom);
  return Outcome.Full;
}

/** Handles a head that was not queued. */
function notQueued(c: HttpConn, outcome: u32): u32 {
  if (outcome == Outcome.Full) kill(c, noBlock(), Shut.Destroy);
  return outcome;
}

/** Counts a new WebSocket or event stream, and reports its slot. */
function opened(w: WebSocketConn): u32 {
  addOpen(w);
  markDirty(w);
  rearm(w);
  add(Control.ConnectionCount, -1);
  add(Control.Upgraded, 1);
  add(Control.Requests, 1);
  setControl(Control.Result, w.slot as f64);
  setControl(Control.Generation, w.generation as f64);
  return Outcome.Ok;
}
