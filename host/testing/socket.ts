// A client of bytes: it sends what its script says, cut as it says, and reads at its own pace.
//
// Invariant: like a kernel, what lies between the server and it is at most its socket buffer; the rest stays with the
// server, which sees a slow reader.

import type { MemorySocket } from "../../worker/net/memory";
import { concat } from "../shared/text/bytes";
import type { Size } from "../options/size";
import { show } from "../shared/text/show";
import { AnswerReader, type TestAnswer } from "./answer";
import { checkData, checkGroup, readBuffer } from "./check";
import type { Network } from "./network";

/** How bytes are cut: pieces of so many bytes, cuts at these offsets, or pieces of random sizes. */
export type Split = number | readonly number[] | "random";

/** Options of `write`. */
export interface WriteOptions {
  /** Each piece arrives by itself; default: all at once. */
  readonly split?: Split;
}

/** Options of a connection. */
export interface SocketOptions {
  /** Bytes that the kernels hold on the way to the client; default: those of the server. */
  readonly socketBuffer?: Size;
  /** Default: the next of 10.0.0.0/8. */
  readonly remoteAddress?: string;
  /** true: it does not end its side when the server has ended its own. */
  readonly allowHalfOpen?: boolean;
}

/** ms between two reads of a slow reader, at least. */
const STEP = 10;

const encoder = new TextEncoder();
const NOTHING = new Uint8Array(0);

/** Bytes cut into pieces. @throws RangeError */
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

/** A client of bytes that is a script. */
export class TestSocket {
  /** @internal */
  static readonly name: string = "TestSocket";
  /** Number of the connection, from 1 on. */
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

  /** @internal Judges the options before anything is done with them. @throws TypeError */
  protected check(options: SocketOptions): void {
    checkGroup("socket", options);
  }

  /** @internal True while everything is read as it comes, whatever the pace. */
  protected get isGreeted(): boolean {
    return true;
  }

  /**
   * "open"; "ended": the server has ended its side, and all was read; "closed": gone, in order; "reset": gone, what
   * was not read is lost (told at once, though a client that has stopped reading does not notice); "refused": nobody
   * listened.
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

  /** Sends bytes, strings as UTF-8. Each piece is a read of the server's. */
  write(data: string | Uint8Array, options: WriteOptions = {}): this {
    checkData("write", data);
    checkGroup("write", options);
    const { split } = options;
    const bytes = typeof data === "string" ? encoder.encode(data) : data;
    for (const piece of cut(bytes, split, this.network)) this.#socket?.send(piece);
    return this;
  }

  /** Ends its side, behind what was sent. */
  end(): this {
    this.#socket?.end();
    return this;
  }

  /** Ends with a reset: what is on its way is lost, either way. */
  reset(): this {
    this.#socket?.reset();
    if (this.#state !== "closed" && this.#state !== "refused") this.#finish("reset");
    return this;
  }

  // ---- reading -----------------------------------------------------------------------------------------

  /** Stops reading: the server's writes back up behind the socket buffer. A WebSocket's handshake is still read. */
  pause(): this {
    return this.throttle(0);
  }

  /** Reads whatever arrives, at once. */
  resume(): this {
    return this.throttle(Number.POSITIVE_INFINITY);
  }

  /**
   * Reads so many bytes a second; 0: none. A WebSocket's handshake is read at once all the same.
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

  /** Reads up to `limit` bytes of what has arrived, now: for a client that has stopped reading by itself. */
  read(limit = Number.POSITIVE_INFINITY): this {
    if (typeof limit !== "number" || !(limit >= 0))
      throw new RangeError(`read: ${show(limit)} is not a number of bytes, from 0 on`);
    const socket = this.#socket;
    if (socket && socket.available > 0 && limit > 0) this.arrived(socket.read(limit));
    this.#lookForEnd();
    return this;
  }

  /** All bytes that were read and not taken. */
  get received(): Uint8Array {
    if (this.#parts.length !== 1) this.#parts = [concat(this.#parts)];
    return this.#parts[0] ?? NOTHING;
  }

  /** The same, as text. */
  get text(): string {
    return new TextDecoder().decode(this.received);
  }

  /** Takes what was read, and forgets it. */
  take(): Uint8Array {
    const { received } = this;
    this.#parts = [];
    return received;
  }

  /**
   * The answers among what was read and not taken.
   * @param methods of the requests, in their order: those to HEAD have no body @throws Error for what is no answer
   */
  answers(methods: readonly string[] = []): TestAnswer[] {
    const reader = new AnswerReader(methods);
    reader.push(this.received);
    if (this.#state !== "open") reader.close();
    return reader.answers;
  }

  /** Something has arrived, or ended: looked at when the server's run is over. */
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
    // Who does not read does not notice.
    if (this.#rate > 0) this.#lookForEnd();
  }

  get #stepTime(): number {
    return Math.max(STEP, Math.ceil(1000 / this.#rate));
  }

  /** A slow reader takes its share. */
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

  /** @internal Bytes were read. */
  protected arrived(bytes: Uint8Array): void {
    this.#parts.push(bytes);
  }

  /** @internal The server's side has ended, one way or another. */
  protected ended(): void {}

  /** What it got, a line each. */
  describe(): string[] {
    return [`${this.received.length} bytes, ${this.state}`];
  }
}
