// The types that a user implements and receives: Handler, Request, Response, WebSocket, and the server as a handler
// sees it. This file holds types only. The objects are made where the handler runs: in the worker (worker/request/,
// worker/socket/), on the application's thread (host/local/exchange.ts, host/local/socket.ts), or in a thread of the
// pool (worker/entry/thread.ts).

import type { CloseReason } from "../assembly/abi";

/** The name of a close cause, such as "WsClientTooSlow". */
export type CloseCause = keyof typeof CloseReason;

/**
 * Data of a message: a string is sent as text (RFC 6455 opcode 1), bytes as binary (opcode 2). A view is sent as the
 * bytes that it covers, whatever its element type. Bytes are copied before the call returns. Any other type is a
 * TypeError.
 */
export type Data = string | ArrayBuffer | SharedArrayBuffer | ArrayBufferView;

/** Options of one message. */
export interface SendOptions {
  /**
   * Whether the message is binary: `true` sends a string as binary, `false` sends bytes as text. Default: strings are
   * text, bytes are binary. Bytes sent as text must be UTF-8. Otherwise the call throws a TypeError and sends nothing.
   */
  binary?: boolean;
  /** Whether to compress; `false`: never. Default: from `deflateThreshold` bytes on, if the client negotiated it. */
  compress?: boolean;
}

/** Options of one publication. */
export interface PublishOptions extends SendOptions {
  /** Id of a client that is left out. */
  except?: ConnectionId;
}

/**
 * A connection's id: generation · 2^20 + slot, a safe integer. An id is never used again. A call with the id of a
 * connection that has ended does nothing and returns false.
 */
export type ConnectionId = number;

/** An HTTP connection, as `connect` and `disconnect` receive it. */
export interface Connection {
  /** The connection's id. It is valid until the connection ends or becomes a WebSocket. */
  readonly id: ConnectionId;
  /** The peer's address as the socket reports it, without port. */
  readonly remoteAddress: string;
}

/** Why a connection ended. */
export interface CloseInfo {
  /**
   * For a WebSocket, the close code of RFC 6455 7.4: 1005 when the peer's Close frame had no code, 1006 when no Close
   * frame arrived. For HTTP, the status with which the server refused the client, else 0.
   */
  readonly code: number;
  /** The reason in the peer's Close frame, else the text of `cause`. */
  readonly reason: string;
  /** The cause, a name of `CloseReason` such as "WsClientTooSlow". */
  readonly cause: CloseCause;
  /** Bytes of the ring that were published and not delivered to this client. */
  readonly lagBytes: number;
}

/** Names in a certificate, such as `{ O: "Example", CN: "alice" }`. A name that occurs several times has a list. */
export type CertificateNames = Readonly<Record<string, string | readonly string[]>>;

/** A certificate that a client presented, see `tls.requestCert`. */
export interface PeerCertificate {
  /** The subject: the party that the certificate is issued to. */
  readonly subject: CertificateNames;
  /** The issuer: the authority that signed the certificate. */
  readonly issuer: CertificateNames;
  /** The certificate's SHA-256 fingerprint, "AB:CD:…". It identifies the certificate, whatever names are in it. */
  readonly fingerprint256: string;
  /** True when the certificate is valid and issued by one of `tls.ca`. If false, trust none of its contents. */
  readonly authorized: boolean;
  /** Why the certificate is not authorized, such as "CERT_HAS_EXPIRED"; "" when it is. */
  readonly error: string;
}

/**
 * A request. It is valid until its handler has settled, and the response is complete or the client has left.
 * Afterwards every member throws an Error whose `code` is "ERR_REQUEST_OVER", except `id`, `method`, `path` and
 * `remoteAddress`. Copy what you need for longer: strings, `headers` and `body` are copies.
 */
