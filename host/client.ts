// `ringcast/client`: a WebSocket or an event stream that reconnects, for pages and programs. It works with any server,
// and is one small file when it is built. With positions it continues where the last connection broke off.
//
// Invariant: there is either a connection or a timer that will make one, never both. After the end there is neither.
// Events of a connection that was given up are ignored.

import { type Dimmable, dimmer } from "./client/dim";
import { type Data, type Ending, type Link, type LinkUser, UNCLEAN, now } from "./client/link";
import { NUMBERED, type SocketClass, openSocket } from "./client/socket";
import { type Fetch, openStream, withQuery } from "./client/stream";

export type { Dimmable } from "./client/dim";
export type { Data, Ending } from "./client/link";
export type { Socket, SocketClass } from "./client/socket";
export type { Fetch } from "./client/stream";

/** A message to send at each opening, or a function that makes it then, such as "resume from position n". */
export type Subscription = Data | (() => Data);

/** The argument of `onLost`. */
export interface Lost extends Ending {
  /** Number of the next attempt to reconnect, from 1. It restarts at 1 after a connection that lasted `maxDelay`. */
  readonly attempt: number;
  /** Time until that attempt, in ms; undefined when `retry` returned false, so that there is none. */
  readonly delay: number | undefined;
}

/** The argument of `onBack`. */
export interface Opening {
  /** True for the first one, before which no message can have been missed. */
  readonly first: boolean;
  /** True when messages have positions, so that nothing is missed unless `onGap` reports it. */
  readonly positions: boolean;
}

/** More about a message. */
export interface MessageInfo {
  /** Its position; undefined for a message to this client alone, and without positions. */
  readonly position: string | undefined;
  /** The name of its event, such as its topic; undefined: it has none. */
  readonly event: string | undefined;
}

/** Options of `connect`. */
export interface ConnectOptions {
  /** Subprotocols to offer. Not with `events`. */
  protocols?: string | string[];
  /**
   * Opens a stream of server-sent events, by `fetch`, instead of a WebSocket. It has positions, and sends nothing.
   * Bytes arrive as base64. Default: false.
   */
  events?: boolean;
  /**
   * Asks for a WebSocket with positions: by the subprotocol "ringcast.1", or beside `protocols` by `?ringcast=1`. A
   * server that does not know it gets one more attempt without; `onBack` says so. Default: false.
   */
  positions?: boolean;
  /** The position after which to continue, such as the `position` of an earlier connection. Default: none. */
  since?: string | undefined;
  /**
   * Longest wait before the first attempt to reconnect, in ms: 1 … `maxDelay`, default 1000. This bound doubles with
   * each attempt that fails. Each wait is a random part of its bound, so that clients that were disconnected together
   * do not reconnect all at once.
   */
  delay?: number;
  /**
   * Longest wait before any attempt, in ms: 1 … 2147483647, default 30000. After a connection that lasted at least as
   * long, the bound starts again at `delay`. After a shorter one it keeps growing, so that a server that closes
   * connections right after accepting them is not flooded. The `retry` of an event stream is added, at most as much.
   */
  maxDelay?: number;
  /** Time after which an attempt that has not opened is given up, in ms: 1 … 2147483647, default 15000. */
  openTimeout?: number;
  /**
   * Silence after which an event stream counts as lost, in ms: 1 … 2147483647, default 37500. A server sends comments;
   * Ringcast's come after 15 to 19 s.
   */
  maxSilence?: number;
  /** Messages to send at each opening, the first one included, in this order, before `onBack`. Not with `events`. */
  subscriptions?: Iterable<Subscription>;
  /**
   * Dims the whole page, or an element, from the loss of the connection, or a failed attempt, to the next opening or
   * `close`. The element gets the attribute `data-connection-lost`, whose default look (grey, 40 % opaque) any rule of
   * the page's own style sheets overrides. Default: false.
   */
  dim?: boolean | Dimmable;
  /**
   * Decides whether to reconnect. Default: yes, except after the application's own codes, 4000 … 4999. An event stream
   * also ends after code 1000, and after status 204 or 400 … 499 except 408, 425 and 429.
   */
  retry?: (ending: Ending) => boolean;
  /** The WebSocket class to use; default: the global one. */
  WebSocket?: SocketClass;
  /** The `fetch` to use for event streams; default: the global one. */
  fetch?: Fetch;
  /** More of the request for an event stream, such as `{ credentials: "include" }` or `{ headers }`. */
  request?: RequestInit;
  /** Called for each message: text as a string, bytes as an ArrayBuffer. */
  onMessage?: (data: string | ArrayBuffer, info: MessageInfo) => void;
  /**
   * Called when messages were missed, with the server's reason, and the topic when it concerns only one. The reason
   * "unsupported" means that the server does not continue after a position, so that it is not known what was missed.
   */
  onGap?: (reason: string, topic: string | undefined) => void;
  /** Called when a connection was lost (not after `close`), and when an attempt failed. */
  onLost?: (lost: Lost) => void;
  /** Called at each opening. */
  onBack?: (opening: Opening) => void;
}

