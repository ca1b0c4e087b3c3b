// The name in a ClientHello (RFC 8446 4.1.2, RFC 6066 3), the first message of a TLS handshake. It is read before TLS
// begins, because the name decides with which certificate it begins. This reader decides nothing else: a message that
// it cannot read has no name, and the TLS library that gets the same bytes refuses it.
//
// Invariant: at most LIMIT bytes of a client are kept, and one read beyond it. The message is parsed once, when it is
// whole.

/** Longest ClientHello with the headers of its records (bytes): one full record. Those of browsers have some 2 KB. */
const LIMIT = 5 + 16384;

/** Types of records and of messages, and of the extension and the name that matter. */
const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const HOST_NAME = 0;

const RECORD_BYTES = 5;
const MESSAGE_BYTES = 4;
/** Most bytes of a record without encryption. */
const FRAGMENT_BYTES = 16384;

/** Returns a number of `size` bytes, the highest first. */
function numberAt(bytes: Uint8Array, at: number, size: number): number {
  let value = 0;
  for (let i = 0; i < size; i++) value = value * 256 + (bytes[at + i] ?? 0);
  return value;
}

/** Reads vectors of a message. A length that goes beyond the end makes it fail. */
class Reader {
  readonly #bytes: Uint8Array;
  #at: number;
  #end: number;
  /** True once a length went beyond the end. */
  isBroken = false;

  constructor(bytes: Uint8Array, at: number, end: number) {
    this.#bytes = bytes;
    this.#at = at;
    this.#end = end;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#end;
  }

  /** Skips bytes. @returns where they begin */
  skip(n: number): number {
    const from = this.#at;
    if (this.#end - from < n) this.isBroken = true;
    this.#at = this.isBroken ? this.#end : from + n;
    return from;
  }

  /** Returns a number of `size` bytes; 0 beyond the end. */
  number(size: number): number {
    const at = this.skip(size);
    return this.isBroken ? 0 : numberAt(this.#bytes, at, size);
  }

  /** Skips a vector whose length has `size` bytes. */
  skipVector(size: number): void {
    this.skip(this.number(size));
  }

  /** Returns a reader of a vector whose length has `size` bytes, and skips it. */
  vector(size: number): Reader {
    const length = this.number(size);
    const from = this.skip(length);
    const reader = new Reader(this.#bytes, from, this.isBroken ? from : from + length);
    reader.isBroken = this.isBroken;
    return reader;
  }

  /** Returns the remaining bytes as text. */
  text(): string {
    let text = "";
    for (let at = this.#at; at < this.#end; at++)
      text += String.fromCharCode(this.#bytes[at] as number);
    return text;
  }
}

/** Returns the first name of the extension; "" when it has none of a host. */
function nameIn(extension: Reader): string {
  const names = extension.vector(2);
  if (names.number(1) !== HOST_NAME) return "";
  const name = names.vector(2).text();
  return names.isBroken ? "" : name;
}

/** Returns the name in a whole ClientHello, from its version on; "" when there is none. */
function nameOf(message: Reader): string {
  const VERSION_AND_RANDOM = 34;
  message.skip(VERSION_AND_RANDOM);
  message.skipVector(1); // session id
  message.skipVector(2); // cipher suites
  message.skipVector(1); // compression methods
  const extensions = message.vector(2);
  while (!extensions.isAtEnd) {
    const type = extensions.number(2);
    const extension = extensions.vector(2);
    if (type === SERVER_NAME && !extensions.isBroken) return nameIn(extension);
  }
  return "";
}

/**
 * The state of a reader. "open": more bytes are needed. "read": the name is known, or it is known that there is none.
 * "large": the message is longer than the limit.
 */
export type HelloState = "open" | "read" | "large";

export class ClientHello {
  #bytes: Uint8Array;
  #length: number;
  /** Offset of the first record that is not whole. */
  #next = 0;
  /** Where the contents of the records before it begin and end, and their bytes. */
  readonly #parts: (readonly [from: number, to: number])[] = [];
  #has = 0;
  /** Bytes of the message, as far as is known. */
  #needs = MESSAGE_BYTES;
  /** The name that the client asks for; "" when it names none, or not in a way that can be read. */
  name = "";

  /** @param first bytes, which stay as they are */
  constructor(first: Uint8Array) {
    this.#bytes = first;
    this.#length = first.length;
  }

  /** All bytes so far. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Adds bytes that arrived. */
  add(bytes: Uint8Array): void {
    const length = this.#length + bytes.length;
    if (length > this.#bytes.length) {
      const room = new Uint8Array(Math.max(length, Math.min(2 * this.#bytes.length, LIMIT)));
      room.set(this.bytes);
      this.#bytes = room;
    }
    this.#bytes.set(bytes, this.#length);
    this.#length = length;
  }

  /** Reads the name, if the message is whole. */
  read(): HelloState {
    while (this.#has < this.#needs) {
      const state = this.#readRecord();
      if (state !== "next") return state;
    }
    this.name = nameOf(new Reader(this.#take(this.#needs), MESSAGE_BYTES, this.#needs));
    return "read";
  }

  /** Returns the first bytes of the message. Within one record they are not copied. */
  #take(length: number): Uint8Array {
    const [[start, stop] = [0, 0]] = this.#parts;
    if (stop - start >= length) return this.#bytes.subarray(start, start + length);
    const message = new Uint8Array(length);
    let at = 0;
    for (const [from, to] of this.#parts) {
      const part = this.#bytes.subarray(from, Math.min(to, from + length - at));
      message.set(part, at);
      at += part.length;
    }
    return message;
  }

  /** Reads one record. @returns "next": it is whole */
  #readRecord(): HelloState | "next" {
    const bytes = this.bytes;
    const at = this.#next;
    const length = numberAt(bytes, at + 3, 2);
    const isOther = at < bytes.length && bytes[at] !== HANDSHAKE;
    const isHeader = bytes.length - at >= RECORD_BYTES;
    if (isOther || (isHeader && (bytes[at + 1] !== 3 || length === 0 || length > FRAGMENT_BYTES)))
      return "read";
    const from = at + RECORD_BYTES;
    if (!isHeader || bytes.length - from < length) return bytes.length < LIMIT ? "open" : "large";
    this.#parts.push([from, from + length]);
    this.#has += length;
    this.#next = from + length;
    if (this.#needs > MESSAGE_BYTES || this.#has < MESSAGE_BYTES) return "next";
    const header = this.#take(MESSAGE_BYTES);
    if (header[0] !== CLIENT_HELLO) return "read";
    this.#needs = MESSAGE_BYTES + numberAt(header, 1, 3);
    return this.#needs > LIMIT ? "large" : "next";
  }
}
