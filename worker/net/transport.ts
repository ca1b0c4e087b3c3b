// The interfaces that the pump needs of a platform's sockets. Types only. One thin file in net/ implements them for
// each platform.

import type { PeerCertificate, Stats } from "../../host/handler";

export type { CertificateNames, PeerCertificate } from "../../host/handler";

/** One accepted connection. */
export interface Link {
  /** The peer's address without port; "" when it is unknown. */
  readonly remoteAddress: string;
  /** The certificate that the peer has presented. */
  readonly peerCertificate?: PeerCertificate | undefined;
  /** Number of the virtual host whose certificate the peer got; 0 or undefined: it got the listener's. */
  readonly host?: number | undefined;
  /** True: the microtasks run between each `sink.read` and the next change of the window. */
  readonly readsApart?: boolean;
  /**
   * Writes bytes of the engine's memory. The transport may hold that memory until the write completes.
   * @returns true when the write is complete on return; else `sink.written()` follows, unless the link ends
   */
  write(view: Uint8Array): boolean;
  /**
   * Writes as many bytes as are accepted at once, when no write is outstanding, and holds none of them.
   * @returns their number; undefined when that cannot be done now, and nothing was written
   */
  writeSome?(view: Uint8Array): number | undefined;
  /** Half-closes after the written bytes. */
  end(): void;
  /** `pause` stops reading, `resume` continues it. While reading is paused no FIN is noticed. */
  pause(): void;
  resume(): void;
  /** Closes. The kernel still sends the bytes that it has. */
  destroy(): void;
  /** Closes and drops written bytes. Afterwards the engine's memory is not read. */
  reset(): void;
  /**
   * Negotiates TLS; `sink.secured()` or `sink.lost` follows. Only links that are accepted before TLS have this method.
   * @param first bytes of the handshake that have already been read
   */
  secure?(first: Uint8Array): void;
  /** The TCP port that the peer has connected to, of links that have `secure`; undefined on a Unix socket. */
  readonly localPort?: number | undefined;
}

/** The events of a link, reported to the pump. */
export interface Sink {
  /**
   * `n` bytes are in the receive window. The pump has consumed or copied them on return; for a link with `readsApart`,
   * when the microtasks have run.
   */
  read(n: number): void;
  /**
   * TLS is established.
   * @param how "plain": it is not, because the first byte begins no handshake. Bytes without TLS follow
   */
  secured(how?: "plain"): void;
  /** The outstanding write is complete. */
  written(): void;
  /** The peer ended its side. */
  ended(): void;
  /**
   * The link is gone without a call of the pump. The error's `code` decides between a reset and a network failure.
   * @param why "handshake": TLS could not be negotiated
   */
  lost(error: Error | undefined, why?: "handshake"): void;
}

/** A stream to an upstream, the other side of a pipe. */
export interface Upstream {
  /**
   * Writes bytes, which belong to the upstream from now on.
   * @returns true when the write is complete on return; else `sink.written()` follows, unless the upstream ends
   */
  write(bytes: Uint8Array): boolean;
  /** Half-closes after the written bytes. */
  end(): void;
  /** `pause` stops reading, `resume` continues it. */
  pause(): void;
  resume(): void;
  /** Closes. The kernel still sends the bytes that it has. */
  destroy(): void;
  /** Closes with a reset, where the stream has one. */
  reset(): void;
}

/** The events of an upstream, reported to its pipe. None is reported within a call of the upstream's. */
export interface UpstreamSink {
  /** The connection is established. */
  opened(): void;
  /** Bytes have arrived, which belong to the sink. */
  received(bytes: Uint8Array): void;
  /** The outstanding write is complete. */
  written(): void;
  /** The upstream ended its side. */
  ended(): void;
  /** The upstream is gone, or could not be reached. */
  lost(error: Error | undefined): void;
}

/** A TCP address or a Unix socket, as node:net takes it. */
export type UpstreamAddress =
  | { readonly host: string; readonly port: number }
  | { readonly path: string };

/** A field of a message, as it was sent. */
export type RawField = readonly [name: string, value: string];

/** A request for a server behind this one. */
export interface BackendRequest {
  readonly method: string;
  readonly target: string;
  readonly fields: readonly RawField[];
  /** undefined: it has none. */
  readonly body: AsyncIterable<Uint8Array> | undefined;
  /** Whether it asks for another protocol. */
  readonly upgrades: boolean;
  /** Aborts when the client leaves. */
  readonly signal: AbortSignal;
  /** Whether a connection of its own is opened. */
  readonly isFresh?: boolean;
}

/** The response of a server behind this one. */
export interface BackendAnswer {
  readonly head: { readonly status: number; readonly fields: readonly RawField[] };
  /** undefined: the connection was upgraded. */
  readonly body: AsyncIterable<Uint8Array> | undefined;
  /** Connects with the upgraded connection. */
  readonly upgraded: ConnectUpstream | undefined;
}

/** A server that a mount passes requests to. */
export interface BackendSettings {
  readonly address: UpstreamAddress;
  /** Whether it speaks TLS. */
  readonly secure: boolean;
  /** Time (ms) for which it may send nothing. */
  readonly timeout: number;
  /** Most idle connections that are kept. */
  readonly kept: number;
}

