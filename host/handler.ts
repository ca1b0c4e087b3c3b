// The types a user implements and receives: Handler, Request, Response, WebSocket, and the server as a handler sees it.
// Types only: what a handler gets is made where it runs, in the worker (worker/request/request.ts, socket.ts,
// stage.ts), on the application's thread (host/local/exchange.ts, socket.ts, stage.ts), in a thread of the pool
// (worker/entry/thread.ts).

/**
 * Data of a message: a string for text (RFC 6455 opcode 1), bytes for binary (opcode 2). Of a view its own bytes are
 * sent, whatever its elements are. Bytes are copied before the call returns. Anything else is a TypeError.
 */
export type Data = string | ArrayBuffer | SharedArrayBuffer | ArrayBufferView;

/** Options of one message. */
export interface SendOptions {
  /**
   * Send a string as binary, or bytes as text. Default: strings are text, bytes are binary. Bytes that are to be text
   * and are not UTF-8 are a TypeError, and nothing is sent.
   */
  binary?: boolean;
  /** false: not compressed, whatever its length. Default: from `deflateThreshold` on, where negotiated. */
  compress?: boolean;
}

/** Options of one publication. */
export interface PublishOptions extends SendOptions {
  /** Id of a client that does not get it. */
  except?: ConnectionId;
}

/**
 * A connection's id: generation · 2^20 + slot, a safe integer. It names one connection for ever; a stale
 * id is a no-op that returns false.
 */
export type ConnectionId = number;

/** An HTTP connection, as `connect` and `disconnect` see it. */
export interface Connection {
  /** Its id, until it ends or becomes a WebSocket's. */
  readonly id: ConnectionId;
  /** The peer's address as the socket reports it, without port. */
  readonly remoteAddress: string;
}

/** Why a connection ended. */
export interface CloseInfo {
  /**
   * WebSockets: the close code of RFC 6455 7.4 (1005: the peer's Close had none; 1006: no Close arrived).
   * HTTP: the status that was sent when the server refused, else 0.
   */
  readonly code: number;
  /** The reason text of the peer's Close frame, else the text of `cause`. */
  readonly reason: string;
  /** The enumerated cause, a name of `CloseReason`, such as "WsClientTooSlow". */
  readonly cause: string;
  /** Bytes of the ring that were published and not delivered. */
  readonly lagBytes: number;
}

/** Names out of a certificate, such as `{ O: "Example", CN: "alice" }`; a name that occurs again is a list. */
export type CertificateNames = Readonly<Record<string, string | readonly string[]>>;

/** A certificate that a client has shown, see `tls.requestCert`. */
export interface PeerCertificate {
  /** Whom it is about. */
  readonly subject: CertificateNames;
  /** Who has signed it. */
  readonly issuer: CertificateNames;
  /** SHA-256 of it, "AB:CD:…": names it for ever, whatever it says of itself. */
  readonly fingerprint256: string;
  /** True when it comes from one of `tls.ca` and is valid. Nothing that it says is to be believed otherwise. */
  readonly authorized: boolean;
  /** Why it is not authorized, such as "CERT_HAS_EXPIRED"; "". */
  readonly error: string;
}

/**
 * A request. Valid until its handler has settled and it is answered or its client has left, whichever is later; then
 * every member throws an Error whose `code` is "ERR_REQUEST_OVER", except for `id`, `method`, `path` and
 * `remoteAddress`. Copy what you need longer: strings, `headers` and `body` are copies.
 */
