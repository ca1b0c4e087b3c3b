// `ringcast/client`: a WebSocket that comes back, for pages and for programs. It works with any server and needs
// nothing of the package: no import, one small file.
//
// Invariant: there is a socket, or a timer that will make one, never both; after the end there is neither. Of a
// socket that has been given up nothing is heard.

/** What a message may be. */
export type Data = string | ArrayBuffer | ArrayBufferView;

/** A message that is due at each opening; or a function that makes it then, as for "from where I had come to". */
export type Subscription = Data | (() => Data);

/** How a connection ended, or that none came about: then the code is 1006. */
export interface Ending {
  /** The close code (RFC 6455 7.4). */
  readonly code: number;
  /** The text of the server's Close. */
  readonly reason: string;
}

/** What `onLost` is told. */
export interface Lost extends Ending {
  /** Of the tries to come back the one that is next, from 1; it begins anew when a connection has lasted. */
  readonly attempt: number;
  /** Until that try, in ms; undefined when `retry` says that there will be none. */
  readonly delay: number | undefined;
}

/** What of a WebSocket is used: those of browsers, Node, Deno, Bun and `ws` have it. */
export interface Socket {
  /** Set to "arraybuffer". */
  binaryType: string;
  /** 1: open. */
  readonly readyState: number;
  /** Told when it has opened. */
  onopen: ((event: never) => void) | null;
  /** Told of each message: its `data`. */
  onmessage: ((event: never) => void) | null;
  /** Told when it has ended: its `code` and `reason`. */
  onclose: ((event: never) => void) | null;
  /** Told of errors; `onclose` follows. */
  onerror: ((event: never) => void) | null;
  /** Sends a message. */
  send(data: Data): void;
  /** Closes it. */
  close(code?: number, reason?: string): void;
}

/** Options of `connect`. */
export interface ConnectOptions {
  /** Subprotocols to offer. */
  protocols?: string | string[];
  /**
   * Longest wait before the first try to come back, in ms: 1 … `maxDelay`, default 1000. The bound doubles with each
   * try that fails. Each wait is a random part of its bound, so that those who were lost together come back one by one.
   */
  delay?: number;
  /**
   * Longest wait before any try, in ms: 1 … 2147483647, default 30000. A connection that has lasted as long makes the
   * waits begin anew; one that is lost before does not, so a server that ends what it has just accepted is not
   * hurried.
   */
  maxDelay?: number;
  /** Messages to send at each opening, the first one included, in this order, before `onBack`. */
  subscriptions?: Iterable<Subscription>;
  /** Whether to come back after this. Default: always, but for the codes 4000 … 4999, which are the application's. */
  retry?: (ending: Ending) => boolean;
  /** What to connect by; default: the global WebSocket. */
  WebSocket?: new (
    url: string,
    protocols?: string | string[],
  ) => Socket;
  /** Told of each message: text as a string, bytes as an ArrayBuffer. */
  onMessage?: (data: string | ArrayBuffer) => void;
  /** Told of each ending that `close` did not ask for, and of each try that failed. */
  onLost?: (lost: Lost) => void;
  /** Told of each opening; `first` is true for the first one, where nothing has been missed. */
  onBack?: (opening: { readonly first: boolean }) => void;
}

/** A WebSocket that comes back. */
export interface Connection {
  /** True when `send` would send. */
  readonly isOpen: boolean;
  /** Sends a message. False: it is not open, and the message was not sent and will not be. */
  send(data: Data): boolean;
  /** Sends a message now, if it is open, and at each opening to come. One that is there already is left as it is. */
  subscribe(subscription: Subscription): void;
  /** From now on that message, or what that function makes, is not sent at openings. The server is told by `send`. */
  unsubscribe(subscription: Subscription): void;
  /** Ends it for good; nobody is told. The arguments are those of WebSocket's `close`. */
  close(code?: number, reason?: string): void;
}

/** Most that a timer can wait, in ms. */
const LONGEST = 2147483647;

const OPEN = 1;

/** Of those that end without a word. */
const UNCLEAN: Ending = { code: 1006, reason: "" };

const nothing = (): void => undefined;
const now = (): number => performance.now();

/** The page, or what is there instead of one: it may have no `document`, `location`, `addEventListener`. */
const scope = globalThis;

function refuse(name: string, value: unknown, what: string, Kind = TypeError): never {
  throw new Kind(`${name}: ${value} is not ${what}`);
}

/** @throws TypeError, RangeError naming the option and its range */
function checkDelay(name: string, value: unknown, max: number): void {
  const isNumber = typeof value === "number";
  if (isNumber && value >= 1 && value <= max) return;
  refuse(name, value, `a number of ms from 1 to ${max}`, isNumber ? RangeError : TypeError);
}

/** The address of a WebSocket. @throws TypeError when it is none */
function addressOf(url: string | URL): string {
  try {
    const address = `${new URL(url, scope.location?.href)}`.replace(/^http/, "ws");
    if (/^ws/.test(address)) return address;
  } catch {
    // Told below.
  }
  return refuse("url", url, "a URL of ws or http");
}

/**
 * Connects, and whenever the connection is lost connects again, until `close`.
 *
 * A page that comes to be seen, and a browser that comes to be online, do not wait for what is left of a long wait,
 * but at most `delay`.
 * @param url of ws, wss, http or https, in a page also relative to it; a function is asked at each try
 * @throws TypeError, RangeError naming what is wrong; what WebSocket throws for its arguments
 */
export function connect(
  url: string | URL | (() => string | URL),
  options: ConnectOptions = {},
): Connection {
  const {
    protocols = [],
    maxDelay = 30000,
    delay = Math.min(1000, maxDelay),
    subscriptions = [],
    retry = ({ code }) => code < 4000 || code > 4999,
    WebSocket = scope.WebSocket,
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

  const due = new Set(subscriptions);
  let socket: Socket | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** When the timer fires, and when the socket opened (0: it has not), as `now` counts. */
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
    // It is closed next; but by some of Node's only if it has been open.
    current.onerror = () => setTimeout(lose, 0, UNCLEAN);
  }

  /** Waits a random part of a time, then tries. @returns the part */
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
    onLost({ code, reason, attempt, delay: again ? ms : undefined });
  }

  function hurry(): void {
    if (timer && firesAt - now() > delay && !scope.document?.hidden) wait(delay);
  }

  function listen(how: "addEventListener" | "removeEventListener"): void {
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
    },
  };
}
