// Leaf kernels over raw bytes. They take (pointer, length), return a position or nothing, and have no state.
//
// Loads may read up to 15 bytes past the end of an input region, where PAD_BYTES are reserved. Stores never leave the
// range that they are given.

/** Copies bytes between ranges that do not overlap. Below 256 bytes a short loop of v128 is faster than memory.copy. */
export function copy(target: usize, source: usize, length: u32): void {
  if (length >= 256) {
    memory.copy(target, source, length);
    return;
  }
  while (length >= 16) {
    v128.store(target, v128.load(source));
    target += 16;
    source += 16;
    length -= 16;
  }
  if (length & 8) {
    store<u64>(target, load<u64>(source));
    target += 8;
    source += 8;
  }
  if (length & 4) {
    store<u32>(target, load<u32>(source));
    target += 4;
    source += 4;
  }
  if (length & 2) {
    store<u16>(target, load<u16>(source));
    target += 2;
    source += 2;
  }
  if (length & 1) store<u8>(target, load<u8>(source));
}

/** Returns a bit for each of 16 bytes that a field value must not contain: below 0x20 except HTAB, or DEL. */
function controlsAt(at: usize): i32 {
  const bytes = v128.load(at);
  const low = i8x16.lt_u(bytes, i8x16.splat(0x20));
  const tab = i8x16.eq(bytes, i8x16.splat(0x09));
  const del = i8x16.eq(bytes, i8x16.splat(0x7f));
  return i8x16.bitmask(v128.or(v128.andnot(low, tab), del));
}

/**
 * Returns the first byte in [at, end) that a field value must not contain (below 0x20 except HTAB, or DEL), `end` if
 * none.
 */
export function findControl(at: usize, end: usize): usize {
  while (at < end) {
    // One comparison finds these, HTAB and octets above ASCII. The first match is nearly always the CR.
    const next = i8x16.add(v128.load(at), i8x16.splat(1));
    const some = i8x16.bitmask(i8x16.lt_s(next, i8x16.splat(0x21)));
    if (some != 0) {
      const found = at + ctz(some);
      if (load<u8>(found) == 0x0d) return min(found, end);
      const mask = controlsAt(at);
      if (mask != 0) return min(at + ctz(mask), end);
    }
    at += 16;
  }
  return end;
}

/** Returns the first byte in [at, end) that is not visible ASCII, 0x21 … 0x7e, `end` if none. */
export function skipVisible(at: usize, end: usize): usize {
  while (at < end) {
    const next = i8x16.add(v128.load(at), i8x16.splat(1));
    const mask = i8x16.bitmask(i8x16.lt_s(next, i8x16.splat(0x22)));
    if (mask != 0) return min(at + ctz(mask), end);
    at += 16;
  }
  return end;
}

/**
 * Returns true when the `length` bytes at `at` equal those at `lower`, ignoring ASCII case. The bytes at `at` are no
 * control octets, and `lower` holds lower-case letters, digits and hyphens.
 */
export function equalFold(at: usize, lower: usize, length: u32): bool {
  while (true) {
    const folded = v128.or(v128.load(at), i8x16.splat(0x20));
    const other = ~i8x16.bitmask(i8x16.eq(folded, v128.load(lower)));
    // Bits from 16 on are set, so ctz returns 16 when all 16 bytes are equal.
    if (length <= 16) return (ctz(other) as u32) >= length;
    if (ctz(other) != 16) return false;
    at += 16;
    lower += 16;
    length -= 16;
  }
}

// Classes of octets. Each high nibble from 2 to 7 has a bit, and each low nibble has the bits of the high nibbles with
// which it forms an octet of the class.
const HIGH_NIBBLE = i8x16(0, 0, 1, 2, 4, 8, 16, 32, 0, 0, 0, 0, 0, 0, 0, 0);
/** tchar (RFC 9110 5.6.2). */
// prettier-ignore
const TCHARS = i8x16(
  0x3a,
  0x3f,
  0x3e,
  0x3f,
  0x3f,
  0x3f,
  0x3f,
  0x3f,
  0x3e,
  0x3e,
  0x3d,
  0x15,
  0x34,
  0x15,
  0x3d,
  0x1c,
);
/** unreserved / sub-delims (RFC 3986 2.2, 2.3) without the comma. */
// prettier-ignore
const NAME_OCTETS = i8x16(
  0x2a,
  0x3f,
  0x3e,
  0x3e,
  0x3f,
  0x3e,
  0x3f,
  0x3f,
  0x3f,
  0x3f,
  0x3d,
  0x17,
  0x14,
  0x17,
  0x35,
  0x1c,
);

