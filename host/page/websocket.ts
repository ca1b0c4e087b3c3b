// `WebSocket` as pages know it (WHATWG WebSockets), with connections to the engine within the page: a real opening
// handshake, real frames.
//
// Invariant: the state changes together with the event that reports it, each in a task of its own. `open` comes at most
// once, `close` comes once and last.

import { BINARY, TEXT } from "../codec/frames";
import { NO_CODE } from "../codec/messages";
import { Handlers } from "../shared/request/listeners";
import { queueTask } from "../shared/turn";
import { TOKEN } from "../shared/text/token";
import { type Dialler, type Ending, Session } from "./session";

/** Bytes of a reason at most. A longer one is a SyntaxError, because a Close frame has room for 125 bytes. */
const REASON_BYTES = 123;

/** States (9.3.1 of the living standard). */
const CONNECTING = 0;
const OPEN = 1;
const CLOSING = 2;
const CLOSED = 3;

type Sent = string | ArrayBufferLike | Blob | ArrayBufferView;

/** Refuses a call without arguments, as WebIDL does. @throws TypeError */
function checkCount(what: string, args: readonly unknown[]): void {
  if (args.length === 0) throw new TypeError(`${what}: 1 argument is required, but there is none`);
}

/** Parses the URL of a WebSocket. @throws DOMException SyntaxError */
function readUrl(url: unknown, base: string): URL {
  const text = String(url);
  let parsed: URL;
  try {
    parsed = new URL(text, base);
  } catch {
    throw new DOMException(`the URL ${JSON.stringify(text)} is not valid`, "SyntaxError");
  }
  if (parsed.protocol === "http:") parsed.protocol = "ws:";
  if (parsed.protocol === "https:") parsed.protocol = "wss:";
  if (parsed.protocol !== "ws:" && parsed.protocol !== "wss:")
    throw new DOMException(`the scheme of ${text} is none of ws, wss, http, https`, "SyntaxError");
  if (parsed.href.includes("#"))
    throw new DOMException(`the URL ${text} has a fragment`, "SyntaxError");
  return parsed;
}

/** Checks the subprotocols. @throws DOMException SyntaxError for one that is not a token or is listed twice */
function readProtocols(protocols: unknown): string[] {
  const isList =
    typeof protocols === "object" && protocols !== null && Symbol.iterator in protocols;
  const names = isList ? Array.from(protocols as Iterable<unknown>, String) : [String(protocols)];
  names.forEach((name, i) => {
    if (!TOKEN.test(name))
      throw new DOMException(`the subprotocol ${JSON.stringify(name)} is not valid`, "SyntaxError");
    if (names.indexOf(name) !== i)
      throw new DOMException(`the subprotocol ${name} is listed twice`, "SyntaxError");
  });
  return names;
}

/** Converts a value like WebIDL's `[Clamp] unsigned short`. */
function clamped(value: unknown): number {
  const number = Math.min(Math.max(Number(value), 0), 65535) || 0;
  const down = Math.floor(number);
  const half = number - down === 0.5;
  return half ? down + (down & 1) : Math.round(number);
}

const encoder = new TextEncoder();

class Socket extends EventTarget implements WebSocket {
  static override readonly name = "WebSocket";
  static readonly CONNECTING = CONNECTING;
  static readonly OPEN = OPEN;
  static readonly CLOSING = CLOSING;
  static readonly CLOSED = CLOSED;
  declare readonly CONNECTING: typeof CONNECTING;
  declare readonly OPEN: typeof OPEN;
  declare readonly CLOSING: typeof CLOSING;
  declare readonly CLOSED: typeof CLOSED;
  readonly #url: string;
  readonly #origin: string;
  readonly #session: Session;
  readonly #handlers = new Handlers(this);
  #readyState: number = CONNECTING;
  #protocol = "";
  #bufferedAmount = 0;
  #binaryType: BinaryType = "blob";
  /** Pending reads of Blobs to send, and the messages queued after them. */
  #reading: Promise<void> | undefined;

