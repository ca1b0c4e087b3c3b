// Footprint arithmetic: the number of bytes that each region of the memory takes. asc compiles it for `footprint` and
// `new` (`create()` in the sources), and esbuild for `plan()`, so the plan that a user sees is the layout itself.
//
// Invariant: regions follow each other in the order of `Region`, each a multiple of REGION_ALIGN, and
// each is sized by at most two parameters: aligned(first * a + second * b + c). Further ones decide `a`.

import {
  CONN_BYTES,
  Control,
  EVENT_BYTES,
  EVENT_LIMIT,
  HEADER_ENTRY_BYTES,
  NOTICE_LIMIT,
  Param,
  ROW_BYTES,
  ROW_LIMIT,
} from "./abi";

/** Alignment of regions, in bytes. */
export const REGION_ALIGN: f64 = 64;
/** Size of the padding after an input region, in bytes. SIMD loads may read it, and no code writes it. */
export const PAD_BYTES: f64 = 64;
/** Room before the receive window, in bytes. The incomplete head of a frame is moved there before the next read. */
export const HEADROOM_BYTES: f64 = 256;
/** Size of an entry of the frame index in bytes, and of what each form besides the plain one adds to it. */
export const FRAME_BYTES: f64 = 40;
export const PLACE_BYTES: f64 = 16;
/** Room after the control table for the engine's own records, in bytes. */
export const CONTROL_EXTRA: f64 = 2048;
/** Smallest buffer of the receive pool, in bytes. */
export const RECEIVE_UNIT: f64 = 1024;
/** Smallest block of the reply pool, in bytes. */
export const REPLY_UNIT: f64 = 512;
/** Size of a pool's bookkeeping for each unit, in bytes: one byte of map, eight of links. */
export const MAP_BYTES: f64 = 9;
/** Sizes in bytes of a topic with its name, of a subscription, and of a bucket of their tables. */
export const TOPIC_BYTES: f64 = 256;
export const SUBSCRIPTION_BYTES: f64 = 64;
export const BUCKET_BYTES: f64 = 4;
/** Size of an address's counters, in bytes. */
export const TALLY_BYTES: f64 = 40;
/** Bytes that history adds to an entry of the frame index, to a topic, and for each WebSocket. */
export const TRACE_BYTES: f64 = 32;
export const PAST_BYTES: f64 = 24;
export const RETURN_BYTES: f64 = 32;

/**
 * Returns the size of an entry of the frame index in bytes.
 * @param deflateRingBytes, eventRingBytes 0 without that form @param history 0 without history
 */
export function frameStride(deflateRingBytes: f64, eventRingBytes: f64, history: f64): f64 {
  const places: f64 = (deflateRingBytes == 0 ? 0 : 1) + (eventRingBytes == 0 ? 0 : 1);
  return FRAME_BYTES + places * PLACE_BYTES + (history == 0 ? 0 : TRACE_BYTES);
}

/** Returns the size of a topic with its name in bytes. @param history 0 without history */
export function topicStride(history: f64): f64 {
  return TOPIC_BYTES + (history == 0 ? 0 : PAST_BYTES);
}

export enum Region {
  Control,
  HttpSlots,
  WebSocketSlots,
  WebSocketList,
  Timers,
  ReceivePoolMap,
  ReplyPoolMap,
  FrameIndex,
  Topics,
  Events,
  Rows,
  HeadTable,
  Window,
  Scratch,
  ReceivePool,
  ReplyPool,
  Ring,
  DeflateRing,
  EventRing,
  Addresses,
  Returns,
  COUNT,
}

/** Returns the parameter that sizes a region, −1 when the region has a fixed size. */
export function firstParam(region: i32): i32 {
  switch (region) {
    case Region.HttpSlots:
    case Region.Timers:
    case Region.Events:
    case Region.Addresses:
      return Param.Connections;
    case Region.WebSocketSlots:
    case Region.WebSocketList:
    case Region.Returns:
      return Param.WebSockets;
    case Region.ReceivePoolMap:
    case Region.ReceivePool:
      return Param.ReceivePoolBytes;
    case Region.ReplyPoolMap:
    case Region.ReplyPool:
      return Param.ReplyPoolBytes;
    case Region.FrameIndex:
      return Param.Frames;
    case Region.Topics:
      return Param.Topics;
    case Region.HeadTable:
      return Param.Headers;
    case Region.Window:
      return Param.WindowBytes;
    case Region.Scratch:
      return Param.ScratchBytes;
    case Region.Ring:
      return Param.RingBytes;
    case Region.DeflateRing:
      return Param.DeflateRingBytes;
    case Region.EventRing:
      return Param.EventRingBytes;
    default:
      return -1;
  }
}

