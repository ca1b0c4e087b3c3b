// A scripted WebSocket client: frames over a client that exchanges bytes, and the messages decoded from them.

import {
  BINARY,
  CLOSE,
  CONTINUATION,
  type FrameOptions,
  FrameReader,
  PING,
  PONG,
  TEXT,
  frameOf,
} from "../codec/frames";
import { acceptOf, upgradeFields } from "../codec/handshake";
import { NO_CODE, closePayload } from "../codec/messages";
import { concat } from "../shared/text/bytes";
import { show } from "../shared/text/show";
import { AnswerReader, type TestAnswer, fieldOf } from "./answer";
import { checkData, checkGroup } from "./check";
import type { Network } from "./network";
import { type SocketOptions, type Split, TestSocket } from "./socket";

/** The key of each handshake (RFC 6455 1.3), and the value that accepts it. */
const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT = acceptOf(KEY);
/** Bytes that a compressed message may inflate to. The codec refuses more; no test needs as much. */
const INFLATE_LIMIT = 2 ** 30;

/** Options of `connect`. */
export interface ConnectOptions extends SocketOptions {
  /** Subprotocols to offer. */
  readonly protocols?: readonly string[];
  /** Further fields of the handshake; Host is "ringcast.test" by default. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether to offer permessage-deflate. */
  readonly deflate?: boolean;
  /** `false`: leaves pings and Close frames unanswered, and keeps the connection after a refusal. */
  readonly automatic?: boolean;
  /** How the handshake's bytes are split. */
  readonly split?: Split;
}

/** Options of a message. */
export interface MessageOptions {
  /** How the bytes of its frames are split. */
  readonly split?: Split;
  /** Bytes of one frame's payload at most; a longer message is sent in several frames. */
  readonly fragment?: number;
  /** Whether to send a string as binary (`true`), or bytes as text (`false`). */
  readonly binary?: boolean;
  /** Whether to compress the message, if compression was negotiated. */
  readonly compress?: boolean;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function bytesOf(data: string | Uint8Array): Uint8Array {
  return typeof data === "string" ? encoder.encode(data) : data;
}

/** A scripted WebSocket client. */
export class TestClient extends TestSocket {
  /** @internal */
  static override readonly name = "TestClient";
  /** The response to the handshake, 101 or another. */
  answer: TestAnswer | undefined;
  /** The chosen subprotocol; "" for none. */
  protocol = "";
  /** Messages received: text as strings, binary as bytes. */
  readonly messages: (string | Uint8Array)[] = [];
  /** Payloads of the pings received. */
  readonly pings: Uint8Array[] = [];
  /** Payloads of the pongs received. */
  readonly pongs: Uint8Array[] = [];
  /** The server's Close frame: its code, 1005 when it had none, and its reason. */
  closing: { readonly code: number; readonly reason: string } | undefined;
  /** How the connection ended. The code is 1006 when no Close frame arrived; `clean` when both sides sent one. */
  closed: { readonly code: number; readonly reason: string; readonly clean: boolean } | undefined;
  /** Called for each message. */
  onMessage: ((data: string | Uint8Array) => void) | undefined;
  /** The target of the handshake. */
  readonly path: string;
  readonly #automatic: boolean;
  readonly #answers = new AnswerReader();
  readonly #frames = new FrameReader(
    {
      frameBegan: (opcode, isFinal, isPacked) => this.#begin(opcode, isFinal, isPacked),
      payload: (bytes, start, end) => void this.#payload.push(bytes.slice(start, end)),
      frameEnded: () => this.#take(),
    },
    "deflate",
  );
  /** The frame that is being read. */
  #opcode = 0;
  #isFinal = false;
  #payload: Uint8Array[] = [];
  /** The message that is being read. */
  #kind = 0;
  #isPacked = false;
  #parts: Uint8Array[] = [];
  #isDeflated = false;
  #sentClose = false;

  /** @internal */
  constructor(network: Network, path: string, options: ConnectOptions = {}) {
    if (typeof path !== "string") throw new TypeError(`path: ${show(path)} is not a string`);
    super(network, options);
    this.path = path;
    this.#automatic = options.automatic ?? true;
    const { protocols = [], headers = {}, deflate = false, split } = options;
    const fields: Record<string, string> = {
      Host: "ringcast.test",
      ...Object.fromEntries(upgradeFields(KEY, protocols)),
    };
    if (deflate) fields["Sec-WebSocket-Extensions"] = "permessage-deflate";
    for (const [name, value] of Object.entries(headers)) {
      const known = Object.keys(fields).find((key) => key.toLowerCase() === name.toLowerCase());
      fields[known ?? name] = value;
    }
    const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
    const head = `GET ${path} HTTP/1.1\r\n${lines.join("")}\r\n`;
    this.write(head, split === undefined ? {} : { split });
  }

  /** @internal */
  protected override check(options: ConnectOptions): void {
    checkGroup("connect", options);
  }

  /** @internal True when the response to the handshake has arrived. */
  protected override get isGreeted(): boolean {
    return this.answer !== undefined;
  }

  /** True from the 101 response to the first Close frame of either side. */
  get isOpen(): boolean {
    return this.answer?.status === 101 && !this.#sentClose && !this.closing && !this.closed;
  }

  // ---- sending -----------------------------------------------------------------------------------------

