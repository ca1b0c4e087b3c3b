// The binary interface between the engine and its host: every constant, enum and field offset that
// both sides must agree on, and nothing else. Compiled by asc and by esbuild; imports nothing.
//
// Invariant: a change of any number in this file changes ABI_VERSION.

/** Bumped on every change of layout, numbering or meaning; `join` refuses another version. */
export const ABI_VERSION: u32 = 23;
/** "RING" in little-endian; stands at the start of a formatted region. */
export const MAGIC: u32 = 0x474e4952;

// ---- ids -----------------------------------------------------------------------------------------
// A connection id is generation * 2^20 + slot: a safe integer. HTTP slots come first, WebSocket slots
// after them. A stale id is a no-op everywhere.

/** Slots, of both kinds together, are below this. */
export const SLOT_LIMIT: u32 = 1 << 20;
/** Bytes of the longest name of a topic. */
export const TOPIC_NAME_BYTES: u32 = 200;
/** "No slot". */
export const NONE: u32 = 0xffffffff;

// ---- parameters ----------------------------------------------------------------------------------
// A table of f64 the host fills at `params()` before `footprint` and `new`; index by `Param`.

/** Indices of the table of parameters. */
export enum Param {
  /** HTTP slots, 1 … 2^19. */
  Connections,
  /** WebSocket slots, 1 … 2^19. */
  WebSockets,
  /** Bytes of the ring, a power of two, 4 KiB … 1 GiB. */
  RingBytes,
  /** Bytes of the ring of compressed forms; 0 when compression is off. */
  DeflateRingBytes,
  /** Bytes from which a message is worth compressing. */
  DeflateThreshold,
  /** Entries of the frame index, a power of two. */
  Frames,
  /** Frames a client may be behind before it is evicted, at most `Frames`. */
  QueuedFrames,
  /** Bytes of the receive-buffer pool. */
  ReceivePoolBytes,
  /** Bytes of the reply-block pool. */
  ReplyPoolBytes,
  /** Bytes queued for one client above which `send` is refused. */
  Backlog,
  /** Bytes of the receive window: one socket read. */
  WindowBytes,
  /** Bytes of the scratch region: one batch from the inbox, one response, one message. */
  ScratchBytes,
  /** Bytes of a request head, at most 65,535. */
  HeadBytes,
  /** Header fields of a request. */
  Headers,
  /** Bytes of a request target. */
  TargetBytes,
  /** Bytes of a request body. */
  BodyBytes,
  /** Requests served on one connection; 0 is no limit. */
  RequestsPerSocket,
  /** 1: a body-bearing method without a length is 411. */
  RequireContentLength,
  /** Bytes of an inbound message. */
  PayloadBytes,
  /** Frames of an inbound message. */
  Fragments,
  /** 1: messages are handed out in pieces as they arrive, whatever their length; compressed ones whole. */
  Pieces,
  /** Bytes of one write of ring or static memory. */
  RunBytes,
  /** 1: a full WebSocket table evicts the client furthest behind; 0: 503. */
  EvictWhenFull,
  /** Topics the table holds. */
  Topics,
  /** Subscriptions of all clients together. */
  Subscriptions,
  /** ms for the head of a request. */
  HeadTimeout,
  /** ms for a whole request. */
  RequestTimeout,
  /** ms between requests. */
  KeepAliveTimeout,
  /** ms without progress of an outstanding write. */
  WriteTimeout,
  /** ms without a sign of life of a WebSocket; 0 is no limit. */
  IdleTimeout,
  /** 1: ping WebSockets. */
  SendPings,
  /** ms of inbound silence after which a WebSocket is pinged, at most half of its idle time; 0: never. */
  PingInterval,
  /** ms without a sign of life in the closing handshake and in a lingering close. */
  CloseTimeout,
  /** ms a connection may wait for a pooled buffer. */
  BufferTimeout,
  /** ms a reader that holds the publisher up may go without progress. */
  SlowGrace,
  /** First ring offset and frame sequence, 0 … 2^53: tests start near the edges. */
  FirstSequence,
  /** Seed of the treap's priorities, 1 … 2^32 - 1. */
  Seed,
  /** Bytes of a request body that is streamed, below 2^53; 0 is no limit. */
  StreamBytes,
  /** Connections of one address, of IPv6 one /64; 0 is no limit. */
  AddressConnections,
  /** Messages a second, pings and pongs included, that a WebSocket may send; 0 is no limit. */
  MessageRate,
  /** Messages that may come at once; 0: as many as in a second. */
  MessageBurst,
  /** Bytes a second at which a body, or a message in pieces, has to come; 0 is no limit. */
  ReceiveRate,
  /** Bytes a second at which a client has to read; 0 is no limit. */
  SendRate,
  /** ms for which it may be slower. */
  RateGrace,
  /** Bytes of the receive pool that connections of one address hold; 0 is no limit. */
  AddressReceiveBytes,
  /** Bytes of the reply pool that they hold; 0 is no limit. */
  AddressReplyBytes,
  COUNT,
}

