// The engine's exports: its manual. The engine is sans-I/O: bytes, writability and time go in; events and
// rows to write come out. It never calls the host and never allocates after `new`.
//
// A turn of the host:
//   write Control.Now; read the socket into the window; feed; handle the events; resume or retain
//   drain the inbox (at most an eighth of the ring)
//   flush; write each row, set its state; flush again, until it returns 0
//   done(slot) when a write that was outstanding completes; tick when its time has come
//
// After any call: when Control.EventCount is not 0, drain the table and set it to 0 before calling on.

import { ABI_VERSION } from "./abi";
import { PARAMS } from "./engine/engine";
import { methodName } from "./parse/http";
import { noteCompletion } from "./reply/progress";
import { finishWrite } from "./engine/output";
import { live, takeEvents, takeTime } from "./state/conn";

/** The ABI that this engine speaks: a host that speaks another must not call anything else. */
export function abi(): u32 {
  return ABI_VERSION;
}

/** Address of the parameter table: Param.COUNT f64. */
export function params(): usize {
  return PARAMS;
}

/** Lowest address at which a region may be formatted: behind the module's own data. */
export function base(): usize {
  return (__heap_base + 63) & ~63;
}

/** Address of a method's name: one byte of length, then its letters. */
export function method(index: u32): usize {
  return methodName(index);
}

/** The outstanding write of a connection has completed: the host no longer reads its memory. */
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
export {
  abandon,
  accept,
  addressText,
  align,
  check,
  configure,
  create as new,
  decline,
  deflateCount,
  destroy as delete,
  drain,
  footprint,
  gauge,
  join,
  lag,
  leave,
  publish,
  secured,
  setAddress,
  stageAppend,
  stageDiscard,
  stagePublish,
  stageReserve,
  tick,
} from "./engine/engine";
export { acknowledged, measures, watched } from "./reply/progress";
export {
  feed,
  hold,
  limit,
  peerEnded,
  relay,
  resume,
  retain,
  terminate,
  upgrade,
} from "./engine/input";
export { flush, free } from "./engine/output";
export {
  dismiss,
  respond,
  respondStatic,
  stop,
  streamBegin,
  streamEnd,
  streamNext,
  streamWrite,
} from "./reply/response";
export {
  findTopic,
  isSubscribed,
  nextTopic,
  subscribe,
  subscriberCount,
  unsubscribe,
} from "./ring/topics";
export { collect, pull, stream, streams } from "./reply/body";
export { checkUtf8, close, ping, send, sendBegin, sendBytes } from "./reply/send";
