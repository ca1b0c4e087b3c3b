// The two main records, a connection (Conn) and the whole engine (Engine), with their flags.
//
// Invariant: a record's size and the offsets that TypeScript reads equal those of abi.ts. The compiler checks it.

import {
  CONN_BACKLOG,
  CONN_BODY,
  CONN_BODY_LENGTH,
  CONN_BYTES,
  CONN_FLAGS,
  CONN_GENERATION,
  CONN_HEAD,
  CONN_HEADER_COUNT,
  CONN_HEAD_LENGTH,
  CONN_METHOD,
  CONN_MINOR,
  CONN_TABLE,
  CONN_TARGET,
  CONN_TARGET_LENGTH,
  CONN_TRAITS,
  Control,
  Form,
  FLAG_CLOSE_QUEUED,
  FLAG_DEAF,
  FLAG_MESSAGE_OUT,
  FLAG_WAITING,
} from "../abi";
import { Pool } from "./pool";

/** Values of `Conn.state`. */
export namespace State {
  export const Free: u8 = 0;
  /** HTTP: between requests, or within a head. */
  export const Head: u8 = 1;
  /** HTTP: within a body. */
  export const Body: u8 = 2;
  /** HTTP: a request was emitted and is not answered yet. Nothing is parsed until it is. */
  export const Request: u8 = 3;
  /** WebSocket: open. */
  export const Open: u8 = 4;
  /** WebSocket: our Close is queued or sent, and the peer's has not arrived. */
  export const Closing: u8 = 5;
  /** Input is discarded. The queued bytes are sent, then End follows. */
  export const Finishing: u8 = 6;
  /** Half-closed: input is discarded until the peer ends its side or CloseTimeout passes. */
  export const Linger: u8 = 7;
  /** Closed was emitted, and the embedder has not freed the slot yet. */
  export const Dead: u8 = 8;
  /** Taken out of HTTP, see reply/release.ts: the embedder moves its bytes. */
  export const Released: u8 = 9;
}

/** Values of `Conn.watch`: how much is known about the send queue of a connection that is past half of its timeout. */
export namespace Watch {
  /** The connection is not past half of its timeout. */
  export const None: u8 = 0;
  /** The embedder must read the queue. */
  export const Asked: u8 = 1;
  /** The queue was read once. */
  export const Based: u8 = 2;
  /** The queue was compared with an earlier reading, or cannot be read. */
  export const Known: u8 = 3;
  /**
   * As Known, and the client's kernel still answers, so its process may be reading bytes that the kernel acknowledged.
   */
  export const Alive: u8 = 4;
}

/**
 * Bits of `Conn.flags`: those of any connection, and those of WebSockets that are tested together with them. The others
 * are in `marks`. 9 bits are free.
 */
export enum Flag {
  WebSocket = 1,
  /** The connection is on the dirty list, because it has something for the transport to write. */
  Dirty = 2,
  /** The last run ended within a frame, and the next row continues it. */
  MidFrame = 4,
  /** The embedder holds the connection, so nothing is parsed. */
  Held = 8,
  /** The peer ended its side. */
  PeerEnded = 16,
  /** A `send` was refused, so a Drain follows. */
  WantDrain = 32,
  /** The connection is in a treap. */
  Ordered = 64,
  /** The connection waits for a pooled buffer. */
  Waiting = 128,
  /** Our Close frame is queued. */
  CloseQueued = 256,
  /** WebSocket: `awaitRoom` found no room, so a Drain follows. */
  WantRoom = 512,
  /** Our ping is unanswered. */
  Pinged = 1024,
  /** Parsing stopped because the backlog is full. */
  Clogged = 2048,
  /** Unparsed bytes are in the window, for `resume`. */
  InWindow = 4096,
  /** The transport copies what it writes, so runs are short. */
  Copied = 8192,
  /**
   * The embedder still handles a message from the pooled buffer, which `resume` frees. HTTP: `resume` continues the
   * body.
   */
  MessageOut = 16384,
  /** The connection is in one of the lists by pieces, which a mark names. */
  Listed = 32768,
  /** End was emitted, so the embedder has half-closed the socket. */
  EndSent = 65536,
  /** A block was sent whose frame continues in the next block. */
  MidReply = 131072,
  /** A broadcast is due, the one with number `sequence`. */
  CastDue = 33554432,
  /** Event stream: nothing of the ring is sent to it before `settled`, see reply/return.ts. */
  Parked = 262144,
  /** Event stream: it catches up, so the publisher does not wait for it. */
  Replaying = 524288,
  /** The last reading of the send queue found queued bytes and no progress since the reading before. */
  Stalled = 134217728,
  /** More input was discarded than a client can have had in flight, so reading stops. This is the sign bit. */
  Deaf = -2147483648,
}

