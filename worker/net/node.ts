// Node's `net`. Reads go straight into the engine's receive window where the platform lets them
// (`onread` over the accepted handle); else 'data' events are copied into it.
//
// Invariant: `written` is told exactly once for a write that was not through on return. Where Node lets it be,
// a write goes to the socket's handle itself: a request that it has not taken into use says that the kernel
// took all. Else, and for a handle's first write, it goes through the stream: `writableLength` is 0 on return when
// it was through; otherwise an empty write is queued behind it, and its callback is the completion. A write
// is never begun while another is outstanding. 'drain' is silent below the high-water mark and never relied on.

import { fstatSync } from "node:fs";
import * as net from "node:net";
import * as tls from "node:tls";
import { getSystemErrorMap } from "node:util";
import type {
  Accept,
  CertificateNames,
  Clock,
  Link,
  Listener,
  ListenOptions,
  PeerCertificate,
  Sink,
  TlsOptions,
  Transport,
} from "./transport";
import { type Ends, procQueues } from "./queues";

const EMPTY = new Uint8Array(0);

/** A socket's handle, as Node has it: undocumented, so each part of it is tested for. */
interface Handle {
  /**
   * @param request completes what the kernel does not take at once; null where handles make it themselves
   * @returns 0, a negative error number, or the request that was made
   */
  writeBuffer?(request: WriteRequest | null, bytes: Uint8Array): number | WriteRequest;
  /** @param name gets the peer's address @returns 0, or a negative error number */
  getpeername?(name: object): number;
}

interface WriteRequest {
  oncomplete?: (status: number) => void;
  /** −1 until a write is under way by it. */
  getAsyncId?(): number;
  /** What it came to when that was before `oncomplete` could be set. */
  writeStatus?: number | null;
  /** Kept from being collected. */
  buffer?: Uint8Array;
}

interface Handled {
  _handle?: Handle | null;
}

/**
 * Node's class of write requests, once a first write through the stream has shown it; null where handles make
 * requests themselves, when one is needed (Node 26).
 */
let Request: (new () => WriteRequest) | null | undefined;
/** For the next write: one that is through on return leaves it unused. */
let spare: WriteRequest | null = null;
/** Requests do not tell whether they are in use: all writes go through streams. */
let isUnfit = false;

/** Learns how writes are requested from one that is being made. */
function learn(handle: Handle, write: () => void): void {
  const { writeBuffer } = handle;
  handle.writeBuffer = (request, bytes) => {
    Request = request && (request.constructor as new () => WriteRequest);
    isUnfit = request !== null && request.getAsyncId?.() !== -1;
    return (writeBuffer as NonNullable<Handle["writeBuffer"]>).call(handle, request, bytes);
  };
  try {
    write();
  } finally {
    // What it inherits shows again.
    delete handle.writeBuffer;
  }
  spare = Request ? new Request() : null;
}

/** Names of a certificate as plain data. */
function namesOf(names: tls.Certificate): CertificateNames {
  return { ...(names as unknown as CertificateNames) };
}

/** The certificate that a client has shown; undefined when it has not. */
function certificateOf(socket: tls.TLSSocket): PeerCertificate | undefined {
  const certificate: Partial<tls.PeerCertificate> | undefined = socket.getPeerCertificate();
  const { subject, issuer, fingerprint256 } = certificate ?? {};
  if (!subject || !issuer || !fingerprint256) return undefined;
  const { authorized, authorizationError } = socket;
  return {
    subject: namesOf(subject),
    issuer: namesOf(issuer),
    fingerprint256,
    authorized,
    error: authorized ? "" : String(authorizationError),
  };
}

/** Which link a socket belongs to: so that all have the same listeners, and an idle one holds no closures. */
const LINK = Symbol("link");

interface Linked {
  [LINK]?: NodeLink;
}

function onError(this: net.Socket & Linked, error: Error): void {
  this[LINK]?.lose(error);
}

function onClose(this: net.Socket & Linked): void {
  this[LINK]?.lose(undefined);
}

function onEnd(this: net.Socket & Linked): void {
  this[LINK]?.ended();
}

class NodeLink implements Link {
  readonly remoteAddress: string;
  #peerCertificate: PeerCertificate | undefined;
  #socket: net.Socket & Handled;
  /** Writes may go to the handle itself. */
  readonly #direct: boolean;
  #sink: Sink | undefined;
  /** Called when a write is complete that was not through on return: most never are. */
  #written: (() => void) | undefined;
  #completed: ((status: number) => void) | undefined;

  constructor(socket: net.Socket, direct: boolean) {
    this.#socket = socket;
    this.#direct = direct;
    this.remoteAddress = socket.remoteAddress ?? "";
    if (socket instanceof tls.TLSSocket) this.#peerCertificate = certificateOf(socket);
    this.#listen(socket);
  }

  get peerCertificate(): PeerCertificate | undefined {
    return this.#peerCertificate;
  }

