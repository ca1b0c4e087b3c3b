// The types of the options in options/table.ts, generated from it by .scripts/readme.mjs.

import type { Size } from "./size";

/** The options of `serve` that are numbers, flags and words. */
export interface TableOptions {
  /**
   * Port to listen on; 0 picks a free one.
   *
   * A whole number. Default: 8080. Range: 0 … 65535.
   */
  port?: number;
  /**
   * Connections that the kernel queues until they are accepted. Linux limits it to `net.core.somaxconn`.
   *
   * A whole number. Default: 4096. Range: 1 … 65535.
   */
  backlog?: number;
  /**
   * Open HTTP connections. When all are in use, one is closed for a new one: a client that has left, lingers, is idle,
   * sends its request too slowly or does not read its response. If there is none, the new one gets 503.
   *
   * A whole number. Default: 1000. Range: 1 … 524288.
   */
  maxConnections?: number;
  /**
   * Open WebSockets; see `whenFull`.
   *
   * A whole number. Default: 10000. Range: 1 … 524288.
   */
  maxWebSockets?: number;
  /**
   * Connections from one address (for IPv6, one /64); further ones are reset. 0: no limit, as behind a proxy.
   *
   * A whole number. Default: 0. Range: 0 … 1048576. `configure` can change it.
   */
  maxConnectionsPerAddress?: number;
  /**
   * Bytes of `receiveBuffers` for one address. Beyond it connections wait, at most `bufferTimeout`. 0: no limit.
   *
   * Unit: bytes. Default: 0. Range: 0 … 2048 MiB.
   */
  maxReceivePerAddress?: Size;
  /**
   * Bytes of pending responses and messages for one address. Beyond it `send` returns false, and a response becomes 429
   * or a reset. 0: no limit.
   *
   * Unit: bytes. Default: 0. Range: 0 … 2048 MiB.
   */
  maxReplyPerAddress?: Size;
  /**
   * When `maxWebSockets` are open: refuse the upgrade with 503, or evict the client with the greatest lag.
   *
   * Default: "refuse". Values: "refuse", "evict".
   */
  whenFull?: "refuse" | "evict";
  /**
   * Size of the ring. A client that lags by more is evicted.
   *
   * Unit: bytes. Default: 16 MiB. Range: 4 KiB … 1024 MiB, a power of two.
   */
  ring?: Size;
  /**
   * Frames in the ring's index. A client that lags by more is evicted.
   *
   * A whole number. Default: 65536. Range: 16 … 16777216, a power of two.
   */
  maxFrames?: number;
  /**
   * Frames by which a client may lag, at most `maxFrames`.
   *
   * A whole number. Default: 65536. Range: 1 … 16777216. `configure` can change it.
   */
  maxQueuedFrames?: number;
  /**
   * Bytes of one write to one client; over TLS at most 64 KiB.
   *
   * Unit: bytes. Default: 256 KiB. Range: 1 KiB … 16 MiB. `configure` can change it.
   */
  maxRunBytes?: Size;
  /**
   * How long publishing waits, in each half of the ring, for readers that make progress: for all together, twice as
   * long when most of them lag. A client without progress is evicted after it.
   *
   * Unit: ms. Default: 250 ms. Range: 1 ms … 86400000 ms. `configure` can change it.
   */
  slowGrace?: number;
  /**
   * Minimum time between two flushes of published messages. It buys fewer, longer writes with latency. Responses do not
   * wait. 0: each turn, less often under saturation.
   *
   * Unit: ms. Default: 0 ms. Range: 0 ms … 10000 ms. `configure` can change it.
   */
  flushInterval?: number;
  /**
   * Memory shared by the application and the worker, for messages on their way.
   *
   * Unit: bytes. Default: 8 MiB. Range: 64 KiB … 1024 MiB, a power of two.
   */
  inbox?: Size;
  /**
   * Buffers for requests and messages that are not complete. A quarter is reserved for small ones.
   *
   * Unit: bytes. Default: 64 MiB. Range: 128 KiB … 2048 MiB.
   */
  receiveBuffers?: Size;
  /**
   * Pending responses and messages for single clients, all together; as much again for responses over 64 KiB.
   *
   * Unit: bytes. Default: 64 MiB. Range: 64 KiB … 2048 MiB.
   */
  replyBuffers?: Size;
  /**
   * Pieces of bodies that are sent as fast as clients take them (`res.stream`, `mounts`), all together: up to 64 KiB
   * each, smaller when many clients do not read. When there is no room, a client that has read nothing of its piece
   * for 15 s is ended for one that waits; files are read again instead.
   *
   * Unit: bytes. Default: 8 MiB. Range: 64 KiB … 2048 MiB.
   */
  fileBuffers?: Size;
  /**
   * Files of `mounts` that are kept in memory, up to 64 KiB each. A file is looked at again after a second. 0: none is
   * kept.
   *
   * Unit: bytes. Default: 8 MiB. Range: 0 … 2048 MiB.
   */
  fileCache?: Size;
  /**
   * Bytes queued for one client from which on `send` returns false. One message may be larger.
   *
   * Unit: bytes. Default: 1 MiB. Range: 1 KiB … 1024 MiB.
   */
  maxBacklog?: Size;
  /**
   * Topics with subscribers at the same time.
   *
   * A whole number. Default: 16384. Range: 0 … 1048576.
   */
  maxTopics?: number;
  /**
   * Subscriptions of all clients together.
   *
   * A whole number. Default: 131072. Range: 0 … 16777216.
   */
  maxSubscriptions?: number;
  /**
   * Limit for the engine's memory, the file buffers and the inbox together.
   *
   * Unit: bytes. Default: 1024 MiB. Range: 1 MiB … 4096 MiB.
   */
  maxMemory?: Size;
  /**
   * Length of a request's line and fields. If exceeded: 431.
   *
   * Unit: bytes. Default: 16 KiB. Range: 256 … 65535.
   */
  maxHeadLength?: Size;
  /**
   * Number of a request's fields. If exceeded: 431.
   *
   * A whole number. Default: 100. Range: 4 … 4096.
   */
  maxHeaders?: number;
  /**
   * Length of a request's target. If exceeded: 414.
   *
   * Unit: bytes. Default: 8 KiB. Range: 16 … 65000.
   */
  maxTargetLength?: Size;
  /**
   * Length of a request's body that is handed over complete. If exceeded: 413.
   *
   * Unit: bytes. Default: 1 MiB. Range: 0 … 1024 MiB. `configure` can change it.
   */
  maxBodyLength?: Size;
  /**
   * Length of a request's body that is streamed. If exceeded: 413. 0: no limit.
   *
   * Unit: bytes. Default: 0. Range: 0 … 9007199254740991. `configure` can change it.
   */
  maxStreamLength?: Size;
  /**
   * Requests on one connection, which then closes. 0: no limit.
   *
   * A whole number. Default: 0. Range: 0 … 4294967295. `configure` can change it.
   */
  maxRequestsPerSocket?: number;
  /**
   * Refuse POST, PUT and PATCH without a length with 411, instead of reading them as without a body.
   *
   * Default: false. Values: true, false. `configure` can change it.
   */
  requireContentLength?: boolean;
  /**
   * Length of a message from a client. If exceeded: close 1009.
   *
   * Unit: bytes. Default: 16 MiB. Range: 125 … 1024 MiB. `configure` can change it.
   */
  maxPayloadLength?: Size;
  /**
   * Frames of one message from a client. If exceeded: close 1008.
   *
   * A whole number. Default: 131072. Range: 1 … 4294967295. `configure` can change it.
   */
  maxFragments?: number;
  /**
   * Messages, pings and pongs per second from one WebSocket. If exceeded: close 1008. 0: no limit.
   *
   * A whole number. Default: 0. Range: 0 … 1000000. `configure` can change it.
   */
  messageRate?: number;
  /**
   * Messages, pings and pongs that may arrive at once after silence. 0: as many as `messageRate`.
   *
   * A whole number. Default: 0. Range: 0 … 1000000. `configure` can change it.
   */
  messageBurst?: number;
  /**
   * Refuse upgrades without an Origin, which come from clients that are not browsers.
   *
   * Default: false. Values: true, false.
   */
  requireOrigin?: boolean;
  /**
   * The field in which the proxies of `trustProxy` name the client. The other field is ignored.
   *
   * Default: "x-forwarded-for". Values: "x-forwarded-for", "forwarded".
   */
  forwardedHeader?: "x-forwarded-for" | "forwarded";
  /**
   * TCP_NODELAY: small messages are sent without delay.
   *
   * Default: true. Values: true, false.
   */
  noDelay?: boolean;
  /**
   * Idle time before TCP keep-alive probes, in whole seconds (rounded up); 0: no probes.
   *
   * Unit: ms. Default: 0 ms. Range: 0 ms … 32767000 ms.
   */
  tcpKeepAlive?: number;
  /**
   * Time between two keep-alive probes, in whole seconds (rounded up). Another than the default needs a newer version
   * of Node 24 or 26.
   *
   * Unit: ms. Default: 1000 ms. Range: 1 ms … 32767000 ms.
   */
  tcpKeepAliveInterval?: number;
  /**
   * Keep-alive probes without an answer after which a connection is closed (`NetworkError`). Another than the default
   * needs a newer version of Node 24 or 26.
   *
   * A whole number. Default: 10. Range: 1 … 127.
   */
  tcpKeepAliveCount?: number;
  /**
   * A listener on :: accepts no IPv4.
   *
   * Default: false. Values: true, false.
   */
  ipv6Only?: boolean;
  /**
   * How TCP and Unix connections are held. auto: as handles of Node without its streams, for a third of the memory,
   * where a trial at the start shows that they work, else as sockets. TLS uses sockets.
   *
   * Default: "auto". Values: "auto", "sockets".
   */
  transport?: "auto" | "sockets";
  /**
   * Compression of messages (RFC 7692), for clients that ask for it. Needs a second ring.
   *
   * Default: false. Values: true, false.
   */
  perMessageDeflate?: boolean;
  /**
   * Length from which on messages are compressed.
   *
   * Unit: bytes. Default: 1 KiB. Range: 0 … 1024 MiB.
   */
  deflateThreshold?: Size;
  /**
   * Server-sent events: `res.events()` makes a request an event stream. Needs a ring of its own. `{ names: true }`: a
   * topic names the events of its messages.
   *
   * Default: false. Values: true, false.
   */
  events?:
    | boolean
    | {
        /** Events of messages to a topic are named after the topic. */
        names?: boolean;
      };
  /**
   * Size of the ring of server-sent events; twice `ring` by default, as an event is longer than its message.
   *
   * Unit: bytes. Default: 32 MiB. Range: 4 KiB … 2048 MiB, a power of two.
   */
  eventRing?: Size;
  /**
   * Clients of event streams that return get the messages that they have missed, as far as the ring holds them, or an
   * event that reports the gap. Needs `events`.
   *
   * Default: false. Values: true, false.
   */
  history?: boolean;
  /**
   * Pass messages to `fragment` in pieces as they arrive, whatever their length.
   *
   * Default: false. Values: true, false.
   */
  fragments?: boolean;
  /**
   * A connection's next message waits until the handler of the previous one has settled.
   *
   * Default: true. Values: true, false.
   */
  ordered?: boolean;
  /**
   * Pending requests of a handler on the application's thread. If exceeded: 503 at once.
   *
   * A whole number. Default: 1024. Range: 1 … 1048576.
   */
  maxPendingRequests?: number;
  /**
   * Bytes of events queued for a handler on the application's thread. Beyond it reading from WebSockets is paused.
   *
   * Unit: bytes. Default: 4 MiB. Range: 64 KiB … 1024 MiB.
   */
  maxPendingBytes?: Size;
  /**
   * Timeout of a TLS handshake.
   *
   * Unit: ms. Default: 10000 ms. Range: 1 ms … 86400000 ms.
   */
  handshakeTimeout?: number;
  /**
   * Timeout of a request's head. If exceeded: 408.
   *
   * Unit: ms. Default: 60000 ms. Range: 1 ms … 86400000 ms. `configure` can change it.
   */
  headersTimeout?: number;
  /**
   * Silence of a new connection after which it is handed to the upstream of `raw`, because clients of SMTP and others
   * wait for the server's first bytes. 0: never, for browsers that open connections ahead of requests.
   *
   * Unit: ms. Default: 3000 ms. Range: 0 ms … 86400000 ms. `configure` can change it.
   */
  rawTimeout?: number;
  /**
   * Timeout of a complete request, however fast it arrives: 1 MiB in 300 s is 3.5 kB/s. For a streamed body it is the
   * time without a byte. If exceeded: 408.
   *
   * Unit: ms. Default: 300000 ms. Range: 1 ms … 86400000 ms. `configure` can change it.
   */
  requestTimeout?: number;
  /**
   * Idle time between two requests on a connection, announced in whole seconds (`Keep-Alive: timeout=5`). The server
   * waits 1000 ms longer.
   *
   * Unit: ms. Default: 5000 ms. Range: 1 ms … 86400000 ms. `configure` can change it.
   */
  keepAliveTimeout?: number;
  /**
   * Timeout of a write without progress: no byte of it is acknowledged (see `minSendRate`).
   *
   * Unit: ms. Default: 30000 ms. Range: 1 ms … 86400000 ms. `configure` can change it.
   */
  writeTimeout?: number;
  /**
   * Timeout of a WebSocket client that sends no byte and acknowledges none of the pending ones. 0: no limit.
   *
   * Unit: s. Default: 120 s. Range: 0 s … 86400 s. `configure` can change it.
   */
  idleTimeout?: number;
  /**
   * Ping WebSocket clients that are silent.
   *
   * Default: true. Values: true, false. `configure` can change it.
   */
  sendPings?: boolean;
  /**
   * Silence of a WebSocket client after which it is pinged, at most half of `idleTimeout`. The default is shorter than
   * the 55 to 60 s after which routers and proxies drop a connection. 0: never.
   *
   * Unit: s. Default: 45 s. Range: 0 s … 86400 s. `configure` can change it.
   */
  pingInterval?: number;
  /**
   * Timeout of a closing handshake, and of a client's end after our last byte. Bytes that the client acknowledges, at
   * `minSendRate`, extend it; bytes that it sends extend it to at most 15 times as long.
   *
   * Unit: ms. Default: 2000 ms. Range: 1 ms … 86400000 ms. `configure` can change it.
   */
  closeTimeout?: number;
  /**
   * How long a connection waits for a buffer before the holder of the largest one is closed.
   *
   * Unit: ms. Default: 10000 ms. Range: 1 ms … 86400000 ms. `configure` can change it.
   */
  bufferTimeout?: number;
  /**
   * Minimum rate in bytes per second of a body, or of a message in pieces. If below: 408 or close 1008. 0: no limit.
   *
   * Unit: bytes per second. Default: 240. Range: 0 … 1024 MiB. `configure` can change it.
   */
  minReceiveRate?: Size;
  /**
   * Minimum rate in bytes per second at which a client reads what is pending. If below, the connection is reset. 0: no
   * limit. A kernel acknowledges in steps: on Linux a client whose kernel responds has as long as 128 KiB take at this
   * rate (546 s) for each step, where `writeTimeout`, `idleTimeout` or `closeTimeout` would give it less.
   *
   * Unit: bytes per second. Default: 240. Range: 0 … 1024 MiB. `configure` can change it.
   */
  minSendRate?: Size;
  /**
   * How long a client may be slower than `minReceiveRate` or `minSendRate`.
   *
   * Unit: ms. Default: 30000 ms. Range: 1 ms … 86400000 ms. `configure` can change it.
   */
  rateGrace?: number;
  /**
   * Timeout for loading a handler, at the start and by `reload`: its module is imported and its function has settled.
   * 0: no limit.
   *
   * Unit: ms. Default: 30000 ms. Range: 0 ms … 86400000 ms.
   */
  loadTimeout?: number;
  /**
   * MiB of old objects in the worker's heap. A handler in the worker that needs more ends the server. 0: the runtime's
   * own limit.
   *
   * Unit: MiB. Default: 0 MiB. Range: 0 MiB … 1048576 MiB.
   */
  heap?: Size;
}

