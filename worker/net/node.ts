// Node's `net` and `tls`. Bytes are read straight into the engine's receive window where the platform allows it
// (`onread` over the accepted handle). Elsewhere 'data' events are copied into it. On Node itself plain connections
// need no `net.Socket`: handle-accept.ts takes them over from the listening server.
//
// Invariant: for a write that was not complete on return, `written` is called exactly once. Where Node allows it, a
// write is made on the socket's handle itself; when the handle has not taken the request into use, the kernel has
// accepted all bytes. Otherwise, and for the first write in the thread, it is made through the stream:
// `writableLength` is 0 on return when the write is complete; else an empty write is queued after it, and the callback
// of that one is the completion. A write never begins while another is outstanding. 'drain' does not fire below the
// high-water mark, so it is never relied on.

import { chmodSync, fstatSync } from "node:fs";
import * as net from "node:net";
import * as tls from "node:tls";
import type {
  Accept,
  CertificateNames,
  Clock,
  Link,
  Listener,
  ListenOptions,
  PeerCertificate,
  Sink,
  Transport,
} from "./transport";
import { ClientHello } from "./client-hello";
import { takeOver } from "./handle-accept";
import { type HandleLink, setRules } from "./handle-link";
import { tryHandles } from "./handle-trial";
import {
  type Handle as HandleOfNode,
  type HandleRequest,
  type Handled,
  RESET,
  systemError,
} from "./handle";
import { type Ends, procQueues } from "./queues";
import { TlsServers, canDefer, commonOf } from "./secure";
import { isShuttingDown, writeTo } from "./stream";
import { connectTo } from "./behind/upstream";

const EMPTY = new Uint8Array(0);

/** A socket's handle on any runtime. Each member is checked before use. */
type Handle = Partial<Pick<HandleOfNode, "writeBuffer" | "getpeername">>;

/**
 * Node's class of write requests, once a first write through the stream has shown it; null where handles create
 * requests themselves, when one is needed (Node 26).
 */
let Request: (new () => HandleRequest) | null | undefined;
/** Request for the next write. A write that is complete on return leaves it unused. */
let spare: HandleRequest | null = null;
/** True when requests do not report whether they are in use. Then all writes use streams. */
let isUnfit = false;

/** Learns how writes are requested by intercepting one. */
function learn(handle: Handle, write: () => void): void {
  const { writeBuffer } = handle;
  handle.writeBuffer = (request, bytes) => {
    Request = request && (request.constructor as new () => HandleRequest);
    isUnfit = request !== null && request.getAsyncId?.() !== -1;
    return (writeBuffer as NonNullable<Handle["writeBuffer"]>).call(handle, request, bytes);
  };
  try {
    write();
  } finally {
    // Uncovers the inherited method.
    delete handle.writeBuffer;
  }
  spare = Request ? new Request() : null;
}

/** Copies the names of a certificate into plain data. */
function namesOf(names: tls.Certificate): CertificateNames {
  return { ...(names as unknown as CertificateNames) };
}

/** Returns the certificate that a client has presented; undefined when there is none. */
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