/** Bits of `HttpConn.marks`. The bits from ROOM_SHIFT on are a number. */
export enum HttpFlag {
  /** The connection ends after this response. */
  LastAnswer = 1,
  /** 100 (Continue) was sent or is not needed. */
  Continued = 2,
  /** A response is being sent in pieces. */
  Streaming = 4,
  /** The pieces of the response are chunks. */
  Chunking = 8,
  /** The response has no body (HEAD), so its pieces are dropped. */
  Bare = 16,
  /** The head of a request was emitted, and the embedder has not decided yet what to do with the body. */
  Asking = 32,
  /** The body of the emitted request is streamed, and has not ended. */
  Upload = 64,
  /** The embedder waits for a piece of the streamed body. */
  Pulling = 128,
  /** The PROXY header has not arrived. */
  Proxied = 256,
  /** TLS is not established. */
  Unsecured = 512,
  /** The response that is sent in pieces has a known length, so it is not chunked. */
  Counted = 1024,
  /** It is not decided yet whether the connection is HTTP. */
  Undecided = 2048,
  /** The connection is not HTTP, and the embedder was notified of it. */
  Foreign = 4096,
  /** The upstream of a released connection is not open yet. */
  Opening = 8192,
  /** A write to the upstream is outstanding. */
  Pouring = 16384,
  /** The server shuts down, so the released connection ends as soon as it is silent. */
  Leaving = 32768,
  // For these see reply/supply.ts.
  /** The embedder supplies the body of the response, piece by piece. */
  Supplied = 65536,
  /** The pieces can be read again. */
  Rereads = 131072,
  /** A piece was asked for and has not been given. */
  Wanted = 262144,
  /** The last piece was not taken at once. */
  Slow = 524288,
  /** In the list of connections with a piece to write. */
  Ready = 1048576,
  /** In the list of connections that wait for room for a piece. */
  Starved = 2097152,
  /** In the list of connections whose piece may be recalled. */
  Stalled = 4194304,
  /** The next piece is in the memory of this one, so it needs no room. */
  Keeps = 8388608,
}

/** Position of the number in `HttpConn.marks`. */
export const ROOM_SHIFT: u32 = 24;

/** Bits of `WebSocketConn.marks`. */
export enum WebSocketFlag {
  /** The message that is arriving is compressed. */
  Inflating = 1,
  /** permessage-deflate was negotiated, so compressed messages are accepted. */
  Deflates = 2,
  /** A piece of the message that is arriving was emitted already. */
  Begun = 4,
  /** Whatever ends the WebSocket waits until the embedder has queued the answers to its messages. */
  Relayed = 8,
}

/**
 * One connection: the fields of both protocols. After them, in the same bytes, are those of HttpConn or, with
 * Flag.WebSocket, those of WebSocketConn.
 *
 *   Conn | HttpConn        state of the parser, the emitted request
 *        | WebSocketConn   subscriptions, the arriving frame, the place in the ring
 */
