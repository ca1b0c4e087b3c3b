// The binary interface between the engine and its embedder. It holds every constant, enum and field offset that both
// sides must agree on, and nothing else. Both asc and esbuild compile it, and it imports nothing.
//
// Invariant: a change of any number in this file changes ABI_VERSION.

/**
 * Version of this interface, raised on every change of layout, numbering or meaning. `join` refuses any other version.
 */
export const ABI_VERSION: u32 = 39;
/** "RING" in little-endian, at the start of a formatted region. */
export const MAGIC: u32 = 0x474e4952;

// ---- ids -----------------------------------------------------------------------------------------
// A connection id is generation * 2^20 + slot, which is a safe integer. HTTP slots come first, WebSocket slots follow.
// A call with a stale id does nothing.

/** Upper bound (exclusive) of slot numbers, HTTP and WebSocket slots together. An id has 20 bits for the slot. */
export const SLOT_LIMIT: u32 = 1 << 20;
/** Longest topic name, in bytes. `subscribe` refuses longer names, so that a topic record has a fixed size. */
export const TOPIC_NAME_BYTES: u32 = 200;
/** Slot number for no slot, beyond SLOT_LIMIT. */
export const NONE: u32 = 0xffffffff;

// ---- bodies --------------------------------------------------------------------------------------
// A body that the embedder holds has a number. Numbers below PAGE_BODIES are of bodies that responses share, numbers
// from SLOT_LIMIT on of bodies that are held for one response alone.

/** The body of a status's error page has the number PAGE_BODIES + status, see `page`. */
export const PAGE_BODIES: u32 = SLOT_LIMIT - 1024;
/** First and last status that may have an error page. */
export const PAGE_FIRST: u32 = 400;
export const PAGE_LAST: u32 = 599;

// ---- parameters ----------------------------------------------------------------------------------
// A table of f64 that the embedder fills at `params()` before it calls `footprint` and `new` (`create()` in
// the sources). `Param` is the index. `state/ranges.ts` has the ranges as code, and `refused` names the first parameter
// that is out of its range; `new` refuses it. Where no range is given it is 0 … 2^32 - 1.