export interface Request {
  /** The connection's id. */
  readonly id: ConnectionId;
  /** The method token, such as "GET" (RFC 9110 9.1). */
  readonly method: string;
  /** The request target as sent (RFC 9112 3.2), such as "/a?b=c" or "*". */
  readonly url: string;
  /** The path of the target, without query, not percent-decoded. */
  readonly path: string;
  /** The query of the target without "?", "" when there is none. */
  readonly query: string;
  /** "1.0" or "1.1". */
  readonly httpVersion: string;
  /**
   * The host that the request is for, with its port when it names one: the target's in absolute-form, else the Host
   * field's (RFC 9112 3.3); "" when an HTTP/1.0 request has none. It is what `hosts` and `origins` judge.
   */
  readonly host: string;
  /** A field's value by its case-insensitive name; several fields are joined by ", ", those of Cookie by "; ". */
  header(name: string): string | undefined;
  /** All fields in the order of arrival, names in lower case. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>;
  /** The body, a copy; empty when there is none. @throws Error when the body is streamed */
  readonly body: Uint8Array;
  /** The body as UTF-8 text. @throws Error when the body is streamed */
  text(): string;
  /**
   * The body parsed as JSON.
   * @throws SyntaxError, which is answered 400 and not reported unless the handler catches it; Error when the body is
   * streamed
   */
  json(): unknown;
  /**
   * The body in pieces, copies of the bytes as they came: for bodies larger than memory, see `Handler.streams`. The
   * client is read no faster than the pieces are taken. A body that is not streamed is one piece, an empty one none,
   * so a handler can be written one way. Once for each request; not read to its end, it ends the connection behind
   * the answer.
   *
   * When the body breaks off the iterator throws an Error named "BodyError" whose `cause` is the enumerated one:
   * "PeerReset", "PeerEnded", "BadChunk", "LargeRequest", "RequestTimeout", …; the request has been refused or has
   * gone then; "Ok": the handler has answered before.
   * @throws Error when it was called before
   */
  stream(): AsyncIterableIterator<Uint8Array>;
  /**
   * The body in one, whether it is streamed or not: `stream()` to its end.
   * @param limit bytes; default `maxBodyLength`
   * @throws RangeError when it has more, which is answered 413 and not reported unless the handler catches it
   */
  collect(limit?: number): Promise<Uint8Array>;
  /** True when the body is streamed, see `Handler.streams`: `body`, `text` and `json` throw then. */
  readonly streamed: boolean;
  /** The client's address, without port; behind a proxy that is trusted, the one it tells. */
  readonly remoteAddress: string;
  /** True when it came over TLS. */
  readonly secure: boolean;
  /** The certificate that the client has shown; undefined when it has not, or was not asked. */
  readonly peerCertificate: PeerCertificate | undefined;
  /** True for a valid WebSocket opening handshake: answer with `res.upgrade()`, or refuse with any other answer. */
  readonly upgrade: boolean;
  /** Subprotocols the client offers, in its order of preference. */
  readonly protocols: readonly string[];
}

/** Header fields of an answer; a value list gives one field for each. */
export type HeaderFields = Readonly<Record<string, string | number | readonly string[]>>;

/**
 * A body that many answers share, sent from where it lies: `server.body(bytes, type)`. It is for answers of the server
 * that made it, and its bytes live as long as this object.
 */
export interface StaticBody {
  /** Its Content-Type. */
  readonly type: string;
  /** Its bytes. */
  readonly length: number;
}

/** Options of an upgrade. */
export interface UpgradeOptions<User = unknown> {
  /** Becomes `ws.data`. */
  data?: User;
  /** The chosen subprotocol; must be one the client offered (RFC 6455 4.2.2). */
  protocol?: string;
  /** Further fields of the 101, none of the handshake's own (`Sec-WebSocket-…`). */
  headers?: HeaderFields;
  /** Seconds of inbound silence for this client, 0 … 86,400; 0: no limit. Default: the option of this name. */
  idleTimeout?: number;
  /** Bytes of a message from this client, at most what the server started with. Default: the option of this name. */
  maxPayloadLength?: number;
}

/**
 * The answer to one request. Exactly one of `send`, `static`, `stream`, `begin`, `end`, `upgrade` is called, once. What
 * fails after a call has returned fails the request: it is reported, whether or not the promise is awaited.
 */
export interface Response<User = unknown> {
  /** True once the request has been answered, or its connection has gone. */
  readonly sent: boolean;
  /**
   * Aborted when the client goes, or its request fails, before the answer is complete. Also when the client has ended
   * its side alone: few that do so still read, and those get the answer. In a pool it never is: a client that has gone
   * ends the thread there.
   */
  readonly signal: AbortSignal;
  /** Sets a field of the answer. CR, LF and NUL are refused. @throws TypeError */
  header(name: string, value: string | number | readonly string[]): this;
  /**
   * Answers.
   * @param status 200 … 599
   * @param type Content-Type, "" for none; one that was set as a field wins
   * @param body strings are sent as UTF-8; bytes are copied
   * @returns false when the connection has gone
   */
  send(status: number, type?: string, body?: Data, headers?: HeaderFields): boolean;
  /** Answers with a value as JSON: "application/json". @throws TypeError for what JSON does not have */
  json(value: unknown, status?: number, headers?: HeaderFields): boolean;
  /** Answers with a static body, without copying it. */
  static(body: StaticBody, status?: number, headers?: HeaderFields): boolean;
  /**
   * Begins an answer whose body comes piece by piece: chunked for HTTP/1.1, up to the end of the connection for
   * HTTP/1.0. `write` and `end` follow.
   */
  begin(status: number, type?: string, headers?: HeaderFields): boolean;
  /**
   * Queues a piece of the body.
   * @returns true when queued; false when the client is gone (`sent` is true then) or its queue is over
   * `maxBacklog`: nothing was queued, `ready()` resolves when there is room
   * @throws Error for 204, 205 and 304, whose answers have no body; to HEAD the pieces are dropped
   */
  write(data: Data): boolean;
  /** Resolves when `write` may have room again, or the client is gone. */
  ready(): Promise<void>;
  /**
   * Ends the body, after a last piece. Without `begin` it is a whole answer of 200: a string's type is
   * "text/plain; charset=utf-8" then, that of bytes "application/octet-stream".
   */
  end(data?: Data): Promise<void>;
  /**
   * Answers with the pieces of an iterable, as fast as the client takes them. When the client goes the
   * iterable is returned from at once (an async generator runs on to its next `yield`: stop what it waits for by
   * `signal`); when it throws the connection is reset. Where the answer has no body, as to HEAD, it is returned from
   * unread.
   */
  stream(
    status: number,
    type: string,
    body: AsyncIterable<Data> | Iterable<Data>,
    headers?: HeaderFields,
  ): Promise<void>;
  /** Ends the connection after this answer. */
  close(): this;
  /** Answers the opening handshake with 101. @returns false when it was refused (no room) or the client has gone */
  upgrade(options?: UpgradeOptions<User>): boolean;
}