// ---- control block -------------------------------------------------------------------------------
// A table of f64 at `join()`'s return value; index by `Control`. Addresses are bytes into the memory.

/** Indices of the control table. */
export enum Control {
  /** MAGIC and ABI_VERSION as two u32. */
  Magic,
  /** Monotonic ms; the host writes it before each call that depends on time. */
  Now,
  /** Unix seconds for the Date field; the host writes it. */
  Date,
  /** Address of the slots. */
  SlotsAddress,
  /** Of the receive window. */
  WindowAddress,
  /** Of the scratch region. */
  ScratchAddress,
  /** Of the event table. */
  EventsAddress,
  /** Events waiting in the table; the host sets it to 0 when it has drained them. */
  EventCount,
  /** Of the write table. */
  RowsAddress,
  /** Of the ring. */
  RingAddress,
  /** Of the table of header fields. */
  TableAddress,
  /** Generation of the slot that `accept` or `upgrade` returned. */
  Generation,
  /** Address of the result of the last call that has one besides its return value. */
  Result,
  /** Address of the open stage's payload. */
  StageAddress,
  /** Open WebSockets. */
  WebSocketCount,
  /** Those of them that take compressed messages. */
  DeflateCount,
  /** HTTP connections. */
  ConnectionCount,
  /** Slots that the host has not freed yet. */
  DeadCount,
  /** Bytes of the ring committed since the start. */
  Committed,
  /** Bytes of the ring that the slowest reader still needs. */
  RingUsed,
  /** Next frame sequence. */
  Sequence,
  /** Bytes taken from the receive pool. */
  ReceivePoolUsed,
  /** Bytes taken from the reply pool. */
  ReplyPoolUsed,
  // Counters, monotone.
  /** Connections, since the start. */
  Accepted,
  /** Upgrades. */
  Upgraded,
  /** Requests. */
  Requests,
  /** Bytes read. */
  BytesIn,
  /** Bytes written. */
  BytesOut,
  /** Messages from clients. */
  MessagesIn,
  /** Messages for single clients. */
  MessagesSent,
  /** Messages for single clients that were refused: a queue was full. */
  MessagesRefused,
  /** Frames published. */
  FramesPublished,
  /** Bytes published. */
  BytesPublished,
  /** Publications times the clients open at that moment. */
  FramesDue,
  /** Pings from clients. */
  PingsIn,
  /** Pongs for which a newer ping took the place. */
  PongsDropped,
  /** Clients evicted. */
  Evicted,
  /** Bytes by which a client is behind: what `lag` found. */
  LagBytes,
  /** Topics that somebody subscribes to. */
  TopicCount,
  /** Subscriptions of all clients. */
  SubscriptionCount,
  /** Length of the name at Control.Result. */
  NameLength,
  /** 1: the pass before left what was published for a later one. */
  Withheld,
  /** Addresses that connections are counted under. */
  AddressCount,
  /** Bytes of bodies that the host holds, each for one answer. */
  BodyBytes,
  /** What `check` found: the slot, topic or address that breaks a rule, the value there, and the one it must have. */
  CheckAt,
  CheckFound,
  CheckExpected,
  /** Connections whose send queues the host is to read, see `watched`. */
  Watched,
  /** Closed connections by reason: CloseCount - reason. */
  CloseCount,
  /** Open WebSockets by how far they are behind, as of `gauge`: LAG_CLASSES counts, see `lagClass`. */
  LagCount = CloseCount + 96,
  COUNT = LagCount + 16,
}

/** Classes of lag: nothing; up to LAG_FIRST bytes; each of the others up to four times the one before. */
export const LAG_CLASSES: u32 = 16;
export const LAG_FIRST: u32 = 1024;

