// Node's `net`. Reads go straight into the engine's receive window where the platform lets them
// (`onread` over the accepted handle); else 'data' events are copied into it.
//
// Invariant: `written` is told exactly once for a write that was not through on return. Where Node lets it be,
// a write goes to the socket's handle itself: whether the kernel took all of it shows in the request, which is
// unused then. Else, and for a handle's first write, it goes through the stream: `writableLength` is 0 on return when
// it was through; otherwise an empty write is queued behind it, and its callback is the completion. A write
// is never begun while another is outstanding. 'drain' is silent below the high-water mark and never relied on.

import * as net from "node:net";
import * as tls from "node:tls";
import { getSystemErrorMap } from "node:util";
import type { Accept, Clock, Link, Listener, ListenOptions, Sink, Transport } from "../net";

const EMPTY = new Uint8Array(0);

/** A socket's handle, as Node has it: undocumented, so each part of it is tested for. */
interface Handle {
  /** @returns 0, or a negative error number. What the kernel does not take at once is completed by `request`. */
  writeBuffer?(request: WriteRequest, bytes: Uint8Array): number;
  /** Bytes that were not written yet. */
  readonly writeQueueSize?: number;
}

interface WriteRequest {
  /**
   * −1 while no write is under way by it. The length of the handle's queue does not tell: libuv tries once more before
   * it queues, and may get rid of everything; the request is in use all the same until its completion is told.
   */
  getAsyncId?(): number;
  oncomplete?: (status: number) => void;
  /** Kept from being collected. */
  buffer?: Uint8Array;
}

interface Handled {
  _handle?: Handle | null;
}

/** Node's class of write requests, once a first write through the stream has shown it. */
let Request: (new () => WriteRequest) | undefined;
/** For the next write: one that is through on return leaves it unused. */
let spare: WriteRequest = {};
/** Requests tell whether they are in use; where they do not, writes go through the stream. */
let isTold = true;

/** Learns the class of write requests from a write that is being made. */
function learn(handle: Handle, write: () => void): void {
  const { writeBuffer } = handle;
  handle.writeBuffer = (request, bytes) => {
    Request = request.constructor as new () => WriteRequest;
    return (writeBuffer as NonNullable<Handle["writeBuffer"]>).call(handle, request, bytes);
  };
  try {
    write();
  } finally {
    // What it inherits shows again.
    delete handle.writeBuffer;
  }
  if (!Request) return;
  spare = new Request();
  isTold = spare.getAsyncId?.() === -1;
}