@unmanaged
export class Conn {
  state: u8;
  /** The List that an HTTP connection is in, 0 for none. */
  list: u8;
  /** RowKind of the pending write, 0 when there is none. */
  writing: u8;
  /** Order of the pooled buffer. */
  order: u8;
  flags: u32;
  generation: u32;
  slot: u32;
  /** Next connection on the free list or the dirty list. */
  link: u32;
  /** Previous connection on the dirty list. */
  linkBack: u32;
  /** Position in the heap of deadlines plus 1, 0 when the connection has none. */
  timerAt: u32;
  /** Address of the pooled buffer, 0 for none. */
  buffer: u32;
  /** HTTP: offset of the current head. WebSocket: offset of the unparsed bytes. */
  start: u32;
  /** Offset after the last byte. */
  end: u32;
  /** Order of the buffer that the connection waits for. */
  waitOrder: u8;
  /** A Watch. */
  watch: u8;
  /** A CloseReason. */
  reason: i16;
  /** The reply queue: its first block, its last block, its length in bytes. */
  replyHead: u32;
  replyTail: u32;
  backlog: u32;
  /** Block of the pending pong. */
  pong: u32;
  /** Block that the pending write reads from, when it is in no queue. */
  sending: u32;
  /** Bytes of the pending write. */
  writingBytes: u32;
  /** Treap links of a WebSocket, list links of an HTTP connection. */
  left: u32;
  right: u32;
  count: u32;
  /** Neighbours in the queue for buffers. */
  waitNext: u32;
  waitBack: u32;
  /** Number of the tally that counts the connection, 0 for none. */
  address: u32;
  /** Bytes returned to the embedder because there was no buffer. The embedder feeds them again. */
  returned: u32;
  /** Bytes of reply blocks that the connection holds, counted while addresses have a quota. */
  replyBytes: u32;
  /** Bytes that arrived after input was no longer wanted. */
  discarded: u32;
  /** Bytes of the reply queue up to the end of a ping that has not left, 0 when there is none. */
  pingQueued: u32;
  /** Bytes of completed writes, which the kernel has taken. The count wraps. */
  sent: u32;
  /** The last reading of the send queue: acknowledged bytes (the count wraps), and bytes not acknowledged. */
  acked: u32;
  queued: u32;
  /** Time at which the heap examines this connection. */
  due: f64;
  lastIn: f64;
  /** Time of the last progress of the pending write. */
  lastOut: f64;
  /** Time at which queued bytes were last acknowledged, see reply/progress.ts. */
  lastAck: f64;
  /** Deadline of a client that must read at SendRate, 0 when none applies. */
  outDue: f64;
  /**
   * Start of the present watch: the first reading of the send queue, or the request for one. Valid while `watch` is not
   * None.
   */
  watchedAt: f64;
  /** Deadline of the body or message that is arriving, by ReceiveRate, 0 when none applies. */
  inDue: f64;
  /**
   * Start of the present state: the request, the closing handshake, the linger. Of an open WebSocket: the time at which
   * its last ping left. Of a released connection: the time by which its upstream must be open.
   */
  since: f64;
  waitSince: f64;
  /**
   * Time since which the connection is held, or the embedder has a piece of its body. Of a released connection: the
   * time of the last report about its upstream.
   */
  parkedSince: f64;
  /**
   * Key in a treap. WebSocket: ring offset of the first byte that it may still need. HTTP connection in the list
   * Reading: see state/room.ts.
   */
  done: u64;
}

/** An HTTP connection. */
@unmanaged
export class HttpConn extends Conn {
  /** Bits of HttpFlag, and in the upper bits the KiB of room that the next piece of a supplied body takes at least. */
  marks: u32;
  /** Offsets from the head's start: the end of the bytes parsed so far, and the start of the current line. */
  scan: u32;
  line: u32;
  /** Addresses of the request's head, its table and its body. */
  head: u32;
  table: u32;
  body: u32;
  bodyLength: u32;
  /** Octets of a chunk's size line, or of the trailers, so far. */
  lineBytes: u32;
  headLength: u16;
  headers: u16;
  method: u8;
  minor: u8;
  target: u16;
  targetLength: u16;
  key: u16;
  traits: u32;
  requests: u32;
  /** State of the parser. */
  chunk: u32;
  /** Bytes of the body, or of the chunk, still to come. */
  bodyLeft: u64;
  /** Bytes of all chunks so far, including the one that is arriving. */
  bodyTotal: u64;
  /** Bytes that a response with a known length still lacks. */
  replyLeft: u64;
  /** Time at which the client ended its side. */
  endedAt: f64;
  /** Bytes of the embedder's piece that have not left, the pending write included. */
  piece: u32;
  /** Bytes of memory that the piece takes, or that are reserved for the next one. */
  held: u32;
}

/**
 * A WebSocket, or an event stream. An event stream reads the ring of events, has neither pings nor an idle timeout, and
 * its input is discarded.
 */
