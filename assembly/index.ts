// The engine's exports, and how to call them. The engine is sans-I/O. Its inputs are bytes, writability and time; its
// outputs are events and rows to write. It never calls the embedder, and it never allocates after `new` (`create()` in
// the sources).
//
// A turn of the embedder:
//   write Control.Now; read the socket into the window; feed; handle the events; resume or retain
//   drain the inbox (at most an eighth of the ring)
//   flush; write each row, set its state; flush again, until it returns 0
//   flushPieces; the same; but stop when it takes too long, by flushPieces(0)
//   done(slot) when a pending write completes; tick when its time has come
//
// After any call that leaves Control.EventCount above 0, drain the table and set the count to 0 before the next call.

import { ABI_VERSION } from "./abi";
import { PARAMS } from "./engine/lifecycle";
import { methodName } from "./parse/http";
import { noteCompletion } from "./reply/progress";
import { finishWrite } from "./reply/end";
import { live } from "./state/slots";
import { takeEvents } from "./state/events";
import { takeTime } from "./state/records";

/** Returns the ABI version of this engine. An embedder built for another version must not call anything else. */
export function abi(): u32 {
  return ABI_VERSION;
}

/** Returns the address of the parameter table, which holds Param.COUNT f64. */
export function params(): usize {
  return PARAMS;
}

/** Returns the lowest address at which a region may be formatted, which is after the module's own data. */
export function base(): usize {
  return (__heap_base + 63) & ~63;
}

/** Returns the address of a method's name: one byte of length, then the letters. */
export function method(index: u32): usize {
  return methodName(index);
}

/** Completes the pending write of a connection. The embedder calls it when the transport no longer reads the memory. */
export function done(slot: u32, generation: u32): void {
  takeTime();
  takeEvents();
  const c = live(slot, generation);
  if (changetype<usize>(c) == 0 || c.writing == 0) return;
  noteCompletion(c);
  finishWrite(c);
}

export { server } from "./reply/head";
export { reasons } from "./state/close";
export { abandon } from "./engine/end";
export { accept, addressText, decline, secured, setAddress } from "./engine/accept";
export {
  align,
  configure,
  create as new,
  destroy as delete,
  footprint,
  join,
  leave,
  refused,
} from "./engine/lifecycle";
export { isInRange, isPower, isZeroAllowed, leastOf, mostOf } from "./state/ranges";
export { check } from "./engine/check";
export {
  deflateCount,
  publish,
  stageAppend,
  stageDiscard,
  stagePublish,
  stageReserve,
  publishToNone,
} from "./engine/publish";
export { drain } from "./engine/batch";
export { gauge, lag } from "./reply/lag";
export { tick } from "./engine/expire";
export { acknowledged, measures, watched } from "./reply/progress";
export { feed, resume, retain, parseKept } from "./engine/feed";
export { hold, packed, relay } from "./engine/hold";
export { limit, peerEnded, terminate } from "./engine/end";
export { openStream, upgrade } from "./engine/upgrade";
export { flush, flushPieces } from "./engine/pass";
export { free } from "./reply/end";
export { page } from "./reply/page";
export {
  dismiss,
  refusals,
  respond,
  respondStatic,
  stop,
  streamBegin,
  streamEnd,
  streamNext,
  streamWrite,
} from "./reply/response";
export { finish, piping, pour, release } from "./reply/release";
export {
  findTopic,
  isSubscribed,
  nextTopic,
  subscriberCount,
  topicFor,
  unsubscribe,
} from "./ring/topics";
export { collect, pull, stream, streams } from "./reply/body";
export { begin, greet, settled, subscribe } from "./reply/return";
export { give, keepRoom } from "./reply/supply";
export { awaitRoom, checkUtf8, close, ping, send, sendBegin, sendBytes } from "./reply/send";
