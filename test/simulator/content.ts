// What messages and bodies hold: known from their tag alone, so that bytes of another are seen.

import { byteLength } from "../../host/text";

const encoder = new TextEncoder();

/** Octets at the front that tell messages apart, in those that are long enough. */
const NAME_BYTES = 4;

/** Bytes of a message: every third does not shrink when it is compressed. */
export function bytesOf(tag: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let state = (tag * 2654435761) >>> 0;
  const isNoise = tag % 3 === 0;
  for (let i = 0; i < size; i++) {
    if (isNoise || i % 64 === 0) state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = (state >>> 24) + (isNoise ? 0 : i & 7);
  }
  if (size > NAME_BYTES) new DataView(bytes.buffer).setUint32(0, tag, true);
  return bytes;
}

/** A text of `size` characters, of one to four bytes each. */
function textOf(tag: number, size: number): string {
  const unit = `${tag} \u00e9\u20ac \u{1f98a}.`;
  return Array.from(unit.repeat(Math.ceil(size / 8)))
    .slice(0, size)
    .join("");
}

/** A text in ASCII, for bodies. */
export function bodyOf(tag: number, size: number): string {
  return `${tag}.abcdefgh`.repeat(Math.ceil(size / 9)).slice(0, size);
}

/** A text of exactly so many bytes, as far as characters allow: the longest that is not longer. */
export function textOfBytes(tag: number, bytes: number): string {
  let text = textOf(tag, bytes);
  while (byteLength(text) > bytes)
    text = Array.from(text)
      .slice(0, -Math.ceil((byteLength(text) - bytes) / 4))
      .join("");
  return text;
}

/** A message as it goes over the wire. */
export function contentOf(tag: number, opcode: 1 | 2, size: number): Uint8Array {
  return opcode === 2 ? bytesOf(tag, size) : encoder.encode(textOf(tag, size));
}