@unmanaged
export class WebSocketConn extends Conn {
  /** Head of the list of its subscriptions, and root of the heap of those with a frame due. */
  firstSubscription: u32;
  dueSubscription: u32;
  /** Number of active subscriptions. */
  subscriptions: u32;
  /** Once its Close is queued: low bits of the sequence of the first broadcast that it does not get. */
  castUntil: u32;
  /** Longest inbound silence in ms, 0 for no limit. */
  idle: u32;
  /** Most bytes of an inbound message. */
  payload: u32;
  /** State of kernel/utf8.ts for the message that is arriving. */
  utf8: u32;
  /** Bytes of the current frame still to come. */
  frameLeft: u32;
  /** Mask of the current frame, rotated for the next byte. */
  mask: u32;
  /** Bytes of the message assembled at the start of the buffer. */
  message: u32;
  /** Frames so far of the message that is arriving. */
  fragments: u32;
  /** Most events that may be emitted and unhandled at a time, 0 for as many as the table holds. */
  burst: u32;
  /** Position in the list of open WebSockets. */
  listAt: u32;
  /** The reason to fail it once its events are handled, 0 for none. */
  failure: u32;
  opcode: u8;
  frameFinal: u8;
  frameOpen: u8;
  /** The Form that the client reads. */
  form: u8;
  closeCode: u16;
  /** Bits of WebSocketFlag. */
  marks: u16;
  /** Ring offset of the end of the bytes handed to the transport. */
  handed: u64;
  /**
   * Sequence of the broadcast that is due next. When none is due, broadcasts before this one are not for this client.
   */
  sequence: u64;
  /** See state/rate.ts: the time up to which messages have used the rate, and the time until which credit counts. */
  messageTime: f64;
  creditEnd: f64;
}

/** Returns true for an event stream, given a record of a WebSocket slot. */
export function isStream(c: Conn): bool {
  return webSocketOf(c).form == (Form.Event as u8);
}

/** Returns the record of an HTTP connection. */
export function httpOf(c: Conn): HttpConn {
  return changetype<HttpConn>(c);
}

/** Returns the record of a WebSocket. */
export function webSocketOf(c: Conn): WebSocketConn {
  return changetype<WebSocketConn>(c);
}

