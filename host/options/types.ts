// What an application may give to `serve`, and to a server that runs. Types alone: options/table.ts says what each
// option is by default and may be, options/settle.ts reads them.

import type { TlsOptions } from "../../worker/net/transport";
import type { HandlerModule } from "../handler";
import type { Logger } from "../log";
import type { Size } from "./size";

/** Options of `serve`. All but `handler` have defaults. */
export interface Options<User = unknown> {
  /** A Unix socket to listen on, instead of hostname and port. */
  path?: string;
  /**
   * A listening socket that this process was given, by its descriptor, instead of hostname, port and path: of systemd
   * (LISTEN_FDS) it is 3. The server closes it when it ends. Linux: a second server of the process that wants it is
   * refused with EADDRINUSE.
   */
  fd?: number;
  /** TLS with this key and certificate, and others by the name that clients ask for. */
  tls?: TlsOptions;
  /**
   * Origins whose pages may open WebSockets: "https://a.example", "https://*.a.example" for any one label in its place,
   * "*" for any. Default: the server's own, host and port as the request names them; over TLS of https: alone. A
   * refused origin is reported once, with this option's name.
   */
  origins?: readonly string[];
  /**
   * Hosts that requests may name, with or without port: "a.example", "*.a.example" for any one label in its place;
   * default any. Guards against DNS rebinding.
   */
  hosts?: readonly string[];
  /** Subprotocols, of which the first that a client offers is chosen when its upgrade names none. */
  protocols?: readonly string[];
  /** Value of a Server field in every answer, at most 256 characters; default "": none. */
  serverHeader?: string;
  /**
   * Peers that are believed to pass requests on for others: addresses, ranges such as "10.0.0.0/8", or "loopback",
   * "linklocal", "uniquelocal", "unix" (the peers of a Unix socket). Default: none.
   */
  trustProxy?: readonly string[];
  /** Peers that begin each connection with a PROXY header, named as in `trustProxy`; true: all. Others are refused. */
  proxyProtocol?: boolean | readonly string[];
  forwardedHeader?: "x-forwarded-for" | "forwarded";
  requireOrigin?: boolean;
  noDelay?: boolean;
  tcpKeepAlive?: number;
  ipv6Only?: boolean;
  perMessageDeflate?: boolean;
  deflateThreshold?: Size;
  /**
   * The handler: the URL of its module, which the worker imports and runs; or its functions, or a function
   * `(server) => handler`, which stay on this thread.
   */
  handler?: URL | string | HandlerModule<User>;
  /** Port to listen on; 0 picks a free one. */
  port?: number;
  /** Address to listen on. */
  hostname?: string;
  /** Connections the kernel holds before they are accepted. */
  backlog?: number;
  /** Shuts the server down, as `shutdown()` does, when it aborts. */
  signal?: AbortSignal;
  /** Told about clients that were evicted, in batches. */
  onEvict?: (evictions: readonly Eviction[]) => void;
  /**
   * Called with errors: what a handler threw (`where` is "request", "message", …), what nobody caught in a thread of
   * the server's ("uncaught": a timer, an unheard rejection), what `onEvict` threw, what accepting failed with, the end
   * of the worker. What it throws itself is printed. Default: `logger`, and console.error where there is none.
   * A client may have sent what an error quotes: control characters in its message and stack, apart from line breaks
   * and tabs, are escapes such as `\x1b`.
   */
  onError?: (error: Error, where: string) => void;
  /** Told what happens to the server, as pino is: errors too, beside `onError`. Default: nothing is. */
  logger?: Logger;
  /** Serves the metrics (`server.metrics()`) from the worker, in front of the handler. Default: they are not served. */
  metrics?: MetricsOptions;
  maxConnections?: number;
  maxWebSockets?: number;
  maxConnectionsPerAddress?: number;
  maxReceivePerAddress?: Size;
  maxReplyPerAddress?: Size;
  whenFull?: "refuse" | "evict";
  ring?: Size;
  maxFrames?: number;
  maxQueuedFrames?: number;
  maxRunBytes?: Size;
  slowGrace?: number;
  flushInterval?: number;
  inbox?: Size;
  receiveBuffers?: Size;
  replyBuffers?: Size;
  maxBacklog?: Size;
  maxTopics?: number;
  maxSubscriptions?: number;
  maxMemory?: Size;
  maxHeadLength?: Size;
  maxHeaders?: number;
  maxTargetLength?: Size;
  maxBodyLength?: Size;
  maxStreamLength?: Size;
  maxRequestsPerSocket?: number;
  requireContentLength?: boolean;
  maxPayloadLength?: Size;
  maxFragments?: number;
  messageRate?: number;
  messageBurst?: number;
  fragments?: boolean;
  ordered?: boolean;
  /** Runs `request` of a handler module in a pool of threads; the other events run in the worker's copy of it. */
  pool?: PoolOptions;
  maxPendingRequests?: number;
  maxPendingBytes?: Size;
  handshakeTimeout?: number;
  headersTimeout?: number;
  requestTimeout?: number;
  keepAliveTimeout?: number;
  writeTimeout?: number;
  idleTimeout?: number;
  sendPings?: boolean;
  pingInterval?: number;
  closeTimeout?: number;
  bufferTimeout?: number;
  minReceiveRate?: Size;
  minSendRate?: Size;
  rateGrace?: number;
  loadTimeout?: number;
  heap?: Size;
}

/** Options of a pool of threads. */
export interface PoolOptions {
  threads?: number;
  backlog?: number;
  handlerTimeout?: number;
  heap?: Size;
}

/** Options of metrics that are served. */
export interface MetricsOptions {
  /** The path of the URL; default "/metrics". */
  path?: string;
  /**
   * Who may read them; others get 403. Addresses as in `trustProxy`; true: everybody. Default: ["loopback"], this
   * machine, but for what a proxy on it passes on in the name of others (X-Forwarded-For, Forwarded), unless
   * `trustProxy` names the proxy: then the client's address counts.
   */
  addresses?: boolean | readonly string[];
}

/** A client that was evicted. */
export interface Eviction {
  /** The id it had. */
  readonly id: number;
  /** Its address. */
  readonly remoteAddress: string;
  /** The enumerated cause, such as "WsClientTooSlow". */
  readonly cause: string;
  /** Bytes of the ring it had not been delivered. */
  readonly lagBytes: number;
  /** How long ago its connection was accepted, in ms. */
  readonly age: number;
}

/** How a server ends. */
export interface ShutdownOptions {
  /** ms, 0 … 86,400,000, for requests and closing handshakes to end in order, behind `drainMs`; default 10,000. */
  timeout?: number;
  /** ms, 0 … 86,400,000, over which the WebSockets are closed; default 0: all at once. */
  drainMs?: number;
}

/** Options that `configure` may change. */
export type LiveOptions = Pick<Options, LiveName | "tls">;
/** Names of the options that may change while the server runs. */
export type LiveName =
  | "maxConnectionsPerAddress"
  | "maxQueuedFrames"
  | "maxRunBytes"
  | "slowGrace"
  | "flushInterval"
  | "maxBodyLength"
  | "maxStreamLength"
  | "maxRequestsPerSocket"
  | "requireContentLength"
  | "maxPayloadLength"
  | "maxFragments"
  | "headersTimeout"
  | "requestTimeout"
  | "keepAliveTimeout"
  | "writeTimeout"
  | "idleTimeout"
  | "sendPings"
  | "pingInterval"
  | "messageRate"
  | "messageBurst"
  | "closeTimeout"
  | "bufferTimeout"
  | "minReceiveRate"
  | "minSendRate"
  | "rateGrace";
