// The options that an application gives to `serve` and to a running server. This file holds types only.
// options/table.ts has each option's default and range, from which options/members.ts is generated, and
// options/settle.ts reads the values.

import type { HostTlsOptions, TlsOptions } from "../../worker/net/transport";
import type { CloseCause, HandlerModule } from "../handler";
import type { ListenerName, LiveName, PoolOptions, TableOptions } from "./members";

export type { ListenerName, LiveName, PoolOptions } from "./members";

/** Fields of a log line: the event's name, and more by its kind. An error is `err`, as pino's serializers expect. */
export type LogFields = Readonly<Record<string, unknown>> & { readonly event: string };
/** A logger's method for one level. */
export type LogMethod = (fields: LogFields, message: string) => void;

/** A logger of pino's shape. Each method is optional; lines of a level without a method are dropped. */
export interface Logger {
  /** TLS handshakes failed, in batches. Single requests and connections are not logged. */
  debug?: LogMethod;
  /** The server listens, was reloaded or configured, shuts down, has ended. */
  info?: LogMethod;
  /** Clients were evicted, in batches; a reload failed; the upstream of `raw` could not be reached. */
  warn?: LogMethod;
  /** The errors that `onError` receives. */
  error?: LogMethod;
}

/** Options of `serve`. Each option except `handler` has a default. */
export interface Options<User = unknown> extends TableOptions {
  /**
   * Several listeners of one server: TCP, TLS, Unix sockets and inherited descriptors, 1 … 32 of them, as in
   * `[{ port: 80 }, { port: 443, tls }, { path: "/run/app.sock", mode: 0o660 }, { fd: 3 }]`. All are opened, or none;
   * the error names the entry. A listener's own options (`port`, `hostname`, `path`, `fd`, `tls`, …) are options of the
   * entries then, and refused beside them. Default: one listener, which the options beside `listen` describe.
   */
  listen?: readonly ListenerOptions[];
  /** Path of a Unix socket to listen on, instead of hostname and port. Default: none. */
  path?: string;
  /**
   * File descriptor of a listening socket that this process was given, instead of hostname, port and path. With systemd
   * (LISTEN_FDS) it is 3. The server closes it when it ends. On Linux a second server of the process that is given the
   * same descriptor fails with EADDRINUSE. Default: none.
   */
  fd?: number;
  /** The key and certificate for TLS. `virtualHosts` has more, by the name that clients ask for. Default: no TLS. */
  tls?: TlsOptions;
  /**
   * Hosts with certificates, handlers and origins of their own, 1 … 1,000 of them, by name: "a.example", "*.a.example"
   * where `*` is any one label, ".a.example" for "a.example" and every name below it, or "*" for any host. The first of
   * these kinds that matches is used, and of two with a leading dot the longer one. Names have no port, and
   * international ones are written as "xn--…". A request for another host reaches `handler`. `hosts` applies first.
   * Default: none.
   */
  virtualHosts?: Readonly<Record<string, VirtualHostOptions>>;
  /**
   * Origins whose pages may open WebSockets: "https://a.example", "https://*.a.example" where `*` is any one label, or
   * "*" for any origin. Default: the server's own origin, which is the host and port that the request names, and over
   * TLS only with https:. A refused origin is reported once, with the name of this option.
   */
  origins?: readonly string[];
  /**
   * Hosts that requests may name, with or without port: "a.example", or "*.a.example" where `*` is any one label.
   * Default: any host. Guards against DNS rebinding.
   */
  hosts?: readonly string[];
  /**
   * Subprotocols of the server. If an upgrade names none, the first one that the client offers is chosen.
   * Default: none.
   */
  protocols?: readonly string[];
  /**
   * Modules by subprotocol: the URL of a module for each name, 1 … 1,000 of them, as in
   * `{ chat: new URL("./chat.mjs", import.meta.url) }`. They run in the worker, wherever `handler` runs. An upgrade
   * belongs to the module of the first subprotocol that the client offers and that has one, unless a mount with a proxy
   * or a handler has its path. The module's `request` decides about it; without one it is accepted. The other members
   * get the WebSocket's events. `res.upgrade({ handler: "chat" })` gives a WebSocket to a module by its name. Default:
   * none.
   */
  protocolHandlers?: Readonly<Record<string, URL | string>>;
  /** Name of the module that upgrades belong to for which the client offers no subprotocol. Default: none. */
  defaultProtocol?: string;
  /** Value of the Server field in every response, at most 256 characters. Default: "", no such field. */
  serverHeader?: string;
  /**
   * The upstream of connections that are not HTTP, on every listener: "host:port", "[::1]:port", or the absolute path
   * of a Unix socket. A connection whose first bytes cannot begin an HTTP request, such as those of SSH or TLS, or that
   * is silent for `rawTimeout`, is connected with it, byte for byte. Over TLS the bytes are the decrypted ones. At most
   * half of `maxConnections` are connected at a time. Default: none, so such connections get 400.
   */
  raw?: string;
  /**
   * Proxies whose forwarding headers are trusted: addresses, ranges such as "10.0.0.0/8", or "loopback", "linklocal",
   * "uniquelocal", "unix" (the peers of a Unix socket). Default: none.
   */
  trustProxy?: readonly string[];
  /**
   * Peers that must begin each connection with a PROXY header, as in `trustProxy`; true: all. Others are refused.
   * Default: none.
   */
  proxyProtocol?: boolean | readonly string[];
  /**
   * The handler. Either the URL of its module, which the worker imports and runs, or an object of functions, or a
   * function `(server) => handler`; functions run on the calling thread. Default: none, so
   * each request gets 404.
   */
  handler?: URL | string | HandlerModule<User>;
  /** Address to listen on. Default: "127.0.0.1", which accepts connections from this machine only. */
  hostname?: string;
  /** When this signal aborts, the server shuts down as with `shutdown()`. Default: none. */
  signal?: AbortSignal;
  /** Called with the clients that were evicted, in batches. Default: none. */
  onEvict?: (evictions: readonly Eviction[]) => void;
  /**
   * Called with each error, and `where` it occurred: an error of a handler ("request", "message", …), an error that was
   * not caught in a thread of the server ("uncaught": from a timer, or an unhandled rejection), an error of `onEvict`,
   * a failure to accept connections, the end of the worker. An error that `onError` itself throws is printed.
   * Default: `logger`, and console.error if there is no logger. An error may quote what a client sent. Control
   * characters in its message and stack, except line breaks and tabs, are replaced by escapes such as `\x1b`.
   */
  onError?: (error: Error, where: string) => void;
  /** Receives the server's events, with the methods of pino; errors too, in addition to `onError`. Default: none. */
  logger?: Logger;
  /**
   * Bodies of error responses by status, 400 … 599, of 1 to 65,536 bytes: paths or file: URLs of .html, .txt or .json
   * files, which are read at the start, or `{ type, body }`. The server's own refusals have them, and responses of the
   * handler with an empty body, no Content-Type and no Content-Encoding. Default: a line of text in the server's own
   * refusals.
   */
  errorPages?: Readonly<Record<number, string | URL | ErrorPageContent>>;
  /**
   * Files, redirects and handlers below some paths, in front of the handler: the one with the longest path that the
   * request's path begins with, at a slash. Default: none.
   */
  mounts?: readonly MountOptions[];
  /**
   * Writes a line for each response: `{ file: "access.log" }`, or "-" for the standard output; `format: "json"` instead
   * of "combined". The worker writes it. Default: no log.
   */
  accessLog?: AccessLogOptions;
  /** Serves the metrics (`server.metrics()`) from the worker, before the handler. Default: they are not served. */
  metrics?: MetricsOptions;
  /**
   * Runs `request` of a handler module in a pool of threads. Other events run in the worker's copy of the module.
   * Default: no pool.
   */
  pool?: PoolOptions;
}

