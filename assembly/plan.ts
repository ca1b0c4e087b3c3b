// Footprint arithmetic: how many bytes each region of the memory takes. Compiled by asc for
// `footprint` and `new`, and by esbuild for `plan()`, so that the plan a user sees is the layout itself.
//
// Invariant: regions follow each other in the order of `Region`, each a multiple of REGION_ALIGN, and
// each is sized by at most two parameters: aligned(first * a + second * b + c).

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

/** Regions start at multiples of this many bytes. */
export const REGION_ALIGN: f64 = 64;
/** Bytes behind an input region that SIMD loads may read and nobody writes. */
export const PAD_BYTES: f64 = 64;
/** Bytes before the receive window, where the cut head of a frame is put back before the next read. */
export const HEADROOM_BYTES: f64 = 256;
/** Bytes of an entry of the frame index. */
export const FRAME_BYTES: f64 = 56;
/** Bytes behind the control table for the engine's own records. */
export const CONTROL_EXTRA: f64 = 2048;
/** Smallest buffer of the receive pool. */
export const RECEIVE_UNIT: f64 = 1024;
/** Smallest block of the reply pool. */
export const REPLY_UNIT: f64 = 512;
/** Bytes of a pool's map for each unit: one of the map, eight of links. */
export const MAP_BYTES: f64 = 9;
/** Bytes of a topic, its name included; of a subscription; of a bucket of their tables. */
export const TOPIC_BYTES: f64 = 256;
export const SUBSCRIPTION_BYTES: f64 = 64;
export const BUCKET_BYTES: f64 = 4;
/** Bytes of what is counted for an address. */
export const TALLY_BYTES: f64 = 40;

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
  Addresses,
  COUNT,
}

/** The parameter that sizes a region, −1 when it has a fixed size. */
export function firstParam(region: i32): i32 {
  switch (region) {
    case Region.HttpSlots:
    case Region.Timers:
    case Region.Events:
    case Region.Addresses:
      return Param.Connections;
    case Region.WebSocketSlots:
    case Region.WebSocketList:
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
    default:
      return -1;
  }
}

/** The other parameter that sizes a region, −1 when there is none. */
export function secondParam(region: i32): i32 {
  switch (region) {
    case Region.Timers:
    case Region.Events:
    case Region.Addresses:
      return Param.WebSockets;
    case Region.Topics:
      return Param.Subscriptions;
    default:
      return -1;
  }
}

/** The least power of two that is not below `count`. */
export function powerOver(count: f64): f64 {
  let power: f64 = 1;
  while (power < count) power *= 2;
  return power;
}

function aligned(bytes: f64): f64 {
  return Math.ceil(bytes / REGION_ALIGN) * REGION_ALIGN;
}

/**
 * Bytes of a region.
 * @param first value of its `firstParam`, 0 when it has none
 * @param second value of its `secondParam`, 0 when it has none
 */
export function regionBytes(region: i32, first: f64, second: f64): f64 {
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
      return aligned(first * FRAME_BYTES);
    case Region.Topics:
      // Number 0 is everyone.
      return aligned(
        (first + 1) * TOPIC_BYTES +
          second * SUBSCRIPTION_BYTES +
          (powerOver(first) + powerOver(second)) * BUCKET_BYTES,
      );
    case Region.Events:
      // One Closed for each slot, and room for what `peerEnded` may tell when the others are full.
      return aligned(
        (first + second + (EVENT_LIMIT as f64) * 2 + (NOTICE_LIMIT as f64)) * (EVENT_BYTES as f64),
      );
    case Region.Rows:
      return (ROW_LIMIT as f64) * (ROW_BYTES as f64);
    case Region.Addresses:
      // Each connection may come from an address of its own. Number 0 is none.
      return aligned((first + second + 1) * TALLY_BYTES + powerOver(first + second) * BUCKET_BYTES);
    case Region.HeadTable:
      return aligned(first * (HEADER_ENTRY_BYTES as f64));
    case Region.Window:
      return aligned(HEADROOM_BYTES + first + PAD_BYTES);
    case Region.DeflateRing:
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
