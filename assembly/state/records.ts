// The two records that everything else is about: a connection (Conn) and the whole (Engine), with their flags.
//
// Invariant: a record's size and the offsets that TypeScript reads are those of abi.ts; the compiler checks it.

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
  /** HTTP: a request is out; nothing is parsed until it is answered. */
  export const Request: u8 = 3;
  /** WebSocket: open. */
  export const Open: u8 = 4;
  /** WebSocket: our Close is queued or sent; the peer's is awaited. */
  export const Closing: u8 = 5;
  /** No more input is wanted; what is queued goes out, then End. */
  export const Finishing: u8 = 6;
  /** Half-closed: input is discarded until the peer ends or the time is up. */
  export const Linger: u8 = 7;
  /** Closed is out; the host has not freed the slot yet. */
  export const Dead: u8 = 8;
}

/** Values of `Conn.watch`: how much is known of the send queue of a connection that is past half of its time. */
export namespace Watch {
  /** It is not past half of its time. */
  export const None: u32 = 0;
  /** The host is to read the queue. */
  export const Asked: u32 = 1;
  /** It has been read once. */
  export const Based: u32 = 2;
  /** It has been compared with an earlier reading, or cannot be read. */
  export const Known: u32 = 3;
  /** The same, and the client's kernel answers: what it has acknowledged its process may still be reading. */
  export const Alive: u32 = 4;
}

/** Bits of `Conn.flags`. */
export enum Flag {
  WebSocket = 1,
  /** On the dirty list: has something to hand to the transport. */
  Dirty = 2,
  /** The run ended within a frame: the next row goes on with it. */
  MidFrame = 4,
  /** The host holds the connection: nothing is parsed. */
  Held = 8,
  /** The peer ended its side. */
  PeerEnded = 16,
  /** A `send` was refused: Drain follows. */
  WantDrain = 32,
  /** In the treap. */
  Ordered = 64,
  /** Waits for a pooled buffer. */
  Waiting = 128,
  /** Our Close frame is queued. */
  CloseQueued = 256,
  /** The peer's Close frame arrived. */
  CloseSeen = 512,
  /** A ping of ours is unanswered. */
  Pinged = 1024,
  /** Parsing stopped because the backlog is full. */
  Clogged = 2048,
  /** Unparsed bytes wait in the window, for `resume`. */
  InWindow = 4096,
  /** Close after the answer. */
  LastAnswer = 8192,
  /** A message from the pooled buffer is out; `resume` frees it. HTTP: `resume` goes on with the body. */
  MessageOut = 16384,
  /** 100 (Continue) was sent or is not needed. */
  Continued = 32768,
  /** End is out: the host has half-closed the socket. */
  EndSent = 65536,
  /** A block of a reply went out and its frame goes on in the next. */
  MidReply = 131072,
  /** Reads the ring of compressed forms. */
  Deflate = 262144,
  /** The message that arrives is compressed. */
  Inflating = 524288,
  /** permessage-deflate was negotiated: compressed messages are taken. */
  Deflates = 1048576,
  /** An answer is being sent piece by piece. */
  Streaming = 2097152,
  /** Its pieces are chunks. */
  Chunking = 4194304,
  /** It has no body (HEAD): its pieces are dropped. */
  Bare = 8388608,
  /** A piece of the message that arrives is out already. */
  Begun = 16777216,
  /** A broadcast is due: `sequence` says which. */
  CastDue = 33554432,
  /** The head of a request is out, and what becomes of its body is not decided. */
  Asking = 67108864,
  /** The body of the request that is out is streamed, and not at its end. */
  Upload = 134217728,
  /** The host waits for a piece of it. */
  Pulling = 268435456,
  /** Its PROXY header has not come. */
  Proxied = 536870912,
  /** TLS is not established. */
  Unsecured = 1073741824,
  /** More has been discarded than a client can have had under way: no more is read. The sign bit. */
  Deaf = -2147483648,
}

/**
 * One connection. What only a WebSocket has stands where an HTTP connection keeps its request: see the accessors,
 * and Session in subscription.ts.
 */
