// Checks what one client receives: binary frames of one known size, numbered 0 … n-1, by hopping
// from header to header. It has to cost a few nanoseconds a frame, or it would be what is measured.

/** A cut frame up to this length is put back in front of the next read; of a longer one only the head is read. */
export const HELD_BYTES_MAX = 2048;

const BINARY = 0x82;
const PING = 0x89;
const PONG = 0x8a;
const CLOSE = 0x88;

/** The messages that a client is to receive. */
export class Expected {
  /**
   * @param {number} n messages
   * @param {number} size bytes of a message, 4 … 2^24
   * @param {(stamp: number) => void} [onStamp] called with the time at which each message was due, from its bytes 4 …
   *   12; then the size is at most 2,000
   */
  constructor(n, size, onStamp) {
    this.n = n;
    this.size = size;
    this.onStamp = onStamp;
    this.headBytes = size < 126 ? 2 : size < 65_536 ? 4 : 10;
    this.frameBytes = this.headBytes + size;
    /** Bytes that have to be there before a message is looked at. */
    this.needBytes = this.frameBytes > HELD_BYTES_MAX ? this.headBytes + 4 : this.frameBytes;
    // The first and the last two bytes of the header: the same two when it has no more.
    this.headFirst = (BINARY << 8) | (size < 65_536 ? Math.min(size, 126) : 127);
    this.headLast = size < 126 ? this.headFirst : size & 0xffff;
  }
}

export class Frames {
  #cut = Buffer.alloc(HELD_BYTES_MAX);
  #cutBytes = 0;
  /** Remaining bytes of a message whose head has been read. */
  #restBytes = 0;
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
    if (this.#cutBytes + this.#restBytes !== 0) throw new Error("the last burst left a cut frame");
    this.expected = expected;
    this.received = 0;
  }

  /**
   * Reads what arrived.
   * @param {Buffer} room the bytes, after at least HELD_BYTES_MAX bytes that this may overwrite
   * @param {DataView} view the same memory
   * @param {number} begin first byte @param {number} end the byte after the last
   * @throws {Error} for anything that is not the next frame
   */
  read(room, view, begin, end) {
    let at = this.#putBack(room, begin);
    if (this.#restBytes > 0) {
      const bytes = Math.min(this.#restBytes, end - at);
      at += bytes;
      this.#restBytes -= bytes;
      if (this.#restBytes > 0) return;
      this.received++;
    }
    for (;;) {
      at = this.#messages(view, at, end);
      if (this.received > this.expected.n)
        throw new Error(`a message after the last of ${this.expected.n}`);
      if (at >= end) return;
      const bytes = this.#other(room, at, end);
      if (bytes === 0) break;
      at += bytes;
    }
    this.#cutBytes = room.copy(this.#cut, 0, at, end);
  }

  /** Puts a cut frame in front of what arrived. @returns {number} where it begins */
  #putBack(room, begin) {
    const at = begin - this.#cutBytes;
    if (this.#cutBytes !== 0) this.#cut.copy(room, at, 0, this.#cutBytes);
    this.#cutBytes = 0;
    return at;
  }

  /** Skips whole messages, and the beginning of a long one. @returns {number} the position after them */
  #messages(view, begin, end) {
    const { headBytes, frameBytes, headFirst, headLast, needBytes, onStamp } = this.expected;
    let at = begin;
    let sequence = this.received;
    while (
      end - at >= needBytes &&
      view.getUint16(at) === headFirst &&
      view.getUint16(at + headBytes - 2) === headLast &&
      view.getUint32(at + headBytes, true) === sequence
    ) {
      onStamp?.(view.getFloat64(at + headBytes + 4, true));
      at += frameBytes;
      sequence++;
    }
    if (at > end) {
      this.#restBytes = at - end;
      sequence--;
    }
    this.received = sequence;
    return at;
  }

  /** A frame that is not the next message: 0 when it is cut, else the bytes of a control frame. */
  #other(room, at, end) {
    const { headBytes, needBytes, headFirst } = this.expected;
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
    if (room.readUInt16BE(at) === headFirst && end - at < needBytes) return 0;
    const found = room.subarray(at, Math.min(end, at + headBytes + 4)).toString("hex");
    throw new Error(`message ${this.received} expected, found ${found}`);
  }
}

/** Checks of what one client receives only how much it is: texts of one known size, 126 … 65,535 bytes. */
export class Texts {
  #bytes = 0;
  expected = { n: 0, size: 0 };

  get received() {
    return Math.floor(this.#bytes / (4 + this.expected.size));
  }

  /** @param {{ n: number, size: number }} expected */
  expect(expected) {
    this.expected = expected;
    this.#bytes = 0;
  }

  /** @param {Buffer} _room @param {DataView} _view @param {number} begin @param {number} end */
  read(_room, _view, begin, end) {
    this.#bytes += end - begin;
    if (this.#bytes > this.expected.n * (4 + this.expected.size))
      throw new Error("more than was due");
  }
}
