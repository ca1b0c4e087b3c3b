// HTTP bytes in: parses PROXY headers, heads and bodies, and emits Request events.
//
// Invariant: a connection has at most one pending request. The bytes after it stay unparsed.

import { CloseReason, EventKind, Param, Shut, Trait } from "../abi";
import { ensure, handBack, keepHttp, leftover } from "./buffer";
import { ADDRESS } from "../kernel/address";
import { IS_FOREIGN, IS_HTTP, judgeFirst } from "../parse/first";
import { DONE, MORE, beginHead, closeUp, parseBody, parseHead, wantsContinue } from "../parse/http";
import { parseProxy, proxyHead } from "../parse/proxy";
import { parseUpload } from "../reply/body";
import { rearm } from "../reply/deadline";
import { dropInput, finishWith, kill, leaveQueue } from "../reply/end";
import { emitForeign } from "../reply/release";
import { refuse, sendContinue } from "../reply/response";
import { emit, eventsFull } from "../state/events";
import { List } from "../state/lists";
import { blockBytes } from "../state/pool";
import { isScarce } from "../state/queue";
import { noBuffer } from "../state/quota";
import { endPaceIn, fedBytes, paceIn } from "../state/rate";
import {
  Conn,
  Flag,
  State,
  engine,
  has,
  paramU32,
  receivePool,
  HttpConn,
  HttpFlag,
  hasHttp,
  httpOf,
} from "../state/records";
import { enlist, isIdle, leaveList, readOn } from "../state/room";
import { dataOf, locate, tableOf } from "../state/slots";

/** Appends the first `n` bytes of the window to an HTTP connection's buffer. */
function append(c: Conn, n: u32): bool {
  const capacity = blockBytes(receivePool, c.order);
  if (c.start > 0 && engine.tableBytes + c.end + n > capacity) {
    const data = (c.buffer as usize) + engine.tableBytes;
    memory.copy(data, data + c.start, c.end - c.start);
    c.end -= c.start;
    c.start = 0;
    // This also applies when no larger buffer is free now, because the pending request has moved.
    if (c.state == State.Request) locate(httpOf(c));
  }
  if (!ensure(c, engine.tableBytes + c.end, engine.tableBytes + c.end + n)) return false;
  memory.copy((c.buffer as usize) + engine.tableBytes + c.end, engine.window, n);
  c.end += n;
  if (c.state == State.Request) locate(httpOf(c));
  return true;
}

/** Emits a request, or its head. */
function ask(c: HttpConn): void {
  locate(c);
  emit(EventKind.Request, c, c.head, c.headLength, c.traits);
}

/** Number of bytes after a PROXY header that are not for the engine, because TLS begins with them. */
let afterHeader: u32 = 0;

/** Parses the PROXY header. Returns false when it is not whole yet. */
function takeProxy(c: HttpConn): bool {
  const data = dataOf(c);
  const result = parseProxy(data + c.start, data + c.end);
  if (result == MORE) return false;
  if (result != DONE) {
    kill(c, result, Shut.Reset);
    return true;
  }
  c.start += proxyHead.bytes;
  c.marks &= ~HttpFlag.Proxied;
  if (hasHttp(c, HttpFlag.Unsecured)) {
    afterHeader = c.end - c.start;
    dropInput(c);
  } else {
    // The embedder sets the address to count it under before a request is parsed.
    c.flags |= Flag.MessageOut;
    // From now on its silence counts.
    if (hasHttp(c, HttpFlag.Undecided)) rearm(c);
  }
  emit(EventKind.Proxied, c, ADDRESS, proxyHead.hasClient ? 16 : 0, 0);
  // The event counts as an inbound one, so that it is within the limit of `eventsFull`.
  engine.inboundEvents++;
  return true;
}

/** Returns true when the first bytes are known to be HTTP. The embedder is notified when they are not. */
function isHttp(c: HttpConn): bool {
  const data = dataOf(c);
  const verdict = judgeFirst(c, data + c.start, data + c.end);
  if (verdict == IS_HTTP) {
    c.marks &= ~HttpFlag.Undecided;
    beginHead(c);
    return true;
  }
  // After the end of the client's side nothing can complete them to a request.
  if (verdict == IS_FOREIGN || has(c, Flag.PeerEnded)) emitForeign(c);
  else readOn(c, fedBytes);
  return false;
}

/**
 * Returns true when the head of a request has begun. Empty lines before it, and the first half of one, do not begin it.
 */
function hasBegun(c: Conn): bool {
  const bytes = c.end - c.start;
  return bytes > 1 || (bytes == 1 && load<u8>(dataOf(c) + c.start) != 0x0d);
}