/** Indices into the table of parameters. */
export enum Param {
  /** Number of HTTP slots, 1 … 2^19. */
  Connections,
  /** Number of WebSocket slots, 1 … 2^19. */
  WebSockets,
  /** Size of the ring in bytes, a power of two, 4 KiB … 1 GiB. */
  RingBytes,
  /** Size in bytes of the ring of compressed forms, 0 when compression is off, else as RingBytes. */
  DeflateRingBytes,
  /** Smallest message that is compressed, in bytes. */
  DeflateThreshold,
  /** Number of entries in the frame index, a power of two, at most 2^31. */
  Frames,
  /** Number of frames that a client may lag behind before it is evicted, at most `Frames`. */
  QueuedFrames,
  /** Size of the pool of receive buffers, in bytes. */
  ReceivePoolBytes,
  /** Size of the pool of reply blocks, in bytes. */
  ReplyPoolBytes,
  /** High-water mark of a client's reply queue, in bytes. Above it `send` is refused. */
  Backlog,
  /** Size of the receive window, in bytes. One socket read fits into it. */
  WindowBytes,
  /** Size of the scratch region, in bytes. It holds one batch from the inbox, one response or one message. */
  ScratchBytes,
  /** Longest request head, in bytes, at most 65,535. */
  HeadBytes,
  /** Most header fields of a request. */
  Headers,
  /** Longest request target, in bytes. */
  TargetBytes,
  /** Longest request body that is collected, in bytes. */
  BodyBytes,
  /** Most requests served on one connection, 0 for no limit. */
  RequestsPerSocket,
  /** 1 to answer POST, PUT and PATCH without a length with 411. */
  RequireContentLength,
  /** Longest inbound message, in bytes. */
  PayloadBytes,
  /** Most frames of an inbound message. */
  Fragments,
  /** 1 to emit messages of any length in pieces as they arrive. Compressed messages are still emitted whole. */
  Pieces,
  /** Largest single write of ring memory or of a static body, in bytes, at least 512. */
  RunBytes,
  /** Policy for a full WebSocket table: 1 evicts the client with the largest lag, 0 answers the upgrade with 503. */
  EvictWhenFull,
  /** Capacity of the topic table. */
  Topics,
  /** Most subscriptions of all clients together. */
  Subscriptions,
  /** Timeout for the head of a request, in ms. */
  HeadTimeout,
  /** Timeout for a whole request, in ms. */
  RequestTimeout,
  /** Timeout between two requests, in ms. */
  KeepAliveTimeout,
  /** Timeout of a pending write that makes no progress, in ms. */
  WriteTimeout,
  /** Timeout of a WebSocket without a sign of life, in ms, 0 for no limit. */
  IdleTimeout,
  /** 1 to ping WebSockets. */
  SendPings,
  /** Inbound silence after which a WebSocket is pinged, in ms, at most half of its idle timeout. 0 sends no pings. */
  PingInterval,
  /** Timeout without a sign of life in the closing handshake and in a lingering close, in ms. */
  CloseTimeout,
  /** Timeout of a connection that waits for a pooled buffer, in ms. */
  BufferTimeout,
  /** Longest time, in ms, that a reader which blocks the publisher may make no progress. */
  SlowGrace,
  /** First ring offset and first frame sequence, 0 … 2^53. Tests start near the limits. */
  FirstSequence,
  /** Seed of the treap's priorities, 1 … 2^32 - 1. */
  Seed,
  /** Longest streamed request body, in bytes, below 2^53. 0 is no limit. */
  StreamBytes,
  /** Most connections of one address, 0 for no limit. IPv6 addresses are counted by their /64. */
  AddressConnections,
  /** Most messages per second that a WebSocket may send, pings and pongs included. 0 is no limit. */
  MessageRate,
  /** Most messages that may arrive at once. 0 allows as many as in one second. */
  MessageBurst,
  /** Lowest rate, in bytes per second, at which a body or a message in pieces must arrive. 0 is no limit. */
  ReceiveRate,
  /** Lowest rate, in bytes per second, at which a client must read. 0 is no limit. */
  SendRate,
  /** Time, in ms, during which a client may be below ReceiveRate or SendRate. */
  RateGrace,
  /** Most bytes of the receive pool that the connections of one address may hold, 0 for no limit. */
  AddressReceiveBytes,
  /** Most bytes of the reply pool that the connections of one address may hold, 0 for no limit. */
  AddressReplyBytes,
  /** Silence, in ms, after which a connection of Arrival.Any that has not begun a request is foreign. 0 is no limit. */
  RawTimeout,
  /** Bytes of responses after which a flush pass leaves the others for the next one, 0 for no limit. */
  PassBytes,
  /** As RunBytes, for connections of Arrival.Copied, where it is less, at least 512. 0 is no limit of their own. */
  CopiedRunBytes,
  /** Names the order of publications of this start, 0 … 36^8 - 1. `Engine.position` spells it in base 36. */
  Epoch,
  /** Most bytes of the pieces of all bodies that the embedder supplies, see `Want`. */
  PieceBytes,
  /** Size in bytes of the ring of server-sent events, as RingBytes; 0 when they are off. */
  EventRingBytes,
  /** 1 to name the event of a publication to a topic after the topic. */
  EventNames,
  /** 1 when event streams may resume from the positions that their clients name, see `openStream`. */
  History,
  /** Bytes that a flush pass hands to readers that catch up, 0 for no limit. */
  ReplayBytes,
  COUNT,
}

// ---- control block -------------------------------------------------------------------------------
// A table of f64 at the address that `join()` returns. `Control` is the index. Addresses are byte offsets into the
// memory.