export interface Request {
  /** The connection's id. */
  readonly id: ConnectionId;
  /** The method token, such as "GET" (RFC 9110 9.1). */
  readonly method: string;
  /** The request target as sent (RFC 9112 3.2), such as "/a?b=c" or "*". */
  readonly url: string;
  /** The path of the target, without the query. Percent-encoding is kept. */
  readonly path: string;
  /** The query of the target without "?"; "" when there is none. */
  readonly query: string;
  /**
   * The position from which the client wants to resume, as it names it: Last-Event-ID, else `since` of the query;
   * undefined when it names none. `res.events` heeds it by itself, with the option `history`.
   */
  readonly since: string | undefined;
  /** The HTTP version, "1.0" or "1.1". */
  readonly httpVersion: string;
  /**
   * The host that the request is for, with its port when it names one: from the target in absolute-form, else from the
   * Host field (RFC 9112 3.3). "" when an HTTP/1.0 request names none. `hosts` and `origins` check this value.
   */
  readonly host: string;
  /**
   * Returns a field's value; names are case-insensitive. Several fields of one name are joined by ", " (Cookie: "; ").
   */
  header(name: string): string | undefined;
  /** All fields in the order of arrival, with names in lower case. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>;
  /** A copy of the body, empty when there is none. @throws Error when the body is streamed */
  readonly body: Uint8Array;
  /** Returns the body as UTF-8 text. @throws Error when the body is streamed */
  text(): string;
  /**
   * Returns the body parsed as JSON. `T` is what the handler expects; nothing checks it.
   * @throws SyntaxError when it is not JSON: unless the handler catches it, the response is 400 and nothing is reported
   * @throws Error when the body is streamed
   */
  json<T = unknown>(): T;
  /**
   * Returns the body as an iterator of pieces, which are copies of the bytes as they arrived. Use it for bodies larger
   * than memory, see `Handler.streams`. Backpressure: the server reads from the client only as fast as the pieces are
   * taken. A body that is not streamed is one piece and an empty body is none, so one handler can serve both. If the
   * body is not read to its end, the connection ends after the response.
   *
   * When the body breaks off, the iterator throws an Error named "BodyError" whose `cause` is the name of the cause:
   * "PeerReset", "PeerEnded", "BadChunk", "LargeRequest", "RequestTimeout" and so on. By then the request has been
   * refused or its client has left. The cause is "Ok" when the handler had already sent the response.
   * @throws Error when it was called before: a body can be read once
   */
  stream(): AsyncIterableIterator<Uint8Array>;
  /**
   * Reads the complete body, streamed or not: `stream()` to its end.
   * @param limit largest length in bytes; default `maxBodyLength`
   * @throws RangeError when the body is longer: unless the handler catches it, the response is 413 and no error is
   * reported
   */
  collect(limit?: number): Promise<Uint8Array>;
  /** True when the body is streamed, see `Handler.streams`. Then `body`, `text` and `json` throw. */
  readonly streamed: boolean;
  /** The client's address, without port. Behind a trusted proxy, the address that the proxy forwards. */
  readonly remoteAddress: string;
  /** True when the request came over TLS. */
  readonly secure: boolean;
  /** The client's certificate; undefined when the client presented none or was not asked for one. */
  readonly peerCertificate: PeerCertificate | undefined;
  /** True for a valid WebSocket handshake. Accept it with `res.upgrade()`; any other response refuses it. */
  readonly upgrade: boolean;
  /** The subprotocols that the client offers, in its order of preference. */
  readonly protocols: readonly string[];
}

/** Header fields of a response. A list of values gives one field for each. */
export type HeaderFields = Readonly<Record<string, string | number | readonly string[]>>;

/**
 * A body that many responses share and that is sent without a copy: `server.body(bytes, type)`. Only the server that
 * made it can send it. Its bytes are kept as long as this object is.
 */
export interface StaticBody {
  /** The Content-Type. */
  readonly type: string;
  /** The length in bytes. */
  readonly length: number;
}

/** A file that is open. */
export interface ServedFile {
  /** Its length in bytes. */
  readonly size: number;
  /** Time of its last change, in ms since 1970. */
  readonly modified: number;
  /**
   * Text that is another one whenever the bytes differ, of 1 to 128 printable ASCII characters without `"`. It is sent
   * as a strong entity tag (RFC 9110 8.8.3).
   */
  readonly etag: string;
  /**
   * Returns the bytes from `start` up to `end`, which are all there: 0 ≤ start < end ≤ size, at most 64 KiB. A
   * rejection, or another number of bytes, breaks the response off.
   */
  read(start: number, end: number): Uint8Array | Promise<Uint8Array>;
  /** Called once, when the file is no longer read. Default: nothing is done. */
  close?(): void;
}

/** The result of a file system for a path: a file, "folder" for a folder, undefined for neither. */
export type FoundFile = ServedFile | "folder" | undefined;

/**
 * Files of a mount that has a `source`: the default export of its module, or the result of that if it is a function.
 */