@unmanaged
export class Conn {
  state: u8;
  /** Which of the lists below an HTTP connection stands in; 0 none. */
  list: u8;
  /** RowKind of the outstanding write, 0 when there is none. */
  writing: u8;
  /** Order of the pooled buffer. */
  order: u8;
  flags: u32;
  generation: u32;
  slot: u32;
  /** Next on the free list or the dirty list. */
  link: u32;
  /** Previous on the dirty list. */
  linkBack: u32;
  /** Position in the heap of deadlines, plus 1; 0 when there is none. */
  timerAt: u32;
  /** Pooled buffer, 0 for none. */
  buffer: u32;
  /** HTTP: offset of the current head. WebSocket: offset of the unparsed bytes. */
  start: u32;
  /** Offset behind the last byte. */
  end: u32;
  /** HTTP, from the head's start: bytes looked at, start of the current line. */
  scan: u32;
  line: u32;
  /** HTTP: address of the request's head, its table, its body. WebSocket: see Session. */
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
  /** HTTP: state of the parser. WebSocket: the reason for which it fails once its events are handled. */
  chunk: u32;
  opcode: u8;
  frameFinal: u8;
  frameOpen: u8;
  /** Order of the buffer it waits for. */
  waitOrder: u8;
  /** The reply queue: first and last block, bytes. */
  replyHead: u32;
  replyTail: u32;
  backlog: u32;
  /** Block of the pending pong. */
  pong: u32;
  /** Block that the outstanding write reads from and that nobody else owns. */
  sending: u32;
  /** Bytes of the outstanding write. */
  writingBytes: u32;
  /** Treap links of a WebSocket; list links of an HTTP connection. */
  left: u32;
  right: u32;
  count: u32;
  closeCode: u16;
  /** A CloseReason. */
  reason: i16;
  /** Neighbours in the queue for buffers. */
  waitNext: u32;
  waitBack: u32;
  /** When the heap looks at this connection. */
  due: f64;
  lastIn: f64;
  /** Last progress of the outstanding write. */
  lastOut: f64;
  /** When bytes that waited were last acknowledged: see life.ts. */
  lastAck: f64;
  /** When the client that reads is too slow; 0: nothing is held against it. */
  outDue: f64;
  /** When the body or message that arrives is too slow; 0: none does. */
  inDue: f64;
  /**
   * When the present state began: the request, the closing handshake, the linger. Of an open WebSocket: when its last
   * ping left.
   */
  since: f64;
  waitSince: f64;
  /**
   * Ring offsets: the first byte it may still need, while it stands in the treap; the end of what was handed
   * over. HTTP: `bodyTotal` in the second.
   */
  done: u64;
  handed: u64;
  /** The broadcast that is due next; when none is, broadcasts before this one are not for it. HTTP: `bodyLeft`. */
  sequence: u64;
  /** See pace.ts: the time of its messages; until when time that was given back counts. */
  messageTime: f64;
  creditEnd: f64;
  /** Since when it is held, or a piece of its body is with the host. */
  parkedSince: f64;
  /** Number of the tally it is counted in; 0: none. */
  address: u32;
  /** Bytes that were given back for want of a buffer: the host feeds them again. */
  returned: u32;
  /** Bytes of reply blocks it holds, while those of addresses are bounded. */
  replyBytes: u32;
  /** Bytes that came when no more input was wanted. An open WebSocket keeps `burst` here. */
  discarded: u32;
  /** Bytes of the reply queue up to the end of a ping that has not left; 0: none waits. */
  pingBehind: u32;
  /** Bytes that the kernel has taken, of completed writes; it wraps. */
  sent: u32;
  /** As of the last reading of the send queue: bytes that were acknowledged (it wraps), and bytes that were not. */
  acked: u32;
  queued: u32;
  /** A Watch. */
  watch: u32;
  /** 1: the last reading found bytes that waited as they had before. */
  stalled: u32;

  /** HTTP: bytes of the body, or of the chunk, still to come. In the place of what only a reader of the ring has. */
  get bodyLeft(): u64 {
    return this.sequence;
  }
  set bodyLeft(bytes: u64) {
    this.sequence = bytes;
  }

  /** HTTP: bytes of the chunks so far, of the one that arrives included. */
  get bodyTotal(): u64 {
    return this.handed;
  }
  set bodyTotal(bytes: u64) {
    this.handed = bytes;
  }