/** Indices into the control table. */
export enum Control {
  /** MAGIC and ABI_VERSION as two u32. */
  Magic,
  /** Monotonic time in ms. The embedder writes it before each call that depends on time. */
  Now,
  /** Unix time in seconds for the Date field. The embedder writes it. */
  Date,
  /** Address of the slots. */
  SlotsAddress,
  /** Address of the receive window. */
  WindowAddress,
  /** Address of the scratch region. */
  ScratchAddress,
  /** Address of the event table. */
  EventsAddress,
  /** Number of events in the table. The embedder sets it to 0 when it has drained the table. */
  EventCount,
  /** Address of the write table. */
  RowsAddress,
  /** Address of the ring. */
  RingAddress,
  /** Address of the table of header fields. */
  TableAddress,
  /** Generation of the slot that `accept` or `upgrade` returned. */
  Generation,
  /** Second result of the last call that has one besides its return value. */
  Result,
  /** Address of the open stage's payload. */
  StageAddress,
  /** Number of open WebSockets. */
  WebSocketCount,
  /** Number of open WebSockets that read the ring of compressed forms. */
  DeflateCount,
  /** Number of open event streams, which are among the open WebSockets. */
  StreamCount,
  /** Number of HTTP connections. */
  ConnectionCount,
  /** Number of ended connections whose slots the embedder has not freed yet. */
  DeadCount,
  /** Bytes of the ring committed since the start. */
  Committed,
  /** Bytes of the ring that the slowest reader still needs. */
  RingUsed,
  /** Sequence of the next frame. */
  Sequence,
  /** Bytes in use in the receive pool. */
  ReceivePoolUsed,
  /** Bytes in use in the reply pool. */
  ReplyPoolUsed,
  // Monotonic counters.
  /** Connections since the start, including the ones that were refused. */
  Accepted,
  /** Connections upgraded to WebSockets. */
  Upgraded,
  /** Requests answered. */
  Requests,
  /** Bytes received. */
  BytesIn,
  /** Bytes sent. */
  BytesOut,
  /** Messages received from clients. */
  MessagesIn,
  /** Messages queued for single clients. */
  MessagesSent,
  /** Messages for single clients that were refused because a queue was full. */
  MessagesRefused,
  /** Frames published. */
  FramesPublished,
  /** Publications without a possible recipient. They take a position, and no frame. */
  PublishedToNone,
  /** Payload bytes published. */
  BytesPublished,
  /** Deliveries due: the number of recipients, summed over all publications. */
  FramesDue,
  /** Pings received from clients. */
  PingsIn,
  /** Pongs dropped, replaced by the pong to a newer ping or without a free reply block. */
  PongsDropped,
  /** Clients evicted. */
  Evicted,
  /** Lag in bytes of the client that `lag` was called for. */
  LagBytes,
  /** Number of topics with subscribers, or published to since the last flush pass. */
  TopicCount,
  /** Number of subscriptions of all clients. */
  SubscriptionCount,
  /** Length of the name or the bytes at Control.Result. */
  ResultLength,
  /** 1 when the last flush pass left published frames for a later pass. */
  Withheld,
  /** 1 when the last flush pass left responses for the next one, because it had handed over PassBytes. */
  Unserved,
  /** Number of addresses with at least one slot in use. */
  AddressCount,
  /** Bytes of bodies that the embedder holds, each for a single response. */
  BodyBytes,
  /** The slot, topic or address that breaks a rule, as `check` found it. */
  CheckAt,
  /** The value that `check` found there. */
  CheckFound,
  /** The value that the rule requires there. */
  CheckExpected,
  /** Number of connections whose send queues the embedder must read, see `watched`. */
  Watched,
  /** Number of connections that were taken out of HTTP and have not ended, see `release`. */
  Pipes,
  /** Connections taken out of HTTP since the start. */
  Released,
  /** Number of responses whose bodies the embedder supplies. */
  SuppliedCount,
  /** Number of these responses with a piece that waits to be written. */
  ReadyCount,
  /** Bytes in use by their pieces, with the room that Want has reserved. */
  PieceBytesUsed,
  /** Number of these responses that wait for room for a piece. */
  StarvedCount,
  /** Pieces that were recalled. */
  Recalled,
  /** Event streams that resumed. */
  Resumed,
  /** Bytes of publications that were handed to readers while they caught up. */
  ReplayedBytes,
  /** Number of event streams that wait for `settled`. */
  ParkedCount,
  /** Topics that history has forgotten, because the table was full. */
  TopicsForgotten,
  /** Gaps that event streams were notified of, by reason. The index of a Gap is GapCount + gap. */
  GapCount,
  /** Closed connections by reason. The index of a reason is CloseCount - reason. */
  CloseCount = GapCount + 6,
  /** Open WebSockets by lag class as of the last `gauge`: LAG_CLASSES counters, see `lagClass`. */
  LagCount = CloseCount + 96,
  COUNT = LagCount + 16,
}

/**
 * Number of lag classes. Class 0 has no lag, class 1 up to LAG_FIRST bytes, and each later class up to four times as
 * much.
 */
export const LAG_CLASSES: u32 = 16;
export const LAG_FIRST: u32 = 1024;

// ---- events --------------------------------------------------------------------------------------

/**
 * Kinds of events. `emit` counts a kind by its range: kinds before Drain, and from Proxied on, are inbound events,
 * bounded by EVENT_LIMIT; Drain to Recall are notices, bounded by NOTICE_LIMIT; Closed has room of its own.
 */