/** A WebSocket. Stays valid after it closed; then every call is a no-op that returns false. */
export interface WebSocket<User = unknown> {
  /** Its id, for `server.send` and the like. */
  readonly id: ConnectionId;
  /** What the upgrade was given. */
  data: User;
  /** The subprotocol, "" for none. */
  readonly protocol: string;
  /** The client's address, as of its upgrade's request. */
  readonly remoteAddress: string;
  /** False once it has ended, or a Close was sent or has arrived. */
  readonly open: boolean;
  /** How far behind: bytes and frames of the ring published and not yet delivered, and bytes of its own queue. */
  readonly lag: { readonly bytes: number; readonly frames: number; readonly queued: number };
  /**
   * Queues a message for this client alone, in the order of the calls, publications included.
   * @returns true when queued; false when gone, or when its queue is over `maxBacklog` (`drain` follows)
   */
  send(data: Data, options?: SendOptions): boolean;
  /**
   * Subscribes to a topic: what is published to it from now on is sent to this client, until it unsubscribes or
   * ends. Subscribing again does nothing.
   * @param topic an exact name of 1 to 200 bytes
   * @returns false when gone @throws RangeError when `maxTopics` or `maxSubscriptions` are taken
   */
  subscribe(topic: string): boolean;
  /** Ends a subscription; what was published before still arrives. @returns false when there was none */
  unsubscribe(topic: string): boolean;
  /** True for a topic that it subscribes to. */
  isSubscribed(topic: string): boolean;
  /** The topics it subscribes to. */
  readonly subscriptions: readonly string[];
  /** Publishes to a topic's subscribers but this client. @returns false when there is no room: nothing was staged */
  publish(topic: string, data: Data, options?: SendOptions): boolean;
  /**
   * Sends what is queued, then a Close frame, and waits for the peer's (RFC 6455 7.1.2).
   * @param code 1000, 1001, 1003, 1007–1014 or 3000–4999 @param reason at most 123 bytes of UTF-8
   */
  close(code?: number, reason?: string): boolean;
  /** Ends the connection now, with a reset. */
  terminate(): boolean;
  /** Sends a ping. @param data at most 125 bytes */
  ping(data?: Data): boolean;
  /**
   * Stops handling what this client sends. No message arrives after the call, not even one that has been read. About
   * 64 KiB are read ahead, so that the client's end is noticed. Then TCP's own backpressure stops the client.
   */
  pause(): void;
  /** Goes on with the client's messages, in order. */
  resume(): void;
}

/**
 * A message built piece by piece, in a buffer of its own, up to the size of the ring. It may be kept across an
 * `await`, several may be open, and other messages may be published meanwhile. When it gets too large, calls do nothing
 * from then on, and publishing it throws the RangeError, once. After it has been published every call throws. One that
 * is forgotten is garbage.
 *
 * It is text unless the options say `binary: true`, also when it holds bytes: those that are not UTF-8 are a TypeError
 * then, and the stage can be published again with other options.
 */
