// `ringcast/client`: a WebSocket that reconnects, for pages and programs. It works with any server, and is one small
// file when it is built.
//
// Invariant: there is either a socket or a timer that will make one, never both. After the end there is neither. Events
// of a socket that was given up are ignored.

import { type Dimmable, dimmer } from "./client/dim";

export type { Dimmable } from "./client/dim";

/** Data of a message: text or bytes. */
export type Data = string | ArrayBuffer | ArrayBufferView;

/** A message to send at each opening, or a function that makes it then, such as "resume from position n". */
export type Subscription = Data | (() => Data);

/** How a connection ended. When it never opened, the code is 1006. */
export interface Ending {
  /** The close code (RFC 6455 7.4). */
  readonly code: number;
  /** The reason in the server's Close frame. */
  readonly reason: string;
}

/** The argument of `onLost`. */
export interface Lost extends Ending {
  /** Number of the next attempt to reconnect, from 1. It restarts at 1 after a connection that lasted `maxDelay`. */
  readonly attempt: number;
  /** Time until that attempt, in ms; undefined when `retry` returned false, so that there is none. */
  readonly delay: number | undefined;
}

/** The part of a WebSocket that is used. Those of browsers, Node, Deno, Bun and `ws` have it. */
export interface Socket {
  /** Set to "arraybuffer". */
  binaryType: string;
  /** The state; 1: open. */
  readonly readyState: number;
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

/** Options of `connect`. */
export interface ConnectOptions {
  /** Subprotocols to offer. */
  protocols?: string | string[];
  /**
   * Longest wait before the first attempt to reconnect, in ms: 1 … `maxDelay`, default 1000. This bound doubles with
   * each attempt that fails. Each wait is a random part of its bound, so that clients that were disconnected together
   * do not reconnect all at once.
   */
  delay?: number;
  /**
   * Longest wait before any attempt, in ms: 1 … 2147483647, default 30000. After a connection that lasted at least as
   * long, the bound starts again at `delay`. After a shorter one it keeps growing, so that a server that closes
   * connections right after accepting them is not flooded.
   */
  maxDelay?: number;
  /** Messages to send at each opening, the first one included, in this order, before `onBack`. */
  subscriptions?: Iterable<Subscription>;
  /**
   * Dims the whole page, or an element, from the loss of the connection, or a failed attempt, to the next opening or
   * `close`. The element gets the attribute `data-connection-lost`, whose default look (grey, 40 % opaque) any rule of
   * the page's own style sheets overrides. Default: false.
   */
  dim?: boolean | Dimmable;
  /** Decides whether to reconnect. Default: yes, except after the application's own codes, 4000 … 4999. */
  retry?: (ending: Ending) => boolean;
  /** The WebSocket class to use; default: the global one. */
  WebSocket?: new (
    url: string,
    protocols?: string | string[],
  ) => Socket;
  /** Called for each message: text as a string, bytes as an ArrayBuffer. */
  onMessage?: (data: string | ArrayBuffer) => void;
  /** Called when a connection was lost (not after `close`), and when an attempt failed. */
  onLost?: (lost: Lost) => void;
  /** Called at each opening. `first` is true for the first one, before which no message can have been missed. */
  onBack?: (opening: { readonly first: boolean }) => void;
}

/** A WebSocket that reconnects. */
export interface Connection {
  /** True while the socket is open, so that `send` sends. */
  readonly isOpen: boolean;
  /** Sends a message. @returns false when the socket is not open: the message is dropped */
  send(data: Data): boolean;
  /** Sends a message now, if the socket is open, and at each later opening. A message already subscribed is ignored. */
  subscribe(subscription: Subscription): void;
  /** Stops sending that message, or what that function makes, at openings. To notify the server, use `send`. */
  unsubscribe(subscription: Subscription): void;
  /** Closes the connection for good, without a call of `onLost`. The arguments are those of WebSocket's `close`. */
  close(code?: number, reason?: string): void;
}

/** Longest delay of a timer in ms. With a longer one it would fire at once. */
const LONGEST = 2147483647;

const OPEN = 1;

/** The ending of a socket that closed without a Close frame. */
const UNCLEAN: Ending = { code: 1006, reason: "" };

const nothing = (): void => undefined;
const now = (): number => performance.now();

/** The part of a page's global object that is used. Other runtimes may lack each of these. */
interface Scope extends Partial<Pick<EventTarget, Listening>> {
  readonly location?: { readonly href: string };
  readonly document?: Pick<EventTarget, Listening> & { readonly hidden: boolean };
}

type Listening = "addEventListener" | "removeEventListener";

const scope = globalThis as Scope;

function refuse(name: string, value: unknown, what: string, Kind = TypeError): never {
  throw new Kind(`${name}: ${value} is not ${what}`);
}

/** Checks a delay. @throws TypeError, RangeError naming the option and its range */
function checkDelay(name: string, value: unknown, max: number): void {
  const isNumber = typeof value === "number";
  if (isNumber && value >= 1 && value <= max) return;
  refuse(name, value, `a number of ms from 1 to ${max}`, isNumber ? RangeError : TypeError);
}

/** Returns the address of a WebSocket. @throws TypeError when the URL is not one of ws or http */
function addressOf(url: string | URL): string {
  try {
    const address = `${new URL(url, scope.location?.href)}`.replace(/^http/, "ws");
    if (/^ws/.test(address)) return address;
  } catch {
    // Reported below.
  }
  return refuse("url", url, "a URL of ws or http");
}

/**
 * Connects, and reconnects whenever the connection is lost, until `close`.
 *
 * When the page becomes visible, or the browser goes online, the rest of a wait is cut to at most `delay`.
 * @param url a URL of ws, wss, http or https, in a page also a relative one; a function is called at each attempt
 * @throws TypeError, RangeError naming the argument that is wrong; errors of the WebSocket constructor
 */
export function connect(
  url: string | URL | (() => string | URL),
  options: ConnectOptions = {},
): Connection {
  // It is long because its state is in its closure, which is smaller than a class in what pages load.
  const {
    protocols = [],
    maxDelay = 30000,
    delay = Math.min(1000, maxDelay),
    subscriptions = [],
    dim = false,
    retry = ({ code }) => code < 4000 || code > 4999,
    WebSocket = globalThis.WebSocket,
    onMessage = nothing,
    onLost = nothing,
    onBack = nothing,
    ...others
  } = options;
  for (const name in others) refuse("options", name, "one of them");
  checkDelay("maxDelay", maxDelay, LONGEST);
  checkDelay("delay", delay, maxDelay);
  const functions = { retry, WebSocket, onMessage, onLost, onBack };
  for (const [name, value] of Object.entries(functions))
    if (typeof value !== "function") refuse(name, value, "a function");
  const shade = dimmer(dim) ?? refuse("dim", dim, "an element or a boolean");

  const due = new Set(subscriptions);
  let socket: Socket | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** Times on the clock of `now`: when the timer fires, and when the socket opened (0: not yet). */
  let firesAt = 0;
  let openedAt = 0;
  let attempt = 0;
  let first = true;

  function open(): void {
    const current = new WebSocket(addressOf(typeof url === "function" ? url() : url), protocols);
    socket = current;
    openedAt = 0;
    current.binaryType = "arraybuffer";
    current.onopen = () => {
      if (socket !== current) return;
      openedAt = now();
      shade(false);
      due.forEach(send);
      const opening = { first };
      first = false;
      onBack(opening);
    };
    current.onmessage = ({ data }: { data: string | ArrayBuffer }) => {
      if (socket === current) onMessage(data);
    };
    const lose = (ending: Ending): void => {
      if (socket === current) lost(ending);
    };
    current.onclose = lose;
    // A close event follows, but some versions of Node fire it only for a socket that was open.
    current.onerror = () => setTimeout(lose, 0, UNCLEAN);
  }

  /** Waits a random part of `bound` ms, then makes an attempt. @returns the wait in ms */
  function wait(bound: number): number {
    const ms = Math.random() * bound;
    firesAt = now() + ms;
    clearTimeout(timer);
    timer = setTimeout(() => {
      timer = undefined;
      try {
        open();
      } catch (error) {
        lost({ code: UNCLEAN.code, reason: `${error}` });
      }
    }, ms);
    return ms;
  }

  function lost({ code, reason }: Ending): void {
    socket = undefined;
    if (openedAt && now() - openedAt >= maxDelay) attempt = 0;
    const ms = wait(Math.min(maxDelay, delay * 2 ** attempt++));
    const again = retry({ code, reason });
    if (!again) end();
    shade(true);
    onLost({ code, reason, attempt, delay: again ? ms : undefined });
  }

  function hurry(): void {
    if (timer && firesAt - now() > delay && !scope.document?.hidden) wait(delay);
  }

  function listen(how: Listening): void {
    scope[how]?.("online", hurry);
    scope.document?.[how]("visibilitychange", hurry);
  }

  function end(): void {
    clearTimeout(timer);
    timer = socket = undefined;
    listen("removeEventListener");
  }

  function send(data: Subscription): boolean {
    const isOpen = socket?.readyState === OPEN;
    if (isOpen) socket?.send(typeof data === "function" ? data() : data);
    return isOpen;
  }

  open();
  listen("addEventListener");
  return {
    get isOpen() {
      return socket?.readyState === OPEN;
    },
    send,
    subscribe(subscription) {
      if (!due.has(subscription)) send(subscription);
      due.add(subscription);
    },
    unsubscribe(subscription) {
      due.delete(subscription);
    },
    close(code, reason) {
      socket?.close(code, reason);
      end();
      shade(false);
    },
  };
}