// ---- events --------------------------------------------------------------------------------------

/** What an event tells. */
export enum EventKind {
  /**
   * A whole request: `pointer` its head, `length` bytes of it, `value` its traits. Parsing of the connection
   * stops. With Trait.BodyToCome it is a head alone: answer with `stream` or `collect` before anything else.
   */
  Request = 1,
  /** A piece of a streamed body, at `pointer`, decoded; valid until the next call that parses. */
  BodyChunk,
  /** The end of a streamed body. `value` 0: it is whole; else the reason for which it broke off. */
  BodyEnd,
  /**
   * A whole message: `pointer`, `length` its payload, `value` the opcode. Valid until the next call that parses. When
   * the host holds the connection before it comes to this event, it becomes kind 0: skip it.
   */
  Message,
  /**
   * A piece of a message, for hosts that asked for pieces. `value`: opcode | first << 8 | last << 9, the extra
   * field the bytes of its frame still to come.
   */
  Fragment,
  /** A compressed message to inflate; answer with `inflated`. */
  Inflate,
  /** A ping arrived (its pong is queued): payload at `pointer`. */
  Ping,
  /** A pong arrived: payload at `pointer`. */
  Pong,
  /**
   * The peer's Close frame: `value` its code (1005 when it has none), reason text at `pointer`. 1006: it ended its
   * side without one, and gets no more than what is queued for it.
   */
  PeerClose,
  /**
   * `value` 0: a client whose queue was full has room again, an HTTP connection may be resumed; 1: a buffer
   * may be had, feed the bytes that were not consumed.
   */
  Drain,
  /** Everything is written: half-close the socket and go on reading (and discarding). */
  End,
  /** The engine is through with the connection: act by `Shut` in `length`, then `free` the slot. `value`: reason. */
  Closed,
  /** A PROXY header was taken: `length` 16: the client's address, as of IPv6, at `pointer`; 0: it names none. */
  Proxied,
  /** What ends a WebSocket of `relay` has come, and it is held: let go of both when its messages are handled. */
  EndWaits,
}

/** Bits of `accept`'s flags. */
export enum Arrival {
  /** A PROXY header comes first. */
  Proxied = 1,
  /** TLS is to be negotiated, behind the header: nothing is said before `secured`. */
  Unsecured = 2,
}

/** How a Closed connection's socket ends. */
export enum Shut {
  /** Drop what the kernel holds; no byte of the ring may leave any more. */
  Reset = 1,
  /** A plain close; the kernel sends what it has. */
  Destroy,
}

/** Request, Message and other inbound events the table holds beside a Closed for each slot. */
export const EVENT_LIMIT: u32 = 256;
/** Drain and End that it holds; who finds no place is told when the table has been drained. */
export const NOTICE_LIMIT: u32 = 512;
export const EVENT_BYTES: u32 = 32;
export const EVENT_KIND: u32 = 0;
export const EVENT_SLOT: u32 = 4;
export const EVENT_GENERATION: u32 = 8;
export const EVENT_POINTER: u32 = 12;
export const EVENT_LENGTH: u32 = 16;
export const EVENT_VALUE: u32 = 20;
export const EVENT_EXTRA: u32 = 24;

// ---- write rows ----------------------------------------------------------------------------------

export enum RowKind {
  /** Bytes of the ring. */
  Ring = 1,
  /** Bytes of a reply block. */
  Block,
  /** Bytes of a body the host holds: `offset` and `length` in it, its number in `body`. */
  Static,
  /** Bytes of the ring of compressed forms. */
  DeflateRing,
}

/** What the host leaves in a row's `state` before the next `flush`. */
export enum RowState {
  /** The transport holds the memory; `done(slot)` follows. */
  Outstanding = 0,
  /** The transport is through with the memory. */
  Complete = 1,
}

/** Rows of the table; a pass that has more fills it again. */
export const ROW_LIMIT: u32 = 512;
export const ROW_BYTES: u32 = 32;
export const ROW_SLOT: u32 = 0;
export const ROW_KIND: u32 = 4;
export const ROW_OFFSET: u32 = 8;
export const ROW_LENGTH: u32 = 12;
export const ROW_STATE: u32 = 16;
export const ROW_BODY: u32 = 20;
/** 1: with this row the host may let go of the static body. */
export const ROW_LAST: u32 = 24;

