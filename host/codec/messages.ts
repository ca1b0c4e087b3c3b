// Messages and Close frames of a server (RFC 6455 5.4–5.6, 7.4), without extensions.
//
// Invariant: a message is passed on whole, and text only when it is valid UTF-8, which is checked as it arrives.

import { joined } from "../shared/text/bytes";
import {
  BINARY,
  CLOSE,
  FrameError,
  FrameReader,
  type FrameUser,
  PING,
  TEXT,
  broken,
} from "./frames";

/** The code reported for a Close frame without a code. */
export const NO_CODE = 1005;

export interface MessageUser {
  message(data: string | Uint8Array<ArrayBuffer>): void;
  ping(data: Uint8Array): void;
  closed(code: number, reason: string): void;
}

/** Encodes the payload of a Close frame (5.5.1). */
export function closePayload(code: number, reason: string): Uint8Array {
  if (code === NO_CODE) return new Uint8Array(0);
  const text = new TextEncoder().encode(reason);
  const payload = new Uint8Array(2 + text.length);
  payload[0] = code >> 8;
  payload[1] = code & 255;
  payload.set(text, 2);
  return payload;
}

/** Returns true for a code that a Close frame may carry (7.4). */
function isCode(code: number): boolean {
  if (code >= 3000) return code <= 4999;
  return code >= 1000 && code <= 1014 && (code < 1004 || code > 1006);
}

export class MessageReader implements FrameUser<Uint8Array<ArrayBuffer>> {
  readonly #user: MessageUser;
  readonly #frames = new FrameReader<Uint8Array<ArrayBuffer>>(this);
  #opcode = 0;
  #isFinal = false;
  /** Opcode of the message that is being received. */
  #kind = 0;
  /** Pieces of a control frame's payload, and of a binary message. */
  #control: Uint8Array<ArrayBuffer>[] = [];
  #message: Uint8Array<ArrayBuffer>[] = [];
  #text = "";
  #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

  constructor(user: MessageUser) {
    this.#user = user;
  }

  /** Reads bytes. Bytes after a Close frame are ignored. @throws FrameError */
  push(bytes: Uint8Array<ArrayBuffer>): void {
    this.#frames.push(bytes);
  }

  frameBegan(opcode: number, isFinal: boolean): void {
    this.#opcode = opcode;
    this.#isFinal = isFinal;
    if (opcode === TEXT || opcode === BINARY) this.#kind = opcode;
  }

  payload(bytes: Uint8Array<ArrayBuffer>, start: number, end: number): void {
    const part = bytes.subarray(start, end);
    if (this.#opcode >= CLOSE) this.#control.push(part);
    else if (this.#kind === TEXT) this.#text += this.#decode(part, true);
    else this.#message.push(part);
  }

  #decode(part: Uint8Array<ArrayBuffer>, stream: boolean): string {
    try {
      return this.#decoder.decode(part, { stream });
    } catch {
      throw new FrameError(1007, "a text is not valid UTF-8");
    }
  }

  frameEnded(): void {
    if (this.#opcode >= CLOSE) {
      const payload = joined(this.#control);
      this.#control = [];
      this.#endControl(payload);
    } else if (this.#isFinal) {
      this.#endMessage();
    }
  }

  #endMessage(): void {
    if (this.#kind === TEXT) {
      const text = this.#text + this.#decode(new Uint8Array(0), false);
      this.#text = "";
      this.#user.message(text);
    } else {
      const parts = this.#message;
      this.#message = [];
      this.#user.message(joined(parts));
    }
  }

  #endControl(payload: Uint8Array<ArrayBuffer>): void {
    if (this.#opcode === PING) this.#user.ping(payload);
    if (this.#opcode !== CLOSE) return;
    this.#frames.stop();
    if (payload.length === 0) {
      this.#user.closed(NO_CODE, "");
      return;
    }
    const code = ((payload[0] as number) << 8) | (payload[1] ?? 0);
    if (payload.length === 1 || !isCode(code)) throw broken("a Close frame's payload is not valid");
    this.#decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    this.#user.closed(code, this.#decode(payload.subarray(2), false));
  }
}