  /** HTTP: when its client ended its side. In the place of a WebSocket's time of messages. */
  get endedAt(): f64 {
    return this.messageTime;
  }
  set endedAt(time: f64) {
    this.messageTime = time;
  }

  /** WebSocket: state of utf8.ts. */
  get utf8(): u32 {
    return this.scan;
  }
  set utf8(state: u32) {
    this.scan = state;
  }

  /** WebSocket: bytes of the current frame still to come. */
  get frameLeft(): u32 {
    return this.line;
  }
  set frameLeft(bytes: u32) {
    this.line = bytes;
  }

  /** WebSocket: the current frame's mask for the next byte. */
  get mask(): u32 {
    return load<u32>(changetype<usize>(this), MASK_AT);
  }
  set mask(mask: u32) {
    store<u32>(changetype<usize>(this), mask, MASK_AT);
  }

  /** WebSocket: bytes of the message assembled at the start of the buffer. */
  get message(): u32 {
    return load<u32>(changetype<usize>(this), MESSAGE_AT);
  }
  set message(bytes: u32) {
    store<u32>(changetype<usize>(this), bytes, MESSAGE_AT);
  }

  /** WebSocket: frames of the message that arrives. */
  get fragments(): u32 {
    return this.traits;
  }
  set fragments(count: u32) {
    this.traits = count;
  }

  /** WebSocket that is open: events of it that may be out at a time; 0: as many as the table holds. */
  get burst(): u32 {
    return this.discarded;
  }
  set burst(events: u32) {
    this.discarded = events;
  }

  /** WebSocket: position in the list of open ones. */
  get listAt(): u32 {
    return this.requests;
  }
  set listAt(position: u32) {
    this.requests = position;
  }
}

/** Of a request line: its method to its key. */
const MASK_AT: usize = offsetof<Conn>("method");
const MESSAGE_AT: usize = offsetof<Conn>("targetLength");

/** The engine's own state; stands behind the control table. */
@unmanaged
export class Engine {
  control: usize;
  /** Parameters as f64, and those that are counts as u32. */
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
  /** Bytes of the head table, which stands before the data in an HTTP connection's buffer. */
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
  /** Inbound events since the table was drained; Drain and End. */
  inboundEvents: u32;
  notices: u32;
  /** Some found no place: the next flush pass tells them. */
  noticesOwed: u32;
  treap: u32;
  deflateTreap: u32;
  /** Open WebSockets that read the ring of compressed forms. */
  deflateCount: u32;
  /** Of the treap's priorities. */
  seed: u32;
  /** Queue for buffers, and whether one was given back since it was last looked at. */
  waitHead: u32;
  waitTail: u32;
  buffersGiven: u32;
  /** Bytes that the host holds, since they found no buffer. */
  returned: u32;
  /** A reply was refused because the pool was empty: Drain is owed when it has room. */
  replyFull: u32;
  /** Bytes of bodies that the host holds, each for one answer. */
  bodyBytes: u32;
  /** The server shuts down: no connection persists. */
  stopping: u32;
  /** The host is asked what becomes of each body. */
  streams: u32;
  /** The slot whose bytes lie in the window, and where the unparsed ones are. */
  fedSlot: u32;
  source: u32;
  sourceEnd: u32;
  /** Heads and tails of the HTTP lists, in the order of `List`; the root of the treap of Reading. */
  endedHead: u32;
  endedTail: u32;
  lingerHead: u32;
  lingerTail: u32;
  idleHead: u32;
  idleTail: u32;
  unreadHead: u32;
  unreadTail: u32;
  readingTreap: u32;
  /** The table of HTTP slots is nearly full: answers that are not read are looked at sooner. */
  isCrowded: u32;
  now: f64;
  /** When the publisher was last made to wait; 0 when it does not. */
  triedAt: f64;
  /** ms for which it has waited for readers since its budget was last renewed. */
  waited: f64;
  /** The ring offset, and the frame, at which it was renewed. */
  renewedAt: u64;
  renewedFrame: u64;
  /** Next frame sequence. */
  sequence: u64;
  firstSequence: u64;
  /** The flush pass at hand: the first broadcast that is new with it, and open WebSockets not looked at yet. */
  castFirst: u64;
  castLeft: u32;
  /** The topic table: its records, buckets of names and of pairs, subscriptions. */
  topics: usize;
  topicBuckets: usize;
  pairBuckets: usize;
  subscriptions: usize;
  topicMask: u32;
  pairMask: u32;
  /** Records that were ever taken, those that are free of them, those that are in use. */
  topicsUsed: u32;
  freeTopic: u32;
  topicCount: u32;
  subscriptionsUsed: u32;
  freeSubscription: u32;
  subscriptionCount: u32;
  /** List of the topics published to since the last flush pass: number + 1. */
  dirtyTopics: u32;
  /** The table of addresses: its records, its buckets, records that were ever taken, free ones, those in use. */
  tallies: usize;
  tallyBuckets: usize;
  tallyMask: u32;
  talliesUsed: u32;
  freeTally: u32;
  tallyCount: u32;
  /** Dead connections whose last write is of a ring: the transport may read there until the host frees them. */
  deadReaders: u32;
  /** The host reads send queues: see life.ts. */
  measures: u32;
}

