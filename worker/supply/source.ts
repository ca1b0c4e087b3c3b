// Where bodies come from that the engine asks for piece by piece: files, archives, other servers, iterables.

import type { PieceSource } from "../../host/shared/request/pieces";

/** A body of a known length whose bytes can be read again. */
export interface ReadSource {
  /** Its length in bytes. */
  readonly size: number;
  /**
   * Returns bytes from `start` on, at least one and none beyond `end`. They do not change before the next call of
   * `read` or `close`, and the server counts them as memory that it holds.
   * @param start 0 … size - 1 @param end start + 1 … size
   */
  read(start: number, end: number): Uint8Array | PromiseLike<Uint8Array>;
  /** Ends the source. Called once, whatever happened. A pending `read` settles. */
  close(): void;
}

/** A body whose pieces come once, one after another. */
export interface NextSource extends PieceSource {
  /** Its length in bytes; undefined: it is unknown. */
  readonly size?: number | undefined;
}

/** Where the bytes of a body come from. */
export type BodySource = ReadSource | NextSource;

/** Returns true for a source that can be read again. */
export function isReadable(source: BodySource): source is ReadSource {
  return "read" in source;
}