  /** Both ends of the connection; undefined on a Unix socket. */
  get ends(): Ends | undefined {
    return this.#socket.remoteFamily === undefined ? undefined : this.#socket;
  }

  #listen(socket: net.Socket): void {
    (socket as Linked)[LINK] = this;
    socket.on("error", onError);
    socket.on("close", onClose);
    socket.on("end", onEnd);
  }

  /** From now on this is the stream: TLS within the socket so far. */
  protected adopt(socket: tls.TLSSocket): Sink | undefined {
    this.#socket = socket;
    this.#peerCertificate = certificateOf(socket);
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

  /**
   * The stream has ended. libuv reports a reset that arrives right after bytes as the end of the stream, too; the
   * socket then has no peer any more. Neither has one of which both sides have ended in order.
   */
  ended(): void {
    const socket = this.#socket;
    const error = socket.writableEnded ? 0 : (socket._handle?.getpeername?.({}) ?? 0);
    if (error < 0) socket.destroy(systemError("read", error));
    else this.#sink?.ended();
  }

  /** The socket is gone. */
  lose(error: Error | undefined): void {
    const sink = this.#sink;
    this.#sink = undefined;
    sink?.lost(error);
  }

  write(view: Uint8Array): boolean {
    if (!this.#direct || isUnfit) return this.#stream(view);
    const handle = this.#socket._handle;
    // It has been destroyed: its loss is told.
    if (!handle) return false;
    if (Request === undefined) {
      let isThrough = false;
      learn(handle, () => {
        isThrough = this.#stream(view);
      });
      return isThrough;
    }
    const result = (handle.writeBuffer as NonNullable<Handle["writeBuffer"]>)(spare, view);
    // What libuv has tried again, with success, is complete later, though nothing is left in its queue.
    if (result === 0 && (spare === null || spare.getAsyncId?.() === -1)) return true;
    if (typeof result === "number" && result !== 0) {
      this.#socket.destroy(systemError("write", result));
      return false;
    }
    return this.#await(result === 0 ? (spare as WriteRequest) : (result as WriteRequest), view);
  }

  /** What the kernel has not taken is under way. @returns true when it is through by now */
  #await(request: WriteRequest, view: Uint8Array): boolean {
    if (Request) spare = new Request();
    request.buffer = view;
    this.#completed ??= (code) => this.#complete(code);
    request.oncomplete = this.#completed;
    const status = request.writeStatus ?? 1;
    if (status > 0) return false;
    if (status < 0) this.#socket.destroy(systemError("write", status));
    return status === 0;
  }

  /** Told by the handle that a write is complete, or has failed. */
  #complete(status: number): void {
    if (status >= 0) this.#sink?.written();
    else if (this.#sink) this.#socket.destroy(systemError("write", status));
  }

  #stream(view: Uint8Array): boolean {
    const socket = this.#socket;
    if (socket.destroyed) return false;
    socket.write(view);
    if (socket.writableLength === 0) return true;
    this.#written ??= () => this.#sink?.written();
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

const endsOf = (link: Link): Ends | undefined => (link as NodeLink).ends;

/**
 * Node's sockets.
 * @param onread false: read by 'data' events even where `onread` works (tests run both)
 * @param descriptors that this process may have
 */
export function nodeTransport(onread = true, descriptors = Number.POSITIVE_INFINITY): Transport {
  return {
    ...(isBun ? { maxRunBytes: COPIED_BYTES } : {}),
    ...(process.platform === "linux" ? { queues: procQueues(endsOf) } : {}),
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

function systemError(syscall: "read" | "write", errno: number): Error {
  const [code, text] = getSystemErrorMap().get(errno) ?? [
    `error ${errno}`,
    `the ${syscall} failed`,
  ];
  return Object.assign(new Error(`${syscall} ${code}: ${text}`), { code, errno, syscall });
}

/** True where a handle's own writes are what they are in Node. */
function isDirect(handle: Handle): boolean {
  return !("deno" in process.versions) && typeof handle.writeBuffer === "function";
}

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
    super(raw, false);
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

/** The certificates of a TLS server, which may change while it runs. */
class Certificates {
  #sni = new Map<string, tls.SecureContext>();

  /** Takes other ones: a name's own context, the rest of it as for everybody. @returns that of everybody */
  set({ sni = {}, ...main }: TlsOptions): tls.SecureContextOptions {
    const contexts = Object.entries(sni).map(([name, context]) => {
      const options = { ...main, ...context } as tls.SecureContextOptions;
      return [name, tls.createSecureContext(options)] as const;
    });
    this.#sni = new Map(contexts);
    return main as tls.SecureContextOptions;
  }

  /** The context for the name that a client asks for; undefined: that of everybody. */
  find(host: string): tls.SecureContext | undefined {
    const name = host.toLowerCase();
    return this.#sni.get(name) ?? this.#sni.get(name.replace(/^[^.]*/, "*"));
  }
}

/** A net or TLS server; for the latter what changes its certificates. */
interface NodeServer {
  readonly server: net.Server;
  readonly setTls?: (tls: TlsOptions) => void;
}

/** What net and TLS servers have in common. */
function commonOf({ noDelay, keepAlive }: ListenOptions) {
  const keepAliveInitialDelay = keepAlive;
  return { allowHalfOpen: true, noDelay, keepAlive: keepAlive > 0, keepAliveInitialDelay };
}

function createTlsServer(
  options: ListenOptions,
  own: TlsOptions,
  take: ((socket: tls.TLSSocket) => void) | undefined,
): NodeServer {
  const { requestCert = false, rejectUnauthorized = requestCert } = own;
  const certificates = new Certificates();
  const all: tls.TlsOptions = {
    ...commonOf(options),
    ...certificates.set(own),
    requestCert,
    rejectUnauthorized,
    ALPNProtocols: ["http/1.1"],
    handshakeTimeout: options.handshakeTimeout,
    SNICallback: (name, done) => done(null, certificates.find(name)),
  };
  const server = tls.createServer(all, take);
  // A handshake that fails concerns its client alone.
  server.on("tlsClientError", (_, socket) => socket.destroy());
  return { server, setTls: (changed) => server.setSecureContext(certificates.set(changed)) };
}

/** A net or TLS server that gives its connections to `accept`. @param taking told of each before */
function createServer(
  options: ListenOptions,
  window: Uint8Array,
  accept: Accept,
  taking: (socket: net.Socket) => void,
  onread: boolean,
): NodeServer {
  if (options.tls) {
    const take = (socket: tls.TLSSocket): void => takeStream(socket, window, accept);
    const made = createTlsServer(options, options.tls, canDefer ? undefined : take);
    if (canDefer) acceptBefore(made.server as tls.Server, window, accept, options);
    made.server.on("connection", taking);
    return made;
  }
  const server = net.createServer({ ...commonOf(options), pauseOnConnect: onread }, (accepted) => {
    taking(accepted);
    const handle = (accepted as unknown as Handled)._handle;
    if (onread && handle) takeRaw(handle, window, accept);
    else takeStream(accepted, window, accept);
  });
  return { server };
}

/**
 * Claims a listening descriptor for one server of this process: two event loops that poll one break each other, and
 * closing it in one deafens or aborts the other. The claim is a name in Linux's abstract namespace, which holds for
 * all threads, and ends with the one that made it; elsewhere nothing is claimed.
 * @returns what gives it back; undefined: another server has it
 */
async function claim(fd: number): Promise<(() => void) | undefined> {
  const free = (): void => undefined;
  if (process.platform !== "linux") return free;
  let inode: number;
  try {
    inode = fstatSync(fd).ino;
  } catch {
    // It is not open: listening on it says so.
    return free;
  }
  const lock = net.createServer();
  return new Promise((resolve) => {
    // A runtime that cannot claim it serves all the same.
    lock.once("error", ({ code }: NodeJS.ErrnoException) =>
      resolve(code === "EADDRINUSE" ? undefined : free),
    );
    lock.listen({ path: `\0ringcast-${process.pid}-${fd}-${inode}` }, () => {
      lock.unref();
      resolve(() => void lock.close());
    });
  });
}

async function listen(
  options: ListenOptions,
  window: Uint8Array,
  accept: Accept,
  failed: (error: Error) => void,
  taking: (socket: net.Socket) => void,
  onread: boolean,
): Promise<Listener> {
  if (options.proxied && options.tls && !canDefer) {
    const text = "proxyProtocol: a header before TLS can be read on Node alone";
    return Promise.reject(new TypeError(text));
  }
  const { fd } = options;
  const release = fd === undefined ? () => undefined : await claim(fd);
  if (!release) throw new Error(`fd: ${fd} is used by another server of this process: EADDRINUSE`);
  const { server, setTls } = createServer(options, window, accept, taking, onread);
  return new Promise((resolve, reject) => {
    const refuse = (error: Error): void => {
      release();
      const text = `fd: ${fd} is not a listening socket: EINVAL (${error.message})`;
      reject(fd === undefined ? error : new Error(text));
    };
    server.once("error", refuse);
    server.listen(whereOf(options), () => {
      server.off("error", refuse);
      // EMFILE and its kin concern one connection; the listener goes on.
      server.on("error", failed);
      const address = server.address();
      const where =
        typeof address === "string" || address === null
          ? { hostname: "", port: 0, path: address ?? "" }
          : { hostname: address.address, port: address.port };
      const close = (): void => {
        server.close();
        release();
      };
      resolve({ ...where, close, ...(setTls ? { setTls } : {}) });
    });
  });
}

/** What Node's `listen` takes. */
function whereOf({ fd, path, port, hostname: host, backlog, ipv6Only }: ListenOptions): object {
  if (fd !== undefined) return { fd, backlog };
  return path === undefined ? { port, host, backlog, ipv6Only } : { path, backlog };
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