class NodeLink implements Link {
  readonly remoteAddress: string;
  readonly #socket: net.Socket & Handled;
  /** Writes may go to the handle itself. */
  readonly #direct: boolean;
  #sink: Sink | undefined;
  readonly #written = (): void => {
    this.#sink?.written();
  };

  constructor(socket: net.Socket, direct: boolean) {
    this.#socket = socket;
    this.#direct = direct;
    this.remoteAddress = socket.remoteAddress ?? "";
    socket.on("error", (error: Error) => this.#lose(error));
    socket.on("close", () => this.#lose(undefined));
    socket.on("end", () => this.#sink?.ended());
  }

  attach(sink: Sink): void {
    this.#sink = sink;
  }

  #lose(error: Error | undefined): void {
    const sink = this.#sink;
    this.#sink = undefined;
    sink?.lost(error);
  }

  write(view: Uint8Array): boolean {
    if (this.#socket.destroyed) return false;
    const handle = this.#direct && isTold ? this.#socket._handle : undefined;
    if (!handle) return this.#stream(view);
    if (Request === undefined) {
      let isThrough = false;
      learn(handle, () => {
        isThrough = this.#stream(view);
      });
      return isThrough;
    }
    const error = (handle.writeBuffer as NonNullable<Handle["writeBuffer"]>)(spare, view);
    if (error !== 0) {
      this.#socket.destroy(writeError(error));
      return false;
    }
    if (spare.getAsyncId?.() === -1) return true;
    spare.buffer = view;
    spare.oncomplete = this.#completed;
    spare = new Request();
    return false;
  }

  /** Told by the handle that a write is complete, or has failed. */
  readonly #completed = (status: number): void => {
    if (status >= 0) this.#sink?.written();
    else if (this.#sink) this.#socket.destroy(writeError(status));
  };

  #stream(view: Uint8Array): boolean {
    const socket = this.#socket;
    socket.write(view);
    if (socket.writableLength === 0) return true;
    socket.write(EMPTY, this.#written);
    return false;
  }

  end(): void {
    this.#socket.end();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  destroy(): void {
    this.#sink = undefined;
    this.#socket.destroy();
  }

  reset(): void {
    this.#sink = undefined;
    const socket = this.#socket;
    if (isShuttingDown(socket)) {
      socket.destroy();
    } else if (socket instanceof tls.TLSSocket) {
      // TLS has copied what was written, so nothing of the engine's memory is read any more. The socket ends
      // with the one below; ended here as well, within a callback of its own, it crashes the process.
      const parent = (socket as unknown as { _parent?: net.Socket })._parent;
      if (parent && !parent.destroyed) parent.resetAndDestroy();
      else socket.destroy();
    } else if (socket.remoteFamily === undefined) {
      // A Unix socket knows no reset.
      socket.destroy();
    } else {
      socket.resetAndDestroy();
    }
  }
}

/**
 * True between the last byte that the kernel took and its FIN. A reset is refused then (EINVAL), and the
 * handle that asked for it is never closed: it leaks, and a worker that has it cannot be ended. Nothing
 * of the engine's memory is read any more, so that closing will do.
 */
function isShuttingDown(socket: net.Socket): boolean {
  return socket.writableEnded && socket.writableLength === 0 && !socket.writableFinished;
}

/**
 * Node's sockets.
 * @param onread false: read by 'data' events even where `onread` works (tests run both)
 * @param descriptors that this process may have
 */
export function nodeTransport(onread = true, descriptors = Number.POSITIVE_INFINITY): Transport {
  return {
    ...(isBun ? { maxRunBytes: COPIED_BYTES } : {}),
    listen(options, window, accept, failed) {
      const scarcity = new Scarcity(descriptors, failed);
      const taking = (socket: net.Socket): void => scarcity.look(socket);
      return listen(options, window, accept, failed, taking, onread && !isBun);
    },
  };
}

/** Descriptors left at which that is told, and at which it may be told again. */
const FEW = 16;
const PLENTY = 64;

/**
 * Tells that descriptors run out while there still are some: without any, libuv closes new connections at once,
 * and tells nobody. A descriptor is the lowest number that is free, so the one of an accepted socket says how many
 * there are left at most.
 */
class Scarcity {
  readonly #limit: number;
  readonly #failed: (error: Error) => void;
  #isTold = false;

  constructor(limit: number, failed: (error: Error) => void) {
    this.#limit = limit;
    this.#failed = failed;
  }

  look(socket: net.Socket): void {
    const fd = (socket as unknown as { _handle?: { fd?: number } | null })._handle?.fd ?? -1;
    const left = this.#limit - 1 - fd;
    if (left > PLENTY) this.#isTold = false;
    if (left > FEW || this.#isTold) return;
    this.#isTold = true;
    this.#failed(
      new Error(
        `at most ${left} of this process's ${this.#limit} file descriptors are left (ulimit -n); ` +
          "without any, new connections are closed at once",
      ),
    );
  }
}

/** Bun's sockets have no handle to give away, and copy what the kernel does not take at once. */
const isBun = "bun" in process.versions;
/** Longest run where writes are copied. */
const COPIED_BYTES = 65536;

function writeError(errno: number): Error {
  const [code, text] = getSystemErrorMap().get(errno) ?? [`error ${errno}`, "the write failed"];
  return Object.assign(new Error(`write ${code}: ${text}`), { code, errno, syscall: "write" });
}

/** True where a handle's own writes are what they are in Node. */
function isDirect(handle: Handle): boolean {
  return (
    !("deno" in process.versions) &&
    typeof handle.writeBuffer === "function" &&
    handle.writeQueueSize === 0
  );
}

/** A net or TLS server that gives its connections to `accept`. */
function createServer(
  options: ListenOptions,
  window: Uint8Array,
  accept: Accept,
  taking: (socket: net.Socket) => void,
  onread: boolean,
): net.Server {
  const common = {
    allowHalfOpen: true,
    noDelay: options.noDelay,
    keepAlive: options.keepAlive > 0,
    keepAliveInitialDelay: options.keepAlive,
  };
  if (options.tls) {
    const { requestCert = false, ...rest } = options.tls;
    const server: tls.Server = tls.createServer(
      {
        ...common,
        ...(rest as tls.TlsOptions),
        requestCert,
        rejectUnauthorized: requestCert,
        ALPNProtocols: ["http/1.1"],
        handshakeTimeout: options.handshakeTimeout,
      },
      (socket) => takeStream(socket, window, accept),
    );
    // A handshake that fails concerns its client alone.
    server.on("tlsClientError", (_, socket) => socket.destroy());
    server.on("connection", taking);
    return server;
  }
  return net.createServer({ ...common, pauseOnConnect: onread }, (accepted) => {
    taking(accepted);
    const handle = (accepted as unknown as Handled)._handle;
    if (onread && handle) takeRaw(handle, window, accept);
    else takeStream(accepted, window, accept);
  });
}

function listen(
  options: ListenOptions,
  window: Uint8Array,
  accept: Accept,
  failed: (error: Error) => void,
  taking: (socket: net.Socket) => void,
  onread: boolean,
): Promise<Listener> {
  const server = createServer(options, window, accept, taking, onread);
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    const { path, port, hostname: host, backlog, ipv6Only } = options;
    server.listen(
      path === undefined ? { port, host, backlog, ipv6Only } : { path, backlog },
      () => {
        server.off("error", reject);
        // EMFILE and its kin concern one connection; the listener goes on.
        server.on("error", failed);
        const address = server.address();
        const where =
          typeof address === "string" || address === null
            ? { hostname: "", port: 0, path: address ?? "" }
            : { hostname: address.address, port: address.port };
        resolve({ ...where, close: () => void server.close() });
      },
    );
  });
}

