// The table of options: for each option that is a number, a flag or a word, its name, unit, default and range, and the
// engine's parameter that it sets. Validation, the memory plan, the flags of the command line, the types (members.ts),
// the tables of options.md and the reference are derived from it. After a change run `node .scripts/readme.mjs`.

import type { Param } from "../../assembly/abi";
import type { PoolOptions, TableOptions } from "./members";

/** Names of the options that are plain numbers, flags and words. */
export type OptionName = keyof TableOptions;

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
  /** Descriptions of flags by name, when the option is a flag for which an object of them may be given. */
  readonly parts?: Readonly<Record<string, string>>;
  /** Whether the value must be a power of two. */
  readonly power?: boolean;
  /** Whether `configure` can change the option while the server runs. */
  readonly live?: boolean;
  /** Whether each listener has its own value: the option is also one of an entry of `listen`. */
  readonly listener?: boolean;
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

/** Longest time of TCP keep-alive probes, in ms. Linux takes no more than 32,767 s. A longer time is a RangeError. */
const PROBE_MILLIS = 32767000;

/** The words of `transport`. */
export const TRANSPORTS: readonly string[] = ["auto", "sockets"];

/** Every option of `serve` that is a number, a flag or a word. */
export const OPTIONS: readonly OptionRow[] = [
  {
    name: "port",
    listener: true,
    unit: "port",
    default: 8080,
    min: 0,
    max: 65535,
    text: "Port to listen on; 0 picks a free one.",
  },
  {
    name: "backlog",
    listener: true,
    unit: "count",
    default: 4096,
    min: 1,
    max: 65535,
    text: "Connections that the kernel queues until they are accepted. Linux limits it to `net.core.somaxconn`.",
  },
  {
    name: "maxConnections",
    unit: "count",
    default: 1000,
    min: 1,
    max: 524288,
    param: "Connections",
    text:
      "Open HTTP connections. When all are in use, one is closed for a new one: a client that has left, lingers, " +
      "is idle, sends its request too slowly or does not read its response. If there is none, the new one gets " +
      "503.",
  },
  {
    name: "maxWebSockets",
    unit: "count",
    default: 10000,
    min: 1,
    max: 524288,
    param: "WebSockets",
    text: "Open WebSockets; see `whenFull`.",
  },
  {
    name: "maxConnectionsPerAddress",
    live: true,
    unit: "count",
    default: 0,
    min: 0,
    max: 1048576,
    param: "AddressConnections",
    text: "Connections from one address (for IPv6, one /64); further ones are reset. 0: no limit, as behind a proxy.",
  },
  {
    name: "maxReceivePerAddress",
    unit: "bytes",
    default: 0,
    min: 0,
    max: 2048 * MiB,
    param: "AddressReceiveBytes",
    text:
      "Bytes of `receiveBuffers` for one address. Beyond it connections wait, at most `bufferTimeout`. 0: no " +
      "limit.",
  },
  {
    name: "maxReplyPerAddress",
    unit: "bytes",
    default: 0,
    min: 0,
    max: 2048 * MiB,
    param: "AddressReplyBytes",
    text:
      "Bytes of pending responses and messages for one address. Beyond it `send` returns false, and a response " +
      "becomes 429 or a reset. 0: no limit.",
  },
  {
    name: "whenFull",
    unit: "word",
    default: "refuse",
    words: ["refuse", "evict"],
    text: "When `maxWebSockets` are open: refuse the upgrade with 503, or evict the client with the greatest lag.",
  },
  {
    name: "ring",
    unit: "bytes",
    default: 16 * MiB,
    min: 4096,
    max: 1024 * MiB,
    power: true,
    param: "RingBytes",
    text: "Size of the ring. A client that lags by more is evicted.",
  },
  {
    name: "maxFrames",
    unit: "count",
    default: 65536,
    min: 16,
    max: 16777216,
    power: true,
    param: "Frames",
    text: "Frames in the ring's index. A client that lags by more is evicted.",
  },
  {
    name: "maxQueuedFrames",
    live: true,
    unit: "count",
    default: 65536,
    min: 1,
    max: 16777216,
    param: "QueuedFrames",
    text: "Frames by which a client may lag, at most `maxFrames`.",
  },
  {
    name: "maxRunBytes",
    live: true,
    unit: "bytes",
    default: 262144,
    min: 1024,
    max: 16 * MiB,
    param: "RunBytes",
    text: "Bytes of one write to one client; over TLS at most 64 KiB.",
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
      "How long publishing waits, in each half of the ring, for readers that make progress: for all together, " +
      "twice as long when most of them lag. A client without progress is evicted after it.",
  },
  {
    name: "flushInterval",
    live: true,
    unit: "ms",
    default: 0,
    min: 0,
    max: 10000,
    text:
      "Minimum time between two flushes of published messages. It buys fewer, longer writes with latency. " +
      "Responses do not wait. 0: each turn, less often under saturation.",
  },
  {
    name: "inbox",
    unit: "bytes",
    default: 8 * MiB,
    min: 65536,
    max: 1024 * MiB,
    power: true,
    text: "Memory shared by the application and the worker, for messages on their way.",
  },
  {
    name: "receiveBuffers",
    unit: "bytes",
    default: 64 * MiB,
    // One client's unparsed bytes, a window of 64 KiB, fit into the part for large buffers.
    min: 131072,
    max: 2048 * MiB,
    param: "ReceivePoolBytes",
    text: "Buffers for requests and messages that are not complete. A quarter is reserved for small ones.",
  },
  {
    name: "replyBuffers",
    unit: "bytes",
    default: 64 * MiB,
    min: 65536,
    max: 2048 * MiB,
    param: "ReplyPoolBytes",
    text: "Pending responses and messages for single clients, all together; as much again for responses over 64 KiB.",
  },
  {
    name: "fileBuffers",
    unit: "bytes",
    default: 8 * MiB,
    min: 65536,
    max: 2048 * MiB,
    param: "PieceBytes",
    text:
      "Pieces of bodies that are sent as fast as clients take them (`res.stream`, `mounts`), all together: up to " +
      "64 KiB each, smaller when many clients do not read. When there is no room, a client that has read nothing of " +
      "its piece for 15 s is ended for one that waits; files are read again instead.",
  },
  {
    name: "fileCache",
    unit: "bytes",
    default: 8 * MiB,
    min: 0,
    max: 2048 * MiB,
    text:
      "Files of `mounts` that are kept in memory, up to 64 KiB each. A file is looked at again after a second. 0: " +
      "none is kept.",
  },
  {
    name: "maxBacklog",
    unit: "bytes",
    default: MiB,
    min: 1024,
    max: 1024 * MiB,
    param: "Backlog",
    text: "Bytes queued for one client from which on `send` returns false. One message may be larger.",
  },
  {
    name: "maxTopics",
    unit: "count",
    default: 16384,
    min: 0,
    max: 1048576,
    param: "Topics",
    text: "Topics with subscribers at the same time.",
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
    text: "Limit for the engine's memory, the file buffers and the inbox together.",
  },
  {
    name: "maxHeadLength",
    unit: "bytes",
    default: 16384,
    min: 256,
    max: 65535,
    param: "HeadBytes",
    text: "Length of a request's line and fields. If exceeded: 431.",
  },
  {
    name: "maxHeaders",
    unit: "count",
    default: 100,
    min: 4,
    max: 4096,
    param: "Headers",
    text: "Number of a request's fields. If exceeded: 431.",
  },
  {
    name: "maxTargetLength",
    unit: "bytes",
    default: 8192,
    min: 16,
    max: 65000,
    param: "TargetBytes",
    text: "Length of a request's target. If exceeded: 414.",
  },
  {
    name: "maxBodyLength",
    live: true,
    unit: "bytes",
    default: MiB,
    min: 0,
    max: 1024 * MiB,
    param: "BodyBytes",
    text: "Length of a request's body that is handed over complete. If exceeded: 413.",
  },
  {
    name: "maxStreamLength",
    live: true,
    unit: "bytes",
    default: 0,
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    param: "StreamBytes",
    text: "Length of a request's body that is streamed. If exceeded: 413. 0: no limit.",
  },
  {
    name: "maxRequestsPerSocket",
    live: true,
    unit: "count",
    default: 0,
    min: 0,
    max: 4294967295,
    param: "RequestsPerSocket",
    text: "Requests on one connection, which then closes. 0: no limit.",
  },
  {
    name: "requireContentLength",
    live: true,
    unit: "flag",
    default: false,
    param: "RequireContentLength",
    text: "Refuse POST, PUT and PATCH without a length with 411, instead of reading them as without a body.",
  },
  {
    name: "maxPayloadLength",
    live: true,
    unit: "bytes",
    default: 16 * MiB,
    min: 125,
    max: 1024 * MiB,
    param: "PayloadBytes",
    text: "Length of a message from a client. If exceeded: close 1009.",
  },
  {
    name: "maxFragments",
    live: true,
    unit: "count",
    default: 131072,
    min: 1,
    max: 4294967295,
    param: "Fragments",
    text: "Frames of one message from a client. If exceeded: close 1008.",
  },
  {
    name: "messageRate",
    live: true,
    unit: "count",
    default: 0,
    min: 0,
    max: 1000000,
    param: "MessageRate",
    text: "Messages, pings and pongs per second from one WebSocket. If exceeded: close 1008. 0: no limit.",
  },
  {
    name: "messageBurst",
    live: true,
    unit: "count",
    default: 0,
    min: 0,
    max: 1000000,
    param: "MessageBurst",
    text: "Messages, pings and pongs that may arrive at once after silence. 0: as many as `messageRate`.",
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
    text: "The field in which the proxies of `trustProxy` name the client. The other field is ignored.",
  },
  {
    name: "noDelay",
    listener: true,
    unit: "flag",
    default: true,
    text: "TCP_NODELAY: small messages are sent without delay.",
  },
  {
    name: "tcpKeepAlive",
    listener: true,
    unit: "ms",
    default: 0,
    min: 0,
    max: PROBE_MILLIS,
    text: "Idle time before TCP keep-alive probes, in whole seconds (rounded up); 0: no probes.",
  },
  {
    name: "tcpKeepAliveInterval",
    listener: true,
    unit: "ms",
    default: 1000,
    min: 1,
    max: PROBE_MILLIS,
    text:
      "Time between two keep-alive probes, in whole seconds (rounded up). Another than the default needs a newer " +
      "version of Node 24 or 26.",
  },
  {
    name: "tcpKeepAliveCount",
    listener: true,
    unit: "count",
    default: 10,
    min: 1,
    max: 127,
    text:
      "Keep-alive probes without an answer after which a connection is closed (`NetworkError`). Another than the " +
      "default needs a newer version of Node 24 or 26.",
  },
  {
    name: "ipv6Only",
    listener: true,
    unit: "flag",
    default: false,
    text: "A listener on :: accepts no IPv4.",
  },
  {
    name: "transport",
    unit: "word",
    default: "auto",
    words: TRANSPORTS,
    text:
      "How TCP and Unix connections are held. auto: as handles of Node without its streams, for a third of the " +
      "memory, where a trial at the start shows that they work, else as sockets. TLS uses sockets.",
  },
  {
    name: "perMessageDeflate",
    unit: "flag",
    default: false,
    text: "Compression of messages (RFC 7692), for clients that ask for it. Needs a second ring.",
  },
  {
    name: "deflateThreshold",
    unit: "bytes",
    default: 1024,
    min: 0,
    max: 1024 * MiB,
    param: "DeflateThreshold",
    text: "Length from which on messages are compressed.",
  },
  {
    name: "events",
    unit: "flag",
    default: false,
    parts: { names: "Events of messages to a topic are named after the topic." },
    text:
      "Server-sent events: `res.events()` makes a request an event stream. Needs a ring of its own. " +
      "`{ names: true }`: a topic names the events of its messages.",
  },
  {
    name: "eventRing",
    unit: "bytes",
    default: 32 * MiB,
    min: 4096,
    max: 2048 * MiB,
    power: true,
    text: "Size of the ring of server-sent events; twice `ring` by default, as an event is longer than its message.",
  },
  {
    name: "history",
    unit: "flag",
    default: false,
    param: "History",
    text:
      "Clients of event streams that return get the messages that they have missed, as far as the ring holds them, " +
      "or an event that reports the gap. Needs `events`.",
  },
  {
    name: "fragments",
    unit: "flag",
    default: false,
    param: "Pieces",
    text: "Pass messages to `fragment` in pieces as they arrive, whatever their length.",
  },
  {
    name: "ordered",
    unit: "flag",
    default: true,
    text: "A connection's next message waits until the handler of the previous one has settled.",
  },
  {
    name: "maxPendingRequests",
    unit: "count",
    default: 1024,
    min: 1,
    max: 1048576,
    text: "Pending requests of a handler on the application's thread. If exceeded: 503 at once.",
  },
  {
    name: "maxPendingBytes",
    unit: "bytes",
    default: 4 * MiB,
    min: 65536,
    max: 1024 * MiB,
    text:
      "Bytes of events queued for a handler on the application's thread. Beyond it reading from WebSockets is " +
      "paused.",
  },
  {
    name: "handshakeTimeout",
    listener: true,
    unit: "ms",
    default: 10000,
    min: 1,
    max: DAY,
    text: "Timeout of a TLS handshake.",
  },
  {
    name: "headersTimeout",
    live: true,
    unit: "ms",
    default: 60000,
    min: 1,
    max: DAY,
    param: "HeadTimeout",
    text: "Timeout of a request's head. If exceeded: 408.",
  },
  {
    name: "rawTimeout",
    live: true,
    unit: "ms",
    default: 3000,
    min: 0,
    max: DAY,
    param: "RawTimeout",
    text:
      "Silence of a new connection after which it is handed to the upstream of `raw`, because clients of SMTP and " +
      "others wait for the server's first bytes. 0: never, for browsers that open connections ahead of requests.",
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
      "Timeout of a complete request, however fast it arrives: 1 MiB in 300 s is 3.5 kB/s. For a streamed body it " +
      "is the time without a byte. If exceeded: 408.",
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
      "Idle time between two requests on a connection, announced in whole seconds (`Keep-Alive: timeout=5`). The " +
      "server waits 1000 ms longer.",
  },
  {
    name: "writeTimeout",
    live: true,
    unit: "ms",
    default: 30000,
    min: 1,
    max: DAY,
    param: "WriteTimeout",
    text: "Timeout of a write without progress: no byte of it is acknowledged (see `minSendRate`).",
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
    text: "Timeout of a WebSocket client that sends no byte and acknowledges none of the pending ones. 0: no limit.",
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
      "Silence of a WebSocket client after which it is pinged, at most half of `idleTimeout`. The default is " +
      "shorter than the 55 to 60 s after which routers and proxies drop a connection. 0: never.",
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
      "Timeout of a closing handshake, and of a client's end after our last byte. Bytes that the client " +
      "acknowledges, at `minSendRate`, extend it; bytes that it sends extend it to at most 15 times as long.",
  },
  {
    name: "bufferTimeout",
    live: true,
    unit: "ms",
    default: 10000,
    min: 1,
    max: DAY,
    param: "BufferTimeout",
    text: "How long a connection waits for a buffer before the holder of the largest one is closed.",
  },
  {
    name: "minReceiveRate",
    live: true,
    unit: "bytes",
    default: 240,
    min: 0,
    max: 1024 * MiB,
    param: "ReceiveRate",
    text:
      "Minimum rate in bytes per second of a body, or of a message in pieces. If below: 408 or close 1008. 0: no " +
      "limit.",
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
      "Minimum rate in bytes per second at which a client reads what is pending. If below, the connection is " +
      "reset. 0: no limit. A kernel acknowledges in steps: on Linux a client whose kernel responds has as long as " +
      "128 KiB take at this rate (546 s) for each step, where `writeTimeout`, `idleTimeout` or `closeTimeout` " +
      "would give it less.",
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
      "Timeout for loading a handler, at the start and by `reload`: its module is imported and its function has " +
      "settled. 0: no limit.",
  },
  {
    name: "heap",
    unit: "MiB",
    default: 0,
    min: 0,
    max: 1048576,
    text:
      "MiB of old objects in the worker's heap. A handler in the worker that needs more ends the server. 0: the " +
      "runtime's own limit.",
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
    text: "Number of threads. Each handles one request at a time.",
  },
  {
    name: "backlog",
    unit: "count",
    default: 64,
    min: 0,
    max: 1048576,
    text: "Requests that wait for a thread. If exceeded: 503 at once.",
  },
  {
    name: "handlerTimeout",
    unit: "ms",
    default: 30000,
    min: 0,
    max: DAY,
    text:
      "Timeout of `request`, except while it waits for its client to read. If exceeded, the thread ends and the " +
      "client gets 500. 0: no limit.",
  },
  {
    name: "heap",
    unit: "MiB",
    default: 0,
    min: 0,
    max: 1048576,
    text: "MiB of old objects in a thread's heap. A thread that needs more ends. 0: the runtime's own limit.",
  },
];

/** The value of each option of `OPTIONS`: a flag as 1 or 0, a word as its index in the row's words. */
export type OptionValues = Record<OptionName, number>;

/** Returns the values of options that are not given. */
export function defaultValues(): OptionValues {
  const values = {} as OptionValues;
  for (const { name, default: value, words } of OPTIONS)
    values[name] = words ? words.indexOf(String(value)) : Number(value);
  return values;
}
