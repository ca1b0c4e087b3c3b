// Judges the first bytes of a connection that need not be HTTP.
//
// Invariant: the verdict follows from the octets alone, however they were cut. It is reached at the first octet that
// allows one, and each octet is looked at once: while there is no verdict, `scan`, `line` and `chunk` of the record are
// the octets judged so far, the start of the method, and the phase.
//
//   *( CR LF ) token SP target SP "HTTP/"     HTTP, also with an unknown method or version; `parseHead` judges the rest
//   an octet that does not fit into that      foreign
//   8 octets without SP that begin no method  foreign
//   a line that is too long for `parseHead`   HTTP, which refuses it
//   empty lines as long as that               foreign

import { Param } from "../abi";
import { isTchar } from "../kernel/bytes";
import { HttpConn, paramU32 } from "../state/records";
import { LINE_ROOM, beginsMethod } from "./http";

/** Verdicts. */
export const UNDECIDED: u32 = 0;
export const IS_HTTP: u32 = 1;
export const IS_FOREIGN: u32 = 2;

// Phases in Conn.chunk. From VERSION on, the phase minus VERSION is the number of octets of "HTTP/" so far.
const BLANK: u32 = 0;
const BLANK_LF: u32 = 1;
const METHOD: u32 = 2;
const TARGET_BEGIN: u32 = 3;
const TARGET: u32 = 4;
const VERSION: u32 = 5;

const HTTP = memory.data<u8>([72, 84, 84, 80, 47]);
const HTTP_OCTETS: u32 = 5;
/** Octets of a method that need not be a known one. Words of other protocols are often longer, such as SSH-2.0-x. */
const FREE_OCTETS: u32 = 7;

/** Judges the octet at `offset` from `head`. */
function judgeOctet(c: HttpConn, head: usize, offset: u32): u32 {
  const octet: u32 = load<u8>(head + offset);
  const phase = c.chunk;
  if (phase == BLANK_LF) {
    c.chunk = BLANK;
    return octet == 0x0a ? UNDECIDED : IS_FOREIGN;
  }
  if (phase == BLANK && octet == 0x0d) {
    c.chunk = BLANK_LF;
    return UNDECIDED;
  }
  if (phase == BLANK) {
    c.line = offset;
    c.chunk = METHOD;
  }
  if (phase <= METHOD) {
    if (octet == 0x20 && phase == METHOD) {
      c.chunk = TARGET_BEGIN;
      return UNDECIDED;
    }
    const length = offset + 1 - c.line;
    if (!isTchar(octet)) return IS_FOREIGN;
    // mutant first-word (release): return length <= 16 ? UNDECIDED : IS_FOREIGN;
    return length <= FREE_OCTETS || beginsMethod(head + c.line, length) ? UNDECIDED : IS_FOREIGN;
  }
  if (phase <= TARGET) {
    if (octet == 0x20 && phase == TARGET) c.chunk = VERSION;
    else if (octet > 0x20 && octet < 0x7f) c.chunk = TARGET;
    else return IS_FOREIGN;
    return UNDECIDED;
  }
  if (octet != (load<u8>(HTTP + phase - VERSION) as u32)) return IS_FOREIGN;
  c.chunk++;
  return c.chunk == VERSION + HTTP_OCTETS ? IS_HTTP : UNDECIDED;
}

/**
 * Continues to judge the bytes at [head, end), the first ones of a connection.
 * @returns UNDECIDED when more are needed
 */
export function judgeFirst(c: HttpConn, head: usize, end: usize): u32 {
  const limit = min(paramU32(Param.HeadBytes), paramU32(Param.TargetBytes) + LINE_ROOM);
  while (head + c.scan < end) {
    const verdict = judgeOctet(c, head, c.scan);
    if (verdict != UNDECIDED) return verdict;
    c.scan++;
    if (c.chunk <= BLANK_LF) {
      if (c.scan > limit) return IS_FOREIGN;
    } else if (c.scan - c.line > limit) {
      return IS_HTTP;
    }
  }
  return UNDECIDED;
}
