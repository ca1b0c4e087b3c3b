// A scripted client that exchanges bytes. Its script decides what it sends, how that is split, and how fast it reads.
//
// Invariant: as with a kernel, at most its socket buffer is in flight from the server. The rest remains in the server,
// which sees a slow reader.

import type { MemorySocket } from "../../worker/net/memory";
import { concat } from "../shared/text/bytes";
import type { Size } from "../options/size";
import { show } from "../shared/text/show";
import { AnswerReader, type TestAnswer } from "./answer";
import { checkData, checkGroup, readBuffer } from "./check";
import type { Network } from "./network";

/** How bytes are split: into pieces of a length, at a list of offsets, or into pieces of random lengths. */
export type Split = number | readonly number[] | "random";

/** Options of `write`. */
export interface WriteOptions {
  /** How the bytes are split. Each piece arrives separately. Default: all at once. */
  readonly split?: Split;
}

/** Options of a connection. */
export interface SocketOptions {
  /** Bytes that the kernels buffer on the way to the client; default: the server's `socketBuffer`. */
  readonly socketBuffer?: Size;
  /** The client's address; default: the next of 10.0.0.0/8. */
  readonly remoteAddress?: string;
  /** `true`: the client keeps its side open when the server has ended its own. */
  readonly allowHalfOpen?: boolean;
}

/** Minimum interval in ms between two reads of a throttled client. It bounds the timers of a long test. */
const STEP = 10;

const encoder = new TextEncoder();
const NOTHING = new Uint8Array(0);

/** Splits bytes into pieces. @throws RangeError */
function* cut(bytes: Uint8Array, split: Split | undefined, network: Network) {
  if (split === undefined) {
    yield bytes;
    return;
  }
  if (typeof split === "number" && !(Number.isInteger(split) && split > 0))
    throw new RangeError(`split: ${split} is not a number of bytes from 1 on`);
  const offsets = typeof split === "object" ? [...split] : [];
  for (let at = 0; at < bytes.length; ) {
    let end = bytes.length;
    if (split === "random") end = at + 1 + network.random.size(bytes.length - at);
    else if (typeof split === "number") end = at + split;
    else end = offsets.find((offset) => offset > at) ?? end;
    yield bytes.subarray(at, end);
    at = end;
  }
}