export enum EventKind {
  /**
   * A whole request: `pointer` is its head, `length` the length of the head in bytes, `value` its traits. Parsing of
   * the connection stops. With Trait.BodyToCome only the head has arrived, and the embedder must call `stream` or
   * `collect` before anything else.
   */
  Request = 1,
  /** A decoded piece of a streamed body, at `pointer`, valid until the next call that parses. */
  BodyChunk,
  /** The end of a streamed body. `value` is 0 when the body is whole, else the reason why it ended early. */
  BodyEnd,
  /**
   * A whole message: `pointer` and `length` are its payload, `value` is the opcode. It is valid until the next call
   * that parses. If the embedder holds the connection before it reaches this event, the kind becomes 0 and the event is
   * skipped.
   */
  Message,
  /**
   * A piece of a message, when Param.Pieces is 1. `value` is opcode | first << 8 | last << 9, the extra field is the
   * number of bytes of its frame still to come.
   */
  Fragment,
  /** A compressed message. The embedder inflates it, handles it, and calls `resume`. */
  Inflate,
  /** A ping with its payload at `pointer`. Its pong is queued already. */
  Ping,
  /** A pong with its payload at `pointer`. */
  Pong,
  /**
   * The peer's Close frame: `value` is its code (1005 when it has none), its text is at `pointer`. Code 1006 means that
   * the peer ended its side without a Close frame, and is sent only the bytes already queued for it.
   */
  PeerClose,
  /**
   * `value` 0: a client whose queue was full has room again, and an HTTP connection may be resumed. `value` 1: a buffer
   * is available, so feed the bytes that were not consumed. `value` 2: as 0, for a client that was only asked about by
   * `awaitRoom`, and refused nothing.
   */
  Drain,
  /** All queued bytes are written. Half-close the socket, then keep reading and discarding input. */
  End,
  /**
   * Nothing is queued of a response whose body the embedder supplies, and its earlier pieces are not read any more. It
   * may give a piece of about `length` bytes, for which there is room, by `give`, or end the response.
   */
  Want,
  /**
   * The piece is not read any more, and its last `length` bytes have not been sent: the client makes no progress, and
   * others need the room. A Want asks for these bytes again. It is 0 when all have left, and there is no room for the
   * next piece.
   */
  Recall,
  /**
   * The connection has ended. Close the socket by `Shut` in `length`, then call `free` for the slot. `value` is the
   * reason.
   */
  Closed,
  /**
   * A PROXY header was parsed. `length` is 16 with the client's address, in IPv6 form, at `pointer`, or 0 when it names
   * no client.
   */
  Proxied,
  /**
   * A Close, a fault or the peer's end has arrived on a WebSocket of `relay`, and the WebSocket is held. Undo both
   * `relay` and `hold` when its messages have been handled.
   */
  EndWaits,
  /**
   * The first bytes of a connection of Arrival.Any begin no HTTP request, or it was silent for too long. Nothing of it
   * is parsed. Call `release` for it, or end it.
   */
  Foreign,
  /**
   * The engine has refused a request that it had not emitted, see `refusals`. `value` is the status, `pointer` the
   * number of bytes of the body. `length` is 1 when the request line was parsed: the record of the slot then has the
   * head with the fields before the fault, until the next call that parses.
   */
  Refused,
}

/** Bits of the flags of `accept`. */
export enum Arrival {
  /** A PROXY header precedes everything else. */
  Proxied = 1,
  /**
   * TLS must be established, after the PROXY header if there is one. Nothing is sent to the client before `secured`.
   */
  Unsecured = 2,
  /** The first bytes decide whether the connection is HTTP. Foreign follows when it is not. */
  Any = 4,
  /** The transport holds a copy of each pending write, so runs are at most Param.CopiedRunBytes. */
  Copied = 8,
}

/** Ways to close the socket of an ended connection. */
export enum Shut {
  /** Reset the connection and drop the kernel's send queue, because bytes of the ring must no longer leave. */
  Reset = 1,
  /** Close the socket; the kernel sends the bytes that it holds. */
  Destroy,
}

/**
 * Most inbound events in the table, besides one Closed for each slot. Parsing stops when it is reached, and `resume`
 * continues it.
 */