function takeRaw(handle: Handle, window: Uint8Array, accept: Accept): void {
  let sink: Sink | undefined;
  const init = {
    handle,
    allowHalfOpen: true,
    onread: {
      buffer: window,
      callback(n: number): boolean {
        sink?.read(n);
        return true;
      },
    },
  };
  const socket = new net.Socket(init as unknown as net.SocketConstructorOpts);
  const link = new NodeLink(socket, isDirect(handle));
  sink = accept(link);
  if (sink === undefined) return;
  link.attach(sink);
  socket.resume();
}

function takeStream(socket: net.Socket, window: Uint8Array, accept: Accept): void {
  const link = new NodeLink(socket, false);
  const sink = accept(link);
  if (sink === undefined) return;
  link.attach(sink);
  socket.on("data", (bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length; at += window.length) {
      const part = bytes.subarray(at, at + window.length);
      window.set(part);
      sink.read(part.length);
    }
  });
  socket.resume();
}

/** As a global it is a getter. */
const monotonic = performance;

/** The real clock. */
export const nodeClock: Clock = {
  now: () => monotonic.now(),
  date: () => Date.now(),
  defer: (fn) => {
    setImmediate(fn);
  },
  after(ms, fn) {
    const timer = setTimeout(fn, ms);
    timer.unref?.();
    return () => clearTimeout(timer);
  },
};