// ---- requests ------------------------------------------------------------------------------------
// The head table: one entry of four u16 for each field, offsets from the start of the head.

export const HEADER_ENTRY_BYTES: u32 = 8;

/** Index in the table of methods that `methodName` spells: the registered ones, and some in use. */
export enum Method {
  GET,
  HEAD,
  POST,
  PUT,
  DELETE,
  OPTIONS,
  PATCH,
  TRACE,
  CONNECT,
}

// Fields of a slot that the host reads; asserted against conn.ts.
export const CONN_BYTES: u32 = 296;
export const CONN_FLAGS: u32 = 4;
export const CONN_GENERATION: u32 = 8;
export const CONN_HEAD: u32 = 48;
export const CONN_TABLE: u32 = 52;
export const CONN_BODY: u32 = 56;
export const CONN_BODY_LENGTH: u32 = 60;
export const CONN_HEAD_LENGTH: u32 = 68;
export const CONN_HEADER_COUNT: u32 = 70;
export const CONN_METHOD: u32 = 72;
export const CONN_MINOR: u32 = 73;
export const CONN_TARGET: u32 = 74;
export const CONN_TARGET_LENGTH: u32 = 76;
export const CONN_TRAITS: u32 = 80;
export const CONN_BACKLOG: u32 = 104;

/** Bit of `CONN_FLAGS`: the connection waits for a pooled buffer; the host keeps what was not consumed. */
export const FLAG_WAITING: u32 = 128;
/** Bit of `CONN_FLAGS`: a Close is queued, so nothing follows it. */
export const FLAG_CLOSE_QUEUED: u32 = 256;
/** Bit of `CONN_FLAGS`: a message of the pooled buffer is out; `resume` takes the buffer back. */
export const FLAG_MESSAGE_OUT: u32 = 16384;
/** Bit of `CONN_FLAGS`: it has ended, and its peer goes on and on: the host reads it no more. */
export const FLAG_DEAF: u32 = 2147483648;

/** What a request's fields said: bits of `CONN_TRAITS`. */
export enum Trait {
  Host = 1,
  ContentLength = 2,
  Chunked = 4,
  Close = 8,
  KeepAlive = 16,
  /** Connection: upgrade. */
  ConnectionUpgrade = 32,
  /** Upgrade: websocket. */
  UpgradeWebSocket = 64,
  Key = 128,
  Version13 = 256,
  VersionOther = 512,
  Expect = 1024,
  TransferEncoding = 2048,
  /** A valid opening handshake (RFC 6455 4.2.1): `upgrade` may answer it. */
  Upgrade = 4096,
  /** The connection stays open after the answer. */
  Persistent = 8192,
  Absolute = 16384,
  ExpectOther = 32768,
  /** The head of a request whose body the host may want streamed. */
  BodyToCome = 65536,
}

/** Bits of `respond`'s flags. */
export enum Answer {
  /** Close the connection after this answer. */
  Close = 1,
  /** The body comes piece by piece: chunked for 1.1, up to the end of the connection for 1.0. */
  Stream = 2,
}

// ---- inbox ---------------------------------------------------------------------------------------
// Shared memory between one producing thread and its consumers: INBOX_WORDS u32 of header, then a
// byte ring of a power of two. Positions are u32 that count 8-byte units and wrap.

export const INBOX_WORDS: u32 = 64;
/** Position of the producer. */
export const INBOX_HEAD: u32 = 0;
/** Position of the consumer. */
export const INBOX_TAIL: u32 = 16;
/** 1: the consumer sleeps; whoever changes it to 0 rings the doorbell. */
export const INBOX_ASLEEP: u32 = 17;
/** 1: the producer waits for room; whoever changes it to 0 tells it. */
export const INBOX_WAITING: u32 = 32;

/**
 * Record header: total bytes (multiple of 8), kind | flags << 8 | value << 16, payload bytes, slot,
 * generation, value. A Pad may be as short as the first two.
 */
export const RECORD_BYTES: u32 = 24;
export const RECORD_TOTAL: u32 = 0;
export const RECORD_KIND: u32 = 4;
export const RECORD_LENGTH: u32 = 8;
export const RECORD_SLOT: u32 = 12;
export const RECORD_GENERATION: u32 = 16;
/** Frames that an application-side stage or a test wants counted; number of a transferred buffer. */
export const RECORD_VALUE: u32 = 20;