/** A WebSocket or an event stream that reconnects. */
export interface Connection {
  /** True while it is open, so that `send` of a WebSocket sends. */
  readonly isOpen: boolean;
  /** The largest position that has arrived; undefined: none. */
  readonly position: string | undefined;
  /** Sends a message. @returns false when there is no open WebSocket: the message is dropped */
  send(data: Data): boolean;
  /**
   * Sends a message now, if the socket is open, and at each later opening. A message already subscribed is ignored.
   * @throws TypeError for an event stream
   */
  subscribe(subscription: Subscription): void;
  /** Stops sending that message, or what that function makes, at openings. To notify the server, use `send`. */
  unsubscribe(subscription: Subscription): void;
  /** Closes the connection for good, without a call of `onLost`. The arguments are those of WebSocket's `close`. */
  close(code?: number, reason?: string): void;
}

/** Longest delay of a timer in ms. With a longer one it would fire at once. */
const LONGEST = 2147483647;

/** Statuses of the 400s after which the same request may be answered. */
const PASSING = [408, 425, 429];

const POSITION = /^[0-9a-z]{8}-[0-9a-z]{11}$/;

const nothing = (): void => undefined;

/** The part of a page's global object that is used. Other runtimes may lack each of these. */
interface Scope extends Partial<Pick<EventTarget, Listening>> {
  readonly WebSocket?: SocketClass;
  readonly fetch?: Fetch;
  readonly location?: { readonly href: string };
  readonly document?: Pick<EventTarget, Listening> & { readonly hidden: boolean };
}

type Listening = "addEventListener" | "removeEventListener";

const scope = globalThis as Scope;

function refuse(name: string, value: unknown, what: string, Kind = TypeError): never {
  throw new Kind(`${name}: ${value} is not ${what}`);
}

/** Checks a time. @throws TypeError, RangeError naming the option and its range */
function checkMillis(name: string, value: unknown, max: number): void {
  const isNumber = typeof value === "number";
  if (isNumber && value >= 1 && value <= max) return;
  refuse(name, value, `a number of ms from 1 to ${max}`, isNumber ? RangeError : TypeError);
}

/** Returns an address with a scheme, "ws" or "http". @throws TypeError when the URL is not one of ws or http */
function addressOf(url: string | URL, scheme: string): URL {
  try {
    const address = `${new URL(url, scope.location?.href)}`.replace(/^(?:http|ws)(?=s?:)/, scheme);
    if (address.startsWith(scheme)) return new URL(address);
  } catch {
    // Reported below.
  }
  return refuse("url", url, "a URL of ws or http");
}

/** Returns a control message. */
function parsed(text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}

/** Returns the later of two positions. Where they cannot be compared it is the one that came last. */
function later(old: string | undefined, next: string): string | undefined {
  const isEarlier =
    old !== undefined &&
    POSITION.test(old) &&
    POSITION.test(next) &&
    old.slice(0, 8) === next.slice(0, 8) &&
    next < old;
  return isEarlier ? old : next || undefined;
}

