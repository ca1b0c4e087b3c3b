// Connections that are WebSockets, plain or numbered: then each message begins with a line.
//
//   k2v9x0aa-0000000001f LF payload    a publication, with its position
//   LF payload                         a message for this client alone
//   ! LF {"type":"hello",…}            a control message; before the "!" there may be a position
//
// Invariant: a WebSocket is numbered when the server has agreed to it, by the subprotocol or by its first message.

import { type Data, type Ending, type Link, type LinkUser, UNCLEAN } from "./link";

/** The part of a WebSocket that is used. Those of browsers, Node, Deno, Bun and `ws` have it. */
export interface Socket {
  /** Set to "arraybuffer". */
  binaryType: string;
  /** The state; 1: open. */
  readonly readyState: number;
  /** The subprotocol that the server chose. It is used only with `positions`. */
  readonly protocol?: string;
  /** Called when the socket has opened. */
  onopen: ((event: never) => void) | null;
  /** Called for each message, with an event that has its `data`. */
  onmessage: ((event: never) => void) | null;
  /** Called when the socket has closed, with an event that has `code` and `reason`. */
  onclose: ((event: never) => void) | null;
  /** Called for errors; `onclose` follows. */
  onerror: ((event: never) => void) | null;
  /** Sends a message. */
  send(data: Data): void;
  /** Closes the socket. */
  close(code?: number, reason?: string): void;
}

/** A WebSocket class. */
export interface SocketClass {
  /** Connects. */
  new (url: string, protocols?: string | string[]): Socket;
}

/** The subprotocol of numbered WebSockets. */
export const NUMBERED = "ringcast.1";

/** Bytes of the longest line before a payload: a position, "!" and LF. */
const LINE_BYTES = 22;

const OPEN = 1;

/** Takes a message of a numbered WebSocket apart. @returns false: it is none */
function takeNumbered(data: string | ArrayBuffer, user: LinkUser): boolean {
  const isText = typeof data === "string";
  const head = isText
    ? data.slice(0, LINE_BYTES)
    : String.fromCharCode(...new Uint8Array(data, 0, Math.min(LINE_BYTES, data.byteLength)));
  const [line, position, mark] = /^([0-9a-z]{8}-[0-9a-z]{11})?(!?)\n/.exec(head) ?? [];
  if (line === undefined) return false;
  const payload = data.slice(line.length);
  if (!mark) user.message(payload, position);
  else user.control("", payload as string, position);
  return true;
}

/**
 * Opens a WebSocket.
 * @param asked how a numbered one was asked for, if at all
 */
export function openSocket(
  WebSocket: SocketClass,
  url: string,
  protocols: string | string[],
  asked: "protocol" | "query" | undefined,
  user: LinkUser,
): Link {
  const socket = new WebSocket(url, protocols);
  let isNumbered = false;
  let isFirst = true;
  const lose = ({ code, reason }: Ending): void => user.lost({ code, reason });
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    isNumbered = asked === "query" || (asked === "protocol" && socket.protocol === NUMBERED);
    user.opened(isNumbered);
  };
  socket.onmessage = ({ data }: { data: string | ArrayBuffer }) => {
    if (isFirst && isNumbered) isNumbered = typeof data === "string" && /^\S*!\n/.test(data);
    isFirst = false;
    if (!(isNumbered && takeNumbered(data, user))) user.message(data);
  };
  socket.onclose = lose;
  // A close event follows, but some versions of Node fire it only for a socket that was open.
  socket.onerror = () => setTimeout(lose, 0, { code: UNCLEAN, reason: "" });
  return {
    get isOpen() {
      return socket.readyState === OPEN;
    },
    send: (data) => socket.send(data),
    close: (code, reason) => socket.close(code, reason),
  };
}