/** Options of one listener, an entry of `listen`. Defaults are those of the server's options of the same name. */
export interface ListenerOptions
  extends Pick<TableOptions, ListenerName>,
    Pick<Options, "hostname" | "path" | "fd" | "tls" | "proxyProtocol"> {
  /**
   * Permissions of the file of a Unix socket, 0 … 0o777, such as 0o660. Clients need the right to write. Needs `path`.
   * Default: as the process's umask leaves them.
   */
  mode?: number;
  /**
   * "https": each request is answered with 308 and the same URL over TLS, at the port of the first listener with `tls`.
   * Requests below `/.well-known/acme-challenge/` reach the handler. `hosts` applies first; with `virtualHosts` and
   * without `hosts`, a request for a host that no entry names gets 421. On a listener with `tls` (on Node) it redirects
   * requests that come without TLS, which get 400 otherwise. Default: no redirect.
   */
  redirect?: "https";
}

/** Options of one virtual host, an entry of `virtualHosts`. */
export interface VirtualHostOptions {
  /**
   * Its key and certificate, used at listeners with `tls` for clients that name it (SNI). Options that it leaves out
   * are the listener's. On Node `requestCert`, `rejectUnauthorized`, `ca` and `crl` may differ from host to host; a
   * request for a host that asks for other client certificates than the one its connection was opened for gets 421.
   * Default: the listener's certificate.
   */
  tls?: HostTlsOptions;
  /**
   * URL of the module that handles its requests and WebSockets. It runs in the worker, wherever `handler` runs, and
   * hosts with the same URL share one instance. `connect` and `disconnect` are the main handler's alone, because a
   * connection belongs to no host before its first request. Default: `handler` of the server.
   */
  handler?: URL | string;
  /** Its origins, instead of the server's. Default: `origins` of the server. */
  origins?: readonly string[];
  /**
   * The listeners at which it is valid: ports and paths of Unix sockets, as the listeners' options give them. Elsewhere
   * its name is not known. Default: all.
   */
  listen?: readonly (number | string)[];
  /** Its mounts, instead of the server's. Default: `mounts` of the server. */
  mounts?: readonly MountOptions[];
}