/** Key of a socket's link. With it all sockets share the same listeners, and an idle one holds no closures. */
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
  /** Whether writes may use the handle itself. */
  readonly #direct: boolean;
  #sink: Sink | undefined;
  /**
   * Callbacks for a write that was not complete on return. They are created on demand, because most sockets never need
   * them.
   */
  #written: ((error?: Error | null) => void) | undefined;
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

  /** Uses a socket as the stream: a TLS socket on top of the one so far, or that one itself. @returns the sink */
  protected adopt(socket: net.Socket): Sink | undefined {
    if (socket === this.#socket) {
      // It has the other listeners already.
      socket.on("end", onEnd);
      return this.#sink;
    }
    this.#socket = socket;
    if (socket instanceof tls.TLSSocket) this.#peerCertificate = certificateOf(socket);
    this.#listen(socket);
    return this.#sink;
  }

  /** Reports that TLS could not be negotiated. */
  fail(error: Error): void {
    const sink = this.#sink;
    this.#sink = undefined;
    sink?.lost(error, "handshake");
  }

  attach(sink: Sink): void {
    this.#sink = sink;
  }

  /**
   * Handles the end of the stream. libuv also reports a reset that arrives right after bytes as the end of the stream;
   * then the socket has no peer. A socket has no peer either when both of its sides have ended in order, which is
   * therefore excluded.
   */
  ended(): void {
    const socket = this.#socket;
    const error = socket.writableEnded ? 0 : (socket._handle?.getpeername?.({}) ?? 0);
    if (error < 0) socket.destroy(systemError("read", RESET));
    else this.#sink?.ended();
  }

  /** Reports that the socket is gone. */
  lose(error: Error | undefined): void {
    const sink = this.#sink;
    this.#sink = undefined;
    sink?.lost(error);
  }

  write(view: Uint8Array): boolean {
    if (!this.#direct || isUnfit) return this.#stream(view);
    const handle = this.#socket._handle;
    // The socket has been destroyed. Its 'close' event reports the loss.
    if (!handle) return false;
    if (Request === undefined) {
      let isThrough = false;
      learn(handle, () => {
        isThrough = this.#stream(view);
      });
      return isThrough;
    }
    const result = (handle.writeBuffer as NonNullable<Handle["writeBuffer"]>)(spare, view);
    // When libuv has retried with success, its queue is empty, but the request is in use and completes later.
    if (result === 0 && (spare === null || spare.getAsyncId?.() === -1)) return true;
    if (typeof result === "number" && result !== 0) {
      this.#socket.destroy(systemError("write", result));
      return false;
    }
    return this.#await(result === 0 ? (spare as HandleRequest) : (result as HandleRequest), view);
  }

  /** Waits for the bytes that the kernel has not accepted. @returns true when the write has completed by now */
  #await(request: HandleRequest, view: Uint8Array): boolean {
    if (Request) spare = new Request();
    request.buffer = view;
    this.#completed ??= (code) => this.#complete(code);
    request.oncomplete = this.#completed;
    const status = request.writeStatus ?? 1;
    if (status > 0) return false;
    if (status < 0) this.#socket.destroy(systemError("write", status));
    return status === 0;
  }

  /** Called by the handle when a write is complete or has failed. */
  #complete(status: number): void {
    if (status >= 0) this.#sink?.written();
    else if (this.#sink) this.#socket.destroy(systemError("write", status));
  }

  #stream(view: Uint8Array): boolean {
    const socket = this.#socket;
    this.#written ??= (error) => {
      if (!error) this.#sink?.written();
    };
    return !socket.destroyed && writeTo(socket, view, this.#written);
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
      // None of the engine's memory is read any more, so a plain close is enough.
      socket.destroy();
    } else if (socket instanceof tls.TLSSocket) {
      // TLS has copied the written bytes, so none of the engine's memory is read any more. The TLS socket ends with
      // the socket below it. Ending it here as well, within one of its own callbacks, crashes the process.
      const parent = (socket as unknown as { _parent?: net.Socket })._parent;
      if (parent && !parent.destroyed) parent.resetAndDestroy();
      else socket.destroy();
    } else if (socket.remoteFamily === undefined) {
      // A Unix socket has no reset.
      socket.destroy();
    } else {
      socket.resetAndDestroy();
    }
  }
}

const endsOf = (link: Link): Ends | undefined => (link as NodeLink | HandleLink).ends;

/** The trial of handles, once in this thread. False: they lack something, or behave otherwise. */
let trial: Promise<boolean> | undefined;

function handlesWork(): Promise<boolean> {
  trial ??= tryHandles().then(
    (rules) => {
      setRules(rules);
      return true;
    },
    () => false,
  );
  return trial;
}

