// The transport interface: what the pump needs of a platform's sockets. Types only; one thin file for
// each platform implements them in net/.

import type { PeerCertificate } from "../../host/handler";

export type { CertificateNames, PeerCertificate } from "../../host/handler";

/** One accepted connection. */
export interface Link {
  /** The peer's address without port, "" when it is not known. */
  readonly remoteAddress: string;
  /** The certificate that the peer has shown. */
  readonly peerCertificate?: PeerCertificate | undefined;
  /**
   * Writes bytes of the engine's memory, which the transport may hold until it is through with them.
   * @returns true when it is through on return; else `sink.written()` follows, unless the link ends
   */
  write(view: Uint8Array): boolean;
  /** Half-closes behind what was written. */
  end(): void;
  /** Stops, goes on with reading. A stopped reader notices no FIN. */
  pause(): void;
  resume(): void;
  /** Closes; the kernel sends what it has. */
  destroy(): void;
  /** Closes and drops what was written: afterwards the memory is not read any more. */
  reset(): void;
  /**
   * Negotiates TLS; `sink.secured()` follows, or `sink.lost`. Only a link that is accepted before that has it.
   * @param first bytes of the handshake that have been read already
   */
  secure?(first: Uint8Array): void;
}

/** What a link tells the pump. */
export interface Sink {
  /** `n` bytes lie in the receive window. The pump has taken them in on return. */
  read(n: number): void;
  /** TLS is established. */
  secured(): void;
  /** The write that was outstanding is complete. */
  written(): void;
  /** The peer ended its side. */
  ended(): void;
  /**
   * The link is gone, without the pump having asked for it.
   * @param why "handshake": TLS could not be negotiated
   */
  lost(error: Error | undefined, why?: "handshake"): void;
}

/** A key and its certificate: PEM texts or DER bytes, as node:tls takes them. */
export interface TlsContext {
  /** The private key. */
  readonly key?: string | Uint8Array;
  /** Its certificate, and those that lead to the root. */
  readonly cert?: string | Uint8Array;
  /** Authorities that clients' certificates may come from. */
  readonly ca?: string | Uint8Array | readonly (string | Uint8Array)[];
  /** Key and certificate in one, as PKCS #12. */
  readonly pfx?: Uint8Array;
  /** What `key` or `pfx` is encrypted with. */
  readonly passphrase?: string;
}

/** What TLS needs. It travels to the worker, so there are no functions in it. */
export interface TlsOptions extends TlsContext {
  /** Cipher suites, in the notation of node:tls. */
  readonly ciphers?: string;
  /** Named curves for the key exchange, separated by colons, or "auto". Default: "auto". */
  readonly ecdhCurve?: string;
  /** Signature algorithms, separated by colons. */
  readonly sigalgs?: string;
  /** Diffie-Hellman parameters in PEM. */
  readonly dhparam?: string | Uint8Array;
  /** Certificate revocation lists in PEM. */
  readonly crl?: string | Uint8Array | readonly (string | Uint8Array)[];
  /** Uses the server's order of ciphers instead of the client's. */
  readonly honorCipherOrder?: boolean;
  /** s that a session may be resumed. */
  readonly sessionTimeout?: number;
  /** 48 bytes, the same for servers that are to resume each other's sessions. */
  readonly ticketKeys?: Uint8Array;
  /** The oldest version that is spoken; default TLS 1.2. */
  readonly minVersion?: "TLSv1.2" | "TLSv1.3";
  /** The newest one. */
  readonly maxVersion?: "TLSv1.2" | "TLSv1.3";
  /**
   * Other keys and certificates by the host that a client names (SNI): "a.example", or "*.example" for one label
   * in front of it. Who names none of them, or nothing, gets the one above. Their `ca` is the one above unless they
   * have one.
   */
  readonly sni?: Readonly<Record<string, TlsContext>>;
  /** Ask clients for a certificate: `req.peerCertificate`. */
  readonly requestCert?: boolean;
  /** Refuse those without a valid one. Default: as `requestCert`; false: the handler looks at `authorized`. */
  readonly rejectUnauthorized?: boolean;
}

/** Takes in a connection; undefined: there is no room, the link has been closed. */
export type Accept = (link: Link) => Sink | undefined;