/** A server behind this one. */
export interface Backend {
  /** Sends a request. @throws Error of the connection; its code is ETIMEDOUT when nothing came in time */
  ask(request: BackendRequest): Promise<BackendAnswer>;
}

/** Connects with an upstream. */
export type ConnectUpstream = (sink: UpstreamSink) => Upstream;

/** A key and its certificate: PEM texts or DER bytes, as node:tls takes them. */
export interface TlsContext {
  /** The private key. */
  readonly key?: string | Uint8Array;
  /** Its certificate, followed by the chain up to the root. */
  readonly cert?: string | Uint8Array;
  /** Certificate authorities that clients' certificates may be issued by. */
  readonly ca?: string | Uint8Array | readonly (string | Uint8Array)[];
  /** Key and certificate in one file, as PKCS #12. */
  readonly pfx?: Uint8Array;
  /** Passphrase of `key` or `pfx`. */
  readonly passphrase?: string;
}

/** Options of TLS for one virtual host. Options that it leaves out are those of its listener's `tls`. */
export interface HostTlsOptions extends TlsContext {
  /** Certificate revocation lists in PEM. With `ca` of its own a host does not use those of the listener. */
  readonly crl?: string | Uint8Array | readonly (string | Uint8Array)[];
  /** Whether clients are asked for a certificate: `req.peerCertificate`. */
  readonly requestCert?: boolean;
  /**
   * Whether clients without a valid certificate are refused. Default: as `requestCert`; false: the handler checks
   * `authorized`.
   */
  readonly rejectUnauthorized?: boolean;
}

/** Options of TLS. They are cloned to the worker, so they hold no functions. */
export interface TlsOptions extends HostTlsOptions {
  /** Cipher suites, in the notation of node:tls. */
  readonly ciphers?: string;
  /** Named curves for the key exchange, separated by colons, or "auto". Default: "auto". */
  readonly ecdhCurve?: string;
  /** Signature algorithms, separated by colons. */
  readonly sigalgs?: string;
  /** Diffie-Hellman parameters in PEM. */
  readonly dhparam?: string | Uint8Array;
  /** Whether the server's order of ciphers is used instead of the client's. */
  readonly honorCipherOrder?: boolean;
  /** Time (s) during which a TLS session may be resumed. */
  readonly sessionTimeout?: number;
  /** 48 bytes, equal on all servers that resume each other's TLS sessions. */
  readonly ticketKeys?: Uint8Array;
  /** The oldest version that is accepted. Default: TLS 1.2. */
  readonly minVersion?: "TLSv1.2" | "TLSv1.3";
  /** The newest version that is accepted. */
  readonly maxVersion?: "TLSv1.2" | "TLSv1.3";
}

/** A virtual host, as a listener knows it. */
export interface ListenerHost {
  /** Its number, from 1 on. */
  readonly number: number;
  /** Its name: "a.example", "*.a.example", ".a.example" or "*". */
  readonly name: string;
  /** All its options of TLS; undefined: the listener's. */
  readonly tls: TlsOptions | undefined;
}

/** Accepts a connection. It returns undefined when there is no room; the link has been closed then. */
export type Accept = (link: Link) => Sink | undefined;

/** How TCP keep-alive probes are sent. */
export interface KeepAlive {
  /** Idle time (s) before the first probe. */
  readonly idle: number;
  /** Time (s) between two probes. */
  readonly interval: number;
  /** Number of probes without an answer after which a connection is lost. */
  readonly count: number;
}

export interface ListenOptions {
  port: number;
  hostname: string;
  backlog: number;
  noDelay: boolean;
  /** TCP keep-alive probes; undefined: none are sent. */
  keepAlive: KeepAlive | undefined;
  ipv6Only: boolean;
  /** Path of a Unix socket, instead of host and port. */
  path?: string | undefined;
  /** Permissions of the Unix socket's file; undefined: as the umask leaves them. */
  mode?: number | undefined;
  /** Descriptor of a listening socket, instead of host, port and path. */
  fd?: number | undefined;
  /** Options of TLS; undefined: plain TCP. */
  tls?: TlsOptions | undefined;
  /** Virtual hosts of a listener with TLS; undefined: none has certificates of its own. */
  hosts?: readonly ListenerHost[] | undefined;
  /** Time limit (ms) of a TLS handshake. */
  handshakeTimeout: number;
  /** Whether a PROXY header precedes TLS. The pump calls `secure` after it. */
  proxied: boolean;
  /** Whether requests without TLS are redirected. */
  redirects: boolean;
}

/** The address of a listener. */
export interface ListenerAddress {
  /** The host name or address; "" for a Unix socket. */
  readonly hostname: string;
  /** The TCP port; undefined for a Unix socket. */
  readonly port: number | undefined;
  /** The path of a Unix socket. */
  readonly path?: string;
}

