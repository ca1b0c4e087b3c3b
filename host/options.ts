// Every option: name, unit, default, range, and the region of memory it sizes. One table; validation, the
// memory plan, the README's table and the worker's parameters come from it.

import { Param } from "../assembly/abi";
import { Region, firstParam, regionBytes, secondParam } from "../assembly/plan";
import type { TlsOptions } from "../worker/net";
import { ANY, isRange } from "./address";
import type { HandlerModule } from "./handler";
import { type Logger, checkLogger } from "./log";
import { show } from "./show";
import { checkTlsChange, readTls } from "./tls";

/** Options of `serve`. All but `handler` have defaults. */
export interface Options<User = unknown> {
  /** A Unix socket to listen on, instead of hostname and port. */
  path?: string;
  /**
   * A listening socket that this process was given, by its descriptor, instead of hostname, port and path: of systemd
   * (LISTEN_FDS) it is 3. The server closes it when it ends.
   */
  fd?: number;
  /** TLS with this key and certificate, and others by the name that clients ask for; the rest as node:tls takes it. */
  tls?: TlsOptions;
  /** Origins whose pages may open WebSockets; "*" for any. Default: the page's own host and port. */
  origins?: readonly string[];
  /** Hosts that requests may name, with or without port; default any. Guards against DNS rebinding. */
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
  deflateThreshold?: number;
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
   * Told of errors: what a handler threw, what accepting failed with, the end of the worker. Default: `logger`, and
   * console.error where there is none.
   */
  onError?: (error: Error, where: string) => void;
  /** Told what happens to the server, as pino is: errors too, beside `onError`. Default: nothing is. */
  logger?: Logger;
  /** Serves the metrics (`server.metrics()`) from the worker, in front of the handler. Default: they are not served. */
  metrics?: MetricsOptions;
  maxConnections?: number;
  maxWebSockets?: number;
  maxConnectionsPerAddress?: number;
  maxReceivePerAddress?: number;
  maxReplyPerAddress?: number;
  whenFull?: "refuse" | "evict";
  ring?: number;
  maxFrames?: number;
  maxQueuedFrames?: number;
  maxRunBytes?: number;
  slowGrace?: number;
  flushInterval?: number;
  inbox?: number;
  receiveBuffers?: number;
  replyBuffers?: number;
  maxBacklog?: number;
  maxTopics?: number;
  maxSubscriptions?: number;
  maxMemory?: number;
  maxHeadLength?: number;
  maxHeaders?: number;
  maxTargetLength?: number;
  maxBodyLength?: number;
  maxStreamLength?: number;
  maxRequestsPerSocket?: number;
  requireContentLength?: boolean;
  maxPayloadLength?: number;
  maxFragments?: number;
  messageRate?: number;
  messageBurst?: number;
  fragments?: boolean;
  ordered?: boolean;
  /** Runs `request` of a handler module in a pool of threads; the other events run in the worker's copy of it. */
  pool?: PoolOptions;
  maxPendingRequests?: number;
  maxPendingBytes?: number;
  handshakeTimeout?: number;
  headersTimeout?: number;
  requestTimeout?: number;
  keepAliveTimeout?: number;
  writeTimeout?: number;
  idleTimeout?: number;
  sendPings?: boolean;
  closeTimeout?: number;
  bufferTimeout?: number;
  minReceiveRate?: number;
  minSendRate?: number;
  rateGrace?: number;
  loadTimeout?: number;
  heap?: number;
}

