// Incremental UTF-8 validation (RFC 3629). Text is rejected at the first impossible byte (RFC 6455 8.1).
//
// State between calls: 0 at a character boundary, else (bytes still needed) << 16 | lowest << 8 | highest, the range
// that must contain the next byte. So a text may be cut anywhere.
//
// Whole characters are validated 16 bytes at a time, by the lookup of Keiser and Lemire ("Validating UTF-8 in less than
// one instruction per byte", 2020). Two nibbles of a byte and one of the next identify each error of the pair. A
// character that is cut at the end of the bytes is left to the scalar code, which keeps it as a state.

/** State at a character boundary, where a text must end. */
export const UTF8_START: u32 = 0;
/** Result of `validate` for an impossible byte. */
export const UTF8_BAD: u32 = 0xffffffff;

/** Returns the state after a lead byte, UTF8_BAD for a byte that cannot lead. */
function lead(c: u32): u32 {
  if (c < 0xc2) return UTF8_BAD;
  if (c < 0xe0) return (1 << 16) | 0x80bf;
  if (c < 0xf0) {
    if (c == 0xe0) return (2 << 16) | 0xa0bf;
    if (c == 0xed) return (2 << 16) | 0x809f;
    return (2 << 16) | 0x80bf;
  }
  if (c == 0xf0) return (3 << 16) | 0x90bf;
  if (c < 0xf4) return (3 << 16) | 0x80bf;
  if (c == 0xf4) return (3 << 16) | 0x808f;
  return UTF8_BAD;
}

/** Returns the state after a byte, UTF8_BAD for an impossible one. */
function step(c: u32, state: u32): u32 {
  if (state == UTF8_START) return c < 0x80 ? UTF8_START : lead(c);
  if (c < ((state >> 8) & 0xff) || c > (state & 0xff)) return UTF8_BAD;
  const left = (state >> 16) - 1;
  return left == 0 ? UTF8_START : (left << 16) | 0x80bf;
}

/**
 * Returns the start of the 16 bytes that contain the first byte over 0x7f, or a position at or after `end` if there is
 * none.
 */
export function skipAscii(at: usize, end: usize): usize {
  while (at + 64 <= end) {
    const low = v128.or(v128.load(at), v128.load(at, 16));
    const high = v128.or(v128.load(at, 32), v128.load(at, 48));
    if (i8x16.bitmask(v128.or(low, high)) != 0) break;
    at += 64;
  }
  while (at < end) {
    const mask = i8x16.bitmask(v128.load(at));
    if (mask != 0 && at + ctz(mask) < end) return at;
    at += 16;
  }
  return at;
}

/** Returns how many bytes at the end of [at, end) begin a character that does not end there. */
function cutBytes(at: usize, end: usize): usize {
  const have = end - at;
  if (have > 0 && load<u8>(end - 1) >= 0xc0) return 1;
  if (have > 1 && load<u8>(end - 2) >= 0xe0) return 2;
  return have > 2 && load<u8>(end - 3) >= 0xf0 ? 3 : 0;
}

// Errors of two adjacent bytes, one bit each. An error exists where all three tables have its bit.
const TOO_SHORT: u8 = 1; // a lead, then no continuation
const TOO_LONG: u8 = 2; // ASCII, then a continuation
const OVERLONG_3: u8 = 4;
const TOO_LARGE: u8 = 8;
const SURROGATE: u8 = 16;
const OVERLONG_2: u8 = 32;
const TOO_LARGE_1000: u8 = 64; // F5 and above; F0 8x has the same bit
const TWO_CONTS: u8 = 128; // valid for the last two of three or four bytes
const CARRY: u8 = TOO_SHORT | TOO_LONG | TWO_CONTS;
const BEYOND: u8 = CARRY | TOO_LARGE | TOO_LARGE_1000;

/** Possible errors by the high nibble of the first byte. */
// prettier-ignore
const FIRST_HIGH = i8x16(
  TOO_LONG,
  TOO_LONG,
  TOO_LONG,
  TOO_LONG,
  TOO_LONG,
  TOO_LONG,
  TOO_LONG,
  TOO_LONG,
  TWO_CONTS,
  TWO_CONTS,
  TWO_CONTS,
  TWO_CONTS,
  TOO_SHORT | OVERLONG_2,
  TOO_SHORT,
  TOO_SHORT | OVERLONG_3 | SURROGATE,
  TOO_SHORT | TOO_LARGE | TOO_LARGE_1000,
);

/** Possible errors by the low nibble of the first byte. */
// prettier-ignore
const FIRST_LOW = i8x16(
  CARRY | OVERLONG_3 | OVERLONG_2 | TOO_LARGE_1000,
  CARRY | OVERLONG_2,
  CARRY,
  CARRY,
  CARRY | TOO_LARGE,
  BEYOND,
  BEYOND,
  BEYOND,
  BEYOND,
  BEYOND,
  BEYOND,
  BEYOND,
  BEYOND,
  BEYOND | SURROGATE,
  BEYOND,
  BEYOND,
);