export const EVENT_LIMIT: u32 = 256;
/**
 * Most notices in the table (Drain, End, Want, Recall). Further ones stay pending and are emitted after the table has
 * been drained.
 */
export const NOTICE_LIMIT: u32 = 512;
export const EVENT_BYTES: u32 = 32;
export const EVENT_KIND: u32 = 0;
export const EVENT_SLOT: u32 = 4;
export const EVENT_GENERATION: u32 = 8;
export const EVENT_POINTER: u32 = 12;
export const EVENT_LENGTH: u32 = 16;
export const EVENT_VALUE: u32 = 20;
export const EVENT_EXTRA: u32 = 24;

// ---- forms -----------------------------------------------------------------------------------------

/**
 * Forms in which publications are kept for their readers. Each form that is enabled has a ring of its own, and all
 * share the frame index. A WebSocket reads one of them.
 */
export enum Form {
  /** Frames of RFC 6455. It is always enabled. */
  Plain,
  /** Frames with a compressed payload (RFC 7692), where Param.DeflateRingBytes is not 0. */
  Deflated,
  /** Server-sent events, where Param.EventRingBytes is not 0. Their readers are event streams, see `openStream`. */
  Event,
  COUNT,
}

/** Reasons why a reader has missed publications and is notified of it. */
export enum Gap {
  /** None. */
  None,
  /** They are not kept any more. */
  Expired,
  /** Its position is of another start of the server. */
  Epoch,
  /** Its position is malformed, or of the future. */
  Invalid,
  /** It read too slowly while it caught up, or its opening took too long. */
  Lapped,
  /** A publication is larger than the ring of its form. */
  Large,
}

// Values of `since` in place of a position, see `openStream`.
/** The client names no position. */
export const SINCE_NONE: f64 = -1;
/** Its position is of another epoch. */
export const SINCE_FOREIGN: f64 = -2;
/** It is malformed. */
export const SINCE_INVALID: f64 = -3;

// ---- write rows ----------------------------------------------------------------------------------

/** Where the bytes of a write row are. */
export enum RowKind {
  /** Bytes of a ring of publications. */
  Ring = 1,
  /** Bytes of a reply block. */
  Block,
  /** Bytes of a body that the embedder holds: `offset` and `length` within it, and its number in `body`. */
  Static,
  /** Bytes of the embedder's, which it writes itself, see `pour`. They are in no row. */
  Poured,
  /**
   * Bytes of the piece that the embedder gave; `offset` counts from the end of the piece to the first of them. When the
   * transport holds no memory of the piece, only copies, and has not taken all bytes, the embedder lessens `length` to
   * the bytes that it has taken, at least 1. The rest may then be recalled.
   */
  Piece,
}

/** Values that the embedder leaves in a row's `state` before the next `flush`. */
export enum RowState {
  /** The transport still reads the memory, and `done(slot)` follows. */
  Outstanding = 0,
  /** The transport has released the memory. */
  Complete = 1,
}

/** Number of rows in the table. A flush pass with more rows fills the table several times. */
export const ROW_LIMIT: u32 = 512;
export const ROW_BYTES: u32 = 32;
export const ROW_SLOT: u32 = 0;
export const ROW_KIND: u32 = 4;
export const ROW_OFFSET: u32 = 8;
export const ROW_LENGTH: u32 = 12;
export const ROW_STATE: u32 = 16;
export const ROW_BODY: u32 = 20;
/** 1 when the embedder may release the static body after this row. */
export const ROW_LAST: u32 = 24;

// ---- requests ------------------------------------------------------------------------------------
// The head table has one entry of four u16 for each field, with offsets from the start of the head.

export const HEADER_ENTRY_BYTES: u32 = 8;

/**
 * Indices into the table of methods that `methodName` spells. It holds the registered methods and some that are in use.
 */
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

// Offsets of a slot's fields that the embedder reads; state/records.ts asserts them.
export const CONN_BYTES: u32 = 304;
export const CONN_FLAGS: u32 = 4;
export const CONN_GENERATION: u32 = 8;
export const CONN_HEAD: u32 = 220;
export const CONN_TABLE: u32 = 224;
export const CONN_BODY: u32 = 228;
export const CONN_BODY_LENGTH: u32 = 232;
export const CONN_HEAD_LENGTH: u32 = 240;
export const CONN_HEADER_COUNT: u32 = 242;
export const CONN_METHOD: u32 = 244;
export const CONN_MINOR: u32 = 245;
export const CONN_TARGET: u32 = 246;
export const CONN_TARGET_LENGTH: u32 = 248;
export const CONN_TRAITS: u32 = 252;
export const CONN_BACKLOG: u32 = 52;

