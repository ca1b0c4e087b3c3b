// `EventSource` as pages know it (WHATWG HTML 9.2), with requests to the engine within the page, by the server's
// `fetch`.
//
// Invariant: the state changes together with the event that reports it, each in a task of its own. CLOSED is the end.

import { eventParser } from "../client/parser";
import { lastEventIdOf } from "../client/stream";
import { Handlers } from "../shared/request/listeners";
import { queueTask } from "../shared/turn";

/** States (9.2.2 of the living standard). */
const CONNECTING = 0;
const OPEN = 1;
const CLOSED = 2;

/** Time in ms after which it reconnects, until the server states another one; Chromium's. */
const RETRY = 3000;

type Fetch = typeof globalThis.fetch;

/** The server that an EventSource connects to. */
interface Target {
  readonly origin: string;
  readonly fetch: Fetch;
}

/** Parses the URL. @throws DOMException SyntaxError */
function readUrl(url: unknown, base: string): URL {
  try {
    return new URL(String(url), base);
  } catch {
    throw new DOMException(`the URL ${JSON.stringify(String(url))} is not valid`, "SyntaxError");
  }
}

class Source extends EventTarget implements Omit<EventSource, keyof EventTarget> {
  static override readonly name = "EventSource";
  static readonly CONNECTING = CONNECTING;
  static readonly OPEN = OPEN;
  static readonly CLOSED = CLOSED;
  declare readonly CONNECTING: typeof CONNECTING;
  declare readonly OPEN: typeof OPEN;
  declare readonly CLOSED: typeof CLOSED;
  readonly withCredentials: boolean;
  readonly #target: Target;
  readonly #url: URL;
  readonly #controller = new AbortController();
  readonly #handlers = new Handlers(this);
  #readyState: number = CONNECTING;
  #lastId = "";
  #retry = RETRY;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(target: Target, url: unknown, init: EventSourceInit) {
    super();
    this.#target = target;
    this.#url = readUrl(url, target.origin);
    this.withCredentials = Boolean(init.withCredentials);
    this.#connect();
  }

  get url(): string {
    return this.#url.href;
  }

  get readyState(): number {
    return this.#readyState;
  }

  get onopen(): EventSource["onopen"] {
    return this.#handlers.get("open");
  }

  set onopen(value: EventSource["onopen"]) {
    this.#handlers.set("open", value);
  }

  get onmessage(): EventSource["onmessage"] {
    return this.#handlers.get("message");
  }

  set onmessage(value: EventSource["onmessage"]) {
    this.#handlers.set("message", value);
  }

  get onerror(): EventSource["onerror"] {
    return this.#handlers.get("error");
  }

  set onerror(value: EventSource["onerror"]) {
    this.#handlers.set("error", value);
  }

  close(): void {
    this.#readyState = CLOSED;
    clearTimeout(this.#timer);
    this.#controller.abort();
  }

  #connect(): void {
    this.#read().catch(() => this.#again());
  }

  /** Makes one request, and reads its response. @throws when there is none, or it breaks off */
  async #read(): Promise<void> {
    const headers = new Headers({ Accept: "text/event-stream" });
    if (this.#lastId !== "") headers.set("Last-Event-ID", lastEventIdOf(this.#lastId));
    const { signal } = this.#controller;
    const response = await this.#target.fetch(this.#url, { headers, signal });
    const type = response.headers.get("content-type") ?? "";
    const isStream = response.status === 200 && /^text\/event-stream *(;|$)/i.test(type);
    if (!isStream || !response.body) {
      response.body?.cancel().catch(() => undefined);
      this.#later(() => this.#report(CLOSED, "error"));
      return;
    }
    this.#later(() => this.#report(OPEN, "open"));
    const { origin } = new URL(response.url);
    const parse = eventParser({
      event: ({ id, name, data }) => {
        if (id !== undefined) this.#lastId = id;
        if (data === undefined) return;
        const event = { data, origin, lastEventId: this.#lastId };
        this.#later(() => this.dispatchEvent(new MessageEvent(name || "message", event)));
      },
      retry: (ms) => {
        this.#retry = ms;
      },
    });
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      parse(value);
    }
    this.#again();
  }

  /** Runs a step in a task of its own, unless it is closed by then. */
  #later(step: () => void): void {
    queueTask(() => {
      if (this.#readyState !== CLOSED) step();
    });
  }

  #report(state: number, event: string): void {
    this.#readyState = state;
    this.dispatchEvent(new Event(event));
  }

  /** Reconnects when the time has passed. */
  #again(): void {
    this.#later(() => {
      this.#report(CONNECTING, "error");
      // The event's listeners may have closed it.
      if (this.#readyState === CONNECTING)
        this.#timer = setTimeout(() => this.#connect(), this.#retry);
    });
  }
}

for (const [name, value] of Object.entries({ CONNECTING, OPEN, CLOSED })) {
  Object.defineProperty(Source.prototype, name, { value, enumerable: true });
}
Object.defineProperty(Source.prototype, Symbol.toStringTag, { value: "EventSource" });

/** Returns an EventSource class whose connections go to one server. */
export function eventSourceOf(target: Target): typeof EventSource {
  class Own extends Source {
    /** @throws TypeError without an argument, DOMException SyntaxError for a URL that is not valid */
    constructor(...args: [url: string | URL, init?: EventSourceInit]) {
      const given: readonly unknown[] = args;
      if (given.length === 0)
        throw new TypeError("EventSource: 1 argument is required, but there is none");
      super(target, args[0], args[1] ?? {});
    }
  }
  // The standard's constructor has one required argument.
  Object.defineProperties(Own, { name: { value: "EventSource" }, length: { value: 1 } });
  // The types of its listeners are those of the names of events.
  return Own as unknown as typeof EventSource;
}
