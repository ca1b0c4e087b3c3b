// The connection of one WebSocket: the opening handshake, frames, the closing handshake (RFC 6455 4, 5, 7), reported to
// its owner as events.
//
// Invariant: `closed` is called once and last. Nothing is written after a Close frame.

import { type AnswerHead, AnswerReader, type AnswerUser, fieldOf } from "../codec/response";
import { CLOSE, FrameError, PONG, frameOf } from "../codec/frames";
import { MessageReader, type MessageUser, closePayload } from "../codec/messages";
import type { Line, LineEnd, LineUser } from "./line";
import { acceptOf, upgradeFields } from "../codec/handshake";

/** Opens connections to the server. */
export interface Dialler {
  /** The base of relative URLs, and the Origin that clients send. */
  readonly origin: string;
  connect(user: LineUser): Line;
}

/** How a connection ended. */
export interface Ending {
  readonly code: number;
  readonly reason: string;
  /** True when both sides have closed in order. */
  readonly wasClean: boolean;
  /** True when the connection was never open or the server broke the protocol. */
  readonly failed: boolean;
}

interface SessionUser {
  opened(protocol: string): void;
  message(data: string | Uint8Array<ArrayBuffer>): void;
  /** Called when the server has sent a Close frame. */
  closing(): void;
  closed(ending: Ending): void;
  /** Called when the engine has received a message. @param payload its length in bytes */
  left(payload: number): void;
}

/**
 * Timeouts in ms: for the server's Close frame after ours, and for its end after both. Then the connection is reset.
 */
const CLOSE_LIMIT = 10000;
const END_LIMIT = 2000;
/** The code of a connection that ended without a Close. */
const ABNORMAL = 1006;

/** Returns the opening handshake's request (RFC 6455 4.1). */
function handshakeOf(url: URL, origin: string, key: string, protocols: readonly string[]): string {
  const lines = [
    `GET ${url.pathname}${url.search} HTTP/1.1`,
    `Host: ${url.host}`,
    "Pragma: no-cache",
    "Cache-Control: no-cache",
    `User-Agent: ${navigator.userAgent}`,
    `Origin: ${origin}`,
    ...upgradeFields(key, protocols).map(([name, value]) => `${name}: ${value}`),
  ];
  return `${lines.join("\r\n")}\r\n\r\n`;
}

/** Checks the response to a handshake. @returns the subprotocol @throws Error when the connection has failed */
function judge({ status, fields }: AnswerHead, key: string, protocols: readonly string[]): string {
  if (status !== 101) throw new Error(`the response is ${status}, not 101`);
  if (fieldOf(fields, "upgrade")?.toLowerCase() !== "websocket")
    throw new Error("Upgrade is not websocket");
  const options = fieldOf(fields, "connection")
    ?.toLowerCase()
    .split(/[\t ]*,[\t ]*/);
  if (!options?.includes("upgrade")) throw new Error("Connection is not Upgrade");
  if (fieldOf(fields, "sec-websocket-accept") !== acceptOf(key))
    throw new Error("Sec-WebSocket-Accept is wrong");
  if (fieldOf(fields, "sec-websocket-extensions") !== undefined)
    throw new Error("an extension was not offered");
  const protocol = fieldOf(fields, "sec-websocket-protocol");
  if (protocol !== undefined && !protocols.includes(protocol))
    throw new Error(`the subprotocol ${protocol} was not offered`);
  if (protocol === undefined && protocols.length > 0) throw new Error("no subprotocol was chosen");
  return protocol ?? "";
}