/**
 * Bit of `CONN_FLAGS`: the connection waits for a pooled buffer, and the embedder keeps the bytes that were not
 * consumed.
 */
export const FLAG_WAITING: u32 = 128;
/** Bit of `CONN_FLAGS`: a Close is queued, so nothing follows it. */
export const FLAG_CLOSE_QUEUED: u32 = 256;
/** Bit of `CONN_FLAGS`: the embedder still handles a message from the pooled buffer; `resume` frees the buffer. */
export const FLAG_MESSAGE_OUT: u32 = 16384;
/** Bit of `CONN_FLAGS`: the connection has ended but its peer keeps sending, so the embedder stops reading. */
export const FLAG_DEAF: u32 = 2147483648;

/** Properties of a request that its fields state, as bits of `CONN_TRAITS`. */
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
  /** A valid opening handshake (RFC 6455 4.2.1), which `upgrade` may answer. */
  Upgrade = 4096,
  /** The connection stays open after the response. */
  Persistent = 8192,
  Absolute = 16384,
  ExpectOther = 32768,
  /** Only the head has arrived, and the embedder may have the body streamed. */
  BodyToCome = 65536,
}

/** Reports of the embedder about the upstream of a released connection, see `piping`. */
export enum Piping {
  /** The upstream is open. */
  Opened,
  /** A write to the upstream is outstanding. */
  Waits,
  /** The write to the upstream has completed. */
  Moved,
}

/** Bits of the flags of `respond`. */
export enum Answer {
  /** Close the connection after this response. */
  Close = 1,
  /** The body is sent in pieces: chunked for HTTP/1.1, up to the end of the connection for HTTP/1.0. */
  Stream = 2,
  /** The embedder supplies the body, piece by piece, from its own memory. */
  Supply = 4,
  /** Its pieces can be read again, so that they may be recalled. */
  Again = 8,
}

/** Largest piece of a supplied body, in bytes. */
export const PIECE_LIMIT: u32 = 65536;
/** Most bytes of a piece that a transport holds as a copy when it has not taken all of a row. */
export const PIECE_COPY: u32 = 512;
// `streamBegin` leaves the size of the first piece in Control.Result, and these bits.
/** The embedder frames the pieces of a supplied body as chunks (RFC 9112 7.1); the engine writes the last chunk. */
export const SUPPLY_CHUNKS: u32 = 1 << 20;
/** The response has no body, so nothing is supplied. */
export const SUPPLY_NONE: u32 = 1 << 21;

// ---- inbox ---------------------------------------------------------------------------------------
// Shared memory between one producing thread and its consumer: a header of INBOX_WORDS u32, then a byte ring whose size
// is a power of two. Positions are u32 that count units of 8 bytes and wrap.

export const INBOX_WORDS: u32 = 64;
/** Index of the producer's position. */
export const INBOX_HEAD: u32 = 0;
/** Index of the consumer's position. */
export const INBOX_TAIL: u32 = 16;
/** Index of a flag that is 1 while the consumer sleeps. The thread that changes it to 0 rings the doorbell. */
export const INBOX_ASLEEP: u32 = 17;
/**
 * Index of a flag that is 1 while the producer waits for room. The thread that changes it to 0 notifies the producer.
 */
export const INBOX_WAITING: u32 = 32;

/**
 * Size of a record's header, in bytes: total bytes (a multiple of 8), kind | flags << 8 | value << 16, payload bytes,
 * slot, generation, value. A Pad may consist of the first two fields alone.
 */
export const RECORD_BYTES: u32 = 24;
export const RECORD_TOTAL: u32 = 0;
export const RECORD_KIND: u32 = 4;
export const RECORD_LENGTH: u32 = 8;
export const RECORD_SLOT: u32 = 12;
export const RECORD_GENERATION: u32 = 16;
/** Offset of a value whose meaning depends on the kind, such as the number of a transferred buffer. */
export const RECORD_VALUE: u32 = 20;

export enum RecordKind {
  /** Unused space up to the start of the byte ring. */
  Pad,
  Broadcast,
  Send,
  Close,
  Ping,
  Publish,
  Subscribe,
  Unsubscribe,
  /**
   * A message whose payload is the transferred buffer with the number at RECORD_VALUE. Its real kind is in the bits
   * from 16 on.
   */
  Transferred,
  /** An operation of a handler on the application's thread. The worker carries it out, not the engine. */
  Operation,
}