/**
 * Parses until a request is emitted, more bytes are needed, or the connection ends. It is long because it is one loop
 * over the states of a request, each of which can end it.
 */
export function parseHttp(c: HttpConn): void {
  if (hasHttp(c, HttpFlag.Proxied) && c.start != c.end && !eventsFull() && takeProxy(c)) return;
  while (c.state == State.Head || c.state == State.Body) {
    if (has(c, Flag.Held) || hasHttp(c, HttpFlag.Foreign) || eventsFull()) return;
    if (c.state == State.Head) {
      if (c.start == c.end || hasHttp(c, HttpFlag.Proxied)) break;
      if (hasHttp(c, HttpFlag.Undecided) && !isHttp(c)) {
        if (hasHttp(c, HttpFlag.Foreign)) return;
        break;
      }
      if (c.backlog > paramU32(Param.Backlog) || (c.backlog > 0 && isScarce(c))) {
        // The client does not read its responses, so no further request is parsed until it does.
        c.flags |= Flag.Clogged;
        // Its request is not late, because the server does not parse it.
        if (c.list != List.Unread) enlist(c, List.Unread);
        return;
      }
      const result = parseHead(c, dataOf(c), tableOf(c));
      const begun = hasBegun(c);
      if (isIdle(c) && begun) c.since = engine.now;
      if (result == MORE) {
        const isReading = c.list == List.Reading;
        if (begun || c.requests == 0) {
          readOn(c, fedBytes);
          if (!isReading) rearm(c);
        } else if (isReading || c.list == List.None) {
          // After a response there were only empty lines, so the connection is idle.
          enlist(c, c.backlog != 0 ? List.Unread : List.Idle);
          rearm(c);
        }
        break;
      }
      if (result != DONE) {
        refuse(c, result);
        return;
      }
      leaveList(c);
      if (c.traits & Trait.BodyToCome) {
        c.state = State.Request;
        c.marks |= HttpFlag.Asking;
        ask(c);
        return;
      }
      c.state = State.Body;
      endPaceIn(c);
    }
    const result = parseBody(c, dataOf(c));
    if (result == MORE) {
      paceIn(c);
      readOn(c, fedBytes);
      if (wantsContinue(c) && !hasHttp(c, HttpFlag.Continued)) {
        // 100 (Continue) is sent only when the client has not begun to send the body (RFC 9110 10.1.1). For an upgrade
        // it is sent before the 101 in any case.
        const begun = c.end - c.start != (c.headLength as u32);
        if (!begun) sendContinue(c);
        if (!begun || !(c.traits & Trait.Upgrade)) c.marks |= HttpFlag.Continued;
      }
      rearm(c);
      break;
    }
    if (result != DONE) {
      refuse(c, result);
      return;
    }
    leaveList(c);
    c.state = State.Request;
    ask(c);
    return;
  }
  if (c.state != State.Head && c.state != State.Body) return;
  // More bytes are needed. A connection with unparsed bytes keeps them, and one without owns no buffer.
  if (has(c, Flag.PeerEnded)) {
    finishWith(c, c.start == c.end ? CloseReason.PeerClosed : CloseReason.PeerEnded);
  } else if (c.start == c.end) {
    dropInput(c);
  } else if (has(c, Flag.InWindow) && !keepHttp(c)) {
    if (c.bodyLength > 0) {
      // A chunked body was decoded in place, so it cannot be parsed again.
      leaveQueue(c);
      refuse(c, noBuffer(c));
      return;
    }
    // The embedder keeps the bytes of this head. It is parsed from its start when there is a buffer.
    c.state = State.Head;
    c.flags &= ~Flag.InWindow;
    engine.fedSlot = 0;
    beginHead(c);
  } else if (c.state == State.Body) {
    closeUp(c);
  }
}

export function feedHttp(c: HttpConn, n: u32): u32 {
  afterHeader = 0;
  if (c.buffer != 0) {
    if (!append(c, n)) return 0;
    parseHttp(c);
    // The window is empty. Bytes left in the buffer count as not consumed, so that `resume` follows.
    return n - min(n, afterHeader + leftover(c));
  }
  c.flags |= Flag.InWindow;
  engine.fedSlot = c.slot + 1;
  c.start = 0;
  c.end = n;
  if (c.scan != 0 && c.state == State.Head) beginHead(c);
  if (hasHttp(c, HttpFlag.Upload)) parseUpload(c);
  else parseHttp(c);
  return n - (has(c, Flag.Waiting) ? handBack(c) : afterHeader + leftover(c));
}
