// The body of a request as a stream, and a stream collected into one body.

import { joined } from "../text/bytes";
import { faultOf } from "../fault";

/** Returns a complete body as a stream. */
export async function* whole(body: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  if (body.length > 0) yield body;
}

/** Returns the error of a body with more than `limit` bytes. */
export function lengthFault(limit: number): RangeError {
  return faultOf(new RangeError(`collect: the body has more than ${limit} bytes`), 413);
}

/**
 * Collects the pieces of a body.
 * @throws RangeError when it has more than `limit` bytes; then the rest is not read
 */
export async function gather(
  pieces: AsyncIterable<Uint8Array>,
  limit: number,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const piece of pieces) {
    length += piece.length;
    if (length > limit) throw lengthFault(limit);
    parts.push(piece);
  }
  return joined(parts);
}
