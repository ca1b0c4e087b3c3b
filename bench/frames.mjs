// Checks what one client receives: binary frames of one known size, numbered 0 … n-1, by hopping
// from header to header. It has to cost a few nanoseconds a frame, or it would be what is measured.

/** Longest frame that can be expected; a cut frame is put back in front of the next read. */
export const FRAME_BYTES_MAX = 10 + (1 << 20);

const BINARY = 0x82;
const PING = 0x89;
const PONG = 0x8a;
const CLOSE = 0x88;

/** What a client is to receive. */
export class Expected {
  /**
   * @param {number} n messages
   * @param {number} size bytes of a message, 4 … 1 MiB
   * @param {(stamp: number) => void} [onStamp] told the time at which each message was due, its bytes 4 … 12
   */
  constructor(n, size, onStamp) {
    this.n = n;
    this.size = size;
    this.onStamp = onStamp;
    this.headBytes = size < 126 ? 2 : size < 65_536 ? 4 : 10;
    this.frameBytes = this.headBytes + size;
    // The first and the last two bytes of the header: the same two when it has no more.
    this.headFirst = (BINARY << 8) | (size < 65_536 ? Math.min(size, 126) : 127);
    this.headLast = size < 126 ? this.headFirst : size & 0xffff;
  }
}

export class Frames {
  #cut = Buffer.alloc(0);
  #cutBytes = 0;
  /** Messages received since `expect`. */
  received = 0;

  /**
   * @param {(payload: Buffer) => void} onPing
   */
  constructor(onPing) {
    this.onPing = onPing;
    this.expect(new Expected(0, 4));
  }

  /** @param {Expected} expected */
  expect(expected) {
    if (this.#cutBytes !== 0) throw new Error("the last burst left a cut frame");
    this.expected = expected;
    this.received = 0;
    this.#cut = Buffer.alloc(Math.max(expected.frameBytes, 256)); // control frames fit too
  }

  /**
   * Reads what arrived.
   * @param {Buffer} room the bytes, behind at least FRAME_BYTES_MAX bytes that this may overwrite
   * @param {DataView} view the same memory
   * @param {number} begin first byte @param {number} end the byte behind the last
   * @throws {Error} for anything that is not the next frame
   */
  read(room, view, begin, end) {
    const { n, headBytes, frameBytes, headFirst, headLast, onStamp } = this.expected;
    let at = begin - this.#cutBytes;
    if (this.#cutBytes !== 0) this.#cut.copy(room, at, 0, this.#cutBytes);
    this.#cutBytes = 0;
    let sequence = this.received;
    for (;;) {
      while (
        end - at >= frameBytes &&
        view.getUint16(at) === headFirst &&
        view.getUint16(at + headBytes - 2) === headLast &&
        view.getUint32(at + headBytes, true) === sequence
      ) {
        onStamp?.(view.getFloat64(at + headBytes + 4, true));
        at += frameBytes;
        sequence++;
      }
      if (sequence > n) throw new Error(`a message after the last of ${n}`);
      this.received = sequence;
      if (at === end) return;
      const bytes = this.#other(room, at, end);
      if (bytes === 0) break;
      at += bytes;
    }
    this.#cutBytes = room.copy(this.#cut, 0, at, end);
  }

  /** A frame that is not the next message: 0 when it is cut, else the bytes of a control frame. */
  #other(room, at, end) {
    const { headBytes, frameBytes, headFirst } = this.expected;
    const first = room[at];
    if (end - at < 2) return 0;
    const length = room[at + 1];
    if (first === PING || first === PONG) {
      if (end - at < 2 + length) return 0;
      if (first === PING) this.onPing(Buffer.from(room.subarray(at + 2, at + 2 + length)));
      return 2 + length;
    }
    if (first === CLOSE) {
      if (end - at < 2 + length) return 0;
      const code = length < 2 ? 1005 : room.readUInt16BE(at + 2);
      throw new Error(`closed: ${code} ${room.utf8Slice(at + 4, at + 2 + length)}`);
    }
    if (room.readUInt16BE(at) === headFirst && end - at < frameBytes) return 0;
    const found = room.subarray(at, Math.min(end, at + headBytes + 4)).toString("hex");
    throw new Error(`message ${this.received} expected, found ${found}`);
  }
}
