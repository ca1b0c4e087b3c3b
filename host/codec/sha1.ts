// SHA-1 (FIPS 180-4), for the opening handshake's response. The browser's own is missing in insecure pages and is
// asynchronous.

const rotate = (x: number, n: number): number => (x << n) | (x >>> (32 - n));

/** Returns the text, its end mark and its length in bits as blocks of 64 bytes. */
function padded(text: string): DataView {
  const length = text.length;
  const bytes = new Uint8Array((((length + 8) >>> 6) + 1) * 64);
  for (let i = 0; i < length; i++) bytes[i] = text.charCodeAt(i);
  bytes[length] = 0x80;
  const view = new DataView(bytes.buffer);
  view.setUint32(bytes.length - 4, length * 8);
  return view;
}

/** Returns the function and the constant of a round, added. */
function round(i: number, b: number, c: number, d: number): number {
  if (i < 20) return ((b & c) | (~b & d)) + 0x5a827999;
  if (i < 40) return (b ^ c ^ d) + 0x6ed9eba1;
  if (i < 60) return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
  return (b ^ c ^ d) + 0xca62c1d6;
}

/** Returns the digest of ASCII text in base64. */
export function sha1(text: string): string {
  const blocks = padded(text);
  const h = new Int32Array([0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0]);
  const w = new Int32Array(80);
  for (let at = 0; at < blocks.byteLength; at += 64) {
    for (let i = 0; i < 16; i++) w[i] = blocks.getInt32(at + i * 4);
    for (let i = 16; i < 80; i++) {
      const x = (w[i - 3] as number) ^ (w[i - 8] as number);
      w[i] = rotate(x ^ (w[i - 14] as number) ^ (w[i - 16] as number), 1);
    }
    let [a, b, c, d, e] = h as unknown as [number, number, number, number, number];
    for (let i = 0; i < 80; i++) {
      const next = (rotate(a, 5) + round(i, b, c, d) + e + (w[i] as number)) | 0;
      e = d;
      d = c;
      c = rotate(b, 30);
      b = a;
      a = next;
    }
    [a, b, c, d, e].forEach((x, i) => {
      h[i] = (h[i] as number) + x;
    });
  }
  const digest = new DataView(new ArrayBuffer(20));
  h.forEach((x, i) => {
    digest.setInt32(i * 4, x);
  });
  return btoa(String.fromCharCode(...new Uint8Array(digest.buffer)));
}