/** Possible errors by the high nibble of the second byte. */
// prettier-ignore
const SECOND_HIGH = i8x16(
  TOO_SHORT,
  TOO_SHORT,
  TOO_SHORT,
  TOO_SHORT,
  TOO_SHORT,
  TOO_SHORT,
  TOO_SHORT,
  TOO_SHORT,
  TOO_LONG | OVERLONG_2 | TWO_CONTS | OVERLONG_3 | TOO_LARGE_1000,
  TOO_LONG | OVERLONG_2 | TWO_CONTS | OVERLONG_3 | TOO_LARGE,
  TOO_LONG | OVERLONG_2 | TWO_CONTS | SURROGATE | TOO_LARGE,
  TOO_LONG | OVERLONG_2 | TWO_CONTS | SURROGATE | TOO_LARGE,
  TOO_SHORT,
  TOO_SHORT,
  TOO_SHORT,
  TOO_SHORT,
);

/** Upper bounds for the last three of 16 bytes. A byte above its bound starts a character that is cut. */
// prettier-ignore
const CLOSED = i8x16(
  -1,
  -1,
  -1,
  -1,
  -1,
  -1,
  -1,
  -1,
  -1,
  -1,
  -1,
  -1,
  -1,
  0xef as i8,
  0xdf as i8,
  0xbf as i8,
);

/** 16 bytes that are kept, then 16 that are cleared. Loads from the middle keep the first of 16. */
// prettier-ignore
const KEEP = memory.data<u8>([
  255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
]);

function highNibbles(bytes: v128): v128 {
  return v128.and(i16x8.shr_u(bytes, 4), i8x16.splat(15));
}

/** Returns the possible errors of the pairs that each byte begins. */
function asFirst(bytes: v128): v128 {
  const low = v128.and(bytes, i8x16.splat(15));
  return v128.and(i8x16.swizzle(FIRST_HIGH, highNibbles(bytes)), i8x16.swizzle(FIRST_LOW, low));
}

/**
 * Returns the errors within 16 bytes, and between them and the 16 before. The result is not 0 at an error.
 * @param first, firstBefore `asFirst` of both
 */
function errorsOf(bytes: v128, before: v128, first: v128, firstBefore: v128): v128 {
  const pairs = v128.and(
    i8x16.shuffle(
      firstBefore,
      first,
      15,
      16,
      17,
      18,
      19,
      20,
      21,
      22,
      23,
      24,
      25,
      26,
      27,
      28,
      29,
      30,
    ),
    i8x16.swizzle(SECOND_HIGH, highNibbles(bytes)),
  );
  // Two continuations must be the last bytes of a character of three or four, and such a lead requires two.
  const third = i8x16.sub_sat_u(
    i8x16.shuffle(before, bytes, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29),
    i8x16.splat(0x60),
  );
  const fourth = i8x16.sub_sat_u(
    i8x16.shuffle(before, bytes, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28),
    i8x16.splat(0x70),
  );
  return v128.xor(v128.and(v128.or(third, fourth), i8x16.splat(0x80 as i8)), pairs);
}

/** Returns true when [at, end), which begins and ends between characters, is valid. */
function areCharacters(at: usize, end: usize): bool {
  let errors = i8x16.splat(0);
  let before = i8x16.splat(0);
  let firstBefore = i8x16.splat(TOO_LONG);
  while (at + 64 <= end) {
    const low = v128.or(v128.load(at), v128.load(at, 16));
    const high = v128.or(v128.load(at, 32), v128.load(at, 48));
    if (i8x16.bitmask(v128.or(low, high)) == 0) {
      errors = v128.or(errors, i8x16.sub_sat_u(before, CLOSED));
      before = i8x16.splat(0);
      firstBefore = i8x16.splat(TOO_LONG);
      at += 64;
      continue;
    }
    for (const stop = at + 64; at < stop; at += 16) {
      const bytes = v128.load(at);
      const first = asFirst(bytes);
      errors = v128.or(errors, errorsOf(bytes, before, first, firstBefore));
      before = bytes;
      firstBefore = first;
    }
  }
  while (at < end) {
    const left = min<usize>(end - at, 16);
    const bytes = v128.and(v128.load(at), v128.load(KEEP + 16 - left));
    const first = asFirst(bytes);
    errors = v128.or(errors, errorsOf(bytes, before, first, firstBefore));
    before = bytes;
    firstBefore = first;
    at += left;
  }
  // A lead at the very end is an error, like one before ASCII.
  return !v128.any_true(v128.or(errors, i8x16.sub_sat_u(before, CLOSED)));
}

/**
 * Continues the validation of a text.
 * @param state result of the previous call, UTF8_START for a new text
 * @returns the new state, or UTF8_BAD
 */
export function validate(at: usize, length: u32, state: u32): u32 {
  const end = at + length;
  while (state != UTF8_START && at < end) {
    state = step(load<u8>(at), state);
    if (state == UTF8_BAD) return UTF8_BAD;
    at++;
  }
  at = skipAscii(at, end);
  if (at >= end) return state;
  let cut = end - cutBytes(at, end);
  if (!areCharacters(at, cut)) return UTF8_BAD;
  while (cut < end && state != UTF8_BAD) {
    state = step(load<u8>(cut), state);
    cut++;
  }
  return state;
}
