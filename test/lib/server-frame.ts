// The oracle of all clients in the tests: frames as a server must send them (RFC 6455 5.2), written from the RFC, apart
// from the code under test. It runs in pages, too, so it imports nothing.
//
// Invariant: octets that no server may send are an error, at the first of them that shows it.

/** The fields of a frame's head. */
export interface FrameHead {
  /** The first octet: FIN, three reserved bits, opcode. */
  readonly first: number;
  readonly final: boolean;
  /** RSV1: the payload, and what continues it, is compressed. */
  readonly packed: boolean;
  readonly opcode: number;
  /** Octets of the head. */
  readonly headLength: number;
  /** Octets of the payload. */
  readonly length: number;
}

export interface ServerFrame<Octets extends Uint8Array = Uint8Array> extends FrameHead {
  /** A view of the octets that were given. */
  readonly payload: Octets;
  /** Octets of the frame. */
  readonly size: number;
}

/**
 * Reads the head of a frame.
 * @param from where it begins
 * @returns the head; while it is not whole, the octets that it needs at least
 * @throws Error for octets that begin no frame of a server
 */
export function frameHead(bytes: Uint8Array, from = 0): FrameHead | number {
  const here = bytes.length - from;
  if (here < 2) return 2;
  const first = bytes[from] as number;
  const short = bytes[from + 1] as number;
  const opcode = first & 15;
  const final = first >= 0x80;
  const packed = (first & 0x40) !== 0;
  if (first & 0x30) throw new Error("a reserved bit is set");
  if ((opcode & 7) > 2) throw new Error(`opcode ${opcode} is reserved`);
  if (short & 0x80) throw new Error("a server's frame is masked");
  if (opcode >= 8 && (!final || packed || short > 125)) throw new Error("a bad control frame");
  const form = short === 127 ? 8 : short === 126 ? 2 : 0;
  const headLength = 2 + form;
  if (here < headLength) return headLength;
  let length = form === 0 ? short : 0;
  for (let i = 0; i < form; i++) length = length * 256 + (bytes[from + 2 + i] as number);
  if (form > 0 && length < (form === 2 ? 126 : 65536))
    throw new Error("a length is not in its shortest form");
  return { first, final, packed, opcode, headLength, length };
}

/**
 * Reads a frame.
 * @param from where it begins
 * @returns the frame; while it is not whole, the octets that it needs at least
 * @throws Error for octets that are no frame of a server
 */
export function serverFrame<Octets extends Uint8Array>(
  bytes: Octets,
  from = 0,
): ServerFrame<Octets> | number {
  const head = frameHead(bytes, from);
  if (typeof head === "number") return head;
  const size = head.headLength + head.length;
  if (bytes.length < from + size) return size;
  const payload = bytes.subarray(from + head.headLength, from + size) as Octets;
  return { ...head, payload, size };
}

/** Parses all frames of some octets. @throws Error when the last one is cut */
export function serverFrames<Octets extends Uint8Array>(bytes: Octets): ServerFrame<Octets>[] {
  const frames: ServerFrame<Octets>[] = [];
  for (let at = 0; at < bytes.length; ) {
    const frame = serverFrame(bytes, at);
    if (typeof frame === "number") throw new Error("a frame is cut");
    frames.push(frame);
    at += frame.size;
  }
  return frames;
}