export interface FileSystem {
  /**
   * Opens a file.
   * @param path decoded, such as "/docs/a.txt". No segment is empty, `.` or `..`, and none has a control character, a
   * backslash or, except `.well-known`, a dot at its beginning. It has at most 4,096 characters
   */
  open(path: string): FoundFile | Promise<FoundFile>;
}

/** Options of an upgrade. */
export interface UpgradeOptions<User = unknown> {
  /** A value of the application's own, later `ws.data`. */
  data?: User;
  /** The chosen subprotocol. It must be one that the client offered (RFC 6455 4.2.2). */
  protocol?: string;
  /**
   * Name of a subprotocol of `protocolHandlers`: its module gets the WebSocket's events, in the worker. If the client
   * offers this subprotocol, and `protocol` names none, it is chosen. From the application's thread `data` must be what
   * JSON keeps, at most 64 KiB of it; from a pool it is a structured clone. Default: the handler that calls `upgrade`.
   */
  handler?: string;
  /** Further fields of the 101 response, except those of the handshake itself (`Sec-WebSocket-…`). */
  headers?: HeaderFields;
  /** Idle timeout of this client in seconds, 0 … 86,400; 0: none. Default: the server's `idleTimeout`. */
  idleTimeout?: number;
  /**
   * Largest message from this client in bytes, at most the `maxPayloadLength` that the server started with. Default:
   * the server's current `maxPayloadLength`.
   */
  maxPayloadLength?: number;
  /**
   * Whether permessage-deflate may be negotiated; `false`: no message is compressed in either direction, so a client
   * costs no CPU for it. Default: whenever the client offers it and the server has `perMessageDeflate`.
   */
  compress?: boolean;
}

/**
 * The arguments of `upgrade`. A `User` that does not allow undefined makes `data` required, because each `ws.data` is
 * of that type.
 */
export type UpgradeArguments<User = unknown> = undefined extends User
  ? [options?: UpgradeOptions<User>]
  : [options: UpgradeOptions<User> & { data: User }];

/** Why a client has missed publications that it does not get. */
export interface StreamGap {
  /**
   * expired: they are not kept any more. epoch: the server was restarted. invalid: the client's position is malformed,
   * or of the future. lapped: the client read too slowly while it caught up, or `open` took too long. large: the
   * message does not fit into `eventRing`.
   */
  readonly reason: "expired" | "epoch" | "invalid" | "lapped" | "large";
  /** The topic whose messages are missing; undefined: they need not be of one topic. */
  readonly topic?: string;
}

/** Options of an event stream. */
export interface EventsOptions<User = unknown> {
  /** A value of the application's own, later `ws.data`. */
  data?: User;
  /** Topics that the stream subscribes to, before `open` is called. */
  topics?: readonly string[];
  /** Further fields of the response, such as those of CORS. */
  headers?: HeaderFields;
}

/** The arguments of `events`. A `User` that does not allow undefined makes `data` required, as for `upgrade`. */
export type EventsArguments<User = unknown> = undefined extends User
  ? [options?: EventsOptions<User>]
  : [options: EventsOptions<User> & { data: User }];

/**
 * The response to one request. Call exactly one of `send`, `json`, `static`, `pass`, `stream`, `begin`, `upgrade`,
 * `events`, and call it once. A failure after the call has returned, such as an iterable that throws, fails the
 * request and is reported, whether or not the promise is awaited.
 */
