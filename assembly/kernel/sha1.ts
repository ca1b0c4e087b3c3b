// SHA-1 (RFC 3174) of the short text of an opening handshake, as the protocol requires. It is not for secrets.
//
// WORK has 80 words of schedule. BLOCK has two padded blocks, 128 bytes, which suffice for the 60 bytes of key and
// GUID.

const WORK = memory.data(80 * 4, 16);
const BLOCK = memory.data(128, 16);

function compress(state: usize, block: usize): void {
  for (let i: u32 = 0; i < 16; i++) {
    store<u32>(WORK + i * 4, bswap<u32>(load<u32>(block + i * 4)));
  }
  for (let i: u32 = 16; i < 80; i++) {
    const w = WORK + i * 4;
    store<u32>(
      w,
      rotl(load<u32>(w - 12) ^ load<u32>(w - 32) ^ load<u32>(w - 56) ^ load<u32>(w - 64), 1),
    );
  }
  let a = load<u32>(state);
  let b = load<u32>(state + 4);
  let c = load<u32>(state + 8);
  let d = load<u32>(state + 12);
  let e = load<u32>(state + 16);
  for (let i: u32 = 0; i < 80; i++) {
    let f: u32;
    if (i < 20) f = ((b & c) | (~b & d)) + 0x5a827999;
    else if (i < 40) f = (b ^ c ^ d) + 0x6ed9eba1;
    else if (i < 60) f = ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
    else f = (b ^ c ^ d) + 0xca62c1d6;
    const t = rotl(a, 5) + f + e + load<u32>(WORK + i * 4);
    e = d;
    d = c;
    c = rotl(b, 30);
    b = a;
    a = t;
  }
  store<u32>(state, load<u32>(state) + a);
  store<u32>(state + 4, load<u32>(state + 4) + b);
  store<u32>(state + 8, load<u32>(state + 8) + c);
  store<u32>(state + 12, load<u32>(state + 12) + d);
  store<u32>(state + 16, load<u32>(state + 16) + e);
}

/** Writes the digest of at most 119 bytes, as 20 bytes, at `target`. */
export function sha1(target: usize, source: usize, length: u32): void {
  const blocks: u32 = length > 55 ? 2 : 1;
  memory.fill(BLOCK, 0, 128);
  memory.copy(BLOCK, source, length);
  store<u8>(BLOCK + length, 0x80);
  store<u32>(BLOCK + blocks * 64 - 4, bswap<u32>(length * 8));
  store<u32>(target, 0x67452301);
  store<u32>(target + 4, 0xefcdab89);
  store<u32>(target + 8, 0x98badcfe);
  store<u32>(target + 12, 0x10325476);
  store<u32>(target + 16, 0xc3d2e1f0);
  for (let i: u32 = 0; i < blocks; i++) compress(target, BLOCK + i * 64);
  for (let i: u32 = 0; i < 5; i++)
    store<u32>(target + i * 4, bswap<u32>(load<u32>(target + i * 4)));
}
