// The wire form of close reasons: the HTTP status of a refusal, the code and text of a Close frame.
//
// Invariant: host/shared/close.ts is the only source. The embedder copies it into the table here before the first
// connection.

import {
  CLOSE_REASONS,
  REASON_BYTES,
  REASON_CODE,
  REASON_LENGTH,
  REASON_STATUS,
  REASON_TEXT,
} from "../abi";

/** Record 0 is unused. */
const TABLE = memory.data((CLOSE_REASONS + 1) * REASON_BYTES, 2);

/** Returns the address of the table. The record of a reason is at `-reason * REASON_BYTES`. */
export function reasons(): usize {
  return TABLE;
}

/** Returns the address of a reason's record. */
function record(reason: i32): usize {
  return TABLE + (-reason as usize) * (REASON_BYTES as usize);
}

/** Returns the HTTP status that refuses a request. With 0 the connection is closed without a response. */
export function closeStatus(reason: i32): u32 {
  return load<u16>(record(reason) + REASON_STATUS);
}

/** Returns the code of the Close frame that fails a WebSocket (RFC 6455 7.4.1). With 0 no Close frame is sent. */
export function closeCode(reason: i32): u32 {
  return load<u16>(record(reason) + REASON_CODE);
}

/** Returns the address of the Close frame's text. */
export function closeText(reason: i32): usize {
  return record(reason) + REASON_TEXT;
}

/** Returns the length of the Close frame's text in bytes. */
export function closeTextLength(reason: i32): u32 {
  return load<u8>(record(reason) + REASON_LENGTH);
}