export enum RecordKind {
  /** Skip to the start of the byte ring. */
  Pad,
  Broadcast,
  Send,
  Close,
  Ping,
  Publish,
  Subscribe,
  Unsubscribe,
  /** The payload is the transferred buffer of number RECORD_VALUE; the real kind stands in the value. */
  Transferred,
  /** For the worker's own code, which carries it out: an operation of a handler on the application's thread. */
  Host,
}

/** Bits of a frame's flags, in records and in index entries. */
export enum FrameFlag {
  Binary = 1,
  /** The payload is compressed (RFC 7692 6): RSV1 is set. */
  Compressed = 2,
  /** Not to be compressed, whatever its length. */
  Plain = 4,
}

// ---- outcomes ------------------------------------------------------------------------------------

/** What `publish`, `drain`, `stage…` and `send` answer. */
export enum Outcome {
  /** Done. */
  Ok = 0,
  /** Clients were evicted to make room: act on the events, then call again. */
  Evicted = 1,
  /** Frames that were not flushed yet stand in the way: flush, then call again. */
  Flush = 2,
  /** The many are behind: nothing was staged; try again when they have moved on. */
  Wait = 3,
  /** The frame is larger than the ring. */
  TooLarge = 4,
  /** The id is stale, or the connection is closing. */
  Gone = 5,
  /** The client's queue or the reply pool is full. */
  Full = 6,
  /** A transferred buffer is next: publish it, then go on. */
  Transferred = 7,
  /** A message to compress is next: publish it, then go on. */
  Compress = 8,
  /** A stage is open: publish or discard that first. Nothing was published. */
  Staging = 9,
  /** An argument that is none: an unknown close reason, a control frame over 125 bytes. Nothing was done. */
  Invalid = 10,
}

// ---- close reasons -------------------------------------------------------------------------------
// The reference's numbers, −1 … −23; ours from −24 on. `close.ts` in host/ gives each its text, HTTP
// status and WebSocket code; the host copies them into the table at `reasons` before the first connection.

/** Why a connection ended. */
export enum CloseReason {
  Ok = -1,
  Evicted = -2,
  TooSlow = -3,
  ExpectedEof = -4,
  PeerReset = -5,
  LargeRequest = -6,
  BadRequest = -7,
  MissingContentLength = -8,
  UnknownMethod = -9,
  PathTooLong = -10,
  WsBadKey = -11,
  WsUnexpectedVersion = -12,
  WsMissingKey = -13,
  WsMissingVersion = -14,
  WsBadMask = -15,
  WsUnknownOpcode = -16,
  WsOversizeFrame = -17,
  WsClientTooSlow = -18,
  WsMissingUpgrade = -19,
  WsExpectedCont = -20,
  WsExpectedText = -21,
  WsControlFrameTooLarge = -22,
  UnsupportedTransferEncoding = -23,
  /** The peer sent a Close frame or ended its side in order. */
  PeerClosed = -24,
  /** The peer ended its side without a Close frame, or within a request. */
  PeerEnded = -25,
  WsReservedBits = -26,
  WsBadUtf8 = -27,
  WsTooManyFragments = -28,
  WsBadLength = -29,
  WsFragmentedControl = -30,
  WsBadClosePayload = -31,
  WsMessageTooLarge = -32,
  LargeHead = -33,
  TooManyHeaders = -34,
  UnsupportedVersion = -35,
  UnsupportedExpectation = -36,
  MissingHost = -37,
  BadHost = -38,
  BadContentLength = -39,
  BadTransferEncoding = -40,
  BadChunk = -41,
  HeadTimeout = -42,
  RequestTimeout = -43,
  KeepAliveTimeout = -44,
  WriteTimeout = -45,
  IdleTimeout = -46,
  CloseTimeout = -47,
  NoBuffer = -48,
  NoRoom = -49,
  OriginRefused = -50,
  AddressLimit = -51,
  Rate = -52,
  Shutdown = -53,
  HandlerError = -54,
  /** The application closed or terminated the connection. */
  Application = -55,
  NetworkError = -56,
  Configured = -57,
  WsBadDeflate = -58,
  HostRefused = -59,
  /** A body or message came too slowly. */
  ReceiveTooSlow = -60,
  BadProxyHeader = -61,
  ProxyRefused = -62,
  TlsFailed = -63,
  /** Its address holds as much of a pool as it may. */
  AddressBuffers = -64,
  // Victims of a full table of HTTP slots, see room.ts.
  /** Its client had ended its side, and its answer was pending. */
  EvictedEnded = -65,
  /** It was between two requests. */
  EvictedIdle = -66,
  /** Its request came too slowly. */
  EvictedUnfinished = -67,
  /** Its client did not read its answer. */
  EvictedUnread = -68,
  /** A message that the application's `send(id)` had accepted found no room. */
  SendOverrun = -69,
}