/** Changes of a virtual host while the server runs. */
export type LiveHostOptions = Pick<VirtualHostOptions, "tls">;

/**
 * One mount, an entry of `mounts`. One of `files`, `zip`, `source`, `proxy`, `redirect`
 * and `handler` is its kind.
 */
export interface MountOptions {
  /** Path below which it serves, such as "/" or "/assets". */
  path: string;
  /**
   * Folder whose files it serves to GET and HEAD: its path, or its file: URL. Names that begin with a dot (except
   * `.well-known`), and links that lead out of the folder, are not found. Requests for other files reach the handler.
   */
  files?: string | URL;
  /** Zip archive whose files it serves: its path, or its file: URL. It is opened at the start and by `reload`. */
  zip?: string | URL;
  /**
   * URL of a module whose default export is a file system: an object with `open(path)`, or a function that returns or
   * resolves with one. The worker serves its files as those of a folder.
   */
  source?: URL | string;
  /**
   * The server behind this one that handles the requests, WebSockets too: "http://host:port", "https://host:port" or
   * "unix:/path/to.sock". Targets and Host stay as they are. X-Forwarded-For, -Proto, -Host and Forwarded name the
   * client; fields of that name that came with the request are dropped, unless `trustProxy` names the peer.
   */
  proxy?: string;
  /** Whether `path` is left out of the targets for `proxy`. Default: false. */
  strip?: boolean;
  /** ms for which `proxy` may send nothing: 504, or the end of a response that has begun. Default: 60,000. */
  timeout?: number;
  /** URL or path to which requests are redirected, with the rest of their path and their query. */
  redirect?: string;
  /** Status of the redirect: 301, 302, 303, 307 or 308. Default: 302. */
  status?: number;
  /** URL of a module that handles the requests and their WebSockets, in the worker. */
  handler?: URL | string;
  /** Name of the file that the URL of a folder serves; false: none. Default: "index.html". */
  index?: string | false;
  /**
   * File below the mount that a navigation (GET for text/html) gets when its path is not found and has no dot in its
   * last segment, for applications that route in the page. Default: none.
   */
  spa?: string;
  /** Seconds for which caches may use a file without asking again, 0 … 31,536,000. Default: 0. */
  maxAge?: number;
  /** Path below the mount of files that never change, such as "/assets/". Caches keep them a year. Default: none. */
  immutable?: string;
  /** Media types by the ends of names, such as `{ md: "text/markdown" }`, before the usual ones. Default: none. */
  types?: Readonly<Record<string, string>>;
  /** Further fields of its responses. Default: none. */
  headers?: Readonly<Record<string, string>>;
  /** Clients that it serves, as in `trustProxy`; others get 403. true: all. Default: all. */
  addresses?: boolean | readonly string[];
  /** Whether it serves nothing but `res.pass(path)`, as behind a login. Default: false. */
  internal?: boolean;
}

