// Writes the engine's own text. Literals are static data (UTF-16) that is read in place, so nothing is allocated.

/** Returns the low bytes of eight characters as a word. */
function eightAt(from: usize): u64 {
  const wide = v128.load(from);
  return i64x2.extract_lane(i8x16.narrow_i16x8_u(wide, wide), 0);
}

/** Copies an ASCII literal. Returns the end. */
export function putText(at: usize, text: string): usize {
  const from = changetype<usize>(text);
  const length = text.length as usize;
  const end = at + length;
  if (length < 8) {
    for (let i: usize = 0; i < length; i++) store<u8>(at + i, load<u8>(from + (i << 1)));
    return end;
  }
  // The last eight characters may overlap the ones before.
  for (let i: usize = 0; i + 8 < length; i += 8) store<u64>(at + i, eightAt(from + (i << 1)));
  store<u64>(end - 8, eightAt(from + ((length - 8) << 1)));
  return end;
}