export interface Stage {
  /** Appends text, numbers and the like as they are written. @throws TypeError for anything else */
  text(value: string | number | boolean | bigint): this;
  /** Appends bytes, copied. @throws TypeError for what is no bytes */
  bytes(data: Exclude<Data, string>): this;
  /**
   * Lets `fill` write up to `n` bytes; it returns how many it wrote. What it writes after it has returned goes
   * nowhere, and within it this stage cannot be used.
   */
  reserve(n: number, fill: (view: Uint8Array) => number): this;
  /** Bytes staged so far. */
  readonly length: number;
  /** Cuts what is staged to its first `n` bytes. */
  truncate(n: number): this;
  /** Drops what is staged. */
  discard(): void;
  /**
   * Publishes it to every open WebSocket.
   * @returns false when there is no room: nothing was sent, and the stage still holds the message
   * @throws RangeError when it is larger than the ring; TypeError when it is text and not UTF-8
   */
  broadcast(options?: PublishOptions): boolean;
  /** Publishes it to a topic's subscribers. @returns as `broadcast` */
  publish(topic: string, options?: PublishOptions): boolean;
  /** Sends it to one client. @returns as `broadcast` */
  send(id: ConnectionId, options?: SendOptions): boolean;
}

/** The server as seen from where the handler runs. */
export interface HandlerServer<User = unknown> {
  /** Publishes to every open WebSocket. @returns false when there is no room: nothing was staged */
  broadcast(data: Data, options?: PublishOptions): boolean;
  /** Publishes to a topic's subscribers; to a topic without any it does nothing. @returns as `broadcast` */
  publish(topic: string, data: Data, options?: PublishOptions): boolean;
  /** As `ws.subscribe`. */
  subscribe(id: ConnectionId, topic: string): boolean;
  /** As `ws.unsubscribe`. */
  unsubscribe(id: ConnectionId, topic: string): boolean;
  /** How many subscribe to a topic. */
  subscriberCount(topic: string): number;
  /** As `ws.send`. */
  send(id: ConnectionId, data: Data, options?: SendOptions): boolean;
  /**
   * Resolves when it is worth trying again to publish what was refused: in the worker a millisecond later, after a
   * pass to the clients. Rejects once the server has ended, with `code` "ERR_SERVER_ENDED"; that need not be handled.
   */
  ready(): Promise<void>;
  /** Starts a message built piece by piece. */
  stage(): Stage;
  /** Calls `fn` for each open WebSocket. */
  each(fn: (ws: WebSocket<User>) => void): void;
  /** Open WebSockets. */
  count(): number;
  /** Counters and gauges: at once in the worker, a promise on the application's thread. */
  stats(): Stats | Promise<Stats>;
  /** The same as OpenMetrics text: at once in the worker, a promise on the application's thread. */
  metrics(): string | Promise<string>;
  /** Makes bytes a static body: sent from where they lie, for as long as somebody has the object. */
  body(data: Data, type: string): StaticBody;
}

/** Where a piece stands in its message. */
export interface FragmentInfo {
  /** The first piece of its message. */
  readonly first: boolean;
  /** The last one. */
  readonly last: boolean;
  /** A piece of a binary message. */
  readonly isBinary: boolean;
  /** Bytes of the piece's frame still to come; the message may have further frames. */
  readonly remaining: number;
}

/**
 * Says of a request's head whether the body is to be streamed. With `optional` the handler may also run where bodies
 * cannot be streamed; they come whole there.
 */
export type StreamChoice = ((req: Request) => boolean) & { readonly optional?: boolean };

/** A user's handler. Every member is optional; without `request` every request is 404. */
export interface Handler<User = unknown> {
  /** A request; sync or async. A throw or rejection is 500, logged. */
  request?(req: Request, res: Response<User>): unknown;
  /**
   * Which requests with a body are handed to `request` as soon as their head has come, to read the body with
   * `req.stream()`: all of them, or those for which a function of the head returns true. The others, and upgrades, come
   * when they are whole. A client that expects 100 (Continue) is told so when the body is asked for. A throw is 500.
   */
  streams?: boolean | StreamChoice;
  /**
   * The subprotocol for an upgrade whose `res.upgrade()` names none: one of `req.protocols`. undefined: the first
   * offered one of the option `protocols`, or none. @throws what it throws, and a TypeError for one that was not
   * offered, comes out of `res.upgrade()`
   */
  protocol?(req: Request): string | undefined;
  /** A TCP connection was accepted. */
  connect?(connection: Connection): void;
  /**
   * An HTTP connection ended, without having become a WebSocket. A handler on the application's thread is not told of
   * one that came and ended while it was behind, as it was not of its `connect`.
   */
  disconnect?(connection: Connection, info: CloseInfo): void;
  /** A WebSocket opened; sync or async: its messages wait for the promise. A throw is close 1011. */
  open?(ws: WebSocket<User>): unknown;
  /** A message; `data` is a string for text, a copy of the bytes for binary. */
  message?(ws: WebSocket<User>, data: string | Uint8Array, isBinary: boolean): unknown;
  /**
   * A piece of a message, instead of `message`, when the option `fragments` is on: a copy of its bytes, for text
   * too (valid UTF-8 so far, cut anywhere). Together with `ws.pause()` for messages larger than memory.
   */
  fragment?(ws: WebSocket<User>, data: Uint8Array, info: FragmentInfo): unknown;
  /** There is room again after `send` returned false. */
  drain?(ws: WebSocket<User>): void;
  /** A ping arrived; its pong is on its way. As after a message, a throw is close 1011. */
  ping?(ws: WebSocket<User>, data: Uint8Array): unknown;
  /** A pong arrived. */
  pong?(ws: WebSocket<User>, data: Uint8Array): unknown;
  /** A WebSocket ended; also one whose upgrade failed, so that what it was given can be let go of. */
  close?(ws: WebSocket<User>, info: CloseInfo): void;
  /** The server shuts down; called for each open WebSocket before its Close frame. */
  shutdown?(ws: WebSocket<User>): void;
}

