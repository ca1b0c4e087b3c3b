// Checks what one client receives of numbered JSON texts, as frames or as server-sent events. After the first one all
// have the same layout, so that a check costs a few nanoseconds.

import { HELD_BYTES_MAX } from "./frames.mjs";

const TEXT = 0x81;
const PING = 0x89;
const ZERO = 0x30;
const DIGITS = 10;
const NUMBER = Buffer.from("number");

/** Returns the bytes of the frame at the front; 0: it is cut. @type {Measure} */
export function frameBytes(room, at, end) {
  if (end - at < 2) return 0;
  if (room[at] !== TEXT && room[at] !== PING) throw new Error(`a frame ${room[at].toString(16)}`);
  if (room[at + 1] > 125) throw new Error(`a frame of ${room[at + 1]} bytes or more`);
  const bytes = 2 + room[at + 1];
  return end - at < bytes ? 0 : bytes;
}

/** Returns the bytes of the event, or another block, at the front; 0: it is cut. @type {Measure} */
export function eventBytes(room, at, end) {
  const found = room.subarray(at, end).indexOf("\n\n");
  if (found > HELD_BYTES_MAX) throw new Error(`an event of ${found} bytes`);
  return found < 0 ? 0 : found + 2;
}

/** @typedef {(room: Buffer, at: number, end: number) => number} Measure */

export class Blocks {
  #measure;
  #onPing;
  #cut = Buffer.alloc(HELD_BYTES_MAX);
  #cutBytes = 0;
  /** Layout of a message, 0 until the first: its bytes, its first and last byte, and where its digits begin. */
  #bytes = 0;
  #first = 0;
  #last = 0;
  #digitsAt = 0;
  received = 0;
  expected = { n: 0 };

  /** @param {Measure} measure @param {(payload: Buffer) => void} onPing */
  constructor(measure, onPing) {
    this.#measure = measure;
    this.#onPing = onPing;
  }

  /** @param {{ n: number }} expected */
  expect(expected) {
    if (this.#cutBytes !== 0) throw new Error("the last run left a cut message");
    this.expected = expected;
    this.received = 0;
  }

  /**
   * Reads what arrived; see Frames.
   * @param {Buffer} room @param {DataView} _view @param {number} begin @param {number} end
   * @throws {Error} for anything that is not the next message
   */
  read(room, _view, begin, end) {
    let at = begin - this.#cutBytes;
    if (this.#cutBytes > 0) this.#cut.copy(room, at, 0, this.#cutBytes);
    while (at < end) {
      if (room[at] !== this.#first) {
        const bytes = this.#other(room, at, end);
        if (bytes === 0) break;
        at += bytes;
        if (room[at - bytes] !== this.#first) continue;
        at -= bytes;
      }
      if (end - at < this.#bytes) break;
      this.#check(room, at);
      at += this.#bytes;
    }
    this.#cutBytes = room.copy(this.#cut, 0, at, end);
  }

  /** Takes a block that may not be a message; of the first message it notes the layout. @returns {number} its bytes */
  #other(room, at, end) {
    const bytes = this.#measure(room, at, end);
    if (bytes === 0) return 0;
    const block = room.subarray(at, at + bytes);
    const found = block.indexOf(NUMBER);
    if (found >= 0 && this.#bytes === 0) {
      let digits = found + NUMBER.length;
      while (block[digits] < ZERO || block[digits] > ZERO + 9) digits++;
      this.#bytes = bytes;
      this.#first = block[0];
      this.#last = block[bytes - 1];
      this.#digitsAt = digits;
    } else if (block[0] === PING) this.#onPing(Buffer.from(block.subarray(2)));
    else if (!/^(?:retry: |:|event: ringcast-)/.test(block.latin1Slice()))
      throw new Error(`message ${this.received} expected, found ${block.latin1Slice(0, 100)}`);
    return bytes;
  }

  #check(room, at) {
    const { received, expected } = this;
    if (received === expected.n) throw new Error(`a message after the last of ${expected.n}`);
    let number = 0;
    const begin = at + this.#digitsAt;
    for (let i = begin; i < begin + DIGITS; i++) number = number * 10 + room[i] - ZERO;
    if (number !== received || room[at + this.#bytes - 1] !== this.#last) {
      const found = room.latin1Slice(at, at + this.#bytes);
      throw new Error(`message ${received} expected, found ${found}`);
    }
    this.received++;
  }
}