/** Options of a pool of threads. */
export interface PoolOptions {
  threads?: number;
  backlog?: number;
  handlerTimeout?: number;
  heap?: number;
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

/** Names of the options that are plain numbers, flags and words. */
export type OptionName = Exclude<
  keyof Options,
  | "handler"
  | "pool"
  | "signal"
  | "onEvict"
  | "onError"
  | "logger"
  | "metrics"
  | "hostname"
  | "path"
  | "fd"
  | "tls"
  | "serverHeader"
  | ListName
>;

/** Options that are lists of words. */
export type ListName = "origins" | "hosts" | "protocols" | "trustProxy" | "proxyProtocol";
const LISTS: readonly ListName[] = ["origins", "hosts", "protocols", "trustProxy", "proxyProtocol"];

/** One option: a row of `OPTIONS`. */
export interface OptionRow<Name extends string = OptionName> {
  /** Its name. */
  readonly name: Name;
  /** What its numbers count. */
  readonly unit: "bytes" | "MiB" | "ms" | "s" | "count" | "flag" | "word" | "port";
  /** What it is when it is not given. */
  readonly default: number | boolean | string;
  /** The smallest whole number it may be. */
  readonly min?: number;
  /** The largest. */
  readonly max?: number;
  /** What it may be, where it is a word. */
  readonly words?: readonly string[];
  /** Must be a power of two. */
  readonly power?: boolean;
  /** May be changed while the server runs, by `configure`. */
  readonly live?: boolean;
  /** The engine's parameter that it sets. */
  readonly param?: keyof typeof Param;
  /** What one unit of the option is in `param`; default 1. */
  readonly scale?: number;
  /** What it does. */
  readonly text: string;
}

const MiB = 1048576;
const DAY = 86400000;

/** Every option of `serve` that is a number, a flag or a word. */
export const OPTIONS: readonly OptionRow[] = [
  {
    name: "port",
    unit: "port",
    default: 8080,
    min: 0,
    max: 65535,
    text: "Port to listen on; 0 picks a free one.",
  },
  {
    name: "backlog",
    unit: "count",
    default: 511,
    min: 1,
    max: 65535,
    text: "Connections the kernel holds before they are accepted.",
  },
  {
    name: "maxConnections",
    unit: "count",
    default: 1000,
    min: 1,
    max: 524288,
    param: "Connections",
    text: "HTTP connections; when all are taken the oldest lingering, idle or unfinished one goes.",
  },
  {
    name: "maxWebSockets",
    unit: "count",
    default: 10000,
    min: 1,
    max: 524288,
    param: "WebSockets",
    text: "WebSockets; see `whenFull`.",
  },
  {
    name: "maxConnectionsPerAddress",
    live: true,
    unit: "count",
    default: 0,
    min: 0,
    max: 1048576,
    param: "AddressConnections",
    text: "Connections from one address, of IPv6 one /64; more are reset. 0: no limit, as behind a proxy.",
  },
  {
    name: "maxReceivePerAddress",
    unit: "bytes",
    default: 0,
    min: 0,
    max: 2048 * MiB,
    param: "AddressReceiveBytes",
    text: "Bytes of `receiveBuffers` that one address holds; more wait, at most `bufferTimeout`. 0: no limit.",
  },
  {
    name: "maxReplyPerAddress",
    unit: "bytes",
    default: 0,
    min: 0,
    max: 2048 * MiB,
    param: "AddressReplyBytes",
    text: "Bytes of `replyBuffers` that one address holds; `send` is false, an answer a reset. 0: no limit.",
  },
  {
    name: "whenFull",
    unit: "word",
    default: "refuse",
    words: ["refuse", "evict"],
    text: "When `maxWebSockets` are open: refuse the upgrade with 503, or evict the client furthest behind.",
  },
  {
    name: "ring",
    unit: "bytes",
    default: 16 * MiB,
    min: 4096,
    max: 1024 * MiB,
    power: true,
    param: "RingBytes",
    text: "The ring. A client that falls this far behind is evicted.",
  },
  {
    name: "maxFrames",
    unit: "count",
    default: 65536,
    min: 16,
    max: 16777216,
    power: true,
    param: "Frames",
    text: "Frames the ring's index holds; a client further behind is evicted.",
  },
  {
    name: "maxQueuedFrames",
    live: true,
    unit: "count",
    default: 65536,
    min: 1,
    max: 16777216,
    param: "QueuedFrames",
    text: "Frames a client may be behind, at most `maxFrames`.",
  },
  {
    name: "maxRunBytes",
    live: true,
    unit: "bytes",
    default: 262144,
    min: 1024,
    max: 16 * MiB,
    param: "RunBytes",
    text: "Bytes of one write to one client.",
  },
  {
    name: "slowGrace",
    live: true,
    unit: "ms",
    default: 250,
    min: 1,
    max: DAY,
    param: "SlowGrace",
    text: "How long a client without progress, or a publisher that is too fast for most clients, is waited for.",
  },
  {
    name: "flushInterval",
    live: true,
    unit: "ms",
    default: 0,
    min: 0,
    max: 10000,
    text: "Least time between two passes that hand out what is published: fewer, longer writes for that much latency. Answers do not wait. 0: every turn, spaced under saturation.",
  },
  {
    name: "inbox",
    unit: "bytes",
    default: 8 * MiB,
    min: 65536,
    max: 1024 * MiB,
    power: true,
    text: "Shared memory between the application and the worker.",
  },
  {
    name: "receiveBuffers",
    unit: "bytes",
    default: 64 * MiB,
    min: 65536,
    max: 2048 * MiB,
    param: "ReceivePoolBytes",
    text: "Buffers for requests and messages that are not complete; a quarter is kept for small ones.",
  },
  {
    name: "replyBuffers",
    unit: "bytes",
    default: 64 * MiB,
    min: 65536,
    max: 2048 * MiB,
    param: "ReplyPoolBytes",
    text: "Answers and messages for single clients, of all clients together.",
  },
  {
    name: "maxBacklog",
    unit: "bytes",
    default: MiB,
    min: 1024,
    max: 1024 * MiB,
    param: "Backlog",
    text: "Bytes queued for one client above which `send` returns false. One message may be larger.",
  },
  {
    name: "maxTopics",
    unit: "count",
    default: 16384,
    min: 0,
    max: 1048576,
    param: "Topics",
    text: "Topics that are subscribed to at a time.",
  },
  {
    name: "maxSubscriptions",
    unit: "count",
    default: 131072,
    min: 0,
    max: 16777216,
    param: "Subscriptions",
    text: "Subscriptions of all clients together.",
  },
  {
    name: "maxMemory",
    unit: "bytes",
    default: 1024 * MiB,
    min: MiB,
    max: 4096 * MiB,
    text: "Most the engine's memory and the inbox may take together.",
  },
  {
    name: "maxHeadLength",
    unit: "bytes",
    default: 16384,
    min: 256,
    max: 65535,
    param: "HeadBytes",
    text: "A request's line and fields; more is 431.",
  },
  {
    name: "maxHeaders",
    unit: "count",
    default: 100,
    min: 4,
    max: 4096,
    param: "Headers",
    text: "Fields of a request; more is 431.",
  },
  {
    name: "maxTargetLength",
    unit: "bytes",
    default: 8192,
    min: 16,
    max: 65000,
    param: "TargetBytes",
    text: "A request's target; more is 414.",
  },
  {
    name: "maxBodyLength",
    live: true,
    unit: "bytes",
    default: MiB,
    min: 0,
    max: 1024 * MiB,
    param: "BodyBytes",
    text: "A request's body that is handed out whole; more is 413.",
  },
  {
    name: "maxStreamLength",
    live: true,
    unit: "bytes",
    default: 0,
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    param: "StreamBytes",
    text: "A request's body that is streamed; more is 413. 0: no limit.",
  },
  {
    name: "maxRequestsPerSocket",
    live: true,
    unit: "count",
    default: 0,
    min: 0,
    max: 4294967295,
    param: "RequestsPerSocket",
    text: "Requests on one connection, then it closes; 0: no limit.",
  },
  {
    name: "requireContentLength",
    live: true,
    unit: "flag",
    default: false,
    param: "RequireContentLength",
    text: "POST, PUT and PATCH without a length are 411 instead of having no body.",
  },
  {
    name: "maxPayloadLength",
    live: true,
    unit: "bytes",
    default: 16 * MiB,
    min: 125,
    max: 1024 * MiB,
    param: "PayloadBytes",
    text: "A message from a client; more is close 1009.",
  },
  {
    name: "maxFragments",
    live: true,
    unit: "count",
    default: 131072,
    min: 1,
    max: 4294967295,
    param: "Fragments",
    text: "Frames of one message from a client; more is close 1008.",
  },
  {
    name: "messageRate",
    live: true,
    unit: "count",
    default: 0,
    min: 0,
    max: 1000000,
    param: "MessageRate",
    text: "Messages, pings and pongs a second from one WebSocket; more are close 1008. 0: no limit.",
  },
  {
    name: "messageBurst",
    live: true,
    unit: "count",
    default: 0,
    min: 0,
    max: 1000000,
    param: "MessageBurst",
    text: "Those of them that may come at once, after silence. 0: as many as `messageRate`.",
  },
  {
    name: "requireOrigin",
    unit: "flag",
    default: false,
    text: "Refuse upgrades without an Origin, which come from clients that are not browsers.",
  },
  {
    name: "forwardedHeader",
    unit: "word",
    default: "x-forwarded-for",
    words: ["x-forwarded-for", "forwarded"],
    text: "The field by which peers of `trustProxy` name the client; the other one is not looked at.",
  },
  {
    name: "noDelay",
    unit: "flag",
    default: true,
    text: "TCP_NODELAY: small messages leave at once.",
  },
  {
    name: "tcpKeepAlive",
    unit: "ms",
    default: 0,
    min: 0,
    max: DAY,
    text: "Idle time before TCP keep-alive probes; 0: none.",
  },
  {
    name: "ipv6Only",
    unit: "flag",
    default: false,
    text: "A listener on :: takes no IPv4.",
  },
  {
    name: "perMessageDeflate",
    unit: "flag",
    default: false,
    text: "Compression of messages (RFC 7692), for clients that ask for it. Takes a second ring.",
  },
  {
    name: "deflateThreshold",
    unit: "bytes",
    default: 1024,
    min: 0,
    max: 1024 * MiB,
    param: "DeflateThreshold",
    text: "Messages from this length on are compressed.",
  },
  {
    name: "fragments",
    unit: "flag",
    default: false,
    param: "Pieces",
    text: "Hand messages to `fragment` in pieces as they arrive, whatever their length.",
  },
  {
    name: "ordered",
    unit: "flag",
    default: true,
    text: "A connection's next message waits until the handler of the one before has settled.",
  },
  {
    name: "maxPendingRequests",
    unit: "count",
    default: 1024,
    min: 1,
    max: 1048576,
    text: "Requests that a handler on the application's thread has not answered; more are 503 at once.",
  },
  {
    name: "maxPendingBytes",
    unit: "bytes",
    default: 4 * MiB,
    min: 65536,
    max: 1024 * MiB,
    text: "Events that such a handler has not come to; beyond that WebSockets are not read.",
  },
  {
    name: "handshakeTimeout",
    unit: "ms",
    default: 10000,
    min: 1,
    max: DAY,
    text: "For a TLS handshake.",
  },
  {
    name: "headersTimeout",
    live: true,
    unit: "ms",
    default: 60000,
    min: 1,
    max: DAY,
    param: "HeadTimeout",
    text: "For a request's head; more is 408.",
  },
  {
    name: "requestTimeout",
    live: true,
    unit: "ms",
    default: 300000,
    min: 1,
    max: DAY,
    param: "RequestTimeout",
    text: "For a whole request, and without a byte of a body that is streamed; more is 408.",
  },
  {
    name: "keepAliveTimeout",
    live: true,
    unit: "ms",
    default: 5000,
    min: 1,
    max: DAY,
    param: "KeepAliveTimeout",
    text: "Between two requests on a connection.",
  },
  {
    name: "writeTimeout",
    live: true,
    unit: "ms",
    default: 30000,
    min: 1,
    max: DAY,
    param: "WriteTimeout",
    text: "Without progress of a write.",
  },
  {
    name: "idleTimeout",
    live: true,
    unit: "s",
    default: 120,
    min: 0,
    max: 86400,
    param: "IdleTimeout",
    scale: 1000,
    text: "Without a byte from a WebSocket client; 0: no limit.",
  },
  {
    name: "sendPings",
    live: true,
    unit: "flag",
    default: true,
    param: "SendPings",
    text: "Ping a WebSocket client at half of `idleTimeout`.",
  },
  {
    name: "closeTimeout",
    live: true,
    unit: "ms",
    default: 2000,
    min: 1,
    max: DAY,
    param: "CloseTimeout",
    text: "For the closing handshake, and for a client to end after our last byte.",
  },
  {
    name: "bufferTimeout",
    live: true,
    unit: "ms",
    default: 10000,
    min: 1,
    max: DAY,
    param: "BufferTimeout",
    text: "How long a connection waits for a buffer before the holder of the largest is closed.",
  },
  {
    name: "minReceiveRate",
    live: true,
    unit: "bytes",
    default: 240,
    min: 0,
    max: 1024 * MiB,
    param: "ReceiveRate",
    text: "Bytes a second of a body, or of a message in pieces; less is 408, close 1008. 0: no limit.",
  },
  {
    name: "minSendRate",
    live: true,
    unit: "bytes",
    default: 240,
    min: 0,
    max: 1024 * MiB,
    param: "SendRate",
    text: "Bytes a second that a client reads of what waits for it; less is a reset. 0: no limit.",
  },
  {
    name: "rateGrace",
    live: true,
    unit: "ms",
    default: 30000,
    min: 1,
    max: DAY,
    param: "RateGrace",
    text: "How long a client may be slower than `minReceiveRate` or `minSendRate`.",
  },
  {
    name: "loadTimeout",
    unit: "ms",
    default: 30000,
    min: 0,
    max: DAY,
    text: "For a handler to be there, at the start and by `reload`: its module imported, its function settled. 0: no limit.",
  },
  {
    name: "heap",
    unit: "MiB",
    default: 0,
    min: 0,
    max: 1048576,
    text: "MiB of old objects in the worker's heap; a handler in it that needs more ends the server. 0: the runtime's own limit.",
  },
];

/** Options of `pool`. */
export const POOL_OPTIONS: readonly OptionRow<keyof PoolOptions>[] = [
  {
    name: "threads",
    unit: "count",
    default: 4,
    min: 1,
    max: 1024,
    text: "Threads; each handles one request at a time.",
  },
  {
    name: "backlog",
    unit: "count",
    default: 64,
    min: 0,
    max: 1048576,
    text: "Requests that wait for a thread; more are 503 at once.",
  },
  {
    name: "handlerTimeout",
    unit: "ms",
    default: 30000,
    min: 0,
    max: DAY,
    text: "Until `request` has settled; then its thread is ended and the answer is 500. 0: no limit.",
  },
  {
    name: "heap",
    unit: "MiB",
    default: 0,
    min: 0,
    max: 1048576,
    text: "MiB of old objects in a thread's heap; a thread that needs more ends. 0: the runtime's own limit.",
  },
];

/** Validated options as plain data, which can be sent to a worker. */
export interface Settings {
  readonly hostname: string;
  readonly values: Readonly<Record<OptionName, number>>;
  readonly lists: Readonly<Partial<Record<ListName, readonly string[]>>>;
  readonly path?: string | undefined;
  readonly fd?: number | undefined;
  readonly tls?: TlsOptions | undefined;
  readonly serverHeader: string;
  readonly pool?: Readonly<Record<keyof PoolOptions, number>> | undefined;
  readonly metrics?: { readonly path: string; readonly addresses: readonly string[] } | undefined;
}

/** @throws TypeError for a callback or signal that is none */
function checkCallbacks(options: Options): void {
  for (const name of ["onEvict", "onError"] as const) {
    const value = options[name];
    if (value !== undefined && typeof value !== "function")
      throw new TypeError(`${name}: ${show(value)} is not a function`);
  }
  const { signal, logger } = options;
  if (logger !== undefined) checkLogger(logger);
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw new TypeError(`signal: ${show(signal)} is not an AbortSignal`);
}

/** @param name as it is printed, where it is not the row's own */
function readNumber(row: OptionRow<string>, value: unknown, name = row.name): number {
  if (row.unit === "flag") {
    if (typeof value !== "boolean") throw new TypeError(`${name}: ${show(value)} is not a boolean`);
    return value ? 1 : 0;
  }
  if (row.words) {
    const at = typeof value === "string" ? row.words.indexOf(value) : -1;
    if (at < 0)
      throw new TypeError(
        `${name}: ${show(value)} is not one of ${row.words.map(show).join(", ")}`,
      );
    return at;
  }
  if (typeof value !== "number") throw new TypeError(`${name}: ${show(value)} is not a number`);
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = row;
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`${name}: ${value} is not a whole number from ${min} to ${max}`);
  }
  if (row.power && (value & (value - 1)) !== 0) {
    throw new RangeError(`${name}: ${value} is not a power of two`);
  }
  return value;
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** True for an origin as a browser sends it (RFC 6454 7.1). */
function isOrigin(word: string): boolean {
  if (word === "*" || word === "null") return true;
  return /^[a-z][a-z0-9+.-]*:\/\/[^/?#]+$/i.test(word);
}

const RANGES =
  'an address, a range such as "10.0.0.0/8", or one of "loopback", "linklocal", "uniquelocal", "unix"';

const WORDS: Readonly<Record<ListName, readonly [(word: string) => boolean, string]>> = {
  origins: [isOrigin, 'an origin such as "https://example.org"'],
  hosts: [(word) => word !== "" && !/[\s/@]/.test(word), "a host"],
  protocols: [(word) => TOKEN.test(word), "a token"],
  trustProxy: [isRange, RANGES],
  proxyProtocol: [isRange, RANGES],
};

function readPool(options: Options): Record<keyof PoolOptions, number> | undefined {
  const { pool, handler } = options;
  if (pool === undefined) return undefined;
  if (typeof pool !== "object" || pool === null)
    throw new TypeError(`pool: ${show(pool)} is not an object of options`);
  if (!(handler instanceof URL) && typeof handler !== "string")
    throw new TypeError("pool: its threads import the handler, which must be the URL of a module");
  const given = pool as Readonly<Record<string, unknown>>;
  for (const name of Object.keys(given)) {
    if (!POOL_OPTIONS.some((row) => row.name === name))
      throw new TypeError(`pool.${name}: there is no such option`);
  }
  const values = {} as Record<keyof PoolOptions, number>;
  for (const row of POOL_OPTIONS) {
    values[row.name] = readNumber(
      row,
      given[row.name] === undefined ? row.default : given[row.name],
      `pool.${row.name}`,
    );
  }
  return values;
}

function readLists(options: Options): Partial<Record<ListName, readonly string[]>> {
  const lists: Partial<Record<ListName, readonly string[]>> = {};
  for (const name of LISTS) {
    const list: unknown = options[name];
    if (list === undefined) continue;
    if (name === "proxyProtocol" && typeof list === "boolean") {
      if (list) lists[name] = [ANY];
      continue;
    }
    const words = readList(name, list, WORDS[name]);
    lists[name] = name === "protocols" ? words : words.map((word) => word.toLowerCase());
  }
  return lists;
}

function readList(
  name: string,
  list: unknown,
  [isWord, what]: readonly [(word: string) => boolean, string],
): string[] {
  if (!Array.isArray(list)) throw new TypeError(`${name}: ${show(list)} is not a list`);
  for (const word of list as unknown[]) {
    if (typeof word !== "string" || !isWord(word)) {
      throw new TypeError(`${name}: ${show(word)} is not ${what}`);
    }
  }
  return [...(list as string[])];
}

function readMetrics({ metrics }: Options): Settings["metrics"] {
  if (metrics === undefined) return undefined;
  if (typeof metrics !== "object" || metrics === null || Array.isArray(metrics))
    throw new TypeError(`metrics: ${show(metrics)} is not an object of options`);
  for (const name of Object.keys(metrics)) {
    if (name !== "path" && name !== "addresses")
      throw new TypeError(`metrics.${name}: there is no such option`);
  }
  const { path = "/metrics", addresses = ["loopback"] } = metrics;
  if (typeof path !== "string" || !/^\/[!-~]*$/.test(path) || /[?#]/.test(path))
    throw new TypeError(`metrics.path: ${show(path)} is not the path of a URL`);
  if (typeof addresses === "boolean") return { path, addresses: addresses ? [ANY] : [] };
  const words = readList("metrics.addresses", addresses, WORDS.trustProxy);
  return { path, addresses: words.map((word) => word.toLowerCase()) };
}

/** Options that are not in the table. */
const OTHERS = new Set([
  "handler",
  "pool",
  "signal",
  "onEvict",
  "onError",
  "logger",
  "metrics",
  "hostname",
  "path",
  "fd",
  "tls",
  "serverHeader",
  ...LISTS,
]);

/**
 * Checks options and fills in defaults.
 * @throws TypeError, RangeError naming the option, the value and the range
 */
export function settle(options: Options): Settings {
  if (typeof options !== "object" || options === null)
    throw new TypeError(`options: ${show(options)} is not an object`);
  const values = {} as Record<OptionName, number>;
  const given = options as Readonly<Record<string, unknown>>;
  const known = new Set<string>(OPTIONS.map((row) => row.name));
  for (const name of Object.keys(given)) {
    if (!known.has(name) && !OTHERS.has(name))
      throw new TypeError(`${name}: there is no such option`);
  }
  checkCallbacks(options);
  for (const row of OPTIONS) {
    const value = given[row.name];
    values[row.name] = readNumber(row, value === undefined ? row.default : value);
  }
  const { hostname = "127.0.0.1" } = options;
  if (typeof hostname !== "string" || hostname === "") {
    throw new TypeError(`hostname: ${show(hostname)} is not a host name or address`);
  }
  if (given.maxQueuedFrames === undefined) values.maxQueuedFrames = values.maxFrames;
  refuseContradictions(values);
  const { path, tls } = options;
  if (path !== undefined && (typeof path !== "string" || path === "")) {
    throw new TypeError(`path: ${show(path)} is not a path`);
  }
  const serverHeader = readServerHeader(options.serverHeader);
  return {
    hostname,
    values,
    lists: readLists(options),
    path,
    fd: readDescriptor(options),
    tls: readTls(tls),
    serverHeader,
    pool: readPool(options),
    metrics: readMetrics(options),
  };
}

const MAX_DESCRIPTOR = 2147483647;

function readDescriptor({ fd, path }: Options): number | undefined {
  if (fd === undefined) return undefined;
  if (typeof fd !== "number") throw new TypeError(`fd: ${show(fd)} is not a number`);
  if (!Number.isInteger(fd) || fd < 0 || fd > MAX_DESCRIPTOR)
    throw new RangeError(`fd: ${fd} is not a whole number from 0 to ${MAX_DESCRIPTOR}`);
  if (path !== undefined)
    throw new TypeError(`fd: ${fd} and path ${show(path)} exclude each other`);
  return fd;
}

/** A field value (RFC 9110 5.5) in ASCII. */
function readServerHeader(value: unknown = ""): string {
  if (typeof value !== "string")
    throw new TypeError(`serverHeader: ${show(value)} is not a string`);
  if (value.length > 256) {
    throw new RangeError(`serverHeader: ${value.length} characters are more than 256`);
  }
  if (!/^(?:[!-~](?:[\t -~]*[!-~])?)?$/.test(value)) {
    throw new TypeError(`serverHeader: ${show(value)} is not a field value`);
  }
  return value;
}

/** How a server ends. */
export interface ShutdownOptions {
  /** ms, 0 … 86,400,000, for requests and closing handshakes to end in order, behind `drainMs`; default 10,000. */
  timeout?: number;
  /** ms, 0 … 86,400,000, over which the WebSockets are closed; default 0: all at once. */
  drainMs?: number;
}

/** @throws TypeError, RangeError naming the option, the value and the range */
export function settleShutdown(options: ShutdownOptions = {}): Required<ShutdownOptions> {
  if (typeof options !== "object" || options === null)
    throw new TypeError(`options: ${show(options)} is not an object`);
  const settled = { timeout: 10000, drainMs: 0 };
  const given = options as Readonly<Record<string, unknown>>;
  for (const name of Object.keys(given)) {
    const value = given[name];
    if (name !== "timeout" && name !== "drainMs")
      throw new TypeError(`${name}: there is no such option`);
    if (value === undefined) continue;
    if (typeof value !== "number") throw new TypeError(`${name}: ${show(value)} is not a number`);
    if (!(value >= 0 && value <= DAY))
      throw new RangeError(`${name}: ${value} is not a number of ms from 0 to ${DAY}`);
    settled[name] = value;
  }
  return settled;
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
  | "messageRate"
  | "messageBurst"
  | "closeTimeout"
  | "bufferTimeout"
  | "minReceiveRate"
  | "minSendRate"
  | "rateGrace";

/**
 * Checks changes of a running server's options.
 * @param options what it runs with now
 * @returns the values that change @throws TypeError, RangeError as `settle`, and for what cannot change
 */
export function settleChanges(
  options: Options,
  changes: LiveOptions,
): Partial<Record<OptionName, number>> {
  if (typeof changes !== "object" || changes === null)
    throw new TypeError(`options: ${show(changes)} is not an object`);
  for (const name of Object.keys(changes)) {
    const row = OPTIONS.find((one) => one.name === name);
    if (row ? !row.live : OTHERS.has(name) && name !== "tls")
      throw new TypeError(`${name}: cannot change while the server runs`);
  }
  const { values, tls } = settle({ ...options, ...changes });
  if (changes.tls && tls) checkTlsChange(options.tls, tls);
  const changed: Partial<Record<OptionName, number>> = {};
  for (const name of Object.keys(changes) as LiveName[]) {
    if (name in values && changes[name] !== undefined) changed[name] = values[name];
  }
  return changed;
}

function atMost(
  values: Record<OptionName, number>,
  small: OptionName,
  large: OptionName,
  limit: number,
): void {
  if (values[small] > limit) {
    throw new RangeError(
      `${small}: ${values[small]} is more than ${large} (${values[large]}) allows, ${limit}`,
    );
  }
}

/** Refuses a limit, 0 for none, under which the other option could not be used. */
function atLeast(
  values: Record<OptionName, number>,
  limit: OptionName,
  other: OptionName,
  least: number,
): void {
  if (values[limit] !== 0 && values[limit] < least) {
    throw new RangeError(
      `${limit}: ${values[limit]} is less than ${other} (${values[other]}) needs, ${least}`,
    );
  }
}

function refuseContradictions(values: Record<OptionName, number>): void {
  atMost(values, "maxQueuedFrames", "maxFrames", values.maxFrames);
  atMost(values, "maxTargetLength", "maxHeadLength", values.maxHeadLength - 16);
  // Buffers double as they grow, and three quarters of the pool are for large ones.
  const room = (bytes: number): number => 2 ** Math.ceil(Math.log2(bytes + 8192));
  const large = Math.floor((values.receiveBuffers * 3) / 4);
  for (const name of ["maxPayloadLength", "maxBodyLength"] as const) {
    if (room(values[name]) > large) {
      throw new RangeError(
        `${name}: ${values[name]} needs receiveBuffers of at least ` +
          `${Math.ceil((room(values[name]) * 4) / 3)}, not ${values.receiveBuffers}`,
      );
    }
    atLeast(values, "maxReceivePerAddress", name, room(values[name]));
  }
  atLeast(values, "maxReplyPerAddress", "maxBacklog", Math.max(values.maxBacklog, 262144));
}

/** Longest run of bytes in one write over TLS. */
export const TLS_RUN_BYTES = 65536;

/** The engine's parameters for settings. */
export function engineParams(settings: Settings): Record<keyof typeof Param, number> {
  const params = {} as Record<keyof typeof Param, number>;
  for (const row of OPTIONS) {
    if (row.param) params[row.param] = settings.values[row.name] * (row.scale ?? 1);
  }
  // TLS copies what is written: a long run for each stalled client would be memory.
  if (settings.tls) params.RunBytes = Math.min(params.RunBytes, TLS_RUN_BYTES);
  params.WindowBytes = 65536;
  params.ScratchBytes = 1048576;
  params.EvictWhenFull = settings.values.whenFull;
  params.DeflateRingBytes = settings.values.perMessageDeflate ? settings.values.ring : 0;
  params.FirstSequence = 0;
  params.Seed = 1;
  return params;
}

/** Bytes of one region, and the option that buys them. */
export interface PlanRow {
  /** Its name. */
  readonly region: string;
  /** Its bytes. */
  readonly bytes: number;
  /** The options that buy them. */
  readonly options: readonly string[];
}

/** What the server will take, before anything starts. */
export interface Plan {
  /** The regions of memory, one behind the other; the inbox last. */
  readonly regions: readonly PlanRow[];
  /** Bytes of the engine's memory and of the inbox. Pages that are never touched cost nothing. */
  readonly total: number;
  /** File descriptors for connections. */
  readonly descriptors: number;
}

/** The memory plan for options. @throws as `serve` does */
export function plan(options: Options = {}): Plan {
  return planOf(settle(options));
}

export function planOf(settings: Settings): Plan {
  const params = engineParams(settings);
  const names = Object.keys(Param).filter((key) =>
    Number.isNaN(Number(key)),
  ) as (keyof typeof Param)[];
  const paramOf = (index: number): number =>
    index < 0 ? 0 : (params[names[index] as keyof typeof Param] ?? 0);
  const optionOf = (index: number): string[] =>
    OPTIONS.filter((row) => row.param !== undefined && Param[row.param] === index).map(
      (row) => row.name,
    );
  const regions: PlanRow[] = [];
  for (let region = 0; region < Region.COUNT; region++) {
    const first = firstParam(region);
    const second = secondParam(region);
    const bytes = regionBytes(region, paramOf(first), paramOf(second));
    regions.push({
      region: Region[region] as string,
      bytes,
      options: [...optionOf(first), ...optionOf(second)],
    });
  }
  regions.push({ region: "Inbox", bytes: settings.values.inbox, options: ["inbox"] });
  const total = regions.reduce((sum, row) => sum + row.bytes, 0);
  return {
    regions,
    total,
    descriptors: settings.values.maxConnections + settings.values.maxWebSockets,
  };
}

/** Refuses a plan that does not fit, with the arithmetic in the message. @throws RangeError */
export function refusePlan(settings: Settings): void {
  const { regions, total } = planOf(settings);
  const limit = Math.min(settings.values.maxMemory, 4294967296 - 65536);
  if (total <= limit) return;
  const sum = regions
    .filter((row) => row.bytes > total / 100)
    .map((row) => `${row.region} ${row.bytes}`)
    .join(" + ");
  throw new RangeError(`maxMemory: the plan takes ${total} bytes (${sum}), more than ${limit}`);
}