/** Bits of a frame's flags, in inbox records and in index entries. */
export enum FrameFlag {
  Binary = 1,
  /** The payload is compressed, so RSV1 is set (RFC 7692 6). */
  Compressed = 2,
  /** The message is never compressed, whatever its length. */
  Plain = 4,
}

// ---- outcomes ------------------------------------------------------------------------------------

/** Results of `publish`, `drain`, `send` and the stage functions. */
export enum Outcome {
  /** The call succeeded. */
  Ok = 0,
  /** Clients were evicted to make room. Handle the events, then call again. */
  Evicted = 1,
  /** Frames that were not flushed yet occupy the room. Flush, then call again. */
  Flush = 2,
  /** Readers need time, so nothing was staged. Try again when they have made progress. */
  Wait = 3,
  /** The frame is larger than the ring. */
  TooLarge = 4,
  /** The id is stale, or the connection is closing. */
  Gone = 5,
  /** The client's queue or the reply pool is full. */
  Full = 6,
  /** A transferred buffer is next. Publish it, then continue. */
  Transferred = 7,
  /** A message to compress is next. Compress and publish it, then continue. */
  Compress = 8,
  /** A stage is open, so nothing was published. Publish or discard the stage first. */
  Staging = 9,
  /** An argument is invalid (an unknown close reason, a control frame over 125 bytes), so nothing was done. */
  Invalid = 10,
}

// ---- close reasons -------------------------------------------------------------------------------
// Numbers −1 … −23 are those of Firedancer's fd_http_server, ours start at −24. host/shared/close.ts gives each reason
// its text, its HTTP status and its WebSocket code. The embedder copies them into the table at `reasons` before the
// first connection.

/** Reasons why a connection ended. */
export enum CloseReason {
  Ok = -1,
  // A WebSocket made room in the full table of WebSockets.
  Evicted = -2,
  // A client read more slowly than Param.SendRate.
  TooSlow = -3,
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
  // A WebSocket made room in the ring of publications, because it lagged too far behind.
  WsClientTooSlow = -18,
  WsMissingUpgrade = -19,
  WsExpectedCont = -20,
  WsExpectedText = -21,
  WsControlFrameTooLarge = -22,
  UnsupportedTransferEncoding = -23,
  /** The peer sent a Close frame, or ended its side between two requests. */
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
  /** The network or its interface failed: no acknowledgement in TCP's time, no route, interface down. */
  NetworkError = -56,
  WsBadDeflate = -58,
  HostRefused = -59,
  /** A body or message arrived too slowly. */
  ReceiveTooSlow = -60,
  BadProxyHeader = -61,
  ProxyRefused = -62,
  TlsFailed = -63,
  /** The connections of its address hold as much of a pool as is allowed. */
  AddressBuffers = -64,
  // Connections that made room in a full table of HTTP slots, see state/room.ts.
  /** The client had ended its side, and its response was pending. */
  EvictedEnded = -65,
  /** The connection was between two requests. */
  EvictedIdle = -66,
  /** The request arrived too slowly. */
  EvictedUnfinished = -67,
  /** The client did not read its response. */
  EvictedUnread = -68,
  /** A message that the application's `send(id)` had accepted found no room in the client's queue. */
  SendOverrun = -69,
  // Ends of connections that were taken out of HTTP, because of their upstream.
  UpstreamFailed = -70,
  UpstreamTimeout = -71,
  UpstreamReset = -72,
}

/** Number of close reasons, which are −1 … −CLOSE_REASONS, with the reserved ones. */
export const CLOSE_REASONS: u32 = 72;
/** Reserved: "ExpectedEof" had this number and never occurred. No other reason gets it. */
export const RESERVED_EOF: i32 = -4;
/** Reserved: "Configured" had this number and never occurred. No other reason gets it. */
export const RESERVED_CONFIGURED: i32 = -57;

/** Size of a record in the table at `reasons`, in bytes. */
export const REASON_BYTES: u32 = 64;
/** Offset of the HTTP status, a u16. */
export const REASON_STATUS: u32 = 0;
/** Offset of the Close frame's code, a u16. */
export const REASON_CODE: u32 = 2;
/** Offset of the length in bytes of the Close frame's text, a u8. */
export const REASON_LENGTH: u32 = 4;
/** Offset of the Close frame's text. */
export const REASON_TEXT: u32 = 5;