export interface Response<User = unknown> {
  /** True when the response has been given, or the connection has ended. */
  readonly sent: boolean;
  /**
   * A signal that aborts when the client disconnects, or the request fails, before the response is complete. It also
   * aborts when the client half-closes, because few clients that do so still read; those still get the response. In a
   * pool it never aborts. There, a client that disconnects ends the thread.
   */
  readonly signal: AbortSignal;
  /**
   * Sets a field of the response. Content-Length, a whole number of bytes up to 2^53 - 1, is the length of what `begin`
   * or `stream` sends; a whole body must have it, except that of a response to HEAD, which may state the length that
   * the response to GET has, and of a 304. A 204 has none, a 205 has 0 (RFC 9110 8.6).
   * @throws TypeError when the value has CR, LF or NUL, or the field frames the message: Connection, Transfer-Encoding,
   * Upgrade. RangeError for a Content-Length that is none
   */
  header(name: string, value: string | number | readonly string[]): this;
  /**
   * Sends a complete response.
   * @param status 200 … 599
   * @param type Content-Type, "" for none; one set with `header` takes precedence
   * @param body a string is sent as UTF-8; bytes are copied; of a stage, the bytes staged so far, whether or not they
   * are UTF-8
   * @returns false when the connection has ended; a stage still holds its bytes then, and is over otherwise
   * @throws RangeError when what was staged is larger than the ring; nothing was sent
   */
  send(status: number, type?: string, body?: Data | Stage, headers?: HeaderFields): boolean;
  /** Sends a value as JSON, "application/json". @throws TypeError when the value cannot be written as JSON */
  json(value: unknown, status?: number, headers?: HeaderFields): boolean;
  /**
   * Lets the server answer with a file of one of its `mounts`, an `internal` one too, such as behind a login: with
   * conditions, ranges and codings, and with the fields set by `header`, which replace those of the mount's options,
   * such as Cache-Control. ETag, Last-Modified and the like are the file's. If there is no such file, it responds
   * with 404.
   * @param path of the URL that the file would have, such as "/private/a.pdf"
   * @throws TypeError when it is not the path of a URL. A path that no mount of files has fails the request
   */
  pass(path: string): boolean;
  /** Sends a static body without copying it. */
  static(body: StaticBody, status?: number, headers?: HeaderFields): boolean;
  /**
   * Starts a response whose body is written piece by piece with `write` and `end`. Without a Content-Length, HTTP/1.1
   * clients get it chunked; for HTTP/1.0 clients the end of the connection ends the body.
   */
  begin(status: number, type?: string, headers?: HeaderFields): boolean;
  /**
   * Queues a piece of the body.
   * @returns true when queued. false when the client has left (then `sent` is true) or its queue is over `maxBacklog`:
   * nothing was queued, and `ready()` resolves when there is room.
   * @throws Error for 204, 205 and 304, which have no body; in a response to HEAD the pieces are dropped instead.
   * RangeError when the stated Content-Length leaves fewer bytes; nothing was queued
   */
  write(data: Data): boolean;
  /** Resolves when `write` may have room again, or the client has left. */
  ready(): Promise<void>;
  /**
   * Ends the body, after an optional last piece. A body with fewer bytes than its Content-Length is an error, which
   * resets the connection. Without `begin` it sends a complete 200 response, whose type is
   * "text/plain; charset=utf-8" for a string and "application/octet-stream" for bytes.
   */
  end(data?: Data): Promise<void>;
  /**
   * Sends the pieces of an iterable, as fast as the client takes them: the next is asked for when the last has left, or
   * was small and copied, so a piece's memory may be used again then. The pieces of all responses together take at most
   * `fileBuffers` bytes. Resolves when all pieces have left or the client has. When the client leaves, the iterator's
   * `return` is called at once. An async generator runs on to its next `yield`, so let `signal` abort what it waits
   * for. When the iterable throws, or its pieces have not the stated Content-Length, the connection is reset. When the
   * response has no body, as to HEAD, `return` is called before anything is read.
   */
  stream(
    status: number,
    type: string,
    body: AsyncIterable<Data> | Iterable<Data>,
    headers?: HeaderFields,
  ): Promise<void>;
  /** Makes the connection end after this response. */
  close(): this;
  /**
   * Accepts the WebSocket handshake with a 101 response. `data` is required unless `User` allows undefined.
   * @returns false when there was no room (the client gets a refusal) or the client has left
   */
  upgrade(...options: UpgradeArguments<User>): boolean;
  /**
   * Makes the request a stream of server-sent events (WHATWG HTML 9.2), which receives broadcasts, the messages of its
   * topics, and those sent to it alone. The handler's `open`, `drain` and `close` get it as a WebSocket whose `kind` is
   * "events". Needs the option `events`. A HEAD request gets the head alone.
   * @returns false when there was no room (an EventSource then reconnects later) or the client has left
   */
  events(...options: EventsArguments<User>): boolean;
}

/**
 * A WebSocket, or an event stream. The object remains valid after it closed: then each call does nothing and returns
 * false.
 */
