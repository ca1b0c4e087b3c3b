// Leaf kernels over raw bytes: (pointer, length) in, position or nothing out. No state.
//
// Loads may read up to 15 bytes past the end of an input region (PAD_BYTES lie there); stores never
// leave the range they were given.

/** Copies; a short loop of v128 beats memory.copy below 256 bytes. Ranges must not overlap. */
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

/** First byte in [at, end) that no field value may hold: below 0x20 except HTAB, or DEL; `end` if none. */
export function findControl(at: usize, end: usize): usize {
  while (at < end) {
    const v = v128.load(at);
    const low = i8x16.lt_u(v, i8x16.splat(0x20));
    const tab = i8x16.eq(v, i8x16.splat(0x09));
    const del = i8x16.eq(v, i8x16.splat(0x7f));
    const mask = i8x16.bitmask(v128.or(v128.andnot(low, tab), del));
    if (mask != 0) {
      const found = at + ctz(mask);
      return found < end ? found : end;
    }
    at += 16;
  }
  return end;
}

/** First byte equal to `value` in [at, end); `end` if none. */
export function findByte(at: usize, end: usize, value: u8): usize {
  while (at < end) {
    const mask = i8x16.bitmask(i8x16.eq(v128.load(at), i8x16.splat(value as i8)));
    if (mask != 0) {
      const found = at + ctz(mask);
      return found < end ? found : end;
    }
    at += 16;
  }
  return end;
}

/** True when the `length` bytes at `a` equal those at `lower` but for ASCII case; `lower` is in lower case. */
export function equalFold(a: usize, lower: usize, length: u32): bool {
  for (let i: u32 = 0; i < length; i++) {
    let c: u32 = load<u8>(a + i);
    if (c - 65 < 26) c |= 0x20;
    if (c != load<u8>(lower + i)) return false;
  }
  return true;
}

/** 1 for the octets of a token (RFC 9110 5.6.2). */
const TCHAR = memory.data<u8>([
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  1, 0, 1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1,
  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1,
  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1, 0,
]);

export function isTchar(c: u32): bool {
  return c < 128 && load<u8>(TCHAR + c) != 0;
}

/** First octet in [at, end) that is not a tchar; `end` if none. */
export function skipToken(at: usize, end: usize): usize {
  while (at < end) {
    const c: u32 = load<u8>(at);
    if (c >= 128 || load<u8>(TCHAR + c) == 0) return at;
    at++;
  }
  return end;
}

/** First octet in [at, end) that is neither SP nor HTAB (RFC 9110 5.6.3). */
export function skipBlank(at: usize, end: usize): usize {
  while (at < end) {
    const c: u32 = load<u8>(at);
    if (c != 0x20 && c != 0x09) return at;
    at++;
  }
  return end;
}

/** `end` without trailing SP and HTAB. */
export function trimBlank(at: usize, end: usize): usize {
  while (end > at) {
    const c: u32 = load<u8>(end - 1);
    if (c != 0x20 && c != 0x09) return end;
    end--;
  }
  return end;
}

/**
 * Copies `length` bytes from `source` to `target` while removing the mask (RFC 6455 5.3). In place when
 * both are equal; else `target` lies before `source` or apart from it.
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

/** Writes a number in decimal at `at`; returns the end. */
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
