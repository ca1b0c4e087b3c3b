// Frames as a client sends them (RFC 6455 5.2), right or wrong: written from the RFC, apart from the code under test.
// It runs in pages, too, so it imports nothing.

export interface FrameOptions {
  /** false: more of the message follows. */
  readonly final?: boolean;
  /** The three reserved bits; 4: compressed. */
  readonly reserved?: number;
  /** false: without a mask, which servers refuse. */
  readonly masked?: boolean;
  readonly mask?: ArrayLike<number>;
  /** Octets of the extended length: 0, 2 or 8; the shortest that fits when left out. */
  readonly form?: number;
  /** The length in the head, when it is not the payload's. */
  readonly length?: bigint;
}

const MASK = [0x37, 0xfa, 0x21, 0x3d] as const;

/** Returns a client's frame. */
export function clientFrame(
  opcode: number,
  payload: Uint8Array,
  options: FrameOptions = {},
): Uint8Array<ArrayBuffer> {
  const { final = true, reserved = 0, masked = true, mask = MASK } = options;
  const length = options.length ?? BigInt(payload.length);
  const form = options.form ?? (length < 126n ? 0 : length < 65536n ? 2 : 8);
  const head = [(final ? 0x80 : 0) | (reserved << 4) | opcode];
  head.push((masked ? 0x80 : 0) | (form === 0 ? Number(length) : form === 2 ? 126 : 127));
  for (let i = form - 1; i >= 0; i--) head.push(Number((length >> BigInt(8 * i)) & 255n));
  if (masked) head.push(...Array.from(mask));
  const frame = new Uint8Array(head.length + payload.length);
  frame.set(head);
  frame.set(payload, head.length);
  for (let i = 0; masked && i < payload.length; i++)
    frame[head.length + i] = (payload[i] as number) ^ (mask[i & 3] as number);
  return frame;
}

/** Returns the payload of a Close frame. */
export function closePayload(code: number, reason: Uint8Array): Uint8Array<ArrayBuffer> {
  const payload = new Uint8Array(2 + reason.length);
  payload.set([code >> 8, code & 255]);
  payload.set(reason, 2);
  return payload;
}