export interface WebSocket<User = unknown> {
  /** The connection's id, for `server.send` and similar calls. */
  readonly id: ConnectionId;
  /**
   * "events" for a stream of server-sent events, by `res.events()`. It gets no pings, `ping` returns false, `pause`
   * does nothing, and nothing arrives from it. A message is its lines: CR, LF and CRLF arrive as LF. A binary message
   * arrives as base64. `close` sends an event named "ringcast-close" and ends the stream; a browser then reconnects
   * until it gets another status than 200.
   */
  readonly kind: "websocket" | "events";
  /**
   * True for an event stream with history (option `history`) whose client has returned: it gets all that was published
   * after its position, of broadcasts and of the topics that it subscribes to up to the end of `open`. Then it needs no
   * snapshot. Known when `open` is called.
   */
  readonly resumed: boolean;
  /** Why a client that named a position does not resume; undefined: it resumes, or named none. */
  readonly gap: StreamGap | undefined;
  /** The value given to `res.upgrade()` or `res.events()`. */
  data: User;
  /** The subprotocol; "" for none. */
  readonly protocol: string;
  /** The client's address, the `remoteAddress` of the request that was upgraded. */
  readonly remoteAddress: string;
  /** False once the connection has ended, or a Close frame was sent or received. */
  readonly open: boolean;
  /** The client's lag: bytes and frames of the ring not yet delivered to it, and bytes in its own queue. */
  readonly lag: { readonly bytes: number; readonly frames: number; readonly queued: number };
  /**
   * Queues a message for this client. Messages and publications arrive in the order of the calls.
   * @returns true when queued. false when the client has left, or its queue is over `maxBacklog`: then `drain` is
   * called when there is room.
   */
  send(data: Data, options?: SendOptions): boolean;
  /**
   * Resolves when the client's queue has room for another message, or the client has gone; at once when it has room
   * now. It never rejects. After `send` returned false it resolves when half of `maxBacklog` is free, as `drain` is
   * called, whether or not the handler has a `drain`.
   */
  ready(): Promise<void>;
  /**
   * Sends the messages of an iterable one after another, strings as text and bytes as binary. Each is asked for only
   * when the one before has left room in the client's queue, so a slow client slows its producer and no other. Other
   * messages to the client may come between them, also those of a second stream.
   *
   * When the client goes, or a message cannot be sent, the iterator's `return` is called at once. An async generator
   * runs on to its next `yield`.
   * @returns a promise of true when all messages are queued; of false when the client has gone first. It rejects with
   * the error that the iterable throws, with a TypeError for a message that is neither text nor bytes, and with a
   * RangeError for one larger than `replyBuffers`. When nothing waits for the promise, that error is the handler's: it
   * is reported, and closes the WebSocket with 1011
   * @throws TypeError when the value is not an iterable
   */
  stream(messages: AsyncIterable<Data> | Iterable<Data>): Promise<boolean>;
  /**
   * Subscribes to a topic. The client receives what is published to it from now on, until it unsubscribes or
   * disconnects. Subscribing again does nothing.
   * @param topic an exact name of 1 to 200 bytes
   * @returns false when the client has left
   * @throws RangeError when `maxTopics` or `maxSubscriptions` is reached
   */
  subscribe(topic: string): boolean;
  /** Ends a subscription. Messages published before still arrive. @returns false when there was no subscription */
  unsubscribe(topic: string): boolean;
  /** Returns whether this client subscribes to a topic. */
  isSubscribed(topic: string): boolean;
  /** The topics that this client subscribes to. */
  readonly subscriptions: readonly string[];
  /**
   * Publishes to the subscribers of a topic, except this client.
   * @returns false when there is no room: nothing was published
   */
  publish(topic: string, data: Data, options?: SendOptions): boolean;
  /**
   * Sends what is queued, then a Close frame, and waits for the peer's Close frame (RFC 6455 7.1.2).
   * @param code 1000, 1001, 1003, 1007–1014 or 3000–4999
   * @param reason at most 123 bytes of UTF-8
   */
  close(code?: number, reason?: string): boolean;
  /** Resets the connection at once. */
  terminate(): boolean;
  /** Sends a ping. @param data at most 125 bytes */
  ping(data?: Data): boolean;
  /**
   * Pauses the messages of this client. No message arrives after the call, not even one that has been read. The server
   * still reads about 64 KiB ahead, to notice when the client disconnects. Then TCP's backpressure stops the client.
   */
  pause(): void;
  /** Resumes the messages of this client, in order. */
  resume(): void;
}

