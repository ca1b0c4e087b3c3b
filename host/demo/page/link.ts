// The page's connection: a WebSocket that reconnects after growing, partly random delays.

/** Time in ms without a message after which the connection is shown as silent. */
const SILENT = 10000;
/** The first and the longest delay in ms. After a connection that lasted LASTING ms the delays start again. */
const FIRST = 1000;
const LONGEST = 15000;
const LASTING = 5000;

interface LinkEvents {
  message(data: string): void;
  /** @param retryAt time of the next attempt on the clock of performance.now(); 0: an attempt is running */
  lost(retryAt: number): void;
  /** Called when nothing has arrived for `ms`, and the connection is still open. */
  quiet(ms: number): void;
}

export class Link {
  readonly #events: LinkEvents;
  #socket: WebSocket | undefined;
  #isLive = false;
  #tries = 0;
  #timer = 0;
  #retryAt = 0;
  #receivedAt = 0;
  #opened = 0;

  constructor(events: LinkEvents) {
    this.#events = events;
    setInterval(() => this.#watch(), 250);
    // Retries at once when the page becomes visible or the browser goes online.
    const hurry = (): void => {
      if (this.#retryAt && !document.hidden) this.connect();
    };
    addEventListener("online", hurry);
    document.addEventListener("visibilitychange", hurry);
    this.connect();
  }

  get isLive(): boolean {
    return this.#isLive;
  }

  send(text: string): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(text);
  }

  connect(): void {
    clearTimeout(this.#timer);
    this.#retryAt = 0;
    this.#receivedAt = performance.now();
    this.#drop();
    const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/live`);
    socket.onmessage = ({ data }) => {
      this.#receivedAt = performance.now();
      if (!this.#isLive) this.#opened = this.#receivedAt;
      this.#isLive = true;
      this.#events.message(String(data));
    };
    socket.onclose = () => this.#lose();
    this.#socket = socket;
  }

  #drop(): void {
    const socket = this.#socket;
    if (!socket) return;
    socket.onmessage = null;
    socket.onclose = null;
    socket.close();
    this.#socket = undefined;
  }

  #lose(): void {
    this.#drop();
    // A connection that broke soon after it had opened is no success, so delays keep growing.
    if (this.#isLive && performance.now() - this.#opened > LASTING) this.#tries = 0;
    this.#isLive = false;
    // Half of each delay is random, so that pages do not reconnect all at once.
    const delay = Math.min(LONGEST, FIRST * 2 ** this.#tries++) * (0.5 + 0.5 * Math.random());
    this.#retryAt = performance.now() + delay;
    this.#timer = window.setTimeout(() => this.connect(), delay);
    this.#events.lost(this.#retryAt);
  }

  #watch(): void {
    const quiet = performance.now() - this.#receivedAt;
    if (this.#socket && quiet > SILENT) this.#lose();
    else if (!this.#isLive) this.#events.lost(this.#retryAt);
    else if (quiet > 2000) this.#events.quiet(quiet);
  }
}