/** Settings of Node's transport. */
export interface NodeSettings {
  /** Whether 'data' events are used even where reads into the window work. */
  readonly stream?: boolean;
  /** Whether plain connections are handles without `net.Socket`, where those pass their trial. */
  readonly handles?: boolean;
  /** Number of descriptors that this process may have. */
  readonly descriptors?: number;
}

/** Returns Node's sockets. */
export function nodeTransport(settings: NodeSettings = {}): Transport {
  const { stream = false, handles = false, descriptors = Number.POSITIVE_INFINITY } = settings;
  const mayBare = handles && hasHandles && !stream;
  // Meanwhile the engine and the handler are loaded.
  if (mayBare) void handlesWork();
  let scarcity: Scarcity | undefined;
  return {
    ...(isBun ? { copies: true } : {}),
    ...(process.platform === "linux" ? { queues: procQueues(endsOf) } : {}),
    upstream: connectTo,
    async listen(options, window, accept, failed) {
      scarcity ??= new Scarcity(descriptors, failed);
      const { look } = scarcity;
      const isBare = mayBare && !options.tls && (await handlesWork());
      const onread = !stream && !isBun;
      return listen(options, window, accept, failed, { taking: look, onread, isBare });
    },
  };
}

/** Number of descriptors left that causes a warning, and number above which the next warning is allowed. */
const FEW = 16;
const PLENTY = 64;

/**
 * Warns while a few descriptors are left. Without any, libuv closes new connections at once and reports nothing. A
 * descriptor is the lowest unused number, so that of an accepted socket gives an upper bound of the number left.
 */
class Scarcity {
  readonly #limit: number;
  readonly #failed: (error: Error) => void;
  #hasWarned = false;

  constructor(limit: number, failed: (error: Error) => void) {
    this.#limit = limit;
    this.#failed = failed;
  }

  readonly look = (fd: number): void => {
    const left = this.#limit - 1 - fd;
    if (left > PLENTY) this.#hasWarned = false;
    if (left > FEW || this.#hasWarned) return;
    this.#hasWarned = true;
    this.#failed(
      new Error(
        `at most ${left} of this process's ${this.#limit} file descriptors are left (ulimit -n); ` +
          "without any, new connections are closed at once",
      ),
    );
  };
}

/** Bun's sockets have no handle to create others from, and copy bytes that the kernel does not accept at once. */
const isBun = "bun" in process.versions;

/** Returns true where writing on a handle works as it does in Node. */
function isDirect(handle: Handle): boolean {
  return !("deno" in process.versions) && typeof handle.writeBuffer === "function";
}

/**
 * True where handles without sockets may be used. On Windows the kernel itself reads the bytes of a pending write, so a
 * closed handle does not show that nothing reads them any more.
 */
const hasHandles = canDefer && process.platform !== "win32";

/** The first byte of a TLS handshake: the type of its record (RFC 8446 5.1). */
const HANDSHAKE = 22;

/** How handshakes begin. */
interface Handshakes {
  /** True when the name that a client asks for decides which certificate it gets. */
  readonly areByName: boolean;
  /** Returns the number of the host whose certificate a client gets. @param name "": it asks for none */
  find(name: string): number;
  /** Begins a handshake on a socket whose bytes were put back. */
  start(raw: net.Socket, host: number): void;
}

/** A connection that is accepted before TLS is negotiated. Its handshake has a slot and counts for its address. */
class SecureLink extends NodeLink {
  readonly #raw: net.Socket;
  readonly #window: Uint8Array;
  readonly #handshakes: Handshakes;
  /** Number of the virtual host whose certificate the client gets; 0: it gets the listener's. */
  host = 0;
  /** Time (ms) for the first byte of the handshake. */
  readonly #timeout: number;
  #isPaused = false;
  /** True when TLS is established, or its bytes are those of a request. */
  #isSecured = false;

  constructor(raw: net.Socket, window: Uint8Array, timeout: number, handshakes: Handshakes) {
    super(raw, false);
    this.#raw = raw;
    this.#window = window;
    this.#timeout = timeout;
    this.#handshakes = handshakes;
  }