// ---- invariants ----------------------------------------------------------------------------------

/** Rules that `check` verifies, grouped by record. Tests print the name of the rule that is broken. */
export enum Rule {
  /** All rules hold. */
  Ok,
  /** An HTTP connection has an HTTP slot. */
  HttpSlot,
  /** A WebSocket has a WebSocket slot. */
  WebSocketSlot,
  /** A ping that has not left yet is within the queued bytes. */
  PingQueued,
  /** The reply bytes counted for a connection equal those of its blocks. */
  ReplyBytes,
  /**
   * An HTTP connection whose peer has ended its side is in the list of ended connections, a released one in no list.
   */
  EndedList,
  /** A client's next frame has been committed. */
  DueCommitted,
  /** Only committed bytes were handed to a client. */
  HandedCommitted,
  /** The lag of a reader is at most one ring. */
  ReaderInRing,
  /** The lag of a reader is at most as many frames as the index holds. */
  ReaderInIndex,
  /** A reader's key in the treap is the first byte that the client, or the transport for it, may still read. */
  TreapKey,
  /** A WebSocket outside the treap needs no byte before the flushed offset. */
  TreapMissing,
  /** The bytes counted as returned to the embedder equal the sum over all connections. */
  Returned,
  /** The queue of connections without a buffer is linked in both directions and complete. */
  WaitQueue,
  /** A subscription is in the list of its own client. */
  SubscriptionOwner,
  /** A cancelled subscription remains only while a frame is due by it. */
  SubscriptionDue,
  /** An active subscription is found by its client and topic. */
  SubscriptionPair,
  /** A client's count of subscriptions equals the length of its list. */
  SubscriptionCount,
  /** A client's heap of due subscriptions is complete and in order. */
  DueHeap,
  /** Each subscription record in use is in the list of a client. */
  SubscriptionRecords,
  /** The gauge of subscriptions equals the number of active ones. */
  SubscriptionGauge,
  /** A topic's count of subscribers equals the length of its list. */
  TopicSubscribers,
  /** A topic is found by its name. */
  TopicName,
  /** The count of topics equals the number of topics in use. */
  TopicCount,
  /** With history, the last entry of a topic has its last position, unless the index has lost the entry. */
  TopicPast,
  /** With history, the list of quiet topics has each topic without subscribers, once. */
  QuietTopics,
  /** Positions of index entries grow, and the last one is at most the number of publications. */
  Positions,
  /** The gauge of parked streams equals their number, and none is in the treap of other readers. */
  Parked,
  /** The receive buffers counted for an address equal those of its connections. */
  AddressReceive,
  /** The reply bytes counted for an address equal those of its connections. */
  AddressReply,
  /** The returned bytes counted for an address equal those of its connections. */
  AddressReturned,
  /** The slots counted for an address equal those of its connections, and are at least one. */
  AddressSlots,
  /** The connections counted for an address are its connections that have not ended. */
  AddressConnections,
  /** The count of addresses equals the number of records in the table. */
  AddressCount,
  /** The receive window is empty between two reads. */
  WindowEmpty,
  /** The gauge of watched connections equals their number. */
  Watched,
  /** The count of requests being received equals the length of their list. */
  Reading,
  /** The dense list has each open WebSocket, and no other connection. */
  OpenCount,
  /** The treaps contain each reader that is marked as ordered. */
  TreapCount,
  /** The gauge of dead slots equals their number. */
  DeadCount,
  /** The bytes in use in the receive pool equal the buffers that connections hold. */
  ReceivePool,
  /** The bytes in use in the reply pool equal the blocks that connections hold. */
  ReplyPool,
  /** The position that a WebSocket stores for the dense list is its place there. */
  OpenPlace,
  /** The unflushed bytes fit into the ring. */
  UnflushedInRing,
  /** The last frame of the index ends where the ring does. */
  LastFrame,
  /** The gauge of released connections equals their number. */
  Pipes,
  /** The bytes of pieces in use equal the sum over all connections. */
  PieceBytes,
  /** The count of supplied responses equals their number. */
  SuppliedCount,
  /** A connection with a piece, or that waits for room for one, has a supplied response. */
  Supplied,
  /** The lists of connections by their pieces are complete, and each is in the one that its state requires. */
  PieceList,
}
