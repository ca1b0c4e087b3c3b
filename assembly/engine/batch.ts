// Publishes as many records of the inbox as one turn may take.
//
// Invariant: records are published in their order. The first one that finds no room stops the batch.

import {
  CloseReason,
  Control,
  FrameFlag,
  Outcome,
  Param,
  RECORD_BYTES,
  RECORD_GENERATION,
  RECORD_KIND,
  RECORD_LENGTH,
  RECORD_SLOT,
  RECORD_TOTAL,
  RecordKind,
  Shut,
} from "../abi";
import { deflateCount, publish, publishToNone } from "./publish";
import { kill } from "../reply/end";
import { subscribe } from "../reply/return";
import { close, fail, ping, send } from "../reply/send";
import { topicFor, unsubscribe } from "../ring/topics";
import { takeEvents } from "../state/events";
import {
  Conn,
  getControl,
  isWebSocket,
  paramU32,
  setControl,
  takeTime,
  WebSocketFlag,
  hasMark,
  webSocketOf,
  engine,
} from "../state/records";
import { live } from "../state/slots";

/** Returns true when the embedder should compress a message, for one of `count` clients. */
function isWorthDeflating(count: u32, flags: u32, length: u32): bool {
  return count != 0 && !(flags & FrameFlag.Plain) && length >= paramU32(Param.DeflateThreshold);
}

/** Returns 1 for a client that accepts compressed messages, whatever its window. */
function takesDeflate(c: Conn): u32 {
  if (changetype<usize>(c) == 0 || !isWebSocket(c)) return 0;
  return hasMark(webSocketOf(c), WebSocketFlag.Deflates) ? 1 : 0;
}

/** Publishes a record to a topic. Its payload is one byte of length, the topic's name, the message. */
function publishRecord(flags: u32, at: usize, length: u32, slot: u32, generation: u32): u32 {
  const nameLength: u32 = length == 0 ? 0 : load<u8>(at);
  if (nameLength + 1 > length) return Outcome.Ok;
  const number = topicFor(at + 1, nameLength);
  if (number == 0) {
    publishToNone();
    return Outcome.Ok;
  }
  const bytes = length - 1 - nameLength;
  if (isWorthDeflating(deflateCount(number), flags, bytes)) return Outcome.Compress;
  return publish(flags, at + 1 + nameLength, bytes, 0, 0, number, slot, generation);
}

/**
 * Processes the records of a batch at the start of the scratch region.
 * @returns bytes of the records that are done. Control.Result is the Outcome that stopped the batch, Ok at its end.
 * After Evicted and Flush, act on them and call again with the rest
 */
export function drain(from: u32, to: u32): u32 {
  takeTime();
  takeEvents();
  let record = engine.scratch + from;
  const end = engine.scratch + to;
  let outcome: u32 = Outcome.Ok;
  while (record < end) {
    const payload = record + RECORD_BYTES;
    const length = load<u32>(record, RECORD_LENGTH);
    const word = load<u32>(record, RECORD_KIND);
    const slot = load<u32>(record, RECORD_SLOT);
    const generation = load<u32>(record, RECORD_GENERATION);
    const flags = (word >> 8) & 0xff;
    switch (word & 0xff) {
      case RecordKind.Broadcast:
        outcome = isWorthDeflating(deflateCount(0), flags, length)
          ? Outcome.Compress
          : publish(flags, payload, length, 0, 0, 0, slot, generation);
        break;
      case RecordKind.Publish:
        outcome = publishRecord(flags, payload, length, slot, generation);
        break;
      case RecordKind.Subscribe:
        // When a table is full, the embedder notifies the application and continues after the record.
        outcome = subscribe(slot, generation, payload, length);
        if (outcome != Outcome.Full) outcome = Outcome.Ok;
        break;
      case RecordKind.Unsubscribe:
        unsubscribe(slot, generation, payload, length);
        break;
      case RecordKind.Send:
        if (isWorthDeflating(takesDeflate(live(slot, generation)), flags, length))
          outcome = Outcome.Compress;
        else if (send(slot, generation, flags, payload, length) == Outcome.Full) {
          // The application's `send(id)` has accepted it, so the client is closed instead of missing one message.
          // mutant send-hole: ;
          fail(live(slot, generation), CloseReason.SendOverrun);
        }
        break;
      case RecordKind.Ping:
        ping(slot, generation, payload, length);
        break;
      case RecordKind.Close:
        if (word >> 16 == 1006) {
          const c = live(slot, generation);
          if (changetype<usize>(c) != 0) kill(c, CloseReason.Application, Shut.Reset);
        } else {
          const c = live(slot, generation);
          if (changetype<usize>(c) != 0 && !isWebSocket(c))
            kill(c, CloseReason.Application, Shut.Destroy);
          else close(slot, generation, word >> 16, payload, length, CloseReason.Application);
        }
        break;
      case RecordKind.Transferred:
        outcome = Outcome.Transferred;
        break;
      default:
        break;
    }
    if (outcome == Outcome.TooLarge) outcome = Outcome.Ok;
    if (outcome != Outcome.Ok) break;
    record += load<u32>(record, RECORD_TOTAL);
  }
  if (outcome == Outcome.Full) setControl(Control.ResultLength, getControl(Control.Result));
  setControl(Control.Result, outcome as f64);
  return (record - engine.scratch) as u32;
}