/**
 * A message built piece by piece, in a buffer of its own, up to the size of the ring. You may keep a stage across an
 * `await`, have several open, and publish other messages meanwhile. When it grows too large, later calls do nothing and
 * publishing it throws a RangeError, once. After it has been published, every call throws. A stage that is never
 * published needs no cleanup.
 *
 * The message is text unless the options say `binary: true`, even if bytes were appended. If those bytes are not UTF-8,
 * publishing throws a TypeError, and the stage can be published again with other options.
 */
export interface Stage {
  /** Appends the value as text. @throws TypeError for any other type */
  text(value: string | number | boolean | bigint): this;
  /** Appends bytes, copied. @throws TypeError for any other type */
  bytes(data: Exclude<Data, string>): this;
  /**
   * Calls `fill` with a view of `n` bytes. `fill` writes into the view and returns how many bytes it wrote. Bytes that
   * it writes after it has returned are lost, and while it runs this stage cannot be used.
   */
  reserve(n: number, fill: (view: Uint8Array) => number): this;
  /** Bytes staged so far. */
  readonly length: number;
  /** Cuts the staged message to its first `n` bytes. */
  truncate(n: number): this;
  /** Drops the staged message. */
  discard(): void;
  /**
   * Publishes the message to every open WebSocket.
   * @returns false when there is no room: nothing was sent, and the stage still holds the message
   * @throws RangeError when it is larger than the ring
   * @throws TypeError when it is text and not UTF-8
   */
  broadcast(options?: PublishOptions): boolean;
  /** Publishes the message to a topic's subscribers. @returns as `broadcast` */
  publish(topic: string, options?: PublishOptions): boolean;
  /** Sends the message to one client. @returns as `broadcast` */
  send(id: ConnectionId, options?: SendOptions): boolean;
}

/** The server as seen from the thread on which the handler runs. */
export interface HandlerServer<User = unknown> {
  /** Publishes to every open WebSocket. @returns false when there is no room: nothing was published */
  broadcast(data: Data, options?: PublishOptions): boolean;
  /** Publishes to a topic's subscribers. A topic without subscribers is no error. @returns as `broadcast` */
  publish(topic: string, data: Data, options?: PublishOptions): boolean;
  /** Subscribes a WebSocket to a topic, like `ws.subscribe`. */
  subscribe(id: ConnectionId, topic: string): boolean;
  /** Ends a WebSocket's subscription, like `ws.unsubscribe`. */
  unsubscribe(id: ConnectionId, topic: string): boolean;
  /** Returns the number of subscribers of a topic; on the application's thread, of those of its handler. */
  subscriberCount(topic: string): number;
  /**
   * Returns the position of the latest publication: directly in the worker, where it is that of a `publish` or
   * `broadcast` just before; on the application's thread as a promise, after all messages published before. It is
   * opaque text, and positions of one start of the server sort in the order of the publications.
   */
  position(): string | Promise<string>;
  /** Queues a message for one client, like `ws.send`. */
  send(id: ConnectionId, data: Data, options?: SendOptions): boolean;
  /**
   * Resolves when a publication that was refused is worth a retry: in the worker a millisecond later, after a flush to
   * the clients. Rejects once the server has ended, with `code` "ERR_SERVER_ENDED". An ignored rejection is not
   * reported as unhandled.
   */
  ready(): Promise<void>;
  /** Starts a message that is built piece by piece. */
  stage(): Stage;
  /** Calls `fn` for each open WebSocket; on the application's thread, for those of its handler. */
  each(fn: (ws: WebSocket<User>) => void): void;
  /** Returns the number of open WebSockets; on the application's thread, that of its handler's. */
  count(): number;
  /** Returns counters and gauges: directly in the worker, as a promise on the application's thread. */
  stats(): Stats | Promise<Stats>;
  /** Returns the statistics as OpenMetrics text: directly in the worker, as a promise on the application's thread. */
  metrics(): string | Promise<string>;
  /** Makes a static body of bytes. It is sent without a copy, and kept as long as the returned object is. */
  body(data: Data, type: string): StaticBody;
}

/** The position of a piece in its message. */
export interface FragmentInfo {
  /** True for the first piece of the message. */
  readonly first: boolean;
  /** True for the last piece of the message. */
  readonly last: boolean;
  /** True when the message is binary. */
  readonly isBinary: boolean;
  /** Bytes of the piece's frame that are still to come. The message may have further frames. */
  readonly remaining: number;
}

