// WebSocket frames (RFC 6455 5): decodes frame heads, checks close payloads, and computes the accept value of the
// opening handshake.
//
// Invariant: a head is accepted only when all of it is allowed at its position, and refused at the first byte that
// proves it is not.

import { CloseReason, Param } from "../abi";
import { encode } from "../kernel/base64";
import { copy, loadBe16, loadBe64 } from "../kernel/bytes";
import { paramU32, WebSocketConn, WebSocketFlag, hasMark } from "../state/records";
import { MORE } from "./http";
import { sha1 } from "../kernel/sha1";

import { putText } from "../kernel/text";

export enum Opcode {
  Continuation = 0,
  Text = 1,
  Binary = 2,
  Close = 8,
  Ping = 9,
  Pong = 10,
}

/** Longest frame head, and longest control frame with its mask, in bytes. */
export const HEAD_LIMIT: u32 = 14;
export const CONTROL_LIMIT: u32 = 131;

/** The frame head that `parseFrameHead` decoded last. */
@unmanaged
export class FrameHead {
  /** Bytes of the head. */
  bytes: u32;
  /** Bytes of the payload. */
  length: u32;
  /** Masking key, in the order of its octets. */
  mask: u32;
  opcode: u32;
  /** FIN bit, and RSV1 bit with permessage-deflate. */
  isFinal: bool;
  isDeflated: bool;
}

export const frameHead = changetype<FrameHead>(memory.data(24, 8));

/**
 * Decodes the head of a client's frame in [at, end).
 * @returns MORE, DONE (1), or the CloseReason for which the connection fails
 */
export function parseFrameHead(c: WebSocketConn, at: usize, end: usize): i32 {
  const have = (end - at) as u32;
  if (have == 0) return MORE;
  const first: u32 = load<u8>(at);
  frameHead.opcode = first & 15;
  // RFC 7692 6: RSV1 on the first frame of a message marks it as compressed.
  frameHead.isDeflated = (first & 0x40) != 0;
  const starts = frameHead.opcode == Opcode.Text || frameHead.opcode == Opcode.Binary;
  if (first & 0x30 || (frameHead.isDeflated && !(hasMark(c, WebSocketFlag.Deflates) && starts))) {
    return CloseReason.WsReservedBits;
  }
  frameHead.isFinal = (first & 0x80) != 0;
  const control = frameHead.opcode >= 8;
  if (control) {
    if (frameHead.opcode > (Opcode.Pong as u32)) return CloseReason.WsUnknownOpcode;
    if (!frameHead.isFinal) return CloseReason.WsFragmentedControl;
  } else {
    if (frameHead.opcode > (Opcode.Binary as u32)) return CloseReason.WsUnknownOpcode;
    if (frameHead.opcode == Opcode.Continuation) {
      if (c.opcode == 0) return CloseReason.WsExpectedText;
    } else if (c.opcode != 0) {
      return CloseReason.WsExpectedCont;
    }
  }
  if (have == 1) return MORE;
  const second: u32 = load<u8>(at, 1);
  if (!(second & 0x80)) return CloseReason.WsBadMask;
  let length: u64 = second & 0x7f;
  if (control && length > 125) return CloseReason.WsControlFrameTooLarge;
  if (frameHead.opcode == Opcode.Close && length == 1) return CloseReason.WsBadClosePayload;
  frameHead.bytes = length < 126 ? 6 : length == 126 ? 8 : 14;
  if (length == 126) {
    if (have < 4) return MORE;
    length = loadBe16(at + 2) as u64;
    if (length < 126) return CloseReason.WsBadLength;
  } else if (length == 127) {
    // The first bit must not be set, and one of the first six octets must not be 0.
    if (have > 2 && load<u8>(at, 2) & 0x80) return CloseReason.WsBadLength;
    if (have > 7 && (loadBe64(at) & 0xffffffffffff) == 0) return CloseReason.WsBadLength;
    if (have < 10) return MORE;
    length = loadBe64(at + 2);
  }
  // A message in pieces may have any length. A compressed one must be whole.
  const deflated = frameHead.isDeflated || hasMark(c, WebSocketFlag.Inflating);
  const whole = paramU32(Param.Pieces) == 0 || deflated;
  if (!control && !whole && length > 0xffffffff) return CloseReason.WsOversizeFrame;
  if (!control && whole) {
    let limit = c.payload as u64;
    // Deflate enlarges data that it cannot compress. The real size is checked when the message is inflated.
    if (deflated) limit += (limit >> 3) + 256;
    if (length > limit) return CloseReason.WsOversizeFrame;
    if (length + (c.message as u64) > limit) return CloseReason.WsMessageTooLarge;
  }
  if (have < frameHead.bytes) return MORE;
  frameHead.length = length as u32;
  frameHead.mask = load<u32>(at + frameHead.bytes - 4);
  return 1;
}

/** Returns true for a code that an endpoint may put into a Close frame (RFC 6455 7.4, IANA registry). */
export function isCloseCode(code: u32): bool {
  if (code >= 3000) return code < 5000;
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}

/**
 * Returns the code of a Close frame's payload, 1005 when it is empty, 0 when it is invalid. It does not check the text.
 */
export function closePayload(at: usize, length: u32): u32 {
  if (length == 0) return 1005;
  if (length == 1) return 0;
  const code = loadBe16(at);
  return isCloseCode(code) ? code : 0;
}

const KEY_AND_GUID = memory.data(64, 8);
const DIGEST = memory.data(32, 8);

/** Writes the Sec-WebSocket-Accept value of a key of 24 characters (RFC 6455 4.2.2), which has 28 characters. */
export function putAccept(at: usize, key: usize): usize {
  copy(KEY_AND_GUID, key, 24);
  putText(KEY_AND_GUID + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
  sha1(DIGEST, KEY_AND_GUID, 60);
  return encode(at, DIGEST, 20);
}
