// Upstreams over Node's streams: TCP and Unix sockets that are connected here, or any duplex stream.
//
// Invariant: each write is followed by at most one `written`. The loss is reported once, and nothing after it or after
// `destroy` and `reset`. All events come later than the call of the upstream's that causes them.

import * as net from "node:net";
import type { Duplex } from "node:stream";
import { isShuttingDown, writeTo } from "../stream";
import type { ConnectUpstream, Upstream, UpstreamAddress, UpstreamSink } from "../transport";

/** Returns true for a connected TCP socket, which alone can be reset. */
function canReset(stream: Duplex): stream is net.Socket {
  return stream instanceof net.Socket && stream.remoteFamily !== undefined;
}

class StreamUpstream implements Upstream {
  readonly #stream: Duplex;
  #sink: UpstreamSink | undefined;
  readonly #written = (error?: Error | null): void => {
    if (!error) this.#sink?.written();
  };

  constructor(stream: Duplex, sink: UpstreamSink) {
    this.#stream = stream;
    this.#sink = sink;
    stream.on("data", (bytes: Uint8Array) => this.#sink?.received(bytes));
    stream.on("end", () => this.#sink?.ended());
    // The listener stays, because an error without one ends the process.
    stream.on("error", (error) => this.#lose(error));
    stream.on("close", () => this.#lose(undefined));
  }

  #lose(error: Error | undefined): void {
    const sink = this.#sink;
    this.#sink = undefined;
    sink?.lost(error);
  }

  write(bytes: Uint8Array): boolean {
    const stream = this.#stream;
    // The loss is about to be reported.
    return !stream.destroyed && writeTo(stream, bytes, this.#written);
  }

  end(): void {
    this.#stream.end();
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  destroy(): void {
    this.#sink = undefined;
    this.#stream.destroy();
  }

  reset(): void {
    this.#sink = undefined;
    const stream = this.#stream;
    if (canReset(stream) && !isShuttingDown(stream)) stream.resetAndDestroy();
    else stream.destroy();
  }
}

/** Returns the upstream of a stream that is connected. The caller reports that it is open. */
export function streamUpstream(stream: Duplex, sink: UpstreamSink): Upstream {
  return new StreamUpstream(stream, sink);
}

/** Returns the function that connects with a TCP or Unix socket. */
export function connectTo(address: UpstreamAddress): ConnectUpstream {
  return (sink) => {
    const socket = net.connect({ ...address, allowHalfOpen: true, noDelay: true });
    socket.on("connect", () => sink.opened());
    return new StreamUpstream(socket, sink);
  };
}
