// The ranges of the parameters. `create` formats no region for a parameter outside of its range, and `configure`
// refuses such a value, because loops of the engine rely on the ranges: a run shorter than a gathered piece would never
// end, and a ring that is no power of two has no mask.
//
// Invariant: every parameter is a whole number of its range, or 0 where `isZeroAllowed`.

import { Param } from "../abi";

const FLAG: f64 = 1;
const MAX_SLOTS: f64 = 524288;
const MIN_RING: f64 = 4096;
const MAX_RING: f64 = 1073741824;
const MAX_U32: f64 = 4294967295;
/** 2^53. */
const MAX_WHOLE: f64 = 9007199254740992;
/** 36^8 - 1. */
const MAX_EPOCH: f64 = 2821109907455;

/** Returns the least value of a parameter besides 0. */
export function leastOf(index: u32): f64 {
  switch (index) {
    case Param.Connections:
    case Param.WebSockets:
    case Param.Frames:
    case Param.Seed:
      return 1;
    case Param.RingBytes:
    case Param.DeflateRingBytes:
    case Param.EventRingBytes:
      return MIN_RING;
    case Param.RunBytes:
    case Param.CopiedRunBytes:
      return 512;
    default:
      return 0;
  }
}

/** Returns the largest value of a parameter. */
export function mostOf(index: u32): f64 {
  switch (index) {
    case Param.Connections:
    case Param.WebSockets:
      return MAX_SLOTS;
    case Param.RingBytes:
    case Param.DeflateRingBytes:
    case Param.EventRingBytes:
      return MAX_RING;
    case Param.HeadBytes:
      return 65535;
    case Param.RequireContentLength:
    case Param.Pieces:
    case Param.EvictWhenFull:
    case Param.SendPings:
    case Param.EventNames:
    case Param.History:
      return FLAG;
    case Param.FirstSequence:
      return MAX_WHOLE;
    case Param.StreamBytes:
      return MAX_WHOLE - 1;
    case Param.Epoch:
      return MAX_EPOCH;
    default:
      return MAX_U32;
  }
}

/** Returns true for a parameter that must be a power of two. */
export function isPower(index: u32): bool {
  switch (index) {
    case Param.RingBytes:
    case Param.DeflateRingBytes:
    case Param.EventRingBytes:
    case Param.Frames:
      return true;
    default:
      return false;
  }
}

/** Returns true for a parameter that may be 0, which switches its purpose off, though `leastOf` is more. */
export function isZeroAllowed(index: u32): bool {
  switch (index) {
    case Param.DeflateRingBytes:
    case Param.EventRingBytes:
    case Param.CopiedRunBytes:
      return true;
    default:
      return false;
  }
}

/** Returns true for a value within a parameter's range. */
export function isInRange(index: u32, value: f64): bool {
  if (value == 0 && isZeroAllowed(index)) return true;
  if (!(value >= leastOf(index) && value <= mostOf(index)) || Math.floor(value) != value)
    return false;
  const whole = value as u64;
  return !isPower(index) || (whole & (whole - 1)) == 0;
}
