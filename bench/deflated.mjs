// Checks what one client receives of compressed messages: each frame is a compressed one of the length that the
// message had for the client that is looked at closely, which inflates every message and compares it.

import { inflateRawSync } from "node:zlib";
import { HELD_BYTES_MAX } from "./frames.mjs";
import { json, setNumber } from "./servers/publish.mjs";

const COMPRESSED = 0xc0; // FIN, RSV1 (RFC 7692 6)
const TAIL = Buffer.from([0, 0, 0xff, 0xff]); // bytes that a sender leaves out (RFC 7692 7.2.1)

/** The messages of a run, and the lengths of their frames. */
export class Deflated {
  /** Bytes of the payload of each message as it came. @type {number[]} */
  lengths = [];

  /** @param {number} n messages @param {number} size bytes of one, inflated */
  constructor(n, size) {
    this.n = n;
    this.message = json(size);
  }

  /** @param {number} number @param {Buffer} payload @throws {Error} when it is not that message */
  check(number, payload) {
    setNumber(this.message, number);
    const inflated = inflateRawSync(Buffer.concat([payload, TAIL]), { finishFlush: 2 });
    if (!inflated.equals(this.message)) {
      throw new Error(`message ${number} expected, found ${inflated.latin1Slice(0, 100)}`);
    }
  }
}

export class DeflatedFrames {
  #cut = Buffer.alloc(HELD_BYTES_MAX);
  #cutBytes = 0;
  #isLookedAt;
  received = 0;
  expected = new Deflated(0, 64);

  /** @param {boolean} isLookedAt whether every message of this client is inflated */
  constructor(isLookedAt) {
    this.#isLookedAt = isLookedAt;
  }

  /** @param {Deflated} expected */
  expect(expected) {
    if (this.#cutBytes !== 0) throw new Error("the last run left a cut frame");
    this.expected = expected;
    this.received = 0;
  }

  /**
   * Reads what arrived; see Frames.
   * @param {Buffer} room @param {DataView} view @param {number} begin @param {number} end
   * @throws {Error} for anything that is not the next frame
   */
  read(room, view, begin, end) {
    let at = begin - this.#cutBytes;
    this.#cut.copy(room, at, 0, this.#cutBytes);
    while (at < end) {
      const bytes = this.#frame(room, view, at, end);
      if (bytes === 0) break;
      at += bytes;
    }
    this.#cutBytes = room.copy(this.#cut, 0, at, end);
  }

  /** Checks a frame. @returns {number} its bytes; 0: it is cut */
  #frame(room, view, at, end) {
    const { expected, received } = this;
    if (end - at < 4) return 0;
    const opcode = room[at] & 0x0f;
    if ((room[at] & 0xf0) !== COMPRESSED || (opcode !== 1 && opcode !== 2)) {
      throw new Error(`message ${received} is not compressed: ${room[at].toString(16)}`);
    }
    const headBytes = room[at + 1] < 126 ? 2 : 4;
    const length = headBytes === 2 ? room[at + 1] : view.getUint16(at + 2);
    if (headBytes + length > HELD_BYTES_MAX)
      throw new Error(`message ${received}: ${length} bytes`);
    if (end - at < headBytes + length) return 0;
    if (received === expected.n) throw new Error(`a message after the last of ${expected.n}`);
    expected.lengths[received] ??= length;
    if (expected.lengths[received] !== length) {
      throw new Error(`message ${received} has ${length} bytes, not ${expected.lengths[received]}`);
    }
    if (this.#isLookedAt) {
      expected.check(received, room.subarray(at + headBytes, at + headBytes + length));
    }
    this.received++;
    return headBytes + length;
  }
}