/**
 * Decides from a request's head whether its body is streamed. With `optional: true` the handler may also run where
 * bodies cannot be streamed. There the body is complete when the handler is called.
 */
export type StreamChoice = ((req: Request) => boolean) & { readonly optional?: boolean };

/** A user's handler. Every member is optional. Without `request`, each request gets 404. */
export interface Handler<User = unknown> {
  /** Handles a request, sync or async. When it throws or rejects, the client gets 500 and the error is reported. */
  request?(req: Request, res: Response<User>): unknown;
  /**
   * Which requests with a body reach `request` as soon as their head has arrived, to read the body with `req.stream()`:
   * `true` for all, or a function of the head that returns true. The other requests, and upgrades, reach it when they
   * are complete. A client that expects 100 (Continue) receives it when the handler asks for the body. When the
   * function throws, the client gets 500.
   */
  streams?: boolean | StreamChoice;
  /**
   * Returns the subprotocol for an upgrade whose `res.upgrade()` names none: one of `req.protocols`. When it returns
   * undefined, the first that the client offers and the option `protocols` lists is used, or none.
   * @throws through `res.upgrade()`: its own error, or a TypeError when it returns one that the client did not offer
   */
  protocol?(req: Request): string | undefined;
  /**
   * Called when a TCP connection was accepted. The main handler alone has it and `disconnect`, because a connection
   * belongs to no virtual host before its first request.
   */
  connect?(connection: Connection): void;
  /**
   * Called when an HTTP connection ended that did not become a WebSocket. A handler on the application's thread gets
   * neither `connect` nor `disconnect` for a connection that came and ended while that thread was busy.
   */
  disconnect?(connection: Connection, info: CloseInfo): void;
  /** Called when a WebSocket opened; sync or async. Its messages wait for the promise. A throw closes it with 1011. */
  open?(ws: WebSocket<User>): unknown;
  /** Called for each message. `data` is a string for text, a copy of the bytes for binary. */
  message?(ws: WebSocket<User>, data: string | Uint8Array, isBinary: boolean): unknown;
  /**
   * Called for each piece of a message, instead of `message`, when the option `fragments` is on. `data` is a copy of
   * the bytes, for text too: UTF-8 that is valid so far and may be cut within a character. Combine it with `ws.pause()`
   * for messages larger than memory.
   */
  fragment?(ws: WebSocket<User>, data: Uint8Array, info: FragmentInfo): unknown;
  /** Called when there is room again after `send` returned false; see also `ws.ready` and `ws.stream`. */
  drain?(ws: WebSocket<User>): void;
  /** Called when a ping arrived. The pong is sent automatically. A throw closes the WebSocket with 1011. */
  ping?(ws: WebSocket<User>, data: Uint8Array): unknown;
  /** Called when a pong arrived. */
  pong?(ws: WebSocket<User>, data: Uint8Array): unknown;
  /** Called when a WebSocket ended, also one whose upgrade failed, so that you can release its `data`. */
  close?(ws: WebSocket<User>, info: CloseInfo): void;
  /** Called for each open WebSocket when the server shuts down, before its Close frame. */
  shutdown?(ws: WebSocket<User>): void;
}

/** The default export of a handler module. */
export type HandlerModule<User = unknown> =
  | Handler<User>
  | ((server: HandlerServer<User>) => Handler<User> | Promise<Handler<User>>);

