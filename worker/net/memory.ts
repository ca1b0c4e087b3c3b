// Sockets in memory under a virtual clock, for tests and for servers that need no port.
//
// Invariant: like a kernel, a socket takes what fits into its buffer and no more. Like Node, a write that did not fit
// keeps reading the writer's memory until it fits, so a test sees a ring that overwrites too early. Nothing happens by
// itself, because time moves only when `advance` is called.

import type {
  Accept,
  Clock,
  Link,
  Listener,
  ReadQueues,
  SendQueue,
  Sink,
  Transport,
} from "./transport";

interface Timer {
  at: number;
  sequence: number;
  /** The callback; undefined when the timer was cancelled or has run. */
  fn: (() => void) | undefined;
}

function isBefore(a: Timer, b: Timer): boolean {
  return a.at < b.at || (a.at === b.at && a.sequence < b.sequence);
}

/** A binary heap of timers, the next one first. Cancelled timers are dropped when they reach the top. */
class Timers {
  readonly #heap: Timer[] = [];

  add(timer: Timer): void {
    const heap = this.#heap;
    let i = heap.length;
    heap.push(timer);
    while (i > 0) {
      const up = (i - 1) >> 1;
      const parent = heap[up] as Timer;
      if (!isBefore(timer, parent)) break;
      heap[i] = parent;
      i = up;
    }
    heap[i] = timer;
  }

  /** The next timer that is not cancelled. */
  get first(): Timer | undefined {
    while (this.#heap.length > 0 && (this.#heap[0] as Timer).fn === undefined) this.take();
    return this.#heap[0];
  }

  /** Removes the first timer. */
  take(): void {
    const heap = this.#heap;
    const last = heap.pop();
    const count = heap.length;
    if (!last || count === 0) return;
    let i = 0;
    for (;;) {
      let down = 2 * i + 1;
      if (down >= count) break;
      if (down + 1 < count && isBefore(heap[down + 1] as Timer, heap[down] as Timer)) down++;
      if (!isBefore(heap[down] as Timer, last)) break;
      heap[i] = heap[down] as Timer;
      i = down;
    }
    heap[i] = last;
  }
}

/** A clock that moves only when it is advanced. */
export class VirtualClock implements Clock {
  #now = 0;
  #sequence = 0;
  #deferred: (() => void)[] = [];
  #running = false;
  readonly #timers = new Timers();
  /** Called when work is deferred while `run` is not running. */
  onWork: (() => void) | undefined;
  /** Wall-clock time (Unix ms) at `now` 0. It may be changed, as a wall clock may be set. */
  epoch = 1767225600000;

  now(): number {
    return this.#now;
  }

  date(): number {
    return this.epoch + this.#now;
  }