/** A scripted client that exchanges bytes. */
export class TestSocket {
  /** @internal */
  static readonly name: string = "TestSocket";
  /** Number of the connection, from 1. */
  readonly number: number;
  /** @internal */
  protected readonly network: Network;
  readonly #socket: MemorySocket | undefined;
  readonly #allowHalfOpen: boolean;
  #parts: Uint8Array[] = [];
  #rate = Number.POSITIVE_INFINITY;
  #state: "open" | "ended" | "closed" | "reset" | "refused" = "open";
  #isLooking = false;
  #cancelStep: (() => void) | undefined;
  readonly #look = (): void => {
    this.#isLooking = false;
    this.#readOn();
  };

  /** @internal */
  constructor(network: Network, options: SocketOptions = {}) {
    this.check(options);
    this.network = network;
    this.number = network.register(this);
    this.#allowHalfOpen = options.allowHalfOpen ?? false;
    const { remoteAddress } = options;
    const socketBuffer = readBuffer(options.socketBuffer, network.socketBuffer);
    const isListening = network.net.listening;
    this.#socket = network.net.connect(socketBuffer, remoteAddress);
    if (this.#socket) this.#socket.notify = () => this.#note();
    else this.#state = isListening ? "closed" : "refused";
  }

  /** @internal Checks the options before they are used. @throws TypeError */
  protected check(options: SocketOptions): void {
    checkGroup("socket", options);
  }

  /** @internal False while a handshake is read, which ignores throttling. */
  protected get isGreeted(): boolean {
    return true;
  }

  /**
   * State of the connection. "open". "ended": the server has ended its side, and everything was read. "closed": both
   * sides have ended, in order. "reset": the connection was reset, and unread bytes are lost (visible at once, though a
   * paused client would not notice). "refused": no server was listening.
   */
  get state(): "open" | "ended" | "closed" | "reset" | "refused" {
    return this.#socket?.gone === "reset" ? "reset" : this.#state;
  }

  /** Bytes that have arrived and were not read. */
  get available(): number {
    return this.#socket?.available ?? 0;
  }

  /** Bytes that were sent and that the server has not read. */
  get unread(): number {
    return this.#socket?.unread ?? 0;
  }

  // ---- sending -----------------------------------------------------------------------------------------

  /** Sends bytes, strings as UTF-8. The server reads each piece separately. */
  write(data: string | Uint8Array, options: WriteOptions = {}): this {
    checkData("write", data);
    checkGroup("write", options);
    const { split } = options;
    const bytes = typeof data === "string" ? encoder.encode(data) : data;
    for (const piece of cut(bytes, split, this.network)) this.#socket?.send(piece);
    return this;
  }

  /** Ends the client's side (FIN) after what was sent. */
  end(): this {
    this.#socket?.end();
    return this;
  }

  /** Resets the connection. Bytes in flight are lost in both directions. */
  reset(): this {
    this.#socket?.reset();
    if (this.#state !== "closed" && this.#state !== "refused") this.#finish("reset");
    return this;
  }

  // ---- reading -----------------------------------------------------------------------------------------

  /** Stops reading, so the server's writes back up once the socket buffer is full. Handshakes are still read. */
  pause(): this {
    return this.throttle(0);
  }

  /** Resumes reading everything at once. */
  resume(): this {
    return this.throttle(Number.POSITIVE_INFINITY);
  }

  /**
   * Reads at a limited rate in bytes per second; 0: nothing. A WebSocket's handshake is read at once in any case.
   * @throws TypeError, RangeError
   */
  throttle(bytesPerSecond: number): this {
    if (typeof bytesPerSecond !== "number")
      throw new TypeError(
        `throttle: ${show(bytesPerSecond)} is not a number of bytes a second, from 0 on`,
      );
    if (!(bytesPerSecond >= 0))
      throw new RangeError(
        `throttle: ${bytesPerSecond} is not a number of bytes a second, from 0 on`,
      );
    this.#rate = bytesPerSecond;
    this.#cancelStep?.();
    this.#cancelStep = undefined;
    this.#note();
    return this;
  }

  /** Reads up to `limit` bytes of what has arrived, even if the client is paused. */
  read(limit = Number.POSITIVE_INFINITY): this {
    if (typeof limit !== "number" || !(limit >= 0))
      throw new RangeError(`read: ${show(limit)} is not a number of bytes, from 0 on`);
    const socket = this.#socket;
    if (socket && socket.available > 0 && limit > 0) this.arrived(socket.read(limit));
    this.#lookForEnd();
    return this;
  }

  /** The bytes that were read and not taken. */
  get received(): Uint8Array {
    if (this.#parts.length !== 1) this.#parts = [concat(this.#parts)];
    return this.#parts[0] ?? NOTHING;
  }

  /** The bytes that were read and not taken, as text. */
  get text(): string {
    return new TextDecoder().decode(this.received);
  }

  /** Returns the bytes that were read and not taken, and drops them. */
  take(): Uint8Array {
    const { received } = this;
    this.#parts = [];
    return received;
  }

  /**
   * Returns the complete responses in the bytes that were read and not taken.
   * @param methods the requests' methods in order, because responses to HEAD have no body
   * @throws Error when the bytes are not a response
   */
  answers(methods: readonly string[] = []): TestAnswer[] {
    const reader = new AnswerReader(methods);
    reader.push(this.received);
    if (this.#state !== "open") reader.close();
    return reader.answers;
  }

  /** Schedules a look at the socket after the server's run, because bytes arrived or the connection ended. */
  #note(): void {
    if (this.#isLooking) return;
    this.#isLooking = true;
    this.network.clock.defer(this.#look);
  }

  #readOn(): void {
    const socket = this.#socket;
    if (!socket || this.#state === "reset") return;
    while (!this.isGreeted && socket.available > 0) this.arrived(socket.read(1));
    if (this.#rate === Number.POSITIVE_INFINITY) {
      if (socket.available > 0) this.arrived(socket.read());
    } else if (this.#rate > 0 && socket.available > 0) {
      this.#cancelStep ??= this.network.clock.after(this.#stepTime, () => this.#step());
    }
    // A client that does not read does not notice the end.
    if (this.#rate > 0) this.#lookForEnd();
  }

  get #stepTime(): number {
    return Math.max(STEP, Math.ceil(1000 / this.#rate));
  }

  /** Reads the share of a throttled client for one interval. */
  #step(): void {
    this.#cancelStep = undefined;
    const socket = this.#socket;
    if (!socket) return;
    const share = Math.max(1, Math.floor((this.#rate * this.#stepTime) / 1000));
    if (socket.available > 0) this.arrived(socket.read(share));
    this.#readOn();
  }

  #lookForEnd(): void {
    const socket = this.#socket;
    if (!socket) return;
    if (socket.gone === "reset") this.#finish("reset");
    else if (socket.available === 0) {
      if (socket.gone === "closed") this.#finish("closed");
      else if (socket.ended && this.#state === "open") {
        this.#state = "ended";
        this.ended();
        if (!this.#allowHalfOpen) this.end();
      }
    }
  }

  #finish(state: "closed" | "reset"): void {
    if (this.#state === state) return;
    const isNews = this.#state === "open";
    this.#state = state;
    this.#cancelStep?.();
    this.#cancelStep = undefined;
    if (isNews) this.ended();
  }

  /** @internal Called with bytes that were read. */
  protected arrived(bytes: Uint8Array): void {
    this.#parts.push(bytes);
  }

  /** @internal Called when the server's side has ended, in order or by a reset. */
  protected ended(): void {}

  /** Returns what the client received, as lines. */
  describe(): string[] {
    return [`${this.received.length} bytes, ${this.state}`];
  }
}