/** Returns the other parameter that sizes a region, −1 when there is none. */
export function secondParam(region: i32): i32 {
  switch (region) {
    case Region.Timers:
    case Region.Events:
    case Region.Addresses:
      return Param.WebSockets;
    case Region.Topics:
      return Param.Subscriptions;
    case Region.FrameIndex:
      return Param.DeflateRingBytes;
    case Region.Returns:
      return Param.History;
    default:
      return -1;
  }
}

/** Returns the third parameter that sizes a region, −1 when there is none. */
export function thirdParam(region: i32): i32 {
  if (region == (Region.FrameIndex as i32)) return Param.EventRingBytes;
  return region == (Region.Topics as i32) ? (Param.History as i32) : -1;
}

/** Returns the fourth parameter that sizes a region, −1 when there is none. */
export function fourthParam(region: i32): i32 {
  return region == (Region.FrameIndex as i32) ? (Param.History as i32) : -1;
}

/** Returns the least power of two that is not below `count`. */
export function powerOver(count: f64): f64 {
  let power: f64 = 1;
  while (power < count) power *= 2;
  return power;
}

function aligned(bytes: f64): f64 {
  return Math.ceil(bytes / REGION_ALIGN) * REGION_ALIGN;
}

/**
 * Returns the size of a region in bytes.
 * @param first value of its `firstParam`, 0 when it has none
 * @param second, third, fourth values of its further parameters, 0 when it has none
 */
export function regionBytes(region: i32, first: f64, second: f64, third: f64, fourth: f64): f64 {
  switch (region) {
    case Region.Control:
      return aligned((Control.COUNT as f64) * 8 + CONTROL_EXTRA);
    case Region.HttpSlots:
    case Region.WebSocketSlots:
      return aligned(first * (CONN_BYTES as f64));
    case Region.WebSocketList:
      return aligned(first * 4);
    case Region.Timers:
      return aligned((first + second) * 4);
    case Region.ReceivePoolMap:
      return aligned(Math.ceil(first / RECEIVE_UNIT) * MAP_BYTES);
    case Region.ReplyPoolMap:
      return aligned(Math.ceil(first / REPLY_UNIT) * MAP_BYTES);
    case Region.FrameIndex:
      return aligned(first * frameStride(second, third, fourth));
    case Region.Topics:
      // Number 0 is the audience of broadcasts, so the table has one more record.
      return aligned(
        (first + 1) * topicStride(third) +
          second * SUBSCRIPTION_BYTES +
          (powerOver(first) + powerOver(second)) * BUCKET_BYTES,
      );
    case Region.Events:
      // One Closed for each slot, and room for the events of `peerEnded` when the inbound ones fill the table.
      return aligned(
        (first + second + (EVENT_LIMIT as f64) * 2 + (NOTICE_LIMIT as f64)) * (EVENT_BYTES as f64),
      );
    case Region.Returns:
      return second == 0 ? 0 : aligned(first * RETURN_BYTES);
    case Region.Rows:
      return (ROW_LIMIT as f64) * (ROW_BYTES as f64);
    case Region.Addresses:
      // Each connection may have an address of its own. Number 0 is unused.
      return aligned((first + second + 1) * TALLY_BYTES + powerOver(first + second) * BUCKET_BYTES);
    case Region.HeadTable:
      return aligned(first * (HEADER_ENTRY_BYTES as f64));
    case Region.Window:
      return aligned(HEADROOM_BYTES + first + PAD_BYTES);
    case Region.DeflateRing:
    case Region.EventRing:
      return first == 0 ? 0 : aligned(first + PAD_BYTES);
    case Region.Scratch:
    case Region.ReceivePool:
    case Region.ReplyPool:
    case Region.Ring:
      return aligned(first + PAD_BYTES);
    default:
      return 0;
  }
}