/** Returns true unless an event stream, or a WebSocket, has ended for good. */
function isPassing(isStream: boolean, { code, status = 0 }: Ending): boolean {
  if (code >= 4000 && code <= 4999) return false;
  if (isStream && code === 1000) return false;
  return status !== 204 && !(status >= 400 && status < 500 && !PASSING.includes(status));
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
    events = false,
    positions = false,
    since,
    maxDelay = 30000,
    delay = Math.min(1000, maxDelay),
    openTimeout = 15000,
    maxSilence = 37500,
    subscriptions = [],
    dim = false,
    retry = (ending) => isPassing(events, ending),
    WebSocket = scope.WebSocket as SocketClass,
    fetch = scope.fetch as Fetch,
    request = {},
    onMessage = nothing,
    onGap = nothing,
    onLost = nothing,
    onBack = nothing,
    ...others
  } = options;
  for (const name in others) refuse("options", name, "one of them");
  const flags = { events, positions };
  for (const [name, value] of Object.entries(flags))
    if (typeof value !== "boolean") refuse(name, value, "a boolean");
  if (since !== undefined && typeof since !== "string") refuse("since", since, "a string");
  checkMillis("maxDelay", maxDelay, LONGEST);
  checkMillis("delay", delay, maxDelay);
  checkMillis("openTimeout", openTimeout, LONGEST);
  checkMillis("maxSilence", maxSilence, LONGEST);
  const made = events ? { fetch } : { WebSocket };
  const functions = { retry, ...made, onMessage, onGap, onLost, onBack };
  for (const [name, value] of Object.entries(functions))
    if (typeof value !== "function") refuse(name, value, "a function");
  if (events)
    for (const name of ["protocols", "subscriptions"] as const)
      if (options[name] !== undefined) refuse(name, options[name], "for event streams");
  const shade = dimmer(dim) ?? refuse("dim", dim, "an element or a boolean");

  const due = new Set(subscriptions);
  const asking = !positions || events ? undefined : protocols.length > 0 ? "query" : "protocol";
  let link: Link | undefined;
  /** The timer of the next attempt, and that of the present one. */
  let timer: ReturnType<typeof setTimeout> | undefined;
  let guard: ReturnType<typeof setTimeout> | undefined;
  /** Number of the present attempt. Events of earlier ones are ignored. */
  let serial = 0;
  /** Times on the clock of `now`: when the timer fires, and when the connection opened (0: not yet). */
  let firesAt = 0;
  let openedAt = 0;
  let attempt = 0;
  let first = true;
  /** The time for which the server asks, in ms. */
  let pause = 0;
  let position = since;
  /** True once the server has agreed to a WebSocket with positions. */
  let isKnown = false;
  /** True while messages may have been missed without a word, and once the server has said hello. */
  let isUnsure = false;
  let isGreeted = false;

  /** Makes an attempt. @param asked how a WebSocket with positions is asked for, if at all */
  function open(asked: "protocol" | "query" | undefined): void {
    const own = ++serial;
    openedAt = 0;
    const ours =
      <Args extends unknown[]>(run: (...args: Args) => void) =>
      (...args: Args): void => {
        if (own === serial) run(...args);
      };
    const user: LinkUser = {
      opened: ours(opened),
      message: ours(message),
      control: ours(control),
      retry: ours((ms) => {
        pause = Math.min(ms, maxDelay);
      }),
      lost: ours((ending) => {
        // A server that does not know the subprotocol makes the handshake fail like any that is away.
        if (asked === "protocol" && !openedAt && !isKnown) start(undefined);
        else lost(ending);
      }),
    };
    const address = addressOf(typeof url === "function" ? url() : url, events ? "http" : "ws");
    if (asked && position !== undefined) withQuery(address, "since", position);
    if (asked === "query") withQuery(address, "ringcast", "1");
    const offer = asked === "protocol" ? [NUMBERED] : protocols;
    clearTimeout(guard);
    guard = setTimeout(
      ours(() => abandon({ code: UNCLEAN, reason: "timeout" })),
      openTimeout,
    );
    link = events
      ? openStream(address, { fetch, init: request, since: position, maxSilence }, user)
      : openSocket(WebSocket, `${address}`, offer, asked, user);
  }

  /** Makes an attempt that may throw. */
  function start(asked: "protocol" | "query" | undefined): void {
    try {
      open(asked);
    } catch (error) {
      lost({ code: UNCLEAN, reason: `${error}` });
    }
  }

  function opened(isNumbered: boolean): void {
    clearTimeout(guard);
    openedAt = now();
    shade(false);
    isKnown ||= isNumbered;
    isUnsure = !first || since !== undefined;
    isGreeted = false;
    due.forEach(send);
    const opening = { first, positions: isNumbered };
    first = false;
    onBack(opening);
    if (positions && !isNumbered) settle();
  }

  /** Reports what may have been missed, unless the server has said that nothing was. */
  function settle(): void {
    if (!isUnsure) return;
    isUnsure = false;
    onGap("unsupported", undefined);
  }

  function message(data: string | ArrayBuffer, at?: string, event?: string): void {
    if (at !== undefined || ((events || positions) && !isGreeted)) settle();
    if (at !== undefined) position = later(position, at);
    onMessage(data, { position: at, event });
  }

  function control(name: string, text: string, at?: string): void {
    const { type = name, reason = "", topic, code } = parsed(text);
    if (type === "close" && events) {
      abandon({ code: Number(code) || UNCLEAN, reason: `${reason}` });
    } else if (type === "hello") {
      isGreeted = true;
      isUnsure &&= at === undefined && position !== undefined;
    } else if (type === "live") {
      settle();
      position = at;
    } else {
      if (at !== undefined) position = later(position, at);
      if (type !== "gap") return;
      isUnsure = false;
      onGap(`${reason}`, topic as string | undefined);
    }
  }

  /** Waits a random part of `bound` ms after `least`, then makes an attempt. @returns the wait in ms */
  function wait(bound: number, least: number): number {
    const ms = least + Math.random() * bound;
    firesAt = now() + ms;
    clearTimeout(timer);
    timer = setTimeout(() => {
      timer = undefined;
      start(asking);
    }, ms);
    return ms;
  }

  function abandon(ending: Ending): void {
    link?.close();
    lost(ending);
  }

  function lost(ending: Ending): void {
    serial++;
    clearTimeout(guard);
    link = undefined;
    if (openedAt && now() - openedAt >= maxDelay) attempt = 0;
    const ms = wait(Math.min(maxDelay, delay * 2 ** attempt++), pause);
    const again = retry(ending);
    if (!again) end();
    shade(true);
    onLost({ ...ending, attempt, delay: again ? ms : undefined });
  }

  function hurry(): void {
    if (timer && firesAt - now() > delay && !scope.document?.hidden) wait(delay, 0);
  }

  function listen(how: Listening): void {
    scope[how]?.("online", hurry);
    scope.document?.[how]("visibilitychange", hurry);
  }

  function end(): void {
    serial++;
    clearTimeout(timer);
    clearTimeout(guard);
    timer = link = undefined;
    listen("removeEventListener");
  }

  function send(data: Subscription): boolean {
    const isOpen = !events && link?.isOpen === true;
    if (isOpen) link?.send(typeof data === "function" ? data() : data);
    return isOpen;
  }

  open(asking);
  listen("addEventListener");
  return {
    get isOpen() {
      return link?.isOpen === true;
    },
    get position() {
      return position;
    },
    send,
    subscribe(subscription) {
      if (events) refuse("subscribe", subscription, "for event streams");
      if (!due.has(subscription)) send(subscription);
      due.add(subscription);
    },
    unsubscribe(subscription) {
      due.delete(subscription);
    },
    close(code, reason) {
      link?.close(code, reason);
      end();
      shade(false);
    },
  };
}
