// Base64 (RFC 4648 4) for the opening handshake. It checks a key of 16 bytes and encodes an accept value of 20 bytes.

const ALPHABET = memory.data<u8>([
  65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 88,
  89, 90, 97, 98, 99, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, 114,
  115, 116, 117, 118, 119, 120, 121, 122, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 43, 47,
]);

/** Encodes `length` bytes, padded to a multiple of four characters. Returns the end of the output. */
export function encode(target: usize, source: usize, length: u32): usize {
  let i: u32 = 0;
  while (i < length) {
    const left = length - i;
    const word: u32 =
      ((load<u8>(source + i) as u32) << 16) |
      (left > 1 ? (load<u8>(source + i + 1) as u32) << 8 : 0) |
      (left > 2 ? (load<u8>(source + i + 2) as u32) : 0);
    store<u8>(target, load<u8>(ALPHABET + (word >> 18)));
    store<u8>(target + 1, load<u8>(ALPHABET + ((word >> 12) & 63)));
    store<u8>(target + 2, left > 1 ? load<u8>(ALPHABET + ((word >> 6) & 63)) : 61);
    store<u8>(target + 3, left > 2 ? load<u8>(ALPHABET + (word & 63)) : 61);
    target += 4;
    i += 3;
  }
  return target;
}

function isDigit(c: u32): bool {
  return c - 65 < 26 || c - 97 < 26 || c - 48 < 10 || c == 43 || c == 47;
}

/** Returns true for 24 characters that decode to 16 bytes (RFC 6455 4.2.1, item 5). */
export function isKey(at: usize, length: u32): bool {
  if (length != 24 || load<u16>(at + 22) != 0x3d3d) return false;
  for (let i: u32 = 0; i < 22; i++) {
    if (!isDigit(load<u8>(at + i))) return false;
  }
  return true;
}