/** What a handler module exports by default. */
export type HandlerModule<User = unknown> =
  | Handler<User>
  | ((server: HandlerServer<User>) => Handler<User> | Promise<Handler<User>>);

/** Counters and gauges; all counters are since the start. */
export interface Stats {
  /** Open HTTP connections. */
  readonly connections: number;
  /** Open WebSockets. */
  readonly webSockets: number;
  /** Connections that were accepted. */
  readonly accepted: number;
  /** Those of them that became WebSockets. */
  readonly upgraded: number;
  /** Requests. */
  readonly requests: number;
  /** Bytes read. */
  readonly bytesIn: number;
  /** Bytes written. */
  readonly bytesOut: number;
  /** Messages from clients. */
  readonly messagesIn: number;
  /** Messages queued for single clients. */
  readonly messagesSent: number;
  /** Messages for single clients that were refused: the client's queue, or the pool, was full. */
  readonly messagesRefused: number;
  /** Frames published into the ring. */
  readonly framesPublished: number;
  /** Bytes published into the ring. */
  readonly bytesPublished: number;
  /** Each publication times the clients open at that moment. */
  readonly framesDue: number;
  /** Clients that were evicted. */
  readonly evicted: number;
  /** Topics that somebody subscribes to. */
  readonly topics: number;
  /** Subscriptions of all clients. */
  readonly subscriptions: number;
  /** Closed connections by the name of their reason. */
  readonly closed: Readonly<Record<string, number>>;
  /** Addresses that connections are counted under (`maxConnectionsPerAddress`). */
  readonly addresses: number;
  /** The ring, and what of it the furthest behind has not been sent. */
  readonly ring: { readonly bytes: number; readonly used: number };
  /**
   * How far the open WebSockets are behind, in bytes of the ring that were published and not delivered:
   * `counts[i]` of them by at most `bounds[i]` and more than `bounds[i - 1]`. The bounds are 0, the powers of four
   * from 1 KiB up, and the ring's size. Counted anew each time: it takes a look at each WebSocket.
   */
  readonly lag: { readonly bounds: readonly number[]; readonly counts: readonly number[] };
  /** `receiveBuffers`, and what of them is taken. */
  readonly receivePool: { readonly bytes: number; readonly used: number };
  /** `replyBuffers`, and what of them is taken. */
  readonly replyPool: { readonly bytes: number; readonly used: number };
  /** Bytes of answers larger than 64 KiB that are on their way: beside `replyBuffers`, and bounded by as much. */
  readonly bodyBytes: number;
  /** Bytes of the engine's memory; constant. */
  readonly memory: number;
  /** Errors that handlers threw. */
  readonly handlerErrors: number;
  /** Failures to accept, and warnings of them. */
  readonly acceptErrors: number;
  /** Requests answered 503 because the application's thread, or the pool, had no room for them. */
  readonly shed: number;
  /** The threads of `pool`, as Piscina counts them. */
  readonly pool?: PoolStats;
}

/** A pool of threads. */
export interface PoolStats {
  /** Threads there are. */
  readonly threads: number;
  /** Requests in a thread. */
  readonly running: number;
  /** Requests that wait for a thread. */
  readonly queueSize: number;
  /** Requests that are through, failed ones included. */
  readonly completed: number;
  /** Share of the threads' time since the start in which each had a request, 0 … 1. */
  readonly utilization: number;
  /** ms in a thread. */
  readonly runTime: { readonly mean: number; readonly p99: number; readonly max: number };
}