  defer(fn: () => void): void {
    this.#deferred.push(fn);
    if (!this.#running && this.#deferred.length === 1) this.onWork?.();
  }

  after(ms: number, fn: () => void): () => void {
    const timer: Timer = { at: this.#now + ms, sequence: this.#sequence++, fn };
    this.#timers.add(timer);
    return () => {
      timer.fn = undefined;
    };
  }

  /** True when nothing is deferred, so `run` would do nothing. */
  get idle(): boolean {
    return this.#deferred.length === 0;
  }

  /** Time (ms) of the next timer; Infinity when there is none. */
  get next(): number {
    return this.#timers.first?.at ?? Number.POSITIVE_INFINITY;
  }

  /** Runs deferred work until there is none. @returns false when there was none */
  run(): boolean {
    let ran = false;
    this.#running = true;
    try {
      for (let turns = 0; this.#deferred.length > 0; turns++) {
        if (turns > 100000) throw new Error("the deferred work never ends");
        const batch = this.#deferred;
        this.#deferred = [];
        for (const fn of batch) fn();
        ran = true;
      }
    } finally {
      this.#running = false;
    }
    return ran;
  }

  /** Moves time to the next timer, at most to `end`, and runs it. @returns false when there is none by then */
  step(end: number): boolean {
    const { first } = this.#timers;
    if (!first || first.at > end) {
      this.#now = Math.max(this.#now, end);
      return false;
    }
    this.#timers.take();
    this.#now = Math.max(this.#now, first.at);
    const { fn } = first;
    first.fn = undefined;
    fn?.();
    return true;
  }

  /** Moves time by `ms`, as when the machine was suspended. Timers due by then run late, with the next `advance`. */
  jump(ms: number): void {
    this.#now += ms;
  }

  /** Moves time by `ms` and runs the timers in their order. */
  advance(ms: number): void {
    const end = this.#now + ms;
    this.run();
    while (this.step(end)) this.run();
  }
}

/** The client's end of a connection. */
export interface MemorySocket {
  /** Sends bytes. The server reads them in pieces of at most its window. */
  send(bytes: Uint8Array): void;
  /** Takes up to `limit` bytes that have arrived. */
  read(limit?: number): Uint8Array;
  /** Number of bytes that have arrived and were not read. */
  readonly available: number;
  /** Half-closes. */
  end(): void;
  /** Breaks the connection. @param code of the server's error; default "ECONNRESET", as if the client had reset it */
  reset(code?: string): void;
  /** Removes the client's machine from the network: its kernel no longer answers. */
  unplug(): void;
  /** True when the server has half-closed and everything was read. */
  readonly ended: boolean;
  /** How the connection ended, "" while it is open. "reset": unread bytes are lost. */
  readonly gone: "" | "closed" | "reset";
  /** Number of bytes sent that the server has not read. */
  readonly unread: number;
  /**
   * Called during the server's own run when bytes have arrived or the server's side has ended. It must not call into
   * the server or this socket, so it only takes note and defers its work.
   */
  notify: (() => void) | undefined;
}

/** Sizes of the buffers between the ends of a pair. */
interface PairSizes {
  readonly bufferBytes: number;
  /** Bytes that must be free before a pending write continues. Linux wakes a writer when a third is free. */
  readonly lumpBytes: number;
}

/** A link whose send queue can be read. */
export interface MeasuredLink extends Link {
  readonly queue: SendQueue;
}

class Pair implements MeasuredLink {
  readonly remoteAddress: string;
  readonly #limit: number;
  readonly #lump: number;
  readonly #clock: VirtualClock;
  readonly #window: Uint8Array;
  #sink: Sink | undefined;
  /** Bytes in the kernel on the way to the client. */
  #arrived: Uint8Array[] = [];
  #arrivedBytes = 0;
  /** The rest of the server's outstanding write: a view of its memory. */
  #pending: Uint8Array | undefined;
  #endPending = false;
  #serverEnded = false;
  /** Bytes in the kernel on the way to the server. */
  #sent: Uint8Array[] = [];
  unread = 0;
  notify: (() => void) | undefined;
  isUnplugged = false;
  #clientEnded = false;
  #endReported = false;
  #paused = false;
  #delivering = false;
  readonly #deliver = (): void => this.deliver();
  readonly #written = (): void => this.#sink?.written();
  gone: "" | "closed" | "reset" = "";

  constructor(
    address: string,
    { bufferBytes, lumpBytes }: PairSizes,
    clock: VirtualClock,
    window: Uint8Array,
  ) {
    this.remoteAddress = address;
    this.#limit = bufferBytes;
    this.#lump = lumpBytes;
    this.#clock = clock;
    this.#window = window;
  }

  attach(sink: Sink): void {
    this.#sink = sink;
  }

  // The server's end.

  write(view: Uint8Array): boolean {
    if (this.#pending) throw new Error("a write is outstanding already");
    if (this.#serverEnded || this.#endPending) throw new Error("written after the end");
    // The client has reset; the server receives `lost` in a moment.
    if (this.gone) return false;
    this.#pending = view;
    this.#fill();
    this.notify?.();
    return this.#pending === undefined;
  }

  #fill(): void {
    const pending = this.#pending;
    if (!pending) return;
    const n = this.#accept(pending);
    this.#pending = n === pending.length ? undefined : pending.subarray(n);
  }

  /** Puts bytes into the buffer, as many as it has room for. @returns their number */
  #accept(bytes: Uint8Array): number {
    const n = Math.min(this.#limit - this.#arrivedBytes, bytes.length);
    if (n > 0) {
      // `slice` of a Buffer would share its memory.
      this.#arrived.push(new Uint8Array(bytes.subarray(0, n)));
      this.#arrivedBytes += n;
    }
    return n;
  }

  writeSome(view: Uint8Array): number {
    if (this.#pending) throw new Error("a write is outstanding already");
    if (this.#serverEnded || this.#endPending) throw new Error("written after the end");
    if (this.gone) return 0;
    const n = this.#accept(view);
    this.notify?.();
    return n;
  }

  end(): void {
    if (this.#pending) this.#endPending = true;
    else this.#serverEnded = true;
    this.notify?.();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#clock.defer(this.#deliver);
  }

  destroy(): void {
    if (this.gone) return;
    this.gone = "closed";
    this.#pending = undefined;
    this.#serverEnded = true;
    this.#sink = undefined;
    this.notify?.();
  }

  reset(): void {
    if (this.gone) return;
    this.gone = "reset";
    this.#arrived = [];
    this.#arrivedBytes = 0;
    this.#pending = undefined;
    this.#sink = undefined;
    this.notify?.();
  }

  /** Bytes that the client has not read. A client in memory acknowledges bytes by reading them. */
  get queue(): SendQueue {
    return { bytes: this.#arrivedBytes, answers: !this.isUnplugged };
  }

  // The client's end.

  get available(): number {
    return this.#arrivedBytes;
  }

  get ended(): boolean {
    return this.#serverEnded && this.#arrivedBytes === 0;
  }

  send(bytes: Uint8Array): void {
    if (this.gone || this.#clientEnded) return;
    this.#sent.push(new Uint8Array(bytes));
    this.unread += bytes.length;
    this.#clock.defer(this.#deliver);
  }

  read(limit = Number.POSITIVE_INFINITY): Uint8Array {
    const parts: Uint8Array[] = [];
    let taken = 0;
    while (this.#arrived.length > 0 && taken < limit) {
      const first = this.#arrived[0] as Uint8Array;
      const n = Math.min(first.length, limit - taken);
      parts.push(first.subarray(0, n));
      taken += n;
      if (n === first.length) this.#arrived.shift();
      else this.#arrived[0] = first.subarray(n);
    }
    this.#arrivedBytes -= taken;
    const isFree = this.#limit - this.#arrivedBytes >= this.#lump;
    if (taken > 0 && this.#pending && isFree) {
      this.#fill();
      this.notify?.();
      if (!this.#pending) {
        if (this.#endPending) this.#serverEnded = true;
        this.#clock.defer(this.#written);
      }
    }
    // The bytes here are copies already.
    if (parts.length === 1) return parts[0] as Uint8Array;
    const out = new Uint8Array(taken);
    let at = 0;
    for (const part of parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  }

  endClient(): void {
    if (this.gone || this.#clientEnded) return;
    this.#clientEnded = true;
    this.#clock.defer(this.#deliver);
  }

  resetClient(code: string): void {
    if (this.gone) return;
    this.gone = "reset";
    this.#pending = undefined;
    const sink = this.#sink;
    this.#sink = undefined;
    this.#clock.defer(() => sink?.lost(Object.assign(new Error(code), { code })));
  }

  /** Gives the server the bytes sent, a window at a time, while it reads. */
  deliver(): void {
    if (this.#delivering) return;
    this.#delivering = true;
    while (this.#sink && !this.#paused && this.#sent.length > 0) {
      const first = this.#sent[0] as Uint8Array;
      const n = Math.min(first.length, this.#window.length);
      if (n === first.length) this.#sent.shift();
      else this.#sent[0] = first.subarray(n);
      this.#window.set(first.subarray(0, n));
      this.unread -= n;
      this.#sink.read(n);
    }
    this.#delivering = false;
    if (
      this.#sink &&
      !this.#paused &&
      this.#clientEnded &&
      !this.#endReported &&
      this.#sent.length === 0
    ) {
      this.#endReported = true;
      this.#sink.ended();
    }
  }
}

/** The client's end of a pair. */
class Client implements MemorySocket {
  readonly #pair: Pair;

  constructor(pair: Pair) {
    this.#pair = pair;
  }

  send(bytes: Uint8Array): void {
    this.#pair.send(bytes);
  }

  read(limit?: number): Uint8Array {
    return this.#pair.read(limit);
  }

  end(): void {
    this.#pair.endClient();
  }

  reset(code = "ECONNRESET"): void {
    this.#pair.resetClient(code);
  }

  unplug(): void {
    this.#pair.isUnplugged = true;
  }

  get available(): number {
    return this.#pair.available;
  }

  get ended(): boolean {
    return this.#pair.ended;
  }

  get gone(): "" | "closed" | "reset" {
    return this.#pair.gone;
  }

  get unread(): number {
    return this.#pair.unread;
  }

  set notify(fn: (() => void) | undefined) {
    this.#pair.notify = fn;
  }

  get notify(): (() => void) | undefined {
    return this.#pair.notify;
  }
}

/** A network of one server. */
export class MemoryNet implements Transport {
  readonly #clock: VirtualClock;
  #accept: Accept | undefined;
  #window: Uint8Array | undefined;
  #next = 1;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  /** Reads the queues exactly, and reports them in a moment. */
  readonly queues: ReadQueues = (links, report) => {
    this.#clock.defer(() => report(links.map((link) => (link as MeasuredLink).queue)));
  };

  async listen(_options: unknown, window: Uint8Array, accept: Accept): Promise<Listener> {
    return this.open(window, accept);
  }

  /** Starts to listen. */
  open(window: Uint8Array, accept: Accept): Listener {
    this.#window = window;
    this.#accept = accept;
    return {
      hostname: "memory",
      port: 0,
      close: () => {
        this.#accept = undefined;
      },
    };
  }

  /** True while a server listens. */
  get listening(): boolean {
    return this.#accept !== undefined;
  }

  /**
   * Connects.
   * @param bufferBytes capacity of the kernels' buffers on the way to the client
   * @param address the client's; the next of 10.0.0.0/8 by default
   * @param lumpBytes of them that must be free before a pending write continues; 0: it continues at once
   * @returns undefined when no server listens or there is no room; a socket that was reset when it was refused
   */
  connect(bufferBytes = 65536, address?: string, lumpBytes = 0): MemorySocket | undefined {
    const accept = this.#accept;
    const window = this.#window;
    if (!accept || !window) return undefined;
    const n = this.#next++;
    const from = address ?? `10.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`;
    const pair = new Pair(from, { bufferBytes, lumpBytes }, this.#clock, window);
    const sink = accept(pair);
    if (!sink) return pair.gone === "reset" ? new Client(pair) : undefined;
    pair.attach(sink);
    return new Client(pair);
  }
}
