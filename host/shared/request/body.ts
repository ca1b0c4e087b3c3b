// The body of a request as a stream: of one that is whole, and of any one gathered.

import { joined } from "../text/bytes";
import { faultOf } from "../fault";

/** A body that is whole, as a stream. */
export async function* whole(body: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  if (body.length > 0) yield body;
}

/** A body has more than `limit` bytes. */
export function lengthFault(limit: number): RangeError {
  return faultOf(new RangeError(`collect: the body has more than ${limit} bytes`), 413);
}

/**
 * Gathers the pieces of a body.
 * @throws RangeError when it has more than `limit` bytes; its rest is not read then
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
