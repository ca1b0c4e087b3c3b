// A slow decoder of WebSocket streams, written from RFC 6455 5 and 7.4 and RFC 7692 6. It takes the whole stream and
// reports for each event, failures included, the octet at which it is certain. A server that is fed octet by octet must
// report the same at the same octet.
//
// An event is certain: a reserved bit, an opcode, its place and its FIN at the first octet of a head; the mask bit and
// a control frame's length at the second; an extended length when it is whole; the number of fragments when the head is
// whole; text at each octet; a Close, and a compressed message, when it is whole.

import { CLOSE_TABLE } from "../../host/shared/close";
import { inflateMessage } from "./inflate";

type Cause = keyof typeof CLOSE_TABLE;

/** Settings of the decoder. */
export interface Rules {
  readonly PayloadBytes: number;
  readonly Fragments: number;
  /** permessage-deflate was agreed upon, without context takeover. */
  readonly deflate?: boolean;
  /** Messages are handed out in pieces: only compressed ones have a limit. */
  readonly pieces?: boolean;
}

export interface Happened {
  /** The octet, from 0, with which it did. */
  readonly at: number;
  /** As `Wire.log` tells it. */
  readonly line: string;
}

interface Message {
  readonly isText: boolean;
  readonly octets: string;
}

export interface Decoded {
  readonly events: readonly Happened[];
  readonly messages: readonly Message[];
  /** The received part of a message that never ended, unless it was compressed. */
  readonly partial: string;
  readonly pings: readonly string[];
  /** Why the server ends the stream; "" when it does not. */
  readonly reason: string;
  /** Code of the Close that the server sends; 0: none, 1005: an empty one. */
  readonly code: number;
  /** Text of that Close: an echo has none. */
  readonly text: string;
  /** The same, had another fault of the last message been found first. */
  readonly other?: Decoded;
}

/** Thrown at the octet with which the stream has failed, or closed. */
class Ended extends Error {
  readonly reason: Cause;
  readonly code: number;
  readonly other: Ended | undefined;
  constructor(reason: Cause, code: number, other?: Ended) {
    super(reason);
    this.reason = reason;
    this.code = code;
    this.other = other;
  }
}

/** The input ended: no more octets. */
class More extends Error {}

/**
 * Returns true when octets can begin a UTF-8 text: each sequence but the last is whole, and the last one can be
 * completed. The numbers that a lead octet and some of its continuation octets can still become are one interval, which
 * must meet the numbers that have this length and are no surrogates (RFC 3629 3, 4).
 * @param whole nothing may be missing
 */
function isUtf8(text: string, whole: boolean): boolean {
  for (let at = 0; at < text.length; ) {
    const lead = text.charCodeAt(at);
    const length = lead < 0x80 ? 1 : lead < 0xc0 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (length === 0 || lead >= 0xf8) return false;
    const octets = Array.from(text.slice(at, at + length), (c) => c.charCodeAt(0));
    if (octets.slice(1).some((octet) => octet >> 6 !== 2)) return false;
    const missing = length - octets.length;
    if (missing > 0 && whole) return false;
    let value = length === 1 ? lead : lead & (0x7f >> length);
    for (const octet of octets.slice(1)) value = value * 64 + (octet & 63);
    const low = value * 64 ** missing;
    const high = low + 64 ** missing - 1;
    const least = [0, 0, 0x80, 0x800, 0x10000][length] as number;
    if (high < least || low > 0x10ffff || (low >= 0xd800 && high <= 0xdfff)) return false;
    at += length;
  }
  return true;
}

/** Codes that an endpoint may send: RFC 6455 7.4 and the IANA registry of close codes. */
function isCloseCode(code: number): boolean {
  const registered = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
  return registered.includes(code) || (code >= 3000 && code <= 4999);
}

export function quote(octets: string, isText: boolean): string {
  const bytes = Buffer.from(octets, "latin1");
  if (bytes.length > 40) return `(${bytes.length})`;
  return JSON.stringify(isText ? bytes.toString("utf8") : octets);
}