/** An error page that is in no file. */
export interface ErrorPageContent {
  /** Its Content-Type, such as "text/html; charset=utf-8". */
  type: string;
  /** The page. A string is sent as UTF-8. */
  body: string | Uint8Array;
}

/** Options of the access log. */
export interface AccessLogOptions {
  /** Path of the file that lines are appended to, which only the owner and the group may read; "-": standard output. */
  file: string;
  /**
   * "combined", as Apache and nginx write it, in UTC; or "json", an object in each line, with `host` and the time `ms`
   * from the request to its response. Default: "combined".
   */
  format?: "combined" | "json";
}

/** Options of the metrics that are served. */
export interface MetricsOptions {
  /** The path of the URL. Default: "/metrics". */
  path?: string;
  /**
   * Clients that may read the metrics; others get 403. Addresses as in `trustProxy`; true: every client. Default:
   * ["loopback"], this machine. A request that a proxy on this machine forwards (X-Forwarded-For, Forwarded) gets 403
   * unless `trustProxy` names the proxy; then the address of the client decides.
   */
  addresses?: boolean | readonly string[];
}

/** A client whose TLS handshake failed. */
export interface FailedHandshake {
  /** The client's address. */
  readonly remoteAddress: string;
  /** The error's code, such as "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA" or "ERR_TLS_HANDSHAKE_TIMEOUT". */
  readonly code: string;
  /** The alert that the client sent, or the reason why the server refused it, as OpenSSL names it. */
  readonly reason: string;
}

/** An upstream that could not be reached. */
export interface FailedUpstream {
  /** The address, as the option gives it. */
  readonly upstream: string;
  /** Number of connections since the last report. */
  readonly count: number;
  /** The last error's code, such as "ECONNREFUSED"; "ETIMEDOUT": the upstream did not answer in time. */
  readonly code: string;
  /** The last error's message. */
  readonly reason: string;
}

/** A client that was evicted. */
export interface Eviction {
  /** The connection's id, no longer valid. */
  readonly id: number;
  /** The client's address. */
  readonly remoteAddress: string;
  /** The cause, such as "WsClientTooSlow". */
  readonly cause: CloseCause;
  /** Bytes of the ring that were not delivered to the client. */
  readonly lagBytes: number;
  /** Age of the connection in ms, since it was accepted. */
  readonly age: number;
}

/** Options of `shutdown`. */
export interface ShutdownOptions {
  /** Time for requests and closing handshakes to end in order, after `drainMs`: 0 … 86,400,000 ms, default 10,000. */
  timeout?: number;
  /** Period over which the WebSockets are closed: 0 … 86,400,000 ms; default 0: all at once. */
  drainMs?: number;
}

/** Options that `configure` can change. */
export interface LiveOptions extends Pick<Options, LiveName | "tls"> {
  /** Certificates of virtual hosts, by the names that they have in `virtualHosts`. Other hosts keep theirs. */
  virtualHosts?: Readonly<Record<string, LiveHostOptions>>;
}
