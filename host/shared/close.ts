// The table of close causes: text, HTTP status and close code for each. The engine's numbers and texts are derived from
// it. A cause without a row is a type error.

import { CloseReason } from "../../assembly/abi";
import { show } from "./text/show";

/** The meaning of a cause. */
export interface CloseRow {
  /** A line for logs; also the reason in the Close frame that a WebSocket gets. */
  readonly text: string;
  /** The HTTP status of the refusal; 0: none is sent. */
  readonly status: number;
  /** The code of the Close frame that a WebSocket gets; 0: none is sent. */
  readonly code: number;
}

const row = (text: string, status = 0, code = 0): CloseRow => Object.freeze({ text, status, code });

/** The meaning of each cause, by its name. */
export const CLOSE_TABLE: Readonly<Record<keyof typeof CloseReason, CloseRow>> = Object.freeze({
  Ok: row("served to the end"),
  Evicted: row("evicted to make room for a new WebSocket"),
  TooSlow: row("the client read slower than minSendRate"),
  PeerReset: row("the client reset the connection"),
  LargeRequest: row("the request's body is larger than maxBodyLength or maxStreamLength", 413),
  BadRequest: row("the request is malformed", 400),
  MissingContentLength: row("the request has no Content-Length", 411),
  UnknownMethod: row("the request's method is not known", 501),
  PathTooLong: row("the request's target is longer than maxTargetLength", 414),
  WsBadKey: row("Sec-WebSocket-Key is not 16 bytes in base64", 400),
  WsUnexpectedVersion: row("Sec-WebSocket-Version is not 13", 426),
  WsMissingKey: row("the handshake has no Sec-WebSocket-Key", 400),
  WsMissingVersion: row("the handshake has no Sec-WebSocket-Version", 426),
  WsBadMask: row("a frame of the client is not masked", 0, 1002),
  WsUnknownOpcode: row("a frame has an unknown opcode", 0, 1002),
  WsOversizeFrame: row("a frame is larger than maxPayloadLength", 0, 1009),
  WsClientTooSlow: row("the client fell a ring behind"),
  WsMissingUpgrade: row("the handshake has no Upgrade field, or no Connection: Upgrade", 400),
  WsExpectedCont: row("a new message began within a fragmented one", 0, 1002),
  WsExpectedText: row("a continuation without a message", 0, 1002),
  WsControlFrameTooLarge: row("a control frame is larger than 125 bytes", 0, 1002),
  UnsupportedTransferEncoding: row("the transfer coding is not known", 501),
  PeerClosed: row("the client closed"),
  PeerEnded: row("the client ended without closing"),
  WsReservedBits: row("a reserved bit is set", 0, 1002),
  WsBadUtf8: row("a text is not valid UTF-8", 0, 1007),
  WsTooManyFragments: row("a message has more than maxFragments frames", 0, 1008),
  WsBadLength: row("a length is not in its shortest form", 0, 1002),
  WsFragmentedControl: row("a control frame is fragmented", 0, 1002),
  WsBadClosePayload: row("a Close frame's payload is not valid", 0, 1002),
  WsMessageTooLarge: row("a message is larger than maxPayloadLength", 0, 1009),
  LargeHead: row("the request's head is larger than maxHeadLength", 431),
  TooManyHeaders: row("the request has more than maxHeaders fields", 431),
  UnsupportedVersion: row("the HTTP version is not 1.0 or 1.1", 505),
  UnsupportedExpectation: row("the expectation is not 100-continue", 417),
  MissingHost: row("an HTTP/1.1 request has no Host", 400),
  BadHost: row("the Host field is repeated or not valid", 400),
  BadContentLength: row("the Content-Length is repeated or not valid", 400),
  BadTransferEncoding: row("the Transfer-Encoding is not valid here", 400),
  BadChunk: row("a chunk is not valid", 400),
  HeadTimeout: row("the request's head took longer than headersTimeout", 408),
  RequestTimeout: row("the request took longer than requestTimeout", 408),
  KeepAliveTimeout: row("no further request within keepAliveTimeout"),
  WriteTimeout: row("a write made no progress for writeTimeout"),
  IdleTimeout: row("no sign of life for idleTimeout"),
  CloseTimeout: row("the client did not end, or read the end of its answer, within closeTimeout"),
  NoBuffer: row("no buffer was free", 503, 1013),
  NoRoom: row("no slot was free", 503, 1013),
  OriginRefused: row("the origin is not allowed", 403),
  AddressLimit: row("too many connections from this address", 429, 1008),
  Rate: row("WebSocket messages arrived faster than messageRate", 429, 1008),
  Shutdown: row("the server shuts down", 503, 1001),
  HandlerError: row("the handler failed", 500, 1011),
  Application: row("closed by the application"),
  NetworkError: row("the network failed"),
  WsBadDeflate: row("a compressed message cannot be inflated", 0, 1007),
  HostRefused: row("the request's host is not allowed, or not on this connection", 421),
  BadProxyHeader: row("the PROXY header is missing or not valid"),
  ProxyRefused: row("the peer is not one that `proxyProtocol` names"),
  TlsFailed: row("the TLS handshake failed, or took longer than handshakeTimeout"),
  AddressBuffers: row("this address held as many buffers as it may", 429, 1013),
  EvictedEnded: row("evicted to make room: the client had ended its side, its answer was pending"),
  EvictedIdle: row("evicted to make room: between two requests"),
  EvictedUnfinished: row("evicted to make room: its request came too slowly"),
  EvictedUnread: row(
    "evicted to make room: the client did not read its answer for 5 s; 15 s where it took room in fileBuffers",
  ),
  SendOverrun: row("a message accepted by send(id) found no room", 0, 1013),
  UpstreamFailed: row("the upstream could not be reached"),
  UpstreamTimeout: row(
    "the upstream did not answer in time, or a write to it made no progress for writeTimeout",
  ),
  UpstreamReset: row("the upstream reset the connection"),
  ReceiveTooSlow: row("a body or message came slower than minReceiveRate", 408, 1008),
});

/** Causes of clients that were closed to make room for others. */
export const EVICTIONS: ReadonlySet<keyof typeof CloseReason> = new Set([
  ...(["WsClientTooSlow", "Evicted", "EvictedEnded"] as const),
  ...(["EvictedIdle", "EvictedUnfinished", "EvictedUnread"] as const),
]);

/** Returns the name of a reason, as counters and `CloseInfo` use it. */
export function reasonName(reason: number): keyof typeof CloseReason {
  return CloseReason[reason] as keyof typeof CloseReason;
}

/** Checks a close code and reason. @throws RangeError, TypeError */
export function checkClose(code: number, reason: string): void {
  const valid =
    Number.isInteger(code) &&
    ((code >= 1000 && code <= 1003) ||
      (code >= 1007 && code <= 1014) ||
      (code >= 3000 && code <= 4999));
  if (!valid) throw new RangeError(`code: ${show(code)} is not 1000–1003, 1007–1014 or 3000–4999`);
  if (typeof reason !== "string") throw new TypeError(`reason: ${show(reason)} is not a string`);
  if (new TextEncoder().encode(reason).length > 123)
    throw new RangeError(`reason: ${show(reason)} is longer than 123 bytes`);
}