export const ENGINE_BYTES: usize = 512;

if (offsetof<Conn>() != CONN_BYTES) ERROR("Conn is not CONN_BYTES long");
if (offsetof<Conn>("flags") != CONN_FLAGS) ERROR("CONN_FLAGS");
if ((Flag.Waiting as u32) != FLAG_WAITING) ERROR("FLAG_WAITING");
if ((Flag.CloseQueued as u32) != FLAG_CLOSE_QUEUED) ERROR("FLAG_CLOSE_QUEUED");
if ((Flag.MessageOut as u32) != FLAG_MESSAGE_OUT) ERROR("FLAG_MESSAGE_OUT");
if ((Flag.Deaf as u32) != FLAG_DEAF) ERROR("FLAG_DEAF");
if (offsetof<Conn>("generation") != CONN_GENERATION) ERROR("CONN_GENERATION");
if (offsetof<Conn>("head") != CONN_HEAD) ERROR("CONN_HEAD");
if (offsetof<Conn>("table") != CONN_TABLE) ERROR("CONN_TABLE");
if (offsetof<Conn>("body") != CONN_BODY) ERROR("CONN_BODY");
if (offsetof<Conn>("bodyLength") != CONN_BODY_LENGTH) ERROR("CONN_BODY_LENGTH");
if (offsetof<Conn>("headLength") != CONN_HEAD_LENGTH) ERROR("CONN_HEAD_LENGTH");
if (offsetof<Conn>("headers") != CONN_HEADER_COUNT) ERROR("CONN_HEADER_COUNT");
if (offsetof<Conn>("method") != CONN_METHOD) ERROR("CONN_METHOD");
if (offsetof<Conn>("minor") != CONN_MINOR) ERROR("CONN_MINOR");
if (offsetof<Conn>("target") != CONN_TARGET) ERROR("CONN_TARGET");
if (offsetof<Conn>("targetLength") != CONN_TARGET_LENGTH) ERROR("CONN_TARGET_LENGTH");
if (offsetof<Conn>("traits") != CONN_TRAITS) ERROR("CONN_TRAITS");
if (offsetof<Conn>("backlog") != CONN_BACKLOG) ERROR("CONN_BACKLOG");
if (offsetof<Engine>() > ENGINE_BYTES) ERROR("ENGINE_BYTES");

/** The formatted engine; 0 before `join`. */
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

/** A parameter that is a whole number: 0 … 2^32 - 1. */
export function paramU32(index: i32): u32 {
  return load<u32>(engine.counts + ((index as usize) << 2));
}

export function setParam(index: i32, value: f64): void {
  store<f64>(engine.params + ((index as usize) << 3), value);
  // Read for each field of a head, each frame and each row: converted once.
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

/** Takes the time the host wrote. It never runs backwards here, whatever the host's clock does. */
export function takeTime(): void {
  const now = getControl(Control.Now);
  if (now > engine.now) engine.now = now;
}

export function has(c: Conn, flag: u32): bool {
  return (c.flags & flag) != 0;
}

export function isWebSocket(c: Conn): bool {
  return (c.flags & Flag.WebSocket) != 0;
}

/** 1 for a reader of the ring of compressed forms, 0 for one of the plain ring. */
export function readsDeflated(c: Conn): u32 {
  return has(c, Flag.Deflate) ? 1 : 0;
}