/** Options of a pool of threads. */
export interface PoolOptions {
  /**
   * Number of threads. Each handles one request at a time.
   *
   * A whole number. Default: 4. Range: 1 … 1024.
   */
  threads?: number;
  /**
   * Requests that wait for a thread. If exceeded: 503 at once.
   *
   * A whole number. Default: 64. Range: 0 … 1048576.
   */
  backlog?: number;
  /**
   * Timeout of `request`, except while it waits for its client to read. If exceeded, the thread ends and the client
   * gets 500. 0: no limit.
   *
   * Unit: ms. Default: 30000 ms. Range: 0 ms … 86400000 ms.
   */
  handlerTimeout?: number;
  /**
   * MiB of old objects in a thread's heap. A thread that needs more ends. 0: the runtime's own limit.
   *
   * Unit: MiB. Default: 0 MiB. Range: 0 MiB … 1048576 MiB.
   */
  heap?: Size;
}

/** Names of the options that can change while the server runs. */
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
  | "messageRate"
  | "messageBurst"
  | "headersTimeout"
  | "rawTimeout"
  | "requestTimeout"
  | "keepAliveTimeout"
  | "writeTimeout"
  | "idleTimeout"
  | "sendPings"
  | "pingInterval"
  | "closeTimeout"
  | "bufferTimeout"
  | "minReceiveRate"
  | "minSendRate"
  | "rateGrace";

/** Names of these options that each listener has for itself. */
export type ListenerName =
  | "port"
  | "backlog"
  | "noDelay"
  | "tcpKeepAlive"
  | "tcpKeepAliveInterval"
  | "tcpKeepAliveCount"
  | "ipv6Only"
  | "handshakeTimeout";