/** The connection of one WebSocket. It turns bytes into events. */
export class Session implements LineUser, AnswerUser, MessageUser {
  readonly #line: Line;
  readonly #key: string;
  readonly #protocols: readonly string[];
  readonly #user: SessionUser;
  readonly #answer = new AnswerReader("GET", this);
  readonly #messages = new MessageReader(this);
  /** Pieces written that the engine has not received: their bytes, and the bytes of messages in them. */
  readonly #written: { bytes: number; readonly payload: number }[] = [];
  #isOpen = false;
  #isOver = false;
  #hasSentClose = false;
  /** The server's Close frame. */
  #got: { readonly code: number; readonly reason: string } | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(dialler: Dialler, url: URL, protocols: readonly string[], user: SessionUser) {
    this.#protocols = protocols;
    this.#user = user;
    this.#key = btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(16))));
    this.#line = dialler.connect(this);
    const request = handshakeOf(url, dialler.origin, this.#key, protocols);
    this.#write(new TextEncoder().encode(request), 0);
  }

  #write(bytes: Uint8Array<ArrayBuffer>, payload: number): void {
    this.#written.push({ bytes: bytes.length, payload });
    this.#line.write(bytes);
  }

  /** Sends a message. */
  send(opcode: number, payload: Uint8Array): void {
    if (!this.#isOver && !this.#hasSentClose) this.#write(frameOf(opcode, payload), payload.length);
  }

  /** Starts the closing handshake (RFC 6455 7.1.2), after what was sent. */
  close(code: number, reason: string): void {
    if (this.#isOver || this.#hasSentClose) return;
    this.#sendClose(code, reason);
    this.#limit(CLOSE_LIMIT);
  }

  #sendClose(code: number, reason: string): void {
    this.#hasSentClose = true;
    this.#write(frameOf(CLOSE, closePayload(code, reason)), 0);
  }

  #limit(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#line.reset();
      this.over("reset");
    }, ms);
  }

  /** Fails the connection. */
  fail(): void {
    if (this.#isOver) return;
    this.#line.reset();
    this.#finish({ code: ABNORMAL, reason: "", wasClean: false, failed: true });
  }

  #finish(ending: Ending): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#user.closed(ending);
  }

  sent(n: number): void {
    let left = n;
    for (;;) {
      const first = this.#written[0];
      if (!first) return;
      const part = Math.min(left, first.bytes);
      first.bytes -= part;
      left -= part;
      if (first.bytes > 0) return;
      this.#written.shift();
      if (first.payload > 0) this.#user.left(first.payload);
    }
  }

  read(bytes: Uint8Array<ArrayBuffer>): void {
    // A page's WebSocket has no backpressure on reading, so all bytes are taken at once.
    this.#line.take(bytes.length);
    if (this.#isOver) return;
    try {
      const at = this.#isOpen ? 0 : this.#answer.push(bytes);
      if (!this.#isOver && at < bytes.length) this.#messages.push(bytes.subarray(at));
    } catch (error) {
      if (this.#isOver) return;
      // If the connection is open, a Close frame tells the server why.
      if (this.#isOpen && !this.#hasSentClose)
        this.#sendClose(error instanceof FrameError ? error.code : 1002, "");
      this.#line.end();
      this.#finish({ code: ABNORMAL, reason: "", wasClean: false, failed: true });
    }
  }

  over(end: LineEnd): void {
    if (end === "ended") this.#line.end();
    if (this.#isOver) return;
    const got = this.#got;
    if (got) this.#finish({ ...got, wasClean: true, failed: false });
    else this.#finish({ code: ABNORMAL, reason: "", wasClean: false, failed: !this.#isOpen });
  }

  head(head: AnswerHead): void {
    const protocol = judge(head, this.#key, this.#protocols);
    this.#isOpen = true;
    this.#user.opened(protocol);
  }

  data(): void {
    throw new Error("the response to the handshake has a body");
  }

  /** Called at the end of the response. Frames follow. */
  end(): void {}

  message(data: string | Uint8Array<ArrayBuffer>): void {
    this.#user.message(data);
  }

  ping(data: Uint8Array): void {
    if (!this.#hasSentClose) this.#write(frameOf(PONG, data), 0);
  }

  closed(code: number, reason: string): void {
    this.#got = { code, reason };
    this.#user.closing();
    if (!this.#hasSentClose) this.#sendClose(code, reason);
    this.#limit(END_LIMIT);
  }
}