/** Close reasons are −1 … −CLOSE_REASONS. */
export const CLOSE_REASONS: u32 = 69;

/** Bytes of a record of the table at `reasons`. */
export const REASON_BYTES: u32 = 64;
/** HTTP status, u16. */
export const REASON_STATUS: u32 = 0;
/** Code of the Close frame, u16. */
export const REASON_CODE: u32 = 2;
/** Bytes of the Close frame's text, u8. */
export const REASON_LENGTH: u32 = 4;
/** The text. */
export const REASON_TEXT: u32 = 5;

// ---- invariants ----------------------------------------------------------------------------------

/** The rules that `check` looks at, by record. Tests print the name of the one that does not hold. */
export enum Rule {
  /** All hold. */
  Ok,
  /** An HTTP connection has an HTTP slot. */
  HttpSlot,
  /** A WebSocket has a WebSocket slot. */
  WebSocketSlot,
  /** The ping that waits for its pong lies among the queued bytes. */
  PingQueued,
  /** The reply bytes counted for a connection are those of its blocks. */
  ReplyBytes,
  /** A peer that has ended stands in the list of ended connections. */
  EndedList,
  /** A client's next frame has been committed. */
  DueCommitted,
  /** A client was handed committed bytes only. */
  HandedCommitted,
  /** A reader is at most one ring behind. */
  ReaderInRing,
  /** A reader is at most as many frames behind as the index holds. */
  ReaderInIndex,
  /** A reader's key in the treap is the first byte that it, or the transport for it, may still read. */
  TreapKey,
  /** A WebSocket outside the treap needs no byte before the flushed offset. */
  TreapMissing,
  /** The bytes counted as returned by handlers are the sum over all connections. */
  Returned,
  /** The queue of connections without a buffer is linked in both directions and complete. */
  WaitQueue,
  /** A subscription is in the list of its own client. */
  SubscriptionOwner,
  /** A subscription that has been cancelled stays only as long as a frame is due by it. */
  SubscriptionDue,
  /** An active subscription is found by its client and topic. */
  SubscriptionPair,
  /** A client's count of subscriptions is the length of its list. */
  SubscriptionCount,
  /** A client's heap of due subscriptions is complete and in order. */
  DueHeap,
  /** All subscription records are in lists of clients. */
  SubscriptionRecords,
  /** The gauge of subscriptions counts the active ones. */
  SubscriptionGauge,
  /** A topic's count of subscribers is the length of its list. */
  TopicSubscribers,
  /** A topic is found by its name. */
  TopicName,
  /** The count of topics is that of the topics in use. */
  TopicCount,
  /** The receive buffers counted for an address are those of its connections. */
  AddressReceive,
  /** The reply bytes counted for an address are those of its connections. */
  AddressReply,
  /** The bytes returned for an address are those of its connections. */
  AddressReturned,
  /** The slots counted for an address are those of its connections, at least one. */
  AddressSlots,
  /** The connections counted for an address are those that have not ended. */
  AddressConnections,
  /** The count of addresses is that of the table. */
  AddressCount,
  /** Between two reads the receive window is empty. */
  WindowEmpty,
  /** The gauge of watched connections counts them. */
  Watched,
  /** The count of requests being received is that of their list. */
  Reading,
  /** The dense list has each WebSocket that is open, and no other. */
  OpenCount,
  /** The treaps have each reader that is marked as being in one. */
  TreapCount,
  /** The gauge of dead slots counts them. */
  DeadCount,
  /** The receive pool has given out the buffers that connections hold. */
  ReceivePool,
  /** The reply pool has given out the blocks that connections hold. */
  ReplyPool,
  /** A WebSocket's place in the dense list is where the list has it. */
  OpenPlace,
  /** What has not been flushed fits the ring. */
  UnflushedInRing,
  /** The last frame of the index ends where the ring does. */
  LastFrame,
}
