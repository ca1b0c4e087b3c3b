// Frames of RFC 6455 (5.2) as a client has them: it encodes its own, and reads the server's strictly.
//
// Invariant: each byte is read once, and a frame allocates nothing. Between two reads at most a partial header is kept.
// After an error nothing more is read.

/** Opcodes (5.2). */
export const CONTINUATION = 0;
export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

/** Bits of a frame's first two bytes. */
const FINAL = 0x80;
const RESERVED = 0x70;
const PACKED = 0x40;
const MASKED = 0x80;

/** Bytes of the longest header without a mask. */
const HEAD_BYTES = 10;
/** Bytes of a control frame's payload at most (5.5). */
const CONTROL_BYTES = 125;

/** How a frame is encoded. Defaults make a valid frame. */
export interface FrameOptions {
  /** `false`: further frames of the message follow. */
  readonly final?: boolean;
  /** The three reserved bits, 0 … 7; 4: compressed. */
  readonly reserved?: number;
  /** `false`: no mask. Servers refuse such a frame. */
  readonly masked?: boolean;
}

/** Encodes a client's frame. @param key the four bytes of its mask (5.3) */
export function frameOf(
  opcode: number,
  payload: Uint8Array,
  key: Uint8Array = crypto.getRandomValues(new Uint8Array(4)),
  { final = true, reserved = 0, masked = true }: FrameOptions = {},
): Uint8Array<ArrayBuffer> {
  const { length } = payload;
  const wide = length > 65535 ? 8 : length > CONTROL_BYTES ? 2 : 0;
  const start = 2 + wide + (masked ? 4 : 0);
  const frame = new Uint8Array(start + length);
  const view = new DataView(frame.buffer);
  frame[0] = (final ? FINAL : 0) | (reserved << 4) | opcode;
  frame[1] = (masked ? MASKED : 0) | (wide === 0 ? length : wide === 2 ? 126 : 127);
  if (wide === 2) view.setUint16(2, length);
  if (wide === 8) view.setBigUint64(2, BigInt(length));
  frame.set(payload, start);
  if (!masked) return frame;
  frame.set(key.subarray(0, 4), start - 4);
  for (let i = 0; i < length; i++)
    frame[start + i] = (payload[i] as number) ^ (key[i & 3] as number);
  return frame;
}

/** Receives frames of a server. The calls for one frame follow each other. */
export interface FrameUser<Bytes extends Uint8Array> {
  /**
   * Called with a header.
   * @param isPacked whether its message is compressed (RFC 7692 6)
   * @param length bytes of the payload
   */
  frameBegan(opcode: number, isFinal: boolean, isPacked: boolean, length: number): void;
  /** Called with each part of the payload that arrives: `bytes` from `start` to `end`, during this call. */
  payload(bytes: Bytes, start: number, end: number): void;
  frameEnded(): void;
}

/** An error of the server's against the protocol. */
export class FrameError extends Error {
  override readonly name = "FrameError";
  /** Code of the Close frame that reports the error. */
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

export const broken = (message: string): FrameError => new FrameError(1002, message);

export class FrameReader<Bytes extends Uint8Array = Uint8Array> {
  readonly #user: FrameUser<Bytes>;
  /** Reserved bits that a message may have. */
  readonly #reserved: number;
  /** The part of the header that has arrived, when it is split; created on demand. */
  #head: Uint8Array | undefined;
  #headLength = 0;
  #isInFrame = false;
  #left = 0;
  /** True while further frames of a message must follow. */
  #isInMessage = false;
  #isStopped = false;

  /** @param extension "deflate": messages may be compressed, if `user` has negotiated it */
  constructor(user: FrameUser<Bytes>, extension: "none" | "deflate" = "none") {
    this.#user = user;
    this.#reserved = extension === "deflate" ? PACKED : 0;
  }

  /** Ignores all further bytes. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Reads the first `end` bytes. @throws FrameError */
  push(bytes: Bytes, end = bytes.length): void {
    let at = 0;
    while (at < end && !this.#isStopped) {
      if (!this.#isInFrame) {
        at = this.#readHead(bytes, at, end);
        if (!this.#isInFrame) return;
      }
      const start = at;
      at = Math.min(end, at + this.#left);
      this.#left -= at - start;
      if (at > start) this.#user.payload(bytes, start, at);
      if (this.#left === 0) {
        this.#isInFrame = false;
        this.#user.frameEnded();
      }
    }
  }

  /** Reads a header, or a part of it. @returns the offset after it */
  #readHead(bytes: Uint8Array, start: number, end: number): number {
    if (this.#headLength === 0) {
      const length = this.#checkHead(bytes, start, end - start);
      if (length > 0) return start + length;
    }
    this.#head ??= new Uint8Array(HEAD_BYTES);
    for (let at = start; at < end; ) {
      this.#head[this.#headLength++] = bytes[at++] as number;
      if (this.#checkHead(this.#head, 0, this.#headLength) === 0) continue;
      this.#headLength = 0;
      return at;
    }
    return end;
  }

  /**
   * Checks as much of a header as there is, and begins the frame when it is complete.
   * @param count number of bytes at `at`
   * @returns the length of the header; 0: it is incomplete
   */
  #checkHead(bytes: Uint8Array, at: number, count: number): number {
    const first = bytes[at] as number;
    this.#checkFirst(first);
    if (count < 2) return 0;
    const short = bytes[at + 1] as number;
    if (short & MASKED) throw broken("a frame of the server is masked");
    if (first & CLOSE && short > CONTROL_BYTES)
      throw broken("a control frame is larger than 125 bytes");
    const size = short < 126 ? 2 : short === 126 ? 4 : HEAD_BYTES;
    if (count < size) return 0;
    let length = short;
    if (size > 2) {
      length = 0;
      for (let i = 2; i < size; i++) length = length * 256 + (bytes[at + i] as number);
      if (length < (size === 4 ? 126 : 65536)) throw broken("a length is not in its shortest form");
      if (!Number.isSafeInteger(length)) throw new FrameError(1009, "a frame is too large");
    }
    const opcode = first & 15;
    const isFinal = (first & FINAL) !== 0;
    this.#isInFrame = true;
    this.#left = length;
    if (opcode < CLOSE) this.#isInMessage = !isFinal;
    this.#user.frameBegan(opcode, isFinal, (first & PACKED) !== 0, length);
    return size;
  }

  #checkFirst(first: number): void {
    const opcode = first & 15;
    const isStart = opcode === TEXT || opcode === BINARY;
    if (first & RESERVED & ~(isStart ? this.#reserved : 0)) throw broken("a reserved bit is set");
    if (opcode >= CLOSE) {
      if (opcode > PONG) throw broken(`${opcode} is no opcode`);
      if (!(first & FINAL)) throw broken("a control frame is fragmented");
    } else {
      if (opcode > BINARY) throw broken(`${opcode} is no opcode`);
      if (!isStart && !this.#isInMessage) throw broken("a continuation without a message");
      if (isStart && this.#isInMessage) throw broken("a message began within another");
    }
  }
}
