// Node's `net`. Reads go straight into the engine's receive window where the platform lets them
// (`onread` over the accepted handle); else 'data' events are copied into it.
//
// Invariant: `written` is told exactly once for a write that was not through on return. `writableLength`
// is 0 on return when it was; otherwise an empty write is queued behind it, and its callback is the
// completion. 'drain' is silent below the high-water mark and never relied on.

import * as net from "node:net";
import * as tls from "node:tls";
import type { Accept, Clock, Link, Listener, ListenOptions, Sink, Transport } from "../net";

const EMPTY = new Uint8Array(0);

/** A handle-bearing socket, as Node has it: undocumented, so it is tested for. */
interface Handled {
  _handle?: unknown;
}

class NodeLink implements Link {
  readonly remoteAddress: string;
  #socket: net.Socket;
  #sink: Sink | undefined;
  readonly #written = (): void => {
    this.#sink?.written();
  };

  constructor(socket: net.Socket) {
    this.#socket = socket;
    this.remoteAddress = socket.remoteAddress ?? "";
    this.#listen(socket);
  }

  #listen(socket: net.Socket): void {
    socket.on("error", (error: Error) => this.#lose(error));
    socket.on("close", () => this.#lose(undefined));
    socket.on("end", () => this.#sink?.ended());
  }

  /** From now on this is the stream: TLS within the socket so far. */
  protected adopt(socket: net.Socket): Sink | undefined {
    this.#socket = socket;
    this.#listen(socket);
    return this.#sink;
  }

  /** TLS could not be negotiated. */
  fail(error: Error): void {
    const sink = this.#sink;
    this.#sink = undefined;
    sink?.lost(error, "handshake");
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
    const socket = this.#socket;
    if (socket.destroyed) return false;
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
 */
export function nodeTransport(onread = true): Transport {
  return {
    ...(isBun ? { maxRunBytes: COPIED_BYTES } : {}),
    listen(options, window, accept, failed) {
      return listen(options, window, accept, failed, onread && !isBun);
    },
  };
}

/** Bun's sockets have no handle to give away, and copy what the kernel does not take at once. */
const isBun = "bun" in process.versions;
/** Longest run where writes are copied. */
const COPIED_BYTES = 65536;

/** Sockets on whose way to TLS the server's own code can be put off: those of Node itself. */
const canDefer = !isBun && !("deno" in process.versions);

/** A connection that is accepted before TLS is negotiated: its handshake has a slot, and counts for its address. */
class SecureLink extends NodeLink {
  readonly #raw: net.Socket;
  readonly #window: Uint8Array;
  readonly #start: (raw: net.Socket) => void;
  #isPaused = false;
  #isSecured = false;

  /** @param start begins the handshake on a socket that nothing was read of, or whose bytes were put back */
  constructor(raw: net.Socket, window: Uint8Array, start: (raw: net.Socket) => void) {
    super(raw);
    this.#raw = raw;
    this.#window = window;
    this.#start = start;
  }

  /** Reads what comes before TLS. */
  readHeader(sink: Sink): void {
    this.#raw.on("data", (bytes: Uint8Array) => giveBytes(bytes, this.#window, sink));
  }

  secure(first: Uint8Array): void {
    const raw = this.#raw;
    raw.removeAllListeners("data");
    raw.removeAllListeners("end");
    if (raw.destroyed) return;
    if (first.length > 0) {
      raw.pause();
      raw.unshift(first);
    }
    this.#start(raw);
  }

  /** The handshake is through. */
  take(socket: tls.TLSSocket): void {
    this.#isSecured = true;
    const sink = this.adopt(socket);
    if (!sink) {
      socket.destroy();
      return;
    }
    sink.secured();
    socket.on("data", (bytes: Uint8Array) => giveBytes(bytes, this.#window, sink));
    if (!this.#isPaused) socket.resume();
  }

  override end(): void {
    if (this.#isSecured) super.end();
    else this.destroy();
  }

  override pause(): void {
    this.#isPaused = true;
    if (this.#isSecured) super.pause();
  }

  override resume(): void {
    this.#isPaused = false;
    if (this.#isSecured) super.resume();
  }
}

/** Connections of a TLS server are accepted before it negotiates. */
function acceptBefore(
  server: tls.Server,
  window: Uint8Array,
  accept: Accept,
  { proxied }: ListenOptions,
): void {
  const links = new WeakMap<net.Socket, SecureLink>();
  const linkOf = (socket: tls.TLSSocket): SecureLink | undefined => {
    const parent = (socket as unknown as { _parent?: net.Socket })._parent;
    return parent && links.get(parent);
  };
  const negotiate = server.listeners("connection") as ((raw: net.Socket) => void)[];
  server.removeAllListeners("connection");
  server.on("connection", (raw: net.Socket) => {
    const link = new SecureLink(raw, window, (socket) => {
      for (const listener of negotiate) listener.call(server, socket);
    });
    links.set(raw, link);
    const sink = accept(link);
    if (!sink) return;
    link.attach(sink);
    if (proxied) link.readHeader(sink);
    else link.secure(EMPTY);
  });
  server.on("secureConnection", (socket) => linkOf(socket)?.take(socket));
  server.on("tlsClientError", (error, socket) => linkOf(socket)?.fail(error));
}

/** A net or TLS server that gives its connections to `accept`. */
function createServer(
  options: ListenOptions,
  window: Uint8Array,
  accept: Accept,
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
    const server = tls.createServer(
      {
        ...common,
        ...(rest as tls.TlsOptions),
        requestCert,
        rejectUnauthorized: requestCert,
        ALPNProtocols: ["http/1.1"],
        handshakeTimeout: options.handshakeTimeout,
      },
      canDefer ? undefined : (socket) => takeStream(socket, window, accept),
    );
    // A handshake that fails concerns its client alone.
    server.on("tlsClientError", (_, socket) => socket.destroy());
    if (canDefer) acceptBefore(server, window, accept, options);
    return server;
  }
  return net.createServer({ ...common, pauseOnConnect: onread }, (accepted) => {
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
  onread: boolean,
): Promise<Listener> {
  if (options.proxied && options.tls && !canDefer) {
    const text = "proxyProtocol: a header before TLS can be read on Node alone";
    return Promise.reject(new TypeError(text));
  }
  const server = createServer(options, window, accept, onread);
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

function takeRaw(handle: unknown, window: Uint8Array, accept: Accept): void {
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
  const link = new NodeLink(socket);
  sink = accept(link);
  if (sink === undefined) return;
  link.attach(sink);
  socket.resume();
}

function takeStream(socket: net.Socket, window: Uint8Array, accept: Accept): void {
  const link = new NodeLink(socket);
  const sink = accept(link);
  if (sink === undefined) return;
  link.attach(sink);
  socket.on("data", (bytes: Uint8Array) => giveBytes(bytes, window, sink));
  socket.resume();
}

/** Copies bytes into the window, as many as it holds at a time. */
function giveBytes(bytes: Uint8Array, window: Uint8Array, sink: Sink): void {
  for (let at = 0; at < bytes.length; at += window.length) {
    const part = bytes.subarray(at, at + window.length);
    window.set(part);
    sink.read(part.length);
  }
}

/** The real clock. */
export const nodeClock: Clock = {
  now: () => performance.now(),
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