export interface ListenOptions {
  port: number;
  hostname: string;
  backlog: number;
  noDelay: boolean;
  /** ms before TCP keep-alive probes; 0: none. */
  keepAlive: number;
  ipv6Only: boolean;
  /** A Unix socket instead of host and port. */
  path?: string | undefined;
  /** A listening socket's descriptor, instead of the others. */
  fd?: number | undefined;
  /** TLS with these options. */
  tls?: TlsOptions | undefined;
  /** ms for a TLS handshake. */
  handshakeTimeout: number;
  /** A PROXY header comes before TLS: the pump calls `secure` behind it. */
  proxied: boolean;
}

/** A listening socket. */
export interface Listener {
  readonly hostname: string;
  readonly port: number;
  readonly path?: string;
  /** Accepts no more. Connections stay. */
  close(): void;
  /** New handshakes use these certificates. @throws Error where the platform cannot */
  setTls?(tls: TlsOptions): void;
}

/** A link's send queue. */
export interface SendQueue {
  /** Bytes that the kernel took and the peer has not acknowledged. */
  readonly bytes: number;
  /** The peer's kernel answers, as far as is known: what its process does not read waits there. */
  readonly answers: boolean;
}

/**
 * Reads the links' send queues: undefined for one that cannot be read. `told` is called later, once; with undefined
 * when no queue can be read at all, now or ever.
 */
export type ReadQueues = (
  links: readonly Link[],
  told: (queues: readonly (SendQueue | undefined)[] | undefined) => void,
) => void;

export interface Transport {
  /** How far clients have got, where the platform can tell: before one is ended because it makes no progress. */
  readonly queues?: ReadQueues;
  /** Where what cannot be written at once is copied, a long run for each stalled client would be memory. */
  readonly maxRunBytes?: number;
  /**
   * @param window where the links read to
   * @param failed told of errors of single accepts, and of what will make them fail; the listener goes on
   */
  listen(
    options: ListenOptions,
    window: Uint8Array,
    accept: Accept,
    failed: (error: Error) => void,
  ): Promise<Listener>;
}

/**
 * Raw deflate without context (RFC 7692 7.2). Where a platform has none that is synchronous, compression is
 * declined.
 */
export interface Codec {
  /** Compresses a whole message, without the four octets of the tail. @param windowBits 8 … 15 */
  deflate(data: Uint8Array, windowBits: number): Uint8Array;
  /** Inflates a whole message, which is the caller's to keep; "large": over `limit` bytes, "bad": not deflate. */
  inflate(data: Uint8Array, limit: number): Uint8Array | "large" | "bad";
}

/** The pump's clock and its end of turn; virtual in tests. */
export interface Clock {
  /** Monotonic ms. */
  now(): number;
  /** Unix ms. */
  date(): number;
  /** Runs `fn` at the end of this turn of the event loop. */
  defer(fn: () => void): void;
  /** Runs `fn` in `ms`; returns a function that cancels it. */
  after(ms: number, fn: () => void): () => void;
}

/** Threads that requests are handled in; the platform has them or not. */
export interface Threads {
  /** Handles one task. Rejected when its thread ends, or when `signal` aborts it: then the thread is ended. */
  run(task: unknown, transfer: readonly ArrayBuffer[], signal: AbortSignal): Promise<unknown>;
  /** Told of messages that a thread sends beside the results of its tasks. */
  onMessage: ((message: unknown) => void) | undefined;
  /** Threads there are, tasks done, ms that tasks took. */
  stats(): {
    readonly threads: number;
    readonly completed: number;
    readonly runTime: { readonly mean: number; readonly p99: number; readonly max: number };
  };
  /** Forgets what tasks took so far. */
  resetTimes(): void;
  /** Ends all threads. */
  destroy(): Promise<void>;
}

/** A thread's end of what it sends piece by piece. */
export interface PiecePort {
  postMessage(message: unknown): void;
  on(event: "message", listener: (message: unknown) => void): unknown;
  on(event: "close", listener: () => void): unknown;
  close(): void;
}

/**
 * What goes over a page's byte channel, either way: bytes, which are transferred; how many of them have been
 * taken in; the end of the sender's side behind its bytes ("end"), of both sides ("close"), at once ("reset").
 */
export type ChannelMessage = ArrayBuffer | number | "end" | "close" | "reset";