  get localPort(): number | undefined {
    return this.#raw.localPort;
  }

  /** Reads the PROXY header, which precedes TLS. */
  readHeader(sink: Sink): void {
    this.#raw.on("data", (bytes: Uint8Array) => giveBytes(bytes, this.#window, sink));
  }

  secure(first: Uint8Array): void {
    const raw = this.#raw;
    raw.removeAllListeners("data");
    raw.removeAllListeners("end");
    if (raw.destroyed) return;
    if (first.length === 0) {
      this.#awaitFirst();
      return;
    }
    if (first[0] === HANDSHAKE) {
      if (this.#handshakes.areByName) this.#readName(new ClientHello(first));
      else this.#start(first, 0);
      return;
    }
    raw.pause();
    raw.unshift(first);
    this.#continue(raw, "plain");
  }

  /** Begins the handshake. @param first the bytes of it that were read */
  #start(first: Uint8Array, host: number): void {
    const raw = this.#raw;
    raw.pause();
    raw.unshift(first);
    this.host = host;
    this.#handshakes.start(raw, host);
  }

  /** Reads the name in the client's first message, for as long as a handshake may take, and begins the handshake. */
  #readName(hello: ClientHello): void {
    const first = hello.read();
    if (first !== "open") {
      this.#begin(hello, first);
      return;
    }
    const raw = this.#raw;
    const stop = (): void => {
      clearTimeout(timer);
      raw.off("data", read);
      raw.off("end", leave);
      raw.off("close", stop);
    };
    const read = (bytes: Uint8Array): void => {
      hello.add(bytes);
      const state = hello.read();
      if (state === "open") return;
      stop();
      this.#begin(hello, state);
    };
    const abandon = (code: string): void => {
      stop();
      this.#abandon(code, "the first message of the TLS handshake is incomplete");
    };
    const leave = (): void => abandon("ECONNRESET");
    const timer = setTimeout(() => abandon("ERR_TLS_HANDSHAKE_TIMEOUT"), this.#timeout);
    raw.on("data", read);
    raw.on("end", leave);
    raw.on("close", stop);
  }