  /**
   * Sends a message.
   * @returns false when the WebSocket is closed
   * @throws Error before it is open
   */
  send(data: string | Uint8Array, options: MessageOptions = {}): boolean {
    this.#checkOpened("send");
    checkData("send", data);
    checkGroup("send", options);
    if (!this.isOpen) return false;
    const isText = !(options.binary ?? typeof data !== "string");
    let bytes = bytesOf(data);
    let reserved = 0;
    if (options.compress && this.#isDeflated && this.network.codec) {
      bytes = this.network.codec.deflate(bytes, 15);
      reserved = 4;
    }
    const { fragment = Number.POSITIVE_INFINITY, split } = options;
    if (!(fragment > 0)) throw new RangeError(`fragment: ${fragment} is not a number of bytes`);
    let opcode: number = isText ? TEXT : BINARY;
    let at = 0;
    do {
      const payload = bytes.subarray(at, at + fragment);
      at += fragment;
      this.frame(opcode, payload, { final: at >= bytes.length, reserved }, split);
      opcode = CONTINUATION;
      reserved = 0;
    } while (at < bytes.length);
    return true;
  }

  /** Sends any frame, valid or not. @param opcode 0 … 15 */
  frame(
    opcode: number,
    payload: string | Uint8Array = "",
    options?: FrameOptions,
    split?: Split,
  ): this {
    checkData("frame", payload);
    checkGroup("frame", options);
    const bytes = frameOf(opcode, bytesOf(payload), this.network.random.bytes(4), options);
    return this.write(bytes, split === undefined ? {} : { split });
  }

  /** Sends a ping. @returns false when the WebSocket is closed */
  ping(data: string | Uint8Array = ""): boolean {
    this.#checkOpened("ping");
    if (this.isOpen) this.frame(PING, data);
    return this.isOpen;
  }

  /** Sends a Close frame. The server answers it and ends the connection. @param code none: the frame is empty */
  close(code?: number, reason = ""): boolean {
    this.#checkOpened("close");
    if (this.#sentClose || this.closed) return false;
    this.#sentClose = true;
    this.frame(CLOSE, closePayload(code ?? NO_CODE, reason));
    return true;
  }

  #checkOpened(what: string): void {
    if (this.answer === undefined && this.state === "open")
      throw new Error(`${what}: the WebSocket is not open yet; await settle() first`);
  }

  // ---- reading -----------------------------------------------------------------------------------------

  /** @internal */
  protected override arrived(bytes: Uint8Array): void {
    if (this.answer) {
      if (this.answer.status === 101) this.#frames.push(bytes);
      else super.arrived(bytes);
      return;
    }
    this.#answers.push(bytes);
    const [answer] = this.#answers.answers;
    if (!answer) return;
    this.answer = answer;
    if (answer.status === 101) {
      this.#open(answer);
      this.#frames.push(this.#answers.rest);
    } else if (this.#automatic) {
      this.end();
    }
  }

  #open(answer: TestAnswer): void {
    if (fieldOf(answer, "sec-websocket-accept") !== ACCEPT)
      throw new Error("the server did not accept the key");
    this.protocol = fieldOf(answer, "sec-websocket-protocol") ?? "";
    this.#isDeflated = /permessage-deflate/.test(fieldOf(answer, "sec-websocket-extensions") ?? "");
  }

  #begin(opcode: number, isFinal: boolean, isPacked: boolean): void {
    if (isPacked && !this.#isDeflated)
      throw new Error("the server sent a compressed frame that was not negotiated");
    this.#opcode = opcode;
    this.#isFinal = isFinal;
    if (opcode !== TEXT && opcode !== BINARY) return;
    this.#kind = opcode;
    this.#isPacked = isPacked;
  }

  #take(): void {
    const payload = concat(this.#payload);
    this.#payload = [];
    switch (this.#opcode) {
      case CLOSE:
        this.#takeClose(payload);
        break;
      case PING:
        this.pings.push(payload);
        if (this.#automatic && this.isOpen) this.frame(PONG, payload);
        break;
      case PONG:
        this.pongs.push(payload);
        break;
      default:
        this.#parts.push(payload);
        if (this.#isFinal) this.#takeMessage();
        break;
    }
  }

  #takeMessage(): void {
    const whole = this.#inflate(concat(this.#parts));
    this.#parts = [];
    const message = this.#kind === TEXT ? decoder.decode(whole) : whole;
    this.messages.push(message);
    this.onMessage?.(message);
  }

  #inflate(bytes: Uint8Array): Uint8Array {
    if (!this.#isPacked) return bytes;
    const data = this.network.codec?.inflate(bytes, INFLATE_LIMIT);
    if (!(data instanceof Uint8Array))
      throw new Error("a compressed message of the server cannot be inflated");
    return data;
  }

  #takeClose(payload: Uint8Array): void {
    const code = payload.length < 2 ? 1005 : ((payload[0] as number) << 8) | (payload[1] as number);
    this.closing ??= { code, reason: decoder.decode(payload.subarray(2)) };
    if (this.#sentClose || !this.#automatic) return;
    this.#sentClose = true;
    this.frame(CLOSE, payload.slice(0, 2));
  }

  /** @internal */
  protected override ended(): void {
    const { closing = { code: 1006, reason: "" } } = this;
    const clean = this.closing !== undefined && this.#sentClose && this.state !== "reset";
    this.closed ??= { ...closing, clean };
  }

  override describe(): string[] {
    const shown = (data: string | Uint8Array): string =>
      typeof data === "string" ? `text ${JSON.stringify(data)}` : `binary ${data.join(" ")}`;
    const { answer, closed } = this;
    return [
      `${this.path} ${answer?.status ?? "unanswered"} ${this.protocol}`.trimEnd(),
      ...this.messages.map(shown),
      ...this.pings.map((data) => `ping ${data.join(" ")}`),
      ...this.pongs.map((data) => `pong ${data.join(" ")}`),
      ...(closed
        ? [`closed ${closed.code} ${closed.reason}${closed.clean ? "" : ", not clean"}`]
        : []),
    ];
  }
}
