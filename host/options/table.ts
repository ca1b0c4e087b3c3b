// The table of options: for each option that is a number, a flag or a word, its name, unit, default and range, and the
// engine's parameter that it sets. Validation, the memory plan, the flags of the command line, the README's tables and
// the reference are derived from it.

import type { Param } from "../../assembly/abi";
import type { Options, PoolOptions } from "./types";

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

/** One option, a row of `OPTIONS`. */
export interface OptionRow<Name extends string = OptionName> {
  /** The option's name. */
  readonly name: Name;
  /** The unit of its numbers. */
  readonly unit: "bytes" | "MiB" | "ms" | "s" | "count" | "flag" | "word" | "port";
  /** The value when the option is not given. */
  readonly default: number | boolean | string;
  /** The smallest whole number allowed. */
  readonly min?: number;
  /** The largest whole number allowed. */
  readonly max?: number;
  /** The words allowed, when the option is a word. */
  readonly words?: readonly string[];
  /** Whether the value must be a power of two. */
  readonly power?: boolean;
  /** Whether `configure` can change the option while the server runs. */
  readonly live?: boolean;
  /** The engine's parameter that the option sets. */
  readonly param?: keyof typeof Param;
  /** The number in `param` for one unit of the option; default 1. */
  readonly scale?: number;
  /** A description for the README, the command line's help and the reference. */
  readonly text: string;
}

const MiB = 1048576;
/** Longest time of an option, in ms: one day, which a 32-bit timer holds. A longer time is a RangeError. */
export const DAY = 86400000;

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
    text:
      "HTTP connections. When all are taken one makes room: its client has left, it lingers, is idle, sends its " +
      "request too slowly, or does not read its answer; else the newcomer gets 503.",
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
    text: "Answers and messages that one address holds; `send` is false, an answer 429 or a reset. 0: no limit.",
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
    text:
      "How long publishing waits in each half ring for readers that make progress, all together; twice as long when " +
      "most are behind. Without progress a client is evicted after it.",
  },
  {
    name: "flushInterval",
    live: true,
    unit: "ms",
    default: 0,
    min: 0,
    max: 10000,
    text:
      "Least time between two passes that hand out what is published: fewer, longer writes for that much latency. " +
      "Answers do not wait. 0: every turn, spaced under saturation.",
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
    text: "Answers and messages for single clients, of all together; as much again for answers over 64 KiB.",
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
    text:
      "For a whole request, however fast it comes: 1 MiB in 300 s is 3.5 kB/s. Of a body that is streamed it is the " +
      "time without a byte. More is 408.",
  },
  {
    name: "keepAliveTimeout",
    live: true,
    unit: "ms",
    default: 5000,
    min: 1,
    max: DAY,
    param: "KeepAliveTimeout",
    text:
      "Between two requests on a connection, announced in whole seconds (`Keep-Alive: timeout=5`); the server waits " +
      "1000 ms longer.",
  },
  {
    name: "writeTimeout",
    live: true,
    unit: "ms",
    default: 30000,
    min: 1,
    max: DAY,
    param: "WriteTimeout",
    text: "Without progress of a write: no byte of it is acknowledged (see `minSendRate`).",
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
    text: "Without a byte from a WebSocket client, or one that it acknowledges of what waits for it; 0: no limit.",
  },
  {
    name: "sendPings",
    live: true,
    unit: "flag",
    default: true,
    param: "SendPings",
    text: "Ping WebSocket clients that are silent.",
  },
  {
    name: "pingInterval",
    live: true,
    unit: "s",
    default: 45,
    min: 0,
    max: 86400,
    param: "PingInterval",
    scale: 1000,
    text:
      "Silence of a WebSocket client after which it is pinged, at most half of `idleTimeout`; shorter than the 55 to " +
      "60 s after which routers and proxies forget a connection. 0: never.",
  },
  {
    name: "closeTimeout",
    live: true,
    unit: "ms",
    default: 2000,
    min: 1,
    max: DAY,
    param: "CloseTimeout",
    text:
      "Without a sign of life in a closing handshake, or until a client ends after our last byte. Bytes that it " +
      "acknowledges, at `minSendRate`, prolong it; bytes that it sends do so to 15 times of it.",
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
    text:
      "Bytes a second that a client reads of what waits for it; less is a reset. 0: no limit. A kernel acknowledges " +
      "in steps: on Linux a client whose kernel answers has as long as 128 KiB take at this rate (546 s) for each, " +
      "where `writeTimeout`, `idleTimeout` or `closeTimeout` gives it less.",
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
    text:
      "For a handler to be there, at the start and by `reload`: its module imported, its function settled. " +
      "0: no limit.",
  },
  {
    name: "heap",
    unit: "MiB",
    default: 0,
    min: 0,
    max: 1048576,
    text:
      "MiB of old objects in the worker's heap; a handler in it that needs more ends the server. " +
      "0: the runtime's own limit.",
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
    text: "Until `request` has settled, unless its client must read first; then its thread ends: 500. 0: no limit.",
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
