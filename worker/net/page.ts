// Connections within a page: byte channels over message ports, from the page to the Web Worker that runs the engine.
//
// Invariant: like a kernel, a channel holds a limited number of bytes each way. Bytes of the engine's memory are copied
// before a write returns or reports its completion, so the ring may overwrite written bytes.

import { queueTask } from "../../host/shared/turn";
import type {
  Accept,
  ChannelMessage,
  Clock,
  Link,
  Listener,
  ReadQueues,
  Sink,
  Transport,
} from "./transport";

class PageLink implements Link {
  readonly remoteAddress = "";
  readonly #port: MessagePort;
  readonly #window: Uint8Array;
  readonly #limit: number;
  readonly #clock: Clock;
  #sink: Sink | undefined;
  /** Number of bytes in flight to the client, which has not received them. */
  #underWay = 0;
  /** The rest of the outstanding write: a view of the engine's memory. */
  #pending: Uint8Array | undefined;
  #endPending = false;
  /** Bytes from the client that the pump has not read. */
  readonly #arrived: Uint8Array[] = [];
  #peerEnded = false;
  #paused = false;
  #delivering = false;

  constructor(port: MessagePort, window: Uint8Array, limit: number, clock: Clock) {
    this.#port = port;
    this.#window = window;
    this.#limit = limit;
    this.#clock = clock;
  }

  /** Number of bytes that the client has not received. */
  get queued(): number {
    return this.#underWay;
  }

  attach(sink: Sink): void {
    this.#sink = sink;
    this.#port.onmessage = ({ data }: MessageEvent<ChannelMessage>) => this.#hear(data);
  }

  #hear(message: ChannelMessage): void {
    if (message instanceof ArrayBuffer) {
      this.#arrived.push(new Uint8Array(message));
      this.#deliver();
    } else if (typeof message === "number") {
      this.#underWay -= message;
      if (this.#pending) this.#goOn();
    } else if (message === "end") {
      this.#peerEnded = true;
      this.#deliver();
    } else {
      const sink = this.#leave();
      sink?.lost(new Error("ECONNRESET: the client has gone"));
    }
  }

  /** Continues the outstanding write after the client has received bytes. */
  #goOn(): void {
    this.#fill();
    if (this.#pending) return;
    if (this.#endPending) this.#post("end");
    this.#sink?.written();
  }

  #post(message: ChannelMessage): void {
    this.#port.postMessage(message);
  }

  /** Detaches the link and closes its port. @returns the sink that it had */
  #leave(): Sink | undefined {
    const sink = this.#sink;
    this.#sink = undefined;
    this.#pending = undefined;
    this.#arrived.length = 0;
    this.#port.onmessage = null;
    this.#port.close();
    return sink;
  }

  write(view: Uint8Array): boolean {
    if (!this.#sink) return false;
    this.#pending = view;
    this.#fill();
    return this.#pending === undefined;
  }

  #fill(): void {
    const pending = this.#pending;
    if (!pending) return;
    const n = Math.min(this.#limit - this.#underWay, pending.length);
    if (n > 0) {
      const copy = new Uint8Array(pending.subarray(0, n));
      this.#underWay += n;
      this.#port.postMessage(copy.buffer, [copy.buffer]);
    }
    this.#pending = n === pending.length ? undefined : pending.subarray(Math.max(0, n));
  }

  end(): void {
    if (this.#pending) this.#endPending = true;
    else this.#post("end");
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#clock.defer(() => this.#deliver());
  }

  destroy(): void {
    if (!this.#sink) return;
    this.#post("close");
    this.#leave();
  }

  reset(): void {
    if (!this.#sink) return;
    this.#post("reset");
    this.#leave();
  }

  /** Gives the pump the bytes that arrived, a window at a time, while it reads. */
  #deliver(): void {
    if (this.#delivering) return;
    this.#delivering = true;
    while (this.#sink && !this.#paused) {
      const first = this.#arrived[0];
      if (!first) break;
      const n = Math.min(first.length, this.#window.length);
      if (n === first.length) this.#arrived.shift();
      else this.#arrived[0] = first.subarray(n);
      this.#window.set(first.subarray(0, n));
      this.#sink.read(n);
      // The call may have ended the link.
      if (this.#sink) this.#post(n);
    }
    this.#delivering = false;
    if (this.#sink && !this.#paused && this.#peerEnded && this.#arrived.length === 0) {
      this.#peerEnded = false;
      this.#sink.ended();
    }
  }
}

/** The network of one page. */
export class PageNet implements Transport {
  readonly #clock: Clock;
  #accept: Accept | undefined;
  #window: Uint8Array | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  readonly queues: ReadQueues = (links, report) => {
    this.#clock.defer(() =>
      report(links.map((link) => ({ bytes: (link as PageLink).queued, answers: true }))),
    );
  };

  async listen(
    options: { hostname: string },
    window: Uint8Array,
    accept: Accept,
  ): Promise<Listener> {
    this.#window = window;
    this.#accept = accept;
    return {
      hostname: options.hostname,
      port: 0,
      close: () => {
        this.#accept = undefined;
      },
    };
  }

  /**
   * Accepts a client's channel. The channel is reset when no server listens or there is no room.
   * @param bufferBytes capacity of the channel each way
   */
  connect(port: MessagePort, bufferBytes: number): void {
    const accept = this.#accept;
    const window = this.#window;
    if (accept && window) {
      const link = new PageLink(port, window, bufferBytes, this.#clock);
      const sink = accept(link);
      if (sink) {
        link.attach(sink);
        return;
      }
    }
    port.postMessage("reset" satisfies ChannelMessage);
    port.close();
  }
}

/** Returns the real clock. A turn ends with the next task, because timers would take 4 ms. */
export function pageClock(): Clock {
  let deferred: (() => void)[] = [];
  const run = (): void => {
    const batch = deferred;
    deferred = [];
    for (const fn of batch) fn();
  };
  return {
    now: () => performance.now(),
    date: () => Date.now(),
    defer(fn) {
      deferred.push(fn);
      if (deferred.length === 1) queueTask(run);
    },
    after(ms, fn) {
      const timer = setTimeout(fn, ms);
      return () => clearTimeout(timer);
    },
  };
}