/** A listening socket. */
export interface Listener extends ListenerAddress {
  /** How its connections are held, for the statistics. */
  readonly transport?: Stats["transport"];
  /** Stops accepting. Connections stay open. */
  close(): void;
  /**
   * Prepares other certificates for new handshakes.
   * @param hosts the virtual hosts, as in `ListenOptions`
   * @returns a function that uses them from then on, and never throws
   * @throws Error when one cannot be used
   */
  prepareTls?(tls: TlsOptions, hosts: readonly ListenerHost[] | undefined): () => void;
}

/** A link's send queue. */
export interface SendQueue {
  /** Number of bytes that the kernel has accepted and the peer has not acknowledged. */
  readonly bytes: number;
  /** Whether the peer's kernel answers, as far as is known. It answers for a process that does not read. */
  readonly answers: boolean;
}

/**
 * Reads the links' send queues. `report` is called once, later. An entry is undefined when that queue cannot be read;
 * the whole result is undefined when no queue can be read, now or ever.
 */
export type ReadQueues = (
  links: readonly Link[],
  report: (queues: readonly (SendQueue | undefined)[] | undefined) => void,
) => void;

export interface Transport {
  /** Reads clients' progress where the platform reports it. It is asked before a client is ended for making none. */
  readonly queues?: ReadQueues;
  /** Whether it copies bytes that it cannot write at once, also without TLS. */
  readonly copies?: boolean;
  /**
   * @param window memory that the links read into
   * @param failed called with errors of single accepts, and with warnings that accepts are about to fail; the listener
   * continues
   */
  listen(
    options: ListenOptions,
    window: Uint8Array,
    accept: Accept,
    failed: (error: Error) => void,
  ): Promise<Listener>;
  /** Returns the function that connects with an upstream, on platforms that have sockets. */
  upstream?(address: UpstreamAddress): ConnectUpstream;
}

/** A file that lines are appended to. */
export interface LineFile {
  /** Opens the file, again if it is open, because it was renamed. @throws Error, and nothing changes */
  open(): void;
  /**
   * Appends lines, which stay as they are until `done` is called. There is one call at a time.
   * @param done called with the error when not all of them were written
   */
  append(lines: Uint8Array, done: (error?: Error) => void): void;
  close(): void;
}

/** Raw deflate without context (RFC 7692 7.2). Where a platform has no synchronous one, compression is declined. */
export interface Codec {
  /** Compresses a whole message, and leaves off the four octets of the tail. @param windowBits 8 … 15 */
  deflate(data: Uint8Array, windowBits: number): Uint8Array;
  /** Inflates a whole message. The result belongs to the caller. "large": over `limit` bytes; "bad": not deflate. */
  inflate(data: Uint8Array, limit: number): Uint8Array | "large" | "bad";
  /**
   * Begins to inflate a large message in steps, between which other clients are served; undefined where the platform
   * cannot. Without it a large message is inflated in one call.
   */
  begin?(): Inflation | undefined;
  /** Largest message (bytes) that is inflated in one call where there are steps. */
  readonly smallBytes?: number;
}

/** A message that is being inflated in steps. */
export interface Inflation {
  /** True once the whole message has been inflated. */
  readonly isDone: boolean;
  /**
   * Inflates the next bytes. A step takes less than a millisecond, whatever the message is.
   * @param data the whole message, the same in each step
   * @returns number of bytes written at the start of `out`, which may be 0; "bad": not deflate
   */
  step(data: Uint8Array, out: Uint8Array): number | "bad";
  /** Releases its memory. Nothing is called afterwards. */
  end(): void;
}

/** The pump's clock and its end of turn. In tests it is virtual. */
export interface Clock {
  /** Returns monotonic ms. */
  now(): number;
  /** Returns Unix ms. */
  date(): number;
  /** Runs `fn` at the end of this turn of the event loop. */
  defer(fn: () => void): void;
  /** Runs `fn` after `ms`. @returns a function that cancels it */
  after(ms: number, fn: () => void): () => void;
}

/** Threads that handle requests, on platforms that have them. */
export interface Threads {
  /** Handles one task. Rejects when its thread ends, or when `signal` aborts, which ends the thread. */
  run(task: unknown, transfer: readonly ArrayBuffer[], signal: AbortSignal): Promise<unknown>;
  /** Called with messages that a thread sends in addition to the results of its tasks. */
  onMessage: ((message: unknown) => void) | undefined;
  /** Returns the number of threads, the tasks completed, and the run times of tasks (ms). */
  stats(): {
    readonly threads: number;
    readonly completed: number;
    readonly runTime: { readonly mean: number; readonly p99: number; readonly max: number };
  };
  /** Resets the run times. */
  resetTimes(): void;
  /** Ends all threads. */
  destroy(): Promise<void>;
}

/** A thread's end of the port over which it sends a response piece by piece. */
export interface PiecePort {
  postMessage(message: unknown): void;
  on(event: "message", listener: (message: unknown) => void): unknown;
  on(event: "close", listener: () => void): unknown;
  close(): void;
}

/**
 * A message over a page's byte channel, in either direction: bytes, which are transferred; the number of bytes
 * received; "end" of the sender's side after its bytes; "close" of both sides; "reset" at once.
 */
export type ChannelMessage = ArrayBuffer | number | "end" | "close" | "reset";
