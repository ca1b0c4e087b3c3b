// What a close reason means on the wire: the HTTP status of a refusal, the code and text of a Close frame.
//
// Invariant: host/shared/close.ts is the only source. The host copies it into the table here, before the first
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

/** Address of the table: the record of a reason is at `-reason * REASON_BYTES`. */
export function reasons(): usize {
  return TABLE;
}

/** Address of the record of a reason. */
function record(reason: i32): usize {
  return TABLE + (-reason as usize) * (REASON_BYTES as usize);
}

/** HTTP status with which a request is refused; 0: the connection is closed without an answer. */
export function closeStatus(reason: i32): u32 {
  return load<u16>(record(reason) + REASON_STATUS);
}

/** Code of the Close frame with which a WebSocket is failed (RFC 6455 7.4.1); 0: no Close frame is sent. */
export function closeCode(reason: i32): u32 {
  return load<u16>(record(reason) + REASON_CODE);
}

/** Address of the text that the Close frame has. */
export function closeText(reason: i32): usize {
  return record(reason) + REASON_TEXT;
}

/** Bytes of the text. */
export function closeTextLength(reason: i32): u32 {
  return load<u8>(record(reason) + REASON_LENGTH);
}