/** Counters and gauges. Counters count from the server's start. */
export interface Stats {
  /** Open HTTP connections. */
  readonly connections: number;
  /** Open WebSockets. */
  readonly webSockets: number;
  /** Open connections that were handed to the upstream of `raw`; `connections` includes them. */
  readonly pipes: number;
  /** Connections that were handed to it. */
  readonly released: number;
  /** Connections accepted. */
  readonly accepted: number;
  /** Open event streams, which count among the WebSockets. */
  readonly eventStreams: number;
  /** Connections that became WebSockets. */
  readonly upgraded: number;
  /** Requests received. */
  readonly requests: number;
  /** Bytes read. */
  readonly bytesIn: number;
  /** Bytes written. */
  readonly bytesOut: number;
  /** Messages received from clients. */
  readonly messagesIn: number;
  /** Messages queued for single clients. */
  readonly messagesSent: number;
  /** Messages for single clients that were refused because the client's queue, or the pool, was full. */
  readonly messagesRefused: number;
  /**
   * Position of the latest publication: 8 digits that name this start of the server, "-", and in 11 digits of base 36
   * the number of publications, those to topics without subscribers included.
   */
  readonly position: string;
  /** Frames published into the ring. */
  readonly framesPublished: number;
  /** Bytes published into the ring. */
  readonly bytesPublished: number;
  /** Frames due for delivery: for each publication, the number of clients open at that moment. */
  readonly framesDue: number;
  /** Clients evicted. */
  readonly evicted: number;
  /** Topics that have subscribers, or that history keeps. */
  readonly topics: number;
  /** Event streams that resumed. */
  readonly resumed: number;
  /** Open event streams, with history, whose `open` has not settled. */
  readonly parked: number;
  /** Bytes of publications that readers were sent while they caught up. */
  readonly replayedBytes: number;
  /** Gaps that event streams were notified of, by reason. */
  readonly gaps: Readonly<Record<StreamGap["reason"], number>>;
  /** Topics that history has forgotten, because `maxTopics` were in use. */
  readonly topicsForgotten: number;
  /** Subscriptions of all clients. */
  readonly subscriptions: number;
  /** Closed connections, by the name of their cause. */
  readonly closed: Readonly<Record<string, number>>;
  /** Distinct addresses that connections are counted under (`maxConnectionsPerAddress`). */
  readonly addresses: number;
  /** The ring's size in bytes, and how many of them the slowest client has not been sent. */
  readonly ring: { readonly bytes: number; readonly used: number };
  /**
   * Distribution of the open WebSockets' lag, in bytes of the ring that were published and not delivered: `counts[i]`
   * of them lag by at most `bounds[i]` and more than `bounds[i - 1]`. The bounds are 0, the powers of four from 1 KiB
   * up, and the ring's size. Each call of `stats` computes it and visits each WebSocket.
   */
  readonly lag: { readonly bounds: readonly number[]; readonly counts: readonly number[] };
  /** The size of `receiveBuffers` in bytes, and how many of them are in use. */
  readonly receivePool: { readonly bytes: number; readonly used: number };
  /** The size of `replyBuffers` in bytes, and how many of them are in use. */
  readonly replyPool: { readonly bytes: number; readonly used: number };
  /** Bytes of pending responses larger than 64 KiB, which are outside `replyBuffers` and have a bound of that size. */
  readonly bodyBytes: number;
  /**
   * The size of `fileBuffers` in bytes, and how many of them are in use by pieces of streamed bodies; the responses
   * that wait for room for a piece; and the pieces so far that were dropped, because their clients did not read, to be
   * read again later.
   */
  readonly fileBuffers: {
    readonly bytes: number;
    readonly used: number;
    readonly waiting: number;
    readonly recalled: number;
  };
  /**
   * Compressed messages over 64 KiB that are being inflated or wait for it, and the bytes of their results so far,
   * which are at most twice `maxPayloadLength` and 8 MiB more.
   */
  readonly inflating: { readonly messages: number; readonly bytes: number };
  /** Bytes of the engine's memory, a constant. */
  readonly memory: number;
  /** Errors thrown by handlers. */
  readonly handlerErrors: number;
  /** Failures to accept a connection, and warnings about them. */
  readonly acceptErrors: number;
  /** Requests refused with 503 because the application's thread, or the pool, had no room for them. */
  readonly shed: number;
  /** Lines of the access log that could not be written: its file is too slow, full, or must not be written. */
  readonly linesDropped: number;
  /**
   * How connections are held, since the server listens on sockets: "handles" of Node without its streams, or
   * "sockets" (see the option `transport`).
   */
  readonly transport?: "handles" | "sockets" | undefined;
  /** Statistics of the threads of `pool`, counted like Piscina's. */
  readonly pool?: PoolStats;
}

/** Statistics of a pool of threads. */
export interface PoolStats {
  /** Number of threads. */
  readonly threads: number;
  /** Requests running in a thread. */
  readonly running: number;
  /** Requests waiting for a thread. */
  readonly queueSize: number;
  /** Requests completed, failed ones included. */
  readonly completed: number;
  /** Share of the threads' time since the start that was spent on requests, 0 … 1. */
  readonly utilization: number;
  /** Time of a request in a thread, in ms. */
  readonly runTime: { readonly mean: number; readonly p99: number; readonly max: number };
}