/** One frame's head. */
interface Head {
  readonly kind: number;
  readonly final: boolean;
  readonly packed: boolean;
  readonly length: bigint;
  readonly mask: readonly number[];
}

class Decoder {
  readonly #input: string;
  readonly #rules: Rules;
  #at = 0;
  readonly events: Happened[] = [];
  readonly messages: Message[] = [];
  readonly pings: string[] = [];
  // The message under way: its opcode, 0 when there is none.
  #opcode = 0;
  #packed = false;
  #message = "";
  #fragments = 0;

  constructor(input: string, rules: Rules) {
    this.#input = input;
    this.#rules = rules;
  }

  get partial(): string {
    return this.#packed ? "" : this.#message;
  }

  tell(line: string): void {
    this.events.push({ at: this.#at - 1, line });
  }

  #octet(): number {
    if (this.#at === this.#input.length) throw new More();
    return this.#input.charCodeAt(this.#at++);
  }

  #number(octets: number): bigint {
    let value = 0n;
    for (let i = 0; i < octets; i++) value = value * 256n + BigInt(this.#octet());
    return value;
  }

  #head(): Head {
    const first = this.#octet();
    const kind = first & 15;
    const final = first >= 128;
    const starts = kind === 1 || kind === 2;
    // RSV1 on the first frame of a message: it is compressed (RFC 7692 6).
    const packed = this.#rules.deflate === true && starts && (first & 0x70) === 0x40;
    if (first & 0x70 && !packed) throw new Ended("WsReservedBits", 1002);
    if (![0, 1, 2, 8, 9, 10].includes(kind)) throw new Ended("WsUnknownOpcode", 1002);
    if (kind >= 8 && !final) throw new Ended("WsFragmentedControl", 1002);
    if (kind === 0 && this.#opcode === 0) throw new Ended("WsExpectedText", 1002);
    if (starts && this.#opcode !== 0) throw new Ended("WsExpectedCont", 1002);
    const second = this.#octet();
    if (second < 128) throw new Ended("WsBadMask", 1002);
    let length = BigInt(second & 127);
    if (kind >= 8 && length > 125n) throw new Ended("WsControlFrameTooLarge", 1002);
    if (kind === 8 && length === 1n) throw new Ended("WsBadClosePayload", 1002);
    if (length === 126n) {
      length = this.#number(2);
      if (length < 126n) throw new Ended("WsBadLength", 1002);
    } else if (length === 127n) {
      // The octet that proves it is the first of eight, or the sixth.
      const high = this.#number(1);
      if (high >= 128n) throw new Ended("WsBadLength", 1002);
      const upper = high * 256n ** 5n + this.#number(5);
      if (upper === 0n) throw new Ended("WsBadLength", 1002);
      length = upper * 65536n + this.#number(2);
    }
    if (kind < 8) this.#limit(length, packed);
    const mask = [this.#octet(), this.#octet(), this.#octet(), this.#octet()];
    return { kind, final, packed, length, mask };
  }

  #limit(length: bigint, packed: boolean): void {
    const isPacked = packed || this.#packed;
    const whole = !this.#rules.pieces || isPacked;
    let limit = whole ? BigInt(this.#rules.PayloadBytes) : 0xffffffffn;
    // Deflate grows what it cannot shrink.
    if (isPacked) limit += limit / 8n + 256n;
    if (length > limit) throw new Ended("WsOversizeFrame", 1009);
    if (!whole) return;
    if (length + BigInt(this.#message.length) > limit) throw new Ended("WsMessageTooLarge", 1009);
  }

  frame(): void {
    const head = this.#head();
    const { kind, final, length, mask } = head;
    if (kind < 8) {
      this.#fragments++;
      if (this.#fragments > this.#rules.Fragments) throw new Ended("WsTooManyFragments", 1008);
      if (kind !== 0) {
        this.#opcode = kind;
        this.#packed = head.packed;
      }
    }
    if (kind >= 8) {
      let payload = "";
      for (let i = 0; i < Number(length); i++) {
        payload += String.fromCharCode(this.#octet() ^ (mask[i % 4] as number));
      }
      this.#control(kind, payload);
      return;
    }
    this.#payload(Number(length), mask);
    if (final) this.#finish();
  }

  /** Data: text is looked at with each octet. */
  #payload(length: number, mask: readonly number[]): void {
    const isText = this.#opcode === 1 && !this.#packed;
    // Only what follows the last whole character is looked at again.
    let checked = this.#message.length;
    const least = checked - 3;
    while (isText && checked > Math.max(0, least)) {
      if (isUtf8(this.#message.slice(0, checked), true)) break;
      checked--;
    }
    for (let i = 0; i < length; i++) {
      this.#message += String.fromCharCode(this.#octet() ^ (mask[i % 4] as number));
      if (!isText) continue;
      const tail = this.#message.slice(checked);
      if (!isUtf8(tail, false)) throw new Ended("WsBadUtf8", 1007);
      if (isUtf8(tail, true)) checked = this.#message.length;
    }
  }

  #control(kind: number, payload: string): void {
    if (kind === 8) {
      const code =
        payload.length === 0 ? 1005 : payload.charCodeAt(0) * 256 + payload.charCodeAt(1);
      const valid = payload.length === 0 || (payload.length >= 2 && isCloseCode(code));
      if (!valid) throw new Ended("WsBadClosePayload", 1002);
      if (!isUtf8(payload.slice(2), true)) throw new Ended("WsBadUtf8", 1007);
      this.tell(`peer close ${code} ${quote(payload.slice(2), true)}`);
      throw new Ended("PeerClosed", code);
    }
    if (kind === 9) this.pings.push(payload);
    this.tell(`${kind === 9 ? "ping" : "pong"} ${quote(payload, false)}`);
  }

  #finish(): void {
    const isText = this.#opcode === 1;
    let octets = this.#message;
    if (this.#packed) {
      const limit = this.#rules.PayloadBytes;
      const { octets: inflated, bad, large, cut } = inflateMessage(octets, limit);
      // zlib reads on to the end of its own buffer, and may come upon the fault before it looks at the length.
      const mayBeBad = bad || cut ? new Ended("WsBadDeflate", 1007) : undefined;
      if (large) throw new Ended("WsMessageTooLarge", 1009, mayBeBad);
      const isBad = bad ? mayBeBad : undefined;
      if (isBad) throw isBad;
      octets = inflated;
    }
    if (isText && !isUtf8(octets, true)) throw new Ended("WsBadUtf8", 1007);
    this.tell(`${isText ? "text" : "binary"} ${quote(octets, isText)}`);
    this.messages.push({ isText, octets });
    this.#opcode = 0;
    this.#packed = false;
    this.#message = "";
    this.#fragments = 0;
  }
}

/** Returns the expected events of a stream of octets. */
export function decode(input: string, rules: Rules): Decoded {
  const decoder = new Decoder(input, rules);
  try {
    for (;;) decoder.frame();
  } catch (error) {
    const { events, messages, pings, partial } = decoder;
    const common = { messages, pings, partial };
    if (error instanceof More) return { events, ...common, reason: "", code: 0, text: "" };
    if (!(error instanceof Ended)) throw error;
    const before = [...events];
    const ends = ({ reason, code }: Ended): Decoded => {
      decoder.events.splice(before.length);
      decoder.tell(`end ${reason}`);
      const text = reason === "PeerClosed" ? "" : CLOSE_TABLE[reason].text;
      return { events: [...decoder.events], ...common, reason, code, text };
    };
    const decoded = ends(error);
    return error.other ? { ...decoded, other: ends(error.other) } : decoded;
  }
}
