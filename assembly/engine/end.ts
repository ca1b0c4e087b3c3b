// Ends connections on request of the embedder or the peer, and sets the limits of a single connection.
//
// Invariant: a call for a slot whose generation has changed does nothing.

import { CloseReason, Outcome, Shut } from "../abi";
import { parseHttp } from "./http-in";
import { breakUpload } from "../reply/body";
import { rearm } from "../reply/deadline";
import { kill } from "../reply/end";
import { refuse } from "../reply/response";
import { fail } from "../reply/send";

import { isReason, takeEvents } from "../state/events";
import { List } from "../state/lists";
import {
  Flag,
  State,
  engine,
  has,
  isWebSocket,
  takeTime,
  httpOf,
  hasHttp,
  HttpFlag,
  webSocketOf,
} from "../state/records";
import { enlist } from "../state/room";
import { live } from "../state/slots";

/** Fails an open WebSocket or refuses a pending HTTP request, for the embedder's own errors. */
export function abandon(slot: u32, generation: u32, reason: i32): u32 {
  takeTime();
  takeEvents();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0) return Outcome.Gone;
  if (!isReason(reason)) return Outcome.Invalid;
  if (isWebSocket(c)) {
    if (c.state == State.Open) fail(c, reason);
  } else if (c.state == State.Request || c.state == State.Head || c.state == State.Body) {
    refuse(httpOf(c), reason);
  }
  return Outcome.Ok;
}
/** Records that the peer ended its side (FIN). Its earlier requests are still answered. Call `resume` after it. */
export function peerEnded(slot: u32, generation: u32): void {
  takeTime();
  takeEvents();
  const c = httpOf(live(slot, generation));
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
      if (hasHttp(c, HttpFlag.Upload)) breakUpload(c, CloseReason.PeerEnded);
      break;
    case State.Open:
    case State.Closing:
      // The bytes that it sent before are handled first, for at most the time of a closing handshake. `resume` ends it.
      if (c.state == State.Open) c.since = engine.now;
      rearm(c);
      break;
    default:
      break;
  }
}

/**
 * Ends a connection that the transport lost, or that the embedder closes.
 * @returns Ok, Gone, Invalid
 */
export function terminate(slot: u32, generation: u32, reason: i32): u32 {
  takeTime();
  takeEvents();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0) return Outcome.Gone;
  if (!isReason(reason)) return Outcome.Invalid;
  const isLost = reason == CloseReason.PeerReset || reason == CloseReason.NetworkError;
  const isOver = isLost || reason == CloseReason.TlsFailed;
  kill(c, reason, isOver ? Shut.Destroy : Shut.Reset);
  return Outcome.Ok;
}

/**
 * Sets the limits of a single WebSocket.
 * @param idle idle timeout in ms, 0 for no limit @param payload longest inbound message in bytes
 */
export function limit(slot: u32, generation: u32, idle: u32, payload: u32): void {
  const c = webSocketOf(live(slot, generation));
  if (changetype<usize>(c) == 0 || !isWebSocket(c)) return;
  c.idle = idle;
  c.payload = payload;
  rearm(c);
}
