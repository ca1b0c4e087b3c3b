// What a close reason means on the wire: the HTTP status of a refusal, the code of a Close frame.
// The texts, and the same numbers for the host, stand in host/close.ts; a test compares the two.

import { CloseReason } from "./abi";

/** HTTP status with which a request is refused; 0: the connection is closed without an answer. */
export function closeStatus(reason: i32): u32 {
  switch (reason) {
    case CloseReason.LargeRequest:
      return 413;
    case CloseReason.BadRequest:
    case CloseReason.WsBadKey:
    case CloseReason.WsMissingKey:
    case CloseReason.WsMissingUpgrade:
    case CloseReason.MissingHost:
    case CloseReason.BadHost:
    case CloseReason.BadContentLength:
    case CloseReason.BadTransferEncoding:
    case CloseReason.BadChunk:
      return 400;
    case CloseReason.MissingContentLength:
      return 411;
    case CloseReason.UnknownMethod:
    case CloseReason.UnsupportedTransferEncoding:
      return 501;
    case CloseReason.PathTooLong:
      return 414;
    case CloseReason.LargeHead:
    case CloseReason.TooManyHeaders:
      return 431;
    case CloseReason.WsUnexpectedVersion:
    case CloseReason.WsMissingVersion:
      return 426;
    case CloseReason.UnsupportedVersion:
      return 505;
    case CloseReason.UnsupportedExpectation:
      return 417;
    case CloseReason.HeadTimeout:
    case CloseReason.RequestTimeout:
    case CloseReason.ReceiveTooSlow:
      return 408;
    case CloseReason.NoBuffer:
    case CloseReason.NoRoom:
    case CloseReason.Shutdown:
      return 503;
    case CloseReason.HandlerError:
      return 500;
    case CloseReason.OriginRefused:
      return 403;
    case CloseReason.HostRefused:
      return 421;
    case CloseReason.AddressLimit:
    case CloseReason.AddressBuffers:
    case CloseReason.Rate:
      return 429;
    default:
      return 0;
  }
}

/** Code of the Close frame with which a WebSocket is failed (RFC 6455 7.4.1); 0: no Close frame is sent. */
export function closeCode(reason: i32): u32 {
  switch (reason) {
    case CloseReason.WsBadMask:
    case CloseReason.WsUnknownOpcode:
    case CloseReason.WsExpectedCont:
    case CloseReason.WsExpectedText:
    case CloseReason.WsControlFrameTooLarge:
    case CloseReason.WsReservedBits:
    case CloseReason.WsBadLength:
    case CloseReason.WsFragmentedControl:
    case CloseReason.WsBadClosePayload:
      return 1002;
    case CloseReason.WsBadUtf8:
    case CloseReason.WsBadDeflate:
      return 1007;
    case CloseReason.WsTooManyFragments:
    case CloseReason.Rate:
    case CloseReason.AddressLimit:
    case CloseReason.ReceiveTooSlow:
      return 1008;
    case CloseReason.WsOversizeFrame:
    case CloseReason.WsMessageTooLarge:
      return 1009;
    case CloseReason.HandlerError:
      return 1011;
    case CloseReason.NoBuffer:
    case CloseReason.NoRoom:
    case CloseReason.AddressBuffers:
      return 1013;
    case CloseReason.Shutdown:
      return 1001;
    default:
      return 0;
  }
}
