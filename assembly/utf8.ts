// Incremental UTF-8 validation (RFC 3629), rejected at the first impossible byte (RFC 6455 8.1).
//
// State between calls: 0 at a character boundary, else (bytes still needed) << 16 | lowest << 8 | highest,
// the range the next byte must lie in. So a text may be cut anywhere.

/** At a character boundary: where a whole text must end. */
export const UTF8_START: u32 = 0;
/** What `validate` returns for an impossible byte. */
export const UTF8_BAD: u32 = 0xffffffff;

/** State after a lead byte, UTF8_BAD for a byte that cannot lead. */
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

/**
 * Goes on with a text.
 * @param state what the call before returned; UTF8_START for a new text
 * @returns the new state, or UTF8_BAD
 */
export function validate(at: usize, length: u32, state: u32): u32 {
  const end = at + length;
  while (at < end) {
    if (state == UTF8_START) {
      // Runs of ASCII, 16 bytes at a time.
      while (at + 16 <= end && !v128.any_true(i8x16.lt_s(v128.load(at), i8x16.splat(0)))) at += 16;
      while (at < end && load<u8>(at) < 0x80) at++;
      if (at == end) return UTF8_START;
      state = lead(load<u8>(at));
      if (state == UTF8_BAD) return UTF8_BAD;
      at++;
      // Whole characters without going through the state.
      continue;
    }
    const c: u32 = load<u8>(at);
    if (c < ((state >> 8) & 0xff) || c > (state & 0xff)) return UTF8_BAD;
    const left = (state >> 16) - 1;
    state = left == 0 ? UTF8_START : (left << 16) | 0x80bf;
    at++;
  }
  return state;
}