/** Returns a bit for each of 16 bytes that is not in a class. */
function othersAt(at: usize, lowNibble: v128): i32 {
  const bytes = v128.load(at);
  const high = v128.and(i16x8.shr_u(bytes, 4), i8x16.splat(15));
  const low = v128.and(bytes, i8x16.splat(15));
  const kind = v128.and(i8x16.swizzle(HIGH_NIBBLE, high), i8x16.swizzle(lowNibble, low));
  return i8x16.bitmask(i8x16.eq(kind, i8x16.splat(0)));
}

/** Returns the first octet in [at, end) that is not a tchar, `end` if none. */
export function skipToken(at: usize, end: usize): usize {
  while (at < end) {
    const mask = othersAt(at, TCHARS);
    if (mask != 0) return min(at + ctz(mask), end);
    at += 16;
  }
  return end;
}

/** Returns the first octet in [at, end) that a host's name cannot contain unencoded, `end` if none. */
export function skipName(at: usize, end: usize): usize {
  while (at < end) {
    const mask = othersAt(at, NAME_OCTETS);
    if (mask != 0) return min(at + ctz(mask), end);
    at += 16;
  }
  return end;
}

/** A table with 1 for the octets of a token (RFC 9110 5.6.2). */
const TCHAR = memory.data<u8>([
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  1, 0, 1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1,
  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1,
  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1, 0,
]);

export function isTchar(c: u32): bool {
  return c < 128 && load<u8>(TCHAR + c) != 0;
}

/** Returns the first octet in [at, end) that is neither SP nor HTAB (RFC 9110 5.6.3), `end` if none. */
export function skipBlank(at: usize, end: usize): usize {
  while (at < end) {
    const c: u32 = load<u8>(at);
    if (c != 0x20 && c != 0x09) return at;
    at++;
  }
  return end;
}

/** Returns `end` without trailing SP and HTAB. */
export function trimBlank(at: usize, end: usize): usize {
  while (end > at) {
    const c: u32 = load<u8>(end - 1);
    if (c != 0x20 && c != 0x09) return end;
    end--;
  }
  return end;
}

/**
 * Copies `length` bytes from `source` to `target` and removes the mask (RFC 6455 5.3). It works in place when both are
 * equal. Otherwise `target` must precede `source` or not overlap it.
 * @param mask the key as a little-endian word whose first byte masks the first byte of `source`
 * @returns the key for the byte that follows
 */
export function unmask(target: usize, source: usize, length: u32, mask: u32): u32 {
  const wide = i32x4.splat(mask as i32);
  while (length >= 64) {
    const first = v128.load(source);
    const second = v128.load(source, 16);
    const third = v128.load(source, 32);
    const fourth = v128.load(source, 48);
    v128.store(target, v128.xor(first, wide));
    v128.store(target, v128.xor(second, wide), 16);
    v128.store(target, v128.xor(third, wide), 32);
    v128.store(target, v128.xor(fourth, wide), 48);
    source += 64;
    target += 64;
    length -= 64;
  }
  while (length >= 16) {
    v128.store(target, v128.xor(v128.load(source), wide));
    source += 16;
    target += 16;
    length -= 16;
  }
  while (length >= 4) {
    store<u32>(target, load<u32>(source) ^ mask);
    source += 4;
    target += 4;
    length -= 4;
  }
  while (length > 0) {
    store<u8>(target, load<u8>(source) ^ (mask as u8));
    mask = rotr(mask, 8);
    source++;
    target++;
    length--;
  }
  return mask;
}

export function storeBe16(at: usize, value: u32): void {
  store<u16>(at, bswap<u16>(value as u16));
}

export function storeBe64(at: usize, value: u64): void {
  store<u64>(at, bswap<u64>(value));
}

export function loadBe16(at: usize): u32 {
  return bswap<u16>(load<u16>(at)) as u32;
}

export function loadBe64(at: usize): u64 {
  return bswap<u64>(load<u64>(at));
}

/** Writes a number in decimal at `at`. Returns the end. */
export function storeDecimal(at: usize, value: u64): usize {
  let digits: u32 = 1;
  let rest = value;
  while (rest >= 10) {
    rest /= 10;
    digits++;
  }
  let i = digits;
  rest = value;
  while (i > 0) {
    i--;
    store<u8>(at + i, 48 + ((rest % 10) as u8));
    rest /= 10;
  }
  return at + digits;
}