  constructor(dialler: Dialler, url: unknown, protocols: unknown) {
    super();
    const target = readUrl(url, dialler.origin);
    const names = readProtocols(protocols);
    this.#url = target.href;
    // The `origin` of message events is the server's.
    this.#origin = target.origin;
    this.#session = new Session(dialler, target, names, {
      opened: (protocol) => queueTask(() => this.#opened(protocol)),
      message: (data) => queueTask(() => this.#message(data)),
      closing: () =>
        queueTask(() => {
          if (this.#readyState === OPEN) this.#readyState = CLOSING;
        }),
      closed: (ending) => queueTask(() => this.#closed(ending)),
      left: (payload) => {
        this.#bufferedAmount -= payload;
      },
    });
  }

  get url(): string {
    return this.#url;
  }

  get readyState(): number {
    return this.#readyState;
  }

  get bufferedAmount(): number {
    return this.#bufferedAmount;
  }

  get extensions(): string {
    return "";
  }

  get protocol(): string {
    return this.#protocol;
  }

  get binaryType(): BinaryType {
    return this.#binaryType;
  }

  set binaryType(value: BinaryType) {
    if (value === "blob" || value === "arraybuffer") this.#binaryType = value;
  }

  get onopen(): WebSocket["onopen"] {
    return this.#handlers.get("open");
  }

  set onopen(value: WebSocket["onopen"]) {
    this.#handlers.set("open", value);
  }

  get onmessage(): WebSocket["onmessage"] {
    return this.#handlers.get("message");
  }

  set onmessage(value: WebSocket["onmessage"]) {
    this.#handlers.set("message", value);
  }

  get onerror(): WebSocket["onerror"] {
    return this.#handlers.get("error");
  }

  set onerror(value: WebSocket["onerror"]) {
    this.#handlers.set("error", value);
  }

  get onclose(): WebSocket["onclose"] {
    return this.#handlers.get("close");
  }

  set onclose(value: WebSocket["onclose"]) {
    this.#handlers.set("close", value);
  }

  /** @throws DOMException InvalidStateError before it is open; TypeError without an argument */
  send(...args: [data: Sent]): void {
    checkCount("send", args);
    if (this.#readyState === CONNECTING)
      throw new DOMException("the WebSocket is still connecting", "InvalidStateError");
    const [data] = args;
    if (data instanceof Blob) this.#sendBlob(data);
    else if (data instanceof ArrayBuffer) this.#send(BINARY, new Uint8Array(data.slice(0)));
    else if (ArrayBuffer.isView(data)) this.#send(BINARY, bytesOf(data));
    else this.#send(TEXT, encoder.encode(String(data)));
  }

  #send(opcode: number, payload: Uint8Array): void {
    this.#bufferedAmount += payload.length;
    if (this.#readyState !== OPEN) return;
    this.#inOrder(() => this.#session.send(opcode, payload));
  }

  #sendBlob(blob: Blob): void {
    this.#bufferedAmount += blob.size;
    if (this.#readyState !== OPEN) return;
    const before = this.#reading;
    const reading = blob.arrayBuffer().then(async (bytes) => {
      await before;
      this.#session.send(BINARY, new Uint8Array(bytes));
    });
    this.#wait(reading);
  }

  /** Runs a function after the messages that are still being read. */
  #inOrder(fn: () => void): void {
    if (this.#reading) this.#wait(this.#reading.then(fn));
    else fn();
  }

  #wait(reading: Promise<void>): void {
    const last = reading
      .catch(() => this.#session.fail())
      .then(() => {
        if (this.#reading === last) this.#reading = undefined;
      });
    this.#reading = last;
  }

  /** @throws DOMException InvalidAccessError, SyntaxError for a code or a reason that cannot be sent */
  close(code?: number, reason?: string): void {
    const number = code === undefined ? NO_CODE : clamped(code);
    if (code !== undefined && number !== 1000 && !(number >= 3000 && number <= 4999))
      throw new DOMException(`the code ${number} is not 1000 or 3000–4999`, "InvalidAccessError");
    const text = reason === undefined ? "" : String(reason);
    if (encoder.encode(text).length > REASON_BYTES)
      throw new DOMException(`the reason has more than ${REASON_BYTES} bytes`, "SyntaxError");
    if (this.#readyState >= CLOSING) return;
    const wasOpen = this.#readyState === OPEN;
    this.#readyState = CLOSING;
    if (wasOpen) this.#inOrder(() => this.#session.close(reasonCode(number, text), text));
    else this.#session.fail();
  }

  #opened(protocol: string): void {
    if (this.#readyState !== CONNECTING) return;
    this.#readyState = OPEN;
    this.#protocol = protocol;
    this.dispatchEvent(new Event("open"));
  }

  #message(bytes: string | Uint8Array<ArrayBuffer>): void {
    if (this.#readyState !== OPEN) return;
    let data: string | Blob | ArrayBuffer;
    if (typeof bytes === "string") data = bytes;
    else if (this.#binaryType === "blob") data = new Blob([bytes]);
    else data = bytes.buffer;
    this.dispatchEvent(new MessageEvent("message", { data, origin: this.#origin }));
  }

  #closed({ code, reason, wasClean, failed }: Ending): void {
    this.#readyState = CLOSED;
    if (failed) this.dispatchEvent(new Event("error"));
    this.dispatchEvent(new CloseEvent("close", { code, reason, wasClean }));
  }
}

for (const [name, value] of Object.entries({ CONNECTING, OPEN, CLOSING, CLOSED })) {
  Object.defineProperty(Socket.prototype, name, { value, enumerable: true });
}
Object.defineProperty(Socket.prototype, Symbol.toStringTag, { value: "WebSocket" });

/** Returns the code for a Close frame. A reason needs a code (RFC 6455 5.5.1), so the default for it is 1000. */
function reasonCode(code: number, reason: string): number {
  return code === NO_CODE && reason !== "" ? 1000 : code;
}

/** Returns a copy of a view's bytes. */
function bytesOf(view: ArrayBufferView): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
}

/** Returns a WebSocket class whose connections go to one server. */
export function webSocketOf(dialler: Dialler): typeof WebSocket {
  class Own extends Socket {
    /** @throws DOMException SyntaxError for a URL or a subprotocol that is not valid */
    constructor(...args: [url: string | URL, protocols?: string | string[]]) {
      checkCount("WebSocket", args);
      super(dialler, args[0], args[1] === undefined ? [] : args[1]);
    }
  }
  // The standard's constructor has one required argument.
  Object.defineProperties(Own, { name: { value: "WebSocket" }, length: { value: 1 } });
  return Own;
}