  /** Begins the handshake with the certificate of the host that the client's first message names. */
  #begin(hello: ClientHello, state: "read" | "large"): void {
    if (state === "read") this.#start(hello.bytes, this.#handshakes.find(hello.name));
    else this.#abandon("ERR_SSL_EXCESSIVE_MESSAGE_SIZE", "excessive message size");
  }

  /** Ends a connection that has not begun TLS. */
  #abandon(code: string, text: string): void {
    this.fail(Object.assign(new Error(text), { code }));
    this.#raw.destroy();
  }

  /** Waits for the first bytes after the PROXY header, if there is one. */
  #awaitFirst(): void {
    const raw = this.#raw;
    const text = "no TLS handshake has begun";
    const late = (): void => this.#abandon("ERR_TLS_HANDSHAKE_TIMEOUT", text);
    raw.setTimeout(this.#timeout, late);
    raw.on("end", () => this.#abandon("ECONNRESET", text));
    raw.once("data", (bytes: Uint8Array) => {
      raw.setTimeout(0, late);
      this.secure(bytes);
    });
  }

  /** Continues on the TLS socket after the handshake. */
  take(socket: tls.TLSSocket): void {
    this.#continue(socket);
  }

  #continue(socket: net.Socket, how?: "plain"): void {
    this.#isSecured = true;
    const sink = this.adopt(socket);
    if (!sink) {
      socket.destroy();
      return;
    }
    sink.secured(how);
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

/** Accepts the connections of a TLS listener before it negotiates. */
function acceptBefore(
  servers: TlsServers,
  window: Uint8Array,
  accept: Accept,
  { proxied, handshakeTimeout }: ListenOptions,
): void {
  const links = new WeakMap<net.Socket, SecureLink>();
  const linkOf = (socket: tls.TLSSocket): SecureLink | undefined => {
    const parent = (socket as unknown as { _parent?: net.Socket })._parent;
    return parent && links.get(parent);
  };
  const { main } = servers;
  const negotiate = main.listeners("connection") as ((raw: net.Socket) => void)[];
  main.removeAllListeners("connection");
  const begin: Handshakes = {
    areByName: servers.areSeveral,
    find: (name) => servers.find(name),
    start(raw, host) {
      const server = servers.of(host);
      if (server !== main) server.emit("connection", raw);
      else for (const listener of negotiate) listener.call(main, raw);
    },
  };
  main.on("connection", (raw: net.Socket) => {
    const link = new SecureLink(raw, window, handshakeTimeout, begin);
    links.set(raw, link);
    const sink = accept(link);
    if (!sink) return;
    link.attach(sink);
    if (proxied) link.readHeader(sink);
    else link.secure(EMPTY);
  });
  for (const server of servers.all) {
    server.on("secureConnection", (socket) => linkOf(socket)?.take(socket));
    server.on("tlsClientError", (error, socket) => linkOf(socket)?.fail(error));
  }
}

/** A net or TLS server. For a TLS server, `prepareTls` changes its certificates. */
interface NodeServer {
  readonly server: net.Server;
  readonly prepareTls?: Listener["prepareTls"];
}

/** Time (s) between two keep-alive probes, and their number, where the runtime cannot set them. */
const PROBES = { interval: 1, count: 10 };

/** Sets the probes of a socket. Servers of Node and others set only the idle time before them. */
type SetProbes = (on: boolean, idle: number, interval: number, count: number) => void;

/** True where sockets take the interval and the number of probes: in newer versions of Node. */
const hasProbes = net.Socket.prototype.setKeepAlive.length >= 4;

/** Sets the probes of an accepted socket, unless its server has done that. */
function setProbes(socket: net.Socket, { keepAlive }: ListenOptions): void {
  if (!keepAlive || !hasProbes) return;
  const { idle, interval, count } = keepAlive;
  (socket.setKeepAlive as SetProbes)(true, idle * 1000, interval * 1000, count);
}

/** Refuses probes that the runtime cannot set. @throws TypeError naming the option */
function refuseProbes({ keepAlive }: ListenOptions): void {
  if (!keepAlive || hasProbes) return;
  const text = "this runtime cannot set it; newer versions of Node 24 and 26 can";
  const { interval, count } = keepAlive;
  if (interval !== PROBES.interval)
    throw new TypeError(`tcpKeepAliveInterval: ${interval * 1000}: ${text}`);
  if (count !== PROBES.count) throw new TypeError(`tcpKeepAliveCount: ${count}: ${text}`);
}

/** How connections are taken from a listening server. */
interface Taking {
  /** Called first with each connection's descriptor. */
  readonly taking: (fd: number) => void;
  /** Whether sockets read into the window. */
  readonly onread: boolean;
  /** Whether connections need no sockets. */
  readonly isBare: boolean;
}

const fdOf = (socket: net.Socket): number =>
  (socket as unknown as { _handle?: { fd?: number } | null })._handle?.fd ?? -1;

/** Creates a net or TLS server that gives its connections to `accept`. */
function createServer(
  options: ListenOptions,
  window: Uint8Array,
  accept: Accept,
  { taking, onread }: Taking,
): NodeServer {
  if (options.tls) {
    const take = (socket: tls.TLSSocket): void => takeStream(socket, window, accept);
    const servers = new TlsServers(options, options.tls, canDefer ? undefined : take);
    if (canDefer) acceptBefore(servers, window, accept, options);
    const server = servers.main;
    server.on("connection", (accepted: net.Socket) => {
      taking(fdOf(accepted));
      setProbes(accepted, options);
    });
    return { server, prepareTls: (own, hosts) => servers.prepare(own, hosts) };
  }
  const server = net.createServer({ ...commonOf(options), pauseOnConnect: onread }, (accepted) => {
    taking(fdOf(accepted));
    setProbes(accepted, options);
    const handle = (accepted as unknown as Handled)._handle;
    if (onread && handle) takeRaw(handle, window, accept);
    else takeStream(accepted, window, accept);
  });
  return { server };
}

/**
 * Claims a listening descriptor for one server of this process. Two event loops that poll one descriptor break each
 * other, and closing it in one silences or aborts the other. The claim is a name in Linux's abstract namespace, which
 * holds for all threads and ends with its socket. Elsewhere nothing is claimed.
 * @returns a function that releases it; undefined: another server has it
 */
async function claim(fd: number): Promise<(() => void) | undefined> {
  const free = (): void => undefined;
  if (process.platform !== "linux") return free;
  let inode: number;
  try {
    inode = fstatSync(fd).ino;
  } catch {
    // It is not open. Listening on it reports that.
    return free;
  }
  const lock = net.createServer();
  return new Promise((resolve) => {
    // A runtime that cannot claim it still listens.
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
  how: Taking,
): Promise<Listener> {
  if (options.proxied && options.tls && !canDefer) {
    const text = "proxyProtocol: only Node can read a header before TLS";
    return Promise.reject(new TypeError(text));
  }
  if (options.redirects && options.tls && !canDefer) {
    const text = "redirect: only Node can answer requests without TLS on a listener with tls";
    return Promise.reject(new TypeError(text));
  }
  refuseProbes(options);
  const { fd } = options;
  const release = fd === undefined ? () => undefined : await claim(fd);
  if (!release) throw new Error(`fd: ${fd} is used by another server of this process: EADDRINUSE`);
  const { server, prepareTls } = createServer(options, window, accept, how);
  return new Promise((resolve, reject) => {
    const refuse = (error: Error): void => {
      release();
      const text = `fd: ${fd} is not a listening socket: EINVAL (${error.message})`;
      reject(fd === undefined ? error : new Error(text));
    };
    server.once("error", refuse);
    const permit = permitting(options);
    server.listen(whereOf(options), () => {
      server.off("error", refuse);
      const fault = permit();
      if (fault) {
        server.close();
        reject(fault);
        return;
      }
      // EMFILE and similar errors affect one connection. The listener continues.
      server.on("error", failed);
      const { noDelay, keepAlive } = options;
      const to = { window, accept, failed, taking: how.taking, noDelay, keepAlive };
      const transport = how.isBare && takeOver(server, to) ? "handles" : "sockets";
      const address = server.address();
      const where =
        typeof address === "string" || address === null
          ? { hostname: "", port: undefined, path: address ?? "" }
          : { hostname: address.address, port: address.port };
      const close = (): void => {
        server.close();
        release();
      };
      resolve({ ...where, transport, close, ...(prepareTls ? { prepareTls } : {}) });
    });
    // On Node the socket is bound by now, and the callback comes when clients may have connected.
    if (server.listening) permit();
  });
}

/**
 * Returns a function that sets the permissions of a Unix socket's file, once the socket is bound.
 * @returns the error when that fails
 */
function permitting({ path, mode }: ListenOptions): () => Error | undefined {
  let isSet = false;
  let fault: Error | undefined;
  return () => {
    if (isSet || path === undefined || mode === undefined) return fault;
    isSet = true;
    try {
      chmodSync(path, mode);
    } catch (thrown) {
      fault = new Error(`mode: ${(thrown as Error).message}`);
    }
    return fault;
  };
}

/** Returns the argument of Node's `listen`. */
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

/** Copies bytes into the window, in pieces of at most its size, and reports each. */
function giveBytes(bytes: Uint8Array, window: Uint8Array, sink: Sink): void {
  for (let at = 0; at < bytes.length; at += window.length) {
    const part = bytes.subarray(at, at + window.length);
    window.set(part);
    sink.read(part.length);
  }
}

/** The global is a getter, so it is read once. */
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