/** The engine's own state, after the control table. */
@unmanaged
export class Engine {
  control: usize;
  /** Parameters as f64, and as u32 where they are counts. */
  params: usize;
  counts: usize;
  slots: usize;
  timers: usize;
  webSockets: usize;
  events: usize;
  rows: usize;
  headTable: usize;
  window: usize;
  scratch: usize;
  frames: usize;
  /** Size in bytes of the head table, which precedes the data in an HTTP connection's buffer. */
  tableBytes: u32;
  httpSlots: u32;
  allSlots: u32;
  freeHttp: u32;
  freeWebSocket: u32;
  openCount: u32;
  timerCount: u32;
  dirtyHead: u32;
  dirtyTail: u32;
  rowCount: u32;
  eventCount: u32;
  /** Inbound events since the table was drained, and notices. */
  inboundEvents: u32;
  notices: u32;
  /** 1 when some notice found no room. The next flush pass emits it. */
  noticesPending: u32;
  /** A Readers record for each Form. */
  readers: usize;
  /** Seed of the treap's priorities. */
  seed: u32;
  /** Queue for buffers, and 1 when a buffer was freed since the queue was last served. */
  waitHead: u32;
  waitTail: u32;
  buffersGiven: u32;
  /** Bytes that the embedder holds because they found no buffer. */
  returned: u32;
  /** 1 when a response was refused because the pool was empty. Drain follows when the pool has room. */
  replyFull: u32;
  /** Bytes of bodies that the embedder holds, each for a single response. */
  bodyBytes: u32;
  /** 1 while the server shuts down, so that no connection persists. */
  stopping: u32;
  /** 1 when the embedder decides for each body whether it is streamed. */
  streams: u32;
  /** 1 when the embedder is notified of each refusal of a request that it does not know. */
  refusals: u32;
  /** The slot (plus 1) whose bytes are in the window, and the unparsed range. */
  fedSlot: u32;
  source: u32;
  sourceEnd: u32;
  /** Heads and tails of the HTTP lists, in the order of `List`, and the root of the treap of Reading. */
  endedHead: u32;
  endedTail: u32;
  lingerHead: u32;
  lingerTail: u32;
  idleHead: u32;
  idleTail: u32;
  unreadHead: u32;
  unreadTail: u32;
  readingTreap: u32;
  /** 1 while the table of HTTP slots is nearly full, when unread responses are examined earlier. */
  isCrowded: u32;
  now: f64;
  /** Time at which `isCrowded` became 1. */
  crowdedAt: f64;
  /** Time of the last reading of send queues. All watched connections are read together. */
  readAt: f64;
  /** Time at which the publisher was last made to wait, 0 when it does not wait. */
  triedAt: f64;
  /** ms for which the publisher has waited for readers since its budget was last renewed. */
  waited: f64;
  /** Ring offset and frame sequence at which the budget was renewed. */
  renewedAt: u64;
  renewedFrame: u64;
  /** Sequence of the next frame. */
  sequence: u64;
  firstSequence: u64;
  /** The current flush pass: its first new broadcast, and the number of open WebSockets not visited yet. */
  castFirst: u64;
  castLeft: u32;
  /** Bytes of responses that the current flush pass has handed over. */
  passBytes: u32;
  /** The topic table: its records, the buckets of names and of pairs, the subscriptions. */
  topics: usize;
  topicBuckets: usize;
  pairBuckets: usize;
  subscriptions: usize;
  topicMask: u32;
  pairMask: u32;
  /** Highest number of records used so far, the free list, and the number of records in use. */
  topicsUsed: u32;
  freeTopic: u32;
  topicCount: u32;
  subscriptionsUsed: u32;
  freeSubscription: u32;
  subscriptionCount: u32;
  /** List of the topics published to since the last flush pass. Links are number + 1. */
  dirtyTopics: u32;
  /** The table of addresses: records, buckets, mask, highest number used so far, free list, number in use. */
  tallies: usize;
  tallyBuckets: usize;
  tallyMask: u32;
  talliesUsed: u32;
  freeTally: u32;
  tallyCount: u32;
  /**
   * Ended connections whose last write is from a ring. The transport may read there until the embedder frees the slot.
   */
  deadReaders: u32;
  /** 1 when the embedder can read send queues, see reply/progress.ts. */
  measures: u32;
  /** Number of supplied responses, bytes of their pieces, and 1 when such bytes were released. See reply/supply.ts. */
  supplied: u32;
  pieceBytes: u32;
  piecesGiven: u32;
  /** Time since which there is hardly any room for pieces, 0 when there is some. */
  crampedAt: f64;
  /** While pieces wait for room: the time of the next look for clients that do not read. */
  seekAt: f64;
  /** Heads and tails of the lists by pieces, in the order of their marks. */
  readyHead: u32;
  readyTail: u32;
  starvedHead: u32;
  starvedTail: u32;
  stalledHead: u32;
  stalledTail: u32;
  // For these see ring/history.ts and reply/return.ts.
  /** The table of Return records, one for each WebSocket slot. */
  returns: usize;
  /** Ends of the list of quiet topics, as numbers. */
  quietHead: u32;
  quietTail: u32;
  /** Bytes that the current flush pass has handed to readers that catch up. */
  replayBytes: u32;
  /** The highest last position of a topic that history has forgotten. */
  forgotten: u64;
  /** Time at which KeepAliveTimeout was last changed, and the longest that idle clients were announced until then. */
  keepAliveAt: f64;
  keepAliveWas: f64;
}

export const ENGINE_BYTES: usize = 512;

if (offsetof<WebSocketConn>() != CONN_BYTES) ERROR("WebSocketConn is not CONN_BYTES long");
if (offsetof<HttpConn>() > CONN_BYTES) ERROR("HttpConn is longer than CONN_BYTES");
if (offsetof<Conn>("flags") != CONN_FLAGS) ERROR("CONN_FLAGS");
if ((Flag.Waiting as u32) != FLAG_WAITING) ERROR("FLAG_WAITING");
if ((Flag.CloseQueued as u32) != FLAG_CLOSE_QUEUED) ERROR("FLAG_CLOSE_QUEUED");
if ((Flag.MessageOut as u32) != FLAG_MESSAGE_OUT) ERROR("FLAG_MESSAGE_OUT");
if ((Flag.Deaf as u32) != FLAG_DEAF) ERROR("FLAG_DEAF");
if (offsetof<Conn>("generation") != CONN_GENERATION) ERROR("CONN_GENERATION");
if (offsetof<HttpConn>("head") != CONN_HEAD) ERROR("CONN_HEAD");
if (offsetof<HttpConn>("table") != CONN_TABLE) ERROR("CONN_TABLE");
if (offsetof<HttpConn>("body") != CONN_BODY) ERROR("CONN_BODY");
if (offsetof<HttpConn>("bodyLength") != CONN_BODY_LENGTH) ERROR("CONN_BODY_LENGTH");
if (offsetof<HttpConn>("headLength") != CONN_HEAD_LENGTH) ERROR("CONN_HEAD_LENGTH");
if (offsetof<HttpConn>("headers") != CONN_HEADER_COUNT) ERROR("CONN_HEADER_COUNT");
if (offsetof<HttpConn>("method") != CONN_METHOD) ERROR("CONN_METHOD");
if (offsetof<HttpConn>("minor") != CONN_MINOR) ERROR("CONN_MINOR");
if (offsetof<HttpConn>("target") != CONN_TARGET) ERROR("CONN_TARGET");
if (offsetof<HttpConn>("targetLength") != CONN_TARGET_LENGTH) ERROR("CONN_TARGET_LENGTH");
if (offsetof<HttpConn>("traits") != CONN_TRAITS) ERROR("CONN_TRAITS");
if (offsetof<Conn>("backlog") != CONN_BACKLOG) ERROR("CONN_BACKLOG");
if (offsetof<Engine>() > ENGINE_BYTES) ERROR("ENGINE_BYTES");

/** The formatted engine, 0 before `join`. */
export let engine = changetype<Engine>(0);
export let receivePool = changetype<Pool>(0);
export let replyPool = changetype<Pool>(0);

export function setEngine(address: usize, receive: usize, reply: usize): void {
  engine = changetype<Engine>(address);
  receivePool = changetype<Pool>(receive);
  replyPool = changetype<Pool>(reply);
}

export function param(index: i32): f64 {
  return load<f64>(engine.params + ((index as usize) << 3));
}

/** Returns a parameter that is a whole number, 0 … 2^32 - 1. */
export function paramU32(index: i32): u32 {
  return load<u32>(engine.counts + ((index as usize) << 2));
}

export function setParam(index: i32, value: f64): void {
  store<f64>(engine.params + ((index as usize) << 3), value);
  // Converted once, because it is read for each field of a head, each frame and each row.
  const count: u32 = value > 4294967295 ? 0xffffffff : value > 0 ? (value as u32) : 0;
  store<u32>(engine.counts + ((index as usize) << 2), count);
}

export function setControl(index: i32, value: f64): void {
  store<f64>(engine.control + ((index as usize) << 3), value);
}

export function getControl(index: i32): f64 {
  return load<f64>(engine.control + ((index as usize) << 3));
}

export function add(index: i32, value: f64): void {
  const at = engine.control + ((index as usize) << 3);
  store<f64>(at, load<f64>(at) + value);
}

/** Takes over the time that the embedder wrote. `engine.now` never decreases, even if the embedder's clock does. */
export function takeTime(): void {
  const now = getControl(Control.Now);
  if (now > engine.now) engine.now = now;
}

export function has(c: Conn, flag: u32): bool {
  return (c.flags & flag) != 0;
}

/** Returns true when an HTTP connection has one of the flags. */
export function hasHttp(c: HttpConn, flags: u32): bool {
  return (c.marks & flags) != 0;
}

/** Returns true when a WebSocket has one of the flags. */
export function hasMark(c: WebSocketConn, flags: u32): bool {
  return ((c.marks as u32) & flags) != 0;
}

export function setMark(c: WebSocketConn, flags: u32): void {
  c.marks |= flags as u16;
}

export function clearMark(c: WebSocketConn, flags: u32): void {
  c.marks &= ~(flags as u16);
}

export function isWebSocket(c: Conn): bool {
  return (c.flags & Flag.WebSocket) != 0;
}

/** The readers of one form. */
@unmanaged
export class Readers {
  /** Root of the treap of the WebSockets that need bytes of the form's ring. */
  treap: u32;
  /** Root of the treap of those among them that are Parked or Replaying. */
  replays: u32;
  /** 1 when publications are written in the form even if no recipient reads it, so that readers may resume. */
  isKept: u32;
  /** Number of open WebSockets that read the form. */
  count: u32;
}

export const READERS_BYTES: usize = offsetof<Readers>();

export function readersOf(form: u32): Readers {
  return changetype<Readers>(engine.readers + (form as usize) * READERS_BYTES);
}

/** Returns the number of publications so far, which is the sequence of the last one's position. */
export function position(): u64 {
  return (getControl(Control.FramesPublished) + getControl(Control.PublishedToNone)) as u64;
}

/** Returns the Form that a WebSocket reads. */
export function formOf(c: Conn): u32 {
  return webSocketOf(c).form as u32;
}
